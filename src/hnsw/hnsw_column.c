/*-------------------------------------------------------------------------
 *
 * hnsw_column.c
 *	  The key column, see hnsw_column.h.
 *
 * NOTES
 *	  Directories and pages of the column are made as numbers of nodes come, and
 *	  stay where they are.  So a backend keeps what directories say: a page that
 *	  it knows of is there; one that it does not may have come meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "distance/distance.h"
#include "hnsw/hnsw_column.h"

/*
 * A sample is of so many places of the column and of 64 nodes in each, which lie
 * in a few lines of one page.
 */
#define SAMPLE_PLACES	16

/* Of 64 nodes, up to so many are tested one by one */
#define FEW_OF_WORD		8

/* No directory, and no page of the column, is on block 0 */
#define NO_PAGE		((BlockNumber) OMEN_HNSW_META_BLOCK)

#define WORDS_PER_PAGE	(OMEN_KEYS_PER_PAGE / 64)

static BlockNumber find_page(Relation index, OmenHnswIndex *hnsw,
							 uint32 entry);
static BlockNumber ensure_page(Relation index, OmenHnswIndex *hnsw,
							   uint32 entry);
static BlockNumber find_directory(Relation index, OmenHnswIndex *hnsw,
								  uint32 dir);
static BlockNumber add_directory(Relation index, OmenHnswIndex *hnsw,
								 uint32 dir);
static BlockNumber add_page(Relation index, OmenHnswIndex *hnsw,
							BlockNumber directory, uint32 entry);
static void load_directory(Relation index, OmenHnswIndex *hnsw, uint32 dir);
static void count_pages(OmenKeyDir *kept);
static OmenKeyDir *kept_directory(OmenHnswIndex *hnsw, uint32 dir);
static BlockNumber known_page(const OmenHnswIndex *hnsw, uint32 entry);
static bool is_known_newer(const OmenHnswIndex *hnsw, uint32 entry);
static OmenHnswKeyDirsData *meta_directories(Page page);
static void check_directory(Relation index, Buffer buffer, uint32 dir);
static bool is_newer(const OmenKeyDirPageData *page, uint32 at);
static Buffer lock_page(Relation index, OmenHnswIndex *hnsw, uint32 chunk,
						int key);
static const OmenKeyPageData *page_keys(Buffer buffer);
static void filter_page(const OmenKeyCondition *condition,
						const OmenKeyPageData *page, int from, int n,
						uint64 *bits);
static uint64 filter_word(const OmenKeyCondition *condition,
						  const OmenKeyPageData *page, int word, uint64 bits);
static bool is_set(const uint64 *bits, uint32 at);

void
omen_column_set(Relation index, OmenHnswIndex *hnsw, uint32 number,
				const OmenHnswKeys *keys)
{
	for (int key = 0; key < hnsw->meta.nkeys; key++)
	{
		uint32		entry = omen_column_chunk(number) * hnsw->meta.nkeys + key;
		bool		null = (keys->nulls >> key & 1) != 0;
		uint32		at = number % OMEN_KEYS_PER_PAGE;
		BlockNumber block = ensure_page(index, hnsw, entry);
		Buffer		buffer = omen_page_read_hinted(index, block,
												   OMEN_PAGE_KEYS,
												   OMEN_LOCK_EXCLUSIVE,
												   &hnsw->hints);
		const OmenKeyPageData *page = page_keys(buffer);

		if (page->codes[at] != keys->codes[key] ||
			is_set(page->nulls, at) != null || !is_set(page->nodes, at))
		{
			OmenPageEdit edit;

			omen_edit_begin(&edit, index);
			omen_column_put((OmenKeyPageData *)
							omen_page_content(omen_edit_page(&edit, buffer)),
							at, null, keys->codes[key]);
			omen_edit_finish(&edit);
		}
		omen_page_release(buffer);
	}
}

bool
omen_column_has(Relation index, OmenHnswIndex *hnsw, uint32 number,
				const OmenHnswKeys *keys)
{
	for (int key = 0; key < hnsw->meta.nkeys; key++)
	{
		find_page(index, hnsw, omen_column_chunk(number) * hnsw->meta.nkeys +
				  key);
		if (!omen_column_has_key(index, hnsw, number, key,
								 (keys->nulls >> key & 1) != 0,
								 keys->codes[key]))
			return false;
	}
	return true;
}

bool
omen_column_has_key(Relation index, OmenHnswIndex *hnsw, uint32 number,
					int key, bool null, uint64 code)
{
	Buffer		buffer = lock_page(index, hnsw, omen_column_chunk(number), key);
	uint32		at = number % OMEN_KEYS_PER_PAGE;
	const OmenKeyPageData *page;
	bool		same;

	if (!BufferIsValid(buffer))
		return false;
	page = page_keys(buffer);
	same = page->codes[at] == code && is_set(page->nodes, at) &&
		is_set(page->nulls, at) == null;
	omen_page_release(buffer);
	return same;
}

void
omen_column_refresh(Relation index, OmenHnswIndex *hnsw, uint32 nchunks)
{
	uint64		nentries = (uint64) nchunks * hnsw->meta.nkeys;

	for (uint32 dir = 0; dir < OMEN_KEYDIRS &&
		 (uint64) dir * OMEN_KEYDIR_ENTRIES < nentries; dir++)
		load_directory(index, hnsw, dir);
}

double
omen_column_newer_share(const OmenHnswIndex *hnsw)
{
	uint64		npages = 0;
	uint64		nnewer = 0;

	for (uint32 dir = 0; dir < OMEN_KEYDIRS && hnsw->key_dirs &&
		 hnsw->key_dirs[dir].copy; dir++)
	{
		npages += hnsw->key_dirs[dir].npages;
		nnewer += hnsw->key_dirs[dir].nnewer;
	}
	return npages == 0 ? 0 : (double) nnewer / npages;
}

bool
omen_column_is_newer(const OmenHnswIndex *hnsw, uint32 chunk, int key)
{
	return is_known_newer(hnsw, chunk * hnsw->meta.nkeys + key);
}

/* Keys of a node are entered in their order, before the node is there */
uint32
omen_column_chunks(const OmenHnswIndex *hnsw, uint32 nchunks)
{
	while (nchunks > 0 &&
		   known_page(hnsw, (nchunks - 1) * hnsw->meta.nkeys) == NO_PAGE)
		nchunks--;
	return nchunks;
}

double
omen_column_share(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeyPredicate *predicate, uint32 nchunks)
{
	uint64		ntested = 0;
	uint64		nallowed = 0;

	Assert(predicate->nconditions > 0);

	for (int i = 0; i < SAMPLE_PLACES; i++)
	{
		uint32		chunk = (uint64) nchunks * i / SAMPLE_PLACES;
		int			word = i % WORDS_PER_PAGE;
		uint64		bits = ~UINT64CONST(0);

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < predicate->nconditions; j++)
		{
			const OmenKeyCondition *condition = &predicate->conditions[j];
			Buffer		buffer = lock_page(index, hnsw, chunk, condition->key);

			if (!BufferIsValid(buffer))
			{
				bits = 0;
				break;
			}
			if (j == 0)
				ntested += pg_popcount64(page_keys(buffer)->nodes[word]);
			filter_page(condition, page_keys(buffer), word, 1, &bits);
			omen_page_release(buffer);
		}
		nallowed += pg_popcount64(bits);
	}
	return ntested == 0 ? 1.0 : (double) nallowed / ntested;
}

void
omen_column_filter(Relation index, OmenHnswIndex *hnsw,
				   const OmenKeyPredicate *predicate, uint32 chunk,
				   int from, int n, uint64 *bits)
{
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < predicate->nconditions; i++)
	{
		const OmenKeyCondition *condition = &predicate->conditions[i];
		Buffer		buffer = lock_page(index, hnsw, chunk, condition->key);

		if (!BufferIsValid(buffer))
		{
			memset(bits, 0, n * sizeof(uint64));
			return;
		}
		filter_page(condition, page_keys(buffer), from, n, bits);
		omen_page_release(buffer);
	}
}

bool
omen_column_test(Relation index, OmenHnswIndex *hnsw,
				 const OmenKeyPredicate *predicate, uint32 number)
{
	uint32		at = number % OMEN_KEYS_PER_PAGE;
	bool		allowed = true;

	for (int i = 0; i < predicate->nconditions && allowed; i++)
	{
		const OmenKeyCondition *condition = &predicate->conditions[i];
		Buffer		buffer = lock_page(index, hnsw,
									   omen_column_chunk(number),
									   condition->key);
		const OmenKeyPageData *page;

		if (!BufferIsValid(buffer))
			return false;
		page = page_keys(buffer);
		allowed = is_set(page->nodes, at) &&
			omen_hnsw_match_key(condition, is_set(page->nulls, at),
								page->codes[at]) != OMEN_KEYS_NO;
		omen_page_release(buffer);
	}
	return allowed;
}

void
omen_column_prefetch(OmenHnswIndex *hnsw, const OmenKeyPredicate *predicate,
					 uint32 number)
{
	uint32		at = number % OMEN_KEYS_PER_PAGE;
	Size		start = MAXALIGN(SizeOfPageHeaderData);

	for (int i = 0; i < predicate->nconditions; i++)
	{
		BlockNumber block = known_page(hnsw, omen_column_chunk(number) *
									   hnsw->meta.nkeys +
									   predicate->conditions[i].key);

		omen_page_prefetch_memory(block, start + at * sizeof(uint64),
								  sizeof(uint64), &hnsw->hints);
		omen_page_prefetch_memory(block, start +
								  offsetof(OmenKeyPageData, nulls),
								  2 * sizeof(uint64) * WORDS_PER_PAGE,
								  &hnsw->hints);
	}
}

/* --- directories --- */

/* The block of a page of the column, or NO_PAGE */
static BlockNumber
find_page(Relation index, OmenHnswIndex *hnsw, uint32 entry)
{
	if (known_page(hnsw, entry) == NO_PAGE)
		load_directory(index, hnsw, entry / OMEN_KEYDIR_ENTRIES);
	return known_page(hnsw, entry);
}

/* The same; adds it if there is none, and marks that the lists are older */
static BlockNumber
ensure_page(Relation index, OmenHnswIndex *hnsw, uint32 entry)
{
	BlockNumber block = find_page(index, hnsw, entry);
	BlockNumber directory;

	if (block != NO_PAGE && (is_known_newer(hnsw, entry) ||
							 !omen_keylist_exists(&hnsw->meta)))
		return block;
	directory = find_directory(index, hnsw, entry / OMEN_KEYDIR_ENTRIES);
	if (directory == NO_PAGE)
		directory = add_directory(index, hnsw, entry / OMEN_KEYDIR_ENTRIES);
	return add_page(index, hnsw, directory, entry);
}

static BlockNumber
find_directory(Relation index, OmenHnswIndex *hnsw, uint32 dir)
{
	OmenKeyDir *kept = kept_directory(hnsw, dir);

	if (kept->block == NO_PAGE)
	{
		Buffer		buffer = omen_page_read_hinted(index, OMEN_HNSW_META_BLOCK,
												   OMEN_PAGE_META,
												   OMEN_LOCK_SHARE,
												   &hnsw->hints);

		kept->block = meta_directories(BufferGetPage(buffer))->key_dirs[dir];
		omen_page_release(buffer);
	}
	return kept->block;
}

/* Unless somebody else has done so meanwhile */
static BlockNumber
add_directory(Relation index, OmenHnswIndex *hnsw, uint32 dir)
{
	Buffer		buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK,
										OMEN_PAGE_META, OMEN_LOCK_EXCLUSIVE);
	BlockNumber block =
		meta_directories(BufferGetPage(buffer))->key_dirs[dir];

	if (block == NO_PAGE)
	{
		Buffer		child = omen_page_find_free(index);
		OmenPageEdit edit;

		block = BufferGetBlockNumber(child);
		omen_edit_begin(&edit, index);
		omen_page_opaque(omen_edit_new_page(&edit, child,
											OMEN_PAGE_KEYDIR))->owner = dir;
		meta_directories(omen_edit_page(&edit, buffer))->key_dirs[dir] = block;
		omen_edit_finish(&edit);
		omen_page_release(child);
	}
	omen_page_release(buffer);
	kept_directory(hnsw, dir)->block = block;
	return block;
}

/* A new page and the entry that names it are one record; newer in any case */
static BlockNumber
add_page(Relation index, OmenHnswIndex *hnsw, BlockNumber directory,
		 uint32 entry)
{
	uint32		at = entry % OMEN_KEYDIR_ENTRIES;
	Buffer		buffer = omen_page_read_hinted(index, directory,
											   OMEN_PAGE_KEYDIR,
											   OMEN_LOCK_EXCLUSIVE,
											   &hnsw->hints);
	const OmenKeyDirPageData *page = (const OmenKeyDirPageData *)
		omen_page_content(BufferGetPage(buffer));
	BlockNumber block = page->blocks[at];

	check_directory(index, buffer, entry / OMEN_KEYDIR_ENTRIES);
	if (block == NO_PAGE || !is_newer(page, at))
	{
		Buffer		child = InvalidBuffer;
		OmenKeyDirPageData *copy;
		OmenPageEdit edit;

		if (block == NO_PAGE)
			child = omen_page_find_free(index);
		omen_edit_begin(&edit, index);
		copy = (OmenKeyDirPageData *)
			omen_page_content(omen_edit_page(&edit, buffer));
		copy->newer[at / 32] |= UINT32_C(1) << (at % 32);
		if (BufferIsValid(child))
		{
			block = BufferGetBlockNumber(child);
			copy->blocks[at] = block;
			omen_page_opaque(omen_edit_new_page(&edit, child,
												OMEN_PAGE_KEYS))->owner = entry;
		}
		omen_edit_finish(&edit);
		if (BufferIsValid(child))
			omen_page_release(child);
	}
	omen_page_release(buffer);
	load_directory(index, hnsw, entry / OMEN_KEYDIR_ENTRIES);
	return block;
}

/*
 * Every scan asks for all directories, which seldom change: a page is the same
 * while its LSN is, if changes are logged.  While they are not, as this transaction
 * has made the index, nobody else can change it.
 */
static void
load_directory(Relation index, OmenHnswIndex *hnsw, uint32 dir)
{
	BlockNumber block = find_directory(index, hnsw, dir);
	OmenKeyDir *kept = kept_directory(hnsw, dir);
	bool		same = kept->copy != NULL && RelationNeedsWAL(index);
	XLogRecPtr	lsn;
	Buffer		buffer;

	if (block == NO_PAGE)
		return;
	buffer = omen_page_read_hinted(index, block, OMEN_PAGE_KEYDIR,
								   OMEN_LOCK_SHARE, &hnsw->hints);
	check_directory(index, buffer, dir);

	/* not before: what is kept must be right if the page cannot be read */
	if (kept->copy == NULL)
		kept->copy = MemoryContextAlloc(hnsw->kept.context,
										sizeof(OmenKeyDirPageData));
	lsn = PageGetLSN(BufferGetPage(buffer));
	same = same && lsn == kept->lsn;
	if (!same)
		memcpy(kept->copy, omen_page_content(BufferGetPage(buffer)),
			   sizeof(OmenKeyDirPageData));
	omen_page_release(buffer);
	if (!same)
		count_pages(kept);
	kept->lsn = lsn;
}

static void
count_pages(OmenKeyDir *kept)
{
	const OmenKeyDirPageData *copy = kept->copy;

	kept->npages = 0;
	for (int i = 0; i < OMEN_KEYDIR_ENTRIES; i++)
		kept->npages += copy->blocks[i] != NO_PAGE;
	kept->nnewer = (int) pg_popcount((const char *) copy->newer,
									 sizeof(copy->newer));
}

/* What this backend knows of a directory */
static OmenKeyDir *
kept_directory(OmenHnswIndex *hnsw, uint32 dir)
{
	Assert(dir < OMEN_KEYDIRS);

	if (hnsw->key_dirs == NULL)
		hnsw->key_dirs = MemoryContextAllocZero(hnsw->kept.context, OMEN_KEYDIRS *
												sizeof(OmenKeyDir));
	return &hnsw->key_dirs[dir];
}

/* The block of a page as far as is known, or NO_PAGE */
static BlockNumber
known_page(const OmenHnswIndex *hnsw, uint32 entry)
{
	const OmenKeyDir *dirs = hnsw->key_dirs;
	uint32		dir = entry / OMEN_KEYDIR_ENTRIES;

	/* pages of other kinds may lie beyond the last possible node */
	if (dirs == NULL || dir >= OMEN_KEYDIRS || dirs[dir].copy == NULL)
		return NO_PAGE;
	return dirs[dir].copy->blocks[entry % OMEN_KEYDIR_ENTRIES];
}

static bool
is_known_newer(const OmenHnswIndex *hnsw, uint32 entry)
{
	const OmenKeyDir *dirs = hnsw->key_dirs;
	uint32		dir = entry / OMEN_KEYDIR_ENTRIES;

	return dirs != NULL && dir < OMEN_KEYDIRS && dirs[dir].copy != NULL &&
		is_newer(dirs[dir].copy, entry % OMEN_KEYDIR_ENTRIES);
}

static OmenHnswKeyDirsData *
meta_directories(Page page)
{
	return (OmenHnswKeyDirsData *)
		(omen_page_content(page) + sizeof(OmenHnswMetaPageData));
}

static void
check_directory(Relation index, Buffer buffer, uint32 dir)
{
	if (omen_page_opaque(BufferGetPage(buffer))->owner != dir)
		omen_page_report_corrupt(index, BufferGetBlockNumber(buffer),
								 "The page is of another part of the key column.");
}

static bool
is_newer(const OmenKeyDirPageData *page, uint32 at)
{
	return (page->newer[at / 32] >> (at % 32) & 1) != 0;
}

/* --- pages --- */

/*
 * InvalidBuffer if no number of the chunk had ever been a node when this backend
 * last looked for pages
 */
static Buffer
lock_page(Relation index, OmenHnswIndex *hnsw, uint32 chunk, int key)
{
	uint32		entry = chunk * hnsw->meta.nkeys + key;
	BlockNumber block = known_page(hnsw, entry);
	Buffer		buffer;

	if (block == NO_PAGE)
		return InvalidBuffer;
	buffer = omen_page_read_hinted(index, block, OMEN_PAGE_KEYS,
								   OMEN_LOCK_SHARE, &hnsw->hints);
	if (unlikely(omen_page_opaque(BufferGetPage(buffer))->owner != entry))
		omen_page_report_corrupt(index, block,
								 "The page is of another part of the key column.");
	return buffer;
}

static const OmenKeyPageData *
page_keys(Buffer buffer)
{
	return (const OmenKeyPageData *) omen_page_content(BufferGetPage(buffer));
}

/* Of n words of the page, from one on; bits are those of these words */
static void
filter_page(const OmenKeyCondition *condition, const OmenKeyPageData *page,
			int from, int n, uint64 *bits)
{
	for (int i = 0; i < n; i++)
	{
		bits[i] &= page->nodes[from + i];
		if (bits[i] != 0)
			bits[i] &= filter_word(condition, page, from + i, bits[i]);
	}
}

static uint64
filter_word(const OmenKeyCondition *condition, const OmenKeyPageData *page,
			int word, uint64 bits)
{
	const uint64 *codes = page->codes + word * 64;
	uint64		nulls = page->nulls[word];
	uint64		met = 0;

	if (condition->test == OMEN_KEY_IS_NULL)
		return nulls;
	if (condition->test == OMEN_KEY_IS_NOT_NULL)
		return ~nulls;
	if (condition->test == OMEN_KEY_IN_RANGES && condition->possible.n == 1 &&
		pg_popcount64(bits) > FEW_OF_WORD)
	{
		uint64		low = condition->possible.ranges[0].low;
		uint64		width = condition->possible.ranges[0].high - low;

		return omen_distance->codes_within(codes, low, width) & ~nulls;
	}
	if (condition->test == OMEN_KEY_HAS_MASK &&
		pg_popcount64(bits) > FEW_OF_WORD * condition->nmasks)
	{
		for (int m = 0; m < condition->nmasks; m++)
		{
			uint64		mask = condition->masks[m];

			for (int i = 0; i < 64; i++)
				met |= (uint64) ((codes[i] & mask) == mask) << i;
		}
		return met & ~nulls;
	}
	for (bits &= ~nulls; bits != 0; bits &= bits - 1)
	{
		int			i = pg_rightmost_one_pos64(bits);

		if (omen_hnsw_match_key(condition, false, codes[i]) != OMEN_KEYS_NO)
			met |= UINT64CONST(1) << i;
	}
	return met;
}

static bool
is_set(const uint64 *bits, uint32 at)
{
	return (bits[at / 64] >> (at % 64) & 1) != 0;
}
