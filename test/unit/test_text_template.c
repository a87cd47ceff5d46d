/*
 * test_text_template.c
 *	  The published data set's template files: what is read, what is refused and where, filling in.
 */
#include "fsi_fewshot.h"
#include "text_help.h"

#define END "--- [define prompt template end] ---\n"
#define GOOD_PROMPT "prompt_template:\nread {text}\n\n"
#define GOOD_RESPONSE "response_template:\n{intent}\n\n"
#define GOOD_KWARGS "kwargs:\n{}\n\n"

static TemplateList list;

static FsiStatus
read_text(const char *text)
{
	memset(&err, 0, sizeof(err));
	return template_read("file", text, strlen(text), &arena, &list, &err);
}

static bool
is(FewshotText t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.s, s, t.len) == 0;
}

/* All fields of a text as their names in capitals, what stands between as it is. */
static const char *
shape(const TemplateText *t)
{
	static const FewshotText names[TEMPLATE_FIELDS] = {
		{"<EXAMPLES>", 10}, {"<DESCRIPTION>", 13}, {"<TEXT>", 6}, {"<INTENT>", 8}, {"<SYMBOL>", 8}, {"<NONE>", 6}
	};
	FsiBytes	b;

	fsi_bytes_init(&b, &arena);
	if (template_fill(t, names, &b, &err) != FSI_OK || !fsi_bytes_append(&b, "", 1))
		exit(2);
	return (const char *) b.data;
}

static void
test_all_parts(void)
{
	const Template *t;

	ok(read_text("\xEF\xBB\xBF\n \t\r\n"
				 "prompt_template: \r\n\r\n  say {{so}}. \xE3\x80\x80\r\n\r\n{intent_description}\r\n{examples}\r\n"
				 "if not, \"{not_applicable}\"\r\ntext: {text}\r\nid:\r\n\r\n"
				 "  response_template:\r\n{intent}\r\nid: {intent_symbol}\r\n"
				 "kwargs:\r\n{\"description\": \"null\", \"example_template\": \"\\ntext: {text}\\nid: {intent_symbol}\\n\","
				 "\r\n \"example_sep\": \"---\", \"intent_description_template\": \"{intent}: {intent_description}\","
				 "\"intent_description_sep\": \"; \", \"not_applicable_variable\": \"[\\\"none\\\", \\\" other \\\"]\","
				 "\"not_applicable_rate\": 0.1, \"max_n_way\": 7, \"min_n_way\": 3, \"max_n_shot\": 4, \"min_n_shot\": 2}\r\n"
				 "\r\n" END "\r\n"
				 GOOD_PROMPT GOOD_RESPONSE GOOD_KWARGS END) == FSI_OK, "a file with all there is: %s", err.message);
	ok(list.n == 2, "two templates");
	t = &list.list[0];
	ok(strcmp(shape(&t->prompt), "say {so}.\n\n<DESCRIPTION>\n<EXAMPLES>\nif not, \"<NONE>\"\ntext: <TEXT>\nid:") == 0,
	   "the prompt: lines are stripped, inner empty ones stay");
	ok(strcmp(shape(&t->response), "<INTENT>\nid: <SYMBOL>") == 0, "the response's fields are found");
	ok(strcmp(shape(&t->example), "\ntext: <TEXT>\nid: <SYMBOL>\n") == 0, "an example is not stripped");
	ok(strcmp(shape(&t->description), "<INTENT>: <DESCRIPTION>") == 0 && t->description.given, "a description");
	ok(is(t->example_sep, "---") && is(t->description_sep, "; ") && is(t->note, "null"), "texts of kwargs");
	ok(t->n_not_applicable == 2 && is(t->not_applicable[0], "none") && is(t->not_applicable[1], "other"),
	   "a string that holds a list");
	ok(t->not_applicable_rate == 0.1 && t->max_ways == 7 && t->min_ways == 3 && t->max_shots == 4 && t->min_shots == 2,
	   "numbers of kwargs");
	ok(t->line == 3 && list.list[1].line == 22, "where they begin: lines %d and %d", t->line, list.list[1].line);
	t = &list.list[1];
	ok(t->max_ways == 10 && t->min_ways == 2 && t->max_shots == 5 && t->min_shots == 1 &&
	   t->n_not_applicable == 0 && t->not_applicable_rate == 0 && !t->example.given, "what kwargs need not say");
}

static void
test_answers(void)
{
	ok(read_text(GOOD_PROMPT GOOD_RESPONSE "kwargs:\n{\"not_applicable_variable\": [\"a\", \"b\"]}\n" END) == FSI_OK &&
	   list.list[0].n_not_applicable == 2, "answers as a list");
	ok(read_text(GOOD_PROMPT GOOD_RESPONSE "kwargs:\n{\"not_applicable_variable\": \"[sic\"}\n" END) == FSI_OK &&
	   list.list[0].n_not_applicable == 1 && is(list.list[0].not_applicable[0], "[sic"), "a string that only looks like a list");
	ok(read_text(GOOD_PROMPT GOOD_RESPONSE "kwargs:\n{\"not_applicable_variable\": \"5\"}\n" END) == FSI_OK &&
	   is(list.list[0].not_applicable[0], "5"), "a string that holds a number");
}

static void
refuses(const char *text, const char *want)
{
	FsiStatus	status = read_text(text);

	if (!ok(status == FSI_INVALID && strcmp(err.message, want) == 0, "%s", want))
		diag("status %d, got: %s", status, err.message);
}

static void
test_errors(void)
{
	refuses("", "file has no template");
	refuses("\n\n", "file has no template");
	refuses("hello\n", "file, line 1: \"prompt_template:\" expected, not \"hello\"");
	refuses(GOOD_PROMPT GOOD_RESPONSE GOOD_KWARGS, "file, line 9: the last template has no end");
	refuses(GOOD_PROMPT GOOD_RESPONSE GOOD_KWARGS END "\nmore\n", "file, line 12: \"prompt_template:\" expected, not \"more\"");
	refuses(END, "file, line 1: the template that ends here has no \"prompt_template:\"");
	refuses(GOOD_PROMPT GOOD_KWARGS END, "file, line 7: the template that ends here has no \"response_template:\"");
	refuses(GOOD_PROMPT GOOD_RESPONSE END, "file, line 7: the template that ends here has no \"kwargs:\"");
	refuses(GOOD_PROMPT GOOD_PROMPT, "file, line 4: \"prompt_template:\" stands twice in one template");
	refuses("prompt_template:\n\n" GOOD_RESPONSE GOOD_KWARGS END, "file, line 2: prompt_template is empty");
	refuses(GOOD_PROMPT "response_template:\n" GOOD_KWARGS END, "file, line 5: response_template is empty");
	refuses("prompt_template:\n{examples}\n" GOOD_RESPONSE GOOD_KWARGS END, "file, line 2: prompt_template has no {text}");
	refuses("prompt_template:\n{text} {examples}\n" GOOD_RESPONSE GOOD_KWARGS END,
			"file, line 7: prompt_template has {examples}, but kwargs has no \"example_template\"");
	refuses("prompt_template:\n\nline\n{text}\n and {label}\n" GOOD_RESPONSE GOOD_KWARGS END,
			"file, line 5: unknown placeholder \"{label}\" in prompt_template");
	ok(strcmp(err.hint, "Here may stand {examples}, {intent_description}, {text}, {intent}, {intent_symbol}, "
			  "{not_applicable}; {{ and }} are literal braces.") == 0, "with what may stand there: %s", err.hint);
	refuses("prompt_template:\n{text}\n{\n" GOOD_RESPONSE GOOD_KWARGS END, "file, line 3: \"{\" without \"}\" in prompt_template");
	refuses("prompt_template:\n{text\n}\n" GOOD_RESPONSE GOOD_KWARGS END, "file, line 2: \"{\" without \"}\" in prompt_template");
	refuses("prompt_template:\n{text}}\n" GOOD_RESPONSE GOOD_KWARGS END, "file, line 2: \"}\" without \"{\" in prompt_template");
	refuses("prompt_template:\n{Text}\n" GOOD_RESPONSE GOOD_KWARGS END, "file, line 2: unknown placeholder \"{Text}\" in prompt_template");
	refuses(GOOD_PROMPT "response_template:\n{examples}\n" GOOD_KWARGS END,
			"file, line 5: unknown placeholder \"{examples}\" in response_template");
	refuses("prompt_template:\n{text} {not_applicable}\n" GOOD_RESPONSE GOOD_KWARGS END,
			"file, line 7: kwargs has no \"not_applicable_variable\"");
}

static void
kwargs_refuse(const char *kwargs, const char *want)
{
	char		text[1024],
				message[512];

	snprintf(text, sizeof(text), GOOD_PROMPT GOOD_RESPONSE "kwargs:\n%s\n" END, kwargs);
	snprintf(message, sizeof(message), "file, line %s", want);
	refuses(text, message);
}

/* Jansson would take 128 bytes for each pair of brackets, and nothing could stop it. */
static void
test_huge_kwargs(void)
{
	static char text[(1 << 20) + 1000];
	char	   *end = text + sprintf(text, GOOD_PROMPT GOOD_RESPONSE "kwargs:\n{\"not_applicable_variable\": [");

	while (end < text + (1 << 20) + 500)
		end += sprintf(end, "[],");
	sprintf(end, "1]}\n" END);
	ok(read_text(text) == FSI_INVALID && strstr(err.message, "line 8: kwargs has 10") != NULL, "too long kwargs: %s", err.message);
}

static void
test_huge_file(void)
{
	size_t		len = (4 << 20) + 1;
	char	   *text = calloc(len + 1, 1);

	memset(text, 'x', len);
	memcpy(text, GOOD_PROMPT, strlen(GOOD_PROMPT));
	memcpy(text + len - strlen("\n" GOOD_RESPONSE GOOD_KWARGS END), "\n" GOOD_RESPONSE GOOD_KWARGS END,
		   strlen("\n" GOOD_RESPONSE GOOD_KWARGS END));
	ok(read_text(text + 1) == FSI_INVALID && strstr(err.message, "file, line 1:") != NULL, "a file of 4 MB is read: %s", err.message);
	ok(read_text(text) == FSI_INVALID && strcmp(err.message, "file has 4194305 bytes, the limit is 4194304") == 0,
	   "one of a byte more is not: %s", err.message);
	free(text);
}

static void
test_kwargs_errors(void)
{
	kwargs_refuse("[]", "8: kwargs must be a JSON object");
	kwargs_refuse("", "9: kwargs is not JSON: '[' or '{' expected near end of file");
	kwargs_refuse("{\"max_n_way\": 3,\n\"min_n_way\" 2}", "9: kwargs is not JSON: ':' expected near '2'");
	kwargs_refuse("{\"max_n_way\": 3, \"max_n_way\": 4}", "8: kwargs is not JSON: duplicate object key near '\"max_n_way\"'");
	kwargs_refuse("{\"max_way\": 3}", "8: unknown key \"max_way\" in kwargs");
	ok(strcmp(err.hint, "Keys are \"description\", \"example_template\", \"example_sep\", \"intent_description_template\", "
			  "\"intent_description_sep\", \"not_applicable_variable\", \"not_applicable_rate\", \"min_n_way\", \"max_n_way\", "
			  "\"min_n_shot\" and \"max_n_shot\".") == 0, "with those that there are: %s", err.hint);
	kwargs_refuse("{\"max_n_way\": \"3\"}", "8: \"max_n_way\" must be an integer from 0 to 1000");
	kwargs_refuse("{\"max_n_way\": 1001}", "8: \"max_n_way\" must be an integer from 0 to 1000");
	kwargs_refuse("{\"max_n_way\": 1, \"min_n_way\": 1}", "8: \"max_n_way\" must be at least 2");
	kwargs_refuse("{\"max_n_way\": 3, \"min_n_way\": 4}", "8: \"min_n_way\" is 4, more than \"max_n_way\", which is 3");
	kwargs_refuse("{\"max_n_shot\": 0, \"min_n_shot\": 0}", "8: \"max_n_shot\" must be at least 1");
	kwargs_refuse("{\"max_n_shot\": 2, \"min_n_shot\": 3}", "8: \"min_n_shot\" is 3, more than \"max_n_shot\", which is 2");
	kwargs_refuse("{\"not_applicable_rate\": 1.5}", "8: \"not_applicable_rate\" must be a number from 0 to 1");
	kwargs_refuse("{\"not_applicable_rate\": 0.5}", "8: kwargs has no \"not_applicable_variable\"");
	kwargs_refuse("{\"not_applicable_rate\": 0.5, \"not_applicable_variable\": \"[]\"}", "8: kwargs has no \"not_applicable_variable\"");
	kwargs_refuse("{\"not_applicable_variable\": [1]}", "8: \"not_applicable_variable\" lists something else than a string");
	kwargs_refuse("{\"not_applicable_variable\": [\" \"]}", "8: \"not_applicable_variable\" has an empty answer");
	kwargs_refuse("{\"not_applicable_variable\": 1}", "8: \"not_applicable_variable\" must be a string or a list of strings");
	kwargs_refuse("{\"example_template\": 1}", "8: \"example_template\" must be a string");
	kwargs_refuse("{\"example_template\": \"{examples}\"}", "8: unknown placeholder \"{examples}\" in example_template");
	kwargs_refuse("{\"intent_description_template\": \"{text}\"}", "8: unknown placeholder \"{text}\" in intent_description_template");
	refuses(GOOD_PROMPT "\xFF", "file is not valid UTF-8 at byte 30");
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	test_all_parts();
	test_answers();
	test_errors();
	test_kwargs_errors();
	test_huge_kwargs();
	test_huge_file();
	fsi_arena_free(&arena);
	return tap_done();
}
