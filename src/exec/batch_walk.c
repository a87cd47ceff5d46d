/*
 * batch_walk.c
 *	  All expressions and all children of a finished plan; whether anything in it is volatile.
 *
 * PostgreSQL has walkers for expressions and for plan states, but none for plans.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "batch.h"

#define VISIT(expr) \
	do { if ((expr) != NULL && walker((Node *) (expr), context)) return true; } while (0)

static bool
walk_scan(Plan *plan, bool (*walker) (Node *expr, void *context), void *context)
{
	switch (nodeTag(plan))
	{
		case T_SampleScan:
			VISIT(((SampleScan *) plan)->tablesample);
			break;
		case T_IndexScan:
			VISIT(((IndexScan *) plan)->indexqual);
			VISIT(((IndexScan *) plan)->indexorderby);
			break;
		case T_IndexOnlyScan:
			VISIT(((IndexOnlyScan *) plan)->indexqual);
			VISIT(((IndexOnlyScan *) plan)->indexorderby);
			break;
		case T_BitmapIndexScan:
			VISIT(((BitmapIndexScan *) plan)->indexqual);
			break;
		case T_BitmapHeapScan:
			VISIT(((BitmapHeapScan *) plan)->bitmapqualorig);
			break;
		case T_TidScan:
			VISIT(((TidScan *) plan)->tidquals);
			break;
		case T_TidRangeScan:
			VISIT(((TidRangeScan *) plan)->tidrangequals);
			break;
		case T_FunctionScan:
			VISIT(((FunctionScan *) plan)->functions);
			break;
		case T_ValuesScan:
			VISIT(((ValuesScan *) plan)->values_lists);
			break;
		case T_TableFuncScan:
			VISIT(((TableFuncScan *) plan)->tablefunc);
			break;
		case T_ForeignScan:
			VISIT(((ForeignScan *) plan)->fdw_exprs);
			VISIT(((ForeignScan *) plan)->fdw_recheck_quals);
			break;
		case T_CustomScan:
			/* Our own repeat what stands in the target list, filter and scan tuple. */
			if (!batch_is_node(plan))
				VISIT(((CustomScan *) plan)->custom_exprs);
			break;
		default:
			break;
	}
	return false;
}

static bool
walk_modify(ModifyTable *modify, bool (*walker) (Node *expr, void *context), void *context)
{
	VISIT(modify->returningLists);
	VISIT(modify->onConflictSet);
	VISIT(modify->onConflictWhere);
	VISIT(modify->mergeActionLists);
	VISIT(compat_merge_conditions(modify));
	return false;
}

bool
batch_walk_expressions(Plan *plan, bool (*walker) (Node *expr, void *context), void *context)
{
	VISIT(plan->targetlist);
	VISIT(plan->qual);
	switch (nodeTag(plan))
	{
		case T_NestLoop:
			VISIT(((Join *) plan)->joinqual);
			break;
		case T_MergeJoin:
			VISIT(((Join *) plan)->joinqual);
			VISIT(((MergeJoin *) plan)->mergeclauses);
			break;
		case T_HashJoin:
			VISIT(((Join *) plan)->joinqual);
			VISIT(((HashJoin *) plan)->hashclauses);
			break;
		case T_Hash:
			VISIT(((Hash *) plan)->hashkeys);
			break;
		case T_Memoize:
			VISIT(((Memoize *) plan)->param_exprs);
			break;
		case T_Limit:
			VISIT(((Limit *) plan)->limitCount);
			VISIT(((Limit *) plan)->limitOffset);
			break;
		case T_Result:
			VISIT(((Result *) plan)->resconstantqual);
			break;
		case T_WindowAgg:
			VISIT(((WindowAgg *) plan)->startOffset);
			VISIT(((WindowAgg *) plan)->endOffset);
			VISIT(((WindowAgg *) plan)->runCondition);
			break;
		case T_ModifyTable:
			return walk_modify((ModifyTable *) plan, walker, context);
		default:
			return walk_scan(plan, walker, context);
	}
	return false;
}

static bool
walk_list(List *plans, bool (*walker) (Plan *plan, void *context), void *context)
{
	ListCell   *lc;

	foreach(lc, plans)
		if (walker(lfirst(lc), context))
			return true;
	return false;
}

bool
batch_walk_children(Plan *plan, bool (*walker) (Plan *plan, void *context), void *context)
{
	if (plan->lefttree != NULL && walker(plan->lefttree, context))
		return true;
	if (plan->righttree != NULL && walker(plan->righttree, context))
		return true;
	switch (nodeTag(plan))
	{
		case T_Append:
			return walk_list(((Append *) plan)->appendplans, walker, context);
		case T_MergeAppend:
			return walk_list(((MergeAppend *) plan)->mergeplans, walker, context);
		case T_BitmapAnd:
			return walk_list(((BitmapAnd *) plan)->bitmapplans, walker, context);
		case T_BitmapOr:
			return walk_list(((BitmapOr *) plan)->bitmapplans, walker, context);
		case T_SubqueryScan:
			return walker(((SubqueryScan *) plan)->subplan, context);
		case T_CustomScan:
			return walk_list(((CustomScan *) plan)->custom_plans, walker, context);
		default:
			return false;
	}
}

/* ---------------------------------------------------------------- volatility */

typedef struct VolatileCount
{
	int			random;
	int			other;
} VolatileCount;

static bool
count_function(Oid function, void *context)
{
	VolatileCount *count = context;

	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return false;
	if (function == COMPAT_F_RANDOM)
		count->random++;
	else
		count->other++;
	return false;
}

static bool
count_volatile(Node *node, void *context)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, count_function, context);
	if (IsA(node, NextValueExpr))
		((VolatileCount *) context)->other++;
	/* Locks are taken one by one, too. */
	if (IsA(node, Query) && ((Query *) node)->rowMarks != NIL)
		((VolatileCount *) context)->other++;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, count_volatile, context, 0);
	return expression_tree_walker(node, count_volatile, context);
}

bool
batch_query_is_volatile(Query *query, bool *draws)
{
	VolatileCount count = {0};

	(void) count_volatile((Node *) query, &count);
	*draws = count.other == 0 && count.random == 1;
	return count.other > 0 || count.random > 1;
}

typedef struct PlanCheck
{
	PlannedStmt *stmt;
	Bitmapset  *seen;			/* subplans */
	Bitmapset  *params;			/* executor parameters that stand for something volatile */
	bool		locks;			/* locks are, too */
} PlanCheck;

static bool plan_is_volatile(Plan *plan, void *context);

static bool
subplan_is_volatile(PlanCheck *check, int plan_id)
{
	Plan	   *plan = list_nth(check->stmt->subplans, plan_id - 1);

	if (bms_is_member(plan_id, check->seen))
		return false;
	check->seen = bms_add_member(check->seen, plan_id);
	/* A WITH that modifies a table runs to its end whoever reads it. */
	return plan != NULL && !IsA(plan, ModifyTable) && plan_is_volatile(plan, check);
}

static bool
function_is_volatile(Oid function, void *context)
{
	(void) context;
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

static bool
expression_is_volatile(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, function_is_volatile, NULL) || IsA(node, NextValueExpr))
		return true;
	if (IsA(node, SubPlan) && subplan_is_volatile(context, ((SubPlan *) node)->plan_id))
		return true;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC &&
		bms_is_member(((Param *) node)->paramid, ((PlanCheck *) context)->params))
		return true;
	return expression_tree_walker(node, expression_is_volatile, context);
}

static bool
plan_is_volatile(Plan *plan, void *context)
{
	PlanCheck  *check = context;
	ListCell   *lc;

	if (IsA(plan, LockRows) && check->locks)
		return true;
	if (batch_walk_expressions(plan, expression_is_volatile, context))
		return true;
	foreach(lc, plan->initPlan)
		if (expression_is_volatile(lfirst(lc), context))
			return true;
	if (IsA(plan, CteScan) && subplan_is_volatile(context, ((CteScan *) plan)->ctePlanId))
		return true;
	return batch_walk_children(plan, plan_is_volatile, context);
}

/* A cursor's rows are locked as they are fetched; any other statement wants them all, if nothing in it stops before. */
static bool
locks_as_fetched(const PlannedStmt *stmt)
{
	return stmt->commandType == CMD_SELECT;
}

bool
batch_plan_is_volatile(Plan *plan, PlannedStmt *stmt, Bitmapset *volatile_params, bool in_part)
{
	PlanCheck	check = {stmt, NULL, volatile_params, in_part || locks_as_fetched(stmt)};

	return plan_is_volatile(plan, &check);
}

/* ---------------------------------------------------------------- parameters of InitPlans */

typedef struct InitParams
{
	Bitmapset  *params;
	Bitmapset  *plans;			/* numbers of the InitPlans */
	PlannedStmt *volatile_in;	/* NULL: those of all InitPlans */
} InitParams;

static bool
find_init_params(Plan *plan, void *context)
{
	InitParams *found = context;
	ListCell   *lc;
	ListCell   *param;

	foreach(lc, plan->initPlan)
	{
		SubPlan    *init = lfirst_node(SubPlan, lc);
		PlanCheck	check = {found->volatile_in, NULL, found->params, false};

		check.locks = found->volatile_in != NULL && locks_as_fetched(found->volatile_in);
		if (found->volatile_in != NULL && !subplan_is_volatile(&check, init->plan_id))
			continue;
		found->plans = bms_add_member(found->plans, init->plan_id);
		foreach(param, init->setParam)
			found->params = bms_add_member(found->params, lfirst_int(param));
	}
	return batch_walk_children(plan, find_init_params, context);
}

static void
find_all_init_params(PlannedStmt *stmt, InitParams *found)
{
	ListCell   *lc;

	(void) find_init_params(stmt->planTree, found);
	foreach(lc, stmt->subplans)
		if (lfirst(lc) != NULL)
			(void) find_init_params(lfirst(lc), found);
}

Bitmapset *
batch_init_params(PlannedStmt *stmt, Bitmapset **plans)
{
	InitParams	found = {NULL, NULL, NULL};

	find_all_init_params(stmt, &found);
	if (plans != NULL)
		*plans = found.plans;
	return found.params;
}

Bitmapset *
batch_volatile_params(PlannedStmt *stmt)
{
	InitParams	found = {NULL, NULL, stmt};
	int			n;

	/* One may stand for what another one is made of. */
	do
	{
		n = bms_num_members(found.params);
		find_all_init_params(stmt, &found);
	} while (bms_num_members(found.params) > n);
	return found.params;
}
