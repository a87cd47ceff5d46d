/*
 * fsifile_layout.h
 *	  The bytes of a packed model file, version 1.
 *
 *	header | section table | card | tokenizer | spelling idf | the model's slots | each layer's slots
 *
 * All numbers little-endian.  Every section starts at a multiple of 64, padded with zeros; a
 * matrix is three sections: panels, scales, comp.  The header alone fixes the whole layout
 * (fsifile_plan), so the section table of a good file is known before it is read: it stands in
 * the file for other readers, and ours compares it.  Structs are guarded in fsifile_layout.c.
 * Private to src/format.
 */
#ifndef FSIFILE_LAYOUT_H
#define FSIFILE_LAYOUT_H

#include "fsi_format.h"
#include "model_slots.h"

/* "FSIMODEL" without its zero */
#define FSIFILE_MAGIC_BYTES {'F', 'S', 'I', 'M', 'O', 'D', 'E', 'L'}
#define FSIFILE_BYTE_ORDER 0x01020304u
#define FSIFILE_CARD_LIMIT ((uint64_t) 1 << 20)
#define FSIFILE_TOKENIZER_LIMIT ((uint64_t) 1 << 30)

/* Section numbers outside the slot table (model_slots.c has 16 and up). */
#define SECTION_CARD 1
#define SECTION_TOKENIZER 2
#define SECTION_IDF 3
/* Parts of a matrix, added to its slot's number. */
#define SECTION_PANELS 0
#define SECTION_SCALE 1
#define SECTION_COMP 2

typedef struct FsifileConfig
{
	int32_t		n_layer,
				n_head,
				n_embd,
				n_inner,
				n_positions,
				n_vocab;
	int32_t		act;			/* KernAct */
	float		ln_eps;
	uint8_t		tied,			/* 0 or 1 */
				scale_attn_weights,
				scale_attn_by_inverse_layer_idx,
				layout;			/* Gpt2Layout */
	int32_t		begin,
				end_prompt,
				end;			/* token or -1 */
	PointingScalars pointing;	/* all zero in the prompt layout */
} FsifileConfig;

typedef struct FsifileHeader
{
	char		magic[8];
	uint32_t	version;
	uint32_t	byte_order;
	uint8_t		sha256[FSI_SHA256_BYTES];	/* of every byte after this field */
	uint64_t	file_size;
	uint64_t	card_len;
	uint64_t	tokenizer_len;	/* 0: none */
	uint32_t	n_section;
	uint32_t	reserved;		/* 0 */
	FsifileConfig config;
} FsifileHeader;

typedef struct FsifileSection
{
	uint32_t	id;
	int32_t		layer;			/* -1: the model's */
	uint64_t	offset;
	uint64_t	size;			/* without padding */
} FsifileSection;

/* First byte under the hash. */
#define FSIFILE_HASHED_FROM (offsetof(FsifileHeader, sha256) + FSI_SHA256_BYTES)

extern void fsifile_config_pack(const Gpt2Model *model, FsifileConfig *out);
extern FsiStatus fsifile_config_unpack(const FsifileConfig *in, Gpt2Model *out, FsiError *err);

/*
 * Number of sections and file size that this header implies; sections[n_section] is filled when
 * not NULL.  FSI_LIMIT on overflow.  model->cfg has been checked.
 */
extern FsiStatus fsifile_plan(const Gpt2Config *cfg, uint64_t card_len, uint64_t tokenizer_len,
							  uint32_t *n_section, FsifileSection *sections, uint64_t *file_size, FsiError *err);

#endif
