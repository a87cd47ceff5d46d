/*
 * train_attend.c
 *	  Causal attention: forward, and the backward pass that computes the probabilities again.
 *
 * A task is one head of one sequence, in blocks of ATTEND_BLOCK queries (m) against the
 * keys up to the block's last (n).  Forward keeps log_sum, the softmax's denominator, in
 * place of the probabilities: memory grows with T, not T^2 (Dao et al. 2022).
 *
 *	S = scale q k^T, P = softmax(S), O = drop(P) v
 *	dV = drop(P)^T dO, dP = drop(dO v^T), dS = P (dP - dO.O) scale, dQ = dS k, dK = dS^T q
 */
#include <string.h>

#include "train.h"

typedef struct Attend
{
	const TrainCtx *c;
	const TrainBatch *b;
	int			E,
				H,
				D,
				layer;
	float		scale,
				rate;
	const float *qkv;			/* (T, 3E): q | k | v */
	float	   *att;			/* (T, E) */
	float	   *log_sum;		/* (T, H) */
	const float *d_att;			/* (T, E) */
	float	   *d_qkv;			/* (T, 3E) */
} Attend;

/* One block of queries of one head. */
typedef struct Block
{
	int			first,			/* of the sequence's rows in the batch */
				at,				/* first query, counted in the sequence */
				m,				/* queries */
				n,				/* keys: at + m */
				head;
	const float *q,				/* (m, D), rows 3E apart */
			   *k,				/* (n, D), rows 3E apart */
			   *v;
	float	   *p,				/* (m, n) scratch */
			   *dropped,		/* (m, n) scratch */
			   *dp;				/* (m, n) scratch */
} Block;

static Block
block_of(const Attend *a, int first, int length, int at, int head, int worker)
{
	int			m = length - at < ATTEND_BLOCK ? length - at : ATTEND_BLOCK;
	const float *row = a->qkv + (size_t) first * 3 * (size_t) a->E + (size_t) head * (size_t) a->D;
	float	   *scratch = a->c->scores + a->c->scores_size * (size_t) worker;
	size_t		size = a->c->scores_size / 3;

	return (Block) {.first = first, .at = at, .m = m, .n = at + m, .head = head,
		.q = row + (size_t) at * 3 * (size_t) a->E, .k = row + a->E, .v = row + 2 * a->E,
		.p = scratch, .dropped = scratch + size, .dp = scratch + 2 * size};
}

/* p (m, n) = scale q k^T */
static void
block_scores(const Attend *a, const Block *b)
{
	kern_sgemm(false, true, b->m, b->n, a->D, a->scale, b->q, 3 * a->E, b->k, 3 * a->E, 0, b->p, b->n);
}

/* Drop elements of row i, which sees n keys. */
static void
block_drop(const Attend *a, const Block *b, int i, int n, float *row)
{
	uint64_t	key = train_mix(a->c->dropout_key, (uint64_t) train_site(a->layer, DROP_ATTN));

	key = train_mix(key, (a->c->first_row + (uint64_t) (b->first + b->at + i)) * (uint64_t) a->H + (uint64_t) b->head);
	a->c->ops->grad->dropout(n, key, a->rate, row);
}

/* Keys that a query does not see: 0. */
static void
hide(const Block *b, int seen, float *row)
{
	memset(row + seen, 0, (size_t) (b->n - seen) * sizeof(float));
}

/* ---------------------------------------------------------------- forward */

static void
block_forward(const Attend *a, const Block *b)
{
	block_scores(a, b);
	for (int i = 0; i < b->m; i++)
	{
		float	   *row = b->p + (size_t) i * (size_t) b->n;
		int			seen = b->at + i + 1;

		a->log_sum[(size_t) (b->first + b->at + i) * (size_t) a->H + (size_t) b->head] = a->c->ops->softmax(seen, row);
		if (a->rate > 0)
			block_drop(a, b, i, seen, row);
		hide(b, seen, row);
	}
	kern_sgemm(false, false, b->m, a->D, b->n, 1, b->p, b->n, b->v, 3 * a->E, 0,
			   a->att + (size_t) (b->first + b->at) * (size_t) a->E + (size_t) b->head * (size_t) a->D, a->E);
}

static void
attend_head(void *arg, int task, int worker)
{
	const Attend *a = arg;
	int			s = task / a->H,
				first = a->b->first[s],
				length = a->b->first[s + 1] - first;

	for (int at = 0; at < length; at += ATTEND_BLOCK)
	{
		Block		b = block_of(a, first, length, at, task % a->H, worker);

		block_forward(a, &b);
	}
}

FsiStatus
train_attend(TrainCtx *c, const TrainBatch *b, int E, int H, float scale, int layer, double rate,
			 const float *qkv, float *att, float *log_sum)
{
	Attend		a = {.c = c, .b = b, .E = E, .H = H, .D = E / H, .layer = layer, .scale = scale, .rate = (float) rate,
		.qkv = qkv, .att = att, .log_sum = log_sum};

	return train_run(c->pool, b->n_seq * H, attend_head, &a, c->err);
}

/* ---------------------------------------------------------------- backward */

/* From p = scores and dp = dO v^T to p = P, dropped = drop(P), dp = dS. */
static void
block_score_grads(const Attend *a, const Block *b, const float *dO)
{
	const KernOps *ops = a->c->ops;

	for (int i = 0; i < b->m; i++)
	{
		size_t		row = (size_t) (b->first + b->at + i),
					at = (size_t) i * (size_t) b->n;
		int			seen = b->at + i + 1;
		const float *O = a->att + row * (size_t) a->E + (size_t) b->head * (size_t) a->D;
		float		delta = ops->dot(a->D, dO + (size_t) i * (size_t) a->E, O);

		ops->grad->attend_prob(seen, b->p + at, a->log_sum[row * (size_t) a->H + (size_t) b->head]);
		hide(b, seen, b->p + at);
		if (a->rate > 0)
		{
			memcpy(b->dropped + at, b->p + at, (size_t) b->n * sizeof(float));
			block_drop(a, b, i, seen, b->dropped + at);
			block_drop(a, b, i, seen, b->dp + at);
		}
		ops->grad->attend_grad(seen, b->p + at, b->dp + at, delta, a->scale);
		hide(b, seen, b->dp + at);
	}
}

/* beta 0 for the block that sees all keys, which comes first; then 1 */
static void
block_backward(const Attend *a, const Block *b, float beta)
{
	int			E = a->E,
				D = a->D;
	size_t		row = (size_t) (b->first + b->at);
	const float *dO = a->d_att + row * (size_t) E + (size_t) b->head * (size_t) D;	/* (m, D), rows E apart */
	float	   *dk = a->d_qkv + (size_t) b->first * 3 * (size_t) E + E + (size_t) b->head * (size_t) D,	/* (n, D) */
			   *dv = dk + E,	/* (n, D), rows 3E apart */
			   *dq = a->d_qkv + row * 3 * (size_t) E + (size_t) b->head * (size_t) D;	/* (m, D) */

	block_scores(a, b);
	kern_sgemm(false, true, b->m, b->n, D, 1, dO, E, b->v, 3 * E, 0, b->dp, b->n);
	block_score_grads(a, b, dO);
	kern_sgemm(false, false, b->m, D, b->n, 1, b->dp, b->n, b->k, 3 * E, 0, dq, 3 * E);
	kern_sgemm(true, false, b->n, D, b->m, 1, b->dp, b->n, b->q, 3 * E, beta, dk, 3 * E);
	kern_sgemm(true, false, b->n, D, b->m, 1, a->rate > 0 ? b->dropped : b->p, b->n, dO, E, beta, dv, 3 * E);
}

static void
attend_head_back(void *arg, int task, int worker)
{
	const Attend *a = arg;
	int			s = task / a->H,
				first = a->b->first[s],
				length = a->b->first[s + 1] - first,
				last = (length - 1) / ATTEND_BLOCK * ATTEND_BLOCK;

	for (int at = last; at >= 0; at -= ATTEND_BLOCK)
	{
		Block		b = block_of(a, first, length, at, task % a->H, worker);

		block_backward(a, &b, at == last ? 0.0f : 1.0f);
	}
}

FsiStatus
train_attend_back(TrainCtx *c, const TrainBatch *b, int E, int H, float scale, int layer, double rate,
				  const float *qkv, const float *att, const float *log_sum, const float *d_att, float *d_qkv)
{
	Attend		a = {.c = c, .b = b, .E = E, .H = H, .D = E / H, .layer = layer, .scale = scale, .rate = (float) rate,
		.qkv = qkv, .att = train_mut(att), .log_sum = train_mut(log_sum), .d_att = d_att, .d_qkv = d_qkv};

	return train_run(c->pool, b->n_seq * H, attend_head_back, &a, c->err);
}
