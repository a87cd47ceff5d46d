/*
 * tokblob.h
 *	  The tokenizer blob: one position-independent, little-endian piece of bytes.
 *
 * A header, then 8-aligned sections at offsets that the header names.  tok_open() checks
 * the header and that sections lie inside the blob, in constant time but for the 256 byte
 * ids; what sections hold is checked where it is read, so that a damaged or hostile blob
 * gives wrong ids at worst: every id is below n_vocab, every string inside the pool,
 * every probe sequence ends.
 */
#ifndef TEXT_TOKBLOB_H
#define TEXT_TOKBLOB_H

#include "fsi_text.h"

#define TOKBLOB_MAGIC "FSITOKN"
#define TOKBLOB_VERSION 1
#define TOKBLOB_ALIGN 8
#define TOK_MAX_VOCAB (1 << 22)
#define TOK_MAX_STEPS 16
#define TOK_MAX_WORD_CHARS 1000
#define TOK_MAX_TOKEN_BYTES 4096
#define TOK_MAX_PROBES 4096		/* of a look-up: tables that are built are at most two thirds full, no run is near that long */
#define TOK_MAX_ADDED_BYTES 256	/* of one added token: matching costs that much a byte at worst */
#define TOK_PREFIX "##"			/* WordPiece: a piece that continues a word */
#define TOK_PREFIX_LEN 2

/* Steps of a normaliser, in order; BERT's flags are or-ed in. */
typedef enum TokStep
{
	TOK_STEP_NFC = 1,			/* = UniForm */
	TOK_STEP_NFD,
	TOK_STEP_NFKC,
	TOK_STEP_NFKD,
	TOK_STEP_LOWER,
	TOK_STEP_STRIP_ACCENTS,		/* drops category M; decomposes nothing */
	TOK_STEP_BERT,
	TOK_STEP_KIND = 0x00FF,
	TOK_BERT_CLEAN = 0x0100,
	TOK_BERT_HAN = 0x0200,		/* spaces round Han characters */
	TOK_BERT_ACCENTS = 0x0400,	/* NFD, then drop Mn */
	TOK_BERT_LOWER = 0x0800
} TokStep;

/* header.flags */
#define TOK_PREFIX_SPACE 0x0001	/* byte-level: put a space before text that has none */
#define TOK_WHOLE_TEXT 0x0002	/* byte-level without GPT-2's pattern: no words */
#define TOK_CLEANUP 0x0004		/* WordPiece decoding: HF's clean_up_tokenization */
#define TOK_SPLIT_SPECIAL 0x0008	/* special tokens are text where they stand in one: HF's split_special_tokens */

/* Flags of a token */
#define TOK_IN_MODEL 0x01		/* in the model's vocabulary (an added one need not be) */
#define TOK_WHOLE 0x02			/* BPE of its own bytes gives just this token */
#define TOK_SPECIAL 0x04
#define TOK_ADDED 0x08
#define TOK_LSTRIP 0x10
#define TOK_RSTRIP 0x20

typedef struct TokSlot
{
	uint32_t	id1;			/* id + 1; 0: empty */
	uint32_t	tag;			/* upper half of the string's hash */
} TokSlot;

typedef struct TokMerge
{
	uint32_t	left;			/* UINT32_MAX: empty slot */
	uint32_t	right;
	uint32_t	rank;			/* lower first */
	uint32_t	id;
} TokMerge;

/* An added token as it stands in the text: raw, or (normalized: true) after the normaliser. */
typedef struct TokAdded
{
	uint32_t	offset;			/* in the section of patterns */
	uint32_t	length;
	uint32_t	id;
	uint32_t	flags;
} TokAdded;

/* Added tokens of one kind, patterns ascending by bytes. */
typedef struct TokAddedSet
{
	uint64_t	offset;			/* TokAdded[count] */
	uint32_t	count;
	uint32_t	reserved;
	uint64_t	first[4];		/* bit b: some pattern begins with byte b */
} TokAddedSet;

typedef struct TokHeader
{
	char		magic[8];
	uint32_t	version;
	uint32_t	kind;
	uint64_t	total;			/* bytes of the blob */
	uint32_t	flags;
	uint32_t	n_vocab;
	int32_t		bos,
				eos,
				pad,
				unk,
				cls,
				sep,
				mask,
				reserved;
	uint16_t	steps[TOK_MAX_STEPS];	/* TokStep */
	uint32_t	n_steps;
	uint32_t	max_word_chars; /* WordPiece: longer words are unknown */
	uint32_t	max_token_bytes;
	uint32_t	vocab_cap;		/* power of two */
	uint32_t	merge_cap;		/* power of two; 0 for WordPiece */
	uint32_t	n_merges;
	uint64_t	strings;		/* uint32_t[n_vocab + 1]: token i is pool[strings[i] .. strings[i + 1]) */
	uint64_t	pool;
	uint64_t	pool_len;
	uint64_t	token_flags;	/* uint8_t[n_vocab] */
	uint64_t	vocab;			/* TokSlot[vocab_cap]: string to id */
	uint64_t	merges;			/* TokMerge[merge_cap] */
	uint64_t	patterns;		/* bytes of the added tokens' patterns */
	uint64_t	patterns_len;
	TokAddedSet added[2];		/* raw, normalised */
	int32_t		byte_id[256];	/* BPE: token of a byte, or TOK_NONE */
} TokHeader;

_Static_assert(sizeof(TokSlot) == 8 && sizeof(TokMerge) == 16 && sizeof(TokAdded) == 16, "fixed by the file format");
_Static_assert(sizeof(TokAddedSet) == 48, "fixed by the file format");
_Static_assert(sizeof(TokHeader) == 1304, "fixed by the file format");
_Static_assert(offsetof(TokHeader, strings) == 120 && offsetof(TokHeader, byte_id) == 280, "fixed by the file format");

/* Tokenizer.tab */
enum
{
	TOK_TAB_STRINGS,
	TOK_TAB_POOL,
	TOK_TAB_FLAGS,
	TOK_TAB_VOCAB,
	TOK_TAB_MERGES,
	TOK_TAB_PATTERNS,
	TOK_TAB_ADDED_RAW,
	TOK_TAB_ADDED_NORM
};

static inline const TokHeader *
tok_header(const Tokenizer *tok)
{
	return tok->view;
}

static inline uint8_t
tok_flags(const Tokenizer *tok, int32_t id)
{
	return ((const uint8_t *) tok->tab[TOK_TAB_FLAGS])[id];
}

/* Hash of a pair of ids; fixed by the file format. */
static inline uint64_t
tok_pair_hash(uint32_t left, uint32_t right)
{
	return fsi_mix64(((uint64_t) left << 32 | right) + FSI_GOLDEN64);
}

/* GPT-2's printable stand-in for a byte: a code point below U+0144. */
static inline uint32_t
tok_byte_char(uint8_t byte)
{
	if (byte < 33)
		return 256u + byte;
	if (byte < 127)
		return byte;
	if (byte < 161)
		return 289u + (byte - 127u);
	return byte == 173 ? 323u : byte;
}

/* The byte that c stands for, or -1. */
static inline int
tok_char_byte(uint32_t c)
{
	if (c < 256)
		return tok_byte_char((uint8_t) c) == c ? (int) c : -1;
	if (c < 289)
		return (int) c - 256;
	if (c < 323)
		return (int) c - 289 + 127;
	return c == 323 ? 173 : -1;
}

/* Id of a string of the vocabulary with all of the given flags, or TOK_NONE. */
extern int32_t tok_find(const Tokenizer *tok, const char *token, size_t len, uint8_t flags);

/* ---- Ids being collected ---- */

typedef struct IdList
{
	FsiArena   *arena;
	int32_t    *ids;
	size_t		n,
				cap;
} IdList;

extern FsiStatus idlist_grow(IdList *list, FsiError *err);

static inline FsiStatus
idlist_push(IdList *list, int32_t id, FsiError *err)
{
	if (list->n == list->cap)
		FSI_TRY(idlist_grow(list, err));
	list->ids[list->n++] = id;
	return FSI_OK;
}

/* ---- Steps of encoding; text is valid UTF-8; scratch is list->arena ---- */

/* Run the normaliser; *out may be text itself. */
extern FsiStatus norm_apply(const uint16_t *steps, uint32_t n_steps, const char *text, size_t len,
							FsiArena *scratch, const char **out, size_t *out_len, FsiError *err);
/* Words and pieces of normalised text; within: it goes on after another, and needs no space before it. */
extern FsiStatus wordpiece_encode(const Tokenizer *tok, const char *text, size_t len, IdList *list, FsiError *err);
extern FsiStatus bpe_encode(const Tokenizer *tok, const char *text, size_t len, bool within, IdList *list, FsiError *err);
/* Merge one word's bytes by rank, without the short cut for whole tokens. */
extern FsiStatus bpe_merge_word(const Tokenizer *tok, const char *word, size_t len, IdList *list, FsiError *err);

#endif
