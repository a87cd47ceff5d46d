/*
 * table.c
 *	  Rows of _fsi_job and _fsi_job_chunk, read and written below SQL.
 *
 * As in the store room's catalog.c: no rights are looked at, no search path, no triggers.  Two
 * calls that look for the same job are kept apart by a lock on its column, two processes
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
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "jobs.h"

/* Columns from 0, in the order of sql/fsi_intent--1.0.sql; a key counts them from 1. */
enum JobColumn
{
	JOB_ID,
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
	JOB_RESUMED_AT,
	JOB_COLUMNS
};

enum ChunkColumn
{
	CHUNK_JOB,
	CHUNK_NO,
	CHUNK_PASS,
	CHUNK_FIRST_BLOCK,
	CHUNK_END_BLOCK,
	CHUNK_DONE,
	CHUNK_XID,
	CHUNK_ROWS,
	CHUNK_SKIPPED,
	CHUNK_COLUMNS
};

/* Of a table's column, beside the number that whoever writes it holds (call.c). */
#define LOOKED_FOR_SUBID 1

/*
 * What one call deletes: each takes a lock until the transaction ends, of which the server has but some thousands, and one
 * table with all its columns may leave 1600.  The rest is left to the calls that follow.
 */
#define MAX_PURGED 32

/* An open table, and a scan of some of its rows. */
typedef struct TableScan
{
	Relation	rel;
	LOCKMODE	mode;
	ScanKeyData keys[3];
	SysScanDesc scan;
} TableScan;

static Relation
open_jobs(LOCKMODE mode)
{
	return store_open_table("_fsi_job", mode);
}

/* Who writes keeps the lock until the transaction ends, as for any table: nobody rewrites it meanwhile. */
static Relation
open_chunks(LOCKMODE mode)
{
	return store_open_table("_fsi_job_chunk", mode);
}

/*
 * Not of all jobs: what is said to the caller under a lock, an error too, is said for as long as he does not read it, and
 * no cancelling ends that.
 */
void
jobs_lock(const Job *job)
{
	table_close(open_jobs(RowExclusiveLock), NoLock);
	LockDatabaseObject(job->relid, (Oid) job->target, LOOKED_FOR_SUBID, ExclusiveLock);
}

/* Of a scan that is about to begin: compare a column with a value. */
static void
add_key(TableScan *scan, int n, int column, StrategyNumber strategy, RegProcedure compare, Datum value)
{
	ScanKeyInit(&scan->keys[n], column + 1, strategy, compare, value);
}

static void
begin_scan(TableScan *scan, Relation rel, LOCKMODE mode, const char *index, int n_keys)
{
	scan->rel = rel;
	scan->mode = mode;
	scan->scan = systable_beginscan(rel, index ? store_relation(index) : InvalidOid, index != NULL, NULL, n_keys,
									scan->keys);
}

static void
end_scan(TableScan *scan)
{
	systable_endscan(scan->scan);
	table_close(scan->rel, scan->mode);
}

/* The next row's columns, in the scan's buffers: what is kept is copied.  NULL: there is none. */
static HeapTuple
next_row(TableScan *scan, Datum *values, bool *nulls)
{
	HeapTuple	tuple = systable_getnext(scan->scan);

	if (HeapTupleIsValid(tuple))
		heap_deform_tuple(tuple, RelationGetDescr(scan->rel), values, nulls);
	return tuple;
}

static void
begin_job_scan(TableScan *scan, int32 id, LOCKMODE mode)
{
	add_key(scan, 0, JOB_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
	begin_scan(scan, open_jobs(mode), mode, "_fsi_job_pkey", 1);
}

static void
read_job(const Datum *values, const bool *nulls, Job *job)
{
	job->id = DatumGetInt32(values[JOB_ID]);
	job->relid = DatumGetObjectId(values[JOB_RELID]);
	job->target = DatumGetInt16(values[JOB_TARGET]);
	job->role = DatumGetObjectId(values[JOB_ROLE]);
	job->source = DatumGetInt16(values[JOB_SOURCE]);
	job->intents = DatumGetArrayTypePCopy(values[JOB_INTENTS]);
	job->options = nulls[JOB_OPTIONS] ? NULL : DatumGetJsonbPCopy(values[JOB_OPTIONS]);
	job->condition = nulls[JOB_CONDITION] ? NULL : TextDatumGetCString(values[JOB_CONDITION]);
	job->model = TextDatumGetCString(values[JOB_MODEL]);
	job->base = DatumGetFullTransactionId(values[JOB_BASE]);
	job->files = DatumGetArrayTypePCopy(values[JOB_FILES]);
	job->pass = DatumGetInt32(values[JOB_PASS]);
	job->round = DatumGetInt32(values[JOB_ROUND]);
	job->rows_estimate = DatumGetFloat8(values[JOB_ROWS_ESTIMATE]);
	job->rows_before = DatumGetInt64(values[JOB_ROWS_BEFORE]);
	job->started = DatumGetTimestampTz(values[JOB_STARTED_AT]);
	job->resumed = DatumGetTimestampTz(values[JOB_RESUMED_AT]);
}

static HeapTuple
form_job(Relation rel, const Job *job)
{
	Datum		values[JOB_COLUMNS];
	bool		nulls[JOB_COLUMNS] = {false};

	values[JOB_ID] = Int32GetDatum(job->id);
	values[JOB_RELID] = ObjectIdGetDatum(job->relid);
	values[JOB_TARGET] = Int16GetDatum(job->target);
	values[JOB_ROLE] = ObjectIdGetDatum(job->role);
	values[JOB_SOURCE] = Int16GetDatum(job->source);
	values[JOB_INTENTS] = PointerGetDatum(job->intents);
	values[JOB_OPTIONS] = PointerGetDatum(job->options);
	nulls[JOB_OPTIONS] = job->options == NULL;
	values[JOB_CONDITION] = job->condition ? CStringGetTextDatum(job->condition) : (Datum) 0;
	nulls[JOB_CONDITION] = job->condition == NULL;
	values[JOB_MODEL] = CStringGetTextDatum(job->model);
	values[JOB_BASE] = FullTransactionIdGetDatum(job->base);
	values[JOB_FILES] = PointerGetDatum(job->files);
	values[JOB_PASS] = Int32GetDatum(job->pass);
	values[JOB_ROUND] = Int32GetDatum(job->round);
	values[JOB_ROWS_ESTIMATE] = Float8GetDatum(job->rows_estimate);
	values[JOB_ROWS_BEFORE] = Int64GetDatum(job->rows_before);
	values[JOB_STARTED_AT] = TimestampTzGetDatum(job->started);
	values[JOB_RESUMED_AT] = TimestampTzGetDatum(job->resumed);
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

/* The scan's first row, which is its last: a key was asked for. */
static bool
take_job(TableScan *scan, Job *job)
{
	Datum		values[JOB_COLUMNS];
	bool		nulls[JOB_COLUMNS];
	bool		found = next_row(scan, values, nulls) != NULL;

	if (found)
		read_job(values, nulls, job);
	end_scan(scan);
	return found;
}

bool
jobs_find(Oid relid, AttrNumber target, Oid role, Job *job)
{
	TableScan	scan;

	add_key(&scan, 0, JOB_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	add_key(&scan, 1, JOB_TARGET, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(target));
	add_key(&scan, 2, JOB_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	begin_scan(&scan, open_jobs(AccessShareLock), AccessShareLock, "_fsi_job_key", 3);
	return take_job(&scan, job);
}

bool
jobs_find_id(int32 id, Job *job)
{
	TableScan	scan;

	begin_job_scan(&scan, id, AccessShareLock);
	return take_job(&scan, job);
}

void
jobs_load(int32 id, Job *job)
{
	if (!jobs_find_id(id, job))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job %d of fsi_classify_table() is not there any more", id)));
}

void
jobs_insert(Job *job)
{
	Relation	rel = open_jobs(RowExclusiveLock);

	job->id = (int32) nextval_internal(store_relation("_fsi_job_id"), false);
	CatalogTupleInsert(rel, form_job(rel, job));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

void
jobs_store(const Job *job)
{
	TableScan	scan;
	Datum		values[JOB_COLUMNS];
	bool		nulls[JOB_COLUMNS];
	HeapTuple	tuple;

	begin_job_scan(&scan, job->id, RowExclusiveLock);
	tuple = next_row(&scan, values, nulls);
	if (tuple == NULL)
		elog(ERROR, "job %d vanished", job->id);
	CatalogTupleUpdate(scan.rel, &tuple->t_self, form_job(scan.rel, job));
	end_scan(&scan);
	CommandCounterIncrement();
}

/* Chunks of a job with numbers above after, in order. */
static void
begin_chunk_scan(TableScan *scan, int32 job, int32 after, LOCKMODE mode)
{
	add_key(scan, 0, CHUNK_JOB, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(job));
	add_key(scan, 1, CHUNK_NO, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(after));
	begin_scan(scan, open_chunks(mode), mode, "_fsi_job_chunk_pkey", 2);
}

static void
delete_chunks(int32 job, bool done_too)
{
	TableScan	scan;
	Datum		values[CHUNK_COLUMNS];
	bool		nulls[CHUNK_COLUMNS];
	HeapTuple	tuple;

	begin_chunk_scan(&scan, job, 0, RowExclusiveLock);
	while ((tuple = next_row(&scan, values, nulls)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (done_too || !DatumGetBool(values[CHUNK_DONE]))
			CatalogTupleDelete(scan.rel, &tuple->t_self);
	}
	scan.mode = NoLock;
	end_scan(&scan);
}

void
jobs_delete(int32 id)
{
	TableScan	scan;
	Datum		values[JOB_COLUMNS];
	bool		nulls[JOB_COLUMNS];
	HeapTuple	tuple;

	begin_job_scan(&scan, id, RowExclusiveLock);
	tuple = next_row(&scan, values, nulls);
	if (tuple != NULL)
		CatalogTupleDelete(scan.rel, &tuple->t_self);
	end_scan(&scan);
	delete_chunks(id, true);
	CommandCounterIncrement();
}

static bool
has_column(const Datum *job, int column)
{
	HeapTuple	tuple = SearchSysCacheAttNum(DatumGetObjectId(job[JOB_RELID]), DatumGetInt16(job[column]));

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return HeapTupleIsValid(tuple);
}

/* Whether the table, a column or the role of a job is no more: no call can go on with it. */
static bool
is_stale(const Datum *job)
{
	return !SearchSysCacheExists1(AUTHOID, job[JOB_ROLE]) || !has_column(job, JOB_SOURCE) || !has_column(job, JOB_TARGET);
}

/* One that somebody is at work on finds out by itself. */
static void
delete_stale(int32 id)
{
	SessionHold hold;
	int			pid;

	if (!jobs_hold(id, JOBS_HOLD_CALLER, &hold, &pid))
		return;
	session_keep_until_commit(&hold);
	jobs_delete(id);
}

void
jobs_purge(void)
{
	TableScan	scan;
	Datum		values[JOB_COLUMNS];
	bool		nulls[JOB_COLUMNS];
	List	   *stale = NIL;
	ListCell   *cell;

	begin_scan(&scan, open_jobs(AccessShareLock), AccessShareLock, NULL, 0);
	while (list_length(stale) < MAX_PURGED && next_row(&scan, values, nulls) != NULL)
		if (is_stale(values))
			stale = lappend_int(stale, DatumGetInt32(values[JOB_ID]));
	end_scan(&scan);
	foreach(cell, stale)
		delete_stale(lfirst_int(cell));
	list_free(stale);
}

/* pg_locks shows the lock to fsi_progress. */
bool
jobs_hold(int32 id, LOCKMODE mode, SessionHold *hold, int *pid)
{
	return session_hold(store_relation("_fsi_job"), (Oid) id, mode, hold, pid);
}

void
jobs_totals(const Job *job, JobTotals *totals)
{
	TableScan	scan;
	Datum		values[CHUNK_COLUMNS];
	bool		nulls[CHUNK_COLUMNS];

	memset(totals, 0, sizeof(*totals));
	begin_chunk_scan(&scan, job->id, 0, AccessShareLock);
	while (next_row(&scan, values, nulls) != NULL)
	{
		totals->rows += DatumGetInt64(values[CHUNK_ROWS]);
		totals->last = DatumGetInt32(values[CHUNK_NO]);
		if (DatumGetInt32(values[CHUNK_PASS]) != job->pass)
			continue;
		totals->skipped += DatumGetInt64(values[CHUNK_SKIPPED]);
		if (!DatumGetBool(values[CHUNK_DONE]))
			totals->pending++;
	}
	end_scan(&scan);
}

void
jobs_cut(const Job *job, BlockNumber n_blocks, BlockNumber chunk_blocks)
{
	Relation	rel;
	CatalogIndexState indexes;
	Datum		values[CHUNK_COLUMNS] = {0};
	bool		nulls[CHUNK_COLUMNS] = {false};
	JobTotals	totals;
	int32		no;

	delete_chunks(job->id, false);
	CommandCounterIncrement();
	jobs_totals(job, &totals);
	no = totals.last;
	rel = open_chunks(RowExclusiveLock);
	indexes = CatalogOpenIndexes(rel);
	nulls[CHUNK_XID] = true;
	values[CHUNK_JOB] = Int32GetDatum(job->id);
	values[CHUNK_PASS] = Int32GetDatum(job->pass);
	values[CHUNK_DONE] = BoolGetDatum(false);
	for (uint64 first = 0; first < n_blocks; first += chunk_blocks)
	{
		HeapTuple	tuple;

		CHECK_FOR_INTERRUPTS();
		values[CHUNK_NO] = Int32GetDatum(++no);
		values[CHUNK_FIRST_BLOCK] = Int64GetDatum((int64) first);
		values[CHUNK_END_BLOCK] = Int64GetDatum((int64) Min(first + chunk_blocks, n_blocks));
		tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		CatalogTupleInsertWithInfo(rel, tuple, indexes);
		heap_freetuple(tuple);
	}
	CatalogCloseIndexes(indexes);
	table_close(rel, NoLock);
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
claim_above(const Job *job, int32 after, JobChunk *chunk)
{
	TableScan	scan;
	Datum		values[CHUNK_COLUMNS];
	bool		nulls[CHUNK_COLUMNS];
	HeapTuple	tuple;
	TupleTableSlot *slot;
	bool		claimed = false;

	begin_chunk_scan(&scan, job->id, after, RowExclusiveLock);
	slot = table_slot_create(scan.rel, NULL);
	while (!claimed && (tuple = next_row(&scan, values, nulls)) != NULL)
	{
		if (DatumGetBool(values[CHUNK_DONE]) || DatumGetInt32(values[CHUNK_PASS]) != job->pass)
			continue;
		chunk->tid = tuple->t_self;
		chunk->job = job->id;
		chunk->no = DatumGetInt32(values[CHUNK_NO]);
		chunk->first = (BlockNumber) DatumGetInt64(values[CHUNK_FIRST_BLOCK]);
		chunk->end = (BlockNumber) DatumGetInt64(values[CHUNK_END_BLOCK]);
		claimed = lock_chunk(scan.rel, slot, &chunk->tid);
	}
	ExecDropSingleTupleTableSlot(slot);
	/*
	 * A claimed chunk's place must not change until it is marked: nobody rewrites the table before the transaction's
	 * end.
	 */
	if (claimed)
		scan.mode = NoLock;
	end_scan(&scan);
	return claimed;
}

bool
jobs_claim(const Job *job, int32 after, JobChunk *chunk)
{
	/* From the last one on: those before it are done or claimed, and would be read again each time. */
	return claim_above(job, after, chunk) || (after > 0 && claim_above(job, 0, chunk));
}

void
jobs_mark_done(const JobChunk *chunk, TransactionId xid, int64 rows, int64 skipped)
{
	Relation	rel = open_chunks(RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Datum		values[CHUNK_COLUMNS] = {0};
	bool		nulls[CHUNK_COLUMNS] = {false};
	bool		replaces[CHUNK_COLUMNS] = {false};
	ItemPointerData tid = chunk->tid;
	HeapTuple	tuple;
	bool		should_free;

	if (!table_tuple_fetch_row_version(rel, &tid, GetActiveSnapshot(), slot))
		elog(ERROR, "chunk %d vanished", chunk->no);
	slot_getallattrs(slot);
	if (DatumGetInt32(slot->tts_values[CHUNK_JOB]) != chunk->job || DatumGetInt32(slot->tts_values[CHUNK_NO]) != chunk->no)
		elog(ERROR, "chunk %d is not where it was claimed", chunk->no);
	tuple = ExecFetchSlotHeapTuple(slot, true, &should_free);
	values[CHUNK_DONE] = BoolGetDatum(true);
	values[CHUNK_XID] = TransactionIdGetDatum(xid);
	values[CHUNK_ROWS] = Int64GetDatum(rows);
	values[CHUNK_SKIPPED] = Int64GetDatum(skipped);
	replaces[CHUNK_DONE] = true;
	replaces[CHUNK_XID] = true;
	replaces[CHUNK_ROWS] = true;
	replaces[CHUNK_SKIPPED] = true;
	CatalogTupleUpdate(rel, &tid, heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces));
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

void
jobs_read_xids(int32 id, HTAB *xids)
{
	TableScan	scan;
	Datum		values[CHUNK_COLUMNS];
	bool		nulls[CHUNK_COLUMNS];

	begin_chunk_scan(&scan, id, 0, AccessShareLock);
	while (next_row(&scan, values, nulls) != NULL)
	{
		TransactionId xid = DatumGetTransactionId(values[CHUNK_XID]);

		if (DatumGetBool(values[CHUNK_DONE]))
			(void) hash_search(xids, &xid, HASH_ENTER, NULL);
	}
	end_scan(&scan);
}
