/*-------------------------------------------------------------------------
 *
 * check.h
 *	  What every vector type checks at the SQL boundary, and the errors.
 *
 * Functions with a context argument are for input functions: they report the
 * error to that context (errsave) and return false; with NULL they raise it.
 * The rest always raise.  "type" is the SQL name of the type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_CHECK_H
#define OMEN_TYPES_CHECK_H

#include "base/compat.h"
#include "utils/array.h"

extern bool omen_check_dim(Node *context, const char *type, int dim,
						   int max_dim);
extern bool omen_check_typmod(Node *context, int32 typmod, int dim);
extern bool omen_check_element(Node *context, const char *type, float value);

extern void omen_check_unused(int unused);
extern int32 omen_typmod_in(ArrayType *array, const char *type, int max_dim);
extern void omen_raise_dims_differ(const char *type, int a, int b)
			pg_attribute_noreturn();

static inline void
omen_check_same_dim(const char *type, int a, int b)
{
	if (unlikely(a != b))
		omen_raise_dims_differ(type, a, b);
}

/*
 * Arrays as a source of elements.  omen_array_length checks the shape of an
 * array and returns its length; omen_array_read converts that many elements.
 */
extern int	omen_array_length(ArrayType *array);
extern void omen_array_read(ArrayType *array, int n, float *dst);

#endif							/* OMEN_TYPES_CHECK_H */
