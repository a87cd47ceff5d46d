/*
 * pointing.c
 *	  The pointing readout: from similarities of segments to candidates' logits.
 *
 * For a message m and a segment s (a name, a description or an example):
 *
 *	sim(m, s) = cos(z_m Q, z_s K) + spelling_weight * cos(g_m, g_s)
 *
 * with the projected unit vectors of segment_project() and the spelling vectors g.  Then
 *
 *	N = sim(name)							or, with a description,
 *	N = (sim(name) + description_weight * sim(description)) / (1 + description_weight)
 *	X = sum(e^(t s) s) / sum(e^(t s)) over the examples' sims, t = example_sharpness
 *
 *	F = discriminant_share * z_m Q . direction	(discriminant.c), where any candidate has examples, else 0
 *
 *	name alone:		logit = name_scale * (N + F) + name_bias
 *	both:			logit = both_scale * (name_share * N + (1 - name_share) * X + F) + both_bias
 *	examples alone:	logit = example_scale * (X + F) + example_bias
 *
 *	other:			logit = other_logit + other_share * log(sum(e^logit)) over the candidates
 *
 * so that many close candidates, each of which says less, raise what one must reach.  Sums run
 * over sorted values, so the order of candidates and examples changes no bit;
 * models/recipe/readout.py has the same formula.
 */
#include <float.h>
#include <math.h>

#include "canonical.h"
#include "fsi_engine.h"

/* From this many segments on, clearing 256 KB costs less than merging sparse vectors. */
#define DENSE_FROM 24
#define STOP_EVERY 1024			/* segments between two looks whether to stop: about 0.3 ms */

typedef struct Pointing
{
	const PointingScalars *scalars;
	const KernOps *ops;
	int			n_embd;
	const SegmentVec *message;
	const float *dense;			/* [SPELL_BUCKETS] the message's spelling weights, or NULL */
	const PointingIndex *index; /* or NULL */
	double	   *sims;			/* room for the most examples of a candidate; with an index, all of theirs */
} Pointing;

/* As spell_cosine(): buckets that the message lacks add nothing. */
static double
spelling(const Pointing *p, const SpellVec *segment)
{
	double		sum = 0;

	if (p->dense == NULL)
		return spell_cosine(&p->message->spell, segment);
	for (size_t i = 0; i < segment->n; i++)
		sum += (double) p->dense[segment->bucket[i]] * (double) segment->weight[i];
	return sum;
}

static double
similarity(const Pointing *p, const SegmentVec *segment)
{
	return (double) p->ops->dot(p->n_embd, p->message->proj, segment->proj) +
		p->scalars->spelling_weight * spelling(p, &segment->spell);
}

/* X of n > 0 similarities; sorts them. */
static double
pool_examples(const PointingScalars *c, int n, double *sims)
{
	double		sum = canonical_sum(n, sims),
				weights = 0,
				weighted = 0,
				top = c->example_sharpness > 0 ? sims[n - 1] : sims[0];

	if (c->example_sharpness == 0)
		return sum / n;
	for (int i = 0; i < n; i++)
	{
		double		e = fsi_exp(c->example_sharpness * (sims[i] - top));

		weights += e;
		weighted += e * sims[i];
	}
	return weighted / weights;
}

/* Similarities of all examples, by the index. */
static FsiStatus
compare_examples(const Pointing *p, FsiArena *arena, FsiError *err)
{
	const PointingIndex *index = p->index;

	FSI_TRY(spell_index_cosines(&index->spell, &p->message->spell, arena->host, p->sims, err));
	for (int at = 0; at < index->n; at += STOP_EVERY)
	{
		float		cosine[STOP_EVERY];
		int			n = index->n - at < STOP_EVERY ? index->n - at : STOP_EVERY;

		if (at > 0 && fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		p->ops->dots(n, p->n_embd, p->message->proj, index->proj + at, cosine);
		for (int i = 0; i < n; i++)
			p->sims[at + i] = (double) cosine[i] + p->scalars->spelling_weight * p->sims[at + i];
	}
	return FSI_OK;
}

/* sims: of the candidate's examples; their place, or, with an index, they themselves.  direction: [n_embd] or NULL. */
static double
candidate_logit(const Pointing *p, const PointingCandidate *candidate, const float *direction, double *sims)
{
	const PointingScalars *c = p->scalars;
	double		name = 0,
				pool = 0,
				apart = 0;

	if (candidate->name != NULL)
		name = similarity(p, candidate->name);
	if (candidate->name != NULL && candidate->description != NULL)
		name = (name + c->description_weight * similarity(p, candidate->description)) / (1 + c->description_weight);
	if (direction != NULL)
		apart = c->discriminant_share * (double) p->ops->dot(p->n_embd, p->message->proj, direction);
	for (int i = 0; p->index == NULL && i < candidate->n_example; i++)
		sims[i] = similarity(p, candidate->examples[i]);
	if (candidate->n_example == 0)
		return c->name_scale * (name + apart) + c->name_bias;
	pool = pool_examples(c, candidate->n_example, sims);
	if (candidate->name == NULL)
		return c->example_scale * (pool + apart) + c->example_bias;
	return c->both_scale * (c->name_share * name + (1 - c->name_share) * pool + apart) + c->both_bias;
}

/* Room for similarities and, when there is much to compare, the message's dense spelling vector. */
static FsiStatus
prepare(Pointing *p, int n, const PointingCandidate *candidates, FsiArena *arena, FsiError *err)
{
	int64_t		segments = 0,
				examples = 0;
	size_t		most = 0;

	for (int i = 0; i < n; i++)
	{
		int			n_example = candidates[i].n_example;

		if (n_example < 0 || (n_example == 0 && candidates[i].name == NULL))
			return fsi_fail(err, FSI_INVALID, "a candidate without name and examples");
		segments += (candidates[i].name != NULL) + (candidates[i].description != NULL);
		examples += n_example;
		most = (size_t) n_example > most ? (size_t) n_example : most;
	}
	if (p->index != NULL && p->index->n != examples)
		return fsi_fail(err, FSI_INVALID, "an index of %d examples for candidates that have others", p->index->n);
	if (p->index != NULL)
		most = p->index->n;
	else
		segments += examples;
	p->sims = fsi_arena_array(arena, most + 1, sizeof(double));
	if (p->sims == NULL)
		return fsi_nomem(err, (most + 1) * sizeof(double));
	if (segments >= DENSE_FROM)
	{
		float	   *dense = fsi_arena_zero(arena, SPELL_BUCKETS, sizeof(float));

		if (dense == NULL)
			return fsi_nomem(err, SPELL_BUCKETS * sizeof(float));
		for (size_t i = 0; i < p->message->spell.n; i++)
			dense[p->message->spell.bucket[i]] = p->message->spell.weight[i];
		p->dense = dense;
	}
	return FSI_OK;
}

FsiStatus
pointing_index_build(int n, const SegmentVec *const *examples, FsiArena *arena, PointingIndex *index, FsiError *err)
{
	FsiArena	scratch;
	const SpellVec **spell;
	FsiStatus	status;

	index->n = n;
	index->proj = fsi_arena_array(arena, n, sizeof(float *));
	if (index->proj == NULL)
		return fsi_nomem(err, n * sizeof(float *));
	fsi_arena_init(&scratch, arena->host);
	spell = fsi_arena_array(&scratch, n, sizeof(SpellVec *));
	if (spell == NULL)
		return fsi_nomem(err, n * sizeof(SpellVec *));
	for (int i = 0; i < n; i++)
	{
		index->proj[i] = examples[i]->proj;
		spell[i] = &examples[i]->spell;
	}
	status = spell_index_build(n, spell, arena, &index->spell, err);
	fsi_arena_free(&scratch);
	return status;
}

static double
other_logit(const PointingScalars *s, int n, const double *logit, double *scratch)
{
	return s->other_logit + s->other_share * canonical_logsumexp(n, logit, scratch);
}

FsiStatus
pointing_score(const Gpt2Model *model, const KernOps *ops, const SegmentVec *message,
			   int n, const PointingCandidate *candidates, const PointingIndex *index, const float *direction,
			   bool with_other, double *logit, double *prob, FsiArena *arena, FsiError *err)
{
	Pointing	p = {&model->pointing, ops, model->cfg.n_embd, message, NULL, index, NULL};
	FsiArenaMark mark = fsi_arena_mark(arena);
	double	   *all,			/* [n + 1]: logits, then other's */
			   *scratch,
			   *sims;

	if (n < 1)
		return fsi_fail(err, FSI_INVALID, "no candidates to point at");
	FSI_TRY(prepare(&p, n, candidates, arena, err));
	all = fsi_arena_array(arena, 2 * ((size_t) n + 1), sizeof(double));
	if (all == NULL)
		return fsi_nomem(err, 2 * ((size_t) n + 1) * sizeof(double));
	scratch = all + n + 1;
	if (index != NULL)
		FSI_TRY(compare_examples(&p, arena, err));
	sims = p.sims;
	for (int64_t i = 0, seen = 0; i < n; i++)
	{
		if (seen >= STOP_EVERY && fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		seen = (seen >= STOP_EVERY ? 0 : seen) + candidates[i].n_example + 2;
		all[i] = logit[i] = candidate_logit(&p, &candidates[i], direction, sims);
		if (!(fabs(all[i]) <= DBL_MAX))	/* hostile weights overflow in the projection */
			return fsi_fail(err, FSI_CORRUPT, "segments whose vectors are not numbers");
		if (direction != NULL)
			direction += p.n_embd;
		if (index != NULL)
			sims += candidates[i].n_example;
	}
	if (with_other)
		all[n] = other_logit(&model->pointing, n, all, scratch);
	canonical_softmax(with_other ? n + 1 : n, all, prob, scratch);
	if (!with_other)
		prob[n] = 0;
	fsi_arena_release(arena, mark);
	return FSI_OK;
}

void
pointing_alone(const Gpt2Model *model, int n, const double *logit, double *score)
{
	for (int i = 0; i < n; i++)
	{
		double		pair[2] = {logit[i]},
					prob[2],
					scratch[2];

		pair[1] = other_logit(&model->pointing, 1, pair, scratch);
		canonical_softmax(2, pair, prob, scratch);
		score[i] = prob[0];
	}
}
