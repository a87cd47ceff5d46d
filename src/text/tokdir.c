/*
 * tokdir.c
 *	  Build a tokenizer from a Hugging Face directory: which files, which special tokens.
 *
 * Behaviour source: transformers' AutoTokenizer, BertTokenizer(Fast), GPT2Tokenizer(Fast).
 * Where tokenizer.json and tokenizer_config.json disagree, a key that stands in
 * tokenizer_config.json wins, as it does there; a key that is missing there changes
 * nothing (transformers would put its class's default).  So its added_tokens_decoder
 * brings tokens that tokenizer.json lacks, and gives others their flags.
 */
#include <string.h>

#include "tokbuild.h"

/* The small files; any may be NULL. */
typedef struct Docs
{
	json_t	   *tokenizer;		/* tokenizer.json */
	json_t	   *vocab;			/* vocab.json */
	json_t	   *config;			/* tokenizer_config.json */
	json_t	   *map;			/* special_tokens_map.json */
	json_t	   *model;			/* config.json */
	json_t	   *added;			/* added_tokens.json */
} Docs;

static const char *const role_key[TOK_ROLES] = {
	[TOK_ROLE_BOS] = "bos_token", [TOK_ROLE_EOS] = "eos_token", [TOK_ROLE_PAD] = "pad_token",
	[TOK_ROLE_UNK] = "unk_token", [TOK_ROLE_CLS] = "cls_token", [TOK_ROLE_SEP] = "sep_token",
	[TOK_ROLE_MASK] = "mask_token",
};

static FsiStatus
load_optional(const char *dir, const char *name, FsiArena *arena, json_t **json, FsiError *err)
{
	FsiStatus	status = toksrc_load(dir, name, arena, json, err);

	return status == FSI_MISSING ? FSI_OK : status;
}

/* ---- Special tokens ---- */

static uint8_t
strip_flags(const json_t *value)
{
	return (toksrc_bool(value, "lstrip", false) ? TOK_LSTRIP : 0) | (toksrc_bool(value, "rstrip", false) ? TOK_RSTRIP : 0);
}

/* Make a token of the vocabulary special: recognised in text, dropped when decoding. */
static FsiStatus
add_special(TokBuild *b, int32_t id, const json_t *value)
{
	const TokString *t = &b->tokens[id];

	return build_added(b, id, t->s, t->len, TOK_SPECIAL | strip_flags(value), toksrc_bool(value, "normalized", false));
}

/*
 * Make the token special that a file's value names, a string or an object with its content.  One that has no id yet is
 * the vocabulary's next; TOK_NONE where the model has no row for it, and it stays text.
 */
static FsiStatus
add_named(TokBuild *b, const json_t *value, int32_t *id)
{
	const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
	const char *s = json_string_value(content);
	size_t		len = json_string_length(content);

	*id = TOK_NONE;
	if (len == 0)
		return FSI_OK;
	*id = build_find(b, s, len);
	if (*id != TOK_NONE)
		return add_special(b, *id, value);
	if (b->n_vocab >= b->limit)
		return FSI_OK;
	*id = b->n_vocab;
	return build_added(b, *id, s, len, TOK_SPECIAL | strip_flags(value), toksrc_bool(value, "normalized", false));
}

/* Roles that the files name, in the order in which transformers gives new tokens their ids. */
static FsiStatus
read_named_roles(TokBuild *b, const Docs *docs)
{
	static const TokRole order[TOK_ROLES] = {
		TOK_ROLE_BOS, TOK_ROLE_EOS, TOK_ROLE_UNK, TOK_ROLE_SEP, TOK_ROLE_PAD, TOK_ROLE_CLS, TOK_ROLE_MASK
	};

	for (int i = 0; i < TOK_ROLES; i++)
	{
		const json_t *value = toksrc_get(docs->map, role_key[order[i]]);
		int32_t		id;

		if (value == NULL)
			value = toksrc_get(docs->config, role_key[order[i]]);
		FSI_TRY(add_named(b, value, &id));
		if (id != TOK_NONE)
			b->role[order[i]] = id;
	}
	return FSI_OK;
}

/* Tokens of a list, or the values of an object. */
static FsiStatus
add_named_all(TokBuild *b, json_t *items)
{
	json_t	   *item;
	const char *key;
	size_t		i;
	int32_t		id;

	json_array_foreach(items, i, item)
		FSI_TRY(add_named(b, item, &id));
	json_object_foreach(items, key, item)
		FSI_TRY(add_named(b, item, &id));
	return FSI_OK;
}

/* Special tokens without a role, under the names of old and of newer versions of transformers. */
static FsiStatus
read_additional(TokBuild *b, const json_t *doc)
{
	FSI_TRY(add_named_all(b, toksrc_get(doc, "additional_special_tokens")));
	return add_named_all(b, toksrc_get(doc, "extra_special_tokens"));
}

/* Give a role without a token the first of the names that the vocabulary has. */
static FsiStatus
default_role(TokBuild *b, TokRole role, const char *const *names, bool must_be_special)
{
	for (int i = 0; b->role[role] == TOK_NONE && names[i] != NULL; i++)
	{
		int32_t		id = build_find(b, names[i], strlen(names[i]));

		if (id == TOK_NONE || (must_be_special && !(b->token_flags[id] & TOK_SPECIAL)))
			continue;
		b->role[role] = id;
		FSI_TRY(add_special(b, id, NULL));
	}
	return FSI_OK;
}

/* Names that transformers' classes assume, or, in a tokenizer.json by itself, usual ones among its special tokens. */
static FsiStatus
default_roles(TokBuild *b, bool from_tokenizer_json)
{
	typedef const char *const Names[TOK_ROLES][5];
	static Names bert = {
		[TOK_ROLE_PAD] = {"[PAD]"}, [TOK_ROLE_UNK] = {"[UNK]"}, [TOK_ROLE_CLS] = {"[CLS]"},
		[TOK_ROLE_SEP] = {"[SEP]"}, [TOK_ROLE_MASK] = {"[MASK]"},
	};
	static Names gpt2 = {
		[TOK_ROLE_BOS] = {"<|endoftext|>"}, [TOK_ROLE_EOS] = {"<|endoftext|>"}, [TOK_ROLE_UNK] = {"<|endoftext|>"},
	};
	static Names usual = {
		[TOK_ROLE_BOS] = {"<|bos|>", "<|startoftext|>", "<s>", "<|endoftext|>"},
		[TOK_ROLE_EOS] = {"<|eos|>", "<|endoftext|>", "</s>"},
		[TOK_ROLE_PAD] = {"<|pad|>", "<pad>"},
	};
	Names	   *names = b->kind == TOK_WORDPIECE ? &bert : from_tokenizer_json ? &usual : &gpt2;

	for (int role = 0; role < TOK_ROLES; role++)
		FSI_TRY(default_role(b, (TokRole) role, (*names)[role], names == &usual));
	return FSI_OK;
}

/*
 * bos_token_id and the like of config.json, for roles still open.  They make no token special.  The published family
 * says 50256 for 21128 tokens.
 */
static void
read_role_ids(TokBuild *b, const json_t *model)
{
	static const struct
	{
		TokRole		role;
		const char *key;
	}			ids[] = {
		{TOK_ROLE_BOS, "bos_token_id"}, {TOK_ROLE_EOS, "eos_token_id"}, {TOK_ROLE_PAD, "pad_token_id"},
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
	{
		int64_t		id;

		if (b->role[ids[i].role] == TOK_NONE && toksrc_int(toksrc_get(model, ids[i].key), &id) &&
			id >= 0 && id < b->n_vocab && b->tokens[id].len > 0)
			b->role[ids[i].role] = (int32_t) id;
	}
}

/* added_tokens_decoder of tokenizer_config.json: {"id": {content, flags}}. */
static FsiStatus
read_added_decoder(TokBuild *b, const json_t *config)
{
	const char *key;
	json_t	   *item;

	json_object_foreach(toksrc_get(config, "added_tokens_decoder"), key, item)
	{
		const json_t *content = json_object_get(item, "content");
		bool		special = toksrc_bool(item, "special", false);
		uint8_t		flags = (special ? TOK_SPECIAL : 0) | strip_flags(item);
		int64_t		id = 0;

		for (const char *digit = key; *digit != '\0'; digit++)
		{
			if (*digit < '0' || *digit > '9' || id > TOK_MAX_VOCAB)
				return fsi_fail(b->err, FSI_CORRUPT, "added_tokens_decoder has the id \"%.100s\"", key);
			id = id * 10 + (*digit - '0');
		}
		if (!json_is_string(content))
			return fsi_fail(b->err, FSI_CORRUPT, "added_tokens_decoder has no content for the id %lld", (long long) id);
		if (toksrc_bool(item, "single_word", false))
			return fsi_fail(b->err, FSI_UNSUPPORTED,
							"added token \"%.100s\" with the flag \"single_word\" is not supported",
							json_string_value(content));
		FSI_TRY(build_added(b, id, json_string_value(content), json_string_length(content), flags,
							toksrc_bool(item, "normalized", !special)));
	}
	return FSI_OK;
}

/* The id of added_tokens.json for a token; TOK_NONE if it is not there. */
static FsiStatus
added_id(const TokBuild *b, const json_t *added, const char *token, int64_t *id)
{
	const json_t *item = json_object_get(added, token);
	double		number = json_number_value(item);

	*id = TOK_NONE;
	if (item == NULL)
		return FSI_OK;
	if (!json_is_number(item) || !(number >= 0 && number <= TOK_MAX_VOCAB && number == (double) (int64_t) number))
		return fsi_fail(b->err, FSI_CORRUPT, "added_tokens.json has no id for \"%.100s\"", token);
	*id = (int64_t) number;
	return FSI_OK;
}

/* A token that the other files call special, if added_tokens.json has it. */
static FsiStatus
read_added_special(TokBuild *b, const json_t *added, const json_t *value)
{
	const char *token = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
	int64_t		id;

	if (token == NULL)
		return FSI_OK;
	FSI_TRY(added_id(b, added, token, &id));
	if (id == TOK_NONE)
		return FSI_OK;
	return build_added(b, id, token, strlen(token), TOK_SPECIAL | strip_flags(value), toksrc_bool(value, "normalized", false));
}

static FsiStatus
read_added_specials(TokBuild *b, const json_t *added, const json_t *doc)
{
	static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};

	for (int role = 0; role < TOK_ROLES; role++)
		FSI_TRY(read_added_special(b, added, toksrc_get(doc, role_key[role])));
	for (size_t list = 0; list < sizeof(lists) / sizeof(lists[0]); list++)
	{
		json_t	   *items = toksrc_get(doc, lists[list]);
		const json_t *item;
		size_t		i;

		json_array_foreach(items, i, item)
			FSI_TRY(read_added_special(b, added, item));
	}
	return FSI_OK;
}

/* added_tokens.json, where older versions of transformers kept them: {"token": id}. */
static FsiStatus
read_added_file(TokBuild *b, const Docs *docs)
{
	const char *token;
	json_t	   *item;

	FSI_TRY(read_added_specials(b, docs->added, docs->config));
	FSI_TRY(read_added_specials(b, docs->added, docs->map));
	json_object_foreach(docs->added, token, item)
	{
		int64_t		id;

		FSI_TRY(added_id(b, docs->added, token, &id));
		FSI_TRY(build_added(b, id, token, strlen(token), 0, true));
	}
	return FSI_OK;
}

/*
 * Added tokens of all files.  Of two that say something about one token the first counts: added_tokens_decoder, then
 * tokenizer.json, then added_tokens.json, which is not asked where there is the first.
 */
static FsiStatus
read_added_tokens(TokBuild *b, const Docs *docs)
{
	bool		decoder = toksrc_get(docs->config, "added_tokens_decoder") != NULL;

	if (decoder)
		FSI_TRY(read_added_decoder(b, docs->config));
	if (docs->tokenizer != NULL)
		FSI_TRY(toksrc_read_tokenizer_json_added(b, docs->tokenizer));
	return decoder ? FSI_OK : read_added_file(b, docs);
}

/* ---- The three kinds of directory ---- */

/* BERT's normaliser with the switches of tokenizer_config.json; what is missing there keeps its value in step. */
static int
bert_step(const json_t *config, int step)
{
	const json_t *lower = json_object_get(config, "do_lower_case"),
			   *accents = json_object_get(config, "strip_accents"),
			   *han = json_object_get(config, "tokenize_chinese_chars");

	if (json_is_boolean(han))
		step = json_is_true(han) ? step | TOK_BERT_HAN : step & ~TOK_BERT_HAN;
	if (json_is_boolean(lower))
	{
		step = json_is_true(lower) ? step | TOK_BERT_LOWER : step & ~TOK_BERT_LOWER;
		if (accents == NULL || json_is_null(accents))	/* follow lower-casing */
			step = json_is_true(lower) ? step | TOK_BERT_ACCENTS : step & ~TOK_BERT_ACCENTS;
	}
	if (json_is_boolean(accents))
		step = json_is_true(accents) ? step | TOK_BERT_ACCENTS : step & ~TOK_BERT_ACCENTS;
	return step;
}

static FsiStatus
check_config(const json_t *config, FsiError *err)
{
	const char *class = json_string_value(json_object_get(config, "tokenizer_class"));

	if (class != NULL && strncmp(class, "BertJapanese", 12) == 0)
		return fsi_fail(err, FSI_UNSUPPORTED, "tokenizer class \"%.100s\" is not supported", class);
	if (!toksrc_bool(config, "do_basic_tokenize", true))
		return fsi_fail(err, FSI_UNSUPPORTED, "tokenizer setting \"do_basic_tokenize\" false is not supported");
	if (json_array_size(toksrc_get(config, "never_split")) > 0)
		return fsi_fail(err, FSI_UNSUPPORTED, "tokenizer setting \"never_split\" is not supported");
	return FSI_OK;
}

/* Is the class the one that takes the normaliser as it is?  Version 5 of transformers has another name for it. */
static bool
is_plain_fast(const json_t *config)
{
	const char *class = json_string_value(json_object_get(config, "tokenizer_class"));

	return class != NULL && (strcmp(class, "PreTrainedTokenizerFast") == 0 || strcmp(class, "TokenizersBackend") == 0);
}

static FsiStatus
read_from_tokenizer_json(TokBuild *b, const Docs *docs)
{
	const json_t *space = json_object_get(docs->config, "add_prefix_space");

	FSI_TRY(toksrc_read_tokenizer_json(b, docs->tokenizer));
	if (b->kind == TOK_BPE && json_is_boolean(space))
		b->flags = json_is_true(space) ? b->flags | TOK_PREFIX_SPACE : b->flags & ~(uint32_t) TOK_PREFIX_SPACE;
	if (b->kind == TOK_WORDPIECE && b->n_steps == 1 && (b->steps[0] & TOK_STEP_KIND) == TOK_STEP_BERT &&
		!is_plain_fast(docs->config))
		b->steps[0] = (uint16_t) bert_step(docs->config, b->steps[0]);
	return read_added_tokens(b, docs);
}

static FsiStatus
read_from_vocab_txt(TokBuild *b, const Docs *docs, const uint8_t *data, size_t len)
{
	b->kind = TOK_WORDPIECE;
	b->flags = TOK_CLEANUP;
	b->n_steps = 1;
	b->steps[0] = (uint16_t) bert_step(docs->config, TOK_STEP_BERT | TOK_BERT_CLEAN | TOK_BERT_HAN |
									   TOK_BERT_LOWER | TOK_BERT_ACCENTS);
	FSI_TRY(toksrc_read_vocab_txt(b, data, len));
	return read_added_tokens(b, docs);
}

static FsiStatus
read_from_vocab_json(TokBuild *b, const Docs *docs, const char *dir, FsiArena *arena)
{
	uint8_t    *merges;
	size_t		len;

	b->kind = TOK_BPE;
	b->flags = toksrc_bool(docs->config, "add_prefix_space", false) ? TOK_PREFIX_SPACE : 0;
	FSI_TRY(toksrc_read_vocab_json(b, docs->vocab));
	FSI_TRY(toksrc_read(dir, "merges.txt", arena, &merges, &len, b->err));
	FSI_TRY(toksrc_read_merges_txt(b, merges, len));
	return read_added_tokens(b, docs);
}

static FsiStatus
read_vocabulary(TokBuild *b, Docs *docs, const char *dir, FsiArena *arena)
{
	uint8_t    *data;
	size_t		len;
	FsiStatus	status;

	FSI_TRY(load_optional(dir, "added_tokens.json", arena, &docs->added, b->err));
	FSI_TRY(load_optional(dir, "tokenizer.json", arena, &docs->tokenizer, b->err));
	if (docs->tokenizer != NULL)
		return read_from_tokenizer_json(b, docs);

	status = toksrc_read(dir, "vocab.txt", arena, &data, &len, b->err);
	if (status == FSI_OK)
		return read_from_vocab_txt(b, docs, data, len);
	if (status != FSI_MISSING)
		return status;

	FSI_TRY(load_optional(dir, "vocab.json", arena, &docs->vocab, b->err));
	if (docs->vocab != NULL)
		return read_from_vocab_json(b, docs, dir, arena);

	fsi_fail(b->err, FSI_MISSING, "directory \"%.300s\" holds no tokenizer", dir);
	fsi_hint(b->err, "One of tokenizer.json, vocab.txt, or vocab.json with merges.txt is needed.");
	return FSI_MISSING;
}

/* GPT2Tokenizer's tokens round a text, by their roles; in a tokenizer.json they stand in its post_processor. */
static void
read_marks(TokBuild *b, const json_t *config)
{
	bool		bos = toksrc_bool(config, "add_bos_token", false),
				eos = toksrc_bool(config, "add_eos_token", false);

	if (b->kind == TOK_BPE && (bos || eos))
		b->marks = (TokMarks) {true, bos ? b->role[TOK_ROLE_BOS] : TOK_NONE, eos ? b->role[TOK_ROLE_EOS] : TOK_NONE};
}

static FsiStatus
build_from(TokBuild *b, Docs *docs, const char *dir, FsiArena *arena)
{
	FSI_TRY(load_optional(dir, "tokenizer_config.json", arena, &docs->config, b->err));
	/* As transformers does: who writes added_tokens_decoder has all of it in tokenizer_config.json; else the older map wins. */
	if (toksrc_get(docs->config, "added_tokens_decoder") == NULL)
		FSI_TRY(load_optional(dir, "special_tokens_map.json", arena, &docs->map, b->err));
	FSI_TRY(load_optional(dir, "config.json", arena, &docs->model, b->err));
	FSI_TRY(check_config(docs->config, b->err));
	FSI_TRY(read_vocabulary(b, docs, dir, arena));
	b->flags |= toksrc_bool(docs->config, "split_special_tokens", false) ? TOK_SPLIT_SPECIAL : 0;
	FSI_TRY(read_named_roles(b, docs));
	FSI_TRY(read_additional(b, docs->config));
	FSI_TRY(read_additional(b, docs->map));
	FSI_TRY(default_roles(b, docs->tokenizer != NULL));
	read_role_ids(b, docs->model);
	if (docs->tokenizer == NULL)
		read_marks(b, docs->config);
	if (b->kind == TOK_WORDPIECE && b->role[TOK_ROLE_UNK] == TOK_NONE)
		return fsi_fail(b->err, FSI_INVALID, "WordPiece vocabulary has no token for unknown words");
	return FSI_OK;
}

FsiStatus
tok_build_dir(const char *dir, int32_t n_vocab_model, FsiArena *arena, uint8_t **blob, size_t *blob_len, TokMarks *marks,
			  FsiError *err)
{
	FsiError	unused;
	FsiArena	scratch;
	TokBuild	b;
	Docs		docs = {0};
	uint8_t    *built;
	FsiStatus	status;

	fsi_arena_init(&scratch, arena->host);
	build_init(&b, n_vocab_model, &scratch, err != NULL ? err : &unused);
	status = build_from(&b, &docs, dir, &scratch);
	if (status == FSI_UNSUPPORTED && b.err->hint[0] == '\0')
		fsi_hint(b.err, "Byte-level BPE and WordPiece tokenizers can be imported, set up as GPT2Tokenizer and BertTokenizer are.");
	if (marks != NULL)
		*marks = b.marks;
	if (status == FSI_OK)
		status = build_blob(&b, &built, blob_len);
	if (status == FSI_OK)
	{
		*blob = fsi_arena_alloc(arena, *blob_len);
		if (*blob == NULL)
			status = fsi_nomem(err, *blob_len);
		else
			memcpy(*blob, built, *blob_len);
	}
	json_decref(docs.tokenizer);
	json_decref(docs.vocab);
	json_decref(docs.config);
	json_decref(docs.map);
	json_decref(docs.model);
	json_decref(docs.added);
	fsi_arena_free(&scratch);
	return status;
}
