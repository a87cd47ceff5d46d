/*
 * model_slots.h
 *	  One table of the parts of a Gpt2Model: their source names, shapes and numbers in the packed file.
 *
 * Reading a checkpoint, quantising, writing, opening and verifying a packed file, training: all
 * walk this table, so that none can forget a part or differ about its shape.  Private to
 * src/format and src/train.
 */
#ifndef MODEL_SLOTS_H
#define MODEL_SLOTS_H

#include "fsi_format.h"

typedef enum SlotSize { SLOT_ONE, SLOT_EMBD, SLOT_3EMBD, SLOT_INNER, SLOT_VOCAB, SLOT_POSITIONS } SlotSize;
typedef enum SlotWhen { SLOT_ALWAYS, SLOT_UNTIED, SLOT_SEGMENTS } SlotWhen;

typedef struct ModelSlot
{
	uint32_t	id;				/* section number in the packed file: never reused, a matrix has id .. id + 2 */
	const char *name;			/* Hugging Face name, after "h.N." for a layer's */
	size_t		offset;			/* of the pointer or KernMatrix in Gpt2Model or Gpt2Layer */
	bool		matrix;			/* KernMatrix of k inputs, n outputs; else floats [k][n] */
	bool		outputs_first;	/* stored [n][k] in the source: embeddings */
	bool		bias;			/* may be missing where config.json says "bias": false */
	SlotSize	k,
				n;
	SlotWhen	when;
} ModelSlot;

#define MODEL_SLOTS 7
#define LAYER_SLOTS 12

/* A slot of one model: layer -1 for the model's own.  Walk with slot_first(), slot_next(). */
typedef struct SlotAt
{
	const ModelSlot *slot;
	int			layer;
	int			k,
				n;
} SlotAt;

extern bool slot_first(const Gpt2Config *cfg, SlotAt *at);
extern bool slot_next(const Gpt2Config *cfg, SlotAt *at);

/* Where the slot's matrix or vector lies in a model (whose layers array exists). */
extern KernMatrix *slot_matrix(Gpt2Model *model, const SlotAt *at);
extern const float **slot_floats(Gpt2Model *model, const SlotAt *at);

#define SLOT_NAME_BYTES 64
typedef struct SlotName
{
	char		text[SLOT_NAME_BYTES];
} SlotName;
extern SlotName slot_name(const SlotAt *at);

/* Zeroed layers for model->cfg, and the head bound to wte when tied after the slots are filled. */
extern FsiStatus slot_alloc_layers(Gpt2Model *model, FsiArena *arena, FsiError *err);
extern void slot_bind_head(Gpt2Model *model);

/* Sizes that the engine and the packed file can hold; FSI_LIMIT or FSI_CORRUPT naming the field. */
extern FsiStatus model_check_config(const Gpt2Config *cfg, FsiError *err);
/* An f32 matrix into panels, scale and comp of kern_pack_i8(). */
extern FsiStatus matrix_pack(const KernMatrix *f32, const FsiHost *host, int8_t *panels, float *scale, int32_t *comp,
							 FsiError *err);
/* Columns of a matrix, a multiple of KERN_PANEL, that are about WEIGHTS_STOP_EVERY weights. */
extern int	matrix_piece(int k);
/* Every float of an f32 model is finite, else FSI_CORRUPT naming the tensor. */
extern FsiStatus model_check_finite(const Gpt2Model *model, const FsiHost *host, FsiError *err);
extern FsiStatus floats_finite(const float *x, size_t n, const FsiHost *host, bool *finite, FsiError *err);

/* A readout's scalars are within this. */
#define MODEL_SCALAR_MAX 1e30

#endif
