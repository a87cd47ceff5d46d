/*
 * hf_card.c
 *	  What was unusual about a checkpoint, collected for its card.
 */
#include "hf.h"

#include <stdio.h>

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
		!fsi_json_string(&card->quirks, text, (size_t) len))
		card->nomem = true;
}
