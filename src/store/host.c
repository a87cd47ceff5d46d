/*
 * host.c
 *	  Memory, errors, interrupts and encodings for the lower floor.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/string.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "fsi_compat.h"
#include "fsi_host.h"
#include "fsi_text.h"

/* The lower floor wants 16-aligned memory, a memory context gives 8: keep the chunk's address before the block. */
#define HOST_ALIGN 16
#define EXCERPT_BYTES 60

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

/* True when CHECK_FOR_INTERRUPTS() would end the statement or the backend. */
static bool
host_should_stop(void *ctx)
{
	(void) ctx;
	return InterruptPending && (QueryCancelPending || ProcDiePending) &&
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
		case FSI_OK:
		case FSI_IO:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

void
host_report(const FsiError *err)
{
	bool		io = err->status == FSI_IO;

	if (err->status == FSI_CANCELLED)
	{
		CHECK_FOR_INTERRUPTS();
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
	}
	errno = err->sys_errno;
	ereport(ERROR,
			(io ? errcode_for_file_access() : errcode(status_sqlstate(err)),
			 errmsg("%s", message_text(err->message)),
			 err->detail[0] ? errdetail("%s", message_text(err->detail)) : 0,
			 err->hint[0] ? errhint("%s", message_text(err->hint)) : 0));
}

HostText
host_utf8(const char *s, size_t len)
{
	HostText	out = {s, len};

	if (GetDatabaseEncoding() == PG_UTF8)
		return out;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		size_t		bad = text_utf8_valid(s, len);

		if (bad < len)
			ereport(ERROR,
					(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
					 errmsg("invalid byte sequence for encoding \"UTF8\" at byte %zu: 0x%02x",
							bad, (unsigned char) s[bad]),
					 errdetail("The database's encoding is SQL_ASCII, so the text must be UTF-8."),
					 errhint("Convert it, for example with convert_from(bytes, 'LATIN1').")));
		return out;
	}
	out.s = pg_server_to_any(s, (int) len, PG_UTF8);
	if (out.s != s)
		out.len = strlen(out.s);
	return out;
}

HostText
host_utf8_text(const text *t)
{
	return host_utf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

text *
host_text(const char *utf8, size_t len)
{
	char	   *s;

	if (len > MaxAllocSize / 4)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text of %zu bytes is too long", len)));
	s = pg_any_to_server(utf8, (int) len, PG_UTF8);
	return cstring_to_text_with_len(s, s == utf8 ? (int) len : (int) strlen(s));
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
