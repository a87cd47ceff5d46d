/*
 * kern_cases.h
 *	  What the kernel tests share: the levels of this CPU, a fixed random sequence, guarded memory.
 */
#ifndef KERN_CASES_H
#define KERN_CASES_H

#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "fsi_kernels.h"

static const KernLevel kern_levels[] = {KERN_SCALAR, KERN_AVX2, KERN_AVXVNNI, KERN_AVX512VNNI, KERN_NEON};
#define KERN_N_LEVEL ((int) (sizeof(kern_levels) / sizeof(kern_levels[0])))

/* ---- random numbers: integers scaled by powers of two, the same on every machine ---- */

static uint64_t rng_state = 1;

static uint32_t
rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (rng_state >> 33);
}

static int
rng_below(int n)
{
	return (int) (rng() % (uint32_t) n);
}

/* About normal, standard deviation near 1: a sum of four uniforms. */
static float
rng_float(void)
{
	int			sum = 0;

	for (int i = 0; i < 4; i++)
		sum += rng_below(1 << 20);
	return (float) (sum - (1 << 21)) * 0x1p-19f * 0.875f;
}

/* Any bit pattern: NaN, infinities, denormals, huge. */
static float
rng_bits(void)
{
	uint32_t	bits = rng() << 1 ^ rng();
	float		x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* ---- memory whose end is the end of the mapped world: reading or writing past it crashes ---- */

#define GUARD_PAGE 4096u

static size_t
guard_pages(size_t bytes)
{
	return (bytes + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE;
}

static void *
guard_alloc(size_t bytes)
{
	size_t		body = guard_pages(bytes);
	char	   *base = mmap(NULL, body + GUARD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED || mprotect(base + body, GUARD_PAGE, PROT_NONE) != 0)
		exit(99);
	memset(base, 0x5a, body);
	return base + body - bytes;
}

static void
guard_free(void *p, size_t bytes)
{
	size_t		body = guard_pages(bytes);

	munmap((char *) p + bytes - body, body + GUARD_PAGE);
}

__attribute__((unused))
static float *
guard_floats(size_t n)
{
	return guard_alloc(n * sizeof(float));
}

__attribute__((unused))
static void
guard_free_floats(float *p, size_t n)
{
	guard_free(p, n * sizeof(float));
}

/* ---- rows of each kind that a model or an attacker might produce ---- */

enum { FILL_NORMAL, FILL_BITS, FILL_ZERO, FILL_DENORMAL, FILL_HUGE, FILL_TIES, FILL_TINY, FILL_ONE, FILL_KINDS };

__attribute__((unused))
static void
fill(float *x, size_t n, int kind)
{
	for (size_t i = 0; i < n; i++)
		switch (kind)
		{
			case FILL_BITS:
				x[i] = rng_bits();
				break;
			case FILL_ZERO:
				x[i] = rng_below(2) ? 0.0f : -0.0f;
				break;
			case FILL_DENORMAL:
				x[i] = rng_float() * 0x1p-130f;
				break;
			case FILL_HUGE:
				x[i] = rng_below(2) ? FLT_MAX : -FLT_MAX;
				break;
			case FILL_TIES:		/* amax 127: codes are the values, half of them ties */
				x[i] = i == 0 ? 127.0f : (float) (rng_below(507) - 253) * 0.5f;
				break;
			case FILL_TINY:		/* about the least amax that is not zero */
				x[i] = rng_float() * 5e-31f;
				break;
			case FILL_ONE:		/* one outlier */
				x[i] = i == n / 2 ? 1e6f : rng_float();
				break;
			default:
				x[i] = rng_float();
		}
}

#endif
