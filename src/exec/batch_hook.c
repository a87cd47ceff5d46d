/*
 * batch_hook.c
 *	  The planner hook: from the finished plan to one with batch nodes; the settings.
 *
 * The plan is rewritten when the planner has just made it, before anybody else has seen it.
 * Hooks that were installed before ours plan first, those installed later see our nodes.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planmain.h"
#include "optimizer/planner.h"
#include "tcop/pquery.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "batch.h"

/*
 * 256: four forward passes of 64 rows, among which equal messages are found; a few hundred
 * messages take less memory than the pass itself.
 */
#define BATCH_ROWS_DEFAULT 256
#define BATCH_ROWS_MAX 10000

bool		fsi_enable_batch = true;
int			fsi_batch_rows = BATCH_ROWS_DEFAULT;
bool		fsi_debug_require_batch = false;
static TimestampTz loaded_in;	/* when the statement began for whose planning the library was loaded, or 0 */

static planner_hook_type prev_planner_hook;

static void rewrite(Plan **plan, BatchBound bound, BatchPlanner *planner);
static void rewrite_again(Plan **plan, BatchBound bound, BatchPlanner *planner);

/* ---------------------------------------------------------------- LIMIT */

static bool
is_no_constant(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) || IsA(node, Aggref) || IsA(node, WindowFunc))
		return true;
	return expression_tree_walker(node, is_no_constant, context);
}

/* An expression that the batch node may evaluate as well. */
static bool
is_plain(Node *node)
{
	return batch_is_quiet(node) && !contain_volatile_functions(node) && !is_no_constant(node, NULL);
}

static BatchBound
limit_bound(const Limit *limit)
{
	BatchBound	bound = {0};

	if (limit->limitCount == NULL || !is_plain(limit->limitCount) || !is_plain(limit->limitOffset))
		return bound;
	bound.count = limit->limitCount;
	bound.offset = limit->limitOffset;
	bound.need = true;
	bound.cap = limit->limitOption == LIMIT_OPTION_COUNT;
	return bound;
}

static bool
has_executor_param(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return ((Param *) node)->paramkind == PARAM_EXEC;
	return expression_tree_walker(node, has_executor_param, context);
}

/* What a bound on the node's rows says of its children's rows. */
static BatchBound
bound_below(Plan *plan, BatchBound bound)
{
	BatchBound	none = {0};

	switch (nodeTag(plan))
	{
		case T_Limit:
			return limit_bound((Limit *) plan);
		case T_Result:
			return bound;
		case T_SubqueryScan:
		case T_LockRows:
			/* They may let go of rows. */
			bound.cap = bound.cap && IsA(plan, SubqueryScan) && plan->qual == NIL;
			return bound;
		case T_Append:
		case T_MergeAppend:
			bound.need = false;
			return bound;
		case T_Gather:
		case T_GatherMerge:
			/* Workers know only those of the leader's parameters that their own plan uses. */
			if (has_executor_param(bound.count, NULL) || has_executor_param(bound.offset, NULL))
				return none;
			bound.need = false;
			return bound;
		default:
			return none;
	}
}

/* ---------------------------------------------------------------- the tree */

static void
rewrite_list(List *plans, BatchBound bound, BatchPlanner *planner)
{
	ListCell   *lc;

	foreach(lc, plans)
		rewrite((Plan **) &lfirst(lc), bound, planner);
}

static bool
can_mark(const Plan *plan)
{
	return !batch_is_node(plan) &&
		!(IsA(plan, Result) && plan->lefttree != NULL && !can_mark(plan->lefttree));
}

static Plan *
materialize(Plan *plan, BatchPlanner *planner)
{
	Plan	   *material = materialize_finished_plan(plan);

	/* The core's function is for plans whose references are not final yet. */
	material->targetlist = batch_same_targets(plan);
	material->plan_node_id = planner->next_id++;
	material->extParam = bms_copy(plan->extParam);
	material->allParam = bms_copy(plan->allParam);
	return material;
}

static void
rewrite_children(Plan *plan, BatchBound bound, BatchPlanner *planner)
{
	/* A foreign scan's child stands in for it during rechecks; another extension's node knows its own. */
	if (IsA(plan, ForeignScan) || IsA(plan, CustomScan))
		return;
	if (plan->lefttree != NULL)
		rewrite(&plan->lefttree, bound, planner);
	if (plan->righttree != NULL && IsA(plan, NestLoop))
		rewrite_again(&plan->righttree, bound, planner);
	else if (plan->righttree != NULL)
		rewrite(&plan->righttree, bound, planner);
	if (IsA(plan, Append))
		rewrite_list(((Append *) plan)->appendplans, bound, planner);
	else if (IsA(plan, MergeAppend))
		rewrite_list(((MergeAppend *) plan)->mergeplans, bound, planner);
	else if (IsA(plan, SubqueryScan))
		rewrite(&((SubqueryScan *) plan)->subplan, bound, planner);
	/* A merge join goes back in its inner rows, which the batch node cannot. */
	if (IsA(plan, MergeJoin) && !can_mark(plan->righttree))
		plan->righttree = materialize(plan->righttree, planner);
}

/*
 * EXPLAIN takes a node for disabled that counts more disabled ones than its children do, and does not know of a custom
 * node's child: that node counts none, and neither do those above it count what is below.
 */
static void
rewrite(Plan **plan, BatchBound bound, BatchPlanner *planner)
{
	bool		was_in_worker = planner->in_worker;
	bool		was_in_part = planner->in_part;
	int			hidden = planner->hidden;

	check_stack_depth();
	if (IsA(*plan, Gather) || IsA(*plan, GatherMerge))
		planner->in_worker = true;
	if (IsA(*plan, Limit) || IsA(*plan, MergeJoin) || IsA(*plan, WindowAgg))
		planner->in_part = true;
	else if (IsA(*plan, ModifyTable))
		planner->in_part = false;
	rewrite_children(*plan, bound_below(*plan, bound), planner);
	planner->in_worker = was_in_worker;
	planner->in_part = was_in_part;
	compat_add_disabled_nodes(*plan, hidden - planner->hidden);
	*plan = batch_wrap(*plan, &bound, planner);
}

/* A plan that is scanned again and again, perhaps not to its end. */
static void
rewrite_again(Plan **plan, BatchBound bound, BatchPlanner *planner)
{
	bool		was_volatile = planner->volatile_query;
	bool		was_in_part = planner->in_part;

	planner->volatile_query |= planner->draws;
	planner->in_part = true;
	rewrite(plan, bound, planner);
	planner->volatile_query = was_volatile;
	planner->in_part = was_in_part;
}

static bool
find_last_id(Plan *plan, void *context)
{
	int		   *last = context;

	*last = Max(*last, plan->plan_node_id);
	return batch_walk_children(plan, find_last_id, context);
}

static void
rewrite_statement(PlannedStmt *stmt, bool volatile_query, bool draws, int cursor_options)
{
	BatchPlanner planner = {.stmt = stmt, .volatile_query = volatile_query, .draws = draws};
	BatchBound	none = {0};
	Bitmapset  *init_plans;
	ListCell   *lc;

	(void) find_last_id(stmt->planTree, &planner.next_id);
	foreach(lc, stmt->subplans)
		if (lfirst(lc) != NULL)
			(void) find_last_id(lfirst(lc), &planner.next_id);
	planner.next_id++;
	planner.init_params = batch_init_params(stmt, &init_plans);
	if (volatile_query || draws)
		planner.volatile_params = batch_volatile_params(stmt);

	rewrite(&stmt->planTree, none, &planner);
	foreach(lc, stmt->subplans)
	{
		Plan	  **plan = (Plan **) &lfirst(lc);

		if (*plan == NULL)
			continue;
		if (bms_is_member(foreach_current_index(lc) + 1, init_plans) &&
			bms_is_subset((*plan)->extParam, planner.init_params))
		{
			planner.in_part = true;
			rewrite(plan, none, &planner);
			planner.in_part = false;
		}
		else
			rewrite_again(plan, none, &planner);
	}
	/* Whether a scroll cursor needs its rows kept was decided on the plan that was. */
	if (planner.made > 0 && (cursor_options & CURSOR_OPT_SCROLL) && !ExecSupportsBackwardScan(stmt->planTree))
		stmt->planTree = materialize(stmt->planTree, &planner);
}

/* ---------------------------------------------------------------- debug_require_batch */

static void
refuse_row_by_row(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("calls would be answered row by row"),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* The first call into *found. */
static bool
find_call(Node *node, void *found)
{
	if (node == NULL)
		return false;
	if (!batch_is_call(node))
		return expression_tree_walker(node, find_call, found);
	*(FuncExpr **) found = (FuncExpr *) node;
	return true;
}

/* A call that the plan answers row by row, and the parameters that InitPlans set: they are computed once. */
typedef struct LeftCall
{
	FuncExpr   *call;
	Bitmapset  *once;
} LeftCall;

/* A row without a table is computed once, unless by an outer one's values. */
static bool
find_left_call(Plan *plan, void *context)
{
	LeftCall   *left = context;
	bool		once = IsA(plan, Result) && plan->lefttree == NULL && bms_is_subset(plan->extParam, left->once);

	if (!once && batch_walk_expressions(plan, find_call, &left->call))
		return true;
	return batch_walk_children(plan, find_left_call, context);
}

static void
check_all_batched(PlannedStmt *stmt)
{
	LeftCall	left = {NULL, batch_init_params(stmt, NULL)};
	List	   *plans = list_concat(list_make1(stmt->planTree), stmt->subplans);
	ListCell   *lc;

	foreach(lc, plans)
		if (left.call == NULL && lfirst(lc) != NULL)
			(void) find_left_call(lfirst(lc), &left);
	if (left.call != NULL)
		refuse_row_by_row(psprintf("fsi_intent.debug_require_batch is on and the plan holds a call of %s() outside "
								   "its batch nodes.", get_func_name(left.call->funcid)),
						  "Set it off and EXPLAIN (VERBOSE) shows where the call stands.");
}

/* CREATE TABLE AS plans its query when it runs. */
static bool
is_planning(void)
{
	PlannedStmt *stmt;

	if (!IsTransactionState() || !ActiveSnapshotSet())
		return false;
	if (ActivePortal == NULL)
		return true;
	stmt = list_length(ActivePortal->stmts) == 1 ? linitial_node(PlannedStmt, ActivePortal->stmts) : NULL;
	return stmt != NULL && stmt->utilityStmt != NULL && IsA(stmt->utilityStmt, CreateTableAsStmt);
}

/* Constants are computed by the planner, before there is a portal. */
void
batch_check_planned(void)
{
	if (fsi_debug_require_batch && loaded_in == GetCurrentStatementStartTimestamp() && ActivePortal != NULL &&
		!IsParallelWorker())
		refuse_row_by_row("fsi_intent.debug_require_batch is on and the statement was planned before the library was "
						  "loaded.",
						  "Preload the library, or LOAD 'fsi_intent' first.");
}

/* ---------------------------------------------------------------- hook and settings */

static PlannedStmt *
batch_planner(Query *parse, const char *query_string, int cursor_options, ParamListInfo params)
{
	bool		present = (fsi_enable_batch || fsi_debug_require_batch) && batch_has_functions();
	/* Before the planner scribbles on it. */
	bool		draws = false;
	bool		volatile_query = present && batch_query_is_volatile(parse, &draws);
	PlannedStmt *stmt;

	if (prev_planner_hook != NULL)
		stmt = prev_planner_hook(parse, query_string, cursor_options, params);
	else
		stmt = standard_planner(parse, query_string, cursor_options, params);
	if (present && fsi_enable_batch)
		rewrite_statement(stmt, volatile_query, draws, cursor_options);
	if (present && fsi_debug_require_batch)
		check_all_batched(stmt);
	return stmt;
}

/* Who changes the way of answering tries it: what another way has answered is no trial of it. */
static void
assign_enable_batch(bool newval, void *extra)
{
	(void) extra;
	if (newval != fsi_enable_batch)
		memo_clear();
}

static void
assign_batch_rows(int newval, void *extra)
{
	(void) extra;
	if (newval != fsi_batch_rows)
		memo_clear();
}

void
batch_init(void)
{
	static bool hooked;

	if (host_lacks_setting("fsi_intent.enable_batch"))
		DefineCustomBoolVariable("fsi_intent.enable_batch",
								 "Answer the calls of many rows together where a plan allows it.",
								 "Answers are the same either way.",
								 &fsi_enable_batch, true, PGC_USERSET, GUC_EXPLAIN, NULL, assign_enable_batch, NULL);
	if (host_lacks_setting("fsi_intent.batch_rows"))
		DefineCustomIntVariable("fsi_intent.batch_rows",
								"Number of rows that a plan reads ahead at most to answer them together.",
								NULL,
								&fsi_batch_rows, BATCH_ROWS_DEFAULT, 1, BATCH_ROWS_MAX,
								PGC_USERSET, 0, NULL, assign_batch_rows, NULL);
	if (host_lacks_setting("fsi_intent.debug_require_batch"))
		DefineCustomBoolVariable("fsi_intent.debug_require_batch",
								 "Raise an error for a statement that would answer calls row by row.",
								 NULL,
								 &fsi_debug_require_batch, false, PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	loaded_in = is_planning() ? GetCurrentStatementStartTimestamp() : 0;
	batch_calls_init();
	/* A library loaded twice (EXEC_BACKEND) finds the name taken. */
	if (GetCustomScanMethods(BATCH_NODE_NAME, true) == NULL)
		RegisterCustomScanMethods(&batch_scan_methods);
	if (hooked)
		return;
	prev_planner_hook = planner_hook;
	planner_hook = batch_planner;
	batch_asked_init();
	hooked = true;
}
