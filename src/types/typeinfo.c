/*-------------------------------------------------------------------------
 *
 * typeinfo.c
 *	  Support functions that describe types and operator classes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/bitvec.h"
#include "types/halfvec.h"
#include "types/sparsevec.h"
#include "types/typeinfo.h"
#include "types/vector.h"

/* A support function that returns a constant OmenTypeInfo */
#define TYPE_SUPPORT(function, element_, max_dims_) \
OMEN_FUNCTION(function); \
Datum \
function(PG_FUNCTION_ARGS) \
{ \
	static const OmenTypeInfo info = { \
		.element = element_, .max_dims = max_dims_ \
	}; \
	PG_RETURN_POINTER(&info); \
} \
extern int	no_such_variable

TYPE_SUPPORT(omen_hnsw_halfvec_support, OMEN_ELEMENT_F16,
			 OMEN_HALFVEC_MAX_DIM);
TYPE_SUPPORT(omen_hnsw_sparsevec_support, OMEN_ELEMENT_SPARSE,
			 OMEN_SPARSEVEC_MAX_DIM);
TYPE_SUPPORT(omen_hnsw_bit_support, OMEN_ELEMENT_BIT, OMEN_BIT_MAX_DIM);

/* A support function that returns a constant OmenOpclassInfo */
#define OPCLASS_SUPPORT(type, metric_lower, element_, metric_, max_dims_) \
OMEN_FUNCTION(omen_hnsw_##type##_##metric_lower##_support); \
Datum \
omen_hnsw_##type##_##metric_lower##_support(PG_FUNCTION_ARGS) \
{ \
	static const OmenOpclassInfo info = { \
		.element = element_, .metric = metric_, .max_dims = max_dims_, \
		.type_name = #type \
	}; \
	PG_RETURN_POINTER(&info); \
} \
extern int	no_such_variable

#define DENSE_SUPPORTS(type, element, max_dims) \
OPCLASS_SUPPORT(type, l2, element, OMEN_METRIC_L2, max_dims); \
OPCLASS_SUPPORT(type, ip, element, OMEN_METRIC_IP, max_dims); \
OPCLASS_SUPPORT(type, cosine, element, OMEN_METRIC_COSINE, max_dims); \
OPCLASS_SUPPORT(type, l1, element, OMEN_METRIC_L1, max_dims)

DENSE_SUPPORTS(vector, OMEN_ELEMENT_F32, OMEN_VECTOR_MAX_DIM);
DENSE_SUPPORTS(halfvec, OMEN_ELEMENT_F16, OMEN_HALFVEC_MAX_DIM);
DENSE_SUPPORTS(sparsevec, OMEN_ELEMENT_SPARSE, OMEN_SPARSEVEC_MAX_DIM);

OPCLASS_SUPPORT(bit, hamming, OMEN_ELEMENT_BIT, OMEN_METRIC_HAMMING,
				OMEN_BIT_MAX_DIM);
OPCLASS_SUPPORT(bit, jaccard, OMEN_ELEMENT_BIT, OMEN_METRIC_JACCARD,
				OMEN_BIT_MAX_DIM);
