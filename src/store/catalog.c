/*
 * catalog.c
 *	  Rows of _fsi_model_catalog and _fsi_model_chunk, read and written below SQL.
 *
 * Reading goes through systable scans, as core reads its own catalogs: no rights are
 * looked at, no search path, no planner, and it works in parallel workers, index builds
 * and on standbys.  A fresh snapshot is used each time.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store.h"

/* Columns from 0, in the order of sql/fsi_intent--1.0.sql; keys and heap_getattr() count them from 1. */
enum CatalogColumn
{
	CATALOG_NAME,
	CATALOG_SHA256,
	CATALOG_LAYOUT,
	CATALOG_SOURCE,
	CATALOG_IS_DEFAULT,
	CATALOG_SIZE,
	CATALOG_CARD,
	CATALOG_IMPORTED_AT,
	CATALOG_IMPORTED_BY,
	CATALOG_DROPPED_AT,
	CATALOG_OWNER,
	CATALOG_COLUMNS
};

enum ChunkColumn
{
	CHUNK_SHA256,
	CHUNK_NO,
	CHUNK_DATA,
	CHUNK_COLUMNS
};

/* A chunk is read and written whole: small enough for any backend's memory, large enough to be few. */
#define CHUNK_BYTES (1024 * 1024)

static Oid
find_extension_schema(void)
{
	Oid			extension = get_extension_oid("fsi_intent", true);
	Oid			schema = InvalidOid;
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(extension))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"fsi_intent\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION fsi_intent.")));
	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

/* Where the extension's tables are, as long as the catalog of models is the one that was found there. */
static Oid	known_schema;
static Oid	known_catalog;

static void
forget_schema(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == known_catalog)
		known_schema = InvalidOid;
}

static Oid
extension_schema(void)
{
	static bool registered;
	Oid			schema;

	if (OidIsValid(known_schema))
		return known_schema;
	if (!registered)
		CacheRegisterRelcacheCallback(forget_schema, (Datum) 0);
	registered = true;
	schema = find_extension_schema();
	known_catalog = get_relname_relid("_fsi_model_catalog", schema);
	if (OidIsValid(known_catalog))
		known_schema = schema;
	return schema;
}

Oid
store_relation(const char *name)
{
	Oid			relid = get_relname_relid(name, extension_schema());

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" of extension \"fsi_intent\" is missing", name)));
	return relid;
}

bool
store_is_there(void)
{
	if (IsBinaryUpgrade)
		return false;
	return OidIsValid(known_schema) || (OidIsValid(get_extension_oid("fsi_intent", true)) &&
										OidIsValid(get_relname_relid("_fsi_model_catalog", extension_schema())));
}

/* Whoever waited for the lock while the extension was dropped is told so, as one that comes later. */
Relation
store_open_table(const char *name, LOCKMODE mode)
{
	Relation	rel;

	do
		rel = try_table_open(store_relation(name), mode);
	while (rel == NULL);
	return rel;
}

Oid
store_catalog_relid(void)
{
	return store_relation("_fsi_model_catalog");
}

/* ---- Who brings or drops models, one at a time. ---- */

/* Beside those of names (uses.c). */
#define BRING_SUBID 2

/*
 * Not a lock on the table alone: one that only one has at a time would be in the way of VACUUM and REINDEX
 * CONCURRENTLY, and the latter, which waits for older snapshots, in the way of who waits for it with his statement's.
 */
void
store_lock_catalog(void)
{
	Oid			catalog = store_catalog_relid();

	InvalidateCatalogSnapshot();
	LockDatabaseObject(catalog, InvalidOid, BRING_SUBID, ExclusiveLock);
	LockRelationOid(catalog, RowExclusiveLock);
}

bool
store_try_lock_catalog(LOCKTAG *lock)
{
	SET_LOCKTAG_OBJECT(*lock, MyDatabaseId, store_catalog_relid(), InvalidOid, BRING_SUBID);
	return LockAcquire(lock, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

const char *
store_layout_name(Gpt2Layout layout)
{
	return layout == GPT2_SEGMENTS ? "segments" : "prompt";
}

/* Scan for key = value, through the primary key's index. */
static SysScanDesc
scan_by_text(Relation rel, const char *index, int column, const char *value, Snapshot snapshot, ScanKeyData *key)
{
	ScanKeyInit(key, column + 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(value));
	return systable_beginscan(rel, store_relation(index), true, snapshot, 1, key);
}

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column + 1, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static Jsonb *
card_column(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, CATALOG_CARD + 1, desc, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static void
read_row(HeapTuple tuple, TupleDesc desc, StoreRow *row)
{
	bool		isnull;
	Datum		owner;

	row->name = text_column(tuple, desc, CATALOG_NAME);
	strlcpy(row->sha256, text_column(tuple, desc, CATALOG_SHA256), sizeof(row->sha256));
	row->source = text_column(tuple, desc, CATALOG_SOURCE);
	row->shipped = strcmp(row->source, "shipped") == 0;
	row->layout = strcmp(text_column(tuple, desc, CATALOG_LAYOUT), store_layout_name(GPT2_PROMPT)) == 0 ?
		GPT2_PROMPT : GPT2_SEGMENTS;
	row->size = DatumGetInt64(heap_getattr(tuple, CATALOG_SIZE + 1, desc, &isnull));
	owner = heap_getattr(tuple, CATALOG_OWNER + 1, desc, &isnull);
	row->owner = isnull ? InvalidOid : DatumGetObjectId(owner);
	(void) heap_getattr(tuple, CATALOG_DROPPED_AT + 1, desc, &isnull);
	row->dropped = !isnull;
	row->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	row->cmin = TransactionIdIsCurrentTransactionId(row->xmin) ? HeapTupleHeaderGetCmin(tuple->t_data) : FirstCommandId;
}

/* row or card may be NULL. */
static bool
find(const char *name, Snapshot snapshot, StoreRow *row, Jsonb **card)
{
	Relation	rel = store_open_table("_fsi_model_catalog", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	if (name != NULL && strcmp(name, STORE_DEFAULT_NAME) == 0)
		name = NULL;
	if (name != NULL)
		scan = scan_by_text(rel, "_fsi_model_catalog_pkey", CATALOG_NAME, name, snapshot, &key);
	else
		scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (name == NULL && !DatumGetBool(heap_getattr(tuple, CATALOG_IS_DEFAULT + 1, RelationGetDescr(rel), &isnull)))
			continue;
		if (row != NULL)
			read_row(tuple, RelationGetDescr(rel), row);
		if (card != NULL)
			*card = card_column(tuple, RelationGetDescr(rel));
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

bool
store_find(const char *name, StoreRow *row)
{
	return find(name, NULL, row, NULL);
}

void
store_report_no_model(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model \"%s\" does not exist", host_excerpt(name, strlen(name))),
			 errhint("The view fsi_models lists the models of this database.")));
}

bool
store_find_in(const char *name, Snapshot snapshot, StoreRow *row)
{
	return find(name, snapshot, row, NULL);
}

Jsonb *
store_card(const char *name)
{
	Jsonb	   *card = NULL;

	(void) find(name, NULL, NULL, &card);
	return card;
}

List *
store_rows(void)
{
	Relation	rel = store_open_table("_fsi_model_catalog", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *rows = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		StoreRow   *row = palloc(sizeof(StoreRow));

		read_row(tuple, RelationGetDescr(rel), row);
		rows = lappend(rows, row);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return rows;
}

bool
store_identity_in_use(const char *sha256)
{
	Relation	rel = store_open_table("_fsi_model_catalog", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		used = false;

	while (!used && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		StoreRow	row;

		read_row(tuple, RelationGetDescr(rel), &row);
		used = !row.dropped && !row.shipped && strcmp(row.sha256, sha256) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return used;
}

/* The card as jsonb.  It is a courtesy: what the database's encoding may lack becomes a question mark. */
static Datum
card_datum(const FsiFile *file, bool *isnull)
{
	char	   *card = pnstrdup(file->card, file->card_len);
	bool		ascii_only = GetDatabaseEncoding() != PG_UTF8;

	*isnull = file->card_len == 0;
	if (*isnull)
		return (Datum) 0;
	for (char *c = card; ascii_only && *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(card));
}

/* All columns of a row that comes now, by whoever calls. */
static void
form_row(const char *name, const FsiFile *file, size_t size, const char *source, Datum *values, bool *nulls)
{
	bool		shipped = strcmp(source, "shipped") == 0;
	char		sha256[STORE_HEX_LEN + 1];

	memset(values, 0, sizeof(Datum) * CATALOG_COLUMNS);
	memset(nulls, 0, sizeof(bool) * CATALOG_COLUMNS);
	fsi_hex(file->sha256, FSI_SHA256_BYTES, sha256);
	values[CATALOG_NAME] = CStringGetTextDatum(name);
	values[CATALOG_SHA256] = CStringGetTextDatum(sha256);
	values[CATALOG_LAYOUT] = CStringGetTextDatum(store_layout_name(file->model.cfg.layout));
	values[CATALOG_SOURCE] = CStringGetTextDatum(source);
	values[CATALOG_IS_DEFAULT] = BoolGetDatum(shipped);
	values[CATALOG_SIZE] = Int64GetDatum((int64) size);
	values[CATALOG_CARD] = card_datum(file, &nulls[CATALOG_CARD]);
	nulls[CATALOG_IMPORTED_AT] = shipped;
	nulls[CATALOG_IMPORTED_BY] = shipped;
	nulls[CATALOG_OWNER] = shipped;
	if (!shipped)
	{
		values[CATALOG_IMPORTED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		values[CATALOG_IMPORTED_BY] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
		values[CATALOG_OWNER] = ObjectIdGetDatum(GetUserId());
	}
	nulls[CATALOG_DROPPED_AT] = true;
}

void
store_insert_row(const char *name, const FsiFile *file, size_t size, const char *source)
{
	Relation	rel = store_open_table("_fsi_model_catalog", RowExclusiveLock);
	Datum		values[CATALOG_COLUMNS];
	bool		nulls[CATALOG_COLUMNS];

	form_row(name, file, size, source, values, nulls);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CacheInvalidateRelcache(rel);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Update the columns that replaces names in the row of that name. */
static void
update_row(Relation rel, const char *name, Datum *values, bool *nulls, bool *replaces)
{
	ScanKeyData key;
	SysScanDesc scan = scan_by_text(rel, "_fsi_model_catalog_pkey", CATALOG_NAME, name, NULL, &key);
	HeapTuple	tuple = systable_getnext(scan);

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "model \"%s\" vanished", name);
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	systable_endscan(scan);
	CacheInvalidateRelcache(rel);
	CommandCounterIncrement();
}

void
store_replace_row(const char *name, const FsiFile *file, size_t size, const char *source)
{
	Relation	rel = store_open_table("_fsi_model_catalog", RowExclusiveLock);
	Datum		values[CATALOG_COLUMNS];
	bool		nulls[CATALOG_COLUMNS];
	bool		replaces[CATALOG_COLUMNS];

	form_row(name, file, size, source, values, nulls);
	memset(replaces, true, sizeof(replaces));
	replaces[CATALOG_NAME] = false;
	update_row(rel, name, values, nulls, replaces);
	table_close(rel, RowExclusiveLock);
}

void
store_mark_dropped(const char *name)
{
	Relation	rel = store_open_table("_fsi_model_catalog", RowExclusiveLock);
	Datum		values[CATALOG_COLUMNS] = {0};
	bool		nulls[CATALOG_COLUMNS] = {false};
	bool		replaces[CATALOG_COLUMNS] = {false};

	values[CATALOG_DROPPED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	replaces[CATALOG_DROPPED_AT] = true;
	update_row(rel, name, values, nulls, replaces);
	table_close(rel, RowExclusiveLock);
}

void
store_write_chunks(const char *sha256, const uint8_t *data, size_t size)
{
	Relation	rel = store_open_table("_fsi_model_chunk", RowExclusiveLock);
	Datum		values[CHUNK_COLUMNS];
	bool		nulls[CHUNK_COLUMNS] = {false};
	bytea	   *chunk = palloc(VARHDRSZ + CHUNK_BYTES);

	values[CHUNK_SHA256] = CStringGetTextDatum(sha256);
	values[CHUNK_DATA] = PointerGetDatum(chunk);
	for (size_t at = 0; at < size; at += CHUNK_BYTES)
	{
		size_t		n = Min(size - at, CHUNK_BYTES);
		HeapTuple	tuple;

		CHECK_FOR_INTERRUPTS();
		SET_VARSIZE(chunk, VARHDRSZ + n);
		memcpy(VARDATA(chunk), data + at, n);
		values[CHUNK_NO] = Int32GetDatum((int32) (at / CHUNK_BYTES));
		tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		CatalogTupleInsert(rel, tuple);
		heap_freetuple(tuple);
	}
	pfree(chunk);
	/* Kept, as that on its TOAST table: who wants both for himself is to wait for this one first. */
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

void
store_delete_chunks(const char *sha256)
{
	Relation	rel = store_open_table("_fsi_model_chunk", RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = scan_by_text(rel, "_fsi_model_chunk_pkey", CHUNK_SHA256, sha256, NULL, &key);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* In order of their numbers: the index has them so. */
static int
read_chunks(const char *sha256, Snapshot snapshot, int fd, const char *path)
{
	Relation	rel = store_open_table("_fsi_model_chunk", AccessShareLock);
	Relation	index = index_open(store_relation("_fsi_model_chunk_pkey"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			n = 0;

	ScanKeyInit(&key, CHUNK_SHA256 + 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(sha256));
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, CHUNK_DATA + 1, RelationGetDescr(rel), &isnull);
		bytea	   *data = DatumGetByteaPP(value);

		CHECK_FOR_INTERRUPTS();
		store_write_all(fd, path, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data));
		if ((Pointer) data != DatumGetPointer(value))
			pfree(data);
		n++;
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return n;
}

/* As they are now; an older snapshot still sees those of weights that were replaced meanwhile. */
int
store_read_chunks(const char *sha256, int fd, const char *path)
{
	int			n = read_chunks(sha256, NULL, fd, path);

	if (n == 0 && ActiveSnapshotSet())
		n = read_chunks(sha256, GetActiveSnapshot(), fd, path);
	return n;
}
