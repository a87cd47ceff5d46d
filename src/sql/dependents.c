/*
 * dependents.c
 *	  What rests on which weights: fsi_check and fsi_rebuild, and the helper of fsi_dependents.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fsi_compat.h"
#include "fsi_sql.h"
#include "fsi_store.h"

PG_FUNCTION_INFO_V1(fsi_models_asked);
PG_FUNCTION_INFO_V1(fsi_check);
PG_FUNCTION_INFO_V1(fsi_rebuild);

#define MAX_COLUMNS 6

static StoreNamed *
named_of(FmgrInfo *call)
{
	MemoryContext old = MemoryContextSwitchTo(call->fn_mcxt);

	if (call->fn_extra == NULL)
		call->fn_extra = store_named();
	MemoryContextSwitchTo(old);
	return call->fn_extra;
}

Datum
fsi_models_asked(PG_FUNCTION_ARGS)
{
	Node	   *expression = stringToNode(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	bool		unknown;
	List	   *names = store_models_asked(expression, named_of(fcinfo->flinfo), &unknown);
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

/* The first of the models that are asked by what comes at a place of the list and is no more, or NULL. */
static const char *
missing_model(const List *list, int place)
{
	StoreRow	row;

	for (int i = place; i < list_length(list); i++)
	{
		const StoreDependent *d = list_nth(list, i);

		if (i > place && !d->again)
			break;
		if (d->model != NULL && (!store_find(d->model, &row) || row.dropped))
			return d->model;
	}
	return NULL;
}

/* And not of the server, or of what stops it. */
static bool
is_of_object(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:	/* weights that are not the installed ones; a lock */
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}

/*
 * In a subtransaction that is rolled back: locks on what was looked at, such as all indexes of a table by the planner, are
 * not kept, for somebody who makes these anew may hold another one that is to be counted next.  The error, or NULL.
 */
static ErrorData *
count_apart(const StoreDependent *d, int64 *rows, int64 *stale)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		store_count_stale(d, rows, stale);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* Functions of its owner's may fail.  That is not to hide what there is to say of others. */
static void
count_stale(const StoreDependent *d, int64 *rows, int64 *stale)
{
	ErrorData  *error = count_apart(d, rows, stale);

	if (error == NULL)
		return;
	if (!is_of_object(error->sqlerrcode))
		ReThrowError(error);
	*rows = *stale = STORE_UNKNOWN;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not check %s %s, skipping it: %s", d->kind, d->object, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0,
			 error->context ? errcontext("%s", error->context) : 0));
}

/* As VACUUM of all tables does: what is another's, or has no model to ask any more, is left out, and said to be. */
static void
check(const StoreDependent *d, const char *missing, int64 *rows, int64 *stale)
{
	*rows = *stale = STORE_UNKNOWN;
	if (OidIsValid(d->relid) && !store_owns(d->relid))
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to check %s %s, skipping it", d->kind, d->object)));
	else if (missing != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist, skipping %s %s", missing, d->kind, d->object)));
	else
		count_stale(d, rows, stale);
}

/* See that it is still there, and keep it, where that is the current role's to do: a check of much takes long. */
static bool
hold(const StoreDependent *d)
{
	if (!OidIsValid(d->relid))
		return true;
	if (!store_is_still_there(d))
		return false;
	if (store_owns(d->relid))
		LockRelationOid(d->relid, AccessShareLock);
	return store_is_still_there(d);
}

Datum
fsi_check(PG_FUNCTION_ARGS)
{
	StoreRow	row = {0};
	int64		figures[2] = {0};	/* rows, stale */
	bool		there = false;
	List	   *list;
	ListCell   *lc;

	if (!PG_ARGISNULL(0))
		find_model(text_to_cstring(PG_GETARG_TEXT_PP(0)), &row);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	list = store_dependents(row.name);
	foreach(lc, list)
	{
		const StoreDependent *d = lfirst(lc);

		/* One that asks two models is there twice. */
		if (!d->again && (there = hold(d)))
			check(d, missing_model(list, foreach_current_index(lc)), &figures[0], &figures[1]);
		if (there)
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
	ErrorData  *error = repinned ? NULL : count_apart(d, &rows, &stale);

	if (error != NULL)
		ReThrowError(error);
	if (stale != 0)
		changed = store_remake(d);
	return changed == STORE_UNKNOWN ? stale : changed;
}

/*
 * Whether rows of its table were written already for what came before it in the list: all generated columns of a row are
 * computed again then, whichever is to be, and how many of these answers have changed is not known.
 */
typedef struct Written
{
	Oid			relid;			/* the last table whose generated column had rows to write */
	bool		moved;			/* rows have moved from one partition to another */
} Written;

static bool
was_written(const StoreDependent *d, const Written *written)
{
	return strcmp(d->kind, "generated column") == 0 &&
		(d->relid == written->relid || (written->moved && get_rel_relispartition(d->relid)));
}

static void
note_written(const StoreDependent *d, int64 changed, Written *written)
{
	if (changed <= 0)
		return;
	if (strcmp(d->kind, "generated column") == 0)
		written->relid = d->relid;
	else if (strcmp(d->kind, "partition key") == 0)
		written->moved = true;
}

Datum
fsi_rebuild(PG_FUNCTION_ARGS)
{
	StoreRow	row;
	int64		changed = 0;
	bool		repinned;
	bool		there = false;
	bool		views_locked = false;
	Written		written = {InvalidOid, false};
	List	   *list;
	ListCell   *lc;

	PreventCommandIfReadOnly("fsi_rebuild()");
	PreventCommandIfParallelMode("fsi_rebuild()");
	find_model(text_to_cstring(PG_GETARG_TEXT_PP(0)), &row);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	repinned = row.shipped && store_repin();
	list = store_dependents(row.name);
	foreach(lc, list)
	{
		const StoreDependent *d = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		/* They come last. */
		if (!views_locked && strcmp(d->kind, "materialized view") == 0)
		{
			store_lock_views(list);
			views_locked = true;
		}
		if (!d->again && (there = hold(d)))
		{
			bool		known = !was_written(d, &written);

			changed = rebuild(d, repinned);
			note_written(d, changed, &written);
			if (!known)
				changed = STORE_UNKNOWN;
		}
		if (there)
			put_row(fcinfo, d, &changed, 1);
	}
	SPI_finish();
	return (Datum) 0;
}
