/*-------------------------------------------------------------------------
 *
 * hnsw_fold.c
 *	  Equal vectors of equal keys in a bulk build: they share one node.
 *
 * In one mapped file:
 *
 *		uint32 unique[nrows]	row of each node
 *		uint32 next[nrows]		by row: the next row with an equal code
 *		uint32 lists[nrows]		by position: its first list slot, and
 *		uint32 chains[nrows]	its first CHAIN page, see hnsw_write.c
 *		uint32 table[2^k]		open addressing, used here only
 *
 * Each participant enters the rows that it has read in the table, where the first
 * of equal ones stays.  When all are in, each counts which of its own are first,
 * and numbers them: nodes are in the order of their rows, however many
 * participants there are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "hnsw/hnsw_build.h"

/* How many rows ahead a row's place in the table is asked for */
#define ROWS_AHEAD	8

/* The table, and what is kept by row while nothing is in lists[] yet */
typedef struct FoldTable
{
	pg_atomic_uint32 *buckets;	/* a row plus 1, or 0 */
	uint32		mask;
	uint32	   *first;			/* bucket, then the first row that is equal */
} FoldTable;

static void make_file(OmenHnswBuildState *state, uint64 nrows, Size size);
static void enter_rows(OmenHnswBuildState *state, const FoldTable *table);
static uint32 enter_row(OmenHnswBuildState *state, const FoldTable *table,
						uint32 row);
static void prefetch_bucket(OmenHnswBuildState *state, const FoldTable *table,
							uint32 row);
static uint32 find_first(OmenHnswBuildState *state, const FoldTable *table);
static void number_nodes(OmenHnswBuildState *state, const FoldTable *table);
static void chain_rows(OmenHnswBuildState *state, const FoldTable *table);
static bool same_code(OmenHnswBuildState *state, uint32 a, uint32 b);
static uint32 own_rows(const OmenHnswBuildState *state, uint32 *end);
static uint32 count_nodes(const OmenHnswBuildState *state, int participants);

/* All participants; when it is over for all, the file can be used by all */
void
omen_hnsw_fold(OmenHnswBuildState *state)
{
	OmenBuildShared *shared = state->shared;
	uint64		nrows = state->first_row[shared->nparticipants];
	uint64		nbuckets = pg_nextpower2_64(Max(nrows * 2, 16));
	FoldTable	table;

	make_file(state, nrows, (nrows * 4 + nbuckets) * sizeof(uint32));
	table.buckets = (pg_atomic_uint32 *) (state->chain_of + nrows);
	table.mask = (uint32) (nbuckets - 1);
	table.first = state->list_of;

	enter_rows(state, &table);
	omen_hnsw_build_barrier(state);
	shared->nfirst[state->participant] = find_first(state, &table);
	omen_hnsw_build_barrier(state);
	number_nodes(state, &table);
	if (state->participant == 0)
	{
		shared->nnodes = count_nodes(state, shared->nparticipants);
		if (shared->nnodes < nrows)
			chain_rows(state, &table);
	}
	omen_hnsw_build_barrier(state);
}

/* The leader makes it; its space reads as zeros */
static void
make_file(OmenHnswBuildState *state, uint64 nrows, Size size)
{
	FileSet    *fileset = state->parallel ? &state->shared->fileset.fs : NULL;

	if (state->participant == 0)
	{
		state->fold = omen_arena_create(fileset, "fold");
		omen_arena_reserve(state->fold, size);
	}
	omen_hnsw_build_barrier(state);
	if (state->participant > 0)
		state->fold = omen_arena_open(fileset, "fold");
	state->unique = omen_arena_map(state->fold);
	state->next_equal = state->unique + nrows;
	state->list_of = state->next_equal + nrows;
	state->chain_of = state->list_of + nrows;
}

static void
enter_rows(OmenHnswBuildState *state, const FoldTable *table)
{
	uint32		end;
	uint32		first = own_rows(state, &end);

	for (uint32 row = first; row < end; row++)
	{
		if (row % 64 == 0)
			omen_hnsw_build_tick(state);
		if (row % 4096 == 0)
			omen_hnsw_build_progress(state, OMEN_BUILD_FOLD, row - first,
									 end - first);
		if (row + ROWS_AHEAD < end)
			prefetch_bucket(state, table, row + ROWS_AHEAD);
		table->first[row] = enter_row(state, table, row);
	}
}

/*
 * Returns the row's bucket, which is that of all equal ones: who finds it taken, or
 * is too late to take it, looks at who is there.
 */
static uint32
enter_row(OmenHnswBuildState *state, const FoldTable *table, uint32 row)
{
	uint32		bucket = omen_hnsw_build_row(state, row)->hash & table->mask;

	for (;; bucket = (bucket + 1) & table->mask)
	{
		pg_atomic_uint32 *entry = &table->buckets[bucket];
		uint32		there = pg_atomic_read_u32(entry);

		if (there == 0 &&
			pg_atomic_compare_exchange_u32(entry, &there, row + 1))
			return bucket;
		if (!same_code(state, there - 1, row))
			continue;
		while (there > row + 1 &&
			   !pg_atomic_compare_exchange_u32(entry, &there, row + 1))
			;
		return bucket;
	}
}

/* Where rows are mapped: reading one to know its place would not be worth it */
static void
prefetch_bucket(OmenHnswBuildState *state, const FoldTable *table, uint32 row)
{
	if (state->row_base[state->participant] != NULL)
		__builtin_prefetch(&table->buckets[omen_hnsw_build_row(state, row)->hash &
										   table->mask]);
}

/* By own row, the first that is equal; returns how many are that themselves */
static uint32
find_first(OmenHnswBuildState *state, const FoldTable *table)
{
	uint32		end;
	uint32		nfirst = 0;

	for (uint32 row = own_rows(state, &end); row < end; row++)
	{
		if (row % 64 == 0)
			omen_hnsw_build_tick(state);
		if (row + ROWS_AHEAD < end)
			__builtin_prefetch(&table->buckets[table->first[row + ROWS_AHEAD]]);
		table->first[row] =
			pg_atomic_read_u32(&table->buckets[table->first[row]]) - 1;
		state->next_equal[row] = OMEN_BUILD_NONE;
		nfirst += table->first[row] == row;
	}
	return nfirst;
}

static void
number_nodes(OmenHnswBuildState *state, const FoldTable *table)
{
	uint32		node = count_nodes(state, state->participant);
	uint32		end;

	for (uint32 row = own_rows(state, &end); row < end; row++)
	{
		if (row % 4096 == 0)
			omen_hnsw_build_tick(state);
		if (table->first[row] == row)
			state->unique[node++] = row;
	}
}

/* The leader: the first of equal rows, then the last, and so on back */
static void
chain_rows(OmenHnswBuildState *state, const FoldTable *table)
{
	uint32		nrows = state->first_row[state->shared->nparticipants];

	for (uint32 row = 0; row < nrows; row++)
	{
		uint32		first = table->first[row];

		if (row % 4096 == 0)
			omen_hnsw_build_tick(state);
		if (first == row)
			continue;
		state->next_equal[row] = state->next_equal[first];
		state->next_equal[first] = row;
	}
}

static bool
same_code(OmenHnswBuildState *state, uint32 a, uint32 b)
{
	const OmenBuildRowData *x = omen_hnsw_build_row(state, a);
	const OmenBuildRowData *y = omen_hnsw_build_row(state, b);

	/* keys and own code lie one behind the other */
	return x->hash == y->hash && x->own_bytes == y->own_bytes &&
		x->key_nulls == y->key_nulls &&
		memcmp(omen_build_row_keys(x), omen_build_row_keys(y),
			   state->layout.nkeys * sizeof(uint64) + x->own_bytes) == 0;
}

/* The rows that this participant has read */
static uint32
own_rows(const OmenHnswBuildState *state, uint32 *end)
{
	*end = state->first_row[state->participant + 1];
	return state->first_row[state->participant];
}

/* Those of the first so many participants */
static uint32
count_nodes(const OmenHnswBuildState *state, int participants)
{
	uint32		n = 0;

	for (int i = 0; i < participants; i++)
		n += state->shared->nfirst[i];
	return n;
}
