/*
 * tokbuild.h
 *	  What the readers of Hugging Face's files hand to the writer of the blob.
 *
 * Everything lies in one arena that lives as long as the build.
 */
#ifndef TEXT_TOKBUILD_H
#define TEXT_TOKBUILD_H

#include "fsi_json.h"
#include "tokblob.h"

typedef struct TokString
{
	const char *s;				/* NULL: no token has this id */
	size_t		len;
} TokString;

/* An added token that is to be recognised in text. */
typedef struct TokBuildAdded
{
	TokString	content;
	int32_t		id;
	uint8_t		flags;			/* TOK_SPECIAL, TOK_LSTRIP, TOK_RSTRIP */
	bool		normalized;
} TokBuildAdded;

typedef enum TokRole
{
	TOK_ROLE_BOS,
	TOK_ROLE_EOS,
	TOK_ROLE_PAD,
	TOK_ROLE_UNK,
	TOK_ROLE_CLS,
	TOK_ROLE_SEP,
	TOK_ROLE_MASK,
	TOK_ROLES
} TokRole;

typedef struct TokBuild
{
	FsiArena   *arena;
	FsiError   *err;
	int32_t		limit;			/* ids must be below */
	TokKind		kind;
	uint32_t	flags;
	uint16_t	steps[TOK_MAX_STEPS];
	uint32_t	n_steps;
	uint32_t	max_word_chars;
	int32_t		n_vocab;
	int32_t		cap_vocab;
	TokString  *tokens;			/* [n_vocab] */
	uint8_t    *token_flags;	/* [n_vocab] */
	TokSlot    *slots;			/* string to id, grows with the vocabulary */
	uint32_t	n_slots;
	uint32_t	cap_slots;
	TokMerge   *merges;			/* in rank order */
	uint32_t	n_merges;
	TokBuildAdded *added;
	uint32_t	n_added;
	uint32_t	cap_added;
	int32_t		role[TOK_ROLES];
	TokMarks	marks;
	uint32_t	n_given;		/* tokens and merges so far */
	int32_t		byte_unk;		/* token of a byte that has none (the BPE model's own unk_token), or TOK_NONE */
} TokBuild;

/* ---- tokbuild.c ---- */

extern void build_init(TokBuild *b, int32_t n_vocab_model, FsiArena *arena, FsiError *err);
/* Give an id its string.  A string met again moves to the later id; an id met again is an error. */
extern FsiStatus build_token(TokBuild *b, int64_t id, const char *s, size_t len, uint8_t flags);
extern int32_t build_find(const TokBuild *b, const char *s, size_t len);
/* Add an added token; its id may be new.  One that was added before stays as it is. */
extern FsiStatus build_added(TokBuild *b, int64_t id, const char *s, size_t len, uint8_t flags, bool normalized);
/* Merges of two tokens each, in rank order: room for n, then one after another. */
extern FsiStatus build_merges(TokBuild *b, size_t n);
extern FsiStatus build_merge(TokBuild *b, const char *left, size_t left_len, const char *right, size_t right_len);
extern FsiStatus build_blob(TokBuild *b, uint8_t **blob, size_t *len);

/* ---- toksrc_json.c: reading JSON; jansson's constructors are never called ---- */

/* Load dir/name; FSI_MISSING if it is not there.  The caller gives it back with json_decref(). */
extern FsiStatus toksrc_load(const char *dir, const char *name, FsiArena *arena, json_t **json, FsiError *err);
extern FsiStatus toksrc_read(const char *dir, const char *name, FsiArena *arena,
							 uint8_t **data, size_t *len, FsiError *err);
/* A member that is there and not null, or NULL. */
extern json_t *toksrc_get(const json_t *object, const char *key);
/* A boolean member, or otherwise if absent or null. */
extern bool toksrc_bool(const json_t *object, const char *key, bool otherwise);
/* A whole number; false if value is anything else, also NULL. */
extern bool toksrc_int(const json_t *value, int64_t *n);
/* FSI_UNSUPPORTED naming the first key of object that is not in the list (NULL at its end). */
extern FsiStatus toksrc_only_keys(const json_t *object, const char *what, const char *const *keys, FsiError *err);

/* ---- toksrc_tokenizer.c: tokenizer.json ---- */
/* All but the added tokens; then these, of which those that are known already stay as they are, and what refers to them. */
extern FsiStatus toksrc_read_tokenizer_json(TokBuild *b, const json_t *root);
extern FsiStatus toksrc_read_tokenizer_json_added(TokBuild *b, const json_t *root);

/* ---- toksrc_vocab.c: vocab.txt; vocab.json and merges.txt ---- */
extern FsiStatus toksrc_read_vocab_txt(TokBuild *b, const uint8_t *data, size_t len);
extern FsiStatus toksrc_read_vocab_json(TokBuild *b, const json_t *vocab);
extern FsiStatus toksrc_read_merges_txt(TokBuild *b, const uint8_t *data, size_t len);

#endif
