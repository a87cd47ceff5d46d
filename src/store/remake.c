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
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

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

/* What it is computed by; NULL: it has gone since it was listed. */
static Node *
expression_of(const StoreDependent *d, Relation rel)
{
	if (d->address.objectSubId != 0)
		return store_column_expression(d->relid, d->address.objectSubId);
	return (Node *) RelationGetPartitionKey(rel)->partexprs;
}

/* The column to set; NULL: there is nothing any more to set it for. */
static char *
base_column(const StoreDependent *d)
{
	Relation	rel = try_table_open(d->relid, AccessShareLock);
	Node	   *expression;
	char	   *name;

	if (rel == NULL)
		return NULL;
	expression = expression_of(d, rel);
	name = expression ? column_read(expression, rel) : NULL;
	table_close(rel, AccessShareLock);
	if (expression != NULL && name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s %s reads no column that can be set, and cannot be computed again", d->kind, d->object),
				 errhint("Drop it, and make it again afterwards.")));
	return name;
}

/* What is gone by now is in nobody's way. */
static void
check_reachable(const StoreDependent *d)
{
	if (!OidIsValid(d->relid))
	{
		if (OidIsValid(d->domain))
			store_check_domain_owner(d->domain);
		return;
	}
	if (!store_is_still_there(d))
		return;
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

/* Whoever waits for older snapshots while he holds it is not to wait for one that has only served to look it up. */
static void
lock_relation(Oid relid, LOCKMODE mode)
{
	InvalidateCatalogSnapshot();
	LockRelationOid(relid, mode);
}

/* The table and those below it, to which none can be added once it is locked. */
static void
lock_tree(Oid relid)
{
	ListCell   *lc;

	check_stack_depth();
	lock_relation(relid, ShareRowExclusiveLock);
	/* It may have been dropped while it was waited for. */
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		foreach(lc, find_inheritance_children(relid, NoLock))
			lock_tree(lfirst_oid(lc));
}

/*
 * In the order in which others lock them: a materialized view before what it reads, and relations before their indexes,
 * which the planner opens.  Who reads tables does not mind them to be locked before.
 */
typedef enum LockStage { LOCK_TABLES, LOCK_VIEWS, LOCK_INDEXES, LOCK_STAGES } LockStage;

static List *
lock_once(Oid relid, LOCKMODE mode, List *locked)
{
	if (list_member_oid(locked, relid))
		return locked;
	if (mode == ShareRowExclusiveLock)
		lock_tree(relid);
	else
		lock_relation(relid, mode);
	return lappend_oid(locked, relid);
}

/*
 * Lock those of a dependent that are not locked yet; at last an index that REINDEX will lock against readers: one of
 * these, who keeps his lock to the end of his transaction, may wait for the name then.
 */
static List *
lock_dependent(const StoreDependent *d, LockStage stage, List *locked)
{
	Oid			object = d->address.objectId;
	ListCell   *lc;

	check_reachable(d);
	if (stage == LOCK_INDEXES)
	{
		if (d->address.classId == RelationRelationId && d->valid && get_rel_relkind(object) == RELKIND_INDEX)
			locked = lock_once(object, AccessExclusiveLock, locked);
		return locked;
	}
	foreach(lc, tables_of(d))
	{
		bool		is_view = get_rel_relkind(lfirst_oid(lc)) == RELKIND_MATVIEW;

		if (is_view == (stage == LOCK_VIEWS))
			locked = lock_once(lfirst_oid(lc), is_view ? AccessExclusiveLock : ShareRowExclusiveLock, locked);
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
		List	   *all = store_dependents(name);
		int			n = list_length(all);

		before = list_length(locked);
		for (LockStage stage = 0; stage < LOCK_STAGES; stage++)
			/* A view stands behind those that it reads. */
			for (int i = 0; i < n; i++)
				locked = lock_dependent(list_nth(all, stage == LOCK_VIEWS ? n - 1 - i : i), stage, locked);
	}
	while (list_length(locked) > before);
	SPI_finish();
}

void
store_lock_views(const List *dependents)
{
	List	   *locked = NIL;

	for (int i = list_length(dependents) - 1; i >= 0; i--)
	{
		const StoreDependent *d = list_nth(dependents, i);

		if (strcmp(d->kind, "materialized view") == 0)
			locked = lock_dependent(d, LOCK_VIEWS, locked);
	}
}

/*
 * Sessions keep the expressions of indexes and partition keys, and the bounds of partitions, as the planner simplifies
 * them: with what calls of constants have answered.
 */
static void
forget_expressions(const char *name)
{
	ListCell   *lc;

	SPI_connect();
	foreach(lc, store_dependents(name))
	{
		const StoreDependent *d = lfirst(lc);
		ListCell   *member;

		if (d->again || d->address.classId != RelationRelationId || !store_is_still_there(d))
			continue;
		foreach(member, find_all_inheritors(d->address.objectId, NoLock, NULL))
			if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(member))))
				CacheInvalidateRelcacheByRelid(lfirst_oid(member));
	}
	SPI_finish();
	CommandCounterIncrement();
}

static void
pin(const StoreRow *row, const StoreModel *installed)
{
	store_lock_dependents(row->name);
	store_wait_replace(row->name);
	store_lock_catalog();
	store_lock_replace(row->name);
	store_lock_dependents(row->name);
	store_replace_row(row->name, &installed->file, installed->size, row->source);
	forget_expressions(row->name);
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

/*
 * Of all rows that the active snapshot sees, not of those alone that a transaction's own, older one does.  The path is
 * for what runs then, functions and triggers.
 */
static int64
remake_column(const StoreDependent *d, const char *base, const char *path)
{
	Node	   *expression = store_column_expression(d->relid, d->address.objectSubId);
	const char *name = quote_identifier(get_attname(d->relid, d->address.objectSubId, false));

	if (expression == NULL)
		return 0;
	return store_query_update(psprintf("UPDATE ONLY %s SET %s = %s WHERE ROW(%s)::record *<> ROW($1)::record",
									   store_relation_name(d->relid), base, base, name), d->relid, expression, path);
}

/* Rows whose partition is not the one that their answer belongs to now leave it. */
static int64
remake_partitions(const StoreDependent *d, const char *base, const char *path)
{
	int64		changed = 0;
	ListCell   *lc;

	foreach(lc, store_leaves(d->relid))
	{
		Node	   *expression = store_bounds_expression(lfirst_oid(lc), d->relid);

		if (expression != NULL)
			changed += store_query_update(psprintf("UPDATE %s SET %s = %s WHERE tableoid = %u AND NOT $1",
												   store_relation_name(d->relid), base, base, lfirst_oid(lc)),
										  d->relid, expression, path);
	}
	return changed;
}

static void
run(const char *command)
{
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute failed: %s", command);
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
	char	   *path = store_path_of_functions();
	StoreSelf	self;

	/* One at a time: core itself locks nothing, and the second one's change of its catalog is an internal error. */
	LockDatabaseObject(TypeRelationId, d->domain, 0, ShareUpdateExclusiveLock);
	store_statements("SELECT format('ALTER DOMAIN %s VALIDATE CONSTRAINT %I', contypid::regtype, conname) FROM pg_constraint"
					 " WHERE oid = $1 AND $2 = 0", &d->address, &statements);
	/* No lock keeps it. */
	if (statements == NIL)
		return;
	store_check_domain_owner(d->domain);
	store_become_domain_owner(d->domain, &self);
	store_set_for_now("search_path", path);
	run(linitial(statements));
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

static int64
remake_rows(const StoreDependent *d)
{
	StoreSelf	self;
	int64		changed;
	char	   *path = store_path_of_functions();
	const char *base;

	/* The partition key is kept with the answers that this one sees. */
	PushActiveSnapshot(GetLatestSnapshot());
	base = base_column(d);
	PopActiveSnapshot();
	if (base == NULL)
		return 0;
	base = quote_identifier(base);
	store_check_owner(d->relid);
	/* What is deferred would be done by whoever calls this, not by the owner: core refuses it. */
	run("SET CONSTRAINTS ALL IMMEDIATE");
	PushActiveSnapshot(GetLatestSnapshot());
	store_become_owner(d->relid, &self);
	changed = d->address.objectSubId != 0 ? remake_column(d, base, path) : remake_partitions(d, base, path);
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
	/* REINDEX CONCURRENTLY puts another index in its place and drops it, though its table is held. */
	if (get_rel_relkind(object) == RELKIND_INDEX)
	{
		store_check_owner(d->relid);
		lock_relation(d->relid, ShareLock);
	}
	if (!store_is_still_there(d))
		return 0;
	/* Else another object of that name might be made anew in its place. */
	store_keep_schema_name(object);
	if (get_rel_relkind(object) == RELKIND_INDEX)
		run(psprintf("REINDEX INDEX %s", store_relation_name(object)));
	else
		run(psprintf("REFRESH MATERIALIZED VIEW %s", store_relation_name(object)));
	return STORE_UNKNOWN;
}

void
store_remake_all(const char *name)
{
	ListCell   *lc;

	forget_expressions(name);
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
