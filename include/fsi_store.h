/*
 * fsi_store.h
 *	  Which models there are, whose weights they hold, and one mapping of each per backend.
 *
 * A model has a name and an identity, the SHA-256 of its packed file.  The table
 * _fsi_model_catalog ties the two together for ever: the shipped model's row is written by
 * CREATE EXTENSION, an imported one's by fsi_import_model(), and a dropped name never
 * comes back with other weights.  So an answer that rests on a name rests on one file.
 *
 * store_model() maps the file (read-only, shared: the page cache is the one copy) and keeps
 * the mapping for the backend's life.  The shipped file lies in the extension's folder of
 * SHAREDIR; an imported one in PGDATA/fsi_intent, written from the chunks in
 * _fsi_model_chunk wherever it is missing (a standby, a restored backup).  The full check of
 * a file is done once per server; a stamp beside the imported files says that it was.
 *
 * The catalog is read without looking at rights: whoever may call the functions may use the
 * models, as with text search dictionaries.  Everything here raises errors by ereport().
 */
#ifndef FSI_STORE_H
#define FSI_STORE_H

#include "postgres.h"

#include <time.h>

#include "utils/jsonb.h"

#include "fsi_base.h"
#include "fsi_compat.h"
#include "fsi_format.h"
#include "fsi_host.h"

#define STORE_SHIPPED_NAME "small-1"
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
	struct StoreModel *next;	/* the backend's models */
} StoreModel;

/* One row of _fsi_model_catalog. */
typedef struct StoreRow
{
	char	   *name;
	char		sha256[STORE_HEX_LEN + 1];
	Gpt2Layout	layout;
	int64		size;			/* bytes of the packed file */
	bool		shipped;
	bool		is_default;
	bool		dropped;
	char	   *imported_by;	/* role name, or NULL */
	Jsonb	   *card;			/* or NULL */
} StoreRow;

/* The model of that name, mapped; NULL or "default": the default one.  42704 if there is none. */
extern const StoreModel *store_model(const char *name);
/* The catalog's row, dropped ones too; false if there is none.  NULL: the default model's. */
extern bool store_find(const char *name, StoreRow *row);
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
extern const char *store_import(const char *name, const char *path);
extern void store_drop(const char *name);
/* Write a model as a new Hugging Face directory of the server. */
extern void store_export(const char *name, const char *path);

/* A table or index of the extension's own, by name, wherever the extension lives. */
extern Oid	store_relation(const char *name);

/* "prompt" or "segments" */
extern const char *store_layout_name(Gpt2Layout layout);

#endif
