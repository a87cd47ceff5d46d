/*
 * prepare.c
 *	  What a training needs before its first step, in one transaction: model, options, name, folder and rows.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "fsi_sql.h"
#include "tune.h"

Oid
tune_name_id(const char *name)
{
	return (Oid) fsi_hash64(name, strlen(name), 0);
}

void
tune_hold_name(const char *name, SessionHold *hold)
{
	int			pid;

	if (session_hold(TUNE_HOLDS, tune_name_id(name), ExclusiveLock, hold, &pid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("model \"%s\" is being trained by another call", name),
			 session_errdetail_holder(pid),
			 session_errhint_holder(pid, "fsi_training shows how far it is.")));
}

static void
begin_progress(TuneRun *run)
{
	TuneProgress *p = &run->progress;

	tune_progress_clear(p);
	p->state = TUNE_READING;
	p->pid = MyProcPid;
	p->database = MyDatabaseId;
	p->role = GetUserId();
	strlcpy(p->name, run->name, sizeof(p->name));
	strlcpy(p->base, run->model_name, sizeof(p->base));
	run->best = TUNE_NO_FIGURES;
	p->started = GetCurrentTimestamp();
	run->slot = tune_slot_take(p);
}

static void
read_rows(TuneRun *run)
{
	MemoryContext context = AllocSetContextCreate(run->context, "fsi_intent rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	bool		segments = run->model->file.model.cfg.layout == GPT2_SEGMENTS;

	SPI_connect();
	old = MemoryContextSwitchTo(context);
	tune_rows_read(run->source, run->model, &run->options, &run->arena, &run->rows);
	tune_tell_contrary(&run->rows);
	(segments ? tune_segments_data : tune_prompt_data) (&run->rows, run->model, &run->options, &run->arena, &run->data);
	MemoryContextSwitchTo(old);
	SPI_finish();
	MemoryContextDelete(context);
	run->rows.rows = NULL;
}

static void
tell_about_rows(const TuneRun *run)
{
	const TuneRows *rows = &run->rows;

	if (rows->n_shortened > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg_plural("%d text was longer than the model reads", "%d texts were longer than the model reads",
							   rows->n_shortened, rows->n_shortened),
				 errdetail("Head and tail are read, as when they are classified.")));
	if (rows->n_skipped > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg_plural("%d row was longer than the model reads and is left out",
							   "%d rows were longer than the model reads and are left out", rows->n_skipped,
							   rows->n_skipped)));
	if (run->data.eval.n_text + run->data.eval.n_row == 0)
		ereport(NOTICE,
				(errmsg("no rows are held out: the training is not evaluated")));
}

/* What must be the same to go on with a training, a line each. */
static char *
make_plan(const TuneRun *run)
{
	StringInfoData plan;
	char		hex[STORE_HEX_LEN + 1];

	fsi_hex(run->rows.hash, FSI_SHA256_BYTES, hex);
	initStringInfo(&plan);
	appendStringInfo(&plan, "version 1\nrole %u\nname %s\nmodel %s\nrows %s\n", GetUserId(), run->name,
					 run->model->sha256, hex);
	tune_options_plan(&run->options, &plan);
	return plan.data;
}

/* Also whether files can be made there: before an older training's checkpoints may be thrown away for this one. */
static void
check_logging_dir(const TuneRun *run)
{
	struct stat st;

	if (run->options.logging_dir == NULL)
		return;
	args_check_role(ROLE_PG_WRITE_SERVER_FILES, "give the option \"logging_dir\"");
	canonicalize_path(run->options.logging_dir);
	if (!is_absolute_path(run->options.logging_dir))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("relative path not allowed for the option \"logging_dir\"")));
	if (stat(run->options.logging_dir, &st) == 0 && !S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	else if (access(run->options.logging_dir, W_OK | X_OK) == 0)
		return;
	ereport(ERROR,
			(host_errcode_for_file_access(),
			 errmsg("could not create an event file in \"%s\": %m", run->options.logging_dir)));
}

void
tune_prepare(TuneRun *run)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	store_check_name(run->name);
	run->model_name = tune_options_model(run->options_given);
	run->model = store_model(run->model_name);
	store_hold(run->model);
	if (run->model_name == NULL)
		run->model_name = pstrdup(STORE_DEFAULT_NAME);
	tune_options_read(run->options_given, run->model->file.model.cfg.layout, &run->options);
	check_logging_dir(run);
	tune_hold_name(run->name, &run->hold);
	run->folder = tune_folder_path(run->name);
	if (tune_folder_has_result(run->folder, run->name))
		tune_folder_remove(run->folder);
	store_check_register(run->name, tune_replace(&run->options));
	begin_progress(run);
	read_rows(run);
	tune_check_memory(run->model, &run->options, &run->data);
	run->resumed = tune_folder_open(run->folder, run->name, make_plan(run), run->options.restart);
	PopActiveSnapshot();
	tell_about_rows(run);
}
