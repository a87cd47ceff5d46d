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

/* Elements i .. i+15 of a row of n; whole: all of them are there, which a loop need not ask each time. */
KERN_INLINE v16
part_load(const bool whole, const float *x, int n, int i)
{
	return whole ? v_load(x + i) : row_load(x, n, i);
}

KERN_INLINE void
part_store(const bool whole, float *x, int n, int i, v16 v)
{
	if (whole || n - i >= KERN_LANES)
		v_store(x + i, v);
	else
		v_store_n(x + i, v, n - i);
}

KERN_INLINE void
row_store(float *x, int n, int i, v16 v)
{
	part_store(false, x, n, i, v);
}

/* v with the lanes that lie past the end of a row of n set to 0. */
KERN_INLINE v16
part_mask(const bool whole, v16 v, int n, int i)
{
	float		t[KERN_LANES];

	if (whole || n - i >= KERN_LANES)
		return v;
	v_store(t, v);
	return v_load_n(t, n - i);
}

KERN_INLINE v16
row_mask(v16 v, int n, int i)
{
	return part_mask(false, v, n, i);
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
store_codes(const bool whole, uint8_t *q, int ldq, int i, v16 x, v16 inv, v16 zero)
{
	v16			t = v_fma(x, inv, zero);
	uint8_t		tail[KERN_LANES];

	if (whole || ldq - i >= KERN_LANES)
		v_store_u8(q + i, t);
	else
	{
		v_store_u8(tail, t);
		memcpy(q + i, tail, (size_t) (ldq - i));
	}
}

/* The code of a row from -below to above, both >= 0; *inv: 1 / scale; false for a zero row, whose codes are all 128. */
KERN_INLINE bool
row_code(float below, float above, KernCode *code, float *inv)
{
	float		round = KERN_ROUND;

	*code = (KernCode) {0};
	if (!(below + above >= KERN_RANGE_MIN))
		return false;
	code->scale = above / KERN_CODES + below / KERN_CODES;
	*inv = 1.0f / code->scale;
	code->zero = (int32_t) (below * *inv + round - round) - KERN_CODES / 2;
	return true;
}

/* ---------------------------------------------------------------- layer norm */

/* Mean and 1 / sqrt(var + eps) of rows side by side: each of a row's sums is one chain of dependent steps. */
KERN_INLINE void
row_stats(const int rows, const bool whole, int k, const float *x, int ldx, float eps, v16 *mean, v16 *rstd)
{
	v16			sum[KERN_NORM_ROWS],
				sq[KERN_NORM_ROWS];

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
		sum[r] = sq[r] = v_set(0.0f);
	for (int i = 0; i < k; i += KERN_LANES)
	{
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
			sum[r] = v_add(sum[r], part_load(whole, x + (size_t) r * ldx, k, i));
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
		mean[r] = v_set(v_sum(sum[r]) / (float) k);
	for (int i = 0; i < k; i += KERN_LANES)
	{
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			v16			d = part_mask(whole, v_sub(part_load(whole, x + (size_t) r * ldx, k, i), mean[r]), k, i);

			sq[r] = v_fma(d, d, sq[r]);
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
		rstd[r] = v_set(1.0f / sqrtf(v_sum(sq[r]) / (float) k + eps));
}

/* row_stats() of the next rows of m: as many as go side by side, else one; how many. */
KERN_INLINE int
next_stats(const bool whole, int m, int k, const float *x, int ldx, float eps, v16 *mean, v16 *rstd)
{
	if (m >= KERN_NORM_ROWS)
	{
		row_stats(KERN_NORM_ROWS, whole, k, x, ldx, eps, mean, rstd);
		return KERN_NORM_ROWS;
	}
	row_stats(1, whole, k, x, ldx, eps, mean, rstd);
	return 1;
}

/* fma((x - mean) * rstd, gain, bias) of elements i .. i+15 */
KERN_INLINE v16
row_norm(const bool whole, int k, const float *x, int i, v16 mean, v16 rstd, const float *gain, const float *bias)
{
	v16			d = v_mul(v_sub(part_load(whole, x, k, i), mean), rstd);

	return v_fma(d, part_load(whole, gain, k, i), part_load(whole, bias, k, i));
}

KERN_INLINE void
norm_rows(const bool whole, int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
		  float *y, int ldy)
{
	v16			mean[KERN_NORM_ROWS],
				rstd[KERN_NORM_ROWS];

	for (int rows; m > 0; m -= rows)
	{
		rows = next_stats(whole, m, k, x, ldx, eps, mean, rstd);
		for (int r = 0; r < rows; r++, x += ldx, y += ldy)
			for (int i = 0; i < k; i += KERN_LANES)
				row_store(y, k, i, row_norm(whole, k, x, i, mean[r], rstd[r], gain, bias));
	}
}

static void
layer_norm(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
		   float *y, int ldy)
{
	if (k % KERN_LANES == 0)
		norm_rows(true, m, k, x, ldx, gain, bias, eps, y, ldy);
	else
		norm_rows(false, m, k, x, ldx, gain, bias, eps, y, ldy);
}

/* ---------------------------------------------------------------- rows to codes */

/* A row that is to be quantised: x, or its layer norm where there is a gain. */
typedef struct CodeRow
{
	int			k;
	const float *x,
			   *gain,
			   *bias;
	v16			mean,
				rstd;
} CodeRow;

/* Elements i .. i+15, 0 past the end.  A row is normalised twice, once for its range: cheaper than keeping it. */
KERN_INLINE v16
code_part(const bool norm, const bool whole, const CodeRow *row, int i)
{
	if (!norm)
		return part_load(whole, row->x, row->k, i);
	return part_mask(whole, row_norm(whole, row->k, row->x, i, row->mean, row->rstd, row->gain, row->bias), row->k, i);
}

/* Range of a row without NaN and infinities, from -*below to *above; false if it has one. */
KERN_INLINE bool
finite_range(const bool norm, const bool whole, const CodeRow *row, float *below, float *above)
{
	v16			zero = v_set(0.0f),
				lo[KERN_CHAINS],
				hi[KERN_CHAINS],
				odd[KERN_CHAINS];	/* sums of x * 0, chains side by side: NaN where x is none or infinite */
	int			i = 0;

	KERN_UNROLL
	for (int c = 0; c < KERN_CHAINS; c++)
		lo[c] = hi[c] = odd[c] = zero;
	for (; i + KERN_CHAINS * KERN_LANES <= row->k; i += KERN_CHAINS * KERN_LANES)
	{
		KERN_UNROLL
		for (int c = 0; c < KERN_CHAINS; c++)
		{
			v16			x = code_part(norm, whole, row, i + c * KERN_LANES);

			lo[c] = v_min(x, lo[c]);
			hi[c] = v_max(x, hi[c]);
			odd[c] = v_fma(x, zero, odd[c]);
		}
	}
	for (; i < row->k; i += KERN_LANES)
	{
		v16			x = code_part(norm, whole, row, i);

		lo[0] = v_min(x, lo[0]);
		hi[0] = v_max(x, hi[0]);
		odd[0] = v_fma(x, zero, odd[0]);
	}
	KERN_UNROLL
	for (int c = 1; c < KERN_CHAINS; c++)
	{
		lo[0] = v_min(lo[0], lo[c]);
		hi[0] = v_max(hi[0], hi[c]);
		odd[0] = v_add(odd[0], odd[c]);
	}
	*below = v_hmax(v_sub(zero, lo[0]));
	*above = v_hmax(hi[0]);
	return v_sum(odd[0]) == 0.0f;
}

KERN_INLINE void
code_row(const bool norm, const bool whole, const CodeRow *row, uint8_t *q, int ldq, KernCode *code)
{
	float		below,
				above,
				inv;
	bool		finite = finite_range(norm, whole, row, &below, &above);
	v16			zero;
	int			i;

	if (!finite)
	{
		v16			lo = v_set(0.0f),
					hi = lo;

		for (i = 0; i < row->k; i += KERN_LANES)
		{
			v16			x = v_finite(code_part(norm, whole, row, i));

			lo = v_min(x, lo);
			hi = v_max(x, hi);
		}
		below = v_hmax(v_sub(v_set(0.0f), lo));
		above = v_hmax(hi);
	}
	if (!row_code(below, above, code, &inv))
	{
		memset(q, 128, (size_t) ldq);
		return;
	}
	zero = v_set(KERN_ROUND + (float) (128 + code->zero));
	for (i = 0; finite && i < row->k; i += KERN_LANES)
		store_codes(whole, q, ldq, i, code_part(norm, whole, row, i), v_set(inv), zero);
	for (i = finite ? i : 0; i < row->k; i += KERN_LANES)
		store_codes(whole, q, ldq, i, v_finite(code_part(norm, whole, row, i)), v_set(inv), zero);
	if (i < ldq)
		memset(q + i, 128 + code->zero, (size_t) (ldq - i));
}

static void
quantize(int m, int k, const float *x, int ldx, uint8_t *q, int ldq, KernCode *code)
{
	for (int r = 0; r < m; r++, x += ldx, q += ldq)
	{
		CodeRow		row = {.k = k, .x = x};

		if (k % KERN_LANES == 0)
			code_row(false, true, &row, q, ldq, code + r);
		else
			code_row(false, false, &row, q, ldq, code + r);
	}
}

KERN_INLINE void
norm_rows_quantize(const bool whole, int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
					uint8_t *q, int ldq, KernCode *code)
{
	v16			mean[KERN_NORM_ROWS],
				rstd[KERN_NORM_ROWS];

	for (int rows; m > 0; m -= rows)
	{
		rows = next_stats(whole, m, k, x, ldx, eps, mean, rstd);
		for (int r = 0; r < rows; r++, x += ldx, q += ldq)
		{
			CodeRow		row = {.k = k, .x = x, .gain = gain, .bias = bias, .mean = mean[r], .rstd = rstd[r]};

			code_row(true, whole, &row, q, ldq, code++);
		}
	}
}

static void
layer_norm_quantize(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
					uint8_t *q, int ldq, KernCode *code)
{
	if (k % KERN_LANES == 0)
		norm_rows_quantize(true, m, k, x, ldx, gain, bias, eps, q, ldq, code);
	else
		norm_rows_quantize(false, m, k, x, ldx, gain, bias, eps, q, ldq, code);
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

/* rows of x by vectors * 16 columns from column j, side by side: one sum is a chain of dependent steps */
KERN_INLINE void
gemv_columns(const int rows, const int vectors, int k, int n, int j, const float *x, const float *w, float *y)
{
	v16			acc[KERN_VECTORS][KERN_VECTORS];

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			acc[r][v] = v_set(0.0f);
	}
	for (int i = 0; i < k; i++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
		{
			v16			b = row_load(w + (size_t) i * n, n, j + v * KERN_LANES);

			KERN_UNROLL
			for (int r = 0; r < rows; r++)
				acc[r][v] = v_fma(v_set(x[(size_t) r * k + i]), b, acc[r][v]);
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			row_store(y + (size_t) r * n, n, j + v * KERN_LANES, acc[r][v]);
	}
}

/* 16 columns of w stay in the L1 cache while rows pass; rows that are too few to go side by side let columns do so. */
static void
gemv_f32(int m, int k, int n, const float *x, const float *w, float *y)
{
	int			side_by_side = m - m % KERN_VECTORS;

	for (int j = 0; side_by_side > 0 && j < n; j += KERN_LANES)
		for (int r = 0; r < side_by_side; r += KERN_VECTORS)
			gemv_columns(KERN_VECTORS, 1, k, n, j, x + (size_t) r * k, w, y + (size_t) r * n);
	for (int r = side_by_side; r < m; r++)
	{
		int			j = 0;

		for (; j + KERN_VECTORS * KERN_LANES <= n; j += KERN_VECTORS * KERN_LANES)
			gemv_columns(1, KERN_VECTORS, k, n, j, x + (size_t) r * k, w, y + (size_t) r * n);
		for (; j < n; j += KERN_LANES)
			gemv_columns(1, 1, k, n, j, x + (size_t) r * k, w, y + (size_t) r * n);
	}
}

#endif
