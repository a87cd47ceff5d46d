/*
 * memo.c
 *	  The last messages: their answers by set, their vectors by model.
 *
 * One ring of bytes a kind, first in, first out: `WHERE f(x) = 'a'` and the SELECT list that
 * repeats f(x) ask about the same few messages, as do calls with other intents beside it.
 * An entry is found by the message's bytes, never by its hash alone, and by its owner's
 * number, which no other set or model of this backend has had.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "exec.h"

#define MEMO_BUCKETS 1024
/* A batch's worth and more: some 2,000 answers, some 400 vectors. */
#define ANSWER_BYTES (256 * 1024)
#define VECTOR_BYTES (1024 * 1024)
/* A message that would push out this part of the others is not kept. */
#define LARGEST_PART 8

#define NO_ENTRY UINT32_MAX

typedef struct MemoEntry
{
	uint64		hash;			/* of the message */
	uint64		owner;
	uint32		chain;			/* next of the same bucket, as an offset into the ring */
	uint32		size;			/* of all of it: head, payload, message */
	uint32		payload;
	uint32		len;
} MemoEntry;

/* Entries lie in [first, next), or, once wrapped, in [first, wrap) and [0, next). */
typedef struct Memo
{
	char	   *bytes;
	uint32		size;
	uint32		n;
	uint32		first;
	uint32		next;
	uint32		wrap;
	uint32		buckets[MEMO_BUCKETS];
} Memo;

static Memo *memos[MEMO_KINDS];

#define ENTRY(memo, at) ((MemoEntry *) ((memo)->bytes + (at)))
#define ENTRY_HEAD MAXALIGN(sizeof(MemoEntry))

static Memo *
memo_create(MemoKind kind)
{
	uint32		size = kind == MEMO_ANSWER ? ANSWER_BYTES : VECTOR_BYTES;
	Memo	   *memo = MemoryContextAlloc(cache_context(), MAXALIGN(sizeof(Memo)) + size);

	memo->bytes = (char *) memo + MAXALIGN(sizeof(Memo));
	memo->size = size;
	memo->n = 0;
	for (int i = 0; i < MEMO_BUCKETS; i++)
		memo->buckets[i] = NO_ENTRY;
	return memo;
}

void
memo_clear(void)
{
	for (int kind = 0; kind < MEMO_KINDS; kind++)
	{
		if (memos[kind] != NULL)
			pfree(memos[kind]);
		memos[kind] = NULL;
	}
}

uint64
memo_hash(HostText message)
{
	return fsi_hash64(message.s, message.len, 0);
}

void *
memo_find(MemoKind kind, uint64 owner, uint64 hash, HostText message)
{
	Memo	   *memo = memos[kind];

	if (memo == NULL)
		return NULL;
	for (uint32 at = memo->buckets[hash % MEMO_BUCKETS]; at != NO_ENTRY; at = ENTRY(memo, at)->chain)
	{
		MemoEntry  *e = ENTRY(memo, at);
		char	   *payload = (char *) e + ENTRY_HEAD;

		if (e->hash == hash && e->owner == owner && e->len == message.len &&
			memcmp(payload + e->payload, message.s, message.len) == 0)
			return payload;
	}
	return NULL;
}

static void
forget_oldest(Memo *memo)
{
	MemoEntry  *e = ENTRY(memo, memo->first);
	uint32	   *link = &memo->buckets[e->hash % MEMO_BUCKETS];
	bool		wrapped = memo->next <= memo->first;

	while (*link != memo->first)
		link = &ENTRY(memo, *link)->chain;
	*link = e->chain;
	memo->n--;
	memo->first += e->size;
	if (wrapped && memo->first == memo->wrap)
		memo->first = 0;
}

/* Make room for an entry; its place. */
static uint32
take(Memo *memo, uint32 size)
{
	for (;;)
	{
		if (memo->n == 0)
			memo->first = memo->next = 0;
		if (memo->n == 0 || memo->next > memo->first)
		{
			if (memo->next + size <= memo->size)
				break;
			memo->wrap = memo->next;
			memo->next = 0;
		}
		else if (memo->next + size <= memo->first)
			break;
		else
			forget_oldest(memo);
	}
	memo->next += size;
	return memo->next - size;
}

void *
memo_put(MemoKind kind, uint64 owner, uint64 hash, HostText message, size_t payload)
{
	Memo	   *memo;
	MemoEntry  *e;
	size_t		size = ENTRY_HEAD + MAXALIGN(payload) + MAXALIGN(message.len);
	uint32		at;

	if (memos[kind] == NULL)
		memos[kind] = memo_create(kind);
	memo = memos[kind];
	if (size > memo->size / LARGEST_PART)
		return NULL;
	at = take(memo, (uint32) size);
	e = ENTRY(memo, at);
	e->hash = hash;
	e->owner = owner;
	e->size = (uint32) size;
	e->payload = (uint32) MAXALIGN(payload);
	e->len = (uint32) message.len;
	e->chain = memo->buckets[hash % MEMO_BUCKETS];
	memo->buckets[hash % MEMO_BUCKETS] = at;
	memo->n++;
	memcpy((char *) e + ENTRY_HEAD + e->payload, message.s, message.len);
	return (char *) e + ENTRY_HEAD;
}
