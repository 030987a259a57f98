/*-------------------------------------------------------------------------
 *
 * cpu_leaves.c
 *	  All pairs of leaves, on the processor.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/helper/backend_cpu.h"
#include "gpu/helper/rules.h"

/* Put a key into a sorted list of at most "room"; returns its new length */
int
omen_cpu_insert_key(uint64_t *keys, int n, int room, uint64_t key)
{
	int			at;

	if (n == room && key >= keys[n - 1])
		return n;
	if (n < room)
		n++;
	for (at = n - 1; at > 0 && key < keys[at - 1]; at--)
		keys[at] = keys[at - 1];
	keys[at] = key;
	return n;
}

/* A leaf that may be thinned: distances of its rows, and from where each is seen */
typedef struct Thinning
{
	uint32_t	n;
	const uint32_t *items;
	float		distances[LEAF_MAX][LEAF_MAX];
	float		limits[RANKINGS][LEAF_MAX];
} Thinning;

/*
 * All pairs of a leaf; the nearest of each row go to results, and distances to
 * thinning unless it is NULL, that to itself NaN
 */
static void
compare_leaf(CpuBackend *cpu, const uint32_t *items, uint32_t n, int keep,
			 Thinning *thinning, uint64_t *results)
{
	int			nfound[LEAF_MAX] = {0};

	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t	salt = rule_salt(items[i]);
		uint64_t   *mine = results + (size_t) i * keep;

		for (uint32_t j = 0; j < i; j++)
		{
			float		distance = omen_cpu_distance(cpu, items[i], items[j]);

			nfound[i] = omen_cpu_insert_key(mine, nfound[i], keep,
								   rule_key(distance, items[j], salt));
			nfound[j] = omen_cpu_insert_key(results + (size_t) j * keep, nfound[j],
								   keep, rule_key(distance, items[i],
												  rule_salt(items[j])));
			if (thinning != NULL)
				thinning->distances[i][j] = thinning->distances[j][i] = distance;
		}
		if (thinning != NULL)
			thinning->distances[i][i] = NAN;
	}
	for (uint32_t i = 0; i < n; i++)
	{
		for (int j = nfound[i]; j < keep; j++)
			results[(size_t) i * keep + j] = NO_KEY;
	}
	if (thinning != NULL)
	{
		thinning->n = n;
		thinning->items = items;
	}
}

/* Merge sorted keys into a list, without doubles */
static int
merge_keys(uint64_t *list, int n, int room, const uint64_t *keys, int nkeys)
{
	uint64_t	merged[1024];
	int			nmerged = 0;
	int			i = 0;
	int			j = 0;

	Assert(room <= (int) lengthof(merged));

	while (nmerged < room)
	{
		uint64_t	a = i < n ? list[i] : NO_KEY;
		uint64_t	b = j < nkeys ? keys[j] : NO_KEY;
		uint64_t	key = a < b ? a : b;

		if (key == NO_KEY)
			break;
		i += a == key;
		j += b == key;
		merged[nmerged++] = key;
	}
	memcpy(list, merged, nmerged * sizeof(uint64_t));
	return nmerged;
}

/* Of a row, how many of the first columns are within a limit */
static int
count_within(const Thinning *thinning, uint32_t row, uint32_t ncols, float limit)
{
	int			within = 0;

	for (uint32_t i = 0; i < ncols; i++)
		within += thinning->distances[row][i] <= limit;
	return within;
}

/* All of a row's nearest may be copies: judging by a sample, or by the leaf */
static bool
all_are_copies(const Thinning *thinning, uint32_t row, bool by_sample,
			   uint64_t last, int keep)
{
	uint32_t	n = thinning->n;
	int			nsample = rule_sample(n);
	float		limit = rule_key_distance(last);

	if (last == NO_KEY)
		return false;
	if (by_sample)
		return rule_may_have_copies(count_within(thinning, row, nsample,
												 omen_copies_near_limit(limit)),
									nsample);
	return omen_copies_are_all(count_within(thinning, row, n,
											omen_copies_limit(limit)),
							   count_within(thinning, row, n,
											omen_copies_near_limit(limit)),
							   n, keep);
}

/* How many of the first rows have near copies, or may have, judging by a sample */
static int
count_copied(const Thinning *thinning, uint32_t nrows, bool by_sample,
			 const uint64_t *results, int keep)
{
	int			ncopied = 0;

	for (uint32_t i = 0; i < nrows; i++)
	{
		uint64_t	last = results[(size_t) i * keep + keep - 1];

		ncopied += rule_has_copies(results[(size_t) i * keep], last) ||
			all_are_copies(thinning, i, by_sample, last, keep);
	}
	return ncopied;
}

/* Those of which that can be told without looking at the leaf */
static uint32_t
count_plainly(const uint64_t *results, uint32_t n, int keep)
{
	uint32_t	ncopied = 0;

	for (uint32_t i = 0; i < n; i++)
		ncopied += rule_has_copies(results[(size_t) i * keep],
								   results[(size_t) i * keep + keep - 1]);
	return ncopied;
}

static bool
most_have_copies(const Thinning *thinning, const uint64_t *results, int keep)
{
	uint32_t	n = thinning->n;
	int			nsample = rule_sample(n);

	return count_plainly(results, n, keep) > n / 2 ||
		(rule_is_suspicious(count_copied(thinning, nsample, true, results,
										 keep), nsample) &&
		 count_copied(thinning, n, false, results, keep) > (int) n / 2);
}

/* From where a node is seen: a multiple of how far the next better one is */
static void
find_limits(Thinning *thinning, uint32_t i)
{
	for (int r = 0; r < RANKINGS; r++)
	{
		uint32_t	rank = rule_rank(thinning->items[i], r);
		float		reach = INFINITY;

		for (uint32_t j = 0; j < thinning->n; j++)
		{
			if (rule_rank(thinning->items[j], r) < rank &&
				thinning->distances[i][j] < reach)
				reach = thinning->distances[i][j];
		}
		thinning->limits[r][i] = omen_copies_limit(reach);
	}
}

/*
 * The nearest of those that a row sees and that lie beyond a distance, at most
 * "most", with NO_KEY behind the last.  Without limits it sees all.  Returns how
 * many there are in all.
 */
static int
find_seen(const Thinning *thinning, uint32_t i, const float *limits,
		  float beyond, int most, uint64_t *keys)
{
	uint32_t	salt = rule_salt(thinning->items[i]);
	int			nkeys = 0;
	int			nseen = 0;

	for (uint32_t j = 0; j < thinning->n; j++)
	{
		float		distance = thinning->distances[i][j];

		if (!(distance > beyond) || (limits != NULL && distance > limits[j]))
			continue;
		nseen++;
		nkeys = omen_cpu_insert_key(keys, nkeys, most,
						   rule_key(distance, thinning->items[j], salt));
	}
	while (nkeys < most)
		keys[nkeys++] = NO_KEY;
	return nseen;
}

/* What a row passes on: of those that it sees, or if they are too few, of all */
static void
thin_row(const Thinning *thinning, uint32_t i, int keep, uint64_t *result)
{
	const float *limits = thinning->limits[rule_ranking(thinning->items[i])];
	uint64_t	keys[SEARCH_MAX];
	float		beyond;

	if (find_seen(thinning, i, limits, -1, keep, keys) >= keep)
		memcpy(result, keys, keep * sizeof(uint64_t));
	else
		limits = NULL;
	beyond = rule_pass_on(result, keep);
	if (beyond == INFINITY)
		return;
	find_seen(thinning, i, limits, beyond, omen_others_found(keep), keys);
	rule_draw(result, keep, keys, rule_mix(thinning->items[i], thinning->n));
}

static void
thin_leaf(Thinning *thinning, int keep, uint64_t *results)
{
	for (uint32_t i = 0; i < thinning->n; i++)
		find_limits(thinning, i);
	for (uint32_t i = 0; i < thinning->n; i++)
		thin_row(thinning, i, keep, results + (size_t) i * keep);
}

bool
omen_cpu_compare(Backend *base, uint32_t nparts, const uint32_t *starts, int keep,
			bool thin)
{
	CpuBackend *cpu = (CpuBackend *) base;
	int			room = base->shape.list_size;
	uint64_t   *results = malloc((size_t) LEAF_MAX * keep * sizeof(uint64_t));
	Thinning   *thinning = thin ? malloc(sizeof(Thinning)) : NULL;

	if (results == NULL || (thin && thinning == NULL))
	{
		free(results);
		free(thinning);
		return omen_cpu_out_of_memory(cpu);
	}
	for (uint32_t p = 0; p < nparts; p++)
	{
		const uint32_t *items = cpu->items + starts[p];
		uint32_t	n = starts[p + 1] - starts[p];

		compare_leaf(cpu, items, n, keep, thinning, results);
		if (thin && most_have_copies(thinning, results, keep))
			thin_leaf(thinning, keep, results);
		for (uint32_t i = 0; i < n; i++)
			cpu->nlist[items[i]] =
				merge_keys(cpu->lists + (size_t) items[i] * room,
						   cpu->nlist[items[i]], room,
						   results + (size_t) i * keep, keep);
	}
	free(results);
	free(thinning);
	return true;
}
