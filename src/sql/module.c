/*
 * module.c
 *	  The library's entry: magic block, settings, version.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_sql.h"
#include "fsi_tune.h"

#define FSI_VERSION "1.0"

COMPAT_MODULE_MAGIC(.name = "fsi_intent", .version = FSI_VERSION);

PGDLLEXPORT void _PG_init(void);
PG_FUNCTION_INFO_V1(fsi_version);
PG_FUNCTION_INFO_V1(fsi_hint_preload);

/* Again where an error has ended it, for want of memory say: what is done already is left as it is. */
void
_PG_init(void)
{
	exec_init();
	plan_init();
	batch_init();
	tune_init();
	MarkGUCPrefixReserved("fsi_intent");
}

Datum
fsi_version(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("fsi_intent %s, %s", FSI_VERSION, exec_simd_name())));
}

static bool
is_preloaded(void)
{
	const char *settings[] = {"shared_preload_libraries", "session_preload_libraries", "local_preload_libraries"};

	for (size_t i = 0; i < lengthof(settings); i++)
	{
		const char *libraries = GetConfigOption(settings[i], true, false);

		if (libraries != NULL && strstr(libraries, "fsi_intent") != NULL)
			return true;
	}
	return false;
}

/* Libraries as the server takes them from its files, maybe unquoted, and ours behind them, as SET takes them. */
static char *
with_ours(const char *libraries)
{
	StringInfoData list;
	List	   *names = NIL;
	ListCell   *cell;

	initStringInfo(&list);
	if (libraries != NULL && SplitDirectoriesString(pstrdup(libraries), ',', &names))
		foreach(cell, names)
			appendStringInfo(&list, "%s, ", quote_identifier(lfirst(cell)));
	appendStringInfoString(&list, "fsi_intent");
	return list.data;
}

static bool hint_due;

/* CREATE EXTENSION itself lets no NOTICE through, so it is said when the transaction commits. */
static void
say_at_commit(XactEvent event, void *arg)
{
	bool		due = hint_due;

	(void) arg;
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_ABORT)
		return;
	hint_due = false;
	if (!due || event == XACT_EVENT_ABORT)
		return;
	ereport(NOTICE,
			(errmsg("the first statement of a session is not batched unless the library is preloaded"),
			 errhint("ALTER DATABASE %s SET session_preload_libraries = %s;",
					 quote_identifier(get_database_name(MyDatabaseId)),
					 with_ours(GetConfigOption("session_preload_libraries", true, false)))));
}

/* For CREATE EXTENSION: the planner hook is there from the second statement of a session on, or preloaded. */
Datum
fsi_hint_preload(PG_FUNCTION_ARGS)
{
	static bool registered;

	(void) fcinfo;
	if (!registered)
		RegisterXactCallback(say_at_commit, NULL);
	registered = true;
	hint_due = !is_preloaded();
	PG_RETURN_VOID();
}
