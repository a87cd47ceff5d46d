/*
 * stop_at.c
 *	  Loaded before a server's libraries: end a process, or fill its disk, at a named step of writing files.
 *
 * A step is a system call that changes a file below a folder "fsi_intent", or one of the WAL: the call's name, a space,
 * the file's.  What to do is in the file that $FSI_STOP_AT names, read once by each process at its first step:
 *
 *	trace FILE				append every step to FILE, a line each
 *	kill COUNT PATTERN		at the COUNTth step that the pattern fits (fnmatch): SIGKILL; a write is half done before
 *	term COUNT PATTERN		before that step: SIGTERM; not before one that writes
 *	full COUNT PATTERN		from that step on there is no room, but for the WAL; a write is half done before
 *
 * Without the file nothing is done.  Nothing is synced: what a killed process has written stays.  For processes with one
 * thread that writes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MAX_FD 1024
#define NAME_BYTES 96
#define WAL "wal"				/* whatever the segment; it never fills */

/* The C library's own function of that name. */
#define REAL(name) ({ \
		static __typeof__(&name) real; \
		if (real == NULL) \
			real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name); \
		real; \
	})

static enum { UNREAD, NOTHING, TRACE, KILL, TERM, FULL } mode;
static pid_t reader;			/* whose mode it is: a child reads its own */
static char argument[256];
static int	count;
static bool full;
static char names[MAX_FD][NAME_BYTES];	/* of open files that are looked at; "": is not */

static void
read_mode(void)
{
	const char *path = getenv("FSI_STOP_AT");
	FILE	   *file = path == NULL ? NULL : fopen(path, "r");
	char		word[8] = "";

	reader = getpid();
	mode = NOTHING;
	full = false;
	if (file == NULL)
		return;
	if (fscanf(file, "%7s", word) == 1 && strcmp(word, "trace") == 0)
		mode = fscanf(file, " %255[^\n]", argument) == 1 ? TRACE : NOTHING;
	else if (fscanf(file, "%d %255[^\n]", &count, argument) == 2)
		mode = strcmp(word, "kill") == 0 ? KILL : strcmp(word, "term") == 0 ? TERM : FULL;
	fclose(file);
}

static void
note(const char *step)
{
	int			fd = REAL(open) (argument, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (fd < 0)
		abort();
	dprintf(fd, "%s\n", step);
	REAL(close) (fd);
}

/* The name of a file that is looked at, or "". */
static const char *
name_of(const char *path)
{
	if (strncmp(path, "pg_wal/", strlen("pg_wal/")) == 0)
		return WAL;
	return strstr(path, "/fsi_intent") == NULL ? "" : strrchr(path, '/') + 1;
}

static const char *
name_of_open(int fd)
{
	return fd >= 0 && fd < MAX_FD ? names[fd] : "";
}

/* True: this is the step. */
static bool
reach(const char *call, const char *name)
{
	char		step[NAME_BYTES + 16];

	if (name[0] == '\0')
		return false;
	if (mode == UNREAD || reader != getpid())
		read_mode();
	if (mode == NOTHING)
		return false;
	snprintf(step, sizeof(step), "%s %s", call, name);
	if (mode == TRACE)
		note(step);
	return mode != TRACE && fnmatch(argument, step, 0) == 0 && --count == 0;
}

static bool
is_full(const char *name)
{
	return full && name[0] != '\0' && strcmp(name, WAL) != 0;
}

/* A step that is done or not; false: there is no room. */
static bool
may(const char *call, const char *name, bool takes_room)
{
	if (reach(call, name))
	{
		if (mode != FULL)
			kill(getpid(), mode == KILL ? SIGKILL : SIGTERM);
		full = mode == FULL;
	}
	if (!takes_room || !is_full(name))
		return true;
	errno = ENOSPC;
	return false;
}

/* How many of n bytes may be written; none: there is no room. */
static size_t
room(const char *call, int fd, size_t n, bool *kill_after)
{
	*kill_after = false;
	if (reach(call, name_of_open(fd)))
	{
		full = mode == FULL;
		*kill_after = mode == KILL;
		return n / 2;
	}
	return is_full(name_of_open(fd)) ? 0 : n;
}

static ssize_t
write_some(const char *call, int fd, const void *data, size_t n, off64_t at)
{
	bool		kill_after;
	size_t		some = room(call, fd, n, &kill_after);
	ssize_t		done = 0;

	if (some > 0)
		done = at < 0 ? REAL(write) (fd, data, some) : REAL(pwrite64) (fd, data, some, at);
	if (kill_after)
		kill(getpid(), SIGKILL);
	if (some == 0 && n > 0)
	{
		errno = ENOSPC;
		return -1;
	}
	return done;
}

/* ---- What processes call. ---- */

static int
open_file(const char *path, int flags, mode_t bits)
{
	int			fd;

	if ((flags & O_CREAT) != 0 && !may("create", name_of(path), true))
		return -1;
	fd = REAL(open) (path, flags, bits);
	if (fd >= 0 && fd < MAX_FD)
		snprintf(names[fd], NAME_BYTES, "%s", name_of(path));
	return fd;
}

#define OPEN(function) \
	int function(const char *path, int flags, ...) \
	{ \
		va_list		args; \
		mode_t		bits; \
\
		va_start(args, flags); \
		bits = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0; \
		va_end(args); \
		return open_file(path, flags, bits); \
	}

OPEN(open)
OPEN(open64)

int
close(int fd)
{
	if (fd >= 0 && fd < MAX_FD)
		names[fd][0] = '\0';
	return REAL(close) (fd);
}

ssize_t
write(int fd, const void *data, size_t n)
{
	return write_some("write", fd, data, n, -1);
}

ssize_t
pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	return write_some("pwrite", fd, data, n, at);
}

ssize_t
pwrite(int fd, const void *data, size_t n, off_t at)
{
	return write_some("pwrite", fd, data, n, at);
}

int
fsync(int fd)
{
	return may("fsync", name_of_open(fd), true) ? 0 : -1;
}

int
fdatasync(int fd)
{
	return may("fdatasync", name_of_open(fd), true) ? 0 : -1;
}

int
rename(const char *from, const char *to)
{
	return may("rename", name_of(to), true) ? REAL(rename) (from, to) : -1;
}

int
link(const char *from, const char *to)
{
	return may("link", name_of(to), true) ? REAL(link) (from, to) : -1;
}

int
mkdir(const char *path, mode_t bits)
{
	/* One that is there takes no room. */
	return may("mkdir", name_of(path), access(path, F_OK) != 0) ? REAL(mkdir) (path, bits) : -1;
}

int
unlink(const char *path)
{
	return may("unlink", name_of(path), false) ? REAL(unlink) (path) : -1;
}

int
rmdir(const char *path)
{
	return may("rmdir", name_of(path), false) ? REAL(rmdir) (path) : -1;
}
