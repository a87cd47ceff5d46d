/*
 * train_pointing.c
 *	  The pointing readout over one episode: forward and backward.
 *
 * The formula is src/engine/pointing.c's without discriminant, and in training without spelling term, with the
 * learned scalars in it: the scales are multiplied by e^log_scale, name_bias and "other" replaced.
 * A candidate without segments has no logit: it is not there.
 *
 *	p = unit(z Q) of a message, unit(z K) of a segment;	sim = p_m . p_s [+ w cosine of spellings]
 *	N, X: means over a candidate's name and descriptions, and over its examples
 *	logit = scale * mix(N, X) + bias;	loss = mean over messages of -log softmax[gold]
 *
 * M: messages, S: segments, n: candidates.
 */
#include <math.h>
#include <string.h>

#include "train.h"

typedef struct Pointing
{
	TrainCtx   *c;
	const TrainReadout *r;
	const TrainEpisode *e;
	FsiArena   *arena;
	float	   *pm,				/* (M, E) */
			   *ps,				/* (S, E) */
			   *norm_m,			/* (M) |z Q| */
			   *norm_s,			/* (S) */
			   *sims;			/* (M, S); then their gradient */
	int		   *start,			/* [n + 1] segments of candidate i: item[start[i]] .. */
			   *item;			/* [S] */
	double	   *logit,			/* [n + 1], last: other */
			   *prob,			/* [n + 1] softmax of these */
			   *among,			/* [n] the same without other */
			   *bias,			/* [n + 1] the part of a logit that is no scale times a mix */
			   *cosine;			/* [S] of a message's spelling */
	float	   *g_scalar;
} Pointing;

/* v /= |v|, row by row; norms of zero rows are 0 and the rows stay. */
static void
unit_rows(const KernOps *ops, int rows, int E, float *v, float *norm)
{
	for (int i = 0; i < rows; i++, v += E)
	{
		norm[i] = sqrtf(ops->dot(E, v, v));
		if (norm[i] > 0)
			ops->grad->scale(E, 1 / norm[i], v);
	}
}

/* d = (d - p (p . d)) / norm, row by row: from the gradient of p = v / |v| to that of v */
static void
unit_rows_back(const KernOps *ops, int rows, int E, const float *p, const float *norm, float *d)
{
	for (int i = 0; i < rows; i++, p += E, d += E)
	{
		ops->axpy(E, -ops->dot(E, p, d), p, d);
		ops->grad->scale(E, norm[i] > 0 ? 1 / norm[i] : 0, d);
	}
}

/* ---------------------------------------------------------------- z: pooling */

/* z (n_seq, E) = unit(sum over the sequence's rows); norm: of the sum */
void
train_pool_mean(const KernOps *ops, const TrainBatch *b, int E, const float *hidden, float *z, float *norm)
{
	memset(z, 0, (size_t) b->n_seq * (size_t) E * sizeof(float));
	for (int s = 0; s < b->n_seq; s++)
		for (int row = b->first[s]; row < b->first[s + 1]; row++)
			ops->add(E, z + (size_t) s * (size_t) E, hidden + (size_t) row * (size_t) E);
	unit_rows(ops, b->n_seq, E, z, norm);
}

/* d_hidden (T, E): every row of a sequence gets the gradient of its sum */
void
train_pool_mean_back(const KernOps *ops, const TrainBatch *b, int E, const float *z, const float *norm,
					 const float *dz, float *d_hidden)
{
	for (int s = 0; s < b->n_seq; s++)
	{
		float	   *first = d_hidden + (size_t) b->first[s] * (size_t) E;

		memcpy(first, dz + (size_t) s * (size_t) E, (size_t) E * sizeof(float));
		unit_rows_back(ops, 1, E, z + (size_t) s * (size_t) E, norm + s, first);
		for (int row = 1; row < b->first[s + 1] - b->first[s]; row++)
			memcpy(first + (size_t) row * (size_t) E, first, (size_t) E * sizeof(float));
	}
}

/* ---------------------------------------------------------------- candidates */

/* Segments by candidate, in their order. */
static void
group_segments(Pointing *p)
{
	const TrainEpisode *e = p->e;

	memset(p->start, 0, ((size_t) e->n_candidate + 1) * sizeof(int));
	for (int s = 0; s < e->n_segment; s++)
		p->start[e->owner[s] + 1]++;
	for (int i = 0; i < e->n_candidate; i++)
		p->start[i + 1] += p->start[i];
	for (int s = 0; s < e->n_segment; s++)
		p->item[p->start[e->owner[s]]++] = s;
	for (int i = e->n_candidate; i > 0; i--)	/* each start has run up to the next one's */
		p->start[i] = p->start[i - 1];
	p->start[0] = 0;
}

/* A candidate's segments for one message, pooled. */
typedef struct Pooled
{
	int			count[3];		/* by TrainKind */
	double		mean[3];		/* of sims; examples: weighted by e^(t sim) */
	double		weights;		/* sum of e^(t sim - t top) */
	double		top;
} Pooled;

static Pooled
pool_candidate(const Pointing *p, int i, const float *sims)
{
	double		t = p->r->scalars->example_sharpness;
	Pooled		out = {.top = -INFINITY};

	for (int j = p->start[i]; j < p->start[i + 1]; j++)
	{
		TrainKind	kind = p->e->kind[p->item[j]];
		double		sim = sims[p->item[j]];

		out.count[kind]++;
		out.mean[kind] += kind == TRAIN_EXAMPLE ? 0 : sim;
		if (kind == TRAIN_EXAMPLE && sim > out.top)
			out.top = sim;
	}
	for (int j = p->start[i]; j < p->start[i + 1] && out.count[TRAIN_EXAMPLE] > 0; j++)
	{
		double		sim = sims[p->item[j]];
		double		weight = p->e->kind[p->item[j]] == TRAIN_EXAMPLE ? exp(t * (sim - out.top)) : 0;

		out.weights += weight;
		out.mean[TRAIN_EXAMPLE] += weight * sim;
	}
	for (int kind = 0; kind < 3; kind++)
		if (out.count[kind] > 0)
			out.mean[kind] /= kind == TRAIN_EXAMPLE ? out.weights : out.count[kind];
	return out;
}

/* How a candidate's means make its logit: sum of share[kind] * mean[kind], plus bias. */
typedef struct Mix
{
	double		share[3],
				bias;
	bool		name_alone;
} Mix;

static Mix
mix_of(const Pointing *p, const Pooled *c)
{
	const PointingScalars *s = p->r->scalars;
	bool		named = c->count[TRAIN_NAME] > 0 || c->count[TRAIN_DESCRIPTION] > 0,
				shown = c->count[TRAIN_EXAMPLE] > 0;
	double		factor = exp((double) p->r->learned[SCALAR_LOG_SCALE]),
				v = s->description_weight,
				name = 1;
	Mix			m = {.name_alone = !shown};

	if (!named)
	{
		m.share[TRAIN_EXAMPLE] = s->example_scale * factor;
		m.bias = s->example_bias;
		return m;
	}
	name = shown ? s->both_scale * factor * s->name_share : s->name_scale * factor;
	m.bias = shown ? s->both_bias : (double) p->r->learned[SCALAR_NAME_BIAS];
	m.share[TRAIN_EXAMPLE] = shown ? s->both_scale * factor * (1 - s->name_share) : 0;
	if (c->count[TRAIN_NAME] == 0)
		m.share[TRAIN_DESCRIPTION] = name;
	else if (c->count[TRAIN_DESCRIPTION] == 0)
		m.share[TRAIN_NAME] = name;
	else
	{
		m.share[TRAIN_NAME] = name / (1 + v);
		m.share[TRAIN_DESCRIPTION] = name * v / (1 + v);
	}
	return m;
}

/* prob (n) from logit (n), and their logsumexp; -infinity gives 0. */
static double
softmax(int n, const double *logit, double *prob)
{
	double		top = -INFINITY,
				sum = 0;

	for (int i = 0; i < n; i++)
		top = logit[i] > top ? logit[i] : top;
	for (int i = 0; i < n; i++)
		sum += prob[i] = exp(logit[i] - top);
	for (int i = 0; i < n; i++)
		prob[i] /= sum;
	return top + log(sum);
}

/* Logits of one message and their softmax; returns its loss and whether the answer is right. */
static double
message_forward(Pointing *p, int m, const float *sims, bool *right)
{
	int			n = p->e->n_candidate,
				gold = p->e->gold[m],
				best = 0;
	double		total;

	for (int i = 0; i < n; i++)
	{
		p->bias[i] = 0;
		p->logit[i] = -INFINITY;
		if (p->start[i + 1] > p->start[i])
		{
			Pooled		c = pool_candidate(p, i, sims);
			Mix			mix = mix_of(p, &c);

			p->bias[i] = p->logit[i] = mix.bias;
			for (int kind = 0; kind < 3; kind++)
				p->logit[i] += mix.share[kind] * c.mean[kind];
		}
		if (p->logit[i] > p->logit[best])
			best = i;
	}
	p->bias[n] = (double) p->r->learned[SCALAR_OTHER];
	total = softmax(n, p->logit, p->among);
	p->logit[n] = p->bias[n] + p->r->scalars->other_share * total;
	if (p->e->offers_other)
		total = softmax(n + 1, p->logit, p->prob);
	*right = gold == (p->e->offers_other && p->logit[n] > p->logit[best] ? n : best);
	return total - p->logit[gold];
}

/* Add the message's loss and whether it is right at each temperature, after message_forward(). */
static void
message_scales(const Pointing *p, int m, TrainScores *scores)
{
	int			gold = p->e->gold[m],
				n = p->e->n_candidate;

	for (int i = 0; i < TRAIN_SCALES; i++)
	{
		double		factor = train_scale_factor(i),
					total;
		int			best = 0;

		for (int j = 0; j < n; j++)
		{
			p->among[j] = factor * p->logit[j];
			if (p->among[j] > p->among[best])
				best = j;
		}
		total = softmax(n, p->among, p->prob);
		p->among[n] = factor * p->bias[n] + p->r->scalars->other_share * total;
		if (p->e->offers_other)
			total = softmax(n + 1, p->among, p->prob);
		scores->loss_at[i] += total - p->among[gold];
		scores->right_at[i] += gold == (p->e->offers_other && p->among[n] > p->among[best] ? n : best);
	}
}

/* sims (S) of one message become factor * their gradient, after message_forward() of an episode that offers "other". */
static void
message_back(Pointing *p, int m, float *sims, double factor)
{
	int			n = p->e->n_candidate;
	double		t = p->r->scalars->example_sharpness,
				d_other = factor * (p->prob[n] - (n == p->e->gold[m]));

	if (p->g_scalar != NULL)
		p->g_scalar[SCALAR_OTHER] += (float) d_other;
	for (int i = 0; i < n; i++)
	{
		double		d = factor * (p->prob[i] - (i == p->e->gold[m])) + d_other * p->r->scalars->other_share * p->among[i];
		Pooled		c;
		Mix			mix;

		if (p->start[i + 1] == p->start[i])
			continue;
		c = pool_candidate(p, i, sims);
		mix = mix_of(p, &c);
		if (p->g_scalar != NULL)
		{
			p->g_scalar[SCALAR_LOG_SCALE] += (float) (d * (p->logit[i] - p->bias[i]));
			p->g_scalar[SCALAR_NAME_BIAS] += (float) (mix.name_alone ? d : 0);
		}
		for (int j = p->start[i]; j < p->start[i + 1]; j++)
		{
			TrainKind	kind = p->e->kind[p->item[j]];
			double		sim = sims[p->item[j]],
						share = mix.share[kind];

			if (kind == TRAIN_EXAMPLE)
				share *= exp(t * (sim - c.top)) / c.weights * (1 + t * (sim - c.mean[kind]));
			else
				share /= c.count[kind];
			sims[p->item[j]] = (float) (d * share);
		}
	}
}

/* ---------------------------------------------------------------- an episode */

static FsiStatus
take(Pointing *p, FsiError *err)
{
	const TrainEpisode *e = p->e;
	size_t		E = (size_t) p->r->E,
				M = (size_t) e->n_query,
				S = (size_t) e->n_segment,
				n = (size_t) e->n_candidate;
	float	   *floats = fsi_arena_array(p->arena, (M + S) * (E + 1) + M * S, sizeof(float));

	p->start = fsi_arena_array(p->arena, n + 1, sizeof(int));
	p->item = fsi_arena_array(p->arena, S, sizeof(int));
	p->logit = fsi_arena_array(p->arena, 4 * (n + 1) + S, sizeof(double));
	if (floats == NULL || p->start == NULL || p->item == NULL || p->logit == NULL)
		return fsi_nomem(err, ((M + S) * (E + 1) + M * S) * sizeof(float));
	p->bias = p->logit + n + 1;
	p->prob = p->bias + n + 1;
	p->among = p->prob + n + 1;
	p->cosine = p->among + n + 1;
	p->pm = floats;
	p->ps = p->pm + M * E;
	p->norm_m = p->ps + S * E;
	p->norm_s = p->norm_m + M;
	p->sims = p->norm_s + S;
	return FSI_OK;
}

/* The episode's three products: pm = zm q, ps = zs k, sims = pm segments. */
typedef struct Products
{
	int			M,
				S;
	KernMatrix	q,				/* (E, E) */
				k,
				segments;		/* ps^T: (E, S) */
} Products;

static Products
products_of(const Pointing *p)
{
	int			E = p->r->E,
				S = p->e->n_segment;

	return (Products) {.M = p->e->n_query, .S = S,
		.q = {.type = KERN_F32, .k = E, .n = E, .w = p->r->q},
		.k = {.type = KERN_F32, .k = E, .n = E, .w = p->r->k},
		.segments = {.type = KERN_F32, .k = E, .n = S, .w = p->ps, .transposed = true}};
}

/* pm, ps and sims of an episode. */
static FsiStatus
similarities(Pointing *p, const float *zm, const float *zs)
{
	TrainCtx   *c = p->c;
	Products	of = products_of(p);

	FSI_TRY(train_linear(c, of.M, zm, &of.q, NULL, false, p->pm));
	FSI_TRY(train_linear(c, of.S, zs, &of.k, NULL, false, p->ps));
	unit_rows(c->ops, of.M, p->r->E, p->pm, p->norm_m);
	unit_rows(c->ops, of.S, p->r->E, p->ps, p->norm_s);
	return train_linear(c, of.M, p->pm, &of.segments, NULL, false, p->sims);
}

/* From the gradient of sims to those of z, Q and K. */
static FsiStatus
similarities_back(Pointing *p, const float *zm, const float *zs, float *dzm, float *dzs, float *g_q, float *g_k)
{
	TrainCtx   *c = p->c;
	Products	of = products_of(p);
	int			E = p->r->E;
	float	   *dpm = fsi_arena_array(p->arena, (size_t) of.M, (size_t) E * sizeof(float)),
			   *dps = fsi_arena_zero(p->arena, (size_t) of.S, (size_t) E * sizeof(float));

	if (dpm == NULL || dps == NULL)
		return fsi_nomem(c->err, ((size_t) of.M + (size_t) of.S) * (size_t) E * sizeof(float));
	FSI_TRY(train_linear_back(c, of.M, p->pm, &of.segments, p->sims, dpm, dps, NULL));
	unit_rows_back(c->ops, of.M, E, p->pm, p->norm_m, dpm);
	unit_rows_back(c->ops, of.S, E, p->ps, p->norm_s, dps);
	FSI_TRY(train_linear_back(c, of.M, zm, &of.q, dpm, dzm, g_q, NULL));
	return train_linear_back(c, of.S, zs, &of.k, dps, dzs, g_k, NULL);
}

/* Add what a message's spelling has in common with the segments'. */
static FsiStatus
add_spelling(Pointing *p, int m, float *sims)
{
	const TrainEpisode *e = p->e;

	if (e->spelling == NULL)
		return FSI_OK;
	FSI_TRY(spell_index_cosines(e->spelling, e->query_spell[m], p->arena->host, p->cosine, p->c->err));
	for (int s = 0; s < e->n_segment; s++)
		sims[s] += (float) (e->spelling_weight * p->cosine[s]);
	return FSI_OK;
}

static FsiStatus
forward(Pointing *p, const float *zm, const float *zs, bool back, double factor, double *loss, int *right,
		TrainScores *scores)
{
	size_t		S = (size_t) p->e->n_segment;

	FSI_TRY(take(p, p->c->err));
	group_segments(p);
	FSI_TRY(similarities(p, zm, zs));
	*loss = 0;
	*right = 0;
	for (int m = 0; m < p->e->n_query; m++)
	{
		bool		hit;

		if (fsi_should_stop(p->arena->host))
			return fsi_cancelled(p->c->err);
		FSI_TRY(add_spelling(p, m, p->sims + (size_t) m * S));
		*loss += message_forward(p, m, p->sims + (size_t) m * S, &hit) / p->e->n_query;
		*right += hit;
		if (scores != NULL)
			message_scales(p, m, scores);
		if (back)
			message_back(p, m, p->sims + (size_t) m * S, factor / p->e->n_query);
	}
	return FSI_OK;
}

FsiStatus
train_pointing(TrainCtx *c, const TrainReadout *r, const TrainEpisode *e, const float *zm, const float *zs,
			   FsiArena *arena, double *loss, int *right, TrainScores *scores)
{
	FsiArenaMark mark = fsi_arena_mark(arena);
	Pointing	p = {.c = c, .r = r, .e = e, .arena = arena};

	FSI_TRY(forward(&p, zm, zs, false, 0, loss, right, scores));
	fsi_arena_release(arena, mark);
	return FSI_OK;
}

FsiStatus
train_pointing_back(TrainCtx *c, const TrainReadout *r, const TrainEpisode *e, const float *zm, const float *zs,
					double factor, FsiArena *arena, double *loss, int *right, float *dzm, float *dzs,
					float *g_q, float *g_k, float *g_scalar)
{
	FsiArenaMark mark = fsi_arena_mark(arena);
	Pointing	p = {.c = c, .r = r, .e = e, .arena = arena, .g_scalar = g_scalar};

	FSI_TRY(forward(&p, zm, zs, true, factor, loss, right, NULL));
	FSI_TRY(similarities_back(&p, zm, zs, dzm, dzs, g_q, g_k));
	fsi_arena_release(arena, mark);
	return FSI_OK;
}
