/*-------------------------------------------------------------------------
 *
 * serve.c
 *	  One build for the server: a request in, links out.
 *
 * The helper says hello first, then reads what is asked and where the rows are,
 * then writes.  It never reads and writes at the same time, so it may block.  A
 * server that is gone shows as an error of write(), SIGPIPE, or the end of input,
 * and the helper ends.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/build.h"
#include "gpu/helper/number.h"
#include "gpu/helper/reader.h"
#include "gpu/helper/serve.h"

/* Progress is not told more often than this, in milliseconds */
#define PROGRESS_INTERVAL	100

typedef struct Server
{
	int			in;
	int			out;
	OmenGpuParser parser;
	OmenGpuRequest request;
	uint8	   *levels;			/* by row, as everything on the backend is */
	uint8	   *sample;			/* codes of some rows, that leaders are made of */
	uint32		nkept;			/* of them */
	uint64		codes;			/* of the rows: where they are in their file */
	Reader	   *reader;			/* which is open while they are read */
	char		fault[200];		/* why they could not be */
	uint32	   *clusters;		/* of rows */
	uint32	   *rows;			/* of nodes */
	Backend    *backend;

	OmenGpuProgress progress;
	uint64		last_progress;	/* when it was told */
} Server;

static uint64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- frames --- */

static void
write_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length > 0)
	{
		ssize_t		written = write(fd, at, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			exit(1);			/* nobody is there to be told why */
		at += written;
		length -= written;
	}
}

static void
send_message(Server *server, OmenGpuMessage type, const void *a,
			 size_t a_length, const void *b, size_t b_length)
{
	OmenGpuFrameData frame;

	omen_gpu_frame(&frame, type, a, a_length, b, b_length);
	write_all(server->out, &frame, sizeof(frame));
	write_all(server->out, a, a_length);
	write_all(server->out, b, b_length);
}

static int
send_error(Server *server, OmenGpuErrorCode code, const char *text)
{
	OmenGpuError error = {.code = code};

	strlcpy(error.text, text, sizeof(error.text));
	send_message(server, OMEN_GPU_ERROR, &error, sizeof(error), NULL, 0);
	return 1;
}

/* The next message of the server.  Returns NULL, or why there is none. */
static const char *
receive_message(Server *server, OmenGpuReceived *received)
{
	const char *fault;

	for (;;)
	{
		size_t		room;
		char	   *to;
		ssize_t		got;

		switch (omen_gpu_parser_next(&server->parser, received, &fault))
		{
			case OMEN_GPU_FRAME:
				return NULL;
			case OMEN_GPU_BROKEN:
				return fault;
			case OMEN_GPU_MORE:
				break;
		}
		to = omen_gpu_parser_room(&server->parser, &room);
		got = read(server->in, to, room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			exit(1);			/* the server has given up */
		omen_gpu_parser_fill(&server->parser, got);
	}
}

/* --- progress --- */

/*
 * Would a short message go at once, or show that nobody is there?  While the server
 * has other things to do, what was told lies in the socket, which holds some seconds
 * of it; computing must not wait for it then.
 */
static bool
may_write(int fd)
{
	struct pollfd out = {.fd = fd, .events = POLLOUT};

	return poll(&out, 1, 0) != 0;
}

static void
tell_progress(Server *server)
{
	uint64		now = now_ms();

	if (now - server->last_progress < PROGRESS_INTERVAL)
		return;
	server->last_progress = now;
	if (!may_write(server->out))
		return;
	send_message(server, OMEN_GPU_PROGRESS, &server->progress,
				 sizeof(server->progress), NULL, 0);
}

static void
build_progress(void *arg, uint64_t done, uint64_t total)
{
	Server	   *server = arg;

	server->progress.done = done;
	server->progress.total = total;
	tell_progress(server);
}

/* The backend is alive: repeat what was told last */
static void
backend_tick(void *arg)
{
	tell_progress(arg);
}

/* --- a build --- */

static void
say_hello(Server *server, const Place *place)
{
	OmenGpuHello hello = {.memory = place->memory};

	strlcpy(hello.device, place->name, sizeof(hello.device));
	send_message(server, OMEN_GPU_HELLO, &hello, sizeof(hello), NULL, 0);
}

/* Returns NULL, or what is wrong */
static const char *
receive_request(Server *server)
{
	OmenGpuReceived received;
	const char *fault = receive_message(server, &received);

	if (fault != NULL)
		return fault;
	if (received.type != OMEN_GPU_REQUEST ||
		received.length != sizeof(OmenGpuRequest))
		return "what came is no request";
	memcpy(&server->request, received.payload, sizeof(OmenGpuRequest));
	return omen_gpu_check_request(&server->request);
}

static void
make_shape(Server *server, BackendShape *shape)
{
	const OmenGpuRequest *request = &server->request;

	memset(shape, 0, sizeof(*shape));
	shape->nnodes = request->nnodes;
	shape->spare = omen_gpu_number_spare(request->nnodes);
	shape->element = request->element;
	shape->metric = request->metric;
	shape->dims = request->dims;
	shape->stride = request->stride;
	shape->max_norm2 = request->max_norm2;
	shape->mean_norm2 = request->mean_norm2;
	shape->max_links = request->max_links;
	shape->scale_links = request->scale_links;
	shape->list_size = request->list_size;
	shape->device_memory = request->device_memory;
	shape->host_memory = request->host_memory;
	shape->tick = backend_tick;
	shape->tick_arg = server;
}

/* Keep the codes of those rows that are in the sample */
static void
keep_sample(Server *server, uint32 first, uint32 count, const char *codes)
{
	const OmenGpuRequest *request = &server->request;
	uint32		n = request->nnodes;

	for (; server->nkept < omen_gpu_sample_size(n); server->nkept++)
	{
		uint32		row = omen_gpu_sample_row(request->seed, n, server->nkept);

		if (row - first >= count)
			break;
		memcpy(server->sample + (size_t) server->nkept * request->stride,
			   codes + (size_t) (row - first) * request->stride,
			   request->stride);
	}
}

/* From the file; false, with the fault, if they are not there */
static bool
read_file(Server *server, uint64 offset, void *to, size_t length)
{
	if (omen_reader_read(server->reader, offset, to, length))
		return true;
	snprintf(server->fault, sizeof(server->fault),
			 "the file of vectors could not be read: %s",
			 errno != 0 ? strerror(errno) : "it ends too early");
	return false;
}

/* BackendRead */
static bool
read_codes(void *arg, uint32_t first, uint32_t count, void *codes)
{
	Server	   *server = arg;
	size_t		stride = server->request.stride;

	if (!read_file(server, server->codes + first * stride, codes,
				   count * stride))
		return false;
	keep_sample(server, first, count, codes);
	tell_progress(server);
	return true;
}

/* All rows to the backend.  Returns NULL, or what is wrong. */
static const char *
read_rows(Server *server)
{
	uint32		n = server->request.nnodes;
	OmenGpuReceived received;
	OmenGpuRows rows;
	const char *fault = receive_message(server, &received);

	if (fault != NULL)
		return fault;
	if (received.type != OMEN_GPU_ROWS || received.length != sizeof(rows))
		return "it was not said where vectors are";
	memcpy(&rows, received.payload, sizeof(rows));
	rows.path[sizeof(rows.path) - 1] = '\0';
	server->codes = rows.codes;
	server->reader = omen_reader_open(rows.path);
	if (server->reader == NULL)
	{
		snprintf(server->fault, sizeof(server->fault),
				 "the file of vectors could not be opened: %s",
				 strerror(errno));
		return server->fault;
	}
	if (!read_file(server, rows.levels, server->levels, n))
		return server->fault;
	if (!server->backend->ops->load(server->backend, 0, n, server->levels,
									read_codes, server))
		return *server->fault != '\0' ? server->fault : server->backend->fault;
	omen_reader_close(server->reader);
	server->reader = NULL;
	return NULL;
}

/* Divide the rows, and say how; the server numbers nodes in the same way */
static const char *
send_clusters(Server *server)
{
	uint32		n = server->request.nnodes;
	uint32		most = (OMEN_GPU_MAX_PAYLOAD - sizeof(OmenGpuRange)) /
		sizeof(uint32);

	if (!omen_gpu_number(server->backend, server->request.seed, server->sample,
						 server->clusters, server->rows))
		return server->backend->fault;
	for (uint32 next = 0; next < n;)
	{
		OmenGpuRange range = {.first = next, .count = Min(most, n - next)};

		send_message(server, OMEN_GPU_CLUSTERS, &range, sizeof(range),
					 server->clusters + next, range.count * sizeof(uint32));
		next += range.count;
	}
	return NULL;
}

/* Of nodes from "first" on; head has room for what is sent before the links */
static void
send_some_links(Server *server, uint32 first, const BackendLinks *links,
				char *head)
{
	uint32		max_links = server->request.max_links;
	uint32		most = omen_gpu_links_count(max_links);

	for (uint32 done = 0; done < links->count;)
	{
		OmenGpuRange range = {first + done, Min(most, links->count - done)};
		size_t		head_length = omen_gpu_links_head(range.count);

		memset(head, 0, head_length);
		memcpy(head, &range, sizeof(range));
		memcpy(head + sizeof(range), links->nlinks + done, range.count);
		memcpy(head + sizeof(range) + range.count, links->nscale + done,
			   range.count);
		send_message(server, OMEN_GPU_LINKS, head, head_length,
					 links->links + (size_t) done * max_links,
					 (size_t) range.count * max_links * sizeof(uint32));
		done += range.count;
	}
}

/* Returns NULL, or what is wrong */
static const char *
send_links(Server *server)
{
	uint32		n = server->request.nnodes;
	char	   *head = malloc(omen_gpu_links_head(omen_gpu_links_count
												  (server->request.max_links)));
	BackendLinks links;

	if (head == NULL)
		return "out of memory for links";
	for (uint32 next = 0; next < n; next += links.count)
	{
		if (!server->backend->ops->fetch(server->backend, next, &links))
		{
			free(head);
			return server->backend->fault;
		}
		send_some_links(server, next, &links, head);
	}
	free(head);
	return NULL;
}

/* Everything after the request, on a backend.  Returns NULL or a fault. */
static const char *
build_graph(Server *server)
{
	const OmenGpuRequest *request = &server->request;
	BuildParams params = {
		.levels = server->levels,
		.order = server->rows,
		.rounds = request->rounds,
		.seed = request->seed,
		.progress = build_progress,
		.progress_arg = server,
	};
	OmenGpuEnd	end = {.nnodes = request->nnodes};
	const char *fault = read_rows(server);
	uint64		start = now_ms();

	if (fault != NULL)
		return fault;
	fault = send_clusters(server);
	if (fault != NULL)
		return fault;
	if (!omen_gpu_build(server->backend, &params))
		return server->backend->fault;
	end.milliseconds = now_ms() - start;
	fault = send_links(server);
	if (fault != NULL)
		return fault;
	end.beside = server->backend->beside;
	end.pairs = server->backend->pairs;
	send_message(server, OMEN_GPU_END, &end, sizeof(end), NULL, 0);
	return NULL;
}

/* Room for what is kept of all rows; false if there is none */
static bool
allocate_rows(Server *server)
{
	size_t		n = server->request.nnodes;

	server->levels = malloc(n);
	server->sample = malloc((size_t) omen_gpu_sample_size(n) *
							server->request.stride);
	server->clusters = malloc(n * sizeof(uint32));
	server->rows = malloc(n * sizeof(uint32));
	return server->levels && server->sample && server->clusters &&
		server->rows;
}

/* A request and what comes of it.  Returns the exit status. */
static int
serve_request(Server *server, const Place *place)
{
	const char *fault = receive_request(server);
	BackendShape shape;
	char		why[200] = "";

	if (fault != NULL)
		return send_error(server, OMEN_GPU_FAILED, fault);
	make_shape(server, &shape);
	if (!allocate_rows(server))
		strlcpy(why, "out of memory", sizeof(why));
	else
		server->backend = place->ops->create(&shape, why, sizeof(why));
	if (server->backend == NULL)
		return send_error(server, OMEN_GPU_NO_MEMORY, why);
	fault = build_graph(server);
	return fault == NULL ? 0 : send_error(server, OMEN_GPU_FAILED, fault);
}

int
omen_gpu_serve(const Place *place, int in, int out)
{
	Server		server = {.in = in, .out = out};
	int			status;

	if (place->ops == NULL)
		return send_error(&server, OMEN_GPU_NO_DEVICE, place->fault);
	omen_gpu_parser_init(&server.parser, malloc(OMEN_GPU_PARSER_SIZE));
	if (server.parser.buffer == NULL)
		return send_error(&server, OMEN_GPU_NO_MEMORY, "out of memory");

	say_hello(&server, place);
	status = serve_request(&server, place);
	if (server.backend != NULL)
		place->ops->destroy(server.backend);
	omen_reader_close(server.reader);
	free(server.levels);
	free(server.sample);
	free(server.clusters);
	free(server.rows);
	free(server.parser.buffer);
	return status;
}
