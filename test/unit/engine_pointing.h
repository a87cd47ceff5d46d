/*
 * engine_pointing.h
 *	  Random segments and candidates for the tests of the pointing readout, and their permutations.
 */
#ifndef ENGINE_POINTING_H
#define ENGINE_POINTING_H

#include "engine_model.h"

enum { E = 48, N_SEGMENT = 400 };

static FsiArena arena;
static SegmentVec vecs[N_SEGMENT];

static double
length_of(const float *v)
{
	double		sum = 0;

	for (int i = 0; i < E; i++)
		sum += (double) v[i] * v[i];
	return sqrt(sum);
}

static void
random_segment(SegmentVec *vec)
{
	float	   *proj = test_floats(&arena, E, 1, 0);
	int			n = test_below(60);
	double		norm = length_of(proj);

	for (int i = 0; i < E; i++)
		proj[i] = (float) (proj[i] / norm);
	vec->proj = proj;
	vec->spell.bucket = test_alloc(&arena, n + 1, sizeof(uint32_t));
	vec->spell.weight = test_alloc(&arena, n + 1, sizeof(float));
	vec->spell.n = n;
	for (int i = 0; i < n; i++)
	{
		vec->spell.bucket[i] = (uint32_t) (i * (SPELL_BUCKETS / 60) + test_below(3));
		vec->spell.weight[i] = 0.1f + 0.01f * (float) test_below(10);
	}
}

/* n candidates of all kinds, their examples at random places of vecs: some are another's, too. */
static void
random_candidates(int n, int most_examples, PointingCandidate *out)
{
	for (int i = 0; i < n; i++)
	{
		int			k = i % 4 == 0 ? 0 : test_below(most_examples + 1);
		const SegmentVec **examples = test_alloc(&arena, k + 1, sizeof(*examples));

		for (int e = 0; e < k; e++)
			examples[e] = &vecs[test_below(N_SEGMENT)];
		out[i] = (PointingCandidate) {.name = i % 7 == 3 && k > 0 ? NULL : &vecs[test_below(N_SEGMENT)],
			.description = i % 3 == 0 ? &vecs[test_below(N_SEGMENT)] : NULL, .n_example = k, .examples = examples};
	}
}

static void
shuffle(int n, const SegmentVec **v)
{
	for (int i = n - 1; i > 0; i--)
	{
		int			j = test_below(i + 1);
		const SegmentVec *t = v[i];

		v[i] = v[j];
		v[j] = t;
	}
}

/* Candidates and their examples in another order: c[i] becomes moved[place[i]]. */
static void
permute_candidates(int n, const PointingCandidate *c, PointingCandidate *moved, int *place)
{
	for (int i = 0; i < n; i++)
		place[i] = i;
	for (int i = n - 1; i > 0; i--)
	{
		int			j = test_below(i + 1),
					t = place[i];

		place[i] = place[j];
		place[j] = t;
	}
	for (int i = 0; i < n; i++)
	{
		const SegmentVec **examples = test_alloc(&arena, c[i].n_example + 1, sizeof(*examples));

		memcpy(examples, c[i].examples, c[i].n_example * sizeof(*examples));
		shuffle(c[i].n_example, examples);
		moved[place[i]] = c[i];
		moved[place[i]].examples = examples;
	}
}

#endif
