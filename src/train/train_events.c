/*
 * train_events.c
 *	  TensorBoard event files: scalars as protocol buffers in TFRecord frames.
 *
 * A frame is the length (u64), its masked CRC, the data, and the data's masked CRC, all
 * little-endian; the CRC is CRC-32C (Castagnoli), masked as rotate right by 15 plus a
 * constant.  The messages (tensorflow/core/util/event.proto, framework/summary.proto):
 *
 *	Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
 *	Summary { repeated Value value = 1; }	Value { string tag = 1; float simple_value = 2; }
 *
 * Each frame is one write(): a reader, and a crash, see whole frames or a torn last one,
 * which TensorBoard ignores.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "train.h"

#define MAX_TAG 200
#define MAX_FRAME (MAX_TAG + 96)
#define MASK_DELTA 0xA282EAD8u

struct TrainEvents
{
	FsiHost		host;
	int			fd;
	char		path[1024];
};

/* CRC-32C (polynomial 0x82F63B78, reflected), four bits at a time. */
static uint32_t
crc32c(const uint8_t *s, size_t n)
{
	static const uint32_t nibble[16] = {
		0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
		0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75
	};
	uint32_t	crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++)
	{
		crc ^= s[i];
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return ~crc;
}

/* A message or frame being built; never more than MAX_FRAME bytes. */
typedef struct Wire
{
	uint8_t		bytes[MAX_FRAME];
	size_t		n;
} Wire;

static void
put_fixed(Wire *w, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		w->bytes[w->n++] = (uint8_t) (value >> (8 * i));
}

static void
put_varint(Wire *w, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		w->bytes[w->n++] = (uint8_t) (value | 0x80);
	w->bytes[w->n++] = (uint8_t) value;
}

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static void
put_key(Wire *w, int field, int type)
{
	put_varint(w, (uint64_t) (field << 3 | type));
}

static void
put_bytes(Wire *w, int field, const void *data, size_t n)
{
	put_key(w, field, WIRE_BYTES);
	put_varint(w, n);
	memcpy(w->bytes + w->n, data, n);
	w->n += n;
}

/* A double or a float; the CPU is little-endian too, as fsifile_layout.c asserts. */
static void
put_number(Wire *w, int field, const void *number, size_t bytes)
{
	put_key(w, field, bytes == 8 ? WIRE_64 : WIRE_32);
	memcpy(w->bytes + w->n, number, bytes);
	w->n += bytes;
}

static uint32_t
masked_crc(const uint8_t *s, size_t n)
{
	uint32_t	crc = crc32c(s, n);

	return (crc >> 15 | crc << 17) + MASK_DELTA;
}

static FsiStatus
write_frame(TrainEvents *ev, const Wire *event, FsiError *err)
{
	Wire		frame = {.n = 0};
	ssize_t		done;

	put_fixed(&frame, event->n, 8);
	put_fixed(&frame, masked_crc(frame.bytes, 8), 4);
	memcpy(frame.bytes + frame.n, event->bytes, event->n);
	frame.n += event->n;
	put_fixed(&frame, masked_crc(event->bytes, event->n), 4);
	do
		done = write(ev->fd, frame.bytes, frame.n);
	while (done < 0 && errno == EINTR);
	if (done == (ssize_t) frame.n)
		return FSI_OK;
	if (done >= 0)
		errno = ENOSPC;
	return fsi_fail_errno(err, "could not write event file \"%s\"", ev->path);
}

/* A name that is free: two trainings of one second get different numbers. */
static int
create_file(const char *directory, double time, char *path, size_t size)
{
	for (int i = 0; i < 1000; i++)
	{
		int			n = snprintf(path, size, "%s/events.out.tfevents.%010.0f.fsi.%ld.%d", directory, time,
								 (long) getpid(), i);
		int			fd;

		if (n < 0 || (size_t) n >= size)
		{
			errno = ENAMETOOLONG;
			return -1;
		}
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

FsiStatus
train_events_open(const FsiHost *host, const char *directory, double time, TrainEvents **out, FsiError *err)
{
	static const char version[] = "brain.Event:2";
	TrainEvents *ev = host->alloc(host->ctx, sizeof(TrainEvents));
	Wire		event = {.n = 0};
	FsiStatus	status;

	if (ev == NULL)
		return fsi_nomem(err, sizeof(TrainEvents));
	ev->host = *host;
	ev->fd = create_file(directory, time, ev->path, sizeof(ev->path));
	if (ev->fd < 0)
	{
		status = fsi_fail_errno(err, "could not create an event file in \"%s\"", directory);
		host->release(host->ctx, ev);
		return status;
	}
	put_number(&event, 1, &time, sizeof(time));
	put_bytes(&event, 3, version, sizeof(version) - 1);
	status = write_frame(ev, &event, err);
	if (status != FSI_OK)
	{
		close(ev->fd);
		unlink(ev->path);
		host->release(host->ctx, ev);
		return status;
	}
	*out = ev;
	return FSI_OK;
}

FsiStatus
train_events_scalar(TrainEvents *ev, const char *tag, int64_t step, double time, float value, FsiError *err)
{
	size_t		len = strlen(tag);
	Wire		event = {.n = 0},
				summary = {.n = 0},
				item = {.n = 0};

	if (len > MAX_TAG)
		return fsi_fail(err, FSI_LIMIT, "a tag of %zu bytes is too long, at most %d", len, MAX_TAG);
	put_bytes(&item, 1, tag, len);
	put_number(&item, 2, &value, sizeof(value));
	put_bytes(&summary, 1, item.bytes, item.n);
	put_number(&event, 1, &time, sizeof(time));
	put_key(&event, 2, WIRE_VARINT);
	put_varint(&event, (uint64_t) step);
	put_bytes(&event, 5, summary.bytes, summary.n);
	return write_frame(ev, &event, err);
}

FsiStatus
train_events_close(TrainEvents *ev, FsiError *err)
{
	FsiHost		host = ev->host;
	FsiStatus	status = FSI_OK;

	if (close(ev->fd) != 0)
		status = fsi_fail_errno(err, "could not write event file \"%s\"", ev->path);
	host.release(host.ctx, ev);
	return status;
}
