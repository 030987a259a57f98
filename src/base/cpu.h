/*-------------------------------------------------------------------------
 *
 * cpu.h
 *	  What this CPU and operating system can run, and which of it is in use.
 *
 * A level names a family of kernels.  Every table of kernels (distances,
 * quantizers) registers a callback; whenever the level in force changes, be
 * it by detection at load or by the setting omendb.simd, each callback is
 * told and switches its table.  Nothing here depends on the server, so that
 * kernels can be tested and timed without one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BASE_CPU_H
#define OMEN_BASE_CPU_H

/*
 * Kernel families, each a superset in speed, not in instructions.
 *
 * AVX2 means AVX2, FMA and F16C; AVX512 means those and AVX-512 F, BW, VL and
 * DQ (the first server generation that had AVX-512 has all four).  Newer
 * AVX-512 parts are no levels of their own: kernels look them up in
 * OmenCpuFeatures.
 */
typedef enum OmenSimdLevel
{
	OMEN_SIMD_GENERIC,
	OMEN_SIMD_NEON,
	OMEN_SIMD_AVX2,
	OMEN_SIMD_AVX512
} OmenSimdLevel;

/*
 * Compiling a part of a file for one level.  Open the region after all
 * includes, else inline functions of other headers are compiled for that
 * level too and may be the copies the linker keeps.
 */
#define OMEN_TARGET_AVX2 "avx2,fma,f16c,popcnt"
#define OMEN_TARGET_AVX512 "avx512f,avx512bw,avx512vl,avx512dq"

#define OMEN_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define OMEN_TARGET_BEGIN(isa) \
	OMEN_PRAGMA(clang attribute push (__attribute__((target(isa))), \
									  apply_to = function))
#define OMEN_TARGET_END _Pragma("clang attribute pop")
#else
#define OMEN_TARGET_BEGIN(isa) \
	_Pragma("GCC push_options") OMEN_PRAGMA(GCC target(isa))
#define OMEN_TARGET_END _Pragma("GCC pop_options")
#endif

/* Usable instruction sets: the CPU has them, the system saves their state */
typedef struct OmenCpuFeatures
{
	bool		avx2;
	bool		fma;
	bool		f16c;
	bool		avx512f;
	bool		avx512bw;
	bool		avx512vl;
	bool		avx512dq;
	bool		avx512vnni;
	bool		avx512vpopcntdq;
	bool		neon;
} OmenCpuFeatures;

/* Called with the level now in force; must not fail */
typedef void (*OmenSimdCallback) (OmenSimdLevel level);

/* Room for one callback per kernel table; checked by omen_simd_register */
#define OMEN_SIMD_MAX_CALLBACKS 8

extern const OmenCpuFeatures *omen_cpu_features(void);
extern OmenSimdLevel omen_simd_detect(void);
extern bool omen_simd_supported(OmenSimdLevel level);
extern OmenSimdLevel omen_simd_level(void);
extern void omen_simd_register(OmenSimdCallback callback);
extern void omen_simd_assign(OmenSimdLevel level);

#endif							/* OMEN_BASE_CPU_H */
