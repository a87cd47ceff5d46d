/*
 * counters.c
 *	  What this backend has done, and what all have.
 *
 * The totals are a few hundred bytes of shared memory; where there is no room for them this
 * backend works without totals.  A backend adds to them at the end of each transaction,
 * however it ends, and once a second meanwhile, so that neither an error nor the backend's
 * own end loses a count.  They start anew with the server, also after a crash.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/timestamp.h"

#include "exec.h"
#include "fsi_session.h"

/* Another layout, another name: two versions of the library may meet in one server. */
#define TOTALS_NAME "fsi_intent totals 1"
#define N_COUNTERS (sizeof(ExecCounters) / sizeof(uint64))
#define FLUSH_EVERY_US 1000000

/* Counters are added and read one by one: a reader may see a batch half counted. */
typedef struct Totals
{
	pg_atomic_uint64 since;		/* TimestampTz */
	pg_atomic_uint64 counters[N_COUNTERS];
} Totals;

ExecCounters exec_count;

static Totals *totals;
static bool attached;			/* or found that there is no room */
static ExecCounters flushed;	/* what the totals have of exec_count */
static ExecCounters shown_from; /* exec_count at the last reset */
static TimestampTz shown_since; /* 0: never reset */

/* Kept in the clock's own unit: a call may take less than a microsecond. */
static instr_time spent;
static instr_time last_flush;

const ExecCounters *
exec_counters(void)
{
	return &exec_count;
}

static void
init_totals(void *memory)
{
	Totals	   *t = memory;

	pg_atomic_init_u64(&t->since, (uint64) GetCurrentTimestamp());
	for (size_t i = 0; i < N_COUNTERS; i++)
		pg_atomic_init_u64(&t->counters[i], 0);
}

void
counters_attach(void)
{
	if (!attached)
		totals = session_shared_memory(TOTALS_NAME, sizeof(Totals), init_totals);
	attached = true;
}

static void
flush(void)
{
	const uint64 *now = (const uint64 *) &exec_count;
	uint64	   *then = (uint64 *) &flushed;

	if (totals == NULL)
		return;
	for (size_t i = 0; i < N_COUNTERS; i++)
	{
		if (now[i] != then[i])
			pg_atomic_fetch_add_u64(&totals->counters[i], (int64) (now[i] - then[i]));
		then[i] = now[i];
	}
}

void
exec_count_time(instr_time start)
{
	instr_time	now;
	instr_time	since;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_ACCUM_DIFF(spent, now, start);
	exec_count.microseconds = INSTR_TIME_GET_MICROSEC(spent);
	since = now;
	INSTR_TIME_SUBTRACT(since, last_flush);
	if (INSTR_TIME_GET_MICROSEC(since) >= FLUSH_EVERY_US)
	{
		flush();
		last_flush = now;
	}
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;
	flush();
}

void
counters_init(void)
{
	StaticAssertStmt(sizeof(ExecCounters) % sizeof(uint64) == 0, "ExecCounters holds nothing but uint64");

	RegisterXactCallback(at_transaction_end, NULL);
	session_request_memory(sizeof(Totals));
}

TimestampTz
exec_counters_shown(ExecCounters *out)
{
	const uint64 *now = (const uint64 *) &exec_count;
	const uint64 *from = (const uint64 *) &shown_from;

	for (size_t i = 0; i < N_COUNTERS; i++)
		((uint64 *) out)[i] = now[i] - from[i];
	return shown_since != 0 ? shown_since : MyStartTimestamp;
}

bool
exec_totals(ExecCounters *out, TimestampTz *since)
{
	counters_attach();
	if (totals == NULL)
		return false;
	flush();
	for (size_t i = 0; i < N_COUNTERS; i++)
		((uint64 *) out)[i] = pg_atomic_read_u64(&totals->counters[i]);
	*since = (TimestampTz) pg_atomic_read_u64(&totals->since);
	return true;
}

void
exec_counters_reset(void)
{
	counters_attach();
	shown_from = exec_count;
	shown_since = GetCurrentTimestamp();
	if (totals == NULL)
		return;
	flush();
	for (size_t i = 0; i < N_COUNTERS; i++)
		pg_atomic_write_u64(&totals->counters[i], 0);
	pg_atomic_write_u64(&totals->since, (uint64) shown_since);
}
