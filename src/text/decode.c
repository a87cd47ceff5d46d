/*
 * decode.c
 *	  From ids back to text.
 *
 * Behaviour source: tokenizers' ByteLevel and WordPiece decoders and transformers'
 * clean_up_tokenization.  WordPiece's text is not the original one: its words are joined
 * by single spaces.
 */
#include <string.h>

#include "tokblob.h"
#include "unicode.h"

/* Special tokens; the unknown one stays, unless it has another role too.  An ordinary token's role does not count. */
static bool
is_skipped(const Tokenizer *tok, int32_t id)
{
	if (!(tok_flags(tok, id) & TOK_SPECIAL))
		return false;
	return id != tok->unk || id == tok->bos || id == tok->eos || id == tok->pad || id == tok->cls || id == tok->sep ||
		id == tok->mask;
}

/* Append the bytes that a byte-level token's characters stand for, or the token as it is if one stands for none. */
static bool
append_bytes(FsiBytes *out, const char *token, size_t len)
{
	size_t		before = out->len;

	if (!fsi_bytes_reserve(out, len))
		return false;
	for (size_t i = 0; i < len;)
	{
		int			n;
		int			byte = tok_char_byte(utf8_next(token + i, &n));

		if (byte < 0)
		{
			out->len = before;
			return fsi_bytes_append(out, token, len);
		}
		out->data[out->len++] = (uint8_t) byte;
		i += (size_t) n;
	}
	return true;
}

/* Append a WordPiece token: continuing pieces without their mark, others after a space. */
static bool
append_piece(FsiBytes *out, const char *token, size_t len, bool first)
{
	if (!first && len >= TOK_PREFIX_LEN && memcmp(token, TOK_PREFIX, TOK_PREFIX_LEN) == 0)
		return fsi_bytes_append(out, token + TOK_PREFIX_LEN, len - TOK_PREFIX_LEN);
	if (!first && !fsi_bytes_append(out, " ", 1))
		return false;
	return fsi_bytes_append(out, token, len);
}

/* Replace every from by to (not longer) in place. */
static void
replace(FsiBytes *text, const char *from, const char *to)
{
	size_t		from_len = strlen(from),
				to_len = strlen(to),
				out = 0;

	for (size_t i = 0; i < text->len;)
	{
		if (text->data[i] == (uint8_t) from[0] && text->len - i >= from_len &&
			memcmp(text->data + i, from, from_len) == 0)
		{
			memcpy(text->data + out, to, to_len);
			out += to_len;
			i += from_len;
		}
		else
			text->data[out++] = text->data[i++];
	}
	text->len = out;
}

/* transformers' clean_up_tokenization: its replacements in its order. */
static void
clean_up(FsiBytes *text)
{
	static const char *const rules[][2] = {
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
		{" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		replace(text, rules[i][0], rules[i][1]);
}

/* Length of the longest beginning of a well-formed sequence at s, at least 1: what one U+FFFD replaces. */
static size_t
broken_length(const char *s, size_t len)
{
	static const char tail[] = "\x80\x80\x80";

	/* a beginning is good if some tail completes it; only the second byte's range varies */
	for (size_t n = len < 3 ? len : 3; n > 1; n--)
	{
		char		whole[6];
		uint8_t		lead = (uint8_t) s[0];
		size_t		need = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

		if (lead < 0xC2 || lead > 0xF4 || n >= need)
			continue;
		memcpy(whole, s, n);
		memcpy(whole + n, tail, need - n);
		if (text_utf8_valid(whole, need) == need)
			return n;
	}
	return 1;
}

/*
 * Valid UTF-8 of any bytes, as String::from_utf8_lossy: a broken sequence becomes one U+FFFD.  So does byte 0, which no
 * text of PostgreSQL holds.
 */
static bool
make_valid(const FsiBytes *raw, FsiBytes *out)
{
	const char *s = (const char *) raw->data;
	size_t		valid = 0;		/* up to here the bytes are known to be valid */

	for (size_t i = 0; i < raw->len;)
	{
		size_t		good;

		if (i >= valid)
			valid = i + text_utf8_valid(s + i, raw->len - i);
		good = strnlen(s + i, valid - i);
		if (!fsi_bytes_append(out, s + i, good))
			return false;
		i += good;
		if (i < raw->len)
		{
			if (!fsi_bytes_append(out, "\xEF\xBF\xBD", 3))
				return false;
			i += broken_length(s + i, raw->len - i);
		}
	}
	return true;
}

FsiStatus
tok_decode(const Tokenizer *tok, const int32_t *ids, size_t n, bool skip_special,
		   FsiArena *arena, char **text, size_t *len, FsiError *err)
{
	FsiArena	scratch;
	FsiBytes	raw,
				valid;
	bool		first = true,
				done = true;

	*text = NULL;
	*len = 0;
	fsi_arena_init(&scratch, arena->host);
	fsi_bytes_init(&raw, &scratch);
	fsi_bytes_init(&valid, &scratch);
	for (size_t i = 0; i < n && done; i++)
	{
		size_t		token_len;
		const char *token = tok_token(tok, ids[i], &token_len);

		if (token == NULL || (skip_special && is_skipped(tok, ids[i])))
			continue;
		/* a hostile blob may hold any bytes */
		if (text_utf8_valid(token, token_len) < token_len)
			continue;
		if (tok->kind == TOK_BPE)
			done = append_bytes(&raw, token, token_len);
		else
			done = append_piece(&raw, token, token_len, first);
		first = false;
	}
	if (done && (tok_header(tok)->flags & TOK_CLEANUP))
		clean_up(&raw);
	done = done && make_valid(&raw, &valid);
	if (done)
	{
		*text = fsi_arena_strndup(arena, (const char *) valid.data, valid.len);
		*len = valid.len;
	}
	fsi_arena_free(&scratch);
	return *text != NULL ? FSI_OK : fsi_nomem(err, n);
}
