/*
 * contrary.c
 *	  Texts to which the source gives several answers: people have disagreed, or a row is wrong.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "fsi_sql.h"
#include "tune.h"

/* Rows in the order of their keys; rows of one key in the canonical order, which is that of answers. */
static int
compare_rows(const void *a, const void *b, void *arg)
{
	const TuneRow *rows = arg;
	int			x = *(const int *) a;
	int			y = *(const int *) b;
	int			order = tune_compare_ids(&rows[x].key, &rows[y].key);

	return order != 0 ? order : x - y;
}

/* In what is trained on and held out; to the model two texts may be one. */
void
tune_tell_contrary(const TuneRows *rows)
{
	TuneRow    *all = rows->rows;
	int		   *order = palloc_extended(sizeof(int) * Max(rows->n, 1), MCXT_ALLOC_HUGE);
	const TuneRow *one = NULL;
	const TuneRow *other = NULL;
	int			n = 0;
	int			count = 0;

	for (int i = 0; i < rows->n; i++)
		if (all[i].split != TUNE_SPLIT_TEST)
			order[n++] = i;
	qsort_interruptible(order, n, sizeof(int), compare_rows, all);
	for (int from = 0, to; from < n; from = to)
	{
		for (to = from + 1; to < n && tune_compare_ids(&all[order[from]].key, &all[order[to]].key) == 0; to++)
			CHECK_FOR_INTERRUPTS();
		if (args_compare(all[order[from]].answer, all[order[to - 1]].answer) == 0)
			continue;
		if (count == 0)
		{
			one = &all[order[from]];
			other = &all[order[to - 1]];
		}
		count++;
	}
	pfree(order);
	if (count > 0)
		ereport(NOTICE,
				(errmsg_plural("%d text of the source has several answers", "%d texts of the source have several answers",
							   count, count),
				 errdetail("\"%s\" has \"%s\" and \"%s\".", host_utf8_excerpt(one->text),
						   host_utf8_excerpt(one->answer), host_utf8_excerpt(other->answer)),
				 errhint("The model gives one: rows with another, held out, make it less sure than it may be.")));
}
