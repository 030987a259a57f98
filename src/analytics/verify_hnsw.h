/*-------------------------------------------------------------------------
 *
 * verify_hnsw.h
 *	  What the files that check an omenhnsw index share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_VERIFY_HNSW_H
#define OMEN_VERIFY_HNSW_H

#include "analytics/verify.h"
#include "hnsw/hnsw.h"

/* What was seen at a number: a byte for each */
#define OMEN_SEEN_NODE		0x80	/* a node, live or deleted; low bits: version */
#define OMEN_SEEN_LIVE		0x40
#define OMEN_SEEN_LIST		0x20	/* a TID list that no node leads to, yet */
#define OMEN_SEEN_REACHED	0x10	/* from the entries, by links */

typedef struct OmenVerifyHnsw
{
	OmenVerify *verify;
	OmenHnswIndex *hnsw;
	OmenHnswMetaPageData meta;	/* as it was when the check began */
	OmenHnswStore store;
	MemoryContext page_context; /* reset for each page */
	BlockNumber block;			/* of the node at hand */

	uint32		nnumbers;		/* of nodes and others */
	uint8	   *seen;

	/* parts that are good enough to be compared with nodes */
	bool		map_holds;
	bool		column_holds;
	bool		codes_hold;		/* range codes */

	/* links of live nodes, in all, and those that lead nowhere */
	uint64		nlinks;
	uint64		nlost;

	/* of nodes without equal ones, and those that lead back */
	uint64		ncounted;
	uint64		nmutual;
	float	   *scratch;		/* for codes */
	uint8	   *link_code;
} OmenVerifyHnsw;

static inline BlockNumber
omen_verify_number_block(const OmenVerifyHnsw *state, uint32 number)
{
	return number / state->hnsw->layout.slots_per_page;
}

/* Of all that the index has of a row */
extern uint64 omen_verify_hnsw_hash(const OmenHnswLayout *layout,
									const uint8 *own, Size own_bytes,
									const OmenHnswKeys *keys);

/* Does a link lead to a NODE page, of now or since the check began? */
extern bool omen_verify_is_link(OmenVerifyHnsw *state, OmenLink link);

extern bool omen_verify_shares_mean(const OmenVerifyHnsw *state,
									OmenHnswSlot slot);

/* verify_hnsw_parts.c: all but NODE and CHAIN pages */
extern void omen_verify_hnsw_parts(OmenVerifyHnsw *state);

/* verify_hnsw_nodes.c: NODE and CHAIN pages, and the rows of nodes */
extern void omen_verify_hnsw_nodes(OmenVerifyHnsw *state);

/* verify_hnsw_walk.c: can all nodes be reached? */
extern void omen_verify_hnsw_walk(OmenVerifyHnsw *state);

#endif							/* OMEN_VERIFY_HNSW_H */
