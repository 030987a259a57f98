/*-------------------------------------------------------------------------
 *
 * graph_search.h
 *	  Best-first search over a graph whose nodes lie anywhere.
 *
 * The search keeps a pool of the ef nearest nodes it has heard of, by
 * estimated distance, and visits the nearest unvisited one until none is
 * left.  A visit scores all neighbours of the node at once from the codes in
 * its slot, and replaces the node's own estimate by a finer one.
 *
 * Where this differs from algorithm 2 of the HNSW paper: one pool instead of
 * two heaps; a node may be heard of several times with different estimates
 * (a code is relative to the node that holds it, and the first estimate is
 * often the worst), so what is remembered is which nodes were visited, not
 * which were seen; and what falls out of the pool is kept, so that the
 * search can be widened and resumed at any time.
 *
 * A filtered search looks for nodes that a filter allows, and walks past
 * others.  How far it has to go is not known before: what it has heard of is in
 * a heap, and the pool has all visited nodes.  It ends when so many of them are
 * nearer than all that were not visited: up to the last allowed node that is
 * wanted, and then as many more as a search without a filter visits.  Better than
 * their number, of which it takes few here and many there, is how far they usually
 * reach.  A search without a filter that is widened goes on in the same way.
 *
 * Of nodes that were heard of and not visited, some are answers, the nearest that
 * are allowed most of all.  To measure them is a fraction of a visit, which has to
 * bring the codes of all links as well: so a filtered search may end earlier, and
 * measure those.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GRAPH_SEARCH_H
#define OMEN_GRAPH_SEARCH_H

#include "graph/allowset.h"
#include "graph/graph.h"
#include "storage/itemptr.h"

/* Heap TIDs that fit into a slot; more lie in a list that it refers to */
#define OMEN_SLOT_TIDS	2

/* What a visit brings back */
typedef struct OmenVisit
{
	OmenBounds	own;			/* distance of the node itself */
	bool		live;			/* has rows; else only a way to others */
	bool		allowed;		/* by the filter of the search */
	bool		recheck;		/* which may be wrong about it */
	bool		stop;			/* what was looked for: visit no more for now */
	uint8		level;
	uint8		ntids;
	ItemPointerData tids[OMEN_SLOT_TIDS];
	OmenLink	more_tids;
	uint8	   *pair;			/* if not NULL: gets the node's pair code */
	Size		pair_size;		/* of the pair code */
	int			nlinks;
	OmenLink	links[OMEN_MAX_LINKS];
	float		estimates[OMEN_MAX_LINKS];
} OmenVisit;

/* How the search reaches nodes */
typedef struct OmenGraphOps
{
	/* false: there is no such node any more */
	bool		(*visit) (void *store, OmenLink link, OmenVisit *visit);
	/* the same but for links; NULL if no filter asks for it */
	bool		(*measure) (void *store, OmenLink link, OmenVisit *visit);
	/* the node will be visited soon; may do nothing */
	void		(*prefetch) (void *store, OmenLink link);
	/* the node may be prefetched soon: what leads to it; may do nothing */
	void		(*prefetch_way) (void *store, OmenLink link);
	/* as prefetch, of a node that will be measured */
	void		(*prefetch_own) (void *store, OmenLink link);
	/* how many of the next nodes to name to read_ahead before a visit */
	int			(*ahead) (void *store);
	/* the node will probably be visited: begin to read it */
	void		(*read_ahead) (void *store, OmenLink link);
} OmenGraphOps;

/* A visited node that is allowed and has rows */
typedef struct OmenFound
{
	OmenBounds	own;
	OmenLink	link;
	OmenLink	more_tids;
	bool		recheck;
	uint8		level;
	uint8		ntids;
	ItemPointerData tids[OMEN_SLOT_TIDS];
	uint8	   *pair;			/* its pair code, if asked for */
	Size		pair_size;
} OmenFound;

typedef struct OmenPoolEntry
{
	float		estimate;
	OmenLink	link;
	bool		visited;
	bool		allowed;		/* as its visit told */
} OmenPoolEntry;

/* A node heard of, which was not visited */
typedef struct OmenHeard
{
	float		estimate;
	OmenLink	link;
} OmenHeard;

struct omen_numberset_hash;

/* Of the nodes heard of, so many are measured in the end, at most */
#define OMEN_MAX_MEASURED	32

/* The caller's, who may change it between runs */
typedef struct OmenSearchFilter
{
	int			breadth;		/* allowed nodes to look for */
	int			beyond;			/* and nodes to visit beyond them */
	int			large_rank;		/* of the last of those allowed among all nodes:
								 * beyond a larger one, fewer do; or 0 */
	int			expected_rank;	/* a smaller one is chance; or 0 */
	int			usual_rank;		/* a larger one tells that they are elsewhere */
	float		growth;			/* distances grow by this power of the rank: where
								 * they grow faster, fewer nodes do, where slower,
								 * it takes more; or 0 */
	uint64		max_visits;		/* give up then */
	int			measured;		/* nodes to measure in the end, at most
								 * OMEN_MAX_MEASURED, of those ... */
	const OmenAllowSet *maybe;	/* in this set */
	const OmenAllowSet *allowed_only;	/* if not NULL: visit no others */
} OmenSearchFilter;

typedef struct OmenSearch
{
	const OmenGraphOps *ops;
	void	   *store;
	MemoryContext context;		/* holds everything below */
	bool		keep_pairs;		/* copy pair codes of found nodes */

	/* the caller's, or "all"; NULL: all nodes, through the pool */
	const OmenSearchFilter *filter;
	OmenSearchFilter all;		/* of a wide search without one */

	int			ef;				/* capacity of the pool */
	int			npool;
	int			next;			/* no unvisited entry before this one */
	OmenPoolEntry *pool;		/* ascending by estimate */

	struct omen_numberset_hash *visited;	/* node numbers */
	struct omen_numberset_hash *measured;	/* but not visited before; or NULL */

	/* heard of, but not in the pool, estimates as they came */
	Size		nrest;
	Size		rest_size;
	float	   *rest_estimates;
	OmenLink   *rest_links;

	/*
	 * Under a filter or "all", instead: the pool is of visited nodes, and the
	 * rest also has what is in the heap, and some of what was visited
	 */
	int			nallowed;		/* of the pool */
	int			rank;			/* in it, of the last node wanted, or 0 */
	int			needed;			/* nodes of it, for that rank */
	float		reach;			/* if distances grow as usual, that of the last
								 * node needed, in multiples of that rank's */
	Size		nheard;
	Size		heard_size;
	OmenHeard  *heard;			/* a heap, the nearest first */
	Size		width;			/* nodes to be kept in it */
	float		far;			/* what is farther goes to the rest */
	OmenLink	under_way;		/* prefetched last */

	Size		nfound;			/* in the order of visits */
	Size		found_size;
	OmenFound  *found;

	uint64		nvisits;
	OmenVisit	visit;			/* work area */
} OmenSearch;

extern OmenSearch *omen_search_create(const OmenGraphOps *ops, void *store,
									  int ef, bool keep_pairs);

/* Offer a node to start from */
extern void omen_search_seed(OmenSearch *search, OmenLink link,
							 float estimate);

/*
 * Visit until the pool holds no unvisited node, or the filter is done, or a
 * visit says to stop, of which true is returned: the last node found is the
 * one.  May be called again to go on.
 */
extern bool omen_search_run(OmenSearch *search);

/*
 * Make a search without a filter broader; false if there is nothing to go on
 * with
 */
extern bool omen_search_widen(OmenSearch *search, int ef);

/* How wide a search without a filter is now */
static inline int
omen_search_breadth(const OmenSearch *search)
{
	return search->filter == &search->all ? search->all.breadth : search->ef;
}

/*
 * Distance beyond which the search has not looked closely: that of the middle
 * of a full pool (the farther half is there to find the nearer one), infinity
 * if everything reachable was visited.
 */
extern float omen_search_horizon(const OmenSearch *search);

/* Visit a node, whatever its place; what it links to is not offered */
extern bool omen_search_visit(OmenSearch *search, OmenLink link);

/* Visited, or at least measured: it has been found, or has nothing to find */
extern bool omen_search_was_seen(const OmenSearch *search, uint32 number);

#endif							/* OMEN_GRAPH_SEARCH_H */
