/*
 * test_engine_forward.c
 *	  The forward pass: right (against an independent one) and, with int8 weights, the same
 *	  bits alone, in any batch, in pieces, on top of finished runs, and on every CPU level.
 */
#include "engine_model.h"

static const TestShape shapes[] = {
	{3, 3, 48, 80, 96, 101, KERN_ACT_GELU_NEW, true, true, false},
	{2, 2, 20, 36, 64, 37, KERN_ACT_GELU, false, true, true},	/* no dimension fills a vector */
	{2, 4, 64, 256, 700, 130, KERN_ACT_RELU, true, false, false},	/* longer than a pass */
	{1, 1, 16, 16, 48, 17, KERN_ACT_NONE, false, true, true},
};

static FsiArena arena;

static Gpt2Work *
work_at(KernLevel level)
{
	Gpt2Work   *work = NULL;

	if (kern_ops(level) != NULL && gpt2_work_create(&fsi_host_malloc, kern_ops(level), &work, &err) != FSI_OK)
		exit(1);
	return work;
}

static void
forward(const Gpt2Model *m, Gpt2Work *work, int n, const Gpt2Seq *seqs, Gpt2Want want, float *hidden)
{
	if (gpt2_forward(m, work, n, seqs, want, hidden, &err) != FSI_OK)
	{
		printf("Bail out! %s\n", err.message);
		exit(1);
	}
}

/* f32 against the slow pass in double; int8 near it. */
static void
test_right(const TestShape *s, Gpt2Work *work)
{
	TestModel	m;
	int			T = s->n_positions < 40 ? s->n_positions : 40,
				V = s->n_vocab,
				E = s->n_embd;
	int32_t		tokens[40];
	double	   *want = test_alloc(&arena, (size_t) T * E, sizeof(double)),
			   *logit = test_alloc(&arena, V, sizeof(double)),
				worst = 0,
				rounding = 0,
				size = 0,
				head = 0;
	float	   *f32 = test_alloc(&arena, (size_t) T * E, sizeof(float)),
			   *i8 = test_alloc(&arena, (size_t) T * E, sizeof(float)),
			   *got = test_alloc(&arena, V, sizeof(float));
	Gpt2Seq		seq = {.n_token = T, .tokens = tokens};

	test_model(&arena, *s, &m);
	test_tokens(V, T, tokens);
	slow_forward(&m.f32, T, tokens, want);
	forward(&m.f32, work, 1, &seq, GPT2_ALL, f32);
	forward(&m.i8, work, 1, &seq, GPT2_ALL, i8);
	for (int i = 0; i < T * E; i++)
	{
		worst = fmax(worst, fabs(f32[i] - want[i]));
		rounding += (i8[i] - want[i]) * (i8[i] - want[i]);
		size += want[i] * want[i];
	}
	ok(worst < 2e-4, "layers %d, heads %d, width %d: f32 within 2e-4 of double (%.1e)",
	   s->n_layer, s->n_head, E, worst);
	ok(rounding / size < 0.02 && rounding > 0, "... int8 near it: relative square error %.1e", rounding / size);
	slow_linear(want + (T - 1) * E, &m.f32.head, NULL, logit);
	gpt2_logits(&m.f32, work, 1, f32 + (T - 1) * E, got, &err);
	for (int i = 0; i < V; i++)
		head = fmax(head, fabs(got[i] - logit[i]));
	ok(head < 1e-3, "... logits of the f32 head within 1e-3 (%.1e)", head);
}

/* A batch of 65 ragged sequences, each also alone and in batches of other sizes; last rows; chosen logits. */
static void
test_batches(const TestShape *s, Gpt2Work *work)
{
	enum { N = 65 };
	TestModel	m;
	int			E = s->n_embd,
				V = s->n_vocab,
				total = 0;
	Gpt2Seq		seqs[N];
	size_t		at[N + 1];
	float	   *all,
			   *part,
			   *logits = test_alloc(&arena, 3 * V, sizeof(float)),
			   *some = test_alloc(&arena, V, sizeof(float));
	int32_t    *every = test_alloc(&arena, V, sizeof(int32_t));
	bool		alone = true,
				batches = true,
				last = true,
				chosen = true;

	test_model(&arena, *s, &m);
	for (int i = 0; i < N; i++)
	{
		int			n = i % 7 == 0 ? 1 : i == 30 ? s->n_positions : 1 + test_below(s->n_positions / 2);
		int32_t    *tokens = test_alloc(&arena, n, sizeof(int32_t));

		test_tokens(V, n, tokens);
		if (i % 3 != 2)
			tokens[0] = 1;		/* most begin alike, as segments do: computed once a pass */
		seqs[i] = (Gpt2Seq) {.n_token = n, .tokens = tokens};
		at[i] = (size_t) total * E;
		total += n;
	}
	at[N] = (size_t) total * E;
	all = test_alloc(&arena, (size_t) total, E * sizeof(float));
	part = test_alloc(&arena, (size_t) total, E * sizeof(float));
	forward(&m.i8, work, N, seqs, GPT2_ALL, all);
	for (int i = 0; i < N; i++)
	{
		forward(&m.i8, work, 1, &seqs[i], GPT2_ALL, part);
		alone &= memcmp(part, all + at[i], (at[i + 1] - at[i]) * sizeof(float)) == 0;
	}
	ok(alone, "width %d: int8 bits of 65 sequences together equal those of each alone", E);
	for (int n = 2; n <= N; n += 9)
	{
		forward(&m.i8, work, n, seqs + N - n, GPT2_ALL, part);
		batches &= memcmp(part, all + at[N - n], (at[N] - at[N - n]) * sizeof(float)) == 0;
	}
	ok(batches, "... and those of batches of 2, 11, 20 ... 65");
	forward(&m.i8, work, N, seqs, GPT2_LAST, part);
	for (int i = 0; i < N; i++)
		last &= memcmp(part + (size_t) i * E, all + at[i + 1] - E, E * sizeof(float)) == 0;
	ok(last, "... GPT2_LAST gives the last rows of GPT2_ALL");
	for (int t = 0; t < V; t++)
		every[t] = V - 1 - t;
	gpt2_logits(&m.i8, work, 3, all, logits, &err);
	for (int i = 0; i < 3; i++)
	{
		gpt2_logits_of(&m.i8, work, all + (size_t) i * E, V, every, some, &err);
		for (int t = 0; t < V; t++)
			chosen &= memcmp(&some[t], &logits[(size_t) i * V + every[t]], sizeof(float)) == 0;
	}
	ok(chosen, "... logits of chosen tokens equal those of the whole vocabulary");
}

/* One sequence whole; in pieces appended to one run; in pieces of which each is a run; and mixtures. */
static void
test_pieces(const TestShape *s, Gpt2Work *work)
{
	enum { MAX_RUNS = 8 };
	TestModel	m;
	int			E = s->n_embd,
				T = s->n_positions;
	int32_t    *tokens = test_alloc(&arena, T, sizeof(int32_t));
	float	   *whole = test_alloc(&arena, T, E * sizeof(float)),
			   *pieces = test_alloc(&arena, T, E * sizeof(float));
	Gpt2Seq		seq = {.n_token = T, .tokens = tokens};
	bool		appended = true,
				runs = true,
				shared = true;

	test_model(&arena, *s, &m);
	test_tokens(s->n_vocab, T, tokens);
	forward(&m.i8, work, 1, &seq, GPT2_ALL, whole);
	for (int round = 0; round < 6; round++)
	{
		KvRun		kv[MAX_RUNS];
		const KvRun *context[MAX_RUNS];
		int			done = 0;

		kv_alloc(&m.i8.cfg, T, &arena, &kv[0], &err);
		while (done < T)
		{
			int			n = round == 0 ? 1 : 1 + test_below(T - done);

			seq = (Gpt2Seq) {.own = &kv[0], .n_token = n, .tokens = tokens + done};
			forward(&m.i8, work, 1, &seq, GPT2_ALL, pieces + (size_t) done * E);
			done += n;
		}
		appended &= memcmp(pieces, whole, (size_t) T * E * sizeof(float)) == 0 && kv[0].count == T;

		memset(pieces, 0, (size_t) T * E * sizeof(float));
		done = 0;
		for (int r = 0; r < MAX_RUNS && done < T; r++)
		{
			int			left = T - done,
						n = r == MAX_RUNS - 1 ? left : 1 + test_below(left),
						first = 1 + test_below(n);

			kv_alloc(&m.i8.cfg, n, &arena, &kv[r], &err);
			context[r] = &kv[r];
			seq = (Gpt2Seq) {.n_context = r, .context = context, .own = &kv[r], .n_token = first,
				.tokens = tokens + done};
			forward(&m.i8, work, 1, &seq, GPT2_ALL, pieces + (size_t) done * E);
			seq.own = first < n ? &kv[r] : NULL;
			seq.n_token = n - first;
			seq.tokens += first;
			if (first < n)
				forward(&m.i8, work, 1, &seq, GPT2_ALL, pieces + (size_t) (done + first) * E);
			done += n;
		}
		runs &= memcmp(pieces, whole, (size_t) done * E * sizeof(float)) == 0;

		/* the rest of the sequence on top of each of its prefixes, all in one batch, keys kept for the pass only */
		{
			enum { N = 5 };
			Gpt2Seq		tails[N];
			const KvRun *prefix[N];
			int			cut[N];
			KvRun		prefixes[N];
			float	   *row = pieces;

			for (int i = 0; i < N; i++)
			{
				cut[i] = 1 + test_below(T - 1);
				kv_alloc(&m.i8.cfg, cut[i], &arena, &prefixes[i], &err);
				seq = (Gpt2Seq) {.own = &prefixes[i], .n_token = cut[i], .tokens = tokens};
				forward(&m.i8, work, 1, &seq, GPT2_LAST, pieces);
				prefix[i] = &prefixes[i];
				tails[i] = (Gpt2Seq) {.n_context = 1, .context = &prefix[i], .n_token = T - cut[i],
					.tokens = tokens + cut[i]};
			}
			forward(&m.i8, work, N, tails, GPT2_LAST, pieces);
			for (int i = 0; i < N; i++, row += E)
				shared &= memcmp(row, whole + (size_t) (T - 1) * E, E * sizeof(float)) == 0;
		}
	}
	ok(appended, "width %d, %d tokens: the same bits whole and appended piece by piece", E, T);
	ok(runs, "... and over a chain of finished runs");
	ok(shared, "... and over cached prefixes of any length, many at once");
}

static void
test_levels(const TestShape *s)
{
	static const KernLevel levels[] = {KERN_SCALAR, KERN_AVX2, KERN_AVXVNNI, KERN_AVX512VNNI, KERN_NEON};
	enum { N = 9 };
	TestModel	m;
	int			E = s->n_embd,
				V = s->n_vocab,
				total = 0;
	Gpt2Seq		seqs[N];
	float	   *want,
			   *got,
			   *want_logits = test_alloc(&arena, V, sizeof(float)),
			   *logits = test_alloc(&arena, V, sizeof(float));
	Gpt2Work   *work;

	test_model(&arena, *s, &m);
	for (int i = 0; i < N; i++)
	{
		int			n = 1 + test_below(30);
		int32_t    *tokens = test_alloc(&arena, n, sizeof(int32_t));

		test_tokens(V, n, tokens);
		seqs[i] = (Gpt2Seq) {.n_token = n, .tokens = tokens};
		total += n;
	}
	want = test_alloc(&arena, total, E * sizeof(float));
	got = test_alloc(&arena, total, E * sizeof(float));
	if (gpt2_work_create(&fsi_host_malloc, &kern_reference, &work, &err) != FSI_OK)
		exit(1);
	forward(&m.i8, work, N, seqs, GPT2_ALL, want);
	gpt2_logits(&m.i8, work, 1, want, want_logits, &err);
	gpt2_work_destroy(work);
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
	{
		work = work_at(levels[i]);
		if (work == NULL)
		{
			skip("level %d is not on this machine", levels[i]);
			continue;
		}
		memset(got, 0, (size_t) total * E * sizeof(float));
		forward(&m.i8, work, N, seqs, GPT2_ALL, got);
		gpt2_logits(&m.i8, work, 1, got, logits, &err);
		ok(memcmp(got, want, (size_t) total * E * sizeof(float)) == 0 &&
		   memcmp(logits, want_logits, V * sizeof(float)) == 0,
		   "width %d: level %s has the reference's bits", E, kern_ops(levels[i])->name);
		gpt2_work_destroy(work);
	}
}

/* ---- what must fail, and how ---- */

static int	refuse_after = -1;

static void *
refusing_alloc(void *ctx, size_t bytes)
{
	(void) ctx;
	if (refuse_after >= 0 && refuse_after-- == 0)
		return NULL;
	return fsi_host_malloc.alloc(NULL, bytes);
}

static void
test_failures(Gpt2Work *work)
{
	TestModel	m;
	int32_t		tokens[97];
	KvRun		kv;
	Gpt2Seq		seq = {.n_token = 97, .tokens = tokens};
	float	   *hidden = test_alloc(&arena, 97 * 48, sizeof(float)),
			   *again = test_alloc(&arena, 97 * 48, sizeof(float));
	FsiHost		host = fsi_host_malloc;
	Gpt2Work   *stopping;
	int			stops = 0,
				refused = 0;

	test_model(&arena, shapes[0], &m);
	test_tokens(101, 97, tokens);
	ok(gpt2_forward(&m.i8, work, 1, &seq, GPT2_ALL, hidden, &err) == FSI_LIMIT, "97 tokens in 96 positions: %s",
	   err.message);
	seq.n_token = 0;
	ok(gpt2_forward(&m.i8, work, 1, &seq, GPT2_ALL, hidden, &err) == FSI_INVALID, "no tokens: %s", err.message);
	seq.n_token = 5;
	tokens[3] = 101;
	ok(gpt2_forward(&m.i8, work, 1, &seq, GPT2_ALL, hidden, &err) == FSI_INVALID, "%s", err.message);
	tokens[3] = -1;
	ok(gpt2_forward(&m.i8, work, 1, &seq, GPT2_ALL, hidden, &err) == FSI_INVALID, "%s", err.message);
	tokens[3] = 7;
	kv_alloc(&m.i8.cfg, 16, &arena, &kv, &err);
	seq.own = &kv;
	seq.n_token = 17;
	ok(gpt2_forward(&m.i8, work, 1, &seq, GPT2_ALL, hidden, &err) == FSI_LIMIT && kv.count == 0, "%s", err.message);
	ok(kv_alloc(&m.i8.cfg, 97, &arena, &kv, &err) == FSI_LIMIT, "a run longer than the model: %s", err.message);
	kv_alloc(&m.i8.cfg, 16, &arena, &kv, &err);

	/* stop at every look, then go on as if nothing had been */
	host.should_stop = stop_soon;
	gpt2_work_create(&host, kern_ops(KERN_AUTO), &stopping, &err);
	seq.n_token = 12;
	for (bool stopped = true; stopped; stops += stopped)
	{
		polls_left = stops;
		stopped = gpt2_forward(&m.i8, stopping, 1, &seq, GPT2_ALL, hidden, &err) == FSI_CANCELLED && kv.count == 0;
	}
	seq.own = NULL;
	forward(&m.i8, work, 1, &seq, GPT2_ALL, again);
	ok(stops >= 3 * 3 && kv.count == 12 && memcmp(hidden, again, 12 * 48 * sizeof(float)) == 0,
	   "cancelled at each of %d looks, the run is as before; then it goes on", stops);
	gpt2_work_destroy(stopping);

	/* refuse memory at each request */
	host = fsi_host_malloc;
	host.alloc = refusing_alloc;
	for (FsiStatus status = FSI_NOMEM; status == FSI_NOMEM; refused++)
	{
		refuse_after = -1;
		gpt2_work_create(&host, kern_ops(KERN_AUTO), &stopping, &err);
		refuse_after = refused;
		status = gpt2_forward(&m.i8, stopping, 1, &seq, GPT2_ALL, hidden, &err);
		refuse_after = -1;
		gpt2_work_destroy(stopping);
		if (status != FSI_OK && status != FSI_NOMEM)
			refused = -1000;
	}
	ok(refused > 5, "memory refused at each of %d requests is FSI_NOMEM", refused - 1);
}

/* Weights that overflow must not crash, nor depend on the batch. */
static void
test_hostile_weights(Gpt2Work *work)
{
	TestModel	m;
	int32_t		tokens[20];
	Gpt2Seq		seq = {.n_token = 20, .tokens = tokens};
	float	   *hidden = test_alloc(&arena, 20 * 48, sizeof(float)),
			   *gain;

	test_model(&arena, shapes[0], &m);
	test_tokens(101, 20, tokens);
	gain = (float *) m.i8.layers[0].ln1_gain;
	for (int i = 0; i < 48; i++)
		gain[i] = i % 3 == 0 ? 3e38f : i % 3 == 1 ? -INFINITY : NAN;
	ok(gpt2_forward(&m.i8, work, 1, &seq, GPT2_ALL, hidden, &err) == FSI_OK, "overflowing weights do not crash");
}

static void
test_scratch(void)
{
	TestModel	m;
	Gpt2Work   *work = work_at(KERN_AUTO);
	int32_t		tokens[700];
	Gpt2Seq		seqs[50];
	float	   *hidden = test_alloc(&arena, 50 * 700, 64 * sizeof(float));
	size_t		one,
				many;

	test_model(&arena, shapes[2], &m);
	test_tokens(130, 700, tokens);
	for (int i = 0; i < 50; i++)
		seqs[i] = (Gpt2Seq) {.n_token = 700, .tokens = tokens};
	forward(&m.i8, work, 1, seqs, GPT2_ALL, hidden);
	one = gpt2_work_bytes(work);
	forward(&m.i8, work, 50, seqs, GPT2_ALL, hidden);
	many = gpt2_work_bytes(work);
	ok(many == one, "50 sequences of 700 tokens take the scratch of one: %zu KiB", many / 1024);
	gpt2_work_destroy(work);
}

int
main(void)
{
	Gpt2Work   *work;
	bool		blas;

	fsi_arena_init(&arena, &fsi_host_malloc);
	work = work_at(KERN_AUTO);
	blas = kern_blas_load(&err) == FSI_OK;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
	{
		if (blas)
			test_right(&shapes[i], work);
		else
			skip("%s", err.message);
		test_batches(&shapes[i], work);
		test_pieces(&shapes[i], work);
		test_levels(&shapes[i]);
	}
	test_failures(work);
	test_hostile_weights(work);
	test_scratch();
	gpt2_work_destroy(work);
	fsi_arena_free(&arena);
	return tap_done();
}
