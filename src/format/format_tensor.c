/*
 * format_tensor.c
 *	  Named f32 tensors from a checkpoint's raw elements: conversion, strides, names, lookup.
 */
#include "format_tensor.h"

#include "format_cursor.h"

#include <stdlib.h>

#define TENSOR_NAME_LIMIT 512
#define TENSOR_COUNT_LIMIT 65536

/* IEEE 754 half to single: exact for every value. */
static float
half_to_float(uint16_t h)
{
	uint32_t	sign = (uint32_t) (h & 0x8000) << 16;
	uint32_t	exponent = (h >> 10) & 31;
	uint32_t	mantissa = h & 0x3ff;
	uint32_t	bits;
	float		value;

	if (exponent == 31)
		bits = sign | 0x7f800000 | (mantissa << 13);
	else if (exponent != 0)
		bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
	else
	{
		value = (float) mantissa * 0x1p-24f;
		return sign ? -value : value;
	}
	memcpy(&value, &bits, 4);
	return value;
}

static size_t
element_size(ElementType type)
{
	return type == ELEMENT_F64 ? 8 : type == ELEMENT_F32 ? 4 : 2;
}

/* Convert n elements that lie stride apart, counted from element `at` of data. */
static void
convert_row(ElementType type, const uint8_t *data, uint64_t at, int64_t stride, int64_t n, float *out)
{
	size_t		size = element_size(type);

	for (int64_t i = 0; i < n; i++)
	{
		const uint8_t *p = data + (at + (uint64_t) i * (uint64_t) stride) * size;
		double		f64;
		uint32_t	bits;
		uint16_t	half;

		switch (type)
		{
			case ELEMENT_F64:
				memcpy(&f64, p, 8);
				out[i] = (float) f64;
				break;
			case ELEMENT_F32:
				memcpy(&out[i], p, 4);
				break;
			case ELEMENT_F16:
				memcpy(&half, p, 2);
				out[i] = half_to_float(half);
				break;
			default:
				memcpy(&half, p, 2);
				bits = (uint32_t) half << 16;
				memcpy(&out[i], &bits, 4);
		}
	}
}

/* Drop what wrappers put before the model's own names. */
static void
strip_prefixes(const char **name, size_t *len)
{
	static const char *const prefixes[] = {"module.", "_orig_mod.", "model.", "transformer."};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
	{
		size_t		n = strlen(prefixes[i]);

		if (*len > n && memcmp(*name, prefixes[i], n) == 0)
		{
			*name += n;
			*len -= n;
		}
	}
}

static bool
ends_with(const char *s, size_t len, const char *tail)
{
	size_t		n = strlen(tail);

	return len >= n && memcmp(s + len - n, tail, n) == 0;
}

bool
tensors_is_mask(const char *name, size_t len)
{
	return ends_with(name, len, ".attn.bias") || ends_with(name, len, ".attn.masked_bias");
}

void
tensors_begin(TensorBuild *b, FsiArena *arena, size_t file_size)
{
	/* f16 doubles, and a tied head may stand twice: 2 elements a byte is beyond any honest file */
	*b = (TensorBuild) {.arena = arena, .budget = 2 * (uint64_t) file_size};
}

void
tensors_row_major(TensorSource *src)
{
	int64_t		stride = 1;

	for (int i = src->n_dim - 1; i >= 0; i--)
	{
		src->stride[i] = stride;
		if (__builtin_mul_overflow(stride, src->dim[i], &stride))
			stride = 0;			/* check_extent() refuses such a shape */
	}
}

/* Number of elements, and that each lies inside the storage. */
static FsiStatus
check_extent(const TensorSource *src, const char *shown, int64_t *n_element, bool *contiguous, FsiError *err)
{
	uint64_t	count = 1;
	uint64_t	last = src->offset;
	bool		empty = false;
	bool		inside = true;

	*contiguous = true;
	for (int i = 0; i < src->n_dim; i++)
	{
		if (src->dim[i] < 0 || src->stride[i] < 0)
			return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" has a negative size or stride", shown);
		empty |= src->dim[i] == 0;
	}
	for (int i = src->n_dim - 1; i >= 0 && inside && !empty; i--)
	{
		uint64_t	reach;

		if (src->dim[i] > 1 && (uint64_t) src->stride[i] != count)
			*contiguous = false;
		inside = size_mul(count, (uint64_t) src->dim[i], &count) && count <= src->count &&
			size_mul((uint64_t) src->dim[i] - 1, (uint64_t) src->stride[i], &reach) &&
			size_add(last, reach, &last);
	}
	if (!empty && (!inside || last >= src->count))
		return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" is larger than its storage", shown);
	*n_element = empty ? 0 : (int64_t) count;
	return FSI_OK;
}

/* Row by row into a fresh array: (dim[0] * … * dim[n-2]) rows of dim[n-1], long ones in pieces. */
static FsiStatus
gather(const TensorSource *src, int64_t n_element, const FsiHost *host, float *out, FsiError *err)
{
	int			last = src->n_dim - 1;
	int64_t		row = last < 0 ? 1 : src->dim[last];
	int64_t		stride = last < 0 ? 1 : src->stride[last];
	int64_t		index[TENSOR_MAX_DIMS] = {0};
	size_t		since = 0;

	for (int64_t done = 0; done < n_element; done += row)
	{
		uint64_t	at = src->offset;

		for (int i = 0; i < last; i++)
			at += (uint64_t) index[i] * (uint64_t) src->stride[i];
		for (int64_t i = 0, n; i < row; i += n)
		{
			n = row - i < (int64_t) WEIGHTS_STOP_EVERY ? row - i : (int64_t) WEIGHTS_STOP_EVERY;
			convert_row(src->type, src->data, at + (uint64_t) i * (uint64_t) stride, stride, n, out + done + i);
			FSI_TRY(weights_go_on(host, (size_t) n, &since, err));
		}
		for (int i = last - 1; i >= 0; i--)
		{
			if (++index[i] < src->dim[i])
				break;
			index[i] = 0;
		}
	}
	return FSI_OK;
}

static FsiStatus
grow(TensorBuild *b, FsiError *err)
{
	int			cap = b->cap == 0 ? 64 : b->cap * 2;
	NamedTensor *tensors = fsi_arena_array(b->arena, (size_t) cap, sizeof(NamedTensor));

	if (tensors == NULL)
		return fsi_nomem(err, (size_t) cap * sizeof(NamedTensor));
	if (b->set.n > 0)
		memcpy(tensors, b->set.tensors, (size_t) b->set.n * sizeof(NamedTensor));
	b->set.tensors = tensors;
	b->cap = cap;
	return FSI_OK;
}

FsiStatus
tensors_add(TensorBuild *b, const TensorSource *src, FsiError *err)
{
	const char *name = src->name;
	size_t		name_len = src->name_len;
	ShowName	shown = show_name(name, name_len);
	const uint8_t *first;
	int64_t		n_element = 0;
	bool		contiguous = false;
	NamedTensor *t;

	if (src->type == ELEMENT_OTHER || tensors_is_mask(name, name_len))
		return FSI_OK;
	if (name_len > TENSOR_NAME_LIMIT || memchr(name, '\0', name_len) != NULL)
		return fsi_fail(err, FSI_CORRUPT, "tensor name \"%s\" is too long or holds a zero byte", shown.text);
	if (b->set.n >= TENSOR_COUNT_LIMIT)
		return fsi_fail(err, FSI_LIMIT, "file holds more than %d tensors", TENSOR_COUNT_LIMIT);
	if (fsi_should_stop(b->arena->host))
		return fsi_cancelled(err);
	FSI_TRY(check_extent(src, shown.text, &n_element, &contiguous, err));
	if (b->set.n == b->cap)
		FSI_TRY(grow(b, err));

	strip_prefixes(&name, &name_len);
	t = &b->set.tensors[b->set.n];
	*t = (NamedTensor) {.n_dim = src->n_dim};
	memcpy(t->dim, src->dim, sizeof(t->dim));
	t->name = fsi_arena_strndup(b->arena, name, name_len);
	if (t->name == NULL)
		return fsi_nomem(err, name_len);

	first = n_element == 0 ? src->data : src->data + src->offset * element_size(src->type);
	if (contiguous && src->type == ELEMENT_F32 && (uintptr_t) first % sizeof(float) == 0)
		t->data = (const float *) first;
	else
	{
		float	   *out;

		if ((uint64_t) n_element > b->budget)
			return fsi_fail(err, FSI_LIMIT, "tensors together are much larger than the file");
		b->budget -= (uint64_t) n_element;
		out = fsi_arena_array(b->arena, (size_t) n_element, sizeof(float));
		if (out == NULL)
			return fsi_nomem(err, (size_t) n_element * sizeof(float));
		if (n_element > 0)
			FSI_TRY(gather(src, n_element, b->arena->host, out, err));
		t->data = out;
	}
	b->set.n++;
	return FSI_OK;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const NamedTensor *) a)->name, ((const NamedTensor *) b)->name);
}

FsiStatus
tensors_finish(TensorBuild *b, TensorSet *out, FsiError *err)
{
	if (b->set.n > 1)
		qsort(b->set.tensors, (size_t) b->set.n, sizeof(NamedTensor), compare_names);
	for (int i = 1; i < b->set.n; i++)
	{
		const char *name = b->set.tensors[i].name;

		if (strcmp(b->set.tensors[i - 1].name, name) == 0)
			return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" stands twice in the checkpoint",
							show_name(name, strlen(name)).text);
	}
	*out = b->set;
	return FSI_OK;
}

FsiStatus
tensors_merge(FsiArena *arena, int n, const TensorSet *sets, TensorSet *out, FsiError *err)
{
	TensorBuild all = {.arena = arena};

	for (int i = 0; i < n; i++)
		for (int j = 0; j < sets[i].n; j++)
		{
			if (all.set.n >= TENSOR_COUNT_LIMIT)
				return fsi_fail(err, FSI_LIMIT, "checkpoint holds more than %d tensors", TENSOR_COUNT_LIMIT);
			if (all.set.n == all.cap)
				FSI_TRY(grow(&all, err));
			all.set.tensors[all.set.n++] = sets[i].tensors[j];
		}
	return tensors_finish(&all, out, err);
}

const NamedTensor *
tensors_find(const TensorSet *set, const char *name)
{
	NamedTensor key = {.name = name};

	if (set->n == 0)
		return NULL;
	return bsearch(&key, set->tensors, (size_t) set->n, sizeof(NamedTensor), compare_names);
}
