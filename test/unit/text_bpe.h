/*
 * text_bpe.h
 *	  A small byte-level BPE tokenizer.json, written by the tests that need one.
 *
 * The vocabulary is <|bos|> 0, <|eos|> 1, <|pad|> 2, the 256 bytes from 3 on, the results
 * of the merges, and "xyz", which no merges make.
 */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "text_help.h"

#define BPE_FIRST_BYTE 3
#define BPE_FIRST_MERGE (BPE_FIRST_BYTE + 256)

static const char *const bpe_merges[][2] = {
	{"Ġ", "t"}, {"h", "e"}, {"Ġt", "he"}, {"r", "e"}, {"f", "u"}, {"fu", "n"}, {"re", "fun"}, {"refun", "d"},
	{"Ġ", "refund"}, {"e", "n"}, {"i", "n"}, {"in", "g"}, {"a", "a"}, {"aa", "aa"}, {"Ġ", "Ġ"},
	{"é", "Ģ"}, {"éĢ", "Ģ"}, {"æ", "¬"}, {"æ¬", "¾"}, {"éĢĢ", "æ¬¾"},
	{"p", "q"}, {"q", "p"}, {"p", "q"},	/* the later one counts */
};
#define BPE_N_MERGES ((int) (sizeof(bpe_merges) / sizeof(bpe_merges[0])))
#define BPE_SIZE (BPE_FIRST_MERGE + BPE_N_MERGES + 1)

/* GPT-2's stand-in of a byte as UTF-8, found by counting as in the original encoder. */
__attribute__((unused))
static const char *
byte_symbol(int byte)
{
	static char s[3];
	int			c = byte,
				n = 0;

	for (int b = 0; b <= byte; b++)
	{
		bool		printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;

		c = printable ? b : 256 + n;
		n += !printable;
	}
	if (c < 0x80)
		s[0] = (char) c, s[1] = '\0';
	else
		s[0] = (char) (0xC0 | c >> 6), s[1] = (char) (0x80 | (c & 0x3F)), s[2] = '\0';
	return s;
}

/* tokenizer.json with the given normalizer, pre_tokenizer and further members of the model ("" or ", …"). */
__attribute__((unused))
static const char *
bpe_json(const char *normalizer, const char *pre_tokenizer, const char *model_members, bool pairs)
{
	static char json[32768];
	char	   *p = json;

	p += sprintf(p, "{\"version\": \"1.0\", \"added_tokens\": [");
	for (int i = 0; i < 3; i++)
		p += sprintf(p, "%s{\"id\": %d, \"content\": \"<|%s|>\", \"single_word\": false, \"lstrip\": %s, "
					 "\"rstrip\": %s, \"normalized\": false, \"special\": true}", i > 0 ? ", " : "", i,
					 (const char *[]) {"bos", "eos", "pad"}[i], i == 0 ? "true" : "false", i == 2 ? "true" : "false");
	p += sprintf(p, "], \"normalizer\": %s, \"pre_tokenizer\": %s, \"post_processor\": null, "
				 "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\"%s, \"vocab\": {"
				 "\"<|bos|>\": 0, \"<|eos|>\": 1, \"<|pad|>\": 2", normalizer, pre_tokenizer, model_members);
	for (int b = 0; b < 256; b++)
		p += sprintf(p, ", \"%s%s\": %d", b == '"' || b == '\\' ? "\\" : "", byte_symbol(b), BPE_FIRST_BYTE + b);
	for (int i = 0; i < BPE_N_MERGES; i++)
		p += sprintf(p, ", \"%s%s\": %d", bpe_merges[i][0], bpe_merges[i][1], BPE_FIRST_MERGE + i);
	p += sprintf(p, ", \"xyz\": %d}, \"merges\": [", BPE_SIZE - 1);
	for (int i = 0; i < BPE_N_MERGES; i++)
		p += sprintf(p,
					 pairs ? "%s[\"%s\", \"%s\"]" : "%s\"%s %s\"", i > 0 ? ", " : "", bpe_merges[i][0], bpe_merges[i][1]);
	sprintf(p, "]}}");
	return json;
}

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}"
#define BYTE_LEVEL_SPACE "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true}"

__attribute__((unused))
static FsiStatus
build_bpe(const char *normalizer, const char *pre_tokenizer, const char *model_members, Tokenizer *tok)
{
	char	   *dir = temp_dir();
	FsiStatus	status;

	put_text(dir, "tokenizer.json", bpe_json(normalizer, pre_tokenizer, model_members, false));
	status = build_open(dir, 0, tok);
	drop_dir(dir);
	return status;
}

#endif
