/*
 * set.c
 *	  Find or prepare a set: what stays the same for all messages of a question.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "exec.h"

/* No two sets of a backend have had the same: a set's memory may be another's later. */
static uint64 last_serial;

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

/*
 * Whether the set's model is still the one that its name, or the default, stands for: that may differ from one snapshot to
 * the next.  The store knows of the use, too, then.
 */
static bool
set_is_current(const ExecSet *set)
{
	return store_model(set->model_name) == set->model;
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
	static bool unfinished;		/* the last preparation */

	INSTR_TIME_SET_CURRENT(start);
	exec_call_begin(&call, q->model);
	/* What a call that failed has kept may go; what this one will use must not. */
	if (unfinished)
		cache_trim();
	unfinished = true;
	/* Under the call's context until it is complete: an error takes it away. */
	context = AllocSetContextCreate(call.context, "fsi_intent set", ALLOCSET_START_SMALL_SIZES);
	set = MemoryContextAllocZero(context, sizeof(ExecSet));
	set->head.context = context;
	set->serial = ++last_serial;
	set->model = q->model;
	set->model_name = q->model_name ? MemoryContextStrdup(context, q->model_name) : NULL;
	set->min_score = q->min_score;
	set->min_score_given = q->min_score_given;
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
	unfinished = false;
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

const StoreModel *
exec_model(const ExecSet *set)
{
	return set->model;
}

const char *
exec_model_name(const ExecSet *set)
{
	return set->model_name ? set->model_name : STORE_SHIPPED_NAME;
}

void
exec_check_fits(const StoreModel *model, const char *what, HostText text, size_t tokens)
{
	const Gpt2Config *cfg = &model->file.model.cfg;
	int			room = cfg->layout == GPT2_SEGMENTS ?
		cfg->n_positions - (cfg->begin != TOK_NONE) - (cfg->end != TOK_NONE) : cfg->n_positions - 1;

	if (tokens > (size_t) room)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s \"%s\" has %zu tokens, more than the %d that the model reads",
						what, host_utf8_excerpt(text), tokens, room),
				 errhint("Shorten it; fsi_tokens(text, model) shows the tokens.")));
}

/* Labels that the model cannot tell apart, or one that it cannot see, are the caller's mistake. */
void
exec_check_labels(int n, const TokIds *ids, const HostText *labels, FsiArena *arena)
{
	FsiError	err = {0};
	FsiStatus	status;
	int			first;
	int			second;

	for (int i = 0; i < n; i++)
		if (ids[i].n == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("intent \"%s\" has nothing that the model can read", host_utf8_excerpt(labels[i]))));
	status = label_collision(n, ids, arena, &first, &second, &err);
	if (status == FSI_COLLISION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("intents \"%s\" and \"%s\" are the same to the model",
						host_utf8_excerpt(labels[first]), host_utf8_excerpt(labels[second])),
				 errdetail("They have the same tokens."),
				 errhint("Leave one of them out, or spell them differently; fsi_tokens(text, model) shows the tokens.")));
	if (status != FSI_OK)
		host_report(&err);
}
