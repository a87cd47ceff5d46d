/*
 * fewshot.h
 *	  Inside the generator of few-shot prompts: what was added, by number.
 *
 * Intents, sources and splits are interned: equal texts have one number.  A group is the
 * rows of one source and split, a cell those of them with one label: the pool that its
 * examples are drawn from.
 */
#ifndef FEWSHOT_H
#define FEWSHOT_H

#include "fsi_fewshot.h"
#include "train.h"

/* ---- fewshot_table.c: bytes to numbers from 0. ---- */

typedef struct FewshotTable
{
	FsiArena   *arena;
	int			n,
				cap;
	FewshotText *keys;
	uint32_t   *slots;			/* number + 1 by hash; a power of two, at most half full */
	uint32_t	n_slot;
} FewshotTable;

extern void fewshot_table_init(FewshotTable *t, FsiArena *arena);
/* The key's number; *added if it is new.  A key with s NULL is another one than the empty text. */
extern FsiStatus fewshot_table_add(FewshotTable *t, FewshotText key, int *number, bool *added, FsiError *err);
extern int	fewshot_table_find(const FewshotTable *t, FewshotText key);	/* -1: not there */
/* Room for one more element of size in an array of the table's own count: call after adding. */
extern FsiStatus fewshot_grow(FsiArena *arena, void **array, int n, size_t size, FsiError *err);

/* ---- What was added. ---- */

/* How a text looks to the tokenizer. */
typedef struct FewshotLook
{
	bool		known;			/* it was asked; all else is zero before */
	bool		unknown;		/* some tokens are unknown, or there are none */
	uint64_t	tokens;			/* hash of them */
} FewshotLook;

typedef struct FewshotSpelling
{
	FewshotText text;
	FewshotLook look;
	int			next;			/* of the same slot, or -1 */
} FewshotSpelling;

/* Spellings of one label in one version. */
typedef struct FewshotSlot
{
	int			first,
				last;
} FewshotSlot;

typedef struct FewshotVersion
{
	FewshotText name;
	int			next;			/* of the same set, or -1 */
} FewshotVersion;

/* Spellings of one kind for one source. */
typedef struct FewshotSet
{
	int			first,			/* version */
				last;
} FewshotSet;

typedef struct FewshotTemplate
{
	Template	t;
	int			number;			/* among its source's, from 1 */
	int			next;
	bool		announced;		/* the prompt says what "none of these" is */
	int			n_answer;		/* that may be given */
	FewshotText *answers;
	FewshotLook *looks;
} FewshotTemplate;

/* Templates of one source. */
typedef struct FewshotTemplates
{
	int			first,
				last,
				n;
} FewshotTemplates;

typedef struct FewshotSource
{
	FewshotText name;
	int			n_template;
	int		   *templates;
	int			n_version;		/* 0: the labels' own names */
	int		   *versions;
	int			n_description;	/* versions of the descriptions */
	int		   *descriptions;
	int			first_cell;		/* or -1 */
} FewshotSource;

typedef struct FewshotGroup
{
	int			source,
				split;
	int			n_cell;
	int		   *cells;			/* in ascending byte order of their labels */
} FewshotGroup;

typedef struct FewshotCell
{
	int			group,
				label,
				next;			/* of the same source, or -1 */
	uint64_t	key;			/* hash of the names, the same whatever was added before */
	uint32_t	n;				/* rows */
	uint32_t	distinct;		/* texts */
	uint32_t	first;			/* of its rows in the order of texts: the distinct ones come first */
} FewshotCell;

typedef struct FewshotRow
{
	uint64_t	text;			/* hash */
	int			cell;
	uint32_t	occurrence;		/* among the cell's rows with this text */
} FewshotRow;

#define FEWSHOT_CHUNK 16384		/* rows that are allocated together: no copies while they grow */

struct Fewshot
{
	FewshotOptions o;
	FsiArena   *arena;
	/* keys: source, for each kind; text; {kind, set, version name}; {version, label}; source */
	FewshotTable set_of[2],
				version_name_of,
				version_of,
				slot_of,
				templates_of;
	FewshotSet *sets[2];
	FewshotVersion *versions;
	FewshotSlot *slots;
	FewshotSpelling *spellings;
	int			n_spelling;
	FewshotTemplates *template_lists;
	FewshotTemplate *templates;
	int			n_template;
	/* keys: text; text; text; {source, split}; {group, label} */
	FewshotTable source_of,
				split_of,
				label_of,
				group_of,
				cell_of;
	FewshotSource *sources;
	FewshotGroup *groups;
	FewshotCell *cells;
	FewshotLook *label_looks;
	FewshotRow **chunks;
	int			n_chunk;
	uint32_t	n_row;
	uint32_t   *order;			/* rows by cell */
	bool		unknown_symbols[FEWSHOT_STYLES];
	FewshotWithoutRows without_rows;
};

static inline FewshotRow *
fewshot_row(const Fewshot *f, uint32_t row)
{
	return &f->chunks[row / FEWSHOT_CHUNK][row % FEWSHOT_CHUNK];
}

static inline bool
fewshot_mends(const Fewshot *f, FewshotFlaw flaw)
{
	return (f->o.flaws & flaw) == 0;
}

/* Texts that a cell's examples are drawn from. */
static inline int
fewshot_pool(const Fewshot *f, const FewshotCell *c)
{
	return (int) (fewshot_mends(f, FEWSHOT_LABELS) ? c->distinct : c->n);
}

/* Number of a version's slot for a label, or -1. */
extern int	fewshot_slot(const Fewshot *f, int version, int label);

/* FSI_INVALID: a label or description, not by source, of an intent that no row has. */
extern FsiStatus fewshot_check_spellings(Fewshot *f, FsiError *err);

/* ---- fewshot_pool.c: rows by label, the distinct texts of each first. ---- */

extern FsiStatus fewshot_sort_rows(Fewshot *f, FsiError *err);

/* ---- fewshot_ready.c ---- */

#define FEWSHOT_LETTERS 26
#define FEWSHOT_SYMBOL_BYTES 12

/* The symbol of candidate i from 0. */
extern FewshotText fewshot_symbol(FewshotSymbols style, int i, char buffer[FEWSHOT_SYMBOL_BYTES]);

#endif
