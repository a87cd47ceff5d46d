/*
 * hf_temp.c
 *	  The directory that a model is written to before it gets its name.
 */
#include "format_temp.h"
#include "hf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool
is_own_file(const char *name)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (strcmp(name, file_names[i]) == 0)
			return true;
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool
has_own_files_only(int fd)
{
	DIR		   *d = format_names_of(fd);
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

/* Remove a directory of the right name, unless it holds anything else. */
static void
remove_left_over(int parent, const char *name)
{
	int			fd = open_dir(parent, name);

	if (fd < 0)
		return;
	if (format_lock_left_over(fd, parent, name) && has_own_files_only(fd))
	{
		remove_files(fd);
		(void) unlinkat(parent, name, AT_REMOVEDIR);
	}
	close(fd);
}

/* A new directory, locked, or where the file system has no locks just so; -1 with errno. */
static int
make_locked(int parent, const char *name)
{
	for (int i = 0; i < FORMAT_TEMP_TRIES; i++)
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
		if (fd >= 0 && format_lock_new(fd, parent, name))
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
	const char *base = format_base(dir);
	size_t		len = strlen(dir) + sizeof(FORMAT_TEMP) + FORMAT_TEMP_DIGITS;
	FsiStatus	status = FSI_OK;
	struct stat st;
	int			parent;

	temp->path = fsi_arena_alloc(arena, len);
	if (temp->path == NULL)
		return fsi_nomem(err, len);
	snprintf(temp->path, len, "%s" FORMAT_TEMP "%ld", dir, (long) getpid());
	parent = format_open_parent(dir);
	if (parent < 0)
		return fsi_fail_errno(err, "could not create directory \"%s\"", dir);
	format_remove_left_overs(parent, base, remove_left_over);
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
