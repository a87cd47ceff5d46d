/*
 * source.c
 *	  Read labelled rows from a table, a view or a query that the caller names.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "parser/parser.h"
#include "postmaster/bgworker.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "fsi_source.h"
#include "fsi_store.h"

/* Rows taken from the cursor at a time. */
#define SOURCE_CHUNK 64

struct Source
{
	const char *function;
	char	   *query;
	int			n_columns;
	int		   *column;			/* [n_columns] number in the query's result, 0: it lacks it */
	Oid		   *cast;			/* [n_columns] PostgreSQL's own function that makes it text; invalid: its output function does */
	char	   *portal;			/* its name: the portal may be closed behind our back */
	MemoryContext context;		/* of all this */
	MemoryContext rows_context; /* of the values */
	char	  **values;			/* [SOURCE_CHUNK][n_columns] rows that were fetched */
	int			n_rows;
	int			next;
};

/* Where in the source an error is: the statement that the client sent is another text. */
static void
source_error(void *arg)
{
	const Source *s = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(s->query);
	}
	if (geterrcode() == ERRCODE_SYNTAX_ERROR)
		errhint("A source is the name of a table or view, or a query such as 'SELECT msg AS text, label AS intent FROM tickets'.");
	else if (geterrcode() == ERRCODE_UNDEFINED_TABLE && MyBgworkerEntry != NULL)
		errhint("A source is the name of a table or view, or a query. A background worker sees no temporary tables.");
	errcontext("argument \"source\" of %s()", s->function);
}

/* ---- A name or a query? ---- */

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether the text can be nothing but a name: letters, digits, quoted parts, dots. */
static bool
looks_like_name(const char *s)
{
	bool		quoted = false;

	for (; *s != '\0'; s++)
	{
		if (*s == '"')
			quoted = !quoted;
		else if (!quoted && !isalnum((unsigned char) *s) && !IS_HIGHBIT_SET(*s) && !is_space(*s) &&
				 strchr("_$.", *s) == NULL)
			return false;
	}
	return true;
}

/* The parts of a qualified name; NIL: it is none. */
static List *
parse_name(const char *source)
{
	List	   *parts;
	List	   *names = NIL;
	ListCell   *lc;

	if (!looks_like_name(source) || !SplitIdentifierString(pstrdup(source), '.', &parts))
		return NIL;
	foreach(lc, parts)
		names = lappend(names, makeString(lfirst(lc)));
	return names;
}

/* Resolve a name as a cast to regclass does; the relation as it must be written in a query. */
static char *
find_relation(List *names)
{
	RangeVar   *name = makeRangeVarFromNameList(names);
	Oid			relid = RangeVarGetRelid(name, NoLock, true);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" does not exist", NameListToString(names)),
				 errhint("A source is the name of a table or view, or a query.")));
	return store_relation_name(relid);
}

/* ---- What a query may be. ---- */

static bool
find_parameter(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, ParamRef))
		return raw_expression_tree_walker(node, find_parameter, context);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("there is no parameter $%d", ((ParamRef *) node)->number)));
}

static void
check_modifies_nothing(const SelectStmt *select)
{
	ListCell   *lc;

	if (select->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("source must not be SELECT INTO"),
				 errhint("Give the query without INTO.")));
	if (select->lockingClause != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("source must not lock rows"),
				 errhint("Give the query without FOR UPDATE or FOR SHARE.")));
	if (select->withClause == NULL)
		return;
	foreach(lc, select->withClause->ctes)
	{
		Node	   *query = lfirst_node(CommonTableExpr, lc)->ctequery;

		if (!IsA(query, SelectStmt))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("source must not modify data, but its WITH has %s", CreateCommandName(query)),
					 errhint("A source is read only; run the %s before.", CreateCommandName(query))));
	}
}

/* One query that reads: before it is planned, so that nothing else is even looked at. */
static void
check_query(const char *query)
{
	List	   *parsed = raw_parser(query, RAW_PARSE_DEFAULT);
	Node	   *stmt;

	if (parsed == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source must not be empty"),
				 errhint("A source is the name of a table or view, or a query.")));
	if (list_length(parsed) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("source must be one query, not %d statements", list_length(parsed))));
	stmt = linitial_node(RawStmt, parsed)->stmt;
	if (!IsA(stmt, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("source must be a query, not %s", CreateCommandName(stmt)),
				 errhint("A source is the name of a table or view, or a query: SELECT, VALUES, TABLE or WITH.")));
	check_modifies_nothing((SelectStmt *) stmt);
	(void) find_parameter(stmt, NULL);
}

/* ---- Columns. ---- */

static char *
list_columns(TupleDesc desc)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(&names, "%s\"%s\"", i == 0 ? "" : ", ", NameStr(TupleDescAttr(desc, i)->attname));
	return names.data;
}

static int
find_column(TupleDesc desc, const SourceColumn *wanted)
{
	int			found = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), wanted->name) != 0)
			continue;
		if (found > 0)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("source has two columns \"%s\"", wanted->name)));
		found = i + 1;
	}
	if (found == 0 && wanted->required)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("source has no column \"%s\"", wanted->name),
				 desc->natts == 0 ? errdetail("It has no columns.") :
				 errdetail("It has %s.", list_columns(desc)),
				 errhint("Name it in a query, such as 'SELECT ... AS %s FROM ...'.", wanted->name)));
	return found;
}

/*
 * The function by which a cast to text differs from what the type prints: char(n) loses its blanks, false is not "f".
 * One that a user has made is called nowhere without being asked for.
 */
static Oid
find_cast(Oid type)
{
	Oid			function;

	if (find_coercion_pathway(TEXTOID, getBaseType(type), COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC &&
		function < FirstNormalObjectId && get_func_nargs(function) == 1)
		return function;
	return InvalidOid;
}

static void
find_casts(Source *s, TupleDesc desc)
{
	for (int i = 0; i < s->n_columns; i++)
		if (s->column[i] > 0)
			s->cast[i] = find_cast(TupleDescAttr(desc, s->column[i] - 1)->atttypid);
}

static SPIPlanPtr
prepare(const char *sql, TupleDesc *desc)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, 0, NULL, CURSOR_OPT_NO_SCROLL);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	*desc = ((CachedPlanSource *) linitial(SPI_plan_get_plan_sources(plan)))->resultDesc;
	return plan;
}

/* Read no other column of a relation: the caller may have no right to it, and it may be large. */
static SPIPlanPtr
prepare_relation(Source *s, const char *relation, const SourceColumn *columns)
{
	TupleDesc	desc;
	SPIPlanPtr	plan = prepare(s->query, &desc);
	StringInfoData sql;
	int			n = 0;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < s->n_columns; i++)
	{
		if (find_column(desc, &columns[i]) == 0)
			continue;
		appendStringInfo(&sql, "%s%s", n > 0 ? ", " : "", quote_identifier(columns[i].name));
		s->column[i] = ++n;
	}
	appendStringInfo(&sql, " FROM %s", relation);
	SPI_freeplan(plan);
	plan = prepare(sql.data, &desc);
	find_casts(s, desc);
	return plan;
}

static SPIPlanPtr
prepare_query(Source *s, const SourceColumn *columns)
{
	TupleDesc	desc;
	SPIPlanPtr	plan;

	check_query(s->query);
	plan = prepare(s->query, &desc);
	for (int i = 0; i < s->n_columns; i++)
		s->column[i] = find_column(desc, &columns[i]);
	find_casts(s, desc);
	return plan;
}

/* ---- The three calls. ---- */

static Source *
create_source(const char *function, const char *source, int n_columns)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent source", ALLOCSET_SMALL_SIZES);
	Source	   *s = MemoryContextAllocZero(context, sizeof(Source));

	s->context = context;
	s->rows_context = AllocSetContextCreate(context, "fsi_intent source rows", ALLOCSET_DEFAULT_SIZES);
	s->function = MemoryContextStrdup(context, function);
	s->query = MemoryContextStrdup(context, source);
	s->n_columns = n_columns;
	s->column = MemoryContextAllocZero(context, sizeof(int) * n_columns);
	s->cast = MemoryContextAllocZero(context, sizeof(Oid) * n_columns);
	s->values = MemoryContextAllocZero(context, sizeof(char *) * SOURCE_CHUNK * n_columns);
	return s;
}

Source *
source_open(const char *function, const char *source, const SourceColumn *columns, int n_columns)
{
	Source	   *s = create_source(function, source, n_columns);
	ErrorContextCallback callback = {error_context_stack, source_error, s};
	/* SPI's calls leave its own as the current one. */
	MemoryContext old = CurrentMemoryContext;
	List	   *names;
	SPIPlanPtr	plan;
	Portal		portal;

	error_context_stack = &callback;
	/* A procedure that has committed has none. */
	if (!ActiveSnapshotSet())
		EnsurePortalSnapshotExists();
	names = parse_name(source);
	if (names != NIL)
	{
		char	   *relation = find_relation(names);

		s->query = MemoryContextStrdup(s->context, psprintf("SELECT * FROM %s", relation));
		plan = prepare_relation(s, relation, columns);
	}
	else
		plan = prepare_query(s, columns);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	s->portal = MemoryContextStrdup(s->context, portal->name);
	SPI_freeplan(plan);
	MemoryContextSwitchTo(old);
	error_context_stack = callback.previous;
	return s;
}

/* A column of a row as text, as a cast gives it; NULL: it is NULL, or the source lacks it. */
static char *
get_value(const Source *s, HeapTuple row, TupleDesc desc, int column)
{
	Datum		value;
	bool		isnull;

	if (s->column[column] == 0)
		return NULL;
	if (!OidIsValid(s->cast[column]))
		return SPI_getvalue(row, desc, s->column[column]);
	value = SPI_getbinval(row, desc, s->column[column], &isnull);
	return isnull ? NULL : TextDatumGetCString(OidFunctionCall1(s->cast[column], value));
}

/* Take the next rows from the cursor; how many. */
static int
fetch(Source *s)
{
	Portal		portal = SPI_cursor_find(s->portal);
	SPITupleTable *table;
	MemoryContext old = CurrentMemoryContext;

	if (portal == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_STATE),
				 errmsg("the source's cursor was closed while %s() read it", s->function)));
	MemoryContextReset(s->rows_context);
	SPI_cursor_fetch(portal, true, SOURCE_CHUNK);
	table = SPI_tuptable;
	s->n_rows = (int) SPI_processed;
	s->next = 0;
	/* SPI's own memory may end before the rows are asked for. */
	MemoryContextSwitchTo(s->rows_context);
	for (int i = 0; i < s->n_rows; i++)
		for (int k = 0; k < s->n_columns; k++)
			s->values[i * s->n_columns + k] = get_value(s, table->vals[i], table->tupdesc, k);
	SPI_freetuptable(table);
	MemoryContextSwitchTo(old);
	return s->n_rows;
}

bool
source_next(Source *s, char **values)
{
	if (s->next == s->n_rows)
	{
		ErrorContextCallback callback = {error_context_stack, source_error, s};
		int			n;

		error_context_stack = &callback;
		n = fetch(s);
		error_context_stack = callback.previous;
		if (n == 0)
			return false;
	}
	for (int k = 0; k < s->n_columns; k++)
	{
		const char *value = s->values[s->next * s->n_columns + k];

		values[k] = value ? pstrdup(value) : NULL;
	}
	s->next++;
	return true;
}

void
source_close(Source *s)
{
	Portal		portal = SPI_cursor_find(s->portal);

	if (portal != NULL)
		SPI_cursor_close(portal);
	MemoryContextDelete(s->context);
}
