/*
 * worker.c
 *	  A background worker: started with a segment of memory that its caller has filled, in transactions of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/resowner.h"

#include "fsi_session.h"

bool
session_start_worker(BackgroundWorker *worker, dsm_segment *segment, BackgroundWorkerHandle **handle)
{
	strlcpy(worker->bgw_library_name, "fsi_intent", BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker->bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(worker, handle);
}

/* SIGINT cancels the statement in any worker that is connected to a database: that is PostgreSQL's own. */
void *
session_enter(Datum segment, const char *owner)
{
	dsm_segment *attached;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	CurrentResourceOwner = ResourceOwnerCreate(NULL, owner);
	attached = dsm_attach(DatumGetUInt32(segment));
	if (attached == NULL)
		return NULL;
	dsm_pin_mapping(attached);
	return dsm_segment_address(attached);
}

void
session_worker_commit(void)
{
	CommitTransactionCommand();
	/* Dead rows that autovacuum is to hear of. */
	pgstat_report_stat(true);
	StartTransactionCommand();
}
