/*-------------------------------------------------------------------------
 *
 * text_kernels.c
 *	  The table of kernels over postings that is in force.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include "text/text_kernels.h"

static void use_level(OmenSimdLevel level);

const OmenTextKernels *omen_text_kernels = &omen_text_kernels_generic;

void
omen_text_init_kernels(void)
{
	omen_simd_register(use_level);
}

static void
use_level(OmenSimdLevel level)
{
	const OmenTextKernels *kernels = omen_text_kernels_of(level);

	Assert(kernels != NULL);
	omen_text_kernels = kernels;
}

const OmenTextKernels *
omen_text_kernels_of(OmenSimdLevel level)
{
	switch (level)
	{
		case OMEN_SIMD_GENERIC:
			return &omen_text_kernels_generic;
#if defined(__x86_64__)
		case OMEN_SIMD_AVX2:
			return &omen_text_kernels_avx2;
		case OMEN_SIMD_AVX512:
			return &omen_text_kernels_avx512;
#endif
#if defined(__aarch64__)
		case OMEN_SIMD_NEON:
			return &omen_text_kernels_neon;
#endif
		default:
			return NULL;
	}
}
