/*-------------------------------------------------------------------------
 *
 * hnsw_meta.c
 *	  An index as a whole: its operator class, its layout, its metapage, and
 *	  what a backend keeps of it between scans.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "hnsw/hnsw.h"
#include "hnsw/hnsw_column.h"
#include "hnsw/hnsw_range.h"
#include "quant/quant_pq.h"

/* Name by which the kept context is found again below rd_indexcxt */
#define KEPT_CONTEXT	"omenhnsw index"

StaticAssertDecl(offsetof(OmenHnswIndex, kept) == 0,
				 "what is kept is the index");

/*
 * One more slot on each page makes the index smaller; it is worth giving up
 * links for, down to this part of 2 * m.  A second slot halves it: on 9,844 x
 * 768 (two slots of 23 links, or one of 32) recall@10 at ef_search 40 was .976
 * or .992, with 148 or 158 pages read for a query.
 */
#define MIN_SHARE_OF_TWO		0.62
#define MIN_SHARE_OF_MORE	0.95

static void copy_meta(Buffer buffer, OmenHnswMetaPageData *meta);
static bool have_entries_changed(Relation index, const OmenHnswIndex *hnsw,
								 const OmenHnswMetaPageData *meta);
static OmenKept *load_index(Relation index);
static void load_codebook(Relation index, OmenHnswIndex *hnsw);
static bool is_layout_valid(const OmenHnswMetaPageData *meta);
static bool is_entry_list_valid(const OmenHnswMetaPageData *meta);
static void check_columns(Relation index, const OmenOpclassInfo *opclass,
						  const OmenHnswMetaPageData *meta);

/* What the operator class orders by: one static struct per class */
const OmenOpclassInfo *
omen_hnsw_opclass(Relation index)
{
	FmgrInfo   *proc;

	/* keys have no such function */
	if (!OidIsValid(index_getprocid(index, 1, OMEN_HNSW_INFO_PROC)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("first column of hnsw index \"%s\" must be the vector to search by",
						RelationGetRelationName(index)),
				 errhint("Key columns come after it.")));
	proc = index_getprocinfo(index, 1, OMEN_HNSW_INFO_PROC);
	return (const OmenOpclassInfo *)
		DatumGetPointer(FunctionCall1(proc, PointerGetDatum(NULL)));
}

/*
 * Choose slot size and number of links from meta->shape, nkeys and m.
 * typical_own is the length to provide for if own codes vary.
 */
void
omen_hnsw_choose_layout(OmenHnswMetaPageData *meta, Size typical_own)
{
	const OmenCodeShape *shape = &meta->shape;
	bool		factors = shape->link_kind == OMEN_LINK_RABITQ1 ||
		shape->link_kind == OMEN_LINK_RABITQ2;
	Size		link = sizeof(OmenLink) + shape->link_size +
		(factors ? 2 * sizeof(float) : 0);
	Size		head = OMEN_SLOT_HEADER + meta->nkeys * sizeof(uint64);
	Size		own = shape->own_size > 0 ? shape->own_size : typical_own;
	Size		links = Min(2 * meta->m, OMEN_MAX_LINKS);
	Size		room;

	/* at least a few bytes of own code, or a chain would hold all of it */
	links = Min(links, (OMEN_PAGE_CONTENT - head - 64) / link);
	own = MAXALIGN(own);
	room = OMEN_PAGE_CONTENT - head - MAXALIGN(links * link);
	room -= room % MAXIMUM_ALIGNOF;
	meta->own_inline = Min(own, room);
	meta->slot_size = head + meta->own_inline + MAXALIGN(links * link);
	meta->slots_per_page = OMEN_PAGE_CONTENT / meta->slot_size;

	/* a few links less may make room for one more slot on each page */
	if (own == meta->own_inline)
	{
		Size		slots = meta->slots_per_page + 1;
		Size		size = OMEN_PAGE_CONTENT / slots;
		double		share = slots == 2 ? MIN_SHARE_OF_TWO : MIN_SHARE_OF_MORE;

		size -= size % MAXIMUM_ALIGNOF;
		if (size >= head + own + (Size) ceil(share * links) * link)
		{
			links = Min(links, (size - head - own) / link);
			meta->slot_size = size;
			meta->slots_per_page = slots;
		}
	}
	meta->max_links = links;
	meta->entry_size = MAXALIGN(sizeof(OmenHnswEntryData) + shape->pair_size);
	if (shape->pair_size == 0 || meta->entry_size > OMEN_PAGE_CONTENT)
		meta->entry_size = sizeof(OmenHnswEntryData);
}

void
omen_hnsw_layout(const OmenHnswMetaPageData *meta, OmenHnswLayout *layout)
{
	Size		offset = OMEN_SLOT_HEADER + meta->nkeys * sizeof(uint64);

	layout->nkeys = meta->nkeys;
	layout->max_links = meta->max_links;
	layout->slots_per_page = meta->slots_per_page;
	layout->slot_size = meta->slot_size;
	layout->own_inline = meta->own_inline;
	layout->link_size = meta->shape.link_size;
	layout->factors = meta->shape.link_kind == OMEN_LINK_RABITQ1 ||
		meta->shape.link_kind == OMEN_LINK_RABITQ2;

	/* the own code first: it is MAXALIGNed, whatever the number of links */
	layout->own = offset;
	offset += meta->own_inline;
	layout->links = offset;
	offset += meta->max_links * sizeof(OmenLink);
	layout->f_add = offset;
	layout->f_rescale = offset;
	if (layout->factors)
	{
		offset += meta->max_links * sizeof(float);
		layout->f_rescale = offset;
		offset += meta->max_links * sizeof(float);
	}
	layout->codes = offset;
	layout->list_tids = (meta->slot_size - OMEN_SLOT_HEADER) /
		sizeof(ItemPointerData);
	layout->entries_per_page = OMEN_PAGE_CONTENT / meta->entry_size;
}

OmenHnswIndex *
omen_hnsw_open(Relation index)
{
	return (OmenHnswIndex *) omen_kept_open(index, KEPT_CONTEXT, load_index);
}

void
omen_hnsw_forget(Relation index)
{
	omen_kept_forget(index, KEPT_CONTEXT);
}

void
omen_hnsw_read_meta(Relation index, OmenHnswMetaPageData *meta)
{
	copy_meta(omen_page_read(index, OMEN_HNSW_META_BLOCK, OMEN_PAGE_META,
							 OMEN_LOCK_SHARE), meta);
	omen_hnsw_check_meta(index, meta);
}

/* Releases the page */
static void
copy_meta(Buffer buffer, OmenHnswMetaPageData *meta)
{
	memcpy(meta, omen_page_content(BufferGetPage(buffer)),
		   sizeof(OmenHnswMetaPageData));
	omen_page_release(buffer);
}

/*
 * Read the entry list anew if it has changed much.  An old copy is harmless
 * otherwise: its links lead to nodes that exist or are recognized as gone.
 */
void
omen_hnsw_refresh_entries(Relation index, OmenHnswIndex *hnsw)
{
	OmenHnswMetaPageData meta;
	MemoryContext old;
	uint32		n;

	/* each scan comes here: not by way of the buffer mapping */
	copy_meta(omen_page_read_hinted(index, OMEN_HNSW_META_BLOCK,
									OMEN_PAGE_META, OMEN_LOCK_SHARE,
									&hnsw->hints), &meta);
	omen_hnsw_check_meta(index, &meta);
	hnsw->quant->max_norm2 = meta.max_norm2;
	omen_hnsw_learn_mean(index, hnsw, &meta);
	if (!have_entries_changed(index, hnsw, &meta))
		return;

	hnsw->nentries = 0;
	hnsw->entry_nblocks = RelationGetNumberOfBlocks(index);
	MemoryContextReset(hnsw->entry_context);
	old = MemoryContextSwitchTo(hnsw->entry_context);
	n = Min(meta.nentries, hnsw->meta.entry_capacity);
	hnsw->entry_links = palloc(Max(n, 1) * sizeof(OmenLink));
	hnsw->entry_pairs = hnsw->pair_stride == 0 ? NULL :
		MemoryContextAllocHuge(hnsw->entry_context,
							   Max(n, 1) * hnsw->pair_stride);
	MemoryContextSwitchTo(old);

	for (uint32 first = 0; first < n; first += hnsw->layout.entries_per_page)
	{
		BlockNumber block =
			meta.entry_blocks[first / hnsw->layout.entries_per_page];
		Buffer		buffer = omen_page_read(index, block, OMEN_PAGE_ENTRY,
											OMEN_LOCK_SHARE);
		char	   *content = omen_page_content(BufferGetPage(buffer));
		uint32		last = Min(n, first + hnsw->layout.entries_per_page);

		for (uint32 i = first; i < last; i++)
		{
			OmenHnswEntry entry = (OmenHnswEntry)
				(content + (i - first) * hnsw->meta.entry_size);

			hnsw->entry_links[i] = entry->link;
			if (hnsw->entry_pairs)
				omen_hnsw_entry_pair(hnsw, entry, hnsw->entry_pairs +
									   i * hnsw->pair_stride);
		}
		omen_page_release(buffer);
	}
	hnsw->nentries = n;
	hnsw->entry_epoch = meta.entry_epoch;
}

/*
 * Much of it, or all that there will ever be room for: as if it had room for more, who
 * inserts would go on to add what others have added.  Of a full list, inserts put new
 * entries in the place of others without a word: it changes as the index grows.
 */
static bool
have_entries_changed(Relation index, const OmenHnswIndex *hnsw,
					 const OmenHnswMetaPageData *meta)
{
	if (meta->entry_epoch != hnsw->entry_epoch)
		return true;
	if (meta->nentries < hnsw->meta.entry_capacity)
		return meta->nentries > hnsw->nentries + hnsw->nentries / 4;
	return meta->nentries != hnsw->nentries ||
		RelationGetNumberOfBlocks(index) >
		hnsw->entry_nblocks + hnsw->entry_nblocks / 4;
}

/* The kept list is no good: differs from what any metapage says */
void
omen_hnsw_drop_entries(OmenHnswIndex *hnsw)
{
	hnsw->nentries = 0;
	hnsw->entry_epoch--;
}

/*
 * The same, though neither their number nor the epoch has changed: inserts put
 * new entries in the place of others, one by one.
 */
void
omen_hnsw_reload_entries(Relation index, OmenHnswIndex *hnsw)
{
	hnsw->nentries = 0;
	omen_hnsw_refresh_entries(index, hnsw);
}

/*
 * Inner product: a vector longer than all before it.  No code depends on the
 * largest norm, only how near indexed vectors are taken to be to each other.
 */
void
omen_hnsw_raise_norm(Relation index, OmenHnswIndex *hnsw, float norm2)
{
	Buffer		buffer;
	OmenPageEdit edit;
	OmenHnswMetaPage meta;

	if (norm2 <= hnsw->quant->max_norm2 || !isfinite(norm2 * OMEN_NORM_MARGIN))
		return;
	buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK, OMEN_PAGE_META,
							OMEN_LOCK_EXCLUSIVE);
	omen_edit_begin(&edit, index);
	meta = (OmenHnswMetaPage) omen_page_content(omen_edit_page(&edit, buffer));
	meta->max_norm2 = Max(meta->max_norm2, norm2 * OMEN_NORM_MARGIN);
	hnsw->quant->max_norm2 = meta->max_norm2;
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

/*
 * Vacuum is about to change links so that nodes may be out of reach, or has seen
 * to them; there are so many rows then.
 */
void
omen_hnsw_set_relinking(Relation index, bool relinking, double rows)
{
	Buffer		buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK,
										OMEN_PAGE_META, OMEN_LOCK_EXCLUSIVE);
	OmenPageEdit edit;
	OmenHnswMetaPage meta;

	omen_edit_begin(&edit, index);
	meta = (OmenHnswMetaPage) omen_page_content(omen_edit_page(&edit, buffer));
	meta->flags &= ~OMEN_META_RELINKING;
	if (relinking)
		meta->flags |= OMEN_META_RELINKING;
	meta->linked_rows = (uint32) Max(Min(rows, PG_UINT32_MAX), 1);
	omen_edit_finish(&edit);
	omen_page_release(buffer);
}

static OmenKept *
load_index(Relation index)
{
	/* not below rd_indexcxt until nothing can fail any more */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  KEPT_CONTEXT,
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OmenHnswIndex *hnsw = palloc0(sizeof(OmenHnswIndex));
	OmenHnswMetaPageData *meta = &hnsw->meta;

	omen_hnsw_read_meta(index, meta);
	hnsw->opclass = omen_hnsw_opclass(index);
	check_columns(index, hnsw->opclass, meta);
	omen_hnsw_layout(meta, &hnsw->layout);
	hnsw->quant = omen_quant_init_rotated(palloc(omen_quant_size(&meta->shape)),
										  &meta->shape,
										  omen_hnsw_read_data(index, meta->mean_start,
													meta->shape.code_dims *
													sizeof(float)),
										  meta->max_norm2);
	load_codebook(index, hnsw);
	if ((meta->flags & OMEN_META_LATE_MEAN) != 0)
		hnsw->early = omen_quant_init_rotated(palloc(omen_quant_size(&meta->shape)),
											  &meta->shape, NULL,
											  meta->max_norm2);
	omen_page_hints_init(&hnsw->hints, context);
	omen_page_hints_init(&hnsw->heap_hints, context);
	hnsw->entry_context = AllocSetContextCreate(context, "omenhnsw entries",
												ALLOCSET_SMALL_SIZES);
	if (meta->entry_size > sizeof(OmenHnswEntryData))
		hnsw->pair_stride = TYPEALIGN(16, meta->shape.pair_size);

	hnsw->is_mean_settled = !omen_hnsw_awaits_mean(hnsw) &&
		(meta->flags & OMEN_META_LATE_MEAN) == 0;

	/* the first scan reads the list */
	hnsw->entry_epoch = meta->entry_epoch;
	omen_hnsw_drop_entries(hnsw);
	MemoryContextSwitchTo(old);
	omen_kept_finish(&hnsw->kept, context, index);
	return &hnsw->kept;
}

/* What DATA pages hold from a block on, palloc'd; NULL if there are none */
void *
omen_hnsw_read_data(Relation index, BlockNumber block, Size size)
{
	char	   *data;

	if (!BlockNumberIsValid(block) || size == 0)
		return NULL;

	data = palloc_extended(size, MCXT_ALLOC_HUGE);
	for (Size done = 0; done < size; done += OMEN_PAGE_CONTENT)
	{
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		buffer = omen_page_read(index, block++, OMEN_PAGE_DATA,
								OMEN_LOCK_SHARE);
		memcpy(data + done, omen_page_content(BufferGetPage(buffer)),
			   Min(size - done, OMEN_PAGE_CONTENT));
		omen_page_release(buffer);
	}
	return data;
}

/*
 * The codebook that the index was built with: the one that training starts
 * from, which the quantizer has already, or what its pages hold.
 */
static void
load_codebook(Relation index, OmenHnswIndex *hnsw)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;
	void	   *codebook = omen_hnsw_read_data(index, meta->codebook_start,
									 omen_pq_codebook_size(&meta->shape));

	if (codebook != NULL)
	{
		omen_pq_set_codebook(hnsw->quant, codebook);
		pfree(codebook);
	}
	if (omen_hnsw_hash_codebook(hnsw->quant) != meta->codebook_hash)
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The codebook is not the one that codes were made with.");
}

/* Any bytes would do as centroids, only that the codes would mean others */
uint32
omen_hnsw_hash_codebook(const OmenQuantizer *quant)
{
	Size		size = omen_pq_codebook_size(&quant->shape);

	return size == 0 ? 0 :
		hash_bytes((const unsigned char *) quant->codebook, (int) size);
}

/*
 * Is the index one of these columns?  ALTER TABLE may have taken their dimensions
 * from them, and left the index as it was: then each value is checked, as ever.
 */
static void
check_columns(Relation index, const OmenOpclassInfo *opclass,
			  const OmenHnswMetaPageData *meta)
{
	const OmenCodeShape *shape = &meta->shape;
	int			typmod = TupleDescAttr(RelationGetDescr(index), 0)->atttypmod;

	if (shape->element != opclass->element ||
		shape->metric != opclass->metric ||
		(typmod >= 0 && shape->dims != typmod) ||
		!omen_hnsw_key_kinds_match(index, meta))
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage describes another type of column.");
}

/* Raise an ERROR unless a metapage is of this version and makes sense */
void
omen_hnsw_check_meta(Relation index, const OmenHnswMetaPageData *meta)
{
	if (meta->magic != OMEN_HNSW_MAGIC)
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage lacks its magic number.");
	if (meta->version != OMEN_HNSW_VERSION)
		omen_page_report_format(index, "format version", meta->version,
								OMEN_HNSW_VERSION);
	if (!is_layout_valid(meta))
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage describes an impossible layout.");
	if (!is_entry_list_valid(meta))
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage describes an impossible list of entries.");
	if ((meta->flags & OMEN_META_LATE_MEAN) != 0 &&
		(!omen_hnsw_may_have_late_mean(meta) || !BlockNumberIsValid(meta->mean_start)))
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage tells of a mean that an insert cannot have taken.");
	if (!omen_range_is_valid(meta))
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage describes impossible ranges of nodes.");
	if (!omen_keylist_is_valid(meta))
		omen_page_report_corrupt(index, OMEN_HNSW_META_BLOCK,
								 "The metapage describes impossible lists of keys.");
}

/*
 * All that offsets into pages and sizes of memory are computed from.  Does
 * not ask whether omen_hnsw_choose_layout() would choose the same: an index
 * stays readable when that changes.
 */
static bool
is_layout_valid(const OmenHnswMetaPageData *meta)
{
	const OmenCodeShape *shape = &meta->shape;
	Size		link = sizeof(OmenLink) + shape->link_size;

	if (!omen_quant_shape_is_valid(shape))
		return false;
	if (shape->link_kind == OMEN_LINK_RABITQ1 ||
		shape->link_kind == OMEN_LINK_RABITQ2)
		link += 2 * sizeof(float);

	return meta->m >= OMEN_HNSW_MIN_M && meta->m <= OMEN_HNSW_MAX_M &&
		meta->ef_construction >= OMEN_HNSW_MIN_EF_CONSTRUCTION &&
		meta->ef_construction <= OMEN_HNSW_MAX_EF_CONSTRUCTION &&
		meta->nkeys <= OMEN_HNSW_MAX_KEYS &&
		meta->max_links > 0 && meta->max_links <= OMEN_MAX_LINKS &&
		meta->slots_per_page > 0 &&
		meta->slot_size % MAXIMUM_ALIGNOF == 0 &&
		meta->own_inline % MAXIMUM_ALIGNOF == 0 &&
		meta->own_inline <= OMEN_PAGE_CONTENT &&
		meta->slot_size <= OMEN_PAGE_CONTENT / meta->slots_per_page &&
		meta->slot_size >= OMEN_SLOT_HEADER +
		meta->nkeys * sizeof(uint64) + meta->own_inline +
		meta->max_links * link;
}

/* Codes have one, and the build took none */
bool
omen_hnsw_may_have_late_mean(const OmenHnswMetaPageData *meta)
{
	return meta->shape.own_kind != OMEN_OWN_RAW &&
		meta->built_nodes < OMEN_MEAN_ROWS;
}

/* Entries are as long as with or without a pair code, and fit their pages */
static bool
is_entry_list_valid(const OmenHnswMetaPageData *meta)
{
	Size		with_pair = MAXALIGN(sizeof(OmenHnswEntryData) +
									 meta->shape.pair_size);

	return (meta->entry_size == sizeof(OmenHnswEntryData) ||
			(meta->entry_size == with_pair &&
			 meta->entry_size <= OMEN_PAGE_CONTENT)) &&
		meta->entry_capacity > 0 &&
		meta->entry_capacity <= OMEN_HNSW_ENTRY_PAGES *
		(OMEN_PAGE_CONTENT / meta->entry_size) &&
		meta->nentries <= meta->entry_capacity;
}
