/*
 * test_format_hf.c
 *	  Hugging Face directories: configuration, shapes, quirks of published models, tokens, card.
 */
#include "format_help.h"

#include <time.h>

static HfModel model;

static FsiStatus
read_dir(const char *dir, bool need_tokenizer)
{
	return hf_read_dir(dir, need_tokenizer ? HF_NEED_TOKENIZER : 0, &arena, &model, &err);
}

static int	next_dir;
static char last_dir[32];

/* A fresh directory of this model, read. */
static FsiStatus
read_tiny(TinyModel m, const char *more, bool vocab)
{
	snprintf(last_dir, sizeof(last_dir), "dir%d", next_dir++);
	if (m.vocab == 0)
		m.vocab = 30;
	if (m.prefix == NULL)
		m.prefix = "transformer.";
	return read_dir(tiny_dir(last_dir, &m, more, vocab), vocab);
}

static bool
card_says(const char *text)
{
	bool		says = model.card != NULL && strlen(model.card) == model.card_len && strstr(model.card, text) != NULL;

	if (!says)
		diag("card: %s", model.card == NULL ? "none" : model.card);
	return says;
}

static bool
same_values(const float *x, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (x[i] != tiny_value(name, i))
			return false;
	return true;
}

static void
test_plain(void)
{
	const Gpt2Config *cfg = &model.model.cfg;
	const Gpt2Model *m = &model.model;

	ok(fine(read_tiny((TinyModel) {.with_masks = true}, "", true)), "a directory as transformers saves it");
	ok(cfg->n_layer == 2 && cfg->n_head == 2 && cfg->n_embd == 8 && cfg->n_inner == 32 && cfg->n_positions == 12 &&
	   cfg->n_vocab == 30 && cfg->act == KERN_ACT_GELU_NEW && cfg->ln_eps == 1e-5f && cfg->tied &&
	   cfg->scale_attn_weights && !cfg->scale_attn_by_inverse_layer_idx && cfg->layout == GPT2_PROMPT,
	   "configuration and its defaults");
	ok(m->wte.type == KERN_F32 && m->wte.transposed && m->wte.k == 8 && m->wte.n == 30 &&
	   same_values(m->wte.w, "wte.weight", 240), "wte: one row a token");
	ok(m->head.w == m->wte.w && m->head.n == 30, "the head is wte");
	ok(!m->layers[1].fc.transposed && m->layers[1].fc.k == 8 && m->layers[1].fc.n == 32 &&
	   same_values(m->layers[1].fc.w, "h.1.mlp.c_fc.weight", 256) &&
	   same_values(m->layers[1].fc_bias, "h.1.mlp.c_fc.bias", 32), "h.1.mlp.c_fc: [in][out]");
	ok(same_values(m->layers[0].out.w, "h.0.mlp.c_proj.weight", 256) && m->layers[0].out.k == 32 &&
	   same_values(m->layers[0].proj.w, "h.0.attn.c_proj.weight", 64) &&
	   same_values(m->layers[0].qkv.w, "h.0.attn.c_attn.weight", 192) &&
	   same_values(m->layers[0].qkv_bias, "h.0.attn.c_attn.bias", 24) &&
	   same_values(m->layers[0].proj_bias, "h.0.attn.c_proj.bias", 8) &&
	   same_values(m->layers[0].out_bias, "h.0.mlp.c_proj.bias", 8), "attention and MLP of layer 0");
	ok(same_values(m->layers[1].ln1_gain, "h.1.ln_1.weight", 8) && same_values(m->layers[1].ln1_bias, "h.1.ln_1.bias", 8) &&
	   same_values(m->layers[1].ln2_gain, "h.1.ln_2.weight", 8) && same_values(m->layers[1].ln2_bias, "h.1.ln_2.bias", 8) &&
	   same_values(m->lnf_gain, "ln_f.weight", 8) && same_values(m->lnf_bias, "ln_f.bias", 8) &&
	   same_values(m->wpe, "wpe.weight", 96), "norms and positions");
	ok(cfg->begin == 2 && cfg->end_prompt == 3 && cfg->end == 3, "WordPiece: [CLS] text [SEP] answer [SEP]");
	ok(model.tokenizer != NULL && model.tokenizer_len > 0 && model.spelling_idf == NULL, "a tokenizer, no idf");
	ok(card_says("\"quirks\": []") && card_says("\"weights\": \"model.safetensors\""), "card of an ordinary model");
	ok(fine(read_tiny((TinyModel) {.prefix = ""}, "", true)) && card_says("\"quirks\": []"), "names without \"transformer.\"");
}

static void
test_config(void)
{
	static const struct
	{
		const char *more;
		FsiStatus	status;
		const char *message;
	}			cases[] = {
		{", \"n_head\": 3", FSI_CORRUPT, "not a multiple"},
		{", \"n_head\": 0", FSI_LIMIT, "n_head is 0"},
		{", \"n_layer\": \"2\"", FSI_CORRUPT, "\"n_layer\""},
		{", \"n_layer\": -2", FSI_CORRUPT, "\"n_layer\""},
		{", \"n_layer\": 100000", FSI_LIMIT, "n_layer is 100000"},
		{", \"n_embd\": 2000000000", FSI_LIMIT, "n_embd is 2000000000"},
		{", \"n_layer\": 4294967298", FSI_CORRUPT, "\"n_layer\""},
		{", \"vocab_size\": 2147483647", FSI_LIMIT, "vocab_size"},
		{", \"n_layer\": null", FSI_CORRUPT, "\"n_layer\""},
		{", \"model_type\": \"llama\"", FSI_UNSUPPORTED, "\"llama\""},
		{", \"model_type\": null", FSI_CORRUPT, "model_type"},
		{", \"activation_function\": \"silu\"", FSI_UNSUPPORTED, "\"silu\""},
		{", \"activation_function\": 3", FSI_UNSUPPORTED, "activation"},
		{", \"layer_norm_epsilon\": \"x\"", FSI_CORRUPT, "layer_norm_epsilon"},
		{", \"layer_norm_epsilon\": -1", FSI_CORRUPT, "layer_norm_epsilon"},
		{", \"scale_attn_weights\": 1", FSI_CORRUPT, "scale_attn_weights"},
		{", \"add_cross_attention\": true", FSI_UNSUPPORTED, "cross-attention"},
		{", \"eos_token_id\": \"x\"", FSI_CORRUPT, "eos_token_id"},
		{", \"n_inner\": 16", FSI_CORRUPT, "\"h.0.mlp.c_fc.weight\" has shape [8, 32], config.json asks for [8, 16]"},
		{", \"n_positions\": 13", FSI_CORRUPT, "\"wpe.weight\" has shape [12, 8], config.json asks for [13, 8]"},
		{", \"vocab_size\": 31", FSI_CORRUPT, "\"wte.weight\" has shape [30, 8], config.json asks for [31, 8]"},
		{", \"n_layer\": 3", FSI_CORRUPT, "\"h.2.ln_1.weight\" is missing"},
		{", \"fsi\": {\"layout\": \"rows\"}", FSI_UNSUPPORTED, "layout \"rows\""},
		{"} {", FSI_CORRUPT, "not valid JSON"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(refused(read_tiny((TinyModel) {0}, cases[i].more, true), cases[i].status, cases[i].message),
		   "config.json %zu: %s", i, cases[i].message);
	ok(fine(read_tiny((TinyModel) {0}, ", \"activation_function\": \"relu\", \"layer_norm_epsilon\": 0.5, "
					  "\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true, \"n_inner\": 32, "
					  "\"n_positions\": null, \"n_ctx\": 12", true)) &&
	   model.model.cfg.act == KERN_ACT_RELU && model.model.cfg.ln_eps == 0.5f && !model.model.cfg.scale_attn_weights &&
	   model.model.cfg.scale_attn_by_inverse_layer_idx && model.model.cfg.n_positions == 12, "every key is taken");
	ok(fine(read_tiny((TinyModel) {0}, ", \"activation_function\": \"gelu\"", true)) &&
	   model.model.cfg.act == KERN_ACT_GELU, "gelu is the erf form");
	ok(fine(read_tiny((TinyModel) {0}, ", \"activation_function\": \"gelu_pytorch_tanh\"", true)) &&
	   model.model.cfg.act == KERN_ACT_GELU_NEW, "gelu_pytorch_tanh is gelu_new");
}

/* wte[0] added to every position. */
static bool
typed_positions(void)
{
	for (size_t i = 0; i < 96; i++)
		if (model.model.wpe[i] != tiny_value("wpe.weight", i) + tiny_value("wte.weight", i % 8))
			return false;
	return true;
}

static void
test_token_types(void)
{
	TinyModel	m = {.vocab = 30, .prefix = "transformer."};

	ok(fine(hf_read_dir(tiny_dir("typed", &m, "", true), HF_NEED_TOKENIZER | HF_TOKEN_TYPES, &arena, &model, &err)) &&
	   typed_positions() && same_values(model.model.wte.w, "wte.weight", 240) && card_says("token_type_ids"),
	   "token_type_ids of zeros: wte[0] at every position");
}

static void
test_quirks(void)
{
	ok(fine(read_tiny((TinyModel) {0}, ", \"bos_token_id\": 50256, \"eos_token_id\": 50256", true)) &&
	   model.model.cfg.end == 3 && card_says("eos_token_id 50256 is outside the vocabulary") &&
	   card_says("bos_token_id 50256"), "eos 50256 outside the vocabulary: [SEP]");
	ok(fine(read_tiny((TinyModel) {.with_head = true}, ", \"tie_word_embeddings\": false", true)) &&
	   !model.model.cfg.tied && model.model.head.w != model.model.wte.w && model.model.head.transposed &&
	   same_values(model.model.head.w, "lm_head.weight", 240), "an untied head");
	ok(fine(read_tiny((TinyModel) {.with_head = true, .head_is_wte = true}, ", \"tie_word_embeddings\": false", true)) &&
	   model.model.cfg.tied, "a head equal to wte is tied");
	ok(fine(read_tiny((TinyModel) {.with_head = true}, "", true)) && !model.model.cfg.tied &&
	   same_values(model.model.head.w, "lm_head.weight", 240) && card_says("lm_head.weight differs"),
	   "a differing head though tied: what was trained");
	ok(fine(read_tiny((TinyModel) {.with_head = true, .reshape = "lm_head.weight"}, "", true)) && model.model.cfg.tied &&
	   card_says("lm_head.weight has another shape"), "a head of another shape though tied: wte");
	ok(refused(read_tiny((TinyModel) {.with_head = true, .reshape = "lm_head.weight"},
						 ", \"tie_word_embeddings\": false", true), FSI_CORRUPT, "\"lm_head.weight\" has shape [8, 30]"), "... or not tied");
	ok(fine(read_tiny((TinyModel) {0}, ", \"tie_word_embeddings\": false", true)) && model.model.cfg.tied &&
	   card_says("lm_head.weight is missing"), "a missing head");
	ok(refused(read_tiny((TinyModel) {.skip = "h.1.attn.c_attn.bias"}, "", true), FSI_CORRUPT,
			   "\"h.1.attn.c_attn.bias\" is missing"), "a missing bias");
	ok(fine(read_tiny((TinyModel) {.skip = "h.1.attn.c_attn.bias"}, ", \"bias\": false", true)) &&
	   model.model.layers[1].qkv_bias[23] == 0 && model.model.layers[0].qkv_bias[0] != 0 &&
	   card_says("1 missing biases are zero"), "a missing bias of a model without");
	ok(refused(read_tiny((TinyModel) {.skip = "ln_f.weight"}, ", \"bias\": false", true), FSI_CORRUPT,
			   "\"ln_f.weight\" is missing"), "a missing gain is never forgiven");
	ok(refused(read_tiny((TinyModel) {.reshape = "h.0.attn.c_attn.weight"}, "", true), FSI_CORRUPT,
			   "\"h.0.attn.c_attn.weight\" has shape [24, 8], config.json asks for [8, 24]"), "a transposed weight");
	ok(refused(read_tiny((TinyModel) {.poison = "h.1.mlp.c_proj.weight"}, "", true), FSI_CORRUPT,
			   "\"h.1.mlp.c_proj.weight\" holds a value that is not"), "a NaN names its tensor");
	ok(refused(read_tiny((TinyModel) {.poison = "ln_f.bias"}, "", true), FSI_CORRUPT, "\"ln_f.bias\""), "also in a vector");
	ok(fine(read_tiny((TinyModel) {.with_readout = true}, "", true)) &&
	   card_says("ignored, the first is fsi.readout.k"), "tensors without a place are reported");
}

/*
 * CPU seconds that it takes to read a directory of a model of many layers, 2 wide, with a further tensor or without: the
 * least of three, for a busy machine may count others' time as ours.
 */
static double
deep_seconds(const char *name, int n_layer, bool further)
{
	static const struct
	{
		const char *name,
				   *shape;
		int			n;
	}			parts[] = {
		{"ln_1.weight", "[2]", 2}, {"ln_1.bias", "[2]", 2}, {"attn.c_attn.weight", "[2,6]", 12},
		{"attn.c_attn.bias", "[6]", 6}, {"attn.c_proj.weight", "[2,2]", 4}, {"attn.c_proj.bias", "[2]", 2},
		{"ln_2.weight", "[2]", 2}, {"ln_2.bias", "[2]", 2}, {"mlp.c_fc.weight", "[2,8]", 16}, {"mlp.c_fc.bias", "[8]", 8},
		{"mlp.c_proj.weight", "[8,2]", 16}, {"mlp.c_proj.bias", "[2]", 2},
	};
	static const float zeros[24];
	const char *dir = temp_path(name);
	SafeFile	f = safe_begin();
	FsiBytes	weights;
	char		path[1100],
				text[256];
	double		least = 1e9;

	safe_add(&f, "wte.weight", "F32", "[5,2]", zeros, 10 * sizeof(float));
	safe_add(&f, "wpe.weight", "F32", "[12,2]", zeros, 24 * sizeof(float));
	safe_add(&f, "ln_f.weight", "F32", "[2]", zeros, 2 * sizeof(float));
	safe_add(&f, "ln_f.bias", "F32", "[2]", zeros, 2 * sizeof(float));
	for (int i = 0; i < n_layer * 12; i++)
	{
		snprintf(text, sizeof(text), "h.%d.%s", i / 12, parts[i % 12].name);
		safe_add(&f, text, "F32", parts[i % 12].shape, zeros, (size_t) parts[i % 12].n * sizeof(float));
	}
	if (further)
		safe_add(&f, "zzz", "F32", "[1]", zeros, sizeof(float));
	weights = safe_end(&f);
	mkdir(dir, 0700);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	write_file(path, weights.data, weights.len);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	snprintf(text, sizeof(text), "{\"model_type\": \"gpt2\", \"n_layer\": %d, \"n_head\": 1, \"n_embd\": 2, "
			 "\"n_positions\": 12, \"vocab_size\": 5, \"eos_token_id\": 4}", n_layer);
	write_text(path, text);
	for (int i = 0; i < 3; i++)
	{
		clock_t		start = clock();
		bool		done = fine(read_dir(dir, false));
		double		seconds = (double) (clock() - start) / CLOCKS_PER_SEC;

		ok(done, "a model of %d layers, %s", n_layer, name);
		least = seconds < least ? seconds : least;
	}
	return least;
}

/* To look for each tensor among all that the model has took 9 s with 1,024 layers. */
static void
test_deep(void)
{
	double		alone = deep_seconds("whole", 600, false),
				further = deep_seconds("further", 600, true);

	ok(card_says("ignored, the first is zzz") && further < 5 * (alone + 0.05), "a tensor without a place costs little");
	diag("%.3f s, without it %.3f s", further, alone);
}

/* A byte-level BPE with two tokens that may end an answer: which one does. */
static void
test_end(void)
{
	static const struct
	{
		const char *more;
		bool		named;		/* tokenizer_config.json names <|endoftext|> */
		int32_t		end;
		const char *quirk;
		const char *generation; /* generation_config.json, or NULL */
	}			cases[] = {
		{"", false, 0, "\"quirks\": []", NULL},
		{"", true, 0, "\"quirks\": []", NULL},
		{", \"eos_token_id\": 0", true, 0, "\"quirks\": []", NULL},
		{", \"eos_token_id\": 1", false, 1, "eos_token_id 1 is not the tokenizer's eos_token 0", NULL},
		{", \"eos_token_id\": [1, 0]", true, 1, "eos_token_id 1 is not the tokenizer's eos_token 0", NULL},
		{", \"eos_token_id\": 50256", true, 0, "eos_token_id 50256 is outside the vocabulary", NULL},
		{", \"eos_token_id\": [1, 0]", false, 1, "eos_token_id lists 2 tokens: answers end at the first alone", NULL},
		{", \"eos_token_id\": 0", true, 1, "eos_token_id 1 of generation_config.json is not config.json's 0", "{\"eos_token_id\": 1}"},
		{"", false, 1, "eos_token_id lists 3 tokens", "{\"max_length\": 9, \"eos_token_id\": [1, 0, 5]}"},
		{", \"eos_token_id\": 1", true, 1, "eos_token_id 1 is not the tokenizer's", "{\"eos_token_id\": null, \"top_k\": 5}"},
		{", \"eos_token_id\": 1", true, 0, "eos_token_id 99 is outside the vocabulary", "{\"eos_token_id\": 99}"},
	};
	const TinyModel m = {.vocab = 30, .prefix = "transformer."};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		name[32],
					path[1100];
		const char *dir;

		snprintf(name, sizeof(name), "end%zu", i);
		dir = tiny_dir(name, &m, cases[i].more, false);
		snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
		write_text(path, "{\"added_tokens\": [{\"id\": 0, \"content\": \"<|endoftext|>\", \"special\": true}, "
				   "{\"id\": 1, \"content\": \"<|im_end|>\", \"special\": true}], \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, "
				   "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2, \"b\": 3}, \"merges\": []}}");
		snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
		write_text(path, cases[i].named ? "{\"eos_token\": \"<|endoftext|>\"}" : "{}");
		snprintf(path, sizeof(path), "%s/generation_config.json", dir);
		if (cases[i].generation != NULL)
			write_text(path, cases[i].generation);
		ok(fine(read_dir(dir, true)) && model.model.cfg.end == cases[i].end && card_says(cases[i].quirk),
		   "BPE%s%s: answers end at %d", cases[i].more, cases[i].named ? ", eos_token named" : "", (int) cases[i].end);
		if (cases[i].generation == NULL)
			continue;
		write_text(path, "{\"eos_token_id\": \"x\"}");
		ok(refused(read_dir(dir, true), FSI_CORRUPT, "\"eos_token_id\" in generation_config.json"), "no id");
		write_text(path, "{");
		ok(refused(read_dir(dir, true), FSI_CORRUPT, "generation_config.json is not valid JSON"), "no JSON");
	}
}

/* A byte-level BPE that puts tokens round a text: prompts have them. */
static void
test_marks(void)
{
	const TinyModel m = {.vocab = 30, .prefix = "transformer."};
	const char *dir = tiny_dir("marks", &m, ", \"eos_token_id\": 0", false);
	char		path[1100];

	snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
	write_text(path, "{\"added_tokens\": [{\"id\": 0, \"content\": \"<|endoftext|>\", \"special\": true}, "
			   "{\"id\": 1, \"content\": \"<|start|>\", \"special\": true}], \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, "
			   "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<|start|>\"}}, "
			   "{\"Sequence\": {\"id\": \"A\"}}]}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2, \"b\": 3}, \"merges\": []}}");
	ok(fine(read_dir(dir, true)) && model.model.cfg.begin == 1 && model.model.cfg.end_prompt == TOK_NONE &&
	   model.model.cfg.end == 0 && card_says("puts token 1 before a text: prompts begin with it"), "BPE: a token before prompts");
}

#define READOUT \
	"\"spelling_weight\": 1, \"description_weight\": 0.5, \"example_sharpness\": 2, \"name_share\": 0.25, " \
	"\"name_scale\": 16, \"name_bias\": -1, \"both_scale\": 17, \"both_bias\": 0.125, \"example_scale\": 18, " \
	"\"example_bias\": 0, \"other_logit\": 5.5"
#define SEGMENTS(readout) \
	", \"bos_token_id\": 2, \"eos_token_id\": 3, \"fsi\": {\"layout\": \"segments\", \"name\": \"tiny \\\"one\\\"\", " \
	"\"readout\": {" readout "}, \"spelling\": {\"buckets\": 65536}, " \
	"\"card\": {\"licence\": \"none \\u4e2d \\\"0.10\", \"n\": [1, 2.5, 5e-05, 0.1, 9007199254740993, -1.5e300, 2.0, 1e16]}}"

static void
test_segments(void)
{
	const TinyModel m = {.with_readout = true};
	const PointingScalars *p = &model.model.pointing;

	ok(fine(read_tiny(m, SEGMENTS(READOUT), true)) && model.model.cfg.layout == GPT2_SEGMENTS, "a segments model");
	ok(model.model.cfg.begin == 2 && model.model.cfg.end_prompt == TOK_NONE && model.model.cfg.end == 3,
	   "begin and end from bos and eos");
	ok(refused(hf_read_dir(temp_path(last_dir), HF_TOKEN_TYPES, &arena, &model, &err), FSI_INVALID, "token_type_ids"),
	   "... reads no token_type_ids");
	ok(p->spelling_weight == 1 && p->description_weight == 0.5 && p->example_sharpness == 2 && p->name_share == 0.25 &&
	   p->name_scale == 16 && p->name_bias == -1 && p->both_scale == 17 && p->both_bias == 0.125 &&
	   p->example_scale == 18 && p->example_bias == 0 && p->other_logit == 5.5 && p->other_share == 0,
	   "readout's scalars, other_share 0 where it is absent");
	ok(fine(read_tiny(m, SEGMENTS(READOUT ", \"other_share\": 0.25"), true)) && p->other_share == 0.25, "... or given");
	ok(p->discriminant_share == 0, "no discriminant where it is absent");
	ok(fine(read_tiny(m, SEGMENTS(READOUT ", \"discriminant_share\": 1.5, \"discriminant_ridge\": 0.1"), true)) &&
	   p->discriminant_share == 1.5 && p->discriminant_ridge == 0.1, "... or given");
	ok(same_values(model.model.readout_q, "fsi.readout.q", 64) && same_values(model.model.readout_k, "fsi.readout.k", 64) &&
	   same_values(model.spelling_idf, "fsi.spelling.idf", SPELL_BUCKETS), "readout's tensors");
	ok(card_says("\"name\": \"tiny \\\"one\\\"\"") && card_says("\"card\": {\"licence\":\"none \xe4\xb8\xad \\\"0.10\","
			   "\"n\":[1,2.5,5e-5,0.1,9007199254740993,-1.5e300,2.0,1e16]}"),
	   "name and card of its own, its numbers as they are there");
	ok(refused(read_tiny((TinyModel) {0}, SEGMENTS(READOUT), true), FSI_CORRUPT, "fsi.readout.q"), "no readout tensors");
	ok(refused(read_tiny((TinyModel) {.with_readout = true, .skip = "fsi.spelling.idf"}, SEGMENTS(READOUT), true),
			   FSI_CORRUPT, "fsi.spelling.idf"), "no idf");
	ok(refused(read_tiny(m, SEGMENTS("\"name_scale\": 1"), true), FSI_CORRUPT, "\"spelling_weight\" is missing"), "a missing scalar");
	ok(refused(read_tiny(m, SEGMENTS(READOUT ", \"wrong\": 1"), true), FSI_UNSUPPORTED, "\"wrong\""), "an unknown scalar");
	ok(refused(read_tiny(m, SEGMENTS(READOUT ", \"discriminant_share\": 1"), true), FSI_CORRUPT, "\"discriminant_ridge\""),
	   "a discriminant without ridge");
	ok(refused(read_tiny(m, SEGMENTS(READOUT ", \"name_scale\": \"x\""), true), FSI_CORRUPT, "\"name_scale\""), "a scalar of text");
	ok(refused(read_tiny((TinyModel) {.with_readout = true, .poison = "fsi.spelling.idf"}, SEGMENTS(READOUT), true),
			   FSI_CORRUPT, "fsi.spelling.idf"), "a NaN in the idf");
	ok(refused(read_tiny(m, ", \"fsi\": {\"layout\": \"segments\", \"spelling\": {\"grams\": 4}, \"readout\": {" READOUT "}}", true),
			   FSI_UNSUPPORTED, "\"grams\""), "spelling features of another kind");
}

static void
test_directory(void)
{
	const TinyModel m = {.vocab = 30, .prefix = "transformer."};
	const char *dir;
	char		path[1024],
				to[1024];

	ok(refused(read_dir(temp_path("nothing"), false), FSI_MISSING, "config.json"), "no directory");
	dir = tiny_dir("none", &m, "", false);
	ok(fine(read_dir(dir, false)) && model.tokenizer == NULL && model.model.cfg.begin == TOK_NONE &&
	   model.model.cfg.end == TOK_NONE, "no tokenizer, none wanted");
	ok(refused(read_dir(dir, true), FSI_MISSING, ""), "no tokenizer");
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	snprintf(to, sizeof(to), "%s/model-00001-of-00001.safetensors", dir);
	rename(path, to);
	ok(refused(read_dir(dir, false), FSI_MISSING, "no weights"), "no weights");

	snprintf(path, sizeof(path), "%s/model.safetensors.index.json", dir);
	write_text(path, "{\"metadata\": {}, \"weight_map\": {\"a\": \"model-00001-of-00001.safetensors\", "
			   "\"b\": \"model-00001-of-00001.safetensors\"}}");
	ok(fine(read_dir(dir, false)) && model.model.wte.n == 30, "an index and its shard");
	write_text(path, "{\"weight_map\": {\"a\": \"../none/model-00001-of-00001.safetensors\"}}");
	ok(refused(read_dir(dir, false), FSI_CORRUPT, "no plain file"), "an index that leads out of the directory");
	write_text(path, "{\"weight_map\": {\"a\": \"model-00002-of-00001.safetensors\"}}");
	ok(refused(read_dir(dir, false), FSI_MISSING, "00002"), "an index of a missing shard");
	write_text(path, "{\"weight_map\": [1]}");
	ok(refused(read_dir(dir, false), FSI_CORRUPT, "weight_map"), "an index without a map");
}

/* Every reference model is read, with the shapes that its README states. */
static void
test_reference(void)
{
	static const struct
	{
		const char *name;
		int			n_layer,
					n_embd,
					n_vocab;
		bool		tied,
					tokenizer;
		const char *quirk;
	}			models[] = {
		{"chemts-gpt2-0.5m", 4, 96, 66, true, false, "\"quirks\": []"},
		{"chemts-gpt2-0.2m", 4, 64, 66, true, false, "\"quirks\": []"},
		{"capp-gpt", 4, 64, 53, true, false, "bos_token_id 50256 is outside"},
		{"gpt-nano-sort", 3, 48, 3, false, false, "\"quirks\": []"},
		{"tiny-qa-char", 2, 64, 64, true, false, "\"quirks\": []"},
		{"tiny-gpt2-bpe", 1, 16, 50257, true, true, "\"quirks\": []"},
	};
	const char *shared = tap_shared();
	char		dir[1024];

	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
	{
		const Gpt2Config *cfg = &model.model.cfg;

		if (shared == NULL)
		{
			skip("no shared reference model %s", models[i].name);
			continue;
		}
		snprintf(dir, sizeof(dir), "%s/reference/models/%s", shared, models[i].name);
		ok(fine(read_dir(dir, models[i].tokenizer)) && cfg->n_layer == models[i].n_layer &&
		   cfg->n_embd == models[i].n_embd && cfg->n_vocab == models[i].n_vocab && cfg->tied == models[i].tied &&
		   (!models[i].tokenizer || (cfg->begin == TOK_NONE && cfg->end == 50256)) && card_says(models[i].quirk),
		   "reference model %s", models[i].name);
	}
}

int
main(void)
{
	help_start();
	test_plain();
	test_config();
	test_token_types();
	test_quirks();
	test_deep();
	test_end();
	test_marks();
	test_segments();
	test_directory();
	test_reference();
	help_end();
	return tap_done();
}
