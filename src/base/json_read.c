/*
 * json_read.c
 *	  JSON read by Jansson, whose want of memory is told from mistakes in the text, and who stops when he should.
 */
#include <stdlib.h>
#include <string.h>

#include "fsi_json.h"

#define STOP_EVERY ((size_t) 64 * 1024)		/* bytes between two questions whether to stop: some milliseconds */

/* Jansson's functions for memory, which any part of the process may have set, and whether they have refused some. */
static json_malloc_t take;
static json_free_t give_back;
static size_t refused;

static void *
take_noting(size_t bytes)
{
	void	   *p = take(bytes);

	if (p == NULL)
		refused = bytes;
	return p;
}

/* Until end_noting() nothing leaves by a jump, and no other thread is at work with JSON. */
static void
begin_noting(void)
{
	json_get_alloc_funcs(&take, &give_back);
	refused = 0;
	json_set_alloc_funcs(take_noting, give_back);
}

static void
end_noting(void)
{
	json_set_alloc_funcs(take, give_back);
}

FsiStatus
fsi_json_check_values(const char *what, const char *text, size_t len, size_t limit, FsiError *err)
{
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return n <= limit ? FSI_OK : fsi_fail(err, FSI_LIMIT, "%s has more than %zu values", what, limit);
}

/* A text on its way to Jansson. */
typedef struct Feed
{
	const FsiHost *host;
	const char *text;
	size_t		len;
	size_t		asked_at;		/* length that was left when the host was asked whether to stop */
	bool		stopped;
} Feed;

/* The next bytes; none at the end, or where it is to stop. */
static size_t
feed(void *buffer, size_t size, void *arg)
{
	Feed	   *f = arg;
	size_t		n = f->len < size ? f->len : size;

	if (f->asked_at - f->len >= STOP_EVERY)
	{
		f->stopped = f->stopped || fsi_should_stop(f->host);
		f->asked_at = f->len;
	}
	if (f->stopped)
		return 0;
	memcpy(buffer, f->text, n);
	f->text += n;
	f->len -= n;
	return n;
}

/* Refused memory may have no effect but a character that is lost from a string. */
FsiStatus
fsi_json_read(const FsiHost *host, const char *text, size_t len, size_t flags, json_t **json, json_error_t *where,
			  FsiError *err)
{
	Feed		f = {.host = host, .text = text, .len = len, .asked_at = len};

	begin_noting();
	*json = json_load_callback(feed, &f, flags, where);
	end_noting();
	if (refused == 0 && !f.stopped)
		return *json != NULL ? FSI_OK : FSI_CORRUPT;
	json_decref(*json);
	*json = NULL;
	return f.stopped ? fsi_cancelled(err) : fsi_nomem(err, refused);
}

/* A number as Jansson writes it, with as few digits as read back as the same; returns where its end is then. */
static char *
shorten_number(const char *number, size_t len, char *to)
{
	char		text[FSI_NUMBER_BYTES];
	const char *exponent;
	size_t		n;

	if (strcspn(number, ".eE") >= len)	/* an integer has all of its digits */
	{
		memmove(to, number, len);
		return to + len;
	}
	fsi_number_text(strtod(number, NULL), false, text);
	n = strcspn(text, "e");
	exponent = text + n;
	memcpy(to, text, n);
	to += n;
	if (*exponent == '\0')
	{
		/* A real stays one. */
		if (memchr(text, '.', n) == NULL)
			to = (char *) memcpy(to, ".0", 2) + 2;
		return to;
	}
	/* 1e-05 and 1e+20 are 1e-5 and 1e20 there. */
	*to++ = 'e';
	exponent++;
	if (*exponent == '-')
		*to++ = '-';
	exponent += strspn(exponent, "+-0");
	n = strlen(exponent);
	memcpy(to, exponent, n);
	return to + n;
}

/* Jansson gives reals 17 digits, and so shows what a double makes of 0.1; returns the length without those. */
static size_t
shorten_reals(char *json)
{
	const char *at = json;
	char	   *to = json;
	bool		string = false;

	while (*at != '\0')
	{
		size_t		n = string ? 0 : strspn(at, "-+.0123456789eE");

		if (n > 0 && (*at == '-' || (*at >= '0' && *at <= '9')))
		{
			to = shorten_number(at, n, to);
			at += n;
			continue;
		}
		string ^= *at == '"';
		if (string && *at == '\\')
			*to++ = *at++;
		*to++ = *at++;
	}
	*to = '\0';
	return (size_t) (to - json);
}

FsiStatus
fsi_json_compact(const json_t *json, FsiArena *arena, char **text, size_t *len, FsiError *err)
{
	begin_noting();
	*len = json_dumpb(json, NULL, 0, JSON_COMPACT);
	*text = *len == 0 ? NULL : fsi_arena_alloc(arena, *len + 1);
	if (*text != NULL && json_dumpb(json, *text, *len, JSON_COMPACT) == *len)
	{
		(*text)[*len] = '\0';
		*len = shorten_reals(*text);
	}
	end_noting();
	if (refused > 0 || (*len > 0 && *text == NULL))
		return fsi_nomem(err, refused > 0 ? refused : *len + 1);
	return *len == 0 ? FSI_CORRUPT : FSI_OK;
}
