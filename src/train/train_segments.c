/*
 * train_segments.c
 *	  Episodes through the body: texts to z, the pointing loss, and back.
 *
 * All texts of a step's episodes stand in one list, cut into passes that fit.  First every
 * pass goes forward to its z; then the readout gives the gradient of all z; then every pass
 * goes backward.  The last pass is still in memory; the others go forward once more (Gao et
 * al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"), with
 * the same dropout, since that depends on the row's number alone.
 */
#include <math.h>
#include <string.h>

#include "train.h"

/* A list of texts and their z. */
typedef struct List
{
	int			n;
	const TokIds **ids;
	int		   *from;			/* [passes + 1] first text of each pass */
	int			passes;
	int		   *first;			/* [n + 1] first row of each text within its pass */
	float	   *z,				/* (n, E) */
			   *norm,			/* (n) */
			   *dz;				/* (n, E) */
	int32_t    *tokens;			/* of one pass */
	uint64_t   *row;			/* [passes] number of the pass's first row within the step */
	uint64_t	rows;			/* of all */
} List;

static FsiStatus
check_ids(const Gpt2Config *cfg, const TokIds *text, FsiError *err)
{
	bool		shortened;

	for (size_t i = 0; i < text->n; i++)
		if (text->ids[i] < 0 || text->ids[i] >= cfg->n_vocab)
			return fsi_fail(err, FSI_INVALID, "token %d of a text is outside the vocabulary of %d", text->ids[i],
							cfg->n_vocab);
	if (segment_length(cfg, text, &shortened) < 1)
		return fsi_fail(err, FSI_INVALID, "a text without tokens");
	return FSI_OK;
}

static FsiStatus
check_texts(const Gpt2Config *cfg, int n_intent, int n, const TrainText *texts, FsiError *err)
{
	for (int i = 0; i < n; i++)
	{
		if (texts[i].intent != TRAIN_OTHER && (texts[i].intent < 0 || texts[i].intent >= n_intent))
			return fsi_fail(err, FSI_INVALID, "text %d has the unknown intent %d", i, texts[i].intent);
		FSI_TRY(check_ids(cfg, &texts[i].ids, err));
	}
	return FSI_OK;
}

FsiStatus
train_segments_check(const Gpt2Config *cfg, const TrainData *data, FsiError *err)
{
	if (data->n_text < 1)
		return fsi_fail(err, FSI_INVALID, "no texts to train on or to evaluate");
	if (data->n_intent < 2)
		return fsi_fail(err, FSI_INVALID, "at least two intents are needed, not %d", data->n_intent);
	for (int i = 0; i < data->n_intent; i++)
	{
		const TrainIntent *intent = &data->intents[i];

		if (intent->n_name < 1)
			return fsi_fail(err, FSI_INVALID, "intent %d has no name", i);
		for (int j = 0; j < intent->n_name; j++)
			FSI_TRY(check_ids(cfg, &intent->names[j], err));
		for (int j = 0; j < intent->n_description; j++)
			FSI_TRY(check_ids(cfg, &intent->descriptions[j], err));
	}
	FSI_TRY(check_texts(cfg, data->n_intent, data->n_text, data->texts, err));
	return check_texts(cfg, data->n_intent, data->n_example, data->examples, err);
}

/* ---------------------------------------------------------------- lists */

/* Room for n texts; z (n, E): where their vectors go, NULL: into memory of the list's own. */
static FsiStatus
list_take(Train *t, int n, bool gradients, float *z, List *l, FsiError *err)
{
	size_t		E = (size_t) t->params.w.cfg.n_embd,
				N = (size_t) n;

	memset(l, 0, sizeof(*l));
	l->ids = fsi_arena_array(&t->work, N, sizeof(*l->ids));
	l->from = fsi_arena_array(&t->work, N + 1, sizeof(int));
	l->first = fsi_arena_array(&t->work, N + 1, sizeof(int));
	l->row = fsi_arena_array(&t->work, N + 1, sizeof(uint64_t));
	l->z = z != NULL ? z : fsi_arena_array(&t->work, N, E * sizeof(float));
	l->norm = fsi_arena_array(&t->work, N, sizeof(float));
	l->dz = fsi_arena_array(&t->work, gradients ? N : 1, E * sizeof(float));
	l->tokens = fsi_arena_array(&t->work, (size_t) train_acts_rows(t->acts), sizeof(int32_t));
	if (l->ids == NULL || l->from == NULL || l->first == NULL || l->row == NULL || l->z == NULL || l->norm == NULL ||
		l->dz == NULL || l->tokens == NULL)
		return fsi_nomem(err, N * E * sizeof(float));
	return FSI_OK;
}

static void
list_add(List *l, const TokIds *ids)
{
	l->ids[l->n++] = ids;
}

/* Cut into passes. */
static void
list_cut(const Train *t, List *l)
{
	int			room = 0;

	l->passes = 0;
	l->rows = 0;
	for (int i = 0; i < l->n; i++)
	{
		bool		shortened;
		int			length = segment_length(&t->params.w.cfg, l->ids[i], &shortened);

		if (l->passes == 0 || length > room)
		{
			l->from[l->passes] = i;
			l->row[l->passes++] = l->rows;
			room = train_acts_rows(t->acts);
		}
		room -= length;
		l->rows += (uint64_t) length;
	}
	l->from[l->passes] = l->n;
}

/* One pass forward to its z. */
static FsiStatus
list_forward(Train *t, List *l, int pass, bool keep, const TrainDrop *drop, TrainBatch *b)
{
	const Gpt2Config *cfg = &t->params.w.cfg;
	int			at = 0;
	size_t		z = (size_t) l->from[pass] * (size_t) cfg->n_embd;
	float	   *hidden;

	*b = (TrainBatch) {.n_seq = l->from[pass + 1] - l->from[pass], .first = l->first, .tokens = l->tokens};
	for (int s = 0; s < b->n_seq; s++)
	{
		const TokIds *ids = l->ids[l->from[pass] + s];
		bool		shortened;
		int			length = segment_length(cfg, ids, &shortened);

		l->first[s] = at;
		segment_write(cfg, ids, length, l->tokens + at);
		at += length;
	}
	l->first[b->n_seq] = at;
	t->ctx.first_row = l->row[pass];
	FSI_TRY(train_gpt2(&t->ctx, &t->params.w, drop, b, keep, t->acts, &hidden));
	train_pool_mean(t->ops, b, cfg->n_embd, hidden, l->z + z, l->norm + l->from[pass]);
	return FSI_OK;
}

/* z of a whole list without dropout; tell: whoever waits for all texts. */
static FsiStatus
list_encode(Train *t, List *l, bool tell)
{
	TrainDrop	drop = train_drop(t, false);
	TrainBatch	b;

	list_cut(t, l);
	for (int pass = 0; pass < l->passes; pass++)
	{
		FSI_TRY(list_forward(t, l, pass, false, &drop, &b));
		if (tell && t->options.encoded != NULL)
			t->options.encoded(t->options.encoded_arg, pass + 1 < l->passes ? l->row[pass + 1] : l->rows, l->rows);
	}
	return FSI_OK;
}

FsiStatus
train_segments_encode_all(Train *t, FsiError *err)
{
	List		l;

	FSI_TRY(list_take(t, t->texts.n, false, t->z, &l, err));
	for (int i = 0; i < t->texts.n; i++)
		list_add(&l, t->texts.ids[i]);
	return list_encode(t, &l, true);
}

static TrainReadout
readout(const Train *t)
{
	return (TrainReadout) {t->params.w.cfg.n_embd, t->params.w.readout_q, t->params.w.readout_k, &t->scalars,
		t->params.w_scalar};
}

/* ---------------------------------------------------------------- gradients */

/* Mean loss of the episodes; their gradients into Q, K and, unless frozen, into l->dz. */
static FsiStatus
episodes_back(Train *t, int n, const TrainEpisode *episodes, List *l, TrainReport *report)
{
	size_t		E = (size_t) t->params.w.cfg.n_embd;
	TrainReadout r = readout(t);
	int64_t		right = 0,
				asked = 0;
	size_t		at = 0;

	report->loss = 0;
	for (int i = 0; i < n; i++)
	{
		const TrainEpisode *e = &episodes[i];
		size_t		s = at,
					q = at + (size_t) e->n_segment;
		double		loss;
		int			hits;

		at = q + (size_t) e->n_query;
		FSI_TRY(train_pointing_back(&t->ctx, &r, e, l->z + q * E, l->z + s * E, 1.0 / n, &t->work, &loss, &hits,
									t->options.freeze ? NULL : l->dz + q * E, t->options.freeze ? NULL : l->dz + s * E,
									train_mut(t->params.g.readout_q), train_mut(t->params.g.readout_k),
									t->params.g_scalar));
		report->loss += loss / n;
		right += hits;
		asked += e->n_query;
	}
	report->accuracy = (double) right / (double) asked;
	return FSI_OK;
}

/* The texts' z: of the body, or as they were encoded at the start. */
static FsiStatus
episodes_z(Train *t, int n, const TrainEpisode *episodes, List *l, FsiError *err)
{
	size_t		E = (size_t) t->params.w.cfg.n_embd;
	int64_t		total = 0;

	for (int i = 0; i < n; i++)
		total += (int64_t) episodes[i].n_segment + episodes[i].n_query;
	if (total > INT32_MAX)
		return fsi_fail(err, FSI_LIMIT, "a step of %lld texts is too large", (long long) total);
	FSI_TRY(list_take(t, (int) total, !t->options.freeze, NULL, l, err));
	for (int i = 0; i < n; i++)
		for (int j = 0; j < episodes[i].n_segment + episodes[i].n_query; j++)
		{
			const TrainEpisode *e = &episodes[i];
			int			text = j < e->n_segment ? e->segment[j] : e->query[j - e->n_segment];

			if (t->options.freeze)
				memcpy(l->z + (size_t) l->n * E, t->z + (size_t) text * E, E * sizeof(float));
			list_add(l, t->texts.ids[text]);
		}
	return FSI_OK;
}

FsiStatus
train_segments_gradients(Train *t, uint64_t first_episode, int n, TrainReport *report, FsiError *err)
{
	TrainEpisode *episodes = fsi_arena_array(&t->work, (size_t) n, sizeof(TrainEpisode));
	int			E = t->params.w.cfg.n_embd;
	TrainDrop	drop = train_drop(t, true);
	TrainBatch	b;
	List		l;

	if (episodes == NULL)
		return fsi_nomem(err, (size_t) n * sizeof(TrainEpisode));
	for (int i = 0; i < n; i++)
		FSI_TRY(train_episode_draw(t->data, &t->texts, &t->options, first_episode + (uint64_t) i, &t->work,
								   &episodes[i], err));
	FSI_TRY(episodes_z(t, n, episodes, &l, err));
	if (t->options.freeze)
		return episodes_back(t, n, episodes, &l, report);

	list_cut(t, &l);
	for (int pass = 0; pass < l.passes; pass++)
		FSI_TRY(list_forward(t, &l, pass, pass == l.passes - 1, &drop, &b));
	FSI_TRY(episodes_back(t, n, episodes, &l, report));
	for (int pass = l.passes - 1; pass >= 0; pass--)
	{
		if (pass < l.passes - 1)
			FSI_TRY(list_forward(t, &l, pass, true, &drop, &b));
		train_pool_mean_back(t->ops, &b, E, l.z + (size_t) l.from[pass] * (size_t) E, l.norm + l.from[pass],
							 l.dz + (size_t) l.from[pass] * (size_t) E, train_gpt2_d_hidden(t->acts));
		FSI_TRY(train_gpt2_back(&t->ctx, &t->params.w, &t->params.g, &drop, &b, t->acts));
	}
	report->tokens = (int64_t) l.rows;
	return FSI_OK;
}

/* ---------------------------------------------------------------- evaluation */

/* All intents as candidates: their segments, and how those are spelled. */
typedef struct Candidates
{
	TrainEpisode e;
	List		l;
	const SpellVec **spell;		/* [e.n_segment] */
	SpellIndex	index;
} Candidates;

static void
add_candidate(Candidates *c, int owner, TrainKind kind, const TokIds *ids, const SpellVec *spell)
{
	static const SpellVec none = {0};

	c->e.owner[c->e.n_segment] = owner;
	c->e.kind[c->e.n_segment] = kind;
	c->spell[c->e.n_segment++] = spell != NULL ? spell : &none;
	list_add(&c->l, ids);
}

/* Names, all descriptions and the examples; with the messages they are no more than an int counts. */
static FsiStatus
count_candidates(const TrainData *data, int *n, FsiError *err)
{
	int64_t		total = (int64_t) data->n_intent + data->n_example;

	for (int i = 0; i < data->n_intent; i++)
		total += data->intents[i].n_description;
	if (total + data->n_text > INT32_MAX)
		return fsi_fail(err, FSI_LIMIT, "too many examples to evaluate with");
	*n = (int) total;
	return FSI_OK;
}

/* Room for n of them; z: where their vectors are or go, or NULL. */
static FsiStatus
take_candidates(Train *t, const TrainData *data, int n, float *z, Candidates *c, FsiError *err)
{
	memset(c, 0, sizeof(*c));
	FSI_TRY(list_take(t, n, false, z, &c->l, err));
	c->e.n_candidate = data->n_intent;
	c->e.owner = fsi_arena_array(&t->work, (size_t) n, sizeof(int));
	c->e.kind = fsi_arena_array(&t->work, (size_t) n, sizeof(TrainKind));
	c->e.gold = fsi_arena_array(&t->work, TRAIN_QUERY_CHUNK, sizeof(int));
	c->e.query_spell = fsi_arena_array(&t->work, TRAIN_QUERY_CHUNK, sizeof(SpellVec *));
	c->spell = fsi_arena_array(&t->work, (size_t) n, sizeof(SpellVec *));
	if (c->e.owner == NULL || c->e.kind == NULL || c->e.gold == NULL || c->e.query_spell == NULL || c->spell == NULL)
		return fsi_nomem(err, (size_t) n * 2 * sizeof(int));
	return FSI_OK;
}

static FsiStatus
all_candidates(Train *t, const TrainData *data, int n, float *z, Candidates *c, FsiError *err)
{
	FSI_TRY(take_candidates(t, data, n, z, c, err));
	for (int i = 0; i < data->n_intent; i++)
	{
		const TrainIntent *intent = &data->intents[i];

		add_candidate(c, i, TRAIN_NAME, intent->names, intent->name_spell);
		for (int j = 0; j < intent->n_description; j++)
			add_candidate(c, i, TRAIN_DESCRIPTION, &intent->descriptions[j],
						  intent->description_spell != NULL ? &intent->description_spell[j] : NULL);
	}
	for (int i = 0; i < data->n_example; i++)
		if (data->examples[i].intent != TRAIN_OTHER)
			add_candidate(c, data->examples[i].intent, TRAIN_EXAMPLE, &data->examples[i].ids, &data->examples[i].spell);
	FSI_TRY(spell_index_build((size_t) c->e.n_segment, c->spell, &t->work, &c->index, err));
	c->e.spelling = &c->index;
	return FSI_OK;
}

static uint64_t
hash_ids(uint64_t hash, const TokIds *ids)
{
	return fsi_hash64(ids->ids, ids->n * sizeof(int32_t), fsi_hash64(&ids->n, sizeof(ids->n), hash));
}

/* Of all that an evaluation encodes, in its order. */
static uint64_t
hash_lists(const TrainData *data, const List *candidates)
{
	uint64_t	hash = 0;

	for (int i = 0; i < candidates->n; i++)
		hash = hash_ids(hash, candidates->ids[i]);
	for (int i = 0; i < data->n_text; i++)
		hash = hash_ids(hash, &data->texts[i].ids);
	return hash;
}

/* freeze: room for the vectors of an evaluation; they may be there already. */
static FsiStatus
kept_take(Train *t, int n, FsiError *err)
{
	size_t		E = (size_t) t->params.w.cfg.n_embd;

	if (t->kept.z != NULL && t->kept.n == n)
		return FSI_OK;
	t->kept.key = 0;
	fsi_arena_free(&t->kept.arena);
	t->kept.z = fsi_arena_array(&t->kept.arena, (size_t) n, E * sizeof(float));
	if (t->kept.z == NULL)
		return fsi_nomem(err, (size_t) n * E * sizeof(float));
	t->kept.n = n;
	return FSI_OK;
}

static bool
has_others(const TrainData *data)
{
	for (int i = 0; i < data->n_text; i++)
		if (data->texts[i].intent == TRAIN_OTHER)
			return true;
	return false;
}

/* The scores of the next n_query messages with one weight of spelling, added to what `scores` has. */
static FsiStatus
add_scores(Train *t, Candidates *c, const List *messages, double weight, TrainScores *scores)
{
	FsiArenaMark mark = fsi_arena_mark(&t->work);
	TrainReadout r = readout(t);
	double		mean;
	int			hits;

	c->e.spelling_weight = weight;
	FSI_TRY(train_pointing(&t->ctx, &r, &c->e, messages->z, c->l.z, &t->work, &mean, &hits, scores));
	scores->loss += mean * c->e.n_query;
	scores->accuracy += hits;
	fsi_arena_release(&t->work, mark);
	return FSI_OK;
}

FsiStatus
train_segments_evaluate(Train *t, const TrainData *data, int n_weight, const double *weights, TrainScores *scores,
						FsiError *err)
{
	Candidates	c;
	size_t		E = (size_t) t->params.w.cfg.n_embd;
	float	   *kept = NULL;	/* vectors of candidates, then of messages */
	uint64_t	key = 0;
	bool		known = false;
	int			n = 0;

	memset(scores, 0, (size_t) n_weight * sizeof(*scores));
	FSI_TRY(train_segments_check(&t->params.w.cfg, data, err));
	FSI_TRY(count_candidates(data, &n, err));
	if (t->options.freeze)
	{
		FSI_TRY(kept_take(t, n + data->n_text, err));
		kept = t->kept.z;
	}
	FSI_TRY(all_candidates(t, data, n, kept, &c, err));
	if (kept != NULL)
	{
		key = hash_lists(data, &c.l) | 1;
		known = t->kept.key == key;
		t->kept.key = known ? key : 0;
	}
	if (!known)
		FSI_TRY(list_encode(t, &c.l, false));
	c.e.offers_other = has_others(t->data) || has_others(data);
	for (int at = 0; at < data->n_text; at += TRAIN_QUERY_CHUNK)
	{
		FsiArenaMark mark = fsi_arena_mark(&t->work);
		List		l;

		c.e.n_query = data->n_text - at < TRAIN_QUERY_CHUNK ? data->n_text - at : TRAIN_QUERY_CHUNK;
		FSI_TRY(list_take(t, c.e.n_query, false, kept != NULL ? kept + (size_t) (c.l.n + at) * E : NULL, &l, err));
		for (int i = 0; i < c.e.n_query; i++)
		{
			const TrainText *text = &data->texts[at + i];

			c.e.gold[i] = text->intent == TRAIN_OTHER ? data->n_intent : text->intent;
			c.e.query_spell[i] = &text->spell;
			list_add(&l, &text->ids);
		}
		if (!known)
			FSI_TRY(list_encode(t, &l, false));
		for (int i = 0; i < n_weight; i++)
			FSI_TRY(add_scores(t, &c, &l, weights[i], &scores[i]));
		fsi_arena_release(&t->work, mark);
	}
	t->kept.key = key;
	for (int i = 0; i < n_weight; i++)
	{
		scores[i].loss /= data->n_text;
		scores[i].accuracy = scores[i].exact = scores[i].accuracy / data->n_text;
		scores[i].count = data->n_text;
	}
	return FSI_OK;
}
