/*
 * files.c
 *	  Paths of model files, the folder of imported ones, and the stamps of checked ones.
 *
 * An imported model's file is a copy of its chunks, named by its database and identity.  Whoever
 * misses it writes it again, so it may be removed at any time: who has it mapped keeps it.
 *
 * A stamp says: this server has read every byte of this very file (device, inode, size,
 * times of change) and it holds these weights.  It is an empty file in PGDATA/fsi_intent
 * whose name is a hash of all of that, so it costs a backend one stat().
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/parallel.h"
#include "access/xlog.h"
#include "commands/extension.h"
#include "common/file_perm.h"
#include "common/file_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/procarray.h"
#include "utils/syscache.h"

#include "store.h"

#define CACHE_DIR "fsi_intent"

/* Unfinished files: this and the backend's process id.  Base backups leave out what begins so. */
#define IMPORT_PREFIX PG_TEMP_FILE_PREFIX "_import_"

/* The folder where the extension's control file is found, as core looks for it; the server's own where it is nowhere. */
static char *
share_folder(void)
{
	char		system[MAXPGPATH];
	const char *rest = compat_extension_control_path();

	get_share_path(my_exec_path, system);
	while (*rest != '\0')
	{
		size_t		n = strcspn(rest, ":");
		char	   *folder = pnstrdup(rest, n);

		if (strcmp(folder, "$system") == 0)
			folder = pstrdup(system);
		if (access(psprintf("%s/extension/fsi_intent.control", folder), F_OK) == 0)
			return folder;
		rest += n + (rest[n] == ':');
	}
	return pstrdup(system);
}

char *
store_shipped_path(void)
{
	return psprintf("%s/extension/fsi_intent/%s.fsi", share_folder(), STORE_SHIPPED_NAME);
}

char *
store_cache_path(const char *file)
{
	return psprintf("%s/%s/%s", DataDir, CACHE_DIR, file);
}

char *
store_model_path(const char *sha256)
{
	return store_cache_path(psprintf("%u_%s.fsi", MyDatabaseId, sha256));
}

void
store_make_cache_dir(void)
{
	char	   *dir = psprintf("%s/%s", DataDir, CACHE_DIR);

	if (MakePGDirectory(dir) < 0 && errno != EEXIST)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", dir)));
	pfree(dir);
}

char *
store_import_path(void)
{
	char	   *path = store_cache_path(psprintf(IMPORT_PREFIX "%d", MyProcPid));

	store_make_cache_dir();
	store_file_goes(path, XACT_EVENT_ABORT);
	return path;
}

int
store_create(const char *path)
{
	int			fd = OpenTransientFile(path, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);

	if (fd < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	return fd;
}

void
store_write_all(int fd, const char *path, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0)
	{
		ssize_t		n = write(fd, at, Min(size, (size_t) 1 << 30));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			if (n == 0)
				errno = ENOSPC;
			ereport(ERROR,
					(host_errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", path)));
		}
		at += n;
		size -= n;
	}
}

void
store_finish(int fd, const char *path)
{
	if (pg_fsync(fd) != 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", path)));
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not close file \"%s\": %m", path)));
}

/* Also while an error is cleaned up after, where AllocateDir() may have no room left. */
List *
store_names_in(const char *dir)
{
	List	   *volatile names = NIL;
	DIR		   *d = opendir(dir);

	if (d == NULL)
		return NIL;
	PG_TRY();
	{
		struct dirent *entry;

		while ((entry = readdir(d)) != NULL)
			names = lappend(names, pstrdup(entry->d_name));
	}
	PG_FINALLY();
	{
		closedir(d);
	}
	PG_END_TRY();
	return names;
}

/* Not any process of that number: after a crash, it may be another program's. */
bool
store_backend_exists(int pid)
{
	return BackendPidGetProc(pid) != NULL;
}

/* Names of stamps are short, for pg_basebackup refuses paths of 100 bytes and more. */
#define STAMP_PREFIX_BYTES 32
#define STAMP_BYTES 80

/* All stamps of a path begin so, also those that a base backup has brought from another data directory. */
static void
put_stamp_prefix(char out[STAMP_PREFIX_BYTES], const char *path)
{
	size_t		n = strlen(DataDir);

	if (strncmp(path, DataDir, n) == 0)
		path += n;
	snprintf(out, STAMP_PREFIX_BYTES, "checked-%016llx-", (unsigned long long) fsi_hash64(path, strlen(path), 0));
}

static void
put_stamp_name(char out[STAMP_BYTES], const char *path, const struct stat *st, const char *sha256)
{
	char		facts[256];
	char		prefix[STAMP_PREFIX_BYTES];
	FsiSha256	hash;
	uint8_t		digest[FSI_SHA256_BYTES];
	char		hex[STORE_HEX_LEN + 1];

	snprintf(facts, sizeof(facts), "%llx %llx %llx %llx.%lx %llx.%lx %s",
			 (unsigned long long) st->st_dev, (unsigned long long) st->st_ino, (unsigned long long) st->st_size,
			 (unsigned long long) st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
			 (unsigned long long) st->st_ctim.tv_sec, st->st_ctim.tv_nsec, sha256);
	fsi_sha256_init(&hash);
	fsi_sha256_update(&hash, facts, strlen(facts));
	fsi_sha256_final(&hash, digest);
	fsi_hex(digest, FSI_SHA256_BYTES, hex);
	put_stamp_prefix(prefix, path);
	snprintf(out, STAMP_BYTES, "%s%.40s", prefix, hex);
}

static void
put_cache_path(char out[MAXPGPATH], const char *file)
{
	snprintf(out, MAXPGPATH, "%s/%s/%s", DataDir, CACHE_DIR, file);
}

/*
 * The stamps of a path, except keep.  Best effort, never an error, not even for want of memory: a transaction that has
 * been committed cannot fail any more.
 */
static void
unlink_stamps(const char *path, const char *keep)
{
	char		prefix[STAMP_PREFIX_BYTES];
	char		folder[MAXPGPATH];
	DIR		   *d;
	struct dirent *entry;

	put_stamp_prefix(prefix, path);
	put_cache_path(folder, "");
	d = opendir(folder);
	while (d != NULL && (entry = readdir(d)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && strcmp(entry->d_name, keep) != 0)
			(void) unlinkat(dirfd(d), entry->d_name, 0);
	if (d != NULL)
		closedir(d);
}

bool
store_is_checked(const char *path, const struct stat *st, const char *sha256)
{
	char		name[STAMP_BYTES];
	char		file[MAXPGPATH];
	struct stat stamp;

	put_stamp_name(name, path, st, sha256);
	put_cache_path(file, name);
	return stat(file, &stamp) == 0;
}

/* Without a stamp the next backend reads the file again: slower, not wrong.  So never an error here, either. */
void
store_set_checked(const char *path, const struct stat *st, const char *sha256)
{
	char		name[STAMP_BYTES];
	char		file[MAXPGPATH];
	int			fd;

	snprintf(file, sizeof(file), "%s/%s", DataDir, CACHE_DIR);
	if (MakePGDirectory(file) < 0 && errno != EEXIST)
		return;
	put_stamp_name(name, path, st, sha256);
	unlink_stamps(path, name);
	put_cache_path(file, name);
	fd = open(file, O_CREAT | O_WRONLY | PG_BINARY, pg_file_create_mode);
	if (fd >= 0)
		close(fd);
}

void
store_unlink_model(const char *path)
{
	/* In this order: a crash between the two leaves what a sweep finds. */
	unlink_stamps(path, "");
	unlink(path);
}

/* What a crash has left of a file that was being written. */
static bool
is_stale(const char *name)
{
	int			pid;

	return sscanf(name, IMPORT_PREFIX "%d", &pid) == 1 && !store_backend_exists(pid);
}

/* A file of no model: of this database's that has been dropped, or of a database's that has been. */
static bool
is_orphan(const char *name)
{
	Oid			database;
	char		sha256[STORE_HEX_LEN + 1];
	char		end[8];

	if (sscanf(name, "%u_%64[0-9a-f]%7s", &database, sha256, end) != 3 || strcmp(end, ".fsi") != 0)
		return false;
	if (database == MyDatabaseId)
		return !store_identity_in_use(sha256);
	return !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
}

/* Whether there are any; remove them. */
static bool
sweep(bool remove)
{
	bool		found = false;
	ListCell   *cell;

	foreach(cell, store_names_in(store_cache_path("")))
	{
		const char *name = lfirst(cell);

		if (!is_stale(name) && !is_orphan(name))
			continue;
		found = true;
		if (remove)
			store_unlink_model(store_cache_path(name));
	}
	return found;
}

void
store_sweep(void)
{
	(void) sweep(true);
}

void
store_sweep_unless_busy(void)
{
	LOCKTAG		lock;

	if (RecoveryInProgress())
		store_sweep();
	else if (!IsParallelWorker() && sweep(false) && store_try_lock_catalog(&lock))
	{
		store_sweep();
		LockRelease(&lock, ExclusiveLock, false);
	}
}
