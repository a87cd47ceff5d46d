/*
 * hf_write.c
 *	  Write a model as a Hugging Face directory: config.json, tokenizer files, model.safetensors.
 *
 * Names and shapes come from the same table that reading uses (model_slots.c), so that what is
 * written here is what hf_read_dir() asks for.  Everything is float32: an int8 matrix is written
 * as the values that it stands for.  The files are made in a directory of another name, which
 * gets its own when all of it is on disk.
 */
#include "format_cursor.h"
#include "fsi_json.h"
#include "hf.h"
#include "model_slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t) 1 << 20)
#define PREFIX "transformer."

/* ---- config.json ---- */

static const char *
activation_name(KernAct act)
{
	return act == KERN_ACT_GELU ? "gelu" : act == KERN_ACT_RELU ? "relu" : "gelu_new";
}

static bool
put_token_id(FsiBytes *b, const char *key, int32_t id)
{
	return id == TOK_NONE ? fsi_json_printf(b, " \"%s\": null,\n", key) : fsi_json_printf(b, " \"%s\": %d,\n", key, id);
}

static bool
put_number(FsiBytes *b, double x, bool is_float)
{
	char		text[FSI_NUMBER_BYTES];

	fsi_number_text(x, is_float, text);
	return fsi_json_text(b, text);
}

/* The scalars of the pointing readout and the constants that go with them. */
static bool
put_readout(FsiBytes *b, const PointingScalars *p)
{
	bool		ok = fsi_json_text(b, ",\n  \"readout\": {");

	for (size_t i = 0; i < HF_SCALARS; i++)
		ok = ok && fsi_json_printf(b, "%s\n   \"%s\": ", i > 0 ? "," : "", hf_scalars[i].name) &&
			put_number(b, *(const double *) ((const char *) p + hf_scalars[i].offset), false);
	ok = ok && fsi_json_text(b, "},\n  \"spelling\": {");
	for (size_t i = 0; i < HF_SPELLING; i++)
		ok = ok && fsi_json_printf(b, "\"%s\": %d, ", hf_spelling[i].name, hf_spelling[i].value);
	return ok && fsi_json_text(b, "\"hash\": \"" HF_SPELLING_HASH "\"}");
}

/*
 * Name and card.  The card of a packed file wraps what its source said of itself (hf_dir.c): that is
 * taken out again, so that reading what is written here makes the same card.
 */
static bool
put_card(FsiBytes *b, const HfExport *src)
{
	json_t	   *root = NULL;
	const json_t *name,
			   *card;
	size_t		len = 0;
	char	   *text = NULL;
	bool		ok;

	if (src->card != NULL &&
		fsi_json_read(&fsi_host_malloc, src->card, src->card_len, 0, &root, NULL, NULL) == FSI_NOMEM)
		return false;
	name = json_object_get(root, "name");
	card = json_object_get(root, "card");
	ok = card == NULL || fsi_json_compact(card, b->arena, &text, &len, NULL) != FSI_NOMEM;
	ok = ok && fsi_json_text(b, ",\n  \"name\": ") &&
		fsi_json_string(b, json_is_string(name) ? json_string_value(name) : "", json_string_length(name));
	if (text != NULL)
		ok = ok && fsi_json_text(b, ",\n  \"card\": ") && fsi_bytes_append(b, text, len);
	json_decref(root);
	return ok;
}

static bool
put_fsi(FsiBytes *b, const HfExport *src)
{
	bool		segments = src->model->cfg.layout == GPT2_SEGMENTS;
	bool		ok = fsi_json_printf(b, " \"fsi\": {\n  \"layout\": \"%s\"", segments ? "segments" : "prompt");

	return ok && put_card(b, src) && (!segments || put_readout(b, &src->model->pointing)) &&
		fsi_json_text(b, "\n }\n");
}

static bool
put_config(FsiBytes *b, const HfExport *src)
{
	const Gpt2Config *c = &src->model->cfg;
	bool		segments = c->layout == GPT2_SEGMENTS;

	return fsi_json_text(b, "{\n \"architectures\": [\"GPT2LMHeadModel\"],\n \"model_type\": \"gpt2\",\n") &&
		fsi_json_printf(b, " \"n_layer\": %d,\n \"n_head\": %d,\n \"n_embd\": %d,\n \"n_inner\": %d,\n", c->n_layer,
						c->n_head, c->n_embd, c->n_inner) &&
		fsi_json_printf(b, " \"n_positions\": %d,\n \"n_ctx\": %d,\n \"vocab_size\": %d,\n", c->n_positions,
						c->n_positions, c->n_vocab) &&
		fsi_json_printf(b, " \"activation_function\": \"%s\",\n \"layer_norm_epsilon\": ", activation_name(c->act)) &&
		put_number(b, (double) c->ln_eps, true) &&
		fsi_json_printf(b, ",\n \"scale_attn_weights\": %s,\n \"scale_attn_by_inverse_layer_idx\": %s,\n",
						c->scale_attn_weights ? "true" : "false",
						c->scale_attn_by_inverse_layer_idx ? "true" : "false") &&
		fsi_json_printf(b, " \"reorder_and_upcast_attn\": false,\n \"tie_word_embeddings\": %s,\n",
						c->tied ? "true" : "false") &&
		put_token_id(b, "bos_token_id", segments ? c->begin : src->tok->bos) &&
		put_token_id(b, "eos_token_id", c->end) &&
		put_token_id(b, "pad_token_id", src->tok->pad) &&
		fsi_json_text(b, " \"torch_dtype\": \"float32\",\n") && put_fsi(b, src) && fsi_json_text(b, "}\n");
}

/* ---- model.safetensors ---- */

typedef struct Walk
{
	FsiBytes   *header;
	uint64_t	end;			/* of the last tensor */
	bool		ok;
} Walk;

/* A vector: rows is 0. */
static void
list_tensor(Walk *w, const char *name, int rows, int cols)
{
	uint64_t	start = w->end;
	char		shape[32];

	w->end += (uint64_t) (rows == 0 ? 1 : rows) * (uint64_t) cols * sizeof(float);
	if (rows == 0)
		snprintf(shape, sizeof(shape), "%d", cols);
	else
		snprintf(shape, sizeof(shape), "%d,%d", rows, cols);
	w->ok = w->ok && fsi_json_printf(w->header, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
									 name, shape, (unsigned long long) start, (unsigned long long) w->end);
}

/* The name in a file of GPT2LMHeadModel. */
static SlotName
tensor_name(const SlotAt *at)
{
	SlotName	inner = slot_name(at),
				full;
	bool		outside = strncmp(inner.text, "lm_head.", 8) == 0 || strncmp(inner.text, "fsi.", 4) == 0;

	snprintf(full.text, sizeof(full.text), "%s%.*s", outside ? "" : PREFIX, (int) (sizeof(full.text) - sizeof(PREFIX)),
			 inner.text);
	return full;
}

/* 8 bytes of length, then the header, padded so that the tensors lie aligned. */
static FsiStatus
tensor_header(const HfExport *src, FsiBytes *b, FsiError *err)
{
	Walk		w = {.header = b, .ok = true};
	uint64_t	len = 0;
	SlotAt		at;

	w.ok = fsi_bytes_append(b, &len, sizeof(len)) && fsi_json_text(b, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (bool more = slot_first(&src->model->cfg, &at); more; more = slot_next(&src->model->cfg, &at))
	{
		bool		vector = at.slot->k == SLOT_ONE;

		list_tensor(&w, tensor_name(&at).text, vector ? 0 : at.slot->outputs_first ? at.n : at.k,
					at.slot->outputs_first ? at.k : at.n);
	}
	if (src->spelling_idf != NULL)
		list_tensor(&w, "fsi.spelling.idf", 0, SPELL_BUCKETS);
	w.ok = w.ok && fsi_json_text(b, "}");
	while (w.ok && b->len % 64 != 0)
		w.ok = fsi_json_text(b, " ");
	if (!w.ok)
		return fsi_nomem(err, b->len);
	len = b->len - sizeof(len);
	memcpy(b->data, &len, sizeof(len));
	return FSI_OK;
}

/* ---- Files ---- */

typedef struct DirWriter
{
	const HfExport *src;
	const FsiHost *host;
	FsiError   *err;
	FsiArena	arena;
	HfTemp		temp;
	const char *shown;			/* the file in hand */
	int			fd;
	size_t		since_check;	/* bytes since the host was asked */
} DirWriter;

static FsiStatus
write_bytes(DirWriter *w, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0)
	{
		ssize_t		n = write(w->fd, p, len < BUFFER_BYTES ? len : BUFFER_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fsi_fail_errno(w->err, "could not write file \"%s\"", w->shown);
		p += n;
		len -= (size_t) n;
		w->since_check += (size_t) n;
		if (w->since_check < BUFFER_BYTES)
			continue;
		w->since_check = 0;
		if (fsi_should_stop(w->host))
			return fsi_cancelled(w->err);
	}
	return FSI_OK;
}

/* A matrix as floats in the source's order: [n][k] for embeddings, else [k][n]. */
static FsiStatus
write_matrix(DirWriter *w, const KernMatrix *m, bool outputs_first)
{
	FsiArenaMark mark = fsi_arena_mark(&w->arena);
	size_t		count = outputs_first ? (size_t) m->k : (size_t) m->k * (size_t) m->n;
	float	   *values = fsi_arena_array(&w->arena, count, sizeof(float));
	float	   *column = fsi_arena_array(&w->arena, (size_t) m->k, sizeof(float));
	size_t		since = 0;
	FsiStatus	status = FSI_OK;

	if (values == NULL || column == NULL)
		return fsi_nomem(w->err, count * sizeof(float));
	for (int n = 0; n < m->n && status == FSI_OK; n++)
	{
		kern_matrix_column(m, n, column);
		if (outputs_first)
			status = write_bytes(w, column, (size_t) m->k * sizeof(float));
		else
			for (int k = 0; k < m->k; k++)
				values[(size_t) k * (size_t) m->n + (size_t) n] = column[k];
		if (status == FSI_OK)
			status = weights_go_on(w->host, (size_t) m->k, &since, w->err);
	}
	if (status == FSI_OK && !outputs_first)
		status = write_bytes(w, values, count * sizeof(float));
	fsi_arena_release(&w->arena, mark);
	return status;
}

static FsiStatus
write_tensors(DirWriter *w)
{
	Gpt2Model	model = *w->src->model;	/* the table hands out pointers that may be written to */
	SlotAt		at;

	for (bool more = slot_first(&model.cfg, &at); more; more = slot_next(&model.cfg, &at))
	{
		if (at.slot->matrix)
			FSI_TRY(write_matrix(w, slot_matrix(&model, &at), at.slot->outputs_first));
		else
			FSI_TRY(write_bytes(w, *slot_floats(&model, &at), (size_t) at.k * (size_t) at.n * sizeof(float)));
	}
	if (w->src->spelling_idf == NULL)
		return FSI_OK;
	return write_bytes(w, w->src->spelling_idf, SPELL_BUCKETS * sizeof(float));
}

/* One file of the directory; tensors: what follows the bytes. */
static FsiStatus
write_file(DirWriter *w, const char *name, const FsiBytes *bytes, bool tensors)
{
	char	   *path = hf_path(&w->arena, w->temp.path, name);
	FsiStatus	status;

	if (path == NULL)
		return fsi_nomem(w->err, strlen(w->temp.path));
	w->shown = name;
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (w->fd < 0)
		return fsi_fail_errno(w->err, "could not create file \"%s\"", name);
	status = write_bytes(w, bytes->data, bytes->len);
	if (status == FSI_OK && tensors)
		status = write_tensors(w);
	if (status == FSI_OK && fsync(w->fd) != 0)
		status = fsi_fail_errno(w->err, "could not fsync file \"%s\"", name);
	if (close(w->fd) != 0 && status == FSI_OK)
		status = fsi_fail_errno(w->err, "could not write file \"%s\"", name);
	return status;
}

static FsiStatus
write_files(DirWriter *w)
{
	const HfExport *src = w->src;
	const Gpt2Config *cfg = &src->model->cfg;
	bool		segments = cfg->layout == GPT2_SEGMENTS;
	FsiBytes	tokenizer,
				members,
				text;

	fsi_bytes_init(&tokenizer, &w->arena);
	fsi_bytes_init(&members, &w->arena);
	FSI_TRY(tok_write(src->tok, cfg->begin, segments ? cfg->end : cfg->end_prompt, &tokenizer, &members, w->err));
	FSI_TRY(write_file(w, "tokenizer.json", &tokenizer, false));

	fsi_bytes_init(&text, &w->arena);
	if (!fsi_json_text(&text, "{") || !fsi_bytes_append(&text, members.data, members.len) ||
		!fsi_json_printf(&text, ",\n \"model_max_length\":%d}\n", cfg->n_positions))
		return fsi_nomem(w->err, members.len);
	FSI_TRY(write_file(w, "tokenizer_config.json", &text, false));

	fsi_bytes_init(&text, &w->arena);
	if (!put_config(&text, src))
		return fsi_nomem(w->err, text.len);
	FSI_TRY(write_file(w, "config.json", &text, false));

	fsi_bytes_init(&text, &w->arena);
	FSI_TRY(tensor_header(src, &text, w->err));
	return write_file(w, "model.safetensors", &text, true);
}

static FsiStatus
sync_path(DirWriter *w, const char *path)
{
	if (fsi_sync_dir(path) != 0)
		return fsi_fail_errno(w->err, "could not fsync directory \"%s\"", path);
	return FSI_OK;
}

/* Everything after the arena is there. */
static FsiStatus
write_dir(DirWriter *w, const char *dir)
{
	char	   *parent = hf_path(&w->arena, dir, "..");
	FsiStatus	status;

	if (parent == NULL)
		return fsi_nomem(w->err, strlen(dir));
	FSI_TRY(hf_temp_make(dir, &w->arena, &w->temp, w->err));
	status = write_files(w);
	if (status == FSI_OK)
		status = sync_path(w, w->temp.path);
	if (status == FSI_OK && rename(w->temp.path, dir) != 0)
		status = fsi_fail_errno(w->err, "could not rename directory \"%s\" to \"%s\"", w->temp.path, dir);
	if (status != FSI_OK)
		hf_temp_remove(&w->temp);
	close(w->temp.fd);
	return status != FSI_OK ? status : sync_path(w, parent);
}

FsiStatus
hf_write_dir(const char *dir, const HfExport *src, const FsiHost *host, FsiError *err)
{
	DirWriter	w = {.src = src, .host = host, .err = err, .shown = dir, .fd = -1};
	FsiStatus	status;

	if (src->model->cfg.layout == GPT2_SEGMENTS && src->spelling_idf == NULL)
		return fsi_fail(err, FSI_INVALID, "model to be written has no spelling idf");
	fsi_arena_init(&w.arena, host);
	status = write_dir(&w, dir);
	fsi_arena_free(&w.arena);
	return status;
}
