/*
 * batch_node.c
 *	  The custom node: read rows ahead, have them answered, hand them on one by one.
 *
 * Read-ahead grows 1, 4, 16, 64 ... so that whoever asks for one row pays for one, up to
 * fsi_intent.batch_rows or as many as work_mem holds; a LIMIT above says how many are sure to
 * be asked for, and how many at most.  Rows are copied column by column; a large value that
 * equals the one of the row before is kept once.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "batch.h"

#define STEP_FACTOR 4

/* Worth comparing with the row before. */
#define SHARED_VALUE_BYTES 256

static Node *create_state(CustomScan *scan);

const CustomScanMethods batch_scan_methods = {
	.CustomName = BATCH_NODE_NAME,
	.CreateCustomScanState = create_state
};

/* ---------------------------------------------------------------- WHERE CURRENT OF */

/*
 * The scan of a table by whose row that of a node is known, as core looks for it to update the row that a cursor is at; or
 * NULL.  Core does not look below a custom node, but takes it for such a scan if it says so.
 */
static ScanState *
scan_below(PlanState *ps)
{
	if (ps == NULL)
		return NULL;
	switch (nodeTag(ps))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
			return (ScanState *) ps;
		case T_ResultState:
		case T_LimitState:
			return scan_below(outerPlanState(ps));
		case T_SubqueryScanState:
			return scan_below(((SubqueryScanState *) ps)->subplan);
		case T_CustomScanState:
			/* A batch node has the place of its row as its scan has. */
			return batch_is_node(ps->plan) && ((BatchState *) ps)->source ? (ScanState *) ps : NULL;
		default:
			return NULL;
	}
}

static ItemPointerData
place_of_row(const ScanState *source)
{
	if (IsA(source, IndexOnlyScanState))
		return ((const IndexOnlyScanState *) source)->ioss_ScanDesc->xs_heaptid;
	return source->ss_ScanTupleSlot->tts_tid;
}

/* ---------------------------------------------------------------- begin and end */

static BatchStatement *statements;

static void
forget_statement(void *arg)
{
	BatchStatement **link = &statements;

	while (*link != arg)
		link = &(*link)->next;
	*link = (*link)->next;
}

/* What the nodes of this statement share, kept as long as its executor state. */
static BatchStatement *
find_statement(EState *estate)
{
	BatchStatement *s;

	for (s = statements; s != NULL; s = s->next)
		if (s->estate == estate)
			return s;
	s = MemoryContextAllocZero(estate->es_query_cxt, sizeof(BatchStatement));
	s->estate = estate;
	s->next = statements;
	statements = s;
	s->gone.func = forget_statement;
	s->gone.arg = s;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &s->gone);
	return s;
}

static List *
calls_of(const BatchState *b)
{
	return list_nth(castNode(CustomScan, b->css.ss.ps.plan)->custom_exprs, BATCH_CALLS);
}

/* The right to execute a function is looked at where an expression that calls it is prepared. */
static void
check_right(Oid function)
{
	AclResult	result = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, get_func_name(function));
	InvokeFunctionExecuteHook(function);
}

static void
init_calls(BatchState *b)
{
	BatchCall  *call = b->calls;
	ListCell   *lc;

	foreach(lc, calls_of(b))
	{
		FuncExpr   *f = lfirst_node(FuncExpr, lc);
		ListCell   *arg;

		check_right(f->funcid);
		call->multi = f->funcresulttype == TEXTARRAYOID;
		foreach(arg, f->args)
			call->args[call->n_args++] = ExecInitExpr(lfirst(arg), &b->css.ss.ps);
		call++;
	}
}

static void
begin(CustomScanState *node, EState *estate, int eflags)
{
	BatchState *b = (BatchState *) node;
	CustomScan *scan = castNode(CustomScan, node->ss.ps.plan);
	List	   *limit = list_nth(scan->custom_exprs, BATCH_LIMIT);

	/* A scroll cursor has a Material above. */
	Assert(!(eflags & (EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK)));
	b->n_calls = list_length(calls_of(b));
	b->n_inputs = list_length(scan->custom_scan_tlist) - b->n_calls;
	b->need = intVal(list_nth(scan->custom_private, BATCH_NEED));
	b->cap = intVal(list_nth(scan->custom_private, BATCH_CAP)) && scan->scan.plan.qual == NIL;
	outerPlanState(node) = ExecInitNode(outerPlan(scan), estate, eflags);
	b->source = scan_below(outerPlanState(node));
	if (b->source != NULL)
		node->ss.ss_currentRelation = b->source->ss_currentRelation;
	b->calls = palloc0(sizeof(BatchCall) * b->n_calls);
	init_calls(b);
	b->params = ExecInitExprList(list_nth(scan->custom_exprs, BATCH_PARAMS), &node->ss.ps);
	if (limit != NIL)
	{
		b->limit_count = ExecInitExpr(linitial(limit), &node->ss.ps);
		b->limit_offset = ExecInitExpr(lsecond(limit), &node->ss.ps);
	}
	GetUserIdAndSecContext(&b->user, &b->security);
	b->step = 1;
	b->capacity = fsi_batch_rows;
	b->statement = find_statement(estate);
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	b->rows = palloc(sizeof(BatchRow) * b->capacity);
	b->rows_context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent batch rows", ALLOCSET_DEFAULT_SIZES);
	b->args_context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent batch arguments",
											ALLOCSET_DEFAULT_SIZES);
}

static void
end(CustomScanState *node)
{
	ExecEndNode(outerPlanState(node));
}

/* ---------------------------------------------------------------- what a LIMIT above asks for */

static int64
limit_value(ExprState *expr, ExprContext *econtext, int64 null_value)
{
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (expr != NULL)
		value = ExecEvalExprSwitchContext(expr, econtext, &isnull);
	/* The Limit node complains of a negative one. */
	return isnull ? null_value : Max(DatumGetInt64(value), 0);
}

/* Rows that the LIMIT above asks for, -1 without one; a sort below need keep no more than it asks for at most. */
static void
learn_bound(BatchState *b)
{
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;
	int64		count = -1;

	if (b->bound_known)
		return;
	if (b->limit_count != NULL)
		count = limit_value(b->limit_count, econtext, -1);
	if (count >= 0 && pg_add_s64_overflow(count, limit_value(b->limit_offset, econtext, 0), &count))
		count = -1;
	b->bound = count;
	b->bound_known = true;
	if (b->cap)
		ExecSetTupleBound(count, outerPlanState(b));
}

/* ---------------------------------------------------------------- again */

static void
rescan(CustomScanState *node)
{
	BatchState *b = (BatchState *) node;

	ExecClearTuple(node->ss.ps.ps_ResultTupleSlot);
	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	b->n_rows = 0;
	b->next = 0;
	b->step = 1;
	b->exhausted = false;
	b->emitted = 0;
	b->bound_known = false;
	learn_bound(b);
	if (outerPlanState(node)->chgParam == NULL)
		ExecReScan(outerPlanState(node));
}

/* ---------------------------------------------------------------- reading ahead */

static int
rows_to_read(BatchState *b)
{
	int64		rows = b->step;

	learn_bound(b);
	if (b->bound >= 0)
	{
		int64		left = Max(b->bound - b->emitted, 1);

		if (b->need)
			rows = Max(rows, left);
		if (b->cap)
			rows = Min(rows, left);
	}
	return (int) Min(rows, b->capacity);
}

/* Copy a value into the rows' memory, or share that of the row before. */
static Datum
keep_value(Datum value, Form_pg_attribute att, const BatchRow *before, int i)
{
	Size		size;

	if (att->attbyval)
		return value;
	if (before == NULL || before->nulls[i] ||
		(att->attlen == -1 && VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value))))
		return datumCopy(value, false, att->attlen);
	size = datumGetSize(value, false, att->attlen);
	if (size >= SHARED_VALUE_BYTES && size == datumGetSize(before->values[i], false, att->attlen) &&
		memcmp(DatumGetPointer(value), DatumGetPointer(before->values[i]), size) == 0)
		return before->values[i];
	return datumCopy(value, false, att->attlen);
}

static void
keep_row(BatchState *b, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(b->rows_context);
	int			n = b->n_inputs + b->n_calls;
	BatchRow   *row = &b->rows[b->n_rows];

	slot_getallattrs(slot);
	row->values = palloc(n * (sizeof(Datum) + sizeof(bool)));
	row->nulls = (bool *) (row->values + n);
	row->answered = false;
	if (b->source != NULL)
		row->tid = place_of_row(b->source);
	for (int i = 0; i < b->n_inputs; i++)
	{
		row->nulls[i] = slot->tts_isnull[i];
		row->values[i] = row->nulls[i] ? (Datum) 0 :
			keep_value(slot->tts_values[i], TupleDescAttr(slot->tts_tupleDescriptor, i),
					   b->n_rows > 0 ? row - 1 : NULL, i);
	}
	for (int i = b->n_inputs; i < n; i++)
	{
		row->nulls[i] = true;
		row->values[i] = (Datum) 0;
	}
	b->n_rows++;
	MemoryContextSwitchTo(old);
}

/*
 * The next row from below, or NULL.  A batch node there keeps back a row that may raise an
 * error while others wait to be handed on: *held, it is to be asked again once they are.
 */
static TupleTableSlot *
row_below(BatchState *b, bool *held)
{
	PlanState  *outer = outerPlanState(b);
	BatchState *below = batch_is_node(outer->plan) ? (BatchState *) outer : NULL;
	TupleTableSlot *slot;

	if (below != NULL)
	{
		below->hold = b->hold || b->n_rows > 0;
		below->held = false;
	}
	slot = ExecProcNode(outer);
	*held = below != NULL && below->held;
	return slot;
}

/* Fill the rows again and answer them; false: there are no more, or one that is held back. */
static bool
read_ahead(BatchState *b)
{
	int			wanted = rows_to_read(b);
	bool		full = false;
	bool		held = false;

	ExecClearTuple(b->css.ss.ss_ScanTupleSlot);
	MemoryContextReset(b->rows_context);
	b->n_rows = 0;
	b->next = 0;
	while (!b->exhausted && !full && !held && b->n_rows < wanted)
	{
		TupleTableSlot *slot = row_below(b, &held);

		if (TupIsNull(slot))
			b->exhausted = !held;
		else
		{
			keep_row(b, slot);
			full = MemoryContextMemAllocated(b->rows_context, true) > (Size) work_mem * 1024;
		}
	}
	if (b->n_rows == 0)
	{
		b->held = held;
		return false;
	}
	batch_answer(b);
	b->step = Min(b->step * STEP_FACTOR, b->capacity);
	batch_publish_counts(b);
	return true;
}

void
batch_show_row(BatchState *b, const BatchRow *row)
{
	TupleTableSlot *slot = b->css.ss.ss_ScanTupleSlot;
	int			n = b->n_inputs + b->n_calls;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->values, sizeof(Datum) * n);
	memcpy(slot->tts_isnull, row->nulls, sizeof(bool) * n);
	ExecStoreVirtualTuple(slot);
	if (b->source != NULL)
	{
		slot->tts_tid = row->tid;
		slot->tts_tableOid = RelationGetRelid(b->css.ss.ss_currentRelation);
	}
	b->css.ss.ps.ps_ExprContext->ecxt_scantuple = slot;
}

/* ---------------------------------------------------------------- handing on */

/* The calls in their answers' place. */
static Node *
with_calls(Node *node, void *context)
{
	const BatchState *b = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == INDEX_VAR && ((Var *) node)->varattno > b->n_inputs)
		return copyObject(list_nth(calls_of(b), ((Var *) node)->varattno - b->n_inputs - 1));
	return expression_tree_mutator(node, with_calls, context);
}

/* Prepare what rows of a failed batch need, the first time that there is one; who fetches may be somebody else by then. */
static void
prepare_slow(BatchState *b)
{
	PlanState  *ps = &b->css.ss.ps;
	MemoryContext old;
	Oid			user;
	int			security;

	if (b->slow_ready)
		return;
	old = MemoryContextSwitchTo(ps->state->es_query_cxt);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(b->user, b->security);
	b->slow_qual = ExecInitQual((List *) with_calls((Node *) ps->plan->qual, b), ps);
	b->slow_projection = ExecBuildProjectionInfo((List *) with_calls((Node *) ps->plan->targetlist, b),
												 ps->ps_ExprContext, ps->ps_ResultTupleSlot, ps,
												 b->css.ss.ss_ScanTupleSlot->tts_tupleDescriptor);
	b->slow_ready = true;
	SetUserIdAndSecContext(user, security);
	MemoryContextSwitchTo(old);
}

/* The row as the node puts it out; NULL: its filter lets it go. */
static TupleTableSlot *
put_out(BatchState *b, const BatchRow *row)
{
	PlanState  *ps = &b->css.ss.ps;
	ProjectionInfo *projection = ps->ps_ProjInfo;
	ExprState  *qual = ps->qual;

	if (!row->answered)
	{
		prepare_slow(b);
		projection = b->slow_projection;
		qual = b->slow_qual;
		b->counts.single++;
	}
	ResetExprContext(ps->ps_ExprContext);
	batch_show_row(b, row);
	if (qual != NULL && !ExecQual(qual, ps->ps_ExprContext))
	{
		InstrCountFiltered1(ps, 1);
		return NULL;
	}
	b->emitted++;
	return projection ? ExecProject(projection) : b->css.ss.ss_ScanTupleSlot;
}

static TupleTableSlot *
next_row(CustomScanState *node)
{
	BatchState *b = (BatchState *) node;
	TupleTableSlot *out = NULL;

	while (out == NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (b->next == b->n_rows && !read_ahead(b))
			return ExecClearTuple(node->ss.ps.ps_ResultTupleSlot);
		if (b->hold && !b->rows[b->next].answered)
		{
			b->held = true;
			return ExecClearTuple(node->ss.ps.ps_ResultTupleSlot);
		}
		out = put_out(b, &b->rows[b->next++]);
	}
	return out;
}

static const CustomExecMethods exec_methods = {
	.CustomName = BATCH_NODE_NAME,
	.BeginCustomScan = begin,
	.ExecCustomScan = next_row,
	.EndCustomScan = end,
	.ReScanCustomScan = rescan,
	.EstimateDSMCustomScan = batch_estimate_dsm,
	.InitializeDSMCustomScan = batch_initialize_dsm,
	.ReInitializeDSMCustomScan = batch_reinitialize_dsm,
	.InitializeWorkerCustomScan = batch_initialize_worker,
	.ShutdownCustomScan = batch_shutdown,
	.ExplainCustomScan = batch_explain
};

static Node *
create_state(CustomScan *scan)
{
	BatchState *b = (BatchState *) newNode(sizeof(BatchState), T_CustomScanState);

	(void) scan;
	b->css.methods = &exec_methods;
	return (Node *) b;
}
