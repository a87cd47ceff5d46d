/*
 * folder.c
 *	  The folder of a training: its plan, its checkpoints.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "tune.h"

/* Base backups leave out what begins so. */
#define FOLDER_PREFIX PG_TEMP_FILE_PREFIX "_train_"
#define TEXT_MAX_BYTES ((size_t) 16 * 1024 * 1024)

char *
tune_folder_path(const char *name)
{
	return store_cache_path(psprintf("%s%u_%016llx", FOLDER_PREFIX, MyDatabaseId,
									 (unsigned long long) fsi_hash64(name, strlen(name), 0)));
}

static char *
file_in(const char *path, const char *file)
{
	return psprintf("%s/%s", path, file);
}

static bool
file_exists(const char *path, const char *file)
{
	struct stat st;

	return stat(file_in(path, file), &st) == 0;
}

/* Before the first one there is nothing to lose. */
static bool
has_checkpoint(const char *path)
{
	return file_exists(path, "last") || file_exists(path, "best");
}

/* With the files in it: there are no folders.  False, with errno: it is still there. */
static bool
remove_now(const char *path)
{
	DIR		   *d = opendir(path);
	struct dirent *entry;
	char		file[MAXPGPATH];

	while (d != NULL && (entry = readdir(d)) != NULL)
		if (snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) < (int) sizeof(file) &&
			strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void) unlink(file);
	if (d != NULL)
		closedir(d);
	return rmdir(path) == 0 || errno == ENOENT;
}

/*
 * Gone at once for all who look, by a name of no database; what a crash leaves of it is an orphan.  Never an error, not
 * even for want of memory: the transaction that has discarded it is committed by then.
 */
void
tune_folder_remove(const char *path)
{
	char		going[MAXPGPATH];
	struct stat st;

	if (lstat(path, &st) < 0)
		return;
	snprintf(going, sizeof(going), "%.*s/" FOLDER_PREFIX "0_%d", (int) (strrchr(path, '/') - path), path, MyProcPid);
	if (strcmp(path, going) != 0)
		(void) remove_now(going);
	if (rename(path, going) == 0)
		(void) remove_now(going);
	else if (errno != ENOENT && !remove_now(path))	/* another process may have just removed it */
		ereport(WARNING,
				(host_errcode_for_file_access(),
				 errmsg("could not remove directory \"%s\": %m", path)));
}

void
tune_folder_remove_useless(const char *path)
{
	if (!has_checkpoint(path))
		tune_folder_remove(path);
}

/* Whether a backend that is still there is removing that folder. */
static bool
is_going(const char *folder)
{
	int			pid;

	return sscanf(folder, FOLDER_PREFIX "0_%d", &pid) == 1 && pid != MyProcPid && store_backend_exists(pid);
}

/* What a crash has left of a checkpoint that was being written. */
static void
remove_unfinished(const char *path)
{
	ListCell   *cell;

	foreach(cell, store_names_in(path))
		if (strstr(lfirst(cell), ".tmp") != NULL)
			unlink(file_in(path, lfirst(cell)));
}

/* ---- Small files: the plan, the result. ---- */

/* A file's text, or NULL. */
static char *
read_text(const char *path, const char *file)
{
	FsiError	err = {0};
	FsiHost		host;
	FsiArena	arena;
	uint8_t    *data;
	size_t		len;
	FsiStatus	status;

	host_init(&host, CurrentMemoryContext);
	fsi_arena_init(&arena, &host);
	status = fsi_read_file(file_in(path, file), TEXT_MAX_BYTES, &arena, &data, &len, &err);
	if (status == FSI_MISSING)
		return NULL;
	if (status != FSI_OK)
		host_report(&err);
	return (char *) data;
}

static void
write_text(const char *path, const char *name, const char *text)
{
	char	   *file = file_in(path, name);
	char	   *tmp = psprintf("%s.tmp", file);
	int			fd = store_create(tmp);

	store_write_all(fd, tmp, text, strlen(text));
	store_finish(fd, tmp);
	durable_rename(tmp, file, ERROR);
}

/* Before it is committed: the model's identity. */
void
tune_folder_note_result(const char *path, const char *sha256)
{
	write_text(path, "result", sha256);
}

bool
tune_folder_has_result(const char *path, const char *name)
{
	char	   *result = read_text(path, "result");
	StoreRow	row;

	return result != NULL && store_find(name, &row) && strcmp(row.sha256, result) == 0;
}

/* ---- The plan. ---- */

/* The next line of a plan, "key value", cut in two; false: there is none. */
static bool
next_line(char **plan, char **key, char **value)
{
	char	   *line = *plan;
	char	   *end = strchr(line, '\n');

	if (end == NULL)
		return false;
	*end = '\0';
	*plan = end + 1;
	*key = line;
	*value = strchr(line, ' ');
	if (*value == NULL)
		*value = end;
	else
		*(*value)++ = '\0';
	return true;
}

static Oid
role_of(const char *value)
{
	return (Oid) strtoul(value, NULL, 10);
}

static Oid
plan_role(const char *plan)
{
	const char *line = strstr(plan, "\nrole ");

	return line == NULL ? InvalidOid : role_of(line + strlen("\nrole "));
}

/* The model's, or NULL. */
static char *
plan_name(const char *plan)
{
	const char *line = strstr(plan, "\nname ");

	if (line == NULL)
		return NULL;
	line += strlen("\nname ");
	return pnstrdup(line, strcspn(line, "\n"));
}

bool
tune_role_exists(Oid role)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

/* A role that is no more has lost nothing. */
static void
check_role(const char *name, const char *plan)
{
	Oid			role = plan_role(plan);

	if (tune_role_exists(role) && !has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for the unfinished training of model \"%s\"", name),
				 errdetail("It is one of role \"%s\".", GetUserNameFromId(role, false))));
}

static void
report_difference(const char *name, const char *key, const char *old, const char *new)
{
	const char *what = strcmp(key, "rows") == 0 ? "the rows of its source" :
		strcmp(key, "model") == 0 ? "the weights of its base model" :
		strcmp(key, "role") == 0 ? "the role that called" : psprintf("the option \"%s\"", key);
	bool		hash = strcmp(key, "rows") == 0 || strcmp(key, "model") == 0;

	if (strcmp(key, "role") == 0)
	{
		old = GetUserNameFromId(role_of(old), false);
		new = GetUserNameFromId(role_of(new), false);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("model \"%s\" has an unfinished training that differs in %s", name, what),
			 hash ? 0 : errdetail("It has %s, the call has %s.", *old ? old : "none", *new ? new : "none"),
			 errhint("Repeat the call as it was to go on with it, or begin anew with the option {\"restart\": true}.")));
}

/*
 * Plans have the same keys in the same order, unless another version of the extension wrote one.  The training of a
 * role that is no more is anybody's whose call is the same.
 */
static void
compare_plans(const char *name, const char *old_plan, const char *new_plan)
{
	char	   *old = pstrdup(old_plan);
	char	   *new = pstrdup(new_plan);
	char	   *old_key;
	char	   *new_key;
	char	   *old_value;
	char	   *new_value;

	while (next_line(&new, &new_key, &new_value))
	{
		if (!next_line(&old, &old_key, &old_value) || strcmp(old_key, new_key) != 0)
			report_difference(name, new_key, "", new_value);
		if (strcmp(old_value, new_value) != 0 && (strcmp(old_key, "role") != 0 || tune_role_exists(role_of(old_value))))
			report_difference(name, new_key, old_value, new_value);
	}
	if (*old != '\0')
		report_difference(name, "version", "", "");
}

/* ---- What nobody goes on with. ---- */

/* Of a training whose model is there, and which nobody is at work with, or comes to be before this transaction ends. */
static bool
has_ended(const char *path)
{
	char	   *plan = read_text(path, "plan");
	char	   *name = plan ? plan_name(plan) : NULL;
	SessionHold hold;
	int			pid;

	if (name == NULL || !tune_folder_has_result(path, name) ||
		!session_hold(TUNE_HOLDS, tune_name_id(name), ExclusiveLock, &hold, &pid))
		return false;
	session_keep_until_commit(&hold);
	return tune_folder_has_result(path, name);
}

/* Folders of databases that are no more, and what a crash has left of others. */
static void
remove_orphans(void)
{
	ListCell   *cell;

	foreach(cell, store_names_in(store_cache_path("")))
	{
		const char *name = lfirst(cell);
		char	   *path = store_cache_path(name);
		Oid			database;

		if (sscanf(name, FOLDER_PREFIX "%u_", &database) != 1 || is_going(name))
			continue;
		if (database == MyDatabaseId ? has_ended(path) : !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			tune_folder_remove(path);
	}
}

bool
tune_folder_open(const char *path, const char *name, const char *plan, bool restart)
{
	char	   *old;

	store_make_cache_dir();
	remove_orphans();
	old = read_text(path, "plan");
	if (old != NULL && has_checkpoint(path))
		check_role(name, old);
	/* The same transaction may have discarded it. */
	if (!restart && !store_folder_is_going(path) && old != NULL && has_checkpoint(path))
	{
		compare_plans(name, old, plan);
		remove_unfinished(path);
		if (strcmp(old, plan) != 0)
			write_text(path, "plan", plan);
		return true;
	}
	tune_folder_remove(path);
	store_folder_stays(path);
	if (MakePGDirectory(path) < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", path)));
	write_text(path, "plan", plan);
	return false;
}

bool
tune_folder_is_own(const char *path, const char *name)
{
	char	   *plan = store_folder_is_going(path) ? NULL : read_text(path, "plan");

	if (plan != NULL)
		check_role(name, plan);
	return plan != NULL;
}

bool
tune_folder_discard(const char *path, const char *name)
{
	if (!tune_folder_is_own(path, name))
		return false;
	store_folder_goes(path, tune_folder_remove, "discarded a training");
	return true;
}

List *
tune_folders_left(void)
{
	char	   *prefix = psprintf("%s%u_", FOLDER_PREFIX, MyDatabaseId);
	List	   *left = NIL;
	ListCell   *cell;

	foreach(cell, store_names_in(store_cache_path("")))
	{
		char	   *path = store_cache_path(lfirst(cell));
		char	   *plan = strncmp(lfirst(cell), prefix, strlen(prefix)) == 0 && has_checkpoint(path) ?
			read_text(path, "plan") : NULL;
		char	   *name = plan ? plan_name(plan) : NULL;
		TuneLeft   *training;

		/* Where its model is there, a crash has left it of one that ended. */
		if (name == NULL || tune_folder_has_result(path, name) || store_folder_is_going(path))
			continue;
		training = palloc(sizeof(TuneLeft));
		training->role = plan_role(plan);
		training->name = name;
		left = lappend(left, training);
	}
	return left;
}

/* ---- Checkpoints. ---- */

/* Give a complete file a second name, which is as durable as the first; false: this file system cannot. */
static bool
link_durably(const char *from, const char *to)
{
	char	   *tmp = psprintf("%s.tmp", to);
	bool		linked;

	unlink(tmp);
	linked = link(from, tmp) == 0 && durable_rename(tmp, to, LOG) == 0;
	pfree(tmp);
	return linked;
}

void
tune_folder_save(const char *path, Train *train, bool best)
{
	FsiError	err = {0};
	char	   *last = file_in(path, "last");
	char	   *best_file = file_in(path, "best");

	if (best)
		HOST_TRY(train_save(train, best_file, &err));
	if (!best || !link_durably(best_file, last))
		HOST_TRY(train_save(train, last, &err));
	/* A training may save a great many states, and its memory ends with it. */
	pfree(last);
	pfree(best_file);
}

static void
load(const char *file, Train *train)
{
	FsiError	err = {0};
	FsiStatus	status = train_load(train, file, &err);

	if (status == FSI_OK)
		return;
	if (err.hint[0] == '\0' && (status == FSI_CORRUPT || status == FSI_INVALID || status == FSI_UNSUPPORTED))
		fsi_hint(&err, "Begin anew with the option {\"restart\": true}.");
	host_report(&err);
}

void
tune_folder_load_last(const char *path, Train *train)
{
	load(file_in(path, file_exists(path, "last") ? "last" : "best"), train);
}

void
tune_folder_load_best(const char *path, Train *train)
{
	load(file_in(path, "best"), train);
}
