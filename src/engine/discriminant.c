/*
 * discriminant.c
 *	  Where shown examples tell candidates apart: a linear discriminant between them, made once per set.
 *
 * With p_s the projected unit vectors of a candidate's segments (name, description, examples),
 *
 *	m_c = mean of p_s over candidate c,		m = mean of m_c over the n candidates
 *	A = ridge * I + sum over c of the mean of p_s p_s^T		(E x E, E = n_embd)
 *	direction_c = A^-1 (m_c - m)
 *
 * which is ridge regression of "is c's" on the segments, where every candidate weighs the same
 * however many examples it has.  What all candidates have in common cancels, what they share in part counts less.
 * With fewer segments S than E, A^-1 goes through the S x S matrix U^T U + ridge * I (Woodbury), where
 * A = ridge * I + U U^T.  All in double; segments in an order of their own bytes, so that the order of
 * candidates and examples changes no bit.  models/recipe/readout.py has the same formula.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fsi_engine.h"

typedef struct Segment
{
	const float *p;				/* [E] */
	double		weight;			/* 1 / segments of its candidate */
	int			candidate;
} Segment;

typedef struct Discriminant
{
	int			E,
				S,				/* segments */
				n,				/* candidates */
				N;				/* order of the factor: min(E, S) */
	bool		dual;
	double		ridge;
	Segment    *segments;		/* [S], sorted */
	double	   *root;			/* [N][N] lower Cholesky factor, row by row */
	double	   *u;				/* [S][E] rows of U^T, or room for four where A itself is factored */
	double	   *v;				/* [n][E] m_c - m */
	double	   *x;				/* [N] right-hand side, then solution */
	FsiArena   *arena;
} Discriminant;

/* By bytes, then weight: what is equal in both counts alike, whichever candidate it belongs to. */
static int
by_bytes(const void *a, const void *b, void *E)
{
	const Segment *x = a,
			   *y = b;
	int			c = memcmp(x->p, y->p, (size_t) *(const int *) E * sizeof(float));

	return c != 0 ? c : (x->weight > y->weight) - (x->weight < y->weight);
}

static int
count_segments(const PointingCandidate *c)
{
	return (c->name != NULL) + (c->description != NULL) + c->n_example;
}

static FsiStatus
list_segments(Discriminant *d, const PointingCandidate *candidates, FsiError *err)
{
	Segment    *at = d->segments = fsi_arena_array(d->arena, (size_t) d->S, sizeof(Segment));

	if (at == NULL)
		return fsi_nomem(err, (size_t) d->S * sizeof(Segment));
	for (int i = 0; i < d->n; i++)
	{
		const PointingCandidate *c = &candidates[i];
		Segment		of = {.weight = 1.0 / count_segments(c), .candidate = i};

		for (int k = -2; k < c->n_example; k++)
		{
			const SegmentVec *vec = k == -2 ? c->name : k == -1 ? c->description : c->examples[k];

			if (vec == NULL)
				continue;
			of.p = vec->proj;
			*at++ = of;
		}
	}
	qsort_r(d->segments, (size_t) d->S, sizeof(Segment), by_bytes, &d->E);
	return FSI_OK;
}

/* v: m_c - m of every candidate. */
static FsiStatus
differences(Discriminant *d, FsiError *err)
{
	size_t		E = (size_t) d->E;
	double	   *mean = fsi_arena_zero(d->arena, E, sizeof(double));

	d->v = fsi_arena_zero(d->arena, (size_t) d->n * E, sizeof(double));
	if (mean == NULL || d->v == NULL)
		return fsi_nomem(err, ((size_t) d->n + 1) * E * sizeof(double));
	for (int s = 0; s < d->S; s++)
	{
		const Segment *of = &d->segments[s];
		double	   *v = d->v + (size_t) of->candidate * E;

		if (s % 1024 == 0 && fsi_should_stop(d->arena->host))
			return fsi_cancelled(err);
		for (size_t k = 0; k < E; k++)
		{
			v[k] += of->weight * (double) of->p[k];
			mean[k] += of->weight * (double) of->p[k];
		}
	}
	for (int i = 0; i < d->n; i++)
		for (size_t k = 0; k < E; k++)
			d->v[(size_t) i * E + k] -= mean[k] / d->n;
	return FSI_OK;
}

/* Four sums side by side: one alone would wait for itself. */
static double
dot(size_t n, const double *a, const double *b)
{
	double		sum[4] = {0};
	size_t		k = 0;

	for (; k + 4 <= n; k += 4)
		for (int i = 0; i < 4; i++)
			sum[i] += a[k + i] * b[k + i];
	for (; k < n; k++)
		sum[0] += a[k] * b[k];
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Column s of U: sqrt(weight) p. */
static void
weighted(const Discriminant *d, int s, double *u)
{
	double		root = sqrt(d->segments[s].weight);

	for (int k = 0; k < d->E; k++)
		u[k] = root * (double) d->segments[s].p[k];
}

/* Row s of the lower half of U^T U: its columns 0 to s. */
static void
gram_row(const Discriminant *d, int s, double *row)
{
	size_t		E = (size_t) d->E;

	weighted(d, s, d->u + (size_t) s * E);
	for (int r = 0; r <= s; r++)
		row[r] = dot(E, d->u + (size_t) s * E, d->u + (size_t) r * E);
}

/*
 * Add columns s to s + 3 of U, those there are, to the lower half of U U^T: each number is read and written once for
 * four.
 */
static void
add_outer(const Discriminant *d, int s, double *a)
{
	double	   *u[4];

	for (int i = 0; i < 4; i++)
	{
		u[i] = d->u + (size_t) i * (size_t) d->E;
		if (s + i < d->S)
			weighted(d, s + i, u[i]);
		else
			memset(u[i], 0, (size_t) d->E * sizeof(double));
	}
	for (int i = 0; i < d->E; i++, a += d->E)
		for (int j = 0; j <= i; j++)
			a[j] += (u[0][i] * u[0][j] + u[1][i] * u[1][j]) + (u[2][i] * u[2][j] + u[3][i] * u[3][j]);
}

/* root: the matrix's lower half, with the ridge, becomes its Cholesky factor, row by row. */
static FsiStatus
factor(Discriminant *d, FsiError *err)
{
	size_t		N = (size_t) d->N;

	for (size_t i = 0; i < N; i++)
	{
		double	   *row = d->root + i * N;

		if (fsi_should_stop(d->arena->host))
			return fsi_cancelled(err);
		row[i] += d->ridge;
		for (size_t j = 0; j <= i; j++)
		{
			const double *other = d->root + j * N;
			double		sum = row[j] - dot(j, row, other);

			/* at least the ridge but for rounding; not a number where a vector is not */
			if (i == j && !(sum > 0))
				return fsi_fail(err, FSI_CORRUPT, "segments whose vectors are not numbers");
			row[j] = i == j ? sqrt(sum) : sum / other[j];
		}
	}
	return FSI_OK;
}

/* Write or add up the matrix, segment by segment, and factor it. */
static FsiStatus
factor_segments(Discriminant *d, FsiError *err)
{
	size_t		N = (size_t) d->N;

	d->root = fsi_arena_zero(d->arena, N * N, sizeof(double));
	d->x = fsi_arena_array(d->arena, N, sizeof(double));
	d->u = fsi_arena_array(d->arena, (d->dual ? N : 4) * (size_t) d->E, sizeof(double));
	if (d->root == NULL || d->x == NULL || d->u == NULL)
		return fsi_nomem(err, N * (N + (size_t) d->E) * sizeof(double));
	for (int s = 0; s < d->S; s += d->dual ? 1 : 4)
	{
		if (fsi_should_stop(d->arena->host))
			return fsi_cancelled(err);
		if (d->dual)
			gram_row(d, s, d->root + (size_t) s * N);
		else
			add_outer(d, s, d->root);
	}
	return factor(d, err);
}

/* x = (L L^T)^-1 x */
static void
solve(const Discriminant *d)
{
	size_t		N = (size_t) d->N;
	double	   *x = d->x;

	for (size_t i = 0; i < N; i++)
	{
		const double *row = d->root + i * N;

		x[i] = (x[i] - dot(i, row, x)) / row[i];
	}
	for (size_t i = N; i-- > 0;)
	{
		const double *row = d->root + i * N;

		x[i] /= row[i];
		for (size_t k = 0; k < i; k++)
			x[k] -= row[k] * x[i];
	}
}

/* v = A^-1 v */
static void
direction(const Discriminant *d, double *v)
{
	if (!d->dual)
	{
		memcpy(d->x, v, (size_t) d->E * sizeof(double));
		solve(d);
		memcpy(v, d->x, (size_t) d->E * sizeof(double));
		return;
	}
	/* (v - U (U^T U + ridge)^-1 U^T v) / ridge */
	for (int s = 0; s < d->S; s++)
		d->x[s] = dot((size_t) d->E, d->u + (size_t) s * (size_t) d->E, v);
	solve(d);
	for (int s = 0; s < d->S; s++)
	{
		const double *u = d->u + (size_t) s * (size_t) d->E;

		for (int k = 0; k < d->E; k++)
			v[k] -= d->x[s] * u[k];
	}
	for (int k = 0; k < d->E; k++)
		v[k] /= d->ridge;
}

static FsiStatus
directions(Discriminant *d, float *out, FsiError *err)
{
	size_t		E = (size_t) d->E;

	for (int i = 0; i < d->n; i++)
	{
		double	   *v = d->v + (size_t) i * E;

		if (fsi_should_stop(d->arena->host))
			return fsi_cancelled(err);
		direction(d, v);
		for (size_t k = 0; k < E; k++)
			out[(size_t) i * E + k] = (float) v[k];
	}
	return FSI_OK;
}

FsiStatus
pointing_discriminant(const Gpt2Model *model, int n, const PointingCandidate *candidates, FsiArena *arena,
					  const float **out, FsiError *err)
{
	FsiArena	scratch;
	Discriminant d = {.E = model->cfg.n_embd, .n = n, .ridge = model->pointing.discriminant_ridge, .arena = &scratch};
	int64_t		segments = 0,
				examples = 0;
	float	   *made;
	FsiStatus	status;

	*out = NULL;
	for (int i = 0; i < n; i++)
	{
		segments += count_segments(&candidates[i]);
		examples += candidates[i].n_example;
	}
	if (model->pointing.discriminant_share == 0 || n < 2 || examples == 0)
		return FSI_OK;
	if (segments > INT32_MAX)
		return fsi_fail(err, FSI_LIMIT, "%lld names, descriptions and examples are too many", (long long) segments);
	d.S = (int) segments;
	d.dual = d.S < d.E;
	d.N = d.dual ? d.S : d.E;
	made = fsi_arena_array(arena, (size_t) n * (size_t) d.E, sizeof(float));
	if (made == NULL)
		return fsi_nomem(err, (size_t) n * (size_t) d.E * sizeof(float));
	fsi_arena_init(&scratch, arena->host);
	status = list_segments(&d, candidates, err);
	status = status == FSI_OK ? differences(&d, err) : status;
	status = status == FSI_OK ? factor_segments(&d, err) : status;
	status = status == FSI_OK ? directions(&d, made, err) : status;
	fsi_arena_free(&scratch);
	if (status == FSI_OK)
		*out = made;
	return status;
}
