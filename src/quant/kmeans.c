/*-------------------------------------------------------------------------
 *
 * kmeans.c
 *	  Lloyd's algorithm (IEEE Trans. Inf. Theory 28, 1982), see kmeans.h.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <string.h>

#include "quant/kmeans.h"

/*
 * Steps.  On 8,192 rows of 768 dimensions, the squared error after 10 is 2 %
 * above that after 30.
 */
#define MAX_STEPS		10

/* Rows that the starting place of a centroid counts for */
#define START_WEIGHT	1

#define MAX_PLANES		4

typedef struct Cluster
{
	int64		nrows;
	int64		sum[2 * MAX_PLANES];
} Cluster;

static inline int8 *
coordinate(int8 *book, int centroid, int dim)
{
	return book + dim / 2 * OMEN_PQ_PLANE + 2 * centroid + dim % 2;
}

/*
 * |x - c|^2 less |x|^2 is |c|^2 - 2 <x,c>; in the rows' finer steps, half of
 * that, and 256 times for the centroid's number.
 */
void
omen_kmeans_set_biases(int planes, const int8 *book, int32 *biases)
{
	for (int k = 0; k < OMEN_PQ_CENTROIDS; k++)
	{
		int32		norm2 = 0;

		for (int p = 0; p < planes; p++)
		{
			const int8 *at = book + p * OMEN_PQ_PLANE + 2 * k;

			norm2 += at[0] * at[0] + at[1] * at[1];
		}
		biases[k] = norm2 * (OMEN_KMEANS_FINER / 2) * 256 + k;
	}
}

static void
assign_rows(int planes, const int16 *rows, int nrows, const int8 *book,
			const int32 *biases, Cluster *clusters)
{
	int			dims = 2 * planes;

	memset(clusters, 0, OMEN_PQ_CENTROIDS * sizeof(Cluster));
	for (int i = 0; i < nrows; i++)
	{
		const int16 *row = rows + (Size) i * dims;
		Cluster    *cluster = &clusters[
			omen_code_kernels->pq_nearest(planes, row, book, biases)];

		cluster->nrows++;
		for (int j = 0; j < dims; j++)
			cluster->sum[j] += row[j];
	}
}

/* To the nearest step, halves away from zero */
static int8
round_mean(int64 sum, int64 nrows)
{
	int64		divisor = nrows * OMEN_KMEANS_FINER;
	int64		mean = (2 * sum + (sum < 0 ? -divisor : divisor)) /
		(2 * divisor);

	return (int8) Max(Min(mean, OMEN_I8_MAX), -OMEN_I8_MAX);
}

void
omen_kmeans_train(int planes, const int16 *rows, int nrows, int8 *book,
				  int32 *biases)
{
	int8		start[MAX_PLANES * OMEN_PQ_PLANE];
	Cluster		clusters[OMEN_PQ_CENTROIDS];
	bool		moved = nrows > 0;

	Assert(planes > 0 && planes <= MAX_PLANES);

	memcpy(start, book, planes * OMEN_PQ_PLANE);
	for (int step = 0; moved && step < MAX_STEPS; step++)
	{
		moved = false;
		assign_rows(planes, rows, nrows, book, biases, clusters);
		for (int k = 0; k < OMEN_PQ_CENTROIDS; k++)
		{
			for (int j = 0; j < 2 * planes; j++)
			{
				int8	   *at = coordinate(book, k, j);
				int64		sum = clusters[k].sum[j] + START_WEIGHT *
					OMEN_KMEANS_FINER * *coordinate(start, k, j);
				int8		mean = round_mean(sum, clusters[k].nrows +
											  START_WEIGHT);

				moved |= mean != *at;
				*at = mean;
			}
		}
		omen_kmeans_set_biases(planes, book, biases);
	}
}
