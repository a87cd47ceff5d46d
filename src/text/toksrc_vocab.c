/*
 * toksrc_vocab.c
 *	  Vocabularies that stand in files of their own: BERT's vocab.txt, GPT-2's vocab.json
 *	  and merges.txt.
 */
#include <string.h>

#include "tokbuild.h"

/* The line at *at without its end, which is any of Python's: \n, \r or both; false at the end of the data. */
static bool
next_line(const uint8_t *data, size_t len, size_t *at, const char **line, size_t *line_len)
{
	size_t		end = *at;

	if (*at >= len)
		return false;
	while (end < len && data[end] != '\n' && data[end] != '\r')
		end++;
	*line = (const char *) data + *at;
	*line_len = end - *at;
	*at = end + 1 + (end + 1 < len && data[end] == '\r' && data[end + 1] == '\n');
	return true;
}

static FsiStatus
check_utf8(const char *name, const uint8_t *data, size_t len, FsiError *err)
{
	size_t		bad = text_utf8_valid((const char *) data, len);

	if (bad < len)
		return fsi_fail(err, FSI_CORRUPT, "%s is not valid UTF-8 at byte %zu", name, bad);
	return FSI_OK;
}

FsiStatus
toksrc_read_vocab_txt(TokBuild *b, const uint8_t *data, size_t len)
{
	const char *line;
	size_t		line_len,
				at = 0;
	int64_t		id = 0;

	FSI_TRY(check_utf8("vocab.txt", data, len, b->err));
	while (next_line(data, len, &at, &line, &line_len))
		FSI_TRY(build_token(b, id++, line, line_len, TOK_IN_MODEL));
	/* Special tokens that other files name would go into it as its first. */
	if (id == 0)
		return fsi_fail(b->err, FSI_INVALID, "tokenizer has an empty vocabulary");
	return FSI_OK;
}

FsiStatus
toksrc_read_vocab_json(TokBuild *b, const json_t *vocab)
{
	const char *token;
	json_t	   *value;
	int64_t		id;

	if (!json_is_object(vocab))
		return fsi_fail(b->err, FSI_CORRUPT, "tokenizer has no vocabulary of strings and ids");
	json_object_foreach((json_t *) vocab, token, value)
	{
		if (!toksrc_int(value, &id))
			return fsi_fail(b->err, FSI_CORRUPT, "token \"%.100s\" has no integer id", token);
		FSI_TRY(build_token(b, id, token, strlen(token), TOK_IN_MODEL));
	}
	return FSI_OK;
}

FsiStatus
toksrc_read_merges_txt(TokBuild *b, const uint8_t *data, size_t len)
{
	const char *line;
	size_t		line_len,
				at = 0,
				n_lines = 0;

	FSI_TRY(check_utf8("merges.txt", data, len, b->err));
	while (next_line(data, len, &at, &line, &line_len))
		n_lines++;
	FSI_TRY(build_merges(b, n_lines));
	at = 0;
	for (size_t number = 1; next_line(data, len, &at, &line, &line_len); number++)
	{
		const char *space;

		if (line_len == 0 || (number == 1 && line[0] == '#' && line_len >= 8 && memcmp(line, "#version", 8) == 0))
			continue;
		space = memchr(line, ' ', line_len);
		if (space == NULL || memchr(space + 1, ' ', line_len - (size_t) (space + 1 - line)) != NULL)
			return fsi_fail(b->err, FSI_CORRUPT, "merges.txt: line %zu is not two tokens", number);
		FSI_TRY(build_merge(b, line, (size_t) (space - line), space + 1, line_len - (size_t) (space + 1 - line)));
	}
	return FSI_OK;
}
