/*
 * safetensors.c
 *	  Read a .safetensors file: 8 bytes of header length, a JSON header, raw tensors.
 *
 * Source: the format's description in the safetensors repository.  The header maps a name to
 * {"dtype", "shape", "data_offsets": [begin, end]} with offsets into the bytes after it;
 * "__metadata__" holds strings and is ignored.  Each tensor must have exactly the size of its shape,
 * and together they must cover the bytes after the header once, as the description asks.
 */
#include "fsi_json.h"
#include "format_cursor.h"
#include "format_tensor.h"

#include <stdlib.h>

/* 48 layers take 60 kB and 5,000 values. */
#define HEADER_LIMIT ((uint64_t) 16 << 20)

typedef struct DataType
{
	const char *name;
	size_t		size;
	ElementType type;
} DataType;

static const DataType data_types[] = {
	{"F64", 8, ELEMENT_F64},
	{"F32", 4, ELEMENT_F32},
	{"F16", 2, ELEMENT_F16},
	{"BF16", 2, ELEMENT_BF16},
	{"I64", 8, ELEMENT_OTHER},
	{"I32", 4, ELEMENT_OTHER},
	{"I16", 2, ELEMENT_OTHER},
	{"I8", 1, ELEMENT_OTHER},
	{"U64", 8, ELEMENT_OTHER},
	{"U32", 4, ELEMENT_OTHER},
	{"U16", 2, ELEMENT_OTHER},
	{"U8", 1, ELEMENT_OTHER},
	{"BOOL", 1, ELEMENT_OTHER},
};

static const DataType *
find_data_type(const json_t *value)
{
	const char *name = json_string_value(value);

	for (size_t i = 0; name != NULL && i < sizeof(data_types) / sizeof(data_types[0]); i++)
		if (strcmp(name, data_types[i].name) == 0)
			return &data_types[i];
	return NULL;
}

/* A JSON integer that is not negative. */
static bool
json_size(const json_t *value, uint64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t) json_integer_value(value);
	return true;
}

/* Fill dim and the number of bytes; false when the shape is not one. */
static bool
read_shape(const json_t *shape, size_t item, TensorSource *src, uint64_t *bytes)
{
	*bytes = item;
	if (!json_is_array(shape) || json_array_size(shape) > TENSOR_MAX_DIMS)
		return false;
	src->n_dim = (int) json_array_size(shape);
	for (int i = 0; i < src->n_dim; i++)
	{
		uint64_t	dim;

		if (!json_size(json_array_get(shape, (size_t) i), &dim) || !size_mul(*bytes, dim, bytes))
			return false;
		src->dim[i] = (int64_t) dim;
	}
	return true;
}

/* Where a tensor lies among the bytes after the header. */
typedef struct Span
{
	uint64_t	begin,
				end;
	const char *name;
} Span;

static FsiStatus
read_span(const char *name, const json_t *entry, size_t data_len, Span *span, FsiError *err)
{
	const json_t *offsets = json_object_get(entry, "data_offsets");

	span->name = name;
	if (json_array_size(offsets) != 2 || !json_size(json_array_get(offsets, 0), &span->begin) ||
		!json_size(json_array_get(offsets, 1), &span->end) || span->begin > span->end || span->end > data_len)
		return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" lies outside the file", show_name(name, strlen(name)).text);
	return FSI_OK;
}

static int
compare_spans(const void *a, const void *b)
{
	const Span *x = a,
			   *y = b;

	return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin) : (x->end > y->end) - (x->end < y->end);
}

/* Each byte belongs to one tensor. */
static FsiStatus
check_cover(Span *spans, size_t n, size_t data_len, FsiError *err)
{
	uint64_t	at = 0;

	if (n > 1)
		qsort(spans, n, sizeof(Span), compare_spans);
	for (size_t i = 0; i < n; at = spans[i++].end)
		if (spans[i].begin != at)
			return fsi_fail(err, FSI_CORRUPT, spans[i].begin < at ? "tensor \"%s\" overlaps another one" :
							"bytes before tensor \"%s\" belong to none", show_name(spans[i].name, strlen(spans[i].name)).text);
	if (at != data_len)
		return fsi_fail(err, FSI_CORRUPT, "%llu bytes at the end of the safetensors file belong to no tensor",
						(unsigned long long) (data_len - at));
	return FSI_OK;
}

/* One entry of the header: check it and add its tensor. */
static FsiStatus
read_entry(TensorBuild *build, const char *name, const json_t *entry,
		   const uint8_t *data, size_t data_len, Span *span, FsiError *err)
{
	TensorSource src = {.name = name, .name_len = strlen(name)};
	ShowName	shown = show_name(name, src.name_len);
	const DataType *dtype = find_data_type(json_object_get(entry, "dtype"));
	uint64_t	bytes;
	bool		mask = tensors_is_mask(name, src.name_len);

	if (!mask && dtype == NULL)
		return fsi_fail(err, FSI_UNSUPPORTED, "tensor \"%s\" has a data type that is not supported", shown.text);
	FSI_TRY(read_span(name, entry, data_len, span, err));
	if (mask)
		return FSI_OK;
	if (!read_shape(json_object_get(entry, "shape"), dtype->size, &src, &bytes))
		return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" has a shape that is not supported", shown.text);
	if (bytes != span->end - span->begin)
		return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" has %llu bytes, its shape needs %llu", shown.text,
						(unsigned long long) (span->end - span->begin), (unsigned long long) bytes);
	src.type = dtype->type;
	src.data = data + span->begin;
	src.count = bytes / dtype->size;
	tensors_row_major(&src);
	return tensors_add(build, &src, err);
}

static FsiStatus
read_header(json_t *header, const uint8_t *data, size_t data_len, TensorBuild *build, FsiError *err)
{
	const char *name;
	json_t	   *entry;
	Span	   *spans;
	size_t		n = 0;

	if (!json_is_object(header))
		return fsi_fail(err, FSI_CORRUPT, "safetensors header is not a JSON object");
	spans = fsi_arena_array(build->arena, json_object_size(header), sizeof(Span));
	if (spans == NULL)
		return fsi_nomem(err, json_object_size(header) * sizeof(Span));
	json_object_foreach(header, name, entry)
	{
		if (strcmp(name, "__metadata__") == 0)
			continue;
		FSI_TRY(read_entry(build, name, entry, data, data_len, &spans[n++], err));
	}
	return check_cover(spans, n, data_len, err);
}

FsiStatus
safetensors_parse(const uint8_t *bytes, size_t len, FsiArena *arena, TensorSet *out, FsiError *err)
{
	Cursor		c = cursor_init(bytes, len);
	uint64_t	header_len = cursor_u64(&c);
	const char *text = (const char *) cursor_bytes(&c, header_len);
	json_error_t where;
	json_t	   *header;
	TensorBuild build;
	FsiStatus	status;

	if (c.failed)
		return fsi_fail(err, FSI_CORRUPT, "safetensors file ends inside its header");
	if (header_len > HEADER_LIMIT)
		return fsi_fail(err, FSI_LIMIT, "safetensors header of %llu bytes, the limit is %llu",
						(unsigned long long) header_len, (unsigned long long) HEADER_LIMIT);
	FSI_TRY(fsi_json_check_values("safetensors header", text, (size_t) header_len, TENSOR_HEADER_VALUES, err));
	status = fsi_json_read(arena->host, text, (size_t) header_len, JSON_REJECT_DUPLICATES, &header, &where, err);
	if (status == FSI_CORRUPT)
	{
		fsi_fail(err, FSI_CORRUPT, "safetensors header is not valid JSON");
		fsi_detail(err, "%s at byte %d.", show_name(where.text, strlen(where.text)).text, where.position);
		return FSI_CORRUPT;
	}
	FSI_TRY(status);
	tensors_begin(&build, arena, len);
	status = read_header(header, bytes + c.pos, len - c.pos, &build, err);
	json_decref(header);
	FSI_TRY(status);
	return tensors_finish(&build, out, err);
}

FsiStatus
safetensors_read(const char *path, FsiArena *arena, TensorSet *out, FsiError *err)
{
	uint8_t    *bytes;
	size_t		len;

	FSI_TRY(fsi_read_file(path, TENSOR_FILE_LIMIT, arena, &bytes, &len, err));
	return safetensors_parse(bytes, len, arena, out, err);
}
