/*
 * test_text_blob.c
 *	  Damaged and hostile blobs: an error or wrong ids, never a crash.  Worth most under a sanitizer.
 */
#include "text_bpe.h"

#include "../../src/text/tokblob.h"

static const char *const texts[] = {
	"refund the card", "<|bos|>退款 aaaa<|pad|>  \n x", "", "\xC3\xA9\xCC\x81 [UNK] ##ing refunding",
	("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
};

static volatile char sink;

/* Use everything there is of a blob that opens; ids must be inside the vocabulary. */
static bool
exercise(const Tokenizer *tok)
{
	FsiArena	scratch;
	bool		inside = true;

	fsi_arena_init(&scratch, &fsi_host_malloc);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		TokIds		ids;
		char	   *out;
		size_t		len;

		if (tok_encode(tok, texts[i], strlen(texts[i]), &scratch, &ids, &err) == FSI_OK)
		{
			for (size_t j = 0; j < ids.n; j++)
				inside = inside && ids.ids[j] >= 0 && ids.ids[j] < tok->n_vocab;
			if (tok_decode(tok, ids.ids, ids.n, true, &scratch, &out, &len, &err) == FSI_OK)
				inside = inside && text_utf8_valid(out, len) == len;
		}
		tok_encode_plain(tok, texts[i], strlen(texts[i]), &scratch, &ids, &err);
		tok_normalize(tok, texts[i], strlen(texts[i]), &scratch, &out, &len, &err);
		tok_lookup(tok, texts[i], strlen(texts[i]));
	}
	for (int32_t id = -2; id < 400; id++)
	{
		size_t		len;
		const char *token = tok_token(tok, id, &len);

		for (size_t i = 0; token != NULL && i < len; i++)
			sink = token[i];
	}
	fsi_arena_free(&scratch);
	return inside;
}

/* Open a copy that ends where the data ends, so that a sanitizer sees a step past it. */
static bool
try_blob(const uint8_t *blob, size_t len)
{
	uint8_t    *copy = malloc(len > 0 ? len : 1);
	Tokenizer	tok;
	bool		fine = true;

	memcpy(copy, blob, len);
	if (tok_open(copy, len, &tok, &err) == FSI_OK)
		fine = exercise(&tok);
	free(copy);
	return fine;
}

static void
test_damage(const char *what, const uint8_t *blob, size_t len)
{
	uint8_t    *copy = malloc(len);
	uint64_t	seed = 17;
	Tokenizer	tok;
	int			opened = 0;
	bool		fine = true;

	ok(try_blob(blob, len), "%s: the whole blob of %zu bytes works", what, len);
	for (size_t cut = 0; cut < len; cut += cut < 2000 ? 7 : 311)
	{
		uint8_t    *part = malloc(cut > 0 ? cut : 1);

		memcpy(part, blob, cut);
		opened += tok_open(part, cut, &tok, &err) == FSI_OK;
		free(part);
	}
	ok(opened == 0, "%s: no truncated blob opens", what);

	for (int round = 0; round < 3000; round++)
	{
		int			changes = 1 + (int) (next_random(&seed) % 8);

		memcpy(copy, blob, len);
		for (int i = 0; i < changes; i++)
		{
			/* half of them in the header, where most can go wrong */
			size_t		at = next_random(&seed) % (round % 2 == 0 ? 1304 : len);

			copy[at] = (uint8_t) (round % 3 == 0 ? 0xFF : next_random(&seed));
		}
		fine = try_blob(copy, len) && fine;
	}
	ok(fine, "%s: 3,000 blobs with changed bytes give errors or ids inside the vocabulary", what);

	/* every 8-byte word of the header set to extremes */
	fine = true;
	for (size_t at = 8; at + 8 <= 1304; at += 4)
		for (int kind = 0; kind < 4; kind++)
		{
			memcpy(copy, blob, len);
			memset(copy + at, kind == 0 ? 0xFF : kind == 1 ? 0x7F : 0x00, kind == 3 ? 8 : 4);
			fine = try_blob(copy, len) && fine;
		}
	ok(fine, "%s: extremes in the header", what);

	/* strings that end far outside */
	for (uint32_t id = 0; id < 10; id++)
	{
		static const uint32_t ends[] = {UINT32_MAX, 1 << 30, 1 << 20, 100000};
		uint64_t	strings;

		memcpy(&strings, blob + 120, 8);
		memcpy(copy, blob, len);
		for (uint32_t i = 0; i < 4; i++)
		{
			memcpy(copy + strings + 4 * (id + 1), &ends[i], 4);
			fine = try_blob(copy, len) && fine;
		}
	}
	ok(fine, "%s: strings past the pool", what);

	/* tables filled to the brim: probes must end */
	memcpy(copy, blob, len);
	memset(copy + 1304, 0x01, len - 1304);
	ok(try_blob(copy, len), "%s: full tables", what);

	memcpy(copy, blob, len);
	((TokHeader *) copy)->steps[0] = TOK_STEP_BERT + 1;
	ok(tok_open(copy, len, &tok, &err) == FSI_CORRUPT, "%s: a normaliser step that is none does not wait for a text", what);

	memcpy(copy, blob, len);
	copy[8] = 2;
	ok(tok_open(copy, len, &tok, &err) == FSI_UNSUPPORTED, "%s: another version: %s", what, err.message);
	free(copy);
}

int
main(void)
{
	char	   *dir = temp_dir();
	uint8_t    *blob;
	size_t		len;
	Tokenizer	tok;

	fsi_arena_init(&arena, &fsi_host_malloc);
	put_text(dir, "tokenizer.json", bpe_json("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, "
											 "{\"type\": \"Lowercase\"}]}", BYTE_LEVEL_SPACE, "", false));
	ok(tok_build_dir(dir, 0, &arena, &blob, &len, NULL, &err) == FSI_OK, "a BPE blob");
	ok(tok_open(blob + 1, len - 1, &tok, &err) == FSI_INVALID, "an unaligned blob: %s", err.message);
	test_damage("BPE", blob, len);
	drop_dir(dir);

	dir = temp_dir();
	put_text(dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
			 "refund\nre\n##fund\n##ing\ncard\nthe\n退\n款\n##a\na\n");
	ok(tok_build_dir(dir, 0, &arena, &blob, &len, NULL, &err) == FSI_OK, "a WordPiece blob");
	test_damage("WordPiece", blob, len);
	drop_dir(dir);
	fsi_arena_free(&arena);
	return tap_done();
}
