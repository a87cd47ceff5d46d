/*
 * fewshot_draw.c
 *	  One row's prompt, drawn: the original generator's steps, with its flaws or without.
 *
 * Numbers in comments are the original's steps: spelling (1), template (2), ways (3), whether
 * the right intent is missing (4), candidates (5), symbols (6), shots (7, 8), which (9).
 */
#include <string.h>

#include "fewshot.h"

/* Labels that are tried for n ways, where some may look like others. */
#define TRIED(n) (4 * (n) + 16)

typedef struct Drawing
{
	const Fewshot *f;
	const FewshotRow *row;
	const FewshotCell *cell;
	const FewshotGroup *group;
	const FewshotSource *source;
	const FewshotTemplate *t;
	TrainRandom r;
	int			version,		/* -1: the labels' own names */
				description_version;
	int			n_used;
	uint64_t   *used;			/* tokens that no other name may have */
	FsiArena   *arena;
	FewshotDraw *d;
	FsiError   *err;
} Drawing;

static inline int
between(Drawing *w, int low, int high)
{
	return low + train_random_below(&w->r, high - low + 1);
}

/* ---------------------------------------------------------------- names */

/* A random spelling of a slot; where labels are mended, one without unknown tokens if there is one. */
static const FewshotSpelling *
draw_spelling(Drawing *w, int slot, bool mend)
{
	const FewshotSpelling *all = w->f->spellings;
	int			n[2] = {0, 0},
				pick;
	bool		unknown;

	for (int i = w->f->slots[slot].first; i >= 0; i = all[i].next)
		n[mend && all[i].look.unknown]++;
	unknown = n[0] == 0;
	pick = train_random_below(&w->r, n[unknown]);
	for (int i = w->f->slots[slot].first;; i = all[i].next)
		if ((mend && all[i].look.unknown) == unknown && pick-- == 0)
			return &all[i];
}

static FewshotText
draw_name(Drawing *w, int label, uint64_t *tokens)
{
	int			slot = w->version >= 0 ? fewshot_slot(w->f, w->version, label) : -1;
	const FewshotSpelling *s;

	if (slot < 0)
	{
		*tokens = w->f->label_looks[label].tokens;
		return w->f->label_of.keys[label];
	}
	s = draw_spelling(w, slot, fewshot_mends(w->f, FEWSHOT_LABELS));
	*tokens = s->look.tokens;
	return s->text;
}

static FewshotText
draw_description(Drawing *w, int label)
{
	int			slot = w->description_version >= 0 ? fewshot_slot(w->f, w->description_version, label) : -1;

	return slot < 0 ? (FewshotText) {"", 0} : draw_spelling(w, slot, false)->text;
}

/* Has another candidate the same name?  No matter where descriptions tell them apart and a symbol is the answer. */
static bool
is_used(const Drawing *w, uint64_t tokens)
{
	const Template *t = &w->t->t;

	if (!fewshot_mends(w->f, FEWSHOT_LABELS))
		return false;
	if (!TEMPLATE_HAS(&t->response, TEMPLATE_INTENT) && TEMPLATE_HAS(&t->prompt, TEMPLATE_DESCRIPTION) &&
		TEMPLATE_HAS(&t->description, TEMPLATE_DESCRIPTION))
		return false;
	for (int i = 0; i < w->n_used; i++)
		if (w->used[i] == tokens)
			return true;
	return false;
}

/* ---------------------------------------------------------------- texts */

/* Is the message a text of another label, too, which is not shown as an example where labels are mended? */
static bool
hides_message(const Drawing *w, const FewshotCell *cell)
{
	uint32_t	low = 0,
				high = cell->distinct;

	if (!fewshot_mends(w->f, FEWSHOT_LABELS) || !w->d->wants_texts || cell == w->cell)
		return false;
	while (low < high)			/* distinct texts ascend */
	{
		uint32_t	middle = low + (high - low) / 2;

		if (fewshot_row(w->f, w->f->order[cell->first + middle])->text < w->row->text)
			low = middle + 1;
		else
			high = middle;
	}
	return low < cell->distinct && fewshot_row(w->f, w->f->order[cell->first + low])->text == w->row->text;
}

/* ---------------------------------------------------------------- spelling, template, ways (1 to 4) */

static void
draw_versions(Drawing *w)
{
	const FewshotSource *s = w->source;

	w->version = s->n_version > 0 ? s->versions[train_random_below(&w->r, s->n_version)] : -1;
	w->description_version = s->n_description > 0 ?
		s->descriptions[train_random_below(&w->r, s->n_description)] : -1;
	if (w->version >= 0)
		w->d->version = w->f->versions[w->version].name;
}

static void
draw_template(Drawing *w)
{
	w->t = &w->f->templates[w->source->templates[train_random_below(&w->r, w->source->n_template)]];
	w->d->t = &w->t->t;
	w->d->number = w->t->number;
	w->d->announced = w->t->announced;
	w->d->wants_texts = TEMPLATE_HAS(&w->t->t.prompt, TEMPLATE_EXAMPLES) && TEMPLATE_HAS(&w->t->t.example, TEMPLATE_TEXT);
}

static void
draw_ways(Drawing *w)
{
	int			max = w->group->n_cell < w->t->t.max_ways ? w->group->n_cell : w->t->t.max_ways,
				min = w->t->t.min_ways > 2 ? w->t->t.min_ways : 2;

	w->d->n_way = between(w, min < max ? min : max, max);
}

/* The right intent is missing, as the template asks for it at times, or because it has no other text to show. */
static void
draw_not_applicable(Drawing *w)
{
	const Template *t = &w->t->t;
	bool		mend = fewshot_mends(w->f, FEWSHOT_NOT_APPLICABLE);
	bool		possible = w->t->n_answer > 0 && t->not_applicable_rate > 0 && w->group->n_cell > 2;

	w->d->not_applicable = train_random_unit(&w->r) < t->not_applicable_rate && w->d->n_way < w->group->n_cell &&
		w->t->n_answer > 0;
	if (!mend || !w->d->wants_texts || fewshot_pool(w->f, w->cell) > 1)
		return;
	w->d->not_applicable = possible;
	if (!possible)
		w->d->left_out = FEWSHOT_ONE_TEXT;
	else if (w->d->n_way == w->group->n_cell)
		w->d->n_way--;
}

/* The answer for "none of these": one that is neither unknown nor the right name, if there is one. */
static void
draw_answer(Drawing *w, uint64_t right)
{
	const FewshotTemplate *t = w->t;
	bool		mend = fewshot_mends(w->f, FEWSHOT_LABELS);
	int			n[3] = {0, 0, 0},
				best,
				pick;

#define RANK(i) (!mend ? 0 : t->looks[i].tokens == right ? 2 : t->looks[i].unknown)
	if (t->n_answer == 0)
		return;
	for (int i = 0; i < t->n_answer; i++)
		n[RANK(i)]++;
	best = n[0] > 0 ? 0 : n[1] > 0 ? 1 : 2;
	pick = train_random_below(&w->r, n[best]);
	for (int i = 0; i < t->n_answer; i++)
		if (RANK(i) == best && pick-- == 0)
		{
			w->d->answer = t->answers[i];
			if (t->announced || w->d->not_applicable)
				w->used[w->n_used++] = t->looks[i].tokens;
		}
#undef RANK
}

/* ---------------------------------------------------------------- candidates and symbols (5, 6) */

static void
add_candidate(Drawing *w, int cell, FewshotText name, uint64_t tokens)
{
	const FewshotCell *c = &w->f->cells[cell];
	FewshotCandidate *to = &w->d->candidates[w->d->n_candidate++];

	*to = (FewshotCandidate) {.label = cell, .name = name, .right = c == w->cell};
	to->description = draw_description(w, c->label);
	w->used[w->n_used++] = tokens;
}

static void
shuffle(Drawing *w, int n, void *array, size_t size)
{
	char		swap[sizeof(FewshotShot) > sizeof(FewshotCandidate) ? sizeof(FewshotShot) : sizeof(FewshotCandidate)];
	char	   *a = array;

	for (int i = n - 1; i > 0; i--)
	{
		int			j = train_random_below(&w->r, i + 1);

		memcpy(swap, a + (size_t) i * size, size);
		memcpy(a + (size_t) i * size, a + (size_t) j * size, size);
		memcpy(a + (size_t) j * size, swap, size);
	}
}

/* Labels in random order; where the right one is wanted and did not come among the first, it goes before them all. */
static FsiStatus
draw_candidates(Drawing *w)
{
	const FewshotGroup *g = w->group;
	FewshotDraw *d = w->d;
	bool		missing = d->not_applicable;
	int			k = fewshot_mends(w->f, FEWSHOT_LABELS) ? TRIED(d->n_way) : d->n_way + missing;
	uint64_t	right;
	bool		among = false,
				empty = false;	/* a label had nothing to show but the message */
	int		   *order;

	k = k < g->n_cell ? k : g->n_cell;
	order = fsi_arena_array(w->arena, (size_t) k, sizeof(int));
	d->candidates = fsi_arena_array(w->arena, (size_t) d->n_way, sizeof(FewshotCandidate));
	w->used = fsi_arena_array(w->arena, (size_t) d->n_way + 2, sizeof(uint64_t));
	if (order == NULL || d->candidates == NULL || w->used == NULL)
		return fsi_nomem(w->err, (size_t) k * sizeof(FewshotCandidate));
	d->intent = draw_name(w, w->cell->label, &right);
	draw_answer(w, right);
	train_random_sample(&w->r, g->n_cell, k, order);
	for (int i = 0; i < d->n_way && i < k; i++)
		among |= &w->f->cells[g->cells[order[i]]] == w->cell;
	/* Also where it is missing: else "none of these" would be wrong beside another that reads the same. */
	w->used[w->n_used++] = right;
	if (!missing && !among)
		add_candidate(w, (int) (w->cell - w->f->cells), d->intent, right);
	for (int i = 0; i < k && d->n_candidate < d->n_way; i++)
	{
		const FewshotCell *c = &w->f->cells[g->cells[order[i]]];
		FewshotText name;
		uint64_t	tokens;

		if (c == w->cell)
		{
			if (!missing && among)
				add_candidate(w, g->cells[order[i]], d->intent, right);
			continue;
		}
		if (fewshot_pool(w->f, c) == hides_message(w, c))
		{
			empty = true;
			continue;
		}
		name = draw_name(w, c->label, &tokens);
		if (!is_used(w, tokens))
			add_candidate(w, g->cells[order[i]], name, tokens);
	}
	if (fewshot_mends(w->f, FEWSHOT_POSITION))
		shuffle(w, d->n_candidate, d->candidates, sizeof(FewshotCandidate));
	d->n_way = d->n_candidate;
	if (d->n_candidate < 2)
		d->left_out = empty ? FEWSHOT_ONE_TEXT : FEWSHOT_ALIKE;
	return FSI_OK;
}

static void
draw_symbols(Drawing *w)
{
	FewshotDraw *d = w->d;
	double		p = train_random_unit(&w->r);
	int			n = 0,
				pick;

	d->symbols = p < 0.33 ? FEWSHOT_NUMBERS : p < 0.66 ? FEWSHOT_LOWER : FEWSHOT_UPPER;
	if (d->n_way > FEWSHOT_LETTERS)
		d->symbols = FEWSHOT_NUMBERS;
	if (!fewshot_mends(w->f, FEWSHOT_SYMBOLS) || !w->f->unknown_symbols[d->symbols])
		return;
	for (int i = 0; i < FEWSHOT_STYLES; i++)
		n += !w->f->unknown_symbols[i] && (i == FEWSHOT_NUMBERS || d->n_way <= FEWSHOT_LETTERS);
	if (n == 0)
		return;
	pick = train_random_below(&w->r, n);
	for (int i = 0; i < FEWSHOT_STYLES; i++)
		if (!w->f->unknown_symbols[i] && (i == FEWSHOT_NUMBERS || d->n_way <= FEWSHOT_LETTERS) && pick-- == 0)
			d->symbols = i;
}

/* ---------------------------------------------------------------- shots (7 to 9) */

/* Texts of a candidate that can be shown beside the message. */
static int
count_shown(const Drawing *w, const FewshotCandidate *c)
{
	const FewshotCell *cell = &w->f->cells[c->label];
	int			pool = fewshot_pool(w->f, cell) - hides_message(w, cell);

	if (!fewshot_mends(w->f, FEWSHOT_NOT_APPLICABLE))
		return pool;
	return w->d->wants_texts ? pool - c->right : TEMPLATE_MAX_SHOTS;
}

static void
draw_n_shot(Drawing *w)
{
	const Template *t = &w->t->t;
	FewshotDraw *d = w->d;
	int			max = t->max_shots,
				min = t->min_shots > 1 ? t->min_shots : 1;

	for (int i = 0; i < d->n_candidate; i++)
	{
		int			shown = count_shown(w, &d->candidates[i]);

		max = shown < max ? shown : max;
	}
	d->n_shot = between(w, min < max ? min : max, max);
	if (fewshot_mends(w->f, FEWSHOT_NOT_APPLICABLE))
	{
		if (!TEMPLATE_HAS(&t->prompt, TEMPLATE_EXAMPLES))
			d->n_shot = 0;
		return;
	}
	/* as it was: a label with one text is among the candidates, and yet "none of these" is the answer */
	if (fewshot_pool(w->f, w->cell) == d->n_shot && --d->n_shot == 0)
	{
		d->not_applicable = true;
		if (--d->n_way == 1 || w->t->n_answer == 0)
			d->left_out = FEWSHOT_ONE_TEXT;
	}
}

/* n different texts of a candidate; not the message. */
static FsiStatus
draw_texts(Drawing *w, int candidate)
{
	const FewshotCandidate *c = &w->d->candidates[candidate];
	const FewshotCell *cell = &w->f->cells[c->label];
	int			pool = fewshot_pool(w->f, cell),
				n = w->d->n_shot,
				kept = 0;
	bool		not_message = c->right || fewshot_mends(w->f, FEWSHOT_LABELS);
	int			k = n + not_message < pool ? n + not_message : pool;
	int		   *picks = fsi_arena_array(w->arena, (size_t) k, sizeof(int));

	if (picks == NULL)
		return fsi_nomem(w->err, (size_t) k * sizeof(int));
	train_random_sample(&w->r, pool, k, picks);
	for (int i = 0; i < k && kept < n; i++)
	{
		uint32_t	row = w->f->order[cell->first + (uint32_t) picks[i]];

		if (not_message && fewshot_row(w->f, row)->text == w->row->text)
			continue;
		w->d->shots[w->d->n_shots++] = (FewshotShot) {.row = row, .candidate = candidate, .rank = kept++};
	}
	return FSI_OK;
}

static FsiStatus
draw_shots(Drawing *w)
{
	FewshotDraw *d = w->d;
	size_t		n = (size_t) d->n_candidate * (size_t) d->n_shot;

	d->shots = fsi_arena_array(w->arena, n, sizeof(FewshotShot));
	if (d->shots == NULL)
		return fsi_nomem(w->err, n * sizeof(FewshotShot));
	for (int c = 0; c < d->n_candidate; c++)
	{
		if (d->wants_texts)
			FSI_TRY(draw_texts(w, c));
		else
			for (int i = 0; i < d->n_shot; i++)
				d->shots[d->n_shots++] = (FewshotShot) {.candidate = c, .rank = i};
	}
	shuffle(w, d->n_shots, d->shots, sizeof(FewshotShot));
	return FSI_OK;
}

/* ---------------------------------------------------------------- the whole */

FsiStatus
fewshot_draw(const Fewshot *f, uint32_t row, int sample, FsiArena *arena, FewshotDraw *d, FsiError *err)
{
	Drawing		w = {.f = f, .row = fewshot_row(f, row), .arena = arena, .d = d, .err = err};

	w.cell = &f->cells[w.row->cell];
	w.group = &f->groups[w.cell->group];
	w.source = &f->sources[w.group->source];
	w.r = train_random_for(f->o.seed, TRAIN_PURPOSE_FEWSHOT,
						   train_mix(train_mix(w.cell->key, w.row->text),
									 (uint64_t) w.row->occurrence << 32 | (uint32_t) sample));
	*d = (FewshotDraw) {.row = row, .source = w.source->name, .split = f->split_of.keys[w.group->split]};
	if (w.group->n_cell < 2)
	{
		d->left_out = FEWSHOT_ONE_INTENT;
		return FSI_OK;
	}
	draw_versions(&w);
	draw_template(&w);
	draw_ways(&w);
	draw_not_applicable(&w);
	if (d->left_out == FEWSHOT_KEPT)
		FSI_TRY(draw_candidates(&w));
	if (d->left_out != FEWSHOT_KEPT)
		return FSI_OK;
	draw_symbols(&w);
	draw_n_shot(&w);
	if (d->left_out == FEWSHOT_KEPT)
		FSI_TRY(draw_shots(&w));
	d->random = w.r.state;
	return FSI_OK;
}
