/*
 * prompts_options.c
 *	  The jsonb arguments of fsi_prompts(): options, spellings of intents, templates by source.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "prompts.h"

#define MAX_SAMPLES 1000000
#define MIN_TOKENS 16

typedef void (*OptionReader) (PromptsOptions *o, const char *path, JsonbValue *value);

static char *
key_path(const char *path, const JsonbValue *key)
{
	return psprintf("%s.%s", path, args_key_excerpt(key));
}

static bool
is_array(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
}

static bool
is_object(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
}

static FewshotText
string_text(const JsonbValue *v)
{
	return host_utf8(v->val.string.val, v->val.string.len);
}

/* ---------------------------------------------------------------- spellings */

/* Levels of objects above the lists of spellings. */
static int
count_levels(const JsonbValue *value)
{
	JsonbIterator *it = args_members(value->val.binary.data);
	JsonbValue	key;
	JsonbValue	member;

	return args_next(&it, &key, &member) && is_object(&member) ? 1 + count_levels(&member) : 0;
}

/* Where in the option a spelling stands. */
typedef struct Place
{
	Fewshot    *f;
	FewshotKind kind;
	FewshotText source,
				version;
} Place;

static void
add_spelling(const Place *p, const char *path, FewshotText label, const JsonbValue *value)
{
	FsiError	err = {0};
	FewshotText spelling;

	if (value->type != jbvString)
		args_wrong_type(path, "a string", value);
	spelling = text_trim(string_text(value));
	if (spelling.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not be empty", path)));
	HOST_TRY(fewshot_add_spelling(p->f, p->kind, p->source, p->version, text_trim(label), spelling, &err));
}

/* A label's spellings: a string or an array of strings. */
static void
add_label(const Place *p, const char *path, FewshotText label, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	element;
	int			n = 0;

	if (value->type == jbvString)
	{
		add_spelling(p, path, label, value);
		return;
	}
	if (!is_array(value))
		args_wrong_type(path, "a string or an array of strings", value);
	it = args_members(value->val.binary.data);
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
		add_spelling(p, psprintf("%s[%d]", path, n++), label, &element);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not be empty", path)));
}

/* levels 2: by source and version; 1: by version; 0: labels. */
static void
add_levels(const Place *p, const char *path, int levels, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	member;

	if (!is_object(value))
		args_wrong_type(path, "an object", value);
	it = args_members(value->val.binary.data);
	while (args_next(&it, &key, &member))
	{
		Place		inner = *p;
		char	   *inner_path = key_path(path, &key);

		CHECK_FOR_INTERRUPTS();
		if (levels == 0)
			add_label(p, inner_path, string_text(&key), &member);
		else
		{
			*(levels == 2 ? &inner.source : &inner.version) = string_text(&key);
			add_levels(&inner, inner_path, levels - 1, &member);
		}
		pfree(inner_path);
	}
}

void
prompts_add_spellings(Fewshot *f, FewshotKind kind, const char *option, JsonbValue *value)
{
	Place		place = {.f = f, .kind = kind};
	int			levels;

	if (value->type == jbvNull)
		return;
	if (!is_object(value))
		args_wrong_type(option, "an object", value);
	levels = count_levels(value);
	if (levels > 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has too many levels", option),
				 errhint("It holds texts by intent, or these by version, or these by source.")));
	add_levels(&place, option, levels, value);
}

/* ---------------------------------------------------------------- templates */

static void
wrong_templates(const char *path, const JsonbValue *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be a template file's text or an array of such texts, not %s", path, args_type_name(value))));
}

static void
add_texts(Fewshot *f, const char *path, FewshotText source, JsonbValue *value)
{
	FsiError	err = {0};
	JsonbIterator *it;
	JsonbValue	element;
	int			n = 0;

	if (value->type == jbvString)
	{
		HOST_TRY(fewshot_add_templates(f, source, path, string_text(value), &err));
		return;
	}
	if (!is_array(value))
		wrong_templates(path, value);
	it = args_members(value->val.binary.data);
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
	{
		char	   *element_path = psprintf("%s[%d]", path, n++);

		if (element.type != jbvString)
			wrong_templates(element_path, &element);
		HOST_TRY(fewshot_add_templates(f, source, element_path, string_text(&element), &err));
	}
}

void
prompts_add_templates(Fewshot *f, Jsonb *templates)
{
	FewshotText every = {NULL, 0};
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	member;
	JsonbValue	all = {.type = jbvBinary};

	all.val.binary.data = &templates->root;
	all.val.binary.len = VARSIZE(templates) - VARHDRSZ;
	if (JB_ROOT_IS_SCALAR(templates))
	{
		JsonbExtractScalar(&templates->root, &all);
		add_texts(f, "templates", every, &all);
		return;
	}
	if (!is_object(&all))
	{
		add_texts(f, "templates", every, &all);
		return;
	}
	it = args_members(&templates->root);
	while (args_next(&it, &key, &member))
		add_texts(f, key_path("templates", &key), string_text(&key), &member);
}

/* ---------------------------------------------------------------- options */

static int64
read_integer(const char *path, JsonbValue *value, int64 low, int64 high)
{
	Numeric		number = args_number(path, value);

	if (!args_number_between(number, low, high) || !args_number_is_whole(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be an integer from " INT64_FORMAT " to " INT64_FORMAT ", not %s",
						path, low, high, args_number_text(number))));
	return args_number_int64(number);
}

static const struct
{
	const char *name;
	FewshotFlaw flaw;
}			flaws[] =
{
	{"position", FEWSHOT_POSITION},
	{"symbols", FEWSHOT_SYMBOLS},
	{"not_applicable", FEWSHOT_NOT_APPLICABLE},
	{"length", FEWSHOT_LENGTH},
	{"labels", FEWSHOT_LABELS},
};

static void
read_faithful(PromptsOptions *o, const char *path, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	element;

	if (value->type == jbvBool)
	{
		o->flaws = value->val.boolean ? FEWSHOT_ALL_FLAWS : 0;
		return;
	}
	if (!is_array(value))
		args_wrong_type(path, "a boolean or an array of strings", value);
	it = args_members(value->val.binary.data);
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
	{
		size_t		i;

		if (element.type != jbvString)
			args_wrong_type(path, "a boolean or an array of strings", &element);
		for (i = 0; i < lengthof(flaws); i++)
			if (args_key_is(&element, flaws[i].name))
				break;
		if (i == lengthof(flaws))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" names an unknown flaw \"%s\"", path, args_key_excerpt(&element)),
					 errhint("There are \"position\", \"symbols\", \"not_applicable\", \"length\" and \"labels\".")));
		o->flaws |= flaws[i].flaw;
	}
}

static void
read_seed(PromptsOptions *o, const char *path, JsonbValue *value)
{
	o->seed = read_integer(path, value, PG_INT64_MIN, PG_INT64_MAX);
}

static void
read_samples(PromptsOptions *o, const char *path, JsonbValue *value)
{
	o->samples = (int) read_integer(path, value, 1, MAX_SAMPLES);
}

static void
read_max_tokens(PromptsOptions *o, const char *path, JsonbValue *value)
{
	o->max_tokens = (int) read_integer(path, value, MIN_TOKENS, PG_INT32_MAX);
}

static void
read_model(PromptsOptions *o, const char *path, JsonbValue *value)
{
	o->model_name = args_string(path, value);
}

static void
read_labels(PromptsOptions *o, const char *path, JsonbValue *value)
{
	(void) path;
	o->labels = *value;
}

static void
read_descriptions(PromptsOptions *o, const char *path, JsonbValue *value)
{
	(void) path;
	o->descriptions = *value;
}

static const struct
{
	const char *name;
	OptionReader read;
}			option_readers[] =
{
	{"descriptions", read_descriptions},
	{"faithful", read_faithful},
	{"labels", read_labels},
	{"max_tokens", read_max_tokens},
	{"model", read_model},
	{"samples", read_samples},
	{"seed", read_seed},
};

void
prompts_read_options(Jsonb *options, PromptsOptions *o)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	memset(o, 0, sizeof(*o));
	o->samples = 1;
	o->labels.type = jbvNull;
	o->descriptions.type = jbvNull;
	if (options == NULL)
		return;
	args_check_object(options, "For example {\"model\": \"my-gpt2\", \"seed\": 1}.");
	it = args_members(&options->root);
	while (args_next(&it, &key, &value))
	{
		size_t		i = args_find_option(&key, option_readers, sizeof(option_readers[0]), lengthof(option_readers));

		if (value.type != jbvNull)
			option_readers[i].read(o, option_readers[i].name, &value);
	}
}
