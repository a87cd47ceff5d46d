/*
 * host.c
 *	  Memory, errors, interrupts and encodings for the lower floor.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/string.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "fsi_compat.h"
#include "fsi_host.h"
#include "fsi_text.h"

/* The lower floor wants 16-aligned memory, a memory context gives 8: keep the chunk's address before the block. */
#define HOST_ALIGN 16
#define EXCERPT_BYTES 60
#define PIECE_BYTES ((size_t) 64 * 1024)	/* of a text, between two looks at interrupts */

static void *
host_alloc(void *ctx, size_t bytes)
{
	char	   *chunk;
	char	   *aligned;

	if (bytes > MaxAllocHugeSize - 2 * HOST_ALIGN)
		return NULL;
	chunk = MemoryContextAllocExtended((MemoryContext) ctx, bytes + 2 * HOST_ALIGN,
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (chunk == NULL)
		return NULL;
	aligned = (char *) TYPEALIGN(HOST_ALIGN, chunk + sizeof(void *));
	memcpy(aligned - sizeof(void *), &chunk, sizeof(void *));
	return aligned;
}

static void
host_release(void *ctx, void *ptr)
{
	void	   *chunk;

	(void) ctx;
	memcpy(&chunk, (char *) ptr - sizeof(void *), sizeof(void *));
	pfree(chunk);
}

/* The postmaster is gone, and cannot be started again while this process is there. */
static bool
is_orphan(void)
{
	return IsUnderPostmaster && !PostmasterIsAlive();
}

void
host_check_postmaster(void)
{
	if (is_orphan())
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("terminating connection due to unexpected postmaster exit")));
}

/*
 * True when CHECK_FOR_INTERRUPTS() would end the statement or the backend, or nobody is there to stop it.  What a standby
 * has to replay counts by its mark here: since PostgreSQL 16 it is no cancel until interrupts are processed.
 */
static bool
host_should_stop(void *ctx)
{
	(void) ctx;
	if (is_orphan())
		return true;
	return InterruptPending &&
		(QueryCancelPending || ProcDiePending || MyProc->recoveryConflictPending || compat_transaction_timed_out()) &&
		InterruptHoldoffCount == 0 && QueryCancelHoldoffCount == 0 && CritSectionCount == 0;
}

void
host_init(FsiHost *host, MemoryContext context)
{
	host->ctx = context;
	host->alloc = host_alloc;
	host->release = host_release;
	host->should_stop = host_should_stop;
}

bool
host_lacks_setting(const char *name)
{
	return GetConfigOption(name, true, false) == NULL || (GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) != 0;
}

void *
host_array(FsiArena *arena, size_t n, size_t size)
{
	void	   *p = fsi_arena_array(arena, Max(n, 1), size);

	if (p == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed on request of %zu elements of %zu bytes.", n, size)));
	return p;
}

void *
host_zero(FsiArena *arena, size_t n, size_t size)
{
	return memset(host_array(arena, n, size), 0, n * size);
}

/* A message of the lower floor (UTF-8, may be cut inside a character) in the database's encoding. */
static char *
message_text(const char *message)
{
	char	   *s = pstrdup(message);
	size_t		len = strlen(s);
	size_t		bad;
	Oid			proc;
	unsigned char *converted;
	int			done;

	while ((bad = text_utf8_valid(s, len)) < len)
		s[bad] = '?';
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII || pg_is_ascii(s))
		return s;
	proc = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (!OidIsValid(proc))
		return s;
	converted = palloc0(len * MAX_CONVERSION_GROWTH + 1);
	done = pg_do_encoding_conversion_buf(proc, PG_UTF8, GetDatabaseEncoding(), (unsigned char *) s, (int) len,
										 converted, (int) (len * MAX_CONVERSION_GROWTH + 1), true);
	/* A character that the database lacks ends the message: better short than another error. */
	return (size_t) done == len ? (char *) converted : psprintf("%s?", (char *) converted);
}

static int
status_sqlstate(const FsiError *err)
{
	switch (err->status)
	{
		case FSI_NOMEM:
			return ERRCODE_OUT_OF_MEMORY;
		case FSI_INVALID:
		case FSI_COLLISION:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case FSI_LIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case FSI_CORRUPT:
			return ERRCODE_DATA_CORRUPTED;
		case FSI_UNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case FSI_MISSING:
			return ERRCODE_UNDEFINED_FILE;
		case FSI_CANCELLED:
			return ERRCODE_QUERY_CANCELED;
		case FSI_IO:
			return ERRCODE_IO_ERROR;
		case FSI_OK:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

int
host_errcode_for_file_access(void)
{
	(void) errcode_for_file_access();
	if (geterrcode() == ERRCODE_INTERNAL_ERROR)
		(void) errcode(ERRCODE_IO_ERROR);
	return 0;
}

void
host_report(const FsiError *err)
{
	bool		io = err->status == FSI_IO && err->sys_errno != 0;

	if (err->status == FSI_CANCELLED)
	{
		host_check_postmaster();
		CHECK_FOR_INTERRUPTS();
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
	}
	errno = err->sys_errno;
	ereport(ERROR,
			(io ? host_errcode_for_file_access() : errcode(status_sqlstate(err)),
			 errmsg("%s", message_text(err->message)),
			 err->detail[0] ? errdetail("%s", message_text(err->detail)) : 0,
			 err->hint[0] ? errhint("%s", message_text(err->hint)) : 0));
}

/* SQL_ASCII has let anything in. */
static void
check_utf8(const char *s, size_t len)
{
	for (size_t at = 0; at < len;)
	{
		size_t		n = Min(len - at, PIECE_BYTES);
		size_t		valid = text_utf8_valid(s + at, n);

		/* Only a character that the piece's end has cut may be read again. */
		if (valid == 0 || (valid < n && n == len - at))
			ereport(ERROR,
					(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
					 errmsg("invalid byte sequence for encoding \"UTF8\" at byte %zu: 0x%02x",
							at + valid, (unsigned char) s[at + valid]),
					 errdetail("The database's encoding is SQL_ASCII, so the text must be UTF-8."),
					 errhint("Convert it, for example with convert_from(convert(bytes, 'LATIN1', 'UTF8'), 'UTF8').")));
		at += valid;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Convert in pieces, so that a long text can be cancelled.  The conversion proper takes a cut character at a
 * piece's end for an error: leave it to the next piece, and raise errors where there is no progress.
 */
static char *
convert(const char *s, size_t len, int from, int to, size_t *out_len)
{
	Oid			proc = FindDefaultConversionProc(from, to);
	StringInfoData out;
	int			room = (int) (Min(len + 1, PIECE_BYTES) * MAX_CONVERSION_GROWTH + 1);
	unsigned char *piece = palloc(room);

	if (!OidIsValid(proc))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("default conversion function for encoding \"%s\" to \"%s\" does not exist",
						pg_encoding_to_char(from), pg_encoding_to_char(to))));
	initStringInfo(&out);
	for (size_t at = 0; at < len;)
	{
		unsigned char *next = (unsigned char *) s + at;
		int			n = (int) Min(len - at, PIECE_BYTES - 1);
		int			done = pg_do_encoding_conversion_buf(proc, from, to, next, n, piece, room, true);

		if (done <= 0)
			done = pg_do_encoding_conversion_buf(proc, from, to, next, n, piece, room, false);
		appendStringInfoString(&out, (char *) piece);
		at += done;
		CHECK_FOR_INTERRUPTS();
	}
	pfree(piece);
	*out_len = out.len;
	return out.data;
}

HostText
host_utf8(const char *s, size_t len)
{
	HostText	out = {s, len};

	if (GetDatabaseEncoding() == PG_UTF8)
		return out;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		check_utf8(s, len);
	else
		out.s = convert(s, len, GetDatabaseEncoding(), PG_UTF8, &out.len);
	return out;
}

HostText
host_utf8_text(const text *t)
{
	return host_utf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* What a text must be besides: a model may say the character U+0000. */
static void
verify_utf8(const char *s, size_t len)
{
	for (size_t at = 0; at < len;)
	{
		int			n = (int) Min(len - at, PIECE_BYTES);
		int			valid = pg_encoding_verifymbstr(PG_UTF8, s + at, n);

		if (valid == 0 || (valid < n && (size_t) n == len - at))
			report_invalid_encoding(PG_UTF8, s + at + valid, (int) Min(len - at - valid, PIECE_BYTES));
		at += valid;
		CHECK_FOR_INTERRUPTS();
	}
}

text *
host_text(const char *utf8, size_t len)
{
	if (len > MaxAllocSize / 4)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text of %zu bytes is too long", len)));
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		verify_utf8(utf8, len);
	else
		utf8 = convert(utf8, len, PG_UTF8, GetDatabaseEncoding(), &len);
	return cstring_to_text_with_len(utf8, (int) len);
}

const char *
host_excerpt(const char *s, size_t len)
{
	int			cut;

	if (len <= EXCERPT_BYTES)
		return pnstrdup(s, len);
	cut = pg_mbcliplen(s, (int) Min(len, EXCERPT_BYTES + MAX_MULTIBYTE_CHAR_LEN), EXCERPT_BYTES);
	return psprintf("%.*s...", cut, s);
}

const char *
host_utf8_excerpt(HostText t)
{
	const text *server = host_text(t.s, t.len);

	return host_excerpt(VARDATA_ANY(server), VARSIZE_ANY_EXHDR(server));
}
