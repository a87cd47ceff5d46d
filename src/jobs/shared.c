/*
 * shared.c
 *	  What the processes of one run share: settings, the pace, how workers ended.
 *
 * One piece of dynamic shared memory, a few kilobytes a worker, that goes with the call.  A
 * caller without workers has it in its own memory.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/wait_event.h"

#include "jobs.h"

/* A pause may be as long as it is: it is slept in parts, so that the arithmetic stays small. */
#define PAUSE_MAX_MS 1000

Size
jobs_shared_size(int n_workers, Size settings_len)
{
	return add_size(add_size(offsetof(JobShared, workers), mul_size(sizeof(JobWorkerState), n_workers)), settings_len);
}

void
jobs_shared_init(JobShared *shared, int32 job, double rate, int n_workers, const StringInfoData *settings)
{
	memset(shared, 0, jobs_shared_size(n_workers, 0));
	shared->job = job;
	shared->database = MyDatabaseId;
	shared->user = GetAuthenticatedUserId();
	shared->session_user = GetSessionUserId();
	shared->session_superuser = superuser_arg(GetSessionUserId());
	shared->role = GetCurrentRoleId();
	shared->superuser = superuser_arg(GetUserId());
	pg_atomic_init_u64(&shared->shortened, 0);
	shared->rate = rate;
	SpinLockInit(&shared->mutex);
	shared->n_workers = n_workers;
	shared->settings = jobs_shared_size(n_workers, 0);
	if (settings != NULL)
		memcpy((char *) shared + shared->settings, settings->data, settings->len);
}

/* What makes a session what it is, and cannot be given to another, or has no sense there. */
static bool
is_personal(const char *name)
{
	static const char *const personal[] = {
		"role", "session_authorization", "client_encoding", "client_min_messages", "transaction_isolation",
		"transaction_read_only", "transaction_deferrable", "seed"
	};

	for (size_t i = 0; i < lengthof(personal); i++)
		if (strcmp(name, personal[i]) == 0)
			return true;
	return false;
}

/* What the client asked for, at its start or since; what databases, roles and files set reaches a worker by itself. */
void
jobs_collect_settings(StringInfo out)
{
	struct config_generic **all = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		const struct config_generic *setting = all[i];
		const char *value;

		if ((setting->source != PGC_S_CLIENT && setting->source != PGC_S_SESSION) || is_personal(setting->name))
			continue;
		if (setting->context != PGC_USERSET && setting->context != PGC_SUSET)
			continue;
		value = GetConfigOption(setting->name, true, false);
		if (value == NULL)
			continue;
		appendBinaryStringInfo(out, setting->name, (int) strlen(setting->name) + 1);
		appendBinaryStringInfo(out, value, (int) strlen(value) + 1);
	}
	appendStringInfoChar(out, '\0');
}

void
jobs_apply_settings(const char *settings)
{
	while (*settings)
	{
		const char *name = settings;
		const char *value = name + strlen(name) + 1;

		(void) set_config_option(name, value, superuser() ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SET, true, WARNING, false);
		settings = value + strlen(value) + 1;
	}
}

/*
 * Turns are booked one after the other, each as long as its rows should take; whoever has
 * one sleeps until it begins.
 */
static TimestampTz
book_turn(JobShared *shared, TimestampTz now)
{
	TimestampTz turn;

	if (shared->rate <= 0)
		return now;
	SpinLockAcquire(&shared->mutex);
	turn = Max(shared->next, now);
	shared->next = turn + (TimestampTz) (shared->expected / shared->rate * USECS_PER_SEC);
	SpinLockRelease(&shared->mutex);
	return turn;
}

void
jobs_pace(JobShared *shared, void (*check) (void *), void *arg)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz turn = book_turn(shared, now);

	for (;;)
	{
		long		ms = (long) Min((turn - now) / 1000 + 1, PAUSE_MAX_MS);

		CHECK_FOR_INTERRUPTS();
		if (check != NULL)
			check(arg);
		if (now >= turn)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		now = GetCurrentTimestamp();
	}
}

void
jobs_paced(JobShared *shared, int64 rows)
{
	if (shared->rate <= 0)
		return;
	SpinLockAcquire(&shared->mutex);
	shared->next += (TimestampTz) (((double) rows - shared->expected) / shared->rate * USECS_PER_SEC);
	SpinLockRelease(&shared->mutex);
}

static void
note_text(char *out, const char *s)
{
	int			len = s ? (int) strlen(s) : 0;

	len = pg_mbcliplen(s ? s : "", len, JOBS_MESSAGE_BYTES - 1);
	memcpy(out, s ? s : "", len);
	out[len] = '\0';
}

void
jobs_note_error(JobWorkerState *worker, const ErrorData *error)
{
	note_text(worker->message, error->message);
	note_text(worker->detail, error->detail);
	note_text(worker->hint, error->hint);
	note_text(worker->context, error->context);
	pg_write_barrier();
	worker->sqlstate = error->sqlerrcode;
}

void
jobs_raise_error(const JobWorkerState *worker, int32 job)
{
	ereport(ERROR,
			(errcode(worker->sqlstate),
			 errmsg_internal("%s", worker->message),
			 worker->detail[0] ? errdetail_internal("%s", worker->detail) : 0,
			 worker->hint[0] ? errhint("%s", worker->hint) : 0,
			 worker->context[0] ? errcontext("%s", worker->context) : 0,
			 errcontext("background worker of job %d", job)));
}
