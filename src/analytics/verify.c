/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  omen_verify_index(): is an index what the READMEs promise?
 *
 * NOTES
 *	  Takes the locks of a scan, so writers go on meanwhile.  Pages are copied
 *	  under a share lock and checked afterwards; what two pages say of each
 *	  other is looked at once more before it is called wrong, and of rows that
 *	  the snapshot does not see, which was taken before anything was read,
 *	  nothing is promised yet or any more.
 *
 *	  Pages may hold anything.  Sizes and block numbers are checked before they
 *	  are used, here or by the functions that scans use, too; what these raise
 *	  becomes a finding (omen_verify_try), and the next step follows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "analytics/verify.h"
#include "base/compat.h"
#include "bm25/bm25.h"

OMEN_FUNCTION(omen_verify_index);

static void verify_as_owner(OmenVerify *verify);
static void verify_pages(OmenVerify *verify);
static void check_pages(void *arg);
static void check_page(OmenVerify *verify, BlockNumber block, Page page);
static bool is_special_area(OmenPageOpaque opaque);
static void add_finding(OmenVerify *verify, const char *invariant,
						BlockNumber block, int offset, const char *severity,
						const char *detail);
static OmenVerifyCount *find_count(OmenVerify *verify, const char *invariant);
static void report_unlisted(OmenVerify *verify);

/*
 * omen_verify_index(index regclass, heapallindexed boolean): one row for each
 * thing that is wrong.
 */
Datum
omen_verify_index(PG_FUNCTION_ARGS)
{
	OmenVerify *verify = palloc0(sizeof(OmenVerify));

	InitMaterializedSRF(fcinfo, 0);
	verify->result = (ReturnSetInfo *) fcinfo->resultinfo;
	verify->heapallindexed = PG_GETARG_BOOL(1);
	verify->index = omen_open_any_index(PG_GETARG_OID(0), &verify->heap);
	if (!omen_compat_owns_relation(RelationGetRelid(verify->index),
								   GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX,
					   RelationGetRelationName(verify->index));

	verify->snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(verify->snapshot);
	verify->strategy = GetAccessStrategy(BAS_BULKREAD);
	verify->owner = CurrentResourceOwner;
	verify_as_owner(verify);
	report_unlisted(verify);
	FreeAccessStrategy(verify->strategy);
	PopActiveSnapshot();
	UnregisterSnapshot(verify->snapshot);
	omen_close_index(verify->index, verify->heap);
	return (Datum) 0;
}

/*
 * Columns may be expressions: they are the owner's, not the caller's.  Flushes,
 * merges and vacuum of a text index wait from before its pages are looked at.
 */
static void
verify_as_owner(OmenVerify *verify)
{
	bool		text = verify->index->rd_indam->ambuild == omen_bm25_build;
	Oid			user;
	int			context;
	int			settings = NewGUCNestLevel();

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(verify->heap->rd_rel->relowner,
						   context | SECURITY_RESTRICTED_OPERATION);
	omen_compat_restrict_search_path();
	if (text)
		omen_bm25_maintain(verify->index);
	verify->nblocks = RelationGetNumberOfBlocks(verify->index);
	verify_pages(verify);
	omen_verify_begin_rows(verify);
	if (text)
		omen_verify_bm25(verify);
	else
		omen_verify_hnsw(verify);
	omen_verify_end_rows(verify);
	if (text)
		omen_bm25_end_maintain(verify->index);
	AtEOXact_GUC(false, settings);
	SetUserIdAndSecContext(user, context);
}

/* --- pages --- */

typedef struct PageWalk
{
	OmenVerify *verify;
	BlockNumber block;
} PageWalk;

/* Each page by itself; fills in "kinds" */
static void
verify_pages(OmenVerify *verify)
{
	PageWalk	walk = {verify, 0};

	verify->kinds = palloc_extended(verify->nblocks + 1, MCXT_ALLOC_HUGE);
	memset(verify->kinds, OMEN_VERIFY_BROKEN, verify->nblocks + 1);
	verify->referred = palloc_extended((verify->nblocks / 64 + 1) *
									   sizeof(uint64),
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	while (walk.block < verify->nblocks)
	{
		if (!omen_verify_try(verify, "P1", check_pages, &walk))
			walk.block++;
	}
	if (verify->nblocks == 0)
		omen_verify_note(verify, "P1", 0, OMEN_VERIFY_NO_OFFSET,
						 "The index has no metapage.");
}

static void
check_pages(void *arg)
{
	PageWalk   *walk = arg;
	PGAlignedBlock copy;

	for (; walk->block < walk->verify->nblocks; walk->block++)
	{
		CHECK_FOR_INTERRUPTS();
		omen_page_copy(walk->verify->index, walk->block,
					   walk->verify->strategy, copy.data);
		check_page(walk->verify, walk->block, copy.data);
	}
}

static void
check_page(OmenVerify *verify, BlockNumber block, Page page)
{
	const char *fault = omen_page_find_fault(page);
	OmenPageOpaque opaque;

	if (PageIsNew(page))
	{
		verify->kinds[block] = OMEN_PAGE_FREE;
		return;
	}
	if (fault != NULL)
	{
		omen_verify_note(verify, "P1", block, OMEN_VERIFY_NO_OFFSET, "%s",
						 fault);
		return;
	}
	opaque = omen_page_opaque(page);
	if (opaque->format != OMEN_PAGE_FORMAT)
	{
		omen_verify_note(verify, "P1", block, OMEN_VERIFY_NO_OFFSET,
						 "The page has format %u, expected %u.",
						 opaque->format, OMEN_PAGE_FORMAT);
		return;
	}
	if (!is_special_area(opaque) || ((PageHeader) page)->pd_flags != 0 ||
		((PageHeader) page)->pd_prune_xid != 0 ||
		PageGetPageSize(page) != BLCKSZ ||
		PageGetPageLayoutVersion(page) != PG_PAGE_LAYOUT_VERSION)
		omen_verify_note(verify, "P1", block, OMEN_VERIFY_NO_OFFSET,
						 "The page has fields that pages of kind %u do not have.",
						 opaque->kind);
	if ((opaque->kind == OMEN_PAGE_META) != (block == 0))
		omen_verify_note(verify, "P1", block, OMEN_VERIFY_NO_OFFSET,
						 "The page is of kind %u, which does not belong here.",
						 opaque->kind);
	verify->kinds[block] = opaque->kind;
}

/*
 * What a kind of pages has no use for is as omen_page_init() has left it; of
 * FREE pages it may be what was there before.
 */
static bool
is_special_area(OmenPageOpaque opaque)
{
	bool		has_next = false;
	bool		has_owner = true;
	bool		has_used = false;

	switch ((OmenPageKind) opaque->kind)
	{
		case OMEN_PAGE_FREE:
			return opaque->unused == 0 && opaque->unused2 == 0;
		case OMEN_PAGE_META:
		case OMEN_PAGE_DATA:
		case OMEN_PAGE_ENTRY:
		case OMEN_PAGE_CODES:
		case OMEN_PAGE_KEYLIST:
			has_owner = false;
			break;
		case OMEN_PAGE_NODE:
			has_owner = false;
			has_used = true;
			break;
		case OMEN_PAGE_PENDING:
			has_next = has_used = true;
			break;
		case OMEN_PAGE_CHAIN:
		case OMEN_PAGE_SEGMENT:
		case OMEN_PAGE_TERMS:
			has_next = true;
			break;
		case OMEN_PAGE_TIDMAP:
		case OMEN_PAGE_TIDDIR:
		case OMEN_PAGE_TIDROOT:
		case OMEN_PAGE_KEYS:
		case OMEN_PAGE_KEYDIR:
		case OMEN_PAGE_POSTINGS:
		case OMEN_PAGE_LENGTHS:
		case OMEN_PAGE_ROWS:
		case OMEN_PAGE_ALIVE:
			break;
	}
	return opaque->unused == 0 && opaque->unused2 == 0 &&
		(has_next || !BlockNumberIsValid(opaque->next)) &&
		(has_owner || opaque->owner == 0) &&
		(has_used || opaque->used == 0);
}

int
omen_verify_copy(OmenVerify *verify, BlockNumber block, PGAlignedBlock *copy)
{
	Page		page = copy->data;

	omen_page_copy(verify->index, block, verify->strategy, page);
	if (PageIsNew(page))
		return OMEN_PAGE_FREE;
	if (omen_page_find_fault(page) != NULL ||
		omen_page_opaque(page)->format != OMEN_PAGE_FORMAT)
		return OMEN_VERIFY_BROKEN;
	return omen_page_opaque(page)->kind;
}

int
omen_verify_kind_now(OmenVerify *verify, BlockNumber block)
{
	PGAlignedBlock copy;

	if (block >= RelationGetNumberOfBlocks(verify->index) ||
		(block < verify->nblocks &&
		 verify->kinds[block] == OMEN_VERIFY_BROKEN))
		return OMEN_VERIFY_BROKEN;
	return omen_verify_copy(verify, block, &copy);
}

bool
omen_verify_refer(OmenVerify *verify, const char *invariant, BlockNumber from,
				  BlockNumber block, OmenPageKind kind, const char *what)
{
	if (block >= verify->nblocks || verify->kinds[block] != kind)
	{
		int			now = omen_verify_kind_now(verify, block);

		if (now != kind)
		{
			omen_verify_note(verify, invariant, from, OMEN_VERIFY_NO_OFFSET,
							 "Block %u of %s is not of kind %u.", block, what,
							 (unsigned) kind);
			return false;
		}
		if (block >= verify->nblocks)
			return true;
	}
	if (omen_verify_take(verify, block))
		return true;
	omen_verify_note(verify, invariant, from, OMEN_VERIFY_NO_OFFSET,
					 "Block %u of %s is in use elsewhere, too.", block, what);
	return false;
}

bool
omen_verify_take(OmenVerify *verify, BlockNumber block)
{
	if (omen_verify_is_referred(verify, block))
		return false;
	verify->referred[block / 64] |= UINT64CONST(1) << (block % 64);
	return true;
}

bool
omen_verify_is_referred(const OmenVerify *verify, BlockNumber block)
{
	return (verify->referred[block / 64] >> (block % 64) & 1) != 0;
}

/* --- steps --- */

bool
omen_verify_try(OmenVerify *verify, const char *invariant,
				void (*step) (void *arg), void *arg)
{
	ErrorData  *damage = omen_try_step(step, arg);

	if (damage == NULL)
		return true;
	add_finding(verify, invariant, InvalidBlockNumber, OMEN_VERIFY_NO_OFFSET,
				"error",
				damage->detail == NULL ? damage->message :
				psprintf("%s: %s", damage->message, damage->detail));
	FreeErrorData(damage);
	return false;
}

/* --- findings --- */

void
omen_verify_note(OmenVerify *verify, const char *invariant, BlockNumber block,
				 int offset, const char *format,...)
{
	va_list		arguments;
	char		detail[512];

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	add_finding(verify, invariant, block, offset, "error", detail);
}

void
omen_verify_warn(OmenVerify *verify, const char *invariant, BlockNumber block,
				 const char *format,...)
{
	va_list		arguments;
	char		detail[512];

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	add_finding(verify, invariant, block, OMEN_VERIFY_NO_OFFSET, "warning",
				detail);
}

static void
add_finding(OmenVerify *verify, const char *invariant, BlockNumber block,
			int offset, const char *severity, const char *detail)
{
	Datum		values[5];
	bool		isnull[5] = {!BlockNumberIsValid(block), offset < 0};

	/* there may be one for each row of the table: no memory for those not listed */
	if (find_count(verify, invariant)->n++ >= OMEN_VERIFY_LISTED)
		return;
	values[0] = Int64GetDatum((int64) block);
	values[1] = Int32GetDatum(offset);
	values[2] = CStringGetTextDatum(severity);
	values[3] = CStringGetTextDatum(invariant);
	values[4] = CStringGetTextDatum(detail);
	tuplestore_putvalues(verify->result->setResult, verify->result->setDesc,
						 values, isnull);
}

static OmenVerifyCount *
find_count(OmenVerify *verify, const char *invariant)
{
	OmenVerifyCount *count = verify->counts;

	for (; count < verify->counts + verify->ncounts; count++)
	{
		if (strcmp(count->invariant, invariant) == 0)
			return count;
	}
	Assert(verify->ncounts < OMEN_VERIFY_INVARIANTS);
	verify->ncounts++;
	strlcpy(count->invariant, invariant, sizeof(count->invariant));
	count->n = 0;
	return count;
}

static void
report_unlisted(OmenVerify *verify)
{
	for (int i = 0; i < verify->ncounts; i++)
	{
		OmenVerifyCount *count = &verify->counts[i];

		if (count->n <= OMEN_VERIFY_LISTED)
			continue;
		add_finding(verify, "more", InvalidBlockNumber, OMEN_VERIFY_NO_OFFSET,
					"error",
					psprintf(INT64_FORMAT " more findings of invariant %s",
							 count->n - OMEN_VERIFY_LISTED,
							 count->invariant));
	}
}
