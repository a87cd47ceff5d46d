/*
 * fuzz_fsifile.c
 *	  libFuzzer entry: any bytes as a packed model file, with the hash made right so that the
 *	  checks behind it are reached; what passes them is run.
 */
#include "fsi_format.h"

#include "../../src/format/fsifile_layout.h"

#include <stdlib.h>
#include <string.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Encode and decode with the tokenizer, one forward pass of three tokens, one segment of more tokens than the model reads. */
static void
use(const FsiFile *file, FsiArena *arena)
{
	static const char text[] = "a b\xe4\xb8\xad x1 [SEP]";
	const int32_t tokens[3] = {0, file->model.cfg.n_vocab - 1, 0};
	Gpt2Seq		seq = {.n_token = file->model.cfg.n_positions < 3 ? 1 : 3, .tokens = tokens};
	float	   *hidden = fsi_arena_array(arena, 3 * (size_t) file->model.cfg.n_embd, sizeof(float));
	Gpt2Work   *work;
	FsiError	err;
	TokIds		ids;
	char	   *back;
	size_t		len;

	if (file->has_tokenizer && tok_encode(&file->tok, text, strlen(text), arena, &ids, &err) == FSI_OK)
		(void) tok_decode(&file->tok, ids.ids, ids.n, false, arena, &back, &len, &err);
	if (hidden == NULL || gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err) != FSI_OK)
		return;
	(void) gpt2_forward(&file->model, work, 1, &seq, GPT2_ALL, hidden, &err);
	if (file->model.cfg.layout == GPT2_SEGMENTS && file->model.cfg.n_positions <= 64)
	{
		int32_t		longer[80] = {0};
		TokIds		segment = {longer, 80};

		(void) segment_encode(&file->model, work, 1, &segment, hidden, NULL, arena, &err);
	}
	gpt2_work_destroy(work);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t    *map = aligned_alloc(FSIFILE_ALIGN, (size + 2 * FSIFILE_ALIGN) / FSIFILE_ALIGN * FSIFILE_ALIGN);
	FsiArena	arena;
	FsiError	err;
	FsiFile		file;
	FsiStatus	status;

	memcpy(map, data, size);
	if (size > FSIFILE_HASHED_FROM)
	{
		FsiSha256	sha;

		fsi_sha256_init(&sha);
		fsi_sha256_update(&sha, map + FSIFILE_HASHED_FROM, size - FSIFILE_HASHED_FROM);
		fsi_sha256_final(&sha, ((FsifileHeader *) map)->sha256);
	}
	fsi_arena_init(&arena, &fsi_host_malloc);
	status = fsifile_open(map, size, &arena, &file, &err);
	if (status == FSI_OK)
		status = fsifile_verify(&file, &fsi_host_malloc, &err);
	if (status == FSI_OK)
		use(&file, &arena);
	else if (err.status != status || err.message[0] == '\0')
		abort();
	fsi_arena_free(&arena);
	free(map);
	return 0;
}
