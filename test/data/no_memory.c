/*
 * no_memory.c
 *	  Loaded before a server's libraries: refuse a process memory while it reads a folder "fsi_intent", to map a file,
 *	  while it loads fsi_intent.so, or by the size of what it asks for.
 *
 * The file that $FSI_NO_MEMORY names has a number, 32 bits: of the opendir() that is the one, counted by all processes
 * from when it was written.  0: none.  -1: no file is mapped to be read.  1000 and more: what is beyond 1000 is the number
 * of the piece of memory that is refused, counted by each process from its first look at fsi_intent.so.
 *
 * Two more numbers, where they are there, are sizes in bytes: of pieces of memory from the first to the second size all are
 * refused, or, where the first number of all is not 0, that one of them, counted by all processes from when it was written.
 * A fourth number counts those that were refused.  A fifth, where it is not 0, another for each order: and from that one
 * on all of any size, to the process that was refused it.
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

typedef struct Order
{
	int32_t		left;
	int32_t		low,
				high;
	int32_t		refused;
	int32_t		rest;
} Order;

static Order *order;			/* shared by all processes */
static int32_t rest;			/* this process has been refused one for that order, and is refused all that come after */
static bool refuse;

__attribute__((constructor))
static void
attach(void)
{
	const char *path = getenv("FSI_NO_MEMORY");
	int			fd = path == NULL ? -1 : open(path, O_RDWR);

	if (fd < 0)
		return;
	order = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (order == MAP_FAILED)
		abort();
	close(fd);
}

#define LOADING 1000
static int	pieces_left;		/* until one is refused */

static bool
is_refused_by_size(size_t bytes)
{
	if (order != NULL && rest != 0 && rest == order->rest)
	{
		errno = ENOMEM;
		return true;
	}
	if (order == NULL || order->high == 0 || bytes < (size_t) order->low || bytes > (size_t) order->high)
		return false;
	if (order->left > 0)
	{
		if (--order->left > 0)
			return false;
		order->high = 0;
	}
	rest = order->rest;
	order->refused++;
	errno = ENOMEM;
	return true;
}

static bool
is_refused(size_t bytes)
{
	if (is_refused_by_size(bytes))
		return true;
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
	return is_refused(bytes) ? NULL : __libc_malloc(bytes);
}

void *
calloc(size_t n, size_t bytes)
{
	return is_refused(n * bytes) ? NULL : __libc_calloc(n, bytes);
}

void *
realloc(void *p, size_t bytes)
{
	return is_refused(bytes) ? NULL : __libc_realloc(p, bytes);
}

void *
mmap(void *at, size_t bytes, int rights, int flags, int fd, off_t from)
{
	if (fd >= 0 && rights == PROT_READ && order != NULL && order->left < 0)
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

	if (!seen && order != NULL && order->left > LOADING && strstr(path, "/fsi_intent.so") != NULL)
	{
		seen = true;
		pieces_left = order->left - LOADING;
	}
	return real(path, st);
}

DIR *
opendir(const char *path)
{
	DIR		   *(*real) (const char *) = (DIR *(*) (const char *)) dlsym(RTLD_NEXT, "opendir");
	DIR		   *d = real(path);

	if (order != NULL && order->high == 0 && order->left > 0 && order->left < LOADING && strstr(path, "/fsi_intent") != NULL)
		refuse = --order->left == 0;
	return d;
}

int
closedir(DIR *d)
{
	int			(*real) (DIR *) = (int (*) (DIR *)) dlsym(RTLD_NEXT, "closedir");

	refuse = false;
	return real(d);
}
