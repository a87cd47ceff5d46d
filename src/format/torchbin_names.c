/*
 * torchbin_names.c
 *	  What a pickle of torch.save() may name: a handful have a meaning of our own, every other name is an error.
 *
 * A tensor is torch._utils._rebuild_tensor_v2(storage, offset, size, stride, …), a storage the
 * persistent id ("storage", type, key, location, count).  Nothing is looked up or imported.
 */
#include "torchbin_pickle.h"

typedef struct KnownGlobal
{
	const char *module,
			   *name;
	PickleKind	kind;
	int			what;			/* PickleCall or ElementType */
	size_t		item;
} KnownGlobal;

static const KnownGlobal known_globals[] = {
	{"collections", "OrderedDict", PICKLE_CALL, CALL_ORDERED_DICT, 0},
	{"torch._utils", "_rebuild_tensor_v2", PICKLE_CALL, CALL_REBUILD_TENSOR, 0},
	{"torch._utils", "_rebuild_parameter", PICKLE_CALL, CALL_REBUILD_PARAMETER, 0},
	{"torch", "DoubleStorage", PICKLE_STORAGE_TYPE, ELEMENT_F64, 8},
	{"torch", "FloatStorage", PICKLE_STORAGE_TYPE, ELEMENT_F32, 4},
	{"torch", "HalfStorage", PICKLE_STORAGE_TYPE, ELEMENT_F16, 2},
	{"torch", "BFloat16Storage", PICKLE_STORAGE_TYPE, ELEMENT_BF16, 2},
	{"torch", "LongStorage", PICKLE_STORAGE_TYPE, ELEMENT_OTHER, 8},
	{"torch", "IntStorage", PICKLE_STORAGE_TYPE, ELEMENT_OTHER, 4},
	{"torch", "CharStorage", PICKLE_STORAGE_TYPE, ELEMENT_OTHER, 1},
	{"torch", "ByteStorage", PICKLE_STORAGE_TYPE, ELEMENT_OTHER, 1},
	{"torch", "BoolStorage", PICKLE_STORAGE_TYPE, ELEMENT_OTHER, 1},
};

static bool
text_equals(const char *s, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(s, text, len) == 0;
}

static FsiStatus
push_global(Pickle *p, const char *module, size_t module_len, const char *name, size_t name_len)
{
	for (size_t i = 0; i < sizeof(known_globals) / sizeof(known_globals[0]); i++)
	{
		const KnownGlobal *known = &known_globals[i];
		PickleValue *value;

		if (!text_equals(module, module_len, known->module) || !text_equals(name, name_len, known->name))
			continue;
		FSI_TRY(pickle_new(p, known->kind, &value));
		if (known->kind == PICKLE_CALL)
			value->call = (PickleCall) known->what;
		else
			value->storage = (PickleStorage) {.type = (ElementType) known->what, .item = known->item};
		return FSI_OK;
	}
	fsi_fail(p->err, FSI_UNSUPPORTED, "pickle asks for \"%s.%s\", which is not allowed",
			 show_name(module, module_len).text, show_name(name, name_len).text);
	fsi_hint(p->err, "Only plain tensors are read. Save the model's state_dict, or use model.safetensors.");
	return FSI_UNSUPPORTED;
}

FsiStatus
pickle_global(Pickle *p)
{
	size_t		module_len,
				name_len;
	const char *module = (const char *) cursor_line(p->c, &module_len);
	const char *name = (const char *) cursor_line(p->c, &name_len);

	if (p->c->failed)
		return pickle_bad(p, "it ends inside a name");
	return push_global(p, module, module_len, name, name_len);
}

FsiStatus
pickle_stack_global(Pickle *p)
{
	PickleValue *module,
			   *name;

	FSI_TRY(pickle_pop(p, &name));
	FSI_TRY(pickle_pop(p, &module));
	if (module->kind != PICKLE_STRING || name->kind != PICKLE_STRING)
		return pickle_bad(p, "a name is no string");
	return push_global(p, module->string.s, module->string.len, name->string.s, name->string.len);
}

/* Integers of a tuple; false when they are not, or too many. */
static bool
read_integers(const PickleValue *tuple, int64_t *out, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (tuple->items.at[i]->kind != PICKLE_INT)
			return false;
		out[i] = tuple->items.at[i]->integer;
	}
	return true;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks [, metadata]) */
static FsiStatus
rebuild_tensor(Pickle *p, const PickleItems *args)
{
	PickleTensor *tensor = fsi_arena_zero(p->arena, 1, sizeof(PickleTensor));
	PickleValue *value;
	const PickleValue *size,
			   *stride;

	if (tensor == NULL)
		return fsi_nomem(p->err, sizeof(PickleTensor));
	if (args->n < 4 || args->at[0]->kind != PICKLE_STORAGE || args->at[1]->kind != PICKLE_INT ||
		args->at[1]->integer < 0 || args->at[2]->kind != PICKLE_TUPLE || args->at[3]->kind != PICKLE_TUPLE ||
		args->at[2]->items.n != args->at[3]->items.n)
		return pickle_bad(p, "a tensor has wrong arguments");
	if (args->n > 6 && args->at[6]->kind != PICKLE_NONE && (args->at[6]->kind != PICKLE_DICT || args->at[6]->items.n > 0))
		return fsi_fail(p->err, FSI_UNSUPPORTED, "pickle holds a tensor that is the negative or conjugate of what is stored");
	size = args->at[2];
	stride = args->at[3];
	tensor->storage = &args->at[0]->storage;
	tensor->offset = (uint64_t) args->at[1]->integer;
	tensor->n_dim = size->items.n > TENSOR_MAX_DIMS ? TENSOR_MAX_DIMS + 1 : (int) size->items.n;
	if (tensor->n_dim <= TENSOR_MAX_DIMS &&
		(!read_integers(size, tensor->dim, tensor->n_dim) || !read_integers(stride, tensor->stride, tensor->n_dim)))
		return pickle_bad(p, "a tensor's shape is not of integers");
	FSI_TRY(pickle_new(p, PICKLE_TENSOR, &value));
	value->tensor = tensor;
	return FSI_OK;
}

/* OrderedDict() or OrderedDict([[key, value], …]) */
static FsiStatus
ordered_dict(Pickle *p, const PickleItems *args)
{
	PickleValue *dict;

	FSI_TRY(pickle_new(p, PICKLE_DICT, &dict));
	if (args->n == 0)
		return FSI_OK;
	if (args->n != 1 || args->at[0]->kind != PICKLE_LIST)
		return pickle_bad(p, "an OrderedDict has wrong arguments");
	/* A copy of the list, which a few bytes of pickle may ask for again and again. */
	FSI_TRY(pickle_charge(p, args->at[0]->items.n));
	for (size_t i = 0; i < args->at[0]->items.n; i++)
	{
		const PickleValue *pair = args->at[0]->items.at[i];

		if ((pair->kind != PICKLE_LIST && pair->kind != PICKLE_TUPLE) || pair->items.n != 2)
			return pickle_bad(p, "an OrderedDict has wrong arguments");
		FSI_TRY(pickle_append(p, &dict->items, pair->items.at, 2));
	}
	return FSI_OK;
}

FsiStatus
pickle_reduce(Pickle *p)
{
	PickleValue *call,
			   *args;

	FSI_TRY(pickle_pop(p, &args));
	FSI_TRY(pickle_pop(p, &call));
	if (args->kind != PICKLE_TUPLE || call->kind != PICKLE_CALL)
		return pickle_bad(p, "it calls what is no function");
	switch (call->call)
	{
		case CALL_ORDERED_DICT:
			return ordered_dict(p, &args->items);
		case CALL_REBUILD_TENSOR:
			return rebuild_tensor(p, &args->items);
		case CALL_REBUILD_PARAMETER:
			if (args->items.n < 1 || args->items.at[0]->kind != PICKLE_TENSOR)
				return pickle_bad(p, "a parameter has wrong arguments");
			return pickle_put(p, args->items.at[0]);
	}
	return pickle_bad(p, "it calls what is no function");
}

/* Attributes are dropped; torch hangs version numbers (_metadata) on a state_dict. */
FsiStatus
pickle_build(Pickle *p)
{
	PickleValue *state,
			   *object;

	FSI_TRY(pickle_pop(p, &state));
	FSI_TRY(pickle_top(p, &object));
	return object->kind == PICKLE_DICT ? FSI_OK : pickle_bad(p, "it sets attributes of what is no dictionary");
}

/* The tuple is ("storage", type, key, location, count [, view]). */
FsiStatus
pickle_persistent_id(Pickle *p)
{
	PickleValue *id = NULL,
			   *value;
	PickleValue **at;

	FSI_TRY(pickle_pop(p, &id));
	at = id->items.at;
	if (id->kind != PICKLE_TUPLE || id->items.n < 5 || id->items.n > 6 ||
		at[0]->kind != PICKLE_STRING || !text_equals(at[0]->string.s, at[0]->string.len, "storage") ||
		at[1]->kind != PICKLE_STORAGE_TYPE || at[2]->kind != PICKLE_STRING ||
		at[4]->kind != PICKLE_INT || at[4]->integer < 0)
		return pickle_bad(p, "a storage has wrong arguments");
	if (id->items.n == 6 && at[5]->kind != PICKLE_NONE)
		return fsi_fail(p->err, FSI_UNSUPPORTED, "pickle holds a view of a storage, as PyTorch before 0.4 wrote");
	FSI_TRY(pickle_new(p, PICKLE_STORAGE, &value));
	value->storage = at[1]->storage;
	value->storage.key = at[2]->string.s;
	value->storage.key_len = at[2]->string.len;
	value->storage.count = (uint64_t) at[4]->integer;
	if (!pickle_push(p->arena, &p->storages, value))
		return fsi_nomem(p->err, p->storages.n * sizeof(void *));
	return FSI_OK;
}
