/*
 * fsi_host.h
 *	  The lower floor as a guest of PostgreSQL: memory contexts, errors, interrupts, encodings.
 *
 * A Host is an FsiHost whose memory comes from one memory context, so that whatever the
 * lower floor forgets at an error is freed with the context, and that stops when the
 * backend was asked to.  FsiError becomes ereport() with a precise SQLSTATE.  Nothing here
 * throws while the lower floor is on the stack.
 */
#ifndef FSI_HOST_H
#define FSI_HOST_H

#include "postgres.h"

#include "fsi_base.h"
#include "fsi_compat.h"

typedef FsiText HostText;

/* Memory from context (which may be reset or deleted to free all of it at once). */
extern void host_init(FsiHost *host, MemoryContext context);

/* End the process where the postmaster has died, as PostgreSQL does where it waits: for loops that seldom wait. */
extern void host_check_postmaster(void);

/* Whether a setting is yet to be defined; not, where an earlier loading of the library has got that far. */
extern bool host_lacks_setting(const char *name);

/* errcode_for_file_access(), with 58030 in place of an internal error where that does not know errno. */
extern int	host_errcode_for_file_access(void);

/* Raise err as an ERROR; a cancelled call processes the pending interrupt first. */
pg_noreturn extern void host_report(const FsiError *err);

/* Run a call of the lower floor that fills the local variable "err". */
#define HOST_TRY(call) \
	do { if (unlikely((call) != FSI_OK)) host_report(&err); } while (0)

/* As fsi_arena_array() and fsi_arena_zero(), but raise "out of memory". */
extern void *host_array(FsiArena *arena, size_t n, size_t size);
extern void *host_zero(FsiArena *arena, size_t n, size_t size);

/*
 * UTF-8 of a string in the database's encoding (itself where that is UTF-8).  Under SQL_ASCII the
 * bytes must be UTF-8: else ERROR 22021 with the offset of the first byte that is not.
 */
extern HostText host_utf8(const char *s, size_t len);
extern HostText host_utf8_text(const text *t);
/* A text in the database's encoding from UTF-8; ERROR 22P05 for a character that it lacks. */
extern text *host_text(const char *utf8, size_t len);

/* The string for an error message: at most 60 bytes of it, "..." where it was cut. */
extern const char *host_excerpt(const char *s, size_t len);
extern const char *host_utf8_excerpt(HostText t);

#endif
