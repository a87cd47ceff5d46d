/*
 * rows.c
 *	  The rows to train on: read from the source, put in an order of their own, split.
 *
 * A table has no order, and what is drawn from it must not depend on one: rows are sorted by
 * their bytes, so that a call which goes on with a training draws what the first one would have.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgroids.h"

#include "fsi_source.h"
#include "fsi_sql.h"
#include "tune.h"

#define FUNCTION_NAME "fsi_train"
#define ROWS_START 1024

enum SegmentsColumn { SEGMENTS_TEXT, SEGMENTS_INTENT, SEGMENTS_SPLIT, SEGMENTS_COLUMNS };
enum PromptColumn { PROMPT_PROMPT, PROMPT_RESPONSE, PROMPT_SPLIT, PROMPT_INTENTS, PROMPT_COLUMNS };

static const SourceColumn segments_columns[SEGMENTS_COLUMNS] = {
	{"text", true}, {"intent", true}, {"split", false}
};
static const SourceColumn prompt_columns[PROMPT_COLUMNS] = {
	{"prompt", true}, {"response", true}, {"split", false}, {"intents", false}
};

/* ---- One row. ---- */

static HostText
read_text(const char *value, const char *column, int row)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of the source is null in row %d", column, row),
				 errhint("Leave such rows out of the source.")));
	return host_utf8(value, strlen(value));
}

static TuneSplit
read_split(const char *value)
{
	static const struct
	{
		const char *name;
		TuneSplit	split;
	}			known[] = {
		{"train", TUNE_SPLIT_TRAIN}, {"eval", TUNE_SPLIT_EVAL}, {"valid", TUNE_SPLIT_EVAL},
		{"validation", TUNE_SPLIT_EVAL}, {"dev", TUNE_SPLIT_EVAL}, {"test", TUNE_SPLIT_TEST}
	};

	if (value == NULL)
		return TUNE_SPLIT_NONE;
	for (size_t i = 0; i < lengthof(known); i++)
		if (pg_strcasecmp(value, known[i].name) == 0)
			return known[i].split;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown split \"%s\" in the source", host_excerpt(value, strlen(value))),
			 errhint("A split is \"train\", \"validation\" (or \"valid\", \"dev\", \"eval\"), \"test\" or null.")));
}

static void
read_segments_row(char *const *values, int no, TuneRow *row)
{
	row->text = read_text(values[SEGMENTS_TEXT], "text", no);
	row->answer = text_trim(read_text(values[SEGMENTS_INTENT], "intent", no));
	row->split = read_split(values[SEGMENTS_SPLIT]);
	if (row->answer.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"intent\" of the source is empty in row %d", no)));
}

/* Column "intents": the text of an array, as fsi_classify() takes one. */
static void
check_intents(const char *value, int row)
{
	ArrayType  *array = DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, unconstify(char *, value), TEXTOID, -1));
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("column \"intents\" of the source is not a one-dimensional array in row %d", row)));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column \"intents\" of the source has a null in row %d", row)));
		if (text_trim(host_utf8_text(DatumGetTextPP(values[i]))).len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"intents\" of the source has an empty intent in row %d", row)));
	}
	if (n > 0)
	{
		pfree(values);
		pfree(nulls);
	}
	pfree(array);
}

static void
read_prompt_row(char *const *values, int no, TuneRow *row)
{
	row->text = read_text(values[PROMPT_PROMPT], "prompt", no);
	row->answer = read_text(values[PROMPT_RESPONSE], "response", no);
	row->split = read_split(values[PROMPT_SPLIT]);
	if (values[PROMPT_INTENTS] != NULL)
	{
		check_intents(values[PROMPT_INTENTS], no);
		row->intents = host_utf8(values[PROMPT_INTENTS], strlen(values[PROMPT_INTENTS]));
	}
}

/* ---- All of them. ---- */

static void
read_all(const char *source_text, Gpt2Layout layout, TuneRows *rows)
{
	bool		segments = layout == GPT2_SEGMENTS;
	Source	   *source = source_open(FUNCTION_NAME, source_text, segments ? segments_columns : prompt_columns,
									 segments ? SEGMENTS_COLUMNS : PROMPT_COLUMNS);
	char	   *values[Max((int) SEGMENTS_COLUMNS, (int) PROMPT_COLUMNS)];
	int			room = ROWS_START;

	rows->n = 0;
	rows->rows = palloc(sizeof(TuneRow) * room);
	while (source_next(source, values))
	{
		TuneRow    *row;

		CHECK_FOR_INTERRUPTS();
		if (rows->n == room)
		{
			if (room > INT_MAX / 2)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("source has too many rows to train on")));
			room *= 2;
			rows->rows = repalloc_huge(rows->rows, sizeof(TuneRow) * room);
		}
		row = &rows->rows[rows->n++];
		memset(row, 0, sizeof(*row));
		if (segments)
			read_segments_row(values, rows->n, row);
		else
			read_prompt_row(values, rows->n, row);
	}
	source_close(source);
	if (rows->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source has no rows to train on")));
}

static int
compare_rows(const void *a, const void *b, void *arg)
{
	const TuneRow *x = a;
	const TuneRow *y = b;
	int			order = args_compare(x->answer, y->answer);

	(void) arg;
	if (order == 0)
		order = args_compare(x->text, y->text);
	if (order == 0)
		order = args_compare(x->intents, y->intents);
	return order != 0 ? order : (int) x->split - (int) y->split;
}

static void
hash_text(FsiSha256 *sha, HostText t)
{
	uint64_t	len = t.len;

	fsi_sha256_update(sha, &len, sizeof(len));
	fsi_sha256_update(sha, t.s ? t.s : "", t.len);
}

static void
hash_rows(TuneRows *rows)
{
	FsiSha256	sha;

	fsi_sha256_init(&sha);
	for (int i = 0; i < rows->n; i++)
	{
		uint8_t		split = (uint8_t) rows->rows[i].split;

		CHECK_FOR_INTERRUPTS();
		hash_text(&sha, rows->rows[i].text);
		hash_text(&sha, rows->rows[i].answer);
		hash_text(&sha, rows->rows[i].intents);
		fsi_sha256_update(&sha, &split, sizeof(split));
	}
	fsi_sha256_final(&sha, rows->hash);
}

void
tune_rows_read(const char *source, const StoreModel *model, const TuneOptions *options, FsiArena *arena, TuneRows *rows)
{
	Gpt2Layout	layout = model->file.model.cfg.layout;

	memset(rows, 0, sizeof(*rows));
	read_all(source, layout, rows);
	qsort_interruptible(rows->rows, rows->n, sizeof(TuneRow), compare_rows, NULL);
	hash_rows(rows);
	tune_rows_encode(rows, model, arena);
	tune_split(rows, layout == GPT2_SEGMENTS, options->eval_split, options->train.seed);
	for (int i = 0; i < rows->n; i++)
	{
		rows->n_train += rows->rows[i].split == TUNE_SPLIT_TRAIN;
		rows->n_eval += rows->rows[i].split == TUNE_SPLIT_EVAL;
	}
	if (rows->n_train == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source has no rows to train on"),
				 errdetail_plural("Its %d row is held out or belongs to the split \"test\".",
								  "All of its %d rows are held out or belong to the split \"test\".", rows->n, rows->n)));
}
