/*
 * train_loss.c
 *	  Cross-entropy over the vocabulary, and its gradient.
 *
 * Only rows that have a target with a weight see the head, in chunks whose logits fit into
 * LOSS_FLOATS: the (T, V) logits never exist at once.  With the response's loss alone, the
 * prompt's rows cost nothing here.
 */
#include <string.h>

#include "train.h"

#define SOFTMAX_ROWS 4			/* of a task: 4 rows of 21,128 are about 0.1 ms */

typedef struct Chunk
{
	const TrainCtx *c;
	int			V,
				n;				/* rows */
	TrainTarget *targets;		/* [n] */
	float	   *hidden,			/* (n, E) */
			   *logits,			/* (n, V) */
			   *d_hidden,		/* (n, E) */
			   *loss;			/* (n) */
	double		factor;
	bool		back;
} Chunk;

static int
chunk_rows(int V)
{
	size_t		rows = LOSS_FLOATS / (size_t) V;

	return rows < 16 ? 16 : rows > 512 ? 512 : (int) rows;
}

size_t
train_loss_scratch(const Gpt2Config *cfg)
{
	return (size_t) chunk_rows(cfg->n_vocab) * ((size_t) cfg->n_vocab + 2 * (size_t) cfg->n_embd + 1);
}

static bool
is_first_choice(int V, const float *logits, int token)
{
	for (int i = 0; i < V; i++)
		if (!(logits[i] < logits[token] || (logits[i] == logits[token] && i >= token)))
			return false;		/* NaN is nobody's choice */
	return true;
}

/* Forward: loss = log sum e^logits - logits[target].  Backward: logits = factor weight (softmax - onehot). */
static void
softmax_rows(void *arg, int part, int worker)
{
	const Chunk *k = arg;
	int			to = (part + 1) * SOFTMAX_ROWS < k->n ? (part + 1) * SOFTMAX_ROWS : k->n;

	(void) worker;
	for (int i = part * SOFTMAX_ROWS; i < to; i++)
	{
		TrainTarget *t = &k->targets[i];
		float	   *row = k->logits + (size_t) i * (size_t) k->V;
		float		own = row[t->token],
					d = (float) (k->factor * (double) t->weight);

		if (!k->back)
			t->right = is_first_choice(k->V, row, t->token);
		k->loss[i] = k->c->ops->softmax(k->V, row) - own;
		if (k->back)
		{
			k->c->ops->grad->scale(k->V, d, row);
			row[t->token] -= d;
		}
	}
}

static FsiStatus
run_chunk(TrainCtx *c, Chunk *k, const KernMatrix *head, const float *hidden, float *d_hidden, float *g_head,
		  TrainLossSum *sum)
{
	size_t		E = (size_t) head->k;

	for (int i = 0; i < k->n; i++)
		memcpy(k->hidden + i * E, hidden + (size_t) k->targets[i].row * E, E * sizeof(float));
	FSI_TRY(train_linear(c, k->n, k->hidden, head, NULL, false, k->logits));
	FSI_TRY(train_run(c->pool, (k->n + SOFTMAX_ROWS - 1) / SOFTMAX_ROWS, softmax_rows, k, c->err));
	for (int i = 0; i < k->n; i++)
	{
		sum->loss += (double) k->targets[i].weight * (double) k->loss[i];
		sum->weight += (double) k->targets[i].weight;
		sum->judged++;
		sum->right += !k->back && k->targets[i].right;
	}
	if (!k->back)
		return FSI_OK;
	FSI_TRY(train_linear_back(c, k->n, k->hidden, head, k->logits, k->d_hidden, g_head, NULL));
	for (int i = 0; i < k->n; i++)
		memcpy(d_hidden + (size_t) k->targets[i].row * E, k->d_hidden + i * E, E * sizeof(float));
	return FSI_OK;
}

static FsiStatus
run_chunks(TrainCtx *c, const KernMatrix *head, int n, TrainTarget *targets, double factor, const float *hidden,
		   float *scratch, float *d_hidden, float *g_head, TrainLossSum *sum)
{
	int			most = chunk_rows(head->n);
	size_t		E = (size_t) head->k;

	for (int at = 0; at < n; at += most)
	{
		Chunk		k = {.c = c, .V = head->n, .n = n - at < most ? n - at : most, .targets = targets + at,
			.factor = factor, .back = d_hidden != NULL};

		k.logits = scratch;
		k.hidden = k.logits + (size_t) most * (size_t) head->n;
		k.d_hidden = k.hidden + (size_t) most * E;
		k.loss = k.d_hidden + (size_t) most * E;
		FSI_TRY(run_chunk(c, &k, head, hidden, d_hidden, g_head, sum));
	}
	return FSI_OK;
}

FsiStatus
train_loss(TrainCtx *c, const KernMatrix *head, int n, TrainTarget *targets, const float *hidden, float *scratch,
		   TrainLossSum *sum)
{
	return run_chunks(c, head, n, targets, 0, hidden, scratch, NULL, NULL, sum);
}

FsiStatus
train_loss_back(TrainCtx *c, const KernMatrix *head, int T, int n, TrainTarget *targets, double factor,
				const float *hidden, float *scratch, float *d_hidden, float *g_head, TrainLossSum *sum)
{
	memset(d_hidden, 0, (size_t) T * (size_t) head->k * sizeof(float));
	return run_chunks(c, head, n, targets, factor, hidden, scratch, d_hidden, g_head, sum);
}
