/*-------------------------------------------------------------------------
 *
 * bm25_scratch.c
 *	  Memory of scans, kept by the backend from one to the next.
 *
 * NOTES
 *	  A query of few terms takes some hundred kB for a few hundred microseconds.
 *	  Were these returned to the operating system each time, as malloc() does
 *	  with so much, to have them back page by page would take as long as the
 *	  search.
 *
 *	  One scan at a time has the kept memory.  Of others that run meanwhile (in
 *	  cursors, for the branches of fuse()), each has its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "bm25/bm25_view.h"

/* Kept; what a scan needs besides is freed with it */
#define KEPT_SIZE		((Size) 2 * 1024 * 1024)

/* Of others; an eighth is the largest piece that shares a block with others */
#define FIRST_SIZE		((Size) 64 * 1024)
#define BLOCK_SIZE		((Size) 8 * 1024 * 1024)

static void give_back(void *arg);

static MemoryContext kept = NULL;
static bool in_use = false;

MemoryContext
omen_bm25_scratch(void)
{
	MemoryContextCallback *callback;

	if (in_use)
		return GenerationContextCreate(CurrentMemoryContext, "omenbm25 view",
									   0, FIRST_SIZE, BLOCK_SIZE);
	if (kept == NULL)
		kept = GenerationContextCreate(TopMemoryContext, "omenbm25 view",
									   KEPT_SIZE, FIRST_SIZE, BLOCK_SIZE);
	callback = palloc0(sizeof(*callback));
	callback->func = give_back;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	in_use = true;
	return kept;
}

static void
give_back(void *arg)
{
	MemoryContextReset(kept);
	in_use = false;
}
