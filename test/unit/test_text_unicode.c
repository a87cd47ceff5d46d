/*
 * test_text_unicode.c
 *	  UTF-8 validity; normal forms in pieces against utf8proc over whole strings.
 */
#include <utf8proc.h>

#include "text_bpe.h"
#include "../../src/text/unicode.h"

static void
test_validity(void)
{
	static const struct
	{
		const char *s;
		size_t		len;
		size_t		bad;		/* offset of the first bad byte */
	}			cases[] = {
		{"", 0, 0}, {"abc", 3, 3}, {"a\0b", 3, 3}, {"\xC3\xA9", 2, 2}, {"\xC3", 1, 0}, {"ab\xC3", 3, 2},
		{"\xC0\x80", 2, 0}, {"\xC1\xBF", 2, 0}, {"\xE0\x9F\xBF", 3, 0}, {"\xE0\xA0\x80", 3, 3}, {"\xED\x9F\xBF", 3, 3},
		{"\xED\xA0\x80", 3, 0}, {"\xEF\xBF\xBF", 3, 3}, {"\xF0\x8F\xBF\xBF", 4, 0}, {"\xF0\x90\x80\x80", 4, 4},
		{"\xF4\x8F\xBF\xBF", 4, 4}, {"\xF4\x90\x80\x80", 4, 0}, {"\xF5\x80\x80\x80", 4, 0}, {"\x80", 1, 0},
		{"12345678\xFF", 9, 8}, {"\xE4\xBD", 2, 0}, {"x\xE4\xBD\xA0\xE4\xBD", 6, 4}, {"\xF0\x9F\x98", 3, 0},
		{"\xE4\x41\xA0", 3, 0}, {"\xF0\x9F\x41\x80", 4, 0},
	};
	int			wrong = 0;
	Tokenizer	tok;
	TokIds		ids;
	char	   *text;
	size_t		len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (text_utf8_valid(cases[i].s, cases[i].len) != cases[i].bad)
			wrong++, diag("case %zu", i);
	ok(wrong == 0, "well-formed and ill-formed sequences are told apart");

	build_bpe("null", BYTE_LEVEL, "", &tok);
	ok(tok_encode(&tok, "ab\xFF", 3, &arena, &ids, &err) == FSI_INVALID && strstr(err.message, "byte 2") != NULL,
	   "encoding invalid text fails with the offset: %s", err.message);
	ok(tok_encode_plain(&tok, "\xC3", 1, &arena, &ids, &err) == FSI_INVALID &&
	   tok_normalize(&tok, "\xC3", 1, &arena, &text, &len, &err) == FSI_INVALID, "so do the others");
}

static size_t
put_char(char *s, uint32_t c)
{
	return (size_t) utf8proc_encode_char((utf8proc_int32_t) c, (utf8proc_uint8_t *) s);
}

/* A code point of one of the kinds that normal forms care about. */
static uint32_t
random_char(uint64_t *seed)
{
	static const uint32_t ranges[][2] = {
		{0x20, 0x7E}, {0xA0, 0x17F}, {0x300, 0x36F}, {0x300, 0x345}, {0x591, 0x5C7}, {0x900, 0x9FF}, {0xB00, 0xD7F},
		{0xE00, 0xEFF}, {0xF00, 0xFD0}, {0x1000, 0x1090}, {0x1100, 0x11FF}, {0x1B00, 0x1B50}, {0x1E00, 0x1FFF},
		{0x2000, 0x2190}, {0x2460, 0x24FF}, {0x3000, 0x33FF}, {0x4E00, 0x4E20}, {0xAC00, 0xAC60}, {0xD7B0, 0xD7FF},
		{0xF900, 0xFB50}, {0xFDF0, 0xFE50}, {0xFF00, 0xFFEF}, {0x11099, 0x110BA}, {0x11127, 0x11134}, {0x11330, 0x11360},
		{0x114B0, 0x115B0}, {0x11930, 0x11940}, {0x1D15E, 0x1D1C0}, {0x1D400, 0x1D7FF}, {0x2F800, 0x2FA1D},
	};
	const uint32_t *r = ranges[next_random(seed) % (sizeof(ranges) / sizeof(ranges[0]))];

	return r[0] + (uint32_t) (next_random(seed) % (r[1] - r[0] + 1));
}

static void
test_forms(void)
{
	static const struct
	{
		const char *name;
		int			options;
	}			forms[] = {
		{"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE}, {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
		{"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
		{"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
	};

	for (int f = 0; f < 4; f++)
	{
		Tokenizer	tok;
		char		json[64];
		uint64_t	seed = 5;
		int			wrong = 0;

		snprintf(json, sizeof(json), "{\"type\": \"%s\"}", forms[f].name);
		build_bpe(json, BYTE_LEVEL, "", &tok);
		for (uint32_t round = 0; round < 0x110000 + 40000; round++)
		{
			char		in[160];
			size_t		n = 0,
						len;
			utf8proc_uint8_t *want;
			utf8proc_ssize_t want_len;
			char	   *got;
			FsiArenaMark mark = fsi_arena_mark(&arena);

			if (round < 0x110000)	/* every character, after a letter, a vowel sign's base and a Hangul syllable */
			{
				if (round >= 0xD800 && round <= 0xDFFF)
					continue;
				if (round > 0x3400 && round < 0xA000 && round % 64 != 0)
					continue;
				if (round > 0x30000 && round % 1024 != 0)
					continue;
				n = put_char(in, 'a');
				n += put_char(in + n, round);
				n += put_char(in + n, 0x1025);
				n += put_char(in + n, round);
				n += put_char(in + n, 0xAC00);
				n += put_char(in + n, round);
				n += put_char(in + n, 0x30AB);
				n += put_char(in + n, round);
			}
			else
				for (int j = 1 + (int) (next_random(&seed) % 30); j > 0; j--)
					n += put_char(in + n, random_char(&seed));
			want_len = utf8proc_map((utf8proc_uint8_t *) in, (utf8proc_ssize_t) n, &want,
								   (utf8proc_option_t) forms[f].options);
			if (want_len < 0 || tok_normalize(&tok, in, n, &arena, &got, &len, &err) != FSI_OK ||
				len != (size_t) want_len || memcmp(got, want, len) != 0)
			{
				if (wrong++ < 5)
					diag("%s differs, case %x", forms[f].name, round);
			}
			free(want);
			fsi_arena_release(&arena, mark);
		}
		ok(wrong == 0, "%s in pieces is %s of the whole", forms[f].name, forms[f].name);
	}
}

/* Marks in an order that makes sorting by exchange quadratic. */
static void
test_long_marks(void)
{
	Tokenizer	tok;
	size_t		n = 100000,
				len;
	char	   *in = malloc(n * 2 + 1),
			   *out;
	bool		sorted;

	build_bpe("{\"type\": \"NFC\"}", BYTE_LEVEL, "", &tok);
	in[0] = 'a';
	for (size_t i = 0; i < n; i++)
		put_char(in + 1 + 2 * i, i < n / 2 ? 0x30D : 0x323);	/* class 230, then 220 */
	ok(tok_normalize(&tok, in, 1 + n * 2, &arena, &out, &len, &err) == FSI_OK, "100,000 marks in the wrong order");
	sorted = len == 2 * n + 1 && memcmp(out, "\xE1\xBA\xA1", 3) == 0;	/* the first dot below joins the letter */
	for (size_t i = 1; sorted && i < n; i++)
		sorted = memcmp(out + 1 + 2 * i, i < n / 2 ? "\xCC\xA3" : "\xCC\x8D", 2) == 0;
	ok(sorted, "come out ordered");
	free(in);
}

/* Pieces too long for one call of the library: marks, vowel signs and Hangul parts without an end. */
static void
test_long_pieces(void)
{
	static const uint32_t joins[] = {
		0x300, 0x301, 0x302, 0x304, 0x308, 0x30A, 0x323, 0x327, 0x328, 0x338, 0x345, 0x3099, 0x309A,
		0x1161, 0x1175, 0x11A8, 0x11C2, 0x9BE, 0x9D7, 0xB3E, 0xDCF, 0xDDF, 0x102E, 0x0653, 0x0654, 0x1D165
	};
	static const uint32_t bases[] = {'a', 'o', 'U', 0xAC00, 0x1100, 0x9C7, 0xB46, 0xDD9, 0x1025, 0x30AB, 0x627, 0x1EA0};
	uint64_t	seed = 11;
	char	   *in = malloc(8000 * 4);
	Tokenizer	tok;
	int			wrong = 0;

	build_bpe("{\"type\": \"NFC\"}", BYTE_LEVEL, "", &tok);
	for (int round = 0; round < 24; round++)
	{
		size_t		n = put_char(in, bases[round % 12]),
					len;
		uint32_t	few = 1 + next_random(&seed) % 26;
		utf8proc_uint8_t *want;
		utf8proc_ssize_t want_len;
		char	   *out;

		for (int i = 0; i < 4200 + round * 100; i++)
			n += put_char(in + n, joins[next_random(&seed) % few]);
		want_len = utf8proc_map((utf8proc_uint8_t *) in, (utf8proc_ssize_t) n, &want, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
		if (want_len < 0 || tok_normalize(&tok, in, n, &arena, &out, &len, &err) != FSI_OK ||
			len != (size_t) want_len || memcmp(out, want, len) != 0)
			wrong++;
		free(want);
	}
	ok(wrong == 0, "NFC of long pieces is the library's (%d of 24 differ)", wrong);
	free(in);
}

/* Texts are looked at in pieces: no character is cut, every bad byte is found at its place. */
static void
test_piece_ends(void)
{
	size_t		around = TEXT_STOP_EVERY - 8;
	char	   *in = malloc(2 * TEXT_STOP_EVERY);
	Tokenizer	tok;
	TokIds		ids;
	int			wrong = 0;

	build_bpe("null", BYTE_LEVEL, "", &tok);
	for (size_t at = around; at < around + 16; at++)
	{
		char		want[80];

		memset(in, 'a', 2 * TEXT_STOP_EVERY);
		memcpy(in + at, "\xF0\x9F\x91\xA9", 4);
		wrong += tok_encode(&tok, in, 2 * TEXT_STOP_EVERY, &arena, &ids, &err) != FSI_OK;
		in[at + 3] = 'a';
		snprintf(want, sizeof(want), "text is not valid UTF-8 at byte %zu", at);
		wrong += tok_encode(&tok, in, 2 * TEXT_STOP_EVERY, &arena, &ids, &err) != FSI_INVALID ||
			strcmp(err.message, want) != 0;
		wrong += tok_encode(&tok, in, at + 3, &arena, &ids, &err) != FSI_INVALID || strcmp(err.message, want) != 0;
	}
	ok(wrong == 0, "characters at the end of a piece");
	free(in);
}

static void
test_ends(void)
{
	FsiText		in = {"a\xE4\xBD\xA0" "b" "\xF0\x9F\x98\x80" "c", 10};
	static const char *const want[] = {
		"", "ac", "ac", "ac", "a\xE4\xBD\xA0" "c", "a\xE4\xBD\xA0" "b" "\xF0\x9F\x98\x80" "c",
	};
	int			wrong = 0;

	for (size_t n = 0; n <= 5; n++)
	{
		FsiText		out;

		if (text_ends(in, n, n, &arena, &out, &err) != FSI_OK || out.len != strlen(want[n]) ||
			memcmp(out.s, want[n], out.len) != 0)
			wrong++, diag("%zu bytes: \"%.*s\"", n, (int) out.len, out.s);
	}
	ok(wrong == 0, "a text's ends hold whole characters");
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	test_validity();
	test_piece_ends();
	test_long_pieces();
	test_forms();
	test_long_marks();
	test_ends();
	fsi_arena_free(&arena);
	return tap_done();
}
