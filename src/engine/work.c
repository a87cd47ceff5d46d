/*
 * work.c
 *	  Scratch of the forward pass: taken from the host, grown on demand, given back at the end.
 */
#include <string.h>

#include "work.h"

#define WORK_ALIGN 64

FsiStatus
gpt2_work_create(const FsiHost *host, const KernOps *ops, Gpt2Work **out, FsiError *err)
{
	Gpt2Work   *work = host->alloc(host->ctx, sizeof(Gpt2Work));

	if (work == NULL)
		return fsi_nomem(err, sizeof(Gpt2Work));
	memset(work, 0, sizeof(*work));
	work->host = host;
	work->ops = ops;
	*out = work;
	return FSI_OK;
}

void
gpt2_work_destroy(Gpt2Work *work)
{
	if (work == NULL)
		return;
	for (int i = 0; i < WORK_SLOTS; i++)
		if (work->slot[i].block != NULL)
			work->host->release(work->host->ctx, work->slot[i].block);
	work->host->release(work->host->ctx, work);
}

size_t
gpt2_work_bytes(const Gpt2Work *work)
{
	size_t		bytes = sizeof(*work);

	for (int i = 0; i < WORK_SLOTS; i++)
		if (work->slot[i].block != NULL)
			bytes += work->slot[i].bytes + WORK_ALIGN;
	return bytes;
}

const KernOps *
gpt2_work_ops(const Gpt2Work *work)
{
	return work->ops;
}

FsiStatus
work_take(Gpt2Work *work, WorkSlot slot, size_t n, size_t size, void *out, FsiError *err)
{
	size_t		bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - 2 * WORK_ALIGN)
		return fsi_nomem(err, SIZE_MAX);
	bytes = KERN_ROUND_UP(bytes, WORK_ALIGN);
	if (work->slot[slot].block == NULL || work->slot[slot].bytes < bytes)
	{
		if (work->slot[slot].block != NULL)
			work->host->release(work->host->ctx, work->slot[slot].block);
		work->slot[slot].block = NULL;
		work->slot[slot].bytes = 0;
		work->slot[slot].block = work->host->alloc(work->host->ctx, bytes + WORK_ALIGN);
		if (work->slot[slot].block == NULL)
			return fsi_nomem(err, bytes + WORK_ALIGN);
		work->slot[slot].data =
			(void *) KERN_ROUND_UP((uintptr_t) work->slot[slot].block, (uintptr_t) WORK_ALIGN);
		work->slot[slot].bytes = bytes;
	}
	memcpy(out, &work->slot[slot].data, sizeof(void *));
	return FSI_OK;
}
