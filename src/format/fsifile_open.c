/*
 * fsifile_open.c
 *	  Open a mapped model file in place, and map one.
 *
 * The file is hostile until shown otherwise.  Opening believes nothing but the header's
 * configuration, and that only within model_check_config()'s limits: from it the whole layout
 * follows, and the file's size and section table must equal that layout.  So no offset or size
 * that stands in the file is ever used.  Weights are not looked at (fsifile_verify() does).
 */
#include "format_cursor.h"
#include "fsifile_layout.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static FsiStatus
damaged(FsiError *err, const char *what)
{
	fsi_fail(err, FSI_CORRUPT, "model file is damaged: %s", what);
	fsi_hint(err, "Install or import the model again.");
	return FSI_CORRUPT;
}

bool
fsifile_has_magic(const void *head, size_t len)
{
	static const char magic[8] = FSIFILE_MAGIC_BYTES;

	return len >= sizeof(magic) && memcmp(head, magic, sizeof(magic)) == 0;
}

/* What must hold before any other field means something. */
static FsiStatus
check_preamble(const FsifileHeader *header, size_t size, FsiError *err)
{
	if (!fsifile_has_magic(header->magic, size))
		return fsi_fail(err, FSI_CORRUPT, "file is not a packed model");
	if (size < sizeof(FsifileHeader))
		return damaged(err, "it ends inside its header");
	if (header->byte_order == __builtin_bswap32(FSIFILE_BYTE_ORDER))
	{
		fsi_fail(err, FSI_UNSUPPORTED, "model file was written on a machine of the other byte order");
		fsi_hint(err, "Import the model from its source on this machine.");
		return FSI_UNSUPPORTED;
	}
	if (header->byte_order != FSIFILE_BYTE_ORDER)
		return damaged(err, "its byte order mark is none");
	if (header->version != FSIFILE_VERSION)
	{
		fsi_fail(err, FSI_UNSUPPORTED, "model file has version %u, this program reads version %d",
				 header->version, FSIFILE_VERSION);
		fsi_hint(err, header->version > FSIFILE_VERSION ?
				 "Install a newer release of the extension." : "Import the model again from its source.");
		return FSI_UNSUPPORTED;
	}
	return FSI_OK;
}

/* The size that follows from the header is the file's. */
static FsiStatus
check_size(const FsifileHeader *header, const Gpt2Config *cfg, size_t size, uint32_t *n_section, FsiError *err)
{
	uint64_t	file_size;

	FSI_TRY(fsifile_plan(cfg, header->card_len, header->tokenizer_len, n_section, NULL, &file_size, err));
	if (header->reserved != 0 || header->n_section != *n_section || header->file_size != file_size)
		return damaged(err, "its header contradicts itself");
	if (size < file_size)
		return damaged(err, "it is truncated");
	if (size > file_size)
		return damaged(err, "bytes follow its end");
	return FSI_OK;
}

FsiStatus
fsifile_check_head(const void *head, size_t len, size_t size, FsiError *err)
{
	FsifileHeader header = {0};
	Gpt2Model	model;
	uint32_t	n_section;

	memcpy(&header, head, len < sizeof(header) ? len : sizeof(header));
	FSI_TRY(check_preamble(&header, len < sizeof(header) ? len : size, err));
	FSI_TRY(fsifile_config_unpack(&header.config, &model, err));
	return check_size(&header, &model.cfg, size, &n_section, err);
}

static FsiStatus
check_layout(const FsifileHeader *header, const Gpt2Config *cfg, size_t size, FsiArena *arena,
			 const FsifileSection **sections, FsiError *err)
{
	FsiArenaMark mark = fsi_arena_mark(arena);
	FsifileSection *expected;
	uint32_t	n_section;
	uint64_t	file_size;
	bool		same;

	FSI_TRY(check_size(header, cfg, size, &n_section, err));
	/* The size holds, so the table lies inside. */
	*sections = (const FsifileSection *) (header + 1);
	expected = fsi_arena_array(arena, n_section, sizeof(FsifileSection));
	if (expected == NULL)
		return fsi_nomem(err, n_section * sizeof(FsifileSection));
	FSI_TRY(fsifile_plan(cfg, header->card_len, header->tokenizer_len, &n_section, expected, &file_size, err));
	same = memcmp(*sections, expected, n_section * sizeof(FsifileSection)) == 0;
	fsi_arena_release(arena, mark);
	return same ? FSI_OK : damaged(err, "its section table is wrong");
}

/* Pointers of one slot; *section moves past its records. */
static void
bind_slot(Gpt2Model *model, const SlotAt *at, const uint8_t *map, const FsifileSection **section)
{
	const FsifileSection *s = *section;

	if (at->slot->matrix)
	{
		*slot_matrix(model, at) = (KernMatrix) {
			.type = KERN_I8, .k = at->k, .n = at->n,
			.panels = (const int8_t *) (map + s[SECTION_PANELS].offset),
			.scale = (const float *) (map + s[SECTION_SCALE].offset),
			.comp = (const int32_t *) (map + s[SECTION_COMP].offset),
		};
		*section += 3;
	}
	else
	{
		*slot_floats(model, at) = (const float *) (map + s->offset);
		*section += 1;
	}
}

static FsiStatus
bind_texts(FsiFile *out, const FsifileSection **section, FsiError *err)
{
	const FsifileSection *s = *section;

	out->card = (const char *) out->map + s->offset;
	out->card_len = (size_t) s->size;
	if (text_utf8_valid(out->card, out->card_len) != out->card_len || memchr(out->card, '\0', out->card_len) != NULL)
		return damaged(err, "its card is not text");
	s++;
	out->has_tokenizer = s->id == SECTION_TOKENIZER;
	if (out->has_tokenizer)
	{
		FSI_TRY(tok_open(out->map + s->offset, (size_t) s->size, &out->tok, err));
		if (out->tok.n_vocab > out->model.cfg.n_vocab)
			return damaged(err, "its tokenizer has more tokens than the model");
		s++;
	}
	if (s->id == SECTION_IDF)
	{
		out->spelling_idf = (const float *) (out->map + s->offset);
		s++;
	}
	*section = s;
	return FSI_OK;
}

FsiStatus
fsifile_open(const void *map, size_t size, FsiArena *arena, FsiFile *out, FsiError *err)
{
	const FsifileHeader *header = map;
	const FsifileSection *section;
	SlotAt		at;

	*out = (FsiFile) {.map = map, .size = size};
	if ((uintptr_t) map % FSIFILE_ALIGN != 0)
		return fsi_fail(err, FSI_INVALID, "model file is not mapped at a multiple of %d", FSIFILE_ALIGN);
	FSI_TRY(check_preamble(header, size, err));
	memcpy(out->sha256, header->sha256, sizeof(out->sha256));
	FSI_TRY(fsifile_config_unpack(&header->config, &out->model, err));
	FSI_TRY(check_layout(header, &out->model.cfg, size, arena, &section, err));
	FSI_TRY(bind_texts(out, &section, err));
	FSI_TRY(slot_alloc_layers(&out->model, arena, err));
	for (bool more = slot_first(&out->model.cfg, &at); more; more = slot_next(&out->model.cfg, &at))
		bind_slot(&out->model, &at, out->map, &section);
	slot_bind_head(&out->model);
	return FSI_OK;
}

FsiStatus
fsifile_map(const char *path, void **map, size_t *size, FsiError *err)
{
	const char *slash = strrchr(path, '/');
	const char *shown = slash == NULL ? path : slash + 1;
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	FsiStatus	status = FSI_OK;

	*map = NULL;
	*size = 0;
	if (fd < 0)
		return fsi_fail_errno(err, "could not open model file \"%s\"", shown);
	if (fstat(fd, &st) != 0)
		status = fsi_fail_errno(err, "could not stat model file \"%s\"", shown);
	else if (!S_ISREG(st.st_mode))
		status = fsi_fail(err, FSI_INVALID, "model file \"%s\" is not a regular file", shown);
	else if (st.st_size == 0)
		status = fsi_fail(err, FSI_CORRUPT, "model file \"%s\" is empty", shown);
	if (status == FSI_OK)
	{
		void	   *at = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);

		if (at == MAP_FAILED)
			status = fsi_fail_errno(err, "could not map model file \"%s\"", shown);
		else
		{
			*map = at;
			*size = (size_t) st.st_size;
		}
	}
	close(fd);
	return status;
}

void
fsifile_unmap(void *map, size_t size)
{
	if (map != NULL)
		munmap(map, size);
}
