/*
 * test_format_write.c
 *	  A model written as a Hugging Face directory is read back the same; nothing is left of one that fails, and what is
 *	  left of one whose process was killed goes; want of memory is not taken for a damaged file.
 */
#include "format_help.h"

#include <jansson.h>
#include <sys/file.h>
#include <unistd.h>

static HfModel first,
			again;

static FsiStatus
read_dir(const char *dir, HfModel *out)
{
	return hf_read_dir(dir, HF_NEED_TOKENIZER, &arena, out, &err);
}

static FsiStatus
write_model(const char *dir, const HfModel *m, const FsiHost *host)
{
	Tokenizer	tok;
	HfExport	src = {.model = &m->model, .tok = &tok, .spelling_idf = m->spelling_idf, .card = m->card, .card_len = m->card_len};

	FSI_TRY(tok_open(m->tokenizer, m->tokenizer_len, &tok, &err));
	return hf_write_dir(dir, &src, host, &err);
}

static bool
same_matrix(const KernMatrix *a, const KernMatrix *b)
{
	return a->k == b->k && a->n == b->n && a->transposed == b->transposed &&
		memcmp(a->w, b->w, sizeof(float) * (size_t) a->k * (size_t) a->n) == 0;
}

static bool
same_floats(const float *a, const float *b, size_t n)
{
	return memcmp(a, b, n * sizeof(float)) == 0;
}

/* Weights and configuration; eos_token_id may name the token that ends answers, so begin and end are compared. */
static bool
same_model(const Gpt2Model *a, const Gpt2Model *b)
{
	bool		same = memcmp(&a->cfg, &b->cfg, sizeof(a->cfg)) == 0 && same_matrix(&a->wte, &b->wte) &&
		same_matrix(&a->head, &b->head) && same_floats(a->wpe, b->wpe, 96) &&
		same_floats(a->lnf_gain, b->lnf_gain, 8) && same_floats(a->lnf_bias, b->lnf_bias, 8);

	for (int i = 0; same && i < a->cfg.n_layer; i++)
	{
		const Gpt2Layer *x = &a->layers[i],
				   *y = &b->layers[i];

		same = same_matrix(&x->qkv, &y->qkv) && same_matrix(&x->proj, &y->proj) && same_matrix(&x->fc, &y->fc) &&
			same_matrix(&x->out, &y->out) && same_floats(x->qkv_bias, y->qkv_bias, 24) &&
			same_floats(x->proj_bias, y->proj_bias, 8) && same_floats(x->fc_bias, y->fc_bias, 32) &&
			same_floats(x->out_bias, y->out_bias, 8) && same_floats(x->ln1_gain, y->ln1_gain, 8) &&
			same_floats(x->ln1_bias, y->ln1_bias, 8) && same_floats(x->ln2_gain, y->ln2_gain, 8) &&
			same_floats(x->ln2_bias, y->ln2_bias, 8);
	}
	if (same && a->cfg.layout == GPT2_SEGMENTS)
		same = same_floats(a->readout_q, b->readout_q, 64) && same_floats(a->readout_k, b->readout_k, 64) &&
			memcmp(&a->pointing, &b->pointing, sizeof(a->pointing)) == 0;
	return same;
}

static void
round_trip(const char *name, TinyModel m, const char *more)
{
	char		out[64];

	m.vocab = 30;
	m.prefix = "transformer.";
	snprintf(out, sizeof(out), "%s-out", name);
	ok(fine(read_dir(tiny_dir(name, &m, more, true), &first)) &&
	   fine(write_model(temp_path(out), &first, &fsi_host_malloc)) && fine(read_dir(temp_path(out), &again)) &&
	   same_model(&first.model, &again.model) && first.tokenizer_len == again.tokenizer_len,
	   "%s: read, written, read", name);
}

#define READOUT \
	", \"bos_token_id\": 2, \"eos_token_id\": 3, \"fsi\": {\"layout\": \"segments\", \"name\": \"a\\\"b\", \"card\": {\"x\": [1]}, " \
	"\"readout\": {\"spelling_weight\": 0.1, \"description_weight\": 1, \"example_sharpness\": 4, \"name_share\": 0.3, " \
	"\"name_scale\": 10.693, \"name_bias\": -4.054, \"both_scale\": 1e-9, \"both_bias\": -4.923, " \
	"\"example_scale\": 6.996, \"example_bias\": -3.5600000000000005, \"other_logit\": 0, \"other_share\": 0.635, " \
	"\"discriminant_share\": 1.5, \"discriminant_ridge\": 0.05}}"

static void
test_round_trips(void)
{
	round_trip("plain", (TinyModel) {0}, "");
	round_trip("arithmetic", (TinyModel) {0}, ", \"activation_function\": \"relu\", \"layer_norm_epsilon\": 1e-6, "
			   "\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true");
	round_trip("gelu", (TinyModel) {0}, ", \"activation_function\": \"gelu\"");
	round_trip("untied", (TinyModel) {.with_head = true}, ", \"tie_word_embeddings\": false");
	ok(!again.model.cfg.tied, "the head is its own");
	round_trip("segments", (TinyModel) {.with_readout = true}, READOUT);
	ok(same_floats(first.spelling_idf, again.spelling_idf, SPELL_BUCKETS), "the spelling's idf comes back");
	ok(first.card_len == again.card_len && memcmp(first.card, again.card, first.card_len) == 0, "name and card: %s",
	   again.card);
}

/* A matrix of one row is a matrix still. */
static void
test_one_row(void)
{
	TinyModel	m = {.vocab = 30, .prefix = ""};
	bool		same = fine(read_dir(tiny_dir("row", &m, "", true), &first));

	first.model.cfg.n_inner = 1;
	for (int i = 0; same && i < first.model.cfg.n_layer; i++)
		first.model.layers[i].fc.n = first.model.layers[i].out.k = 1;
	same = same && fine(write_model(temp_path("row-out"), &first, &fsi_host_malloc)) &&
		fine(read_dir(temp_path("row-out"), &again)) && again.model.cfg.n_inner == 1;
	for (int i = 0; same && i < first.model.cfg.n_layer; i++)
		same = same_matrix(&first.model.layers[i].fc, &again.model.layers[i].fc) &&
			same_matrix(&first.model.layers[i].out, &again.model.layers[i].out);
	ok(same, "a hidden layer of one: read, written, read");
}

/* A packed model, written and packed again, is the same file. */
static void
test_packed(void)
{
	TinyModel	m = {.vocab = 30, .prefix = "", .with_readout = true};
	uint8_t		id[2][FSI_SHA256_BYTES];
	void	   *map;
	size_t		size;
	FsiFile		file;
	bool		good;

	good = fine(read_dir(tiny_dir("packed", &m, READOUT, true), &first)) &&
		fine(fsifile_write(temp_path("one.fsi"), &first, &fsi_host_malloc, id[0], &err)) &&
		fine(fsifile_map(temp_path("one.fsi"), &map, &size, &err)) &&
		fine(fsifile_open(map, size, &arena, &file, &err));
	if (good)
	{
		HfExport	src = {.model = &file.model, .tok = &file.tok, .spelling_idf = file.spelling_idf,
			.card = file.card, .card_len = file.card_len};

		good = fine(hf_write_dir(temp_path("packed-out"), &src, &fsi_host_malloc, &err)) &&
			fine(read_dir(temp_path("packed-out"), &again)) &&
			fine(fsifile_write(temp_path("two.fsi"), &again, &fsi_host_malloc, id[1], &err));
		fsifile_unmap(map, size);
	}
	ok(good && memcmp(id[0], id[1], FSI_SHA256_BYTES) == 0, "packed, written, packed: the same identity");
}

static bool
is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void
test_failures(void)
{
	TinyModel	m = {.vocab = 30, .prefix = "", .with_readout = true};
	FsiHost		host = fsi_host_malloc;
	char		temp[1100];
	const char *dir = temp_path("failed");

	snprintf(temp, sizeof(temp), "%s.tmp-%ld", dir, (long) getpid());
	ok(fine(read_dir(tiny_dir("source", &m, READOUT, true), &first)), "a model");
	ok(refused(write_model(temp_path("source"), &first, &fsi_host_malloc), FSI_IO, "File exists") && err.sys_errno == EEXIST,
	   "a directory that is there");
	ok(refused(write_model(temp_path("no/where"), &first, &fsi_host_malloc), FSI_MISSING, "No such file"), "no parent");
	first.spelling_idf = NULL;
	ok(refused(write_model(dir, &first, &fsi_host_malloc), FSI_INVALID, "idf"), "a segments model without idf");

	/* large enough for the writer to ask whether it should stop */
	host.should_stop = stop_now;
	m = (TinyModel) {.vocab = 40000, .prefix = ""};
	ok(fine(read_dir(tiny_dir("large", &m, "", true), &first)) &&
	   refused(write_model(dir, &first, &host), FSI_CANCELLED, "cancelled"), "cancelled");
	ok(!is_there(dir) && !is_there(temp), "nothing is left");
	ok(fine(write_model(dir, &first, &fsi_host_malloc)) && is_there(dir) && !is_there(temp), "and it can be written");
}

/* A folder of dir's name and an ending, with a file of some name in it; its path, until the next call. */
static const char *
left_over(const char *dir, const char *ending, const char *file)
{
	static char path[1100];
	char		in[1200];
	int			fd;

	snprintf(path, sizeof(path), "%s.tmp-%s", dir, ending);
	snprintf(in, sizeof(in), "%s/%s", path, file);
	mkdir(path, 0755);
	fd = open(in, O_WRONLY | O_CREAT, 0644);
	ok(fd >= 0, "%s in .tmp-%s", file, ending);
	close(fd);
	return path;
}

static bool
is_left(const char *dir, const char *ending, const char *file)
{
	char		path[1200];

	snprintf(path, sizeof(path), "%s.tmp-%s%s%s", dir, ending, file == NULL ? "" : "/", file == NULL ? "" : file);
	return is_there(path);
}

/* What killed processes have left of dir goes when it is written; not what another is writing, nor what is not theirs. */
static void
test_left_overs(void)
{
	TinyModel	m = {.vocab = 30, .prefix = ""};
	char		dir[1000],
				own[32],
				other[1000],
				link[1100];
	int			busy;

	snprintf(dir, sizeof(dir), "%s", temp_path("killed"));
	snprintf(other, sizeof(other), "%s", temp_path("killed-not"));
	snprintf(own, sizeof(own), "%ld", (long) getpid());
	ok(fine(read_dir(tiny_dir("source", &m, "", true), &first)), "a model");
	left_over(dir, "4194305", "config.json");
	left_over(dir, "4194305", "model.safetensors");
	left_over(dir, own, "tokenizer.json");	/* of a process that had this one's number */
	busy = open(left_over(dir, "4194306", "config.json"), O_RDONLY | O_DIRECTORY);
	ok(flock(busy, LOCK_EX) == 0, "another process is at work");
	left_over(dir, "4194307", "config.json");
	left_over(dir, "4194307", "mine.txt");
	left_over(dir, "4194308x", "config.json");
	left_over(dir, "", "config.json");
	left_over(other, "4194309", "config.json");
	snprintf(link, sizeof(link), "%s.tmp-4194310", dir);
	ok(symlink(temp_path("killed-not.tmp-4194309"), link) == 0, "a link");

	ok(fine(write_model(dir, &first, &fsi_host_malloc)) && is_there(dir), "a directory is written");
	ok(!is_left(dir, "4194305", NULL) && !is_left(dir, own, NULL), "what others have left of it goes");
	ok(is_left(dir, "4194306", "config.json"), "what another is writing stays");
	ok(is_left(dir, "4194307", "config.json") && is_left(dir, "4194307", "mine.txt"), "so does a folder with more in it");
	ok(is_left(dir, "4194308x", "config.json") && is_left(dir, "", "config.json"), "one of another name");
	ok(is_left(other, "4194309", "config.json") && is_there(link), "one of another directory, and a link to it");
	close(busy);
	ok(refused(write_model(dir, &first, &fsi_host_malloc), FSI_IO, "File exists") && !is_left(dir, "4194306", NULL),
	   "it goes when its process has, though the directory cannot be written");
}

static int	pieces_left;		/* of memory, until one is refused to Jansson */

static void *
refuse_one(size_t bytes)
{
	return pieces_left-- == 0 ? NULL : malloc(bytes);
}

/* Whatever piece of memory is refused while JSON is read or put out: that is said, and no fault found with the files. */
static void
test_no_memory(void)
{
	TinyModel	m = {.vocab = 30, .prefix = "", .with_readout = true};
	const char *from = tiny_dir("whole", &m, READOUT, true);
	FsiStatus	status;
	int			n = 0;

	json_set_alloc_funcs(refuse_one, free);
	do
	{
		pieces_left = n++;
		status = read_dir(from, &first);
	} while (status == FSI_NOMEM);
	ok(fine(status) && pieces_left >= 0 && n > 100, "a model is read when no piece of memory is refused any more");
	n = 0;
	do
	{
		pieces_left = n++;
		status = write_model(temp_path("whole-out"), &first, &fsi_host_malloc);
	} while (status == FSI_NOMEM);
	ok(fine(status) && pieces_left >= 0 && n > 5, "and so it is written");
	json_set_alloc_funcs(malloc, free);
	ok(fine(read_dir(temp_path("whole-out"), &again)) && first.card_len == again.card_len &&
	   memcmp(first.card, again.card, first.card_len) == 0, "with its name and card");
}

/* ---- Questions whether to stop ---- */

static long asked;

static bool
count_question(void *ctx)
{
	(void) ctx;
	asked++;
	return false;
}

static void *
counted_alloc(void *ctx, size_t bytes)
{
	(void) ctx;
	return malloc(bytes);
}

static void
counted_release(void *ctx, void *ptr)
{
	(void) ctx;
	free(ptr);
}

enum { READ, QUANTIZE, WRITE, VERIFY, DEQUANTIZE, CONVERT, STEPS };

static long
since_last(void)
{
	long		n = asked;

	asked = 0;
	return n;
}

/* Questions of each step with a model of this many tokens, 8 wide. */
static void
count_questions(const char *name, int vocab, long n[STEPS])
{
	static const FsiHost host = {NULL, counted_alloc, counted_release, count_question};
	TinyModel	m = {.vocab = vocab, .prefix = ""};
	SafeFile	halves = safe_begin();
	size_t		n_half = (size_t) vocab * 8,
				size;
	uint16_t   *half = calloc(n_half, sizeof(uint16_t));
	char		shape[32],
				file[32];
	uint8_t		sha256[FSI_SHA256_BYTES];
	FsiArena	mine;
	HfModel		model;
	Gpt2Model	other;
	TensorSet	set;
	FsiBytes	bytes;
	FsiFile		packed;
	void	   *map;
	bool		done;

	fsi_arena_init(&mine, &host);
	snprintf(file, sizeof(file), "%s.fsi", name);
	since_last();
	done = fine(hf_read_dir(tiny_dir(name, &m, "", false), 0, &mine, &model, &err));
	n[READ] = since_last();
	done = done && fine(gpt2_quantize(&model.model, &mine, &other, &err));
	n[QUANTIZE] = since_last();
	done = done && fine(fsifile_write(temp_path(file), &model, &host, sha256, &err));
	n[WRITE] = since_last();
	done = done && fine(fsifile_map(temp_path(file), &map, &size, &err)) && fine(fsifile_open(map, size, &mine, &packed, &err));
	since_last();
	done = done && fine(fsifile_verify(&packed, &host, &err));
	n[VERIFY] = since_last();
	done = done && fine(fsifile_dequantize(&packed, &mine, &other, &err));
	n[DEQUANTIZE] = since_last();
	if (done)
		fsifile_unmap(map, size);
	snprintf(shape, sizeof(shape), "[%zu]", n_half);
	safe_add(&halves, "x", "F16", shape, half, n_half * sizeof(uint16_t));
	bytes = safe_end(&halves);
	since_last();
	done = done && fine(safetensors_parse(bytes.data, bytes.len, &mine, &set, &err));
	n[CONVERT] = since_last();
	ok(done, "a model of %d tokens: read, packed, unpacked", vocab);
	free(half);
	fsi_arena_free(&mine);
}

/* Questions while a model of one layer, 64 wide, is written as a directory. */
static long
count_written(const char *name, int inner)
{
	static const FsiHost host = {NULL, counted_alloc, counted_release, count_question};
	HfModel		m = first;
	float	   *zeros = calloc((size_t) inner * 64, sizeof(float));
	Gpt2Layer	layer = {zeros, zeros, {KERN_F32, .k = 64, .n = 192, .w = zeros}, zeros, {KERN_F32, .k = 64, .n = 64, .w = zeros},
		zeros, zeros, zeros, {KERN_F32, .k = 64, .n = inner, .w = zeros}, zeros, {KERN_F32, .k = inner, .n = 64, .w = zeros}, zeros};

	m.model.cfg.n_layer = m.model.cfg.n_head = 1;
	m.model.cfg.n_embd = 64;
	m.model.cfg.n_inner = inner;
	m.model.layers = &layer;
	m.model.wte = m.model.head = (KernMatrix) {KERN_F32, .k = 64, .n = 30, .w = zeros, .transposed = true};
	m.model.wpe = m.model.lnf_gain = m.model.lnf_bias = zeros;
	since_last();
	ok(fine(write_model(temp_path(name), &m, &host)), "a model with a hidden layer of %d is written", inner);
	free(zeros);
	return since_last();
}

/* A matrix of 4 million weights is not gone through in one go; the bytes of files bring questions of their own. */
static void
test_questions(void)
{
	static const struct
	{
		const char *name;
		long		least;
	}			steps[STEPS] = {
		{"read", 18}, {"quantised", 3}, {"packed", 9}, {"verified", 10}, {"dequantised", 3}, {"converted", 3}
	};
	long		few[STEPS],
				many[STEPS];

	count_questions("few", 30, few);
	count_questions("many", 1 << 19, many);
	for (int i = 0; i < STEPS; i++)
		ok(many[i] - few[i] >= steps[i].least, "a large matrix is %s with more questions whether to stop: %ld, else %ld",
		   steps[i].name, many[i], few[i]);
	ok(fine(read_dir(tiny_dir("written", &(TinyModel) {.vocab = 30, .prefix = ""}, "", true), &first)), "a model");
	few[0] = count_written("narrow", 256);
	many[0] = count_written("wide", 65536);
	ok(many[0] - few[0] >= 38, "and turned round with more: %ld, else %ld", many[0], few[0]);
}

int
main(void)
{
	help_start();
	test_round_trips();
	test_one_row();
	test_packed();
	test_failures();
	test_left_overs();
	test_no_memory();
	test_questions();
	help_end();
	return tap_done();
}
