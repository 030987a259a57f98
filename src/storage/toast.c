/*-------------------------------------------------------------------------
 *
 * toast.c
 *	  Long values of a table that an index is built of, see toast.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "storage/lmgr.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "storage/toast.h"

static bool fetch_if_there(struct varlena *value, struct varlena **fetched);

/*
 * ShareLock, as on the table: several indexes may be built at once, and nobody
 * who could write waits for it that does not wait for the table.  A concurrent
 * build reads what its snapshot sees, which VACUUM leaves.
 */
void
omen_lock_toast(Relation heap, const IndexInfo *info)
{
	if (!info->ii_Concurrent && OidIsValid(heap->rd_rel->reltoastrelid))
		LockRelationOid(heap->rd_rel->reltoastrelid, ShareLock);
}

bool
omen_toast_fetch_dead(Relation index, Datum *values, const bool *isnull)
{
	TupleDesc	desc = RelationGetDescr(index);

	for (int i = 0; i < desc->natts; i++)
	{
		struct varlena *value;

		if (isnull[i] || TupleDescAttr(desc, i)->attlen != -1)
			continue;
		value = (struct varlena *) DatumGetPointer(values[i]);
		if (!VARATT_IS_EXTERNAL_ONDISK(value))
			continue;
		if (!fetch_if_there(value, &value))
			return false;
		values[i] = PointerGetDatum(value);
	}
	return true;
}

/*
 * Not in a subtransaction, which participants of a parallel build cannot have:
 * all that the fetch leaves behind when it fails belongs to a resource owner.
 */
static bool
fetch_if_there(struct varlena *value, struct varlena **fetched)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner parent = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(parent, "omendb long value");
	volatile bool there = true;

	CurrentResourceOwner = owner;
	PG_TRY();
	{
		*fetched = detoast_external_attr(value);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		there = false;
	}
	PG_END_TRY();
	CurrentResourceOwner = parent;
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, there, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, there, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, there, false);
	ResourceOwnerDelete(owner);
	return there;
}
