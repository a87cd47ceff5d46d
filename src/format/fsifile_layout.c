/*
 * fsifile_layout.c
 *	  Pin the layout of the packed file, and compute where each section lies.
 *
 * The structs below are bytes on disk, shared by every backend through a mapping and by other
 * machines through copies.  A reordered field or another padding would silently read
 * other weights: the assertions turn that into a compile error, whose cure is a new
 * FSIFILE_VERSION, never an edit of the numbers.
 */
#include "fsifile_layout.h"

#include <math.h>

#include "format_cursor.h"

/* Mapped in place: a big-endian machine would need a file of its own. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "model files are little-endian and used in place");
_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "floats are IEEE 754 single and double");

/* The header: 64-bit fields fall on multiples of 8 without padding. */
_Static_assert(offsetof(FsifileHeader, magic) == 0, "magic first, for file(1)");
_Static_assert(offsetof(FsifileHeader, version) == 8, "read before anything else is believed");
_Static_assert(offsetof(FsifileHeader, byte_order) == 12, "read before anything else is believed");
_Static_assert(offsetof(FsifileHeader, sha256) == 16, "the identity that databases have pinned");
_Static_assert(FSIFILE_HASHED_FROM == 48, "the identity covers all bytes from here");
_Static_assert(offsetof(FsifileHeader, file_size) == 48, "version 1");
_Static_assert(offsetof(FsifileHeader, card_len) == 56, "version 1");
_Static_assert(offsetof(FsifileHeader, tokenizer_len) == 64, "version 1");
_Static_assert(offsetof(FsifileHeader, n_section) == 72, "version 1");
_Static_assert(offsetof(FsifileHeader, reserved) == 76, "version 1");
_Static_assert(offsetof(FsifileHeader, config) == 80, "version 1");
_Static_assert(sizeof(FsifileHeader) == FSIFILE_HEAD_BYTES, "the section table follows at a multiple of 64");

/* The configuration: fixed-width fields, no padding for stray bytes to hide in (they are hashed). */
_Static_assert(offsetof(FsifileConfig, n_layer) == 0, "version 1");
_Static_assert(offsetof(FsifileConfig, n_vocab) == 20, "version 1");
_Static_assert(offsetof(FsifileConfig, act) == 24, "version 1");
_Static_assert(offsetof(FsifileConfig, ln_eps) == 28, "version 1");
_Static_assert(offsetof(FsifileConfig, tied) == 32, "version 1");
_Static_assert(offsetof(FsifileConfig, layout) == 35, "version 1");
_Static_assert(offsetof(FsifileConfig, begin) == 36, "version 1");
_Static_assert(offsetof(FsifileConfig, end) == 44, "version 1");
_Static_assert(offsetof(FsifileConfig, pointing) == 48, "doubles on multiples of 8");
_Static_assert(sizeof(FsifileConfig) == 176, "version 1");

/* The readout's scalars stand in the file as the engine reads them: their order is part of the format. */
_Static_assert(offsetof(PointingScalars, spelling_weight) == 0, "version 1");
_Static_assert(offsetof(PointingScalars, description_weight) == 8, "version 1");
_Static_assert(offsetof(PointingScalars, example_sharpness) == 16, "version 1");
_Static_assert(offsetof(PointingScalars, name_share) == 24, "version 1");
_Static_assert(offsetof(PointingScalars, name_scale) == 32, "version 1");
_Static_assert(offsetof(PointingScalars, name_bias) == 40, "version 1");
_Static_assert(offsetof(PointingScalars, both_scale) == 48, "version 1");
_Static_assert(offsetof(PointingScalars, both_bias) == 56, "version 1");
_Static_assert(offsetof(PointingScalars, example_scale) == 64, "version 1");
_Static_assert(offsetof(PointingScalars, example_bias) == 72, "version 1");
_Static_assert(offsetof(PointingScalars, other_logit) == 80, "version 1");
_Static_assert(offsetof(PointingScalars, other_share) == 88, "version 1; 0 in older files, which means a constant");
_Static_assert(offsetof(PointingScalars, discriminant_share) == 96, "version 1; 0 in older files, which means none");
_Static_assert(offsetof(PointingScalars, discriminant_ridge) == 104, "version 1");
_Static_assert(sizeof(PointingScalars) == 128, "new scalars take from reserved");

_Static_assert(sizeof(FsifileSection) == 24, "a fixed-size record: the table is indexed by arithmetic");
_Static_assert(offsetof(FsifileSection, offset) == 8 && offsetof(FsifileSection, size) == 16, "version 1");

/* Numbers that are stored: renumbering these enums would change what old files mean. */
_Static_assert(KERN_ACT_GELU_NEW == 1 && KERN_ACT_GELU == 2 && KERN_ACT_RELU == 3, "stored in config.act");
_Static_assert(GPT2_PROMPT == 1 && GPT2_SEGMENTS == 2, "stored in config.layout");
/* Panels are stored as the kernels read them. */
_Static_assert(KERN_PANEL == 16 && KERN_QUAD == 4, "the panels' layout is in the file");
_Static_assert(SPELL_BUCKETS == 65536, "size of the idf section");
_Static_assert(FSIFILE_ALIGN == 64, "a zmm register and a cache line");

void
fsifile_config_pack(const Gpt2Model *model, FsifileConfig *out)
{
	const Gpt2Config *cfg = &model->cfg;

	*out = (FsifileConfig) {
		.n_layer = cfg->n_layer, .n_head = cfg->n_head, .n_embd = cfg->n_embd, .n_inner = cfg->n_inner,
		.n_positions = cfg->n_positions, .n_vocab = cfg->n_vocab,
		.act = (int32_t) cfg->act, .ln_eps = cfg->ln_eps,
		.tied = cfg->tied, .scale_attn_weights = cfg->scale_attn_weights,
		.scale_attn_by_inverse_layer_idx = cfg->scale_attn_by_inverse_layer_idx,
		.layout = (uint8_t) cfg->layout,
		.begin = cfg->begin, .end_prompt = cfg->end_prompt, .end = cfg->end,
	};
	if (cfg->layout == GPT2_SEGMENTS)
		out->pointing = model->pointing;
}

FsiStatus
fsifile_config_unpack(const FsifileConfig *in, Gpt2Model *out, FsiError *err)
{
	const double *scalar = (const double *) &in->pointing;

	if (in->tied > 1 || in->scale_attn_weights > 1 || in->scale_attn_by_inverse_layer_idx > 1)
		return fsi_fail(err, FSI_CORRUPT, "model file has a damaged configuration");
	for (size_t i = 0; i < sizeof(PointingScalars) / sizeof(double); i++)
		if (!(fabs(scalar[i]) <= MODEL_SCALAR_MAX))
			return fsi_fail(err, FSI_CORRUPT, "model file has a damaged readout");
	if (in->pointing.discriminant_share != 0 && !(in->pointing.discriminant_ridge > 0))
		return fsi_fail(err, FSI_CORRUPT, "model file has a damaged readout");
	*out = (Gpt2Model) {
		.cfg = {
			.n_layer = in->n_layer, .n_head = in->n_head, .n_embd = in->n_embd, .n_inner = in->n_inner,
			.n_positions = in->n_positions, .n_vocab = in->n_vocab,
			.act = (KernAct) in->act, .ln_eps = in->ln_eps,
			.tied = in->tied != 0, .scale_attn_weights = in->scale_attn_weights != 0,
			.scale_attn_by_inverse_layer_idx = in->scale_attn_by_inverse_layer_idx != 0,
			.layout = (Gpt2Layout) in->layout,
			.begin = in->begin, .end_prompt = in->end_prompt, .end = in->end,
		},
		.pointing = in->pointing,
	};
	return model_check_config(&out->cfg, err);
}

/* ---- Where the sections lie ---- */

typedef struct Plan
{
	FsifileSection *sections;	/* or NULL: only count */
	uint32_t	n;
	uint64_t	end;			/* of the last section */
	bool		overflow;
} Plan;

static void
place(Plan *plan, uint32_t id, int layer, uint64_t size)
{
	uint64_t	offset;

	plan->overflow |= !size_add(plan->end, FSIFILE_ALIGN - 1, &offset);
	offset &= ~(uint64_t) (FSIFILE_ALIGN - 1);
	plan->overflow |= !size_add(offset, size, &plan->end);
	if (plan->sections != NULL)
		plan->sections[plan->n] = (FsifileSection) {.id = id, .layer = layer, .offset = offset, .size = size};
	plan->n++;
}

static void
place_slot(Plan *plan, const SlotAt *at)
{
	/* model_check_config() bounds k and n to 2^22: products of two sizes and 4 bytes fit */
	uint64_t	k4 = KERN_ROUND_UP((uint64_t) at->k, KERN_QUAD);
	uint64_t	n16 = KERN_ROUND_UP((uint64_t) at->n, KERN_PANEL);

	if (!at->slot->matrix)
	{
		place(plan, at->slot->id, at->layer, (uint64_t) at->k * (uint64_t) at->n * sizeof(float));
		return;
	}
	place(plan, at->slot->id + SECTION_PANELS, at->layer, k4 * n16);
	place(plan, at->slot->id + SECTION_SCALE, at->layer, n16 * sizeof(float));
	place(plan, at->slot->id + SECTION_COMP, at->layer, n16 * sizeof(int32_t));
}

/* One walk: the caller has set plan->end to where the first section may start. */
static void
place_all(Plan *plan, const Gpt2Config *cfg, uint64_t card_len, uint64_t tokenizer_len)
{
	SlotAt		at;

	place(plan, SECTION_CARD, -1, card_len);
	if (tokenizer_len > 0)
		place(plan, SECTION_TOKENIZER, -1, tokenizer_len);
	if (cfg->layout == GPT2_SEGMENTS)
		place(plan, SECTION_IDF, -1, SPELL_BUCKETS * sizeof(float));
	for (bool more = slot_first(cfg, &at); more; more = slot_next(cfg, &at))
		place_slot(plan, &at);
}

FsiStatus
fsifile_plan(const Gpt2Config *cfg, uint64_t card_len, uint64_t tokenizer_len,
			 uint32_t *n_section, FsifileSection *sections, uint64_t *file_size, FsiError *err)
{
	Plan		count = {0};
	Plan		plan = {.sections = sections};

	if (card_len > FSIFILE_CARD_LIMIT || tokenizer_len > FSIFILE_TOKENIZER_LIMIT)
		return fsi_fail(err, FSI_LIMIT, "model's card or tokenizer is too large");
	place_all(&count, cfg, card_len, tokenizer_len);
	plan.end = sizeof(FsifileHeader) + count.n * sizeof(FsifileSection);
	place_all(&plan, cfg, card_len, tokenizer_len);
	if (plan.overflow || plan.end > INT64_MAX)
		return fsi_fail(err, FSI_LIMIT, "model is too large for a file");
	*n_section = plan.n;
	*file_size = KERN_ROUND_UP(plan.end, (uint64_t) FSIFILE_ALIGN);
	return FSI_OK;
}
