/*
 * asked_text.c
 *	  What a function's text has: identifiers, and what is in quotes.  Whatever the language: a superset of what it says.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "parser/scansup.h"

#include "asked.h"

static bool
begins_identifier(char c)
{
	return IS_HIGHBIT_SET(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
goes_on(char c)
{
	return begins_identifier(c) || (c >= '0' && c <= '9') || c == '$';
}

static HTAB *
no_words(void)
{
	HASHCTL		ctl = {.keysize = sizeof(AskedWord), .entrysize = sizeof(AskedWord), .hcxt = CurrentMemoryContext};

	return hash_create("fsi_intent words", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
add(HTAB *words, char *word)
{
	(void) hash_search(words, word, HASH_ENTER, NULL);
	pfree(word);
}

/* In comments and strings too, which may be statements. */
HTAB *
asked_identifiers(const char *text)
{
	HTAB	   *words = no_words();

	for (const char *end = text; *end != '\0';)
	{
		const char *begin = end;

		CHECK_FOR_INTERRUPTS();
		while (goes_on(*end))
			end++;
		if (end == begin)
			end++;
		else if (begins_identifier(*begin) && end - begin < NAMEDATALEN)
			add(words, downcase_identifier(begin, (int) (end - begin), false, false));
	}
	return words;
}

/* From any quote to the next of its kind: which begins and which ends a string is another matter in each language. */
HTAB *
asked_quoted(const char *text)
{
	HTAB	   *words = no_words();

	for (const char *begin = strpbrk(text, "'\""); begin != NULL; begin = strpbrk(begin + 1, "'\""))
	{
		const char *end = memchr(begin + 1, *begin, strnlen(begin + 1, NAMEDATALEN));

		CHECK_FOR_INTERRUPTS();
		if (end != NULL)
			add(words, pnstrdup(begin + 1, end - begin - 1));
	}
	return words;
}
