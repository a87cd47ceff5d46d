/*
 * fsi_fewshot.h
 *	  Few-shot prompts to train on: labelled texts and templates in, prompts and their responses out.
 *
 * The published data set's generator: every labelled row is the message of a prompt, for
 * which a spelling of the intents, a template, candidates and examples are drawn.  Its
 * measured flaws are mended, each unless it is asked for (FewshotFlaw).  What is drawn for
 * a row depends on the seed and on the set of rows, never on their order or the machine.
 *
 * Use: fewshot_create(); templates, spellings and rows in any order; fewshot_ready(); then
 * for a row fewshot_draw(), the texts that it asks for filled in, and fewshot_render().
 * The texts themselves stay with the caller: a Fewshot holds 20 bytes a row, and each
 * intent, spelling and template.  It lies in the arena given to fewshot_create(); results
 * lie in the arena of the call.  FSI_INVALID names the place of a mistake.
 */
#ifndef FSI_FEWSHOT_H
#define FSI_FEWSHOT_H

#include "fsi_text.h"

typedef FsiText FewshotText;

/* ---- Templates (src/text/template.c). ---- */

typedef enum TemplateField
{
	TEMPLATE_LITERAL = -1,
	TEMPLATE_EXAMPLES,
	TEMPLATE_DESCRIPTION,		/* in a prompt the list of descriptions, elsewhere one */
	TEMPLATE_TEXT,
	TEMPLATE_INTENT,
	TEMPLATE_SYMBOL,
	TEMPLATE_NOT_APPLICABLE,
	TEMPLATE_FIELDS
} TemplateField;

typedef struct TemplatePiece
{
	TemplateField field;
	FewshotText literal;		/* of TEMPLATE_LITERAL */
} TemplatePiece;

typedef struct TemplateText
{
	bool		given;
	int			n_piece;
	const TemplatePiece *pieces;
	unsigned	fields;			/* 1 << field of those that occur */
} TemplateText;

#define TEMPLATE_HAS(text, field) (((text)->fields >> (field) & 1) != 0)

#define TEMPLATE_MAX_WAYS 1000
#define TEMPLATE_MAX_SHOTS 1000

typedef struct Template
{
	TemplateText prompt,
				response,
				example,		/* one text and its intent */
				description;	/* one intent with its description */
	FewshotText raw_prompt;		/* prompt as it was written */
	FewshotText example_sep,
				description_sep;
	FewshotText note;			/* "description", which only goes through */
	int			n_not_applicable;
	const FewshotText *not_applicable;	/* answers when no candidate is right */
	double		not_applicable_rate;
	int			min_ways,
				max_ways,
				min_shots,
				max_shots;
	int			line;			/* where it begins */
} Template;

typedef struct TemplateList
{
	int			n;
	Template   *list;
} TemplateList;

/*
 * Read a template file of the published data set: blocks of "prompt_template:",
 * "response_template:" and "kwargs:" (one JSON object), each ended by the line
 * "--- [define prompt template end] ---".  FSI_INVALID: "NAME, line N: …".
 */
extern FsiStatus template_read(const char *name, const char *text, size_t len, FsiArena *arena,
							   TemplateList *out, FsiError *err);
/* Append the text with its fields filled in. */
extern FsiStatus template_fill(const TemplateText *t, const FewshotText values[TEMPLATE_FIELDS],
							   FsiBytes *out, FsiError *err);

/* ---- The generator (src/train/fewshot_*.c). ---- */

/* What the original does and this does not, unless told to. */
typedef enum FewshotFlaw
{
	FEWSHOT_POSITION = 1,		/* the right candidate mostly stands first */
	FEWSHOT_SYMBOLS = 2,		/* symbols that are unknown to the tokenizer */
	FEWSHOT_NOT_APPLICABLE = 4, /* the answer "none of these" where the prompt does not say what it is */
	FEWSHOT_LENGTH = 8,			/* prompts that leave no room for the response */
	FEWSHOT_LABELS = 16,		/* intents that are one and the same to the tokenizer; the message among the examples */
	FEWSHOT_ALL_FLAWS = 31
} FewshotFlaw;

typedef struct FewshotOptions
{
	uint64_t	seed;
	unsigned	flaws;			/* that stay */
	/* for what is mended; tok may be NULL only where nothing is */
	const Tokenizer *tok;
	int			max_tokens;		/* of a row: begin, prompt, its end, response, end */
	int			mark_tokens;	/* of these, the tokens that the model puts around the texts */
} FewshotOptions;

typedef struct Fewshot Fewshot;

extern FsiStatus fewshot_create(const FewshotOptions *options, FsiArena *arena, Fewshot **out, FsiError *err);

/* A template file's text (template_read(); not kept) for rows of one source, or with s NULL for those of all others. */
extern FsiStatus fewshot_add_templates(Fewshot *f, FewshotText source, const char *name, FewshotText text,
									   FsiError *err);

extern bool fewshot_has_templates(const Fewshot *f);

typedef enum FewshotKind { FEWSHOT_NAME = 0, FEWSHOT_DESCRIPTION = 1 } FewshotKind;

/* One of the ways in which a label's name or description is written in a version; source as above. */
extern FsiStatus fewshot_add_spelling(Fewshot *f, FewshotKind kind, FewshotText source, FewshotText version,
									  FewshotText label, FewshotText spelling, FsiError *err);

#define FEWSHOT_MAX_ROWS INT32_MAX

/* A labelled row, stripped and not empty; its number is how many came before.  source and split: s NULL for none. */
extern FsiStatus fewshot_add_row(Fewshot *f, FewshotText source, FewshotText split, FewshotText label,
								 FewshotText text, FsiError *err);

/* Sort and check what was added. */
extern FsiStatus fewshot_ready(Fewshot *f, FsiError *err);

/* Intents that spellings by source name and no row of the source has; after fewshot_ready(). */
typedef struct FewshotWithoutRows
{
	int			n;
	FewshotText source,			/* of the first */
				intent;
} FewshotWithoutRows;

extern const FewshotWithoutRows *fewshot_without_rows(const Fewshot *f);

/* Why a row gives no prompt. */
typedef enum FewshotLeftOut
{
	FEWSHOT_KEPT = 0,
	FEWSHOT_ONE_INTENT,			/* its source and split have no second one */
	FEWSHOT_ONE_TEXT,			/* its intent, or every other one, has no text to show but the message */
	FEWSHOT_ALIKE,				/* beside intents that are one and the same to the tokenizer there are too few others */
	FEWSHOT_TOO_LONG,
	FEWSHOT_REASONS
} FewshotLeftOut;

typedef struct FewshotCandidate
{
	int			label;			/* private */
	FewshotText name,
				description;
	bool		right;			/* the row's own intent */
	bool		dropped;		/* there was no room for it */
} FewshotCandidate;

typedef struct FewshotShot
{
	uint32_t	row;
	FewshotText text;			/* the caller fills it in, where texts are wanted */
	int			candidate;
	int			rank;			/* among its candidate's */
} FewshotShot;

typedef enum FewshotSymbols { FEWSHOT_NUMBERS = 0, FEWSHOT_LOWER, FEWSHOT_UPPER, FEWSHOT_STYLES } FewshotSymbols;

typedef struct FewshotDraw
{
	FewshotLeftOut left_out;
	uint32_t	row;
	FewshotText text;			/* the message: the caller fills it in */
	bool		wants_texts;	/* the shots' texts are shown */
	const Template *t;
	int			number;			/* of the template among its source's, from 1 */
	FewshotText source,
				split;
	FewshotText intent;			/* the right name, also where it is not among the candidates */
	FewshotText version;		/* s NULL: the labels' own names */
	bool		not_applicable;
	FewshotText answer;			/* "none of these" */
	bool		announced;		/* the prompt says it */
	int			n_way,
				n_shot;
	FewshotSymbols symbols;
	int			n_candidate;
	FewshotCandidate *candidates;
	int			n_shots;
	FewshotShot *shots;
	uint64_t	random;			/* state, for fewshot_render() */
} FewshotDraw;

/* Draw the prompt of a row; sample: 0, 1, …, each another prompt. */
extern FsiStatus fewshot_draw(const Fewshot *f, uint32_t row, int sample, FsiArena *arena, FewshotDraw *d,
							  FsiError *err);

typedef struct FewshotPair
{
	FewshotText prompt,
				response;
	int			n_offered;		/* 0: an open question */
	const FewshotText *offered; /* the responses that the prompt leaves open, the announced answer last */
} FewshotPair;

/* Write what was drawn; fewer shots, fewer candidates, shorter texts where there is no room.  May set d->left_out. */
extern FsiStatus fewshot_render(const Fewshot *f, FewshotDraw *d, FsiArena *arena, FewshotPair *pair, FsiError *err);

#endif
