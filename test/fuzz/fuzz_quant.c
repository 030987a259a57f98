/* link: src/quant/quant*.c src/quant/kmeans.c src/quant/rotation.c src/distance/[ds]*.c src/base/cpu.c */

/*
 * Fuzzer of the decoders of codes: own, pair and link codes and product
 * codebooks of any bytes, and shapes as a metapage may have them. Nothing
 * reads beyond a code, divides by what is not there or turns a number that is
 * none into an integer; what distances come of it does not matter.
 *
 * Input: element, metric, quantizer, dimensions, level, then bytes that codes
 * are cut from, again from the start where they end. An element of zero takes
 * the bytes for a shape.
 */
#include "c.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "quant/quant_ops.h"
#include "quant/quant_pq.h"

#define NLINKS	5
#define MAX_DIMS 300

/* The bytes that are left, and where they are read next */
typedef struct Source
{
	const uint8 *data;
	Size		size;
	Size		at;
} Source;

/* So many bytes of the source, aligned as codes in a slot are; to be freed */
static void *
take(Source *source, Size size)
{
	uint8	   *bytes = fuzz_room(size, 8);

	for (Size i = 0; i < size; i++)
	{
		bytes[i] = source->size == 0 ? 0 : source->data[source->at];
		source->at = source->size == 0 ? 0 : (source->at + 1) % source->size;
	}
	return bytes;
}

/* Is there an operator class of these, which a metapage must agree with? */
static bool
is_column(uint8 element, uint8 metric)
{
	return element == OMEN_ELEMENT_BIT ?
		metric == OMEN_METRIC_HAMMING || metric == OMEN_METRIC_JACCARD :
		(element == OMEN_ELEMENT_F32 || element == OMEN_ELEMENT_F16) &&
		metric >= OMEN_METRIC_L2 && metric <= OMEN_METRIC_L1;
}

/* A shape from a broken metapage, if it would be taken */
static bool
is_small_shape(const OmenCodeShape *shape)
{
	return is_column(shape->element, shape->metric) &&
		omen_quant_shape_is_valid(shape) && shape->dims <= MAX_DIMS;
}

static void
compare_codes(const OmenQuantizer *quant, OmenQuery *query, Source *source)
{
	const OmenCodeShape *shape = &quant->shape;
	Size		stride = shape->pair_size;
	uint8	   *own = take(source, shape->own_size);
	uint8	   *pairs = take(source, NLINKS * stride);
	uint8	   *pair = fuzz_room(stride, 8);
	uint8	   *codes = take(source, NLINKS * shape->link_size);
	float	   *f_add = take(source, NLINKS * sizeof(float));
	float	   *f_rescale = take(source, NLINKS * sizeof(float));
	float	   *scratch = fuzz_room(OMEN_QUANT_SCRATCH(shape) * sizeof(float), 8);
	float		est[NLINKS];

	omen_query_own(query, own);
	omen_quant_own_to_pair(quant, own, pair);
	omen_quant_pair_distance(quant, pair, pairs);
	omen_quant_pair_block(quant, pair, pairs, stride, NLINKS, est);
	omen_query_block(query, pairs, stride, NLINKS, est);
	if (shape->link_kind != OMEN_LINK_NONE)
	{
		omen_query_links(query, 0.5f, NLINKS, f_add, f_rescale, codes, est);
		for (int i = 0; i < NLINKS; i++)
			omen_quant_encode_link(quant, pair, pairs + i * stride, &f_add[i],
								   &f_rescale[i],
								   codes + i * shape->link_size, scratch);
		omen_query_links(query, 0.5f, NLINKS, f_add, f_rescale, codes, est);
	}
	free(own);
	free(pairs);
	free(pair);
	free(codes);
	free(f_add);
	free(f_rescale);
	free(scratch);
}

static void
use_shape(const OmenCodeShape *shape, Source *source)
{
	float	   *mean = take(source, shape->code_dims * sizeof(float));
	void	   *memory = fuzz_room(omen_quant_size(shape), 64);
	OmenQuantizer *quant;
	Size		codebook_size = omen_pq_codebook_size(shape);
	int8	   *codebook = take(source, codebook_size);
	Size		payload_size = shape->element == OMEN_ELEMENT_BIT ?
		(shape->dims + 7) / 8 :
		shape->dims * (shape->element == OMEN_ELEMENT_F32 ? 4 : 2);
	uint8	   *payload = take(source, payload_size);
	void	   *query_memory;
	OmenQuery  *query;

	if (shape->element == OMEN_ELEMENT_BIT && shape->dims % 8 != 0)
		payload[payload_size - 1] &= 0xFF << (8 - shape->dims % 8);
	quant = omen_quant_init_rotated(memory, shape, mean, 100.0f);
	if (codebook_size > 0)
		omen_pq_set_codebook(quant, codebook);
	query_memory = fuzz_room(omen_query_size(quant), 64);
	query = omen_query_init(query_memory, quant, payload);
	compare_codes(quant, query, source);
	if (shape->link_kind == OMEN_LINK_RABITQ1 ||
		shape->link_kind == OMEN_LINK_RABITQ2)
	{
		uint8	   *pair = take(source, shape->pair_size);
		uint8	   *codes = take(source, NLINKS * shape->link_size);
		float	   *factors = take(source, NLINKS * sizeof(float));
		float		est[NLINKS];

		query = omen_query_init_pair(query_memory, quant, pair);
		omen_query_links(query, 1.0f, NLINKS, factors, factors, codes, est);
		free(pair);
		free(codes);
		free(factors);
	}
	free(mean);
	free(memory);
	free(codebook);
	free(payload);
	free(query_memory);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready = false;
	OmenCodeShape shape;
	OmenSimdLevel level;
	Source		source;

	if (!ready)
	{
		omen_distance_init();
		omen_quant_init_kernels();
		ready = true;
	}
	if (size < 6)
		return 0;
	level = data[4] % (OMEN_SIMD_AVX512 + 1);
	omen_simd_assign(omen_simd_supported(level) ? level : OMEN_SIMD_GENERIC);
	source = (Source) {data + 5, size - 5, 0};
	if (data[0] == 0)
	{
		if (source.size < sizeof(shape))
			return 0;
		memcpy(&shape, source.data, sizeof(shape));
		if (!is_small_shape(&shape))
			return 0;
	}
	else if (!is_column(data[0], data[1]) ||
			 !omen_quant_choose_shape(data[0], data[1],
									  1 + (data[3] * 256 + data[5]) % MAX_DIMS,
									  data[2], &shape))
		return 0;
	else
		REQUIRE(omen_quant_shape_is_valid(&shape));
	use_shape(&shape, &source);
	return 0;
}
