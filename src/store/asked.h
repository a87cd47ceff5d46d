/*
 * asked.h
 *	  What is being found of an expression: asked.c looks at its calls, asked_inside.c at the functions of the user's own.
 */
#ifndef ASKED_H
#define ASKED_H

#include "store.h"

typedef struct Asked
{
	StoreNamed *inside;			/* functions of the user's own are looked into */
	List	   *names;			/* of char * */
	bool		unknown;		/* and others, which only the call itself can tell */

	/* Of calls inside functions of the user's own. */
	List	   *functions;		/* OIDs of what is called, as it is met */
	List	   *given;			/* names of models among the constants that they are called with */
	bool		open;			/* they are called with options that are no constant */
	bool		passed;			/* a call inside has a model that its function was called with, or that cannot be told */
	bool		silent;			/* one by a text that says nothing of a model */
} Asked;

/* --- asked.c --- */

/* Whether an extension's function of that name asks a model. */
extern bool asked_is_asker(const char *name);
/* The option "model" of an object; NULL: it is not there. */
extern char *asked_model_option(Jsonb *options);
/* Each name once. */
extern List *asked_add_name(List *names, char *name);
/* NULL: it cannot be told. */
extern void asked_note_name(Asked *asked, char *name);
/* All calls in a tree. */
extern bool asked_find_calls(Node *node, void *context);

/* --- asked_inside.c --- */

/* Functions of the user's own in a node itself, and what they are called with. */
extern void asked_note_functions(Asked *asked, Node *node);
/* Look into those that were noted, and those that they call. */
extern void asked_look_inside(Asked *asked);

/* --- asked_text.c --- */

/* Call visit() for each word of a text that may be an identifier, as SQL reads it without quotes. */
extern void asked_identifiers(const char *text, void (*visit) (void *context, const char *word), void *context);
/* The same for what lies between two quotes of a kind, as far as it is no longer than a name. */
extern void asked_quoted(const char *text, void (*visit) (void *context, const char *word), void *context);

#endif
