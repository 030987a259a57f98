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

#ifdef __cplusplus
extern "C"
{
#endif

/* Most members of a leaf; all of its pairs are compared */
#define LEAF_MAX		1024

/* Most nodes that an exact search is asked for */
#define SEARCH_MAX		1024

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
} BackendShape;

/*
 * Some nodes in groups, each with leaders of its own: those of group g are
 * items[starts[g]] to items[starts[g + 1]], its leaders in the same way.
 */
typedef struct BackendGroups
{
	uint32_t	ngroups;
	const uint32_t *starts;
	const uint32_t *items;
	const uint32_t *leader_starts;
	const uint32_t *leaders;
} BackendGroups;

/*
 * Leaves: the items of leaf l are those from starts[l] on, at most LEAF_MAX.  A
 * node may be in several; rows are places in items[], and those of the o-th of
 * all nodes are rows[row_starts[o]] to rows[row_starts[o + 1]].
 */
typedef struct BackendLeaves
{
	uint32_t	nleaves;
	const uint32_t *starts;
	const uint32_t *items;
	uint32_t	nowners;
	const uint32_t *owners;
	const uint32_t *row_starts;
	const uint32_t *rows;
	int			keep;			/* nearest that a row passes on */
} BackendLeaves;

typedef struct Backend Backend;

typedef struct BackendOps
{
	const char *name;

	/* Make room for the nodes.  NULL if it cannot be had. */
	Backend    *(*create) (const BackendShape *shape, char *fault,
						   size_t fault_size);
	void		(*destroy) (Backend *backend);

	/*
	 * Nodes "first" and those that follow; without levels, what goes to the
	 * places behind them
	 */
	bool		(*load) (Backend *backend, uint32_t first, uint32_t count,
						 const uint8_t *levels, const void *codes);

	/* Empty the lists of some nodes, or of all if nodes is NULL */
	bool		(*clear) (Backend *backend, const uint32_t *nodes,
						  uint32_t count);

	/*
	 * For each item the "fanout" nearest leaders of its group, nearest first,
	 * as indexes in the group.  Each group has as many leaders.
	 */
	bool		(*assign) (Backend *backend, const BackendGroups *groups,
						   int fanout, uint32_t *nearest);

	/* Compare all pairs of each leaf; merge the nearest into the lists */
	bool		(*leaves) (Backend *backend, const BackendLeaves *leaves);

	/*
	 * Links at a scale, from the lists of its members: choose, offer each
	 * chosen link to its target, choose again.  Nodes whose level is the scale,
	 * or all if it is 0, keep them.
	 */
	bool		(*connect) (Backend *backend, const uint32_t *members,
							uint32_t count, int scale);

	/* Links of some nodes, max_links apart */
	bool		(*fetch) (Backend *backend, const uint32_t *nodes,
						  uint32_t count, uint32_t *links, uint8_t *nlinks,
						  uint8_t *nscale);

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
	char		fault[200];

	/* called now and then from long steps; may not return */
	void		(*tick) (void *arg);
	void	   *tick_arg;
	uint64_t	pairs;			/* distances computed */
};

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
