/*
 * test_base.c
 *	  Arena, bytes, SHA-256, exp and log, hash, files, numbers as text, errors.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "fsi_base.h"
#include "tap.h"

static size_t live;
static size_t allowed;			/* allocations until refusal */

static void *
counting_alloc(void *ctx, size_t bytes)
{
	(void) ctx;
	if (allowed == 0)
		return NULL;
	allowed--;
	live++;
	return malloc(bytes);
}

static void
counting_release(void *ctx, void *ptr)
{
	(void) ctx;
	live--;
	free(ptr);
}

static const FsiHost counting = {NULL, counting_alloc, counting_release, NULL};

static void
test_arena(void)
{
	FsiArena	arena;
	FsiArenaMark mark;
	size_t		before;
	bool		aligned = true;

	allowed = 1000;
	fsi_arena_init(&arena, &counting);
	for (int i = 0; i < 100; i++)
	{
		uint8_t    *p = fsi_arena_alloc(&arena, (size_t) i * 37);

		aligned = aligned && p != NULL && (uintptr_t) p % 64 == 0;
		memset(p, i, (size_t) i * 37);
	}
	ok(aligned, "allocations are 64-aligned");
	mark = fsi_arena_mark(&arena);
	before = live;
	for (int i = 0; i < 50; i++)
		memset(fsi_arena_alloc(&arena, 300000), 1, 300000);
	ok(live > before, "large requests take more blocks");
	fsi_arena_release(&arena, mark);
	ok(live == before, "release gives back what came after the mark");
	ok(fsi_arena_array(&arena, SIZE_MAX / 2, 3) == NULL, "n * size overflow is refused");
	ok(fsi_arena_alloc(&arena, SIZE_MAX - 10) == NULL, "absurd size is refused");
	fsi_arena_free(&arena);
	ok(live == 0 && arena.bytes == 0, "free gives everything back");
	allowed = 0;
	ok(fsi_arena_alloc(&arena, 1) == NULL, "a refusing host gives NULL");
}

static void
test_bytes(void)
{
	FsiArena	arena;
	FsiBytes	bytes;

	fsi_arena_init(&arena, &fsi_host_malloc);
	fsi_bytes_init(&bytes, &arena);
	for (int i = 0; i < 1000; i++)
	{
		uint8_t		b = (uint8_t) i;

		fsi_bytes_append(&bytes, &b, 1);
	}
	fsi_bytes_align(&bytes, 64);
	ok(bytes.len == 1024 && bytes.data[999] == (999 & 255) && bytes.data[1023] == 0,
	   "bytes grow, keep their contents and pad with zeros");
	fsi_arena_free(&arena);
}

static bool
sha_is(const char *text, size_t repeat, size_t step, const char *want)
{
	FsiSha256	s;
	uint8_t		digest[FSI_SHA256_BYTES];
	char		hex[2 * FSI_SHA256_BYTES + 1];
	size_t		len = strlen(text);

	fsi_sha256_init(&s);
	for (size_t i = 0; i < repeat; i++)
		for (size_t at = 0; at < len; at += step)
			fsi_sha256_update(&s, text + at, len - at < step ? len - at : step);
	fsi_sha256_final(&s, digest);
	fsi_hex(digest, sizeof(digest), hex);
	return strcmp(hex, want) == 0;
}

/* The examples published with FIPS 180. */
static void
test_sha256(void)
{
	const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	ok(sha_is("", 1, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "sha256 of nothing");
	ok(sha_is("abc", 1, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "sha256 of abc");
	for (size_t step = 1; step < 60; step += 11)
		ok(sha_is(two, 1, step, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
		   "sha256 of two blocks in steps of %zu", step);
	ok(sha_is("aaaaaaaaaa", 100000, 10, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
	   "sha256 of a million a");
}

/* |got - want| in units of the last place of want */
static double
ulps(double got, double want)
{
	return fabs(got - want) / (nextafter(fabs(want), HUGE_VAL) - fabs(want));
}

static void
test_math(void)
{
	double		worst_exp = 0,
				worst_log = 0;

	for (double x = -700.0; x < 709.0; x += 0.0137)
		worst_exp = fmax(worst_exp, ulps(fsi_exp(x), exp(x)));
	for (double x = 1e-300; x < 1e300; x *= 1.037)
		worst_log = fmax(worst_log, ulps(fsi_log(x), log(x)));
	for (double x = 0.5; x < 2.0; x += 0.00017)
		if (x != 1.0)
			worst_log = fmax(worst_log, ulps(fsi_log(x), log(x)));
	diag("largest error: exp %.2f ulp, log %.2f ulp (against libm)", worst_exp, worst_log);
	ok(worst_exp < 2.0, "exp is within 2 ulp");
	ok(worst_log < 2.0, "log is within 2 ulp");
	ok(fsi_exp(0) == 1 && fsi_log(1) == 0, "exp(0) and log(1) are exact");
	ok(fsi_exp(1000) == HUGE_VAL && fsi_exp(-1000) == 0, "exp over- and underflows like libm");
	ok(fsi_exp(-740) == exp(-740), "exp reaches denormal results");
	ok(fsi_exp(709.7) < HUGE_VAL && ulps(fsi_exp(709.7), exp(709.7)) < 2, "exp near the largest double");
	ok(isnan(fsi_exp(NAN)) && isnan(fsi_log(-1)) && fsi_log(0) == -HUGE_VAL, "special arguments");
	ok(ulps(fsi_log(5e-324), log(5e-324)) < 2, "log of the smallest denormal");
}

/* Values are in model files: they may never change. */
static void
test_hash(void)
{
	uint64_t	a = fsi_hash64("", 0, 0);
	uint64_t	b = fsi_hash64("refund", 6, 0);
	uint64_t	c = fsi_hash64("cancel order", 12, 7);
	uint32_t	buckets[64] = {0},
				most = 0;

	diag("%016llx %016llx %016llx", (unsigned long long) a, (unsigned long long) b, (unsigned long long) c);
	ok(a == 0x1ceda6ccfe6d166fULL && b == 0x002a1bc052655fd2ULL && c == 0x304c9fa86f2812d5ULL, "hash values are those of the file format");
	ok(fsi_hash64("a\0", 2, 0) != fsi_hash64("a", 1, 0), "trailing zeros count");
	for (uint32_t i = 0; i < 64000; i++)
		buckets[fsi_hash64(&i, sizeof(i), 0) & 63]++;
	for (int i = 0; i < 64; i++)
		most = buckets[i] > most ? buckets[i] : most;
	ok(most < 1200, "low bits spread evenly (fullest of 64 buckets: %u of 1000)", most);
}

static void
test_files(void)
{
	FsiArena	arena;
	FsiError	err;
	uint8_t    *data;
	size_t		len;
	char		path[256];
	int			fd;
	FILE	   *f;

	snprintf(path, sizeof(path), "%s/fsi-base-XXXXXX", temp_base());
	fd = mkstemp(path);
	fsi_arena_init(&arena, &fsi_host_malloc);
	ok(write(fd, "hello", 5) == 5, "temporary file");
	close(fd);
	ok(fsi_read_file(path, 100, &arena, &data, &len, &err) == FSI_OK && len == 5 &&
	   strcmp((char *) data, "hello") == 0, "a file is read whole");
	ok(fsi_read_file(path, 4, &arena, &data, &len, &err) == FSI_LIMIT, "the limit holds");
	f = fopen(path, "w");
	fputs("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 408292976\n", f);
	fclose(f);
	ok(fsi_read_file(path, 200, &arena, &data, &len, &err) == FSI_CORRUPT && strstr(err.message, "Git LFS") != NULL &&
	   strstr(err.hint, "git lfs pull") != NULL, "a pointer of Git LFS is told from its file");
	unlink(path);
	ok(fsi_read_file(path, 100, &arena, &data, &len, &err) == FSI_MISSING && err.sys_errno == ENOENT &&
	   strstr(err.message, path) != NULL, "a missing file is named");
	ok(fsi_read_file("/tmp", 100, &arena, &data, &len, &err) == FSI_INVALID, "a directory is no file");
	fsi_arena_free(&arena);
}

static void
test_json(void)
{
	static const char text[] = "a\"b\\c\n\t\x01\x1f é退";
	static const char want[] = "\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u001f é退\"";
	FsiArena	arena;
	FsiBytes	b;
	char		fill[600];

	fsi_arena_init(&arena, &fsi_host_malloc);
	fsi_bytes_init(&b, &arena);
	ok(fsi_json_string(&b, text, sizeof(text) - 1) && b.len == sizeof(want) - 1 && memcmp(b.data, want, b.len) == 0,
	   "a JSON string: quotes, backslashes and control characters are escaped");
	memset(fill, 'x', sizeof(fill) - 1);
	fill[sizeof(fill) - 1] = '\0';
	ok(!fsi_json_printf(&b, "%s", fill) && b.len == sizeof(want) - 1, "what is too long to be formatted is refused whole");
	fsi_arena_free(&arena);
}

static void
test_errno(void)
{
	FsiError	err = {0};
	char		path[2 * sizeof(err.message)];
	const char *want = "xxx...: File name too long";

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	errno = ENAMETOOLONG;
	ok(fsi_fail_errno(&err, "could not open file \"%s\"", path) == FSI_IO && strlen(err.message) == sizeof(err.message) - 1 &&
	   strcmp(err.message + strlen(err.message) - strlen(want), want) == 0, "a path longer than a message leaves room for the reason");
	for (size_t len = 0; len < sizeof(path); len++)
	{
		errno = ENOENT;
		fsi_fail_errno(&err, "%.*s", (int) len, path);
		if (strstr(err.message, "x: No such file or directory") == NULL && strstr(err.message, "...: No such file or directory") == NULL &&
			strcmp(err.message, ": No such file or directory") != 0)
			ok(false, "%zu bytes: %s", len, err.message);
	}
}

static void
test_number(void)
{
	static const double numbers[] = {0, -1, 0.1, 5e-5, 1e300, 1e-320, 123456789, 1.0000000001, 1.0 / 3, 9007199254740991.0};
	static const char *const want[] = {"0", "-1", "0.1", "5e-05", "1e+300", "9.99989e-321", "123456789", "1.0000000001",
		"0.3333333333333333", "9007199254740991"};
	char		text[FSI_NUMBER_BYTES];

	for (int i = 0; i < (int) (sizeof(want) / sizeof(want[0])); i++)
	{
		fsi_number_text(numbers[i], false, text);
		ok(strcmp(text, want[i]) == 0, "a number: %s", text);
	}
	fsi_number_text(0.1f, true, text);
	ok(strcmp(text, "0.1") == 0, "a float: %s", text);
	fsi_number_text(NAN, false, text);
	ok(strcmp(text, "nan") == 0, "no number: %s", text);
}

int
main(void)
{
	test_arena();
	test_bytes();
	test_sha256();
	test_math();
	test_hash();
	test_files();
	test_json();
	test_errno();
	test_number();
	return tap_done();
}
