/*
 * hf.h
 *	  What the files of src/format that read a Hugging Face directory share.  Private to src/format.
 */
#ifndef FORMAT_HF_H
#define FORMAT_HF_H

#include "fsi_format.h"

/* ---- The card: a JSON object built by hand, for people and fsi_model_info(). ---- */

typedef struct HfCard
{
	FsiBytes	quirks;			/* JSON strings, comma separated */
	bool		nomem;
} HfCard;

extern void hf_card_init(HfCard *card, FsiArena *arena);
/* Note something unusual that was met and handled: a sentence without a full stop. */
extern void hf_card_quirk(HfCard *card, const char *fmt,...) __attribute__((format(printf, 2, 3)));

/* ---- config.json, generation_config.json ---- */

/* A scalar of the readout: read and written by this table. */
typedef struct HfScalar
{
	const char *name;
	size_t		offset;			/* in PointingScalars */
	bool		optional;		/* 0 when absent */
} HfScalar;

#define HF_SCALARS 14
extern const HfScalar hf_scalars[HF_SCALARS];

/* Constants of the spelling features, which are code (src/text/spelling.c): another value means another model. */
typedef struct HfConstant
{
	const char *name;
	int			value;
} HfConstant;

#define HF_SPELLING 5
#define HF_SPELLING_HASH "crc32"
extern const HfConstant hf_spelling[HF_SPELLING];

#define HF_NAME_BYTES 128
typedef struct HfConfig
{
	Gpt2Config	cfg;			/* begin, end_prompt and end are chosen later */
	int64_t		bos,
				eos,			/* as written; TOK_NONE when absent */
				answer_eos;		/* generation_config.json's first eos_token_id, else as eos */
	size_t		n_answer_eos;	/* tokens that the list names whose first answer_eos is */
	bool		biases;			/* "bias" is not false */
	bool		tie;			/* tie_word_embeddings */
	PointingScalars pointing;
	char		name[HF_NAME_BYTES];	/* fsi.name or _name_or_path, or empty */
	const char *own_card;		/* JSON text of fsi.card, or NULL */
} HfConfig;

extern FsiStatus hf_read_config(const char *dir, FsiArena *arena, HfConfig *out, FsiError *err);

/* ---- Weights ---- */

typedef struct HfWeights
{
	TensorSet	set;
	char		source[HF_NAME_BYTES];	/* file name(s), for the card */
} HfWeights;

/* model.safetensors, its index, pytorch_model.bin or its index: the first that is there. */
extern FsiStatus hf_read_weights(const char *dir, FsiArena *arena, HfWeights *out, FsiError *err);
/* Fill model (cfg set) and idf from the tensors, checking every shape.  token_types: see HF_TOKEN_TYPES. */
extern FsiStatus hf_bind_weights(const HfConfig *config, const TensorSet *set, bool token_types, FsiArena *arena,
								 HfCard *card, Gpt2Model *model, const float **idf, FsiError *err);

/* ---- Writing ---- */

typedef struct HfTemp
{
	char	   *path;			/* of the directory while it is being filled */
	int			fd;				/* holds its lock: to be closed when it has its name, or was removed */
} HfTemp;

/* Make it, and remove what killed processes have left of dir.  FSI_IO with EEXIST where there is something of that name. */
extern FsiStatus hf_temp_make(const char *dir, FsiArena *arena, HfTemp *temp, FsiError *err);
/* The files and the directory. */
extern void hf_temp_remove(const HfTemp *temp);

/* "dir/file" in the arena, or NULL. */
extern char *hf_path(FsiArena *arena, const char *dir, const char *file);

#endif
