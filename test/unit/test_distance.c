/* link: src/distance/distance*.c src/base/cpu.c */
/*-------------------------------------------------------------------------
 *
 * test_distance.c
 *	  Every distance kernel of every SIMD level this machine has, against the
 *	  generic one; and the generic one against sums in double precision.
 *
 * Arrays end right before a page that must not be touched, so that a tail
 * that reads too far kills the test, and start at every alignment on the way.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "distance/distance.h"

#undef printf
#undef snprintf

#define MAX_DIM 16000

/* Dimensions tested: 1 to 130, then some real ones */
#define SMALL_DIMS 130
static const int large_dims[] = {783, 784, 1536, MAX_DIM};

/* Sums of n floats differ by order of addition; relative to the sum of |x| */
#define TOLERANCE 2e-5

typedef struct Pair
{
	float	   *a;				/* MAX_DIM elements, then the guard page */
	float	   *b;
	OmenHalf   *half_a;
	OmenHalf   *half_b;
	uint8	   *bits_a;
	uint8	   *bits_b;
} Pair;

static int	ntests = 0;
static int	nfailed = 0;
static uint32 random_state = 12345;

static void
report(bool ok, const char *level, const char *what)
{
	ntests++;
	nfailed += !ok;
	printf("%s %d - %s: %s\n", ok ? "ok" : "not ok", ntests, level, what);
}

static uint32
next_random(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static float
random_float(void)
{
	return (float) ((int) (next_random() % 20001) - 10000) / 8192;
}

/* Memory whose end is the start of a protected page */
static void *
alloc_guarded(size_t size)
{
	size_t		page = sysconf(_SC_PAGESIZE);
	size_t		usable = (size + page - 1) / page * page;
	char	   *start = mmap(NULL, usable + page, PROT_READ | PROT_WRITE,
							 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED || mprotect(start + usable, page, PROT_NONE) != 0)
	{
		printf("Bail out! cannot map memory\n");
		exit(1);
	}
	return start + usable - size;
}

static void
fill_pair(Pair *pair)
{
	pair->a = alloc_guarded(MAX_DIM * sizeof(float));
	pair->b = alloc_guarded(MAX_DIM * sizeof(float));
	pair->half_a = alloc_guarded(MAX_DIM * sizeof(OmenHalf));
	pair->half_b = alloc_guarded(MAX_DIM * sizeof(OmenHalf));
	pair->bits_a = alloc_guarded(MAX_DIM);
	pair->bits_b = alloc_guarded(MAX_DIM);
	for (int i = 0; i < MAX_DIM; i++)
	{
		pair->a[i] = random_float();
		pair->b[i] = random_float();
		pair->half_a[i] = omen_float_to_half(pair->a[i]);
		pair->half_b[i] = omen_float_to_half(pair->b[i]);
		pair->bits_a[i] = (uint8) next_random();
		pair->bits_b[i] = (uint8) next_random();
	}
}

/* The last dim elements, which end at the guard page */
#define TAIL(array, dim) ((array) + MAX_DIM - (dim))

static int
nth_dim(int i)
{
	return i < SMALL_DIMS ? i + 1 : large_dims[i - SMALL_DIMS];
}

#define NDIMS (SMALL_DIMS + (int) lengthof(large_dims))

/* Equal up to rounding, or the same infinity, or both NaN */
static bool
close_to(double x, double y, double scale)
{
	if (isnan(x) || isnan(y))
		return isnan(x) && isnan(y);
	if (isinf(x) || isinf(y))
		return x == y;
	return fabs(x - y) <= TOLERANCE * scale + 1e-30;
}

typedef enum Sum
{
	SUM_L2,
	SUM_IP,
	SUM_L1
} Sum;

static const char *const sum_names[] = {"l2_squared", "inner_product", "l1"};

/* The sum in double precision, and the sum of its terms' magnitudes */
static double
exact_sum(Sum sum, int dim, const float *a, const float *b, double *scale)
{
	double		result = 0;

	*scale = 0;
	for (int i = 0; i < dim; i++)
	{
		double		diff = (double) a[i] - b[i];
		double		term = sum == SUM_L2 ? diff * diff :
			sum == SUM_IP ? (double) a[i] * b[i] : fabs(diff);

		result += term;
		*scale += fabs(term);
	}
	return result;
}

static OmenDistanceF32
sum_f32(const OmenDistanceOps *ops, Sum sum)
{
	return sum == SUM_L2 ? ops->l2_squared_f32 :
		sum == SUM_IP ? ops->inner_product_f32 : ops->l1_f32;
}

static OmenDistanceF16
sum_f16(const OmenDistanceOps *ops, Sum sum)
{
	return sum == SUM_L2 ? ops->l2_squared_f16 :
		sum == SUM_IP ? ops->inner_product_f16 : ops->l1_f16;
}

static void
test_sums(const OmenDistanceOps *ops, const Pair *pair)
{
	static float a[MAX_DIM];
	static float b[MAX_DIM];

	for (Sum sum = SUM_L2; sum <= SUM_L1; sum++)
	{
		bool		ok32 = true;
		bool		ok16 = true;
		char		name[64];

		for (int i = 0; i < NDIMS; i++)
		{
			int			dim = nth_dim(i);
			const OmenHalf *ha = TAIL(pair->half_a, dim);
			const OmenHalf *hb = TAIL(pair->half_b, dim);
			double		scale;
			double		exact;

			exact = exact_sum(sum, dim, TAIL(pair->a, dim),
							  TAIL(pair->b, dim), &scale);
			ok32 &= close_to(exact,
							 sum_f32(ops, sum) (dim, TAIL(pair->a, dim),
												TAIL(pair->b, dim)), scale);
			for (int j = 0; j < dim; j++)
			{
				a[j] = omen_half_to_float(ha[j]);
				b[j] = omen_half_to_float(hb[j]);
			}
			exact = exact_sum(sum, dim, a, b, &scale);
			ok16 &= close_to(exact, sum_f16(ops, sum) (dim, ha, hb), scale);
		}
		snprintf(name, sizeof(name), "%s_f32", sum_names[sum]);
		report(ok32, ops->name, name);
		snprintf(name, sizeof(name), "%s_f16", sum_names[sum]);
		report(ok16, ops->name, name);
	}
}

static bool
close_parts(OmenCosineParts x, OmenCosineParts y)
{
	return close_to(x.dot, y.dot, sqrt((double) x.norm_a * x.norm_b)) &&
		close_to(x.norm_a, y.norm_a, x.norm_a) &&
		close_to(x.norm_b, y.norm_b, x.norm_b);
}

static void
test_cosine(const OmenDistanceOps *ops, const Pair *pair)
{
	const OmenDistanceOps *generic = &omen_distance_generic_ops;
	bool		ok32 = true;
	bool		ok16 = true;
	bool		self = true;

	for (int i = 0; i < NDIMS; i++)
	{
		int			dim = nth_dim(i);
		const float *a = TAIL(pair->a, dim);
		const float *b = TAIL(pair->b, dim);
		const OmenHalf *ha = TAIL(pair->half_a, dim);
		const OmenHalf *hb = TAIL(pair->half_b, dim);
		double		distance;

		distance = omen_cosine_distance(ops->cosine_f32(dim, a, a));
		ok32 &= close_parts(generic->cosine_f32(dim, a, b),
							ops->cosine_f32(dim, a, b));
		ok16 &= close_parts(generic->cosine_f16(dim, ha, hb),
							ops->cosine_f16(dim, ha, hb));
		self &= distance >= 0 && distance < 1e-6;
	}
	report(ok32, ops->name, "cosine_f32");
	report(ok16, ops->name, "cosine_f16");
	report(self, ops->name, "cosine distance to itself is 0, not below");
}

static void
test_special_values(const OmenDistanceOps *ops)
{
	static const float special[] = {
		0, -0.0f, 1e-45f, 1e-38f, 3e38f, -3e38f, INFINITY, -INFINITY, NAN
	};
	bool		ok = true;
	float		a[21];
	float		b[21];

	/* a special value in every lane position, against every other */
	for (int position = 0; position < 21; position++)
	{
		for (int i = 0; i < (int) (lengthof(special) * lengthof(special)); i++)
		{
			for (int j = 0; j < 21; j++)
				a[j] = b[j] = 1;
			a[position] = special[i % lengthof(special)];
			b[position] = special[i / lengthof(special)];
			for (Sum sum = SUM_L2; sum <= SUM_L1; sum++)
				ok &= close_to(sum_f32(&omen_distance_generic_ops, sum)
							   (21, a, b), sum_f32(ops, sum) (21, a, b), 1e38);
		}
	}
	report(ok, ops->name, "infinity, NaN, overflow and subnormals");

	memset(a, 0, sizeof(a));
	report(isnan(omen_cosine_distance(ops->cosine_f32(21, a, b))), ops->name,
		   "cosine distance to zero is NaN");
	report(ops->l2_squared_f32(0, a, b) == 0 &&
		   ops->hamming(0, NULL, NULL) == 0, ops->name, "nothing has distance 0");
}

static void
test_unaligned(const OmenDistanceOps *ops, const Pair *pair)
{
	const OmenDistanceOps *generic = &omen_distance_generic_ops;
	bool		ok = true;

	for (int shift = 0; shift < 32; shift++)
	{
		const float *a = pair->a + shift;
		const float *b = pair->b + (shift * 7) % 32;
		const OmenHalf *ha = pair->half_a + shift;
		const OmenHalf *hb = pair->half_b + (shift * 7) % 32;

		ok &= close_to(generic->l2_squared_f32(101, a, b),
					   ops->l2_squared_f32(101, a, b), 101);
		ok &= close_to(generic->l2_squared_f16(101, ha, hb),
					   ops->l2_squared_f16(101, ha, hb), 101);
		ok &= generic->hamming(101, pair->bits_a + shift, pair->bits_b) ==
			ops->hamming(101, pair->bits_a + shift, pair->bits_b);
	}
	report(ok, ops->name, "unaligned starts");
}

static void
test_bits(const OmenDistanceOps *ops, const Pair *pair)
{
	bool		ok_hamming = true;
	bool		ok_jaccard = true;

	for (int i = 0; i < NDIMS; i++)
	{
		int			n = nth_dim(i);
		const uint8 *a = TAIL(pair->bits_a, n);
		const uint8 *b = TAIL(pair->bits_b, n);
		OmenJaccardParts parts = ops->jaccard(n, a, b);
		uint64		differ = 0;
		uint64		both = 0;
		uint64		either = 0;

		for (int j = 0; j < n * 8; j++)
		{
			int			x = a[j / 8] >> (j % 8) & 1;
			int			y = b[j / 8] >> (j % 8) & 1;

			differ += x ^ y;
			both += x & y;
			either += x | y;
		}
		ok_hamming &= ops->hamming(n, a, b) == differ;
		ok_jaccard &= parts.both == both && parts.either == either;
	}
	report(ok_hamming, ops->name, "hamming");
	report(ok_jaccard, ops->name, "jaccard");
}

static void
test_codes_within(const OmenDistanceOps *ops)
{
	static const uint64 ends[] = {
		0, 1, 1000, INT64_MAX, (uint64) INT64_MAX + 1, UINT64_MAX - 1, UINT64_MAX
	};
	const int	nends = sizeof(ends) / sizeof(ends[0]);
	uint64		codes[65];
	bool		ok = true;

	for (int i = 0; i < 65; i++)
		codes[i] = ends[i % nends] + (uint64) (i / nends) - 2;
	for (int i = 0; i < nends * nends; i++)
	{
		uint64		low = ends[i / nends];
		uint64		high = ends[i % nends];
		uint64		bits = 0;

		if (low > high)
			continue;
		for (int j = 0; j < 64; j++)
			bits |= (uint64) (codes[j + 1] >= low && codes[j + 1] <= high) << j;
		ok &= ops->codes_within(codes + 1, low, high - low) == bits;
	}
	report(ok, ops->name, "codes within a range");
}

/* Whether h is the half nearest to f, the even one of two equally near */
static bool
is_nearest_half(float f, OmenHalf h)
{
	double		magnitude = fabs((double) f);
	OmenHalf	m = h & 0x7FFF;
	double		here;
	double		below;
	double		above;

	if (isnan(f))
		return omen_half_is_nan(h);
	if (isinf(f))
		return omen_half_is_inf(h) && (h >> 15) == (f < 0);
	if ((h >> 15) != (omen_float_bits(f) >> 31))
		return false;
	/* half way to the next neighbours; infinity stands where 65536 would be */
	here = m == 0x7C00 ? 65536.0 : omen_half_to_float(m);
	below = m == 0 ? -1 : (omen_half_to_float(m - 1) + here) / 2;
	above = m == 0x7C00 ? INFINITY :
		(here + (m == 0x7BFF ? 65536.0 : omen_half_to_float(m + 1))) / 2;
	if (magnitude == below || magnitude == above)
		return m % 2 == 0;
	return magnitude > below && magnitude < above;
}

static void
test_half_to_float(const OmenDistanceOps *ops)
{
	static OmenHalf all[65536];
	static float floats[65536];
	static OmenHalf back[65536];
	bool		ok = true;
	bool		ok_back = true;

	for (int i = 0; i < 65536; i++)
		all[i] = (OmenHalf) i;
	ops->half_to_float(65536, all, floats);
	ops->float_to_half(65536, floats, back);
	for (int i = 0; i < 65536; i++)
	{
		int			exponent = i >> 10 & 31;
		int			fraction = i & 1023;
		double		exact = exponent == 31 ? (fraction ? NAN : INFINITY) :
			exponent == 0 ? ldexp(fraction, -24) :
			ldexp(1024 + fraction, exponent - 25);

		if (i >> 15)
			exact = -exact;
		ok &= isnan(exact) ? isnan(floats[i]) : floats[i] == exact;
		ok_back &= isnan(exact) ? omen_half_is_nan(back[i]) : back[i] == i;
	}
	report(ok, ops->name, "every half to float");
	report(ok_back, ops->name, "every half to float and back");
}

static void
test_float_to_half(const OmenDistanceOps *ops)
{
	enum
	{
		N = 1003
	};
	float		floats[N];
	OmenHalf	halves[N];
	bool		ok = true;

	for (int round = 0; round < 200; round++)
	{
		for (int i = 0; i < N; i++)
		{
			uint32		bits = next_random() << 16 ^ next_random();

			/* every other number: half way between two halves, or close */
			if (i % 2)
				bits = omen_float_bits(omen_half_to_float(bits & 0xFFFF)) +
					0x1000 + next_random() % 3 - 1;
			floats[i] = omen_bits_float(bits);
		}
		ops->float_to_half(N, floats, halves);
		for (int i = 0; i < N; i++)
			ok &= is_nearest_half(floats[i], halves[i]);
	}
	report(ok, ops->name, "float to the nearest half");

	floats[0] = 65519.996f;
	floats[1] = 65520;
	floats[2] = 0x1p-25f;
	floats[3] = 0x1.8p-24f;
	ops->float_to_half(4, floats, halves);
	report(halves[0] == 0x7BFF && halves[1] == 0x7C00 &&
		   halves[2] == 0 && halves[3] == 2,
		   ops->name, "halves round to even, at both ends of their range");
}

int
main(void)
{
	Pair		pair;

	fill_pair(&pair);
	for (OmenSimdLevel level = OMEN_SIMD_GENERIC; level <= OMEN_SIMD_AVX512;
		 level++)
	{
		const OmenDistanceOps *ops = omen_distance_ops(level);

		if (ops == NULL || !omen_simd_supported(level))
			continue;
		test_sums(ops, &pair);
		test_cosine(ops, &pair);
		test_special_values(ops);
		test_unaligned(ops, &pair);
		test_bits(ops, &pair);
		test_codes_within(ops);
		test_half_to_float(ops);
		test_float_to_half(ops);
	}

	omen_distance_init();
	report(omen_distance == omen_distance_ops(omen_simd_detect()), "choice",
		   "the best level of this machine is chosen");
	omen_simd_assign(OMEN_SIMD_GENERIC);
	report(omen_distance == &omen_distance_generic_ops, "choice",
		   "a change of level changes the table");

	printf("1..%d\n", ntests);
	return nfailed == 0 ? 0 : 1;
}
