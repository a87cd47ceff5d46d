/*
 * evaluate.c
 *	  fsi_evaluate and its kin: what the answers on labelled rows are worth.
 *
 * Each function runs a pass of its own and returns what its name says, one kind of row a
 * function, so that a result reads well, sorts, joins and can be kept in a table.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "evaluate.h"
#include "fsi_compat.h"
#include "fsi_sql.h"

PG_FUNCTION_INFO_V1(fsi_evaluate);
PG_FUNCTION_INFO_V1(fsi_evaluate_intents);
PG_FUNCTION_INFO_V1(fsi_evaluate_confusion);
PG_FUNCTION_INFO_V1(fsi_evaluate_calibration);
PG_FUNCTION_INFO_V1(fsi_evaluate_thresholds);
PG_FUNCTION_INFO_V1(fsi_evaluate_generation);

/* Bins of the calibration error in fsi_evaluate(). */
#define DEFAULT_BINS 10
#define MAX_BINS 1000
#define MAX_THRESHOLDS 1000

#define RESULT_COLUMNS 16

/* A row of a result under construction. */
typedef struct ResultRow
{
	int			n;
	Datum		values[RESULT_COLUMNS];
	bool		nulls[RESULT_COLUMNS];
} ResultRow;

static void
put(ResultRow *row, Datum value, bool isnull)
{
	row->values[row->n] = value;
	row->nulls[row->n++] = isnull;
}

static void
put_count(ResultRow *row, int64 n)
{
	put(row, Int64GetDatum(n), false);
}

static void
put_float(ResultRow *row, double x)
{
	put(row, Float8GetDatum(x), false);
}

/* NULL where there is nothing to take a share of. */
static void
put_share(ResultRow *row, int64 part, int64 whole)
{
	put(row, Float8GetDatum(whole > 0 ? (double) part / whole : 0), whole == 0);
}

static void
put_label(ResultRow *row, const EvalPass *pass, int label)
{
	if (label == EXEC_NO_ANSWER)
		put(row, (Datum) 0, true);
	else
		put(row, PointerGetDatum(pass->labels[label]), false);
}

static void
put_accuracy(ResultRow *row, int64 right, int64 n)
{
	EvalInterval interval = figures_wilson(right, n);

	put_share(row, right, n);
	put_float(row, interval.low);
	put_float(row, interval.high);
}

/* The one row of a function that returns a record. */
static Datum
one_row(FunctionCallInfo fcinfo, ResultRow *row)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), row->values, row->nulls));
}

static void
add_row(FunctionCallInfo fcinfo, ResultRow *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
	row->n = 0;
}

/* ---- fsi_evaluate(): one row of figures. ---- */

typedef struct Summary
{
	EvalCounts	counts;
	EvalBins	bins;
	EvalRanks  *ranks;			/* with "other" */
	int64		right;
	int64		answered;		/* with one of the intents */
	double		log_loss;		/* sums */
	double		brier;
} Summary;

static void
summary_begin(const EvalPass *pass, void *tally)
{
	Summary    *s = tally;

	counts_init(&s->counts, pass->n_labels);
	bins_init(&s->bins, DEFAULT_BINS);
	if (pass->with_other)
		s->ranks = ranks_begin();
}

static int
intents_of(const EvalPass *pass)
{
	return pass->n_labels - pass->with_other;
}

static void
summary_take(const EvalPass *pass, const EvalRow *row, void *tally)
{
	Summary    *s = tally;
	int			n_intents = intents_of(pass);
	double		top = 0;
	double		squares = 0;

	counts_take(&s->counts, row->gold, row->answer);
	bins_take(&s->bins, row->scores[row->best], row->best == row->gold);
	s->right += row->answer == row->gold;
	s->answered += row->answer != EXEC_NO_ANSWER && row->answer < n_intents;
	for (int i = 0; i < pass->n_labels; i++)
	{
		double		miss = row->scores[i] - (i == row->gold);

		squares += miss * miss;
		if (i < n_intents)
			top = Max(top, row->scores[i]);
	}
	s->brier += squares;
	s->log_loss -= log(Max(row->scores[row->gold], DBL_EPSILON));
	if (s->ranks != NULL)
		ranks_take(s->ranks, top, row->gold < n_intents);
}

Datum
fsi_evaluate(PG_FUNCTION_ARGS)
{
	EvalPass	pass;
	Summary		s = {0};
	ResultRow	row = {0};
	double		area = 0;
	bool		has_area;

	eval_arguments(fcinfo, &pass);
	eval_run(&pass, summary_begin, summary_take, &s);
	has_area = s.ranks != NULL && ranks_end(s.ranks, &area);

	put_count(&row, pass.rows);
	put_count(&row, pass.skipped);
	put_count(&row, s.right);
	put_accuracy(&row, s.right, pass.rows);
	put_float(&row, counts_macro_f1(&s.counts));
	put_float(&row, s.log_loss / pass.rows);
	put_float(&row, s.brier / pass.rows);
	put_float(&row, bins_error(&s.bins));
	put_share(&row, s.answered, pass.rows);
	put_count(&row, pass.with_other ? s.counts.support[pass.n_labels - 1] : 0);
	put(&row, Float8GetDatum(area), !has_area);
	return one_row(fcinfo, &row);
}

/* ---- fsi_evaluate_intents(): precision, recall and F1 of each. ---- */

static void
intents_begin(const EvalPass *pass, void *tally)
{
	counts_init(tally, pass->n_labels);
}

static void
intents_take(const EvalPass *pass, const EvalRow *row, void *tally)
{
	(void) pass;
	counts_take(tally, row->gold, row->answer);
}

Datum
fsi_evaluate_intents(PG_FUNCTION_ARGS)
{
	EvalPass	pass;
	EvalCounts	counts;
	ResultRow	row = {0};

	eval_arguments(fcinfo, &pass);
	eval_run(&pass, intents_begin, intents_take, &counts);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < pass.n_labels; i++)
	{
		double		f1 = 0;
		bool		has_f1 = counts_f1(&counts, i, &f1);

		put_label(&row, &pass, i);
		put_count(&row, counts.support[i]);
		put_count(&row, counts.answered[i]);
		put_count(&row, counts.right[i]);
		put_share(&row, counts.right[i], counts.answered[i]);
		put_share(&row, counts.right[i], counts.support[i]);
		put(&row, Float8GetDatum(f1), !has_f1);
		add_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---- fsi_evaluate_confusion(): intent against answer, the pairs that occur. ---- */

typedef struct Pair
{
	int			gold;
	int			answer;
} Pair;

typedef struct PairCount
{
	Pair		pair;
	int64		rows;
} PairCount;

static void
confusion_begin(const EvalPass *pass, void *tally)
{
	HASHCTL		ctl = {.keysize = sizeof(Pair), .entrysize = sizeof(PairCount), .hcxt = CurrentMemoryContext};

	*(HTAB **) tally = hash_create("fsi_intent confusion", 4 * (long) pass->n_labels, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
confusion_take(const EvalPass *pass, const EvalRow *row, void *tally)
{
	Pair		pair = {row->gold, row->answer};
	bool		found;
	PairCount  *count = hash_search(*(HTAB **) tally, &pair, HASH_ENTER, &found);

	(void) pass;
	if (!found)
		count->rows = 0;
	count->rows++;
}

/* In the labels' order; no answer comes last. */
static int
compare_pairs(const void *a, const void *b, void *arg)
{
	const PairCount *x = a;
	const PairCount *y = b;

	(void) arg;
	if (x->pair.gold != y->pair.gold)
		return x->pair.gold < y->pair.gold ? -1 : 1;
	return (unsigned int) x->pair.answer < (unsigned int) y->pair.answer ? -1 : 1;
}

Datum
fsi_evaluate_confusion(PG_FUNCTION_ARGS)
{
	EvalPass	pass;
	HTAB	   *table;
	HASH_SEQ_STATUS scan;
	PairCount  *count;
	PairCount  *counts;
	int			n = 0;
	ResultRow	row = {0};

	eval_arguments(fcinfo, &pass);
	eval_run(&pass, confusion_begin, confusion_take, &table);
	counts = palloc_extended(sizeof(PairCount) * hash_get_num_entries(table), MCXT_ALLOC_HUGE);
	hash_seq_init(&scan, table);
	while ((count = hash_seq_search(&scan)) != NULL)
		counts[n++] = *count;
	qsort_interruptible(counts, n, sizeof(PairCount), compare_pairs, NULL);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		put_label(&row, &pass, counts[i].pair.gold);
		put_label(&row, &pass, counts[i].pair.answer);
		put_count(&row, counts[i].rows);
		add_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---- fsi_evaluate_calibration(): how often a score is right. ---- */

static void
calibration_begin(const EvalPass *pass, void *tally)
{
	EvalBins   *bins = tally;

	(void) pass;
	bins_init(bins, bins->n);
}

static void
calibration_take(const EvalPass *pass, const EvalRow *row, void *tally)
{
	(void) pass;
	bins_take(tally, row->scores[row->best], row->best == row->gold);
}

Datum
fsi_evaluate_calibration(PG_FUNCTION_ARGS)
{
	EvalPass	pass;
	EvalBins	bins = {0};
	ResultRow	row = {0};

	eval_arguments(fcinfo, &pass);
	bins.n = PG_ARGISNULL(4) ? DEFAULT_BINS : PG_GETARG_INT32(4);
	if (bins.n < 1 || bins.n > MAX_BINS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bins must be between 1 and %d, not %d", MAX_BINS, bins.n)));
	eval_run(&pass, calibration_begin, calibration_take, &bins);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < bins.n; i++)
	{
		put_float(&row, (double) i / bins.n);
		put_float(&row, (double) (i + 1) / bins.n);
		put_count(&row, bins.rows[i]);
		put(&row, Float8GetDatum(bins.rows[i] > 0 ? bins.score[i] / bins.rows[i] : 0), bins.rows[i] == 0);
		put_share(&row, bins.right[i], bins.rows[i]);
		add_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---- fsi_evaluate_thresholds(): what min_score would do. ---- */

typedef struct Threshold
{
	double		min_score;
	EvalCounts	counts;
	int64		right;			/* "other" too */
	int64		answered;		/* with one of the intents */
	int64		answered_right;
} Threshold;

typedef struct Thresholds
{
	int			n;
	Threshold  *list;
} Thresholds;

/* 0, 0.05, ... 0.95, 0.99 */
static void
default_thresholds(Thresholds *t)
{
	t->n = 21;
	t->list = palloc0(sizeof(Threshold) * t->n);
	for (int i = 0; i < 20; i++)
		t->list[i].min_score = i / 20.0;
	t->list[20].min_score = 0.99;
}

static void
read_thresholds(ArrayType *array, Thresholds *t)
{
	Datum	   *elements;
	bool	   *nulls;

	args_check_one_dimension(array, "thresholds");
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls, &t->n);
	if (t->n < 1 || t->n > MAX_THRESHOLDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("thresholds must be 1 to %d numbers, not %d", MAX_THRESHOLDS, t->n)));
	t->list = palloc0(sizeof(Threshold) * t->n);
	for (int i = 0; i < t->n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("thresholds[%d] must not be null", i + 1)));
		t->list[i].min_score = DatumGetFloat8(elements[i]);
		if (!(t->list[i].min_score >= 0 && t->list[i].min_score <= 1))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("thresholds[%d] must be between 0 and 1, not %s", i + 1,
							DatumGetCString(DirectFunctionCall1(float8out, elements[i])))));
	}
}

static void
thresholds_begin(const EvalPass *pass, void *tally)
{
	Thresholds *t = tally;

	for (int i = 0; i < t->n; i++)
		counts_init(&t->list[i].counts, pass->n_labels);
}

/* As the option min_score does: a best score below it gives "other", or no answer. */
static void
thresholds_take(const EvalPass *pass, const EvalRow *row, void *tally)
{
	Thresholds *t = tally;
	int			n_intents = intents_of(pass);

	for (int i = 0; i < t->n; i++)
	{
		Threshold  *at = &t->list[i];
		int			answer = row->best;

		if (row->scores[row->best] < at->min_score)
			answer = pass->with_other ? n_intents : EXEC_NO_ANSWER;
		counts_take(&at->counts, row->gold, answer);
		at->right += answer == row->gold;
		if (answer == EXEC_NO_ANSWER || answer == n_intents)
			continue;
		at->answered++;
		at->answered_right += answer == row->gold;
	}
}

Datum
fsi_evaluate_thresholds(PG_FUNCTION_ARGS)
{
	EvalPass	pass;
	Thresholds	t;
	ResultRow	row = {0};

	eval_arguments(fcinfo, &pass);
	if (PG_ARGISNULL(4))
		default_thresholds(&t);
	else
		read_thresholds(PG_GETARG_ARRAYTYPE_P(4), &t);
	eval_run(&pass, thresholds_begin, thresholds_take, &t);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < t.n; i++)
	{
		const Threshold *at = &t.list[i];
		int			other = pass.n_labels - 1;

		put_float(&row, at->min_score);
		put_count(&row, at->answered);
		put_share(&row, at->answered, pass.rows);
		put_share(&row, at->answered_right, at->answered);
		put_share(&row, at->right, pass.rows);
		put_float(&row, counts_macro_f1(&at->counts));
		put_share(&row, at->counts.right[other], pass.with_other ? at->counts.support[other] : 0);
		add_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---- fsi_evaluate_generation(): what the model writes when nothing holds it to the intents. ---- */

typedef struct Written
{
	int64		right;
	int64		wrong;			/* another of the prompt's options */
	int64		outside;		/* none of them */
} Written;

static void
generation_begin(const EvalPass *pass, void *tally)
{
	(void) pass;
	(void) tally;
}

static void
generation_take(const EvalPass *pass, const EvalRow *row, void *tally)
{
	Written    *w = tally;

	(void) pass;
	if (row->answer == EXEC_NO_ANSWER)
		w->outside++;
	else if (row->answer == row->gold)
		w->right++;
	else
		w->wrong++;
}

Datum
fsi_evaluate_generation(PG_FUNCTION_ARGS)
{
	EvalPass	pass;
	Written		w = {0};
	ResultRow	row = {0};

	eval_arguments(fcinfo, &pass);
	pass.generate = true;
	eval_run(&pass, generation_begin, generation_take, &w);

	put_count(&row, pass.rows);
	put_count(&row, pass.skipped);
	put_count(&row, w.right);
	put_accuracy(&row, w.right, pass.rows);
	put_count(&row, w.outside);
	put_share(&row, w.outside, pass.rows);
	put_count(&row, w.wrong);
	put_share(&row, w.wrong, pass.rows);
	return one_row(fcinfo, &row);
}
