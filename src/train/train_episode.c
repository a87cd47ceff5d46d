/*
 * train_episode.c
 *	  Episodes over a table's intents: a few-shot question as a user would put it.
 *
 * Some intents, up to max_shots texts of each as examples, others of their texts as
 * messages; in some episodes with examples the names are hidden, in some descriptions are
 * shown, in some the first intent is missing and "other" is right for its messages.  As
 * models/recipe/episodes.py, for one table instead of many sets.
 */
#include <string.h>

#include "train.h"

/* ---------------------------------------------------------------- texts by number */

static void
group_texts(const TrainData *data, TrainTexts *t)
{
	int			n = data->n_intent;

	/* counting sort; TRAIN_OTHER's come last */
	for (int i = 0; i < data->n_text; i++)
		t->group[(data->texts[i].intent == TRAIN_OTHER ? n : data->texts[i].intent) + 1]++;
	for (int i = 0; i <= n; i++)
		t->group[i + 1] += t->group[i];
	for (int i = data->n_text - 1; i >= 0; i--)
		t->by_intent[--t->group[(data->texts[i].intent == TRAIN_OTHER ? n : data->texts[i].intent) + 1]] =
			t->first_text + i;
	/* each end has run down to its beginning: move them back by one place */
	for (int i = 0; i <= n; i++)
		t->group[i] = t->group[i + 1];
	t->group[n + 1] = data->n_text;
}

FsiStatus
train_texts_list(const TrainData *data, FsiArena *arena, TrainTexts *t, FsiError *err)
{
	int64_t		total = data->n_text;
	int			at = 0;

	for (int i = 0; i < data->n_intent; i++)
		total += (int64_t) data->intents[i].n_name + data->intents[i].n_description;
	if (total > INT32_MAX)
		return fsi_fail(err, FSI_LIMIT, "too many texts to train on");
	t->n = (int) total;
	t->ids = fsi_arena_array(arena, (size_t) total, sizeof(*t->ids));
	t->first_name = fsi_arena_array(arena, (size_t) data->n_intent + 1, sizeof(int));
	t->first_description = fsi_arena_array(arena, (size_t) data->n_intent + 1, sizeof(int));
	t->by_intent = fsi_arena_array(arena, (size_t) data->n_text, sizeof(int));
	t->group = fsi_arena_zero(arena, (size_t) data->n_intent + 2, sizeof(int));
	if (t->ids == NULL || t->first_name == NULL || t->first_description == NULL || t->by_intent == NULL ||
		t->group == NULL)
		return fsi_nomem(err, (size_t) total * sizeof(*t->ids));
	for (int i = 0; i < data->n_intent; at += data->intents[i++].n_name)
	{
		t->first_name[i] = at;
		for (int j = 0; j < data->intents[i].n_name; j++)
			t->ids[at + j] = &data->intents[i].names[j];
	}
	t->first_name[data->n_intent] = at;
	for (int i = 0; i < data->n_intent; at += data->intents[i++].n_description)
	{
		t->first_description[i] = at;
		for (int j = 0; j < data->intents[i].n_description; j++)
			t->ids[at + j] = &data->intents[i].descriptions[j];
	}
	t->first_description[data->n_intent] = t->first_text = at;
	for (int i = 0; i < data->n_text; i++)
		t->ids[at + i] = &data->texts[i].ids;
	group_texts(data, t);
	return FSI_OK;
}

/* ---------------------------------------------------------------- drawing */

typedef struct Draw
{
	const TrainData *data;
	const TrainTexts *texts;
	const TrainOptions *o;
	TrainRandom r;
	FsiArena   *arena;
	TrainEpisode *e;
	int			ways,
				shots,
				asked;			/* messages of one intent */
	bool		hidden,
				missing,
				described;
	int		   *labels;			/* [ways] intents */
	int		   *picks;			/* room for the texts of one intent */
} Draw;

static inline int
count_texts(const TrainTexts *t, int group)
{
	return t->group[group + 1] - t->group[group];
}

static void
add_segment(Draw *d, int text, int owner, TrainKind kind)
{
	TrainEpisode *e = d->e;

	e->segment[e->n_segment] = text;
	e->owner[e->n_segment] = owner;
	e->kind[e->n_segment++] = kind;
}

static void
add_query(Draw *d, int text, int gold)
{
	d->e->query[d->e->n_query] = text;
	d->e->gold[d->e->n_query++] = gold;
}

/* One candidate's name or description, examples and messages. */
static void
draw_label(Draw *d, int owner)
{
	int			label = d->labels[owner],
				have = count_texts(d->texts, label),
				want = d->shots + d->asked,
				n = have < want ? have : want,
				queries = n <= d->shots ? (n > 0 ? 1 : 0) : n - d->shots;
	const TrainIntent *intent = &d->data->intents[label];
	bool		missing = d->missing && owner == 0;

	train_random_sample(&d->r, have, n, d->picks);
	for (int i = 0; i < n; i++)
		d->picks[i] = d->texts->by_intent[d->texts->group[label] + d->picks[i]];
	for (int i = 0; i < queries; i++)
		add_query(d, d->picks[i], missing ? d->ways : owner);
	if (missing)
		return;
	if (!d->hidden || n == queries)
	{
		bool		other_spelling = intent->n_name > 1 && train_random_unit(&d->r) < 0.5;
		int			name = other_spelling ? 1 + train_random_below(&d->r, intent->n_name - 1) : 0;

		add_segment(d, d->texts->first_name[label] + name, owner, TRAIN_NAME);
		if (d->described && intent->n_description > 0)
			add_segment(d, d->texts->first_description[label] + train_random_below(&d->r, intent->n_description),
						owner, TRAIN_DESCRIPTION);
	}
	for (int i = queries; i < n; i++)
		add_segment(d, d->picks[i], owner, TRAIN_EXAMPLE);
}

/* The intents; at least one of them has texts. */
static void
draw_labels(Draw *d)
{
	int			chosen = 0;

	train_random_sample(&d->r, d->data->n_intent, d->ways, d->labels);
	while (chosen < d->ways && count_texts(d->texts, d->labels[chosen]) == 0)
		chosen++;
	if (chosen == d->ways && count_texts(d->texts, d->data->n_intent) < d->data->n_text)
	{
		/* the first count of by_intent are not TRAIN_OTHER's */
		int			of_intents = d->data->n_text - count_texts(d->texts, d->data->n_intent);
		int			text = d->texts->by_intent[train_random_below(&d->r, of_intents)];

		d->labels[d->ways - 1] = d->data->texts[text - d->texts->first_text].intent;
	}
}

/* Keep a random few of the messages, in random order. */
static FsiStatus
choose_queries(Draw *d, FsiError *err)
{
	TrainEpisode *e = d->e;
	int			keep = e->n_query < d->o->queries ? e->n_query : d->o->queries;
	int		   *order = fsi_arena_array(d->arena, 3 * (size_t) e->n_query + 1, sizeof(int)),
			   *query = order + e->n_query,
			   *gold = query + e->n_query;

	if (order == NULL)
		return fsi_nomem(err, 3 * (size_t) e->n_query * sizeof(int));
	train_random_sample(&d->r, e->n_query, keep, order);
	memcpy(query, e->query, (size_t) e->n_query * sizeof(int));
	memcpy(gold, e->gold, (size_t) e->n_query * sizeof(int));
	for (int i = 0; i < keep; i++)
	{
		e->query[i] = query[order[i]];
		e->gold[i] = gold[order[i]];
	}
	e->n_query = keep;
	return FSI_OK;
}

/* What kind of episode this is, and room for the largest of the kind. */
static FsiStatus
draw_kind(Draw *d, FsiError *err)
{
	static const int usual_shots[] = {0, 0, 0, 1, 1, 2, 3};	/* half of the questions have no examples or one */
	const TrainOptions *o = d->o;
	int			most = d->data->n_intent < o->max_ways ? d->data->n_intent : o->max_ways,
				least = most < o->min_ways ? most : o->min_ways;
	size_t		segments,
				queries;

	d->ways = least + train_random_below(&d->r, most - least + 1);
	d->shots = o->max_shots <= 3 ? usual_shots[train_random_below(&d->r, 7)] : train_random_below(&d->r, o->max_shots + 1);
	d->shots = d->shots < o->max_shots ? d->shots : o->max_shots;
	d->hidden = train_random_unit(&d->r) < o->hidden_names && d->shots > 0;
	d->missing = train_random_unit(&d->r) < o->missing && d->ways > 2;
	d->described = train_random_unit(&d->r) < o->described;
	d->asked = o->queries / d->ways > 1 ? o->queries / d->ways : 1;

	segments = (size_t) d->ways * ((size_t) d->shots + 2);
	queries = (size_t) d->ways * (size_t) d->asked + 1;
	d->e->owner = fsi_arena_array(d->arena, 2 * segments, sizeof(int));
	d->e->kind = fsi_arena_array(d->arena, segments, sizeof(TrainKind));
	d->e->query = fsi_arena_array(d->arena, 2 * queries, sizeof(int));
	d->labels = fsi_arena_array(d->arena, (size_t) d->ways + (size_t) d->shots + (size_t) d->asked, sizeof(int));
	if (d->e->owner == NULL || d->e->kind == NULL || d->e->query == NULL || d->labels == NULL)
		return fsi_nomem(err, (2 * segments + 2 * queries) * sizeof(int));
	d->e->segment = d->e->owner + segments;
	d->e->gold = d->e->query + queries;
	d->picks = d->labels + d->ways;
	return FSI_OK;
}

FsiStatus
train_episode_draw(const TrainData *data, const TrainTexts *texts, const TrainOptions *o, uint64_t number,
				   FsiArena *arena, TrainEpisode *e, FsiError *err)
{
	Draw		d = {.data = data, .texts = texts, .o = o, .arena = arena, .e = e,
		.r = train_random_for(o->seed, TRAIN_PURPOSE_EPISODE, number)};
	int			others = count_texts(texts, data->n_intent);

	memset(e, 0, sizeof(*e));
	FSI_TRY(draw_kind(&d, err));
	e->n_candidate = d.ways;
	e->offers_other = true;
	draw_labels(&d);
	for (int i = 0; i < d.ways; i++)
		draw_label(&d, i);
	if (others > 0)
		add_query(&d, texts->by_intent[texts->group[data->n_intent] + train_random_below(&d.r, others)], d.ways);
	return choose_queries(&d, err);
}
