/*
 * format_help.h
 *	  Small source models made by the tests themselves: safetensors, PyTorch files, directories.
 */
#ifndef FORMAT_HELP_H
#define FORMAT_HELP_H

#include "fsi_format.h"
#include "must.h"
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static FsiArena arena;
static char temp_dir[256];

/* ---- A temporary directory, removed with what is in it. ---- */

__attribute__((unused)) static void
help_start(void)
{
	snprintf(temp_dir, sizeof(temp_dir), "%s/fsi-format-XXXXXX", temp_base());
	if (mkdtemp(temp_dir) == NULL)
	{
		perror(temp_dir);
		exit(1);
	}
	fsi_arena_init(&arena, &fsi_host_malloc);
}

__attribute__((unused)) static void
remove_tree(const char *path)
{
	DIR		   *dir = opendir(path);
	struct dirent *entry;
	char		child[1024];

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (unlink(child) != 0)
			remove_tree(child);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

__attribute__((unused)) static void
help_end(void)
{
	remove_tree(temp_dir);
	fsi_arena_free(&arena);
}

/* temp_dir/name, in one of a few static buffers. */
__attribute__((unused)) static const char *
temp_path(const char *name)
{
	static char paths[8][1024];
	static int	next;
	char	   *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", temp_dir, name);
	return path;
}

__attribute__((unused)) static void
write_file(const char *path, const void *data, size_t len)
{
	FILE	   *f = fopen(path, "wb");

	if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0)
	{
		perror(path);
		exit(1);
	}
}

__attribute__((unused)) static void
write_text(const char *path, const char *text)
{
	write_file(path, text, strlen(text));
}

/* ---- Bytes ---- */

__attribute__((unused)) static FsiBytes
new_bytes(void)
{
	FsiBytes	b;

	fsi_bytes_init(&b, &arena);
	return b;
}

__attribute__((unused)) static void
put(FsiBytes *b, const void *data, size_t len)
{
	if (!fsi_bytes_append(b, data, len))
		exit(1);
}

__attribute__((unused)) static void
put_text(FsiBytes *b, const char *text)
{
	put(b, text, strlen(text));
}

__attribute__((unused)) static void
put_le(FsiBytes *b, uint64_t value, int n)
{
	for (int i = 0; i < n; i++)
	{
		uint8_t		byte = i < 8 ? (uint8_t) (value >> (8 * i)) : 0;

		put(b, &byte, 1);
	}
}

/* ---- safetensors by hand ---- */

typedef struct SafeFile
{
	FsiBytes	header,
				data;
} SafeFile;

__attribute__((unused)) static SafeFile
safe_begin(void)
{
	SafeFile	f = {new_bytes(), new_bytes()};

	put_text(&f.header, "{\"__metadata__\":{\"format\":\"pt\"}");
	return f;
}

/* shape as JSON text: "[2, 3]" */
__attribute__((unused)) static void
safe_add(SafeFile *f, const char *name, const char *dtype, const char *shape, const void *data, size_t len)
{
	char		text[512];

	snprintf(text, sizeof(text), ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
			 name, dtype, shape, f->data.len, f->data.len + len);
	put_text(&f->header, text);
	put(&f->data, data, len);
}

__attribute__((unused)) static FsiBytes
safe_end(SafeFile *f)
{
	FsiBytes	b = new_bytes();

	put_text(&f->header, "}");
	while (f->header.len % 8 != 0)
		put_text(&f->header, " ");
	put_le(&b, f->header.len, 8);
	put(&b, f->header.data, f->header.len);
	put(&b, f->data.data, f->data.len);
	return b;
}

/* ---- A tiny GPT-2: 2 layers, 2 heads, width 8, inner 32, 12 positions. ---- */

typedef struct TinyModel
{
	int			vocab;
	const char *prefix;			/* "transformer." or "" */
	bool		with_head;		/* lm_head.weight of its own */
	bool		head_is_wte;
	bool		with_masks;
	bool		with_readout;
	const char *skip;			/* a tensor to leave out (after the prefix) */
	const char *poison;			/* a tensor that gets a NaN */
	const char *reshape;		/* a tensor that gets a wrong shape */
} TinyModel;

/* Value i of the tensor with this name: any fixed function will do. */
__attribute__((unused)) static float
tiny_value(const char *name, size_t i)
{
	uint64_t	h = 1469598103934665603u;

	for (const char *p = name; *p != '\0'; p++)
		h = (h ^ (uint8_t) *p) * 1099511628211u;
	h = (h + i) * 0x9e3779b97f4a7c15u;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9u;
	return (float) ((int) (h >> 40 & 0xffff) - 32768) / 32768.0f;
}

__attribute__((unused)) static void
tiny_tensor(SafeFile *f, const TinyModel *m, const char *name, int rows, int cols)
{
	size_t		n = (size_t) (rows == 0 ? 1 : rows) * (size_t) cols;
	float	   *x = calloc(n, sizeof(float));
	char		full[128],
				shape[64];
	const char *values = strcmp(name, "lm_head.weight") == 0 && m->head_is_wte ? "wte.weight" : name;

	if (m->skip != NULL && strcmp(m->skip, name) == 0)
	{
		free(x);
		return;
	}
	for (size_t i = 0; i < n; i++)
		x[i] = tiny_value(values, i);
	if (m->poison != NULL && strcmp(m->poison, name) == 0)
		x[n / 2] = 0.0f / 0.0f;
	snprintf(full, sizeof(full), "%s%s", strncmp(name, "lm_head", 7) == 0 || strncmp(name, "fsi.", 4) == 0 ?
			 "" : m->prefix, name);
	if (rows == 0)
		snprintf(shape, sizeof(shape), "[%d]", cols);
	else if (m->reshape != NULL && strcmp(m->reshape, name) == 0)
		snprintf(shape, sizeof(shape), "[%d,%d]", cols, rows);
	else
		snprintf(shape, sizeof(shape), "[%d,%d]", rows, cols);
	safe_add(f, full, "F32", shape, x, n * sizeof(float));
	free(x);
}

__attribute__((unused)) static FsiBytes
tiny_weights(const TinyModel *m)
{
	static const struct
	{
		const char *name;
		int			rows,
					cols;
	}			parts[] = {
		{"ln_1.weight", 0, 8}, {"ln_1.bias", 0, 8}, {"attn.c_attn.weight", 8, 24}, {"attn.c_attn.bias", 0, 24},
		{"attn.c_proj.weight", 8, 8}, {"attn.c_proj.bias", 0, 8}, {"ln_2.weight", 0, 8}, {"ln_2.bias", 0, 8},
		{"mlp.c_fc.weight", 8, 32}, {"mlp.c_fc.bias", 0, 32}, {"mlp.c_proj.weight", 32, 8}, {"mlp.c_proj.bias", 0, 8},
	};
	SafeFile	f = safe_begin();
	char		name[128];

	tiny_tensor(&f, m, "wte.weight", m->vocab, 8);
	tiny_tensor(&f, m, "wpe.weight", 12, 8);
	for (int layer = 0; layer < 2; layer++)
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		{
			snprintf(name, sizeof(name), "h.%d.%s", layer, parts[i].name);
			tiny_tensor(&f, m, name, parts[i].rows, parts[i].cols);
		}
	tiny_tensor(&f, m, "ln_f.weight", 0, 8);
	tiny_tensor(&f, m, "ln_f.bias", 0, 8);
	if (m->with_head)
		tiny_tensor(&f, m, "lm_head.weight", m->vocab, 8);
	if (m->with_masks)
	{
		tiny_tensor(&f, m, "h.0.attn.bias", 12, 12);
		tiny_tensor(&f, m, "h.0.attn.masked_bias", 0, 1);
	}
	if (m->with_readout)
	{
		tiny_tensor(&f, m, "fsi.readout.q", 8, 8);
		tiny_tensor(&f, m, "fsi.readout.k", 8, 8);
		tiny_tensor(&f, m, "fsi.spelling.idf", 0, SPELL_BUCKETS);
	}
	return safe_end(&f);
}

#define TINY_CONFIG \
	"{\"model_type\": \"gpt2\", \"n_layer\": 2, \"n_head\": 2, \"n_embd\": 8, \"n_inner\": null, " \
	"\"n_positions\": 12, \"vocab_size\": %d, \"activation_function\": \"gelu_new\"%s}"

/* vocab.txt of n entries: [PAD] [UNK] [CLS] [SEP] [MASK] a b c … */
__attribute__((unused)) static void
tiny_vocab(const char *dir, int n)
{
	static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
	FsiBytes	b = new_bytes();
	char		line[32],
				path[1024];

	for (int i = 0; i < n; i++)
	{
		if (i < 5)
			snprintf(line, sizeof(line), "%s\n", special[i]);
		else
			snprintf(line, sizeof(line), "%c%s\n", 'a' + (i - 5) % 26, (i - 5) / 26 == 0 ? "" : "x");
		put_text(&b, line);
	}
	snprintf(path, sizeof(path), "%s/vocab.txt", dir);
	write_file(path, b.data, b.len);
}

/* A directory temp_dir/name with config.json (more: further keys, ", \"k\": v"), weights, vocab.txt. */
__attribute__((unused)) static const char *
tiny_dir(const char *name, const TinyModel *m, const char *more, bool vocab)
{
	const char *dir = temp_path(name);
	char		path[1100],
				config[2048];
	FsiBytes	weights = tiny_weights(m);

	mkdir(dir, 0700);
	snprintf(config, sizeof(config), TINY_CONFIG, m->vocab, more);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	write_text(path, config);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	write_file(path, weights.data, weights.len);
	if (vocab)
		tiny_vocab(dir, m->vocab);
	return dir;
}

/* The elements of a tensor, or NULL where there is none of that name. */
__attribute__((unused)) static const float *
data_of(const TensorSet *set, const char *name)
{
	const NamedTensor *t = tensors_find(set, name);

	return t == NULL ? NULL : t->data;
}

/* Did the call succeed?  Says why not. */
__attribute__((unused)) static bool
fine(FsiStatus status)
{
	if (status != FSI_OK)
		diag("status %d: %s", status, err.message);
	return status == FSI_OK;
}

/* Did the call fail with this status and a message that holds text? */
__attribute__((unused)) static bool
refused(FsiStatus got, FsiStatus want, const char *text)
{
	bool		good = got == want && err.status == want &&
		(strstr(err.message, text) != NULL || strstr(err.detail, text) != NULL);

	if (!good)
		diag("status %d, wanted %d; message \"%s\" detail \"%s\"", got, want, got == FSI_OK ? "" : err.message,
			 got == FSI_OK ? "" : err.detail);
	return good;
}

#endif
