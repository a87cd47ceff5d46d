/*
 * model_slots.c
 *	  The table of a GPT-2's parts, walking it, and the checks every model must pass.
 */
#include "model_slots.h"

#include "format_cursor.h"

#include <float.h>
#include <stdio.h>

#define IN_MODEL(field) offsetof(Gpt2Model, field)
#define IN_LAYER(field) offsetof(Gpt2Layer, field)

static const ModelSlot model_slots[MODEL_SLOTS] = {
	{16, "wte.weight", IN_MODEL(wte), true, true, false, SLOT_EMBD, SLOT_VOCAB, SLOT_ALWAYS},
	{20, "wpe.weight", IN_MODEL(wpe), false, false, false, SLOT_POSITIONS, SLOT_EMBD, SLOT_ALWAYS},
	{24, "ln_f.weight", IN_MODEL(lnf_gain), false, false, false, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{28, "ln_f.bias", IN_MODEL(lnf_bias), false, false, true, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{32, "lm_head.weight", IN_MODEL(head), true, true, false, SLOT_EMBD, SLOT_VOCAB, SLOT_UNTIED},
	{36, "fsi.readout.q", IN_MODEL(readout_q), false, false, false, SLOT_EMBD, SLOT_EMBD, SLOT_SEGMENTS},
	{40, "fsi.readout.k", IN_MODEL(readout_k), false, false, false, SLOT_EMBD, SLOT_EMBD, SLOT_SEGMENTS},
};

static const ModelSlot layer_slots[LAYER_SLOTS] = {
	{64, "ln_1.weight", IN_LAYER(ln1_gain), false, false, false, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{68, "ln_1.bias", IN_LAYER(ln1_bias), false, false, true, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{72, "attn.c_attn.weight", IN_LAYER(qkv), true, false, false, SLOT_EMBD, SLOT_3EMBD, SLOT_ALWAYS},
	{76, "attn.c_attn.bias", IN_LAYER(qkv_bias), false, false, true, SLOT_ONE, SLOT_3EMBD, SLOT_ALWAYS},
	{80, "attn.c_proj.weight", IN_LAYER(proj), true, false, false, SLOT_EMBD, SLOT_EMBD, SLOT_ALWAYS},
	{84, "attn.c_proj.bias", IN_LAYER(proj_bias), false, false, true, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{88, "ln_2.weight", IN_LAYER(ln2_gain), false, false, false, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{92, "ln_2.bias", IN_LAYER(ln2_bias), false, false, true, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
	{96, "mlp.c_fc.weight", IN_LAYER(fc), true, false, false, SLOT_EMBD, SLOT_INNER, SLOT_ALWAYS},
	{100, "mlp.c_fc.bias", IN_LAYER(fc_bias), false, false, true, SLOT_ONE, SLOT_INNER, SLOT_ALWAYS},
	{104, "mlp.c_proj.weight", IN_LAYER(out), true, false, false, SLOT_INNER, SLOT_EMBD, SLOT_ALWAYS},
	{108, "mlp.c_proj.bias", IN_LAYER(out_bias), false, false, true, SLOT_ONE, SLOT_EMBD, SLOT_ALWAYS},
};

static int
slot_size(const Gpt2Config *cfg, SlotSize size)
{
	switch (size)
	{
		case SLOT_EMBD:
			return cfg->n_embd;
		case SLOT_3EMBD:
			return 3 * cfg->n_embd;
		case SLOT_INNER:
			return cfg->n_inner;
		case SLOT_VOCAB:
			return cfg->n_vocab;
		case SLOT_POSITIONS:
			return cfg->n_positions;
		default:
			return 1;
	}
}

/* Stay at at->slot if this model has it, else go on to the next it has. */
static bool
settle(const Gpt2Config *cfg, SlotAt *at)
{
	if (at->layer < 0)
	{
		while (at->slot < model_slots + MODEL_SLOTS &&
			   ((at->slot->when == SLOT_UNTIED && cfg->tied) ||
				(at->slot->when == SLOT_SEGMENTS && cfg->layout != GPT2_SEGMENTS)))
			at->slot++;
		if (at->slot == model_slots + MODEL_SLOTS)
		{
			at->slot = layer_slots;
			at->layer = 0;
		}
	}
	else if (at->slot == layer_slots + LAYER_SLOTS)
	{
		at->slot = layer_slots;
		at->layer++;
	}
	if (at->layer >= cfg->n_layer)
		return false;
	at->k = slot_size(cfg, at->slot->k);
	at->n = slot_size(cfg, at->slot->n);
	return true;
}

bool
slot_first(const Gpt2Config *cfg, SlotAt *at)
{
	*at = (SlotAt) {.slot = model_slots, .layer = -1};
	return settle(cfg, at);
}

bool
slot_next(const Gpt2Config *cfg, SlotAt *at)
{
	at->slot++;
	return settle(cfg, at);
}

static char *
slot_base(Gpt2Model *model, const SlotAt *at)
{
	return at->layer < 0 ? (char *) model : (char *) &model->layers[at->layer];
}

KernMatrix *
slot_matrix(Gpt2Model *model, const SlotAt *at)
{
	return (KernMatrix *) (slot_base(model, at) + at->slot->offset);
}

const float **
slot_floats(Gpt2Model *model, const SlotAt *at)
{
	return (const float **) (slot_base(model, at) + at->slot->offset);
}

SlotName
slot_name(const SlotAt *at)
{
	SlotName	name;

	if (at->layer < 0)
		snprintf(name.text, sizeof(name.text), "%s", at->slot->name);
	else
		snprintf(name.text, sizeof(name.text), "h.%d.%s", at->layer, at->slot->name);
	return name;
}

FsiStatus
slot_alloc_layers(Gpt2Model *model, FsiArena *arena, FsiError *err)
{
	size_t		n = (size_t) model->cfg.n_layer;

	model->layers = fsi_arena_zero(arena, n, sizeof(Gpt2Layer));
	return model->layers == NULL ? fsi_nomem(err, n * sizeof(Gpt2Layer)) : FSI_OK;
}

void
slot_bind_head(Gpt2Model *model)
{
	if (model->cfg.tied)
		model->head = model->wte;
}

static FsiStatus
check_range(const char *what, int64_t value, int64_t low, int64_t high, FsiError *err)
{
	if (value < low || value > high)
		return fsi_fail(err, FSI_LIMIT, "model's %s is %lld, not between %lld and %lld", what,
						(long long) value, (long long) low, (long long) high);
	return FSI_OK;
}

FsiStatus
model_check_config(const Gpt2Config *cfg, FsiError *err)
{
	/* 65536: the largest k for which a u8 x s8 dot product (k * 255 * 127) fits int32 */
	FSI_TRY(check_range("n_layer", cfg->n_layer, 1, 1024, err));
	FSI_TRY(check_range("n_embd", cfg->n_embd, 1, 65536, err));
	FSI_TRY(check_range("n_inner", cfg->n_inner, 1, 65536, err));
	FSI_TRY(check_range("n_head", cfg->n_head, 1, cfg->n_embd, err));
	/* begin, end and a token of text */
	FSI_TRY(check_range("n_positions", cfg->n_positions, 1 + (cfg->begin != TOK_NONE) + (cfg->end != TOK_NONE), 1 << 20, err));
	FSI_TRY(check_range("vocab_size", cfg->n_vocab, 1, 1 << 22, err));
	if (cfg->n_embd % cfg->n_head != 0)
		return fsi_fail(err, FSI_CORRUPT, "model's n_embd %d is not a multiple of n_head %d",
						cfg->n_embd, cfg->n_head);
	if (!(cfg->ln_eps >= 0 && cfg->ln_eps <= 1))
		return fsi_fail(err, FSI_CORRUPT, "model's layer_norm_epsilon is not between 0 and 1");
	if (cfg->act != KERN_ACT_GELU_NEW && cfg->act != KERN_ACT_GELU && cfg->act != KERN_ACT_RELU)
		return fsi_fail(err, FSI_CORRUPT, "model's activation function number %d is unknown", (int) cfg->act);
	if (cfg->layout != GPT2_PROMPT && cfg->layout != GPT2_SEGMENTS)
		return fsi_fail(err, FSI_CORRUPT, "model's layout number %d is unknown", (int) cfg->layout);
	FSI_TRY(check_range("begin token", cfg->begin, TOK_NONE, cfg->n_vocab - 1, err));
	FSI_TRY(check_range("end of prompt token", cfg->end_prompt, TOK_NONE, cfg->n_vocab - 1, err));
	FSI_TRY(check_range("end token", cfg->end, TOK_NONE, cfg->n_vocab - 1, err));
	return FSI_OK;
}

FsiStatus
floats_finite(const float *x, size_t n, const FsiHost *host, bool *finite, FsiError *err)
{
	bool		all = true;

	for (size_t at = 0; at < n; at += WEIGHTS_STOP_EVERY)
	{
		size_t		end = n - at < WEIGHTS_STOP_EVERY ? n : at + WEIGHTS_STOP_EVERY;

		if (fsi_should_stop(host))
			return fsi_cancelled(err);
		for (size_t i = at; i < end; i++)
			all &= x[i] >= -FLT_MAX && x[i] <= FLT_MAX;
	}
	*finite = all;
	return FSI_OK;
}

FsiStatus
model_check_finite(const Gpt2Model *model, const FsiHost *host, FsiError *err)
{
	SlotAt		at;

	for (bool more = slot_first(&model->cfg, &at); more; more = slot_next(&model->cfg, &at))
	{
		Gpt2Model  *m = (Gpt2Model *) model;
		const float *x = at.slot->matrix ? slot_matrix(m, &at)->w : *slot_floats(m, &at);
		bool		finite;

		FSI_TRY(floats_finite(x, (size_t) at.k * (size_t) at.n, host, &finite, err));
		if (!finite)
			return fsi_fail(err, FSI_CORRUPT, "tensor \"%s\" holds a value that is not a finite number",
							slot_name(&at).text);
	}
	return FSI_OK;
}
