/*-------------------------------------------------------------------------
 *
 * hnsw_insert.h
 *	  The insertion of one row: what its steps share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_INSERT_H
#define OMEN_HNSW_INSERT_H

#include "hnsw/hnsw.h"

/* A node that is to link to the new one */
typedef struct OmenBackLink
{
	int			near;			/* which one, an index into near */
	bool		agreed;			/* it has room, or a link to give up */
	OmenLink	victim;			/* that link, or OMEN_LINK_INVALID */
} OmenBackLink;

typedef struct OmenInsert
{
	Relation	index;
	OmenHnswIndex *hnsw;
	OmenHnswStore store;
	OmenSearch *search;
	ItemPointer tid;

	uint8	   *own;			/* codes of the new row */
	Size		own_bytes;
	uint8	   *pair;
	OmenHnswKeys keys;
	int			level;
	OmenLink	link;			/* of the new node */

	int			nnear;			/* live nodes around it, nearest first */
	OmenNear   *near;			/* "node" is a link */
	int			nlinks;			/* its links, indexes into near */
	int			links[OMEN_MAX_LINKS];
	int			nscale;			/* how many of them, at the end, by scale */
	int			nback;			/* who is to link back */
	OmenBackLink back[OMEN_MAX_LINKS];

	struct pair_cache_hash *pairs;	/* pair codes read so far */
	OmenHnswSlot full;			/* copy of a slot without room */
	OmenQuery  *centre;			/* room for a query that is a neighbour */
	float	   *scratch;
} OmenInsert;

/* hnsw_insert_back.c */
extern void omen_insert_begin_back(OmenInsert *state);
extern void omen_insert_plan_back(OmenInsert *state);
extern int	omen_insert_link_back(OmenInsert *state);
extern void omen_insert_encode_edge(OmenInsert *state, const uint8 *centre,
									const uint8 *neighbour, OmenLink link,
									OmenHnswEdge *edge);
extern const uint8 *omen_insert_pair(OmenInsert *state, OmenLink link);
extern bool omen_insert_knows_pair(const OmenInsert *state, OmenLink link);

/* hnsw_insert_copies.c */
extern void omen_insert_thin(OmenInsert *state);

/*
 * How many neighbours a new node chooses, of so many links; all of them are to
 * link back
 */
extern int	omen_insert_new_links(int max_links);

#endif							/* OMEN_HNSW_INSERT_H */
