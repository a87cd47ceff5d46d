/*
 * models.c
 *	  Model life: fsi_import_model, fsi_export_model, fsi_drop_model, fsi_model_info, and what CREATE EXTENSION calls.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/fmgrprotos.h"

#include "fsi_compat.h"
#include "fsi_sql.h"
#include "fsi_store.h"

PG_FUNCTION_INFO_V1(fsi_import_model);
PG_FUNCTION_INFO_V1(fsi_export_model);
PG_FUNCTION_INFO_V1(fsi_drop_model);
PG_FUNCTION_INFO_V1(fsi_model_info);
PG_FUNCTION_INFO_V1(fsi_pin_shipped);
PG_FUNCTION_INFO_V1(fsi_catalog_changed);

Datum
fsi_import_model(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *path = text_to_cstring(PG_GETARG_TEXT_PP(1));

	PreventCommandIfReadOnly("fsi_import_model()");
	/* EXECUTE may be granted to anyone, the right to read files of the server may not. */
	args_check_role(ROLE_PG_READ_SERVER_FILES, "import a model");
	store_check_name(name);
	canonicalize_path(path);
	PG_RETURN_TEXT_P(cstring_to_text(store_import(name, path, PG_GETARG_BOOL(2))));
}

Datum
fsi_export_model(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *path = text_to_cstring(PG_GETARG_TEXT_PP(1));

	args_check_role(ROLE_PG_WRITE_SERVER_FILES, "export a model");
	canonicalize_path(path);
	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("relative path not allowed for an exported model")));
	store_export(name, path);
	PG_RETURN_VOID();
}

Datum
fsi_drop_model(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("fsi_drop_model()");
	store_drop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *s)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = (char *) s;
	v.val.string.len = (int) strlen(s);
	pushJsonbValue(state, token, &v);
}

static void
push_member(JsonbParseState **state, const char *key, const char *value)
{
	push_string(state, WJB_KEY, key);
	push_string(state, WJB_VALUE, value);
}

static void
push_number(JsonbParseState **state, const char *key, int64 value)
{
	JsonbValue	v;

	push_string(state, WJB_KEY, key);
	v.type = jbvNumeric;
	v.val.numeric = DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(value)));
	pushJsonbValue(state, WJB_VALUE, &v);
}

/* Parameters of the checkpoint that the file holds; a tied head counts once. */
static int64
count_parameters(const Gpt2Model *m)
{
	const Gpt2Config *c = &m->cfg;
	int64		d = c->n_embd;
	int64		block = 4 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * c->n_inner + ((int64) c->n_inner + 1) * d;
	int64		n = (int64) c->n_vocab * d + (int64) c->n_positions * d + c->n_layer * block + 2 * d;

	if (!c->tied)
		n += (int64) c->n_vocab * d;
	if (c->layout == GPT2_SEGMENTS)
		n += 2 * d * d;
	return n;
}

static void
push_shape(JsonbParseState **state, const FsiFile *file)
{
	const Gpt2Config *c = &file->model.cfg;

	push_number(state, "layers", c->n_layer);
	push_number(state, "heads", c->n_head);
	push_number(state, "width", c->n_embd);
	push_number(state, "inner", c->n_inner);
	push_number(state, "positions", c->n_positions);
	push_number(state, "vocabulary", c->n_vocab);
	push_number(state, "parameters", count_parameters(&file->model));
	push_member(state, "tokenizer", file->tok.kind == TOK_BPE ? "bpe" : "wordpiece");
}

Datum
fsi_model_info(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const StoreModel *model = store_model(name);
	StoreRow	row;
	Jsonb	   *card = store_card(name);
	JsonbParseState *state = NULL;

	store_find(name, &row);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_member(&state, "name", row.name);
	push_member(&state, "layout", store_layout_name(model->file.model.cfg.layout));
	push_member(&state, "source", row.source);
	push_member(&state, "sha256", model->sha256);
	push_number(&state, "bytes", (int64) model->size);
	push_shape(&state, &model->file);
	if (card != NULL)
	{
		JsonbValue	value;

		push_string(&state, WJB_KEY, "card");
		value.type = jbvBinary;
		value.val.binary.data = &card->root;
		value.val.binary.len = VARSIZE(card) - VARHDRSZ;
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

Datum
fsi_pin_shipped(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	store_pin_shipped();
	PG_RETURN_VOID();
}

/* Trigger on _fsi_model_catalog. */
Datum
fsi_catalog_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_fsi_catalog_changed() is a trigger function")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}
