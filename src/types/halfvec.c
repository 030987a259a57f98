/*-------------------------------------------------------------------------
 *
 * halfvec.c
 *	  The type halfvec: see dense_template.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/float.h"

#include "distance/distance.h"
#include "types/aggregate.h"
#include "types/bitvec.h"
#include "types/check.h"
#include "types/halfvec.h"
#include "types/parse.h"

#define DENSE_NAME "halfvec"
#define DENSE_STRUCT OmenHalfvec
#define DENSE_ELEMENT OmenHalf
#define DENSE_MAX_DIM OMEN_HALFVEC_MAX_DIM
#define DENSE_SIZE(dim) omen_halfvec_size(dim)
#define DENSE_FN(name) omen_halfvec_##name
#define DENSE_KERNEL(name) name##_f16

#define dense_to_float(x) omen_half_to_float(x)
#define dense_from_float(f) omen_float_to_half(f)
#define dense_from_float_checked(f) omen_float_to_half_checked(f)
#define dense_recv(buf) ((OmenHalf) pq_getmsgint(buf, sizeof(OmenHalf)))
#define dense_send(buf, x) pq_sendint16(buf, x)

#include "types/dense_template.h"

OmenHalf
omen_float_to_half_checked(float value)
{
	OmenHalf	half = omen_float_to_half(value);

	if (unlikely(omen_half_is_inf(half)) && !isinf(value))
	{
		char		text[FLOAT_SHORTEST_DECIMAL_LEN];

		float_to_shortest_decimal_buf(value, text);
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" is out of range for type halfvec", text)));
	}
	return half;
}
