/*
 * progress.c
 *	  What any session sees of trainings: a few slots of shared memory, and the view's function.
 *
 * A slot belongs to the process that took it until its training ends; then it tells how that
 * ended until another training takes it, one of the same name first.  A copy is made under a
 * spinlock: some hundred bytes.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "tune.h"

/* Another layout, another name: two versions of the library may meet in one server. */
#define SLOTS_NAME "fsi_intent trainings 1"
#define N_SLOTS 32

struct TuneSlot
{
	slock_t		mutex;
	TuneProgress progress;
};

typedef struct Slots
{
	slock_t		mutex;			/* of who has which */
	TuneSlot	slots[N_SLOTS];
} Slots;

static Slots *slots;
static bool attached;

PG_FUNCTION_INFO_V1(fsi_training);

static void
init_slots(void *memory)
{
	Slots	   *s = memory;

	memset(s, 0, sizeof(*s));
	SpinLockInit(&s->mutex);
	for (int i = 0; i < N_SLOTS; i++)
		SpinLockInit(&s->slots[i].mutex);
}

static Slots *
attach(void)
{
	if (!attached)
		slots = session_shared_memory(SLOTS_NAME, sizeof(Slots), init_slots);
	attached = true;
	return slots;
}

void
tune_init(void)
{
	session_request_memory(sizeof(Slots));
	tune_memory_init();
}

static bool
is_over(const TuneProgress *p)
{
	return p->state == TUNE_FREE || p->state >= TUNE_FINISHED;
}

static bool
is_same_model(const TuneProgress *a, const TuneProgress *b)
{
	return a->state != TUNE_FREE && a->database == b->database && strcmp(a->name, b->name) == 0;
}

/* Of the same name, else a free one, else the one whose training ended first. */
static TuneSlot *
choose_slot(const TuneProgress *progress)
{
	TuneSlot   *chosen = NULL;

	for (int i = 0; i < N_SLOTS; i++)
	{
		TuneSlot   *slot = &slots->slots[i];

		if (!is_over(&slot->progress))
			continue;
		if (is_same_model(&slot->progress, progress))
			return slot;
		if (chosen == NULL || slot->progress.ended < chosen->progress.ended)
			chosen = slot;
	}
	return chosen;
}

void
tune_progress_clear(TuneProgress *p)
{
	memset(p, 0, sizeof(*p));
	p->epoch = p->tokens_per_second = p->seconds_left = p->loss = p->learning_rate = NAN;
	p->eval = TUNE_NO_FIGURES;
	p->best_step = -1;
}

TuneSlot *
tune_slot_take(const TuneProgress *progress)
{
	TuneSlot   *slot;

	if (attach() == NULL)
		return NULL;
	SpinLockAcquire(&slots->mutex);
	slot = choose_slot(progress);
	if (slot != NULL)
		tune_slot_show(slot, progress);
	SpinLockRelease(&slots->mutex);
	return slot;
}

void
tune_slot_show(TuneSlot *slot, const TuneProgress *progress)
{
	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->mutex);
	slot->progress = *progress;
	SpinLockRelease(&slot->mutex);
}

/* ---- The view. ---- */

#define TRAINING_COLUMNS 20

static const char *
state_name(TuneState state)
{
	static const char *const names[] = {
		[TUNE_READING] = "reading", [TUNE_ENCODING] = "encoding", [TUNE_TRAINING] = "training",
		[TUNE_EVALUATING] = "evaluating", [TUNE_SAVING] = "saving", [TUNE_REGISTERING] = "registering",
		[TUNE_FINISHED] = "finished", [TUNE_FAILED] = "failed", [TUNE_CANCELED] = "canceled",
		[TUNE_INTERRUPTED] = "interrupted"
	};

	return names[state];
}

typedef struct Columns
{
	Datum		values[TRAINING_COLUMNS];
	bool		nulls[TRAINING_COLUMNS];
	int			n;
} Columns;

static void
put(Columns *c, Datum value, bool isnull)
{
	c->values[c->n] = isnull ? (Datum) 0 : value;
	c->nulls[c->n++] = isnull;
}

static void
put_number(Columns *c, double number)
{
	put(c, Float8GetDatum(number), isnan(number));
}

static void
put_time(Columns *c, TimestampTz time)
{
	put(c, TimestampTzGetDatum(time), time == 0);
}

/* When it will be at its last step, or at its first, at the pace that it has had. */
static TimestampTz
expected_end(const TuneProgress *p)
{
	if (is_over(p) || isnan(p->seconds_left) || p->seconds_left > 1e9)
		return 0;
	return GetCurrentTimestamp() + (TimestampTz) (p->seconds_left * USECS_PER_SEC);
}

static void
put_progress(ReturnSetInfo *rsinfo, const TuneProgress *p)
{
	bool		begun = p->max_steps > 0;
	Columns		c = {.n = 0};

	put(&c, Int32GetDatum(p->pid), is_over(p));
	put(&c, CStringGetTextDatum(p->name), false);
	put(&c, CStringGetTextDatum(p->base), p->base[0] == '\0');
	put(&c, ObjectIdGetDatum(p->role), false);
	put(&c, CStringGetTextDatum(state_name(p->state)), false);
	put(&c, Int64GetDatum(p->step), !begun);
	put(&c, Int64GetDatum(p->max_steps), !begun);
	put_number(&c, p->epoch);
	put_number(&c, p->tokens_per_second);
	put_number(&c, p->loss);
	put_number(&c, p->learning_rate);
	put_number(&c, p->eval.loss);
	put_number(&c, p->eval.accuracy);
	put_number(&c, p->eval.outside);
	put_number(&c, p->eval.wrong);
	put(&c, Int64GetDatum(p->best_step), p->best_step < 0);
	put_time(&c, p->started);
	put_time(&c, p->ended);
	put_time(&c, expected_end(p));
	put(&c, CStringGetTextDatum(p->message), p->message[0] == '\0');
	Assert(c.n == TRAINING_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, c.values, c.nulls);
}

static bool
may_see(const TuneProgress *p)
{
	return has_privs_of_role(GetUserId(), p->role) || has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* The slots' rows; the names of them. */
static List *
put_slots(ReturnSetInfo *rsinfo)
{
	List	   *names = NIL;

	for (int i = 0; i < N_SLOTS; i++)
	{
		TuneProgress progress;

		SpinLockAcquire(&slots->slots[i].mutex);
		progress = slots->slots[i].progress;
		SpinLockRelease(&slots->slots[i].mutex);
		if (progress.state == TUNE_FREE || progress.database != MyDatabaseId || !may_see(&progress))
			continue;
		put_progress(rsinfo, &progress);
		names = lappend(names, pstrdup(progress.name));
	}
	return names;
}

static bool
is_among(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* What can be gone on with, though no slot tells of it. */
static void
put_left(ReturnSetInfo *rsinfo, const List *shown)
{
	ListCell   *cell;

	foreach(cell, tune_folders_left())
	{
		const TuneLeft *left = lfirst(cell);
		TuneProgress p;

		tune_progress_clear(&p);
		p.state = TUNE_INTERRUPTED;
		p.role = left->role;
		strlcpy(p.name, left->name, sizeof(p.name));
		if (may_see(&p) && !is_among(shown, p.name) &&
			!session_is_held(TUNE_HOLDS, tune_name_id(p.name)))
			put_progress(rsinfo, &p);
	}
}

/* The trainings of this database that the caller may see. */
Datum
fsi_training(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	put_left(rsinfo, attach() != NULL ? put_slots(rsinfo) : NIL);
	return (Datum) 0;
}
