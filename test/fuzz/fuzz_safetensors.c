/*
 * fuzz_safetensors.c
 *	  libFuzzer entry: any bytes as a .safetensors file.
 */
#include "use_tensors.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FsiArena	arena;
	FsiError	err;
	TensorSet	set;

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (safetensors_parse(data, size, &arena, &set, &err) == FSI_OK)
		use_tensors(&set);
	else if (err.status == FSI_OK || err.message[0] == '\0')
		abort();
	fsi_arena_free(&arena);
	return 0;
}
