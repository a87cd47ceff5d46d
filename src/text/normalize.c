/*
 * normalize.c
 *	  The normalisers of tokenizer.json, one after another over a text.
 *
 * Behaviour source: tokenizers' normalizers (BertNormalizer, Lowercase, StripAccents and
 * the normal forms).  Case is mapped character by character, so a final sigma is not
 * special.  BERT's control characters are Cc, Cf, Co: unassigned ones stay, as in the
 * fast tokenizer.
 */
#include <string.h>

#include "tokblob.h"
#include "unicode.h"

/* What BERT's clean-up makes of an ASCII byte; 0: dropped. */
static inline char
clean_ascii(char c)
{
	if (c == '\t' || c == '\n' || c == '\r')
		return ' ';
	return c < ' ' || c == 0x7F ? '\0' : c;
}

static inline char
lower_ascii(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
}

/* Append the lower-case mapping of c; out has room for 8 bytes. */
static void
put_lower(FsiBytes *out, uint32_t c)
{
	uint32_t	lower[2];
	int			n = uni_lower(c, lower);

	for (int i = 0; i < n; i++)
		out->len += (size_t) utf8_put((char *) out->data + out->len, lower[i]);
}

/* Lower-case everything. */
static FsiStatus
lower_text(const char *s, size_t len, FsiBytes *out, FsiError *err)
{
	size_t		asked = 0;

	/* Lower-casing adds at most one byte to a character of two (U+0130, U+023A). */
	if (!fsi_bytes_reserve(out, len + len / 2 + 8))
		return fsi_nomem(err, len);
	for (size_t i = 0; i < len;)
	{
		int			n;

		FSI_TRY(text_go_on(out->arena->host, i, &asked, err));
		if ((uint8_t) s[i] < 0x80)
		{
			out->data[out->len++] = (uint8_t) lower_ascii(s[i++]);
			continue;
		}
		put_lower(out, utf8_next(s + i, &n));
		i += (size_t) n;
	}
	return FSI_OK;
}

/* Drop characters of category M (or Mn alone), and lower-case the others if asked. */
static FsiStatus
drop_marks(const char *s, size_t len, bool nonspacing_only, bool lower, FsiBytes *out, FsiError *err)
{
	size_t		asked = 0;

	if (!fsi_bytes_reserve(out, len + len / 2 + 8))
		return fsi_nomem(err, len);
	for (size_t i = 0; i < len;)
	{
		int			n;
		uint32_t	c = utf8_next(s + i, &n);

		FSI_TRY(text_go_on(out->arena->host, i, &asked, err));
		if (!(nonspacing_only ? uni_is_mark_nonspacing(c) : uni_is_mark(c)))
		{
			if (lower)
				put_lower(out, c);
			else
			{
				memcpy(out->data + out->len, s + i, (size_t) n);
				out->len += (size_t) n;
			}
		}
		i += (size_t) n;
	}
	return FSI_OK;
}

/*
 * BERT's clean-up, spaces round Han and (unless accents are stripped, which comes first)
 * lower-casing, in one pass.
 */
static FsiStatus
bert_clean(const char *s, size_t len, int flags, FsiBytes *out, FsiError *err)
{
	bool		clean = flags & TOK_BERT_CLEAN,
				lower = (flags & TOK_BERT_LOWER) && !(flags & TOK_BERT_ACCENTS);
	size_t		asked = 0;

	/* Worst cases: " 中 " makes 5 of 3 bytes, U+0130 three of two. */
	if (len > SIZE_MAX / 2 || !fsi_bytes_reserve(out, len * 2 + 8))
		return fsi_nomem(err, len);
	for (size_t i = 0; i < len;)
	{
		int			n;
		uint32_t	c;

		FSI_TRY(text_go_on(out->arena->host, i, &asked, err));
		if ((uint8_t) s[i] < 0x80)
		{
			char		a = clean ? clean_ascii(s[i]) : s[i];

			if (a != '\0' || !clean)
				out->data[out->len++] = (uint8_t) (lower ? lower_ascii(a) : a);
			i++;
			continue;
		}
		c = utf8_next(s + i, &n);
		i += (size_t) n;
		if (clean)
		{
			if (c == 0xFFFD || uni_is_control(c))
				continue;
			if (uni_is_space(c))
			{
				out->data[out->len++] = ' ';
				continue;
			}
		}
		if ((flags & TOK_BERT_HAN) && uni_is_han(c))
		{
			out->data[out->len++] = ' ';
			out->len += (size_t) utf8_put((char *) out->data + out->len, c);
			out->data[out->len++] = ' ';
		}
		else if (lower)
			put_lower(out, c);
		else
			out->len += (size_t) utf8_put((char *) out->data + out->len, c);
	}
	return FSI_OK;
}

/* Is all of it ASCII? */
static FsiStatus
look_for_ascii(const FsiHost *host, const char *s, size_t len, bool *ascii, FsiError *err)
{
	size_t		asked = 0;

	*ascii = true;
	for (size_t at = 0; at < len && *ascii; at += TEXT_STOP_EVERY)
	{
		size_t		n = len - at < TEXT_STOP_EVERY ? len - at : TEXT_STOP_EVERY;

		FSI_TRY(text_go_on(host, at, &asked, err));
		*ascii = ascii_run(s + at, n) == n;
	}
	return FSI_OK;
}

static FsiStatus
bert_normalize(const char *s, size_t len, int flags, FsiBytes *out, FsiError *err)
{
	FsiBytes	clean,
				apart;
	bool		ascii = false;

	if (flags & TOK_BERT_ACCENTS)
		FSI_TRY(look_for_ascii(out->arena->host, s, len, &ascii, err));
	if (ascii)
		flags &= ~TOK_BERT_ACCENTS; /* there are none to strip */
	if (!(flags & TOK_BERT_ACCENTS))
		return bert_clean(s, len, flags, out, err);

	fsi_bytes_init(&clean, out->arena);
	fsi_bytes_init(&apart, out->arena);
	FSI_TRY(bert_clean(s, len, flags, &clean, err));
	FSI_TRY(uni_normalize(UNI_NFD, (char *) clean.data, clean.len, &apart, err));
	return drop_marks((char *) apart.data, apart.len, true, flags & TOK_BERT_LOWER, out, err);
}

FsiStatus
norm_apply(const uint16_t *steps, uint32_t n_steps, const char *text, size_t len,
		   FsiArena *scratch, const char **out, size_t *out_len, FsiError *err)
{
	*out = text;
	*out_len = len;
	for (uint32_t i = 0; i < n_steps; i++)
	{
		int			step = steps[i] & TOK_STEP_KIND;
		bool		ascii = false;
		FsiBytes	bytes;

		if (step != TOK_STEP_BERT && step != TOK_STEP_LOWER)
			FSI_TRY(look_for_ascii(scratch->host, *out, *out_len, &ascii, err));
		if (ascii)
			continue;			/* no normal form and no mark below U+0080 */
		fsi_bytes_init(&bytes, scratch);
		switch (step)
		{
			case TOK_STEP_NFC:
			case TOK_STEP_NFD:
			case TOK_STEP_NFKC:
			case TOK_STEP_NFKD:
				FSI_TRY(uni_normalize((UniForm) step, *out, *out_len, &bytes, err));
				break;
			case TOK_STEP_LOWER:
				FSI_TRY(lower_text(*out, *out_len, &bytes, err));
				break;
			case TOK_STEP_STRIP_ACCENTS:
				FSI_TRY(drop_marks(*out, *out_len, false, false, &bytes, err));
				break;
			case TOK_STEP_BERT:
				FSI_TRY(bert_normalize(*out, *out_len, steps[i], &bytes, err));
				break;
			default:
				return fsi_fail(err, FSI_CORRUPT, "tokenizer has an unknown normaliser step %d", step);
		}
		*out = (const char *) bytes.data;
		*out_len = bytes.len;
	}
	return FSI_OK;
}
