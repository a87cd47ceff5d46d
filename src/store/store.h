/*
 * store.h
 *	  Between the files of the store room: the catalog's rows and chunks, files and stamps.
 */
#ifndef STORE_H
#define STORE_H

#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "nodes/nodes.h"
#include "storage/lock.h"
#include "utils/snapshot.h"

#include "fsi_compat.h"
#include "fsi_store.h"

/* --- catalog.c --- */

extern Oid	store_catalog_relid(void);
/* To the end of the transaction nobody else brings or drops a model. */
extern void store_lock_catalog(void);
/* The same, unless somebody does, until LockRelease(lock, ExclusiveLock, false). */
extern bool store_try_lock_catalog(LOCKTAG *lock);
/* The row that a snapshot sees; false: none. */
extern bool store_find_in(const char *name, Snapshot snapshot, StoreRow *row);
extern void store_insert_row(const char *name, const FsiFile *file, size_t size, const char *source);
/* Let a name stand for another file. */
extern void store_replace_row(const char *name, const FsiFile *file, size_t size, const char *source);
extern void store_mark_dropped(const char *name);
/* All of them, of StoreRow *. */
extern List *store_rows(void);
/* Whether an imported, not dropped model has this identity. */
extern bool store_identity_in_use(const char *sha256);
extern void store_write_chunks(const char *sha256, const uint8_t *data, size_t size);
extern void store_delete_chunks(const char *sha256);
/* Write a model's chunks into an open file; how many there were. */
extern int	store_read_chunks(const char *sha256, int fd, const char *path);

/* --- dependents.c, owner.c --- */

/*
 * An index, a partitioned table, a generated column or a constraint that rests on the model's name, committed or this
 * transaction's own; NULL: none.
 */
extern char *store_find_dependent(const char *name);
/* One whose table this transaction has written, or built it on; else NULL. */
extern char *store_find_written(const char *name);

/* Set a setting until the caller's AtEOXact_GUC(). */
extern void store_set_for_now(const char *setting, const char *value);
/*
 * The search_path for functions and triggers that run as an owner: what they name without its schema is the caller's,
 * where it is not core's.
 */
extern char *store_path_of_functions(void);
/* 42501 unless the current role owns the table, or the domain. */
extern void store_check_owner(Oid relid);
extern void store_check_domain_owner(Oid type);

typedef struct StoreSelf
{
	Oid			user;
	int			context;		/* of security */
	int			level;			/* of settings */
} StoreSelf;

/* Act as the owner of a table, with settings that see all of its rows, until store_be_self(); an error ends it too. */
extern void store_become_owner(Oid relid, StoreSelf *self);
extern void store_become_domain_owner(Oid type, StoreSelf *self);
extern void store_be_self(const StoreSelf *self);

/* --- remake.c: by the name that gets other weights --- */

/* Whether all that rests on it could be made anew by this role: 42501, 55006, 0A000. */
extern void store_check_remake(const char *name);
/* Lock the tables against writers, until there is nothing new. */
extern void store_lock_dependents(const char *name);
extern void store_remake_all(const char *name);

/* --- query.c --- */

/* What the catalog has; NULL: it is gone. */
extern Node *store_column_expression(Oid relid, AttrNumber column);
extern Node *store_constraint_expression(Oid constraint);
/* A leaf's bounds, all the way from the top, over columns of the root (which may be the leaf itself). */
extern Node *store_bounds_expression(Oid leaf, Oid root);
/*
 * Run a SELECT of two numbers over the relation, where $1 stands for the expression, with a search_path for what runs
 * then, and add them.
 */
extern void store_query_count(const char *statement, Oid relid, Node *expression, const char *path, int64 *rows, int64 *stale);
/* Run an UPDATE of the relation, likewise; how many rows it has changed. */
extern int64 store_query_update(const char *statement, Oid relid, Node *expression, const char *path);

/* --- stale.c --- */

/* Partitions that hold rows, or may. */
extern List *store_leaves(Oid root);

/* Append the statements (SPI's text) that a query of core's catalogs makes of an object ($1) and its column ($2). */
extern void store_statements(const char *sql, const ObjectAddress *of, List **statements);

/* --- files.c --- */

extern char *store_shipped_path(void);
/* Where the file of an imported model of this database belongs. */
extern char *store_model_path(const char *sha256);
/* Where this backend writes a file that has no name yet; it goes if the (sub)transaction is rolled back. */
extern char *store_import_path(void);
/* Whether this very file was found to hold these weights; remember that it was. */
extern bool store_is_checked(const char *path, const struct stat *st, const char *sha256);
extern void store_set_checked(const char *path, const struct stat *st, const char *sha256);
/* Remove an imported model's file and its stamp. */
extern void store_unlink_model(const char *path);
/*
 * Remove the files that nothing stands for: of models that were dropped, replaced or never committed, of databases that
 * are gone, of processes that crashed.  Nobody else may be bringing a model (the catalog is locked, or on a standby).
 */
extern void store_sweep(void);
/* The same, unless somebody is bringing or dropping a model: then the next one will. */
extern void store_sweep_unless_busy(void);

/* --- going.c --- */

/*
 * Remove a file at the end of this (sub)transaction if that is an abort, the end of the process too, or if it is a
 * commit.
 */
extern void store_file_goes(const char *path, XactEvent when);

/* --- open.c --- */

/* Map a file into model, whose file's pointers live in context; check all of it if full. */
extern FsiStatus store_open(const char *path, bool full, MemoryContext context, StoreModel *model, FsiError *err);
/* As store_open(), in full unless this server has checked that file for sha256 (NULL: always in full). */
extern FsiStatus store_open_checked(const char *path, const char *sha256, MemoryContext context,
									StoreModel *model, FsiError *err);
/* Raise what either has failed with, with a hint at what to do about it. */
extern void store_report_open_failure(bool shipped, const char *path, FsiError *err);
extern void store_close(StoreModel *model);

/* --- mapping.c --- */

/* Whether the name was looked up as that, and the catalog of models has not changed since, as far as this backend was told. */
extern bool store_is_current(const char *name, const char *sha256);

/* --- uses.c --- */

/*
 * A name that may be made to stand for other weights has been looked up: when this transaction commits, see what has
 * become of it (40001).
 */
extern void store_note_use(const char *name, const char *sha256);
/* To the transaction's end: nobody who has used the model commits meanwhile. */
extern void store_lock_replace(const char *name);
/*
 * Wait for those who are about to commit their use of it now, a prepared transaction maybe, so that nobody else waits for
 * them as well once the catalog is locked.
 */
extern void store_wait_replace(const char *name);

#endif
