/*
 * kern_attend.h
 *	  Causal attention of one head; included by each level.
 *
 * Scores are vectors over keys, outputs vectors over the head's dimensions.  Both are
 * chains of dependent fused sums, so up to KERN_ATTEND_BLOCK queries go side by side over
 * the keys that the first of them sees; the later ones then add their few further keys.
 * A query's own order of operations never changes.
 *
 * attend_shared(): the queries have their first runs in common and go side by side over
 * those, then over their own, of which each has others.
 *
 * Few queries take more vectors of keys or values side by side.
 */
#ifndef KERN_ATTEND_H
#define KERN_ATTEND_H

typedef struct AttendBlock
{
	int			head_dim,
				ldq,
				n_run,
				seen,			/* keys of the last run that the block's first query sees */
				lds,			/* distance of rows of scores */
				ldout;
	const float *q;
	float		scale;
	const KernKeys *runs;
	int			n_own,			/* attend_shared(): further runs of each query */
				ldown;			/* distance of the queries' runs */
	const KernKeys *own;
	float	   *scores;
	float	   *out;
} AttendBlock;

/* Queries of one sequence that go side by side; a level with many registers takes more. */
#ifndef KERN_ATTEND_BLOCK
#define KERN_ATTEND_BLOCK KERN_ATTEND_ROWS
#endif
_Static_assert(KERN_ATTEND_BLOCK <= KERN_ATTEND_MOST, "scores of a block have room");

/* Vectors of which one query or two take as many sums side by side as KERN_ATTEND_ROWS queries take of n. */
#ifdef KERN_MEMORY_VECTORS
#define SIDE_BY_SIDE(rows, n) (n)
#else
#define SIDE_BY_SIDE(rows, n) ((rows) == 1 ? 4 * (n) : (rows) == 2 ? 2 * (n) : (n))
#endif

/* Keys of a run that the block's first query sees. */
KERN_INLINE int
run_seen(const AttendBlock *b, int run)
{
	return run == b->n_run - 1 ? b->seen : b->runs[run].count;
}

/* Scores of rows queries with vectors * 16 keys from key j; of the last vector, unless whole, those before count alone. */
KERN_INLINE void
score_keys(const int rows, const int vectors, const bool whole, const AttendBlock *b, const KernKeys *run, int j, int count,
		   float *s)
{
	v16			acc[KERN_ATTEND_BLOCK][8];
	int			left = count - j - (vectors - 1) * KERN_LANES;

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			acc[r][v] = v_set(0.0f);
	}
	for (int d = 0; d < b->head_dim; d++)
	{
		const float *keys = run->kt + (size_t) d * run->ld + j;

		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
		{
			v16			key = whole || v < vectors - 1 ? v_load(keys + v * KERN_LANES) : v_load_n(keys + v * KERN_LANES, left);

			KERN_UNROLL
			for (int r = 0; r < rows; r++)
				acc[r][v] = v_fma(v_set(b->q[r * b->ldq + d]), key, acc[r][v]);
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			v_store(s + r * b->lds + j + v * KERN_LANES, v_mul(acc[r][v], v_set(b->scale)));
	}
}

/* Scores of rows queries with the first count keys of a run. */
KERN_INLINE void
score_run(const int rows, const AttendBlock *b, const KernKeys *run, int count, float *s)
{
	const int	vectors = SIDE_BY_SIDE(rows, KERN_KEY_VECTORS);
	int			j = 0;

	for (; vectors >= 8 && j + 8 * KERN_LANES <= count; j += 8 * KERN_LANES)
		score_keys(rows, 8, true, b, run, j, count, s);
	for (; vectors >= 4 && j + 4 * KERN_LANES <= count; j += 4 * KERN_LANES)
		score_keys(rows, 4, true, b, run, j, count, s);
	for (; vectors >= 2 && j + 2 * KERN_LANES <= count; j += 2 * KERN_LANES)
		score_keys(rows, 2, true, b, run, j, count, s);
	if (vectors >= 2 && j + KERN_LANES < count)
	{
		score_keys(rows, 2, false, b, run, j, count, s);
		return;
	}
	for (; j + KERN_LANES <= count; j += KERN_LANES)
		score_keys(rows, 1, true, b, run, j, count, s);
	if (j < count)
		score_keys(rows, 1, false, b, run, j, count, s);
}

/* Scores of rows queries with the i-th of their own runs, which go to s[r]. */
KERN_INLINE void
score_own(const int rows, const AttendBlock *b, int i, float *const *s)
{
	const KernKeys *run = b->own + i;
	int			most = 0;

	for (int r = 0; r < rows; r++)
		most = run[r * b->ldown].count > most ? run[r * b->ldown].count : most;
	for (int j = 0; j < most; j += KERN_LANES)
	{
		v16			acc[KERN_ATTEND_BLOCK];
		int			left[KERN_ATTEND_BLOCK];	/* keys from j on */

		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			acc[r] = v_set(0.0f);
			left[r] = run[r * b->ldown].count > j ? run[r * b->ldown].count - j : 0;
		}
		for (int d = 0; d < b->head_dim; d++)
		{
			KERN_UNROLL
			for (int r = 0; r < rows; r++)
				acc[r] = v_fma(v_set(b->q[r * b->ldq + d]),
							   row_load(run[r * b->ldown].kt + (size_t) d * run[r * b->ldown].ld + j, left[r], 0), acc[r]);
		}
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
			if (left[r] > 0)
				v_store(s[r] + j, v_mul(acc[r], v_set(b->scale)));
	}
}

/* All scores of the block; row r's keys past its own are garbage that is never used. */
KERN_INLINE void
score_block(const int rows, const bool shared, const AttendBlock *b)
{
	float	   *s = b->scores,
			   *own[KERN_ATTEND_BLOCK];

	for (int i = 0; i < b->n_run; i++)
	{
		int			count = run_seen(b, i) + (!shared && i == b->n_run - 1 ? rows - 1 : 0);

		score_run(rows, b, &b->runs[i], count, s);
		s += count;
	}
	for (int r = 0; shared && r < rows; r++)
		own[r] = s + r * b->lds;
	for (int i = 0; shared && i < b->n_own; i++)
	{
		score_own(rows, b, i, own);
		for (int r = 0; r < rows; r++)
			own[r] += b->own[r * b->ldown + i].count;
	}
}

/* Scores j .. j+15 of n; exp of the lanes past the end is 0. */
KERN_INLINE v16
score_load(const float *s, int n, int j)
{
	return n - j >= KERN_LANES ? v_load(s + j) : v_fill(v_load(s + j), n - j, -INFINITY);
}

/* scores = exp(scores - max) of one query with n keys; their lane sum. */
KERN_INLINE float
exp_scores(float *s, int n)
{
	v16			max = v_set(-FLT_MAX),
				sum = v_set(0.0f);

	for (int j = 0; j < n; j += KERN_LANES)
		max = v_max(score_load(s, n, j), max);
	max = v_set(v_hmax(max));
	for (int j = 0; j < n; j += KERN_LANES)
	{
		v16			e = v_exp(v_sub(score_load(s, n, j), max));

		v_store(s + j, e);
		sum = v_add(sum, e);
	}
	return v_sum(sum);
}

/* Add query r's values in runs of its own to what out holds, and divide; s: its scores there. */
KERN_INLINE void
weigh_own(const int vectors, const bool whole, const AttendBlock *b, int d, int r, const float *s, float sum)
{
	float	   *out = b->out + (size_t) r * b->ldout;
	v16			acc[4];

	KERN_UNROLL
	for (int v = 0; v < vectors; v++)
		acc[v] = part_load(whole, out, b->head_dim, d + v * KERN_LANES);
	for (int i = 0; i < b->n_own; i++)
	{
		const KernKeys *run = &b->own[r * b->ldown + i];
		const float *value = run->v;

		for (int j = 0; j < run->count; j++, s++, value += run->ldv)
		{
			KERN_UNROLL
			for (int v = 0; v < vectors; v++)
				acc[v] = v_fma(v_set(*s), part_load(whole, value, b->head_dim, d + v * KERN_LANES), acc[v]);
		}
	}
	KERN_UNROLL
	for (int v = 0; v < vectors; v++)
		row_store(out, b->head_dim, d + v * KERN_LANES, v_div(acc[v], v_set(sum)));
}

/*
 * out of vectors * 16 dimensions from dimension d, for all rows of the block; shared: of their common runs, undivided.
 */
KERN_INLINE void
weigh_values(const int rows, const int vectors, const bool whole, const bool shared, const AttendBlock *b, int d,
			 const float *sum)
{
	v16			acc[KERN_ATTEND_BLOCK][4];
	const float *s = b->scores;

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			acc[r][v] = v_set(0.0f);
	}
	for (int i = 0; i < b->n_run; i++)
	{
		const float *value = b->runs[i].v;
		int			seen = run_seen(b, i);

		for (int j = 0; j < seen; j++, s++, value += b->runs[i].ldv)
		{
			KERN_UNROLL
			for (int v = 0; v < vectors; v++)
			{
				v16			x = part_load(whole, value, b->head_dim, d + v * KERN_LANES);

				KERN_UNROLL
				for (int r = 0; r < rows; r++)
					acc[r][v] = v_fma(v_set(s[r * b->lds]), x, acc[r][v]);
			}
		}
		if (shared || i < b->n_run - 1)
			continue;
		KERN_UNROLL
		for (int j = 0; j < rows - 1; j++, s++, value += b->runs[i].ldv)
		{
			KERN_UNROLL
			for (int v = 0; v < vectors; v++)
			{
				v16			x = part_load(whole, value, b->head_dim, d + v * KERN_LANES);

				KERN_UNROLL
				for (int r = j + 1; r < rows; r++)
					acc[r][v] = v_fma(v_set(s[r * b->lds]), x, acc[r][v]);
			}
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int v = 0; v < vectors; v++)
			row_store(b->out + r * b->ldout, b->head_dim, d + v * KERN_LANES,
					  shared ? acc[r][v] : v_div(acc[r][v], v_set(sum[r])));
	}
}

KERN_INLINE void
attend_block(const int rows, const bool shared, const AttendBlock *b)
{
	const int	vectors = rows > KERN_ATTEND_ROWS ? KERN_VALUE_VECTORS / 2 : SIDE_BY_SIDE(rows, KERN_VALUE_VECTORS);
	float		sum[KERN_ATTEND_BLOCK];
	int			n = 0,
				d = 0;

	for (int i = 0; i < b->n_run; i++)
		n += run_seen(b, i);
	score_block(rows, shared, b);
	for (int r = 0; r < rows; r++)
	{
		int			keys = n + (shared ? 0 : r);

		for (int i = 0; shared && i < b->n_own; i++)
			keys += b->own[r * b->ldown + i].count;
		sum[r] = exp_scores(b->scores + r * b->lds, keys);
	}
	for (; vectors >= 4 && d + 4 * KERN_LANES <= b->head_dim; d += 4 * KERN_LANES)
		weigh_values(rows, 4, true, shared, b, d, sum);
	for (; vectors >= 2 && d + 2 * KERN_LANES <= b->head_dim; d += 2 * KERN_LANES)
		weigh_values(rows, 2, true, shared, b, d, sum);
	for (; d + KERN_LANES <= b->head_dim; d += KERN_LANES)
		weigh_values(rows, 1, true, shared, b, d, sum);
	if (d < b->head_dim)
		weigh_values(rows, 1, false, shared, b, d, sum);
	for (int r = 0; shared && r < rows; r++)
	{
		const float *s = b->scores + r * b->lds + n;

		for (d = 0; d + 4 * KERN_LANES <= b->head_dim; d += 4 * KERN_LANES)
			weigh_own(4, true, b, d, r, s, sum[r]);
		for (; d < b->head_dim; d += KERN_LANES)
			weigh_own(1, false, b, d, r, s, sum[r]);
	}
}

#define ATTEND(rows) \
	static void attend_##rows(const AttendBlock *b) { attend_block(rows, false, b); }
#define ATTEND_SHARED(rows) \
	static void attend_shared_##rows(const AttendBlock *b) { attend_block(rows, true, b); }

ATTEND(1) ATTEND_SHARED(1)
#ifdef KERN_MEMORY_VECTORS
#define ATTEND_ROWS 1
#define ATTEND_SHARED_ROWS 1
#else
#define ATTEND_ROWS KERN_ATTEND_BLOCK
#define ATTEND_SHARED_ROWS KERN_ATTEND_ROWS
ATTEND(2) ATTEND(3) ATTEND(4)
ATTEND_SHARED(2) ATTEND_SHARED(3) ATTEND_SHARED(4)
#endif
#if ATTEND_ROWS == 8
ATTEND(5) ATTEND(6) ATTEND(7) ATTEND(8)
#endif
#undef ATTEND
#undef ATTEND_SHARED

static void (*const attend_rows[]) (const AttendBlock *) = {NULL, attend_1,
#if ATTEND_ROWS >= 4
	attend_2, attend_3, attend_4,
#endif
#if ATTEND_ROWS == 8
	attend_5, attend_6, attend_7, attend_8,
#endif
};
static void (*const attend_shared_rows[]) (const AttendBlock *) = {NULL, attend_shared_1,
#if ATTEND_SHARED_ROWS == 4
	attend_shared_2, attend_shared_3, attend_shared_4,
#endif
};

static void
attend(int m, int head_dim, const float *q, int ldq, float scale, int n_run, const KernKeys *runs,
	   int last_seen, float *scores, float *out, int ldout)
{
	AttendBlock b = {.head_dim = head_dim, .ldq = ldq, .n_run = n_run, .ldout = ldout,
		.scale = scale, .runs = runs, .scores = scores};
	int			keys = last_seen + m - 1;

	for (int i = 0; i < n_run - 1; i++)
		keys += runs[i].count;
	b.lds = KERN_ROUND_UP(keys, KERN_LANES) + KERN_LANES;
	for (int i = 0, rows, blocks = (m + ATTEND_ROWS - 1) / ATTEND_ROWS; i < m; i += rows)
	{
		rows = (m - i) / blocks--;
		b.q = q + (size_t) i * ldq;
		b.out = out + (size_t) i * ldout;
		b.seen = last_seen + i;
		attend_rows[rows] (&b);
	}
}

static void
attend_shared(int m, int head_dim, const float *q, int ldq, float scale, int n_run, int n_shared, const KernKeys *runs,
			  float *scores, float *out, int ldout)
{
	AttendBlock b = {.head_dim = head_dim, .ldq = ldq, .n_run = n_shared, .seen = runs[n_shared - 1].count, .ldout = ldout,
		.scale = scale, .runs = runs, .n_own = n_run - n_shared, .ldown = n_run, .scores = scores};

	for (int i = 0, rows; i < m; i += rows)
	{
		int			most = 0;

		rows = m - i < ATTEND_SHARED_ROWS ? m - i : ATTEND_SHARED_ROWS;
		for (int r = i; r < i + rows; r++)
		{
			int			keys = 0;

			for (int j = 0; j < n_run; j++)
				keys += runs[r * n_run + j].count;
			most = keys > most ? keys : most;
		}
		b.lds = KERN_ROUND_UP(most, KERN_LANES) + KERN_LANES;
		b.q = q + (size_t) i * ldq;
		b.out = out + (size_t) i * ldout;
		b.own = runs + (size_t) i * n_run + n_shared;
		attend_shared_rows[rows] (&b);
	}
}

#endif
