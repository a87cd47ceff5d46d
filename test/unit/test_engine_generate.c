/*
 * test_engine_generate.c
 *	  Generation: greedy is the argmax of plain passes; sampling follows the seed and the
 *	  distribution that temperature, top_k, top_p and repetition_penalty leave.
 */
#include "engine_model.h"

enum { VOCAB = 40, PROMPT = 6 };

/* Hash of what seed 42 gives; changes only if sampling, the kernels or the test's model change. */
#define SEED_42 0x6c646c35f70cc8b5ull

static const TestShape shape = {2, 2, 32, 48, 64, VOCAB, KERN_ACT_GELU_NEW, true, true, false};
static const SampleOptions greedy = {.max_new_tokens = 20, .temperature = 0, .top_p = 1, .repetition_penalty = 1};
static FsiArena arena;
static TestModel model;
static Gpt2Work *work;
static int32_t prompt[PROMPT];

static TokIds
generate(const SampleOptions *opt)
{
	TokIds		out;

	must(gpt2_generate(&model.i8, work, prompt, PROMPT, opt, &arena, &out, &err));
	return out;
}

static void
next_logits(int n, const int32_t *tokens, float *logits)
{
	float		hidden[32];
	Gpt2Seq		seq = {.n_token = n, .tokens = tokens};

	must(gpt2_forward(&model.i8, work, 1, &seq, GPT2_LAST, hidden, &err));
	must(gpt2_logits(&model.i8, work, 1, hidden, logits, &err));
}

/* Greedy by hand, with the penalty as transformers defines it. */
static int
slow_greedy(double penalty, int limit, int32_t *out)
{
	int32_t		all[64];
	float		logits[VOCAB];
	int			n = 0;

	memcpy(all, prompt, sizeof(prompt));
	while (n < limit && PROMPT + n < shape.n_positions)
	{
		int			best = 0;
		bool		seen[VOCAB] = {false};

		next_logits(PROMPT + n, all, logits);
		for (int i = 0; i < PROMPT + n; i++)
			seen[all[i]] = true;
		for (int t = 0; t < VOCAB; t++)
			if (seen[t])
				logits[t] = logits[t] < 0 ? logits[t] * (float) penalty : logits[t] / (float) penalty;
		for (int t = 1; t < VOCAB; t++)
			if (logits[t] > logits[best])
				best = t;
		if (best == model.i8.cfg.end)
			break;
		all[PROMPT + n] = out[n] = best;
		n++;
	}
	return n;
}

static void
test_greedy(void)
{
	int32_t		want[64];
	int			n = slow_greedy(1, 20, want);
	TokIds		got = generate(&greedy);
	SampleOptions opt = greedy;

	ok((int) got.n == n && n > 0 && memcmp(got.ids, want, n * sizeof(int32_t)) == 0, "greedy: %d tokens as by hand", n);
	opt.repetition_penalty = 1.7;
	n = slow_greedy(1.7, 20, want);
	got = generate(&opt);
	ok((int) got.n == n && memcmp(got.ids, want, n * sizeof(int32_t)) == 0, "with a repetition penalty: %d tokens as by hand", n);
	model.i8.cfg.end = got.ids[2];
	got = generate(&opt);
	ok(got.n <= 2, "the end token stops and is left out");
	model.i8.cfg.end = TOK_NONE;
	opt.max_new_tokens = 1000;
	ok(generate(&opt).n == 64 - PROMPT, "without one the context's end stops");
	opt.max_new_tokens = 0;
	ok(generate(&opt).n == 0, "no tokens asked, none given");
	opt.max_new_tokens = 20;
	opt.top_k = 1;
	opt.temperature = 0.7;
	opt.repetition_penalty = 1;
	n = slow_greedy(1, 20, want);
	got = generate(&opt);
	ok((int) got.n == n && memcmp(got.ids, want, n * sizeof(int32_t)) == 0, "top_k 1 is greedy");
	opt.top_k = 0;
	opt.top_p = 1e-9;
	got = generate(&opt);
	ok((int) got.n == n && memcmp(got.ids, want, n * sizeof(int32_t)) == 0, "a tiny top_p is greedy");
}

/* Frequencies of the first token over many seeds against the distribution that the options leave. */
static void
test_distribution(double temperature, int top_k, double top_p)
{
	enum { DRAWS = 4000 };
	SampleOptions opt = {.max_new_tokens = 1, .temperature = temperature, .top_k = top_k, .top_p = top_p,
		.repetition_penalty = 1};
	float		logits[VOCAB];
	double		p[VOCAB],
				sum = 0,
				above = 0,
				chi = 0;
	int			order[VOCAB],
				count[VOCAB] = {0},
				kept = 0;
	bool		outside = false;

	next_logits(PROMPT, prompt, logits);
	for (int i = 0; i < VOCAB; i++)
	{
		int			at = i;

		for (; at > 0 && logits[order[at - 1]] < logits[i]; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	for (int i = 0; i < (top_k > 0 ? top_k : VOCAB); i++)
		sum += p[order[i]] = exp(logits[order[i]] / temperature);
	while (kept < (top_k > 0 ? top_k : VOCAB) && (kept == 0 || above < top_p * sum))
		above += p[order[kept++]];
	for (int i = 0; i < DRAWS; i++)
	{
		TokIds		got;

		opt.seed = i;
		got = generate(&opt);
		if (got.n > 0)
			count[got.ids[0]]++;
	}
	for (int i = 0; i < VOCAB; i++)
	{
		double		want = i < kept ? DRAWS * p[order[i]] / above : 0;

		if (i >= kept)
			outside |= count[order[i]] > 0;
		else if (want >= 5)
			chi += (count[order[i]] - want) * (count[order[i]] - want) / want;
	}
	ok(!outside && kept > 1 && chi < 3 * kept + 20, "temperature %g, top_k %d, top_p %g: %d tokens, chi-square %.1f",
	   temperature, top_k, top_p, kept, chi);
}

static void
test_seed(void)
{
	SampleOptions opt = {.max_new_tokens = 40, .temperature = 1.2, .top_p = 0.95, .repetition_penalty = 1.1, .seed = 42};
	TokIds		a = generate(&opt),
				b = generate(&opt),
				c;

	opt.seed = 43;
	c = generate(&opt);
	ok(a.n == b.n && memcmp(a.ids, b.ids, a.n * sizeof(int32_t)) == 0, "a seed gives the same text twice");
	ok(fsi_hash64(a.ids, a.n * sizeof(int32_t), 0) == SEED_42, "... and on every machine: hash %016llx",
	   (unsigned long long) fsi_hash64(a.ids, a.n * sizeof(int32_t), 0));
	ok(a.n != c.n || memcmp(a.ids, c.ids, a.n * sizeof(int32_t)) != 0, "another seed another one");
}

static void
test_refused(void)
{
	static const struct
	{
		SampleOptions opt;
	}			bad[] = {
		{{.max_new_tokens = -1, .top_p = 1, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .temperature = -1, .top_p = 1, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .temperature = 1e-9, .top_p = 1, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .temperature = NAN, .top_p = 1, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .top_p = 0, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .top_p = 1.01, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .top_p = 1, .top_k = -1, .repetition_penalty = 1}},
		{{.max_new_tokens = 1, .top_p = 1, .repetition_penalty = 0}},
		{{.max_new_tokens = 1, .top_p = 1, .repetition_penalty = INFINITY}},
	};
	TokIds		out;
	int32_t		full[64];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(gpt2_generate(&model.i8, work, prompt, PROMPT, &bad[i].opt, &arena, &out, &err) == FSI_INVALID, "%s", err.message);
	test_tokens(VOCAB, 64, full);
	ok(gpt2_generate(&model.i8, work, full, 64, &greedy, &arena, &out, &err) == FSI_LIMIT, "%s", err.message);
	ok(gpt2_generate(&model.i8, work, full, 0, &greedy, &arena, &out, &err) == FSI_INVALID, "%s", err.message);
}

/* Rows side by side, with and without a shared run before them, are what each is alone; the end is token end. */
static int32_t
test_rows(int32_t end)
{
	enum { ROWS = 37, LIMIT = 12 };
	int32_t		tokens[ROWS][16];
	int			n_token[ROWS];
	KvRun		prefix,
				own[ROWS];
	const KvRun *context[1] = {&prefix};
	Gpt2Seq		seqs[ROWS],
				first = {.own = &prefix, .n_token = PROMPT, .tokens = prompt};
	TokIds		out[ROWS];
	float		hidden[32];
	int			same = 0,
				ended = 0;
	int32_t		usual = model.i8.cfg.end;

	model.i8.cfg.end = end;
	must(kv_alloc(&model.i8.cfg, PROMPT, &arena, &prefix, &err));
	must(gpt2_forward(&model.i8, work, 1, &first, GPT2_LAST, hidden, &err));
	for (int i = 0; i < ROWS; i++)
	{
		n_token[i] = 1 + test_below(10);
		test_tokens(VOCAB, n_token[i], tokens[i]);
		must(kv_alloc(&model.i8.cfg, n_token[i] + LIMIT - 1, &arena, &own[i], &err));
		seqs[i] = (Gpt2Seq) {.n_context = i % 2, .context = context, .own = &own[i], .n_token = n_token[i],
			.tokens = tokens[i]};
	}
	must(gpt2_generate_rows(&model.i8, work, ROWS, seqs, LIMIT, &arena, out, &err));
	for (int i = 0; i < ROWS; i++)
	{
		SampleOptions opt = greedy;
		int32_t		whole[32];
		int			before = i % 2 ? PROMPT : 0;
		TokIds		alone;

		opt.max_new_tokens = LIMIT;
		memcpy(whole, prompt, sizeof(int32_t) * before);
		memcpy(whole + before, tokens[i], sizeof(int32_t) * n_token[i]);
		must(gpt2_generate(&model.i8, work, whole, before + n_token[i], &opt, &arena, &alone, &err));
		same += alone.n == out[i].n && memcmp(alone.ids, out[i].ids, sizeof(int32_t) * alone.n) == 0;
		ended += alone.n < LIMIT;
	}
	ok(same == ROWS, "%d of %d rows are what they are alone", same, ROWS);
	ok(end == usual || (ended > 0 && ended < ROWS), "%d of them ended before the others", ended);
	model.i8.cfg.end = usual;
	return out[0].ids[LIMIT / 2];
}

/* Logits that overflow end in a token, not in a crash. */
static void
test_hostile(void)
{
	TestModel	bad;
	SampleOptions opt = {.max_new_tokens = 5, .temperature = 1, .top_p = 0.9, .repetition_penalty = 2};
	TokIds		out;

	test_model(&arena, shape, &bad);
	for (int i = 0; i < VOCAB; i++)
		((float *) bad.i8.head.scale)[i] = i % 2 ? INFINITY : NAN;
	ok(gpt2_generate(&bad.i8, work, prompt, PROMPT, &opt, &arena, &out, &err) == FSI_OK, "infinite logits are survived");
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	must(gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err));
	test_model(&arena, shape, &model);
	for (int i = 0; i < 32; i++)
		((float *) model.i8.lnf_gain)[i] *= 0.4f;
	test_tokens(VOCAB, PROMPT, prompt);
	test_greedy();
	test_distribution(1, 0, 1);
	test_distribution(0.5, 0, 1);
	test_distribution(1, 5, 1);
	test_distribution(1, 0, 0.7);
	test_distribution(1.5, 12, 0.8);
	test_seed();
	test_refused();
	test_rows(test_rows(model.i8.cfg.end));
	test_hostile();
	gpt2_work_destroy(work);
	fsi_arena_free(&arena);
	return tap_done();
}
