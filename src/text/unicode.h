/*
 * unicode.h
 *	  Code points: reading and writing UTF-8, the character classes that tokenizers ask
 *	  for, and normal forms.
 *
 * Categories, case and decompositions come from utf8proc, of its version of Unicode.  Nothing here
 * keeps state.  Readers of UTF-8 expect valid text: text_utf8_valid() stands at the door.
 */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include "fsi_base.h"

/* Code point at s (valid UTF-8); *n: its bytes. */
static inline uint32_t
utf8_next(const char *s, int *n)
{
	const uint8_t *p = (const uint8_t *) s;

	if (p[0] < 0x80)
	{
		*n = 1;
		return p[0];
	}
	if (p[0] < 0xE0)
	{
		*n = 2;
		return (uint32_t) (p[0] & 0x1F) << 6 | (p[1] & 0x3F);
	}
	if (p[0] < 0xF0)
	{
		*n = 3;
		return (uint32_t) (p[0] & 0x0F) << 12 | (uint32_t) (p[1] & 0x3F) << 6 | (p[2] & 0x3F);
	}
	*n = 4;
	return (uint32_t) (p[0] & 0x07) << 18 | (uint32_t) (p[1] & 0x3F) << 12 |
		(uint32_t) (p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

/* Write c to s (4 bytes of room); its bytes. */
static inline int
utf8_put(char *s, uint32_t c)
{
	if (c < 0x80)
	{
		s[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		s[0] = (char) (0xC0 | c >> 6);
		s[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		s[0] = (char) (0xE0 | c >> 12);
		s[1] = (char) (0x80 | (c >> 6 & 0x3F));
		s[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	s[0] = (char) (0xF0 | c >> 18);
	s[1] = (char) (0x80 | (c >> 12 & 0x3F));
	s[2] = (char) (0x80 | (c >> 6 & 0x3F));
	s[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

static inline bool
utf8_is_tail(char c)
{
	return ((uint8_t) c & 0xC0) == 0x80;
}

/* Where the character before s[at] begins, not below floor; at > floor. */
static inline size_t
utf8_before(const char *s, size_t floor, size_t at)
{
	do
		at--;
	while (at > floor && utf8_is_tail(s[at]));
	return at;
}

#define TEXT_STOP_EVERY 65536	/* bytes of text between two questions whether to stop: at most some ms */

/* Ask whether to stop when enough text went by since *asked: FSI_CANCELLED then. */
static inline FsiStatus
text_go_on(const FsiHost *host, size_t at, size_t *asked, FsiError *err)
{
	if (at - *asked < TEXT_STOP_EVERY)
		return FSI_OK;
	*asked = at;
	return fsi_should_stop(host) ? fsi_cancelled(err) : FSI_OK;
}

/* Length of the ASCII run at the beginning of s. */
extern size_t ascii_run(const char *s, size_t len);

extern bool uni_is_letter(uint32_t c);		/* L* */
extern bool uni_is_number(uint32_t c);		/* N* */
extern bool uni_is_mark(uint32_t c);		/* M* */
extern bool uni_is_mark_nonspacing(uint32_t c); /* Mn */
extern bool uni_is_punct(uint32_t c);		/* P* */
extern bool uni_is_control(uint32_t c);		/* Cc, Cf, Co */
extern bool uni_is_space(uint32_t c);		/* White_Space */
extern bool uni_is_han(uint32_t c);			/* the blocks that BERT sets apart as CJK */

/* Full lower-case mapping without context: one code point, for U+0130 two.  Returns how many. */
extern int	uni_lower(uint32_t c, uint32_t out[2]);

/* May a normal form be cut before c?  (It is a starter and joins with nothing before it.) */
extern bool uni_is_boundary(uint32_t c);

typedef enum UniForm
{
	UNI_NFC = 1,
	UNI_NFD,
	UNI_NFKC,
	UNI_NFKD
} UniForm;

/* Append the normal form of s (valid UTF-8) to out.  Linear time, also for endless runs of marks. */
extern FsiStatus uni_normalize(UniForm form, const char *s, size_t len, FsiBytes *out, FsiError *err);

#endif
