/*-------------------------------------------------------------------------
 *
 * page.c
 *	  The gate to buffers: every page of an index is read, locked and
 *	  released here and nowhere else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "executor/instrument.h"
#include "pgstat.h"
#include "storage/buf_internals.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/spccache.h"

#include "base/compat.h"
#include "storage/page.h"

/* One hinted read in so many takes the ordinary path, see OmenBufferHints */
#define HINT_REFRESH	32

/*
 * What the free space map says of a FREE page, and what is asked for: with some
 * slack, as it rounds what it stores down and requests up.
 */
#define SPACE_PAGE	(BLCKSZ - 32)
#define WANT_PAGE	(BLCKSZ - 256)

uint64		omen_page_reads = 0;

/* Of blocks that have not been read, never written to */
static Buffer no_hints[OMEN_HINTS_PER_PART];

/*
 * After a read that missed shared buffers, as many looks ahead are made: where
 * misses are rare, looking for blocks to ask for would be work for nothing.
 */
#define COLD_LOOKS		64

static OmenPageKind lock_any(Relation index, Buffer buffer, OmenLockMode mode);
static Buffer read_by_hint(Relation index, BlockNumber block,
						   OmenBufferHints *hints);
static inline Buffer get_guess(BlockNumber block,
							   const OmenBufferHints *hints);
static inline Buffer *get_hint(BlockNumber block, OmenBufferHints *hints);
static void make_hints(BlockNumber block, OmenBufferHints *hints);
static bool is_named(Relation index, Buffer buffer);
static void check_block(Relation index, BlockNumber block);
static void check_page(Relation index, Buffer buffer, OmenPageKind kind);
static inline void prefetch_lines(const char *start, Size len);
static inline void let_others_in(void);

void
omen_page_init(Page page, OmenPageKind kind, uint32 generation)
{
	OmenPageOpaque opaque;

	PageInit(page, BLCKSZ, sizeof(OmenPageOpaqueData));
	((PageHeader) page)->pd_lower = ((PageHeader) page)->pd_upper;
	opaque = omen_page_opaque(page);
	opaque->kind = kind;
	opaque->format = OMEN_PAGE_FORMAT;
	opaque->generation = generation;
	opaque->next = InvalidBlockNumber;
	opaque->page_id = OMEN_PAGE_ID;
}

Buffer
omen_page_read(Relation index, BlockNumber block, OmenPageKind kind,
			   OmenLockMode mode)
{
	Buffer		buffer;

	omen_page_reads++;
	check_block(index, block);
	buffer = ReadBuffer(index, block);
	LockBuffer(buffer, mode);
	check_page(index, buffer, kind);
	return buffer;
}

/*
 * The same through a guess where the block is, which saves the look-up in
 * the buffer mapping table: two of the three cache misses of a page visit.
 */
Buffer
omen_page_read_hinted(Relation index, BlockNumber block, OmenPageKind kind,
					  OmenLockMode mode, OmenBufferHints *hints)
{
	Buffer		buffer = read_by_hint(index, block, hints);

	omen_page_reads++;
	LockBuffer(buffer, mode);
	check_page(index, buffer, kind);
	return buffer;
}

Buffer
omen_page_read_fixed(Relation index, BlockNumber block, OmenPageKind kind,
					 OmenLockMode mode, OmenBufferHints *hints)
{
	Buffer		guess = get_guess(block, hints);
	Buffer		buffer = read_by_hint(index, block, hints);

	omen_page_reads++;
	LockBuffer(buffer, mode);
	if (guess > 0 && guess == buffer)
		return buffer;

	/* a hint is left only of a page that is good */
	if (block < hints->nhints)
		*get_hint(block, hints) = InvalidBuffer;
	check_page(index, buffer, kind);
	if (block < hints->nhints)
		*get_hint(block, hints) = buffer;
	return buffer;
}

Buffer
omen_page_read_owned(Relation index, BlockNumber block, OmenPageKind kind,
					 uint32 owner, OmenLockMode mode, OmenBufferHints *hints)
{
	Buffer		buffer = read_by_hint(index, block, hints);
	OmenPageOpaque opaque;

	if (lock_any(index, buffer, mode) == kind)
	{
		opaque = omen_page_opaque(BufferGetPage(buffer));
		if (opaque->owner == owner)
			return buffer;
	}
	UnlockReleaseBuffer(buffer);
	return InvalidBuffer;
}

Buffer
omen_page_try_free(Relation index, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(index, block);
	Page		page;

	if (!ConditionalLockBuffer(buffer))
	{
		ReleaseBuffer(buffer);
		return InvalidBuffer;
	}
	page = BufferGetPage(buffer);
	if (PageIsNew(page))
		return buffer;
	check_page(index, buffer, OMEN_PAGE_FREE);
	if (omen_page_opaque(page)->kind == OMEN_PAGE_FREE)
		return buffer;
	UnlockReleaseBuffer(buffer);
	return InvalidBuffer;
}

Buffer
omen_page_read_any(Relation index, BlockNumber block, OmenLockMode mode,
				   BufferAccessStrategy strategy, OmenPageKind *kind)
{
	Buffer		buffer;

	check_block(index, block);
	buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL,
								strategy);
	*kind = lock_any(index, buffer, mode);
	return buffer;
}

void
omen_page_copy(Relation index, BlockNumber block,
			   BufferAccessStrategy strategy, Page copy)
{
	Buffer		buffer;

	omen_page_reads++;
	check_block(index, block);
	buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL,
								strategy);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(copy, BufferGetPage(buffer), BLCKSZ);
	UnlockReleaseBuffer(buffer);
}

void
omen_page_stream_begin(OmenPageStream *stream, Relation index,
					   BlockNumber nblocks, BufferAccessStrategy strategy)
{
	stream->index = index;
	omen_compat_stream_begin(&stream->blocks, index, nblocks, strategy);
}

Buffer
omen_page_stream_next(OmenPageStream *stream, OmenLockMode mode,
					  OmenPageKind *kind)
{
	Buffer		buffer = omen_compat_stream_next(&stream->blocks);

	if (BufferIsValid(buffer))
		*kind = lock_any(stream->index, buffer, mode);
	return buffer;
}

void
omen_page_stream_end(OmenPageStream *stream)
{
	omen_compat_stream_end(&stream->blocks);
}

void
omen_page_release(Buffer buffer)
{
	UnlockReleaseBuffer(buffer);
	let_others_in();
}

void
omen_page_unlock(Buffer buffer)
{
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	let_others_in();
}

/*
 * For tests, with COPT=-DOMEN_PERTURB=100: after one of so many releases of a
 * page, its holder stands still for some time, so that others come between any
 * two steps of it.
 */
static inline void
let_others_in(void)
{
#ifdef OMEN_PERTURB
	if (pg_prng_uint32(&pg_global_prng_state) % OMEN_PERTURB == 0)
		pg_usleep(pg_prng_uint64_range(&pg_global_prng_state, 10, 5000));
#endif
}

void
omen_page_lock(Buffer buffer, OmenLockMode mode)
{
	LockBuffer(buffer, mode);
}

Buffer
omen_page_extend(Relation index, ForkNumber fork)
{
	return omen_compat_extend(index, fork);
}

BlockNumber
omen_page_extend_by(Relation index, uint32 npages, uint32 *got)
{
	return omen_compat_extend_by(index, npages, got);
}

Buffer
omen_page_find_free(Relation index)
{
	BlockNumber block = GetPageWithFreeSpace(index, WANT_PAGE);

	while (BlockNumberIsValid(block))
	{
		if (block < RelationGetNumberOfBlocks(index))
		{
			Buffer		buffer = omen_page_try_free(index, block);

			if (BufferIsValid(buffer) && is_named(index, buffer))
				return buffer;
			if (BufferIsValid(buffer))
				omen_page_release(buffer);
		}
		block = RecordAndGetPageWithFreeSpace(index, block, 0, WANT_PAGE);
	}
	return omen_page_extend(index, MAIN_FORKNUM);
}

/*
 * A page of zeros is for whoever finds it in the free space map as long as it is
 * there: see omen_page_is_unclaimed().
 */
static bool
is_named(Relation index, Buffer buffer)
{
	return !PageIsNew(BufferGetPage(buffer)) ||
		GetRecordedFreeSpace(index, BufferGetBlockNumber(buffer)) > 0;
}

bool
omen_page_is_unclaimed(Relation index, BlockNumber block)
{
	OmenPageKind kind;
	Buffer		buffer;
	bool		is_new;

	if (GetRecordedFreeSpace(index, block) > 0)
		return false;
	buffer = omen_page_read_any(index, block, OMEN_LOCK_SHARE, NULL, &kind);
	is_new = PageIsNew(BufferGetPage(buffer));
	omen_page_release(buffer);
	return is_new;
}

void
omen_page_record_free(Relation index, BlockNumber block)
{
	RecordPageWithFreeSpace(index, block, SPACE_PAGE);
}

void
omen_page_report_corrupt(Relation index, BlockNumber block, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("index \"%s\" is not valid at block %u",
					RelationGetRelationName(index), block),
			 errdetail("%s", detail),
			 errhint("Rebuild it with REINDEX INDEX %s.",
					 quote_identifier(RelationGetRelationName(index)))));
}

void
omen_page_report_format(Relation index, const char *what, uint32 found,
						uint32 expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("index \"%s\" has %s %u, this version of omendb reads %u",
					RelationGetRelationName(index), what, found, expected),
			 errhint("Rebuild it with REINDEX INDEX %s.",
					 quote_identifier(RelationGetRelationName(index)))));
}

/*
 * Prefetch len bytes at offset of the page that the hint names.  Frames
 * never move, so a wrong hint costs a few useless cache lines.  The descriptor
 * comes first, for it is looked at first: the other way round, walks without
 * a filter took 8 % longer.  Compilers do not know that.
 */
void
omen_page_prefetch_memory(BlockNumber block, Size offset, Size len,
						  const OmenBufferHints *hints)
{
	Buffer		guess = get_guess(block, hints);
	const char *page;

	if (guess <= 0)
		return;

	/* header and special area are looked at on the way there */
	page = (const char *) BufferGetBlock(guess);
	__builtin_prefetch(GetBufferDescriptor(guess - 1));
	pg_compiler_barrier();
	__builtin_prefetch(page);
	__builtin_prefetch(page + BLCKSZ - MAXALIGN(sizeof(OmenPageOpaqueData)));
	prefetch_lines(page + offset, len);
}

void
omen_page_prefetch_fixed(BlockNumber block, Size offset, Size len,
						 const OmenBufferHints *hints)
{
	Buffer		guess = get_guess(block, hints);

	if (guess <= 0)
		return;
	__builtin_prefetch(GetBufferDescriptor(guess - 1));
	prefetch_lines((const char *) BufferGetBlock(guess) + offset, len);
}

static inline void
prefetch_lines(const char *start, Size len)
{
	for (Size i = 0; i < len; i += PG_CACHE_LINE_SIZE / 2)
		__builtin_prefetch(start + i);
}

void
omen_page_prefetch_line(const ItemPointerData *tid,
						const OmenBufferHints *hints)
{
	omen_page_prefetch_memory(ItemPointerGetBlockNumberNoCheck(tid),
							  offsetof(PageHeaderData, pd_linp) +
							  (ItemPointerGetOffsetNumberNoCheck(tid) - 1) *
							  sizeof(ItemIdData), sizeof(ItemIdData), hints);
}

/*
 * Reads the line pointer without a lock, of a page that may be another one by
 * now: whatever it says, only lines of this page are touched.
 */
void
omen_page_prefetch_row(const ItemPointerData *tid,
					   const OmenBufferHints *hints)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
	Buffer		buffer = get_guess(block, hints);
	ItemIdData	line;
	Size		start;

	if (buffer <= 0 || offset == 0 ||
		offset > (BLCKSZ - SizeOfPageHeaderData) / sizeof(ItemIdData))
		return;
	line = *PageGetItemId(BufferGetPage(buffer), offset);
	start = Min(ItemIdGetOffset(&line), BLCKSZ);
	omen_page_prefetch_memory(block, start,
							  Min(ItemIdGetLength(&line), BLCKSZ - start),
							  hints);
}

Buffer
omen_page_pin_hinted(Relation table, BlockNumber block, OmenBufferHints *hints)
{
	return read_by_hint(table, block, hints);
}

void
omen_page_hints_init(OmenBufferHints *hints, MemoryContext context)
{
	hints->context = context;
	hints->nblocks = 0;
	hints->nhints = 0;
	hints->parts = NULL;
	hints->reads = 0;
	hints->scan = 0;
	hints->cold = 0;
	omen_page_hints_start_scan(hints);
}

/* Blocks may be asked for once more, and settings may have changed */
void
omen_page_hints_start_scan(OmenBufferHints *hints)
{
	hints->scan = hints->scan == PG_INT32_MAX ? 1 : hints->scan + 1;
	hints->depth = -1;
}

int
omen_page_ahead(Relation rel, OmenBufferHints *hints)
{
	if (likely(hints->cold == 0))
		return 0;
	hints->cold--;
	if (hints->depth < 0)
		hints->depth = get_tablespace_io_concurrency(rel->rd_rel->reltablespace);
	return hints->depth;
}

void
omen_page_read_ahead(Relation rel, BlockNumber block, OmenBufferHints *hints)
{
	PrefetchBufferResult result;
	Buffer	   *hint = get_hint(block, hints);

	/* whose block of that number it is would only matter for correctness */
	if (*hint == -hints->scan ||
		(*hint > 0 && GetBufferDescriptor(*hint - 1)->tag.blockNum == block))
		return;
	result = PrefetchBuffer(rel, MAIN_FORKNUM, block);
	*hint = BufferIsValid(result.recent_buffer) ? result.recent_buffer :
		-hints->scan;
}

/* Lock a page of any kind, check it, and say which kind it is */
static OmenPageKind
lock_any(Relation index, Buffer buffer, OmenLockMode mode)
{
	Page		page = BufferGetPage(buffer);

	omen_page_reads++;
	LockBuffer(buffer, mode);

	/* a crash between extension and first use leaves a page of zeros */
	if (PageIsNew(page))
		return OMEN_PAGE_FREE;
	check_page(index, buffer, OMEN_PAGE_FREE);
	return (OmenPageKind) omen_page_opaque(page)->kind;
}

static Buffer
read_by_hint(Relation index, BlockNumber block, OmenBufferHints *hints)
{
	Buffer	   *hint;
	int64		misses;

	/* local buffers of temporary relations have no mapping to save */
	if (RelationUsesLocalBuffers(index))
	{
		check_block(index, block);
		return ReadBuffer(index, block);
	}

	if (unlikely(block >= hints->nblocks))
	{
		check_block(index, block);
		hints->nblocks = RelationGetNumberOfBlocks(index);
	}
	hint = get_hint(block, hints);
	if (*hint > 0 && hints->reads++ % HINT_REFRESH != 0 &&
		ReadRecentBuffer(omen_compat_locator(index), MAIN_FORKNUM, block,
						 *hint))
	{
		pgstat_count_buffer_read(index);
		pgstat_count_buffer_hit(index);
		return *hint;
	}

	misses = pgBufferUsage.shared_blks_read;
	*hint = ReadBuffer(index, block);
	if (pgBufferUsage.shared_blks_read != misses)
		hints->cold = COLD_LOOKS;
	return *hint;
}

/* InvalidBuffer or negative if there is no guess */
static inline Buffer
get_guess(BlockNumber block, const OmenBufferHints *hints)
{
	return likely(block < hints->nhints) ? *omen_page_hint(block, hints) :
		InvalidBuffer;
}

/* To be written */
static inline Buffer *
get_hint(BlockNumber block, OmenBufferHints *hints)
{
	if (unlikely(block >= hints->nhints ||
				 hints->parts[block / OMEN_HINTS_PER_PART] == no_hints))
		make_hints(block, hints);
	return omen_page_hint(block, hints);
}

/*
 * 4 bytes for each block: a smaller, hashed table loses most of the gain.  But
 * only where blocks are read: the first queries of a session, and of one that
 * has just forgotten the index, do not wait for megabytes to be cleared.
 */
static void
make_hints(BlockNumber block, OmenBufferHints *hints)
{
	uint32		part = block / OMEN_HINTS_PER_PART;
	uint32		nparts = hints->nhints / OMEN_HINTS_PER_PART;

	if (part >= nparts)
	{
		uint32		more = part + part / 4 + 1;
		Size		size = mul_size(more, sizeof(Buffer *));

		if (hints->parts == NULL)
			hints->parts = MemoryContextAllocHuge(hints->context, size);
		else
			hints->parts = repalloc_huge(hints->parts, size);
		while (nparts < more)
			hints->parts[nparts++] = no_hints;
		hints->nhints = (uint64) nparts * OMEN_HINTS_PER_PART;
	}
	hints->parts[part] = MemoryContextAllocZero(hints->context,
												sizeof(no_hints));
}

/*
 * A block number that was read from a page must lie in the relation: past its
 * end the server speaks of a broken file, and the invalid one extends it.
 */
static void
check_block(Relation index, BlockNumber block)
{
	if (unlikely(block != 0 && block >= RelationGetNumberOfBlocks(index)))
		omen_page_report_corrupt(index, block,
								 "The index refers to this block, but ends before it.");
}

/*
 * Is it one of our pages?  Also checks what generic WAL relies on: that the
 * hole does not reach beyond pd_upper.
 */
const char *
omen_page_find_fault(Page page)
{
	PageHeader	header = (PageHeader) page;
	OmenPageOpaque opaque = (OmenPageOpaque)
		((char *) page + BLCKSZ - MAXALIGN(sizeof(OmenPageOpaqueData)));

	if (unlikely(PageIsNew(page)))
		return NULL;
	if (unlikely(header->pd_special !=
				 BLCKSZ - MAXALIGN(sizeof(OmenPageOpaqueData)) ||
				 header->pd_upper != header->pd_special ||
				 header->pd_lower > header->pd_upper ||
				 header->pd_lower < SizeOfPageHeaderData ||
				 opaque->page_id != OMEN_PAGE_ID ||
				 opaque->kind > OMEN_PAGE_LAST_KIND))
		return "The page is not one of this access method.";
	return NULL;
}

/* Is it of the kind wanted (OMEN_PAGE_FREE = any)? */
static void
check_page(Relation index, Buffer buffer, OmenPageKind kind)
{
	Page		page = BufferGetPage(buffer);
	OmenPageOpaque opaque;
	const char *fault = omen_page_find_fault(page);

	if (unlikely(PageIsNew(page)))
		fault = "The page is empty.";
	if (unlikely(fault != NULL))
		omen_page_report_corrupt(index, BufferGetBlockNumber(buffer), fault);
	opaque = omen_page_opaque(page);
	if (unlikely(opaque->format != OMEN_PAGE_FORMAT))
		omen_page_report_format(index, "page format", opaque->format,
								OMEN_PAGE_FORMAT);
	if (unlikely(kind != OMEN_PAGE_FREE && opaque->kind != kind))
		omen_page_report_corrupt(index, BufferGetBlockNumber(buffer),
								 psprintf("The page is of kind %u, expected %u.",
										  opaque->kind, (unsigned) kind));
}
