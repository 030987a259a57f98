/*-------------------------------------------------------------------------
 *
 * kept.c
 *	  What a backend keeps of an index between scans.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/compat.h"
#include "storage/kept.h"

static OmenKept *find_kept(Relation index, const char *name);

OmenKept *
omen_kept_open(Relation index, const char *context, OmenKeptLoad load)
{
	OmenKept   *kept;

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
		return kept;

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
	strlcpy(kept->name, RelationGetRelationName(index), NAMEDATALEN);
	MemoryContextSetIdentifier(context, kept->name);
	MemoryContextSetParent(context, index->rd_indexcxt);
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
