/*
 * train_params.c
 *	  The trainer's own copy of a model: weights, gradients, moments, in the order of the model's table of parts.
 *
 * Frozen tensors have weights alone.  Every tensor starts at a multiple of 16 floats; the
 * gaps are zero in all blocks and stay so.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../format/model_slots.h"
#include "train.h"

static size_t
padded(size_t n)
{
	return KERN_ROUND_UP(n, (size_t) KERN_LANES);
}

static bool
slot_trained(const SlotAt *at, bool freeze)
{
	return !freeze || at->slot->when == SLOT_SEGMENTS;
}

void
train_params_count(const Gpt2Config *cfg, bool freeze, size_t *n_weight, size_t *n_state)
{
	SlotAt		at;

	*n_weight = *n_state = 0;
	for (bool more = slot_first(cfg, &at); more; more = slot_next(cfg, &at))
	{
		size_t		n = padded((size_t) at.k * (size_t) at.n);

		*n_weight += n;
		*n_state += slot_trained(&at, freeze) ? n : 0;
	}
	if (cfg->layout == GPT2_SEGMENTS)
	{
		*n_weight += padded(N_SCALAR);
		*n_state += padded(N_SCALAR);
	}
}

/* The table of tensors with their places. */
static FsiStatus
list_tensors(const Gpt2Config *cfg, const TrainOptions *o, FsiArena *arena, TrainParams *p, FsiError *err)
{
	size_t		n = MODEL_SLOTS + 1 + (size_t) cfg->n_layer * LAYER_SLOTS;
	SlotAt		at;

	p->tensors = fsi_arena_zero(arena, n, sizeof(TrainTensor));
	if (p->tensors == NULL)
		return fsi_nomem(err, n * sizeof(TrainTensor));
	for (bool more = slot_first(cfg, &at); more; more = slot_next(cfg, &at))
	{
		TrainTensor *t = &p->tensors[p->n_tensor++];

		snprintf(t->name, sizeof(t->name), "%s", slot_name(&at).text);
		t->k = at.k;
		t->n = at.n;
		t->size = (size_t) at.k * (size_t) at.n;
		t->trained = slot_trained(&at, o->freeze);
		t->decay = at.k > 1;	/* biases and gains are single rows */
	}
	if (cfg->layout == GPT2_SEGMENTS)
		p->tensors[p->n_tensor++] = (TrainTensor) {
			.name = "fsi.readout.scalars", .k = 1, .n = N_SCALAR, .size = N_SCALAR, .trained = o->learn_scalars,
		};
	for (int i = 0; i < p->n_tensor; i++)
	{
		TrainTensor *t = &p->tensors[i];

		t->at = p->n_weight;
		p->n_weight += padded(t->size);
		t->state = p->n_state;
		p->n_state += t->trained ? padded(t->size) : 0;
	}
	return FSI_OK;
}

/* Copy one matrix into the trainer's form: [k][n], or [n][k] for embeddings. */
static FsiStatus
copy_matrix(const FsiHost *host, const KernMatrix *from, bool outputs_first, float *to, FsiError *err)
{
	size_t		rows = (size_t) (from->transposed ? from->n : from->k),
				columns = (size_t) (from->transposed ? from->k : from->n);

	if (from->transposed == outputs_first)
		return fsi_copy(host, to, from->w, rows * columns * sizeof(float), err);
	for (size_t r = 0; r < rows; r++)
	{
		if (fsi_should_stop(host))
			return fsi_cancelled(err);
		for (size_t c = 0; c < columns; c++)
			to[c * rows + r] = from->w[r * columns + c];
	}
	return FSI_OK;
}

/* Point the slot of a view at floats (NULL: frozen). */
static void
bind(Gpt2Model *view, const SlotAt *at, const float *floats)
{
	if (at->slot->matrix)
		*slot_matrix(view, at) = (KernMatrix) {.type = KERN_F32, .k = at->k, .n = at->n, .w = floats,
			.transposed = at->slot->outputs_first};
	else
		*slot_floats(view, at) = floats;
}

static FsiStatus
take_block(FsiArena *arena, size_t n, float **out, FsiError *err)
{
	*out = fsi_arena_array(arena, n, sizeof(float));
	if (*out == NULL)
		return fsi_nomem(err, n * sizeof(float));
	return fsi_zero(arena->host, *out, n * sizeof(float), err);
}

static FsiStatus
take_blocks(TrainParams *p, FsiArena *arena, FsiError *err)
{
	FSI_TRY(take_block(arena, p->n_weight, &p->weights, err));
	FSI_TRY(take_block(arena, p->n_state, &p->grads, err));
	FSI_TRY(take_block(arena, p->n_state, &p->m, err));
	return take_block(arena, p->n_state, &p->v, err);
}

FsiStatus
train_params_create(const Gpt2Model *model, const TrainOptions *o, FsiArena *arena, TrainParams *p, FsiError *err)
{
	const TrainTensor *t;
	SlotAt		at;

	memset(p, 0, sizeof(*p));
	FSI_TRY(list_tensors(&model->cfg, o, arena, p, err));
	FSI_TRY(take_blocks(p, arena, err));
	p->w.cfg = p->g.cfg = model->cfg;
	p->w.pointing = model->pointing;
	FSI_TRY(slot_alloc_layers(&p->w, arena, err));
	FSI_TRY(slot_alloc_layers(&p->g, arena, err));
	t = p->tensors;
	for (bool more = slot_first(&model->cfg, &at); more; more = slot_next(&model->cfg, &at), t++)
	{
		Gpt2Model  *from = (Gpt2Model *) model;	/* only read */
		const float *floats;

		if (at.slot->matrix && slot_matrix(from, &at)->type != KERN_F32)
			return fsi_fail(err, FSI_UNSUPPORTED, "only models with float weights can be trained");
		floats = at.slot->matrix ? slot_matrix(from, &at)->w : *slot_floats(from, &at);
		if (floats == NULL)
			return fsi_fail(err, FSI_INVALID, "the model has no tensor \"%s\"", t->name);
		if (fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		if (at.slot->matrix)
			FSI_TRY(copy_matrix(arena->host, slot_matrix(from, &at), at.slot->outputs_first, p->weights + t->at, err));
		else
			memcpy(p->weights + t->at, floats, t->size * sizeof(float));
		bind(&p->w, &at, p->weights + t->at);
		bind(&p->g, &at, t->trained ? p->grads + t->state : NULL);
	}
	slot_bind_head(&p->w);
	slot_bind_head(&p->g);
	if (model->cfg.layout == GPT2_SEGMENTS)
	{
		p->w_scalar = p->weights + t->at;
		p->g_scalar = t->trained ? p->grads + t->state : NULL;
		p->w_scalar[SCALAR_NAME_BIAS] = (float) model->pointing.name_bias;
		p->w_scalar[SCALAR_OTHER] = (float) model->pointing.other_logit;
	}
	return FSI_OK;
}

/*
 * Scale of what names and examples say together, in scales of names alone, where the bounds change their mix: what
 * made scores likeliest on the validation sets, 0.75 to 0.95 (models/recipe/LOG.md).
 */
#define BOUND_BOTH_SCALE 0.83

/* log_scale multiplies all three scales, so that the ways of asking stay in proportion. */
void
train_params_scalars(TrainParams *p, const PointingScalars *own, const TrainOptions *o)
{
	double		factor;

	p->w.pointing = *own;
	p->w.pointing.name_share = fmax(own->name_share, o->name_share);
	p->w.pointing.discriminant_share = fmin(own->discriminant_share, o->discriminant_share);
	if (p->w.pointing.name_share != own->name_share || p->w.pointing.discriminant_share != own->discriminant_share)
		p->w.pointing.both_scale = BOUND_BOTH_SCALE * own->name_scale;
	if (p->g_scalar == NULL)
		return;
	factor = exp((double) p->w_scalar[SCALAR_LOG_SCALE]);
	p->w.pointing.name_scale *= factor;
	p->w.pointing.both_scale *= factor;
	p->w.pointing.example_scale *= factor;
	p->w.pointing.name_bias = p->w_scalar[SCALAR_NAME_BIAS];
	p->w.pointing.other_logit = p->w_scalar[SCALAR_OTHER];
}

FsiStatus
train_params_copy(const TrainParams *p, FsiArena *arena, Gpt2Model *out, FsiError *err)
{
	float	   *weights = fsi_arena_array(arena, p->n_weight, sizeof(float));
	const TrainTensor *t = p->tensors;
	SlotAt		at;

	if (weights == NULL)
		return fsi_nomem(err, p->n_weight * sizeof(float));
	FSI_TRY(fsi_copy(arena->host, weights, p->weights, p->n_weight * sizeof(float), err));
	memset(out, 0, sizeof(*out));
	out->cfg = p->w.cfg;
	out->pointing = p->w.pointing;
	FSI_TRY(slot_alloc_layers(out, arena, err));
	for (bool more = slot_first(&out->cfg, &at); more; more = slot_next(&out->cfg, &at), t++)
		bind(out, &at, weights + t->at);
	slot_bind_head(out);
	return FSI_OK;
}
