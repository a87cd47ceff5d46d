/*
 * test_format_safetensors.c
 *	  Element types, names, masks, and every way in which a header can lie.
 */
#include "format_help.h"

#include <math.h>

static TensorSet set;

static FsiStatus
parse(FsiBytes b)
{
	return safetensors_parse(b.data, b.len, &arena, &set, &err);
}

/* A file of one hand-written header and n bytes of data. */
static FsiStatus
parse_header(const char *header, size_t n)
{
	FsiBytes	b = new_bytes();

	put_le(&b, strlen(header), 8);
	put_text(&b, header);
	for (size_t i = 0; i < n; i++)
		put(&b, "\0", 1);
	return parse(b);
}

static void
test_types(void)
{
	SafeFile	f = safe_begin();
	const double f64[] = {1.5, -2.25, 1e300};
	const float f32[] = {0.1f, -0.0f, 3e38f};
	const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x7c00};
	const uint16_t bf16[] = {0x3f80, 0xc020, 0x0001};
	const int64_t i64[] = {1, 2};
	const uint8_t mask[] = {1, 0, 1};
	const float *x;

	safe_add(&f, "d", "F64", "[3]", f64, sizeof(f64));
	safe_add(&f, "s", "F32", "[3]", f32, sizeof(f32));
	safe_add(&f, "h", "F16", "[2,3]", f16, sizeof(f16));
	safe_add(&f, "b", "BF16", "[1,1,3,1]", bf16, sizeof(bf16));
	safe_add(&f, "ids", "I64", "[2]", i64, sizeof(i64));
	safe_add(&f, "m", "BOOL", "[3]", mask, sizeof(mask));
	safe_add(&f, "u", "U8", "[3]", mask, sizeof(mask));
	safe_add(&f, "zero", "F32", "[0,4]", "", 0);
	safe_add(&f, "scalar", "F32", "[]", f32, 4);
	safe_add(&f, "odd", "U8", "[1]", mask, 1);
	safe_add(&f, "unaligned", "F32", "[2]", f32, 8);
	ok(parse(safe_end(&f)) == FSI_OK, "a file of every element type is read");
	ok(set.n == 7, "integers and booleans are left out");
	x = data_of(&set, "d");
	ok(x != NULL && x[0] == 1.5f && x[1] == -2.25f && isinf(x[2]), "F64");
	x = data_of(&set, "s");
	ok(x != NULL && memcmp(x, f32, sizeof(f32)) == 0, "F32 keeps its bits");
	x = data_of(&set, "h");
	ok(x != NULL && x[0] == 1 && x[1] == -2 && x[2] == 0x1p-24f && x[3] == 65504 && signbit(x[4]) && isinf(x[5]),
	   "F16: normal, subnormal, largest, -0, infinity");
	x = data_of(&set, "b");
	ok(x != NULL && x[0] == 1 && x[1] == -2.5f && x[2] == 0x1p-133f, "BF16");
	x = data_of(&set, "unaligned");
	ok(x != NULL && (uintptr_t) x % sizeof(float) == 0 && x[0] == 0.1f, "an unaligned F32 tensor is moved");
	ok(data_of(&set, "scalar") != NULL && tensors_find(&set, "scalar")->n_dim == 0, "a scalar has no dimensions");
	ok(tensors_find(&set, "zero") != NULL && tensors_find(&set, "nothing") == NULL, "an empty tensor is there");
}

static void
test_names(void)
{
	SafeFile	f = safe_begin();
	const float x[4] = {1, 2, 3, 4};

	safe_add(&f, "transformer.wte.weight", "F32", "[2,2]", x, 16);
	safe_add(&f, "module.transformer.ln_f.bias", "F32", "[4]", x, 16);
	safe_add(&f, "transformer.h.0.attn.bias", "F32", "[1,1,2,2]", x, 16);
	safe_add(&f, "h.1.attn.masked_bias", "F32", "[]", x, 4);
	safe_add(&f, "h.1.attn.c_attn.bias", "F32", "[4]", x, 16);
	ok(parse(safe_end(&f)) == FSI_OK && set.n == 3, "masks are dropped, biases are not");
	ok(data_of(&set, "wte.weight") != NULL && data_of(&set, "ln_f.bias") != NULL, "wrappers' prefixes are dropped");

	f = safe_begin();
	safe_add(&f, "transformer.wte.weight", "F32", "[2,2]", x, 16);
	safe_add(&f, "wte.weight", "F32", "[2,2]", x, 16);
	ok(refused(parse(safe_end(&f)), FSI_CORRUPT, "wte.weight\" stands twice"), "one name with and without prefix");
}

static void
test_lies(void)
{
	static const struct
	{
		const char *header;
		size_t		n;
		FsiStatus	status;
		const char *message;
	}			cases[] = {
		{"", 0, FSI_CORRUPT, "not valid JSON"},
		{"{", 0, FSI_CORRUPT, "not valid JSON"},
		{"[]", 0, FSI_CORRUPT, "not a JSON object"},
		{"{\"a\":1}", 0, FSI_UNSUPPORTED, "data type"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FSI_CORRUPT, "not valid JSON"},
		{"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, FSI_UNSUPPORTED, "data type"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0.0,4.0]}}", 4, FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775800,9223372036854775804]}}", 4,
		FSI_CORRUPT, "outside"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, FSI_CORRUPT, "its shape needs 8"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]}}", 4, FSI_CORRUPT, "its shape needs 4"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, FSI_CORRUPT, "shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 4, FSI_CORRUPT, "shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 4, FSI_CORRUPT, "shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, FSI_CORRUPT, "shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, FSI_OK, ""},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,0],\"data_offsets\":[0,0]}}", 4, FSI_CORRUPT, "shape"},
	};
	FsiBytes	b = new_bytes();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		FsiStatus	status = parse_header(cases[i].header, cases[i].n);

		ok(cases[i].status == FSI_OK ? status == FSI_OK : refused(status, cases[i].status, cases[i].message),
		   "header %zu: %s", i, cases[i].message);
	}
	put_le(&b, 3, 4);
	ok(refused(parse(b), FSI_CORRUPT, "ends inside"), "a file of four bytes");
	b.len = 0;
	put_le(&b, UINT64_MAX - 2, 8);
	ok(refused(parse(b), FSI_CORRUPT, "ends inside"), "a header of 2^64 bytes");
	ok(refused(safetensors_parse((const uint8_t *) "", 0, &arena, &set, &err), FSI_CORRUPT, "ends inside"), "an empty file");
	ok(refused(safetensors_read(temp_path("none"), &arena, &set, &err), FSI_MISSING, "none"), "no file");
}

/* Together the tensors, those that are left out too, cover the file once, as safetensors' own reader asks. */
static void
test_cover(void)
{
	static const char a[] = "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}",
				b[] = "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}",
				over[] = "\"o\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}",
				mask[] = "\"h.0.attn.bias\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}",
				none[] = "\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}";
	char		header[512];

	snprintf(header, sizeof(header), "{%s,%s,%s}", b, none, a);
	ok(parse_header(header, 8) == FSI_OK && set.n == 3, "tensors in another order, an empty one between them");
	snprintf(header, sizeof(header), "{%s,%s}", mask, a);
	ok(parse_header(header, 8) == FSI_OK && set.n == 1, "a mask covers its bytes, too");
	snprintf(header, sizeof(header), "{%s}", a);
	ok(refused(parse_header(header, 8), FSI_CORRUPT, "4 bytes at the end"), "bytes behind the last tensor");
	snprintf(header, sizeof(header), "{%s}", b);
	ok(refused(parse_header(header, 8), FSI_CORRUPT, "before tensor \"b\""), "bytes before the first tensor");
	snprintf(header, sizeof(header), "{%s,%s}", a, over);
	ok(refused(parse_header(header, 6), FSI_CORRUPT, "\"o\" overlaps"), "tensors that overlap");
	snprintf(header, sizeof(header), "{%s,\"c\":%s}", a, strchr(a, '{'));
	ok(refused(parse_header(header, 4), FSI_CORRUPT, "overlaps"), "two tensors of the same bytes");
	ok(refused(parse_header("{}", 1), FSI_CORRUPT, "1 bytes at the end"), "bytes without any tensor");
}

/* Jansson would take 128 bytes for each pair of brackets. */
static void
test_values(void)
{
	const size_t n = (size_t) 1 << 20;
	FsiBytes	b = new_bytes();

	put_le(&b, 6 + 3 * n + 3, 8);
	put_text(&b, "{\"a\":[");
	for (size_t i = 0; i < n; i++)
		put_text(&b, "[],");
	put_text(&b, "1]}");
	ok(refused(parse(b), FSI_LIMIT, "values"), "a header of a million empty lists is not parsed");
}

/* Many small entries over one range must not multiply memory. */
static void
test_budget(void)
{
	FsiBytes	header = new_bytes();
	FsiBytes	b = new_bytes();
	char		text[128];

	put_text(&header, "{\"__metadata__\":{}");
	for (int i = 0; i < 200; i++)
	{
		snprintf(text, sizeof(text), ",\"t%d\":{\"dtype\":\"F16\",\"shape\":[4096],\"data_offsets\":[0,8192]}", i);
		put_text(&header, text);
	}
	put_text(&header, "}");
	put_le(&b, header.len, 8);
	put(&b, header.data, header.len);
	for (int i = 0; i < 1024; i++)
		put_le(&b, 0, 8);
	ok(refused(parse(b), FSI_LIMIT, "larger than the file"), "tensors that overlap again and again");
}

/* Cut anywhere, a good file is refused or reads fewer tensors: it never crashes. */
static void
test_truncated(void)
{
	TinyModel	m = {.vocab = 10, .prefix = "transformer."};
	FsiBytes	b = tiny_weights(&m);
	int			accepted = 0;

	for (size_t len = 0; len < b.len; len += len < 4096 ? 37 : 501)
	{
		uint8_t    *copy = malloc(len + 1);	/* its own end, for the address sanitizer */

		memcpy(copy, b.data, len);
		accepted += safetensors_parse(copy, len, &arena, &set, &err) == FSI_OK;
		free(copy);
	}
	ok(accepted == 0, "no truncated file is accepted");
	ok(parse(b) == FSI_OK && set.n == 28, "the whole file is");
}

int
main(void)
{
	help_start();
	test_types();
	test_names();
	test_lies();
	test_cover();
	test_values();
	test_budget();
	test_truncated();
	help_end();
	return tap_done();
}
