/*
 * kern_reference.c
 *	  The contracts of fsi_kernels.h, one element at a time: what every level must equal bit for bit.
 *
 * Written apart from the levels; only the constants of the polynomials are shared.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kern_internal.h"

#define REFERENCE_MAX_K 16384	/* of ref_layer_norm_quantize(): its row lies on the stack */

/* ---------------------------------------------------------------- functions */

static float
exp_of(float x)
{
	float		c = x < KERN_EXP_MAX ? x : KERN_EXP_MAX;
	float		n,
				r,
				p;

	if (!(x >= KERN_EXP_MIN))
		return 0.0f;
	n = fmaf(c, KERN_LOG2E, KERN_ROUND) - KERN_ROUND;
	r = fmaf(-n, KERN_LN2_LO, fmaf(-n, KERN_LN2_HI, c));
	p = fmaf(fmaf(fmaf(fmaf(KERN_E4, r, KERN_E3), r, KERN_E2), r, KERN_E1), r, KERN_E0);
	return ldexpf(fmaf(p * r, r, r) + 1.0f, (int) n);
}

static float
gelu_new_of(float x)
{
	float		c = x > KERN_GELU_MIN ? x : KERN_GELU_MIN;
	float		u = fmaf(c * c * KERN_GELU_CUBE, c, c);

	return c / (1.0f + exp_of(u * (-2.0f * KERN_SQRT_2_PI)));
}

static float
gelu_of(float x)
{
	static const float coef[] = {KERN_Q7, KERN_Q6, KERN_Q5, KERN_Q4, KERN_Q3, KERN_Q2, KERN_Q1, KERN_Q0};
	float		a = fabsf(x) < -KERN_GELU_MIN ? fabsf(x) : -KERN_GELU_MIN;
	float		t = 1.0f / fmaf(a, KERN_QT, 1.0f);
	float		p = 0.0f;

	for (int i = 0; i < 8; i++)
		p = i == 0 ? coef[0] : fmaf(p, t, coef[i]);
	return fmaf(-a, p * t * exp_of(a * a * -0.5f), x > 0.0f ? x : 0.0f);
}

static float
act_of(float x, KernAct act)
{
	return act == KERN_ACT_GELU_NEW ? gelu_new_of(x) : act == KERN_ACT_GELU ? gelu_of(x) :
		act == KERN_ACT_RELU ? (x > 0.0f ? x : 0.0f) : x;
}

/* Fold sixteen lanes. */
static float
fold(float *lane)
{
	for (int width = 8; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return lane[0];
}

/* ---------------------------------------------------------------- rows */

static void
ref_quantize(int m, int k, const float *x, int ldx, uint8_t *q, int ldq, KernCode *code)
{
	for (int r = 0; r < m; r++, x += ldx, q += ldq)
	{
		float		lo = 0.0f,
					hi = 0.0f,
					inv;

		for (int i = 0; i < k; i++)
		{
			lo = fminf(lo, kern_clean(x[i]));
			hi = fmaxf(hi, kern_clean(x[i]));
		}
		code[r] = (KernCode) {0};
		memset(q, 128, (size_t) ldq);
		if ((double) hi - (double) lo < (double) KERN_RANGE_MIN)
			continue;
		code[r].scale = hi / 252.0f - lo / 252.0f;
		inv = 1.0f / code[r].scale;
		code[r].zero = (int) rintf(-lo * inv) - 126;
		memset(q, 128 + code[r].zero, (size_t) ldq);
		for (int i = 0; i < k; i++)
			q[i] = (uint8_t) rint((double) kern_clean(x[i]) * (double) inv + (128 + code[r].zero));
	}
}

static void
ref_layer_norm(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
			   float *y, int ldy)
{
	for (int r = 0; r < m; r++, x += ldx, y += ldy)
	{
		float		sum[KERN_LANES] = {0},
					sq[KERN_LANES] = {0},
					mean,
					rstd;

		for (int i = 0; i < k; i++)
			sum[i % KERN_LANES] += x[i];
		mean = fold(sum) / (float) k;
		for (int i = 0; i < k; i++)
			sq[i % KERN_LANES] = fmaf(x[i] - mean, x[i] - mean, sq[i % KERN_LANES]);
		rstd = 1.0f / sqrtf(fold(sq) / (float) k + eps);
		for (int i = 0; i < k; i++)
			y[i] = fmaf((x[i] - mean) * rstd, gain[i], bias[i]);
	}
}

static void
ref_layer_norm_quantize(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps,
						uint8_t *q, int ldq, KernCode *code)
{
	float		y[REFERENCE_MAX_K];

	for (int r = 0; r < m; r++)
	{
		ref_layer_norm(1, k, x + (size_t) r * ldx, ldx, gain, bias, eps, y, 0);
		ref_quantize(1, k, y, 0, q + (size_t) r * ldq, ldq, code + r);
	}
}

static void
ref_activate(int n, float *x, KernAct act)
{
	for (int i = 0; i < n; i++)
		x[i] = act_of(x[i], act);
}

static void
ref_axpy(int n, float a, const float *x, float *y)
{
	for (int i = 0; i < n; i++)
		y[i] = fmaf(a, x[i], y[i]);
}

static void
ref_add(int n, float *y, const float *x)
{
	for (int i = 0; i < n; i++)
		y[i] += x[i];
}

static float
ref_dot(int n, const float *a, const float *b)
{
	float		lane[KERN_LANES] = {0};

	for (int i = 0; i < KERN_ROUND_UP(n, KERN_LANES); i++)
		lane[i % KERN_LANES] = fmaf(i < n ? a[i] : 0.0f, i < n ? b[i] : 0.0f, lane[i % KERN_LANES]);
	return fold(lane);
}

static void
ref_dots(int m, int n, const float *a, const float *const *b, float *y)
{
	for (int i = 0; i < m; i++)
		y[i] = ref_dot(n, a, b[i]);
}

static void
ref_gemv_f32(int m, int k, int n, const float *x, const float *w, float *y)
{
	for (int r = 0; r < m; r++, x += k, y += n)
		for (int j = 0; j < n; j++)
		{
			y[j] = 0.0f;
			for (int i = 0; i < k; i++)
				y[j] = fmaf(x[i], w[(size_t) i * n + j], y[j]);
		}
}

/* x = exp(x - max); *max and the lane sum. */
static float
exp_row(int n, float *x, float *max)
{
	float		lane[KERN_LANES] = {0};

	*max = -FLT_MAX;
	for (int i = 0; i < n; i++)
		*max = x[i] > *max ? x[i] : *max;
	for (int i = 0; i < n; i++)
		lane[i % KERN_LANES] += x[i] = exp_of(x[i] - *max);
	return fold(lane);
}

static float
ref_softmax(int n, float *x)
{
	float		max,
				sum = exp_row(n, x, &max);

	for (int i = 0; i < n; i++)
		x[i] /= sum;
	return (float) (fsi_log((double) sum) + (double) max);
}

static void
ref_transpose(int m, int n, const float *const *rows, size_t at, float *y, int ldy)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			y[(size_t) j * ldy + i] = rows[i][at + (size_t) j];
}

/* ---------------------------------------------------------------- int8 */

static float
ref_cell(const uint8_t *q, const KernCode *code, const KernMatrix *w, const float *bias, int n)
{
	int			k4 = KERN_ROUND_UP(w->k, KERN_QUAD) / KERN_QUAD;
	const int8_t *p = w->panels + (size_t) (n / KERN_PANEL) * k4 * KERN_STEP_BYTES + n % KERN_PANEL * KERN_QUAD;
	int32_t		dot = 0;

	for (int i = 0; i < w->k; i++)
		dot += (q[i] - 128 - code->zero) * p[i / KERN_QUAD * KERN_STEP_BYTES + i % KERN_QUAD];
	return fmaf((float) dot, code->scale * w->scale[n], bias ? bias[n] : 0.0f);
}

static void
ref_gemm_i8(int m, const uint8_t *q, int ldq, const KernCode *code, const KernMatrix *w, const float *bias,
			KernAct act, bool residual, float *y, int ldy, void *scratch)
{
	(void) scratch;
	for (int r = 0; r < m; r++)
		for (int n = 0; n < w->n; n++)
		{
			float	   *to = y + (size_t) r * ldy + n;
			float		x = ref_cell(q + (size_t) r * ldq, &code[r], w, bias, n);

			*to = residual ? *to + x : act_of(x, act);
		}
}

static void
ref_gemv_i8_cols(const uint8_t *q, const KernCode *code, const KernMatrix *w, int n, const int32_t *cols, float *y)
{
	for (int j = 0; j < n; j++)
		y[j] = ref_cell(q, code, w, NULL, cols[j]);
}

/* ---------------------------------------------------------------- attention */

static void
ref_attend(int m, int head_dim, const float *q, int ldq, float scale, int n_run, const KernKeys *runs,
		   int last_seen, float *scores, float *out, int ldout)
{
	for (int i = 0; i < m; i++)
	{
		int			n = 0;
		float		max,
					sum;

		for (int r = 0; r < n_run; r++)
			for (int j = 0; j < (r < n_run - 1 ? runs[r].count : last_seen + i); j++, n++)
			{
				scores[n] = 0.0f;
				for (int d = 0; d < head_dim; d++)
					scores[n] = fmaf(q[i * ldq + d], runs[r].kt[(size_t) d * runs[r].ld + j], scores[n]);
				scores[n] *= scale;
			}
		sum = exp_row(n, scores, &max);
		for (int d = 0; d < head_dim; d++)
		{
			float		acc = 0.0f;

			n = 0;
			for (int r = 0; r < n_run; r++)
				for (int j = 0; j < (r < n_run - 1 ? runs[r].count : last_seen + i); j++, n++)
					acc = fmaf(scores[n], runs[r].v[(size_t) j * runs[r].ldv + d], acc);
			out[i * ldout + d] = acc / sum;
		}
	}
}

static void
ref_attend_shared(int m, int head_dim, const float *q, int ldq, float scale, int n_run, int n_shared, const KernKeys *runs,
				  float *scores, float *out, int ldout)
{
	(void) n_shared;
	for (int i = 0; i < m; i++, runs += n_run)
		ref_attend(1, head_dim, q + (size_t) i * ldq, ldq, scale, n_run, runs, runs[n_run - 1].count, scores,
				   out + (size_t) i * ldout, ldout);
}

const KernOps kern_reference = {
	.level = KERN_SCALAR,
	.name = "reference",
	.quantize = ref_quantize,
	.layer_norm_quantize = ref_layer_norm_quantize,
	.gemm_i8 = ref_gemm_i8,
	.gemv_i8_cols = ref_gemv_i8_cols,
	.layer_norm = ref_layer_norm,
	.activate = ref_activate,
	.add = ref_add,
	.axpy = ref_axpy,
	.dot = ref_dot,
	.dots = ref_dots,
	.gemv_f32 = ref_gemv_f32,
	.softmax = ref_softmax,
	.transpose = ref_transpose,
	.attend = ref_attend,
	.attend_shared = ref_attend_shared,
};
