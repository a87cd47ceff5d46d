/*
 * prompt.c
 *	  Prompts of the prompt layout: a template filled with intents, descriptions, examples.
 *
 * The built-in templates are put together from blocks in the shapes on which the published
 * family was trained: few-shot ("Examples:", twelve dashes, text and intent), label list
 * and label descriptions, Chinese where most intents are written with Han characters.
 * A template that stands in the question is read the same way.
 */
#include <string.h>

#include "fsi_text.h"
#include "unicode.h"

#define DASHES "------------"
#define NAME_LIMIT 64			/* of a placeholder, in an error message */
#define PROMPT_MAX_BYTES (256 << 20)	/* a template may repeat its placeholders */

/* Blocks of the built-in template, by language. */
typedef struct Wording
{
	const char *few_shot;		/* instructions with examples */
	const char *zero_shot;		/* instructions without */
	const char *other[2];		/* before and after the answer for "none of these" */
	const char *options;		/* heading of a list of intents */
} Wording;

static const Wording english = {
	.few_shot = "intent recognition.",
	.zero_shot = "zero-shot intent recognition.",
	.other = {" output \"", "\" when out of scope."},
	.options = "options:\n",
};

static const Wording chinese = {
	.few_shot = "意图识别。",
	.zero_shot = "零样本意图识别。",
	.other = {"不确定时输出：", "。"},
	.options = "标签选项：\n",
};

typedef struct Prompt
{
	const PromptSpec *spec;
	const Wording *wording;
	const char *text;			/* the template */
	size_t		len;
	bool		names_other;	/* the template itself says what "other" is */
	FsiBytes	out;
	size_t		asked;			/* length at which it was last asked whether to stop */
	FsiStatus	status;			/* of what was put into out */
	FsiError   *err;
} Prompt;

/* False, and the status says why, where there is no room or the host wants to stop. */
static bool
put(Prompt *p, const char *s, size_t len)
{
	if (len > PROMPT_MAX_BYTES - p->out.len)
		p->status = fsi_fail(p->err, FSI_LIMIT, "prompt is longer than %d bytes", PROMPT_MAX_BYTES);
	else
		p->status = text_go_on(p->out.arena->host, p->out.len, &p->asked, p->err);
	if (p->status == FSI_OK && !fsi_bytes_append(&p->out, s, len))
		p->status = fsi_nomem(p->err, p->out.len + len);
	return p->status == FSI_OK;
}

static bool
puts_(Prompt *p, const char *s)
{
	return put(p, s, strlen(s));
}

static bool
has_han(const char *s, size_t len)
{
	int			n;

	for (size_t i = 0; i < len; i += (size_t) n)
		if (uni_is_han(utf8_next(s + i, &n)))
			return true;
	return false;
}

static const Wording *
choose_wording(const PromptSpec *spec)
{
	int			han = 0;

	for (int i = 0; i < spec->n_intents; i++)
		han += has_han(spec->intents[i], spec->intent_lens[i]);
	return han * 2 > spec->n_intents ? &chinese : &english;
}

static bool
has_descriptions(const PromptSpec *spec)
{
	if (spec->descriptions != NULL)
		for (int i = 0; i < spec->n_intents; i++)
			if (spec->descriptions[i] != NULL)
				return true;
	return false;
}

/* Has every intent an example, so that none need be listed? */
static FsiStatus
all_shown(const PromptSpec *spec, FsiArena *scratch, bool *shown, FsiError *err)
{
	uint32_t	cap = 16;
	uint32_t   *table;			/* example + 1 by the hash of its intent */

	while (cap / 2 < (uint32_t) spec->n_examples)
		cap *= 2;
	table = fsi_arena_zero(scratch, cap, sizeof(uint32_t));
	if (table == NULL)
		return fsi_nomem(err, cap * sizeof(uint32_t));
	*shown = true;
	for (int i = 0; i < spec->n_examples + spec->n_intents && *shown; i++)
	{
		bool		example = i < spec->n_examples;
		const char *s = example ? spec->examples[i].intent : spec->intents[i - spec->n_examples];
		size_t		len = example ? spec->examples[i].intent_len : spec->intent_lens[i - spec->n_examples];
		uint32_t	slot = (uint32_t) fsi_hash64(s, len, 0) & (cap - 1);

		for (; table[slot] != 0; slot = (slot + 1) & (cap - 1))
		{
			const PromptExample *e = &spec->examples[table[slot] - 1];

			if (e->intent_len == len && memcmp(e->intent, s, len) == 0)
				break;
		}
		if (example)
			table[slot] = (uint32_t) i + 1;
		else
			*shown = table[slot] != 0;
	}
	return FSI_OK;
}

/* ---- What placeholders stand for ---- */

static bool
put_instructions(Prompt *p)
{
	const PromptSpec *spec = p->spec;

	if (!(spec->instructions != NULL ? put(p, spec->instructions, spec->instructions_len) :
		  puts_(p, spec->n_examples > 0 ? p->wording->few_shot : p->wording->zero_shot)))
		return false;
	if (spec->other == NULL || p->names_other)
		return true;
	return puts_(p, p->wording->other[0]) && put(p, spec->other, spec->other_len) && puts_(p, p->wording->other[1]);
}

static bool
put_intents(Prompt *p)
{
	for (int i = 0; i < p->spec->n_intents; i++)
		if (!puts_(p, i == 0 ? "- " : "\n- ") || !put(p, p->spec->intents[i], p->spec->intent_lens[i]))
			return false;
	return true;
}

static bool
put_descriptions(Prompt *p)
{
	const PromptSpec *spec = p->spec;

	for (int i = 0; i < spec->n_intents; i++)
	{
		if (!puts_(p, i == 0 ? "intent: " : "\nintent: ") || !put(p, spec->intents[i], spec->intent_lens[i]))
			return false;
		if (spec->descriptions != NULL && spec->descriptions[i] != NULL &&
			(!puts_(p, "\ndescription: ") || !put(p, spec->descriptions[i], spec->description_lens[i])))
			return false;
	}
	return true;
}

static bool
put_examples(Prompt *p)
{
	for (int i = 0; i < p->spec->n_examples; i++)
	{
		const PromptExample *e = &p->spec->examples[i];

		if (!puts_(p, i == 0 ? "text: " : "\n" DASHES "\ntext: ") || !put(p, e->text, e->text_len) ||
			!puts_(p, "\nintent: ") || !put(p, e->intent, e->intent_len))
			return false;
	}
	return true;
}

static bool
put_other(Prompt *p)
{
	return put(p, p->spec->other, p->spec->other_len);
}

typedef struct Placeholder
{
	const char *name;
	bool		(*fill) (Prompt *p);	/* NULL: the message */
} Placeholder;

static const Placeholder placeholders[] = {
	{"instructions", put_instructions}, {"intents", put_intents}, {"descriptions", put_descriptions},
	{"examples", put_examples}, {"other", put_other}, {"text", NULL},
};

/* ---- The template ---- */

/* Read "{name}" at text[at]; *end is after it.  NULL with the error filled if there is none that is known. */
static const Placeholder *
read_placeholder(const Prompt *p, size_t at, size_t *end)
{
	const char *name = p->text + at + 1;
	const char *close = memchr(name, '}', p->len - at - 1);
	size_t		len;

	if (close == NULL)
	{
		fsi_fail(p->err, FSI_INVALID, "template has \"{\" without \"}\" at byte %zu", at);
		fsi_hint(p->err, "Write {{ and }} for literal braces.");
		return NULL;
	}
	len = (size_t) (close - name);
	*end = at + len + 2;
	for (size_t i = 0; i < sizeof(placeholders) / sizeof(placeholders[0]); i++)
		if (strlen(placeholders[i].name) == len && memcmp(placeholders[i].name, name, len) == 0)
			return &placeholders[i];
	fsi_fail(p->err, FSI_INVALID, "template has an unknown placeholder \"{%.*s}\"",
			 (int) (len < NAME_LIMIT ? len : NAME_LIMIT), name);
	fsi_hint(p->err, "Known are {instructions}, {intents}, {descriptions}, {examples}, {other} and {text}; "
			 "{{ and }} are literal braces.");
	return NULL;
}

/* Fill one placeholder; *message (SIZE_MAX before) is set where {text} stands. */
static FsiStatus
fill(Prompt *p, const Placeholder *placeholder, size_t *message)
{
	if (*message != SIZE_MAX)
		return fsi_fail(p->err, FSI_INVALID, placeholder->fill == NULL ?
						"template has {%s} twice" : "template has {%s} after {text}", placeholder->name);
	if (placeholder->fill == NULL)
	{
		*message = p->out.len;
		return FSI_OK;
	}
	if (placeholder->fill == put_other && p->spec->other == NULL)
		return fsi_fail(p->err, FSI_INVALID, "template has {other}, but the option \"other\" is not given");
	placeholder->fill(p);
	return p->status;
}

/* Fill the whole template into p->out; the message stands at *message. */
static FsiStatus
fill_template(Prompt *p, size_t *message)
{
	*message = SIZE_MAX;
	for (size_t i = 0; i < p->len;)
	{
		char		c = p->text[i];
		const Placeholder *placeholder;

		if (c != '{' && c != '}')
		{
			size_t		end = i;

			while (end < p->len && p->text[end] != '{' && p->text[end] != '}')
				end++;
			if (!put(p, p->text + i, end - i))
				return p->status;
			i = end;
			continue;
		}
		if (i + 1 < p->len && p->text[i + 1] == c)
		{
			if (!put(p, &c, 1))
				return p->status;
			i += 2;
			continue;
		}
		if (c == '}')
		{
			fsi_fail(p->err, FSI_INVALID, "template has a single \"}\" at byte %zu", i);
			fsi_hint(p->err, "Write {{ and }} for literal braces.");
			return FSI_INVALID;
		}
		placeholder = read_placeholder(p, i, &i);
		if (placeholder == NULL)
			return FSI_INVALID;
		FSI_TRY(fill(p, placeholder, message));
	}
	if (*message == SIZE_MAX)
		return fsi_fail(p->err, FSI_INVALID, "template has no {text}");
	return FSI_OK;
}

/* Put the built-in template for the case together. */
static FsiStatus
built_in_template(Prompt *p, FsiArena *scratch)
{
	const PromptSpec *spec = p->spec;
	FsiBytes	t;
	bool		shown = false,
				done;

	FSI_TRY(all_shown(spec, scratch, &shown, p->err));
	fsi_bytes_init(&t, scratch);
#define ADD(s) fsi_bytes_append(&t, s, strlen(s))
	done = ADD("{instructions}\n\n");
	if (has_descriptions(spec))
		done = done && ADD(p->wording->options) && ADD("{descriptions}\n\n");
	else if (!shown)
		done = done && ADD(p->wording->options) && ADD("{intents}\n\n");
	if (spec->n_examples > 0)
		done = done && ADD("Examples:\n" DASHES "\n{examples}\n" DASHES "\n");
	done = done && ADD("text: {text}\nintent:");
#undef ADD
	p->text = (const char *) t.data;
	p->len = t.len;
	return done ? FSI_OK : fsi_nomem(p->err, t.len);
}

/* Does the template hold the placeholder {other}? */
static bool
template_names_other(const Prompt *p)
{
	static const char name[] = "{other}";

	for (size_t i = 0; i < p->len; i++)
	{
		if (p->text[i] != '{')
			continue;
		if (i + 1 < p->len && p->text[i + 1] == '{')
			i++;
		else if (p->len - i >= sizeof(name) - 1 && memcmp(p->text + i, name, sizeof(name) - 1) == 0)
			return true;
	}
	return false;
}

static FsiStatus
check_utf8(const char *what, const char *s, size_t len, FsiError *err)
{
	size_t		bad = s != NULL ? text_utf8_valid(s, len) : len;

	if (bad < len)
		return fsi_fail(err, FSI_INVALID, "%s is not valid UTF-8 at byte %zu", what, bad);
	return FSI_OK;
}

static FsiStatus
check_spec(const PromptSpec *spec, FsiError *err)
{
	FSI_TRY(check_utf8("template", spec->template_text, spec->template_len, err));
	FSI_TRY(check_utf8("instructions", spec->instructions, spec->instructions_len, err));
	FSI_TRY(check_utf8("other", spec->other, spec->other_len, err));
	for (int i = 0; i < spec->n_intents; i++)
	{
		FSI_TRY(check_utf8("intent", spec->intents[i], spec->intent_lens[i], err));
		if (spec->descriptions != NULL)
			FSI_TRY(check_utf8("description", spec->descriptions[i],
							   spec->descriptions[i] != NULL ? spec->description_lens[i] : 0, err));
	}
	for (int i = 0; i < spec->n_examples; i++)
	{
		FSI_TRY(check_utf8("example", spec->examples[i].text, spec->examples[i].text_len, err));
		FSI_TRY(check_utf8("intent", spec->examples[i].intent, spec->examples[i].intent_len, err));
	}
	return FSI_OK;
}

FsiStatus
prompt_render(const PromptSpec *spec, FsiArena *arena, char **prefix, size_t *prefix_len,
			  char **suffix, size_t *suffix_len, FsiError *err)
{
	Prompt		p = {.spec = spec, .text = spec->template_text, .len = spec->template_len, .err = err};
	FsiArena	scratch;
	FsiStatus	status;
	size_t		message = 0;

	*prefix = NULL;
	*suffix = NULL;
	FSI_TRY(check_spec(spec, err));
	p.wording = choose_wording(spec);
	fsi_arena_init(&scratch, arena->host);
	fsi_bytes_init(&p.out, &scratch);
	status = p.text == NULL ? built_in_template(&p, &scratch) : FSI_OK;
	p.names_other = status == FSI_OK && template_names_other(&p);
	if (status == FSI_OK)
		status = fill_template(&p, &message);
	if (status == FSI_OK)
	{
		*prefix_len = message;
		*suffix_len = p.out.len - message;
		*prefix = fsi_arena_strndup(arena, (const char *) p.out.data, *prefix_len);
		*suffix = fsi_arena_strndup(arena, (const char *) p.out.data + message, *suffix_len);
		if (*prefix == NULL || *suffix == NULL)
			status = fsi_nomem(err, p.out.len);
	}
	fsi_arena_free(&scratch);
	return status;
}

bool
prompt_spaces_label(const Tokenizer *tok, FsiText before)
{
	return tok->kind == TOK_BPE && before.len > 0 && strchr(" \t\n", before.s[before.len - 1]) == NULL;
}

FsiStatus
prompt_label_ids(const Tokenizer *tok, FsiText label, FsiText before, FsiArena *arena, TokIds *ids, FsiError *err)
{
	bool		spaced = prompt_spaces_label(tok, before);
	char	   *s = fsi_arena_alloc(arena, label.len + 1);

	if (s == NULL)
		return fsi_nomem(err, label.len + 1);
	s[0] = ' ';
	memcpy(s + 1, label.s, label.len);
	return (before.len > 0 ? tok_encode_within : tok_encode_plain) (tok, s + !spaced, label.len + spaced, arena, ids, err);
}
