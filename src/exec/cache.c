/*
 * cache.c
 *	  What a backend keeps between calls: encoded texts and prepared sets, bounded, least recently used out first.
 *
 * A set points at the texts it is made of and counts as one reference of each: a text goes
 * only after the sets that use it.  What the current call has used (its epoch) never goes,
 * so nothing needs to be released when a call ends in an error, and the set in use stays
 * even where it alone is larger than the bound.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "exec.h"
#include "settings.h"

#define CACHE_BUCKETS_MIN 1024
#define CACHE_BLOCK_BYTES 8192

static MemoryContext context;
static CacheEntry **buckets;
static size_t n_buckets;
static size_t n_entries;
static size_t bytes_kept;
static dlist_head lru;			/* most recently used first */
static uint64 epoch;
static uint64 evictions;

MemoryContext
cache_context(void)
{
	if (context == NULL)
	{
		/* Small blocks, so that most entries have one of their own, which goes back when they go. */
		MemoryContext made = AllocSetContextCreate(TopMemoryContext, "fsi_intent cache", 0, CACHE_BLOCK_BYTES,
												   CACHE_BLOCK_BYTES);

		buckets = MemoryContextAllocExtended(made, CACHE_BUCKETS_MIN * sizeof(CacheEntry *),
											 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
		if (buckets == NULL)
		{
			MemoryContextDelete(made);
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		}
		n_buckets = CACHE_BUCKETS_MIN;
		dlist_init(&lru);
		context = made;
	}
	return context;
}

void
cache_new_epoch(void)
{
	epoch++;
}

uint64
cache_evictions(void)
{
	return evictions;
}

static uint64
hash_parts(CacheKind kind, const CachePart parts[CACHE_PARTS])
{
	uint64		hash = kind;

	for (int i = 0; i < CACHE_PARTS; i++)
		hash = fsi_hash64(parts[i].data, parts[i].len, hash);
	return hash;
}

bool
cache_matches(const CacheEntry *entry, const CachePart parts[CACHE_PARTS])
{
	const char *key = entry->key;

	for (int i = 0; i < CACHE_PARTS; i++)
	{
		if (entry->part_len[i] != parts[i].len || memcmp(key, parts[i].data, parts[i].len) != 0)
			return false;
		key += parts[i].len;
	}
	return true;
}

CacheEntry *
cache_find(CacheKind kind, const CachePart parts[CACHE_PARTS])
{
	uint64		hash;

	if (n_buckets == 0)
		return NULL;
	hash = hash_parts(kind, parts);
	for (CacheEntry *e = buckets[hash & (n_buckets - 1)]; e != NULL; e = e->chain)
	{
		if (e->hash == hash && e->kind == kind && cache_matches(e, parts))
		{
			cache_touch(e);
			return e;
		}
	}
	return NULL;
}

void
cache_touch(CacheEntry *entry)
{
	entry->epoch = epoch;
	dlist_move_head(&lru, &entry->lru);
}

/* Short of memory, chains grow instead. */
static void
grow_buckets(void)
{
	size_t		n = 2 * n_buckets;
	CacheEntry **grown = MemoryContextAllocExtended(context, n * sizeof(CacheEntry *),
													MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);

	if (grown == NULL)
		return;
	for (size_t i = 0; i < n_buckets; i++)
	{
		CacheEntry *next;

		for (CacheEntry *e = buckets[i]; e != NULL; e = next)
		{
			next = e->chain;
			e->chain = grown[e->hash & (n - 1)];
			grown[e->hash & (n - 1)] = e;
		}
	}
	pfree(buckets);
	buckets = grown;
	n_buckets = n;
}

size_t
cache_key_bytes(const CachePart parts[CACHE_PARTS])
{
	size_t		n = 0;

	for (int i = 0; i < CACHE_PARTS; i++)
		n += parts[i].len;
	return n;
}

void
cache_keep(CacheEntry *entry, CacheKind kind, const CachePart parts[CACHE_PARTS],
		   char *key, size_t bytes, MemoryContext own_context)
{
	if (n_entries >= n_buckets)
		grow_buckets();
	entry->kind = kind;
	entry->hash = hash_parts(kind, parts);
	entry->epoch = epoch;
	entry->refs = 0;
	entry->bytes = bytes;
	entry->context = own_context;
	entry->key = key;
	for (int i = 0; i < CACHE_PARTS; i++)
	{
		entry->part_len[i] = parts[i].len;
		memcpy(key, parts[i].data, parts[i].len);
		key += parts[i].len;
	}
	entry->chain = buckets[entry->hash & (n_buckets - 1)];
	buckets[entry->hash & (n_buckets - 1)] = entry;
	dlist_push_head(&lru, &entry->lru);
	n_entries++;
	bytes_kept += bytes;
}

void
cache_forget(CacheEntry *entry)
{
	CacheEntry **link = &buckets[entry->hash & (n_buckets - 1)];

	while (*link != entry)
		link = &(*link)->chain;
	*link = entry->chain;
	dlist_delete(&entry->lru);
	n_entries--;
	bytes_kept -= entry->bytes;
	evictions++;
	if (entry->kind == CACHE_SET)
	{
		ExecSet    *set = (ExecSet *) entry;

		for (int i = 0; i < set->n_segments; i++)
			set->segments[i]->head.refs--;
		MemoryContextDelete(entry->context);
	}
	else
		pfree(entry);
}

static bool
is_of(const CacheEntry *entry, const StoreModel *model)
{
	if (entry->kind == CACHE_SET)
		return ((const ExecSet *) entry)->model == model;
	return memcmp(entry->key, &model->serial, sizeof(model->serial)) == 0;
}

void
cache_forget_model(const StoreModel *model)
{
	dlist_mutable_iter iter;

	if (context == NULL)
		return;
	/* Sets first: they count as references of their texts. */
	for (CacheKind kind = CACHE_SET; kind >= CACHE_SEGMENT; kind--)
		dlist_foreach_modify(iter, &lru)
		{
			CacheEntry *e = dlist_container(CacheEntry, lru, iter.cur);

			if (e->kind == kind && is_of(e, model))
				cache_forget(e);
		}
}

/* One pass from the entry used longest ago; true if something went. */
static bool
trim_pass(size_t bound)
{
	dlist_node *node = lru.head.prev;
	bool		freed = false;

	while (bytes_kept > bound && node != &lru.head)
	{
		CacheEntry *e = dlist_container(CacheEntry, lru, node);

		node = node->prev;
		if (e->epoch == epoch || e->refs > 0)
			continue;
		cache_forget(e);
		freed = true;
	}
	return freed;
}

/* A set that goes lets go of its texts, which may lie behind: pass again until nothing more can go. */
void
cache_trim(void)
{
	size_t		bound = (size_t) fsi_cache_size_kb * 1024;

	while (bytes_kept > bound && trim_pass(bound))
		 /* go on */ ;
}
