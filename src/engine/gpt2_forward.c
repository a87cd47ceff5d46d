/*
 * gpt2_forward.c
 *	  GPT-2 (Radford et al. 2019): pre-layer-norm blocks over a ragged batch.
 *
 * Sequences are laid end to end, so that a row is a token and no row is padding.  A batch
 * runs in passes of about PASS_TOKENS rows; inside a pass a layer's matrices see blocks of
 * LINEAR_ROWS rows, which keeps the inner activations in the L2 cache and is where we look
 * whether to stop.  Rows meet in attention alone, and there in order of position: with
 * int8 weights no bit depends on passes, blocks, batch, or on which earlier tokens come
 * from finished runs.
 *
 * T: rows of a pass, E: n_embd, H: heads, D = E / H, I: n_inner.
 */
#include <string.h>

#include "gpt2_pass.h"
#include "linear.h"

/* Enough rows to stream the weights rarely, few enough to keep scratch near 10 MB at E = 768. */
#define PASS_TOKENS 512

static const LinearOut plain = {KERN_ACT_NONE, false};
static const LinearOut add_to = {KERN_ACT_NONE, true};

/* Position of a sequence's first new token. */
static int
first_position(const Gpt2Seq *seq)
{
	int			position = seq->n_ahead + (seq->own != NULL ? seq->own->count : 0);

	for (int c = 0; c < seq->n_context; c++)
		position += seq->context[c]->count;
	return position;
}

static FsiStatus
check_seq(const Gpt2Config *cfg, const Gpt2Seq *seq, FsiError *err)
{
	int64_t		total = (int64_t) seq->n_token + seq->n_ahead;

	for (int c = 0; c < seq->n_context; c++)
		total += seq->context[c]->count;
	if (seq->own != NULL)
		total += seq->own->count;
	if (seq->n_token < 1)
		return fsi_fail(err, FSI_INVALID, "a sequence without tokens");
	if (total > cfg->n_positions)
		return fsi_fail(err, FSI_LIMIT, "a sequence of %lld tokens does not fit into the model's %d positions",
						(long long) total, cfg->n_positions);
	if (seq->own != NULL && seq->n_token > seq->own->cap - seq->own->count)
		return fsi_fail(err, FSI_LIMIT, "%d tokens do not fit into a run with room for %d",
						seq->n_token, seq->own->cap - seq->own->count);
	for (int i = 0; i < seq->n_token; i++)
		if (seq->tokens[i] < 0 || seq->tokens[i] >= cfg->n_vocab)
			return fsi_fail(err, FSI_INVALID, "token %d is outside the vocabulary of %d", seq->tokens[i], cfg->n_vocab);
	return FSI_OK;
}

/* x (T, E) = wte[token] + wpe[position] */
static void
embed(Pass *p)
{
	int			E = p->cfg->n_embd;
	float	   *row = p->x;

	for (int s = 0; s < p->n_seq; s++)
	{
		int			position = first_position(&p->seqs[s]);

		for (int i = shared_rows(p->seqs, &p->seqs[s]); i < p->seqs[s].n_token; i++, row += E)
		{
			kern_matrix_column(&p->model->wte, p->seqs[s].tokens[i], row);
			p->work->ops->add(E, row, p->model->wpe + (size_t) (position + i) * E);
		}
	}
}

/*
 * Keys and values of all T rows, then x becomes the last row of each sequence and q its
 * query: nothing else of the last layer's other rows is ever read.  q (n_seq, E).
 */
static FsiStatus
keep_last_rows(Pass *p, const Gpt2Layer *L, const LinearNorm *norm, const float **q, int *ldq, FsiError *err)
{
	int			E = p->cfg->n_embd;
	float	   *x_last = p->last_rows, /* (n_seq, E) */
			   *q_last = p->last_rows + (size_t) p->n_seq * E;
	KernMatrix	w_q,
				w_kv;
	bool		split = linear_columns(&L->qkv, 0, E, &w_q) && linear_columns(&L->qkv, E, 2 * E, &w_kv);
	size_t		row = 0;

	for (int r = 0; r < p->n_row; r += LINEAR_ROWS)
	{
		int			m = p->n_row - r < LINEAR_ROWS ? p->n_row - r : LINEAR_ROWS;
		float	   *y = p->qkv + (size_t) r * 3 * E;

		if (fsi_should_stop(p->work->host))
			return fsi_cancelled(err);
		if (split)
			FSI_TRY(linear(p->work, m, p->x + (size_t) r * E, E, norm, &w_kv, L->qkv_bias + E, plain,
						   y + E, 3 * E, err));
		else
			FSI_TRY(linear(p->work, m, p->x + (size_t) r * E, E, norm, &L->qkv, L->qkv_bias, plain, y, 3 * E, err));
	}
	for (int s = 0; s < p->n_seq; s++)
	{
		row += own_rows(p, s);
		memcpy(x_last + (size_t) s * E, p->x + (row - 1) * E, E * sizeof(float));
		if (!split)
			memcpy(q_last + (size_t) s * E, p->qkv + (row - 1) * 3 * E, E * sizeof(float));
	}
	for (int s = 0; split && s < p->n_seq; s += LINEAR_ROWS)
	{
		int			m = p->n_seq - s < LINEAR_ROWS ? p->n_seq - s : LINEAR_ROWS;

		FSI_TRY(linear(p->work, m, x_last + (size_t) s * E, E, norm, &w_q, L->qkv_bias, plain,
					   q_last + (size_t) s * E, E, err));
	}
	p->x = x_last;
	*q = q_last;
	*ldq = E;
	return FSI_OK;
}

/* One block: x += proj(attention(ln_1(x))); x += out(act(fc(ln_2(x)))). */
static FsiStatus
block(Pass *p, int layer, FsiError *err)
{
	const Gpt2Layer *L = &p->model->layers[layer];
	LinearNorm	ln_1 = {L->ln1_gain, L->ln1_bias, p->cfg->ln_eps},
				ln_2 = {L->ln2_gain, L->ln2_bias, p->cfg->ln_eps};
	LinearOut	activated = {p->cfg->act, false};
	int			E = p->cfg->n_embd,
				I = p->cfg->n_inner,
				n_live = p->n_row,	/* rows that go on after the keys and values */
				ldq = 3 * E;
	bool		last = p->last && layer == p->cfg->n_layer - 1;
	const float *q = p->qkv;	/* (n_live, E), rows ldq apart */

	if (last)
	{
		FSI_TRY(keep_last_rows(p, L, &ln_1, &q, &ldq, err));
		n_live = p->n_seq;
	}
	for (int r = 0; !last && r < n_live; r += LINEAR_ROWS)
	{
		int			m = n_live - r < LINEAR_ROWS ? n_live - r : LINEAR_ROWS;

		if (fsi_should_stop(p->work->host))
			return fsi_cancelled(err);
		FSI_TRY(linear(p->work, m, p->x + (size_t) r * E, E, &ln_1, &L->qkv, L->qkv_bias, plain,
					   p->qkv + (size_t) r * 3 * E, 3 * E, err));
	}

	FSI_TRY(gpt2_attend(p, layer, last, q, ldq, err));

	for (int r = 0; r < n_live; r += LINEAR_ROWS)
	{
		int			m = n_live - r < LINEAR_ROWS ? n_live - r : LINEAR_ROWS;
		float	   *x = p->x + (size_t) r * E; /* (m, E) */

		if (fsi_should_stop(p->work->host))
			return fsi_cancelled(err);
		FSI_TRY(linear(p->work, m, p->att + (size_t) r * E, E, NULL, &L->proj, L->proj_bias, add_to, x, E, err));
		FSI_TRY(linear(p->work, m, x, E, &ln_2, &L->fc, L->fc_bias, activated, p->inner, I, err));
		FSI_TRY(linear(p->work, m, p->inner, I, NULL, &L->out, L->out_bias, add_to, x, E, err));
	}
	return FSI_OK;
}

/* Scratch for a pass. */
static FsiStatus
take_scratch(Pass *p, FsiError *err)
{
	size_t		E = p->cfg->n_embd,
				T = p->n_row;
	int			longest = 0,
				contexts = 0,
				D = p->cfg->n_embd / p->cfg->n_head;
	Gpt2Work   *work = p->work;

	for (int s = 0; s < p->n_seq; s++)
	{
		longest = p->seqs[s].n_token > longest ? p->seqs[s].n_token : longest;
		contexts = p->seqs[s].n_context > contexts ? p->seqs[s].n_context : contexts;
	}
	longest = KERN_ROUND_UP(longest, KERN_LANES);
	FSI_TRY(work_take(work, WORK_X, T, E * sizeof(float), &p->x, err));
	FSI_TRY(work_take(work, WORK_QKV, T, 3 * E * sizeof(float), &p->qkv, err));
	FSI_TRY(work_take(work, WORK_ATT, T, E * sizeof(float), &p->att, err));
	FSI_TRY(work_take(work, WORK_LAST, p->n_seq, 2 * E * sizeof(float), &p->last_rows, err));
	FSI_TRY(work_take(work, WORK_INNER, LINEAR_ROWS, p->cfg->n_inner * sizeof(float), &p->inner, err));
	FSI_TRY(work_take(work, WORK_SCORES, KERN_ATTEND_SCRATCH(p->cfg->n_positions), sizeof(float), &p->scores, err));
	p->keys_each = (size_t) longest * D;
	FSI_TRY(work_take(work, WORK_KEYS, KERN_ATTEND_ROWS * p->keys_each, sizeof(float), &p->keys, err));
	FSI_TRY(work_take(work, WORK_VALUES, p->keys_each, sizeof(float), &p->values, err));
	FSI_TRY(work_take(work, WORK_ROWS, longest, sizeof(float *), &p->rows, err));
	p->most_runs = contexts + 1;
	return work_take(work, WORK_RUNS, (1 + KERN_ATTEND_ROWS) * (size_t) p->most_runs, sizeof(KernKeys), &p->runs, err);
}

/* hidden: a row of ln_f(x) for each token, or with last for each sequence. */
static void
final_norm(Pass *p, float *hidden)
{
	int			E = p->cfg->n_embd;
	const float *x = p->x,
			   *first = hidden;

	for (int s = 0; s < p->n_seq; s++)
	{
		int			shared = shared_rows(p->seqs, &p->seqs[s]),
					m = p->last ? 1 : p->seqs[s].n_token - shared;

		if (shared && !p->last)
		{
			memcpy(hidden, first, E * sizeof(float));
			hidden += E;
		}
		p->work->ops->layer_norm(m, E, x, E, p->model->lnf_gain, p->model->lnf_bias, p->cfg->ln_eps, hidden, E);
		x += (size_t) m * E;
		hidden += (size_t) m * E;
	}
}

/* One pass: hidden (tokens, E), or (n_seq, E) when last. */
static FsiStatus
run_pass(Pass *p, float *hidden, FsiError *err)
{
	FSI_TRY(take_scratch(p, err));
	embed(p);
	for (int layer = 0; layer < p->cfg->n_layer; layer++)
		FSI_TRY(block(p, layer, err));
	final_norm(p, hidden);
	return FSI_OK;
}

FsiStatus
gpt2_forward(const Gpt2Model *model, Gpt2Work *work, int n_seq, const Gpt2Seq *seqs,
			 Gpt2Want want, float *hidden, FsiError *err)
{
	int			E = model->cfg.n_embd;

	for (int s = 0; s < n_seq; s++)
		FSI_TRY(check_seq(&model->cfg, &seqs[s], err));
	if (model->cfg.n_layer > 0 && model->layers[0].qkv.type == KERN_F32)
		FSI_TRY(kern_blas_load(err));
	for (int s = 0; s < n_seq;)
	{
		Pass		p = {.model = model, .cfg = &model->cfg, .work = work, .seqs = seqs + s, .last = want == GPT2_LAST};
		size_t		n_token = 0;

		do
		{
			n_token += seqs[s + p.n_seq].n_token;
			p.n_row += own_rows(&p, p.n_seq++);
		} while (s + p.n_seq < n_seq && p.n_row + own_rows(&p, p.n_seq) <= PASS_TOKENS);
		FSI_TRY(run_pass(&p, hidden, err));
		s += p.n_seq;
		hidden += (p.last ? (size_t) p.n_seq : n_token) * E;
	}
	for (int s = 0; s < n_seq; s++)
		if (seqs[s].own != NULL)
			seqs[s].own->count += seqs[s].n_token;
	return FSI_OK;
}
