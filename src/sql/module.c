/*
 * module.c
 *	  The library's entry: magic block, settings, version.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_sql.h"

#define FSI_VERSION "1.0"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
PG_FUNCTION_INFO_V1(fsi_version);
PG_FUNCTION_INFO_V1(fsi_hint_preload);

void
_PG_init(void)
{
	exec_init();
	plan_init();
	batch_init();
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

/* Said once, by CREATE EXTENSION: the planner hook is there from the second statement of a session on. */
Datum
fsi_hint_preload(PG_FUNCTION_ARGS)
{
	const char *others = GetConfigOption("session_preload_libraries", true, false);
	const char *database = quote_identifier(get_database_name(MyDatabaseId));

	(void) fcinfo;
	if (is_preloaded())
		PG_RETURN_VOID();
	ereport(NOTICE,
			(errmsg("the first statement of a session is not batched unless the library is preloaded"),
			 errhint("ALTER DATABASE %s SET session_preload_libraries = %s%sfsi_intent;",
					 database, others ? others : "", others && others[0] ? ", " : "")));
	PG_RETURN_VOID();
}
