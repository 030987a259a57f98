/*-------------------------------------------------------------------------
 *
 * workers.h
 *	  How many workers a bulk build asks for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_WORKERS_H
#define OMEN_WORKERS_H

#include "utils/rel.h"

/*
 * As many as max_parallel_maintenance_workers allows, if the table, its long values
 * counted, is large enough for each to have something to do, and if each has 32 MB
 * of maintenance_work_mem.  The table's parallel_workers goes before all that.  None
 * where workers cannot evaluate what is indexed.
 */
extern int	omen_build_workers(Relation heap, Relation index);

#endif							/* OMEN_WORKERS_H */
