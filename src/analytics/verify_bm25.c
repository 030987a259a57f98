/*-------------------------------------------------------------------------
 *
 * verify_bm25.c
 *	  Checks of omenbm25 indexes for omen_verify_index(): the invariants of
 *	  src/bm25/README.md, but for dictionaries and postings
 *	  (verify_bm25_terms.c).
 *
 * NOTES
 *	  Flushes, merges and vacuum wait until the check is done: all of the index
 *	  but the ends of the pending area stays as it is.  On a standby they do not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify_bm25.h"
#include "base/compat.h"

/* Place of a row, for findings: a document of a segment, or a pending one */
#define PLACE_SEGMENT(i, doc)	(UINT64CONST(1) << 63 | (uint64) (i) << 32 | (doc))
#define PLACE_PENDING(block)	((uint64) (block))

/* A segment is at most that many merges away from a flush */
#define MOST_LEVELS		32

/*
 * A standby, or a server that has crashed, may not know yet of so many
 * transactions that somebody has waited for
 */
#define XIDS_TO_COME	(UINT64CONST(1) << 20)

/* Of a dictionary: more than 2^32 pages make */
#define MOST_TREE_LEVELS	32

/* A pending document, as far as its parts have come by */
typedef struct PendingDoc
{
	bool		open;
	bool		dead;
	uint64		row;
	BlockNumber block;			/* of its first part */
	uint32		length;
	uint64		tfs;			/* added up */
	uint64		hash;
} PendingDoc;

static void check_replay(OmenVerifyBm25 *state);
static void check_all(void *arg);
static void check_meta(OmenVerifyBm25 *state);
static bool is_zero(const void *data, Size size);
static void check_kinds(OmenVerifyBm25 *state);
static void check_lanes(void *arg);
static uint32 walk_lane(OmenVerifyBm25 *state, int lane, bool *has_tail);
static int	check_pending_page(OmenVerifyBm25 *state, BlockNumber block,
							   Page page, PendingDoc *open);
static const char *find_doc_fault(OmenBm25DocData *doc, Size room);
static void add_part(PendingDoc *open, OmenBm25DocData *doc,
					 BlockNumber block);
static void end_doc(OmenVerifyBm25 *state, PendingDoc *open);
static void check_segment(void *arg);
static void check_header(OmenVerifyBm25 *state, const OmenBm25Segment *segment);
static void check_runs(OmenVerifyBm25 *state, const OmenBm25Segment *segment);
static void check_terms_page(OmenVerifyBm25 *state, BlockNumber block,
							 uint32 number, Page page, uint32 *next);
static OmenPageKind expected_kind(const OmenBm25SegmentHeaderData *data,
								  uint32 page, uint32 nheaders);
static void check_docs(OmenVerifyBm25 *state, OmenBm25Docs *docs);
static void check_long_lengths(OmenVerifyBm25 *state,
							   const OmenBm25Segment *segment, uint32 nlong);
static void check_alive(OmenVerifyBm25 *state, const OmenBm25Segment *segment,
						uint32 ndead);
static void check_extents(OmenVerifyBm25 *state);
static bool hash_row(void *arg, const Datum *values, const bool *isnull,
					 uint64 *hash);
static bool is_there(void *arg, uint64 row, uint64 place);
static void locate(void *arg, uint64 place, BlockNumber *block, int *offset);

static const OmenVerifyRows rows = {
	.invariant = "B5",
	.hash_invariant = "B9",
	.hash_fault = "has other lexemes or frequencies than the index has of it",
	.always_once = true,
	.hash = hash_row,
	.is_there = is_there,
	.locate = locate,
};

void
omen_verify_bm25(OmenVerify *verify)
{
	OmenVerifyBm25 *state = palloc0(sizeof(*state));

	state->verify = verify;
	if (omen_verify_try(verify, "B0", check_all, state))
		omen_verify_compare_rows(verify, &rows, state);
	if (RecoveryInProgress())
		check_replay(state);
}

/* On a standby nobody waits: what was replaced meanwhile may seem broken */
static void
check_replay(OmenVerifyBm25 *state)
{
	OmenBm25MetaPageData *now = palloc(sizeof(*now));
	bool		same;

	omen_bm25_read_meta(state->verify->index, now);
	same = memcmp(now->segments, state->meta.segments,
				  sizeof(now->segments)) == 0;
	for (int i = 0; i < OMEN_BM25_LANES; i++)
		same = same && now->lanes[i].head_owner ==
			state->meta.lanes[i].head_owner;
	if (!same)
		omen_bm25_report_replaced(state->verify->index);
	pfree(now);
}

/* What nothing can be checked without */
static void
check_all(void *arg)
{
	OmenVerifyBm25 *state = arg;
	OmenVerify *verify = state->verify;

	omen_bm25_read_meta(verify->index, &state->meta);
	state->bm25 = omen_bm25_open(verify->index);
	omen_verify_refer(verify, "B7", 0, OMEN_BM25_META_BLOCK, OMEN_PAGE_META,
					  "the index");
	check_kinds(state);
	check_meta(state);
	omen_verify_try(verify, "B2", check_lanes, state);
	for (state->number = 0; state->number < state->meta.nsegments;
		 state->number++)
	{
		state->entry = &state->meta.segments[state->number];
		omen_verify_try(verify, "B1", check_segment, state);
	}
	check_extents(state);
}

/* --- the metapage --- */

static void
check_meta(OmenVerifyBm25 *state)
{
	const OmenBm25MetaPageData *meta = &state->meta;
	OmenTextUnits units = omen_bm25_units(state->verify->index);

	if (meta->unused != 0 ||
		!is_zero(meta->segments + meta->nsegments,
				 (OMEN_BM25_MAX_SEGMENTS - meta->nsegments) *
				 sizeof(OmenBm25SegmentEntryData)) ||
		!is_zero(meta->extents + meta->nextents,
				 (OMEN_BM25_MAX_EXTENTS - meta->nextents) *
				 sizeof(OmenBm25ExtentData)))
		omen_verify_note(state->verify, "B0", OMEN_BM25_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "Fields of the metapage that are not in use are not zero.");
	for (int i = 0; i < meta->nsegments; i++)
	{
		const OmenBm25SegmentEntryData *entry = &meta->segments[i];
		bool		repeated = false;

		for (int j = 0; j < i; j++)
			repeated |= meta->segments[j].id == entry->id;
		if (repeated || entry->id >= meta->next_segment)
			omen_verify_note(state->verify, "B1", OMEN_BM25_META_BLOCK, i,
							 "Segment %u is there twice, or has a number that is yet to come.",
							 entry->id);
		if (entry->ndead > entry->ndocs || entry->level > MOST_LEVELS ||
			entry->unused != 0)
			omen_verify_note(state->verify, "B0", OMEN_BM25_META_BLOCK, i,
							 "The entry of segment %u is impossible.",
							 entry->id);
	}
	if (memcmp(&units, &meta->units, sizeof(units)) != 0)
		omen_verify_warn(state->verify, "B6", OMEN_BM25_META_BLOCK,
						 "Positions are counted otherwise than the index's options say: REINDEX, if they were changed.");
}

static bool
is_zero(const void *data, Size size)
{
	const char *bytes = data;

	return size == 0 ||
		(bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Pages of the other access method do not belong here */
static void
check_kinds(OmenVerifyBm25 *state)
{
	for (BlockNumber block = 0; block < state->verify->nblocks; block++)
	{
		uint8		kind = state->verify->kinds[block];

		CHECK_FOR_INTERRUPTS();
		if (kind != OMEN_PAGE_FREE && kind != OMEN_PAGE_META &&
			kind < OMEN_PAGE_PENDING)
			omen_verify_note(state->verify, "B7", block,
							 OMEN_VERIFY_NO_OFFSET,
							 "The page is of kind %u, which text indexes do not have.",
							 kind);
	}
}

static void
check_extents(OmenVerifyBm25 *state)
{
	OmenVerify *verify = state->verify;
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId()) +
		XIDS_TO_COME;

	for (int i = 0; i < state->meta.nextents; i++)
	{
		const OmenBm25ExtentData *extent = &state->meta.extents[i];

		CHECK_FOR_INTERRUPTS();
		if (extent->npages == 0 || extent->since > next ||
			(uint64) extent->start + extent->npages > verify->nblocks)
		{
			omen_verify_note(verify, "B7", OMEN_BM25_META_BLOCK, i,
							 "An extent is empty, lies beyond the end, or has yet to come.");
			continue;
		}
		for (uint32 j = 0; j < extent->npages; j++)
		{
			if (!omen_verify_take(verify, extent->start + j))
				omen_verify_note(verify, "B7", extent->start + j, i,
								 "The block is in an extent, and in use.");
		}
	}
}

/* --- pending documents --- */

/*
 * Documents come at the ends of lanes meanwhile: what the metapage said when
 * the walk began must have been there.
 */
static void
check_lanes(void *arg)
{
	OmenVerifyBm25 *state = arg;

	for (int lane = 0; lane < OMEN_BM25_LANES; lane++)
	{
		const OmenBm25LaneData *data = &state->meta.lanes[lane];
		OmenBm25MetaPageData now;
		bool		has_tail = false;
		uint32		npages = walk_lane(state, lane, &has_tail);

		if (data->head_owner % OMEN_BM25_LANES != lane || data->unused != 0 ||
			npages < data->npages || !has_tail)
			omen_verify_note(state->verify, "B2", OMEN_BM25_META_BLOCK, lane,
							 "Lane %d of the pending area has %u pages, expected %u, or lacks its tail.",
							 lane, npages, data->npages);
		omen_bm25_read_meta(state->verify->index, &now);
		if (npages > now.lanes[lane].npages)
			omen_verify_note(state->verify, "B2", OMEN_BM25_META_BLOCK, lane,
							 "Lane %d of the pending area has %u pages, expected %u.",
							 lane, npages, now.lanes[lane].npages);
	}
}

/* Returns how many pages it has */
static uint32
walk_lane(OmenVerifyBm25 *state, int lane, bool *has_tail)
{
	OmenVerify *verify = state->verify;
	const OmenBm25LaneData *data = &state->meta.lanes[lane];
	BlockNumber block = data->head;
	BlockNumber from = OMEN_BM25_META_BLOCK;
	uint32		owner = data->head_owner;
	PendingDoc	open = {0};
	uint32		npages = 0;

	while (BlockNumberIsValid(block))
	{
		PGAlignedBlock copy;
		Page		page = copy.data;
		OmenPageOpaque opaque;
		int			ndocs;

		CHECK_FOR_INTERRUPTS();
		if (!omen_verify_refer(verify, "B7", from, block, OMEN_PAGE_PENDING,
							   "the pending area") ||
			omen_verify_copy(verify, block, &copy) != OMEN_PAGE_PENDING)
			break;
		opaque = omen_page_opaque(page);
		if (opaque->owner != owner)
		{
			omen_verify_note(verify, "B2", block, OMEN_VERIFY_NO_OFFSET,
							 "The page has place %u of the pending area, expected %u.",
							 opaque->owner, owner);
			break;
		}
		*has_tail |= block == data->tail && owner == data->tail_owner;
		ndocs = check_pending_page(state, block, page, &open);
		if (ndocs >= 0 && opaque->used != ndocs)
			omen_verify_note(verify, "B8", block, OMEN_VERIFY_NO_OFFSET,
							 "The page has %d documents, expected %u.", ndocs,
							 opaque->used);
		npages++;
		from = block;
		block = opaque->next;
		owner += OMEN_BM25_OWNER_STEP;
	}
	end_doc(state, &open);
	return npages;
}

/* Returns how many documents begin on it, -1 if that cannot be told */
static int
check_pending_page(OmenVerifyBm25 *state, BlockNumber block, Page page,
				   PendingDoc *open)
{
	Size		at = MAXALIGN(SizeOfPageHeaderData);
	Size		end = ((PageHeader) page)->pd_lower;
	int			ndocs = 0;

	while (at < end)
	{
		OmenBm25DocData *doc = (OmenBm25DocData *) ((char *) page + at);
		const char *fault = find_doc_fault(doc, end - at);

		if (fault != NULL)
		{
			omen_verify_note(state->verify, "B8", block, (int) at, "%s",
							 fault);
			return -1;
		}
		if ((doc->flags & OMEN_BM25_DOC_PART) == 0)
		{
			end_doc(state, open);
			ndocs++;
		}
		else if (!open->open || open->row != omen_tid_row(&doc->tid) ||
				 open->length != doc->length)
			omen_verify_note(state->verify, "B8", block, (int) at,
							 "A part of a document does not follow the one before it.");
		if (!BlockNumberIsValid(omen_page_opaque(page)->next) &&
			(doc->flags & OMEN_BM25_DOC_PART) != 0)
			omen_verify_note(state->verify, "B8", block, (int) at,
							 "A part of a document is on a page that is not closed.");
		add_part(open, doc, block);
		at += doc->size;
	}
	return ndocs;
}

static const char *
find_doc_fault(OmenBm25DocData *doc, Size room)
{
	OmenBm25DocTermData *terms = omen_bm25_doc_terms(doc);
	Size		head;

	if (!omen_bm25_doc_fits(doc, room))
		return "A document has an impossible size.";
	if ((doc->flags & ~(OMEN_BM25_DOC_DEAD | OMEN_BM25_DOC_PART)) != 0)
		return "A document has unknown flags.";
	if (!ItemPointerIsValid(&doc->tid))
		return "A document has an invalid TID.";
	head = (char *) &terms[doc->nterms + 1] - (char *) doc;
	if (terms[0].offset != head || terms[doc->nterms].offset > doc->size ||
		terms[doc->nterms].offset + OMEN_BM25_DOC_ALIGN <= doc->size)
		return "A document's lexemes are not where they should be.";
	for (int i = 0; i < doc->nterms; i++)
	{
		int			len = terms[i + 1].offset - terms[i].offset;

		if (len < 0 || terms[i + 1].offset > doc->size ||
			(i > 0 && terms[i].hash < terms[i - 1].hash))
			return "Terms of a document are out of order.";
		if (omen_bm25_hash((char *) doc + terms[i].offset, len) !=
			terms[i].hash)
			return "A term of a document has the hash of another lexeme.";
	}
	return NULL;
}

static void
add_part(PendingDoc *open, OmenBm25DocData *doc, BlockNumber block)
{
	OmenBm25DocTermData *terms = omen_bm25_doc_terms(doc);

	if (!open->open)
	{
		memset(open, 0, sizeof(*open));
		open->open = true;
		open->row = omen_tid_row(&doc->tid);
		open->block = block;
		open->length = doc->length;
	}
	open->dead |= (doc->flags & OMEN_BM25_DOC_DEAD) != 0;
	for (int i = 0; i < doc->nterms; i++)
	{
		int			len;
		const char *lexeme = omen_bm25_doc_lexeme(doc, i, &len);

		omen_verify_bm25_add_tf(&open->tfs, terms[i].tf);
		open->hash += omen_verify_bm25_hash(lexeme, len, terms[i].tf);
	}
}

static void
end_doc(OmenVerifyBm25 *state, PendingDoc *open)
{
	if (open->open && !open->dead)
	{
		omen_verify_bm25_length(state, open->block, OMEN_VERIFY_NO_OFFSET,
								open->length, open->tfs);
		omen_verify_add_row(state->verify, open->row,
							open->hash + open->length,
							PLACE_PENDING(open->block));
	}
	open->open = false;
}

/*
 * B5: a document is as long as its terms are frequent, unless a frequency was
 * too great to be stored
 */
void
omen_verify_bm25_length(OmenVerifyBm25 *state, BlockNumber block, int offset,
						uint32 length, uint64 tfs)
{
	bool		saturated = (tfs & OMEN_VERIFY_SATURATED) != 0;

	tfs &= ~OMEN_VERIFY_SATURATED;
	if (tfs > length || (tfs < length && !saturated))
		omen_verify_note(state->verify, "B5", block, offset,
						 "A document has length %u, its terms " UINT64_FORMAT ".",
						 length, tfs);
}

/* --- segments --- */

static void
check_segment(void *arg)
{
	OmenVerifyBm25 *state = arg;
	OmenVerify *verify = state->verify;
	OmenBm25Segment *segment = omen_bm25_find_segment(verify->index,
													  state->bm25,
													  state->entry);
	OmenBm25Docs docs;

	check_header(state, segment);
	if (segment->data->npages > verify->nblocks ||
		segment->data->ndocs > (uint64) segment->data->npages *
		OMEN_BM25_ROWS_PER_PAGE)
		omen_page_report_corrupt(verify->index, segment->header,
								 "The segment has not as many pages as its documents need.");
	check_runs(state, segment);
	omen_bm25_docs_init(&docs, verify->index, state->bm25, segment, true);

	/* what the pages have, not what this backend has read before */
	docs.kept = -1;
	state->hashes = palloc_extended(segment->data->ndocs * sizeof(uint64),
									MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	state->tfs = palloc_extended(segment->data->ndocs * sizeof(uint64),
								 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	omen_verify_bm25_terms(state, segment, &docs);
	check_docs(state, &docs);
	pfree(state->hashes);
	pfree(state->tfs);
}

/* What this backend keeps of the segment is what its first page has */
static void
check_header(OmenVerifyBm25 *state, const OmenBm25Segment *segment)
{
	OmenBm25SegmentHeaderData *data = segment->data;
	uint32		done = 0;
	BlockNumber block = state->entry->header;
	bool		good = segment->header == state->entry->header &&
		data->npages == state->entry->npages &&
		data->length == state->entry->length &&
		data->ndocs == state->entry->ndocs;

	while (good && done < data->nruns && BlockNumberIsValid(block))
	{
		uint32		n = Min(data->nruns - done, OMEN_BM25_RUNS_PER_PAGE);
		PGAlignedBlock copy;
		OmenBm25SegmentHeaderData *part = (OmenBm25SegmentHeaderData *)
			omen_page_content(copy.data);

		CHECK_FOR_INTERRUPTS();
		good = omen_verify_copy(state->verify, block, &copy) ==
			OMEN_PAGE_SEGMENT &&
			memcmp(part, data, offsetof(OmenBm25SegmentHeaderData, runs)) == 0 &&
			memcmp(part->runs, data->runs + done,
				   n * sizeof(OmenBm25RunData)) == 0;
		block = omen_page_opaque(copy.data)->next;
		done += n;
	}
	if (!good || done < data->nruns || BlockNumberIsValid(block))
		omen_verify_note(state->verify, "B1", state->entry->header,
						 OMEN_VERIFY_NO_OFFSET,
						 "The description of segment %u is not what its entry says.",
						 state->entry->id);
}

/*
 * B1, B7: its pages are its own, and of the kinds that its sections have.  Pages
 * of a level of the dictionary follow each other.
 */
static void
check_runs(OmenVerifyBm25 *state, const OmenBm25Segment *segment)
{
	const OmenBm25SegmentHeaderData *data = segment->data;
	uint32		nheaders = (data->nruns + OMEN_BM25_RUNS_PER_PAGE - 1) /
		OMEN_BM25_RUNS_PER_PAGE;
	uint32		page = 0;
	uint32		next[MOST_TREE_LEVELS];

	for (int i = 0; i < MOST_TREE_LEVELS; i++)
		next[i] = PG_UINT32_MAX;
	for (uint32 i = 0; i < data->nruns; i++)
	{
		if (data->runs[i].npages == 0)
			omen_verify_note(state->verify, "B1", state->entry->header,
							 (int) i, "A run of segment %u has no pages.",
							 data->id);
		for (uint32 j = 0; j < data->runs[i].npages; j++, page++)
		{
			BlockNumber block = data->runs[i].start + j;
			PGAlignedBlock copy;
			OmenPageKind kind = expected_kind(data, page, nheaders);

			CHECK_FOR_INTERRUPTS();
			if (kind == OMEN_PAGE_POSTINGS &&
				block < state->verify->nblocks &&
				state->verify->kinds[block] == OMEN_PAGE_TERMS)
				kind = OMEN_PAGE_TERMS;
			if (!omen_verify_refer(state->verify, "B7", state->entry->header,
								   block, kind, "a segment"))
			{
				/* a wrong length is not to be told page by page */
				if (block >= state->verify->nblocks)
					break;
				continue;
			}
			if (omen_verify_copy(state->verify, block, &copy) != kind ||
				omen_page_opaque(copy.data)->owner != data->id)
				omen_verify_note(state->verify, "B1", block,
								 OMEN_VERIFY_NO_OFFSET,
								 "The page is not one of segment %u.",
								 data->id);
			else if (kind == OMEN_PAGE_TERMS)
				check_terms_page(state, block, page, copy.data, next);
		}
	}
	if (page != data->npages)
		omen_verify_note(state->verify, "B1", state->entry->header,
						 OMEN_VERIFY_NO_OFFSET,
						 "Segment %u has %u pages, expected %u.", data->id,
						 page, data->npages);
	for (int i = 0; i < MOST_TREE_LEVELS; i++)
	{
		if (next[i] != PG_UINT32_MAX)
			omen_verify_note(state->verify, "B10", state->entry->header,
							 OMEN_VERIFY_NO_OFFSET,
							 "Level %d of the dictionary of segment %u has no end.",
							 i, data->id);
	}
}

/* next[]: of each level, the page that the last one leads to */
static void
check_terms_page(OmenVerifyBm25 *state, BlockNumber block, uint32 number,
				 Page page, uint32 *next)
{
	const OmenBm25TermsData *terms = (const OmenBm25TermsData *)
		omen_page_content(page);

	if (terms->level >= MOST_TREE_LEVELS ||
		(next[terms->level] != PG_UINT32_MAX &&
		 next[terms->level] != number))
		omen_verify_note(state->verify, "B10", block, OMEN_VERIFY_NO_OFFSET,
						 "The page is not the next one of its level of the dictionary.");
	else
		next[terms->level] = omen_page_opaque(page)->next;
}

/* Sections follow each other; TERMS and POSTINGS come first, in any order */
static OmenPageKind
expected_kind(const OmenBm25SegmentHeaderData *data, uint32 page,
			  uint32 nheaders)
{
	if (page + nheaders >= data->npages)
		return OMEN_PAGE_SEGMENT;
	if (page >= data->alive)
		return OMEN_PAGE_ALIVE;
	if (page >= data->rows)
		return OMEN_PAGE_ROWS;
	if (page >= data->lengths)
		return OMEN_PAGE_LENGTHS;
	return OMEN_PAGE_POSTINGS;
}

static void
check_docs(OmenVerifyBm25 *state, OmenBm25Docs *docs)
{
	const OmenBm25Segment *segment = docs->segment;
	uint32		ndocs = segment->data->ndocs;
	uint32		ndead = 0;
	uint32		nlong = 0;
	uint64		sum = 0;
	uint64		last = 0;

	for (uint32 doc = 0; doc < ndocs; doc++)
	{
		int			n;
		const ItemPointerData *tids =
			omen_bm25_docs_rows(docs, doc / OMEN_BM25_ROWS_PER_PAGE, &n);
		uint64		row = omen_tid_row(&tids[doc % OMEN_BM25_ROWS_PER_PAGE]);
		uint32		length = omen_bm25_docs_length(docs, doc);
		BlockNumber block = omen_bm25_segment_block(segment,
													segment->data->rows + doc /
													OMEN_BM25_ROWS_PER_PAGE);
		int			offset = doc % OMEN_BM25_ROWS_PER_PAGE;

		if (doc % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if ((doc > 0 && row <= last) || (row & 0xFFFF) == 0)
			omen_verify_note(state->verify, "B5", block, offset,
							 "Rows of segment %u are out of order.",
							 segment->data->id);
		last = row;
		sum += length;
		nlong += length >= OMEN_LONG_LENGTH;
		omen_verify_bm25_length(state, block, offset, length, state->tfs[doc]);
		if (omen_bm25_docs_is_dead(docs, doc))
			ndead++;
		else
			omen_verify_add_row(state->verify, row,
								state->hashes[doc] + length,
								PLACE_SEGMENT(state->number, doc));
	}
	if (sum != state->entry->length)
		omen_verify_note(state->verify, "B6", OMEN_BM25_META_BLOCK,
						 state->number,
						 "Documents of segment %u have length " UINT64_FORMAT
						 ", expected " UINT64_FORMAT ".", segment->data->id,
						 sum, state->entry->length);
	check_long_lengths(state, segment, nlong);
	check_alive(state, segment, ndead);
}

static void
check_long_lengths(OmenVerifyBm25 *state, const OmenBm25Segment *segment,
				   uint32 nlong)
{
	const OmenBm25SegmentHeaderData *data = segment->data;
	uint32		last = 0;

	if (nlong != data->nlong)
		omen_verify_note(state->verify, "B5", state->entry->header,
						 OMEN_VERIFY_NO_OFFSET,
						 "Segment %u has %u long documents, expected %u.",
						 data->id, nlong, data->nlong);
	for (uint32 i = 0; i < Min(nlong, data->nlong); i++)
	{
		PGAlignedBlock copy;
		uint32		at = i % OMEN_BM25_LONGS_PER_PAGE;
		BlockNumber block = omen_bm25_segment_block(segment,
													data->long_lengths + i /
													OMEN_BM25_LONGS_PER_PAGE);
		const uint32 *pair;

		CHECK_FOR_INTERRUPTS();
		if (!BlockNumberIsValid(block) ||
			omen_verify_copy(state->verify, block, &copy) !=
			OMEN_PAGE_LENGTHS)
			return;
		pair = (const uint32 *) omen_page_content(copy.data) + 2 * at;
		if (pair[0] >= data->ndocs || (i > 0 && pair[0] <= last) ||
			pair[1] < OMEN_LONG_LENGTH)
			omen_verify_note(state->verify, "B5", block, at,
							 "Lengths of long documents are out of order.");
		last = pair[0];
	}
}

/*
 * Bits beyond the last document are not set.  A crash may come between the
 * record that sets bits and the one that counts them.
 */
static void
check_alive(OmenVerifyBm25 *state, const OmenBm25Segment *segment,
			uint32 ndead)
{
	const OmenBm25SegmentHeaderData *data = segment->data;
	uint32		page = (data->ndocs - 1) / OMEN_BM25_BITS_PER_PAGE;
	uint32		bit = (data->ndocs - 1) % OMEN_BM25_BITS_PER_PAGE + 1;
	BlockNumber block = omen_bm25_segment_block(segment, data->alive + page);
	PGAlignedBlock copy;

	if (ndead < state->entry->ndead)
		omen_verify_note(state->verify, "B6", OMEN_BM25_META_BLOCK,
						 state->number,
						 "Segment %u has %u dead documents, expected %u.",
						 data->id, ndead, state->entry->ndead);
	if (!BlockNumberIsValid(block) ||
		omen_verify_copy(state->verify, block, &copy) != OMEN_PAGE_ALIVE)
		return;
	for (; bit < OMEN_BM25_BITS_PER_PAGE; bit++)
	{
		if ((omen_page_content(copy.data)[bit / 8] >> (bit % 8) & 1) != 0)
		{
			omen_verify_note(state->verify, "B6", block, (int) bit,
							 "A document is dead that segment %u does not have.",
							 data->id);
			return;
		}
	}
}

/* --- rows --- */

/* Sums of these are what a document has, in whichever order */
uint64
omen_verify_bm25_hash(const char *lexeme, int len, uint16 tf)
{
	return hash_bytes_extended((const unsigned char *) lexeme, len, tf);
}

static bool
hash_row(void *arg, const Datum *values, const bool *isnull, uint64 *hash)
{
	OmenVerifyBm25 *state = arg;
	OmenBm25Doc doc;

	if (isnull[0])
		return false;
	omen_bm25_read_doc(DatumGetTSVector(values[0]), &state->meta.units, &doc);
	*hash = doc.length;
	for (int i = 0; i < doc.nterms; i++)
		*hash += omen_verify_bm25_hash(doc.terms[i].lexeme, doc.terms[i].len,
									   doc.terms[i].tf);
	return true;
}

/* Nothing goes while this process may maintain the index */
static bool
is_there(void *arg, uint64 row, uint64 place)
{
	return true;
}

static void
locate(void *arg, uint64 place, BlockNumber *block, int *offset)
{
	OmenVerifyBm25 *state = arg;

	if ((place >> 63) == 0)
	{
		*block = (BlockNumber) place;
		return;
	}
	*block = state->meta.segments[place >> 32 & 0x7FFFFFFF].header;
	*offset = (int) (uint32) place;
}
