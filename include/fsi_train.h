/*
 * fsi_train.h
 *	  Fine-tuning: forward and backward of any f32 GPT-2, AdamW, schedules, checkpoints, event files.
 *
 * A Train is a copy of a model with its optimiser and its data.  train_step() draws rows,
 * computes the loss and its gradient, and updates the weights; what it draws depends on the
 * seed and the number of the step alone, so a checkpoint is weights, moments and that number.
 *
 * Memory: train_create() takes everything from its host once, but for what a step or an evaluation
 * of a segments model takes while it lasts (train_bytes() says how much in all: 16 bytes per trained
 * parameter, 4 per frozen one, and the activations of a pass, 409 kB per token at 12 x 768).  Model
 * and data are borrowed: the model until train_create() returns, the data as long as the Train.
 * Threads: options.threads - 1 of our own, signals blocked, which end in train_destroy(); OpenBLAS
 * always runs with one, called by each of ours.
 * Bits depend on the CPU's kernels in OpenBLAS, never on the number of threads.
 *
 * Failure: every call may return FSI_CANCELLED (asked about every 20 ms of work, but not
 * inside an update, about 0.2 s at 100M parameters) or FSI_NOMEM.  A step that fails has
 * changed nothing: it can be run again.
 */
#ifndef FSI_TRAIN_H
#define FSI_TRAIN_H

#include "fsi_engine.h"

/* ---- Data. ---- */

/* Prompt layout: one sequence as the model sees it, begin and end tokens included. */
typedef struct TrainRow
{
	TokIds		ids;
	int			n_prompt;		/* tokens before the response; 0: all are response */
} TrainRow;

/* Segments layout: texts without begin and end tokens, shortened in the middle where too long, as in serving. */
typedef struct TrainIntent
{
	int			n_name;
	const TokIds *names;		/* the name, then other spellings of it that users may write */
	int			n_description;
	const TokIds *descriptions;
	const SpellVec *name_spell, /* of the first name, for train_evaluate(); may be NULL */
			   *description_spell;	/* [n_description]; may be NULL */
} TrainIntent;

typedef struct TrainText
{
	TokIds		ids;
	int			intent;			/* index, or TRAIN_OTHER: none of them */
	SpellVec	spell;			/* for train_evaluate(); n = 0: like none */
} TrainText;

#define TRAIN_OTHER (-1)

typedef struct TrainData
{
	/* prompt layout */
	int			n_row;
	const TrainRow *rows;
	/* segments layout */
	int			n_intent;
	const TrainIntent *intents;
	int			n_text;
	const TrainText *texts;
	int			n_example;		/* for train_evaluate(): examples shown beside the names */
	const TrainText *examples;
} TrainData;

/* ---- Options: names and defaults as in Hugging Face's TrainingArguments and GPT2Config where those have them. ---- */

typedef enum TrainScheduler
{
	TRAIN_LINEAR = 0,			/* "linear": warm-up, then down to 0 at max_steps */
	TRAIN_COSINE,				/* "cosine": warm-up, then half a cosine down to 0 */
	TRAIN_CONSTANT,				/* "constant": no warm-up */
	TRAIN_CONSTANT_WITH_WARMUP	/* "constant_with_warmup" */
} TrainScheduler;

typedef enum TrainLoss
{
	TRAIN_LOSS_ALL = 0,			/* every token after the first counts 1 */
	TRAIN_LOSS_RESPONSE,		/* those of the response alone */
	TRAIN_LOSS_WEIGHTED			/* response 1, prompt prompt_loss_weight */
} TrainLoss;

typedef struct TrainOptions
{
	double		learning_rate;			/* 5e-5 */
	TrainScheduler lr_scheduler_type;	/* TRAIN_LINEAR */
	int64_t		max_steps;				/* 0: from num_train_epochs */
	double		num_train_epochs;		/* 3 */
	int64_t		warmup_steps;			/* 0: from warmup_ratio */
	double		warmup_ratio;			/* 0 */
	int			per_device_train_batch_size;	/* 8 rows, or episodes */
	int			gradient_accumulation_steps;	/* 1; batches per update */
	double		weight_decay;			/* 0; on matrices and embeddings, never on biases and gains */
	double		adam_beta1,				/* 0.9 */
				adam_beta2,				/* 0.999 */
				adam_epsilon;			/* 1e-8 */
	double		max_grad_norm;			/* 1; 0: no clipping */
	double		embd_pdrop,				/* 0.1 each */
				resid_pdrop,
				attn_pdrop;
	uint64_t	seed;					/* 42 */
	int			threads;				/* 1 */
	int			pass_tokens;			/* 2048: tokens of one forward and backward pass; a longer row still fits */

	/* prompt layout */
	TrainLoss	loss;					/* TRAIN_LOSS_ALL */
	double		prompt_loss_weight;		/* 0.1 */

	/* segments layout: episodes of some of the intents, some of their texts as examples, some as messages */
	bool		freeze;					/* train the readout alone (default false) */
	bool		learn_scalars;			/* also the readout's scale, name_bias and other_logit (default false) */
	int			min_ways,				/* 2 */
				max_ways;				/* 16 intents of an episode */
	int			max_shots;				/* 3 examples of each */
	int			queries;				/* 6 messages */
	double		hidden_names;			/* 0.25: share of episodes with examples that show no names */
	double		missing;				/* 0.1: share whose first intent is missing: "other" is right */
	double		described;				/* 0.3: share that shows descriptions */
	/* the result's readout: what was trained, meaning and names, counts for more there than in the base's */
	double		spelling_weight;		/* at most this (100: as the base) */
	double		name_share;				/* at least this (0: as the base) */
	double		discriminant_share;		/* at most this (100: as the base) */
	/* freeze: told how many tokens of all texts have gone through the model, pass after pass of train_create(); or NULL */
	void		(*encoded) (void *arg, uint64_t tokens, uint64_t all);
	void	   *encoded_arg;
} TrainOptions;

extern const TrainOptions train_defaults;
/* FSI_INVALID naming the option and its range. */
extern FsiStatus train_check_options(const TrainOptions *options, FsiError *err);
/* Of update number step + 1; the first one of a warm-up has rate 0. */
extern double train_learning_rate(const TrainOptions *options, int64_t step, int64_t max_steps);

/* ---- The trainer. ---- */

typedef struct Train Train;

/* What one step did. */
typedef struct TrainReport
{
	int64_t		step;			/* updates so far, this one included */
	int64_t		max_steps;
	double		epoch;			/* passes over the data so far */
	double		loss;			/* mean over the step's weighted tokens, or messages; before the update */
	double		accuracy;		/* segments: share of messages answered right; prompt: 0 */
	double		learning_rate;
	double		grad_norm;		/* before clipping */
	int64_t		tokens;			/* that went through the model */
} TrainReport;

#define TRAIN_SCALES 33			/* factors of logits that an evaluation tries */
typedef struct TrainScores
{
	double		loss;
	double		accuracy;		/* prompt: of tokens that count; segments: of messages */
	double		exact;			/* prompt: share of rows whose response is the model's first choice, token by token,
								 * which is greedy decoding's own answer; segments: as accuracy */
	int64_t		count;			/* tokens or messages that were judged */
	/*
	 * segments: summed loss and right answers with all logits times train_scale_factor(i).  "Other" is an answer where
	 * it is one for any of these or the trained messages.
	 */
	double		loss_at[TRAIN_SCALES];
	int64_t		right_at[TRAIN_SCALES];
} TrainScores;

/*
 * Copy the model (f32 matrices; FSI_UNSUPPORTED for others), check the data, take all
 * memory.  FSI_INVALID: empty data, a token outside the vocabulary, an intent without name,
 * fewer than two intents; FSI_LIMIT: a row longer than the context (its number in the
 * message).  FSI_UNSUPPORTED without OpenBLAS.
 */
extern FsiStatus train_create(const FsiHost *host, const KernOps *ops, const Gpt2Model *model,
							  const TrainOptions *options, const TrainData *data, Train **train, FsiError *err);
extern void train_destroy(Train *train);
/*
 * Bytes that a training will take, data's longest row known (segments: any; n_text texts, n_name names and descriptions
 * among them, and n_held_out that it is evaluated on).
 */
extern size_t train_bytes(const Gpt2Config *cfg, const TrainOptions *options, int longest, int n_text, int n_name,
						  int n_held_out);

/* FSI_INVALID when loss or gradient is no finite number (nothing is updated) or max_steps are done. */
extern FsiStatus train_step(Train *train, TrainReport *report, FsiError *err);
/*
 * Loss and accuracy on rows that are not trained on, without dropout.  Borrowed data is checked as in train_create().
 * Segments: the answers are those of the result, which weighs spelling (before the first step the base's, whole); training
 * does not.  With examples, names and examples weigh as in the base, without discriminant.
 */
extern FsiStatus train_evaluate(Train *train, const TrainData *data, TrainScores *scores, FsiError *err);
/* e^-2 .. e^2 */
extern double train_scale_factor(int i);
/*
 * Segments: multiply the logits of the result (train_model(), train_export()) by the factor that makes the scores of these
 * messages likeliest, drawn towards 1 by TRAIN_SCALE_PRIOR: temperature scaling (Guo et al. 2017).  Loss and accuracy become
 * those with the factor.  Not part of a checkpoint.
 */
extern void train_calibrate(Train *train, TrainScores *scores);
#define TRAIN_SCALE_PRIOR 2.0	/* times the squared log of the factor, beside the summed loss */
/*
 * Segments: let all, half or none of the spelling weight that options allow count in the result and in evaluations from
 * now on, whichever makes these messages likeliest at its best factor (of two alike the larger); their scores with it.
 * Training makes up by meaning for some of what spelling told before: how much depends on the data.  Not part of a checkpoint.
 */
extern FsiStatus train_weigh_spelling(Train *train, const TrainData *data, TrainScores *scores, FsiError *err);
extern int64_t train_steps_done(const Train *train);
extern int64_t train_max_steps(const Train *train);

/* Early stopping: the best evaluation so far is part of a checkpoint. */
typedef struct TrainBest
{
	double		loss;			/* infinity before the first evaluation */
	int64_t		step;
	int			worse;			/* evaluations since then that were not better */
} TrainBest;

/* Note an evaluation; true when it is the best so far (save it).  Stop when best.worse reaches your patience. */
extern bool train_note_evaluation(Train *train, double eval_loss, TrainBest *best);
extern TrainBest train_best(const Train *train);

/*
 * The weights as they are now: a view that changes with every step, and a copy in an arena.
 * Matrices are f32; a segments model's scalars are its own or the learned ones, within the
 * bounds that options.spelling_weight, name_share and discriminant_share set.
 */
extern const Gpt2Model *train_model(Train *train);
extern FsiStatus train_export(Train *train, FsiArena *arena, Gpt2Model *out, FsiError *err);

/* Gradients without an update, for checks: of the given rows' mean loss (prompt layout) or of episode number step. */
extern FsiStatus train_gradients(Train *train, int n_row, const int *rows, double *loss, FsiError *err);
extern FsiStatus train_episode_gradients(Train *train, int64_t step, double *loss, FsiError *err);
/* By Hugging Face name ("wte.weight", "h.0.attn.c_attn.bias", "fsi.readout.q", …); NULL: no such tensor or frozen. */
extern const float *train_gradient(const Train *train, const char *name, size_t *n);

/* ---- Checkpoints: src/train/train_checkpoint.c has the layout. ---- */

/*
 * Trained weights, moments, step and best evaluation to path: written as path.tmp-PID,
 * synced, renamed, directory synced.  After any error, a full disk or a crash path is what
 * it was before, or the new file where only the directory could not be synced.
 */
extern FsiStatus train_save(Train *train, const char *path, FsiError *err);
/*
 * Go on from a checkpoint of the same model and options.freeze (FSI_INVALID otherwise);
 * FSI_CORRUPT when its hash is wrong, FSI_MISSING when there is none.  On error the Train is
 * as it was, unless the second reading, after the hash is checked, finds the file changed or
 * is cancelled: then step, evaluate, export and save refuse until a train_load() succeeds.
 */
extern FsiStatus train_load(Train *train, const char *path, FsiError *err);

/* ---- TensorBoard event files. ---- */

typedef struct TrainEvents TrainEvents;

/*
 * Create directory/events.out.tfevents.SECONDS.fsi.PID.N (directory exists; a new file each time, as
 * TensorBoard's own writers do).  Times are seconds since 1970.
 */
extern FsiStatus train_events_open(const FsiHost *host, const char *directory, double time,
								   TrainEvents **events, FsiError *err);
/* Append one scalar; tags as Trainer writes them: "train/loss", "eval/loss", "train/learning_rate". */
extern FsiStatus train_events_scalar(TrainEvents *events, const char *tag, int64_t step, double time, float value,
									 FsiError *err);
extern FsiStatus train_events_close(TrainEvents *events, FsiError *err);	/* frees it in any case */

#endif
