/*
 * hf_temp.c
 *	  The directory that a model is written to before it gets its name.
 *
 * It is called NAME.tmp-PID, and who is at work there holds a lock on it (flock), which goes with the process, however
 * that ends.  So what a killed one has left is told from what others are writing, be they of another server or in
 * another container, and goes when NAME is written again.  Where the file system has no locks nothing is removed.
 */
#include "hf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 10				/* others may take a directory that is not locked yet for a left-over */
#define PID_DIGITS 10

/* All that is written. */
static const char *const file_names[] = {
	"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors",
};

#define N_FILES (sizeof(file_names) / sizeof(file_names[0]))

static int
open_dir(int parent, const char *name)
{
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Whether fd still has that name: else another has renamed or removed it. */
static bool
has_name(int fd, int parent, const char *name)
{
	struct stat mine,
				there;

	return fstat(fd, &mine) == 0 && fstatat(parent, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static bool
is_own_file(const char *name)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (strcmp(name, file_names[i]) == 0)
			return true;
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A stream of the directory's names; fd stays open, its lock held. */
static DIR *
names_of(int fd)
{
	int			copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR		   *d = copy < 0 ? NULL : fdopendir(copy);

	if (d != NULL)
		rewinddir(d);
	else if (copy >= 0)
		close(copy);
	return d;
}

static bool
has_own_files_only(int fd)
{
	DIR		   *d = names_of(fd);
	struct dirent *entry;
	bool		own = d != NULL;

	while (own && (entry = readdir(d)) != NULL)
		own = is_own_file(entry->d_name);
	if (d != NULL)
		closedir(d);
	return own;
}

static void
remove_files(int fd)
{
	for (size_t i = 0; i < N_FILES; i++)
		(void) unlinkat(fd, file_names[i], 0);
}

/* Remove a directory of the right name, unless it is another user's, at work, or holds anything else. */
static void
remove_left_over(int parent, const char *name)
{
	int			fd = open_dir(parent, name);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
		has_name(fd, parent, name) && has_own_files_only(fd))
	{
		remove_files(fd);
		(void) unlinkat(parent, name, AT_REMOVEDIR);
	}
	close(fd);
}

static bool
is_temp_of(const char *name, const char *base)
{
	size_t		len = strlen(base),
				digits;

	if (strncmp(name, base, len) != 0 || strncmp(name + len, HF_TEMP, strlen(HF_TEMP)) != 0)
		return false;
	name += len + strlen(HF_TEMP);
	digits = strspn(name, "0123456789");
	return digits > 0 && digits <= PID_DIGITS && name[digits] == '\0';
}

static void
remove_left_overs(int parent, const char *base)
{
	DIR		   *d = names_of(parent);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL)
		if (is_temp_of(entry->d_name, base))
			remove_left_over(parent, entry->d_name);
	if (d != NULL)
		closedir(d);
}

/* A new directory, locked, or where the file system has no locks just so; -1 with errno. */
static int
make_locked(int parent, const char *name)
{
	for (int i = 0; i < TRIES; i++)
	{
		int			fd;

		if (mkdirat(parent, name, 0777) != 0)
			return -1;
		fd = open_dir(parent, name);
		if (fd < 0 && errno != ENOENT)
		{
			int			code = errno;

			(void) unlinkat(parent, name, AT_REMOVEDIR);
			errno = code;
			return -1;
		}
		if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && has_name(fd, parent, name))
			return fd;
		if (fd >= 0)
			close(fd);
		(void) unlinkat(parent, name, AT_REMOVEDIR);
	}
	errno = EBUSY;
	return -1;
}

FsiStatus
hf_temp_make(const char *dir, FsiArena *arena, HfTemp *temp, FsiError *err)
{
	const char *slash = strrchr(dir, '/');
	const char *base = slash == NULL ? dir : slash + 1;
	size_t		len = strlen(dir) + sizeof(HF_TEMP) + PID_DIGITS;
	char	   *parent_path = slash == NULL ? fsi_arena_strndup(arena, ".", 1) :
		fsi_arena_strndup(arena, dir, slash == dir ? 1 : (size_t) (slash - dir));
	FsiStatus	status = FSI_OK;
	struct stat st;
	int			parent;

	temp->path = fsi_arena_alloc(arena, len);
	if (temp->path == NULL || parent_path == NULL)
		return fsi_nomem(err, len);
	snprintf(temp->path, len, "%s" HF_TEMP "%ld", dir, (long) getpid());
	parent = open(parent_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return fsi_fail_errno(err, "could not create directory \"%s\"", dir);
	remove_left_overs(parent, base);
	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0)
	{
		close(parent);
		errno = EEXIST;
		return fsi_fail_errno(err, "could not create directory \"%s\"", dir);
	}
	temp->fd = make_locked(parent, temp->path + (base - dir));
	if (temp->fd < 0)
		status = fsi_fail_errno(err, "could not create directory \"%s\"", errno == EEXIST ? temp->path : dir);
	close(parent);
	return status;
}

void
hf_temp_remove(const HfTemp *temp)
{
	remove_files(temp->fd);
	(void) rmdir(temp->path);
}
