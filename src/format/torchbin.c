/*
 * torchbin.c
 *	  Read a PyTorch .bin (pytorch_model.bin, state_dict.pt): both containers, one way to the tensors.
 *
 * zip (since 1.6): data.pkl beside data/KEY, one entry for each storage.
 * legacy: pickles of a magic number, a version, the writer's type sizes, the state_dict and the list
 * of keys; then for each key in that order an int64 count and the raw elements.
 * Source: torch/serialization.py's description of what it writes.
 */
#include "torchbin.h"

#include <stdlib.h>

/* LONG1, ten bytes: 0x1950a86a20f9469cfc6c */
static const uint8_t legacy_magic[12] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

#define LEGACY_VERSION 1001

/* ---- Storages by key ---- */

static int
compare_keys(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t		n = a_len < b_len ? a_len : b_len;
	int			order = n == 0 ? 0 : memcmp(a, b, n);

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int
compare_blobs(const void *a, const void *b)
{
	const TorchBlob *x = a;
	const TorchBlob *y = b;

	return compare_keys(x->key, x->key_len, y->key, y->key_len);
}

void
torchblobs_sort(TorchBlobs *blobs)
{
	if (blobs->n > 1)
		qsort(blobs->blobs, blobs->n, sizeof(TorchBlob), compare_blobs);
}

const TorchBlob *
torchblobs_twice(const TorchBlobs *blobs)
{
	for (size_t i = 1; i < blobs->n; i++)
		if (compare_blobs(&blobs->blobs[i - 1], &blobs->blobs[i]) == 0)
			return &blobs->blobs[i];
	return NULL;
}

static const TorchBlob *
find_blob(const TorchBlobs *blobs, const char *key, size_t key_len)
{
	TorchBlob	wanted = {.key = key, .key_len = key_len};

	return blobs->n == 0 ? NULL : bsearch(&wanted, blobs->blobs, blobs->n, sizeof(TorchBlob), compare_blobs);
}

/* ---- From the pickle's values to tensors ---- */

typedef struct TorchFile
{
	FsiArena   *arena;
	FsiError   *err;
	TensorBuild build;
	TorchBlobs	blobs;
	const char *prefix;			/* of a storage's key among the blobs */
	size_t		prefix_len;
} TorchFile;

/* A storage's bytes; prefix + key is the zip entry's name. */
static FsiStatus
find_storage(TorchFile *f, const PickleStorage *storage, const uint8_t **data)
{
	size_t		len = f->prefix_len + storage->key_len;
	FsiArenaMark mark = fsi_arena_mark(f->arena);
	char	   *key = fsi_arena_alloc(f->arena, len + 1);
	const TorchBlob *blob;
	uint64_t	bytes;

	if (key == NULL)
		return fsi_nomem(f->err, len);
	memcpy(key, f->prefix, f->prefix_len);
	memcpy(key + f->prefix_len, storage->key, storage->key_len);
	blob = find_blob(&f->blobs, key, len);
	fsi_arena_release(f->arena, mark);
	if (blob == NULL || !size_mul(storage->count, storage->item, &bytes) || bytes > blob->len)
		return fsi_fail(f->err, FSI_CORRUPT, "PyTorch file is damaged: storage \"%s\" is missing or too short",
						show_name(storage->key, storage->key_len).text);
	*data = blob->data;
	return FSI_OK;
}

static FsiStatus
add_tensor(TorchFile *f, const PickleValue *name, const PickleTensor *tensor)
{
	TensorSource src = {
		.name = name->string.s, .name_len = name->string.len,
		.type = tensor->storage->type, .n_dim = tensor->n_dim,
		.offset = tensor->offset, .count = tensor->storage->count,
	};

	if (src.type == ELEMENT_OTHER || tensors_is_mask(src.name, src.name_len))
		return FSI_OK;
	if (src.n_dim > TENSOR_MAX_DIMS)
		return fsi_fail(f->err, FSI_UNSUPPORTED, "tensor \"%s\" has more than %d dimensions",
						show_name(src.name, src.name_len).text, TENSOR_MAX_DIMS);
	memcpy(src.dim, tensor->dim, sizeof(src.dim));
	memcpy(src.stride, tensor->stride, sizeof(src.stride));
	FSI_TRY(find_storage(f, tensor->storage, &src.data));
	return tensors_add(&f->build, &src, f->err);
}

static FsiStatus
add_dict(TorchFile *f, const PickleValue *dict)
{
	for (size_t i = 0; i + 1 < dict->items.n; i += 2)
	{
		const PickleValue *name = dict->items.at[i];
		const PickleValue *value = dict->items.at[i + 1];

		if (name->kind == PICKLE_STRING && value->kind == PICKLE_TENSOR)
			FSI_TRY(add_tensor(f, name, value->tensor));
	}
	return FSI_OK;
}

/* The state_dict itself, or a checkpoint that holds it under a usual name. */
static FsiStatus
add_all(TorchFile *f, const PickleValue *root, TensorSet *out)
{
	static const char *const wrappers[] = {"state_dict", "model_state_dict", "model"};

	if (root->kind != PICKLE_DICT)
		return fsi_fail(f->err, FSI_UNSUPPORTED, "PyTorch file holds no dictionary of tensors");
	for (size_t i = 0; i + 1 < root->items.n; i += 2)
	{
		const PickleValue *key = root->items.at[i];
		const PickleValue *value = root->items.at[i + 1];

		for (size_t w = 0; w < sizeof(wrappers) / sizeof(wrappers[0]); w++)
			if (key->kind == PICKLE_STRING && value->kind == PICKLE_DICT &&
				key->string.len == strlen(wrappers[w]) && memcmp(key->string.s, wrappers[w], key->string.len) == 0)
			{
				FSI_TRY(add_dict(f, value));
				return tensors_finish(&f->build, out, f->err);
			}
	}
	FSI_TRY(add_dict(f, root));
	return tensors_finish(&f->build, out, f->err);
}

/* ---- zip ---- */

/* The folder that holds data.pkl: exactly one. */
static FsiStatus
find_root(TorchFile *f, const TorchBlob **pickle)
{
	static const char tail[] = "data.pkl";
	const size_t tail_len = sizeof(tail) - 1;

	*pickle = NULL;
	for (size_t i = 0; i < f->blobs.n; i++)
	{
		const TorchBlob *blob = &f->blobs.blobs[i];
		size_t		folder = blob->key_len - tail_len;

		if (blob->key_len < tail_len || memcmp(blob->key + folder, tail, tail_len) != 0 ||
			(folder > 0 && blob->key[folder - 1] != '/'))
			continue;
		if (*pickle != NULL)
			return fsi_fail(f->err, FSI_CORRUPT, "PyTorch file is damaged: two data.pkl");
		*pickle = blob;
	}
	if (*pickle == NULL)
		return fsi_fail(f->err, FSI_UNSUPPORTED, "zip file holds no data.pkl: it was not written by PyTorch");
	return FSI_OK;
}

static FsiStatus
check_byte_order(TorchFile *f, const char *folder, size_t folder_len)
{
	static const char tail[] = "byteorder";
	char		key[512];
	const TorchBlob *order;

	if (folder_len + sizeof(tail) > sizeof(key))
		return fsi_fail(f->err, FSI_CORRUPT, "PyTorch file is damaged: its folder has a very long name");
	memcpy(key, folder, folder_len);
	memcpy(key + folder_len, tail, sizeof(tail));
	order = find_blob(&f->blobs, key, folder_len + sizeof(tail) - 1);
	if (order != NULL && (order->len != 6 || memcmp(order->data, "little", 6) != 0))
		return fsi_fail(f->err, FSI_UNSUPPORTED, "PyTorch file was written on a big-endian machine");
	return FSI_OK;
}

static FsiStatus
parse_zip(TorchFile *f, const uint8_t *bytes, size_t len, TensorSet *out)
{
	const TorchBlob *pickle;
	PickleResult result;
	size_t		folder_len;
	char	   *prefix;
	Cursor		c;

	FSI_TRY(torchzip_entries(bytes, len, f->arena, &f->blobs, f->err));
	FSI_TRY(find_root(f, &pickle));
	folder_len = pickle->key_len - strlen("data.pkl");
	FSI_TRY(check_byte_order(f, pickle->key, folder_len));
	prefix = fsi_arena_alloc(f->arena, folder_len + 8);
	if (prefix == NULL)
		return fsi_nomem(f->err, folder_len + 8);
	memcpy(prefix, pickle->key, folder_len);
	memcpy(prefix + folder_len, "data/", 5);
	f->prefix = prefix;
	f->prefix_len = folder_len + 5;
	c = cursor_init(pickle->data, (size_t) pickle->len);
	FSI_TRY(pickle_read(&c, f->arena, &result, f->err));
	return add_all(f, result.value, out);
}

/* ---- legacy ---- */

static FsiStatus
bad_legacy(TorchFile *f, const char *what)
{
	return fsi_fail(f->err, FSI_CORRUPT, "PyTorch file is damaged: %s", what);
}

/* Element sizes by key: from the persistent ids of the state_dict's pickle. */
static FsiStatus
index_storages(TorchFile *f, const PickleItems *storages, TorchBlobs *out)
{
	out->n = storages->n;
	out->blobs = fsi_arena_array(f->arena, out->n, sizeof(TorchBlob));
	if (out->blobs == NULL)
		return fsi_nomem(f->err, out->n * sizeof(TorchBlob));
	for (size_t i = 0; i < out->n; i++)
	{
		const PickleStorage *s = &storages->at[i]->storage;

		out->blobs[i] = (TorchBlob) {.key = s->key, .key_len = s->key_len, .len = s->item};
	}
	torchblobs_sort(out);
	return FSI_OK;
}

/* The raw part: count and elements of each key in turn. */
static FsiStatus
read_storages(TorchFile *f, Cursor *c, const PickleValue *keys, const TorchBlobs *items)
{
	f->blobs.blobs = fsi_arena_array(f->arena, keys->items.n, sizeof(TorchBlob));
	if (f->blobs.blobs == NULL)
		return fsi_nomem(f->err, keys->items.n * sizeof(TorchBlob));
	for (size_t i = 0; i < keys->items.n; i++)
	{
		const PickleValue *key = keys->items.at[i];
		const TorchBlob *item = key->kind != PICKLE_STRING ? NULL :
			find_blob(items, key->string.s, key->string.len);
		uint64_t	count = cursor_u64(c);
		uint64_t	bytes;
		TorchBlob  *blob = &f->blobs.blobs[f->blobs.n++];

		if (item == NULL || !size_mul(count, item->len, &bytes))
			return bad_legacy(f, "its list of storages does not match its tensors");
		*blob = (TorchBlob) {.key = key->string.s, .key_len = key->string.len, .len = bytes};
		blob->data = cursor_bytes(c, bytes);
		if (c->failed)
			return bad_legacy(f, "it ends inside a storage");
	}
	torchblobs_sort(&f->blobs);
	return torchblobs_twice(&f->blobs) == NULL ? FSI_OK : bad_legacy(f, "its list of storages names one twice");
}

static FsiStatus
check_writer(TorchFile *f, const PickleValue *version, const PickleValue *info)
{
	if (version->kind != PICKLE_INT || version->integer != LEGACY_VERSION || info->kind != PICKLE_DICT)
		return fsi_fail(f->err, FSI_UNSUPPORTED, "PyTorch file has an unknown version");
	for (size_t i = 0; i + 1 < info->items.n; i += 2)
	{
		const PickleValue *key = info->items.at[i];
		const PickleValue *value = info->items.at[i + 1];

		if (key->kind == PICKLE_STRING && key->string.len == 13 && memcmp(key->string.s, "little_endian", 13) == 0 &&
			value->kind == PICKLE_BOOL && value->integer == 0)
			return fsi_fail(f->err, FSI_UNSUPPORTED, "PyTorch file was written on a big-endian machine");
	}
	return FSI_OK;
}

static FsiStatus
parse_legacy(TorchFile *f, const uint8_t *bytes, size_t len, TensorSet *out)
{
	Cursor		c = cursor_init(bytes, len);
	PickleResult version,
				info,
				state,
				keys;
	TorchBlobs	items;

	cursor_seek(&c, 2 + sizeof(legacy_magic) + 1);	/* PROTO, magic, STOP */
	FSI_TRY(pickle_read(&c, f->arena, &version, f->err));
	FSI_TRY(pickle_read(&c, f->arena, &info, f->err));
	FSI_TRY(check_writer(f, version.value, info.value));
	FSI_TRY(pickle_read(&c, f->arena, &state, f->err));
	FSI_TRY(pickle_read(&c, f->arena, &keys, f->err));
	if (keys.value->kind != PICKLE_LIST)
		return bad_legacy(f, "it has no list of storages");
	FSI_TRY(index_storages(f, &state.storages, &items));
	FSI_TRY(read_storages(f, &c, keys.value, &items));
	return add_all(f, state.value, out);
}

FsiStatus
torchbin_parse(const uint8_t *bytes, size_t len, FsiArena *arena, TensorSet *out, FsiError *err)
{
	TorchFile	f = {.arena = arena, .err = err, .prefix = ""};

	tensors_begin(&f.build, arena, len);
	if (len > 4 && memcmp(bytes, "PK\3\4", 4) == 0)
		return parse_zip(&f, bytes, len, out);
	if (len > 3 + sizeof(legacy_magic) && bytes[0] == 0x80 &&
		memcmp(bytes + 2, legacy_magic, sizeof(legacy_magic)) == 0)
		return parse_legacy(&f, bytes, len, out);
	fsi_fail(err, FSI_UNSUPPORTED, "file was not written by torch.save");
	fsi_hint(err, "Convert the weights to model.safetensors.");
	return FSI_UNSUPPORTED;
}

FsiStatus
torchbin_read(const char *path, FsiArena *arena, TensorSet *out, FsiError *err)
{
	uint8_t    *bytes;
	size_t		len;

	FSI_TRY(fsi_read_file(path, TENSOR_FILE_LIMIT, arena, &bytes, &len, err));
	return torchbin_parse(bytes, len, arena, out, err);
}
