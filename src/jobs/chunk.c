/*
 * chunk.c
 *	  A process at work on a job: claim a chunk, read its rows, classify them, write the answers.
 *
 * A chunk is one transaction with one subtransaction in it, so that a deadlock with
 * somebody else's update costs the chunk and not the job.  The subtransaction's number is
 * the xmin of what the chunk wrote: fsi_jobs.h says what that is good for.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fsi_sql.h"
#include "jobs.h"

/* Rows in memory at once: some batches of the model's, whatever a chunk is. */
#define FETCH_ROWS 512

/* Deadlocks that one chunk may meet. */
#define MAX_TRIES 10
/* After each, times their number: the others are to get the rows, and do not run at once on a busy machine. */
#define PAUSE_MS 500

enum ReadColumn
{
	READ_TABLEOID = 1,
	READ_CTID,
	READ_XMIN,
	READ_TEXT,
	READ_TARGET
};

/* Rows of one fetch that are due, as many as work_mem holds the texts of. */
typedef struct ChunkRows
{
	int			n;
	Datum	   *tbl;
	Datum	   *tid;
	Datum	   *xmin;
	text	  **message;		/* NULL: no text */
	text	  **old;			/* what the target holds, or NULL */
} ChunkRows;

/* Answers that differ from what the target holds, as arguments of the UPDATE. */
typedef struct ChunkAnswers
{
	int			n;
	Datum	   *tbl;
	Datum	   *tid;
	Datum	   *xmin;
	Datum	   *answer;
	bool	   *isnull;
} ChunkAnswers;

void
jobs_run_init(JobRun *run, JobShared *shared)
{
	HASHCTL		ctl = {0};
	MemoryContext old = MemoryContextSwitchTo(run->context);

	run->shared = shared;
	ctl.keysize = sizeof(TransactionId);
	ctl.entrysize = sizeof(TransactionId);
	ctl.hcxt = run->context;
	run->xids = hash_create("fsi_intent job transactions", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* Counted for all processes, and said once. */
	run->slot.warned = true;
	MemoryContextSwitchTo(old);
}

static void
forget_plan(JobPlan *plan)
{
	if (plan->plan != NULL)
		SPI_freeplan(plan->plan);
	if (plan->sql != NULL)
		pfree(plan->sql);
	plan->plan = NULL;
	plan->sql = NULL;
}

void
jobs_run_end(JobRun *run)
{
	forget_plan(&run->read);
	forget_plan(&run->write);
}

/* The plan for sql, kept while the text stays the same. */
static SPIPlanPtr
get_plan(JobRun *run, JobPlan *kept, char *sql, int n, Oid *types)
{
	if (kept->plan != NULL && strcmp(kept->sql, sql) == 0)
		return kept->plan;
	forget_plan(kept);
	kept->plan = SPI_prepare_cursor(sql, n, types, CURSOR_OPT_NO_SCROLL);
	if (kept->plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(kept->plan);
	kept->sql = MemoryContextStrdup(run->context, sql);
	return kept->plan;
}

FullTransactionId
jobs_full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next) && epoch > 0)
		epoch--;
	return FullTransactionIdFromEpochAndXid(epoch, xid);
}

/*
 * Whether a frozen row may be older than the last transaction that had its xmin's number.  That
 * takes four thousand million transactions; then such a row counts as not finished.
 */
static bool
may_be_ancient(Oid relid, ItemPointer tid)
{
	Relation	rel;
	TupleTableSlot *slot;
	bool		frozen = true;

	if (EpochFromFullTransactionId(ReadNextFullTransactionId()) == 0)
		return false;
	rel = table_open(relid, NoLock);
	slot = table_slot_create(rel, NULL);
	if (table_tuple_fetch_row_version(rel, tid, SnapshotAny, slot))
	{
		bool		should_free;

		frozen = HeapTupleHeaderXminFrozen(ExecFetchSlotHeapTuple(slot, false, &should_free)->t_data);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return frozen;
}

/* A chunk's row is committed with what it wrote: what was seen of one is seen of the other. */
static bool
is_written_by_job(JobRun *run, TransactionId xmin)
{
	if (hash_search(run->xids, &xmin, HASH_FIND, NULL) != NULL)
		return true;
	if (run->xids_fresh)
		return false;
	jobs_read_xids(run->job.id, run->xids);
	run->xids_fresh = true;
	return hash_search(run->xids, &xmin, HASH_FIND, NULL) != NULL;
}

static bool
is_due(JobRun *run, Oid relid, ItemPointer tid, TransactionId xmin)
{
	if (FullTransactionIdPrecedes(jobs_full_xid(xmin), run->job.base))
		return run->job.round == 0;
	return !is_written_by_job(run, xmin) || may_be_ancient(relid, tid);
}

/* From row *at of a fetch on; *at becomes the first that did not fit. */
static void
collect_rows(JobRun *run, SPITupleTable *table, int *at, ChunkRows *rows)
{
	int			n = (int) table->numvals;
	Size		bytes = 0;

	rows->n = 0;
	rows->tbl = palloc(sizeof(Datum) * n);
	rows->tid = palloc(sizeof(Datum) * n);
	rows->xmin = palloc(sizeof(Datum) * n);
	rows->message = palloc(sizeof(text *) * n);
	rows->old = palloc(sizeof(text *) * n);
	run->xids_fresh = false;
	for (; *at < n && bytes <= (Size) work_mem * 1024; (*at)++)
	{
		int			i = *at;
		bool		no_row;
		bool		no_text;
		bool		no_target;
		Datum		tbl = SPI_getbinval(table->vals[i], table->tupdesc, READ_TABLEOID, &no_row);
		Datum		tid = SPI_getbinval(table->vals[i], table->tupdesc, READ_CTID, &no_row);
		Datum		xmin = SPI_getbinval(table->vals[i], table->tupdesc, READ_XMIN, &no_row);
		Datum		message = SPI_getbinval(table->vals[i], table->tupdesc, READ_TEXT, &no_text);
		Datum		target = SPI_getbinval(table->vals[i], table->tupdesc, READ_TARGET, &no_target);

		if (!is_due(run, DatumGetObjectId(tbl), (ItemPointer) DatumGetPointer(tid), DatumGetTransactionId(xmin)))
			continue;
		rows->tbl[rows->n] = tbl;
		rows->tid[rows->n] = tid;
		rows->xmin[rows->n] = xmin;
		rows->message[rows->n] = no_text ? NULL : DatumGetTextPP(message);
		rows->old[rows->n] = no_target ? NULL : DatumGetTextPP(target);
		bytes += (no_text ? 0 : VARSIZE_ANY(rows->message[rows->n])) + (no_target ? 0 : VARSIZE_ANY(rows->old[rows->n]));
		rows->n++;
	}
}

/* The answer of each row; NULL: none. */
static const text **
classify_rows(JobRun *run, const ChunkRows *rows)
{
	ExecSet    *set = args_set(&run->slot, run->job.intents, run->job.options);
	const text **labels = palloc0(sizeof(text *) * rows->n);
	HostText   *messages = palloc(sizeof(HostText) * rows->n);
	ExecAnswer *answers = palloc(sizeof(ExecAnswer) * rows->n);
	int			n = 0;

	for (int i = 0; i < rows->n; i++)
		if (rows->message[i] != NULL)
			messages[n++] = host_utf8_text(rows->message[i]);
	/* A name may come to stand for other weights (fsi_train's option "replace"). */
	if (strcmp(exec_model(set)->sha256, run->job.model) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" was replaced while table \"%s\" was classified",
						exec_model_name(set), get_rel_name(run->job.relid)),
				 errhint("Begin anew with restart => true.")));
	exec_classify(set, &run->slot, n, messages, answers, NULL);
	n = 0;
	for (int i = 0; i < rows->n; i++)
	{
		const ExecAnswer *answer;

		if (rows->message[i] == NULL)
			continue;
		answer = &answers[n++];
		if (answer->label != EXEC_NO_ANSWER)
			labels[i] = exec_label(set, answer->label);
		if (answer->shortened)
			(void) pg_atomic_fetch_add_u64(&run->shared->shortened, 1);
	}
	return labels;
}

static bool
same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static void
collect_answers(const ChunkRows *rows, const text **labels, ChunkAnswers *out)
{
	out->n = 0;
	out->tbl = palloc(sizeof(Datum) * rows->n);
	out->tid = palloc(sizeof(Datum) * rows->n);
	out->xmin = palloc(sizeof(Datum) * rows->n);
	out->answer = palloc(sizeof(Datum) * rows->n);
	out->isnull = palloc(sizeof(bool) * rows->n);
	for (int i = 0; i < rows->n; i++)
	{
		if (same_text(labels[i], rows->old[i]))
			continue;
		out->tbl[out->n] = rows->tbl[i];
		out->tid[out->n] = rows->tid[i];
		out->xmin[out->n] = rows->xmin[i];
		out->answer[out->n] = PointerGetDatum(labels[i]);
		out->isnull[out->n] = labels[i] == NULL;
		out->n++;
	}
}

static Datum
array_of(Datum *values, bool *isnull, int n, Oid type, int16 len, bool byval, char align)
{
	int			dims[1] = {n};
	int			lower[1] = {1};

	return PointerGetDatum(construct_md_array(values, isnull, 1, dims, lower, type, len, byval, align));
}

/* Write the answers; how many rows were not as they had been read, or were kept by a trigger. */
static int64
write_answers(JobRun *run, const ChunkAnswers *a)
{
	Oid			types[] = {OIDARRAYOID, TIDARRAYOID, XIDARRAYOID, TEXTARRAYOID, TIDOID, TIDOID};
	SPIPlanPtr	plan = get_plan(run, &run->write, jobs_write_sql(&run->job), lengthof(types), types);
	ItemPointer low = (ItemPointer) DatumGetPointer(a->tid[0]);
	ItemPointer high = low;
	Datum		values[lengthof(types)];
	int			rc;

	for (int i = 1; i < a->n; i++)
	{
		ItemPointer tid = (ItemPointer) DatumGetPointer(a->tid[i]);

		if (ItemPointerCompare(tid, low) < 0)
			low = tid;
		if (ItemPointerCompare(tid, high) > 0)
			high = tid;
	}
	values[0] = array_of(a->tbl, NULL, a->n, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
	values[1] = array_of(a->tid, NULL, a->n, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
	values[2] = array_of(a->xmin, NULL, a->n, XIDOID, sizeof(TransactionId), true, TYPALIGN_INT);
	values[3] = array_of(a->answer, a->isnull, a->n, TEXTOID, -1, false, TYPALIGN_INT);
	values[4] = PointerGetDatum(low);
	values[5] = PointerGetDatum(high);
	rc = SPI_execute_plan(plan, values, NULL, false, 0);
	if (rc != SPI_OK_UPDATE)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return a->n - (int64) SPI_processed;
}

static void
work_through_part(JobRun *run, SPITupleTable *table, int *at, int64 *n_rows, int64 *n_skipped)
{
	ChunkRows	rows;
	ChunkAnswers answers;

	collect_rows(run, table, at, &rows);
	if (rows.n == 0)
		return;
	collect_answers(&rows, classify_rows(run, &rows), &answers);
	if (answers.n > 0)
	{
		int64		skipped = write_answers(run, &answers);

		*n_skipped += skipped;
		*n_rows -= skipped;
	}
	*n_rows += rows.n;
}

static void
work_through_chunk(JobRun *run, const JobChunk *chunk)
{
	Oid			types[] = {TIDOID, TIDOID};
	ItemPointerData first;
	ItemPointerData end;
	Datum		values[2];
	Portal		portal;
	MemoryContext context;
	int64		rows = 0;
	int64		skipped = 0;

	SPI_connect();
	context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent fetch", ALLOCSET_DEFAULT_SIZES);
	ItemPointerSet(&first, chunk->first, 0);
	ItemPointerSet(&end, chunk->end, 0);
	values[0] = PointerGetDatum(&first);
	values[1] = PointerGetDatum(&end);
	portal = SPI_cursor_open(NULL, get_plan(run, &run->read, jobs_read_sql(&run->job), lengthof(types), types),
							 values, NULL, false);
	/* What the rows' triggers and columns call may close all cursors, but none that is pinned. */
	PinPortal(portal);
	for (;;)
	{
		SPITupleTable *table;
		MemoryContext old;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		table = SPI_tuptable;
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(context);
		for (int at = 0; at < (int) table->numvals;)
		{
			work_through_part(run, table, &at, &rows, &skipped);
			MemoryContextReset(context);
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(table);
	}
	UnpinPortal(portal);
	SPI_cursor_close(portal);
	SPI_finish();
	jobs_mark_done(chunk, GetCurrentTransactionId(), rows, skipped);
	run->rows += rows;
}

/* The subtransaction's work.  The files are compared first, and under a lock that keeps them as they are. */
static JobOutcome
try_chunk(JobRun *run)
{
	JobLayout	layout;
	JobChunk	chunk;
	JobOutcome	outcome;

	PushActiveSnapshot(GetTransactionSnapshot());
	jobs_layout(&run->job, RowExclusiveLock, &layout);
	if (!datumIsEqual(PointerGetDatum(layout.files), PointerGetDatum(run->job.files), false, -1))
		outcome = JOB_OTHER_FILES;
	else if (!jobs_claim(&run->job, run->after, &chunk))
		outcome = JOB_NO_CHUNK;
	else
	{
		run->after = chunk.no;
		store_keep_schema_name(run->job.relid);
		work_through_chunk(run, &chunk);
		outcome = JOB_CHUNK;
	}
	PopActiveSnapshot();
	return outcome;
}

static bool
is_worth_a_try(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/* Claim and work through a chunk, in the current transaction. */
static JobOutcome
one_chunk(JobRun *run)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile JobOutcome outcome = JOB_CHUNK;
	int64		rows = run->rows;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		outcome = try_chunk(run);
		ReleaseCurrentSubTransaction();
		run->tries = 0;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!is_worth_a_try(error) || ++run->tries > MAX_TRIES)
			ReThrowError(error);
		FreeErrorData(error);
		run->rows = rows;
		run->not_before = jobs_clock() + run->tries * PAUSE_MS * INT64CONST(1000);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return outcome;
}

JobOutcome
jobs_work(JobRun *run, void (*check) (void *), void *arg)
{
	JobOutcome	outcome;

	do
	{
		int64		before = run->rows;
		MemoryContext context;
		MemoryContext old;

		jobs_pace(run->shared, run->not_before, check, arg);
		/* Each statement sees what was committed before it, whatever the session's default is. */
		XactIsoLevel = XACT_READ_COMMITTED;
		context = AllocSetContextCreate(run->context, "fsi_intent chunk", ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(context);
		outcome = one_chunk(run);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		run->commit();
		jobs_paced(run->shared, run->rows - before);
	} while (outcome == JOB_CHUNK);
	return outcome;
}
