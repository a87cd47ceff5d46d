/*
 * fsi_format.h
 *	  Files: safetensors, PyTorch .bin, Hugging Face directories, and the packed model file.
 *
 * Source checkpoints are read once, at import, into f32 arrays in an arena.  The packed
 * file is what serves: immutable, mapped MAP_SHARED, PROT_READ, everything derived
 * (weight panels, scales, tokenizer tables) inside at 64-aligned offsets, so that opening
 * it allocates the few pointers of an FsiFile and nothing else.  All files are treated as
 * hostile: every offset, size and count goes through one bounds-checked cursor; a
 * pickle is interpreted by a whitelist and executes nothing.  Layout structs of the
 * packed file are guarded by static assertions (src/format/fsifile_layout.c).
 */
#ifndef FSI_FORMAT_H
#define FSI_FORMAT_H

#include "fsi_base.h"
#include "fsi_engine.h"
#include "fsi_text.h"

/* ---- Named tensors of a source checkpoint (views into an arena-held copy of the file). ---- */

#define TENSOR_MAX_DIMS 4
typedef struct NamedTensor
{
	const char *name;			/* without "transformer." and other wrappers' prefixes */
	int			n_dim;
	int64_t		dim[TENSOR_MAX_DIMS];
	const float *data;			/* converted to f32 (from F64, F32, F16, BF16); row-major */
} NamedTensor;

typedef struct TensorSet
{
	int			n;
	NamedTensor *tensors;
} TensorSet;

extern const NamedTensor *tensors_find(const TensorSet *set, const char *name);
/* Masks (attn.bias, attn.masked_bias) are left out by both readers. */
extern FsiStatus safetensors_read(const char *path, FsiArena *arena, TensorSet *out, FsiError *err);
extern FsiStatus torchbin_read(const char *path, FsiArena *arena, TensorSet *out, FsiError *err);
/* The same from bytes, which must outlive the arena's tensors: F32 data is used in place. */
extern FsiStatus safetensors_parse(const uint8_t *bytes, size_t len, FsiArena *arena, TensorSet *out, FsiError *err);
extern FsiStatus torchbin_parse(const uint8_t *bytes, size_t len, FsiArena *arena, TensorSet *out, FsiError *err);

/* ---- A Hugging Face directory: config.json, tokenizer files, weights. ---- */

typedef struct HfModel
{
	Gpt2Model	model;			/* f32 matrices, pointers into the arena */
	uint8_t    *tokenizer;		/* blob, see tok_build_dir() */
	size_t		tokenizer_len;
	const float *spelling_idf;	/* segments layout, else NULL */
	char	   *card;			/* JSON text: name, source, quirks met (missing lm_head, eos outside …) */
	size_t		card_len;
} HfModel;

/*
 * Read and check a whole directory.  model.safetensors (or its .index.json shards), else
 * pytorch_model.bin.  Quirks handled and reported in card: eos outside the vocabulary
 * (then [SEP], else the tokenizer's), eos other than the tokenizer's (stands), missing lm_head (tied
 * to wte), one that differs from wte though tied (it is used), names with and without
 * "transformer.", attn.bias masks.  Without HF_NEED_TOKENIZER a directory without one is fine.
 *
 * HF_TOKEN_TYPES: wte[0] is added to every position, as transformers does where it is given
 * token_type_ids of zeros.  Layout prompt alone, else FSI_INVALID.
 */
#define HF_NEED_TOKENIZER 1
#define HF_TOKEN_TYPES 2
extern FsiStatus hf_read_dir(const char *dir, unsigned how, FsiArena *arena,
							 HfModel *out, FsiError *err);

/* What to write out as such a directory. */
typedef struct HfExport
{
	const Gpt2Model *model;		/* f32 or int8; int8 weights are written as floats, int8 times scale */
	const Tokenizer *tok;
	const float *spelling_idf;	/* segments layout, else NULL */
	const char *card;			/* JSON text as HfModel and FsiFile have it, or NULL */
	size_t		card_len;
} HfExport;

/*
 * Write config.json, tokenizer.json, tokenizer_config.json and model.safetensors (float32) into a new
 * directory, which hf_read_dir() and transformers read back.  It appears complete or not at all.
 * An int8 model that is written, read and packed again is the same, byte for byte.  What killed processes have
 * left of that directory (hf_temp.c) goes.
 * FSI_IO with EEXIST when there is something of that name.
 */
extern FsiStatus hf_write_dir(const char *dir, const HfExport *src, const FsiHost *host, FsiError *err);

/* ---- The packed model file. ---- */

#define FSIFILE_VERSION 1
#define FSIFILE_ALIGN 64

typedef struct FsiFile
{
	const uint8_t *map;			/* whole file */
	size_t		size;
	uint8_t		sha256[FSI_SHA256_BYTES];	/* identity: of all bytes after the header's hash field */
	Gpt2Model	model;			/* int8 matrices, pointers into map; layers array is in the arena */
	Tokenizer	tok;
	bool		has_tokenizer;
	const float *spelling_idf;	/* segments layout */
	const char *card;			/* JSON text inside the map */
	size_t		card_len;
} FsiFile;

/*
 * Quantise an f32 model and write the file: to path.tmp-PID, fsync, rename, fsync of the directory.
 * Equal models give equal bytes.  On error nothing is left behind.
 */
extern FsiStatus fsifile_write(const char *path, const HfModel *src, const FsiHost *host,
							   uint8_t sha256[FSI_SHA256_BYTES], FsiError *err);
/*
 * Structure only: header, bounds, alignment, shapes, tokenizer blob. O(sections), touches few pages;
 * weights, also scales that are no numbers, are fsifile_verify()'s.  map is 64-aligned (any mmap is).
 */
extern FsiStatus fsifile_open(const void *map, size_t size, FsiArena *arena, FsiFile *out, FsiError *err);
/*
 * Before a file of size bytes is read: whether its first len bytes, all of a header if there are as many, fit that
 * size.
 */
#define FSIFILE_HEAD_BYTES 256
extern FsiStatus fsifile_check_head(const void *head, size_t len, size_t size, FsiError *err);
/* Whether these bytes begin a packed file, and not one of another kind. */
extern bool fsifile_has_magic(const void *head, size_t len);
/* Full check: SHA-256 of the contents equals the header's, comp equals the panels', floats finite. Reads every page. */
extern FsiStatus fsifile_verify(const FsiFile *file, const FsiHost *host, FsiError *err);
/* mmap read-only, shared. Unmap with fsifile_unmap. */
extern FsiStatus fsifile_map(const char *path, void **map, size_t *size, FsiError *err);
extern void fsifile_unmap(void *map, size_t size);

/* The packed weights as an f32 model (w = panels * scale): the reference engine's view of the file. */
extern FsiStatus fsifile_dequantize(const FsiFile *file, FsiArena *arena, Gpt2Model *out, FsiError *err);
/* The int8 model that a packed file would hold, without the file: quantise in memory (tools, tests). */
extern FsiStatus gpt2_quantize(const Gpt2Model *f32, FsiArena *arena, Gpt2Model *out, FsiError *err);

#endif
