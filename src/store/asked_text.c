/*
 * asked_text.c
 *	  What a function's text has: identifiers, parameters by number, and what is in quotes.  Whatever the language: a
 *	  superset of what it says.
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

bool
asked_is_identifier(const char *word)
{
	const char *end = word;

	while (goes_on(*end))
		end++;
	return *end == '\0' && begins_identifier(*word);
}

static void
visit_word(const char *begin, const char *end, void (*visit) (void *context, const char *word), void *context)
{
	char		word[NAMEDATALEN];
	char	   *lower;

	if (begin == end || end - begin >= NAMEDATALEN || (*begin >= '0' && *begin <= '9'))
		return;
	memcpy(word, begin, end - begin);
	word[end - begin] = '\0';
	lower = downcase_identifier(word, (int) (end - begin), false, false);
	visit(context, lower);
	if (strcmp(word, lower) != 0)
		visit(context, word);
	pfree(lower);
}

/*
 * In comments and strings too, which may be statements: what stands behind a dollar may be the first word of one, and
 * what stands behind a backslash and a letter, too.
 */
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
		{
			end++;
			continue;
		}
		visit_word(begin, end, visit, context);
		if (begin > text && begin[-1] == '\\')
			visit_word(begin + 1, end, visit, context);
		for (const char *at = begin; at < end; at++)
			if (*at == '$')
				visit_word(at + 1, end, visit, context);
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
