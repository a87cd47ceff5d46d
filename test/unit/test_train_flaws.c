/*
 * test_train_flaws.c
 *	  The published generator's flaws, each as it was and mended.
 */
#include "fewshot_help.h"

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
			must(tok_encode_plain(&tok, pair.response.s, pair.response.len, &work, &ids, &err));
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
				add(label, print("intent %d", label), print("text %d %.*s", i * 10 + label, 2 * (i % 12),
															"a b c d e f g h i j k l m n o p"));
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
	must(fewshot_add_spelling(generator, FEWSHOT_NAME, nothing, text_of(version), print("intent %c %d", 'a' + label, label),
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
	must(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, text_of("MAP"), text_of("where"), &err));
	must(fewshot_add_spelling(generator, FEWSHOT_DESCRIPTION, nothing, nothing, text_of("FLIGHT"), text_of("air"), &err));
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
	for (int mode = 0; mode < 2; mode++)
	{
		begin(mode == 0 ? FEWSHOT_ALL_FLAWS : 0, 8, 1000, LIST_TEMPLATE(0.9, "\\nor {not_applicable}"));
		for (int i = 0; i < 20; i++)
			for (int label = 0; label < 4; label++)
				add(label, text_of((const char *[]) {"MAP", "FLIGHT", "red card", "blue card"}[label]), print("%d of %d", i, label));
		ready();
		twice[mode] = alone = 0;
		for (int i = 0; i < rows.n; i++)
			if (rows.label[i] < 2 && make(i, 0, &d, &pair) && d.not_applicable)
			{
				alone++;
				for (int c = 0; c < d.n_candidate; c++)
					twice[mode] += is(d.candidates[c].name, rows.label[i] == 0 ? "FLIGHT" : "MAP");
			}
	}
	ok(twice[0] > 5 && twice[1] == 0 && alone > 5,
	   "nor is it right where a candidate's name is the right one to the tokenizer: %d prompts as it was, mended none of %d", twice[0], alone);
}

/* An intent that is called as the template's only answer for "none of these" is. */
static void
test_called_other(void)
{
	FewshotDraw d;
	FewshotPair pair;
	int			right = 0,
				times = 0;

	begin(0, 8, 1000, "prompt_template:\n{text}\noptions: {examples}\nor {not_applicable}\n\nresponse_template:\n{intent}\n\nkwargs:\n"
		  "{\"example_template\": \"{intent}\", \"example_sep\": \"; \", \"not_applicable_variable\": \"other\"}\n" END);
	for (int i = 0; i < 20; i++)
		for (int label = 0; label < 3; label++)
			add(label, text_of((const char *[]) {"other", "red card", "blue card"}[label]), print("%d of %d", i, label));
	ready();
	for (int i = 0; i < rows.n; i += 3)
	{
		if (!make(i, 0, &d, &pair))
			continue;
		right += is(pair.response, "other");
		for (int k = 0; k < pair.n_offered; k++)
			times += is(pair.offered[k], "other");
	}
	ok(right == 20 && times == 20, "\"none of these\" and an intent of that name are one response: offered %d times in %d prompts", times, right);
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

/* A label whose only text is the message has nothing to show, one of two texts is shown once: all have the same number. */
static void
test_message_of_another(void)
{
	FewshotDraw d;
	FewshotPair pair;
	int			uneven = 0,
				offered = 0,
				without = 0;

	begin(0, 9, 1000, SHOTS_TEMPLATE);
	add_labels(4, 6);
	add(4, text_of("only"), text_of("both"));
	add(5, text_of("two"), text_of("both"));
	add(5, text_of("two"), text_of("another"));
	add(0, rows.label_name[0], text_of("both"));
	ready();
	for (int sample = 0; sample < 200; sample++)
	{
		if (!make(rows.n - 1, sample, &d, &pair))
			continue;
		uneven += d.n_shots != d.n_way * d.n_shot || count(pair.prompt, "\ntext: ") != d.n_shots + 1;
		offered += count(pair.prompt, "intent: two\n");
		for (int i = 0; i < pair.n_offered; i++)
			without += is(pair.offered[i], "only");
	}
	ok(uneven == 0 && without == 0 && offered > 20, "the message is another intent's text: %d prompts of uneven examples, %d without one",
	   uneven, without);
	begin(0, 9, 1000, SHOTS_TEMPLATE);
	add(0, text_of("red"), text_of("both"));
	add(0, text_of("red"), text_of("another"));
	add(1, text_of("only"), text_of("both"));
	ready();
	ok(!make(0, 0, &d, &pair) && d.left_out == FEWSHOT_ONE_TEXT && make(1, 0, &d, &pair), "where the other intents have no other text: left out");
}

int
main(void)
{
	help_start();
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
	test_called_other();
	test_message();
	test_message_of_another();
	return help_end();
}
