/*
 * jobs.h
 *	  Between the files of the jobs room: a job, its chunks, a process at work on it.
 */
#ifndef JOBS_H
#define JOBS_H

#include "postgres.h"

#include "access/transam.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/block.h"
#include "storage/itemptr.h"
#include "storage/lock.h"
#include "storage/spin.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_jobs.h"
#include "fsi_session.h"
#include "fsi_store.h"

/* A row of _fsi_job.  relid, target and role find it; source to model must be the same to go on with it. */
typedef struct Job
{
	int32		id;
	Oid			relid;
	AttrNumber	target;
	Oid			role;
	AttrNumber	source;
	ArrayType  *intents;
	Jsonb	   *options;		/* or NULL */
	char	   *condition;		/* or NULL */
	char	   *model;			/* identity of the weights */
	FullTransactionId base;		/* oldest that ran when the job began */
	ArrayType  *files;			/* what the blocks belong to: jobs_layout() */
	int32		pass;			/* 1, 2, ... */
	int32		round;			/* 0: a pass over all rows; 1, ...: over younger ones */
	double		rows_estimate;
	int64		rows_before;	/* done before this run */
	TimestampTz started;
	TimestampTz resumed;
} Job;

/* A claimed row of _fsi_job_chunk. */
typedef struct JobChunk
{
	ItemPointerData tid;
	int32		job;
	int32		no;
	BlockNumber first;
	BlockNumber end;
} JobChunk;

typedef struct JobTotals
{
	int64		rows;			/* done in all passes */
	int64		skipped;		/* rows left out in this pass */
	int32		pending;		/* chunks of this pass that are not done */
	int32		last;			/* highest chunk number */
} JobTotals;

#define JOBS_HOLD_CALLER ShareUpdateExclusiveLock
#define JOBS_HOLD_WORKER AccessShareLock

/* --- table.c: the job's own tables, below SQL --- */

extern void jobs_lock(const Job *job);
extern bool jobs_find(Oid relid, AttrNumber target, Oid role, Job *job);
extern bool jobs_find_id(int32 id, Job *job);
extern void jobs_load(int32 id, Job *job);
extern void jobs_insert(Job *job);
extern void jobs_store(const Job *job);
extern void jobs_delete(int32 id);
/* Delete the jobs whose table, column or role is no more. */
extern void jobs_purge(void);
/*
 * Hold the job until it is let go or the process ends: the caller in a way that keeps other
 * callers off, workers beside it.  False: another caller does, whose process is *pid (0: unknown).
 */
extern bool jobs_hold(int32 id, LOCKMODE mode, SessionHold *hold, int *pid);

extern void jobs_totals(const Job *job, JobTotals *totals);
/* Forget what is not done, and cut blocks [0, n_blocks) into chunks of the job's pass. */
extern void jobs_cut(const Job *job, BlockNumber n_blocks, BlockNumber chunk_blocks);
/* Claim a chunk of the job's pass, from behind that number on; false: none is left. */
extern bool jobs_claim(const Job *job, int32 after, JobChunk *chunk);
extern void jobs_mark_done(const JobChunk *chunk, TransactionId xid, int64 rows, int64 skipped);
/* Add the transactions of all chunks that are done. */
extern void jobs_read_xids(int32 id, HTAB *xids);

/* --- target.c: the user's table --- */

typedef struct JobLayout
{
	ArrayType  *files;			/* relation and file of each table with storage, in order */
	BlockNumber blocks;			/* of the longest */
	double		rows;			/* estimate, of all */
	double		density;		/* estimate of the rows that a block number has, over all */
} JobLayout;

/* Errors for what cannot be classified; columns by number. */
extern void jobs_check_target(Oid relid, const char *source, const char *target, AttrNumber *source_no,
							  AttrNumber *target_no);
extern void jobs_check_condition(Oid relid, const char *condition);
/* Lock the table and all below it: whoever waits for one of them should hold nothing that others want. */
extern List *jobs_lock_tree(const Job *job, LOCKMODE mode);
/* Do so, and look at their files. */
extern void jobs_layout(const Job *job, LOCKMODE mode, JobLayout *layout);
/* SQL that reads a range of blocks ($1, $2), and that updates rows (arrays $1 to $4, ctid range $5, $6). */
extern char *jobs_read_sql(const Job *job);
extern char *jobs_write_sql(const Job *job);

/* --- shared.c: what the processes of a run share --- */

typedef struct JobWorkerState
{
	bool		finished;		/* ended as it should */
	SessionError error;			/* that it ended with */
} JobWorkerState;

typedef struct JobShared
{
	int32		job;
	SessionIdentity identity;
	pg_atomic_uint64 shortened; /* messages that were longer than the model reads */
	double		rate;			/* rows per second; 0: as fast as it goes */
	double		expected;		/* rows of a chunk of this pass */
	slock_t		mutex;			/* of next */
	int64		next;			/* when the next chunk may begin, by jobs_clock() */
	int			n_workers;
	Size		settings;		/* offset of name, value, name, value, ... "" */
	JobWorkerState workers[FLEXIBLE_ARRAY_MEMBER];
} JobShared;

extern Size jobs_shared_size(int n_workers, Size settings_len);
extern void jobs_shared_init(JobShared *shared, int32 job, double rate, int n_workers, const StringInfoData *settings);
/* Microseconds since some moment, the same one for all processes. */
extern int64 jobs_clock(void);
/* Wait for a turn to do a chunk, and until then, looking around with check() (or NULL); then say how many rows it was. */
extern void jobs_pace(JobShared *shared, int64 not_before, void (*check) (void *), void *arg);
extern void jobs_paced(JobShared *shared, int64 rows);

/* --- chunk.c: a process at work --- */

typedef struct JobPlan
{
	char	   *sql;
	SPIPlanPtr	plan;
} JobPlan;

typedef struct JobRun
{
	MemoryContext context;		/* lives as long as the run */
	Job			job;
	char	   *name;			/* of the table, for messages */
	JobShared  *shared;
	void		(*commit) (void);	/* end the transaction and begin another */
	int32		after;			/* chunk claimed last */
	int			tries;			/* of a chunk that met deadlocks */
	int64		not_before;		/* when the next one may begin, by jobs_clock() */
	int64		rows;			/* done by this process, committed or about to be */
	ExecSlot	slot;
	JobPlan		read;
	JobPlan		write;
	HTAB	   *xids;			/* transactions of chunks that are done, as far as read */
	bool		xids_fresh;		/* read since the chunk's rows were */
} JobRun;

typedef enum JobOutcome { JOB_CHUNK, JOB_NO_CHUNK, JOB_OTHER_FILES } JobOutcome;

/* The last transaction up to now that had this number. */
extern FullTransactionId jobs_full_xid(TransactionId xid);
/* Of a run that has its context, job and commit. */
extern void jobs_run_init(JobRun *run, JobShared *shared);
/* Claim and work through chunks, each a transaction, until none is left or check() raises an error. */
extern JobOutcome jobs_work(JobRun *run, void (*check) (void *), void *arg);
extern void jobs_run_end(JobRun *run);

/* --- worker.c --- */

typedef struct JobWorkers JobWorkers;

extern JobWorkers *jobs_workers_prepare(int n_workers, int32 job, double rate, JobShared **shared);
extern void jobs_workers_start(JobWorkers *workers, int n);
/* Raise the error that a worker ended with. */
extern void jobs_workers_check(JobWorkers *workers);
extern void jobs_workers_wait(JobWorkers *workers);
/* Stop and forget them; safe in an error's cleanup. */
extern void jobs_workers_end(JobWorkers *workers, bool wait);

#endif
