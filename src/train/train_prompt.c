/*
 * train_prompt.c
 *	  The language-model loss of a step's rows, in passes, and its evaluation.
 *
 * A row of n tokens goes in without its last one, which is only a target.  A step's rows
 * are sorted by length and cut into passes of at most train_acts_rows() tokens; the loss
 * is the mean over all weighted tokens of the step, however they are cut.
 */
#include <stdlib.h>
#include <string.h>

#include "train.h"

/* Weight of a row's token i as a target, i >= 1. */
static float
target_weight(const TrainOptions *o, const TrainRow *row, int i)
{
	if (o->loss == TRAIN_LOSS_ALL || i >= row->n_prompt)
		return 1;
	return o->loss == TRAIN_LOSS_WEIGHTED ? (float) o->prompt_loss_weight : 0;
}

FsiStatus
train_prompt_check(const Gpt2Config *cfg, const TrainOptions *o, const TrainData *data, FsiError *err)
{
	if (data->n_row < 1)
		return fsi_fail(err, FSI_INVALID, "no rows to train on or to evaluate");
	for (int r = 0; r < data->n_row; r++)
	{
		const TrainRow *row = &data->rows[r];

		if (row->ids.n < 2)
			return fsi_fail(err, FSI_INVALID, "row %d has fewer than two tokens", r);
		if (row->ids.n > (size_t) cfg->n_positions)
			return fsi_fail(err, FSI_LIMIT, "row %d has %zu tokens, more than the model's %d positions", r,
							row->ids.n, cfg->n_positions);
		if (row->n_prompt < 0 || (o->loss == TRAIN_LOSS_RESPONSE && (size_t) row->n_prompt >= row->ids.n))
			return fsi_fail(err, FSI_INVALID, "row %d has no response", r);
		for (size_t i = 0; i < row->ids.n; i++)
			if (row->ids.ids[i] < 0 || row->ids.ids[i] >= cfg->n_vocab)
				return fsi_fail(err, FSI_INVALID, "token %d of row %d is outside the vocabulary of %d",
								row->ids.ids[i], r, cfg->n_vocab);
	}
	return FSI_OK;
}

/* ---------------------------------------------------------------- which rows */

/* Row number i of the endless list of shuffled epochs. */
static int
row_number(const TrainOptions *o, int n_row, int64_t i)
{
	uint64_t	key = train_mix(train_mix(o->seed, TRAIN_PURPOSE_ROWS), (uint64_t) (i / n_row));

	return (int) train_shuffled((uint32_t) (i % n_row), (uint32_t) n_row, key);
}

void
train_sample_rows(const TrainOptions *o, int n_row, int64_t step, int n, int *rows)
{
	for (int i = 0; i < n; i++)
		rows[i] = row_number(o, n_row, step * n + i);
}

/* ---------------------------------------------------------------- passes */

typedef struct Pass
{
	TrainBatch	batch;
	int		   *first;			/* room for all of it: [rows of the step + 1], [capacity], [capacity] */
	int32_t    *tokens;
	TrainTarget *targets;
	int			n_target;
} Pass;

typedef struct Sorted
{
	int			length,
				row;
} Sorted;

/* Longest first: when memory does not suffice, the first pass says so.  Equal lengths: by number. */
static int
by_length(const void *a, const void *b)
{
	const Sorted *x = a,
			   *y = b;

	if (x->length != y->length)
		return y->length - x->length;
	return (x->row > y->row) - (x->row < y->row);
}

static FsiStatus
sort_rows(const TrainRow *rows, int n, const int *numbers, FsiArena *arena, Sorted **out, FsiError *err)
{
	Sorted	   *sorted = fsi_arena_array(arena, (size_t) n, sizeof(Sorted));

	if (sorted == NULL)
		return fsi_nomem(err, (size_t) n * sizeof(Sorted));
	for (int i = 0; i < n; i++)
	{
		int			row = numbers == NULL ? i : numbers[i];

		sorted[i] = (Sorted) {(int) rows[row].ids.n - 1, row};
	}
	qsort(sorted, (size_t) n, sizeof(Sorted), by_length);
	*out = sorted;
	return FSI_OK;
}

static FsiStatus
take_pass(Train *t, int n, Pass *p, FsiError *err)
{
	size_t		rows = (size_t) train_acts_rows(t->acts);

	p->first = fsi_arena_array(&t->work, (size_t) n + 1, sizeof(int));
	p->tokens = fsi_arena_array(&t->work, rows, sizeof(int32_t));
	p->targets = fsi_arena_array(&t->work, rows, sizeof(TrainTarget));
	if (p->first == NULL || p->tokens == NULL || p->targets == NULL)
		return fsi_nomem(err, rows * sizeof(TrainTarget));
	return FSI_OK;
}

/* The next pass: as many of sorted[0 .. n - 1] as fit, at least one; how many. */
static int
fill_pass(const Train *t, const TrainData *data, int n, const Sorted *sorted, Pass *p)
{
	int			used = 0,
				at = 0;

	p->n_target = 0;
	while (used < n && at + sorted[used].length <= train_acts_rows(t->acts))
	{
		const TrainRow *row = &data->rows[sorted[used].row];

		p->first[used] = at;
		memcpy(p->tokens + at, row->ids.ids, (size_t) sorted[used].length * sizeof(int32_t));
		for (int i = 0; i < sorted[used].length; i++)
		{
			float		weight = target_weight(&t->options, row, i + 1);

			if (weight > 0)
				p->targets[p->n_target++] = (TrainTarget) {
					.row = at + i, .token = row->ids.ids[i + 1], .weight = weight, .response = i + 1 >= row->n_prompt};
		}
		at += sorted[used++].length;
	}
	p->first[used] = at;
	p->batch = (TrainBatch) {used, p->first, p->tokens};
	return used;
}

static double
total_weight(const Train *t, int n, const int *rows)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		for (int j = 1; j < (int) t->data->rows[rows[i]].ids.n; j++)
			sum += (double) target_weight(&t->options, &t->data->rows[rows[i]], j);
	return sum;
}

FsiStatus
train_prompt_gradients(Train *t, int n, const int *rows, TrainReport *report, FsiError *err)
{
	TrainParams *params = &t->params;
	TrainDrop	drop = train_drop(t, true);
	TrainLossSum sum = {0};
	double		weight = total_weight(t, n, rows);
	Sorted	   *sorted;
	Pass		p;

	FSI_TRY(sort_rows(t->data->rows, n, rows, &t->work, &sorted, err));
	FSI_TRY(take_pass(t, n, &p, err));
	t->ctx.first_row = 0;
	for (int at = 0; at < n;)
	{
		int			T;
		float	   *hidden;

		at += fill_pass(t, t->data, n - at, sorted + at, &p);
		T = train_batch_rows(&p.batch);
		FSI_TRY(train_gpt2(&t->ctx, &params->w, &drop, &p.batch, true, t->acts, &hidden));
		FSI_TRY(train_loss_back(&t->ctx, &params->w.head, T, p.n_target, p.targets, weight > 0 ? 1 / weight : 0,
								hidden, t->logits, train_gpt2_d_hidden(t->acts), train_mut(params->g.head.w), &sum));
		FSI_TRY(train_gpt2_back(&t->ctx, &params->w, &params->g, &drop, &p.batch, t->acts));
		t->ctx.first_row += (uint64_t) T;
	}
	report->loss = sum.weight > 0 ? sum.loss / sum.weight : 0;
	report->tokens = (int64_t) t->ctx.first_row;
	return FSI_OK;
}

/* ---------------------------------------------------------------- evaluation */

/* Rows of a pass whose response is the model's first choice, token by token; rows without targets count as right. */
static int64_t
count_exact(const Pass *p)
{
	int64_t		exact = 0;

	for (int s = 0, i = 0; s < p->batch.n_seq; s++)
	{
		bool		all = true;

		for (; i < p->n_target && p->targets[i].row < p->first[s + 1]; i++)
			all &= p->targets[i].right || !p->targets[i].response;
		exact += all;
	}
	return exact;
}

FsiStatus
train_prompt_evaluate(Train *t, const TrainData *data, TrainScores *scores, FsiError *err)
{
	TrainDrop	drop = train_drop(t, false);
	TrainLossSum sum = {0};
	int64_t		exact = 0;
	Sorted	   *sorted;
	Pass		p;

	FSI_TRY(train_prompt_check(&t->params.w.cfg, &t->options, data, err));
	FSI_TRY(sort_rows(data->rows, data->n_row, NULL, &t->work, &sorted, err));
	if (sorted[0].length > train_acts_rows(t->acts))
		return fsi_fail(err, FSI_LIMIT, "row %d has %d tokens, but a pass has room for %d", sorted[0].row,
						sorted[0].length + 1, train_acts_rows(t->acts) + 1);
	FSI_TRY(take_pass(t, data->n_row, &p, err));
	for (int at = 0; at < data->n_row;)
	{
		float	   *hidden;

		at += fill_pass(t, data, data->n_row - at, sorted + at, &p);
		FSI_TRY(train_gpt2(&t->ctx, &t->params.w, &drop, &p.batch, false, t->acts, &hidden));
		FSI_TRY(train_loss(&t->ctx, &t->params.w.head, p.n_target, p.targets, hidden, t->logits, &sum));
		exact += count_exact(&p);
	}
	scores->loss = sum.weight > 0 ? sum.loss / sum.weight : 0;
	scores->accuracy = sum.judged > 0 ? (double) sum.right / (double) sum.judged : 0;
	scores->exact = (double) exact / data->n_row;
	scores->count = sum.judged;
	return FSI_OK;
}
