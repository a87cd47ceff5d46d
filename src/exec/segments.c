/*
 * segments.c
 *	  Segments layout: encode names, descriptions and examples once, compare messages with them.
 *
 * Every text that was encoded is kept on its own, by model and text, so that sets which
 * share texts share the work and the memory.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "exec.h"

/* Texts encoded per forward pass while a set is prepared. */
#define ENCODE_ROWS 64
#define ENCODE_TOKENS 512
/* Examples from which on an index pays. */
#define INDEX_FROM 64

/* A text of the question on its way to its SegmentEntry. */
typedef struct Wanted
{
	HostText	text;
	const char *what;			/* "intent", "description of intent", "example" */
	HostText	intent;
	SegmentEntry *entry;
	TokIds		ids;			/* of one that is not kept yet */
} Wanted;

static void
text_parts(const StoreModel *model, HostText t, CachePart parts[CACHE_PARTS])
{
	parts[0].data = &model->serial;
	parts[0].len = sizeof(model->serial);
	parts[1].data = t.s;
	parts[1].len = t.len;
	parts[2].data = NULL;
	parts[2].len = 0;
}

void
exec_spell(const StoreModel *model, HostText t, FsiArena *arena, SpellVec *out)
{
	FsiError	err = {0};
	char	   *normal;
	size_t		normal_len;

	HOST_TRY(tok_normalize(&model->file.tok, t.s, t.len, arena, &normal, &normal_len, &err));
	HOST_TRY(spell_features(normal, normal_len, model->file.spelling_idf, arena, out, &err));
}

/* One chunk: head, vector, buckets, weights, ids, key. */
static SegmentEntry *
keep_segment(const StoreModel *model, const Wanted *w, const float *proj, FsiArena *arena)
{
	int			n_embd = model->file.model.cfg.n_embd;
	SpellVec	spell;
	CachePart	parts[CACHE_PARTS];
	SegmentEntry *entry;
	size_t		bytes;
	char	   *at;

	exec_spell(model, w->text, arena, &spell);
	text_parts(model, w->text, parts);
	bytes = MAXALIGN(sizeof(SegmentEntry)) + sizeof(float) * n_embd +
		(sizeof(uint32_t) + sizeof(float)) * spell.n + sizeof(int32_t) * w->ids.n + cache_key_bytes(parts);
	entry = MemoryContextAllocHuge(cache_context(), bytes);
	at = (char *) entry + MAXALIGN(sizeof(SegmentEntry));

	entry->vec.proj = (float *) at;
	memcpy(at, proj, sizeof(float) * n_embd);
	at += sizeof(float) * n_embd;
	entry->vec.spell.bucket = (uint32_t *) at;
	memcpy(at, spell.bucket, sizeof(uint32_t) * spell.n);
	at += sizeof(uint32_t) * spell.n;
	entry->vec.spell.weight = (float *) at;
	memcpy(at, spell.weight, sizeof(float) * spell.n);
	at += sizeof(float) * spell.n;
	entry->vec.spell.n = spell.n;
	entry->ids.ids = (int32_t *) at;
	memcpy(at, w->ids.ids, sizeof(int32_t) * w->ids.n);
	at += sizeof(int32_t) * w->ids.n;
	entry->ids.n = w->ids.n;
	cache_keep(&entry->head, CACHE_SEGMENT, parts, at, GetMemoryChunkSpace(entry), NULL);
	exec_count.segments_encoded++;
	return entry;
}

/* Encode a batch of texts that are not kept yet. */
static void
encode_batch(const StoreModel *model, ExecCall *call, int n, Wanted **batch)
{
	FsiError	err = {0};
	TokIds		ids[ENCODE_ROWS];
	int			n_embd = model->file.model.cfg.n_embd;
	float	   *z = host_array(&call->arena, (size_t) n * n_embd, sizeof(float));
	float	   *proj = host_array(&call->arena, (size_t) n * n_embd, sizeof(float));

	for (int i = 0; i < n; i++)
		ids[i] = batch[i]->ids;
	HOST_TRY(segment_encode(&model->file.model, exec_work(), n, ids, z, NULL, &call->arena, &err));
	segment_project(&model->file.model, gpt2_work_ops(exec_work()), n, z, false, proj);
	for (int i = 0; i < n; i++)
	{
		CachePart	parts[CACHE_PARTS];

		/* The same text may stand twice in a question. */
		text_parts(model, batch[i]->text, parts);
		batch[i]->entry = (SegmentEntry *) cache_find(CACHE_SEGMENT, parts);
		if (batch[i]->entry == NULL)
			batch[i]->entry = keep_segment(model, batch[i], proj + (size_t) i * n_embd, &call->arena);
	}
}

/* Find or encode every wanted text. */
static void
encode_wanted(const ExecQuestion *q, ExecCall *call, int n, Wanted *wanted)
{
	FsiError	err = {0};
	FsiArenaMark start = fsi_arena_mark(&call->arena);
	Wanted	   *batch[ENCODE_ROWS];
	int			n_batch = 0;
	size_t		tokens = 0;

	for (int i = 0; i < n; i++)
	{
		Wanted	   *w = &wanted[i];
		CachePart	parts[CACHE_PARTS];

		CHECK_FOR_INTERRUPTS();
		text_parts(q->model, w->text, parts);
		w->entry = (SegmentEntry *) cache_find(CACHE_SEGMENT, parts);
		if (w->entry != NULL)
		{
			exec_count.segment_hits++;
			continue;
		}
		HOST_TRY(tok_encode_plain(&q->model->file.tok, w->text.s, w->text.len, &call->arena, &w->ids, &err));
		exec_check_fits(q->model, w->what, w->text, w->ids.n);
		batch[n_batch++] = w;
		tokens += w->ids.n + 2;
		if (n_batch == ENCODE_ROWS || tokens >= ENCODE_TOKENS || i == n - 1)
		{
			encode_batch(q->model, call, n_batch, batch);
			fsi_arena_release(&call->arena, start);
			n_batch = 0;
			tokens = 0;
		}
	}
	if (n_batch > 0)
		encode_batch(q->model, call, n_batch, batch);
	fsi_arena_release(&call->arena, start);
}

/* The first n wanted texts are the names. */
static void
check_names(int n, const Wanted *names, FsiArena *arena)
{
	TokIds	   *ids = host_array(arena, n, sizeof(TokIds));
	HostText   *texts = host_array(arena, n, sizeof(HostText));

	for (int i = 0; i < n; i++)
	{
		ids[i] = names[i].entry->ids;
		texts[i] = names[i].text;
	}
	exec_check_labels(n, ids, texts, arena);
}

/* Names in canonical order, then descriptions, then examples; how many. */
static int
list_wanted(const ExecQuestion *q, Wanted *wanted)
{
	int			n = 0;

	for (int i = 0; i < q->n_intents; i++)
		wanted[n++] = (Wanted) {.text = q->intents[q->canonical[i]], .what = "intent"};
	for (int i = 0; q->descriptions != NULL && i < q->n_intents; i++)
		if (q->descriptions[q->canonical[i]].s != NULL)
			wanted[n++] = (Wanted) {.text = q->descriptions[q->canonical[i]], .what = "description"};
	for (int i = 0; i < q->n_examples; i++)
		wanted[n++] = (Wanted) {.text = q->examples[i].text, .what = "example"};
	return n;
}

/* Candidate i is the i-th intent in canonical order. */
static void
fill_candidates(ExecSet *set, const ExecQuestion *q, Wanted *wanted, ExecCall *call)
{
	int		   *rank = host_array(&call->arena, q->n_intents, sizeof(int));
	const SegmentVec **examples = host_array(&set->arena, q->n_examples, sizeof(SegmentVec *));
	int			at = q->n_intents;
	FsiError	err = {0};

	set->candidates = host_zero(&set->arena, q->n_intents, sizeof(PointingCandidate));
	for (int i = 0; i < q->n_intents; i++)
	{
		rank[q->canonical[i]] = i;
		set->candidates[i].name = &wanted[i].entry->vec;
		if (q->descriptions != NULL && q->descriptions[q->canonical[i]].s != NULL)
			set->candidates[i].description = &wanted[at++].entry->vec;
	}
	for (int i = 0; i < q->n_examples; i++)
		set->candidates[rank[q->examples[i].intent]].n_example++;
	for (int i = 0; i < q->n_intents; i++)
	{
		set->candidates[i].examples = examples;
		examples += set->candidates[i].n_example;
		set->candidates[i].n_example = 0;
	}
	for (int i = 0; i < q->n_examples; i++)
	{
		PointingCandidate *c = &set->candidates[rank[q->examples[i].intent]];

		((const SegmentVec **) c->examples)[c->n_example++] = &wanted[at + i].entry->vec;
	}
	if (q->n_examples >= INDEX_FROM)
	{
		set->index = host_array(&set->arena, 1, sizeof(PointingIndex));
		HOST_TRY(pointing_index_build(q->n_examples, set->candidates[0].examples, &set->arena, set->index, &err));
	}
	HOST_TRY(pointing_discriminant(&set->model->file.model, q->n_intents, set->candidates, &set->arena,
								   &set->direction, &err));
}

void
segments_prepare(ExecSet *set, const ExecQuestion *q, ExecCall *call)
{
	Wanted	   *wanted = host_array(&call->arena, 2 * (size_t) q->n_intents + q->n_examples, sizeof(Wanted));
	int			n = list_wanted(q, wanted);

	encode_wanted(q, call, n, wanted);
	check_names(q->n_intents, wanted, &call->arena);
	fill_candidates(set, q, wanted, call);
	set->segments = host_array(&set->arena, n, sizeof(SegmentEntry *));
	set->n_segments = n;
	for (int i = 0; i < n; i++)
		set->segments[i] = wanted[i].entry;
}

/* What is kept of a message beside its text: vector, buckets, weights follow. */
typedef struct KeptVector
{
	int			tokens;
	bool		shortened,
				clipped;
	uint32		n_spell;
} KeptVector;

static void
keep_vector(const ExecSet *set, const ExecRow *row, const SegmentVec *vec)
{
	int			n_embd = set->model->file.model.cfg.n_embd;
	size_t		n = vec->spell.n;
	KeptVector *kept = memo_put(MEMO_VECTOR, set->model->serial, row->hash, row->message,
								sizeof(KeptVector) + sizeof(float) * n_embd + (sizeof(uint32_t) + sizeof(float)) * n);
	char	   *at = (char *) (kept + 1);

	if (kept == NULL)
		return;
	kept->tokens = row->answer->tokens;
	kept->shortened = row->answer->shortened;
	kept->clipped = row->answer->clipped;
	kept->n_spell = (uint32) n;
	memcpy(at, vec->proj, sizeof(float) * n_embd);
	at += sizeof(float) * n_embd;
	memcpy(at, vec->spell.bucket, sizeof(uint32_t) * n);
	at += sizeof(uint32_t) * n;
	memcpy(at, vec->spell.weight, sizeof(float) * n);
}

/* Compare one message with the candidates. */
static void
point(ExecSet *set, ExecCall *call, const SegmentVec *message, ExecAnswer *answer, double *scores)
{
	FsiError	err = {0};
	FsiArena   *arena = &call->arena;
	FsiArenaMark mark = fsi_arena_mark(arena);
	double	   *logit = host_array(arena, set->n_candidates, sizeof(double));
	double	   *prob = host_array(arena, (size_t) set->n_candidates + 1, sizeof(double));

	HOST_TRY(pointing_score(&set->model->file.model, gpt2_work_ops(exec_work()), message, set->n_candidates,
							set->candidates, set->index, set->direction, set->with_other, logit, prob, arena, &err));
	answer->label = set_choose(set, prob);
	if (call->mode == EXEC_ALONE)
		pointing_alone(&set->model->file.model, set->n_candidates, logit, scores);
	else if (scores != NULL)
		memcpy(scores, prob, sizeof(double) * set->n_labels);
	fsi_arena_release(arena, mark);
}

bool
segments_recall(ExecSet *set, ExecCall *call, HostText message, uint64 hash, ExecAnswer *answer, double *scores)
{
	KeptVector *kept = memo_find(MEMO_VECTOR, set->model->serial, hash, message);
	SegmentVec	vec;

	if (kept == NULL)
		return false;
	vec.proj = (const float *) (kept + 1);
	vec.spell.n = kept->n_spell;
	vec.spell.bucket = (uint32_t *) (vec.proj + set->model->file.model.cfg.n_embd);
	vec.spell.weight = (float *) (vec.spell.bucket + vec.spell.n);
	answer->tokens = kept->tokens;
	answer->shortened = kept->shortened;
	answer->clipped = kept->clipped;
	point(set, call, &vec, answer, scores);
	exec_count.vector_hits++;
	exec_count.rows++;
	exec_count.shortened += answer->shortened;
	return true;
}

void
segments_classify(ExecSet *set, ExecCall *call, int n, const ExecRow *rows)
{
	FsiError	err = {0};
	const Gpt2Model *model = &set->model->file.model;
	int			n_embd = model->cfg.n_embd;
	FsiArena   *arena = &call->arena;
	TokIds	   *ids = host_array(arena, n, sizeof(TokIds));
	float	   *z = host_array(arena, (size_t) n * n_embd, sizeof(float));
	float	   *proj = host_array(arena, (size_t) n * n_embd, sizeof(float));

	for (int i = 0; i < n; i++)
		ids[i] = rows[i].ids;
	HOST_TRY(segment_encode(model, exec_work(), n, ids, z, NULL, arena, &err));
	segment_project(model, gpt2_work_ops(exec_work()), n, z, true, proj);
	for (int i = 0; i < n; i++)
	{
		FsiArenaMark mark = fsi_arena_mark(arena);
		SegmentVec	message = {.proj = proj + (size_t) i * n_embd};

		CHECK_FOR_INTERRUPTS();
		exec_spell(set->model, rows[i].clipped, arena, &message.spell);
		point(set, call, &message, rows[i].answer, rows[i].scores);
		keep_vector(set, &rows[i], &message);
		fsi_arena_release(arena, mark);
	}
}

static void
append_utf8(StringInfo out, HostText t)
{
	appendBinaryStringInfo(out, t.s, (int) t.len);
}

static void
append_segment(StringInfo out, const char *kind, const HostText *intent, HostText t)
{
	CHECK_FOR_INTERRUPTS();
	appendStringInfoString(out, kind);
	if (intent != NULL)
	{
		appendStringInfoString(out, " of ");
		append_utf8(out, *intent);
	}
	appendStringInfoString(out, ": ");
	append_utf8(out, t);
	appendStringInfoChar(out, '\n');
}

text *
segments_prompt_text(const ExecQuestion *q, HostText message)
{
	StringInfoData out;
	int		   *first = palloc(sizeof(int) * q->n_intents); /* example of each intent, -1: none */
	int		   *next = palloc(sizeof(int) * (q->n_examples + 1));	/* example of the same intent */

	for (int i = 0; i < q->n_intents; i++)
		first[i] = -1;
	for (int j = q->n_examples - 1; j >= 0; j--)
	{
		next[j] = first[q->examples[j].intent];
		first[q->examples[j].intent] = j;
	}
	initStringInfo(&out);
	append_segment(&out, "message", NULL, message);
	for (int i = 0; i < q->n_intents; i++)
	{
		append_segment(&out, "intent", NULL, q->intents[i]);
		if (q->descriptions != NULL && q->descriptions[i].s != NULL)
			append_segment(&out, "description", &q->intents[i], q->descriptions[i]);
		for (int j = first[i]; j >= 0; j = next[j])
			append_segment(&out, "example", &q->intents[i], q->examples[j].text);
	}
	if (q->other_label != NULL)
		append_segment(&out, "other", NULL, q->other);
	return host_text(out.data, out.len - 1);
}
