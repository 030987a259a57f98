/*-------------------------------------------------------------------------
 *
 * distance_dense_template.h
 *	  The dense kernels for one element type; included by
 *	  distance_template.h, whose primitives it uses.
 *
 *	DENSE_ELEMENT		element type
 *	DENSE_KERNEL(name)	name of a kernel for that type
 *	DENSE_LOAD(p), DENSE_LOAD_TAIL(p, n)	elements as a vector of floats
 *
 * The parameters are undefined at the end.
 *
 *-------------------------------------------------------------------------
 */

/*
 * Sum of step(a[i], b[i]).  Always inlined, so that step costs no call.
 * Four independent sums hide the latency of a fused multiply-add.
 */
static pg_attribute_always_inline float
DENSE_KERNEL(sum_steps) (int dim, const DENSE_ELEMENT *a,
						 const DENSE_ELEMENT *b, VF (*step) (VF, VF, VF))
{
	VF			sum0 = vf_zero();
	VF			sum1 = vf_zero();
	VF			sum2 = vf_zero();
	VF			sum3 = vf_zero();
	int			i = 0;

	for (; i + 4 * VF_LANES <= dim; i += 4 * VF_LANES)
	{
		const DENSE_ELEMENT *x = a + i;
		const DENSE_ELEMENT *y = b + i;

		sum0 = step(sum0, DENSE_LOAD(x), DENSE_LOAD(y));
		sum1 = step(sum1, DENSE_LOAD(x + VF_LANES), DENSE_LOAD(y + VF_LANES));
		sum2 = step(sum2, DENSE_LOAD(x + 2 * VF_LANES),
					DENSE_LOAD(y + 2 * VF_LANES));
		sum3 = step(sum3, DENSE_LOAD(x + 3 * VF_LANES),
					DENSE_LOAD(y + 3 * VF_LANES));
	}
	for (; i + VF_LANES <= dim; i += VF_LANES)
		sum0 = step(sum0, DENSE_LOAD(a + i), DENSE_LOAD(b + i));
	if (i < dim)
		sum1 = step(sum1, DENSE_LOAD_TAIL(a + i, dim - i),
					DENSE_LOAD_TAIL(b + i, dim - i));

	return vf_sum(vf_add(vf_add(sum0, sum1), vf_add(sum2, sum3)));
}

static float
DENSE_KERNEL(l2_squared) (int dim, const DENSE_ELEMENT *a,
						  const DENSE_ELEMENT *b)
{
	return DENSE_KERNEL(sum_steps) (dim, a, b, step_l2_squared);
}

static float
DENSE_KERNEL(inner_product) (int dim, const DENSE_ELEMENT *a,
							 const DENSE_ELEMENT *b)
{
	return DENSE_KERNEL(sum_steps) (dim, a, b, step_inner_product);
}

static float
DENSE_KERNEL(l1) (int dim, const DENSE_ELEMENT *a, const DENSE_ELEMENT *b)
{
	return DENSE_KERNEL(sum_steps) (dim, a, b, step_l1);
}

/* Dot product and both squared norms in one pass: two sums of each */
static OmenCosineParts
DENSE_KERNEL(cosine) (int dim, const DENSE_ELEMENT *a, const DENSE_ELEMENT *b)
{
	OmenCosineParts parts;
	VF			dot[2] = {vf_zero(), vf_zero()};
	VF			norm_a[2] = {vf_zero(), vf_zero()};
	VF			norm_b[2] = {vf_zero(), vf_zero()};
	int			i = 0;

	for (; i + 2 * VF_LANES <= dim; i += 2 * VF_LANES)
	{
		for (int j = 0; j < 2; j++)
		{
			VF			x = DENSE_LOAD(a + i + j * VF_LANES);
			VF			y = DENSE_LOAD(b + i + j * VF_LANES);

			dot[j] = vf_fma(x, y, dot[j]);
			norm_a[j] = vf_fma(x, x, norm_a[j]);
			norm_b[j] = vf_fma(y, y, norm_b[j]);
		}
	}
	for (int j = 0; i < dim; i += VF_LANES, j = 1)
	{
		int			n = Min(VF_LANES, dim - i);
		VF			x = n == VF_LANES ? DENSE_LOAD(a + i) :
			DENSE_LOAD_TAIL(a + i, n);
		VF			y = n == VF_LANES ? DENSE_LOAD(b + i) :
			DENSE_LOAD_TAIL(b + i, n);

		dot[j] = vf_fma(x, y, dot[j]);
		norm_a[j] = vf_fma(x, x, norm_a[j]);
		norm_b[j] = vf_fma(y, y, norm_b[j]);
	}

	parts.dot = vf_sum(vf_add(dot[0], dot[1]));
	parts.norm_a = vf_sum(vf_add(norm_a[0], norm_a[1]));
	parts.norm_b = vf_sum(vf_add(norm_b[0], norm_b[1]));
	return parts;
}

#undef DENSE_ELEMENT
#undef DENSE_KERNEL
#undef DENSE_LOAD
#undef DENSE_LOAD_TAIL
