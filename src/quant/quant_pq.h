/*-------------------------------------------------------------------------
 *
 * quant_pq.h
 *	  Product codes: their shape and their codebook.
 *
 * A product code has one byte for each subspace of 2, 4 or 8 rotated
 * dimensions: which of 256 centroids is nearest to the vector's direction
 * there.  The codebook holds the centroids as integers, planes of 512 bytes
 * for two dimensions each (quant_kernels.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_QUANT_PQ_H
#define OMEN_QUANT_PQ_H

#include "quant/quant_kernels.h"

/* Dimensions that a byte stands for in codes of a column of "dims" */
extern uint32 omen_pq_part_dims(uint32 dims);

/* Subspaces: bytes of a code beside its factors */
static inline uint32
omen_pq_parts(const OmenCodeShape *shape)
{
	return shape->own_size - sizeof(OmenOwnFactors);
}

/* Bytes of the codebook; 0 if codes of this shape need none */
static inline Size
omen_pq_codebook_size(const OmenCodeShape *shape)
{
	return shape->own_kind == OMEN_OWN_PQ ?
		(Size) shape->code_dims / 2 * OMEN_PQ_PLANE : 0;
}

/* The codebook to start from, or one that was trained before */
extern void omen_pq_init_codebook(OmenQuantizer *quant);
extern void omen_pq_set_codebook(OmenQuantizer *quant, const int8 *codebook);

/*
 * Training, in two steps: put vectors into a sample, int16[parts][capacity]
 * [part_dims], at one place after the other; then train every part.
 * omen_pq_sample() returns false for a vector without a direction, which
 * takes no place.  scratch: float[OMEN_QUANT_SCRATCH].
 */
extern bool omen_pq_sample(const OmenQuantizer *quant, const void *payload,
						   int16 *sample, int capacity, int at,
						   float *scratch);
extern void omen_pq_train(OmenQuantizer *quant, int part, const int16 *sample,
						  int capacity, int nrows);

#endif							/* OMEN_QUANT_PQ_H */
