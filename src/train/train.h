/*
 * train.h
 *	  What the files of src/train share.  Private to the room.
 *
 * T: rows (tokens) of a pass, E: n_embd, H: heads, D = E / H, I: n_inner, V: vocabulary.
 * A gradient lies in a Gpt2Model of the same shape as the weights: "w" and "g" in names.
 */
#ifndef TRAIN_H
#define TRAIN_H

#include "fsi_train.h"

/* A gradient's array: Gpt2Model points to const floats, since models are views for everybody else. */
static inline float *
train_mut(const float *p)
{
	return (float *) p;
}

/* ---- train_pool.c: threads, tasks with fixed bounds, so that their number changes no bit. ---- */

typedef struct TrainPool TrainPool;
/* Task number task of a run; worker: 0 .. workers - 1, for scratch. */
typedef void (*TrainTask) (void *arg, int task, int worker);

extern FsiStatus train_pool_create(const FsiHost *host, FsiArena *arena, int workers, TrainPool **pool, FsiError *err);
extern void train_pool_destroy(TrainPool *pool);	/* joins the threads; NULL is fine */
extern int	train_pool_workers(const TrainPool *pool);
/* All tasks, in any order; FSI_CANCELLED after those in hand when the host asks to stop. */
extern FsiStatus train_run(TrainPool *pool, int n_task, TrainTask task, void *arg, FsiError *err);
/* The same without asking: for what must not stop half-way. */
extern void train_run_through(TrainPool *pool, int n_task, TrainTask task, void *arg);

/* ---- train_random.c: one sequence for each purpose, the same on every machine. ---- */

typedef struct TrainRandom
{
	uint64_t	state;
} TrainRandom;

extern uint64_t train_mix(uint64_t a, uint64_t b);	/* hash of two words */
extern TrainRandom train_random_for(uint64_t seed, uint64_t purpose, uint64_t number);
extern int	train_random_below(TrainRandom *r, int n);	/* 0 .. n - 1, n >= 1 */
extern double train_random_unit(TrainRandom *r);		/* [0, 1) */
/* out[k] = k different numbers below n, in random order. */
extern void train_random_sample(TrainRandom *r, int n, int k, int *out);
/* Where number i stands after shuffling 0 .. n - 1 with key: a permutation that needs no memory. */
extern uint32_t train_shuffled(uint32_t i, uint32_t n, uint64_t key);

enum { TRAIN_PURPOSE_ROWS = 1, TRAIN_PURPOSE_EPISODE, TRAIN_PURPOSE_DROPOUT, TRAIN_PURPOSE_FEWSHOT };

/* ---- train_params.c: weights, gradients and moments in three blocks of one order. ---- */

#define TRAIN_NAME_BYTES 64
typedef struct TrainTensor
{
	char		name[TRAIN_NAME_BYTES];
	int			k,
				n;
	size_t		size;			/* k * n */
	size_t		at;				/* in weights */
	size_t		state;			/* in gradients and moments, when trained */
	bool		trained;
	bool		decay;
} TrainTensor;

/* Learned scalars of the readout, a tensor of their own. */
enum { SCALAR_LOG_SCALE, SCALAR_NAME_BIAS, SCALAR_OTHER, N_SCALAR };

typedef struct TrainParams
{
	int			n_tensor;
	TrainTensor *tensors;
	size_t		n_weight,		/* floats of weights */
				n_state;		/* floats of grads, m, v each */
	float	   *weights,
			   *grads,
			   *m,
			   *v;
	Gpt2Model	w,				/* views */
				g;				/* NULL pointers where frozen */
	float	   *w_scalar,		/* [N_SCALAR], segments layout */
			   *g_scalar;		/* NULL unless they are learned */
} TrainParams;

extern FsiStatus train_params_create(const Gpt2Model *model, const TrainOptions *options, FsiArena *arena,
									 TrainParams *params, FsiError *err);
extern void train_params_count(const Gpt2Config *cfg, bool freeze, size_t *n_weight, size_t *n_state);
/* A copy of the weights in an arena. */
extern FsiStatus train_params_copy(const TrainParams *params, FsiArena *arena, Gpt2Model *out, FsiError *err);
/*
 * Set w.pointing, all but its spelling weight, from the model's own scalars, the learned ones and the options' bounds.
 */
extern void train_params_scalars(TrainParams *params, const PointingScalars *own, const TrainOptions *options);

/* ---- train_layers.c, train_attend.c, train_loss.c: each layer's forward and backward side by side. ---- */

/* What a layer needs besides its tensors. */
typedef struct TrainCtx
{
	TrainPool  *pool;
	const KernOps *ops;
	FsiError   *err;
	uint64_t	dropout_key;	/* of the step; 0 rates: not used */
	uint64_t	first_row;		/* number of the pass's first row within the step: dropout depends on it */
	float	   *stats;			/* (T, 2) */
	float	   *scores;			/* attention: workers x (3, ATTEND_BLOCK, longest sequence) */
	size_t		scores_size;	/* floats of one worker */
} TrainCtx;

/* Sequences laid end to end; no row is padding. */
typedef struct TrainBatch
{
	int			n_seq;
	const int  *first;			/* [n_seq + 1] row of each sequence's first token; first[n_seq] = T */
	const int32_t *tokens;		/* [T] */
} TrainBatch;

static inline int
train_batch_rows(const TrainBatch *b)
{
	return b->first[b->n_seq];
}

extern FsiStatus train_embed(TrainCtx *c, const TrainBatch *b, int E, const float *wte, const float *wpe, float *x);
extern FsiStatus train_embed_back(TrainCtx *c, const TrainBatch *b, int E, const float *dx, float *g_wte, float *g_wpe);

extern FsiStatus train_norm(TrainCtx *c, int T, int E, const float *x, const float *gain, const float *bias,
							float eps, float *y);
extern FsiStatus train_norm_back(TrainCtx *c, int T, int E, const float *x, const float *gain, float eps,
								 const float *dy, float *dx, float *g_gain, float *g_bias);

/* y (T, N) = x (T, K) w + bias, or y += with add; w (K, N), or (N, K) when transposed. */
extern FsiStatus train_linear(TrainCtx *c, int T, const float *x, const KernMatrix *w, const float *bias, bool add,
							  float *y);
/* dx = dy w^T; g_w += x^T dy; g_bias += column sums of dy; each where it is not NULL. */
extern FsiStatus train_linear_back(TrainCtx *c, int T, const float *x, const KernMatrix *w, const float *dy,
								   float *dx, float *g_w, float *g_bias);

extern FsiStatus train_activate(TrainCtx *c, int T, int I, const float *x, KernAct act, float *y);
extern FsiStatus train_activate_back(TrainCtx *c, int T, int I, const float *x, KernAct act, float *dy_dx);

/* x = dropout(x) with the mask of site; the backward pass is the same call on the gradient. */
extern FsiStatus train_dropout(TrainCtx *c, int T, int E, int site, double rate, float *x);
extern FsiStatus train_add(TrainCtx *c, int T, int E, const float *x, float *y);

/* Numbers of the places where something is dropped. */
static inline int
train_site(int layer, int which)
{
	return 4 * (layer + 1) + which;
}

enum { DROP_EMBD = 0, DROP_ATTN = 1, DROP_PROJ = 2, DROP_OUT = 3 };

#define ATTEND_BLOCK 64			/* queries at a time: the causal half that is computed for nothing stays small */

/* qkv (T, 3E) -> att (T, E), log_sum (T, H) */
extern FsiStatus train_attend(TrainCtx *c, const TrainBatch *b, int E, int H, float scale, int layer, double rate,
							  const float *qkv, float *att, float *log_sum);
/* d_att (T, E) -> d_qkv (T, 3E), with what the forward pass took and gave */
extern FsiStatus train_attend_back(TrainCtx *c, const TrainBatch *b, int E, int H, float scale, int layer, double rate,
								   const float *qkv, const float *att, const float *log_sum, const float *d_att,
								   float *d_qkv);

/* What the loss of a pass adds up to. */
typedef struct TrainLossSum
{
	double		loss;			/* sum of weight * cross-entropy */
	double		weight;
	int64_t		judged,			/* rows with a weight */
				right;			/* whose target is the first choice */
} TrainLossSum;

typedef struct TrainTarget
{
	int			row;
	int32_t		token;
	float		weight;
	bool		response;		/* of the response, not of the prompt */
	bool		right;			/* out: the target has the highest logit (not with gradients) */
} TrainTarget;

#define LOSS_FLOATS ((size_t) 8 << 20)	/* logits of one chunk of rows: 32 MB */

/* Rows of hidden (T, E) against their targets; scratch: train_loss_scratch() floats. */
extern FsiStatus train_loss(TrainCtx *c, const KernMatrix *head, int n, TrainTarget *targets,
							const float *hidden, float *scratch, TrainLossSum *sum);
/* The same, and d_hidden (T, E) = factor * gradient (rows without target: 0), g_head += . */
extern FsiStatus train_loss_back(TrainCtx *c, const KernMatrix *head, int T, int n, TrainTarget *targets,
								 double factor, const float *hidden, float *scratch, float *d_hidden, float *g_head,
								 TrainLossSum *sum);
extern size_t train_loss_scratch(const Gpt2Config *cfg);

/* ---- train_gpt2.c: the whole model over one pass. ---- */

typedef struct TrainActs TrainActs;
typedef struct TrainDrop
{
	double		embd,
				resid,
				attn;
} TrainDrop;

extern size_t train_acts_bytes(const Gpt2Config *cfg, int rows, int longest, int workers);
extern FsiStatus train_acts_create(const Gpt2Config *cfg, int rows, FsiArena *arena, TrainActs **acts, FsiError *err);
/* stats lie in acts; scores are sized for sequences of up to longest rows. */
extern FsiStatus train_ctx_create(const KernOps *ops, TrainPool *pool, const TrainActs *acts, int longest,
								  FsiArena *arena, TrainCtx *ctx, FsiError *err);
extern int	train_acts_rows(const TrainActs *acts);
/*
 * hidden (T, E) = ln_f(h), inside acts until the next forward.  keep: everything that
 * train_gpt2_back() needs is kept.
 */
extern FsiStatus train_gpt2(TrainCtx *c, const Gpt2Model *w, const TrainDrop *drop, const TrainBatch *b, bool keep,
							TrainActs *acts, float **hidden);
/* Where the caller puts the gradient (T, E) of hidden before train_gpt2_back(), inside acts; g += . */
extern float *train_gpt2_d_hidden(TrainActs *acts);
extern FsiStatus train_gpt2_back(TrainCtx *c, const Gpt2Model *w, const Gpt2Model *g, const TrainDrop *drop,
								 const TrainBatch *b, TrainActs *acts);

/* ---- train_adamw.c, train_schedule.c ---- */

/* L2 norm of all gradients. */
extern FsiStatus train_grad_norm(TrainPool *pool, const KernOps *ops, const TrainParams *params, FsiArena *arena,
								 double *norm, FsiError *err);
/* One update, number t >= 1; gradients are scaled first.  Cannot be stopped. */
extern void train_adamw(TrainPool *pool, const KernOps *ops, const TrainOptions *o, TrainParams *params, int64_t t,
						double learning_rate, double grad_scale);
extern double train_clip_factor(double norm, double max_grad_norm);

/* ---- train_pointing.c: the readout over unit vectors. ---- */

typedef enum TrainKind { TRAIN_NAME, TRAIN_DESCRIPTION, TRAIN_EXAMPLE } TrainKind;

typedef struct TrainEpisode
{
	int			n_candidate;
	int			n_segment,
				n_query;
	int		   *owner;			/* [n_segment] candidate */
	TrainKind  *kind;			/* [n_segment] */
	int		   *gold;			/* [n_query] candidate, or n_candidate: "other" */
	int		   *segment;		/* [n_segment] texts, by number in the trainer's list */
	int		   *query;			/* [n_query] */
	bool		offers_other;	/* "other" is an answer: in training always; without it it is no message's gold */
	/* evaluation: added to the similarities, the weight times the cosine of spellings */
	double		spelling_weight;
	const SpellIndex *spelling; /* of the segments; NULL: none */
	const SpellVec **query_spell;	/* [n_query] */
} TrainEpisode;

typedef struct TrainReadout
{
	int			E;
	const float *q,				/* (E, E) */
			   *k;
	const PointingScalars *scalars;
	const float *learned;		/* [N_SCALAR] */
} TrainReadout;

/*
 * zm (n_query, E), zs (n_segment, E): unit vectors -> mean cross-entropy and answers that were right; added to loss_at and
 * right_at of scores (may be NULL).
 */
extern FsiStatus train_pointing(TrainCtx *c, const TrainReadout *r, const TrainEpisode *e, const float *zm,
								const float *zs, FsiArena *arena, double *loss, int *right, TrainScores *scores);
/* The same, and dzm, dzs = factor * gradient (may be NULL); g_q, g_k, g_scalar += (may be NULL). */
extern FsiStatus train_pointing_back(TrainCtx *c, const TrainReadout *r, const TrainEpisode *e, const float *zm,
									 const float *zs, double factor, FsiArena *arena, double *loss, int *right,
									 float *dzm, float *dzs, float *g_q, float *g_k, float *g_scalar);
/* z (n_seq, E) = unit(sum of a sequence's hidden rows), norm[n_seq]; and back. */
extern void train_pool_mean(const KernOps *ops, const TrainBatch *b, int E, const float *hidden, float *z, float *norm);
extern void train_pool_mean_back(const KernOps *ops, const TrainBatch *b, int E, const float *z, const float *norm,
								 const float *dz, float *d_hidden);

/* Messages of an evaluation of a segments model that are scored at a time. */
#define TRAIN_QUERY_CHUNK 1024

/* ---- train_episode.c ---- */

/* Texts of the data by number: names of all intents, their descriptions, then the texts. */
typedef struct TrainTexts
{
	int			n;
	const TokIds **ids;
	int		   *first_name,		/* [n_intent + 1] */
			   *first_description,	/* [n_intent + 1] */
				first_text;
	int		   *by_intent,		/* texts' numbers, grouped */
			   *group;			/* [n_intent + 2]: group[i] .. group[i + 1] of by_intent; last: TRAIN_OTHER's */
} TrainTexts;

extern FsiStatus train_texts_list(const TrainData *data, FsiArena *arena, TrainTexts *texts, FsiError *err);
/* Episode of one number: depends on seed and number alone. */
extern FsiStatus train_episode_draw(const TrainData *data, const TrainTexts *texts, const TrainOptions *o,
									uint64_t number, FsiArena *arena, TrainEpisode *e, FsiError *err);

/* ---- train.c and its parts: train_prompt.c, train_segments.c. ---- */

/*
 * Vectors of what was evaluated last, in the order of its lists: of a body that stays as it is they do, too.  Names and
 * held-out texts would go through it again at each evaluation, more of them in a training than texts that are trained on.
 */
typedef struct TrainKept
{
	FsiArena	arena;
	float	   *z;				/* (n, E) */
	int			n;
	uint64_t	key;			/* hash of their tokens; 0: they are not all there */
} TrainKept;

struct Train
{
	FsiHost		host;
	FsiArena	arena;			/* lives as long as the Train */
	FsiArena	work;			/* one step */
	const KernOps *ops;
	TrainOptions options;
	const TrainData *data;
	TrainParams params;
	PointingScalars scalars;	/* the model's own */
	TrainPool  *pool;
	TrainActs  *acts;
	TrainCtx	ctx;
	float	   *logits;			/* prompt layout: train_loss_scratch() */
	TrainTexts	texts;			/* segments layout */
	float	   *z;				/* freeze: (texts.n, E) */
	TrainKept	kept;			/* freeze */
	int64_t		step,
				max_steps;
	TrainBest	best;
	double		scale;			/* of the result's logits: train_calibrate() */
	double		spelling_share;	/* of the spelling weight that options allow: train_weigh_spelling() */
	bool		broken;			/* a checkpoint was half read */
};

/* FSI_INVALID when a checkpoint was half read. */
extern FsiStatus train_check_whole(const Train *t, FsiError *err);
/* Dropout off or as the options say. */
extern TrainDrop train_drop(const Train *t, bool training);

/* Gradients of a step's rows or episodes on top of params.g, which is zeroed before. */
extern FsiStatus train_prompt_gradients(Train *t, int n, const int *rows, TrainReport *report, FsiError *err);
extern FsiStatus train_segments_gradients(Train *t, uint64_t first_episode, int n_episode, TrainReport *report,
										  FsiError *err);
extern FsiStatus train_prompt_evaluate(Train *t, const TrainData *data, TrainScores *scores, FsiError *err);
/* scores[i] with weights[i] of spelling; the texts are encoded once. */
extern FsiStatus train_segments_evaluate(Train *t, const TrainData *data, int n_weight, const double *weights,
										 TrainScores *scores, FsiError *err);
/* Numbers of the rows of a step, n = batch * accumulation; epochs are shuffled one by one. */
extern void train_sample_rows(const TrainOptions *o, int n_row, int64_t step, int n, int *rows);
extern FsiStatus train_prompt_check(const Gpt2Config *cfg, const TrainOptions *o, const TrainData *data, FsiError *err);
extern FsiStatus train_segments_check(const Gpt2Config *cfg, const TrainData *data, FsiError *err);
/* freeze: z of all texts, once. */
extern FsiStatus train_segments_encode_all(Train *t, FsiError *err);

#endif
