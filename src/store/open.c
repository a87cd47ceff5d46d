/*
 * open.c
 *	  A model's packed file, opened and checked; whether it is still what was mapped.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "store.h"

FsiStatus
store_open(const char *path, bool full, MemoryContext cxt, StoreModel *model, FsiError *err)
{
	FsiArena	arena;
	FsiStatus	status;
	struct stat st;

	host_init(&model->host, cxt);
	fsi_arena_init(&arena, &model->host);
	model->fd = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	if (model->fd < 0)
		return fsi_fail_errno(err, "could not read model file \"%s\"", path);
	ReserveExternalFD();
	if (fstat(model->fd, &st) == 0)
		model->modified = st.st_mtim;
	status = fsifile_map(path, &model->map, &model->size, err);
	if (status != FSI_OK)
	{
		model->map = NULL;
		store_close(model);
		return status;
	}
	status = fsifile_open(model->map, model->size, &arena, &model->file, err);
	if (status == FSI_OK && full)
		status = fsifile_verify(&model->file, &model->host, err);
	if (status == FSI_OK && !model->file.has_tokenizer)
		status = fsi_fail(err, FSI_UNSUPPORTED, "model file \"%s\" has no tokenizer", path);
	if (status != FSI_OK)
		store_close(model);
	else
		fsi_hex(model->file.sha256, FSI_SHA256_BYTES, model->sha256);
	return status;
}

void
store_close(StoreModel *model)
{
	if (model->map != NULL)
		fsifile_unmap(model->map, model->size);
	close(model->fd);
	ReleaseExternalFD();
}

void
store_check_unchanged(const StoreModel *model)
{
	FsiError	err = {0};
	FsiStatus	status;
	struct stat st;

	if (fstat(model->fd, &st) < 0)
		ereport(ERROR,
				(host_errcode_for_file_access(),
				 errmsg("could not stat the file of a mapped model: %m")));
	if (st.st_size >= (off_t) model->size &&
		st.st_mtim.tv_sec == model->modified.tv_sec && st.st_mtim.tv_nsec == model->modified.tv_nsec)
		return;
	/* Touched, or written to: its hash tells. */
	status = st.st_size < (off_t) model->size ? FSI_CORRUPT : fsifile_verify(&model->file, &model->host, &err);
	if (status == FSI_OK)
	{
		((StoreModel *) model)->modified = st.st_mtim;
		return;
	}
	if (status != FSI_CORRUPT)
		host_report(&err);
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a model's file was changed in place while this session used it"),
			 errdetail("It held the weights with the identity %.16s, %zu bytes, and has %lld bytes now.",
					   model->sha256, model->size, (long long) st.st_size),
			 errhint("Put the file back by renaming a good copy to its name, as make install does, and connect again.")));
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
		a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

FsiStatus
store_open_checked(const char *path, const char *sha256, MemoryContext cxt, StoreModel *model, FsiError *err)
{
	for (int attempt = 0; attempt < 10; attempt++)
	{
		struct stat before;
		struct stat after;
		bool		checked;

		if (stat(path, &before) < 0)
			return fsi_fail_errno(err, "could not read model file \"%s\"", path);
		checked = sha256 != NULL && store_is_checked(path, &before, sha256);
		FSI_TRY(store_open(path, !checked, cxt, model, err));
		if (stat(path, &after) == 0 && same_file(&before, &after))
		{
			if (!checked)
				store_set_checked(path, &before, model->sha256);
			return FSI_OK;
		}
		/* Replaced between the two looks: the stamp may speak of another file. */
		store_close(model);
	}
	return fsi_fail(err, FSI_IO, "model file \"%s\" keeps changing", path);
}

/* Whether the system lacks something: that is not the file's fault. */
static bool
lacks_something(const FsiError *err)
{
	return err->status == FSI_NOMEM ||
		(err->status == FSI_IO &&
		 (err->sys_errno == ENOMEM || err->sys_errno == EMFILE || err->sys_errno == ENFILE || err->sys_errno == EINTR));
}

void
store_report_open_failure(bool shipped, const char *path, FsiError *err)
{
	if (err->detail[0] == '\0' && err->status == FSI_CORRUPT)
		fsi_detail(err, "The file is \"%s\".", path);
	if (err->hint[0] == '\0' && err->status != FSI_CANCELLED && !lacks_something(err))
		fsi_hint(err, shipped ? "Install fsi_intent again: the shipped model's file is part of it." :
				 "Remove the file: it is written again from the database.");
	host_report(err);
}
