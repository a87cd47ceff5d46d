/*
 * encode.c
 *	  From text to ids: added tokens first, then normaliser, words and pieces.
 *
 * Behaviour source: tokenizers' AddedVocabulary.  Added tokens that are not "normalized"
 * are found in the raw text, the others in the normalised pieces between them: leftmost,
 * then longest.  Every piece is encoded for itself (with its own prefix space).
 */
#include <string.h>

#include "tokblob.h"
#include "unicode.h"

typedef struct Pieces
{
	const Tokenizer *tok;
	bool		plain;			/* special tokens are text */
	bool		within;			/* the piece to come goes on after another text */
	IdList		list;			/* in a scratch arena */
	FsiArena	normal;			/* what the normaliser leaves of the piece in hand */
	FsiError   *err;
} Pieces;

/* One text to be searched for added tokens of one set. */
typedef struct AddedSearch
{
	const Tokenizer *tok;
	const TokAddedSet *set;
	const TokAdded *added;
	uint32_t	count;
	bool		plain;
	const char *text;
	size_t		len;
	size_t		at;				/* search goes on here */
	size_t		floor;			/* end of the last token taken, with the spaces after it */
	size_t		spaces;			/* end of the spaces that a token has stripped: none needs to be read again */
	size_t		compared;		/* bytes of tokens: up to TOK_MAX_ADDED_BYTES for each of the text */
	size_t		asked;			/* whether to stop */
} AddedSearch;

/* The pattern's bytes, *len of them; NULL where the blob is damaged. */
static const char *
pattern(const Tokenizer *tok, const TokAdded *added, size_t *len)
{
	uint64_t	end = (uint64_t) added->offset + added->length;

	*len = added->length;
	if (end > tok->num[TOK_TAB_PATTERNS] || added->length == 0 || added->length > TOK_MAX_ADDED_BYTES ||
		added->id >= (uint32_t) tok->n_vocab)
		return NULL;
	return (const char *) tok->tab[TOK_TAB_PATTERNS] + added->offset;
}

/* First index in [low, high) whose pattern's byte number depth is >= byte (or, above, > byte). */
static uint32_t
bound(const AddedSearch *s, uint32_t low, uint32_t high, size_t depth, uint8_t byte, bool above)
{
	while (low < high)
	{
		uint32_t	middle = low + (high - low) / 2;
		size_t		len;
		const char *p = pattern(s->tok, &s->added[middle], &len);
		int			b = p == NULL || depth >= len ? -1 : (uint8_t) p[depth];

		if (b < byte || (above && b == byte))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Longest added token at text[at], or NULL: narrow the sorted patterns byte by byte. */
static const TokAdded *
longest_at(AddedSearch *s, size_t at)
{
	uint32_t	low = 0,
				high = s->count;
	const TokAdded *best = NULL;

	for (size_t depth = 0; at + depth < s->len && low < high && depth < TOK_MAX_ADDED_BYTES; depth++)
	{
		uint8_t		byte = (uint8_t) s->text[at + depth];
		size_t		len;

		s->compared++;
		low = bound(s, low, high, depth, byte, false);
		high = bound(s, low, high, depth, byte, true);
		if (low < high && pattern(s->tok, &s->added[low], &len) != NULL && len == depth + 1 &&
			memcmp(pattern(s->tok, &s->added[low], &len), s->text + at, len) == 0)
			best = &s->added[low];
	}
	return best;
}

/*
 * Widen [*start, *end) by the spaces that the token takes with it.  What an earlier token has taken it cannot take: one
 * that is spaces itself may have nothing left.
 */
static FsiStatus
strip_spaces(AddedSearch *s, const TokAdded *found, const FsiHost *host, size_t *start, size_t *end, FsiError *err)
{
	size_t		from = *start,
				asked = 0;

	if ((found->flags & TOK_LSTRIP) && *start < s->floor)
		*start = s->floor;
	else if (found->flags & TOK_LSTRIP)
		while (*start > s->floor)
		{
			size_t		before = utf8_before(s->text, s->floor, *start);
			int			n;

			FSI_TRY(text_go_on(host, from - *start, &asked, err));
			if (!uni_is_space(utf8_next(s->text + before, &n)))
				break;
			*start = before;
		}
	if (!(found->flags & TOK_RSTRIP))
		return FSI_OK;
	if (*end < s->spaces)
		*end = s->spaces;
	asked = *end;
	while (*end < s->len)
	{
		int			n;

		FSI_TRY(text_go_on(host, *end, &asked, err));
		if (!uni_is_space(utf8_next(s->text + *end, &n)))
			break;
		*end += (size_t) n;
	}
	s->spaces = *end;
	return FSI_OK;
}

/*
 * Find the next added token, *taken NULL if there is none; [*start, *end) includes the spaces it strips.  The search
 * goes on among those after it, as in AddedVocabulary: a token that begins with one of them is found, and *start may
 * then lie before the end of the last.
 */
static FsiStatus
next_added(AddedSearch *s, const FsiHost *host, const TokAdded **taken, size_t *start, size_t *end, FsiError *err)
{
	*taken = NULL;
	while (s->at < s->len)
	{
		uint8_t		byte = (uint8_t) s->text[s->at];
		const TokAdded *found = NULL;

		FSI_TRY(text_go_on(host, s->at + s->compared, &s->asked, err));
		if (s->set->first[byte >> 6] >> (byte & 63) & 1)
			found = longest_at(s, s->at);
		if (found == NULL)
		{
			s->at++;
			continue;
		}
		*start = s->at;
		*end = s->at + found->length;
		s->at = *end;
		if (s->plain && (found->flags & TOK_SPECIAL))
			continue;			/* used up, but text */
		FSI_TRY(strip_spaces(s, found, host, start, end, err));
		if (*start >= *end)
			continue;			/* nothing is left of it */
		s->floor = *end;
		*taken = found;
		return FSI_OK;
	}
	return FSI_OK;
}

typedef FsiStatus (*PieceFn) (Pieces *p, const char *text, size_t len);

/* Split text at the added tokens of a set; give fn what lies between. */
static FsiStatus
split_added(Pieces *p, int which, const char *text, size_t len, PieceFn fn)
{
	int			tab = which == 0 ? TOK_TAB_ADDED_RAW : TOK_TAB_ADDED_NORM;
	AddedSearch s = {
		.tok = p->tok, .set = &tok_header(p->tok)->added[which], .added = p->tok->tab[tab],
		.count = (uint32_t) p->tok->num[tab], .plain = p->plain, .text = text, .len = len
	};
	const TokAdded *found;
	size_t		done = 0,
				start,
				end;

	while (s.count > 0)
	{
		FSI_TRY(next_added(&s, p->list.arena->host, &found, &start, &end, p->err));
		if (found == NULL)
			break;
		if (start > done)
			FSI_TRY(fn(p, text + done, start - done));
		FSI_TRY(idlist_push(&p->list, (int32_t) found->id, p->err));
		p->within = false;
		done = end;
	}
	return done < len ? fn(p, text + done, len - done) : FSI_OK;
}

static FsiStatus
encode_piece(Pieces *p, const char *text, size_t len)
{
	bool		within = p->within;

	p->within = false;
	if (p->tok->kind == TOK_WORDPIECE)
		return wordpiece_encode(p->tok, text, len, &p->list, p->err);
	return bpe_encode(p->tok, text, len, within, &p->list, p->err);
}

static FsiStatus
normalize_piece(Pieces *p, const char *text, size_t len)
{
	const TokHeader *h = tok_header(p->tok);
	FsiArenaMark mark = fsi_arena_mark(&p->normal);

	/* Pieces may be many: what one was normalised into does not outlive it. */
	FSI_TRY(norm_apply(h->steps, h->n_steps, text, len, &p->normal, &text, &len, p->err));
	FSI_TRY(split_added(p, 1, text, len, encode_piece));
	fsi_arena_release(&p->normal, mark);
	return FSI_OK;
}

static FsiStatus
check_text(const FsiHost *host, const char *text, size_t len, FsiError *err)
{
	size_t		at = 0,
				asked = 0;

	while (at < len)
	{
		size_t		n = len - at < TEXT_STOP_EVERY ? len - at : TEXT_STOP_EVERY,
					valid = text_utf8_valid(text + at, n);

		/* Only a character that the piece's end has cut may be read again. */
		if (valid == 0 || (valid < n && n == len - at))
			return fsi_fail(err, FSI_INVALID, "text is not valid UTF-8 at byte %zu", at + valid);
		at += valid;
		FSI_TRY(text_go_on(host, at, &asked, err));
	}
	if (len > INT32_MAX / 2)
		return fsi_fail(err, FSI_LIMIT, "text of %zu bytes is too long", len);
	return FSI_OK;
}

static FsiStatus
encode_text(const Tokenizer *tok, const char *text, size_t len, bool plain, bool within,
			FsiArena *arena, TokIds *out, FsiError *err)
{
	FsiArena	scratch;
	Pieces		p = {.tok = tok, .plain = plain, .within = within, .err = err};
	FsiStatus	status;

	out->ids = NULL;
	out->n = 0;
	FSI_TRY(check_text(arena->host, text, len, err));
	fsi_arena_init(&scratch, arena->host);
	fsi_arena_init(&p.normal, arena->host);
	p.list.arena = &scratch;
	status = split_added(&p, 0, text, len, normalize_piece);
	if (status == FSI_OK)
	{
		out->ids = fsi_arena_array(arena, p.list.n, sizeof(int32_t));
		if (out->ids == NULL)
			status = fsi_nomem(err, p.list.n * sizeof(int32_t));
		else
			status = fsi_copy(arena->host, out->ids, p.list.ids, p.list.n * sizeof(int32_t), err);
		out->n = status == FSI_OK ? p.list.n : 0;
	}
	fsi_arena_free(&p.normal);
	fsi_arena_free(&scratch);
	return status;
}

FsiStatus
tok_encode(const Tokenizer *tok, const char *text, size_t len, FsiArena *arena, TokIds *out, FsiError *err)
{
	return encode_text(tok, text, len, false, false, arena, out, err);
}

FsiStatus
tok_encode_plain(const Tokenizer *tok, const char *text, size_t len, FsiArena *arena, TokIds *out, FsiError *err)
{
	return encode_text(tok, text, len, true, false, arena, out, err);
}

FsiStatus
tok_encode_within(const Tokenizer *tok, const char *text, size_t len, FsiArena *arena, TokIds *out, FsiError *err)
{
	return encode_text(tok, text, len, true, true, arena, out, err);
}

FsiStatus
tok_normalize(const Tokenizer *tok, const char *text, size_t len,
			  FsiArena *arena, char **out, size_t *out_len, FsiError *err)
{
	const TokHeader *h = tok_header(tok);
	FsiArena	scratch;
	const char *normal;
	size_t		n;
	FsiStatus	status;

	*out = NULL;
	*out_len = 0;
	FSI_TRY(check_text(arena->host, text, len, err));
	fsi_arena_init(&scratch, arena->host);
	status = norm_apply(h->steps, h->n_steps, text, len, &scratch, &normal, &n, err);
	if (status == FSI_OK)
	{
		*out = fsi_arena_array(arena, n + 1, 1);
		*out_len = n;
		if (*out == NULL)
			status = fsi_nomem(err, n);
		else
		{
			status = fsi_copy(arena->host, *out, normal, n, err);
			(*out)[n] = '\0';
		}
	}
	fsi_arena_free(&scratch);
	return status;
}
