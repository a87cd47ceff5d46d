/*
 * must.h
 *	  What every test of library calls has: their error, must() for those that have to succeed,
 *	  and hosts that ask to stop.
 */
#ifndef MUST_H
#define MUST_H

#include <stdio.h>
#include <stdlib.h>

#include "fsi_base.h"

static FsiError err;			/* of the last call */

__attribute__((unused))
static void
must(FsiStatus status)
{
	if (status == FSI_OK)
		return;
	printf("Bail out! %s\n", err.message);
	exit(1);
}

__attribute__((unused))
static bool
stop_now(void *ctx)
{
	(void) ctx;
	return true;
}

static int	polls_left;			/* how often stop_soon() still says no */

__attribute__((unused))
static bool
stop_soon(void *ctx)
{
	(void) ctx;
	return polls_left-- <= 0;
}

#endif
