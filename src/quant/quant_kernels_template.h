/*-------------------------------------------------------------------------
 *
 * quant_kernels_template.h
 *	  The kernels over floats, once, and the table.
 *
 * An ISA file opens its target region, defines what follows as macros, types
 * or static inline functions, defines the integer kernels (dot_i8,
 * score_block, score_links1, score_links2), and includes this file.
 *
 *	OMEN_ISA			suffix of the table, as a token
 *
 *	VF					vector of VF_LANES floats; VF_LANES divides 16
 *	vf_set(x), vf_load(p), vf_store(p, v)
 *	vf_add, vf_sub, vf_mul, vf_abs, vf_max, vf_fma(a, b, c)		c + a * b
 *	vf_ge(a, b)			1 where a >= b, else 0
 *	vf_mask_ge(a, b)	bit i says whether lane i of a is at least that of b
 *	vf_sum(v)			over the lanes, halves first, see below
 *	vf_largest(v)		over the lanes
 *	vf_flip(v, bits)	flips the sign of lane i where bit i is set
 *	vf_butterflies(v)	all stages of a Hadamard transform within a vector,
 *						nearest lanes first, without scaling
 *	vf_load_i8(p), vf_load_i16(p), vf_store_i8(p, v), vf_store_i16(p, v)
 *						conversions; storing rounds to nearest even
 *
 *	VD					sum of products in double, of VF_LANES lanes
 *	vd_zero(), vd_add(sum, a, b)
 *	vd_join(a, b)		lane by lane
 *	vd_sum(sum)			over the lanes, halves first
 *
 *	VI					vector of VF_LANES 32-bit integers
 *	vi_load(p), vi_store(p, v), vi_set(x), vi_zero()
 *	vi_sub, vi_min, vi_shift(v), which shifts to the left by 8 bits
 *	vi_least(v)			over the lanes
 *	vi_dot2(sum, p, x)	adds, in lane i, the products of the bytes 2 * i and
 *						2 * i + 1 from p on and the two 16-bit numbers in x,
 *						of type VI
 *
 * What is stored has the same bits whatever kernels computed it, for another
 * machine may check it, or look for an equal code.  So the kernels of rotation
 * and encoding round each product and each sum, in the same order: element i
 * of sixteen is added to the sum i, then halves of all sums are added, 0 to 8,
 * 1 to 9, and so on, until one is left.  They use no vf_fma, and compilers are
 * told to fuse nothing (-ffp-contract=off).  Products of floats in double are
 * exact, fused or not.
 *
 *-------------------------------------------------------------------------
 */

/* --- sums in fixed order, over sixteen lanes --- */

#define PARTS (16 / VF_LANES)

static inline float
sum_parts(VF *parts)
{
	for (int half = PARTS / 2; half > 0; half /= 2)
	{
		for (int i = 0; i < half; i++)
			parts[i] = vf_add(parts[i], parts[i + half]);
	}
	return vf_sum(parts[0]);
}

static inline double
sum_double_parts(VD *parts)
{
	for (int half = PARTS / 2; half > 0; half /= 2)
	{
		for (int i = 0; i < half; i++)
			parts[i] = vd_join(parts[i], parts[i + half]);
	}
	return vd_sum(parts[0]);
}

static inline void
clear_parts(VF *parts)
{
	for (int i = 0; i < PARTS; i++)
		parts[i] = vf_set(0.0f);
}

static inline void
clear_double_parts(VD *parts)
{
	for (int i = 0; i < PARTS; i++)
		parts[i] = vd_zero();
}

/* --- rotation --- */

static void
flip_signs(int dims, const uint8 *bits, float *x)
{
	for (int i = 0; i < dims; i += 16)
	{
		uint32		word = bits[i / 8] | (uint32) bits[i / 8 + 1] << 8;

		for (int j = 0; j < 16; j += VF_LANES)
			vf_store(x + i + j, vf_flip(vf_load(x + i + j), word >> j));
	}
}

/* One stage: butterflies between elements "half" apart */
static void
hadamard_stage(int dims, int half, float scale, float *x)
{
	VF			factor = vf_set(scale);

	for (int start = 0; start < dims; start += 2 * half)
	{
		for (int i = start; i < start + half; i += VF_LANES)
		{
			VF			a = vf_load(x + i);
			VF			b = vf_load(x + i + half);

			vf_store(x + i, vf_mul(vf_add(a, b), factor));
			vf_store(x + i + half, vf_mul(vf_sub(a, b), factor));
		}
	}
}

/* Two stages, of distances "half" and 2 * half, in one pass over memory */
static void
hadamard_two_stages(int dims, int half, float scale, float *x)
{
	VF			factor = vf_set(scale);

	for (int start = 0; start < dims; start += 4 * half)
	{
		for (int i = start; i < start + half; i += VF_LANES)
		{
			VF			a = vf_load(x + i);
			VF			b = vf_load(x + i + half);
			VF			c = vf_load(x + i + 2 * half);
			VF			d = vf_load(x + i + 3 * half);
			VF			ab = vf_add(a, b);
			VF			cd = vf_add(c, d);
			VF			ab_diff = vf_sub(a, b);
			VF			cd_diff = vf_sub(c, d);

			vf_store(x + i, vf_mul(vf_add(ab, cd), factor));
			vf_store(x + i + half, vf_mul(vf_add(ab_diff, cd_diff), factor));
			vf_store(x + i + 2 * half, vf_mul(vf_sub(ab, cd), factor));
			vf_store(x + i + 3 * half,
					 vf_mul(vf_sub(ab_diff, cd_diff), factor));
		}
	}
}

static void
hadamard(int dims, float scale, float *x)
{
	int			half = VF_LANES;

	if (VF_LANES > 1)
	{
		VF			factor = vf_set(dims == VF_LANES ? scale : 1.0f);

		for (int i = 0; i < dims; i += VF_LANES)
			vf_store(x + i, vf_mul(vf_butterflies(vf_load(x + i)), factor));
	}
	for (; half * 2 < dims; half *= 4)
		hadamard_two_stages(dims, half, half * 4 == dims ? scale : 1.0f, x);
	if (half < dims)
		hadamard_stage(dims, half, scale, x);
}

static void
mix_halves(int dims, float scale, float *x)
{
	int			half = dims / 2;
	float	   *y = x + half;
	VF			factor = vf_set(scale);
	int			i = 0;

	for (; i + VF_LANES <= half; i += VF_LANES)
	{
		VF			a = vf_load(x + i);
		VF			b = vf_load(y + i);

		vf_store(x + i, vf_mul(vf_add(a, b), factor));
		vf_store(y + i, vf_mul(vf_sub(a, b), factor));
	}
	for (; i < half; i++)
	{
		float		a = x[i];
		float		b = y[i];

		x[i] = (a + b) * scale;
		y[i] = (a - b) * scale;
	}
}

/* --- own codes --- */

/* x * 0 is 0 unless x is infinite or NaN, and NaN survives the sum */
static float
max_abs(int dims, const float *x)
{
	VF			largest = vf_set(0.0f);
	VF			spoilt = vf_set(0.0f);

	for (int i = 0; i < dims; i += VF_LANES)
	{
		VF			v = vf_load(x + i);

		largest = vf_max(largest, vf_abs(v));
		spoilt = vf_fma(v, vf_set(0.0f), spoilt);
	}
	return vf_largest(largest) + vf_sum(spoilt);
}

/*
 * Codes of own vectors, of 8 or 16 bits.  What takes "bits" is inlined for
 * each, so that nothing is asked in a loop.
 */
static pg_attribute_always_inline VF
load_codes(int bits, const void *codes, int at, int part)
{
	return bits == 8 ?
		vf_load_i8((const int8 *) codes + at + part * VF_LANES) :
		vf_load_i16((const int16 *) codes + at + part * VF_LANES);
}

static pg_attribute_always_inline void
encode(int bits, int dims, const float *x, float factor, void *codes,
	   OmenEncodeSums *sums)
{
	VD			norm2[PARTS];
	VD			code_dot[PARTS];
	VD			code_norm2[PARTS];

	clear_double_parts(norm2);
	clear_double_parts(code_dot);
	clear_double_parts(code_norm2);
	for (int i = 0; i < dims; i += 16)
	{
		for (int j = 0; j < PARTS; j++)
		{
			int			at = i + j * VF_LANES;
			VF			v = vf_load(x + at);
			VF			u;

			if (bits == 8)
				vf_store_i8((int8 *) codes + at, vf_mul(v, vf_set(factor)));
			else
				vf_store_i16((int16 *) codes + at, vf_mul(v, vf_set(factor)));
			u = load_codes(bits, codes, at, 0);
			norm2[j] = vd_add(norm2[j], v, v);
			code_dot[j] = vd_add(code_dot[j], u, v);
			code_norm2[j] = vd_add(code_norm2[j], u, u);
		}
	}
	sums->norm2 = sum_double_parts(norm2);
	sums->code_dot = sum_double_parts(code_dot);
	sums->code_norm2 = sum_double_parts(code_norm2);
}

static void
encode_i8(int dims, const float *x, float factor, int8 *codes,
		  OmenEncodeSums *sums)
{
	encode(8, dims, x, factor, codes, sums);
}

static void
encode_i16(int dims, const float *x, float factor, int16 *codes,
		   OmenEncodeSums *sums)
{
	encode(16, dims, x, factor, codes, sums);
}

static double
dot_f32(int dims, const float *a, const float *b)
{
	VD			sum[PARTS];

	clear_double_parts(sum);
	for (int i = 0; i < dims; i += 16)
	{
		for (int j = 0; j < PARTS; j++)
			sum[j] = vd_add(sum[j], vf_load(a + i + j * VF_LANES),
							vf_load(b + i + j * VF_LANES));
	}
	return sum_double_parts(sum);
}

/* Four independent sums hide the latency of a fused multiply-add */
static pg_attribute_always_inline float
dot_codes(int bits, int dims, const void *a, const float *b)
{
	VF			sum0 = vf_set(0.0f);
	VF			sum1 = vf_set(0.0f);
	VF			sum2 = vf_set(0.0f);
	VF			sum3 = vf_set(0.0f);
	int			i = 0;

	for (; i + 4 * VF_LANES <= dims; i += 4 * VF_LANES)
	{
		sum0 = vf_fma(load_codes(bits, a, i, 0), vf_load(b + i), sum0);
		sum1 = vf_fma(load_codes(bits, a, i, 1),
					  vf_load(b + i + VF_LANES), sum1);
		sum2 = vf_fma(load_codes(bits, a, i, 2),
					  vf_load(b + i + 2 * VF_LANES), sum2);
		sum3 = vf_fma(load_codes(bits, a, i, 3),
					  vf_load(b + i + 3 * VF_LANES), sum3);
	}
	for (; i < dims; i += VF_LANES)
		sum0 = vf_fma(load_codes(bits, a, i, 0), vf_load(b + i), sum0);
	return vf_sum(vf_add(vf_add(sum0, sum1), vf_add(sum2, sum3)));
}

static float
dot_i8_f32(int dims, const int8 *a, const float *b)
{
	return dot_codes(8, dims, a, b);
}

static float
dot_i16_f32(int dims, const int16 *a, const float *b)
{
	return dot_codes(16, dims, a, b);
}

/* --- link codes --- */

static void
residual(int dims, const OmenResidualInput *input, float *r,
		 OmenLinkSums *sums)
{
	VF			centre_scale = vf_set(input->centre_scale);
	VF			neighbour_scale = vf_set(input->neighbour_scale);
	VF			norm2[PARTS];
	VF			centre_dot[PARTS];

	clear_parts(norm2);
	clear_parts(centre_dot);
	for (int i = 0; i < dims; i += 16)
	{
		for (int j = 0; j < PARTS; j++)
		{
			int			at = i + j * VF_LANES;
			VF			c = vf_mul(vf_load_i8(input->centre + at),
								   centre_scale);
			VF			x = vf_mul(vf_load_i8(input->neighbour + at),
								   neighbour_scale);
			VF			diff = vf_sub(x, c);

			vf_store(r + at, diff);
			norm2[j] = vf_add(norm2[j], vf_mul(diff, diff));
			centre_dot[j] = vf_add(centre_dot[j], vf_mul(c, diff));
		}
	}
	sums->norm2 = sum_parts(norm2);
	sums->centre_dot = sum_parts(centre_dot);
}

/* Levels of 1 or 2 bits; inlined for each */
static pg_attribute_always_inline void
choose_levels(int bits, int dims, const OmenResidualInput *input,
			  const float *r, float threshold, uint8 *levels,
			  OmenLinkSums *sums)
{
	VF			middle = vf_set(bits == 1 ? 0.5f : 1.5f);
	VF			level_residual[PARTS];
	VF			level_centre[PARTS];
	VF			level_mean[PARTS];

	clear_parts(level_residual);
	clear_parts(level_centre);
	clear_parts(level_mean);
	for (int i = 0; i < dims; i += 16)
	{
		for (int j = 0; j < PARTS; j++)
		{
			int			at = i + j * VF_LANES;
			VF			v = vf_load(r + at);
			VF			level = vf_ge(v, vf_set(0.0f));
			VF			c = vf_load_i8(input->centre + at);
			VF			mean = vf_load(input->mean + at);
			VF			centred;

			if (bits == 2)
				level = vf_add(level, vf_add(vf_ge(v, vf_set(threshold)),
											 vf_ge(v, vf_set(-threshold))));
			centred = vf_sub(level, middle);
			vf_store_i8((int8 *) levels + at, level);
			level_residual[j] = vf_add(level_residual[j], vf_mul(centred, v));
			level_centre[j] = vf_add(level_centre[j], vf_mul(centred, c));
			level_mean[j] = vf_add(level_mean[j], vf_mul(centred, mean));
		}
	}
	sums->level_residual = sum_parts(level_residual);
	sums->level_centre = sum_parts(level_centre) * input->centre_scale;
	sums->level_mean = sum_parts(level_mean);
}

static void
levels1(int dims, const OmenResidualInput *input, const float *r,
		uint8 *levels, OmenLinkSums *sums)
{
	choose_levels(1, dims, input, r, 0.0f, levels, sums);
}

static void
levels2(int dims, const OmenResidualInput *input, const float *r,
		float threshold, uint8 *levels, OmenLinkSums *sums)
{
	choose_levels(2, dims, input, r, threshold, levels, sums);
}

/* One step of each of sixteen levels, what that would change, and if it should be made */
typedef struct Steps
{
	float		step[16];		/* 1 or -1 */
	float		centre[16];		/* changes of the sums of this name */
	float		mean[16];
	float		square[16];
	float		gain[16];		/* more than 0 if the error becomes less */
} Steps;

/*
 * Steps of elements that are near to where their level changes, to the other side of
 * that: away from 0 of those just below the threshold.  Returns the largest gain.
 */
static pg_attribute_always_inline float
weigh_steps(int bits, const OmenMove *move, int from, Steps *steps)
{
	const OmenMoveForm *form = &move->form;
	const OmenMoveSums *sums = &move->sums;
	VF			one = vf_set(1.0f);
	VF			centre_twice = vf_set(2 * sums->centre);
	VF			mean_twice = vf_set(2 * sums->mean);
	VF			per_residual = vf_set(sums->error * form->per_residual);
	VF			largest = vf_set(0.0f);

	for (int i = 0; i < 16; i += VF_LANES)
	{
		int			at = from + i;
		VF			v = vf_load(move->r + at);
		VF			size = vf_abs(v);
		VF			distance = size;
		VF			step = vf_sub(one, vf_mul(vf_set(2.0f),
											  vf_ge(v, vf_set(0.0f))));
		VF			square = vf_set(0.0f);
		VF			centre = vf_sub(vf_mul(vf_load_i8(move->input->centre + at),
										   vf_set(form->centre_scale)),
									vf_mul(vf_set(form->centre_part), v));
		VF			mean = vf_sub(vf_mul(vf_load(move->input->mean + at),
										 vf_set(form->mean_scale)),
								  vf_mul(vf_set(form->mean_part), v));
		VF			gain;

		if (bits == 2)
		{
			VF			half = vf_set(form->threshold / 2);
			VF			outer = vf_ge(size, half);
			VF			below = vf_sub(outer,
									   vf_ge(size, vf_set(form->threshold)));
			VF			inwards = vf_sub(one, vf_add(below, below));

			distance = vf_abs(vf_sub(vf_abs(vf_sub(size, half)), half));
			step = vf_mul(step, inwards);
			square = vf_mul(vf_mul(outer, inwards), vf_set(-form->square));
		}
		centre = vf_mul(step, centre);
		mean = vf_mul(step, mean);
		vf_store(steps->step + i, step);
		vf_store(steps->centre + i, centre);
		vf_store(steps->mean + i, mean);
		vf_store(steps->square + i, square);

		gain = vf_sub(vf_mul(per_residual, vf_mul(step, v)), square);
		gain = vf_sub(gain, vf_mul(centre, vf_add(centre_twice, centre)));
		gain = vf_sub(gain, vf_mul(mean, vf_add(mean_twice, mean)));
		gain = vf_mul(gain, vf_ge(vf_set(form->near), distance));
		vf_store(steps->gain + i, gain);
		largest = vf_max(largest, gain);
	}
	return vf_largest(largest);
}

/* Make this step, whose gain is the largest */
static inline void
make_step(OmenMove *move, const Steps *steps, int at)
{
	OmenMoveSums *sums = &move->sums;
	const OmenResidualInput *input = move->input;
	int			i = at % 16;
	float		step = steps->step[i];

	sums->centre += steps->centre[i];
	sums->mean += steps->mean[i];
	sums->square += steps->square[i];
	sums->error = omen_move_error(sums);
	move->levels[at] += (int) step;
	move->link_sums->level_residual += step * move->r[at];
	move->link_sums->level_centre += step * input->centre[at] *
		input->centre_scale;
}

/* The first of sixteen that is so much */
static inline int
find_gain(const float *gains, float gain)
{
	uint32		found = 0;

	for (int i = 0; i < 16; i += VF_LANES)
		found |= vf_mask_ge(vf_load(gains + i), vf_set(gain)) << i;
	return pg_rightmost_one_pos32(found);
}

/* The best step of sixteen elements, if there is one that helps.  True if it is enough. */
static pg_attribute_always_inline bool
move_one(int bits, OmenMove *move, int from)
{
	Steps		steps;
	float		gain = weigh_steps(bits, move, from, &steps);

	if (!(gain > 0))
		return false;
	make_step(move, &steps, from + find_gain(steps.gain, gain));
	return move->sums.error - move->sums.square <
		move->form.enough * move->sums.square;
}

/*
 * The best step of each sixteen.  Each waits for the one before, so the processor
 * works at several links at a time.  Inlined for each number of bits.
 */
static pg_attribute_always_inline void
move_levels(int bits, int dims, OmenMove *const *moves, int n)
{
	OmenMove   *open[OMEN_LINKS_AT_A_TIME];
	int			nopen = n;

	for (int i = 0; i < n; i++)
		open[i] = moves[i];
	for (int from = 0; from < dims && nopen > 0; from += 16)
	{
		int			nleft = 0;

		for (int i = 0; i < nopen; i++)
		{
			OmenMove   *move = open[i];
			bool		done = move_one(bits, move, from);

			open[nleft] = move;
			nleft += !done;
		}
		nopen = nleft;
	}
}

static void
move_levels1(int dims, OmenMove *const *moves, int n)
{
	move_levels(1, dims, moves, n);
}

static void
move_levels2(int dims, OmenMove *const *moves, int n)
{
	move_levels(2, dims, moves, n);
}

/* --- product codes --- */

/* Two 16-bit numbers in every lane */
static inline VI
pq_pair(const int16 *x)
{
	int32		pair;

	memcpy(&pair, x, sizeof(pair));
	return vi_set(pair);
}

/* Inlined for each number of planes, which keeps x in registers */
static pg_attribute_always_inline void
fill_table(int planes, const int16 *x, const int8 *book, int32 *table)
{
	VI			pairs[4];

	for (int p = 0; p < planes; p++)
		pairs[p] = pq_pair(x + 2 * p);
	for (int k = 0; k < OMEN_PQ_CENTROIDS; k += VF_LANES)
	{
		VI			sum = vi_zero();

		for (int p = 0; p < planes; p++)
			sum = vi_dot2(sum, book + p * OMEN_PQ_PLANE + 2 * k, pairs[p]);
		vi_store(table + k, sum);
	}
}

static void
pq_table(int planes, const int16 *x, const int8 *book, int32 *table)
{
	if (planes == 1)
		fill_table(1, x, book, table);
	else if (planes == 2)
		fill_table(2, x, book, table);
	else
		fill_table(4, x, book, table);
}

/* The code is in the low byte of the least score */
static pg_attribute_always_inline int
find_nearest(int planes, const int16 *x, const int8 *book, const int32 *bias)
{
	VI			least = vi_set(PG_INT32_MAX);
	VI			pairs[4];

	for (int p = 0; p < planes; p++)
		pairs[p] = pq_pair(x + 2 * p);
	for (int k = 0; k < OMEN_PQ_CENTROIDS; k += VF_LANES)
	{
		VI			sum = vi_zero();

		for (int p = 0; p < planes; p++)
			sum = vi_dot2(sum, book + p * OMEN_PQ_PLANE + 2 * k, pairs[p]);
		least = vi_min(least, vi_sub(vi_load(bias + k), vi_shift(sum)));
	}
	return vi_least(least) & 0xFF;
}

static int
pq_nearest(int planes, const int16 *x, const int8 *book, const int32 *bias)
{
	if (planes == 1)
		return find_nearest(1, x, book, bias);
	if (planes == 2)
		return find_nearest(2, x, book, bias);
	return find_nearest(4, x, book, bias);
}

/*
 * Four sums, so that no addition waits for the one before.  For 192 tables: 94
 * ns, and 96 with gathering instructions of 8 or 16 lanes (Zen 5).
 */
static int32
pq_sum(int n, const int32 *tables, const uint8 *code)
{
	int32		sums[4] = {0};
	int			i = 0;

	for (; i + 4 <= n; i += 4)
	{
		const int32 *table = tables + i * OMEN_PQ_CENTROIDS;

		sums[0] += table[code[i]];
		sums[1] += table[OMEN_PQ_CENTROIDS + code[i + 1]];
		sums[2] += table[2 * OMEN_PQ_CENTROIDS + code[i + 2]];
		sums[3] += table[3 * OMEN_PQ_CENTROIDS + code[i + 3]];
	}
	for (; i < n; i++)
		sums[0] += tables[i * OMEN_PQ_CENTROIDS + code[i]];
	return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* --- the table --- */

#define OMEN_TABLE_NAME2(isa) omen_code_kernels_##isa
#define OMEN_TABLE_NAME(isa) OMEN_TABLE_NAME2(isa)
#define OMEN_TABLE_TEXT2(isa) #isa
#define OMEN_TABLE_TEXT(isa) OMEN_TABLE_TEXT2(isa)

const OmenCodeKernels OMEN_TABLE_NAME(OMEN_ISA) = {
	.name = OMEN_TABLE_TEXT(OMEN_ISA),
	.sums = 4 * VF_LANES,
	.flip_signs = flip_signs,
	.hadamard = hadamard,
	.mix_halves = mix_halves,
	.max_abs = max_abs,
	.encode_i8 = encode_i8,
	.encode_i16 = encode_i16,
	.dot_f32 = dot_f32,
	.dot_i8 = dot_i8,
	.dot_i8_f32 = dot_i8_f32,
	.dot_i16_f32 = dot_i16_f32,
	.score_block = score_block,
	.residual = residual,
	.levels1 = levels1,
	.levels2 = levels2,
	.move_levels1 = move_levels1,
	.move_levels2 = move_levels2,
	.score_links1 = score_links1,
	.score_links2 = score_links2,
	.pq_table = pq_table,
	.pq_nearest = pq_nearest,
	.pq_sum = pq_sum,
};
