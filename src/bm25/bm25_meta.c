/*-------------------------------------------------------------------------
 *
 * bm25_meta.c
 *	  An index as a whole: its metapage, what a backend keeps of it, and the
 *	  lock of those who reorganize it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "bm25/bm25.h"

/* Name by which the kept context is found again below rd_indexcxt */
#define KEPT_CONTEXT	"omenbm25 index"

StaticAssertDecl(offsetof(OmenBm25Index, kept) == 0,
				 "what is kept is the index");

uint64		omen_bm25_times_replaced = 0;

static OmenKept *make_kept(Relation index);
static void init_meta(OmenBm25MetaPage meta, Relation index);

OmenBm25Index *
omen_bm25_open(Relation index)
{
	return (OmenBm25Index *) omen_kept_open(index, KEPT_CONTEXT, make_kept);
}

void
omen_bm25_forget(Relation index)
{
	omen_kept_forget(index, KEPT_CONTEXT);
}

void
omen_bm25_read_meta(Relation index, OmenBm25MetaPageData *meta)
{
	Buffer		buffer = omen_page_read(index, OMEN_BM25_META_BLOCK,
										OMEN_PAGE_META, OMEN_LOCK_SHARE);

	memcpy(meta, omen_page_content(BufferGetPage(buffer)), sizeof(*meta));
	omen_page_release(buffer);
	omen_bm25_check_meta(index, meta);
}

OmenTextUnits
omen_bm25_stored_units(Relation index, OmenBm25Index *bm25)
{
	if (bm25->units.unit == 0)
	{
		OmenBm25MetaPageData meta;

		omen_bm25_read_meta(index, &meta);
		bm25->units = meta.units;
	}
	return bm25->units;
}

void
omen_bm25_check_meta(Relation index, const OmenBm25MetaPageData *meta)
{
	if (meta->magic != OMEN_BM25_MAGIC)
		omen_page_report_corrupt(index, OMEN_BM25_META_BLOCK,
								 "The metapage lacks its magic number.");
	if (meta->version != OMEN_BM25_VERSION)
		omen_page_report_format(index, "format version", meta->version,
								OMEN_BM25_VERSION);
	if (meta->nsegments > OMEN_BM25_MAX_SEGMENTS ||
		meta->nextents > OMEN_BM25_MAX_EXTENTS || meta->units.unit == 0)
		omen_page_report_corrupt(index, OMEN_BM25_META_BLOCK,
								 "The metapage describes an impossible index.");
	for (int i = 0; i < meta->nsegments; i++)
	{
		if (meta->segments[i].ndocs == 0 ||
			meta->segments[i].ndead > meta->segments[i].ndocs)
			omen_page_report_corrupt(index, OMEN_BM25_META_BLOCK,
									 "The metapage describes an impossible segment.");
	}
}

void
omen_bm25_write_empty(Relation index, ForkNumber fork)
{
	OmenBulkWriter *writer;
	Page		page;

	omen_bulk_extend(index, fork, 1 + OMEN_BM25_LANES);
	writer = omen_bulk_begin(index, fork);
	page = omen_bulk_page(writer, OMEN_BM25_META_BLOCK);
	omen_page_init(page, OMEN_PAGE_META, 0);
	init_meta((OmenBm25MetaPage) omen_page_content(page), index);
	for (int i = 0; i < OMEN_BM25_LANES; i++)
	{
		page = omen_bulk_page(writer, OMEN_BM25_META_BLOCK + 1 + i);
		omen_page_init(page, OMEN_PAGE_PENDING, 0);
		omen_page_opaque(page)->owner = OMEN_BM25_OWNER_STEP + i;
		((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData);
	}
	omen_bulk_finish(writer);
	omen_bulk_sync(index, fork);
}

bool
omen_bm25_try_maintain(Relation index)
{
	return ConditionalLockPage(index, OMEN_BM25_META_BLOCK, ExclusiveLock);
}

void
omen_bm25_maintain(Relation index)
{
	LockPage(index, OMEN_BM25_META_BLOCK, ExclusiveLock);
}

void
omen_bm25_end_maintain(Relation index)
{
	UnlockPage(index, OMEN_BM25_META_BLOCK, ExclusiveLock);
}

/* What replaces a page is published before the page gets another use */
void
omen_bm25_report_segment(Relation index, uint32 id, BlockNumber block)
{
	OmenBm25MetaPageData meta;

	omen_bm25_read_meta(index, &meta);
	for (int i = 0; i < meta.nsegments; i++)
	{
		if (meta.segments[i].id == id)
			omen_page_report_corrupt(index, block,
									 "The page is not the segment's that refers to it.");
	}
	omen_bm25_report_replaced(index);
}

void
omen_bm25_report_pending(Relation index, uint32 owner, BlockNumber block)
{
	OmenBm25MetaPageData meta;
	uint32		head;

	omen_bm25_read_meta(index, &meta);
	head = meta.lanes[owner % OMEN_BM25_LANES].head_owner;
	if ((int32) (owner - head) >= 0)
		omen_page_report_corrupt(index, block,
								 "The page is not the one of the pending area that is expected.");
	omen_bm25_report_replaced(index);
}

void
omen_bm25_report_replaced(Relation index)
{
	omen_bm25_times_replaced++;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a part of index \"%s\" was replaced while it was read",
					RelationGetRelationName(index)),
			 errhint("Repeat the query.")));
}

static OmenKept *
make_kept(Relation index)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  KEPT_CONTEXT,
												  ALLOCSET_SMALL_SIZES);
	OmenBm25Index *bm25 = MemoryContextAllocZero(context,
												 sizeof(OmenBm25Index));

	bm25->tail.lane = MyProcPid % OMEN_BM25_LANES;
	bm25->tail.block = InvalidBlockNumber;
	omen_page_hints_init(&bm25->hints, context);
	omen_kept_finish(&bm25->kept, context, index);
	return &bm25->kept;
}

static void
init_meta(OmenBm25MetaPage meta, Relation index)
{
	memset(meta, 0, sizeof(*meta));
	meta->magic = OMEN_BM25_MAGIC;
	meta->version = OMEN_BM25_VERSION;
	meta->units = omen_bm25_units(index);
	meta->next_segment = 1;
	for (int i = 0; i < OMEN_BM25_LANES; i++)
	{
		OmenBm25LaneData *lane = &meta->lanes[i];

		lane->head = lane->tail = OMEN_BM25_META_BLOCK + 1 + i;
		lane->head_owner = lane->tail_owner = OMEN_BM25_OWNER_STEP + i;
		lane->npages = 1;
	}
}
