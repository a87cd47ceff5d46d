/*
 * json.c
 *	  JSON text by hand, and by Jansson.
 *
 * Jansson only reads here: the postgres executable exports a symbol json_object of its own, so
 * that its constructors are not to be relied on inside a backend.
 */
#include <stdio.h>
#include <string.h>

#include "fsi_json.h"

#define PRINTF_BYTES 512

bool
fsi_json_text(FsiBytes *b, const char *s)
{
	return fsi_bytes_append(b, s, strlen(s));
}

bool
fsi_json_printf(FsiBytes *b, const char *fmt,...)
{
	char		text[PRINTF_BYTES];
	va_list		args;
	int			n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return n >= 0 && n < (int) sizeof(text) && fsi_bytes_append(b, text, (size_t) n);
}

bool
fsi_json_string(FsiBytes *b, const char *s, size_t len)
{
	bool		ok = fsi_bytes_append(b, "\"", 1);

	for (size_t i = 0; ok && i < len; i++)
	{
		unsigned char c = (unsigned char) s[i];
		char		escape[8];

		if (c == '"' || c == '\\')
		{
			escape[0] = '\\';
			escape[1] = (char) c;
			ok = fsi_bytes_append(b, escape, 2);
		}
		else if (c < 0x20)
			ok = fsi_bytes_append(b, escape, (size_t) snprintf(escape, sizeof(escape), "\\u%04x", c));
		else
			ok = fsi_bytes_append(b, &s[i], 1);
	}
	return ok && fsi_bytes_append(b, "\"", 1);
}

/* ---- Jansson. ---- */

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

/* Refused memory may have no effect but a character that is lost from a string. */
FsiStatus
fsi_json_read(const char *text, size_t len, size_t flags, json_t **json, json_error_t *where, FsiError *err)
{
	begin_noting();
	*json = json_loadb(text, len, flags, where);
	end_noting();
	if (refused == 0)
		return *json != NULL ? FSI_OK : FSI_CORRUPT;
	json_decref(*json);
	*json = NULL;
	return fsi_nomem(err, refused);
}

FsiStatus
fsi_json_compact(const json_t *json, FsiArena *arena, char **text, size_t *len, FsiError *err)
{
	begin_noting();
	*len = json_dumpb(json, NULL, 0, JSON_COMPACT);
	*text = *len == 0 ? NULL : fsi_arena_alloc(arena, *len + 1);
	if (*text != NULL && json_dumpb(json, *text, *len, JSON_COMPACT) == *len)
		(*text)[*len] = '\0';
	end_noting();
	if (refused > 0 || (*len > 0 && *text == NULL))
		return fsi_nomem(err, refused > 0 ? refused : *len + 1);
	return *len == 0 ? FSI_CORRUPT : FSI_OK;
}
