/*-------------------------------------------------------------------------
 *
 * main.c
 *	  omendb-gpu-build: builds graphs on a device, for a server that does not
 *	  want to have one in its own processes.
 *
 * Without arguments it serves the one who started it, through standard input
 * and output (gpu_protocol.h).
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/serve.h"

static int
usage(FILE *to)
{
	fprintf(to,
			"omendb-gpu-build is started by the server, see omendb.gpu_build.\n"
			"\n"
			"  --backend device|cpu  where to compute; \"cpu\" is for tests and slow\n"
			"  --probe               print the device, or why there is none\n"
			"  --exact METRIC K BASE QUERIES RESULT\n"
			"                        exact search over .fbin files\n");
	return to == stderr ? 2 : 0;
}

static void
find_device(Place *place)
{
#ifdef OMEN_GPU_DEVICE
	if (omen_device_probe(place->name, sizeof(place->name), &place->memory,
						  place->fault, sizeof(place->fault)))
		place->ops = omen_device_ops();
#else
	snprintf(place->fault, sizeof(place->fault),
			 "this omendb-gpu-build was made without nvcc or hipcc");
#endif
}

static void
find_place(Place *place, const char *backend)
{
	memset(place, 0, sizeof(*place));
	if (strcmp(backend, "cpu") == 0)
	{
		place->ops = &omen_backend_cpu;
		snprintf(place->name, sizeof(place->name), "processor");
	}
	else
		find_device(place);
}

static int
probe(const Place *place)
{
	if (place->ops == NULL)
	{
		printf("no device: %s\n", place->fault);
		return 1;
	}
	printf("%s, %llu MB free\n", place->name,
		   (unsigned long long) (place->memory / (1024 * 1024)));
	return 0;
}

/*
 * What libraries print must not get between messages: standard output becomes
 * standard error, and messages go where it was.
 */
static int
serve(const char *backend)
{
	int			out = dup(STDOUT_FILENO);
	Place		place;

	if (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return 1;
	find_place(&place, backend);
	return omen_gpu_serve(&place, STDIN_FILENO, out);
}

int
main(int argc, char **argv)
{
	const char *backend = "device";
	Place		place;
	int			at = 1;

	if (at + 1 < argc && strcmp(argv[at], "--backend") == 0)
	{
		backend = argv[at + 1];
		at += 2;
	}
	if (strcmp(backend, "device") != 0 && strcmp(backend, "cpu") != 0)
		return usage(stderr);
	if (at < argc && strcmp(argv[at], "--help") == 0)
		return usage(stdout);

	if (at == argc)
		return serve(backend);
	find_place(&place, backend);
	if (strcmp(argv[at], "--probe") == 0)
		return probe(&place);
	if (strcmp(argv[at], "--exact") == 0)
		return omen_gpu_exact(&place, argc - at - 1, argv + at + 1);
	return usage(stderr);
}
