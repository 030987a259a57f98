/*-------------------------------------------------------------------------
 *
 * text_kernels_template.h
 *	  The kernels over postings, once, and the table.
 *
 * An ISA file opens its target region, defines what follows as macros, types
 * or static inline functions, defines the kernel lower, and includes this
 * file.
 *
 *	OMEN_ISA			suffix of the table, as a token
 *
 *	VI					vector of V_LANES unsigned 32-bit integers; V_LANES
 *						divides 16
 *	vi_set(x), vi_load(p), vi_store(p, v), vi_add
 *	vi_store_u16(p, v)	the low 16 bits of each lane
 *	vi_prefix(v)		sums of lanes 0 to i in lane i
 *	vi_last(v)			the last lane, in all lanes
 *
 *	Unpacker			what unpacking fields of one width needs
 *	unpacker(width)		for a width of 0 to 24
 *	unpack(u, packed, i)	fields i to i + V_LANES - 1 of u's width; reads at
 *						most 64 bytes from the first one's on
 *
 *	VF					vector of V_LANES floats
 *	vf_set(x), vf_load(p), vf_store(p, v), vf_add, vf_mul, vf_div
 *	vf_fma(a, b, c)		c + a * b, rounded once or twice
 *	vf_load_u16(p)		converted from 16-bit integers
 *	vf_max(a, b), vf_largest(v)			the greatest lane
 *	vf_mask_ge(a, b)	bit i says whether lane i of a is at least that of b
 *
 *-------------------------------------------------------------------------
 */

static void
unpack_docs(const uint8 *packed, int width, int n, uint32 base, uint32 *docs)
{
	Unpacker	u = unpacker(width);
	VI			one = vi_set(1);
	VI			before = vi_set(base - 1);

	for (int i = 0; i < n; i += V_LANES)
	{
		VI			sums = vi_prefix(vi_add(unpack(&u, packed, i), one));

		vi_store(docs + i, vi_add(sums, before));
		before = vi_add(before, vi_last(sums));
	}
}

static void
unpack_tfs(const uint8 *packed, int width, int n, uint16 *tfs)
{
	Unpacker	u = unpacker(width);
	VI			one = vi_set(1);

	for (int i = 0; i < n; i += V_LANES)
		vi_store_u16(tfs + i, vi_add(unpack(&u, packed, i), one));
}

/* Beyond n there is nothing to be scored: the rest comes one by one */
static bool
score(const OmenScoreForm *form, int n, const uint16 *tfs, const uint32 *docs,
	  const uint16 *lengths, uint32 first, float *scores)
{
	VF			weight = vf_set(form->weight);
	VF			constant = vf_set(form->constant);
	VF			slope = vf_set(form->slope);
	VF			longest = vf_set(0.0f);
	uint16		found[OMEN_POSTING_BLOCK];
	float		most;
	int			i = 0;

	/* one by one: gathering instructions are slower */
	for (int j = 0; j < n; j++)
		found[j] = lengths[docs[j] - first];
	for (; i + V_LANES <= n; i += V_LANES)
	{
		VF			tf = vf_load_u16(tfs + i);
		VF			length = vf_load_u16(found + i);
		VF			norm = vf_fma(slope, length, constant);

		longest = vf_max(longest, length);
		vf_store(scores + i, vf_div(vf_mul(weight, tf), vf_add(tf, norm)));
	}
	most = vf_largest(longest);
	for (; i < n; i++)
	{
		float		tf = tfs[i];
		float		length = found[i];

		most = Max(most, length);
		scores[i] = form->weight * tf /
			(tf + (form->constant + form->slope * length));
	}
	return most < 65535.0f;
}

/* One line; returns the new count */
static inline int
collect_line(float *sums, float least, uint32 place, uint32 *places,
			 float *found, int n)
{
	for (int i = 0; i < OMEN_TEXT_LINE; i += V_LANES)
	{
		VF			v = vf_load(sums + i);
		uint32		mask = vf_mask_ge(v, vf_set(least));

		while (mask != 0)
		{
			int			lane = __builtin_ctz(mask);

			places[n] = place + i + lane;
			found[n] = sums[i + lane];
			n++;
			mask &= mask - 1;
		}
		vf_store(sums + i, vf_set(0.0f));
	}
	return n;
}

/* A bit for each of 64 marks */
static inline uint64
take_marks(const uint8 *marks)
{
	uint64		bits = 0;

	for (int i = 0; i < 8; i++)
	{
		uint64		word;

		memcpy(&word, marks + 8 * i, sizeof(word));
		bits |= (word * UINT64CONST(0x0102040810204080) >> 56) << (8 * i);
	}
	return bits;
}

static int
collect(int lines, uint8 *marks, float *sums, float least, uint32 *places,
		float *found)
{
	int			n = 0;

	for (int i = 0; i < lines; i += 64)
	{
		uint64		bits = take_marks(marks + i);

		if (bits == 0)
			continue;
		memset(marks + i, 0, 64);
		for (; bits != 0; bits &= bits - 1)
		{
			int			line = i + __builtin_ctzll(bits);

			n = collect_line(sums + line * OMEN_TEXT_LINE, least,
							 line * OMEN_TEXT_LINE, places, found, n);
		}
	}
	return n;
}

static void
raise(const float *norms, float weight, float tf, int from, float *bounds)
{
	VF			part = vf_set(weight * tf);
	VF			f = vf_set(tf);

	for (; from % V_LANES != 0; from++)
		bounds[from] = Max(bounds[from], weight * tf / (tf + norms[from]));
	for (int i = from; i < OMEN_LENGTHS; i += V_LANES)
	{
		VF			bound = vf_div(part, vf_add(f, vf_load(norms + i)));

		vf_store(bounds + i, vf_max(vf_load(bounds + i), bound));
	}
}

#define OMEN_TABLE_NAME_(isa) omen_text_kernels_##isa
#define OMEN_TABLE_NAME(isa) OMEN_TABLE_NAME_(isa)
#define OMEN_TABLE_TEXT_(isa) #isa
#define OMEN_TABLE_TEXT(isa) OMEN_TABLE_TEXT_(isa)

const OmenTextKernels OMEN_TABLE_NAME(OMEN_ISA) = {
	.name = OMEN_TABLE_TEXT(OMEN_ISA),
	.unpack_docs = unpack_docs,
	.unpack_tfs = unpack_tfs,
	.score = score,
	.lower = lower,
	.raise = raise,
	.collect = collect
};
