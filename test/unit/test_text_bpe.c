/*
 * test_text_bpe.c
 *	  Byte-level BPE: words, merges, normalisers, special tokens, decoding.
 */
#include <jansson.h>

#include "text_bpe.h"

/* A text that goes on after another, a label too, has no space put before it. */
static void
test_within(const Tokenizer *tok)
{
	const FsiText line = {"intent:\n", 8},
				word = {"intent:", 7},
				none = {"", 0};
	TokIds		ids,
				spaced;

	ok(tok_encode_within(tok, "refund", 6, &arena, &ids, &err) == FSI_OK && ids.n == 1 &&
	   ids.ids[0] == tok_lookup(tok, "refund", 6), "nor before what goes on after another text");
	ok(prompt_label_ids(tok, (FsiText) {"refund", 6}, line, &arena, &ids, &err) == FSI_OK && ids.n == 1 &&
	   ids.ids[0] == tok_lookup(tok, "refund", 6), "or a label at the beginning of a line");
	ok(prompt_label_ids(tok, (FsiText) {"refund", 6}, word, &arena, &spaced, &err) == FSI_OK && spaced.n == 1 &&
	   prompt_label_ids(tok, (FsiText) {"refund", 6}, none, &arena, &ids, &err) == FSI_OK && ids.n == 1 &&
	   ids.ids[0] == spaced.ids[0] && ids.ids[0] != tok_lookup(tok, "refund", 6), "after a word, or alone, it has one");
}

static void
test_words(void)
{
	Tokenizer	tok;

	ok(build_bpe("null", BYTE_LEVEL, "", &tok) == FSI_OK, "a tokenizer.json builds: %s", err.message);
	ok(tok.kind == TOK_BPE && tok.bos == 0 && tok.eos == 1 && tok.pad == 2 && tok.unk == TOK_NONE &&
	   tok.n_vocab == BPE_SIZE, "its special tokens and size are found");
	check_tokens(&tok, "refund the refund", "refund|Ġthe|Ġrefund", "merges by rank");
	check_tokens(&tok, "the", "t|he", "the first word has no space");
	check_tokens(&tok, "don't we'll I'm they're I've he'd it's 'S",
				 "d|o|n|'|t|Ġ|w|e|'|l|l|Ġ|I|'|m|Ġthe|y|'|re|Ġ|I|'|v|e|Ġ|he|"
				 "'|d|Ġ|i|t|'|s|Ġ|'|S", "contractions");
	check_tokens(&tok, "re'refund", "re|'|re|fun|d", "'re ends a word also where letters go on");
	check_tokens(&tok, "a12b", "a|1|2|b", "letters and numbers part");
	check_tokens(&tok, "a  the", "a|Ġ|Ġthe", "the last of several spaces goes with the word");
	check_tokens(&tok, "a \n b", "a|Ġ|Ċ|Ġ|b", "spaces before other white space");
	check_tokens(&tok, "a\n\nb", "a|Ċ|Ċ|b", "newlines alone");
	check_tokens(&tok, "a   ", "a|ĠĠ|Ġ", "spaces at the end stay together");
	check_tokens(&tok, "退款", "éĢĢæ¬¾", "three-byte characters merge");
	check_tokens(&tok, "aaaaa", "aaaa|a", "equal ranks merge from the left");
	check_tokens(&tok, "pqp", "p|qp", "of two merges of one pair the later counts");
	check_tokens(&tok, "xyz", "x|y|z", "a token that no merges make is not used");
	check_tokens(&tok, "a<|eos|>b", "a|<|eos|>|b", "a special token in a text");
	check_tokens(&tok, "a<|pad|> \n b", "a|<|pad|>|b", "rstrip takes the spaces after it");
	check_tokens(&tok, "a \n<|bos|>b", "a|<|bos|>|b", "lstrip those before it");
	check_tokens(&tok, "a<|pad|> <|bos|>", "a|<|pad|>|<|bos|>", "but no token takes what another has");
	ok(strcmp(tokens_of(&tok, "a<|eos|>", 8, true), "a|<|||e|o|s|||>") == 0, "tok_encode_plain takes it as text");
	check_tokens(&tok, "", "", "empty text");

	ok(build_bpe("null", BYTE_LEVEL_SPACE, "", &tok) == FSI_OK, "add_prefix_space builds");
	check_tokens(&tok, "refund", "Ġrefund", "a space is put before the text");
	check_tokens(&tok, " refund", "Ġrefund", "but not a second one");
	check_tokens(&tok, "", "", "nor before an empty text");
	check_tokens(&tok, "the<|eos|>the", "Ġthe|<|eos|>|Ġthe", "each piece gets its own");
	test_within(&tok);

	ok(build_bpe("null", "{\"type\": \"Sequence\", \"pretokenizers\": [" BYTE_LEVEL "]}",
				 ", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", "
				 "\"end_of_word_suffix\": \"\", \"fuse_unk\": false, \"byte_fallback\": false, "
				 "\"ignore_merges\": false", &tok) == FSI_OK, "a sequence of one, all settings off");
	check_tokens(&tok, "refund", "refund", "gives the same");
}

static void
test_pairs_and_files(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;
	char		merges[4096] = "#version: 0.2\n";
	char		vocab[8192] = "{";

	put_text(dir, "tokenizer.json", bpe_json("null", BYTE_LEVEL, "", true));
	ok(build_open(dir, 0, &tok) == FSI_OK, "merges as pairs build");
	check_tokens(&tok, "the refund", "t|he|Ġrefund", "and give the same");
	drop_dir(dir);

	dir = temp_dir();
	for (int b = 0; b < 256; b++)
		sprintf(vocab + strlen(vocab), "\"%s%s\": %d, ", b == '"' || b == '\\' ? "\\" : "", byte_symbol(b), b);
	for (int i = 0; i < BPE_N_MERGES; i++)
	{
		sprintf(vocab + strlen(vocab), "\"%s%s\": %d, ", bpe_merges[i][0], bpe_merges[i][1], 256 + i);
		sprintf(merges + strlen(merges), "%s %s\r\n", bpe_merges[i][0], bpe_merges[i][1]);
	}
	strcat(vocab, "\"<|endoftext|>\": 300}");
	put_text(dir, "vocab.json", vocab);
	ok(build_open(dir, 0, &tok) == FSI_MISSING, "vocab.json without merges.txt is missing something: %s", err.message);
	put_text(dir, "merges.txt", merges);
	put_json(dir, "config.json", "{'bos_token_id': 50256, 'pad_token_id': 7}");
	ok(build_open(dir, 301, &tok) == FSI_OK, "vocab.json with merges.txt: %s", err.message);
	ok(tok.bos == 300 && tok.pad == 7, "ids of config.json count only inside the vocabulary and where no name stands");
	ok(tok.unk == 300 && tok.eos == 300, "GPT2Tokenizer's own names are assumed");
	put_json(dir, "special_tokens_map.json", "{'bos_token': '<|endoftext|>', 'eos_token': {'content': '<|endoftext|>'}}");
	ok(build_open(dir, 301, &tok) == FSI_OK && tok.bos == 300 && tok.eos == 300, "special_tokens_map.json names tokens");
	check_tokens(&tok, "the refund<|endoftext|>", "t|he|Ġrefund|<|endoftext|>", "tokens of vocab.json and merges.txt");
	ok(build_open(dir, 300, &tok) == FSI_INVALID, "an id past the model's rows is refused: %s", err.message);
	drop_dir(dir);
}

static void
test_normalizers(void)
{
	Tokenizer	tok;
	char	   *text;
	size_t		len;
	static const struct
	{
		const char *json;
		const char *in;
		const char *out;
	}			cases[] = {
		{"null", "Ａ e\xCC\x81", "Ａ e\xCC\x81"},
		{"{\"type\": \"NFC\"}", "Ａ e\xCC\x81", "Ａ \xC3\xA9"},
		{"{\"type\": \"NFD\"}", "Ａ \xC3\xA9", "Ａ e\xCC\x81"},
		{"{\"type\": \"NFKC\"}", "Ａ① e\xCC\x81 ﬁ", "A1 \xC3\xA9 fi"},
		{"{\"type\": \"NFKD\"}", "Ａ \xC3\xA9", "A e\xCC\x81"},
		{"{\"type\": \"Lowercase\"}", "ABC \xC3\x89 \xC4\xB0 \xCE\xA3", "abc \xC3\xA9 i\xCC\x87 σ"},
		{"{\"type\": \"StripAccents\"}", "\xC3\xA9 e\xCC\x81", "\xC3\xA9 e"},
		{"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"StripAccents\"}, "
		 "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Lowercase\"}]}]}", "\xC3\x89\xC3\xA9X", "eex"},
		{"{\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, "
		 "\"strip_accents\": null, \"lowercase\": true}", "\xC3\x89\x01\t退X", "e  退 x"},
		{"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKC\"}, {\"type\": \"Lowercase\"}]}",
		 "ＲＥＦＵＮＤ", "refund"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool		built = build_bpe(cases[i].json, BYTE_LEVEL, "", &tok) == FSI_OK &&
			tok_normalize(&tok, cases[i].in, strlen(cases[i].in), &arena, &text, &len, &err) == FSI_OK;

		ok(built && strcmp(text, cases[i].out) == 0 && len == strlen(text), "normaliser %.60s gives \"%s\"", cases[i].json,
		   built ? text : err.message);
	}
	check_tokens(&tok, "ＲＥＦＵＮＤ<|eos|>", "refund|<|eos|>", "special tokens stand before the normaliser");
}

static void
test_decode(void)
{
	Tokenizer	tok;
	TokIds		ids;
	char	   *text;
	size_t		len;
	uint64_t	seed = 3;
	int			wrong = 0;
	static const int32_t broken[] = {
		0, BPE_FIRST_BYTE + 0xE9, BPE_FIRST_BYTE + 0x80, BPE_FIRST_BYTE + 'a', BPE_FIRST_BYTE + 0xFF,
		BPE_FIRST_BYTE + 0xC0, 1, -7
	};
	static const int32_t zero[] = {
		BPE_FIRST_BYTE, BPE_FIRST_BYTE + 'a', BPE_FIRST_BYTE, BPE_FIRST_BYTE + 'b', BPE_FIRST_BYTE
	};

	build_bpe("null", BYTE_LEVEL, "", &tok);
	ok(tok_decode(&tok, broken, 8, true, &arena, &text, &len, &err) == FSI_OK &&
	   strcmp(text, "\xEF\xBF\xBD" "a\xEF\xBF\xBD\xEF\xBF\xBD") == 0, "broken sequences become U+FFFD, special tokens go");
	ok(tok_decode(&tok, zero, 5, true, &arena, &text, &len, &err) == FSI_OK && len == 11 && strlen(text) == 11 &&
	   strcmp(text, "\xEF\xBF\xBD" "a\xEF\xBF\xBD" "b\xEF\xBF\xBD") == 0, "so does byte 0");
	ok(tok_decode(&tok, broken, 1, false, &arena, &text, &len, &err) == FSI_OK && strcmp(text, "<|bos|>") == 0,
	   "special tokens stay when asked");
	for (int i = 0; i < 2000; i++)
	{
		char		in[200];
		size_t		n = 0;

		for (int j = (int) (next_random(&seed) % 30); j > 0; j--)
		{
			static const char *const bits[] = {
				"the ", "refund", "退", "款", " ", "\n",
				 "aaa", "\xC3\xA9", "😀", "12", "'re", "-", "\xEF\xBF\xBD", "\x01"
			};

			n += (size_t) sprintf(in + n, "%s", bits[next_random(&seed) % (sizeof(bits) / sizeof(bits[0]))]);
		}
		tok_encode(&tok, in, n, &arena, &ids, &err);
		tok_decode(&tok, ids.ids, ids.n, true, &arena, &text, &len, &err);
		wrong += len != n || memcmp(text, in, n) != 0;
	}
	ok(wrong == 0, "2,000 random texts come back as they were");
}

/* A prompt in parts, the white space before the message given to the message, has the ids of the whole. */
static void
test_prompt_parts(void)
{
	static const char *const intents[] = {"refund", "the"};
	static const size_t lens[] = {6, 3};
	static const char *const messages[] = {"refund the", "'re", "12", "退款", "!x", "<|eos|>"};
	PromptSpec	spec = {.n_intents = 2, .intents = intents, .intent_lens = lens};
	char	   *prefix,
			   *suffix;
	size_t		prefix_len,
				suffix_len,
				lead;
	Tokenizer	tok;
	int			wrong = 0;

	build_bpe("null", BYTE_LEVEL, "", &tok);
	prompt_render(&spec, &arena, &prefix, &prefix_len, &suffix, &suffix_len, &err);
	lead = text_space_after(prefix, prefix_len);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
	{
		char		whole[1024],
					row[256];
		TokIds		all,
					part[3];
		size_t		n = 0;

		snprintf(whole, sizeof(whole), "%s%s%s", prefix, messages[i], suffix);
		snprintf(row, sizeof(row), "%s%s", prefix + prefix_len - lead, messages[i]);
		tok_encode_plain(&tok, whole, strlen(whole), &arena, &all, &err);
		tok_encode_plain(&tok, prefix, prefix_len - lead, &arena, &part[0], &err);
		tok_encode_plain(&tok, row, strlen(row), &arena, &part[1], &err);
		tok_encode_plain(&tok, suffix, suffix_len, &arena, &part[2], &err);
		for (int p = 0; p < 3; p++)
		{
			wrong += n + part[p].n > all.n || memcmp(all.ids + n, part[p].ids, part[p].n * sizeof(int32_t)) != 0;
			n += part[p].n;
		}
		wrong += n != all.n;
	}
	ok(lead == 1 && wrong == 0, "a prompt in parts has the ids of the whole");
}

/* A long word (merged with a heap) must give what many short ones (scanned) would. */
static void
test_long_word(void)
{
	Tokenizer	tok;
	TokIds		ids;
	char	   *word = malloc(1 << 20);
	bool		same = true;

	build_bpe("null", BYTE_LEVEL, "", &tok);
	memset(word, 'a', 1 << 20);
	ok(tok_encode(&tok, word, 1 << 20, &arena, &ids, &err) == FSI_OK && ids.n == 1 << 18, "1 MB of one letter");
	for (size_t i = 0; i < 1 << 20; i += 6)
		memcpy(word + i, "refund", (1 << 20) - i < 6 ? (1 << 20) - i : 6);
	ok(tok_encode(&tok, word, 999996, &arena, &ids, &err) == FSI_OK && ids.n == 166666,
	   "1 MB of one word, again and again");
	for (size_t i = 0; i < ids.n; i++)
		same = same && ids.ids[i] == tok_lookup(&tok, "refund", 6);
	ok(same, "each time in the token of that word");
	memmove(word + 1, word, 999);
	word[0] = ' ';
	ok(tok_encode(&tok, word, 999 / 6 * 6 + 1, &arena, &ids, &err) == FSI_OK && ids.n == 166 &&
	   ids.ids[0] == tok_lookup(&tok, "Ġrefund", 8), "its first pair is looked at again after a merge behind it");

	/* scan and heap agree: words on both sides of the limit */
	{
		uint64_t	seed = 11;
		int			wrong = 0;

		for (int round = 0; round < 300; round++)
		{
			TokIds		ends;
			size_t		n = 100 + (size_t) (next_random(&seed) % 60);
			char	   *text;
			size_t		len;

			for (size_t i = 0; i < n; i++)
				word[i] = "aaarefundingth"[next_random(&seed) % 14];
			/* naive: the leftmost pair of lowest rank, over strings */
			tok_encode(&tok, word, n, &arena, &ids, &err);
			tok_decode(&tok, ids.ids, ids.n, true, &arena, &text, &len, &err);
			wrong += len != n || memcmp(text, word, n) != 0;
			memmove(word + n, word, n);
			tok_encode(&tok, word, n * 2, &arena, &ends, &err);
			/* away from the seam the halves of a doubled word merge as the word does */
			for (size_t i = 0; i + 12 < ids.n; i++)
				wrong += ids.ids[i] != ends.ids[i];
		}
		ok(wrong == 0, "scanned and heap-merged words agree");
	}
	free(word);
}

static void
test_reference(const char *shared)
{
	static const char *const keep[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
	char		path[1200];
	char	   *dirs[2];
	json_t	   *root,
			   *item;
	size_t		i;

	snprintf(path, sizeof(path), "%s/reference/models/tiny-gpt2-bpe", shared);
	dirs[0] = strdup(path);
	dirs[1] = temp_dir();
	for (i = 0; i < 3; i++)
	{
		uint8_t    *data;
		size_t		len;

		snprintf(path, sizeof(path), "%s/%s", dirs[0], keep[i]);
		if (fsi_read_file(path, 1 << 26, &arena, &data, &len, &err) == FSI_OK)
			put_bytes(dirs[1], keep[i], data, len);
	}
	snprintf(path, sizeof(path), "%s/reference.json", dirs[0]);
	root = json_load_file(path, 0, NULL);
	for (int d = 0; d < 2; d++)
	{
		Tokenizer	tok;
		int			wrong = 0;

		ok(build_open(dirs[d], 50257, &tok) == FSI_OK && tok.eos == 50256, "the real GPT-2 vocabulary from %s",
		   d == 0 ? "tokenizer.json" : "vocab.json and merges.txt");
		json_array_foreach(json_object_get(root, "prompts"), i, item)
		{
			const json_t *text = json_object_get(item, "prompt"),
					   *want = json_object_get(item, "ids");
			TokIds		ids;
			char	   *out;
			size_t		len;

			tok_encode(&tok, json_string_value(text), json_string_length(text), &arena, &ids, &err);
			tok_decode(&tok, ids.ids, ids.n, true, &arena, &out, &len, &err);
			wrong += ids.n != json_array_size(want) || strcmp(out, json_string_value(text)) != 0;
			for (size_t j = 0; j < ids.n && j < json_array_size(want); j++)
				wrong += ids.ids[j] != json_integer_value(json_array_get(want, j));
		}
		ok(wrong == 0 && json_array_size(json_object_get(root, "prompts")) == 20, "ids and texts of its 20 prompts");
	}
	json_decref(root);
	free(dirs[0]);
	drop_dir(dirs[1]);
}

int
main(void)
{
	const char *shared = tap_shared();

	fsi_arena_init(&arena, &fsi_host_malloc);
	test_words();
	test_pairs_and_files();
	test_normalizers();
	test_decode();
	test_prompt_parts();
	test_long_word();
	if (shared != NULL)
		test_reference(shared);
	else
		skip("no shared material: reference prompts");
	fsi_arena_free(&arena);
	return tap_done();
}
