/*
 * format_cursor.h
 *	  The one bounds-checked reader of src/format: every byte of a foreign file comes through it.
 *
 * A cursor never reads past its end: a read that would returns 0 or NULL and makes the
 * cursor fail for good, so that a parser may read a whole record and ask once.  Numbers are
 * little-endian.  Private to src/format.
 */
#ifndef FORMAT_CURSOR_H
#define FORMAT_CURSOR_H

#include "fsi_base.h"

#include <string.h>

typedef struct Cursor
{
	const uint8_t *data;
	size_t		len;
	size_t		pos;
	bool		failed;
} Cursor;

static inline Cursor
cursor_init(const void *data, size_t len)
{
	return (Cursor) {.data = data, .len = len};
}

static inline size_t
cursor_left(const Cursor *c)
{
	return c->failed ? 0 : c->len - c->pos;
}

/* Take n bytes; NULL when there are fewer. */
static inline const uint8_t *
cursor_bytes(Cursor *c, uint64_t n)
{
	const uint8_t *at = c->data + c->pos;

	if (c->failed || n > c->len - c->pos)
	{
		c->failed = true;
		return NULL;
	}
	c->pos += (size_t) n;
	return at;
}

/* Move to an absolute position. */
static inline void
cursor_seek(Cursor *c, uint64_t pos)
{
	if (pos > c->len)
		c->failed = true;
	else
		c->pos = (size_t) pos;
}

static inline uint8_t
cursor_u8(Cursor *c)
{
	const uint8_t *p = cursor_bytes(c, 1);

	return p == NULL ? 0 : p[0];
}

/* n bytes (up to 8) as a little-endian number. */
static inline uint64_t
cursor_le(Cursor *c, int n)
{
	const uint8_t *p = cursor_bytes(c, (uint64_t) n);
	uint64_t	value = 0;

	if (p == NULL)
		return 0;
	for (int i = n - 1; i >= 0; i--)
		value = (value << 8) | p[i];
	return value;
}

static inline uint16_t
cursor_u16(Cursor *c)
{
	return (uint16_t) cursor_le(c, 2);
}

static inline uint32_t
cursor_u32(Cursor *c)
{
	return (uint32_t) cursor_le(c, 4);
}

static inline uint64_t
cursor_u64(Cursor *c)
{
	return cursor_le(c, 8);
}

/* Bytes up to a newline, which is skipped; NULL when there is none. */
static inline const uint8_t *
cursor_line(Cursor *c, size_t *n)
{
	const uint8_t *at = c->data + c->pos;
	const uint8_t *end = c->failed || c->pos == c->len ? NULL : memchr(at, '\n', c->len - c->pos);

	*n = 0;
	if (end == NULL)
	{
		c->failed = true;
		return NULL;
	}
	*n = (size_t) (end - at);
	c->pos += *n + 1;
	return at;
}

/* ---- Sizes: false when the result does not fit. ---- */

static inline bool
size_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

static inline bool
size_add(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

/* ---- Passes over weights: a large matrix alone takes a second. ---- */

#define WEIGHTS_STOP_EVERY ((size_t) 1 << 20)	/* between two questions whether to stop: at most some ms */

/* Ask whether to stop when enough of them went by, n more and *since then: FSI_CANCELLED then. */
static inline FsiStatus
weights_go_on(const FsiHost *host, size_t n, size_t *since, FsiError *err)
{
	*since += n;
	if (*since < WEIGHTS_STOP_EVERY)
		return FSI_OK;
	*since = 0;
	return fsi_should_stop(host) ? fsi_cancelled(err) : FSI_OK;
}

/* ---- Foreign names in our messages: short, printable ASCII, others as '?'. ---- */

#define SHOW_NAME_BYTES 112
typedef struct ShowName
{
	char		text[SHOW_NAME_BYTES];
} ShowName;

static inline ShowName
show_name(const char *name, size_t len)
{
	ShowName	show;
	size_t		n = len < SHOW_NAME_BYTES - 4 ? len : SHOW_NAME_BYTES - 4;

	for (size_t i = 0; i < n; i++)
		show.text[i] = name[i] >= 0x20 && name[i] < 0x7f ? name[i] : '?';
	memcpy(show.text + n, n < len ? "..." : "", n < len ? 4 : 1);
	return show;
}

#endif
