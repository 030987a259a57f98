/*-------------------------------------------------------------------------
 *
 * kmeans.h
 *	  256 centroids of one subspace, for product codes.
 *
 * In integers throughout, so that equal rows give equal centroids on every
 * machine.  Centroids lie on a grid of 32 steps to the standard deviation of
 * a coordinate; rows on one eight times finer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_KMEANS_H
#define OMEN_KMEANS_H

#include "quant/quant_kernels.h"

#define OMEN_KMEANS_GRID		32	/* steps of centroids */
#define OMEN_KMEANS_FINER		8	/* steps of rows to one of centroids */

/* Coordinates of rows stay below, or scores could overflow 32 bits */
#define OMEN_KMEANS_ROW_MAX		4096

/* What pq_nearest adds for each centroid, from the centroids */
extern void omen_kmeans_set_biases(int planes, const int8 *book,
								   int32 *biases);

/*
 * Move the centroids of "book" to where the rows are, int16[nrows][2 *
 * planes].  Where the book starts from counts as one more row for each
 * centroid: without rows, nothing changes, and a centroid that no row is near
 * stays.  Biases are kept in step.
 */
extern void omen_kmeans_train(int planes, const int16 *rows, int nrows,
							  int8 *book, int32 *biases);

#endif							/* OMEN_KMEANS_H */
