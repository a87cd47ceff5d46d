/*
 * linear.h
 *	  y = act(norm(x) W + b), whatever W is made of.  Private to src/engine.
 */
#ifndef ENGINE_LINEAR_H
#define ENGINE_LINEAR_H

#include "work.h"

/* A layer norm before the matrix. */
typedef struct LinearNorm
{
	const float *gain,
			   *bias;
	float		eps;
} LinearNorm;

typedef struct LinearOut
{
	KernAct		act;
	bool		residual;		/* y += (act must be NONE) */
} LinearOut;

/*
 * x (m, w->k), row i at x + i * ldx -> y (m, w->n), row i at y + i * ldy.  norm, bias may be
 * NULL.  Rows are independent: int8 rows give equal bits whatever stands beside them.
 * Takes WORK_QUANT, WORK_CODE and WORK_GEMM (int8) or WORK_NORM (f32) for m rows: callers go in
 * blocks of LINEAR_ROWS.
 */
extern FsiStatus linear(Gpt2Work *work, int m, const float *x, int ldx, const LinearNorm *norm,
						const KernMatrix *w, const float *bias, LinearOut out,
						float *y, int ldy, FsiError *err);

/* Columns [first, first + n) of an int8 matrix whose n_columns divide into whole panels; false if they do not. */
extern bool linear_columns(const KernMatrix *w, int first, int n, KernMatrix *part);

#define LINEAR_ROWS 128

#endif
