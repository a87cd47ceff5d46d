/*
 * wordpiece.c
 *	  BERT's words and WordPiece's longest match first.
 *
 * Behaviour source: tokenizers' BertPreTokenizer and WordPiece; the same as transformers'
 * BasicTokenizer and WordpieceTokenizer.
 */
#include <string.h>

#include "tokblob.h"
#include "unicode.h"

#define ASK_BYTES ((size_t) 1 << 20)	/* of looked up strings between two questions whether to stop: about 1 ms */

static inline bool
is_bert_punct(uint32_t c)
{
	if (c < 0x80)
		return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
	return uni_is_punct(c);
}

/*
 * Pieces of one word of n_chars characters, or one unknown token if any part of it has no
 * piece.  *looked_up: bytes since the last question whether to stop, which long tokens make many for each of the word.
 */
static FsiStatus
encode_word(const Tokenizer *tok, const char *word, size_t len, size_t n_chars, size_t *looked_up, IdList *list,
			FsiError *err)
{
	const TokHeader *h = tok_header(tok);
	size_t		room = h->max_token_bytes;
	size_t		first = list->n;
	char		few[TOK_PREFIX_LEN + 512];
	char	   *buffer = few;

	if (n_chars > h->max_word_chars)
		goto unknown;
	if (len > sizeof(few) - TOK_PREFIX_LEN)
	{
		buffer = fsi_arena_alloc(list->arena, len + TOK_PREFIX_LEN);
		if (buffer == NULL)
			return fsi_nomem(err, len);
	}
	memcpy(buffer + TOK_PREFIX_LEN, word, len);

	/* A continuing piece is looked up with its ## written over the two bytes before it, which are used up. */
	for (size_t start = 0; start < len;)
	{
		size_t		prefix = start > 0 ? TOK_PREFIX_LEN : 0;
		char	   *piece = buffer + TOK_PREFIX_LEN + start - prefix;
		size_t		end = len - start + prefix > room ? start + room - prefix : len;
		int32_t		id = TOK_NONE;

		if (room <= prefix)
			goto unknown;
		if (*looked_up >= ASK_BYTES)
		{
			*looked_up = 0;
			if (fsi_should_stop(list->arena->host))
				return fsi_cancelled(err);
		}
		memcpy(piece, TOK_PREFIX, prefix);
		for (; end > start; end--)
		{
			if (end < len && utf8_is_tail(word[end]))
				continue;
			*looked_up += end - start + prefix;
			id = tok_find(tok, piece, end - start + prefix, TOK_IN_MODEL);
			if (id != TOK_NONE)
				break;
		}
		if (id == TOK_NONE)
			goto unknown;
		FSI_TRY(idlist_push(list, id, err));
		start = end;
	}
	return FSI_OK;

unknown:
	list->n = first;
	return idlist_push(list, h->unk, err);
}

FsiStatus
wordpiece_encode(const Tokenizer *tok, const char *text, size_t len, IdList *list, FsiError *err)
{
	size_t		start = 0,		/* of the word being read */
				n_chars = 0,
				looked_up = 0,
				asked = 0;

	for (size_t i = 0; i < len;)
	{
		int			n;
		uint32_t	c = utf8_next(text + i, &n);
		bool		space = uni_is_space(c);

		FSI_TRY(text_go_on(list->arena->host, i, &asked, err));
		if (!space && !is_bert_punct(c))
		{
			n_chars++;
			i += (size_t) n;
			continue;
		}
		if (n_chars > 0)
			FSI_TRY(encode_word(tok, text + start, i - start, n_chars, &looked_up, list, err));
		if (!space)
			FSI_TRY(encode_word(tok, text + i, (size_t) n, 1, &looked_up, list, err));
		i += (size_t) n;
		start = i;
		n_chars = 0;
	}
	if (n_chars > 0)
		FSI_TRY(encode_word(tok, text + start, len - start, n_chars, &looked_up, list, err));
	return FSI_OK;
}
