/*
 * batch_calls.c
 *	  Which calls the batch node may answer, and where in an expression they may stand.
 *
 * A call may be answered ahead where its expression always evaluates it: arguments of
 * functions and operators, the first argument of COALESCE, AND and OR, what a CASE looks at
 * first.  Behind a short cut it stays where it is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "batch.h"

#define MAX_FUNCTIONS 8

/* fsi_classify and fsi_classify_multi, (text, text[]) and (text, text[], jsonb), of this database's extension. */
static Oid	functions[MAX_FUNCTIONS];
static int	n_functions;
static uint64 changes = 1;		/* in pg_proc */
static uint64 known_at;			/* changes when functions were looked up */

static void
forget_functions(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	changes++;
}

void
batch_calls_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, forget_functions, (Datum) 0);
}

static bool
is_classify(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		isnull;
	Datum		source;
	char	   *symbol;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	symbol = isnull ? "" : TextDatumGetCString(source);
	found = proc->prolang == ClanguageId && proc->proisstrict && !proc->proretset &&
		(proc->pronargs == 2 || proc->pronargs == BATCH_MAX_ARGS) &&
		((proc->prorettype == TEXTOID && strcmp(symbol, "fsi_classify") == 0) ||
		 (proc->prorettype == TEXTARRAYOID && strcmp(symbol, "fsi_classify_multi") == 0));
	ReleaseSysCache(tuple);
	return found;
}

/* By membership in the extension, whatever schema it lives in. */
static void
look_up_functions(void)
{
	Oid			extension = get_extension_oid("fsi_intent", true);
	Relation	rel;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	n_functions = 0;
	if (!OidIsValid(extension))
		return;
	rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, key);
	while (n_functions < MAX_FUNCTIONS && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->deptype == DEPENDENCY_EXTENSION && depend->classid == ProcedureRelationId &&
			is_classify(depend->objid))
			functions[n_functions++] = depend->objid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

bool
batch_has_functions(void)
{
	/* A change during the look-up, and an error in it, makes the next statement look again. */
	uint64		seen = changes;

	if (known_at != seen)
	{
		look_up_functions();
		known_at = seen;
	}
	return n_functions > 0;
}

bool
batch_is_call(const Node *node)
{
	const FuncExpr *f = (const FuncExpr *) node;

	if (node == NULL || !IsA(node, FuncExpr) || f->funcid < FirstNormalObjectId)
		return false;
	for (int i = 0; i < n_functions; i++)
		if (f->funcid == functions[i])
			return true;
	return false;
}

static bool has_case_test(Node *node, void *context);

/* What a CASE's conditions test is its own. */
static bool
case_has_case_test(CaseExpr *c, void *context)
{
	ListCell   *lc;

	foreach(lc, c->args)
		if (has_case_test((Node *) lfirst_node(CaseWhen, lc)->result, context))
			return true;
	return has_case_test((Node *) c->arg, context) || has_case_test((Node *) c->defresult, context);
}

/* Whether an expression takes a value from the one around it. */
static bool
has_case_test(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CaseTestExpr) || IsA(node, CoerceToDomainValue))
		return true;
	if (IsA(node, CaseExpr) && ((CaseExpr *) node)->arg != NULL)
		return case_has_case_test((CaseExpr *) node, context);
	if (IsA(node, ArrayCoerceExpr))
		return has_case_test((Node *) ((ArrayCoerceExpr *) node)->arg, context);
	return expression_tree_walker(node, has_case_test, context);
}

/* Whether a call's arguments may be evaluated ahead of its row's turn. */
static bool
may_hoist(const FuncExpr *call)
{
	Node	   *args = (Node *) call->args;

	return list_length(call->args) <= BATCH_MAX_ARGS && !contain_volatile_functions(args) &&
		!expression_returns_set(args) && !has_case_test(args, NULL);
}

static void
find_in_first(List *list, List **calls)
{
	if (list != NIL)
		batch_find_calls(linitial(list), calls);
}

static void
find_in_all(List *list, List **calls)
{
	ListCell   *lc;

	foreach(lc, list)
		batch_find_calls(lfirst(lc), calls);
}

static void
find_in_function(FuncExpr *f, List **calls)
{
	List	   *inner = NIL;

	/* A set-returning function is evaluated at its own pace. */
	if (f->funcretset)
		return;
	find_in_all(f->args, &inner);
	if (inner != NIL)
		*calls = list_concat_unique(*calls, inner);
	else if (batch_is_call((Node *) f) && may_hoist(f))
		*calls = list_append_unique(*calls, f);
}

static void
find_in_case(CaseExpr *c, List **calls)
{
	batch_find_calls((Node *) c->arg, calls);
	batch_find_calls((Node *) linitial_node(CaseWhen, c->args)->expr, calls);
}

void
batch_find_calls(Node *node, List **calls)
{
	if (node == NULL)
		return;
	switch (nodeTag(node))
	{
		case T_List:
			find_in_all((List *) node, calls);
			break;
		case T_TargetEntry:
			batch_find_calls((Node *) ((TargetEntry *) node)->expr, calls);
			break;
		case T_FuncExpr:
			find_in_function((FuncExpr *) node, calls);
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			if (!((OpExpr *) node)->opretset)
				find_in_all(((OpExpr *) node)->args, calls);
			break;
		case T_ScalarArrayOpExpr:
			find_in_all(((ScalarArrayOpExpr *) node)->args, calls);
			break;
		case T_MinMaxExpr:
			find_in_all(((MinMaxExpr *) node)->args, calls);
			break;
		case T_ArrayExpr:
			find_in_all(((ArrayExpr *) node)->elements, calls);
			break;
		case T_RowExpr:
			find_in_all(((RowExpr *) node)->args, calls);
			break;
		case T_BoolExpr:
			find_in_first(((BoolExpr *) node)->args, calls);
			break;
		case T_CoalesceExpr:
			find_in_first(((CoalesceExpr *) node)->args, calls);
			break;
		case T_RowCompareExpr:
			find_in_first(((RowCompareExpr *) node)->largs, calls);
			find_in_first(((RowCompareExpr *) node)->rargs, calls);
			break;
		case T_CaseExpr:
			find_in_case((CaseExpr *) node, calls);
			break;
		case T_RelabelType:
			batch_find_calls((Node *) ((RelabelType *) node)->arg, calls);
			break;
		case T_CoerceViaIO:
			batch_find_calls((Node *) ((CoerceViaIO *) node)->arg, calls);
			break;
		case T_ArrayCoerceExpr:
			batch_find_calls((Node *) ((ArrayCoerceExpr *) node)->arg, calls);
			break;
		case T_CoerceToDomain:
			batch_find_calls((Node *) ((CoerceToDomain *) node)->arg, calls);
			break;
		case T_CollateExpr:
			batch_find_calls((Node *) ((CollateExpr *) node)->arg, calls);
			break;
		case T_FieldSelect:
			batch_find_calls((Node *) ((FieldSelect *) node)->arg, calls);
			break;
		case T_NullTest:
			batch_find_calls((Node *) ((NullTest *) node)->arg, calls);
			break;
		case T_BooleanTest:
			batch_find_calls((Node *) ((BooleanTest *) node)->arg, calls);
			break;
		case T_SubscriptingRef:
			batch_find_calls((Node *) ((SubscriptingRef *) node)->refexpr, calls);
			break;
		default:
			/* Subplans, aggregates and whatever else has a pace of its own. */
			break;
	}
}

/* PostgreSQL's own, and the same for the same arguments: it runs nobody's code and looks into no table. */
static bool
is_foreign_function(Oid function, void *context)
{
	HeapTuple	tuple;
	bool		foreign = true;

	(void) context;
	if (function >= FirstNormalObjectId)
		return true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		foreign = form->prolang != INTERNALlanguageId || form->provolatile != PROVOLATILE_IMMUTABLE;
		ReleaseSysCache(tuple);
	}
	return foreign;
}

/* A type whose values are bytes and nothing else, or an array of them. */
static bool
is_plain_type(Oid type)
{
	Oid			element = get_element_type(type);

	switch (OidIsValid(element) ? element : type)
	{
		case BOOLOID:
		case BYTEAOID:
		case CHAROID:
		case NAMEOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
			return true;
		default:
			return false;
	}
}

/*
 * Whether an expression may run what a user has written (a cast, a domain's constraint, the input or output of an enum, a
 * view), or hold a resource when it fails.  What is known to do neither is listed; all else may.
 */
static bool
has_loud_part(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_CaseWhen:
			break;
		case T_Var:
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_ArrayExpr:
		case T_SubscriptingRef:
			if (!is_plain_type(exprType(node)))
				return true;
			break;
		default:
			return true;
	}
	return check_functions_in_node(node, is_foreign_function, context) ||
		expression_tree_walker(node, has_loud_part, context);
}

bool
batch_is_quiet(Node *node)
{
	return !has_loud_part(node, NULL);
}

static bool
has_param(Node *node, void *params)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXEC && bms_is_member(((Param *) node)->paramid, params);
	return expression_tree_walker(node, has_param, params);
}

bool
batch_has_late_param(Node *node, void *params)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_CaseExpr:
		case T_CoalesceExpr:
		case T_BoolExpr:
		case T_SubscriptingRef:
			return has_param(node, params);
		default:
			return expression_tree_walker(node, batch_has_late_param, params);
	}
}
