/*
 * file.c
 *	  Read a whole regular file into an arena; what replacing a file by rename needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsi_base.h"

#define READ_BYTES ((size_t) 1 << 20)	/* at once: signals do not interrupt the reading of a file */

/* What a clone without Git LFS has in a large file's place. */
static FsiStatus
check_not_pointer(const char *path, const uint8_t *bytes, size_t size, FsiError *err)
{
	static const char head[] = "version https://git-lfs.github.com/spec/";

	if (size < sizeof(head) || memcmp(bytes, head, sizeof(head) - 1) != 0)
		return FSI_OK;
	fsi_fail(err, FSI_CORRUPT, "file \"%s\" is a pointer of Git LFS, not the file itself", path);
	fsi_hint(err, "Install Git LFS and run \"git lfs pull\" in its folder.");
	return FSI_CORRUPT;
}

FsiStatus
fsi_read_file(const char *path, size_t limit, FsiArena *arena,
			  uint8_t **data, size_t *len, FsiError *err)
{
	struct stat st;
	uint8_t    *bytes;
	size_t		size,
				got = 0;
	FsiStatus	status = FSI_OK;
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fsi_fail_errno(err, "could not open file \"%s\"", path);
	if (fstat(fd, &st) != 0)
		status = fsi_fail_errno(err, "could not stat file \"%s\"", path);
	else if (!S_ISREG(st.st_mode))
		status = fsi_fail(err, FSI_INVALID, "\"%s\" is not a regular file", path);
	else if ((uint64_t) st.st_size > limit)
	{
		status = fsi_fail(err, FSI_LIMIT, "file \"%s\" is too large", path);
		fsi_detail(err, "It has %llu bytes; at most %zu are read.",
				   (unsigned long long) st.st_size, limit);
	}
	if (status != FSI_OK)
	{
		close(fd);
		return status;
	}

	size = (size_t) st.st_size;
	bytes = fsi_arena_alloc(arena, size + 1);
	if (bytes == NULL)
		status = fsi_nomem(err, size + 1);
	while (status == FSI_OK && got < size)
	{
		ssize_t		n = read(fd, bytes + got, size - got < READ_BYTES ? size - got : READ_BYTES);

		if (n > 0)
			got += (size_t) n;
		else if (n == 0)
			status = fsi_fail(err, FSI_IO, "file \"%s\" became shorter while it was read", path);
		else if (errno != EINTR)
			status = fsi_fail_errno(err, "could not read file \"%s\"", path);
		if (fsi_should_stop(arena->host))
			status = fsi_cancelled(err);
	}
	close(fd);
	if (status == FSI_OK)
		status = check_not_pointer(path, bytes, size, err);
	if (status == FSI_OK)
	{
		bytes[size] = '\0';
		*data = bytes;
		*len = size;
	}
	return status;
}

int
fsi_create_anew(const char *path, int mode)
{
	const int	flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int			fd = open(path, flags, mode);

	if (fd < 0 && errno == EEXIST && unlink(path) == 0)
		fd = open(path, flags, mode);
	return fd;
}

int
fsi_sync_dir(const char *dir)
{
	int			fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int			result,
				code;

	if (fd < 0)
		return -1;
	result = fsync(fd);
	code = errno;
	close(fd);
	errno = code;
	return result;
}
