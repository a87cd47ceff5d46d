/*
 * train_gpt2.c
 *	  GPT-2 over one pass of rows: forward, and backward in the reverse order of the same steps.
 *
 * Everything a pass needs is one allocation, laid out by the table below: what backward
 * reads again is kept for each layer, the rest once.  Layer norms and activations are
 * computed again in the backward pass: they are cheap, and keeping their results would
 * take 2E + I floats more a token and layer.
 */
#include <math.h>
#include <string.h>

#include "train.h"

typedef enum ActSlot
{
	/* of each layer */
	ACT_X,						/* (T, E) the residual stream before the block */
	ACT_QKV,					/* (T, 3E) */
	ACT_LOG_SUM,				/* (T, H) */
	ACT_ATT,					/* (T, E) */
	ACT_MID,					/* (T, E) the stream between attention and MLP */
	ACT_FC,						/* (T, I) before the activation */
	ACT_LAYER_SLOTS,
	/* once */
	ACT_END = ACT_LAYER_SLOTS,	/* (T, E) the stream after the last block */
	ACT_HIDDEN,					/* (T, E) ln_f(h) */
	ACT_NORM,					/* (T, E) a layer norm's output, or its gradient */
	ACT_DX,						/* (T, E) gradient of the stream */
	ACT_BRANCH,					/* (T, E) a branch's output or gradient, dropped elements 0 */
	ACT_WIDE,					/* (T, max(I, 3E)) act(fc), or a gradient of qkv */
	ACT_D_WIDE,					/* (T, I) gradient of fc */
	ACT_STATS,					/* (T, 2) a layer norm's statistics */
	ACT_SLOTS
} ActSlot;

struct TrainActs
{
	int			rows;			/* T of the largest pass */
	int			n_layer;
	float	   *block;
	size_t		at[ACT_SLOTS];	/* floats from block on; of layer 0 */
	size_t		layer;			/* floats of one layer */
};

/* Floats a row takes in each slot. */
static void
slot_widths(const Gpt2Config *cfg, size_t width[ACT_SLOTS])
{
	size_t		E = (size_t) cfg->n_embd,
				I = (size_t) cfg->n_inner;

	width[ACT_X] = E;
	width[ACT_QKV] = 3 * E;
	width[ACT_LOG_SUM] = (size_t) cfg->n_head;
	width[ACT_ATT] = E;
	width[ACT_MID] = E;
	width[ACT_FC] = I;
	width[ACT_END] = E;
	width[ACT_HIDDEN] = E;
	width[ACT_NORM] = E;
	width[ACT_DX] = E;
	width[ACT_BRANCH] = E;
	width[ACT_WIDE] = I > 3 * E ? I : 3 * E;
	width[ACT_D_WIDE] = I;
	width[ACT_STATS] = 2;
}

/* Places of all slots; total floats. */
static size_t
lay_out(const Gpt2Config *cfg, int rows, size_t at[ACT_SLOTS], size_t *layer)
{
	size_t		width[ACT_SLOTS],
				total = 0;

	slot_widths(cfg, width);
	for (int s = 0; s < ACT_SLOTS; s++)
	{
		at[s] = total;
		total += KERN_ROUND_UP(width[s] * (size_t) rows, (size_t) KERN_LANES);
		if (s == ACT_LAYER_SLOTS - 1)
		{
			*layer = total;
			total *= (size_t) cfg->n_layer;
		}
	}
	return total;
}

static size_t
scores_floats(int longest)
{
	return 3 * (size_t) ATTEND_BLOCK * KERN_ROUND_UP((size_t) longest, (size_t) KERN_LANES);
}

/* 4 (L (6E + I + H) + 5E + max(I, 3E) + I + 2) a row: 409 kB at 12 x 768, 112 kB at 6 x 384 */
size_t
train_acts_bytes(const Gpt2Config *cfg, int rows, int longest, int workers)
{
	size_t		at[ACT_SLOTS],
				layer;

	return (lay_out(cfg, rows, at, &layer) + scores_floats(longest) * (size_t) workers) * sizeof(float);
}

FsiStatus
train_acts_create(const Gpt2Config *cfg, int rows, FsiArena *arena, TrainActs **out, FsiError *err)
{
	TrainActs  *a = fsi_arena_zero(arena, 1, sizeof(TrainActs));
	size_t		total;

	if (a == NULL)
		return fsi_nomem(err, sizeof(TrainActs));
	a->rows = rows;
	a->n_layer = cfg->n_layer;
	total = lay_out(cfg, rows, a->at, &a->layer);
	a->block = fsi_arena_array(arena, total, sizeof(float));
	if (a->block == NULL)
		return fsi_nomem(err, total * sizeof(float));
	*out = a;
	return FSI_OK;
}

FsiStatus
train_ctx_create(const KernOps *ops, TrainPool *pool, const TrainActs *acts, int longest, FsiArena *arena,
				 TrainCtx *c, FsiError *err)
{
	size_t		workers = (size_t) train_pool_workers(pool);

	c->pool = pool;
	c->ops = ops;
	c->scores_size = scores_floats(longest);
	c->scores = fsi_arena_array(arena, workers, c->scores_size * sizeof(float));
	c->stats = acts->block + acts->at[ACT_STATS];
	return c->scores == NULL ? fsi_nomem(err, workers * c->scores_size * sizeof(float)) : FSI_OK;
}

int
train_acts_rows(const TrainActs *acts)
{
	return acts->rows;
}

/* One block's part of the allocation. */
typedef struct LayerActs
{
	float	   *x,
			   *qkv,
			   *log_sum,
			   *att,
			   *mid,
			   *fc,
			   *next;			/* x of the layer after, or the end */
} LayerActs;

/* When nothing is kept, all layers use the first one's place. */
static LayerActs
layer_acts(const TrainActs *a, int layer, bool keep)
{
	float	   *base = a->block + (keep ? (size_t) layer * a->layer : 0);
	bool		last = layer == a->n_layer - 1;

	return (LayerActs) {
		.x = base + a->at[ACT_X], .qkv = base + a->at[ACT_QKV], .log_sum = base + a->at[ACT_LOG_SUM],
		.att = base + a->at[ACT_ATT], .mid = base + a->at[ACT_MID], .fc = base + a->at[ACT_FC],
		.next = last ? a->block + a->at[ACT_END] : base + (keep ? a->layer : 0) + a->at[ACT_X],
	};
}

static inline float *
shared(const TrainActs *a, ActSlot slot)
{
	return a->block + a->at[slot];
}

static float
attend_scale(const Gpt2Config *cfg, int layer)
{
	float		scale = cfg->scale_attn_weights ? 1.0f / sqrtf((float) (cfg->n_embd / cfg->n_head)) : 1.0f;

	return cfg->scale_attn_by_inverse_layer_idx ? scale / (float) (layer + 1) : scale;
}

/* ---------------------------------------------------------------- forward */

/* y (T, E) = x + drop(in W + b): the end of both branches of a block; in (T, K) */
static FsiStatus
branch(TrainCtx *c, const TrainActs *acts, int T, int E, const float *in, const KernMatrix *W, const float *bias,
	   int site, double rate, const float *x, float *y)
{
	float	   *out = shared(acts, ACT_BRANCH);	/* (T, E) */

	if (y != x)
		memcpy(y, x, (size_t) T * (size_t) E * sizeof(float));
	if (rate == 0)
		return train_linear(c, T, in, W, bias, true, y);
	FSI_TRY(train_linear(c, T, in, W, bias, false, out));
	FSI_TRY(train_dropout(c, T, E, site, rate, out));
	return train_add(c, T, E, out, y);
}

/* mid = x + proj(attention(ln_1(x))); next = mid + out(act(fc(ln_2(mid)))) */
static FsiStatus
block(TrainCtx *c, const Gpt2Model *w, const TrainDrop *drop, const TrainBatch *b, int layer, const TrainActs *acts,
	  const LayerActs *a)
{
	const Gpt2Layer *L = &w->layers[layer];
	int			T = train_batch_rows(b),
				E = w->cfg.n_embd,
				H = w->cfg.n_head,
				I = w->cfg.n_inner;
	float		eps = w->cfg.ln_eps,
			   *norm = shared(acts, ACT_NORM),	/* (T, E) */
			   *inner = shared(acts, ACT_WIDE);	/* (T, I) */

	FSI_TRY(train_norm(c, T, E, a->x, L->ln1_gain, L->ln1_bias, eps, norm));
	FSI_TRY(train_linear(c, T, norm, &L->qkv, L->qkv_bias, false, a->qkv));
	FSI_TRY(train_attend(c, b, E, H, attend_scale(&w->cfg, layer), layer, drop->attn, a->qkv, a->att, a->log_sum));
	FSI_TRY(branch(c, acts, T, E, a->att, &L->proj, L->proj_bias, train_site(layer, DROP_PROJ), drop->resid,
				   a->x, a->mid));

	FSI_TRY(train_norm(c, T, E, a->mid, L->ln2_gain, L->ln2_bias, eps, norm));
	FSI_TRY(train_linear(c, T, norm, &L->fc, L->fc_bias, false, a->fc));
	FSI_TRY(train_activate(c, T, I, a->fc, w->cfg.act, inner));
	return branch(c, acts, T, E, inner, &L->out, L->out_bias, train_site(layer, DROP_OUT), drop->resid,
				  a->mid, a->next);
}

FsiStatus
train_gpt2(TrainCtx *c, const Gpt2Model *w, const TrainDrop *drop, const TrainBatch *b, bool keep,
		   TrainActs *acts, float **hidden)
{
	int			T = train_batch_rows(b),
				E = w->cfg.n_embd;
	LayerActs	first = layer_acts(acts, 0, keep);

	FSI_TRY(train_embed(c, b, E, w->wte.w, w->wpe, first.x));
	FSI_TRY(train_dropout(c, T, E, train_site(-1, DROP_EMBD), drop->embd, first.x));
	for (int layer = 0; layer < w->cfg.n_layer; layer++)
	{
		LayerActs	a = layer_acts(acts, layer, keep);

		FSI_TRY(block(c, w, drop, b, layer, acts, &a));
	}
	*hidden = shared(acts, ACT_HIDDEN);
	return train_norm(c, T, E, shared(acts, ACT_END), w->lnf_gain, w->lnf_bias, w->cfg.ln_eps, *hidden);
}

/* ---------------------------------------------------------------- backward */

/* Gradient of a branch's output: dx itself, or a copy with the dropped elements 0. */
static FsiStatus
branch_back(TrainCtx *c, const TrainActs *acts, int T, int E, int site, double rate, float *dx, float **d_out)
{
	*d_out = dx;
	if (rate == 0)
		return FSI_OK;
	*d_out = shared(acts, ACT_BRANCH);
	memcpy(*d_out, dx, (size_t) T * (size_t) E * sizeof(float));
	return train_dropout(c, T, E, site, rate, *d_out);
}

/* dx (T, E): gradient of next, becomes that of mid */
static FsiStatus
mlp_back(TrainCtx *c, const Gpt2Model *w, const Gpt2Layer *L, const Gpt2Layer *G, const TrainDrop *drop, int T,
		 int layer, const TrainActs *acts, const LayerActs *a, float *dx)
{
	int			E = w->cfg.n_embd,
				I = w->cfg.n_inner;
	float	   *norm = shared(acts, ACT_NORM),	/* (T, E) */
			   *inner = shared(acts, ACT_WIDE), /* (T, I) */
			   *d_fc = shared(acts, ACT_D_WIDE), /* (T, I) */
			   *d_out;

	FSI_TRY(branch_back(c, acts, T, E, train_site(layer, DROP_OUT), drop->resid, dx, &d_out));
	FSI_TRY(train_activate(c, T, I, a->fc, w->cfg.act, inner));
	FSI_TRY(train_linear_back(c, T, inner, &L->out, d_out, d_fc, train_mut(G->out.w), train_mut(G->out_bias)));
	FSI_TRY(train_activate_back(c, T, I, a->fc, w->cfg.act, d_fc));
	FSI_TRY(train_norm(c, T, E, a->mid, L->ln2_gain, L->ln2_bias, w->cfg.ln_eps, norm));
	FSI_TRY(train_linear_back(c, T, norm, &L->fc, d_fc, NULL, train_mut(G->fc.w), train_mut(G->fc_bias)));
	FSI_TRY(train_linear_back(c, T, NULL, &L->fc, d_fc, norm, NULL, NULL));	/* norm: now its gradient */
	return train_norm_back(c, T, E, a->mid, L->ln2_gain, w->cfg.ln_eps, norm, dx,
						   train_mut(G->ln2_gain), train_mut(G->ln2_bias));
}

/* dx (T, E): gradient of mid, becomes that of x */
static FsiStatus
attention_back(TrainCtx *c, const Gpt2Model *w, const Gpt2Layer *L, const Gpt2Layer *G, const TrainDrop *drop,
			   const TrainBatch *b, int layer, const TrainActs *acts, const LayerActs *a, float *dx)
{
	int			T = train_batch_rows(b),
				E = w->cfg.n_embd;
	float	   *norm = shared(acts, ACT_NORM),	/* (T, E) */
			   *d_qkv = shared(acts, ACT_WIDE), /* (T, 3E) */
			   *d_att = norm,	/* (T, E) */
			   *d_out;

	FSI_TRY(branch_back(c, acts, T, E, train_site(layer, DROP_PROJ), drop->resid, dx, &d_out));
	FSI_TRY(train_linear_back(c, T, a->att, &L->proj, d_out, d_att, train_mut(G->proj.w),
							  train_mut(G->proj_bias)));
	FSI_TRY(train_attend_back(c, b, E, w->cfg.n_head, attend_scale(&w->cfg, layer), layer, drop->attn,
							  a->qkv, a->att, a->log_sum, d_att, d_qkv));
	FSI_TRY(train_norm(c, T, E, a->x, L->ln1_gain, L->ln1_bias, w->cfg.ln_eps, norm));
	FSI_TRY(train_linear_back(c, T, norm, &L->qkv, d_qkv, NULL, train_mut(G->qkv.w), train_mut(G->qkv_bias)));
	FSI_TRY(train_linear_back(c, T, NULL, &L->qkv, d_qkv, norm, NULL, NULL));	/* norm: now its gradient */
	return train_norm_back(c, T, E, a->x, L->ln1_gain, w->cfg.ln_eps, norm, dx,
						   train_mut(G->ln1_gain), train_mut(G->ln1_bias));
}

float *
train_gpt2_d_hidden(TrainActs *acts)
{
	return shared(acts, ACT_BRANCH);	/* read before any branch_back() */
}

FsiStatus
train_gpt2_back(TrainCtx *c, const Gpt2Model *w, const Gpt2Model *g, const TrainDrop *drop, const TrainBatch *b,
				TrainActs *acts)
{
	int			T = train_batch_rows(b),
				E = w->cfg.n_embd;
	float	   *dx = shared(acts, ACT_DX);	/* (T, E) */

	memset(dx, 0, (size_t) T * (size_t) E * sizeof(float));
	FSI_TRY(train_norm_back(c, T, E, shared(acts, ACT_END), w->lnf_gain, w->cfg.ln_eps, train_gpt2_d_hidden(acts), dx,
							train_mut(g->lnf_gain), train_mut(g->lnf_bias)));
	for (int layer = w->cfg.n_layer - 1; layer >= 0; layer--)
	{
		LayerActs	a = layer_acts(acts, layer, true);

		FSI_TRY(mlp_back(c, w, &w->layers[layer], &g->layers[layer], drop, T, layer, acts, &a, dx));
		FSI_TRY(attention_back(c, w, &w->layers[layer], &g->layers[layer], drop, b, layer, acts, &a, dx));
	}
	FSI_TRY(train_dropout(c, T, E, train_site(-1, DROP_EMBD), drop->embd, dx));
	return train_embed_back(c, b, E, dx, train_mut(g->wte.w), train_mut(g->wpe));
}
