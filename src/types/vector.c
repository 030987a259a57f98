/*-------------------------------------------------------------------------
 *
 * vector.c
 *	  The type vector: see dense_template.h.
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
#include "types/parse.h"
#include "types/vector.h"

#define DENSE_NAME "vector"
#define DENSE_STRUCT OmenVector
#define DENSE_ELEMENT float
#define DENSE_MAX_DIM OMEN_VECTOR_MAX_DIM
#define DENSE_SIZE(dim) omen_vector_size(dim)
#define DENSE_FN(name) omen_vector_##name
#define DENSE_KERNEL(name) name##_f32

#define dense_to_float(x) (x)
#define dense_from_float(f) (f)
#define dense_from_float_checked(f) (f)
#define dense_recv(buf) pq_getmsgfloat4(buf)
#define dense_send(buf, x) pq_sendfloat4(buf, x)

#include "types/dense_template.h"
