/*
 * unicode.c
 *	  UTF-8 validity, character classes and case; see unicode.h.
 */
#include <string.h>

#include <utf8proc.h>

#include "fsi_text.h"
#include "unicode.h"

size_t
ascii_run(const char *s, size_t len)
{
	size_t		i = 0;

	for (; i + 8 <= len; i += 8)
	{
		uint64_t	word;

		memcpy(&word, s + i, 8);
		if (word & UINT64_C(0x8080808080808080))
			break;
	}
	while (i < len && (uint8_t) s[i] < 0x80)
		i++;
	return i;
}

/* Bytes of the well-formed sequence at p, 0 if there is none (Unicode standard, table 3-7). */
static size_t
sequence_length(const uint8_t *p, size_t left)
{
	uint8_t		low = 0x80,
				high = 0xBF;
	size_t		n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4)
		return 0;
	n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
	if (left < n)
		return 0;
	if (p[0] == 0xE0)
		low = 0xA0;				/* no overlongs */
	else if (p[0] == 0xED)
		high = 0x9F;			/* no surrogates */
	else if (p[0] == 0xF0)
		low = 0x90;
	else if (p[0] == 0xF4)
		high = 0x8F;			/* nothing past U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return n;
}

size_t
text_utf8_valid(const char *s, size_t len)
{
	size_t		i = 0;

	while (i < len)
	{
		size_t		n;

		if ((uint8_t) s[i] < 0x80)
		{
			i += ascii_run(s + i, len - i);
			continue;
		}
		n = sequence_length((const uint8_t *) s + i, len - i);
		if (n == 0)
			return i;
		i += n;
	}
	return len;
}

static inline int
category(uint32_t c)
{
	return utf8proc_get_property((utf8proc_int32_t) c)->category;
}

/* Are most characters of Chinese text: worth a comparison instead of a table. */
static inline bool
is_common_han(uint32_t c)
{
	return c >= 0x4E00 && c <= 0x9FFF;
}

bool
uni_is_letter(uint32_t c)
{
	int			cat;

	if (c < 0x80)
		return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
	if (is_common_han(c))
		return true;
	cat = category(c);
	return cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO;
}

bool
uni_is_number(uint32_t c)
{
	int			cat;

	if (c < 0x80)
		return c >= '0' && c <= '9';
	if (is_common_han(c))
		return false;
	cat = category(c);
	return cat >= UTF8PROC_CATEGORY_ND && cat <= UTF8PROC_CATEGORY_NO;
}

bool
uni_is_mark(uint32_t c)
{
	int			cat;

	if (c < 0x300 || is_common_han(c))
		return false;
	cat = category(c);
	return cat >= UTF8PROC_CATEGORY_MN && cat <= UTF8PROC_CATEGORY_ME;
}

bool
uni_is_mark_nonspacing(uint32_t c)
{
	if (c < 0x300 || is_common_han(c))
		return false;
	return category(c) == UTF8PROC_CATEGORY_MN;
}

bool
uni_is_punct(uint32_t c)
{
	int			cat;

	if (is_common_han(c))
		return false;
	cat = category(c);
	return cat >= UTF8PROC_CATEGORY_PC && cat <= UTF8PROC_CATEGORY_PO;
}

bool
uni_is_control(uint32_t c)
{
	int			cat;

	if (is_common_han(c))
		return false;
	cat = category(c);
	return cat == UTF8PROC_CATEGORY_CC || cat == UTF8PROC_CATEGORY_CF || cat == UTF8PROC_CATEGORY_CO;
}

bool
uni_is_space(uint32_t c)
{
	if (c < 0x80)
		return c == ' ' || (c >= 0x09 && c <= 0x0D);
	if (c < 0x1680)
		return c == 0x85 || c == 0xA0;
	return c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
		c == 0x202F || c == 0x205F || c == 0x3000;
}

static size_t
space_before(const char *s, size_t len)
{
	size_t		at = 0;

	while (at < len)
	{
		int			n;

		if (!uni_is_space(utf8_next(s + at, &n)))
			break;
		at += (size_t) n;
	}
	return at;
}

size_t
text_space_after(const char *s, size_t len)
{
	size_t		at = len;

	while (at > 0)
	{
		size_t		before = utf8_before(s, 0, at);
		int			n;

		if (!uni_is_space(utf8_next(s + before, &n)))
			break;
		at = before;
	}
	return len - at;
}

FsiText
text_trim(FsiText t)
{
	size_t		before = space_before(t.s, t.len);

	t.s += before;
	t.len -= before;
	t.len -= text_space_after(t.s, t.len);
	return t;
}

FsiStatus
text_ends(FsiText t, size_t head, size_t tail, FsiArena *arena, FsiText *out, FsiError *err)
{
	char	   *s = fsi_arena_alloc(arena, head + tail);

	if (s == NULL)
		return fsi_nomem(err, head + tail);
	while (head > 0 && utf8_is_tail(t.s[head]))
		head--;
	while (tail > 0 && utf8_is_tail(t.s[t.len - tail]))
		tail--;
	memcpy(s, t.s, head);
	memcpy(s + head, t.s + t.len - tail, tail);
	*out = (FsiText) {s, head + tail};
	return FSI_OK;
}

bool
uni_is_han(uint32_t c)
{
	if (c < 0x3400)
		return false;
	return (c >= 0x4E00 && c <= 0x9FFF) || c <= 0x4DBF ||
		(c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x2A6DF) ||
		(c >= 0x2A700 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

int
uni_lower(uint32_t c, uint32_t out[2])
{
	if (c < 0x80)
		out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
	else if (is_common_han(c))
		out[0] = c;
	else if (c == 0x130)		/* the one unconditional multi-character entry of SpecialCasing.txt */
	{
		out[0] = 'i';
		out[1] = 0x307;
		return 2;
	}
	else
		out[0] = (uint32_t) utf8proc_tolower((utf8proc_int32_t) c);
	return 1;
}

bool
uni_is_boundary(uint32_t c)
{
	if (c < 0x300 || is_common_han(c))
		return true;
	if (c >= 0x1160 && c <= 0x11FF)
		return false;			/* Hangul vowels and finals join the syllable before */
	if (c >= 0x3131 && c <= 0x318E)
		return false;			/* become such under NFKC */
	if (c >= 0xFF9E && c <= 0xFFDC)
		return false;			/* half-width voice marks and Hangul: the same */
	return !uni_is_mark(c);
}
