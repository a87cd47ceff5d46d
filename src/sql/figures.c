/*
 * figures.c
 *	  The arithmetic of an evaluation: F1, Wilson's interval, calibration, area under the ROC curve.
 */
#include "postgres.h"

#include <math.h>

#include "access/tupdesc.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/tuplesort.h"

#include "evaluate.h"

/* 0.975 quantile of the normal distribution. */
#define Z_95 1.959963984540054

void
counts_init(EvalCounts *counts, int n)
{
	counts->n = n;
	counts->support = palloc0(sizeof(int64) * n);
	counts->answered = palloc0(sizeof(int64) * n);
	counts->right = palloc0(sizeof(int64) * n);
}

void
counts_take(EvalCounts *counts, int gold, int answer)
{
	counts->support[gold]++;
	if (answer == EXEC_NO_ANSWER)
		return;
	counts->answered[answer]++;
	counts->right[answer] += answer == gold;
}

bool
counts_f1(const EvalCounts *counts, int label, double *f1)
{
	int64		both = counts->support[label] + counts->answered[label];

	if (both == 0)
		return false;
	*f1 = 2.0 * counts->right[label] / both;
	return true;
}

double
counts_macro_f1(const EvalCounts *counts)
{
	double		sum = 0;
	double		f1;
	int			n = 0;

	for (int i = 0; i < counts->n; i++)
	{
		if (!counts_f1(counts, i, &f1))
			continue;
		sum += f1;
		n++;
	}
	return n > 0 ? sum / n : 0;
}

EvalInterval
figures_wilson(int64 right, int64 n)
{
	double		share = (double) right / n;
	double		z2 = Z_95 * Z_95 / n;
	double		middle = (share + z2 / 2) / (1 + z2);
	double		half = Z_95 * sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2);

	/* At its ends the formula gives 0 and 1, but for the last bit. */
	return (EvalInterval) {right == 0 ? 0 : middle - half, right == n ? 1 : middle + half};
}

void
bins_init(EvalBins *bins, int n)
{
	bins->n = n;
	bins->rows = palloc0(sizeof(int64) * n);
	bins->right = palloc0(sizeof(int64) * n);
	bins->score = palloc0(sizeof(double) * n);
}

/* A bin holds its upper end; the first also 0. */
void
bins_take(EvalBins *bins, double score, bool right)
{
	int			at = Min(Max((int) ceil(score * bins->n) - 1, 0), bins->n - 1);

	bins->rows[at]++;
	bins->right[at] += right;
	bins->score[at] += score;
}

double
bins_error(const EvalBins *bins)
{
	double		sum = 0;
	int64		rows = 0;

	for (int i = 0; i < bins->n; i++)
	{
		sum += fabs(bins->score[i] - bins->right[i]);
		rows += bins->rows[i];
	}
	return rows > 0 ? sum / rows : 0;
}

/* ---- Ranks: sorted on disk beyond work_mem. ---- */

struct EvalRanks
{
	Tuplesortstate *sort;
	TupleTableSlot *in;
	TupleTableSlot *out;
	int64		inside;
	int64		outside;
};

EvalRanks *
ranks_begin(void)
{
	EvalRanks  *ranks = palloc0(sizeof(EvalRanks));
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	AttrNumber	column = 1;
	Oid			less = Float8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	TupleDescInitEntry(desc, 1, "score", FLOAT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "belongs", BOOLOID, -1, 0);
	ranks->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ranks->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	ranks->sort = tuplesort_begin_heap(desc, 1, &column, &less, &collation, &nulls_first, work_mem, NULL,
									   TUPLESORT_NONE);
	return ranks;
}

void
ranks_take(EvalRanks *ranks, double score, bool belongs)
{
	ExecClearTuple(ranks->in);
	ranks->in->tts_values[0] = Float8GetDatum(score);
	ranks->in->tts_values[1] = BoolGetDatum(belongs);
	ranks->in->tts_isnull[0] = ranks->in->tts_isnull[1] = false;
	ExecStoreVirtualTuple(ranks->in);
	tuplesort_puttupleslot(ranks->sort, ranks->in);
	if (belongs)
		ranks->inside++;
	else
		ranks->outside++;
}

/* The share of pairs in which the row that belongs has the higher score; a tie is half a pair. */
bool
ranks_end(EvalRanks *ranks, double *area)
{
	double		score = 0;
	double		won = 0;
	int64		below = 0;		/* rows that do not belong, with a lower score */
	int64		equal_in = 0;
	int64		equal_out = 0;

	tuplesort_performsort(ranks->sort);
	while (tuplesort_gettupleslot(ranks->sort, true, false, ranks->out, NULL))
	{
		bool		isnull;
		double		next = DatumGetFloat8(slot_getattr(ranks->out, 1, &isnull));
		bool		belongs = DatumGetBool(slot_getattr(ranks->out, 2, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (next != score)
		{
			won += equal_in * (below + equal_out / 2.0);
			below += equal_out;
			equal_in = equal_out = 0;
			score = next;
		}
		equal_in += belongs;
		equal_out += !belongs;
	}
	won += equal_in * (below + equal_out / 2.0);
	tuplesort_end(ranks->sort);
	ExecDropSingleTupleTableSlot(ranks->in);
	ExecDropSingleTupleTableSlot(ranks->out);
	if (ranks->inside == 0 || ranks->outside == 0)
		return false;
	*area = won / ((double) ranks->inside * ranks->outside);
	return true;
}
