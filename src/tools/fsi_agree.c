/*
 * fsi_agree.c
 *	  How far the exact int8 engine's answers are from the float engine's, on evaluation episodes.
 *
 *	  fsi_agree MODEL.fsi [--float DIR] [--limit N] EPISODES.jsonl …
 *
 * For segments models.  Each episode (a line of JSON: intents, examples, text, intent) is
 * answered twice: by the packed file, and by f32 weights through OpenBLAS: those of the
 * Hugging Face directory DIR the file was made from, or else the file's own, dequantised.
 * Prints the share of equal labels, the mean Kullback-Leibler divergence of the scores
 * (float from int8, nats) and both accuracies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fsi_engine.h"
#include "fsi_format.h"

#define MAX_SEGMENTS 4096

typedef struct Episode
{
	int			n_intent,
				n_example;
	const char *text[MAX_SEGMENTS];	/* message, intents, examples */
	int			owner[MAX_SEGMENTS];	/* of an example: its intent's number */
	const char *gold;
} Episode;

typedef struct Tally
{
	int			episodes,
				equal,
				right_int8,
				right_float;
	double		kl;
} Tally;

static void
die(const FsiError *err)
{
	fprintf(stderr, "fsi_agree: %s\n%s%s%s%s", err->message, err->detail, err->detail[0] ? "\n" : "",
			err->hint, err->hint[0] ? "\n" : "");
	exit(1);
}

static void
check(FsiStatus status, const FsiError *err)
{
	if (status != FSI_OK)
		die(err);
}

static const char *
string_of(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	if (s == NULL)
	{
		fprintf(stderr, "fsi_agree: an episode lacks the string \"%s\"\n", key);
		exit(1);
	}
	return s;
}

/* Fill *e from a line's object; its strings live as long as the object. */
static void
read_episode(json_t *line, Episode *e)
{
	json_t	   *intents = json_object_get(line, "intents");
	json_t	   *examples = json_object_get(line, "examples");
	int			n = 0;

	e->n_intent = (int) json_array_size(intents);
	e->n_example = (int) json_array_size(examples);
	if (e->n_intent < 1 || 1 + e->n_intent + e->n_example > MAX_SEGMENTS)
	{
		fprintf(stderr, "fsi_agree: an episode has %d intents and %d examples\n", e->n_intent, e->n_example);
		exit(1);
	}
	e->text[n++] = string_of(line, "text");
	e->gold = string_of(line, "intent");
	for (int i = 0; i < e->n_intent; i++)
	{
		e->text[n] = json_string_value(json_array_get(intents, (size_t) i));
		if (e->text[n++] == NULL)
		{
			fprintf(stderr, "fsi_agree: an intent is not a string\n");
			exit(1);
		}
	}
	for (int i = 0; i < e->n_example; i++)
	{
		json_t	   *example = json_array_get(examples, (size_t) i);
		const char *intent = string_of(example, "intent");
		int			owner = 0;

		while (owner < e->n_intent && strcmp(e->text[1 + owner], intent) != 0)
			owner++;
		if (owner == e->n_intent)
		{
			fprintf(stderr, "fsi_agree: an example's intent \"%s\" is not among the intents\n", intent);
			exit(1);
		}
		e->owner[n] = owner;
		e->text[n++] = string_of(example, "text");
	}
}

/* Scores of one episode's intents: prob[n_intent]; returns the best one's number. */
static int
answer(const Gpt2Model *model, Gpt2Work *work, const FsiFile *file, const Episode *e,
	   double *prob, FsiArena *arena, FsiError *err)
{
	int			n = 1 + e->n_intent + e->n_example;
	int			d = model->cfg.n_embd;
	TokIds	   *ids = fsi_arena_array(arena, (size_t) n, sizeof(TokIds));
	SegmentVec *vec = fsi_arena_array(arena, (size_t) n, sizeof(SegmentVec));
	float	   *z = fsi_arena_array(arena, (size_t) n * (size_t) d, sizeof(float));
	float	   *proj = fsi_arena_array(arena, (size_t) n * (size_t) d, sizeof(float));
	PointingCandidate *candidates = fsi_arena_zero(arena, (size_t) e->n_intent, sizeof(PointingCandidate));
	const SegmentVec **examples = fsi_arena_array(arena, (size_t) n, sizeof(SegmentVec *));
	const float *direction;
	double	   *logit = fsi_arena_array(arena, (size_t) e->n_intent, sizeof(double));
	double	   *with_other = fsi_arena_array(arena, (size_t) e->n_intent + 1, sizeof(double));
	int			best = 0,
				used = 0;

	if (ids == NULL || vec == NULL || z == NULL || proj == NULL || candidates == NULL ||
		examples == NULL || logit == NULL || with_other == NULL)
		check(fsi_nomem(err, 0), err);
	for (int i = 0; i < n; i++)
	{
		char	   *normalised;
		size_t		len;

		check(tok_encode_plain(&file->tok, e->text[i], strlen(e->text[i]), arena, &ids[i], err), err);
		check(tok_normalize(&file->tok, e->text[i], strlen(e->text[i]), arena, &normalised, &len, err), err);
		check(spell_features(normalised, len, file->spelling_idf, arena, &vec[i].spell, err), err);
	}
	check(segment_encode(model, work, n, ids, z, NULL, arena, err), err);
	segment_project(model, gpt2_work_ops(work), 1, z, true, proj);
	segment_project(model, gpt2_work_ops(work), n - 1, z + d, false, proj + d);
	for (int i = 0; i < n; i++)
		vec[i].proj = proj + (size_t) i * (size_t) d;
	for (int c = 0; c < e->n_intent; c++)
	{
		candidates[c].name = &vec[1 + c];
		candidates[c].examples = examples + used;
		for (int i = 1 + e->n_intent; i < n; i++)
			if (e->owner[i] == c)
			{
				examples[used++] = &vec[i];
				candidates[c].n_example++;
			}
	}
	check(pointing_discriminant(model, e->n_intent, candidates, arena, &direction, err), err);
	check(pointing_score(model, gpt2_work_ops(work), &vec[0], e->n_intent, candidates, NULL, direction, false,
						 logit, with_other, arena, err), err);
	for (int c = 0; c < e->n_intent; c++)
	{
		prob[c] = with_other[c];
		if (prob[c] > prob[best])
			best = c;
	}
	return best;
}

static void
tally_episode(Tally *t, const Episode *e, int best_int8, const double *p8, int best_float, const double *pf)
{
	t->episodes++;
	t->equal += best_int8 == best_float;
	t->right_int8 += strcmp(e->text[1 + best_int8], e->gold) == 0;
	t->right_float += strcmp(e->text[1 + best_float], e->gold) == 0;
	for (int c = 0; c < e->n_intent; c++)
		if (pf[c] > 0)
			t->kl += pf[c] * (fsi_log(pf[c]) - fsi_log(p8[c] > 1e-300 ? p8[c] : 1e-300));
}

static void
run_file(const char *path, int limit, const FsiFile *file, const Gpt2Model *reference,
		 Gpt2Work *work, Tally *all)
{
	FILE	   *in = fopen(path, "r");
	char	   *line = NULL;
	size_t		cap = 0;
	Tally		t = {0};
	const char *base = strrchr(path, '/');

	if (in == NULL)
	{
		perror(path);
		exit(1);
	}
	while (t.episodes < limit && getline(&line, &cap, in) > 0)
	{
		json_error_t where;
		json_t	   *object = json_loads(line, 0, &where);
		Episode		e;
		FsiArena	arena;
		FsiError	err;
		double		p8[MAX_SEGMENTS],
					pf[MAX_SEGMENTS];
		int			best8,
					bestf;

		if (object == NULL)
		{
			fprintf(stderr, "fsi_agree: %s: %s\n", path, where.text);
			exit(1);
		}
		read_episode(object, &e);
		fsi_arena_init(&arena, &fsi_host_malloc);
		best8 = answer(&file->model, work, file, &e, p8, &arena, &err);
		bestf = answer(reference, work, file, &e, pf, &arena, &err);
		tally_episode(&t, &e, best8, p8, bestf, pf);
		fsi_arena_free(&arena);
		json_decref(object);
	}
	free(line);
	fclose(in);
	printf("%-32s %6d  equal %6.2f %%  KL %.5f  accuracy int8 %5.1f %%  float %5.1f %%\n",
		   base != NULL ? base + 1 : path, t.episodes, 100.0 * t.equal / t.episodes, t.kl / t.episodes,
		   100.0 * t.right_int8 / t.episodes, 100.0 * t.right_float / t.episodes);
	fflush(stdout);
	all->episodes += t.episodes;
	all->equal += t.equal;
	all->right_int8 += t.right_int8;
	all->right_float += t.right_float;
	all->kl += t.kl;
}

int
main(int argc, char **argv)
{
	const char *float_dir = NULL;
	int			limit = 1000000;
	int			arg = 2;
	void	   *map;
	size_t		size;
	FsiArena	arena;
	FsiError	err;
	FsiFile		file;
	HfModel		hf;
	Gpt2Model	reference;
	Gpt2Work   *work;
	Tally		all = {0};

	for (; arg + 1 < argc && strncmp(argv[arg], "--", 2) == 0; arg += 2)
	{
		if (strcmp(argv[arg], "--float") == 0)
			float_dir = argv[arg + 1];
		else if (strcmp(argv[arg], "--limit") == 0)
			limit = atoi(argv[arg + 1]);
		else
			break;
	}
	if (arg >= argc || strncmp(argv[arg], "--", 2) == 0)
	{
		fprintf(stderr, "usage: fsi_agree MODEL.fsi [--float DIR] [--limit N] EPISODES.jsonl ...\n");
		return 2;
	}

	fsi_arena_init(&arena, &fsi_host_malloc);
	check(fsifile_map(argv[1], &map, &size, &err), &err);
	check(fsifile_open(map, size, &arena, &file, &err), &err);
	if (file.model.cfg.layout != GPT2_SEGMENTS)
	{
		fprintf(stderr, "fsi_agree: \"%s\" is not a segments model\n", argv[1]);
		return 1;
	}
	check(kern_blas_load(&err), &err);
	if (float_dir != NULL)
	{
		check(hf_read_dir(float_dir, HF_NEED_TOKENIZER, &arena, &hf, &err), &err);
		reference = hf.model;
	}
	else
		check(fsifile_dequantize(&file, &arena, &reference, &err), &err);
	check(gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err), &err);

	for (; arg < argc; arg++)
		run_file(argv[arg], limit, &file, &reference, work, &all);
	printf("%-32s %6d  equal %6.2f %%  KL %.5f  accuracy int8 %5.1f %%  float %5.1f %%\n",
		   "all", all.episodes, 100.0 * all.equal / all.episodes, all.kl / all.episodes,
		   100.0 * all.right_int8 / all.episodes, 100.0 * all.right_float / all.episodes);
	gpt2_work_destroy(work);
	fsi_arena_free(&arena);
	fsifile_unmap(map, size);
	return 0;
}
