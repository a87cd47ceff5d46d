/*
 * fsi_engine.h
 *	  GPT-2: one forward pass for int8 and f32 weights, keys and values, two readouts.
 *
 * gpt2_forward() runs a ragged batch of new tokens, each sequence on top of any number of
 * finished runs of keys and values (a shared prefix, a message, the ancestors of a tree
 * node).  Weights decide the arithmetic: KERN_I8 matrices take the exact path (equal bits
 * alone, in a batch, on every CPU level), KERN_F32 ones OpenBLAS.  Models are read-only
 * views; all scratch is in the caller's arena and Gpt2Work.  Every call may return
 * FSI_CANCELLED (asked at least once per layer and block of rows) or FSI_NOMEM and leaves no state.
 */
#ifndef FSI_ENGINE_H
#define FSI_ENGINE_H

#include "fsi_base.h"
#include "fsi_kernels.h"
#include "fsi_text.h"

typedef enum Gpt2Layout { GPT2_PROMPT = 1, GPT2_SEGMENTS = 2 } Gpt2Layout;

typedef struct Gpt2Config
{
	int32_t		n_layer,
				n_head,
				n_embd,
				n_inner,
				n_positions,
				n_vocab;
	KernAct		act;
	float		ln_eps;
	bool		tied;			/* head is wte */
	bool		scale_attn_weights;
	bool		scale_attn_by_inverse_layer_idx;
	Gpt2Layout	layout;
	int32_t		begin;			/* token before a prompt or segment ([CLS], <|bos|>, …) or TOK_NONE */
	int32_t		end_prompt;		/* token after a prompt ([SEP]) or TOK_NONE */
	int32_t		end;			/* token that ends an answer or segment ([SEP], <|eos|>, …) */
} Gpt2Config;

typedef struct Gpt2Layer
{
	const float *ln1_gain,
			   *ln1_bias;		/* [n_embd] */
	KernMatrix	qkv;			/* n_embd x 3 n_embd */
	const float *qkv_bias;
	KernMatrix	proj;			/* n_embd x n_embd */
	const float *proj_bias;
	const float *ln2_gain,
			   *ln2_bias;
	KernMatrix	fc;				/* n_embd x n_inner */
	const float *fc_bias;
	KernMatrix	out;			/* n_inner x n_embd */
	const float *out_bias;
} Gpt2Layer;

/*
 * Scalars of the pointing readout (segments layout); formula in src/engine/pointing.c.  The
 * names are those of config.json's readout block.
 */
typedef struct PointingScalars
{
	double		spelling_weight;	/* of the spelling cosine beside the meaning's */
	double		description_weight; /* of the descriptions' mean beside the name */
	double		example_sharpness;	/* 0: examples' similarities are averaged evenly */
	double		name_share;		/* of the name beside the examples */
	double		name_scale,		/* name alone */
				name_bias;
	double		both_scale,		/* name and examples */
				both_bias;
	double		example_scale,	/* examples alone (hidden names) */
				example_bias;
	double		other_logit;	/* of "none of these" */
	double		other_share;	/* of the candidates' logsumexp in its logit; 0: a constant */
	double		discriminant_share; /* of the discriminant beside name and examples; 0: none */
	double		discriminant_ridge; /* > 0, where there is one */
	double		reserved[2];
} PointingScalars;

typedef struct Gpt2Model
{
	Gpt2Config	cfg;
	KernMatrix	wte;			/* n_embd inputs x n_vocab outputs: column t is token t's vector */
	const float *wpe;			/* [n_positions][n_embd] */
	Gpt2Layer  *layers;
	const float *lnf_gain,
			   *lnf_bias;
	KernMatrix	head;			/* equals wte when tied */
	/* segments layout */
	const float *readout_q,		/* [n_embd][n_embd], z_row * q */
			   *readout_k;
	PointingScalars pointing;
} Gpt2Model;

/* ---- Keys and values of one run of tokens, all layers. ---- */

typedef struct KvRun
{
	int			count,			/* tokens stored */
				cap;			/* room: a multiple of 8 keeps vectors of keys within lines of the cache */
	float	   *kt;				/* [n_layer][n_head][head_dim][cap] */
	float	   *v;				/* [n_layer][n_head][cap][head_dim] */
} KvRun;

extern size_t kv_bytes(const Gpt2Config *cfg, int cap);
extern FsiStatus kv_alloc(const Gpt2Config *cfg, int cap, FsiArena *arena, KvRun *kv, FsiError *err);

/* One sequence of a batch: context runs (finished), own new tokens at positions after them. */
typedef struct Gpt2Seq
{
	int			n_context;
	const KvRun *const *context;
	int			n_ahead;		/* tokens that an earlier sequence of the call adds to the last context run, seen too */
	KvRun	   *own;			/* receives the new tokens' keys and values after own->count, and they
								 * attend to those already there; NULL: kept for the pass only */
	int			n_token;
	const int32_t *tokens;
} Gpt2Seq;

typedef enum Gpt2Want
{
	GPT2_ALL = 0,				/* ln_f(h) of every new token */
	GPT2_LAST					/* of each sequence's last token only (the last layer skips the rest) */
} Gpt2Want;

/* Scratch of the forward pass, reused between calls; grows to the largest pass (512 tokens, or one longer sequence). */
typedef struct Gpt2Work Gpt2Work;
extern FsiStatus gpt2_work_create(const FsiHost *host, const KernOps *ops, Gpt2Work **work, FsiError *err);
extern void gpt2_work_destroy(Gpt2Work *work);
extern size_t gpt2_work_bytes(const Gpt2Work *work);
extern const KernOps *gpt2_work_ops(const Gpt2Work *work);

/*
 * hidden: [sum of n_token][n_embd] (GPT2_ALL) or [n_seq][n_embd] (GPT2_LAST), ln_f applied.
 * FSI_LIMIT when a sequence passes n_positions, FSI_INVALID for a token outside the vocabulary.
 */
extern FsiStatus gpt2_forward(const Gpt2Model *model, Gpt2Work *work, int n_seq, const Gpt2Seq *seqs,
							  Gpt2Want want, float *hidden, FsiError *err);

/* Logits [m][n_vocab] of hidden rows [m][n_embd]. */
extern FsiStatus gpt2_logits(const Gpt2Model *model, Gpt2Work *work, int m, const float *hidden,
							 float *logits, FsiError *err);
/* Logits [n] of n tokens, for one hidden row; FSI_INVALID for a token outside the vocabulary. */
extern FsiStatus gpt2_logits_of(const Gpt2Model *model, Gpt2Work *work, const float *hidden,
								int n, const int32_t *tokens, float *logits, FsiError *err);

/* ---- Free generation. ---- */

typedef struct SampleOptions
{
	int			max_new_tokens;
	double		temperature;	/* 0: greedy */
	double		top_p;			/* (0, 1] */
	int			top_k;			/* 0: off */
	double		repetition_penalty;		/* 1: off */
	uint64_t	seed;
} SampleOptions;

/* New ids after the prompt, without the end token; stops at cfg.end, max_new_tokens or the context's end. */
extern FsiStatus gpt2_generate(const Gpt2Model *model, Gpt2Work *work, const int32_t *prompt, int n_prompt,
							   const SampleOptions *opt, FsiArena *arena, TokIds *out, FsiError *err);

/*
 * Greedy continuations of n_row prompts side by side, each as gpt2_generate() would write it (temperature 0, no
 * penalty).  rows[i].own has room for its tokens and limit - 1 more; out[n_row] as above.
 */
extern FsiStatus gpt2_generate_rows(const Gpt2Model *model, Gpt2Work *work, int n_row, const Gpt2Seq *rows, int limit,
									FsiArena *arena, TokIds *out, FsiError *err);

/* ---- Label trie (prompt layout). ---- */

typedef struct Trie Trie;		/* nodes over labels' tokens, each label ended by cfg.end */

/* label_ids[i]: tokens of label i; labels[i]: what messages call it.  FSI_COLLISION: two have the same tokens. */
extern FsiStatus trie_build(const Gpt2Config *cfg, int n_label, const TokIds *label_ids,
							const char *const *labels, FsiArena *arena, Trie **trie, FsiError *err);

typedef enum TrieScoring
{
	TRIE_BEST = 0,				/* best label alone, best-first: expands no more nodes than needed */
	TRIE_ALL,					/* probability of every label: product of softmaxes over children; sums to 1 */
	TRIE_SEQUENCE				/* full-vocabulary log-likelihood of every label and its end token; then softmax */
} TrieScoring;

/* One message of a batch; best and score are set. */
typedef struct TrieRow
{
	int			n_context;
	const KvRun *const *context;	/* runs of the sequence that labels follow: prefix, message */
	const float *hidden;		/* [n_embd] ln_f(h) of its last token */
	const float *ahead;			/* [trie_ahead()][n_embd], or NULL */
	int			best;
	double	   *score;			/* [n_label], or NULL for TRIE_BEST */
} TrieRow;

/*
 * Nodes that TRIE_BEST may feed first, if they have few tokens, for a single row to feed with
 * its message instead of in a pass of their own: n_token and tokens of seqs [TRIE_AHEAD] are
 * set; returns how many.
 */
#define TRIE_AHEAD 4
extern int	trie_ahead(const Trie *trie, Gpt2Seq *seqs);
/*
 * Score labels after each row's sequence.  score[n_label] (TRIE_ALL, TRIE_SEQUENCE) may be NULL for TRIE_BEST, which
 * sets score[best] and leaves the others 0.  Equal scores: the smaller label number wins.  The rows' nodes go side by
 * side in each forward pass; a row's bits are those that it has alone.
 */
extern FsiStatus trie_score_rows(const Gpt2Model *model, Gpt2Work *work, const Trie *trie,
								 int n_row, TrieRow *rows, TrieScoring scoring, FsiArena *arena, FsiError *err);
/* Tokens of the longest label, without the end token: the room a label needs after the message. */
extern int	trie_max_tokens(const Trie *trie);

/* FSI_COLLISION when two of n labels have equal tokens: their numbers, *first < *second (either layout). */
extern FsiStatus label_collision(int n, const TokIds *ids, FsiArena *arena, int *first, int *second, FsiError *err);

/* ---- Segments and the pointing readout (segments layout). ---- */

/*
 * z of n texts' tokens: begin + ids + end is put around here; too long ones keep head and
 * tail (*shortened counts them, may be NULL).  z [n][n_embd], unit length, mean of ln_f(h).
 */
extern FsiStatus segment_encode(const Gpt2Model *model, Gpt2Work *work, int n, const TokIds *texts,
								float *z, int *shortened, FsiArena *arena, FsiError *err);
/* Tokens of a segment with its marks, the text's middle left out where it is too long. */
extern int	segment_length(const Gpt2Config *cfg, const TokIds *text, bool *shortened);
/* Write a segment of n = segment_length() tokens: begin, head and tail of the text (half of the room each), end. */
extern void segment_write(const Gpt2Config *cfg, const TokIds *text, int n, int32_t *out);
/* unit(z q) of n messages, or unit(z k) of n of anything else; z and out [n][n_embd]. */
extern void segment_project(const Gpt2Model *model, const KernOps *ops, int n, const float *z, bool message, float *out);

/* A message or segment ready to be compared. */
typedef struct SegmentVec
{
	const float *proj;			/* [n_embd], segment_project() */
	SpellVec	spell;
} SegmentVec;

typedef struct PointingCandidate
{
	const SegmentVec *name;		/* NULL: hidden, the examples alone speak */
	const SegmentVec *description;	/* or NULL */
	int			n_example;
	const SegmentVec *const *examples;
} PointingCandidate;

/* All candidates' examples, one candidate after another, made ready to be compared at once. */
typedef struct PointingIndex
{
	int			n;
	const float **proj;			/* [n] */
	SpellIndex	spell;
} PointingIndex;

extern FsiStatus pointing_index_build(int n, const SegmentVec *const *examples, FsiArena *arena,
									  PointingIndex *index, FsiError *err);

/*
 * *direction [n][n_embd], in arena: src/engine/discriminant.c's, or NULL where the model has none
 * or no candidate has examples.  Scratch: 8 bytes times n_embd times n, and, s
 * being n_embd or the segments, whichever is less, 8 bytes times s times n_embd + s.  FSI_CANCELLED, FSI_LIMIT, FSI_CORRUPT.
 */
extern FsiStatus pointing_discriminant(const Gpt2Model *model, int n, const PointingCandidate *candidates,
									   FsiArena *arena, const float **direction, FsiError *err);

/*
 * logit[n] of each candidate for a message, then prob[n + 1]: softmax over the candidates
 * and, last, "other" when with_other (else prob[n] = 0).  Canonical order of every sum:
 * permuting candidates or examples permutes the results and changes no bit.  index: of the
 * candidates' examples, worth it from some dozens on, or NULL; it changes no bit either.  direction: of
 * pointing_discriminant(), or NULL, which leaves it out.
 */
extern FsiStatus pointing_score(const Gpt2Model *model, const KernOps *ops, const SegmentVec *message,
								int n, const PointingCandidate *candidates, const PointingIndex *index,
								const float *direction, bool with_other, double *logit, double *prob,
								FsiArena *arena, FsiError *err);
/*
 * score[n] from logit[n]: each candidate's in a choice between itself and "other", whose logit is as where it is the
 * only one.
 */
extern void pointing_alone(const Gpt2Model *model, int n, const double *logit, double *score);

#endif
