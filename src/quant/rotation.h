/*-------------------------------------------------------------------------
 *
 * rotation.h
 *	  A random orthogonal transform in n log n steps.
 *
 * Deterministic: the same seed gives the same floats on every machine and
 * with every kernel table, because all of them do the same additions and
 * multiplications in the same order and none may fuse any two.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ROTATION_H
#define OMEN_ROTATION_H

/* Dimensions of a rotated vector: the next multiple of 16 */
static inline uint32
omen_rotation_dims(uint32 dims)
{
	return (dims + 15) / 16 * 16;
}

/* Bytes of the random signs; dims as returned by omen_rotation_dims */
extern Size omen_rotation_size(uint32 dims);
extern void omen_rotation_init(uint8 *signs, uint32 dims, uint64 seed);

/* Rotate x[dims] in place */
extern void omen_rotation_apply(const uint8 *signs, uint32 dims, float *x);

/*
 * Bound on |computed - exact| / |x|: every operation rounds its result once,
 * so that errors add up to at most half an ulp a step in the norm.
 */
extern float omen_rotation_error(uint32 dims);

#endif							/* OMEN_ROTATION_H */
