/*
 * call.c
 *	  The procedure fsi_train(): its arguments, here or in a background worker; giving a training up.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "fsi_sql.h"
#include "tune.h"

PG_FUNCTION_INFO_V1(fsi_train);
PG_FUNCTION_INFO_V1(fsi_discard_training);

enum CallArgument { ARG_NAME, ARG_SOURCE, ARG_OPTIONS };

static char *
text_argument(FunctionCallInfo fcinfo, int i, const char *name)
{
	args_check_not_null(fcinfo, i, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static bool
wants_background(Jsonb *options)
{
	JsonbValue	value;

	if (options == NULL || !JB_ROOT_IS_OBJECT(options) ||
		getKeyJsonValueFromContainer(&options->root, "background", strlen("background"), &value) == NULL ||
		value.type == jbvNull)
		return false;
	if (value.type != jbvBool)
		args_wrong_type("background", "a boolean", &value);
	return value.val.boolean;
}

static void
commit(void)
{
	SPI_commit();
}

Datum
fsi_train(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext old;
	TuneRun    *run;

	session_check_not_atomic(fcinfo, "fsi_train", "It commits before and after the training.");
	PreventCommandIfReadOnly("fsi_train()");
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	/* Not the portal's: the end of the process may undo the transaction, and all portals with it, before the training's end. */
	context = AllocSetContextCreate(TopMemoryContext, "fsi_intent training", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run = palloc0(sizeof(TuneRun));
		run->context = context;
		run->commit = commit;
		run->name = text_argument(fcinfo, ARG_NAME, "name");
		run->source = text_argument(fcinfo, ARG_SOURCE, "source");
		run->options_given = PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P_COPY(ARG_OPTIONS);
		if (wants_background(run->options_given))
			tune_start_worker(run->name, run->source, run->options_given, commit);
		else
			tune_run(run);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}

static void
report_none(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no unfinished training of model \"%s\"", host_excerpt(name, strlen(name)))));
}

/*
 * Throw away what an unfinished training could go on from, when the transaction commits.  Whoever may not is told so
 * without a hold on the name: an error is said before locks go, for as long as the caller does not read it.
 */
Datum
fsi_discard_training(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *path = tune_folder_path(name);
	SessionHold hold;

	PreventCommandIfReadOnly("fsi_discard_training()");
	if (!tune_folder_is_own(path, name) && !session_is_held(TUNE_HOLDS, tune_name_id(name)))
		report_none(name);
	tune_hold_name(name, &hold);
	session_keep_until_commit(&hold);
	if (!tune_folder_discard(path, name))
		report_none(name);
	PG_RETURN_VOID();
}
