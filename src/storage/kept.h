/*-------------------------------------------------------------------------
 *
 * kept.h
 *	  What a backend keeps of an index between scans.
 *
 * rd_amcache only holds a pointer to it: the relcache frees that chunk whenever
 * the relation's entry is rebuilt, even while scans are open.  The context
 * below rd_indexcxt stays as long as the entry itself, and an open scan keeps
 * the entry; there it is found again by the context's name.  Of indexes that are
 * not open, no more is kept than omendb.kept_memory allows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_KEPT_H
#define OMEN_KEPT_H

#include "lib/ilist.h"
#include "utils/rel.h"

/* The first member of what an access method keeps */
typedef struct OmenKept
{
	char		name[NAMEDATALEN];	/* of the index; identifier of "context" */
	MemoryContext context;		/* of all that is kept */
	Oid			relnumber;		/* relation file that it is about */

	/* kept.c's own */
	dlist_node	node;
	MemoryContextCallback callback;
	Relation	index;
	Size		size;			/* of "context", when it was taken last */
	bool		is_size_old;	/* used since */
} OmenKept;

/*
 * Reads it, in a context of this name that is not yet below the index's;
 * returns what omen_kept_finish() has been called for.
 */
typedef OmenKept *(*OmenKeptLoad) (Relation index);

/* What is kept of the index, loaded if it has to be */
extern OmenKept *omen_kept_open(Relation index, const char *context,
								OmenKeptLoad load);

/* From now on it is found; nothing may fail any more, and others may go */
extern void omen_kept_finish(OmenKept *kept, MemoryContext context,
							 Relation index);

/*
 * A scan of an index that is still open has ended.  What is kept of others, not
 * open ones, may go.
 */
extern void omen_kept_end_scan(Relation index);

/* The file has other contents: what was kept is no good */
extern void omen_kept_forget(Relation index, const char *context);

#endif							/* OMEN_KEPT_H */
