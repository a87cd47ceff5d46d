/*
 * fsi_source.h
 *	  Labelled rows of the caller's: a table, a view or a query, its columns found by name.
 *
 * A source is a text: the name of a table or view, or one query (SELECT, VALUES, TABLE,
 * WITH) that modifies nothing.  It runs read-only, with the caller's rights, through a
 * cursor: memory holds some rows, however many there are.  A Source lives in the memory
 * context in which it was opened; it outlasts SPI_finish() as long as SPI is connected
 * again whenever it is asked for a row, and ends with the transaction.
 */
#ifndef FSI_SOURCE_H
#define FSI_SOURCE_H

#include "postgres.h"

#include "fsi_compat.h"

typedef struct SourceColumn
{
	const char *name;
	bool		required;
} SourceColumn;

typedef struct Source Source;

/* SPI is connected by the caller.  function: the SQL function's name, for errors. */
extern Source *source_open(const char *function, const char *source, const SourceColumn *columns, int n_columns);
/*
 * The next row: values[i] is column i as a cast to text gives it, palloc'd in
 * the current memory context, or NULL where it is NULL or the source lacks it.  False at the end.
 */
extern bool source_next(Source *source, char **values);
extern void source_close(Source *source);

#endif
