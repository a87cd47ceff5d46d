/*
 * kern_math.h
 *	  exp and the activations over v16; included by each level.
 *
 * Errors (test_kernels.c measures them against double): exp at most 2 ulp on [-87, 88];
 * GELU, both forms, within 2e-7 |x| + 1e-7 absolute; tanh(u) appears as 1 - 2 / (1 + exp(2u)),
 * which gelu_new needs as 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)): no cancellation at the left tail.
 */
#ifndef KERN_MATH_H
#define KERN_MATH_H

/* exp(x): 0 below KERN_EXP_MIN and for NaN, exp(88) above 88. */
KERN_INLINE v16
v_exp(v16 x)
{
	v16			c = v_min(x, v_set(KERN_EXP_MAX));
	v16			t = v_fma(c, v_set(KERN_LOG2E), v_set(KERN_ROUND));
	v16			n = v_sub(t, v_set(KERN_ROUND));
	v16			r = v_fnma(n, v_set(KERN_LN2_LO), v_fnma(n, v_set(KERN_LN2_HI), c));
	v16			p = v_set(KERN_E4);

	p = v_fma(p, r, v_set(KERN_E3));
	p = v_fma(p, r, v_set(KERN_E2));
	p = v_fma(p, r, v_set(KERN_E1));
	p = v_fma(p, r, v_set(KERN_E0));
	p = v_fma(v_mul(p, r), r, r);
	p = v_add(p, v_set(1.0f));
	return v_keep_ge(v_ldexp(p, t), x, v_set(KERN_EXP_MIN));
}

/* x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3))) */
KERN_INLINE v16
v_gelu_new(v16 x)
{
	v16			c = v_max(x, v_set(KERN_GELU_MIN));
	v16			cube = v_fma(v_mul(v_mul(c, c), v_set(KERN_GELU_CUBE)), c, c);
	v16			e = v_exp(v_mul(cube, v_set(-2.0f * KERN_SQRT_2_PI)));

	return v_div(c, v_add(v_set(1.0f), e));
}

/* Q(a), the normal distribution's upper tail, for 0 <= a <= -KERN_GELU_MIN; *e = e^(-a^2/2). */
KERN_INLINE v16
v_normal_tail(v16 a, v16 *e)
{
	v16			t = v_div(v_set(1.0f), v_fma(a, v_set(KERN_QT), v_set(1.0f)));
	v16			p = v_set(KERN_Q7);

	*e = v_exp(v_mul(v_mul(a, a), v_set(-0.5f)));
	p = v_fma(p, t, v_set(KERN_Q6));
	p = v_fma(p, t, v_set(KERN_Q5));
	p = v_fma(p, t, v_set(KERN_Q4));
	p = v_fma(p, t, v_set(KERN_Q3));
	p = v_fma(p, t, v_set(KERN_Q2));
	p = v_fma(p, t, v_set(KERN_Q1));
	p = v_fma(p, t, v_set(KERN_Q0));
	return v_mul(v_mul(p, t), *e);
}

/* max(x, 0) - |x| Q(|x|) */
KERN_INLINE v16
v_gelu(v16 x)
{
	v16			a = v_min(v_abs(x), v_set(-KERN_GELU_MIN)),
				e;

	return v_fnma(a, v_normal_tail(a, &e), v_max(x, v_set(0.0f)));
}

KERN_INLINE v16
v_act(v16 x, KernAct act)
{
	switch (act)
	{
		case KERN_ACT_NONE:
			break;
		case KERN_ACT_GELU_NEW:
			return v_gelu_new(x);
		case KERN_ACT_GELU:
			return v_gelu(x);
		case KERN_ACT_RELU:
			return v_max(x, v_set(0.0f));
	}
	return x;
}

#endif
