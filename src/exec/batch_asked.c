/*
 * batch_asked.c
 *	  What parallel workers ask is noted by the process that may commit their answers.
 *
 * Those of a materialized view may come from workers alone, and then this process has asked nothing.  Whether a
 * statement makes one cannot be told: it may stand in a function that the view calls, or in a trigger's.  It is looked
 * at when it starts, for its plan may be kept from a former transaction.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "batch.h"
#include "fsi_store.h"

static ExecutorStart_hook_type prev_executor_start;

/* Of one statement. */
typedef struct Noting
{
	StoreNamed *named;
	bool		unknown;		/* a column or a parameter says which model */
} Noting;

static bool
note_asked(Node *expr, void *context)
{
	Noting	   *noting = context;
	bool		unknown;
	ListCell   *lc;

	foreach(lc, store_models_asked(expr, noting->named, &unknown))
		store_note_kept(lfirst(lc));
	noting->unknown |= unknown;
	return false;
}

static bool
note_plan(Plan *plan, void *noting)
{
	check_stack_depth();
	/* The calls of our own node stand in neither its target list nor its filter. */
	if (batch_is_node(plan))
		(void) note_asked((Node *) ((CustomScan *) plan)->custom_scan_tlist, noting);
	(void) batch_walk_expressions(plan, note_asked, noting);
	return batch_walk_children(plan, note_plan, noting);
}

static void
note_statement(const PlannedStmt *stmt)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent asked", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Noting		noting = {.named = store_named()};
	ListCell   *lc;

	(void) note_plan(stmt->planTree, &noting);
	foreach(lc, stmt->subplans)
		if (lfirst(lc) != NULL)
			(void) note_plan(lfirst(lc), &noting);
	if (noting.unknown)
		store_note_any_kept();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
start(QueryDesc *query, int eflags)
{
	if (query->plannedstmt->parallelModeNeeded && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) && batch_has_functions())
		note_statement(query->plannedstmt);
	if (prev_executor_start != NULL)
		prev_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

void
batch_asked_init(void)
{
	prev_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
}
