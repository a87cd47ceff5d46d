/*
 * work.h
 *	  The engine's scratch: a few buffers that grow to the largest pass and stay.
 *
 * Private to src/engine.  A buffer is taken anew by every function that needs it and is
 * valid until the same slot is taken again; no function keeps one across a call that
 * takes the same slot.  Bounded: gpt2_forward() never takes more than one pass of
 * max(PASS_TOKENS, n_positions) rows.
 */
#ifndef ENGINE_WORK_H
#define ENGINE_WORK_H

#include <float.h>

#include "fsi_engine.h"

typedef enum WorkSlot
{
	WORK_X,						/* the residual stream of a pass */
	WORK_QKV,					/* q | k | v of a pass's rows */
	WORK_ATT,					/* attention's output of a pass's rows */
	WORK_LAST,					/* last rows and their queries */
	WORK_INNER,					/* one block of rows of the MLP's inner layer */
	WORK_NORM,					/* f32: one block of normalised rows */
	WORK_QUANT,					/* int8: one block of quantised rows */
	WORK_CODE,					/* int8: how they read */
	WORK_GEMM,					/* int8: gemm_i8()'s scratch */
	WORK_SCORES,				/* attend()'s scratch */
	WORK_KEYS,					/* transposed keys of one head of some sequences */
	WORK_VALUES,				/* values of one head of a sequence */
	WORK_ROWS,					/* where a sequence's rows of q | k | v are */
	WORK_RUNS,					/* KernKeys of one head of some sequences */
	WORK_SEGMENTS,				/* segment_encode(): ln_f(h) of a batch */
	WORK_SLOTS
} WorkSlot;

struct Gpt2Work
{
	const FsiHost *host;
	const KernOps *ops;
	struct
	{
		void	   *block;		/* as the host gave it */
		void	   *data;		/* 64-aligned */
		size_t		bytes;		/* from data on */
	}			slot[WORK_SLOTS];
};

/* 64-aligned room for n * size bytes; old contents are lost when it grows. */
extern FsiStatus work_take(Gpt2Work *work, WorkSlot slot, size_t n, size_t size, void *out, FsiError *err);

/* Hostile weights may overflow: no logit is infinite or not a number after this. */
static inline float
bounded_logit(float logit)
{
	return logit > FLT_MAX ? FLT_MAX : logit < -FLT_MAX || logit != logit ? -FLT_MAX : logit;
}

#endif
