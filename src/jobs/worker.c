/*
 * worker.c
 *	  Background workers of a job: started and stopped by the caller, at work like the caller.
 *
 * A worker connects as the user that the caller connected as, takes over the session's settings,
 * its user and its role, in that order, and claims chunks until there are none.  An error ends it; the caller raises it
 * in its own name and stops the others.  Messages below ERROR go to the server's log:
 * a queue to the caller could fill while the caller waits for a lock that the worker holds.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "jobs.h"

/* The postmaster tells of every start and end; this is for the case that it cannot. */
#define WAIT_MS 1000

/* Workers stop within a layer of the model; a caller that was cancelled waits no longer than this. */
#define END_STEP_MS 10
#define END_STEPS 500

struct JobWorkers
{
	MemoryContext context;
	dsm_segment *segment;		/* NULL: no workers */
	JobShared  *shared;
	int			n;				/* started in this pass */
	bool		warned;			/* about too few */
	BackgroundWorkerHandle **handles;
};

/* In the current memory context; the segment outlives transactions. */
JobWorkers *
jobs_workers_prepare(int n_workers, int32 job, double rate, JobShared **shared)
{
	JobWorkers *workers = palloc0(sizeof(JobWorkers));
	StringInfoData settings;

	workers->context = CurrentMemoryContext;
	if (n_workers == 0)
	{
		workers->shared = palloc(jobs_shared_size(0, 0));
		jobs_shared_init(workers->shared, job, rate, 0, NULL);
	}
	else
	{
		initStringInfo(&settings);
		session_collect_settings(&settings);
		workers->handles = palloc0(sizeof(BackgroundWorkerHandle *) * n_workers);
		/* What may fail comes before: pinned, it stays until somebody lets go of it. */
		workers->segment = dsm_create(jobs_shared_size(n_workers, settings.len), 0);
		dsm_pin_mapping(workers->segment);
		workers->shared = dsm_segment_address(workers->segment);
		jobs_shared_init(workers->shared, job, rate, n_workers, &settings);
		pfree(settings.data);
	}
	*shared = workers->shared;
	return workers;
}

static bool
start_worker(JobWorkers *workers, int i)
{
	BackgroundWorker worker = {0};

	snprintf(worker.bgw_name, BGW_MAXLEN, "fsi_intent job %d worker %d", workers->shared->job, i + 1);
	strlcpy(worker.bgw_type, "fsi_intent worker", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "fsi_jobs_worker_main", BGW_MAXLEN);
	memcpy(worker.bgw_extra, &i, sizeof(i));
	return session_start_worker(&worker, workers->segment, &workers->handles[i]);
}

void
jobs_workers_start(JobWorkers *workers, int n)
{
	n = Min(n, workers->shared->n_workers);
	memset(workers->shared->workers, 0, sizeof(JobWorkerState) * workers->shared->n_workers);
	for (workers->n = 0; workers->n < n; workers->n++)
	{
		MemoryContext old = MemoryContextSwitchTo(workers->context);
		bool		started = start_worker(workers, workers->n);

		MemoryContextSwitchTo(old);
		if (!started)
			break;
	}
	if (workers->n < n && !workers->warned)
	{
		workers->warned = true;
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("only %d of %d background workers could be started", workers->n, n),
				 errhint("The others' share is done by the rest. Consider increasing max_worker_processes.")));
	}
}

static bool
has_stopped(BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	return GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
}

void
jobs_workers_check(JobWorkers *workers)
{
	for (int i = 0; i < workers->n; i++)
	{
		const JobWorkerState *state = &workers->shared->workers[i];

		if (state->error.sqlstate != 0)
		{
			pg_read_barrier();
			session_raise_error(&state->error, psprintf("background worker of job %d", workers->shared->job));
		}
	}
}

/* Until all have stopped; one that ended too early has left its chunk to the others. */
void
jobs_workers_wait(JobWorkers *workers)
{
	for (int i = 0; i < workers->n; i++)
	{
		while (!has_stopped(workers->handles[i]))
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, WAIT_MS, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
			jobs_workers_check(workers);
		}
	}
	jobs_workers_check(workers);
	for (int i = 0; i < workers->n; i++)
	{
		if (!workers->shared->workers[i].finished)
			ereport(WARNING,
					(errcode(ERRCODE_OPERATOR_INTERVENTION),
					 errmsg("a background worker of job %d ended before its work was done", workers->shared->job),
					 errdetail("Its last chunk was not committed and is done again."),
					 errhint("The server's log says why it ended.")));
		pfree(workers->handles[i]);
	}
	workers->n = 0;
}

void
jobs_workers_end(JobWorkers *workers, bool wait)
{
	for (int i = 0; i < workers->n; i++)
		TerminateBackgroundWorker(workers->handles[i]);
	for (int step = 0, i = 0; wait && i < workers->n && step < END_STEPS; step++)
	{
		while (i < workers->n && has_stopped(workers->handles[i]))
			i++;
		if (i == workers->n)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, END_STEP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	workers->n = 0;
	if (workers->segment != NULL)
		dsm_detach(workers->segment);
	workers->segment = NULL;
}

/* ---- In the worker. ---- */

typedef struct JobWorker
{
	JobShared  *shared;
	JobRun		run;
	SessionHold hold;
} JobWorker;

static void
worker_work(void *arg)
{
	JobWorker  *w = arg;
	JobShared  *shared = w->shared;
	int			pid;
	MemoryContext old;

	StartTransactionCommand();
	w->run.context = AllocSetContextCreate(TopMemoryContext, "fsi_intent job", ALLOCSET_DEFAULT_SIZES);
	w->run.commit = session_worker_commit;
	session_assume(&shared->identity, (char *) shared + shared->settings);
	old = MemoryContextSwitchTo(w->run.context);
	jobs_load(shared->job, &w->run.job);
	MemoryContextSwitchTo(old);
	jobs_run_init(&w->run, shared);
	(void) jobs_hold(shared->job, JOBS_HOLD_WORKER, &w->hold, &pid);
	session_worker_commit();
	pgstat_report_activity(STATE_RUNNING, psprintf("fsi_classify_table(): job %d", shared->job));
	(void) jobs_work(&w->run, NULL, NULL);
	jobs_run_end(&w->run);
	session_let_go(&w->hold);
	CommitTransactionCommand();
}

/* Nobody else lets go of a session's lock where the process ends between two transactions. */
static void
worker_end(void *arg)
{
	JobWorker  *w = arg;

	LockErrorCleanup();
	session_let_go(&w->hold);
}

void
fsi_jobs_worker_main(Datum arg)
{
	JobShared  *shared = session_enter(arg, "fsi_intent worker");
	JobWorker	worker = {.shared = shared};
	JobWorkerState *state;
	int			no;

	/* its job has gone with the caller */
	if (shared == NULL)
		return;
	memcpy(&no, MyBgworkerEntry->bgw_extra, sizeof(no));
	state = &shared->workers[no];
	BackgroundWorkerInitializeConnectionByOid(shared->identity.database, shared->identity.user, 0);
	PG_TRY();
	{
		session_guard(worker_work, worker_end, &worker);
		state->finished = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		session_note_error(&state->error, CopyErrorData());
		PG_RE_THROW();
	}
	PG_END_TRY();
}
