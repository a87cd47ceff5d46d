/*
 * tokblob.c
 *	  Open a tokenizer blob and look tokens up in it; layout in tokblob.h.
 */
#include <string.h>

#include "tokblob.h"

/* Does a section of n elements of size bytes lie inside the blob, 8-aligned? */
static bool
section_ok(const TokHeader *h, uint64_t offset, uint64_t n, uint64_t size)
{
	uint64_t	bytes,
				end;

	if (offset % TOKBLOB_ALIGN != 0 || offset < sizeof(TokHeader))
		return false;
	if (__builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(offset, bytes, &end))
		return false;
	return end <= h->total;
}

static bool
cap_ok(uint32_t cap)
{
	return cap > 0 && (cap & (cap - 1)) == 0;
}

static bool
id_ok(const TokHeader *h, int32_t id)
{
	return id == TOK_NONE || (id >= 0 && (uint32_t) id < h->n_vocab);
}

/* Everything that may be asked of a header without reading its sections. */
static bool
header_ok(const TokHeader *h)
{
	if (h->kind != TOK_WORDPIECE && h->kind != TOK_BPE)
		return false;
	if (h->n_vocab == 0 || h->n_vocab > TOK_MAX_VOCAB || h->n_steps > TOK_MAX_STEPS)
		return false;
	if (h->max_word_chars > TOK_MAX_WORD_CHARS || h->max_token_bytes > TOK_MAX_TOKEN_BYTES)
		return false;
	if (!cap_ok(h->vocab_cap) || (h->kind == TOK_BPE && !cap_ok(h->merge_cap)) || h->n_merges > h->merge_cap)
		return false;
	if (!id_ok(h, h->bos) || !id_ok(h, h->eos) || !id_ok(h, h->pad) || !id_ok(h, h->unk) ||
		!id_ok(h, h->cls) || !id_ok(h, h->sep) || !id_ok(h, h->mask))
		return false;
	if (h->kind == TOK_WORDPIECE && h->unk == TOK_NONE)
		return false;
	for (uint32_t i = 0; i < h->n_steps; i++)
		if ((h->steps[i] & TOK_STEP_KIND) < TOK_STEP_NFC || (h->steps[i] & TOK_STEP_KIND) > TOK_STEP_BERT)
			return false;
	for (int i = 0; i < 256; i++)
		if (!id_ok(h, h->byte_id[i]))
			return false;
	return section_ok(h, h->strings, (uint64_t) h->n_vocab + 1, sizeof(uint32_t)) &&
		section_ok(h, h->pool, h->pool_len, 1) &&
		section_ok(h, h->token_flags, h->n_vocab, 1) &&
		section_ok(h, h->vocab, h->vocab_cap, sizeof(TokSlot)) &&
		section_ok(h, h->merges, h->merge_cap, sizeof(TokMerge)) &&
		section_ok(h, h->patterns, h->patterns_len, 1) &&
		section_ok(h, h->added[0].offset, h->added[0].count, sizeof(TokAdded)) &&
		section_ok(h, h->added[1].offset, h->added[1].count, sizeof(TokAdded));
}

FsiStatus
tok_open(const void *blob, size_t len, Tokenizer *tok, FsiError *err)
{
	const TokHeader *h = blob;
	const uint8_t *base = blob;

	memset(tok, 0, sizeof(*tok));
	if ((uintptr_t) blob % TOKBLOB_ALIGN != 0)
		return fsi_fail(err, FSI_INVALID, "tokenizer data is not aligned to %d bytes", TOKBLOB_ALIGN);
	if (len < sizeof(TokHeader) || memcmp(h->magic, TOKBLOB_MAGIC, sizeof(h->magic)) != 0)
		return fsi_fail(err, FSI_CORRUPT, "tokenizer data has no valid header");
	if (h->version != TOKBLOB_VERSION)
		return fsi_fail(err, FSI_UNSUPPORTED, "tokenizer data has version %u, only %d is known", h->version,
						TOKBLOB_VERSION);
	if (h->total > len)
		return fsi_fail(err, FSI_CORRUPT, "tokenizer data is cut off: %zu of %llu bytes", len,
						(unsigned long long) h->total);
	if (!header_ok(h))
		return fsi_fail(err, FSI_CORRUPT, "tokenizer data has a damaged header");

	tok->kind = (TokKind) h->kind;
	tok->n_vocab = (int32_t) h->n_vocab;
	tok->bos = h->bos;
	tok->eos = h->eos;
	tok->pad = h->pad;
	tok->unk = h->unk;
	tok->cls = h->cls;
	tok->sep = h->sep;
	tok->mask = h->mask;
	tok->blob = blob;
	tok->blob_len = len;
	tok->view = h;
	tok->tab[TOK_TAB_STRINGS] = base + h->strings;
	tok->tab[TOK_TAB_POOL] = base + h->pool;
	tok->tab[TOK_TAB_FLAGS] = base + h->token_flags;
	tok->tab[TOK_TAB_VOCAB] = base + h->vocab;
	tok->tab[TOK_TAB_MERGES] = base + h->merges;
	tok->tab[TOK_TAB_PATTERNS] = base + h->patterns;
	tok->tab[TOK_TAB_ADDED_RAW] = base + h->added[0].offset;
	tok->tab[TOK_TAB_ADDED_NORM] = base + h->added[1].offset;
	tok->num[TOK_TAB_POOL] = h->pool_len;
	tok->num[TOK_TAB_VOCAB] = h->vocab_cap;
	tok->num[TOK_TAB_MERGES] = h->merge_cap;
	tok->num[TOK_TAB_PATTERNS] = h->patterns_len;
	tok->num[TOK_TAB_ADDED_RAW] = h->added[0].count;
	tok->num[TOK_TAB_ADDED_NORM] = h->added[1].count;
	return FSI_OK;
}

const char *
tok_token(const Tokenizer *tok, int32_t id, size_t *len)
{
	const uint32_t *strings = tok->tab[TOK_TAB_STRINGS];
	uint32_t	start,
				end;

	*len = 0;
	if (id < 0 || id >= tok->n_vocab)
		return NULL;
	start = strings[id];
	end = strings[id + 1];
	if (start >= end || end > tok->num[TOK_TAB_POOL])
		return NULL;			/* an id without a token */
	*len = end - start;
	return (const char *) tok->tab[TOK_TAB_POOL] + start;
}

int32_t
tok_find(const Tokenizer *tok, const char *token, size_t len, uint8_t flags)
{
	uint64_t	hash = fsi_hash64(token, len, 0);
	const TokSlot *slots = tok->tab[TOK_TAB_VOCAB];
	uint32_t	mask = (uint32_t) tok->num[TOK_TAB_VOCAB] - 1;
	uint32_t	slot = (uint32_t) hash & mask;

	for (uint32_t probe = 0; probe <= mask && probe < TOK_MAX_PROBES; probe++, slot = (slot + 1) & mask)
	{
		const char *found;
		size_t		found_len;
		int32_t		id;

		if (slots[slot].id1 == 0)
			return TOK_NONE;
		if (slots[slot].tag != (uint32_t) (hash >> 32) || slots[slot].id1 > (uint32_t) tok->n_vocab)
			continue;
		id = (int32_t) (slots[slot].id1 - 1);
		found = tok_token(tok, id, &found_len);
		if (found != NULL && found_len == len && memcmp(found, token, len) == 0)
			return (tok_flags(tok, id) & flags) == flags ? id : TOK_NONE;
	}
	return TOK_NONE;
}

int32_t
tok_lookup(const Tokenizer *tok, const char *token, size_t len)
{
	return tok_find(tok, token, len, 0);
}

FsiStatus
idlist_grow(IdList *list, FsiError *err)
{
	size_t		cap = list->cap < 64 ? 64 : list->cap * 2;
	int32_t    *ids = fsi_arena_array(list->arena, cap, sizeof(int32_t));

	if (ids == NULL)
		return fsi_nomem(err, cap * sizeof(int32_t));
	FSI_TRY(fsi_copy(list->arena->host, ids, list->ids, list->n * sizeof(int32_t), err));
	list->ids = ids;
	list->cap = cap;
	return FSI_OK;
}
