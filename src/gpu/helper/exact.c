/*-------------------------------------------------------------------------
 *
 * exact.c
 *	  Exact search over files: what recall is measured by.
 *
 *	  omendb-gpu-build --exact METRIC K BASE QUERIES RESULT
 *
 * METRIC is l2, ip, cosine or l1, K 512 at most.  BASE and QUERIES are .fbin files: uint32
 * rows, uint32 dims, then float32.  RESULT gets uint32 queries, uint32 k, the
 * uint32 rows of all queries, nearest first, then their float32 distances: l2
 * squared, ip up to a constant of the query, cosine as 2 * (1 - cosine).
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_protocol.h"
#include "gpu/helper/serve.h"

/* Queries at a time */
#define BATCH		1024

typedef struct Matrix
{
	uint32		rows;
	uint32		dims;
	float	   *values;
} Matrix;

static const struct
{
	const char *name;
	OmenGpuMetric metric;
}			metrics[] = {
	{"l2", OMEN_GPU_L2},
	{"ip", OMEN_GPU_LIFTED},
	{"cosine", OMEN_GPU_UNIT},
	{"l1", OMEN_GPU_L1},
};

static bool
read_matrix(const char *path, Matrix *matrix)
{
	FILE	   *file = fopen(path, "rb");
	uint32		head[2];
	bool		good = false;
	size_t		count;

	if (file == NULL)
	{
		perror(path);
		return false;
	}
	if (fread(head, sizeof(uint32), 2, file) == 2)
	{
		matrix->rows = head[0];
		matrix->dims = head[1];
		count = (size_t) head[0] * head[1];
		matrix->values = count > 0 ? malloc(count * sizeof(float)) : NULL;
		good = matrix->values != NULL &&
			fread(matrix->values, sizeof(float), count, file) == count;
	}
	if (!good)
		fprintf(stderr, "%s: not a .fbin file that fits into memory\n", path);
	fclose(file);
	return good;
}

static float
largest_norm2(const Matrix *matrix)
{
	float		largest = 0;

	for (size_t row = 0; row < matrix->rows; row++)
	{
		const float *x = matrix->values + row * matrix->dims;
		double		norm2 = 0;

		for (uint32 i = 0; i < matrix->dims; i++)
			norm2 += (double) x[i] * x[i];
		if (norm2 > largest)
			largest = (float) norm2;
	}
	return largest;
}

static bool
write_result(const char *path, uint32 queries, uint32 k,
			 const uint32 *nearest, const float *distances)
{
	FILE	   *file = fopen(path, "wb");
	uint32		head[2] = {queries, k};
	size_t		count = (size_t) queries * k;
	bool		good;

	if (file == NULL)
	{
		perror(path);
		return false;
	}
	good = fwrite(head, sizeof(uint32), 2, file) == 2 &&
		fwrite(nearest, sizeof(uint32), count, file) == count &&
		fwrite(distances, sizeof(float), count, file) == count;
	if (fclose(file) != 0 || !good)
	{
		perror(path);
		return false;
	}
	return true;
}

static bool
search_all(Backend *backend, const Matrix *base, const Matrix *queries, int k,
		   uint32 *nearest, float *distances)
{
	uint8	   *levels = calloc(base->rows, 1);
	bool		good = levels != NULL &&
		backend_load(backend, 0, base->rows, levels, base->values);

	for (uint32 done = 0; good && done < queries->rows; done += BATCH)
		good = backend->ops->search(backend, queries->values +
									(size_t) done * queries->dims,
									Min(BATCH, queries->rows - done), k,
									nearest + (size_t) done * k,
									distances + (size_t) done * k);
	if (!good)
		fprintf(stderr, "exact search failed: %s\n", backend->fault);
	free(levels);
	return good;
}

int
omen_gpu_exact(const Place *place, int nargs, char **args)
{
	BackendShape shape = {.element = OMEN_GPU_F32, .max_links = 2, .list_size = 4,
		.host_memory = UINT64_MAX};
	Matrix		base;
	Matrix		queries;
	Backend    *backend;
	char		why[200];
	uint32	   *nearest;
	float	   *distances;
	int			k = nargs == 5 ? atoi(args[1]) : 0;
	int			status = 1;

	for (size_t i = 0; nargs == 5 && i < lengthof(metrics); i++)
	{
		if (strcmp(args[0], metrics[i].name) == 0)
			shape.metric = metrics[i].metric;
	}
	if (shape.metric == 0 || k < 1 || k > SEARCH_MAX)
	{
		fprintf(stderr, "usage: omendb-gpu-build --exact l2|ip|cosine|l1 K BASE QUERIES RESULT\n");
		return 2;
	}
	if (place->ops == NULL)
	{
		fprintf(stderr, "%s\n", place->fault);
		return 1;
	}
	if (!read_matrix(args[2], &base) || !read_matrix(args[3], &queries))
		return 1;
	if (base.dims != queries.dims)
	{
		fprintf(stderr, "%s and %s have different dimensions\n", args[2],
				args[3]);
		return 1;
	}
	shape.nnodes = base.rows;
	shape.dims = base.dims;
	shape.stride = base.dims * sizeof(float);
	if (shape.metric == OMEN_GPU_LIFTED)
		shape.max_norm2 = largest_norm2(&base);

	backend = place->ops->create(&shape, why, sizeof(why));
	if (backend == NULL)
	{
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	nearest = malloc((size_t) queries.rows * k * sizeof(uint32));
	distances = malloc((size_t) queries.rows * k * sizeof(float));
	if (nearest == NULL || distances == NULL)
		fprintf(stderr, "out of memory\n");
	else if (search_all(backend, &base, &queries, k, nearest, distances) &&
			 write_result(args[4], queries.rows, k, nearest, distances))
		status = 0;
	place->ops->destroy(backend);
	return status;
}
