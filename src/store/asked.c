/*
 * asked.c
 *	  Which models an expression asks: its calls of the extension's functions, and the name that each gives.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "asked.h"

/* Functions whose answers rest on a model, and which argument (from 0) names it: by the key "model" where it is jsonb. */
static const struct
{
	const char *name;
	int			argument;
}			askers[] =
{
	{"fsi_classify", 2}, {"fsi_classify_multi", 2}, {"fsi_classify_many", 2}, {"fsi_scores", 2}, {"fsi_prompt", 2},
	{"fsi_prompts", 2},
	{"fsi_evaluate", 2}, {"fsi_evaluate_intents", 2}, {"fsi_evaluate_confusion", 2}, {"fsi_evaluate_calibration", 2},
	{"fsi_evaluate_thresholds", 2}, {"fsi_evaluate_generation", 2},
	{"fsi_embed", 1}, {"fsi_tokens", 1}, {"fsi_generate", 1}, {"fsi_model_info", 0}
};

/* All of them, of however many arguments. */
#define MAX_FUNCTIONS 64

/* Functions that were found to be the extension's, until pg_proc changes: every statement asks that stores answers. */
static Oid	own[MAX_FUNCTIONS];
static int	n_own;
static uint64 changes;

/* Functions that were found to ask nothing: to search the text of one again means to read all of pg_proc. */
static HTAB *silent;
static uint64 silent_since;		/* changes */

List *
asked_add_name(List *names, char *name)
{
	ListCell   *lc;

	foreach(lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return names;
	return lappend(names, name);
}

void
asked_note_name(Asked *asked, char *name)
{
	if (name == NULL)
		asked->unknown = true;
	else
		asked->names = asked_add_name(asked->names, name);
}

/* The argument of that number, by place or by name; NULL: left to its default. */
static Node *
argument(List *args, int number)
{
	ListCell   *lc;
	int			i = 0;

	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);

		if (IsA(arg, NamedArgExpr) && ((NamedArgExpr *) arg)->argnumber == number)
			return (Node *) ((NamedArgExpr *) arg)->arg;
		if (!IsA(arg, NamedArgExpr) && i == number)
			return arg;
		i++;
	}
	return NULL;
}

char *
asked_model_option(Jsonb *options)
{
	JsonbValue *value = JB_ROOT_IS_OBJECT(options) ?
		getKeyJsonValueFromContainer(&options->root, "model", strlen("model"), NULL) : NULL;

	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

Node *
asked_uncast(Node *arg)
{
	for (;;)
		if (IsA(arg, RelabelType))
			arg = (Node *) ((RelabelType *) arg)->arg;
		else if (IsA(arg, CoerceToDomain))
			arg = (Node *) ((CoerceToDomain *) arg)->arg;
		else
			return arg;
}

/* The name in an argument, which may not be given; NULL: it is no constant. */
static char *
named_by(Node *arg)
{
	Const	   *constant;
	char	   *name;

	if (arg == NULL)
		return pstrdup(STORE_DEFAULT_NAME);
	arg = asked_uncast(arg);
	if (!IsA(arg, Const))
		return NULL;
	constant = (Const *) arg;
	if (constant->constisnull)
		return pstrdup(STORE_DEFAULT_NAME);
	if (constant->consttype == JSONBOID)
	{
		name = asked_model_option(DatumGetJsonbP(constant->constvalue));
		return name ? name : pstrdup(STORE_DEFAULT_NAME);
	}
	return constant->consttype == TEXTOID || constant->consttype == VARCHAROID ?
		TextDatumGetCString(constant->constvalue) : NULL;
}

bool
asked_is_asker(const char *name)
{
	for (size_t i = 0; i < lengthof(askers); i++)
		if (strcmp(askers[i].name, name) == 0)
			return true;
	return false;
}

static void
forget_own(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	n_own = 0;
	changes++;
}

uint64
asked_changes(void)
{
	static bool registered;

	if (!registered)
		CacheRegisterSyscacheCallback(PROCOID, forget_own, (Datum) 0);
	registered = true;
	return changes;
}

bool
asked_is_silent(Oid function)
{
	return silent != NULL && silent_since == asked_changes() && hash_search(silent, &function, HASH_FIND, NULL) != NULL;
}

void
asked_note_silent(Oid function)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Oid)};

	if (silent != NULL && silent_since != asked_changes())
	{
		hash_destroy(silent);
		silent = NULL;
	}
	if (silent == NULL)
		silent = hash_create("fsi_intent silent functions", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	silent_since = asked_changes();
	(void) hash_search(silent, &function, HASH_ENTER, NULL);
}

static bool
is_own(Oid function)
{
	uint64		seen;
	Oid			extension;

	if (function < FirstNormalObjectId)
		return false;
	for (int i = 0; i < n_own; i++)
		if (own[i] == function)
			return true;
	seen = asked_changes();
	extension = get_extension_oid("fsi_intent", true);
	if (!OidIsValid(extension) || getExtensionOfObject(ProcedureRelationId, function) != extension)
		return false;
	if (changes == seen && n_own < MAX_FUNCTIONS)
		own[n_own++] = function;
	return true;
}

bool
asked_asks(Oid function)
{
	char	   *name = !asked_is_silent(function) && is_own(function) ? get_func_name(function) : NULL;

	/* It may have gone just now. */
	return name != NULL && asked_is_asker(name);
}

/* The function that a node calls by itself, be it by an operator. */
static Oid
function_of(Node *node)
{
	if (IsA(node, FuncExpr))
		return ((FuncExpr *) node)->funcid;
	if (!IsA(node, OpExpr))
		return InvalidOid;
	set_opfuncid((OpExpr *) node);
	return ((OpExpr *) node)->opfuncid;
}

static void
note_call(Asked *asked, Oid function, List *args)
{
	char	   *name = get_func_name(function);

	for (size_t i = 0; name != NULL && i < lengthof(askers); i++)
		if (strcmp(askers[i].name, name) == 0)
			asked_note_name(asked, named_by(argument(args, askers[i].argument)));
}

bool
asked_find_calls(Node *node, void *context)
{
	Asked	   *asked = context;

	if (node == NULL)
		return false;
	if (asked_asks(function_of(node)))
		note_call(asked, function_of(node), asked_arguments(node));
	else if (asked->inside != NULL)
		asked_note_functions(asked, node);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, asked_find_calls, asked, 0);
	return expression_tree_walker(node, asked_find_calls, asked);
}

List *
store_models_asked(Node *node, StoreNamed *inside, bool *unknown)
{
	Asked		asked = {.inside = inside};

	(void) asked_find_calls(node, &asked);
	if (inside != NULL)
		asked_look_inside(&asked);
	*unknown = asked.unknown;
	return asked.names;
}
