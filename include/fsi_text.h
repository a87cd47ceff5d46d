/*
 * fsi_text.h
 *	  Text in, token ids out: UTF-8, normalisation, BERT WordPiece, GPT-2 byte-level BPE,
 *	  spelling features, prompt templates.
 *
 * A tokenizer is built once (at import) from a Hugging Face directory into a
 * position-independent blob, which lies in the packed model file and is used in place:
 * tok_open() only checks it and sets pointers.  A blob is treated as hostile.  All
 * functions take any bytes: invalid UTF-8 is FSI_INVALID with the byte offset, never a
 * crash.  Results live in the caller's arena.  Behaviour source: transformers'
 * BertTokenizer(Fast), tokenizers' ByteLevel BPE; see notes in each .c file.
 */
#ifndef FSI_TEXT_H
#define FSI_TEXT_H

#include "fsi_base.h"

typedef enum TokKind { TOK_WORDPIECE = 1, TOK_BPE = 2 } TokKind;

#define TOK_NONE (-1)

/* Opened view of a blob; read-only, may be shared between threads. */
typedef struct Tokenizer
{
	TokKind		kind;
	int32_t		n_vocab;		/* highest id + 1 */
	int32_t		bos,
				eos,
				pad,
				unk,
				cls,
				sep,
				mask;			/* TOK_NONE where the tokenizer has none */
	const void *blob;
	size_t		blob_len;
	const void *view;			/* private: header inside the blob */
	/* private pointers follow; filled by tok_open */
	const void *tab[16];
	uint64_t	num[16];
} Tokenizer;

typedef struct TokIds
{
	int32_t    *ids;
	size_t		n;
} TokIds;

/* Tokens round a text, or TOK_NONE, where the files say which (its post_processor, or add_bos_token and the like). */
typedef struct TokMarks
{
	bool		known;
	int32_t		first,
				last;
} TokMarks;

/*
 * Build the blob from a directory: tokenizer.json if there, else vocab.txt (+ tokenizer_config.json,
 * whose do_lower_case defaults to TRUE when the file or key is missing, as BertTokenizer does),
 * else vocab.json + merges.txt.  special_tokens_map.json / tokenizer_config.json / config.json
 * name the special tokens; one that they name without an id is the vocabulary's next, as in transformers.
 * n_vocab_model: rows of the model's embedding; ids past it are an error.  marks may be NULL.
 */
extern FsiStatus tok_build_dir(const char *dir, int32_t n_vocab_model, FsiArena *arena,
							   uint8_t **blob, size_t *blob_len, TokMarks *marks, FsiError *err);
extern FsiStatus tok_open(const void *blob, size_t len, Tokenizer *tok, FsiError *err);

/*
 * The other way: tokenizer.json, and the members of tokenizer_config.json without its braces, so that
 * tok_build_dir() and Hugging Face's libraries read the same tokenizer.  first and last: tokens that
 * the model puts around a text, or TOK_NONE.  FSI_UNSUPPORTED if a token is no text.
 */
extern FsiStatus tok_write(const Tokenizer *tok, int32_t first, int32_t last,
						   FsiBytes *tokenizer_json, FsiBytes *config, FsiError *err);

/* Ids of a text, no special tokens added; literal special tokens in the text are recognised as HF does. */
extern FsiStatus tok_encode(const Tokenizer *tok, const char *text, size_t len,
							FsiArena *arena, TokIds *out, FsiError *err);
/* As tok_encode, but a literal special token in the text stays plain text (a user's message is not trusted). */
extern FsiStatus tok_encode_plain(const Tokenizer *tok, const char *text, size_t len,
								  FsiArena *arena, TokIds *out, FsiError *err);
/* As tok_encode_plain, of what goes on after another text: a tokenizer that puts a space before texts puts none here. */
extern FsiStatus tok_encode_within(const Tokenizer *tok, const char *text, size_t len,
								   FsiArena *arena, TokIds *out, FsiError *err);
/* Text of ids.  skip_special drops special tokens but the unknown one.  Broken UTF-8 and byte 0 become U+FFFD. */
extern FsiStatus tok_decode(const Tokenizer *tok, const int32_t *ids, size_t n, bool skip_special,
							FsiArena *arena, char **text, size_t *len, FsiError *err);
/* The token's own string (vocabulary spelling) or NULL. */
extern const char *tok_token(const Tokenizer *tok, int32_t id, size_t *len);
extern int32_t tok_lookup(const Tokenizer *tok, const char *token, size_t len);	/* TOK_NONE */

/* The tokenizer's own normaliser alone (NFC, NFKC, Lowercase, StripAccents sequences, BERT's clean-up). */
extern FsiStatus tok_normalize(const Tokenizer *tok, const char *text, size_t len,
							   FsiArena *arena, char **out, size_t *out_len, FsiError *err);

/* Offset of the first byte that is not valid UTF-8 (no surrogates, no overlongs), or len. */
extern size_t text_utf8_valid(const char *s, size_t len);
/* Bytes of Unicode's White_Space at the end of valid UTF-8. */
extern size_t text_space_after(const char *s, size_t len);
/* Valid UTF-8 without White_Space at both ends. */
extern FsiText text_trim(FsiText t);
/* The first head and last tail bytes of a text that has as many, less characters that would be cut in two. */
extern FsiStatus text_ends(FsiText t, size_t head, size_t tail, FsiArena *arena, FsiText *out, FsiError *err);

/* ---- Spelling: hashed character n-grams (segments layout). Formula: src/text/spelling.c. ---- */

#define SPELL_BUCKETS 65536
typedef struct SpellVec
{
	uint32_t   *bucket;			/* ascending, distinct */
	float	   *weight;			/* unit length */
	size_t		n;
} SpellVec;

/* normalised: output of tok_normalize().  idf [SPELL_BUCKETS].  Empty text: n = 0. */
extern FsiStatus spell_features(const char *normalised, size_t len, const float *idf,
								FsiArena *arena, SpellVec *out, FsiError *err);
/* Cosine: products added in double in ascending bucket order. */
extern double spell_cosine(const SpellVec *a, const SpellVec *b);

/* The features of many texts by bucket: to compare a message with thousands. */
typedef struct SpellIndex
{
	size_t		n;				/* texts */
	size_t		n_bucket;
	uint32_t   *bucket;			/* [n_bucket] ascending */
	size_t	   *start;			/* [n_bucket + 1] into the two below */
	uint32_t   *vector;			/* who has the bucket, ascending */
	float	   *weight;
} SpellIndex;

/* Vectors are those of spell_features(); the index does not point at them. */
extern FsiStatus spell_index_build(size_t n, const SpellVec *const *vectors, FsiArena *arena,
								   SpellIndex *index, FsiError *err);
/* cosine[i] = spell_cosine(message, vector i), the same bits. */
extern FsiStatus spell_index_cosines(const SpellIndex *index, const SpellVec *message, const FsiHost *host,
									 double *cosine, FsiError *err);

/* ---- Prompts (prompt layout). ---- */

typedef struct PromptExample
{
	const char *text;
	size_t		text_len;
	const char *intent;
	size_t		intent_len;
} PromptExample;

typedef struct PromptSpec
{
	const char *template_text;	/* NULL: the built-in template for the case */
	size_t		template_len;
	const char *instructions;	/* NULL: built-in */
	size_t		instructions_len;
	int			n_intents;
	const char *const *intents;
	const size_t *intent_lens;
	const char *const *descriptions;	/* NULL, or per intent, entries may be NULL */
	const size_t *description_lens;
	int			n_examples;
	const PromptExample *examples;
	const char *other;			/* NULL: no "none of these" answer */
	size_t		other_len;
} PromptSpec;

/*
 * The prompt as text in two parts: everything before the message (the same for all rows:
 * its keys and values are kept) and everything after it.  Placeholders of a template:
 * {instructions} {intents} {descriptions} {examples} {other} {text}; {text} must stand once,
 * after all others; {{ and }} are literal braces; an unknown placeholder is FSI_INVALID naming it.
 * FSI_LIMIT for more than 256 MB beside the message; FSI_CANCELLED.
 *	{instructions}	the user's, or "intent recognition." / "意图识别。", and how to answer "other"
 *					unless the template has {other}
 *	{intents}		"- name", a line each
 *	{descriptions}	"intent: name" and, where there is one, "description: …", a line each
 *	{examples}		"text: …" and "intent: …", a line each; a line of twelve dashes between two
 *	{other}			the answer for "none of these"; FSI_INVALID if there is none
 * Built-in: instructions; the descriptions, or the intents unless each has an example; the
 * examples; "text: {text}" and "intent:".  Chinese if most intents have Han characters.
 */
extern FsiStatus prompt_render(const PromptSpec *spec, FsiArena *arena,
							   char **prefix, size_t *prefix_len,
							   char **suffix, size_t *suffix_len, FsiError *err);

/*
 * Does a label (an answer) have a space in front where it follows that text?  A byte-level vocabulary has one
 * token for " refund" and others for "refund": after a word it does.
 */
extern bool prompt_spaces_label(const Tokenizer *tok, FsiText before);
/* A label's tokens where it follows that text; a literal special token in it stays plain text. */
extern FsiStatus prompt_label_ids(const Tokenizer *tok, FsiText label, FsiText before,
								  FsiArena *arena, TokIds *ids, FsiError *err);
#endif
