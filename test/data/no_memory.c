/*
 * no_memory.c
 *	  Loaded before a server's libraries: refuse a process memory while it reads a folder "fsi_intent", to map a file, or
 *	  while it loads fsi_intent.so.
 *
 * The file that $FSI_NO_MEMORY names has a number, 32 bits: of the opendir() that is the one, counted by all processes
 * from when it was written.  0: none.  -1: no file is mapped to be read.  1000 and more: what is beyond 1000 is the number
 * of the piece of memory that is refused, counted by each process from its first look at fsi_intent.so.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's own, also by these names. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);

static int32_t *left;			/* shared by all processes */
static bool refuse;

__attribute__((constructor))
static void
attach(void)
{
	const char *path = getenv("FSI_NO_MEMORY");
	int			fd = path == NULL ? -1 : open(path, O_RDWR);

	if (fd < 0)
		return;
	left = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (left == MAP_FAILED)
		abort();
	close(fd);
}

#define LOADING 1000
static int	pieces_left;		/* until one is refused */

static bool
is_refused(void)
{
	if (pieces_left > 0 && --pieces_left == 0)
	{
		errno = ENOMEM;
		return true;
	}
	if (refuse)
		errno = ENOMEM;
	return refuse;
}

void *
malloc(size_t bytes)
{
	return is_refused() ? NULL : __libc_malloc(bytes);
}

void *
calloc(size_t n, size_t bytes)
{
	return is_refused() ? NULL : __libc_calloc(n, bytes);
}

void *
realloc(void *p, size_t bytes)
{
	return is_refused() ? NULL : __libc_realloc(p, bytes);
}

void *
mmap(void *at, size_t bytes, int rights, int flags, int fd, off_t from)
{
	if (fd >= 0 && rights == PROT_READ && left != NULL && *left < 0)
	{
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *) syscall(SYS_mmap, at, bytes, rights, flags, fd, from);
}

int
stat(const char *path, struct stat *st)
{
	int			(*real) (const char *, struct stat *) = (int (*) (const char *, struct stat *)) dlsym(RTLD_NEXT, "stat");
	static bool seen;

	if (!seen && left != NULL && *left > LOADING && strstr(path, "/fsi_intent.so") != NULL)
	{
		seen = true;
		pieces_left = *left - LOADING;
	}
	return real(path, st);
}

DIR *
opendir(const char *path)
{
	DIR		   *(*real) (const char *) = (DIR *(*) (const char *)) dlsym(RTLD_NEXT, "opendir");
	DIR		   *d = real(path);

	if (left != NULL && *left > 0 && *left < LOADING && strstr(path, "/fsi_intent") != NULL)
		refuse = --*left == 0;
	return d;
}

int
closedir(DIR *d)
{
	int			(*real) (DIR *) = (int (*) (DIR *)) dlsym(RTLD_NEXT, "closedir");

	refuse = false;
	return real(d);
}
