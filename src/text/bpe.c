/*
 * bpe.c
 *	  Byte-level byte-pair encoding: GPT-2's words, then merges by rank.
 *
 * Behaviour source: GPT-2's encoder and tokenizers' ByteLevel and BPE.  The pattern
 *	 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * is read by hand.  A word that is a token which its own merges rebuild (TOK_WHOLE, found
 * out when the blob was made) is looked up at once.  Short words merge by scanning,
 * longer ones with a heap, so that a word of 1 MB takes n log n.
 */
#include <string.h>

#include "tokblob.h"
#include "unicode.h"

#define STOP_MERGES 4096		/* merges of one word between two questions whether to stop */
#define SCAN_MAX 128			/* bytes: up to here a scan of the ranks beats the heap */
#define WORD_MAX_BYTES (32 * 1024 * 1024)	/* after its space; merging takes up to 32 bytes of memory for each */
#define NO_RANK UINT32_MAX

typedef enum WordClass
{
	CLASS_OTHER = 0,
	CLASS_LETTER,
	CLASS_NUMBER,
	CLASS_SPACE
} WordClass;

static const uint8_t ascii_class[128] = {
	['\t'] = CLASS_SPACE, ['\n'] = CLASS_SPACE, ['\v'] = CLASS_SPACE, ['\f'] = CLASS_SPACE, ['\r'] = CLASS_SPACE,
	[' '] = CLASS_SPACE,
	['0' ... '9'] = CLASS_NUMBER,
	['A' ... 'Z'] = CLASS_LETTER,
	['a' ... 'z'] = CLASS_LETTER,
};

/* Class of the character at s and its bytes. */
static inline WordClass
class_at(const char *s, int *n)
{
	uint32_t	c;

	if ((uint8_t) *s < 0x80)
	{
		*n = 1;
		return ascii_class[(uint8_t) *s];
	}
	c = utf8_next(s, n);
	if (uni_is_letter(c))
		return CLASS_LETTER;
	if (uni_is_space(c))
		return CLASS_SPACE;
	return uni_is_number(c) ? CLASS_NUMBER : CLASS_OTHER;
}

/* Move *at to the end of the run of one class that begins there. */
static FsiStatus
run_end(const FsiHost *host, const char *text, size_t len, size_t *at, WordClass class, FsiError *err)
{
	size_t		asked = *at;
	int			n;

	while (*at < len && class_at(text + *at, &n) == class)
	{
		*at += (size_t) n;
		FSI_TRY(text_go_on(host, *at, &asked, err));
	}
	return FSI_OK;
}

/* Bytes of 's 't 're 've 'm 'll 'd at s, or 0. */
static size_t
contraction(const char *s, size_t len)
{
	if (len < 2 || s[0] != '\'')
		return 0;
	if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd')
		return 2;
	if (len >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l')))
		return 3;
	return 0;
}

/* *end: where the word that begins at text[at] ends under GPT-2's pattern. */
static FsiStatus
word_end(const FsiHost *host, const char *text, size_t len, size_t at, size_t *end, FsiError *err)
{
	int			n;
	WordClass	class;

	*end = at + contraction(text + at, len - at);
	if (*end > at)
		return FSI_OK;

	/* one space goes with what follows, unless that is space too */
	class = class_at(text + at, &n);
	if (text[at] == ' ' && at + 1 < len)
	{
		class = class_at(text + at + 1, &n);
		*end = at + 1;
	}
	FSI_TRY(run_end(host, text, len, end, class, err));

	/* spaces: all of them at the end of the text, else all but the last, but at least one */
	if (class == CLASS_SPACE && *end < len)
	{
		size_t		last = *end - 1;

		while (utf8_is_tail(text[last]))
			last--;
		if (last > at)
			*end = last;
	}
	return FSI_OK;
}

/* The merge of two neighbours, or NULL. */
static inline const TokMerge *
find_merge(const Tokenizer *tok, int32_t left, int32_t right)
{
	const TokHeader *h = tok_header(tok);
	const TokMerge *merges = tok->tab[TOK_TAB_MERGES];
	uint32_t	mask = (uint32_t) tok->num[TOK_TAB_MERGES] - 1;
	uint32_t	slot = (uint32_t) tok_pair_hash((uint32_t) left, (uint32_t) right) & mask;

	for (uint32_t probe = 0; probe <= mask && probe < TOK_MAX_PROBES; probe++, slot = (slot + 1) & mask)
	{
		const TokMerge *merge = &merges[slot];

		if (merge->left == UINT32_MAX)
			return NULL;
		if (merge->left == (uint32_t) left && merge->right == (uint32_t) right)
			return merge->id < h->n_vocab && merge->rank != NO_RANK ? merge : NULL;
	}
	return NULL;
}

static inline void
rank_pair(const Tokenizer *tok, const int32_t *ids, uint32_t *rank, int32_t *made, int i, int n)
{
	const TokMerge *merge = i + 1 < n ? find_merge(tok, ids[i], ids[i + 1]) : NULL;

	rank[i] = merge != NULL ? merge->rank : NO_RANK;
	made[i] = merge != NULL ? (int32_t) merge->id : TOK_NONE;
}

/* Merge ids[n] in place, lowest rank first, leftmost among equals; returns how many remain. */
static int
merge_scan(const Tokenizer *tok, int32_t *ids, int n)
{
	uint32_t	rank[SCAN_MAX];
	int32_t		made[SCAN_MAX];

	for (int i = 0; i < n; i++)
		rank_pair(tok, ids, rank, made, i, n);
	for (;;)
	{
		int			best = 0;

		for (int i = 1; i < n; i++)
			if (rank[i] < rank[best])
				best = i;
		if (rank[best] == NO_RANK)
			return n;
		ids[best] = made[best];
		n--;
		memmove(ids + best + 1, ids + best + 2, (size_t) (n - best - 1) * sizeof(*ids));
		memmove(rank + best + 1, rank + best + 2, (size_t) (n - best - 1) * sizeof(*rank));
		memmove(made + best + 1, made + best + 2, (size_t) (n - best - 1) * sizeof(*made));
		rank_pair(tok, ids, rank, made, best, n);
		if (best > 0)
			rank_pair(tok, ids, rank, made, best - 1, n);
	}
}

/* A long word: symbols in a list, candidate merges in a binary heap of rank << 32 | position. */
typedef struct LongWord
{
	int32_t    *ids;
	uint32_t   *next;
	uint32_t   *prev;
	uint32_t   *rank;			/* of the pair at a position, NO_RANK if none; a heap entry is stale unless equal */
	uint64_t   *heap;
	size_t		n_heap;
} LongWord;

static void
heap_push(LongWord *w, uint64_t key)
{
	size_t		i = w->n_heap++;

	for (; i > 0 && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = key;
}

static uint64_t
heap_pop(LongWord *w)
{
	uint64_t	top = w->heap[0],
				key = w->heap[--w->n_heap];
	size_t		i = 0;

	for (;;)
	{
		size_t		child = 2 * i + 1;

		if (child >= w->n_heap)
			break;
		if (child + 1 < w->n_heap && w->heap[child + 1] < w->heap[child])
			child++;
		if (w->heap[child] >= key)
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = key;
	return top;
}

static void
rank_long(const Tokenizer *tok, LongWord *w, uint32_t at)
{
	const TokMerge *merge = w->next[at] != UINT32_MAX ? find_merge(tok, w->ids[at], w->ids[w->next[at]]) : NULL;

	w->rank[at] = merge != NULL ? merge->rank : NO_RANK;
	if (merge != NULL)
		heap_push(w, (uint64_t) merge->rank << 32 | at);
}

/* Merge ids[n] with the heap and append what remains. */
static FsiStatus
merge_heap(const Tokenizer *tok, int32_t *ids, size_t n, FsiArena *scratch, IdList *list, FsiError *err)
{
	LongWord	w = {.ids = ids};
	size_t		popped = 0;

	w.next = fsi_arena_array(scratch, n, sizeof(uint32_t));
	w.prev = fsi_arena_array(scratch, n, sizeof(uint32_t));
	w.rank = fsi_arena_array(scratch, n, sizeof(uint32_t));
	w.heap = fsi_arena_array(scratch, n * 2, sizeof(uint64_t));	/* a merge takes one and brings two at most */
	if (w.next == NULL || w.prev == NULL || w.rank == NULL || w.heap == NULL)
		return fsi_nomem(err, n * (3 * sizeof(uint32_t) + 2 * sizeof(uint64_t)));
	for (size_t i = 0; i < n; i++)
	{
		if (i % STOP_MERGES == STOP_MERGES - 1 && fsi_should_stop(scratch->host))
			return fsi_cancelled(err);
		w.next[i] = i + 1 < n ? (uint32_t) i + 1 : UINT32_MAX;
		w.prev[i] = i > 0 ? (uint32_t) i - 1 : UINT32_MAX;
		rank_long(tok, &w, (uint32_t) i);
	}

	while (w.n_heap > 0)
	{
		uint64_t	key = heap_pop(&w);
		uint32_t	at = (uint32_t) key,
					right;
		const TokMerge *merge;

		if (++popped % STOP_MERGES == 0 && fsi_should_stop(list->arena->host))
			return fsi_cancelled(err);
		if (w.rank[at] != key >> 32)
			continue;
		right = w.next[at];
		merge = find_merge(tok, ids[at], ids[right]);
		if (merge == NULL)		/* the blob changed under us */
			break;
		ids[at] = (int32_t) merge->id;
		w.rank[right] = NO_RANK;
		w.next[at] = w.next[right];
		if (w.next[at] != UINT32_MAX)
			w.prev[w.next[at]] = at;
		rank_long(tok, &w, at);
		if (w.prev[at] != UINT32_MAX)
			rank_long(tok, &w, w.prev[at]);
	}
	popped = 0;
	for (uint32_t at = 0; at != UINT32_MAX; at = w.next[at])
	{
		if (++popped % STOP_MERGES == 0 && fsi_should_stop(list->arena->host))
			return fsi_cancelled(err);
		FSI_TRY(idlist_push(list, ids[at], err));
	}
	return FSI_OK;
}

/* The tokens of a word's bytes; one without a token is skipped, as by Hugging Face. */
static size_t
byte_ids(const Tokenizer *tok, const char *word, size_t len, int32_t *ids)
{
	const int32_t *byte_id = tok_header(tok)->byte_id;
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		int32_t		id = byte_id[(uint8_t) word[i]];

		if (id != TOK_NONE)
			ids[n++] = id;
	}
	return n;
}

/* As byte_ids(), in pieces; *n of them. */
static FsiStatus
long_byte_ids(const Tokenizer *tok, const char *word, size_t len, const FsiHost *host, int32_t *ids, size_t *n,
			  FsiError *err)
{
	size_t		asked = 0;

	*n = 0;
	for (size_t at = 0; at < len; at += TEXT_STOP_EVERY)
	{
		FSI_TRY(text_go_on(host, at, &asked, err));
		*n += byte_ids(tok, word + at, len - at < TEXT_STOP_EVERY ? len - at : TEXT_STOP_EVERY, ids + *n);
	}
	return FSI_OK;
}

static FsiStatus
merge_long_word(const Tokenizer *tok, const char *word, size_t len, IdList *list, FsiError *err)
{
	FsiArena	scratch;		/* of its own: given back before the next word */
	size_t		letters = len - (word[0] == ' ' && word[1] != ' ');	/* the space may be the tokenizer's own */
	int32_t    *ids;
	size_t		n;
	FsiStatus	status;

	if (letters > WORD_MAX_BYTES)
		return fsi_fail(err, FSI_LIMIT, "a word of %zu bytes is longer than the limit of %d", letters, WORD_MAX_BYTES);
	fsi_arena_init(&scratch, list->arena->host);
	ids = fsi_arena_array(&scratch, len, sizeof(int32_t));
	if (ids == NULL)
		status = fsi_nomem(err, len * sizeof(int32_t));
	else
	{
		status = long_byte_ids(tok, word, len, scratch.host, ids, &n, err);
		if (status == FSI_OK && n > 0)
			status = merge_heap(tok, ids, n, &scratch, list, err);
	}
	fsi_arena_free(&scratch);
	return status;
}

FsiStatus
bpe_merge_word(const Tokenizer *tok, const char *word, size_t len, IdList *list, FsiError *err)
{
	int32_t		ids[SCAN_MAX];
	size_t		n;

	if (len > SCAN_MAX)
		return merge_long_word(tok, word, len, list, err);
	n = byte_ids(tok, word, len, ids);
	if (n > 1)
		n = (size_t) merge_scan(tok, ids, (int) n);
	for (size_t i = 0; i < n; i++)
		FSI_TRY(idlist_push(list, ids[i], err));
	return FSI_OK;
}

/* A word's ids: as a whole token where that is what merging gives, else merged. */
static FsiStatus
encode_word(const Tokenizer *tok, const char *word, size_t len, IdList *list, FsiError *err)
{
	char		spelled[SCAN_MAX * 2];
	size_t		n = 0;
	int32_t		id;

	if (len <= SCAN_MAX)
	{
		for (size_t i = 0; i < len; i++)
			n += (size_t) utf8_put(spelled + n, tok_byte_char((uint8_t) word[i]));
		if (n <= tok_header(tok)->max_token_bytes)
		{
			id = tok_find(tok, spelled, n, TOK_IN_MODEL | TOK_WHOLE);
			if (id != TOK_NONE)
				return idlist_push(list, id, err);
		}
	}
	return bpe_merge_word(tok, word, len, list, err);
}

FsiStatus
bpe_encode(const Tokenizer *tok, const char *text, size_t len, bool within, IdList *list, FsiError *err)
{
	uint32_t	flags = tok_header(tok)->flags;
	size_t		asked = 0;

	if (len > 0 && (flags & TOK_PREFIX_SPACE) && !within && text[0] != ' ')
	{
		char	   *copy = fsi_arena_alloc(list->arena, len + 1);

		if (copy == NULL)
			return fsi_nomem(err, len);
		copy[0] = ' ';
		FSI_TRY(fsi_copy(list->arena->host, copy + 1, text, len++, err));
		text = copy;
	}
	for (size_t at = 0; at < len;)
	{
		size_t		end = len;

		if (!(flags & TOK_WHOLE_TEXT))
			FSI_TRY(word_end(list->arena->host, text, len, at, &end, err));
		FSI_TRY(encode_word(tok, text + at, end - at, list, err));
		at = end;
		FSI_TRY(text_go_on(list->arena->host, at, &asked, err));
	}
	return FSI_OK;
}
