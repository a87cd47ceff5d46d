/*
 * test_engine_trie.c
 *	  The label trie against plain forward passes over whole sequences, its modes against
 *	  one another, and what cannot be built.
 */
#include "engine_model.h"

/* A second copy of the search whose memory for keys and values is ours to set. */
static size_t kv_budget;
#define TRIE_KV_BYTES kv_budget
#define trie_score_rows trie_score_rows_within
extern FsiStatus trie_score_rows_within(const Gpt2Model *, Gpt2Work *, const Trie *, int, TrieRow *, TrieScoring,
										FsiArena *, FsiError *);
#include "../../src/engine/trie_score.c"
#undef trie_score_rows

enum { VOCAB = 60, END = 1, PREFIX = 9 };

static const TestShape shape = {2, 3, 48, 64, 160, VOCAB, KERN_ACT_GELU_NEW, true, true, false};
static FsiArena arena;
static TestModel model;
static Gpt2Work *work;

typedef struct Labels
{
	int			n;
	TokIds		ids[200];
	const char *names[200];
} Labels;

typedef FsiStatus ScoreRows(const Gpt2Model *, Gpt2Work *, const Trie *, int, TrieRow *, TrieScoring, FsiArena *,
							FsiError *);

/* One message alone. */
static FsiStatus
score_with(ScoreRows *score_rows, const Gpt2Model *m, Gpt2Work *w, const Trie *trie, int n_context,
		   const KvRun *const *context, const float *hidden, TrieScoring scoring, FsiArena *a, int *best,
		   double *score, FsiError *e)
{
	TrieRow		row = {.n_context = n_context, .context = context, .hidden = hidden, .score = score};

	FSI_TRY(score_rows(m, w, trie, 1, &row, scoring, a, e));
	*best = row.best;
	return FSI_OK;
}

#define trie_score(...) score_with(trie_score_rows, __VA_ARGS__)
#define trie_score_within(...) score_with(trie_score_rows_within, __VA_ARGS__)

static void
add_label(Labels *labels, int n, const int32_t *tokens)
{
	char	   *name = test_alloc(&arena, 16, 1);

	snprintf(name, 16, "label %d", labels->n);
	labels->names[labels->n] = name;
	labels->ids[labels->n].ids = test_alloc(&arena, n + 1, sizeof(int32_t));
	memcpy(labels->ids[labels->n].ids, tokens, n * sizeof(int32_t));
	labels->ids[labels->n++].n = n;
}

/* Random labels over few tokens, so that many share beginnings and some are the beginning of others. */
static void
random_labels(Labels *labels, int n, int n_token, int longest)
{
	labels->n = 0;
	while (labels->n < n)
	{
		int32_t		tokens[64];
		int			length = test_below(longest + 1);
		bool		old = false;

		for (int i = 0; i < length; i++)
			tokens[i] = 2 + test_below(n_token);
		for (int i = 0; i < labels->n; i++)
			old |= (int) labels->ids[i].n == length && memcmp(labels->ids[i].ids, tokens, length * sizeof(int32_t)) == 0;
		if (!old)
			add_label(labels, length, tokens);
	}
}

/* ---- brute force: every label token by token, each with a forward pass over everything before it ---- */

static void
next_logits(int n_prefix, const int32_t *prefix, int n, const int32_t *tokens, float *logits)
{
	int32_t		all[160];
	float		hidden[48];
	Gpt2Seq		seq = {.n_token = n_prefix + n, .tokens = all};

	memcpy(all, prefix, n_prefix * sizeof(int32_t));
	memcpy(all + n_prefix, tokens, n * sizeof(int32_t));
	must(gpt2_forward(&model.i8, work, 1, &seq, GPT2_LAST, hidden, &err));
	must(gpt2_logits(&model.i8, work, 1, hidden, logits, &err));
}

static int
token_at(const TokIds *label, int i)
{
	return i < (int) label->n ? label->ids[i] : i == (int) label->n ? END : -1;
}

/* Log-probability of label l: over tokens that other labels with the same beginning go on with, or over all. */
static double
brute_logp(const Labels *labels, int l, bool sequence, int n_prefix, const int32_t *prefix)
{
	float		logits[VOCAB];
	double		logp = 0;

	for (int i = 0; i <= (int) labels->ids[l].n; i++)
	{
		bool		next[VOCAB] = {false};
		double		sum = 0;

		for (int o = 0; o < labels->n; o++)
		{
			bool		same = (int) labels->ids[o].n >= i;

			for (int t = 0; same && t < i; t++)
				same = token_at(&labels->ids[o], t) == token_at(&labels->ids[l], t);
			if (same)
				next[token_at(&labels->ids[o], i)] = true;
		}
		next_logits(n_prefix, prefix, i, labels->ids[l].ids, logits);
		for (int t = 0; t < VOCAB; t++)
			if (sequence || next[t])
				sum += exp(logits[t]);
		logp += logits[token_at(&labels->ids[l], i)] - log(sum);
	}
	return logp;
}

typedef struct Message
{
	int32_t		tokens[PREFIX];
	KvRun		runs[2];
	const KvRun *context[2];
	float		hidden[48];
} Message;

/* A message of PREFIX tokens in two runs, as a statement's prefix and its row. */
static void
make_message(Message *m)
{
	Gpt2Seq		seq = {.own = &m->runs[0], .n_token = 4, .tokens = m->tokens};

	test_tokens(VOCAB, PREFIX, m->tokens);
	for (int r = 0; r < 2; r++)
	{
		must(kv_alloc(&model.i8.cfg, 16, &arena, &m->runs[r], &err));
		m->context[r] = &m->runs[r];
	}
	must(gpt2_forward(&model.i8, work, 1, &seq, GPT2_LAST, m->hidden, &err));
	seq = (Gpt2Seq) {.n_context = 1, .context = m->context, .own = &m->runs[1], .n_token = PREFIX - 4,
		.tokens = m->tokens + 4};
	must(gpt2_forward(&model.i8, work, 1, &seq, GPT2_LAST, m->hidden, &err));
}

/* Small logits, so that many labels have a chance. */
static void
flatten(TestModel *m)
{
	for (int i = 0; i < m->i8.cfg.n_embd; i++)
		((float *) m->i8.lnf_gain)[i] *= 0.1f;
}

/* Difference of two probabilities as logarithms. */
static double
log_distance(double a, double b)
{
	return a == b ? 0 : fabs(log(a) - log(b));
}

static int
argmax(int n, const double *v)
{
	int			best = 0;

	for (int i = 1; i < n; i++)
		if (v[i] > v[best])
			best = i;
	return best;
}

static void
test_labels(const char *what, const Labels *labels)
{
	Trie	   *trie;
	Message		m;
	int			best,
				n = labels->n;
	double	   *all = test_alloc(&arena, n, sizeof(double)),
			   *sequence = test_alloc(&arena, n, sizeof(double)),
			   *logp = test_alloc(&arena, n, sizeof(double)),
			   *one = test_alloc(&arena, n, sizeof(double)),
				worst = 0,
				sum = 0,
				total = 0;
	bool		rest = true;

	make_message(&m);
	must(trie_build(&model.i8.cfg, n, labels->ids, labels->names, &arena, &trie, &err));
	must(trie_score(&model.i8, work, trie, 2, m.context, m.hidden, TRIE_ALL, &arena, &best, all, &err));
	for (int i = 0; i < n; i++)
	{
		worst = fmax(worst, log_distance(all[i], exp(brute_logp(labels, i, false, PREFIX, m.tokens))));
		sum += all[i];
	}
	ok(worst < 1e-9 && fabs(sum - 1) < 1e-12, "%s: TRIE_ALL is the product of softmaxes over children (%.0e)", what, worst);
	ok(best == argmax(n, all), "... and its best is the largest");
	must(trie_score(&model.i8, work, trie, 2, m.context, m.hidden, TRIE_BEST, &arena, &best, one, &err));
	for (int i = 0; i < n; i++)
		rest &= i == best || one[i] == 0;
	ok(best == argmax(n, all) && memcmp(&one[best], &all[best], sizeof(double)) == 0 && rest,
	   "... TRIE_BEST finds it with the same bits");
	must(trie_score(&model.i8, work, trie, 2, m.context, m.hidden, TRIE_SEQUENCE, &arena, &best, sequence, &err));
	for (int i = 0; i < n; i++)
		total += logp[i] = exp(brute_logp(labels, i, true, PREFIX, m.tokens));
	worst = 0;
	for (int i = 0; i < n; i++)
		worst = fmax(worst, log_distance(sequence[i], logp[i] / total));
	ok(worst < 3e-5 && best == argmax(n, sequence), "... TRIE_SEQUENCE is the likelihood of the whole label (%.0e)", worst);
}

/* Many messages at once, and in any order of labels: the same bits. */
static void
test_rows(const Labels *labels)
{
	enum { ROWS = 70 };
	Trie	   *trie,
			   *turned;
	Message    *m = test_alloc(&arena, ROWS, sizeof(Message));
	TrieRow		rows[ROWS];
	Labels	   *reverse = test_alloc(&arena, 1, sizeof(Labels));
	int			n = labels->n;

	reverse->n = n;
	for (int i = 0; i < n; i++)
	{
		reverse->ids[i] = labels->ids[n - 1 - i];
		reverse->names[i] = labels->names[n - 1 - i];
	}
	must(trie_build(&model.i8.cfg, n, labels->ids, labels->names, &arena, &trie, &err));
	must(trie_build(&model.i8.cfg, n, reverse->ids, reverse->names, &arena, &turned, &err));
	for (int r = 0; r < ROWS; r++)
		make_message(&m[r]);
	for (int scoring = TRIE_BEST; scoring <= TRIE_SEQUENCE; scoring++)
	{
		static const char *const names[] = {"TRIE_BEST", "TRIE_ALL", "TRIE_SEQUENCE"};
		double	   *one = test_alloc(&arena, n, sizeof(double));
		bool		same = true,
					permuted = true,
					unkept = true;
		int			best;

		for (int r = 0; r < ROWS; r++)
			rows[r] = (TrieRow) {.n_context = 2, .context = m[r].context, .hidden = m[r].hidden,
				.score = test_alloc(&arena, n, sizeof(double))};
		must(trie_score_rows(&model.i8, work, trie, ROWS, rows, scoring, &arena, &err));
		for (int r = 0; r < ROWS; r++)
		{
			must(trie_score(&model.i8, work, trie, 2, m[r].context, m[r].hidden, scoring, &arena, &best, one, &err));
			same &= best == rows[r].best && memcmp(one, rows[r].score, n * sizeof(double)) == 0;
			must(trie_score(&model.i8, work, turned, 2, m[r].context, m[r].hidden, scoring, &arena, &best, one, &err));
			for (int i = 0; i < n; i++)
				permuted &= memcmp(&one[n - 1 - i], &rows[r].score[i], sizeof(double)) == 0;
			permuted &= best == n - 1 - rows[r].best;
			kv_budget = (size_t) test_below(6) * kv_bytes(&model.i8.cfg, 1);
			must(trie_score_within(&model.i8, work, trie, 2, m[r].context, m[r].hidden, scoring, &arena, &best, one, &err));
			unkept &= best == rows[r].best && memcmp(one, rows[r].score, n * sizeof(double)) == 0;
		}
		ok(same, "%s: %d messages of %d labels at once have the bits of each alone", names[scoring], ROWS, n);
		ok(permuted, "... and turning the labels round turns the scores");
		ok(unkept, "... and so have walks that keep the keys of 0 to 5 tokens only");
	}
}

/* ---- how much is fed ---- */

static long tokens_fed,
			passes;
static KernOps counting;

static void
counting_gemm(int m, const uint8_t *q, int ldq, const KernCode *code, const KernMatrix *w, const float *bias,
			  KernAct act, bool residual, float *y, int ldy, void *scratch)
{
	if (residual && w->k == shape.n_embd)
	{
		tokens_fed += m;		/* attention's projection: once a layer, in the last one for last rows only */
		passes++;
	}
	kern_ops(KERN_AUTO)->gemm_i8(m, q, ldq, code, w, bias, act, residual, y, ldy, scratch);
}

static Message fed_message;		/* the same for all counts */

static long
fed(const Labels *labels, TrieScoring scoring)
{
	Gpt2Work   *counted;
	Trie	   *trie;
	Message		m = fed_message;
	int			best;
	double	   *score = test_alloc(&arena, labels->n, sizeof(double));

	counting = *kern_ops(KERN_AUTO);
	counting.gemm_i8 = counting_gemm;
	m.context[0] = &m.runs[0];
	m.context[1] = &m.runs[1];
	must(gpt2_work_create(&fsi_host_malloc, &counting, &counted, &err));
	must(trie_build(&model.i8.cfg, labels->n, labels->ids, labels->names, &arena, &trie, &err));
	tokens_fed = passes = 0;
	must(trie_score(&model.i8, counted, trie, 2, m.context, m.hidden, scoring, &arena, &best, score, &err));
	gpt2_work_destroy(counted);
	return tokens_fed;
}

static void
test_cost(void)
{
	Labels	   *labels = test_alloc(&arena, 1, sizeof(Labels));
	long		all,
				best;
	float		logits[VOCAB];
	int32_t		order[VOCAB - 2];

	make_message(&fed_message);
	for (int i = 0; i < 8; i++)
		add_label(labels, 4, (int32_t[]) {10 + i, 20, 21, 22});
	all = fed(labels, TRIE_ALL);
	best = fed(labels, TRIE_BEST);
	ok(all == 0 && best == 0, "labels with distinct first tokens cost nothing");
	ok(fed(labels, TRIE_SEQUENCE) == 2 * 8 * 4, "... their full likelihood 4 tokens each");

	labels->n = 0;
	for (int i = 0; i < 8; i++)
		add_label(labels, 4, (int32_t[]) {10 + i / 2, 20, 21 + i % 2, 22});
	ok(fed(labels, TRIE_ALL) == 4 * (2 + 1), "4 pairs that share two tokens: 2 tokens a pair, the last layer once");
	ok(fed(labels, TRIE_BEST) % (2 + 1) == 0 && fed(labels, TRIE_BEST) <= fed(labels, TRIE_ALL),
	   "... best first feeds no more");
	ok(fed(labels, TRIE_SEQUENCE) == 2 * 4 * (2 + 2 * 2), "... full likelihood: shared tokens once");

	labels->n = 0;
	for (int i = 0; i < 40; i++)
		add_label(labels, 2, (int32_t[]) {2 + i / 2, 2 + i});
	best = fed(labels, TRIE_BEST);
	ok(best >= 2 * (1 + 1) && passes == shape.n_layer, "what may yet win is fed beside the best: %ld tokens in %ld pass", best / 2,
	   passes / shape.n_layer);

	/* tokens from the likeliest on: a label of the first one alone beats what any pair behind the others can reach */
	next_logits(PREFIX, fed_message.tokens, 0, fed_message.tokens, logits);
	for (int i = 0; i < VOCAB - 2; i++)
	{
		int			at = i;

		for (; at > 0 && logits[order[at - 1]] < logits[i + 2]; at--)
			order[at] = order[at - 1];
		order[at] = i + 2;
	}
	labels->n = 0;
	add_label(labels, 1, &order[0]);
	for (int i = 0; i < 8; i++)
		add_label(labels, 2, (int32_t[]) {order[1 + i / 2], 20 + i});
	ok(fed(labels, TRIE_BEST) == 0 && fed(labels, TRIE_ALL) == 4 * (1 + 1), "best first feeds nothing that cannot win");
	labels->n = 0;
	add_label(labels, 1, &order[1]);
	for (int i = 0; i < 8; i++)
		add_label(labels, 2, (int32_t[]) {order[i / 2 == 0 ? 0 : 1 + i / 2], 20 + i});
	ok(fed(labels, TRIE_BEST) == 1 + 1, "... and the one pair that might");

	labels->n = 0;
	add_label(labels, 4, (int32_t[]) {10, 20, 21, 22});
	ok(fed(labels, TRIE_ALL) == 0 && fed(labels, TRIE_BEST) == 0, "a single label costs nothing");
}

/* Nodes fed with the message, behind it: the same bits as in passes of their own. */
static void
test_ahead(void)
{
	Labels	   *labels = test_alloc(&arena, 1, sizeof(Labels));
	bool		same = true;

	for (int i = 0; i < 6; i++)
		add_label(labels, 3, (int32_t[]) {10 + i / 2, 20 + i, 21});
	add_label(labels, 4, (int32_t[]) {10, 20, 30, 31});
	add_label(labels, 2, (int32_t[]) {15, 30});
	for (int r = 0; r < 20; r++)
	{
		Trie	   *trie;
		Message		m;
		float		hidden[(1 + TRIE_AHEAD) * 48];
		KvRun		own;
		const KvRun *context[2] = {&m.runs[0], &own};
		Gpt2Seq		seqs[1 + TRIE_AHEAD];
		double		score[8],
					want[8];
		TrieRow		row = {.n_context = 2, .context = context, .hidden = hidden, .ahead = hidden + 48, .score = score};
		int			best,
					n;

		make_message(&m);
		must(trie_build(&model.i8.cfg, labels->n, labels->ids, labels->names, &arena, &trie, &err));
		n = trie_ahead(trie, seqs + 1);
		must(kv_alloc(&model.i8.cfg, PREFIX, &arena, &own, &err));
		seqs[0] = (Gpt2Seq) {.n_context = 1, .context = context, .own = &own, .n_token = PREFIX - 4, .tokens = m.tokens + 4};
		for (int i = 1; i <= n; i++)
			seqs[i] = (Gpt2Seq) {.n_context = 2, .context = context, .n_ahead = PREFIX - 4, .n_token = seqs[i].n_token,
				.tokens = seqs[i].tokens};
		must(gpt2_forward(&model.i8, work, 1 + n, seqs, GPT2_LAST, hidden, &err));
		must(trie_score_rows(&model.i8, work, trie, 1, &row, TRIE_BEST, &arena, &err));
		must(trie_score(&model.i8, work, trie, 2, m.context, m.hidden, TRIE_BEST, &arena, &best, want, &err));
		same &= n == 3 && best == row.best && memcmp(want, score, labels->n * sizeof(double)) == 0;
	}
	ok(same, "nodes fed with their message give the bits of those fed after it");
}

/* ---- many branchings: more keys and values than are kept ---- */

static void
test_large(void)
{
	static const TestShape wide = {24, 2, 512, 16, 220, VOCAB, KERN_ACT_NONE, true, true, false};
	TestModel	big;
	Labels	   *labels = test_alloc(&arena, 1, sizeof(Labels));
	Trie	   *trie;
	KvRun		kv;
	const KvRun *context = &kv;
	int32_t		tokens[200],
				label[150];
	float		hidden[512];
	Gpt2Seq		seq = {.own = &kv, .n_token = 5, .tokens = tokens};
	double		score[200],
				again[200],
				sum = 0;
	int			best,
				first;
	FsiArena	own;

	test_model(&arena, wide, &big);
	flatten(&big);
	test_tokens(VOCAB, 200, tokens);
	must(kv_alloc(&big.i8.cfg, 16, &arena, &kv, &err));
	must(gpt2_forward(&big.i8, work, 1, &seq, GPT2_LAST, hidden, &err));

	/* a chain: every beginning of a long label is a label; and side branches deep down */
	for (int i = 0; i < 120; i++)
		label[i] = 2 + i % 50;
	for (int i = 1; i <= 120; i++)
		add_label(labels, i, label);
	for (int i = 0; i < 60; i++)
	{
		label[2 * i + 1] = 55;
		add_label(labels, 2 * i + 2, label);
		label[2 * i + 2] = 56;
		label[2 * i + 3] = 57;
		if (i < 10)
			add_label(labels, 2 * i + 4, label);
		for (int k = 2 * i + 1; k < 2 * i + 4; k++)
			label[k] = 2 + k % 50;
	}
	fsi_arena_init(&own, &fsi_host_malloc);
	must(trie_build(&big.i8.cfg, labels->n, labels->ids, labels->names, &arena, &trie, &err));
	must(trie_score(&big.i8, work, trie, 1, &context, hidden, TRIE_ALL, &own, &best, score, &err));
	first = best;
	for (int i = 0; i < labels->n; i++)
		sum += score[i];
	ok(fabs(sum - 1) < 1e-12 && best == argmax(labels->n, score), "%d labels, 120 tokens deep: scores sum to 1", labels->n);
	{
		/* the same walk by hand: probability of the whole chain */
		double		logp = 0;

		for (int i = 0; i < 120; i++)
		{
			float		logits[VOCAB];
			double		total = 0;
			int32_t		all[200];
			Gpt2Seq		plain = {.n_token = 5 + i, .tokens = all};

			memcpy(all, tokens, 5 * sizeof(int32_t));
			for (int k = 0; k < i; k++)
				all[5 + k] = 2 + k % 50;
			must(gpt2_forward(&big.i8, work, 1, &plain, GPT2_LAST, hidden, &err));
			must(gpt2_logits(&big.i8, work, 1, hidden, logits, &err));
			if (i > 0)
				total += exp(logits[END]);
			total += exp(logits[2 + i % 50]);
			if (i % 2 == 1)
				total += exp(logits[55]);
			logp += logits[2 + i % 50] - log(total);
		}
		ok(log_distance(exp(logp), score[119]) < 1e-9, "... the deepest has the chain's product (%.3e)", score[119]);
	}
	must(gpt2_forward(&big.i8, work, 1, &(Gpt2Seq) {.n_token = 5, .tokens = tokens}, GPT2_LAST, hidden, &err));
	must(trie_score(&big.i8, work, trie, 1, &context, hidden, TRIE_BEST, &own, &best, NULL, &err));
	ok(best == first, "... best first agrees");
	kv_budget = 0;
	must(trie_score_within(&big.i8, work, trie, 1, &context, hidden, TRIE_ALL, &own, &best, again, &err));
	ok(memcmp(score, again, labels->n * sizeof(double)) == 0, "... and a walk that keeps no keys");
	ok(own.bytes < (size_t) 4 << 20, "... and the arena is given back: %zu bytes held", own.bytes);
	fsi_arena_free(&own);
}

/* ---- what cannot be built ---- */

static void
test_refused(void)
{
	Labels	   *labels = test_alloc(&arena, 1, sizeof(Labels));
	Trie	   *trie;
	Gpt2Config	cfg = model.i8.cfg;
	int			a = -1,
				b = -1;
	char		chinese[400] = "";

	add_label(labels, 2, (int32_t[]) {5, 6});
	add_label(labels, 1, (int32_t[]) {100 % VOCAB});
	add_label(labels, 2, (int32_t[]) {5, 7});
	add_label(labels, 1, (int32_t[]) {100 % VOCAB});
	add_label(labels, 2, (int32_t[]) {5, 6});
	labels->names[1] = "FDA", labels->names[3] = "iPhone";
	ok(trie_build(&cfg, 5, labels->ids, labels->names, &arena, &trie, &err) == FSI_COLLISION &&
	   strstr(err.message, "\"label 0\"") != NULL && strstr(err.message, "\"label 4\"") != NULL,
	   "equal tokens: %s; %s", err.message, err.detail);
	ok(trie_build(&cfg, 4, labels->ids, labels->names, &arena, &trie, &err) == FSI_COLLISION &&
	   strstr(err.message, "\"FDA\" and \"iPhone\"") != NULL, "all unknown: %s", err.message);
	ok(label_collision(5, labels->ids, &arena, &a, &b, &err) == FSI_COLLISION && a == 0 && b == 4,
	   "label_collision() gives the numbers");
	ok(label_collision(3, labels->ids, &arena, &a, &b, &err) == FSI_OK, "... and passes distinct ones");
	for (int i = 0; i < 100; i++)
		strcat(chinese, "退");
	labels->names[0] = labels->names[4] = chinese;
	trie_build(&cfg, 5, labels->ids, labels->names, &arena, &trie, &err);
	ok(strlen(err.message) < 300 && strstr(err.message, "退\" and \"退") != NULL,
	   "a long name is cut between characters");
	ok(trie_build(&cfg, 0, labels->ids, labels->names, &arena, &trie, &err) == FSI_INVALID, "%s", err.message);
	cfg.end = 6;
	ok(trie_build(&cfg, 1, labels->ids, labels->names, &arena, &trie, &err) == FSI_INVALID, "%s", err.message);
	cfg.end = TOK_NONE;
	ok(trie_build(&cfg, 1, labels->ids, labels->names, &arena, &trie, &err) == FSI_UNSUPPORTED, "%s", err.message);
	cfg = model.i8.cfg;
	labels->ids[0].n = 160;
	ok(trie_build(&cfg, 1, labels->ids, labels->names, &arena, &trie, &err) == FSI_LIMIT, "a label longer than the model");
	labels->ids[0].n = 2;
	labels->ids[0].ids[1] = VOCAB;
	labels->names[0] = "x";
	ok(trie_build(&cfg, 1, labels->ids, labels->names, &arena, &trie, &err) == FSI_INVALID, "%s", err.message);
	labels->ids[0].ids[1] = 9;
	ok(trie_build(&cfg, 3, labels->ids, labels->names, &arena, &trie, &err) == FSI_OK && trie_max_tokens(trie) == 2,
	   "the longest label's tokens are counted");
}

/* Equal scores: the smaller number wins in every mode. */
static void
test_ties(void)
{
	TestModel	flat;
	Labels	   *labels = test_alloc(&arena, 1, sizeof(Labels));
	Trie	   *trie;
	Message		m;
	int			best;
	double		score[3];
	bool		smallest = true;

	test_model(&arena, shape, &flat);
	memset((float *) flat.i8.head.scale, 0, KERN_ROUND_UP(VOCAB, KERN_PANEL) * sizeof(float));	/* all logits 0 */
	add_label(labels, 1, (int32_t[]) {30});
	add_label(labels, 1, (int32_t[]) {20});
	add_label(labels, 1, (int32_t[]) {10});
	make_message(&m);
	must(trie_build(&flat.i8.cfg, 3, labels->ids, labels->names, &arena, &trie, &err));
	for (int scoring = TRIE_BEST; scoring <= TRIE_SEQUENCE; scoring++)
	{
		must(trie_score(&flat.i8, work, trie, 2, m.context, m.hidden, scoring, &arena, &best, score, &err));
		smallest &= best == 0;
	}
	ok(smallest, "equal scores: the smallest label number in every mode");

	/* three tokens of one vector, and logits beside which log(3) is nothing */
	for (int i = 20; i <= 30; i += 10)
		memcpy((float *) flat.f32.head.w + i * shape.n_embd, flat.f32.head.w + 10 * shape.n_embd,
			   shape.n_embd * sizeof(float));
	for (int i = 0; i < shape.n_embd; i++)
		m.hidden[i] *= 1e18f;
	must(trie_score(&flat.f32, work, trie, 2, m.context, m.hidden, TRIE_ALL, &arena, &best, score, &err));
	ok(fabs(score[0] + score[1] + score[2] - 1) < 1e-12, "huge logits: the scores sum to 1");
}

int
main(void)
{
	Labels	   *labels;

	fsi_arena_init(&arena, &fsi_host_malloc);
	labels = test_alloc(&arena, 1, sizeof(Labels));
	must(gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err));
	test_model(&arena, shape, &model);
	flatten(&model);
	add_label(labels, 3, (int32_t[]) {5, 6, 7});
	test_labels("one label", labels);
	random_labels(labels, 2, 3, 2);
	test_labels("two labels", labels);
	random_labels(labels, 8, 40, 4);
	test_labels("eight labels", labels);
	random_labels(labels, 30, 2, 5);
	test_labels("thirty labels of two tokens", labels);
	random_labels(labels, 100, 4, 10);
	test_labels("a hundred deep labels", labels);
	test_rows(labels);
	random_labels(labels, 6, 3, 3);
	test_rows(labels);
	test_cost();
	test_ahead();
	test_large();
	test_refused();
	test_ties();
	gpt2_work_destroy(work);
	fsi_arena_free(&arena);
	return tap_done();
}
