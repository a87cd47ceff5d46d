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
static bool
order_marks(int32_t *marks, size_t n, FsiArena *scratch)
{
	size_t		start[256] = {0};
	size_t		sum = 0;
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
		return true;
	}

	sorted = fsi_arena_array(scratch, n, sizeof(int32_t));
	if (sorted == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		start[combining_class(marks[i]) & 255]++;
	for (int class = 0; class < 256; class++)
	{
		size_t		count = start[class];

		start[class] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++)
		sorted[start[combining_class(marks[i]) & 255]++] = marks[i];
	memcpy(marks, sorted, n * sizeof(int32_t));
	return true;
}

/* Canonical ordering: sort every run of non-starters. */
static bool
order_piece(int32_t *points, size_t n, FsiArena *scratch)
{
	for (size_t i = 0; i < n;)
	{
		size_t		end;

		if (combining_class(points[i]) == 0)
		{
			i++;
			continue;
		}
		for (end = i + 1; end < n && combining_class(points[end]) != 0; end++)
			;
		if (end - i > 1 && !order_marks(points + i, end - i, scratch))
			return false;
		i = end;
	}
	return true;
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
				cap = 64 + DECOMPOSE_MAX;
	int			boundclass = 0;

	for (size_t i = 0; i < len;)
	{
		int			bytes;
		uint32_t	c = utf8_next(s + i, &bytes);
		utf8proc_ssize_t made;

		if (n + DECOMPOSE_MAX > cap)
		{
			int32_t    *more = fsi_arena_array(scratch, cap * 2, sizeof(int32_t));

			if (more == NULL)
				return fsi_nomem(err, cap * 2 * sizeof(int32_t));
			memcpy(more, points, n * sizeof(int32_t));
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
	if (!order_piece(points, n, scratch))
		return fsi_nomem(err, n * sizeof(int32_t));
	if (form_composes(form))
	{
		utf8proc_ssize_t composed = utf8proc_normalize_utf32(points, (utf8proc_ssize_t) n,
															 UTF8PROC_STABLE | UTF8PROC_COMPOSE);

		if (composed >= 0)
			n = (size_t) composed;
	}
	if (!fsi_bytes_reserve(out, n * 4))
		return fsi_nomem(err, n * 4);
	for (size_t i = 0; i < n; i++)
		out->len += (size_t) utf8_put((char *) out->data + out->len, (uint32_t) points[i]);
	return FSI_OK;
}

FsiStatus
uni_normalize(UniForm form, const char *s, size_t len, FsiBytes *out, FsiError *err)
{
	size_t		done = 0,		/* input up to here is in out */
				i = 0,			/* a boundary: inert text from done to here is still to be copied */
				asked = 0;

	if (!fsi_bytes_reserve(out, len))
		return fsi_nomem(err, len);
	while (i < len)
	{
		size_t		run = ascii_run(s + i, len - i),
					end;
		int			n;
		uint32_t	c;

		FSI_TRY(text_go_on(out->arena->host, i, &asked, err));
		if (i + run == len)
			break;
		if (run > 0)
			i += run - 1;		/* the last one may carry a mark */
		c = utf8_next(s + i, &n);
		end = i + (size_t) n;
		if (end < len)
		{
			uint32_t	next = utf8_next(s + end, &n);

			if (!uni_is_boundary(next))
			{
				do
					end += (size_t) n;
				while (end < len && !uni_is_boundary(utf8_next(s + end, &n)));
				c = UINT32_MAX;
			}
		}
		if (c == UINT32_MAX || !is_inert(form, c))
		{
			if (!fsi_bytes_append(out, s + done, i - done))
				return fsi_nomem(err, i - done);
			FSI_TRY(normalize_piece(form, s + i, end - i, out, err));
			done = end;
		}
		i = end;
	}
	if (!fsi_bytes_append(out, s + done, len - done))
		return fsi_nomem(err, len - done);
	return FSI_OK;
}
