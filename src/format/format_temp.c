/*
 * format_temp.c
 *	  Names and locks of what is being written.
 */
#include "format_temp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char *
format_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

int
format_open_parent(const char *path)
{
	char		parent[PATH_MAX];
	int			len = (int) (format_base(path) - path);

	if (snprintf(parent, sizeof(parent), "%.*s.", len, path) >= (int) sizeof(parent))
	{
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

DIR *
format_names_of(int fd)
{
	int			copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR		   *d = copy < 0 ? NULL : fdopendir(copy);

	if (d != NULL)
		rewinddir(d);
	else if (copy >= 0)
		close(copy);
	return d;
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

bool
format_lock_new(int fd, int parent, const char *name)
{
	return (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && has_name(fd, parent, name);
}

bool
format_lock_left_over(int fd, int parent, const char *name)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
		has_name(fd, parent, name);
}

static bool
is_temp_of(const char *name, const char *base)
{
	size_t		len = strlen(base),
				digits;

	if (strncmp(name, base, len) != 0 || strncmp(name + len, FORMAT_TEMP, strlen(FORMAT_TEMP)) != 0)
		return false;
	name += len + strlen(FORMAT_TEMP);
	digits = strspn(name, "0123456789");
	return digits > 0 && digits <= FORMAT_TEMP_DIGITS && name[digits] == '\0';
}

void
format_remove_left_overs(int parent, const char *base, void (*remove) (int parent, const char *name))
{
	DIR		   *d = format_names_of(parent);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL)
		if (is_temp_of(entry->d_name, base))
			remove(parent, entry->d_name);
	if (d != NULL)
		closedir(d);
}
