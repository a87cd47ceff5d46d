/*
 * batch.h
 *	  Between the files of the batch node: calls, plans, execution.
 *
 * The planner hook (batch_hook.c) looks at a finished plan.  Where a node computes
 * fsi_classify() or fsi_classify_multi() for every row (batch_calls.c), it puts a custom scan node above it
 * (batch_plan.c): the node below yields what the calls and the other columns are made of,
 * the custom node reads rows ahead, answers them together (batch_node.c, batch_answer.c)
 * and computes the columns with the answers in the calls' place.
 *
 * What is guaranteed: the rows are the plan's own, in its order.  A call that raises an
 * error raises it at its row and not before: the rows of a batch that failed are computed
 * with the calls in place, one by one, as they are asked for.  Nothing volatile is
 * evaluated earlier than without the node.  An error from below the node (the scan, its
 * filter, another function in an argument) may come as much earlier as rows are read ahead.
 */
#ifndef BATCH_H
#define BATCH_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/plannodes.h"

#include "exec.h"

#define BATCH_NODE_NAME "FsiBatch"
#define BATCH_MAX_ARGS 3

extern bool fsi_enable_batch;
extern int	fsi_batch_rows;
extern bool fsi_debug_require_batch;

/* --- batch_calls.c: which calls, and where --- */

extern void batch_calls_init(void);
/* Whether the database has the extension. */
extern bool batch_has_functions(void);
extern bool batch_is_call(const Node *node);
/*
 * Append to *calls those that are evaluated whenever node is, each once; innermost first: what
 * encloses one of them is not among them.
 */
extern void batch_find_calls(Node *node, List **calls);
/*
 * Whether an expression can be evaluated and its error caught: immutable functions of PostgreSQL's own over plain
 * types.
 */
extern bool batch_is_quiet(Node *node);
/*
 * Whether one of these executor parameters, a Bitmapset, stands where a short cut may pass it by: what it stands for is
 * perhaps never computed.
 */
extern bool batch_has_late_param(Node *node, void *params);

/* --- batch_walk.c: all of a plan --- */

/* Run walker on every expression of the node itself until it returns true. */
extern bool batch_walk_expressions(Plan *plan, bool (*walker) (Node *expr, void *context), void *context);
/* Run walker on the node's children until it returns true. */
extern bool batch_walk_children(Plan *plan, bool (*walker) (Plan *plan, void *context), void *context);
/*
 * Whether a query does something volatile; *draws: it does not, but for a single random(), which draws the same numbers for
 * the same rows whoever reads ahead, unless a scan starts again before its end: WHERE random() < 0.01.
 */
extern bool batch_query_is_volatile(Query *query, bool *draws);
/*
 * The executor parameters that InitPlans set, in all of a statement, and the InitPlans' numbers (plans may be NULL); those
 * parameters that stand for something volatile.
 */
extern Bitmapset *batch_init_params(PlannedStmt *stmt, Bitmapset **plans);
extern Bitmapset *batch_volatile_params(PlannedStmt *stmt);
/*
 * Whether anything in a plan, in the subplans that it uses or behind such parameters is volatile.  Unless all of the plan's
 * rows are sure to be read, the locks that it takes are.
 */
extern bool batch_plan_is_volatile(Plan *plan, PlannedStmt *stmt, Bitmapset *volatile_params, bool in_part);

/* --- batch_plan.c: the custom node --- */

/* What a LIMIT above says of the rows that will be asked for: at least (need), at most (cap) as many. */
typedef struct BatchBound
{
	Node	   *count;			/* NULL: nothing known */
	Node	   *offset;
	bool		need;
	bool		cap;
} BatchBound;

typedef struct BatchPlanner
{
	PlannedStmt *stmt;
	bool		volatile_query;
	bool		draws;			/* a single random(): volatile where a scan may start again before its end */
	bool		in_worker;		/* below a Gather */
	bool		in_part;		/* below what may stop before its input ends */
	Bitmapset  *init_params;	/* executor parameters that InitPlans set */
	Bitmapset  *volatile_params;	/* those of them that stand for something volatile */
	int			next_id;		/* for plan nodes */
	int			hidden;			/* disabled nodes below those made so far, which count none (batch_hook.c) */
	int			made;
} BatchPlanner;

/* The node, or a custom node above it for each stage of calls in its filter and target list. */
extern Plan *batch_wrap(Plan *plan, const BatchBound *bound, BatchPlanner *planner);
extern bool batch_is_node(const Plan *plan);
/* The target list of a node above plan that hands its rows on as they are. */
extern List *batch_same_targets(const Plan *plan);

/* Parts of the custom node's lists. */
enum BatchExprs
{
	BATCH_CALLS = 0,			/* FuncExprs over the node's input columns */
	BATCH_PARAMS,				/* executor parameters in them */
	BATCH_LIMIT					/* count and offset, each or none */
};

enum BatchPrivate
{
	BATCH_NEED = 0,
	BATCH_CAP
};

extern const CustomScanMethods batch_scan_methods;

/* --- batch_asked.c --- */

extern void batch_asked_init(void);

/* --- batch_node.c, batch_answer.c, batch_explain.c: execution --- */

/* What a node has done, for EXPLAIN; all of them counts. */
typedef struct BatchCounts
{
	uint64		batches;		/* forward passes of the model */
	uint64		rows;			/* messages answered ahead, a row's two calls are two */
	uint64		tokens;
	uint64		duplicates;
	uint64		memo_hits;
	uint64		vector_hits;
	uint64		prefix_hits;
	uint64		single;			/* rows of a batch that failed, computed with the calls in place */
} BatchCounts;

typedef struct BatchCall
{
	bool		multi;			/* fsi_classify_multi(): an array of labels */
	int			n_args;
	ExprState  *args[BATCH_MAX_ARGS];
	ExecSlot	slot;
} BatchCall;

/* A row read ahead: its input columns, then its answers. */
typedef struct BatchRow
{
	Datum	   *values;
	bool	   *nulls;
	bool		answered;
	ItemPointerData tid;		/* where it lies in the table that source scans */
} BatchRow;

/* What the nodes of one running statement share. */
typedef struct BatchStatement
{
	EState	   *estate;
	bool		warned;
	struct BatchStatement *next;
	MemoryContextCallback gone;
} BatchStatement;

typedef struct BatchWorkers BatchWorkers;

typedef struct BatchState
{
	CustomScanState css;
	ScanState  *source;			/* what every row comes from, of a table; or NULL */
	int			n_inputs;
	int			n_calls;
	BatchCall  *calls;
	List	   *params;			/* ExprStates */
	ExprState  *limit_count;
	ExprState  *limit_offset;
	bool		need;
	bool		cap;
	int64		bound;			/* rows that the LIMIT passes, -1: none */
	bool		bound_known;
	int64		emitted;
	/* rows read ahead */
	MemoryContext rows_context; /* rows and answers */
	MemoryContext args_context; /* arguments, while they are answered */
	BatchRow   *rows;			/* [capacity], fsi_intent.batch_rows when the plan was started */
	int			capacity;
	int			n_rows;
	int			next;
	int			step;
	bool		exhausted;
	bool		hold;			/* the batch node above has rows in hand: keep back one that may raise an error */
	bool		held;			/* kept one back */
	/* with the calls in place, for rows of a batch that failed */
	bool		slow_ready;
	Oid			user;			/* who started the plan: the rights to what it calls are theirs */
	int			security;
	ExprState  *slow_qual;
	ProjectionInfo *slow_projection;
	BatchStatement *statement;
	BatchCounts counts;
	BatchWorkers *workers;		/* NULL: no parallel query */
} BatchState;

/* Put a row into the node's scan slot. */
extern void batch_show_row(BatchState *b, const BatchRow *row);
/* Answer the rows read ahead; those that are not answered must be computed in the slow way. */
extern void batch_answer(BatchState *b);

extern void batch_explain(CustomScanState *node, List *ancestors, ExplainState *es);
extern Size batch_estimate_dsm(CustomScanState *node, ParallelContext *pcxt);
extern void batch_initialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate);
extern void batch_reinitialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate);
extern void batch_initialize_worker(CustomScanState *node, shm_toc *toc, void *coordinate);
extern void batch_shutdown(CustomScanState *node);
/* Tell the leader what this worker has done so far. */
extern void batch_publish_counts(BatchState *b);

#endif
