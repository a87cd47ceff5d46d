/*
 * test_text_write.c
 *	  tokenizer.json written from a tokenizer gives that tokenizer again.
 */
#include "text_bpe.h"

static const char *const texts[] = {
	"", " ", "the refund", " the  refunding", "Refund THE", "pq qp", "xyz", "退款 é E\xCC\x81 ﬁ ½", "<|bos|> a <|eos|>  <|pad|> b",
	"  <|bos|>x<|pad|>   y", "a\tb\nc", "[CLS] re ##fund [MASK]", "naïve Àé", "un known", "aQ Q",
};

/* Do both give the ids of every text, with special tokens and without? */
static bool
same_tokens(const Tokenizer *a, const Tokenizer *b)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (int plain = 0; plain < 2; plain++)
		{
			FsiStatus	(*encode) (const Tokenizer *, const char *, size_t, FsiArena *, TokIds *, FsiError *) =
				plain ? tok_encode_plain : tok_encode;
			TokIds		x,
						y;

			if (encode(a, texts[i], strlen(texts[i]), &arena, &x, &err) != FSI_OK ||
				encode(b, texts[i], strlen(texts[i]), &arena, &y, &err) != FSI_OK)
				return false;
			if (x.n != y.n || (x.n > 0 && memcmp(x.ids, y.ids, x.n * sizeof(int32_t)) != 0))
			{
				diag("other ids for \"%s\"%s", texts[i], plain ? ", plain" : "");
				return false;
			}
		}
	return true;
}

static bool merges_are_pairs;

/* Write tok and read it again, with tokenizer_config.json or from tokenizer.json alone. */
static FsiStatus
rewrite(const Tokenizer *tok, int32_t first, int32_t last, bool with_config, Tokenizer *again)
{
	char	   *dir = temp_dir();
	FsiBytes	json,
				config;
	FsiStatus	status;

	fsi_bytes_init(&json, &arena);
	fsi_bytes_init(&config, &arena);
	status = tok_write(tok, first, last, &json, &config, &err);
	if (status == FSI_OK)
	{
		/* every version of tokenizers reads merges that are strings */
		merges_are_pairs |= memmem(json.data, json.len, "\"merges\":[\n  [", 14) != NULL;
		put_bytes(dir, "tokenizer.json", json.data, json.len);
		fsi_bytes_append(&config, "}", 1);
		fsi_bytes_init(&json, &arena);
		fsi_bytes_append(&json, "{", 1);
		fsi_bytes_append(&json, config.data, config.len);
		if (with_config)
			put_bytes(dir, "tokenizer_config.json", json.data, json.len);
		status = build_open(dir, 0, again);
	}
	drop_dir(dir);
	return status;
}

static void
check(const char *what, const Tokenizer *tok)
{
	Tokenizer	again;

	ok(rewrite(tok, TOK_NONE, TOK_NONE, true, &again) == FSI_OK && again.kind == tok->kind && again.n_vocab == tok->n_vocab &&
	   again.bos == tok->bos && again.eos == tok->eos && again.pad == tok->pad && again.unk == tok->unk &&
	   again.cls == tok->cls && again.sep == tok->sep && again.mask == tok->mask, "%s: kind, size and roles", what);
	ok(same_tokens(tok, &again), "%s: ids", what);
	ok(rewrite(tok, TOK_NONE, TOK_NONE, false, &again) == FSI_OK && same_tokens(tok, &again),
	   "%s: ids by tokenizer.json alone", what);
}

static void
test_bpe(void)
{
	static const struct
	{
		const char *what,
				   *normalizer,
				   *pre_tokenizer,
				   *model;
	}			cases[] = {
		{"plain", "null", BYTE_LEVEL, ""},
		{"NFKC, lower case, prefix space",
		 "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, {\"type\": \"Lowercase\"}]}", BYTE_LEVEL_SPACE, ""},
		{"NFD without accents",
		 "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"StripAccents\"}]}", BYTE_LEVEL, ""},
		{"NFC", "{\"type\": \"NFC\"}", BYTE_LEVEL, ""},
		{"NFKD", "{\"type\": \"NFKD\"}", BYTE_LEVEL, ""},
		{"whole texts", "null",
		 "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}", ""},
		{"an unknown token", "null", BYTE_LEVEL, ", \"unk_token\": \"<|eos|>\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Tokenizer	tok;

		ok(build_bpe(cases[i].normalizer, cases[i].pre_tokenizer, cases[i].model, &tok) == FSI_OK, "%s", cases[i].what);
		check(cases[i].what, &tok);
	}
}

/* A vocabulary without the byte Q: it becomes the unknown token. */
static void
test_missing_byte(void)
{
	char	   *json = strdup(bpe_json("null", BYTE_LEVEL, ", \"unk_token\": \"<|eos|>\"", false));
	char	   *q = strstr(json, "\"Q\": ");
	char	   *dir = temp_dir();
	TokIds		ids;
	Tokenizer	tok;

	q[1] = '\x7f';				/* what no byte is written as */
	put_text(dir, "tokenizer.json", json);
	ok(build_open(dir, 0, &tok) == FSI_OK && tok_encode(&tok, "aQ", 2, &arena, &ids, &err) == FSI_OK && ids.n == 2 &&
	   ids.ids[1] == 1, "a byte that has no token");
	check("a byte that has no token", &tok);
	drop_dir(dir);
	free(json);
}

/* Whether tokenizer_config.json, written from tok, has this text. */
static bool
config_has(const Tokenizer *tok, const char *text)
{
	FsiBytes	json,
				config;

	fsi_bytes_init(&json, &arena);
	fsi_bytes_init(&config, &arena);
	return tok_write(tok, TOK_NONE, TOK_NONE, &json, &config, &err) == FSI_OK &&
		memmem(config.data, config.len, text, strlen(text)) != NULL;
}

/* Ids of config.json that name ordinary tokens. */
static void
test_model_ids(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;
	char	   *text;
	size_t		len;
	int32_t		ids[] = {BPE_FIRST_BYTE + '!', 1, BPE_FIRST_BYTE + '?'};

	put_text(dir, "tokenizer.json", bpe_json("null", BYTE_LEVEL, "", false));
	put_json(dir, "tokenizer_config.json", "{'bos_token': '<|bos|>', 'eos_token': '<|eos|>'}");
	put_json(dir, "config.json", "{'pad_token_id': 36, 'eos_token_id': 66}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.eos == 1, "config.json gives no named role to another token");
	put_json(dir, "tokenizer.json", "{'pre_tokenizer': " BYTE_LEVEL ", 'model': {'type': 'BPE', 'vocab': {'!': 0, '?': 1, "
			 "'a': 2}, 'merges': []}}");
	put_json(dir, "tokenizer_config.json", "{}");
	put_json(dir, "config.json", "{'pad_token_id': 0, 'bos_token_id': 2, 'eos_token_id': 1}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.pad == 0 && tok.bos == 2 && tok.eos == 1, "ids of ordinary tokens");
	ids[0] = 0, ids[2] = 2;
	ok(tok_decode(&tok, ids, 3, true, &arena, &text, &len, &err) == FSI_OK && strcmp(text, "!?a") == 0,
	   "they are text when decoded");
	ok(!config_has(&tok, "_token\""), "and are not written as special tokens");
	drop_dir(dir);
}

static void
test_wordpiece(void)
{
	static const char *const configs[] = {
		"{}", "{\"do_lower_case\": false}", "{\"do_lower_case\": true, \"strip_accents\": false}",
		"{\"tokenize_chinese_chars\": false, \"do_lower_case\": false}",
	};

	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
	{
		char	   *dir = temp_dir();
		Tokenizer	tok,
					again;

		put_text(dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nre\n##fund\nthe\na\nb\n退\n款\n##款\nnaive\nnaïve\n");
		put_text(dir, "tokenizer_config.json", configs[i]);
		ok(build_open(dir, 0, &tok) == FSI_OK, "WordPiece with %s", configs[i]);
		drop_dir(dir);
		check(configs[i], &tok);
		ok(rewrite(&tok, tok.cls, tok.sep, true, &again) == FSI_OK && again.cls == 2 && again.sep == 3 && same_tokens(&tok, &again),
		   "with marks round a text");
		ok(marks.known && marks.first == 2 && marks.last == 3, "which are read back");
		ok(rewrite(&tok, tok.cls, TOK_NONE, true, &again) == FSI_OK && marks.first == 2 && marks.last == TOK_NONE, "one before it");
		ok(rewrite(&tok, TOK_NONE, tok.sep, true, &again) == FSI_OK && marks.first == TOK_NONE && marks.last == 3, "one after it");
		ok(rewrite(&tok, TOK_NONE, TOK_NONE, true, &again) == FSI_OK && marks.known && marks.first == TOK_NONE &&
		   marks.last == TOK_NONE && same_tokens(&tok, &again), "none");
	}
}

/* Special tokens that are text where they stand in one: only tokenizer_config.json can say so. */
static void
test_split_special(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok,
				again;

	put_text(dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[\n##cls\n##]\na\n");
	put_text(dir, "tokenizer_config.json", "{\"split_special_tokens\": true}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "split_special_tokens: %s", err.message);
	drop_dir(dir);
	ok(rewrite(&tok, tok.cls, tok.sep, true, &again) == FSI_OK && same_tokens(&tok, &again), "special tokens stay text");
	ok(rewrite(&tok, tok.cls, tok.sep, false, &again) == FSI_OK && !same_tokens(&tok, &again), "by tokenizer_config.json");
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	test_bpe();
	test_split_special();
	test_missing_byte();
	test_model_ids();
	test_wordpiece();
	ok(!merges_are_pairs, "merges are strings where tokens have no spaces");
	fsi_arena_free(&arena);
	return tap_done();
}
