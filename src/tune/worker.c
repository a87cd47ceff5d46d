/*
 * worker.c
 *	  A training in a background worker: started by the caller, who waits until it has begun.
 *
 * The worker connects as the user that the caller connected as, takes over the session's
 * settings, its user and its role, and runs the call as the caller would have.  What is wrong
 * with the call is raised by the caller; what goes wrong later is told by fsi_training and the
 * server's log.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "tune.h"

typedef struct TuneJob
{
	SessionIdentity identity;
	pg_atomic_uint32 begun;
	SessionError error;
	Size		options;		/* offsets of what follows; options 0: none */
	Size		settings;
	Size		name;
	Size		source;
} TuneJob;

/* ---- The caller. ---- */

/* Append to the job's text; where it begins. */
static Size
put(StringInfo out, const void *data, Size len)
{
	Size		at = MAXALIGN(sizeof(TuneJob)) + out->len;

	appendBinaryStringInfo(out, data, (int) len);
	while (out->len % MAXIMUM_ALIGNOF != 0)
		appendStringInfoChar(out, '\0');
	return at;
}

static dsm_segment *
make_job(const char *name, const char *source, const Jsonb *options)
{
	StringInfoData data;
	StringInfoData settings;
	TuneJob		job;
	dsm_segment *segment;

	memset(&job, 0, sizeof(job));
	initStringInfo(&data);
	initStringInfo(&settings);
	session_collect_settings(&settings);
	session_identify(&job.identity);
	job.settings = put(&data, settings.data, settings.len);
	job.name = put(&data, name, strlen(name) + 1);
	job.source = put(&data, source, strlen(source) + 1);
	job.options = put(&data, options, VARSIZE(options));
	segment = dsm_create(MAXALIGN(sizeof(TuneJob)) + data.len, 0);
	dsm_pin_mapping(segment);
	pg_atomic_init_u32(&job.begun, 0);
	memcpy(dsm_segment_address(segment), &job, sizeof(job));
	memcpy((char *) dsm_segment_address(segment) + MAXALIGN(sizeof(TuneJob)), data.data, data.len);
	return segment;
}

/* What the caller does: start a worker and wait. */
typedef struct TuneStart
{
	const char *name;
	dsm_segment *segment;
	BackgroundWorkerHandle *handle;	/* NULL: not started, or left to itself */
} TuneStart;

static void
start(TuneStart *s)
{
	BackgroundWorker worker = {0};

	snprintf(worker.bgw_name, BGW_MAXLEN, "fsi_intent training of %s", s->name);
	strlcpy(worker.bgw_type, "fsi_intent training", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "fsi_train_worker_main", BGW_MAXLEN);
	if (!session_start_worker(&worker, s->segment, &s->handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a background worker for the training"),
				 errhint("Increase max_worker_processes, or train without the option \"background\".")));
}

static void
wait_until_begun(const TuneJob *job, BackgroundWorkerHandle *handle)
{
	while (pg_atomic_read_u32((pg_atomic_uint32 *) &job->begun) == 0)
	{
		pid_t		pid;
		bool		stopped = GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;

		if (job->error.sqlstate != 0)
		{
			pg_read_barrier();
			session_raise_error(&job->error, "background worker of fsi_train()");
		}
		if (stopped)
			ereport(ERROR,
					(errcode(ERRCODE_OPERATOR_INTERVENTION),
					 errmsg("the background worker ended before the training began"),
					 errhint("The server's log says why.")));
		/* The worker wakes this process, and the postmaster where the worker is gone. */
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
start_and_wait(void *arg)
{
	TuneStart  *s = arg;

	start(s);
	wait_until_begun(dsm_segment_address(s->segment), s->handle);
	s->handle = NULL;
}

/* Also on the way out of an error, and of the process: what has not begun is not left to itself. */
static void
end_wait(void *arg)
{
	TuneStart  *s = arg;

	if (s->handle != NULL)
		TerminateBackgroundWorker(s->handle);
	dsm_detach(s->segment);
}

void
tune_start_worker(const char *name, const char *source, Jsonb *options, void (*commit) (void))
{
	TuneStart	s = {.name = name};

	/* The worker may have to read for long: no snapshot is held meanwhile. */
	commit();
	s.segment = make_job(name, source, options);
	session_guard(start_and_wait, end_wait, &s);
	ereport(NOTICE,
			(errmsg("model \"%s\" is being trained in the background", name),
			 errhint("fsi_training shows how far it is, and how it ended.")));
}

/* ---- In the worker. ---- */

static void
wake_caller(void)
{
	PGPROC	   *caller = BackendPidGetProc(MyBgworkerEntry->bgw_notify_pid);

	if (caller != NULL)
		SetLatch(&caller->procLatch);
}

static void
note_begun(void *arg)
{
	TuneJob    *job = arg;

	pg_atomic_write_u32(&job->begun, 1);
	wake_caller();
}

static void
worker_work(TuneJob *job)
{
	TuneRun    *run;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "fsi_intent training", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;

	StartTransactionCommand();
	session_assume(&job->identity, (char *) job + job->settings);
	old = MemoryContextSwitchTo(context);
	run = palloc0(sizeof(TuneRun));
	run->context = context;
	run->commit = session_worker_commit;
	run->started = note_begun;
	run->started_arg = job;
	run->name = pstrdup((char *) job + job->name);
	run->source = pstrdup((char *) job + job->source);
	run->options_given = palloc(VARSIZE((char *) job + job->options));
	memcpy(run->options_given, (char *) job + job->options, VARSIZE((char *) job + job->options));
	pgstat_report_activity(STATE_RUNNING, psprintf("fsi_train(): model %s", run->name));
	tune_run(run);
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
}

void
fsi_train_worker_main(Datum arg)
{
	TuneJob    *job = session_enter(arg, "fsi_intent training");

	if (job == NULL)
		return;
	BackgroundWorkerInitializeConnectionByOid(job->identity.database, job->identity.user, 0);
	PG_TRY();
	{
		worker_work(job);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		session_note_error(&job->error, CopyErrorData());
		wake_caller();
		PG_RE_THROW();
	}
	PG_END_TRY();
}
