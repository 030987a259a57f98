/* link: src/gpu/gpu_protocol.c src/gpu/helper/serve.c src/gpu/helper/build.c src/gpu/helper/number.c src/gpu/helper/reader.c src/gpu/helper/backend_cpu.c src/gpu/helper/cpu_parts.c src/gpu/helper/cpu_leaves.c src/gpu/helper/cpu_links.c */

/*
 * Fuzzer of omendb-gpu-build: whatever a server says, the helper answers by the
 * protocol, and frees what it has taken.  Links that it says are the end of a
 * build are links that the server accepts.
 *
 * Input: messages, see fuzz_frames.h.
 */
#include "c.h"

#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "fuzz_frames.h"
#include "gpu/helper/serve.h"

/* What a helper has said */
typedef struct Answers
{
	OmenGpuParser parser;
	OmenGpuReceived received;
	uint32		nclusters;		/* rows */
	uint32		nlinks;			/* nodes */
	uint32		clusters[FUZZ_MAX_ROWS];
	uint8		levels[FUZZ_MAX_ROWS];	/* by row, then by node */
	uint32		links[FUZZ_MAX_ROWS][256];
	int			counts[FUZZ_MAX_ROWS];
	int			scales[FUZZ_MAX_ROWS];
} Answers;

static Answers answers;
static char parsed[OMEN_GPU_PARSER_SIZE];

/* The next of the messages in a file */
static bool
next_message(int file, Answers *from)
{
	const char *fault;

	for (;;)
	{
		OmenGpuParse what = omen_gpu_parser_next(&from->parser,
												 &from->received, &fault);
		size_t		room;
		char	   *to;
		ssize_t		got;

		if (what != OMEN_GPU_MORE)
			return what == OMEN_GPU_FRAME;
		to = omen_gpu_parser_room(&from->parser, &room);
		got = read(file, to, room);
		if (got <= 0)
			return false;
		omen_gpu_parser_fill(&from->parser, got);
	}
}

static void
begin_reading(int file, Answers *from)
{
	REQUIRE(lseek(file, 0, SEEK_SET) == 0);
	omen_gpu_parser_init(&from->parser, parsed);
}

/* Levels of all rows, which the helper has accepted */
static void
read_levels(int in, int file, uint32 nnodes)
{
	OmenGpuRows rows;

	begin_reading(in, &answers);
	REQUIRE(next_message(in, &answers) && next_message(in, &answers));
	memcpy(&rows, answers.received.payload, sizeof(rows));
	REQUIRE(pread(file, answers.levels, nnodes, (off_t) rows.levels) ==
			(ssize_t) nnodes);
}

/* Nodes are numbered by cluster, and by row in each */
static void
order_levels(uint32 nnodes)
{
	uint8		ordered[FUZZ_MAX_ROWS];
	uint32		node = 0;

	for (uint32 cluster = 0; node < nnodes && cluster < nnodes; cluster++)
	{
		for (uint32 row = 0; row < nnodes; row++)
		{
			if (answers.clusters[row] == cluster)
				ordered[node++] = answers.levels[row];
		}
	}
	REQUIRE(node == nnodes);
	memcpy(answers.levels, ordered, nnodes);
}

static void
take_clusters(uint32 nnodes)
{
	OmenGpuRange range;

	REQUIRE(omen_gpu_read_range(&answers.received, answers.nclusters, nnodes,
								&range) == NULL);
	REQUIRE(answers.received.length ==
			sizeof(range) + range.count * sizeof(uint32));
	memcpy(answers.clusters + answers.nclusters,
		   answers.received.payload + sizeof(range),
		   range.count * sizeof(uint32));
	answers.nclusters += range.count;
}

static void
take_links(const OmenGpuRequest *request)
{
	const char *at = answers.received.payload;
	OmenGpuRange range;
	size_t		head;

	REQUIRE(omen_gpu_read_range(&answers.received, answers.nlinks,
								request->nnodes, &range) == NULL);
	head = omen_gpu_links_head(range.count);
	REQUIRE(answers.received.length == head + (size_t) range.count *
			request->max_links * sizeof(uint32));
	for (uint32 i = 0; i < range.count; i++)
	{
		uint32		node = answers.nlinks++;

		answers.counts[node] = (uint8) at[sizeof(range) + i];
		answers.scales[node] = (uint8) at[sizeof(range) + range.count + i];
		memcpy(answers.links[node],
			   at + head + (size_t) i * request->max_links * sizeof(uint32),
			   request->max_links * sizeof(uint32));
	}
}

static void
check_links(const OmenGpuRequest *request, uint32 node)
{
	int			count = answers.counts[node];
	int			scale = answers.scales[node];
	int			level = answers.levels[node];

	REQUIRE(count <= request->max_links);
	REQUIRE(scale <= count && scale <= (level > 0 ? request->scale_links : 0));
	for (int i = 0; i < count; i++)
	{
		uint32		link = answers.links[node][i];

		REQUIRE(link < request->nnodes && link != node);
		REQUIRE(i < count - scale || answers.levels[link] >= level);
		for (int j = 0; j < i; j++)
			REQUIRE(answers.links[node][j] != link);
	}
}

/* All that a helper has said, from its greeting to its last word */
static void
check_answers(const OmenGpuRequest *request, int in, int file, int out,
			  int status)
{
	OmenGpuMessage last = 0;

	answers.nclusters = answers.nlinks = 0;
	begin_reading(out, &answers);
	while (next_message(out, &answers))
	{
		REQUIRE((last == 0) == (answers.received.type == OMEN_GPU_HELLO));
		REQUIRE(last != OMEN_GPU_END && last != OMEN_GPU_ERROR);
		last = answers.received.type;
		if (last == OMEN_GPU_CLUSTERS)
			take_clusters(request->nnodes);
		else if (last == OMEN_GPU_LINKS)
			take_links(request);
	}
	REQUIRE(lseek(out, 0, SEEK_CUR) == lseek(out, 0, SEEK_END));
	REQUIRE(answers.parser.taken == answers.parser.filled);
	REQUIRE(last == (status == 0 ? OMEN_GPU_END : OMEN_GPU_ERROR));
	if (status != 0)
		return;

	REQUIRE(answers.nclusters == request->nnodes);
	REQUIRE(answers.nlinks == request->nnodes);
	read_levels(in, file, request->nnodes);
	order_levels(request->nnodes);
	for (uint32 node = 0; node < request->nnodes; node++)
		check_links(request, node);
}

/* A file of nothing */
static void
empty(int *file)
{
	if (*file < 0)
		*file = memfd_create("fuzz_gpu_helper", 0);
	REQUIRE(*file >= 0 && ftruncate(*file, 0) == 0 &&
			lseek(*file, 0, SEEK_SET) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FuzzFrames frames;
	static int	in = -1;
	static int	out = -1;
	static int	file = -1;
	static char path[40];
	Place		place = {.ops = &omen_backend_cpu, .name = "processor"};
	OmenGpuRequest request;
	int			status;

	if (frames.bytes == NULL)
	{
		frames.bytes = malloc(FUZZ_FRAMES_SIZE);
		frames.rows = malloc(FUZZ_ROWS_SIZE);
		empty(&file);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
		frames.path = path;
	}
	frames.rows_length = 0;
	memset(frames.bytes, 0, sizeof(OmenGpuFrameData) + sizeof(request));
	fuzz_put_frames(&frames, data, size);
	memcpy(&request, frames.bytes + sizeof(OmenGpuFrameData), sizeof(request));
	if (omen_gpu_check_request(&request) == NULL &&
		request.nnodes > FUZZ_MAX_ROWS)
		return 0;				/* it would only take memory */

	/*
	 * A helper exits at the end of input.  Before that come zeros, which are no
	 * message, enough of them for a frame that is cut.
	 */
	empty(&in);
	empty(&out);
	empty(&file);
	REQUIRE(write(file, frames.rows, frames.rows_length) ==
			(ssize_t) frames.rows_length);
	REQUIRE(write(in, frames.bytes, frames.length) == (ssize_t) frames.length &&
			ftruncate(in, 2 * frames.length + 64) == 0 &&
			lseek(in, 0, SEEK_SET) == 0);
	status = omen_gpu_serve(&place, in, out);
	check_answers(&request, in, file, out, status);
	return 0;
}
