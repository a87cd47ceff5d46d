/*
 * bench_train.c
 *	  Tokens per second of the trainer's whole step: forward, backward, clipping, AdamW.
 *
 *	bench_train [threads] [dropout] [small | base]
 *
 * A random model and rows of random tokens.  small: 6 x 384, a vocabulary of 12,000, 16 rows of
 * 256 tokens a step; base: GPT-2's 12 x 768, 21,128, 4 rows of 64, on which llm.c has been
 * measured too.
 * Speaks the peers' protocol (peers/serve.py): `steps N` on standard input runs N steps and is
 * answered by one JSON object.  train.py lets it take turns with peers/peer_train.py.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"
#include "fsi_train.h"

enum { HEADS = 12, POSITIONS = 512, MAX_LENGTH = 256, ROWS = 64 };

typedef struct Shape
{
	const char *name;
	int			layers,
				width,
				vocabulary,
				batch,
				length;
} Shape;

static const Shape shapes[] = {{"small", 6, 384, 12000, 16, 256}, {"base", 12, 768, 21128, 4, 64}};

static KernMatrix
matrix(int k, int n)
{
	return (KernMatrix) {.type = KERN_F32, .k = k, .n = n, .w = floats((size_t) k * (size_t) n, 0.02f, 0)};
}

static void
model_create(const Shape *s, Gpt2Model *m)
{
	int			E = s->width;

	*m = (Gpt2Model) {.cfg = {.n_layer = s->layers, .n_head = HEADS, .n_embd = E, .n_inner = 4 * E,
		.n_positions = POSITIONS, .n_vocab = s->vocabulary, .act = KERN_ACT_GELU_NEW, .ln_eps = 1e-5f, .tied = true,
		.scale_attn_weights = true, .layout = GPT2_PROMPT, .begin = 0, .end_prompt = 1, .end = 1}};
	m->wte = m->head = matrix(E, s->vocabulary);
	m->wte.transposed = m->head.transposed = true;
	m->wpe = floats((size_t) POSITIONS * (size_t) E, 0.02f, 0);
	m->lnf_gain = floats((size_t) E, 0, 1);
	m->lnf_bias = floats((size_t) E, 0, 0);
	m->layers = fsi_arena_array(&arena, (size_t) s->layers, sizeof(Gpt2Layer));
	for (int l = 0; l < s->layers; l++)
		m->layers[l] = (Gpt2Layer) {
			.ln1_gain = m->lnf_gain, .ln1_bias = m->lnf_bias, .ln2_gain = m->lnf_gain, .ln2_bias = m->lnf_bias,
			.qkv = matrix(E, 3 * E), .qkv_bias = floats(3 * (size_t) E, 0, 0),
			.proj = matrix(E, E), .proj_bias = floats((size_t) E, 0, 0),
			.fc = matrix(E, 4 * E), .fc_bias = floats(4 * (size_t) E, 0, 0),
			.out = matrix(4 * E, E), .out_bias = floats((size_t) E, 0, 0),
		};
}

/* Rows of which all tokens but the last go in; the last one of each is only a target. */
static void
rows_create(const Shape *s, TrainRow *rows)
{
	static int32_t ids[ROWS][MAX_LENGTH + 1];

	for (int r = 0; r < ROWS; r++)
	{
		rows[r] = (TrainRow) {.ids = {ids[r], (size_t) s->length + 1}};
		for (int i = 0; i <= s->length; i++)
			ids[r][i] = (int32_t) (next_random() % (uint64_t) s->vocabulary);
	}
}

static void
answer(Train *t, int steps)
{
	double		begin = now(CLOCK_MONOTONIC),
				cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	int64_t		tokens = 0;
	TrainReport report = {0};
	struct rusage used;

	for (int i = 0; i < steps; i++)
	{
		must(train_step(t, &report, &err));
		tokens += report.tokens;
	}
	begin = now(CLOCK_MONOTONIC) - begin;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	getrusage(RUSAGE_SELF, &used);
	printf("{\"seconds\": %.4f, \"cpu\": %.4f, \"tokens\": %lld, \"loss\": %.4f, \"peak_mb\": %ld}\n", begin, cpu,
		   (long long) tokens, report.loss, used.ru_maxrss / 1024);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	static TrainRow rows[ROWS];
	TrainData	data = {.n_row = ROWS, .rows = rows};
	TrainOptions o = train_defaults;
	const Shape *shape = &shapes[argc > 3 && strcmp(argv[3], "base") == 0];
	Gpt2Model	model;
	Train	   *t;
	int			steps;

	fsi_arena_init(&arena, &fsi_host_malloc);
	model_create(shape, &model);
	rows_create(shape, rows);
	o.max_steps = INT64_C(1) << 40;
	o.per_device_train_batch_size = shape->batch;
	o.threads = argc > 1 ? atoi(argv[1]) : 1;
	o.embd_pdrop = o.resid_pdrop = o.attn_pdrop = argc > 2 ? atof(argv[2]) : train_defaults.embd_pdrop;
	must(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &model, &o, &data, &t, &err));
	fsi_arena_free(&arena);		/* the trainer has its own copy */
	printf("{\"level\": \"%s\"}\n", kern_ops(KERN_AUTO)->name);
	fflush(stdout);
	while (scanf(" steps %d", &steps) == 1)
		answer(t, steps);
	train_destroy(t);
	return 0;
}
