/*
 * hold.c
 *	  Procedures that commit: where they may, one at a time for a subject, and ended whatever happens.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"

#include "fsi_session.h"

void
session_check_not_atomic(FunctionCallInfo fcinfo, const char *function, const char *detail)
{
	bool		may_commit = fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic;

	if (!may_commit || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s() cannot run inside a transaction block", function),
				 errdetail("%s", detail),
				 errhint("Call it outside of BEGIN ... COMMIT, functions and EXCEPTION blocks.")));
}

/* A prepared transaction has the number that its process gave it, and goes on without the process. */
static int
holder_pid(VirtualTransactionId holder)
{
	bool		more;
	PGPROC	   *proc;

	if (!VirtualTransactionIdIsValid(holder) || TransactionIdIsValid(TwoPhaseGetXidByVirtualXID(holder, &more)))
		return 0;
	proc = compat_holder(holder);
	return proc ? proc->pid : 0;
}

bool
session_hold(Oid table, Oid id, LOCKMODE mode, SessionHold *hold, int *pid)
{
	SET_LOCKTAG_OBJECT(hold->tag, MyDatabaseId, table, id, 0);
	hold->mode = NoLock;
	if (LockAcquire(&hold->tag, mode, true, true) != LOCKACQUIRE_NOT_AVAIL)
	{
		hold->mode = mode;
		return true;
	}
	*pid = holder_pid(GetLockConflicts(&hold->tag, mode, NULL)[0]);
	return false;
}

int
session_errdetail_holder(int pid)
{
	return pid != 0 ? errdetail("It is run by the process with PID %d.", pid) :
		errdetail("It has no process: a prepared transaction holds it, or it has just ended.");
}

int
session_errhint_holder(int pid, const char *hint)
{
	return pid != 0 ? errhint("%s", hint) : errhint("Try again, or end the transaction: pg_prepared_xacts shows it.");
}

bool
session_is_held(Oid table, Oid id)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, table, id, 0);
	return VirtualTransactionIdIsValid(GetLockConflicts(&tag, ExclusiveLock, NULL)[0]);
}

void
session_let_go(SessionHold *hold)
{
	LOCKMODE	mode = hold->mode;

	hold->mode = NoLock;
	if (mode != NoLock)
		LockRelease(&hold->tag, mode, true);
}

void
session_keep_until_commit(SessionHold *hold)
{
	(void) LockAcquire(&hold->tag, hold->mode, false, false);
	session_let_go(hold);
}

/* The work that this process is in. */
static void (*running_end) (void *arg);
static void *running_arg;

static void
end_running(int code, Datum arg)
{
	void		(*end) (void *arg) = running_end;

	(void) code;
	(void) arg;
	running_end = NULL;
	if (end != NULL)
		end(running_arg);
}

/*
 * Not with PG_ENSURE_ERROR_CLEANUP: its callback must be the latest when it goes, and a
 * trigger's first temporary table, for one, adds another at a commit.
 */
void
session_guard(void (*work) (void *arg), void (*end) (void *arg), void *arg)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(end_running, 0);
	registered = true;
	running_end = end;
	running_arg = arg;
	PG_TRY();
	{
		work(arg);
	}
	PG_FINALLY();
	{
		end_running(0, 0);
	}
	PG_END_TRY();
}
