/*
 * sha256.c
 *	  SHA-256 as in FIPS 180-4; the identity of a model file.
 *
 * The constants are the first 32 bits of the fractional parts of the cube roots of the
 * first 64 primes, and of the square roots of the first 8.  x86-64 processors that have
 * the SHA extensions use them: a 25 MB model is hashed in a few tens of milliseconds
 * instead of a few hundred, with the same result.
 */
#include <string.h>

#include "fsi_base.h"

static const uint32_t round_constant[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static inline uint32_t
rotr(uint32_t x, int n)
{
	return (x >> n) | (x << (32 - n));
}

static inline uint32_t
load_be32(const uint8_t *p)
{
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void
compress_plain(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	for (; blocks > 0; blocks--, data += 64)
	{
		uint32_t	w[64];
		uint32_t	a = state[0],
					b = state[1],
					c = state[2],
					d = state[3],
					e = state[4],
					f = state[5],
					g = state[6],
					h = state[7];

		for (int t = 0; t < 16; t++)
			w[t] = load_be32(data + 4 * t);
		for (int t = 16; t < 64; t++)
		{
			uint32_t	s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
			uint32_t	s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);

			w[t] = w[t - 16] + s0 + w[t - 7] + s1;
		}
		for (int t = 0; t < 64; t++)
		{
			uint32_t	t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g))
				+ round_constant[t] + w[t];
			uint32_t	t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));

			h = g;
			g = f;
			f = e;
			e = d + t1;
			d = c;
			c = b;
			b = a;
			a = t1 + t2;
		}
		state[0] += a;
		state[1] += b;
		state[2] += c;
		state[3] += d;
		state[4] += e;
		state[5] += f;
		state[6] += g;
		state[7] += h;
	}
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/*
 * The same with the SHA extensions: two rounds an instruction.  The registers hold
 * (a, b, e, f) and (c, d, g, h), highest lane first, as sha256rnds2 wants them.
 */
__attribute__((target("sha,sse4.1,ssse3")))
static void
compress_sha_ni(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	__m128i		abef = _mm_set_epi32((int) state[0], (int) state[1], (int) state[4], (int) state[5]);
	__m128i		cdgh = _mm_set_epi32((int) state[2], (int) state[3], (int) state[6], (int) state[7]);

	for (; blocks > 0; blocks--, data += 64)
	{
		__m128i		abef0 = abef,
					cdgh0 = cdgh;
		__m128i		w[4];

		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) (data + 16 * i)), swap);
		for (int t = 0; t < 16; t++)	/* four rounds each */
		{
			__m128i		sum;

			if (t >= 4)
			{
				/* w[t-16] + s0(w[t-15]) + w[t-7], then s1(w[t-2]) in two halves */
				__m128i		next = _mm_sha256msg1_epu32(w[0], w[1]);

				next = _mm_add_epi32(next, _mm_alignr_epi8(w[3], w[2], 4));
				next = _mm_sha256msg2_epu32(next, w[3]);
				w[0] = w[1];
				w[1] = w[2];
				w[2] = w[3];
				w[3] = next;
			}
			sum = _mm_add_epi32(t < 4 ? w[t] : w[3],
								_mm_loadu_si128((const __m128i *) (round_constant + 4 * t)));
			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
		}
		abef = _mm_add_epi32(abef, abef0);
		cdgh = _mm_add_epi32(cdgh, cdgh0);
	}
	state[0] = (uint32_t) _mm_extract_epi32(abef, 3);
	state[1] = (uint32_t) _mm_extract_epi32(abef, 2);
	state[4] = (uint32_t) _mm_extract_epi32(abef, 1);
	state[5] = (uint32_t) _mm_extract_epi32(abef, 0);
	state[2] = (uint32_t) _mm_extract_epi32(cdgh, 3);
	state[3] = (uint32_t) _mm_extract_epi32(cdgh, 2);
	state[6] = (uint32_t) _mm_extract_epi32(cdgh, 1);
	state[7] = (uint32_t) _mm_extract_epi32(cdgh, 0);
}

/* Asked once: CPUID traps under virtual machines and costs as much as hashing kilobytes. */
static bool
have_sha_ni(void)
{
	static int	known = -1;		/* racing threads store the same value */

	if (known < 0)
	{
		unsigned int a,
					b,
					c,
					d;

		known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) != 0 &&
			__builtin_cpu_supports("sse4.1");
	}
	return known;
}
#endif

static void
compress(uint32_t state[8], const uint8_t *data, size_t blocks)
{
#if defined(__x86_64__)
	if (have_sha_ni())
	{
		compress_sha_ni(state, data, blocks);
		return;
	}
#endif
	compress_plain(state, data, blocks);
}

void
fsi_sha256_init(FsiSha256 *s)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};

	memcpy(s->state, start, sizeof(start));
	s->length = 0;
}

void
fsi_sha256_update(FsiSha256 *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t		held = s->length % 64;

	s->length += n;
	if (held > 0)
	{
		size_t		take = n < 64 - held ? n : 64 - held;

		memcpy(s->block + held, p, take);
		p += take;
		n -= take;
		if (held + take < 64)
			return;
		compress(s->state, s->block, 1);
	}
	if (n >= 64)
	{
		compress(s->state, p, n / 64);
		p += n / 64 * 64;
		n %= 64;
	}
	if (n > 0)
		memcpy(s->block, p, n);
}

void
fsi_sha256_final(FsiSha256 *s, uint8_t out[FSI_SHA256_BYTES])
{
	static const uint8_t padding[64] = {0x80};
	uint64_t	bits = s->length * 8;
	uint8_t		length[8];

	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t) (bits >> (56 - 8 * i));
	fsi_sha256_update(s, padding, 1 + (119 - s->length % 64) % 64);
	fsi_sha256_update(s, length, 8);
	for (int i = 0; i < 8; i++)
		for (int j = 0; j < 4; j++)
			out[4 * i + j] = (uint8_t) (s->state[i] >> (24 - 8 * j));
}

void
fsi_hex(const uint8_t *bytes, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
	{
		out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	out[2 * n] = '\0';
}
