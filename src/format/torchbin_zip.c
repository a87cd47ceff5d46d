/*
 * torchbin_zip.c
 *	  The zip container of PyTorch 1.6 and later: stored entries, found through the central directory.
 *
 * Source: PKWARE's APPNOTE (end record, central directory, zip64 extra field).  PyTorch
 * compresses nothing; an entry that is compressed or encrypted is an error.  Sizes are taken
 * from the central directory, the local header only tells where the data begin.  Checksums
 * are not compared: torch.load() does not, and torch.save() can be told not to compute them.
 */
#include "torchbin.h"

#define END_BYTES 22
#define END64_LOCATOR_BYTES 20
#define COMMENT_LIMIT 65535
#define CENTRAL_BYTES 46

typedef struct Directory
{
	uint64_t	n_entry,
				size,
				offset;
} Directory;

static FsiStatus
bad_zip(FsiError *err, const char *what)
{
	return fsi_fail(err, FSI_CORRUPT, "PyTorch file is damaged: %s", what);
}

/* The last end record whose comment reaches exactly the end of the file. */
static bool
find_end(const uint8_t *bytes, size_t len, size_t *end)
{
	if (len < END_BYTES)
		return false;
	for (size_t back = 0; back <= COMMENT_LIMIT && back <= len - END_BYTES; back++)
	{
		size_t		at = len - END_BYTES - back;

		if (memcmp(bytes + at, "PK\5\6", 4) == 0 && (bytes[at + 20] | bytes[at + 21] << 8) == (int) back)
		{
			*end = at;
			return true;
		}
	}
	return false;
}

/* The 64-bit end record, when a locator stands before the ordinary one. */
static FsiStatus
read_end64(const uint8_t *bytes, size_t len, size_t end, Directory *dir, FsiError *err)
{
	Cursor		c = cursor_init(bytes, len);

	if (end < END64_LOCATOR_BYTES || memcmp(bytes + end - END64_LOCATOR_BYTES, "PK\6\7", 4) != 0)
		return FSI_OK;
	cursor_seek(&c, end - END64_LOCATOR_BYTES + 8);
	cursor_seek(&c, cursor_u64(&c));
	if (cursor_u32(&c) != 0x06064b50)
		return bad_zip(err, "its 64-bit directory is not where it should be");
	cursor_bytes(&c, 28);		/* size, versions, disks, entries on this disk */
	dir->n_entry = cursor_u64(&c);
	dir->size = cursor_u64(&c);
	dir->offset = cursor_u64(&c);
	return c.failed ? bad_zip(err, "its 64-bit directory is cut off") : FSI_OK;
}

static FsiStatus
read_directory(const uint8_t *bytes, size_t len, Directory *dir, FsiError *err)
{
	Cursor		c = cursor_init(bytes, len);
	size_t		end;

	if (!find_end(bytes, len, &end))
		return bad_zip(err, "its directory is missing");
	cursor_seek(&c, end + 10);
	dir->n_entry = cursor_u16(&c);
	dir->size = cursor_u32(&c);
	dir->offset = cursor_u32(&c);
	FSI_TRY(read_end64(bytes, len, end, dir, err));
	if (dir->offset > len || dir->size > len - dir->offset || dir->n_entry > dir->size / CENTRAL_BYTES)
		return bad_zip(err, "its directory lies outside");
	return FSI_OK;
}

/* 64-bit values of the zip64 extra field replace those that are all ones, in this order. */
static void
read_extra(Cursor extra, uint64_t *size, uint64_t *packed, uint64_t *offset)
{
	while (cursor_left(&extra) >= 4)
	{
		uint16_t	id = cursor_u16(&extra);
		uint16_t	n = cursor_u16(&extra);
		const uint8_t *field = cursor_bytes(&extra, n);
		Cursor		c;

		if (field == NULL || id != 1)
			continue;
		c = cursor_init(field, n);
		if (*size == UINT32_MAX)
			*size = cursor_u64(&c);
		if (*packed == UINT32_MAX)
			*packed = cursor_u64(&c);
		if (*offset == UINT32_MAX)
			*offset = cursor_u64(&c);
		if (c.failed)
			*offset = UINT64_MAX;	/* refused below */
		return;
	}
}

/* Where an entry's data begin: after its local header, whose name and extra lengths are its own. */
static FsiStatus
locate(const uint8_t *bytes, size_t len, uint64_t offset, uint64_t size, TorchBlob *out, FsiError *err)
{
	Cursor		c = cursor_init(bytes, len);
	uint32_t	skip;

	cursor_seek(&c, offset);
	if (cursor_u32(&c) != 0x04034b50)
		return bad_zip(err, "an entry is not where the directory says");
	cursor_bytes(&c, 22);
	skip = cursor_u16(&c);
	skip += cursor_u16(&c);
	cursor_bytes(&c, skip);
	out->data = cursor_bytes(&c, size);
	out->len = size;
	return c.failed ? bad_zip(err, "an entry is cut off") : FSI_OK;
}

static FsiStatus
read_entry(const uint8_t *bytes, size_t len, Cursor *c, TorchBlob *out, FsiError *err)
{
	uint32_t	magic = cursor_u32(c);
	uint16_t	flags,
				method,
				name_len,
				extra_len,
				comment_len;
	uint64_t	packed,
				size,
				offset;
	const uint8_t *extra;

	cursor_bytes(c, 4);			/* versions */
	flags = cursor_u16(c);
	method = cursor_u16(c);
	cursor_bytes(c, 8);			/* time, date, checksum */
	packed = cursor_u32(c);
	size = cursor_u32(c);
	name_len = cursor_u16(c);
	extra_len = cursor_u16(c);
	comment_len = cursor_u16(c);
	cursor_bytes(c, 8);			/* disk, attributes */
	offset = cursor_u32(c);
	out->key = (const char *) cursor_bytes(c, name_len);
	out->key_len = name_len;
	extra = cursor_bytes(c, extra_len);
	cursor_bytes(c, comment_len);
	if (c->failed || magic != 0x02014b50)
		return bad_zip(err, "its directory is cut off");
	read_extra(cursor_init(extra, extra_len), &size, &packed, &offset);
	if (method != 0 || (flags & 1) != 0 || packed != size)
		return fsi_fail(err, FSI_UNSUPPORTED, "PyTorch file has a compressed or encrypted entry \"%s\"",
						show_name(out->key, out->key_len).text);
	return locate(bytes, len, offset, size, out, err);
}

FsiStatus
torchzip_entries(const uint8_t *bytes, size_t len, FsiArena *arena, TorchBlobs *out, FsiError *err)
{
	Directory	dir = {0};
	const TorchBlob *twice;
	Cursor		c;

	FSI_TRY(read_directory(bytes, len, &dir, err));
	c = cursor_init(bytes + dir.offset, (size_t) dir.size);
	out->n = (size_t) dir.n_entry;
	out->blobs = fsi_arena_array(arena, out->n, sizeof(TorchBlob));
	if (out->blobs == NULL)
		return fsi_nomem(err, out->n * sizeof(TorchBlob));
	for (size_t i = 0; i < out->n; i++)
		FSI_TRY(read_entry(bytes, len, &c, &out->blobs[i], err));
	torchblobs_sort(out);
	twice = torchblobs_twice(out);
	if (twice != NULL)
		return fsi_fail(err, FSI_CORRUPT, "PyTorch file is damaged: two entries \"%s\"",
						show_name(twice->key, twice->key_len).text);
	return FSI_OK;
}
