/*-------------------------------------------------------------------------
 *
 * rotation.c
 *	  A random orthogonal transform in n log n steps.
 *
 * A round flips random signs and applies the Hadamard transform.  That needs
 * a power of two, P; other vectors are transformed in their first P elements
 * in even rounds and their last P in odd ones, and each round ends with a
 * butterfly between both halves of the vector.  Without the butterfly, a
 * vector of 1008 elements (P = 512) would exchange only the 16 elements
 * that both blocks share.
 *
 * Three rounds make coordinates look normally distributed whatever the input
 * was (as in the HD3 transform of Andoni et al., NIPS 2015); the fourth pays
 * for transforming only a part of the vector each time.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "quant/quant_kernels.h"
#include "quant/rotation.h"

static uint32
block_dims(uint32 dims)
{
	uint32		block = 16;

	Assert(dims >= 16 && dims % 16 == 0);
	while (block * 2 <= dims)
		block *= 2;
	return block;
}

static int
count_rounds(uint32 dims)
{
	return block_dims(dims) == dims ? 3 : 4;
}

Size
omen_rotation_size(uint32 dims)
{
	return (Size) count_rounds(dims) * (dims / 8);
}

/* SplitMix64 (Steele et al., OOPSLA 2014): any seed is as good as another */
static uint64
next_random(uint64 *state)
{
	uint64		z = (*state += UINT64CONST(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

void
omen_rotation_init(uint8 *signs, uint32 dims, uint64 seed)
{
	Size		size = omen_rotation_size(dims);

	for (Size i = 0; i < size; i++)
		signs[i] = (uint8) (next_random(&seed) >> 56);
}

void
omen_rotation_apply(const uint8 *signs, uint32 dims, float *x)
{
	const OmenCodeKernels *kernels = omen_code_kernels;
	uint32		block = block_dims(dims);
	int			rounds = count_rounds(dims);
	float		scale = (float) (1.0 / sqrt((double) block));

	for (int round = 0; round < rounds; round++)
	{
		uint32		start = round % 2 == 0 ? 0 : dims - block;

		kernels->flip_signs(dims, signs + (Size) round * (dims / 8), x);
		kernels->hadamard(block, scale, x + start);
		if (block != dims)
			kernels->mix_halves(dims, (float) M_SQRT1_2, x);
	}
}

float
omen_rotation_error(uint32 dims)
{
	int			steps = 0;

	/* a transform's stages, its scaling, the butterfly and its scaling */
	for (uint32 block = block_dims(dims); block > 1; block /= 2)
		steps++;
	return ldexpf((float) (count_rounds(dims) * (steps + 3)), -24);
}
