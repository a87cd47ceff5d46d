/*
 * prompts.h
 *	  Between prompts.c (rows in, pairs out) and prompts_options.c (the jsonb).
 */
#ifndef PROMPTS_H
#define PROMPTS_H

#include "fsi_fewshot.h"
#include "fsi_sql.h"

typedef struct PromptsOptions
{
	int64		seed;
	int			samples;		/* prompts of a row */
	unsigned	flaws;			/* FewshotFlaw */
	char	   *model_name;		/* NULL: the default one */
	int			max_tokens;		/* 0: what the model reads */
	JsonbValue	labels;			/* jbvNull: not given */
	JsonbValue	descriptions;
} PromptsOptions;

/* NULL: none given. */
extern void prompts_read_options(Jsonb *options, PromptsOptions *out);
extern void prompts_add_spellings(Fewshot *f, FewshotKind kind, const char *option, JsonbValue *value);
/* Templates by source, or as they come: a string, an array of strings, an object of these. */
extern void prompts_add_templates(Fewshot *f, Jsonb *templates);

#endif
