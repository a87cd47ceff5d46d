/*
 * answer.c
 *	  Messages through a set: what is known already, what is equal, and the rest in batches.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "exec.h"

/* One forward pass: 64 rows amortise the weights' way through the caches, 512 tokens bound its time. */
#define BATCH_ROWS 64
#define BATCH_TOKENS 512

/* The messages of a call, sorted out. */
typedef struct Todo
{
	int			n;
	int		   *index;			/* [n] those to compute */
	int		   *same;			/* [of all] an earlier one with equal bytes, or -1 */
	uint64	   *hash;			/* [of all] */
} Todo;

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
	FsiError	err = {0};

	*clipped = message.len > EXEC_CLIP_BYTES;
	if (*clipped)
		HOST_TRY(text_ends(message, EXEC_CLIP_BYTES / 2, EXEC_CLIP_BYTES / 2, arena, &message, &err));
	return message;
}

/* Tokens that a pass reads beside those of each message. */
static int
marks(const ExecSet *set)
{
	const Gpt2Config *cfg = &set->model->file.model.cfg;

	if (cfg->layout == GPT2_PROMPT)
		return (int) set->suffix.n + set->has_last;
	return (cfg->begin != TOK_NONE) + (cfg->end != TOK_NONE);
}

/* Tokens that the model's context leaves to a message. */
static int
message_room(const ExecSet *set)
{
	const Gpt2Config *cfg = &set->model->file.model.cfg;

	if (cfg->layout == GPT2_PROMPT)
		return set->room;
	return cfg->n_positions - marks(set);
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
				 answers[i].clipped ?
				 errmsg("message of more than %d MB was shortened to the %d tokens that the model reads",
						EXEC_CLIP_BYTES >> 20, message_room(set)) :
				 errmsg("message of %d tokens was shortened to the %d that the model reads",
						answers[i].tokens, message_room(set)),
				 errdetail("Its head and tail were kept. The statement may hold more such messages.")));
	}
}

/* The set's answer to a message that it was asked a moment ago. */
static bool
recall_answer(const ExecSet *set, uint64 hash, HostText message, ExecAnswer *answer)
{
	const ExecAnswer *known = memo_find(MEMO_ANSWER, set->serial, hash, message);

	if (known == NULL)
		return false;
	*answer = *known;
	exec_count.memo_hits++;
	exec_count.rows++;
	exec_count.shortened += answer->shortened;
	return true;
}

static void
keep_answer(const ExecSet *set, uint64 hash, HostText message, const ExecAnswer *answer)
{
	ExecAnswer *kept = memo_put(MEMO_ANSWER, set->serial, hash, message, sizeof(ExecAnswer));

	if (kept != NULL)
		*kept = *answer;
}

/* Index of an earlier message with equal bytes, or -1; table: open addressing, index + 1, 0 where empty. */
static int
find_equal(uint32 *table, uint32 mask, const uint64 *hash, const HostText *messages, int i)
{
	uint32		at = (uint32) (hash[i] >> 32) & mask;

	for (; table[at] != 0; at = (at + 1) & mask)
	{
		int			j = (int) table[at] - 1;

		if (hash[j] == hash[i] && messages[j].len == messages[i].len &&
			memcmp(messages[j].s, messages[i].s, messages[i].len) == 0)
			return j;
	}
	table[at] = (uint32) i + 1;
	return -1;
}

/* Answer what is known without a pass of the model; list the rest. */
static void
sort_out(ExecSet *set, ExecCall *call, int n, const HostText *messages, ExecAnswer *answers, double *scores, Todo *todo)
{
	uint32		slots = 4;
	uint32	   *table = NULL;

	todo->n = 0;
	todo->index = host_array(&call->arena, n, sizeof(int));
	todo->same = host_array(&call->arena, n, sizeof(int));
	todo->hash = host_array(&call->arena, n, sizeof(uint64));
	if (n > 1)
	{
		while (slots < 2 * (uint32) n)
			slots *= 2;
		table = host_zero(&call->arena, slots, sizeof(uint32));
	}
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		todo->hash[i] = memo_hash(messages[i]);
		todo->same[i] = table != NULL ? find_equal(table, slots - 1, todo->hash, messages, i) : -1;
		if (todo->same[i] >= 0)
			continue;
		if (call->mode == EXEC_CHOOSE && scores == NULL &&
			recall_answer(set, todo->hash[i], messages[i], &answers[i]))
			continue;
		if (set->candidates != NULL &&
			segments_recall(set, call, messages[i], todo->hash[i], &answers[i],
							scores ? scores + (size_t) i * set->n_labels : NULL))
		{
			keep_answer(set, todo->hash[i], messages[i], &answers[i]);
			continue;
		}
		todo->index[todo->n++] = i;
	}
}

/* Tokenise rows from the first on until a batch is full; how many it took. */
static int
tokenise_batch(ExecSet *set, FsiArena *arena, int n, ExecRow *rows)
{
	FsiError	err = {0};
	int			room = message_room(set);
	size_t		tokens = 0;
	int			taken;

	for (taken = 0; taken < n; taken++)
	{
		ExecRow    *row = &rows[taken];
		HostText	whole;

		row->clipped = exec_clip(row->message, &row->answer->clipped, arena);
		whole = with_lead(set, row->clipped, arena);
		HOST_TRY((set->within ? tok_encode_within : tok_encode_plain) (&set->model->file.tok, whole.s, whole.len, arena,
																	   &row->ids, &err));
		row->answer->tokens = (int) row->ids.n;
		row->answer->shortened = row->answer->clipped || row->answer->tokens > room;
		tokens += Min(row->answer->tokens, room) + marks(set);
		if (taken > 0 && tokens > BATCH_TOKENS)
			break;
	}
	return taken;
}

/* Count a batch that is done, and keep its answers, unless the model was free to write them. */
static void
finish_batch(const ExecSet *set, ExecMode mode, int n, const ExecRow *rows)
{
	int			room = message_room(set);

	exec_count.batches++;
	exec_count.rows += n;
	for (int i = 0; i < n; i++)
	{
		exec_count.tokens += Min(rows[i].answer->tokens, room);
		exec_count.shortened += rows[i].answer->shortened;
		if (mode != EXEC_WRITE)
			keep_answer(set, rows[i].hash, rows[i].message, rows[i].answer);
	}
}

static void
run_batches(ExecSet *set, ExecCall *call, const Todo *todo, const HostText *messages, ExecAnswer *answers,
			double *scores)
{
	FsiArenaMark mark = fsi_arena_mark(&call->arena);
	ExecRow		rows[BATCH_ROWS];

	for (int done = 0; done < todo->n;)
	{
		int			n = Min(todo->n - done, BATCH_ROWS);

		for (int i = 0; i < n; i++)
		{
			int			at = todo->index[done + i];

			rows[i].message = messages[at];
			rows[i].hash = todo->hash[at];
			rows[i].answer = &answers[at];
			rows[i].scores = scores ? scores + (size_t) at * set->n_labels : NULL;
		}
		n = tokenise_batch(set, &call->arena, n, rows);
		CHECK_FOR_INTERRUPTS();
		store_check_unchanged(set->model);
		if (set->candidates != NULL)
			segments_classify(set, call, n, rows);
		else if (call->mode == EXEC_WRITE)
			write_answers(set, call, n, rows);
		else
			prompt_classify(set, call, n, rows);
		finish_batch(set, call->mode, n, rows);
		fsi_arena_release(&call->arena, mark);
		done += n;
	}
}

/* Give equal messages the answer of the first. */
static void
copy_same(const ExecSet *set, int n, const Todo *todo, ExecAnswer *answers, double *scores)
{
	for (int i = 0; i < n; i++)
	{
		int			from = todo->same[i];

		if (from < 0)
			continue;
		answers[i] = answers[from];
		if (scores != NULL)
			memcpy(scores + (size_t) i * set->n_labels, scores + (size_t) from * set->n_labels,
				   sizeof(double) * set->n_labels);
		exec_count.duplicates++;
		exec_count.rows++;
		exec_count.shortened += answers[i].shortened;
	}
}

void
exec_answer(ExecSet *set, ExecSlot *slot, ExecMode mode, int n, const HostText *messages, ExecAnswer *answers,
			double *scores)
{
	ExecCall	call;
	Todo		todo;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	exec_call_begin(&call, set->model);
	call.mode = mode;
	sort_out(set, &call, n, messages, answers, scores, &todo);
	run_batches(set, &call, &todo, messages, answers, scores);
	copy_same(set, n, &todo, answers, scores);
	exec_call_end(&call);
	exec_count_time(start);
	warn_shortened(set, slot, n, answers);
}

void
exec_classify(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, ExecAnswer *answers, double *scores)
{
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
	/* What is remembered was read off the same weights; but other ones are told of, not passed over. */
	store_check_unchanged(set->model);
	/* The one row of a call in a target list whose WHERE has asked already: no scratch, no clock. */
	if (n == 1 && scores == NULL && recall_answer(set, memo_hash(messages[0]), messages[0], &answers[0]))
	{
		warn_shortened(set, slot, n, answers);
		return;
	}
	exec_answer(set, slot, EXEC_CHOOSE, n, messages, answers, scores);
}
