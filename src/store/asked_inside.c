/*
 * asked_inside.c
 *	  Which models an expression asks inside functions of the user's own.
 *
 * A body of standard SQL is kept as a tree, and so are its calls.  Of others there is the text alone, which may be in any
 * language and may build its statements as it runs.  So they are taken to ask where their text has the name of a
 * function that asks, or of another function of the user's own that is taken to ask; and the models are those whose
 * names it has in quotes, else those that the function is called with, else the default one.
 *
 * What a function is called with grows while others are looked into that call it: it is looked into again then.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "asked.h"

/* ---- What is called, and with what. ---- */

/* A function of the user's own. */
typedef struct Called
{
	Oid			function;
	Given		given;			/* of all its calls */
	bool		waits;			/* it is in the list */
} Called;

static Called *
find_called(Asked *asked, Oid function)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Called), .hcxt = CurrentMemoryContext};
	Called	   *called;
	bool		found;

	if (asked->called == NULL)
		asked->called = hash_create("fsi_intent called", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	called = hash_search(asked->called, &function, HASH_ENTER, &found);
	if (!found)
	{
		MemSet(&called->given, 0, sizeof(called->given));
		called->waits = false;
	}
	return called;
}

static List *
add_names(List *names, const List *more)
{
	ListCell   *lc;

	foreach(lc, more)
		names = asked_add_name(names, lfirst(lc));
	return names;
}

static void
note_function(Asked *asked, Oid function, const Given *given)
{
	Called	   *called;
	Given	   *all;
	int			known;

	if (function < FirstNormalObjectId || asked_is_silent(function))
		return;
	called = find_called(asked, function);
	all = &called->given;
	known = list_length(all->names) + all->nothing + all->open;
	all->names = add_names(all->names, given->names);
	all->nothing |= given->nothing;
	all->open |= given->open;
	if (called->waits || list_length(all->names) + all->nothing + all->open == known)
		return;
	called->waits = true;
	asked->waiting = lappend(asked->waiting, called);
}

/* The model that a constant may name, or NULL. */
static char *
name_in(const Const *constant)
{
	char	   *name;
	StoreRow	row;

	if (constant->constisnull)
		return NULL;
	if (constant->consttype == JSONBOID)
		return asked_model_option(DatumGetJsonbP(constant->constvalue));
	if (constant->consttype != TEXTOID && constant->consttype != VARCHAROID)
		return NULL;
	name = TextDatumGetCString(constant->constvalue);
	return store_find(name, &row) ? name : NULL;
}

/* What a type is, if it is a domain; unlike getBaseType(), no error for one that has just gone. */
static Oid
base_of(Oid type)
{
	HeapTuple	tuple;

	while (type >= FirstNormalObjectId && HeapTupleIsValid(tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type))))
	{
		type = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);
	}
	return type;
}

/* What the arguments of a call say; whether some are no constants. */
static bool
note_given(Given *given, List *args)
{
	bool		varies = false;
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);
		char	   *name;

		if (IsA(arg, NamedArgExpr))
			arg = (Node *) ((NamedArgExpr *) arg)->arg;
		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		arg = asked_uncast(arg);
		if (!IsA(arg, Const))
		{
			varies = true;
			given->open |= base_of(exprType(arg)) == JSONBOID;
		}
		else if ((name = name_in((Const *) arg)) != NULL)
			given->names = asked_add_name(given->names, name);
	}
	return varies;
}

List *
asked_arguments(Node *node)
{
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			return ((FuncExpr *) node)->args;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			return ((OpExpr *) node)->args;
		case T_ScalarArrayOpExpr:
			return ((ScalarArrayOpExpr *) node)->args;
		case T_Aggref:
			return list_concat_copy(((Aggref *) node)->aggdirectargs, ((Aggref *) node)->args);
		case T_WindowFunc:
			return ((WindowFunc *) node)->args;
		default:
			return NIL;
	}
}

/* The defaults of a function's parameters that a call may have left to them. */
static List *
defaults_of(Oid function, int n_args)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	List	   *defaults = NIL;
	Datum		value;
	bool		isnull = true;

	if (!HeapTupleIsValid(tuple))
		return NIL;
	if (n_args < ((Form_pg_proc) GETSTRUCT(tuple))->pronargs)
		value = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargdefaults, &isnull);
	if (!isnull)
		defaults = castNode(List, stringToNode(TextDatumGetCString(value)));
	ReleaseSysCache(tuple);
	return defaults;
}

bool
asked_has_options(const FormData_pg_proc *form)
{
	for (int i = 0; i < form->pronargs; i++)
		if (base_of(form->proargtypes.values[i]) == JSONBOID)
			return true;
	return false;
}

static bool
takes_options(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		takes = HeapTupleIsValid(tuple) && asked_has_options((Form_pg_proc) GETSTRUCT(tuple));

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return takes;
}

/* A call in the body of another function may hand on what that is called with. */
static void
hand_on(Given *given, const Given *by)
{
	bool		named = given->names != NIL;

	given->names = add_names(given->names, by->names);
	if (named)
		return;
	given->nothing = !given->open;
	given->open = given->open && (by->open || by->nothing);
}

typedef struct Site
{
	Asked	   *asked;
	Node	   *node;
} Site;

static bool
note_site(Oid function, void *context)
{
	Site	   *site = context;
	List	   *args = asked_arguments(site->node);
	Given		given = {0};
	bool		varies;

	if (function < FirstNormalObjectId || asked_is_silent(function))
		return false;
	varies = note_given(&given, args);
	if (IsA(site->node, FuncExpr))
		(void) note_given(&given, defaults_of(function, list_length(args)));
	if (given.names != NIL)
		given.open = false;
	given.nothing = given.names == NIL && !given.open;
	if (site->asked->given != NULL && varies)
		hand_on(&given, site->asked->given);
	note_function(site->asked, function, &given);
	return false;
}

void
asked_note_functions(Asked *asked, Node *node)
{
	Site		site = {asked, node};

	(void) check_functions_in_node(node, note_site, &site);
}

/* ---- Bodies. ---- */

/* A call that is given that. */
static void
note_asked(Asked *asked, const Given *given)
{
	ListCell   *lc;

	foreach(lc, given->names)
		asked_note_name(asked, lfirst(lc));
	if (given->open)
		asked_note_name(asked, NULL);
	if (given->nothing)
		asked_note_name(asked, pstrdup(STORE_DEFAULT_NAME));
}

/* A body of standard SQL: what it asks by its parameters, its caller says. */
static void
look_into_tree(Asked *asked, Node *body, const Given *given)
{
	Given		by_caller = *given;
	bool		unknown = asked->unknown;
	bool		passed;

	asked->unknown = false;
	asked->given = given;
	(void) asked_find_calls(body, asked);
	asked->given = NULL;
	passed = asked->unknown;
	asked->unknown = unknown;
	if (!passed)
		return;
	by_caller.open |= by_caller.nothing;
	by_caller.nothing = false;
	note_asked(asked, &by_caller);
}

/* What one text says. */
typedef struct Said
{
	Asked	   *asked;
	List	   *parameters;		/* its function's own that may be options, or a model's name */
	List	   *functions;		/* OIDs of the user's own */
	bool		asks;			/* it has the name of one that asks */
	int			calls;			/* words that are such a name, or that of one of the user's own that takes options */
	int			told;			/* words in quotes that are a model's name */
	int			handed;			/* words that are one of the parameters */
	bool		model;			/* it says "model" */
	List	   *models;			/* the names in quotes */
	List	   *dropped;		/* those of models that were dropped */
} Said;

/* All functions of a name: which of them is called cannot be told. */
static void
note_identifier(void *context, const char *word)
{
	Said	   *said = context;
	bool		asks = asked_is_asker(word);
	NamedFunctions *named = asks ? NULL : asked_functions_of(said->asked->inside, word);
	ListCell   *lc;

	said->asks |= asks;
	said->calls += asks || (named != NULL && named->options);
	foreach(lc, said->parameters)
		said->handed += strcmp(lfirst(lc), word) == 0;
	said->model |= strcmp(word, "model") == 0;
	if (named != NULL && asked_is_first_said(said->asked->inside, named))
		said->functions = list_concat(said->functions, named->functions);
}

static void
note_quoted(void *context, const char *word)
{
	Said	   *said = context;
	NamedModel *named = asked_model_of(said->asked->inside, word);

	/* One that is an identifier has been met as such. */
	if (!asked_is_identifier(word))
		note_identifier(context, word);
	said->told += named != NULL;
	if (named != NULL && named->dropped)
		said->dropped = asked_add_name(said->dropped, named->name);
	else if (named != NULL)
		said->models = asked_add_name(said->models, named->name);
}

/*
 * What functions are called with whose names a text has.  Where it has more of them than of models, some calls may hand
 * on what its own function is called with; where it does not speak of that either, some give nothing.
 */
static Given
given_in(const Said *said, const Given *by)
{
	bool		elsewhere = said->models == NIL && said->model;
	bool		nothing = by->nothing || said->calls > said->told + said->handed;
	Given		given = {.names = list_copy(said->models)};

	if (said->calls <= said->told)
		return given;
	given.names = add_names(given.names, by->names);
	given.open = by->open || (nothing && elsewhere);
	given.nothing = nothing && !elsewhere;
	return given;
}

static void
note_named(Asked *asked, Oid function, const Given *in_text)
{
	Given		given = *in_text;

	given.names = list_copy(given.names);
	(void) note_given(&given, defaults_of(function, -1));
	given.open = in_text->open;
	given.nothing |= !takes_options(function);
	note_function(asked, function, &given);
}

/* The parameters that may say which model: of type jsonb, else texts but the first, which is a message. */
static List *
parameters_of(HeapTuple function)
{
	List	   *found = NIL;
	bool		options = asked_has_options((Form_pg_proc) GETSTRUCT(function));
	Oid		   *types;
	char	  **names;
	char	   *modes;
	int			n = get_func_arg_info(function, &types, &names, &modes);
	int			number = 0;

	for (int i = 0; i < n; i++)
	{
		Oid			type = base_of(types[i]);

		if (modes != NULL && (modes[i] == PROARGMODE_OUT || modes[i] == PROARGMODE_TABLE))
			continue;
		number++;
		if (options ? type != JSONBOID : number == 1 || (type != TEXTOID && type != VARCHAROID))
			continue;
		found = lappend(found, psprintf("$%d", number));
		if (names != NULL && names[i][0] != '\0')
			found = lappend(found, names[i]);
	}
	return found;
}

/* A model that was dropped is meant only if no other is: a word may happen to be its name. */
static void
look_into_text(Asked *asked, HeapTuple function, const char *text, const Given *by)
{
	Said		said = {.asked = asked, .parameters = parameters_of(function)};
	Given		given;
	ListCell   *lc;

	asked_begin_text(asked->inside);
	asked_identifiers(text, note_identifier, &said);
	asked_quoted(text, note_quoted, &said);
	if (said.models == NIL)
		said.models = said.dropped;
	given = given_in(&said, by);
	foreach(lc, said.functions)
		note_named(asked, lfirst_oid(lc), &given);
	if (said.asks)
		note_asked(asked, &given);
}

/* An aggregate is what it is made of. */
static void
note_parts(Asked *asked, Oid aggregate, const Given *given)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	note_function(asked, form->aggtransfn, given);
	note_function(asked, form->aggfinalfn, given);
	note_function(asked, form->aggcombinefn, given);
	note_function(asked, form->aggmtransfn, given);
	note_function(asked, form->aggminvtransfn, given);
	note_function(asked, form->aggmfinalfn, given);
	ReleaseSysCache(tuple);
}

static void
look_into(Asked *asked, Oid function, const Given *given)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	Datum		body;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	look_into_tree(asked, (Node *) defaults_of(function, -1), given);
	body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &isnull);
	if (form->prokind == PROKIND_AGGREGATE)
		note_parts(asked, function, given);
	else if (!isnull)
		look_into_tree(asked, stringToNode(TextDatumGetCString(body)), given);
	else if (asked_asks(function))
		note_asked(asked, given);
	else if (form->prolang != INTERNALlanguageId && form->prolang != ClanguageId)
	{
		body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		if (!isnull)
			look_into_text(asked, tuple, TextDatumGetCString(body), given);
	}
	ReleaseSysCache(tuple);
}

static void
note_silent(HTAB *called)
{
	HASH_SEQ_STATUS status;
	const Called *one;

	hash_seq_init(&status, called);
	while ((one = hash_seq_search(&status)) != NULL)
		asked_note_silent(one->function);
}

void
asked_look_inside(Asked *asked)
{
	List	   *names = asked->names;
	bool		unknown = asked->unknown;
	uint64		seen = asked_changes();

	asked->names = NIL;
	asked->unknown = false;
	while (asked->waiting != NIL)
	{
		Called	   *called = llast(asked->waiting);
		/* A function may call itself. */
		Given		given = called->given;

		asked->waiting = list_delete_last(asked->waiting);
		called->waits = false;
		given.names = list_copy(given.names);
		look_into(asked, called->function, &given);
	}
	if (asked->called != NULL && asked->names == NIL && !asked->unknown && asked_changes() == seen)
		note_silent(asked->called);
	asked->names = add_names(names, asked->names);
	asked->unknown |= unknown;
}
