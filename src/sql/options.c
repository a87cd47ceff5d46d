/*
 * options.c
 *	  The jsonb of options: one reader per key, every error names the place.
 *
 * A null stands for an option that is not given, so that jsonb_build_object() can be fed
 * with expressions that may be NULL.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "args.h"
#include "fsi_compat.h"
#include "fsi_sql.h"

typedef void (*OptionReader) (ExecQuestion *q, const char *path, JsonbValue *value);

const char *
args_type_name(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		case jbvBinary:
			return JsonContainerIsArray(v->val.binary.data) ? "an array" : "an object";
		default:
			return "something else";
	}
}

void
args_wrong_type(const char *path, const char *wanted, const JsonbValue *v)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s, not %s", path, wanted, args_type_name(v))));
}

char *
args_string(const char *path, const JsonbValue *v)
{
	if (v->type != jbvString)
		args_wrong_type(path, "a string", v);
	return pnstrdup(v->val.string.val, v->val.string.len);
}

Numeric
args_number(const char *path, const JsonbValue *v)
{
	if (v->type != jbvNumeric)
		args_wrong_type(path, "a number", v);
	return v->val.numeric;
}

const char *
args_number_text(Numeric number)
{
	const char *s = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));

	return host_excerpt(s, strlen(s));
}

bool
args_number_between(Numeric number, int64 low, int64 high)
{
	return DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(number), NumericGetDatum(int64_to_numeric(low)))) &&
		DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(number), NumericGetDatum(int64_to_numeric(high))));
}

bool
args_number_is_whole(Numeric number)
{
	Datum		whole = DirectFunctionCall2(numeric_trunc, NumericGetDatum(number), Int32GetDatum(0));

	return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(number), whole));
}

int64
args_number_int64(Numeric number)
{
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
}

double
args_number_double(Numeric number)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number)));
}

void
args_check_object(Jsonb *options, const char *hint)
{
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("%s", hint)));
}

JsonbIterator *
args_members(JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	opening;

	JsonbIteratorNext(&it, &opening, false);
	return it;
}

bool
args_next(JsonbIterator **it, JsonbValue *key, JsonbValue *value)
{
	if (JsonbIteratorNext(it, key, true) != WJB_KEY)
		return false;
	JsonbIteratorNext(it, value, true);
	return true;
}

pg_noreturn static void
unknown_option(const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", name),
			 errhint("%s", hint)));
}

static const char *
option_name(const void *options, size_t size, size_t i)
{
	return *(const char *const *) ((const char *) options + i * size);
}

size_t
args_find_option(const JsonbValue *key, const void *options, size_t size, size_t n)
{
	StringInfoData list;

	for (size_t i = 0; i < n; i++)
		if (args_key_is(key, option_name(options, size, i)))
			return i;
	initStringInfo(&list);
	for (size_t i = 0; i < n; i++)
		appendStringInfo(&list, "%s\"%s\"", i == 0 ? "" : i == n - 1 ? " and " : ", ", option_name(options, size, i));
	unknown_option(args_key_excerpt(key), psprintf("Options are %s.", list.data));
}

static HostText
read_string(const char *path, JsonbValue *v)
{
	if (v->type != jbvString)
		args_wrong_type(path, "a string", v);
	return host_utf8(v->val.string.val, v->val.string.len);
}

static JsonbIterator *
open_container(const char *path, JsonbValue *v, bool array)
{
	if (v->type != jbvBinary || JsonContainerIsArray(v->val.binary.data) != array)
		args_wrong_type(path, array ? "an array" : "an object", v);
	return args_members(v->val.binary.data);
}

bool
args_key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) && memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

const char *
args_key_excerpt(const JsonbValue *key)
{
	return host_excerpt(key->val.string.val, key->val.string.len);
}

static int
find_intent(const ExecQuestion *q, const char *path, HostText intent, const JsonbValue *spelled)
{
	int			found = args_find_intent(q, intent);

	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" names \"%s\", which is not among the intents", path, args_key_excerpt(spelled)),
				 q->other.len > 0 && args_compare(text_trim(intent), q->other) == 0 ?
				 errhint("The answer that \"other\" names has no examples and no description.") :
				 errhint("Add it to the intents, or leave it out of the option.")));
	return found;
}

/* A string of more than white space. */
static HostText
read_words(const char *path, JsonbValue *value)
{
	HostText	t = read_string(path, value);

	if (text_trim(t).len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not be empty", path)));
	return t;
}

/* One object {"text": …, "intent": …}. */
static void
read_example(ExecQuestion *q, const char *path, JsonbValue *value, ExecExample *out)
{
	JsonbIterator *it = open_container(path, value, false);
	JsonbValue	key;
	JsonbValue	member;
	bool		has_text = false;
	bool		has_intent = false;

	while (args_next(&it, &key, &member))
	{
		bool		is_text = args_key_is(&key, "text");
		bool		is_intent = args_key_is(&key, "intent");
		char	   *member_path = psprintf("%s.%s", path, args_key_excerpt(&key));

		if (!is_text && !is_intent)
			unknown_option(member_path, "An example has the keys \"text\" and \"intent\".");
		if (is_text)
			out->text = read_words(member_path, &member);
		else
			out->intent = find_intent(q, member_path, read_string(member_path, &member), &member);
		has_text |= is_text;
		has_intent |= is_intent;
		pfree(member_path);
	}
	if (!has_text || !has_intent)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" lacks the key \"%s\"", path, has_text ? "intent" : "text"),
				 errhint("An example looks like {\"text\": \"where is my parcel\", \"intent\": \"track order\"}.")));
}

static void
read_examples(ExecQuestion *q, const char *path, JsonbValue *value)
{
	JsonbIterator *it = open_container(path, value, true);
	int			n = (int) JsonContainerSize(value->val.binary.data);
	JsonbValue	element;

	if (n > ARGS_MAX_EXAMPLES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%d examples are more than the limit of %d", n, ARGS_MAX_EXAMPLES)));
	q->examples = palloc(sizeof(ExecExample) * Max(n, 1));
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
	{
		char		element_path[32];

		CHECK_FOR_INTERRUPTS();
		snprintf(element_path, sizeof(element_path), "%s[%d]", path, q->n_examples);
		read_example(q, element_path, &element, &q->examples[q->n_examples]);
		q->n_examples++;
	}
}

static void
read_descriptions(ExecQuestion *q, const char *path, JsonbValue *value)
{
	JsonbIterator *it = open_container(path, value, false);
	JsonbValue	key;
	JsonbValue	member;

	q->descriptions = palloc0(sizeof(HostText) * q->n_intents);
	while (args_next(&it, &key, &member))
	{
		char	   *member_path = psprintf("%s.%s", path, args_key_excerpt(&key));
		int			intent = find_intent(q, path, host_utf8(key.val.string.val, key.val.string.len), &key);

		CHECK_FOR_INTERRUPTS();
		if (q->descriptions[intent].s != NULL && member.type != jbvNull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" describes intent \"%s\" twice", path, args_key_excerpt(&key)),
					 errhint("Keys that differ in white space around them are the same intent.")));
		if (member.type != jbvNull)
			q->descriptions[intent] = read_words(member_path, &member);
		pfree(member_path);
	}
}

static void
read_other(ExecQuestion *q, const char *path, JsonbValue *value)
{
	q->other = text_trim(read_words(path, value));
	q->other_label = cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static void
read_min_score(ExecQuestion *q, const char *path, JsonbValue *value)
{
	Numeric		number = args_number(path, value);

	if (!args_number_between(number, 0, 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be between 0 and 1, not %s", path, args_number_text(number))));
	q->min_score_given = true;
	q->min_score = args_number_double(number);
}

static void
read_template(ExecQuestion *q, const char *path, JsonbValue *value)
{
	q->template_text = read_string(path, value);
}

static void
read_instructions(ExecQuestion *q, const char *path, JsonbValue *value)
{
	q->instructions = read_string(path, value);
}

static void
read_model(ExecQuestion *q, const char *path, JsonbValue *value)
{
	q->model_name = args_string(path, value);
}

static void
read_scoring(ExecQuestion *q, const char *path, JsonbValue *value)
{
	(void) read_string(path, value);
	if (args_key_is(value, "trie"))
		q->scoring = EXEC_TRIE;
	else if (args_key_is(value, "sequence"))
		q->scoring = EXEC_SEQUENCE;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be \"trie\" or \"sequence\", not \"%s\"", path, args_key_excerpt(value))));
	q->scoring_given = true;
}

static const struct
{
	const char *name;
	OptionReader read;
}			option_readers[] =
{
	{"descriptions", read_descriptions},
	{"examples", read_examples},
	{"instructions", read_instructions},
	{"min_score", read_min_score},
	{"model", read_model},
	{"other", read_other},
	{"scoring", read_scoring},
	{"template", read_template},
};

void
args_options(Jsonb *options, ExecQuestion *q)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	args_check_object(options, JB_ROOT_IS_ARRAY(options) && !JB_ROOT_IS_SCALAR(options) ?
					  "Examples are an option: jsonb_build_object('examples', fsi_examples(msg, intent))." :
					  "For example {\"other\": \"something else\"}.");
	it = args_members(&options->root);
	while (args_next(&it, &key, &value))
	{
		size_t		i = args_find_option(&key, option_readers, sizeof(option_readers[0]), lengthof(option_readers));

		if (value.type != jbvNull)
			option_readers[i].read(q, option_readers[i].name, &value);
	}
}
