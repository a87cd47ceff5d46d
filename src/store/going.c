/*
 * going.c
 *	  Files that go with the end of a transaction: a model's that it has brought, replaced or dropped, and one half written.
 *
 * Best effort: a crash at that end, or a transaction that was prepared, leaves a file to store_sweep().
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "store.h"

typedef struct FileToGo
{
	struct FileToGo *next;
	SubTransactionId subxact;
	XactEvent	when;			/* XACT_EVENT_ABORT or XACT_EVENT_COMMIT */
	char		path[FLEXIBLE_ARRAY_MEMBER];
} FileToGo;

static FileToGo *files_to_go;	/* in TopMemoryContext */

/* Take from the list those of one subtransaction (0: all), and from the folder those whose time has come. */
static void
settle_files(SubTransactionId subxact, XactEvent event)
{
	FileToGo  **link = &files_to_go;

	while (*link != NULL)
	{
		FileToGo   *f = *link;

		if (subxact != InvalidSubTransactionId && f->subxact != subxact)
		{
			link = &f->next;
			continue;
		}
		if (f->when == event)
			store_unlink_model(f->path);
		*link = f->next;
		pfree(f);
	}
}

static void
at_xact_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		settle_files(InvalidSubTransactionId, event);
	else if (event == XACT_EVENT_PARALLEL_ABORT || event == XACT_EVENT_PARALLEL_COMMIT)
		settle_files(InvalidSubTransactionId, event == XACT_EVENT_PARALLEL_ABORT ? XACT_EVENT_ABORT : XACT_EVENT_COMMIT);
}

static void
at_subxact_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		settle_files(mine, XACT_EVENT_ABORT);
	for (FileToGo *f = files_to_go; event == SUBXACT_EVENT_COMMIT_SUB && f != NULL; f = f->next)
		if (f->subxact == mine)
			f->subxact = parent;
}

void
store_file_goes(const char *path, XactEvent when)
{
	static bool registered;
	FileToGo   *f = MemoryContextAllocZero(TopMemoryContext, offsetof(FileToGo, path) + strlen(path) + 1);

	if (!registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		RegisterSubXactCallback(at_subxact_end, NULL);
		registered = true;
	}
	f->subxact = GetCurrentSubTransactionId();
	f->when = when;
	strcpy(f->path, path);
	f->next = files_to_go;
	files_to_go = f;
}
