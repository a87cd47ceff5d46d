/*
 * fsi_session.h
 *	  What work that outlasts a statement needs: a hold on its subject, an end whatever happens, a worker's identity.
 *
 * A procedure that commits on its way, and the background workers that stand in for its session,
 * share these.  A worker gets the session's user, role and settings, never more rights than
 * the caller had.  Everything here raises errors by ereport() unless it says otherwise.
 */
#ifndef FSI_SESSION_H
#define FSI_SESSION_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/lock.h"

#include "fsi_compat.h"

/* 25001 unless the procedure was called where it may commit; detail: why it must, a sentence. */
extern void session_check_not_atomic(FunctionCallInfo fcinfo, const char *function, const char *detail);

/* ---- A session's lock on an object of the extension: beyond transactions, gone with the process. ---- */

typedef struct SessionHold
{
	LOCKTAG		tag;
	LOCKMODE	mode;			/* NoLock: not held */
} SessionHold;

/* Hold number id of a table's subjects, without waiting.  False: another process does, *pid (0: none, see below). */
extern bool session_hold(Oid table, Oid id, LOCKMODE mode, SessionHold *hold, int *pid);
/* Within ereport(): who that is; what to do, where it is a process. */
extern int	session_errdetail_holder(int pid);
extern int	session_errhint_holder(int pid, const char *hint);
/* Whether another process holds it. */
extern bool session_is_held(Oid table, Oid id);
/* Safe in an error's cleanup. */
extern void session_let_go(SessionHold *hold);
/* Let it go with the transaction, so that nobody meets what the transaction has not committed. */
extern void session_keep_until_commit(SessionHold *hold);

/* Run work(arg), and end(arg) after it however it ends: by an error or by the end of the process too. */
extern void session_guard(void (*work) (void *arg), void (*end) (void *arg), void *arg);

/* ---- Shared memory of the server's. ---- */

/* From _PG_init(): room for a piece of that size, if the library is being preloaded. */
extern void session_request_memory(Size size);
/* The piece of that name, made and set up by init() where there is none yet; NULL: there is no room. */
extern void *session_shared_memory(const char *name, Size size, void (*init) (void *memory));

/*
 * ---- A background worker. ----
 *
 * It may have a newer version of the library than who starts it, whose session was there before that was installed.
 * So where what they share gets another layout, the worker's function gets another name, which one of them lacks.
 */

/* Start one that has its name, type and function, maybe extra bytes; false: the server has no room for more. */
extern bool session_start_worker(BackgroundWorker *worker, dsm_segment *segment, BackgroundWorkerHandle **handle);
/* The worker's first step: its signals, and the caller's segment of memory; NULL: the caller has gone. */
extern void *session_enter(Datum segment, const char *owner);
/* End its transaction and begin another. */
extern void session_worker_commit(void);

/* ---- Whom it stands in for. ---- */

typedef struct SessionIdentity
{
	Oid			database;
	Oid			user;			/* that connected */
	Oid			session_user;
	bool		session_superuser;
	Oid			role;			/* InvalidOid: no SET ROLE */
	bool		superuser;
} SessionIdentity;

extern void session_identify(SessionIdentity *identity);
/* What the client asked for, with whose rights: name, value, rights, name, ... "". */
extern void session_collect_settings(StringInfo out);
/* In a worker that is connected as identity's user, within a transaction. */
extern void session_assume(const SessionIdentity *identity, const char *settings);

/* ---- An error on its way from a worker to whom it works for. ---- */

#define SESSION_MESSAGE_BYTES 1024

typedef struct SessionError
{
	int			sqlstate;		/* 0: none */
	char		message[SESSION_MESSAGE_BYTES];
	char		detail[SESSION_MESSAGE_BYTES];
	char		hint[SESSION_MESSAGE_BYTES];
	char		context[SESSION_MESSAGE_BYTES];
} SessionError;

extern void session_note_error(SessionError *to, const ErrorData *error);
/* Raise it; context says whose it was. */
pg_noreturn extern void session_raise_error(const SessionError *error, const char *context);

#endif
