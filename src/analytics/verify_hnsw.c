/*-------------------------------------------------------------------------
 *
 * verify_hnsw.c
 *	  Checks of omenhnsw indexes for omen_verify_index(): the invariants of
 *	  src/hnsw/README.md.
 *
 * NOTES
 *	  Inserts and vacuum go on.  What is compared across pages therefore either
 *	  never changes (codes, keys and levels of a node, H4; places of the map and
 *	  the key column, H9, H12), or is looked at once more under the lock of the
 *	  node, or concerns rows that the snapshot sees, which were in the index
 *	  before the check began and stay until it has ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/verify_hnsw.h"
#include "base/compat.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_range.h"

static void open_index(void *arg);
static void check_meta(OmenVerifyHnsw *state);
static bool has_unused_blocks(const OmenHnswMetaPageData *meta);
static void mask_variable(OmenHnswMetaPageData *meta);
static bool is_shape_chosen(const OmenHnswMetaPageData *meta);
static bool is_layout_chosen(const OmenHnswMetaPageData *meta);
static void check_kinds(OmenVerifyHnsw *state);
static void check_unreferred(OmenVerifyHnsw *state);
static bool hash_row(void *arg, const Datum *values, const bool *isnull,
					 uint64 *hash);
static bool is_there(void *arg, uint64 row, uint64 place);
static bool has_tid(const ItemPointerData *tids, int n, uint64 row);
static void locate(void *arg, uint64 place, BlockNumber *block, int *offset);

static const OmenVerifyRows rows = {
	.invariant = "H5",
	.hash_invariant = "H5",
	.hash_fault = "has another code or other keys than its node",
	.hash = hash_row,
	.is_there = is_there,
	.locate = locate,
};

void
omen_verify_hnsw(OmenVerify *verify)
{
	OmenVerifyHnsw *state = palloc0(sizeof(*state));

	state->verify = verify;
	if (!omen_verify_try(verify, "H0", open_index, state))
		return;
	check_kinds(state);
	omen_verify_hnsw_parts(state);
	omen_verify_hnsw_nodes(state);
	omen_verify_hnsw_walk(state);
	check_unreferred(state);
	if (verify->heapallindexed)
		omen_verify_compare_rows(verify, &rows, state);
}

/* Without the metapage, the mean and the codebook, nothing can be checked */
static void
open_index(void *arg)
{
	OmenVerifyHnsw *state = arg;
	OmenVerify *verify = state->verify;
	uint64		nnumbers;

	omen_hnsw_read_meta(verify->index, &state->meta);
	state->hnsw = omen_hnsw_open(verify->index);
	omen_hnsw_learn_mean(verify->index, state->hnsw, &state->meta);
	check_meta(state);
	omen_hnsw_store_init(&state->store, verify->index, state->hnsw, NULL);
	state->page_context = AllocSetContextCreate(CurrentMemoryContext,
												"omenhnsw verify page",
												ALLOCSET_DEFAULT_SIZES);
	nnumbers = (uint64) verify->nblocks * state->hnsw->layout.slots_per_page;
	state->nnumbers = (uint32) Min(nnumbers, UINT64CONST(1) <<
								   OMEN_LINK_NUMBER_BITS);
	state->seen = palloc_extended(state->nnumbers + 1,
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	state->scratch = palloc((OMEN_QUANT_SCRATCH(&state->meta.shape) + 1) *
							sizeof(float));
	state->link_code = palloc(Max(state->hnsw->layout.link_size, 1));
}

/* --- the metapage --- */

static void
check_meta(OmenVerifyHnsw *state)
{
	const OmenHnswMetaPageData *meta = &state->meta;
	OmenHnswOptions options = omen_hnsw_get_options(state->verify->index);
	OmenHnswMetaPageData *ours = palloc(sizeof(*ours));
	OmenHnswMetaPageData *theirs = palloc(sizeof(*theirs));
	static const uint8 nothing[OMEN_HNSW_MAX_KEYS] = {0};

	*ours = state->hnsw->meta;
	*theirs = *meta;
	mask_variable(ours);
	mask_variable(theirs);
	if (memcmp(ours, theirs, sizeof(*ours)) != 0)
		omen_page_report_corrupt(state->verify->index, OMEN_HNSW_META_BLOCK,
								 "The metapage has changed where it never does.");
	if (!is_shape_chosen(meta) || !is_layout_chosen(meta) ||
		meta->entry_capacity != omen_hnsw_entry_capacity(meta))
		omen_verify_note(state->verify, "H0", OMEN_HNSW_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "The layout is not the one that follows from the column and the options.");
	if ((meta->flags & ~OMEN_META_ALL) != 0 ||
		meta->built_visits != 0 || has_unused_blocks(meta) ||
		memcmp(meta->key_kinds + meta->nkeys, nothing,
			   OMEN_HNSW_MAX_KEYS - meta->nkeys) != 0 ||
		memcmp(meta->unused, nothing, sizeof(meta->unused)) != 0)
		omen_verify_note(state->verify, "H0", OMEN_HNSW_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "Unused fields of the metapage are not zero.");
	if (!(meta->max_norm2 >= 0) || isinf(meta->max_norm2) ||
		(meta->max_norm2 > 0 && meta->shape.metric != OMEN_METRIC_IP))
		omen_verify_note(state->verify, "H0", OMEN_HNSW_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "The largest norm is impossible.");
	if (meta->m != options.m ||
		meta->ef_construction != options.ef_construction ||
		meta->quantizer != options.quantizer)
		omen_verify_warn(state->verify, "H0", OMEN_HNSW_META_BLOCK,
						 "The index was built with other options than it has: REINDEX, if they were changed.");
	if (meta->built_nodes > (uint64) state->verify->nblocks *
		meta->slots_per_page)
		omen_verify_note(state->verify, "H0", OMEN_HNSW_META_BLOCK,
						 OMEN_VERIFY_NO_OFFSET,
						 "The index was built with more nodes than it has room for.");
	pfree(ours);
	pfree(theirs);
}

/* Blocks of parts that the index does not have */
static bool
has_unused_blocks(const OmenHnswMetaPageData *meta)
{
	return (!omen_keylist_exists(meta) &&
			BlockNumberIsValid(meta->list_heads)) ||
		(meta->range_size == 0 && BlockNumberIsValid(meta->range_start)) ||
		(!omen_range_has_codes(meta) && BlockNumberIsValid(meta->code_start));
}

/* What inserts and vacuum change */
static void
mask_variable(OmenHnswMetaPageData *meta)
{
	meta->max_norm2 = 0;
	meta->flags = 0;
	meta->linked_rows = 0;
	memset(meta->entry_blocks, 0, sizeof(meta->entry_blocks));
	meta->nentries = 0;
	meta->entry_epoch = 0;
	memset(meta->tidmap_roots, 0, sizeof(meta->tidmap_roots));
}

static bool
is_shape_chosen(const OmenHnswMetaPageData *meta)
{
	OmenCodeShape shape = {0};

	if (!omen_quant_choose_shape(meta->shape.element, meta->shape.metric,
								 meta->shape.dims, meta->quantizer, &shape))
		return false;
	return shape.seed == meta->shape.seed &&
		shape.own_kind == meta->shape.own_kind &&
		shape.link_kind == meta->shape.link_kind &&
		shape.code_dims == meta->shape.code_dims &&
		shape.link_dims == meta->shape.link_dims &&
		shape.own_size == meta->shape.own_size &&
		shape.pair_size == meta->shape.pair_size &&
		shape.link_size == meta->shape.link_size;
}

/* Of sparse vectors, the room for own codes followed from the data */
static bool
is_layout_chosen(const OmenHnswMetaPageData *meta)
{
	OmenHnswMetaPageData chosen = *meta;

	omen_hnsw_choose_layout(&chosen, meta->own_inline);
	return chosen.max_links == meta->max_links &&
		chosen.slots_per_page == meta->slots_per_page &&
		chosen.slot_size == meta->slot_size &&
		chosen.own_inline == meta->own_inline &&
		chosen.entry_size == meta->entry_size;
}

/* --- pages --- */

static void
check_kinds(OmenVerifyHnsw *state)
{
	OmenVerify *verify = state->verify;

	omen_verify_refer(verify, "H14", 0, OMEN_HNSW_META_BLOCK, OMEN_PAGE_META,
					  "the index");
	for (BlockNumber block = 0; block < verify->nblocks; block++)
	{
		uint8		kind = verify->kinds[block];

		CHECK_FOR_INTERRUPTS();
		if (kind != OMEN_VERIFY_BROKEN && kind >= OMEN_PAGE_PENDING)
			omen_verify_note(verify, "H14", block, OMEN_VERIFY_NO_OFFSET,
							 "The page is of kind %u, which vector indexes do not have.",
							 kind);
	}
}

/*
 * A page comes into being together with what refers to it, but for those of
 * chains, which a crash may leave behind.
 */
static void
check_unreferred(OmenVerifyHnsw *state)
{
	OmenVerify *verify = state->verify;

	for (BlockNumber block = 0; block < verify->nblocks; block++)
	{
		uint8		kind = verify->kinds[block];

		CHECK_FOR_INTERRUPTS();
		if (kind == OMEN_VERIFY_BROKEN || kind == OMEN_PAGE_FREE ||
			kind == OMEN_PAGE_NODE || kind == OMEN_PAGE_CHAIN ||
			kind >= OMEN_PAGE_PENDING || omen_verify_is_referred(verify, block))
			continue;
		omen_verify_note(verify, "H14", block, OMEN_VERIFY_NO_OFFSET,
						 "Nothing refers to this page of kind %u.", kind);
	}
}

bool
omen_verify_is_link(OmenVerifyHnsw *state, OmenLink link)
{
	BlockNumber block = omen_verify_number_block(state,
												 omen_link_number(link));

	if (block == OMEN_HNSW_META_BLOCK)
		return false;
	if (block < state->verify->nblocks &&
		state->verify->kinds[block] == OMEN_PAGE_NODE)
		return true;
	return omen_verify_kind_now(state->verify, block) == OMEN_PAGE_NODE;
}

/*
 * Are the codes of a node by the same mean as those that an insert would make now?
 * Those of before are not (hnsw_mean.c); nor, if the mean has been taken since the
 * check began, are those of after.
 */
bool
omen_verify_shares_mean(const OmenVerifyHnsw *state, OmenHnswSlot slot)
{
	return ((slot->flags & OMEN_SLOT_CENTRED) != 0) == state->store.centred;
}

/* --- rows --- */

/* As an insert would encode it */
static bool
hash_row(void *arg, const Datum *values, const bool *isnull, uint64 *hash)
{
	OmenVerifyHnsw *state = arg;
	const OmenHnswIndex *hnsw = state->hnsw;
	OmenHnswValue value;
	OmenHnswKeys keys;
	uint8	   *own;
	Size		size;

	if (isnull[0] || !omen_hnsw_form_value(hnsw->opclass,
										   hnsw->meta.shape.dims, values[0],
										   &value))
		return false;
	own = palloc(Max(hnsw->meta.shape.own_size, value.size));
	/* the index's may be by a mean that has been taken since the check began */
	size = omen_quant_encode_own(state->store.quant, value.payload, own,
								 state->scratch);
	omen_hnsw_form_keys(&hnsw->meta, values, isnull, &keys);
	*hash = omen_verify_hnsw_hash(&hnsw->layout, own, size, &keys);
	return true;
}

uint64
omen_verify_hnsw_hash(const OmenHnswLayout *layout, const uint8 *own,
					  Size own_bytes, const OmenHnswKeys *keys)
{
	uint64		hash = hash_bytes_extended(own, (int) own_bytes, keys->nulls);

	return hash_bytes_extended((const unsigned char *) keys->codes,
							   layout->nkeys * sizeof(uint64), hash);
}

static bool
is_there(void *arg, uint64 row, uint64 place)
{
	OmenVerifyHnsw *state = arg;
	OmenLink	link = omen_hnsw_find_link(&state->store, (uint32) place);
	OmenHnswSlot slot;
	Buffer		buffer;
	OmenLink	list;
	ItemPointerData *tids;
	bool		there;
	int			n;

	if (link == OMEN_LINK_INVALID)
		return false;
	buffer = omen_hnsw_read_slot(&state->store, link, OMEN_LOCK_SHARE, &slot);
	if (!BufferIsValid(buffer))
		return false;
	there = has_tid(slot->tids, slot->ntids, row);
	list = slot->more_tids;
	omen_page_release(buffer);
	if (there || list == OMEN_LINK_INVALID)
		return there;
	n = omen_hnsw_read_tids(&state->store, link, list, &tids);
	there = has_tid(tids, n, row);
	pfree(tids);
	return there;
}

static bool
has_tid(const ItemPointerData *tids, int n, uint64 row)
{
	for (int i = 0; i < n; i++)
	{
		if (omen_tid_row(&tids[i]) == row)
			return true;
	}
	return false;
}

static void
locate(void *arg, uint64 place, BlockNumber *block, int *offset)
{
	OmenVerifyHnsw *state = arg;

	*block = omen_verify_number_block(state, (uint32) place);
	*offset = (uint32) place % state->hnsw->layout.slots_per_page;
}
