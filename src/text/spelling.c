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
#define FEATURES 5				/* a byte has at most: three n-grams, a word's end, a character */
#define SHORT_BYTES 1024		/* up to here features are listed and sorted: measured 3 us instead of 20 */

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

/* Features being counted: listed (short texts), or in a table of all buckets. */
typedef struct Counter
{
	uint8_t    *table;			/* [SPELL_BUCKETS], or NULL */
	uint32_t   *list;			/* bucket << 8 | count */
	size_t		n;
} Counter;

static inline void
count(Counter *counter, uint32_t crc, uint32_t n)
{
	uint32_t	bucket = (crc ^ UINT32_MAX) & (SPELL_BUCKETS - 1);

	if (counter->table == NULL)
		counter->list[counter->n++] = bucket << 8 | n;
	else
		counter->table[bucket] = (uint8_t) (counter->table[bucket] > MAX_COUNT - n ?
											MAX_COUNT : counter->table[bucket] + n);
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

/* Steps 2 and 3: count t's features. */
static FsiStatus
count_features(const char *t, size_t len, Counter *counts, const FsiHost *host, FsiError *err)
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

		FSI_TRY(text_go_on(host, i, &asked, err));
	}
	return FSI_OK;
}

/* Sort a list by bucket (two passes of eight bits) and add up equal ones. */
static size_t
gather_list(Counter *counts, uint32_t *other)
{
	uint32_t   *from = counts->list;
	size_t		n = 0;

	for (int shift = 8; shift < 24; shift += 8)
	{
		uint32_t	start[256] = {0},
					sum = 0;
		uint32_t   *to = from == counts->list ? other : counts->list;

		for (size_t i = 0; i < counts->n; i++)
			start[from[i] >> shift & 255]++;
		for (int digit = 0; digit < 256; digit++)
		{
			uint32_t	here = start[digit];

			start[digit] = sum;
			sum += here;
		}
		for (size_t i = 0; i < counts->n; i++)
			to[start[from[i] >> shift & 255]++] = from[i];
		from = to;
	}
	for (size_t i = 0; i < counts->n; i++)
	{
		uint32_t	c = from[i] & 255;

		if (n > 0 && counts->list[n - 1] >> 8 == from[i] >> 8)
		{
			c += counts->list[n - 1] & 255;
			counts->list[n - 1] = (from[i] & ~255u) | (c > MAX_COUNT ? MAX_COUNT : c);
		}
		else
			counts->list[n++] = from[i];
	}
	return n;
}

/* List the buckets of a table that have a count; eight at a time, since most are empty. */
static size_t
gather_table(Counter *counts)
{
	size_t		n = 0;

	for (uint32_t b = 0; b < SPELL_BUCKETS; b += 8)
	{
		uint64_t	eight;

		memcpy(&eight, counts->table + b, 8);
		for (uint32_t i = b; eight != 0 && i < b + 8; i++)
			if (counts->table[i] > 0)
				counts->list[n++] = i << 8 | counts->table[i];
	}
	return n;
}

/* Step 4: out from n buckets and counts, ascending; out stays empty when no weight is positive. */
static FsiStatus
weigh(const uint32_t *list, size_t n, const float *idf, FsiArena *scratch, FsiArena *arena,
	  SpellVec *out, FsiError *err)
{
	double	   *weights = fsi_arena_array(scratch, n, sizeof(double));
	double		log_count[MAX_COUNT + 1];	/* 1 + ln count once it is known */
	double		sum = 0,
				norm;

	out->bucket = fsi_arena_array(arena, n, sizeof(uint32_t));
	out->weight = fsi_arena_array(arena, n, sizeof(float));
	if (weights == NULL || out->bucket == NULL || out->weight == NULL)
		return fsi_nomem(err, n * (sizeof(double) + sizeof(uint32_t) + sizeof(float)));

	memset(log_count, 0, sizeof(log_count));
	for (size_t i = 0; i < n; i++)
	{
		uint32_t	c = list[i] & 255;

		if (log_count[c] == 0)
			log_count[c] = 1 + fsi_log(c);
		weights[i] = log_count[c] * (double) idf[list[i] >> 8];
		sum += weights[i] * weights[i];
	}
	norm = sqrt(sum);
	if (!(norm > 0) || norm > DBL_MAX)
		return FSI_OK;
	for (size_t i = 0; i < n; i++)
	{
		out->bucket[i] = list[i] >> 8;
		out->weight[i] = (float) (weights[i] / norm);
	}
	out->n = n;
	return FSI_OK;
}

static FsiStatus
features(const char *s, size_t len, const float *idf, FsiArena *scratch, FsiArena *arena, SpellVec *out, FsiError *err)
{
	char	   *t = fsi_arena_array(scratch, len + 2, 1);
	uint32_t   *other = NULL;
	Counter		counts = {0};
	size_t		n;

	if (t == NULL)
		return fsi_nomem(err, len);
	n = collapse(s, len, t);
	if (n == 0)
		return FSI_OK;
	if (n <= SHORT_BYTES)
	{
		counts.list = fsi_arena_array(scratch, n * FEATURES, sizeof(uint32_t));
		other = fsi_arena_array(scratch, n * FEATURES, sizeof(uint32_t));
	}
	else
	{
		counts.table = fsi_arena_zero(scratch, SPELL_BUCKETS, 1);
		counts.list = fsi_arena_array(scratch, SPELL_BUCKETS, sizeof(uint32_t));
	}
	if (counts.list == NULL || (counts.table == NULL && other == NULL))
		return fsi_nomem(err, SPELL_BUCKETS * sizeof(uint32_t));
	FSI_TRY(count_features(t, n, &counts, scratch->host, err));
	n = counts.table != NULL ? gather_table(&counts) : gather_list(&counts, other);
	return weigh(counts.list, n, idf, scratch, arena, out, err);
}

FsiStatus
spell_features(const char *normalised, size_t len, const float *idf, FsiArena *arena, SpellVec *out, FsiError *err)
{
	FsiArena	scratch;
	size_t		bad = text_utf8_valid(normalised, len);
	FsiStatus	status;

	out->bucket = NULL;
	out->weight = NULL;
	out->n = 0;
	if (bad < len)
		return fsi_fail(err, FSI_INVALID, "text is not valid UTF-8 at byte %zu", bad);
	fsi_arena_init(&scratch, arena->host);
	status = features(normalised, len, idf, &scratch, arena, out, err);
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
