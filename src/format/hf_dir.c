/*
 * hf_dir.c
 *	  A whole Hugging Face directory into an HfModel: configuration, weights, tokenizer, tokens that
 *	  begin and end a text, card.
 */
#include "hf.h"

#include "format_cursor.h"
#include "model_slots.h"

static bool
in_vocab(const Gpt2Config *cfg, int64_t id)
{
	return id >= 0 && id < cfg->n_vocab;
}

static int32_t
look_up(const Tokenizer *tok, const char *token)
{
	return tok_lookup(tok, token, strlen(token));
}

static FsiStatus
no_token(const char *what, FsiError *err)
{
	fsi_fail(err, FSI_UNSUPPORTED, "the model has no token that %s", what);
	fsi_hint(err, "Name it in special_tokens_map.json or tokenizer_config.json.");
	return FSI_UNSUPPORTED;
}

/* BERT vocabularies: [CLS] text [SEP] answer [SEP], unless a post_processor has others, whatever eos_token_id says. */
static FsiStatus
choose_wordpiece(const HfConfig *config, const Tokenizer *tok, const TokMarks *marks, HfCard *card, Gpt2Config *cfg,
				 FsiError *err)
{
	int64_t		eos = config->answer_eos;

	cfg->begin = marks->known ? marks->first : tok->cls;
	cfg->end = tok->sep;
	cfg->end_prompt = marks->known ? marks->last : tok->sep;
	if (cfg->end == TOK_NONE)
		return no_token("ends an answer", err);
	if (eos != TOK_NONE && eos != cfg->end)
		hf_card_quirk(card, in_vocab(cfg, eos) ?
					  "eos_token_id %lld is not [SEP]: answers end at [SEP] %d" :
					  "eos_token_id %lld is outside the vocabulary: answers end at [SEP] %d",
					  (long long) eos, (int) cfg->end);
	return FSI_OK;
}

/*
 * Byte-level BPE: before a prompt and after it what the tokenizer puts round a text, mostly nothing; an answer ends at the
 * files' eos_token_id, else at the tokenizer's.
 */
static FsiStatus
choose_bpe(const HfConfig *config, const Tokenizer *tok, const TokMarks *marks, HfCard *card, Gpt2Config *cfg,
		   FsiError *err)
{
	int64_t		eos = config->answer_eos;

	cfg->begin = marks->first;
	cfg->end_prompt = marks->last;
	if (marks->first != TOK_NONE)
		hf_card_quirk(card, "the tokenizer puts token %d before a text: prompts begin with it", (int) marks->first);
	if (marks->last != TOK_NONE)
		hf_card_quirk(card, "the tokenizer puts token %d after a text: prompts end with it", (int) marks->last);
	cfg->end = in_vocab(cfg, eos) ? (int32_t) eos :
		in_vocab(cfg, tok->eos) ? tok->eos : look_up(tok, "<|endoftext|>");
	if (!in_vocab(cfg, cfg->end))
		return no_token("ends an answer", err);
	if (eos != config->eos && config->eos != TOK_NONE)
		hf_card_quirk(card, "eos_token_id %lld of generation_config.json is not config.json's %lld: it goes before that",
					  (long long) eos, (long long) config->eos);
	if (config->n_answer_eos > 1)
		hf_card_quirk(card, "eos_token_id lists %zu tokens: answers end at the first alone", config->n_answer_eos);
	if (cfg->end == eos && tok->eos != TOK_NONE && tok->eos != cfg->end)
		hf_card_quirk(card, "eos_token_id %lld is not the tokenizer's eos_token %d: answers end at eos_token_id",
					  (long long) eos, (int) tok->eos);
	if (eos != TOK_NONE && !in_vocab(cfg, eos))
		hf_card_quirk(card, "eos_token_id %lld is outside the vocabulary: answers end at %d",
					  (long long) eos, (int) cfg->end);
	return FSI_OK;
}

/* Segments: <|bos|> text <|eos|>, from config.json, else from the tokenizer. */
static FsiStatus
choose_segments(const HfConfig *config, const Tokenizer *tok, Gpt2Config *cfg, FsiError *err)
{
	cfg->begin = in_vocab(cfg, config->bos) ? (int32_t) config->bos : tok == NULL ? TOK_NONE : tok->bos;
	cfg->end = in_vocab(cfg, config->eos) ? (int32_t) config->eos : tok == NULL ? TOK_NONE : tok->eos;
	if (!in_vocab(cfg, cfg->begin))
		return no_token("begins a segment", err);
	if (!in_vocab(cfg, cfg->end))
		return no_token("ends a segment", err);
	return FSI_OK;
}

/* tok is NULL when the directory has no tokenizer (and none was asked for). */
static FsiStatus
choose_tokens(const HfConfig *config, const Tokenizer *tok, const TokMarks *marks, HfCard *card, Gpt2Config *cfg,
			  FsiError *err)
{
	if (config->bos != TOK_NONE && !in_vocab(cfg, config->bos))
		hf_card_quirk(card, "bos_token_id %lld is outside the vocabulary and is not used", (long long) config->bos);
	if (cfg->layout == GPT2_SEGMENTS)
		return choose_segments(config, tok, cfg, err);
	if (tok != NULL)
		return tok->kind == TOK_WORDPIECE ? choose_wordpiece(config, tok, marks, card, cfg, err) :
			choose_bpe(config, tok, marks, card, cfg, err);
	if (in_vocab(cfg, config->answer_eos))
		cfg->end = (int32_t) config->answer_eos;
	else if (config->answer_eos != TOK_NONE)
		hf_card_quirk(card, "eos_token_id %lld is outside the vocabulary and is not used", (long long) config->answer_eos);
	return FSI_OK;
}

static FsiStatus
build_tokenizer(const char *dir, bool need, FsiArena *arena, HfModel *out, Tokenizer *tok, TokMarks *marks, bool *have,
				FsiError *err)
{
	FsiStatus	status = tok_build_dir(dir, out->model.cfg.n_vocab, arena,
									   &out->tokenizer, &out->tokenizer_len, marks, err);

	*have = status == FSI_OK;
	if (*have)
		return tok_open(out->tokenizer, out->tokenizer_len, tok, err);
	out->tokenizer = NULL;
	out->tokenizer_len = 0;
	/* a directory without one, or with a kind that we do not run, still serves as a source of weights */
	if (!need && (status == FSI_MISSING || status == FSI_UNSUPPORTED))
		return FSI_OK;
	return status;
}

static FsiStatus
build_card(const HfConfig *config, const HfCard *card, const char *source, FsiArena *arena,
		   HfModel *out, FsiError *err)
{
	const Gpt2Config *cfg = &out->model.cfg;
	FsiBytes	b;
	bool		ok;

	fsi_bytes_init(&b, arena);
	ok = fsi_json_text(&b, "{\"name\": ") && fsi_json_string(&b, config->name, strlen(config->name)) &&
		fsi_json_printf(&b, ", \"model_type\": \"gpt2\", \"layout\": \"%s\", \"weights\": \"%s\", \"tokenizer\": %s",
						cfg->layout == GPT2_SEGMENTS ? "segments" : "prompt", source,
						out->tokenizer == NULL ? "null" : "true") &&
		fsi_json_text(&b, ", \"quirks\": [") && fsi_bytes_append(&b, card->quirks.data, card->quirks.len) &&
		fsi_json_text(&b, "]");
	if (config->own_card != NULL)
		ok = ok && fsi_json_text(&b, ", \"card\": ") && fsi_json_text(&b, config->own_card);
	ok = ok && fsi_bytes_append(&b, "}", 2);	/* with its zero */
	if (!ok || card->nomem)
		return fsi_nomem(err, b.len);
	out->card = (char *) b.data;
	out->card_len = b.len - 1;
	return FSI_OK;
}

FsiStatus
hf_read_dir(const char *dir, unsigned how, FsiArena *arena, HfModel *out, FsiError *err)
{
	HfConfig	config;
	HfWeights	weights;
	HfCard		card;
	Tokenizer	tok;
	TokMarks	marks;
	bool		have_tok;

	*out = (HfModel) {0};
	hf_card_init(&card, arena);
	FSI_TRY(hf_read_config(dir, arena, &config, err));
	FSI_TRY(hf_read_weights(dir, arena, &weights, err));
	FSI_TRY(hf_bind_weights(&config, &weights.set, (how & HF_TOKEN_TYPES) != 0, arena, &card, &out->model, &out->spelling_idf, err));
	FSI_TRY(build_tokenizer(dir, (how & HF_NEED_TOKENIZER) != 0, arena, out, &tok, &marks, &have_tok, err));
	FSI_TRY(choose_tokens(&config, have_tok ? &tok : NULL, &marks, &card, &out->model.cfg, err));
	FSI_TRY(model_check_config(&out->model.cfg, err));
	return build_card(&config, &card, weights.source, arena, out, err);
}
