/*
 * going.c
 *	  Files of models that go with the end of a transaction: one that it has brought, one that it replaces.
 *
 * A server that crashes at that end would keep them for good.  So an empty file, "goes-", the
 * database, the identity, says beforehand which; whoever next brings a model to the database
 * does what is left to do.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "store.h"

typedef struct FileToGo
{
	struct FileToGo *next;
	SubTransactionId subxact;
	XactEvent	when;			/* XACT_EVENT_ABORT or XACT_EVENT_COMMIT */
	char		sha256[STORE_HEX_LEN + 1];
} FileToGo;

static FileToGo *files_to_go;	/* in TopMemoryContext */

static char *
mark_name(const char *sha256)
{
	return psprintf("goes-%u-%s", MyDatabaseId, sha256);
}

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
			store_unlink_cached(f->sha256);
		unlink(store_cache_path(mark_name(f->sha256)));
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
store_file_goes(const char *sha256, XactEvent when)
{
	static bool registered;
	FileToGo   *f = MemoryContextAllocZero(TopMemoryContext, sizeof(FileToGo));

	if (!registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		RegisterSubXactCallback(at_subxact_end, NULL);
		registered = true;
	}
	f->subxact = GetCurrentSubTransactionId();
	f->when = when;
	strlcpy(f->sha256, sha256, sizeof(f->sha256));
	f->next = files_to_go;
	files_to_go = f;
	/* Without the mark a crash may leave a file: a pity, not an error. */
	store_touch(mark_name(sha256));
}

static bool
is_to_go(const char *sha256)
{
	for (FileToGo *f = files_to_go; f != NULL; f = f->next)
		if (strcmp(f->sha256, sha256) == 0)
			return true;
	return false;
}

/* What a crash has left of this database, or of one that is no more. */
void
store_remove_left_files(void)
{
	ListCell   *cell;

	foreach(cell, store_names_in(store_cache_path("")))
	{
		const char *name = lfirst(cell);
		Oid			database;
		char		sha256[STORE_HEX_LEN + 1];

		if (sscanf(name, "goes-%u-%64[0-9a-f]", &database, sha256) != 2 || is_to_go(sha256))
			continue;
		if (database == MyDatabaseId ? !store_identity_in_use(sha256) :
			!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			store_unlink_cached(sha256);
		else if (database != MyDatabaseId)
			continue;
		unlink(store_cache_path(name));
	}
}
