/*
 * test_train_optim.c
 *	  AdamW, schedules, clipping, shuffling, dropout and event files, against values worked out here.
 */
#include <dirent.h>

#include "../../src/train/train.h"
#include "tap.h"

#include <math.h>
#include <string.h>

static bool
near(double a, double b, double tolerance)
{
	return fabs(a - b) <= tolerance * (1 + fabs(b));
}

static void
test_schedule(void)
{
	TrainOptions o = train_defaults;

	o.learning_rate = 1;
	o.warmup_steps = 10;
	ok(train_learning_rate(&o, 0, 110) == 0 && near(train_learning_rate(&o, 5, 110), 0.5, 1e-15) &&
	   near(train_learning_rate(&o, 10, 110), 1, 1e-15) && near(train_learning_rate(&o, 60, 110), 0.5, 1e-15) &&
	   train_learning_rate(&o, 110, 110) == 0, "linear: 0 at first, 1 after warm-up, half-way 0.5, 0 at the end");
	o.lr_scheduler_type = TRAIN_COSINE;
	ok(near(train_learning_rate(&o, 5, 110), 0.5, 1e-15) && near(train_learning_rate(&o, 60, 110), 0.5, 1e-12) &&
	   near(train_learning_rate(&o, 35, 110), 0.85355339059327373, 1e-12), "cosine: cos^2(pi/8) at a quarter");
	o.warmup_steps = 0;
	o.warmup_ratio = 0.1;
	o.lr_scheduler_type = TRAIN_CONSTANT_WITH_WARMUP;
	ok(near(train_learning_rate(&o, 4, 99), 0.4, 1e-15) && train_learning_rate(&o, 98, 99) == 1,
	   "warmup_ratio rounds up, constant after it");
	ok(train_clip_factor(4, 1) < 0.25 && near(train_clip_factor(4, 1), 0.25, 1e-6) && train_clip_factor(0.5, 1) == 1 &&
	   train_clip_factor(4, 0) == 1, "clipping");
}

/* Options that each pass their own range. */
static void
test_options(void)
{
	TrainOptions o = train_defaults;
	FsiError	err;

	ok(train_check_options(&o, &err) == FSI_OK, "the defaults are within their ranges");
	o.per_device_train_batch_size = o.gradient_accumulation_steps = 65536;
	ok(train_check_options(&o, &err) == FSI_INVALID, "2^32 rows are no update: %s", err.message);
	o = train_defaults;
	o.attn_pdrop = 1 - 1e-12;
	ok(train_check_options(&o, &err) == FSI_INVALID, "a rate that is 1 in float: %s", err.message);
	o = train_defaults;
	o.learning_rate = NAN;
	ok(train_check_options(&o, &err) == FSI_INVALID, "%s", err.message);
}

/* Two updates, in double, of odd lengths; every level alike. */
static void
test_adamw(const KernOps *ops)
{
	enum { N = 37 };
	float		p[N],
				m[N] = {0},
				v[N] = {0},
				g[N];
	double		want[N],
				wm[N] = {0},
				wv[N] = {0};
	bool		good = true;

	for (int i = 0; i < N; i++)
		want[i] = p[i] = (float) (i - 18) / 7;
	for (int t = 1; t <= 2; t++)
	{
		KernAdamW	a = {.grad_scale = 0.5f, .beta1 = 0.9f, .rest1 = 0.1f, .beta2 = 0.999f, .rest2 = 0.001f,
			.root_scale = (float) (1 / sqrt(1 - pow(0.999, t))), .epsilon = 1e-8f,
			.step = (float) (0.01 / (1 - pow(0.9, t))), .decay = (float) (1 - 0.01 * 0.1)};

		for (int i = 0; i < N; i++)
		{
			double		grad;

			g[i] = (float) sin(3 * i + t);
			grad = 0.5 * (double) g[i];
			wm[i] = 0.9 * wm[i] + 0.1 * grad;
			wv[i] = 0.999 * wv[i] + 0.001 * grad * grad;
			want[i] = want[i] * (1 - 0.01 * 0.1) -
				0.01 * (wm[i] / (1 - pow(0.9, t))) / (sqrt(wv[i] / (1 - pow(0.999, t))) + 1e-8);
		}
		ops->grad->adamw(N, p, g, m, v, &a);
	}
	for (int i = 0; i < N; i++)
		good &= near((double) p[i], want[i], 1e-6);
	ok(good, "%s: AdamW, two updates", ops->name);
}

static void
test_dropout(const KernOps *ops)
{
	enum { N = 20003 };
	static float x[N],
				again[N];
	int			kept = 0;
	bool		values = true;

	for (int i = 0; i < N; i++)
		x[i] = again[i] = 3;
	ops->grad->dropout(N, 12345, 0.25f, x);
	ops->grad->dropout(N, 12345, 0.25f, again);
	for (int i = 0; i < N; i++)
	{
		kept += x[i] != 0;
		values &= x[i] == 0 || x[i] == 4;
	}
	ok(values && abs(kept - N * 3 / 4) < 300 && memcmp(x, again, sizeof(x)) == 0, "%s: a quarter is dropped, repeatably",
	   ops->name);
	ok(fsi_hash64(x, sizeof(x), 0) == UINT64_C(0xcba0d11466f7ab94), "%s: the same elements on every machine (%016llx)", ops->name,
	   (unsigned long long) fsi_hash64(x, sizeof(x), 0));
}

/* Values of all sizes and signs, the same for every level. */
static void
fill(float *x, int n, uint64_t seed)
{
	for (int i = 0; i < n; i++)
	{
		uint64_t	h = fsi_hash64(&i, sizeof(i), seed);

		x[i] = ldexpf((float) (int32_t) h / 2147483648.0f, (int) (h >> 32) % 12 - 6);
		if (h % 61 == 0)
			x[i] = 0;
	}
}

/* What the steps of training make of rows of n: a hash of all their bits. */
static uint64_t
training_bits(const KernOps *ops, int n)
{
	enum { M = 3, MAX = 300 };
	static const KernAct acts[] = {KERN_ACT_NONE, KERN_ACT_GELU_NEW, KERN_ACT_GELU, KERN_ACT_RELU};
	const KernGradOps *grad = ops->grad;
	static float x[M * MAX],
				dy[M * MAX],
				y[M * MAX];
	float		gain[MAX],
				sum[2 * MAX],
				stats[2 * M];
	KernAdamW	a = {.grad_scale = 0.7f, .beta1 = 0.9f, .rest1 = 0.1f, .beta2 = 0.999f, .rest2 = 0.001f,
		.root_scale = 1.3f, .epsilon = 1e-8f, .step = 1e-3f, .decay = 0.999f};
	uint64_t	bits = 0;

	fill(x, M * n, 1);
	fill(dy, M * n, 2);
	fill(gain, n, 3);
	for (int i = 0; i < 4; i++)
	{
		grad->activate_grad(n, x, dy, y, acts[i]);
		bits = fsi_hash64(y, (size_t) n * sizeof(float), bits);
	}
	memcpy(y, dy, sizeof(y));
	grad->layer_norm_grad(M, n, x, gain, 1e-5f, dy, y, stats);
	memset(sum, 0, sizeof(sum));
	grad->layer_norm_grad_gain(M, n, n, x, stats, dy, sum, sum + MAX);
	grad->column_sum(M, n, x, n, sum);
	bits = fsi_hash64(y, (size_t) (M * n) * sizeof(float), bits);
	bits = fsi_hash64(sum, sizeof(sum), fsi_hash64(stats, sizeof(stats), bits));
	memcpy(y, x, sizeof(y));
	grad->attend_prob(n, y, 3.25f);
	grad->attend_grad(n, y, dy, 0.125f, 0.3f);
	grad->dropout(n, 7, 0.25f, y);
	grad->scale(n, 1.7f, y);
	bits = fsi_hash64(dy, (size_t) n * sizeof(float), fsi_hash64(y, (size_t) n * sizeof(float), bits));
	fill(sum, 2 * n, 5);
	for (int i = 0; i < n; i++)
		sum[i] = fabsf(sum[i]);
	grad->adamw((size_t) n, y, dy, x, sum, &a);
	bits = fsi_hash64(y, (size_t) n * sizeof(float), bits);
	return fsi_hash64(sum, (size_t) n * sizeof(float), fsi_hash64(x, (size_t) n * sizeof(float), bits));
}

static void
test_levels(const KernOps *ops)
{
	bool		same = true;

	for (int n = 1; n <= 300; n += n < 70 ? 1 : 23)
		same &= training_bits(ops, n) == training_bits(kern_ops(KERN_SCALAR), n);
	ok(same, "%s: the steps of training have the bits of scalar ones", ops->name);
}

static void
test_shuffle(void)
{
	bool		all = true;

	for (uint32_t n = 1; n < 70; n++)
	{
		bool		seen[70] = {false};

		for (uint32_t i = 0; i < n; i++)
			seen[train_shuffled(i, n, 9)] = true;
		for (uint32_t i = 0; i < n; i++)
			all &= seen[i];
	}
	ok(all, "shuffling is a permutation of every length");
}

/* Every epoch takes each row once, in an order of its own, across the steps' edges. */
static void
test_epochs(void)
{
	enum { ROWS = 30, STEPS = 15, EACH = 4 };
	int			rows[STEPS * EACH],
				times[2][ROWS] = {{0}},
				same = 0;
	bool		once = true;

	for (int step = 0; step < STEPS; step++)
		train_sample_rows(&train_defaults, ROWS, step, EACH, rows + step * EACH);
	for (int i = 0; i < 2 * ROWS; i++)
		times[i / ROWS][rows[i]]++;
	for (int i = 0; i < ROWS; i++)
	{
		once &= times[0][i] == 1 && times[1][i] == 1;
		same += rows[i] == rows[ROWS + i];
	}
	ok(once && same < ROWS / 2, "two epochs take each row once, in two orders");
}

/* One scalar's frame, byte by byte; CRCs from an independent implementation. */
static void
test_events(void)
{
	static const uint8_t want[] = {
		0x18, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xA3, 0x7F, 0x4B, 0x22, 0x09, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0xF8, 0x3F, 0x1A, 0x0D, 0x62, 0x72, 0x61, 0x69, 0x6E, 0x2E, 0x45, 0x76, 0x65,
		0x6E, 0x74, 0x3A, 0x32, 0x2A, 0x28, 0x64, 0x6C, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x01, 0x7B, 0xEC, 0xF6, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x40, 0x10, 0xAC, 0x02,
		0x2A, 0x13, 0x0A, 0x11, 0x0A, 0x0A, 0x74, 0x72, 0x61, 0x69, 0x6E, 0x2F, 0x6C, 0x6F, 0x73, 0x73,
		0x15, 0x00, 0x00, 0x40, 0x3F, 0xF3, 0x1D, 0x3D, 0xFF
	};
	char		dir[256],
				path[512] = "";
	uint8_t		got[256] = {0};
	TrainEvents *ev;
	FsiError	err;
	DIR		   *d;
	FILE	   *f;
	size_t		n;

	snprintf(dir, sizeof(dir), "%s/fsi-events-XXXXXX", temp_base());
	if (mkdtemp(dir) == NULL || train_events_open(&fsi_host_malloc, dir, 1.5, &ev, &err) != FSI_OK ||
		train_events_scalar(ev, "train/loss", 300, 2.5, 0.75f, &err) != FSI_OK || train_events_close(ev, &err) != FSI_OK)
	{
		ok(false, "events: %s", err.message);
		return;
	}
	d = opendir(dir);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (strstr(e->d_name, "tfevents") != NULL)
			snprintf(path, sizeof(path), "%s/%.200s", dir, e->d_name);
	closedir(d);
	f = fopen(path, "rb");
	n = f == NULL ? 0 : fread(got, 1, sizeof(got), f);
	ok(n == sizeof(want) && memcmp(got, want, n) == 0, "an event file's bytes are the format's");
	if (f != NULL)
		fclose(f);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	static const KernLevel levels[] = {KERN_SCALAR, KERN_AVX2, KERN_AVX512VNNI, KERN_NEON};

	test_schedule();
	test_options();
	for (int i = 0; i < 4; i++)
		if (kern_ops(levels[i]) != NULL)
		{
			test_adamw(kern_ops(levels[i]));
			test_dropout(kern_ops(levels[i]));
			test_levels(kern_ops(levels[i]));
		}
	test_shuffle();
	test_epochs();
	test_events();
	return tap_done();
}
