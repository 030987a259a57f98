/*-------------------------------------------------------------------------
 *
 * hnsw_gpu.c
 *	  Links of a bulk build from a helper program that has a device.
 *
 * Of a build, the helper does what takes most of the time: it divides the rows
 * into coarse clusters, by which nodes are numbered, and it finds links.  By then
 * rows have been read and encoded; their pair codes are what it is given, in the file
 * of the arena.  Its answers are checked, and if anything is wrong with one, the
 * build goes on without, from the same codes (omen_build_graph).  What comes after is the same
 * either way: everything is made reachable, put in order, and written.
 *
 * The helper is started before the table is read, and looks for a device meanwhile,
 * which takes it a part of a second.  That there is none is found out when it says
 * so, and under omendb.gpu_build = on the table is not read to its end then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"

#include "base/guc.h"
#include "gpu/gpu_process.h"
#include "hnsw/hnsw_build.h"

/*
 * Under "auto", a graph that the processors are estimated to build within so many
 * seconds is left to them: a device takes as long until it is ready.
 */
#define DEVICE_START		1.0

/* Fewer rows are not worth an estimate: their graph hardly ever takes that long */
#define LEAST_ROWS			1000

/* The helper installed beside the library */
#define HELPER_NAME			"omendb-gpu-build"

/* Pair codes of 8 bits are sent as they are */
StaticAssertDecl(sizeof(OmenGpuCodeHead) == sizeof(OmenOwnFactors) &&
				 offsetof(OmenGpuCodeHead, norm2) ==
				 offsetof(OmenOwnFactors, norm2) &&
				 offsetof(OmenGpuCodeHead, scale) ==
				 offsetof(OmenOwnFactors, scale) &&
				 offsetof(OmenGpuCodeHead, mean_dot) ==
				 offsetof(OmenOwnFactors, mean_dot),
				 "codes of the protocol must be pair codes");

static bool make_request(const OmenHnswBuildState *state,
						 OmenGpuRequest *request);
static bool is_worthwhile(const OmenHnswBuildState *state, int nparticipants);
static const char *helper_path(void);
static void greet(OmenHnswBuildState *state);
static void report_absence(OmenHnswBuildState *state, const char *path,
						   const char *why);
static void report_failure(OmenHnswBuildState *state);
static bool send_request(OmenHnswBuildState *state, const OmenBuildTask *task);
static bool send_rows(OmenHnswBuildState *state, const OmenBuildTask *task);
static bool receive(OmenHnswBuildState *state, OmenGpuReceived *received);
static void stop(OmenHnswBuildState *state);
static uint32 receive_clusters(OmenHnswBuildState *state, uint32 n,
							   uint32 *clusters, uint32 most);
static uint32 take_clusters(OmenHnswBuildState *state, uint32 n, uint32 next,
							const OmenGpuReceived *received,
							uint32 *clusters, uint32 most);
static bool receive_links(OmenHnswBuildState *state, OmenBuild *build,
						  const OmenBuildTask *task);
static void report_end(const OmenGpuReceived *received);
static uint32 take_links(OmenHnswBuildState *state, OmenBuild *build,
						 const OmenBuildTask *task, uint32 next,
						 const OmenGpuReceived *received);

/*
 * The leader, before the table is read: start a helper if one is to be used,
 * rather than the processors, by so many participants.  The state has it then,
 * for as long as the build.
 */
void
omen_hnsw_gpu_start(OmenHnswBuildState *state, int nparticipants)
{
	OmenGpuBuild mode = omen_guc_gpu_build();
	OmenGpuRequest request;
	const char *path;

	if (mode == OMEN_GPU_BUILD_OFF ||
		RelationGetNumberOfBlocks(state->heap) == 0)
		return;
	if (!make_request(state, &request))
	{
		if (mode == OMEN_GPU_BUILD_ON)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a GPU cannot build index \"%s\"",
							RelationGetRelationName(state->index)),
					 errdetail("It can compare dense vectors only."),
					 errhint("Set omendb.gpu_build to \"auto\".")));
		return;
	}

	path = helper_path();
	if (access(path, X_OK) != 0)
	{
		report_absence(state, path, errno == ENOENT ?
					   "there is no such program" : psprintf("%m"));
		return;
	}
	if (mode == OMEN_GPU_BUILD_AUTO && !is_worthwhile(state, nparticipants))
		return;
	omen_hnsw_end_stage(state, OMEN_STAGE_PREPARE);
	state->gpu = omen_gpu_start(path, omen_guc_gpu_timeout());
	omen_hnsw_end_stage(state, OMEN_STAGE_GPU_START);
}

/* Now and then while the table is read, which has to go on */
void
omen_hnsw_gpu_look(OmenHnswBuildState *state)
{
	if (state->gpu != NULL && !state->greeted &&
		omen_gpu_has_spoken(state->gpu))
		greet(state);
}

/*
 * What is asked of the helper, but for what only the arena tells.  False if it
 * is of no use for these codes.
 */
static bool
make_request(const OmenHnswBuildState *state, OmenGpuRequest *request)
{
	const OmenCodeShape *shape = &state->shared->meta.shape;

	memset(request, 0, sizeof(*request));
	request->max_norm2 = state->quant->max_norm2;
	request->mean_norm2 = state->quant->mean_norm2;
	if (shape->own_kind != OMEN_OWN_RAW)
	{
		request->element = OMEN_GPU_CODE8;
		request->dims = shape->code_dims;
		request->metric = shape->metric == OMEN_METRIC_IP ? OMEN_GPU_LIFTED :
			OMEN_GPU_L2;
		return true;
	}

	request->dims = shape->dims;
	if (shape->element == OMEN_ELEMENT_F32)
		request->element = OMEN_GPU_F32;
	else if (shape->element == OMEN_ELEMENT_F16)
		request->element = OMEN_GPU_F16;
	else
		return false;
	switch (shape->metric)
	{
		case OMEN_METRIC_L2:
			request->metric = OMEN_GPU_L2;
			return true;
		case OMEN_METRIC_IP:
			request->metric = OMEN_GPU_LIFTED;
			return true;
		case OMEN_METRIC_COSINE:
			request->metric = OMEN_GPU_UNIT;
			return true;
		case OMEN_METRIC_L1:
			request->metric = OMEN_GPU_L1;
			return true;
		default:
			return false;
	}
}

static bool
is_worthwhile(const OmenHnswBuildState *state, int nparticipants)
{
	OmenBuildEstimate estimate;

	if (state->expected_rows < LEAST_ROWS)
		return false;
	omen_hnsw_estimate_build(&state->shared->meta, state->typical_own,
							 state->expected_rows,
							 RelationGetNumberOfBlocks(state->heap),
							 nparticipants, 1, &estimate);
	return estimate.seconds[OMEN_BUILD_CONSTRUCT] >= DEVICE_START;
}

static const char *
helper_path(void)
{
	const char *path = omen_guc_gpu_helper_path();

	return *path != '\0' ? path : psprintf("%s/" HELPER_NAME, pkglib_path);
}

/* Wait until the helper has found a device, or not */
static void
greet(OmenHnswBuildState *state)
{
	OmenGpuReceived received;
	OmenGpuHello hello;

	state->greeted = true;
	if (omen_gpu_receive(state->gpu, &received) &&
		(received.type != OMEN_GPU_HELLO ||
		 received.length != sizeof(hello)))
		omen_gpu_fail(state->gpu, "it did not say hello");
	if (*omen_gpu_fault(state->gpu) == '\0')
	{
		memcpy(&hello, received.payload, sizeof(hello));
		hello.device[sizeof(hello.device) - 1] = '\0';
		ereport(DEBUG1,
				(errmsg_internal("index \"%s\" can be built on device \"%s\"",
								 RelationGetRelationName(state->index),
								 hello.device)));
		return;
	}

	if (omen_gpu_error_code(state->gpu) == OMEN_GPU_NO_DEVICE ||
		omen_guc_gpu_build() == OMEN_GPU_BUILD_ON)
		report_absence(state, helper_path(), omen_gpu_fault(state->gpu));
	else
		report_failure(state);
	stop(state);
}

/* Nothing to build on: of no importance, unless it was asked for */
static void
report_absence(OmenHnswBuildState *state, const char *path, const char *why)
{
	ereport(omen_guc_gpu_build() == OMEN_GPU_BUILD_ON ? ERROR : DEBUG1,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no GPU is there to build index \"%s\"",
					RelationGetRelationName(state->index)),
			 errdetail("Helper program \"%s\": %s.", path, why),
			 errhint("Install the helper with \"make install-gpu\", or set omendb.gpu_build to \"auto\".")));
}

static void
report_failure(OmenHnswBuildState *state)
{
	/* a cancel reaches the helper as well, and may have been faster there */
	CHECK_FOR_INTERRUPTS();
	ereport(WARNING,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("could not build index \"%s\" on a GPU",
					RelationGetRelationName(state->index)),
			 errdetail("Helper program: %s.", omen_gpu_fault(state->gpu)),
			 omen_gpu_error_code(state->gpu) == OMEN_GPU_NO_MEMORY ?
			 errhint("The index is being built without. More maintenance_work_mem, or omendb.gpu_memory if that is set, may make room.") :
			 errhint("The index is being built without. Set omendb.gpu_build to \"off\" if this comes again.")));
}

/*
 * OmenBuildTeam.want_rows, of the leader: say what will be asked of the helper,
 * which makes room for it while all participants bring rows to the arena.  False if
 * there is none, or there are too few rows to ask it.
 */
bool
omen_hnsw_gpu_want_rows(OmenHnswBuildState *state, OmenBuild *build)
{
	OmenBuildTask task;

	omen_hnsw_end_stage(state, OMEN_STAGE_GRAPH);
	if (!state->greeted)
		greet(state);
	omen_hnsw_end_stage(state, OMEN_STAGE_GPU_START);
	if (state->gpu == NULL)
		return false;

	omen_build_task(build, &task);
	if (task.n > task.max_links + 1)
	{
		if (send_request(state, &task))
			return true;
		report_failure(state);
	}
	stop(state);
	return false;
}

/*
 * OmenBuildTeam.find_clusters, of the leader: tell the helper where the rows are,
 * and wait for its first answer.  It goes on with the links meanwhile.  Returns 0 if
 * it could not; there is no helper then.
 */
uint32
omen_hnsw_gpu_find_clusters(OmenHnswBuildState *state, OmenBuild *build,
							uint32 *clusters, uint32 most)
{
	OmenBuildTask task;
	uint32		nclusters = 0;
	bool		sent;

	omen_build_task(build, &task);
	sent = send_rows(state, &task);
	omen_hnsw_end_stage(state, OMEN_STAGE_GPU_SEND);
	if (sent)
		nclusters = receive_clusters(state, task.n, clusters, most);
	if (nclusters == 0)
	{
		report_failure(state);
		stop(state);
	}
	omen_hnsw_end_stage(state, OMEN_STAGE_GPU_CLUSTERS);
	return nclusters;
}

/*
 * OmenBuildTeam.find_links, of the leader: have the helper find the links, which
 * will be judged.  Returns false if it could not, or there is none anymore.
 */
bool
omen_hnsw_gpu_find_links(OmenHnswBuildState *state, OmenBuild *build)
{
	OmenBuildTask task;
	bool		good;

	if (state->gpu == NULL)
		return false;
	omen_build_task(build, &task);
	omen_hnsw_end_stage(state, OMEN_STAGE_GRAPH);
	good = receive_links(state, build, &task);
	if (!good)
	{
		report_failure(state);
		stop(state);
	}
	omen_hnsw_end_stage(state, OMEN_STAGE_GPU_LINKS);
	return good;
}

/* OmenBuildTeam.judge_links, of the leader */
void
omen_hnsw_gpu_judge_links(OmenHnswBuildState *state,
						  const OmenLinkCheck *check)
{
	if (check->nwanted > 0)
		ereport(DEBUG1,
				(errmsg_internal("searches of links by a helper missed %u of %u nearest nodes",
								 check->nmissed, check->nwanted)));
	if (check->fault != NULL)
	{
		(void) omen_gpu_fail(state->gpu, check->fault);
		report_failure(state);
	}
	else
		ereport(DEBUG1,
				(errmsg_internal("links of index \"%s\" were found by a helper",
								 RelationGetRelationName(state->index))));
	stop(state);
	omen_hnsw_end_stage(state, OMEN_STAGE_GPU_CHECK);
}

static void
stop(OmenHnswBuildState *state)
{
	omen_gpu_stop(state->gpu);
	state->gpu = NULL;
}

static bool
send_request(OmenHnswBuildState *state, const OmenBuildTask *task)
{
	OmenGpuRequest request;
	const char *fault;

	(void) make_request(state, &request);
	request.nnodes = task->n;
	request.stride = task->stride;
	request.max_links = task->max_links;
	request.scale_links = task->scale_links;
	request.list_size = task->list_size;
	request.rounds = task->rounds;
	request.seed = task->seed;
	request.device_memory = (uint64) omen_guc_gpu_memory() * 1024;
	request.host_memory = (uint64) maintenance_work_mem * 1024;
	fault = omen_gpu_check_request(&request);
	if (fault != NULL)
		return omen_gpu_fail(state->gpu, fault);
	return omen_gpu_send(state->gpu, OMEN_GPU_REQUEST, &request,
						 sizeof(request));
}

/* They are in the arena's file, which the helper can read as well as we can */
static bool
send_rows(OmenHnswBuildState *state, const OmenBuildTask *task)
{
	OmenArena  *graph = state->files.graph;
	const uint8 *base = omen_arena_map(graph);
	OmenGpuRows rows = {
		.codes = task->codes - base,
		.levels = task->levels - base,
	};

	if (strlcpy(rows.path, omen_arena_path(graph), sizeof(rows.path)) >=
		sizeof(rows.path))
		return omen_gpu_fail(state->gpu,
							 "the path of the server's temporary files is too long");
	return omen_gpu_send(state->gpu, OMEN_GPU_ROWS, &rows, sizeof(rows));
}

/* The next message that is not about progress */
static bool
receive(OmenHnswBuildState *state, OmenGpuReceived *received)
{
	OmenGpuProgress progress;

	while (omen_gpu_receive(state->gpu, received))
	{
		omen_hnsw_build_tick(state);
		if (received->type != OMEN_GPU_PROGRESS ||
			received->length != sizeof(progress))
			return true;
		memcpy(&progress, received->payload, sizeof(progress));
		omen_hnsw_build_progress(state, OMEN_BUILD_CONSTRUCT,
								 progress.done, Max(progress.total, 1));
	}
	return false;
}

/* Clusters of all rows; returns one more than the highest number, or 0 */
static uint32
receive_clusters(OmenHnswBuildState *state, uint32 n, uint32 *clusters,
				 uint32 most)
{
	uint32		highest = 0;

	for (uint32 next = 0; next < n;)
	{
		OmenGpuReceived received;
		uint32		count;

		if (!receive(state, &received))
			return 0;
		if (received.type != OMEN_GPU_CLUSTERS)
		{
			(void) omen_gpu_fail(state->gpu,
								 "a message has come that was not expected");
			return 0;
		}
		count = take_clusters(state, n, next, &received, clusters, most);
		if (count == 0)
			return 0;
		for (uint32 i = 0; i < count; i++)
			highest = Max(highest, clusters[next + i]);
		next += count;
	}
	return highest + 1;
}

/* A frame of clusters; returns of how many rows, or 0 */
static uint32
take_clusters(OmenHnswBuildState *state, uint32 n, uint32 next,
			  const OmenGpuReceived *received, uint32 *clusters, uint32 most)
{
	OmenGpuRange range;
	const char *fault = omen_gpu_read_range(received, next, n, &range);

	if (fault == NULL && received->length !=
		sizeof(range) + (Size) range.count * sizeof(uint32))
		fault = "clusters are of another number than was said";
	if (fault == NULL)
	{
		memcpy(clusters + next, received->payload + sizeof(range),
			   range.count * sizeof(uint32));
		for (uint32 i = 0; i < range.count; i++)
		{
			if (clusters[next + i] >= most)
				fault = "a row is of a cluster that cannot exist";
		}
	}
	if (fault != NULL)
	{
		(void) omen_gpu_fail(state->gpu, fault);
		return 0;
	}
	return range.count;
}

/* Everything from the last cluster to the end */
static bool
receive_links(OmenHnswBuildState *state, OmenBuild *build,
			  const OmenBuildTask *task)
{
	uint32		next = 0;

	for (;;)
	{
		OmenGpuReceived received;

		if (!receive(state, &received))
			return false;
		if (received.type == OMEN_GPU_LINKS)
		{
			uint32		count = take_links(state, build, task, next, &received);

			if (count == 0)
				return false;
			next += count;
		}
		else if (received.type == OMEN_GPU_END && next == task->n &&
				 received.length == sizeof(OmenGpuEnd))
		{
			report_end(&received);
			return true;
		}
		else
			return omen_gpu_fail(state->gpu,
								 "a message has come that was not expected");
	}
}

static void
report_end(const OmenGpuReceived *received)
{
	static const char *const besides[] = {
		"nothing", "lists and links", "lists, links and codes"
	};
	OmenGpuEnd	end;

	memcpy(&end, received->payload, sizeof(end));
	ereport(DEBUG1,
			(errmsg_internal("helper compared " UINT64_FORMAT " pairs in " UINT64_FORMAT " ms, with %s beside the device",
							 end.pairs, end.milliseconds,
							 besides[Min(end.beside, lengthof(besides) - 1)])));
}

/*
 * A frame of links, which are stored as they are, and checked later, by all;
 * returns of how many nodes, or 0
 */
static uint32
take_links(OmenHnswBuildState *state, OmenBuild *build,
		   const OmenBuildTask *task, uint32 next,
		   const OmenGpuReceived *received)
{
	OmenGpuRange range;
	const char *fault = omen_gpu_read_range(received, next, task->n, &range);
	const uint8 *counts = (const uint8 *) received->payload + sizeof(range);

	if (fault == NULL && received->length !=
		omen_gpu_links_head(range.count) +
		(Size) range.count * task->max_links * sizeof(uint32))
		fault = "links are of another number than was said";
	if (fault != NULL)
	{
		(void) omen_gpu_fail(state->gpu, fault);
		return 0;
	}
	omen_build_set_links(build, next, range.count,
						 received->payload + omen_gpu_links_head(range.count),
						 counts, counts + range.count);
	return range.count;
}
