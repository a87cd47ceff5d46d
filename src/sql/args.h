/*
 * args.h
 *	  Between args.c (intents) and options.c (the jsonb).
 */
#ifndef ARGS_H
#define ARGS_H

#include "fsi_sql.h"

/* Read options into the question, whose intents are known. */
extern void args_options(Jsonb *options, ExecQuestion *q);

/* Index of an intent, or -1. */
extern int	args_find_intent(const ExecQuestion *q, HostText intent);

#endif
