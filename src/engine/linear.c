/*
 * linear.c
 *	  One matrix product with what stands before and after it, for int8 and f32 weights.
 */
#include "linear.h"

/* int8: quantise the rows (of the layer norm), then one exact GEMM with bias, activation and residual inside. */
static FsiStatus
linear_i8(Gpt2Work *work, int m, const float *x, int ldx, const LinearNorm *norm,
		  const KernMatrix *w, const float *bias, LinearOut out, float *y, int ldy, FsiError *err)
{
	const KernOps *ops = work->ops;
	int			ldq = KERN_ROUND_UP(w->k, 64);
	uint8_t    *q;				/* (m, ldq) */
	KernCode   *code;			/* (m) */
	void	   *scratch;

	FSI_TRY(work_take(work, WORK_GEMM, KERN_GEMM_SCRATCH, 1, &scratch, err));
	FSI_TRY(work_take(work, WORK_QUANT, (size_t) m * ldq, 1, &q, err));
	FSI_TRY(work_take(work, WORK_CODE, m, sizeof(KernCode), &code, err));
	if (norm != NULL)
		ops->layer_norm_quantize(m, w->k, x, ldx, norm->gain, norm->bias, norm->eps, q, ldq, code);
	else
		ops->quantize(m, w->k, x, ldx, q, ldq, code);
	ops->gemm_i8(m, q, ldq, code, w, bias, out.act, out.residual, y, ldy, scratch);
	return FSI_OK;
}

/* f32: normalise, multiply with OpenBLAS, activate. */
static FsiStatus
linear_f32(Gpt2Work *work, int m, const float *x, int ldx, const LinearNorm *norm,
		   const KernMatrix *w, const float *bias, LinearOut out, float *y, int ldy, FsiError *err)
{
	const KernOps *ops = work->ops;

	if (norm != NULL)
	{
		float	   *normed;		/* (m, k) */

		FSI_TRY(work_take(work, WORK_NORM, (size_t) m * w->k, sizeof(float), &normed, err));
		ops->layer_norm(m, w->k, x, ldx, norm->gain, norm->bias, norm->eps, normed, w->k);
		x = normed;
		ldx = w->k;
	}
	kern_gemm_f32(m, x, ldx, w, bias, y, ldy, out.residual);
	if (out.act != KERN_ACT_NONE)
		for (int i = 0; i < m; i++)
			ops->activate(w->n, y + (size_t) i * ldy, out.act);
	return FSI_OK;
}

FsiStatus
linear(Gpt2Work *work, int m, const float *x, int ldx, const LinearNorm *norm,
	   const KernMatrix *w, const float *bias, LinearOut out, float *y, int ldy, FsiError *err)
{
	if (w->type == KERN_I8)
		return linear_i8(work, m, x, ldx, norm, w, bias, out, y, ldy, err);
	return linear_f32(work, m, x, ldx, norm, w, bias, out, y, ldy, err);
}

bool
linear_columns(const KernMatrix *w, int first, int n, KernMatrix *part)
{
	if (w->type != KERN_I8 || first % KERN_PANEL != 0 || n % KERN_PANEL != 0)
		return false;
	*part = *w;
	part->n = n;
	part->panels += (size_t) first * KERN_ROUND_UP(w->k, KERN_QUAD);
	part->scale += first;
	part->comp += first;
	return true;
}
