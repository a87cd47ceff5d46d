/*
 * fsi_tokens.c
 *	  Token ids of texts, for checks against other tokenizers.
 *
 *	  fsi_tokens encode|plain|normalize|decode|skip DIRECTORY < texts
 *	  fsi_tokens write DIRECTORY > tokenizer.json
 *
 * Texts on standard input are separated by NUL bytes.  Prints one line a text: ids (plain:
 * special tokens are text), or the normalised text, or decode(encode(text)) with special
 * tokens or skipping them; in texts \ and newline are escaped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fsi_text.h"

static char *
read_input(size_t *len)
{
	size_t		cap = 1 << 20;
	char	   *data = malloc(cap);
	size_t		n;

	*len = 0;
	while (data != NULL && (n = fread(data + *len, 1, cap - *len, stdin)) > 0)
	{
		*len += n;
		if (*len == cap)
			data = realloc(data, cap *= 2);
	}
	return data;
}

static void
print_text(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] == '\n')
			fputs("\\n", stdout);
		else if (s[i] == '\\')
			fputs("\\\\", stdout);
		else
			putchar(s[i]);
	putchar('\n');
}

/* Do what mode says with one text and print it. */
static FsiStatus
show(const Tokenizer *tok, const char *mode, const char *text, size_t len, FsiArena *arena, FsiError *err)
{
	TokIds		ids;
	char	   *out;
	size_t		n;

	if (strcmp(mode, "normalize") == 0)
	{
		FSI_TRY(tok_normalize(tok, text, len, arena, &out, &n, err));
		print_text(out, n);
		return FSI_OK;
	}
	if (strcmp(mode, "plain") == 0)
		FSI_TRY(tok_encode_plain(tok, text, len, arena, &ids, err));
	else
		FSI_TRY(tok_encode(tok, text, len, arena, &ids, err));
	if (strcmp(mode, "decode") == 0 || strcmp(mode, "skip") == 0)
	{
		FSI_TRY(tok_decode(tok, ids.ids, ids.n, mode[0] == 's', arena, &out, &n, err));
		print_text(out, n);
		return FSI_OK;
	}
	for (size_t i = 0; i < ids.n; i++)
		printf(i == 0 ? "%d" : " %d", ids.ids[i]);
	putchar('\n');
	return FSI_OK;
}

static FsiStatus
write_tokenizer(const Tokenizer *tok, FsiArena *arena, FsiError *err)
{
	FsiBytes	json,
				config;

	fsi_bytes_init(&json, arena);
	fsi_bytes_init(&config, arena);
	FSI_TRY(tok_write(tok, TOK_NONE, TOK_NONE, &json, &config, err));
	fwrite(json.data, 1, json.len, stdout);
	return FSI_OK;
}

int
main(int argc, char **argv)
{
	FsiArena	arena,
				scratch;
	FsiError	err;
	Tokenizer	tok;
	uint8_t    *blob;
	size_t		blob_len,
				len;
	char	   *input = NULL;
	bool		write;
	FsiStatus	status;

	if (argc != 3)
	{
		fprintf(stderr, "usage: fsi_tokens encode|plain|normalize|decode|skip DIRECTORY < NUL-separated texts\n"
				"       fsi_tokens write DIRECTORY > tokenizer.json\n");
		return 2;
	}
	fsi_arena_init(&arena, &fsi_host_malloc);
	fsi_arena_init(&scratch, &fsi_host_malloc);
	status = tok_build_dir(argv[2], 0, &arena, &blob, &blob_len, NULL, &err);
	if (status == FSI_OK)
		status = tok_open(blob, blob_len, &tok, &err);
	write = strcmp(argv[1], "write") == 0;
	if (status == FSI_OK && write)
		status = write_tokenizer(&tok, &arena, &err);
	else if ((input = read_input(&len)) == NULL)
		return 1;
	for (size_t at = 0; status == FSI_OK && !write && at < len;)
	{
		const char *end = memchr(input + at, '\0', len - at);
		size_t		n = end != NULL ? (size_t) (end - input) - at : len - at;

		status = show(&tok, argv[1], input + at, n, &scratch, &err);
		fsi_arena_free(&scratch);
		at += n + 1;
	}
	if (status != FSI_OK)
		fprintf(stderr, "fsi_tokens: %s\n", err.message);
	free(input);
	fsi_arena_free(&arena);
	return status != FSI_OK;
}
