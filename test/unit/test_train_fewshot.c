/*
 * test_train_fewshot.c
 *	  The generator of few-shot prompts: its steps, each mended flaw beside the original's, the same draws everywhere.
 */
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

static FewshotText
text_of(const char *s)
{
	return (FewshotText) {s, s != NULL ? strlen(s) : 0};
}

/* Formatted text that lasts. */
__attribute__((format(printf, 1, 2)))
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

static void
fine(FsiStatus status)
{
	if (status == FSI_OK)
		return;
	diag("%s", err.message);
	exit(1);
}

static bool
is(FewshotText t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.s, s, t.len) == 0;
}

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

static void
begin(unsigned flaws, uint64_t seed, int max_tokens, const char *templates)
{
	FewshotOptions o = {.seed = seed, .flaws = flaws, .tok = &tok, .max_tokens = max_tokens, .mark_tokens = 3};

	rows.n = 0;
	fine(fewshot_create(&o, &arena, &generator, &err));
	fine(fewshot_add_templates(generator, nothing, "templates", text_of(templates), &err));
}

static void
add(int label, FewshotText name, FewshotText text)
{
	rows.text[rows.n] = text;
	rows.label_name[rows.n] = name;
	rows.label[rows.n++] = label;
	fine(fewshot_add_row(generator, nothing, nothing, name, text, &err));
}

/* Labels "intent a", "intent b", … with texts of their own. */
static void
add_labels(int n_label, int n_text)
{
	for (int i = 0; i < n_text; i++)
		for (int label = 0; label < n_label; label++)
			add(label, print("intent %c %d", 'a' + label % 26, label), print("text %d of %c %d", i, 'a' + label % 26, label));
}

static void
ready(void)
{
	fine(fewshot_ready(generator, &err));
}

/* The pair of a row in the arena work, which is emptied; false: left out. */
static bool
make(int row, int sample, FewshotDraw *d, FewshotPair *pair)
{
	fsi_arena_free(&work);
	fine(fewshot_draw(generator, (uint32_t) row, sample, &work, d, &err));
	if (d->left_out != FEWSHOT_KEPT)
		return false;
	d->text = rows.text[row];
	for (int i = 0; i < d->n_shots; i++)
		if (d->wants_texts)
			d->shots[i].text = rows.text[d->shots[i].row];
	fine(fewshot_render(generator, d, &work, pair, &err));
	return d->left_out == FEWSHOT_KEPT;
}

/* Where the right candidate stands among those that were not dropped, or -1. */
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

static size_t
tokens_in(FewshotText t)
{
	TokIds		ids;

	fine(tok_encode_plain(&tok, t.s, t.len, &work, &ids, &err));
	return ids.n;
}

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

/* ---------------------------------------------------------------- the flaws */

static void
test_position(unsigned flaws, const char *mode, int low, int high)
{
	int			at[5] = {0};
	FewshotDraw d;
	FewshotPair pair;
	bool		all = true;

	begin(flaws, 3, 1000, SYMBOL_TEMPLATE(5));
	add_labels(30, 100);
	ready();
	for (int i = 0; i < rows.n; i++)
	{
		all &= make(i, 0, &d, &pair) && d.n_way == 5 && position(&d) >= 0;
		at[position(&d)]++;
	}
	ok(all, "%s: %d pairs of 5 ways", mode, rows.n);
	ok(at[0] >= low && at[0] <= high, "%s: the right one is the first in %d", mode, at[0]);
	/* 3 standard deviations of a fifth of 3000 are 66 */
	for (int i = 1; i < 5 && (flaws & FEWSHOT_POSITION) == 0; i++)
		ok(abs(at[i] - 600) < 80, "%s: number %d in %d", mode, i + 1, at[i]);
}

static void
test_symbols(void)
{
	int			n[2][FEWSHOT_STYLES] = {{0}},
				unknown[2] = {0};
	FewshotDraw d;
	FewshotPair pair;

	for (int mode = 0; mode < 2; mode++)
	{
		begin(mode == 0 ? FEWSHOT_ALL_FLAWS : FEWSHOT_ALL_FLAWS & ~FEWSHOT_SYMBOLS, 4, 1000, SYMBOL_TEMPLATE(3));
		add_labels(10, 150);
		ready();
		for (int i = 0; i < rows.n; i++)
		{
			TokIds		ids;

			if (!make(i, 0, &d, &pair))
				continue;
			n[mode][d.symbols]++;
			fine(tok_encode_plain(&tok, pair.response.s, pair.response.len, &work, &ids, &err));
			unknown[mode] += ids.ids[0] == tok.unk;
		}
	}
	/* 1500: 3 standard deviations of a third are 55, of a half 58 */
	ok(abs(n[0][0] - 495) < 60 && abs(n[0][1] - 495) < 60 && abs(n[0][2] - 510) < 60 && unknown[0] == n[0][2],
	   "as it was: %d numbers, %d lower-case and %d upper-case letters, which are unknown", n[0][0], n[0][1], n[0][2]);
	ok(unknown[1] == 0 && abs(n[1][0] - 750) < 65 && n[1][2] == 0, "mended: %d numbers, %d lower-case letters", n[1][0], n[1][1]);
}

/* How many of the pairs are not applicable, and how many of these have which answer. */
static int
count_missing(unsigned flaws, const char *templates, int answers[2])
{
	int			n = 0;
	FewshotDraw d;
	FewshotPair pair;

	answers[0] = answers[1] = 0;
	begin(flaws, 5, 1000, templates);
	add_labels(20, 50);
	ready();
	for (int i = 0; i < rows.n; i++)
		if (make(i, 0, &d, &pair) && d.not_applicable)
		{
			n++;
			answers[0] += is(pair.response, "none");
			answers[1] += is(pair.response, "other");
		}
	return n;
}

static void
test_not_applicable(void)
{
	int			a[2];

	ok(abs(count_missing(FEWSHOT_ALL_FLAWS, LIST_TEMPLATE(0.2, ""), a) - 200) < 45, "as it was: an answer that nobody announced");
	ok(count_missing(FEWSHOT_ALL_FLAWS & ~FEWSHOT_NOT_APPLICABLE, LIST_TEMPLATE(0.2, ""), a) == 0, "mended: no such answer");
	ok(abs(count_missing(0, LIST_TEMPLATE(0.2, "\\nor {not_applicable}"), a) - 200) < 45 && a[0] > 60 && a[1] > 60,
	   "mended: announced by its placeholder, either answer");
	ok(abs(count_missing(0, LIST_TEMPLATE(0.2, "\\nor other"), a) - 200) < 45 && a[0] == 0,
	   "mended: announced in so many words, no other answer");
	ok(count_missing(0, LIST_TEMPLATE(0.2, "\\nor another"), a) == 0, "mended: not as a part of another word");
}

/* A label with one text: the original says "none of these" where the label is an option, and shows no examples. */
static void
test_only_text(void)
{
	FewshotDraw d;
	FewshotPair pair;
	int			wrong = 0,
				right = 0,
				left_out = 0;

	begin(FEWSHOT_ALL_FLAWS, 5, 1000, LIST_TEMPLATE(0, ""));
	add_labels(6, 5);
	add(6, text_of("alone"), text_of("only"));
	ready();
	for (int sample = 0; sample < 50; sample++)
	{
		if (!make(rows.n - 1, sample, &d, &pair))
			left_out++;
		else if (d.not_applicable && d.n_shots == 0 && position(&d) >= 0 && d.n_way == d.n_candidate - 1)
			wrong++;
	}
	ok(wrong > 20 && left_out > 0 && wrong + left_out == 50, "as it was: \"none of these\", and no options: %d", wrong);
	for (int announced = 0; announced < 2; announced++)
	{
		begin(0, 5, 1000, announced ? SHOTS_TEMPLATE : LIST_TEMPLATE(0, ""));
		add_labels(6, 5);
		add(6, text_of("alone"), text_of("only"));
		ready();
		right = 0;
		for (int sample = 0; sample < 50; sample++)
			if (make(rows.n - 1, sample, &d, &pair))
				right += announced ? d.not_applicable && position(&d) < 0 && d.n_shots == d.n_way * d.n_shot :
					!d.not_applicable && is(pair.response, "alone");
		ok(right == 50, announced ? "mended: with examples it is not among the options" : "mended: without examples it is one like any other");
	}
}

static void
test_length(void)
{
	int			at[6][6] = {{0}},
				cut = 0,
				lost = 0,
				last = 0;
	bool		fits = true,
				whole = true;
	FewshotDraw d;
	FewshotPair pair;

	for (int mode = 0; mode < 2; mode++)
	{
		begin(mode == 0 ? FEWSHOT_ALL_FLAWS : 0, 6, 90, SHOTS_TEMPLATE);
		for (int i = 0; i < 200; i++)
			for (int label = 0; label < 10; label++)
				add(label, print("intent %d", label), print("text %d %.*s", i * 10 + label, 2 * (i % 12), "a b c d e f g h i j k l m n o p"));
		ready();
		for (int i = 0; i < rows.n; i++)
		{
			size_t		tokens;

			if (!make(i, 0, &d, &pair))
			{
				lost++;
				continue;
			}
			tokens = tokens_in(pair.prompt) + tokens_in(pair.response) + 3;
			if (mode == 0)
			{
				cut += tokens > 90;
				continue;
			}
			fits &= tokens <= 90;
			whole &= pair.prompt.len > 8 && memcmp(pair.prompt.s + pair.prompt.len - 8, "\nintent:", 8) == 0 &&
				pair.response.len > 0;
			if (d.n_way < d.n_candidate)
				last++;
			if (!d.not_applicable)
				at[d.n_way][position(&d)]++;
		}
	}
	ok(cut > 300, "as it was: %d of %d prompts are too long", cut, rows.n);
	ok(fits && whole && lost == 0, "mended: all fit, with message and response");
	ok(last > 100, "mended: %d lost candidates", last);
	ok(abs(at[2][0] - at[2][1]) < (at[2][0] + at[2][1]) / 6, "mended: of two candidates the right one is the first in %d, the second in %d",
	   at[2][0], at[2][1]);
	begin(0, 6, 30, SHOTS_TEMPLATE);
	add(0, text_of("a"), text_of("a b c d e f g h i j k l m n o p a b c d e f g h i j k l m n o p"));
	add(0, text_of("a"), text_of("a b"));
	add(1, text_of("b"), text_of("c"));
	add(1, text_of("b"), text_of("d"));
	ready();
	ok(!make(0, 0, &d, &pair) && d.left_out == FEWSHOT_TOO_LONG, "what cannot fit is left out");
}

/* Texts that leave no room even alone with one of each candidate lose their middle, not half a character of it. */
static void
test_long_texts(void)
{
	FewshotDraw d;
	FewshotPair pair;
	bool		good = true;

	for (int max_tokens = 80; max_tokens < 130; max_tokens++)
	{
		begin(0, 6, max_tokens, SHOTS_TEMPLATE);
		for (int i = 0; i < 8; i++)
			add(i % 2, text_of(i % 2 == 0 ? "card" : "refund"),
				print("from %d 退款退款退款退款退款退款退款退款退款退款退款退款退款退款退款退款退款退款 of card %d", i, i));
		ready();
		for (int i = 0; i < 8; i++)
		{
			if (!make(i, 0, &d, &pair))
			{
				good = false;
				continue;
			}
			good &= d.n_shot == 1 && tokens_in(pair.prompt) + tokens_in(pair.response) + 3 <= (size_t) max_tokens &&
				text_utf8_valid(pair.prompt.s, pair.prompt.len) == pair.prompt.len && pair.prompt.len > 100 &&
				count(pair.prompt, "text: from ") == 3 && count(pair.prompt, " of card ") == 3;
		}
	}
	ok(good, "long texts lose their middle");
}

/* A prompt of a thousand shots for fifty tokens takes few steps. */
static void
test_much_too_long(void)
{
	FewshotDraw d;
	FewshotPair pair;

	begin(0, 6, 80, "prompt_template:\n{examples}\n{text}\nresponse_template:\n{intent}\nkwargs:\n"
		  "{\"example_template\": \"{text} {intent}\", \"example_sep\": \" \", \"min_n_shot\": 1000, \"max_n_shot\": 1000}\n" END);
	add_labels(2, 1010);
	ready();
	if (!make(0, 0, &d, &pair))
		diag("left out");
	ok(tokens_in(pair.prompt) + tokens_in(pair.response) + 3 <= 80 && d.n_shot > 1 && d.n_shot < 9,
	   "of a thousand shots %d are kept", d.n_shot);
}

/* ---------------------------------------------------------------- names */

static void
add_name(const char *version, int label, const char *name)
{
	fine(fewshot_add_spelling(generator, FEWSHOT_NAME, nothing, text_of(version), print("intent %c %d", 'a' + label, label),
							  text_of(name), &err));
}

static void
test_names(void)
{
	static const char *const lower[] = {"red card", "blue card", "red money", "blue money"};
	static const char *const upper[] = {"RED CARD", "BLUE CARD", "RED MONEY", "BLUE MONEY"};
	int			same[2] = {0},
				versions[2][2] = {{0}},
				second = 0;
	FewshotDraw d;
	FewshotPair pair;

	for (int mode = 0; mode < 2; mode++)
	{
		begin(mode == 0 ? FEWSHOT_ALL_FLAWS : FEWSHOT_ALL_FLAWS & ~FEWSHOT_LABELS, 8, 1000, LIST_TEMPLATE(0, ""));
		for (int label = 0; label < 4; label++)
		{
			add_name("lower", label, lower[label]);
			add_name("upper", label, upper[label]);
		}
		add_name("lower", 0, "card of red");
		add_name("lower", 0, "Card");
		add_labels(4, 50);
		ready();
		for (int i = 0; i < rows.n; i++)
		{
			if (!make(i, 0, &d, &pair))
				continue;
			same[mode] += tokens_in(pair.response) == 2 && memcmp(pair.response.s, upper[rows.label[i]], 2) == 0;
			versions[mode][is(d.version, "upper")]++;
			second += mode == 1 && is(pair.response, "card of red");
			versions[mode][1] += mode == 1 && is(pair.response, "Card");
		}
	}
	ok(versions[0][1] > 60 && same[0] == versions[0][1], "as it was: %d responses are [UNK] [UNK], whatever the intent", same[0]);
	ok(versions[1][0] == 200 && versions[1][1] == 0 && second > 10, "mended: never a version or a spelling that the tokenizer does not know");
}

/* Where all versions have unknown names: none that two candidates share. */
static void
test_alike(void)
{
	FewshotDraw d;
	FewshotPair pair;
	int			twice[2] = {0},
				alone = 0;

	for (int mode = 0; mode < 2; mode++)
	{
		begin(mode == 0 ? FEWSHOT_ALL_FLAWS : 0, 8, 1000, LIST_TEMPLATE(0, ""));
		for (int i = 0; i < 20; i++)
		{
			add(0, text_of("MAP"), print("map %d", i));
			add(1, text_of("FLIGHT"), print("flight %d", i));
			add(2, text_of("red card"), print("red %d", i));
		}
		ready();
		for (int i = 0; i < rows.n; i++)
		{
			if (!make(i, 0, &d, &pair))
				continue;
			twice[mode] += count(pair.prompt, "MAP") > 0 && count(pair.prompt, "FLIGHT") > 0;
		}
	}
	ok(twice[0] > 20 && twice[1] == 0, "two names that are one to the tokenizer: %d prompts as it was, mended none", twice[0]);
	begin(0, 8, 1000, LIST_TEMPLATE(0, ""));
	add(0, text_of("MAP"), text_of("map"));
	add(1, text_of("FLIGHT"), text_of("flight"));
	ready();
	for (int i = 0; i < 2; i++)
		alone += !make(i, 0, &d, &pair) && d.left_out == FEWSHOT_ALIKE;
	ok(alone == 2, "nothing else to choose from: left out");
	begin(0, 8, 1000, DESCRIBED_TEMPLATE);
	fine(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, text_of("MAP"), text_of("where"), &err));
	fine(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, text_of("FLIGHT"), text_of("air"), &err));
	add(0, text_of("MAP"), text_of("map"));
	add(1, text_of("FLIGHT"), text_of("flight"));
	ready();
	ok(make(0, 0, &d, &pair) && pair.response.len == 1 && count(pair.prompt, "where") == 1 && count(pair.prompt, "air") == 1,
	   "unless descriptions tell them apart, and the answer is a symbol");
	begin(0, 8, 1000, LIST_TEMPLATE(0.9, "\\nor {not_applicable}"));
	for (int i = 0; i < 20; i++)
		for (int label = 0; label < 4; label++)
			add(label, print("%s", label == 0 ? "other" : label == 1 ? "red" : label == 2 ? "blue" : "card"), print("%d of %d", i, label));
	ready();
	alone = 0;
	for (int i = 0; i < rows.n; i++)
		if (make(i, 0, &d, &pair) && d.not_applicable)
			for (int c = 0; c < d.n_candidate; c++)
				alone += is(d.candidates[c].name, pair.response.s);
	ok(alone == 0, "\"none of these\" is no candidate's name");
}

/* The same text under two labels, and twice under one. */
static void
test_message(void)
{
	FewshotDraw d;
	FewshotPair pair;
	int			shown[2] = {0};

	for (int mode = 0; mode < 2; mode++)
	{
		begin(mode == 0 ? FEWSHOT_ALL_FLAWS : 0, 9, 1000, SHOTS_TEMPLATE);
		add_labels(2, 6);
		for (int i = 0; i < 6; i++)
			add(i % 2, rows.label_name[i % 2], text_of("both"));
		ready();
		for (int i = 12; i < rows.n; i++)
			for (int sample = 0; sample < 20; sample++)
				if (make(i, sample, &d, &pair))
					shown[mode] += count(pair.prompt, "text: both\n") > 1;
	}
	ok(shown[0] > 20 && shown[1] == 0, "the message among the examples: %d prompts as it was, mended none", shown[0]);
}

/* ---------------------------------------------------------------- sources, descriptions, mistakes */

static void
test_sources(void)
{
	FewshotOptions o = {.tok = &tok, .max_tokens = 1000, .seed = 1};
	FewshotDraw d;
	bool		apart = true;

	rows.n = 0;
	fine(fewshot_create(&o, &arena, &generator, &err));
	fine(fewshot_add_templates(generator, text_of("red"), "red", text_of(LIST_TEMPLATE(0, "")), &err));
	fine(fewshot_add_templates(generator, nothing, "all", text_of(SYMBOL_TEMPLATE(3) SHOTS_TEMPLATE), &err));
	for (int i = 0; i < 200; i++)
	{
		const char *source = i % 4 == 0 ? "red" : i % 4 == 1 ? "blue" : NULL;
		const char *split = i % 8 < 4 ? "train" : NULL;

		fine(fewshot_add_row(generator, text_of(source), text_of(split), print("intent %d", i % 5), print("text %d", i), &err));
	}
	ready();
	for (int i = 0; i < 200; i++)
	{
		fsi_arena_free(&work);
		fine(fewshot_draw(generator, (uint32_t) i, 0, &work, &d, &err));
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
			fine(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, print("intent %c %d", 'a' + label, label),
									  print("money %d", label), &err));
	add_labels(3, 3);
	ready();
	ok(make(1, 0, &d, &pair) && d.n_way == 3 && d.n_shot == 0 && count(pair.prompt, "intent b 1: money 1\n") == 1 &&
	   count(pair.prompt, "\n\n") == 2 && pair.prompt.s[1] == '.', "descriptions by symbol");

	begin(0, 1, 1000, DESCRIBED_TEMPLATE);
	fine(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, text_of("intent a 0"), text_of("x"), &err));
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
	fine(fewshot_add_row(generator, nothing, text_of("train"), text_of("a"), text_of("x"), &err));
	fine(fewshot_add_row(generator, nothing, text_of("test"), text_of("b"), text_of("y"), &err));
	ok(fewshot_ready(generator, &err) == FSI_INVALID && strcmp(err.message, "no source and split has rows of two intents") == 0,
	   "%s", err.message);
	rows.n = 0;
	fine(fewshot_create(&(FewshotOptions) {.tok = &tok, .max_tokens = 100}, &arena, &generator, &err));
	fine(fewshot_add_templates(generator, text_of("red"), "red", text_of(SHOTS_TEMPLATE), &err));
	fine(fewshot_add_row(generator, text_of("blue"), nothing, text_of("a"), text_of("x"), &err));
	fine(fewshot_add_row(generator, text_of("blue"), nothing, text_of("b"), text_of("y"), &err));
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
	fine(fewshot_create(&(FewshotOptions) {.flaws = FEWSHOT_ALL_FLAWS}, &own, &generator, &err));
	fine(fewshot_add_templates(generator, nothing, "templates", text_of(SHOTS_TEMPLATE), &err));
	for (int i = 0; i < 200000; i++)
	{
		char		text[32];

		snprintf(text, sizeof(text), "%d", i);
		fine(fewshot_add_row(generator, nothing, nothing, text_of(i % 2 == 0 ? "a" : "b"), text_of(text), &err));
	}
	stop = true;
	ok(fewshot_ready(generator, &err) == FSI_CANCELLED, "sorting stops when it is told to");
	fsi_arena_free(&own);
}

int
main(void)
{
	char	   *dir = temp_dir();
	FsiBytes	vocab;

	fsi_arena_init(&arena, &fsi_host_malloc);
	fsi_arena_init(&work, &fsi_host_malloc);
	fsi_bytes_init(&vocab, &arena);
	if (!fsi_json_text(&vocab, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ntext\nintent\nof\nread\nelse\nother\nnone\nor\nanother\noptions\n"
					   "red\nblue\ncard\nmoney\nalone\nonly\nboth\nid\nmap\nflight\n.\n:\n;\n-\n\"\n)\n"))
		return 2;
	for (int c = 0; c < 36; c++)
		if (!fsi_json_printf(&vocab, "%c\n##%c\n", c < 26 ? 'a' + c : '0' + c - 26, c < 26 ? 'a' + c : '0' + c - 26))
			return 2;
	put_bytes(dir, "vocab.txt", vocab.data, vocab.len);
	put_json(dir, "tokenizer_config.json", "{'do_lower_case': false}");
	fine(build_open(dir, 0, &tok));
	drop_dir(dir);

	test_text();
	test_steps(FEWSHOT_ALL_FLAWS, "as it was");
	test_steps(0, "mended");
	test_repeatable();
	test_samples();
	test_position(FEWSHOT_ALL_FLAWS, "as it was", 2500, 3000);
	test_position(0, "mended", 520, 680);
	test_symbols();
	test_not_applicable();
	test_only_text();
	test_length();
	test_long_texts();
	test_much_too_long();
	test_names();
	test_alike();
	test_message();
	test_sources();
	test_descriptions();
	test_errors();
	test_cancel();
	fsi_arena_free(&work);
	fsi_arena_free(&arena);
	return tap_done();
}
