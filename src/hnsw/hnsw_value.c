/*-------------------------------------------------------------------------
 *
 * hnsw_value.c
 *	  From the values of a column to the payloads that codes are made of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "hnsw/hnsw.h"
#include "types/bitvec.h"
#include "types/halfvec.h"
#include "types/sparsevec.h"
#include "types/vector.h"

static void check_dims(const OmenOpclassInfo *opclass, uint32 expected,
					   uint32 dims);
static bool has_direction(OmenElementType element, uint32 dims,
						  const void *payload);

/*
 * The payload of a value, valid as long as the datum or, if that had to be
 * detoasted, the current memory context.  Returns false for a value that the
 * operator class leaves out of the index: a zero vector under cosine.
 * Raises an ERROR if it has not as many dimensions as the column.
 */
bool
omen_hnsw_form_value(const OmenOpclassInfo *opclass, uint32 dims, Datum datum,
					 OmenHnswValue *value)
{
	switch (opclass->element)
	{
		case OMEN_ELEMENT_F32:
			{
				OmenVector *vector = omen_datum_vector(datum);

				check_dims(opclass, dims, vector->dim);
				value->payload = vector->x;
				value->size = dims * sizeof(float);
				break;
			}
		case OMEN_ELEMENT_F16:
			{
				OmenHalfvec *vector = omen_datum_halfvec(datum);

				check_dims(opclass, dims, vector->dim);
				value->payload = vector->x;
				value->size = dims * sizeof(OmenHalf);
				break;
			}
		case OMEN_ELEMENT_SPARSE:
			{
				OmenSparsevec *vector = omen_datum_sparsevec(datum);

				/* OmenSparsePayload is the tail of the type's own layout */
				StaticAssertStmt(offsetof(OmenSparsevec, indices) -
								 offsetof(OmenSparsevec, nnz) ==
								 sizeof(OmenSparsePayload),
								 "sparse payload must match sparsevec");
				check_dims(opclass, dims, vector->dim);
				value->payload = &vector->nnz;
				value->size = sizeof(OmenSparsePayload) +
					vector->nnz * (sizeof(int32) + sizeof(float));
				break;
			}
		case OMEN_ELEMENT_BIT:
			{
				VarBit	   *bits = DatumGetVarBitP(datum);

				check_dims(opclass, dims, VARBITLEN(bits));
				value->payload = VARBITS(bits);
				value->size = VARBITBYTES(bits);
				break;
			}
	}
	return opclass->metric != OMEN_METRIC_COSINE ||
		has_direction(opclass->element, dims, value->payload);
}

uint32
omen_hnsw_value_dims(const OmenOpclassInfo *opclass, Datum datum)
{
	switch (opclass->element)
	{
		case OMEN_ELEMENT_F32:
			return omen_datum_vector(datum)->dim;
		case OMEN_ELEMENT_F16:
			return omen_datum_halfvec(datum)->dim;
		case OMEN_ELEMENT_SPARSE:
			return omen_datum_sparsevec(datum)->dim;
		case OMEN_ELEMENT_BIT:
			return VARBITLEN(DatumGetVarBitP(datum));
	}
	return 0;
}

/* The same words and SQLSTATE as the distance functions use */
static void
check_dims(const OmenOpclassInfo *opclass, uint32 expected, uint32 dims)
{
	if (dims == expected)
		return;
	if (opclass->element == OMEN_ELEMENT_BIT)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different bit lengths %u and %u", expected, dims)));
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("different %s dimensions %u and %u", opclass->type_name,
					expected, dims)));
}

static bool
has_direction(OmenElementType element, uint32 dims, const void *payload)
{
	return omen_hnsw_norm2(element, dims, payload) > 0;
}

/* Squared Euclidean norm of a payload; not of bit strings */
float
omen_hnsw_norm2(OmenElementType element, uint32 dims, const void *payload)
{
	const OmenSparsePayload *sparse = payload;
	OmenSparse	elements;

	switch (element)
	{
		case OMEN_ELEMENT_F32:
			return omen_distance->inner_product_f32(dims, payload, payload);
		case OMEN_ELEMENT_F16:
			return omen_distance->inner_product_f16(dims, payload, payload);
		case OMEN_ELEMENT_SPARSE:
			elements.nnz = sparse->nnz;
			elements.indices = (const int32 *) (sparse + 1);
			elements.values = (const float *) (elements.indices + sparse->nnz);
			return omen_sparse_inner_product(elements, elements);
		case OMEN_ELEMENT_BIT:
			break;
	}
	return 0;
}
