/*
 * tune.h
 *	  Between the files of the tune room: options, rows, the folder, what others see, a run.
 */
#ifndef TUNE_H
#define TUNE_H

#include "postgres.h"

#include <math.h>

#include "catalog/pg_extension.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "portability/instr_time.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_host.h"
#include "fsi_session.h"
#include "fsi_store.h"
#include "fsi_train.h"
#include "fsi_tune.h"

/* --- options.c --- */

typedef enum TuneMetric { TUNE_METRIC_LOSS = 0, TUNE_METRIC_ACCURACY } TuneMetric;
typedef enum TuneTooLong { TUNE_TOO_LONG_ERROR = 0, TUNE_TOO_LONG_SKIP } TuneTooLong;

typedef struct TuneOptions
{
	TrainOptions train;
	char	   *model;			/* of the base; NULL: the default one */
	char	   *other;			/* segments: the intent of rows that have none of the others */
	Jsonb	   *descriptions;	/* segments: by intent, or NULL */
	char	   *logging_dir;	/* NULL: the training's own folder */
	bool		replace;		/* the name may stand for other weights already */
	bool		rebuild;		/* and what rests on it follows */
	bool		restart;
	bool		background;
	double		eval_split;		/* share of the rows without a split that is held out */
	int64		eval_steps;		/* steps between evaluations; 0: none */
	int64		save_steps;		/* steps between checkpoints; 0: none */
	int64		logging_steps;
	int			early_stopping_patience;	/* evaluations without a better one; 0: go on */
	bool		load_best_model_at_end;
	int			metric;			/* TuneMetric: what "best" means */
	int			too_long;		/* TuneTooLong: prompt: rows longer than the context */
	int			eval_answers;	/* prompt: held-out prompts that are answered freely at an evaluation */
	bool		calibrate;		/* segments: fit the result's scale on the held-out rows */
	bool		weigh_spelling;	/* segments: no weight of spelling was asked for: the held-out rows choose */
} TuneOptions;

/* Steps that stand for "choose when the number of steps is known". */
#define TUNE_AUTO (-1)

/* The name of the base model in the options, or NULL. */
extern char *tune_options_model(Jsonb *options);
/* Defaults for the layout, then what options say.  Errors for keys, types and ranges. */
extern void tune_options_read(Jsonb *options, Gpt2Layout layout, TuneOptions *out);
extern StoreReplace tune_replace(const TuneOptions *options);
/* Append those that steer the result, a line each. */
extern void tune_options_plan(const TuneOptions *options, StringInfo out);

/* --- rows.c, split.c --- */

typedef enum TuneSplit { TUNE_SPLIT_NONE = 0, TUNE_SPLIT_TRAIN, TUNE_SPLIT_EVAL, TUNE_SPLIT_TEST } TuneSplit;

/* A row of the source; strings are UTF-8. */
typedef struct TuneRow
{
	HostText	text;			/* or prompt */
	HostText	answer;			/* intent, or response */
	HostText	intents;		/* prompt: the options of its prompt as the text of a text[]; s NULL: not given */
	TokIds		ids;			/* of text, as the model reads it; none in the split "test", and so below */
	TokIds		key;			/* without white space around it: rows that have the same are not parted */
	TuneSplit	split;
} TuneRow;

typedef struct TuneRows
{
	int			n;
	TuneRow    *rows;			/* in canonical order: by answer, text, options, split */
	uint8_t		hash[FSI_SHA256_BYTES];
	int			n_train;
	int			n_eval;
	int			n_skipped;		/* too long */
	int			n_shortened;
} TuneRows;

/* An evaluation's prompt to be answered freely. */
typedef struct TuneQuestion
{
	TokIds		prompt;
	TokIds		response;		/* without the end token */
	int			n_intents;		/* its options; where the source does not name them, the responses of all rows */
	TokIds	   *intents;
} TuneQuestion;

/* What the trainer trains on. */
typedef struct TuneData
{
	TrainData	train;
	TrainData	eval;			/* n_text and n_row 0: nothing is held out */
	int			longest;		/* tokens */
	int			n_text;			/* segments: names, descriptions and texts */
	int			n_name;			/* segments: names and descriptions */
	/* prompt layout */
	int			n_question;
	TuneQuestion *questions;
	int			n_response;		/* distinct ones */
	TokIds	   *responses[2];	/* as they follow white space, as they follow a word; NULL: no question wants them */
	int			max_response;	/* tokens */
} TuneData;

/* Read the source (SPI is connected), put it in order, and decide which rows are held out; tokens live in the arena. */
extern void tune_rows_read(const char *source, const StoreModel *model, const TuneOptions *options, FsiArena *arena,
						   TuneRows *rows);
/* ids and key of each row. */
extern void tune_rows_encode(TuneRows *rows, const StoreModel *model, FsiArena *arena);
/* What the model reads of the rows; everything lives in the arena. */
extern void tune_segments_data(TuneRows *rows, const StoreModel *model, const TuneOptions *options, FsiArena *arena,
							   TuneData *data);
extern void tune_prompt_data(TuneRows *rows, const StoreModel *model, const TuneOptions *options, FsiArena *arena,
							 TuneData *data);
/* Give each row without a split one; the rows are encoded. */
extern void tune_split(TuneRows *rows, bool by_answer, double share, uint64 seed);
extern int	tune_compare_ids(const TokIds *a, const TokIds *b);
/* A NOTICE where texts have several answers; the rows are encoded. */
extern void tune_tell_contrary(const TuneRows *rows);

/* --- folder.c --- */

extern char *tune_folder_path(const char *name);
/*
 * Make the folder ready for a training with that plan: true if one of the same plan is to be gone
 * on with.  An unfinished one with another plan is an error that says what differs, unless
 * restart.
 */
extern bool tune_folder_open(const char *path, const char *name, const char *plan, bool restart);
/* Save a state as "last"; also as "best" if it is that. */
extern void tune_folder_save(const char *path, Train *train, bool best);
extern void tune_folder_load_last(const char *path, Train *train);
extern void tune_folder_load_best(const char *path, Train *train);
/*
 * What the training's transaction is about to commit; and whether it did, though a crash has left the folder: nothing in
 * it is to be gone on with.
 */
extern void tune_folder_note_result(const char *path, const char *sha256);
extern bool tune_folder_has_result(const char *path, const char *name);
extern void tune_folder_remove(const char *path);
/* Remove it if it has no checkpoint. */
extern void tune_folder_remove_useless(const char *path);
/* Whether a role that trains, or has trained, is still there. */
extern bool tune_role_exists(Oid role);
/* Whether there is an unfinished training's folder, which the caller may remove (else 42501). */
extern bool tune_folder_is_own(const char *path, const char *name);
/* Remove it when the transaction commits; false: there is none. */
extern bool tune_folder_discard(const char *path, const char *name);

typedef struct TuneLeft
{
	char	   *name;
	Oid			role;
} TuneLeft;

/* The trainings of this database that have a folder with a checkpoint: TuneLeft. */
extern List *tune_folders_left(void);

/* --- progress.c --- */

typedef enum TuneState
{
	TUNE_FREE = 0,
	TUNE_READING,
	TUNE_ENCODING,				/* freeze: the texts go through the model, once */
	TUNE_TRAINING,
	TUNE_EVALUATING,
	TUNE_SAVING,
	TUNE_REGISTERING,
	TUNE_FINISHED,
	TUNE_FAILED,
	TUNE_CANCELED,
	TUNE_INTERRUPTED			/* before the server's last start, or so long ago that its slot is another's */
} TuneState;

#define TUNE_MESSAGE_BYTES 256

/* What an evaluation on the held-out rows gives; NaN: not known. */
typedef struct TuneFigures
{
	double		loss;
	double		accuracy;
	double		outside;		/* answers outside the options; prompt models only, so below */
	double		wrong;			/* wrong answers among the options */
} TuneFigures;

#define TUNE_NO_FIGURES ((TuneFigures) {NAN, NAN, NAN, NAN})

/* What others see of a training. */
typedef struct TuneProgress
{
	TuneState	state;
	int			pid;
	Oid			database;
	Oid			role;
	char		name[STORE_NAME_MAX + 1];
	char		base[STORE_NAME_MAX + 1];
	int64		step;
	int64		max_steps;
	double		epoch;
	double		tokens_per_second;
	double		seconds_left;	/* to its last step; while it encodes, to its first; NaN: not known */
	double		loss;			/* NaN: not known yet; so below */
	double		learning_rate;
	TuneFigures eval;			/* of the last evaluation; of the result at the end */
	int64		best_step;		/* -1: no evaluation yet */
	TimestampTz started;
	TimestampTz ended;			/* 0: not yet */
	char		message[TUNE_MESSAGE_BYTES];	/* how it ended */
} TuneProgress;

typedef struct TuneSlot TuneSlot;

/* Nothing is known yet. */
extern void tune_progress_clear(TuneProgress *progress);
/* A slot for this process; NULL: none is free, and nobody sees the training. */
extern TuneSlot *tune_slot_take(const TuneProgress *progress);
extern void tune_slot_show(TuneSlot *slot, const TuneProgress *progress);

/* --- answers.c --- */

typedef struct TuneRates
{
	double		right;
	double		outside;		/* of the options of their prompt */
	double		wrong;			/* among the options, but not the right one */
} TuneRates;

/* Answer the questions freely, by the weights as they are now. */
extern void tune_answer(Train *train, const TuneData *data, TuneRates *rates);

/* --- memory.c --- */

/* 53200 if training would take more memory than it may. */
extern void tune_check_memory(const StoreModel *model, const TuneOptions *options, const TuneData *data);
extern void tune_memory_init(void);

/* --- run.c --- */

typedef struct TuneRun
{
	MemoryContext context;		/* lives as long as the run */
	void		(*commit) (void);	/* end the transaction and begin another */
	void		(*started) (void *arg);	/* told when training begins, or NULL */
	void	   *started_arg;
	char	   *name;
	char	   *source;
	Jsonb	   *options_given;
	/* filled by the run */
	TuneOptions options;
	const StoreModel *model;
	char	   *model_name;
	SessionHold hold;
	FsiHost		host;
	FsiArena	arena;
	TuneRows	rows;
	TuneData	data;
	char	   *folder;
	bool		resumed;
	Train	   *train;
	TrainEvents *events;
	TuneSlot   *slot;
	TuneProgress progress;
	instr_time	begun;			/* to make the trainer */
	double		seconds;		/* spent in steps, by this process */
	int64		tokens;
	int64		steps;
	double		loss_sum;		/* of the steps since the last one that was logged */
	int64		loss_steps;
	int64		saved;			/* step of "last", or -1 */
	TuneFigures first;			/* of the base model on the held-out rows */
	TuneFigures best;			/* of the best evaluation, if this process made it; else NaN */
	int64		result_step;	/* whose weights the result has */
	bool		finished;
} TuneRun;

/* Read, train, register; raises whatever goes wrong.  Its own cleanup is in it. */
extern void tune_run(TuneRun *run);
/* Let others see how far the run is, and that it is in this state. */
extern void tune_show(TuneRun *run, TuneState state);
/* Judge the weights as they are now on the held-out rows: progress.eval. */
extern void tune_evaluate(TuneRun *run);
extern void tune_commit(TuneRun *run);
/* Fewer held-out rows say little: of 20, the 95 % interval of an accuracy is up to 40 points wide. */
#define TUNE_FEW_ROWS 20
extern int	tune_held_out(const TuneRun *run);

/* --- prepare.c --- */

/* Model, options, hold of the name, folder, rows; in a transaction. */
extern void tune_prepare(TuneRun *run);
/* Whose holds they are: of a catalog that stays where it is when the extension is dropped and created anew, as the folders do. */
#define TUNE_HOLDS ExtensionRelationId
/* The number that stands for a model's name in a session's hold; hold it, 55006 if another process does. */
extern Oid	tune_name_id(const char *name);
extern void tune_hold_name(const char *name, SessionHold *hold);

/* --- result.c --- */

/* Give the run's name the best of its weights, and commit that; the trainer is gone then. */
extern void tune_register(TuneRun *run);

/* --- worker.c --- */

/* Run the call in a background worker; come back when training has begun there, or raise its error. */
extern void tune_start_worker(const char *name, const char *source, Jsonb *options, void (*commit) (void));

#endif
