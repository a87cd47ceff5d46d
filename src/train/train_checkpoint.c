/*
 * train_checkpoint.c
 *	  A trainer's state in one file, which is complete under its name or not there.
 *
 *	CheckpointHeader
 *	weights of the trained tensors, in the order of the table, no gaps		f32
 *	first moments, second moments: the whole blocks							f32
 *	SHA-256 of everything before
 *
 * Written by the machine that reads it: byte order is checked, not converted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train.h"

#define MAGIC "FSITRAIN"
#define VERSION 1
#define BYTE_ORDER_MARK 0x01020304u
#define IO_CHUNK ((size_t) 1 << 20)

typedef struct CheckpointHeader
{
	char		magic[8];
	uint32_t	version;
	uint32_t	byte_order;
	uint8_t		model[FSI_SHA256_BYTES];	/* of the table of tensors */
	int64_t		step;
	double		best_loss;
	int64_t		best_step;
	int64_t		best_worse;
} CheckpointHeader;

_Static_assert(sizeof(CheckpointHeader) == 80, "the checkpoint's header has no padding");

typedef struct File
{
	int			fd;
	const char *path;
	const FsiHost *host;
	FsiSha256	sha;
	FsiError   *err;
} File;

/* What two trainers must share to read each other's checkpoints. */
static void
model_hash(const Train *t, uint8_t hash[FSI_SHA256_BYTES])
{
	FsiSha256	sha;

	fsi_sha256_init(&sha);
	for (int i = 0; i < t->params.n_tensor; i++)
	{
		const TrainTensor *tensor = &t->params.tensors[i];
		int32_t		shape[3] = {tensor->k, tensor->n, tensor->trained};

		fsi_sha256_update(&sha, tensor->name, strlen(tensor->name) + 1);
		fsi_sha256_update(&sha, shape, sizeof(shape));
	}
	fsi_sha256_final(&sha, hash);
}

/* ---------------------------------------------------------------- write */

static FsiStatus
write_all(File *f, const void *data, size_t n)
{
	const uint8_t *at = data;

	while (n > 0)
	{
		size_t		part = n < IO_CHUNK ? n : IO_CHUNK;
		ssize_t		done;

		if (fsi_should_stop(f->host))
			return fsi_cancelled(f->err);
		done = write(f->fd, at, part);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
		{
			errno = done == 0 ? ENOSPC : errno;
			return fsi_fail_errno(f->err, "could not write checkpoint \"%s\"", f->path);
		}
		fsi_sha256_update(&f->sha, at, (size_t) done);
		at += done;
		n -= (size_t) done;
	}
	return FSI_OK;
}

static FsiStatus
write_contents(const Train *t, File *f)
{
	const TrainParams *p = &t->params;
	CheckpointHeader h = {.magic = {'F', 'S', 'I', 'T', 'R', 'A', 'I', 'N'}, .version = VERSION,
		.byte_order = BYTE_ORDER_MARK, .step = t->step, .best_loss = t->best.loss, .best_step = t->best.step,
		.best_worse = t->best.worse};
	uint8_t		hash[FSI_SHA256_BYTES];

	model_hash(t, h.model);
	fsi_sha256_init(&f->sha);
	FSI_TRY(write_all(f, &h, sizeof(h)));
	for (int i = 0; i < p->n_tensor; i++)
		if (p->tensors[i].trained)
			FSI_TRY(write_all(f, p->weights + p->tensors[i].at, p->tensors[i].size * sizeof(float)));
	FSI_TRY(write_all(f, p->m, p->n_state * sizeof(float)));
	FSI_TRY(write_all(f, p->v, p->n_state * sizeof(float)));
	fsi_sha256_final(&f->sha, hash);
	FSI_TRY(write_all(f, hash, sizeof(hash)));
	if (fsync(f->fd) != 0)
		return fsi_fail_errno(f->err, "could not write checkpoint \"%s\"", f->path);
	return FSI_OK;
}

static FsiStatus
sync_directory(const File *f, char *room)
{
	char	   *slash;

	strcpy(room, f->path);
	slash = strrchr(room, '/');
	if (slash == NULL)
		strcpy(room, ".");
	else
		slash[slash == room] = '\0';
	if (fsi_sync_dir(room) != 0)
		return fsi_fail_errno(f->err, "could not sync the directory of checkpoint \"%s\"", f->path);
	return FSI_OK;
}

FsiStatus
train_save(Train *t, const char *path, FsiError *err)
{
	File		f = {.path = path, .host = &t->host, .err = err};
	size_t		size = strlen(path) + 32;
	char	   *temp;
	FsiStatus	status;

	FSI_TRY(train_check_whole(t, err));
	temp = fsi_arena_alloc(&t->work, size);
	if (temp == NULL)
		return fsi_nomem(err, size);
	snprintf(temp, size, "%s.tmp-%ld", path, (long) getpid());
	f.fd = fsi_create_anew(temp, 0600);
	if (f.fd < 0)
		status = fsi_fail_errno(err, "could not create checkpoint \"%s\"", path);
	else
	{
		status = write_contents(t, &f);
		if (close(f.fd) != 0 && status == FSI_OK)
			status = fsi_fail_errno(err, "could not write checkpoint \"%s\"", path);
		if (status == FSI_OK && rename(temp, path) != 0)
			status = fsi_fail_errno(err, "could not rename checkpoint \"%s\"", path);
		if (status != FSI_OK)
			unlink(temp);
		else
			status = sync_directory(&f, temp);
	}
	fsi_arena_free(&t->work);
	return status;
}

/* ---------------------------------------------------------------- read */

/* n bytes from the file's position into data, under the hash. */
static FsiStatus
read_all(File *f, void *data, size_t n)
{
	uint8_t    *at = data;

	while (n > 0)
	{
		ssize_t		got;

		if (fsi_should_stop(f->host))
			return fsi_cancelled(f->err);
		got = read(f->fd, at, n < IO_CHUNK ? n : IO_CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fsi_fail_errno(f->err, "could not read checkpoint \"%s\"", f->path);
		if (got == 0)
			return fsi_fail(f->err, FSI_CORRUPT, "checkpoint \"%s\" is too short", f->path);
		fsi_sha256_update(&f->sha, at, (size_t) got);
		at += got;
		n -= (size_t) got;
	}
	return FSI_OK;
}

/* Bytes of this trainer's checkpoints without header and hash. */
static size_t
body_bytes(const TrainParams *p)
{
	size_t		floats = 2 * p->n_state;

	for (int i = 0; i < p->n_tensor; i++)
		floats += p->tensors[i].trained ? p->tensors[i].size : 0;
	return floats * sizeof(float);
}

static FsiStatus
check_header(const Train *t, const File *f, const CheckpointHeader *h)
{
	uint8_t		model[FSI_SHA256_BYTES];

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
		return fsi_fail(f->err, FSI_CORRUPT, "\"%s\" is not a checkpoint", f->path);
	if (h->version != VERSION || h->byte_order != BYTE_ORDER_MARK)
		return fsi_fail(f->err, FSI_UNSUPPORTED, "checkpoint \"%s\" is of another version or machine", f->path);
	model_hash(t, model);
	if (memcmp(model, h->model, sizeof(model)) != 0)
		return fsi_fail(f->err, FSI_INVALID, "checkpoint \"%s\" is of another model, or trains other parts of it",
						f->path);
	if (h->step < 0 || h->best_step < 0 || h->best_worse < 0 || h->best_worse > INT32_MAX)
		return fsi_fail(f->err, FSI_CORRUPT, "checkpoint \"%s\" counts steps below zero", f->path);
	return FSI_OK;
}

/* Read it all once: header, size, hash. */
static FsiStatus
verify(const Train *t, File *f, CheckpointHeader *h, uint8_t *chunk)
{
	uint8_t		hash[FSI_SHA256_BYTES],
				want[FSI_SHA256_BYTES];
	size_t		left = body_bytes(&t->params);

	fsi_sha256_init(&f->sha);
	FSI_TRY(read_all(f, h, sizeof(*h)));
	FSI_TRY(check_header(t, f, h));
	for (size_t part; left > 0; left -= part)
	{
		part = left < IO_CHUNK ? left : IO_CHUNK;
		FSI_TRY(read_all(f, chunk, part));
	}
	fsi_sha256_final(&f->sha, hash);
	FSI_TRY(read_all(f, want, sizeof(want)));
	if (memcmp(hash, want, sizeof(hash)) != 0)
		return fsi_fail(f->err, FSI_CORRUPT, "checkpoint \"%s\" is damaged: its hash is wrong", f->path);
	if (read(f->fd, chunk, 1) != 0)
		return fsi_fail(f->err, FSI_CORRUPT, "checkpoint \"%s\" is too long", f->path);
	return FSI_OK;
}

static FsiStatus
read_body(Train *t, File *f)
{
	TrainParams *p = &t->params;

	if (lseek(f->fd, sizeof(CheckpointHeader), SEEK_SET) < 0)
		return fsi_fail_errno(f->err, "could not read checkpoint \"%s\"", f->path);
	for (int i = 0; i < p->n_tensor; i++)
		if (p->tensors[i].trained)
			FSI_TRY(read_all(f, p->weights + p->tensors[i].at, p->tensors[i].size * sizeof(float)));
	FSI_TRY(read_all(f, p->m, p->n_state * sizeof(float)));
	return read_all(f, p->v, p->n_state * sizeof(float));
}

static FsiStatus
load(Train *t, File *f)
{
	CheckpointHeader h;
	uint8_t    *chunk = fsi_arena_alloc(&t->work, IO_CHUNK);

	if (chunk == NULL)
		return fsi_nomem(f->err, IO_CHUNK);
	FSI_TRY(verify(t, f, &h, chunk));
	t->broken = true;
	FSI_TRY(read_body(t, f));
	t->broken = false;
	t->step = h.step;
	t->best = (TrainBest) {h.best_loss, h.best_step, (int) h.best_worse};
	return FSI_OK;
}

FsiStatus
train_load(Train *t, const char *path, FsiError *err)
{
	File		f = {.path = path, .host = &t->host, .err = err};
	FsiStatus	status;

	f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f.fd < 0)
		return fsi_fail_errno(err, "could not open checkpoint \"%s\"", path);
	status = load(t, &f);
	close(f.fd);
	fsi_arena_free(&t->work);
	return status;
}
