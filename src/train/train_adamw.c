/*
 * train_adamw.c
 *	  AdamW (Loshchilov and Hutter 2019), in torch's form, and the norm of all gradients.
 */
#include <math.h>

#include "train.h"

#define CHUNK ((size_t) 1 << 16)	/* floats of a task: its seven streams are 1.75 MB, about 0.2 ms */

/* The blocks of gradients and moments have no gaps between tensors, so chunks need not care where those begin. */
typedef struct Norm
{
	const KernOps *ops;
	const TrainParams *params;
	double	   *sums;			/* of each chunk */
} Norm;

static void
square_chunk(void *arg, int task, int worker)
{
	const Norm *n = arg;
	size_t		at = (size_t) task * CHUNK,
				to = n->params->n_state - at < CHUNK ? n->params->n_state : at + CHUNK;
	double		sum = 0;

	(void) worker;
	for (; at < to; at += 1024)
	{
		int			len = to - at < 1024 ? (int) (to - at) : 1024;

		sum += (double) n->ops->dot(len, n->params->grads + at, n->params->grads + at);
	}
	n->sums[task] = sum;
}

FsiStatus
train_grad_norm(TrainPool *pool, const KernOps *ops, const TrainParams *params, FsiArena *arena, double *norm,
				FsiError *err)
{
	int			n_task = (int) ((params->n_state + CHUNK - 1) / CHUNK);
	Norm		n = {ops, params, fsi_arena_array(arena, (size_t) n_task, sizeof(double))};
	double		sum = 0;

	if (n.sums == NULL)
		return fsi_nomem(err, (size_t) n_task * sizeof(double));
	FSI_TRY(train_run(pool, n_task, square_chunk, &n, err));
	for (int i = 0; i < n_task; i++)
		sum += n.sums[i];
	*norm = sqrt(sum);
	return FSI_OK;
}

typedef struct Update
{
	const KernOps *ops;
	TrainParams *params;
	const TrainTensor *tensor;
	KernAdamW	adamw;
} Update;

static void
update_chunk(void *arg, int task, int worker)
{
	const Update *u = arg;
	const TrainParams *p = u->params;
	size_t		at = (size_t) task * CHUNK,
				n = u->tensor->size - at < CHUNK ? u->tensor->size - at : CHUNK,
				state = u->tensor->state + at;

	(void) worker;
	u->ops->grad->adamw(n, p->weights + u->tensor->at + at, p->grads + state, p->m + state, p->v + state, &u->adamw);
}

void
train_adamw(TrainPool *pool, const KernOps *ops, const TrainOptions *o, TrainParams *params, int64_t t,
			double learning_rate, double grad_scale)
{
	Update		u = {.ops = ops, .params = params, .adamw = {
		.grad_scale = (float) grad_scale,
		.beta1 = (float) o->adam_beta1,
		.rest1 = (float) (1 - o->adam_beta1),
		.beta2 = (float) o->adam_beta2,
		.rest2 = (float) (1 - o->adam_beta2),
		.root_scale = (float) (1 / sqrt(1 - pow(o->adam_beta2, (double) t))),
		.epsilon = (float) o->adam_epsilon,
		.step = (float) (learning_rate / (1 - pow(o->adam_beta1, (double) t))),
	}};

	for (int i = 0; i < params->n_tensor; i++)
	{
		const TrainTensor *tensor = &params->tensors[i];

		if (!tensor->trained)
			continue;
		u.tensor = tensor;
		u.adamw.decay = tensor->decay ? (float) (1 - learning_rate * o->weight_decay) : 1.0f;
		train_run_through(pool, (int) ((tensor->size + CHUNK - 1) / CHUNK), update_chunk, &u);
	}
}
