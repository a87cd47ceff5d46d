/*
 * spelling.c
 *	  Hashed character n-grams of a text, and their cosine.
 *
 * The formula, also in models/recipe/spelling.py, which learns the idf table:
 *	1. Runs of White_Space become one space, none at the ends; nothing left: no features.
 *	   One space before and one after: t[0..n).
 *	2. Features, as UTF-8 bytes: every 1-, 2- and 3-gram of t, counted once each; every
 *	   maximal run of a-z 0-9 ' after the byte 0x01, counted twice; every character from
 *	   U+0080 on after the byte 0x01, counted twice.
 *	3. Bucket: the low 16 bits of zlib's CRC-32; count: the sum, at most 255.
 *	4. Weight: (1 + ln count) * idf[bucket], then the vector is made of unit length.
 * Sums run over ascending buckets in double; weights are kept as float.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "fsi_text.h"
#include "unicode.h"

#define MAX_COUNT 255
#define WORD_MARK 0x01
#define CRC_START UINT32_MAX
#define STOP_EVERY 65536		/* bytes between two questions whether to stop */

/* CRC-32 (polynomial 0xEDB88320, reflected), four bits at a time. */
static const uint32_t crc_nibble[16] = {
	0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
	0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C
};

static inline uint32_t
crc_bytes(uint32_t crc, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		crc ^= (uint8_t) s[i];
		crc = crc >> 4 ^ crc_nibble[crc & 15];
		crc = crc >> 4 ^ crc_nibble[crc & 15];
	}
	return crc;
}

static inline void
count(uint8_t *counts, uint32_t crc, int n)
{
	uint8_t    *c = &counts[(crc ^ UINT32_MAX) & (SPELL_BUCKETS - 1)];

	*c = (uint8_t) (*c > MAX_COUNT - n ? MAX_COUNT : *c + n);
}

/* Step 1: t with its two outer spaces; its length, 0 if there is nothing but spaces. */
static size_t
collapse(const char *s, size_t len, char *t)
{
	size_t		n = 0;
	bool		space = true;	/* the next character begins a word */

	for (size_t i = 0; i < len;)
	{
		int			bytes;
		uint32_t	c = utf8_next(s + i, &bytes);

		if (uni_is_space(c))
			space = true;
		else
		{
			if (space)
				t[n++] = ' ';
			space = false;
			memcpy(t + n, s + i, (size_t) bytes);
			n += (size_t) bytes;
		}
		i += (size_t) bytes;
	}
	if (n > 0)
		t[n++] = ' ';
	return n;
}

static inline bool
in_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'';
}

static inline size_t
char_bytes(const char *s)
{
	uint8_t		lead = (uint8_t) *s;

	return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Step 2: counts of t's features in their buckets. */
static FsiStatus
count_features(const char *t, size_t len, uint8_t *counts, const FsiHost *host, FsiError *err)
{
	const char	mark = WORD_MARK;
	uint32_t	marked = crc_bytes(CRC_START, &mark, 1);
	uint32_t	word = marked;	/* CRC of the word being read */
	size_t		asked = 0;

	for (size_t i = 0; i < len; i += char_bytes(t + i))
	{
		uint32_t	crc = CRC_START;
		size_t		end = i;

		for (int k = 0; k < 3 && end < len; k++)
		{
			size_t		bytes = char_bytes(t + end);

			crc = crc_bytes(crc, t + end, bytes);
			count(counts, crc, 1);
			end += bytes;
		}

		if ((uint8_t) t[i] >= 0x80)
			count(counts, crc_bytes(marked, t + i, char_bytes(t + i)), 2);
		if (in_word(t[i]))
		{
			word = crc_bytes(word, t + i, 1);
			if (!in_word(t[i + 1]))	/* t ends with a space */
			{
				count(counts, word, 2);
				word = marked;
			}
		}

		if (i - asked > STOP_EVERY)
		{
			asked = i;
			if (fsi_should_stop(host))
				return fsi_fail(err, FSI_CANCELLED, "cancelled while counting spelling features");
		}
	}
	return FSI_OK;
}

/* Steps 3 and 4: out from counts; out stays empty when no weight is positive. */
static FsiStatus
weigh(const uint8_t *counts, const float *idf, FsiArena *arena, SpellVec *out, FsiError *err)
{
	double		log_count[MAX_COUNT + 1];
	double		sum = 0,
				norm;
	size_t		n = 0;

	for (int c = 1; c <= MAX_COUNT; c++)
		log_count[c] = -1;
	for (uint32_t b = 0; b < SPELL_BUCKETS; b++)
		n += counts[b] > 0;
	out->bucket = fsi_arena_array(arena, n, sizeof(uint32_t));
	out->weight = fsi_arena_array(arena, n, sizeof(float));
	if (out->bucket == NULL || out->weight == NULL)
		return fsi_nomem(err, n * (sizeof(uint32_t) + sizeof(float)));

	for (int pass = 0; pass < 2; pass++)
	{
		norm = pass == 0 ? 1 : sqrt(sum);
		if (!(norm > 0) || norm > DBL_MAX)
			return FSI_OK;
		n = 0;
		for (uint32_t b = 0; b < SPELL_BUCKETS; b++)
		{
			double		w;

			if (counts[b] == 0)
				continue;
			if (log_count[counts[b]] < 0)
				log_count[counts[b]] = 1 + fsi_log(counts[b]);
			w = log_count[counts[b]] * (double) idf[b];
			if (pass == 0)
				sum += w * w;
			else
			{
				out->bucket[n] = b;
				out->weight[n++] = (float) (w / norm);
			}
		}
	}
	out->n = n;
	return FSI_OK;
}

FsiStatus
spell_features(const char *normalised, size_t len, const float *idf, FsiArena *arena, SpellVec *out, FsiError *err)
{
	FsiArena	scratch;
	char	   *t;
	uint8_t    *counts;
	size_t		n,
				bad = text_utf8_valid(normalised, len);
	FsiStatus	status = FSI_OK;

	out->bucket = NULL;
	out->weight = NULL;
	out->n = 0;
	if (bad < len)
		return fsi_fail(err, FSI_INVALID, "text is not valid UTF-8 at byte %zu", bad);

	fsi_arena_init(&scratch, arena->host);
	t = fsi_arena_array(&scratch, len + 2, 1);
	counts = fsi_arena_zero(&scratch, SPELL_BUCKETS, 1);
	if (t == NULL || counts == NULL)
		status = fsi_nomem(err, len + 2 + SPELL_BUCKETS);
	else
	{
		n = collapse(normalised, len, t);
		if (n > 0)
		{
			status = count_features(t, n, counts, arena->host, err);
			if (status == FSI_OK)
				status = weigh(counts, idf, arena, out, err);
		}
	}
	fsi_arena_free(&scratch);
	return status;
}

double
spell_cosine(const SpellVec *a, const SpellVec *b)
{
	double		sum = 0;

	for (size_t i = 0, j = 0; i < a->n && j < b->n;)
	{
		if (a->bucket[i] < b->bucket[j])
			i++;
		else if (a->bucket[i] > b->bucket[j])
			j++;
		else
			sum += (double) a->weight[i++] * (double) b->weight[j++];
	}
	return sum;
}
