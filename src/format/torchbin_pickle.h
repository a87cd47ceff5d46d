/*
 * torchbin_pickle.h
 *	  The pickle machine's state and stack, which its opcodes and its names share.
 *
 * Values live in the arena.  Errors: FSI_CORRUPT, FSI_LIMIT, FSI_UNSUPPORTED, FSI_NOMEM.
 */
#ifndef FORMAT_TORCHBIN_PICKLE_H
#define FORMAT_TORCHBIN_PICKLE_H

#include "torchbin.h"

typedef struct Pickle
{
	Cursor	   *c;
	FsiArena   *arena;
	FsiError   *err;
	PickleItems stack;
	size_t	   *mark_at;
	size_t		n_mark,
				cap_mark;
	PickleItems memo;
	PickleItems storages;
	size_t		n_value;
} Pickle;

/* ---- torchbin_pickle.c: the stack; nothing pops below its newest mark. ---- */

extern FsiStatus pickle_bad(Pickle *p, const char *what);
extern FsiStatus pickle_put(Pickle *p, PickleValue *value);
/* n more values are made, of those that a pickle may have. */
extern FsiStatus pickle_charge(Pickle *p, size_t n);
/* A fresh value on the stack. */
extern FsiStatus pickle_new(Pickle *p, PickleKind kind, PickleValue **out);
extern FsiStatus pickle_pop(Pickle *p, PickleValue **out);
extern FsiStatus pickle_top(Pickle *p, PickleValue **out);
extern FsiStatus pickle_append(Pickle *p, PickleItems *to, PickleValue *const *items, size_t n);

/* ---- torchbin_names.c: the opcodes GLOBAL, STACK_GLOBAL, REDUCE, BUILD and BINPERSID. ---- */

extern FsiStatus pickle_global(Pickle *p);
extern FsiStatus pickle_stack_global(Pickle *p);
extern FsiStatus pickle_reduce(Pickle *p);
extern FsiStatus pickle_build(Pickle *p);
extern FsiStatus pickle_persistent_id(Pickle *p);

#endif
