/*
 * checks.c
 *	  Checks that the arguments of any function may have to pass: null, dimensions, range, rights.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"

#include "fsi_sql.h"

void
args_check_not_null(FunctionCallInfo fcinfo, int i, const char *name)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

void
args_check_one_dimension(ArrayType *array, const char *what)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", what)));
}

void
args_check_range(bool good, const char *name, const char *range)
{
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be %s", name, range)));
}

void
args_check_role(Oid role, const char *to_do)
{
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser or have privileges of the %s role to %s",
						GetUserNameFromId(role, false), to_do)));
}
