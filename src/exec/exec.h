/*
 * exec.h
 *	  Between the files of the exec room: a call's scratch, the cache, the prepared set.
 */
#ifndef EXEC_H
#define EXEC_H

#include "postgres.h"

#include "lib/ilist.h"
#include "portability/instr_time.h"

#include "fsi_compat.h"
#include "fsi_exec.h"

/* What a call asks of each message. */
typedef enum ExecMode
{
	EXEC_CHOOSE = 0,			/* one label; scores: of all, summing to 1 */
	EXEC_ALONE,					/* scores: of each candidate against "other" alone */
	EXEC_WRITE					/* the label that the model writes freely, if it writes one */
} ExecMode;

/* A call's own scratch: a memory context under the current one, gone at exec_call_end() or at an error. */
typedef struct ExecCall
{
	ExecMode	mode;
	MemoryContext context;
	FsiHost		host;
	FsiArena	arena;
} ExecCall;

/* Also looks whether the model's file is still whole.  The mode is EXEC_CHOOSE. */
extern void exec_call_begin(ExecCall *call, const StoreModel *model);
extern void exec_call_end(ExecCall *call);

/* --- counters.c --- */

/* Counted where things happen. */
extern ExecCounters exec_count;

/* Count the time since start. */
extern void exec_count_time(instr_time start);

extern void counters_init(void);
/* Find the totals; called where an error or a lock does no harm. */
extern void counters_attach(void);

/* --- cache.c --- */

typedef enum CacheKind { CACHE_SEGMENT = 1, CACHE_SET } CacheKind;

typedef struct CachePart
{
	const void *data;
	size_t		len;
} CachePart;

#define CACHE_PARTS 3

/* Head of everything kept.  The key's bytes are compared, never the hash alone. */
typedef struct CacheEntry
{
	dlist_node	lru;
	struct CacheEntry *chain;	/* same bucket */
	CacheKind	kind;
	uint64		hash;
	uint64		epoch;			/* call that used it last: never evicted during that call */
	int			refs;			/* sets that point at this segment */
	size_t		bytes;
	MemoryContext context;		/* set: holds all of it; segment: NULL, one chunk */
	size_t		part_len[CACHE_PARTS];
	const char *key;			/* the parts, one after the other */
} CacheEntry;

extern MemoryContext cache_context(void);
extern void cache_new_epoch(void);
extern uint64 cache_evictions(void);
extern CacheEntry *cache_find(CacheKind kind, const CachePart parts[CACHE_PARTS]);
extern bool cache_matches(const CacheEntry *entry, const CachePart parts[CACHE_PARTS]);
extern size_t cache_key_bytes(const CachePart parts[CACHE_PARTS]);
/*
 * Fill in the head of an entry, which lies in the cache's context or is to, and keep it; key points at memory of the
 * entry.  Never an error once there is cache_context().
 */
extern void cache_keep(CacheEntry *entry, CacheKind kind, const CachePart parts[CACHE_PARTS],
					   char *key, size_t bytes, MemoryContext context);
extern void cache_touch(CacheEntry *entry);
extern void cache_forget(CacheEntry *entry);
/* Forget a model's sets and texts; no call is at work with them. */
extern void cache_forget_model(const StoreModel *model);
/* Forget the oldest until fsi_intent.cache_size is kept to; call it when a set is complete. */
extern void cache_trim(void);

/* --- memo.c --- */

typedef enum MemoKind { MEMO_ANSWER = 0, MEMO_VECTOR, MEMO_KINDS } MemoKind;

extern uint64 memo_hash(HostText message);
/* What was kept for a message by that owner, or NULL; valid until the next memo_put(). */
extern void *memo_find(MemoKind kind, uint64 owner, uint64 hash, HostText message);
/* Room for payload bytes to be kept; NULL where the message is too long. */
extern void *memo_put(MemoKind kind, uint64 owner, uint64 hash, HostText message, size_t payload);
extern void memo_clear(void);

/* --- the set, shared by set.c, segments.c, prompt.c --- */

/* A text that was encoded as a candidate's name, description or example. */
typedef struct SegmentEntry
{
	CacheEntry	head;
	TokIds		ids;
	SegmentVec	vec;
} SegmentEntry;

struct ExecSet
{
	CacheEntry	head;
	uint64		serial;
	const StoreModel *model;
	char	   *model_name;		/* NULL: the default */
	FsiHost		host;			/* memory of the set */
	FsiArena	arena;
	int			n_labels;		/* candidates, and "other" last if there is one */
	int			n_candidates;
	bool		with_other;
	text	  **labels;
	double		min_score;
	bool		min_score_given;
	ExecScoring scoring;
	/* segments layout */
	PointingCandidate *candidates;
	PointingIndex *index;		/* of their examples; NULL where they are few */
	const float *direction;		/* [n_candidates][n_embd] of pointing_discriminant(), or NULL */
	int			n_segments;
	SegmentEntry **segments;	/* every one the set points at, for the reference counts */
	/* prompt layout */
	KvRun		prefix;
	TokIds		suffix;			/* after the message, with the token that ends a prompt */
	HostText	lead;			/* white space between prefix and message, read with the message */
	bool		within;			/* there is a prefix: the message goes on after it */
	bool		has_last;		/* where suffix is empty, each row begins with the prefix's last token */
	int32_t		last;
	int			room;			/* tokens left for a message */
	Trie	   *trie;
};

/* A message of a batch on its way to its answer. */
typedef struct ExecRow
{
	HostText	message;		/* as it was given */
	uint64		hash;
	HostText	clipped;		/* as it was tokenised */
	TokIds		ids;
	ExecAnswer *answer;
	double	   *scores;			/* [n_labels], or NULL */
} ExecRow;

extern void segments_prepare(ExecSet *set, const ExecQuestion *question, ExecCall *call);
extern void segments_classify(ExecSet *set, ExecCall *call, int n, const ExecRow *rows);
/* Answer a message whose vector is kept, whichever set it was encoded for; false: it is not. */
extern bool segments_recall(ExecSet *set, ExecCall *call, HostText message, uint64 hash,
							ExecAnswer *answer, double *scores);
extern text *segments_prompt_text(const ExecQuestion *question, HostText message);

extern void prompt_prepare(ExecSet *set, const ExecQuestion *question, ExecCall *call);
extern void prompt_classify(ExecSet *set, ExecCall *call, int n, const ExecRow *rows);
/*
 * Greedy continuations; written: [n], in the call's arena.  Returns the number of tokens after which all are cut off, one
 * more than the longest label has.
 */
extern int	prompt_write(ExecSet *set, ExecCall *call, int n, const ExecRow *rows, TokIds *written);
extern text *prompt_prompt_text(const ExecQuestion *question, HostText message, ExecCall *call);

/* The set's answer from one row of scores (all labels): the best, lowest label first, or by min_score. */
extern int	set_choose(const ExecSet *set, const double *scores);

/* Answer n messages in a mode; scores: NULL, or [n][n_labels]. */
extern void exec_answer(ExecSet *set, ExecSlot *slot, ExecMode mode, int n, const HostText *messages,
						ExecAnswer *answers, double *scores);

/* --- write.c --- */

/* 0A000 unless the model continues a text. */
extern void write_check_model(const StoreModel *model, const char *name);
/* Let the model write, and find what it wrote among the labels. */
extern void write_answers(ExecSet *set, ExecCall *call, int n, const ExecRow *rows);

#endif
