/*
 * template.c
 *	  The published data set's template files: reading them, and filling their placeholders.
 *
 * A file is blocks of three headed parts.  As there, every line is stripped, each part is
 * stripped as a whole, and a placeholder is {name}; {{ and }} are literal braces.  Unlike
 * there, a template is checked where it is read: unknown placeholders and keys, a part
 * that is missing or stands twice, a block without its end.
 */
#include <stdio.h>
#include <string.h>

#include "fsi_fewshot.h"
#include "fsi_json.h"
#include "unicode.h"

#define END_LINE "--- [define prompt template end] ---"
#define NAME_LIMIT 64			/* of a name that an error message quotes */
#define FILE_MAX 4194304		/* bytes: some 30 ms, in which nothing asks whether to stop */
#define KWARGS_MAX 1048576		/* bytes: Jansson's memory, some 50 times that, is not the host's */

typedef enum Part { PART_PROMPT, PART_RESPONSE, PART_KWARGS, PARTS, NO_PART } Part;

static const char *const part_names[PARTS] = {"prompt_template", "response_template", "kwargs"};

typedef struct Reader
{
	const char *name;			/* of the file, for messages */
	FsiArena   *arena;
	FsiError   *err;
	int			line;
	Part		part;
	int			first_line[PARTS];	/* of the part's text; 0: it has not come yet */
	FsiBytes	text[PARTS];
	int			n,
				cap;
	Template   *list;
} Reader;

#define BIT(field) (1u << (field))

static const char *const field_names[TEMPLATE_FIELDS] = {
	"examples", "intent_description", "text", "intent", "intent_symbol", "not_applicable"
};

/* What may stand where. */
#define PROMPT_FIELDS (BIT(TEMPLATE_FIELDS) - 1)
#define RESPONSE_FIELDS (BIT(TEMPLATE_TEXT) | BIT(TEMPLATE_INTENT) | BIT(TEMPLATE_SYMBOL) | BIT(TEMPLATE_NOT_APPLICABLE))
#define EXAMPLE_FIELDS (BIT(TEMPLATE_TEXT) | BIT(TEMPLATE_INTENT) | BIT(TEMPLATE_SYMBOL) | BIT(TEMPLATE_DESCRIPTION))
#define DESCRIPTION_FIELDS (BIT(TEMPLATE_INTENT) | BIT(TEMPLATE_SYMBOL) | BIT(TEMPLATE_DESCRIPTION))

__attribute__((format(printf, 3, 4)))
static FsiStatus
fail_at(Reader *r, int line, const char *fmt,...)
{
	char		what[400];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return fsi_fail(r->err, FSI_INVALID, "%s, line %d: %s", r->name, line, what);
}

static bool
is(FewshotText t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.s, s, t.len) == 0;
}

static int
count_lines(const char *s, size_t len)
{
	int			n = 0;

	for (size_t i = 0; i < len; i++)
		n += s[i] == '\n';
	return n;
}

/* ---------------------------------------------------------------- placeholders */

typedef struct Scan
{
	Reader	   *r;
	const char *part;			/* its name */
	FewshotText text;
	int			line;			/* of the text's beginning */
	bool		counts;			/* its lines are the file's */
	unsigned	allowed;
	FsiBytes	pieces;
	TemplateText *out;
} Scan;

static int
scan_line(const Scan *s, size_t at)
{
	return s->line + (s->counts ? count_lines(s->text.s, at) : 0);
}

static FsiStatus
add_piece(Scan *s, TemplateField field, const char *literal, size_t len)
{
	TemplatePiece piece = {field, {literal, len}};

	if (field == TEMPLATE_LITERAL && len == 0)
		return FSI_OK;
	if (!fsi_bytes_append(&s->pieces, &piece, sizeof(piece)))
		return fsi_nomem(s->r->err, sizeof(piece));
	s->out->n_piece++;
	if (field != TEMPLATE_LITERAL)
		s->out->fields |= BIT(field);
	return FSI_OK;
}

static void
hint_fields(const Scan *s)
{
	char		known[256] = "";
	size_t		len = 0;

	for (int i = 0; i < TEMPLATE_FIELDS; i++)
		if (s->allowed & BIT(i))
			len += (size_t) snprintf(known + len, sizeof(known) - len, "%s{%s}", len > 0 ? ", " : "", field_names[i]);
	fsi_hint(s->r->err, "Here may stand %s; {{ and }} are literal braces.", known);
}

/* The placeholder at text[at]; *end is after it. */
static FsiStatus
scan_field(Scan *s, size_t at, size_t *end)
{
	const char *name = s->text.s + at + 1;
	const char *close = memchr(name, '}', s->text.len - at - 1);
	FewshotText found;

	if (close == NULL || memchr(name, '\n', (size_t) (close - name)) != NULL)
	{
		fail_at(s->r, scan_line(s, at), "\"{\" without \"}\" in %s", s->part);
		fsi_hint(s->r->err, "Write {{ and }} for literal braces.");
		return FSI_INVALID;
	}
	found = (FewshotText) {name, (size_t) (close - name)};
	*end = at + found.len + 2;
	for (int i = 0; i < TEMPLATE_FIELDS; i++)
		if ((s->allowed & BIT(i)) && is(found, field_names[i]))
			return add_piece(s, i, NULL, 0);
	fail_at(s->r, scan_line(s, at), "unknown placeholder \"{%.*s}\" in %s",
			(int) (found.len < NAME_LIMIT ? found.len : NAME_LIMIT), found.s, s->part);
	hint_fields(s);
	return FSI_INVALID;
}

/* Cut text into pieces, which point into it. */
static FsiStatus
scan_text(Scan *s)
{
	FewshotText t = s->text;
	size_t		start = 0;

	fsi_bytes_init(&s->pieces, s->r->arena);
	*s->out = (TemplateText) {.given = true};
	for (size_t i = 0; i < t.len;)
	{
		char		c = t.s[i];

		if (c != '{' && c != '}')
		{
			i++;
			continue;
		}
		if (i + 1 < t.len && t.s[i + 1] == c)
		{
			FSI_TRY(add_piece(s, TEMPLATE_LITERAL, t.s + start, i + 1 - start));
			i += 2;
		}
		else if (c == '}')
		{
			fail_at(s->r, scan_line(s, i), "\"}\" without \"{\" in %s", s->part);
			fsi_hint(s->r->err, "Write {{ and }} for literal braces.");
			return FSI_INVALID;
		}
		else
		{
			FSI_TRY(add_piece(s, TEMPLATE_LITERAL, t.s + start, i - start));
			FSI_TRY(scan_field(s, i, &i));
		}
		start = i;
	}
	FSI_TRY(add_piece(s, TEMPLATE_LITERAL, t.s + start, t.len - start));
	s->out->pieces = (const TemplatePiece *) s->pieces.data;
	return FSI_OK;
}

FsiStatus
template_fill(const TemplateText *t, const FewshotText values[TEMPLATE_FIELDS], FsiBytes *out, FsiError *err)
{
	for (int i = 0; i < t->n_piece; i++)
	{
		const TemplatePiece *p = &t->pieces[i];
		FewshotText v = p->field == TEMPLATE_LITERAL ? p->literal : values[p->field];

		if (!fsi_bytes_append(out, v.s, v.len))
			return fsi_nomem(err, v.len);
	}
	return FSI_OK;
}

/* ---------------------------------------------------------------- kwargs */

typedef enum Kind { KIND_TEXT, KIND_EXAMPLE, KIND_DESCRIPTION, KIND_ANSWERS, KIND_RATE, KIND_WAYS, KIND_SHOTS } Kind;

typedef struct Keyword
{
	const char *name;
	Kind		kind;
	size_t		offset;
} Keyword;

static const Keyword keywords[] = {
	{"description", KIND_TEXT, offsetof(Template, note)},
	{"example_template", KIND_EXAMPLE, offsetof(Template, example)},
	{"example_sep", KIND_TEXT, offsetof(Template, example_sep)},
	{"intent_description_template", KIND_DESCRIPTION, offsetof(Template, description)},
	{"intent_description_sep", KIND_TEXT, offsetof(Template, description_sep)},
	{"not_applicable_variable", KIND_ANSWERS, 0},
	{"not_applicable_rate", KIND_RATE, offsetof(Template, not_applicable_rate)},
	{"min_n_way", KIND_WAYS, offsetof(Template, min_ways)},
	{"max_n_way", KIND_WAYS, offsetof(Template, max_ways)},
	{"min_n_shot", KIND_SHOTS, offsetof(Template, min_shots)},
	{"max_n_shot", KIND_SHOTS, offsetof(Template, max_shots)},
};

static FsiStatus
copy_string(Reader *r, const json_t *value, FewshotText *out)
{
	out->len = json_string_length(value);
	out->s = fsi_arena_strndup(r->arena, json_string_value(value), out->len);
	return out->s != NULL ? FSI_OK : fsi_nomem(r->err, out->len);
}

static FsiStatus
read_text_field(Reader *r, const Keyword *k, const json_t *value, TemplateText *out)
{
	Scan		s = {.r = r, .part = k->name, .line = r->first_line[PART_KWARGS], .out = out};

	s.allowed = k->kind == KIND_EXAMPLE ? EXAMPLE_FIELDS : DESCRIPTION_FIELDS;
	FSI_TRY(copy_string(r, value, &s.text));
	return scan_text(&s);
}

/* A list of answers, each a text that is not empty. */
static FsiStatus
read_answers(Reader *r, const json_t *list, Template *t)
{
	FewshotText *answers = fsi_arena_array(r->arena, json_array_size(list), sizeof(FewshotText));

	if (answers == NULL)
		return fsi_nomem(r->err, json_array_size(list) * sizeof(FewshotText));
	for (size_t i = 0; i < json_array_size(list); i++)
	{
		const json_t *element = json_array_get(list, i);

		if (!json_is_string(element))
			return fail_at(r, r->first_line[PART_KWARGS], "\"not_applicable_variable\" lists something else than a string");
		FSI_TRY(copy_string(r, element, &answers[i]));
		answers[i] = text_trim(answers[i]);
		if (answers[i].len == 0)
			return fail_at(r, r->first_line[PART_KWARGS], "\"not_applicable_variable\" has an empty answer");
	}
	t->not_applicable = answers;
	t->n_not_applicable = (int) json_array_size(list);
	return FSI_OK;
}

/* A string, a list, or a string that holds a JSON list. */
static FsiStatus
read_answer_field(Reader *r, const json_t *value, Template *t)
{
	json_t	   *list = NULL;
	FewshotText *only;
	FsiStatus	status;

	if (json_is_array(value))
		return read_answers(r, value, t);
	if (!json_is_string(value))
		return fail_at(r, r->first_line[PART_KWARGS], "\"not_applicable_variable\" must be a string or a list of strings");
	status = fsi_json_read(r->arena->host, json_string_value(value), json_string_length(value), 0, &list, NULL, r->err);
	if (status != FSI_CORRUPT)
		FSI_TRY(status);
	if (json_is_array(list))
	{
		status = read_answers(r, list, t);
		json_decref(list);
		return status;
	}
	json_decref(list);
	only = fsi_arena_array(r->arena, 1, sizeof(FewshotText));
	if (only == NULL)
		return fsi_nomem(r->err, sizeof(FewshotText));
	FSI_TRY(copy_string(r, value, only));
	*only = text_trim(*only);
	t->not_applicable = only;
	t->n_not_applicable = only->len > 0;
	return FSI_OK;
}

static FsiStatus
read_keyword(Reader *r, const Keyword *k, const json_t *value, Template *t)
{
	void	   *field = (char *) t + k->offset;
	int			line = r->first_line[PART_KWARGS];
	int			limit = k->kind == KIND_WAYS ? TEMPLATE_MAX_WAYS : TEMPLATE_MAX_SHOTS;

	switch (k->kind)
	{
		case KIND_TEXT:
		case KIND_EXAMPLE:
		case KIND_DESCRIPTION:
			if (!json_is_string(value))
				return fail_at(r, line, "\"%s\" must be a string", k->name);
			return k->kind == KIND_TEXT ? copy_string(r, value, field) : read_text_field(r, k, value, field);
		case KIND_ANSWERS:
			return read_answer_field(r, value, t);
		case KIND_RATE:
			if (!json_is_number(value) || !(json_number_value(value) >= 0 && json_number_value(value) <= 1))
				return fail_at(r, line, "\"%s\" must be a number from 0 to 1", k->name);
			*(double *) field = json_number_value(value);
			return FSI_OK;
		case KIND_WAYS:
		case KIND_SHOTS:
			if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > limit)
				return fail_at(r, line, "\"%s\" must be an integer from 0 to %d", k->name, limit);
			*(int *) field = (int) json_integer_value(value);
			return FSI_OK;
	}
	return FSI_OK;
}

static FsiStatus
unknown_key(Reader *r, const char *key)
{
	char		list[sizeof(r->err->hint)] = "";

	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s\"%s\"",
				 i == 0 ? "" : i == sizeof(keywords) / sizeof(keywords[0]) - 1 ? " and " : ", ", keywords[i].name);
	fail_at(r, r->first_line[PART_KWARGS], "unknown key \"%.*s\" in kwargs", NAME_LIMIT, key);
	fsi_hint(r->err, "Keys are %s.", list);
	return FSI_INVALID;
}

static FsiStatus
read_object(Reader *r, json_t *object, Template *t)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(object))
		return fail_at(r, r->first_line[PART_KWARGS], "kwargs must be a JSON object");
	json_object_foreach(object, key, value)
	{
		const Keyword *found = NULL;

		for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
			if (strcmp(keywords[i].name, key) == 0)
				found = &keywords[i];
		if (found == NULL)
			return unknown_key(r, key);
		FSI_TRY(read_keyword(r, found, value, t));
	}
	return FSI_OK;
}

static FsiStatus
read_kwargs(Reader *r, Template *t)
{
	FsiBytes   *text = &r->text[PART_KWARGS];
	json_error_t json_err;
	json_t	   *object;
	FsiStatus	status;

	if (text->len > KWARGS_MAX)
		return fail_at(r, r->first_line[PART_KWARGS], "kwargs has %zu bytes, the limit is %d", text->len, KWARGS_MAX);
	status = fsi_json_read(r->arena->host, (const char *) text->data, text->len, JSON_REJECT_DUPLICATES, &object,
						   &json_err, r->err);
	if (status == FSI_CORRUPT)
		return fail_at(r, r->first_line[PART_KWARGS] + (json_err.line > 0 ? json_err.line - 1 : 0),
					   "kwargs is not JSON: %s", json_err.text);
	FSI_TRY(status);
	status = read_object(r, object, t);
	json_decref(object);
	return status;
}

/* ---------------------------------------------------------------- blocks */

/* The stripped text of a part, and the line of its beginning. */
static FewshotText
part_text(const Reader *r, Part part, int *line)
{
	FewshotText whole = {(const char *) r->text[part].data, r->text[part].len};
	FewshotText text = text_trim(whole);

	*line = r->first_line[part] + count_lines(whole.s, (size_t) (text.s - whole.s));
	return text;
}

static FsiStatus
scan_part(Reader *r, Part part, unsigned allowed, TemplateText *out, FewshotText *raw)
{
	Scan		s = {.r = r, .part = part_names[part], .counts = true, .allowed = allowed, .out = out};

	s.text = part_text(r, part, &s.line);
	if (s.text.len == 0)
		return fail_at(r, r->first_line[part], "%s is empty", s.part);
	*raw = s.text;
	return scan_text(&s);
}

/* What one part asks of another. */
static FsiStatus
check_template(Reader *r, const Template *t)
{
	int			line = r->first_line[PART_KWARGS];

	if (!TEMPLATE_HAS(&t->prompt, TEMPLATE_TEXT))
		return fail_at(r, r->first_line[PART_PROMPT], "prompt_template has no {text}");
	if (TEMPLATE_HAS(&t->prompt, TEMPLATE_EXAMPLES) && !t->example.given)
		return fail_at(r, line, "prompt_template has {examples}, but kwargs has no \"example_template\"");
	if ((TEMPLATE_HAS(&t->prompt, TEMPLATE_NOT_APPLICABLE) || TEMPLATE_HAS(&t->response, TEMPLATE_NOT_APPLICABLE) ||
		 t->not_applicable_rate > 0) && t->n_not_applicable == 0)
		return fail_at(r, line, "kwargs has no \"not_applicable_variable\"");
	if (t->max_ways < 2)
		return fail_at(r, line, "\"max_n_way\" must be at least 2");
	if (t->min_ways > t->max_ways)
		return fail_at(r, line, "\"min_n_way\" is %d, more than \"max_n_way\", which is %d", t->min_ways, t->max_ways);
	if (t->max_shots < 1)
		return fail_at(r, line, "\"max_n_shot\" must be at least 1");
	if (t->min_shots > t->max_shots)
		return fail_at(r, line, "\"min_n_shot\" is %d, more than \"max_n_shot\", which is %d", t->min_shots, t->max_shots);
	return FSI_OK;
}

static FsiStatus
append_template(Reader *r, const Template *t)
{
	if (r->n == r->cap)
	{
		int			cap = r->cap == 0 ? 8 : r->cap * 2;
		Template   *list = fsi_arena_array(r->arena, (size_t) cap, sizeof(Template));

		if (list == NULL)
			return fsi_nomem(r->err, (size_t) cap * sizeof(Template));
		if (r->n > 0)
			memcpy(list, r->list, (size_t) r->n * sizeof(Template));
		r->list = list;
		r->cap = cap;
	}
	r->list[r->n++] = *t;
	return FSI_OK;
}

static void
begin_block(Reader *r)
{
	r->part = NO_PART;
	for (int i = 0; i < PARTS; i++)
	{
		r->first_line[i] = 0;
		fsi_bytes_init(&r->text[i], r->arena);
	}
}

static FsiStatus
end_block(Reader *r)
{
	Template	t = {.max_ways = 10, .min_ways = 2, .max_shots = 5, .min_shots = 1};
	FewshotText response;

	for (int i = 0; i < PARTS; i++)
		if (r->first_line[i] == 0)
			return fail_at(r, r->line, "the template that ends here has no \"%s:\"", part_names[i]);
	t.line = r->first_line[PART_PROMPT] - 1;
	FSI_TRY(scan_part(r, PART_PROMPT, PROMPT_FIELDS, &t.prompt, &t.raw_prompt));
	FSI_TRY(scan_part(r, PART_RESPONSE, RESPONSE_FIELDS, &t.response, &response));
	FSI_TRY(read_kwargs(r, &t));
	FSI_TRY(check_template(r, &t));
	FSI_TRY(append_template(r, &t));
	begin_block(r);
	return FSI_OK;
}

static void
hint_parts(FsiError *err)
{
	fsi_hint(err, "A template has the parts \"prompt_template:\", \"response_template:\" and \"kwargs:\", "
			 "and ends with the line \"%s\".", END_LINE);
}

static FsiStatus
read_line(Reader *r, FewshotText line)
{
	line = text_trim(line);
	if (is(line, END_LINE))
		return end_block(r);
	for (int i = 0; i < PARTS; i++)
		if (line.len == strlen(part_names[i]) + 1 && line.s[line.len - 1] == ':' &&
			memcmp(line.s, part_names[i], line.len - 1) == 0)
		{
			if (r->first_line[i] != 0)
				return fail_at(r, r->line, "\"%s:\" stands twice in one template", part_names[i]);
			r->first_line[i] = r->line + 1;
			r->part = (Part) i;
			return FSI_OK;
		}
	if (r->part == NO_PART)
	{
		if (line.len == 0)
			return FSI_OK;
		fail_at(r, r->line, "\"prompt_template:\" expected, not \"%.*s\"",
				(int) (line.len < NAME_LIMIT ? line.len : NAME_LIMIT), line.s);
		hint_parts(r->err);
		return FSI_INVALID;
	}
	if (!fsi_bytes_append(&r->text[r->part], line.s, line.len) || !fsi_bytes_append(&r->text[r->part], "\n", 1))
		return fsi_nomem(r->err, line.len);
	return FSI_OK;
}

FsiStatus
template_read(const char *name, const char *text, size_t len, FsiArena *arena, TemplateList *out, FsiError *err)
{
	static const char byte_order_mark[] = "\xEF\xBB\xBF";
	Reader		r = {.name = name, .arena = arena, .err = err};
	size_t		bad,
				asked = 0;

	if (len > FILE_MAX)
		return fsi_fail(err, FSI_INVALID, "%s has %zu bytes, the limit is %d", name, len, FILE_MAX);
	bad = text_utf8_valid(text, len);
	if (bad < len)
		return fsi_fail(err, FSI_INVALID, "%s is not valid UTF-8 at byte %zu", name, bad);
	begin_block(&r);
	for (size_t at = len >= 3 && memcmp(text, byte_order_mark, 3) == 0 ? 3 : 0; at < len;)
	{
		const char *newline = memchr(text + at, '\n', len - at);
		size_t		end = newline != NULL ? (size_t) (newline - text) : len;

		r.line++;
		FSI_TRY(text_go_on(arena->host, at, &asked, err));
		FSI_TRY(read_line(&r, (FewshotText) {text + at, end - at}));
		at = end + 1;
	}
	if (r.part != NO_PART)
	{
		fail_at(&r, r.line, "the last template has no end");
		fsi_hint(err, "A template ends with the line \"%s\".", END_LINE);
		return FSI_INVALID;
	}
	if (r.n == 0)
	{
		fsi_fail(err, FSI_INVALID, "%s has no template", name);
		hint_parts(err);
		return FSI_INVALID;
	}
	out->n = r.n;
	out->list = r.list;
	return FSI_OK;
}
