/*
 * mapping.c
 *	  From a name to a mapped model: one mapping per model and backend, kept while a name stands for it.
 *
 * Names are looked up in the catalog once and again after every invalidation of that table;
 * the mapping of an identity never changes, even when the file's name gets new contents.  A model
 * that no name stands for is unmapped at the end of the transaction, when no call is at work with it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "storage/fd.h"
#include "storage/proc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "store.h"

/* What tells a snapshot from those taken before and after it. */
typedef struct Moment
{
	LocalTransactionId transaction; /* where there is no snapshot */
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
} Moment;

/* What a name stood for when it was last looked up. */
typedef struct NameEntry
{
	struct NameEntry *next;
	uint64		generation;
	StoreModel *model;
	Moment		moment;			/* when it stands for that */
	LocalTransactionId brought_by;	/* the transaction that has brought it, if that is not over */
	char		name[STORE_NAME_MAX + 1];
	char		own_name[STORE_NAME_MAX + 1];	/* the model's, where that is "default" */
} NameEntry;

static MemoryContext context;
static StoreModel *models;
static NameEntry *names;
static uint64 last_serial;
static bool has_unnamed;		/* there may be models that no name stands for */
static bool has_asked_former;	/* this transaction has asked weights that a name no longer stands for */
static void (*forget_model) (const StoreModel *model);
static uint64 generation = 1;
static bool catalog_changed = true; /* since names were looked at; or an old snapshot has had a file written */
static Oid	catalog_relid;

static void
relcache_callback(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || !OidIsValid(catalog_relid) || relid == catalog_relid)
	{
		generation++;
		catalog_changed = true;
	}
	/* A plan may have calls of constants in it as what they answered. */
	if (OidIsValid(catalog_relid) && relid == catalog_relid)
		ResetPlanCache();
}

static bool
has_name(const StoreModel *model)
{
	for (const NameEntry *entry = names; entry != NULL; entry = entry->next)
		if (entry->model == model)
			return true;
	return false;
}

/*
 * Plans, and expressions of indexes, outlive a transaction's snapshot with what former weights answered to calls of
 * constants.  Before it commits, for after that the caches' own snapshot would be told to others as one in use.
 */
static void
forget_former(XactEvent event)
{
	if (!has_asked_former || !(event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE || event == XACT_EVENT_ABORT))
		return;
	has_asked_former = false;
	ResetPlanCache();
	InvalidateSystemCaches();
}

/* Portals have ended or been materialised by then; a procedure that goes on after its commit holds what it uses. */
static void
at_xact_end(XactEvent event, void *arg)
{
	StoreModel **link = &models;

	(void) arg;
	forget_former(event);
	/* Its number joins those that a snapshot lists, so that the next one's figures may be the same although another has ended. */
	if (event == XACT_EVENT_PREPARE)
		generation++;
	if (!has_unnamed || !(event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE))
		return;
	has_unnamed = false;
	while (*link != NULL)
	{
		StoreModel *model = *link;

		if (model->holds > 0 || has_name(model))
		{
			link = &model->next;
			continue;
		}
		*link = model->next;
		if (forget_model != NULL)
			forget_model(model);
		store_close(model);
		MemoryContextDelete((MemoryContext) model->host.ctx);
	}
}

static void
init_once(void)
{
	if (context != NULL)
		return;
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	RegisterXactCallback(at_xact_end, NULL);
	context = AllocSetContextCreate(TopMemoryContext, "fsi_intent models", ALLOCSET_SMALL_SIZES);
}

/* Counted from the first time that anybody asks. */
uint64
store_generation(void)
{
	init_once();
	return generation;
}

void
store_on_unmap(void (*forget) (const StoreModel *model))
{
	forget_model = forget;
}

void
store_hold(const StoreModel *model)
{
	((StoreModel *) model)->holds++;
}

void
store_let_go(const StoreModel *model)
{
	((StoreModel *) model)->holds--;
	has_unnamed = true;
}

static void
write_chunks(const char *name, const char *sha256, const char *tmp)
{
	int			fd = store_create(tmp);

	if (store_read_chunks(sha256, fd, tmp) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the weights of model \"%s\" are missing from _fsi_model_chunk", name),
				 errhint("Restore the extension's tables, or import the model again.")));
	store_finish(fd, tmp);
}

/* Write an imported model's file from its chunks; an error leaves nothing of it. */
static void
unpack(const char *name, const char *sha256, const char *path)
{
	char	   *tmp = store_import_path();

	write_chunks(name, sha256, tmp);
	durable_rename(tmp, path, ERROR);
}

static void
report_other_weights(const StoreRow *row, const StoreModel *found, const char *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("file of model \"%s\" holds other weights than this database was set up with", row->name),
			 errdetail("Expected identity %.16s, found %.16s in \"%s\".", row->sha256, found->sha256, path),
			 RecoveryInProgress() ? errhint("Install the version of fsi_intent that the primary server has.") :
			 errhint("Install the version of fsi_intent that this database was set up with, or change over to these weights with SELECT * FROM fsi_rebuild().")));
}

static bool
is_lost(FsiStatus status, const StoreModel *model, const StoreRow *row)
{
	return status == FSI_MISSING || status == FSI_CORRUPT ||
		(status == FSI_OK && strcmp(model->sha256, row->sha256) != 0);
}

/* Map the model of a row that this backend has not mapped yet. */
static StoreModel *
map_row(const StoreRow *row)
{
	FsiError	err = {0};
	char	   *path = row->shipped ? store_shipped_path() : store_model_path(row->sha256);
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent model", ALLOCSET_SMALL_SIZES);
	StoreModel *model = MemoryContextAllocZero(cxt, sizeof(StoreModel));
	FsiStatus	status = store_open_checked(path, row->sha256, cxt, model, &err);

	/* A file that is missing or damaged is written again; one of former weights may go in between. */
	for (int attempt = 0; attempt < 3 && !row->shipped && is_lost(status, model, row); attempt++)
	{
		if (status == FSI_OK)
			store_close(model);
		unpack(row->name, row->sha256, path);
		status = store_open_checked(path, row->sha256, cxt, model, &err);
		catalog_changed = true;
	}
	if (status != FSI_OK)
		store_report_open_failure(row->shipped, path, &err);
	if (strcmp(model->sha256, row->sha256) != 0)
	{
		store_close(model);
		report_other_weights(row, model, path);
	}
	MemoryContextSetParent(cxt, context);
	model->serial = ++last_serial;
	model->next = models;
	models = model;
	has_unnamed = true;
	return model;
}

static StoreModel *
find_mapped(const char *sha256)
{
	for (StoreModel *m = models; m != NULL; m = m->next)
		if (strcmp(m->sha256, sha256) == 0)
			return m;
	return NULL;
}

static bool
is_seen(const StoreRow *row)
{
	Snapshot	snapshot = GetActiveSnapshot();

	if (snapshot->snapshot_type != SNAPSHOT_MVCC)
		return true;
	return TransactionIdIsCurrentTransactionId(row->xmin) ? row->cmin < snapshot->curcid :
		!XidInMVCCSnapshot(row->xmin, snapshot);
}

/*
 * The name's row as it is now, unless the statement's snapshot sees older weights under the
 * name: a statement has all its answers from one file.  False: none.  *settled: there is no
 * snapshot in this backend that may see another row.
 */
static bool
find_row(const char *name, StoreRow *row, bool *settled)
{
	StoreRow	older;

	if (!store_find(name, row))
		return false;
	*settled = !ActiveSnapshotSet() || TransactionIdPrecedes(row->xmin, TransactionXmin);
	if (!*settled && !is_seen(row) && store_find_in(name, GetActiveSnapshot(), &older) && !older.dropped)
	{
		has_asked_former = true;
		*row = older;
	}
	return true;
}

/* Names that do not stand for their model any more. */
static void
forget_names(void)
{
	NameEntry **link = &names;

	while (*link != NULL)
	{
		NameEntry  *entry = *link;
		StoreRow	row;
		bool		settled;

		if (find_row(entry->name, &row, &settled) && !row.dropped && strcmp(row.sha256, entry->model->sha256) == 0)
		{
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		pfree(entry);
		has_unnamed = true;
	}
}

/* Let go of what the catalog does not have any more: of this backend's mappings, and of the server's files. */
static void
tidy_up(void)
{
	bool		due = catalog_changed;

	catalog_changed = false;
	if (!due)
		return;
	forget_names();
	store_sweep_unless_busy();
}

static StoreModel *
look_up(const char *name, StoreRow *row, bool *settled)
{
	StoreModel *model;

	catalog_relid = store_catalog_relid();
	tidy_up();
	if (!find_row(name, row, settled) || row->dropped)
		store_report_no_model(name);
	model = find_mapped(row->sha256);
	if (model == NULL)
		model = map_row(row);
	tidy_up();
	return model;
}

/*
 * Answers of weights that this very transaction has brought need no look at its end: nobody else can replace those, and
 * where they are rolled back their answers are, too.
 */
static const StoreModel *
used(const NameEntry *entry)
{
	if (entry->brought_by != compat_lxid(MyProc))
		store_note_use(entry->own_name, entry->model->sha256);
	return entry->model;
}

bool
store_is_current(const char *name, const char *sha256)
{
	const NameEntry *entry;

	for (entry = names; entry != NULL; entry = entry->next)
		if (entry->generation == generation && strcmp(entry->own_name, name) == 0)
			return strcmp(entry->model->sha256, sha256) == 0;
	return false;
}

static NameEntry *
find_entry(const char *name)
{
	for (NameEntry *entry = names; entry != NULL; entry = entry->next)
		if (strcmp(entry->name, name) == 0)
			return entry;
	return NULL;
}

/*
 * Snapshots see a commit before its invalidations arrive.  So what a name stands for holds for one snapshot:
 * all rows of a statement have their answers from the same weights, and so have statements of one snapshot.
 * Another transaction's snapshot of these figures sees the same: below one xmax, transactions can only end, and each
 * that ends is one less.  (What this backend's own have done, its invalidations tell at once.)
 */
static Moment
moment_now(void)
{
	Moment		m = {0};

	if (!ActiveSnapshotSet())
		m.transaction = compat_lxid(MyProc);
	else
	{
		Snapshot	snapshot = GetActiveSnapshot();

		m.xmin = snapshot->xmin;
		m.xmax = snapshot->xmax;
		m.xcnt = snapshot->xcnt;
		m.subxcnt = snapshot->subxcnt;
	}
	return m;
}

static bool
is_now(const Moment *m)
{
	Moment		now = moment_now();

	return now.transaction == m->transaction && now.xmin == m->xmin && now.xmax == m->xmax && now.xcnt == m->xcnt &&
		now.subxcnt == m->subxcnt;
}

static bool
is_known(const NameEntry *entry)
{
	return entry->generation == generation && is_now(&entry->moment);
}

/* Each statement that stores answers asks, before its first row does: what is found then need not be looked up again. */
void
store_note_kept(const char *name)
{
	NameEntry  *entry;
	uint64		seen;
	StoreRow	row;
	bool		settled;

	init_once();
	entry = find_entry(name);
	if (entry != NULL && is_known(entry))
	{
		(void) used(entry);
		return;
	}
	seen = generation;
	if (strlen(name) > STORE_NAME_MAX || !find_row(name, &row, &settled) || row.dropped)
		return;
	if (entry != NULL && settled && entry->generation == seen && generation == seen &&
		strcmp(entry->model->sha256, row.sha256) == 0)
		entry->moment = moment_now();
	if (!TransactionIdIsCurrentTransactionId(row.xmin))
		store_note_use(row.name, row.sha256);
}

void
store_note_any_kept(void)
{
	ListCell   *lc;

	foreach(lc, store_rows())
		store_note_kept(((const StoreRow *) lfirst(lc))->name);
}

const StoreModel *
store_model(const char *name)
{
	NameEntry  *entry;
	StoreModel *model;
	uint64		seen;
	bool		settled;
	StoreRow	row;

	init_once();
	if (name == NULL)
		name = STORE_DEFAULT_NAME;
	entry = find_entry(name);
	if (entry != NULL && is_known(entry))
		return used(entry);
	if (strlen(name) > STORE_NAME_MAX)
		store_report_no_model(name);

	/* An invalidation during the look-up makes the next call look again, and so does what another snapshot may see. */
	seen = generation;
	model = look_up(name, &row, &settled);
	if (!settled)
		generation++;
	/* The look-up may have forgotten it. */
	entry = find_entry(name);
	if (entry == NULL)
	{
		entry = MemoryContextAllocZero(context, sizeof(NameEntry));
		strlcpy(entry->name, name, sizeof(entry->name));
		entry->next = names;
		names = entry;
	}
	has_unnamed |= entry->model != model;
	entry->model = model;
	strlcpy(entry->own_name, row.name, sizeof(entry->own_name));
	entry->generation = seen;
	entry->moment = moment_now();
	entry->brought_by = TransactionIdIsCurrentTransactionId(row.xmin) ? compat_lxid(MyProc) : InvalidLocalTransactionId;
	return used(entry);
}
