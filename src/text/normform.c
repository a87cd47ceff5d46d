/*
 * normform.c
 *	  NFC, NFD, NFKC, NFKD in linear time (UAX #15).
 *
 * Text is cut at boundaries (a starter that joins with nothing before it).  A piece of one
 * character without a decomposition is copied; only the others are decomposed, ordered
 * and composed.  utf8proc's own driver orders marks by exchange, which takes hours for a
 * hostile run of 100,000; here a long run is ordered by counting.
 */
#include <string.h>

#include <utf8proc.h>

#include "unicode.h"

#define DECOMPOSE_MAX 32		/* longest decomposition is 18 (U+FDFA) */
#define INSERTION_MAX 16		/* marks ordered by insertion; longer runs by counting */
#define LIBRARY_MAX 4096		/* points that utf8proc composes in one call; no question whether to stop in it */

static inline bool
form_composes(UniForm form)
{
	return form == UNI_NFC || form == UNI_NFKC;
}

static inline bool
form_is_compat(UniForm form)
{
	return form == UNI_NFKC || form == UNI_NFKD;
}

static inline int
combining_class(int32_t c)
{
	return c < 0x300 ? 0 : utf8proc_get_property(c)->combining_class;
}

/* Does c, alone between two boundaries, stay as it is? */
static bool
is_inert(UniForm form, uint32_t c)
{
	const utf8proc_property_t *property;

	if (c < 0xA0 || (c >= 0x4E00 && c <= 0x9FFF))
		return true;
	if (c >= 0xAC00 && c <= 0xD7A3)
		return form_composes(form); /* Hangul decomposes by arithmetic */
	property = utf8proc_get_property((utf8proc_int32_t) c);
	if (property->decomp_seqindex == UINT16_MAX)
		return true;
	return property->decomp_type != 0 && !form_is_compat(form);
}

/* Sort marks[n] by combining class, equal ones in their order. */
static FsiStatus
order_marks(int32_t *marks, size_t n, FsiArena *scratch, FsiError *err)
{
	size_t		start[256] = {0};
	size_t		sum = 0;
	size_t		asked = 0;
	int32_t    *sorted;

	if (n <= INSERTION_MAX)
	{
		for (size_t i = 1; i < n; i++)
		{
			int32_t		mark = marks[i];
			int			class = combining_class(mark);
			size_t		j = i;

			for (; j > 0 && combining_class(marks[j - 1]) > class; j--)
				marks[j] = marks[j - 1];
			marks[j] = mark;
		}
		return FSI_OK;
	}

	sorted = fsi_arena_array(scratch, n, sizeof(int32_t));
	if (sorted == NULL)
		return fsi_nomem(err, n * sizeof(int32_t));
	for (size_t i = 0; i < n; i++)
	{
		FSI_TRY(text_go_on(scratch->host, i, &asked, err));
		start[combining_class(marks[i]) & 255]++;
	}
	for (int class = 0; class < 256; class++)
	{
		size_t		count = start[class];

		start[class] = sum;
		sum += count;
	}
	asked = 0;
	for (size_t i = 0; i < n; i++)
	{
		FSI_TRY(text_go_on(scratch->host, i, &asked, err));
		sorted[start[combining_class(marks[i]) & 255]++] = marks[i];
	}
	return fsi_copy(scratch->host, marks, sorted, n * sizeof(int32_t), err);
}

/* Canonical ordering: sort every run of non-starters. */
static FsiStatus
order_piece(int32_t *points, size_t n, FsiArena *scratch, FsiError *err)
{
	size_t		asked = 0;

	for (size_t i = 0; i < n;)
	{
		size_t		end;

		FSI_TRY(text_go_on(scratch->host, i, &asked, err));
		if (combining_class(points[i]) == 0)
		{
			i++;
			continue;
		}
		for (end = i + 1; end < n && combining_class(points[end]) != 0; end++)
			FSI_TRY(text_go_on(scratch->host, end, &asked, err));
		if (end - i > 1)
			FSI_TRY(order_marks(points + i, end - i, scratch, err));
		i = end;
	}
	return FSI_OK;
}

/* The composite of two neighbours, or -1. */
static int32_t
compose_pair(int32_t first, int32_t second)
{
	int32_t		pair[2] = {first, second};

	return utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) == 1 ? pair[0] : -1;
}

/*
 * Compose ordered points in place; *n becomes how many are left.  A point joins the last starter unless one
 * between them has its class or a higher one.
 */
static FsiStatus
compose_long(int32_t *points, size_t *n, const FsiHost *host, FsiError *err)
{
	size_t		out = 0,
				starter = SIZE_MAX,
				asked = 0;
	int			last_class = -1;	/* highest class since the starter; -1: its neighbour comes next */

	for (size_t i = 0; i < *n; i++)
	{
		int			class = combining_class(points[i]);
		int32_t		composite = -1;

		FSI_TRY(text_go_on(host, i, &asked, err));
		if (starter != SIZE_MAX && class > last_class)
			composite = compose_pair(points[starter], points[i]);
		if (composite >= 0)
		{
			points[starter] = composite;
			continue;
		}
		points[out] = points[i];
		if (class == 0)
			starter = out;
		last_class = class == 0 ? -1 : class;
		out++;
	}
	*n = out;
	return FSI_OK;
}

static FsiStatus
compose_piece(int32_t *points, size_t *n, const FsiHost *host, FsiError *err)
{
	utf8proc_ssize_t composed;

	if (*n > LIBRARY_MAX)
		return compose_long(points, n, host, err);
	composed = utf8proc_normalize_utf32(points, (utf8proc_ssize_t) *n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (composed >= 0)
		*n = (size_t) composed;
	return FSI_OK;
}

/* Decompose, order and compose one piece between boundaries. */
static FsiStatus
normalize_piece(UniForm form, const char *s, size_t len, FsiBytes *out, FsiError *err)
{
	FsiArena   *scratch = out->arena;
	int			options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form_is_compat(form) ? UTF8PROC_COMPAT : 0);
	int32_t		few[64 + DECOMPOSE_MAX];
	int32_t    *points = few;
	size_t		n = 0,
				cap = 64 + DECOMPOSE_MAX,
				asked = 0;
	int			boundclass = 0;

	for (size_t i = 0; i < len;)
	{
		int			bytes;
		uint32_t	c = utf8_next(s + i, &bytes);
		utf8proc_ssize_t made;

		FSI_TRY(text_go_on(scratch->host, i, &asked, err));
		if (n + DECOMPOSE_MAX > cap)
		{
			int32_t    *more = fsi_arena_array(scratch, cap * 2, sizeof(int32_t));

			if (more == NULL)
				return fsi_nomem(err, cap * 2 * sizeof(int32_t));
			FSI_TRY(fsi_copy(scratch->host, more, points, n * sizeof(int32_t), err));
			points = more;
			cap *= 2;
		}
		made = utf8proc_decompose_char((utf8proc_int32_t) c, points + n, DECOMPOSE_MAX, options, &boundclass);
		if (made < 0 || made > DECOMPOSE_MAX)
		{
			points[n] = (int32_t) c;
			made = 1;
		}
		n += (size_t) made;
		i += (size_t) bytes;
	}
	FSI_TRY(order_piece(points, n, scratch, err));
	if (form_composes(form))
		FSI_TRY(compose_piece(points, &n, scratch->host, err));
	FSI_TRY(fsi_bytes_grow(out, n * 4, err));
	asked = 0;
	for (size_t i = 0; i < n; i++)
	{
		FSI_TRY(text_go_on(scratch->host, i, &asked, err));
		out->len += (size_t) utf8_put((char *) out->data + out->len, (uint32_t) points[i]);
	}
	return FSI_OK;
}

/* Append n bytes that stay as they are. */
static FsiStatus
copy_inert(FsiBytes *out, const char *s, size_t n, FsiError *err)
{
	FSI_TRY(fsi_bytes_grow(out, n, err));
	if (n > 0)
		memcpy(out->data + out->len, s, n);
	out->len += n;
	return FSI_OK;
}

FsiStatus
uni_normalize(UniForm form, const char *s, size_t len, FsiBytes *out, FsiError *err)
{
	const FsiHost *host = out->arena->host;
	size_t		done = 0,		/* input up to here is in out */
				i = 0,			/* a boundary: inert text from done to here is still to be copied */
				asked = 0;

	if (!fsi_bytes_reserve(out, len))
		return fsi_nomem(err, len);
	while (i < len)
	{
		size_t		run = ascii_run(s + i, len - i < TEXT_STOP_EVERY ? len - i : TEXT_STOP_EVERY),
					end;
		int			n;
		uint32_t	c;

		FSI_TRY(text_go_on(host, i, &asked, err));
		if (i + run == len)
			break;
		if (run > 0)
			i += run - 1;		/* the last one may carry a mark */
		if (i - done >= TEXT_STOP_EVERY)
		{
			FSI_TRY(copy_inert(out, s + done, i - done, err));
			done = i;
		}
		c = utf8_next(s + i, &n);
		end = i + (size_t) n;
		if (end < len && !uni_is_boundary(utf8_next(s + end, &n)))
		{
			for (end += (size_t) n; end < len && !uni_is_boundary(utf8_next(s + end, &n)); end += (size_t) n)
				FSI_TRY(text_go_on(host, end, &asked, err));
			c = UINT32_MAX;
		}
		if (c == UINT32_MAX || !is_inert(form, c))
		{
			FSI_TRY(copy_inert(out, s + done, i - done, err));
			FSI_TRY(normalize_piece(form, s + i, end - i, out, err));
			done = end;
		}
		i = end;
	}
	return copy_inert(out, s + done, len - done, err);
}
