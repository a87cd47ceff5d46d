/*
 * fewshot.c
 *	  What is added to a generator of few-shot prompts: templates, spellings, rows.
 */
#include "fewshot.h"

/* A key of numbers. */
#define KEY(...) ((FewshotText) {(const char *) (int[]) {__VA_ARGS__}, sizeof((int[]) {__VA_ARGS__})})

FsiStatus
fewshot_create(const FewshotOptions *options, FsiArena *arena, Fewshot **out, FsiError *err)
{
	Fewshot    *f = fsi_arena_zero(arena, 1, sizeof(Fewshot));

	if (f == NULL)
		return fsi_nomem(err, sizeof(Fewshot));
	f->o = *options;
	f->arena = arena;
	fewshot_table_init(&f->set_of[FEWSHOT_NAME], arena);
	fewshot_table_init(&f->set_of[FEWSHOT_DESCRIPTION], arena);
	fewshot_table_init(&f->version_name_of, arena);
	fewshot_table_init(&f->version_of, arena);
	fewshot_table_init(&f->slot_of, arena);
	fewshot_table_init(&f->templates_of, arena);
	fewshot_table_init(&f->source_of, arena);
	fewshot_table_init(&f->split_of, arena);
	fewshot_table_init(&f->label_of, arena);
	fewshot_table_init(&f->group_of, arena);
	fewshot_table_init(&f->cell_of, arena);
	*out = f;
	return FSI_OK;
}

/* ---------------------------------------------------------------- templates */

static FsiStatus
append_template(Fewshot *f, FewshotTemplates *list, const Template *t, FsiError *err)
{
	FSI_TRY(fewshot_grow(f->arena, (void **) &f->templates, f->n_template, sizeof(FewshotTemplate), err));
	f->templates[f->n_template] = (FewshotTemplate) {.t = *t, .number = ++list->n, .next = -1};
	if (list->last >= 0)
		f->templates[list->last].next = f->n_template;
	else
		list->first = f->n_template;
	list->last = f->n_template++;
	return FSI_OK;
}

FsiStatus
fewshot_add_templates(Fewshot *f, FewshotText source, const char *name, FewshotText text, FsiError *err)
{
	TemplateList read;
	int			number;
	bool		added;

	FSI_TRY(template_read(name, text.s, text.len, f->arena, &read, err));
	FSI_TRY(fewshot_table_add(&f->templates_of, source, &number, &added, err));
	if (added)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) &f->template_lists, number, sizeof(FewshotTemplates), err));
		f->template_lists[number] = (FewshotTemplates) {-1, -1, 0};
	}
	for (int i = 0; i < read.n; i++)
		FSI_TRY(append_template(f, &f->template_lists[number], &read.list[i], err));
	return FSI_OK;
}

bool
fewshot_has_templates(const Fewshot *f)
{
	return f->n_template > 0;
}

/* ---------------------------------------------------------------- spellings */

static FsiStatus
find_set(Fewshot *f, FewshotKind kind, FewshotText source, int *set, FsiError *err)
{
	bool		added;

	FSI_TRY(fewshot_table_add(&f->set_of[kind], source, set, &added, err));
	if (added)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) &f->sets[kind], *set, sizeof(FewshotSet), err));
		f->sets[kind][*set] = (FewshotSet) {-1, -1};
	}
	return FSI_OK;
}

static FsiStatus
find_version(Fewshot *f, FewshotKind kind, FewshotText source, FewshotText name, int *version, FsiError *err)
{
	FewshotSet *set;
	int			set_number,
				name_number;
	bool		added;

	FSI_TRY(find_set(f, kind, source, &set_number, err));
	FSI_TRY(fewshot_table_add(&f->version_name_of, name, &name_number, &added, err));
	FSI_TRY(fewshot_table_add(&f->version_of, KEY(kind, set_number, name_number), version, &added, err));
	if (!added)
		return FSI_OK;
	set = &f->sets[kind][set_number];
	FSI_TRY(fewshot_grow(f->arena, (void **) &f->versions, *version, sizeof(FewshotVersion), err));
	f->versions[*version] = (FewshotVersion) {f->version_name_of.keys[name_number], -1};
	if (set->last >= 0)
		f->versions[set->last].next = *version;
	else
		set->first = *version;
	set->last = *version;
	return FSI_OK;
}

FsiStatus
fewshot_add_spelling(Fewshot *f, FewshotKind kind, FewshotText source, FewshotText version, FewshotText label,
					 FewshotText spelling, FsiError *err)
{
	FewshotSlot *slot;
	FewshotText copy = {fsi_arena_strndup(f->arena, spelling.s, spelling.len), spelling.len};
	int			version_number,
				label_number,
				number;
	bool		added;

	if (copy.s == NULL)
		return fsi_nomem(err, spelling.len);
	FSI_TRY(find_version(f, kind, source, version, &version_number, err));
	FSI_TRY(fewshot_table_add(&f->label_of, label, &label_number, &added, err));
	FSI_TRY(fewshot_table_add(&f->slot_of, KEY(version_number, label_number), &number, &added, err));
	if (added)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) &f->slots, number, sizeof(FewshotSlot), err));
		f->slots[number] = (FewshotSlot) {-1, -1};
	}
	slot = &f->slots[number];
	FSI_TRY(fewshot_grow(f->arena, (void **) &f->spellings, f->n_spelling, sizeof(FewshotSpelling), err));
	f->spellings[f->n_spelling] = (FewshotSpelling) {.text = copy, .next = -1};
	if (slot->last >= 0)
		f->spellings[slot->last].next = f->n_spelling;
	else
		slot->first = f->n_spelling;
	slot->last = f->n_spelling++;
	return FSI_OK;
}

int
fewshot_slot(const Fewshot *f, int version, int label)
{
	return fewshot_table_find(&f->slot_of, KEY(version, label));
}

#define ANY_SOURCE (-1)
#define NAME_BYTES 60			/* of a name in a message */
#define SLOTS_BETWEEN_STOPS 4096

static FsiStatus
unknown_intent(FewshotKind kind, FewshotText label, FsiError *err)
{
	return fsi_fail(err, FSI_INVALID, "option \"%s\" names \"%.*s\", which is not among the intents of the source",
					kind == FEWSHOT_NAME ? "labels" : "descriptions", (int) (label.len < NAME_BYTES ? label.len : NAME_BYTES),
					label.s);
}

/*
 * Spellings by source, as the published ones, serve other calls too: with other sources, or
 * with rows that lack an intent, of a split say.  So those are only noted.
 */
static FsiStatus
check_slot(Fewshot *f, FewshotTable *used, int slot, FsiError *err)
{
	const int  *of_slot = (const int *) f->slot_of.keys[slot].s;	/* version, label */
	const int  *of_version = (const int *) f->version_of.keys[of_slot[0]].s;	/* kind, set, name */
	FewshotKind kind = (FewshotKind) of_version[0];
	FewshotText source = f->set_of[kind].keys[of_version[1]];
	FewshotText label = f->label_of.keys[of_slot[1]];
	int			number = source.s == NULL ? ANY_SOURCE : fewshot_table_find(&f->source_of, source);
	bool		added;

	if (source.s != NULL && number < 0)
		return FSI_OK;
	if (source.s == NULL)
		return fewshot_table_find(used, KEY(number, of_slot[1])) >= 0 ? FSI_OK : unknown_intent(kind, label, err);
	FSI_TRY(fewshot_table_add(used, KEY(number, of_slot[1]), &number, &added, err));
	if (added && f->without_rows.n++ == 0)
	{
		f->without_rows.source = source;
		f->without_rows.intent = label;
	}
	return FSI_OK;
}

FsiStatus
fewshot_check_spellings(Fewshot *f, FsiError *err)
{
	FewshotTable used;			/* key: {source, label} */
	int			number;
	bool		added;

	fewshot_table_init(&used, f->arena);
	for (int c = 0; c < f->cell_of.n; c++)
	{
		int			source = f->groups[f->cells[c].group].source;

		FSI_TRY(fewshot_table_add(&used, KEY(ANY_SOURCE, f->cells[c].label), &number, &added, err));
		FSI_TRY(fewshot_table_add(&used, KEY(source, f->cells[c].label), &number, &added, err));
	}
	for (int i = 0; i < f->slot_of.n; i++)
	{
		FSI_TRY(check_slot(f, &used, i, err));
		if (i % SLOTS_BETWEEN_STOPS == 0 && fsi_should_stop(f->arena->host))
			return fsi_cancelled(err);
	}
	return FSI_OK;
}

const FewshotWithoutRows *
fewshot_without_rows(const Fewshot *f)
{
	return &f->without_rows;
}

/* ---------------------------------------------------------------- rows */

static FsiStatus
find_group(Fewshot *f, FewshotText source, FewshotText split, int *group, FsiError *err)
{
	int			source_number,
				split_number;
	bool		added;

	FSI_TRY(fewshot_table_add(&f->source_of, source, &source_number, &added, err));
	if (added)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) &f->sources, source_number, sizeof(FewshotSource), err));
		f->sources[source_number] = (FewshotSource) {.name = f->source_of.keys[source_number]};
	}
	FSI_TRY(fewshot_table_add(&f->split_of, split, &split_number, &added, err));
	FSI_TRY(fewshot_table_add(&f->group_of, KEY(source_number, split_number), group, &added, err));
	if (added)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) &f->groups, *group, sizeof(FewshotGroup), err));
		f->groups[*group] = (FewshotGroup) {.source = source_number, .split = split_number};
	}
	return FSI_OK;
}

static uint64_t
hash_text(FewshotText t, uint64_t seed)
{
	return fsi_hash64(t.len > 0 ? t.s : "", t.len, seed + (t.s == NULL));
}

static FsiStatus
find_cell(Fewshot *f, FewshotText source, FewshotText split, FewshotText label, int *cell, FsiError *err)
{
	int			group,
				label_number;
	bool		added;

	FSI_TRY(find_group(f, source, split, &group, err));
	FSI_TRY(fewshot_table_add(&f->label_of, label, &label_number, &added, err));
	FSI_TRY(fewshot_table_add(&f->cell_of, KEY(group, label_number), cell, &added, err));
	if (!added)
		return FSI_OK;
	FSI_TRY(fewshot_grow(f->arena, (void **) &f->cells, *cell, sizeof(FewshotCell), err));
	f->cells[*cell] = (FewshotCell) {.group = group, .label = label_number,
		.key = hash_text(label, hash_text(split, hash_text(source, 0)))};
	f->groups[group].n_cell++;
	return FSI_OK;
}

FsiStatus
fewshot_add_row(Fewshot *f, FewshotText source, FewshotText split, FewshotText label, FewshotText text, FsiError *err)
{
	int			cell;

	if (f->n_row >= FEWSHOT_MAX_ROWS)
		return fsi_fail(err, FSI_LIMIT, "more than %d rows", FEWSHOT_MAX_ROWS);
	FSI_TRY(find_cell(f, source, split, label, &cell, err));
	if (f->n_row % FEWSHOT_CHUNK == 0)
	{
		FSI_TRY(fewshot_grow(f->arena, (void **) &f->chunks, f->n_chunk, sizeof(FewshotRow *), err));
		f->chunks[f->n_chunk] = fsi_arena_array(f->arena, FEWSHOT_CHUNK, sizeof(FewshotRow));
		if (f->chunks[f->n_chunk++] == NULL)
			return fsi_nomem(err, FEWSHOT_CHUNK * sizeof(FewshotRow));
	}
	f->cells[cell].n++;
	*fewshot_row(f, f->n_row++) = (FewshotRow) {.text = fsi_hash64(text.s, text.len, 0), .cell = cell};
	return FSI_OK;
}
