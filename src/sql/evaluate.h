/*
 * evaluate.h
 *	  Between the files of fsi_evaluate…(): one pass over labelled rows, and what is made of it.
 *
 * A pass reads the source, finds its labels where none are given, and hands every row with
 * a text and an intent to a tally, answered together with its neighbours as a batch node
 * answers them: the labels are those of fsi_classify().  Memory holds one chunk of rows;
 * what must be read twice, or sorted, goes through files beyond work_mem.
 */
#ifndef EVALUATE_H
#define EVALUATE_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/jsonb.h"

#include "fsi_compat.h"
#include "fsi_exec.h"

typedef struct EvalPass
{
	const char *function;		/* its name, for errors */
	char	   *source;
	ArrayType  *intents;		/* once labels are known, never NULL */
	Jsonb	   *options;		/* or NULL */
	char	   *split;			/* or NULL */
	bool		generate;		/* let the model write its answers instead of choosing them */
	/* known when the first row comes */
	int			n_labels;
	bool		with_other;		/* the last label is the one for rows that no intent fits */
	text	  **labels;			/* in canonical order */
	HostText   *names;			/* trimmed */
	int64		rows;			/* with text and intent */
	int64		skipped;		/* without */
} EvalPass;

typedef struct EvalRow
{
	int			gold;			/* label */
	int			answer;			/* label, or EXEC_NO_ANSWER */
	int			best;			/* label of the highest score, whatever min_score */
	const double *scores;		/* [n_labels]; NULL where the model generates */
} EvalRow;

/* begin: labels are known. */
typedef void (*EvalBegin) (const EvalPass *pass, void *tally);
typedef void (*EvalTake) (const EvalPass *pass, const EvalRow *row, void *tally);

/* Read the arguments source, intents, options, split. */
extern void eval_arguments(FunctionCallInfo fcinfo, EvalPass *pass);
/* Run the pass; what the two functions allocate outlasts it. */
extern void eval_run(EvalPass *pass, EvalBegin begin, EvalTake take, void *tally);

/* --- figures.c --- */

/* Counts per label, from which precision, recall and F1 come. */
typedef struct EvalCounts
{
	int			n;
	int64	   *support;		/* [n] rows with the label */
	int64	   *answered;		/* [n] rows answered with it */
	int64	   *right;			/* [n] rows with it, answered with it */
} EvalCounts;

typedef struct EvalInterval
{
	double		low,
				high;
} EvalInterval;

extern void counts_init(EvalCounts *counts, int n);
extern void counts_take(EvalCounts *counts, int gold, int answer);
/* False: the label has no rows and no answers. */
extern bool counts_f1(const EvalCounts *counts, int label, double *f1);
/* Mean over the labels that have rows or answers. */
extern double counts_macro_f1(const EvalCounts *counts);
/* Wilson's score interval of a share, 95%. */
extern EvalInterval figures_wilson(int64 right, int64 n);

/* Confidence against correctness in bins of equal width. */
typedef struct EvalBins
{
	int			n;
	int64	   *rows;			/* [n] */
	int64	   *right;
	double	   *score;			/* sums */
} EvalBins;

extern void bins_init(EvalBins *bins, int n);
extern void bins_take(EvalBins *bins, double score, bool right);
/* Mean distance of score and accuracy over the bins, by rows. */
extern double bins_error(const EvalBins *bins);

/* Area under the ROC curve of a score: rows that belong against rows that do not. */
typedef struct EvalRanks EvalRanks;

extern EvalRanks *ranks_begin(void);
extern void ranks_take(EvalRanks *ranks, double score, bool belongs);
/* Ends it; false: there were no rows of one of the kinds. */
extern bool ranks_end(EvalRanks *ranks, double *area);

#endif
