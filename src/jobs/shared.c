/*
 * shared.c
 *	  What the processes of one run share: whom they work for, the pace, how workers ended.
 *
 * One piece of dynamic shared memory, a few kilobytes a worker, that goes with the call.  A
 * caller without workers has it in its own memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "jobs.h"

/* A pause may be as long as it is: it is slept in parts, so that the arithmetic stays small. */
#define PAUSE_MAX_MS 1000

/* Not the time of day, which somebody may set back: then a turn would be as far ahead as that. */
int64
jobs_clock(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

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
	session_identify(&shared->identity);
	pg_atomic_init_u64(&shared->shortened, 0);
	shared->rate = rate;
	SpinLockInit(&shared->mutex);
	shared->n_workers = n_workers;
	shared->settings = jobs_shared_size(n_workers, 0);
	if (settings != NULL)
		memcpy((char *) shared + shared->settings, settings->data, settings->len);
}

/*
 * Turns are booked one after the other, each as long as its rows should take; whoever has
 * one sleeps until it begins.
 */
static int64
book_turn(JobShared *shared, int64 now)
{
	int64		turn;

	if (shared->rate <= 0)
		return now;
	SpinLockAcquire(&shared->mutex);
	turn = Max(shared->next, now);
	shared->next = turn + (int64) (shared->expected / shared->rate * USECS_PER_SEC);
	SpinLockRelease(&shared->mutex);
	return turn;
}

void
jobs_pace(JobShared *shared, int64 not_before, void (*check) (void *), void *arg)
{
	int64		now = jobs_clock();
	int64		turn = book_turn(shared, now);

	turn = Max(turn, not_before);
	for (;;)
	{
		long		ms = (long) Min((turn - now) / 1000 + 1, PAUSE_MAX_MS);

		host_check_postmaster();
		CHECK_FOR_INTERRUPTS();
		if (check != NULL)
			check(arg);
		if (now >= turn)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		now = jobs_clock();
	}
}

void
jobs_paced(JobShared *shared, int64 rows)
{
	if (shared->rate <= 0)
		return;
	SpinLockAcquire(&shared->mutex);
	shared->next += (int64) (((double) rows - shared->expected) / shared->rate * USECS_PER_SEC);
	SpinLockRelease(&shared->mutex);
}
