/*
 * test_train_fewshot.c
 *	  The generator of few-shot prompts: its steps, the same draws everywhere, sources, mistakes.
 */
#include "fewshot_help.h"

/* ---------------------------------------------------------------- the steps */

/* What must hold of every pair of SHOTS_TEMPLATE. */
static bool
sound(const FewshotDraw *d, const FewshotPair *pair, int row, bool not_message)
{
	int			per[16] = {0};
	int			right = position(d);
	bool		good = d->n_way >= 2 && d->n_way <= 5 && d->n_shot >= 1 && d->n_shot <= 3 && d->n_way == d->n_candidate &&
		d->n_shots == d->n_way * d->n_shot && (right < 0) == d->not_applicable;

	for (int i = 0; i < d->n_shots; i++)
	{
		const FewshotShot *s = &d->shots[i];

		good &= memcmp(rows.label_name[s->row].s, d->candidates[s->candidate].name.s, d->candidates[s->candidate].name.len) == 0;
		good &= !not_message || !is(s->text, rows.text[row].s);
		per[s->candidate]++;
		for (int j = 0; j < i; j++)
			good &= d->shots[j].row != s->row;
	}
	for (int i = 0; i < d->n_candidate; i++)
	{
		good &= per[i] == d->n_shot;
		for (int j = 0; j < i; j++)
			good &= d->candidates[i].label != d->candidates[j].label;
	}
	good &= d->not_applicable ? is(pair->response, "other") || is(pair->response, "none") :
		is(pair->response, rows.label_name[row].s);
	good &= is(d->intent, rows.label_name[row].s) && pair->n_offered == d->n_way + 1;
	return good && count(pair->prompt, "\ntext: ") == d->n_shots + 1 && count(pair->prompt, "---\n") == d->n_shots;
}

static void
test_steps(unsigned flaws, const char *mode)
{
	int			ways[6] = {0},
				shots[4] = {0},
				missing = 0;
	bool		all = true;
	FewshotDraw d;
	FewshotPair pair;

	begin(flaws, 7, 1000, SHOTS_TEMPLATE);
	add_labels(20, 150);
	ready();
	for (int i = 0; i < rows.n; i++)
	{
		if (!make(i, 0, &d, &pair) || !sound(&d, &pair, i, true))
		{
			diag("row %d: %.*s", i, (int) pair.prompt.len, pair.prompt.s);
			all = false;
			break;
		}
		ways[d.n_way]++;
		shots[d.n_shot]++;
		missing += d.not_applicable;
	}
	ok(all, "%s: %d pairs are sound", mode, rows.n);
	/* 3000 draws: 3 standard deviations are 71 for a quarter, 77 for a third, 66 for a fifth */
	for (int n = 2; n <= 5; n++)
		ok(abs(ways[n] - 750) < 90, "%s: %d of %d have %d ways", mode, ways[n], rows.n, n);
	for (int n = 1; n <= 3; n++)
		ok(abs(shots[n] - 1000) < 100, "%s: %d have %d shots", mode, shots[n], n);
	ok(abs(missing - 600) < 85, "%s: %d are not applicable", mode, missing);
}

static void
test_text(void)
{
	FewshotDraw d;
	FewshotPair pair;
	const char *want[2] = {
		"read. else \"none\".\n\ntext: c1\nintent: card\n---\ntext: r1\nintent: refund\n---\ntext: c2\nintent:",
		"read. else \"none\".\n\ntext: r1\nintent: refund\n---\ntext: c1\nintent: card\n---\ntext: c2\nintent:"
	};

	begin(0, 1, 1000, "prompt_template:\nread. else \"{not_applicable}\".\n\n{examples}\n---\ntext: {text}\nintent:\n"
		  "response_template:\n[{intent}]\nkwargs:\n{\"example_template\": \"\\ntext: {text}\\nintent: {intent}\\n\", "
		  "\"example_sep\": \"---\", \"not_applicable_variable\": \"none\", \"description\": \"a note\"}\n" END);
	add(0, text_of("card"), text_of("c1"));
	add(1, text_of("refund"), text_of("r1"));
	add(0, text_of("card"), text_of("c2"));
	ready();
	ok(make(2, 0, &d, &pair) && (is(pair.prompt, want[0]) || is(pair.prompt, want[1])), "a prompt, letter by letter");
	ok(is(pair.response, "[card]") && is(d.intent, "card") && !d.not_applicable && d.n_way == 2 && d.n_shot == 1 &&
	   is(d.t->note, "a note") && d.number == 1 && d.version.s == NULL, "its response and what goes with it");
	ok(pair.n_offered == 3 && is(pair.offered[2], "none") && pair.offered[0].s[0] == '[', "the responses that it leaves open");
	ok(!make(1, 0, &d, &pair) && d.left_out == FEWSHOT_ONE_TEXT, "an intent's only text has nothing to show");
}

/* ---------------------------------------------------------------- one draw for one row, always */

static uint64_t
hash_pair(uint64_t h, const FewshotPair *pair)
{
	h = fsi_hash64(pair->prompt.s, pair->prompt.len, h);
	return fsi_hash64(pair->response.s, pair->response.len, h);
}

/* Hashes of the pairs of rows 0 .. n - 1 added in order a * i + b mod n, each at its number. */
static void
hash_rows(uint64_t seed, int n, int a, int b, uint64_t *hashes)
{
	begin(0, seed, 1000, SHOTS_TEMPLATE);
	for (int i = 0; i < n; i++)
	{
		int			k = (int) (((int64_t) i * a + b) % n);

		add(k % 7, print("intent %d", k % 7), print("text %d", k));
	}
	ready();
	for (int i = 0; i < n; i++)
	{
		FewshotDraw d;
		FewshotPair pair;
		int			k = (int) (((int64_t) i * a + b) % n);

		hashes[k] = make(i, 0, &d, &pair) ? hash_pair(0, &pair) : 0;
	}
}

#define REPEATED 210

static void
test_repeatable(void)
{
	static uint64_t first[REPEATED],
				again[REPEATED];
	uint64_t	all = 0;
	int			same = 0;

	hash_rows(1, REPEATED, 1, 0, first);
	hash_rows(1, REPEATED, 101, 17, again);
	ok(memcmp(first, again, sizeof(first)) == 0, "rows in another order give the same pairs");
	hash_rows(2, REPEATED, 1, 0, again);
	for (int i = 0; i < REPEATED; i++)
		same += first[i] == again[i];
	ok(same == 0, "another seed gives others");
	for (int i = 0; i < REPEATED; i++)
		all = all * 31 + first[i];
	ok(all == UINT64_C(0x5710961e9aa38ae3), "the same on every machine: %016llx", (unsigned long long) all);
}

static void
test_samples(void)
{
	FewshotDraw d;
	FewshotPair pair;
	uint64_t	h[4];

	begin(0, 1, 1000, SHOTS_TEMPLATE);
	add_labels(10, 10);
	add(0, rows.label_name[0], rows.text[0]);
	ready();
	for (int i = 0; i < 3; i++)
		h[i] = make(0, i, &d, &pair) ? hash_pair(0, &pair) : 0;
	h[3] = make(rows.n - 1, 0, &d, &pair) ? hash_pair(0, &pair) : 0;
	ok(h[0] != h[1] && h[1] != h[2] && h[0] != h[2], "samples differ");
	ok(h[3] != h[0] && h[3] != 0, "so do the pairs of equal rows");
}

/* ---------------------------------------------------------------- sources, descriptions, mistakes */

static void
test_sources(void)
{
	FewshotOptions o = {.tok = &tok, .max_tokens = 1000, .seed = 1};
	FewshotDraw d;
	bool		apart = true;

	rows.n = 0;
	must(fewshot_create(&o, &arena, &generator, &err));
	must(fewshot_add_templates(generator, text_of("red"), "red", text_of(LIST_TEMPLATE(0, "")), &err));
	must(fewshot_add_templates(generator, nothing, "all", text_of(SYMBOL_TEMPLATE(3) SHOTS_TEMPLATE), &err));
	for (int i = 0; i < 200; i++)
	{
		const char *source = i % 4 == 0 ? "red" : i % 4 == 1 ? "blue" : NULL;
		const char *split = i % 8 < 4 ? "train" : NULL;

		must(fewshot_add_row(generator, text_of(source), text_of(split), print("intent %d", i % 5), print("text %d", i), &err));
	}
	ready();
	for (int i = 0; i < 200; i++)
	{
		fsi_arena_free(&work);
		must(fewshot_draw(generator, (uint32_t) i, 0, &work, &d, &err));
		apart &= d.left_out == FEWSHOT_KEPT && (i % 4 == 0 ? is(d.source, "red") && d.number == 1 && !d.wants_texts :
												i % 4 == 1 ? is(d.source, "blue") : d.source.s == NULL);
		apart &= i % 8 < 4 ? is(d.split, "train") : d.split.s == NULL;
		for (int s = 0; s < d.n_shots; s++)
			if (d.wants_texts)
				apart &= (d.shots[s].row % 8 < 4) == (i % 8 < 4) &&
					(d.shots[s].row % 4 < 2 ? d.shots[s].row % 4 == (uint32_t) i % 4 : i % 4 >= 2);
	}
	ok(apart, "sources and splits stay apart, with templates of their own");
}

static void
test_descriptions(void)
{
	FewshotDraw d;
	FewshotPair pair;
	static const char missing[] =
		"prompt_template:\n{intent_description}\n{text}\nresponse_template:\n{intent}\nkwargs:\n{\"max_n_way\": 3}\n" END;

	begin(0, 1, 1000, DESCRIBED_TEMPLATE);
	for (int label = 0; label < 3; label++)
		for (int i = 0; i < 2; i++)
			must(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, print("intent %c %d", 'a' + label, label),
									  print("money %d", label), &err));
	add_labels(3, 3);
	ready();
	ok(make(1, 0, &d, &pair) && d.n_way == 3 && d.n_shot == 0 && count(pair.prompt, "intent b 1: money 1\n") == 1 &&
	   count(pair.prompt, "\n\n") == 2 && pair.prompt.s[1] == '.', "descriptions by symbol");

	begin(0, 1, 1000, DESCRIBED_TEMPLATE);
	must(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, text_of("intent a 0"), text_of("x"), &err));
	add_labels(3, 3);
	ok(fewshot_ready(generator, &err) == FSI_INVALID && strcmp(err.message, "intent \"intent b 1\" has no description") == 0,
	   "a description that is missing: %s", err.message);
	begin(0, 1, 1000, missing);
	add_labels(3, 3);
	ok(fewshot_ready(generator, &err) == FSI_INVALID &&
	   strcmp(err.message, "template 1, at line 1, has {intent_description}, but no \"intent_description_template\"") == 0,
	   "a template that is missing: %s", err.message);
	begin(FEWSHOT_ALL_FLAWS, 1, 1000, missing);
	add_labels(3, 3);
	ready();
	ok(make(1, 0, &d, &pair) && count(pair.prompt, "[missing template]") == 1, "as it was: the prompt says so");
}

static void
test_errors(void)
{
	begin(0, 1, 1000, SHOTS_TEMPLATE);
	ok(fewshot_ready(generator, &err) == FSI_INVALID && strcmp(err.message, "no labelled rows") == 0, "%s", err.message);
	begin(0, 1, 1000, SHOTS_TEMPLATE);
	add_labels(1, 3);
	ok(fewshot_ready(generator, &err) == FSI_INVALID && strcmp(err.message, "all rows have the same intent \"intent a 0\"") == 0,
	   "%s", err.message);
	begin(0, 1, 1000, SHOTS_TEMPLATE);
	must(fewshot_add_row(generator, nothing, text_of("train"), text_of("a"), text_of("x"), &err));
	must(fewshot_add_row(generator, nothing, text_of("test"), text_of("b"), text_of("y"), &err));
	ok(fewshot_ready(generator, &err) == FSI_INVALID && strcmp(err.message, "no source and split has rows of two intents") == 0,
	   "%s", err.message);
	rows.n = 0;
	must(fewshot_create(&(FewshotOptions) {.tok = &tok, .max_tokens = 100}, &arena, &generator, &err));
	must(fewshot_add_templates(generator, text_of("red"), "red", text_of(SHOTS_TEMPLATE), &err));
	must(fewshot_add_row(generator, text_of("blue"), nothing, text_of("a"), text_of("x"), &err));
	must(fewshot_add_row(generator, text_of("blue"), nothing, text_of("b"), text_of("y"), &err));
	ok(fewshot_ready(generator, &err) == FSI_INVALID && strcmp(err.message, "no template for source \"blue\"") == 0,
	   "%s", err.message);
}

static void *
plain_alloc(void *ctx, size_t bytes)
{
	(void) ctx;
	return malloc(bytes);
}

static void
plain_release(void *ctx, void *ptr)
{
	(void) ctx;
	free(ptr);
}

static bool
stop_when_told(void *ctx)
{
	return *(bool *) ctx;
}

static void
test_cancel(void)
{
	bool		stop = false;
	FsiHost		host = {&stop, plain_alloc, plain_release, stop_when_told};
	FsiArena	own;

	fsi_arena_init(&own, &host);
	must(fewshot_create(&(FewshotOptions) {.flaws = FEWSHOT_ALL_FLAWS}, &own, &generator, &err));
	must(fewshot_add_templates(generator, nothing, "templates", text_of(SHOTS_TEMPLATE), &err));
	for (int i = 0; i < 200000; i++)
	{
		char		text[32];

		snprintf(text, sizeof(text), "%d", i);
		must(fewshot_add_row(generator, nothing, nothing, text_of(i % 2 == 0 ? "a" : "b"), text_of(text), &err));
	}
	stop = true;
	ok(fewshot_ready(generator, &err) == FSI_CANCELLED, "sorting stops when it is told to");
	fsi_arena_free(&own);
}

int
main(void)
{
	help_start();
	test_text();
	test_steps(FEWSHOT_ALL_FLAWS, "as it was");
	test_steps(0, "mended");
	test_repeatable();
	test_samples();
	test_sources();
	test_descriptions();
	test_errors();
	test_cancel();
	return help_end();
}
