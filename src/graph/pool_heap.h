/*-------------------------------------------------------------------------
 *
 * pool_heap.h
 *	  A binary heap of pool entries, the nearest first, in the caller's array.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_POOL_HEAP_H
#define OMEN_POOL_HEAP_H

#include "graph/graph_search.h"

/* The entry at this place may be nearer than those above it */
static inline void
omen_pool_heap_rise(OmenPoolEntry *heap, Size at)
{
	OmenPoolEntry entry = heap[at];

	while (at > 0 && entry.estimate < heap[(at - 1) / 2].estimate)
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = entry;
}

/* The entry at this place may be farther than those below it */
static inline void
omen_pool_heap_sink(OmenPoolEntry *heap, Size n, Size at)
{
	OmenPoolEntry entry = heap[at];

	for (Size child; (child = 2 * at + 1) < n; at = child)
	{
		if (child + 1 < n && heap[child + 1].estimate < heap[child].estimate)
			child++;
		if (heap[child].estimate >= entry.estimate)
			break;
		heap[at] = heap[child];
	}
	heap[at] = entry;
}

static inline void
omen_pool_heap_form(OmenPoolEntry *heap, Size n)
{
	for (Size at = n / 2; at > 0; at--)
		omen_pool_heap_sink(heap, n, at - 1);
}

/* Take the nearest off a heap that is not empty */
static inline OmenPoolEntry
omen_pool_heap_pop(OmenPoolEntry *heap, Size *n)
{
	OmenPoolEntry nearest = heap[0];

	heap[0] = heap[--(*n)];
	if (*n > 0)
		omen_pool_heap_sink(heap, *n, 0);
	return nearest;
}

#endif							/* OMEN_POOL_HEAP_H */
