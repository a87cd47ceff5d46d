/*
 * table.c
 *	  Rows of _fsi_job and _fsi_job_chunk, read and written below SQL.
 *
 * As in the store room's catalog.c: no rights are looked at, no search path, no triggers.  Two
 * calls that look for the same job are kept apart by a lock on _fsi_job, two processes
 * that claim the same chunk by a row lock, which a crash or an error releases.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/sinvaladt.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "jobs.h"

/* Attribute numbers, in the order of sql/fsi_intent--1.0.sql. */
enum JobAttribute
{
	JOB_ID = 1,
	JOB_RELID,
	JOB_TARGET,
	JOB_ROLE,
	JOB_SOURCE,
	JOB_INTENTS,
	JOB_OPTIONS,
	JOB_CONDITION,
	JOB_MODEL,
	JOB_BASE,
	JOB_FILES,
	JOB_PASS,
	JOB_ROUND,
	JOB_ROWS_ESTIMATE,
	JOB_ROWS_BEFORE,
	JOB_STARTED_AT,
	JOB_RESUMED_AT
};
#define JOB_ATTRIBUTES 17

enum ChunkAttribute
{
	CHUNK_JOB = 1,
	CHUNK_NO,
	CHUNK_PASS,
	CHUNK_FIRST_BLOCK,
	CHUNK_END_BLOCK,
	CHUNK_DONE,
	CHUNK_XID,
	CHUNK_ROWS,
	CHUNK_SKIPPED
};
#define CHUNK_ATTRIBUTES 9

static Relation
open_jobs(LOCKMODE mode)
{
	return table_open(store_relation("_fsi_job"), mode);
}

static Relation
open_chunks(LOCKMODE mode)
{
	return table_open(store_relation("_fsi_job_chunk"), mode);
}

void
jobs_table_lock(void)
{
	table_close(open_jobs(ShareRowExclusiveLock), NoLock);
}

static Datum
attribute(Relation rel, HeapTuple tuple, AttrNumber no)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, no, RelationGetDescr(rel), &isnull);

	return isnull ? (Datum) 0 : value;
}

/* Everything that is kept of a row is copied: the scan's buffers are not ours. */
static void
read_job(Relation rel, HeapTuple tuple, Job *job)
{
	Datum		options = attribute(rel, tuple, JOB_OPTIONS);
	Datum		condition = attribute(rel, tuple, JOB_CONDITION);

	job->id = DatumGetInt32(attribute(rel, tuple, JOB_ID));
	job->relid = DatumGetObjectId(attribute(rel, tuple, JOB_RELID));
	job->target = DatumGetInt16(attribute(rel, tuple, JOB_TARGET));
	job->role = DatumGetObjectId(attribute(rel, tuple, JOB_ROLE));
	job->source = DatumGetInt16(attribute(rel, tuple, JOB_SOURCE));
	job->intents = DatumGetArrayTypePCopy(attribute(rel, tuple, JOB_INTENTS));
	job->options = options ? DatumGetJsonbPCopy(options) : NULL;
	job->condition = condition ? TextDatumGetCString(condition) : NULL;
	job->model = TextDatumGetCString(attribute(rel, tuple, JOB_MODEL));
	job->base = DatumGetFullTransactionId(attribute(rel, tuple, JOB_BASE));
	job->files = DatumGetArrayTypePCopy(attribute(rel, tuple, JOB_FILES));
	job->pass = DatumGetInt32(attribute(rel, tuple, JOB_PASS));
	job->round = DatumGetInt32(attribute(rel, tuple, JOB_ROUND));
	job->rows_estimate = DatumGetFloat8(attribute(rel, tuple, JOB_ROWS_ESTIMATE));
	job->rows_before = DatumGetInt64(attribute(rel, tuple, JOB_ROWS_BEFORE));
	job->started = DatumGetTimestampTz(attribute(rel, tuple, JOB_STARTED_AT));
	job->resumed = DatumGetTimestampTz(attribute(rel, tuple, JOB_RESUMED_AT));
}

bool
jobs_find(Oid relid, AttrNumber target, Oid role, Job *job)
{
	Relation	rel = open_jobs(AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&keys[0], JOB_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], JOB_TARGET, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(target));
	ScanKeyInit(&keys[2], JOB_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = systable_beginscan(rel, store_relation("_fsi_job_key"), true, NULL, 3, keys);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		read_job(rel, tuple, job);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static SysScanDesc
scan_job(Relation rel, int32 id, ScanKeyData *key)
{
	ScanKeyInit(key, JOB_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
	return systable_beginscan(rel, store_relation("_fsi_job_pkey"), true, NULL, 1, key);
}

void
jobs_load(int32 id, Job *job)
{
	Relation	rel = open_jobs(AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = scan_job(rel, id, &key);
	HeapTuple	tuple = systable_getnext(scan);

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job %d of fsi_classify_table() is not there any more", id)));
	read_job(rel, tuple, job);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

void
jobs_insert(Job *job)
{
	Relation	rel = open_jobs(RowExclusiveLock);
	Datum		values[JOB_ATTRIBUTES];
	bool		nulls[JOB_ATTRIBUTES] = {false};

	job->id = (int32) nextval_internal(store_relation("_fsi_job_id"), false);
	values[JOB_ID - 1] = Int32GetDatum(job->id);
	values[JOB_RELID - 1] = ObjectIdGetDatum(job->relid);
	values[JOB_TARGET - 1] = Int16GetDatum(job->target);
	values[JOB_ROLE - 1] = ObjectIdGetDatum(job->role);
	values[JOB_SOURCE - 1] = Int16GetDatum(job->source);
	values[JOB_INTENTS - 1] = PointerGetDatum(job->intents);
	values[JOB_OPTIONS - 1] = PointerGetDatum(job->options);
	nulls[JOB_OPTIONS - 1] = job->options == NULL;
	values[JOB_CONDITION - 1] = job->condition ? CStringGetTextDatum(job->condition) : (Datum) 0;
	nulls[JOB_CONDITION - 1] = job->condition == NULL;
	values[JOB_MODEL - 1] = CStringGetTextDatum(job->model);
	values[JOB_BASE - 1] = FullTransactionIdGetDatum(job->base);
	values[JOB_FILES - 1] = PointerGetDatum(job->files);
	values[JOB_PASS - 1] = Int32GetDatum(job->pass);
	values[JOB_ROUND - 1] = Int32GetDatum(job->round);
	values[JOB_ROWS_ESTIMATE - 1] = Float8GetDatum(job->rows_estimate);
	values[JOB_ROWS_BEFORE - 1] = Int64GetDatum(job->rows_before);
	values[JOB_STARTED_AT - 1] = TimestampTzGetDatum(job->started);
	values[JOB_RESUMED_AT - 1] = TimestampTzGetDatum(job->resumed);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

void
jobs_store(const Job *job)
{
	Relation	rel = open_jobs(RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = scan_job(rel, job->id, &key);
	HeapTuple	tuple = systable_getnext(scan);
	Datum		values[JOB_ATTRIBUTES] = {0};
	bool		nulls[JOB_ATTRIBUTES] = {false};
	bool		replaces[JOB_ATTRIBUTES] = {false};

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "job %d vanished", job->id);
	values[JOB_FILES - 1] = PointerGetDatum(job->files);
	values[JOB_PASS - 1] = Int32GetDatum(job->pass);
	values[JOB_ROUND - 1] = Int32GetDatum(job->round);
	values[JOB_ROWS_ESTIMATE - 1] = Float8GetDatum(job->rows_estimate);
	values[JOB_ROWS_BEFORE - 1] = Int64GetDatum(job->rows_before);
	values[JOB_RESUMED_AT - 1] = TimestampTzGetDatum(job->resumed);
	replaces[JOB_FILES - 1] = true;
	replaces[JOB_PASS - 1] = true;
	replaces[JOB_ROUND - 1] = true;
	replaces[JOB_ROWS_ESTIMATE - 1] = true;
	replaces[JOB_ROWS_BEFORE - 1] = true;
	replaces[JOB_RESUMED_AT - 1] = true;
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Chunks of a job with numbers above after, in order. */
static SysScanDesc
scan_chunks(Relation rel, int32 job, int32 after, ScanKeyData keys[2])
{
	ScanKeyInit(&keys[0], CHUNK_JOB, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(job));
	ScanKeyInit(&keys[1], CHUNK_NO, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(after));
	return systable_beginscan(rel, store_relation("_fsi_job_chunk_pkey"), true, NULL, 2, keys);
}

static void
delete_chunks(int32 job, bool done_too)
{
	Relation	rel = open_chunks(RowExclusiveLock);
	ScanKeyData keys[2];
	SysScanDesc scan = scan_chunks(rel, job, 0, keys);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (done_too || !DatumGetBool(attribute(rel, tuple, CHUNK_DONE)))
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

void
jobs_delete(int32 id)
{
	Relation	rel = open_jobs(RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = scan_job(rel, id, &key);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	delete_chunks(id, true);
	CommandCounterIncrement();
}

void
jobs_purge(void)
{
	Relation	rel = open_jobs(AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *gone = NIL;
	HeapTuple	tuple;
	ListCell   *cell;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (!SearchSysCacheExists1(RELOID, attribute(rel, tuple, JOB_RELID)))
			gone = lappend_int(gone, DatumGetInt32(attribute(rel, tuple, JOB_ID)));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	foreach(cell, gone)
		jobs_delete(lfirst_int(cell));
	list_free(gone);
}

/* pg_locks shows the lock to fsi_progress. */
bool
jobs_hold(int32 id, LOCKMODE mode, JobHold *hold, int *pid)
{
	VirtualTransactionId *holders;
	PGPROC	   *proc;

	SET_LOCKTAG_OBJECT(hold->tag, MyDatabaseId, store_relation("_fsi_job"), (Oid) id, 0);
	hold->mode = NoLock;
	if (LockAcquire(&hold->tag, mode, true, true) != LOCKACQUIRE_NOT_AVAIL)
	{
		hold->mode = mode;
		return true;
	}
	holders = GetLockConflicts(&hold->tag, mode, NULL);
	proc = VirtualTransactionIdIsValid(holders[0]) ? BackendIdGetProc(holders[0].backendId) : NULL;
	*pid = proc ? proc->pid : 0;
	return false;
}

void
jobs_let_go(JobHold *hold)
{
	LOCKMODE	mode = hold->mode;

	hold->mode = NoLock;
	if (mode != NoLock)
		LockRelease(&hold->tag, mode, true);
}

void
jobs_totals(const Job *job, JobTotals *totals)
{
	Relation	rel = open_chunks(AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan = scan_chunks(rel, job->id, 0, keys);
	HeapTuple	tuple;

	memset(totals, 0, sizeof(*totals));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		current = DatumGetInt32(attribute(rel, tuple, CHUNK_PASS)) == job->pass;

		totals->rows += DatumGetInt64(attribute(rel, tuple, CHUNK_ROWS));
		totals->last = DatumGetInt32(attribute(rel, tuple, CHUNK_NO));
		if (!current)
			continue;
		totals->skipped += DatumGetInt64(attribute(rel, tuple, CHUNK_SKIPPED));
		if (!DatumGetBool(attribute(rel, tuple, CHUNK_DONE)))
			totals->pending++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

void
jobs_cut(const Job *job, BlockNumber n_blocks, BlockNumber chunk_blocks)
{
	Relation	rel;
	CatalogIndexState indexes;
	Datum		values[CHUNK_ATTRIBUTES] = {0};
	bool		nulls[CHUNK_ATTRIBUTES] = {false};
	JobTotals	totals;
	int32		no;

	delete_chunks(job->id, false);
	CommandCounterIncrement();
	jobs_totals(job, &totals);
	no = totals.last;
	rel = open_chunks(RowExclusiveLock);
	indexes = CatalogOpenIndexes(rel);
	nulls[CHUNK_XID - 1] = true;
	values[CHUNK_JOB - 1] = Int32GetDatum(job->id);
	values[CHUNK_PASS - 1] = Int32GetDatum(job->pass);
	values[CHUNK_DONE - 1] = BoolGetDatum(false);
	for (uint64 first = 0; first < n_blocks; first += chunk_blocks)
	{
		HeapTuple	tuple;

		CHECK_FOR_INTERRUPTS();
		values[CHUNK_NO - 1] = Int32GetDatum(++no);
		values[CHUNK_FIRST_BLOCK - 1] = Int64GetDatum((int64) first);
		values[CHUNK_END_BLOCK - 1] = Int64GetDatum((int64) Min(first + chunk_blocks, n_blocks));
		tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		CatalogTupleInsertWithInfo(rel, tuple, indexes);
		heap_freetuple(tuple);
	}
	CatalogCloseIndexes(indexes);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Lock the row unless somebody else has, or has changed it since it was read. */
static bool
lock_chunk(Relation rel, TupleTableSlot *slot, ItemPointer tid)
{
	TM_FailureData failure;

	return table_tuple_lock(rel, tid, GetActiveSnapshot(), slot, GetCurrentCommandId(true),
							LockTupleNoKeyExclusive, LockWaitSkip, 0, &failure) == TM_Ok;
}

static bool
claim_above(Relation rel, TupleTableSlot *slot, const Job *job, int32 after, JobChunk *chunk)
{
	ScanKeyData keys[2];
	SysScanDesc scan = scan_chunks(rel, job->id, after, keys);
	HeapTuple	tuple;
	bool		claimed = false;

	while (!claimed && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (DatumGetBool(attribute(rel, tuple, CHUNK_DONE)) ||
			DatumGetInt32(attribute(rel, tuple, CHUNK_PASS)) != job->pass)
			continue;
		chunk->tid = tuple->t_self;
		chunk->no = DatumGetInt32(attribute(rel, tuple, CHUNK_NO));
		chunk->first = (BlockNumber) DatumGetInt64(attribute(rel, tuple, CHUNK_FIRST_BLOCK));
		chunk->end = (BlockNumber) DatumGetInt64(attribute(rel, tuple, CHUNK_END_BLOCK));
		claimed = lock_chunk(rel, slot, &chunk->tid);
	}
	systable_endscan(scan);
	return claimed;
}

bool
jobs_claim(const Job *job, int32 after, JobChunk *chunk)
{
	Relation	rel = open_chunks(RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	bool		claimed;

	/* From the last one on: those before it are done or claimed, and would be read again each time. */
	claimed = claim_above(rel, slot, job, after, chunk) ||
		(after > 0 && claim_above(rel, slot, job, 0, chunk));
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, RowExclusiveLock);
	return claimed;
}

void
jobs_mark_done(const JobChunk *chunk, TransactionId xid, int64 rows, int64 skipped)
{
	Relation	rel = open_chunks(RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Datum		values[CHUNK_ATTRIBUTES] = {0};
	bool		nulls[CHUNK_ATTRIBUTES] = {false};
	bool		replaces[CHUNK_ATTRIBUTES] = {false};
	ItemPointerData tid = chunk->tid;
	HeapTuple	tuple;
	bool		should_free;

	if (!table_tuple_fetch_row_version(rel, &tid, GetActiveSnapshot(), slot))
		elog(ERROR, "chunk %d vanished", chunk->no);
	tuple = ExecFetchSlotHeapTuple(slot, true, &should_free);
	values[CHUNK_DONE - 1] = BoolGetDatum(true);
	values[CHUNK_XID - 1] = TransactionIdGetDatum(xid);
	values[CHUNK_ROWS - 1] = Int64GetDatum(rows);
	values[CHUNK_SKIPPED - 1] = Int64GetDatum(skipped);
	replaces[CHUNK_DONE - 1] = true;
	replaces[CHUNK_XID - 1] = true;
	replaces[CHUNK_ROWS - 1] = true;
	replaces[CHUNK_SKIPPED - 1] = true;
	CatalogTupleUpdate(rel, &tid, heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces));
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

void
jobs_read_xids(int32 id, HTAB *xids)
{
	Relation	rel = open_chunks(AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan = scan_chunks(rel, id, 0, keys);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TransactionId xid;

		if (!DatumGetBool(attribute(rel, tuple, CHUNK_DONE)))
			continue;
		xid = DatumGetTransactionId(attribute(rel, tuple, CHUNK_XID));
		(void) hash_search(xids, &xid, HASH_ENTER, NULL);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}
