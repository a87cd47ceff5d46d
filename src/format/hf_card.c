/*
 * hf_card.c
 *	  JSON text by hand.
 *
 * Jansson only reads here: the postgres executable exports a symbol json_object of its own, so
 * that its constructors are not to be relied on inside a backend.
 */
#include "hf.h"

#include <stdio.h>

bool
hf_json_string(FsiBytes *b, const char *s, size_t len)
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

void
hf_card_init(HfCard *card, FsiArena *arena)
{
	*card = (HfCard) {0};
	fsi_bytes_init(&card->quirks, arena);
}

void
hf_card_quirk(HfCard *card, const char *fmt,...)
{
	char		text[512];
	va_list		args;
	int			len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if (len >= (int) sizeof(text))
		len = sizeof(text) - 1;
	if ((card->quirks.len > 0 && !fsi_bytes_append(&card->quirks, ", ", 2)) ||
		!hf_json_string(&card->quirks, text, (size_t) len))
		card->nomem = true;
}
