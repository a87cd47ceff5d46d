/*
 * text_help.h
 *	  Throw-away tokenizer directories and comparisons of ids, for the tests of the text room.
 */
#ifndef TEXT_HELP_H
#define TEXT_HELP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fsi_text.h"
#include "must.h"
#include "tap.h"

static FsiArena arena;			/* of the whole program */

/* A new directory under TMPDIR. */
__attribute__((unused))
static char *
temp_dir(void)
{
	char		path[1024];

	snprintf(path, sizeof(path), "%s/fsi-text-XXXXXX", temp_base());
	if (mkdtemp(path) == NULL)
	{
		perror(path);
		exit(2);
	}
	return strdup(path);
}

__attribute__((unused))
static void
put_bytes(const char *dir, const char *name, const void *data, size_t len)
{
	char		path[1200];
	FILE	   *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0)
	{
		perror(path);
		exit(2);
	}
}

__attribute__((unused))
static void
put_text(const char *dir, const char *name, const char *text)
{
	put_bytes(dir, name, text, strlen(text));
}

/* JSON written with ' for ", to be read by people. */
__attribute__((unused))
static void
put_json(const char *dir, const char *name, const char *text)
{
	char	   *json = strdup(text);

	for (char *c = json; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	put_text(dir, name, json);
	free(json);
}

/* Remove the directory and the files a tokenizer directory may hold. */
__attribute__((unused))
static void
drop_dir(char *dir)
{
	static const char *const names[] = {
		"tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json",
		"special_tokens_map.json", "added_tokens.json", "config.json"
	};
	char		path[1200];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	if (rmdir(dir) != 0)
	{
		perror(dir);
		exit(2);
	}
	free(dir);
}

/* What build_open() has found out about the tokens round a text. */
static TokMarks marks;

__attribute__((unused))
static FsiStatus
build_open(const char *dir, int32_t n_vocab, Tokenizer *tok)
{
	uint8_t    *blob;
	size_t		len;
	FsiStatus	status;

	memset(&err, 0, sizeof(err));
	status = tok_build_dir(dir, n_vocab, &arena, &blob, &len, &marks, &err);
	return status == FSI_OK ? tok_open(blob, len, tok, &err) : status;
}

__attribute__((unused))
static bool
same_ids(const TokIds *got, const int32_t *want, size_t n)
{
	return got->n == n && (n == 0 || memcmp(got->ids, want, n * sizeof(int32_t)) == 0);
}

/* The tokens of a text, joined by "|", in a buffer that the next call writes again. */
__attribute__((unused))
static const char *
tokens_of(const Tokenizer *tok, const char *text, size_t len, bool plain)
{
	static char joined[4096];
	TokIds		ids;
	size_t		n = 0;
	FsiStatus	status = plain ? tok_encode_plain(tok, text, len, &arena, &ids, &err) :
		tok_encode(tok, text, len, &arena, &ids, &err);

	joined[0] = '\0';
	if (status != FSI_OK)
		return err.message;
	for (size_t i = 0; i < ids.n && n < sizeof(joined) - 200; i++)
	{
		size_t		token_len;
		const char *token = tok_token(tok, ids.ids[i], &token_len);

		n += (size_t) snprintf(joined + n, sizeof(joined) - n, "%s%.*s", i > 0 ? "|" : "",
							   token != NULL ? (int) token_len : 1, token != NULL ? token : "?");
	}
	return joined;
}

/* Check that a text's tokens, joined by "|", are these. */
__attribute__((unused))
static void
check_tokens(const Tokenizer *tok, const char *text, const char *want, const char *what)
{
	const char *got = tokens_of(tok, text, strlen(text), false);

	if (!ok(strcmp(got, want) == 0, "%s", what))
		diag("got %s", got), diag("want %s", want);
}

/* A 64-bit random sequence (splitmix). */
__attribute__((unused))
static uint64_t
next_random(uint64_t *state)
{
	return fsi_mix64(*state += FSI_GOLDEN64);
}

#endif
