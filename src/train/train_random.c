/*
 * train_random.c
 *	  Random numbers that are functions of (seed, purpose, number): nothing to save in a checkpoint.
 */
#include "train.h"

uint64_t
train_mix(uint64_t a, uint64_t b)
{
	return fsi_mix64(fsi_mix64(a + FSI_GOLDEN64) ^ (b * FSI_GOLDEN64 + 1));
}

TrainRandom
train_random_for(uint64_t seed, uint64_t purpose, uint64_t number)
{
	TrainRandom r = {train_mix(train_mix(seed, purpose), number)};

	return r;
}

static uint64_t
next_number(TrainRandom *r)
{
	return fsi_mix64(r->state += FSI_GOLDEN64);
}

int
train_random_below(TrainRandom *r, int n)
{
	/* the high half of a 32 x 32 bit product: bias below n / 2^32 */
	return (int) (((next_number(r) >> 32) * (uint64_t) n) >> 32);
}

double
train_random_unit(TrainRandom *r)
{
	return (double) (next_number(r) >> 11) * 0x1p-53;
}

/* Floyd's algorithm (Bentley and Floyd 1987) gives a set, in an order that is not random: shuffled after. */
void
train_random_sample(TrainRandom *r, int n, int k, int *out)
{
	int			count = 0;

	for (int j = n - k; j < n; j++)
	{
		int			pick = train_random_below(r, j + 1);

		for (int i = 0; i < count; i++)
			if (out[i] == pick)
			{
				pick = j;
				break;
			}
		out[count++] = pick;
	}
	for (int i = count - 1; i > 0; i--)
	{
		int			j = train_random_below(r, i + 1),
					t = out[i];

		out[i] = out[j];
		out[j] = t;
	}
}

/* One way through a Feistel network over 2 * half bits: a permutation of its range. */
static uint64_t
feistel(uint64_t x, int half, uint64_t key)
{
	uint64_t	mask = (UINT64_C(1) << half) - 1,
				left = x >> half,
				right = x & mask;

	for (uint64_t round = 0; round < 6; round++)
	{
		uint64_t	t = left ^ (train_mix(key + round, right) & mask);

		left = right;
		right = t;
	}
	return left << half | right;
}

uint32_t
train_shuffled(uint32_t i, uint32_t n, uint64_t key)
{
	uint64_t	x = i;
	int			half = 1;

	while (UINT64_C(1) << (2 * half) < n)
		half++;
	/* the range is less than 4 n: walk until the number is one of ours again */
	do
		x = feistel(x, half, key);
	while (x >= n);
	return (uint32_t) x;
}
