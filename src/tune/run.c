/*
 * run.c
 *	  A training from its rows (prepare.c) to its model: train, evaluate, save, register.
 */
#include "postgres.h"

#include <math.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include "common/file_perm.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "utils/memutils.h"

#include "tune.h"

/* Evaluations and checkpoints that a training has unless it is told otherwise. */
#define EVALUATIONS 10

/* ---- What others see. ---- */

void
tune_show(TuneRun *run, TuneState state)
{
	run->progress.state = state;
	tune_slot_show(run->slot, &run->progress);
}

static void
note_message(TuneRun *run, const char *message)
{
	int			len = pg_mbcliplen(message, (int) strlen(message), sizeof(run->progress.message) - 1);

	memcpy(run->progress.message, message, len);
	run->progress.message[len] = '\0';
}

/* The error that is on its way, for the view. */
static TuneState
note_error(TuneRun *run)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	ErrorData  *error = CopyErrorData();
	bool		canceled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;

	note_message(run, error->message ? error->message : "");
	FreeErrorData(error);
	MemoryContextSwitchTo(old);
	return canceled ? TUNE_CANCELED : TUNE_FAILED;
}

void
tune_commit(TuneRun *run)
{
	run->commit();
	MemoryContextSwitchTo(run->context);
}

/* ---- The trainer: outside of any snapshot. ---- */

/* As host_init()'s, and answering those who wait for every backend: a step may take its time. */
static bool
should_stop(void *ctx)
{
	FsiHost		plain;

	if (ProcSignalBarrierPending && InterruptHoldoffCount == 0 && CritSectionCount == 0)
		ProcessProcSignalBarrier();
	host_init(&plain, ctx);
	return plain.should_stop(ctx);
}

static double
seconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

/* Some of the texts have gone through the model: no step yet, but of a large table most of the time. */
static void
note_encoded(void *arg, uint64_t tokens, uint64_t all)
{
	TuneRun    *run = arg;
	double		seconds = seconds_since(run->begun);

	run->progress.tokens_per_second = seconds > 0 ? (double) tokens / seconds : 0;
	run->progress.seconds_left = seconds / (double) tokens * (double) (all - tokens);
	tune_show(run, TUNE_ENCODING);
}

static void
create_trainer(TuneRun *run)
{
	FsiError	err = {0};
	MemoryContext context = AllocSetContextCreate(run->context, "fsi_intent base model", ALLOCSET_DEFAULT_SIZES);
	FsiHost		host;
	FsiArena	arena;
	Gpt2Model	model;

	host_init(&host, context);
	fsi_arena_init(&arena, &host);
	/* Held-out rows go through a pass, too, and one of them may be the longest. */
	run->options.train.pass_tokens = Max(run->options.train.pass_tokens, run->data.longest);
	store_check_unchanged(run->model);
	HOST_TRY(fsifile_dequantize(&run->model->file, &arena, &model, &err));
	run->options.train.encoded = note_encoded;
	run->options.train.encoded_arg = run;
	INSTR_TIME_SET_CURRENT(run->begun);
	HOST_TRY(train_create(&run->host, gpt2_work_ops(exec_work()), &model, &run->options.train, &run->data.train,
						  &run->train, &err));
	run->progress.seconds_left = NAN;
	MemoryContextDelete(context);
}

/* Steps between evaluations and checkpoints, now that their number is known. */
static void
settle_steps(TuneRun *run)
{
	TuneOptions *o = &run->options;
	int64		each = Max(train_max_steps(run->train) / EVALUATIONS, 1);

	if (o->eval_steps == TUNE_AUTO)
		o->eval_steps = each;
	if (o->save_steps == TUNE_AUTO)
		o->save_steps = o->eval_steps > 0 ? o->eval_steps : each;
	if (tune_held_out(run) == 0)
		o->eval_steps = 0;
}

static void
open_events(TuneRun *run)
{
	FsiError	err = {0};
	const char *directory = run->options.logging_dir ? run->options.logging_dir : run->folder;
	/* Others are to read what lies outside, as what COPY writes: the server's own umask keeps files to itself. */
	mode_t		mask = umask(run->options.logging_dir ? S_IWGRP | S_IWOTH : pg_mode_mask);
	FsiStatus	status = train_events_open(&run->host, directory, (double) time(NULL), &run->events, &err);

	umask(mask);
	if (status != FSI_OK)
		host_report(&err);
}

static void
log_scalar(TuneRun *run, const char *tag, double value)
{
	FsiError	err = {0};
	struct timeval now;

	gettimeofday(&now, NULL);
	HOST_TRY(train_events_scalar(run->events, tag, train_steps_done(run->train),
								 (double) now.tv_sec + 1e-6 * (double) now.tv_usec, (float) value, &err));
}

/* ---- Evaluation and checkpoints. ---- */

int
tune_held_out(const TuneRun *run)
{
	return run->data.eval.n_text + run->data.eval.n_row;
}

static void
log_evaluation(TuneRun *run)
{
	const TuneFigures *eval = &run->progress.eval;

	log_scalar(run, "eval/loss", eval->loss);
	log_scalar(run, "eval/accuracy", eval->accuracy);
	if (!isnan(eval->outside))
	{
		log_scalar(run, "eval/outside_options", eval->outside);
		log_scalar(run, "eval/wrong_option", eval->wrong);
	}
}

void
tune_evaluate(TuneRun *run)
{
	FsiError	err = {0};
	TrainScores scores;
	TuneRates	rates;
	TuneProgress *p = &run->progress;

	tune_show(run, TUNE_EVALUATING);
	HOST_TRY(train_evaluate(run->train, &run->data.eval, &scores, &err));
	p->eval.loss = scores.loss;
	p->eval.accuracy = scores.exact;
	if (run->data.n_question > 0)
	{
		tune_answer(run->train, &run->data, &rates);
		p->eval.accuracy = rates.right;
		p->eval.outside = rates.outside;
		p->eval.wrong = rates.wrong;
	}
}

static void
save(TuneRun *run, bool best)
{
	tune_show(run, TUNE_SAVING);
	tune_folder_save(run->folder, run->train, best);
	run->saved = train_steps_done(run->train);
}

/* Evaluate, and keep the state if it is the best so far: the base model's own needs no file. */
static void
judge(TuneRun *run)
{
	TrainBest	best;
	bool		better;

	tune_evaluate(run);
	log_evaluation(run);
	better = train_note_evaluation(run->train, run->options.metric == TUNE_METRIC_LOSS ? run->progress.eval.loss :
								   -run->progress.eval.accuracy, &best);
	if (better)
		run->best = run->progress.eval;
	run->progress.best_step = best.step;
	if (train_steps_done(run->train) == 0)
		run->first = run->progress.eval;
	else if (better && run->options.load_best_model_at_end)
		save(run, true);
}

static bool
has_lost_patience(const TuneRun *run)
{
	return run->options.eval_steps > 0 && run->options.early_stopping_patience > 0 &&
		train_best(run->train).worse >= run->options.early_stopping_patience;
}

/* ---- Steps. ---- */

static void
note_step(TuneRun *run, const TrainReport *report, double seconds)
{
	TuneProgress *p = &run->progress;

	run->seconds += seconds;
	run->steps++;
	run->tokens += report->tokens;
	run->loss_sum += report->loss;
	run->loss_steps++;
	p->step = report->step;
	p->epoch = report->epoch;
	p->loss = report->loss;
	p->learning_rate = report->learning_rate;
	p->tokens_per_second = run->seconds > 0 ? (double) run->tokens / run->seconds : 0;
	p->seconds_left = run->seconds / (double) run->steps * (double) (p->max_steps - p->step);
	tune_show(run, TUNE_TRAINING);
	if (report->step % run->options.logging_steps != 0 && report->step != report->max_steps)
		return;
	log_scalar(run, "train/loss", run->loss_sum / (double) run->loss_steps);
	log_scalar(run, "train/learning_rate", report->learning_rate);
	log_scalar(run, "train/grad_norm", report->grad_norm);
	log_scalar(run, "train/epoch", report->epoch);
	run->loss_sum = 0;
	run->loss_steps = 0;
}

static void
one_step(TuneRun *run)
{
	FsiError	err = {0};
	TrainReport report;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	HOST_TRY(train_step(run->train, &report, &err));
	note_step(run, &report, seconds_since(start));
}

static bool
is_due(int64 step, int64 each, int64 last)
{
	return each > 0 && (step % each == 0 || step == last);
}

static void
train(TuneRun *run)
{
	const TuneOptions *o = &run->options;
	int64		max_steps = train_max_steps(run->train);

	run->progress.max_steps = max_steps;
	run->progress.step = train_steps_done(run->train);
	tune_show(run, TUNE_TRAINING);
	if (o->eval_steps > 0 && run->progress.step == 0)
		judge(run);
	while (train_steps_done(run->train) < max_steps && !has_lost_patience(run))
	{
		int64		step;

		host_check_postmaster();
		CHECK_FOR_INTERRUPTS();
		one_step(run);
		step = run->progress.step;
		if (is_due(step, o->eval_steps, max_steps))
			judge(run);
		if (run->saved != step && is_due(step, o->save_steps, max_steps))
			save(run, false);
	}
	/* What follows may fail, on a full disk for one: the same call then begins there. */
	if (run->saved != train_steps_done(run->train) && o->save_steps > 0)
		save(run, false);
}

/* What the process that began has found of the base model is not in the checkpoint: find it again. */
static void
go_on(TuneRun *run)
{
	TrainBest	best;

	if (run->options.eval_steps > 0)
	{
		tune_evaluate(run);
		run->first = run->progress.eval;
	}
	tune_folder_load_last(run->folder, run->train);
	run->saved = train_steps_done(run->train);
	best = train_best(run->train);
	if (isfinite(best.loss) && best.step == 0)
		run->best = run->progress.eval;
	run->progress.eval = TUNE_NO_FIGURES;
	run->progress.best_step = isfinite(best.loss) ? best.step : -1;
	ereport(NOTICE,
			(errmsg("going on with the training of model \"%s\" at step " INT64_FORMAT " of " INT64_FORMAT, run->name,
					train_steps_done(run->train), train_max_steps(run->train))));
}

static void
begin_training(TuneRun *run)
{
	run->saved = -1;
	run->first = TUNE_NO_FIGURES;
	create_trainer(run);
	settle_steps(run);
	open_events(run);
	if (run->resumed)
		go_on(run);
	if (run->started != NULL)
		run->started(run->started_arg);
}

static void
report_end(TuneRun *run)
{
	const TuneProgress *p = &run->progress;
	int			held_out = tune_held_out(run);
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "trained model \"%s\": " INT64_FORMAT " %s", run->name, p->step,
					 p->step == 1 ? "step" : "steps");
	if (run->steps > 0)
		appendStringInfo(&s, ", %.1f s", run->seconds);
	if (!isnan(p->eval.loss))
	{
		appendStringInfo(&s, ", held-out loss %.4f", p->eval.loss);
		if (!isnan(run->first.loss))
			appendStringInfo(&s, " (at first %.4f)", run->first.loss);
		appendStringInfo(&s, ", accuracy %.3f", p->eval.accuracy);
		if (!isnan(run->first.accuracy))
			appendStringInfo(&s, " (at first %.3f)", run->first.accuracy);
		appendStringInfo(&s, ", best at step " INT64_FORMAT, p->best_step);
	}
	note_message(run, s.data);
	/* A worker has nobody to tell but the server's log. */
	ereport(MyBackendType == B_BG_WORKER ? LOG : NOTICE,
			(errmsg_internal("%s", s.data),
			 !isnan(p->eval.loss) && held_out < TUNE_FEW_ROWS ?
			 errdetail_plural("Only %d row is held out: these figures say little.",
							  "Only %d rows are held out: these figures say little.", held_out, held_out) : 0));
}

/* ---- The whole. ---- */

static void
work(void *arg)
{
	TuneRun    *run = arg;
	MemoryContext old = MemoryContextSwitchTo(run->context);

	tune_prepare(run);
	tune_commit(run);
	begin_training(run);
	train(run);
	tune_register(run);
	/* The model is there: who ends the process or the statement from now on does not undo it. */
	run->finished = true;
	tune_folder_remove(run->folder);
	report_end(run);
	MemoryContextSwitchTo(old);
}

/* Also on the way out of an error, and of the process: first of all its threads. */
static void
end(void *arg)
{
	TuneRun    *run = arg;
	FsiError	err = {0};
	volatile TuneState state = run->finished ? TUNE_FINISHED : TUNE_FAILED;

	if (!run->finished)
		note_message(run, proc_exit_inprogress ? "the process was terminated" : "out of memory");
	train_destroy(run->train);
	run->train = NULL;
	if (run->events != NULL)
		(void) train_events_close(run->events, &err);
	run->events = NULL;
	if (run->model != NULL)
		store_let_go(run->model);
	run->model = NULL;
	LockErrorCleanup();
	/* Whatever fails here, for want of memory say, the name is let go of, and the view tells of an end. */
	PG_TRY();
	{
		if (!run->finished && run->hold.mode != NoLock && run->folder != NULL)
			tune_folder_remove_useless(run->folder);
		session_let_go(&run->hold);
		if (!run->finished && !proc_exit_inprogress)
			state = note_error(run);
	}
	PG_FINALLY();
	{
		session_let_go(&run->hold);
		run->progress.ended = GetCurrentTimestamp();
		tune_show(run, state);
		run->slot = NULL;
	}
	PG_END_TRY();
}

void
tune_run(TuneRun *run)
{
	host_init(&run->host, run->context);
	run->host.should_stop = should_stop;
	fsi_arena_init(&run->arena, &run->host);
	session_guard(work, end, run);
}
