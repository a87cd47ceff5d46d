/*
 * kv.c
 *	  Keys and values of runs of tokens.  Keys lie transposed, so that attention multiplies
 *	  one query element with 16 keys at a time.
 */
#include <string.h>

#include "kv.h"

static size_t
kv_floats(const Gpt2Config *cfg, int cap)
{
	return (size_t) cfg->n_layer * (size_t) cfg->n_embd * (size_t) cap;
}

size_t
kv_bytes(const Gpt2Config *cfg, int cap)
{
	return 2 * sizeof(float) * kv_floats(cfg, cap);
}

FsiStatus
kv_alloc(const Gpt2Config *cfg, int cap, FsiArena *arena, KvRun *kv, FsiError *err)
{
	size_t		floats;

	if (cap < 0 || cap > cfg->n_positions)
		return fsi_fail(err, FSI_LIMIT, "%d tokens do not fit into the model's %d positions", cap, cfg->n_positions);
	floats = kv_floats(cfg, cap);
	kv->count = 0;
	kv->cap = cap;
	kv->kt = fsi_arena_array(arena, 2 * floats, sizeof(float));
	if (kv->kt == NULL)
		return fsi_nomem(err, kv_bytes(cfg, cap));
	kv->v = kv->kt + floats;
	return FSI_OK;
}

KernKeys
kv_head(const Gpt2Config *cfg, const KvRun *run, int layer, int head, int count)
{
	int			head_dim = cfg->n_embd / cfg->n_head;
	size_t		at = ((size_t) layer * cfg->n_head + head) * head_dim * run->cap;

	return (KernKeys) {.kt = run->kt + at, .v = run->v + at, .ld = run->cap, .ldv = head_dim, .count = count};
}

void
kv_store(const Gpt2Config *cfg, KvRun *run, int layer, int head, int at,
		 int m, const float *k, const float *v, int ld)
{
	int			head_dim = cfg->n_embd / cfg->n_head;
	size_t		first = ((size_t) layer * cfg->n_head + head) * head_dim * run->cap;
	float	   *rows = run->v + first + (size_t) at * head_dim;

	kv_transpose(m, head_dim, k, ld, run->kt + first + at, run->cap);
	for (int j = 0; j < m; j++)
		memcpy(rows + (size_t) j * head_dim, v + (size_t) j * ld, head_dim * sizeof(float));
}

void
kv_transpose(int m, int head_dim, const float *k, int ld, float *kt, int cap)
{
	for (int j = 0; j < m; j++)
		for (int d = 0; d < head_dim; d++)
			kt[(size_t) d * cap + j] = k[(size_t) j * ld + d];
}
