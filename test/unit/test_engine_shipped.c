/*
 * test_engine_shipped.c
 *	  The shipped model against the PyTorch code that trained it: token ids, segments'
 *	  vectors and whole readouts of the recipe's test vectors (models/recipe/vectors.py).
 *
 * Reads models/small-1.fsi and models/small-1.vectors.json, or what FSI_MODEL and
 * FSI_VECTORS name.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "fsi_format.h"
#include "must.h"
#include "tap.h"

enum { MAX_SEGMENTS = 16, MAX_TOKENS = 4096 };

static FsiArena arena;
static FsiFile file;
static Gpt2Model f32;
static Gpt2Work *work;

static const char *
path_of(const char *variable, const char *otherwise)
{
	const char *path = getenv(variable);

	return path != NULL && path[0] != '\0' ? path : otherwise;
}

static TokIds
encode(const char *text)
{
	TokIds		ids;

	must(tok_encode_plain(&file.tok, text, strlen(text), &arena, &ids, &err));
	return ids;
}

/* ---- texts ---- */

static void
test_texts(const json_t *texts)
{
	int			E = f32.cfg.n_embd,
				n = (int) json_array_size(texts),
				equal = 0,
				compared = 0;
	double		worst = 0,
				lowest = 1,
				mean = 0;

	for (int i = 0; i < n; i++)
	{
		const json_t *text = json_array_get(texts, i),
				   *ids = json_object_get(text, "ids"),
				   *z = json_object_get(text, "z");
		int			n_ids = (int) json_array_size(ids);
		int32_t		tokens[MAX_TOKENS];
		TokIds		inner = {tokens, n_ids - 2},
					got = encode(json_string_value(json_object_get(text, "text")));
		float	   *exact = fsi_arena_array(&arena, E, sizeof(float)),
				   *rounded = fsi_arena_array(&arena, E, sizeof(float));
		double		cosine = 0;

		for (int t = 1; t < n_ids - 1; t++)
			tokens[t - 1] = (int32_t) json_integer_value(json_array_get(ids, t));
		if (n_ids < f32.cfg.n_positions)	/* the recipe cuts longer ones at the end */
		{
			compared++;
			equal += got.n == inner.n && memcmp(got.ids, tokens, got.n * sizeof(int32_t)) == 0;
		}
		must(segment_encode(&f32, work, 1, &inner, exact, NULL, &arena, &err));
		must(segment_encode(&file.model, work, 1, &inner, rounded, NULL, &arena, &err));
		for (int k = 0; k < E; k++)
		{
			double		want = json_number_value(json_array_get(z, k));

			worst = fmax(worst, fabs(exact[k] - want));
			cosine += want * rounded[k];
		}
		lowest = fmin(lowest, cosine);
		mean += cosine / n;
	}
	ok(n > 0 && equal == compared, "token ids of %d of %d texts equal the recipe's", equal, compared);
	ok(n > 0 && worst < 1e-4, "f32 vectors of %d texts within 1e-4 (%.1e)", n, worst);
	ok(lowest > 0.98 && mean > 0.998, "int8 vectors: cosine %.5f on the mean, %.5f at least", mean, lowest);
}

/* ---- episodes ---- */

static const SegmentVec *
segment(const Gpt2Model *model, const char *text, bool message)
{
	int			E = model->cfg.n_embd;
	SegmentVec *vec = fsi_arena_array(&arena, 1, sizeof(SegmentVec));
	float	   *z = fsi_arena_array(&arena, E, sizeof(float)),
			   *proj = fsi_arena_array(&arena, E, sizeof(float));
	TokIds		ids = encode(text);
	char	   *normal;
	size_t		len;

	must(segment_encode(model, work, 1, &ids, z, NULL, &arena, &err));
	segment_project(model, kern_ops(KERN_AUTO), 1, z, message, proj);
	vec->proj = proj;
	must(tok_normalize(&file.tok, text, strlen(text), &arena, &normal, &len, &err));
	must(spell_features(normal, len, file.spelling_idf, &arena, &vec->spell, &err));
	return vec;
}

/* False when the candidate has more descriptions than the engine takes. */
static bool
read_candidate(const Gpt2Model *model, const json_t *json, PointingCandidate *out)
{
	const json_t *told = json_object_get(json, "descriptions"),
			   *shown = json_object_get(json, "examples");
	const SegmentVec **examples = fsi_arena_array(&arena, MAX_SEGMENTS, sizeof(*examples));

	*out = (PointingCandidate) {.name = segment(model, json_string_value(json_object_get(json, "name")), false),
		.n_example = (int) json_array_size(shown), .examples = examples};
	for (int i = 0; i < out->n_example; i++)
		examples[i] = segment(model, json_string_value(json_array_get(shown, i)), false);
	if (json_array_size(told) > 0)
		out->description = segment(model, json_string_value(json_array_get(told, 0)), false);
	return json_array_size(told) < 2;
}

/* Largest distance of logits, and of scores where all candidates could be read. */
static void
compare_episode(const Gpt2Model *model, const json_t *e, double *logits_off, double *scores_off)
{
	const json_t *list = json_object_get(e, "candidates"),
			   *logits = json_object_get(e, "logits"),
			   *scores = json_object_get(e, "scores");
	bool		other = json_is_true(json_object_get(e, "other")),
				readable[MAX_SEGMENTS],
				all = true;
	int			n = (int) json_array_size(list);
	PointingCandidate c[MAX_SEGMENTS];
	const float *direction;
	double		logit[MAX_SEGMENTS],
				prob[MAX_SEGMENTS + 1];

	for (int i = 0; i < n; i++)
		all &= readable[i] = read_candidate(model, json_array_get(list, i), &c[i]);
	must(pointing_discriminant(model, n, c, &arena, &direction, &err));
	must(pointing_score(model, kern_ops(KERN_AUTO),
						segment(model, json_string_value(json_object_get(e, "text")), true), n, c, NULL, direction, other,
						logit, prob, &arena, &err));
	for (int i = 0; i < n; i++)
		if (readable[i])
			*logits_off = fmax(*logits_off, fabs(logit[i] - json_number_value(json_array_get(logits, i))));
	for (int i = 0; all && i < n + other; i++)
		*scores_off = fmax(*scores_off, fabs(prob[i] - json_number_value(json_array_get(scores, i))));
}

static void
test_episodes(const json_t *episodes)
{
	int			n = (int) json_array_size(episodes);
	double		logits = 0,
				scores = 0,
				rounded = 0,
				ignored = 0;

	for (int i = 0; i < n; i++)
	{
		compare_episode(&f32, json_array_get(episodes, i), &logits, &scores);
		compare_episode(&file.model, json_array_get(episodes, i), &ignored, &rounded);
	}
	ok(n > 0 && logits < 2e-3, "f32 logits of %d episodes within 2e-3 (%.1e)", n, logits);
	ok(n > 0 && scores < 1e-3, "... scores within 1e-3 (%.1e)", scores);
	ok(n > 0 && rounded < 0.15, "... int8 scores within 0.15 (%.1e)", rounded);
}

int
main(void)
{
	const char *model = path_of("FSI_MODEL", "models/small-1.fsi"),
			   *vectors = path_of("FSI_VECTORS", "models/small-1.vectors.json");
	json_t	   *root = json_load_file(vectors, 0, NULL);
	void	   *map;
	size_t		size;

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (access(model, R_OK) != 0 || root == NULL)
	{
		skip("%s or %s is not there", model, vectors);
		return tap_done();
	}
	must(fsifile_map(model, &map, &size, &err));
	must(fsifile_open(map, size, &arena, &file, &err));
	if (kern_blas_load(&err) != FSI_OK)
	{
		skip("%s", err.message);
		return tap_done();
	}
	must(fsifile_dequantize(&file, &arena, &f32, &err));
	must(gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err));
	test_texts(json_object_get(root, "texts"));
	test_episodes(json_object_get(root, "episodes"));
	gpt2_work_destroy(work);
	json_decref(root);
	fsi_arena_free(&arena);
	fsifile_unmap(map, size);
	return tap_done();
}
