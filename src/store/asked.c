/*
 * asked.c
 *	  Which models an expression asks: its calls of the extension's functions, and the name that each gives.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "store.h"

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

typedef struct Asked
{
	Oid			extension;
	List	   *names;			/* of char * */
	bool		unknown;		/* and others, which only the call itself can tell */
} Asked;

/* NULL: it cannot be told. */
static void
note_name(Asked *asked, char *name)
{
	ListCell   *lc;

	if (name == NULL)
		asked->unknown = true;
	foreach(lc, asked->names)
		if (name != NULL && strcmp(lfirst(lc), name) == 0)
			return;
	if (name != NULL)
		asked->names = lappend(asked->names, name);
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

/* What the option "model" says, which may be nothing. */
static char *
model_option(Jsonb *options)
{
	JsonbValue *value = JB_ROOT_IS_OBJECT(options) ?
		getKeyJsonValueFromContainer(&options->root, "model", strlen("model"), NULL) : NULL;

	if (value == NULL || value->type != jbvString)
		return pstrdup(STORE_DEFAULT_NAME);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The name in an argument, which may not be given; NULL: it is no constant. */
static char *
named_by(Node *arg)
{
	Const	   *constant;

	while (arg != NULL && IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;
	if (arg == NULL)
		return pstrdup(STORE_DEFAULT_NAME);
	if (!IsA(arg, Const))
		return NULL;
	constant = (Const *) arg;
	if (constant->constisnull)
		return pstrdup(STORE_DEFAULT_NAME);
	if (constant->consttype == JSONBOID)
		return model_option(DatumGetJsonbP(constant->constvalue));
	return constant->consttype == TEXTOID || constant->consttype == VARCHAROID ?
		TextDatumGetCString(constant->constvalue) : NULL;
}

static void
note_call(Asked *asked, FuncExpr *call)
{
	char	   *name;

	if (getExtensionOfObject(ProcedureRelationId, call->funcid) != asked->extension)
		return;
	name = get_func_name(call->funcid);
	for (size_t i = 0; i < lengthof(askers); i++)
		if (strcmp(askers[i].name, name) == 0)
			note_name(asked, named_by(argument(call->args, askers[i].argument)));
}

static bool
find_calls(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr))
		note_call(context, (FuncExpr *) node);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_calls, context, 0);
	return expression_tree_walker(node, find_calls, context);
}

List *
store_models_asked(Node *node, bool *unknown)
{
	Asked		asked = {.extension = get_extension_oid("fsi_intent", true)};

	if (OidIsValid(asked.extension))
		(void) find_calls(node, &asked);
	*unknown = asked.unknown;
	return asked.names;
}
