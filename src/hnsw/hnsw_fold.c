/*-------------------------------------------------------------------------
 *
 * hnsw_fold.c
 *	  Equal vectors of equal keys in a bulk build: they share one node.
 *
 * The leader numbers the distinct codes in one mapped file:
 *
 *		uint32 unique[nrows]	row of each node
 *		uint32 next[nrows]		by row: the next row with an equal code
 *		uint32 lists[nrows]		by position: its first list slot, and
 *		uint32 chains[nrows]	its first CHAIN page, see hnsw_write.c
 *		uint32 table[2^k]		open addressing, used here only
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "hnsw/hnsw_build.h"

static bool same_code(OmenHnswBuildState *state, uint32 a, uint32 b);
static void set_arrays(OmenHnswBuildState *state, uint64 nrows);
static uint64 count_rows(OmenHnswBuildState *state);

void
omen_hnsw_fold(OmenHnswBuildState *state)
{
	uint64		nrows = count_rows(state);
	uint64		buckets = pg_nextpower2_64(Max(nrows * 2, 16));
	FileSet    *fileset = state->parallel ? &state->shared->fileset.fs : NULL;
	uint32	   *table;
	uint32		nnodes = 0;

	state->fold = omen_arena_create(fileset, "fold");
	omen_arena_reserve(state->fold,
					   (nrows * 4 + buckets) * sizeof(uint32));
	set_arrays(state, nrows);
	table = state->chain_of + nrows;
	memset(table, 0xFF, buckets * sizeof(uint32));

	for (uint32 row = 0; row < nrows; row++)
	{
		uint64		bucket = omen_hnsw_build_row(state, row)->hash &
			(buckets - 1);

		if (row % 64 == 0)
			omen_hnsw_build_tick(state);
		if (row % 4096 == 0)
			omen_hnsw_build_progress(state, OMEN_BUILD_FOLD, row, nrows);
		while (table[bucket] != OMEN_BUILD_NONE &&
			   !same_code(state, table[bucket], row))
			bucket = (bucket + 1) & (buckets - 1);

		if (table[bucket] == OMEN_BUILD_NONE)
		{
			table[bucket] = row;
			state->unique[nnodes++] = row;
			state->next_equal[row] = OMEN_BUILD_NONE;
		}
		else
		{
			state->next_equal[row] = state->next_equal[table[bucket]];
			state->next_equal[table[bucket]] = row;
		}
	}
	state->shared->nnodes = nnodes;
}

void
omen_hnsw_attach_fold(OmenHnswBuildState *state)
{
	state->fold = omen_arena_open(&state->shared->fileset.fs, "fold");
	set_arrays(state, count_rows(state));
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

static void
set_arrays(OmenHnswBuildState *state, uint64 nrows)
{
	state->unique = omen_arena_map(state->fold);
	state->next_equal = state->unique + nrows;
	state->list_of = state->next_equal + nrows;
	state->chain_of = state->list_of + nrows;
}

static uint64
count_rows(OmenHnswBuildState *state)
{
	return state->first_row[state->shared->nparticipants];
}
