/*
 * test_text_source.c
 *	  Tokenizer directories that are damaged, incomplete or of kinds that are not run.
 */
#include "text_bpe.h"

#include <limits.h>

#include "../../src/text/tokblob.h"

/* Build from a directory with one file, which goes; check status and a part of the message. */
static void
check_dir(char *dir, const char *name, FsiStatus status, const char *part)
{
	Tokenizer	tok;
	FsiStatus	got;

	got = build_open(dir, 0, &tok);
	if (!ok(got == status && (part == NULL || strstr(err.message, part) != NULL) &&
			(got != FSI_UNSUPPORTED || err.hint[0] != '\0'), "%s: %s", name, status == FSI_OK ? "builds" : err.message))
		diag("status %d, wanted %d with \"%s\": %s", got, status, part != NULL ? part : "", err.message);
	drop_dir(dir);
}

static void
check_file(const char *name, const char *content, FsiStatus status, const char *part)
{
	char	   *dir = temp_dir();

	if (strstr(name, ".json") != NULL)
		put_json(dir, name, content);
	else
		put_text(dir, name, content);
	check_dir(dir, name, status, part);
}

static void
check_json(const char *normalizer, const char *pre_tokenizer, const char *members, FsiStatus status, const char *part)
{
	char	   *dir = temp_dir();

	put_text(dir, "tokenizer.json", bpe_json(normalizer, pre_tokenizer, members, false));
	check_dir(dir, "tokenizer.json", status, part);
}

static void
test_settings(void)
{
	check_json("{\"type\": \"Precompiled\", \"x\": 1}", BYTE_LEVEL, "", FSI_UNSUPPORTED, "\"Precompiled\"");
	check_json("{\"type\": \"Lowercase\", \"strange\": 1}", BYTE_LEVEL, "", FSI_UNSUPPORTED, "\"strange\"");
	check_json("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Replace\"}]}", BYTE_LEVEL, "", FSI_UNSUPPORTED, "\"Replace\"");
	check_json("null", "{\"type\": \"Metaspace\"}", "", FSI_UNSUPPORTED, "\"Metaspace\"");
	check_json("null", "null", "", FSI_UNSUPPORTED, "no pre_tokenizer");
	check_json("null", "{\"type\": \"Sequence\", \"pretokenizers\": []}", "", FSI_UNSUPPORTED, "sequence of 0");
	check_json("null", "{\"type\": \"ByteLevel\", \"strange\": 1}", "", FSI_UNSUPPORTED, "\"strange\"");
	check_json("null", "{\"type\": \"ByteLevel\", \"use_regex\": false}", "", FSI_OK, NULL);
	check_json("null", BYTE_LEVEL, ", \"dropout\": 0.1", FSI_UNSUPPORTED, "\"dropout\"");
	check_json("null", BYTE_LEVEL, ", \"byte_fallback\": true", FSI_UNSUPPORTED, "\"byte_fallback\"");
	check_json("null", BYTE_LEVEL, ", \"ignore_merges\": true", FSI_UNSUPPORTED, "\"ignore_merges\"");
	check_json("null", BYTE_LEVEL, ", \"end_of_word_suffix\": \"</w>\"", FSI_UNSUPPORTED, "\"end_of_word_suffix\"");
	check_json("null", BYTE_LEVEL, ", \"strange\": 1", FSI_UNSUPPORTED, "\"strange\"");
}

/* What is no switch, or no list, where one must be: taken for off or empty, other ids would come of it. */
static void
test_wrong_types(void)
{
	static const char wordpiece[] = "{'added_tokens': %s, 'normalizer': %s, 'pre_tokenizer': {'type': 'BertPreTokenizer'}, "
		"'post_processor': %s, 'decoder': %s, 'model': {'type': 'WordPiece', 'unk_token': '[UNK]', 'vocab': {'[UNK]': 0}}}";
	static const struct
	{
		const char *added,
				   *normalizer,
				   *post_processor,
				   *decoder,
				   *part;		/* of the message; NULL: builds */
	}			cases[] = {
		{"[]", "{'type': 'BertNormalizer', 'lowercase': true, 'strip_accents': null}", "null", "null", NULL},
		{"[]", "{'type': 'BertNormalizer', 'lowercase': 'true'}", "null", "null", "\"lowercase\""},
		{"[]", "{'type': 'BertNormalizer', 'clean_text': 1}", "null", "null", "\"clean_text\""},
		{"[]", "{'type': 'BertNormalizer', 'handle_chinese_chars': 'x'}", "null", "null", "\"handle_chinese_chars\""},
		{"[]", "{'type': 'BertNormalizer', 'strip_accents': []}", "null", "null", "\"strip_accents\""},
		{"[]", "{'type': 'Sequence', 'normalizers': {'0': {'type': 'NFC'}}}", "null", "null", "\"normalizers\""},
		{"[]", "{'type': 'Sequence'}", "null", "null", "\"normalizers\""},
		{"{'0': {'id': 0, 'content': '[UNK]'}}", "null", "null", "null", "\"added_tokens\""},
		{"[{'id': 0, 'content': '[UNK]', 'special': 'yes'}]", "null", "null", "null", "\"special\""},
		{"[{'id': 0, 'content': '[UNK]', 'lstrip': 1}]", "null", "null", "null", "\"lstrip\""},
		{"[{'id': 0, 'content': '[UNK]', 'rstrip': {}}]", "null", "null", "null", "\"rstrip\""},
		{"[{'id': 0, 'content': '[UNK]', 'normalized': 0}]", "null", "null", "null", "\"normalized\""},
		{"[{'id': 0, 'content': '[UNK]', 'single_word': 'no'}]", "null", "null", "null", "\"single_word\""},
		{"[]", "null", "{'type': 'Sequence', 'processors': 'x'}", "null", "\"processors\""},
		{"[]", "null", "null", "{'type': 'WordPiece', 'cleanup': 1}", "\"cleanup\""},
	};
	char		text[1000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		snprintf(text, sizeof(text), wordpiece, cases[i].added, cases[i].normalizer, cases[i].post_processor, cases[i].decoder);
		check_file("tokenizer.json", text, cases[i].part == NULL ? FSI_OK : FSI_CORRUPT, cases[i].part);
	}
	check_json("null", "{\"type\": \"ByteLevel\", \"use_regex\": \"no\"}", "", FSI_CORRUPT, "\"use_regex\"");
	check_json("null", "{\"type\": \"ByteLevel\", \"add_prefix_space\": 1}", "", FSI_CORRUPT, "\"add_prefix_space\"");
}

static void
test_tokenizer_json(void)
{
	char		deep[6000];
	static char many[(1 << 22) + 2];

	check_file("tokenizer.json", "", FSI_CORRUPT, "not valid JSON");
	memset(many, '[', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	check_file("tokenizer.json", many, FSI_LIMIT, "values");
	check_file("tokenizer.json", "[]", FSI_CORRUPT, "JSON object");
	check_file("tokenizer.json", "{}", FSI_CORRUPT, "no model");
	check_file("tokenizer.json", "{'strange': 1, 'model': {}}", FSI_UNSUPPORTED, "\"strange\"");
	check_file("tokenizer.json", "{'model': {'type': 'WordLevel', 'vocab': {}}}", FSI_UNSUPPORTED, "\"WordLevel\"");
	check_file("tokenizer.json", "{'model': {'type': 'Unigram', 'vocab': []}}", FSI_UNSUPPORTED, "\"Unigram\"");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': [], 'merges': []}}", FSI_CORRUPT, "vocabulary");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 'b'}, 'merges': []}}", FSI_CORRUPT, "integer id");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 0.5}, 'merges': []}}", FSI_CORRUPT, "integer id");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': -1}, 'merges': []}}", FSI_INVALID, "-1");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 4000000000}, 'merges': []}}", FSI_INVALID, "4000000000");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 1e300}, 'merges': []}}", FSI_CORRUPT, "integer id");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 0, 'b': 0}, 'merges': []}}", FSI_INVALID, "twice");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 0}}}", FSI_CORRUPT, "merges");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 0}, 'merges': ['a']}}", FSI_CORRUPT, "two tokens");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 0}, 'merges': [['a', 1]]}}", FSI_CORRUPT, "two tokens");
	check_file("tokenizer.json", "{'model': {'type': 'BPE', 'vocab': {'a': 0}, 'merges': ['a a']}}", FSI_INVALID, "merge 0");
	check_file("tokenizer.json", "{'model': {'type': 'WordPiece', 'vocab': {'a': 0}}, 'pre_tokenizer': {'type': "
			   "'BertPreTokenizer'}}", FSI_INVALID, "unknown words");
	check_file("tokenizer.json", "{'model': {'type': 'WordPiece', 'vocab': {'[UNK]': 0}, 'continuing_subword_prefix': "
			   "'@@'}}", FSI_UNSUPPORTED, "continuing_subword_prefix");
	check_file("tokenizer.json", "{'model': {'type': 'WordPiece', 'vocab': {'[UNK]': 0}, 'max_input_chars_per_word': "
			   "100000}}", FSI_UNSUPPORTED, "max_input_chars_per_word");
	check_file("tokenizer.json", "{'model': {'type': 'WordPiece', 'vocab': {'[UNK]': 0}}, 'pre_tokenizer': {'type': "
			   "'Whitespace'}}", FSI_UNSUPPORTED, "\"Whitespace\"");
	check_file("tokenizer.json", "{'added_tokens': [{'id': 0, 'content': '[UNK]', 'single_word': true}], 'model': {'type': "
			   "'WordPiece', 'unk_token': '[UNK]', 'vocab': {'[UNK]': 0}}, 'pre_tokenizer': {'type': 'BertPreTokenizer'}}",
			   FSI_UNSUPPORTED, "single_word");
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	check_file("tokenizer.json", deep, FSI_CORRUPT, "not valid JSON");
}

static void
test_other_files(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;

	ok(build_open(dir, 0, &tok) == FSI_MISSING && err.hint[0] != '\0', "an empty directory: %s", err.message);
	ok(build_open("/nonexistent/dir", 0, &tok) == FSI_MISSING, "no directory: %s", err.message);
	drop_dir(dir);
	check_file("vocab.txt", "", FSI_INVALID, "empty vocabulary");
	check_file("vocab.txt", "[UNK]\n\xFF\n", FSI_CORRUPT, "byte 6");
	check_file("vocab.txt", "a\nb\n", FSI_INVALID, "unknown words");

	dir = temp_dir();
	put_text(dir, "vocab.txt", "");
	put_json(dir, "tokenizer_config.json", "{'unk_token': '[UNK]', 'sep_token': '[SEP]'}");
	ok(build_open(dir, 4, &tok) == FSI_INVALID, "an empty vocabulary, though tokens have names elsewhere: %s", err.message);
	drop_dir(dir);

	dir = temp_dir();
	put_text(dir, "vocab.txt", "[UNK]\r\na\r\n\r\nb");
	ok(build_open(dir, 4, &tok) == FSI_OK && tok_lookup(&tok, "b", 1) == 3 && tok_lookup(&tok, "", 0) == TOK_NONE,
	   "lines of Windows, an empty line and no end of line");
	ok(build_open(dir, 3, &tok) == FSI_INVALID, "more tokens than the model has: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{'do_basic_tokenize': false}");
	ok(build_open(dir, 4, &tok) == FSI_UNSUPPORTED, "a setting that changes words: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{'tokenizer_class': 'BertJapaneseTokenizer'}");
	ok(build_open(dir, 4, &tok) == FSI_UNSUPPORTED, "a tokenizer of another kind: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{'added_tokens_decoder': {'4': {'content': '<new>', 'special': true}, "
			 "'0': {'content': '[UNK]', 'special': true}}, 'eos_token': '<new>'}");
	ok(build_open(dir, 5, &tok) == FSI_OK && tok.n_vocab == 5 && tok.eos == 4, "added_tokens_decoder brings a new token");
	check_tokens(&tok, "a<new>a <NEW>", "a|<new>|a|[UNK]|[UNK]|[UNK]", "which is found in texts");
	put_json(dir, "tokenizer_config.json", "{'added_tokens_decoder': {'x4': {'content': '<new>'}}}");
	ok(build_open(dir, 5, &tok) == FSI_CORRUPT, "an id that is no number: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{}");
	put_json(dir, "added_tokens.json", "{'<new>': 4, '[PAD]': 5}");
	put_json(dir, "special_tokens_map.json", "{'pad_token': '[PAD]', 'additional_special_tokens': []}");
	ok(build_open(dir, 6, &tok) == FSI_OK && tok.n_vocab == 6 && tok.pad == 5, "added_tokens.json brings new tokens");
	check_tokens(&tok, "a<new>a[PAD]a", "a|<new>|a|[PAD]|a", "which are found in texts");
	ok(strcmp(tokens_of(&tok, "a<new>[PAD]", 11, true), "a|<new>|[UNK]|[UNK]|[UNK]") == 0, "special where the map names them");
	put_json(dir, "special_tokens_map.json", "{'mask_token': {'content': '[PAD]', 'rstrip': true, 'normalized': false}}");
	ok(build_open(dir, 6, &tok) == FSI_OK && tok.mask == 5, "with the flags that the map gives it: %s", err.message);
	check_tokens(&tok, "a[PAD] a", "a|[PAD]|a", "it is found");
	ok(tok_flags(&tok, 5) == (TOK_SPECIAL | TOK_ADDED | TOK_RSTRIP) && tok_flags(&tok, 4) == TOK_ADDED, "special, and takes the spaces after it");
	put_json(dir, "added_tokens.json", "{'<new>': '4'}");
	ok(build_open(dir, 6, &tok) == FSI_CORRUPT, "an id that is a string: %s", err.message);
	put_json(dir, "added_tokens.json", "{'<new>': 4.5}");
	ok(build_open(dir, 6, &tok) == FSI_CORRUPT, "half an id: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{");
	ok(build_open(dir, 5, &tok) == FSI_CORRUPT, "a damaged tokenizer_config.json: %s", err.message);
	drop_dir(dir);
}

/* Special tokens that are named and have no id: the next ones, in transformers' order, where the model has rows. */
static void
test_named(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;

	put_json(dir, "vocab.json", "{'a': 0, 'b': 1, '<|endoftext|>': 2}");
	put_text(dir, "merges.txt", "");
	put_json(dir, "special_tokens_map.json", "{'pad_token': '<pad>', 'eos_token': {'content': '<end>', 'rstrip': true}, "
			 "'bos_token': '<|endoftext|>', 'mask_token': '', 'additional_special_tokens': ['<more>', '<pad>']}");
	ok(build_open(dir, 8, &tok) == FSI_OK && tok.n_vocab == 6 && tok.bos == 2 && tok.eos == 3 && tok.pad == 4 &&
	   tok.mask == TOK_NONE && tok_lookup(&tok, "<more>", 6) == 5, "named tokens without ids get the next ones");
	check_tokens(&tok, "a<end> b<pad>a<more>", "a|<end>|b|<pad>|a|<more>", "they are found in texts");
	ok(build_open(dir, 4, &tok) == FSI_OK && tok.n_vocab == 4 && tok.eos == 3 && tok.pad == TOK_NONE,
	   "those that the model has no row for have none");
	ok(build_open(dir, 3, &tok) == FSI_OK && tok.n_vocab == 3 && tok.eos == 2, "then the usual token ends a text");
	drop_dir(dir);

	dir = temp_dir();
	put_text(dir, "vocab.txt", "[UNK]\na\nb\n");
	put_json(dir, "tokenizer_config.json", "{'sep_token': '<s>', 'cls_token': '<c>'}");
	ok(build_open(dir, 6, &tok) == FSI_OK && tok.n_vocab == 5 && tok.sep == 3 && tok.cls == 4, "of a vocab.txt too");
	check_tokens(&tok, "a<s>b<c>", "a|<s>|b|<c>", "they are found in texts");
	drop_dir(dir);
}

/* Added tokens that begin with spaces, after one that strips the spaces after it; what tokenizers gives. */
static void
test_overlap(void)
{
	static const char *const cases[][2] = {
		{"a b  x", "a|Ġ|b|  |x"}, {"ab   xa", "a|b|  | x|a"}, {"b    a", "b|  |  |a"}, {"b     x", "b|  |  | x"},
		{"b   q  a", "b|  | q|  |a"}, {"a q  q  q x", "a| q|  |q|  |q| x"},
		/* nothing is left of a line's end that another one, or b, has taken with it */
		{"a\n\n\na", "a|\n|a"}, {"b \n\n a", "b|a"}, {"a\n \na", "a|\n|a"}, {"\n\n", "\n"},
	};
	char	   *dir = temp_dir();
	Tokenizer	tok;

	put_json(dir, "tokenizer.json", "{'added_tokens': [{'id': 4, 'content': 'b', 'rstrip': true, 'normalized': false},"
			 "{'id': 5, 'content': ' x', 'normalized': false}, {'id': 6, 'content': '  ', 'normalized': false},"
			 "{'id': 7, 'content': ' q', 'lstrip': true, 'rstrip': true, 'normalized': false},"
			 "{'id': 8, 'content': '\\n', 'lstrip': true, 'rstrip': true, 'normalized': false}],"
			 "'pre_tokenizer': " BYTE_LEVEL ", 'model': {'type': 'BPE', 'vocab': {'a': 0, 'q': 1, 'x': 2, "
			 "'\u0120': 3}, 'merges': []}}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "added tokens of spaces: %s", err.message);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_tokens(&tok, cases[i][0], cases[i][1], cases[i][0]);
	drop_dir(dir);
}

/* Whose word counts on a role: transformers' (4.57) from_pretrained(). */
static void
test_map(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;

	put_text(dir, "vocab.txt", "[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\na\nb\n");
	put_json(dir, "special_tokens_map.json", "{'cls_token': 'a'}");
	put_json(dir, "tokenizer_config.json", "{'cls_token': 'b'}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.cls == 5, "special_tokens_map.json goes before tokenizer_config.json: %d", (int) tok.cls);
	put_json(dir, "tokenizer_config.json", "{'sep_token': 'b', 'added_tokens_decoder': {'5': {'content': 'a'}}}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.cls == 1 && tok.sep == 6,
	   "but is not asked where that has added_tokens_decoder: %d", (int) tok.cls);
	check_tokens(&tok, "[CLS]", "[CLS]", "[CLS] is the special token then");
	drop_dir(dir);
}

/* Added tokens that the normaliser makes equal: which one tokenizers (0.22) finds. */
static void
test_equal_added(void)
{
	static const struct
	{
		const char *special[3];	/* of AA, aA, aa */
		const char *want;
	}			cases[] = {
		{{"false", "false", "false"}, "AA"}, {{"false", "true", "false"}, "aA"}, {{"false", "false", "true"}, "aa"},
		{{"true", "false", "true"}, "AA"}, {{"false", "true", "true"}, "aA"},
	};
	char	   *dir = temp_dir();
	char		json[1000],
				want[16];
	Tokenizer	tok;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		snprintf(json, sizeof(json), "{'added_tokens': [{'id': 1, 'content': 'AA', 'normalized': true, 'special': %s},"
				 "{'id': 2, 'content': 'aA', 'normalized': true, 'special': %s},"
				 "{'id': 3, 'content': 'aa', 'normalized': true, 'special': %s}], 'normalizer': {'type': 'Lowercase'},"
				 "'pre_tokenizer': " BYTE_LEVEL ", 'model': {'type': 'BPE', 'vocab': {'b': 0}, 'merges': []}}",
				 cases[i].special[0], cases[i].special[1], cases[i].special[2]);
		put_json(dir, "tokenizer.json", json);
		ok(build_open(dir, 0, &tok) == FSI_OK, "added tokens AA, aA, aa: %s", err.message);
		snprintf(want, sizeof(want), "b|%s|b", cases[i].want);
		check_tokens(&tok, "bAab", want, "of added tokens that are equal in lower case the first special one, else the first");
	}
	drop_dir(dir);
}

/* tokenizer.json and tokenizer_config.json that disagree; added tokens that are normalised. */
static void
test_disagreement(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;

	put_text(dir, "tokenizer.json", bpe_json("null", BYTE_LEVEL, "", false));
	put_json(dir, "tokenizer_config.json", "{'add_prefix_space': true}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "a tokenizer_config.json beside tokenizer.json");
	check_tokens(&tok, "refund", "Ġrefund", "its add_prefix_space stands");
	drop_dir(dir);

	dir = temp_dir();
	put_json(dir, "tokenizer.json", "{'added_tokens': ["
			 "{'id': 5, 'content': '<Café>', 'normalized': true, 'lstrip': true, 'special': false},"
			 "{'id': 0, 'content': '[UNK]', 'normalized': false, 'special': true}],"
			 "'normalizer': {'type': 'BertNormalizer', 'lowercase': true}, 'pre_tokenizer': {'type': 'BertPreTokenizer'},"
			 "'post_processor': {'type': 'TemplateProcessing', 'single': [{'SpecialToken': {'id': 'a', 'type_id': 0}},"
			 "{'Sequence': {'id': 'A', 'type_id': 0}}, {'SpecialToken': {'id': 'b', 'type_id': 0}}]},"
			 "'model': {'type': 'WordPiece', 'unk_token': '[UNK]', 'vocab': {'[UNK]': 0, 'a': 1, 'b': 2, '##b': 3}}}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.cls == 1 && tok.sep == 2 && tok.unk == 0 && tok.n_vocab == 6,
	   "a WordPiece tokenizer.json: %s", err.message);
	check_tokens(&tok, "AB  <CAFE\xCC\x81>b ab", "a|##b|<Café>|b|a|##b",
				 "a normalised added token is found in normalised text and takes the spaces before it");
	ok(tok_token(&tok, 4, &(size_t) {0}) == NULL, "an id that was left out has no token");
	put_json(dir, "tokenizer_config.json", "{'tokenizer_class': 'BertTokenizer', 'do_lower_case': false}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "tokenizer_config.json of a BertTokenizer");
	check_tokens(&tok, "ab AB", "a|##b|[UNK]", "its do_lower_case stands");
	put_json(dir, "tokenizer_config.json", "{'tokenizer_class': 'PreTrainedTokenizerFast', 'do_lower_case': false}");
	ok(build_open(dir, 0, &tok) == FSI_OK, "tokenizer_config.json of a PreTrainedTokenizerFast");
	check_tokens(&tok, "ab AB", "a|##b|a|##b", "its do_lower_case does not");
	drop_dir(dir);
}

/* Added tokens of the other files beside tokenizer.json: as transformers has them. */
static void
test_added_beside(void)
{
	char	   *dir = temp_dir();
	Tokenizer	tok;

	put_json(dir, "tokenizer.json", "{'added_tokens': [{'id': 4, 'content': '<end>', 'normalized': false, 'special': true}],"
			 "'pre_tokenizer': " BYTE_LEVEL ", 'model': {'type': 'BPE', 'vocab': {'a': 0, 'b': 1, '<': 2, "
			 "'\u0120': 3}, 'merges': []}}");
	put_json(dir, "added_tokens.json", "{'<old>': 5, '<end>': 4}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.n_vocab == 6 && tok_flags(&tok, 4) == (TOK_SPECIAL | TOK_ADDED),
	   "added_tokens.json beside tokenizer.json: %s", err.message);
	check_tokens(&tok, "a<old> <end> b", "a|<old>|Ġ|<end>|Ġ|b", "its tokens are found, the others keep their flags");
	put_json(dir, "tokenizer_config.json", "{'added_tokens_decoder': {'5': {'content': '<new>', 'special': true}, "
			 "'4': {'content': '<end>', 'lstrip': true, 'rstrip': true, 'normalized': false, 'special': true}}, "
			 "'extra_special_tokens': {'image_token': '<image>'}}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok.n_vocab == 7 && tok_lookup(&tok, "<image>", 7) == 6,
	   "added_tokens_decoder beside tokenizer.json: %s", err.message);
	check_tokens(&tok, "a<new> <end> b<old>a<image>a", "a|<new>|<end>|b|<|a|<image>|a", "its tokens and flags count, added_tokens.json does not");
	put_json(dir, "tokenizer_config.json", "{'added_tokens_decoder': {'5': {'content': '<end>'}}}");
	ok(build_open(dir, 0, &tok) == FSI_INVALID, "one token, two ids: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{'extra_special_tokens': ['<one>', '<old>']}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok_lookup(&tok, "<one>", 5) == 6 &&
	   tok_flags(&tok, 5) == (TOK_SPECIAL | TOK_ADDED), "extra_special_tokens, a list: %s", err.message);
	put_json(dir, "tokenizer_config.json", "{'split_special_tokens': true, 'added_tokens_decoder': {'5': {'content': '<old>'}}}");
	ok(build_open(dir, 0, &tok) == FSI_OK && tok_flags(&tok, 4) == (TOK_SPECIAL | TOK_ADDED), "split_special_tokens: %s", err.message);
	check_tokens(&tok, "a<old><end>b", "a|<old>|<|b", "a special token is text, another added one is found");
	drop_dir(dir);
}

#define MARKED(post) "{'added_tokens': [{'id': 4, 'content': '<s>', 'special': true}], 'pre_tokenizer': " BYTE_LEVEL \
	", 'post_processor': " post ", 'model': {'type': 'BPE', 'vocab': {'a': 0, 'b': 1, 'c': 2, '\u0120': 3}, 'merges': []}}"
#define TEMPLATE(single) "{'type': 'TemplateProcessing', 'single': [" single "], 'special_tokens': " \
	"{'S': {'id': 'S', 'ids': [4], 'tokens': ['<s>']}, 'E': {'id': 'E', 'ids': [1], 'tokens': ['b']}, " \
	"'T': {'id': 'T', 'ids': [1, 2], 'tokens': ['b', 'c']}, 'X': {'id': 'X', 'ids': [9], 'tokens': ['x']}}}"
#define SPECIAL(id) "{'SpecialToken': {'id': '" id "', 'type_id': 0}}"
#define TEXT "{'Sequence': {'id': 'A', 'type_id': 0}}"

/* The tokens that a tokenizer puts round a text. */
static void
test_marks(void)
{
	static const struct
	{
		const char *json;
		int32_t		first,
					last;
		FsiStatus	status;
	}			cases[] = {
		{MARKED("null"), TOK_NONE, TOK_NONE, FSI_OK},
		{MARKED(TEMPLATE(TEXT)), TOK_NONE, TOK_NONE, FSI_OK},
		{MARKED(TEMPLATE(SPECIAL("S") "," TEXT)), 4, TOK_NONE, FSI_OK},
		{MARKED(TEMPLATE(TEXT "," SPECIAL("E"))), TOK_NONE, 1, FSI_OK},
		{MARKED(TEMPLATE(SPECIAL("S") "," TEXT "," SPECIAL("E"))), 4, 1, FSI_OK},
		{MARKED(TEMPLATE(SPECIAL("<s>") "," TEXT)), 4, TOK_NONE, FSI_OK},
		{MARKED("{'type': 'Sequence', 'processors': [{'type': 'ByteLevel'}, " TEMPLATE(SPECIAL("S") "," TEXT) "]}"), 4, TOK_NONE, FSI_OK},
		{MARKED("{'type': 'RobertaProcessing', 'cls': ['<s>', 4], 'sep': ['b', 1], 'trim_offsets': true}"), 4, 1, FSI_OK},
		{MARKED("{'type': 'BertProcessing', 'cls': ['<s>', 7], 'sep': ['b', 1]}"), 0, 0, FSI_CORRUPT},
		{MARKED(TEMPLATE(SPECIAL("S") "," SPECIAL("E") "," TEXT)), 0, 0, FSI_UNSUPPORTED},
		{MARKED(TEMPLATE(SPECIAL("T") "," TEXT)), 0, 0, FSI_UNSUPPORTED},
		{MARKED(TEMPLATE(SPECIAL("X") "," TEXT)), 0, 0, FSI_CORRUPT},
		{MARKED(TEMPLATE("{'SpecialToken': {}}," TEXT)), 0, 0, FSI_CORRUPT},
		{MARKED(TEMPLATE(SPECIAL("S"))), 0, 0, FSI_CORRUPT},
		{MARKED(TEMPLATE(TEXT "," TEXT)), 0, 0, FSI_UNSUPPORTED},
		{MARKED("{'type': 'Sequence', 'processors': [" TEMPLATE(TEXT) "," TEMPLATE(TEXT) "]}"), 0, 0, FSI_UNSUPPORTED},
		{MARKED("{'type': 'Strange'}"), 0, 0, FSI_UNSUPPORTED},
	};
	char	   *dir = temp_dir();
	Tokenizer	tok;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		put_json(dir, "tokenizer.json", cases[i].json);
		ok(build_open(dir, 0, &tok) == cases[i].status &&
		   (cases[i].status != FSI_OK || (marks.first == cases[i].first && marks.last == cases[i].last && marks.known == (i > 0))),
		   "post_processor %zu: %s", i, cases[i].status == FSI_OK ? "read" : err.message);
	}
	put_json(dir, "tokenizer_config.json", "{'add_bos_token': true}");
	put_json(dir, "tokenizer.json", MARKED("null"));
	ok(build_open(dir, 0, &tok) == FSI_OK && !marks.known, "add_bos_token means nothing beside tokenizer.json");
	drop_dir(dir);

	dir = temp_dir();
	put_json(dir, "vocab.json", "{'a': 0, 'b': 1, '<|endoftext|>': 2}");
	put_text(dir, "merges.txt", "");
	put_json(dir, "tokenizer_config.json", "{'add_bos_token': true, 'eos_token': 'b'}");
	ok(build_open(dir, 0, &tok) == FSI_OK && marks.known && marks.first == 2 && marks.last == TOK_NONE,
	   "beside vocab.json it puts bos_token before a text");
	put_json(dir, "tokenizer_config.json", "{'add_eos_token': true, 'eos_token': 'b'}");
	ok(build_open(dir, 0, &tok) == FSI_OK && marks.known && marks.first == TOK_NONE && marks.last == 1,
	   "add_eos_token: eos_token after it");
	drop_dir(dir);
}

/* ---- Questions whether to stop ---- */

static long asked,
			stop_at;

static bool
stop_at_last(void *ctx)
{
	(void) ctx;
	return ++asked >= stop_at;
}

static FsiStatus
build_stopping(const char *dir, long at)
{
	FsiHost		host = fsi_host_malloc;
	FsiArena	mine;
	uint8_t    *blob;
	size_t		len;
	FsiStatus	status;

	host.should_stop = stop_at_last;
	asked = 0;
	stop_at = at;
	fsi_arena_init(&mine, &host);
	status = tok_build_dir(dir, 0, &mine, &blob, &len, &marks, &err);
	fsi_arena_free(&mine);
	return status;
}

/* A large vocabulary is not gone through in one go, as text or as tokens, nor are its merges. */
static void
test_questions(void)
{
	enum { LETTERS = 64, TOKENS = LETTERS * LETTERS * 16 };
	static const char letters[LETTERS + 1] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	char	   *dir = temp_dir();
	char	   *vocab = malloc(16 * TOKENS),
			   *merges = malloc(16 * TOKENS);
	size_t		v = (size_t) sprintf(vocab, "{'<|endoftext|>': %d", TOKENS + LETTERS),
				m = 0;
	long		least,
				all,
				at;

	for (int i = 0; i < LETTERS; i++)
		v += (size_t) sprintf(vocab + v, ",'%c':%d", letters[i], i);
	for (int i = 0; i < TOKENS; i++)
	{
		char		token[4] = {letters[i % LETTERS], letters[i / LETTERS % LETTERS], letters[i / LETTERS / LETTERS]};

		if (i < LETTERS * LETTERS)
		{
			token[2] = '\0';
			m += (size_t) sprintf(merges + m, "%c %c\n", token[0], token[1]);
		}
		else
			m += (size_t) sprintf(merges + m, "%.2s %c\n", token, token[2]);
		v += (size_t) sprintf(vocab + v, ",'%s':%d", token, LETTERS + i);
	}
	strcpy(vocab + v, "}");
	put_json(dir, "vocab.json", vocab);
	put_text(dir, "merges.txt", merges);
	least = (long) v / 65536 + 3 * (TOKENS / 4096);
	ok(build_stopping(dir, LONG_MAX) == FSI_OK, "a large vocabulary is read");
	all = asked;
	ok(all >= least, "with many questions: %ld, at least %ld", all, least);
	for (at = 1; at < all && build_stopping(dir, at) == FSI_CANCELLED && asked == at; at += 3)
		;
	ok(at >= all, "stopped at each of them: %ld of %ld", at, all);
	free(vocab);
	free(merges);
	drop_dir(dir);
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	test_settings();
	test_wrong_types();
	test_tokenizer_json();
	test_other_files();
	test_named();
	test_overlap();
	test_equal_added();
	test_map();
	test_disagreement();
	test_added_beside();
	test_marks();
	test_questions();
	fsi_arena_free(&arena);
	return tap_done();
}
