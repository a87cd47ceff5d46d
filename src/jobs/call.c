/*
 * call.c
 *	  The procedure fsi_classify_table(): its arguments, its job, the passes over the table; giving a job up.
 *
 * The calling session cuts the table into chunks, starts workers, and works like them.
 * Whatever way it ends, its workers end with it and its hold on the job is let go.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "fsi_sql.h"
#include "jobs.h"

/* Chunks of a pass over younger rows: most blocks have none. */
#define YOUNG_CHUNK_FACTOR 8

/* A chunk that nobody works at and that cannot be claimed is locked from outside. */
#define RETRY_MS 100

enum CallArgument
{
	ARG_TBL,
	ARG_TEXT_COLUMN,
	ARG_TARGET_COLUMN,
	ARG_INTENTS,
	ARG_OPTIONS,
	ARG_CONDITION,
	ARG_WORKERS,
	ARG_CHUNK_ROWS,
	ARG_ROWS_PER_SECOND,
	ARG_RESTART
};

typedef struct JobCall
{
	JobRun		run;
	SessionHold hold;
	SessionHold column;			/* that is written */
	JobWorkers *workers;
	int			n_workers;		/* the caller among them */
	int			chunk_rows;
	double		rate;
	bool		restart;
	bool		temporary;		/* no other process sees the table */
} JobCall;

PG_FUNCTION_INFO_V1(fsi_classify_table);
PG_FUNCTION_INFO_V1(fsi_discard_job);

/* ---- Arguments. ---- */

static void
read_pace(FunctionCallInfo fcinfo, JobCall *call)
{
	args_check_not_null(fcinfo, ARG_WORKERS, "workers");
	args_check_not_null(fcinfo, ARG_CHUNK_ROWS, "chunk_rows");
	args_check_not_null(fcinfo, ARG_RESTART, "restart");
	call->n_workers = PG_GETARG_INT32(ARG_WORKERS);
	call->chunk_rows = PG_GETARG_INT32(ARG_CHUNK_ROWS);
	call->rate = PG_ARGISNULL(ARG_ROWS_PER_SECOND) ? 0 : PG_GETARG_FLOAT8(ARG_ROWS_PER_SECOND);
	call->restart = PG_GETARG_BOOL(ARG_RESTART);
	args_check_range(call->n_workers >= 1 && call->n_workers <= JOBS_MAX_WORKERS, "workers",
					 psprintf("between 1 and %d", JOBS_MAX_WORKERS));
	args_check_range(call->chunk_rows >= 1 && call->chunk_rows <= JOBS_MAX_CHUNK_ROWS, "chunk_rows",
					 psprintf("between 1 and %d", JOBS_MAX_CHUNK_ROWS));
	args_check_range(PG_ARGISNULL(ARG_ROWS_PER_SECOND) || (call->rate >= 1e-3 && call->rate <= 1e9), "rows_per_second",
					 "between 0.001 and 1e9, or null");
}

/* Mistakes in the condition are found before there is a job. */
static void
check_sql(const Job *job)
{
	Oid			types[] = {TIDOID, TIDOID};
	SPIPlanPtr	plan;

	store_keep_schema_name(job->relid);
	plan = SPI_prepare(jobs_read_sql(job), lengthof(types), types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_freeplan(plan);
}

/* What the job is about, checked as fsi_classify() would. */
static void
read_question(FunctionCallInfo fcinfo, Job *job)
{
	ExecQuestion question;

	args_check_not_null(fcinfo, ARG_TBL, "tbl");
	args_check_not_null(fcinfo, ARG_TEXT_COLUMN, "text_column");
	args_check_not_null(fcinfo, ARG_TARGET_COLUMN, "target_column");
	args_check_not_null(fcinfo, ARG_INTENTS, "intents");
	job->relid = PG_GETARG_OID(ARG_TBL);
	job->role = GetUserId();
	job->intents = PG_GETARG_ARRAYTYPE_P_COPY(ARG_INTENTS);
	job->options = PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P_COPY(ARG_OPTIONS);
	job->condition = PG_ARGISNULL(ARG_CONDITION) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(ARG_CONDITION));
	jobs_check_target(job->relid, NameStr(*PG_GETARG_NAME(ARG_TEXT_COLUMN)),
					  NameStr(*PG_GETARG_NAME(ARG_TARGET_COLUMN)), &job->source, &job->target);
	if (job->condition != NULL)
	{
		jobs_check_condition(job->relid, job->condition);
		check_sql(job);
	}
	args_question(job->intents, job->options, &question);
	job->model = pstrdup(question.model->sha256);
}

/* ---- The job: a new one, or the one to go on with. ---- */

/* The argument in which the two differ, or NULL. */
static const char *
difference(const Job *a, const Job *b)
{
	if (a->source != b->source)
		return "text_column";
	if (!datumIsEqual(PointerGetDatum(a->intents), PointerGetDatum(b->intents), false, -1))
		return "intents";
	if ((a->options == NULL) != (b->options == NULL) ||
		(a->options && !datumIsEqual(PointerGetDatum(a->options), PointerGetDatum(b->options), false, -1)))
		return "options";
	if ((a->condition == NULL) != (b->condition == NULL) ||
		(a->condition && strcmp(a->condition, b->condition) != 0))
		return "condition";
	if (strcmp(a->model, b->model) != 0)
		return "the model's weights";
	return NULL;
}

static void
hold_job(JobCall *call, int32 id)
{
	int			pid;

	if (jobs_hold(id, JOBS_HOLD_CALLER, &call->hold, &pid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("table \"%s\" is being classified by another call", call->run.name),
			 session_errdetail_holder(pid),
			 session_errhint_holder(pid, "fsi_progress shows how far it is.")));
}

/* Cut the table as it is now into chunks of a new pass. */
static void
begin_pass(JobCall *call, int round)
{
	Job		   *job = &call->run.job;
	JobLayout	layout;
	double		blocks;

	/* A partition whose detaching is pending is seen without a snapshot, and not by those who take chunks. */
	PushActiveSnapshot(GetLatestSnapshot());
	jobs_layout(job, AccessShareLock, &layout);
	PopActiveSnapshot();
	job->pass++;
	job->round = round;
	job->files = (ArrayType *) DatumGetPointer(datumCopy(PointerGetDatum(layout.files), false, -1));
	job->rows_estimate = layout.rows;
	jobs_store(job);
	/* A chunk should not take much longer than a second where there is a rate. */
	blocks = (call->rate > 0 ? Min(call->rate, call->chunk_rows) : call->chunk_rows) / Max(layout.density, 1e-3);
	if (round > 0)
		blocks *= YOUNG_CHUNK_FACTOR;
	blocks = Max(1, Min(floor(blocks), layout.blocks));
	jobs_cut(job, layout.blocks, (BlockNumber) blocks);
	call->run.after = 0;
}

static void
begin_job(JobCall *call)
{
	Job		   *job = &call->run.job;

	/* Before the table is looked at: what older ones added lies in the blocks that are cut. */
	job->base = jobs_full_xid(GetLatestSnapshot()->xmin);
	job->files = construct_empty_array(OIDOID);
	job->started = job->resumed = GetCurrentTimestamp();
	jobs_insert(job);
	hold_job(call, job->id);
	begin_pass(call, 0);
}

static void
resume_job(JobCall *call, const Job *found)
{
	JobTotals	totals;
	Job			still;

	hold_job(call, found->id);
	/* It may have been discarded until just now. */
	if (!jobs_find_id(found->id, &still))
	{
		session_let_go(&call->hold);
		begin_job(call);
		return;
	}
	jobs_totals(found, &totals);
	call->run.job = *found;
	call->run.job.rows_before = totals.rows;
	call->run.job.resumed = GetCurrentTimestamp();
	jobs_store(&call->run.job);
	ereport(NOTICE,
			(errmsg_plural("going on with job %d: " INT64_FORMAT " row of table \"%s\" is done",
						   "going on with job %d: " INT64_FORMAT " rows of table \"%s\" are done",
						   (unsigned long) totals.rows, found->id, totals.rows, call->run.name)));
}

static void
replace_job(JobCall *call, int32 id)
{
	hold_job(call, id);
	jobs_delete(id);
	session_let_go(&call->hold);
	begin_job(call);
}

static void
find_or_begin_job(JobCall *call)
{
	Job		   *job = &call->run.job;
	Job			found;
	JobTotals	totals;
	const char *differs;

	list_free(jobs_lock_tree(job, AccessShareLock));
	jobs_lock(job);
	jobs_purge();
	if (!jobs_find(job->relid, job->target, job->role, &found))
	{
		begin_job(call);
		return;
	}
	jobs_totals(&found, &totals);
	differs = difference(&found, job);
	if (call->restart || (differs != NULL && totals.rows == 0))
	{
		replace_job(call, found.id);
		return;
	}
	if (differs != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has an unfinished job with other arguments", call->run.name),
				 errdetail("Job %d differs in %s.", found.id, differs),
				 errhint("Repeat the call as it was to go on with it, or begin anew with restart => true.")));
	resume_job(call, &found);
}

/* Roles have jobs of their own; what they write is one column. */
static void
hold_column(JobCall *call)
{
	const Job  *job = &call->run.job;
	int			pid;

	if (session_hold(job->relid, (Oid) job->target, ExclusiveLock, &call->column, &pid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("column \"%s\" of table \"%s\" is being written by another call",
					get_attname(job->relid, job->target, false), call->run.name),
			 session_errdetail_holder(pid)));
}

/* ---- The passes. ---- */

static void
caller_commit(void)
{
	SPI_commit();
}

static void
check_workers(void *workers)
{
	jobs_workers_check(workers);
}

static JobOutcome
run_pass(JobCall *call, const JobTotals *totals)
{
	JobOutcome	outcome;

	/* The caller takes a chunk itself. */
	jobs_workers_start(call->workers, Min(call->n_workers, totals->pending) - 1);
	outcome = jobs_work(&call->run, check_workers, call->workers);
	jobs_workers_wait(call->workers);
	return outcome;
}

/* Nobody of this job is at work: whose lock is on the chunks that are left? */
static void
wait_for_chunks(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, RETRY_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
run_passes(JobCall *call)
{
	Job		   *job = &call->run.job;

	for (;;)
	{
		JobTotals	totals;
		JobOutcome	outcome;
		int64		rows = call->run.rows;

		jobs_totals(job, &totals);
		caller_commit();
		call->run.shared->expected = job->round > 0 ? 0 : Min(call->chunk_rows, call->rate);
		outcome = run_pass(call, &totals);
		jobs_totals(job, &totals);
		if (outcome == JOB_OTHER_FILES)
			begin_pass(call, 0);
		else if (totals.pending > 0)
		{
			if (call->run.rows == rows)
				wait_for_chunks();
		}
		else if (job->round == 0 || (totals.skipped > 0 && job->round < JOBS_MAX_ROUNDS))
			begin_pass(call, job->round + 1);
		else
			break;
	}
}

/* ---- The call. ---- */

static void
report_end(JobCall *call, int64 rows)
{
	uint64		shortened = pg_atomic_read_u64(&call->run.shared->shortened);

	if (shortened > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg_plural(UINT64_FORMAT " message was longer than the model reads",
							   UINT64_FORMAT " messages were longer than the model reads",
							   (unsigned long) shortened, shortened),
				 errdetail("Head and tail were read.")));
	ereport(NOTICE,
			(errmsg_plural("classified " INT64_FORMAT " row of table \"%s\" in %.1f s",
						   "classified " INT64_FORMAT " rows of table \"%s\" in %.1f s",
						   (unsigned long) rows, rows, call->run.name,
						   TimestampDifferenceMilliseconds(call->run.job.resumed, GetCurrentTimestamp()) / 1000.0)));
}

static void
run_job(void *arg)
{
	JobCall    *call = arg;
	Job		   *job = &call->run.job;
	JobTotals	totals;
	int64		before;
	MemoryContext old = MemoryContextSwitchTo(call->run.context);

	find_or_begin_job(call);
	hold_column(call);
	before = job->rows_before;
	caller_commit();
	/* Settings as they are from now on: SET LOCAL has ended. */
	call->workers = jobs_workers_prepare(call->temporary ? 0 : call->n_workers - 1, job->id, call->rate,
										 &call->run.shared);
	jobs_run_init(&call->run, call->run.shared);
	run_passes(call);
	jobs_totals(job, &totals);
	jobs_delete(job->id);
	caller_commit();
	report_end(call, totals.rows - before);
	MemoryContextSwitchTo(old);
}

/* Also on the way out of an error, and of the process. */
static void
end_call(void *arg)
{
	JobCall    *call = arg;

	LockErrorCleanup();
	if (call->workers != NULL)
		jobs_workers_end(call->workers, !proc_exit_inprogress);
	jobs_run_end(&call->run);
	session_let_go(&call->hold);
	session_let_go(&call->column);
}

Datum
fsi_classify_table(PG_FUNCTION_ARGS)
{
	JobCall    *call;
	MemoryContext context;
	MemoryContext old;

	session_check_not_atomic(fcinfo, "fsi_classify_table", "It commits after each chunk.");
	PreventCommandIfReadOnly("fsi_classify_table()");
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	/*
	 * Commits leave it alone.  It is not the portal's, for a process that ends may undo its transaction, and all portals
	 * with it, before it comes to end_call(): so does the callback of its first temporary table.
	 */
	context = AllocSetContextCreate(TopMemoryContext, "fsi_intent job", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	PG_TRY();
	{
		call = palloc0(sizeof(JobCall));
		call->run.context = context;
		call->run.commit = caller_commit;
		read_pace(fcinfo, call);
		read_question(fcinfo, &call->run.job);
		call->run.name = get_rel_name(call->run.job.relid);
		call->temporary = get_rel_persistence(call->run.job.relid) == RELPERSISTENCE_TEMP;
		session_guard(run_job, end_call, call);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}

/* Forget an unfinished job; what it has written stays. */
Datum
fsi_discard_job(PG_FUNCTION_ARGS)
{
	int32		id = PG_GETARG_INT32(0);
	Job			job;
	SessionHold hold;
	int			pid;

	PreventCommandIfReadOnly("fsi_discard_job()");
	if (!jobs_find_id(id, &job))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job %d does not exist", id),
				 errhint("fsi_progress shows the unfinished jobs.")));
	if (!has_privs_of_role(GetUserId(), job.role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for job %d", id)));
	if (!jobs_hold(id, JOBS_HOLD_CALLER, &hold, &pid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("job %d is at work", id),
				 session_errdetail_holder(pid),
				 session_errhint_holder(pid, "Cancel it first.")));
	session_keep_until_commit(&hold);
	jobs_delete(id);
	PG_RETURN_VOID();
}
