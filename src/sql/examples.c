/*
 * examples.c
 *	  fsi_examples(text, intent): the option "examples" from labelled rows, as an aggregate.
 *
 * The result is sorted by intent and text, so that equal sets of rows give equal jsonb,
 * whatever the order or the number of parallel workers: the same call, the same cache entry.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "fsi_compat.h"
#include "fsi_sql.h"

PG_FUNCTION_INFO_V1(fsi_examples_add);
PG_FUNCTION_INFO_V1(fsi_examples_combine);
PG_FUNCTION_INFO_V1(fsi_examples_serialize);
PG_FUNCTION_INFO_V1(fsi_examples_deserialize);
PG_FUNCTION_INFO_V1(fsi_examples_final);

typedef struct Example
{
	text	   *txt;
	text	   *intent;
} Example;

typedef struct Examples
{
	MemoryContext context;
	int			n,
				cap;
	Example    *list;
} Examples;

static Examples *
examples_create(MemoryContext context)
{
	Examples   *e = MemoryContextAlloc(context, sizeof(Examples));

	e->context = context;
	e->n = 0;
	e->cap = 64;
	e->list = MemoryContextAllocHuge(context, sizeof(Example) * e->cap);
	return e;
}

static text *
copy_text(MemoryContext context, const char *s, size_t len)
{
	text	   *t = MemoryContextAlloc(context, VARHDRSZ + len);

	SET_VARSIZE(t, VARHDRSZ + len);
	memcpy(VARDATA(t), s, len);
	return t;
}

static void
examples_append(Examples *e, const char *s, size_t len, const char *intent, size_t intent_len)
{
	if (e->n == e->cap)
	{
		if (e->cap > INT_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many examples")));
		e->cap *= 2;
		e->list = repalloc_huge(e->list, sizeof(Example) * e->cap);
	}
	e->list[e->n].txt = copy_text(e->context, s, len);
	e->list[e->n].intent = copy_text(e->context, intent, intent_len);
	e->n++;
}

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "fsi_examples support function called in non-aggregate context");
	return context;
}

/* Add a row; one with a NULL is left out, as aggregates do, and one with a blank text. */
Datum
fsi_examples_add(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	Examples   *e = PG_ARGISNULL(0) ? examples_create(context) : (Examples *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
	{
		text	   *t = PG_GETARG_TEXT_PP(1);
		text	   *intent = PG_GETARG_TEXT_PP(2);

		/* A message without a word shows nothing; the option "examples" would refuse it. */
		if (text_trim(host_utf8_text(t)).len > 0)
			examples_append(e, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), VARDATA_ANY(intent), VARSIZE_ANY_EXHDR(intent));
	}
	PG_RETURN_POINTER(e);
}

Datum
fsi_examples_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	Examples   *into = PG_ARGISNULL(0) ? examples_create(context) : (Examples *) PG_GETARG_POINTER(0);
	Examples   *from = PG_ARGISNULL(1) ? NULL : (Examples *) PG_GETARG_POINTER(1);

	for (int i = 0; from != NULL && i < from->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		examples_append(into, VARDATA(from->list[i].txt), VARSIZE(from->list[i].txt) - VARHDRSZ,
						VARDATA(from->list[i].intent), VARSIZE(from->list[i].intent) - VARHDRSZ);
	}
	PG_RETURN_POINTER(into);
}

Datum
fsi_examples_serialize(PG_FUNCTION_ARGS)
{
	Examples   *e = (Examples *) PG_GETARG_POINTER(0);
	StringInfoData out;

	(void) aggregate_context(fcinfo);
	pq_begintypsend(&out);
	pq_sendint32(&out, e->n);
	for (int i = 0; i < e->n; i++)
	{
		text	   *both[2] = {e->list[i].txt, e->list[i].intent};

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < 2; j++)
		{
			pq_sendint32(&out, VARSIZE(both[j]) - VARHDRSZ);
			pq_sendbytes(&out, VARDATA(both[j]), VARSIZE(both[j]) - VARHDRSZ);
		}
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

Datum
fsi_examples_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *in = PG_GETARG_BYTEA_PP(0);
	Examples   *e;
	StringInfoData buf;
	int			n;

	(void) aggregate_context(fcinfo);
	e = examples_create(CurrentMemoryContext);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(in), VARSIZE_ANY_EXHDR(in));
	n = pq_getmsgint(&buf, 4);
	for (int i = 0; i < n; i++)
	{
		int			len = pq_getmsgint(&buf, 4);
		const char *t = pq_getmsgbytes(&buf, len);
		int			intent_len = pq_getmsgint(&buf, 4);
		const char *intent = pq_getmsgbytes(&buf, intent_len);

		CHECK_FOR_INTERRUPTS();
		examples_append(e, t, len, intent, intent_len);
	}
	pq_getmsgend(&buf);
	pfree(buf.data);
	PG_RETURN_POINTER(e);
}

static int
compare_texts(const text *a, const text *b)
{
	return args_compare((HostText) {VARDATA(a), VARSIZE(a) - VARHDRSZ}, (HostText) {VARDATA(b), VARSIZE(b) - VARHDRSZ});
}

static int
compare_examples(const void *a, const void *b, void *arg)
{
	const Example *x = a;
	const Example *y = b;
	int			cmp = compare_texts(x->intent, y->intent);

	(void) arg;
	return cmp != 0 ? cmp : compare_texts(x->txt, y->txt);
}

static void
push_pair(JsonbParseState **state, const char *key, text *value)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = (char *) key;
	v.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &v);
	v.val.string.val = VARDATA(value);
	v.val.string.len = VARSIZE(value) - VARHDRSZ;
	pushJsonbValue(state, WJB_VALUE, &v);
}

/* No rows give an empty array, not NULL: fsi_classify() is strict. */
Datum
fsi_examples_final(PG_FUNCTION_ARGS)
{
	Examples   *e = PG_ARGISNULL(0) ? NULL : (Examples *) PG_GETARG_POINTER(0);
	JsonbParseState *state = NULL;
	Example    *sorted;
	int			n = e ? e->n : 0;

	(void) aggregate_context(fcinfo);
	/* The state may be used again (window frames): sort a copy. */
	sorted = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Example) * Max(n, 1));
	if (n > 0)
		memcpy(sorted, e->list, sizeof(Example) * n);
	qsort_interruptible(sorted, n, sizeof(Example), compare_examples, NULL);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_pair(&state, "text", sorted[i].txt);
		push_pair(&state, "intent", sorted[i].intent);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}
