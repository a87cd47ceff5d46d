/*
 * texts.h
 *	  Texts by number: in memory up to work_mem, from there on in a temporary file.
 *
 * Eight bytes a text stay in memory.  All of it lives in the memory context that
 * texts_create() is called in, but a file is closed by texts_close() alone (or with the
 * transaction, where it is rolled back).  The file counts against temp_file_limit.
 */
#ifndef TEXTS_H
#define TEXTS_H

#include "postgres.h"

#include "fsi_compat.h"

typedef struct Texts Texts;

extern Texts *texts_create(void);
/* Its number is how many came before. */
extern void texts_add(Texts *t, const char *s, size_t len);
extern size_t texts_len(const Texts *t, uint32 number);
/* Copy texts_len() bytes.  Nothing is added any more. */
extern void texts_read(Texts *t, uint32 number, char *buffer);
extern void texts_close(Texts *t);

#endif
