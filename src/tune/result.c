/*
 * result.c
 *	  A training's result: the best weights, a readout fitted to the held-out rows, a card; a last transaction.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "tune.h"

/* JSON that says where the weights are from; in the form of hf_read_dir()'s card. */
static void
make_card(const TuneRun *run, HfModel *model, FsiArena *arena)
{
	const StoreModel *base = run->model;
	HostText	name = host_utf8(run->name, strlen(run->name));
	HostText	base_name = host_utf8(run->model_name, strlen(run->model_name));
	char		learning_rate[DOUBLE_SHORTEST_DECIMAL_LEN];
	FsiBytes	b;
	bool		ok;

	double_to_shortest_decimal_buf(run->options.train.learning_rate, learning_rate);
	fsi_bytes_init(&b, arena);
	ok = fsi_json_text(&b, "{\"name\": ") && fsi_json_string(&b, name.s, name.len) &&
		fsi_json_printf(&b, ", \"model_type\": \"gpt2\", \"layout\": \"%s\", \"quirks\": [], \"card\": {\"trained_from\": ",
						store_layout_name(base->file.model.cfg.layout)) &&
		fsi_json_string(&b, base_name.s, base_name.len) &&
		fsi_json_printf(&b, ", \"trained_from_sha256\": \"%s\", \"steps\": " INT64_FORMAT ", \"rows\": %d",
						base->sha256, run->result_step, run->rows.n_train) &&
		fsi_json_printf(&b, ", \"learning_rate\": %s, \"seed\": " UINT64_FORMAT ", \"base\": ",
						learning_rate, (uint64) run->options.train.seed) &&
		(base->file.card_len > 0 ? fsi_bytes_append(&b, base->file.card, base->file.card_len) :
		 fsi_json_text(&b, "null")) &&
		fsi_bytes_append(&b, "}}", 3);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	model->card = (char *) b.data;
	model->card_len = b.len - 1;
}

/* What spelling weighs in the result, and how large its scores are: as proves likeliest on the held-out rows. */
static void
fit_readout(TuneRun *run)
{
	FsiError	err = {0};
	TrainScores scores;
	const TrainData *held_out = &run->data.eval;

	if (held_out->n_text == 0 || !(run->options.weigh_spelling || run->options.calibrate))
		return;
	if (run->options.weigh_spelling)
		HOST_TRY(train_weigh_spelling(run->train, held_out, &scores, &err));
	else
		HOST_TRY(train_evaluate(run->train, held_out, &scores, &err));
	if (run->options.calibrate)
		train_calibrate(run->train, &scores);
	if (isnan(run->progress.eval.loss))
		return;
	run->progress.eval.loss = scores.loss;
	run->progress.eval.accuracy = scores.exact;
	tune_show(run, TUNE_REGISTERING);
}

/* Whether any update had a rate. */
static bool
has_learned(const TuneRun *run)
{
	int64		done = train_steps_done(run->train);

	return done > 1 ? run->options.train.learning_rate > 0 :
		done == 1 && train_learning_rate(&run->options.train, 0, train_max_steps(run->train)) > 0;
}

static const char *
better_hint(const TuneRun *run)
{
	if (!has_learned(run))
		return run->options.train.learning_rate > 0 ?
			"Its only step is the first of the warm-up, which has rate 0: let it have more steps, or no warm-up." :
			"Give a learning_rate above 0.";
	if (tune_held_out(run) < TUNE_FEW_ROWS)
		return "More rows help, or another learning_rate. So few held-out rows may be wrong about it: with "
			"{\"eval_split\": 0} rows without a split are all trained on, and none judges.";
	return "More rows help, or another learning_rate.";
}

/* The result is not the base, and on the held-out rows worse, though maybe not by what the best state is chosen by. */
static void
warn_if_worse(const TuneRun *run)
{
	const TuneFigures *now = &run->progress.eval;
	const TuneFigures *first = &run->first;
	bool		by_accuracy = run->options.metric == TUNE_METRIC_ACCURACY;
	bool		fewer = now->accuracy < first->accuracy;

	if (!fewer && (by_accuracy || !(now->loss > first->loss)))
		return;
	ereport(WARNING,
			(fewer ? errmsg("model \"%s\" answers fewer of the held-out rows right than \"%s\"", run->name, run->model_name) :
			 errmsg("model \"%s\" has a greater loss on the held-out rows than \"%s\"", run->name, run->model_name),
			 errdetail("Accuracy %.3f, at first %.3f; loss %.4f, at first %.4f.", now->accuracy, first->accuracy, now->loss,
					   first->loss),
			 !run->options.load_best_model_at_end ?
			 errhint("{\"load_best_model_at_end\": true} takes the best state.") : by_accuracy ? 0 :
			 errhint("{\"metric_for_best_model\": \"accuracy\"} takes the state that answers most of them right.")));
}

/* The best weights, or the last; result_step says which. */
static void
choose_weights(TuneRun *run, HfModel *out, FsiArena *arena)
{
	FsiError	err = {0};
	TrainBest	best = train_best(run->train);
	bool		judged = run->options.eval_steps > 0 && run->options.load_best_model_at_end;

	if (judged && best.step == 0)
	{
		ereport(WARNING,
				(errmsg("training has not made the model better on the held-out rows"),
				 errdetail("Model \"%s\" has the weights of \"%s\".", run->name, run->model_name),
				 errhint("%s", better_hint(run))));
		HOST_TRY(fsifile_dequantize(&run->model->file, arena, &out->model, &err));
		run->progress.eval = run->best;
		run->result_step = 0;
		return;
	}
	if (!judged && !has_learned(run))
		ereport(WARNING,
				(errmsg("training has changed no weights"),
				 errhint("%s", better_hint(run))));
	if (judged && best.step != train_steps_done(run->train))
	{
		tune_folder_load_best(run->folder, run->train);
		run->progress.eval = run->best;
	}
	/* They may have been judged by a process that is no more. */
	if (run->options.eval_steps > 0 && isnan(run->progress.eval.loss))
		tune_evaluate(run);
	fit_readout(run);
	warn_if_worse(run);
	HOST_TRY(train_export(run->train, arena, &out->model, &err));
	run->result_step = train_steps_done(run->train);
}

/* The model would be nobody's. */
static void
check_role(const TuneRun *run)
{
	AcceptInvalidationMessages();
	if (!tune_role_exists(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the role that trains model \"%s\" has been dropped", run->name),
				 run->saved < 0 ? 0 : errhint("The same call by another role goes on where this one ends.")));
}

void
tune_register(TuneRun *run)
{
	MemoryContext context = AllocSetContextCreate(run->context, "fsi_intent trained model", ALLOCSET_DEFAULT_SIZES);
	FsiHost		host;
	FsiArena	arena;
	HfModel		model = {0};

	tune_show(run, TUNE_REGISTERING);
	check_role(run);
	host_init(&host, context);
	fsi_arena_init(&arena, &host);
	choose_weights(run, &model, &arena);
	make_card(run, &model, &arena);
	train_destroy(run->train);
	run->train = NULL;
	model.tokenizer = (uint8_t *) run->model->file.tok.blob;
	model.tokenizer_len = run->model->file.tok.blob_len;
	model.spelling_idf = run->model->file.spelling_idf;
	tune_folder_note_result(run->folder, store_register(run->name, &model, tune_replace(&run->options)));
	/* Its checkpoints go next: by then the model is on disk, whatever synchronous_commit says. */
	ForceSyncCommit();
	tune_commit(run);
	MemoryContextDelete(context);
}
