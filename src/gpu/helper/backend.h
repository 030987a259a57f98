/*-------------------------------------------------------------------------
 *
 * backend.h
 *	  The wall between what decides (build.c) and what computes.
 *
 * Plain C: on one side are build.c and the protocol, which know of no device;
 * on the other a backend, which knows of no server.  There are two, the device
 * (device.cu) and the processor (backend_cpu.c), and build.c cannot tell which.
 * They do the same steps and keep the same things:
 *
 *	  codes		of all nodes
 *	  lists		of each node, up to list_size keys of candidates, sorted
 *	  links		of each node, with their number and that of those at scale
 *	  members	the nodes that the steps are about at the time
 *	  items		members, once or several times, by part
 *
 * What there is one of for each node stays with the backend; the other side knows
 * how many items each part has, and decides by that.
 *
 * All arguments are in the memory of the process.  Functions return false when
 * they have failed, and leave the reason in the backend's "fault".
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_BACKEND_H
#define OMEN_GPU_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C"
{
#endif

/* Most members of a leaf; all of its pairs are compared */
#define LEAF_MAX		1024

/* Most rows of leaves that are compared at a time, but for a leaf that has more */
#define BATCH_ROWS		(4 * 1024 * 1024)

/* Most nodes that an exact search is asked for */
#define SEARCH_MAX		512

/* What the codes are, and what links are wanted: as in OmenGpuRequest */
typedef struct BackendShape
{
	uint32_t	nnodes;
	uint32_t	spare;			/* places behind the nodes, for leaders that are
								 * none */
	int			element;		/* OmenGpuElement */
	int			metric;			/* OmenGpuMetric */
	uint32_t	dims;
	uint32_t	stride;
	float		max_norm2;
	float		mean_norm2;
	int			max_links;
	int			scale_links;
	int			list_size;
	uint64_t	device_memory;	/* bytes of a device that may be used; 0: what is
								 * free */
	uint64_t	host_memory;	/* bytes beside it that may be, too */

	/* called now and then from long steps; may not return, may be NULL */
	void		(*tick) (void *arg);
	void	   *tick_arg;
} BackendShape;

/* What of a build is in the memory of the process, as a device has no room */
typedef enum BackendBeside
{
	BESIDE_NOTHING,
	BESIDE_LISTS,				/* lists, offers and links */
	BESIDE_CODES				/* and codes, too: a step gets those it needs */
} BackendBeside;

/* Most leaders of a part */
#define LEADERS_MAX		2048

/*
 * A division of all parts: the items of part p, from starts[p] on, each follow
 * the "fanout" nearest of its leaders, or stay together if nleaders[p] is 0.
 *
 * Cells are what may become a part: those of part p are cells[p] to cells[p + 1],
 * one for each leader, or a single one; and there must be as many as there are
 * pieces of "target" items in a part that has leaders.
 */
typedef struct BackendDivision
{
	uint32_t	nparts;
	const uint32_t *starts;		/* one more than parts */
	const uint32_t *nleaders;
	const uint32_t *cells;		/* one more than parts */
	const uint32_t *leaders;	/* by cell; if NULL they are drawn: */
	uint64_t	purpose;		/* rule_stratum() of rule_mix(purpose, p) */
	int			fanout;
	uint32_t	target;
} BackendDivision;

/* Links of some nodes, in memory that is the backend's until the next are fetched */
typedef struct BackendLinks
{
	uint32_t	count;
	const uint32_t *links;		/* max_links of each, zeros behind those it has */
	const uint8_t *nlinks;
	const uint8_t *nscale;
} BackendLinks;

/*
 * Brings codes of "count" nodes from "first" on to memory, "stride" bytes each;
 * false if it cannot
 */
typedef bool (*BackendRead) (void *arg, uint32_t first, uint32_t count,
							 void *codes);

typedef struct Backend Backend;

typedef struct BackendOps
{
	const char *name;

	/* Make room for the nodes.  NULL if it cannot be had. */
	Backend    *(*create) (const BackendShape *shape, char *fault,
						   size_t fault_size);
	void		(*destroy) (Backend *backend);

	/*
	 * Nodes "first" and those that follow, whose codes read() brings, in order;
	 * without levels, what goes to the places behind them
	 */
	bool		(*load) (Backend *backend, uint32_t first, uint32_t count,
						 const uint8_t *levels, BackendRead read, void *arg);

	/* These nodes are the members, and one part */
	bool		(*enter) (Backend *backend, const uint32_t *nodes,
						  uint32_t count);

	/* Empty the lists of the members */
	bool		(*clear) (Backend *backend);

	/* The coordinate that each node has for inner products: the longer, the less */
	bool		(*lifts) (Backend *backend, float *lifts);

	/*
	 * Find which leaders the items follow: how many are in each cell, and in
	 * cells[], unless it is NULL, the nearest cell of each item.  At equal
	 * distance the first leader is nearer.
	 */
	bool		(*assign) (Backend *backend, const BackendDivision *division,
						   uint32_t *counts, uint32_t *cells);

	/*
	 * Move the items to their cells, without changing their order in each;
	 * counts[] of them go to each.  A part that is "cut" is cut up into pieces
	 * instead, a cell for each, in which every item is once.
	 */
	bool		(*deal) (Backend *backend, const BackendDivision *division,
						 const bool *cut, const uint32_t *counts);

	/* The items as they lie */
	bool		(*items) (Backend *backend, uint32_t *nodes);

	/*
	 * Add up the vectors of the items of each cell, to which they have been dealt:
	 * dims floats of each in sums[].  A code of 8 bits is its integers times its
	 * scale; others are of length 1 if the metric is UNIT.
	 */
	bool		(*sum) (Backend *backend, uint32_t ncells,
						const uint32_t *counts, float *sums);

	/*
	 * Compare all pairs of each of some parts, of which none has more than
	 * LEAF_MAX items, and all no more than batch_rows; merge the "keep" nearest
	 * of each into its node's list.  starts[] has one more than nparts.  With
	 * "thin", parts most of whose items have near copies are thinned.
	 */
	bool		(*compare) (Backend *backend, uint32_t nparts,
							const uint32_t *starts, int keep, bool thin);

	/*
	 * Links at a scale, from the lists of the members: choose, offer each
	 * chosen link to its target, choose again.  Nodes whose level is the scale,
	 * or all if it is 0, keep them.  So do all long ones, in front of their local
	 * links, the last of which make room.
	 */
	bool		(*connect) (Backend *backend, int scale);

	/* Local links of the members, nearest first */
	bool		(*sort) (Backend *backend);

	/*
	 * Numbers by which fetch() knows nodes, here and in links: the one with
	 * number i is order[i]
	 */
	bool		(*number) (Backend *backend, const uint32_t *order);

	/* Links of nodes from number "first" on, of as many as come at once */
	bool		(*fetch) (Backend *backend, uint32_t first,
						  BackendLinks *links);

	/*
	 * Exact search: for each of some vectors, laid out as nodes are, the k
	 * nearest nodes with their distances, nearest first.
	 */
	bool		(*search) (Backend *backend, const void *queries,
						   uint32_t count, int k, uint32_t *nearest,
						   float *distances);
} BackendOps;

struct Backend
{
	const BackendOps *ops;
	BackendShape shape;
	BackendBeside beside;
	uint32_t	batch_rows;		/* for how many compare() has room, or a leaf */
	char		fault[200];
	uint64_t	pairs;			/* distances computed */
};

/* load() of codes that are in memory */
typedef struct BackendCodes
{
	const char *codes;			/* of the first node and those that follow */
	uint32_t	first;
	uint32_t	stride;
} BackendCodes;

static inline bool
backend_read_codes(void *arg, uint32_t first, uint32_t count, void *codes)
{
	const BackendCodes *from = (const BackendCodes *) arg;

	memcpy(codes, from->codes + (size_t) (first - from->first) * from->stride,
		   (size_t) count * from->stride);
	return true;
}

static inline bool
backend_load(Backend *backend, uint32_t first, uint32_t count,
			 const uint8_t *levels, const void *codes)
{
	BackendCodes from = {(const char *) codes, first, backend->shape.stride};

	return backend->ops->load(backend, first, count, levels,
							  backend_read_codes, &from);
}

extern const BackendOps omen_backend_cpu;

/*
 * The device, in the executable that has one.  Which it is and what it has
 * free; false, with the reason, if there is none that can be used.
 */
extern const BackendOps *omen_device_ops(void);
extern bool omen_device_probe(char *name, size_t name_size, uint64_t *memory,
							  char *fault, size_t fault_size);

#ifdef __cplusplus
}
#endif

#endif							/* OMEN_GPU_BACKEND_H */
