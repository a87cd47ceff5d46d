/*
 * eval_pass.c
 *	  One pass over labelled rows: read, find labels, classify in chunks, hand on.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "evaluate.h"
#include "fsi_compat.h"
#include "fsi_source.h"
#include "fsi_sql.h"

/* Rows of a chunk; fewer where texts are long or labels are many. */
#define CHUNK_ROWS 256
#define CHUNK_BYTES (1024 * 1024)
#define CHUNK_SCORES (1024 * 1024)

enum { COLUMN_TEXT = 0, COLUMN_INTENT, COLUMN_SPLIT, COLUMNS };

/* Where rows come from: the source, or, once it was read for its labels, a copy. */
typedef struct Reader
{
	EvalPass   *pass;
	Source	   *source;			/* NULL: read to its end */
	int64		read;
	Tuplestorestate *store;		/* or NULL */
	TupleTableSlot *slot;		/* of the store */
} Reader;

/* Distinct labels, sorted. */
typedef struct Labels
{
	MemoryContext context;		/* of what the pointers below point to */
	HostText	other;			/* not one of them; s NULL: none */
	int			n;
	HostText   *names;			/* trimmed */
	Datum	   *spelled;		/* text, as it came first */
} Labels;

/* ---- Reading. ---- */

static void
reader_open(Reader *r, EvalPass *pass)
{
	SourceColumn columns[COLUMNS] = {{"text", true}, {"intent", true}, {"split", true}};

	memset(r, 0, sizeof(*r));
	r->pass = pass;
	r->source = source_open(pass->function, pass->source, columns, pass->split ? COLUMNS : COLUMN_SPLIT);
}

/* There may be any number of rows that are left out between two that count. */
static void
forget_row(const Reader *r, char **values)
{
	for (int k = 0; k < (r->pass->split ? COLUMNS : COLUMN_SPLIT); k++)
		if (values[k] != NULL)
			pfree(values[k]);
}

/* The source's next row of the split with a text and an intent. */
static bool
read_source(Reader *r, char **values)
{
	while (source_next(r->source, values))
	{
		CHECK_FOR_INTERRUPTS();
		r->read++;
		if (r->pass->split != NULL &&
			(values[COLUMN_SPLIT] == NULL || strcmp(values[COLUMN_SPLIT], r->pass->split) != 0))
		{
			forget_row(r, values);
			continue;
		}
		if (values[COLUMN_TEXT] != NULL && values[COLUMN_INTENT] != NULL)
			return true;
		r->pass->skipped++;
		forget_row(r, values);
	}
	return false;
}

static bool
read_store(Reader *r, char **values)
{
	bool		isnull;

	if (!tuplestore_gettupleslot(r->store, true, false, r->slot))
		return false;
	values[COLUMN_TEXT] = TextDatumGetCString(slot_getattr(r->slot, 1, &isnull));
	values[COLUMN_INTENT] = TextDatumGetCString(slot_getattr(r->slot, 2, &isnull));
	/* A tuple that came from disk lies in the current context, which may end before the next one is asked for. */
	ExecClearTuple(r->slot);
	return true;
}

static bool
reader_next(Reader *r, char **values)
{
	return r->store != NULL ? read_store(r, values) : read_source(r, values);
}

static void
reader_close(Reader *r)
{
	if (r->source != NULL)
		source_close(r->source);
	if (r->store != NULL)
	{
		ExecDropSingleTupleTableSlot(r->slot);
		tuplestore_end(r->store);
	}
}

/* ---- Labels of a source whose intents were not given. ---- */

static HostText
label_name(const EvalPass *pass, const char *label)
{
	HostText	name = text_trim(host_utf8(label, strlen(label)));

	if (name.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source of %s() has an empty intent", pass->function),
				 errhint("Make it NULL, or leave such rows out of the source.")));
	return name;
}

static HostText
other_name(const Jsonb *options)
{
	HostText	name = {NULL, 0};
	JsonbValue *value = NULL;

	if (options != NULL && JB_ROOT_IS_OBJECT(options))
		value = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &options->root), "other", 5, NULL);
	if (value != NULL && value->type == jbvString)
		name = text_trim(host_utf8(value->val.string.val, value->val.string.len));
	return name;
}

/* A label of a row, whose memory is the current one. */
static void
add_label(const EvalPass *pass, Labels *labels, const char *label)
{
	HostText	name = label_name(pass, label);
	MemoryContext old;
	char	   *copy;
	bool		found;
	int			at;

	if (labels->other.s != NULL && args_compare(name, labels->other) == 0)
		return;
	at = args_search(labels->names, labels->n, name, &found);
	if (found)
		return;
	if (labels->n == ARGS_MAX_INTENTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("source of %s() has more than %d intents", pass->function, ARGS_MAX_INTENTS)));
	memmove(labels->names + at + 1, labels->names + at, sizeof(HostText) * (labels->n - at));
	memmove(labels->spelled + at + 1, labels->spelled + at, sizeof(Datum) * (labels->n - at));
	old = MemoryContextSwitchTo(labels->context);
	copy = palloc(name.len);
	memcpy(copy, name.s, name.len);
	labels->names[at] = (HostText) {copy, name.len};
	labels->spelled[at] = CStringGetTextDatum(label);
	labels->n++;
	MemoryContextSwitchTo(old);
}

static void
check_read(const Reader *r, int64 rows)
{
	if (rows > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("source of %s() has no labelled rows", r->pass->function),
			 r->pass->split != NULL ?
			 errdetail_plural("%lld row was read, %lld of split \"%s\".",
							  "%lld rows were read, %lld of them of split \"%s\".", (unsigned long) r->read,
							  (long long) r->read, (long long) r->pass->skipped, r->pass->split) :
			 errdetail_plural("%lld row was read, which lacks a text or an intent.",
							  "%lld rows were read, none with both a text and an intent.", (unsigned long) r->read,
							  (long long) r->read)));
}

/* Read the source to its end into a store, and take its distinct labels for the intents. */
static void
gather(Reader *r, MemoryContext row_context)
{
	EvalPass   *pass = r->pass;
	Labels		labels = {.context = CurrentMemoryContext, .other = other_name(pass->options)};
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	char	   *values[COLUMNS];
	int64		rows = 0;

	TupleDescInitEntry(desc, 1, "text", TEXTOID, -1, 0);
	TupleDescInitEntry(desc, 2, "intent", TEXTOID, -1, 0);
	labels.names = palloc(sizeof(HostText) * ARGS_MAX_INTENTS);
	labels.spelled = palloc(sizeof(Datum) * ARGS_MAX_INTENTS);
	r->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	r->store = tuplestore_begin_heap(false, false, work_mem);
	for (;; rows++)
	{
		Datum		datums[2];
		bool		nulls[2] = {false, false};

		MemoryContextReset(row_context);
		MemoryContextSwitchTo(row_context);
		if (!read_source(r, values))
			break;
		datums[0] = CStringGetTextDatum(values[COLUMN_TEXT]);
		datums[1] = CStringGetTextDatum(values[COLUMN_INTENT]);
		tuplestore_putvalues(r->store, desc, datums, nulls);
		add_label(pass, &labels, values[COLUMN_INTENT]);
	}
	MemoryContextSwitchTo(labels.context);
	check_read(r, rows);
	source_close(r->source);
	r->source = NULL;
	pass->intents = construct_array(labels.spelled, labels.n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* ---- Classifying. ---- */

/* Our own copy: a set may be prepared anew between two chunks. */
static void
take_labels(EvalPass *pass, const ExecSet *set, bool with_other)
{
	pass->n_labels = exec_n_labels(set);
	pass->with_other = with_other;
	pass->labels = palloc(sizeof(text *) * pass->n_labels);
	pass->names = palloc(sizeof(HostText) * pass->n_labels);
	for (int i = 0; i < pass->n_labels; i++)
	{
		const text *label = exec_label(set, i);

		pass->labels[i] = palloc(VARSIZE_ANY(label));
		memcpy(pass->labels[i], label, VARSIZE_ANY(label));
		pass->names[i] = text_trim(host_utf8_text(pass->labels[i]));
	}
	if (pass->n_labels == 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s() needs at least two intents to choose among, not \"%s\" alone", pass->function,
						host_excerpt(VARDATA_ANY(pass->labels[0]), VARSIZE_ANY_EXHDR(pass->labels[0]))),
				 errhint("Name at least two intents, or one and the option \"other\".")));
}

static int
find_gold(const EvalPass *pass, const char *label)
{
	HostText	name = label_name(pass, label);
	int			n = pass->n_labels - pass->with_other;
	bool		found;
	int			at = args_search(pass->names, n, name, &found);

	if (!found && pass->with_other && args_compare(pass->names[n], name) == 0)
		return n;
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source of %s() has the intent \"%s\", which is not among the intents", pass->function,
						host_excerpt(label, strlen(label))),
				 errhint("Add it to the intents, leave such rows out of the source, or, if none of the intents fits "
						 "them, give it as the option \"other\".")));
	return at;
}

static int
best_of(const double *scores, int n)
{
	int			best = 0;

	for (int i = 1; i < n; i++)
		if (scores[i] > scores[best])
			best = i;
	return best;
}

/* Answer a chunk of messages and hand its rows to the tally. */
static void
answer_chunk(EvalPass *pass, ExecSlot *slot, int n, const HostText *messages, const int *gold, EvalTake take,
			 void *tally)
{
	ExecSet    *set = args_set(slot, pass->intents, pass->options);
	ExecAnswer *answers = palloc(sizeof(ExecAnswer) * n);
	double	   *scores = NULL;

	if (pass->generate)
		exec_generate_answers(set, slot, n, messages, answers);
	else
	{
		scores = palloc(sizeof(double) * n * pass->n_labels);
		exec_classify(set, slot, n, messages, answers, scores);
	}
	for (int i = 0; i < n; i++)
	{
		EvalRow		row = {.gold = gold[i], .answer = answers[i].label, .best = answers[i].label};

		if (scores != NULL)
		{
			row.scores = scores + (size_t) i * pass->n_labels;
			row.best = best_of(row.scores, pass->n_labels);
		}
		take(pass, &row, tally);
	}
	pass->rows += n;
}

/* Read and answer one chunk, in the current memory context; how many rows it had. */
static int
run_chunk(Reader *r, ExecSlot *slot, EvalTake take, void *tally)
{
	EvalPass   *pass = r->pass;
	HostText	messages[CHUNK_ROWS];
	int			gold[CHUNK_ROWS];
	char	   *values[COLUMNS];
	int			limit = Min(Max(CHUNK_SCORES / pass->n_labels, 1), CHUNK_ROWS);
	size_t		bytes = 0;
	int			n = 0;

	while (n < limit && bytes < CHUNK_BYTES && reader_next(r, values))
	{
		messages[n] = host_utf8(values[COLUMN_TEXT], strlen(values[COLUMN_TEXT]));
		gold[n] = find_gold(pass, values[COLUMN_INTENT]);
		bytes += messages[n++].len;
	}
	if (n > 0)
		answer_chunk(pass, slot, n, messages, gold, take, tally);
	return n;
}

void
eval_run(EvalPass *pass, EvalBegin begin, EvalTake take, void *tally)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext chunk = AllocSetContextCreate(caller, "fsi_intent evaluation chunk", ALLOCSET_DEFAULT_SIZES);
	ExecSlot	slot = {0};
	Reader		reader;

	SPI_connect();
	MemoryContextSwitchTo(caller);
	reader_open(&reader, pass);
	if (pass->intents == NULL)
		gather(&reader, chunk);
	take_labels(pass, args_set(&slot, pass->intents, pass->options), other_name(pass->options).s != NULL);
	begin(pass, tally);
	do
	{
		MemoryContextReset(chunk);
		MemoryContextSwitchTo(chunk);
	} while (run_chunk(&reader, &slot, take, tally) > 0);
	MemoryContextSwitchTo(caller);
	check_read(&reader, pass->rows);
	reader_close(&reader);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(chunk);
}

void
eval_arguments(FunctionCallInfo fcinfo, EvalPass *pass)
{
	memset(pass, 0, sizeof(*pass));
	pass->function = get_func_name(fcinfo->flinfo->fn_oid);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("source of %s() must not be null", pass->function)));
	pass->source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	pass->intents = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	pass->options = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	pass->split = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
}
