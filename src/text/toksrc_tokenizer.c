/*
 * toksrc_tokenizer.c
 *	  tokenizer.json, the format of Hugging Face's tokenizers library.
 *
 * Byte-level BPE and BERT's WordPiece; every setting that would change ids and is not
 * run here is refused by name.  Truncation and padding settings are left to the caller;
 * of a post-processor the marks before and after a text are read, one token each.
 */
#include <string.h>

#include "tokbuild.h"

static const char *
type_of(const json_t *object)
{
	const char *type = json_string_value(json_object_get(object, "type"));

	return type != NULL ? type : "";
}

static FsiStatus
unsupported(TokBuild *b, const char *what, const char *type)
{
	return fsi_fail(b->err, FSI_UNSUPPORTED, "%s of the type \"%s\" is not supported", what, type);
}

/* A switch of tokenizer.json; anything else in its place is an error there, too. */
static FsiStatus
read_switch(TokBuild *b, const json_t *object, const char *key, bool otherwise, bool *on)
{
	const json_t *value = toksrc_get(object, key);

	*on = value != NULL ? json_is_true(value) : otherwise;
	if (value != NULL && !json_is_boolean(value))
		return fsi_fail(b->err, FSI_CORRUPT, "\"%s\" in tokenizer.json is not true or false", key);
	return FSI_OK;
}

/* A list of tokenizer.json; NULL if it may be absent and is. */
static FsiStatus
read_list(TokBuild *b, const json_t *object, const char *key, bool optional, const json_t **list)
{
	*list = toksrc_get(object, key);
	if (*list == NULL && optional)
		return FSI_OK;
	return json_is_array(*list) ? FSI_OK : fsi_fail(b->err, FSI_CORRUPT, "\"%s\" in tokenizer.json is not a list", key);
}

/* ---- Normaliser ---- */

static FsiStatus
add_step(TokBuild *b, int step)
{
	if (b->n_steps == TOK_MAX_STEPS)
		return fsi_fail(b->err, FSI_LIMIT, "normalizer has more than %d steps", TOK_MAX_STEPS);
	b->steps[b->n_steps++] = (uint16_t) step;
	return FSI_OK;
}

static FsiStatus
read_bert_normalizer(TokBuild *b, const json_t *n)
{
	static const char *const keys[] = {
		"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase", NULL
	};
	bool		clean,
				han,
				accents,
				lower;

	FSI_TRY(toksrc_only_keys(n, "BertNormalizer", keys, b->err));
	FSI_TRY(read_switch(b, n, "clean_text", true, &clean));
	FSI_TRY(read_switch(b, n, "handle_chinese_chars", true, &han));
	FSI_TRY(read_switch(b, n, "lowercase", true, &lower));
	FSI_TRY(read_switch(b, n, "strip_accents", lower, &accents));
	return add_step(b, TOK_STEP_BERT | (clean ? TOK_BERT_CLEAN : 0) | (han ? TOK_BERT_HAN : 0) |
					(accents ? TOK_BERT_ACCENTS : 0) | (lower ? TOK_BERT_LOWER : 0));
}

static FsiStatus
read_normalizer(TokBuild *b, const json_t *n, int depth)
{
	static const struct
	{
		const char *type;
		int			step;
	}			plain[] = {
		{"NFC", TOK_STEP_NFC}, {"NFD", TOK_STEP_NFD}, {"NFKC", TOK_STEP_NFKC}, {"NFKD", TOK_STEP_NFKD},
		{"Lowercase", TOK_STEP_LOWER}, {"StripAccents", TOK_STEP_STRIP_ACCENTS},
	};
	static const char *const plain_keys[] = {"type", NULL};
	static const char *const sequence_keys[] = {"type", "normalizers", NULL};
	const char *type = type_of(n);
	const json_t *list,
			   *item;
	size_t		i;

	if (n == NULL)
		return FSI_OK;
	if (strcmp(type, "Sequence") == 0 && depth < TOK_MAX_STEPS)
	{
		FSI_TRY(toksrc_only_keys(n, "normalizer", sequence_keys, b->err));
		FSI_TRY(read_list(b, n, "normalizers", false, &list));
		json_array_foreach(list, i, item)
			FSI_TRY(read_normalizer(b, item, depth + 1));
		return FSI_OK;
	}
	if (strcmp(type, "BertNormalizer") == 0)
		return read_bert_normalizer(b, n);
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strcmp(type, plain[i].type) == 0)
		{
			FSI_TRY(toksrc_only_keys(n, "normalizer", plain_keys, b->err));
			return add_step(b, plain[i].step);
		}
	return unsupported(b, "normalizer", type);
}

/* ---- Pre-tokeniser ---- */

static FsiStatus
read_pre_tokenizer(TokBuild *b, const json_t *p)
{
	static const char *const byte_level_keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
	static const char *const sequence_keys[] = {"type", "pretokenizers", NULL};
	const char *type = type_of(p);
	bool		space,
				regex;

	if (strcmp(type, "Sequence") == 0)
	{
		const json_t *items = json_object_get(p, "pretokenizers");

		FSI_TRY(toksrc_only_keys(p, "pre_tokenizer", sequence_keys, b->err));
		if (json_array_size(items) != 1)
			return fsi_fail(b->err, FSI_UNSUPPORTED, "pre_tokenizer is a sequence of %zu, only one is supported",
							json_array_size(items));
		p = json_array_get(items, 0);
		type = type_of(p);
	}
	if (b->kind == TOK_BPE && strcmp(type, "ByteLevel") == 0)
	{
		FSI_TRY(toksrc_only_keys(p, "ByteLevel", byte_level_keys, b->err));
		FSI_TRY(read_switch(b, p, "add_prefix_space", true, &space));
		FSI_TRY(read_switch(b, p, "use_regex", true, &regex));
		b->flags |= (space ? TOK_PREFIX_SPACE : 0) | (regex ? 0 : TOK_WHOLE_TEXT);
		return FSI_OK;
	}
	if (b->kind == TOK_WORDPIECE && strcmp(type, "BertPreTokenizer") == 0)
		return FSI_OK;
	if (p == NULL)
		return fsi_fail(b->err, FSI_UNSUPPORTED, "tokenizer has no pre_tokenizer; %s needs %s",
						b->kind == TOK_BPE ? "BPE" : "WordPiece",
						b->kind == TOK_BPE ? "ByteLevel" : "BertPreTokenizer");
	return unsupported(b, b->kind == TOK_BPE ? "pre_tokenizer for BPE" : "pre_tokenizer for WordPiece", type);
}

/* ---- Model ---- */

/* Refuse a member that is neither absent nor null nor what it means to be off. */
static FsiStatus
must_be_off(TokBuild *b, const json_t *model, const char *key)
{
	const json_t *value = toksrc_get(model, key);

	if (value == NULL || json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0) ||
		(json_is_number(value) && json_number_value(value) == 0))
		return FSI_OK;
	return fsi_fail(b->err, FSI_UNSUPPORTED, "BPE with the setting \"%s\" is not supported", key);
}

static FsiStatus
read_merges(TokBuild *b, const json_t *merges)
{
	const json_t *item;
	size_t		i;

	if (!json_is_array(merges))
		return fsi_fail(b->err, FSI_CORRUPT, "BPE has no list of merges");
	FSI_TRY(build_merges(b, json_array_size(merges)));
	json_array_foreach(merges, i, item)
	{
		const json_t *left = json_array_get(item, 0),
				   *right = json_array_get(item, 1);
		const char *s = json_string_value(item);

		if (s != NULL)
		{
			const char *space = strchr(s, ' ');

			if (space == NULL || strchr(space + 1, ' ') != NULL)
				return fsi_fail(b->err, FSI_CORRUPT, "merge %zu, \"%.100s\", is not two tokens", i, s);
			FSI_TRY(build_merge(b, s, (size_t) (space - s), space + 1, strlen(space + 1)));
		}
		else if (json_is_string(left) && json_is_string(right) && json_array_size(item) == 2)
			FSI_TRY(build_merge(b, json_string_value(left), json_string_length(left),
								json_string_value(right), json_string_length(right)));
		else
			return fsi_fail(b->err, FSI_CORRUPT, "merge %zu is not two tokens", i);
	}
	return FSI_OK;
}

static FsiStatus
read_bpe(TokBuild *b, const json_t *model)
{
	static const char *const keys[] = {
		"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
		"byte_fallback", "ignore_merges", "vocab", "merges", NULL
	};
	static const char *const off[] = {
		"dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", NULL
	};
	const json_t *unk = toksrc_get(model, "unk_token");

	FSI_TRY(toksrc_only_keys(model, "BPE", keys, b->err));
	for (int i = 0; off[i] != NULL; i++)
		FSI_TRY(must_be_off(b, model, off[i]));
	FSI_TRY(toksrc_read_vocab_json(b, json_object_get(model, "vocab")));
	if (json_is_string(unk))
		b->role[TOK_ROLE_UNK] = b->byte_unk = build_find(b, json_string_value(unk), json_string_length(unk));
	return read_merges(b, json_object_get(model, "merges"));
}

static FsiStatus
read_wordpiece(TokBuild *b, const json_t *model)
{
	static const char *const keys[] = {
		"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab", NULL
	};
	const json_t *prefix = toksrc_get(model, "continuing_subword_prefix"),
			   *unk = toksrc_get(model, "unk_token"),
			   *chars = toksrc_get(model, "max_input_chars_per_word");

	FSI_TRY(toksrc_only_keys(model, "WordPiece", keys, b->err));
	if (prefix != NULL && (!json_is_string(prefix) || strcmp(json_string_value(prefix), TOK_PREFIX) != 0))
		return fsi_fail(b->err, FSI_UNSUPPORTED,
						"WordPiece with a continuing_subword_prefix other than \"%s\" is not supported", TOK_PREFIX);
	if (chars != NULL)
	{
		int64_t		n;

		if (!toksrc_int(chars, &n) || n < 1 || n > TOK_MAX_WORD_CHARS)
			return fsi_fail(b->err, FSI_UNSUPPORTED, "max_input_chars_per_word must be from 1 to %d",
							TOK_MAX_WORD_CHARS);
		b->max_word_chars = (uint32_t) n;
	}
	FSI_TRY(toksrc_read_vocab_json(b, json_object_get(model, "vocab")));
	if (json_is_string(unk))
		b->role[TOK_ROLE_UNK] = build_find(b, json_string_value(unk), json_string_length(unk));
	return FSI_OK;
}

static FsiStatus
read_model(TokBuild *b, const json_t *model)
{
	const char *type = type_of(model);

	if (!json_is_object(model))
		return fsi_fail(b->err, FSI_CORRUPT, "tokenizer.json has no model");
	if (type[0] == '\0')		/* files of old versions leave it out */
		type = json_object_get(model, "merges") != NULL ? "BPE" : "of no type";
	if (strcmp(type, "BPE") == 0)
	{
		b->kind = TOK_BPE;
		return read_bpe(b, model);
	}
	if (strcmp(type, "WordPiece") == 0)
	{
		b->kind = TOK_WORDPIECE;
		return read_wordpiece(b, model);
	}
	return fsi_fail(b->err, FSI_UNSUPPORTED, "tokenizer model \"%s\" is not supported", type);
}

/* ---- Added tokens, decoder, post-processor ---- */

static FsiStatus
read_added_token(TokBuild *b, const json_t *item, size_t i)
{
	static const char *const keys[] = {
		"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", NULL
	};
	const json_t *content = json_object_get(item, "content");
	int64_t		id;
	bool		special,
				single,
				left,
				right,
				normalized;

	FSI_TRY(toksrc_only_keys(item, "added token", keys, b->err));
	if (!toksrc_int(json_object_get(item, "id"), &id) || !json_is_string(content))
		return fsi_fail(b->err, FSI_CORRUPT, "added token %zu has no id or no content", i);
	FSI_TRY(read_switch(b, item, "special", false, &special));
	FSI_TRY(read_switch(b, item, "single_word", false, &single));
	FSI_TRY(read_switch(b, item, "lstrip", false, &left));
	FSI_TRY(read_switch(b, item, "rstrip", false, &right));
	FSI_TRY(read_switch(b, item, "normalized", !special, &normalized));
	if (single)
		return fsi_fail(b->err, FSI_UNSUPPORTED, "added token \"%.100s\" with the flag \"single_word\" is not supported",
						json_string_value(content));
	return build_added(b, id, json_string_value(content), json_string_length(content),
					   (special ? TOK_SPECIAL : 0) | (left ? TOK_LSTRIP : 0) | (right ? TOK_RSTRIP : 0), normalized);
}

static FsiStatus
read_added(TokBuild *b, const json_t *root)
{
	const json_t *list,
			   *item;
	size_t		i;

	FSI_TRY(read_list(b, root, "added_tokens", true, &list));
	json_array_foreach(list, i, item)
		FSI_TRY(read_added_token(b, item, i));
	return FSI_OK;
}

static FsiStatus
read_decoder(TokBuild *b, const json_t *decoder)
{
	const char *type = type_of(decoder);
	bool		cleanup;

	if (b->kind == TOK_WORDPIECE)
	{
		if (decoder != NULL && strcmp(type, "WordPiece") != 0)
			return unsupported(b, "decoder for WordPiece", type);
		FSI_TRY(read_switch(b, decoder, "cleanup", true, &cleanup));
		b->flags |= cleanup ? TOK_CLEANUP : 0;
	}
	else if (decoder != NULL && strcmp(type, "ByteLevel") != 0)
		return unsupported(b, "decoder for BPE", type);
	return FSI_OK;
}

static FsiStatus
unknown_mark(TokBuild *b)
{
	return fsi_fail(b->err, FSI_CORRUPT, "post_processor names a token that is not in the vocabulary");
}

static bool
is_known_id(const TokBuild *b, const json_t *value, int32_t *id)
{
	int64_t		number;

	if (!toksrc_int(value, &number) || number < 0 || number >= b->n_vocab || b->tokens[number].s == NULL)
		return false;
	*id = (int32_t) number;
	return true;
}

/* A template's special token: its ids count, whatever its name; without any, the name. */
static FsiStatus
read_template_token(TokBuild *b, const json_t *post, const json_t *special, int32_t *id)
{
	const json_t *name = json_object_get(special, "id");
	const json_t *ids;

	if (!json_is_string(name))
		return unknown_mark(b);
	ids = json_object_get(json_object_get(json_object_get(post, "special_tokens"), json_string_value(name)), "ids");
	if (json_array_size(ids) > 1)
		return fsi_fail(b->err, FSI_UNSUPPORTED, "post_processor with %zu tokens for \"%.100s\" is not supported",
						json_array_size(ids), json_string_value(name));
	if (json_array_size(ids) == 1)
		return is_known_id(b, json_array_get(ids, 0), id) ? FSI_OK : unknown_mark(b);
	*id = build_find(b, json_string_value(name), json_string_length(name));
	return *id == TOK_NONE ? unknown_mark(b) : FSI_OK;
}

static void
set_marks(TokBuild *b, int32_t first, int32_t last)
{
	b->role[b->kind == TOK_BPE ? TOK_ROLE_BOS : TOK_ROLE_CLS] = first;
	b->role[b->kind == TOK_BPE ? TOK_ROLE_EOS : TOK_ROLE_SEP] = last;
	b->marks.first = first;
	b->marks.last = last;
}

/* A template "bos text eos", either mark or both or none. */
static FsiStatus
read_template(TokBuild *b, const json_t *post)
{
	const json_t *single = json_object_get(post, "single");
	int32_t		first = TOK_NONE,
				last = TOK_NONE;
	const json_t *item;
	size_t		i,
				n_text = 0;

	json_array_foreach(single, i, item)
	{
		const json_t *special = json_object_get(item, "SpecialToken");
		int32_t    *mark = n_text == 0 ? &first : &last;

		if (special == NULL)
			n_text++;
		else if (*mark != TOK_NONE)
			return fsi_fail(b->err, FSI_UNSUPPORTED,
							"post_processor that puts more than one token before or after a text is not supported");
		else
			FSI_TRY(read_template_token(b, post, special, mark));
	}
	if (n_text == 0)
		return fsi_fail(b->err, FSI_CORRUPT, "post_processor has a template without a place for the text");
	if (n_text > 1)
		return fsi_fail(b->err, FSI_UNSUPPORTED, "post_processor that repeats a text is not supported");
	b->marks.known = true;
	if (json_array_size(single) > 1)
		set_marks(b, first, last);
	return FSI_OK;
}

/* BertProcessing and RobertaProcessing: "cls" and "sep" are each a token and its id. */
static FsiStatus
read_cls_sep(TokBuild *b, const json_t *post)
{
	int32_t		cls,
				sep;

	if (!is_known_id(b, json_array_get(json_object_get(post, "cls"), 1), &cls) ||
		!is_known_id(b, json_array_get(json_object_get(post, "sep"), 1), &sep))
		return unknown_mark(b);
	b->marks.known = true;
	set_marks(b, cls, sep);
	return FSI_OK;
}

/* What names the marks; ByteLevel's settings are about offsets. */
static FsiStatus
read_post_processor(TokBuild *b, const json_t *post, int depth)
{
	const char *type = type_of(post);

	if (post == NULL || strcmp(type, "ByteLevel") == 0)
		return FSI_OK;
	if (strcmp(type, "Sequence") == 0 && depth < 8)
	{
		const json_t *list,
				   *item;
		size_t		i;

		FSI_TRY(read_list(b, post, "processors", false, &list));
		json_array_foreach(list, i, item)
			FSI_TRY(read_post_processor(b, item, depth + 1));
		return FSI_OK;
	}
	if (b->marks.known)
		return fsi_fail(b->err, FSI_UNSUPPORTED, "post_processor that puts tokens round a text twice is not supported");
	if (strcmp(type, "TemplateProcessing") == 0)
		return read_template(b, post);
	if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
		return read_cls_sep(b, post);
	return unsupported(b, "post_processor", type);
}

FsiStatus
toksrc_read_tokenizer_json(TokBuild *b, const json_t *root)
{
	static const char *const keys[] = {
		"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
		"decoder", "model", NULL
	};

	FSI_TRY(toksrc_only_keys(root, "tokenizer.json", keys, b->err));
	FSI_TRY(read_model(b, json_object_get(root, "model")));
	FSI_TRY(read_normalizer(b, toksrc_get(root, "normalizer"), 0));
	FSI_TRY(read_pre_tokenizer(b, toksrc_get(root, "pre_tokenizer")));
	return read_decoder(b, toksrc_get(root, "decoder"));
}

FsiStatus
toksrc_read_tokenizer_json_added(TokBuild *b, const json_t *root)
{
	FSI_TRY(read_added(b, root));
	return read_post_processor(b, toksrc_get(root, "post_processor"), 0);
}
