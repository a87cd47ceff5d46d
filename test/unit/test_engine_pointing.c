/*
 * test_engine_pointing.c
 *	  Segments and the pointing readout: the formula, batches, long texts, and that no order
 *	  of candidates or examples changes a bit.
 */
#include "engine_pointing.h"

static const TestShape shape = {2, 3, E, 64, 64, 120, KERN_ACT_GELU_NEW, true, true, false};
static TestModel model;
static Gpt2Work *work;
static const KernOps *ops;

/* ---- segments ---- */

static void
test_encode(void)
{
	enum { N = 300 };
	TokIds		texts[N];
	float	   *z = test_alloc(&arena, N, E * sizeof(float)),
			   *one = test_alloc(&arena, 2, E * sizeof(float)),
			   *reverse = test_alloc(&arena, N, E * sizeof(float));
	double		worst = 0,
				unit = 0;
	bool		alone = true,
				turned = true;
	int			cut = -1,
				too_long = 0;

	for (int i = 0; i < N; i++)
	{
		int			n = i % 50 == 0 ? 0 : i % 41 == 0 ? 60 + test_below(10) : 1 + test_below(20);

		texts[i].ids = test_alloc(&arena, n + 1, sizeof(int32_t));
		texts[i].n = n;
		test_tokens(shape.n_vocab, n, texts[i].ids);
		too_long += n > 62;
	}
	must(segment_encode(&model.i8, work, N, texts, z, &cut, &arena, &err));
	ok(cut == too_long && cut > 0, "%d of %d texts were too long for 64 positions", cut, N);
	for (int i = 0; i < N; i++)
	{
		must(segment_encode(&model.i8, work, 1, &texts[i], one, NULL, &arena, &err));
		alone &= memcmp(one, z + i * E, E * sizeof(float)) == 0;
		unit = fmax(unit, fabs(length_of(one) - 1));
	}
	ok(alone, "300 segments together have the bits of each alone");
	ok(unit < 1e-6, "... and unit length");
	for (int i = 0; i < N / 2; i++)
	{
		TokIds		t = texts[i];

		texts[i] = texts[N - 1 - i];
		texts[N - 1 - i] = t;
	}
	must(segment_encode(&model.i8, work, N, texts, reverse, NULL, &arena, &err));
	for (int i = 0; i < N; i++)
		turned &= memcmp(reverse + i * E, z + (N - 1 - i) * E, E * sizeof(float)) == 0;
	ok(turned, "... in any order");

	if (kern_blas_load(&err) != FSI_OK)
	{
		skip("%s", err.message);
		return;
	}
	must(segment_encode(&model.f32, work, N, texts, reverse, NULL, &arena, &err));
	for (int i = 0; i < N; i++)
	{
		int32_t		ids[64] = {0};
		int			n = (int) texts[i].n;
		double		hidden[64 * E],
					mean[E] = {0},
					norm = 0;

		if (n > 62)
			continue;
		memcpy(ids + 1, texts[i].ids, n * sizeof(int32_t));
		ids[n + 1] = 1;
		slow_forward(&model.f32, n + 2, ids, hidden);
		for (int t = 0; t < n + 2; t++)
			for (int k = 0; k < E; k++)
				mean[k] += hidden[t * E + k];
		for (int k = 0; k < E; k++)
			norm += mean[k] * mean[k];
		for (int k = 0; k < E; k++)
			worst = fmax(worst, fabs(reverse[i * E + k] - mean[k] / sqrt(norm)));
	}
	ok(worst < 1e-5, "f32: the mean of ln_f(h) between the marks, at unit length (%.0e)", worst);
}

/* Head and tail stay, the middle goes. */
static void
test_shortened(void)
{
	int32_t		a[200],
				b[200];
	TokIds		texts[2] = {{a, 200}, {b, 62}};
	float		z[2 * E];
	int			cut;

	test_tokens(shape.n_vocab, 200, a);
	memcpy(b, a, 31 * sizeof(int32_t));
	memcpy(b + 31, a + 169, 31 * sizeof(int32_t));
	must(segment_encode(&model.i8, work, 2, texts, z, &cut, &arena, &err));
	ok(cut == 1 && memcmp(z, z + E, E * sizeof(float)) == 0, "a long text keeps 31 tokens of its head and 31 of its tail");
	texts[0].ids[0] = 120;
	ok(segment_encode(&model.i8, work, 2, texts, z, &cut, &arena, &err) == FSI_INVALID, "%s", err.message);
}

static void
test_project(void)
{
	float		z[E],
				q[E],
				k[E],
				zero[E] = {0};
	double		worst = 0,
				want[E],
				norm = 0;

	for (int i = 0; i < E; i++)
		z[i] = test_normal();
	segment_project(&model.i8, ops, 1, z, true, q);
	segment_project(&model.i8, ops, 1, z, false, k);
	for (int j = 0; j < E; j++)
	{
		want[j] = 0;
		for (int i = 0; i < E; i++)
			want[j] += (double) z[i] * model.i8.readout_q[i * E + j];
		norm += want[j] * want[j];
	}
	for (int j = 0; j < E; j++)
		worst = fmax(worst, fabs(q[j] - want[j] / sqrt(norm)));
	ok(worst < 1e-6 && memcmp(q, k, sizeof(q)) != 0, "a message is projected by q (%.0e), a segment by k", worst);
	segment_project(&model.i8, ops, 1, zero, true, q);
	ok(memcmp(q, zero, sizeof(q)) == 0, "a zero vector stays zero");
}

/* ---- the readout ---- */

/* The formula again, in libm's double and in no particular order. */
static double
slow_sim(const SegmentVec *m, const SegmentVec *s)
{
	double		sim = 0;

	for (int i = 0; i < E; i++)
		sim += (double) m->proj[i] * s->proj[i];
	for (size_t a = 0; a < m->spell.n; a++)
		for (size_t b = 0; b < s->spell.n; b++)
			if (m->spell.bucket[a] == s->spell.bucket[b])
				sim += model.i8.pointing.spelling_weight * m->spell.weight[a] * s->spell.weight[b];
	return sim;
}

static double
slow_logit(const SegmentVec *m, const PointingCandidate *c)
{
	const PointingScalars *p = &model.i8.pointing;
	double		name = 0,
				top = 0,
				bottom = 0;

	if (c->name != NULL)
		name = slow_sim(m, c->name);
	if (c->name != NULL && c->description != NULL)
		name = (name + p->description_weight * slow_sim(m, c->description)) / (1 + p->description_weight);
	for (int i = 0; i < c->n_example; i++)
	{
		double		s = slow_sim(m, c->examples[i]);

		top += exp(p->example_sharpness * s) * s;
		bottom += exp(p->example_sharpness * s);
	}
	if (c->n_example == 0)
		return p->name_scale * name + p->name_bias;
	if (c->name == NULL)
		return p->example_scale * (top / bottom) + p->example_bias;
	return p->both_scale * (p->name_share * name + (1 - p->name_share) * (top / bottom)) + p->both_bias;
}

/* Of all candidates' examples. */
static void
index_examples(int n, const PointingCandidate *c, PointingIndex *index)
{
	const SegmentVec **all;
	int			total = 0;

	for (int i = 0; i < n; i++)
		total += c[i].n_example;
	all = test_alloc(&arena, total + 1, sizeof(*all));
	total = 0;
	for (int i = 0; i < n; i++)
		for (int e = 0; e < c[i].n_example; e++)
			all[total++] = c[i].examples[e];
	must(pointing_index_build(total, all, &arena, index, &err));
}

static double
other_alone(double logit)
{
	return model.i8.pointing.other_logit + model.i8.pointing.other_share * logit;
}

static void
test_scores(int n, int most_examples, double sharpness)
{
	PointingCandidate *c = test_alloc(&arena, n, sizeof(*c)),
			   *moved = test_alloc(&arena, n, sizeof(*c));
	double	   *logit = test_alloc(&arena, n, sizeof(double)),
			   *prob = test_alloc(&arena, n + 1, sizeof(double)),
			   *logit2 = test_alloc(&arena, n, sizeof(double)),
			   *prob2 = test_alloc(&arena, n + 1, sizeof(double)),
				worst = 0,
				total = 0,
				other,
				sum = 0;
	int		   *place = test_alloc(&arena, n, sizeof(int));
	const SegmentVec *message = &vecs[7];
	PointingIndex index;
	bool		same = true;

	model.i8.pointing.example_sharpness = sharpness;
	random_candidates(n, most_examples, c);
	must(pointing_score(&model.i8, ops, message, n, c, NULL, NULL, true, logit, prob, &arena, &err));
	for (int i = 0; i < n; i++)
	{
		double		want = slow_logit(message, &c[i]);

		worst = fmax(worst, fabs(logit[i] - want));
		total += exp(want);
	}
	other = model.i8.pointing.other_logit + model.i8.pointing.other_share * log(total);
	total += exp(other);
	for (int i = 0; i <= n; i++)
	{
		worst = fmax(worst, fabs(prob[i] - exp(i < n ? logit[i] : other) / total));
		sum += prob[i];
	}
	ok(worst < 1e-5 && fabs(sum - 1) < 1e-12, "%d candidates, up to %d examples, sharpness %g: the formula (%.0e)",
	   n, most_examples, sharpness, worst);

	pointing_alone(&model.i8, n, logit, logit2);
	worst = 0;
	for (int i = 0; i < n; i++)
		worst = fmax(worst, fabs(logit2[i] - 1 / (1 + exp(other_alone(logit[i]) - logit[i]))));
	ok(worst < 1e-12, "... each against \"other\" alone (%.0e)", worst);

	index_examples(n, c, &index);
	must(pointing_score(&model.i8, ops, message, n, c, &index, NULL, true, logit2, prob2, &arena, &err));
	ok(memcmp(logit, logit2, n * sizeof(double)) == 0 && memcmp(prob, prob2, (n + 1) * sizeof(double)) == 0,
	   "... an index of the %d examples changes no bit", index.n);

	for (int round = 0; round < 20; round++)
	{
		permute_candidates(n, c, moved, place);
		must(pointing_score(&model.i8, ops, message, n, moved, NULL, NULL, true, logit2, prob2, &arena, &err));
		for (int i = 0; i < n; i++)
			same &= memcmp(&logit2[place[i]], &logit[i], sizeof(double)) == 0 &&
				memcmp(&prob2[place[i]], &prob[i], sizeof(double)) == 0;
		same &= memcmp(&prob2[n], &prob[n], sizeof(double)) == 0;
	}
	ok(same, "... no permutation of candidates and examples changes a bit");
	must(pointing_score(&model.i8, ops, message, n, c, NULL, NULL, false, logit2, prob2, &arena, &err));
	sum = 0;
	for (int i = 0; i < n; i++)
		sum += prob2[i];
	ok(prob2[n] == 0 && fabs(sum - 1) < 1e-12 && memcmp(logit, logit2, n * sizeof(double)) == 0,
	   "... without \"other\" the candidates share everything");
}

/* Few candidates merge sparse vectors, many look up a dense one: the same bits. */
static void
test_dense(void)
{
	enum { N = 60 };
	PointingCandidate c[N];
	double		many[N],
				prob[N + 1],
				few,
				two[2];
	bool		same = true;

	random_candidates(N, 0, c);
	must(pointing_score(&model.i8, ops, &vecs[3], N, c, NULL, NULL, false, many, prob, &arena, &err));
	for (int i = 0; i < N; i++)
	{
		must(pointing_score(&model.i8, ops, &vecs[3], 1, &c[i], NULL, NULL, false, &few, two, &arena, &err));
		same &= memcmp(&few, &many[i], sizeof(double)) == 0;
	}
	ok(same, "a candidate's logit has the same bits alone and among 60");
}

static void
test_refused(void)
{
	PointingCandidate none = {.name = NULL},
				many[3000];
	double		logit[3000],
				prob[3001];
	PointingIndex index = {.n = 5};
	FsiHost		host = fsi_host_malloc;
	FsiArena	stopping;

	ok(pointing_score(&model.i8, ops, &vecs[0], 1, &none, NULL, NULL, true, logit, prob, &arena, &err) == FSI_INVALID, "%s",
	   err.message);
	ok(pointing_score(&model.i8, ops, &vecs[0], 0, &none, NULL, NULL, true, logit, prob, &arena, &err) == FSI_INVALID, "%s",
	   err.message);
	random_candidates(3000, 0, many);
	ok(pointing_score(&model.i8, ops, &vecs[0], 3000, many, &index, NULL, true, logit, prob, &arena, &err) == FSI_INVALID,
	   "%s", err.message);
	host.should_stop = stop_now;
	fsi_arena_init(&stopping, &host);
	ok(pointing_score(&model.i8, ops, &vecs[0], 3000, many, NULL, NULL, true, logit, prob, &stopping, &err) == FSI_CANCELLED,
	   "3,000 candidates: %s", err.message);
	many[0] = (PointingCandidate) {.n_example = 5000, .examples = test_alloc(&arena, 5000, sizeof(SegmentVec *))};
	for (int i = 0; i < 5000; i++)
		((const SegmentVec **) many[0].examples)[i] = &vecs[i % N_SEGMENT];
	index_examples(1, many, &index);
	ok(pointing_score(&model.i8, ops, &vecs[0], 1, many, &index, NULL, true, logit, prob, &stopping, &err) == FSI_CANCELLED,
	   "5,000 examples of one candidate: %s", err.message);
	fsi_arena_free(&stopping);
}

/* Finite weights of a hostile model that overflow: an error, never scores that are not numbers, of which the first won. */
static void
test_overflow(void)
{
	float	   *huge = test_alloc(&arena, (size_t) E * E, sizeof(float)),
				z[2 * E],
				proj[E];
	int32_t		ids[] = {5, 6, 7};
	TokIds		texts[2] = {{ids, 3}, {ids, 1}};
	Gpt2Model	hostile = model.i8;
	SegmentVec	broken = vecs[0];
	const SegmentVec *example = &broken;
	PointingCandidate c[2] = {{.name = &vecs[1]}, {.name = &vecs[2], .n_example = 1, .examples = &example}};
	double		logit[2],
				prob[3];

	for (int i = 0; i < E * E; i++)
		huge[i] = i % 3 == 0 ? -3e38f : 3e38f;
	hostile.lnf_gain = huge;
	ok(segment_encode(&hostile, work, 2, texts, z, NULL, &arena, &err) == FSI_CORRUPT, "%s", err.message);
	hostile = model.i8;
	hostile.readout_k = huge;
	must(segment_encode(&hostile, work, 1, texts, z, NULL, &arena, &err));
	segment_project(&hostile, ops, 1, z, false, proj);
	broken.proj = proj;
	ok(pointing_score(&hostile, ops, &vecs[3], 2, c, NULL, NULL, true, logit, prob, &arena, &err) == FSI_CORRUPT,
	   "%s: an example", err.message);
	ok(pointing_score(&hostile, ops, &broken, 1, c, NULL, NULL, true, logit, prob, &arena, &err) == FSI_CORRUPT,
	   "%s: the message", err.message);
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	ops = kern_ops(KERN_AUTO);
	must(gpt2_work_create(&fsi_host_malloc, ops, &work, &err));
	test_model(&arena, shape, &model);
	model.i8.pointing = (PointingScalars) {.spelling_weight = 1.1, .description_weight = 0.7, .name_share = 0.4,
		.name_scale = 9, .name_bias = -0.3, .both_scale = 11, .both_bias = 0.2, .example_scale = 8,
		.example_bias = 0.1, .other_logit = 1.5, .other_share = 0.3};
	for (int i = 0; i < N_SEGMENT; i++)
		random_segment(&vecs[i]);
	vecs[5].spell.n = 0;
	test_encode();
	test_shortened();
	test_project();
	test_scores(1, 0, 0);
	test_scores(2, 3, 0);
	test_scores(5, 1, 4);
	test_scores(77, 30, 0);
	test_scores(77, 30, -2);
	test_scores(300, 5, 12);
	test_dense();
	test_refused();
	test_overflow();
	gpt2_work_destroy(work);
	fsi_arena_free(&arena);
	return tap_done();
}
