/*
 * torchbin_pickle.c
 *	  A pickle reader that executes nothing: opcodes build data; what names mean is torchbin_names.c's.
 *
 * Source: the opcode descriptions in CPython's pickletools, and what torch.save() writes.
 * Memory is bounded by the limits below; shared and cyclic values are only pointed to.
 */
#include "torchbin_pickle.h"

/* A GPT-2 of 48 layers takes 100 kB, 20,000 values and as many memo entries. */
#define PICKLE_LIMIT ((size_t) 8 << 20)
#define VALUE_LIMIT ((size_t) 1 << 20)

FsiStatus
pickle_bad(Pickle *p, const char *what)
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

FsiStatus
pickle_put(Pickle *p, PickleValue *value)
{
	return pickle_push(p->arena, &p->stack, value) ? FSI_OK : fsi_nomem(p->err, p->stack.n * sizeof(void *));
}

FsiStatus
pickle_charge(Pickle *p, size_t n)
{
	p->n_value += n;
	return p->n_value <= VALUE_LIMIT ? FSI_OK :
		fsi_fail(p->err, FSI_LIMIT, "pickle holds more than %zu values", VALUE_LIMIT);
}

FsiStatus
pickle_new(Pickle *p, PickleKind kind, PickleValue **out)
{
	PickleValue *value;

	FSI_TRY(pickle_charge(p, 1));
	value = fsi_arena_zero(p->arena, 1, sizeof(PickleValue));
	if (value == NULL)
		return fsi_nomem(p->err, sizeof(PickleValue));
	value->kind = kind;
	*out = value;
	return pickle_put(p, value);
}

/* The stack's floor is the newest mark: nothing pops below it. */
static size_t
stack_floor(const Pickle *p)
{
	return p->n_mark == 0 ? 0 : p->mark_at[p->n_mark - 1];
}

FsiStatus
pickle_pop(Pickle *p, PickleValue **out)
{
	if (p->stack.n <= stack_floor(p))
		return pickle_bad(p, "its stack is empty");
	*out = p->stack.at[--p->stack.n];
	return FSI_OK;
}

FsiStatus
pickle_top(Pickle *p, PickleValue **out)
{
	FSI_TRY(pickle_pop(p, out));
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
		return pickle_bad(p, "a mark is missing");
	*n = p->stack.n - p->mark_at[--p->n_mark];
	p->stack.n -= *n;
	*items = p->stack.at + p->stack.n;
	return FSI_OK;
}

FsiStatus
pickle_append(Pickle *p, PickleItems *to, PickleValue *const *items, size_t n)
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

	FSI_TRY(pickle_append(p, &held, items, n));
	FSI_TRY(pickle_new(p, PICKLE_TUPLE, &tuple));
	tuple->items = held;
	return FSI_OK;
}

static FsiStatus
make_short_tuple(Pickle *p, size_t n)
{
	if (p->stack.n - stack_floor(p) < n)
		return pickle_bad(p, "its stack is empty");
	p->stack.n -= n;
	return make_tuple(p, p->stack.at + p->stack.n, n);
}

/* Add items above the mark (or the top one or two) to the list or dict below. */
static FsiStatus
extend(Pickle *p, PickleKind kind, PickleValue *const *items, size_t n)
{
	PickleValue *target = NULL;

	FSI_TRY(pickle_top(p, &target));
	if (target->kind != kind || (kind == PICKLE_DICT && n % 2 != 0))
		return pickle_bad(p, "items are added to what is no container");
	return pickle_append(p, &target->items, items, n);
}

static FsiStatus
extend_by(Pickle *p, PickleKind kind, size_t n)
{
	if (p->stack.n - stack_floor(p) < n)
		return pickle_bad(p, "its stack is empty");
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

/* ---- Memo ---- */

static FsiStatus
memo_put(Pickle *p, uint64_t index)
{
	PickleValue *value;

	FSI_TRY(pickle_top(p, &value));
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
		return pickle_bad(p, "it refers to a value that is not there");
	return pickle_put(p, p->memo.at[index]);
}

/* ---- Literals ---- */

static FsiStatus
push_integer(Pickle *p, PickleKind kind, int64_t integer)
{
	PickleValue *value;

	FSI_TRY(pickle_new(p, kind, &value));
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
		return pickle_bad(p, "it ends inside a number");
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
		return pickle_bad(p, "it ends inside a string");
	FSI_TRY(pickle_new(p, kind, &value));
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
			return pickle_new(p, PICKLE_NONE, &value);
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
			return pickle_new(p, PICKLE_DICT, &value);
		case ']':				/* EMPTY_LIST */
			return pickle_new(p, PICKLE_LIST, &value);
		case ')':				/* EMPTY_TUPLE */
			return pickle_new(p, PICKLE_TUPLE, &value);
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
			return pickle_global(p);
		case 0x93:				/* STACK_GLOBAL */
			return pickle_stack_global(p);
		case 'R':				/* REDUCE */
			return pickle_reduce(p);
		case 'b':				/* BUILD */
			return pickle_build(p);
		case 'Q':				/* BINPERSID */
			return pickle_persistent_id(p);
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
			return fsi_cancelled(err);
		if (!c->failed && op == '.')
			break;
		if (!c->failed)
			FSI_TRY(step(&p, op));
		if (c->failed)
			return pickle_bad(&p, "it ends too early");
		if (c->pos - start > PICKLE_LIMIT)
			return fsi_fail(err, FSI_LIMIT, "pickle is longer than %zu bytes", PICKLE_LIMIT);
	}
	FSI_TRY(pickle_pop(&p, &out->value));
	out->storages = p.storages;
	return FSI_OK;
}
