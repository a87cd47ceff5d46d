/*
 * test_text_wordpiece.c
 *	  BERT's normaliser, words and WordPiece; golden ids where the shared material is.
 */
#include <jansson.h>

#include "text_help.h"

static const char vocab[] =
	"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
	"refund\nre\n##fund\n##ing\ncard\n_\narr\n##iv\n##al\n我\n要\n退\n款\n##款\n,\n.\n!\n-\n$\n"
	"cafe\ncaf\n##e\n##\xC3\xA9\ni\n##\xCC\x87\nI\n[\n]\nunk\nUNK\n；\n“\nx\n##x\nσ\nς\n10\n'\ns\ndon\nt\n";

static void
test_cased(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;

	put_text(dir, "vocab.txt", vocab);
	put_json(dir, "tokenizer_config.json", "{'do_lower_case': false, 'model_max_length': 1000000000000000019884624838656}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "a vocab.txt with tokenizer_config.json builds: %s", err.message);
	ok(tok.kind == TOK_WORDPIECE && tok.pad == 0 && tok.unk == 1 && tok.cls == 2 && tok.sep == 3 && tok.mask == 4 &&
	   tok.bos == TOK_NONE && tok.eos == TOK_NONE, "default special tokens are found");
	check_tokens(&tok, "refunding", "refund|##ing", "longest match first");
	check_tokens(&tok, "card_arrival", "card|_|arr|##iv|##al", "punctuation stands alone");
	check_tokens(&tok, "我要退款,退款", "我|要|退|款|,|退|款", "Han characters stand alone");
	check_tokens(&tok, "refundcard refund", "[UNK]|refund", "a word with a part that has no piece is unknown as a whole");
	check_tokens(&tok, "re\xEF\xBF\xBD""fund", "refund", "U+FFFD vanishes");
	check_tokens(&tok, "Refund refund", "[UNK]|refund", "upper case is kept when the files say so");
	check_tokens(&tok, "  refund\t\r\n card \xE3\x80\x80 ", "refund|card", "white space vanishes");
	check_tokens(&tok, "re\xC2\xAD""fund\xE2\x80\x8B card\x01", "refund|card", "control and format characters vanish");
	check_tokens(&tok, "caf\xC3\xA9", "caf|##\xC3\xA9", "accents are kept with case");
	check_tokens(&tok, "[UNK][SEP] [unk]", "[UNK]|[SEP]|[|unk|]", "special tokens in a text, case-sensitive");
	ok(strcmp(tokens_of(&tok, "[UNK] [SEP]", 11, true), "[|UNK|]|[|[UNK]|]") == 0,
	   "tok_encode_plain takes them as text");
	check_tokens(&tok, "card\xEF\xBC\x9B\xE2\x80\x9C$", "card|；|“|$", "punctuation of other scripts and $");
	check_tokens(&tok, "don't", "don|'|t", "apostrophes split");
	check_tokens(&tok, "", "", "empty text");
	drop_dir(dir);
}

/* vocab.txt is read as Python reads text: a line ends with \n, \r or both. */
static void
test_line_ends(void)
{
	static const char *const tokens[] = {"[UNK]", "a", "b", NULL, "c", NULL, "d e", "f"};
	char	   *dir = temp_dir();
	Tokenizer	tok;
	bool		same = true;

	put_text(dir, "vocab.txt", "[UNK]\ra\r\nb\n\rc\r\r\nd e\nf");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.n_vocab == 8, "lines of all ends: %s", err.message);
	for (int32_t id = 0; id < 8; id++)
		if (tokens[id] != NULL)
			same &= tok_lookup(&tok, tokens[id], strlen(tokens[id])) == id;
		else
			same &= tok_token(&tok, id, &(size_t) {0}) == NULL;
	ok(same, "their tokens have the ids that transformers gives them");
	drop_dir(dir);
}

static void
test_lower(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;
	char		word[202];

	put_text(dir, "vocab.txt", vocab);
	ok(build_open(dir, 0, &tok) == FSI_OK, "vocab.txt alone builds: %s", err.message);
	check_tokens(&tok, "REFUND Caf\xC3\xA9 cafe\xCC\x81", "refund|cafe|cafe", "lower-case and no accents by default");
	check_tokens(&tok, "\xC4\xB0 \xCE\xA3 \xCF\x82", "i|σ|ς", "I with dot; final sigma is not special");
	check_tokens(&tok, "[UNK]", "[UNK]", "a special token before lower-casing");

	memset(word, 'x', sizeof(word));
	word[100] = '\0';
	ok(strlen(tokens_of(&tok, word, 100, false)) == 1 + 99 * 4, "100 characters are a word");
	ok(strcmp(tokens_of(&tok, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
						"xxxxxxxxxxxxxxxxxxxx", 101, false), "[UNK]") == 0, "101 are unknown");

	put_json(dir, "tokenizer_config.json", "{'strip_accents': false}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "strip_accents false builds");
	check_tokens(&tok, "CAF\xC3\x89 \xC4\xB0", "caf|##\xC3\xA9|i|##\xCC\x87", "lower-case with accents; U+0130 makes two");
	put_json(dir, "tokenizer_config.json", "{'tokenize_chinese_chars': false}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "tokenize_chinese_chars false builds");
	check_tokens(&tok, "退款", "退|##款", "Han characters in a word");
	drop_dir(dir);
}

static void
test_decode(void)
{
	static const struct
	{
		const char *text;
		const char *want;
	}			cases[] = {
		{"refunding card", "refunding card"}, {"don't , card!", "don't, card!"}, {"[CLS] 我要 [UNK]", "我 要 [UNK]"},
		{"", ""}, {"card.", "card."},
	};
	char	   *dir = temp_dir();
	Tokenizer	tok;
	TokIds		ids;
	char	   *text;
	size_t		len;
	static const int32_t wild[] = {-1, 5, 1000000, 8, INT32_MAX, INT32_MIN};

	put_text(dir, "vocab.txt", vocab);
	build_open(dir, 0, &tok);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		tok_encode(&tok, cases[i].text, strlen(cases[i].text), &arena, &ids, &err);
		if (tok_decode(&tok, ids.ids, ids.n, true, &arena, &text, &len, &err) != FSI_OK)
			text = err.message;
		ok(strcmp(text, cases[i].want) == 0, "decode \"%s\" to \"%s\"", cases[i].text, text);
	}
	ok(tok_decode(&tok, wild, 6, true, &arena, &text, &len, &err) == FSI_OK && strcmp(text, "refunding") == 0,
	   "ids outside the vocabulary are skipped");
	drop_dir(dir);
}

/* All texts of tokens.json in one case mode. */
static void
test_golden(const char *shared, bool lower)
{
	char	   *dir = temp_dir();
	char		path[1200];
	uint8_t    *data;
	size_t		len,
				i,
				wrong = 0,
				wrong_text = 0;
	json_t	   *all,
			   *item;
	Tokenizer	tok;

	snprintf(path, sizeof(path), "%s/reference/tokenizer/vocab-21128.txt", shared);
	if (fsi_read_file(path, 1 << 26, &arena, &data, &len, &err) == FSI_OK)
		put_bytes(dir, "vocab.txt", data, len);
	snprintf(path, sizeof(path), "%s/reference/tokenizer/tokenizer_config.json", shared);
	if (!lower && fsi_read_file(path, 1 << 26, &arena, &data, &len, &err) == FSI_OK)
		put_bytes(dir, "tokenizer_config.json", data, len);
	snprintf(path, sizeof(path), "%s/reference/tokenizer/tokens.json", shared);
	all = json_load_file(path, JSON_ALLOW_NUL, NULL);
	ok(build_open(dir, 21128, &tok) == FSI_OK, "the published vocabulary builds, %s", lower ? "lower-cased" : "cased");
	json_array_foreach(all, i, item)
	{
		json_t	   *text = json_object_get(item, "text"),
				   *want = json_object_get(json_object_get(item, lower ? "lower" : "cased"), "ids"),
				   *decoded = json_object_get(item, "decode");
		TokIds		ids;
		bool		same;
		char	   *out;

		tok_encode(&tok, json_string_value(text), json_string_length(text), &arena, &ids, &err);
		same = ids.n + 2 == json_array_size(want);
		for (size_t j = 0; same && j < ids.n; j++)
			same = ids.ids[j] == json_integer_value(json_array_get(want, j + 1));
		if (!same)
			diag("ids differ: %s", json_string_value(text));
		wrong += !same;
		if (lower)
		{
			tok_decode(&tok, ids.ids, ids.n, false, &arena, &out, &len, &err);
			if (strcmp(out, json_string_value(decoded)) != 0)
			{
				wrong_text++;
				diag("decoded %s", out);
				diag("wanted  %s", json_string_value(decoded));
			}
		}
	}
	ok(json_array_size(all) == 50 && wrong == 0, "ids of all 50 golden texts, %s", lower ? "lower-cased" : "cased");
	if (lower)
		ok(wrong_text == 0, "their decoded texts");
	json_decref(all);
	drop_dir(dir);
}

/* The author's own test prompt, ids from the notes on the published model. */
static void
test_golden_prompt(const char *shared)
{
	static const char prompt[] =
		"意图识别。不确定时输出：不知道。\n\nExamples:\n------------\ntext: 打开风扇\nintent: 开启\n------------\n"
		"text: 关闭电视\nintent: 关闭\n------------\ntext: 天上一天\nintent:";
#define DASHES 118, 118, 118, 118, 118, 118, 118, 118, 118, 118, 118, 118
	static const int32_t want[] = {
		2692, 1745, 6399, 1166, 511, 679, 4802, 2137, 3198, 6783, 1139, 8038, 679, 4761, 6887, 511, 100, 131, DASHES,
		10539, 131, 2802, 2458, 7599, 2794, 10673, 8936, 131, 2458, 1423, DASHES, 10539, 131, 1068, 7308, 4510, 6228,
		10673, 8936, 131, 1068, 7308, DASHES, 10539, 131, 1921, 677, 671, 1921, 10673, 8936, 131
	};
	static const char *const intents[] = {"开启", "关闭"};
	static const size_t lens[] = {6, 6};
	static const PromptExample examples[] = {
		{"打开风扇", 12, "开启", 6}, {"关闭电视", 12, "关闭", 6}
	};
	PromptSpec	spec = {
		.n_intents = 2, .intents = intents, .intent_lens = lens, .n_examples = 2, .examples = examples,
		.other = "不知道", .other_len = 9
	};
	char	   *dir = temp_dir(),
			   *prefix,
			   *suffix,
				whole[1024];
	char		path[1200];
	uint8_t    *data;
	size_t		len,
				prefix_len,
				suffix_len;
	Tokenizer	tok;
	TokIds		ids;

	snprintf(path, sizeof(path), "%s/reference/tokenizer/vocab-21128.txt", shared);
	if (fsi_read_file(path, 1 << 26, &arena, &data, &len, &err) == FSI_OK)
		put_bytes(dir, "vocab.txt", data, len);
	put_json(dir, "tokenizer_config.json", "{'do_lower_case': false}");
	build_open(dir, 21128, &tok);
	tok_encode(&tok, prompt, strlen(prompt), &arena, &ids, &err);
	ok(same_ids(&ids, want, sizeof(want) / sizeof(want[0])), "ids of the published test prompt");

	ok(prompt_render(&spec, &arena, &prefix, &prefix_len, &suffix, &suffix_len, &err) == FSI_OK, "it is rendered");
	snprintf(whole, sizeof(whole), "%s%s%s", prefix, "天上一天", suffix);
	ok(strcmp(whole, prompt) == 0, "the built-in Chinese few-shot template gives that prompt");
	drop_dir(dir);
}

int
main(void)
{
	const char *shared = tap_shared();

	fsi_arena_init(&arena, &fsi_host_malloc);
	test_cased();
	test_line_ends();
	test_lower();
	test_decode();
	if (shared != NULL)
	{
		test_golden(shared, false);
		test_golden(shared, true);
		test_golden_prompt(shared);
	}
	else
		skip("no shared material: golden ids");
	fsi_arena_free(&arena);
	return tap_done();
}
