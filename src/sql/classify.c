/*
 * classify.c
 *	  fsi_classify, fsi_classify_multi, fsi_scores, fsi_classify_many.
 *
 * All are STRICT: a NULL argument gives NULL and never arrives here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "fsi_compat.h"
#include "fsi_exec.h"
#include "fsi_sql.h"

PG_FUNCTION_INFO_V1(fsi_classify);
PG_FUNCTION_INFO_V1(fsi_classify_multi);
PG_FUNCTION_INFO_V1(fsi_scores);
PG_FUNCTION_INFO_V1(fsi_classify_many);

/* The slot of a call that answers the row at hand. */
static ExecSlot *
row_slot(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		batch_check_planned();
	return args_slot(fcinfo);
}

/* The prepared set for the second and third argument. */
static ExecSet *
call_set(FunctionCallInfo fcinfo, ExecSlot *slot)
{
	ArrayType  *intents = PG_GETARG_ARRAYTYPE_P(1);
	Jsonb	   *options = PG_NARGS() > 2 ? PG_GETARG_JSONB_P(2) : NULL;
	ExecSet    *set = args_set(slot, intents, options);

	PG_FREE_IF_COPY(intents, 1);
	if (options != NULL)
		PG_FREE_IF_COPY(options, 2);
	return set;
}

static text *
copy_label(const ExecSet *set, int label)
{
	const text *t = exec_label(set, label);

	return cstring_to_text_with_len(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

Datum
fsi_classify(PG_FUNCTION_ARGS)
{
	ExecSlot   *slot = row_slot(fcinfo);
	ExecSet    *set = call_set(fcinfo, slot);
	HostText	message = host_utf8_text(PG_GETARG_TEXT_PP(0));
	ExecAnswer	answer;

	exec_classify(set, slot, 1, &message, &answer, NULL);
	if (answer.label == EXEC_NO_ANSWER)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(copy_label(set, answer.label));
}

/* Every intent that holds on its own, best first. */
Datum
fsi_classify_multi(PG_FUNCTION_ARGS)
{
	ExecSlot   *slot = row_slot(fcinfo);
	ExecSet    *set = call_set(fcinfo, slot);
	HostText	message = host_utf8_text(PG_GETARG_TEXT_PP(0));
	int		   *held = palloc(sizeof(int) * exec_n_labels(set));
	int			n_held;

	exec_classify_multi(set, slot, 1, &message, held, &n_held);
	PG_RETURN_ARRAYTYPE_P(exec_label_array(set, n_held, held));
}

/* Best first; equal scores in the labels' byte order. */
Datum
fsi_scores(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ExecSlot   *slot = args_slot(fcinfo);
	ExecSet    *set = call_set(fcinfo, slot);
	HostText	message = host_utf8_text(PG_GETARG_TEXT_PP(0));
	int			n = exec_n_labels(set);
	double	   *scores = palloc(sizeof(double) * n);
	int		   *order = palloc(sizeof(int) * n);
	ExecAnswer	answer;

	exec_classify(set, slot, 1, &message, &answer, scores);
	for (int i = 0; i < n; i++)
		order[i] = i;
	qsort_arg(order, n, sizeof(int), exec_compare_scores, scores);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false, false};

		values[0] = PointerGetDatum(exec_label(set, order[i]));
		values[1] = Float8GetDatum(scores[order[i]]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
fsi_classify_many(PG_FUNCTION_ARGS)
{
	ExecSlot   *slot = args_slot(fcinfo);
	ExecSet    *set = call_set(fcinfo, slot);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int			n_message = 0;
	HostText   *messages;
	ExecAnswer *answers;
	int			dims[1];
	int			lower[1] = {1};

	args_check_one_dimension(array, "msgs");
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	messages = palloc(sizeof(HostText) * n);
	answers = palloc(sizeof(ExecAnswer) * n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nulls[i])
			messages[n_message++] = host_utf8_text(DatumGetTextPP(elements[i]));
	}
	exec_classify(set, slot, n_message, messages, answers, NULL);

	n_message = 0;
	for (int i = 0; i < n; i++)
	{
		int			label = nulls[i] ? EXEC_NO_ANSWER : answers[n_message++].label;

		nulls[i] = label == EXEC_NO_ANSWER;
		elements[i] = nulls[i] ? (Datum) 0 : PointerGetDatum(exec_label(set, label));
	}
	dims[0] = n;
	PG_RETURN_ARRAYTYPE_P(construct_md_array(elements, nulls, 1, dims, lower, TEXTOID, -1, false, TYPALIGN_INT));
}
