/*-------------------------------------------------------------------------
 *
 * hnsw_graph_files.c
 *	  Temporary files that a graph is constructed in, see hnsw_graph_files.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "hnsw/hnsw_graph_files.h"

static void
write_mail(void *arg, Size offset, const void *data, Size len)
{
	omen_arena_write_at(((OmenGraphFiles *) arg)->mail, offset, data, len);
}

static void
read_mail(void *arg, Size offset, void *data, Size len)
{
	omen_arena_read_at(((OmenGraphFiles *) arg)->mail, offset, data, len);
}

static void
read_arena(void *arg, Size offset, void *data, Size len)
{
	omen_arena_read_at(((OmenGraphFiles *) arg)->graph, offset, data, len);
}

void
omen_graph_files_serve(OmenBuildTeam *team)
{
	team->write_mail = write_mail;
	team->read_mail = read_mail;
	team->read_arena = read_arena;
}
