/*
 * test_kernels_gemm.c
 *	  Packing and int8 GEMM: every level of this CPU against kern_reference, bit for bit; f32 GEMM
 *	  through OpenBLAS against a naive product.
 */
#include <dlfcn.h>
#include <signal.h>

#include "tap.h"
#include "kern_cases.h"
#include "../../src/kernels/kern_internal.h"

/* A packed matrix in guarded memory, and the floats it came from. */
typedef struct Packed
{
	KernMatrix	m;
	float	   *w;
	int8_t	   *panels;
	float	   *scale;
	int32_t    *comp;
} Packed;

static Packed
pack(int k, int n, int kind, bool transposed)
{
	Packed		p;
	size_t		n16 = KERN_ROUND_UP(n, KERN_PANEL);

	p.w = guard_floats((size_t) k * n);
	p.panels = guard_alloc(kern_panel_bytes(k, n));
	p.scale = guard_floats(n16);
	p.comp = guard_alloc(n16 * sizeof(int32_t));
	fill(p.w, (size_t) k * n, kind);
	kern_pack_i8(k, n, p.w, transposed, p.panels, p.scale, p.comp);
	p.m = (KernMatrix) {.type = KERN_I8, .k = k, .n = n, .panels = p.panels, .scale = p.scale, .comp = p.comp};
	return p;
}

static void
unpack(Packed *p)
{
	size_t		n16 = KERN_ROUND_UP(p->m.n, KERN_PANEL);

	guard_free_floats(p->w, (size_t) p->m.k * p->m.n);
	guard_free(p->panels, kern_panel_bytes(p->m.k, p->m.n));
	guard_free_floats(p->scale, n16);
	guard_free(p->comp, n16 * sizeof(int32_t));
}

/* ---------------------------------------------------------------- packing */

static void
test_pack(void)
{
	enum { K = 37, N = 21 };
	Packed		p = pack(K, N, FILL_NORMAL, false);
	float		wt[N * K],
			   *column = guard_floats(K);
	int8_t		panels[40 * 32];
	float		scale[32];
	int32_t		comp[32];
	bool		close = true,
				extreme = true,
				zero = true;

	ok(kern_panel_bytes(K, N) == sizeof(panels), "bytes of panels are rounded up");
	for (int n = 0; n < N; n++)
	{
		float		largest = 0.0f;

		kern_matrix_column(&p.m, n, column);
		for (int k = 0; k < K; k++)
		{
			wt[n * K + k] = p.w[k * N + n];
			close &= fabsf(column[k] - p.w[k * N + n]) <= 0.5001f * p.scale[n];
			largest = fmaxf(largest, fabsf(column[k]));
		}
		extreme &= fabsf(largest - 127.0f * p.scale[n]) < 1e-6f;
	}
	ok(close, "a column comes back within half a step");
	ok(extreme, "the largest weight of each column is 127 steps");
	for (int n = N; n < 32; n++)
		zero &= p.scale[n] == 0.0f && p.comp[n] == 0;
	ok(zero, "columns past the last are zero");

	kern_pack_i8(K, N, wt, true, panels, scale, comp);
	ok(memcmp(panels, p.panels, sizeof(panels)) == 0 && memcmp(scale, p.scale, sizeof(scale)) == 0 &&
	   memcmp(comp, p.comp, sizeof(comp)) == 0, "a transposed matrix packs to the same bytes");
	memset(comp, 0, sizeof(comp));
	kern_panel_comp(K, N, panels, comp);
	ok(memcmp(comp, p.comp, sizeof(comp)) == 0, "comp is a function of the panels");
	panels[5] = (int8_t) (panels[5] + 1);
	kern_panel_comp(K, N, panels, comp);
	ok(memcmp(comp, p.comp, sizeof(comp)) != 0, "comp sees a changed weight");
	unpack(&p);

	p = pack(8, 3, FILL_BITS, false);
	p.w[0] = NAN;
	p.w[3] = INFINITY;
	kern_pack_i8(8, 3, p.w, false, p.panels, p.scale, p.comp);
	kern_matrix_column(&p.m, 0, column);
	ok(column[0] == 0.0f && p.scale[0] == FLT_MAX / 127.0f, "NaN packs as 0, infinity as the largest number");
	unpack(&p);

	p.m = (KernMatrix) {.type = KERN_F32, .k = K, .n = N, .w = wt, .transposed = true};
	kern_matrix_column(&p.m, 20, column);
	ok(memcmp(column, wt + 20 * K, K * sizeof(float)) == 0, "a column of a transposed float matrix");
	guard_free_floats(column, K);
}

/* ---------------------------------------------------------------- int8 GEMM */

static void *scratch;			/* KERN_GEMM_SCRATCH bytes, guarded */

typedef struct GemmCase
{
	int			m,
				k,
				n,
				kind;			/* of the activations */
	bool		extreme;		/* weights all +-127, activations all 1 or 255 */
	bool		bias,
				residual;
	KernAct		act;
} GemmCase;

static bool
same_gemm(const KernOps *ops, GemmCase c)
{
	Packed		p = pack(c.k, c.n, FILL_NORMAL, false);
	int			ldq = KERN_ROUND_UP(c.k, 4) + 4 * rng_below(3);
	int			ldy = c.n + rng_below(3);
	size_t		nq = (size_t) c.m * ldq,
				ny = (size_t) (c.m - 1) * ldy + c.n;
	float	   *x = guard_floats((size_t) c.m * c.k),
			   *bias = guard_floats(c.n),
			   *y = guard_floats(ny),
			   *want = guard_floats(ny);
	uint8_t    *q = guard_alloc(nq);
	KernCode   *code = guard_alloc((size_t) c.m * sizeof(KernCode));
	bool		same;

	fill(x, (size_t) c.m * c.k, c.kind);
	fill(bias, c.n, FILL_NORMAL);
	kern_reference.quantize(c.m, c.k, x, c.k, q, ldq, code);
	if (c.extreme)
	{
		/* sums of one sign: 255 * 127 pairs overflow the 16 bits that vpmaddubsw has; zero points at both ends */
		for (size_t i = 0; i < kern_panel_bytes(c.k, c.n); i++)
			p.panels[i] = i / KERN_QUAD % 2 ? 127 : -127;
		for (size_t i = 0; i < nq; i++)
			q[i] = i / ldq % 3 ? 255 : 1;
		for (int r = 0; r < c.m; r++)
			code[r].zero = r % 3 ? -126 : 126;
		kern_panel_comp(c.k, c.n, p.panels, p.comp);
		/* the weights of inputs past k must not count: codes there are that of 0 */
		for (int r = 0; r < c.m; r++)
			memset(q + (size_t) r * ldq + c.k, 128 + code[r].zero, (size_t) (ldq - c.k));
	}
	fill(y, ny, FILL_NORMAL);
	memcpy(want, y, ny * sizeof(float));
	ops->gemm_i8(c.m, q, ldq, code, &p.m, c.bias ? bias : NULL, c.act, c.residual, y, ldy, scratch);
	kern_reference.gemm_i8(c.m, q, ldq, code, &p.m, c.bias ? bias : NULL, c.act, c.residual, want, ldy, scratch);
	same = memcmp(y, want, ny * sizeof(float)) == 0;
	guard_free_floats(x, (size_t) c.m * c.k);
	guard_free_floats(bias, c.n);
	guard_free(code, (size_t) c.m * sizeof(KernCode));
	guard_free_floats(y, ny);
	guard_free_floats(want, ny);
	guard_free(q, nq);
	unpack(&p);
	return same;
}

/* One batch against the same rows one at a time and in two parts. */
static bool
same_split(const KernOps *ops, int m, int k, int n)
{
	Packed		p = pack(k, n, FILL_NORMAL, false);
	int			ldq = KERN_ROUND_UP(k, 4);
	float	   *x = guard_floats((size_t) m * k),
			   *whole = guard_floats((size_t) m * n),
			   *parts = guard_floats((size_t) m * n);
	uint8_t    *q = guard_alloc((size_t) m * ldq);
	KernCode   *code = guard_alloc((size_t) m * sizeof(KernCode));
	bool		same = true;

	fill(x, (size_t) m * k, FILL_NORMAL);
	ops->quantize(m, k, x, k, q, ldq, code);
	ops->gemm_i8(m, q, ldq, code, &p.m, NULL, KERN_ACT_GELU_NEW, false, whole, n, scratch);
	for (int part = 0; part < 2; part++)
	{
		int			cut = part == 0 ? 1 : (m + 1) / 2;

		for (int i = 0; i < m; i += cut)
			ops->gemm_i8(m - i < cut ? m - i : cut, q + (size_t) i * ldq, ldq, code + i, &p.m, NULL,
						 KERN_ACT_GELU_NEW, false, parts + (size_t) i * n, n, scratch);
		same &= memcmp(whole, parts, (size_t) m * n * sizeof(float)) == 0;
	}
	guard_free_floats(x, (size_t) m * k);
	guard_free(code, (size_t) m * sizeof(KernCode));
	guard_free_floats(whole, (size_t) m * n);
	guard_free_floats(parts, (size_t) m * n);
	guard_free(q, (size_t) m * ldq);
	unpack(&p);
	return same;
}

static bool
same_columns(const KernOps *ops, int k, int n)
{
	enum { COLS = 40 };
	Packed		p = pack(k, n, FILL_NORMAL, false);
	int			k4 = KERN_ROUND_UP(k, 4);
	float	   *x = guard_floats(k),
				y[COLS],
				want[COLS],
			   *all = guard_floats(n);
	uint8_t    *q = guard_alloc(k4);
	KernCode	code;
	int32_t		cols[COLS];
	bool		same = true;

	fill(x, k, FILL_NORMAL);
	ops->quantize(1, k, x, k, q, k4, &code);
	for (int i = 0; i < COLS; i++)
		cols[i] = i == 0 ? n - 1 : rng_below(n);
	ops->gemv_i8_cols(q, &code, &p.m, COLS, cols, y);
	kern_reference.gemv_i8_cols(q, &code, &p.m, COLS, cols, want);
	same &= memcmp(y, want, sizeof(y)) == 0;
	ops->gemm_i8(1, q, k4, &code, &p.m, NULL, KERN_ACT_NONE, false, all, n, scratch);
	for (int i = 0; i < COLS; i++)
		same &= memcmp(&y[i], &all[cols[i]], sizeof(float)) == 0;
	guard_free_floats(x, k);
	guard_free_floats(all, n);
	guard_free(q, k4);
	unpack(&p);
	return same;
}

static void
test_gemm(const KernOps *ops)
{
	static const int ks[] = {1, 2, 3, 4, 5, 31, 64, 97};
	static const int ns[] = {1, 5, 15, 16, 17, 31, 33, 48, 63, 64, 65, 80, 100, 130};
	bool		shapes = true,
				blocks = true,
				wild = true,
				extreme = true,
				split = true,
				columns = true;

	for (int m = 1; m <= 65; m++)
		shapes &= same_gemm(ops, (GemmCase) {.m = m, .k = 64, .n = 70, .bias = true});
	for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++)
		for (size_t j = 0; j < sizeof(ns) / sizeof(ns[0]); j++)
		{
			int			m = 1 + rng_below(30);

			shapes &= same_gemm(ops, (GemmCase) {.m = m, .k = ks[i], .n = ns[j], .bias = j % 2 == 0,
				.residual = j % 3 == 0, .act = j % 3 ? (KernAct) ((i + j) % 4) : KERN_ACT_NONE});
		}
	/* weights are widened 384 inputs at a time, rows as many as scratch holds; with many inputs, none */
	for (int m = 1; m <= 65; m += m < 24 ? 1 : 5)
		blocks &= same_gemm(ops, (GemmCase) {.m = m, .k = 350 + m, .n = 40, .bias = true}) &&
			same_gemm(ops, (GemmCase) {.m = m, .k = 1156, .n = 33, .residual = true});
	blocks &= same_gemm(ops, (GemmCase) {.m = 65, .k = 3072, .n = 17, .bias = true}) &&
		same_gemm(ops, (GemmCase) {.m = 257, .k = 388, .n = 33, .bias = true}) &&
		same_gemm(ops, (GemmCase) {.m = 12, .k = 20001, .n = 17, .bias = true});
	shapes &= same_gemm(ops, (GemmCase) {.m = 20, .k = 384, .n = 1152, .bias = true});
	shapes &= same_gemm(ops, (GemmCase) {.m = 3, .k = 3072, .n = 100, .bias = true, .act = KERN_ACT_GELU});
	for (int kind = 0; kind < FILL_KINDS; kind++)
		for (int act = KERN_ACT_NONE; act <= KERN_ACT_RELU; act++)
			wild &= same_gemm(ops, (GemmCase) {.m = 9, .k = 50, .n = 35, .kind = kind, .bias = true,
				.act = (KernAct) act});
	for (int m = 1; m <= 29; m += 7)
		extreme &= same_gemm(ops, (GemmCase) {.m = m, .k = 767, .n = 80, .extreme = true}) &&
			same_gemm(ops, (GemmCase) {.m = m, .k = 3072, .n = 33, .extreme = true, .residual = true});
	for (int m = 1; m <= 65; m += 8)
		split &= same_split(ops, m, 96, 130);
	for (int n = 1; n <= 300; n += 13)
		columns &= same_columns(ops, 70, n);
	ok(shapes, "%s: gemm_i8 equals the reference: m 1 to 65, any k and n, bias, residual, activations", ops->name);
	ok(blocks, "%s: gemm_i8 equals the reference around the edges of blocks", ops->name);
	ok(wild, "%s: gemm_i8 equals the reference on every kind of row", ops->name);
	ok(extreme, "%s: gemm_i8 does not saturate", ops->name);
	ok(split, "%s: a batch equals its rows alone and its halves", ops->name);
	ok(columns, "%s: gemv_i8_cols equals the columns of gemm_i8", ops->name);
}

/* Bits that must never change: see test_kernels.c. */
static uint64_t
gemm_hash(const KernOps *ops)
{
	enum { M = 5, K = 100, N = 50 };
	Packed		p;
	float		x[M * K],
				y[M * N];
	KernCode	code[M];
	uint8_t		q[M * K] __attribute__((aligned(64)));
	uint64_t	hash;

	rng_state = 30;
	p = pack(K, N, FILL_NORMAL, false);
	fill(x, M * K, FILL_NORMAL);
	ops->quantize(M, K, x, K, q, K, code);
	ops->gemm_i8(M, q, K, code, &p.m, NULL, KERN_ACT_GELU_NEW, false, y, N, scratch);
	hash = fsi_hash64(y, sizeof(y), 0);
	hash = fsi_hash64(p.panels, kern_panel_bytes(K, N), hash);
	unpack(&p);
	return hash;
}

/* ---------------------------------------------------------------- f32 GEMM */

static bool
blas_close(int m, int k, int n, bool transposed, bool bias, bool residual)
{
	static float x[70 * 90],
				w[90 * 80],
				b[80],
				y[70 * 80],
				y0[70 * 80];
	KernMatrix	mat = {.type = KERN_F32, .k = k, .n = n, .w = w, .transposed = transposed};
	bool		close = true;

	fill(x, 70 * 90, FILL_NORMAL);
	fill(w, 90 * 80, FILL_NORMAL);
	fill(b, 80, FILL_NORMAL);
	fill(y0, 70 * 80, FILL_NORMAL);
	memcpy(y, y0, sizeof(y));
	kern_gemm_f32(m, x, k + 1, &mat, bias ? b : NULL, y, n + 2, residual);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
		{
			double		sum = (bias ? b[j] : 0.0) + (residual ? y0[i * (n + 2) + j] : 0.0);

			for (int l = 0; l < k; l++)
				sum += (double) x[i * (k + 1) + l] * (transposed ? w[j * k + l] : w[l * n + j]);
			close &= fabs(sum - y[i * (n + 2) + j]) < 1e-4;
		}
	return close;
}

static volatile sig_atomic_t caught = 0;

static void
catch(int sig)
{
	caught = sig;
}

/* With signals blocked here, a signal to the process must wait: none of OpenBLAS's threads may take it. */
static void
test_threads_ignore_signals(void)
{
	sigset_t	usr1,
				old,
				pending;

	signal(SIGUSR1, catch);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, &old);
	caught = 0;
	kill(getpid(), SIGUSR1);
	usleep(20000);
	sigpending(&pending);
	ok(caught == 0 && sigismember(&pending, SIGUSR1), "OpenBLAS's threads take no signals");
	sigprocmask(SIG_SETMASK, &old, NULL);
	ok(caught == SIGUSR1, "the caller's thread does");
}

/* OpenBLAS that is older than the CPU may not know it (the environment that the test runs in may say which kernels to take). */
static void
test_core(void)
{
	void	   *lib = kern_blas_open("libopenblas.so.0");
	char	   *(*core_name) (void) = NULL;

	if (lib != NULL)
		*(void **) &core_name = dlsym(lib, "openblas_get_corename");
	if (core_name == NULL || getenv("OPENBLAS_CORETYPE") != NULL)
		skip("which kernels OpenBLAS takes is not to be known");
	else
	{
		diag("OpenBLAS's kernels: %s", core_name());
		ok(kern_blas_better_core(core_name()) == NULL, "OpenBLAS takes kernels that suit this CPU");
	}
	ok(getenv("OPENBLAS_CORETYPE") == NULL || core_name != NULL, "choosing them leaves the environment as it was");
	ok(kern_blas_better_core("Haswell") == NULL && kern_blas_better_core("SkylakeX") == NULL &&
	   kern_blas_better_core("of the future") == NULL, "kernels with AVX2, and those that we do not know, are left");
#if defined(__x86_64__)
	ok((kern_blas_better_core("Prescott") != NULL) == (kern_ops(KERN_AVX2) != NULL), "kernels of 2004 are not, where there is better");
#endif
}

static void
test_blas(void)
{
	FsiError	err = {0};
	sigset_t	before = {0},
				after = {0};
	bool		close = true;

	sigprocmask(SIG_SETMASK, NULL, &before);
	if (kern_blas_load(&err) != FSI_OK)
	{
		ok(err.status == FSI_UNSUPPORTED && err.message[0] && err.hint[0], "without OpenBLAS: a clear error");
		diag("%s: %s", err.message, err.detail);
		skip("OpenBLAS is not installed");
		return;
	}
	sigprocmask(SIG_SETMASK, NULL, &after);
	ok(memcmp(&before, &after, sizeof(before)) == 0, "loading OpenBLAS leaves the signal mask as it was");
	test_core();
	ok(getenv("OPENBLAS_NUM_THREADS") == NULL, "loading OpenBLAS leaves the environment as it was");
	test_threads_ignore_signals();
	for (int i = 0; i < 8; i++)
		close &= blas_close(1 + rng_below(65), 1 + rng_below(85), 1 + rng_below(75), i & 1, i & 2, i & 4);
	ok(close, "f32 GEMM equals a naive product, with bias, residual, transposed weights");
}

int
main(void)
{
	unsetenv("OPENBLAS_NUM_THREADS");
	scratch = guard_alloc(KERN_GEMM_SCRATCH);
	test_pack();
	for (int i = 0; i < KERN_N_LEVEL; i++)
	{
		const KernOps *ops = kern_ops(kern_levels[i]);

		if (ops == NULL)
			continue;
		rng_state = 11;
		test_gemm(ops);
		ok(gemm_hash(ops) == UINT64_C(0x9031b7f61a8afef5), "%s: the GEMM's bits are the fixed ones (%016llx)", ops->name,
		   (unsigned long long) gemm_hash(ops));
	}
	test_blas();
	return tap_done();
}
