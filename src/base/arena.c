/*
 * arena.c
 *	  Bump allocation in blocks taken from a host, and growing byte buffers on top of it.
 *
 * Blocks double up to 1 MB; a request larger than a block gets one of its own.  Freeing
 * happens only back to a mark or all at once, so an error path needs no bookkeeping.
 */
#include <stdlib.h>
#include <string.h>

#include "fsi_base.h"

#define ARENA_ALIGN ((size_t) 64)		/* a zmm register, a cache line */
#define ARENA_FIRST ((size_t) 8 * 1024)
#define ARENA_LARGEST ((size_t) 1024 * 1024)
#define PIECE_BYTES ((size_t) 1024 * 1024)	/* fresh pages that are written: some milliseconds */

struct FsiArenaBlock
{
	FsiArenaBlock *below;
	uint8_t    *start;			/* aligned */
	size_t		size,
				used,
				taken;			/* bytes asked of the host */
};

static void *
host_malloc(void *ctx, size_t bytes)
{
	(void) ctx;
	return malloc(bytes);
}

static void
host_free(void *ctx, void *ptr)
{
	(void) ctx;
	free(ptr);
}

const FsiHost fsi_host_malloc = {NULL, host_malloc, host_free, NULL};

void
fsi_arena_init(FsiArena *arena, const FsiHost *host)
{
	arena->host = host;
	arena->top = NULL;
	arena->bytes = 0;
}

/* Put a block with room for bytes on top; false when the host refuses. */
static bool
push_block(FsiArena *arena, size_t bytes)
{
	size_t		size = arena->top == NULL ? ARENA_FIRST : arena->top->size * 2;
	size_t		taken;
	FsiArenaBlock *block;

	if (size > ARENA_LARGEST)
		size = ARENA_LARGEST;
	if (size < bytes)
		size = bytes;
	if (size > SIZE_MAX - sizeof(FsiArenaBlock) - ARENA_ALIGN)
		return false;
	taken = size + sizeof(FsiArenaBlock) + ARENA_ALIGN;

	block = arena->host->alloc(arena->host->ctx, taken);
	if (block == NULL)
		return false;
	block->start = (uint8_t *) (((uintptr_t) (block + 1) + ARENA_ALIGN - 1) & ~(uintptr_t) (ARENA_ALIGN - 1));
	block->size = size;
	block->used = 0;
	block->taken = taken;
	block->below = arena->top;
	arena->top = block;
	arena->bytes += taken;
	return true;
}

void *
fsi_arena_alloc(FsiArena *arena, size_t bytes)
{
	FsiArenaBlock *top;
	void	   *result;

	if (bytes > SIZE_MAX - ARENA_ALIGN)
		return NULL;
	bytes = (bytes + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
	if (bytes == 0)
		bytes = ARENA_ALIGN;	/* distinct, dereferenceable pointers for empty arrays */

	top = arena->top;
	if (top == NULL || top->size - top->used < bytes)
	{
		if (!push_block(arena, bytes))
			return NULL;
		top = arena->top;
	}
	result = top->start + top->used;
	top->used += bytes;
	return result;
}

void *
fsi_arena_array(FsiArena *arena, size_t n, size_t size)
{
	size_t		bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return fsi_arena_alloc(arena, bytes);
}

void *
fsi_arena_zero(FsiArena *arena, size_t n, size_t size)
{
	void	   *result = fsi_arena_array(arena, n, size);

	if (result != NULL)
		memset(result, 0, n * size);
	return result;
}

char *
fsi_arena_strndup(FsiArena *arena, const char *s, size_t n)
{
	char	   *result;

	if (n == SIZE_MAX)
		return NULL;
	result = fsi_arena_alloc(arena, n + 1);
	if (result != NULL)
	{
		if (n > 0)
			memcpy(result, s, n);
		result[n] = '\0';
	}
	return result;
}

FsiArenaMark
fsi_arena_mark(const FsiArena *arena)
{
	FsiArenaMark mark = {arena->top, arena->top == NULL ? 0 : arena->top->used};

	return mark;
}

void
fsi_arena_release(FsiArena *arena, FsiArenaMark mark)
{
	while (arena->top != mark.block)
	{
		FsiArenaBlock *block = arena->top;

		arena->top = block->below;
		arena->bytes -= block->taken;
		arena->host->release(arena->host->ctx, block);
	}
	if (arena->top != NULL)
		arena->top->used = mark.used;
}

void
fsi_arena_free(FsiArena *arena)
{
	FsiArenaMark bottom = {NULL, 0};

	fsi_arena_release(arena, bottom);
}

FsiStatus
fsi_copy(const FsiHost *host, void *to, const void *from, size_t n, FsiError *err)
{
	for (size_t at = 0; at < n; at += PIECE_BYTES)
	{
		if (at > 0 && fsi_should_stop(host))
			return fsi_cancelled(err);
		memcpy((char *) to + at, (const char *) from + at, n - at < PIECE_BYTES ? n - at : PIECE_BYTES);
	}
	return FSI_OK;
}

FsiStatus
fsi_zero(const FsiHost *host, void *to, size_t n, FsiError *err)
{
	for (size_t at = 0; at < n; at += PIECE_BYTES)
	{
		if (at > 0 && fsi_should_stop(host))
			return fsi_cancelled(err);
		memset((char *) to + at, 0, n - at < PIECE_BYTES ? n - at : PIECE_BYTES);
	}
	return FSI_OK;
}

/* ---- Bytes ---- */

void
fsi_bytes_init(FsiBytes *b, FsiArena *arena)
{
	b->arena = arena;
	b->data = NULL;
	b->len = 0;
	b->cap = 0;
}

/* A larger buffer for more bytes, *data NULL where the old one has room; false: no memory. */
static bool
larger_buffer(FsiBytes *b, size_t more, uint8_t **data, size_t *cap)
{
	size_t		need;

	*data = NULL;
	if (__builtin_add_overflow(b->len, more, &need))
		return false;
	if (need <= b->cap)
		return true;
	*cap = b->cap > SIZE_MAX / 2 ? need : b->cap * 2;
	if (*cap < need)
		*cap = need;
	if (*cap < 256)
		*cap = 256;
	*data = fsi_arena_alloc(b->arena, *cap);
	return *data != NULL;
}

bool
fsi_bytes_reserve(FsiBytes *b, size_t more)
{
	uint8_t    *data;
	size_t		cap;

	if (!larger_buffer(b, more, &data, &cap))
		return false;
	if (data == NULL)
		return true;
	if (b->len > 0)
		memcpy(data, b->data, b->len);
	b->data = data;
	b->cap = cap;
	return true;
}

FsiStatus
fsi_bytes_grow(FsiBytes *b, size_t more, FsiError *err)
{
	uint8_t    *data;
	size_t		cap;

	if (!larger_buffer(b, more, &data, &cap))
		return fsi_nomem(err, more);
	if (data == NULL)
		return FSI_OK;
	FSI_TRY(fsi_copy(b->arena->host, data, b->data, b->len, err));
	b->data = data;
	b->cap = cap;
	return FSI_OK;
}

bool
fsi_bytes_append(FsiBytes *b, const void *data, size_t n)
{
	if (!fsi_bytes_reserve(b, n))
		return false;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	return true;
}

bool
fsi_bytes_align(FsiBytes *b, size_t alignment)
{
	size_t		pad = (alignment - b->len % alignment) % alignment;

	if (!fsi_bytes_reserve(b, pad))
		return false;
	if (pad > 0)
		memset(b->data + b->len, 0, pad);
	b->len += pad;
	return true;
}
