/*
 * going.c
 *	  What goes with the end of a transaction: a model's file that it has brought, replaced or dropped, one half
 *	  written; a training's folder that it has discarded.
 *
 * Best effort: a crash at that end, or a transaction that was prepared, leaves a file to store_sweep().  Nothing would
 * ever take a discarded folder for one: a crash leaves the training as it was, and such a transaction cannot be
 * prepared.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "store.h"

typedef struct ToGo
{
	struct ToGo *next;
	SubTransactionId subxact;
	XactEvent	when;			/* XACT_EVENT_ABORT or XACT_EVENT_COMMIT */
	void		(*remove) (const char *path);
	const char *deed;			/* what a transaction has done that cannot be prepared, or NULL */
	char		path[FLEXIBLE_ARRAY_MEMBER];
} ToGo;

static ToGo *to_go;				/* in TopMemoryContext */

/* Take from the list those of one subtransaction (0: all), and from the disk those whose time has come. */
static void
settle(SubTransactionId subxact, XactEvent event)
{
	ToGo	  **link = &to_go;

	while (*link != NULL)
	{
		ToGo	   *f = *link;

		if (subxact != InvalidSubTransactionId && f->subxact != subxact)
		{
			link = &f->next;
			continue;
		}
		if (f->when == event)
			f->remove(f->path);
		*link = f->next;
		pfree(f);
	}
}

static void
check_prepare(void)
{
	for (ToGo *f = to_go; f != NULL; f = f->next)
		if (f->deed != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has %s", f->deed)));
}

static void
at_xact_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_PRE_PREPARE)
		check_prepare();
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		settle(InvalidSubTransactionId, event);
	else if (event == XACT_EVENT_PARALLEL_ABORT || event == XACT_EVENT_PARALLEL_COMMIT)
		settle(InvalidSubTransactionId, event == XACT_EVENT_PARALLEL_ABORT ? XACT_EVENT_ABORT : XACT_EVENT_COMMIT);
}

static void
at_subxact_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		settle(mine, XACT_EVENT_ABORT);
	for (ToGo *f = to_go; event == SUBXACT_EVENT_COMMIT_SUB && f != NULL; f = f->next)
		if (f->subxact == mine)
			f->subxact = parent;
}

static void
goes(const char *path, XactEvent when, void (*remove) (const char *path), const char *deed)
{
	static bool registered;
	ToGo	   *f = MemoryContextAllocZero(TopMemoryContext, offsetof(ToGo, path) + strlen(path) + 1);

	if (!registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		RegisterSubXactCallback(at_subxact_end, NULL);
		registered = true;
	}
	f->subxact = GetCurrentSubTransactionId();
	f->when = when;
	f->remove = remove;
	f->deed = deed;
	strcpy(f->path, path);
	f->next = to_go;
	to_go = f;
}

void
store_file_goes(const char *path, XactEvent when)
{
	goes(path, when, store_unlink_model, NULL);
}

void
store_folder_goes(const char *path, void (*remove) (const char *path), const char *deed)
{
	goes(path, XACT_EVENT_COMMIT, remove, deed);
}

bool
store_folder_is_going(const char *path)
{
	for (ToGo *f = to_go; f != NULL; f = f->next)
		if (f->deed != NULL && strcmp(f->path, path) == 0)
			return true;
	return false;
}

void
store_folder_stays(const char *path)
{
	for (ToGo **link = &to_go; *link != NULL; link = &(*link)->next)
	{
		ToGo	   *f = *link;

		if (f->deed == NULL || strcmp(f->path, path) != 0)
			continue;
		*link = f->next;
		pfree(f);
		return;
	}
}
