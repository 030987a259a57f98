/*-------------------------------------------------------------------------
 *
 * graph_build.h
 *	  Private to bulk construction: the arena and what its stages share.
 *
 * The arena holds no pointers, for participants may map it at different
 * addresses.  Its parts, all arrays by node unless stated:
 *
 *	header		OmenBuildArena
 *	rows		uint32, the caller's row of a node
 *	levels		uint8
 *	codes		pair codes, "stride" bytes apart, or with offsets[] if their
 *				size varies
 *	lists		uint64[list_size]: candidates while they are collected, later
 *				forward and reverse links on their way to being pruned
 *	nlist		uint16[3]: OmenListSize
 *	links		uint32[max_links], with nlinks and nscale
 *	pairs		uint32[2 * OMEN_TOP_FANOUT]: working space of one stage
 *	clusters	first position of each coarse cluster
 *
 * Nodes are numbered by coarse cluster from the first stage on; the last
 * stage improves the order within each cluster.
 *
 * Stages are separated by omen_build_once(), and their work is given out by
 * omen_build_claim(), so that any number of participants gets through.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GRAPH_BUILD_H
#define OMEN_GRAPH_BUILD_H

#include "port/atomics.h"

#include "graph/graph.h"
#include "quant/pair_matrix.h"

/* Top-level clusters that a node is a member of */
#define OMEN_TOP_FANOUT			2

/* Leaves of each of those clusters that it is a member of */
#define OMEN_LEAF_FANOUT		3

/* Average sizes aimed at, and the largest leaf */
#define OMEN_TOP_SIZE			4000
#define OMEN_COARSE_SIZE		1000
#define OMEN_LEAF_SIZE			512
#define OMEN_LEAF_MAX			1024

/*
 * Beyond so many nodes, leaves are smaller: a million x 128 lose 0.001 of
 * recall and save a sixth of the time.  10,000 x 768 would lose 0.006.
 */
#define OMEN_LARGE_SET			300000
#define OMEN_LEAF_SIZE_LARGE	300

/*
 * Beyond so many nodes, they collect half as many candidates again: in a set
 * with nine near copies of each vector, links to anything else come from
 * further down the list.
 */
#define OMEN_HUGE_SET			2000000

/* Nearest that a row of a leaf passes on, unless there are many links */
#define OMEN_LEAF_KEEP			16

/*
 * What a node takes from all its leaves in a cluster, as a multiple of that;
 * more changes no graph that was measured
 */
#define OMEN_LEAF_ROOM			2

/* Up to so many nodes, a row of a leaf passes on as many as max_links */
#define OMEN_SMALL_SET			20000

/* Orders in which near copies stand for each other */
#define OMEN_RANKINGS			4

/*
 * Inner product: sets of long nodes, of a quarter of all, a sixteenth and so
 * on, which are scales of these numbers (graph_build_long.c)
 */
#define OMEN_LONG_SETS			5
#define OMEN_LONG_SCALE			(OMEN_MAX_LEVEL + 1)

/* Independent clusterings at most */
#define OMEN_MAX_ROUNDS			6

/* Room for the sorting of candidates */
#define OMEN_MAX_KEYS			4096

/* Members of a cluster that fit into private lists */
#define OMEN_CLUSTER_MAX		32768

/* More leaders than this cost more than the clusters they would shrink */
#define OMEN_MAX_LEADERS		2048

/* What the processor fetches at a time */
#define OMEN_CACHE_LINE			64

/* Rows or nodes handed out at once */
#define OMEN_BUILD_CHUNK		512

/*
 * What a step far away in the arena counts for in omen_build_tick(): the
 * kernel maps about so much around it, which the caller may want to undo.
 */
#define OMEN_FAR_ACCESS			(64 * 1024)

/* Mail is sorted by ranges of so many nodes, or into so many ranges */
#define OMEN_RANGE_SIZE			4096
#define OMEN_MAX_RANGES			512

/* Entries of a node's list in the arena */
typedef struct OmenListSize
{
	uint16		candidates;		/* sorted; later: forward links, sorted */
	uint16		kept;			/* how many of them are chosen links */
	uint16		reverse;		/* links from others, behind these */
} OmenListSize;

/* A walk over links, level by level; nodes are in the order of a queue */
typedef struct OmenBuildWalk
{
	uint32		first;			/* of the level at work */
	uint32		end;
	uint32		depth;			/* of what its nodes lead to */
	pg_atomic_uint32 nreached;	/* nodes in the queue */
} OmenBuildWalk;

/* Links that were found in another way */
typedef enum OmenOtherLinks
{
	OMEN_LINKS_NOT_TRIED,
	OMEN_LINKS_AWAITED,
	OMEN_LINKS_FAILED,
	OMEN_LINKS_DOUBTED,
	OMEN_LINKS_TRUSTED
} OmenOtherLinks;

typedef struct OmenBuildArena
{
	OmenBuildParams params;
	Size		stride;			/* of codes; 0 if their size varies */
	int			list_size;
	int			rounds;			/* clusterings that supply candidates */

	/* offsets of the parts */
	Size		rows;
	Size		levels;
	Size		codes;
	Size		offsets;
	Size		lists;
	Size		nlist;
	Size		links;
	Size		nlinks;
	Size		nscale;
	Size		pairs;
	Size		subset;
	Size		starts;
	Size		clusters;
	Size		size;

	/* mail */
	uint32		range_size;		/* nodes of a range */
	uint32		chunk_size;		/* bytes */

	/* written by one participant between two barriers */
	uint32		nclusters;		/* of the stage at work; in the end: coarse */
	uint32		nsubset;		/* nodes of the scale at work */
	bool		rows_wanted;	/* before they are nodes */
	OmenOtherLinks other_links;
	OmenBuildWalk walk;

	uint64		total_work;
	pg_atomic_uint64 done_work;
	pg_atomic_uint32 next;		/* work of this stage not given out yet */
	pg_atomic_uint32 next_chunk;
	pg_atomic_uint32 inbox[OMEN_MAX_RANGES];	/* latest chunk of a range */

	/* what a check of links has found: graph_build_check.c */
	pg_atomic_uint32 fault;
	pg_atomic_uint32 nmissed;
	pg_atomic_uint32 nwanted;
	pg_atomic_uint32 nlong;		/* nodes longer than average */
} OmenBuildArena;

/* Chunks of mail to the nodes of one range form a list; letters follow */
typedef struct OmenMailChunk
{
	uint32		number;			/* its place in the mail */
	uint32		next;			/* OMEN_NO_CHUNK: this is the last one */
	uint32		used;			/* bytes, with this */
	uint32		unused;
} OmenMailChunk;

#define OMEN_NO_CHUNK	PG_UINT32_MAX

/* Keys for a node's list */
typedef struct OmenLetter
{
	uint32		node;
	uint32		nkeys;
	uint64		keys[FLEXIBLE_ARRAY_MEMBER];
} OmenLetter;

/*
 * Copies of codes, each in the slot given by its node's number.  The nodes of
 * a cluster have neighbouring numbers, so they do not displace each other.
 * (To read neighbours along with the one asked for costs more than it saves:
 * of the candidates of a cluster too few lie side by side.)
 */
typedef struct OmenCodeCache
{
	uint32		nslots;			/* 0: codes are used in place */
	uint32	   *nodes;			/* whose code is in each slot */
	uint8	   *codes;
} OmenCodeCache;

#define OMEN_NO_NODE	PG_UINT32_MAX

/*
 * Codes gathered for comparison of one with many: copies lying "stride" bytes
 * apart, or pointers if their size varies.
 */
typedef struct OmenCodeBlock
{
	int			n;
	int			size;			/* for how many there is room */
	uint8	   *codes;
	const uint8 **pointers;
} OmenCodeBlock;

/* A cluster at work, with the candidates found in it so far */
typedef struct OmenCluster
{
	const uint32 *members;		/* node numbers */
	uint32		n;
	int			keep;			/* candidates taken from each leaf */
	int			room;			/* size of each list in near[] */
	uint64	   *near;
	uint16	   *nnear;
	uint32		nseen;			/* rows of leaves so far */
	uint32		ncopied;		/* those that had near copies there */
	bool		thinned;		/* the leaf at work is */
} OmenCluster;

/* Who is seen by whom in a leaf with near copies; arrays by place in it */
typedef struct OmenThinning
{
	uint32		ranks[OMEN_LEAF_MAX];
	float		limits[OMEN_RANKINGS][OMEN_LEAF_MAX];	/* seen from so far */
	float		seen[OMEN_LEAF_MAX];	/* distances of one row */
	float		beyond[OMEN_LEAF_MAX];	/* of these, those beyond its copies */
} OmenThinning;

/* One participant's view of the construction, and its result */
struct OmenBuild
{
	OmenBuildArena *arena;
	const OmenQuantizer *quant;
	const OmenBuildInput *input;
	const OmenBuildTeam *team;

	/* the arena's parts, as mapped here */
	uint32	   *rows;
	uint8	   *levels;
	uint8	   *codes;
	Size	   *offsets;
	uint64	   *lists;
	OmenListSize *nlist;
	uint32	   *links;
	uint8	   *nlinks;
	uint8	   *nscale;
	uint32	   *pairs;
	uint32	   *subset;
	uint32	   *starts;
	uint32	   *clusters;
	uint32	   *order;			/* node at each position, in the end */

	uint32		n;
	int			max_links;
	Size		stride;
	int			list_size;

	/* of the scale at work; all nodes if it is 0 */
	int			scale;
	uint32		nmembers;
	int			fanout;			/* clusters that each member joins */

	Size		idle_work;		/* bytes compared since the last report */
	uint64		new_work;		/* work done since then */

	/* scratch, of one participant */
	OmenCodeBlock leaders;
	OmenCodeBlock leaf;
	OmenPairMatrix *matrix;		/* NULL if sizes of codes vary */
	float	   *candidates;		/* distances between a node's candidates */
	float	   *leaf_distances; /* of all members of a leaf to each other */
	OmenThinning *thinning;
	float	   *distances;
	uint64	   *keys;
	OmenMailChunk **outbox;		/* by range: the chunk being filled, or NULL */
	OmenMailChunk *inbox;		/* the chunk being read */
	OmenCodeCache cache;
};

/* graph_build.c */
extern int	omen_build_rounds(int ef_construction);
extern int	omen_build_list_size(int ef_construction, int max_links,
								 double rows);
extern void omen_build_once(OmenBuild *build, void (*setup) (OmenBuild *));
extern bool omen_build_claim(OmenBuild *build, uint32 total, uint32 chunk,
							 uint32 *first, uint32 *end);
extern void omen_build_tick(OmenBuild *build, Size compared, uint64 work);
extern void omen_block_init(const OmenBuild *build, OmenCodeBlock *block,
							int size);
extern void omen_block_add(const OmenBuild *build, OmenCodeBlock *block,
						   const uint8 *code, Size size);
extern void omen_block_distances(const OmenBuild *build,
								 const OmenCodeBlock *block, int from,
								 const uint8 *code, float *distances);

/* graph_build_place.c */
extern void omen_build_place(OmenBuild *build);

/* graph_build_order.c */
extern void omen_build_order(OmenBuild *build);

/* graph_build_partition.c */
extern void omen_build_candidates(OmenBuild *build, int round);
extern void omen_build_draw_leaders(OmenBuild *build, uint64 purpose,
									const uint32 *members, uint32 nmembers,
									int nleaders);
extern void omen_build_nearest(const float *distances, int n, int fanout,
							   uint32 *nearest);
extern void omen_build_invert(const uint32 *groups, uint32 n, uint32 ngroups,
							  uint32 *starts, uint32 *items);

extern int	omen_build_leaf_keep(const OmenBuildArena *arena, uint32 n);

/* graph_build_leaf.c */
extern void omen_build_leaf(OmenBuild *build, OmenCluster *cluster,
							const uint32 *items, int n);
extern int	omen_build_merge_keys(uint64 *dst, int room,
								  const uint64 *a, int na,
								  const uint64 *b, int nb);

/* graph_build_mail.c */
extern void omen_mail_lay_out(OmenBuildArena *arena);
extern Size omen_mail_scratch_size(const OmenBuildArena *arena);
extern uint64 omen_mail_size(const OmenBuildArena *arena);
extern void omen_mail_attach(OmenBuild *build);
extern void omen_mail_send(OmenBuild *build, uint32 node, const uint64 *keys,
						   int nkeys);
extern void omen_mail_deliver(OmenBuild *build,
							  void (*receive) (OmenBuild *,
											   const OmenLetter *),
							  void (*finish) (OmenBuild *, uint32 range));

/* graph_build_thin.c */
extern void omen_thin_begin(OmenThinning *thinning, const uint32 *nodes,
							int n);
extern void omen_thin_note(OmenThinning *thinning, const float *distances,
						   int n, int i);
extern const float *omen_thin_row(OmenThinning *thinning, uint32 node,
								  const float *distances, int n, int keep);
extern bool omen_thin_has_copies(const float *distances, int n,
								 const uint64 *keys, int nkeys, int keep);
extern int	omen_thin_choose(uint64 *keys, int nkeys, int keep);
extern const float *omen_thin_beyond(OmenThinning *thinning,
									 const float *distances, int n,
									 float last);
extern int	omen_thin_draw(uint64 *keys, int nkeys, int wanted, uint64 seed);
extern void omen_thin_keep_copies(const OmenNear *near, int n, int wanted,
								  bool *kept);

/* graph_build_nearest.c */
extern int	omen_build_below_bound(const float *distances, int n, int keep,
								   uint32 *below);

/* graph_build_prune.c */
extern void omen_build_prune(OmenBuild *build);

/* graph_build_check.c */
extern bool omen_build_check_links(OmenBuild *build);

/* graph_build_long.c */
extern void omen_build_link_long(OmenBuild *build);
extern void omen_build_favour_long(OmenBuild *build);

/* graph_build_connect.c */
extern void omen_build_insert_link(OmenBuild *build, uint32 node,
								   uint32 other);
extern void omen_build_remove_local(OmenBuild *build, uint32 node, int at);
extern void omen_build_connect(OmenBuild *build);
extern uint32 omen_build_start_node(const OmenBuild *build);

/* graph_select.c */
extern int	omen_graph_diversify(const OmenQuantizer *quant,
								 const OmenNear *near, int n, int max,
								 float alpha, const float *matrix,
								 bool *kept);
extern int	omen_graph_fill(const bool *kept, int n, int max, int nkept,
							int *chosen);

/*
 * Slack of the choice of neighbours, as a factor of graph distances: in steps
 * of 1.21 up to about 2, which is 1.1 and 1.4 for unsquared distances.  Finer
 * steps and more slack change nothing.
 */
#define OMEN_ALPHA_STEP			1.21f
#define OMEN_LARGEST_ALPHA		1.8f

/* Width of a matrix of distances between n candidates */
static inline int
omen_select_width(int n)
{
	return TYPEALIGN(32, n);
}

/* Work of a stage in units of progress, by node; measured shares */
#define OMEN_WORK_PLACE			4
#define OMEN_WORK_CANDIDATES	10
#define OMEN_WORK_PRUNE			12
#define OMEN_WORK_CONNECT		2

/* Coarse clusters that n rows are divided into at most */
static inline uint32
omen_build_most_clusters(uint32 n)
{
	return n / OMEN_COARSE_SIZE + OMEN_MAX_LEADERS;
}

/* A mixed-up value of two words; splitmix64 */
static inline uint64
omen_build_mix(uint64 a, uint64 b)
{
	uint64		z = a + b * UINT64CONST(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* A member of the i-th of k equal stretches of n members, at random */
static inline uint32
omen_build_stratum(uint64 seed, uint32 i, uint32 n, uint32 k)
{
	uint32		first = (uint32) ((uint64) n * i / k);
	uint32		end = (uint32) ((uint64) n * (i + 1) / k);

	return first + omen_build_mix(seed, i) % Max(end - first, 1);
}

/*
 * A candidate of a node as one number that sorts by distance.  Ties are
 * broken by the other node's number after XOR with a value of this node's
 * own: were they broken by the number alone, a thousand equal vectors would
 * all link to the same few of them.
 */
static inline uint32
omen_key_salt(uint32 node)
{
	return (uint32) omen_build_mix(node, 1);
}

static inline uint64
omen_key_form(float distance, uint32 other, uint32 salt)
{
	uint32		bits;

	memcpy(&bits, &distance, sizeof(bits));
	return ((uint64) bits << 32) | (other ^ salt);
}

static inline uint32
omen_key_node(uint64 key, uint32 salt)
{
	return (uint32) key ^ salt;
}

static inline float
omen_key_distance(uint64 key)
{
	uint32		bits = (uint32) (key >> 32);
	float		distance;

	memcpy(&distance, &bits, sizeof(distance));
	return distance;
}

static inline const uint8 *
omen_node_code(const OmenBuild *build, uint32 node)
{
	if (build->stride > 0)
		return build->codes + node * build->stride;
	return build->codes + build->offsets[node];
}

extern const uint8 *omen_build_cached_code(OmenBuild *build, uint32 node);

/*
 * The code of any node, once the nodes have their numbers: good until that of
 * another one is asked for.  Where nodes are read in order, omen_node_code()
 * is cheaper.
 */
static inline const uint8 *
omen_fetch_code(OmenBuild *build, uint32 node)
{
	if (likely(build->cache.nslots == 0))
		return omen_node_code(build, node);
	return omen_build_cached_code(build, node);
}

static inline uint64 *
omen_node_list(const OmenBuild *build, uint32 node)
{
	return build->lists + (Size) node * build->list_size;
}

static inline uint32 *
omen_node_links(const OmenBuild *build, uint32 node)
{
	return build->links + (Size) node * build->max_links;
}

static inline const uint8 *
omen_block_code(const OmenBuild *build, const OmenCodeBlock *block, int i)
{
	if (build->stride > 0)
		return block->codes + i * build->stride;
	return block->pointers[i];
}

/* The i-th node of the scale at work */
static inline uint32
omen_scale_member(const OmenBuild *build, uint32 i)
{
	return build->scale == 0 ? i : build->subset[i];
}

/* How many nodes of the scale at work have a number below "node" */
static inline uint32
omen_scale_first(const OmenBuild *build, uint32 node)
{
	uint32		low = 0;
	uint32		high = build->nmembers;

	if (build->scale == 0)
		return Min(node, build->n);
	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;

		if (build->subset[middle] < node)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

#endif							/* OMEN_GRAPH_BUILD_H */
