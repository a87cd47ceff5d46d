/*
 * bench.h
 *	  What the benchmarks of whole models share: their arena and error, random weights, a clock.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fsi_base.h"

static FsiArena arena;
static FsiError err;
static uint64_t state = 1;

static uint64_t
next_random(void)
{
	return fsi_mix64(state += FSI_GOLDEN64);
}

static void
must(FsiStatus status)
{
	if (status == FSI_OK)
		return;
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, err.message);
	exit(1);
}

/* Seconds. */
static double
now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* n floats, evenly from around - scale to around + scale. */
static float *
floats(size_t n, float scale, float around)
{
	float	   *v = fsi_arena_array(&arena, n, sizeof(float));

	for (size_t i = 0; i < n; i++)
		v[i] = around + scale * (float) ((double) (next_random() >> 11) * 0x1p-52 - 1);
	return v;
}

#endif
