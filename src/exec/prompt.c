/*
 * prompt.c
 *	  Prompt layout: keys and values of everything before the message once, then message and labels per row.
 *
 * A row reads: prefix (kept), message, suffix, the token that ends a prompt; its answer is
 * read off a trie of the labels' tokens.  Nobody's text is trusted: a literal special token
 * in a message, an example or an intent stays plain text.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "exec.h"

/* A prompt that leaves less than this to the message is the caller's mistake. */
#define MESSAGE_ROOM_MIN 16
/* Room for keys: 8 floats, a ymm register, never lie across two lines of the cache. */
#define KEYS_ROUND 8
/* Tokens of the prefix per forward pass. */
#define PREFIX_STEP 512

/* The prompt's two parts as text, before and after the message. */
typedef struct PromptParts
{
	HostText	prefix,
				suffix;
} PromptParts;

static PromptParts
render(const ExecQuestion *q, FsiArena *arena)
{
	FsiError	err = {0};
	PromptSpec	spec = {0};
	const char **intents = host_array(arena, q->n_intents, sizeof(char *));
	size_t	   *intent_lens = host_array(arena, q->n_intents, sizeof(size_t));
	PromptExample *examples = host_array(arena, q->n_examples, sizeof(PromptExample));
	const char **descriptions = host_array(arena, q->n_intents, sizeof(char *));
	size_t	   *description_lens = host_array(arena, q->n_intents, sizeof(size_t));
	char	   *prefix;
	char	   *suffix;
	PromptParts parts;

	for (int i = 0; i < q->n_intents; i++)
	{
		intents[i] = q->intents[i].s;
		intent_lens[i] = q->intents[i].len;
		descriptions[i] = q->descriptions ? q->descriptions[i].s : NULL;
		description_lens[i] = q->descriptions ? q->descriptions[i].len : 0;
	}
	for (int i = 0; i < q->n_examples; i++)
	{
		const ExecExample *e = &q->examples[i];

		examples[i] = (PromptExample) {e->text.s, e->text.len, intents[e->intent], intent_lens[e->intent]};
	}
	spec.template_text = q->template_text.s;
	spec.template_len = q->template_text.len;
	spec.instructions = q->instructions.s;
	spec.instructions_len = q->instructions.len;
	spec.n_intents = q->n_intents;
	spec.intents = intents;
	spec.intent_lens = intent_lens;
	spec.descriptions = q->descriptions ? descriptions : NULL;
	spec.description_lens = q->descriptions ? description_lens : NULL;
	spec.n_examples = q->n_examples;
	spec.examples = examples;
	spec.other = q->other.s;
	spec.other_len = q->other.len;
	HOST_TRY(prompt_render(&spec, arena, &prefix, &parts.prefix.len, &suffix, &parts.suffix.len, &err));
	parts.prefix.s = prefix;
	parts.suffix.s = suffix;
	return parts;
}

static TokIds
put_between(int32_t first, TokIds ids, int32_t last, FsiArena *arena)
{
	TokIds		out;

	out.ids = host_array(arena, ids.n + 2, sizeof(int32_t));
	out.n = 0;
	if (first != TOK_NONE)
		out.ids[out.n++] = first;
	memcpy(out.ids + out.n, ids.ids, sizeof(int32_t) * ids.n);
	out.n += ids.n;
	if (last != TOK_NONE)
		out.ids[out.n++] = last;
	return out;
}

TokIds
exec_tokens_between(const Tokenizer *tok, int32_t first, HostText t, int32_t last, bool plain, FsiArena *arena)
{
	FsiError	err = {0};
	TokIds		ids;

	HOST_TRY((plain ? tok_encode_plain : tok_encode) (tok, t.s, t.len, arena, &ids, &err));
	return put_between(first, ids, last, arena);
}

/* What follows the message. */
static TokIds
suffix_tokens(const StoreModel *model, HostText suffix, FsiArena *arena)
{
	FsiError	err = {0};
	TokIds		ids;

	HOST_TRY(tok_encode_within(&model->file.tok, suffix.s, suffix.len, arena, &ids, &err));
	return put_between(TOK_NONE, ids, model->file.model.cfg.end_prompt, arena);
}

/* With a zero behind it. */
static const char *
copy_text(FsiArena *arena, const char *s, size_t len)
{
	char	   *copy = host_array(arena, len + 1, 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

static void
build_trie(ExecSet *set, const ExecQuestion *q, HostText suffix, FsiArena *scratch)
{
	FsiError	err = {0};
	const StoreModel *model = set->model;
	const Tokenizer *tok = &model->file.tok;
	TokIds	   *ids = host_array(scratch, set->n_labels, sizeof(TokIds));
	const char **names = host_array(scratch, set->n_labels, sizeof(char *));
	HostText   *labels = host_array(scratch, set->n_labels, sizeof(HostText));

	/* Where nothing follows the message a label follows its last word, and has the space that training gives it. */
	if (suffix.len == 0)
		suffix = (HostText) {"word", 4};
	for (int i = 0; i < set->n_labels; i++)
	{
		bool		other = i == q->n_intents;

		labels[i] = other ? q->other : q->intents[q->canonical[i]];
		HOST_TRY(prompt_label_ids(tok, labels[i], suffix, scratch, &ids[i], &err));
		names[i] = copy_text(scratch, labels[i].s, labels[i].len);
		exec_check_fits(model, other ? "\"other\" intent" : "intent", labels[i], ids[i].n);
	}
	exec_check_labels(set->n_labels, ids, labels, scratch);
	HOST_TRY(trie_build(&model->file.model.cfg, set->n_labels, ids, names, &set->arena, &set->trie, &err));
}

/* Tokens left to a message beside the prefix, the suffix and the longest label. */
static void
find_room(ExecSet *set, size_t n_prefix)
{
	int			limit = set->model->file.model.cfg.n_positions;
	size_t		taken = n_prefix + set->suffix.n + trie_max_tokens(set->trie);

	if (taken + MESSAGE_ROOM_MIN > (size_t) limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("intents, examples and instructions have %zu tokens, which leaves no room for a message", taken),
				 errdetail("Model \"%s\" reads at most %d tokens, of which a message needs %d.",
						   exec_model_name(set), limit, MESSAGE_ROOM_MIN),
				 errhint("Give fewer or shorter examples, descriptions or intents.")));
	set->room = limit - (int) taken;
}

static void
compute_prefix(ExecSet *set, TokIds prefix, ExecCall *call)
{
	FsiError	err = {0};
	const Gpt2Model *model = &set->model->file.model;
	float	   *hidden = host_array(&call->arena, model->cfg.n_embd, sizeof(float));

	HOST_TRY(kv_alloc(&model->cfg, KERN_ROUND_UP((int) prefix.n, KEYS_ROUND), &set->arena, &set->prefix, &err));
	for (size_t at = 0; at < prefix.n; at += PREFIX_STEP)
	{
		Gpt2Seq		seq = {0};

		CHECK_FOR_INTERRUPTS();
		seq.own = &set->prefix;
		seq.tokens = prefix.ids + at;
		seq.n_token = (int) Min(prefix.n - at, PREFIX_STEP);
		HOST_TRY(gpt2_forward(model, exec_work(), 1, &seq, GPT2_LAST, hidden, &err));
	}
	exec_count.prefix_computed++;
}

void
prompt_prepare(ExecSet *set, const ExecQuestion *q, ExecCall *call)
{
	const StoreModel *model = set->model;
	const Gpt2Config *cfg = &model->file.model.cfg;
	PromptParts parts = render(q, &call->arena);
	TokIds		prefix;

	/*
	 * White space at the prefix's end belongs before the message, not to the tokens that are kept: a byte-level
	 * vocabulary has one token for " refund" and others for "refund".
	 */
	set->lead.len = text_space_after(parts.prefix.s, parts.prefix.len);
	parts.prefix.len -= set->lead.len;
	set->lead.s = copy_text(&set->arena, parts.prefix.s + parts.prefix.len, set->lead.len);
	prefix = exec_tokens_between(&model->file.tok, cfg->begin, parts.prefix, TOK_NONE, true, &call->arena);
	set->within = parts.prefix.len > 0;
	set->suffix = suffix_tokens(model, parts.suffix, &set->arena);
	build_trie(set, q, parts.suffix, &call->arena);
	find_room(set, prefix.n);

	/* An answer is read off a token's state, so a row must have one even where the message is empty. */
	if (set->suffix.n == 0 && prefix.n > 0)
	{
		set->last = prefix.ids[prefix.n - 1];
		set->has_last = true;
		prefix.n--;
	}
	if (prefix.n > 0)
		compute_prefix(set, prefix, call);
}

/* What a row adds to the prefix: its last token, the message (head and tail where it is too long), the suffix. */
static TokIds
row_tokens(const ExecSet *set, TokIds message, FsiArena *arena)
{
	size_t		keep = Min(message.n, (size_t) set->room);
	size_t		tail = keep < message.n ? keep / 2 : 0;
	size_t		head = keep - tail;
	TokIds		out = {host_array(arena, keep + set->suffix.n + 1, sizeof(int32_t)), 0};

	if (set->has_last)
		out.ids[out.n++] = set->last;
	memcpy(out.ids + out.n, message.ids, sizeof(int32_t) * head);
	out.n += head;
	memcpy(out.ids + out.n, message.ids + message.n - tail, sizeof(int32_t) * tail);
	out.n += tail;
	memcpy(out.ids + out.n, set->suffix.ids, sizeof(int32_t) * set->suffix.n);
	out.n += set->suffix.n;
	if (out.n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the prompt is empty"),
				 errhint("Give a template with words beside {text}.")));
	return out;
}

/*
 * Sequences of the rows after the prefix, with room behind them for add_ahead(); their own runs
 * have room for more tokens.  The context leads to the own run, too, as a last one.
 */
static Gpt2Seq *
row_sequences(const ExecSet *set, int n, const ExecRow *rows, int more, FsiArena *arena)
{
	FsiError	err = {0};
	const Gpt2Config *cfg = &set->model->file.model.cfg;
	int			n_prefix = set->prefix.count > 0 ? 1 : 0;
	Gpt2Seq    *seqs = host_array(arena, n + TRIE_AHEAD, sizeof(Gpt2Seq));
	KvRun	   *own = host_array(arena, n, sizeof(KvRun));

	for (int i = 0; i < n; i++)
	{
		TokIds		tokens = row_tokens(set, rows[i].ids, arena);
		const KvRun **context = host_array(arena, 2, sizeof(KvRun *));

		HOST_TRY(kv_alloc(cfg, Min(KERN_ROUND_UP((int) tokens.n + more, KEYS_ROUND), cfg->n_positions), arena, &own[i], &err));
		context[0] = &set->prefix;
		context[n_prefix] = &own[i];
		seqs[i] = (Gpt2Seq) {.n_context = n_prefix, .context = context, .own = &own[i],
			.n_token = (int) tokens.n, .tokens = tokens.ids};
	}
	return seqs;
}

/* p(label) to p(label) / (p(label) + p(other)): "other" is the last one. */
static void
weigh_alone(const ExecSet *set, double *scores)
{
	double		other = scores[set->n_labels - 1];

	for (int i = 0; i < set->n_labels; i++)
		if (scores[i] > 0)
			scores[i] /= scores[i] + other;
}

int
prompt_write(ExecSet *set, ExecCall *call, int n, const ExecRow *rows, TokIds *written)
{
	FsiError	err = {0};
	int			limit = trie_max_tokens(set->trie) + 1;
	Gpt2Seq    *seqs = row_sequences(set, n, rows, limit - 1, &call->arena);

	HOST_TRY(gpt2_generate_rows(&set->model->file.model, exec_work(), n, seqs, limit, &call->arena, written, &err));
	return limit;
}

/*
 * A single row's pass reads all weights for few tokens: the nodes that its answer asks for first
 * go with the message, behind it.  How many; hidden: the message's state, then theirs.
 */
static int
add_ahead(const ExecSet *set, Gpt2Seq *seqs, TrieRow *row)
{
	int			n = trie_ahead(set->trie, seqs + 1);

	for (int i = 1; i <= n; i++)
	{
		seqs[i].n_context = row->n_context;
		seqs[i].context = row->context;
		seqs[i].n_ahead = seqs[0].n_token;
		seqs[i].own = NULL;
	}
	if (n > 0)
		row->ahead = row->hidden + set->model->file.model.cfg.n_embd;
	return n;
}

void
prompt_classify(ExecSet *set, ExecCall *call, int n, const ExecRow *rows)
{
	FsiError	err = {0};
	const Gpt2Model *model = &set->model->file.model;
	FsiArena   *arena = &call->arena;
	Gpt2Seq    *seqs = row_sequences(set, n, rows, 0, arena);
	TrieRow    *trie_rows = host_array(arena, n, sizeof(TrieRow));
	float	   *hidden = host_array(arena, (size_t) (n + TRIE_AHEAD) * model->cfg.n_embd, sizeof(float));
	int			n_ahead = 0;
	bool		best_alone = rows[0].scores == NULL && set->min_score == 0 && set->scoring == EXEC_TRIE;

	for (int i = 0; i < n; i++)
	{
		trie_rows[i] = (TrieRow) {.n_context = seqs[i].n_context + 1, .context = seqs[i].context,
			.hidden = hidden + (size_t) i * model->cfg.n_embd};
		if (!best_alone)
			trie_rows[i].score = host_array(arena, set->n_labels, sizeof(double));
	}
	if (n == 1 && best_alone)
		n_ahead = add_ahead(set, seqs, &trie_rows[0]);
	HOST_TRY(gpt2_forward(model, exec_work(), n + n_ahead, seqs, GPT2_LAST, hidden, &err));
	CHECK_FOR_INTERRUPTS();
	HOST_TRY(trie_score_rows(model, exec_work(), set->trie, n, trie_rows,
							 best_alone ? TRIE_BEST : set->scoring == EXEC_SEQUENCE ? TRIE_SEQUENCE : TRIE_ALL,
							 arena, &err));
	for (int i = 0; i < n; i++)
	{
		rows[i].answer->label = best_alone ? trie_rows[i].best : set_choose(set, trie_rows[i].score);
		if (rows[i].scores != NULL)
			memcpy(rows[i].scores, trie_rows[i].score, sizeof(double) * set->n_labels);
		if (call->mode == EXEC_ALONE)
			weigh_alone(set, rows[i].scores);
	}
}

text *
prompt_prompt_text(const ExecQuestion *q, HostText message, ExecCall *call)
{
	PromptParts parts = render(q, &call->arena);
	StringInfoData out;

	initStringInfo(&out);
	appendBinaryStringInfo(&out, parts.prefix.s, (int) parts.prefix.len);
	appendBinaryStringInfo(&out, message.s, (int) message.len);
	appendBinaryStringInfo(&out, parts.suffix.s, (int) parts.suffix.len);
	return host_text(out.data, out.len);
}
