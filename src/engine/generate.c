/*
 * generate.c
 *	  Free generation: greedy, or sampled with a seed.
 *
 * The options mean what they mean in transformers' generate(), applied in its order:
 * repetition penalty (a token seen in prompt or answer: logit / p if positive, else * p),
 * temperature, top_k (ties with the k-th stay), top_p (the fewest best tokens whose
 * probabilities reach top_p).  Sampling draws with xoshiro256** (Blackman and Vigna 2018)
 * seeded through splitmix64 and adds in double with our own exp: a seed gives the same
 * text on every machine.  Equal logits: the smaller token is the better one.
 */
#include "work.h"

/* Full-vocabulary logits at a time: 1.4 MB for 21,128 tokens; the head's weights are read once for all of them. */
#define LOGIT_ROWS 16

/* ---------------------------------------------------------------- random numbers */

typedef struct Random
{
	uint64_t	s[4];
} Random;

static void
random_seed(Random *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = fsi_mix64(seed += FSI_GOLDEN64);
}

static uint64_t
rotate_left(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

/* Uniform in [0, 1), 53 bits. */
static double
random_unit(Random *r)
{
	uint64_t   *s = r->s,
				result = rotate_left(s[1] * 5, 7) * 9,
				t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return (double) (result >> 11) * 0x1p-53;
}

/* ---------------------------------------------------------------- choosing a token */

typedef struct Chooser
{
	const SampleOptions *opt;
	int			n_vocab;
	float	   *logits;			/* [n_vocab] */
	bool	   *seen;			/* [n_vocab] tokens of prompt and answer */
	int32_t    *heap;			/* [n_vocab] */
	double	   *weight;			/* [n_vocab] of the kept tokens, best first */
	Random		random;
} Chooser;

/* Does token a stand before b: larger logit, then smaller number? */
static bool
before(const float *logits, int32_t a, int32_t b)
{
	return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

static void
sift_down(const float *logits, int32_t *heap, int n, int at)
{
	int32_t		token = heap[at];

	for (int child; (child = 2 * at + 1) < n; at = child)
	{
		if (child + 1 < n && before(logits, heap[child + 1], heap[child]))
			child++;
		if (before(logits, token, heap[child]))
			break;
		heap[at] = heap[child];
	}
	heap[at] = token;
}

static void
penalise_repetition(Chooser *c)
{
	float		penalty = (float) c->opt->repetition_penalty;

	if (penalty == 1)
		return;
	for (int t = 0; t < c->n_vocab; t++)
		if (c->seen[t])
			c->logits[t] = c->logits[t] < 0 ? c->logits[t] * penalty : c->logits[t] / penalty;
}

static int32_t
choose_greedy(const float *logits, int n_vocab)
{
	int32_t		best = 0;

	for (int32_t t = 1; t < n_vocab; t++)
		if (before(logits, t, best))
			best = t;
	return best;
}

/* exp((logit - best) / temperature): a token's weight before it is divided by the sum. */
static double
weight_of(const Chooser *c, int32_t token, float best)
{
	return fsi_exp(((double) c->logits[token] - best) / c->opt->temperature);
}

/* Draw among the tokens that top_k and top_p leave; they are taken off a heap, best first. */
static int32_t
choose_sampled(Chooser *c)
{
	int			n = c->n_vocab,
				limit = c->opt->top_k > 0 && c->opt->top_k < n ? c->opt->top_k : n,
				kept = 0;
	float		best,
				last = 0;
	double		total = 0,		/* of what top_k leaves */
				sum = 0,
				draw;
	int32_t		chosen = 0;

	for (int32_t t = 0; t < n; t++)
		c->heap[t] = t;
	for (int at = n / 2 - 1; at >= 0; at--)
		sift_down(c->logits, c->heap, n, at);
	best = c->logits[c->heap[0]];
	if (limit == n)
		for (int32_t t = 0; t < n; t++)
			total += weight_of(c, t, best);
	for (int left = n; left > 0; left--)
	{
		int32_t		token = c->heap[0];

		if (kept >= limit && c->logits[token] < last)
			break;
		if (limit == n && kept > 0 && sum >= c->opt->top_p * total)
			break;
		last = c->logits[token];
		c->weight[kept] = weight_of(c, token, best);
		sum += c->weight[kept++];
		c->heap[0] = c->heap[left - 1];
		c->heap[left - 1] = token;	/* kept tokens gather at the end, best last */
		sift_down(c->logits, c->heap, left - 1, 0);
	}
	if (limit < n)				/* top_p of what top_k left */
	{
		int			all = kept;

		total = sum;
		for (sum = 0, kept = 0; kept < all && (kept == 0 || sum < c->opt->top_p * total); kept++)
			sum += c->weight[kept];
	}
	draw = random_unit(&c->random) * sum;
	for (int i = 0; i < kept; i++)
	{
		chosen = c->heap[n - 1 - i];
		draw -= c->weight[i];
		if (draw < 0)
			break;
	}
	return chosen;
}

static void
clean_logits(float *logits, int n_vocab)
{
	for (int t = 0; t < n_vocab; t++)
		logits[t] = bounded_logit(logits[t]);
}

static int32_t
choose(Chooser *c)
{
	penalise_repetition(c);
	clean_logits(c->logits, c->n_vocab);
	return c->opt->temperature == 0 ? choose_greedy(c->logits, c->n_vocab) : choose_sampled(c);
}

/* ---------------------------------------------------------------- the loop */

static FsiStatus
check_options(const SampleOptions *opt, FsiError *err)
{
	if (opt->max_new_tokens < 0)
		return fsi_fail(err, FSI_INVALID, "max_new_tokens must not be negative");
	if (!(opt->temperature >= 0 && opt->temperature <= 1e6))
		return fsi_fail(err, FSI_INVALID, "temperature must be between 0 and 1000000");
	if (opt->temperature > 0 && !(opt->temperature >= 1e-6))
		return fsi_fail(err, FSI_INVALID, "temperature must be 0 (greedy) or at least 0.000001");
	if (!(opt->top_p > 0 && opt->top_p <= 1))
		return fsi_fail(err, FSI_INVALID, "top_p must be above 0 and at most 1");
	if (opt->top_k < 0)
		return fsi_fail(err, FSI_INVALID, "top_k must not be negative");
	if (!(opt->repetition_penalty >= 1e-3 && opt->repetition_penalty <= 1e3))
		return fsi_fail(err, FSI_INVALID, "repetition_penalty must be between 0.001 and 1000");
	return FSI_OK;
}

static FsiStatus
chooser_create(Chooser *c, const Gpt2Config *cfg, const SampleOptions *opt, FsiArena *arena, FsiError *err)
{
	size_t		V = cfg->n_vocab;

	c->opt = opt;
	c->n_vocab = cfg->n_vocab;
	c->logits = fsi_arena_array(arena, V, sizeof(float));
	c->seen = fsi_arena_zero(arena, V, sizeof(bool));
	c->heap = fsi_arena_array(arena, V, sizeof(int32_t));
	c->weight = fsi_arena_array(arena, V, sizeof(double));
	random_seed(&c->random, opt->seed);
	if (c->logits == NULL || c->seen == NULL || c->heap == NULL || c->weight == NULL)
		return fsi_nomem(err, V * (sizeof(float) + sizeof(bool) + sizeof(int32_t) + sizeof(double)));
	return FSI_OK;
}

FsiStatus
gpt2_generate(const Gpt2Model *model, Gpt2Work *work, const int32_t *prompt, int n_prompt,
			  const SampleOptions *opt, FsiArena *arena, TokIds *out, FsiError *err)
{
	const Gpt2Config *cfg = &model->cfg;
	int			room = cfg->n_positions - n_prompt,
				limit = opt->max_new_tokens < room ? opt->max_new_tokens : room;
	FsiArenaMark mark;
	Chooser		chooser;
	KvRun		kv;
	Gpt2Seq		seq = {.own = &kv, .n_token = n_prompt, .tokens = prompt};
	float	   *hidden;			/* (E) */

	FSI_TRY(check_options(opt, err));
	if (n_prompt < 1)
		return fsi_fail(err, FSI_INVALID, "the prompt has no tokens");
	if (room < 1)
		return fsi_fail(err, FSI_LIMIT, "a prompt of %d tokens leaves no room in the model's %d positions",
						n_prompt, cfg->n_positions);
	out->n = 0;
	out->ids = fsi_arena_array(arena, (size_t) limit + 1, sizeof(int32_t));
	mark = fsi_arena_mark(arena);
	hidden = fsi_arena_array(arena, cfg->n_embd, sizeof(float));
	if (out->ids == NULL || hidden == NULL)
		return fsi_nomem(err, (size_t) limit * sizeof(int32_t) + cfg->n_embd * sizeof(float));
	FSI_TRY(kv_alloc(cfg, n_prompt + limit, arena, &kv, err));
	FSI_TRY(chooser_create(&chooser, cfg, opt, arena, err));
	while ((int) out->n < limit)
	{
		int32_t		token;

		FSI_TRY(gpt2_forward(model, work, 1, &seq, GPT2_LAST, hidden, err));
		FSI_TRY(gpt2_logits(model, work, 1, hidden, chooser.logits, err));
		for (int i = 0; i < seq.n_token; i++)
			chooser.seen[seq.tokens[i]] = true;
		token = choose(&chooser);
		if (token == cfg->end)
			break;
		out->ids[out->n] = token;
		seq.tokens = &out->ids[out->n++];
		seq.n_token = 1;
	}
	fsi_arena_release(arena, mark);
	return FSI_OK;
}

/* ---------------------------------------------------------------- many rows, greedy */

/* The best next token of n rows from their hidden states. */
static FsiStatus
next_tokens(const Gpt2Model *model, Gpt2Work *work, int n, const float *hidden, float *logits, int32_t *tokens,
			FsiError *err)
{
	int			E = model->cfg.n_embd,
				V = model->cfg.n_vocab;

	for (int at = 0; at < n; at += LOGIT_ROWS)
	{
		int			m = n - at < LOGIT_ROWS ? n - at : LOGIT_ROWS;

		FSI_TRY(gpt2_logits(model, work, m, hidden + (size_t) at * E, logits, err));
		for (int i = 0; i < m; i++)
		{
			clean_logits(logits + (size_t) i * V, V);
			tokens[at + i] = choose_greedy(logits + (size_t) i * V, V);
		}
	}
	return FSI_OK;
}

FsiStatus
gpt2_generate_rows(const Gpt2Model *model, Gpt2Work *work, int n_row, const Gpt2Seq *rows, int limit,
				   FsiArena *arena, TokIds *out, FsiError *err)
{
	size_t		n = n_row;
	Gpt2Seq    *seqs = fsi_arena_array(arena, n, sizeof(Gpt2Seq));
	int		   *writing = fsi_arena_array(arena, n, sizeof(int));	/* rows of seqs */
	int32_t    *tokens = fsi_arena_array(arena, n, sizeof(int32_t));
	float	   *hidden = fsi_arena_array(arena, n * model->cfg.n_embd, sizeof(float));
	float	   *logits = fsi_arena_array(arena, (size_t) LOGIT_ROWS * model->cfg.n_vocab, sizeof(float));
	int			active = n_row;

	if (seqs == NULL || writing == NULL || tokens == NULL || hidden == NULL || logits == NULL)
		return fsi_nomem(err, n * model->cfg.n_embd * sizeof(float));
	for (int i = 0; i < n_row; i++)
	{
		seqs[i] = rows[i];
		writing[i] = i;
		out[i].n = 0;
		out[i].ids = fsi_arena_array(arena, (size_t) limit + 1, sizeof(int32_t));
		if (out[i].ids == NULL)
			return fsi_nomem(err, (size_t) limit * sizeof(int32_t));
	}
	for (int step = 0; step < limit && active > 0; step++)
	{
		int			left = 0;

		FSI_TRY(gpt2_forward(model, work, active, seqs, GPT2_LAST, hidden, err));
		FSI_TRY(next_tokens(model, work, active, hidden, logits, tokens, err));
		for (int i = 0; i < active; i++)
		{
			TokIds	   *text = &out[writing[i]];

			if (tokens[i] == model->cfg.end)
				continue;
			text->ids[text->n] = tokens[i];
			seqs[left] = seqs[i];
			seqs[left].tokens = &text->ids[text->n++];
			seqs[left].n_token = 1;
			writing[left++] = writing[i];
		}
		active = left;
	}
	return FSI_OK;
}
