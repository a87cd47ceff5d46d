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
#include "utils/jsonb.h"
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

typedef struct Named
{
	AskedWord	name;
	List	   *functions;		/* OIDs */
} Named;

static HTAB *
functions_by_name(void)
{
	HASHCTL		ctl = {.keysize = sizeof(AskedWord), .entrysize = sizeof(Named), .hcxt = CurrentMemoryContext};
	HTAB	   *all = hash_create("fsi_intent functions", 256, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	Relation	rel = table_open(ProcedureRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
		Named	   *named;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (form->oid < FirstNormalObjectId)
			continue;
		named = hash_search(all, NameStr(form->proname), HASH_ENTER, &found);
		named->functions = lappend_oid(found ? named->functions : NIL, form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return all;
}

/* All functions of a name that a text has: which of them it calls cannot be told. */
static void
note_functions_named(Asked *asked, const char *name)
{
	Named	   *named;
	ListCell   *lc;

	if (asked->functions_named == NULL)
		asked->functions_named = functions_by_name();
	named = hash_search(asked->functions_named, name, HASH_FIND, NULL);
	if (named == NULL)
		return;
	foreach(lc, named->functions)
		(void) note_function(lfirst_oid(lc), asked);
}

/* The names of models that a text has in quotes: of those that were dropped, if there are no others. */
static List *
models_quoted(Asked *asked, const char *text)
{
	HTAB	   *quoted = asked_quoted(text);
	List	   *live = NIL;
	List	   *dropped = NIL;
	ListCell   *lc;

	if (asked->models == NIL)
		asked->models = store_rows();
	foreach(lc, asked->models)
	{
		const StoreRow *row = lfirst(lc);

		if (hash_search(quoted, row->name, HASH_FIND, NULL) == NULL)
			continue;
		if (row->dropped)
			dropped = lappend(dropped, row->name);
		else
			live = lappend(live, row->name);
	}
	if (hash_search(quoted, STORE_DEFAULT_NAME, HASH_FIND, NULL) != NULL)
		live = lappend(live, pstrdup(STORE_DEFAULT_NAME));
	hash_destroy(quoted);
	return live != NIL ? live : dropped;
}

static void
look_into_text(Asked *asked, const char *text)
{
	HTAB	   *identifiers = asked_identifiers(text);
	HASH_SEQ_STATUS status;
	const AskedWord *word;
	List	   *models;
	ListCell   *lc;
	bool		asks = false;

	hash_seq_init(&status, identifiers);
	while ((word = hash_seq_search(&status)) != NULL)
	{
		if (asked_is_asker(word->word))
			asks = true;
		else
			note_functions_named(asked, word->word);
	}
	models = asks ? models_quoted(asked, text) : NIL;
	foreach(lc, models)
		asked_note_name(asked, lfirst(lc));
	if (asks && models == NIL)
	{
		if (hash_search(identifiers, "model", HASH_FIND, NULL) != NULL)
			asked->passed = true;
		else
			asked->silent = true;
	}
	hash_destroy(identifiers);
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
