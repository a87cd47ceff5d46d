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

/* In comments and strings too, which may be statements. */
void
asked_identifiers(const char *text, void (*visit) (void *context, const char *word), void *context)
{
	for (const char *end = text; *end != '\0';)
	{
		const char *begin = end;

		CHECK_FOR_INTERRUPTS();
		while (goes_on(*end))
			end++;
		if (end == begin)
			end++;
		else if (begins_identifier(*begin) && end - begin < NAMEDATALEN)
		{
			char	   *word = downcase_identifier(begin, (int) (end - begin), false, false);

			visit(context, word);
			pfree(word);
		}
	}
}

/* From any quote to the next of its kind: which begins and which ends a string is another matter in each language. */
void
asked_quoted(const char *text, void (*visit) (void *context, const char *word), void *context)
{
	for (const char *begin = strpbrk(text, "'\""); begin != NULL; begin = strpbrk(begin + 1, "'\""))
	{
		const char *end = memchr(begin + 1, *begin, strnlen(begin + 1, NAMEDATALEN));
		char		word[NAMEDATALEN];

		CHECK_FOR_INTERRUPTS();
		if (end == NULL)
			continue;
		memcpy(word, begin + 1, end - begin - 1);
		word[end - begin - 1] = '\0';
		visit(context, word);
	}
}
