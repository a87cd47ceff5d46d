/*
 * multi.c
 *	  Every label that holds on its own: each candidate is weighed against "none of these" alone.
 *
 * A candidate's score is its probability in a choice between itself and "other": the
 * sigmoid of the difference of their logits.  What tells examples of different candidates apart
 * (discriminant.c) is in a logit as elsewhere.  A segments model has learned the logit of
 * "other"; a prompt model knows it only as one of the answers that the prompt names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "exec.h"

/*
 * Without the option min_score: likelier than not; within 1.5 of the best mean F1 on the recipe's validation sets
 * (test/eval/multi.sh).
 */
#define DEFAULT_MIN_SCORE 0.5
/* Scores in memory at a time: 8 MB. */
#define SLICE_SCORES (1024 * 1024)

static void
check_other(const ExecSet *set)
{
	if (set->with_other || set->candidates != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("fsi_classify_multi() needs the option \"other\" with model \"%s\"", exec_model_name(set)),
			 errdetail("Each intent is weighed against none of them, which a model that reads a prompt knows only as an "
					   "answer that the prompt names."),
			 errhint("Name that answer, for example {\"other\": \"none of these\"}.")));
}

int
exec_compare_scores(const void *a, const void *b, void *scores)
{
	int			i = *(const int *) a;
	int			j = *(const int *) b;
	const double *s = scores;

	if (s[i] != s[j])
		return s[i] < s[j] ? 1 : -1;
	return (i > j) - (i < j);
}

/* The labels that hold, from one row of scores; how many. */
static int
choose_held(const ExecSet *set, double *scores, int *held)
{
	double		least = set->min_score_given ? set->min_score : DEFAULT_MIN_SCORE;
	int			n = 0;

	for (int i = 0; i < set->n_candidates; i++)
		if (scores[i] >= least)
			held[n++] = i;
	if (n == 0 && set->with_other)
		held[n++] = set->n_candidates;
	qsort_arg(held, n, sizeof(int), exec_compare_scores, scores);
	return n;
}

void
exec_classify_multi(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, int *held, int *n_held)
{
	int			slice = Min(Max(SLICE_SCORES / set->n_labels, 1), n);
	ExecAnswer *answers = palloc(sizeof(ExecAnswer) * slice);
	double	   *scores = palloc(sizeof(double) * slice * set->n_labels);

	check_other(set);
	for (int done = 0; done < n; done += slice)
	{
		int			m = Min(n - done, slice);

		exec_answer(set, slot, EXEC_ALONE, m, messages + done, answers, scores);
		for (int i = 0; i < m; i++)
			n_held[done + i] = choose_held(set, scores + (size_t) i * set->n_labels,
										   held + (size_t) (done + i) * set->n_labels);
	}
	pfree(scores);
	pfree(answers);
}

ArrayType *
exec_label_array(const ExecSet *set, int n, const int *labels)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));
	ArrayType  *array;

	for (int i = 0; i < n; i++)
		elements[i] = PointerGetDatum(set->labels[labels[i]]);
	array = construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT);
	pfree(elements);
	return array;
}
