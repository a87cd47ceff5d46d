/*
 * test_train_gpt2.c
 *	  The whole model's loss and gradients against central differences of a forward pass in
 *	  double, its forward pass against serving's, batches cut into passes, threads.
 */
#include "train_help.h"

static const Gpt2Model *current;
static const TrainData *current_data;
static TrainOptions current_options;

/* The loss in double: mean over weighted tokens of all rows. */
static double
slow_loss(void)
{
	int			E = current->cfg.n_embd,
				V = current->cfg.n_vocab;
	double		sum = 0,
				weights = 0,
			   *hidden = calloc((size_t) current->cfg.n_positions * E, sizeof(double)),
			   *logits = calloc((size_t) V, sizeof(double));

	for (int r = 0; r < current_data->n_row; r++)
	{
		const TrainRow *row = &current_data->rows[r];
		int			n = (int) row->ids.n;

		slow_forward(current, n - 1, row->ids.ids, hidden);
		for (int i = 1; i < n; i++)
		{
			double		w = current_options.loss == TRAIN_LOSS_ALL || i >= row->n_prompt ? 1 :
				current_options.loss == TRAIN_LOSS_WEIGHTED ? current_options.prompt_loss_weight : 0;
			double		all = 0,
						max = -1e300;

			slow_linear(hidden + (i - 1) * E, &current->head, NULL, logits);
			for (int v = 0; v < V; v++)
				max = logits[v] > max ? logits[v] : max;
			for (int v = 0; v < V; v++)
				all += exp(logits[v] - max);
			sum += w * (log(all) + max - logits[row->ids.ids[i]]);
			weights += w;
		}
	}
	free(hidden), free(logits);
	return sum / weights;
}

/* Worst error of a tensor's gradient over a few elements, relative to its largest element. */
static double
tensor_error(const Train *t, const char *name)
{
	size_t		n = 0,
				n_grad = 0;
	float	   *weights = train_test_tensor(current, name, &n);
	const float *grad = train_gradient(t, name, &n_grad);
	double		worst = 0,
				scale = 1e-3;

	if (grad == NULL || weights == NULL || n != n_grad)
		return INFINITY;
	for (size_t i = 0; i < n; i++)
		scale = fabs((double) grad[i]) > scale ? fabs((double) grad[i]) : scale;
	for (int i = 0; i < 12; i++)
	{
		size_t		at = (size_t) test_below((int) n);
		double		error = fabs(train_test_slope(weights + at, slow_loss) - (double) grad[at]) / scale;

		worst = error > worst ? error : worst;
	}
	return worst;
}

static void
check_gradients(const char *what, TestShape shape, TrainLoss loss, int pass_tokens)
{
	Gpt2Model  *m = train_test_model(shape, false);
	TrainData	data = {.n_row = 5, .rows = train_test_rows(shape.n_vocab, 5, shape.n_positions)};
	int			all[5] = {0, 1, 2, 3, 4};
	double		got,
				want,
				worst = 0;
	Train	   *t;

	current = m;
	current_data = &data;
	current_options = train_test_options();
	current_options.loss = loss;
	current_options.pass_tokens = pass_tokens;
	t = train_test_create(m, &current_options, &data);
	must(train_gradients(t, 5, all, &got, &err));
	want = slow_loss();
	ok(fabs(got - want) < 2e-6 * (1 + want), "%s: loss %.6f, in double %.6f", what, got, want);
	for (int i = -5; i < 12 * shape.n_layer; i++)
	{
		static const char *const own[] = {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias", "lm_head.weight"};
		char		name[80];
		double		error;

		if (i == -1 && shape.tied)
			continue;
		if (i < 0)
			snprintf(name, sizeof(name), "%s", own[i + 5]);
		else
			snprintf(name, sizeof(name), "h.%d.%s", i / 12, train_test_layer_names[i % 12]);
		error = tensor_error(t, name);
		if (error > 1e-3)
			diag("%s: %.1e", name, error);
		worst = error > worst ? error : worst;
	}
	ok(worst < 1e-3, "%s: all tensors' gradients equal central differences (%.1e)", what, worst);
	train_destroy(t);
}

/* ln_f(h) of the trainer's forward pass is serving's: the loss of one token shows it. */
static void
check_forward(void)
{
	TestShape	shape = {3, 4, 64, 160, 90, 97, KERN_ACT_GELU_NEW, true, true, false};
	Gpt2Model  *m = train_test_model(shape, false);
	TrainData	data = {.n_row = 8, .rows = train_test_rows(97, 8, 90)};
	TrainOptions o = train_test_options();
	Train	   *t = train_test_create(m, &o, &data);
	Gpt2Work   *work;
	double		worst = 0;

	must(gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err));
	for (int r = 0; r < 8; r++)
	{
		const TrainRow *row = &data.rows[r];
		int			n = (int) row->ids.n;
		Gpt2Seq		seq = {.n_token = n - 1, .tokens = row->ids.ids};
		float	   *hidden = test_alloc(&arena, (size_t) n, 64 * sizeof(float)),
				   *logits = test_alloc(&arena, (size_t) n, 97 * sizeof(float));
		TrainData	one = {.n_row = 1, .rows = row};
		TrainScores scores;
		double		sum = 0;

		must(gpt2_forward(m, work, 1, &seq, GPT2_ALL, hidden, &err));
		must(gpt2_logits(m, work, n - 1, hidden, logits, &err));
		for (int i = 0; i < n - 1; i++)
		{
			double		all = 0;

			for (int v = 0; v < 97; v++)
				all += exp((double) logits[i * 97 + v]);
			sum += log(all) - (double) logits[i * 97 + row->ids.ids[i + 1]];
		}
		must(train_evaluate(t, &one, &scores, &err));
		worst = fmax(worst, fabs(scores.loss - sum / (n - 1)) / (1 + fabs(sum / (n - 1))));
	}
	ok(worst < 1e-5, "the forward pass is serving's: losses within %.1e", worst);
	gpt2_work_destroy(work);
	train_destroy(t);
}

/* Weights after a few steps with dropout: a hash of their bits. */
static uint64_t
bits_after(int threads, int pass_tokens, int steps)
{
	TestShape	shape = {2, 4, 48, 100, 60, 300, KERN_ACT_GELU_NEW, true, true, false};
	Gpt2Model  *m;
	TrainOptions o = train_test_options();
	TrainData	data;
	TrainReport report;
	Gpt2Model	out;
	uint64_t	hash;
	Train	   *t;

	test_random_state = 77;
	m = train_test_model(shape, false);
	data = (TrainData) {.n_row = 20, .rows = train_test_rows(300, 20, 60)};
	o.embd_pdrop = o.resid_pdrop = o.attn_pdrop = 0.1;
	o.threads = threads;
	o.pass_tokens = pass_tokens;
	o.per_device_train_batch_size = 6;
	o.learning_rate = 1e-3;
	t = train_test_create(m, &o, &data);
	for (int i = 0; i < steps; i++)
		must(train_step(t, &report, &err));
	must(train_export(t, &arena, &out, &err));
	hash = fsi_hash64(out.layers[1].fc.w, 48 * 100 * sizeof(float), fsi_hash64(out.wte.w, 300 * 48 * sizeof(float), 0));
	train_destroy(t);
	return hash;
}

/* ---- stopping ---- */

static void
check_cancel(void)
{
	TestShape	shape = {2, 4, 48, 100, 60, 300, KERN_ACT_GELU_NEW, true, true, false};
	Gpt2Model  *m = train_test_model(shape, false);
	TrainData	data = {.n_row = 20, .rows = train_test_rows(300, 20, 60)};
	TrainOptions o = train_test_options();
	FsiHost		host = fsi_host_malloc;
	TrainReport report;
	Gpt2Model	out;
	int			cancelled = 0;
	bool		same = true;
	Train	   *t;

	host.should_stop = stop_soon;
	polls_left = 1 << 30;
	o.threads = 2;
	must(train_create(&host, kern_ops(KERN_AUTO), m, &o, &data, &t, &err));
	for (int polls = 0; polls < 200; polls += 7)
	{
		polls_left = polls;
		cancelled += train_step(t, &report, &err) == FSI_CANCELLED;
		if (train_steps_done(t) > 0)
			break;
	}
	polls_left = 1 << 30;
	must(train_export(t, &arena, &out, &err));
	same = memcmp(out.layers[0].qkv.w, m->layers[0].qkv.w, 48 * 3 * 48 * sizeof(float)) == 0;
	ok(cancelled > 3 && (same || train_steps_done(t) == 1), "a step stops at %d places and leaves the weights", cancelled);
	train_destroy(t);
}

int
main(void)
{
	TestShape	plain = {2, 3, 24, 40, 20, 50, KERN_ACT_GELU_NEW, true, true, false},
				odd = {3, 2, 14, 33, 12, 31, KERN_ACT_GELU, false, true, true},
				bare = {1, 1, 20, 20, 70, 40, KERN_ACT_RELU, true, false, false};

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (!have_blas())
		return tap_done();
	check_gradients("gelu_new, tied", plain, TRAIN_LOSS_ALL, 2048);
	check_gradients("gelu, untied, scale by layer, odd sizes", odd, TRAIN_LOSS_RESPONSE, 2048);
	check_gradients("relu, no attention scale, two blocks of queries", bare, TRAIN_LOSS_WEIGHTED, 2048);
	check_gradients("one row a pass", plain, TRAIN_LOSS_WEIGHTED, 1);
	check_forward();
	ok(bits_after(1, 2048, 4) == bits_after(3, 2048, 4), "three threads give one thread's bits");
	ok(bits_after(1, 2048, 4) != bits_after(1, 2048, 5), "and a step more other bits");
	check_cancel();
	fsi_arena_free(&arena);
	return tap_done();
}
