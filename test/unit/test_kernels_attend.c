/*
 * test_kernels_attend.c
 *	  Attention: every level of this CPU against kern_reference, bit for bit, over shapes, splits
 *	  into runs and positions.
 */
#include "tap.h"
#include "kern_cases.h"

enum { MAX_RUNS = 4 };

/* One head's keys and values, cut into runs, each in memory that ends where its last key does. */
typedef struct Keys
{
	int			n_run,
				head_dim;
	KernKeys	run[MAX_RUNS];
	size_t		nk[MAX_RUNS],
				nv[MAX_RUNS];
	float	   *kt[MAX_RUNS],
			   *v[MAX_RUNS];
} Keys;

/* Copy keys k[j][d] and values v[j][d] into runs of the given counts, with rows of any distance. */
static Keys
cut(const float *k, const float *v, int head_dim, int n_run, const int *counts)
{
	Keys		keys = {.n_run = n_run, .head_dim = head_dim};
	int			first = 0;

	for (int r = 0; r < n_run; r++)
	{
		int			count = counts[r],
					ld = count + rng_below(20),
					ldv = head_dim + rng_below(3);

		keys.nk[r] = count == 0 ? 0 : (size_t) (head_dim - 1) * ld + count;
		keys.nv[r] = count == 0 ? 0 : (size_t) (count - 1) * ldv + head_dim;
		keys.kt[r] = guard_floats(keys.nk[r]);
		keys.v[r] = guard_floats(keys.nv[r]);
		for (int j = 0; j < count; j++)
			for (int d = 0; d < head_dim; d++)
			{
				keys.kt[r][(size_t) d * ld + j] = k[(size_t) (first + j) * head_dim + d];
				keys.v[r][(size_t) j * ldv + d] = v[(size_t) (first + j) * head_dim + d];
			}
		keys.run[r] = (KernKeys) {.kt = keys.kt[r], .v = keys.v[r], .ld = ld, .ldv = ldv, .count = count};
		first += count;
	}
	return keys;
}

static void
uncut(Keys *keys)
{
	for (int r = 0; r < keys->n_run; r++)
	{
		guard_free_floats(keys->kt[r], keys->nk[r]);
		guard_free_floats(keys->v[r], keys->nv[r]);
	}
}

typedef struct AttendCase
{
	int			m,
				head_dim,
				n_run,
				counts[MAX_RUNS],
				kind;
} AttendCase;

/* The level, on runs as given; the reference, on one run: both must give the same m x head_dim. */
static bool
same_attend(const KernOps *ops, AttendCase c)
{
	int			total = 0,
				ldq = c.head_dim + rng_below(5),
				ldout = c.head_dim + rng_below(5);
	size_t		nq = (size_t) (c.m - 1) * ldq + c.head_dim,
				nout = (size_t) (c.m - 1) * ldout + c.head_dim,
				ns;
	float	   *q = guard_floats(nq),
			   *out = guard_floats(nout),
			   *want = guard_floats(nout),
			   *k,
			   *v,
			   *scores;
	Keys		cut_keys,
				whole;
	bool		same;

	for (int r = 0; r < c.n_run; r++)
		total += c.counts[r];
	k = guard_floats((size_t) total * c.head_dim);
	v = guard_floats((size_t) total * c.head_dim);
	ns = KERN_ATTEND_SCRATCH(total);
	scores = guard_floats(ns);
	fill(q, nq, c.kind == FILL_HUGE ? FILL_ONE : c.kind);
	fill(k, (size_t) total * c.head_dim, c.kind == FILL_HUGE ? FILL_ONE : c.kind);
	fill(v, (size_t) total * c.head_dim, c.kind);
	memcpy(want, out, nout * sizeof(float));
	cut_keys = cut(k, v, c.head_dim, c.n_run, c.counts);
	whole = cut(k, v, c.head_dim, 1, &total);
	ops->attend(c.m, c.head_dim, q, ldq, 0.125f, c.n_run, cut_keys.run, c.counts[c.n_run - 1] - c.m + 1,
				scores, out, ldout);
	kern_reference.attend(c.m, c.head_dim, q, ldq, 0.125f, 1, whole.run, total - c.m + 1, scores, want, ldout);
	same = memcmp(out, want, nout * sizeof(float)) == 0;
	uncut(&cut_keys);
	uncut(&whole);
	guard_free_floats(q, nq);
	guard_free_floats(out, nout);
	guard_free_floats(want, nout);
	guard_free_floats(k, (size_t) total * c.head_dim);
	guard_free_floats(v, (size_t) total * c.head_dim);
	guard_free_floats(scores, ns);
	return same;
}

/* Queries of one call against the same queries in calls of their own. */
static bool
same_alone(const KernOps *ops, int m, int head_dim, int before)
{
	int			total = before + m;
	size_t		nq = (size_t) m * head_dim,
				nk = (size_t) total * head_dim,
				ns = KERN_ATTEND_SCRATCH(total);
	float	   *q = guard_floats(nq),
			   *k = guard_floats(nk),
			   *v = guard_floats(nk),
			   *all = guard_floats(nq),
			   *one = guard_floats(nq),
			   *scores = guard_floats(ns);
	int			counts[2] = {before, m};
	Keys		keys;
	bool		same;

	fill(q, nq, FILL_NORMAL);
	fill(k, nk, FILL_NORMAL);
	fill(v, nk, FILL_NORMAL);
	keys = cut(k, v, head_dim, 2, counts);
	ops->attend(m, head_dim, q, head_dim, 0.2f, 2, keys.run, 1, scores, all, head_dim);
	for (int i = 0; i < m; i++)
		ops->attend(1, head_dim, q + (size_t) i * head_dim, head_dim, 0.2f, 2, keys.run, 1 + i, scores,
					one + (size_t) i * head_dim, head_dim);
	same = memcmp(all, one, nq * sizeof(float)) == 0;
	uncut(&keys);
	guard_free_floats(q, nq);
	guard_free_floats(k, nk);
	guard_free_floats(v, nk);
	guard_free_floats(all, nq);
	guard_free_floats(one, nq);
	guard_free_floats(scores, ns);
	return same;
}

/* Queries of m sequences that share their first runs, before keys each, against the same queries alone and the reference. */
static bool
same_shared(const KernOps *ops, int m, int head_dim, int n_shared, int before, int n_own, int kind)
{
	enum { MAX_M = 9 };
	int			most = n_shared * before + n_own * 40,
				befores[MAX_RUNS] = {before, before, before, before};
	size_t		nk = (size_t) most * head_dim,
				nq = (size_t) m * head_dim,
				ns = KERN_ATTEND_SCRATCH(most);
	float	   *q = guard_floats(nq),
			   *k = guard_floats(nk),
			   *v = guard_floats(nk),
			   *all = guard_floats(nq),
			   *one = guard_floats(nq),
			   *want = guard_floats(nq),
			   *scores = guard_floats(ns);
	Keys		shared,
				own[MAX_M];
	KernKeys	runs[MAX_M * MAX_RUNS];
	int			n_run = n_shared + n_own;
	bool		same;

	fill(q, nq, kind);
	fill(k, nk, kind);
	fill(v, nk, kind);
	shared = cut(k, v, head_dim, n_shared, befores);
	for (int i = 0; i < m; i++)
	{
		int			counts[MAX_RUNS];

		fill(k, nk, kind);
		fill(v, nk, kind);
		for (int r = 0; r < n_own; r++)
			counts[r] = 1 + rng_below(r == 0 ? 40 : 5);
		own[i] = cut(k, v, head_dim, n_own, counts);
		memcpy(runs + i * n_run, shared.run, n_shared * sizeof(KernKeys));
		memcpy(runs + i * n_run + n_shared, own[i].run, n_own * sizeof(KernKeys));
	}
	ops->attend_shared(m, head_dim, q, head_dim, 0.2f, n_run, n_shared, runs, scores, all, head_dim);
	kern_reference.attend_shared(m, head_dim, q, head_dim, 0.2f, n_run, n_shared, runs, scores, want, head_dim);
	for (int i = 0; i < m; i++)
		ops->attend(1, head_dim, q + (size_t) i * head_dim, head_dim, 0.2f, n_run, runs + i * n_run,
					runs[i * n_run + n_run - 1].count, scores, one + (size_t) i * head_dim, head_dim);
	same = memcmp(all, one, nq * sizeof(float)) == 0 && memcmp(all, want, nq * sizeof(float)) == 0;
	uncut(&shared);
	for (int i = 0; i < m; i++)
		uncut(&own[i]);
	guard_free_floats(q, nq);
	guard_free_floats(k, nk);
	guard_free_floats(v, nk);
	guard_free_floats(all, nq);
	guard_free_floats(one, nq);
	guard_free_floats(want, nq);
	guard_free_floats(scores, ns);
	return same;
}

static void
test_attend(const KernOps *ops)
{
	static const int dims[] = {1, 8, 15, 16, 20, 32, 48, 64, 80, 96, 100, 128};
	bool		shapes = true,
				runs = true,
				kinds = true,
				alone = true,
				shared = true;

	for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++)
		for (int m = 1; m <= 20; m += 1 + (int) i % 3)
			shapes &= same_attend(ops, (AttendCase) {.m = m, .head_dim = dims[i], .n_run = 1,
				.counts = {m + (m % 3) * rng_below(30)}});
	for (int i = 0; i < 60; i++)
	{
		int			m = 1 + rng_below(18);

		runs &= same_attend(ops, (AttendCase) {.m = m, .head_dim = 8 * (1 + rng_below(10)), .n_run = 1 + i % 4,
			.counts = {i % 4 ? rng_below(70) : m, i % 4 == 1 ? m : rng_below(20), i % 4 == 2 ? m + 5 : i % 7,
				m + rng_below(3)}});
	}
	for (int kind = 0; kind < FILL_KINDS; kind++)
		if (kind != FILL_BITS)	/* NaN, whose bits are free */
			kinds &= same_attend(ops, (AttendCase) {.m = 11, .head_dim = 32, .n_run = 2, .counts = {21, 13},
				.kind = kind});
	for (int m = 1; m <= 17; m += 4)
		alone &= same_alone(ops, m, 32, 5 * m) && same_alone(ops, m, 64, 0) && same_alone(ops, m, 24, 33);
	for (int m = 1; m <= 9; m++)
		for (int before = 1; before < 150; before += 13)
			shared &= same_shared(ops, m, m % 3 == 0 ? 64 : m % 2 ? 32 : 20 + m, 1 + m % 2, before, 1 + before % 2,
								  m == 5 ? FILL_ONE : m == 6 ? FILL_DENORMAL : FILL_NORMAL);
	ok(shapes, "%s: attend equals the reference: head_dim 1 to 128, any number of keys", ops->name);
	ok(runs, "%s: keys cut into runs give the same as one run", ops->name);
	ok(kinds, "%s: attend equals the reference on zeros, denormals, outliers", ops->name);
	ok(alone, "%s: queries of one call equal queries alone", ops->name);
	ok(shared, "%s: queries of sequences that share a run equal queries alone, and the reference", ops->name);
}

/* Equal keys: the mean of the values seen, so a later key must not leak in. */
static void
test_meaning(const KernOps *ops)
{
	float		q[2] = {1.0f, 1.0f},
				kt[3] = {0.5f, 0.5f, 9.0f},
				v[3] = {2.0f, 4.0f, 1000.0f},
				out[2];
	float		scores[KERN_ATTEND_SCRATCH(2)];
	KernKeys	run = {.kt = kt, .v = v, .ld = 3, .ldv = 1, .count = 3};

	ops->attend(2, 1, q, 1, 1.0f, 1, &run, 1, scores, out, 1);
	ok(out[0] == 2.0f && out[1] == 3.0f, "%s: a query sees its own keys and no later one", ops->name);
}

int
main(void)
{
	for (int i = 0; i < KERN_N_LEVEL; i++)
	{
		const KernOps *ops = kern_ops(kern_levels[i]);

		if (ops == NULL)
			continue;
		rng_state = 13;
		test_attend(ops);
		test_meaning(ops);
	}
	return tap_done();
}
