/*
 * test_train_fewshot_any.c
 *	  The generator of few-shot prompts on small tables of all kinds: few texts, shared and repeated ones, names that the
 *	  tokenizer takes for one or for "none of these"; what holds of every prompt that is mended.
 */
#include "fewshot_help.h"

#define TABLES 1500

static uint64_t state = 1;

static int
below(int n)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (int) ((state >> 33) % (uint64_t) n);
}

static const char *const names[] = {"refund", "card", "other", "none", "MAP", "FLIGHT", "red card", "red", "cards", "A"};
static const char *const answers[] = {"\"other\"", "[\"other\", \"none\"]", "[\"MAP\", \"blue\"]", "\"refund\"", "[\"ZZ\"]"};
static const char *const examples[] = {"[{text}={intent}]", "[{intent}]"};

#define N(array) ((int) (sizeof(array) / sizeof((array)[0])))

static void
make_table(void)
{
	int			n_name = 2 + below(6),
				n_text = 2 + below(9),
				first = below(N(names)),
				n_row = 4 + below(20);
	int			min_ways = 2 + below(2),
				max_ways = min_ways + below(5),
				min_shots = 1 + below(2),
				max_shots = min_shots + below(4);
	int			room = below(3) == 0 ? 24 + below(60) : 1000,
				rate = below(10);
	const char *end = below(3) > 0 ? "{not_applicable}" : "else",
			   *example = examples[below(N(examples))],
			   *answer = answers[below(N(answers))];

	begin(0, (uint64_t) below(1000), room,
		  print("prompt_template:\n{examples} or %s\n{text}\n\nresponse_template:\n{intent}\n\nkwargs:\n"
				"{\"example_template\": \"%s\", \"not_applicable_variable\": %s, \"not_applicable_rate\": 0.%d, "
				"\"min_n_way\": %d, \"max_n_way\": %d, \"min_n_shot\": %d, \"max_n_shot\": %d}\n" END,
				end, example, answer, rate, min_ways, max_ways, min_shots, max_shots).s);
	for (int i = 0; i < n_row; i++)
	{
		int			name = (first + below(n_name)) % N(names),
					number = below(n_text);

		add(name, text_of(names[name]), print("text %d", number));
	}
}

/* Every candidate that was not dropped is shown as often as any other, never by the message. */
static bool
is_even(const FewshotDraw *d)
{
	int			times[16] = {0},
				n = 0;

	for (int i = 0; i < d->n_shots; i++)
	{
		const FewshotShot *s = &d->shots[i];

		times[s->candidate] += s->rank < d->n_shot;
		if (d->wants_texts && is(d->text, rows.text[s->row].s))
			return false;
	}
	for (int i = 0; i < d->n_candidate; i++)
	{
		if (d->candidates[i].dropped)
			continue;
		n++;
		if (times[i] != d->n_shot)
			return false;
	}
	return n == d->n_way && n >= 2 && d->n_shot >= 1;
}

/* The options are the candidates and, where the prompt names it, the answer for "none of these", each once. */
static bool
is_offered(const FewshotDraw *d, const FewshotPair *pair)
{
	int			right = 0;
	bool		among = false,
				named = false;

	for (int i = 0; i < d->n_candidate; i++)
	{
		right += d->candidates[i].right;
		named |= d->candidates[i].name.len == d->answer.len && memcmp(d->candidates[i].name.s, d->answer.s, d->answer.len) == 0;
	}
	for (int i = 0; i < pair->n_offered; i++)
	{
		among |= pair->offered[i].len == pair->response.len && memcmp(pair->offered[i].s, pair->response.s, pair->response.len) == 0;
		for (int j = 0; j < i; j++)
			if (pair->offered[i].len == pair->offered[j].len && memcmp(pair->offered[i].s, pair->offered[j].s, pair->offered[i].len) == 0)
				return false;
	}
	return among && right == !d->not_applicable && pair->n_offered == d->n_way + (d->announced && !named) &&
		(!d->not_applicable || d->announced);
}

int
main(void)
{
	FsiArenaMark start;
	FewshotDraw d;
	FewshotPair pair;
	int			pairs = 0,
				left_out = 0,
				uneven = 0,
				others = 0;

	help_start();
	start = fsi_arena_mark(&arena);
	for (int t = 0; t < TABLES; t++)
	{
		fsi_arena_release(&arena, start);
		make_table();
		if (fewshot_ready(generator, &err) != FSI_OK)
			continue;			/* one intent */
		for (int i = 0; i < rows.n; i++)
		{
			if (!make(i, 0, &d, &pair))
			{
				left_out++;
				continue;
			}
			pairs++;
			uneven += !is_even(&d);
			others += !is_offered(&d, &pair);
		}
	}
	ok(pairs > 5 * TABLES && left_out > 0, "%d prompts, %d rows without one", pairs, left_out);
	ok(uneven == 0, "all intents have the same number of examples, and never the message: but in %d", uneven);
	ok(others == 0, "the options are what is shown, each once: but in %d", others);
	return help_end();
}
