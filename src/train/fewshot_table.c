/*
 * fewshot_table.c
 *	  A hash table from bytes to numbers from 0, in the order in which they came.
 */
#include <string.h>

#include "fewshot.h"

#define FIRST_SLOTS 16

void
fewshot_table_init(FewshotTable *t, FsiArena *arena)
{
	memset(t, 0, sizeof(*t));
	t->arena = arena;
}

static bool
same(FewshotText a, FewshotText b)
{
	return a.len == b.len && (a.s == NULL) == (b.s == NULL) && (a.len == 0 || memcmp(a.s, b.s, a.len) == 0);
}

/* The slot that holds key, or the free one where it belongs. */
static uint32_t
slot_of(const FewshotTable *t, FewshotText key)
{
	uint32_t	mask = t->n_slot - 1,
				slot = (uint32_t) fsi_hash64(key.len > 0 ? key.s : "", key.len, 0) & mask;

	while (t->slots[slot] != 0 && !same(t->keys[t->slots[slot] - 1], key))
		slot = (slot + 1) & mask;
	return slot;
}

static FsiStatus
rehash(FewshotTable *t, FsiError *err)
{
	t->n_slot = t->n_slot == 0 ? FIRST_SLOTS : t->n_slot * 2;
	t->slots = fsi_arena_zero(t->arena, t->n_slot, sizeof(uint32_t));
	if (t->slots == NULL)
		return fsi_nomem(err, t->n_slot * sizeof(uint32_t));
	for (int i = 0; i < t->n; i++)
		t->slots[slot_of(t, t->keys[i])] = (uint32_t) i + 1;
	return FSI_OK;
}

FsiStatus
fewshot_grow(FsiArena *arena, void **array, int n, size_t size, FsiError *err)
{
	void	   *larger;

	/* capacities are powers of two from 1 */
	if (n > 0 && (n & (n - 1)) != 0)
		return FSI_OK;
	larger = fsi_arena_array(arena, n == 0 ? 1 : 2 * (size_t) n, size);
	if (larger == NULL)
		return fsi_nomem(err, 2 * (size_t) n * size);
	if (n > 0)
		memcpy(larger, *array, (size_t) n * size);
	*array = larger;
	return FSI_OK;
}

FsiStatus
fewshot_table_add(FewshotTable *t, FewshotText key, int *number, bool *added, FsiError *err)
{
	uint32_t	slot;
	char	   *copy = NULL;

	if ((uint32_t) t->n * 2 >= t->n_slot)
		FSI_TRY(rehash(t, err));
	slot = slot_of(t, key);
	*added = t->slots[slot] == 0;
	if (!*added)
	{
		*number = (int) t->slots[slot] - 1;
		return FSI_OK;
	}
	if (t->n >= INT32_MAX / 4)
		return fsi_fail(err, FSI_LIMIT, "too many different intents, sources or splits");
	FSI_TRY(fewshot_grow(t->arena, (void **) &t->keys, t->n, sizeof(FewshotText), err));
	if (key.s != NULL && (copy = fsi_arena_strndup(t->arena, key.s, key.len)) == NULL)
		return fsi_nomem(err, key.len);
	t->keys[t->n] = (FewshotText) {copy, key.len};
	t->slots[slot] = (uint32_t) t->n + 1;
	*number = t->n++;
	return FSI_OK;
}

int
fewshot_table_find(const FewshotTable *t, FewshotText key)
{
	return t->n_slot == 0 ? -1 : (int) t->slots[slot_of(t, key)] - 1;
}
