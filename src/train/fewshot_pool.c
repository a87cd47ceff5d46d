/*
 * fewshot_pool.c
 *	  Rows by label, each label's in an order that depends on the texts alone.
 *
 * A table's rows come in another order after a dump, a VACUUM FULL or a synchronized scan;
 * sorted by the hash of their text, the same rows give the same draws.  Equal texts of a
 * label are numbered, so that each has draws of its own, and stand after all distinct ones.
 */
#include <stdlib.h>
#include <string.h>

#include "fewshot.h"

#define STOP_EVERY 65536		/* rows between two questions whether to stop: about a millisecond */

static FsiStatus
go_on(const Fewshot *f, uint32_t *count, uint32_t more, FsiError *err)
{
	*count += more;
	if (*count < STOP_EVERY)
		return FSI_OK;
	*count = 0;
	return fsi_should_stop(f->arena->host) ? fsi_cancelled(err) : FSI_OK;
}

/* Rows by cell, in the order in which they came. */
static FsiStatus
group_rows(Fewshot *f, FsiError *err)
{
	uint32_t	at = 0,
				count = 0;

	f->order = fsi_arena_array(f->arena, f->n_row, sizeof(uint32_t));
	if (f->order == NULL)
		return fsi_nomem(err, f->n_row * sizeof(uint32_t));
	for (int c = 0; c < f->cell_of.n; c++)
	{
		f->cells[c].first = at;
		at += f->cells[c].n;
		f->cells[c].n = 0;
	}
	for (uint32_t row = 0; row < f->n_row; row++)
	{
		FewshotCell *c = &f->cells[fewshot_row(f, row)->cell];

		f->order[c->first + c->n++] = row;
		FSI_TRY(go_on(f, &count, 1, err));
	}
	return FSI_OK;
}

/* Merge from[0 .. half - 1] and from[half .. n - 1], both ascending, into to; equal ones as they came. */
static void
merge(const Fewshot *f, const uint32_t *from, uint32_t half, uint32_t n, uint32_t *to)
{
	uint32_t	i = 0,
				j = half;

	while (i < half && j < n)
		*to++ = fewshot_row(f, from[i])->text <= fewshot_row(f, from[j])->text ? from[i++] : from[j++];
	memcpy(to, from + i, (half - i) * sizeof(uint32_t));
	memcpy(to + (half - i), from + j, (n - j) * sizeof(uint32_t));
}

/* A merge sort from the bottom, since qsort() neither keeps the order of equal rows nor stops. */
static FsiStatus
sort_cell(Fewshot *f, const FewshotCell *c, uint32_t *scratch, uint32_t *count, FsiError *err)
{
	uint32_t   *from = f->order + c->first,
			   *to = scratch;

	for (uint64_t width = 1; width < c->n; width *= 2)
	{
		uint32_t   *t = from;

		for (uint64_t at = 0; at < c->n; at += 2 * width)
		{
			uint64_t	n = c->n - at < 2 * width ? c->n - at : 2 * width;

			merge(f, from + at, (uint32_t) (width < n ? width : n), (uint32_t) n, to + at);
			FSI_TRY(go_on(f, count, (uint32_t) n, err));
		}
		from = to;
		to = t;
	}
	if (from == scratch)
		memcpy(to, from, c->n * sizeof(uint32_t));
	return FSI_OK;
}

/* Number equal texts, and move all but the first of each behind the distinct ones. */
static FsiStatus
number_texts(Fewshot *f, FewshotCell *c, uint32_t *scratch, uint32_t *count, FsiError *err)
{
	uint32_t   *rows = f->order + c->first;
	uint32_t	n_again = 0;

	for (uint32_t i = 0; i < c->n; i++)
	{
		FewshotRow *row = fewshot_row(f, rows[i]);
		const FewshotRow *last = c->distinct > 0 ? fewshot_row(f, rows[c->distinct - 1]) : NULL;

		FSI_TRY(go_on(f, count, 1, err));
		if (last == NULL || last->text != row->text)
		{
			rows[c->distinct++] = rows[i];
			continue;
		}
		row->occurrence = n_again > 0 && fewshot_row(f, scratch[n_again - 1])->text == row->text ?
			fewshot_row(f, scratch[n_again - 1])->occurrence + 1 : 1;
		scratch[n_again++] = rows[i];
	}
	memcpy(rows + c->distinct, scratch, n_again * sizeof(uint32_t));
	return FSI_OK;
}

/* ---------------------------------------------------------------- groups */

static int
compare_labels(const void *a, const void *b, void *arg)
{
	const Fewshot *f = arg;
	FewshotText x = f->label_of.keys[f->cells[*(const int *) a].label],
				y = f->label_of.keys[f->cells[*(const int *) b].label];
	int			cmp = memcmp(x.s, y.s, x.len < y.len ? x.len : y.len);

	return cmp != 0 ? cmp : (x.len > y.len) - (x.len < y.len);
}

static FsiStatus
list_cells(Fewshot *f, FsiError *err)
{
	for (int g = 0; g < f->group_of.n; g++)
	{
		f->groups[g].cells = fsi_arena_array(f->arena, (size_t) f->groups[g].n_cell, sizeof(int));
		if (f->groups[g].cells == NULL)
			return fsi_nomem(err, (size_t) f->groups[g].n_cell * sizeof(int));
		f->groups[g].n_cell = 0;
	}
	for (int c = 0; c < f->cell_of.n; c++)
	{
		FewshotGroup *g = &f->groups[f->cells[c].group];

		g->cells[g->n_cell++] = c;
	}
	for (int g = 0; g < f->group_of.n; g++)
		qsort_r(f->groups[g].cells, (size_t) f->groups[g].n_cell, sizeof(int), compare_labels, f);
	return FSI_OK;
}

FsiStatus
fewshot_sort_rows(Fewshot *f, FsiError *err)
{
	FsiArena	work;
	uint32_t   *scratch;
	uint32_t	largest = 0,
				count = 0;
	FsiStatus	status;

	FSI_TRY(group_rows(f, err));
	FSI_TRY(list_cells(f, err));
	for (int c = 0; c < f->cell_of.n; c++)
		largest = f->cells[c].n > largest ? f->cells[c].n : largest;
	fsi_arena_init(&work, f->arena->host);
	scratch = fsi_arena_array(&work, largest, sizeof(uint32_t));
	status = scratch != NULL ? FSI_OK : fsi_nomem(err, largest * sizeof(uint32_t));
	for (int c = 0; c < f->cell_of.n && status == FSI_OK; c++)
	{
		status = sort_cell(f, &f->cells[c], scratch, &count, err);
		if (status == FSI_OK)
			status = number_texts(f, &f->cells[c], scratch, &count, err);
	}
	fsi_arena_free(&work);
	return status;
}
