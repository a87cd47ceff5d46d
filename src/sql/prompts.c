/*
 * prompts.c
 *	  fsi_prompts(source, templates [, options]): labelled rows in, few-shot prompts and their responses out.
 *
 * The first call reads the source whole, since a prompt's examples may be any of its rows,
 * and keeps the texts (texts.h); then every call gives one pair.  In a target list nothing
 * more is kept; FROM keeps the pairs in a tuplestore, as it does for every function.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "fsi_compat.h"
#include "fsi_source.h"
#include "fsi_store.h"
#include "prompts.h"
#include "texts.h"

PG_FUNCTION_INFO_V1(fsi_prompts);

typedef enum Column { COLUMN_TEXT, COLUMN_INTENT, COLUMN_SPLIT, COLUMN_SOURCE, COLUMNS } Column;

static const SourceColumn columns[COLUMNS] = {
	{"text", true}, {"intent", true}, {"split", false}, {"source", false}
};

#define RESULT_COLUMNS 12

/* What lasts for a statement. */
typedef struct Prompts
{
	FsiHost		host;
	FsiArena	arena;			/* of the generator */
	Fewshot    *generator;
	const StoreModel *model;	/* NULL: no tokenizer is needed */
	Texts	   *texts;
	uint32		n_rows;
	uint64		n_without;		/* rows without text or intent */
	FsiArena	work;			/* of one pair */
	FsiArenaMark mark;
	int			samples,
				sample;			/* the next one */
	uint32		row;
	uint64		left_out[FEWSHOT_REASONS];
} Prompts;

/* ---------------------------------------------------------------- arguments */

static void
add_template_array(Fewshot *f, ArrayType *array)
{
	FsiError	err = {0};
	FewshotText every = {NULL, 0};
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	args_check_one_dimension(array, "templates");
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *name = psprintf("templates[%d]", i + 1);
		HostText	body;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", name)));
		body = host_utf8_text(DatumGetTextPP(elements[i]));
		HOST_TRY(fewshot_add_templates(f, every, name, body, &err));
	}
}

static void
add_templates(FunctionCallInfo fcinfo, Fewshot *f)
{
	FsiError	err = {0};
	FewshotText every = {NULL, 0};
	HostText	all;

	switch (get_fn_expr_argtype(fcinfo->flinfo, 1))
	{
		case TEXTOID:
			all = host_utf8_text(PG_GETARG_TEXT_PP(1));
			HOST_TRY(fewshot_add_templates(f, every, "templates", all, &err));
			break;
		case TEXTARRAYOID:
			add_template_array(f, PG_GETARG_ARRAYTYPE_P(1));
			break;
		default:
			prompts_add_templates(f, PG_GETARG_JSONB_P(1));
			break;
	}
	if (!fewshot_has_templates(f))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("templates must not be empty"),
				 errhint("Give the text of a template file, for example pg_read_file('/srv/data/templates.txt').")));
}

/* The model's tokenizer and room, where they are asked for. */
static void
use_model(Prompts *p, const PromptsOptions *o, FewshotOptions *few)
{
	const Gpt2Config *cfg;

	few->flaws = o->flaws;
	few->seed = (uint64) o->seed;
	if (o->max_tokens > 0 && (o->flaws & FEWSHOT_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"max_tokens\" contradicts option \"faithful\""),
				 errdetail("The published generator does not look at the length.")));
	if ((o->flaws & (FEWSHOT_SYMBOLS | FEWSHOT_LENGTH | FEWSHOT_LABELS)) ==
		(FEWSHOT_SYMBOLS | FEWSHOT_LENGTH | FEWSHOT_LABELS) && o->model_name == NULL)
		return;
	p->model = store_model(o->model_name);
	cfg = &p->model->file.model.cfg;
	few->tok = &p->model->file.tok;
	few->mark_tokens = (cfg->begin != TOK_NONE) + (cfg->end_prompt != TOK_NONE) + (cfg->end != TOK_NONE);
	few->max_tokens = o->max_tokens > 0 ? o->max_tokens : cfg->n_positions;
	if (few->max_tokens > cfg->n_positions)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"max_tokens\" is %d, but model \"%s\" reads at most %d tokens", few->max_tokens,
						o->model_name ? o->model_name : STORE_SHIPPED_NAME, cfg->n_positions)));
}

/* ---------------------------------------------------------------- rows */

/* The value as UTF-8 without white space at both ends; s NULL where there is none. */
static FewshotText
value_text(const char *value)
{
	FewshotText none = {NULL, 0};

	return value == NULL ? none : text_trim(host_utf8(value, strlen(value)));
}

static void
read_row(Prompts *p, char **values)
{
	FsiError	err = {0};
	FewshotText text = value_text(values[COLUMN_TEXT]);
	FewshotText intent = value_text(values[COLUMN_INTENT]);

	if (text.len == 0 || intent.len == 0)
	{
		p->n_without++;
		return;
	}
	HOST_TRY(fewshot_add_row(p->generator, value_text(values[COLUMN_SOURCE]), value_text(values[COLUMN_SPLIT]), intent,
							 text, &err));
	texts_add(p->texts, text.s, text.len);
	p->n_rows++;
}

static void
read_source(Prompts *p, const char *query)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext row_context;
	Source	   *source;
	char	   *values[COLUMNS];

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	source = source_open("fsi_prompts", query, columns, COLUMNS);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "fsi_prompts row", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(row_context);
	while (source_next(source, values))
	{
		CHECK_FOR_INTERRUPTS();
		read_row(p, values);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
	source_close(source);
	SPI_finish();
	MemoryContextSwitchTo(old);
	if (p->n_rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source of fsi_prompts() has no labelled rows"),
				 p->n_without > 0 ? errdetail_plural("%llu row lacks a text or an intent.",
													 "%llu rows lack a text or an intent.", p->n_without,
													 (unsigned long long) p->n_without) : 0));
}

static void
report_without_rows(const Fewshot *f)
{
	const FewshotWithoutRows *w = fewshot_without_rows(f);

	if (w->n > 0)
		ereport(NOTICE,
				(errmsg_plural("options name %d intent that no row of its source has",
							   "options name %d intents that no row of their source has", w->n, w->n),
				 errdetail("%s\"%s\" of source \"%s\".", w->n > 1 ? "The first is " : "It is ",
						   host_utf8_excerpt(w->intent), host_utf8_excerpt(w->source))));
}

/* Read everything; in the memory context of all calls. */
static Prompts *
begin(FunctionCallInfo fcinfo)
{
	FsiError	err = {0};
	Prompts    *p = palloc0(sizeof(Prompts));
	FewshotOptions few = {0};
	PromptsOptions o;

	args_check_not_null(fcinfo, 0, "source");
	args_check_not_null(fcinfo, 1, "templates");
	prompts_read_options(PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2), &o);
	host_init(&p->host, CurrentMemoryContext);
	fsi_arena_init(&p->arena, &p->host);
	fsi_arena_init(&p->work, &p->host);
	use_model(p, &o, &few);
	p->samples = o.samples;
	HOST_TRY(fewshot_create(&few, &p->arena, &p->generator, &err));
	add_templates(fcinfo, p->generator);
	prompts_add_spellings(p->generator, FEWSHOT_NAME, "labels", &o.labels);
	prompts_add_spellings(p->generator, FEWSHOT_DESCRIPTION, "descriptions", &o.descriptions);
	p->texts = texts_create();
	read_source(p, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	HOST_TRY(fewshot_ready(p->generator, &err));
	report_without_rows(p->generator);
	/* A first block that stays: else every pair would take one from the host and give it back. */
	(void) host_array(&p->work, 1, 1);
	p->mark = fsi_arena_mark(&p->work);
	return p;
}

/* ---------------------------------------------------------------- pairs */

static FewshotText
fetch_text(Prompts *p, uint32 row)
{
	size_t		len = texts_len(p->texts, row);
	char	   *s = host_array(&p->work, len, 1);

	texts_read(p->texts, row, s);
	return (FewshotText) {s, len};
}

/* The next pair; false after the last one. */
static bool
next_pair(Prompts *p, FewshotDraw *d, FewshotPair *pair)
{
	FsiError	err = {0};

	for (; p->sample < p->samples; p->sample++, p->row = 0)
		while (p->row < p->n_rows)
		{
			CHECK_FOR_INTERRUPTS();
			if (p->model != NULL)
				store_check_unchanged(p->model);
			fsi_arena_release(&p->work, p->mark);
			HOST_TRY(fewshot_draw(p->generator, p->row, p->sample, &p->work, d, &err));
			if (d->left_out == FEWSHOT_KEPT)
			{
				d->text = fetch_text(p, p->row);
				for (int i = 0; i < d->n_shots && d->wants_texts; i++)
					d->shots[i].text = fetch_text(p, d->shots[i].row);
				HOST_TRY(fewshot_render(p->generator, d, &p->work, pair, &err));
			}
			p->row++;
			if (d->left_out == FEWSHOT_KEPT)
				return true;
			p->left_out[d->left_out]++;
		}
	return false;
}

static void
report_left_out(const Prompts *p)
{
	static const char *const reasons[FEWSHOT_REASONS] = {
		"without a text or an intent", "of a source and split with one intent", "whose intent has no other text",
		"whose intent the model cannot tell from others", "too long for the model"
	};
	StringInfoData detail;
	uint64		n = 0;

	initStringInfo(&detail);
	for (int i = 0; i < FEWSHOT_REASONS; i++)
	{
		uint64		count = i == FEWSHOT_KEPT ? p->n_without * p->samples : p->left_out[i];

		if (count > 0)
			appendStringInfo(&detail, "%s%llu %s", n > 0 ? ", " : "", (unsigned long long) count, reasons[i]);
		n += count;
	}
	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%llu row gave no prompt", "%llu rows gave no prompt", n, (unsigned long long) n),
				 errdetail("%s.", detail.data),
				 p->left_out[FEWSHOT_ALIKE] > 0 ?
				 errhint("Give names that the model's tokenizer tells apart in the option \"labels\".") : 0));
}

static Datum
text_datum(FewshotText t, bool *isnull)
{
	*isnull = t.s == NULL;
	return *isnull ? (Datum) 0 : PointerGetDatum(host_text(t.s, t.len));
}

static Datum
offered_datum(const FewshotPair *pair, bool *isnull)
{
	Datum	   *texts = palloc(sizeof(Datum) * Max(pair->n_offered, 1));

	*isnull = pair->n_offered == 0;
	for (int i = 0; i < pair->n_offered; i++)
		texts[i] = PointerGetDatum(host_text(pair->offered[i].s, pair->offered[i].len));
	return *isnull ? (Datum) 0 :
		PointerGetDatum(construct_array(texts, pair->n_offered, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
make_row(TupleDesc desc, const FewshotDraw *d, const FewshotPair *pair)
{
	Datum		values[RESULT_COLUMNS];
	bool		nulls[RESULT_COLUMNS] = {false};
	int			n = 0;

#define PUT(value) (values[n++] = (value))
#define PUT_TEXT(t) (values[n] = text_datum(t, &nulls[n]), n++)
	PUT_TEXT(pair->prompt);
	PUT_TEXT(pair->response);
	PUT(BoolGetDatum(d->not_applicable));
	PUT_TEXT(d->intent);
	PUT_TEXT(d->version);
	PUT(Int32GetDatum(d->n_way));
	PUT(Int32GetDatum(d->n_shot));
	PUT_TEXT(d->t->note);
	values[n] = offered_datum(pair, &nulls[n]);
	n++;
	PUT(Int32GetDatum(d->number));
	PUT_TEXT(d->split);
	PUT_TEXT(d->source);
#undef PUT_TEXT
#undef PUT
	Assert(n == RESULT_COLUMNS);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* ---------------------------------------------------------------- the function */

/* The executor ends or starts anew: the file goes before its memory context does. */
static void
end(Datum arg)
{
	texts_close(((Prompts *) DatumGetPointer(arg))->texts);
}

Datum
fsi_prompts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	FuncCallContext *calls;
	Prompts    *p;
	FewshotDraw draw;
	FewshotPair pair;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		calls = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(calls->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &calls->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		calls->tuple_desc = BlessTupleDesc(calls->tuple_desc);
		p = begin(fcinfo);
		calls->user_fctx = p;
		RegisterExprContextCallback(result->econtext, end, PointerGetDatum(p));
		MemoryContextSwitchTo(old);
	}
	calls = SRF_PERCALL_SETUP();
	p = calls->user_fctx;
	if (next_pair(p, &draw, &pair))
		SRF_RETURN_NEXT(calls, make_row(calls->tuple_desc, &draw, &pair));
	report_left_out(p);
	UnregisterExprContextCallback(result->econtext, end, PointerGetDatum(p));
	end(PointerGetDatum(p));
	SRF_RETURN_DONE(calls);
}
