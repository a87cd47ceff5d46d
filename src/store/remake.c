/*
 * remake.c
 *	  Make anew what rests on a model when its name gets other weights: those of the installed file, or of a training.
 *
 * The tables come first, then the name, as with everybody else: who writes a table has locked it before it commits its
 * use of the name (uses.c).  So nobody can add an answer of the former weights, and nothing waits in a circle.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store.h"

/* ---- What can be made anew. ---- */

/* A column that an expression reads: an UPDATE that sets it computes the expression again.  NULL: none can be set. */
static char *
column_read(Node *expression, Relation rel)
{
	Bitmapset  *read = NULL;
	int			column = -FirstLowInvalidHeapAttributeNumber;	/* not tableoid */

	pull_varattnos(expression, 1, &read);
	while ((column = bms_next_member(read, column)) >= 0)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel), column + FirstLowInvalidHeapAttributeNumber - 1);

		if (attribute->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
			return pstrdup(NameStr(attribute->attname));
	}
	return NULL;
}

/* Whether rows must be written for it. */
static bool
has_base_column(const StoreDependent *d)
{
	return strcmp(d->kind, "generated column") == 0 || strcmp(d->kind, "partition key") == 0;
}

static char *
base_column(const StoreDependent *d)
{
	Relation	rel = table_open(d->relid, AccessShareLock);
	char	   *name;

	if (d->address.objectSubId != 0)
		name = column_read(build_column_default(rel, d->address.objectSubId), rel);
	else
		name = column_read((Node *) RelationGetPartitionKey(rel)->partexprs, rel);
	table_close(rel, AccessShareLock);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s %s reads no column that can be set, and cannot be computed again", d->kind, d->object),
				 errhint("Drop it, and make it again afterwards.")));
	return name;
}

static void
check_reachable(const StoreDependent *d)
{
	if (!OidIsValid(d->relid))
	{
		if (OidIsValid(d->domain))
			store_check_domain_owner(d->domain);
		return;
	}
	store_check_owner(d->relid);
	if (isOtherTempNamespace(get_rel_namespace(d->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("%s %s rests on the model and is of another session's temporary table", d->kind, d->object),
				 errhint("End that session, or drop the table there.")));
}

/* 42501, 55006, 0A000: for what could not be made anew. */
void
store_check_remake(const char *name)
{
	ListCell   *lc;

	SPI_connect();
	foreach(lc, store_dependents(name))
	{
		const StoreDependent *d = lfirst(lc);

		check_reachable(d);
		if (has_base_column(d))
			(void) base_column(d);
	}
	SPI_finish();
}

/* ---- The change of weights. ---- */

/* Those with a column of the domain, or of a domain over it. */
static const char *const domain_tables_sql =
	"WITH RECURSIVE held(type) AS (SELECT $1 UNION"
	" SELECT t.oid FROM pg_type t, held WHERE t.typtype = 'd' AND t.typbasetype = held.type)"
	" SELECT DISTINCT attrelid FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
	" WHERE atttypid IN (SELECT type FROM held) AND NOT attisdropped AND relkind IN ('r', 'm') AND $2 = 0 ORDER BY 1";

/* Whose writers must wait. */
static List *
tables_of(const StoreDependent *d)
{
	ObjectAddress domain;
	List	   *rows = NIL;
	List	   *tables = NIL;
	ListCell   *lc;

	if (OidIsValid(d->relid))
		return list_make1_oid(d->relid);
	if (!OidIsValid(d->domain))
		return NIL;
	ObjectAddressSet(domain, TypeRelationId, d->domain);
	store_statements(domain_tables_sql, &domain, &rows);
	foreach(lc, rows)
		tables = lappend_oid(tables, atooid(lfirst(lc)));
	return tables;
}

static void
lock_table(Oid relid)
{
	if (get_rel_relkind(relid) == RELKIND_MATVIEW)
		LockRelationOid(relid, AccessExclusiveLock);
	else
	{
		LockRelationOid(relid, ShareRowExclusiveLock);
		(void) find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
	}
}

/* Lock those of a dependent that are not locked yet. */
static List *
lock_tables(const StoreDependent *d, List *locked)
{
	ListCell   *lc;

	check_reachable(d);
	foreach(lc, tables_of(d))
		if (!list_member_oid(locked, lfirst_oid(lc)))
		{
			lock_table(lfirst_oid(lc));
			locked = lappend_oid(locked, lfirst_oid(lc));
		}
	return locked;
}

void
store_lock_dependents(const char *name)
{
	List	   *locked = NIL;
	int			before;

	SPI_connect();
	do
	{
		ListCell   *lc;

		before = list_length(locked);
		foreach(lc, store_dependents(name))
			locked = lock_tables(lfirst(lc), locked);
	}
	while (list_length(locked) > before);
	SPI_finish();
}

static void
pin(const StoreRow *row, const StoreModel *installed)
{
	store_lock_dependents(row->name);
	store_wait_replace(row->name);
	LockRelationOid(store_catalog_relid(), ShareRowExclusiveLock);
	store_lock_replace(row->name);
	store_lock_dependents(row->name);
	store_replace_row(row->name, &installed->file, installed->size, row->source);
}

bool
store_repin(void)
{
	FsiError	err = {0};
	StoreModel	model = {0};
	char	   *path = store_shipped_path();
	StoreRow	row;
	bool		differs;

	if (!store_find(STORE_DEFAULT_NAME, &row))
		elog(ERROR, "there is no default model");
	if (store_open_checked(path, row.sha256, CurrentMemoryContext, &model, &err) != FSI_OK)
		store_report_open_failure(true, path, &err);
	PG_TRY();
	{
		differs = strcmp(model.sha256, row.sha256) != 0;
		if (differs)
			pin(&row, &model);
	}
	PG_FINALLY();
	{
		store_close(&model);
	}
	PG_END_TRY();
	return differs;
}

/* ---- What is made anew. ---- */

/* One statement that the rewriter has made; how many rows of an UPDATE's own it has changed. */
static int64
execute(PlannedStmt *planned, const char *statement)
{
	QueryDesc  *query;
	int64		changed = 0;

	if (planned->commandType == CMD_UTILITY)
	{
		ProcessUtility(planned, statement, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
		return 0;
	}
	query = CreateQueryDesc(planned, statement, GetActiveSnapshot(), InvalidSnapshot, None_Receiver, NULL, NULL, 0);
	ExecutorStart(query, 0);
	compat_executor_run(query);
	ExecutorFinish(query);
	if (planned->canSetTag && planned->commandType == CMD_UPDATE)
		changed = (int64) query->estate->es_processed;
	ExecutorEnd(query);
	FreeQueryDesc(query);
	return changed;
}

/* As SPI says where an error is. */
static void
update_error(void *statement)
{
	errcontext("SQL statement \"%s\"", (const char *) statement);
}

/*
 * Of all rows that the active snapshot sees, not of those alone that a transaction's own, older one does.  A rule may
 * have put anything in its place.  The path is for what runs then, triggers: what the names and operators in the
 * statement mean is told by core's path, by which it was written.
 */
static int64
update(const char *statement, const char *path)
{
	ErrorContextCallback callback = {error_context_stack, update_error, unconstify(char *, statement)};
	int			level = NewGUCNestLevel();
	int64		changed = 0;
	List	   *queries;
	ListCell   *lc;

	error_context_stack = &callback;
	queries = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, pg_parse_query(statement)), statement, NULL, 0, NULL);
	queries = pg_plan_queries(queries, statement, 0, NULL);
	store_set_for_now("search_path", path);
	foreach(lc, queries)
	{
		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
		changed += execute(lfirst(lc), statement);
	}
	AtEOXact_GUC(true, level);
	error_context_stack = callback.previous;
	return changed;
}

/* Run the statements that a query makes, given the column that they set, by update().  The rows that they changed. */
static int64
run_by(const char *sql, const StoreDependent *d, const char *path)
{
	const char *base = quote_identifier(base_column(d));
	List	   *statements = NIL;
	ListCell   *lc;
	int64		changed = 0;

	store_statements(psprintf(sql, quote_literal_cstr(base)), &d->address, &statements);
	foreach(lc, statements)
		changed += update(lfirst(lc), path);
	return changed;
}

/* The column that is set comes as a literal of a quoted name. */
static const char *const column_sql =
	"SELECT format('UPDATE ONLY %%1$s SET %%2$s = %%2$s WHERE ROW(%%3$I)::record *<> ROW((%%4$s)::%%5$s)::record', adrelid::regclass, %s::text, attname,"
	" pg_get_expr(adbin, adrelid), format_type(atttypid, atttypmod))"
	" FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = $1 AND adnum = $2";

static const char *const partitions_sql =
	"SELECT format('UPDATE %%1$s SET %%2$s = %%2$s WHERE tableoid = %%3$s AND NOT (%%4$s)', $1::regclass, %s::text, relid::oid,"
	" pg_get_partition_constraintdef(relid)) FROM pg_partition_tree($1)"
	" WHERE isleaf AND relid <> $1 AND $2 = 0 AND pg_get_partition_constraintdef(relid) IS NOT NULL";

/* A command on an object, whose name stands for %s. */
static void
run(const char *command, const char *object)
{
	if (SPI_execute(psprintf(command, object), false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute failed: %s", command);
}

static char *
relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

static void
check_constraint(const StoreDependent *d)
{
	int64		rows;
	int64		stale;

	store_count_stale(d, &rows, &stale);
	if (stale > 0)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("constraint %s does not hold with the model's answers", d->object),
				 errdetail("It is violated by %lld of %lld rows.", (long long) stale, (long long) rows),
				 errhint("Drop the constraint, or change the rows.")));
}

/*
 * Of a domain, wherever its values lie: core looks for them all.  Its checks may call functions of its owner's, who is
 * not to have them run by whoever calls this.
 */
static void
validate_domain(const StoreDependent *d)
{
	List	   *statements = NIL;
	StoreSelf	self;

	store_statements("SELECT format('ALTER DOMAIN %s VALIDATE CONSTRAINT %I', contypid::regtype, conname) FROM pg_constraint"
					 " WHERE oid = $1 AND $2 = 0", &d->address, &statements);
	/* No lock keeps it. */
	if (statements == NIL)
		return;
	store_check_domain_owner(d->domain);
	store_become_domain_owner(d->domain, &self);
	run("%s", linitial(statements));
	store_be_self(&self);
}

/* Whether what stands in the way of an UPDATE may leave rows as they are, here or below. */
static bool
may_skip_rows(Oid relid)
{
	bool		may = false;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);

		may |= rel->rd_rules != NULL || (rel->trigdesc != NULL && rel->trigdesc->trig_update_before_row);
		table_close(rel, NoLock);
	}
	return may;
}

static void
check_not_skipped(const StoreDependent *d)
{
	int64		rows;
	int64		stale;

	CommandCounterIncrement();
	store_count_stale(d, &rows, &stale);
	if (stale > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not make %s %s anew", d->kind, d->object),
				 errdetail("A trigger or a rule has kept %lld of %lld rows as they were.", (long long) stale, (long long) rows),
				 errhint("Disable it meanwhile, with ALTER TABLE ... DISABLE TRIGGER or DISABLE RULE.")));
}

/* What triggers name without its schema is the caller's, where it is not core's. */
static char *
path_of_triggers(void)
{
	return *namespace_search_path ? psprintf("pg_catalog, %s, pg_temp", namespace_search_path) : "pg_catalog, pg_temp";
}

static int64
remake_rows(const StoreDependent *d)
{
	StoreSelf	self;
	int64		changed;
	char	   *path = path_of_triggers();

	store_check_owner(d->relid);
	/* What is deferred would be done by whoever calls this, not by the owner: core refuses it. */
	run("SET CONSTRAINTS ALL IMMEDIATE", NULL);
	PushActiveSnapshot(GetLatestSnapshot());
	store_become_owner(d->relid, &self);
	changed = run_by(d->address.objectSubId != 0 ? column_sql : partitions_sql, d, path);
	store_be_self(&self);
	PopActiveSnapshot();
	if (may_skip_rows(d->relid))
		check_not_skipped(d);
	return changed;
}

int64
store_remake(const StoreDependent *d)
{
	Oid			object = d->address.objectId;

	if (!d->valid)
		return 0;
	if (has_base_column(d))
		return remake_rows(d);
	if (strcmp(d->kind, "constraint") == 0)
	{
		if (OidIsValid(d->relid))
			check_constraint(d);
		else
			validate_domain(d);
		return 0;
	}
	if (get_rel_relkind(object) == RELKIND_PARTITIONED_INDEX)
		return 0;
	if (get_rel_relkind(object) == RELKIND_INDEX)
		run("REINDEX INDEX %s", relation_name(object));
	else
		run("REFRESH MATERIALIZED VIEW %s", relation_name(object));
	return STORE_UNKNOWN;
}

void
store_remake_all(const char *name)
{
	ListCell   *lc;

	SPI_connect();
	foreach(lc, store_dependents(name))
	{
		const StoreDependent *d = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (!d->again)
			(void) store_remake(d);
	}
	SPI_finish();
}
