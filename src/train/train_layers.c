/*
 * train_layers.c
 *	  Embedding, layer norm, linear, activation and dropout: forward, and its backward below it.
 *
 * Work is cut into tasks by shapes alone.  A sum over rows (a bias, a gain, a matrix's
 * gradient) is cut by columns, so that each element is summed by one task in one order.
 */
#include <string.h>

#include "train.h"

#define ROWS 32					/* of a task of row-wise steps: about 20 us at E = 768 */
#define COLUMNS 64				/* of a task of column sums: 256 bytes of each row */

/* A linear layer is cut into at most about LINEAR_TASKS parts of no less than LINEAR_SMALL, none above LINEAR_LARGE. */
#define LINEAR_TASKS 16
#define LINEAR_SMALL 1.3e8		/* floating point operations: about 2 ms on one core */
#define LINEAR_LARGE 2e9		/* about 30 ms: what a cancel may have to wait for */

static inline int
parts(int n, int size)
{
	return (n + size - 1) / size;
}

static inline int
part_size(int n, int size, int part)
{
	return n - part * size < size ? n - part * size : size;
}

/* ---------------------------------------------------------------- embedding */

typedef struct Embed
{
	const KernOps *ops;
	const TrainBatch *b;
	int			E;
	const float *wte,			/* (V, E) */
			   *wpe;			/* (n_positions, E) */
	float	   *x;				/* (T, E) */
	const float *dx;			/* (T, E) */
	float	   *g_wte,
			   *g_wpe;
} Embed;

static void
embed_seq(void *arg, int s, int worker)
{
	const Embed *e = arg;
	size_t		E = (size_t) e->E;

	(void) worker;
	for (int row = e->b->first[s]; row < e->b->first[s + 1]; row++)
	{
		memcpy(e->x + row * E, e->wte + e->b->tokens[row] * E, E * sizeof(float));
		e->ops->add(e->E, e->x + row * E, e->wpe + (row - e->b->first[s]) * E);
	}
}

/* x (T, E) = wte[token] + wpe[position] */
FsiStatus
train_embed(TrainCtx *c, const TrainBatch *b, int E, const float *wte, const float *wpe, float *x)
{
	Embed		e = {.ops = c->ops, .b = b, .E = E, .wte = wte, .wpe = wpe, .x = x};

	return train_run(c->pool, b->n_seq, embed_seq, &e, c->err);
}

static void
embed_back_columns(void *arg, int part, int worker)
{
	const Embed *e = arg;
	size_t		E = (size_t) e->E,
				from = (size_t) part * COLUMNS;
	int			n = part_size(e->E, COLUMNS, part);

	(void) worker;
	for (int s = 0; s < e->b->n_seq; s++)
		for (int row = e->b->first[s]; row < e->b->first[s + 1]; row++)
		{
			const float *d = e->dx + row * E + from;

			e->ops->add(n, e->g_wte + e->b->tokens[row] * E + from, d);
			e->ops->add(n, e->g_wpe + (row - e->b->first[s]) * E + from, d);
		}
}

/* g_wte[token] += dx, g_wpe[position] += dx */
FsiStatus
train_embed_back(TrainCtx *c, const TrainBatch *b, int E, const float *dx, float *g_wte, float *g_wpe)
{
	Embed		e = {.ops = c->ops, .b = b, .E = E, .dx = dx, .g_wte = g_wte, .g_wpe = g_wpe};

	return train_run(c->pool, parts(E, COLUMNS), embed_back_columns, &e, c->err);
}

/* ---------------------------------------------------------------- layer norm */

typedef struct Norm
{
	const KernOps *ops;
	int			T,
				E;
	const float *x,				/* (T, E) */
			   *gain,
			   *bias;			/* (E) */
	float		eps;
	float	   *y;				/* (T, E) */
	const float *dy;			/* (T, E) */
	float	   *dx,				/* (T, E) */
			   *stats,			/* (T, 2) */
			   *g_gain,
			   *g_bias;			/* (E) */
} Norm;

static void
norm_rows(void *arg, int part, int worker)
{
	const Norm *n = arg;
	size_t		at = (size_t) part * ROWS * (size_t) n->E;

	(void) worker;
	n->ops->layer_norm(part_size(n->T, ROWS, part), n->E, n->x + at, n->E, n->gain, n->bias, n->eps,
					   n->y + at, n->E);
}

/* y (T, E) = (x - mean) / sqrt(var + eps) * gain + bias */
FsiStatus
train_norm(TrainCtx *c, int T, int E, const float *x, const float *gain, const float *bias, float eps, float *y)
{
	Norm		n = {.ops = c->ops, .T = T, .E = E, .x = x, .gain = gain, .bias = bias, .eps = eps, .y = y};

	return train_run(c->pool, parts(T, ROWS), norm_rows, &n, c->err);
}

static void
norm_back_rows(void *arg, int part, int worker)
{
	const Norm *n = arg;
	size_t		row = (size_t) part * ROWS,
				at = row * (size_t) n->E;

	(void) worker;
	n->ops->grad->layer_norm_grad(part_size(n->T, ROWS, part), n->E, n->x + at, n->gain, n->eps, n->dy + at,
								  n->dx + at, n->stats + 2 * row);
}

static void
norm_back_columns(void *arg, int part, int worker)
{
	const Norm *n = arg;
	size_t		at = (size_t) part * COLUMNS;

	(void) worker;
	n->ops->grad->layer_norm_grad_gain(n->T, part_size(n->E, COLUMNS, part), n->E, n->x + at, n->stats,
									   n->dy + at, n->g_gain + at, n->g_bias + at);
}

/* dx (T, E) += the gradient of x; g_gain, g_bias (E) += */
FsiStatus
train_norm_back(TrainCtx *c, int T, int E, const float *x, const float *gain, float eps, const float *dy,
				float *dx, float *g_gain, float *g_bias)
{
	Norm		n = {.ops = c->ops, .T = T, .E = E, .x = x, .gain = gain, .eps = eps, .dy = dy, .dx = dx,
		.stats = c->stats, .g_gain = g_gain, .g_bias = g_bias};

	FSI_TRY(train_run(c->pool, parts(T, ROWS), norm_back_rows, &n, c->err));
	return train_run(c->pool, parts(E, COLUMNS), norm_back_columns, &n, c->err);
}

/* ---------------------------------------------------------------- linear */

/* One product c (m, n) = op(a) op(b) + beta c, cut into blocks of bm x bn. */
typedef struct Product
{
	bool		ta,
				tb;
	int			m,
				n,
				k;
	const float *a,
			   *b,
			   *bias;			/* (n) into c first, or NULL */
	int			lda,
				ldb;
	float		beta;
	float	   *c;
	int			bm,
				bn;
} Product;

static void
product_block(void *arg, int task, int worker)
{
	const Product *p = arg;
	int			column = task % parts(p->n, p->bn),
				row = task / parts(p->n, p->bn),
				m = part_size(p->m, p->bm, row),
				n = part_size(p->n, p->bn, column);
	size_t		i = (size_t) row * (size_t) p->bm,
				j = (size_t) column * (size_t) p->bn;
	float	   *c = p->c + i * (size_t) p->n + j;

	(void) worker;
	for (int r = 0; p->bias != NULL && r < m; r++)
	{
		float	   *to = c + (size_t) r * (size_t) p->n;

		if (p->beta != 0)
			for (int s = 0; s < n; s++)
				to[s] += p->bias[j + s];
		else
			memcpy(to, p->bias + j, (size_t) n * sizeof(float));
	}
	kern_sgemm(p->ta, p->tb, m, n, p->k, 1.0f, p->a + (p->ta ? i : i * (size_t) p->lda), p->lda,
			   p->b + (p->tb ? j * (size_t) p->ldb : j), p->ldb, p->bias != NULL ? 1.0f : p->beta, c, p->n);
}

/* Halve the longer side while there are few parts and they are large, or one is too large. */
static void
cut(Product *p)
{
	p->bm = p->m;
	p->bn = p->n;
	for (;;)
	{
		double		work = 2.0 * p->bm * p->bn * p->k;
		int			tasks = parts(p->m, p->bm) * parts(p->n, p->bn);

		if (work <= LINEAR_SMALL || (tasks >= LINEAR_TASKS && work <= LINEAR_LARGE))
			break;
		if (p->bm > p->bn && p->bm > KERN_LANES)
			p->bm = KERN_ROUND_UP(p->bm / 2, KERN_LANES);
		else if (p->bn > KERN_LANES)
			p->bn = KERN_ROUND_UP(p->bn / 2, KERN_LANES);
		else
			break;
	}
}

static FsiStatus
product(TrainCtx *c, Product p)
{
	cut(&p);
	return train_run(c->pool, parts(p.m, p.bm) * parts(p.n, p.bn), product_block, &p, c->err);
}

/* y (T, N) = x (T, K) w (K, N) + bias (N) */
FsiStatus
train_linear(TrainCtx *c, int T, const float *x, const KernMatrix *w, const float *bias, bool add, float *y)
{
	return product(c, (Product) {.tb = w->transposed, .m = T, .n = w->n, .k = w->k, .a = x, .lda = w->k,
		.b = w->w, .ldb = w->transposed ? w->k : w->n, .bias = bias, .beta = add ? 1.0f : 0.0f, .c = y});
}

typedef struct Columns
{
	const KernOps *ops;
	int			T,
				N;
	const float *x;				/* (T, N) */
	float	   *y;				/* (N) */
} Columns;

static void
sum_columns(void *arg, int part, int worker)
{
	const Columns *s = arg;
	size_t		at = (size_t) part * COLUMNS;

	(void) worker;
	s->ops->grad->column_sum(s->T, part_size(s->N, COLUMNS, part), s->x + at, s->N, s->y + at);
}

/* dx (T, K) = dy (T, N) w^T; g_w (K, N) += x^T dy; g_bias (N) += sum of dy over T */
FsiStatus
train_linear_back(TrainCtx *c, int T, const float *x, const KernMatrix *w, const float *dy,
				  float *dx, float *g_w, float *g_bias)
{
	int			K = w->k,
				N = w->n;
	Columns		sums = {c->ops, T, N, dy, g_bias};

	if (dx != NULL)
		FSI_TRY(product(c, (Product) {.tb = !w->transposed, .m = T, .n = K, .k = N, .a = dy, .lda = N,
			.b = w->w, .ldb = w->transposed ? K : N, .c = dx}));
	if (g_w != NULL && w->transposed)
		FSI_TRY(product(c, (Product) {.ta = true, .m = N, .n = K, .k = T, .a = dy, .lda = N,
			.b = x, .ldb = K, .beta = 1.0f, .c = g_w}));
	else if (g_w != NULL)
		FSI_TRY(product(c, (Product) {.ta = true, .m = K, .n = N, .k = T, .a = x, .lda = K,
			.b = dy, .ldb = N, .beta = 1.0f, .c = g_w}));
	if (g_bias != NULL)
		FSI_TRY(train_run(c->pool, parts(N, COLUMNS), sum_columns, &sums, c->err));
	return FSI_OK;
}

/* ---------------------------------------------------------------- activation, addition, dropout */

typedef struct Rows
{
	const TrainCtx *c;
	int			T,
				N;
	KernAct		act;
	const float *x;				/* (T, N) */
	float	   *y;				/* (T, N) */
	float		rate;
	int			site;
} Rows;

static void
activate_rows(void *arg, int part, int worker)
{
	const Rows *a = arg;
	size_t		at = (size_t) part * ROWS * (size_t) a->N;
	int			n = part_size(a->T, ROWS, part) * a->N;

	(void) worker;
	memcpy(a->y + at, a->x + at, (size_t) n * sizeof(float));
	a->c->ops->activate(n, a->y + at, a->act);
}

/* y (T, I) = act(x) */
FsiStatus
train_activate(TrainCtx *c, int T, int I, const float *x, KernAct act, float *y)
{
	Rows		a = {.c = c, .T = T, .N = I, .act = act, .x = x, .y = y};

	return train_run(c->pool, parts(T, ROWS), activate_rows, &a, c->err);
}

static void
activate_back_rows(void *arg, int part, int worker)
{
	const Rows *a = arg;
	size_t		at = (size_t) part * ROWS * (size_t) a->N;

	(void) worker;
	a->c->ops->grad->activate_grad(part_size(a->T, ROWS, part) * a->N, a->x + at, a->y + at, a->y + at, a->act);
}

/* dx (T, I) = dy act'(x), in place */
FsiStatus
train_activate_back(TrainCtx *c, int T, int I, const float *x, KernAct act, float *dy_dx)
{
	Rows		a = {.c = c, .T = T, .N = I, .act = act, .x = x, .y = dy_dx};

	return train_run(c->pool, parts(T, ROWS), activate_back_rows, &a, c->err);
}

static void
add_rows(void *arg, int part, int worker)
{
	const Rows *a = arg;
	size_t		at = (size_t) part * ROWS * (size_t) a->N;

	(void) worker;
	a->c->ops->add(part_size(a->T, ROWS, part) * a->N, a->y + at, a->x + at);
}

/* y (T, E) += x */
FsiStatus
train_add(TrainCtx *c, int T, int E, const float *x, float *y)
{
	Rows		a = {.c = c, .T = T, .N = E, .x = x, .y = y};

	return train_run(c->pool, parts(T, ROWS), add_rows, &a, c->err);
}

static void
dropout_rows(void *arg, int part, int worker)
{
	const Rows *a = arg;
	int			from = part * ROWS,
				to = from + part_size(a->T, ROWS, part);
	uint64_t	site = train_mix(a->c->dropout_key, (uint64_t) a->site);

	(void) worker;
	for (int row = from; row < to; row++)
		a->c->ops->grad->dropout(a->N, train_mix(site, a->c->first_row + (uint64_t) row), a->rate,
								 a->y + (size_t) row * (size_t) a->N);
}

/* x (T, E): each element 0 with probability rate, else divided by 1 - rate; linear, so its own backward */
FsiStatus
train_dropout(TrainCtx *c, int T, int E, int site, double rate, float *x)
{
	Rows		a = {.c = c, .T = T, .N = E, .y = x, .rate = (float) rate, .site = site};

	if (rate == 0)
		return FSI_OK;
	return train_run(c->pool, parts(T, ROWS), dropout_rows, &a, c->err);
}
