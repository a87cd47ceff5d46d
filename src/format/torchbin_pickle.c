/*
 * torchbin_pickle.c
 *	  A pickle reader that executes nothing: opcodes build data, a handful of names have a meaning
 *	  of our own, every other name is an error.
 *
 * Source: the opcode descriptions in CPython's pickletools, and what torch.save() writes.
 * A tensor is torch._utils._rebuild_tensor_v2(storage, offset, size, stride, …), a storage the
 * persistent id ("storage", type, key, location, count).  Nothing is looked up or imported.
 * Memory is bounded by the limits below; shared and cyclic values are only pointed to.
 */
#include "torchbin.h"

/* A GPT-2 of 48 layers takes 100 kB, 20,000 values and as many memo entries. */
#define PICKLE_LIMIT ((size_t) 8 << 20)
#define VALUE_LIMIT ((size_t) 1 << 20)

typedef struct Pickle
{
	Cursor	   *c;
	FsiArena   *arena;
	FsiError   *err;
	PickleItems stack;
	size_t	   *mark_at;
	size_t		n_mark,
				cap_mark;
	PickleItems memo;
	PickleItems storages;
	size_t		n_value;
} Pickle;

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

static FsiStatus
bad(Pickle *p, const char *what)
{
	return fsi_fail(p->err, FSI_CORRUPT, "pickle is damaged: %s", what);
}

bool
pickle_push(FsiArena *arena, PickleItems *items, PickleValue *value)
{
	if (items->n == items->cap)
	{
		size_t		cap = items->cap == 0 ? 8 : items->cap * 2;
		PickleValue **at = fsi_arena_array(arena, cap, sizeof(PickleValue *));

		if (at == NULL)
			return false;
		if (items->n > 0)
			memcpy(at, items->at, items->n * sizeof(PickleValue *));
		items->at = at;
		items->cap = cap;
	}
	items->at[items->n++] = value;
	return true;
}

static FsiStatus
push(Pickle *p, PickleValue *value)
{
	return pickle_push(p->arena, &p->stack, value) ? FSI_OK : fsi_nomem(p->err, p->stack.n * sizeof(void *));
}

/* A fresh value on the stack. */
static FsiStatus
push_new(Pickle *p, PickleKind kind, PickleValue **out)
{
	PickleValue *value;

	if (p->n_value++ >= VALUE_LIMIT)
		return fsi_fail(p->err, FSI_LIMIT, "pickle holds more than %zu values", VALUE_LIMIT);
	value = fsi_arena_zero(p->arena, 1, sizeof(PickleValue));
	if (value == NULL)
		return fsi_nomem(p->err, sizeof(PickleValue));
	value->kind = kind;
	*out = value;
	return push(p, value);
}

/* The stack's floor is the newest mark: nothing pops below it. */
static size_t
stack_floor(const Pickle *p)
{
	return p->n_mark == 0 ? 0 : p->mark_at[p->n_mark - 1];
}

static FsiStatus
pop(Pickle *p, PickleValue **out)
{
	if (p->stack.n <= stack_floor(p))
		return bad(p, "its stack is empty");
	*out = p->stack.at[--p->stack.n];
	return FSI_OK;
}

static FsiStatus
top(Pickle *p, PickleValue **out)
{
	FSI_TRY(pop(p, out));
	p->stack.n++;
	return FSI_OK;
}

/* ---- Marks and containers ---- */

static FsiStatus
push_mark(Pickle *p)
{
	if (p->n_mark == p->cap_mark)
	{
		size_t		cap = p->cap_mark == 0 ? 16 : p->cap_mark * 2;
		size_t	   *at = fsi_arena_array(p->arena, cap, sizeof(size_t));

		if (at == NULL)
			return fsi_nomem(p->err, cap * sizeof(size_t));
		if (p->n_mark > 0)
			memcpy(at, p->mark_at, p->n_mark * sizeof(size_t));
		p->mark_at = at;
		p->cap_mark = cap;
	}
	p->mark_at[p->n_mark++] = p->stack.n;
	return FSI_OK;
}

/* The values above the newest mark, which goes: they stay readable until the next push. */
static FsiStatus
pop_mark(Pickle *p, PickleValue ***items, size_t *n)
{
	if (p->n_mark == 0)
		return bad(p, "a mark is missing");
	*n = p->stack.n - p->mark_at[--p->n_mark];
	p->stack.n -= *n;
	*items = p->stack.at + p->stack.n;
	return FSI_OK;
}

static FsiStatus
append_all(Pickle *p, PickleItems *to, PickleValue *const *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!pickle_push(p->arena, to, items[i]))
			return fsi_nomem(p->err, to->n * sizeof(void *));
	return FSI_OK;
}

/* Replace the top n values by a tuple of them. */
static FsiStatus
make_tuple(Pickle *p, PickleValue *const *items, size_t n)
{
	PickleItems held = {0};
	PickleValue *tuple;

	FSI_TRY(append_all(p, &held, items, n));
	FSI_TRY(push_new(p, PICKLE_TUPLE, &tuple));
	tuple->items = held;
	return FSI_OK;
}

static FsiStatus
make_short_tuple(Pickle *p, size_t n)
{
	if (p->stack.n - stack_floor(p) < n)
		return bad(p, "its stack is empty");
	p->stack.n -= n;
	return make_tuple(p, p->stack.at + p->stack.n, n);
}

/* Add items above the mark (or the top one or two) to the list or dict below. */
static FsiStatus
extend(Pickle *p, PickleKind kind, PickleValue *const *items, size_t n)
{
	PickleValue *target;

	FSI_TRY(top(p, &target));
	if (target->kind != kind || (kind == PICKLE_DICT && n % 2 != 0))
		return bad(p, "items are added to what is no container");
	return append_all(p, &target->items, items, n);
}

static FsiStatus
extend_by(Pickle *p, PickleKind kind, size_t n)
{
	if (p->stack.n - stack_floor(p) < n)
		return bad(p, "its stack is empty");
	p->stack.n -= n;
	return extend(p, kind, p->stack.at + p->stack.n, n);
}

static FsiStatus
extend_by_mark(Pickle *p, PickleKind kind)
{
	PickleValue **items = NULL;
	size_t		n = 0;

	FSI_TRY(pop_mark(p, &items, &n));
	return extend(p, kind, items, n);
}

/* ---- Names and calls ---- */

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
		FSI_TRY(push_new(p, known->kind, &value));
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

static FsiStatus
op_global(Pickle *p)
{
	size_t		module_len,
				name_len;
	const char *module = (const char *) cursor_line(p->c, &module_len);
	const char *name = (const char *) cursor_line(p->c, &name_len);

	if (p->c->failed)
		return bad(p, "it ends inside a name");
	return push_global(p, module, module_len, name, name_len);
}

static FsiStatus
op_stack_global(Pickle *p)
{
	PickleValue *module,
			   *name;

	FSI_TRY(pop(p, &name));
	FSI_TRY(pop(p, &module));
	if (module->kind != PICKLE_STRING || name->kind != PICKLE_STRING)
		return bad(p, "a name is no string");
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
		return bad(p, "a tensor has wrong arguments");
	size = args->at[2];
	stride = args->at[3];
	tensor->storage = &args->at[0]->storage;
	tensor->offset = (uint64_t) args->at[1]->integer;
	tensor->n_dim = size->items.n > TENSOR_MAX_DIMS ? TENSOR_MAX_DIMS + 1 : (int) size->items.n;
	if (tensor->n_dim <= TENSOR_MAX_DIMS &&
		(!read_integers(size, tensor->dim, tensor->n_dim) || !read_integers(stride, tensor->stride, tensor->n_dim)))
		return bad(p, "a tensor's shape is not of integers");
	FSI_TRY(push_new(p, PICKLE_TENSOR, &value));
	value->tensor = tensor;
	return FSI_OK;
}

/* OrderedDict() or OrderedDict([[key, value], …]) */
static FsiStatus
ordered_dict(Pickle *p, const PickleItems *args)
{
	PickleValue *dict;

	FSI_TRY(push_new(p, PICKLE_DICT, &dict));
	if (args->n == 0)
		return FSI_OK;
	if (args->n != 1 || args->at[0]->kind != PICKLE_LIST)
		return bad(p, "an OrderedDict has wrong arguments");
	for (size_t i = 0; i < args->at[0]->items.n; i++)
	{
		const PickleValue *pair = args->at[0]->items.at[i];

		if ((pair->kind != PICKLE_LIST && pair->kind != PICKLE_TUPLE) || pair->items.n != 2)
			return bad(p, "an OrderedDict has wrong arguments");
		FSI_TRY(append_all(p, &dict->items, pair->items.at, 2));
	}
	return FSI_OK;
}

static FsiStatus
op_reduce(Pickle *p)
{
	PickleValue *call,
			   *args;

	FSI_TRY(pop(p, &args));
	FSI_TRY(pop(p, &call));
	if (args->kind != PICKLE_TUPLE || call->kind != PICKLE_CALL)
		return bad(p, "it calls what is no function");
	switch (call->call)
	{
		case CALL_ORDERED_DICT:
			return ordered_dict(p, &args->items);
		case CALL_REBUILD_TENSOR:
			return rebuild_tensor(p, &args->items);
		case CALL_REBUILD_PARAMETER:
			if (args->items.n < 1 || args->items.at[0]->kind != PICKLE_TENSOR)
				return bad(p, "a parameter has wrong arguments");
			return push(p, args->items.at[0]);
	}
	return bad(p, "it calls what is no function");
}

/* Attributes are dropped; torch hangs version numbers (_metadata) on a state_dict. */
static FsiStatus
op_build(Pickle *p)
{
	PickleValue *state,
			   *object;

	FSI_TRY(pop(p, &state));
	FSI_TRY(top(p, &object));
	return object->kind == PICKLE_DICT ? FSI_OK : bad(p, "it sets attributes of what is no dictionary");
}

/* ("storage", type, key, location, count [, view]) */
static FsiStatus
op_persistent_id(Pickle *p)
{
	PickleValue *id = NULL,
			   *value;
	PickleValue **at;

	FSI_TRY(pop(p, &id));
	at = id->items.at;
	if (id->kind != PICKLE_TUPLE || id->items.n < 5 || id->items.n > 6 ||
		at[0]->kind != PICKLE_STRING || !text_equals(at[0]->string.s, at[0]->string.len, "storage") ||
		at[1]->kind != PICKLE_STORAGE_TYPE || at[2]->kind != PICKLE_STRING ||
		at[4]->kind != PICKLE_INT || at[4]->integer < 0)
		return bad(p, "a storage has wrong arguments");
	if (id->items.n == 6 && at[5]->kind != PICKLE_NONE)
		return fsi_fail(p->err, FSI_UNSUPPORTED, "pickle holds a view of a storage, as PyTorch before 0.4 wrote");
	FSI_TRY(push_new(p, PICKLE_STORAGE, &value));
	value->storage = at[1]->storage;
	value->storage.key = at[2]->string.s;
	value->storage.key_len = at[2]->string.len;
	value->storage.count = (uint64_t) at[4]->integer;
	if (!pickle_push(p->arena, &p->storages, value))
		return fsi_nomem(p->err, p->storages.n * sizeof(void *));
	return FSI_OK;
}

/* ---- Memo ---- */

static FsiStatus
memo_put(Pickle *p, uint64_t index)
{
	PickleValue *value;

	FSI_TRY(top(p, &value));
	if (index >= VALUE_LIMIT)
		return fsi_fail(p->err, FSI_LIMIT, "pickle's memo has more than %zu entries", VALUE_LIMIT);
	while (p->memo.n <= index)
		if (!pickle_push(p->arena, &p->memo, NULL))
			return fsi_nomem(p->err, p->memo.n * sizeof(void *));
	p->memo.at[index] = value;
	return FSI_OK;
}

static FsiStatus
memo_get(Pickle *p, uint64_t index)
{
	if (index >= p->memo.n || p->memo.at[index] == NULL)
		return bad(p, "it refers to a value that is not there");
	return push(p, p->memo.at[index]);
}

/* ---- Literals ---- */

static FsiStatus
push_integer(Pickle *p, PickleKind kind, int64_t integer)
{
	PickleValue *value;

	FSI_TRY(push_new(p, kind, &value));
	value->integer = integer;
	return FSI_OK;
}

/* Little-endian two's complement of n bytes; longer than 8 is nothing we ask for. */
static FsiStatus
push_long(Pickle *p, uint64_t n)
{
	const uint8_t *bytes = cursor_bytes(p->c, n);
	uint64_t	integer = 0;

	if (bytes == NULL)
		return bad(p, "it ends inside a number");
	if (n > 8)
		return push_integer(p, PICKLE_OPAQUE, 0);
	for (uint64_t i = 0; i < n; i++)
		integer |= (uint64_t) bytes[i] << (8 * i);
	if (n > 0 && n < 8 && (bytes[n - 1] & 0x80) != 0)
		integer |= ~(uint64_t) 0 << (8 * n);
	return push_integer(p, PICKLE_INT, (int64_t) integer);
}

static FsiStatus
push_string(Pickle *p, PickleKind kind, uint64_t n)
{
	const uint8_t *bytes = cursor_bytes(p->c, n);
	PickleValue *value;

	if (bytes == NULL)
		return bad(p, "it ends inside a string");
	FSI_TRY(push_new(p, kind, &value));
	value->string.s = (const char *) bytes;
	value->string.len = (size_t) n;
	return FSI_OK;
}

/* ---- Opcodes ---- */

static FsiStatus
step_literal(Pickle *p, uint8_t op, bool *known)
{
	PickleValue *value;

	switch (op)
	{
		case 'N':
			return push_new(p, PICKLE_NONE, &value);
		case 0x88:				/* NEWTRUE */
		case 0x89:				/* NEWFALSE */
			return push_integer(p, PICKLE_BOOL, op == 0x88);
		case 'J':				/* BININT */
			return push_integer(p, PICKLE_INT, (int32_t) cursor_u32(p->c));
		case 'K':				/* BININT1 */
			return push_integer(p, PICKLE_INT, cursor_u8(p->c));
		case 'M':				/* BININT2 */
			return push_integer(p, PICKLE_INT, cursor_u16(p->c));
		case 0x8a:				/* LONG1 */
			return push_long(p, cursor_u8(p->c));
		case 0x8b:				/* LONG4 */
			return push_long(p, cursor_u32(p->c));
		case 'G':				/* BINFLOAT */
			return push_string(p, PICKLE_OPAQUE, 8);
		case 'X':				/* BINUNICODE */
		case 'T':				/* BINSTRING */
			return push_string(p, PICKLE_STRING, cursor_u32(p->c));
		case 0x8c:				/* SHORT_BINUNICODE */
		case 'U':				/* SHORT_BINSTRING */
			return push_string(p, PICKLE_STRING, cursor_u8(p->c));
		case 0x8d:				/* BINUNICODE8 */
			return push_string(p, PICKLE_STRING, cursor_u64(p->c));
		case 'B':				/* BINBYTES */
			return push_string(p, PICKLE_OPAQUE, cursor_u32(p->c));
		case 'C':				/* SHORT_BINBYTES */
			return push_string(p, PICKLE_OPAQUE, cursor_u8(p->c));
		default:
			*known = false;
			return FSI_OK;
	}
}

static FsiStatus
step_container(Pickle *p, uint8_t op, bool *known)
{
	PickleValue *value;
	PickleValue **items = NULL;
	size_t		n = 0;

	switch (op)
	{
		case '(':				/* MARK */
			return push_mark(p);
		case '}':				/* EMPTY_DICT */
			return push_new(p, PICKLE_DICT, &value);
		case ']':				/* EMPTY_LIST */
			return push_new(p, PICKLE_LIST, &value);
		case ')':				/* EMPTY_TUPLE */
			return push_new(p, PICKLE_TUPLE, &value);
		case 't':				/* TUPLE */
			FSI_TRY(pop_mark(p, &items, &n));
			return make_tuple(p, items, n);
		case 0x85:				/* TUPLE1 .. TUPLE3 */
		case 0x86:
		case 0x87:
			return make_short_tuple(p, (size_t) op - 0x84);
		case 'a':				/* APPEND */
			return extend_by(p, PICKLE_LIST, 1);
		case 'e':				/* APPENDS */
			return extend_by_mark(p, PICKLE_LIST);
		case 's':				/* SETITEM */
			return extend_by(p, PICKLE_DICT, 2);
		case 'u':				/* SETITEMS */
			return extend_by_mark(p, PICKLE_DICT);
		default:
			*known = false;
			return FSI_OK;
	}
}

static FsiStatus
step_other(Pickle *p, uint8_t op)
{
	switch (op)
	{
		case 0x80:				/* PROTO */
			cursor_u8(p->c);
			return FSI_OK;
		case 0x95:				/* FRAME */
			cursor_u64(p->c);
			return FSI_OK;
		case 'q':				/* BINPUT */
			return memo_put(p, cursor_u8(p->c));
		case 'r':				/* LONG_BINPUT */
			return memo_put(p, cursor_u32(p->c));
		case 0x94:				/* MEMOIZE */
			return memo_put(p, p->memo.n);
		case 'h':				/* BINGET */
			return memo_get(p, cursor_u8(p->c));
		case 'j':				/* LONG_BINGET */
			return memo_get(p, cursor_u32(p->c));
		case 'c':				/* GLOBAL */
			return op_global(p);
		case 0x93:				/* STACK_GLOBAL */
			return op_stack_global(p);
		case 'R':				/* REDUCE */
			return op_reduce(p);
		case 'b':				/* BUILD */
			return op_build(p);
		case 'Q':				/* BINPERSID */
			return op_persistent_id(p);
		default:
			return fsi_fail(p->err, FSI_UNSUPPORTED, "pickle uses opcode 0x%02x, which is not allowed", op);
	}
}

static FsiStatus
step(Pickle *p, uint8_t op)
{
	bool		known = true;

	FSI_TRY(step_literal(p, op, &known));
	if (known)
		return FSI_OK;
	known = true;
	FSI_TRY(step_container(p, op, &known));
	return known ? FSI_OK : step_other(p, op);
}

FsiStatus
pickle_read(Cursor *c, FsiArena *arena, PickleResult *out, FsiError *err)
{
	Pickle		p = {.c = c, .arena = arena, .err = err};
	size_t		start = c->pos;

	for (size_t n_op = 0;; n_op++)
	{
		uint8_t		op = cursor_u8(c);

		if (n_op % 65536 == 0 && fsi_should_stop(arena->host))
			return fsi_fail(err, FSI_CANCELLED, "cancelled");
		if (!c->failed && op == '.')
			break;
		if (!c->failed)
			FSI_TRY(step(&p, op));
		if (c->failed)
			return bad(&p, "it ends too early");
		if (c->pos - start > PICKLE_LIMIT)
			return fsi_fail(err, FSI_LIMIT, "pickle is longer than %zu bytes", PICKLE_LIMIT);
	}
	FSI_TRY(pop(&p, &out->value));
	out->storages = p.storages;
	return FSI_OK;
}
