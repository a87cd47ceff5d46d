/*
 * set.c
 *	  Find or prepare a set; run messages through it in batches.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "exec.h"

/* One forward pass: 64 rows amortise the weights' way through the caches, 512 tokens bound its time. */
#define BATCH_ROWS 64
#define BATCH_TOKENS 512

/* No context is longer: what lies between the first and last half megabyte of a message is not even read. */
#define MESSAGE_HALF_BYTES (512 * 1024)

static void
key_parts(const ExecKey *key, CachePart parts[CACHE_PARTS])
{
	parts[0].data = key->intents;
	parts[0].len = key->intents_len;
	parts[1].data = key->options;
	parts[1].len = key->options_len;
	parts[2].data = NULL;
	parts[2].len = 0;
}

/* Whether the set's model is still the one that its name stands for. */
static bool
set_is_current(ExecSet *set)
{
	uint64		generation = store_generation();

	if (set->generation == generation)
		return true;
	if (store_model(set->model_name) != set->model)
		return false;
	set->generation = generation;
	return true;
}

static void
slot_remember(ExecSlot *slot, ExecSet *set)
{
	slot->set = set;
	slot->evictions = cache_evictions();
}

ExecSet *
exec_find(ExecSlot *slot, const ExecKey *key)
{
	CachePart	parts[CACHE_PARTS];
	ExecSet    *set = slot->set;

	cache_new_epoch();
	key_parts(key, parts);
	if (set != NULL && slot->evictions == cache_evictions() && cache_matches(&set->head, parts))
		cache_touch(&set->head);
	else
		set = (ExecSet *) cache_find(CACHE_SET, parts);
	if (set == NULL)
		return NULL;
	if (!set_is_current(set))
	{
		cache_forget(&set->head);
		slot->set = NULL;
		return NULL;
	}
	slot_remember(slot, set);
	exec_count.set_hits++;
	if (set->prefix.count > 0)
		exec_count.prefix_hits++;
	return set;
}

static char *
set_bytes(ExecSet *set, size_t n)
{
	return MemoryContextAllocHuge(set->head.context, Max(n, 1));
}

/* Labels in canonical order, "other" last. */
static void
copy_labels(ExecSet *set, const ExecQuestion *q)
{
	set->n_candidates = q->n_intents;
	set->with_other = q->other_label != NULL;
	set->n_labels = q->n_intents + (set->with_other ? 1 : 0);
	set->labels = (text **) set_bytes(set, sizeof(text *) * set->n_labels);
	for (int i = 0; i < set->n_labels; i++)
	{
		const text *label = i < q->n_intents ? q->labels[q->canonical[i]] : q->other_label;
		size_t		len = VARSIZE_ANY_EXHDR(label);

		set->labels[i] = (text *) set_bytes(set, VARHDRSZ + len);
		SET_VARSIZE(set->labels[i], VARHDRSZ + len);
		memcpy(VARDATA(set->labels[i]), VARDATA_ANY(label), len);
	}
}

ExecSet *
exec_prepare(ExecSlot *slot, const ExecKey *key, const ExecQuestion *q)
{
	ExecCall	call;
	CachePart	parts[CACHE_PARTS];
	MemoryContext context;
	ExecSet    *set;
	char	   *key_bytes;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	exec_call_begin(&call, q->model);
	/* Under the call's context until it is complete: an error takes it away. */
	context = AllocSetContextCreate(call.context, "fsi_intent set", ALLOCSET_START_SMALL_SIZES);
	set = MemoryContextAllocZero(context, sizeof(ExecSet));
	set->head.context = context;
	set->model = q->model;
	set->generation = q->generation;
	set->model_name = q->model_name ? MemoryContextStrdup(context, q->model_name) : NULL;
	set->min_score = q->min_score;
	set->scoring = q->scoring;
	host_init(&set->host, context);
	fsi_arena_init(&set->arena, &set->host);
	copy_labels(set, q);
	key_parts(key, parts);
	key_bytes = set_bytes(set, cache_key_bytes(parts));

	if (q->model->file.model.cfg.layout == GPT2_SEGMENTS)
		segments_prepare(set, q, &call);
	else
		prompt_prepare(set, q, &call);

	MemoryContextSetParent(context, cache_context());
	cache_keep(&set->head, CACHE_SET, parts, key_bytes, MemoryContextMemAllocated(context, true), context);
	for (int i = 0; i < set->n_segments; i++)
		set->segments[i]->head.refs++;
	cache_trim();
	slot_remember(slot, set);
	exec_call_end(&call);
	exec_count.sets_prepared++;
	exec_count_time(start);
	return set;
}

int
exec_n_labels(const ExecSet *set)
{
	return set->n_labels;
}

const text *
exec_label(const ExecSet *set, int label)
{
	return set->labels[label];
}

const char *
exec_model_name(const ExecSet *set)
{
	return set->model_name ? set->model_name : STORE_SHIPPED_NAME;
}

/* Labels that the model cannot tell apart, or one that it cannot see, are the caller's mistake. */
void
set_check_labels(int n, const TokIds *ids, const HostText *labels, FsiArena *arena)
{
	FsiError	err = {0};
	FsiStatus	status;
	const char **names = host_array(arena, n, sizeof(char *));
	int			first;
	int			second;

	for (int i = 0; i < n; i++)
	{
		names[i] = "";
		if (ids[i].n == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("intent \"%s\" has nothing that the model can read", host_utf8_excerpt(labels[i]))));
	}
	status = label_collision(n, ids, names, arena, &first, &second, &err);
	if (status == FSI_COLLISION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("intents \"%s\" and \"%s\" are the same to the model",
						host_utf8_excerpt(labels[first]), host_utf8_excerpt(labels[second])),
				 errdetail("They have the same tokens."),
				 errhint("Leave one of them out, or spell them differently; fsi_tokens() shows the tokens.")));
	if (status != FSI_OK)
		host_report(&err);
}

int
set_choose(const ExecSet *set, const double *scores)
{
	int			best = 0;

	for (int i = 1; i < set->n_labels; i++)
		if (scores[i] > scores[best])
			best = i;
	if (scores[best] < set->min_score)
		return set->with_other ? set->n_labels - 1 : EXEC_NO_ANSWER;
	return best;
}

HostText
exec_clip(HostText message, bool *clipped, FsiArena *arena)
{
	HostText	out = message;
	size_t		head = MESSAGE_HALF_BYTES;
	size_t		tail;
	char	   *s;

	*clipped = message.len > 2 * MESSAGE_HALF_BYTES;
	if (!*clipped)
		return out;
	tail = message.len - MESSAGE_HALF_BYTES;
	while (head > 0 && ((unsigned char) message.s[head] & 0xC0) == 0x80)
		head--;
	while (tail < message.len && ((unsigned char) message.s[tail] & 0xC0) == 0x80)
		tail++;
	s = host_array(arena, head + message.len - tail, 1);
	memcpy(s, message.s, head);
	memcpy(s + head, message.s + tail, message.len - tail);
	out.s = s;
	out.len = head + message.len - tail;
	return out;
}

/* Tokens that the model's context leaves to a message. */
static int
message_room(const ExecSet *set)
{
	const Gpt2Config *cfg = &set->model->file.model.cfg;

	if (cfg->layout == GPT2_PROMPT)
		return set->room;
	return cfg->n_positions - (cfg->begin != TOK_NONE) - (cfg->end != TOK_NONE);
}

/* The message as it is tokenised: after the white space that ends the prompt's first part. */
static HostText
with_lead(const ExecSet *set, HostText message, FsiArena *arena)
{
	char	   *s;

	if (set->lead.len == 0)
		return message;
	s = host_array(arena, set->lead.len + message.len, 1);
	memcpy(s, set->lead.s, set->lead.len);
	memcpy(s + set->lead.len, message.s, message.len);
	return (HostText) {s, set->lead.len + message.len};
}

/* Tokenise messages from the first on until a batch is full; how many it took. */
static int
next_batch(ExecSet *set, FsiArena *arena, int n, const HostText *messages, HostText *clipped, TokIds *ids,
		   ExecAnswer *answers)
{
	FsiError	err = {0};
	int			room = message_room(set);
	size_t		tokens = 0;
	int			taken;

	for (taken = 0; taken < n && taken < BATCH_ROWS; taken++)
	{
		ExecAnswer *answer = &answers[taken];

		HostText	whole;

		clipped[taken] = exec_clip(messages[taken], &answer->shortened, arena);
		whole = with_lead(set, clipped[taken], arena);
		HOST_TRY(tok_encode_plain(&set->model->file.tok, whole.s, whole.len, arena, &ids[taken], &err));
		answer->tokens = (int) ids[taken].n;
		answer->shortened |= answer->tokens > room;
		tokens += Min(answer->tokens, room);
		if (taken > 0 && tokens > BATCH_TOKENS)
			break;
	}
	return taken;
}

static void
warn_shortened(ExecSet *set, ExecSlot *slot, int n, const ExecAnswer *answers)
{
	for (int i = 0; i < n && !slot->warned; i++)
	{
		if (!answers[i].shortened)
			continue;
		slot->warned = true;
		ereport(WARNING,
				(errcode(ERRCODE_WARNING_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg("message of %d tokens was shortened to the %d that the model reads",
						answers[i].tokens, message_room(set)),
				 errdetail("Its head and tail were kept. The statement may hold more such messages.")));
	}
}

/* Count a batch that is done. */
static void
count_batch(const ExecSet *set, int n, const ExecAnswer *answers)
{
	int			room = message_room(set);

	exec_count.batches++;
	exec_count.rows += n;
	for (int i = 0; i < n; i++)
	{
		exec_count.tokens += Min(answers[i].tokens, room);
		exec_count.shortened += answers[i].shortened;
	}
}

void
exec_classify(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, ExecAnswer *answers, double *scores)
{
	ExecCall	call;
	FsiArenaMark mark;
	instr_time	start;

	if (set->n_labels == 1)
	{
		exec_count.rows += n;
		for (int i = 0; i < n; i++)
		{
			answers[i] = (ExecAnswer) {0};
			if (scores != NULL)
				scores[i] = 1;
		}
		return;
	}
	INSTR_TIME_SET_CURRENT(start);
	exec_call_begin(&call, set->model);
	mark = fsi_arena_mark(&call.arena);
	for (int done = 0; done < n;)
	{
		HostText	clipped[BATCH_ROWS];
		TokIds		ids[BATCH_ROWS];
		double	   *rows = scores ? scores + (size_t) done * set->n_labels : NULL;
		int			taken = next_batch(set, &call.arena, n - done, messages + done, clipped, ids, answers + done);

		CHECK_FOR_INTERRUPTS();
		store_check_unchanged(set->model);
		if (set->candidates != NULL)
			segments_classify(set, &call, taken, clipped, ids, answers + done, rows);
		else
			prompt_classify(set, &call, taken, ids, answers + done, rows);
		count_batch(set, taken, answers + done);
		fsi_arena_release(&call.arena, mark);
		done += taken;
	}
	exec_call_end(&call);
	exec_count_time(start);
	warn_shortened(set, slot, n, answers);
}
