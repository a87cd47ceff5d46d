/*
 * fuzz_tokenizer.c
 *	  libFuzzer entry: tokenizer blobs, tokenizer files and texts.
 *
 * Built with clang -fsanitize=fuzzer,address,undefined from this file, src/base and
 * src/text, with -Iinclude -Itest/unit; needs no corpus to begin with.
 *
 * The first byte says what the rest is:
 *	0, 1	changes of a good BPE or WordPiece blob (count, then 16-bit offset and byte
 *			each), then a text;
 *	2		16-bit length of a blob, the blob, a text;
 *	3, 4	tokenizer.json, vocab.txt (from a directory under TMPDIR), then a fixed text; what was
 *			read is written and read again, and must give the same ids;
 *	5		changes of a good tokenizer.json, as of a blob;
 *	6		texts, one a line, whose spelling is compared with the first one's.
 */
#include "text_bpe.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char vocab_txt[] =
	"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nrefund\nre\n##fund\n##ing\ncard\nthe\n退\n款\n##a\na\n";
static const char fixed_text[] = "refunding the <|bos|>[SEP] card 退款 e\xCC\x81 \n  'll x9 \xF0\x9F\x98\x80";

static uint8_t *good[2];
static size_t good_len[2];
static char *good_json;
static char *dir;

static void
start(void)
{
	char	   *d = temp_dir();

	fsi_arena_init(&arena, &fsi_host_malloc);
	put_text(d, "vocab.txt", vocab_txt);
	if (tok_build_dir(d, 0, &arena, &good[1], &good_len[1], NULL, &err) != FSI_OK)
		abort();
	good_json = strdup(bpe_json("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, "
								"{\"type\": \"Lowercase\"}]}", BYTE_LEVEL_SPACE, "", false));
	put_text(d, "tokenizer.json", good_json);
	if (tok_build_dir(d, 0, &arena, &good[0], &good_len[0], NULL, &err) != FSI_OK)
		abort();
	drop_dir(d);
	dir = temp_dir();
}

/* Everything a tokenizer can do with a text; what must hold for any blob holds. */
static void
use(const Tokenizer *tok, const char *s, size_t len, FsiArena *scratch)
{
	TokIds		ids;
	char	   *out;
	size_t		out_len;

	if (tok_encode(tok, s, len, scratch, &ids, &err) == FSI_OK)
	{
		for (size_t i = 0; i < ids.n; i++)
			if (ids.ids[i] < 0 || ids.ids[i] >= tok->n_vocab)
				abort();
		if (tok_decode(tok, ids.ids, ids.n, len % 2 == 0, scratch, &out, &out_len, &err) == FSI_OK &&
			text_utf8_valid(out, out_len) != out_len)
			abort();
	}
	tok_encode_plain(tok, s, len, scratch, &ids, &err);
	if (tok_normalize(tok, s, len, scratch, &out, &out_len, &err) == FSI_OK &&
		text_utf8_valid(out, out_len) != out_len)
		abort();
	tok_lookup(tok, s, len);
	for (int32_t id = -1; id < 300; id++)
		tok_token(tok, id, &out_len);
}

static void
use_blob(const uint8_t *blob, size_t len, const char *s, size_t s_len, FsiArena *scratch)
{
	uint8_t    *copy = malloc(len > 0 ? len : 1);
	Tokenizer	tok;

	memcpy(copy, blob, len);
	if (tok_open(copy, len, &tok, &err) == FSI_OK)
		use(&tok, s, s_len, scratch);
	free(copy);
}

/* A copy of something good with the changes that data begins with; *at: where they end. */
static uint8_t *
changed(const void *of, size_t len, const uint8_t *data, size_t size, size_t *at)
{
	uint8_t    *copy = malloc(len);
	size_t		n = size > 0 ? data[0] % 32 : 0;

	*at = 1;
	memcpy(copy, of, len);
	for (size_t i = 0; i < n && *at + 3 <= size; i++, *at += 3)
		copy[(data[*at] | data[*at + 1] << 8) % len] = data[*at + 2];
	return copy;
}

static void
changed_blob(int which, const uint8_t *data, size_t size, FsiArena *scratch)
{
	size_t		at;
	uint8_t    *blob = changed(good[which], good_len[which], data, size, &at);

	if (at < size)
		use_blob(blob, good_len[which], (const char *) data + at, size - at, scratch);
	free(blob);
}

/* tok_write() gives a tokenizer.json that is read back as the same tokenizer. */
static void
write_again(const Tokenizer *tok, FsiArena *scratch)
{
	FsiBytes	json,
				config;
	uint8_t    *blob;
	size_t		len;
	Tokenizer	again;
	TokIds		a,
				b;
	char		path[1200];

	fsi_bytes_init(&json, scratch);
	fsi_bytes_init(&config, scratch);
	if (tok_write(tok, TOK_NONE, TOK_NONE, &json, &config, &err) != FSI_OK)
		return;
	put_bytes(dir, "tokenizer.json", json.data, json.len);
	if (tok_build_dir(dir, 0, scratch, &blob, &len, NULL, &err) != FSI_OK || tok_open(blob, len, &again, &err) != FSI_OK)
	{
		fprintf(stderr, "written, but not read: %s\n", err.message);
		abort();
	}
	snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
	unlink(path);
	if (tok_encode(tok, fixed_text, sizeof(fixed_text) - 1, scratch, &a, &err) != FSI_OK)
		return;
	if (tok_encode(&again, fixed_text, sizeof(fixed_text) - 1, scratch, &b, &err) != FSI_OK || a.n != b.n ||
		(a.n > 0 && memcmp(a.ids, b.ids, a.n * sizeof(int32_t)) != 0))
		abort();
}

/* An index of all lines gives the first one's cosines, bit for bit. */
static void
spelling(const char *s, size_t len, FsiArena *scratch)
{
	enum { LINES = 64 };
	static float idf[SPELL_BUCKETS];
	SpellVec	vectors[LINES];
	const SpellVec *list[LINES];
	double		cosine[LINES];
	SpellIndex	index;
	size_t		n = 0;

	for (int i = 0; i < SPELL_BUCKETS; i++)
		idf[i] = 1 + (float) (i % 13) * 0.25f;
	for (const char *end = s + len; s <= end && n < LINES; n++)
	{
		const char *stop = memchr(s, '\n', (size_t) (end - s));

		stop = stop == NULL ? end : stop;
		if (spell_features(s, (size_t) (stop - s), idf, scratch, &vectors[n], &err) != FSI_OK)
			return;
		list[n] = &vectors[n];
		s = stop + 1;
	}
	if (spell_index_build(n, list, scratch, &index, &err) != FSI_OK ||
		spell_index_cosines(&index, &vectors[0], &fsi_host_malloc, cosine, &err) != FSI_OK)
		abort();
	for (size_t i = 0; i < n; i++)
		if (cosine[i] != spell_cosine(&vectors[0], &vectors[i]))
			abort();
}

static void
file(const char *name, const uint8_t *data, size_t size, FsiArena *scratch)
{
	char		path[1200];
	uint8_t    *blob;
	size_t		len;
	bool		read;
	Tokenizer	tok;

	put_bytes(dir, name, data, size);
	read = tok_build_dir(dir, 0, scratch, &blob, &len, NULL, &err) == FSI_OK;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	if (!read)
		return;
	use_blob(blob, len, fixed_text, sizeof(fixed_text) - 1, scratch);
	if (tok_open(blob, len, &tok, &err) == FSI_OK)
		write_again(&tok, scratch);
}

static void
changed_json(const uint8_t *data, size_t size, FsiArena *scratch)
{
	size_t		at;
	uint8_t    *json = changed(good_json, strlen(good_json), data, size, &at);

	file("tokenizer.json", json, strlen(good_json), scratch);
	free(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FsiArena	scratch;

	if (dir == NULL)
		start();
	if (size < 3)
		return 0;
	fsi_arena_init(&scratch, &fsi_host_malloc);
	if (data[0] < 2)
		changed_blob(data[0], data + 1, size - 1, &scratch);
	else if (data[0] == 2)
	{
		size_t		n = data[1] | data[2] << 8;

		n = n < size - 3 ? n : size - 3;
		use_blob(data + 3, n, (const char *) data + 3 + n, size - 3 - n, &scratch);
	}
	else if (data[0] < 5)
		file(data[0] == 3 ? "tokenizer.json" : "vocab.txt", data + 1, size - 1, &scratch);
	else if (data[0] == 5)
		changed_json(data + 1, size - 1, &scratch);
	else if (data[0] == 6)
		spelling((const char *) data + 1, size - 1, &scratch);
	fsi_arena_free(&scratch);
	return 0;
}
