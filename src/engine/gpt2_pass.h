/*
 * gpt2_pass.h
 *	  One pass of the forward computation: its sequences, its rows and their scratch.
 *
 * Private to src/engine.  Sequences without a context mostly begin with the same token (a
 * segment's mark), and a first row depends on its token alone: a pass computes it once.
 * It is the pass's row 0.
 *
 * T: rows of a pass, E: n_embd, H: heads, D = E / H, I: n_inner.
 */
#ifndef ENGINE_GPT2_PASS_H
#define ENGINE_GPT2_PASS_H

#include "work.h"

typedef struct Pass
{
	const Gpt2Model *model;
	const Gpt2Config *cfg;
	Gpt2Work   *work;
	int			n_seq;
	const Gpt2Seq *seqs;
	int			n_row;			/* tokens of all seqs, the shared one once */
	bool		last;			/* GPT2_LAST */
	float	   *x;				/* (T, E), in the end (n_seq, E) when last */
	float	   *qkv;			/* (T, 3E): q | k | v */
	float	   *att;			/* (T, E) */
	float	   *last_rows;		/* (2, n_seq, E): last rows of x, and their q */
	float	   *inner;			/* (LINEAR_ROWS, I) */
	float	   *scores;			/* attend()'s scratch */
	float	   *keys;			/* (KERN_ATTEND_ROWS, D, longest sequence): transposed keys of one head */
	float	   *values;			/* (longest sequence, D): values of one head */
	size_t		keys_each;		/* floats of one of them */
	const float **rows;			/* (longest sequence): rows of qkv that a sequence's tokens have */
	int			most_runs;		/* of a sequence, its own counts */
	KernKeys   *runs;			/* (1 + KERN_ATTEND_ROWS, most_runs) */
} Pass;

/* Neither a context nor a run of its own: its keys and values are those of this pass. */
static inline bool
stands_alone(const Gpt2Seq *seq)
{
	return seq->n_context == 0 && seq->own == NULL;
}

/* Tokens of seq whose rows are the pass's first: 1 or 0.  A sequence keeps a row of its own, the last one. */
static inline int
shared_rows(const Gpt2Seq *first, const Gpt2Seq *seq)
{
	return seq != first && seq->n_token > 1 && stands_alone(seq) && stands_alone(first) &&
		seq->tokens[0] == first->tokens[0];
}

/* Rows that the pass has for its s-th sequence alone. */
static inline int
own_rows(const Pass *p, int s)
{
	return p->seqs[s].n_token - shared_rows(p->seqs, &p->seqs[s]);
}

/*
 * Attention of every sequence in one layer: q (n_live, E), rows ldq apart -> att (n_live, E); last: each last token
 * asks alone.
 */
extern FsiStatus gpt2_attend(Pass *p, int layer, bool last, const float *q, int ldq, FsiError *err);

#endif
