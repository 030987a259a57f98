/*-------------------------------------------------------------------------
 *
 * verify_hnsw_parts.c
 *	  Checks of what leads to nodes: entries, the TID map, the key column and
 *	  its lists, ranges; and of DATA pages.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify_hnsw.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_range.h"
#include "quant/quant_pq.h"

static void check_data(void *arg);
static void refer_data(OmenVerifyHnsw *state, BlockNumber start, Size size,
					   const char *what);
static void refer_pages(OmenVerifyHnsw *state, const char *invariant,
						BlockNumber start, BlockNumber n, OmenPageKind kind,
						const char *what);
static void compare_data(OmenVerifyHnsw *state, BlockNumber start,
						 const void *kept, Size size);
static void check_entries(void *arg);
static void check_entry(OmenVerifyHnsw *state, BlockNumber block, int at,
						OmenHnswEntry entry);
static void check_map(void *arg);
static bool check_map_page(OmenVerifyHnsw *state, BlockNumber from,
						   BlockNumber block, int level, uint32 number);
static bool check_map_entries(OmenVerifyHnsw *state, BlockNumber block,
							  const uint32 *entries, int level, uint32 number);
static void check_column(void *arg);
static bool check_directory(OmenVerifyHnsw *state, BlockNumber block,
							uint32 dir);
static bool check_keys(OmenVerifyHnsw *state, BlockNumber from,
					   BlockNumber block, uint32 entry);
static void check_lists(void *arg);
static void check_ranges(void *arg);

void
omen_verify_hnsw_parts(OmenVerifyHnsw *state)
{
	omen_verify_try(state->verify, "H14", check_data, state);
	omen_verify_try(state->verify, "H8", check_entries, state);
	omen_verify_try(state->verify, "H9", check_map, state);
	omen_verify_try(state->verify, "H12", check_column, state);
	omen_verify_try(state->verify, "H13", check_lists, state);
	omen_verify_try(state->verify, "H15", check_ranges, state);
}

/* --- long values --- */

/* What this backend has read of them before is what they have */
static void
check_data(void *arg)
{
	OmenVerifyHnsw *state = arg;
	const OmenHnswMetaPageData *meta = &state->meta;
	const OmenHnswIndex *hnsw = state->hnsw;
	Size		mean = meta->shape.code_dims * sizeof(float);
	Size		codebook = omen_pq_codebook_size(&meta->shape);

	refer_data(state, meta->mean_start, mean, "the mean");
	refer_data(state, meta->codebook_start, codebook, "the codebook");
	if (BlockNumberIsValid(meta->mean_start))
		compare_data(state, meta->mean_start, hnsw->quant->mean, mean);
	if (BlockNumberIsValid(meta->codebook_start))
		compare_data(state, meta->codebook_start, hnsw->quant->codebook,
					 codebook);
}

static void
refer_data(OmenVerifyHnsw *state, BlockNumber start, Size size,
		   const char *what)
{
	if (BlockNumberIsValid(start))
		refer_pages(state, "H14", start, (BlockNumber)
					((size + OMEN_PAGE_CONTENT - 1) / OMEN_PAGE_CONTENT),
					OMEN_PAGE_DATA, what);
}

static void
refer_pages(OmenVerifyHnsw *state, const char *invariant, BlockNumber start,
			BlockNumber n, OmenPageKind kind, const char *what)
{
	for (BlockNumber i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();

		/* one finding is enough for what is not there at all */
		if (!omen_verify_refer(state->verify, invariant, OMEN_HNSW_META_BLOCK,
							   start + i, kind, what) &&
			start + i >= state->verify->nblocks)
			return;
	}
}

static void
compare_data(OmenVerifyHnsw *state, BlockNumber start, const void *kept,
			 Size size)
{
	void	   *data = omen_hnsw_read_data(state->verify->index, start, size);

	if (data == NULL || memcmp(data, kept, size) != 0)
		omen_verify_note(state->verify, "H14", start, OMEN_VERIFY_NO_OFFSET,
						 "The value has changed since this session read it.");
	if (data != NULL)
		pfree(data);
}

/* --- entries --- */

static void
check_entries(void *arg)
{
	OmenVerifyHnsw *state = arg;
	const OmenHnswMetaPageData *meta = &state->meta;
	uint32		per_page = state->hnsw->layout.entries_per_page;

	/* a list that has become shorter keeps its pages */
	for (uint32 i = 0; i < OMEN_HNSW_ENTRY_PAGES; i++)
	{
		BlockNumber block = meta->entry_blocks[i];
		uint32		first = i * per_page;
		PGAlignedBlock copy;

		if (!BlockNumberIsValid(block) && first >= meta->nentries)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (!omen_verify_refer(state->verify, "H8", OMEN_HNSW_META_BLOCK,
							   block, OMEN_PAGE_ENTRY, "the entries"))
			continue;
		omen_verify_copy(state->verify, block, &copy);
		for (uint32 at = 0; at < per_page && first + at < meta->nentries; at++)
			check_entry(state, block, at, (OmenHnswEntry)
						(omen_page_content(copy.data) + at * meta->entry_size));
	}
}

/*
 * An entry may lead nowhere (H8).  One that took the place of another says
 * level 0.  Bulk builds have finer pair codes than product codes give.
 */
static void
check_entry(OmenVerifyHnsw *state, BlockNumber block, int at,
			OmenHnswEntry entry)
{
	OmenHnswSlot slot;
	Buffer		buffer;
	bool		pairs = state->meta.entry_size > sizeof(OmenHnswEntryData) &&
		state->meta.shape.own_kind != OMEN_OWN_PQ;
	uint8	   *pair;
	Size		size;
	int			level;
	bool		comparable;

	if (!omen_verify_is_link(state, entry->link))
	{
		omen_verify_note(state->verify, "H8", block, at,
						 "The entry leads to block %u, which has no nodes.",
						 omen_verify_number_block(state,
												  omen_link_number(entry->link)));
		return;
	}
	buffer = omen_hnsw_read_slot(&state->store, entry->link, OMEN_LOCK_SHARE,
								 &slot);
	if (!BufferIsValid(buffer))
		return;
	level = slot->level;
	comparable = pairs && omen_verify_shares_mean(state, slot) &&
		((entry->flags & OMEN_ENTRY_CENTRED) != 0) == state->store.centred;
	omen_page_release(buffer);
	if (entry->level != 0 && entry->level != level)
		omen_verify_note(state->verify, "H8", block, at,
						 "The entry has level %u, its node %d.", entry->level,
						 level);
	if ((entry->flags & ~OMEN_ENTRY_CENTRED) != 0)
		omen_verify_note(state->verify, "H8", block, at,
						 "The entry has unknown flags.");
	if (!comparable || !omen_hnsw_read_pair(&state->store, entry->link, &pair,
									   &size))
		return;
	if (memcmp(pair, entry->pair, size) != 0)
		omen_verify_note(state->verify, "H8", block, at,
						 "The entry has another code than its node.");
	pfree(pair);
}

/* --- the TID map --- */

static void
check_map(void *arg)
{
	OmenVerifyHnsw *state = arg;
	bool		good = true;

	for (uint32 i = 0; i < OMEN_TIDMAP_ROOTS; i++)
	{
		if (state->meta.tidmap_roots[i] != 0)
			good &= check_map_page(state, OMEN_HNSW_META_BLOCK,
								   state->meta.tidmap_roots[i], 2, i);
	}
	state->map_holds = good;
}

/* Level 0 are leaves */
static bool
check_map_page(OmenVerifyHnsw *state, BlockNumber from, BlockNumber block,
			   int level, uint32 number)
{
	static const OmenPageKind kinds[] = {
		OMEN_PAGE_TIDMAP, OMEN_PAGE_TIDDIR, OMEN_PAGE_TIDROOT
	};
	PGAlignedBlock copy;
	uint32		owner;

	CHECK_FOR_INTERRUPTS();
	if (!omen_verify_refer(state->verify, "H9", from, block, kinds[level],
						   "the TID map"))
		return false;
	omen_verify_copy(state->verify, block, &copy);
	owner = omen_page_opaque(copy.data)->owner;
	if (owner != number)
	{
		omen_verify_note(state->verify, "H9", block, OMEN_VERIFY_NO_OFFSET,
						 "The page has number %u of its level of the TID map, expected %u.",
						 owner, number);
		return false;
	}
	return check_map_entries(state, block,
							 (uint32 *) omen_page_content(copy.data), level,
							 number);
}

static bool
check_map_entries(OmenVerifyHnsw *state, BlockNumber block,
				  const uint32 *entries, int level, uint32 number)
{
	bool		good = true;

	for (uint32 i = 0; i < OMEN_TIDMAP_ENTRIES; i++)
	{
		if (entries[i] == 0)
			continue;
		if (level > 0)
			good &= check_map_page(state, block, entries[i], level - 1,
								   number * OMEN_TIDMAP_ENTRIES + i);
		else if (!omen_verify_is_link(state, entries[i]))
			omen_verify_note(state->verify, "H11", block, (int) i,
							 "The TID map leads to block %u, which has no nodes.",
							 omen_verify_number_block(state,
													  omen_link_number(entries[i])));
	}
	return good;
}

/* --- the key column and its lists --- */

static void
check_column(void *arg)
{
	OmenVerifyHnsw *state = arg;
	PGAlignedBlock copy;
	const OmenHnswKeyDirsData *dirs;
	bool		good = true;

	if (state->meta.nkeys == 0)
		return;
	if (omen_verify_copy(state->verify, OMEN_HNSW_META_BLOCK, &copy) !=
		OMEN_PAGE_META)
		return;
	dirs = (const OmenHnswKeyDirsData *)
		(omen_page_content(copy.data) + sizeof(OmenHnswMetaPageData));
	for (uint32 dir = 0; dir < OMEN_KEYDIRS; dir++)
	{
		if (dirs->key_dirs[dir] != 0)
			good &= check_directory(state, dirs->key_dirs[dir], dir);
	}
	state->column_holds = good;
}

static bool
check_directory(OmenVerifyHnsw *state, BlockNumber block, uint32 dir)
{
	PGAlignedBlock copy;
	const OmenKeyDirPageData *page;
	bool		good = true;

	if (!omen_verify_refer(state->verify, "H12", OMEN_HNSW_META_BLOCK, block,
						   OMEN_PAGE_KEYDIR, "the key column"))
		return false;
	omen_verify_copy(state->verify, block, &copy);
	if (omen_page_opaque(copy.data)->owner != dir)
	{
		omen_verify_note(state->verify, "H12", block, OMEN_VERIFY_NO_OFFSET,
						 "The page is directory %u of the key column, expected %u.",
						 omen_page_opaque(copy.data)->owner, dir);
		return false;
	}
	page = (const OmenKeyDirPageData *) omen_page_content(copy.data);
	for (uint32 i = 0; i < OMEN_KEYDIR_ENTRIES; i++)
	{
		bool		newer = (page->newer[i / 32] >> (i % 32) & 1) != 0;

		if (page->blocks[i] != 0)
			good &= check_keys(state, block, page->blocks[i],
							   dir * OMEN_KEYDIR_ENTRIES + i);
		else if (newer)
			omen_verify_note(state->verify, "H13", block, (int) i,
							 "A page of the key column that does not exist is newer than the lists.");
	}
	return good;
}

/* Numbers that have been nodes are on NODE pages, for ever */
static bool
check_keys(OmenVerifyHnsw *state, BlockNumber from, BlockNumber block,
		   uint32 entry)
{
	PGAlignedBlock copy;
	const OmenKeyPageData *page;
	uint64		first = (uint64) entry / state->meta.nkeys *
		OMEN_KEYS_PER_PAGE;

	CHECK_FOR_INTERRUPTS();
	if (!omen_verify_refer(state->verify, "H12", from, block, OMEN_PAGE_KEYS,
						   "the key column"))
		return false;
	omen_verify_copy(state->verify, block, &copy);
	if (omen_page_opaque(copy.data)->owner != entry)
	{
		omen_verify_note(state->verify, "H12", block, OMEN_VERIFY_NO_OFFSET,
						 "The page has number %u of the key column, expected %u.",
						 omen_page_opaque(copy.data)->owner, entry);
		return false;
	}
	page = (const OmenKeyPageData *) omen_page_content(copy.data);
	for (uint32 i = 0; i < OMEN_KEYS_PER_PAGE; i++)
	{
		uint64		bit = UINT64CONST(1) << (i % 64);
		bool		node = (page->nodes[i / 64] & bit) != 0;
		bool		null = (page->nulls[i / 64] & bit) != 0;

		if ((null || !node) && page->codes[i] != 0)
			omen_verify_note(state->verify, "H12", block, (int) i,
							 "A key that is NULL, or of no node, has a code.");
		if (node && !omen_verify_is_link(state, omen_link_form((uint32)
															   (first + i), 0)))
			omen_verify_note(state->verify, "H12", block, (int) i,
							 "Number " UINT64_FORMAT " has been a node, and is on no page of nodes.",
							 first + i);
	}
	return true;
}

static void
check_lists(void *arg)
{
	OmenVerifyHnsw *state = arg;
	const OmenHnswMetaPageData *meta = &state->meta;
	Relation	index = state->verify->index;
	uint64		problems;

	if (!omen_keylist_exists(meta))
		return;
	refer_pages(state, "H13", meta->list_start,
				meta->nkeys * omen_keylist_pages(meta), OMEN_PAGE_KEYLIST,
				"the key lists");
	refer_data(state, meta->list_heads, omen_keylist_heads_size(meta),
			   "the heads of the key lists");
	if (state->hnsw->list_heads != NULL)
		compare_data(state, meta->list_heads, state->hnsw->list_heads,
					 omen_keylist_heads_size(meta));
	if (!state->column_holds)
		return;
	problems = omen_keylist_problems(index, state->hnsw);
	if (problems > 0)
		omen_verify_note(state->verify, "H13", meta->list_start,
						 OMEN_VERIFY_NO_OFFSET,
						 UINT64_FORMAT " entries of the key lists are out of order, or not what the key column has.",
						 problems);
}

/* --- ranges --- */

static void
check_ranges(void *arg)
{
	OmenVerifyHnsw *state = arg;
	const OmenHnswMetaPageData *meta = &state->meta;
	OmenHnswMetaPageData chosen = *meta;

	omen_range_choose(&chosen);
	if (chosen.range_size != meta->range_size)
		omen_verify_note(state->verify, "H15", OMEN_HNSW_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "Ranges have a size of %u, expected %u.",
						 meta->range_size, chosen.range_size);
	if (meta->range_size == 0)
		return;
	refer_data(state, meta->range_start, omen_range_data_size(meta),
			   "the centres of ranges");
	if (state->hnsw->range_centres != NULL)
		compare_data(state, meta->range_start, state->hnsw->range_centres,
					 omen_range_data_size(meta));
	omen_range_load(state->verify->index, state->hnsw);
	if (meta->range_first % meta->slots_per_page != 0 ||
		!omen_verify_is_link(state, meta->range_first) ||
		!omen_verify_is_link(state, meta->range_first +
							 (uint32) meta->built_nodes - 1))
		omen_verify_note(state->verify, "H15", OMEN_HNSW_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "Ranges are of numbers that are no nodes.");
	if (!omen_range_has_codes(meta))
		return;
	refer_pages(state, "H15", meta->code_start,
				omen_range_pages(meta,
								 omen_range_code_size(&state->hnsw->range_quant)),
				OMEN_PAGE_CODES, "the range codes");
	state->codes_hold = true;
}
