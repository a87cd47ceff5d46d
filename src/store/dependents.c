/*
 * dependents.c
 *	  What keeps answers under a model's name: indexes, partitioned tables, generated columns, constraints.
 *
 * Found by what their expressions say: a call of one of the extension's functions, and the
 * name as a member of the options or as an argument.  A call hidden in a function of the
 * user's own is not found, nor a name out of a column, nor an answer that was stored as plain text.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store.h"

/*
 * $1: the name.  An intent of that spelling beside fsi_embed and its like is taken for it: better refused than wrong.
 * With standard_conforming_strings a definition has the backslashes of a name in JSON, before its double quotes, once.
 */
static const char *const find_sql =
	"WITH calls AS ("
	" SELECT d.classid, d.objid FROM pg_depend d JOIN pg_depend e ON e.classid = 'pg_proc'::regclass"
	" AND e.objid = d.refobjid AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e'"
	" JOIN pg_extension x ON x.oid = e.refobjid AND x.extname = 'fsi_intent'"
	" WHERE d.refclassid = 'pg_proc'::regclass AND d.deptype IN ('n', 'a')),"
	" kept AS ("
	" SELECT c.classid, c.objid, pg_get_indexdef(i.indexrelid) AS definition FROM calls c"
	" JOIN pg_index i ON c.classid = 'pg_class'::regclass AND i.indexrelid = c.objid"
	" UNION ALL SELECT c.classid, c.objid, pg_get_partkeydef(p.partrelid) FROM calls c"
	" JOIN pg_partitioned_table p ON c.classid = 'pg_class'::regclass AND p.partrelid = c.objid"
	" UNION ALL SELECT c.classid, c.objid, pg_get_expr(a.adbin, a.adrelid) FROM calls c"
	" JOIN pg_attrdef a ON c.classid = 'pg_attrdef'::regclass AND a.oid = c.objid"
	" JOIN pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum AND t.attgenerated <> ''"
	" UNION ALL SELECT c.classid, c.objid, pg_get_constraintdef(k.oid) FROM calls c"
	" JOIN pg_constraint k ON c.classid = 'pg_constraint'::regclass AND k.oid = c.objid)"
	" SELECT min(pg_describe_object(classid, objid, 0) COLLATE \"C\") FROM kept"
	" WHERE position(replace(to_jsonb($1)::text, '''', '''''') IN definition) > 0"
	" OR (definition ~ '\\mfsi_(embed|tokens|generate)\\M' AND position(quote_literal($1) IN definition) > 0)";

/* Until the caller's AtEOXact_GUC(). */
static void
set_for_now(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

char *
store_find_dependent(const char *name)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	MemoryContext caller = CurrentMemoryContext;
	int			level = NewGUCNestLevel();
	char	   *object = NULL;

	/* No operator of the caller's may come before core's, nor a temporary table before a catalog. */
	set_for_now("search_path", "pg_catalog, pg_temp");
	set_for_now("standard_conforming_strings", "on");
	/* What has been committed since the statement began counts, and so does what this transaction has made. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	if (SPI_execute_with_args(find_sql, lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "the search for what rests on a model failed");
	if (SPI_processed > 0)
		object = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (object != NULL)
		object = MemoryContextStrdup(caller, object);
	SPI_finish();
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	return object;
}
