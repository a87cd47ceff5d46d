/*
 * train_help.h
 *	  What the trainer's tests share: models with random weights, rows, options and a trainer.
 */
#ifndef TRAIN_HELP_H
#define TRAIN_HELP_H

#include "engine_model.h"
#include "fsi_train.h"

static FsiArena arena;

/* Is OpenBLAS here?  Says that the test is skipped where it is not. */
static inline bool
have_blas(void)
{
	if (kern_blas_load(&err) == FSI_OK)
		return true;
	skip("OpenBLAS is not installed");
	return false;
}

/* An f32 model alone; segments models get begin, end and scalars. */
static inline Gpt2Model *
train_test_model(TestShape shape, bool segments)
{
	TestModel  *m = test_alloc(&arena, 1, sizeof(TestModel));

	test_model(&arena, shape, m);
	m->f32.cfg.layout = segments ? GPT2_SEGMENTS : GPT2_PROMPT;
	if (segments)
		m->f32.pointing = (PointingScalars) {.spelling_weight = 1, .description_weight = 0.7, .example_sharpness = 1.5,
			.name_share = 0.4, .name_scale = 6, .name_bias = 0.3, .both_scale = 7, .both_bias = 0.1,
			.example_scale = 5, .example_bias = -0.2, .other_logit = 1.1, .other_share = 0.4};
	return &m->f32;
}

static inline TokIds
train_test_ids(int n_vocab, int n)
{
	TokIds		ids = {test_alloc(&arena, (size_t) n + 1, sizeof(int32_t)), (size_t) n};

	test_tokens(n_vocab, n, ids.ids);
	return ids;
}

/* n rows of 2 to longest tokens, a third of each the prompt. */
static inline TrainRow *
train_test_rows(int n_vocab, int n, int longest)
{
	TrainRow   *rows = test_alloc(&arena, (size_t) n, sizeof(TrainRow));

	for (int i = 0; i < n; i++)
	{
		int			length = 2 + test_below(longest - 1);

		rows[i] = (TrainRow) {train_test_ids(n_vocab, length), length / 3};
	}
	return rows;
}

/* A model's tensors by their Hugging Face names, for reading and for moving a single weight. */
static inline float *
train_test_tensor(const Gpt2Model *m, const char *name, size_t *n)
{
	int			layer = 0,
				E = m->cfg.n_embd;
	char		rest[64] = "";
	const Gpt2Layer *L = m->layers;
	const float *p = NULL;

	if (sscanf(name, "h.%d.%63s", &layer, rest) == 2)
		L = &m->layers[layer];
#define IS(what, text, floats, size) if (strcmp(what, text) == 0) p = (floats), *n = (size_t) (size)
	IS(name, "wte.weight", m->wte.w, E * m->cfg.n_vocab);
	IS(name, "wpe.weight", m->wpe, E * m->cfg.n_positions);
	IS(name, "ln_f.weight", m->lnf_gain, E);
	IS(name, "ln_f.bias", m->lnf_bias, E);
	IS(name, "lm_head.weight", m->head.w, E * m->cfg.n_vocab);
	IS(name, "fsi.readout.q", m->readout_q, E * E);
	IS(name, "fsi.readout.k", m->readout_k, E * E);
	IS(rest, "ln_1.weight", L->ln1_gain, E);
	IS(rest, "ln_1.bias", L->ln1_bias, E);
	IS(rest, "ln_2.weight", L->ln2_gain, E);
	IS(rest, "ln_2.bias", L->ln2_bias, E);
	IS(rest, "attn.c_attn.weight", L->qkv.w, 3 * E * E);
	IS(rest, "attn.c_attn.bias", L->qkv_bias, 3 * E);
	IS(rest, "attn.c_proj.weight", L->proj.w, E * E);
	IS(rest, "attn.c_proj.bias", L->proj_bias, E);
	IS(rest, "mlp.c_fc.weight", L->fc.w, E * m->cfg.n_inner);
	IS(rest, "mlp.c_fc.bias", L->fc_bias, m->cfg.n_inner);
	IS(rest, "mlp.c_proj.weight", L->out.w, E * m->cfg.n_inner);
	IS(rest, "mlp.c_proj.bias", L->out_bias, E);
#undef IS
	return (float *) p;
}

static const char *const train_test_layer_names[] = {
	"ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "attn.c_proj.bias",
	"ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
};

/* Options without dropout and with few steps. */
static inline TrainOptions
train_test_options(void)
{
	TrainOptions o = train_defaults;

	o.embd_pdrop = o.resid_pdrop = o.attn_pdrop = 0;
	o.max_steps = 20;
	o.per_device_train_batch_size = 3;
	return o;
}

/* A trainer that has to come about. */
static inline Train *
train_test_create(const Gpt2Model *m, const TrainOptions *o, const TrainData *data)
{
	Train	   *t;

	must(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), m, o, data, &t, &err));
	return t;
}

/* Central difference of loss() by one weight; small, since relu has kinks; the loss is in double. */
static inline double
train_test_slope(float *weight, double (*loss) (void))
{
	float		old = *weight;
	volatile float up = old + 5e-5f,
				down = old - 5e-5f;
	double		high,
				low;

	*weight = up;
	high = loss();
	*weight = down;
	low = loss();
	*weight = old;
	return (high - low) / ((double) up - (double) down);
}

#endif
