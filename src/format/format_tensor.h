/*
 * format_tensor.h
 *	  Collect the tensors of a source checkpoint as f32; shared by both readers.
 *
 * The caller's file must stay in the arena: an aligned, contiguous F32 tensor is used in
 * place.  Everything else is converted, within a budget tied to the file's size, so that a
 * small hostile file cannot ask for much memory.  Private to src/format.
 */
#ifndef FORMAT_TENSOR_H
#define FORMAT_TENSOR_H

#include "fsi_format.h"

/* Largest source file that is read (the largest published GPT-2 is 6.4 GB). */
#define TENSOR_FILE_LIMIT ((size_t) 16 << 30)
/* Most values of JSON that describe tensors: those of as many tensors as are read, and as many again. */
#define TENSOR_HEADER_VALUES ((size_t) 1 << 20)

typedef enum ElementType
{
	ELEMENT_OTHER = 0,			/* integers and booleans: masks and counters, left out */
	ELEMENT_F64,
	ELEMENT_F32,
	ELEMENT_F16,
	ELEMENT_BF16
} ElementType;

typedef struct TensorBuild
{
	FsiArena   *arena;
	TensorSet	set;
	int			cap;
	uint64_t	budget;			/* elements that may still be converted */
} TensorBuild;

typedef struct TensorSource
{
	const char *name;
	size_t		name_len;
	ElementType type;
	int			n_dim;
	int64_t		dim[TENSOR_MAX_DIMS];
	int64_t		stride[TENSOR_MAX_DIMS];	/* in elements */
	const uint8_t *data;		/* first element of the storage */
	uint64_t	offset;			/* of the tensor in the storage, in elements */
	uint64_t	count;			/* elements in the storage */
} TensorSource;

extern void tensors_begin(TensorBuild *b, FsiArena *arena, size_t file_size);
/* True for names that hold no weights: attn.bias, attn.masked_bias. */
extern bool tensors_is_mask(const char *name, size_t len);
/* Row-major strides of src->dim. */
extern void tensors_row_major(TensorSource *src);
/* Check, convert and add; ELEMENT_OTHER and masks are dropped silently. */
extern FsiStatus tensors_add(TensorBuild *b, const TensorSource *src, FsiError *err);
/* Sort by name and refuse duplicates: tensors_find() needs it. */
extern FsiStatus tensors_finish(TensorBuild *b, TensorSet *out, FsiError *err);
/* One set of several files' (shards). */
extern FsiStatus tensors_merge(FsiArena *arena, int n, const TensorSet *sets, TensorSet *out, FsiError *err);

#endif
