/*
 * fuzz_template.c
 *	  libFuzzer entry: any bytes as a template file of the published data set.
 */
#include "fsi_fewshot.h"

#include <stdlib.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Fill in everything that was read. */
static void
use(const TemplateList *list, FsiArena *arena)
{
	static const FewshotText values[TEMPLATE_FIELDS] = {{"a", 1}, {"", 0}, {"b", 1}, {"c", 1}, {NULL, 0}, {"d", 1}};
	FsiError	err;

	for (int i = 0; i < list->n; i++)
	{
		const TemplateText *texts[] = {
			&list->list[i].prompt, &list->list[i].response, &list->list[i].example, &list->list[i].description
		};
		FsiBytes	b;

		fsi_bytes_init(&b, arena);
		for (int k = 0; k < 4; k++)
			if (template_fill(texts[k], values, &b, &err) != FSI_OK)
				abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FsiArena	arena;
	FsiError	err;
	TemplateList list;

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (template_read("file", (const char *) data, size, &arena, &list, &err) == FSI_OK)
		use(&list, &arena);
	else if (err.status != FSI_INVALID || err.message[0] == '\0')
		abort();
	fsi_arena_free(&arena);
	return 0;
}
