/*
 * import.c
 *	  Models come and go: pin the shipped one, import from the server's files, register what was trained, drop.
 *
 * An import works on a file of its own in PGDATA/fsi_intent, so that nobody can change what
 * was checked; chunks and catalog row are written in the same transaction, then the file
 * gets its final name, of its database and identity.  If the (sub)transaction is rolled back, a
 * file that was not there before goes again.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store.h"

#define COPY_BYTES (256 * 1024)

/* A dump may bring the name to a database of another encoding, UTF-8 mostly, and a training's card has it in that. */
void
store_check_name(const char *name)
{
	size_t		len = strlen(name);
	size_t		utf8_len = host_utf8(name, len).len;

	if (len == 0 || Max(len, utf8_len) > STORE_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("model name must have 1 to %d bytes", STORE_NAME_MAX),
				 len <= STORE_NAME_MAX && utf8_len > len ? errdetail("In UTF-8 it has %zu bytes.", utf8_len) : 0));
	if (strcmp(name, STORE_DEFAULT_NAME) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("model name \"default\" is reserved for the default model")));
	for (const char *c = name; *c; c++)
		if (*c == '/' || *c == '\\' || (unsigned char) *c < ' ')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("model name must not contain slashes or control characters")));
}

void
store_pin_shipped(void)
{
	FsiError	err = {0};
	StoreModel	model = {0};
	char	   *path = store_shipped_path();

	if (store_open_checked(path, NULL, CurrentMemoryContext, &model, &err) != FSI_OK)
		store_report_open_failure(true, path, &err);
	PG_TRY();
	{
		store_insert_row(STORE_SHIPPED_NAME, &model.file, model.size, "shipped");
	}
	PG_FINALLY();
	{
		store_close(&model);
	}
	PG_END_TRY();
	/* An extension that was dropped has left its models' files. */
	store_sweep();
}

/* What goes wrong with a packed file is wrong with the file: importing it once more would not help. */
static void
report_packed(FsiError *err)
{
	if (err->status == FSI_CORRUPT)
		err->hint[0] = '\0';
	host_report(err);
}

/* The next bytes of a file; 0: its end. */
static size_t
read_part(int fd, const char *path, char *buffer)
{
	ssize_t		n;

	do
	{
		CHECK_FOR_INTERRUPTS();
		n = read(fd, buffer, COPY_BYTES);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	return (size_t) n;
}

/* A file that cannot be a packed model, by its header and size, is not copied. */
static void
copy_file(const char *from, const char *to)
{
	FsiError	err = {0};
	int			in = OpenTransientFile(from, O_RDONLY | PG_BINARY);
	int			out;
	struct stat st;
	char	   *buffer = palloc(COPY_BYTES);
	size_t		n;

	if (in < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not open file \"%s\" for reading: %m", from)));
	if (fstat(in, &st) < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", from)));
	n = read_part(in, from, buffer);
	if (fsifile_check_head(buffer, n, (size_t) st.st_size, &err) != FSI_OK)
	{
		if (fsifile_has_magic(buffer, n))
			report_packed(&err);
		fsi_hint(&err, "Name the folder, not a file in it, to import a model in Hugging Face's format.");
		host_report(&err);
	}
	out = store_create(to);
	for (; n > 0; n = read_part(in, from, buffer))
		store_write_all(out, to, buffer, n);
	store_finish(out, to);
	CloseTransientFile(in);
	pfree(buffer);
}

/* Where a model comes from. */
typedef struct Origin
{
	const char *path;			/* a directory or packed file of the server, or NULL */
	bool		token_types;	/* of a directory: HF_TOKEN_TYPES */
	const HfModel *model;		/* else this */
	const char *source;			/* what the catalog calls it */
	StoreReplace replace;
} Origin;

/* Pack a model in memory or a Hugging Face directory, or copy a packed file, into tmp. */
static void
write_packed(const Origin *origin, const char *tmp, MemoryContext cxt)
{
	const char *path = origin->path;
	FsiError	err = {0};
	struct stat st;
	FsiHost		host;
	FsiArena	arena;
	HfModel		source;
	uint8_t		sha256[FSI_SHA256_BYTES];

	host_init(&host, cxt);
	if (origin->model != NULL)
	{
		HOST_TRY(fsifile_write(tmp, origin->model, &host, sha256, &err));
		return;
	}
	if (stat(path, &st) < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not read \"%s\": %m", path)));
	if (S_ISREG(st.st_mode))
	{
		if (origin->token_types)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" is packed: token_type_ids can be chosen for a directory only", path)));
		copy_file(path, tmp);
		return;
	}
	if (!S_ISDIR(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is neither a directory nor a regular file", path)));
	fsi_arena_init(&arena, &host);
	HOST_TRY(hf_read_dir(path, HF_NEED_TOKENIZER | (origin->token_types ? HF_TOKEN_TYPES : 0), &arena, &source, &err));
	CHECK_FOR_INTERRUPTS();
	HOST_TRY(fsifile_write(tmp, &source, &host, sha256, &err));
}

/* 42809 for a model of the extension's own, 42501 for another role's. */
static void
check_may_change(const StoreRow *row, bool replace)
{
	if (row->shipped)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 replace ? errmsg("model \"%s\" is part of the extension and cannot be replaced", row->name) :
				 errmsg("model \"%s\" is part of the extension and cannot be dropped", row->name)));
	if (!superuser() && !(OidIsValid(row->owner) && has_privs_of_role(GetUserId(), row->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser or the role that %s model \"%s\" to %s it", row->source, row->name,
						replace ? "replace" : "drop")));
}

static void
check_no_dependents(const char *name)
{
	char	   *object = store_find_dependent(name);

	if (object != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("model \"%s\" cannot stand for other weights", name),
				 errdetail("The answers of %s rest on it.", object),
				 errhint("Train under another name, or give the option {\"rebuild\": true} to make them anew.")));
}

/* Whether name may stand for the weights (NULL: yet unknown ones); true if there is a row of that name already. */
static bool
check_name_free(const char *name, const char *sha256, StoreReplace replace, const char *source)
{
	bool		may_replace;
	StoreRow	row;

	if (!store_find(name, &row))
		return false;
	may_replace = strcmp(source, "trained") == 0 && !row.shipped;
	if (!replace && !row.dropped)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("model \"%s\" already exists", name),
				 may_replace ? errhint("Choose another name, or give the option {\"replace\": true}.") :
				 errhint("Choose another name.")));
	if (sha256 != NULL && strcmp(row.sha256, sha256) == 0)
		return true;
	if (!replace)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model name \"%s\" has stood for other weights", name),
				 errdetail("An index or generated column may hold answers of that model."),
				 may_replace ? errhint("Choose another name, or give the option {\"replace\": true}.") :
				 errhint("Choose another name.")));
	check_may_change(&row, true);
	if (replace == STORE_REPLACE_ALONE)
		check_no_dependents(name);
	else
		store_check_remake(name);
	return true;
}

void
store_check_register(const char *name, StoreReplace replace)
{
	(void) check_name_free(name, NULL, replace, "trained");
}

/*
 * One import or drop at a time, and readers go on.  A training has no snapshot yet, for who builds an index concurrently
 * holds the table and waits for all that have an older one.  Whether it has got one here.
 */
static bool
lock_all(const char *name, const Origin *origin)
{
	if (origin->replace == STORE_REPLACE_ALL)
		store_lock_dependents(name);
	if (origin->replace)
		store_wait_replace(name);
	store_lock_catalog();
	if (ActiveSnapshotSet())
		return false;
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

/* The chunks, which take long. */
static void
record_chunks(const char *name, const StoreModel *model, const Origin *origin)
{
	store_sweep();
	(void) check_name_free(name, model->sha256, origin->replace, origin->source);
	if (!store_identity_in_use(model->sha256))
		store_write_chunks(model->sha256, model->map, model->size);
}

/*
 * The name.  Whoever has used it waits with a commit until this one is over, so it comes last; and what others have
 * committed meanwhile is found.
 */
static void
record_name(const char *name, const StoreModel *model, const Origin *origin)
{
	StoreRow	old;

	if (origin->replace)
		store_lock_replace(name);
	if (origin->replace == STORE_REPLACE_ALL)
		store_lock_dependents(name);
	if (!check_name_free(name, model->sha256, origin->replace, origin->source))
	{
		store_insert_row(name, &model->file, model->size, origin->source);
		return;
	}
	store_find(name, &old);
	if (strcmp(old.sha256, model->sha256) == 0 && !old.dropped)
		return;
	store_replace_row(name, &model->file, model->size, origin->source);
	if (!old.dropped && !store_identity_in_use(old.sha256))
	{
		store_delete_chunks(old.sha256);
		store_file_goes(store_model_path(old.sha256), XACT_EVENT_COMMIT);
	}
	if (origin->replace == STORE_REPLACE_ALL)
		store_remake_all(name);
}

/* Give the file, which was checked under its first name, its final one. */
static void
keep_file(const char *tmp, const char *sha256)
{
	char	   *path = store_model_path(sha256);
	struct stat st;

	if (stat(path, &st) < 0 && errno == ENOENT)
		store_file_goes(path, XACT_EVENT_ABORT);
	durable_rename(tmp, path, ERROR);
	if (stat(path, &st) == 0)
		store_set_checked(path, &st, sha256);
}

static void
open_copy(const char *tmp, MemoryContext cxt, StoreModel *model)
{
	FsiError	err = {0};

	if (store_open(tmp, true, cxt, model, &err) != FSI_OK)
		report_packed(&err);
}

/* The identity of the model in hex. */
static const char *
install(const char *name, const Origin *origin)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent import", ALLOCSET_DEFAULT_SIZES);
	StoreModel	model = {0};
	StoreModel *volatile mapped = NULL;
	volatile bool pushed = false;
	char	   *tmp = store_import_path();

	PG_TRY();
	{
		write_packed(origin, tmp, cxt);
		MemoryContextReset(cxt);
		open_copy(tmp, cxt, &model);
		mapped = &model;
		pushed = lock_all(name, origin);
		record_chunks(name, &model, origin);
		keep_file(tmp, model.sha256);
		record_name(name, &model, origin);
	}
	PG_CATCH();
	{
		if (mapped != NULL)
			store_close(mapped);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (pushed)
		PopActiveSnapshot();
	store_close(&model);
	MemoryContextDelete(cxt);
	return pstrdup(model.sha256);
}

static void
import_error(void *arg)
{
	const char *const *name_and_path = arg;

	errcontext("import of model \"%s\" from \"%s\"", name_and_path[0], name_and_path[1]);
}

const char *
store_import(const char *name, const char *path, bool token_types)
{
	Origin		origin = {.path = path, .token_types = token_types, .source = "imported"};
	const char *name_and_path[] = {name, path};
	ErrorContextCallback callback = {error_context_stack, import_error, name_and_path};
	const char *sha256;
	StoreRow	row;

	/* Before the work; checked again under the lock. */
	if (store_find(name, &row) && !row.dropped)
		(void) check_name_free(name, row.sha256, STORE_REPLACE_NOT, origin.source);
	error_context_stack = &callback;
	sha256 = install(name, &origin);
	error_context_stack = callback.previous;
	return sha256;
}

const char *
store_register(const char *name, const HfModel *model, StoreReplace replace)
{
	Origin		origin = {.model = model, .source = "trained", .replace = replace};

	return install(name, &origin);
}

void
store_drop(const char *name)
{
	StoreRow	row;

	store_lock_catalog();
	store_sweep();
	if (!store_find(name, &row) || row.dropped)
		store_report_no_model(name);
	check_may_change(&row, false);
	store_mark_dropped(name);
	if (!store_identity_in_use(row.sha256))
	{
		store_delete_chunks(row.sha256);
		store_file_goes(store_model_path(row.sha256), XACT_EVENT_COMMIT);
	}
}
