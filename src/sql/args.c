/*
 * args.c
 *	  Checks of the arguments that say what to classify into: the array of intents.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "args.h"
#include "fsi_compat.h"
#include "fsi_sql.h"

int
args_compare(HostText a, HostText b)
{
	size_t		len = Min(a.len, b.len);
	/* An empty text may have no bytes to point to. */
	int			cmp = len == 0 ? 0 : memcmp(a.s, b.s, len);

	if (cmp != 0)
		return cmp;
	return (a.len > b.len) - (a.len < b.len);
}

int
args_search(const HostText *names, int n, HostText name, bool *found)
{
	int			low = 0;
	int			high = n;

	*found = false;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			cmp = args_compare(names[middle], name);

		if (cmp == 0)
			*found = true;
		if (cmp >= 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int
compare_at(const void *a, const void *b, void *texts)
{
	int			i = *(const int *) a;
	int			j = *(const int *) b;
	int			cmp = args_compare(((HostText *) texts)[i], ((HostText *) texts)[j]);

	return cmp != 0 ? cmp : (i > j) - (i < j);
}

/* Indexes of n texts in ascending byte order; equal ones in the order given. */
static int *
sorted_order(HostText *texts, int n)
{
	int		   *order = palloc(sizeof(int) * Max(n, 1));

	for (int i = 0; i < n; i++)
		order[i] = i;
	qsort_interruptible(order, n, sizeof(int), compare_at, texts);
	return order;
}

int
args_find_intent(const ExecQuestion *q, HostText intent)
{
	int			low = 0;
	int			high = q->n_intents - 1;

	intent = text_trim(intent);
	while (low <= high)
	{
		int			middle = low + (high - low) / 2;
		int			cmp = args_compare(q->intents[q->canonical[middle]], intent);

		if (cmp == 0)
			return q->canonical[middle];
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

/* Keep the first spelling of each intent; texts that differ in outer white space alone are one intent. */
static void
drop_duplicates(ExecQuestion *q)
{
	int		   *order = sorted_order(q->intents, q->n_intents);
	bool	   *duplicate = palloc0(sizeof(bool) * q->n_intents);
	int			kept = 0;

	for (int i = 1; i < q->n_intents; i++)
		duplicate[order[i]] = args_compare(q->intents[order[i - 1]], q->intents[order[i]]) == 0;
	for (int i = 0; i < q->n_intents; i++)
	{
		if (duplicate[i])
			continue;
		q->intents[kept] = q->intents[i];
		q->labels[kept] = q->labels[i];
		kept++;
	}
	pfree(duplicate);
	pfree(order);
	q->n_intents = kept;
	q->canonical = sorted_order(q->intents, kept);
}

static void
read_intents(ArrayType *array, ExecQuestion *q)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	args_check_one_dimension(array, "intents");
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("intents must not be empty"),
				 errhint("Name at least one intent, for example ARRAY['refund', 'track order'].")));
	if (n > ARGS_MAX_INTENTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%d intents are more than the limit of %d", n, ARGS_MAX_INTENTS)));
	q->intents = palloc(sizeof(HostText) * n);
	q->labels = palloc(sizeof(text *) * n);
	q->n_intents = n;
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("intents[%d] must not be null", i + 1)));
		q->labels[i] = DatumGetTextPP(elements[i]);
		q->intents[i] = text_trim(host_utf8_text(q->labels[i]));
		if (q->intents[i].len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("intents[%d] must not be empty", i + 1)));
	}
	drop_duplicates(q);
}

/* "none of these" must be told apart from the intents. */
static void
check_other(const ExecQuestion *q)
{
	if (q->other_label != NULL && args_find_intent(q, q->other) >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"other\" must not be one of the intents: \"%s\"",
						host_excerpt(VARDATA_ANY(q->other_label), VARSIZE_ANY_EXHDR(q->other_label))),
				 errhint("Leave it out of the intents: it is the answer when none of them fits.")));
}

/* Options that only a prompt can use. */
static void
check_layout(const ExecQuestion *q)
{
	const char *option = NULL;

	if (q->model->file.model.cfg.layout == GPT2_PROMPT)
		return;
	if (q->template_text.s != NULL)
		option = "template";
	else if (q->instructions.s != NULL)
		option = "instructions";
	else if (q->scoring_given)
		option = "scoring";
	if (option != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"%s\" is for models that read a prompt", option),
				 errdetail("Model \"%s\" compares segments: every intent, description, example and message is read on its own.",
						   q->model_name ? q->model_name : STORE_SHIPPED_NAME),
				 errhint("Leave the option out, or name a model of layout \"prompt\" in the option \"model\".")));
}

void
args_question(ArrayType *intents, Jsonb *options, ExecQuestion *q)
{
	memset(q, 0, sizeof(*q));
	read_intents(intents, q);
	if (options != NULL)
		args_options(options, q);
	check_other(q);
	q->model = store_model(q->model_name);
	check_layout(q);
}

ExecSlot *
args_slot(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ExecSlot));
	return fcinfo->flinfo->fn_extra;
}

ExecSet *
args_set(ExecSlot *slot, ArrayType *intents, Jsonb *options)
{
	ExecQuestion question;
	ExecKey		key = {0};
	ExecSet    *set;

	key.intents = VARDATA(intents);
	key.intents_len = VARSIZE(intents) - VARHDRSZ;
	if (options != NULL)
	{
		key.options = VARDATA(options);
		key.options_len = VARSIZE(options) - VARHDRSZ;
	}
	set = exec_find(slot, &key);
	if (set != NULL)
		return set;
	args_question(intents, options, &question);
	return exec_prepare(slot, &key, &question);
}
