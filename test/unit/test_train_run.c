/*
 * test_train_run.c
 *	  Training runs: a tiny set is learned, a resumed run has an uninterrupted one's bits, a
 *	  damaged or half-written checkpoint harms nothing; segments: gradients, learning, freeze;
 *	  where OpenBLAS would be refused memory it is not asked.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "train_help.h"

static const TestShape shape = {2, 4, 32, 64, 24, 60, KERN_ACT_GELU_NEW, true, true, false};
static char path[256];

static void
steps(Train *t, int n)
{
	TrainReport report;

	while (n-- > 0)
		must(train_step(t, &report, &err));
}

static uint64_t
bits(Train *t)
{
	Gpt2Model	m;

	must(train_export(t, &arena, &m, &err));
	return fsi_hash64(m.layers[1].fc.w, 32 * 64 * sizeof(float), fsi_hash64(m.wte.w, 60 * 32 * sizeof(float), 0));
}

/* Bytes of address space that this process has. */
static size_t
address_space(void)
{
	FILE	   *f = fopen("/proc/self/statm", "r");
	size_t		pages = 0;

	if (f != NULL && fscanf(f, "%zu", &pages) != 1)
		pages = 0;
	if (f != NULL)
		fclose(f);
	return pages * (size_t) sysconf(_SC_PAGESIZE);
}

/* In a process of its own: OpenBLAS that is refused a thread's buffer asks for ever. */
static void
test_refused_buffers(void)
{
	TrainData	data = {.n_row = 6, .rows = train_test_rows(60, 6, 20)};
	TrainOptions o = train_test_options();
	Gpt2Model  *m = train_test_model(shape, false);
	struct rlimit limit = {address_space() + 100 * 1024 * 1024, RLIM_INFINITY};
	int			status = 0;
	pid_t		child;

	o.threads = 3;
	o.max_steps = 1;
	fflush(stdout);
	child = fork();
	if (child == 0)
	{
		Train	   *t;
		FsiStatus	made;

		alarm(30);
		setrlimit(RLIMIT_AS, &limit);
		made = train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), m, &o, &data, &t, &err);
		if (made == FSI_OK)
			(void) train_step(t, &(TrainReport) {0}, &err);
		_exit(made == FSI_NOMEM ? 0 : 1);
	}
	ok(child > 0 && waitpid(child, &status, 0) == child && status == 0, "threads that have no room for their products: no memory");
}

static void
test_overfit(void)
{
	TrainData	data = {.n_row = 6, .rows = train_test_rows(60, 6, 20)};
	TrainOptions o = train_test_options();
	TrainScores before,
				after;
	Train	   *t;

	o.learning_rate = 3e-3;
	o.max_steps = 150;
	o.per_device_train_batch_size = 6;
	t = train_test_create(train_test_model(shape, false), &o, &data);
	must(train_evaluate(t, &data, &before, &err));
	steps(t, 150);
	must(train_evaluate(t, &data, &after, &err));
	ok(after.loss < 0.1 && before.loss > 2 && after.accuracy > 0.98, "six rows are learned: loss %.2f, then %.3f",
	   before.loss, after.loss);
	ok(train_step(t, &(TrainReport) {0}, &err) == FSI_INVALID, "no step past max_steps");
	train_destroy(t);
}

static void
test_checkpoint(void)
{
	Gpt2Model  *m = train_test_model(shape, false);
	TrainData	data = {.n_row = 10, .rows = train_test_rows(60, 10, 20)};
	TrainOptions o = train_defaults;
	struct rlimit old,
				tight;
	uint64_t	straight,
				kept;
	Train	   *t,
			   *again;
	FILE	   *f;

	o.max_steps = 20;
	o.learning_rate = 1e-3;
	t = train_test_create(m, &o, &data);
	steps(t, 4);
	must(train_save(t, path, &err));
	kept = bits(t);
	steps(t, 3);
	straight = bits(t);

	again = train_test_create(m, &o, &data);
	must(train_load(again, path, &err));
	ok(train_steps_done(again) == 4 && bits(again) == kept, "a checkpoint brings step and weights back");
	steps(again, 3);
	ok(bits(again) == straight, "resumed, the bits are an uninterrupted run's");

	getrlimit(RLIMIT_FSIZE, &old);
	tight = (struct rlimit) {1000, old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &tight);
	ok(train_save(t, path, &err) == FSI_IO, "a full disk is an error: %s", err.message);
	setrlimit(RLIMIT_FSIZE, &old);
	must(train_load(again, path, &err));
	ok(bits(again) == kept, "and leaves the old checkpoint good");

	f = fopen(path, "r+b");
	fseek(f, 5000, SEEK_SET);
	fputc(fgetc(f) ^ 1, f);
	fclose(f);
	steps(again, 1);
	kept = bits(again);
	ok(train_load(again, path, &err) == FSI_CORRUPT && bits(again) == kept && train_steps_done(again) == 5,
	   "a damaged one is refused and changes nothing: %s", err.message);
	if (truncate(path, 3000) == 0)
		ok(train_load(again, path, &err) == FSI_CORRUPT && bits(again) == kept, "so is a torn one: %s", err.message);
	ok(train_load(again, "/nonexistent", &err) == FSI_MISSING, "a missing one is missing");
	train_destroy(t);
	train_destroy(again);
	unlink(path);
}

/* A load that is cancelled before the weights change leaves them; later the trainer says that they are lost. */
static void
test_cancelled_load(void)
{
	TrainData	data = {.n_row = 10, .rows = train_test_rows(60, 10, 20)};
	TrainOptions o = train_test_options();
	FsiHost		host = fsi_host_malloc;
	Gpt2Model	out;
	TrainScores scores;
	uint64_t	kept;
	FsiStatus	status;
	int			unchanged = 0,
				lost = 0,
				wrong = 0;
	Train	   *t;

	host.should_stop = stop_soon;
	polls_left = INT32_MAX;
	must(train_create(&host, kern_ops(KERN_AUTO), train_test_model(shape, false), &o, &data, &t, &err));
	steps(t, 2);
	must(train_save(t, path, &err));
	steps(t, 1);
	kept = bits(t);
	for (int polls = 0;; polls++)
	{
		polls_left = polls;
		status = train_load(t, path, &err);
		polls_left = INT32_MAX;
		if (status != FSI_CANCELLED)
			break;
		if (train_export(t, &arena, &out, &err) == FSI_OK)
		{
			unchanged++;
			wrong += bits(t) != kept || train_steps_done(t) != 3;
			continue;
		}
		lost++;
		wrong += train_save(t, path, &err) != FSI_INVALID || train_step(t, &(TrainReport) {0}, &err) != FSI_INVALID ||
			train_evaluate(t, &data, &scores, &err) != FSI_INVALID;
	}
	ok(status == FSI_OK && unchanged > 0 && lost > 0 && wrong == 0 && train_steps_done(t) == 2,
	   "a cancelled load changes nothing (%d places) or says that the state is lost (%d), until one succeeds", unchanged, lost);
	train_destroy(t);
	unlink(path);
}

/* Building a trainer and copying its weights ask whether to stop within each megabyte and between tensors. */
static void
test_cancelled_create(void)
{
	TestShape	wide = {1, 2, 64, 128, 16, 20000, KERN_ACT_GELU_NEW, true, true, false};
	TrainData	data = {.n_row = 10, .rows = train_test_rows(60, 10, 16)};
	TrainOptions o = train_test_options();
	const Gpt2Model *m = train_test_model(wide, false);
	size_t		mb = (size_t) wide.n_vocab * (size_t) wide.n_embd * sizeof(float) >> 20;
	FsiHost		host = fsi_host_malloc;
	FsiArena	copy;
	Gpt2Model	out;
	int			places = 0;
	FsiStatus	status;
	Train	   *t;

	host.should_stop = stop_soon;
	for (;; places++)
	{
		polls_left = places;
		status = train_create(&host, kern_ops(KERN_AUTO), m, &o, &data, &t, &err);
		if (status != FSI_CANCELLED)
			break;
	}
	ok(status == FSI_OK && places > (int) (5 * mb + 12), "the making of a trainer is cancelled in %d places", places);
	fsi_arena_init(&copy, &host);
	for (places = 0;; places++)
	{
		polls_left = places;
		status = train_export(t, &copy, &out, &err);
		fsi_arena_free(&copy);
		if (status != FSI_CANCELLED)
			break;
	}
	ok(status == FSI_OK && places >= (int) mb, "so is the copying of its weights, in %d", places);
	train_destroy(t);
}

/* A whole checkpoint with a true hash that counts below zero, which no trainer writes. */
static void
test_forged_step(void)
{
	enum { STEP_AT = 48 };		/* train_checkpoint.c: magic, version, byte order, 32 bytes of hash */
	TrainData	data = {.n_row = 10, .rows = train_test_rows(60, 10, 20)};
	TrainOptions o = train_test_options();
	Train	   *t = train_test_create(train_test_model(shape, false), &o, &data);
	int64_t		step = 0;
	uint8_t    *bytes;
	long		n;
	FsiSha256	sha;
	FILE	   *f;

	steps(t, 1);
	must(train_save(t, path, &err));
	f = fopen(path, "r+b");
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	bytes = test_alloc(&arena, (size_t) n, 1);
	rewind(f);
	if (fread(bytes, 1, (size_t) n, f) == (size_t) n)
		memcpy(&step, bytes + STEP_AT, sizeof(step));
	ok(step == 1, "(the step's place in the header)");
	step = -1;
	memcpy(bytes + STEP_AT, &step, sizeof(step));
	fsi_sha256_init(&sha);
	fsi_sha256_update(&sha, bytes, (size_t) n - FSI_SHA256_BYTES);
	fsi_sha256_final(&sha, bytes + n - FSI_SHA256_BYTES);
	rewind(f);
	fwrite(bytes, 1, (size_t) n, f);
	fclose(f);
	ok(train_load(t, path, &err) == FSI_CORRUPT && train_steps_done(t) == 1, "a negative step is refused: %s", err.message);
	train_destroy(t);
	unlink(path);
}

/* No token is the first choice of a model whose logits are no numbers. */
static void
test_not_a_number(void)
{
	TrainData	data = {.n_row = 4, .rows = train_test_rows(60, 4, 20)};
	TrainOptions o = train_test_options();
	Gpt2Model  *m = train_test_model(shape, false);
	TrainScores scores;
	Train	   *t;

	((float *) m->lnf_bias)[3] = NAN;
	t = train_test_create(m, &o, &data);
	must(train_evaluate(t, &data, &scores, &err));
	ok(isnan(scores.loss) && scores.accuracy == 0 && scores.exact == 0, "a broken model answers nothing right");
	ok(train_step(t, &(TrainReport) {0}, &err) == FSI_INVALID && strstr(err.message, "diverged") != NULL,
	   "nor is it trained: %s", err.message);
	train_destroy(t);
}

/* Right is who knows the response, whether or not the loss counts the prompt too. */
static void
test_exact(void)
{
	static const TrainLoss losses[] = {TRAIN_LOSS_RESPONSE, TRAIN_LOSS_WEIGHTED, TRAIN_LOSS_ALL};
	TrainData	data = {.n_row = 4, .rows = train_test_rows(60, 4, 20)};
	TrainOptions o = train_test_options();
	Gpt2Model  *m = train_test_model(shape, false);
	Gpt2Model	out;
	TrainScores scores[3];
	Train	   *t;

	o.loss = TRAIN_LOSS_RESPONSE;
	o.learning_rate = 1e-2;
	o.max_steps = 60;
	t = train_test_create(m, &o, &data);
	steps(t, (int) o.max_steps);
	must(train_export(t, &arena, &out, &err));
	train_destroy(t);
	for (int i = 0; i < 3; i++)
	{
		o.loss = losses[i];
		t = train_test_create(&out, &o, &data);
		must(train_evaluate(t, &data, &scores[i], &err));
		train_destroy(t);
	}
	ok(scores[0].exact == 1 && scores[1].exact == 1 && scores[2].exact == 1 && scores[2].accuracy < 1,
	   "a response is right whatever the loss makes of its prompt: %.2f %.2f %.2f", scores[0].exact, scores[1].exact,
	   scores[2].exact);
}

/* ---- segments ---- */

static TrainData
segments_data(int n_intent, int each)
{
	TrainIntent *intents = test_alloc(&arena, (size_t) n_intent, sizeof(TrainIntent));
	TrainText  *texts = test_alloc(&arena, (size_t) (n_intent * each), sizeof(TrainText));

	for (int i = 0; i < n_intent; i++)
	{
		TokIds	   *names = test_alloc(&arena, 2, sizeof(TokIds)),
				   *description = test_alloc(&arena, 1, sizeof(TokIds));

		names[0] = train_test_ids(60, 2);
		names[1] = train_test_ids(60, 3);
		description[0] = train_test_ids(60, 5);
		intents[i] = (TrainIntent) {.n_name = 2, .names = names, .n_description = 1, .descriptions = description};
		for (int j = 0; j < each; j++)
			texts[i * each + j] = (TrainText) {.ids = train_test_ids(60, 3 + test_below(6)), .intent = i};
	}
	return (TrainData) {.n_intent = n_intent, .intents = intents, .n_text = n_intent * each, .texts = texts};
}

static double
segments_slope(const Gpt2Model *m, const TrainOptions *o, const TrainData *data, float *weight, int episode)
{
	double		loss[2];
	float		old = *weight,
				at[2] = {old + 2e-3f, old - 2e-3f};

	for (int i = 0; i < 2; i++)
	{
		Train	   *t;

		*weight = at[i];
		t = train_test_create(m, o, data);
		must(train_episode_gradients(t, episode, &loss[i], &err));
		train_destroy(t);
	}
	*weight = old;
	return (loss[0] - loss[1]) / ((double) at[0] - (double) at[1]);
}

static void
test_segments_gradients(int pass_tokens)
{
	static const char *const names[] = {"wte.weight", "ln_f.weight", "fsi.readout.q", "fsi.readout.k",
	"h.0.attn.c_attn.weight", "h.1.mlp.c_fc.bias"};
	Gpt2Model  *m = train_test_model(shape, true);
	TrainData	data = segments_data(5, 4);
	TrainOptions o = train_test_options();
	double		worst = 0,
				loss;

	o.hidden_names = o.described = o.missing = 0.5;
	o.learn_scalars = true;
	o.pass_tokens = pass_tokens;
	for (int episode = 0; episode < 4; episode++)
	{
		Train	   *t = train_test_create(m, &o, &data);

		must(train_episode_gradients(t, episode, &loss, &err));
		for (int i = 0; i < 6; i++)
		{
			size_t		n = 0,
						n_grad = 0,
						at = 0;
			float	   *weights = train_test_tensor(m, names[i], &n);
			const float *grad = train_gradient(t, names[i], &n_grad);

			for (size_t j = 0; j < n; j++)
				at = fabsf(grad[j]) > fabsf(grad[at]) ? j : at;
			worst = fmax(worst, fabs(segments_slope(m, &o, &data, weights + at, episode) / (double) grad[at] - 1));
		}
		train_destroy(t);
	}
	ok(worst < 0.02, "segments, passes of %d: gradients equal central differences of the loss (%.1e)", pass_tokens,
	   worst);
}

/* The result's readout keeps within the options' bounds, and is the base's where it does already. */
static void
test_result_scalars(void)
{
	TrainData	data = segments_data(5, 4);
	TrainOptions o = train_test_options();
	Gpt2Model  *m = train_test_model(shape, true);
	PointingScalars base;

	m->pointing.spelling_weight = 1;
	m->pointing.name_share = 0.5;
	m->pointing.discriminant_share = 1;
	m->pointing.discriminant_ridge = 0.1;
	base = m->pointing;
	for (int i = 0; i < 3; i++)
	{
		PointingScalars expected = base,
					got;
		Train	   *t;

		o.spelling_weight = i == 0 ? 100 : i == 1 ? 0.5 : 2;
		o.name_share = i == 0 ? 0 : i == 1 ? 0.85 : 0.25;
		o.discriminant_share = i == 0 ? 100 : i == 1 ? 0.25 : 3;
		if (i == 1)
		{
			expected.spelling_weight = 0.5;
			expected.name_share = 0.85;
			expected.discriminant_share = 0.25;
			expected.both_scale = 0.83 * base.name_scale;
		}
		t = train_test_create(m, &o, &data);
		got = train_model(t)->pointing;
		ok(memcmp(&got, &expected, sizeof(got)) == 0, "the result's scalars: %s",
		   i == 0 ? "no bounds" : i == 1 ? "bounds that count" : "bounds that the base keeps");
		train_destroy(t);
	}
}

/* Passes that go forward a second time drop what they dropped the first time. */
static void
test_segments_passes(void)
{
	TrainData	data = segments_data(5, 4);
	TrainOptions o = train_test_options();
	Gpt2Model  *m = train_test_model(shape, true);
	Train	   *t[2];
	const float *grad[2];
	size_t		n = 0;
	double		loss[2],
				largest = 0,
				worst = 0;

	o.embd_pdrop = o.resid_pdrop = o.attn_pdrop = 0.3;
	for (int i = 0; i < 2; i++)
	{
		o.pass_tokens = i == 0 ? 2048 : 30;
		t[i] = train_test_create(m, &o, &data);
		must(train_episode_gradients(t[i], 1, &loss[i], &err));
		grad[i] = train_gradient(t[i], "h.0.attn.c_attn.weight", &n);
	}
	for (size_t j = 0; j < n; j++)
	{
		largest = fmax(largest, fabs((double) grad[0][j]));
		worst = fmax(worst, fabs((double) grad[0][j] - (double) grad[1][j]));
	}
	ok(fabs(loss[0] - loss[1]) < 1e-5 && largest > 0 && worst < 1e-3 * largest,
	   "segments under dropout: passes of 30 give the gradients of one pass (%.1e)", worst / largest);
	train_destroy(t[0]);
	train_destroy(t[1]);
}

static void
test_segments_learn(bool freeze)
{
	Gpt2Model  *m = train_test_model(shape, true);
	TrainData	data = segments_data(4, 4);
	TrainOptions o = train_test_options();
	TrainScores before,
				after;
	Gpt2Model	out;
	size_t		n;
	Train	   *t;

	o.learning_rate = freeze ? 2e-2 : 2e-3;
	o.max_steps = freeze ? 250 : 60;
	o.freeze = freeze;
	o.weight_decay = 0.01;
	o.missing = 0;
	t = train_test_create(m, &o, &data);
	ok((train_gradient(t, "wte.weight", &n) == NULL) == freeze && train_gradient(t, "fsi.readout.k", &n) != NULL,
	   "the readout is trained, the body %s", freeze ? "is not" : "too");
	must(train_evaluate(t, &data, &before, &err));
	steps(t, (int) o.max_steps);
	must(train_evaluate(t, &data, &after, &err));
	ok(after.loss < 0.6 * before.loss, "segments%s: loss %.2f, then %.2f; accuracy %.2f", freeze ? ", frozen body" : "",
	   before.loss, after.loss, after.accuracy);
	must(train_export(t, &arena, &out, &err));
	ok((memcmp(out.wte.w, m->wte.w, 60 * 32 * sizeof(float)) == 0) == freeze, "the body %s",
	   freeze ? "stays" : "learns too");
	must(train_save(t, path, &err));
	train_destroy(t);
	o.freeze = !freeze;
	t = train_test_create(m, &o, &data);
	ok(train_load(t, path, &err) == FSI_INVALID, "%s", err.message);
	train_destroy(t);
	unlink(path);
}

/* ---- a frozen body: what is evaluated again does not go through it again, and gets the same figures ---- */

static int	normed;				/* rows of layer norms */

static void
counting_norm(int m, int k, const float *x, int ldx, const float *gain, const float *bias, float eps, float *y, int ldy)
{
	normed += m;
	kern_ops(KERN_AUTO)->layer_norm(m, k, x, ldx, gain, bias, eps, y, ldy);
}

static TrainScores
evaluated(Train *t, const TrainData *data, int *rows)
{
	TrainScores scores;

	normed = 0;
	must(train_evaluate(t, data, &scores, &err));
	*rows = normed;
	return scores;
}

static bool
same_scores(const TrainScores *a, const TrainScores *b)
{
	return a->loss == b->loss && a->accuracy == b->accuracy && memcmp(a->loss_at, b->loss_at, sizeof(a->loss_at)) == 0;
}

static void
test_evaluated_again(void)
{
	const Gpt2Model *m = train_test_model(shape, true);
	TrainData	data = segments_data(4, 4),
				one = segments_data(4, 4),
				other = one;
	TrainText  *texts = test_alloc(&arena, (size_t) one.n_text, sizeof(TrainText));
	TrainOptions o = train_test_options();
	KernOps		ops = *kern_ops(KERN_AUTO);
	FsiHost		host = fsi_host_malloc;
	TrainScores first,
				scores,
				alone;
	int			rows,
				all,
				wrong = 0,
				places = 0;
	Train	   *t,
			   *fresh;

	/* as many texts, one of which is another */
	memcpy(texts, one.texts, (size_t) one.n_text * sizeof(TrainText));
	texts[7].ids = train_test_ids(60, (int) texts[7].ids.n);
	other.texts = texts;
	ops.layer_norm = counting_norm;
	host.should_stop = stop_soon;
	polls_left = INT32_MAX;
	o.freeze = true;
	must(train_create(&host, &ops, m, &o, &data, &t, &err));
	first = evaluated(t, &one, &all);
	scores = evaluated(t, &one, &rows);
	ok(all > 0 && rows == 0 && same_scores(&scores, &first), "frozen: texts that were evaluated are not encoded again");
	steps(t, 3);
	scores = evaluated(t, &one, &rows);
	ok(rows == 0 && scores.loss != first.loss, "... after some steps");
	scores = evaluated(t, &other, &rows);
	fresh = train_test_create(m, &o, &data);
	steps(fresh, 3);
	must(train_evaluate(fresh, &other, &alone, &err));
	ok(rows == all && same_scores(&scores, &alone), "... others are");
	for (FsiStatus status = FSI_CANCELLED; status == FSI_CANCELLED; places++)
	{
		must(train_evaluate(t, &one, &scores, &err));
		polls_left = places;
		status = train_evaluate(t, &other, &scores, &err);
		polls_left = INT32_MAX;
		must(train_evaluate(t, &other, &scores, &err));
		wrong += !same_scores(&scores, &alone);
	}
	ok(places > 2 && wrong == 0, "... and where that was cancelled, in %d places", places);
	train_destroy(t);
	train_destroy(fresh);
	o.freeze = false;
	must(train_create(&host, &ops, m, &o, &data, &t, &err));
	(void) evaluated(t, &one, &all);
	(void) evaluated(t, &one, &rows);
	ok(rows == all, "a body that learns: all are, each time");
	train_destroy(t);
}

/* The result's logits get the factor that makes the scores likeliest: a model that has it already gives that loss. */
static void
test_calibration(bool others)
{
	Gpt2Model  *m = train_test_model(shape, true);
	Gpt2Model	out;
	TrainData	data = segments_data(4, 4);
	TrainOptions o = train_test_options();
	TrainScores scores,
				first,
				again;
	Train	   *t;
	int			best = 0;
	double		prior[TRAIN_SCALES];

	for (int i = 0; i < 3 && others; i++)
		((TrainText *) data.texts)[i].intent = TRAIN_OTHER;
	m->pointing.name_bias = 0.25;
	m->pointing.other_share = 0.5;
	m->pointing.other_logit = 0.5;
	o.learning_rate = 2e-2;
	o.max_steps = 60;
	o.freeze = true;
	t = train_test_create(m, &o, &data);
	steps(t, (int) o.max_steps);
	must(train_evaluate(t, &data, &scores, &err));
	for (int i = 0; i < TRAIN_SCALES; i++)
	{
		prior[i] = scores.loss_at[i] + TRAIN_SCALE_PRIOR * pow(log(train_scale_factor(i)), 2);
		best = prior[i] < prior[best] ? i : best;
	}
	ok(fabs(scores.loss_at[TRAIN_SCALES / 2] / (scores.loss * (double) scores.count) - 1) < 1e-6,
	   "the loss is that of the factor 1");
	first = scores;
	train_calibrate(t, &scores);
	must(train_export(t, &arena, &out, &err));
	ok(train_scale_factor(TRAIN_SCALES / 2) == 1 && best != TRAIN_SCALES / 2 && best > 0 && best < TRAIN_SCALES - 1,
	   "the likeliest factor is %.2f", train_scale_factor(best));
	ok(fabs(out.pointing.name_scale / m->pointing.name_scale - train_scale_factor(best)) < 1e-12 &&
	   fabs(out.pointing.both_scale / m->pointing.both_scale - train_scale_factor(best)) < 1e-12 &&
	   fabs(out.pointing.example_scale / m->pointing.example_scale - train_scale_factor(best)) < 1e-12 &&
	   fabs(out.pointing.name_bias / 0.25 - train_scale_factor(best)) < 1e-6 &&
	   fabs(out.pointing.other_logit / 0.5 - train_scale_factor(best)) < 1e-6, "all logits get it");
	train_destroy(t);

	t = train_test_create(&out, &o, &data);
	must(train_evaluate(t, &data, &again, &err));
	ok(fabs(again.loss / scores.loss - 1) < 1e-5 && again.exact == scores.exact,
	   "a model that has it has the loss and the accuracy that were foretold (%.4f, %.4f and %.2f, %.2f; at first %.4f and %.2f)",
	   again.loss, scores.loss, again.exact, scores.exact, first.loss, first.exact);
	train_destroy(t);
}

/* Every intent's name is one n-gram, a message that of its own name or, misled of them, of the next one's. */
static TrainData
spelled_data(int misled)
{
	static const float one = 1;
	TrainData	data = segments_data(4, 5);
	TrainIntent *intents = (TrainIntent *) data.intents;
	TrainText  *texts = (TrainText *) data.texts;
	SpellVec   *gram = test_alloc(&arena, 4, sizeof(SpellVec));

	for (int i = 0; i < 4; i++)
	{
		uint32_t   *bucket = test_alloc(&arena, 1, sizeof(uint32_t));

		*bucket = 7 + (uint32_t) i;
		gram[i] = (SpellVec) {.bucket = bucket, .weight = (float *) &one, .n = 1};
		intents[i].name_spell = &gram[i];
	}
	for (int i = 0; i < data.n_text; i++)
		texts[i].spell = gram[(texts[i].intent + (i * 7 % data.n_text < misled)) % 4];
	return data;
}

/* All, half or none of the spelling weight: what has the least loss at its best factor, as a training told to has it. */
static void
test_spelling_choice(int misled, double expected)
{
	Gpt2Model  *m = train_test_model(shape, true);
	Gpt2Model	out;
	TrainData	data = spelled_data(misled);
	TrainOptions o = train_test_options();
	TrainScores scores[3],
				first[3],
				chosen;
	Train	   *t;
	double		least[3] = {INFINITY, INFINITY, INFINITY};
	int			best = 0;

	m->pointing.spelling_weight = 3;
	o.learning_rate = 2e-2;
	o.max_steps = 60;
	o.freeze = true;
	for (int i = 0; i < 3; i++)
	{
		o.spelling_weight = 2.0 * (1 - 0.5 * i);
		t = train_test_create(m, &o, &data);
		steps(t, (int) o.max_steps);
		must(train_evaluate(t, &data, &scores[i], &err));
		for (int j = 0; j < TRAIN_SCALES; j++)
			least[i] = fmin(least[i], scores[i].loss_at[j] + TRAIN_SCALE_PRIOR * pow(log(train_scale_factor(j)), 2));
		best = least[i] < least[best] ? i : best;
		train_destroy(t);
	}
	for (int i = 0; i < 3; i++)
	{
		o.spelling_weight = 2 * i;
		t = train_test_create(m, &o, &data);
		must(train_evaluate(t, &data, &first[i], &err));
		if (i == 0)
			steps(t, 1);
		must(train_evaluate(t, &data, &chosen, &err));
		ok(first[i].loss == first[0].loss && (chosen.loss == first[0].loss) == (i > 0),
		   "at first the base is judged, whatever spelling is to weigh at most: %d", 2 * i);
		train_destroy(t);
	}
	o.spelling_weight = 2;
	t = train_test_create(m, &o, &data);
	steps(t, (int) o.max_steps);
	must(train_weigh_spelling(t, &data, &chosen, &err));
	must(train_export(t, &arena, &out, &err));
	ok(out.pointing.spelling_weight == expected && 2.0 * (1 - 0.5 * best) == expected,
	   "%d of 20 messages misled: spelling weighs %g (losses at 2, 1, 0: %.2f, %.2f, %.2f)", misled,
	   out.pointing.spelling_weight, least[0], least[1], least[2]);
	ok(chosen.loss == scores[best].loss && chosen.accuracy == scores[best].accuracy, "its loss and accuracy with it");
	must(train_evaluate(t, &data, &chosen, &err));
	ok(chosen.loss == scores[best].loss, "evaluations from then on judge with it");
	train_destroy(t);
}

static void
test_refusals(void)
{
	Gpt2Model  *m = train_test_model(shape, false);
	TrainOptions o = train_test_options();
	int32_t		long_ids[30] = {0};
	TrainRow	row = {{long_ids, 30}, 0};
	TrainData	none = {0},
				too_long = {.n_row = 1, .rows = &row},
				one_label = segments_data(1, 3);
	Train	   *t;

	ok(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), m, &o, &none, &t, &err) == FSI_INVALID, "%s", err.message);
	ok(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), m, &o, &too_long, &t, &err) == FSI_LIMIT, "%s", err.message);
	m = train_test_model(shape, true);
	ok(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), m, &o, &one_label, &t, &err) == FSI_INVALID, "%s",
	   err.message);
	o.adam_beta1 = 1;
	ok(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), m, &o, &one_label, &t, &err) == FSI_INVALID, "%s",
	   err.message);
}

int
main(void)
{
	char		dir[240];

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (!have_blas())
		return tap_done();
	snprintf(dir, sizeof(dir), "%s/fsi-train-XXXXXX", temp_base());
	if (mkdtemp(dir) == NULL)
	{
		perror(dir);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/checkpoint", dir);
	test_refused_buffers();
	test_overfit();
	test_checkpoint();
	test_cancelled_load();
	test_cancelled_create();
	test_forged_step();
	test_not_a_number();
	test_exact();
	test_segments_gradients(2048);
	test_segments_gradients(30);
	test_result_scalars();
	test_evaluated_again();
	test_calibration(false);
	test_calibration(true);
	test_spelling_choice(0, 2);
	test_spelling_choice(4, 1);
	test_spelling_choice(16, 0);
	test_segments_passes();
	test_segments_learn(false);
	test_segments_learn(true);
	test_refusals();
	fsi_arena_free(&arena);
	ok(rmdir(dir) == 0, "no file is left of all this");
	return tap_done();
}
