/*
 * no_memory.c
 *	  Loaded before a server's libraries: refuse a process memory while it reads a folder "fsi_intent", or to map a file.
 *
 * The file that $FSI_NO_MEMORY names has a number, 32 bits: of the opendir() that is the one, counted by all processes
 * from when it was written.  0: none.  -1: no file is mapped to be read.
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

static bool
is_refused(void)
{
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

DIR *
opendir(const char *path)
{
	DIR		   *(*real) (const char *) = (DIR *(*) (const char *)) dlsym(RTLD_NEXT, "opendir");
	DIR		   *d = real(path);

	if (left != NULL && *left > 0 && strstr(path, "/fsi_intent") != NULL)
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
