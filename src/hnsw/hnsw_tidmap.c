/*-------------------------------------------------------------------------
 *
 * hnsw_tidmap.c
 *	  The TID map on its pages: entries are set by inserts, and looked up.
 *
 * NOTES
 *	  The map is a tree of fixed shape: metapage, roots, directories, leaves.
 *	  Pages of a level are numbered; page n of a level is named by entry
 *	  n % OMEN_TIDMAP_ENTRIES of page n / OMEN_TIDMAP_ENTRIES of the level
 *	  above, and stays where it is from then on (H9).  So nobody needs the
 *	  lock of one page in order to go to the next, except to add that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "hnsw/hnsw_tidmap.h"

/* Levels of the tree */
#define LEVEL_LEAF	0
#define LEVEL_ROOT	2
#define LEVEL_META	3

/* No page of the map, and no node, is on block 0 */
#define NO_PAGE		((BlockNumber) OMEN_HNSW_META_BLOCK)

static BlockNumber find_leaf(Relation index, OmenHnswIndex *hnsw,
							 uint32 leaf);
static BlockNumber find_leaf_in_copy(OmenTidMapCursor *cursor, uint32 leaf);
static void copy_directory(OmenTidMapCursor *cursor, uint32 number);
static BlockNumber find_page(Relation index, int level, uint32 number);
static BlockNumber ensure_page(Relation index, int level, uint32 number);
static BlockNumber read_entry(Relation index, BlockNumber parent, int level,
							  uint32 number);
static BlockNumber add_page(Relation index, BlockNumber parent, int level,
							uint32 number);
static Buffer lock_page(Relation index, BlockNumber block, int level,
						uint32 number, OmenLockMode mode);
static Buffer lock_leaf(Relation index, OmenHnswIndex *hnsw,
						BlockNumber block, uint32 leaf, OmenLockMode mode);
static void check_number(Relation index, Buffer buffer, uint32 number);
static uint32 *page_entry(Page page, int level, uint32 at);
static void set_entry(Page page, uint32 *entry, uint32 value);
static void flag_unmapped(Relation index, OmenHnswIndex *hnsw);

void
omen_tidmap_set(Relation index, OmenHnswIndex *hnsw,
				const ItemPointerData *tid, OmenLink link)
{
	OmenTidMapCell cell;
	BlockNumber block;
	Buffer		buffer;

	Assert(omen_link_number(link) >= hnsw->layout.slots_per_page);

	if (!omen_tidmap_find_cell(tid, &cell))
	{
		flag_unmapped(index, hnsw);
		return;
	}

	block = find_leaf(index, hnsw, cell.leaf);
	if (block == NO_PAGE)
		block = ensure_page(index, LEVEL_LEAF, cell.leaf);
	buffer = lock_leaf(index, hnsw, block, cell.leaf, OMEN_LOCK_EXCLUSIVE);
	if (*page_entry(BufferGetPage(buffer), LEVEL_LEAF, cell.at) != link)
	{
		OmenPageEdit edit;
		Page		page;

		omen_edit_begin(&edit, index);
		page = omen_edit_page(&edit, buffer);
		set_entry(page, page_entry(page, LEVEL_LEAF, cell.at), link);
		omen_edit_finish(&edit);
	}
	omen_page_release(buffer);
}

OmenLink
omen_tidmap_find(Relation index, OmenHnswIndex *hnsw,
				 const ItemPointerData *tid)
{
	OmenTidMapCell cell;
	BlockNumber block;
	Buffer		buffer;
	OmenLink	link;

	if (!omen_tidmap_find_cell(tid, &cell))
		return OMEN_LINK_INVALID;
	block = find_leaf(index, hnsw, cell.leaf);
	if (block == NO_PAGE)
		return OMEN_LINK_INVALID;

	buffer = lock_leaf(index, hnsw, block, cell.leaf, OMEN_LOCK_SHARE);
	link = *page_entry(BufferGetPage(buffer), LEVEL_LEAF, cell.at);
	omen_page_release(buffer);
	return link == 0 ? OMEN_LINK_INVALID : link;
}

OmenTidMapCursor *
omen_tidmap_begin(Relation index, OmenHnswIndex *hnsw)
{
	OmenTidMapCursor *cursor = palloc0(sizeof(OmenTidMapCursor));
	OmenHnswMetaPageData meta;

	omen_hnsw_read_meta(index, &meta);
	cursor->index = index;
	cursor->hnsw = hnsw;
	cursor->context = CurrentMemoryContext;
	cursor->directory = PG_UINT32_MAX;
	cursor->complete = (meta.flags & OMEN_META_TIDS_UNMAPPED) == 0;
	return cursor;
}

void
omen_tidmap_load(OmenTidMapCursor *cursor, const OmenTidMapCell *cell)
{
	Size		size = OMEN_TIDMAP_ENTRIES * sizeof(OmenLink);
	BlockNumber block = find_leaf(cursor->index, cursor->hnsw, cell->leaf);
	OmenLink   *links = cursor->links[cell->plane];

	if (links == NULL)
		links = MemoryContextAlloc(cursor->context, size);
	cursor->links[cell->plane] = links;
	cursor->loaded[cell->plane] = false;
	if (block == NO_PAGE)
		memset(links, 0, size);
	else
	{
		Buffer		buffer = lock_leaf(cursor->index, cursor->hnsw, block,
									   cell->leaf, OMEN_LOCK_SHARE);

		memcpy(links, omen_page_content(BufferGetPage(buffer)), size);
		omen_page_release(buffer);
	}
	cursor->leaves[cell->plane] = cell->leaf;
	cursor->loaded[cell->plane] = true;
}

void
omen_tidmap_read(OmenTidMapCursor *cursor, uint32 leaf, int n,
				 const uint16 *at, OmenLink *links)
{
	BlockNumber block = find_leaf_in_copy(cursor, leaf);
	const OmenLink *entries;
	Buffer		buffer;

	if (block == NO_PAGE)
	{
		memset(links, 0, n * sizeof(OmenLink));
		return;
	}
	buffer = lock_leaf(cursor->index, cursor->hnsw, block, leaf,
					   OMEN_LOCK_SHARE);
	entries = (const OmenLink *) omen_page_content(BufferGetPage(buffer));
	for (int i = 0; i < n; i++)
	{
		Assert(at[i] < OMEN_TIDMAP_ENTRIES);
		links[i] = entries[at[i]];
	}
	omen_page_release(buffer);
}

/* The block of a leaf, from this backend's memory if known there; or NO_PAGE */
static BlockNumber
find_leaf(Relation index, OmenHnswIndex *hnsw, uint32 leaf)
{
	OmenTidMapPlace *place = &hnsw->tidmap[leaf % OMEN_TIDMAP_CACHE];

	if (place->leaf != leaf || place->block == NO_PAGE)
	{
		place->block = NO_PAGE;
		place->leaf = leaf;
		place->block = find_page(index, LEVEL_LEAF, leaf);
	}
	return place->block;
}

/*
 * The same for who looks at most leaves, in order: what the backend does not know
 * is in the directory.  A copy will do: what is added to it has rows that no older
 * snapshot sees.
 */
static BlockNumber
find_leaf_in_copy(OmenTidMapCursor *cursor, uint32 leaf)
{
	OmenTidMapPlace *place = &cursor->hnsw->tidmap[leaf % OMEN_TIDMAP_CACHE];
	uint32		directory = leaf / OMEN_TIDMAP_ENTRIES;

	if (place->leaf != leaf || place->block == NO_PAGE)
	{
		if (cursor->directory != directory)
			copy_directory(cursor, directory);
		place->leaf = leaf;
		place->block = cursor->leaf_blocks[leaf % OMEN_TIDMAP_ENTRIES];
	}
	return place->block;
}

static void
copy_directory(OmenTidMapCursor *cursor, uint32 number)
{
	Size		size = sizeof(cursor->leaf_blocks);
	BlockNumber block = find_page(cursor->index, LEVEL_LEAF + 1, number);

	cursor->directory = PG_UINT32_MAX;
	if (block == NO_PAGE)
		memset(cursor->leaf_blocks, 0, size);
	else
	{
		Buffer		buffer = lock_page(cursor->index, block, LEVEL_LEAF + 1,
									   number, OMEN_LOCK_SHARE);

		memcpy(cursor->leaf_blocks, omen_page_content(BufferGetPage(buffer)),
			   size);
		omen_page_release(buffer);
	}
	cursor->directory = number;
}

/* The block of page "number" of a level, or NO_PAGE */
static BlockNumber
find_page(Relation index, int level, uint32 number)
{
	BlockNumber parent = OMEN_HNSW_META_BLOCK;

	if (level < LEVEL_ROOT)
	{
		parent = find_page(index, level + 1, number / OMEN_TIDMAP_ENTRIES);
		if (parent == NO_PAGE)
			return NO_PAGE;
	}
	return read_entry(index, parent, level, number);
}

/* The same; adds what there is not yet, from the root down */
static BlockNumber
ensure_page(Relation index, int level, uint32 number)
{
	BlockNumber parent = OMEN_HNSW_META_BLOCK;
	BlockNumber block;

	if (level < LEVEL_ROOT)
		parent = ensure_page(index, level + 1, number / OMEN_TIDMAP_ENTRIES);
	block = read_entry(index, parent, level, number);
	if (block == NO_PAGE)
		block = add_page(index, parent, level, number);
	return block;
}

/* What the page above says of page "number" of a level */
static BlockNumber
read_entry(Relation index, BlockNumber parent, int level, uint32 number)
{
	Buffer		buffer = lock_page(index, parent, level + 1,
								   number / OMEN_TIDMAP_ENTRIES,
								   OMEN_LOCK_SHARE);
	BlockNumber block = *page_entry(BufferGetPage(buffer), level + 1,
									number % OMEN_TIDMAP_ENTRIES);

	omen_page_release(buffer);
	return block;
}

/*
 * Add page "number" of a level, unless somebody else has done so meanwhile.
 * The new page and the entry that names it are one record.
 */
static BlockNumber
add_page(Relation index, BlockNumber parent, int level, uint32 number)
{
	static const OmenPageKind kinds[] = {
		OMEN_PAGE_TIDMAP, OMEN_PAGE_TIDDIR, OMEN_PAGE_TIDROOT
	};
	uint32		at = number % OMEN_TIDMAP_ENTRIES;
	Buffer		buffer = lock_page(index, parent, level + 1,
								   number / OMEN_TIDMAP_ENTRIES,
								   OMEN_LOCK_EXCLUSIVE);
	BlockNumber block = *page_entry(BufferGetPage(buffer), level + 1, at);

	if (block == NO_PAGE)
	{
		Buffer		child = omen_page_find_free(index);
		OmenPageEdit edit;
		Page		page;

		block = BufferGetBlockNumber(child);
		omen_edit_begin(&edit, index);
		page = omen_edit_new_page(&edit, child, kinds[level]);
		omen_page_opaque(page)->owner = number;

		/* entries that were never set are a hole, and cost no WAL */
		((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData);
		page = omen_edit_page(&edit, buffer);
		set_entry(page, page_entry(page, level + 1, at), block);
		omen_edit_finish(&edit);
		omen_page_release(child);
	}
	omen_page_release(buffer);
	return block;
}

/* Lock a page of the map, or the metapage above it, and see that it is that */
static Buffer
lock_page(Relation index, BlockNumber block, int level, uint32 number,
		  OmenLockMode mode)
{
	static const OmenPageKind kinds[] = {
		OMEN_PAGE_TIDMAP, OMEN_PAGE_TIDDIR, OMEN_PAGE_TIDROOT, OMEN_PAGE_META
	};
	Buffer		buffer = omen_page_read(index, block, kinds[level], mode);

	if (level < LEVEL_META)
		check_number(index, buffer, number);
	return buffer;
}

/* Leaves are what each row needs: not by way of the buffer mapping */
static Buffer
lock_leaf(Relation index, OmenHnswIndex *hnsw, BlockNumber block, uint32 leaf,
		  OmenLockMode mode)
{
	Buffer		buffer = omen_page_read_hinted(index, block, OMEN_PAGE_TIDMAP,
											   mode, &hnsw->hints);

	check_number(index, buffer, leaf);
	return buffer;
}

static void
check_number(Relation index, Buffer buffer, uint32 number)
{
	if (omen_page_opaque(BufferGetPage(buffer))->owner != number)
		omen_page_report_corrupt(index, BufferGetBlockNumber(buffer),
								 "The page is of another part of the TID map.");
}

static uint32 *
page_entry(Page page, int level, uint32 at)
{
	char	   *content = omen_page_content(page);

	if (level == LEVEL_META)
	{
		Assert(at < OMEN_TIDMAP_ROOTS);
		return &((OmenHnswMetaPage) content)->tidmap_roots[at];
	}
	Assert(at < OMEN_TIDMAP_ENTRIES);
	return (uint32 *) content + at;
}

/* On a page copy: what is set lies outside the hole from now on */
static void
set_entry(Page page, uint32 *entry, uint32 value)
{
	PageHeader	header = (PageHeader) page;
	Size		end = (char *) (entry + 1) - (char *) page;

	*entry = value;
	header->pd_lower = Max(header->pd_lower, end);
}

/* A TID that the map has no room for is indexed: tell readers */
static void
flag_unmapped(Relation index, OmenHnswIndex *hnsw)
{
	OmenPageEdit edit;
	OmenHnswMetaPage meta;
	Buffer		buffer;

	if ((hnsw->meta.flags & OMEN_META_TIDS_UNMAPPED) != 0)
		return;
	buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK, OMEN_PAGE_META,
							OMEN_LOCK_EXCLUSIVE);
	omen_edit_begin(&edit, index);
	meta = (OmenHnswMetaPage) omen_page_content(omen_edit_page(&edit, buffer));
	meta->flags |= OMEN_META_TIDS_UNMAPPED;
	omen_edit_finish(&edit);
	omen_page_release(buffer);
	hnsw->meta.flags |= OMEN_META_TIDS_UNMAPPED;
}
