/*
 * batch_answer.c
 *	  Answer the rows read ahead: evaluate the calls' arguments, group them by question, classify.
 *
 * Nothing that is evaluated here can leave something behind in an error, a resource or another
 * user's identity: the arguments hold immutable functions of PostgreSQL's own over plain types only
 * (all else is a column of the node below), executor parameters were computed before.  So an error
 * that a row is to blame for is caught, without a subtransaction, which a parallel worker may not have,
 * and the row computed again with the calls in place when its turn comes.  Any other error is passed on.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "batch.h"
#include "fsi_sql.h"

/* One row's arguments of one call. */
typedef struct Question
{
	bool		null;			/* STRICT */
	int			group;
	HostText	message;
	Datum		args[BATCH_MAX_ARGS];	/* as evaluated */
	ArrayType  *intents;
	Jsonb	   *options;
} Question;

/* Rows of the batch whose arguments are in memory together. */
typedef struct Part
{
	BatchState *b;
	int			first;
	int			n;
	Question   *questions;		/* [n_calls][n rows of the batch] */
} Part;

static Question *
question_at(const Part *part, int call, int row)
{
	return &part->questions[(size_t) call * part->b->n_rows + row];
}

static void
evaluate(Part *part, int c, int i)
{
	BatchState *b = part->b;
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;
	BatchCall  *call = &b->calls[c];
	Question   *q = question_at(part, c, i);
	const Question *before = i > 0 ? question_at(part, c, i - 1) : NULL;

	q->null = false;
	q->intents = NULL;
	q->options = NULL;
	for (int a = 0; a < call->n_args; a++)
	{
		bool		isnull;

		q->args[a] = ExecEvalExpr(call->args[a], econtext, &isnull);
		q->null |= isnull;
	}
	if (q->null)
		return;
	/* What is the same value is the same in its plain form. */
	if (before != NULL && !before->null && before->args[1] == q->args[1])
		q->intents = before->intents;
	else
		q->intents = DatumGetArrayTypeP(q->args[1]);
	if (call->n_args > 2)
	{
		if (before != NULL && !before->null && before->args[2] == q->args[2])
			q->options = before->options;
		else
			q->options = DatumGetJsonbP(q->args[2]);
	}
	q->message = host_utf8_text(DatumGetTextPP(q->args[0]));
}

static bool
same_bytes(const void *a, const void *b)
{
	return a == b || (a != NULL && b != NULL && VARSIZE_ANY(a) == VARSIZE_ANY(b) &&
					  memcmp(a, b, VARSIZE_ANY(a)) == 0);
}

/* Number the questions' groups, those of equal intents and options; how many there are. */
static int
group_questions(const Part *part, int c, int *first_of)
{
	int			n_groups = 0;

	for (int i = 0; i < part->n; i++)
	{
		Question   *q = question_at(part, c, i);

		CHECK_FOR_INTERRUPTS();
		q->group = -1;
		if (q->null)
			continue;
		/* The last one first: rows often come in runs. */
		for (int g = n_groups - 1; g >= 0 && q->group < 0; g--)
		{
			const Question *other = question_at(part, c, first_of[g]);

			if (same_bytes(q->intents, other->intents) && same_bytes(q->options, other->options))
				q->group = g;
		}
		if (q->group < 0)
		{
			first_of[n_groups] = i;
			q->group = n_groups++;
		}
	}
	return n_groups;
}

static void
set_answer(BatchState *b, BatchRow *row, int c, Datum label)
{
	row->values[b->n_inputs + c] = label;
	row->nulls[b->n_inputs + c] = label == (Datum) 0;
}

/* The label in the rows' memory, copied once for a group. */
static Datum
label_value(BatchState *b, const ExecSet *set, int label, Datum *copies)
{
	const text *t;
	text	   *copy;

	if (label == EXEC_NO_ANSWER)
		return (Datum) 0;
	if (copies[label] == (Datum) 0)
	{
		t = exec_label(set, label);
		copy = MemoryContextAlloc(b->rows_context, VARSIZE_ANY(t));
		memcpy(copy, t, VARSIZE_ANY(t));
		copies[label] = PointerGetDatum(copy);
	}
	return copies[label];
}

/* One label for each message. */
static void
answer_with_label(BatchState *b, ExecSet *set, ExecSlot *slot, int n, const HostText *messages, Datum *values)
{
	ExecAnswer *answers = palloc(sizeof(ExecAnswer) * n);
	Datum	   *copies = palloc0(sizeof(Datum) * exec_n_labels(set));

	exec_classify(set, slot, n, messages, answers, NULL);
	for (int i = 0; i < n; i++)
		values[i] = label_value(b, set, answers[i].label, copies);
	pfree(copies);
	pfree(answers);
}

/* An array of labels for each message, in the rows' memory. */
static void
answer_with_labels(BatchState *b, ExecSet *set, ExecSlot *slot, int n, const HostText *messages, Datum *values)
{
	int			n_labels = exec_n_labels(set);
	int		   *held = palloc(sizeof(int) * n * n_labels);
	int		   *n_held = palloc(sizeof(int) * n);
	MemoryContext old;

	exec_classify_multi(set, slot, n, messages, held, n_held);
	old = MemoryContextSwitchTo(b->rows_context);
	for (int i = 0; i < n; i++)
		values[i] = PointerGetDatum(exec_label_array(set, n_held[i], held + (size_t) i * n_labels));
	MemoryContextSwitchTo(old);
	pfree(n_held);
	pfree(held);
}

/* One question, many messages. */
static void
answer_group(const Part *part, int c, int group, int first)
{
	BatchState *b = part->b;
	const Question *asked = question_at(part, c, first);
	BatchCall  *call = &b->calls[c];
	HostText   *messages = palloc(sizeof(HostText) * part->n);
	Datum	   *values = palloc(sizeof(Datum) * part->n);
	ExecSet    *set = args_set(&call->slot, asked->intents, asked->options);
	int			n = 0;

	for (int i = first; i < part->n; i++)
		if (question_at(part, c, i)->group == group)
			messages[n++] = question_at(part, c, i)->message;
	call->slot.warned = b->statement->warned;
	if (call->multi)
		answer_with_labels(b, set, &call->slot, n, messages, values);
	else
		answer_with_label(b, set, &call->slot, n, messages, values);
	b->statement->warned = call->slot.warned;
	n = 0;
	for (int i = first; i < part->n; i++)
		if (question_at(part, c, i)->group == group)
			set_answer(b, &b->rows[part->first + i], c, values[n++]);
	pfree(values);
	pfree(messages);
}

/* Take in rows while their arguments fit into work_mem, then answer them. */
static void
answer_part(Part *part)
{
	BatchState *b = part->b;
	MemoryContext old = MemoryContextSwitchTo(b->args_context);
	int		   *first_of;

	part->questions = MemoryContextAllocHuge(b->args_context,
											 sizeof(Question) * b->n_calls * (size_t) b->n_rows);
	first_of = palloc(sizeof(int) * b->n_rows);
	part->n = 0;
	do
	{
		CHECK_FOR_INTERRUPTS();
		batch_show_row(b, &b->rows[part->first + part->n]);
		for (int c = 0; c < b->n_calls; c++)
			evaluate(part, c, part->n);
		part->n++;
	} while (part->first + part->n < b->n_rows &&
			 MemoryContextMemAllocated(b->args_context, true) <= (Size) work_mem * 1024);
	for (int c = 0; c < b->n_calls; c++)
	{
		int			n_groups = group_questions(part, c, first_of);

		for (int g = 0; g < n_groups; g++)
			answer_group(part, c, g, first_of[g]);
	}
	for (int i = 0; i < part->n; i++)
		b->rows[part->first + i].answered = true;
	MemoryContextSwitchTo(old);
}

/* An error that comes from what is asked, not from the state of the server. */
static bool
is_of_row(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED || sqlerrcode == ERRCODE_UNDEFINED_OBJECT;
}

/*
 * Called for what is raised here.  An error of a parallel worker's is raised anew wherever its leader looks at interrupts,
 * but with the context in which the workers were launched: it ends the statement, whatever its code.
 */
static void
note_own(void *code)
{
	*(int *) code = geterrcode();
}

/* Whether the part's rows are answered; else its error was one of theirs. */
static bool
try_part(Part *part)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool done = true;
	Oid			user;
	int			security;
	volatile int own = 0;
	ErrorContextCallback callback = {error_context_stack, note_own, (void *) &own};

	GetUserIdAndSecContext(&user, &security);
	error_context_stack = &callback;
	PG_TRY();
	{
		answer_part(part);
	}
	PG_CATCH();
	{
		Oid			user_now;
		int			security_now;

		MemoryContextSwitchTo(old);
		GetUserIdAndSecContext(&user_now, &security_now);
		if (own != geterrcode() || !is_of_row(geterrcode()) || user_now != user || security_now != security)
			PG_RE_THROW();
		FlushErrorState();
		done = false;
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	MemoryContextReset(part->b->args_context);
	return done;
}

/* Executor parameters may stand for subplans that run now: not where their errors are caught. */
static void
evaluate_params(BatchState *b)
{
	ListCell   *lc;

	foreach(lc, b->params)
	{
		bool		isnull;

		(void) ExecEvalExprSwitchContext(lfirst(lc), b->css.ss.ps.ps_ExprContext, &isnull);
	}
}

static void
count(BatchCounts *counts, const ExecCounters *before)
{
	const ExecCounters *now = exec_counters();

	counts->batches += now->batches - before->batches;
	counts->rows += now->rows - before->rows;
	counts->tokens += now->tokens - before->tokens;
	counts->duplicates += now->duplicates - before->duplicates;
	counts->memo_hits += now->memo_hits - before->memo_hits;
	counts->vector_hits += now->vector_hits - before->vector_hits;
	counts->prefix_hits += now->prefix_hits - before->prefix_hits;
}

void
batch_answer(BatchState *b)
{
	ExecCounters before;
	Part		part = {.b = b};

	ResetExprContext(b->css.ss.ps.ps_ExprContext);
	evaluate_params(b);
	before = *exec_counters();
	for (part.first = 0; part.first < b->n_rows; part.first += part.n)
	{
		if (try_part(&part))
			continue;
		/* The rows from here on say for themselves what is wrong with them. */
		b->step = 1;
		break;
	}
	count(&b->counts, &before);
}
