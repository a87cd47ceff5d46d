/*
 * tap.h
 *	  The few lines of the Test Anything Protocol that the unit tests need.
 *
 * Include in one file per program.  End main() with: return tap_done();
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int	tap_count = 0;
static int	tap_failed = 0;

/* Where temporary files go. */
__attribute__((unused))
static const char *
temp_base(void)
{
	const char *base = getenv("TMPDIR");

	return base == NULL || base[0] == '\0' || strlen(base) > 200 ? "/tmp" : base;
}

__attribute__((format(printf, 2, 3), unused))
static bool
ok(bool condition, const char *fmt,...)
{
	va_list		args;

	printf("%sok %d - ", condition ? "" : "not ", ++tap_count);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	tap_failed += !condition;
	return condition;
}

__attribute__((format(printf, 1, 2), unused))
static void
skip(const char *fmt,...)
{
	va_list		args;

	printf("ok %d # skip ", ++tap_count);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

__attribute__((format(printf, 1, 2), unused))
static void
diag(const char *fmt,...)
{
	va_list		args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

/* Folder of shared test material, or NULL (then skip what needs it with one line). */
__attribute__((unused))
static const char *
tap_shared(void)
{
	const char *dir = getenv("FSI_SHARED");
	char		reference[4096];

	if (dir == NULL || dir[0] == '\0')
		dir = "../shared";
	/* A folder of that name may be somebody else's. */
	snprintf(reference, sizeof(reference), "%s/reference", dir);
	return access(reference, R_OK) == 0 ? dir : NULL;
}

__attribute__((unused))
static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0;
}

#endif
