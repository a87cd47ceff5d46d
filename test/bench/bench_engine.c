/*
 * bench_engine.c
 *	  Tokens and rows per second of the forward pass, one thread, random int8 weights.
 *
 *	bench_engine [level] [small|large]
 *
 * small: 6 x 384, segments of about 16 tokens (the shipped model's job), then what the discriminant of a
 * set costs once, and that as a share of encoding its names and examples.
 * large: 12 x 768, vocabulary 21,128 (the published checkpoint's shape): 24-token messages
 * on a cached prefix of 200, then 8 labels of 4 tokens, the end token counted, of which pairs
 * share the first.
 * Each figure is the median of REPEATS in seconds of this thread's CPU time, so that a
 * busy machine disturbs it little; compare levels and commits from the same minute only.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "fsi_engine.h"

#define REPEATS 5

static KernMatrix
matrix(int k, int n)
{
	size_t		bytes = kern_panel_bytes(k, n);
	int8_t	   *panels = fsi_arena_array(&arena, bytes, 1);
	int32_t    *comp = fsi_arena_array(&arena, KERN_ROUND_UP(n, KERN_PANEL), sizeof(int32_t));

	for (size_t i = 0; i < bytes; i++)
		panels[i] = (int8_t) (next_random() % 255 - 127);
	kern_panel_comp(k, n, panels, comp);
	return (KernMatrix) {.type = KERN_I8, .k = k, .n = n, .panels = panels, .comp = comp,
		.scale = floats(KERN_ROUND_UP(n, KERN_PANEL), 0.0f, 0.02f / 127)};
}

static void
model_create(int n_layer, int n_head, int E, int n_positions, int n_vocab, Gpt2Model *m)
{
	memset(m, 0, sizeof(*m));
	m->cfg = (Gpt2Config) {.n_layer = n_layer, .n_head = n_head, .n_embd = E, .n_inner = 4 * E,
		.n_positions = n_positions, .n_vocab = n_vocab, .act = KERN_ACT_GELU_NEW, .ln_eps = 1e-5f, .tied = true,
		.scale_attn_weights = true, .layout = GPT2_PROMPT, .begin = 0, .end_prompt = 1, .end = 1};
	m->wte = m->head = matrix(E, n_vocab);
	m->wpe = floats((size_t) n_positions * E, 0.02f, 0);
	m->lnf_gain = floats(E, 0, 1);
	m->lnf_bias = floats(E, 0, 0);
	m->readout_q = m->readout_k = floats((size_t) E * E, 0.05f, 0);
	m->layers = fsi_arena_array(&arena, n_layer, sizeof(Gpt2Layer));
	for (int l = 0; l < n_layer; l++)
		m->layers[l] = (Gpt2Layer) {
			.ln1_gain = m->lnf_gain, .ln1_bias = m->lnf_bias, .ln2_gain = m->lnf_gain, .ln2_bias = m->lnf_bias,
			.qkv = matrix(E, 3 * E), .qkv_bias = floats(3 * E, 0.02f, 0),
			.proj = matrix(E, E), .proj_bias = floats(E, 0.02f, 0),
			.fc = matrix(E, 4 * E), .fc_bias = floats(4 * E, 0.02f, 0),
			.out = matrix(4 * E, E), .out_bias = floats(E, 0.02f, 0),
		};
}

static int32_t *
random_tokens(int n, int n_vocab)
{
	int32_t    *t = fsi_arena_array(&arena, n, sizeof(int32_t));

	for (int i = 0; i < n; i++)
		t[i] = 2 + (int32_t) (next_random() % (uint64_t) (n_vocab - 2));
	return t;
}

static int
ascending(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Median seconds of running job(ctx) REPEATS times, after once to warm up. */
static double
median_seconds(void (*job) (void *), void *ctx)
{
	double		t[REPEATS];

	job(ctx);
	for (int i = 0; i < REPEATS; i++)
	{
		double		start = now(CLOCK_THREAD_CPUTIME_ID);

		job(ctx);
		t[i] = now(CLOCK_THREAD_CPUTIME_ID) - start;
	}
	qsort(t, REPEATS, sizeof(double), ascending);
	return t[REPEATS / 2];
}

/* ---- small: segments ---- */

enum { SEGMENTS = 64 };

typedef struct Small
{
	Gpt2Model	model;
	Gpt2Work   *work;
	TokIds		texts[SEGMENTS];
	int			batch;
	float	   *z;
} Small;

static void
encode_segments(void *ctx)
{
	Small	   *s = ctx;

	for (int i = 0; i < SEGMENTS; i += s->batch)
		must(segment_encode(&s->model, s->work, s->batch, s->texts + i, s->z, NULL, &arena, &err));
}

/* A set's discriminant, from random unit vectors. */
typedef struct SetOf
{
	const Gpt2Model *model;
	int			n;
	PointingCandidate *candidates;
} SetOf;

static void
make_discriminant(void *ctx)
{
	SetOf	   *set = ctx;
	FsiArenaMark mark = fsi_arena_mark(&arena);
	const float *direction;

	must(pointing_discriminant(set->model, set->n, set->candidates, &arena, &direction, &err));
	fsi_arena_release(&arena, mark);
}

static const SegmentVec *
random_vector(int E)
{
	SegmentVec *v = fsi_arena_zero(&arena, 1, sizeof(SegmentVec));
	float	   *proj = floats(E, 1, 0);
	double		length = 0;

	for (int k = 0; k < E; k++)
		length += (double) proj[k] * (double) proj[k];
	for (int k = 0; k < E; k++)
		proj[k] = (float) (proj[k] / sqrt(length));
	v->proj = proj;
	return v;
}

/* each: seconds to encode a segment */
static void
bench_discriminant(Gpt2Model *model, double each)
{
	static const int cases[][2] = {{5, 1}, {5, 3}, {20, 3}, {77, 3}, {77, 10}, {20, 250}, {20, 900}};

	model->pointing.discriminant_share = 1;
	model->pointing.discriminant_ridge = 0.1;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		FsiArenaMark mark = fsi_arena_mark(&arena);
		int			n = cases[i][0],
					shown = cases[i][1];
		SetOf		set = {model, n, fsi_arena_zero(&arena, n, sizeof(PointingCandidate))};
		double		t;

		for (int c = 0; c < n; c++)
		{
			const SegmentVec **examples = fsi_arena_array(&arena, shown, sizeof(SegmentVec *));

			for (int e = 0; e < shown; e++)
				examples[e] = random_vector(model->cfg.n_embd);
			set.candidates[c] = (PointingCandidate) {.name = random_vector(model->cfg.n_embd), .n_example = shown,
				.examples = examples};
		}
		t = median_seconds(make_discriminant, &set);
		printf("  discriminant of %2d intents x %3d examples: %8.2f ms, %5.2f of encoding them\n", n, shown, 1e3 * t,
			   t / (each * n * (1 + shown)));
		fsi_arena_release(&arena, mark);
	}
}

static void
bench_small(const KernOps *ops)
{
	static Small s;
	int			tokens = 0;
	double		each = 0;

	model_create(6, 12, 384, 512, 24000, &s.model);
	s.z = floats((size_t) SEGMENTS * 384, 0, 0);
	must(gpt2_work_create(&fsi_host_malloc, ops, &s.work, &err));
	for (int i = 0; i < SEGMENTS; i++)
	{
		s.texts[i].n = 6 + next_random() % 17;
		s.texts[i].ids = random_tokens((int) s.texts[i].n, 24000);
		tokens += (int) s.texts[i].n + 2;
	}
	printf("6 x 384, %d segments of %.1f tokens\n", SEGMENTS, (double) tokens / SEGMENTS);
	for (s.batch = 1; s.batch <= SEGMENTS; s.batch *= 8)
	{
		double		t = median_seconds(encode_segments, &s);

		printf("  batch %4d: %7.0f segments/s %8.0f tokens/s %6.1f G multiply-adds/s\n", s.batch, SEGMENTS / t,
			   tokens / t, tokens * 10.62e-3 / t);
		each = t / SEGMENTS;
	}
	bench_discriminant(&s.model, each);
	gpt2_work_destroy(s.work);
}

/* ---- large: messages on a prefix, label trie ---- */

enum { ROWS = 16, MESSAGE = 24, PREFIX = 200, LABELS = 8, LABEL = 4 };

typedef struct Large
{
	Gpt2Model	model;
	Gpt2Work   *work;
	int			batch;
	KvRun		prefix;
	KvRun		message[ROWS];
	const KvRun *context[ROWS][2];
	int32_t    *tokens[ROWS];
	float	   *hidden;
	Trie	   *trie;
	TrieScoring scoring;
	TrieRow		rows[ROWS];
} Large;

static void
feed_messages(void *ctx)
{
	Large	   *l = ctx;

	for (int from = 0; from < ROWS; from += l->batch)
	{
		Gpt2Seq		seqs[ROWS];

		for (int i = 0; i < l->batch; i++)
		{
			l->message[from + i].count = 0;
			seqs[i] = (Gpt2Seq) {.n_context = 1, .context = l->context[from + i], .own = &l->message[from + i],
				.n_token = MESSAGE, .tokens = l->tokens[from + i]};
		}
		must(gpt2_forward(&l->model, l->work, l->batch, seqs, GPT2_LAST, l->hidden + (size_t) from * 768, &err));
	}
}

static void
score_labels(void *ctx)
{
	Large	   *l = ctx;

	for (int from = 0; from < ROWS; from += l->batch)
		must(trie_score_rows(&l->model, l->work, l->trie, l->batch, l->rows + from, l->scoring, &arena, &err));
}

static void
large_create(Large *l, const KernOps *ops)
{
	TokIds		labels[LABELS];
	static const char *const names[LABELS] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	Gpt2Seq		seq = {.own = &l->prefix, .n_token = PREFIX};
	double		start;

	model_create(12, 12, 768, 1024, 21128, &l->model);
	must(gpt2_work_create(&fsi_host_malloc, ops, &l->work, &err));
	l->hidden = floats((size_t) ROWS * 768, 0, 0);
	must(kv_alloc(&l->model.cfg, PREFIX, &arena, &l->prefix, &err));
	seq.tokens = random_tokens(PREFIX, 21128);
	start = now(CLOCK_THREAD_CPUTIME_ID);
	must(gpt2_forward(&l->model, l->work, 1, &seq, GPT2_LAST, l->hidden, &err));
	printf("12 x 768, prefix of %d: %.0f tokens/s (once, cold)\n", PREFIX, PREFIX / (now(CLOCK_THREAD_CPUTIME_ID) - start));
	for (int i = 0; i < LABELS; i++)
	{
		labels[i].ids = random_tokens(LABEL - 1, 21128);
		labels[i].n = LABEL - 1;
		labels[i].ids[0] = 100 + i / 2;
	}
	must(trie_build(&l->model.cfg, LABELS, labels, names, &arena, &l->trie, &err));
	for (int i = 0; i < ROWS; i++)
	{
		must(kv_alloc(&l->model.cfg, MESSAGE, &arena, &l->message[i], &err));
		l->tokens[i] = random_tokens(MESSAGE, 21128);
		l->context[i][0] = &l->prefix;
		l->context[i][1] = &l->message[i];
		l->rows[i] = (TrieRow) {.n_context = 2, .context = l->context[i], .hidden = l->hidden + (size_t) i * 768,
			.score = fsi_arena_array(&arena, LABELS, sizeof(double))};
	}
}

static void
bench_large(const KernOps *ops)
{
	static Large l;
	static const char *const names[] = {"best", "all", "sequence"};

	large_create(&l, ops);
	for (l.batch = 1; l.batch <= ROWS; l.batch *= 4)
	{
		double		t = median_seconds(feed_messages, &l);

		printf("  batch %2d: messages %6.1f/s (%.0f tokens/s)", l.batch, ROWS / t, ROWS * MESSAGE / t);
		for (int scoring = TRIE_BEST; scoring <= TRIE_SEQUENCE; scoring++)
		{
			double		s;

			l.scoring = (TrieScoring) scoring;
			s = median_seconds(score_labels, &l);
			printf("; %s +%.1f ms = %.1f rows/s", names[scoring], 1e3 * s / ROWS, ROWS / (t + s));
		}
		printf("\n");
	}
	gpt2_work_destroy(l.work);
}

int
main(int argc, char **argv)
{
	KernLevel	level = argc > 1 ? kern_level_by_name(argv[1]) : KERN_AUTO;
	const KernOps *ops = (int) level < 0 ? NULL : kern_ops(level);

	if (ops == NULL)
	{
		fprintf(stderr, "bench_engine: no level \"%s\" here\n", argv[1]);
		return 1;
	}
	fsi_arena_init(&arena, &fsi_host_malloc);
	printf("level %s\n", ops->name);
	if (argc < 3 || strcmp(argv[2], "small") == 0)
		bench_small(ops);
	if (argc < 3 || strcmp(argv[2], "large") == 0)
		bench_large(ops);
	fsi_arena_free(&arena);
	return 0;
}
