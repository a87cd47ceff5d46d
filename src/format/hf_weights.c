/*
 * hf_weights.c
 *	  A directory's weight files into one TensorSet, and a TensorSet into a Gpt2Model.
 *
 * Weights are Conv1D: [inputs][outputs], y = x W + b; embeddings are [tokens][n_embd].
 * Names come without "transformer." (the readers drop it), so that files of both kinds match.
 */
#include "fsi_json.h"
#include "format_cursor.h"
#include "format_tensor.h"
#include "hf.h"
#include "model_slots.h"

#include <stdio.h>
#include <unistd.h>

#define INDEX_LIMIT ((size_t) 16 << 20)
#define SHARD_LIMIT 512

typedef FsiStatus (*TensorReader) (const char *path, FsiArena *arena, TensorSet *out, FsiError *err);

char *
hf_path(FsiArena *arena, const char *dir, const char *file)
{
	size_t		dir_len = strlen(dir);
	size_t		file_len = strlen(file);
	char	   *path = fsi_arena_alloc(arena, dir_len + file_len + 2);

	if (path != NULL)
	{
		memcpy(path, dir, dir_len);
		path[dir_len] = '/';
		memcpy(path + dir_len + 1, file, file_len + 1);
	}
	return path;
}

static bool
exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* ---- Shards ---- */

/* A plain file name: an index must not lead out of its directory. */
static bool
is_plain_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL && strlen(name) < 256;
}

/* The distinct file names of the index's weight_map. */
static FsiStatus
list_shards(const json_t *root, FsiArena *arena, char **files, int *n_file, FsiError *err)
{
	json_t	   *map = json_object_get(root, "weight_map");
	const char *name;
	json_t	   *value;

	*n_file = 0;
	if (!json_is_object(map) || json_object_size(map) == 0)
		return fsi_fail(err, FSI_CORRUPT, "the weights' index has no \"weight_map\"");
	json_object_foreach(map, name, value)
	{
		const char *file = json_string_value(value);
		int			i = 0;

		if (file == NULL || !is_plain_name(file))
			return fsi_fail(err, FSI_CORRUPT, "the weights' index names no plain file for \"%s\"",
							show_name(name, strlen(name)).text);
		while (i < *n_file && strcmp(files[i], file) != 0)
			i++;
		if (i < *n_file)
			continue;
		if (*n_file == SHARD_LIMIT)
			return fsi_fail(err, FSI_LIMIT, "the weights' index names more than %d files", SHARD_LIMIT);
		files[*n_file] = fsi_arena_strndup(arena, file, strlen(file));
		if (files[(*n_file)++] == NULL)
			return fsi_nomem(err, strlen(file));
	}
	return FSI_OK;
}

static FsiStatus
read_index(const char *path, FsiArena *arena, char **files, int *n_file, FsiError *err)
{
	uint8_t    *text;
	size_t		len;
	json_t	   *root;
	FsiStatus	status;

	FSI_TRY(fsi_read_file(path, INDEX_LIMIT, arena, &text, &len, err));
	FSI_TRY(fsi_json_check_values("the weights' index", (const char *) text, len, TENSOR_HEADER_VALUES, err));
	status = fsi_json_read(arena->host, (const char *) text, len, 0, &root, NULL, err);
	if (status == FSI_CORRUPT)
		return fsi_fail(err, FSI_CORRUPT, "the weights' index is not valid JSON");
	FSI_TRY(status);
	status = list_shards(root, arena, files, n_file, err);
	json_decref(root);
	return status;
}

static FsiStatus
read_shards(const char *dir, const char *index, TensorReader reader, FsiArena *arena,
			TensorSet *out, FsiError *err)
{
	char	  **files = fsi_arena_array(arena, SHARD_LIMIT, sizeof(char *));
	TensorSet  *sets = fsi_arena_array(arena, SHARD_LIMIT, sizeof(TensorSet));
	int			n_file = 0;

	if (files == NULL || sets == NULL)
		return fsi_nomem(err, SHARD_LIMIT * sizeof(TensorSet));
	FSI_TRY(read_index(index, arena, files, &n_file, err));
	for (int i = 0; i < n_file; i++)
	{
		char	   *path = hf_path(arena, dir, files[i]);

		if (path == NULL)
			return fsi_nomem(err, strlen(dir));
		FSI_TRY(reader(path, arena, &sets[i], err));
	}
	return tensors_merge(arena, n_file, sets, out, err);
}

FsiStatus
hf_read_weights(const char *dir, FsiArena *arena, HfWeights *out, FsiError *err)
{
	static const struct
	{
		const char *file;
		TensorReader reader;
		bool		index;
	}			kinds[] = {
		{"model.safetensors", safetensors_read, false},
		{"model.safetensors.index.json", safetensors_read, true},
		{"pytorch_model.bin", torchbin_read, false},
		{"pytorch_model.bin.index.json", torchbin_read, true},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		char	   *path = hf_path(arena, dir, kinds[i].file);

		if (path == NULL)
			return fsi_nomem(err, strlen(dir));
		if (!exists(path))
			continue;
		snprintf(out->source, sizeof(out->source), "%s", kinds[i].file);
		if (kinds[i].index)
			return read_shards(dir, path, kinds[i].reader, arena, &out->set, err);
		return kinds[i].reader(path, arena, &out->set, err);
	}
	fsi_fail(err, FSI_MISSING, "directory holds no weights");
	fsi_hint(err, "Put model.safetensors or pytorch_model.bin beside config.json.");
	return FSI_MISSING;
}

/* ---- Tensors into the model ---- */

typedef struct ShapeText
{
	char		text[96];
} ShapeText;

static ShapeText
show_shape(int n_dim, const int64_t *dim)
{
	ShapeText	shape = {"["};
	size_t		len = 1;

	for (int i = 0; i < n_dim; i++)
		len += (size_t) snprintf(shape.text + len, sizeof(shape.text) - len, i == 0 ? "%lld" : ", %lld",
								 (long long) dim[i]);
	snprintf(shape.text + len, sizeof(shape.text) - len, "]");
	return shape;
}

/* The data of a tensor of exactly this shape. */
static FsiStatus
take(const NamedTensor *t, int n_dim, const int64_t *dim, const float **out, FsiError *err)
{
	bool		same = t->n_dim == n_dim;

	for (int i = 0; same && i < n_dim; i++)
		same = t->dim[i] == dim[i];
	if (!same)
		return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" has shape %s, config.json asks for %s", t->name,
						show_shape(t->n_dim, t->dim).text, show_shape(n_dim, dim).text);
	*out = t->data;
	return FSI_OK;
}

static FsiStatus
missing(const HfConfig *config, const SlotAt *at, FsiArena *arena, const float **out, int *zeros, FsiError *err)
{
	size_t		n = (size_t) at->k * (size_t) at->n;

	if (!at->slot->bias || config->biases)
		return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" is missing", slot_name(at).text);
	*out = fsi_arena_zero(arena, n, sizeof(float));
	if (*out == NULL)
		return fsi_nomem(err, n * sizeof(float));
	(*zeros)++;
	return FSI_OK;
}

static FsiStatus
bind_slot(const HfConfig *config, const TensorSet *set, const SlotAt *at, FsiArena *arena,
		  Gpt2Model *model, int *zeros, FsiError *err)
{
	const NamedTensor *t = tensors_find(set, slot_name(at).text);
	const float *data = NULL;
	int64_t		dim[2];
	int			n_dim = 0;

	if (at->slot->k != SLOT_ONE)
		dim[n_dim++] = at->slot->outputs_first ? at->n : at->k;
	dim[n_dim++] = at->slot->outputs_first ? at->k : at->n;
	FSI_TRY(t == NULL ? missing(config, at, arena, &data, zeros, err) : take(t, n_dim, dim, &data, err));
	if (at->slot->matrix)
		*slot_matrix(model, at) = (KernMatrix) {.type = KERN_F32, .k = at->k, .n = at->n, .w = data,
			.transposed = at->slot->outputs_first};
	else
		*slot_floats(model, at) = data;
	return FSI_OK;
}

/*
 * Has the model no output matrix of its own?  One in the checkpoint that differs is what was trained, whatever
 * tie_word_embeddings says, whose default is true: as in version 5 of transformers; version 4 took wte.
 */
static bool
is_tied(const HfConfig *config, const TensorSet *set, HfCard *card)
{
	const NamedTensor *head = tensors_find(set, "lm_head.weight");
	const NamedTensor *wte = tensors_find(set, "wte.weight");
	bool		alike,			/* in shape */
				same;

	if (head == NULL)
	{
		if (!config->tie)
			hf_card_quirk(card, "lm_head.weight is missing though tie_word_embeddings is false: wte.weight is used");
		return true;
	}
	alike = wte != NULL && head->n_dim == 2 && wte->n_dim == 2 && memcmp(head->dim, wte->dim, sizeof(head->dim)) == 0;
	same = alike && memcmp(head->data, wte->data, (size_t) (head->dim[0] * head->dim[1]) * sizeof(float)) == 0;
	if (config->tie && !same)
		hf_card_quirk(card, alike ?
					  "lm_head.weight differs from wte.weight though tie_word_embeddings is true: lm_head.weight is used" :
					  "lm_head.weight has another shape than wte.weight: wte.weight is used, as tie_word_embeddings is true");
	return same || (config->tie && !alike);
}

/* Note a tensor that the model has no place for: the first in order of names. */
static FsiStatus
note_unused(const TensorSet *set, const Gpt2Config *cfg, int n_used, FsiArena *arena, HfCard *card, FsiError *err)
{
	bool	   *used;
	SlotAt		at;

	if (set->n <= n_used)
		return FSI_OK;
	used = fsi_arena_zero(arena, (size_t) set->n, sizeof(bool));
	if (used == NULL)
		return fsi_nomem(err, (size_t) set->n * sizeof(bool));
	for (bool more = slot_first(cfg, &at); more; more = slot_next(cfg, &at))
	{
		const NamedTensor *t = tensors_find(set, slot_name(&at).text);

		if (t != NULL)
			used[t - set->tensors] = true;
	}
	for (int i = 0; i < set->n; i++)
	{
		const char *name = set->tensors[i].name;

		if (used[i] || strcmp(name, "lm_head.weight") == 0 ||
			(cfg->layout == GPT2_SEGMENTS && strcmp(name, "fsi.spelling.idf") == 0))
			continue;
		hf_card_quirk(card, "tensors that GPT-2 does not have were ignored, the first is %s",
					  show_name(name, strlen(name)).text);
		break;
	}
	return FSI_OK;
}

/* wpe (positions, E) becomes wpe + wte[0]. */
static FsiStatus
add_token_type(Gpt2Model *model, FsiArena *arena, HfCard *card, FsiError *err)
{
	size_t		E = (size_t) model->cfg.n_embd,
				n = (size_t) model->cfg.n_positions * E;
	float	   *sum,
			   *type;

	if (model->cfg.layout != GPT2_PROMPT)
		return fsi_fail(err, FSI_INVALID, "a model of layout \"segments\" reads no token_type_ids");
	sum = fsi_arena_array(arena, n, sizeof(float));
	type = fsi_arena_array(arena, E, sizeof(float));
	if (sum == NULL || type == NULL)
		return fsi_nomem(err, n * sizeof(float));
	kern_matrix_column(&model->wte, 0, type);
	for (size_t i = 0; i < n; i++)
		sum[i] = model->wpe[i] + type[i % E];
	model->wpe = sum;
	hf_card_quirk(card, "wte.weight[0] was added to every position, as token_type_ids of zeros do");
	return FSI_OK;
}

FsiStatus
hf_bind_weights(const HfConfig *config, const TensorSet *set, bool token_types, FsiArena *arena,
				HfCard *card, Gpt2Model *model, const float **idf, FsiError *err)
{
	const NamedTensor *idf_tensor = tensors_find(set, "fsi.spelling.idf");
	const int64_t idf_dim = SPELL_BUCKETS;
	int			zeros = 0,
				used = 0;
	bool		finite;
	SlotAt		at;

	*model = (Gpt2Model) {.cfg = config->cfg, .pointing = config->pointing};
	model->cfg.tied = is_tied(config, set, card);
	*idf = NULL;
	FSI_TRY(slot_alloc_layers(model, arena, err));
	for (bool more = slot_first(&model->cfg, &at); more; more = slot_next(&model->cfg, &at), used++)
		FSI_TRY(bind_slot(config, set, &at, arena, model, &zeros, err));
	slot_bind_head(model);
	if (zeros > 0)
		hf_card_quirk(card, "%d missing biases are zero, as config.json says \"bias\": false", zeros);
	FSI_TRY(note_unused(set, &model->cfg, used - zeros, arena, card, err));

	if (token_types)
		FSI_TRY(add_token_type(model, arena, card, err));
	if (model->cfg.layout == GPT2_SEGMENTS)
	{
		if (idf_tensor == NULL)
			return fsi_fail(err, FSI_CORRUPT, "tensor \"fsi.spelling.idf\" is missing");
		FSI_TRY(take(idf_tensor, 1, &idf_dim, idf, err));
		FSI_TRY(floats_finite(*idf, SPELL_BUCKETS, arena->host, &finite, err));
		if (!finite)
			return fsi_fail(err, FSI_CORRUPT, "tensor \"fsi.spelling.idf\" holds a value that is not a finite number");
	}
	return model_check_finite(model, arena->host, err);
}
