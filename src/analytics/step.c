/*-------------------------------------------------------------------------
 *
 * step.c
 *	  A step of a look at an index, which a broken page may end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "analytics/analytics.h"

/* The end of the subtransaction releases the pages that the step has locked */
ErrorData *
omen_try_step(void (*step) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile damage = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		damage = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (damage->sqlerrcode != ERRCODE_INDEX_CORRUPTED &&
			damage->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			ReThrowError(damage);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return damage;
}
