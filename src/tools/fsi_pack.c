/*
 * fsi_pack.c
 *	  Make and examine packed model files from the command line.
 *
 *	fsi_pack [--token-type-ids] DIR OUT.fsi
 *										pack a Hugging Face directory; wte[0] added to every position
 *	fsi_pack --info FILE				header and card
 *	fsi_pack --verify FILE				hash and every weight
 *	fsi_pack --unpack FILE DIR			write a Hugging Face directory from a packed file
 *	fsi_pack --random N_LAYER N_HEAD N_EMBD VOCAB N_POSITIONS SEED DIR OUT.fsi
 *										random weights of that shape with DIR's tokenizer, for benchmarks
 */
#include "fsi_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int
usage(void)
{
	fprintf(stderr,
			"usage: fsi_pack [--token-type-ids] DIR OUT.fsi\n"
			"       fsi_pack --info FILE\n"
			"       fsi_pack --verify FILE\n"
			"       fsi_pack --unpack FILE DIR\n"
			"       fsi_pack --random N_LAYER N_HEAD N_EMBD VOCAB N_POSITIONS SEED DIR OUT.fsi\n");
	return 2;
}

static int
failed(const FsiError *err)
{
	fprintf(stderr, "fsi_pack: %s\n", err->message);
	if (err->detail[0] != '\0')
		fprintf(stderr, "detail: %s\n", err->detail);
	if (err->hint[0] != '\0')
		fprintf(stderr, "hint: %s\n", err->hint);
	return 1;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static const char *
activation_name(KernAct act)
{
	switch (act)
	{
		case KERN_ACT_GELU_NEW:
			return "gelu_new";
		case KERN_ACT_GELU:
			return "gelu";
		case KERN_ACT_RELU:
			return "relu";
		default:
			return "none";
	}
}

static void
print_identity(const uint8_t sha256[FSI_SHA256_BYTES])
{
	char		hex[2 * FSI_SHA256_BYTES + 1];

	fsi_hex(sha256, FSI_SHA256_BYTES, hex);
	printf("identity     %s\n", hex);
}

static void
print_config(const Gpt2Model *model)
{
	const Gpt2Config *cfg = &model->cfg;

	printf("layout       %s\n", cfg->layout == GPT2_SEGMENTS ? "segments" : "prompt");
	printf("shape        %d layers, %d heads, width %d, inner %d, %d positions, vocabulary %d\n",
		   cfg->n_layer, cfg->n_head, cfg->n_embd, cfg->n_inner, cfg->n_positions, cfg->n_vocab);
	printf("arithmetic   %s, layer norm epsilon %g, head %s%s%s\n", activation_name(cfg->act), (double) cfg->ln_eps,
		   cfg->tied ? "tied" : "of its own", cfg->scale_attn_weights ? "" : ", unscaled attention",
		   cfg->scale_attn_by_inverse_layer_idx ? ", attention scaled by layer" : "");
	printf("tokens       begin %d, end of prompt %d, end %d\n", cfg->begin, cfg->end_prompt, cfg->end);
	if (cfg->layout == GPT2_SEGMENTS)
		printf("readout      spelling %g, description %g, sharpness %g, name share %g, discriminant %g (ridge %g), "
			   "other %g + %g logsumexp\n",
			   model->pointing.spelling_weight, model->pointing.description_weight,
			   model->pointing.example_sharpness, model->pointing.name_share, model->pointing.discriminant_share,
			   model->pointing.discriminant_ridge, model->pointing.other_logit, model->pointing.other_share);
}

/* Map, open, print; verify also when asked. */
static int
examine(const char *path, bool verify)
{
	FsiError	err;
	FsiArena	arena;
	FsiFile		file;
	void	   *map;
	size_t		size;
	FsiStatus	status;
	double		start = now(),
				opened,
				verified;

	if (fsifile_map(path, &map, &size, &err) != FSI_OK)
		return failed(&err);
	fsi_arena_init(&arena, &fsi_host_malloc);
	status = fsifile_open(map, size, &arena, &file, &err);
	opened = now();
	if (status == FSI_OK && verify)
		status = fsifile_verify(&file, &fsi_host_malloc, &err);
	verified = now();
	if (status == FSI_OK)
	{
		print_identity(file.sha256);
		printf("size         %zu bytes\n", size);
		print_config(&file.model);
		printf("tokenizer    %s\n", !file.has_tokenizer ? "none" :
			   file.tok.kind == TOK_WORDPIECE ? "WordPiece" : "byte-level BPE");
		printf("card         %.*s\n", (int) file.card_len, file.card);
		printf("time         opened in %.3f ms", (opened - start) * 1e3);
		if (verify)
			printf(", verified in %.1f ms", (verified - opened) * 1e3);
		printf("\n");
	}
	fsi_arena_free(&arena);
	fsifile_unmap(map, size);
	return status == FSI_OK ? 0 : failed(&err);
}

static int
pack(const HfModel *src, const char *out)
{
	uint8_t		sha256[FSI_SHA256_BYTES];
	FsiError	err;

	if (fsifile_write(out, src, &fsi_host_malloc, sha256, &err) != FSI_OK)
		return failed(&err);
	return examine(out, true);
}

static int
pack_directory(const char *dir, unsigned how, const char *out)
{
	FsiArena	arena;
	FsiError	err;
	HfModel		src;
	int			result;

	fsi_arena_init(&arena, &fsi_host_malloc);
	result = hf_read_dir(dir, HF_NEED_TOKENIZER | how, &arena, &src, &err) == FSI_OK ? pack(&src, out) : failed(&err);
	fsi_arena_free(&arena);
	return result;
}

static int
unpack(const char *path, const char *dir)
{
	FsiError	err;
	FsiArena	arena;
	FsiFile		file;
	void	   *map;
	size_t		size;
	FsiStatus	status;

	if (fsifile_map(path, &map, &size, &err) != FSI_OK)
		return failed(&err);
	fsi_arena_init(&arena, &fsi_host_malloc);
	status = fsifile_open(map, size, &arena, &file, &err);
	if (status == FSI_OK && !file.has_tokenizer)
		status = fsi_fail(&err, FSI_UNSUPPORTED, "model file \"%s\" has no tokenizer", path);
	if (status == FSI_OK)
	{
		HfExport	src = {
			.model = &file.model, .tok = &file.tok, .spelling_idf = file.spelling_idf,
			.card = file.card, .card_len = file.card_len,
		};

		status = hf_write_dir(dir, &src, &fsi_host_malloc, &err);
	}
	fsi_arena_free(&arena);
	fsifile_unmap(map, size);
	return status == FSI_OK ? 0 : failed(&err);
}

/* ---- Random weights ---- */

typedef struct Random
{
	uint64_t	state;
	FsiArena   *arena;
	bool		nomem;
} Random;

/* splitmix64: the same numbers on every machine. */
static uint64_t
random_next(Random *r)
{
	return fsi_mix64(r->state += FSI_GOLDEN64);
}

/* About N(0, 0.02): the sum of twelve 16-bit uniforms has variance 1 and needs no libm. */
static float
random_weight(Random *r)
{
	int32_t		sum = 0;

	for (int i = 0; i < 3; i++)
	{
		uint64_t	bits = random_next(r);

		sum += (int32_t) (bits & 0xffff) + (int32_t) (bits >> 16 & 0xffff) + (int32_t) (bits >> 32 & 0xffff) +
			(int32_t) (bits >> 48);
	}
	return (float) (sum - 6 * 65535) * (0.02f / 65536.0f);
}

static const float *
random_floats(Random *r, size_t n)
{
	float	   *x = fsi_arena_array(r->arena, n, sizeof(float));

	for (size_t i = 0; x != NULL && i < n; i++)
		x[i] = random_weight(r);
	r->nomem |= x == NULL;
	return x;
}

static const float *
constant_floats(Random *r, int n, float value)
{
	float	   *x = fsi_arena_array(r->arena, (size_t) n, sizeof(float));

	for (int i = 0; x != NULL && i < n; i++)
		x[i] = value;
	r->nomem |= x == NULL;
	return x;
}

static KernMatrix
random_matrix(Random *r, int k, int n, bool transposed)
{
	return (KernMatrix) {.type = KERN_F32, .k = k, .n = n, .transposed = transposed,
		.w = random_floats(r, (size_t) k * (size_t) n)};
}

/* As GPT-2 is initialised: matrices N(0, 0.02), gains 1, biases 0. */
static void
random_model(Random *r, Gpt2Model *model)
{
	const Gpt2Config *cfg = &model->cfg;
	const int	d = cfg->n_embd;

	model->wte = model->head = random_matrix(r, d, cfg->n_vocab, true);
	model->wpe = random_floats(r, (size_t) cfg->n_positions * (size_t) d);
	model->lnf_gain = constant_floats(r, d, 1);
	model->lnf_bias = constant_floats(r, d, 0);
	model->layers = fsi_arena_zero(r->arena, (size_t) cfg->n_layer, sizeof(Gpt2Layer));
	if (model->layers == NULL)
		r->nomem = true;
	for (int i = 0; model->layers != NULL && i < cfg->n_layer; i++)
		model->layers[i] = (Gpt2Layer) {
			.ln1_gain = constant_floats(r, d, 1), .ln1_bias = constant_floats(r, d, 0),
			.qkv = random_matrix(r, d, 3 * d, false), .qkv_bias = constant_floats(r, 3 * d, 0),
			.proj = random_matrix(r, d, d, false), .proj_bias = constant_floats(r, d, 0),
			.ln2_gain = constant_floats(r, d, 1), .ln2_bias = constant_floats(r, d, 0),
			.fc = random_matrix(r, d, cfg->n_inner, false), .fc_bias = constant_floats(r, cfg->n_inner, 0),
			.out = random_matrix(r, cfg->n_inner, d, false), .out_bias = constant_floats(r, d, 0),
		};
}

/* The tokens that begin and end texts, from the tokenizer alone. */
static FsiStatus
random_tokenizer(const char *dir, FsiArena *arena, HfModel *src, FsiError *err)
{
	Gpt2Config *cfg = &src->model.cfg;
	Tokenizer	tok;
	TokMarks	marks;

	FSI_TRY(tok_build_dir(dir, cfg->n_vocab, arena, &src->tokenizer, &src->tokenizer_len, &marks, err));
	FSI_TRY(tok_open(src->tokenizer, src->tokenizer_len, &tok, err));
	cfg->begin = marks.known ? marks.first : tok.kind == TOK_WORDPIECE ? tok.cls : TOK_NONE;
	cfg->end_prompt = marks.known ? marks.last : tok.kind == TOK_WORDPIECE ? tok.sep : TOK_NONE;
	cfg->end = tok.kind == TOK_WORDPIECE ? tok.sep : tok.eos;
	if (cfg->end == TOK_NONE)
		return fsi_fail(err, FSI_UNSUPPORTED, "the tokenizer has no token that ends an answer");
	return FSI_OK;
}

static bool
parse_number(const char *text, long long high, long long *out)
{
	char	   *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *out >= 0 && *out <= high;
}

static int
pack_random(char **arg)
{
	static char card[] = "{\"name\": \"random\", \"quirks\": [\"random weights: for benchmarks only\"]}";
	static const long long high[6] = {1024, 1 << 16, 1 << 14, 1 << 22, 1 << 20, INT64_MAX};
	long long	number[6];
	HfModel		src = {.card = card, .card_len = sizeof(card) - 1};
	FsiArena	arena;
	FsiError	err;
	Random		r = {.arena = &arena};
	int			result;

	for (int i = 0; i < 6; i++)
		if (!parse_number(arg[i], high[i], &number[i]))
			return usage();
	src.model.cfg = (Gpt2Config) {
		.n_layer = (int) number[0], .n_head = (int) number[1], .n_embd = (int) number[2],
		.n_inner = 4 * (int) number[2], .n_vocab = (int) number[3], .n_positions = (int) number[4],
		.act = KERN_ACT_GELU_NEW, .ln_eps = 1e-5f, .tied = true, .scale_attn_weights = true, .layout = GPT2_PROMPT,
	};
	r.state = (uint64_t) number[5];
	fsi_arena_init(&arena, &fsi_host_malloc);
	if (random_tokenizer(arg[6], &arena, &src, &err) != FSI_OK)
		result = failed(&err);
	else
	{
		random_model(&r, &src.model);
		if (r.nomem)
			fsi_nomem(&err, arena.bytes);
		result = r.nomem ? failed(&err) : pack(&src, arg[7]);
	}
	fsi_arena_free(&arena);
	return result;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--info") == 0)
		return examine(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "--verify") == 0)
		return examine(argv[2], true);
	if (argc == 4 && strcmp(argv[1], "--unpack") == 0)
		return unpack(argv[2], argv[3]);
	if (argc == 10 && strcmp(argv[1], "--random") == 0)
		return pack_random(argv + 2);
	if (argc == 3 && argv[1][0] != '-')
		return pack_directory(argv[1], 0, argv[2]);
	if (argc == 4 && strcmp(argv[1], "--token-type-ids") == 0)
		return pack_directory(argv[2], HF_TOKEN_TYPES, argv[3]);
	return usage();
}
