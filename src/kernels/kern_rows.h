/*
 * kern_rows.h
 *	  Steps over rows of floats: quantize, layer norm, softmax and small sums; included by each level.
 *
 * Lanes past the end of a row count as 0 in every sum.
 */
#ifndef KERN_ROWS_H
#define KERN_ROWS_H

#include <float.h>
#include <math.h>
#include <string.h>

/* Elements i .. i+15 of a row of n, 0 past its end. */
KERN_INLINE v16
row_load(const float *x, int n, int i)
{
	return n - i >= KERN_LANES ? v_load(x + i) : v_load_n(x + i, n - i);
}

KERN_INLINE void
row_store(float *x, int n, int i, v16 v)
{
	if (n - i >= KERN_LANES)
		v_store(x + i, v);
	else
		v_store_n(x + i, v, n - i);
}

/* v with the lanes that lie past the end of a row of n set to 0. */
KERN_INLINE v16
row_mask(v16 v, int n, int i)
{
	float		t[KERN_LANES];

	if (n - i >= KERN_LANES)
		return v;
	v_store(t, v);
	return v_load_n(t, n - i);
}

#ifndef KERN_OWN_TRANSPOSE
static void
transpose(int m, int n, const float *const *rows, size_t at, float *y, int ldy)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			y[(size_t) j * ldy + i] = rows[i][at + (size_t) j];
}
#endif

/* ---------------------------------------------------------------- quantize */

/* NaN to 0, infinities to +-FLT_MAX. */
KERN_INLINE v16
v_finite(v16 x)
{
	return v_min(v_max(v_keep_ge(x, x, x), v_set(-FLT_MAX)), v_set(FLT_MAX));
}

/* 16 bytes at q[i], not past ldq. */
KERN_INLINE void
store_codes(uint8_t *q, int ldq, int i, v16 x, v16 inv)
{
	v16			t = v_add(v_mul(x, inv), v_set(KERN_ROUND + 128.0f));
	uint8_t		tail[KERN_LANES];

	if (ldq - i >= KERN_LANES)
		v_store_u8(q + i, t);
	else
	{
		v_store_u8(tail, t);
		memcpy(q + i, tail, (size_t) (ldq - i));
	}
}

/* The scale of a row and, in *inv, its reciprocal; false for a zero row, whose codes are all 128. */
KERN_INLINE bool
row_scale(float amax, float *scale, float *inv)
{
	bool		zero = !(amax >= KERN_AMAX_MIN);

	*scale = zero ? 0.0f : amax / 127.0f;
	*inv = zero ? 0.0f : 127.0f / amax;
	return !zero;
}

static void
quantize(int m, int k, const float *x, int ldx, uint8_t *q, int ldq, float *scale)
{
	for (int r = 0; r < m; r++, x += ldx, q += ldq)
	{
		v16			amax = v_set(0.0f);
		float		inv;
		int			i;

		for (i = 0; i < k; i += KERN_LANES)
			amax = v_max(v_abs(v_finite(row_load(x, k, i))), amax);
		if (!row_scale(v_hmax(amax), scale + r, &inv))
		{
			memset(q, 128, (size_t) ldq);
			continue;
		}
		for (i = 0; i < k; i += KERN_LANES)
			store_codes(q, ldq, i, v_finite(row_load(x, k, i)), v_set(inv));
		if (i < ldq)
			memset(q + i, 128, (size_t) (ldq - i));
	}
}

/* ---------------------------------------------------------------- layer norm */

/* Mean and 1 / sqrt(var + eps) of one row. */
KERN_INLINE void
row_stats(int k, const float *x, float eps, v16 *mean, v16 *rstd)
{
	v16			sum = v_set(0.0f);
	v16			sq = v_set(0.0f);

	for (int i = 0; i < k; i += KERN_LANES)
		sum = v_add(sum, row_load(x, k, i));
	*mean = v_set(v_sum(sum) / (float) k);
	for (int i = 0; i < k; i += KERN_LANES)
	{
		v16			d = row_mask(v_sub(row_load(x, k, i), *mean), k, i);

		sq = v_fma(d, d, sq);
	}
	*rstd = v_set(1.0f / sqrtf(v_sum(sq) / (float) k + eps));
}

/* fma((x - mean) * rstd, gain, bias) of elements i .. i+15 */
KERN_INLINE v16
row_norm(int k, const float *x, int i, v16 mean, v16 rstd, const float *gain, const float *bias)
{
	v16			d = v_mul(v_sub(row_load(x, k, i), mean), rstd);

	return v_fma(d, row_load(gain, k, i), row_load(bias, k, i));
}

static void
layer_norm(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
		   float *y, int ldy)
{
	for (int r = 0; r < m; r++, x += ldx, y += ldy)
	{
		v16			mean,
					rstd;

		row_stats(k, x, eps, &mean, &rstd);
		for (int i = 0; i < k; i += KERN_LANES)
			row_store(y, k, i, row_norm(k, x, i, mean, rstd, gain, bias));
	}
}

/* The row is normalised twice, once for amax: cheaper than keeping it. */
static void
layer_norm_quantize(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
					uint8_t *q, int ldq, float *scale)
{
	for (int r = 0; r < m; r++, x += ldx, q += ldq)
	{
		v16			mean,
					rstd,
					amax = v_set(0.0f);
		float		inv;
		int			i;

		row_stats(k, x, eps, &mean, &rstd);
		for (i = 0; i < k; i += KERN_LANES)
		{
			v16			y = v_finite(row_norm(k, x, i, mean, rstd, gain, bias));

			amax = v_max(v_abs(row_mask(y, k, i)), amax);
		}
		if (!row_scale(v_hmax(amax), scale + r, &inv))
		{
			memset(q, 128, (size_t) ldq);
			continue;
		}
		for (i = 0; i < k; i += KERN_LANES)
		{
			v16			y = v_finite(row_norm(k, x, i, mean, rstd, gain, bias));

			store_codes(q, ldq, i, row_mask(y, k, i), v_set(inv));
		}
		if (i < ldq)
			memset(q + i, 128, (size_t) (ldq - i));
	}
}

/* ---------------------------------------------------------------- sums, softmax, vectors */

/* x = exp(x - max) in place; the lane sum of it. */
KERN_INLINE float
row_exp(int n, float *x, float max)
{
	v16			sum = v_set(0.0f);

	for (int i = 0; i < n; i += KERN_LANES)
	{
		v16			e = v_exp(v_sub(row_load(x, n, i), v_set(max)));

		row_store(x, n, i, e);
		sum = v_add(sum, row_mask(e, n, i));
	}
	return v_sum(sum);
}

KERN_INLINE float
row_max(int n, const float *x)
{
	v16			max = v_set(-FLT_MAX);
	float		tail[KERN_LANES];
	int			i;

	for (i = 0; i + KERN_LANES <= n; i += KERN_LANES)
		max = v_max(v_load(x + i), max);
	if (i < n)
	{
		v_store(tail, v_set(-FLT_MAX));
		memcpy(tail, x + i, (size_t) (n - i) * sizeof(float));
		max = v_max(v_load(tail), max);
	}
	return v_hmax(max);
}

static float
softmax(int n, float *x)
{
	float		max = row_max(n, x);
	float		sum = row_exp(n, x, max);

	for (int i = 0; i < n; i += KERN_LANES)
		row_store(x, n, i, v_div(row_load(x, n, i), v_set(sum)));
	return kern_log_sum(sum, max);
}

static void
activate(int n, float *x, KernAct act)
{
	for (int i = 0; i < n; i += KERN_LANES)
		row_store(x, n, i, v_act(row_load(x, n, i), act));
}

static void
add(int n, float *y, const float *x)
{
	for (int i = 0; i < n; i += KERN_LANES)
		row_store(y, n, i, v_add(row_load(y, n, i), row_load(x, n, i)));
}

static void
axpy(int n, float a, const float *x, float *y)
{
	for (int i = 0; i < n; i += KERN_LANES)
		row_store(y, n, i, v_fma(v_set(a), row_load(x, n, i), row_load(y, n, i)));
}

static float
dot(int n, const float *a, const float *b)
{
	v16			sum = v_set(0.0f);

	for (int i = 0; i < n; i += KERN_LANES)
		sum = v_fma(row_load(a, n, i), row_load(b, n, i), sum);
	return v_sum(sum);
}

static void
dots(int m, int n, const float *a, const float *const *b, float *y)
{
	int			at = 0;

	for (; at + 4 <= m; at += 4)
	{
		v16			sum[4];

		KERN_UNROLL
		for (int r = 0; r < 4; r++)
			sum[r] = v_set(0.0f);
		for (int i = 0; i < n; i += KERN_LANES)
		{
			v16			x = row_load(a, n, i);

			KERN_UNROLL
			for (int r = 0; r < 4; r++)
				sum[r] = v_fma(x, row_load(b[at + r], n, i), sum[r]);
		}
		KERN_UNROLL
		for (int r = 0; r < 4; r++)
			y[at + r] = v_sum(sum[r]);
	}
	for (; at < m; at++)
		y[at] = dot(n, a, b[at]);
}

/* vectors * 16 columns from column j, side by side: one column's sum is a chain of dependent steps */
KERN_INLINE void
gemv_columns(const int vectors, int k, int n, int j, const float *x, const float *w, float *y)
{
	v16			acc[8];

	KERN_UNROLL
	for (int v = 0; v < vectors; v++)
		acc[v] = v_set(0.0f);
	for (int i = 0; i < k; i++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			acc[v] = v_fma(v_set(x[i]), row_load(w + (size_t) i * n, n, j + v * KERN_LANES), acc[v]);
	}
	KERN_UNROLL
	for (int v = 0; v < vectors; v++)
		row_store(y, n, j + v * KERN_LANES, acc[v]);
}

static void
gemv_f32(int k, int n, const float *x, const float *w, float *y)
{
	int			j = 0;

	for (; j + KERN_VECTORS * KERN_LANES <= n; j += KERN_VECTORS * KERN_LANES)
		gemv_columns(KERN_VECTORS, k, n, j, x, w, y);
	for (; j < n; j += KERN_LANES)
		gemv_columns(1, k, n, j, x, w, y);
}

#endif
