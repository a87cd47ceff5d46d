/*
 * query.c
 *	  A query over one table and a stored expression of it: a generated column's, a constraint's, a partition's bounds.
 *
 * The expression is put into the query as the tree that the catalog has, for the parameter $1.  As text it would be
 * looked up by its names once more, as the table's owner: a function or operator that somebody has made since may fit
 * better, and whoever owns a schema may swap its name with another's.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "store.h"

/* ---- Expressions. ---- */

Node *
store_column_expression(Oid relid, AttrNumber column)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Node	   *expression = NULL;

	if (TupleDescAttr(RelationGetDescr(rel), column - 1)->attgenerated == ATTRIBUTE_GENERATED_STORED)
		expression = build_column_default(rel, column);
	table_close(rel, NoLock);
	return expression;
}

Node *
store_constraint_expression(Oid constraint)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	Node	   *expression = NULL;
	Datum		value;
	bool		isnull = true;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	value = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conbin, &isnull);
	if (!isnull)
		expression = stringToNode(TextDatumGetCString(value));
	ReleaseSysCache(tuple);
	return expression;
}

Node *
store_bounds_expression(Oid leaf, Oid root)
{
	Relation	rel = table_open(leaf, AccessShareLock);
	Relation	to = table_open(root, AccessShareLock);
	List	   *bounds = copyObject(RelationGetPartitionQual(rel));
	Node	   *expression = NULL;

	if (bounds != NIL)
		expression = (Node *) make_ands_explicit(map_partition_varattnos(bounds, 1, to, rel));
	table_close(to, NoLock);
	table_close(rel, NoLock);
	return expression;
}

/* ---- From text to plans. ---- */

static Node *
put_expression(Node *node, void *expression)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param))
		return copyObject(expression);
	return expression_tree_mutator(node, put_expression, expression);
}

/* Names may have been given to others since the text was made. */
static void
check_table(const Query *query, Oid relid)
{
	if (linitial_node(RangeTblEntry, query->rtable)->relid != relid)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("relation \"%s\" was renamed meanwhile", get_rel_name(relid)),
				 errhint("Run the statement again.")));
}

/* Names are looked up as who may see them all: the owner's schema may be closed to him, as nobody but a statement asks. */
static Query *
analyze(const char *statement, Oid type)
{
	RawStmt    *parsed = linitial_node(RawStmt, pg_parse_query(statement));
	Query	   *query;
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
	query = parse_analyze_fixedparams(parsed, statement, &type, 1, NULL);
	SetUserIdAndSecContext(user, context);
	return query;
}

/* From here on, to the end of the caller's level of settings, names are those of functions, by that path. */
static List *
plan(const char *statement, Oid relid, Node *expression, const char *path, int options)
{
	Query	   *query = analyze(statement, exprType(expression));

	check_table(query, relid);
	store_set_for_now("search_path", path);
	query = query_tree_mutator(query, put_expression, expression, 0);
	return pg_plan_queries(pg_rewrite_query(query), statement, options, NULL);
}

/* As SPI says where an error is. */
static void
statement_error(void *statement)
{
	errcontext("SQL statement \"%s\"", (const char *) statement);
}

static int64
run(PlannedStmt *planned, const char *statement, DestReceiver *to)
{
	QueryDesc  *query;
	int64		rows;

	if (planned->commandType == CMD_UTILITY)
	{
		ProcessUtility(planned, statement, false, PROCESS_UTILITY_QUERY, NULL, NULL, to, NULL);
		return 0;
	}
	query = CreateQueryDesc(planned, statement, GetActiveSnapshot(), InvalidSnapshot, to, NULL, NULL, 0);
	ExecutorStart(query, 0);
	compat_executor_run(query);
	ExecutorFinish(query);
	rows = (int64) query->estate->es_processed;
	ExecutorEnd(query);
	FreeQueryDesc(query);
	return rows;
}

/* ---- Two figures of all rows. ---- */

typedef struct Figures
{
	DestReceiver pub;
	int64		rows;
	int64		stale;
} Figures;

static void
begin_figures(DestReceiver *self, int operation, TupleDesc desc)
{
	(void) self;
	(void) operation;
	(void) desc;
}

static bool
receive_figures(TupleTableSlot *slot, DestReceiver *self)
{
	Figures    *figures = (Figures *) self;
	bool		isnull;

	figures->rows = DatumGetInt64(slot_getattr(slot, 1, &isnull));
	figures->stale = DatumGetInt64(slot_getattr(slot, 2, &isnull));
	return true;
}

static void
end_figures(DestReceiver *self)
{
	(void) self;
}

void
store_query_count(const char *statement, Oid relid, Node *expression, const char *path, int64 *rows, int64 *stale)
{
	ErrorContextCallback callback = {error_context_stack, statement_error, unconstify(char *, statement)};
	Figures		figures = {{receive_figures, begin_figures, end_figures, end_figures, DestNone}, 0, 0};
	int			level = NewGUCNestLevel();
	List	   *planned;

	error_context_stack = &callback;
	planned = plan(statement, relid, expression, path, CURSOR_OPT_PARALLEL_OK);
	(void) run(linitial_node(PlannedStmt, planned), statement, &figures.pub);
	AtEOXact_GUC(true, level);
	error_context_stack = callback.previous;
	*rows += figures.rows;
	*stale += figures.stale;
}

/* ---- An UPDATE. ---- */

int64
store_query_update(const char *statement, Oid relid, Node *expression, const char *path)
{
	ErrorContextCallback callback = {error_context_stack, statement_error, unconstify(char *, statement)};
	int64		changed = 0;
	int			level = NewGUCNestLevel();
	List	   *queries;
	ListCell   *lc;

	error_context_stack = &callback;
	queries = plan(statement, relid, expression, path, 0);
	foreach(lc, queries)
	{
		PlannedStmt *planned = lfirst_node(PlannedStmt, lc);
		int64		rows;

		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
		rows = run(planned, statement, None_Receiver);
		/* A rule may have put anything in its place. */
		if (planned->canSetTag && planned->commandType == CMD_UPDATE)
			changed += rows;
	}
	AtEOXact_GUC(true, level);
	error_context_stack = callback.previous;
	return changed;
}
