/*
 * fsifile_write.c
 *	  Quantise an f32 model section by section into a packed file, atomically.
 *
 * The file appears under its name complete or not at all: written as path.tmp-PID, synced,
 * renamed, and the directory synced.  On any error, a full disk included, the temporary file is
 * removed, and that of a killed process when the same path is written again.  Equal input gives equal bytes.
 */
#include "format_cursor.h"
#include "format_temp.h"
#include "fsifile_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_CHUNK ((size_t) 1 << 20)

typedef struct FileWriter
{
	int			fd;
	const char *shown;			/* base name, for messages */
	uint64_t	pos;
	FsiSha256	sha;
	FsiArena	arena;			/* one matrix at a time */
	FsiError   *err;
} FileWriter;

static FsiStatus
write_raw(FileWriter *w, const uint8_t *data, size_t n)
{
	while (n > 0)
	{
		ssize_t		done = write(w->fd, data, n < WRITE_CHUNK ? n : WRITE_CHUNK);

		if (fsi_should_stop(w->arena.host))
			return fsi_cancelled(w->err);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
		{
			if (done == 0)
				errno = ENOSPC;
			return fsi_fail_errno(w->err, "could not write model file \"%s\"", w->shown);
		}
		data += done;
		n -= (size_t) done;
		w->pos += (size_t) done;
	}
	return FSI_OK;
}

/* Write under the hash. */
static FsiStatus
write_bytes(FileWriter *w, const void *data, size_t n)
{
	if (n == 0)
		return FSI_OK;			/* an absent card: data may be NULL */
	fsi_sha256_update(&w->sha, data, n);
	return write_raw(w, data, n);
}

/* Zeros up to a position that fsifile_plan() gave. */
static FsiStatus
write_padding(FileWriter *w, uint64_t to)
{
	static const uint8_t zeros[FSIFILE_ALIGN];

	return write_bytes(w, zeros, (size_t) (to - w->pos));
}

/* The sections of one slot; *section moves past them. */
static FsiStatus
write_slot(FileWriter *w, const Gpt2Model *model, const SlotAt *at, const FsifileSection **section)
{
	Gpt2Model  *m = (Gpt2Model *) model;
	const void *part[3];
	int			n_part = at->slot->matrix ? 3 : 1;

	if (at->slot->matrix)
	{
		const KernMatrix *f32 = slot_matrix(m, at);
		const FsifileSection *s = *section;
		int8_t	   *panels = fsi_arena_alloc(&w->arena, (size_t) s[SECTION_PANELS].size);
		float	   *scale = fsi_arena_alloc(&w->arena, (size_t) s[SECTION_SCALE].size);
		int32_t    *comp = fsi_arena_alloc(&w->arena, (size_t) s[SECTION_COMP].size);

		if (panels == NULL || scale == NULL || comp == NULL)
			return fsi_nomem(w->err, (size_t) s[SECTION_PANELS].size);
		FSI_TRY(matrix_pack(f32, w->arena.host, panels, scale, comp, w->err));
		part[SECTION_PANELS] = panels;
		part[SECTION_SCALE] = scale;
		part[SECTION_COMP] = comp;
	}
	else
		part[0] = *slot_floats(m, at);
	for (int i = 0; i < n_part; i++, (*section)++)
	{
		FSI_TRY(write_padding(w, (*section)->offset));
		FSI_TRY(write_bytes(w, part[i], (size_t) (*section)->size));
	}
	return FSI_OK;
}

/* Card, tokenizer and idf, in the order of fsifile_plan(). */
static FsiStatus
write_texts(FileWriter *w, const HfModel *src, const FsifileSection **section)
{
	FSI_TRY(write_padding(w, (*section)->offset));
	FSI_TRY(write_bytes(w, src->card, src->card_len));
	(*section)++;
	if ((*section)->id == SECTION_TOKENIZER)
	{
		FSI_TRY(write_padding(w, (*section)->offset));
		FSI_TRY(write_bytes(w, src->tokenizer, src->tokenizer_len));
		(*section)++;
	}
	if ((*section)->id == SECTION_IDF)
	{
		FSI_TRY(write_padding(w, (*section)->offset));
		FSI_TRY(write_bytes(w, src->spelling_idf, (size_t) (*section)->size));
		(*section)++;
	}
	return FSI_OK;
}

static FsiStatus
write_contents(FileWriter *w, const HfModel *src, const FsifileHeader *header, const FsifileSection *section)
{
	const Gpt2Config *cfg = &src->model.cfg;
	SlotAt		at;

	FSI_TRY(write_raw(w, (const uint8_t *) header, FSIFILE_HASHED_FROM));
	FSI_TRY(write_bytes(w, (const uint8_t *) header + FSIFILE_HASHED_FROM, sizeof(*header) - FSIFILE_HASHED_FROM));
	FSI_TRY(write_bytes(w, section, header->n_section * sizeof(FsifileSection)));
	FSI_TRY(write_texts(w, src, &section));
	for (bool more = slot_first(cfg, &at); more; more = slot_next(cfg, &at))
	{
		FsiArenaMark mark = fsi_arena_mark(&w->arena);

		FSI_TRY(write_slot(w, &src->model, &at, &section));
		fsi_arena_release(&w->arena, mark);
	}
	return write_padding(w, header->file_size);
}

/* The hash into its place, bytes onto the disk. */
static FsiStatus
seal(FileWriter *w, uint8_t sha256[FSI_SHA256_BYTES])
{
	ssize_t		done;

	fsi_sha256_final(&w->sha, sha256);
	done = pwrite(w->fd, sha256, FSI_SHA256_BYTES, offsetof(FsifileHeader, sha256));
	/* A short write does not say why. */
	if (done >= 0 && done != FSI_SHA256_BYTES)
		errno = ENOSPC;
	if (done != FSI_SHA256_BYTES || fsync(w->fd) != 0)
		return fsi_fail_errno(w->err, "could not write model file \"%s\"", w->shown);
	return FSI_OK;
}

static FsiStatus
sync_directory(FileWriter *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	char	   *dir = slash == NULL ? fsi_arena_strndup(&w->arena, ".", 1) :
		fsi_arena_strndup(&w->arena, path, slash == path ? 1 : (size_t) (slash - path));

	if (dir == NULL)
		return fsi_nomem(w->err, strlen(path));
	if (fsi_sync_dir(dir) != 0)
		return fsi_fail_errno(w->err, "could not sync the directory of model file \"%s\"", w->shown);
	return FSI_OK;
}

/* What another has made of that name.  For writing: NFS locks nothing else. */
static int
open_other(int parent, const char *name)
{
	return openat(parent, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* Remove a file of the right name. */
static void
remove_left_over(int parent, const char *name)
{
	int			fd = open_other(parent, name);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && format_lock_left_over(fd, parent, name))
		(void) unlinkat(parent, name, 0);
	close(fd);
}

/* Make way, unless one at work has this process's number, in another container say; false, with errno: it cannot. */
static bool
remove_namesake(int parent, const char *name)
{
	int			fd = open_other(parent, name);
	bool		busy = fd >= 0 && !format_lock_new(fd, parent, name);
	int			code = busy || unlinkat(parent, name, 0) == 0 || errno == ENOENT ? 0 : errno;

	if (fd >= 0)
		close(fd);
	errno = code;
	return code == 0;
}

/* A new file, locked, or where the file system has no locks just so; -1 with errno. */
static int
create_locked(int parent, const char *name)
{
	for (int i = 0; i < FORMAT_TEMP_TRIES; i++)
	{
		int			fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);

		if (fd < 0 && (errno != EEXIST || !remove_namesake(parent, name)))
			return -1;
		if (fd >= 0 && format_lock_new(fd, parent, name))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	errno = EBUSY;
	return -1;
}

static int
create_temp(const char *path, const char *temp)
{
	int			parent = format_open_parent(path);
	int			fd,
				code;

	if (parent < 0)
		return -1;
	format_remove_left_overs(parent, format_base(path), remove_left_over);
	fd = create_locked(parent, format_base(temp));
	code = errno;
	close(parent);
	errno = code;
	return fd;
}

static FsiStatus
write_file(FileWriter *w, const char *path, const HfModel *src, const FsifileHeader *header,
		   const FsifileSection *sections, uint8_t sha256[FSI_SHA256_BYTES])
{
	size_t		temp_len = strlen(path) + sizeof(FORMAT_TEMP) + FORMAT_TEMP_DIGITS;
	char	   *temp = fsi_arena_alloc(&w->arena, temp_len);
	FsiStatus	status;
	int			lock;

	if (temp == NULL)
		return fsi_nomem(w->err, temp_len);
	snprintf(temp, temp_len, "%s" FORMAT_TEMP "%ld", path, (long) getpid());
	w->fd = create_temp(path, temp);
	if (w->fd < 0)
		return fsi_fail_errno(w->err, "could not create model file \"%s\"", w->shown);
	/* Locked until it has its name. */
	lock = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
	status = write_contents(w, src, header, sections);
	if (status == FSI_OK)
		status = seal(w, sha256);
	if (close(w->fd) != 0 && status == FSI_OK)
		status = fsi_fail_errno(w->err, "could not write model file \"%s\"", w->shown);
	if (status == FSI_OK && rename(temp, path) != 0)
		status = fsi_fail_errno(w->err, "could not rename model file \"%s\"", w->shown);
	if (status != FSI_OK)
		unlink(temp);
	if (lock >= 0)
		close(lock);
	return status != FSI_OK ? status : sync_directory(w, path);
}

static FsiStatus
check_source(const HfModel *src, const FsiHost *host, FsiError *err)
{
	const Gpt2Model *model = &src->model;

	FSI_TRY(model_check_config(&model->cfg, err));
	if (model->wte.type != KERN_F32)
		return fsi_fail(err, FSI_INVALID, "model to be packed is not in f32");
	if (model->cfg.layout == GPT2_SEGMENTS && src->spelling_idf == NULL)
		return fsi_fail(err, FSI_INVALID, "model to be packed has no spelling idf");
	return model_check_finite(model, host, err);
}

FsiStatus
fsifile_write(const char *path, const HfModel *src, const FsiHost *host,
			  uint8_t sha256[FSI_SHA256_BYTES], FsiError *err)
{
	FsifileHeader header = {
		.magic = FSIFILE_MAGIC_BYTES, .version = FSIFILE_VERSION, .byte_order = FSIFILE_BYTE_ORDER,
		.card_len = src->card_len, .tokenizer_len = src->tokenizer_len,
	};
	const char *slash = strrchr(path, '/');
	FileWriter	w = {.fd = -1, .shown = slash == NULL ? path : slash + 1, .err = err};
	FsifileSection *sections;
	FsiStatus	status;

	FSI_TRY(check_source(src, host, err));
	fsifile_config_pack(&src->model, &header.config);
	FSI_TRY(fsifile_plan(&src->model.cfg, header.card_len, header.tokenizer_len,
						 &header.n_section, NULL, &header.file_size, err));
	fsi_sha256_init(&w.sha);
	fsi_arena_init(&w.arena, host);
	sections = fsi_arena_array(&w.arena, header.n_section, sizeof(FsifileSection));
	if (sections == NULL)
		status = fsi_nomem(err, header.n_section * sizeof(FsifileSection));
	else
		status = fsifile_plan(&src->model.cfg, header.card_len, header.tokenizer_len,
							  &header.n_section, sections, &header.file_size, err);
	if (status == FSI_OK)
		status = write_file(&w, path, src, &header, sections, sha256);
	fsi_arena_free(&w.arena);
	return status;
}
