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
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store.h"

/* ---- What can be made anew. ---- */

/* A column that an expression reads: an UPDATE that sets it computes the expression again. */
static char *
column_read(Node *expression, Oid relid)
{
	Bitmapset  *read = NULL;
	int			column;

	pull_varattnos(expression, 1, &read);
	/* Not tableoid, which cannot be set. */
	column = bms_next_member(read, -FirstLowInvalidHeapAttributeNumber);
	if (column < 0)
		return NULL;
	return get_attname(relid, (AttrNumber) (column + FirstLowInvalidHeapAttributeNumber), false);
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
		name = column_read(build_column_default(rel, d->address.objectSubId), d->relid);
	else
		name = column_read((Node *) RelationGetPartitionKey(rel)->partexprs, d->relid);
	table_close(rel, AccessShareLock);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s %s reads no column and cannot be computed again", d->kind, d->object),
				 errhint("Drop it, and make it again afterwards.")));
	return name;
}

static void
check_reachable(const StoreDependent *d)
{
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

		if (OidIsValid(d->relid))
			check_reachable(d);
		if (has_base_column(d))
			(void) base_column(d);
	}
	SPI_finish();
}

/* ---- The change of weights. ---- */

static void
lock_table(const StoreDependent *d)
{
	check_reachable(d);
	if (get_rel_relkind(d->relid) == RELKIND_MATVIEW)
		LockRelationOid(d->relid, AccessExclusiveLock);
	else
	{
		LockRelationOid(d->relid, ShareRowExclusiveLock);
		(void) find_all_inheritors(d->relid, ShareRowExclusiveLock, NULL);
	}
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
		{
			const StoreDependent *d = lfirst(lc);

			if (!OidIsValid(d->relid) || list_member_oid(locked, d->relid))
				continue;
			lock_table(d);
			locked = lappend_oid(locked, d->relid);
		}
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

/* Run the statements that a query makes, given the column that they set.  The rows that they changed. */
static int64
run_by(const char *sql, const StoreDependent *d)
{
	const char *base = quote_identifier(base_column(d));
	List	   *statements = NIL;
	ListCell   *lc;
	int64		changed = 0;

	store_statements(psprintf(sql, quote_literal_cstr(base)), &d->address, &statements);
	foreach(lc, statements)
	{
		if (SPI_execute(lfirst(lc), false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "SPI_execute failed: %s", (char *) lfirst(lc));
		changed += (int64) SPI_processed;
	}
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

/* Of a domain, wherever its values lie: core looks for them all. */
static void
validate_domain(const StoreDependent *d)
{
	List	   *statements = NIL;

	store_statements("SELECT format('ALTER DOMAIN %s VALIDATE CONSTRAINT %I', contypid::regtype, conname) FROM pg_constraint"
					 " WHERE oid = $1 AND $2 = 0", &d->address, &statements);
	run("%s", linitial(statements));
}

static int64
remake_rows(const StoreDependent *d)
{
	StoreSelf	self;
	int64		changed;

	store_check_owner(d->relid);
	PushActiveSnapshot(GetLatestSnapshot());
	store_become_owner(d->relid, &self);
	changed = run_by(d->address.objectSubId != 0 ? column_sql : partitions_sql, d);
	store_be_self(&self);
	PopActiveSnapshot();
	return changed;
}

int64
store_remake(const StoreDependent *d)
{
	Oid			object = d->address.objectId;

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
