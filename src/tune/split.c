/*
 * split.c
 *	  Which rows are held out, where the source does not say.
 *
 * Texts that are one to the model (their tokens are equal, white space around them apart: some tokenizers fold case) are
 * on one side, or the other would be no examination.  A text's place is drawn by a hash of the seed and its bytes, and such
 * texts have the lowest of theirs: adding a row moves none that reads otherwise.  Intents are drawn from one by one, so
 * that each gives its share; the last text of an intent is never taken.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "fsi_sql.h"
#include "tune.h"

/* Rows whose text is one to the model (and of one answer, when drawn answer by answer). */
typedef struct Group
{
	int			first;			/* of order[] */
	int			n;
	uint64		place;
} Group;

/* The rows that have no split, by number, in the order of answer and tokens, or of tokens. */
typedef struct Draw
{
	TuneRow    *rows;
	bool		by_answer;
	uint64		seed;
	int			n;
	int		   *order;
	int			n_groups;
	Group	   *groups;
} Draw;

int
tune_compare_ids(const TokIds *a, const TokIds *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	return a->n == 0 ? 0 : memcmp(a->ids, b->ids, sizeof(int32_t) * a->n);
}

/* 0: of one group. */
static int
compare_groups(const Draw *draw, const TuneRow *a, const TuneRow *b)
{
	int			order = draw->by_answer ? args_compare(a->answer, b->answer) : 0;

	return order != 0 ? order : tune_compare_ids(&a->key, &b->key);
}

static int
compare_rows(const void *a, const void *b, void *arg)
{
	const Draw *draw = arg;
	int			x = *(const int *) a;
	int			y = *(const int *) b;
	int			order = compare_groups(draw, &draw->rows[x], &draw->rows[y]);

	return order != 0 ? order : x - y;
}

static int
compare_places(const void *a, const void *b, void *arg)
{
	const Group *x = a;
	const Group *y = b;

	(void) arg;
	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->first - y->first;
}

static void
find_groups(Draw *draw)
{
	draw->groups = palloc_extended(sizeof(Group) * Max(draw->n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < draw->n; i++)
	{
		const TuneRow *row = &draw->rows[draw->order[i]];
		uint64		place = fsi_hash64(row->text.s, row->text.len, draw->seed);
		Group	   *g;

		CHECK_FOR_INTERRUPTS();
		if (i > 0 && compare_groups(draw, &draw->rows[draw->order[i - 1]], row) == 0)
		{
			g = &draw->groups[draw->n_groups - 1];
			g->n++;
			g->place = Min(g->place, place);
			continue;
		}
		g = &draw->groups[draw->n_groups++];
		g->first = i;
		g->n = 1;
		g->place = place;
	}
}

static void
give(const Draw *draw, const Group *g, TuneSplit split)
{
	for (int i = 0; i < g->n; i++)
		draw->rows[draw->order[g->first + i]].split = split;
}

/* Hold out a share of n groups, those with the lowest places; what is left of a whole one is drawn too. */
static int
hold_out(const Draw *draw, Group *groups, int n, double share)
{
	const TuneRow *row = &draw->rows[draw->order[groups[0].first]];
	double		chance = (double) (fsi_hash64(row->answer.s, draw->by_answer ? row->answer.len : 0, ~draw->seed) >> 11)
		* 0x1p-53;
	int			want = Min((int) floor(share * n + chance), n - 1);

	qsort_interruptible(groups, n, sizeof(Group), compare_places, NULL);
	for (int i = 0; i < n; i++)
		give(draw, &groups[i], i < want ? TUNE_SPLIT_EVAL : TUNE_SPLIT_TRAIN);
	return want;
}

static const TuneRow *
row_of(const Draw *draw, int group)
{
	return &draw->rows[draw->order[draw->groups[group].first]];
}

/* Groups of one answer stand together: one draw for each, or for all. */
static void
draw_all(Draw *draw, double share)
{
	int			held = 0;
	int			largest = 0;
	int			largest_n = 0;

	for (int from = 0, to; from < draw->n_groups; from = to)
	{
		for (to = from + 1; to < draw->n_groups; to++)
			if (draw->by_answer && args_compare(row_of(draw, from)->answer, row_of(draw, to)->answer) != 0)
				break;
		if (to - from > largest_n)
		{
			largest = from;
			largest_n = to - from;
		}
		held += hold_out(draw, &draw->groups[from], to - from, share);
	}
	/* Small tables: rather one than none. */
	if (held == 0 && share > 0 && largest_n > 1)
		give(draw, &draw->groups[largest], TUNE_SPLIT_EVAL);
}

void
tune_split(TuneRows *rows, bool by_answer, double share, uint64 seed)
{
	Draw		draw = {.rows = rows->rows, .by_answer = by_answer, .seed = seed};

	draw.order = palloc_extended(sizeof(int) * rows->n, MCXT_ALLOC_HUGE);
	for (int i = 0; i < rows->n; i++)
		if (rows->rows[i].split == TUNE_SPLIT_NONE)
			draw.order[draw.n++] = i;
	qsort_interruptible(draw.order, draw.n, sizeof(int), compare_rows, &draw);
	find_groups(&draw);
	draw_all(&draw, share);
	pfree(draw.order);
	pfree(draw.groups);
}
