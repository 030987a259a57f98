/*-------------------------------------------------------------------------
 *
 * text_kernels_generic.c
 *	  Kernels over postings in plain C: for CPUs without a level of their own,
 *	  and the oracle the other levels are tested against.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <string.h>

#include "text/text_kernels.h"

#define OMEN_ISA generic

#define V_LANES 1
#define VI uint32
#define vi_set(x) (x)
#define vi_load(p) (*(p))
#define vi_store(p, v) (*(p) = (v))
#define vi_add(a, b) ((a) + (b))
#define vi_store_u16(p, v) (*(p) = (uint16) (v))
#define vi_prefix(v) (v)
#define vi_last(v) (v)

#define VF float
#define vf_set(x) (x)
#define vf_load(p) (*(p))
#define vf_store(p, v) (*(p) = (v))
#define vf_add(a, b) ((a) + (b))
#define vf_mul(a, b) ((a) * (b))
#define vf_div(a, b) ((a) / (b))
#define vf_fma(a, b, c) ((c) + (a) * (b))
#define vf_load_u16(p) ((float) *(p))
#define vf_max(a, b) ((a) > (b) ? (a) : (b))
#define vf_largest(v) (v)
#define vf_mask_ge(a, b) ((uint32) ((a) >= (b)))

typedef struct Unpacker
{
	int			width;
} Unpacker;

static inline Unpacker
unpacker(int width)
{
	return (Unpacker){width};
}

static inline uint32
unpack(const Unpacker *u, const uint8 *packed, int i)
{
	int			bit = i * u->width;
	const uint8 *p = packed + bit / 8;
	uint32		word = (uint32) p[0] | (uint32) p[1] << 8 |
		(uint32) p[2] << 16 | (uint32) p[3] << 24;

	return word >> (bit % 8) & (((uint32) 1 << u->width) - 1);
}

/* Without branches: half of the documents left are before doc or they are not */
static int
lower(int n, const uint32 *docs, uint32 doc)
{
	const uint32 *base = docs;

	while (n > 1)
	{
		int			half = n / 2;

		base += half & -(base[half - 1] < doc);
		n -= half;
	}
	return (int) (base - docs) + (*base < doc);
}

#include "text/text_kernels_template.h"
