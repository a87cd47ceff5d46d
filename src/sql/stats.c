/*
 * stats.c
 *	  fsi_stats, fsi_stats_reset.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "fsi_compat.h"
#include "fsi_exec.h"

PG_FUNCTION_INFO_V1(fsi_stats);
PG_FUNCTION_INFO_V1(fsi_stats_reset);

#define STATS_COLUMNS 16

static void
put_row(ReturnSetInfo *rsinfo, const char *scope, const ExecCounters *c, TimestampTz since)
{
	const uint64 counts[] = {
		c->rows, c->tokens, c->batches, c->duplicates, c->memo_hits, c->vector_hits,
		c->set_hits, c->sets_prepared, c->segment_hits, c->segments_encoded, c->prefix_hits, c->prefix_computed,
		c->shortened
	};
	Datum		values[STATS_COLUMNS];
	bool		nulls[STATS_COLUMNS] = {false};
	int			n = 0;

	StaticAssertStmt(lengthof(counts) + 3 == STATS_COLUMNS, "a value for each column");
	values[n++] = CStringGetTextDatum(scope);
	for (size_t i = 0; i < lengthof(counts); i++)
		values[n++] = Int64GetDatum((int64) counts[i]);
	values[n++] = Float8GetDatum((double) c->microseconds / 1000);
	values[n++] = TimestampTzGetDatum(since);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* One row for this backend, one for all; the second is missing where the server had no room for totals. */
Datum
fsi_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ExecCounters counters;
	TimestampTz since;

	InitMaterializedSRF(fcinfo, 0);
	since = exec_counters_shown(&counters);
	put_row(rsinfo, "backend", &counters, since);
	if (exec_totals(&counters, &since))
		put_row(rsinfo, "total", &counters, since);
	return (Datum) 0;
}

Datum
fsi_stats_reset(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	exec_counters_reset();
	PG_RETURN_VOID();
}
