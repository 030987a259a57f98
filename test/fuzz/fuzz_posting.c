/* link: src/text/posting.c src/text/bm25.c src/text/text_kernels*.c src/base/cpu.c */

/*
 * Fuzzer of the decoders of postings: whatever bytes are given, no byte beyond
 * them is read, all levels agree, and what is accepted ascends and can be
 * encoded and decoded again.
 *
 * Input: postings - 1, base (4 bytes), end (4 bytes), then the block.
 */
#include "c.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "text/bm25.h"
#include "text/posting.h"
#include "text/text_kernels.h"

#define BLOCK OMEN_POSTING_BLOCK

typedef struct Decoded
{
	Size		size;
	bool		has_docs;
	bool		has_tfs;
	uint32		docs[BLOCK];
	uint16		tfs[BLOCK];
} Decoded;

static void
decode(const uint8 *block, Size size, int n, uint32 base, uint32 end,
	   Decoded *result)
{
	memset(result, 0, sizeof(*result));
	result->size = omen_posting_size(block, size, n);
	result->has_docs = omen_posting_decode_docs(block, size, n, base, end,
												result->docs);
	result->has_tfs = omen_posting_decode_tfs(block, size, n, result->tfs);

	/* what is there beyond n, or of a refused block, is undefined */
	memset(result->docs + (result->has_docs ? n : 0), 0,
		   (BLOCK - (result->has_docs ? n : 0)) * sizeof(uint32));
	memset(result->tfs + (result->has_tfs ? n : 0), 0,
		   (BLOCK - (result->has_tfs ? n : 0)) * sizeof(uint16));
}

static void
check_again(const Decoded *found, int n, uint32 base, uint32 end)
{
	uint8		coded[OMEN_POSTING_MAX_SIZE(BLOCK)];
	Decoded		again;
	Size		size;

	REQUIRE(found->docs[0] >= base && found->docs[n - 1] < end);
	for (int i = 1; i < n; i++)
		REQUIRE(found->docs[i] > found->docs[i - 1]);
	size = omen_posting_encode(found->docs, found->tfs, n, base, coded);
	REQUIRE(size <= OMEN_POSTING_MAX_SIZE(n));
	decode(coded, size, n, base, end, &again);
	REQUIRE(again.size == size && again.has_docs && again.has_tfs);
	REQUIRE(memcmp(again.docs, found->docs, sizeof(found->docs)) == 0);
	REQUIRE(memcmp(again.tfs, found->tfs, sizeof(found->tfs)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8	   *block;
	uint32		base;
	uint32		end;
	Decoded		first;
	int			n;

	if (size < 9)
		return 0;
	n = 1 + data[0] % BLOCK;
	memcpy(&base, data + 1, 4);
	memcpy(&end, data + 5, 4);
	base = Min(base, OMEN_MAX_DOC);
	end = Min(end, OMEN_MAX_DOC + 1);
	size -= 9;
	block = fuzz_room(size, 8);
	memcpy(block, data + 9, size);

	omen_text_kernels = omen_text_kernels_of(OMEN_SIMD_GENERIC);
	decode(block, size, n, base, end, &first);
	for (OmenSimdLevel level = OMEN_SIMD_GENERIC + 1;
		 level <= OMEN_SIMD_AVX512; level++)
	{
		Decoded		other;

		if (!omen_simd_supported(level))
			continue;
		omen_text_kernels = omen_text_kernels_of(level);
		decode(block, size, n, base, end, &other);
		REQUIRE(memcmp(&first, &other, sizeof(first)) == 0);
	}
	if (first.has_docs && first.has_tfs)
		check_again(&first, n, base, end);
	free(block);
	return 0;
}
