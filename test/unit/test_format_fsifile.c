/*
 * test_format_fsifile.c
 *	  The packed file: what is written is what is read, equal input gives equal bytes, and no
 *	  damage passes.
 */
#include "format_help.h"

#include "../../src/format/fsifile_layout.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

static HfModel source;

#define SEGMENTS \
	", \"bos_token_id\": 2, \"eos_token_id\": 3, \"fsi\": {\"layout\": \"segments\", \"readout\": {" \
	"\"spelling_weight\": 1, \"description_weight\": 0.5, \"example_sharpness\": 2, \"name_share\": 0.25, " \
	"\"name_scale\": 16, \"name_bias\": -1, \"both_scale\": 17, \"both_bias\": 0.125, \"example_scale\": 18, " \
	"\"example_bias\": 0, \"other_logit\": 5.5}}"

/* Pack temp_dir/name.fsi; its bytes, 64-aligned, in the arena. */
static uint8_t *
pack(const char *name, TinyModel m, const char *more, size_t *len)
{
	uint8_t		sha256[FSI_SHA256_BYTES];
	const char *dir;
	char		file[64];
	uint8_t    *bytes = NULL;

	m.prefix = "transformer.";
	dir = tiny_dir(name, &m, more, true);
	snprintf(file, sizeof(file), "%s.fsi", name);
	if (!fine(hf_read_dir(dir, HF_NEED_TOKENIZER, &arena, &source, &err)) ||
		!fine(fsifile_write(temp_path(file), &source, &fsi_host_malloc, sha256, &err)) ||
		!fine(fsi_read_file(temp_path(file), 1 << 30, &arena, &bytes, len, &err)))
		exit(1);
	ok(memcmp(((FsifileHeader *) bytes)->sha256, sha256, sizeof(sha256)) == 0, "%s: the identity is returned", name);
	return bytes;
}

static bool
same_matrix(const KernMatrix *file, const KernMatrix *memory, const float *w, bool transposed)
{
	size_t		n16 = (size_t) KERN_ROUND_UP(file->n, KERN_PANEL);
	bool		close = true;

	if (memcmp(file->panels, memory->panels, kern_panel_bytes(file->k, file->n)) != 0 ||
		memcmp(file->scale, memory->scale, n16 * 4) != 0 || memcmp(file->comp, memory->comp, n16 * 4) != 0)
		return false;
	for (int n = 0; n < file->n; n++)
	{
		float		column[64];

		kern_matrix_column(file, n, column);
		for (int k = 0; k < file->k; k++)
		{
			float		was = transposed ? w[n * file->k + k] : w[k * file->n + n];

			close &= fabsf(column[k] - was) <= file->scale[n] * 0.5001f;
		}
	}
	return close;
}

/* Every slot of the opened file equals gpt2_quantize() of the source, and its floats the source's. */
static void
check_weights(const FsiFile *file, const char *what)
{
	Gpt2Model	memory,
				back;
	SlotAt		at;
	int			matrices = 0,
				vectors = 0;
	bool		same = true,
				dequantized = true;

	if (!fine(gpt2_quantize(&source.model, &arena, &memory, &err)) ||
		!fine(fsifile_dequantize(file, &arena, &back, &err)))
		exit(1);
	for (bool more = slot_first(&file->model.cfg, &at); more; more = slot_next(&file->model.cfg, &at))
	{
		Gpt2Model  *m = (Gpt2Model *) &file->model;

		if (at.slot->matrix)
		{
			const KernMatrix *i8 = slot_matrix(m, &at);
			const KernMatrix *f32 = slot_matrix(&back, &at);

			same &= same_matrix(i8, slot_matrix(&memory, &at), slot_matrix(&source.model, &at)->w,
								slot_matrix(&source.model, &at)->transposed);
			for (int n = 0; n < i8->n; n++)
			{
				float		column[64];

				kern_matrix_column(i8, n, column);
				dequantized &= f32->type == KERN_F32 && f32->transposed &&
					memcmp(column, f32->w + n * i8->k, (size_t) i8->k * 4) == 0;
			}
			matrices++;
		}
		else
		{
			same &= memcmp(*slot_floats(m, &at), *slot_floats(&source.model, &at),
						   (size_t) at.k * (size_t) at.n * 4) == 0;
			vectors++;
		}
	}
	ok(same && matrices >= 9 && vectors >= 19, "%s: %d matrices as quantised in memory, %d vectors as they were",
	   what, matrices, vectors);
	ok(dequantized && (back.head.w == back.wte.w) == file->model.cfg.tied, "%s: dequantised weights are panels times scale", what);
}

static void
test_round_trip(const char *name, TinyModel m, const char *more)
{
	size_t		len,
				again_len;
	uint8_t    *bytes = pack(name, m, more, &len);
	uint8_t    *again = pack(name, m, more, &again_len);
	FsiFile		file;

	ok(len == again_len && memcmp(bytes, again, len) == 0, "%s: equal input, equal bytes (%zu)", name, len);
	if (!ok(fine(fsifile_open(bytes, len, &arena, &file, &err)), "%s: opens", name))
		return;
	ok(fine(fsifile_verify(&file, &fsi_host_malloc, &err)), "%s: verifies", name);
	ok(memcmp(&file.model.cfg, &source.model.cfg, sizeof(Gpt2Config)) == 0 &&
	   memcmp(&file.model.pointing, &source.model.pointing, sizeof(PointingScalars)) == 0, "%s: configuration", name);
	ok(file.card_len == source.card_len && memcmp(file.card, source.card, file.card_len) == 0 && file.has_tokenizer &&
	   file.tok.blob_len == source.tokenizer_len && memcmp(file.tok.blob, source.tokenizer, source.tokenizer_len) == 0,
	   "%s: card and tokenizer", name);
	ok((uintptr_t) file.model.wte.panels % 64 == 0 && (uintptr_t) file.model.layers[1].out.panels % 64 == 0 &&
	   (uintptr_t) file.tok.blob % 64 == 0, "%s: sections are aligned", name);
	ok((file.spelling_idf != NULL) == (source.spelling_idf != NULL) &&
	   (file.spelling_idf == NULL || memcmp(file.spelling_idf, source.spelling_idf, SPELL_BUCKETS * 4) == 0), "%s: idf", name);
	check_weights(&file, name);
}

static void
test_no_tokenizer(void)
{
	TinyModel	m = {.vocab = 30, .prefix = ""};
	const char *dir = tiny_dir("bare", &m, "", false);
	uint8_t		sha256[FSI_SHA256_BYTES];
	FsiFile		file;
	void	   *map = NULL;
	size_t		size = 0;

	ok(fine(hf_read_dir(dir, 0, &arena, &source, &err)) &&
	   fine(fsifile_write(temp_path("bare.fsi"), &source, &fsi_host_malloc, sha256, &err)) &&
	   fine(fsifile_map(temp_path("bare.fsi"), &map, &size, &err)) &&
	   fine(fsifile_open(map, size, &arena, &file, &err)) && !file.has_tokenizer &&
	   fine(fsifile_verify(&file, &fsi_host_malloc, &err)), "a model without tokenizer, mapped");
	fsifile_unmap(map, size);
	fsifile_unmap(NULL, 0);
	source.card = NULL;
	source.card_len = 0;
	ok(fine(fsifile_write(temp_path("bare.fsi"), &source, &fsi_host_malloc, sha256, &err)) &&
	   fine(fsifile_map(temp_path("bare.fsi"), &map, &size, &err)) &&
	   fine(fsifile_open(map, size, &arena, &file, &err)) && file.card_len == 0 &&
	   fine(fsifile_verify(&file, &fsi_host_malloc, &err)), "a model without card");
	fsifile_unmap(map, size);
}

/* ---- Damage ---- */

static uint8_t *good;
static size_t good_len;

/* Open and verify a copy whose end is its allocation's end. */
static FsiStatus
try_bytes(const uint8_t *bytes, size_t len)
{
	FsiArena	scratch;
	FsiFile		file;
	FsiStatus	status;
	uint8_t    *copy = aligned_alloc(64, (len + 63) / 64 * 64 + 64);

	memcpy(copy, bytes, len);
	fsi_arena_init(&scratch, &fsi_host_malloc);
	err.message[0] = '\0';
	status = fsifile_open(copy, len, &scratch, &file, &err);
	if (status == FSI_OK && fsifile_check_head(copy, FSIFILE_HEAD_BYTES, len, &err) != FSI_OK)
		ok(false, "the head of a file that opens is refused");
	if (status == FSI_OK)
		status = fsifile_verify(&file, &fsi_host_malloc, &err);
	fsi_arena_free(&scratch);
	free(copy);
	return status;
}

static void
test_truncated(void)
{
	int			tried = 0,
				accepted = 0;

	for (size_t len = 0; len < good_len; len += 4096, tried++)
		accepted += try_bytes(good, len) == FSI_OK;
	for (size_t len = 0; len < 2048; len += 61, tried++)
		accepted += try_bytes(good, len) == FSI_OK;
	for (size_t cut = 1; cut <= 64; cut++, tried++)
		accepted += try_bytes(good, good_len - cut) == FSI_OK;
	ok(accepted == 0, "truncated at %d places: never accepted", tried);
	ok(refused(try_bytes(good, good_len - 1), FSI_CORRUPT, "truncated"), "the message says so");
}

static void
test_changed_bytes(void)
{
	uint8_t    *bytes = malloc(good_len + 64);
	int			accepted = 0,
				opened = 0;
	uint64_t	seed = 1;

	memcpy(bytes, good, good_len);
	for (int i = 0; i < 400; i++)
	{
		/* 200 spread over the file, 200 in header, table, card and tokenizer */
		size_t		at;
		FsiArena	scratch;
		FsiFile		file;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		at = i < 200 ? (size_t) ((uint64_t) i * good_len / 200) + (size_t) (seed >> 40) % (good_len / 200) :
			(size_t) (seed >> 33) % 4096;
		bytes[at] ^= (uint8_t) (1 + (seed >> 56) % 255);
		if (try_bytes(bytes, good_len) == FSI_OK)
		{
			diag("byte %zu changed, accepted", at);
			accepted++;
		}
		fsi_arena_init(&scratch, &fsi_host_malloc);
		opened += fsifile_open(good, good_len, &scratch, &file, &err) == FSI_OK;
		fsi_arena_free(&scratch);
		bytes[at] = good[at];
	}
	ok(accepted == 0 && opened == 400, "one byte changed at 400 places: never accepted");
	bytes[good_len] = 0;
	ok(refused(try_bytes(bytes, good_len + 1), FSI_CORRUPT, "follow its end"), "a byte after the end");
	ok(refused(try_bytes(bytes, good_len + 64), FSI_CORRUPT, "follow its end"), "64 bytes after the end");
	free(bytes);
}

/* What the first bytes and the size say, without the rest. */
static void
test_head(void)
{
	int			accepted = 0;

	ok(fine(fsifile_check_head(good, FSIFILE_HEAD_BYTES, good_len, &err)) &&
	   fine(fsifile_check_head(good, good_len, good_len, &err)), "the head of a good file");
	for (size_t len = 0; len < FSIFILE_HEAD_BYTES; len++)
		accepted += fsifile_check_head(good, len, len, &err) == FSI_OK;
	ok(accepted == 0, "a part of a head");
	ok(refused(fsifile_check_head(good, FSIFILE_HEAD_BYTES, good_len - 1, &err), FSI_CORRUPT, "truncated") &&
	   refused(fsifile_check_head(good, FSIFILE_HEAD_BYTES, good_len + 1, &err), FSI_CORRUPT, "follow its end"),
	   "a head of another size");
	ok(refused(fsifile_check_head("SQLite format 3", 16, (size_t) 1 << 32, &err), FSI_CORRUPT, "not a packed model"),
	   "a large file of another kind");
}

/* A copy of the good file with its header at hand, and with the hash made right again. */
static uint8_t *
copy_good(FsifileHeader **header)
{
	uint8_t    *bytes = fsi_arena_alloc(&arena, good_len);

	memcpy(bytes, good, good_len);
	*header = (FsifileHeader *) bytes;
	return bytes;
}

static FsiStatus
try_rehashed(uint8_t *bytes)
{
	FsiSha256	sha;

	fsi_sha256_init(&sha);
	fsi_sha256_update(&sha, bytes + FSIFILE_HASHED_FROM, good_len - FSIFILE_HASHED_FROM);
	fsi_sha256_final(&sha, ((FsifileHeader *) bytes)->sha256);
	return try_bytes(bytes, good_len);
}

static void
test_header(void)
{
	FsifileHeader *h;
	uint8_t    *bytes = copy_good(&h);

	ok(fine(try_rehashed(bytes)), "the hash can be made right");
	h->byte_order = __builtin_bswap32(h->byte_order);
	h->version = __builtin_bswap32(h->version);
	ok(refused(try_rehashed(bytes), FSI_UNSUPPORTED, "other byte order") && err.hint[0] != '\0', "other endianness");
	bytes = copy_good(&h);
	h->byte_order = 0;
	ok(refused(try_rehashed(bytes), FSI_CORRUPT, "byte order"), "no endianness");
	bytes = copy_good(&h);
	h->version = FSIFILE_VERSION + 1;
	ok(refused(try_rehashed(bytes), FSI_UNSUPPORTED, "version 2") && strstr(err.hint, "newer") != NULL, "a newer version");
	h->version = 0;
	ok(refused(try_rehashed(bytes), FSI_UNSUPPORTED, "version 0") && strstr(err.hint, "Import") != NULL, "an older version");
	bytes = copy_good(&h);
	h->magic[7] = 'X';
	ok(refused(try_rehashed(bytes), FSI_CORRUPT, "not a packed model"), "another magic");
	ok(refused(try_bytes((const uint8_t *) "FSIMODEL", 8), FSI_CORRUPT, "ends inside its header"), "eight bytes");
	bytes = copy_good(&h);
	ok(refused(fsifile_open(bytes + 8, good_len - 8, &arena, &(FsiFile) {0}, &err), FSI_INVALID, "mapped"), "an odd address");
}

/* Sizes that lie, one field at a time, under a right hash. */
static void
test_lies(void)
{
	static const struct
	{
		size_t		at;
		int			bytes;
		uint64_t	value;
	}			cases[] = {
		{offsetof(FsifileHeader, file_size), 8, UINT64_MAX},
		{offsetof(FsifileHeader, file_size), 8, 0},
		{offsetof(FsifileHeader, card_len), 8, UINT64_MAX},
		{offsetof(FsifileHeader, card_len), 8, 1 << 20},
		{offsetof(FsifileHeader, card_len), 8, 0},
		{offsetof(FsifileHeader, tokenizer_len), 8, UINT64_MAX - 63},
		{offsetof(FsifileHeader, tokenizer_len), 8, 1 << 30},
		{offsetof(FsifileHeader, tokenizer_len), 8, 0},
		{offsetof(FsifileHeader, n_section), 4, UINT32_MAX},
		{offsetof(FsifileHeader, n_section), 4, 0},
		{offsetof(FsifileHeader, reserved), 4, 1},
		{offsetof(FsifileHeader, config.n_layer), 4, INT32_MAX},
		{offsetof(FsifileHeader, config.n_layer), 4, 1024},
		{offsetof(FsifileHeader, config.n_layer), 4, 0},
		{offsetof(FsifileHeader, config.n_layer), 4, UINT32_MAX},
		{offsetof(FsifileHeader, config.n_head), 4, 0},
		{offsetof(FsifileHeader, config.n_head), 4, 3},
		{offsetof(FsifileHeader, config.n_embd), 4, INT32_MAX},
		{offsetof(FsifileHeader, config.n_embd), 4, 65536},
		{offsetof(FsifileHeader, config.n_embd), 4, 0},
		{offsetof(FsifileHeader, config.n_inner), 4, 65536},
		{offsetof(FsifileHeader, config.n_inner), 4, 0x80000000},
		{offsetof(FsifileHeader, config.n_positions), 4, 1 << 20},
		{offsetof(FsifileHeader, config.n_positions), 4, 0},
		{offsetof(FsifileHeader, config.n_vocab), 4, 1 << 22},
		{offsetof(FsifileHeader, config.n_vocab), 4, INT32_MAX},
		{offsetof(FsifileHeader, config.n_vocab), 4, 29},	/* same panels, fewer than the tokenizer's */
		{offsetof(FsifileHeader, config.act), 4, 0},
		{offsetof(FsifileHeader, config.act), 4, 77},
		{offsetof(FsifileHeader, config.ln_eps), 4, 0x7fc00000},
		{offsetof(FsifileHeader, config.tied), 1, 2},
		{offsetof(FsifileHeader, config.tied), 1, 0},
		{offsetof(FsifileHeader, config.layout), 1, 1},
		{offsetof(FsifileHeader, config.layout), 1, 0},
		{offsetof(FsifileHeader, config.layout), 1, 9},
		{offsetof(FsifileHeader, config.begin), 4, 30},
		{offsetof(FsifileHeader, config.end_prompt), 4, UINT32_MAX - 1},
		{offsetof(FsifileHeader, config.end), 4, INT32_MAX},
		{offsetof(FsifileHeader, config.pointing), 8, 0x7ff8000000000000},
		{offsetof(FsifileHeader, config.pointing) + 32, 8, 0x7ff0000000000000},
		{offsetof(FsifileHeader, config.pointing.discriminant_share), 8, 0x3ff0000000000000},	/* without ridge */
	};
	FsifileHeader *h;
	Gpt2Config	cfg = {.n_layer = 1, .n_head = 1, .n_embd = 8, .n_inner = 8, .n_positions = 2, .n_vocab = 30, .act = KERN_ACT_RELU,
		.layout = GPT2_SEGMENTS, .end_prompt = TOK_NONE, .end = 1};

	ok(refused(model_check_config(&cfg, &err), FSI_LIMIT, "n_positions"), "positions for begin and end, and none for text");
	cfg.n_positions = 3;
	ok(model_check_config(&cfg, &err) == FSI_OK, "and one for text");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		uint8_t    *bytes = copy_good(&h);

		memcpy(bytes + cases[i].at, &cases[i].value, (size_t) cases[i].bytes);
		ok(try_rehashed(bytes) != FSI_OK && err.message[0] != '\0', "byte %zu set to %llu: %s", cases[i].at,
		   (unsigned long long) cases[i].value, err.message);
	}
	for (uint32_t i = 0; i < ((FsifileHeader *) good)->n_section; i += 5)
	{
		uint8_t    *bytes = copy_good(&h);
		FsifileSection *s = (FsifileSection *) (h + 1) + i;

		if (i % 3 == 0)
			s->offset = UINT64_MAX - 63;
		else if (i % 3 == 1)
			s->offset += 4;
		else
			s->size += 64;
		ok(refused(try_rehashed(bytes), FSI_CORRUPT, "section table"), "a lie about section %u", i);
	}
}

/* Weights that lie, under a right hash: opening may not notice, verifying must. */
static void
test_weights(void)
{
	FsifileHeader *h;
	FsiFile		file;
	uint8_t    *bytes = copy_good(&h);
	const float bad[] = {NAN, INFINITY, -1.0f};

	for (int i = 0; i < 3; i++)
	{
		bytes = copy_good(&h);
		if (fsifile_open(bytes, good_len, &arena, &file, &err) != FSI_OK)
			exit(1);
		memcpy((float *) file.model.layers[1].fc.scale + 3, &bad[i], 4);
		ok(refused(try_rehashed(bytes), FSI_CORRUPT, "\"h.1.mlp.c_fc.weight\""), "a scale of %g", (double) bad[i]);
	}
	for (int i = 0; i < 2; i++)
	{
		bytes = copy_good(&h);
		if (fsifile_open(bytes, good_len, &arena, &file, &err) != FSI_OK)
			exit(1);
		memcpy((float *) file.model.lnf_bias + 7, &bad[i], 4);
		ok(refused(try_rehashed(bytes), FSI_CORRUPT, "\"ln_f.bias\""), "a bias of %g", (double) bad[i]);
	}
	bytes = copy_good(&h);
	(void) fsifile_open(bytes, good_len, &arena, &file, &err);
	((int32_t *) file.model.wte.comp)[5]++;
	ok(refused(try_rehashed(bytes), FSI_CORRUPT, "\"wte.weight\""), "comp that is not the panels'");
	bytes = copy_good(&h);
	(void) fsifile_open(bytes, good_len, &arena, &file, &err);
	((int8_t *) file.model.layers[0].qkv.panels)[9] = -128;
	ok(refused(try_rehashed(bytes), FSI_CORRUPT, "\"h.0.attn.c_attn.weight\""), "a weight of -128");
	bytes = copy_good(&h);
	(void) fsifile_open(bytes, good_len, &arena, &file, &err);
	((float *) file.spelling_idf)[65535] = NAN;
	ok(refused(try_rehashed(bytes), FSI_CORRUPT, "spelling table"), "a NaN in the idf");
	bytes = copy_good(&h);
	(void) fsifile_open(bytes, good_len, &arena, &file, &err);
	((char *) file.card)[3] = (char) 0xff;
	ok(refused(try_rehashed(bytes), FSI_CORRUPT, "card"), "a card that is not UTF-8");
}

/* ---- Writing ---- */

static int
count_files(void)
{
	DIR		   *dir = opendir(temp_dir);
	int			n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static void
test_write_errors(void)
{
	uint8_t		sha256[FSI_SHA256_BYTES];
	struct rlimit old,
				small;
	int			files;
	FsiHost		stopping = fsi_host_malloc;
	float		saved;

	ok(refused(fsifile_write(temp_path("no/such/dir.fsi"), &source, &fsi_host_malloc, sha256, &err),
			   FSI_MISSING, "dir.fsi"), "a directory that is not there");
	ok(refused(fsifile_write(temp_path("seg"), &source, &fsi_host_malloc, sha256, &err), FSI_IO, "seg"),
	   "a name that is a directory's");
	files = count_files();

	/* a full disk, as far as one can be had without root: a limit on the size of files */
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = old;
	small.rlim_cur = 20000;
	setrlimit(RLIMIT_FSIZE, &small);
	ok(refused(fsifile_write(temp_path("full.fsi"), &source, &fsi_host_malloc, sha256, &err), FSI_IO, "full.fsi"), "no room");
	setrlimit(RLIMIT_FSIZE, &old);
	ok(access(temp_path("full.fsi"), F_OK) != 0 && count_files() == files, "nothing is left behind");

	stopping.should_stop = stop_soon;
	polls_left = 20;
	ok(refused(fsifile_write(temp_path("stop.fsi"), &source, &stopping, sha256, &err), FSI_CANCELLED, "cancelled") &&
	   count_files() == files, "cancelled: nothing is left behind");

	saved = source.model.layers[0].fc.w[5];
	((float *) source.model.layers[0].fc.w)[5] = NAN;
	ok(refused(fsifile_write(temp_path("nan.fsi"), &source, &fsi_host_malloc, sha256, &err), FSI_CORRUPT,
			   "\"h.0.mlp.c_fc.weight\"") && count_files() == files, "a NaN is not written");
	((float *) source.model.layers[0].fc.w)[5] = saved;
}

/* An existing file is replaced whole; a left-over temporary one does not matter. */
static void
test_replace(void)
{
	uint8_t		sha256[FSI_SHA256_BYTES];
	char		temp[1200];
	void	   *map;
	size_t		size;
	FsiFile		file;

	snprintf(temp, sizeof(temp), "%s.tmp-%ld", temp_path("old.fsi"), (long) getpid());
	write_text(temp_path("old.fsi"), "old");
	write_text(temp, "left over");
	ok(fine(fsifile_write(temp_path("old.fsi"), &source, &fsi_host_malloc, sha256, &err)) && access(temp, F_OK) != 0,
	   "an old file and a left-over temporary one");
	ok(fine(fsifile_map(temp_path("old.fsi"), &map, &size, &err)) && fine(fsifile_open(map, size, &arena, &file, &err)) &&
	   memcmp(file.sha256, sha256, sizeof(sha256)) == 0, "the new file is there");
	/* replaced by rename: who has the old one mapped keeps it */
	ok(fine(fsifile_write(temp_path("old.fsi"), &source, &fsi_host_malloc, sha256, &err)) &&
	   fine(fsifile_verify(&file, &fsi_host_malloc, &err)), "a mapped file survives its replacement");
	fsifile_unmap(map, size);
}

/* temp_dir/killed.fsi and an ending, until the next call. */
static const char *
left_over(const char *ending)
{
	char		file[64];

	snprintf(file, sizeof(file), "killed.fsi%s", ending);
	return temp_path(file);
}

/* What killed processes have left of a file goes when it is written; not what another is writing, nor anything else. */
static void
test_left_overs(void)
{
	static const char *const endings[] = {".tmp-4194305", ".tmp-4194306", ".tmp-4194307x", ".tmp-", "-not.tmp-4194308"};
	uint8_t		sha256[FSI_SHA256_BYTES];
	char		own[32];
	int			busy;

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		write_text(left_over(endings[i]), "left over");
	mkdir(left_over(".tmp-4194309"), 0755);
	busy = open(left_over(".tmp-4194306"), O_WRONLY);
	ok(flock(busy, LOCK_EX) == 0, "another process is at work");
	ok(fine(fsifile_write(left_over(""), &source, &fsi_host_malloc, sha256, &err)), "a file is written");
	ok(access(left_over(".tmp-4194305"), F_OK) != 0, "what another has left of it goes");
	ok(access(left_over(".tmp-4194306"), F_OK) == 0, "what another is writing stays");
	ok(access(left_over(".tmp-4194307x"), F_OK) == 0 && access(left_over(".tmp-"), F_OK) == 0 &&
	   access(left_over("-not.tmp-4194308"), F_OK) == 0 && access(left_over(".tmp-4194309"), F_OK) == 0,
	   "so does what is of another name, and a folder");
	close(busy);
	ok(fine(fsifile_write(left_over(""), &source, &fsi_host_malloc, sha256, &err)) &&
	   access(left_over(".tmp-4194306"), F_OK) != 0, "it goes when its process has");
	snprintf(own, sizeof(own), ".tmp-%ld", (long) getpid());
	write_text(left_over(own), "of a process in another container");
	busy = open(left_over(own), O_WRONLY);
	ok(flock(busy, LOCK_EX) == 0 &&
	   refused(fsifile_write(left_over(""), &source, &fsi_host_malloc, sha256, &err), FSI_IO, "busy") &&
	   access(left_over(own), F_OK) == 0, "what one of the same number is writing stays, too");
	close(busy);
	ok(fine(fsifile_write(left_over(""), &source, &fsi_host_malloc, sha256, &err)) &&
	   access(left_over(own), F_OK) != 0, "and goes when that has");
}

static void
test_map(void)
{
	void	   *map;
	size_t		size;

	ok(refused(fsifile_map(temp_path("none.fsi"), &map, &size, &err), FSI_MISSING, "none.fsi"), "map: no file");
	ok(refused(fsifile_map(temp_dir, &map, &size, &err), FSI_INVALID, "not a regular file"), "map: a directory");
	write_text(temp_path("empty.fsi"), "");
	ok(refused(fsifile_map(temp_path("empty.fsi"), &map, &size, &err), FSI_CORRUPT, "empty"), "map: an empty file");
	mkfifo(temp_path("fifo.fsi"), 0600);
	ok(refused(fsifile_map(temp_path("fifo.fsi"), &map, &size, &err), FSI_INVALID, "not a regular file"), "map: a pipe");
}

int
main(void)
{
	help_start();
	test_round_trip("plain", (TinyModel) {.vocab = 30}, "");
	test_round_trip("untied", (TinyModel) {.vocab = 33, .with_head = true}, ", \"tie_word_embeddings\": false");
	test_no_tokenizer();
	test_map();
	test_round_trip("seg", (TinyModel) {.vocab = 30, .with_readout = true}, SEGMENTS);
	good = pack("good", (TinyModel) {.vocab = 30, .with_readout = true}, SEGMENTS, &good_len);
	test_head();
	test_truncated();
	test_changed_bytes();
	test_header();
	test_lies();
	test_weights();
	test_write_errors();
	test_replace();
	test_left_overs();
	help_end();
	return tap_done();
}
