/*
 * fsi_json.h
 *	  JSON that Jansson reads, and values of it as text again; JSON of our own making is in fsi_base.h.
 *
 * What is read is the caller's, to be let go by json_decref().
 */
#ifndef FSI_JSON_H
#define FSI_JSON_H

#include <jansson.h>

#include "fsi_base.h"

/*
 * As json_loadb(), where may be NULL, but FSI_CANCELLED when the host says so, and FSI_NOMEM for want of memory, which
 * Jansson takes for a mistake in the text or does not mind.  Such a mistake is FSI_CORRUPT, which leaves *err to the
 * caller.
 */
extern FsiStatus fsi_json_read(const FsiHost *host, const char *text, size_t len, size_t flags, json_t **json,
							   json_error_t *where, FsiError *err);
/*
 * FSI_LIMIT for a text of more values than limit, to be asked before it is parsed: Jansson's memory is not the host's, up
 * to 240 bytes for each value.  what: names the text in the message.
 */
extern FsiStatus fsi_json_check_values(const char *what, const char *text, size_t len, size_t limit, FsiError *err);
/*
 * The compact text of an object or array (else FSI_CORRUPT, *err left alone), with a zero behind it; reals with the
 * fewest digits that read back as the same.
 */
extern FsiStatus fsi_json_compact(const json_t *json, FsiArena *arena, char **text, size_t *len, FsiError *err);

#endif
