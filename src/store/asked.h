/*
 * asked.h
 *	  What is being found of an expression: asked.c looks at its calls, asked_inside.c at the functions of the user's own,
 *	  with the names that are there (asked_named.c) and what a text says (asked_text.c).
 */
#ifndef ASKED_H
#define ASKED_H

#include "catalog/pg_proc.h"

#include "store.h"

/* What functions of the user's own are called with, as far as it may say which model to ask. */
typedef struct Given
{
	List	   *names;			/* of models, char * */
	bool		nothing;		/* calls with nothing of the kind */
	bool		open;			/* calls with what they themselves alone can tell */
} Given;

typedef struct Asked
{
	StoreNamed *inside;			/* functions of the user's own are looked into */
	List	   *names;			/* of char * */
	bool		unknown;		/* and others, which only the call itself can tell */

	/* Of functions of the user's own. */
	struct HTAB *called;
	List	   *waiting;		/* those of them that are to be looked into */
	const Given *given;			/* of the one that is looked into now, or NULL */
} Asked;

/* --- asked.c --- */

/* Whether an extension's function of that name asks a model. */
extern bool asked_is_asker(const char *name);
/* Whether a function is one of these. */
extern bool asked_asks(Oid function);
/* How often this process has heard that functions changed. */
extern uint64 asked_changes(void);
/* Whether a function is known to ask nothing, whatever it is called with; until functions change. */
extern bool asked_is_silent(Oid function);
extern void asked_note_silent(Oid function);
/* An argument without casts that leave its value as it is. */
extern Node *asked_uncast(Node *arg);
/* The option "model" of an object; NULL: it is not there. */
extern char *asked_model_option(Jsonb *options);
/* Each name once. */
extern List *asked_add_name(List *names, char *name);
/* NULL: it cannot be told. */
extern void asked_note_name(Asked *asked, char *name);
/* All calls in a tree. */
extern bool asked_find_calls(Node *node, void *context);

/* --- asked_inside.c --- */

/* The arguments of a call, be it an operator's or an aggregate's; NIL: it is none. */
extern List *asked_arguments(Node *node);
/* Functions of the user's own in a node itself, and what they are called with. */
extern void asked_note_functions(Asked *asked, Node *node);
/* Look into those that were noted, and those that they call. */
extern void asked_look_inside(Asked *asked);
/* Whether a function takes what may be options. */
extern bool asked_has_options(const FormData_pg_proc *form);

/* --- asked_named.c --- */

/* The user's own functions of one name. */
typedef struct NamedFunctions
{
	char		name[NAMEDATALEN];
	List	   *functions;		/* OIDs */
	bool		options;		/* one of them takes options */
	uint64		said_in;		/* the last text that had it */
} NamedFunctions;

typedef struct NamedModel
{
	char		name[NAMEDATALEN];
	bool		dropped;
} NamedModel;

/* The next text is looked into: the names are as of now. */
extern void asked_begin_text(StoreNamed *named);
/* NULL: none has that name. */
extern NamedFunctions *asked_functions_of(const StoreNamed *named, const char *name);
extern NamedModel *asked_model_of(const StoreNamed *named, const char *name);
/* Whether the text has not had these before. */
extern bool asked_is_first_said(const StoreNamed *named, NamedFunctions *functions);

/* --- asked_text.c --- */

/* Call visit() for each word of a text that may be an identifier, as SQL reads it without quotes and with, or a $1. */
extern void asked_identifiers(const char *text, void (*visit) (void *context, const char *word), void *context);
/* The same for what lies between two quotes of a kind, as far as it is no longer than a name. */
extern void asked_quoted(const char *text, void (*visit) (void *context, const char *word), void *context);
/* Whether a word in quotes is one that is met without them, too. */
extern bool asked_is_identifier(const char *word);

#endif
