/*
 * module.c
 *	  The library's entry: magic block, settings, version.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_sql.h"

#define FSI_VERSION "1.0"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
PG_FUNCTION_INFO_V1(fsi_version);

void
_PG_init(void)
{
	exec_init();
	plan_init();
	batch_init();
	MarkGUCPrefixReserved("fsi_intent");
}

Datum
fsi_version(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("fsi_intent %s, %s", FSI_VERSION, exec_simd_name())));
}
