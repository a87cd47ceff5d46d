/*
 * fsifile_verify.c
 *	  The full check of an opened model file: every byte, every weight.
 */
#include "fsifile_layout.h"

#include <string.h>

#define HASH_CHUNK ((size_t) 1 << 20)

static FsiStatus
verify_hash(const FsiFile *file, const FsiHost *host, FsiError *err)
{
	const uint8_t *data = file->map + FSIFILE_HASHED_FROM;
	size_t		left = file->size - FSIFILE_HASHED_FROM;
	uint8_t		sha256[FSI_SHA256_BYTES];
	FsiSha256	sha;

	fsi_sha256_init(&sha);
	while (left > 0)
	{
		size_t		n = left < HASH_CHUNK ? left : HASH_CHUNK;

		if (fsi_should_stop(host))
			return fsi_cancelled(err);
		fsi_sha256_update(&sha, data, n);
		data += n;
		left -= n;
	}
	fsi_sha256_final(&sha, sha256);
	if (memcmp(sha256, file->sha256, sizeof(sha256)) != 0)
	{
		fsi_fail(err, FSI_CORRUPT, "model file is damaged: its contents do not match its identity");
		fsi_hint(err, "Install or import the model again.");
		return FSI_CORRUPT;
	}
	return FSI_OK;
}

/* Weights in [-127, 127], scales finite and not negative, comp what the panels say. */
static FsiStatus
verify_matrix(const KernMatrix *w, const SlotAt *at, FsiArena *arena, FsiError *err)
{
	FsiArenaMark mark = fsi_arena_mark(arena);
	int			n16 = KERN_ROUND_UP(at->n, KERN_PANEL),
				step = matrix_piece(at->k);
	int32_t    *comp = fsi_arena_array(arena, (size_t) n16, sizeof(int32_t));
	bool		good;

	if (comp == NULL)
		return fsi_nomem(err, (size_t) n16 * sizeof(int32_t));
	FSI_TRY(floats_finite(w->scale, (size_t) n16, arena->host, &good, err));
	for (int i = 0; good && i < n16; i++)
		good = w->scale[i] >= 0;
	for (int first = 0; good && first < n16; first += step)
	{
		int			n = n16 - first < step ? n16 - first : step;
		const int8_t *panels = w->panels + kern_panel_bytes(at->k, first);

		if (first > 0 && fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		good = memchr(panels, 0x80, kern_panel_bytes(at->k, n)) == NULL;
		kern_panel_comp(at->k, n, panels, comp + first);
	}
	good = good && memcmp(comp, w->comp, (size_t) n16 * sizeof(int32_t)) == 0;
	fsi_arena_release(arena, mark);
	if (!good)
		return fsi_fail(err, FSI_CORRUPT, "model file is damaged: matrix \"%s\" is inconsistent", slot_name(at).text);
	return FSI_OK;
}

static FsiStatus
verify_weights(const FsiFile *file, FsiArena *arena, FsiError *err)
{
	Gpt2Model  *model = (Gpt2Model *) &file->model;
	bool		finite = true;
	SlotAt		at;

	for (bool more = slot_first(&model->cfg, &at); more; more = slot_next(&model->cfg, &at))
	{
		if (at.slot->matrix)
			FSI_TRY(verify_matrix(slot_matrix(model, &at), &at, arena, err));
		else
			FSI_TRY(floats_finite(*slot_floats(model, &at), (size_t) at.k * (size_t) at.n, arena->host, &finite, err));
		if (!finite)
			return fsi_fail(err, FSI_CORRUPT, "model file is damaged: tensor \"%s\" holds a value that is not a finite number",
							slot_name(&at).text);
	}
	if (file->spelling_idf != NULL)
		FSI_TRY(floats_finite(file->spelling_idf, SPELL_BUCKETS, arena->host, &finite, err));
	if (!finite)
		return fsi_fail(err, FSI_CORRUPT, "model file is damaged: its spelling table holds a value that is not a finite number");
	return FSI_OK;
}

FsiStatus
fsifile_verify(const FsiFile *file, const FsiHost *host, FsiError *err)
{
	FsiArena	arena;
	FsiStatus	status;

	FSI_TRY(verify_hash(file, host, err));
	fsi_arena_init(&arena, host);
	status = verify_weights(file, &arena, err);
	fsi_arena_free(&arena);
	return status;
}
