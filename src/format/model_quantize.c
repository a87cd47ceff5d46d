/*
 * model_quantize.c
 *	  Between the two kinds of weights in memory: f32 to int8 panels and back.
 */
#include "model_slots.h"

#include "format_cursor.h"

int
matrix_piece(int k)
{
	return KERN_ROUND_UP((int) WEIGHTS_STOP_EVERY / k + 1, KERN_PANEL);
}

FsiStatus
matrix_pack(const KernMatrix *f32, const FsiHost *host, int8_t *panels, float *scale, int32_t *comp, FsiError *err)
{
	int			step = matrix_piece(f32->k);

	for (int first = 0; first < f32->n; first += step)
	{
		int			end = f32->n - first < step ? f32->n : first + step;

		if (first > 0 && fsi_should_stop(host))
			return fsi_cancelled(err);
		kern_pack_i8_columns(f32->k, f32->n, first, end, f32->w, f32->transposed, panels, scale, comp);
	}
	return FSI_OK;
}

/* Copy of model with layers of its own and no weights yet. */
static FsiStatus
shell(const Gpt2Model *model, FsiArena *arena, Gpt2Model *out, FsiError *err)
{
	*out = *model;
	return slot_alloc_layers(out, arena, err);
}

static FsiStatus
quantize_matrix(const KernMatrix *f32, const SlotAt *at, FsiArena *arena, KernMatrix *out, FsiError *err)
{
	size_t		n16 = (size_t) KERN_ROUND_UP(at->n, KERN_PANEL);
	size_t		bytes = kern_panel_bytes(at->k, at->n);
	int8_t	   *panels = fsi_arena_alloc(arena, bytes);
	float	   *scale = fsi_arena_array(arena, n16, sizeof(float));
	int32_t    *comp = fsi_arena_array(arena, n16, sizeof(int32_t));

	if (panels == NULL || scale == NULL || comp == NULL)
		return fsi_nomem(err, bytes);
	FSI_TRY(matrix_pack(f32, arena->host, panels, scale, comp, err));
	*out = (KernMatrix) {.type = KERN_I8, .k = at->k, .n = at->n, .panels = panels, .scale = scale, .comp = comp};
	return FSI_OK;
}

/* out w[n][k] = panels * scale: one row for each output channel. */
static FsiStatus
dequantize_matrix(const KernMatrix *i8, const SlotAt *at, FsiArena *arena, KernMatrix *out, FsiError *err)
{
	size_t		count = (size_t) at->k * (size_t) at->n,
				since = 0;
	float	   *w = fsi_arena_array(arena, count, sizeof(float));

	if (w == NULL)
		return fsi_nomem(err, count * sizeof(float));
	for (int n = 0; n < at->n; n++)
	{
		kern_matrix_column(i8, n, w + (size_t) n * (size_t) at->k);
		FSI_TRY(weights_go_on(arena->host, (size_t) at->k, &since, err));
	}
	*out = (KernMatrix) {.type = KERN_F32, .k = at->k, .n = at->n, .w = w, .transposed = true};
	return FSI_OK;
}

/* Convert every matrix to the other type; vectors are shared with the source. */
static FsiStatus
convert(const Gpt2Model *src, KernType to, FsiArena *arena, Gpt2Model *out, FsiError *err)
{
	Gpt2Model  *from = (Gpt2Model *) src;
	SlotAt		at;

	FSI_TRY(shell(src, arena, out, err));
	for (bool more = slot_first(&src->cfg, &at); more; more = slot_next(&src->cfg, &at))
	{
		if (fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		if (!at.slot->matrix)
			*slot_floats(out, &at) = *slot_floats(from, &at);
		else if (slot_matrix(from, &at)->type == to)
			*slot_matrix(out, &at) = *slot_matrix(from, &at);
		else if (to == KERN_I8)
			FSI_TRY(quantize_matrix(slot_matrix(from, &at), &at, arena, slot_matrix(out, &at), err));
		else
			FSI_TRY(dequantize_matrix(slot_matrix(from, &at), &at, arena, slot_matrix(out, &at), err));
	}
	slot_bind_head(out);
	return FSI_OK;
}

FsiStatus
fsifile_dequantize(const FsiFile *file, FsiArena *arena, Gpt2Model *out, FsiError *err)
{
	return convert(&file->model, KERN_F32, arena, out, err);
}

FsiStatus
gpt2_quantize(const Gpt2Model *f32, FsiArena *arena, Gpt2Model *out, FsiError *err)
{
	return convert(f32, KERN_I8, arena, out, err);
}
