/*
 * test_text_long.c
 *	  Long and hostile texts: bounded memory, an end, and a way to stop.
 *
 * Memory is counted at the host: how much a call holds at most, per byte of text.
 */
#include "text_bpe.h"
#include "../../src/text/unicode.h"

#define MEGABYTE ((size_t) 1 << 20)
#define WORD_LIMIT ((size_t) 32 << 20)	/* bytes, README's Limits */
#define PEAK_PER_BYTE 80		/* one word of 1 MB: 32 for its list and heap, the rest ids and normalised copies */

typedef struct Meter
{
	size_t		now,
				peak;
	long		asked;			/* how often should_stop was asked */
	long		stop_after;		/* stops at that question; -1: never */
} Meter;

static void *
meter_alloc(void *ctx, size_t bytes)
{
	Meter	   *m = ctx;
	size_t	   *block = malloc(bytes + 16);

	if (block == NULL)
		return NULL;
	block[0] = bytes;
	m->now += bytes;
	if (m->now > m->peak)
		m->peak = m->now;
	return block + 2;
}

static void
meter_release(void *ctx, void *ptr)
{
	Meter	   *m = ctx;
	size_t	   *block = (size_t *) ptr - 2;

	m->now -= block[0];
	free(block);
}

static bool
meter_stop(void *ctx)
{
	Meter	   *m = ctx;

	return ++m->asked == m->stop_after;
}

static char *text;

/* Fill the text with copies of s; returns its length, a multiple of s's. */
static size_t
fill(const char *s, size_t total)
{
	size_t		n = strlen(s),
				len = 0;

	for (; len + n <= total; len += n)
		memcpy(text + len, s, n);
	return len;
}

static void
run_growing(const Tokenizer *tok, const char *kind, const char *what, size_t len, size_t growth)
{
	Meter		meter = {.stop_after = -1};
	FsiHost		host = {&meter, meter_alloc, meter_release, meter_stop};
	FsiArena	mine;
	TokIds		ids;
	char	   *out;
	size_t		out_len;
	FsiStatus	status,
				decoded;

	fsi_arena_init(&mine, &host);
	status = tok_encode_plain(tok, text, len, &mine, &ids, &err);
	ok(status == FSI_OK && meter.peak < len * growth * PEAK_PER_BYTE + (64 << 10),
	   "%s: %zu bytes of %s: %zu ids, %.1f bytes a byte at most",
	   kind, len, what, status == FSI_OK ? ids.n : 0, (double) meter.peak / (double) len);
	decoded = status == FSI_OK ? tok_decode(tok, ids.ids, ids.n, true, &mine, &out, &out_len, &err) : status;
	ok(decoded == FSI_OK, "%s: decoded again", kind);
	fsi_arena_free(&mine);
	ok(meter.now == 0, "%s: nothing is kept", kind);
}

static void
run(const Tokenizer *tok, const char *kind, const char *what, size_t len)
{
	run_growing(tok, kind, what, len, 1);
}

static void
test_texts(const Tokenizer *tok, const char *kind)
{
	run(tok, kind, "one letter", fill("a", MEGABYTE));
	run(tok, kind, "words", fill("refund ", MEGABYTE));
	run(tok, kind, "words of 99 letters", fill("refundrefundrefundrefundrefundrefundrefundrefundrefundrefundrefundrefund"
											   "refundrefundrefundrefundxyz ", MEGABYTE));
	run(tok, kind, "Han", fill("退款", MEGABYTE));
	run(tok, kind, "spaces", fill(" ", MEGABYTE));
	run(tok, kind, "newlines and spaces", fill(" \n", MEGABYTE));
	run(tok, kind, "combining marks", fill("\xCC\x81\xCC\xA3", 200000));
	run(tok, kind, "zero-width spaces", fill("\xE2\x80\x8B", 300000));
	run_growing(tok, kind, "U+FDFA, 3 bytes that NFKC makes 33", fill("\xEF\xB7\xBA", 100000), 11);
	run(tok, kind, "special tokens", fill("<|bos|>[SEP]", MEGABYTE));
	run(tok, kind, "opening brackets", fill("<", MEGABYTE));
	run(tok, kind, "emoji", fill("👩\xE2\x80\x8D💻", MEGABYTE));
}

static void
test_stop(const Tokenizer *tok, const char *kind, const char *s)
{
	Meter		meter = {.stop_after = 1};
	FsiHost		host = {&meter, meter_alloc, meter_release, meter_stop};
	FsiArena	mine;
	TokIds		ids;
	size_t		len = fill(s, MEGABYTE);

	fsi_arena_init(&mine, &host);
	ok(tok_encode_plain(tok, text, len, &mine, &ids, &err) == FSI_CANCELLED, "%s: stops when asked, in %s", kind, s);
	ok(meter.asked == 1, "%s: at once", kind);
	fsi_arena_free(&mine);
	ok(meter.now == 0, "%s: nothing is kept", kind);
}

/*
 * No pass over a text goes without questions whether to stop, as many as it has pieces (merging asks more often);
 * at whichever the answer is yes, the call ends and keeps nothing.
 */
static void
test_questions(const Tokenizer *tok, const char *kind, const char *s, int passes)
{
	Meter		meter = {.stop_after = -1};
	FsiHost		host = {&meter, meter_alloc, meter_release, meter_stop};
	FsiArena	mine;
	TokIds		ids;
	size_t		len = fill(s, MEGABYTE / 4);
	long		asked,
				wrong = 0;

	fsi_arena_init(&mine, &host);
	ok(tok_encode(tok, text, len, &mine, &ids, &err) == FSI_OK, "%s: %zu bytes of %s", kind, len, s);
	asked = meter.asked;
	ok(asked >= passes * (long) (len / TEXT_STOP_EVERY - 1), "%s: %ld questions whether to stop", kind, asked);
	fsi_arena_free(&mine);
	for (long i = 1; i <= asked; i += 1 + asked / 32)
	{
		meter = (Meter) {.stop_after = i};
		wrong += tok_encode(tok, text, len, &mine, &ids, &err) != FSI_CANCELLED || meter.asked != i;
		fsi_arena_free(&mine);
		wrong += meter.now != 0;
	}
	ok(wrong == 0, "%s: stops where it is told to", kind);
}

/* n letters, then "b". */
static const char *
long_token(int n)
{
	static char token[512];

	memset(token, 'a', (size_t) n);
	strcpy(token + n, "b");
	return token;
}

/* 64 kB of s, each byte of which is compared with long tokens: that asks at least so often. */
static void
check_costly(const char *what, const char *vocabulary, const char *config, const char *s, long least)
{
	char	   *dir = temp_dir();
	Meter		meter = {.stop_after = -1};
	FsiHost		host = {&meter, meter_alloc, meter_release, meter_stop};
	FsiArena	mine;
	Tokenizer	tok;
	TokIds		ids;

	put_text(dir, "vocab.txt", vocabulary);
	put_text(dir, "tokenizer_config.json", config);
	fsi_arena_init(&mine, &host);
	ok(build_open(dir, 0, &tok) == FSI_OK &&
	   tok_encode(&tok, text, fill(s, MEGABYTE / 16), &mine, &ids, &err) == FSI_OK, "%s", what);
	ok(meter.asked >= least, "%s: %ld questions whether to stop", what, meter.asked);
	fsi_arena_free(&mine);
	drop_dir(dir);
}

/* Questions go by the work, not by the text's bytes alone. */
static void
test_costly(void)
{
	char		vocabulary[1024],
				config[1024],
				word[102];

	snprintf(vocabulary, sizeof(vocabulary), "[UNK]\na\n##a\n##%s\n", long_token(300));
	snprintf(word, sizeof(word), "%.100s ", long_token(300));
	check_costly("words with many pieces, long tokens", vocabulary, "{}", word, 80);
	snprintf(config, sizeof(config), "{\"additional_special_tokens\": [\"%s\"]}", long_token(255));
	check_costly("beginnings of a long special token", "[UNK]\na\n", config, "a", 200);
}

/* A host without memory for merging: a word that is not refused for its length asks for that. */
static void *
small_alloc(void *ctx, size_t bytes)
{
	return bytes > 2 * WORD_LIMIT ? NULL : meter_alloc(ctx, bytes);
}

/* before, then n letters: refused for their number, which the message tells, or only for want of memory. */
static void
check_limit(const Tokenizer *tok, const char *kind, const char *before, size_t n, bool refused)
{
	Meter		meter = {.stop_after = -1};
	FsiHost		host = {&meter, small_alloc, meter_release, meter_stop};
	FsiArena	mine;
	TokIds		ids;
	size_t		len = strlen(before) + n;
	char	   *word = malloc(len);
	char		want[100];
	FsiStatus	status;

	memcpy(word, before, strlen(before));
	memset(word + strlen(before), 'a', n);
	fsi_arena_init(&mine, &host);
	status = tok_encode_plain(tok, word, len, &mine, &ids, &err);
	snprintf(want, sizeof(want), "a word of %zu bytes is longer than the limit of %zu", n, WORD_LIMIT);
	if (refused)
		ok(status == FSI_LIMIT && strcmp(err.message, want) == 0, "%s: \"%s\": %s", kind, before, err.message);
	else
		ok(status == FSI_NOMEM, "%s: \"%s\": %zu bytes are no more than the limit", kind, before, n);
	fsi_arena_free(&mine);
	ok(meter.now == 0, "%s: nothing is kept", kind);
	free(word);
}

/*
 * Merging a word takes 32 times its size: longer ones than this are refused, not tried.  The space before one does
 * not count, be it the text's or one that the tokenizer has put there.
 */
static void
test_word_limit(const Tokenizer *tok, const char *kind)
{
	check_limit(tok, kind, "", WORD_LIMIT, false);
	check_limit(tok, kind, "", WORD_LIMIT + 1, true);
	check_limit(tok, kind, "a ", WORD_LIMIT, false);
	check_limit(tok, kind, "a ", WORD_LIMIT + 1, true);
}

/* A template of n times {intents}, two intents of 1 MB. */
static FsiStatus
render_repeated(int n, Meter *meter)
{
	FsiHost		host = {meter, meter_alloc, meter_release, meter_stop};
	FsiArena	mine;
	size_t		lens[2] = {fill("a", MEGABYTE), MEGABYTE};
	const char *intents[2] = {text, text};
	char	   *template = calloc((size_t) n + 1, sizeof("{intents}"));
	PromptSpec	spec = {.template_text = template, .n_intents = 2, .intents = intents, .intent_lens = lens};
	char	   *prefix,
			   *suffix;
	size_t		prefix_len,
				suffix_len;
	FsiStatus	status;

	for (int i = 0; i < n; i++)
		strcat(template + i * strlen("{intents}"), "{intents}");
	strcat(template, "{text}");
	spec.template_len = strlen(template);
	fsi_arena_init(&mine, &host);
	status = prompt_render(&spec, &mine, &prefix, &prefix_len, &suffix, &suffix_len, &err);
	fsi_arena_free(&mine);
	free(template);
	return status;
}

/* A short template with long intents: its prompt has a limit, and can be stopped. */
static void
test_prompt(void)
{
	Meter		meter = {.stop_after = -1};

	ok(render_repeated(2, &meter) == FSI_OK && meter.asked == 3, "{intents} twice: three questions between four intents");
	ok(render_repeated(150, &meter) == FSI_LIMIT && strcmp(err.message, "prompt is longer than 268435456 bytes") == 0 &&
	   meter.peak < 600 * MEGABYTE, "{intents} again and again: refused for its length");
	meter = (Meter) {.stop_after = 3};
	ok(render_repeated(150, &meter) == FSI_CANCELLED && meter.asked == 3, "stops when asked");
	ok(meter.now == 0, "nothing is kept");
}

int
main(void)
{
	char	   *dir = temp_dir();
	Tokenizer	bpe,
				nfkc,
				wordpiece;

	fsi_arena_init(&arena, &fsi_host_malloc);
	text = malloc(MEGABYTE);
	put_text(dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
			 "refund\n##refund\nre\n##fund\n##x\n##y\ncard\nthe\n退\n款\n##a\na\n");
	ok(build_open(dir, 0, &wordpiece) == FSI_OK && build_bpe("null", BYTE_LEVEL, "", &bpe) == FSI_OK &&
	   build_bpe("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, {\"type\": \"Lowercase\"}]}",
				 BYTE_LEVEL_SPACE, "", &nfkc) == FSI_OK, "three tokenizers");
	drop_dir(dir);
	test_texts(&bpe, "BPE");
	test_texts(&nfkc, "BPE with NFKC and Lowercase");
	test_texts(&wordpiece, "WordPiece");
	test_stop(&bpe, "BPE", "a");
	test_stop(&bpe, "BPE", "a ");
	test_stop(&wordpiece, "WordPiece", "refund ");
	test_stop(&wordpiece, "WordPiece", "\xC3\x89");
	test_stop(&nfkc, "BPE with NFKC and Lowercase", "A");
	test_stop(&nfkc, "BPE with NFKC and Lowercase", "\xC3\x89");
	test_questions(&bpe, "BPE", "a b ", 3);
	test_questions(&bpe, "BPE", "退", 30);
	test_questions(&bpe, "BPE", " ", 40);
	test_questions(&bpe, "BPE", "<|bos|>", 2);
	test_questions(&nfkc, "BPE with NFKC and Lowercase", "a b ", 6);
	test_questions(&nfkc, "BPE with NFKC and Lowercase", "é ", 4);
	test_questions(&nfkc, "BPE with NFKC and Lowercase", "\xCC\x81\xCC\xA3", 40);
	test_questions(&wordpiece, "WordPiece", "refund ", 5);
	test_questions(&wordpiece, "WordPiece", "É", 6);
	test_costly();
	test_word_limit(&bpe, "BPE");
	test_word_limit(&nfkc, "BPE that puts a space before a text");
	test_prompt();
	free(text);
	fsi_arena_free(&arena);
	return tap_done();
}
