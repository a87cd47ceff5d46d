/*
 * gpt2_logits.c
 *	  From ln_f(h) to logits: of the whole vocabulary, or of a few tokens (same bits with int8 weights).
 */
#include "linear.h"

/* 32 rows x 21,128 tokens x 768 are about 3 ms on one core. */
#define LOGITS_ROWS 32

FsiStatus
gpt2_logits(const Gpt2Model *model, Gpt2Work *work, int m, const float *hidden, float *logits, FsiError *err)
{
	int			E = model->cfg.n_embd,
				V = model->cfg.n_vocab;
	LinearOut	plain = {KERN_ACT_NONE, false};

	if (model->head.type == KERN_F32)
		FSI_TRY(kern_blas_load(err));
	for (int r = 0; r < m; r += LOGITS_ROWS)
	{
		if (fsi_should_stop(work->host))
			return fsi_cancelled(err);
		FSI_TRY(linear(work, m - r < LOGITS_ROWS ? m - r : LOGITS_ROWS, hidden + (size_t) r * E, E, NULL,
					   &model->head, NULL, plain, logits + (size_t) r * V, V, err));
	}
	return FSI_OK;
}

FsiStatus
gpt2_logits_of(const Gpt2Model *model, Gpt2Work *work, const float *hidden,
			   int n, const int32_t *tokens, float *logits, FsiError *err)
{
	const KernMatrix *head = &model->head;
	int			E = model->cfg.n_embd,
				ldq = KERN_ROUND_UP(E, 64);

	for (int i = 0; i < n; i++)
		if (tokens[i] < 0 || tokens[i] >= model->cfg.n_vocab)
			return fsi_fail(err, FSI_INVALID, "token %d is outside the vocabulary of %d", tokens[i], model->cfg.n_vocab);
	if (head->type == KERN_I8)
	{
		uint8_t    *q;
		KernCode	code;

		FSI_TRY(work_take(work, WORK_QUANT, ldq, 1, &q, err));
		work->ops->quantize(1, E, hidden, E, q, ldq, &code);
		work->ops->gemv_i8_cols(q, &code, head, n, tokens, logits);
	}
	else
	{
		float	   *column;		/* (E) */

		FSI_TRY(work_take(work, WORK_NORM, E, sizeof(float), &column, err));
		for (int i = 0; i < n; i++)
		{
			kern_matrix_column(head, tokens[i], column);
			logits[i] = work->ops->dot(E, hidden, column);
		}
	}
	return FSI_OK;
}
