/*
 * uses.c
 *	  No transaction may commit answers under a name that stands for other weights by then.
 *
 * A model is replaced only while nothing rests on its name (dependents.c), or with all that does.  But what another
 * transaction is about to build, an index say, is not seen before that commits, and a transaction
 * with an old snapshot goes on with the old weights.  So a transaction that writes looks again
 * just before it commits: whoever comes second, it or the replacement, fails.  The lock on
 * the name is what makes one of them the second.
 *
 * Parallel workers that build an index or fill a materialized view have no commit of their own, and the leader may have met
 * no row: its use is noted when the expression is planned (src/sql/plan.c) or the query starts (src/exec/batch_asked.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "store.h"

typedef struct Use
{
	struct Use *next;
	Oid			catalog;
	char		sha256[STORE_HEX_LEN + 1];
	char		name[FLEXIBLE_ARRAY_MEMBER];
} Use;

static Use *uses;				/* in TopTransactionContext */
static LocalTransactionId transaction;	/* that they are of */

/*
 * Beside the number that a training holds (src/tune/run.c).  Of two names with one hash, one waits for the other: no
 * harm.
 */
#define USE_SUBID 1

static void
lock_name(Oid catalog, const char *name, LOCKMODE mode)
{
	LockDatabaseObject(catalog, (Oid) fsi_hash64(name, strlen(name), 0), USE_SUBID, mode);
}

void
store_lock_replace(const char *name)
{
	lock_name(store_catalog_relid(), name, AccessExclusiveLock);
}

void
store_wait_replace(const char *name)
{
	Oid			catalog = store_catalog_relid();

	lock_name(catalog, name, AccessExclusiveLock);
	UnlockDatabaseObject(catalog, (Oid) fsi_hash64(name, strlen(name), 0), USE_SUBID, AccessExclusiveLock);
}

static void
check_use(const Use *use)
{
	StoreRow	row;
	char	   *object;

	lock_name(use->catalog, use->name, AccessShareLock);
	/* Who replaces a name tells of it before that lock goes. */
	if (store_is_current(use->name, use->sha256))
		return;
	/* The extension may have been dropped since. */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(use->catalog)))
		return;
	if (!store_find(use->name, &row) || strcmp(row.sha256, use->sha256) == 0 || TransactionIdIsCurrentTransactionId(row.xmin))
		return;
	object = store_find_written(use->name);
	if (object != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("model \"%s\" was replaced while this transaction used it", use->name),
				 errdetail("The answers of %s would be of its former weights.", object),
				 errhint("Run the transaction again.")));
}

/* A procedure may commit any number of times in one memory context. */
static void
check_uses(void)
{
	MemoryContext context = AllocSetContextCreate(TopTransactionContext, "fsi_intent uses", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (const Use *use = uses; use != NULL; use = use->next)
		check_use(use);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
at_xact_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
	{
		/* Whoever has not written has nothing to keep. */
		if (uses != NULL && transaction == compat_lxid(MyProc) && TransactionIdIsValid(GetTopTransactionIdIfAny()))
			check_uses();
	}
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		uses = NULL;
}

void
store_note_use(const char *name, const char *sha256)
{
	static bool registered;
	Use		   *use;

	if (!registered)
		RegisterXactCallback(at_xact_end, NULL);
	registered = true;
	if (transaction != compat_lxid(MyProc))
		uses = NULL;
	transaction = compat_lxid(MyProc);
	for (use = uses; use != NULL; use = use->next)
		if (strcmp(use->name, name) == 0 && strcmp(use->sha256, sha256) == 0)
			return;
	use = MemoryContextAlloc(TopTransactionContext, offsetof(Use, name) + strlen(name) + 1);
	use->catalog = store_catalog_relid();
	strlcpy(use->sha256, sha256, sizeof(use->sha256));
	strcpy(use->name, name);
	use->next = uses;
	uses = use;
}
