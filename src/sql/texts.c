/*
 * texts.c
 *	  Texts by number, in memory or in a temporary file.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "texts.h"

#define FIRST_STARTS 1024
#define FIRST_BYTES (16 * 1024)

struct Texts
{
	MemoryContext context;
	uint32		n;
	size_t		n_room;			/* of start */
	uint64	   *start;			/* [n + 1] where each begins */
	char	   *bytes;			/* NULL once they are in the file */
	size_t		room;
	BufFile    *file;
};

Texts *
texts_create(void)
{
	Texts	   *t = palloc0(sizeof(Texts));

	t->context = CurrentMemoryContext;
	t->n_room = FIRST_STARTS;
	t->start = palloc(sizeof(uint64) * t->n_room);
	t->start[0] = 0;
	t->room = FIRST_BYTES;
	t->bytes = palloc(t->room);
	return t;
}

/* Everything so far goes to a file. */
static void
spill(Texts *t)
{
	MemoryContext old = MemoryContextSwitchTo(t->context);

	t->file = BufFileCreateTemp(false);
	MemoryContextSwitchTo(old);
	for (uint64 at = 0; at < t->start[t->n]; at += BLCKSZ)
	{
		CHECK_FOR_INTERRUPTS();
		BufFileWrite(t->file, t->bytes + at, Min(BLCKSZ, t->start[t->n] - at));
	}
	pfree(t->bytes);
	t->bytes = NULL;
}

void
texts_add(Texts *t, const char *s, size_t len)
{
	uint64		end = t->start[t->n];

	if (t->n + 1 == t->n_room)
	{
		t->n_room *= 2;
		t->start = repalloc_huge(t->start, sizeof(uint64) * t->n_room);
	}
	if (t->bytes != NULL && end + len > (uint64) work_mem * 1024)
		spill(t);
	if (t->bytes == NULL)
		BufFileWrite(t->file, unconstify(char *, s), len);
	else
	{
		if (end + len > t->room)
		{
			t->room = Max(t->room * 2, end + len);
			t->bytes = repalloc_huge(t->bytes, t->room);
		}
		memcpy(t->bytes + end, s, len);
	}
	t->start[++t->n] = end + len;
}

size_t
texts_len(const Texts *t, uint32 number)
{
	return t->start[number + 1] - t->start[number];
}

void
texts_read(Texts *t, uint32 number, char *buffer)
{
	size_t		len = texts_len(t, number);

	if (t->bytes != NULL)
		memcpy(buffer, t->bytes + t->start[number], len);
	else if (BufFileSeek(t->file, 0, (off_t) t->start[number], SEEK_SET) != 0 ||
			 BufFileRead(t->file, buffer, len) != len)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from a temporary file of labelled texts")));
}

void
texts_close(Texts *t)
{
	if (t->file != NULL)
		BufFileClose(t->file);
	t->file = NULL;
}
