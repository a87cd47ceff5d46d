/*
 * torchbin.h
 *	  What the files that read a PyTorch .bin share: the restricted pickle reader's values,
 *	  and the storages that either container holds.  Private to src/format.
 */
#ifndef FORMAT_TORCHBIN_H
#define FORMAT_TORCHBIN_H

#include "format_cursor.h"
#include "format_tensor.h"

/* ---- Pickle: data only ---- */

typedef enum PickleKind
{
	PICKLE_NONE,
	PICKLE_OPAQUE,				/* a value nobody asks for: floats, bytes, long integers */
	PICKLE_BOOL,
	PICKLE_INT,
	PICKLE_STRING,
	PICKLE_TUPLE,
	PICKLE_LIST,
	PICKLE_DICT,				/* items: key, value, key, value … */
	PICKLE_CALL,				/* a whitelisted function, not a call yet */
	PICKLE_STORAGE_TYPE,
	PICKLE_STORAGE,
	PICKLE_TENSOR
} PickleKind;

typedef enum PickleCall
{
	CALL_ORDERED_DICT,
	CALL_REBUILD_TENSOR,
	CALL_REBUILD_PARAMETER
} PickleCall;

typedef struct PickleValue PickleValue;

typedef struct PickleItems
{
	PickleValue **at;
	size_t		n,
				cap;
} PickleItems;

typedef struct PickleStorage
{
	ElementType type;
	size_t		item;			/* bytes of an element */
	const char *key;
	size_t		key_len;
	uint64_t	count;
} PickleStorage;

typedef struct PickleTensor
{
	const PickleStorage *storage;
	uint64_t	offset;			/* elements */
	int			n_dim;			/* TENSOR_MAX_DIMS + 1: more than we hold */
	int64_t		dim[TENSOR_MAX_DIMS],
				stride[TENSOR_MAX_DIMS];
} PickleTensor;

struct PickleValue
{
	PickleKind	kind;
	union
	{
		int64_t		integer;	/* INT, BOOL */
		struct
		{
			const char *s;
			size_t		len;
		}			string;
		PickleItems items;		/* TUPLE, LIST, DICT */
		PickleCall	call;
		PickleStorage storage;	/* STORAGE; STORAGE_TYPE has type and item alone */
		PickleTensor *tensor;
	};
};

typedef struct PickleResult
{
	PickleValue *value;
	PickleItems storages;		/* every persistent id met */
} PickleResult;

/* Read one pickle and leave the cursor after its STOP. */
extern FsiStatus pickle_read(Cursor *c, FsiArena *arena, PickleResult *out, FsiError *err);
extern bool pickle_push(FsiArena *arena, PickleItems *items, PickleValue *value);

/* ---- Storages by key, sorted ---- */

typedef struct TorchBlob
{
	const char *key;
	size_t		key_len;
	const uint8_t *data;
	uint64_t	len;
} TorchBlob;

typedef struct TorchBlobs
{
	size_t		n;
	TorchBlob  *blobs;
} TorchBlobs;

extern void torchblobs_sort(TorchBlobs *blobs);
/* Of sorted ones, one whose key another has too; NULL: there is none. */
extern const TorchBlob *torchblobs_twice(const TorchBlobs *blobs);

/* The zip container: all stored entries by name. */
extern FsiStatus torchzip_entries(const uint8_t *bytes, size_t len, FsiArena *arena,
								  TorchBlobs *out, FsiError *err);

#endif
