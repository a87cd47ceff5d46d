/*
 * test_engine_reference.c
 *	  Checkpoints that others trained, against the outputs of transformers that are kept
 *	  beside them: logits, greedy continuations; and how near the int8 engine comes.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "fsi_format.h"
#include "must.h"
#include "tap.h"

#define TOLERANCE 2e-4

static const char *const checkpoints[] = {
	"capp-gpt", "chemts-gpt2-0.2m", "chemts-gpt2-0.5m", "gpt-nano-sort", "tiny-gpt2-bpe", "tiny-qa-char",
};


typedef struct Reference
{
	FsiArena	arena;
	Gpt2Model	f32,
				i8;
	json_t	   *root;
	json_t	   *prompts;
	int			n_prompt;
	const float *last;			/* [n_prompt][n_vocab], logits_last.npy */
	Gpt2Work   *work;
} Reference;

/* A two-dimensional little-endian f4 array in C order, numpy's format version 1. */
static const float *
npy_read(const char *path, FsiArena *arena, int rows, int columns)
{
	uint8_t    *data;
	size_t		len,
				header;
	char		shape[64];

	if (fsi_read_file(path, (size_t) 1 << 30, arena, &data, &len, &err) != FSI_OK || len < 10 ||
		memcmp(data, "\x93NUMPY\x01", 7) != 0)
		return NULL;
	header = 10 + data[8] + 256 * data[9];
	snprintf(shape, sizeof(shape), "'shape': (%d, %d)", rows, columns);
	if (len != header + (size_t) rows * columns * sizeof(float) || memmem(data, header, "'<f4'", 5) == NULL ||
		memmem(data, header, "'fortran_order': False", 22) == NULL ||
		memmem(data, header, shape, strlen(shape)) == NULL)
		return NULL;
	return (const float *) (data + header);
}

static bool
open_reference(const char *shared, const char *name, Reference *r)
{
	char		path[1024];
	HfModel		hf;

	memset(r, 0, sizeof(*r));
	fsi_arena_init(&r->arena, &fsi_host_malloc);
	snprintf(path, sizeof(path), "%s/reference/models/%s", shared, name);
	if (hf_read_dir(path, 0, &r->arena, &hf, &err) != FSI_OK)
		return ok(false, "%s: %s", name, err.message);
	r->f32 = hf.model;
	if (gpt2_quantize(&r->f32, &r->arena, &r->i8, &err) != FSI_OK ||
		gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &r->work, &err) != FSI_OK)
		return ok(false, "%s: %s", name, err.message);
	snprintf(path, sizeof(path), "%s/reference/models/%s/reference.json", shared, name);
	r->root = json_load_file(path, 0, NULL);
	r->prompts = json_object_get(r->root, "prompts");
	r->n_prompt = (int) json_array_size(r->prompts);
	snprintf(path, sizeof(path), "%s/reference/models/%s/logits_last.npy", shared, name);
	r->last = npy_read(path, &r->arena, r->n_prompt, r->f32.cfg.n_vocab);
	return r->n_prompt > 0 && r->last != NULL ? true : ok(false, "%s: reference unreadable", name);
}

static void
close_reference(Reference *r)
{
	gpt2_work_destroy(r->work);
	json_decref(r->root);
	fsi_arena_free(&r->arena);
}

static int
read_ids(const json_t *list, int32_t *ids)
{
	int			n = (int) json_array_size(list);

	for (int i = 0; i < n; i++)
		ids[i] = (int32_t) json_integer_value(json_array_get(list, i));
	return n;
}

/* Logits of every position of a prompt: [n][n_vocab]. */
static float *
all_logits(Reference *r, const Gpt2Model *model, int n, const int32_t *ids)
{
	Gpt2Seq		seq = {.n_token = n, .tokens = ids};
	float	   *hidden = fsi_arena_array(&r->arena, (size_t) n * model->cfg.n_embd, sizeof(float)),
			   *logits = fsi_arena_array(&r->arena, (size_t) n * model->cfg.n_vocab, sizeof(float));

	if (gpt2_forward(model, r->work, 1, &seq, GPT2_ALL, hidden, &err) != FSI_OK ||
		gpt2_logits(model, r->work, n, hidden, logits, &err) != FSI_OK)
	{
		printf("Bail out! %s\n", err.message);
		exit(1);
	}
	return logits;
}

/* KL(p || q) of two rows of logits, and whether they agree on the best token. */
static double
divergence(int n, const float *p, const float *q, bool *same)
{
	double		p_sum = 0,
				q_sum = 0,
				kl = 0;
	int			p_best = 0,
				q_best = 0;

	for (int i = 0; i < n; i++)
	{
		p_best = p[i] > p[p_best] ? i : p_best;
		q_best = q[i] > q[q_best] ? i : q_best;
	}
	for (int i = 0; i < n; i++)
	{
		p_sum += exp((double) p[i] - p[p_best]);
		q_sum += exp((double) q[i] - q[q_best]);
	}
	for (int i = 0; i < n; i++)
	{
		double		log_p = (double) p[i] - p[p_best] - log(p_sum);

		kl += exp(log_p) * (log_p - ((double) q[i] - q[q_best] - log(q_sum)));
	}
	*same = p_best == q_best;
	return kl;
}

static bool
greedy_equals(Reference *r, int n, const int32_t *ids, int n_want, const int32_t *want)
{
	SampleOptions greedy = {.max_new_tokens = n_want, .top_p = 1, .repetition_penalty = 1};
	Gpt2Model	endless = r->f32;
	TokIds		got;

	endless.cfg.end = TOK_NONE; /* the reference keeps the end token it stopped at */
	if (gpt2_generate(&endless, r->work, ids, n, &greedy, &r->arena, &got, &err) != FSI_OK)
		return false;
	return (int) got.n == n_want && memcmp(got.ids, want, n_want * sizeof(int32_t)) == 0;
}

static void
test_checkpoint(const char *shared, const char *name)
{
	Reference	r;
	int			V,
				equal = 0,
				rows = 0,
				agree = 0;
	double		worst = 0,
				worst_last = 0,
				kl = 0;

	if (!open_reference(shared, name, &r))
		return;
	V = r.f32.cfg.n_vocab;
	for (int p = 0; p < r.n_prompt; p++)
	{
		json_t	   *prompt = json_array_get(r.prompts, p),
				   *stored = json_object_get(prompt, "logits");
		int32_t		ids[1024],
					want[1024];
		int			n = read_ids(json_object_get(prompt, "ids"), ids),
					n_want = read_ids(json_object_get(prompt, "greedy_ids"), want);
		float	   *logits = all_logits(&r, &r.f32, n, ids),
				   *rounded = all_logits(&r, &r.i8, n, ids);

		for (int i = 0; i < V; i++)
			worst_last = fmax(worst_last, fabs(logits[(size_t) (n - 1) * V + i] - r.last[(size_t) p * V + i]));
		for (int t = 0; stored != NULL && t < n; t++)
			for (int i = 0; i < V; i++)
				worst = fmax(worst, fabs(logits[(size_t) t * V + i] -
										 json_number_value(json_array_get(json_array_get(stored, t), i))));
		equal += greedy_equals(&r, n, ids, n_want, want);
		for (int t = 0; t < n; t++, rows++)
		{
			bool		same;

			kl += divergence(V, logits + (size_t) t * V, rounded + (size_t) t * V, &same);
			agree += same;
		}
	}
	ok(worst_last < TOLERANCE, "%s: logits of %d last positions within 2e-4 (%.1e)", name, r.n_prompt, worst_last);
	if (worst > 0)
		ok(worst < TOLERANCE, "... and of all %d positions (%.1e)", rows, worst);
	ok(equal == r.n_prompt, "... %d of %d greedy continuations equal", equal, r.n_prompt);
	ok(kl / rows < 0.05 && agree > 0.9 * rows, "... int8: mean KL %.1e, best token the same in %.1f%% of %d",
	   kl / rows, 100.0 * agree / rows, rows);
	close_reference(&r);
}

int
main(void)
{
	const char *shared = tap_shared();

	if (shared == NULL)
		skip("no shared material: set FSI_SHARED");
	else if (kern_blas_load(&err) != FSI_OK)
		skip("%s", err.message);
	else
		for (size_t i = 0; i < sizeof(checkpoints) / sizeof(checkpoints[0]); i++)
			test_checkpoint(shared, checkpoints[i]);
	return tap_done();
}
