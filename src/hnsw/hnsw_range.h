/*-------------------------------------------------------------------------
 *
 * hnsw_range.h
 *	  Ranges of node numbers, their centres, and codes of nodes relative to
 *	  them: what filtered scans look through instead of slots.
 *
 * A bulk build numbers its nodes cluster by cluster.  A range is such a cluster,
 * or a part of it: its nodes are near each other, and its centre says how near
 * they are to a query.  The range code of a node is a link code (quant.h) of one bit
 * a dimension from the centre to the node, and lies in an array by node number:
 * it estimates the node's distance for a hundredth of what its slot would be to
 * read.
 *
 * Nodes that are inserted later lie behind the ranges, or in slots that vacuum
 * has freed; these get range codes as well.  A crash may leave such a slot with
 * the code of the node before: range codes decide which nodes are looked at
 * first, no more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_RANGE_H
#define OMEN_HNSW_RANGE_H

#include "hnsw/hnsw.h"

/* Range code on disk: both factors as the upper halves of floats, the bits */
typedef struct OmenRangeCodeData
{
	uint16		f_add;
	uint16		f_rescale;
	uint8		code[FLEXIBLE_ARRAY_MEMBER];
} OmenRangeCodeData;

typedef OmenRangeCodeData *OmenRangeCode;

/* The upper half of a float, rounded: a relative error of 1/512 at most */
static inline uint16
omen_range_shorten(float f)
{
	uint32		bits;

	memcpy(&bits, &f, sizeof(bits));
	return (uint16) ((bits + 0x8000) >> 16);
}

static inline float
omen_range_lengthen(uint16 upper)
{
	uint32		bits = (uint32) upper << 16;
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Numbers of range i: from *from on, below *end */
static inline void
omen_range_bounds(const OmenHnswIndex *hnsw, uint32 i, uint32 *from,
				  uint32 *end)
{
	*from = hnsw->meta.range_first + hnsw->range_starts[i];
	*end = hnsw->meta.range_first + (i + 1 < hnsw->meta.nranges ?
									 hnsw->range_starts[i + 1] :
									 (uint32) hnsw->meta.built_nodes);
}

/* Of ascending first positions, which range has this one? */
static inline uint32
omen_range_find(const uint32 *starts, uint32 nranges, uint32 position)
{
	uint32		low = 0;
	uint32		high = nranges;

	Assert(nranges > 0 && starts[0] <= position);
	while (low + 1 < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (starts[middle] <= position)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Choose meta->range_size from the nodes that are built; 0 for no ranges */
extern void omen_range_choose(OmenHnswMetaPageData *meta);

/* Could the metapage's numbers be what that has chosen? */
extern bool omen_range_is_valid(const OmenHnswMetaPageData *meta);

/* Have range codes, which differ from link codes in shape only */
extern bool omen_range_has_codes(const OmenHnswMetaPageData *meta);
extern void omen_range_quantizer(const OmenQuantizer *quant,
								 OmenQuantizer *range_quant);

static inline Size
omen_range_code_size(const OmenQuantizer *range_quant)
{
	return offsetof(OmenRangeCodeData, code) + range_quant->shape.link_size;
}

extern BlockNumber omen_range_pages(const OmenHnswMetaPageData *meta,
									Size code_size);

extern void omen_range_encode(const OmenQuantizer *range_quant,
							  const uint8 *centre, const uint8 *pair,
							  OmenRangeCode code);

/* Centres lie as in memory, this far from each other */
static inline Size
omen_range_stride(const OmenHnswMetaPageData *meta)
{
	return TYPEALIGN(16, meta->shape.pair_size);
}

static inline Size
omen_range_centres_size(const OmenHnswMetaPageData *meta)
{
	return meta->nranges * omen_range_stride(meta);
}

/* With the first numbers behind them */
static inline Size
omen_range_data_size(const OmenHnswMetaPageData *meta)
{
	return omen_range_centres_size(meta) + meta->nranges * sizeof(uint32);
}

/* Load the centres and first numbers, if there are any */
extern bool omen_range_load(Relation index, OmenHnswIndex *hnsw);

static inline const uint8 *
omen_range_centre(const OmenHnswIndex *hnsw, uint32 i)
{
	return hnsw->range_centres + i * omen_range_stride(&hnsw->meta);
}

/* Lock the page with a node's range code, and find the code */
extern Buffer omen_range_read_code(Relation index, OmenHnswIndex *hnsw,
								   uint32 number, OmenLockMode mode);

static inline OmenRangeCode
omen_range_page_code(const OmenHnswIndex *hnsw, Page page, uint32 number)
{
	uint32		at = (number - hnsw->meta.range_first) %
		hnsw->range_codes_per_page;

	return (OmenRangeCode) (omen_page_content(page) +
							at * omen_range_code_size(&hnsw->range_quant));
}

static inline BlockNumber
omen_range_code_block(const OmenHnswIndex *hnsw, uint32 number)
{
	return hnsw->meta.code_start +
		(number - hnsw->meta.range_first) / hnsw->range_codes_per_page;
}

/* A node that was inserted has this number.  No page lock is held. */
extern void omen_range_set_code(Relation index, OmenHnswIndex *hnsw,
								uint32 number, const uint8 *pair);

#endif							/* OMEN_HNSW_RANGE_H */
