/*
 * stale.c
 *	  Count the kept answers that are not what the model says now.
 *
 * Columns, constraints and partitions are asked in SQL (query.c).  What a btree index holds is compared with what its
 * expressions give for each row that the snapshot sees; other access methods do not tell what they hold, and what a
 * materialized view holds may be of other rows than there are now.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store.h"

/* ---- Columns, constraints, partitions. ---- */

void
store_statements(const char *sql, const ObjectAddress *of, List **statements)
{
	Oid			types[] = {OIDOID, INT4OID};
	Datum		values[] = {ObjectIdGetDatum(of->objectId), Int32GetDatum(of->objectSubId)};
	int			level = NewGUCNestLevel();

	/* Names come out qualified, and those of what has been committed since the statement began, too. */
	store_set_for_now("search_path", "pg_catalog, pg_temp");
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "what to ask could not be made");
	for (uint64 i = 0; i < SPI_processed; i++)
		*statements = lappend(*statements, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	SPI_freetuptable(SPI_tuptable);
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
}

static const char *const count_sql = "SELECT count(*), count(*) FILTER (WHERE %s) FROM ONLY %s";

/* Images are compared: types without an equality operator can be, and spellings that a collation takes for equal differ. */
static void
count_in_column(Oid relid, AttrNumber column, const char *path, int64 *rows, int64 *stale)
{
	Node	   *expression = store_column_expression(relid, column);
	const char *name = quote_identifier(get_attname(relid, column, false));

	if (expression != NULL)
		store_query_count(psprintf(count_sql, psprintf("ROW(%s)::record *<> ROW($1)::record", name), store_relation_name(relid)),
						  relid, expression, path, rows, stale);
}

static void
count_in_constraint(Oid relid, Oid constraint, const char *path, int64 *rows, int64 *stale)
{
	Node	   *expression = store_constraint_expression(constraint);

	if (expression != NULL)
		store_query_count(psprintf(count_sql, "NOT $1", store_relation_name(relid)), relid, expression, path, rows, stale);
}

List *
store_leaves(Oid root)
{
	List	   *leaves = NIL;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(root, NoLock, NULL))
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
			leaves = lappend_oid(leaves, lfirst_oid(lc));
	return leaves;
}

static void
count_in_partitions(Oid root, const char *path, int64 *rows, int64 *stale)
{
	ListCell   *lc;

	foreach(lc, store_leaves(root))
	{
		Oid			leaf = lfirst_oid(lc);
		Node	   *bounds = store_bounds_expression(leaf, leaf);

		/* A lone default partition has none. */
		store_query_count(psprintf(count_sql, "NOT $1", store_relation_name(leaf)), leaf,
						  bounds ? bounds : makeBoolConst(true, false), path, rows, stale);
	}
}

/* ---- Indexes. ---- */

typedef struct IndexCheck
{
	Relation	heap;
	Relation	index;
	IndexInfo  *info;
	EState	   *estate;
	ExprContext *context;
	ExprState  *predicate;
	TupleTableSlot *slot;
} IndexCheck;

/* Whether a row belongs into the index, and what that should hold of it. */
static bool
expected_entry(IndexCheck *check, Datum *values, bool *isnull)
{
	ResetExprContext(check->context);
	if (check->predicate != NULL && !ExecQual(check->predicate, check->context))
		return false;
	if (values != NULL)
		FormIndexDatum(check->info, check->slot, check->estate, values, isnull);
	return true;
}

static bool
holds(const IndexCheck *check, IndexTuple entry, const Datum *values, const bool *isnull)
{
	TupleDesc	desc = RelationGetDescr(check->index);

	for (int i = 0; i < check->info->ii_NumIndexKeyAttrs; i++)
	{
		bool		kept_null;
		Datum		kept;

		if (check->info->ii_IndexAttrNumbers[i] != 0)
			continue;
		kept = index_getattr(entry, i + 1, desc, &kept_null);
		if (kept_null != isnull[i])
			return false;
		if (!kept_null && !datum_image_eq(kept, values[i], TupleDescAttr(desc, i)->attbyval, TupleDescAttr(desc, i)->attlen))
			return false;
	}
	return true;
}

/* Entries of rows that the snapshot sees: those that are as they should be, and the others. */
static void
count_entries(IndexCheck *check, int64 *right, int64 *wrong)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	IndexScanDesc scan = compat_index_beginscan(check->heap, check->index, GetActiveSnapshot());

	scan->xs_want_itup = true;
	index_rescan(scan, NULL, 0, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, check->slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (expected_entry(check, values, isnull) && holds(check, scan->xs_itup, values, isnull))
			(*right)++;
		else
			(*wrong)++;
	}
	index_endscan(scan);
}

/* Rows that belong into the index. */
static int64
count_rows(IndexCheck *check)
{
	TableScanDesc scan = table_beginscan(check->heap, GetActiveSnapshot(), 0, NULL);
	int64		n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, check->slot))
	{
		CHECK_FOR_INTERRUPTS();
		n += expected_entry(check, NULL, NULL);
	}
	table_endscan(scan);
	return n;
}

static bool
can_tell(const IndexCheck *check)
{
	Form_pg_index form = check->index->rd_index;

	/* One with an old row's chain that is broken may be used when its making is long past. */
	return check->index->rd_rel->relam == BTREE_AM_OID && form->indisvalid &&
		(!form->indcheckxmin || TransactionIdPrecedes(HeapTupleHeaderGetXmin(check->index->rd_indextuple->t_data), TransactionXmin));
}

static void
count_in_index(Oid indexid, const char *path, int64 *rows, int64 *stale)
{
	IndexCheck	check = {0};
	int64		right = 0;
	int64		wrong = 0;

	/* From PostgreSQL 17 on core makes indexes with core's names alone, and so REINDEX would. */
	if (PG_VERSION_NUM < 170000)
		store_set_for_now("search_path", path);
	check.heap = table_open(IndexGetRelation(indexid, false), AccessShareLock);
	check.index = index_open(indexid, AccessShareLock);
	check.info = BuildIndexInfo(check.index);
	check.estate = CreateExecutorState();
	check.context = GetPerTupleExprContext(check.estate);
	check.slot = table_slot_create(check.heap, NULL);
	check.context->ecxt_scantuple = check.slot;
	check.predicate = check.info->ii_Predicate ? ExecPrepareQual(check.info->ii_Predicate, check.estate) : NULL;
	*rows = count_rows(&check);
	if (can_tell(&check))
	{
		count_entries(&check, &right, &wrong);
		*stale = wrong + Max(0, *rows - right - wrong);
	}
	else
		*stale = STORE_UNKNOWN;
	ExecDropSingleTupleTableSlot(check.slot);
	FreeExecutorState(check.estate);
	index_close(check.index, AccessShareLock);
	table_close(check.heap, AccessShareLock);
}

/* ---- Anything. ---- */

static void
count_stale(const StoreDependent *d, const char *path, int64 *rows, int64 *stale)
{
	char		relkind = get_rel_relkind(d->address.objectId);

	*rows = *stale = 0;
	if (strcmp(d->kind, "generated column") == 0)
		count_in_column(d->relid, d->address.objectSubId, path, rows, stale);
	else if (strcmp(d->kind, "constraint") == 0)
		count_in_constraint(d->relid, d->address.objectId, path, rows, stale);
	else if (strcmp(d->kind, "partition key") == 0)
		count_in_partitions(d->relid, path, rows, stale);
	else if (relkind == RELKIND_INDEX)
		count_in_index(d->address.objectId, path, rows, stale);
	/* A view, or an index that REINDEX CONCURRENTLY has dropped, though its table is held. */
	else if (relkind != RELKIND_PARTITIONED_INDEX)
		*rows = *stale = STORE_UNKNOWN;
}

void
store_count_stale(const StoreDependent *d, int64 *rows, int64 *stale)
{
	StoreSelf	self;
	char	   *path = store_path_of_functions();
	bool		is_index = strcmp(d->kind, "index") == 0;

	*rows = *stale = STORE_UNKNOWN;
	/* A domain's values may lie anywhere, and what another session's temporary table holds is in its memory. */
	if (!OidIsValid(d->relid) || !d->valid || isOtherTempNamespace(get_rel_namespace(d->relid)))
		return;
	store_check_owner(d->relid);
	/*
	 * An index has the newest answers, the snapshot says which weights are asked: who makes it anew with others is waited
	 * for before.  It is not kept then, for he may come and hold another one that is to be counted.
	 */
	if (is_index)
		LockRelationOid(d->address.objectId, AccessShareLock);
	PushActiveSnapshot(GetLatestSnapshot());
	store_become_owner(d->relid, &self);
	count_stale(d, path, rows, stale);
	store_be_self(&self);
	PopActiveSnapshot();
	if (is_index)
		UnlockRelationOid(d->address.objectId, AccessShareLock);
}
