/*-------------------------------------------------------------------------
 *
 * hnsw_tidmap.h
 *	  The TID map: from heap TIDs to the nodes that have them.
 *
 * Drawn in hnsw_page.h; what it promises is in src/hnsw/README.md (H9 to
 * H11).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_TIDMAP_H
#define OMEN_HNSW_TIDMAP_H

#include "storage/itemptr.h"

#include "hnsw/hnsw.h"

/* Where the map has a TID */
typedef struct OmenTidMapCell
{
	uint32		group;			/* of blocks, which have a leaf in each plane */
	uint32		leaf;			/* number of the leaf */
	uint32		plane;			/* of the offset number */
	uint32		at;				/* entry of the leaf */
} OmenTidMapCell;

/*
 * A reader's view.  Holds a copy of one leaf for each plane, so that TIDs in
 * ascending order read each leaf once, and no pins or locks in between.
 */
typedef struct OmenTidMapCursor
{
	Relation	index;
	OmenHnswIndex *hnsw;
	MemoryContext context;		/* holds the copies */
	bool		complete;		/* every indexed TID is in the map */
	bool		loaded[OMEN_TIDMAP_PLANES];
	uint32		leaves[OMEN_TIDMAP_PLANES];
	OmenLink   *links[OMEN_TIDMAP_PLANES];
	uint32		directory;		/* of which there is a copy, or none */
	BlockNumber leaf_blocks[OMEN_TIDMAP_ENTRIES];
} OmenTidMapCursor;

/* Enter a TID that a node has got.  No page lock is held. */
extern void omen_tidmap_set(Relation index, OmenHnswIndex *hnsw,
							const ItemPointerData *tid, OmenLink link);

/*
 * The node that may have this TID, or OMEN_LINK_INVALID: a hint, like that of
 * omen_tidmap_lookup(), for the sake of one TID.
 */
extern OmenLink omen_tidmap_find(Relation index, OmenHnswIndex *hnsw,
								 const ItemPointerData *tid);

/*
 * Begin to read, after the snapshot was taken whose rows are looked for.  The
 * cursor lives in the current memory context.  Not complete: rows may be
 * indexed that the map does not know.
 */
extern OmenTidMapCursor *omen_tidmap_begin(Relation index,
										   OmenHnswIndex *hnsw);

/* Replace the copy of a plane; for omen_tidmap_lookup() */
extern void omen_tidmap_load(OmenTidMapCursor *cursor,
							 const OmenTidMapCell *cell);

/*
 * Of n entries of a leaf the links, 0 for none: for whoever looks up many TIDs
 * that lie close together.
 */
extern void omen_tidmap_read(OmenTidMapCursor *cursor, uint32 leaf, int n,
							 const uint16 *at, OmenLink *links);

/* False for TIDs that the map has no room for; no heap has any */
static inline bool
omen_tidmap_find_cell(const ItemPointerData *tid, OmenTidMapCell *cell)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	uint32		offset = (uint32) ItemPointerGetOffsetNumberNoCheck(tid) -
		FirstOffsetNumber;

	cell->plane = offset / OMEN_TIDMAP_OFFSETS;
	cell->group = block / OMEN_TIDMAP_BLOCKS;
	cell->leaf = cell->group * OMEN_TIDMAP_PLANES + cell->plane;
	cell->at = block % OMEN_TIDMAP_BLOCKS * OMEN_TIDMAP_OFFSETS +
		offset % OMEN_TIDMAP_OFFSETS;
	return cell->plane < OMEN_TIDMAP_PLANES && cell->leaf < OMEN_TIDMAP_LEAVES;
}

/*
 * The node that may have this TID, or OMEN_LINK_INVALID.  Only a hint: the
 * caller checks that the link still leads to a node and that the node has
 * the TID.
 */
static inline OmenLink
omen_tidmap_lookup(OmenTidMapCursor *cursor, const ItemPointerData *tid)
{
	OmenTidMapCell cell;
	OmenLink	link;

	if (unlikely(!omen_tidmap_find_cell(tid, &cell)))
		return OMEN_LINK_INVALID;
	if (unlikely(!cursor->loaded[cell.plane] ||
				 cursor->leaves[cell.plane] != cell.leaf))
		omen_tidmap_load(cursor, &cell);
	link = cursor->links[cell.plane][cell.at];
	return link == 0 ? OMEN_LINK_INVALID : link;
}

#endif							/* OMEN_HNSW_TIDMAP_H */
