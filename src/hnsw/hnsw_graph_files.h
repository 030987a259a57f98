/*-------------------------------------------------------------------------
 *
 * hnsw_graph_files.h
 *	  Temporary files that a graph is constructed in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_GRAPH_FILES_H
#define OMEN_HNSW_GRAPH_FILES_H

#include "graph/graph.h"
#include "storage/arena.h"

/* Must come first in the state that is the team's argument */
typedef struct OmenGraphFiles
{
	OmenArena  *graph;			/* mapped */
	OmenArena  *mail;			/* between participants, not mapped */
} OmenGraphFiles;

/* Have the team keep its mail, and read codes, in the files of its argument */
extern void omen_graph_files_serve(OmenBuildTeam *team);

#endif							/* OMEN_HNSW_GRAPH_FILES_H */
