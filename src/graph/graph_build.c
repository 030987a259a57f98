/*-------------------------------------------------------------------------
 *
 * graph_build.c
 *	  Bulk construction of the graph: its stages, and the arena.
 *
 * The method is described in README.md.  In short: rows are numbered by
 * coarse cluster (graph_build_place.c); candidates for links come from
 * comparing everybody with everybody inside small overlapping clusters
 * (graph_build_partition.c, graph_build_leaf.c); the candidates are pruned,
 * mirrored and pruned again (graph_build_prune.c); the last two steps are
 * repeated on the nodes of level >= 1, >= 2 and so on; and at last every node
 * is made reachable (graph_build_connect.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* Report to the caller after comparing so many bytes: under a millisecond */
#define REPORT_BYTES			(4 * 1024 * 1024)

/* Of a longer code, the rest is read ahead by the processor */
#define PREFETCHED_BYTES		256

static uint64 lay_out(OmenBuildArena *arena, const OmenQuantizer *quant,
					  const OmenBuildParams *params);
static OmenBuild *attach_arena(void *arena, const OmenQuantizer *quant);
static void allocate_scratch(OmenBuild *build);
static void allocate_cache(OmenBuild *build);
static bool take_links(OmenBuild *build);
static void fill_pages(OmenBuild *build);
static void clear_links(OmenBuild *build);
static void build_links(OmenBuild *build);
static void build_scale(OmenBuild *build);
static void collect_scale(OmenBuild *build);

uint64
omen_build_arena_size(const OmenQuantizer *quant,
					  const OmenBuildParams *params)
{
	OmenBuildArena layout;

	return lay_out(&layout, quant, params);
}

void
omen_build_arena_init(void *memory, const OmenQuantizer *quant,
					  const OmenBuildParams *params)
{
	OmenBuildArena *arena = (OmenBuildArena *) memory;
	uint64		n = params->n;
	int			i;

	lay_out(arena, quant, params);
	arena->nclusters = 0;
	arena->nsubset = 0;
	arena->rows_wanted = false;
	arena->other_links = OMEN_LINKS_NOT_TRIED;

	/* scales hold n/4 + n/16 + ... nodes */
	arena->total_work = n * OMEN_WORK_PLACE + n * OMEN_WORK_CONNECT +
		(n + n / 3) * (OMEN_WORK_CANDIDATES * arena->rounds +
					   OMEN_WORK_PRUNE);
	if (quant->shape.metric == OMEN_METRIC_IP)
		arena->total_work += n / 3 * (OMEN_WORK_CANDIDATES + OMEN_WORK_PRUNE);
	pg_atomic_init_u64(&arena->done_work, 0);
	pg_atomic_init_u32(&arena->next, 0);
	pg_atomic_init_u32(&arena->next_chunk, 0);
	for (i = 0; i < OMEN_MAX_RANGES; i++)
		pg_atomic_init_u32(&arena->inbox[i], OMEN_NO_CHUNK);
	pg_atomic_init_u32(&arena->fault, 0);
	pg_atomic_init_u32(&arena->nmissed, 0);
	pg_atomic_init_u32(&arena->nwanted, 0);
	pg_atomic_init_u32(&arena->nlong, 0);
}

/*
 * Derive the arena's header from the parameters.  ef_construction keeps its
 * meaning, breadth of the choice: it is the number of candidates that a node
 * collects, and decides how many clusterings they come from.  Lists have to
 * hold a node's links and as many from others.  The size may be more than can
 * be mapped where pointers have 32 bits; places mean nothing then.
 */
static uint64
lay_out(OmenBuildArena *arena, const OmenQuantizer *quant,
		const OmenBuildParams *params)
{
	uint64		n = params->n;
	uint64		at = CACHELINEALIGN(sizeof(OmenBuildArena));
	Size		pair_size = quant->shape.pair_size;

	Assert(params->max_links >= 2 && params->max_links <= OMEN_MAX_LINKS);
	Assert(params->n < (UINT32_C(1) << OMEN_LINK_NUMBER_BITS));

	arena->params = *params;
	arena->stride = TYPEALIGN(16, pair_size);
	arena->list_size = omen_build_list_size(params->ef_construction,
											params->max_links, params->n);
	arena->rounds = omen_build_rounds(params->ef_construction);

#define PART(field, bytes) \
	(arena->field = at, at += TYPEALIGN64(PG_CACHE_LINE_SIZE, bytes))

	PART(rows, n * sizeof(uint32));
	PART(levels, n);
	PART(codes, pair_size > 0 ? n * arena->stride :
		 params->code_bytes + n * MAXIMUM_ALIGNOF);
	PART(offsets, pair_size > 0 ? 0 : n * sizeof(Size));
	PART(lists, n * arena->list_size * sizeof(uint64));
	PART(nlist, n * sizeof(OmenListSize));
	PART(links, n * params->max_links * sizeof(uint32));
	PART(nlinks, n);
	PART(nscale, n);
	PART(pairs, n * 2 * OMEN_TOP_FANOUT * sizeof(uint32));
	PART(subset, n * sizeof(uint32));
	PART(starts, (OMEN_MAX_LEADERS + 1) * sizeof(uint32));
	/* as many more come of those that are cut up, each longer than this */
	PART(clusters, (omen_build_most_clusters(params->n) +
					n / OMEN_COARSE_SIZE + 1) * sizeof(uint32));
#undef PART

	omen_mail_lay_out(arena);
	arena->size = at;
	return at;
}

/* Clusterings that candidates come from */
int
omen_build_rounds(int ef_construction)
{
	return ef_construction < 48 ? 1 :
		Min(2 + ef_construction / 160, OMEN_MAX_ROUNDS);
}

/* Candidates that a node collects */
int
omen_build_list_size(int ef_construction, int max_links, double rows)
{
	int			size = Max(ef_construction, 2 * max_links);

	if (rows > OMEN_HUGE_SET)
		size += size / 2;
	return Max(Min(size, OMEN_SELECT_MAX / 2), 2 * max_links);
}

OmenBuild *
omen_build_graph(void *arena, const OmenQuantizer *quant,
				 const OmenBuildInput *input, const OmenBuildTeam *team)
{
	OmenBuild  *build = attach_arena(arena, quant);

	build->input = input;
	build->team = team;
	if (build->n == 0)
		return build;

	omen_build_place(build);
	allocate_cache(build);
	if (!take_links(build))
	{
		build_links(build);
		omen_build_link_long(build);
	}
	omen_build_favour_long(build);
	omen_build_connect(build);
	omen_build_order(build);
	return build;
}

/*
 * Let the participant that has another way to find links try it; the others
 * wait.  What is set and then not used is taken back.
 */
static bool
take_links(OmenBuild *build)
{
	const OmenBuildTeam *team = build->team;
	OmenBuildArena *arena = build->arena;

	if (arena->other_links == OMEN_LINKS_AWAITED)
	{
		if (team->code_cache == 0)
			fill_pages(build);
		omen_build_once(build, NULL);
	}
	if (team->find_links != NULL)
	{
		if (!team->find_links(team->arg, build))
			arena->other_links = OMEN_LINKS_FAILED;
		else if (team->judge_links != NULL)
			arena->other_links = OMEN_LINKS_DOUBTED;
		else
			arena->other_links = OMEN_LINKS_TRUSTED;
	}
	omen_build_once(build, NULL);
	if (arena->other_links == OMEN_LINKS_TRUSTED ||
		(arena->other_links == OMEN_LINKS_DOUBTED &&
		 omen_build_check_links(build)))
		return true;
	if (arena->other_links != OMEN_LINKS_NOT_TRIED)
		omen_build_once(build, clear_links);
	return false;
}

/*
 * While they are waited for: to have the kernel make a page for links takes longer
 * than it takes one participant to store them, and now all have time for it.
 */
static void
fill_pages(OmenBuild *build)
{
	uint32		first;
	uint32		end;

	while (omen_build_claim(build, build->n, OMEN_BUILD_CHUNK, &first, &end))
	{
		Size		size = (Size) (end - first) * build->max_links *
			sizeof(uint32);

		memset(omen_node_links(build, first), 0, size);
		omen_build_tick(build, size, 0);
	}
}

static void
clear_links(OmenBuild *build)
{
	memset(build->nlinks, 0, build->n);
	memset(build->nscale, 0, build->n);
}

/* Links at all scales */
static void
build_links(OmenBuild *build)
{
	build_scale(build);

	/* a node linked to all others has no use for more */
	while (build->n > build->max_links + 1 && build->scale < OMEN_MAX_LEVEL)
	{
		build->scale++;
		omen_build_once(build, collect_scale);
		build->nmembers = build->arena->nsubset;
		if (build->nmembers < 2)
			break;
		build_scale(build);
	}
}

/* Resolve the arena's parts where it is mapped, and allocate scratch */
static OmenBuild *
attach_arena(void *memory, const OmenQuantizer *quant)
{
	OmenBuildArena *arena = (OmenBuildArena *) memory;
	OmenBuild  *build = (OmenBuild *) palloc0(sizeof(OmenBuild));
	char	   *base = (char *) memory;

	build->arena = arena;
	build->quant = quant;
	build->rows = (uint32 *) (base + arena->rows);
	build->levels = (uint8 *) (base + arena->levels);
	build->codes = (uint8 *) (base + arena->codes);
	build->offsets = (Size *) (base + arena->offsets);
	build->lists = (uint64 *) (base + arena->lists);
	build->nlist = (OmenListSize *) (base + arena->nlist);
	build->links = (uint32 *) (base + arena->links);
	build->nlinks = (uint8 *) (base + arena->nlinks);
	build->nscale = (uint8 *) (base + arena->nscale);
	build->pairs = (uint32 *) (base + arena->pairs);
	build->subset = (uint32 *) (base + arena->subset);
	build->starts = (uint32 *) (base + arena->starts);
	build->clusters = (uint32 *) (base + arena->clusters);

	build->n = arena->params.n;
	build->max_links = arena->params.max_links;
	build->stride = arena->stride;
	build->list_size = arena->list_size;
	build->scale = 0;
	build->nmembers = build->n;

	if (build->n > 0)
		allocate_scratch(build);
	return build;
}

static Size
leaf_distances_size(void)
{
	return OMEN_LEAF_MAX * omen_pair_matrix_width(OMEN_LEAF_MAX) *
		sizeof(float);
}

static void
allocate_scratch(OmenBuild *build)
{
	int			width = omen_select_width(build->list_size);
	Size		size;

	omen_block_init(build, &build->leaders, OMEN_MAX_LEADERS);
	omen_block_init(build, &build->leaf, OMEN_LEAF_MAX);
	if (build->stride > 0)
	{
		size = omen_pair_matrix_size(build->quant, OMEN_LEAF_MAX);
		build->matrix = omen_pair_matrix_init(palloc(size), build->quant,
											  OMEN_LEAF_MAX);
	}
	size = (Size) build->list_size * width * sizeof(float);
	build->candidates = (float *) palloc(size);
	build->leaf_distances = (float *) palloc(leaf_distances_size());
	build->thinning = (OmenThinning *) palloc(sizeof(OmenThinning));
	build->distances = (float *) palloc(OMEN_MAX_LEADERS * sizeof(float));
	build->keys = (uint64 *) palloc(OMEN_MAX_KEYS * sizeof(uint64));
	omen_mail_attach(build);
}

static void
allocate_cache(OmenBuild *build)
{
	OmenCodeCache *cache = &build->cache;

	if (build->stride == 0 || build->team->code_cache < build->stride)
		return;
	cache->nslots = Min(build->team->code_cache / build->stride, build->n);
	cache->nodes = (uint32 *) palloc_extended(cache->nslots * sizeof(uint32),
											  MCXT_ALLOC_HUGE);
	cache->codes = (uint8 *) palloc_extended(cache->nslots * build->stride,
											 MCXT_ALLOC_HUGE);
	memset(cache->nodes, 0xFF, cache->nslots * sizeof(uint32));
}

const uint8 *
omen_build_cached_code(OmenBuild *build, uint32 node)
{
	OmenCodeCache *cache = &build->cache;
	uint32		slot = node % cache->nslots;
	uint8	   *code = cache->codes + slot * build->stride;

	if (cache->nodes[slot] != node)
	{
		cache->nodes[slot] = OMEN_NO_NODE;
		build->team->read_arena(build->team->arg,
								build->arena->codes + node * build->stride,
								code, build->stride);
		cache->nodes[slot] = node;
	}
	return code;
}

/*
 * What scratch comes to, with mail and the candidates of a cluster at work:
 * twice as large as aimed at, as the largest often are
 */
Size
omen_build_scratch_size(const OmenQuantizer *quant,
						const OmenBuildParams *params)
{
	OmenBuildArena arena;
	Size		members = Min(params->n,
							  2 * OMEN_TOP_FANOUT * OMEN_TOP_SIZE);
	Size		size;

	lay_out(&arena, quant, params);
	size = (OMEN_MAX_LEADERS + OMEN_LEAF_MAX) *
		(arena.stride > 0 ? arena.stride : sizeof(uint8 *));
	if (arena.stride > 0)
		size += omen_pair_matrix_size(quant, OMEN_LEAF_MAX);
	size += (Size) arena.list_size * omen_select_width(arena.list_size) *
		sizeof(float);
	size += leaf_distances_size() + sizeof(OmenThinning) +
		OMEN_MAX_LEADERS * sizeof(float) + OMEN_MAX_KEYS * sizeof(uint64);
	size += members * (omen_build_leaf_keep(&arena, params->n) *
					   OMEN_LEAF_ROOM * sizeof(uint64) +
					   (2 + 2 * OMEN_LEAF_FANOUT) * sizeof(uint32));
	size += omen_mail_scratch_size(&arena);
	return size;
}

/* Bytes of mail that are under way at a time, about */
uint64
omen_build_mail_size(const OmenQuantizer *quant,
					 const OmenBuildParams *params)
{
	OmenBuildArena arena;

	lay_out(&arena, quant, params);
	return omen_mail_size(&arena);
}

/* Candidates and links among the nodes of one scale */
static void
build_scale(OmenBuild *build)
{
	int			rounds = build->arena->rounds;
	int			round;

	/* the only leaf compares all with all: a second look finds nothing new */
	if (build->nmembers <= OMEN_LEAF_MAX)
		rounds = 1;
	for (round = 0; round < rounds; round++)
		omen_build_candidates(build, round);
	omen_build_prune(build);
}

/* Start a scale: list the nodes of that level or above, of those before */
static void
collect_scale(OmenBuild *build)
{
	uint32		nsubset = 0;

	for (uint32 i = 0; i < build->nmembers; i++)
	{
		uint32		node = build->scale == 1 ? i : build->subset[i];

		if (build->levels[node] < build->scale)
			continue;
		build->subset[nsubset++] = node;
		memset(&build->nlist[node], 0, sizeof(OmenListSize));
	}
	build->arena->nsubset = nsubset;
}

/*
 * Wait for everybody; one of them runs setup(), if any, while the others
 * wait, and the work of the next stage can be claimed from its beginning.
 */
void
omen_build_once(OmenBuild *build, void (*setup) (OmenBuild *))
{
	if (build->team->barrier(build->team->arg))
	{
		pg_atomic_write_u32(&build->arena->next, 0);
		if (setup != NULL)
			setup(build);
	}
	build->team->barrier(build->team->arg);
}

/* Take the next chunk of work of this stage; false if there is none left */
bool
omen_build_claim(OmenBuild *build, uint32 total, uint32 chunk,
				 uint32 *first, uint32 *end)
{
	pg_atomic_uint32 *next = &build->arena->next;

	/* look before adding, so that latecomers cannot make it wrap around */
	if (pg_atomic_read_u32(next) >= total)
		return false;
	*first = pg_atomic_fetch_add_u32(next, chunk);
	if (*first >= total)
		return false;
	*end = Min(*first + chunk, total);
	return true;
}

/*
 * Called from every loop, with the bytes of codes compared and the work (in
 * units of OMEN_WORK_*) done since the last call.  The caller's function may
 * not return.
 */
void
omen_build_tick(OmenBuild *build, Size compared, uint64 work)
{
	OmenBuildArena *arena = build->arena;
	uint64		done;

	build->idle_work += compared;
	build->new_work += work;
	if (build->idle_work < REPORT_BYTES)
		return;

	done = pg_atomic_add_fetch_u64(&arena->done_work, build->new_work);
	build->idle_work = 0;
	build->new_work = 0;
	build->team->progress(build->team->arg, Min(done, arena->total_work),
						  arena->total_work);
}

void
omen_block_init(const OmenBuild *build, OmenCodeBlock *block, int size)
{
	block->n = 0;
	block->size = size;
	block->codes = NULL;
	block->pointers = NULL;
	if (build->stride > 0)
	{
		char	   *memory = palloc(size * build->stride + PG_CACHE_LINE_SIZE);

		block->codes = (uint8 *) CACHELINEALIGN(memory);
	}
	else
		block->pointers = (const uint8 **) palloc(size * sizeof(uint8 *));
}

/* Append a code; one of varying size must stay where it is */
void
omen_block_add(const OmenBuild *build, OmenCodeBlock *block,
			   const uint8 *code, Size size)
{
	Assert(block->n < block->size);

	if (build->stride > 0)
		memcpy(block->codes + block->n * build->stride, code, size);
	else
		block->pointers[block->n] = code;
	block->n++;
}

/*
 * Graph distances from a code to those of a block, from index "from" on;
 * distances[i] belongs to index i.  Rounding may leave a distance of equal
 * codes below zero, and an overflow gives NaN: both become 0, for distances
 * are sorted by their bits.
 */
void
omen_block_distances(const OmenBuild *build, const OmenCodeBlock *block,
					 int from, const uint8 *code, float *distances)
{
	int			i;

	if (from >= block->n)
		return;
	if (build->stride > 0)
		omen_quant_pair_block(build->quant, code,
							  block->codes + from * build->stride,
							  build->stride, block->n - from,
							  distances + from);
	else
	{
		for (i = from; i < block->n; i++)
			distances[i] = omen_quant_pair_distance(build->quant, code,
													block->pointers[i]);
	}
	for (i = from; i < block->n; i++)
		distances[i] = distances[i] > 0 ? distances[i] : 0;
}

void
omen_build_task(const OmenBuild *build, OmenBuildTask *task)
{
	const OmenBuildArena *arena = build->arena;

	task->n = build->n;
	task->max_links = build->max_links;
	task->scale_links = omen_graph_scale_links(1, build->max_links);
	task->list_size = build->list_size;
	task->rounds = arena->rounds;
	task->seed = arena->params.seed;
	task->stride = build->stride;
	task->codes = build->codes;
	task->levels = build->levels;
	task->clusters = build->clusters;
	task->nclusters = arena->nclusters;
}

void
omen_build_set_links(OmenBuild *build, uint32 first, uint32 count,
					 const void *links, const uint8 *nlinks,
					 const uint8 *nscale)
{
	Assert(first <= build->n && count <= build->n - first);

	memcpy(omen_node_links(build, first), links,
		   (Size) count * build->max_links * sizeof(uint32));
	memcpy(build->nlinks + first, nlinks, count);
	memcpy(build->nscale + first, nscale, count);
}

const uint32 *
omen_build_get_links(const OmenBuild *build, uint32 node, int *nlinks)
{
	Assert(node < build->n);

	*nlinks = build->nlinks[node];
	return omen_node_links(build, node);
}

uint32
omen_build_row(const OmenBuild *build, uint32 position)
{
	Assert(position < build->n);
	return build->rows[build->order[position]];
}

uint32
omen_build_start(const OmenBuild *build)
{
	uint32		node = omen_build_start_node(build);
	uint32		position = 0;

	while (build->order[position] != node)
		position++;
	return position;
}

int
omen_build_level(const OmenBuild *build, uint32 position)
{
	Assert(position < build->n);
	return build->levels[build->order[position]];
}

const uint8 *
omen_build_code(OmenBuild *build, uint32 position)
{
	Assert(position < build->n);
	return omen_fetch_code(build, build->order[position]);
}

void
omen_build_prefetch_place(const OmenBuild *build, uint32 position)
{
	__builtin_prefetch(&build->order[position]);
}

void
omen_build_prefetch_code(const OmenBuild *build, uint32 position)
{
	const uint8 *code;

	/* others are not used where they lie, or it is not known where */
	if (build->stride == 0 || build->cache.nslots > 0)
		return;
	code = omen_node_code(build, build->order[position]);
	for (Size at = 0; at < Min(build->stride, PREFETCHED_BYTES);
		 at += OMEN_CACHE_LINE)
		__builtin_prefetch(code + at);
}

const uint32 *
omen_build_links(const OmenBuild *build, uint32 position, int *nlinks,
				 int *nscale)
{
	uint32		node;

	Assert(position < build->n);
	node = build->order[position];
	*nlinks = build->nlinks[node];
	*nscale = build->nscale[node];
	return omen_node_links(build, node);
}

uint32
omen_build_clusters(const OmenBuild *build, const uint32 **first)
{
	*first = build->clusters;
	return build->n > 0 ? build->arena->nclusters : 0;
}
