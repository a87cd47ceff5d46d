/*
 * fuzz_safetensors.c
 *	  libFuzzer entry: any bytes as a .safetensors file.
 */
#include "fsi_format.h"

#include <stdlib.h>
#include <string.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile float sink;

/* Touch every element that a reader handed out. */
static void
use(const TensorSet *set)
{
	for (int i = 0; i < set->n; i++)
	{
		const NamedTensor *t = &set->tensors[i];
		int64_t		n = 1;

		for (int d = 0; d < t->n_dim; d++)
			n *= t->dim[d];
		for (int64_t k = 0; k < n; k++)
			sink = t->data[k];
		if (tensors_find(set, t->name) != t)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FsiArena	arena;
	FsiError	err;
	TensorSet	set;

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (safetensors_parse(data, size, &arena, &set, &err) == FSI_OK)
		use(&set);
	else if (err.status == FSI_OK || err.message[0] == '\0')
		abort();
	fsi_arena_free(&arena);
	return 0;
}
