/*
 * dependents.c
 *	  What keeps answers under a model's name: indexes, partitioned tables, generated columns, constraints, materialized views.
 *
 * fsi_dependents() (sql/fsi_intent--1.0.sql) finds them by the calls in their expressions (asked.c).  An answer that was
 * stored as plain text is not found.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "store.h"

/* Queries over the rows of fsi_dependents(), under that name; $1 is a model's name. */
static const char *const list_sql =
	"SELECT model, kind, object, relation::oid, classid, objid, objsubid FROM fsi_dependents"
	" WHERE $1 IS NULL OR model = $1 OR model IS NULL";

/*
 * Where only the call can tell, its definition is searched for the name.  With standard_conforming_strings that has the
 * backslashes of a name in JSON, before its double quotes, once.
 */
static const char *const find_sql =
	"WITH kept AS (SELECT d.*, CASE kind WHEN 'index' THEN pg_get_indexdef(objid) WHEN 'partition key' THEN pg_get_partkeydef(objid)"
	" WHEN 'constraint' THEN pg_get_constraintdef(objid) ELSE (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef"
	" WHERE adrelid = objid AND adnum = objsubid) END AS definition FROM fsi_dependents d WHERE kind <> 'materialized view')"
	" SELECT min(pg_describe_object(classid, objid, objsubid) COLLATE \"C\") FROM kept"
	" WHERE model = $1 OR (model IS NULL AND (position(replace(to_jsonb($1)::text, '''', '''''') IN definition) > 0"
	" OR position(quote_literal($1) IN definition) > 0))";

/*
 * The function fsi_dependents() itself.  Not by its name in a statement: whoever has the schema may give that name to
 * another schema in the instant before it is looked up, and have a function of his own called by the extension's owner.
 */
static FuncExpr *
dependents_call(Oid schema)
{
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("fsi_dependents"),
										   PointerGetDatum(buildoidvector(NULL, 0)), ObjectIdGetDatum(schema));
	FuncExpr   *call;

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function \"%s\" of extension \"fsi_intent\" is missing", "fsi_dependents()")));
	call = makeFuncExpr(function, RECORDOID, NIL, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	call->funcretset = true;
	return call;
}

/* Call it, and let SPI's statements read its rows as a table of that name, which comes before any other. */
static void
register_dependents(EState *estate, Oid schema)
{
	FuncExpr   *call = dependents_call(schema);
	ExprContext *context = CreateExprContext(estate);
	EphemeralNamedRelation rows = palloc0(sizeof(EphemeralNamedRelationData));
	MemoryContext arguments;
	SetExprState *state;
	Tuplestorestate *store;

	if (get_func_result_type(call->funcid, NULL, &rows->md.tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "fsi_dependents() does not return rows");
	state = ExecInitTableFunctionResult((Expr *) call, context, NULL);
	/* Not the context that is reset before the function is called: what it is called with lies there. */
	arguments = AllocSetContextCreate(estate->es_query_cxt, "fsi_dependents arguments", ALLOCSET_SMALL_SIZES);
	store = ExecMakeTableFunctionResult(state, context, arguments, rows->md.tupdesc, true);
	rows->md.name = "fsi_dependents";
	rows->md.enrtype = ENR_NAMED_TUPLESTORE;
	rows->md.enrtuples = (double) tuplestore_tuple_count(store);
	rows->reldata = store;
	if (SPI_register_relation(rows) != SPI_OK_REL_REGISTER)
		elog(ERROR, "the rows of fsi_dependents() could not be registered");
}

/*
 * What has been committed since the statement began counts, and so does what this transaction has made.  As whoever has
 * the extension: who commits answers may use its schema or not.
 */
static void
ask(const char *sql, const char *name)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {name ? CStringGetTextDatum(name) : (Datum) 0};
	/* The extension stays, or is told to be gone. */
	Relation	catalog = store_open_table("_fsi_model_catalog", AccessShareLock);
	EState	   *estate = CreateExecutorState();
	StoreSelf	self;

	/* No operator of the caller's may come before core's, nor a temporary table before a catalog. */
	store_become_owner(RelationGetRelid(catalog), &self);
	store_set_for_now("standard_conforming_strings", "on");
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	register_dependents(estate, RelationGetNamespace(catalog));
	if (SPI_execute_with_args(sql, lengthof(types), types, values, name ? NULL : "n", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "the search for what rests on a model failed");
	SPI_unregister_relation("fsi_dependents");
	PopActiveSnapshot();
	store_be_self(&self);
	FreeExecutorState(estate);
	table_close(catalog, AccessShareLock);
}

static Oid
oid_column(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

static void
look_at_constraint(StoreDependent *d)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(d->address.objectId));

	d->valid = HeapTupleIsValid(tuple) && ((Form_pg_constraint) GETSTRUCT(tuple))->convalidated;
	if (!HeapTupleIsValid(tuple))
		return;
	d->domain = ((Form_pg_constraint) GETSTRUCT(tuple))->contypid;
	ReleaseSysCache(tuple);
}

static void
look_at_index(StoreDependent *d)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(d->address.objectId));

	d->valid = HeapTupleIsValid(tuple) && ((Form_pg_index) GETSTRUCT(tuple))->indisvalid;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
}

/* What the list does not tell.  What is gone by now is not relied on. */
static void
look_at(StoreDependent *d)
{
	d->valid = true;
	if (d->address.classId == ConstraintRelationId)
		look_at_constraint(d);
	else if (get_rel_relkind(d->address.objectId) == RELKIND_INDEX)
		look_at_index(d);
}

List *
store_dependents(const char *name)
{
	List	   *all = NIL;
	const StoreDependent *last = NULL;
	SPITupleTable *table;

	ask(list_sql, name);
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = table->vals[i];
		char	   *object = SPI_getvalue(row, table->tupdesc, 3);
		StoreDependent *d;

		/* Dropped since the snapshot was taken that it was found by. */
		if (object == NULL)
			continue;
		d = palloc0(sizeof(StoreDependent));
		d->model = SPI_getvalue(row, table->tupdesc, 1);
		d->kind = SPI_getvalue(row, table->tupdesc, 2);
		d->object = object;
		d->relid = oid_column(row, table->tupdesc, 4);
		ObjectAddressSubSet(d->address, oid_column(row, table->tupdesc, 5), oid_column(row, table->tupdesc, 6),
							(int32) oid_column(row, table->tupdesc, 7));
		look_at(d);
		d->again = last != NULL && memcmp(&last->address, &d->address, sizeof(ObjectAddress)) == 0;
		all = lappend(all, d);
		last = d;
	}
	SPI_freetuptable(table);
	return all;
}

bool
store_is_still_there(const StoreDependent *d)
{
	int			cache = d->address.classId == ConstraintRelationId ? CONSTROID : RELOID;

	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(d->relid)) &&
		SearchSysCacheExists1(cache, ObjectIdGetDatum(d->address.objectId));
}

/* Whether this transaction has locked the table, or one below it, to write or to build something on it. */
static bool
is_written_here(Oid relid)
{
	List	   *tables = list_make1_oid(relid);
	ListCell   *lc;

	foreach(lc, tables)
	{
		Relation	rel = RelationIdGetRelation(lfirst_oid(lc));
		bool		written;

		/* Others, which it has not locked, may be dropped just now. */
		if (rel == NULL)
			continue;
		written = CheckRelationLockedByMe(rel, RowExclusiveLock, true);
		RelationClose(rel);
		if (written)
			return true;
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(lc))))
			tables = list_concat_unique_oid(tables, find_inheritance_children(lfirst_oid(lc), NoLock));
	}
	return false;
}

char *
store_find_written(const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *object = NULL;
	ListCell   *lc;

	SPI_connect();
	foreach(lc, store_dependents(name))
	{
		const StoreDependent *d = lfirst(lc);

		/* A domain's values may be in any table. */
		if (OidIsValid(d->relid) && !is_written_here(d->relid))
			continue;
		object = MemoryContextStrdup(caller, psprintf("%s %s", d->kind, d->object));
		break;
	}
	SPI_finish();
	return object;
}

char *
store_find_dependent(const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *object;

	SPI_connect();
	ask(find_sql, name);
	object = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (object != NULL)
		object = MemoryContextStrdup(caller, object);
	SPI_finish();
	return object;
}
