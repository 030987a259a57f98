/*-------------------------------------------------------------------------
 *
 * cpu.c
 *	  CPU and OS feature table, and the SIMD level in force.
 *
 * NOTES
 *	  The compiler's runtime checks both CPUID and XGETBV, so that a feature
 *	  counts only if the operating system saves its registers.  F16C is read
 *	  from CPUID directly since not every compiler knows it by name; it needs
 *	  no state beyond AVX's, which AVX2 implies.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/cpu.h"

static OmenCpuFeatures features;
static bool features_known = false;

static OmenSimdLevel current_level = OMEN_SIMD_GENERIC;
static bool level_known = false;

static OmenSimdCallback callbacks[OMEN_SIMD_MAX_CALLBACKS];
static int	ncallbacks = 0;

#if defined(__x86_64__)
static void
read_features(OmenCpuFeatures *f)
{
	unsigned int eax;
	unsigned int ebx;
	unsigned int ecx = 0;
	unsigned int edx;

	__builtin_cpu_init();
	f->avx2 = __builtin_cpu_supports("avx2") != 0;
	f->fma = __builtin_cpu_supports("fma") != 0;
	f->f16c = f->avx2 &&
		__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
	f->avx512f = __builtin_cpu_supports("avx512f") != 0;
	f->avx512bw = __builtin_cpu_supports("avx512bw") != 0;
	f->avx512vl = __builtin_cpu_supports("avx512vl") != 0;
	f->avx512dq = __builtin_cpu_supports("avx512dq") != 0;
	f->avx512vnni = __builtin_cpu_supports("avx512vnni") != 0;
	f->avx512vpopcntdq = __builtin_cpu_supports("avx512vpopcntdq") != 0;
}
#else
static void
read_features(OmenCpuFeatures *f)
{
#if defined(__aarch64__)
	f->neon = true;				/* part of the base architecture */
#endif
}
#endif

/*
 * The feature table, filled on first use and constant from then on.
 */
const OmenCpuFeatures *
omen_cpu_features(void)
{
	if (!features_known)
	{
		read_features(&features);
		features_known = true;
	}
	return &features;
}

/*
 * Whether this machine can run the kernels of a level.
 */
bool
omen_simd_supported(OmenSimdLevel level)
{
	const OmenCpuFeatures *f = omen_cpu_features();
	bool		avx2 = f->avx2 && f->fma && f->f16c;

	switch (level)
	{
		case OMEN_SIMD_GENERIC:
			return true;
		case OMEN_SIMD_NEON:
			return f->neon;
		case OMEN_SIMD_AVX2:
			return avx2;
		case OMEN_SIMD_AVX512:
			return avx2 && f->avx512f && f->avx512bw && f->avx512vl &&
				f->avx512dq;
	}
	return false;
}

/*
 * The best level this machine can run.
 */
OmenSimdLevel
omen_simd_detect(void)
{
	if (omen_simd_supported(OMEN_SIMD_AVX512))
		return OMEN_SIMD_AVX512;
	if (omen_simd_supported(OMEN_SIMD_AVX2))
		return OMEN_SIMD_AVX2;
	if (omen_simd_supported(OMEN_SIMD_NEON))
		return OMEN_SIMD_NEON;
	return OMEN_SIMD_GENERIC;
}

/*
 * The level in force: the detected one until omen_simd_assign says otherwise.
 */
OmenSimdLevel
omen_simd_level(void)
{
	if (!level_known)
	{
		current_level = omen_simd_detect();
		level_known = true;
	}
	return current_level;
}

/*
 * Add a kernel table.  The callback is called at once with the level in
 * force, and again at every change.
 */
void
omen_simd_register(OmenSimdCallback callback)
{
	Assert(ncallbacks < OMEN_SIMD_MAX_CALLBACKS);
	callbacks[ncallbacks++] = callback;
	callback(omen_simd_level());
}

/*
 * Put a level in force.  The caller has checked omen_simd_supported.
 */
void
omen_simd_assign(OmenSimdLevel level)
{
	Assert(omen_simd_supported(level));
	current_level = level;
	level_known = true;
	for (int i = 0; i < ncallbacks; i++)
		callbacks[i] (level);
}
