/*-------------------------------------------------------------------------
 *
 * backend_cpu.c
 *	  The steps of construction on the processor, in plain C.
 *
 * This is the device's simulator: it shows what each step has to do, lets
 * everything around it be tested without a device, and is what kernels are
 * compared with.  It is no way to build indexes faster; the server's own
 * construction is several times as fast.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distance/half.h"
#include "gpu/gpu_protocol.h"
#include "gpu/helper/backend.h"
#include "gpu/helper/rules.h"

/* Distances between two calls of tick */
#define TICK_PAIRS		100000

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

/* Nodes whose links are fetched at once */
#define FETCH_NODES		5000

/* A cell that is none */
#define NO_CELL			UINT32_MAX

/* Candidates of one node while they are chosen among */
typedef struct Choice
{
	int			n;
	uint32_t   *nodes;
	float	   *distances;		/* to the base */
	float	   *nearest;		/* kept one of each */
	bool	   *kept;
	int			nkept;
} Choice;

static void cpu_destroy(Backend *base);
static void load_vector(CpuBackend *cpu, uint32_t node, const uint8_t *code);
static float pair_distance(CpuBackend *cpu, uint32_t a, uint32_t b);

static bool
out_of_memory(CpuBackend *cpu)
{
	snprintf(cpu->base.fault, sizeof(cpu->base.fault), "out of memory");
	return false;
}

static Backend *
cpu_create(const BackendShape *shape, char *fault, size_t fault_size)
{
	/* one more at least, for the query of an exact search */
	size_t		n = (size_t) shape->nnodes + Max(shape->spare, 1);
	CpuBackend *cpu = calloc(1, sizeof(CpuBackend));

	if (cpu != NULL)
	{
		cpu->base.ops = &omen_backend_cpu;
		cpu->base.shape = *shape;
		cpu->base.batch_rows = BATCH_ROWS;
		cpu->size = shape->dims * (shape->element == OMEN_GPU_CODE8 ?
								   sizeof(int16_t) : sizeof(float));
		cpu->codes = malloc(n * cpu->size);
		cpu->norm2 = calloc(n, sizeof(float));
		cpu->scale = calloc(n, sizeof(float));
		cpu->lift = calloc(n, sizeof(float));
		cpu->levels = calloc(n, 1);
		cpu->lists = malloc(n * shape->list_size * sizeof(uint64_t));
		cpu->nlist = calloc(n, sizeof(uint16_t));
		cpu->nkept = calloc(n, sizeof(uint16_t));
		cpu->links = calloc(n * shape->max_links, sizeof(uint32_t));
		cpu->nlinks = calloc(n, 1);
		cpu->nscale = calloc(n, 1);
		cpu->members = malloc(n * sizeof(uint32_t));
		cpu->order = malloc(n * sizeof(uint32_t));
		cpu->numbers = malloc(n * sizeof(uint32_t));
		cpu->fetched = malloc((size_t) FETCH_NODES * shape->max_links *
							  sizeof(uint32_t));
		cpu->fetched_counts = malloc(2 * FETCH_NODES);
		if (cpu->fetched && cpu->fetched_counts && cpu->codes && cpu->norm2 && cpu->scale && cpu->lift &&
			cpu->levels && cpu->lists && cpu->nlist && cpu->nkept &&
			cpu->links && cpu->nlinks && cpu->nscale && cpu->members &&
			cpu->order && cpu->numbers)
			return &cpu->base;
		cpu_destroy(&cpu->base);
	}
	snprintf(fault, fault_size, "not enough memory for %u vectors",
			 shape->nnodes);
	return NULL;
}

static void
cpu_destroy(Backend *base)
{
	CpuBackend *cpu = (CpuBackend *) base;

	free(cpu->codes);
	free(cpu->norm2);
	free(cpu->scale);
	free(cpu->lift);
	free(cpu->levels);
	free(cpu->lists);
	free(cpu->nlist);
	free(cpu->nkept);
	free(cpu->links);
	free(cpu->nlinks);
	free(cpu->nscale);
	free(cpu->members);
	free(cpu->items);
	free(cpu->cells);
	free(cpu->order);
	free(cpu->numbers);
	free(cpu->fetched);
	free(cpu->fetched_counts);
	free(cpu);
}

static bool
cpu_load(Backend *base, uint32_t first, uint32_t count, const uint8_t *levels,
		 const void *codes)
{
	CpuBackend *cpu = (CpuBackend *) base;

	if (levels != NULL)
		memcpy(cpu->levels + first, levels, count);
	for (uint32_t i = 0; i < count; i++)
		load_vector(cpu, first + i,
					(const uint8_t *) codes + (size_t) i * base->shape.stride);
	return true;
}

static void
load_vector(CpuBackend *cpu, uint32_t node, const uint8_t *code)
{
	const BackendShape *shape = &cpu->base.shape;
	float	   *x = (float *) (cpu->codes + node * cpu->size);
	double		norm2 = 0;

	if (shape->element == OMEN_GPU_CODE8)
	{
		const int8_t *integers = (const int8_t *) code +
			sizeof(OmenGpuCodeHead);
		OmenGpuCodeHead head;

		memcpy(&head, code, sizeof(head));
		for (uint32_t i = 0; i < shape->dims; i++)
			((int16_t *) x)[i] = integers[i];
		cpu->norm2[node] = head.norm2;
		cpu->scale[node] = head.scale;
		if (shape->metric == OMEN_GPU_LIFTED)
			cpu->lift[node] = rule_lift(shape->max_norm2,
										rule_full_norm2(head.norm2,
														head.mean_dot,
														shape->mean_norm2));
		return;
	}
	for (uint32_t i = 0; i < shape->dims; i++)
	{
		if (shape->element == OMEN_GPU_F16)
			x[i] = omen_half_to_float(((const OmenHalf *) code)[i]);
		else
			x[i] = ((const float *) code)[i];
		norm2 += (double) x[i] * x[i];
	}
	if (shape->metric == OMEN_GPU_LIFTED)
		cpu->lift[node] = rule_lift(shape->max_norm2, (float) norm2);
	if (shape->metric == OMEN_GPU_UNIT && norm2 > 0)
	{
		for (uint32_t i = 0; i < shape->dims; i++)
			x[i] = (float) (x[i] / sqrt(norm2));
	}
}

static bool
cpu_enter(Backend *base, const uint32_t *nodes, uint32_t count)
{
	CpuBackend *cpu = (CpuBackend *) base;

	free(cpu->items);
	cpu->items = malloc(((size_t) count + 1) * sizeof(uint32_t));
	if (cpu->items == NULL)
		return out_of_memory(cpu);
	memcpy(cpu->items, nodes, count * sizeof(uint32_t));
	memcpy(cpu->members, nodes, count * sizeof(uint32_t));
	cpu->nitems = cpu->nmembers = count;
	return true;
}

static bool
cpu_clear(Backend *base)
{
	CpuBackend *cpu = (CpuBackend *) base;

	for (uint32_t i = 0; i < cpu->nmembers; i++)
		cpu->nlist[cpu->members[i]] = 0;
	return true;
}

static bool
cpu_lifts(Backend *base, float *lifts)
{
	CpuBackend *cpu = (CpuBackend *) base;

	memcpy(lifts, cpu->lift, base->shape.nnodes * sizeof(float));
	return true;
}

/* --- distances --- */

static int32_t
dot_product(uint32_t dims, const int16_t *a, const int16_t *b)
{
	int32_t		sum = 0;

	for (uint32_t i = 0; i < dims; i++)
		sum += a[i] * b[i];
	return sum;
}

/* In blocks, so that the compiler may add in any order within one */
static float
sum_of_differences(uint32_t dims, const float *a, const float *b, bool squared)
{
	float		sums[16] = {0};
	float		total = 0;
	uint32_t	i = 0;

	for (; i + 16 <= dims; i += 16)
	{
		for (int j = 0; j < 16; j++)
		{
			float		d = a[i + j] - b[i + j];

			sums[j] += squared ? d * d : fabsf(d);
		}
	}
	for (; i < dims; i++)
		total += squared ? (a[i] - b[i]) * (a[i] - b[i]) : fabsf(a[i] - b[i]);
	for (int j = 0; j < 16; j++)
		total += sums[j];
	return total;
}

static void
tick(CpuBackend *cpu)
{
	cpu->base.pairs++;
	if (++cpu->since_tick < TICK_PAIRS)
		return;
	cpu->since_tick = 0;
	if (cpu->base.shape.tick)
		cpu->base.shape.tick(cpu->base.shape.tick_arg);
}

static float
pair_distance(CpuBackend *cpu, uint32_t a, uint32_t b)
{
	const BackendShape *shape = &cpu->base.shape;
	const uint8_t *x = cpu->codes + a * cpu->size;
	const uint8_t *y = cpu->codes + b * cpu->size;
	float		distance;
	float		lift = cpu->lift[a] - cpu->lift[b];

	tick(cpu);
	if (shape->element == OMEN_GPU_CODE8)
		distance = cpu->norm2[a] + cpu->norm2[b] -
			2 * cpu->scale[a] * cpu->scale[b] *
			(float) dot_product(shape->dims, (const int16_t *) x,
								(const int16_t *) y);
	else
		distance = sum_of_differences(shape->dims, (const float *) x,
									  (const float *) y,
									  shape->metric != OMEN_GPU_L1);
	return rule_distance(rule_distance(distance) + lift * lift);
}

/* --- partition --- */

/* The leaders of part p, which has any */
static void
find_leaders(const CpuBackend *cpu, const BackendDivision *division,
			 uint32_t p, uint32_t *leaders)
{
	const uint32_t *items = cpu->items + division->starts[p];
	uint32_t	size = division->starts[p + 1] - division->starts[p];
	uint32_t	k = division->nleaders[p];

	for (uint32_t i = 0; i < k; i++)
		leaders[i] = division->leaders ?
			division->leaders[division->cells[p] + i] :
			items[rule_stratum(rule_mix(division->purpose, p), i, size, k)];
}

static void
assign_part(CpuBackend *cpu, const BackendDivision *division, uint32_t p)
{
	uint32_t	leaders[LEADERS_MAX];
	int			fanout = division->fanout;
	float		best[16];

	find_leaders(cpu, division, p, leaders);
	for (uint32_t i = division->starts[p]; i < division->starts[p + 1]; i++)
	{
		uint32_t   *mine = cpu->cells + (size_t) i * fanout;
		int			nbest = 0;

		for (uint32_t leader = 0; leader < division->nleaders[p]; leader++)
			nbest = rule_add_nearest(best, mine, nbest, fanout,
									 pair_distance(cpu, cpu->items[i],
												   leaders[leader]),
									 division->cells[p] + leader);
	}
}

/* The items of a part to one cell, or cut up into several, each once */
static void
keep_part(CpuBackend *cpu, const BackendDivision *division, uint32_t p,
		  uint32_t target)
{
	uint32_t	first = division->starts[p];

	for (uint32_t i = first; i < division->starts[p + 1]; i++)
	{
		uint32_t   *mine = cpu->cells + (size_t) i * division->fanout;

		mine[0] = division->cells[p] + (i - first) / target;
		for (int j = 1; j < division->fanout; j++)
			mine[j] = NO_CELL;
	}
}

static bool
cpu_assign(Backend *base, const BackendDivision *division, uint32_t *counts,
		   uint32_t *cells)
{
	CpuBackend *cpu = (CpuBackend *) base;
	size_t		ncells = (size_t) cpu->nitems * division->fanout;

	Assert(division->fanout <= 16);

	free(cpu->cells);
	cpu->cells = malloc((ncells + 1) * sizeof(uint32_t));
	if (cpu->cells == NULL)
		return out_of_memory(cpu);
	for (uint32_t p = 0; p < division->nparts; p++)
	{
		if (division->nleaders[p] > 0)
			assign_part(cpu, division, p);
		else
			keep_part(cpu, division, p, UINT32_MAX);
	}
	memset(counts, 0, division->cells[division->nparts] * sizeof(uint32_t));
	for (size_t i = 0; i < ncells; i++)
	{
		if (cpu->cells[i] != NO_CELL)
			counts[cpu->cells[i]]++;
	}
	for (uint32_t i = 0; cells && i < cpu->nitems; i++)
		cells[i] = cpu->cells[(size_t) i * division->fanout];
	return true;
}

static bool
cpu_deal(Backend *base, const BackendDivision *division, const bool *cut,
		 const uint32_t *counts)
{
	CpuBackend *cpu = (CpuBackend *) base;
	uint32_t	ncells = division->cells[division->nparts];
	uint32_t   *at = malloc(((size_t) ncells + 1) * sizeof(uint32_t));
	uint32_t	nitems = 0;
	uint32_t   *items = NULL;

	for (uint32_t p = 0; cut && p < division->nparts; p++)
	{
		if (cut[p])
			keep_part(cpu, division, p, division->target);
	}
	for (uint32_t c = 0; at && c < ncells; c++)
	{
		at[c] = nitems;
		nitems += counts[c];
	}
	if (at)
		items = malloc(((size_t) nitems + 1) * sizeof(uint32_t));
	if (items == NULL)
	{
		free(at);
		return out_of_memory(cpu);
	}
	for (size_t i = 0; i < (size_t) cpu->nitems * division->fanout; i++)
	{
		if (cpu->cells[i] != NO_CELL)
			items[at[cpu->cells[i]]++] = cpu->items[i / division->fanout];
	}
	free(at);
	free(cpu->items);
	cpu->items = items;
	cpu->nitems = nitems;
	return true;
}

static bool
cpu_items(Backend *base, uint32_t *nodes)
{
	CpuBackend *cpu = (CpuBackend *) base;

	memcpy(nodes, cpu->items, cpu->nitems * sizeof(uint32_t));
	return true;
}

/* Apart, and with restrict, so that the compiler uses vectors */
static void
add_integers(uint32_t dims, float scale, const int16_t *restrict integers,
			 float *restrict sums)
{
	for (uint32_t i = 0; i < dims; i++)
		sums[i] += scale * integers[i];
}

static void
add_floats(uint32_t dims, const float *restrict x, float *restrict sums)
{
	for (uint32_t i = 0; i < dims; i++)
		sums[i] += x[i];
}

static bool
cpu_sum(Backend *base, uint32_t ncells, const uint32_t *counts, float *sums)
{
	CpuBackend *cpu = (CpuBackend *) base;
	const BackendShape *shape = &base->shape;
	const uint32_t *item = cpu->items;

	memset(sums, 0, (size_t) ncells * shape->dims * sizeof(float));
	for (uint32_t c = 0; c < ncells; c++)
	{
		float	   *mine = sums + (size_t) c * shape->dims;

		for (uint32_t i = 0; i < counts[c]; i++, item++)
		{
			const uint8_t *code = cpu->codes + *item * cpu->size;

			if (shape->element == OMEN_GPU_CODE8)
				add_integers(shape->dims, cpu->scale[*item],
							 (const int16_t *) code, mine);
			else
				add_floats(shape->dims, (const float *) code, mine);
		}
	}
	return true;
}

/* --- leaves --- */

/* Put a key into a sorted list of at most "room"; returns its new length */
static int
insert_key(uint64_t *keys, int n, int room, uint64_t key)
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

/* All pairs of a leaf; the nearest of each row go to results */
static void
compare_leaf(CpuBackend *cpu, const uint32_t *items, uint32_t n, int keep,
			 uint64_t *results)
{
	int			nfound[LEAF_MAX] = {0};

	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t	salt = rule_salt(items[i]);
		uint64_t   *mine = results + (size_t) i * keep;

		for (uint32_t j = 0; j < i; j++)
		{
			float		distance = pair_distance(cpu, items[i], items[j]);

			nfound[i] = insert_key(mine, nfound[i], keep,
								   rule_key(distance, items[j], salt));
			nfound[j] = insert_key(results + (size_t) j * keep, nfound[j],
								   keep, rule_key(distance, items[i],
												  rule_salt(items[j])));
		}
	}
	for (uint32_t i = 0; i < n; i++)
	{
		for (int j = nfound[i]; j < keep; j++)
			results[(size_t) i * keep + j] = NO_KEY;
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

/* A leaf that is thinned: distances of its rows, and from where each is seen */
typedef struct Thinning
{
	uint32_t	n;
	const uint32_t *items;
	float		distances[LEAF_MAX][LEAF_MAX];
	float		limits[RANKINGS][LEAF_MAX];
} Thinning;

static bool
most_have_copies(const uint64_t *results, uint32_t n, int keep)
{
	uint32_t	ncopied = 0;

	for (uint32_t i = 0; i < n; i++)
		ncopied += rule_has_copies(results[(size_t) i * keep],
								   results[(size_t) i * keep + keep - 1]);
	return ncopied > n / 2;
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
		thinning->limits[r][i] = THIN_FACTOR * reach;
	}
}

/* The nearest of those that a row sees; if they are too few, it sees all */
static void
thin_row(const Thinning *thinning, uint32_t i, int keep, uint64_t *result)
{
	const float *limits = thinning->limits[rule_ranking(thinning->items[i])];
	uint32_t	salt = rule_salt(thinning->items[i]);
	uint64_t	keys[SEARCH_MAX];
	int			nkeys = 0;
	int			nseen = 0;

	for (uint32_t j = 0; j < thinning->n; j++)
	{
		float		distance = thinning->distances[i][j];

		if (j == i || distance > limits[j])
			continue;
		nseen++;
		nkeys = insert_key(keys, nkeys, keep,
						   rule_key(distance, thinning->items[j], salt));
	}
	if (nseen >= keep)
		memcpy(result, keys, keep * sizeof(uint64_t));
	rule_pass_on(result, keep);
}

static void
thin_leaf(CpuBackend *cpu, Thinning *thinning, const uint32_t *items,
		  uint32_t n, int keep, uint64_t *results)
{
	thinning->n = n;
	thinning->items = items;
	for (uint32_t i = 0; i < n; i++)
	{
		for (uint32_t j = 0; j <= i; j++)
			thinning->distances[i][j] = thinning->distances[j][i] =
				pair_distance(cpu, items[i], items[j]);
	}
	for (uint32_t i = 0; i < n; i++)
		find_limits(thinning, i);
	for (uint32_t i = 0; i < n; i++)
		thin_row(thinning, i, keep, results + (size_t) i * keep);
}

static bool
cpu_compare(Backend *base, uint32_t nparts, const uint32_t *starts, int keep,
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
		return out_of_memory(cpu);
	}
	for (uint32_t p = 0; p < nparts; p++)
	{
		const uint32_t *items = cpu->items + starts[p];
		uint32_t	n = starts[p + 1] - starts[p];

		compare_leaf(cpu, items, n, keep, results);
		if (thin && most_have_copies(results, n, keep))
			thin_leaf(cpu, thinning, items, n, keep, results);
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

/* --- links --- */

/* What one node's choice works with, for up to "most" candidates */
static Choice *
make_choice(int most)
{
	Choice	   *choice = malloc(sizeof(Choice) + most *
								(sizeof(uint32_t) + 2 * sizeof(float) +
								 sizeof(bool)));

	if (choice != NULL)
	{
		choice->nodes = (uint32_t *) (choice + 1);
		choice->distances = (float *) (choice->nodes + most);
		choice->nearest = choice->distances + most;
		choice->kept = (bool *) (choice->nearest + most);
	}
	return choice;
}

static void
keep_candidate(CpuBackend *cpu, Choice *choice, int which)
{
	choice->kept[which] = true;
	choice->nkept++;
	for (int i = 0; i < choice->n; i++)
	{
		float		distance;

		if (choice->kept[i])
			continue;
		distance = pair_distance(cpu, choice->nodes[which], choice->nodes[i]);
		if (distance < choice->nearest[i])
			choice->nearest[i] = distance;
	}
}

/* The heuristic, over n sorted keys of a node, with rising slack */
static void
choose(CpuBackend *cpu, Choice *choice, uint32_t node, const uint64_t *keys,
	   int n, int wanted)
{
	uint32_t	salt = rule_salt(node);

	choice->n = n;
	choice->nkept = 0;
	for (int i = 0; i < n; i++)
	{
		choice->nodes[i] = rule_key_node(keys[i], salt);
		choice->distances[i] = rule_key_distance(keys[i]);
		choice->nearest[i] = INFINITY;
		choice->kept[i] = false;
	}
	for (float slack = 1; slack > 0 && choice->nkept < wanted;
		 slack = rule_next_slack(slack))
	{
		for (int i = 0; i < n && choice->nkept < wanted; i++)
		{
			if (!choice->kept[i] &&
				rule_keeps(rule_limit(choice->distances[i], slack),
						   choice->nearest[i]))
				keep_candidate(cpu, choice, i);
		}
	}
}

/* The kept to the front of the list, then as many others as are wanted */
static void
choose_forward(CpuBackend *cpu, Choice *choice, uint32_t node, int wanted,
			   uint64_t *scratch)
{
	uint64_t   *list = cpu->lists +
		(size_t) node * cpu->base.shape.list_size;
	int			n = cpu->nlist[node];
	int			nchosen = 0;

	choose(cpu, choice, node, list, n, wanted);
	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < n; i++)
		{
			if (choice->kept[i] == (pass == 0) && nchosen < wanted)
				scratch[nchosen++] = list[i];
		}
	}
	memcpy(list, scratch, nchosen * sizeof(uint64_t));
	cpu->nlist[node] = nchosen;
	cpu->nkept[node] = choice->nkept;
}

static bool
has_key(const uint64_t *keys, int n, uint64_t key)
{
	for (int i = 0; i < n; i++)
	{
		if (keys[i] == key)
			return true;
	}
	return false;
}

/*
 * Offers, as the device makes them: count how many each target gets, make
 * room, fill in.  starts[] has a place for each node and one more.
 */
static uint64_t *
make_offers(CpuBackend *cpu, uint32_t *starts)
{
	int			room = cpu->base.shape.list_size;
	uint32_t	n = cpu->base.shape.nnodes;
	uint64_t   *offers = NULL;

	memset(starts, 0, ((size_t) n + 2) * sizeof(uint32_t));
	for (int pass = 0; pass < 2; pass++)
	{
		for (uint32_t i = 0; i < cpu->nmembers; i++)
		{
			uint32_t	node = cpu->members[i];
			uint32_t	salt = rule_salt(node);
			const uint64_t *list = cpu->lists + (size_t) node * room;

			for (int j = 0; j < cpu->nkept[node]; j++)
			{
				uint32_t	target = rule_key_node(list[j], salt);

				if (pass == 0)
					starts[target + 2]++;
				else
					offers[starts[target + 1]++] = rule_offer(list[j], node,
															  target);
			}
		}
		if (pass == 0)
		{
			for (uint32_t i = 2; i <= n + 1; i++)
				starts[i] += starts[i - 1];
			offers = malloc(((size_t) starts[n + 1] + 1) * sizeof(uint64_t));
			if (offers == NULL)
				return NULL;
		}
	}
	return offers;
}

/*
 * The links of a node at scale 0: the kept and, from the front, as many others
 * as are wanted, in the order of distance
 */
static void
store_links(CpuBackend *cpu, const Choice *choice, uint32_t node, int wanted)
{
	uint32_t   *links = cpu->links +
		(size_t) node * cpu->base.shape.max_links;
	int			others = wanted - choice->nkept;
	int			nlinks = 0;

	for (int i = 0; i < choice->n; i++)
	{
		if (!choice->kept[i] && others-- <= 0)
			continue;
		links[nlinks++] = choice->nodes[i];
	}
	cpu->nlinks[node] = nlinks;
	cpu->nscale[node] = 0;
}

/* Those at scale: what it has a local link to already does not count */
static void
add_scale_links(CpuBackend *cpu, const Choice *choice, uint32_t node,
				int wanted)
{
	uint32_t   *links = cpu->links +
		(size_t) node * cpu->base.shape.max_links;
	int			nlocal = cpu->nlinks[node];
	int			nlinks = nlocal;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < choice->n && nlinks < nlocal + wanted; i++)
		{
			int			j = 0;

			if (choice->kept[i] != (pass == 0))
				continue;
			while (j < nlocal && links[j] != choice->nodes[i])
				j++;
			if (j == nlocal)
				links[nlinks++] = choice->nodes[i];
		}
	}
	cpu->nlinks[node] = nlinks;
	cpu->nscale[node] = nlinks - nlocal;
}

/* Unless it is there; returns how many there are then */
static int
add_link(uint32_t *links, int nlinks, uint32_t link)
{
	for (int i = 0; i < nlinks; i++)
	{
		if (links[i] == link)
			return nlinks;
	}
	links[nlinks] = link;
	return nlinks + 1;
}

/* Those in a set of long nodes: to the front, and as many others as have room */
static void
add_long_links(CpuBackend *cpu, const Choice *choice, uint32_t node,
			   int wanted)
{
	int			max_links = cpu->base.shape.max_links;
	uint32_t   *links = cpu->links + (size_t) node * max_links;
	int			nscale = cpu->nscale[node];
	int			nlocal = cpu->nlinks[node] - nscale;
	int			others = wanted - choice->nkept;
	uint32_t	merged[UINT8_MAX];
	int			n = nscale;

	/* at the scale first, so that they are not linked to twice */
	memcpy(merged, links + nlocal, nscale * sizeof(uint32_t));
	for (int i = 0; i < choice->n; i++)
	{
		if (choice->kept[i] || others-- > 0)
			n = add_link(merged, n, choice->nodes[i]);
	}
	for (int i = 0; i < nlocal && n < max_links; i++)
		n = add_link(merged, n, links[i]);

	memcpy(links, merged + nscale, (n - nscale) * sizeof(uint32_t));
	memcpy(links + n - nscale, merged, nscale * sizeof(uint32_t));
	cpu->nlinks[node] = n;
}

/* Choose among what a node has chosen and what it is offered */
static void
choose_final(CpuBackend *cpu, Choice *choice, uint32_t node, int scale,
			 const uint64_t *offers, uint32_t noffers, uint64_t *scratch)
{
	const BackendShape *shape = &cpu->base.shape;
	const uint64_t *list = cpu->lists + (size_t) node * shape->list_size;
	int			wanted = rule_wanted(shape->max_links, shape->scale_links,
									 cpu->levels[node], scale);
	int			nlist = cpu->nlist[node];
	int			room = shape->list_size;
	int			n = 0;

	/* the nearest offers that are news, in the room that is left */
	for (uint32_t i = 0; i < noffers; i++)
	{
		if (!has_key(list, nlist, offers[i]))
			n = insert_key(scratch, n, room - nlist, offers[i]);
	}
	for (int i = 0; i < nlist; i++)
		n = insert_key(scratch, n, room, list[i]);

	choose(cpu, choice, node, scratch, n, wanted);
	if (scale == 0)
		store_links(cpu, choice, node, wanted);
	else if (scale >= LONG_SCALE)
		add_long_links(cpu, choice, node, wanted);
	else if (scale == cpu->levels[node])
		add_scale_links(cpu, choice, node, wanted);
}

static bool
cpu_connect(Backend *base, int scale)
{
	CpuBackend *cpu = (CpuBackend *) base;
	const BackendShape *shape = &base->shape;
	Choice	   *choice = make_choice(shape->list_size);
	uint64_t   *scratch = malloc(shape->list_size * sizeof(uint64_t));
	uint32_t   *starts = malloc(((size_t) shape->nnodes + 2) *
								sizeof(uint32_t));
	uint64_t   *offers = NULL;

	if (choice && scratch && starts)
	{
		for (uint32_t i = 0; i < cpu->nmembers; i++)
		{
			uint32_t	node = cpu->members[i];

			choose_forward(cpu, choice, node,
						   rule_wanted(shape->max_links, shape->scale_links,
									   cpu->levels[node], scale), scratch);
		}
		offers = make_offers(cpu, starts);
	}
	for (uint32_t i = 0; offers && i < cpu->nmembers; i++)
	{
		uint32_t	node = cpu->members[i];

		choose_final(cpu, choice, node, scale, offers + starts[node],
					 starts[node + 1] - starts[node], scratch);
	}
	free(choice);
	free(scratch);
	free(starts);
	if (offers == NULL)
		return out_of_memory(cpu);
	free(offers);
	return true;
}

static bool
cpu_sort(Backend *base)
{
	CpuBackend *cpu = (CpuBackend *) base;

	for (uint32_t i = 0; i < cpu->nmembers; i++)
	{
		uint32_t	node = cpu->members[i];
		uint32_t   *links = cpu->links + (size_t) node * base->shape.max_links;
		uint64_t	keys[UINT8_MAX];
		int			n = 0;

		for (int j = 0; j < cpu->nlinks[node] - cpu->nscale[node]; j++)
			n = insert_key(keys, n, UINT8_MAX,
						   rule_key(pair_distance(cpu, node, links[j]),
									links[j], 0));
		for (int j = 0; j < n; j++)
			links[j] = rule_key_node(keys[j], 0);
	}
	return true;
}

static bool
cpu_number(Backend *base, const uint32_t *order)
{
	CpuBackend *cpu = (CpuBackend *) base;

	for (uint32_t i = 0; i < base->shape.nnodes; i++)
	{
		cpu->order[i] = order[i];
		cpu->numbers[order[i]] = i;
	}
	return true;
}

static bool
cpu_fetch(Backend *base, uint32_t first, BackendLinks *links)
{
	CpuBackend *cpu = (CpuBackend *) base;
	size_t		max_links = base->shape.max_links;
	uint32_t	count = Min(FETCH_NODES, base->shape.nnodes - first);
	uint8_t    *nlinks = cpu->fetched_counts;
	uint8_t    *nscale = nlinks + FETCH_NODES;

	memset(cpu->fetched, 0, count * max_links * sizeof(uint32_t));
	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t	node = cpu->order[first + i];

		nlinks[i] = cpu->nlinks[node];
		nscale[i] = cpu->nscale[node];
		for (int j = 0; j < nlinks[i]; j++)
			cpu->fetched[i * max_links + j] =
				cpu->numbers[cpu->links[node * max_links + j]];
	}
	*links = (BackendLinks) {count, cpu->fetched, nlinks, nscale};
	return true;
}

/* --- exact search --- */

/*
 * Queries are kept as one more node behind the others, one at a time.  Without
 * the coordinate that is added to nodes for inner products, it is these by
 * which they are ordered.
 */
static bool
cpu_search(Backend *base, const void *queries, uint32_t count, int k,
		   uint32_t *nearest, float *distances)
{
	CpuBackend *cpu = (CpuBackend *) base;
	uint32_t	n = base->shape.nnodes;

	for (uint32_t q = 0; q < count; q++)
	{
		uint64_t	keys[SEARCH_MAX];
		int			nkeys = 0;

		load_vector(cpu, n, (const uint8_t *) queries +
					(size_t) q * base->shape.stride);
		cpu->lift[n] = 0;
		for (uint32_t i = 0; i < n; i++)
			nkeys = insert_key(keys, nkeys, k,
							   rule_key(pair_distance(cpu, n, i), i, 0));
		for (int i = 0; i < k; i++)
		{
			nearest[(size_t) q * k + i] = i < nkeys ?
				rule_key_node(keys[i], 0) : UINT32_MAX;
			distances[(size_t) q * k + i] = i < nkeys ?
				rule_key_distance(keys[i]) : INFINITY;
		}
	}
	return true;
}

const BackendOps omen_backend_cpu = {
	.name = "cpu",
	.create = cpu_create,
	.destroy = cpu_destroy,
	.load = cpu_load,
	.enter = cpu_enter,
	.clear = cpu_clear,
	.lifts = cpu_lifts,
	.assign = cpu_assign,
	.deal = cpu_deal,
	.items = cpu_items,
	.sum = cpu_sum,
	.compare = cpu_compare,
	.connect = cpu_connect,
	.sort = cpu_sort,
	.number = cpu_number,
	.fetch = cpu_fetch,
	.search = cpu_search,
};
