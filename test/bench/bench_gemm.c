/*
 * bench_gemm.c
 *	  Speed of the kernels on one core: int8 GEMM as a share of the measured peak, and the float steps.
 *
 *	make benches && build/bench/bench_gemm [level] [rows|gemm|peak]
 *
 * Each figure is the best of several short runs: other work on the machine only ever slows one down.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fsi_kernels.h"

/* CPU time of this thread: what others take from the machine does not count, what they take from its caches does. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Best seconds of one call of body over up to 40 runs of at least 1 ms, 0.2 s in all. */
#define BEST(seconds, ...) \
	do { \
		int			reps_ = 1; \
		double		spent_ = 0; \
		seconds = 1e9; \
		for (int run_ = 0; run_ < 40 && (run_ < 4 || spent_ < 0.2); run_++) \
		{ \
			double		start_ = now(), took_; \
			for (int rep_ = 0; rep_ < reps_; rep_++) { __VA_ARGS__; } \
			took_ = now() - start_; \
			if (took_ < 1e-3) { reps_ = reps_ * 2; run_ = 0; continue; } \
			spent_ += took_; \
			if (took_ / reps_ < seconds) seconds = took_ / reps_; \
		} \
	} while (0)

static void *
block(size_t bytes)
{
	void	   *p = aligned_alloc(64, KERN_ROUND_UP(bytes, 64));

	memset(p, 1, KERN_ROUND_UP(bytes, 64));
	return p;
}

/* Floats of ordinary size: sums of denormals would measure the CPU's slow path. */
static float *
floats(size_t n)
{
	float	   *x = block(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = (float) ((int) (i * 7919 % 4001) - 2000) * 0.001f;
	return x;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* vpdpbusd on registers alone, sixteen independent sums: GOP/s at 2 operations a multiply-add. */
__attribute__((target("avx512f,avx512vnni"), noinline))
static int
vnni_loop(int n)
{
	__m512i		s[16],
				a = _mm512_set1_epi32(0x01010101);

#pragma GCC unroll 16
	for (int j = 0; j < 16; j++)
		s[j] = _mm512_set1_epi32(j);
	for (int i = 0; i < n; i++)
	{
#pragma GCC unroll 16
		for (int j = 0; j < 16; j++)
			s[j] = _mm512_dpbusd_epi32(s[j], a, a);
		__asm__ volatile("" : "+v"(a));
	}
#pragma GCC unroll 16
	for (int j = 1; j < 16; j++)
		s[0] = _mm512_add_epi32(s[0], s[j]);
	return _mm512_reduce_add_epi32(s[0]);
}

/*
 * The exact product that AVX2 has room for, on registers alone: two vpaddw, vpmaddwd and vpaddd for
 * 32 multiply-adds (src/kernels/kern_winograd_avx2.h).
 */
__attribute__((target("avx2"), noinline))
static int
avx2_loop(int n)
{
	__m256i		s[10],
				a = _mm256_set1_epi16(1);
	int			lanes[8];

#pragma GCC unroll 10
	for (int j = 0; j < 10; j++)
		s[j] = _mm256_set1_epi32(j);
	for (int i = 0; i < n; i++)
	{
#pragma GCC unroll 10
		for (int j = 0; j < 10; j++)
		{
			__m256i		u,
						v;

			/* asm: else the equal sums would be computed once */
			__asm__ volatile("vpaddw %3, %3, %0\n\tvpaddw %3, %3, %1\n\tvpmaddwd %1, %0, %0\n\tvpaddd %0, %2, %2"
					: "=&x"(u), "=&x"(v), "+x"(s[j]) : "x"(a));
		}
	}
	_mm256_storeu_si256((__m256i *) lanes, s[0]);
	return lanes[0];
}

/*
 * What others multiply with at this level: vpmaddubsw, whose 16-bit sums saturate, vpmaddwd and
 * vpaddd for 32 multiply-adds.  Fewer instructions, but two of the three are multiplications.
 */
__attribute__((target("avx2"), noinline))
static int
saturating_loop(int n)
{
	__m256i		s[10],
				a = _mm256_set1_epi8(1);
	int			lanes[8];

#pragma GCC unroll 10
	for (int j = 0; j < 10; j++)
		s[j] = _mm256_set1_epi32(j);
	for (int i = 0; i < n; i++)
	{
#pragma GCC unroll 10
		for (int j = 0; j < 10; j++)
		{
			__m256i		u;

			__asm__ volatile("vpmaddubsw %2, %2, %0\n\tvpmaddwd %2, %0, %0\n\tvpaddd %0, %1, %1"
					: "=&x"(u), "+x"(s[j]) : "x"(a));
		}
	}
	_mm256_storeu_si256((__m256i *) lanes, s[0]);
	return lanes[0];
}

__attribute__((target("avx2"), noinline))
static int
read_loop(const char *p, size_t bytes)
{
	__m256i		a = _mm256_setzero_si256(),
				b = a;
	int			lanes[8];

	for (size_t i = 0; i + 64 <= bytes; i += 64)
	{
		a = _mm256_add_epi32(a, _mm256_loadu_si256((const __m256i *) (p + i)));
		b = _mm256_add_epi32(b, _mm256_loadu_si256((const __m256i *) (p + i + 32)));
	}
	_mm256_storeu_si256((__m256i *) lanes, _mm256_add_epi32(a, b));
	return lanes[0];
}

static volatile int sink;

/* GB/s of reading as many weights as the products below use in turn: twice this is all that m = 1 can reach. */
static double
read_rate(const KernOps *ops)
{
	size_t		bytes = 12000000;
	char	   *p;
	double		s;

	if (ops->level == KERN_SCALAR)
		return 0.0;
	p = block(bytes);
	BEST(s, sink = read_loop(p, bytes));
	free(p);
	return (double) bytes / s * 1e-9;
}

/* GOP/s of the level's instructions; 0 where nothing was written for it. */
static double
peak(const KernOps *ops)
{
	double		s;

	if (ops->level == KERN_AVX512VNNI)
	{
		BEST(s, sink = vnni_loop(20000));
		return 20000.0 * 16 * 64 * 2 / s * 1e-9;
	}
	if (ops->level == KERN_AVX2)
	{
		BEST(s, sink = avx2_loop(20000));
		return 20000.0 * 10 * 32 * 2 / s * 1e-9;
	}
	return 0.0;
}

static void
print_saturating(const KernOps *ops, double top)
{
	double		s;

	if (ops->level != KERN_AVX2)
		return;
	BEST(s, sink = saturating_loop(20000));
	printf("multiply-adds by way of saturating 16-bit sums: %.2f of that\n", 20000.0 * 10 * 32 * 2 / s * 1e-9 / top);
}
#else
static void
print_saturating(const KernOps *ops, double top)
{
	(void) ops;
	(void) top;
}

static double
peak(const KernOps *ops)
{
	(void) ops;
	return 0.0;
}

static double
read_rate(const KernOps *ops)
{
	(void) ops;
	return 0.0;
}
#endif

static void
bench_gemm(const KernOps *ops, int k, int n, double top)
{
	static const int ms[] = {1, 2, 4, 8, 16, 24, 32, 64, 128, 256, 512};
	enum { MAX_M = 512 };
	/* Several copies of the weights, used in turn: in a model every product meets its weights cold. */
	size_t		bytes = kern_panel_bytes(k, n);
	int			copies = (int) (12000000 / bytes) + 1;
	int8_t	   *panels = block(bytes * copies);
	float	   *scale = floats((size_t) n + 16),
			   *bias = floats((size_t) n),
			   *y = block((size_t) MAX_M * n * 4);
	int32_t    *comp = block((size_t) (n + 16) * 4);
	uint8_t    *q = block((size_t) MAX_M * k);
	KernCode   *code = block(MAX_M * sizeof(KernCode));
	void	   *scratch = block(KERN_GEMM_SCRATCH);

	printf("%5d x %-5d", k, n);
	for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++)
	{
		int			turn = 0;
		double		s;

		BEST(s, {
			KernMatrix w = {.type = KERN_I8, .k = k, .n = n, .panels = panels + bytes * turn, .scale = scale, .comp = comp};
			turn = (turn + 1) % copies;
			ops->gemm_i8(ms[i], q, k, code, &w, bias, KERN_ACT_NONE, false, y, n, scratch);
		});
		s = 2e-9 * ms[i] * k * n / s;
		if (top > 0)
			printf(" %5.0f(%2.0f%%)", s, 100 * s / top);
		else
			printf(" %6.1f", s);
		fflush(stdout);
	}
	printf("\n");
	free(panels);
	free(scale);
	free(bias);
	free(code);
	free(y);
	free(comp);
	free(q);
	free(scratch);
}

/* Attention of segments of m tokens, and of 24 tokens after a prefix of 200. */
static void
bench_attend(const KernOps *ops, int m, int head_dim, int before)
{
	int			total = before + m;
	float	   *q = floats((size_t) m * head_dim),
			   *out = floats((size_t) m * head_dim),
			   *kt = floats((size_t) total * head_dim),
			   *v = floats((size_t) total * head_dim),
			   *scores = floats(KERN_ATTEND_SCRATCH(total));
	KernKeys	runs[2] = {{kt, v, before, head_dim, before},
	{kt + (size_t) before * head_dim, v + (size_t) before * head_dim, m, head_dim, m}};
	double		s;

	BEST(s, ops->attend(m, head_dim, q, head_dim, 0.1f, before ? 2 : 1, before ? runs : runs + 1, 1, scores, out,
						head_dim));
	printf("attend %3d tokens after %3d, head_dim %3d: %8.2f us, %.2f GFLOP/s\n", m, before, head_dim, s * 1e6,
		   4e-9 * head_dim * (m * before + m * (m + 1) / 2.0) / s);
	free(q);
	free(out);
	free(kt);
	free(v);
	free(scores);
}

/* One query of each of m sequences after a shared prefix and 24 keys of its own: each alone, and side by side. */
static void
bench_attend_shared(const KernOps *ops, int m, int head_dim, int before)
{
	enum { OWN = 24, MAX_M = 16 };
	int			total = before + OWN;
	float	   *q = floats((size_t) m * head_dim),
			   *out = floats((size_t) m * head_dim),
			   *kt = floats((size_t) (before + m * OWN) * head_dim),
			   *v = floats((size_t) (before + m * OWN) * head_dim),
			   *scores = floats(KERN_ATTEND_SCRATCH(total));
	KernKeys	runs[2 * MAX_M];
	double		alone,
				together;

	for (int i = 0; i < m; i++)
	{
		size_t		own = (size_t) (before + i * OWN) * head_dim;

		runs[2 * i] = (KernKeys) {kt, v, before, head_dim, before};
		runs[2 * i + 1] = (KernKeys) {kt + own, v + own, OWN, head_dim, OWN};
	}
	BEST(alone, {
		for (int i = 0; i < m; i++)
			ops->attend(1, head_dim, q + (size_t) i * head_dim, head_dim, 0.1f, 2, runs + 2 * i, OWN, scores,
						out + (size_t) i * head_dim, head_dim);
	});
	BEST(together, ops->attend_shared(m, head_dim, q, head_dim, 0.1f, 2, 1, runs, scores, out, head_dim));
	printf("attend %2d x 1 token after %d shared and %d own: each alone %.2f us, side by side %.2f us\n", m, before, OWN,
		   alone * 1e6, together * 1e6);
	free(q);
	free(out);
	free(kt);
	free(v);
	free(scores);
}

static void
bench_rows(const KernOps *ops)
{
	enum { M = 64, K = 384, N = 1536 };
	float	   *x = floats((size_t) M * N),
			   *y = floats((size_t) M * N),
			   *w = floats((size_t) K * K);
	KernCode	code[M];
	uint8_t    *q = block((size_t) M * N);
	double		s;

	BEST(s, ops->layer_norm_quantize(M, K, x, K, x, x, 1e-5f, q, K, code));
	printf("layer_norm_quantize %d x %d: %7.2f ns a row\n", M, K, s / M * 1e9);
	BEST(s, ops->quantize(M, N, x, N, q, N, code));
	printf("quantize %d x %d:           %7.2f ns a row\n", M, N, s / M * 1e9);
	for (int act = KERN_ACT_GELU_NEW; act <= KERN_ACT_GELU; act++)
	{
		BEST(s, ops->activate(N, y, (KernAct) act));
		printf("activate %s:         %7.2f ns per 1000\n", act == KERN_ACT_GELU ? "gelu    " : "gelu_new", s / N * 1e12);
	}
	BEST(s, { memcpy(y, x, N * 4); ops->softmax(N, y); });
	printf("softmax:                   %7.2f ns per 1000\n", s / N * 1e12);
	for (int m = 1; m <= M; m *= 8)
	{
		BEST(s, ops->gemv_f32(m, K, K, x, w, y));
		printf("gemv_f32 %2d x %d x %d:     %7.2f us a vector, %.1f GFLOP/s\n", m, K, K, s / m * 1e6, 2e-9 * m * K * K / s);
	}
	BEST(s, y[0] += ops->dot(K, x, x + K));
	printf("dot %d:                    %7.2f ns\n", K, s * 1e9);
	free(x);
	free(y);
	free(w);
	free(q);
}

int
main(int argc, char **argv)
{
	const KernOps *ops = kern_ops(argc > 1 ? kern_level_by_name(argv[1]) : KERN_AUTO);
	const char *what = argc > 2 ? argv[2] : "";
	double		top;

	if (ops == NULL)
	{
		fprintf(stderr, "this CPU or build has no such level\n");
		return 1;
	}
	top = peak(ops);
	printf("level %s; its exact multiply-adds on registers alone: %.0f GOP/s; reading 12 MB: %.0f GB/s\n", ops->name, top,
		   read_rate(ops));
	if (strcmp(what, "peak") == 0)
		return 0;
	print_saturating(ops, top);
	if (strcmp(what, "rows") != 0)
	{
		printf("GOP/s of k x n    m: 1, 2, 4, 8, 16, 24, 32, 64, 128, 256, 512\n");
		bench_gemm(ops, 384, 1152, top);
		bench_gemm(ops, 384, 384, top);
		bench_gemm(ops, 384, 1536, top);
		bench_gemm(ops, 1536, 384, top);
		bench_gemm(ops, 768, 2304, top);
		bench_gemm(ops, 768, 3072, top);
		bench_gemm(ops, 3072, 768, top);
		bench_gemm(ops, 768, 21128, top);
	}
	if (strcmp(what, "gemm") != 0)
	{
		bench_rows(ops);
		bench_attend(ops, 8, 32, 0);
		bench_attend(ops, 16, 32, 0);
		bench_attend(ops, 64, 32, 0);
		bench_attend(ops, 24, 64, 200);
		bench_attend(ops, 200, 64, 0);
		bench_attend_shared(ops, 16, 64, 200);
	}
	return 0;
}
