/*
 * hf_config.c
 *	  Read config.json of a GPT-2, and its "fsi" object when the model was made for segments.
 *
 * Keys and defaults: transformers' GPT2Config.  The shape must be written out; the rest has
 * the defaults of that class.  Of generation_config.json, which transformers' generate() goes
 * by where there is one, the token that ends an answer is read.  A segments model adds
 *	"fsi": {"layout": "segments", "name": "...", "readout": {one number for each field of
 *	PointingScalars}, "spelling": {the constants of src/text/spelling.c}, "card": {…}}.
 */
#include "hf.h"

#include "format_cursor.h"
#include "fsi_json.h"
#include "model_slots.h"

#include <math.h>

#define CONFIG_LIMIT ((size_t) 1 << 20)

typedef struct Activation
{
	const char *name;
	KernAct		act;
} Activation;

static const Activation activations[] = {
	{"gelu_new", KERN_ACT_GELU_NEW},
	{"gelu_pytorch_tanh", KERN_ACT_GELU_NEW},	/* the same formula */
	{"gelu", KERN_ACT_GELU},
	{"relu", KERN_ACT_RELU},
};

#define SCALAR(name) {#name, offsetof(PointingScalars, name), false}
const HfScalar hf_scalars[HF_SCALARS] = {
	SCALAR(spelling_weight),
	SCALAR(description_weight),
	SCALAR(example_sharpness),
	SCALAR(name_share),
	SCALAR(name_scale),
	SCALAR(name_bias),
	SCALAR(both_scale),
	SCALAR(both_bias),
	SCALAR(example_scale),
	SCALAR(example_bias),
	SCALAR(other_logit),
	{"other_share", offsetof(PointingScalars, other_share), true},
	{"discriminant_share", offsetof(PointingScalars, discriminant_share), true},
	{"discriminant_ridge", offsetof(PointingScalars, discriminant_ridge), true},
};
_Static_assert(HF_SCALARS * sizeof(double) == offsetof(PointingScalars, reserved), "a scalar is missing");

const HfConstant hf_spelling[HF_SPELLING] = {
	{"buckets", SPELL_BUCKETS}, {"grams", 3}, {"max_count", 255}, {"word_prefix", 1}, {"word_count", 2},
};

/* A key, or the general transformers name for it; JSON null counts as absent. */
static const json_t *
get(const json_t *object, const char *key, const char *alias)
{
	const json_t *value = json_object_get(object, key);

	if ((value == NULL || json_is_null(value)) && alias != NULL)
		value = json_object_get(object, alias);
	return value == NULL || json_is_null(value) ? NULL : value;
}

/* An int32; fallback < 0 means that the key must be there. */
static FsiStatus
get_int(const json_t *root, const char *key, const char *alias, int32_t fallback, int32_t *out, FsiError *err)
{
	const json_t *value = get(root, key, alias);

	*out = fallback;
	if (value == NULL)
		return fallback >= 0 ? FSI_OK : fsi_fail(err, FSI_CORRUPT, "config.json has no \"%s\"", key);
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > INT32_MAX)
		return fsi_fail(err, FSI_CORRUPT, "\"%s\" in config.json is not a size", key);
	*out = (int32_t) json_integer_value(value);
	return FSI_OK;
}

static FsiStatus
get_bool(const json_t *root, const char *key, bool fallback, bool *out, FsiError *err)
{
	const json_t *value = get(root, key, NULL);

	*out = value == NULL ? fallback : json_is_true(value);
	if (value != NULL && !json_is_boolean(value))
		return fsi_fail(err, FSI_CORRUPT, "\"%s\" in config.json is not true or false", key);
	return FSI_OK;
}

/* bos_token_id, eos_token_id of a file: an integer, the first of a list of *n, or absent. */
static FsiStatus
get_token(const json_t *root, const char *key, const char *file, int64_t *out, size_t *n, FsiError *err)
{
	const json_t *value = get(root, key, NULL);

	*n = json_is_array(value) ? json_array_size(value) : value != NULL;
	if (json_is_array(value))
		value = json_array_get(value, 0);
	*out = TOK_NONE;
	if (value == NULL)
		return FSI_OK;
	if (!json_is_integer(value))
		return fsi_fail(err, FSI_CORRUPT, "\"%s\" in %s is not an integer", key, file);
	*out = json_integer_value(value);
	return FSI_OK;
}

static FsiStatus
read_model_type(const json_t *root, FsiError *err)
{
	const char *type = json_string_value(get(root, "model_type", NULL));

	if (type == NULL)
		return fsi_fail(err, FSI_CORRUPT, "config.json has no \"model_type\"");
	if (strcmp(type, "gpt2") != 0)
	{
		fsi_fail(err, FSI_UNSUPPORTED, "model type \"%s\" is not supported",
				 show_name(type, strlen(type)).text);
		fsi_hint(err, "Only models of type \"gpt2\" can be used.");
		return FSI_UNSUPPORTED;
	}
	if (json_is_true(get(root, "add_cross_attention", NULL)))
		return fsi_fail(err, FSI_UNSUPPORTED, "a GPT-2 with cross-attention is not supported");
	return FSI_OK;
}

static FsiStatus
read_shape(const json_t *root, Gpt2Config *cfg, FsiError *err)
{
	const json_t *n_positions = get(root, "n_positions", "max_position_embeddings");

	FSI_TRY(get_int(root, "n_layer", "num_hidden_layers", -1, &cfg->n_layer, err));
	FSI_TRY(get_int(root, "n_head", "num_attention_heads", -1, &cfg->n_head, err));
	FSI_TRY(get_int(root, "n_embd", "hidden_size", -1, &cfg->n_embd, err));
	FSI_TRY(get_int(root, "vocab_size", NULL, -1, &cfg->n_vocab, err));
	FSI_TRY(n_positions == NULL ? get_int(root, "n_ctx", NULL, -1, &cfg->n_positions, err) :
			get_int(root, "n_positions", "max_position_embeddings", -1, &cfg->n_positions, err));
	FSI_TRY(get_int(root, "n_inner", NULL, 0, &cfg->n_inner, err));
	if (cfg->n_inner == 0)
		cfg->n_inner = cfg->n_embd > INT32_MAX / 4 ? INT32_MAX : 4 * cfg->n_embd;
	return FSI_OK;
}

static FsiStatus
read_arithmetic(const json_t *root, HfConfig *out, FsiError *err)
{
	Gpt2Config *cfg = &out->cfg;
	const json_t *act = get(root, "activation_function", NULL);
	const json_t *eps = get(root, "layer_norm_epsilon", NULL);
	const char *act_name = act == NULL ? "gelu_new" : json_string_value(act);

	cfg->act = KERN_ACT_NONE;
	for (size_t i = 0; act_name != NULL && i < sizeof(activations) / sizeof(activations[0]); i++)
		if (strcmp(act_name, activations[i].name) == 0)
			cfg->act = activations[i].act;
	if (cfg->act == KERN_ACT_NONE)
	{
		fsi_fail(err, FSI_UNSUPPORTED, "activation function \"%s\" is not supported",
				 act_name == NULL ? "?" : show_name(act_name, strlen(act_name)).text);
		fsi_hint(err, "Supported are gelu_new, gelu, gelu_pytorch_tanh and relu.");
		return FSI_UNSUPPORTED;
	}
	if (eps != NULL && !json_is_number(eps))
		return fsi_fail(err, FSI_CORRUPT, "\"layer_norm_epsilon\" in config.json is not a number");
	cfg->ln_eps = eps == NULL ? 1e-5f : (float) json_number_value(eps);
	FSI_TRY(get_bool(root, "scale_attn_weights", true, &cfg->scale_attn_weights, err));
	FSI_TRY(get_bool(root, "scale_attn_by_inverse_layer_idx", false,
					 &cfg->scale_attn_by_inverse_layer_idx, err));
	FSI_TRY(get_bool(root, "tie_word_embeddings", true, &out->tie, err));
	return get_bool(root, "bias", true, &out->biases, err);
}

/* The scalars of the pointing readout: all of them, no unknown one, finite. */
static FsiStatus
read_readout(json_t *readout, PointingScalars *out, FsiError *err)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(readout))
		return fsi_fail(err, FSI_CORRUPT, "config.json has no \"fsi\".\"readout\"");
	json_object_foreach(readout, key, value)
	{
		size_t		i = 0;

		while (i < HF_SCALARS && strcmp(key, hf_scalars[i].name) != 0)
			i++;
		if (i == HF_SCALARS)
			return fsi_fail(err, FSI_UNSUPPORTED, "\"%s\" in config.json's readout is unknown",
							show_name(key, strlen(key)).text);
		if (!json_is_number(value) || !(fabs(json_number_value(value)) <= MODEL_SCALAR_MAX))
			return fsi_fail(err, FSI_CORRUPT, "\"%s\" in config.json's readout is not a number within ±%g", key, MODEL_SCALAR_MAX);
		*(double *) ((char *) out + hf_scalars[i].offset) = json_number_value(value);
	}
	for (size_t i = 0; i < HF_SCALARS; i++)
		if (!hf_scalars[i].optional && json_object_get(readout, hf_scalars[i].name) == NULL)
			return fsi_fail(err, FSI_CORRUPT, "\"%s\" is missing in config.json's readout", hf_scalars[i].name);
	if (out->discriminant_share != 0 && !(out->discriminant_ridge > 0))
		return fsi_fail(err, FSI_CORRUPT, "\"discriminant_ridge\" in config.json's readout is not above 0");
	return FSI_OK;
}

static FsiStatus
check_spelling(const json_t *spelling, FsiError *err)
{
	const json_t *hash = get(spelling, "hash", NULL);

	for (size_t i = 0; i < HF_SPELLING; i++)
	{
		const json_t *value = get(spelling, hf_spelling[i].name, NULL);

		if (value != NULL && json_integer_value(value) != hf_spelling[i].value)
			return fsi_fail(err, FSI_UNSUPPORTED, "\"%s\" in config.json's spelling is not %d",
							hf_spelling[i].name, hf_spelling[i].value);
	}
	if (hash != NULL && (!json_is_string(hash) || strcmp(json_string_value(hash), HF_SPELLING_HASH) != 0))
		return fsi_fail(err, FSI_UNSUPPORTED, "\"hash\" in config.json's spelling is not \"" HF_SPELLING_HASH "\"");
	return FSI_OK;
}

static FsiStatus
copy_card(const json_t *card, FsiArena *arena, const char **out, FsiError *err)
{
	size_t		len;
	char	   *text;
	FsiStatus	status = fsi_json_compact(card, arena, &text, &len, err);

	if (status == FSI_CORRUPT)
		return fsi_fail(err, FSI_CORRUPT, "\"fsi\".\"card\" in config.json is not an object");
	*out = text;
	return status;
}

static FsiStatus
read_fsi(const json_t *root, FsiArena *arena, HfConfig *out, FsiError *err)
{
	const json_t *fsi = get(root, "fsi", NULL);
	const char *name = json_string_value(get(fsi, "name", NULL));
	const char *layout = json_string_value(get(fsi, "layout", NULL));
	const json_t *card = get(fsi, "card", NULL);

	out->cfg.layout = GPT2_PROMPT;
	if (name == NULL)
		name = json_string_value(get(root, "_name_or_path", NULL));
	/* a model name may look like owner/name; a path of the author's machine stays out */
	if (name != NULL && name[0] != '/' && name[0] != '.' && strlen(name) < HF_NAME_BYTES)
		strcpy(out->name, name);
	if (card != NULL)
		FSI_TRY(copy_card(card, arena, &out->own_card, err));
	if (layout == NULL || strcmp(layout, "prompt") == 0)
		return FSI_OK;
	if (strcmp(layout, "segments") != 0)
		return fsi_fail(err, FSI_UNSUPPORTED, "layout \"%s\" in config.json is unknown",
						show_name(layout, strlen(layout)).text);
	out->cfg.layout = GPT2_SEGMENTS;
	FSI_TRY(check_spelling(get(fsi, "spelling", NULL), err));
	return read_readout(json_object_get(fsi, "readout"), &out->pointing, err);
}

static FsiStatus
read_root(const json_t *root, FsiArena *arena, HfConfig *out, FsiError *err)
{
	size_t		n_bos;

	FSI_TRY(read_model_type(root, err));
	FSI_TRY(read_shape(root, &out->cfg, err));
	FSI_TRY(read_arithmetic(root, out, err));
	FSI_TRY(get_token(root, "bos_token_id", "config.json", &out->bos, &n_bos, err));
	FSI_TRY(get_token(root, "eos_token_id", "config.json", &out->eos, &out->n_answer_eos, err));
	out->answer_eos = out->eos;
	FSI_TRY(read_fsi(root, arena, out, err));
	out->cfg.tied = true;
	out->cfg.begin = out->cfg.end_prompt = out->cfg.end = TOK_NONE;
	return model_check_config(&out->cfg, err);
}

/* A file of the directory that holds a JSON object; FSI_MISSING if it is not there. */
static FsiStatus
load(const char *dir, const char *file, FsiArena *arena, json_t **root, FsiError *err)
{
	char	   *path = hf_path(arena, dir, file);
	uint8_t    *text;
	size_t		len;
	json_error_t where;
	FsiStatus	status;

	if (path == NULL)
		return fsi_nomem(err, strlen(dir));
	FSI_TRY(fsi_read_file(path, CONFIG_LIMIT, arena, &text, &len, err));
	status = fsi_json_read(arena->host, (const char *) text, len, 0, root, &where, err);
	if (status == FSI_CORRUPT)
	{
		fsi_fail(err, FSI_CORRUPT, "%s is not valid JSON", file);
		fsi_detail(err, "%s in line %d.", show_name(where.text, strlen(where.text)).text, where.line);
		return FSI_CORRUPT;
	}
	FSI_TRY(status);
	if (!json_is_object(*root))
	{
		json_decref(*root);
		return fsi_fail(err, FSI_CORRUPT, "%s is not a JSON object", file);
	}
	return FSI_OK;
}

/* Where answers end, if the directory says it apart. */
static FsiStatus
read_generation(const char *dir, FsiArena *arena, HfConfig *out, FsiError *err)
{
	const char *file = "generation_config.json";
	json_t	   *root;
	int64_t		eos;
	size_t		n;
	FsiStatus	status = load(dir, file, arena, &root, err);

	if (status == FSI_MISSING)
		return FSI_OK;
	FSI_TRY(status);
	status = get_token(root, "eos_token_id", file, &eos, &n, err);
	json_decref(root);
	if (status == FSI_OK && eos != TOK_NONE)
	{
		out->answer_eos = eos;
		out->n_answer_eos = n;
	}
	return status;
}

FsiStatus
hf_read_config(const char *dir, FsiArena *arena, HfConfig *out, FsiError *err)
{
	json_t	   *root;
	FsiStatus	status;

	*out = (HfConfig) {0};
	FSI_TRY(load(dir, "config.json", arena, &root, err));
	status = read_root(root, arena, out, err);
	json_decref(root);
	FSI_TRY(status);
	return read_generation(dir, arena, out, err);
}
