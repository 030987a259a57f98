/*-------------------------------------------------------------------------
 *
 * pool_heap.h
 *	  A binary heap of nodes heard of, the nearest first, in the caller's array.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_POOL_HEAP_H
#define OMEN_POOL_HEAP_H

#include "graph/graph_search.h"

/* Put an entry at this place, or above if it is nearer than what is there */
static inline void
omen_pool_heap_rise(OmenHeard *heap, Size at, OmenHeard entry)
{
	while (at > 0 && entry.estimate < heap[(at - 1) / 2].estimate)
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = entry;
}

/* Put an entry at this place, or below if it is farther than what is there */
static inline void
omen_pool_heap_sink(OmenHeard *heap, Size n, Size at, OmenHeard entry)
{
	for (Size child; (child = 2 * at + 1) < n; at = child)
	{
		/* no branch: nobody could predict it */
		if (child + 1 < n)
			child += heap[child + 1].estimate < heap[child].estimate;
		if (heap[child].estimate >= entry.estimate)
			break;
		heap[at] = heap[child];
	}
	heap[at] = entry;
}

static inline void
omen_pool_heap_form(OmenHeard *heap, Size n)
{
	for (Size at = n / 2; at > 0; at--)
		omen_pool_heap_sink(heap, n, at - 1, heap[at - 1]);
}

/* Take the nearest off a heap that is not empty */
static inline OmenHeard
omen_pool_heap_pop(OmenHeard *heap, Size *n)
{
	OmenHeard	nearest = heap[0];

	(*n)--;
	if (*n > 0)
		omen_pool_heap_sink(heap, *n, 0, heap[*n]);
	return nearest;
}

/* So many entries have all places that the third nearest can be at */
#define OMEN_POOL_HEAP_THREE	7

/* The places of the second and the third nearest, of that many at least */
static inline void
omen_pool_heap_next(const OmenHeard *heap, int *second, int *third)
{
	int			child;

	*second = 1 + (heap[2].estimate < heap[1].estimate);
	child = 2 * *second + 1;
	child += heap[child + 1].estimate < heap[child].estimate;
	*third = 3 - *second;
	if (heap[child].estimate <= heap[*third].estimate)
		*third = child;
}

#endif							/* OMEN_POOL_HEAP_H */
