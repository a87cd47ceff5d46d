/*
 * stale.c
 *	  Count the kept answers that are not what the model says now.
 *
 * Columns, constraints and partitions are asked in SQL.  What a btree index holds is compared with what its
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
#include "catalog/pg_constraint.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
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

/* Add up what the statements that a query makes count. */
static void
count_by(const char *sql, const ObjectAddress *of, int64 *rows, int64 *stale)
{
	List	   *statements = NIL;
	ListCell   *lc;

	store_statements(sql, of, &statements);
	foreach(lc, statements)
	{
		bool		isnull;

		if (SPI_execute(lfirst(lc), true, 0) != SPI_OK_SELECT)
			elog(ERROR, "SPI_execute failed: %s", (char *) lfirst(lc));
		*rows += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		*stale += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		SPI_freetuptable(SPI_tuptable);
	}
}

#define COUNT "format('SELECT count(*), count(*) FILTER (WHERE %s) FROM ONLY %s', "

/* Images are compared: types without an equality operator can be, and spellings that a collation takes for equal differ. */
static const char *const column_sql =
	"SELECT " COUNT "format('ROW(%I)::record *<> ROW((%s)::%s)::record', attname, pg_get_expr(adbin, adrelid), format_type(atttypid, atttypmod)),"
	" adrelid::regclass) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = $1 AND adnum = $2";

static const char *const constraint_sql =
	"SELECT " COUNT "format('NOT (%s)', pg_get_expr(conbin, conrelid)), conrelid::regclass) FROM pg_constraint"
	" WHERE oid = $1 AND $2 = 0";

/* A lone default partition has no bounds. */
static const char *const partitions_sql =
	"SELECT " COUNT "format('NOT (%s)', coalesce(pg_get_partition_constraintdef(relid), 'true')), relid)"
	" FROM pg_partition_tree($1) WHERE isleaf AND relid <> $1 AND $2 = 0";

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
count_in_index(Oid indexid, int64 *rows, int64 *stale)
{
	IndexCheck	check = {0};
	int64		right = 0;
	int64		wrong = 0;

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
count_stale(const StoreDependent *d, int64 *rows, int64 *stale)
{
	char		relkind = get_rel_relkind(d->address.objectId);

	*rows = *stale = 0;
	if (strcmp(d->kind, "generated column") == 0)
		count_by(column_sql, &d->address, rows, stale);
	else if (strcmp(d->kind, "constraint") == 0)
		count_by(constraint_sql, &d->address, rows, stale);
	else if (strcmp(d->kind, "partition key") == 0)
		count_by(partitions_sql, &d->address, rows, stale);
	else if (relkind == RELKIND_INDEX)
		count_in_index(d->address.objectId, rows, stale);
	else if (relkind != RELKIND_PARTITIONED_INDEX)
		*rows = *stale = STORE_UNKNOWN;
}

void
store_count_stale(const StoreDependent *d, int64 *rows, int64 *stale)
{
	StoreSelf	self;

	*rows = *stale = STORE_UNKNOWN;
	/* A domain's values may lie anywhere, and what another session's temporary table holds is in its memory. */
	if (!OidIsValid(d->relid) || !d->valid || isOtherTempNamespace(get_rel_namespace(d->relid)))
		return;
	store_check_owner(d->relid);
	PushActiveSnapshot(GetLatestSnapshot());
	store_become_owner(d->relid, &self);
	count_stale(d, rows, stale);
	store_be_self(&self);
	PopActiveSnapshot();
}
