/*
 * math.c
 *	  exp and log in double with one result on every machine, and a fixed 64-bit hash.
 *
 * libm picks variants by CPU, so scores that stand in an index may not use it.  Only
 * +, -, *, / on doubles are used here, in one order, without contraction: IEEE 754
 * makes the result the same everywhere.  The polynomials are Taylor series on reduced
 * arguments, long enough for double precision; test_base.c measures the error.
 */
#include <math.h>
#include <string.h>

#include "fsi_base.h"

#define LN2_HIGH 6.93147180369123816490e-01	/* 32 leading bits: k * LN2_HIGH is exact */
#define LN2_LOW 1.90821492927058770002e-10
#define LOG2_E 1.44269504088896338700

/* 2^k for -1022 <= k <= 1023. */
static double
power_of_two(int k)
{
	uint64_t	bits = (uint64_t) (k + 1023) << 52;
	double		result;

	memcpy(&result, &bits, sizeof(result));
	return result;
}

double
fsi_exp(double x)
{
	double		kd,
				high,
				low,
				r,
				p;
	int			k;

	if (x != x)
		return x;
	if (x > 709.78271289338397)
		return HUGE_VAL;
	if (x < -745.2)
		return 0.0;

	/* x = k ln 2 + r, |r| <= ln 2 / 2; adding and taking 1.5 * 2^52 rounds to nearest even */
	kd = (x * LOG2_E + 6755399441055744.0) - 6755399441055744.0;
	k = (int) kd;
	high = x - kd * LN2_HIGH;
	low = kd * LN2_LOW;
	r = high - low;

	/* sum of r^(n-2) / n! for n = 2 .. 14 */
	p = 1.0 / 87178291200.0;
	p = p * r + 1.0 / 6227020800.0;
	p = p * r + 1.0 / 479001600.0;
	p = p * r + 1.0 / 39916800.0;
	p = p * r + 1.0 / 3628800.0;
	p = p * r + 1.0 / 362880.0;
	p = p * r + 1.0 / 40320.0;
	p = p * r + 1.0 / 5040.0;
	p = p * r + 1.0 / 720.0;
	p = p * r + 1.0 / 120.0;
	p = p * r + 1.0 / 24.0;
	p = p * r + 1.0 / 6.0;
	p = p * r + 0.5;
	p = 1.0 + (high + (r * r * p - low));

	/* in two steps where one would leave the range of normal numbers */
	if (k > 1023)
		return p * power_of_two(1023) * power_of_two(k - 1023);
	if (k < -1022)
		return p * power_of_two(k + 200) * power_of_two(-200);
	return p * power_of_two(k);
}

double
fsi_log(double x)
{
	uint64_t	bits;
	int			k = 0;
	double		f,
				s,
				z,
				p,
				kd;

	if (x != x || x < 0.0)
		return NAN;
	if (x == 0.0)
		return -HUGE_VAL;
	if (x == HUGE_VAL)
		return x;

	if (x < 2.2250738585072014e-308)
	{
		x *= power_of_two(54);
		k = -54;
	}
	/* x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)) */
	memcpy(&bits, &x, sizeof(bits));
	k += (int) (bits >> 52) - 1023;
	bits = (bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL;
	memcpy(&x, &bits, sizeof(x));
	if (x > 1.4142135623730951)
	{
		x *= 0.5;
		k++;
	}
	f = x - 1.0;

	/* log(1 + f) = 2 atanh(s), s = f / (2 + f); 2 (s^2/3 + s^4/5 + …), s^2 <= 0.0295 */
	s = f / (2.0 + f);
	z = s * s;
	p = 2.0 / 25.0;
	p = p * z + 2.0 / 23.0;
	p = p * z + 2.0 / 21.0;
	p = p * z + 2.0 / 19.0;
	p = p * z + 2.0 / 17.0;
	p = p * z + 2.0 / 15.0;
	p = p * z + 2.0 / 13.0;
	p = p * z + 2.0 / 11.0;
	p = p * z + 2.0 / 9.0;
	p = p * z + 2.0 / 7.0;
	p = p * z + 2.0 / 5.0;
	p = p * z + 2.0 / 3.0;
	p = p * z;

	/* 2 s = f - s f, which keeps the leading term exact */
	kd = (double) k;
	return kd * LN2_HIGH + (f - (s * (f - p) - kd * LN2_LOW));
}

/*
 * Multiply-and-fold hash of 8 bytes a step, finished with two rounds of the same.  The
 * constants are odd numbers from the fractional digits of pi and e; the result is part
 * of the model file format and must never change.
 */
#define HASH_K1 0x243f6a8885a308d3ULL
#define HASH_K2 0xb7e151628aed2a6bULL

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128) a * b;

	return (uint64_t) product ^ (uint64_t) (product >> 64);
}

uint64_t
fsi_hash64(const void *data, size_t n, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t	h = seed ^ fold((uint64_t) n + HASH_K1, HASH_K2);

	for (; n > 0;)
	{
		uint64_t	word = 0;
		size_t		take = n < 8 ? n : 8;

		for (size_t i = 0; i < take; i++)	/* little-endian on every machine */
			word |= (uint64_t) p[i] << (8 * i);
		h = fold(h ^ HASH_K1, word ^ HASH_K2) + (h >> 29);
		p += take;
		n -= take;
	}
	h = fold(h ^ HASH_K2, HASH_K1);
	return h ^ (h >> 32);
}
