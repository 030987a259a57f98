/*-------------------------------------------------------------------------
 *
 * cpu_links.c
 *	  From candidates to links, on the processor.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/helper/backend_cpu.h"
#include "gpu/helper/rules.h"

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
		distance = omen_cpu_distance(cpu, choice->nodes[which], choice->nodes[i]);
		if (distance < choice->nearest[i])
			choice->nearest[i] = distance;
	}
}

/* Some copies are kept, whatever else there is */
static void
keep_copies(CpuBackend *cpu, Choice *choice, int wanted)
{
	int			n = choice->n;
	int			ncopies = 0;
	int			nkept;

	while (ncopies < n && omen_copies_has(choice->distances[ncopies],
										  choice->distances[n - 1]))
		ncopies++;
	nkept = omen_copies_kept(ncopies, wanted);
	for (int i = 0; i < nkept; i++)
		keep_candidate(cpu, choice, omen_copies_kept_at(i, ncopies, nkept));
}

/* The heuristic, over n sorted keys of a node, with rising slack */
static void
choose(CpuBackend *cpu, Choice *choice, uint32_t node, int scale,
	   const uint64_t *keys, int n, int wanted)
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
	if (scale == 0)
		keep_copies(cpu, choice, wanted);
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
choose_forward(CpuBackend *cpu, Choice *choice, uint32_t node, int scale,
			   uint64_t *scratch)
{
	const BackendShape *shape = &cpu->base.shape;
	uint64_t   *list = cpu->lists + (size_t) node * shape->list_size;
	int			wanted = rule_wanted(shape->max_links, shape->scale_links,
									 cpu->levels[node], scale);
	int			n = cpu->nlist[node];
	int			nchosen = 0;

	choose(cpu, choice, node, scale, list, n, wanted);
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
			n = omen_cpu_insert_key(scratch, n, room - nlist, offers[i]);
	}
	for (int i = 0; i < nlist; i++)
		n = omen_cpu_insert_key(scratch, n, room, list[i]);

	choose(cpu, choice, node, scale, scratch, n, wanted);
	if (scale == 0)
		store_links(cpu, choice, node, wanted);
	else if (scale >= LONG_SCALE)
		add_long_links(cpu, choice, node, wanted);
	else if (scale == cpu->levels[node])
		add_scale_links(cpu, choice, node, wanted);
}

bool
omen_cpu_connect(Backend *base, int scale)
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
			choose_forward(cpu, choice, cpu->members[i], scale, scratch);
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
		return omen_cpu_out_of_memory(cpu);
	free(offers);
	return true;
}

bool
omen_cpu_sort(Backend *base)
{
	CpuBackend *cpu = (CpuBackend *) base;

	for (uint32_t i = 0; i < cpu->nmembers; i++)
	{
		uint32_t	node = cpu->members[i];
		uint32_t   *links = cpu->links + (size_t) node * base->shape.max_links;
		uint64_t	keys[UINT8_MAX];
		int			n = 0;

		for (int j = 0; j < cpu->nlinks[node] - cpu->nscale[node]; j++)
			n = omen_cpu_insert_key(keys, n, UINT8_MAX,
						   rule_key(omen_cpu_distance(cpu, node, links[j]),
									links[j], 0));
		for (int j = 0; j < n; j++)
			links[j] = rule_key_node(keys[j], 0);
	}
	return true;
}

bool
omen_cpu_number(Backend *base, const uint32_t *order)
{
	CpuBackend *cpu = (CpuBackend *) base;

	for (uint32_t i = 0; i < base->shape.nnodes; i++)
	{
		cpu->order[i] = order[i];
		cpu->numbers[order[i]] = i;
	}
	return true;
}

bool
omen_cpu_fetch(Backend *base, uint32_t first, BackendLinks *links)
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
