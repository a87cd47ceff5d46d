/*
 * tokbuild.c
 *	  Collect a vocabulary, merges and added tokens, and write them as one blob.
 */
#include <stdlib.h>
#include <string.h>

#include "tokbuild.h"
#include "unicode.h"

#define STOP_EVERY 4096			/* tokens or merges between two questions whether to stop: some milliseconds */

void
build_init(TokBuild *b, int32_t n_vocab_model, FsiArena *arena, FsiError *err)
{
	memset(b, 0, sizeof(*b));
	b->arena = arena;
	b->err = err;
	b->limit = n_vocab_model > 0 ? n_vocab_model : TOK_MAX_VOCAB;
	b->max_word_chars = 100;
	b->byte_unk = TOK_NONE;
	b->marks.first = b->marks.last = TOK_NONE;
	for (int i = 0; i < TOK_ROLES; i++)
		b->role[i] = TOK_NONE;
}

/* An array of a larger power of two of elements, old ones copied, new ones zero; NULL: no memory. */
static void *
grow(FsiArena *arena, const void *old, size_t n, size_t cap, size_t size)
{
	char	   *more = fsi_arena_zero(arena, cap, size);

	if (more != NULL && n > 0)
		memcpy(more, old, n * size);
	return more;
}

/* For each token and each merge. */
static FsiStatus
go_on(TokBuild *b)
{
	return ++b->n_given % STOP_EVERY == 0 && fsi_should_stop(b->arena->host) ? fsi_cancelled(b->err) : FSI_OK;
}

/* ---- Vocabulary ---- */

/* The slot of a string, or the empty one where it would go. */
static uint32_t
find_slot(const TokBuild *b, const char *s, size_t len, uint64_t hash)
{
	uint32_t	slot = (uint32_t) hash & (b->cap_slots - 1);

	for (;; slot = (slot + 1) & (b->cap_slots - 1))
	{
		const TokSlot *found = &b->slots[slot];

		if (found->id1 == 0)
			return slot;
		if (found->tag == (uint32_t) (hash >> 32) && b->tokens[found->id1 - 1].len == len &&
			memcmp(b->tokens[found->id1 - 1].s, s, len) == 0)
			return slot;
	}
}

/* Double the slots when two thirds are taken. */
static FsiStatus
reserve_slot(TokBuild *b)
{
	TokSlot    *old = b->slots;
	uint32_t	n_old = b->cap_slots;

	if (n_old > 0 && b->n_slots < n_old / 3 * 2)
		return FSI_OK;
	b->cap_slots = n_old == 0 ? 1024 : n_old * 2;
	b->slots = fsi_arena_zero(b->arena, b->cap_slots, sizeof(TokSlot));
	if (b->slots == NULL)
		return fsi_nomem(b->err, b->cap_slots * sizeof(TokSlot));
	for (uint32_t i = 0; i < n_old; i++)
		if (old[i].id1 != 0)
		{
			const TokString *t = &b->tokens[old[i].id1 - 1];

			b->slots[find_slot(b, t->s, t->len, fsi_hash64(t->s, t->len, 0))] = old[i];
		}
	return FSI_OK;
}

int32_t
build_find(const TokBuild *b, const char *s, size_t len)
{
	if (b->cap_slots == 0 || len == 0)
		return TOK_NONE;
	return (int32_t) b->slots[find_slot(b, s, len, fsi_hash64(s, len, 0))].id1 - 1;
}

FsiStatus
build_token(TokBuild *b, int64_t id, const char *s, size_t len, uint8_t flags)
{
	uint64_t	hash = fsi_hash64(s, len, 0);
	uint32_t	slot;

	if (id < 0 || id >= b->limit)
		return fsi_fail(b->err, FSI_INVALID, "token \"%.*s\" has the id %lld, but the model has %d tokens",
						(int) (len < 100 ? len : 100), s, (long long) id, b->limit);
	if (len > TOK_MAX_TOKEN_BYTES)
		return fsi_fail(b->err, FSI_LIMIT, "token %lld is %zu bytes long, the limit is %d",
						(long long) id, len, TOK_MAX_TOKEN_BYTES);
	if (id >= b->cap_vocab)
	{
		int32_t		cap = b->cap_vocab < 1024 ? 1024 : b->cap_vocab * 2;

		if (cap <= id)
			cap = (int32_t) id + 1;
		b->tokens = grow(b->arena, b->tokens, (size_t) b->n_vocab, (size_t) cap, sizeof(TokString));
		b->token_flags = grow(b->arena, b->token_flags, (size_t) b->n_vocab, (size_t) cap, 1);
		if (b->tokens == NULL || b->token_flags == NULL)
			return fsi_nomem(b->err, (size_t) cap * sizeof(TokString));
		b->cap_vocab = cap;
	}
	if (b->tokens[id].s != NULL)
		return fsi_fail(b->err, FSI_INVALID, "token id %lld is given twice: \"%.*s\" and \"%.*s\"", (long long) id,
						(int) (b->tokens[id].len < 100 ? b->tokens[id].len : 100), b->tokens[id].s,
						(int) (len < 100 ? len : 100), s);
	FSI_TRY(go_on(b));
	FSI_TRY(reserve_slot(b));
	b->tokens[id].s = fsi_arena_strndup(b->arena, s, len);
	if (b->tokens[id].s == NULL)
		return fsi_nomem(b->err, len);
	b->tokens[id].len = len;
	b->token_flags[id] = flags;
	if (id >= b->n_vocab)
		b->n_vocab = (int32_t) id + 1;
	if (len == 0)
		return FSI_OK;			/* holds its id, is never found */
	slot = find_slot(b, s, len, hash);
	if (b->slots[slot].id1 == 0)
		b->n_slots++;
	b->slots[slot].id1 = (uint32_t) id + 1;
	b->slots[slot].tag = (uint32_t) (hash >> 32);
	return FSI_OK;
}

FsiStatus
build_added(TokBuild *b, int64_t id, const char *s, size_t len, uint8_t flags, bool normalized)
{
	int32_t		known = build_find(b, s, len);
	TokBuildAdded *added;

	if (len == 0)
		return FSI_OK;
	if (len > TOK_MAX_ADDED_BYTES)
		return fsi_fail(b->err, FSI_LIMIT, "an added token is %zu bytes long, the limit is %d",
						len, TOK_MAX_ADDED_BYTES);
	if (known == TOK_NONE)
		FSI_TRY(build_token(b, id, s, len, 0));
	else if (known != id)
		return fsi_fail(b->err, FSI_INVALID, "added token \"%.*s\" has the id %lld, but %d in the vocabulary",
						(int) len, s, (long long) id, known);
	if (b->token_flags[id] & TOK_ADDED)
		return FSI_OK;
	if (b->n_added == b->cap_added)
	{
		uint32_t	cap = b->cap_added < 64 ? 64 : b->cap_added * 2;

		b->added = grow(b->arena, b->added, b->n_added, cap, sizeof(TokBuildAdded));
		if (b->added == NULL)
			return fsi_nomem(b->err, cap * sizeof(TokBuildAdded));
		b->cap_added = cap;
	}
	added = &b->added[b->n_added++];
	added->content = b->tokens[id];
	added->id = (int32_t) id;
	added->flags = flags;
	added->normalized = normalized;
	b->token_flags[id] |= TOK_ADDED | flags;
	return FSI_OK;
}

/* ---- Merges ---- */

FsiStatus
build_merges(TokBuild *b, size_t n)
{
	if (n > TOK_MAX_VOCAB)
		return fsi_fail(b->err, FSI_LIMIT, "%zu merges are too many", n);
	b->merges = fsi_arena_array(b->arena, n, sizeof(TokMerge));
	return b->merges != NULL ? FSI_OK : fsi_nomem(b->err, n * sizeof(TokMerge));
}

FsiStatus
build_merge(TokBuild *b, const char *left, size_t left_len, const char *right, size_t right_len)
{
	TokMerge   *m = &b->merges[b->n_merges];
	char		whole[TOK_MAX_TOKEN_BYTES];
	int32_t		l = build_find(b, left, left_len),
				r = build_find(b, right, right_len),
				id = TOK_NONE;

	if (left_len + right_len <= sizeof(whole))
	{
		memcpy(whole, left, left_len);
		memcpy(whole + left_len, right, right_len);
		id = build_find(b, whole, left_len + right_len);
	}
	if (l == TOK_NONE || r == TOK_NONE || id == TOK_NONE)
		return fsi_fail(b->err, FSI_INVALID, "merge %u, \"%.*s %.*s\", names a token that is not in the vocabulary",
						b->n_merges, (int) (left_len < 100 ? left_len : 100), left,
						(int) (right_len < 100 ? right_len : 100), right);
	m->left = (uint32_t) l;
	m->right = (uint32_t) r;
	m->id = (uint32_t) id;
	m->rank = b->n_merges++;
	return go_on(b);
}

/* ---- The blob ---- */

/* Begin a section: align, note its offset. */
static bool
section(FsiBytes *out, uint64_t *offset)
{
	if (!fsi_bytes_align(out, TOKBLOB_ALIGN))
		return false;
	*offset = out->len;
	return true;
}

static bool
put_strings(const TokBuild *b, FsiBytes *out, TokHeader *h)
{
	uint32_t	at = 0;

	if (!section(out, &h->strings))
		return false;
	for (int32_t i = 0; i <= b->n_vocab; i++)
	{
		if (!fsi_bytes_append(out, &at, sizeof(at)))
			return false;
		if (i < b->n_vocab)
		{
			at += (uint32_t) b->tokens[i].len;
			if (b->tokens[i].len > h->max_token_bytes)
				h->max_token_bytes = (uint32_t) b->tokens[i].len;
		}
	}
	if (!section(out, &h->pool))
		return false;
	h->pool_len = at;
	for (int32_t i = 0; i < b->n_vocab; i++)
		if (!fsi_bytes_append(out, b->tokens[i].s, b->tokens[i].len))
			return false;
	return section(out, &h->token_flags) && fsi_bytes_append(out, b->token_flags, (size_t) b->n_vocab);
}

static bool
put_vocab(const TokBuild *b, FsiBytes *out, TokHeader *h)
{
	h->vocab_cap = b->cap_slots;
	return section(out, &h->vocab) && fsi_bytes_append(out, b->slots, b->cap_slots * sizeof(TokSlot));
}

/* The hash table of merges; of two merges of one pair the later stands, as in a dictionary. */
static bool
put_merges(const TokBuild *b, FsiBytes *out, TokHeader *h)
{
	uint32_t	cap = 16;
	TokMerge   *table;

	while (cap / 3 * 2 < b->n_merges)
		cap *= 2;
	table = fsi_arena_array(b->arena, cap, sizeof(TokMerge));
	if (table == NULL)
		return false;
	memset(table, 0xFF, cap * sizeof(TokMerge));
	for (uint32_t i = 0; i < b->n_merges; i++)
	{
		const TokMerge *m = &b->merges[i];
		uint32_t	slot = (uint32_t) tok_pair_hash(m->left, m->right) & (cap - 1);

		while (table[slot].left != UINT32_MAX && (table[slot].left != m->left || table[slot].right != m->right))
			slot = (slot + 1) & (cap - 1);
		table[slot] = *m;
	}
	h->merge_cap = cap;
	h->n_merges = b->n_merges;
	return section(out, &h->merges) && fsi_bytes_append(out, table, cap * sizeof(TokMerge));
}

typedef struct Pattern
{
	const char *s;
	size_t		len;
	const TokBuildAdded *added;
} Pattern;

static int
compare_patterns(const void *a, const void *b)
{
	const Pattern *x = a,
			   *y = b;
	int			order = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);

	if (order != 0)
		return order;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	if ((x->added->flags ^ y->added->flags) & TOK_SPECIAL)
		return x->added->flags & TOK_SPECIAL ? -1 : 1;
	return x->added->id < y->added->id ? -1 : x->added->id > y->added->id;
}

/* Added tokens as they will stand in the text, ascending; which: 0 raw, 1 normalised. */
static FsiStatus
sort_patterns(const TokBuild *b, int which, Pattern **patterns, size_t *n)
{
	Pattern    *p = fsi_arena_array(b->arena, b->n_added, sizeof(Pattern));

	*patterns = p;
	*n = 0;
	if (p == NULL)
		return fsi_nomem(b->err, b->n_added * sizeof(Pattern));
	for (uint32_t i = 0; i < b->n_added; i++)
	{
		const TokBuildAdded *added = &b->added[i];

		if (added->normalized != (which == 1) || ((b->flags & TOK_SPLIT_SPECIAL) && (added->flags & TOK_SPECIAL)))
			continue;
		p[*n].s = added->content.s;
		p[*n].len = added->content.len;
		p[*n].added = added;
		if (which == 1)
			FSI_TRY(norm_apply(b->steps, b->n_steps, added->content.s, added->content.len, b->arena,
							   &p[*n].s, &p[*n].len, b->err));
		if (p[*n].len > 0 && p[*n].len <= TOK_MAX_ADDED_BYTES)
			(*n)++;
	}
	if (*n > 1)
		qsort(p, *n, sizeof(Pattern), compare_patterns);
	return FSI_OK;
}

static FsiStatus
put_added(const TokBuild *b, FsiBytes *out, TokHeader *h)
{
	FsiBytes	bytes;

	fsi_bytes_init(&bytes, b->arena);
	for (int which = 0; which < 2; which++)
	{
		TokAddedSet *set = &h->added[which];
		Pattern    *patterns;
		size_t		n;

		FSI_TRY(sort_patterns(b, which, &patterns, &n));
		if (!section(out, &set->offset))
			return fsi_nomem(b->err, out->len);
		for (size_t i = 0; i < n; i++)
		{
			const Pattern *p = &patterns[i];
			TokAdded	added = {
				(uint32_t) bytes.len, (uint32_t) p->len, (uint32_t) p->added->id, p->added->flags
			};
			uint8_t		first = (uint8_t) p->s[0];

			if (i > 0 && p->len == p[-1].len && memcmp(p->s, p[-1].s, p->len) == 0)
				continue;		/* equal after the normaliser: the first of the special ones stands, else the first */
			set->first[first >> 6] |= UINT64_C(1) << (first & 63);
			set->count++;
			if (!fsi_bytes_append(&bytes, p->s, p->len) || !fsi_bytes_append(out, &added, sizeof(added)))
				return fsi_nomem(b->err, out->len);
		}
	}
	h->patterns_len = bytes.len;
	if (!section(out, &h->patterns) || !fsi_bytes_append(out, bytes.data, bytes.len))
		return fsi_nomem(b->err, out->len);
	return FSI_OK;
}

static void
set_byte_ids(const TokBuild *b, TokHeader *h)
{
	for (int byte = 0; byte < 256; byte++)
	{
		uint32_t	c = tok_byte_char((uint8_t) byte);
		char		s[4];

		h->byte_id[byte] = build_find(b, s, (size_t) utf8_put(s, c));
		if (h->byte_id[byte] == TOK_NONE || !(b->token_flags[h->byte_id[byte]] & TOK_IN_MODEL))
			h->byte_id[byte] = b->byte_unk;
	}
}

/* Mark the tokens that merging their own bytes gives back: those words need no merging. */
static FsiStatus
mark_whole(TokBuild *b, uint8_t *blob, size_t len)
{
	Tokenizer	tok;
	FsiArena	scratch;
	FsiStatus	status = FSI_OK;
	uint8_t    *flags;

	FSI_TRY(tok_open(blob, len, &tok, b->err));
	flags = blob + tok_header(&tok)->token_flags;
	fsi_arena_init(&scratch, b->arena->host);
	for (int32_t id = 0; id < tok.n_vocab && status == FSI_OK; id++)
	{
		FsiArenaMark mark = fsi_arena_mark(&scratch);
		IdList		list = {.arena = &scratch};
		size_t		token_len;
		const char *token = tok_token(&tok, id, &token_len);
		char		bytes[TOK_MAX_TOKEN_BYTES];
		size_t		n = 0;
		bool		spelled = token != NULL && (flags[id] & TOK_IN_MODEL);

		for (size_t i = 0; spelled && i < token_len;)
		{
			int			c_len;
			int			byte = tok_char_byte(utf8_next(token + i, &c_len));

			spelled = byte >= 0;
			bytes[n++] = (char) byte;
			i += (size_t) c_len;
		}
		if (spelled)
		{
			status = bpe_merge_word(&tok, bytes, n, &list, b->err);
			if (status == FSI_OK && list.n == 1 && list.ids[0] == id)
				flags[id] |= TOK_WHOLE;
		}
		fsi_arena_release(&scratch, mark);
		if (status == FSI_OK && id % STOP_EVERY == 0 && fsi_should_stop(scratch.host))
			status = fsi_cancelled(b->err);
	}
	fsi_arena_free(&scratch);
	return status;
}

FsiStatus
build_blob(TokBuild *b, uint8_t **blob, size_t *len)
{
	TokHeader	h = {.magic = TOKBLOB_MAGIC, .version = TOKBLOB_VERSION};
	FsiBytes	out;

	if (b->n_vocab == 0)
		return fsi_fail(b->err, FSI_INVALID, "tokenizer has an empty vocabulary");
	h.kind = b->kind;
	h.flags = b->flags;
	h.n_vocab = (uint32_t) b->n_vocab;
	h.bos = b->role[TOK_ROLE_BOS];
	h.eos = b->role[TOK_ROLE_EOS];
	h.pad = b->role[TOK_ROLE_PAD];
	h.unk = b->role[TOK_ROLE_UNK];
	h.cls = b->role[TOK_ROLE_CLS];
	h.sep = b->role[TOK_ROLE_SEP];
	h.mask = b->role[TOK_ROLE_MASK];
	h.reserved = TOK_NONE;
	memcpy(h.steps, b->steps, sizeof(h.steps));
	h.n_steps = b->n_steps;
	h.max_word_chars = b->max_word_chars;
	set_byte_ids(b, &h);

	fsi_bytes_init(&out, b->arena);
	if (!fsi_bytes_append(&out, &h, sizeof(h)) || !put_strings(b, &out, &h) || !put_vocab(b, &out, &h) ||
		!put_merges(b, &out, &h))
		return fsi_nomem(b->err, out.len);
	FSI_TRY(put_added(b, &out, &h));
	if (!fsi_bytes_align(&out, TOKBLOB_ALIGN))
		return fsi_nomem(b->err, out.len);
	h.total = out.len;
	memcpy(out.data, &h, sizeof(h));
	if (b->kind == TOK_BPE)
		FSI_TRY(mark_whole(b, out.data, out.len));
	*blob = out.data;
	*len = out.len;
	return FSI_OK;
}
