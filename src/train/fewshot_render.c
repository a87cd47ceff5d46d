/*
 * fewshot_render.c
 *	  A drawn prompt and its response as text, made to fit into the model's context.
 *
 * The original's steps 10 and 11.  A prompt that leaves no room loses one shot of each
 * candidate, again and again down to one, then candidates that are not the right one, and
 * at last its texts lose their middle: never its end, where the message stands, nor the response.
 */
#include <string.h>

#include "fewshot.h"

#define LEAST_TEXT 32			/* bytes that a shortened text keeps, if it had them */

typedef struct Render
{
	const Fewshot *f;
	FewshotDraw *d;
	FsiArena   *arena;
	char		symbol_buffer[2][FEWSHOT_SYMBOL_BYTES];
	size_t		text_bytes;		/* longer texts lose their middle */
	FsiError   *err;
} Render;

static FewshotText
bytes_text(const FsiBytes *b)
{
	return (FewshotText) {b->data != NULL ? (const char *) b->data : "", b->len};
}

/* Head and tail of a text that is longer than texts may be. */
static FsiStatus
clip(Render *r, FewshotText text, FewshotText *out)
{
	size_t		tail = r->text_bytes / 2;

	*out = text;
	if (text.len <= r->text_bytes)
		return FSI_OK;
	return text_ends(text, r->text_bytes - tail, tail, r->arena, out, r->err);
}

/* The symbol of a candidate: they count those that were not dropped. */
static FewshotText
symbol_of(Render *r, int candidate, char *buffer)
{
	int			before = 0;

	for (int i = 0; i < candidate; i++)
		before += !r->d->candidates[i].dropped;
	return fewshot_symbol(r->d->symbols, before, buffer);
}

static void
set_candidate(Render *r, int candidate, FewshotText *values)
{
	const FewshotCandidate *c = &r->d->candidates[candidate];

	values[TEMPLATE_INTENT] = c->name;
	values[TEMPLATE_DESCRIPTION] = c->description;
	values[TEMPLATE_SYMBOL] = symbol_of(r, candidate, r->symbol_buffer[0]);
}

static FsiStatus
join(Render *r, FsiBytes *out, FewshotText separator)
{
	return fsi_bytes_append(out, separator.s, separator.len) ? FSI_OK : fsi_nomem(r->err, separator.len);
}

static FsiStatus
render_examples(Render *r, FewshotText *out)
{
	const Template *t = r->d->t;
	FewshotText values[TEMPLATE_FIELDS] = {{NULL, 0}};
	bool		first = true;
	FsiBytes	b;

	fsi_bytes_init(&b, r->arena);
	for (int i = 0; i < r->d->n_shots; i++)
	{
		const FewshotShot *shot = &r->d->shots[i];

		if (shot->rank >= r->d->n_shot || r->d->candidates[shot->candidate].dropped)
			continue;
		if (!first)
			FSI_TRY(join(r, &b, t->example_sep));
		first = false;
		set_candidate(r, shot->candidate, values);
		FSI_TRY(clip(r, shot->text, &values[TEMPLATE_TEXT]));
		FSI_TRY(template_fill(&t->example, values, &b, r->err));
	}
	*out = text_trim(bytes_text(&b));
	return FSI_OK;
}

/* In the order of the symbols, which is that of the candidates. */
static FsiStatus
render_descriptions(Render *r, FewshotText *out)
{
	static const char missing[] = "[missing template]";
	const Template *t = r->d->t;
	FewshotText values[TEMPLATE_FIELDS] = {{NULL, 0}};
	bool		first = true;
	FsiBytes	b;

	fsi_bytes_init(&b, r->arena);
	for (int i = 0; i < r->d->n_candidate && t->description.given; i++)
	{
		if (r->d->candidates[i].dropped)
			continue;
		if (!first)
			FSI_TRY(join(r, &b, t->description_sep));
		first = false;
		set_candidate(r, i, values);
		FSI_TRY(template_fill(&t->description, values, &b, r->err));
	}
	*out = t->description.given ? text_trim(bytes_text(&b)) : (FewshotText) {missing, sizeof(missing) - 1};
	return FSI_OK;
}

static FsiStatus
render_response(Render *r, int candidate, FewshotText *out)
{
	FewshotText values[TEMPLATE_FIELDS] = {{NULL, 0}};
	FsiBytes	b;

	set_candidate(r, candidate, values);
	FSI_TRY(clip(r, r->d->text, &values[TEMPLATE_TEXT]));
	values[TEMPLATE_NOT_APPLICABLE] = r->d->answer;
	fsi_bytes_init(&b, r->arena);
	FSI_TRY(template_fill(&r->d->t->response, values, &b, r->err));
	*out = bytes_text(&b);
	return FSI_OK;
}

static FsiStatus
render_prompt(Render *r, FewshotText *out)
{
	const FewshotDraw *d = r->d;
	FewshotText values[TEMPLATE_FIELDS] = {{NULL, 0}};
	FsiBytes	b;

	if (TEMPLATE_HAS(&d->t->prompt, TEMPLATE_EXAMPLES))
		FSI_TRY(render_examples(r, &values[TEMPLATE_EXAMPLES]));
	if (TEMPLATE_HAS(&d->t->prompt, TEMPLATE_DESCRIPTION))
		FSI_TRY(render_descriptions(r, &values[TEMPLATE_DESCRIPTION]));
	FSI_TRY(clip(r, d->text, &values[TEMPLATE_TEXT]));
	values[TEMPLATE_INTENT] = d->intent;
	values[TEMPLATE_NOT_APPLICABLE] = d->answer;
	for (int i = 0; i < d->n_candidate; i++)
		if (d->candidates[i].right)
			values[TEMPLATE_SYMBOL] = symbol_of(r, i, r->symbol_buffer[1]);
	fsi_bytes_init(&b, r->arena);
	FSI_TRY(template_fill(&d->t->prompt, values, &b, r->err));
	*out = bytes_text(&b);
	return FSI_OK;
}

static bool
is_offered(const FewshotPair *pair, const FewshotText *offered, FewshotText response)
{
	for (int i = 0; i < pair->n_offered; i++)
		if (offered[i].len == response.len && memcmp(offered[i].s, response.s, response.len) == 0)
			return true;
	return false;
}

/*
 * The responses that the prompt leaves open, and among them the right one.  Where the template's only answer for "none
 * of these" is the right name, they are one.
 */
static FsiStatus
render_offered(Render *r, FewshotPair *pair)
{
	const FewshotDraw *d = r->d;
	FewshotText *offered = fsi_arena_array(r->arena, (size_t) d->n_candidate + 1, sizeof(FewshotText));
	const TemplateText *prompt = &d->t->prompt;
	bool		open = !TEMPLATE_HAS(prompt, TEMPLATE_EXAMPLES) && !TEMPLATE_HAS(prompt, TEMPLATE_DESCRIPTION);

	if (offered == NULL)
		return fsi_nomem(r->err, ((size_t) d->n_candidate + 1) * sizeof(FewshotText));
	pair->response = d->answer;
	pair->n_offered = 0;
	for (int i = 0; i < d->n_candidate; i++)
	{
		FewshotText response;

		if (d->candidates[i].dropped)
			continue;
		FSI_TRY(render_response(r, i, &response));
		if (!open)
			offered[pair->n_offered++] = response;
		if (d->candidates[i].right && !d->not_applicable)
			pair->response = response;
	}
	if (!open && d->announced && !(fewshot_mends(r->f, FEWSHOT_LABELS) && is_offered(pair, offered, d->answer)))
		offered[pair->n_offered++] = d->answer;
	pair->offered = offered;
	return FSI_OK;
}

/* ---------------------------------------------------------------- length */

static FsiStatus
count_tokens(Render *r, const FewshotPair *pair, size_t *tokens)
{
	const Tokenizer *tok = r->f->o.tok;
	TokIds		ids;

	FSI_TRY(tok_encode_plain(tok, pair->prompt.s, pair->prompt.len, r->arena, &ids, r->err));
	*tokens = ids.n + (size_t) r->f->o.mark_tokens;
	FSI_TRY(prompt_label_ids(tok, pair->response, pair->prompt, r->arena, &ids, r->err));
	*tokens += ids.n;
	return FSI_OK;
}

/* Any one that is not the right one: were it the last, the right one would stand at the end too often. */
static void
drop_candidate(FewshotDraw *d)
{
	TrainRandom random = {d->random};
	int			n = 0,
				pick;

	for (int i = 0; i < d->n_candidate; i++)
		n += !d->candidates[i].right && !d->candidates[i].dropped;
	pick = train_random_below(&random, n);
	d->random = random.state;
	for (int i = 0; i < d->n_candidate; i++)
		if (!d->candidates[i].right && !d->candidates[i].dropped && pick-- == 0)
		{
			d->candidates[i].dropped = true;
			break;
		}
	d->n_way--;
}

/*
 * How many of n parts to keep: one less, or in a prompt that is much too long as many as would fit were it nothing
 * else.
 */
static int
fewer(int n, int least, size_t tokens, size_t max_tokens)
{
	int			share = (int) ((double) n * (double) max_tokens / (double) tokens);

	share = tokens / 2 > max_tokens && share < n ? share : n - 1;
	return share > least ? share : least;
}

/* Let all texts be shorter than the longest is now, by the share that is too much; false: they are short already. */
static bool
shorten_texts(Render *r, size_t tokens)
{
	const FewshotDraw *d = r->d;
	size_t		longest = d->text.len,
				share;

	for (int i = 0; i < d->n_shots && d->wants_texts; i++)
		if (d->shots[i].rank < d->n_shot && !d->candidates[d->shots[i].candidate].dropped && d->shots[i].text.len > longest)
			longest = d->shots[i].text.len;
	longest = longest < r->text_bytes ? longest : r->text_bytes;
	if (longest <= LEAST_TEXT)
		return false;
	share = (size_t) ((double) longest * r->f->o.max_tokens / (double) tokens);
	share = share < longest ? share : longest - 1;
	r->text_bytes = share > LEAST_TEXT ? share : LEAST_TEXT;
	return true;
}

/* Take something away; false: nothing is left to take. */
static bool
shorten(Render *r, size_t tokens)
{
	FewshotDraw *d = r->d;
	size_t		max_tokens = (size_t) r->f->o.max_tokens;

	if (d->n_shots > 0 && d->n_shot > 1)
		d->n_shot = fewer(d->n_shot, 1, tokens, max_tokens);
	else if (d->n_way > 2)
		for (int keep = fewer(d->n_way, 2, tokens, max_tokens); d->n_way > keep;)
			drop_candidate(d);
	else
		return shorten_texts(r, tokens);
	return true;
}

FsiStatus
fewshot_render(const Fewshot *f, FewshotDraw *d, FsiArena *arena, FewshotPair *pair, FsiError *err)
{
	Render		r = {.f = f, .d = d, .arena = arena, .text_bytes = SIZE_MAX, .err = err};
	FsiArenaMark mark = fsi_arena_mark(arena);
	bool		fits = false;

	while (!fits)
	{
		size_t		tokens = 0;

		fsi_arena_release(arena, mark);
		FSI_TRY(render_prompt(&r, &pair->prompt));
		FSI_TRY(render_offered(&r, pair));
		if (fewshot_mends(f, FEWSHOT_LENGTH))
			FSI_TRY(count_tokens(&r, pair, &tokens));
		fits = !fewshot_mends(f, FEWSHOT_LENGTH) || tokens <= (size_t) f->o.max_tokens;
		if (!fits && !shorten(&r, tokens))
		{
			d->left_out = FEWSHOT_TOO_LONG;
			return FSI_OK;
		}
	}
	return FSI_OK;
}
