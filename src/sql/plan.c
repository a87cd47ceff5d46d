/*
 * plan.c
 *	  What the planner is told: the cost of a call, the rows of fsi_scores, how many rows have an intent.
 *
 * Costs are in units of cpu_operator_cost, about 20 ns: what one core with AVX2 takes for a
 * token, from the size of the model; exactness does not matter, the order of magnitude does.
 * Encoding the candidates is left out, for they are kept between statements.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

#include "fsi_compat.h"
#include "fsi_sql.h"

PG_FUNCTION_INFO_V1(fsi_plan_support);

/* A token through the shipped model, about 50 us. */
#define TOKEN_UNITS 2500.0
/* A token through another model, for a megabyte of its file: a prompt model has few embeddings beside its layers. */
#define SEGMENTS_UNITS_PER_MB 104.0
#define PROMPT_UNITS_PER_MB 180.0
/* Compare a message with a name, a description or an example. */
#define COMPARE_UNITS 25.0
/* Everything beside the model. */
#define CALL_UNITS 500.0

/* English has 4 bytes a token and Chinese 2. */
#define BYTES_PER_TOKEN 3.0
#define SEGMENT_MARKS 2
#define PROMPT_MARKS 16			/* what follows a message, and the answer */
#define MESSAGE_TOKENS_MAX 512.0
/* Where nothing is known of a message, of an array of them, of an array of intents. */
#define MESSAGE_BYTES 50.0
#define MESSAGES 10.0
#define INTENTS 10.0

typedef struct ModelCost
{
	bool		prompt;
	double		token_units;
} ModelCost;

typedef struct WidestVar
{
	PlannerInfo *root;
	double		width;			/* 0: no statistics */
} WidestVar;

static get_index_stats_hook_type previous_index_stats_hook;

static bool
is_constant(Node *node)
{
	return node != NULL && IsA(node, Const) && !((Const *) node)->constisnull;
}

/* Average bytes of the widest column in an expression. */
static bool
widest_var(Node *node, void *context)
{
	WidestVar  *widest = context;
	PlannerInfo *root = widest->root;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		VariableStatData vardata;

		/* Others are of no table that could be asked. */
		if (var->varlevelsup != 0 || var->varattno <= 0 || var->varno <= 0 || var->varno >= root->simple_rel_array_size ||
			root->simple_rel_array[var->varno] == NULL)
			return false;
		examine_variable(root, node, 0, &vardata);
		if (HeapTupleIsValid(vardata.statsTuple))
			widest->width = Max(widest->width, ((Form_pg_statistic) GETSTRUCT(vardata.statsTuple))->stawidth);
		ReleaseVariableStats(vardata);
		return false;
	}
	return expression_tree_walker(node, widest_var, context);
}

static double
expected_bytes(PlannerInfo *root, Node *node, double otherwise)
{
	WidestVar	widest = {root, 0};

	if (is_constant(node))
		return (double) (toast_raw_datum_size(((Const *) node)->constvalue) - VARHDRSZ);
	if (root != NULL)
		(void) widest_var(node, &widest);
	return widest.width > 0 ? widest.width : otherwise;
}

/* The constant options, or NULL. */
static Jsonb *
constant_options(List *args)
{
	Node	   *node = list_length(args) > 2 ? lthird(args) : NULL;
	Jsonb	   *options;

	if (!is_constant(node))
		return NULL;
	options = DatumGetJsonbP(((Const *) node)->constvalue);
	return JB_ROOT_IS_OBJECT(options) ? options : NULL;
}

static JsonbValue *
option(Jsonb *options, const char *name)
{
	JsonbValue *value = options ? getKeyJsonValueFromContainer(&options->root, name, (int) strlen(name), NULL) : NULL;

	return value != NULL && value->type != jbvNull ? value : NULL;
}

static double
option_size(Jsonb *options, const char *name)
{
	JsonbValue *value = option(options, name);

	return value != NULL && value->type == jbvBinary ? JsonContainerSize(value->val.binary.data) : 0;
}

/* The cost of the model that is named; of the shipped one where none is, or none that exists. */
static ModelCost
model_cost(Jsonb *options)
{
	static char known[STORE_NAME_MAX + 1];
	static uint64 known_generation;
	static ModelCost known_cost;
	JsonbValue *name = option(options, "model");
	char		wanted[STORE_NAME_MAX + 1];
	uint64		generation = store_generation();
	StoreRow	row;
	ModelCost	cost = {false, TOKEN_UNITS};

	if (name == NULL || name->type != jbvString || name->val.string.len > STORE_NAME_MAX)
		return cost;
	memcpy(wanted, name->val.string.val, name->val.string.len);
	wanted[name->val.string.len] = '\0';
	/* The planner asks many times a statement. */
	if (known[0] != '\0' && known_generation == generation && strcmp(known, wanted) == 0)
		return known_cost;
	if (!store_find(wanted, &row) || row.dropped)
		return cost;
	cost.prompt = row.layout == GPT2_PROMPT;
	if (!row.shipped)
		cost.token_units = Max(1, (double) row.size / (1024 * 1024) *
							   (cost.prompt ? PROMPT_UNITS_PER_MB : SEGMENTS_UNITS_PER_MB));
	strcpy(known, wanted);
	known_generation = generation;
	known_cost = cost;
	return cost;
}

static double
expected_intents(List *args)
{
	Node	   *node = lsecond(args);

	if (is_constant(node) || IsA(node, ArrayExpr))
		return compat_array_length(node);
	return INTENTS;
}

/* Messages of a call, and their tokens. */
static void
expected_messages(PlannerInfo *root, Node *node, double *messages, double *tokens)
{
	double		bytes;

	*messages = 1;
	if (exprType(node) != TEXTARRAYOID)
		bytes = expected_bytes(root, node, MESSAGE_BYTES);
	else if (is_constant(node))
	{
		*messages = Max(1, compat_array_length(node));
		bytes = (expected_bytes(root, node, 0) + VARHDRSZ - ARR_OVERHEAD_NONULLS(1)) / *messages - VARHDRSZ;
	}
	else
	{
		/* A column of arrays has a width, an expression over a column of texts has that of one text. */
		*messages = IsA(node, ArrayExpr) ? compat_array_length(node) : MESSAGES;
		bytes = expected_bytes(root, node, MESSAGE_BYTES);
		if (IsA(node, Var))
		{
			*messages = Max(1, bytes / MESSAGE_BYTES);
			bytes = MESSAGE_BYTES;
		}
	}
	*tokens = *messages * Min(Max(bytes, 0) / BYTES_PER_TOKEN, MESSAGE_TOKENS_MAX);
}

static void
estimate_cost(SupportRequestCost *request, List *args)
{
	Jsonb	   *options = constant_options(args);
	ModelCost	model = model_cost(options);
	double		messages;
	double		tokens;
	double		compared = 0;

	expected_messages(request->root, linitial(args), &messages, &tokens);
	tokens += messages * (model.prompt ? PROMPT_MARKS : SEGMENT_MARKS);
	if (!model.prompt)
		compared = expected_intents(args) + option_size(options, "examples") + option_size(options, "descriptions");
	request->startup = 0;
	request->per_tuple = cpu_operator_cost *
		(tokens * model.token_units + messages * (CALL_UNITS + compared * COMPARE_UNITS));
}

/* Intents that stand twice are rare. */
static double
expected_labels(List *args)
{
	return Max(1, expected_intents(args)) + (option(constant_options(args), "other") != NULL);
}

/* As many rows as labels. */
static void
estimate_rows(SupportRequestRows *request, List *args)
{
	request->rows = expected_labels(args);
}

/* Of a message and intents, not of a text and a model; and the model is asked, not only what it would read. */
static bool
is_question(Node *node)
{
	return node != NULL && IsA(node, FuncExpr) && list_length(((FuncExpr *) node)->args) >= 2 &&
		exprType(lsecond(((FuncExpr *) node)->args)) == TEXTARRAYOID &&
		strcmp(get_func_name(((FuncExpr *) node)->funcid), "fsi_prompt") != 0;
}

/*
 * Outside of a plan the expression is an index's, a partition key's, a generated column's or a constraint's.  Its
 * answers may be found by parallel workers alone, but it is this transaction that commits them.
 */
static void
note_model(const SupportRequestSimplify *request)
{
	bool		unknown;
	ListCell   *lc;

	if (request->root != NULL || !store_is_there())
		return;
	foreach(lc, store_models_asked((Node *) request->fcall, NULL, &unknown))
		store_note_kept(lfirst(lc));
	if (unknown)
		store_note_any_kept();
}

Datum
fsi_plan_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *node = NULL;

	if (IsA(request, SupportRequestSimplify))
		note_model((SupportRequestSimplify *) request);
	else if (IsA(request, SupportRequestCost))
		node = ((SupportRequestCost *) request)->node;
	else if (IsA(request, SupportRequestRows))
		node = ((SupportRequestRows *) request)->node;
	if (!is_question(node))
		PG_RETURN_POINTER(NULL);
	if (IsA(request, SupportRequestCost))
		estimate_cost((SupportRequestCost *) request, ((FuncExpr *) node)->args);
	else
		estimate_rows((SupportRequestRows *) request, ((FuncExpr *) node)->args);
	PG_RETURN_POINTER(request);
}

/* ---- Selectivity of fsi_classify(...) = 'x'. ---- */

/* The expression of an index's column, or NULL; not by a search through the query's tables, which may be thousands. */
static Node *
index_expression(Oid index, AttrNumber column)
{
	Relation	rel;
	Node	   *node = NULL;
	int			before = 0;

	/* Another extension's index may be there for the planner alone. */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(index)))
		return NULL;
	/* The planner has locked it. */
	rel = index_open(index, NoLock);
	if (column <= rel->rd_index->indnatts && rel->rd_index->indkey.values[column - 1] == 0)
	{
		for (int k = 0; k < column - 1; k++)
			before += rel->rd_index->indkey.values[k] == 0;
		node = list_nth(RelationGetIndexExpressions(rel), before);
	}
	index_close(rel, NoLock);
	return node;
}

static bool
answers_one_intent(Node *node)
{
	FmgrInfo	support;

	if (!is_question(node) || ((FuncExpr *) node)->funcresulttype != TEXTOID ||
		!OidIsValid(get_func_support(((FuncExpr *) node)->funcid)))
		return false;
	fmgr_info(get_func_support(((FuncExpr *) node)->funcid), &support);
	return support.fn_addr == fsi_plan_support;
}

static void
free_statistics(HeapTuple tuple)
{
	heap_freetuple(tuple);
}

/*
 * Statistics of an index on fsi_classify(...) that ANALYZE was told not to gather: as many
 * different answers as there are labels, equally frequent.  Without, the planner would take
 * each of 200 answers for equally frequent.
 */
static bool
index_stats(PlannerInfo *root, Oid index, AttrNumber column, VariableStatData *vardata)
{
	Node	   *node;
	List	   *args;
	Relation	rel;
	Datum		values[Natts_pg_statistic] = {0};
	bool		nulls[Natts_pg_statistic] = {false};

	if (previous_index_stats_hook != NULL && previous_index_stats_hook(root, index, column, vardata))
		return true;
	if (SearchSysCacheExists3(STATRELATTINH, ObjectIdGetDatum(index), Int16GetDatum(column), BoolGetDatum(false)))
		return false;
	node = index_expression(index, column);
	if (!answers_one_intent(node))
		return false;
	args = ((FuncExpr *) node)->args;
	memset(nulls + Anum_pg_statistic_stanumbers1 - 1, true, Natts_pg_statistic - Anum_pg_statistic_stanumbers1 + 1);
	values[Anum_pg_statistic_starelid - 1] = ObjectIdGetDatum(index);
	values[Anum_pg_statistic_staattnum - 1] = Int16GetDatum(column);
	values[Anum_pg_statistic_stawidth - 1] = Int32GetDatum(16);
	values[Anum_pg_statistic_stadistinct - 1] = Float4GetDatum((float4) expected_labels(args));
	rel = table_open(StatisticRelationId, AccessShareLock);
	vardata->statsTuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	table_close(rel, AccessShareLock);
	vardata->freefunc = free_statistics;
	return true;
}

void
plan_init(void)
{
	static bool hooked;

	if (hooked)
		return;
	previous_index_stats_hook = get_index_stats_hook;
	get_index_stats_hook = index_stats;
	hooked = true;
}
