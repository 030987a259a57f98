/*-------------------------------------------------------------------------
 *
 * graph_bench.c
 *	  Build a graph over a set of vectors outside the server, and measure it.
 *
 *	  graph_bench [-m links/2] [-e ef_construction] [-n rows] [-q queries]
 *				  [-t threads] [-c] [-s seed] [-g] [-r times] base query [truth]
 *
 * "make graph-bench" makes it, below build/.
 *
 * base and query are *.u8bin or *.npy (float16, two dimensions) files, truth
 * is an *.ivecs file, ignored and computed anew if -n leaves rows out.
 * -c: cosine distance instead of Euclidean.  One line of the result gives
 * CPU seconds and the degrees, each further one recall@10, hops and
 * distances per query at one ef, of a best-first search with exact distances
 * that starts from the nearest of 512 nodes.
 *
 * -g: then build it again with the steps of omendb-gpu-build, on the device if
 * there is one that this program was made for, and say how long each took, and
 * how many times faster that is than the threads were.  Vectors come from the
 * memory of this process, not through a pipe.  -r: so many times, as the first time
 * on a device is slower.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/build.h"
#include "gpu/helper/number.h"
#include "graph/graph.h"

#define K			10
#define NENTRIES	512
#define MAX_THREADS 64

typedef struct Matrix
{
	uint32		n;
	uint32		dims;
	float	   *values;
} Matrix;

typedef struct Team
{
	pthread_barrier_t barrier;
	void	   *arena;
	const OmenQuantizer *quant;
	OmenBuildInput input;
	OmenBuildTeam team;
	int			mail;			/* file descriptor */
	uint64		done;
	OmenBuild  *result;
	struct Helper *helper;		/* used by the first thread, or NULL */
} Team;

/* What a GPU would be asked for, with what it took */
typedef struct Helper
{
	const BackendOps *ops;
	Backend    *backend;
	uint32	   *rows;			/* of nodes */
	uint8	   *levels;			/* of rows */

	/* seconds */
	double		load;
	double		divide;
	double		link;
	double		fetch;
} Helper;

/* The steps of the backend, which are timed one by one */
static const BackendOps *steps;
static struct
{
	double		enter;
	double		assign;
	double		deal;
	double		compare;
	double		connect;
}			spent;

typedef struct Encoded
{
	Size		size;
	uint8	   *codes;
} Encoded;

/* A thread's share of rows */
typedef struct Share
{
	void		(*work) (void *arg, uint32 first, uint32 end);
	void	   *arg;
	uint32		first;
	uint32		end;
} Share;

/* What is worked on in shares */
typedef struct Encoding
{
	const OmenQuantizer *quant;
	const Matrix *base;
	Encoded    *encoded;
} Encoding;

typedef struct Search
{
	const Matrix *base;
	const Matrix *query;
	float	   *truth;
} Search;

typedef struct Found
{
	float		distance;
	uint32		node;
	bool		expanded;
} Found;

static void load(const char *path, uint32 limit, Matrix *matrix);
static void normalize(Matrix *matrix);
static OmenQuantizer *train(const Matrix *base, OmenMetric metric,
							Encoded *encoded, int nthreads);
static OmenBuild *build(Team *team, const OmenBuildParams *params,
						const Encoded *encoded, int nthreads);
static bool want_rows(void *arg, OmenBuild *build);
static uint32 find_clusters(void *arg, OmenBuild *build, uint32 *clusters,
							uint32 most);
static bool find_links(void *arg, OmenBuild *build);
static void build_by_helper(Team *team, const OmenBuildParams *params,
							const Encoded *encoded, int nthreads, int times,
							double seconds);
static void report_degrees(const OmenBuild *graph, uint32 n);
static float *find_truth(const Matrix *base, const Matrix *query,
						 const char *path, int nthreads);
static void measure(const OmenBuild *graph, const Matrix *base,
					const Matrix *query, const float *truth, int ef);

static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 +
		usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

static double
wall_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	OmenBuildParams params = {0};
	OmenMetric	metric = OMEN_METRIC_L2;
	Matrix		base;
	Matrix		query;
	Encoded		encoded;
	Team		team = {0};
	uint32		limit = 0;
	uint32		nqueries = 1000;
	int			nthreads = 1;
	bool		use_helper = false;
	int			times = 1;
	int			option;
	double		cpu;
	double		wall;
	float	   *truth;
	int			ef;
	OmenBuild  *graph;

	params.max_links = 32;
	params.ef_construction = 64;
	params.seed = 1;
	while ((option = getopt(argc, argv, "m:e:n:q:t:s:cgr:")) != -1)
	{
		switch (option)
		{
			case 'm':
				params.max_links = 2 * atoi(optarg);
				break;
			case 'e':
				params.ef_construction = atoi(optarg);
				break;
			case 'n':
				limit = atoi(optarg);
				break;
			case 'q':
				nqueries = atoi(optarg);
				break;
			case 't':
				nthreads = Min(atoi(optarg), MAX_THREADS);
				break;
			case 's':
				params.seed = atoi(optarg);
				break;
			case 'c':
				metric = OMEN_METRIC_COSINE;
				break;
			case 'g':
				use_helper = true;
				break;
			case 'r':
				times = Max(atoi(optarg), 1);
				break;
			default:
				return 2;
		}
	}
	if (argc - optind < 2)
	{
		fprintf(stderr, "usage: graph_bench [options] base query [truth]\n");
		return 2;
	}

	omen_distance_init();
	omen_quant_init_kernels();

	load(argv[optind], limit, &base);
	load(argv[optind + 1], nqueries, &query);
	if (metric == OMEN_METRIC_COSINE)
	{
		normalize(&base);
		normalize(&query);
	}
	truth = find_truth(&base, &query,
					   limit == 0 && argc - optind > 2 ? argv[optind + 2] :
					   NULL, nthreads);

	cpu = cpu_seconds();
	team.quant = train(&base, metric, &encoded, nthreads);
	printf("rows %u dims %u: encode %.2f CPU-s, ", base.n, base.dims,
		   cpu_seconds() - cpu);
	params.n = base.n;
	cpu = cpu_seconds();
	wall = wall_seconds();
	graph = build(&team, &params, &encoded, nthreads);
	wall = wall_seconds() - wall;
	printf("build %.2f CPU-s, %.2f s, arena %.0f MB, done %.3f\n",
		   cpu_seconds() - cpu, wall,
		   omen_build_arena_size(team.quant, &params) / 1e6,
		   team.done / 1e6);

	report_degrees(graph, base.n);
	for (ef = 40; ef <= 320; ef *= 2)
		measure(graph, &base, &query, truth, ef);
	if (use_helper)
	{
		build_by_helper(&team, &params, &encoded, nthreads, times, wall);
		report_degrees(team.result, base.n);
		for (ef = 40; ef <= 320; ef *= 2)
			measure(team.result, &base, &query, truth, ef);
	}
	return 0;
}

static void *
allocate(Size size)
{
	void	   *memory = calloc(1, size + 64);

	if (memory == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return memory;
}

static void
read_exactly(FILE *file, void *dst, Size size, const char *path)
{
	if (fread(dst, 1, size, file) != size)
	{
		fprintf(stderr, "could not read %s\n", path);
		exit(1);
	}
}

/* Shape of a numpy array of two dimensions, from its header */
static void
read_npy_shape(FILE *file, Matrix *matrix, const char *path)
{
	uint8		head[10];
	char	   *text;
	char	   *shape;
	uint16		size;

	read_exactly(file, head, sizeof(head), path);
	memcpy(&size, head + 8, sizeof(size));
	text = allocate(size);
	read_exactly(file, text, size, path);
	shape = strstr(text, "'shape': (");
	if (strstr(text, "<f2") == NULL || shape == NULL ||
		sscanf(shape, "'shape': (%u, %u", &matrix->n, &matrix->dims) != 2)
	{
		fprintf(stderr, "%s is not a float16 matrix\n", path);
		exit(1);
	}
	free(text);
}

static void
load(const char *path, uint32 limit, Matrix *matrix)
{
	FILE	   *file = fopen(path, "rb");
	bool		half = strstr(path, ".npy") != NULL;
	void	   *raw;
	Size		n;
	Size		i;

	if (file == NULL)
	{
		fprintf(stderr, "could not open %s\n", path);
		exit(1);
	}
	if (half)
		read_npy_shape(file, matrix, path);
	else
	{
		read_exactly(file, &matrix->n, sizeof(uint32), path);
		read_exactly(file, &matrix->dims, sizeof(uint32), path);
	}
	if (limit > 0)
		matrix->n = Min(matrix->n, limit);

	n = (Size) matrix->n * matrix->dims;
	raw = allocate(n * (half ? 2 : 1));
	read_exactly(file, raw, n * (half ? 2 : 1), path);
	fclose(file);
	matrix->values = allocate(n * sizeof(float));
	if (half)
		omen_distance->half_to_float(n, raw, matrix->values);
	else
	{
		for (i = 0; i < n; i++)
			matrix->values[i] = ((uint8 *) raw)[i];
	}
	free(raw);
}

static void *
work_on_share(void *arg)
{
	Share	   *share = arg;

	share->work(share->arg, share->first, share->end);
	return NULL;
}

static void
in_parallel(int nthreads, uint32 n, void (*work) (void *, uint32, uint32),
			void *arg)
{
	pthread_t	threads[MAX_THREADS];
	Share		shares[MAX_THREADS];

	for (int i = 0; i < nthreads; i++)
	{
		shares[i] = (Share) {work, arg, (uint64) n * i / nthreads,
			(uint64) n * (i + 1) / nthreads};
		pthread_create(&threads[i], NULL, work_on_share, &shares[i]);
	}
	for (int i = 0; i < nthreads; i++)
		pthread_join(threads[i], NULL);
}

static void
normalize(Matrix *matrix)
{
	uint32		i;
	uint32		j;

	for (i = 0; i < matrix->n; i++)
	{
		float	   *row = matrix->values + (Size) i * matrix->dims;
		float		norm;

		norm = sqrtf(omen_distance->inner_product_f32(matrix->dims, row, row));
		for (j = 0; j < matrix->dims; j++)
			row[j] /= norm;
	}
}

static void
encode(void *arg, uint32 first, uint32 end)
{
	Encoding   *encoding = arg;
	const OmenQuantizer *quant = encoding->quant;
	const Matrix *base = encoding->base;
	Encoded    *encoded = encoding->encoded;
	float	   *scratch = allocate(3 * (base->dims + 64) * sizeof(float));
	uint8	   *own = allocate(quant->shape.own_size);

	for (Size i = first; i < end; i++)
	{
		omen_quant_encode_own(quant, base->values + i * base->dims, own,
							  scratch);
		omen_quant_own_to_pair(quant, own, encoded->codes + i * encoded->size);
	}
	free(own);
	free(scratch);
}

/* A quantizer for the base set, and the pair codes of its rows */
static OmenQuantizer *
train(const Matrix *base, OmenMetric metric, Encoded *encoded, int nthreads)
{
	OmenCodeShape shape;
	OmenQuantizer *quant;
	float	   *mean = allocate(base->dims * sizeof(float));
	Encoding	encoding;
	Size		i;
	Size		j;

	if (!omen_quant_choose_shape(OMEN_ELEMENT_F32, metric, base->dims,
								 OMEN_QUANTIZER_AUTO, &shape))
		exit(1);
	for (i = 0; i < base->n; i++)
	{
		for (j = 0; j < base->dims; j++)
			mean[j] += base->values[i * base->dims + j] / base->n;
	}
	quant = omen_quant_init(allocate(omen_quant_size(&shape)), &shape, mean,
							0);
	encoded->size = shape.pair_size;
	encoded->codes = allocate(base->n * encoded->size);
	encoding = (Encoding) {quant, base, encoded};
	in_parallel(nthreads, base->n, encode, &encoding);
	return quant;
}

static const uint8 *
get_code(void *arg, uint32 row, Size *size)
{
	Encoded    *encoded = (Encoded *) arg;

	*size = encoded->size;
	return encoded->codes + row * encoded->size;
}

static bool
wait_for_team(void *arg)
{
	Team	   *team = (Team *) arg;

	return pthread_barrier_wait(&team->barrier) ==
		PTHREAD_BARRIER_SERIAL_THREAD;
}

static void
note_progress(void *arg, uint64 done, uint64 total)
{
	((Team *) arg)->done = done * 1000000 / total;
}

static void
write_mail(void *arg, Size offset, const void *data, Size len)
{
	if (pwrite(((Team *) arg)->mail, data, len, offset) != (ssize_t) len)
		abort();
}

static void
read_mail(void *arg, Size offset, void *data, Size len)
{
	if (pread(((Team *) arg)->mail, data, len, offset) != (ssize_t) len)
		abort();
}

static void *
participate(void *arg)
{
	Team	   *team = (Team *) arg;
	OmenBuild  *result;

	result = omen_build_graph(team->arena, team->quant, &team->input,
							  &team->team);
	if (wait_for_team(team))
		team->result = result;
	return NULL;
}

/* The first thread, which asks the helper if there is one */
static void
lead(Team *team)
{
	OmenBuildTeam first = team->team;
	OmenBuild  *result;

	if (team->helper != NULL)
	{
		first.want_rows = want_rows;
		first.find_clusters = find_clusters;
		first.find_links = find_links;
	}
	result = omen_build_graph(team->arena, team->quant, &team->input, &first);
	if (wait_for_team(team))
		team->result = result;
}

static OmenBuild *
build(Team *team, const OmenBuildParams *params, const Encoded *encoded,
	  int nthreads)
{
	pthread_t	threads[MAX_THREADS];
	int			i;

	team->arena = allocate(omen_build_arena_size(team->quant, params));
	omen_build_arena_init(team->arena, team->quant, params);
	team->input.arg = unconstify(Encoded *, encoded);
	team->input.pair_code = get_code;
	team->team.arg = team;
	team->team.barrier = wait_for_team;
	team->team.progress = note_progress;
	team->team.write_mail = write_mail;
	team->team.read_mail = read_mail;
	team->mail = fileno(tmpfile());
	pthread_barrier_init(&team->barrier, NULL, nthreads);
	for (i = 1; i < nthreads; i++)
		pthread_create(&threads[i], NULL, participate, team);
	lead(team);
	for (i = 1; i < nthreads; i++)
		pthread_join(threads[i], NULL);
	return team->result;
}

/* --- with the helper's steps --- */

static double
since(double *start)
{
	double		before = *start;

	*start = wall_seconds();
	return *start - before;
}

static void
check(const Helper *helper, bool good)
{
	if (good)
		return;
	fprintf(stderr, "%s: %s\n", helper->ops->name, helper->backend->fault);
	exit(1);
}

static void
make_shape(const Team *team, const OmenBuildTask *task, BackendShape *shape)
{
	const OmenCodeShape *codes = &team->quant->shape;

	memset(shape, 0, sizeof(*shape));
	shape->nnodes = task->n;
	shape->spare = omen_gpu_number_spare(task->n);
	shape->element = OMEN_GPU_CODE8;
	shape->metric = OMEN_GPU_L2;
	shape->dims = codes->code_dims;
	shape->stride = task->stride;
	shape->max_norm2 = team->quant->max_norm2;
	shape->mean_norm2 = team->quant->mean_norm2;
	shape->max_links = task->max_links;
	shape->scale_links = task->scale_links;
	shape->list_size = task->list_size;
	shape->host_memory = UINT64_MAX;
}

/* All rows to the backend; returns the codes of the sample */
static uint8 *
load_rows(Helper *helper, const OmenBuildTask *task)
{
	uint8	   *sample = allocate((Size) omen_gpu_sample_size(task->n) *
								  task->stride);

	memcpy(helper->levels, task->levels, task->n);
	check(helper, backend_load(helper->backend, 0, task->n, helper->levels,
							   task->codes));
	for (uint32 i = 0; i < omen_gpu_sample_size(task->n); i++)
	{
		uint32		row = omen_gpu_sample_row(task->seed, task->n, i);

		memcpy(sample + (Size) i * task->stride,
			   task->codes + (Size) row * task->stride, task->stride);
	}
	return sample;
}

static bool
want_rows(void *arg, OmenBuild *build)
{
	return true;
}

static uint32
find_clusters(void *arg, OmenBuild *build, uint32 *clusters, uint32 most)
{
	Team	   *team = arg;
	Helper	   *helper = team->helper;
	OmenBuildTask task;
	BackendShape shape;
	uint8	   *sample;
	char		why[200] = "";
	uint32		nclusters = 0;
	double		start = wall_seconds();

	omen_build_task(build, &task);
	make_shape(team, &task, &shape);
	helper->backend = helper->ops->create(&shape, why, sizeof(why));
	if (helper->backend == NULL)
	{
		fprintf(stderr, "%s: %s\n", helper->ops->name, why);
		exit(1);
	}
	helper->backend->ops = helper->ops;
	helper->rows = allocate(task.n * sizeof(uint32));
	helper->levels = allocate(task.n);
	sample = load_rows(helper, &task);
	helper->load = since(&start);

	check(helper, omen_gpu_number(helper->backend, task.seed, sample, clusters,
								  helper->rows));
	for (uint32 row = 0; row < task.n; row++)
		nclusters = Max(nclusters, clusters[row] + 1);
	free(sample);
	helper->divide = since(&start);
	return nclusters;
}

static void
ignore_progress(void *arg, uint64_t done, uint64_t total)
{
}

static bool
find_links(void *arg, OmenBuild *build)
{
	Helper	   *helper = ((Team *) arg)->helper;
	OmenBuildTask task;
	BuildParams params = {.progress = ignore_progress};
	BackendLinks links;
	double		start = wall_seconds();

	omen_build_task(build, &task);
	params.levels = helper->levels;
	params.order = helper->rows;
	params.rounds = task.rounds;
	params.seed = task.seed;
	check(helper, omen_gpu_build(helper->backend, &params));
	helper->link = since(&start);

	for (uint32 first = 0; first < task.n; first += links.count)
	{
		check(helper, helper->ops->fetch(helper->backend, first, &links));
		omen_build_set_links(build, first, links.count, links.links,
							 links.nlinks, links.nscale);
	}
	helper->fetch = since(&start);
	return true;
}

#define TIMED(step, parameters, arguments) \
static bool \
timed_##step parameters \
{ \
	double		start = wall_seconds(); \
	bool		good = steps->step arguments; \
\
	spent.step += wall_seconds() - start; \
	return good; \
}

TIMED(enter, (Backend *backend, const uint32_t *nodes, uint32_t count),
	  (backend, nodes, count))
TIMED(assign, (Backend *backend, const BackendDivision *division,
			   uint32_t *counts, uint32_t *cells),
	  (backend, division, counts, cells))
TIMED(deal, (Backend *backend, const BackendDivision *division,
			 const bool *cut, const uint32_t *counts),
	  (backend, division, cut, counts))
TIMED(compare, (Backend *backend, uint32_t nparts, const uint32_t *starts,
				int keep, bool thin),
	  (backend, nparts, starts, keep, thin))
TIMED(connect, (Backend *backend, int scale), (backend, scale))

static const BackendOps *
timed_steps(const BackendOps *ops)
{
	static BackendOps timed;

	timed = *ops;
	timed.enter = timed_enter;
	timed.assign = timed_assign;
	timed.deal = timed_deal;
	timed.compare = timed_compare;
	timed.connect = timed_connect;
	return &timed;
}

/* Which backend: the device that there is, or the processor */
static const BackendOps *
choose_backend(void)
{
#ifdef OMEN_GPU_DEVICE
	char		name[100];
	char		why[200];
	uint64_t	memory;

	if (omen_device_probe(name, sizeof(name), &memory, why, sizeof(why)))
	{
		printf("device: %s, %.1f GB free\n", name, memory / 1e9);
		return omen_device_ops();
	}
	printf("no device: %s\n", why);
#endif
	return &omen_backend_cpu;
}

/* seconds: what the threads took without */
static void
build_once_by_helper(Team *team, const OmenBuildParams *params,
					 const Encoded *encoded, int nthreads, double seconds)
{
	Helper		helper = {.ops = timed_steps(steps)};
	double		wall;
	double		rest;

	memset(&spent, 0, sizeof(spent));
	team->helper = &helper;
	free(team->arena);
	wall = wall_seconds();
	build(team, params, encoded, nthreads);
	wall = wall_seconds() - wall;
	rest = wall - helper.load - helper.divide - helper.link - helper.fetch;
	printf("%s: %.3f s, of which load %.3f, clusters %.3f, links %.3f, fetch %.3f, "
		   "the rest by %d threads %.3f\n", helper.ops->name, wall,
		   helper.load, helper.divide, helper.link, helper.fetch, nthreads,
		   rest);
	printf("of clusters and links: enter %.3f, assign %.3f, deal %.3f, compare %.3f, "
		   "connect %.3f\n", spent.enter, spent.assign, spent.deal,
		   spent.compare, spent.connect);
	printf("%.3g distances, %.1f Tops/s of products in clusters and links\n",
		   (double) helper.backend->pairs,
		   2e-12 * helper.backend->pairs * helper.backend->shape.dims /
		   (helper.divide + helper.link));
	printf("times as fast as %d threads: %.2f\n", nthreads, seconds / wall);
	helper.ops->destroy(helper.backend);
	free(helper.rows);
	free(helper.levels);
}

static void
build_by_helper(Team *team, const OmenBuildParams *params,
				const Encoded *encoded, int nthreads, int times, double seconds)
{
	steps = choose_backend();
	for (int i = 0; i < times; i++)
		build_once_by_helper(team, params, encoded, nthreads, seconds);
}

static void
report_degrees(const OmenBuild *graph, uint32 n)
{
	uint32	   *indegree = allocate(n * sizeof(uint32));
	const uint32 *first;
	uint64		nlinks = 0;
	uint64		nscale = 0;
	uint32		few = 0;
	uint32		most = 0;
	uint32		i;
	int			j;

	for (i = 0; i < n; i++)
	{
		int			count;
		int			scale;
		const uint32 *links = omen_build_links(graph, i, &count, &scale);

		nlinks += count;
		nscale += scale;
		for (j = 0; j < count; j++)
			indegree[links[j]]++;
	}
	for (i = 0; i < n; i++)
	{
		few += indegree[i] < 4;
		most = Max(most, indegree[i]);
	}
	printf("degree %.1f, scale links %.2f, in-degree < 4: %.2f %%, most %u, "
		   "clusters %u\n", (double) nlinks / n, (double) nscale / n,
		   100.0 * few / n, most, omen_build_clusters(graph, &first));
	free(indegree);
}

static void
find_some_truth(void *arg, uint32 first, uint32 end)
{
	Search	   *search = arg;
	const Matrix *base = search->base;

	for (uint32 i = first; i < end; i++)
	{
		const float *q = search->query->values + (Size) i * base->dims;
		float		best[K];
		int			nbest = 0;

		for (Size j = 0; j < base->n; j++)
		{
			float		d = omen_distance->l2_squared_f32(base->dims, q,
														  base->values + j * base->dims);
			int			at;

			if (nbest == K && d >= best[K - 1])
				continue;
			if (nbest < K)
				nbest++;
			for (at = nbest - 1; at > 0 && d < best[at - 1]; at--)
				best[at] = best[at - 1];
			best[at] = d;
		}
		search->truth[i] = best[nbest - 1];
	}
}

/* The same from a file of the numbers of 101 rows for each query */
static void
read_truth(const char *path, Search *search)
{
	const Matrix *base = search->base;
	FILE	   *file = fopen(path, "rb");
	uint32		row[101];

	if (file == NULL)
	{
		fprintf(stderr, "could not open %s\n", path);
		exit(1);
	}
	for (uint32 i = 0; i < search->query->n; i++)
	{
		read_exactly(file, row, sizeof(row), path);
		search->truth[i] =
			omen_distance->l2_squared_f32(base->dims, search->query->values +
										  (Size) i * base->dims, base->values +
										  (Size) row[K] * base->dims);
	}
	fclose(file);
}

/* Distance of each query's K-th neighbour: a hit is what is no farther */
static float *
find_truth(const Matrix *base, const Matrix *query, const char *path,
		   int nthreads)
{
	Search		search = {base, query, allocate(query->n * sizeof(float))};

	if (path != NULL)
		read_truth(path, &search);
	else
		in_parallel(nthreads, query->n, find_some_truth, &search);
	return search.truth;
}

/* Insert into a pool of at most ef, sorted by distance */
static int
insert_found(Found *pool, int npool, int ef, float distance, uint32 node)
{
	int			at;

	if (npool > 0 && npool == ef && distance >= pool[npool - 1].distance)
		return npool;
	if (npool < ef)
		npool++;
	for (at = npool - 1; at > 0 && distance < pool[at - 1].distance; at--)
		pool[at] = pool[at - 1];
	pool[at].distance = distance;
	pool[at].node = node;
	pool[at].expanded = false;
	return npool;
}

static void
measure(const OmenBuild *graph, const Matrix *base, const Matrix *query,
		const float *truth, int ef)
{
	OmenDistanceF32 distance = omen_distance->l2_squared_f32;
	uint32	   *seen = allocate(base->n * sizeof(uint32));
	Found	   *pool = allocate((ef + 1) * sizeof(Found));
	uint64		hops = 0;
	uint64		computed = 0;
	uint64		hits = 0;
	uint32		i;
	int			j;

	for (i = 0; i < query->n; i++)
	{
		const float *q = query->values + (Size) i * query->dims;
		int			npool = 0;
		uint32		entry = 0;
		float		nearest = INFINITY;

		for (j = 0; j < NENTRIES; j++)
		{
			uint32		node = (uint64) j * base->n / NENTRIES;
			float		d = distance(base->dims, q, base->values +
									 (Size) omen_build_row(graph, node) *
									 base->dims);

			if (d < nearest)
			{
				nearest = d;
				entry = node;
			}
		}
		npool = insert_found(pool, 0, ef, nearest, entry);
		seen[entry] = i + 1;
		for (;;)
		{
			const uint32 *links;
			int			nlinks;
			int			nscale;
			int			at = 0;

			while (at < npool && pool[at].expanded)
				at++;
			if (at == npool)
				break;
			pool[at].expanded = true;
			hops++;
			links = omen_build_links(graph, pool[at].node, &nlinks, &nscale);
			for (j = 0; j < nlinks; j++)
			{
				if (seen[links[j]] == i + 1)
					continue;
				seen[links[j]] = i + 1;
				computed++;
				npool = insert_found(pool, npool, ef,
									 distance(base->dims, q, base->values +
											  (Size) omen_build_row(graph,
																	links[j]) *
											  base->dims),
									 links[j]);
			}
		}
		for (j = 0; j < Min(K, npool); j++)
			hits += pool[j].distance <= truth[i] * 1.000001f;
	}
	printf("ef %d: recall %.4f, hops %.1f, distances %.0f\n", ef,
		   (double) hits / K / query->n, (double) hops / query->n,
		   (double) computed / query->n);
	free(pool);
	free(seen);
}
