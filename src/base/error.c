/*
 * error.c
 *	  Status and message of what went wrong; see fsi_base.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1			/* strerror_r that returns the text */
#endif
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fsi_base.h"

static void
start(FsiError *err, FsiStatus status, const char *fmt, va_list args)
{
	err->status = status;
	err->sys_errno = 0;
	err->detail[0] = '\0';
	err->hint[0] = '\0';
	vsnprintf(err->message, sizeof(err->message), fmt, args);
}

FsiStatus
fsi_fail(FsiError *err, FsiStatus status, const char *fmt,...)
{
	if (err != NULL)
	{
		va_list		args;

		va_start(args, fmt);
		start(err, status, fmt, args);
		va_end(args);
	}
	return status;
}

FsiStatus
fsi_fail_errno(FsiError *err, const char *fmt,...)
{
	int			code = errno;
	FsiStatus	status = code == ENOENT || code == ENOTDIR ? FSI_MISSING : FSI_IO;

	if (err != NULL)
	{
		va_list		args;
		size_t		len,
					room;
		char		reason[128] = "";
		const char *why;

		va_start(args, fmt);
		start(err, status, fmt, args);
		va_end(args);
		err->sys_errno = code;

		/* GNU strerror_r: may ignore the buffer, never fails.  A long path must not push the reason out. */
		why = strerror_r(code, reason, sizeof(reason));
		room = sizeof(err->message) - sizeof(": ") - strlen(why);
		len = strlen(err->message);
		if (len > room)
		{
			len = room;
			memcpy(err->message + len - 3, "...", 3);
		}
		snprintf(err->message + len, sizeof(err->message) - len, ": %s", why);
	}
	return status;
}

FsiStatus
fsi_nomem(FsiError *err, size_t bytes)
{
	return fsi_fail(err, FSI_NOMEM, "out of memory: %zu bytes were refused", bytes);
}

FsiStatus
fsi_cancelled(FsiError *err)
{
	return fsi_fail(err, FSI_CANCELLED, "cancelled");
}

void
fsi_detail(FsiError *err, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return;
	va_start(args, fmt);
	vsnprintf(err->detail, sizeof(err->detail), fmt, args);
	va_end(args);
}

void
fsi_hint(FsiError *err, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return;
	va_start(args, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
}
