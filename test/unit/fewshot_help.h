/*
 * fewshot_help.h
 *	  Rows, templates and a tokenizer for the tests of the generator of few-shot prompts.
 */
#ifndef FEWSHOT_HELP_H
#define FEWSHOT_HELP_H

#include "fsi_fewshot.h"
#include "text_help.h"

#define END "--- [define prompt template end] ---\n"
#define SHOTS_TEMPLATE \
	"prompt_template:\nread. else \"{not_applicable}\".\n\n{examples}\n---\ntext: {text}\nintent:\n\n" \
	"response_template:\n{intent}\n\nkwargs:\n{\"example_template\": \"\\ntext: {text}\\nintent: {intent}\\n\", " \
	"\"example_sep\": \"---\", \"not_applicable_variable\": \"[\\\"other\\\", \\\"none\\\"]\", \"not_applicable_rate\": 0.2, " \
	"\"max_n_way\": 5, \"min_n_way\": 2, \"max_n_shot\": 3, \"min_n_shot\": 1}\n" END
#define SYMBOL_TEMPLATE(ways) \
	"prompt_template:\n{intent_description}\n{text}\nid:\n\nresponse_template:\n{intent_symbol}\n\n" \
	"kwargs:\n{\"intent_description_template\": \"{intent_symbol}) {intent}\", \"intent_description_sep\": \"\\n\", " \
	"\"max_n_way\": " #ways ", \"min_n_way\": " #ways ", \"max_n_shot\": 1}\n" END
#define DESCRIBED_TEMPLATE \
	"prompt_template:\n{intent_description}\n{text}\n\nresponse_template:\n{intent_symbol}\n\nkwargs:\n" \
	"{\"intent_description_template\": \"\\n{intent_symbol}. {intent}: {intent_description}\\n\", \"min_n_way\": 3}\n" END
#define LIST_TEMPLATE(rate, announced) \
	"prompt_template:\n{text}\noptions: {examples}" announced "\n\nresponse_template:\n{intent}\n\n" \
	"kwargs:\n{\"example_template\": \"{intent}\", \"example_sep\": \"; \", \"max_n_shot\": 1, " \
	"\"not_applicable_variable\": [\"none\", \"other\"], \"not_applicable_rate\": " #rate "}\n" END

static Tokenizer tok;			/* lower-case words and digits; upper-case words are unknown */
static FsiArena work;			/* of one pair */

static const FewshotText nothing = {NULL, 0};

__attribute__((unused))
static FewshotText
text_of(const char *s)
{
	return (FewshotText) {s, s != NULL ? strlen(s) : 0};
}

/* Formatted text that lasts. */
__attribute__((format(printf, 1, 2), unused))
static FewshotText
print(const char *fmt,...)
{
	char		buffer[4096];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(buffer, sizeof(buffer), fmt, args);
	va_end(args);
	return text_of(fsi_arena_strndup(&arena, buffer, strlen(buffer)));
}

__attribute__((unused))
static bool
is(FewshotText t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.s, s, t.len) == 0;
}

__attribute__((unused))
static int
count(FewshotText in, const char *s)
{
	int			n = 0;

	for (size_t i = 0; i + strlen(s) <= in.len; i++)
		n += memcmp(in.s + i, s, strlen(s)) == 0;
	return n;
}

/* ---------------------------------------------------------------- a generator and its rows */

#define MAX_ROWS 4000

typedef struct Rows
{
	int			n;
	FewshotText text[MAX_ROWS];
	int			label[MAX_ROWS];
	FewshotText label_name[MAX_ROWS];
} Rows;

static Rows rows;
static Fewshot *generator;

__attribute__((unused))
static void
begin(unsigned flaws, uint64_t seed, int max_tokens, const char *templates)
{
	FewshotOptions o = {.seed = seed, .flaws = flaws, .tok = &tok, .max_tokens = max_tokens, .mark_tokens = 3};

	rows.n = 0;
	must(fewshot_create(&o, &arena, &generator, &err));
	must(fewshot_add_templates(generator, nothing, "templates", text_of(templates), &err));
}

__attribute__((unused))
static void
add(int label, FewshotText name, FewshotText text)
{
	rows.text[rows.n] = text;
	rows.label_name[rows.n] = name;
	rows.label[rows.n++] = label;
	must(fewshot_add_row(generator, nothing, nothing, name, text, &err));
}

/* Labels "intent a", "intent b", … with texts of their own. */
__attribute__((unused))
static void
add_labels(int n_label, int n_text)
{
	for (int i = 0; i < n_text; i++)
		for (int label = 0; label < n_label; label++)
			add(label, print("intent %c %d", 'a' + label % 26, label), print("text %d of %c %d", i, 'a' + label % 26, label));
}

__attribute__((unused))
static void
ready(void)
{
	must(fewshot_ready(generator, &err));
}

/* The pair of a row in the arena work, which is emptied; false: left out. */
__attribute__((unused))
static bool
make(int row, int sample, FewshotDraw *d, FewshotPair *pair)
{
	fsi_arena_free(&work);
	must(fewshot_draw(generator, (uint32_t) row, sample, &work, d, &err));
	if (d->left_out != FEWSHOT_KEPT)
		return false;
	d->text = rows.text[row];
	for (int i = 0; i < d->n_shots; i++)
		if (d->wants_texts)
			d->shots[i].text = rows.text[d->shots[i].row];
	must(fewshot_render(generator, d, &work, pair, &err));
	return d->left_out == FEWSHOT_KEPT;
}

/* Where the right candidate stands among those that were not dropped, or -1. */
__attribute__((unused))
static int
position(const FewshotDraw *d)
{
	int			n = 0;

	for (int i = 0; i < d->n_candidate; i++)
	{
		if (d->candidates[i].right && !d->candidates[i].dropped)
			return n;
		n += !d->candidates[i].dropped;
	}
	return -1;
}

__attribute__((unused))
static size_t
tokens_in(FewshotText t)
{
	TokIds		ids;

	must(tok_encode_plain(&tok, t.s, t.len, &work, &ids, &err));
	return ids.n;
}

/* ---------------------------------------------------------------- the whole test */

__attribute__((unused))
static void
help_start(void)
{
	char	   *dir = temp_dir();
	FsiBytes	vocab;

	fsi_arena_init(&arena, &fsi_host_malloc);
	fsi_arena_init(&work, &fsi_host_malloc);
	fsi_bytes_init(&vocab, &arena);
	if (!fsi_json_text(&vocab, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ntext\nintent\nof\nread\nelse\nother\nnone\nor\nanother\noptions\n"
					   "red\nblue\ncard\nmoney\nalone\nonly\nboth\nid\nmap\nflight\n.\n:\n;\n-\n\"\n)\n"))
		exit(2);
	for (int c = 0; c < 36; c++)
		if (!fsi_json_printf(&vocab, "%c\n##%c\n", c < 26 ? 'a' + c : '0' + c - 26, c < 26 ? 'a' + c : '0' + c - 26))
			exit(2);
	put_bytes(dir, "vocab.txt", vocab.data, vocab.len);
	put_json(dir, "tokenizer_config.json", "{'do_lower_case': false}");
	must(build_open(dir, 0, &tok));
	drop_dir(dir);
}

__attribute__((unused))
static int
help_end(void)
{
	fsi_arena_free(&work);
	fsi_arena_free(&arena);
	return tap_done();
}

#endif
