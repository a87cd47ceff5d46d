/*
 * fsi_sql.h
 *	  The SQL-callable functions' shared part: checks of arguments and options.
 *
 * Every function that takes intents and options goes through args_question(), so that an
 * error has the same words and SQLSTATE wherever it is met.  Results are in the current
 * memory context.
 */
#ifndef FSI_SQL_H
#define FSI_SQL_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "fsi_compat.h"
#include "fsi_exec.h"

#define ARGS_MAX_INTENTS 10000
#define ARGS_MAX_EXAMPLES 100000

/* Check intents and options (NULL: none given) and find the model. */
extern void args_question(ArrayType *intents, Jsonb *options, ExecQuestion *question);

/* The call site's slot, made at the first call. */
extern ExecSlot *args_slot(FunctionCallInfo fcinfo);
/* The set for intents and options, as they were given: a kept one, or checked and prepared now. */
extern ExecSet *args_set(ExecSlot *slot, ArrayType *intents, Jsonb *options);

/* A JSON type with its article: "a number". */
extern const char *args_type_name(const JsonbValue *v);
/* The option's value is of another type than the one wanted ("a number"). */
pg_noreturn extern void args_wrong_type(const char *path, const char *wanted, const JsonbValue *v);
/* The option's value, which must be a string. */
extern char *args_string(const char *path, const JsonbValue *v);
/* The option's value, which must be a number: to compare, exactly; as it was given, for an error message. */
extern Numeric args_number(const char *path, const JsonbValue *v);
extern const char *args_number_text(Numeric number);
/* Whether the number is from low to high, and whether it is whole; the int64 that it is then. */
extern bool args_number_between(Numeric number, int64 low, int64 high);
extern bool args_number_is_whole(Numeric number);
extern int64 args_number_int64(Numeric number);
/* As a double: too large ones are infinite. */
extern double args_number_double(Numeric number);
/* 22023 with the hint unless options are a JSON object. */
extern void args_check_object(Jsonb *options, const char *hint);
/* Begin to read what an object or an array holds. */
extern JsonbIterator *args_members(JsonbContainer *container);
/* The next member of an object; false: there is none. */
extern bool args_next(JsonbIterator **it, JsonbValue *key, JsonbValue *value);
extern bool args_key_is(const JsonbValue *key, const char *name);
/* A key, or a string, for an error message. */
extern const char *args_key_excerpt(const JsonbValue *key);
/* The place of a key in a table of options, whose first member is the name; 22023 with all names if it has none. */
extern size_t args_find_option(const JsonbValue *key, const void *options, size_t size, size_t n);
/* Byte order. */
extern int	args_compare(HostText a, HostText b);
/* Place of a name among n in that order, all different; *found: it is there, not only to be put there. */
extern int	args_search(const HostText *names, int n, HostText name, bool *found);

/* 22004 if argument i is null. */
extern void args_check_not_null(FunctionCallInfo fcinfo, int i, const char *name);
/* 22023 unless good; range says what the argument must be: "between 1 and 10". */
extern void args_check_range(bool good, const char *name, const char *range);
/* 2202E unless the array has at most one dimension. */
extern void args_check_one_dimension(ArrayType *array, const char *what);
/* 42501 without the privileges of a role, which it takes to do something: "import a model". */
extern void args_check_role(Oid role, const char *to_do);

extern void plan_init(void);	/* statistics of indexes on intents */

#endif
