/*
 * test_engine_discriminant.c
 *	  The discriminant between candidates is weighted ridge regression on their segments, by
 *	  either matrix, and no order of candidates or examples changes a bit of it.
 */
#include "engine_pointing.h"

static Gpt2Model model = {.cfg = {.n_embd = E},
	.pointing = {.spelling_weight = 1.1, .description_weight = 0.7, .name_share = 0.4,
		.name_scale = 9, .name_bias = -0.3, .both_scale = 11, .both_bias = 0.2, .example_scale = 8,
		.example_bias = 0.1, .discriminant_share = 0.8, .discriminant_ridge = 0.1}};

static void
swap(double *a, double *b)
{
	double		t = *a;

	*a = *b;
	*b = t;
}

/* Gauss-Jordan with pivots: x of a x = b, both destroyed. */
static void
eliminate(double a[E][E], double b[E])
{
	for (int i = 0; i < E; i++)
	{
		int			best = i;

		for (int r = i; r < E; r++)
			best = fabs(a[r][i]) > fabs(a[best][i]) ? r : best;
		for (int k = 0; k < E; k++)
			swap(&a[i][k], &a[best][k]);
		swap(&b[i], &b[best]);
		for (int r = 0; r < E; r++)
		{
			double		f = a[r][i] / a[i][i];

			if (r == i)
				continue;
			for (int k = i; k < E; k++)
				a[r][k] -= f * a[i][k];
			b[r] -= f * b[i];
		}
	}
	for (int i = 0; i < E; i++)
		b[i] /= a[i][i];
}

/*
 * Coefficients x of ridge regression on all segments, each weighing 1 / its candidate's: the least
 * sum of weight * (x p - ([candidate is which] - 1 / n))^2 + ridge * |x|^2, by its normal equations.
 */
static void
regress(int n, const PointingCandidate *c, int which, double x[E])
{
	static double a[E][E];

	memset(a, 0, sizeof(a));
	memset(x, 0, E * sizeof(double));
	for (int i = 0; i < E; i++)
		a[i][i] = model.pointing.discriminant_ridge;
	for (int i = 0; i < n; i++)
	{
		int			count = (c[i].name != NULL) + (c[i].description != NULL) + c[i].n_example;
		double		target = (i == which) - 1.0 / n;

		for (int s = -2; s < c[i].n_example; s++)
		{
			const SegmentVec *v = s == -2 ? c[i].name : s == -1 ? c[i].description : c[i].examples[s];

			for (int j = 0; v != NULL && j < E; j++)
			{
				x[j] += target * v->proj[j] / count;
				for (int k = 0; k < E; k++)
					a[j][k] += (double) v->proj[j] * v->proj[k] / count;
			}
		}
	}
	eliminate(a, x);
}

static void
test_directions(int n, int most)
{
	PointingCandidate *c = test_alloc(&arena, n, sizeof(*c));
	const float *direction;
	int			segments = 0;
	double		worst = 0;

	random_candidates(n, most, c);
	must(pointing_discriminant(&model, n, c, &arena, &direction, &err));
	for (int i = 0; i < n; i++)
	{
		double		want[E];

		segments += (c[i].name != NULL) + (c[i].description != NULL) + c[i].n_example;
		regress(n, c, i, want);
		for (int k = 0; k < E; k++)
			worst = fmax(worst, fabs(direction[i * E + k] - want[k]));
	}
	ok(worst < 1e-6, "%d candidates, %d segments of width %d: ridge regression (%.0e)", n, segments, E, worst);
}

/*
 * A ridge so small, and so few distinct vectors, that the last bits of its sums come out in the
 * directions' first: rounded to floats, another order would otherwise hardly ever show.
 */
static void
test_order(int n, int most, int distinct)
{
	PointingCandidate *c = test_alloc(&arena, n, sizeof(*c)),
			   *moved = test_alloc(&arena, n, sizeof(*c));
	const float *direction,
			   *again;
	int		   *place = test_alloc(&arena, n, sizeof(int));
	double		ridge = model.pointing.discriminant_ridge;
	bool		same = true;

	model.pointing.discriminant_ridge = 1e-11;
	for (int i = distinct; i < N_SEGMENT; i++)
		vecs[i] = vecs[i % distinct];
	random_candidates(n, most, c);
	must(pointing_discriminant(&model, n, c, &arena, &direction, &err));
	for (int round = 0; round < 20; round++)
	{
		permute_candidates(n, c, moved, place);
		must(pointing_discriminant(&model, n, moved, &arena, &again, &err));
		for (int i = 0; i < n; i++)
			same &= memcmp(again + place[i] * E, direction + i * E, E * sizeof(float)) == 0;
	}
	ok(same, "%d candidates, up to %d examples: no permutation of them changes a bit", n, most);
	model.pointing.discriminant_ridge = ridge;
}

/* What it adds to each kind of candidate's logit. */
static void
test_logits(void)
{
	enum { N = 30 };
	PointingCandidate c[N];
	const float *direction;
	const PointingScalars *p = &model.pointing;
	double		without[N],
				with[N],
				prob[N + 1],
				worst = 0,
				most = 0;

	random_candidates(N, 4, c);
	must(pointing_discriminant(&model, N, c, &arena, &direction, &err));
	must(pointing_score(&model, kern_ops(KERN_AUTO), &vecs[9], N, c, NULL, NULL, true, without, prob, &arena, &err));
	must(pointing_score(&model, kern_ops(KERN_AUTO), &vecs[9], N, c, NULL, direction, true, with, prob, &arena, &err));
	for (int i = 0; i < N; i++)
	{
		double		f = 0,
					scale = c[i].n_example == 0 ? p->name_scale : c[i].name == NULL ? p->example_scale : p->both_scale;

		for (int k = 0; k < E; k++)
			f += (double) vecs[9].proj[k] * direction[i * E + k];
		worst = fmax(worst, fabs(with[i] - without[i] - scale * p->discriminant_share * f));
		most = fmax(most, fabs(with[i] - without[i]));
	}
	ok(worst < 1e-5 && most > 0.1, "each logit moves by scale * share * product (%.0e)", worst);
}

static void
test_edges(void)
{
	PointingCandidate c[8],
				bare[2] = {{.name = &vecs[0]}, {.name = &vecs[1]}},
				twins[2] = {{.name = &vecs[0], .n_example = 1, .examples = (const SegmentVec *[]) {&vecs[1]}}};
	const float *direction = vecs[0].proj;
	float		damaged[E] = {NAN};
	SegmentVec	bad = {.proj = damaged};
	FsiHost		host = fsi_host_malloc;
	FsiArena	stopping;
	double		most = 0;

	random_candidates(8, 4, c);
	must(pointing_discriminant(&model, 1, c, &arena, &direction, &err));
	ok(direction == NULL, "one candidate has nothing to be told from");
	must(pointing_discriminant(&model, 2, bare, &arena, &direction, &err));
	ok(direction == NULL, "none without examples");
	model.pointing.discriminant_share = 0;
	must(pointing_discriminant(&model, 8, c, &arena, &direction, &err));
	ok(direction == NULL, "none where the model has no share for it");
	model.pointing.discriminant_share = 0.8;

	twins[1] = twins[0];
	must(pointing_discriminant(&model, 2, twins, &arena, &direction, &err));
	for (int k = 0; k < 2 * E; k++)
		most = fmax(most, fabs(direction[k]));
	ok(most < 1e-12, "candidates of equal segments are not told apart (%.0e)", most);

	bare[1] = (PointingCandidate) {.name = &bad, .n_example = 1, .examples = (const SegmentVec *[]) {&vecs[2]}};
	ok(pointing_discriminant(&model, 2, bare, &arena, &direction, &err) == FSI_CORRUPT && direction == NULL, "%s",
	   err.message);
	host.should_stop = stop_now;
	fsi_arena_init(&stopping, &host);
	ok(pointing_discriminant(&model, 8, c, &stopping, &direction, &err) == FSI_CANCELLED && direction == NULL, "%s",
	   err.message);
	fsi_arena_free(&stopping);
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	for (int i = 0; i < N_SEGMENT; i++)
		random_segment(&vecs[i]);
	test_directions(2, 3);
	test_directions(5, 3);
	test_directions(12, 2);
	test_directions(20, 10);
	test_directions(77, 5);
	test_directions(3, 200);
	test_logits();
	test_edges();
	/* last: each leaves fewer distinct vectors */
	test_order(5, 3, N_SEGMENT);
	test_order(12, 2, N_SEGMENT);
	test_order(20, 10, 40);
	test_order(77, 5, 40);
	test_order(12, 2, 20);
	test_order(3, 200, 20);
	fsi_arena_free(&arena);
	return tap_done();
}
