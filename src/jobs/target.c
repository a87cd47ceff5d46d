/*
 * target.c
 *	  The user's table: what can be classified, which files it has, the SQL that reads and writes it.
 *
 * The SQL runs with the caller's rights and through the table that was named, so that
 * privileges, row-level security, triggers, defaults and casts are those of any query of the
 * caller's.  It is made anew for each chunk: columns may be renamed while a job runs.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/plancat.h"
#include "parser/parse_clause.h"
#include "parser/parse_coerce.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "jobs.h"

static void
check_relation(Relation rel)
{
	char		kind = rel->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot classify relation \"%s\"", RelationGetRelationName(rel)),
				 errdetail_relkind_not_supported(kind)));
	if (IsSystemRelation(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied: \"%s\" is a system catalog", RelationGetRelationName(rel))));
	if (kind == RELKIND_RELATION && rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot classify table \"%s\" of access method \"%s\"", RelationGetRelationName(rel),
						get_am_name(rel->rd_rel->relam))));
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
}

static Form_pg_attribute
find_column(Relation rel, const char *name)
{
	AttrNumber	no = get_attnum(RelationGetRelid(rel), name);

	if (no == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name, RelationGetRelationName(rel))));
	if (no < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("column \"%s\" is a system column", name)));
	return TupleDescAttr(RelationGetDescr(rel), no - 1);
}

static void
check_source(Form_pg_attribute column)
{
	Oid			type = column->atttypid;
	Oid			text = TEXTOID;

	if (!can_coerce_type(1, &type, &text, COERCION_IMPLICIT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" has type %s, which is not text", NameStr(column->attname),
						format_type_be(type))));
}

static void
check_written(Form_pg_attribute column)
{
	Oid			text = TEXTOID;

	if (column->attgenerated)
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" is a generated column", NameStr(column->attname)),
				 errdetail("Its values come from its own expression.")));
	if (!can_coerce_type(1, &text, &column->atttypid, COERCION_ASSIGNMENT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" has type %s, which takes no text", NameStr(column->attname),
						format_type_be(column->atttypid))));
}

/* Rows are told apart by ctid and xmin, which only a right to the whole table lets read. */
static void
check_rights(Relation rel, AttrNumber target)
{
	Oid			relid = RelationGetRelid(rel);
	AclResult	result = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);

	if (result == ACLCHECK_OK && pg_attribute_aclcheck(relid, target, GetUserId(), ACL_UPDATE) != ACLCHECK_OK)
		result = pg_class_aclcheck(relid, GetUserId(), ACL_UPDATE);
	if (result != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", RelationGetRelationName(rel)),
				 errhint("fsi_classify_table() needs SELECT on the table and UPDATE on the target column.")));
}

void
jobs_check_target(Oid relid, const char *source, const char *target, AttrNumber *source_no, AttrNumber *target_no)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	Form_pg_attribute source_column;
	Form_pg_attribute target_column;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	check_relation(rel);
	source_column = find_column(rel, source);
	target_column = find_column(rel, target);
	check_source(source_column);
	check_written(target_column);
	*source_no = source_column->attnum;
	*target_no = target_column->attnum;
	if (*source_no == *target_no)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("text_column and target_column must not be the same column")));
	check_rights(rel, *target_no);
	relation_close(rel, NoLock);
}

/* Where in the condition a syntax error is: the statement that the client sent is another text. */
static void
condition_error(void *condition)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(condition);
	}
	errcontext("argument \"condition\" of fsi_classify_table()");
}

/* The first parameter of an expression into *context. */
static bool
find_parameter(Node *node, void *context)
{
	ParamRef  **found = context;

	if (node == NULL)
		return false;
	if (!IsA(node, ParamRef))
		return raw_expression_tree_walker(node, find_parameter, context);
	*found = (ParamRef *) node;
	return true;
}

/* What is wrong with an expression over the table's columns is said in its own terms. */
static void
check_boolean(Relation rel, const char *condition, Node *expression)
{
	ParseState *pstate = make_parsestate(NULL);

	pstate->p_sourcetext = condition;
	addNSItemToQuery(pstate, addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, true, true),
					 true, true, true);
	(void) transformWhereClause(pstate, expression, EXPR_KIND_WHERE, "condition");
	free_parsestate(pstate);
}

/* One expression and nothing else, so that putting it between parentheses cannot change what surrounds it. */
void
jobs_check_condition(Oid relid, const char *condition)
{
	ErrorContextCallback callback = {error_context_stack, condition_error, unconstify(char *, condition)};
	List	   *parsed;
	SelectStmt *select;
	Node	   *expression;
	ParamRef   *parameter;
	Relation	rel;

	error_context_stack = &callback;
	parsed = raw_parser(condition, RAW_PARSE_PLPGSQL_EXPR);
	select = castNode(SelectStmt, linitial_node(RawStmt, parsed)->stmt);
	if (list_length(select->targetList) != 1 || linitial_node(ResTarget, select->targetList)->name != NULL ||
		select->distinctClause || select->fromClause || select->whereClause || select->groupClause ||
		select->havingClause || select->windowClause || select->sortClause || select->limitOffset ||
		select->limitCount || select->lockingClause || select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("condition must be one expression"),
				 errhint("For example 'intent IS NULL'.")));
	/* The chunk's bounds are parameters of the statement that it becomes part of. */
	expression = linitial_node(ResTarget, select->targetList)->val;
	if (find_parameter(expression, &parameter))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_PARAMETER),
				 errmsg("there is no parameter $%d", parameter->number)));
	rel = relation_open(relid, AccessShareLock);
	check_boolean(rel, condition, expression);
	relation_close(rel, AccessShareLock);
	error_context_stack = callback.previous;
}

/* A rule that does something else instead of an UPDATE: there would be no end to rows that have not got their answer. */
static void
check_rules(Relation rel)
{
	char		sleeps = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ? RULE_FIRES_ON_ORIGIN : RULE_FIRES_ON_REPLICA;

	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
	{
		const RewriteRule *rule = rel->rd_rules->rules[i];

		if (rule->event == CMD_UPDATE && rule->isInstead && rule->qual == NULL &&
			rule->enabled != RULE_DISABLED && rule->enabled != sleeps)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot classify table \"%s\", which has a rule ON UPDATE DO INSTEAD", RelationGetRelationName(rel)),
					 errhint("Disable it meanwhile, with ALTER TABLE ... DISABLE RULE.")));
	}
}

/* Add one table's share; relations without storage have none. */
static void
measure(Relation rel, JobLayout *layout)
{
	BlockNumber pages;
	double		rows;
	double		all_visible;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		return;
	estimate_rel_size(rel, NULL, &pages, &rows, &all_visible);
	pages = RelationGetNumberOfBlocks(rel);
	layout->blocks = Max(layout->blocks, pages);
	layout->rows += rows;
	if (pages > 0)
		layout->density += rows / pages;
}

List *
jobs_lock_tree(const Job *job, LOCKMODE mode)
{
	LockRelationOid(job->relid, mode);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(job->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table was dropped while it was being classified")));
	return find_all_inheritors(job->relid, mode, NULL);
}

void
jobs_layout(const Job *job, LOCKMODE mode, JobLayout *layout)
{
	List	   *relids = jobs_lock_tree(job, mode);
	ListCell   *cell;
	Datum	   *files;
	int			n = 0;

	memset(layout, 0, sizeof(*layout));
	files = palloc(sizeof(Datum) * 2 * list_length(relids));
	foreach(cell, relids)
	{
		Relation	rel = relation_open(lfirst_oid(cell), NoLock);

		check_relation(rel);
		if (RelationGetRelid(rel) == job->relid)
			check_rules(rel);
		measure(rel, layout);
		files[n++] = ObjectIdGetDatum(RelationGetRelid(rel));
		files[n++] = ObjectIdGetDatum(rel->rd_rel->relfilenode);
		relation_close(rel, NoLock);
	}
	layout->files = construct_array(files, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
	list_free(relids);
	pfree(files);
}

static const char *
column_name(const Job *job, AttrNumber no)
{
	HeapTuple	tuple = SearchSysCacheAttNum(job->relid, no);
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("a column of table \"%s\" was dropped while it was being classified",
						get_rel_name(job->relid))));
	name = pstrdup(NameStr(((Form_pg_attribute) GETSTRUCT(tuple))->attname));
	ReleaseSysCache(tuple);
	return quote_identifier(name);
}

char *
jobs_read_sql(const Job *job)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT tableoid, ctid, xmin, %s::pg_catalog.text, %s::pg_catalog.text FROM %s"
					 " WHERE ctid OPERATOR(pg_catalog.>=) $1 AND ctid OPERATOR(pg_catalog.<) $2",
					 column_name(job, job->source), column_name(job, job->target), store_relation_name(job->relid));
	/* On lines of its own: it may end in a comment. */
	if (job->condition != NULL)
		appendStringInfo(&sql, " AND (\n%s\n)", job->condition);
	return sql.data;
}

/* The range of ctids keeps the planner to the blocks that were read, in partitions too. */
char *
jobs_write_sql(const Job *job)
{
	return psprintf("UPDATE %s AS t SET %s = u.answer"
					" FROM unnest($1, $2, $3, $4) AS u(tbl, tid, xid, answer)"
					" WHERE t.ctid OPERATOR(pg_catalog.=) u.tid AND t.tableoid OPERATOR(pg_catalog.=) u.tbl"
					" AND t.xmin OPERATOR(pg_catalog.=) u.xid"
					" AND t.ctid OPERATOR(pg_catalog.>=) $5 AND t.ctid OPERATOR(pg_catalog.<=) $6",
					store_relation_name(job->relid), column_name(job, job->target));
}
