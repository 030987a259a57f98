/*-------------------------------------------------------------------------
 *
 * posting.c
 *	  Encoding and decoding of blocks of postings.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <string.h>

#include "port/pg_bitutils.h"

#include "text/posting.h"
#include "text/text_kernels.h"

#define DOC_WIDTH_BITS	5
#define MAX_DOC_WIDTH	31

static const uint8 tf_widths[8] = {0, 1, 2, 3, 4, 6, 8, 16};

/* Where the parts of a block are */
typedef struct BlockShape
{
	int			doc_width;
	int			tf_width;
	int			exceptions;
	Size		docs;			/* offsets from the block's start */
	Size		tfs;
	Size		patches;
	Size		end;
} BlockShape;

static int	choose_tf_width(const uint16 *tfs, int n);
static int	count_exceptions(const uint16 *tfs, int n, int width);
static void pack(uint8 *out, const uint32 *values, int n, int width);
static bool unpack_wide_docs(const uint8 *packed, int width, int n,
							 uint32 base, uint32 end, uint32 *docs);

static inline Size
packed_size(int n, int width)
{
	return ((Size) n * width + 7) / 8;
}

/* --- encoding --- */

Size
omen_posting_encode(const uint32 *docs, const uint16 *tfs, int n, uint32 base,
					uint8 *out)
{
	uint32		values[OMEN_POSTING_BLOCK];
	uint32		all = 0;
	uint32		next = base;
	int			code = choose_tf_width(tfs, n);
	int			doc_width;
	uint8	   *p = out;

	Assert(n > 0 && n <= OMEN_POSTING_BLOCK);
	for (int i = 0; i < n; i++)
	{
		Assert(docs[i] >= next && docs[i] <= OMEN_MAX_DOC);
		values[i] = docs[i] - next;
		all |= values[i];
		next = docs[i] + 1;
	}
	doc_width = all == 0 ? 0 : pg_leftmost_one_pos32(all) + 1;

	*p++ = (uint8) (doc_width | code << DOC_WIDTH_BITS);
	if (n >= OMEN_POSTING_MIN_PATCHED)
		*p++ = (uint8) count_exceptions(tfs, n, tf_widths[code]);
	pack(p, values, n, doc_width);
	p += packed_size(n, doc_width);

	for (int i = 0; i < n; i++)
		values[i] = (uint16) (tfs[i] - 1) &
			(((uint32) 1 << tf_widths[code]) - 1);
	pack(p, values, n, tf_widths[code]);
	p += packed_size(n, tf_widths[code]);

	for (int i = 0; i < n; i++)
	{
		uint16		value = (uint16) (tfs[i] - 1);

		if (value >> tf_widths[code] != 0)
		{
			*p++ = (uint8) i;
			*p++ = (uint8) value;
		}
	}
	return p - out;
}

/* How many frequencies do not fit; 16 bits are enough for all */
static int
count_exceptions(const uint16 *tfs, int n, int width)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		count += (uint16) (tfs[i] - 1) >> width != 0;
	return count;
}

/* The number of the width that takes the fewest bytes, the least of those */
static int
choose_tf_width(const uint16 *tfs, int n)
{
	uint16		most = 0;
	Size		best_size = 0;
	int			best = -1;

	for (int i = 0; i < n; i++)
		most = Max(most, (uint16) (tfs[i] - 1));
	for (int code = 0; code < lengthof(tf_widths); code++)
	{
		int			width = tf_widths[code];
		int			exceptions = 0;
		Size		size;

		if (most >> width != 0)
		{
			/* exceptions have a byte for tf - 1 */
			if (n < OMEN_POSTING_MIN_PATCHED || most > 255)
				continue;
			exceptions = count_exceptions(tfs, n, width);
		}
		size = packed_size(n, width) + 2 * exceptions;
		if (best < 0 || size < best_size)
		{
			best = code;
			best_size = size;
		}
		if (exceptions == 0)
			break;
	}
	return best;
}

static void
pack(uint8 *out, const uint32 *values, int n, int width)
{
	uint64		bits = 0;
	int			nbits = 0;

	for (int i = 0; i < n; i++)
	{
		bits |= (uint64) values[i] << nbits;
		nbits += width;
		while (nbits >= 8)
		{
			*out++ = (uint8) bits;
			bits >>= 8;
			nbits -= 8;
		}
	}
	if (nbits > 0)
		*out = (uint8) bits;
}

/* --- decoding --- */

/* False if the block does not end within size bytes */
static bool
read_shape(const uint8 *block, Size size, int n, BlockShape *shape)
{
	bool		patched = n >= OMEN_POSTING_MIN_PATCHED;

	Assert(n > 0 && n <= OMEN_POSTING_BLOCK);
	shape->docs = patched ? 2 : 1;
	if (size < shape->docs)
		return false;
	shape->doc_width = block[0] & ((1 << DOC_WIDTH_BITS) - 1);
	shape->tf_width = tf_widths[block[0] >> DOC_WIDTH_BITS];
	shape->exceptions = patched ? block[1] : 0;
	shape->tfs = shape->docs + packed_size(n, shape->doc_width);
	shape->patches = shape->tfs + packed_size(n, shape->tf_width);
	shape->end = shape->patches + 2 * shape->exceptions;
	return shape->exceptions <= n && size >= shape->end;
}

Size
omen_posting_size(const uint8 *block, Size size, int n)
{
	BlockShape	shape;

	return read_shape(block, size, n, &shape) ? shape.end : 0;
}

/*
 * A packed array of which only so many bytes may be read, with the bytes
 * after it that kernels read; copied if they are not there.
 */
static inline const uint8 *
with_pad(const uint8 *packed, Size readable, Size used, uint8 *copy)
{
	if (likely(readable >= used + OMEN_UNPACK_PAD))
		return packed;
	memcpy(copy, packed, used);
	memset(copy + used, 0, OMEN_UNPACK_PAD);
	return copy;
}

bool
omen_posting_decode_docs(const uint8 *block, Size size, int n, uint32 base,
						 uint32 end, uint32 *docs)
{
	uint8		copy[OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK) + OMEN_UNPACK_PAD];
	BlockShape	shape;

	if (!read_shape(block, size, n, &shape) || base > OMEN_MAX_DOC)
		return false;
	if (shape.doc_width > OMEN_UNPACK_MAX_WIDTH)
		return unpack_wide_docs(block + shape.docs, shape.doc_width, n, base,
								end, docs);
	omen_text_kernels->unpack_docs(
		with_pad(block + shape.docs, size - shape.docs,
				 packed_size(n, shape.doc_width), copy),
		shape.doc_width, n, base, docs);
	return docs[n - 1] < end;
}

/* Gaps so wide are rare, and their sum may be too great */
static bool
unpack_wide_docs(const uint8 *packed, int width, int n, uint32 base,
				 uint32 end, uint32 *docs)
{
	uint64		bits = 0;
	int			nbits = 0;
	uint64		next = base;

	for (int i = 0; i < n; i++)
	{
		while (nbits < width)
		{
			bits |= (uint64) *packed++ << nbits;
			nbits += 8;
		}
		next += bits & (((uint64) 1 << width) - 1);
		if (next >= end)
			return false;
		docs[i] = (uint32) next++;
		bits >>= width;
		nbits -= width;
	}
	return true;
}

bool
omen_posting_decode_tfs(const uint8 *block, Size size, int n, uint16 *tfs)
{
	uint8		copy[OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK) + OMEN_UNPACK_PAD];
	BlockShape	shape;
	const uint8 *patch;

	if (!read_shape(block, size, n, &shape))
		return false;
	omen_text_kernels->unpack_tfs(
		with_pad(block + shape.tfs, size - shape.tfs,
				 packed_size(n, shape.tf_width), copy),
		shape.tf_width, n, tfs);

	patch = block + shape.patches;
	for (int i = 0; i < shape.exceptions; i++, patch += 2)
	{
		if (patch[0] >= n)
			return false;
		tfs[patch[0]] = (uint16) patch[1] + 1;
	}
	return true;
}
