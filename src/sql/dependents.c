/*
 * dependents.c
 *	  What rests on which weights: fsi_check and fsi_rebuild, and the helper of fsi_dependents.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "fsi_compat.h"
#include "fsi_sql.h"
#include "fsi_store.h"

PG_FUNCTION_INFO_V1(fsi_models_asked);
PG_FUNCTION_INFO_V1(fsi_check);
PG_FUNCTION_INFO_V1(fsi_rebuild);

#define MAX_COLUMNS 6

Datum
fsi_models_asked(PG_FUNCTION_ARGS)
{
	bool		unknown;
	List	   *names = store_models_asked(stringToNode(text_to_cstring(PG_GETARG_TEXT_PP(0))), &unknown);
	int			n = list_length(names) + unknown;
	Datum	   *values = palloc0(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc0(sizeof(bool) * Max(n, 1));
	int			lower = 1;
	ListCell   *lc;

	foreach(lc, names)
		values[foreach_current_index(lc)] = CStringGetTextDatum(lfirst(lc));
	if (unknown)
		nulls[n - 1] = true;
	PG_RETURN_ARRAYTYPE_P(construct_md_array(values, nulls, 1, &n, &lower, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The name's row, which must be there: 42704. */
static void
find_model(const char *name, StoreRow *row)
{
	if (!store_find(name, row) || row->dropped)
		store_report_no_model(name);
}

/* One row of the result: what rests, and figures, of which STORE_UNKNOWN is NULL. */
static void
put_row(FunctionCallInfo fcinfo, const StoreDependent *d, const int64 *figures, int n)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[MAX_COLUMNS] = {0};
	bool		nulls[MAX_COLUMNS] = {false};

	nulls[0] = d->model == NULL;
	values[0] = d->model ? CStringGetTextDatum(d->model) : (Datum) 0;
	values[1] = CStringGetTextDatum(d->kind);
	values[2] = CStringGetTextDatum(d->object);
	nulls[3] = !OidIsValid(d->relid);
	values[3] = ObjectIdGetDatum(d->relid);
	for (int i = 0; i < n; i++)
	{
		nulls[4 + i] = figures[i] == STORE_UNKNOWN;
		values[4 + i] = Int64GetDatum(figures[i]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* As VACUUM of all tables does: what is another's is left out, and said to be. */
static void
check(const StoreDependent *d, int64 *rows, int64 *stale)
{
	if (!OidIsValid(d->relid) || store_owns(d->relid))
		store_count_stale(d, rows, stale);
	else
	{
		*rows = *stale = STORE_UNKNOWN;
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to check %s %s, skipping it", d->kind, d->object)));
	}
}

Datum
fsi_check(PG_FUNCTION_ARGS)
{
	StoreRow	row = {0};
	int64		figures[2] = {0};	/* rows, stale */
	ListCell   *lc;

	if (!PG_ARGISNULL(0))
		find_model(text_to_cstring(PG_GETARG_TEXT_PP(0)), &row);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	foreach(lc, store_dependents(row.name))
	{
		const StoreDependent *d = lfirst(lc);

		/* One that asks two models is there twice. */
		if (!d->again)
			check(d, &figures[0], &figures[1]);
		put_row(fcinfo, d, figures, lengthof(figures));
	}
	SPI_finish();
	return (Datum) 0;
}

/* How many answers changed: none where all are right already, which a change of weights leaves no need to look for. */
static int64
rebuild(const StoreDependent *d, bool repinned)
{
	int64		rows;
	int64		stale = STORE_UNKNOWN;
	int64		changed = 0;

	if (!repinned)
		store_count_stale(d, &rows, &stale);
	if (stale != 0)
		changed = store_remake(d);
	return changed == STORE_UNKNOWN ? stale : changed;
}

Datum
fsi_rebuild(PG_FUNCTION_ARGS)
{
	StoreRow	row;
	int64		changed = 0;
	bool		repinned;
	ListCell   *lc;

	PreventCommandIfReadOnly("fsi_rebuild()");
	PreventCommandIfParallelMode("fsi_rebuild()");
	find_model(text_to_cstring(PG_GETARG_TEXT_PP(0)), &row);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	repinned = row.shipped && store_repin();
	foreach(lc, store_dependents(row.name))
	{
		const StoreDependent *d = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (!d->again)
			changed = rebuild(d, repinned);
		put_row(fcinfo, d, &changed, 1);
	}
	SPI_finish();
	return (Datum) 0;
}
