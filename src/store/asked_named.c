/*
 * asked_named.c
 *	  What a function's text may name: functions of the user's own, and models.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

#include "asked.h"

/* Tables by name, each made when it is first needed. */
struct StoreNamed
{
	MemoryContext context;
	HTAB	   *functions;		/* of the user's own */
	uint64		since;			/* asked_changes() by then */
	HTAB	   *models;
	uint64		texts;			/* that were searched */
};

StoreNamed *
store_named(void)
{
	StoreNamed *named = palloc0(sizeof(StoreNamed));

	named->context = CurrentMemoryContext;
	return named;
}

static HTAB *
by_name(const StoreNamed *named, const char *what, Size entrysize)
{
	HASHCTL		ctl = {.keysize = NAMEDATALEN, .entrysize = entrysize, .hcxt = named->context};

	return hash_create(what, 256, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
find_functions(StoreNamed *names)
{
	HTAB	   *all = by_name(names, "fsi_intent functions", sizeof(NamedFunctions));
	uint64		since = asked_changes();
	MemoryContext old = MemoryContextSwitchTo(names->context);
	Relation	rel = table_open(ProcedureRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
		NamedFunctions *named;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (form->oid < FirstNormalObjectId)
			continue;
		named = hash_search(all, NameStr(form->proname), HASH_ENTER, &found);
		named->functions = lappend_oid(found ? named->functions : NIL, form->oid);
		named->options = asked_has_options(form) || (found && named->options);
		named->said_in = 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	MemoryContextSwitchTo(old);
	if (names->functions != NULL)
		hash_destroy(names->functions);
	names->functions = all;
	names->since = since;
}

static void
find_models(StoreNamed *names)
{
	HTAB	   *all = by_name(names, "fsi_intent models", sizeof(NamedModel));
	ListCell   *lc;

	foreach(lc, store_rows())
	{
		const StoreRow *row = lfirst(lc);
		NamedModel *named = hash_search(all, row->name, HASH_ENTER, NULL);

		named->dropped = row->dropped;
	}
	((NamedModel *) hash_search(all, STORE_DEFAULT_NAME, HASH_ENTER, NULL))->dropped = false;
	names->models = all;
}

void
asked_begin_text(StoreNamed *named)
{
	if (named->functions == NULL || named->since != asked_changes())
		find_functions(named);
	if (named->models == NULL)
		find_models(named);
	named->texts++;
}

NamedFunctions *
asked_functions_of(const StoreNamed *named, const char *name)
{
	return hash_search(named->functions, name, HASH_FIND, NULL);
}

NamedModel *
asked_model_of(const StoreNamed *named, const char *name)
{
	return hash_search(named->models, name, HASH_FIND, NULL);
}

bool
asked_is_first_said(const StoreNamed *named, NamedFunctions *functions)
{
	bool		first = functions->said_in != named->texts;

	functions->said_in = named->texts;
	return first;
}
