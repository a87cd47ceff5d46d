/*
 * json.c
 *	  JSON text by hand.
 *
 * Jansson only reads here: the postgres executable exports a symbol json_object of its own, so
 * that its constructors are not to be relied on inside a backend.
 */
#include <stdio.h>
#include <string.h>

#include "fsi_base.h"

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
