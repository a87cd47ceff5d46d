/*
 * batch_plan.c
 *	  Put the custom node above a plan node that computes calls for every row.
 *
 * Filters are never reordered: from the first one that holds a call on, all move up into the
 * custom node, so that a security barrier below or among them still sees each row first.
 * What a later filter or the target list calls is answered by one more node above, for the
 * rows that are left.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

#include "batch.h"

/* How the expressions above are written over the columns below. */
typedef struct Columns
{
	List	   *inputs;			/* expressions that the node below yields */
	List	   *calls;			/* what follows them: the answers; NIL: calls stay in place */
	List	   *loud;			/* arguments that must be computed below */
	int			varno;			/* of the columns */
} Columns;

bool
batch_is_node(const Plan *plan)
{
	return plan != NULL && IsA(plan, CustomScan) && ((const CustomScan *) plan)->methods == &batch_scan_methods;
}

/* What only the node below can compute. */
static bool
is_input(Node *node, const Columns *columns)
{
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
			return true;
		case T_FuncExpr:
			if (((FuncExpr *) node)->funcretset)
				return true;
			break;
		case T_OpExpr:
			if (((OpExpr *) node)->opretset)
				return true;
			break;
		default:
			break;
	}
	return list_member(columns->loud, node);
}

static bool
collect_inputs(Node *node, void *context)
{
	Columns    *columns = context;

	if (node == NULL)
		return false;
	if (is_input(node, columns))
	{
		columns->inputs = list_append_unique(columns->inputs, node);
		return false;
	}
	return expression_tree_walker(node, collect_inputs, context);
}

/* A Var is what its numbers say: what the node above takes for its typmod may differ. */
static bool
is_same(Node *a, Node *b)
{
	if (IsA(a, Var) && IsA(b, Var))
		return ((Var *) a)->varno == ((Var *) b)->varno && ((Var *) a)->varattno == ((Var *) b)->varattno;
	return equal(a, b);
}

static int
position(List *list, Node *node)
{
	for (int i = 0; i < list_length(list); i++)
		if (is_same(list_nth(list, i), node))
			return i;
	return -1;
}

static Node *
column(Node *of, int varno, int number)
{
	return (Node *) makeVar(varno, (AttrNumber) number, exprType(of), exprTypmod(of), exprCollation(of), 0);
}

static Node *
over_columns(Node *node, void *context)
{
	Columns    *columns = context;
	int			at;

	if (node == NULL)
		return NULL;
	if (batch_is_call(node) && (at = position(columns->calls, node)) >= 0)
		return column(node, columns->varno, list_length(columns->inputs) + at + 1);
	if (is_input(node, columns))
		return column(node, columns->varno, position(columns->inputs, node) + 1);
	return expression_tree_mutator(node, over_columns, context);
}

/* The calls themselves over the input columns. */
static List *
calls_over_columns(const Columns *columns, int varno)
{
	Columns		inner = {columns->inputs, NIL, columns->loud, varno};
	List	   *calls = NIL;
	ListCell   *lc;

	foreach(lc, columns->calls)
		calls = lappend(calls, expression_tree_mutator(lfirst(lc), over_columns, &inner));
	return calls;
}

static List *
as_targets(List *expressions)
{
	List	   *targets = NIL;
	ListCell   *lc;

	foreach(lc, expressions)
		targets = lappend(targets, makeTargetEntry(lfirst(lc), list_length(targets) + 1, NULL, false));
	return targets;
}

static bool
collect_params(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		*(List **) context = list_append_unique(*(List **) context, node);
		return false;
	}
	return expression_tree_walker(node, collect_params, context);
}

/* A filter above takes from what the nodes below hand on: no LIMIT says any longer how much that is at most. */
static void
forget_cap(Plan *plan)
{
	for (; batch_is_node(plan); plan = plan->lefttree)
		lfirst(list_nth_cell(((CustomScan *) plan)->custom_private, BATCH_CAP)) = makeInteger(false);
}

/*
 * The custom node itself above plan, which yields columns->inputs.  tlist and filter are
 * written in the terms of columns->inputs and ->calls.
 */
static Plan *
make_custom(Plan *plan, List *tlist, List *filter, Columns *columns, const BatchBound *bound, BatchPlanner *planner)
{
	CustomScan *scan = makeNode(CustomScan);
	Plan	   *top = &scan->scan.plan;
	List	   *below = NIL;
	List	   *calls = calls_over_columns(columns, INDEX_VAR);
	List	   *params = NIL;
	ListCell   *lc;

	foreach(lc, columns->inputs)
		below = lappend(below, column(lfirst(lc), OUTER_VAR, list_length(below) + 1));
	scan->custom_scan_tlist = as_targets(list_concat(below, calls_over_columns(columns, OUTER_VAR)));
	if (filter != NIL)
		forget_cap(plan);
	columns->varno = INDEX_VAR;
	top->targetlist = (List *) over_columns((Node *) tlist, columns);
	top->qual = (List *) over_columns((Node *) filter, columns);
	(void) collect_params((Node *) calls, &params);
	scan->custom_exprs = list_make3(calls, params, bound->count ? list_make2(bound->count, bound->offset) : NIL);
	scan->custom_private = list_make2(makeInteger(bound->need), makeInteger(bound->cap));
	scan->methods = &batch_scan_methods;

	top->startup_cost = plan->startup_cost;
	top->total_cost = plan->total_cost;
	top->plan_rows = plan->plan_rows;
	top->plan_width = plan->plan_width;
	/* Asked for by the executor when it shares the counts of workers with EXPLAIN. */
	top->parallel_aware = planner->in_worker;
	top->parallel_safe = plan->parallel_safe;
	top->plan_node_id = planner->next_id++;
	top->lefttree = plan;
	top->initPlan = plan->initPlan;
	top->extParam = bms_copy(plan->extParam);
	top->allParam = bms_copy(plan->allParam);
	plan->initPlan = NIL;
	/* An Append waits for its own children alone. */
	plan->async_capable = false;
	planner->hidden += compat_disabled_nodes(plan);
	planner->made++;
	return top;
}

/* ---------------------------------------------------------------- calls for every row that a node puts out */

static bool
has_multi_expression(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) && ((SubPlan *) node)->subLinkType == MULTIEXPR_SUBLINK)
		return true;
	return expression_tree_walker(node, has_multi_expression, context);
}

/* Nodes that compute a target list of their own. */
static bool
can_project(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_ValuesScan:
		case T_TableFuncScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
		case T_Agg:
		case T_Group:
		case T_WindowAgg:
		case T_ProjectSet:
		case T_Gather:
		case T_GatherMerge:
			return true;
		case T_ForeignScan:
			/* Not one that updates where the table is. */
			return ((const ForeignScan *) plan)->operation == CMD_SELECT;
		case T_Result:
			/* One row without input: nothing to batch. */
			return plan->lefttree != NULL;
		case T_CustomScan:
			return batch_is_node(plan);
		default:
			return false;
	}
}

/* The node's last filter, whose end may as well be applied above it; NULL: none. */
static List **
last_filter(Plan *plan)
{
	List	   *calls = NIL;

	switch (nodeTag(plan))
	{
		case T_Gather:
		case T_GatherMerge:
		case T_WindowAgg:
		case T_ProjectSet:
			return NULL;
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			/* Where the first match may end the search, every condition has its say in the join. */
			if (((Join *) plan)->jointype == JOIN_INNER && !((Join *) plan)->inner_unique)
				batch_find_calls((Node *) ((Join *) plan)->joinqual, &calls);
			return calls != NIL ? &((Join *) plan)->joinqual : &plan->qual;
		default:
			return &plan->qual;
	}
}

/* Leave out calls whose arguments look into a subplan that may do something volatile, now or perhaps. */
static List *
usable(List *calls, const BatchPlanner *planner)
{
	List	   *kept = NIL;
	ListCell   *lc;

	foreach(lc, calls)
		if (!planner->volatile_query ||
			(!contain_subplans(lfirst(lc)) && !batch_has_late_param(lfirst(lc), planner->volatile_params)))
			kept = lappend(kept, lfirst(lc));
	return kept;
}

/* Split off the filters from the first one with a call on; its calls. */
static List *
split_filter(Plan *plan, List **filter, List **moved, const BatchPlanner *planner)
{
	for (int i = 0; i < list_length(*filter); i++)
	{
		List	   *calls = NIL;

		batch_find_calls(list_nth(*filter, i), &calls);
		calls = usable(calls, planner);
		if (calls == NIL)
			continue;
		*moved = list_copy_tail(*filter, i);
		*filter = list_truncate(list_copy(*filter), i);
		if (filter != &plan->qual)
		{
			*moved = list_concat(*moved, plan->qual);
			plan->qual = NIL;
		}
		return calls;
	}
	return NIL;
}

/* Whether the custom node may evaluate an argument, which it does where errors are caught, having computed parameters. */
static bool
is_its_own(Node *arg, const BatchPlanner *planner)
{
	return batch_is_quiet(arg) && !batch_has_late_param(arg, planner->init_params);
}

static void
find_loud(Columns *columns, const BatchPlanner *planner)
{
	ListCell   *lc;

	foreach(lc, columns->calls)
	{
		ListCell   *arg;

		foreach(arg, ((FuncExpr *) lfirst(lc))->args)
			if (!is_its_own(lfirst(arg), planner))
				columns->loud = list_append_unique(columns->loud, lfirst(arg));
	}
}

typedef struct Renumbered
{
	List	   *tlist;
	const Columns *columns;
} Renumbered;

static Node *
renumber(Node *node, void *context)
{
	const Renumbered *r = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && !IS_SPECIAL_VARNO(((Var *) node)->varno))
	{
		Var		   *var = copyObject((Var *) node);
		TargetEntry *target = list_nth(r->tlist, var->varattno - 1);

		var->varattno = (AttrNumber) (position(r->columns->inputs, (Node *) target->expr) + 1);
		return (Node *) var;
	}
	return expression_tree_mutator(node, renumber, context);
}

/* The condition that ends a window early takes window functions by their places in the node's own target list. */
static void
renumber_run_condition(Plan *plan, List *tlist, const Columns *columns)
{
	Renumbered	r = {tlist, columns};

	if (IsA(plan, WindowAgg))
		((WindowAgg *) plan)->runCondition = (List *) renumber((Node *) ((WindowAgg *) plan)->runCondition, &r);
}

/*
 * PostgreSQL computes the columns also for what is no row: that on which a window's condition ends it, and the end of a
 * set.  Volatile ones must go on being computed for it.
 */
static bool
is_computed_for_no_row(const Plan *plan)
{
	bool		ends = IsA(plan, ProjectSet) || (IsA(plan, WindowAgg) && ((const WindowAgg *) plan)->runCondition != NIL);

	return ends && contain_volatile_functions((Node *) plan->targetlist);
}

/* One custom node above plan for calls of its target list, or of the filters that move up; NULL: it may not be. */
static Plan *
wrap_once(Plan *plan, List *moved, List *calls, const BatchBound *bound, BatchPlanner *planner)
{
	Columns		columns = {NIL, calls, NIL, INDEX_VAR};
	List	   *tlist = plan->targetlist;

	if (has_multi_expression((Node *) tlist, NULL) || is_computed_for_no_row(plan))
		return NULL;
	find_loud(&columns, planner);
	(void) collect_inputs((Node *) tlist, &columns);
	(void) collect_inputs((Node *) moved, &columns);
	(void) collect_inputs((Node *) calls, &columns);
	if (list_length(columns.inputs) + list_length(calls) > MaxTupleAttributeNumber)
		return NULL;
	plan->targetlist = as_targets(columns.inputs);
	if (planner->volatile_query && batch_plan_is_volatile(plan, planner->stmt, planner->volatile_params, planner->in_part))
	{
		plan->targetlist = tlist;
		return NULL;
	}
	renumber_run_condition(plan, tlist, &columns);
	return make_custom(plan, tlist, moved, &columns, bound, planner);
}

static Plan *
wrap_filter(Plan *plan, const BatchBound *bound, BatchPlanner *planner)
{
	List	  **filter = last_filter(plan);
	List	   *old_filter;
	List	   *old_qual = plan->qual;
	List	   *moved = NIL;
	List	   *calls;
	Plan	   *wrapped;

	if (filter == NULL)
		return NULL;
	old_filter = *filter;
	calls = split_filter(plan, filter, &moved, planner);
	if (calls == NIL)
		return NULL;
	wrapped = wrap_once(plan, moved, calls, bound, planner);
	if (wrapped == NULL)
	{
		*filter = old_filter;
		plan->qual = old_qual;
	}
	return wrapped;
}

static Plan *
wrap_targets(Plan *plan, const BatchBound *bound, BatchPlanner *planner)
{
	List	   *calls = NIL;

	batch_find_calls((Node *) plan->targetlist, &calls);
	calls = usable(calls, planner);
	return calls == NIL ? NULL : wrap_once(plan, NIL, calls, bound, planner);
}

/* ---------------------------------------------------------------- calls for every row that an aggregate takes in */

static bool
find_in_aggregates(Node *node, void *context)
{
	List	  **calls = context;

	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
	{
		Aggref	   *agg = (Aggref *) node;

		/* Behind a FILTER, the arguments are evaluated for some rows only. */
		batch_find_calls(agg->aggfilter ? (Node *) agg->aggfilter : (Node *) agg->args, calls);
		return false;
	}
	return expression_tree_walker(node, find_in_aggregates, context);
}

/* In an aggregate's arguments and filter alone. */
static Node *
in_aggregates(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Aggref))
	{
		Aggref	   *agg = (Aggref *) expression_tree_mutator(node, in_aggregates, context);

		agg->args = (List *) over_columns((Node *) agg->args, context);
		agg->aggfilter = (Expr *) over_columns((Node *) agg->aggfilter, context);
		return (Node *) agg;
	}
	return expression_tree_mutator(node, in_aggregates, context);
}

static List *
all_columns(const Plan *plan)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, plan->targetlist)
		columns = lappend(columns, column((Node *) ((TargetEntry *) lfirst(lc))->expr, OUTER_VAR,
										  list_length(columns) + 1));
	return columns;
}

List *
batch_same_targets(const Plan *plan)
{
	List	   *columns = all_columns(plan);
	List	   *tlist = NIL;
	ListCell   *lc;

	foreach(lc, plan->targetlist)
	{
		TargetEntry *target = flatCopyTargetEntry(lfirst(lc));

		target->expr = list_nth(columns, list_length(tlist));
		tlist = lappend(tlist, target);
	}
	return tlist;
}

/* The columns of plan as they are, then the answers. */
static List *
with_answers(const Plan *plan, const Columns *columns)
{
	List	   *tlist = batch_same_targets(plan);
	ListCell   *lc;

	foreach(lc, columns->calls)
		tlist = lappend(tlist, makeTargetEntry(lfirst(lc), list_length(tlist) + 1, NULL, false));
	return tlist;
}

/* Let the input of an aggregate bring the answers along. */
static void
wrap_input(Plan *agg, BatchPlanner *planner)
{
	Columns		columns = {NIL, NIL, NIL, OUTER_VAR};
	BatchBound	none = {0};
	List	   *calls = NIL;
	Plan	   *input = agg->lefttree;

	(void) find_in_aggregates((Node *) agg->targetlist, &calls);
	(void) find_in_aggregates((Node *) agg->qual, &calls);
	calls = usable(calls, planner);
	for (int i = list_length(calls) - 1; i >= 0; i--)
		if (!is_its_own((Node *) ((FuncExpr *) list_nth(calls, i))->args, planner))
			calls = list_delete_nth_cell(calls, i);
	if (calls == NIL || list_length(input->targetlist) + list_length(calls) > MaxTupleAttributeNumber ||
		(planner->volatile_query && batch_plan_is_volatile(input, planner->stmt, planner->volatile_params, planner->in_part)))
		return;
	columns.inputs = all_columns(input);
	columns.calls = calls;
	agg->targetlist = (List *) in_aggregates((Node *) agg->targetlist, &columns);
	agg->qual = (List *) in_aggregates((Node *) agg->qual, &columns);
	agg->lefttree = make_custom(input, with_answers(input, &columns), NIL, &columns, &none, planner);
	compat_add_disabled_nodes(agg, -compat_disabled_nodes(input));
}

/*
 * Every node takes all filters that are left, one of them for good: without a limit plans, and what it takes to make
 * them, would grow with the square of their number.
 */
#define MAX_STAGES 100

Plan *
batch_wrap(Plan *plan, const BatchBound *bound, BatchPlanner *planner)
{
	if (IsA(plan, Agg))
		wrap_input(plan, planner);
	if (!can_project(plan))
		return plan;
	for (int i = 0; i < MAX_STAGES; i++)
	{
		Plan	   *wrapped;

		CHECK_FOR_INTERRUPTS();
		wrapped = wrap_filter(plan, bound, planner);
		if (wrapped == NULL)
			wrapped = wrap_targets(plan, bound, planner);
		if (wrapped == NULL)
			return plan;
		plan = wrapped;
	}
	return plan;
}
