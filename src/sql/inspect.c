/*
 * inspect.c
 *	  What the model sees and says: fsi_embed, fsi_tokens, fsi_prompt, fsi_generate.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_sql.h"

#define GENERATE_MAX_TOKENS 100000

PG_FUNCTION_INFO_V1(fsi_embed);
PG_FUNCTION_INFO_V1(fsi_tokens);
PG_FUNCTION_INFO_V1(fsi_prompt);
PG_FUNCTION_INFO_V1(fsi_generate);

/* The optional second argument's model, else the default. */
static const StoreModel *
named_model(FunctionCallInfo fcinfo)
{
	return store_model(PG_NARGS() > 1 ? text_to_cstring(PG_GETARG_TEXT_PP(1)) : NULL);
}

Datum
fsi_embed(PG_FUNCTION_ARGS)
{
	const StoreModel *model = named_model(fcinfo);
	HostText	message = host_utf8_text(PG_GETARG_TEXT_PP(0));
	int			n = model->file.model.cfg.n_embd;
	Datum	   *values = palloc(sizeof(Datum) * n);
	float	   *z;

	z = exec_embed(model, args_slot(fcinfo), message);
	for (int i = 0; i < n; i++)
		values[i] = Float4GetDatum(z[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
}

Datum
fsi_tokens(PG_FUNCTION_ARGS)
{
	const StoreModel *model = named_model(fcinfo);

	PG_RETURN_ARRAYTYPE_P(exec_tokens(model, host_utf8_text(PG_GETARG_TEXT_PP(0))));
}

Datum
fsi_prompt(PG_FUNCTION_ARGS)
{
	ExecQuestion question;

	args_question(PG_GETARG_ARRAYTYPE_P(1), PG_NARGS() > 2 ? PG_GETARG_JSONB_P(2) : NULL, &question);
	PG_RETURN_TEXT_P(exec_prompt_text(&question, host_utf8_text(PG_GETARG_TEXT_PP(0))));
}

/* A NULL setting stands for its default. */
Datum
fsi_generate(PG_FUNCTION_ARGS)
{
	char	   *name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	SampleOptions options;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	options.max_new_tokens = PG_ARGISNULL(2) ? 128 : PG_GETARG_INT32(2);
	options.temperature = PG_ARGISNULL(3) ? 0 : PG_GETARG_FLOAT8(3);
	options.top_p = PG_ARGISNULL(4) ? 1 : PG_GETARG_FLOAT8(4);
	options.top_k = PG_ARGISNULL(5) ? 0 : PG_GETARG_INT32(5);
	options.repetition_penalty = PG_ARGISNULL(6) ? 1 : PG_GETARG_FLOAT8(6);
	options.seed = PG_ARGISNULL(7) ? 0 : (uint64_t) PG_GETARG_INT64(7);
	args_check_range(options.max_new_tokens >= 1 && options.max_new_tokens <= GENERATE_MAX_TOKENS,
					 "max_new_tokens", "between 1 and 100000");
	args_check_range(options.temperature >= 0 && options.temperature <= 100, "temperature", "between 0 and 100");
	args_check_range(options.top_p > 0 && options.top_p <= 1, "top_p", "above 0 and at most 1");
	args_check_range(options.top_k >= 0, "top_k", "0 (off) or more");
	args_check_range(options.repetition_penalty >= 0.1 && options.repetition_penalty <= 10,
					 "repetition_penalty", "between 0.1 and 10");
	PG_RETURN_TEXT_P(exec_generate(store_model(name), name ? name : STORE_SHIPPED_NAME,
								   host_utf8_text(PG_GETARG_TEXT_PP(0)), &options));
}
