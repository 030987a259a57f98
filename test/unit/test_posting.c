/* link: src/text/posting.c src/text/bm25.c src/text/text_kernels*.c src/base/cpu.c */

/*
 * Codes of postings at each size and width, on all levels, from broken bytes
 * too; bounds of blocks; units of weights.
 */
#include "c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/bm25.h"
#include "text/text_kernels.h"
#include "random.h"

static int	ntests = 0;
static int	nfailed = 0;

static void
ok(bool good, const char *name)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++ntests, name);
	nfailed += !good;
}

static const OmenSimdLevel levels[] = {
	OMEN_SIMD_GENERIC, OMEN_SIMD_NEON, OMEN_SIMD_AVX2, OMEN_SIMD_AVX512
};

#define BLOCK OMEN_POSTING_BLOCK

/* n postings from base on, the gaps and the frequencies of so many bits */
static void
make_block(int n, int width, int tf_width, uint32 base, uint32 *docs,
		   uint16 *tfs)
{
	uint64		next = base;

	for (int i = 0; i < n; i++)
	{
		uint32		gap = width == 0 ? 0 : random_bits() >> (32 - width);

		if (next + gap + (n - i) > OMEN_MAX_DOC)
			gap = 0;
		docs[i] = (uint32) next + gap;
		next = docs[i] + 1;
		tfs[i] = (uint16) (1 + (tf_width == 0 ? 0 :
								random_bits() >> (32 - tf_width)));
	}
}

/*
 * Encode, and decode with no byte more than there is and with many more.  The
 * block ends where its memory does, so that a checker of memory sees it.
 */
static bool
survives(int n, uint32 base, const uint32 *docs, const uint16 *tfs)
{
	uint8		out[OMEN_POSTING_MAX_SIZE(BLOCK) + 256];
	Size		size = omen_posting_encode(docs, tfs, n, base, out);
	bool		same = size <= OMEN_POSTING_MAX_SIZE(n);
	uint8	   *exact = malloc(size);

	memcpy(exact, out, size);
	for (int more = 0; more <= 256; more += 256)
	{
		const uint8 *block = more == 0 ? exact : out;
		uint32		got_docs[BLOCK];
		uint16		got_tfs[BLOCK];

		same = same && omen_posting_size(block, size + more, n) == size &&
			omen_posting_decode_docs(block, size + more, n, base,
									 docs[n - 1] + 1, got_docs) &&
			omen_posting_decode_tfs(block, size + more, n, got_tfs) &&
			memcmp(docs, got_docs, n * sizeof(uint32)) == 0 &&
			memcmp(tfs, got_tfs, n * sizeof(uint16)) == 0 &&
			!omen_posting_decode_docs(block, size + more, n, base,
									  docs[n - 1], got_docs);
	}
	same = same && omen_posting_size(exact, size - 1, n) == 0;
	free(exact);
	return same;
}

static void
test_round_trip(void)
{
	uint32		docs[BLOCK];
	uint16		tfs[BLOCK];
	bool		sizes = true;
	bool		widths = true;
	bool		zero = true;

	for (int n = 1; n <= BLOCK; n++)
		for (int tf_width = 0; tf_width <= 16; tf_width++)
		{
			make_block(n, n % 20, tf_width, random_bits() >> 4, docs, tfs);
			sizes = sizes && survives(n, docs[0], docs, tfs);
		}
	for (int width = 0; width <= 31; width++)
		for (int repeat = 0; repeat < 20; repeat++)
		{
			uint32		base = repeat == 0 ? 0 : random_bits() >> 6;

			make_block(repeat < 10 ? BLOCK : 1 + repeat, width, repeat % 3,
					   base, docs, tfs);
			widths = widths && survives(repeat < 10 ? BLOCK : 1 + repeat,
										base, docs, tfs);
		}
	make_block(BLOCK, 3, 4, 7, docs, tfs);
	tfs[3] = 0;
	tfs[100] = 65535;
	zero = survives(BLOCK, 7, docs, tfs);
	ok(sizes, "blocks of any size survive, with frequencies of any width");
	ok(widths, "gaps of any width survive");
	ok(zero, "frequencies of 0 and 65535 survive");
}

static void
test_size(void)
{
	uint32		docs[BLOCK];
	uint16		tfs[BLOCK];
	uint8		out[OMEN_POSTING_MAX_SIZE(BLOCK)];

	for (int i = 0; i < BLOCK; i++)
	{
		docs[i] = 1000 + 2 * i;
		tfs[i] = 1;
	}
	docs[0] = 999999;
	ok(omen_posting_encode(docs, tfs, 1, 0, out) == 4,
	   "a term of one document of a million takes four bytes");
	docs[0] = 1000;
	tfs[17] = 200;
	ok(omen_posting_encode(docs, tfs, BLOCK, 1000, out) == 2 + BLOCK / 8 + 2,
	   "one large frequency costs two bytes");
}

/* Any bytes are decoded to ascending numbers below the end, or are refused */
static void
test_broken(void)
{
	bool		good = true;

	for (int repeat = 0; repeat < 200000; repeat++)
	{
		int			n = 1 + random_bits() % BLOCK;
		Size		size = random_bits() % 300;
		uint32		base = random_bits() >> random_bits() % 32;
		uint32		end = random_bits() >> 1 >> random_bits() % 31;
		uint8	   *block = malloc(size + 1);
		uint32		docs[BLOCK];
		uint16		tfs[BLOCK];

		for (Size i = 0; i < size; i++)
			block[i] = (uint8) random_bits();
		/* where memory is checked, a byte too many shows */
		block = realloc(block, Max(size, 1));
		if (omen_posting_decode_docs(block, size, n, base, end, docs))
		{
			if (docs[0] < base || docs[n - 1] >= end)
				good = false;
			for (int i = 1; i < n; i++)
				if (docs[i] <= docs[i - 1])
					good = false;
		}
		omen_posting_decode_tfs(block, size, n, tfs);
		if (omen_posting_size(block, size, n) > size)
			good = false;
		free(block);
	}
	ok(good, "random bytes are refused or decoded within bounds");
}

/* --- the other kernels against plain C --- */

static void
test_score(const OmenTextKernels *kernels)
{
	const OmenTextKernels *generic = omen_text_kernels_of(OMEN_SIMD_GENERIC);
	OmenScoreForm form = {3.5f, 0.3f, 0.011f};
	uint16		lengths[1001];
	bool		same = true;
	char		name[80];

	for (int i = 0; i < lengthof(lengths); i++)
		lengths[i] = random_bits() % 300;
	lengths[700] = OMEN_LONG_LENGTH;
	for (int n = 1; n <= BLOCK; n++)
	{
		uint32		docs[BLOCK];
		uint16		tfs[BLOCK];
		float		want[BLOCK];
		float		got[BLOCK];

		make_block(n, 2, 3, 5000 + random_bits() % 400, docs, tfs);
		if (kernels->score(&form, n, tfs, docs, lengths, 5000, got) !=
			generic->score(&form, n, tfs, docs, lengths, 5000, want))
			same = false;
		for (int i = 0; i < n; i++)
			if (fabsf(got[i] - want[i]) > 1e-6f * want[i])
				same = false;
	}
	snprintf(name, sizeof(name), "%s: scores are those of plain C",
			 kernels->name);
	ok(same, name);
}

static void
test_lower(const OmenTextKernels *kernels)
{
	bool		same = true;
	char		name[80];

	for (int repeat = 0; repeat < 3000; repeat++)
	{
		int			n = 1 + repeat % BLOCK;
		uint32		docs[BLOCK];
		uint16		tfs[BLOCK];
		uint32		doc;
		int			want = 0;

		make_block(n, repeat % 25, 1, random_bits() % 1000, docs, tfs);
		doc = repeat % 3 == 0 ? docs[random_bits() % n] :
			repeat % 3 == 1 ? docs[random_bits() % n] + 1 : random_bits() >> 1;
		for (int i = 0; i < n; i++)
			want += docs[i] < doc;
		if (kernels->lower(n, docs, doc) != want)
			same = false;
	}
	snprintf(name, sizeof(name), "%s: documents before one are counted",
			 kernels->name);
	ok(same, name);
}

static void
test_raise(const OmenTextKernels *kernels)
{
	bool		same = true;
	char		name[80];
	float		norms[OMEN_LENGTHS];

	for (int i = 0; i < OMEN_LENGTHS; i++)
		norms[i] = 0.3f + 0.1f * i;
	for (int from = 0; from <= OMEN_LENGTHS; from++)
	{
		float		got[OMEN_LENGTHS];

		for (int i = 0; i < OMEN_LENGTHS; i++)
			got[i] = i % 3 == 0 ? 100 : 0;
		kernels->raise(norms, 2, 3, from, got);
		for (int i = 0; i < OMEN_LENGTHS; i++)
		{
			float		want = i % 3 == 0 ? 100 :
				i < from ? 0 : 6 / (3 + norms[i]);

			if (fabsf(got[i] - want) > 1e-6f * want)
				same = false;
		}
	}
	snprintf(name, sizeof(name), "%s: bounds are raised, for long enough ones",
			 kernels->name);
	ok(same, name);
}

#define LINES 64

static void
test_collect(const OmenTextKernels *kernels)
{
	bool		same = true;
	char		name[80];

	for (int repeat = 0; repeat < 100; repeat++)
	{
		float		sums[LINES * OMEN_TEXT_LINE] = {0};
		uint8		marks[LINES] = {0};
		uint32		places[LINES * OMEN_TEXT_LINE];
		float		found[LINES * OMEN_TEXT_LINE];
		uint32		want[LINES * OMEN_TEXT_LINE];
		float		want_sum[LINES * OMEN_TEXT_LINE];
		int			n = 0;

		for (int i = 0; i < repeat * 10; i++)
		{
			int			at = random_bits() % lengthof(sums);

			sums[at] = random_unit();
			marks[at / OMEN_TEXT_LINE] = 1;
		}
		for (int i = 0; i < lengthof(sums); i++)
			if (sums[i] >= 0.25f)
			{
				want[n] = i;
				want_sum[n++] = sums[i];
			}
		if (kernels->collect(LINES, marks, sums, 0.25f, places, found) != n ||
			memcmp(places, want, n * sizeof(uint32)) != 0 ||
			memcmp(found, want_sum, n * sizeof(float)) != 0)
			same = false;
		for (int i = 0; i < lengthof(sums); i++)
			if (sums[i] != 0 || marks[i / OMEN_TEXT_LINE] != 0)
				same = false;
	}
	snprintf(name, sizeof(name), "%s: sums are collected and cleared",
			 kernels->name);
	ok(same, name);
}

/* --- bounds --- */

static void
test_codes(void)
{
	bool		good = true;

	for (uint32 i = 0; i <= 65535; i++)
	{
		if (omen_value_of_code(omen_tf_code((uint16) i)) < i ||
			omen_value_of_code(omen_tf_code((uint16) i)) > i + i / 16 ||
			omen_value_of_code(omen_length_code(i)) > i ||
			omen_value_of_code(omen_length_code(i)) < i - i / 16)
			good = false;
		if (i > 0 && (omen_tf_code((uint16) i) < omen_tf_code((uint16) (i - 1)) ||
					  omen_length_code(i) < omen_length_code(i - 1)))
			good = false;
	}
	if (omen_value_of_code(omen_length_code(4000000000u)) > 4000000000u)
		good = false;
	ok(good, "codes round frequencies up, lengths down, by a sixteenth at most");
}

static double
saturate(double tf, double length, double k1, double b, double avgdl)
{
	OmenBm25	bm25 = {k1, b, avgdl, 1};

	return omen_bm25_term(&bm25, 1, tf, length);
}

static bool
is_bound(OmenBlockBound bound, const uint16 *tfs, const uint32 *lengths, int n,
		 double k1, double b)
{
	double		most = 0;

	for (int i = 0; i < 2; i++)
		most = Max(most, saturate(omen_value_of_code(bound.tf[i]),
								  omen_value_of_code(bound.length[i]), k1, b,
								  120));
	for (int i = 0; i < n; i++)
		if (saturate(tfs[i], lengths[i], k1, b, 120) > most)
			return false;
	return true;
}

static void
test_bounds(void)
{
	bool		good = true;
	bool		joined = true;

	for (int repeat = 0; repeat < 3000; repeat++)
	{
		uint16		tfs[BLOCK];
		uint32		lengths[BLOCK];
		int			n = 2 + random_bits() % (BLOCK - 1);
		double		k1 = random_unit() * 3;
		double		b = random_unit();
		OmenBlockBound halves[2];

		for (int i = 0; i < n; i++)
		{
			tfs[i] = random_bits() >> (16 + random_bits() % 16);
			lengths[i] = 1 + random_bits() % 1000;
		}
		if (!is_bound(omen_block_bound(tfs, lengths, n), tfs, lengths, n, k1, b))
			good = false;
		halves[0] = omen_block_bound(tfs, lengths, n / 2);
		halves[1] = omen_block_bound(tfs + n / 2, lengths + n / 2, n - n / 2);
		if (!is_bound(omen_block_bound_join(halves[0], halves[1]), tfs,
					  lengths, n, k1, b))
			joined = false;
	}
	ok(good, "no score is above the bound of its block, whatever k1 and b");
	ok(joined, "nor above a bound joined of two");
}

static void
test_units(void)
{
	double		ones[] = {1, 1, 1, 1};
	double		usual[] = {0.1, 0.2, 0.4, 1};
	double		odd[] = {1.0 / 3, 0.123456, 7.7, 0};
	double		large[] = {100, 1, 1, 1};
	OmenTextUnits u = omen_text_units(ones);
	int			most[] = {0, 0, 255, 0};
	bool		good = u.unit == 1 && u.units[0] == 1 && u.units[3] == 1;

	ok(good, "weights of 1 count positions");
	u = omen_text_units(usual);
	ok(u.unit == 10 && u.units[0] == 1 && u.units[1] == 2 && u.units[2] == 4 &&
	   u.units[3] == 10, "the usual weights are whole tenths");
	u = omen_text_units(odd);
	ok(u.unit > 16 && omen_text_tf(&u, most) == 255 * u.units[2] &&
	   u.units[3] == 0, "odd weights are rounded, and no sum overflows");
	u = omen_text_units(large);
	ok(u.unit == 1 && u.units[0] == 100, "large weights are whole as well");
}

int
main(void)
{
	test_codes();
	test_bounds();
	test_units();
	test_size();
	for (int i = 0; i < lengthof(levels); i++)
	{
		if (!omen_simd_supported(levels[i]))
			continue;
		omen_text_kernels = omen_text_kernels_of(levels[i]);
		printf("# %s\n", omen_text_kernels->name);
		test_round_trip();
		test_broken();
		test_score(omen_text_kernels);
		test_lower(omen_text_kernels);
		test_raise(omen_text_kernels);
		test_collect(omen_text_kernels);
	}
	printf("1..%d\n", ntests);
	return nfailed > 0;
}
