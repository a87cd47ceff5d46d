/*
 * trie_score.c
 *	  Score labels by walking their trie, for many messages at once.
 *
 * A visit is a node on a row's way.  A node with one child costs nothing (a softmax over
 * one is 1), so only branchings are ever fed through the model, each as one short sequence
 * on top of its ancestors' keys and values.  A round feeds visits of all rows in one
 * ragged batch: all pending ones (TRIE_ALL, TRIE_SEQUENCE: level by level) or each row's
 * best one (TRIE_BEST: best first, until a label beats everything that waits).  A round of
 * few tokens costs what reading the weights costs, so it takes along further visits of
 * which a label may yet win: what is fed beside it changes no visit's scores, and so no
 * answer, only the number of rounds.
 *
 * Log-probabilities are added along the path in double, in the same order in every mode,
 * so TRIE_BEST gives the label that TRIE_ALL puts first.  Of equal ones the smaller label
 * number wins: a visit stands for the smallest label below it.
 *
 * Keys and values of visits with children to feed are stored within TRIE_KV_BYTES; what
 * does not fit is fed again with its descendants, with the same bits.
 */
#include <math.h>
#include <string.h>

#include "canonical.h"
#include "trie.h"
#include "work.h"

#ifndef TRIE_KV_BYTES			/* a test has a second copy of this file that keeps less */
#define TRIE_KV_BYTES ((size_t) 64 << 20)
#endif
#define ROUND_VISITS 256
#define ROUND_TOKENS 1024		/* of TRIE_SEQUENCE, whose hidden rows are all kept for the round */
#define ROUND_ALONG 16			/* TRIE_BEST: below this many tokens a round takes along what may yet win */
#define HEAD_ROWS 32			/* full-vocabulary logits at a time: 2.7 MB for 21,128 tokens */

typedef struct Visit
{
	int			row;
	const TrieNode *node;
	double		logp;			/* of the path up to here */
	struct Visit *parent;
	struct Visit *next;			/* in the row's list of those that wait */
	int			n_again;		/* tokens of ancestors without a stored run, fed again before the edge */
	bool		stored;
	KvRun		kv;				/* stored: of the tokens that were fed */
	const struct Visit *below;	/* nearest stored ancestor */
} Visit;

typedef struct RowState
{
	Visit	   *waiting;
	int			best;			/* best label reached, -1: none */
	double		best_logp;
	double		floor;			/* some label is known to have as much: a visit's best one has its mean or more */
} RowState;

typedef struct Search
{
	const Gpt2Model *model;
	Gpt2Work   *work;
	const Trie *trie;
	int			n_row;
	TrieRow    *rows;
	TrieScoring scoring;
	FsiArena   *arena;			/* lives for the whole search */
	FsiArena	round;			/* lives for a round */
	size_t		kv_left;		/* bytes of TRIE_KV_BYTES */
	RowState   *state;			/* [n_row] */
	double	   *loglik;			/* TRIE_SEQUENCE: [n_row][n_label] */
	int32_t    *tokens;			/* [max_children] */
	float	   *logits;			/* [max_children] */
} Search;

/* One round: visits, and the sequences that feed them. */
typedef struct Round
{
	int			n;
	int			n_token;
	Visit	   *visits[ROUND_VISITS];
	Gpt2Seq		seqs[ROUND_VISITS];
} Round;

/* ---------------------------------------------------------------- the walk's bookkeeping */

static bool
better(double logp, int label, double than_logp, int than_label)
{
	return than_label < 0 || logp > than_logp || (logp == than_logp && label < than_label);
}

/* A label's end is reached. */
static void
reach_label(Search *s, int row, int label, double logp)
{
	RowState   *state = &s->state[row];

	if (s->scoring == TRIE_ALL)
		s->rows[row].score[label] = fsi_exp(logp);
	else if (s->scoring == TRIE_SEQUENCE)
		s->loglik[(size_t) row * s->trie->n_label + label] = logp;
	if (better(logp, label, state->best_logp, state->best))
	{
		state->best = label;
		state->best_logp = logp;
		state->floor = logp > state->floor ? logp : state->floor;
	}
}

/* The first token of a child's edge has been scored: a label, or a visit that waits to be fed. */
static FsiStatus
reach_child(Search *s, Visit *parent, const TrieNode *child, double logp, FsiError *err)
{
	RowState   *state = &s->state[parent->row];
	Visit	   *visit;
	double		floor;

	if (child->label >= 0 && (s->scoring != TRIE_SEQUENCE || child->n_edge == 1))
	{
		reach_label(s, parent->row, child->label, logp);
		return FSI_OK;
	}
	visit = fsi_arena_zero(s->arena, 1, sizeof(Visit));
	if (visit == NULL)
		return fsi_nomem(err, sizeof(Visit));
	visit->row = parent->row;
	visit->node = child;
	visit->logp = logp;
	visit->parent = parent;
	visit->next = state->waiting;
	state->waiting = visit;
	floor = logp - fsi_log(child->n_label);
	state->floor = floor > state->floor ? floor : state->floor;
	return FSI_OK;
}

/*
 * Take the best waiting visit off its row's list; NULL when none can beat the label reached,
 * or, of those that are fed along, none what some label is known to have.
 */
static Visit *
take_best(RowState *state, bool along)
{
	Visit	  **best = &state->waiting,
			   *taken;

	if (*best == NULL)
		return NULL;
	for (Visit **v = &(*best)->next; *v != NULL; v = &(*v)->next)
		if (better((*v)->logp, (*v)->node->min_label, (*best)->logp, (*best)->node->min_label))
			best = v;
	taken = *best;
	if (state->best >= 0 && better(state->best_logp, state->best, taken->logp, taken->node->min_label))
		return NULL;
	if (along && taken->logp < state->floor)
		return NULL;
	*best = taken->next;
	return taken;
}

/* ---------------------------------------------------------------- feeding a round */

/* Tokens of a visit's own edge to feed: a label's end token is scored, never fed. */
static int
edge_tokens(const Visit *visit)
{
	return visit->node->n_edge - (visit->node->label >= 0 ? 1 : 0);
}

static const Visit *
nearest_stored(const Visit *visit)
{
	const Visit *v = visit->parent;

	while (v != NULL && !v->stored)
		v = v->parent;
	return v;
}

/* Edges from below the nearest stored ancestor down to the visit, end to end. */
static FsiStatus
collect_tokens(Search *s, Visit *visit, Gpt2Seq *seq, FsiError *err)
{
	int			n = edge_tokens(visit);
	int32_t    *tokens;

	visit->n_again = 0;
	for (const Visit *v = visit->parent; v != visit->below; v = v->parent)
		visit->n_again += v->node->n_edge;
	seq->n_token = visit->n_again + n;
	seq->tokens = visit->node->edge;
	if (visit->n_again == 0)
		return FSI_OK;
	tokens = fsi_arena_array(&s->round, seq->n_token, sizeof(int32_t));
	if (tokens == NULL)
		return fsi_nomem(err, (size_t) seq->n_token * sizeof(int32_t));
	seq->tokens = tokens;
	memcpy(tokens + visit->n_again, visit->node->edge, n * sizeof(int32_t));
	tokens += visit->n_again;
	for (const Visit *v = visit->parent; v != visit->below; v = v->parent)
	{
		tokens -= v->node->n_edge;
		memcpy(tokens, v->node->edge, v->node->n_edge * sizeof(int32_t));
	}
	return FSI_OK;
}

/* Keys and values of a visit are stored if children will ask for them and there is room. */
static FsiStatus
place_run(Search *s, Visit *visit, Gpt2Seq *seq, FsiError *err)
{
	bool		wanted = visit->node->deep || (s->scoring == TRIE_SEQUENCE && visit->node->long_child);
	size_t		bytes = kv_bytes(&s->model->cfg, seq->n_token);

	if (!wanted || bytes > s->kv_left)
		return FSI_OK;
	FSI_TRY(kv_alloc(&s->model->cfg, seq->n_token, s->arena, &visit->kv, err));
	s->kv_left -= bytes;
	seq->own = &visit->kv;
	return FSI_OK;
}

/* The row's runs, then the stored ancestors' from the root down. */
static FsiStatus
collect_context(Search *s, const Visit *visit, Gpt2Seq *seq, FsiError *err)
{
	const TrieRow *row = &s->rows[visit->row];
	const KvRun **runs;
	int			n = row->n_context;

	for (const Visit *v = visit->below; v != NULL; v = v->below)
		n++;
	runs = fsi_arena_array(&s->round, (size_t) n + 1, sizeof(*runs));
	if (runs == NULL)
		return fsi_nomem(err, ((size_t) n + 1) * sizeof(*runs));
	seq->n_context = n;
	seq->context = runs;
	for (const Visit *v = visit->below; v != NULL; v = v->below)
		runs[--n] = &v->kv;
	for (int c = 0; c < row->n_context; c++)
		runs[c] = row->context[c];
	return FSI_OK;
}

static FsiStatus
add_to_round(Search *s, Round *round, Visit *visit, FsiError *err)
{
	Gpt2Seq    *seq = &round->seqs[round->n];

	memset(seq, 0, sizeof(*seq));
	visit->below = nearest_stored(visit);
	FSI_TRY(collect_tokens(s, visit, seq, err));
	FSI_TRY(place_run(s, visit, seq, err));
	FSI_TRY(collect_context(s, visit, seq, err));
	round->visits[round->n++] = visit;
	round->n_token += seq->n_token;
	return FSI_OK;
}

/* TRIE_BEST: each row's best visit, then, while the round is small, what may yet win: each row's second, third, ... */
static FsiStatus
choose_best(Search *s, Round *round, FsiError *err)
{
	int			turn = 0,
				before;

	do
	{
		before = round->n;
		for (int r = 0; r < s->n_row; r++)
		{
			Visit	   *visit;

			if (round->n == ROUND_VISITS || round->n_token >= (turn == 0 ? ROUND_TOKENS : ROUND_ALONG))
				return FSI_OK;
			visit = take_best(&s->state[r], turn > 0);
			if (visit != NULL)
				FSI_TRY(add_to_round(s, round, visit, err));
		}
		turn++;
	} while (round->n > before);
	return FSI_OK;
}

/* As many waiting visits as a round holds. */
static FsiStatus
choose_all(Search *s, Round *round, FsiError *err)
{
	for (int r = 0; r < s->n_row; r++)
		for (Visit *visit; (visit = s->state[r].waiting) != NULL;)
		{
			if (round->n == ROUND_VISITS || round->n_token >= ROUND_TOKENS)
				return FSI_OK;
			s->state[r].waiting = visit->next;
			FSI_TRY(add_to_round(s, round, visit, err));
		}
	return FSI_OK;
}

static FsiStatus
choose_round(Search *s, Round *round, FsiError *err)
{
	round->n = 0;
	round->n_token = 0;
	return s->scoring == TRIE_BEST ? choose_best(s, round, err) : choose_all(s, round, err);
}

/* ---------------------------------------------------------------- scoring what was fed */

/* Softmax over a visit's children alone, from the hidden state after its last token. */
static FsiStatus
score_children(Search *s, Visit *visit, const float *hidden, FsiError *err)
{
	const TrieNode *children = &s->trie->nodes[visit->node->first_child];
	int			n = visit->node->n_child;
	double		max,
				sum = 0,
				log_sum;

	if (n == 1)
		return reach_child(s, visit, children, visit->logp, err);
	for (int i = 0; i < n; i++)
		s->tokens[i] = children[i].edge[0];
	FSI_TRY(gpt2_logits_of(s->model, s->work, hidden, n, s->tokens, s->logits, err));
	max = bounded_logit(s->logits[0]);
	for (int i = 1; i < n; i++)
		max = bounded_logit(s->logits[i]) > max ? bounded_logit(s->logits[i]) : max;
	for (int i = 0; i < n; i++)
		sum += fsi_exp(bounded_logit(s->logits[i]) - max);
	log_sum = fsi_log(sum);		/* not added to max, which may be so large that it would be lost */
	for (int i = 0; i < n; i++)
		FSI_TRY(reach_child(s, visit, &children[i], visit->logp + ((bounded_logit(s->logits[i]) - max) - log_sum), err));
	return FSI_OK;
}

/*
 * TRIE_SEQUENCE: the token after edge token `at` of a visit (-1: the root's place), from
 * the full vocabulary's logits [n_vocab], which are used up.  The log of the sum is the
 * kernels' float softmax: fixed order, 2e-6 or so.
 */
static FsiStatus
score_next_token(Search *s, Visit *visit, int at, float *logits, FsiError *err)
{
	const TrieNode *node = visit->node,
			   *children = &s->trie->nodes[node->first_child];
	double		log_sum;

	if (at + 1 < node->n_edge)
	{
		double		logit = bounded_logit(logits[node->edge[at + 1]]);

		visit->logp += logit - bounded_logit(s->work->ops->softmax(s->model->cfg.n_vocab, logits));
		if (at + 2 == node->n_edge && node->label >= 0)
			reach_label(s, visit->row, node->label, visit->logp);
		return FSI_OK;
	}
	for (int i = 0; i < node->n_child; i++)
		s->logits[i] = logits[children[i].edge[0]];
	log_sum = bounded_logit(s->work->ops->softmax(s->model->cfg.n_vocab, logits));
	for (int i = 0; i < node->n_child; i++)
		FSI_TRY(reach_child(s, visit, &children[i], visit->logp + (bounded_logit(s->logits[i]) - log_sum), err));
	return FSI_OK;
}

/* TRIE_SEQUENCE: every new token of n visits; hidden: their rows end to end, n_again + edge_tokens() each. */
static FsiStatus
score_sequences(Search *s, int n, Visit *const *visits, int n_hidden, const float *hidden, FsiError *err)
{
	size_t		V = s->model->cfg.n_vocab,
				E = s->model->cfg.n_embd;
	float	   *logits = fsi_arena_array(&s->round, HEAD_ROWS, V * sizeof(float)); /* (HEAD_ROWS, V) */
	int			done = 0;

	if (logits == NULL)
		return fsi_nomem(err, HEAD_ROWS * V * sizeof(float));
	for (int j = 0; j < n; j++)
	{
		bool		root = visits[j]->parent == NULL;
		int			n_new = root ? 1 : edge_tokens(visits[j]);

		for (int i = -visits[j]->n_again; i < n_new; i++, done++)
		{
			if (done % HEAD_ROWS == 0)
				FSI_TRY(gpt2_logits(s->model, s->work, n_hidden - done < HEAD_ROWS ? n_hidden - done : HEAD_ROWS,
									hidden + done * E, logits, err));
			if (i >= 0)
				FSI_TRY(score_next_token(s, visits[j], root ? -1 : i, logits + done % HEAD_ROWS * V, err));
		}
	}
	return FSI_OK;
}

/* A root's children whose states are given wait no longer. */
static FsiStatus
score_ahead(Search *s, const Visit *root, FsiError *err)
{
	const TrieNode *children = &s->trie->nodes[root->node->first_child];
	const float *hidden = s->rows[root->row].ahead;

	for (int i = 0; i < root->node->n_child; i++)
	{
		Visit	  **v = &s->state[root->row].waiting,
				   *visit;

		if (children[i].label >= 0)
			continue;
		while ((*v)->node != &children[i])
			v = &(*v)->next;
		visit = *v;
		*v = visit->next;
		FSI_TRY(score_children(s, visit, hidden, err));
		hidden += s->model->cfg.n_embd;
	}
	return FSI_OK;
}

/* Rows' roots: their hidden state is given. */
static FsiStatus
score_roots(Search *s, Visit *const *roots, FsiError *err)
{
	size_t		E = s->model->cfg.n_embd;
	float	   *hidden;

	if (s->scoring != TRIE_SEQUENCE)
	{
		for (int r = 0; r < s->n_row; r++)
		{
			FSI_TRY(score_children(s, roots[r], s->rows[r].hidden, err));
			if (s->rows[r].ahead != NULL)
				FSI_TRY(score_ahead(s, roots[r], err));
		}
		return FSI_OK;
	}
	hidden = fsi_arena_array(&s->round, s->n_row, E * sizeof(float)); /* (n_row, E) */
	if (hidden == NULL)
		return fsi_nomem(err, s->n_row * E * sizeof(float));
	for (int r = 0; r < s->n_row; r++)
		memcpy(hidden + r * E, s->rows[r].hidden, E * sizeof(float));
	return score_sequences(s, s->n_row, roots, s->n_row, hidden, err);
}

static FsiStatus
score_round(Search *s, Round *round, FsiError *err)
{
	size_t		E = s->model->cfg.n_embd;
	bool		all = s->scoring == TRIE_SEQUENCE;
	size_t		n_hidden = all ? round->n_token : round->n;
	float	   *hidden = fsi_arena_array(&s->round, n_hidden, E * sizeof(float));	/* (n_hidden, E) */

	if (hidden == NULL)
		return fsi_nomem(err, n_hidden * E * sizeof(float));
	FSI_TRY(gpt2_forward(s->model, s->work, round->n, round->seqs, all ? GPT2_ALL : GPT2_LAST, hidden, err));
	for (int j = 0; j < round->n; j++)
		round->visits[j]->stored = round->seqs[j].own != NULL;
	if (all)
		return score_sequences(s, round->n, round->visits, round->n_token, hidden, err);
	for (int j = 0; j < round->n; j++)
		FSI_TRY(score_children(s, round->visits[j], hidden + j * E, err));
	return FSI_OK;
}

/* ---------------------------------------------------------------- the search */

/* Results of all rows, once their walks are over. */
static FsiStatus
finish(Search *s, FsiError *err)
{
	int			n = s->trie->n_label;
	double	   *scratch = fsi_arena_array(s->arena, n, sizeof(double));

	if (scratch == NULL)
		return fsi_nomem(err, (size_t) n * sizeof(double));
	for (int r = 0; r < s->n_row; r++)
	{
		TrieRow    *row = &s->rows[r];

		row->best = s->state[r].best;
		if (s->scoring == TRIE_SEQUENCE)
			canonical_softmax(n, s->loglik + (size_t) r * n, row->score, scratch);
		else if (s->scoring == TRIE_BEST && row->score != NULL)
		{
			memset(row->score, 0, (size_t) n * sizeof(double));
			row->score[row->best] = fsi_exp(s->state[r].best_logp);
		}
	}
	return FSI_OK;
}

static FsiStatus
search(Search *s, FsiError *err)
{
	size_t		n_row = s->n_row,
				n_child = s->trie->max_children;
	Visit	   *visits = fsi_arena_zero(s->arena, n_row, sizeof(Visit));
	Visit	  **roots = fsi_arena_array(s->arena, n_row, sizeof(*roots));
	Round	   *round = fsi_arena_array(s->arena, 1, sizeof(Round));

	s->state = fsi_arena_zero(s->arena, n_row, sizeof(RowState));
	s->tokens = fsi_arena_array(s->arena, n_child, sizeof(int32_t));
	s->logits = fsi_arena_array(s->arena, n_child, sizeof(float));
	s->loglik = NULL;
	if (s->scoring == TRIE_SEQUENCE)
		s->loglik = fsi_arena_array(s->arena, n_row * s->trie->n_label, sizeof(double));
	if (visits == NULL || roots == NULL || round == NULL || s->state == NULL || s->tokens == NULL ||
		s->logits == NULL || (s->scoring == TRIE_SEQUENCE && s->loglik == NULL))
		return fsi_nomem(err, n_row * s->trie->n_label * sizeof(double));
	for (size_t r = 0; r < n_row; r++)
	{
		s->state[r].best = -1;
		s->state[r].floor = -INFINITY;
		visits[r].row = (int) r;
		visits[r].node = &s->trie->nodes[0];
		roots[r] = &visits[r];
	}
	FSI_TRY(score_roots(s, roots, err));
	for (;;)
	{
		fsi_arena_free(&s->round);
		FSI_TRY(choose_round(s, round, err));
		if (round->n == 0)
			return finish(s, err);
		FSI_TRY(score_round(s, round, err));
	}
}

FsiStatus
trie_score_rows(const Gpt2Model *model, Gpt2Work *work, const Trie *trie,
				int n_row, TrieRow *rows, TrieScoring scoring, FsiArena *arena, FsiError *err)
{
	Search		s = {.model = model, .work = work, .trie = trie, .n_row = n_row, .rows = rows,
	.scoring = scoring, .arena = arena, .kv_left = TRIE_KV_BYTES};
	FsiArenaMark mark = fsi_arena_mark(arena);
	FsiStatus	status;

	if (n_row < 1)
		return FSI_OK;
	fsi_arena_init(&s.round, arena->host);
	status = search(&s, err);
	fsi_arena_free(&s.round);
	fsi_arena_release(arena, mark);
	return status;
}
