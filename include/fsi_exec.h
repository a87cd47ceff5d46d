/*
 * fsi_exec.h
 *	  From a question (intents, examples, options) and messages to answers and scores.
 *
 * A question is prepared once into an ExecSet: segments layout, the projected vectors of
 * its names, descriptions and examples; prompt layout, the keys and values of everything
 * before the message and the trie of labels.  Sets, and the vectors they share, are kept in
 * one cache per backend, bounded by fsi_intent.cache_size, least recently used out first.
 * Nothing that is kept changes an answer: every path gives equal bits.
 *
 * Messages are then run in batches of up to 64 rows or 512 tokens.  Scratch lives in a
 * memory context of the call; the forward pass's own scratch is kept per backend.  Errors
 * are raised by ereport(), also a pending cancel, at most one layer late.
 */
#ifndef FSI_EXEC_H
#define FSI_EXEC_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/array.h"

#include "fsi_compat.h"
#include "fsi_engine.h"
#include "fsi_host.h"
#include "fsi_store.h"

typedef enum ExecScoring { EXEC_TRIE = 0, EXEC_SEQUENCE } ExecScoring;

typedef struct ExecExample
{
	HostText	text;
	int			intent;			/* index into the question's intents */
} ExecExample;

/* Checked arguments of a call, in the caller's memory; strings are UTF-8. */
typedef struct ExecQuestion
{
	const StoreModel *model;
	char	   *model_name;		/* NULL: the default model */
	int			n_intents;
	HostText   *intents;		/* distinct, trimmed, in the order given */
	text	  **labels;			/* their first spelling, in the database's encoding: the answers */
	int		   *canonical;		/* intents in ascending byte order */
	HostText   *descriptions;	/* NULL, or [n_intents], s NULL where there is none */
	int			n_examples;
	ExecExample *examples;
	HostText	other;
	text	   *other_label;	/* NULL: no "none of these" */
	HostText	template_text,
				instructions;
	bool		scoring_given;
	ExecScoring scoring;
	double		min_score;		/* 0: none */
	bool		min_score_given;
} ExecQuestion;

/* What identifies a question: the arguments' own bytes. */
typedef struct ExecKey
{
	const void *intents;
	size_t		intents_len;
	const void *options;		/* NULL without */
	size_t		options_len;
} ExecKey;

typedef struct ExecSet ExecSet;

/* A call site's memory of its last set: valid as long as nothing was evicted since. */
typedef struct ExecSlot
{
	ExecSet    *set;
	uint64		evictions;
	bool		warned;			/* the statement's one warning about a shortened message */
} ExecSlot;

#define EXEC_NO_ANSWER (-1)

typedef struct ExecAnswer
{
	int			label;			/* index into the set's labels, or EXEC_NO_ANSWER */
	int			tokens;			/* of the message; of what is left of one that was clipped */
	bool		shortened;
	bool		clipped;		/* shortened before it had tokens */
} ExecAnswer;

/*
 * What this backend has done since it loaded the library; none ever goes down.  A part of a
 * plan counts its own by taking the difference.  A call that ends in an error has counted
 * the batches that it finished.
 */
typedef struct ExecCounters
{
	uint64		rows;			/* messages answered */
	uint64		duplicates;		/* of them, equal to another of the same call: computed once */
	uint64		memo_hits;		/* of them, answered a moment ago for the same set */
	uint64		vector_hits;	/* of them, encoded a moment ago for another set */
	uint64		batches;		/* forward passes over messages */
	uint64		tokens;			/* of the messages that were computed, as the model read them */
	uint64		shortened;		/* messages that were longer than the model reads */
	uint64		sets_prepared;
	uint64		set_hits;		/* calls that found their set kept */
	uint64		segments_encoded;	/* names, descriptions and examples */
	uint64		segment_hits;
	uint64		prefix_computed;	/* prompts' common parts */
	uint64		prefix_hits;	/* calls that found it kept */
	uint64		microseconds;	/* spent preparing sets and answering */
} ExecCounters;

extern const ExecCounters *exec_counters(void);

/* This backend's counters since its start, or since the last exec_counters_reset(); since when. */
extern TimestampTz exec_counters_shown(ExecCounters *out);
/* All backends' counters since the server's start or the last reset; false: there was no room for them. */
extern bool exec_totals(ExecCounters *out, TimestampTz *since);
/* Begin anew: the totals, and what exec_counters_shown() shows.  exec_counters() goes on. */
extern void exec_counters_reset(void);

extern void exec_init(void);	/* settings */
extern void batch_init(void);	/* the planner hook that finds calls to answer together, and its settings */
/*
 * Before a call that answers one row: 0A000 if it must not (debug_require_batch) and no planner hook could prevent it.
 */
extern void batch_check_planned(void);
/* Name of the CPU level that this backend runs at. */
extern const char *exec_simd_name(void);

/* The slot's set for key, or a kept one; NULL: prepare it. */
extern ExecSet *exec_find(ExecSlot *slot, const ExecKey *key);
extern ExecSet *exec_prepare(ExecSlot *slot, const ExecKey *key, const ExecQuestion *question);

/* Labels in canonical order (ascending bytes), "other" last. */
extern int	exec_n_labels(const ExecSet *set);
extern const text *exec_label(const ExecSet *set, int label);
/* For qsort_arg over label numbers, with their scores (double[]): best first, equal ones in canonical order. */
extern int	exec_compare_scores(const void *a, const void *b, void *scores);
/* text[] of n labels, in the current memory context. */
extern ArrayType *exec_label_array(const ExecSet *set, int n, const int *labels);
extern const StoreModel *exec_model(const ExecSet *set);
extern const char *exec_model_name(const ExecSet *set);
/* 54000 if a text of so many tokens, an "intent" or what it is called, is longer than the model reads. */
extern void exec_check_fits(const StoreModel *model, const char *what, HostText text, size_t tokens);
/* Errors for labels that the model cannot tell apart, or cannot see. */
extern void exec_check_labels(int n, const TokIds *ids, const HostText *labels, FsiArena *arena);
/* No context is longer: what lies between the first and last half megabyte of a message is not even read. */
#define EXEC_CLIP_BYTES (1024 * 1024)
/* The message without its middle if it is that long; *clipped says so. */
extern HostText exec_clip(HostText message, bool *clipped, FsiArena *arena);
/* Spelling features of a text by the model's normaliser and idf table (segments layout). */
extern void exec_spell(const StoreModel *model, HostText t, FsiArena *arena, SpellVec *out);
/* first (unless TOK_NONE), the text's tokens, last (unless TOK_NONE).  plain: a literal special token stays text. */
extern TokIds exec_tokens_between(const Tokenizer *tok, int32_t first, HostText t, int32_t last, bool plain,
								  FsiArena *arena);
/* The backend's scratch for forward passes, at the CPU level of fsi_intent.simd. */
extern Gpt2Work *exec_work(void);

/*
 * Answer n messages; equal ones, and those asked about a moment ago, cost no pass of the
 * model.  scores: NULL, or [n][exec_n_labels()], each row summing to 1.
 * The WARNING about shortened messages is raised once per slot.
 */
extern void exec_classify(ExecSet *set, ExecSlot *slot, int n, const HostText *messages,
						  ExecAnswer *answers, double *scores);

/*
 * Every label that holds on its own: message i has n_held[i] of them, best first (equal ones in
 * the labels' order), from held[i * exec_n_labels()] on; "other" alone where no candidate holds.
 */
extern void exec_classify_multi(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, int *held, int *n_held);

/* As exec_classify(), but with what the model writes freely: a label's text, or EXEC_NO_ANSWER for any other. */
extern void exec_generate_answers(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, ExecAnswer *answers);

/* ---- Single texts. ---- */

/* Unit vector of a text, [n_embd], in the current memory context. */
extern float *exec_embed(const StoreModel *model, ExecSlot *slot, HostText message);
/* Ids of a text with the tokens that the model puts around it. */
extern ArrayType *exec_tokens(const StoreModel *model, HostText message);
extern text *exec_generate(const StoreModel *model, const char *name, HostText prompt, const SampleOptions *options);
/* What the model sees, as text. */
extern text *exec_prompt_text(const ExecQuestion *question, HostText message);

#endif
