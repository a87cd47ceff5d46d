/*
 * fsi_base.h
 *	  The lower floor's only door to the outside: memory, errors and "should I stop?".
 *
 * The lower floor (src/base, kernels, text, format, engine, train) is plain C11 and
 * includes no PostgreSQL header.  Everything that may fail returns an FsiStatus and
 * fills an FsiError; nothing aborts, exits, prints or longjmps.  Memory comes from an
 * FsiArena, whose blocks come from an FsiHost: the extension gives a host backed by a
 * memory context, tests give malloc.  The arena's owner frees it; callees never do.
 * Long loops call fsi_should_stop() at least every ~20 ms of work and return
 * FSI_CANCELLED, leaving the arena to be reset by its owner.
 */
#ifndef FSI_BASE_H
#define FSI_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What went wrong, in the order of a caller's interest; the extension maps each to a SQLSTATE. */
typedef enum FsiStatus
{
	FSI_OK = 0,
	FSI_NOMEM,					/* the host refused memory */
	FSI_CANCELLED,				/* the host asked to stop */
	FSI_INVALID,				/* an argument or option has a wrong value */
	FSI_LIMIT,					/* a size or length limit of the model or program */
	FSI_COLLISION,				/* two different labels are one token sequence */
	FSI_CORRUPT,				/* a file's contents are damaged, hostile or lack a part */
	FSI_UNSUPPORTED,			/* well-formed, but a kind we do not run */
	FSI_MISSING,				/* a file is not there */
	FSI_IO						/* reading or writing failed */
} FsiStatus;

typedef struct FsiError
{
	FsiStatus	status;
	int			sys_errno;		/* for FSI_MISSING and FSI_IO where the operating system said why, else 0 */
	char		message[512];	/* lower case, no full stop */
	char		detail[512];	/* a sentence or empty */
	char		hint[512];		/* a sentence or empty */
} FsiError;

/* Fill *err (may be NULL) and return status, so that "return fsi_fail(err, ...)" reads well. */
extern FsiStatus fsi_fail(FsiError *err, FsiStatus status, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));
/* As fsi_fail with FSI_IO (FSI_MISSING for ENOENT and ENOTDIR): appends strerror(errno). */
extern FsiStatus fsi_fail_errno(FsiError *err, const char *fmt,...)
			__attribute__((format(printf, 2, 3)));
extern FsiStatus fsi_nomem(FsiError *err, size_t bytes);
extern FsiStatus fsi_cancelled(FsiError *err);
extern void fsi_detail(FsiError *err, const char *fmt,...) __attribute__((format(printf, 2, 3)));
extern void fsi_hint(FsiError *err, const char *fmt,...) __attribute__((format(printf, 2, 3)));

#define FSI_TRY(call) \
	do { FsiStatus fsi_try_ = (call); if (fsi_try_ != FSI_OK) return fsi_try_; } while (0)

typedef struct FsiHost
{
	void	   *ctx;
	void	   *(*alloc) (void *ctx, size_t bytes);	/* NULL when refused; 16-aligned */
	void		(*release) (void *ctx, void *ptr);
	bool		(*should_stop) (void *ctx);			/* may be NULL */
} FsiHost;

/* malloc/free, never stops: for tests and tools. */
extern const FsiHost fsi_host_malloc;

static inline bool
fsi_should_stop(const FsiHost *host)
{
	return host->should_stop != NULL && host->should_stop(host->ctx);
}

/* memcpy() and clearing of any length, with questions whether to stop (FSI_CANCELLED). */
extern FsiStatus fsi_copy(const FsiHost *host, void *to, const void *from, size_t n, FsiError *err);
extern FsiStatus fsi_zero(const FsiHost *host, void *to, size_t n, FsiError *err);

/* ---- Arena: bump allocation in blocks, freed all at once or back to a mark. ---- */

typedef struct FsiArenaBlock FsiArenaBlock;
typedef struct FsiArena
{
	const FsiHost *host;
	FsiArenaBlock *top;			/* newest block */
	size_t		bytes;			/* taken from the host */
} FsiArena;

typedef struct FsiArenaMark
{
	FsiArenaBlock *block;
	size_t		used;
} FsiArenaMark;

extern void fsi_arena_init(FsiArena *arena, const FsiHost *host);
/* 64-aligned, uninitialised; NULL when the host refuses or n * size overflows. */
extern void *fsi_arena_alloc(FsiArena *arena, size_t bytes);
extern void *fsi_arena_array(FsiArena *arena, size_t n, size_t size);
extern void *fsi_arena_zero(FsiArena *arena, size_t n, size_t size);
extern char *fsi_arena_strndup(FsiArena *arena, const char *s, size_t n);
extern FsiArenaMark fsi_arena_mark(const FsiArena *arena);
extern void fsi_arena_release(FsiArena *arena, FsiArenaMark mark);	/* frees what came after mark */
extern void fsi_arena_free(FsiArena *arena);	/* everything; the arena can be used again */

/* UTF-8, not NUL-terminated; s NULL: none. */
typedef struct FsiText
{
	const char *s;
	size_t		len;
} FsiText;

/* ---- Bytes: a growing buffer in an arena (old copies stay until the arena is released). ---- */

typedef struct FsiBytes
{
	FsiArena   *arena;
	uint8_t    *data;
	size_t		len,
				cap;
} FsiBytes;

extern void fsi_bytes_init(FsiBytes *b, FsiArena *arena);
extern bool fsi_bytes_reserve(FsiBytes *b, size_t more);	/* false: no memory */
/* As fsi_bytes_reserve() for a buffer of any length: moving it asks whether to stop. */
extern FsiStatus fsi_bytes_grow(FsiBytes *b, size_t more, FsiError *err);
extern bool fsi_bytes_append(FsiBytes *b, const void *data, size_t n);
extern bool fsi_bytes_align(FsiBytes *b, size_t alignment);	/* zero fill */

/* ---- JSON by hand (Jansson only reads: postgres exports a json_object of its own). false: no memory. ---- */

extern bool fsi_json_text(FsiBytes *b, const char *s);	/* as it is */
/* At most 500 bytes. */
extern bool fsi_json_printf(FsiBytes *b, const char *fmt,...) __attribute__((format(printf, 2, 3)));
/* A string literal of any UTF-8 text; control characters are escaped. */
extern bool fsi_json_string(FsiBytes *b, const char *s, size_t len);

/* ---- Numbers as text. ---- */

#define FSI_NUMBER_BYTES 32
/* The shortest digits that read back as the same double, or, with is_float, as the same float. */
extern void fsi_number_text(double x, bool is_float, char out[FSI_NUMBER_BYTES]);

/* ---- SHA-256 (FIPS 180-4). ---- */

#define FSI_SHA256_BYTES 32
typedef struct FsiSha256
{
	uint32_t	state[8];
	uint64_t	length;			/* bytes so far */
	uint8_t		block[64];
} FsiSha256;

extern void fsi_sha256_init(FsiSha256 *s);
extern void fsi_sha256_update(FsiSha256 *s, const void *data, size_t n);
extern void fsi_sha256_final(FsiSha256 *s, uint8_t out[FSI_SHA256_BYTES]);
extern void fsi_hex(const uint8_t *bytes, size_t n, char *out);	/* 2n + 1 chars */

/* ---- Whole files, read into an arena (at most limit bytes; FSI_LIMIT past it). NUL added after the end. ---- */
extern FsiStatus fsi_read_file(const char *path, size_t limit, FsiArena *arena,
							   uint8_t **data, size_t *len, FsiError *err);

/* ---- Files that are written under another name and renamed. -1 with errno. ---- */

/* A descriptor to write; what has that name, a left-over of a dead process or a planted link, goes first. */
extern int	fsi_create_anew(const char *path, int mode);
/* A rename itself must reach the disk. */
extern int	fsi_sync_dir(const char *dir);

/* ---- Scalar double functions with one result on every machine (no libm): error below 2 ulp. ---- */
extern double fsi_exp(double x);
extern double fsi_log(double x);	/* x > 0 */

/* 64-bit hash of bytes for tables and cache keys (fixed for ever: it is in model files). */
extern uint64_t fsi_hash64(const void *data, size_t n, uint64_t seed);

/* splitmix64 (Steele, Lea, Flood 2014): its number i is fsi_mix64(seed + i * FSI_GOLDEN64).  Fixed for ever, too. */
#define FSI_GOLDEN64 UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t
fsi_mix64(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

#endif
