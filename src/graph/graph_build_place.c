/*-------------------------------------------------------------------------
 *
 * graph_build_place.c
 *	  Numbering of nodes by coarse cluster.
 *
 * Rows are read in input order twice: to find each one's nearest of about
 * n/4000 leaders, and to copy its code to the next free place of that
 * leader's cluster.  So input is read and arena written in streams, however
 * large they are.  Each of these clusters is then divided into coarse
 * clusters of about 1000 nodes, which keep their range of positions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/*
 * Leaders are not rows but the middle of those that are nearest to them, by a
 * sample of so many a leader, as k-means finds it in so many rounds.  Of a
 * million descriptors, half as many clusters hold the same share of what is
 * near to a query as with rows drawn at random.
 */
#define LEADER_SAMPLE	64
#define LEADER_ROUNDS	2

/* Of a sample, how many are handed out at once */
#define SAMPLE_CHUNK	64

/* The code of a row, or of a node */
typedef const uint8 *(*CodeOf) (OmenBuild *build, uint32 number);

/* Of n rows or nodes, so many, and the nearest leader of each */
typedef struct Sample
{
	CodeOf		code_of;
	uint32		first;
	uint32		n;
	uint32		size;
	uint32	   *nearest;
} Sample;

static int	count_groups(uint32 n, uint32 target);
static bool take_clusters(OmenBuild *build);
static void lay_rows(OmenBuild *build, uint32 first, uint32 end);
static void join_all_rows(OmenBuild *build, uint32 ngroups);
static void draw_leading_rows(OmenBuild *build, int nleaders);
static uint32 sample_size(const OmenBuild *build, uint32 n);
static void centre_leading_rows(OmenBuild *build);
static void centre_leading_nodes(OmenBuild *build, uint32 first, uint32 n);
static void join_sample(OmenBuild *build, const Sample *sample, uint32 first,
						uint32 end);
static void move_leaders(OmenBuild *build, const Sample *sample);
static const uint8 *code_of_row(OmenBuild *build, uint32 row);
static const uint8 *code_of_node(OmenBuild *build, uint32 node);
static void chain_leaders(OmenBuild *build, uint32 *rank);
static void join_rows(OmenBuild *build, const uint32 *rank, uint32 first,
					  uint32 end);
static void number_by_group(OmenBuild *build);
static void number_by_cluster(OmenBuild *build);
static void number_rows(OmenBuild *build, uint32 ngroups, uint32 *starts);
static void copy_rows(OmenBuild *build, uint32 first, uint32 end);
static void divide_group(OmenBuild *build, uint32 group);
static void permute_nodes(OmenBuild *build, uint32 first, uint32 n,
						  uint32 *source);
static uint8 row_level(const OmenBuild *build, uint32 row);
static void init_nodes(OmenBuild *build, uint32 first, uint32 end);
static void mark_coarse(OmenBuild *build, uint32 first, const uint32 *starts,
						uint32 ncoarse);
static void list_coarse(OmenBuild *build);

/*
 * Working space in build->pairs: the group of each row, before that the leader of
 * each in the sample, later whether a coarse cluster begins at a node; the place of
 * each row; the size of its code, if sizes vary.
 */
static inline uint32 *
row_groups(OmenBuild *build)
{
	return build->pairs;
}

static inline uint32 *
coarse_marks(OmenBuild *build)
{
	return build->pairs;
}

static inline uint32 *
row_places(OmenBuild *build)
{
	return build->pairs + build->n;
}

static inline uint32 *
row_sizes(OmenBuild *build)
{
	return build->pairs + (Size) 2 * build->n;
}

/* Number the rows, and bring rows, codes and levels of nodes to the arena */
void
omen_build_place(OmenBuild *build)
{
	uint32		ngroups = count_groups(build->n, OMEN_TOP_SIZE);
	bool		divided = take_clusters(build);
	uint32		first;
	uint32		end;

	if (!divided)
		join_all_rows(build, ngroups);

	omen_build_once(build, divided ? number_by_cluster : number_by_group);
	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		copy_rows(build, first, end);
		if (divided)
			init_nodes(build, first, end);
	}

	omen_build_once(build, NULL);
	while (!divided && omen_build_claim(build, ngroups, 1, &first, &end))
		divide_group(build, first);

	omen_build_once(build, list_coarse);
}

/*
 * Let the participant that has another way to find clusters try it; the others
 * help with the rows, and wait.
 */
static bool
take_clusters(OmenBuild *build)
{
	const OmenBuildTeam *team = build->team;
	OmenBuildArena *arena = build->arena;
	uint32		first;
	uint32		end;

	if (team->want_rows != NULL)
		arena->rows_wanted = team->want_rows(team->arg, build);
	omen_build_once(build, NULL);
	if (!arena->rows_wanted)
		return false;

	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
		lay_rows(build, first, end);
	omen_build_once(build, NULL);
	if (team->find_clusters != NULL)
	{
		arena->nclusters =
			team->find_clusters(team->arg, build, row_groups(build),
								omen_build_most_clusters(build->n));
		if (arena->nclusters > 0 && team->find_links != NULL)
			arena->other_links = OMEN_LINKS_AWAITED;
	}
	omen_build_once(build, NULL);
	return arena->nclusters > 0;
}

/* Codes and levels, by row: where nodes are to have theirs later */
static void
lay_rows(OmenBuild *build, uint32 first, uint32 end)
{
	Assert(build->stride > 0);

	for (uint32 row = first; row < end; row++)
	{
		Size		size;
		const uint8 *code = build->input->pair_code(build->input->arg, row,
													&size);

		memcpy(build->codes + row * build->stride, code, size);
		build->levels[row] = row_level(build, row);
		omen_build_tick(build, size, 0);
	}
}

/* Each row to the nearest of the leaders */
static void
join_all_rows(OmenBuild *build, uint32 ngroups)
{
	uint32	   *rank = (uint32 *) palloc(ngroups * sizeof(uint32));
	uint32		first;
	uint32		end;

	draw_leading_rows(build, ngroups);
	centre_leading_rows(build);
	chain_leaders(build, rank);

	omen_build_once(build, NULL);
	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
		join_rows(build, rank, first, end);
	pfree(rank);
}

static int
count_groups(uint32 n, uint32 target)
{
	return Max(1, Min((n + target / 2) / target, OMEN_MAX_LEADERS));
}

/* Gather the codes of rows drawn at random in build->leaders */
static void
draw_leading_rows(OmenBuild *build, int nleaders)
{
	uint64		seed = build->arena->params.seed;
	int			i;

	build->leaders.n = 0;
	for (i = 0; i < nleaders; i++)
	{
		uint32		row = omen_build_stratum(seed, i, build->n, nleaders);
		Size		size;
		const uint8 *code = build->input->pair_code(build->input->arg, row,
													&size);

		/* the next call may take the memory back */
		if (build->stride == 0)
		{
			uint8	   *copy = (uint8 *) palloc(size + 1);

			memcpy(copy, code, size);
			code = copy;
		}
		omen_block_add(build, &build->leaders, code, size);
	}
}

/* Only vectors have a middle */
static uint32
sample_size(const OmenBuild *build, uint32 n)
{
	if (build->leaders.n < 2 || build->stride == 0 ||
		build->quant->shape.own_kind == OMEN_OWN_RAW)
		return 0;
	return Min(n, build->leaders.n * LEADER_SAMPLE);
}

/*
 * Move the leaders to the middle of what is nearest to them, of a sample of all
 * rows; by all participants, who come to the same result.
 */
static void
centre_leading_rows(OmenBuild *build)
{
	Sample		sample = {code_of_row, 0, build->n, sample_size(build, build->n),
	row_groups(build)};
	uint32		first;
	uint32		end;

	for (int i = 0; i < LEADER_ROUNDS && sample.size > 0; i++)
	{
		omen_build_once(build, NULL);
		while (omen_build_claim(build, sample.size, SAMPLE_CHUNK, &first,
								&end))
			join_sample(build, &sample, first, end);
		omen_build_once(build, NULL);
		move_leaders(build, &sample);
	}
}

/* The same for leaders of n nodes from the first on, by one participant */
static void
centre_leading_nodes(OmenBuild *build, uint32 first, uint32 n)
{
	Sample		sample = {code_of_node, first, n, sample_size(build, n)};

	sample.nearest = (uint32 *) palloc(sample.size * sizeof(uint32) + 1);
	for (int i = 0; i < LEADER_ROUNDS && sample.size > 0; i++)
	{
		join_sample(build, &sample, 0, sample.size);
		move_leaders(build, &sample);
	}
	pfree(sample.nearest);
}

static const uint8 *
sample_code(OmenBuild *build, const Sample *sample, uint32 i)
{
	uint64		seed = omen_build_mix(build->arena->params.seed,
									  sample->first);

	return sample->code_of(build, sample->first +
						   omen_build_stratum(seed, i, sample->n,
											  sample->size));
}

/* The nearest leaders of some of a sample */
static void
join_sample(OmenBuild *build, const Sample *sample, uint32 first, uint32 end)
{
	int			nleaders = build->leaders.n;

	for (uint32 i = first; i < end; i++)
	{
		omen_block_distances(build, &build->leaders, 0,
							 sample_code(build, sample, i), build->distances);
		omen_build_nearest(build->distances, nleaders, 1,
						   &sample->nearest[i]);
		omen_build_tick(build, nleaders * build->stride, 0);
	}
}

/* To the middle of what is nearest to each, added up in the order of the sample */
static void
move_leaders(OmenBuild *build, const Sample *sample)
{
	int			dims = build->quant->shape.code_dims;
	int			nleaders = build->leaders.n;
	float	   *sums = (float *) palloc_extended((Size) nleaders * dims *
												 sizeof(float),
												 MCXT_ALLOC_HUGE |
												 MCXT_ALLOC_ZERO);
	uint32	   *counts = (uint32 *) palloc0(nleaders * sizeof(uint32));

	for (uint32 i = 0; i < sample->size; i++)
	{
		uint32		nearest = sample->nearest[i];

		omen_quant_add_to_centre(build->quant, sample_code(build, sample, i),
								 sums + (Size) nearest * dims);
		counts[nearest]++;
		omen_build_tick(build, build->stride, 0);
	}
	for (int i = 0; i < nleaders; i++)
	{
		if (counts[i] > 0)
			omen_quant_form_centre(build->quant, sums + (Size) i * dims,
								   counts[i], build->leaders.codes +
								   (Size) i * build->stride);
	}
	pfree(counts);
	pfree(sums);
}

static const uint8 *
code_of_row(OmenBuild *build, uint32 row)
{
	Size		size;

	return build->input->pair_code(build->input->arg, row, &size);
}

static const uint8 *
code_of_node(OmenBuild *build, uint32 node)
{
	return omen_node_code(build, node);
}

/*
 * Number the leaders along a chain, on which each is followed by the nearest
 * one left, so that clusters with neighbouring numbers are neighbours.
 */
static void
chain_leaders(OmenBuild *build, uint32 *rank)
{
	uint32		nleaders = build->leaders.n;
	uint32		last = 0;
	uint32		taken;

	memset(rank, 0xFF, nleaders * sizeof(uint32));
	for (taken = 0; taken < nleaders; taken++)
	{
		uint32		next = nleaders;
		uint32		i;

		rank[last] = taken;
		omen_block_distances(build, &build->leaders, 0,
							 omen_block_code(build, &build->leaders, last),
							 build->distances);
		for (i = 0; i < nleaders; i++)
		{
			if (rank[i] == PG_UINT32_MAX &&
				(next == nleaders ||
				 build->distances[i] < build->distances[next]))
				next = i;
		}
		last = next;
		omen_build_tick(build, nleaders * build->stride, 0);
	}
}

/* First reading: the group of each row */
static void
join_rows(OmenBuild *build, const uint32 *rank, uint32 first, uint32 end)
{
	int			nleaders = build->leaders.n;
	uint32		row;

	for (row = first; row < end; row++)
	{
		uint32		nearest;
		Size		size;
		const uint8 *code = build->input->pair_code(build->input->arg, row,
													&size);

		if (nleaders > 1)
			omen_block_distances(build, &build->leaders, 0, code,
								 build->distances);
		omen_build_nearest(build->distances, nleaders, 1, &nearest);
		row_groups(build)[row] = rank[nearest];
		if (build->stride == 0)
			row_sizes(build)[row] = MAXALIGN(size);
		omen_build_tick(build, nleaders * build->stride + size, 1);
	}
}

/* Between the readings: nodes are numbered by leader, */
static void
number_by_group(OmenBuild *build)
{
	number_rows(build, build->leaders.n, build->starts);
}

/* or by the clusters that they are to have in the end */
static void
number_by_cluster(OmenBuild *build)
{
	uint32		nclusters = build->arena->nclusters;

	number_rows(build, nclusters, build->clusters);
	mark_coarse(build, 0, build->clusters, nclusters);
}

/* The place of each row, and room for its code */
static void
number_rows(OmenBuild *build, uint32 ngroups, uint32 *starts)
{
	Size		offset = 0;
	uint32		place;

	omen_build_invert(row_groups(build), build->n, ngroups, starts,
					  build->rows);
	for (place = 0; place < build->n; place++)
	{
		uint32		row = build->rows[place];

		row_places(build)[row] = place;
		if (build->stride == 0)
		{
			build->offsets[place] = offset;
			offset += row_sizes(build)[row];
		}
	}
	Assert(build->stride > 0 ||
		   offset <= build->arena->offsets - build->arena->codes);
}

/* Second reading: codes go to their places */
static void
copy_rows(OmenBuild *build, uint32 first, uint32 end)
{
	uint32		row;

	for (row = first; row < end; row++)
	{
		uint32		node = row_places(build)[row];
		Size		size;
		const uint8 *code = build->input->pair_code(build->input->arg, row,
													&size);

		memcpy(unconstify(uint8 *, omen_node_code(build, node)), code, size);
		omen_build_tick(build, size, 1);
	}
}

/* Divide the nodes of one leader into coarse clusters, and complete them */
static void
divide_group(OmenBuild *build, uint32 group)
{
	uint32		first = build->starts[group];
	uint32		n = build->starts[group + 1] - first;
	uint32		ncoarse = count_groups(n, OMEN_COARSE_SIZE);
	uint32	   *rank = (uint32 *) palloc(ncoarse * sizeof(uint32));
	uint32	   *starts = (uint32 *) palloc((ncoarse + 1) * sizeof(uint32));
	uint32	   *chosen = (uint32 *) palloc(n * sizeof(uint32) + 1);
	uint32	   *nodes = (uint32 *) palloc(n * sizeof(uint32) + 1);
	uint32		i;

	ncoarse = Min(ncoarse, n);
	for (i = 0; i < n; i++)
		nodes[i] = first + i;
	omen_build_draw_leaders(build, first, nodes, n, ncoarse);
	centre_leading_nodes(build, first, n);
	chain_leaders(build, rank);
	for (i = 0; i < n; i++)
	{
		if (ncoarse > 1)
			omen_block_distances(build, &build->leaders, 0,
								 omen_node_code(build, nodes[i]),
								 build->distances);
		omen_build_nearest(build->distances, ncoarse, 1, &chosen[i]);
		chosen[i] = rank[chosen[i]];
		omen_build_tick(build, (ncoarse + 1) * build->stride,
						OMEN_WORK_PLACE - 2);
	}
	omen_build_invert(chosen, n, ncoarse, starts, nodes);
	permute_nodes(build, first, n, nodes);
	init_nodes(build, first, first + n);
	mark_coarse(build, first, starts, ncoarse);

	pfree(nodes);
	pfree(chosen);
	pfree(starts);
	pfree(rank);
}

/*
 * Give the i-th of n nodes the row and code of the source[i]-th; destroys
 * source[].  Done in place along the cycles of the permutation, since codes of
 * a group with many equal vectors may not fit into memory twice.
 */
static void
permute_nodes(OmenBuild *build, uint32 first, uint32 n, uint32 *source)
{
	uint32	   *rows = build->rows + first;
	Size		stride = build->stride;
	uint8	   *codes = build->codes + first * stride;
	uint8	   *held_code = (uint8 *) palloc(stride + 1);
	uint32		i;

	for (i = 0; i < n; i++)
	{
		uint32		held_row = rows[i];
		Size		held_offset = 0;
		uint32		to = i;

		memcpy(held_code, codes + i * stride, stride);
		if (stride == 0)
			held_offset = build->offsets[first + i];
		while (source[to] != PG_UINT32_MAX)
		{
			uint32		from = source[to];

			source[to] = PG_UINT32_MAX;
			rows[to] = from == i ? held_row : rows[from];
			if (stride > 0)
				memcpy(codes + to * stride,
					   from == i ? held_code : codes + from * stride, stride);
			else
				build->offsets[first + to] = from == i ? held_offset :
					build->offsets[first + from];
			to = from;
		}
	}
	pfree(held_code);
}

static uint8
row_level(const OmenBuild *build, uint32 row)
{
	const OmenBuildInput *input = build->input;
	uint64		seed = omen_build_mix(build->arena->params.seed, 2);

	if (input->level != NULL)
		return (uint8) input->level(input->arg, row);
	return (uint8) omen_graph_draw_level(omen_build_mix(seed, row));
}

/* Levels, and the rest as it is before any link is known */
static void
init_nodes(OmenBuild *build, uint32 first, uint32 end)
{
	uint32		node;

	for (node = first; node < end; node++)
	{
		build->levels[node] = row_level(build, build->rows[node]);
		build->nlinks[node] = 0;
		build->nscale[node] = 0;
		memset(&build->nlist[node], 0, sizeof(OmenListSize));
	}
}

/* Mark where coarse clusters begin; one full of equal vectors is cut up */
static void
mark_coarse(OmenBuild *build, uint32 first, const uint32 *starts,
			uint32 ncoarse)
{
	uint32	   *marks = coarse_marks(build) + first;
	uint32		i;

	memset(marks, 0, starts[ncoarse] * sizeof(uint32));
	for (i = 0; i < ncoarse; i++)
	{
		uint32		size = starts[i + 1] - starts[i];
		uint32		step = size > 4 * OMEN_COARSE_SIZE ? OMEN_COARSE_SIZE :
			size;
		uint32		at;

		/* the remainder joins the last piece, see the size of clusters[] */
		for (at = 0; at < size && size - at >= step; at += step)
			marks[starts[i] + at] = 1;
	}
}

/* Collect the marks */
static void
list_coarse(OmenBuild *build)
{
	uint32		nclusters = 0;
	uint32		node;

	for (node = 0; node < build->n; node++)
	{
		if (coarse_marks(build)[node])
			build->clusters[nclusters++] = node;
	}
	build->arena->nclusters = nclusters;
}
