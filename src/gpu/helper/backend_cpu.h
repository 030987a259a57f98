/*-------------------------------------------------------------------------
 *
 * backend_cpu.h
 *	  What the files of the backend on the processor share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_BACKEND_CPU_H
#define OMEN_GPU_BACKEND_CPU_H

#include "gpu/helper/backend.h"

/* Nodes whose links are fetched at once */
#define FETCH_NODES		5000

typedef struct CpuBackend
{
	Backend		base;
	size_t		size;			/* bytes of a code as kept here */
	uint8_t    *codes;			/* int16, which is faster than int8, or float */
	float	   *norm2;			/* of CODE8 */
	float	   *scale;
	float	   *lift;			/* LIFTED */
	uint8_t    *levels;
	uint64_t   *lists;
	uint16_t   *nlist;
	uint16_t   *nkept;			/* leading entries that were chosen */
	uint32_t   *links;
	uint8_t    *nlinks;
	uint8_t    *nscale;

	uint32_t   *members;		/* room for all nodes */
	uint32_t	nmembers;
	uint32_t   *items;
	uint32_t	nitems;
	uint32_t   *cells;			/* of items, "fanout" each */
	uint32_t   *order;			/* nodes by number */
	uint32_t   *numbers;		/* of nodes */
	uint32_t   *fetched;		/* links of FETCH_NODES, by number */
	uint8_t    *fetched_counts; /* nlinks of all, then nscale */

	uint64_t	since_tick;
} CpuBackend;

/* Leaves the reason in the backend; returns false */
extern bool omen_cpu_out_of_memory(CpuBackend *cpu);

/* A graph distance of two nodes */
extern float omen_cpu_distance(CpuBackend *cpu, uint32_t a, uint32_t b);

/* Among n sorted keys, of which there may be "room"; returns how many there are then */
extern int	omen_cpu_insert_key(uint64_t *keys, int n, int room, uint64_t key);

/* BackendOps: cpu_parts.c */
extern bool omen_cpu_assign(Backend *base, const BackendDivision *division,
							uint32_t *counts, uint32_t *cells);
extern bool omen_cpu_deal(Backend *base, const BackendDivision *division,
						  const bool *cut, const uint32_t *counts);
extern bool omen_cpu_items(Backend *base, uint32_t *nodes);
extern bool omen_cpu_sum(Backend *base, uint32_t ncells,
						 const uint32_t *counts, float *sums);

/* cpu_leaves.c */
extern bool omen_cpu_compare(Backend *base, uint32_t nparts,
							 const uint32_t *starts, int keep, bool thin);

/* cpu_links.c */
extern bool omen_cpu_connect(Backend *base, int scale);
extern bool omen_cpu_sort(Backend *base);
extern bool omen_cpu_number(Backend *base, const uint32_t *order);
extern bool omen_cpu_fetch(Backend *base, uint32_t first, BackendLinks *links);

#endif							/* OMEN_GPU_BACKEND_CPU_H */
