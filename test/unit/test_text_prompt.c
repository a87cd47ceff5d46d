/*
 * test_text_prompt.c
 *	  Built-in prompts by case and language; the user's templates and their errors.
 */
#include "text_help.h"

static char rendered[4096];

/* Render with the message in angle brackets, or give the error's message. */
static const char *
render(const PromptSpec *spec)
{
	char	   *prefix,
			   *suffix;
	size_t		prefix_len,
				suffix_len;

	memset(&err, 0, sizeof(err));
	if (prompt_render(spec, &arena, &prefix, &prefix_len, &suffix, &suffix_len, &err) != FSI_OK)
		return err.message;
	snprintf(rendered, sizeof(rendered), "%.*s<message>%.*s", (int) prefix_len, prefix, (int) suffix_len, suffix);
	return rendered;
}

static void
check(const PromptSpec *spec, const char *want, const char *what)
{
	const char *got = render(spec);

	if (!ok(strcmp(got, want) == 0, "%s", what))
		diag("got:\n%s", got);
}

static void
use_template(PromptSpec *spec, const char *text)
{
	spec->template_text = text;
	spec->template_len = strlen(text);
}

static const char *const english[] = {"refund", "cancel order"};
static const size_t english_len[] = {6, 12};
static const char *const chinese[] = {"退款", "取消订单", "vip"};
static const size_t chinese_len[] = {6, 12, 3};
static const char *const described[] = {"money back", NULL};
static const size_t described_len[] = {10, 0};
static const PromptExample shots[] = {
	{"my money", 8, "refund", 6}, {"stop {it}", 9, "cancel order", 12}
};

static void
test_built_in(void)
{
	PromptSpec	spec = {.n_intents = 2, .intents = english, .intent_lens = english_len};

	check(&spec, "zero-shot intent recognition.\n\noptions:\n- refund\n- cancel order\n\ntext: <message>\nintent:",
		  "zero-shot, English");
	spec.other = "other";
	spec.other_len = 5;
	check(&spec, "zero-shot intent recognition. output \"other\" when out of scope.\n\noptions:\n- refund\n- cancel order\n\n"
		  "text: <message>\nintent:", "other is announced");
	spec.descriptions = described;
	spec.description_lens = described_len;
	check(&spec, "zero-shot intent recognition. output \"other\" when out of scope.\n\noptions:\nintent: refund\n"
		  "description: money back\nintent: cancel order\n\ntext: <message>\nintent:", "descriptions");
	spec.descriptions = NULL;
	spec.other = NULL;
	spec.n_examples = 2;
	spec.examples = shots;
	check(&spec, "intent recognition.\n\nExamples:\n------------\ntext: my money\nintent: refund\n------------\n"
		  "text: stop {it}\nintent: cancel order\n------------\ntext: <message>\nintent:",
		  "few-shot; braces in a user's text stay");
	spec.n_examples = 1;
	check(&spec, "intent recognition.\n\noptions:\n- refund\n- cancel order\n\nExamples:\n------------\ntext: my money\n"
		  "intent: refund\n------------\ntext: <message>\nintent:", "an intent without an example makes a list");
	spec.instructions = "What {does} the customer want?";
	spec.instructions_len = strlen(spec.instructions);
	spec.other = "nothing";
	spec.other_len = 7;
	check(&spec, "What {does} the customer want? output \"nothing\" when out of scope.\n\noptions:\n- refund\n- cancel order"
		  "\n\nExamples:\n------------\ntext: my money\nintent: refund\n------------\ntext: <message>\nintent:",
		  "the user's instructions");

	spec = (PromptSpec) {.n_intents = 3, .intents = chinese, .intent_lens = chinese_len};
	check(&spec, "零样本意图识别。\n\n标签选项：\n- 退款\n- 取消订单\n- vip\n\ntext: <message>\nintent:",
		  "Chinese, since most intents are");
	spec.intents = (const char *const[]) {"退款", "vip"};
	spec.intent_lens = (const size_t[]) {6, 3};
	spec.n_intents = 2;
	ok(strncmp(render(&spec), "zero-shot", 9) == 0, "half of them are not most");
}

static void
test_templates(void)
{
	PromptSpec	spec = {
		.n_intents = 2, .intents = english, .intent_lens = english_len, .n_examples = 2, .examples = shots,
		.descriptions = described, .description_lens = described_len
	};
	static const struct
	{
		const char *text;
		const char *want;
	}			wrong[] = {
		{"no message", "template has no {text}"}, {"{text} {text}", "template has {text} twice"},
		{"{text} {intents}", "template has {intents} after {text}"},
		{"{text} {Intents}", "template has an unknown placeholder \"{Intents}\""},
		{"{} {text}", "template has an unknown placeholder \"{}\""},
		{"a { b {text}", "template has an unknown placeholder \"{ b {text}\""},
		{"{text} {", "template has \"{\" without \"}\" at byte 7"},
		{"{text} }", "template has a single \"}\" at byte 7"},
		{"{other} {text}", "template has {other}, but the option \"other\" is not given"},
		{"{text}\xFF", "template is not valid UTF-8 at byte 6"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		use_template(&spec, wrong[i].text);
		check(&spec, wrong[i].want, wrong[i].want);
		ok(err.status == FSI_INVALID, "is an invalid argument");
	}
	use_template(&spec, "{{{intents}}}: {text}{{}}");
	check(&spec, "{- refund\n- cancel order}: <message>{}", "doubled braces are braces");
	use_template(&spec, "{descriptions}\n{examples}\n{text}");
	check(&spec, "intent: refund\ndescription: money back\nintent: cancel order\ntext: my money\nintent: refund\n------------\n"
		  "text: stop {it}\nintent: cancel order\n<message>", "descriptions and examples");
	spec.other = "none";
	spec.other_len = 4;
	use_template(&spec, "{instructions} {text}");
	check(&spec, "intent recognition. output \"none\" when out of scope. <message>", "instructions announce other");
	use_template(&spec, "{instructions} else {other}: {text}");
	check(&spec, "intent recognition. else none: <message>", "unless the template does");
	use_template(&spec, "{instructions} {{other}} {text}");
	check(&spec, "intent recognition. output \"none\" when out of scope. {other} <message>", "{{other}} is no placeholder");
	spec.other = "\xC3";
	spec.other_len = 1;
	check(&spec, "other is not valid UTF-8 at byte 0", "values are checked");
}

static void
test_lead(void)
{
	ok(text_space_after("text: ", 6) == 1 && text_space_after("text:", 5) == 0 && text_space_after(" \n", 2) == 2 &&
	   text_space_after("", 0) == 0 && text_space_after("退\xE3\x80\x80 ", 7) == 4, "white space at a prefix's end is measured");
}

static void
test_space(void)
{
	Tokenizer	bpe = {.kind = TOK_BPE};
	Tokenizer	wordpiece = {.kind = TOK_WORDPIECE};
	FsiText		open = {"intent:", 7},
				closed = {"intent: ", 8},
				empty = {"", 0};

	ok(prompt_spaces_label(&bpe, open) && !prompt_spaces_label(&bpe, closed) && !prompt_spaces_label(&bpe, empty) &&
	   !prompt_spaces_label(&wordpiece, open), "a label after a word has a space, where tokens have it");
}

int
main(void)
{
	fsi_arena_init(&arena, &fsi_host_malloc);
	test_built_in();
	test_templates();
	test_lead();
	test_space();
	fsi_arena_free(&arena);
	return tap_done();
}
