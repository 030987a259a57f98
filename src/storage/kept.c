/*-------------------------------------------------------------------------
 *
 * kept.c
 *	  What a backend keeps of an index between scans.
 *
 * NOTES
 *	  It grows while it is used: a scan reads more of the index, or learns where
 *	  more of its pages are.  So its size is taken anew when a scan ends, and when
 *	  another index is loaded, of all that were used since the last time; these
 *	  come first in the list, that of the scan as well: behind one whose size is
 *	  known, an index that rows were inserted into would never be measured.
 *
 *	  What is too much goes when a scan ends or an index is loaded: indexes not
 *	  used for the longest time, and none that is open, as a scan, an insertion or
 *	  a plan that points to what is kept has its index open.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/compat.h"
#include "base/guc.h"
#include "storage/kept.h"

/*
 * Indexes that are open, which a search for others passes at once.  A plan may
 * have thousands open, and load one after the other.
 */
#define MOST_PASSED 4

static OmenKept *find_kept(Relation index, const char *name);
static void note_use(OmenKept *kept);
static void take_size(OmenKept *kept);
static void keep_within_limit(void);
static void was_deleted(void *arg);

/* Of all indexes, the one used last first */
static dlist_head all_kept = DLIST_STATIC_INIT(all_kept);
static Size all_sizes = 0;

OmenKept *
omen_kept_open(Relation index, const char *context, OmenKeptLoad load)
{
	OmenKept   *kept;

	/* or it could go while the caller looks at it */
	Assert(!RelationHasReferenceCountZero(index));

	if (index->rd_amcache == NULL)
	{
		kept = find_kept(index, context);
		if (kept == NULL)
			kept = load(index);
		index->rd_amcache = MemoryContextAlloc(index->rd_indexcxt,
											   sizeof(OmenKept *));
		*(OmenKept **) index->rd_amcache = kept;
	}
	kept = *(OmenKept **) index->rd_amcache;
	if (kept->relnumber == omen_compat_relnumber(index))
	{
		note_use(kept);
		return kept;
	}

	/* a new file can only come under a lock that excludes scans */
	omen_kept_forget(index, context);
	return omen_kept_open(index, context, load);
}

static OmenKept *
find_kept(Relation index, const char *name)
{
	for (MemoryContext child = index->rd_indexcxt->firstchild; child != NULL;
		 child = child->nextchild)
	{
		if (strcmp(child->name, name) == 0)
			return (OmenKept *) child->ident;
	}
	return NULL;
}

/* Views of memory contexts print the identifier as text */
void
omen_kept_finish(OmenKept *kept, MemoryContext context, Relation index)
{
	StaticAssertStmt(offsetof(OmenKept, name) == 0,
					 "the identifier of the context is what is kept");
	kept->context = context;
	kept->relnumber = omen_compat_relnumber(index);
	kept->index = index;
	kept->size = 0;
	kept->is_size_old = true;
	strlcpy(kept->name, RelationGetRelationName(index), NAMEDATALEN);
	MemoryContextSetIdentifier(context, kept->name);
	MemoryContextSetParent(context, index->rd_indexcxt);
	kept->callback.func = was_deleted;
	kept->callback.arg = kept;
	MemoryContextRegisterResetCallback(context, &kept->callback);
	dlist_push_head(&all_kept, &kept->node);
	keep_within_limit();
}

void
omen_kept_end_scan(Relation index)
{
	if (index->rd_amcache != NULL)
		note_use(*(OmenKept **) index->rd_amcache);
	keep_within_limit();
}

void
omen_kept_forget(Relation index, const char *context)
{
	OmenKept   *kept = find_kept(index, context);

	if (kept != NULL)
		MemoryContextDelete(kept->context);
	if (index->rd_amcache != NULL)
		pfree(index->rd_amcache);
	index->rd_amcache = NULL;
}

static void
note_use(OmenKept *kept)
{
	kept->is_size_old = true;
	dlist_move_head(&all_kept, &kept->node);
}

static void
take_size(OmenKept *kept)
{
	Size		size = MemoryContextMemAllocated(kept->context, true);

	all_sizes += size - kept->size;
	kept->size = size;
	kept->is_size_old = false;
}

static void
keep_within_limit(void)
{
	Size		limit = (Size) omen_guc_kept_memory() * 1024;
	int			npassed = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &all_kept)
	{
		OmenKept   *kept = dlist_container(OmenKept, node, iter.cur);

		if (!kept->is_size_old)
			break;
		take_size(kept);
	}
	while (all_sizes > limit && npassed < MOST_PASSED)
	{
		OmenKept   *last = dlist_tail_element(OmenKept, node, &all_kept);

		if (RelationHasReferenceCountZero(last->index))
			omen_kept_forget(last->index, last->context->name);
		else
		{
			note_use(last);
			npassed++;
		}
	}
}

/* With the relcache's entry, or before it */
static void
was_deleted(void *arg)
{
	OmenKept   *kept = arg;

	dlist_delete(&kept->node);
	all_sizes -= kept->size;
}
