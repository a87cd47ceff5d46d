/*
 * test_text_spelling.c
 *	  Spelling features: buckets and weights as models/recipe/spelling.py has them.
 *
 * The wanted values were computed by that module with idf[b] = 1 + (b % 13) / 4; of longer
 * vectors the CRC-32 of all (bucket, weight) pairs.
 */
#include <math.h>

#include "text_help.h"

static float idf[SPELL_BUCKETS];

static SpellVec
features(const char *text, size_t len)
{
	SpellVec	v;

	memset(&err, 0, sizeof(err));
	if (spell_features(text, len, idf, &arena, &v, &err) != FSI_OK)
		v.n = SIZE_MAX;
	return v;
}

static uint32_t
crc32_of(const SpellVec *v)
{
	uint32_t	crc = UINT32_MAX;

	for (size_t i = 0; i < v->n; i++)
	{
		uint8_t		pair[8];

		memcpy(pair, &v->bucket[i], 4);
		memcpy(pair + 4, &v->weight[i], 4);
		for (int j = 0; j < 8; j++)
		{
			crc ^= pair[j];
			for (int bit = 0; bit < 8; bit++)
				crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
		}
	}
	return ~crc;
}

static void
test_values(void)
{
	static const struct
	{
		const char *text;
		size_t		n;
		uint32_t	crc;
	}			cases[] = {
		{"refund", 21, 0xfae217c7}, {"退款 of 30 €", 34, 0x2e40ecc3}, {"  it's\xE3\x80\x80""a  b\xE2\x80\xA8", 27, 0xe91e51d7},
		{"A_1", 12, 0x83ac46fd},
	};
	static const uint32_t bucket[] = {
		3947, 9148, 13865, 21745, 23270, 23763, 26515, 26833, 29296, 32850, 44721, 48707, 53061, 58844, 61433
	};
	static const double weight[] = {
		0.3717009960752238, 0.2378269790747443, 0.20123821306324516, 0.2378269790747443, 0.07317753202299825,
		0.292710128091993, 0.21953259606899472, 0.0914719150287478, 0.34072591306895506, 0.292710128091993,
		0.0914719150287478, 0.2378269790747443, 0.4607138038736047, 0.1829438300574956, 0.21953259606899472
	};
	SpellVec	v = features("a b'", 4);
	bool		same = v.n == 15;
	char		many[1300];
	size_t		len = 0;
	SpellVec	w;

	for (size_t i = 0; same && i < v.n; i++)
		same = v.bucket[i] == bucket[i] && v.weight[i] == (float) weight[i];
	ok(same, "buckets and weights of a short text");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		v = features(cases[i].text, strlen(cases[i].text));
		ok(v.n == cases[i].n && crc32_of(&v) == cases[i].crc,
		   "\"%s\": %zu features, crc %x", cases[i].text, v.n, crc32_of(&v));
	}
	for (int i = 0; i < 400; i++)
		len += (size_t) sprintf(many + len, i > 0 ? " aa" : "aa");
	v = features(many, len);
	ok(v.n == 9 && crc32_of(&v) == 0xcda7ed44, "counts end at 255");

	memcpy(many + len, " b", 2);
	v = features(many, len + 2);
	w = features(many + 300, len + 2 - 300);
	ok(v.n == 15 && crc32_of(&v) == 0x6381df0d, "at 255, not before");
	ok(w.n == 15 && crc32_of(&w) == 0x6381df0d, "also in a list");
	ok(len > 1024 && len + 2 - 300 <= 1024, "(that text was counted in a table, the others in lists)");
	v = features(many, 255 * 3 - 1);
	w = features(many, 400 * 3 - 1);
	ok(v.n == w.n && v.n > 0, "both ways find the same buckets");
	for (size_t i = 0; i < v.n; i++)
		v.n = v.bucket[i] == w.bucket[i] ? v.n : 0;
	ok(v.n == 9, "in the same order");

	v = features("refund my card", 14);
	w = features("card refund", 11);
	ok(fabs(spell_cosine(&v, &w) - 0.8846437807441416) < 1e-15 && spell_cosine(&v, &w) == spell_cosine(&w, &v),
	   "the cosine of two texts, either way round");
	ok(fabs(spell_cosine(&v, &v) - 1) < 1e-6, "a text's vector has unit length");
}

/* The cosines of an index have the bits of spell_cosine(). */
static void
test_index(void)
{
	enum { N = 3000 };
	static const char *const words[] = {"refund", "card", "退款", "parcel", "où", "the", "a", "7", "order", "xyz"};
	SpellVec   *vecs = fsi_arena_array(&arena, N, sizeof(SpellVec));
	const SpellVec **list = fsi_arena_array(&arena, N, sizeof(SpellVec *));
	double	   *cosine = fsi_arena_array(&arena, N, sizeof(double));
	uint64_t	seed = 3;
	SpellIndex	index;
	FsiHost		stopping = fsi_host_malloc;
	FsiArena	stopped;
	int			wrong = 0,
				some = 0;

	for (int i = 0; i < N; i++)
	{
		char		text[200] = "";

		for (int k = (int) (next_random(&seed) % 12); k > 0; k--)
			strcat(strcat(text, words[next_random(&seed) % 10]), " ");
		vecs[i] = features(text, strlen(text));
		list[i] = &vecs[i];
	}
	ok(spell_index_build(N, list, &arena, &index, &err) == FSI_OK && index.n == N, "an index of %d texts", N);
	for (int m = 0; m < 40; m++)
	{
		wrong += spell_index_cosines(&index, &vecs[m], &fsi_host_malloc, cosine, &err) != FSI_OK;
		for (int i = 0; i < N; i++)
		{
			double		want = spell_cosine(&vecs[m], &vecs[i]);

			wrong += memcmp(&cosine[i], &want, sizeof(want)) != 0;
			some += want > 0;
		}
	}
	ok(wrong == 0 && some > N, "40 times %d cosines, bit for bit", N);
	ok(spell_index_build(0, list, &arena, &index, &err) == FSI_OK &&
	   spell_index_cosines(&index, &vecs[0], &fsi_host_malloc, cosine, &err) == FSI_OK, "of no text at all");
	stopping.should_stop = stop_now;
	fsi_arena_init(&stopped, &stopping);
	ok(spell_index_build(N, list, &stopped, &index, &err) == FSI_CANCELLED, "stops when asked");
	fsi_arena_free(&stopped);
}

static void
test_edges(void)
{
	SpellVec	v = features("", 0),
				w = features("a", 1);
	char	   *long_text = malloc(1 << 20);

	ok(v.n == 0 && spell_cosine(&v, &w) == 0 && spell_cosine(&w, &v) == 0, "empty text: no features, cosine 0");
	ok(features(" \xE3\x80\x80\n", 5).n == 0, "nor in white space");
	ok(features("\xFF", 1).n == SIZE_MAX && err.status == FSI_INVALID, "invalid text: %s", err.message);
	ok(features("\0", 1).n > 0, "a NUL is a character");
	memset(long_text, 'x', 1 << 20);
	ok(features(long_text, 1 << 20).n == 9, "1 MB of one letter");
	for (size_t i = 0; i + 2 < 1 << 20; i += 3)
		memcpy(long_text + i, "\xE2\x80\x8B", 3);
	ok(features(long_text, (1 << 20) - 1).n > 0, "1 MB of zero-width spaces");
	free(long_text);

	for (int i = 0; i < SPELL_BUCKETS; i++)
		idf[i] = 0;
	ok(features("refund", 6).n == 0, "weights of zero: no features");
	for (int i = 0; i < SPELL_BUCKETS; i++)
		idf[i] = NAN;
	ok(features("refund", 6).n == 0, "nor with a broken table");
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	for (int i = 0; i < SPELL_BUCKETS; i++)
		idf[i] = 1 + (float) (i % 13) * 0.25f;
	test_values();
	test_index();
	test_edges();
	fsi_arena_free(&arena);
	return tap_done();
}
