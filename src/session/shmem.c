/*
 * shmem.c
 *	  A piece of shared memory under a name, whether the library was preloaded or not.
 *
 * Without preloading it comes out of what the server keeps spare for such (some 100 kB; a great
 * many locks may use it up); with shared_preload_libraries it is asked for.  It begins anew
 * with the server, also after a crash.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "fsi_session.h"

static Size requested;
static shmem_request_hook_type previous_request_hook;

static void
request(void)
{
	if (previous_request_hook != NULL)
		previous_request_hook();
	RequestAddinShmemSpace(requested);
}

void
session_request_memory(Size size)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	if (requested == 0)
	{
		previous_request_hook = shmem_request_hook;
		shmem_request_hook = request;
	}
	requested = add_size(requested, MAXALIGN(size));
}

static void *
find_or_create(const char *name, Size size, void (*init) (void *memory))
{
	bool		found;
	void	   *memory = ShmemInitStruct(name, size, &found);

	if (!found)
		init(memory);
	return memory;
}

void *
session_shared_memory(const char *name, Size size, void (*init) (void *memory))
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;
	void	   *volatile memory = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	PG_TRY();
	{
		memory = find_or_create(name, size, init);
	}
	PG_CATCH();
	{
		/* No room.  The work is worth more than a sight of it. */
		MemoryContextSwitchTo(context);
		FlushErrorState();
		/* The error has forgotten that the lock holds interrupts off. */
		InterruptHoldoffCount = holdoff + 1;
	}
	PG_END_TRY();
	LWLockRelease(AddinShmemInitLock);
	return memory;
}
