/*
 * test_train_step.c
 *	  One step: gradients under dropout against differences of the same dropped loss, the update
 *	  against AdamW in double, what is clipped and decayed, batches cut by accumulation.
 */
#include "train_help.h"

static const TestShape shape = {2, 3, 24, 40, 20, 50, KERN_ACT_GELU_NEW, true, true, false};
static const int all[3] = {0, 1, 2};

enum { OWN = 4, TENSORS = OWN + 2 * 12 };

/* Name of tensor i of the model, "fsi.…" and lm_head aside. */
static const char *
tensor_name(int i, char *room, size_t size)
{
	static const char *const own[OWN] = {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"};

	if (i < OWN)
		return own[i];
	snprintf(room, size, "h.%d.%s", (i - OWN) / 12, train_test_layer_names[(i - OWN) % 12]);
	return room;
}

/* ---- dropout ---- */

/* Slope of the first step's loss along one weight: the same elements are dropped on both sides. */
static double
slope(const Gpt2Model *m, const TrainOptions *o, const TrainData *data, float *weight)
{
	float		old = *weight,
				at[2] = {old + 2e-3f, old - 2e-3f};
	double		loss[2];

	for (int i = 0; i < 2; i++)
	{
		Train	   *t;

		*weight = at[i];
		t = train_test_create(m, o, data);
		must(train_gradients(t, 3, all, &loss[i], &err));
		train_destroy(t);
	}
	*weight = old;
	return (loss[0] - loss[1]) / ((double) at[0] - (double) at[1]);
}

static void
check_dropout(const char *what, double embd, double resid, double attn)
{
	Gpt2Model  *m = train_test_model(shape, false);
	TrainData	data = {.n_row = 3, .rows = train_test_rows(50, 3, 20)};
	TrainOptions o = train_test_options();
	double		plain,
				loss,
				worst = 0;
	Train	   *t = train_test_create(m, &o, &data);

	must(train_gradients(t, 3, all, &plain, &err));
	train_destroy(t);
	o.embd_pdrop = embd;
	o.resid_pdrop = resid;
	o.attn_pdrop = attn;
	t = train_test_create(m, &o, &data);
	must(train_gradients(t, 3, all, &loss, &err));
	for (int i = 0; i < TENSORS; i++)
	{
		char		room[80];
		const char *name = tensor_name(i, room, sizeof(room));
		size_t		n = 0,
					at = 0;
		float	   *weights = train_test_tensor(m, name, &n);
		const float *grad = train_gradient(t, name, &n);

		for (size_t j = 0; j < n; j++)
			at = fabsf(grad[j]) > fabsf(grad[at]) ? j : at;
		worst = fmax(worst, fabs(slope(m, &o, &data, weights + at) / (double) grad[at] - 1));
	}
	ok(loss != plain && worst < 0.02, "%s: gradients are the dropped loss's (%.1e)", what, worst);
	train_destroy(t);
}

/* ---- the update ---- */

/* AdamW in double over copies of all tensors. */
typedef struct Slow
{
	size_t		n;
	double	   *w,
			   *m,
			   *v,
			   *g;
	bool		decays;
} Slow;

static void
slow_update(Slow *s, int t, double rate, double decay, double scale)
{
	for (size_t i = 0; i < s->n; i++)
	{
		double		g = s->g[i] * scale;

		s->m[i] = 0.9 * s->m[i] + 0.1 * g;
		s->v[i] = 0.999 * s->v[i] + 0.001 * g * g;
		s->w[i] -= rate * (s->decays ? decay : 0) * s->w[i];
		s->w[i] -= rate * s->m[i] / (1 - pow(0.9, t)) / (sqrt(s->v[i] / (1 - pow(0.999, t))) + 1e-8);
	}
}

/* Gradients of the rows that the next step takes; their norm. */
static double
slow_gradients(Train *t, Slow *slow)
{
	double		loss,
				sum = 0;

	must(train_gradients(t, 3, all, &loss, &err));
	for (int i = 0; i < TENSORS; i++)
	{
		char		room[80];
		size_t		n = 0;
		const float *grad = train_gradient(t, tensor_name(i, room, sizeof(room)), &n);

		for (size_t j = 0; j < n; j++)
		{
			slow[i].g[j] = (double) grad[j];
			sum += slow[i].g[j] * slow[i].g[j];
		}
	}
	return sqrt(sum);
}

static void
check_update(double max_grad_norm)
{
	enum { STEPS = 3 };
	const double rate = 1e-2,
				decay = 0.3;
	Gpt2Model  *m = train_test_model(shape, false);
	TrainData	data = {.n_row = 3, .rows = train_test_rows(50, 3, 20)};
	TrainOptions o = train_test_options();
	Slow		slow[TENSORS];
	double		worst = 0;
	bool		norms = true;
	Train	   *t;

	o.learning_rate = rate;
	o.lr_scheduler_type = TRAIN_CONSTANT;
	o.weight_decay = decay;
	o.max_grad_norm = max_grad_norm;
	t = train_test_create(m, &o, &data);
	for (int i = 0; i < TENSORS; i++)
	{
		char		room[80];
		const char *name = tensor_name(i, room, sizeof(room));
		float	   *w = train_test_tensor(m, name, &slow[i].n);

		slow[i].w = test_alloc(&arena, 4 * slow[i].n, sizeof(double));
		memset(slow[i].w, 0, 4 * slow[i].n * sizeof(double));
		slow[i].m = slow[i].w + slow[i].n;
		slow[i].v = slow[i].m + slow[i].n;
		slow[i].g = slow[i].v + slow[i].n;
		slow[i].decays = strstr(name, ".bias") == NULL && strstr(name, "ln_") == NULL;
		for (size_t j = 0; j < slow[i].n; j++)
			slow[i].w[j] = (double) w[j];
	}
	for (int step = 1; step <= STEPS; step++)
	{
		double		norm = slow_gradients(t, slow);
		TrainReport report;

		must(train_step(t, &report, &err));
		norms &= fabs(report.grad_norm / norm - 1) < 1e-5;
		for (int i = 0; i < TENSORS; i++)
			slow_update(&slow[i], step, rate, decay, max_grad_norm > 0 && norm > max_grad_norm ? max_grad_norm / norm : 1);
	}
	for (int i = 0; i < TENSORS; i++)
	{
		char		room[80];
		size_t		n = 0;
		float	   *w = train_test_tensor(train_model(t), tensor_name(i, room, sizeof(room)), &n);

		for (size_t j = 0; j < n; j++)
			if (slow[i].g[j] * slow[i].g[j] > 1e-10)	/* below, epsilon and rounding have their say */
				worst = fmax(worst, fabs(slow[i].w[j] - (double) w[j]) / rate);
	}
	ok(norms && worst < 2e-3, "max_grad_norm %g: %d updates are AdamW's in double (%.1e of the rate)", max_grad_norm, STEPS,
	   worst);
	train_destroy(t);
}

/* ---- accumulation ---- */

static uint64_t
bits_of(int batch, int accumulation)
{
	TrainOptions o = train_test_options();
	TrainReport report;
	TrainData	data;
	uint64_t	hash;
	Gpt2Model  *m;
	Train	   *t;

	test_random_state = 5;
	m = train_test_model(shape, false);
	data = (TrainData) {.n_row = 10, .rows = train_test_rows(50, 10, 20)};
	o.learning_rate = 1e-3;
	o.per_device_train_batch_size = batch;
	o.gradient_accumulation_steps = accumulation;
	t = train_test_create(m, &o, &data);
	for (int i = 0; i < 3; i++)
		must(train_step(t, &report, &err));
	hash = fsi_hash64(train_model(t)->wte.w, 50 * 24 * sizeof(float), 0);
	train_destroy(t);
	return hash;
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	if (!have_blas())
		return tap_done();
	check_dropout("embeddings", 0.3, 0, 0);
	check_dropout("branches", 0, 0.3, 0);
	check_dropout("attention", 0, 0, 0.3);
	check_update(0);
	check_update(0.1);
	ok(bits_of(6, 1) == bits_of(2, 3) && bits_of(6, 1) != bits_of(2, 1), "accumulated batches are one batch");
	fsi_arena_free(&arena);
	return tap_done();
}
