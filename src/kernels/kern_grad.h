/*
 * kern_grad.h
 *	  Steps of training over rows of floats: derivatives, dropout, AdamW; included by each level.
 *
 * As in kern_rows.h, lanes past the end of a row count as 0 in every sum.
 */
#ifndef KERN_GRAD_H
#define KERN_GRAD_H

/* ---------------------------------------------------------------- activations */

#define GRAD_INV_SQRT_2PI 0x1.988454p-2f

/* s + x s (1 - s) 2u', s = 1 / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3): y = x s */
KERN_INLINE v16
v_gelu_new_grad(v16 x)
{
	v16			c = v_min(v_max(x, v_set(KERN_GELU_MIN)), v_set(-KERN_GELU_MIN));
	v16			square = v_mul(c, c);
	v16			cube = v_fma(v_mul(square, v_set(KERN_GELU_CUBE)), c, c);
	v16			e = v_exp(v_mul(cube, v_set(-2.0f * KERN_SQRT_2_PI)));
	v16			s = v_div(v_set(1.0f), v_add(v_set(1.0f), e));
	v16			slope = v_fma(square, v_set(6.0f * KERN_GELU_CUBE * KERN_SQRT_2_PI), v_set(2.0f * KERN_SQRT_2_PI));
	v16			tail = v_mul(v_mul(c, s), v_sub(v_set(1.0f), s));

	return v_fma(tail, slope, s);
}

/* Phi(x) + x phi(x); Phi by Q of |x| */
KERN_INLINE v16
v_gelu_grad(v16 x)
{
	v16			c = v_min(v_max(x, v_set(KERN_GELU_MIN)), v_set(-KERN_GELU_MIN)),
				e,
				p = v_normal_tail(v_abs(c), &e);

	p = v_add(p, v_keep_ge(v_fnma(p, v_set(2.0f), v_set(1.0f)), x, v_set(0.0f)));
	return v_fma(v_mul(c, e), v_set(GRAD_INV_SQRT_2PI), p);
}

static void
activate_grad(int n, const float *x, const float *dy, float *dx, KernAct act)
{
	for (int i = 0; i < n; i += KERN_LANES)
	{
		v16			v = row_load(x, n, i);
		v16			g = row_load(dy, n, i);

		if (act == KERN_ACT_GELU_NEW)
			g = v_mul(g, v_gelu_new_grad(v));
		else if (act == KERN_ACT_GELU)
			g = v_mul(g, v_gelu_grad(v));
		else if (act == KERN_ACT_RELU)
			g = v_sub(g, v_keep_ge(g, v_set(0.0f), v));
		row_store(dx, n, i, g);
	}
}

/* ---------------------------------------------------------------- layer norm */

/* dx += rstd (g - mean(g) - xhat mean(g xhat)), g = dy gain, xhat = (x - mean) rstd */
static void
layer_norm_grad(int m, int k, const float *x, const float *gain, float eps, const float *dy, float *dx, float *stats)
{
	for (int r = 0; r < m; r++, x += k, dy += k, dx += k)
	{
		v16			mean,
					rstd,
					sum = v_set(0.0f),
					sum_hat = v_set(0.0f);

		row_stats(1, false, k, x, 0, eps, &mean, &rstd);
		for (int i = 0; i < k; i += KERN_LANES)
		{
			v16			g = v_mul(row_load(dy, k, i), row_load(gain, k, i));
			v16			hat = v_mul(v_sub(row_load(x, k, i), mean), rstd);

			sum = v_add(sum, g);
			sum_hat = v_fma(g, hat, sum_hat);
		}
		sum = v_set(v_sum(sum) / (float) k);
		sum_hat = v_set(v_sum(sum_hat) / (float) k);
		for (int i = 0; i < k; i += KERN_LANES)
		{
			v16			g = v_mul(row_load(dy, k, i), row_load(gain, k, i));
			v16			hat = v_mul(v_sub(row_load(x, k, i), mean), rstd);
			v16			d = v_fnma(hat, sum_hat, v_sub(g, sum));

			row_store(dx, k, i, v_fma(d, rstd, row_load(dx, k, i)));
		}
		stats[2 * r] = v_sum(mean) / KERN_LANES;	/* exact: sixteen equal lanes */
		stats[2 * r + 1] = v_sum(rstd) / KERN_LANES;
	}
}

/* n columns of the sums over m rows, 16 at a time: the accumulators stay in registers. */
static void
layer_norm_grad_gain(int m, int n, int ld, const float *x, const float *stats, const float *dy,
					 float *dgain, float *dbias)
{
	for (int i = 0; i < n; i += KERN_LANES)
	{
		v16			gain = row_load(dgain, n, i);
		v16			bias = row_load(dbias, n, i);

		for (int r = 0; r < m; r++)
		{
			v16			g = row_load(dy + (size_t) r * ld, n, i);
			v16			hat = v_mul(v_sub(row_load(x + (size_t) r * ld, n, i), v_set(stats[2 * r])),
									v_set(stats[2 * r + 1]));

			gain = v_fma(g, hat, gain);
			bias = v_add(bias, g);
		}
		row_store(dgain, n, i, gain);
		row_store(dbias, n, i, bias);
	}
}

static void
column_sum(int m, int n, const float *x, int ldx, float *y)
{
	for (int i = 0; i < n; i += KERN_LANES)
	{
		v16			sum = row_load(y, n, i);

		for (int r = 0; r < m; r++)
			sum = v_add(sum, row_load(x + (size_t) r * ldx, n, i));
		row_store(y, n, i, sum);
	}
}

/* ---------------------------------------------------------------- attention */

static void
attend_prob(int n, float *s, float log_sum)
{
	for (int i = 0; i < n; i += KERN_LANES)
		row_store(s, n, i, v_exp(v_sub(row_load(s, n, i), v_set(log_sum))));
}

static void
attend_grad(int n, const float *p, float *dp, float delta, float scale)
{
	for (int i = 0; i < n; i += KERN_LANES)
	{
		v16			d = v_sub(row_load(dp, n, i), v_set(delta));

		row_store(dp, n, i, v_mul(v_mul(row_load(p, n, i), d), v_set(scale)));
	}
}

/* ---------------------------------------------------------------- dropout */

/* Eight 32-bit lanes in the compiler's own vectors: integers have no rounding to agree on. */
typedef uint32_t grad_u8 __attribute__((vector_size(32)));
typedef float grad_f8 __attribute__((vector_size(32)));

static void
dropout(int n, uint64_t key, float rate, float *x)
{
	const uint32_t low = (uint32_t) key,
				high = (uint32_t) (key >> 32);
	const uint32_t limit = (uint32_t) ((double) rate * 4294967296.0);
	const float keep = 1.0f / (1.0f - rate);

	for (int i = 0; i < n; i += 8)
	{
		size_t		bytes = (size_t) (n - i < 8 ? n - i : 8) * sizeof(float);
		grad_u8		h = {0, 1, 2, 3, 4, 5, 6, 7},
					bits;
		grad_f8		v = {0};

		h = (h + (uint32_t) i) * 0x9E3779B1u + low;
		h = (h ^ (h >> 16)) * 0x21F0AAADu;
		h = (h ^ (h >> 15)) * 0x735A2D97u;
		h = (h ^ (h >> 15)) + high;
		h = (h ^ (h >> 16)) * 0x7FEB352Du;
		h = (h ^ (h >> 15)) * 0x846CA68Bu;
		h = h ^ (h >> 16);
		memcpy(&v, x + i, bytes);
		v *= keep;
		memcpy(&bits, &v, sizeof(bits));
		bits &= (grad_u8) (h >= limit);
		memcpy(x + i, &bits, bytes);
	}
}

/* ---------------------------------------------------------------- AdamW */

static void
adamw(size_t n, float *p, const float *g, float *m, float *v, const KernAdamW *a)
{
	for (size_t i = 0; i < n; i += KERN_LANES)
	{
		int			left = n - i < KERN_LANES ? (int) (n - i) : KERN_LANES;
		v16			grad = v_mul(row_load(g + i, left, 0), v_set(a->grad_scale));
		v16			m1 = v_fma(v_set(a->beta1), row_load(m + i, left, 0), v_mul(v_set(a->rest1), grad));
		v16			v1 = v_fma(v_set(a->beta2), row_load(v + i, left, 0),
							   v_mul(v_mul(v_set(a->rest2), grad), grad));
		v16			root = v_fma(v_sqrt(v1), v_set(a->root_scale), v_set(a->epsilon));
		v16			w = v_mul(row_load(p + i, left, 0), v_set(a->decay));

		row_store(m + i, left, 0, m1);
		row_store(v + i, left, 0, v1);
		row_store(p + i, left, 0, v_fnma(v_set(a->step), v_div(m1, root), w));
	}
}

static void
scale(int n, float a, float *x)
{
	for (int i = 0; i < n; i += KERN_LANES)
		row_store(x, n, i, v_mul(row_load(x, n, i), v_set(a)));
}

static const KernGradOps grad_ops = {
	.activate_grad = activate_grad,
	.layer_norm_grad = layer_norm_grad,
	.layer_norm_grad_gain = layer_norm_grad_gain,
	.column_sum = column_sum,
	.attend_prob = attend_prob,
	.attend_grad = attend_grad,
	.dropout = dropout,
	.scale = scale,
	.adamw = adamw,
};

#endif
