/*
 * gpt2_attend.c
 *	  Attention of a pass: which keys each sequence's queries see, and whose queries go side by side.
 *
 * The sums are the kernels' (attend(), attend_shared()); no query's order of operations
 * depends on what goes beside it.
 */
#include <math.h>
#include <string.h>

#include "gpt2_pass.h"
#include "kv.h"

/* A head's scores and sums of one layer: what attend() and its parts have in common. */
typedef struct Ask
{
	int			layer;
	bool		last;			/* of each sequence the last token alone asks */
	const float *q;				/* (n_live, E), rows ldq apart */
	int			ldq;
	float		scale;
} Ask;

/*
 * Runs of keys and values of one head of one sequence; kv: its rows of qkv.  New keys and
 * values go into the sequence's own run, or are used where they lie, the keys transposed
 * into keys.  runs [n_context + 1]; the last one has all that its last token sees.
 */
static void
runs_of(Pass *p, int layer, int head, const Gpt2Seq *seq, const float *kv, float *keys, KernKeys *runs)
{
	int			E = p->cfg->n_embd,
				D = E / p->cfg->n_head,
				n = seq->n_token;
	const float *k = kv + E + head * D, /* (n, D), rows 3E apart */
			   *v = kv + 2 * E + head * D;

	for (int c = 0; c < seq->n_context; c++)
		runs[c] = kv_head(p->cfg, seq->context[c], layer, head, seq->context[c]->count);
	if (seq->n_context > 0)
		runs[seq->n_context - 1].count += seq->n_ahead;
	if (seq->own != NULL)
	{
		kv_store(p->cfg, seq->own, layer, head, seq->own->count, n, k, v, 3 * E);
		runs[seq->n_context] = kv_head(p->cfg, seq->own, layer, head, seq->own->count + n);
	}
	else
	{
		int			cap = KERN_ROUND_UP(n, KERN_LANES);

		kv_transpose(n, D, k, 3 * E, keys, cap);
		runs[seq->n_context] = (KernKeys) {.kt = keys, .v = v, .ld = cap, .ldv = 3 * E, .count = n};
	}
}

/* Attention of sequence s, which stands alone: its tokens' keys and values are gathered head by head. */
static void
attend_alone(Pass *p, const Ask *ask, int s, size_t row, size_t live)
{
	const KernOps *ops = p->work->ops;
	int			E = p->cfg->n_embd,
				D = E / p->cfg->n_head,
				n = p->seqs[s].n_token,
				m = ask->last ? 1 : own_rows(p, s),
				cap = KERN_ROUND_UP(n, KERN_LANES),
				shared = shared_rows(p->seqs, &p->seqs[s]);
	KernKeys	run = {.kt = p->keys, .v = p->values, .ld = cap, .ldv = D, .count = n};

	p->rows[0] = p->qkv;
	for (int i = shared; i < n; i++)
		p->rows[i] = p->qkv + (row + i - shared) * 3 * E;
	for (int head = 0; head < p->cfg->n_head; head++)
	{
		ops->transpose(n, D, p->rows, (size_t) E + head * D, p->keys, cap);
		for (int i = 0; i < n; i++)
			memcpy(p->values + (size_t) i * D, p->rows[i] + 2 * E + head * D, D * sizeof(float));
		ops->attend(m, D, ask->q + live * ask->ldq + head * D, ask->ldq, ask->scale, 1, &run, n - m + 1, p->scores,
					p->att + live * E + head * D, E);
	}
}

/* ---------------------------------------------------------------- queries side by side */

/* Queries that have their first run in common and wait to go side by side over it. */
typedef struct Waiting
{
	int			n,
				n_run;
	KernKeys   *runs;			/* (KERN_ATTEND_ROWS, n_run) */
	const float *q;				/* of the first; the others follow */
	float	   *out;
} Waiting;

/* A run that grows between passes is told by its count. */
static bool
same_run(const KernKeys *a, const KernKeys *b)
{
	return a->kt == b->kt && a->count == b->count;
}

/*
 * How many first runs all waiting queries have in common; the last one, which holds what each sees itself, is never
 * one.
 */
static int
common_runs(const Waiting *w)
{
	int			n = 0;

	for (; n < w->n_run - 1; n++)
		for (int i = 1; i < w->n; i++)
			if (!same_run(&w->runs[i * w->n_run + n], &w->runs[n]))
				return n;
	return n;
}

static void
attend_waiting(Pass *p, const Ask *ask, Waiting *w)
{
	int			E = p->cfg->n_embd,
				D = E / p->cfg->n_head;

	if (w->n == 1)
		p->work->ops->attend(1, D, w->q, ask->ldq, ask->scale, w->n_run, w->runs, w->runs[w->n_run - 1].count, p->scores, w->out, E);
	else if (w->n > 1)
		p->work->ops->attend_shared(w->n, D, w->q, ask->ldq, ask->scale, w->n_run, common_runs(w), w->runs, p->scores, w->out, E);
	w->n = 0;
}

/*
 * Whether a sequence's queries may go side by side with others', and with those that wait: few, after a common first
 * run.
 */
static bool
may_wait(const Gpt2Seq *seq, int m_q)
{
	return seq->n_context > 0 && m_q < KERN_ATTEND_ROWS;
}

/* m_q queries that see ever one key more of the last of their runs. */
static void
add_waiting(Pass *p, const Ask *ask, Waiting *w, int m_q, const float *q, int n_run, const KernKeys *runs, float *out)
{
	for (int i = 0; i < m_q; i++)
	{
		KernKeys   *own = w->runs + (size_t) w->n * n_run;

		memcpy(own, runs, n_run * sizeof(KernKeys));
		own[n_run - 1].count -= m_q - 1 - i;
		if (w->n++ == 0)
		{
			w->n_run = n_run;
			w->q = q + (size_t) i * ask->ldq;
			w->out = out + (size_t) i * p->cfg->n_embd;
		}
		if (w->n == KERN_ATTEND_ROWS)
			attend_waiting(p, ask, w);
	}
}

/*
 * Attention of one head of the sequences from the first up to the one before to; row, live: where the first one's
 * begin.
 */
static FsiStatus
attend_head(Pass *p, const Ask *ask, int head, int first, int to, size_t row, size_t live, FsiError *err)
{
	int			E = p->cfg->n_embd,
				D = E / p->cfg->n_head;
	Waiting		waiting = {.runs = p->runs + p->most_runs};

	for (int s = first; s < to; s++)
	{
		const Gpt2Seq *seq = &p->seqs[s];
		const float *q = ask->q + live * ask->ldq + head * D;	/* (m_q, D), rows ldq apart */
		float	   *out = p->att + live * E + head * D;
		int			n_run = seq->n_context + 1,
					m_q = ask->last ? 1 : seq->n_token;

		if (fsi_should_stop(p->work->host))
			return fsi_cancelled(err);
		/* Those that wait are of the last KERN_ATTEND_ROWS - 1 sequences, whose keys are still there. */
		runs_of(p, ask->layer, head, seq, p->qkv + row * 3 * E, p->keys + s % KERN_ATTEND_ROWS * p->keys_each, p->runs);
		if (waiting.n > 0 && (!may_wait(seq, m_q) || n_run != waiting.n_run || !same_run(p->runs, waiting.runs)))
			attend_waiting(p, ask, &waiting);
		if (may_wait(seq, m_q))
			add_waiting(p, ask, &waiting, m_q, q, n_run, p->runs, out);
		else
			p->work->ops->attend(m_q, D, q, ask->ldq, ask->scale, n_run, p->runs, p->runs[n_run - 1].count - m_q + 1,
								 p->scores, out, E);
		row += seq->n_token;
		live += m_q;
	}
	attend_waiting(p, ask, &waiting);
	return FSI_OK;
}

/*
 * With contexts head by head, so that one head of a prefix stays in the cache for all that share it;
 * a sequence that stands alone, all heads at once, as its rows lie next to each other.
 */
FsiStatus
gpt2_attend(Pass *p, int layer, bool last, const float *q, int ldq, FsiError *err)
{
	Ask			ask = {layer, last, q, ldq, 1.0f};
	size_t		row = 0,
				live = 0;

	if (p->cfg->scale_attn_weights)
		ask.scale = 1.0f / sqrtf((float) (p->cfg->n_embd / p->cfg->n_head));
	if (p->cfg->scale_attn_by_inverse_layer_idx)
		ask.scale /= (float) (layer + 1);
	for (int s = 0, to; s < p->n_seq; s = to)
	{
		to = s + 1;
		if (stands_alone(&p->seqs[s]))
		{
			if (fsi_should_stop(p->work->host))
				return fsi_cancelled(err);
			attend_alone(p, &ask, s, row, live);
		}
		else
		{
			while (to < p->n_seq && !stands_alone(&p->seqs[to]))
				to++;
			for (int head = 0; head < p->cfg->n_head; head++)
				FSI_TRY(attend_head(p, &ask, head, s, to, row, live, err));
		}
		for (; s < to; s++)
		{
			row += own_rows(p, s);
			live += last ? 1 : own_rows(p, s);
		}
	}
	return FSI_OK;
}
