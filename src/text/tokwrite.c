/*
 * tokwrite.c
 *	  A tokenizer's blob back into tokenizer.json, the format of Hugging Face's tokenizers library.
 *
 * What toksrc_tokenizer.c reads is written, in its order: building the blob again from these
 * files gives a tokenizer of equal ids.  Of two vocabulary entries of one spelling (a vocab.txt
 * may have them) only the later is written: the earlier was never given by the encoder.
 */
#include <string.h>

#include "tokblob.h"

typedef struct Writer
{
	const Tokenizer *tok;
	const TokHeader *h;
	FsiBytes   *out;
	FsiError   *err;
	bool		ok;				/* false: no memory, or stopped */
	bool		stopped;
	bool		first;			/* of the list being written */
	size_t		n_member;		/* of all lists */
	bool		merge_strings;
	uint8_t    *raw;			/* (n_vocab): an added token that is looked for in the raw text */
} Writer;

#define STOP_MEMBERS 4096		/* between two looks at interrupts */

static void
put(Writer *w, const char *s)
{
	w->ok = w->ok && fsi_json_text(w->out, s);
}

static void
put_bool(Writer *w, const char *key, bool value)
{
	w->ok = w->ok && fsi_json_printf(w->out, "\"%s\":%s", key, value ? "true" : "false");
}

/* A comma before every member but a list's first. */
static void
next_member(Writer *w)
{
	put(w, w->first ? "\n  " : ",\n  ");
	w->first = false;
	if (w->n_member++ % STOP_MEMBERS == 0 && fsi_should_stop(w->out->arena->host))
	{
		w->stopped = true;
		w->ok = false;
	}
}

static void
put_token(Writer *w, int32_t id)
{
	size_t		len;
	const char *s = tok_token(w->tok, id, &len);

	w->ok = w->ok && fsi_json_string(w->out, s != NULL ? s : "", s != NULL ? len : 0);
}

/* Whether id has a spelling, and is the one that the spelling has. */
static bool
has_spelling(const Writer *w, int32_t id)
{
	size_t		len;
	const char *s = tok_token(w->tok, id, &len);

	return s != NULL && len > 0 && tok_lookup(w->tok, s, len) == id;
}

static FsiStatus
check_spellings(const Writer *w)
{
	for (int32_t id = 0; id < w->tok->n_vocab; id++)
	{
		size_t		len;
		const char *s = tok_token(w->tok, id, &len);

		if (s != NULL && (text_utf8_valid(s, len) < len || memchr(s, '\0', len) != NULL))
			return fsi_fail(w->err, FSI_UNSUPPORTED, "token %d of the tokenizer is no text", id);
	}
	return FSI_OK;
}

/* ---- Added tokens ---- */

/* Which added tokens are looked for in the raw text, by id; the others are in what the normaliser leaves. */
static FsiStatus
find_raw(Writer *w)
{
	const TokAdded *added = w->tok->tab[TOK_TAB_ADDED_RAW];

	w->raw = fsi_arena_zero(w->out->arena, (size_t) w->tok->n_vocab, 1);
	if (w->raw == NULL)
		return fsi_nomem(w->err, (size_t) w->tok->n_vocab);
	for (uint32_t i = 0; i < w->h->added[0].count; i++)
		if (added[i].id < (uint32_t) w->tok->n_vocab)
			w->raw[added[i].id] = 1;
	return FSI_OK;
}

static void
put_added(Writer *w)
{
	put(w, "\"added_tokens\":[");
	w->first = true;
	for (int32_t id = 0; id < w->tok->n_vocab && w->ok; id++)
	{
		uint8_t		flags = tok_flags(w->tok, id);

		if (!(flags & TOK_ADDED) || !has_spelling(w, id))
			continue;
		next_member(w);
		w->ok = w->ok && fsi_json_printf(w->out, "{\"id\":%d,\"content\":", id);
		put_token(w, id);
		put(w, ",\"single_word\":false,");
		put_bool(w, "lstrip", flags & TOK_LSTRIP);
		put(w, ",");
		put_bool(w, "rstrip", flags & TOK_RSTRIP);
		put(w, ",");
		put_bool(w, "normalized", w->raw[id] == 0);
		put(w, ",");
		put_bool(w, "special", flags & TOK_SPECIAL);
		put(w, "}");
	}
	put(w, "],\n");
}

/* ---- Normaliser, pre-tokeniser, marks, decoder ---- */

static const char *
plain_step(int step)
{
	switch (step)
	{
		case TOK_STEP_NFC:
			return "NFC";
		case TOK_STEP_NFD:
			return "NFD";
		case TOK_STEP_NFKC:
			return "NFKC";
		case TOK_STEP_NFKD:
			return "NFKD";
		case TOK_STEP_LOWER:
			return "Lowercase";
		default:
			return "StripAccents";
	}
}

static void
put_step(Writer *w, int step)
{
	put(w, "{\"type\":\"");
	if ((step & TOK_STEP_KIND) != TOK_STEP_BERT)
	{
		put(w, plain_step(step));
		put(w, "\"}");
		return;
	}
	put(w, "BertNormalizer\",");
	put_bool(w, "clean_text", step & TOK_BERT_CLEAN);
	put(w, ",");
	put_bool(w, "handle_chinese_chars", step & TOK_BERT_HAN);
	put(w, ",");
	put_bool(w, "strip_accents", step & TOK_BERT_ACCENTS);
	put(w, ",");
	put_bool(w, "lowercase", step & TOK_BERT_LOWER);
	put(w, "}");
}

static void
put_normalizer(Writer *w)
{
	put(w, "\"normalizer\":");
	if (w->h->n_steps == 0)
		put(w, "null");
	else if (w->h->n_steps == 1)
		put_step(w, w->h->steps[0]);
	else
	{
		put(w, "{\"type\":\"Sequence\",\"normalizers\":[");
		for (uint32_t i = 0; i < w->h->n_steps && i < TOK_MAX_STEPS; i++)
		{
			put(w, i > 0 ? "," : "");
			put_step(w, w->h->steps[i]);
		}
		put(w, "]}");
	}
	put(w, ",\n");
}

static void
put_pre_tokenizer(Writer *w)
{
	if (w->tok->kind == TOK_WORDPIECE)
	{
		put(w, "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\n");
		return;
	}
	put(w, "\"pre_tokenizer\":{\"type\":\"ByteLevel\",");
	put_bool(w, "add_prefix_space", w->h->flags & TOK_PREFIX_SPACE);
	put(w, ",\"trim_offsets\":true,");
	put_bool(w, "use_regex", !(w->h->flags & TOK_WHOLE_TEXT));
	put(w, "},\n");
}

static void
put_mark(Writer *w, int32_t id, int type_id)
{
	put(w, "{\"SpecialToken\":{\"id\":");
	put_token(w, id);
	w->ok = w->ok && fsi_json_printf(w->out, ",\"type_id\":%d}}", type_id);
}

static void
put_mark_ids(Writer *w, int32_t id)
{
	put_token(w, id);
	put(w, ":{\"id\":");
	put_token(w, id);
	w->ok = w->ok && fsi_json_printf(w->out, ",\"ids\":[%d],\"tokens\":[", id);
	put_token(w, id);
	put(w, "]}");
}

static void
put_text(Writer *w, const char *id, int type_id)
{
	w->ok = w->ok && fsi_json_printf(w->out, "{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}", id, type_id);
}

/* The marks around a text, and around a pair as BERT has it.  WordPiece without any has a template too: BERT's are usual. */
static void
put_post_processor(Writer *w, int32_t first, int32_t last)
{
	put(w, "\"post_processor\":");
	if (first == TOK_NONE && last == TOK_NONE && w->tok->kind == TOK_BPE)
	{
		put(w, "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":false,\"use_regex\":true},\n");
		return;
	}
	put(w, "{\"type\":\"TemplateProcessing\"");
	for (int pair = 0; pair < 2; pair++)
	{
		put(w, pair ? ",\"pair\":[" : ",\"single\":[");
		if (first != TOK_NONE)
		{
			put_mark(w, first, 0);
			put(w, ",");
		}
		for (int type_id = 0; type_id <= pair; type_id++)
		{
			put(w, type_id ? "," : "");
			put_text(w, type_id ? "B" : "A", type_id);
			put(w, last != TOK_NONE ? "," : "");
			if (last != TOK_NONE)
				put_mark(w, last, type_id);
		}
		put(w, "]");
	}
	put(w, ",\"special_tokens\":{");
	if (first != TOK_NONE)
		put_mark_ids(w, first);
	if (last != TOK_NONE && last != first)
	{
		put(w, first != TOK_NONE ? "," : "");
		put_mark_ids(w, last);
	}
	put(w, "}},\n");
}

static void
put_decoder(Writer *w)
{
	if (w->tok->kind == TOK_BPE)
		put(w, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\n");
	else
	{
		put(w, "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"" TOK_PREFIX "\",");
		put_bool(w, "cleanup", w->h->flags & TOK_CLEANUP);
		put(w, "},\n");
	}
}

/* ---- Model ---- */

static void
put_vocab(Writer *w)
{
	put(w, "\"vocab\":{");
	w->first = true;
	for (int32_t id = 0; id < w->tok->n_vocab && w->ok; id++)
	{
		if (!(tok_flags(w->tok, id) & TOK_IN_MODEL) || !has_spelling(w, id))
			continue;
		next_member(w);
		put_token(w, id);
		w->ok = w->ok && fsi_json_printf(w->out, ":%d", id);
	}
	put(w, "}");
}

static bool
id_is_known(const Writer *w, uint32_t id)
{
	size_t		len;

	return tok_token(w->tok, (int32_t) id, &len) != NULL;
}

/*
 * Merges are two tokens in a string, which every version of tokenizers reads; pairs, all of them, where a token has a space
 * in it.
 */
static void
put_merge(Writer *w, int32_t left, int32_t right)
{
	size_t		n_left,
				n_right;
	const char *a = tok_token(w->tok, left, &n_left),
			   *b = tok_token(w->tok, right, &n_right);

	if (w->merge_strings)
	{
		char	   *both = fsi_arena_alloc(w->out->arena, n_left + 1 + n_right);

		w->ok = w->ok && both != NULL;
		if (!w->ok)
			return;
		memcpy(both, a, n_left);
		both[n_left] = ' ';
		memcpy(both + n_left + 1, b, n_right);
		w->ok = fsi_json_string(w->out, both, n_left + 1 + n_right);
		return;
	}
	put(w, "[");
	put_token(w, left);
	put(w, ",");
	put_token(w, right);
	put(w, "]");
}

/* Merges in rank order; a rank that a later merge of the same pair took over is left out. */
static FsiStatus
put_merges(Writer *w)
{
	const TokMerge *table = w->tok->tab[TOK_TAB_MERGES];
	FsiArena	scratch;
	const TokMerge **by_rank;

	fsi_arena_init(&scratch, w->out->arena->host);
	by_rank = fsi_arena_zero(&scratch, (size_t) w->h->n_merges + 1, sizeof(TokMerge *));
	if (by_rank == NULL)
		return fsi_nomem(w->err, w->h->n_merges * sizeof(TokMerge *));
	for (uint32_t i = 0; i < w->h->merge_cap; i++)
		if (table[i].left != UINT32_MAX && table[i].rank < w->h->n_merges)
			by_rank[table[i].rank] = &table[i];
	w->merge_strings = true;
	for (int32_t id = 0; id < w->tok->n_vocab && w->merge_strings; id++)
	{
		size_t		len;
		const char *s = tok_token(w->tok, id, &len);

		w->merge_strings = s == NULL || (tok_flags(w->tok, id) & TOK_IN_MODEL) == 0 || memchr(s, ' ', len) == NULL;
	}
	put(w, ",\"merges\":[");
	w->first = true;
	for (uint32_t rank = 0; rank < w->h->n_merges && w->ok; rank++)
	{
		const TokMerge *m = by_rank[rank];

		if (m == NULL || !id_is_known(w, m->left) || !id_is_known(w, m->right))
			continue;
		next_member(w);
		put_merge(w, (int32_t) m->left, (int32_t) m->right);
	}
	put(w, "]");
	fsi_arena_free(&scratch);
	return FSI_OK;
}

/* The token that stands for bytes without one of their own, or TOK_NONE. */
static int32_t
byte_unknown(const Writer *w)
{
	for (int byte = 0; byte < 256; byte++)
	{
		int32_t		id = w->h->byte_id[byte];

		if (id != TOK_NONE && id == w->h->unk)
			return id;
	}
	return TOK_NONE;
}

static void
put_unknown(Writer *w, int32_t id)
{
	put(w, "\"unk_token\":");
	if (id == TOK_NONE)
		put(w, "null");
	else
		put_token(w, id);
	put(w, ",");
}

static FsiStatus
put_model(Writer *w)
{
	if (w->tok->kind == TOK_WORDPIECE)
	{
		put(w, "\"model\":{\"type\":\"WordPiece\",");
		put_unknown(w, w->tok->unk);
		put(w, "\"continuing_subword_prefix\":\"" TOK_PREFIX "\",");
		w->ok = w->ok && fsi_json_printf(w->out, "\"max_input_chars_per_word\":%u,", w->h->max_word_chars);
		put_vocab(w);
	}
	else
	{
		put(w, "\"model\":{\"type\":\"BPE\",\"dropout\":null,");
		put_unknown(w, byte_unknown(w));
		put(w, "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
			"\"byte_fallback\":false,");
		put_vocab(w);
		FSI_TRY(put_merges(w));
	}
	put(w, "}");
	return FSI_OK;
}

/* ---- tokenizer_config.json ---- */

/* A name makes its token an added one: an ordinary token, which config.json's id gave the role, stays without. */
static void
put_role(Writer *w, const char *key, int32_t id)
{
	if (id == TOK_NONE || !(tok_flags(w->tok, id) & TOK_ADDED))
		return;
	put(w, ",\n \"");
	put(w, key);
	put(w, "\":");
	put_token(w, id);
}

static void
put_config(Writer *w)
{
	const Tokenizer *tok = w->tok;

	put(w, "\"tokenizer_class\":\"PreTrainedTokenizerFast\",\n ");
	put_bool(w, "clean_up_tokenization_spaces", w->h->flags & TOK_CLEANUP);
	if (tok->kind == TOK_BPE)
	{
		put(w, ",\n ");
		put_bool(w, "add_prefix_space", w->h->flags & TOK_PREFIX_SPACE);
	}
	if (w->h->flags & TOK_SPLIT_SPECIAL)
	{
		put(w, ",\n ");
		put_bool(w, "split_special_tokens", true);
	}
	put_role(w, "bos_token", tok->bos);
	put_role(w, "eos_token", tok->eos);
	put_role(w, "pad_token", tok->pad);
	put_role(w, "unk_token", tok->unk);
	put_role(w, "cls_token", tok->cls);
	put_role(w, "sep_token", tok->sep);
	put_role(w, "mask_token", tok->mask);
}

FsiStatus
tok_write(const Tokenizer *tok, int32_t first, int32_t last, FsiBytes *tokenizer_json, FsiBytes *config, FsiError *err)
{
	Writer		w = {.tok = tok, .h = tok_header(tok), .out = tokenizer_json, .err = err, .ok = true};

	FSI_TRY(check_spellings(&w));
	FSI_TRY(find_raw(&w));
	put(&w, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
	put_added(&w);
	put_normalizer(&w);
	put_pre_tokenizer(&w);
	put_post_processor(&w, first, last);
	put_decoder(&w);
	FSI_TRY(put_model(&w));
	put(&w, "}\n");
	w.out = config;
	put_config(&w);
	if (w.stopped)
		return fsi_cancelled(err);
	return w.ok ? FSI_OK : fsi_nomem(err, tokenizer_json->len);
}
