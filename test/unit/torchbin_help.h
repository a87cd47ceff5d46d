/*
 * torchbin_help.h
 *	  PyTorch files made byte by byte, as torch.save() writes them: pickles, zip, legacy.
 */
#ifndef TORCHBIN_HELP_H
#define TORCHBIN_HELP_H

#include "format_help.h"

/* ---- A pickle, protocol 2, as torch.save writes it ---- */

__attribute__((unused)) static void
pk_string(FsiBytes *b, const char *s)
{
	put_text(b, "X");
	put_le(b, strlen(s), 4);
	put_text(b, s);
}

__attribute__((unused)) static void
pk_int(FsiBytes *b, int64_t value)
{
	put_text(b, "\x8a\x08");
	put_le(b, (uint64_t) value, 8);
}

__attribute__((unused)) static void
pk_global(FsiBytes *b, const char *module, const char *name)
{
	put_text(b, "c");
	put_text(b, module);
	put_text(b, "\n");
	put_text(b, name);
	put_text(b, "\n");
}

__attribute__((unused)) static void
pk_tuple(FsiBytes *b, int n, const int64_t *values)
{
	put_text(b, "(");
	for (int i = 0; i < n; i++)
		pk_int(b, values[i]);
	put_text(b, "t");
}

typedef struct Spec
{
	const char *name,
			   *type,
			   *key;
	int64_t		count,
				offset;
	int			n_dim;
	int64_t		dim[6],
				stride[6];
} Spec;

__attribute__((unused)) static void
pk_storage(FsiBytes *b, const Spec *s, bool legacy)
{
	put_text(b, "(");
	pk_string(b, "storage");
	pk_global(b, "torch", s->type);
	pk_string(b, s->key);
	pk_string(b, "cpu");
	pk_int(b, s->count);
	if (legacy)
		put_text(b, "N");
	put_text(b, "tQ");
}

__attribute__((unused)) static void
pk_tensor(FsiBytes *b, const Spec *s, bool legacy)
{
	pk_global(b, "torch._utils", "_rebuild_tensor_v2");
	put_text(b, "(");
	pk_storage(b, s, legacy);
	pk_int(b, s->offset);
	pk_tuple(b, s->n_dim, s->dim);
	pk_tuple(b, s->n_dim, s->stride);
	put_text(b, "\x89");
	pk_global(b, "collections", "OrderedDict");
	put_text(b, ")RtR");
}

__attribute__((unused)) static FsiBytes
pk_state(const Spec *specs, int n, bool legacy)
{
	FsiBytes	b = new_bytes();

	put_text(&b, "\x80\x02");
	pk_global(&b, "collections", "OrderedDict");
	put_text(&b, ")Rq");
	put_le(&b, 0, 1);
	put_text(&b, "(");
	for (int i = 0; i < n; i++)
	{
		pk_string(&b, specs[i].name);
		pk_tensor(&b, &specs[i], legacy);
	}
	/* attributes: {"_metadata": {}} */
	put_text(&b, "u}");
	pk_string(&b, "_metadata");
	put_text(&b, "}sb.");
	return b;
}

/* ---- The zip container ---- */

typedef struct Zip
{
	FsiBytes	body,
				central;
	int			n;
	int			method;
} Zip;

__attribute__((unused)) static Zip
zip_begin(void)
{
	return (Zip) {.body = new_bytes(), .central = new_bytes()};
}

__attribute__((unused)) static void
zip_add(Zip *z, const char *name, const void *data, size_t len)
{
	size_t		offset = z->body.len;

	put_text(&z->body, "PK\3\4");
	put_le(&z->body, 0, 22);	/* sizes are in the central directory */
	put_le(&z->body, strlen(name), 2);
	put_le(&z->body, 5, 2);		/* an extra field of its own, as torch pads */
	put_text(&z->body, name);
	put(&z->body, "FB\1\0Z", 5);
	put(&z->body, data, len);
	put_text(&z->central, "PK\1\2");
	put_le(&z->central, 0, 6);
	put_le(&z->central, (uint64_t) z->method, 2);
	put_le(&z->central, 0, 8);
	put_le(&z->central, len, 4);
	put_le(&z->central, len, 4);
	put_le(&z->central, strlen(name), 2);
	put_le(&z->central, 0, 2);
	put_le(&z->central, 0, 2);
	put_le(&z->central, 0, 8);
	put_le(&z->central, offset, 4);
	put_text(&z->central, name);
	z->n++;
}

__attribute__((unused)) static FsiBytes
zip_end(Zip *z)
{
	FsiBytes	b = new_bytes();

	put(&b, z->body.data, z->body.len);
	put(&b, z->central.data, z->central.len);
	put_text(&b, "PK\5\6");
	put_le(&b, 0, 4);
	put_le(&b, (uint64_t) z->n, 2);
	put_le(&b, (uint64_t) z->n, 2);
	put_le(&b, z->central.len, 4);
	put_le(&b, z->body.len, 4);
	put_le(&b, 0, 2);
	return b;
}

/* A zip of this pickle and two storages: "0" of 0..11 as f32, "1" of f16. */
__attribute__((unused)) static FsiBytes
zip_of(FsiBytes pickle)
{
	float		f32[12];
	const uint16_t f16[4] = {0x3c00, 0x4000, 0x4200, 0x4400};
	Zip			z = zip_begin();

	for (int i = 0; i < 12; i++)
		f32[i] = (float) i;
	zip_add(&z, "m/data.pkl", pickle.data, pickle.len);
	zip_add(&z, "m/byteorder", "little", 6);
	zip_add(&z, "m/data/0", f32, sizeof(f32));
	zip_add(&z, "m/data/1", f16, sizeof(f16));
	zip_add(&z, "m/version", "3\n", 2);
	return zip_end(&z);
}

__attribute__((unused)) static const Spec good[] = {
	{"transformer.wte.weight", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}},
	{"h.0.t", "FloatStorage", "0", 12, 1, 2, {4, 2}, {1, 4}},	/* transposed view, shared */
	{"h.0.half", "HalfStorage", "1", 4, 0, 1, {4}, {1}},
	{"h.0.attn.bias", "ByteStorage", "7", 99, 0, 5, {1, 1, 1, 9, 11}, {99, 99, 99, 11, 1}},	/* no such storage */
	{"counter", "LongStorage", "8", 1, 0, 0, {0}, {0}},
};

__attribute__((unused)) static FsiBytes
legacy_of(FsiBytes state)
{
	FsiBytes	b = new_bytes();

	put(&b, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
	put_text(&b, "\x80\x02M");
	put_le(&b, 1001, 2);
	put_text(&b, ".\x80\x02}");
	pk_string(&b, "little_endian");
	put_text(&b, "\x88s.");
	put(&b, state.data, state.len);
	put_text(&b, "\x80\x02](");
	pk_string(&b, "1");
	pk_string(&b, "0");
	put_text(&b, "e.");
	put_le(&b, 4, 8);
	for (int i = 0; i < 4; i++)
		put_le(&b, (uint64_t[]) {0x3c00, 0x4000, 0x4200, 0x4400}[i], 2);
	put_le(&b, 12, 8);
	for (int i = 0; i < 12; i++)
	{
		float		x = (float) i;

		put(&b, &x, 4);
	}
	return b;
}

#endif
