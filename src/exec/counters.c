/*
 * counters.c
 *	  What this backend has done.
 */
#include "postgres.h"

#include "exec.h"

ExecCounters exec_count;

/* Kept in the clock's own unit: a call may take less than a microsecond. */
static instr_time spent;

const ExecCounters *
exec_counters(void)
{
	return &exec_count;
}

void
exec_count_time(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_ACCUM_DIFF(spent, now, start);
	exec_count.microseconds = INSTR_TIME_GET_MICROSEC(spent);
}
