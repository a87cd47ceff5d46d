/*
 * fsi_kernels.h
 *	  Arithmetic: int8 GEMM and the float steps between, one dispatch table per CPU level.
 *
 * Exactness.  Every level (scalar, AVX2, AVX-VNNI, AVX-512 VNNI, NEON) gives EQUAL BITS:
 * int8 x int8 sums are int32 and exact in any order; every float step has one fixed order
 * of operations, written once over 16-lane vectors (kern_math.h, kern_rows.h, kern_attend.h over
 * kern_vec_*.h) and compiled per level:
 *	- a reduction over n floats adds element i into lane i % 16 in ascending order, then
 *	  folds the lanes 8, 4, 2, 1 (lane j += lane j + width);
 *	- a * b + c is always one fused multiply-add (fmaf() where the CPU has none);
 *	- exp, tanh, erf are our polynomials; division and sqrt are IEEE; rounding to integer
 *	  is to nearest even.
 * Nothing depends on batch size, blocking, alignment or position.  The f32 GEMM is
 * OpenBLAS and promises none of this: it serves the reference engine and training only.
 *
 * Kernels allocate nothing and cannot fail; callers give scratch.  Pointers need the
 * alignment of their type unless stated.  Sizes are in elements.
 */
#ifndef FSI_KERNELS_H
#define FSI_KERNELS_H

#include "fsi_base.h"

#define KERN_LANES 16			/* one zmm of float; the order of every sum depends on it */
#define KERN_PANEL 16			/* output channels per weight panel */
#define KERN_QUAD 4				/* inputs per int32 lane of a dot-product instruction */

#define KERN_ROUND_UP(n, to) ((((n) + (to) - 1) / (to)) * (to))

/* Queries that go side by side: of attend_shared(), and at most, of attend(). */
#define KERN_ATTEND_ROWS 4
#define KERN_ATTEND_MOST 8
/* Floats of scratch that attend() needs when its last query sees this many keys. */
#define KERN_ATTEND_SCRATCH(keys) ((size_t) KERN_ATTEND_MOST * (KERN_ROUND_UP(keys, KERN_LANES) + KERN_LANES))

/*
 * Bytes of scratch that gemm_i8() needs: rows and weights in the form of the level's instructions, within the L2 cache.
 */
#define KERN_GEMM_SCRATCH ((size_t) 256 << 10)

/*
 * A weight matrix of K inputs and N outputs, y = x W (+ bias).
 * int8: panels[N16/16][K4/4][16][4] with N16, K4 rounded up and zero filled, weights in
 *	[-127, 127], w ~ panels * scale[n]; comp[n] = 128 * sum_k panels[k][n] undoes the
 *	+128 of the activations (u8 x s8 instructions), and tells the sum.  64-aligned.
 * f32: w[k * N + n], or w[n * K + k] when transposed.
 */
typedef enum KernType { KERN_I8 = 1, KERN_F32 = 2 } KernType;

typedef struct KernMatrix
{
	KernType	type;
	int			k,
				n;
	const int8_t *panels;		/* int8 */
	const float *scale;			/* int8: [N16] */
	const int32_t *comp;		/* int8: [N16] */
	const float *w;				/* f32 */
	bool		transposed;		/* f32 */
} KernMatrix;

typedef enum KernAct
{
	KERN_ACT_NONE = 0,
	KERN_ACT_GELU_NEW,			/* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
	KERN_ACT_GELU,				/* x Phi(x), erf form */
	KERN_ACT_RELU
} KernAct;

typedef enum KernLevel
{
	KERN_AUTO = 0,
	KERN_SCALAR,
	KERN_AVX2,
	KERN_AVXVNNI,
	KERN_AVX512VNNI,
	KERN_NEON
} KernLevel;

/* How a row's codes read: x ~ scale * (q - 128 - zero). */
typedef struct KernCode
{
	float		scale;
	int32_t		zero;			/* the zero point, -126 .. 126 */
} KernCode;

/* One run of keys and values for one head: kt[d * ld + j], v[j * ldv + d]. */
typedef struct KernKeys
{
	const float *kt;
	const float *v;
	int			ld;				/* distance of kt's rows */
	int			ldv;			/* distance of v's rows */
	int			count;			/* keys */
} KernKeys;

/* One AdamW update, factors computed by the caller (src/train/train_adamw.c). */
typedef struct KernAdamW
{
	float		grad_scale;		/* of the gradient first: clipping */
	float		beta1,
				rest1,			/* 1 - beta1, rounded from double: 1 - 0.999f is 5e-5 off */
				beta2,
				rest2;
	float		root_scale;		/* 1 / sqrt(1 - beta2^t) */
	float		epsilon;
	float		step;			/* learning rate / (1 - beta1^t) */
	float		decay;			/* 1 - learning rate * weight decay */
} KernAdamW;

/* Steps of training, same exactness.  Row i of a matrix of k columns is at i * k unless a distance is given. */
typedef struct KernGradOps
{
	/* dx = dy act'(x); dx may be dy. */
	void		(*activate_grad) (int n, const float *x, const float *dy, float *dx, KernAct act);
	/*
	 * dx += the gradient through y = layer_norm(x) of m rows of k; stats[2i], stats[2i + 1]:
	 * row i's mean and 1 / sqrt(var + eps), for layer_norm_grad_gain().
	 */
	void		(*layer_norm_grad) (int m, int k, const float *x, const float *gain, float eps,
									const float *dy, float *dx, float *stats);
	/* dgain[j] += sum_i dy (x - mean) rstd and dbias[j] += sum_i dy, i ascending: n columns of rows ld apart. */
	void		(*layer_norm_grad_gain) (int m, int n, int ld, const float *x, const float *stats,
										 const float *dy, float *dgain, float *dbias);
	/* y[j] += sum_i x[i * ldx + j], i ascending */
	void		(*column_sum) (int m, int n, const float *x, int ldx, float *y);
	/* s = e^(s - log_sum): probabilities again from scores and softmax()'s result */
	void		(*attend_prob) (int n, float *s, float log_sum);
	/* dp = p (dp - delta) scale: from the probabilities' gradient to the scores' */
	void		(*attend_grad) (int n, const float *p, float *dp, float delta, float scale);
	/*
	 * x = 0 with probability rate, else x / (1 - rate).  Element i's fate is a hash of key and
	 * i alone, so the backward pass repeats the forward's.  0 <= rate < 1.
	 */
	void		(*dropout) (int n, uint64_t key, float rate, float *x);
	void		(*scale) (int n, float a, float *x);	/* x *= a */
	/* m = beta1 m + rest1 g', v = beta2 v + rest2 g'^2, p = decay p - step m / (sqrt(v) root_scale + epsilon) */
	void		(*adamw) (size_t n, float *p, const float *g, float *m, float *v, const KernAdamW *a);
} KernGradOps;

typedef struct KernOps
{
	KernLevel	level;
	const char *name;			/* "scalar", "avx2", "avx-vnni", "avx512-vnni", "neon" */

	/*
	 * Each row by its own range from lo = min(0, x) to hi = max(0, x), asymmetrically: most of
	 * what GELU gives lies on one side.  code[i].scale = hi / 252 + -lo / 252, zero = round(-lo / scale) - 126,
	 * q[i * ldq + k] = 128 + zero + x[i * ldx + k] / scale rounded once, in [1, 255]: the AVX2
	 * level negates q - 128.  A zero row gives scale 0, zero 0 and q 128; NaN counts as 0 and
	 * infinities as +-FLT_MAX, so that no later step sees one.  q is filled with the code of 0
	 * up to ldq.  x (m, k); ldq >= K4, a multiple of 4; q 64-aligned.
	 */
	void		(*quantize) (int m, int k, const float *x, int ldx,
							 uint8_t *q, int ldq, KernCode *code);

	/* As quantize() of layer_norm(): out of one pass over the row. */
	void		(*layer_norm_quantize) (int m, int k, const float *x, int ldx,
										const float *gain, const float *bias, float eps,
										uint8_t *q, int ldq, KernCode *code);

	/*
	 * y[i * ldy + n] = act(fma((float) dot, code[i].scale * w->scale[n], bias[n])), with
	 * dot = sum_k (q[i][k] - 128 - code[i].zero) w[k][n] in int32; bias may be NULL (0).
	 * residual: y += instead (act must be NONE).  (m, k) x (k, n) -> (m, n).
	 * scratch: KERN_GEMM_SCRATCH bytes, 64-aligned.
	 */
	void		(*gemm_i8) (int m, const uint8_t *q, int ldq, const KernCode *code,
							const KernMatrix *w, const float *bias, KernAct act,
							bool residual, float *y, int ldy, void *scratch);

	/* y[j] = as gemm_i8 with m = 1 for the n columns cols[j] alone (label tokens). */
	void		(*gemv_i8_cols) (const uint8_t *q, const KernCode *code, const KernMatrix *w,
								 int n, const int32_t *cols, float *y);

	/* y = (x - mean) / sqrt(var + eps) * gain + bias for each of m rows of k. */
	void		(*layer_norm) (int m, int k, const float *x, int ldx, const float *gain,
							   const float *bias, float eps, float *y, int ldy);
	void		(*activate) (int n, float *x, KernAct act);
	/* y += x */
	void		(*add) (int n, float *y, const float *x);
	/* y += a * x, fused */
	void		(*axpy) (int n, float a, const float *x, float *y);
	float		(*dot) (int n, const float *a, const float *b);
	/* y[i] = dot(n, a, b[i]) for m vectors b[i], the same bits: several chains of sums side by side. */
	void		(*dots) (int m, int n, const float *a, const float *const *b, float *y);
	/* y[i * n + j] = sum_l x[i * k + l] w[l * n + j], l ascending, fused, for m vectors: any n, no lanes across l. */
	void		(*gemv_f32) (int m, int k, int n, const float *x, const float *w, float *y);
	/* Softmax of n values in place; returns the natural log of the sum of exp(x - max), plus max. */
	float		(*softmax) (int n, float *x);
	/*
	 * y[j * ldy + i] = rows[i][at + j] for m > 0 rows of n.  ldy is at least m rounded up to 8; y's
	 * rows hold anything between the two, and nothing past ldy is touched.
	 */
	void		(*transpose) (int m, int n, const float *const *rows, size_t at, float *y, int ldy);

	/*
	 * Causal attention of m queries of one head over runs of keys.  Query i sees all keys
	 * of runs[0 .. n_run-2] and the first last_seen + i keys of the last run.
	 * s_j = scale * sum_d q_d k_jd (d ascending); e_j = exp(s_j - max); out_d =
	 * (sum_j e_j v_jd, j ascending, runs in order) / (lane sum of e).
	 * q (m, head_dim) at q[i * ldq], out likewise; scores: KERN_ATTEND_SCRATCH(keys seen by
	 * the last query) floats.  Every query sees at least one key.  Keys past those seen are
	 * never read.
	 */
	void		(*attend) (int m, int head_dim, const float *q, int ldq, float scale,
						   int n_run, const KernKeys *runs, int last_seen,
						   float *scores, float *out, int ldout);

	/*
	 * As attend() of m single queries: query i sees all keys of its n_run runs, runs[i * n_run]
	 * on, of which the first n_shared > 0 are the same for all.  Those are read once for
	 * KERN_ATTEND_ROWS queries.  scores: KERN_ATTEND_SCRATCH(most keys of a query) floats.
	 */
	void		(*attend_shared) (int m, int head_dim, const float *q, int ldq, float scale,
								  int n_run, int n_shared, const KernKeys *runs,
								  float *scores, float *out, int ldout);

	const KernGradOps *grad;	/* of the same level; NULL in kern_reference */
} KernOps;

/* The table for a level; NULL if this CPU or build lacks it.  KERN_AUTO: the best one. */
extern const KernOps *kern_ops(KernLevel level);
extern KernLevel kern_level_by_name(const char *name);	/* (KernLevel) -1 if unknown */

/* Weights into panels: w[k * N + n] or w[n * K + k] if transposed. Per-output-channel symmetric, scale = amax/127. */
extern size_t kern_panel_bytes(int k, int n);
extern void kern_pack_i8(int k, int n, const float *w, bool transposed,
						 int8_t *panels, float *scale, int32_t *comp);
/* The same of the columns from first, a multiple of KERN_PANEL, up to the one before end. */
extern void kern_pack_i8_columns(int k, int n, int first, int end, const float *w, bool transposed,
								 int8_t *panels, float *scale, int32_t *comp);
/* Recompute comp of one matrix: a file's comp must equal it. */
extern void kern_panel_comp(int k, int n, const int8_t *panels, int32_t *comp);
/* Column n of W as floats, out[k] = panels * scale (embedding row of a token); either type. */
extern void kern_matrix_column(const KernMatrix *w, int n, float *out);

/*
 * f32 GEMM through OpenBLAS, loaded on first use by dlopen with all signals blocked.
 * y (m, n) = x (m, k) W + bias, in the caller's thread alone.  FSI_UNSUPPORTED with a hint when
 * no OpenBLAS is installed.
 */
extern FsiStatus kern_blas_load(FsiError *err);
/* Before that many threads ask for products at a time, 1 of which has been seen to: FSI_NOMEM if there is no room. */
#define KERN_BLAS_PRODUCTS 256
extern FsiStatus kern_blas_reserve(int products, FsiError *err);
/* In a thread of one's own, before its first product there: it has no threads of its own either. */
extern void kern_blas_thread(void);
extern void kern_gemm_f32(int m, const float *x, int ldx, const KernMatrix *w,
						  const float *bias, float *y, int ldy, bool residual);
/* c (m, n) = alpha op(a) op(b) + beta c, rows ld apart, inner length k; op transposes where asked.  For training. */
extern void kern_sgemm(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha,
					   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/*
 * From here on this thread takes subnormal floats for 0 (those below 1.2e-38), be they operands or results, where the CPU
 * can; the mode that it had, to be set again.  For training: what serves has the same bits on every CPU with them.
 */
typedef uint64_t KernFloatMode;
extern KernFloatMode kern_flush_subnormals(void);
extern void kern_set_float_mode(KernFloatMode mode);

/* ---- Naive references, ten lines each, for the tests: same contracts, same bits. ---- */
extern const KernOps kern_reference;

#endif
