/*-------------------------------------------------------------------------
 *
 * graph.h
 *	  The proximity graph: search, choice of neighbours, bulk construction.
 *
 * Nothing here knows of pages, locks or transactions.  Nodes are reached
 * through OmenGraphOps (search) or lie in one block of memory (construction).
 * Distances are graph distances, see quant/quant.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GRAPH_H
#define OMEN_GRAPH_H

#include "quant/quant.h"

/*
 * A link: 28 bits of node number, 4 bits of the node's version when the link
 * was made.  A node whose version has moved on is another node.
 */
typedef uint32 OmenLink;

#define OMEN_LINK_NUMBER_BITS	28
#define OMEN_LINK_INVALID		((OmenLink) 0xFFFFFFFF)

/* m is at most 100; level 0 keeps 2 * m links, as in the HNSW paper */
#define OMEN_MAX_LINKS			200

static inline uint32
omen_link_number(OmenLink link)
{
	return link & ((UINT32_C(1) << OMEN_LINK_NUMBER_BITS) - 1);
}

static inline uint8
omen_link_version(OmenLink link)
{
	return (uint8) (link >> OMEN_LINK_NUMBER_BITS);
}

static inline OmenLink
omen_link_form(uint32 number, uint8 version)
{
	return number | ((uint32) (version & 15) << OMEN_LINK_NUMBER_BITS);
}

/*
 * Choice of neighbours (the heuristic of the HNSW paper, algorithm 4; equal
 * to RobustPrune of Vamana with alpha): walk the candidates from near to
 * far, keep one if no kept one is nearer to it than the base is, by a factor
 * of 1, then in further walks more, up to alpha.  With "fill", go on beyond
 * alpha, and at last add the nearest of the rest, until "max" are kept.
 * Candidates must be sorted by distance, nearest first, without duplicates.
 * Writes the indexes of the chosen, in the order of distance, and returns
 * their number.
 */
typedef struct OmenNear
{
	float		distance;		/* graph distance to the base */
	uint32		node;			/* caller's name for it */
	const uint8 *pair;			/* its pair code */
} OmenNear;

/*
 * Inner product: squared length from which on a vector counts as longer than
 * one of 1.  Equal lengths are not equal once they have been rounded.
 */
#define OMEN_LONG_NORM2		1.01f

/* By distance, then by node, so that the order is one */
extern void omen_graph_sort_near(OmenNear *near, Size n);

extern int	omen_graph_select(const OmenQuantizer *quant, const OmenNear *near,
							  int n, int max, float alpha, bool fill,
							  int *chosen);

/*
 * The same with "fill" beside candidates that are kept whatever happens:
 * kept[i] is true of those, at most max, and of all that were diverse on return.
 */
extern int	omen_graph_select_more(const OmenQuantizer *quant,
								   const OmenNear *near, int n, int max,
								   bool *kept, int *chosen);

/* Most candidates that they take */
#define OMEN_SELECT_MAX			1024

/* Level of a new node: P(level >= l) = 4^-l, at most OMEN_MAX_LEVEL */
#define OMEN_MAX_LEVEL			12
extern int	omen_graph_draw_level(uint64 random);

/*
 * How many of max_links links a node of level > 0 gives to neighbours of its
 * own scale, see src/graph/graph_build.c.
 */
extern int	omen_graph_scale_links(int level, int max_links);

/*
 * Bulk construction by partitioning and pruning.
 *
 * Participants (processes or one) share one arena, of which the functions
 * below know the layout, and a team, which gives out work and waits.
 * Positions are the numbers that nodes get in the order of their clusters;
 * rows are the caller's numbers in input order.
 */
typedef struct OmenBuildParams
{
	uint32		n;				/* rows */
	int			max_links;		/* links a node may keep */
	int			ef_construction;	/* breadth of candidates, as in HNSW */
	Size		code_bytes;		/* sum of all pair codes, if their size
								 * varies; else 0 */
	uint64		seed;
} OmenBuildParams;

typedef struct OmenBuildInput
{
	void	   *arg;
	/* pair code of a row; may be called by any participant */
	const uint8 *(*pair_code) (void *arg, uint32 row, Size *size);
	/* level of a row that has one; NULL: levels are drawn */
	int			(*level) (void *arg, uint32 row);
} OmenBuildInput;

typedef struct OmenBuild OmenBuild;

/* What links from elsewhere are worth */
typedef struct OmenLinkCheck
{
	const char *fault;			/* in words, or NULL */
	uint32		nmissed;		/* of the nearest nodes of those searched for, */
	uint32		nwanted;		/* which are so many */
} OmenLinkCheck;

typedef struct OmenBuildTeam
{
	void	   *arg;
	/* wait until all participants are here; true in exactly one of them */
	bool		(*barrier) (void *arg);
	/* called often: interrupts; done/total of the whole construction */
	void		(*progress) (void *arg, uint64 done, uint64 total);

	/*
	 * Mail between participants, too much to be in memory: a piece is written
	 * by one of them and, after a barrier, read by one.
	 */
	void		(*write_mail) (void *arg, Size offset, const void *data,
							   Size len);
	void		(*read_mail) (void *arg, Size offset, void *data, Size len);

	/*
	 * Where the arena is too large to be resident as a whole, codes that are
	 * not read in order are copied from it by this function, and so many bytes
	 * of them kept in private memory.  0: they are used in place.
	 */
	Size		code_cache;
	void		(*read_arena) (void *arg, Size offset, void *data, Size len);

	/*
	 * Another way to do the first stage, of one participant at most, who has
	 * all of what follows; NULL: there is none.  Is it to be gone?  Then all
	 * participants bring codes and levels of the rows to the arena,
	 */
	bool		(*want_rows) (void *arg, OmenBuild *build);

	/*
	 * and with these, clusters[row] becomes the number of each row's coarse
	 * cluster, near ones having near numbers.  Returns one more than the highest
	 * number, at most "most"; 0 if that has failed.
	 */
	uint32		(*find_clusters) (void *arg, OmenBuild *build,
								  uint32 *clusters, uint32 most);

	/*
	 * Find the links of all nodes in another way, described below; false if that
	 * has failed.  Of one participant at most.
	 */
	bool		(*find_links) (void *arg, OmenBuild *build);

	/*
	 * Whoever has this as well does not trust them.  They may be any numbers, and
	 * any number of them, and are checked by all participants, who have
	 * probe_links().  Called with the result; with a fault, they are not used.
	 */
	void		(*judge_links) (void *arg, const OmenLinkCheck *check);

	/*
	 * Search for a node by links that have the right form: how many of the
	 * nearest nodes that are known have been missed, and of how many.  False if
	 * its own links are not in order.
	 */
	bool		(*probe_links) (void *arg, OmenBuild *build, uint32 node,
								uint32 *nmissed, uint32 *nwanted);
} OmenBuildTeam;

/*
 * What links are made of, once the nodes have their numbers: by coarse cluster,
 * and by row in each (they are not their positions yet).  Each node is to get up to max_links links by
 * omen_build_set_links(), of them, if its level is above 0, up to scale_links
 * at its own scale, all as G1 and G4 in README.md have them.  What cannot be
 * reached by them is made reachable afterwards.
 */
typedef struct OmenBuildTask
{
	uint32		n;
	int			max_links;
	int			scale_links;
	int			list_size;		/* candidates that we would collect */
	int			rounds;			/* clusterings that we would take them from */
	uint64		seed;
	Size		stride;			/* of codes; 0 if their size varies */
	const uint8 *codes;			/* by node, but for find_clusters(): by row */
	const uint8 *levels;		/* likewise */
	const uint32 *clusters;		/* first node of each coarse cluster */
	uint32		nclusters;
} OmenBuildTask;

extern void omen_build_task(const OmenBuild *build, OmenBuildTask *task);

/*
 * Of "count" nodes from "first" on: for each max_links uint32, wherever they lie, of
 * which nlinks are used: local links first, nearest first, then nscale at the
 * node's own scale
 */
extern void omen_build_set_links(OmenBuild *build, uint32 first, uint32 count,
								 const void *links, const uint8 *nlinks,
								 const uint8 *nscale);

/* Those that were set last */
extern const uint32 *omen_build_get_links(const OmenBuild *build, uint32 node,
										  int *nlinks);

/*
 * Bytes of the arena, of what each participant allocates beside it (but for
 * the code cache), and of the mail, about; the arena's initialization, by one
 * participant
 */
extern uint64 omen_build_arena_size(const OmenQuantizer *quant,
								  const OmenBuildParams *params);
extern Size omen_build_scratch_size(const OmenQuantizer *quant,
									const OmenBuildParams *params);
extern uint64 omen_build_mail_size(const OmenQuantizer *quant,
								 const OmenBuildParams *params);
extern void omen_build_arena_init(void *arena, const OmenQuantizer *quant,
								  const OmenBuildParams *params);

/*
 * Construct the graph.  Called by every participant with the same arena;
 * returns in all of them when the graph is complete.  The result lies in the
 * current memory context and refers to the arena.
 */
extern OmenBuild *omen_build_graph(void *arena, const OmenQuantizer *quant,
								   const OmenBuildInput *input,
								   const OmenBuildTeam *team);

/* The result, by position */
extern uint32 omen_build_row(const OmenBuild *build, uint32 position);
extern int	omen_build_level(const OmenBuild *build, uint32 position);
extern const uint8 *omen_build_code(OmenBuild *build, uint32 position);

/* It will be asked for soon; before that, where it is, which is a load of its own */
extern void omen_build_prefetch_place(const OmenBuild *build, uint32 position);
extern void omen_build_prefetch_code(const OmenBuild *build, uint32 position);

/* From there all nodes can be reached (G2) */
extern uint32 omen_build_start(const OmenBuild *build);

/*
 * Links of a node as positions, nearest first; the last *nscale of them are
 * its links at its own scale.
 */
extern const uint32 *omen_build_links(const OmenBuild *build, uint32 position,
									  int *nlinks, int *nscale);

/* Number of coarse clusters, and the first position of each (ascending) */
extern uint32 omen_build_clusters(const OmenBuild *build,
								  const uint32 **first);

#endif							/* OMEN_GRAPH_H */
