/*
 * fewshot_ready.c
 *	  Before the first prompt is drawn: what belongs to each source, what the tokenizer can tell apart, what is missing.
 */
#include <stdio.h>
#include <string.h>

#include "fewshot.h"

#define STOP_EVERY 4096			/* labels between two questions whether to stop: some milliseconds */
#define NUMBERS_TRIED 30		/* symbols whose tokens are looked at */
#define NAME_BYTES 60			/* of a name in a message */

static int
cut(FewshotText t)
{
	return (int) (t.len < NAME_BYTES ? t.len : NAME_BYTES);
}

/* ---------------------------------------------------------------- the tokenizer's view */

static FsiStatus
look_at(const Fewshot *f, FewshotText text, FewshotLook *look, FsiError *err)
{
	const Tokenizer *tok = f->o.tok;
	FsiArena	work;
	FsiStatus	status;
	TokIds		ids;

	if (look->known)
		return FSI_OK;
	fsi_arena_init(&work, f->arena->host);
	status = tok_encode_plain(tok, text.s, text.len, &work, &ids, err);
	if (status == FSI_OK)
	{
		*look = (FewshotLook) {true, ids.n == 0, fsi_hash64(ids.ids, ids.n * sizeof(int32_t), 0)};
		for (size_t i = 0; i < ids.n; i++)
			look->unknown |= ids.ids[i] == tok->unk;
	}
	fsi_arena_free(&work);
	return status;
}

FewshotText
fewshot_symbol(FewshotSymbols style, int i, char buffer[FEWSHOT_SYMBOL_BYTES])
{
	int			len = 1;

	if (style == FEWSHOT_NUMBERS || i >= FEWSHOT_LETTERS)
		len = snprintf(buffer, FEWSHOT_SYMBOL_BYTES, "%d", i + 1);
	else
		buffer[0] = (char) ((style == FEWSHOT_LOWER ? 'a' : 'A') + i);
	return (FewshotText) {buffer, (size_t) len};
}

static FsiStatus
look_at_symbols(Fewshot *f, FsiError *err)
{
	char		buffer[FEWSHOT_SYMBOL_BYTES];

	for (int style = 0; style < FEWSHOT_STYLES; style++)
		for (int i = 0; i < (style == FEWSHOT_NUMBERS ? NUMBERS_TRIED : FEWSHOT_LETTERS); i++)
		{
			FewshotLook look = {0};

			FSI_TRY(look_at(f, fewshot_symbol(style, i, buffer), &look, err));
			f->unknown_symbols[style] |= look.unknown;
		}
	return FSI_OK;
}

/* ---------------------------------------------------------------- templates */

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Does text hold the words, not as a part of other ones? */
static bool
holds(FewshotText text, FewshotText words)
{
	for (size_t i = 0; i + words.len <= text.len; i++)
	{
		size_t		end = i + words.len;

		if (memcmp(text.s + i, words.s, words.len) != 0)
			continue;
		if ((i == 0 || !is_word(text.s[i - 1]) || !is_word(words.s[0])) &&
			(end == text.len || !is_word(text.s[end]) || !is_word(text.s[end - 1])))
			return true;
	}
	return false;
}

/* Which answers for "none of these" a template may give: where that is mended, those that its prompt spells out. */
static FsiStatus
list_answers(Fewshot *f, FewshotTemplate *t, FsiError *err)
{
	int			n = t->t.n_not_applicable;

	t->announced = TEMPLATE_HAS(&t->t.prompt, TEMPLATE_NOT_APPLICABLE);
	t->answers = fsi_arena_array(f->arena, (size_t) n, sizeof(FewshotText));
	t->looks = fsi_arena_zero(f->arena, (size_t) n, sizeof(FewshotLook));
	if (t->answers == NULL || t->looks == NULL)
		return fsi_nomem(err, (size_t) n * sizeof(FewshotText));
	for (int i = 0; i < n; i++)
		if (t->announced || !fewshot_mends(f, FEWSHOT_NOT_APPLICABLE) || holds(t->t.raw_prompt, t->t.not_applicable[i]))
			t->answers[t->n_answer++] = t->t.not_applicable[i];
	if (fewshot_mends(f, FEWSHOT_NOT_APPLICABLE))
		t->announced = t->n_answer > 0;
	if (fewshot_mends(f, FEWSHOT_LABELS))
		for (int i = 0; i < t->n_answer; i++)
			FSI_TRY(look_at(f, t->answers[i], &t->looks[i], err));
	return FSI_OK;
}

static FsiStatus
list_templates(Fewshot *f, FewshotSource *s, FsiError *err)
{
	int			list = fewshot_table_find(&f->templates_of, s->name);

	if (list < 0)
		list = fewshot_table_find(&f->templates_of, (FewshotText) {NULL, 0});
	if (list < 0)
	{
		if (s->name.s == NULL)
			fsi_fail(err, FSI_INVALID, "no template for rows without a source");
		else
			fsi_fail(err, FSI_INVALID, "no template for source \"%.*s\"", cut(s->name), s->name.s);
		fsi_detail(err, "Templates are given by source.");
		return FSI_INVALID;
	}
	s->templates = fsi_arena_array(f->arena, (size_t) f->template_lists[list].n, sizeof(int));
	if (s->templates == NULL)
		return fsi_nomem(err, (size_t) f->template_lists[list].n * sizeof(int));
	for (int t = f->template_lists[list].first; t >= 0; t = f->templates[t].next)
		s->templates[s->n_template++] = t;
	return FSI_OK;
}

/* ---------------------------------------------------------------- spellings */

static FsiStatus
list_versions(Fewshot *f, FewshotKind kind, FewshotText source, int *n, int **versions, FsiError *err)
{
	int			set = fewshot_table_find(&f->set_of[kind], source);

	*n = 0;
	if (set < 0)
		set = fewshot_table_find(&f->set_of[kind], (FewshotText) {NULL, 0});
	if (set < 0)
		return FSI_OK;
	for (int v = f->sets[kind][set].first; v >= 0; v = f->versions[v].next)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) versions, *n, sizeof(int), err));
		(*versions)[(*n)++] = v;
	}
	return FSI_OK;
}

/* Is there a spelling without unknown tokens?  Looks at all of them. */
static FsiStatus
look_at_label(Fewshot *f, int version, int label, bool *clean, FsiError *err)
{
	int			slot = version >= 0 ? fewshot_slot(f, version, label) : -1;

	*clean = false;
	if (slot < 0)
	{
		FSI_TRY(look_at(f, f->label_of.keys[label], &f->label_looks[label], err));
		*clean = !f->label_looks[label].unknown;
	}
	else
		for (int i = f->slots[slot].first; i >= 0; i = f->spellings[i].next)
		{
			FSI_TRY(look_at(f, f->spellings[i].text, &f->spellings[i].look, err));
			*clean |= !f->spellings[i].look.unknown;
		}
	return FSI_OK;
}

static FsiStatus
count_clean(Fewshot *f, int source, int version, int *clean, FsiError *err)
{
	int			n = 0;

	*clean = 0;
	for (int c = f->sources[source].first_cell; c >= 0; c = f->cells[c].next)
	{
		bool		is_clean;

		if (++n % STOP_EVERY == 0 && fsi_should_stop(f->arena->host))
			return fsi_cancelled(err);
		FSI_TRY(look_at_label(f, version, f->cells[c].label, &is_clean, err));
		*clean += is_clean;
	}
	return fsi_should_stop(f->arena->host) ? fsi_cancelled(err) : FSI_OK;
}

/* Keep the versions in which the most intents are free of unknown tokens. */
static FsiStatus
choose_versions(Fewshot *f, int source, FsiError *err)
{
	FewshotSource *s = &f->sources[source];
	int			n = s->n_version,
				best = 0;
	int			clean;

	if (n == 0)
		return count_clean(f, source, -1, &clean, err);
	s->n_version = 0;
	for (int i = 0; i < n; i++)
	{
		FSI_TRY(count_clean(f, source, s->versions[i], &clean, err));
		if (clean > best || i == 0)
		{
			s->n_version = 0;
			best = clean;
		}
		if (clean == best)
			s->versions[s->n_version++] = s->versions[i];
	}
	return FSI_OK;
}

/* ---------------------------------------------------------------- descriptions */

static bool
shows_descriptions(const Template *t)
{
	return (TEMPLATE_HAS(&t->prompt, TEMPLATE_DESCRIPTION) && TEMPLATE_HAS(&t->description, TEMPLATE_DESCRIPTION)) ||
		(TEMPLATE_HAS(&t->prompt, TEMPLATE_EXAMPLES) && TEMPLATE_HAS(&t->example, TEMPLATE_DESCRIPTION));
}

static FsiStatus
no_description(const Fewshot *f, const FewshotSource *s, int label, const FewshotTemplate *t, FsiError *err)
{
	FewshotText name = f->label_of.keys[label];

	if (s->name.s == NULL)
		fsi_fail(err, FSI_INVALID, "intent \"%.*s\" has no description", cut(name), name.s);
	else
		fsi_fail(err, FSI_INVALID, "intent \"%.*s\" of source \"%.*s\" has no description", cut(name), name.s,
				 cut(s->name), s->name.s);
	fsi_detail(err, "Template %d, at line %d, shows descriptions.", t->number, t->t.line);
	fsi_hint(err, "Give a description of every intent in the option \"descriptions\".");
	return FSI_INVALID;
}

static FsiStatus
check_descriptions(const Fewshot *f, int source, FsiError *err)
{
	const FewshotSource *s = &f->sources[source];
	const FewshotTemplate *shown = NULL;

	for (int i = 0; i < s->n_template; i++)
	{
		const FewshotTemplate *t = &f->templates[s->templates[i]];

		if (TEMPLATE_HAS(&t->t.prompt, TEMPLATE_DESCRIPTION) && !t->t.description.given &&
			f->o.flaws != FEWSHOT_ALL_FLAWS)
			return fsi_fail(err, FSI_INVALID, "template %d, at line %d, has {intent_description}, but no "
							"\"intent_description_template\"", t->number, t->t.line);
		if (shown == NULL && shows_descriptions(&t->t))
			shown = t;
	}
	for (int c = shown != NULL ? s->first_cell : -1; c >= 0; c = f->cells[c].next)
	{
		if (s->n_description == 0)
			return no_description(f, s, f->cells[c].label, shown, err);
		for (int v = 0; v < s->n_description; v++)
			if (fewshot_slot(f, s->descriptions[v], f->cells[c].label) < 0)
				return no_description(f, s, f->cells[c].label, shown, err);
	}
	return FSI_OK;
}

/* ---------------------------------------------------------------- all of it */

static FsiStatus
check_intents(const Fewshot *f, FsiError *err)
{
	FewshotText only = f->label_of.keys[f->cells[0].label];
	bool		same = true;

	for (int g = 0; g < f->group_of.n; g++)
		if (f->groups[g].n_cell > 1)
			return FSI_OK;
	for (int c = 0; c < f->cell_of.n; c++)
		same &= f->cells[c].label == f->cells[0].label;
	if (same)
		fsi_fail(err, FSI_INVALID, "all rows have the same intent \"%.*s\"", cut(only), only.s);
	else
		fsi_fail(err, FSI_INVALID, "no source and split has rows of two intents");
	fsi_hint(err, "A prompt lets the model choose between two intents or more.");
	return FSI_INVALID;
}

/* Each source's, in the order in which they came. */
static void
link_cells(Fewshot *f)
{
	for (int s = 0; s < f->source_of.n; s++)
		f->sources[s].first_cell = -1;
	for (int c = f->cell_of.n - 1; c >= 0; c--)
	{
		FewshotSource *s = &f->sources[f->groups[f->cells[c].group].source];

		f->cells[c].next = s->first_cell;
		s->first_cell = c;
	}
}

FsiStatus
fewshot_ready(Fewshot *f, FsiError *err)
{
	if (f->n_row == 0)
		return fsi_fail(err, FSI_INVALID, "no labelled rows");
	FSI_TRY(check_intents(f, err));
	FSI_TRY(fewshot_check_spellings(f, err));
	FSI_TRY(fewshot_sort_rows(f, err));
	f->label_looks = fsi_arena_zero(f->arena, (size_t) f->label_of.n, sizeof(FewshotLook));
	if (f->label_looks == NULL)
		return fsi_nomem(err, (size_t) f->label_of.n * sizeof(FewshotLook));
	link_cells(f);
	for (int t = 0; t < f->n_template; t++)
		FSI_TRY(list_answers(f, &f->templates[t], err));
	for (int s = 0; s < f->source_of.n; s++)
	{
		FewshotSource *source = &f->sources[s];

		FSI_TRY(list_templates(f, source, err));
		FSI_TRY(list_versions(f, FEWSHOT_NAME, source->name, &source->n_version, &source->versions, err));
		FSI_TRY(list_versions(f, FEWSHOT_DESCRIPTION, source->name, &source->n_description, &source->descriptions, err));
		if (fewshot_mends(f, FEWSHOT_LABELS))
			FSI_TRY(choose_versions(f, s, err));
		FSI_TRY(check_descriptions(f, s, err));
	}
	return fewshot_mends(f, FEWSHOT_SYMBOLS) ? look_at_symbols(f, err) : FSI_OK;
}
