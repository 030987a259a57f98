/*-------------------------------------------------------------------------
 *
 * order.h
 *	  Orders of numbers, for qsort().  NaN is equal to everything: there must be
 *	  none.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ORDER_H
#define OMEN_ORDER_H

static inline int
omen_compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

static inline int
omen_compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

#endif							/* OMEN_ORDER_H */
