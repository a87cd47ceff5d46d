/*
 * kv.h
 *	  Addresses inside a run of keys and values.  Private to src/engine.
 */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include "fsi_engine.h"

/* Keys and values of one head of one layer, the first count tokens. */
extern KernKeys kv_head(const Gpt2Config *cfg, const KvRun *run, int layer, int head, int count);
/* Store one head's keys and values of m new tokens after the first at ones; k and v rows lie ld floats apart. */
extern void kv_store(const Gpt2Config *cfg, KvRun *run, int layer, int head, int at,
					 int m, const float *k, const float *v, int ld);
/* kt[d * cap + j] = k[j * ld + d] */
extern void kv_transpose(int m, int head_dim, const float *k, int ld, float *kt, int cap);

#endif
