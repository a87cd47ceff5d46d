/*
 * test_kernels.c
 *	  The float steps: every level of this CPU against kern_reference, bit for bit, and exp and
 *	  GELU against double.
 */
#include "tap.h"
#include "kern_cases.h"
#include "../../src/kernels/kern_internal.h"
#include "../../src/kernels/kern_vec_scalar.h"
#include "../../src/kernels/kern_math.h"

static const int sizes[] = {1, 2, 3, 4, 7, 15, 16, 17, 31, 32, 33, 64, 100, 384, 768, 1001, 1536};
#define N_SIZE ((int) (sizeof(sizes) / sizeof(sizes[0])))

/* ---------------------------------------------------------------- rows */

/* quantize() and layer_norm_quantize() of m rows of k, codes and how they read. */
static bool
same_quantize(const KernOps *ops, int k, int kind, bool norm)
{
	enum { M = 3 };
	int			ldx = k + rng_below(3);
	int			ldq = KERN_ROUND_UP(k, 4) + 4 * rng_below(20);
	size_t		nx = (size_t) (M - 1) * ldx + k,
				nq = (size_t) M * ldq;
	float	   *x = guard_floats(nx),
			   *gain = guard_floats(k),
			   *bias = guard_floats(k);
	uint8_t    *q = guard_alloc(nq),
			   *want = guard_alloc(nq);
	KernCode	code[M],
				want_code[M];
	bool		same;

	fill(x, nx, kind);
	fill(gain, k, kind == FILL_BITS ? FILL_BITS : FILL_NORMAL);
	fill(bias, k, kind == FILL_DENORMAL ? FILL_DENORMAL : FILL_NORMAL);
	if (norm)
	{
		ops->layer_norm_quantize(M, k, x, ldx, gain, bias, 1e-5f, q, ldq, code);
		kern_reference.layer_norm_quantize(M, k, x, ldx, gain, bias, 1e-5f, want, ldq, want_code);
	}
	else
	{
		ops->quantize(M, k, x, ldx, q, ldq, code);
		kern_reference.quantize(M, k, x, ldx, want, ldq, want_code);
	}
	same = memcmp(q, want, nq) == 0 && memcmp(code, want_code, sizeof(code)) == 0;
	guard_free_floats(x, nx);
	guard_free_floats(gain, k);
	guard_free_floats(bias, k);
	guard_free(q, nq);
	guard_free(want, nq);
	return same;
}

/* Rows in any order, of which columns from the at-th on are asked for; y ends where its last row does. */
static bool
same_transpose(const KernOps *ops, int m, int n)
{
	int			ld = n + rng_below(9),
				at = ld - n,
				ldy = KERN_ROUND_UP(m, 8) + rng_below(3);
	float	   *x = guard_floats((size_t) m * ld),
			   *y = guard_floats((size_t) n * ldy);
	const float *rows[40];
	bool		same = true;

	fill(x, (size_t) m * ld, FILL_BITS);
	for (int i = 0; i < m; i++)
		rows[i] = x + (size_t) (m - 1 - i) * ld;
	ops->transpose(m, n, rows, (size_t) at, y, ldy);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			same &= memcmp(&y[(size_t) j * ldy + i], &rows[i][at + j], sizeof(float)) == 0;
	guard_free_floats(x, (size_t) m * ld);
	guard_free_floats(y, (size_t) n * ldy);
	return same;
}

static bool
same_layer_norm(const KernOps *ops, int k, int kind)
{
	enum { M = 4 };
	size_t		n = (size_t) M * k;
	float	   *x = guard_floats(n),
			   *y = guard_floats(n),
			   *want = guard_floats(n),
			   *gain = guard_floats(k),
			   *bias = guard_floats(k);
	bool		same;

	fill(x, n, kind);
	fill(gain, k, FILL_NORMAL);
	fill(bias, k, FILL_NORMAL);
	ops->layer_norm(M, k, x, k, gain, bias, 1e-5f, y, k);
	kern_reference.layer_norm(M, k, x, k, gain, bias, 1e-5f, want, k);
	same = memcmp(y, want, n * sizeof(float)) == 0;
	/* in place */
	ops->layer_norm(M, k, x, k, gain, bias, 1e-5f, x, k);
	same &= memcmp(x, want, n * sizeof(float)) == 0;
	guard_free_floats(x, n);
	guard_free_floats(y, n);
	guard_free_floats(want, n);
	guard_free_floats(gain, k);
	guard_free_floats(bias, k);
	return same;
}

/* softmax, add, axpy, dot, dots, activate, gemv of n */
static bool
same_vectors(const KernOps *ops, int n, int kind)
{
	float	   *x = guard_floats(n),
			   *y = guard_floats(n),
			   *want = guard_floats(n);
	size_t		bytes = (size_t) n * sizeof(float);
	bool		same = true;
	float		a,
				b;

	fill(x, n, kind);
	fill(y, n, FILL_NORMAL);
	memcpy(want, y, bytes);
	ops->add(n, y, x);
	kern_reference.add(n, want, x);
	same &= memcmp(y, want, bytes) == 0;
	ops->axpy(n, 0.75f, x, y);
	kern_reference.axpy(n, 0.75f, x, want);
	same &= memcmp(y, want, bytes) == 0;
	a = ops->dot(n, x, y);
	b = kern_reference.dot(n, x, y);
	same &= memcmp(&a, &b, sizeof(a)) == 0;
	for (int m = 0; m <= 9; m++)
	{
		const float *rows[9];
		float		got[9],
					ref[9];

		for (int i = 0; i < m; i++)
			rows[i] = i % 3 == 1 ? x : i % 3 == 2 ? want : y;
		ops->dots(m, n, x, rows, got);
		kern_reference.dots(m, n, x, rows, ref);
		same &= memcmp(got, ref, (size_t) m * sizeof(float)) == 0 && (m == 0 || memcmp(got, &a, sizeof(a)) == 0);
	}
	for (int act = KERN_ACT_NONE; act <= KERN_ACT_RELU; act++)
	{
		memcpy(y, x, bytes);
		memcpy(want, x, bytes);
		ops->activate(n, y, (KernAct) act);
		kern_reference.activate(n, want, (KernAct) act);
		same &= memcmp(y, want, bytes) == 0;
	}
	memcpy(y, x, bytes);
	memcpy(want, x, bytes);
	a = ops->softmax(n, y);
	b = kern_reference.softmax(n, want);
	same &= memcmp(&a, &b, sizeof(a)) == 0 && memcmp(y, want, bytes) == 0;
	guard_free_floats(x, n);
	guard_free_floats(y, n);
	guard_free_floats(want, n);
	return same;
}

static bool
same_gemv(const KernOps *ops, int m, int k, int n)
{
	size_t		nx = (size_t) m * k,
				nw = (size_t) k * n,
				ny = (size_t) m * n;
	float	   *x = guard_floats(nx),
			   *w = guard_floats(nw),
			   *y = guard_floats(ny),
			   *want = guard_floats(ny);
	bool		same;

	fill(x, nx, FILL_NORMAL);
	fill(w, nw, FILL_NORMAL);
	ops->gemv_f32(m, k, n, x, w, y);
	kern_reference.gemv_f32(m, k, n, x, w, want);
	same = memcmp(y, want, ny * sizeof(float)) == 0;
	guard_free_floats(x, nx);
	guard_free_floats(w, nw);
	guard_free_floats(y, ny);
	guard_free_floats(want, ny);
	return same;
}

/* Bit patterns of every kind through the activations; NaN's bits may differ, being NaN may not. */
static bool
same_activations(const KernOps *ops)
{
	enum { N = 1 << 16 };
	static float x[N],
				y[N],
				want[N];
	bool		same = true;

	fill(x, N, FILL_BITS);
	for (int act = KERN_ACT_GELU_NEW; act <= KERN_ACT_RELU; act++)
	{
		memcpy(y, x, sizeof(x));
		memcpy(want, x, sizeof(x));
		ops->activate(N, y, (KernAct) act);
		kern_reference.activate(N, want, (KernAct) act);
		for (int i = 0; i < N; i++)
			same &= (y[i] != y[i] && want[i] != want[i]) || memcmp(&y[i], &want[i], sizeof(float)) == 0;
	}
	return same;
}

static void
test_rows(const KernOps *ops)
{
	bool		quantize = true,
				norm_quantize = true,
				norm = true,
				vectors = true,
				gemv = true,
				transposed = true;

	for (int m = 1; m <= 40; m++)
		transposed &= same_transpose(ops, m, 1 + rng_below(70)) && same_transpose(ops, m, 32);
	for (int i = 0; i < N_SIZE; i++)
	{
		for (int kind = 0; kind < FILL_KINDS; kind++)
		{
			bool		wild = kind == FILL_BITS || kind == FILL_HUGE;	/* sums overflow: NaN, whose bits are free */

			quantize &= same_quantize(ops, sizes[i], kind, false);
			norm_quantize &= same_quantize(ops, sizes[i], kind, true);
			if (!wild)
			{
				norm &= same_layer_norm(ops, sizes[i], kind);
				vectors &= same_vectors(ops, sizes[i], kind);
			}
		}
		for (int m = 1; m <= 19; m += 6)
			gemv &= same_gemv(ops, m, 37, sizes[i]) && same_gemv(ops, m, sizes[i], 70);
	}
	ok(quantize, "%s: quantize equals the reference on every kind of row", ops->name);
	ok(norm_quantize, "%s: layer_norm_quantize equals the reference", ops->name);
	ok(norm, "%s: layer_norm equals the reference, in place too", ops->name);
	ok(vectors, "%s: add, axpy, dot, dots, activate, softmax equal the reference", ops->name);
	ok(gemv, "%s: gemv_f32 of 1 to 19 vectors equals the reference", ops->name);
	ok(transposed, "%s: transpose puts every element in its place", ops->name);
	ok(same_activations(ops), "%s: activations equal the reference on random bit patterns", ops->name);
}

/* ---------------------------------------------------------------- meaning, not only equality */

static void
test_quantize_meaning(const KernOps *ops)
{
	float		x[8] = {NAN, INFINITY, -INFINITY, 0.0f, FLT_MAX, -1.0f, 1e-45f, -FLT_MAX};
	uint8_t		q[8] __attribute__((aligned(64)));
	KernCode	code;
	bool		near = true,
				bounds = true;

	ops->quantize(1, 8, x, 8, q, 8, &code);
	ok(q[0] == 128 && q[1] == 254 && q[2] == 2 && q[3] == 128 && q[4] == 254 && q[5] == 128 && q[7] == 2 &&
	   code.zero == 0 && code.scale == FLT_MAX / 126.0f, "%s: NaN is 0, infinities are the largest numbers", ops->name);
	memset(x, 0, sizeof(x));
	x[3] = 1e-31f;
	ops->quantize(1, 8, x, 8, q, 8, &code);
	ok(code.scale == 0.0f && code.zero == 0 && q[3] == 128, "%s: a vanishing row is a zero row", ops->name);
	for (int i = 0; i < 20000; i++)
	{
		float		range = 0.0f;

		/* ends half a code off, where they round apart from the zero point */
		x[0] = (float) (rng_below(505) - 252) / 2.0f;
		x[1] = x[0] < 0.0f ? 252.0f + x[0] : x[0] - 252.0f;
		if (i % 2)
			fill(x, 8, FILL_NORMAL);
		for (int j = 2; i % 4 == 1 && j < 8; j++)
			x[j] = fabsf(x[j]) + 1.0f;	/* one sign, but for what lies in front */
		ops->quantize(1, 8, x, 8, q, 8, &code);
		for (int j = 0; j < 8; j++)
			for (int l = 0; l < 8; l++)
				range = fmaxf(range, fmaxf(fabsf(x[j]), x[j] - x[l]));
		bounds &= code.zero >= -126 && code.zero <= 126 && fabsf(code.scale * 252.0f - range) <= 1e-5f * range;
		for (int j = 0; j < 8; j++)
		{
			near &= fabsf(code.scale * (float) (q[j] - 128 - code.zero) - x[j]) <= 0.5001f * code.scale;
			bounds &= q[j] >= 1;
		}
	}
	ok(near, "%s: codes read within half a step of what they stand for", ops->name);
	ok(bounds, "%s: a row's codes span its range and 0, and are never 0 themselves", ops->name);
}

static void
test_softmax_meaning(const KernOps *ops)
{
	float		x[3] = {FLT_MAX, -FLT_MAX, FLT_MAX};
	float		z[40];
	float		log_sum = ops->softmax(3, x);

	ok(x[0] == 0.5f && x[1] == 0.0f && x[2] == 0.5f && log_sum == FLT_MAX, "%s: softmax of extremes", ops->name);
	for (int i = 0; i < 40; i++)
		z[i] = -1000.0f;
	log_sum = ops->softmax(40, z);
	ok(fabsf(z[39] - 0.025f) < 1e-8f && fabs((double) log_sum - (log(40.0) - 1000.0)) < 1e-4,
	   "%s: softmax of equal values, log of their sum", ops->name);
}

/* Largest error of v_exp in units of the last place, over a stride of all floats of its range. */
static double
exp_error(void)
{
	double		worst = 0.0;

	for (float x = -87.0f; x <= 88.0f; x += 0x1.234p-13f)
	{
		float		y = v_exp(v_set(x)).f[0];
		double		want = exp((double) x);
		double		ulp = ldexp(1.0, ilogb(want) - 23);

		worst = fmax(worst, fabs((double) y - want) / ulp);
	}
	return worst;
}

/* Largest |error| / (1 + |x|) of an activation on [-30, 30]. */
static double
gelu_error(bool erf_form)
{
	double		worst = 0.0;

	for (float x = -30.0f; x <= 30.0f; x += 0x1.234p-14f)
	{
		float		y = (erf_form ? v_gelu(v_set(x)) : v_gelu_new(v_set(x))).f[0];
		double		d = x;
		double		want = erf_form ? 0.5 * d * erfc(-d / sqrt(2.0)) :
			0.5 * d * (1.0 + tanh(sqrt(2.0 / M_PI) * (d + 0.044715 * d * d * d)));

		worst = fmax(worst, fabs(y - want) / (1.0 + fabs(d)));
	}
	return worst;
}

static void
test_accuracy(void)
{
	double		e = exp_error(),
				g = gelu_error(true),
				n = gelu_error(false);

	diag("exp %.2f ulp, gelu %.2e, gelu_new %.2e of 1 + |x|", e, g, n);
	ok(e < 2.0, "exp within 2 ulp on [-87, 88]");
	ok(g < 1.5e-7, "gelu within 1.5e-7 (1 + |x|)");
	ok(n < 1.5e-7, "gelu_new within 1.5e-7 (1 + |x|)");
	ok(v_exp(v_set(-INFINITY)).f[0] == 0.0f && v_exp(v_set(NAN)).f[0] == 0.0f && v_exp(v_set(0.0f)).f[0] == 1.0f,
	   "exp of -inf and NaN is 0, of 0 is 1");
	ok(v_gelu(v_set(INFINITY)).f[0] == INFINITY && v_gelu_new(v_set(INFINITY)).f[0] == INFINITY &&
	   fabsf(v_gelu(v_set(-FLT_MAX)).f[0]) < 1e-30f && fabsf(v_gelu_new(v_set(-FLT_MAX)).f[0]) < 1e-30f,
	   "GELU at the ends of the range");
}

/* ---------------------------------------------------------------- dispatch, fixed bits */

static void
test_dispatch(void)
{
	const KernOps *best = kern_ops(KERN_AUTO);

	ok(best != NULL && kern_ops(best->level) == best, "auto chooses a level of this CPU");
	diag("best level: %s", best->name);
	ok(kern_ops(KERN_SCALAR) != NULL, "scalar is everywhere");
	ok(kern_level_by_name("avx2") == KERN_AVX2 && kern_level_by_name("auto") == KERN_AUTO &&
	   kern_level_by_name("AVX2") == (KernLevel) -1 && kern_level_by_name("") == (KernLevel) -1, "levels by name");
	for (int i = 0; i < KERN_N_LEVEL; i++)
	{
		const KernOps *ops = kern_ops(kern_levels[i]);

		if (ops != NULL)
			ok(ops->level == kern_levels[i] && kern_level_by_name(ops->name) == ops->level, "%s: its own name",
			   ops->name);
	}
}

/*
 * Bits that must never change: labels and indexes rest on them.  Another value here means
 * that every stored prediction may differ: a new model identity, not a new constant.
 */
static uint64_t
float_steps_hash(const KernOps *ops)
{
	enum { N = 1000 };
	float		x[N],
				gain[N],
				bias[N],
				y[4][N];
	uint8_t		q[N] __attribute__((aligned(64)));
	KernCode	code;

	rng_state = 20;
	fill(x, N, FILL_NORMAL);
	fill(gain, N, FILL_NORMAL);
	fill(bias, N, FILL_NORMAL);
	ops->layer_norm(1, N, x, N, gain, bias, 1e-5f, y[0], N);
	for (int act = KERN_ACT_GELU_NEW; act <= KERN_ACT_GELU; act++)
	{
		memcpy(y[act], y[0], sizeof(x));
		ops->activate(N, y[act], (KernAct) act);
	}
	memcpy(y[3], x, sizeof(x));
	y[0][0] += ops->softmax(N, y[3]);
	ops->layer_norm_quantize(1, N, x, N, gain, bias, 1e-5f, q, N, &code);
	return fsi_hash64(y, sizeof(y), fsi_hash64(q, sizeof(q), 0));
}

int
main(void)
{
	test_dispatch();
	test_accuracy();
	for (int i = 0; i < KERN_N_LEVEL; i++)
	{
		const KernOps *ops = kern_ops(kern_levels[i]);

		if (ops == NULL)
			continue;
		rng_state = 7;
		test_rows(ops);
		test_quantize_meaning(ops);
		test_softmax_meaning(ops);
		ok(float_steps_hash(ops) == UINT64_C(0xf83458c797a25217), "%s: the float steps' bits are the fixed ones (%016llx)",
		   ops->name, (unsigned long long) float_steps_hash(ops));
	}
	return tap_done();
}
