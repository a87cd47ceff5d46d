/*
 * fsi_store.h
 *	  Which models there are, whose weights they hold, and one mapping of each per backend.
 *
 * A model has a name and an identity, the SHA-256 of its packed file.  The table
 * _fsi_model_catalog ties the two together: the shipped model's row is written by CREATE
 * EXTENSION, an imported one's by fsi_import_model(), a trained one's by fsi_train(), and a
 * dropped name does not come back with other weights.  There are two exceptions: fsi_train() with
 * the option "replace", which gives a name to new weights in one transaction, and fsi_rebuild(), which
 * gives the shipped model's name to the file that is installed.  The indexes, partition keys, generated
 * columns and constraints that rest on the name follow in the same transaction, or, without the option
 * "rebuild" of the former, it is an error.  So an answer that is kept
 * under a name rests on one file, and a statement, whose snapshot sees one row of the catalog,
 * has all its answers from one file too.
 *
 * store_model() maps the file (read-only, shared: the page cache is the one copy) and keeps the
 * mapping while a name stands for it, and to the end of the transaction at least.  The shipped
 * file lies in the extension's folder of SHAREDIR; an imported one in PGDATA/fsi_intent, one for
 * each database, written from the chunks in _fsi_model_chunk wherever it is missing (a standby, a
 * restored backup).  The full check of a file is done once per server; a stamp beside the imported
 * files says that it was.
 *
 * The catalog is read without looking at rights: whoever may call the functions may use the
 * models, as with text search dictionaries.  Everything here raises errors by ereport().
 */
#ifndef FSI_STORE_H
#define FSI_STORE_H

#include "postgres.h"

#include <time.h>

#include "catalog/objectaddress.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "fsi_base.h"
#include "fsi_compat.h"
#include "fsi_format.h"
#include "fsi_host.h"

#define STORE_SHIPPED_NAME "small-1"
#define STORE_DEFAULT_NAME "default"	/* whichever is the default one; no model can have this name */
#define STORE_NAME_MAX 63
#define STORE_HEX_LEN (2 * FSI_SHA256_BYTES)

typedef struct StoreModel
{
	FsiFile		file;
	FsiHost		host;			/* memory of file's pointers */
	char		sha256[STORE_HEX_LEN + 1];
	void	   *map;
	size_t		size;
	int			fd;				/* of the mapped file */
	struct timespec modified;	/* when its contents were last known to be these */
	uint64		serial;			/* no two mappings of a backend have had the same */
	int			holds;
	struct StoreModel *next;	/* the backend's models */
} StoreModel;

/* One row of _fsi_model_catalog. */
typedef struct StoreRow
{
	char	   *name;
	char		sha256[STORE_HEX_LEN + 1];
	Gpt2Layout	layout;
	int64		size;			/* bytes of the packed file */
	char	   *source;			/* "shipped", "imported" or "trained" */
	bool		shipped;
	bool		dropped;
	Oid			owner;			/* the role that brought it, or InvalidOid */
	TransactionId xmin;			/* of the row: whose it is */
	CommandId	cmin;			/* and, if it is this transaction's, since which command */
} StoreRow;

/*
 * The model of that name, mapped to the end of the transaction at least; NULL or "default": the default one.  42704 if
 * there is none.
 */
extern const StoreModel *store_model(const char *name);
/* Keep a model mapped across transactions. */
extern void store_hold(const StoreModel *model);
extern void store_let_go(const StoreModel *model);
/* Have forget() called before a model is unmapped; it must not fail. */
extern void store_on_unmap(void (*forget) (const StoreModel *model));
/* The catalog's row, dropped ones too; false if there is none.  NULL or "default": the default model's. */
extern bool store_find(const char *name, StoreRow *row);
/* 42704: where there is none, or it was dropped. */
pg_noreturn extern void store_report_no_model(const char *name);
/* Its card, or NULL. */
extern Jsonb *store_card(const char *name);
/*
 * Before its weights are read: the mapped file has not been cut short (reading on would be a SIGBUS, which restarts
 * the server) nor written to in place.  One fstat(); XX001 if it was.
 */
extern void store_check_unchanged(const StoreModel *model);
/* Changes whenever a name may have come to mean another model. */
extern uint64 store_generation(void);

/* Record the shipped model's identity after a full check (CREATE EXTENSION). */
extern void store_pin_shipped(void);
/* Read a Hugging Face directory or a packed file of the server; the identity in hex. */
extern const char *store_import(const char *name, const char *path, bool token_types);
extern void store_drop(const char *name);
/* 42602, 42939: for what cannot be a model's name. */
extern void store_check_name(const char *name);

/* What is done where a name stands for weights already. */
typedef enum StoreReplace
{
	STORE_REPLACE_NOT,			/* an error */
	STORE_REPLACE_ALONE,		/* it gets new ones, unless something rests on it */
	STORE_REPLACE_ALL			/* and what rests on it is made anew */
} StoreReplace;

/* Before the work of training: may the current role have the name stand for new weights? */
extern void store_check_register(const char *name, StoreReplace replace);
/* Pack an f32 model and give it the name; the identity in hex. */
extern const char *store_register(const char *name, const HfModel *model, StoreReplace replace);
/* Write a model as a new Hugging Face directory of the server. */
extern void store_export(const char *name, const char *path);

/* A file of PGDATA/fsi_intent, and that folder itself. */
extern char *store_cache_path(const char *file);
extern void store_make_cache_dir(void);
/* Write a file anew: open it, empty; write to it; fsync and close it.  An error's cleanup closes it too. */
extern int	store_create(const char *path);
extern void store_write_all(int fd, const char *path, const void *data, size_t size);
extern void store_finish(int fd, const char *path);
/*
 * Have a folder removed when this (sub)transaction commits: by remove(), which must not fail, not even for want of
 * memory.  A transaction that has done such a deed cannot be prepared.  Whether one is to go; let it stay.
 */
extern void store_folder_goes(const char *path, void (*remove) (const char *path), const char *deed);
extern bool store_folder_is_going(const char *path);
extern void store_folder_stays(const char *path);
/* Names of what is in a folder; none where it cannot be read. */
extern List *store_names_in(const char *dir);
/* Whether this server has a backend of that number, by whose name a file of that folder goes. */
extern bool store_backend_exists(int pid);

/* What the words in functions' texts stand for: for the calls of one statement, in the current memory context. */
typedef struct StoreNamed StoreNamed;
extern StoreNamed *store_named(void);
/* An expression whose answers this transaction may commit names that model; nothing happens if there is none. */
extern void store_note_kept(const char *name);
/* The same where only the calls themselves can tell the name: it may be any. */
extern void store_note_any_kept(void);
/*
 * The names of the models that an expression's (a query's) calls ask, "default" among them.  *unknown: there is a call
 * whose model its arguments alone can tell.  inside: also calls inside functions of the user's own, as far as they can be
 * seen, or NULL.
 */
extern List *store_models_asked(Node *node, StoreNamed *inside, bool *unknown);

/* What rests on a model: something that keeps its answers, as the view of the catalogs fsi_dependents() has it. */
typedef struct StoreDependent
{
	char	   *model;			/* NULL: its calls alone can tell */
	char	   *kind;
	char	   *object;			/* its identity, for messages */
	Oid			relid;			/* the table that it is of, or InvalidOid */
	Oid			domain;			/* or the domain */
	ObjectAddress address;
	bool		valid;			/* PostgreSQL relies on it: no index half built, no constraint that is NOT VALID */
	bool		again;			/* the one before it is the same, for another model */
} StoreDependent;

#define STORE_UNKNOWN (-1)		/* a figure that cannot be told */

/* Those of a model and of unknown ones, in the order of fsi_dependents(); NULL: all.  Within SPI. */
extern List *store_dependents(const char *name);
/* Whether it has not been dropped since it was listed. */
extern bool store_is_still_there(const StoreDependent *dependent);
/* Whether the current role owns a table. */
extern bool store_owns(Oid relid);
/*
 * How many answers are kept there and how many of them are not what the model says now, or STORE_UNKNOWN.  As the
 * owner of its table, which the current role must be (42501).
 */
extern void store_count_stale(const StoreDependent *dependent, int64 *rows, int64 *stale);
/*
 * Let the shipped model's name stand for the file that is installed, with all that rests on it locked against writers;
 * false: it does already.  Within SPI.
 */
extern bool store_repin(void);
/*
 * Make what is kept there anew; how many answers changed, or STORE_UNKNOWN.  As the owner of its table.  23514 where
 * a constraint does not hold any more.
 */
extern int64 store_remake(const StoreDependent *dependent);
/* Lock the materialized views of a list, from the top down: before the first of them is made anew by itself. */
extern void store_lock_views(const List *dependents);
/* Whether the catalog can be read: not while the extension goes, nor while pg_upgrade makes it. */
extern bool store_is_there(void);

/* A table or index of the extension's own, by name, wherever the extension lives. */
extern Oid	store_relation(const char *name);
/* A table of its own, open; 55000 if the extension has been dropped, also while a lock was waited for. */
extern Relation store_open_table(const char *name, LOCKMODE mode);

/* "prompt" or "segments" */
extern const char *store_layout_name(Gpt2Layout layout);

/* --- schema.c --- */

/* A relation's name, qualified and quoted, as a statement has it; an error (42P01) if it is gone. */
extern char *store_relation_name(Oid relid);

/*
 * A relation's schema, until the transaction ends: an ALTER SCHEMA waits.  For statements that name the relation, which
 * is locked and keeps its own name: else they might find another's, in a schema that has been given the name.
 */
extern void store_keep_schema_name(Oid relid);

#endif
