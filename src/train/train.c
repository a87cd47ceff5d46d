/*
 * train.c
 *	  A trainer's life: create, step, evaluate, export.
 */
#include <math.h>
#include <string.h>

#include "train.h"

#define ZERO_CHUNK ((size_t) 1 << 18)	/* floats of a task */

/* ---------------------------------------------------------------- create */

/* Tokens of the longest sequence that training needs. */
static int
longest_row(const Gpt2Config *cfg, const TrainData *data)
{
	int			longest = 1;

	if (cfg->layout == GPT2_SEGMENTS)
		return cfg->n_positions;	/* evaluation may bring any text */
	for (int i = 0; i < data->n_row; i++)
		longest = (int) data->rows[i].ids.n > longest ? (int) data->rows[i].ids.n : longest;
	return longest;
}

static int
pass_rows(const TrainOptions *o, int longest)
{
	return o->pass_tokens > longest ? o->pass_tokens : longest;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * The readout over one list of messages and segments, forward and back: their vectors, the gradients of those, and a
 * similarity for each pair.
 */
static size_t
pairs_bytes(const Gpt2Config *cfg, size_t messages, size_t segments)
{
	return ((messages + segments) * 2 * (size_t) cfg->n_embd + messages * segments) * sizeof(float);
}

/* Vectors of the texts of a step's largest episodes, and their gradients; then one episode's pairs at a time. */
static size_t
episodes_bytes(const Gpt2Config *cfg, const TrainOptions *o, size_t n_text, size_t n_name)
{
	size_t		ways = least(n_name, (size_t) o->max_ways),
				segments = least(ways * (size_t) o->max_shots + least(2 * ways, n_name), n_text),
				messages = least((size_t) o->queries, n_text);

	return (size_t) o->per_device_train_batch_size * (size_t) o->gradient_accumulation_steps * (segments + messages) *
		2 * (size_t) cfg->n_embd * sizeof(float) + pairs_bytes(cfg, messages, segments);
}

/* Vectors of all names and of some messages, and their pairs. */
static size_t
evaluation_bytes(const Gpt2Config *cfg, size_t n_name)
{
	return (n_name + TRAIN_QUERY_CHUNK) * (size_t) cfg->n_embd * sizeof(float) +
		pairs_bytes(cfg, TRAIN_QUERY_CHUNK, n_name);
}

size_t
train_bytes(const Gpt2Config *cfg, const TrainOptions *o, int longest, int n_text, int n_name, int n_held_out)
{
	size_t		n_weight,
				n_state,
				bytes,
				step,
				evaluation,
				frozen;
	int			rows;

	if (cfg->layout == GPT2_SEGMENTS)
		longest = cfg->n_positions;
	rows = pass_rows(o, longest);
	train_params_count(cfg, o->freeze, &n_weight, &n_state);
	bytes = (n_weight + 3 * n_state) * sizeof(float) + train_acts_bytes(cfg, rows, rows, o->threads);
	if (cfg->layout == GPT2_PROMPT)
		return bytes + train_loss_scratch(cfg) * sizeof(float);
	step = episodes_bytes(cfg, o, (size_t) n_text, (size_t) n_name);
	evaluation = evaluation_bytes(cfg, (size_t) n_name);
	frozen = o->freeze ? (size_t) n_text + (size_t) n_name + (size_t) n_held_out : 0;
	return bytes + (step > evaluation ? step : evaluation) + frozen * (size_t) cfg->n_embd * sizeof(float);
}

/* Updates that the options ask for. */
static int64_t
count_steps(const Train *t)
{
	const TrainOptions *o = &t->options;
	double		each = (double) o->per_device_train_batch_size * o->gradient_accumulation_steps,
				steps;

	if (o->max_steps > 0)
		return o->max_steps;
	if (t->params.w.cfg.layout == GPT2_PROMPT)
		steps = ceil(o->num_train_epochs * t->data->n_row / each);
	else
		steps = ceil(o->num_train_epochs * t->data->n_text / (each * o->queries));
	return steps < 1 ? 1 : (int64_t) steps;
}

static FsiStatus
check(const Gpt2Model *model, const TrainOptions *o, const TrainData *data, FsiError *err)
{
	FSI_TRY(train_check_options(o, err));
	if (model->cfg.layout == GPT2_SEGMENTS)
		return train_segments_check(&model->cfg, data, err);
	if (o->freeze || o->learn_scalars)
		return fsi_fail(err, FSI_INVALID, "%s is for models with a pointing readout",
						o->freeze ? "freeze" : "learn_scalars");
	return train_prompt_check(&model->cfg, o, data, err);
}

/* Everything of a Train that is zero yet. */
static FsiStatus
build(Train *t, const Gpt2Model *model, FsiError *err)
{
	const Gpt2Config *cfg = &model->cfg;
	int			rows = pass_rows(&t->options, longest_row(cfg, t->data));

	FSI_TRY(kern_blas_load(err));
	FSI_TRY(kern_blas_reserve(t->options.threads, err));
	FSI_TRY(train_params_create(model, &t->options, &t->arena, &t->params, err));
	t->scalars = model->pointing;
	t->scale = t->spelling_share = 1;
	FSI_TRY(train_acts_create(cfg, rows, &t->arena, &t->acts, err));
	FSI_TRY(train_pool_create(&t->host, &t->arena, t->options.threads, &t->pool, err));
	FSI_TRY(train_ctx_create(t->ops, t->pool, t->acts, rows, &t->arena, &t->ctx, err));
	t->ctx.err = err;
	t->max_steps = count_steps(t);
	t->best = (TrainBest) {INFINITY, 0, 0};
	if (cfg->layout == GPT2_PROMPT)
	{
		t->logits = fsi_arena_array(&t->arena, train_loss_scratch(cfg), sizeof(float));
		return t->logits == NULL ? fsi_nomem(err, train_loss_scratch(cfg) * sizeof(float)) : FSI_OK;
	}
	FSI_TRY(train_texts_list(t->data, &t->arena, &t->texts, err));
	if (!t->options.freeze)
		return FSI_OK;
	t->z = fsi_arena_array(&t->arena, (size_t) t->texts.n, (size_t) cfg->n_embd * sizeof(float));
	if (t->z == NULL)
		return fsi_nomem(err, (size_t) t->texts.n * (size_t) cfg->n_embd * sizeof(float));
	return train_segments_encode_all(t, err);
}

FsiStatus
train_create(const FsiHost *host, const KernOps *ops, const Gpt2Model *model, const TrainOptions *options,
			 const TrainData *data, Train **out, FsiError *err)
{
	FsiStatus	status;
	Train	   *t;

	FSI_TRY(check(model, options, data, err));
	t = host->alloc(host->ctx, sizeof(Train));
	if (t == NULL)
		return fsi_nomem(err, sizeof(Train));
	memset(t, 0, sizeof(*t));
	t->host = *host;
	t->ops = ops;
	t->options = *options;
	t->data = data;
	fsi_arena_init(&t->arena, &t->host);
	fsi_arena_init(&t->work, &t->host);
	fsi_arena_init(&t->kept.arena, &t->host);
	status = build(t, model, err);
	fsi_arena_free(&t->work);
	if (status != FSI_OK)
	{
		train_destroy(t);
		return status;
	}
	*out = t;
	return FSI_OK;
}

void
train_destroy(Train *t)
{
	FsiHost		host;

	if (t == NULL)
		return;
	host = t->host;
	train_pool_destroy(t->pool);
	fsi_arena_free(&t->work);
	fsi_arena_free(&t->kept.arena);
	fsi_arena_free(&t->arena);
	host.release(host.ctx, t);
}

/* ---------------------------------------------------------------- step */

TrainDrop
train_drop(const Train *t, bool training)
{
	if (!training)
		return (TrainDrop) {0, 0, 0};
	return (TrainDrop) {t->options.embd_pdrop, t->options.resid_pdrop, t->options.attn_pdrop};
}

static void
zero_chunk(void *arg, int task, int worker)
{
	TrainParams *p = arg;
	size_t		at = (size_t) task * ZERO_CHUNK,
				n = p->n_state - at < ZERO_CHUNK ? p->n_state - at : ZERO_CHUNK;

	(void) worker;
	memset(p->grads + at, 0, n * sizeof(float));
}

/* Zero gradients, the step's key for dropout, errors to err. */
static void
begin(Train *t, int64_t step, FsiError *err)
{
	t->ctx.err = err;
	t->ctx.first_row = 0;
	t->ctx.dropout_key = train_mix(train_mix(t->options.seed, TRAIN_PURPOSE_DROPOUT), (uint64_t) step);
	train_run_through(t->pool, (int) ((t->params.n_state + ZERO_CHUNK - 1) / ZERO_CHUNK), zero_chunk, &t->params);
}

/* Gradients of step number t->step. */
static FsiStatus
gradients(Train *t, TrainReport *report, FsiError *err)
{
	const TrainOptions *o = &t->options;
	int			n = o->per_device_train_batch_size * o->gradient_accumulation_steps;
	int		   *rows;

	begin(t, t->step, err);
	if (t->params.w.cfg.layout == GPT2_SEGMENTS)
	{
		report->epoch = (double) (t->step + 1) * n * o->queries / t->data->n_text;
		return train_segments_gradients(t, (uint64_t) (t->step * n), n, report, err);
	}
	report->epoch = (double) (t->step + 1) * n / t->data->n_row;
	rows = fsi_arena_array(&t->work, (size_t) n, sizeof(int));
	if (rows == NULL)
		return fsi_nomem(err, (size_t) n * sizeof(int));
	train_sample_rows(o, t->data->n_row, t->step, n, rows);
	return train_prompt_gradients(t, n, rows, report, err);
}

static FsiStatus
check_finite(const TrainReport *r, FsiError *err)
{
	if (isfinite(r->loss) && isfinite(r->grad_norm))
		return FSI_OK;
	fsi_fail(err, FSI_INVALID, "training diverged: the %s of step %lld is not a finite number",
			 isfinite(r->loss) ? "gradient" : "loss", (long long) r->step);
	fsi_hint(err, "Lower learning_rate, or warm up longer.");
	return FSI_INVALID;
}

static FsiStatus
step(Train *t, TrainReport *r, FsiError *err)
{
	FSI_TRY(gradients(t, r, err));
	FSI_TRY(train_grad_norm(t->pool, t->ops, &t->params, &t->work, &r->grad_norm, err));
	r->step = t->step + 1;
	r->max_steps = t->max_steps;
	r->learning_rate = train_learning_rate(&t->options, t->step, t->max_steps);
	FSI_TRY(check_finite(r, err));
	train_adamw(t->pool, t->ops, &t->options, &t->params, r->step, r->learning_rate,
				train_clip_factor(r->grad_norm, t->options.max_grad_norm));
	t->step++;
	return FSI_OK;
}

FsiStatus
train_check_whole(const Train *t, FsiError *err)
{
	return t->broken ? fsi_fail(err, FSI_INVALID, "the trainer's state was lost while a checkpoint was read") : FSI_OK;
}

FsiStatus
train_step(Train *t, TrainReport *report, FsiError *err)
{
	FsiStatus	status;

	FSI_TRY(train_check_whole(t, err));
	if (t->step >= t->max_steps)
		return fsi_fail(err, FSI_INVALID, "all %lld steps are done", (long long) t->max_steps);
	memset(report, 0, sizeof(*report));
	status = step(t, report, err);
	fsi_arena_free(&t->work);
	return status;
}

/* Segments: of spelling, a share of what model and options allow. */
static double
spelling_weight(const Train *t, double share)
{
	return share * fmin(t->scalars.spelling_weight, t->options.spelling_weight);
}

FsiStatus
train_evaluate(Train *t, const TrainData *data, TrainScores *scores, FsiError *err)
{
	FsiStatus	status;
	double		weight;

	FSI_TRY(train_check_whole(t, err));
	t->ctx.err = err;
	memset(scores, 0, sizeof(*scores));
	/* Before the first step it is the base that is judged, as it answers. */
	weight = t->step == 0 ? t->scalars.spelling_weight : spelling_weight(t, t->spelling_share);
	if (t->params.w.cfg.layout == GPT2_SEGMENTS)
		status = train_segments_evaluate(t, data, 1, &weight, scores, err);
	else
		status = train_prompt_evaluate(t, data, scores, err);
	fsi_arena_free(&t->work);
	return status;
}

int64_t
train_steps_done(const Train *t)
{
	return t->step;
}

int64_t
train_max_steps(const Train *t)
{
	return t->max_steps;
}

/* ---------------------------------------------------------------- the best so far */

bool
train_note_evaluation(Train *t, double eval_loss, TrainBest *best)
{
	bool		better = eval_loss < t->best.loss;

	if (better)
		t->best = (TrainBest) {eval_loss, t->step, 0};
	else
		t->best.worse++;
	if (best != NULL)
		*best = t->best;
	return better;
}

TrainBest
train_best(const Train *t)
{
	return t->best;
}

/* ---------------------------------------------------------------- the result's scale */

double
train_scale_factor(int i)
{
	return exp(4.0 * i / (TRAIN_SCALES - 1) - 2);
}

/* The least loss over all factors, and the number of the factor that has it. */
static double
likeliest(const TrainScores *scores, int *factor)
{
	double		least = INFINITY;

	for (int i = 0; i < TRAIN_SCALES; i++)
	{
		double		log_factor = log(train_scale_factor(i)),
					loss = scores->loss_at[i] + TRAIN_SCALE_PRIOR * log_factor * log_factor;

		if (loss < least)
		{
			least = loss;
			*factor = i;
		}
	}
	return least;
}

void
train_calibrate(Train *t, TrainScores *scores)
{
	int			factor = TRAIN_SCALES / 2;

	likeliest(scores, &factor);
	t->scale = train_scale_factor(factor);
	scores->loss = scores->loss_at[factor] / (double) scores->count;
	scores->accuracy = scores->exact = (double) scores->right_at[factor] / (double) scores->count;
}

/* ---------------------------------------------------------------- the result's spelling */

FsiStatus
train_weigh_spelling(Train *t, const TrainData *data, TrainScores *scores, FsiError *err)
{
	static const double shares[] = {1, 0.5, 0};
	enum {N_SHARE = sizeof(shares) / sizeof(shares[0])};
	double		weights[N_SHARE];
	TrainScores with[N_SHARE];
	FsiStatus	status;
	double		least = INFINITY;

	FSI_TRY(train_check_whole(t, err));
	t->ctx.err = err;
	for (int i = 0; i < N_SHARE; i++)
		weights[i] = spelling_weight(t, shares[i]);
	status = train_segments_evaluate(t, data, N_SHARE, weights, with, err);
	fsi_arena_free(&t->work);
	FSI_TRY(status);
	for (int i = 0; i < N_SHARE; i++)
	{
		int			factor;
		double		loss = likeliest(&with[i], &factor);

		if (i == 0 || loss < least)
		{
			least = loss;
			t->spelling_share = shares[i];
			*scores = with[i];
		}
	}
	return FSI_OK;
}

/* ---------------------------------------------------------------- weights and gradients */

const Gpt2Model *
train_model(Train *t)
{
	PointingScalars *s = &t->params.w.pointing;
	double	   *scaled[] = {&s->name_scale, &s->name_bias, &s->both_scale, &s->both_bias, &s->example_scale, &s->example_bias,
		&s->other_logit};

	if (t->params.w.cfg.layout == GPT2_SEGMENTS)
	{
		train_params_scalars(&t->params, &t->scalars, &t->options);
		s->spelling_weight = spelling_weight(t, t->spelling_share);
		for (size_t i = 0; i < sizeof(scaled) / sizeof(scaled[0]); i++)
			*scaled[i] *= t->scale;
	}
	return &t->params.w;
}

FsiStatus
train_export(Train *t, FsiArena *arena, Gpt2Model *out, FsiError *err)
{
	FSI_TRY(train_check_whole(t, err));
	train_model(t);
	return train_params_copy(&t->params, arena, out, err);
}

FsiStatus
train_gradients(Train *t, int n_row, const int *rows, double *loss, FsiError *err)
{
	TrainReport report = {0};
	FsiStatus	status;

	begin(t, t->step, err);
	status = train_prompt_gradients(t, n_row, rows, &report, err);
	fsi_arena_free(&t->work);
	*loss = report.loss;
	return status;
}

FsiStatus
train_episode_gradients(Train *t, int64_t number, double *loss, FsiError *err)
{
	TrainReport report = {0};
	FsiStatus	status;

	begin(t, number, err);
	status = train_segments_gradients(t, (uint64_t) number, 1, &report, err);
	fsi_arena_free(&t->work);
	*loss = report.loss;
	return status;
}

const float *
train_gradient(const Train *t, const char *name, size_t *n)
{
	for (int i = 0; i < t->params.n_tensor; i++)
		if (t->params.tensors[i].trained && strcmp(t->params.tensors[i].name, name) == 0)
		{
			*n = t->params.tensors[i].size;
			return t->params.grads + t->params.tensors[i].state;
		}
	return NULL;
}
