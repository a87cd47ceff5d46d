/*
 * bench_peak.c
 *	  What this CPU's int8 multiply-adds could reach on registers alone: one core, two operations a multiply-add.
 *
 * The instruction is the one of the level in use: vpdpbusd where there is one, else vpmaddwd on widened bytes with the
 * addition that it needs (AVX2 has no exact int8 multiply-add of its own).  Wall time, so that two at once share a machine
 * as two backends do.  Prints "INSTRUCTION GOP/s".
 */
#include <stdio.h>
#include <time.h>

#include "fsi_kernels.h"

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static volatile int sink;

#define ROUNDS 400000			/* about 2 ms */
#define RUNS 100

#if defined(__x86_64__)
#include <immintrin.h>

/* Independent sums enough to hide the latency, one register for both factors. */
#define SUMS 12

__attribute__((target("avx512f,avx512vnni"), noinline))
static int
loop_avx512vnni(void)
{
	__m512i		s[SUMS],
				a = _mm512_set1_epi32(0x01010101);

	for (int j = 0; j < SUMS; j++)
		s[j] = _mm512_set1_epi32(j);
	for (int i = 0; i < ROUNDS; i++)
	{
#pragma GCC unroll 12
		for (int j = 0; j < SUMS; j++)
			s[j] = _mm512_dpbusd_epi32(s[j], a, a);
		__asm__ volatile("" : "+v"(a));
	}
	for (int j = 1; j < SUMS; j++)
		s[0] = _mm512_add_epi32(s[0], s[j]);
	return _mm512_reduce_add_epi32(s[0]);
}

__attribute__((target("avx2"), noinline))
static int
loop_avx2(void)
{
	__m256i		s[SUMS],
				a = _mm256_set1_epi16(1);

	for (int j = 0; j < SUMS; j++)
		s[j] = _mm256_set1_epi32(j);
	for (int i = 0; i < ROUNDS; i++)
	{
#pragma GCC unroll 12
		for (int j = 0; j < SUMS; j++)
		{
			__m256i		b = a;

			__asm__ volatile("vpmaddwd %1, %1, %0" : "=x"(b) : "x"(a));
			s[j] = _mm256_add_epi32(s[j], b);
		}
	}
	for (int j = 1; j < SUMS; j++)
		s[0] = _mm256_add_epi32(s[0], s[j]);
	return _mm256_extract_epi32(s[0], 0);
}

__attribute__((target("avx2,avxvnni"), noinline))
static int
loop_avxvnni(void)
{
	__m256i		s[SUMS],
				a = _mm256_set1_epi32(0x01010101);

	for (int j = 0; j < SUMS; j++)
		s[j] = _mm256_set1_epi32(j);
	for (int i = 0; i < ROUNDS; i++)
	{
#pragma GCC unroll 12
		for (int j = 0; j < SUMS; j++)
			s[j] = _mm256_dpbusd_avx_epi32(s[j], a, a);
		__asm__ volatile("" : "+x"(a));
	}
	for (int j = 1; j < SUMS; j++)
		s[0] = _mm256_add_epi32(s[0], s[j]);
	return _mm256_extract_epi32(s[0], 0);
}
#endif

int
main(void)
{
	static const struct
	{
		KernLevel	level;
		const char *name;
		int			(*loop) (void);
		int			macs;		/* of one instruction */
	}			kinds[] = {
#if defined(__x86_64__)
		{KERN_AVX512VNNI, "vpdpbusd zmm", loop_avx512vnni, 64},
		{KERN_AVXVNNI, "vpdpbusd ymm", loop_avxvnni, 32},
		{KERN_AVX2, "vpmaddwd + vpaddd ymm", loop_avx2, 16},
#endif
		{KERN_SCALAR, NULL, NULL, 0}
	};

	for (int k = 0; kinds[k].loop != NULL; k++)
	{
		double		best = 1e9;

		if (kern_ops(kinds[k].level) == NULL)
			continue;
		for (int run = 0; run < RUNS; run++)
		{
			double		start = now();

			sink = kinds[k].loop();
			if (now() - start < best)
				best = now() - start;
		}
		printf("%s %.1f\n", kinds[k].name, (double) ROUNDS * SUMS * kinds[k].macs * 2 / best * 1e-9);
		return 0;
	}
	fprintf(stderr, "no int8 peak for this CPU\n");
	return 1;
}
