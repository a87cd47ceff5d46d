/*
 * schema.c
 *	  The name of a relation with its schema's, and that of a schema kept until the transaction ends.
 *
 * No lock on a table keeps its schema's name: whoever owns the schema may give that name to another, in the instant
 * between the making of a statement and its reading.  A lock of the schema's row, as a foreign key has it, does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fsi_store.h"

char *
store_relation_name(Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *name = get_rel_name(relid);

	if (schema == NULL || name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(schema, name);
}

/* Wait for whoever has written the row, until all have been told of it, too. */
static void
wait_for_writer(TupleTableSlot *slot)
{
	bool		should_free;
	TransactionId xmin = HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(slot, false, &should_free)->t_data);

	if (TransactionIdIsNormal(xmin) && !TransactionIdIsCurrentTransactionId(xmin))
		XactLockTableWait(xmin, NULL, NULL, XLTW_None);
}

void
store_keep_schema_name(Oid relid)
{
	Relation	rel = table_open(NamespaceRelationId, RowShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TM_FailureData failure;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_namespace_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(get_rel_namespace(relid)));
	scan = systable_beginscan(rel, NamespaceOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple) ||
		table_tuple_lock(rel, &tuple->t_self, GetActiveSnapshot(), slot, GetCurrentCommandId(true), LockTupleKeyShare,
						 LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure) != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	wait_for_writer(slot);
	systable_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	AcceptInvalidationMessages();
}
