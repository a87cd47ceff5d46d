/*
 * fsi_logits.c
 *	  Logits of every position, from a Hugging Face directory, for comparison with other engines.
 *
 *	fsi_logits DIR [int8 | token_type_ids] < IDS > FLOATS
 *
 * Each line of input is a sequence of token ids; output is [tokens][n_vocab] little-endian
 * f32 for each line, end to end.  int8: quantised in memory first;
 * token_type_ids: as HF_TOKEN_TYPES.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fsi_format.h"

#define MAX_IDS 65536

static void
check(FsiStatus status, const FsiError *err)
{
	if (status == FSI_OK)
		return;
	fprintf(stderr, "fsi_logits: %s\n", err->message);
	exit(1);
}

/* Ids of one line; -1 at the end of input. */
static int
read_line(int32_t *ids)
{
	char	   *line = NULL;
	size_t		cap = 0;
	int			n = 0;

	if (getline(&line, &cap, stdin) < 0)
		n = -1;
	for (char *p = line, *end; n >= 0 && n < MAX_IDS; p = end)
	{
		long		id = strtol(p, &end, 10);

		if (end == p)
			break;
		ids[n++] = id < 0 || id > INT32_MAX ? -1 : (int32_t) id;
	}
	free(line);
	return n;
}

int
main(int argc, char **argv)
{
	FsiArena	arena;
	FsiError	err;
	HfModel		hf;
	Gpt2Work   *work;
	int32_t    *ids;
	bool		int8,
				token_types;

	int8 = argc == 3 && strcmp(argv[2], "int8") == 0;
	token_types = argc == 3 && strcmp(argv[2], "token_type_ids") == 0;
	if (argc < 2 || argc > 3 || (argc == 3 && !int8 && !token_types))
	{
		fprintf(stderr, "usage: fsi_logits DIR [int8 | token_type_ids] < IDS > FLOATS\n");
		return 2;
	}
	fsi_arena_init(&arena, &fsi_host_malloc);
	check(hf_read_dir(argv[1], token_types ? HF_TOKEN_TYPES : 0, &arena, &hf, &err), &err);
	if (int8)
	{
		Gpt2Model	f32 = hf.model;

		check(gpt2_quantize(&f32, &arena, &hf.model, &err), &err);
	}
	check(gpt2_work_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &work, &err), &err);
	ids = fsi_arena_array(&arena, MAX_IDS, sizeof(int32_t));
	if (ids == NULL)
		check(fsi_nomem(&err, MAX_IDS * sizeof(int32_t)), &err);
	for (int n; (n = read_line(ids)) > 0;)
	{
		FsiArenaMark mark = fsi_arena_mark(&arena);
		Gpt2Seq		seq = {.n_token = n, .tokens = ids};
		size_t		E = hf.model.cfg.n_embd,
					V = hf.model.cfg.n_vocab;
		float	   *hidden = fsi_arena_array(&arena, n, E * sizeof(float)),
				   *logits = fsi_arena_array(&arena, n, V * sizeof(float));

		if (hidden == NULL || logits == NULL)
			check(fsi_nomem(&err, n * (E + V) * sizeof(float)), &err);
		check(gpt2_forward(&hf.model, work, 1, &seq, GPT2_ALL, hidden, &err), &err);
		check(gpt2_logits(&hf.model, work, n, hidden, logits, &err), &err);
		if (fwrite(logits, V * sizeof(float), n, stdout) != (size_t) n)
		{
			fprintf(stderr, "fsi_logits: cannot write: %s\n", strerror(errno));
			return 1;
		}
		fsi_arena_release(&arena, mark);
	}
	gpt2_work_destroy(work);
	fsi_arena_free(&arena);
	return 0;
}
