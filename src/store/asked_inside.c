/*
 * asked_inside.c
 *	  Which models an expression asks inside functions of the user's own.
 *
 * A body of standard SQL is kept as a tree, and so are its calls.  Of others there is the text alone, which may be in any
 * language and may build its statements as it runs.  So they are taken to ask where their text has the name of a
 * function that asks, or of another function of the user's own that is taken to ask; and the models are those whose
 * names it has in quotes, else those that the function is called with, else the default one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "asked.h"

/* ---- What is called, and with what. ---- */

static bool
note_function(Oid function, void *context)
{
	Asked	   *asked = context;

	if (function >= FirstNormalObjectId)
		asked->functions = list_append_unique_oid(asked->functions, function);
	return false;
}

/* What may tell a function of the user's own which model to ask. */
static void
note_given(Asked *asked, List *args)
{
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);
		char	   *name = NULL;
		StoreRow	row;

		if (IsA(arg, NamedArgExpr))
			arg = (Node *) ((NamedArgExpr *) arg)->arg;
		if (!IsA(arg, Const))
			asked->open |= exprType(arg) == JSONBOID;
		else if (((Const *) arg)->constisnull)
			continue;
		else if (exprType(arg) == JSONBOID)
			name = asked_model_option(DatumGetJsonbP(((Const *) arg)->constvalue));
		else if (exprType(arg) == TEXTOID || exprType(arg) == VARCHAROID)
			name = TextDatumGetCString(((Const *) arg)->constvalue);
		if (name != NULL && (exprType(arg) == JSONBOID || store_find(name, &row)))
			asked->given = asked_add_name(asked->given, name);
	}
}

void
asked_note_functions(Asked *asked, Node *node)
{
	(void) check_functions_in_node(node, note_function, asked);
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid >= FirstNormalObjectId)
		note_given(asked, ((FuncExpr *) node)->args);
}

/* ---- Bodies. ---- */

/* A body of standard SQL: what it asks by its parameters, its caller says. */
static void
look_into_tree(Asked *asked, const char *body)
{
	bool		unknown = asked->unknown;

	asked->unknown = false;
	(void) asked_find_calls(stringToNode(body), asked);
	asked->passed |= asked->unknown;
	asked->unknown = unknown;
}

/* Tables by name, each made when it is first needed. */
struct StoreNamed
{
	MemoryContext context;
	HTAB	   *functions;		/* of the user's own */
	HTAB	   *models;
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

typedef struct NamedFunctions
{
	char		name[NAMEDATALEN];
	List	   *functions;		/* OIDs */
} NamedFunctions;

static void
find_functions(StoreNamed *names)
{
	HTAB	   *all = by_name(names, "fsi_intent functions", sizeof(NamedFunctions));
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
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	MemoryContextSwitchTo(old);
	names->functions = all;
}

typedef struct NamedModel
{
	char		name[NAMEDATALEN];
	bool		dropped;
} NamedModel;

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

/* What one text says. */
typedef struct Said
{
	Asked	   *asked;
	bool		asks;
	bool		model;			/* it says "model" */
	List	   *models;			/* names in quotes */
	List	   *dropped;		/* those of models that were dropped */
} Said;

/* All functions of a name: which of them is called cannot be told. */
static void
note_identifier(void *context, const char *word)
{
	Said	   *said = context;
	NamedFunctions *named = hash_search(said->asked->inside->functions, word, HASH_FIND, NULL);
	ListCell   *lc;

	said->asks |= asked_is_asker(word);
	said->model |= strcmp(word, "model") == 0;
	if (named != NULL && !asked_is_asker(word))
		foreach(lc, named->functions)
			(void) note_function(lfirst_oid(lc), said->asked);
}

static void
note_quoted(void *context, const char *word)
{
	Said	   *said = context;
	NamedModel *named = hash_search(said->asked->inside->models, word, HASH_FIND, NULL);

	if (named != NULL && named->dropped)
		said->dropped = asked_add_name(said->dropped, named->name);
	else if (named != NULL)
		said->models = asked_add_name(said->models, named->name);
}

/* A model that was dropped is meant only if no other is: a word may happen to be its name. */
static void
look_into_text(Asked *asked, const char *text)
{
	Said		said = {.asked = asked};
	ListCell   *lc;

	if (asked->inside->functions == NULL)
		find_functions(asked->inside);
	asked_identifiers(text, note_identifier, &said);
	if (!said.asks)
		return;
	if (asked->inside->models == NULL)
		find_models(asked->inside);
	asked_quoted(text, note_quoted, &said);
	if (said.models == NIL)
		said.models = said.dropped;
	foreach(lc, said.models)
		asked_note_name(asked, lfirst(lc));
	if (said.models == NIL && said.model)
		asked->passed = true;
	else if (said.models == NIL)
		asked->silent = true;
}

/* An aggregate is what it is made of. */
static void
note_parts(Asked *asked, Oid aggregate)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));

	if (!HeapTupleIsValid(tuple))
		return;
	(void) note_function(((Form_pg_aggregate) GETSTRUCT(tuple))->aggtransfn, asked);
	(void) note_function(((Form_pg_aggregate) GETSTRUCT(tuple))->aggfinalfn, asked);
	ReleaseSysCache(tuple);
}

static void
look_into(Asked *asked, Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	Datum		body;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &isnull);
	if (form->prokind == PROKIND_AGGREGATE)
		note_parts(asked, function);
	else if (!isnull)
		look_into_tree(asked, TextDatumGetCString(body));
	else if (form->prolang != INTERNALlanguageId && form->prolang != ClanguageId)
	{
		body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		if (!isnull)
			look_into_text(asked, TextDatumGetCString(body));
	}
	ReleaseSysCache(tuple);
}

/* Those that functions call are behind them in the list. */
void
asked_look_inside(Asked *asked)
{
	ListCell   *lc;

	for (int i = 0; i < list_length(asked->functions); i++)
		look_into(asked, list_nth_oid(asked->functions, i));
	if (!asked->passed && !asked->silent)
		return;
	foreach(lc, asked->given)
		asked_note_name(asked, lfirst(lc));
	if (asked->given == NIL)
		asked_note_name(asked, asked->passed || asked->open ? NULL : pstrdup(STORE_DEFAULT_NAME));
}
