/*
 * test_format_torchbin.c
 *	  PyTorch files made here byte by byte: both containers, strides, shared storages, and pickles
 *	  that want more than data.
 */
#include "torchbin_help.h"

static TensorSet set;
static uint8_t *copy;			/* of the file parsed last, with an end of its own for the address sanitizer */

/* Parse at an address of this rest modulo 4.  The tensors stay valid until the next call. */
static FsiStatus
parse_at(FsiBytes b, size_t rest)
{
	free(copy);
	copy = malloc(b.len + rest);
	memcpy(copy + rest, b.data, b.len);
	return torchbin_parse(copy + rest, b.len, &arena, &set, &err);
}

static FsiStatus
parse(FsiBytes b)
{
	return parse_at(b, 0);
}

static void
check_good(const char *what)
{
	const float *wte = data_of(&set, "wte.weight");
	const float *t = data_of(&set, "h.0.t");
	const float *half = data_of(&set, "h.0.half");

	ok(set.n == 3, "%s: masks and counters are left out", what);
	ok(wte != NULL && wte[0] == 0 && wte[11] == 11, "%s: contiguous f32", what);
	ok(t != NULL && t[0] == 1 && t[1] == 5 && t[2] == 2 && t[3] == 6 && t[7] == 8, "%s: strides and offset", what);
	ok(half != NULL && half[0] == 1 && half[3] == 4, "%s: f16", what);
}

static void
test_good(void)
{
	/* at one of four addresses the f32 storage is aligned, and a contiguous tensor is used in place */
	for (size_t rest = 0; rest < 4; rest++)
	{
		ok(fine(parse_at(zip_of(pk_state(good, 5, false)), rest)), "a zip file at address %zu", rest);
		check_good("zip");
		/* the legacy file lists every key it uses: leave out those without data */
		ok(fine(parse_at(legacy_of(pk_state(good, 3, true)), rest)), "a legacy file at address %zu", rest);
		check_good("legacy");
	}
}

static void
test_wrapped(void)
{
	FsiBytes	b = new_bytes();

	/* {"epoch": 3, "state_dict": {"w": parameter(tensor)}} with memo and short forms */
	put_text(&b, "\x80\x04}(");
	put_text(&b, "\x8c\x05" "epochK\x03");
	put_text(&b, "\x8c\nstate_dict}\x94");
	put_text(&b, "\x8c\x01w");
	put_text(&b, "\x8c\x0ctorch._utils\x8c\x12_rebuild_parameter\x93(");
	pk_tensor(&b, &good[0], false);
	put_text(&b, "\x88)tRsu.");
	ok(fine(parse(zip_of(b))) && set.n == 1 && data_of(&set, "w") != NULL && data_of(&set, "w")[5] == 5,
	   "a checkpoint that holds a state_dict of parameters");
}

static FsiStatus
parse_one(Spec s)
{
	return parse(zip_of(pk_state(&s, 1, false)));
}

static void
test_lies(void)
{
	Spec		s = good[0];
	Zip			z;
	FsiBytes	b;

	s.count = 13;
	ok(refused(parse_one(s), FSI_CORRUPT, "missing or too short"), "a storage shorter than it says");
	s = good[0];
	s.key = "9";
	ok(refused(parse_one(s), FSI_CORRUPT, "missing or too short"), "a storage that is not there");
	s = good[0];
	s.offset = 1;
	ok(refused(parse_one(s), FSI_CORRUPT, "larger than its storage"), "an offset past the end");
	s.offset = -1;
	ok(refused(parse_one(s), FSI_CORRUPT, "wrong arguments"), "a negative offset");
	s = good[0];
	s.stride[0] = INT64_MAX;
	ok(refused(parse_one(s), FSI_CORRUPT, "larger than its storage"), "a stride that overflows");
	s.stride[0] = -4;
	ok(refused(parse_one(s), FSI_CORRUPT, "negative"), "a negative stride");
	s = good[0];
	s.dim[0] = INT64_MAX;
	s.stride[0] = 0;
	ok(refused(parse_one(s), FSI_CORRUPT, "larger than its storage"), "a huge expanded size");
	s = good[0];
	s.dim[1] = -4;
	ok(refused(parse_one(s), FSI_CORRUPT, "negative"), "a negative size");
	s = good[0];
	s.n_dim = 5;
	ok(refused(parse_one(s), FSI_UNSUPPORTED, "dimensions"), "five dimensions");
	s = good[0];
	s.count = INT64_MAX;
	ok(refused(parse_one(s), FSI_CORRUPT, "missing or too short"), "a count that overflows");
	s = good[0];
	s.type = "ComplexFloatStorage";
	ok(refused(parse_one(s), FSI_UNSUPPORTED, "\"torch.ComplexFloatStorage\""), "a type that is not known");

	b = pk_state(good, 1, false);
	z = zip_begin();
	z.method = 8;
	zip_add(&z, "m/data.pkl", b.data, b.len);
	ok(refused(parse(zip_end(&z)), FSI_UNSUPPORTED, "compressed"), "a compressed entry");
	z = zip_begin();
	zip_add(&z, "m/else", b.data, b.len);
	ok(refused(parse(zip_end(&z)), FSI_UNSUPPORTED, "no data.pkl"), "a zip of something else");
	z = zip_begin();
	zip_add(&z, "m/data.pkl", b.data, b.len);
	zip_add(&z, "n/data.pkl", b.data, b.len);
	ok(refused(parse(zip_end(&z)), FSI_CORRUPT, "two data.pkl"), "two pickles");
	z = zip_begin();
	zip_add(&z, "m/data.pkl", b.data, b.len);
	zip_add(&z, "m/byteorder", "big", 3);
	ok(refused(parse(zip_end(&z)), FSI_UNSUPPORTED, "big-endian"), "a big-endian file");
	ok(refused(torchbin_parse((const uint8_t *) "", 0, &arena, &set, &err), FSI_UNSUPPORTED, "torch.save"), "an empty file");
}

/* torch.load() would take the last of two storages of one key, or, of a zip's, any. */
static void
test_twice(void)
{
	const float zero[12] = {0},
				one[12] = {1};
	FsiBytes	pickle = pk_state(good, 1, false),
				legacy = legacy_of(pk_state(good, 3, true)),
				b = new_bytes();
	const uint8_t *keys_end = memmem(legacy.data, legacy.len, "X\1\0\0\0" "0e.", 8);
	size_t		head = (size_t) (keys_end - legacy.data) + 6;
	Zip			z = zip_begin();

	zip_add(&z, "m/data.pkl", pickle.data, pickle.len);
	zip_add(&z, "m/data/0", zero, sizeof(zero));
	zip_add(&z, "m/data/0", one, sizeof(one));
	ok(refused(parse(zip_end(&z)), FSI_CORRUPT, "two entries \"m/data/0\""), "two entries of one name");

	put(&b, legacy.data, head);
	pk_string(&b, "0");
	put(&b, legacy.data + head, legacy.len - head);
	put_le(&b, 12, 8);
	put(&b, one, sizeof(one));
	ok(refused(parse(b), FSI_CORRUPT, "names one twice"), "a legacy file whose list of storages has one twice");
}

/* What torch.save() adds to a tensor of ._neg_view(): {"neg": True}. */
static void
test_negative(void)
{
	FsiBytes	b = pk_state(good, 1, false),
				negative = new_bytes();
	const uint8_t *end = memmem(b.data, b.len, ")RtR", 4);
	size_t		head = (size_t) (end - b.data) + 2;

	for (int neg = 0; neg < 2; neg++)
	{
		negative.len = 0;
		put(&negative, b.data, head);
		put_text(&negative, neg ? "}X\3" : "}");
		put(&negative, "\0\0\0neg\x88s", neg ? 8 : 0);
		put(&negative, b.data + head, b.len - head);
		if (neg)
			ok(refused(parse(zip_of(negative)), FSI_UNSUPPORTED, "negative"), "a tensor that is the negative of its storage");
		else
			ok(fine(parse(zip_of(negative))) && set.n == 1, "no metadata");
	}
}

/* Pickles that ask for code, or are broken: refused, and nothing is run. */
static void
test_pickles(void)
{
	static const struct
	{
		const char *pickle;
		FsiStatus	status;
		const char *message;
	}			cases[] = {
		{"cposix\nsystem\n(X\x02", FSI_UNSUPPORTED, "\"posix.system\", which is not allowed"},
		{"c__builtin__\neval\n.", FSI_UNSUPPORTED, "\"__builtin__.eval\""},
		{"cbuiltins\n__import__\n.", FSI_UNSUPPORTED, "\"builtins.__import__\""},
		{"\x8c\x02os\x8c\x06system\x93.", FSI_UNSUPPORTED, "\"os.system\""},
		{"ctorch.nn\nLinear\n.", FSI_UNSUPPORTED, "\"torch.nn.Linear\""},
		{"c\x01\xff\nx\n.", FSI_UNSUPPORTED, "\"??.x\""},
		{"(lp0\n.", FSI_UNSUPPORTED, "opcode 0x6c"},
		{"icollections\nOrderedDict\n.", FSI_UNSUPPORTED, "opcode 0x69"},
		{"ccollections\nOrderedDict\n)\x81.", FSI_UNSUPPORTED, "opcode 0x81"},
		{"}}R.", FSI_CORRUPT, "what is no function"},
		{"ccollections\nOrderedDict\n}R.", FSI_CORRUPT, "what is no function"},
		{"ctorch._utils\n_rebuild_tensor_v2\n)R.", FSI_CORRUPT, "wrong arguments"},
		{"ctorch._utils\n_rebuild_parameter\n)R.", FSI_CORRUPT, "wrong arguments"},
		{"ctorch._utils\n_rebuild_parameter\nK\x01\x85R.", FSI_CORRUPT, "wrong arguments"},
		{"ccollections\nOrderedDict\n]K\x01" "a\x85R.", FSI_CORRUPT, "wrong arguments"},
		{"K\x01Q.", FSI_CORRUPT, "storage has wrong arguments"},
		{"\x85.", FSI_CORRUPT, "stack is empty"},
		{"K\x01\x86.", FSI_CORRUPT, "stack is empty"},
		{"K\x01(\x85.", FSI_CORRUPT, "stack is empty"},
		{".", FSI_CORRUPT, "stack is empty"},
		{"t.", FSI_CORRUPT, "mark is missing"},
		{"(.", FSI_CORRUPT, "stack is empty"},
		{"K\x01K\x02K\x03s.", FSI_CORRUPT, "no container"},
		{"}(K\x01u.", FSI_CORRUPT, "no container"},
		{"h\x05.", FSI_CORRUPT, "not there"},
		{"Nr\xff\xff\xff\x7f.", FSI_LIMIT, "memo"},
		{"X\xff\xff\xff\xff", FSI_CORRUPT, "ends inside a string"},
		{"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", FSI_CORRUPT, "ends inside a string"},
		{"\x8b\xff\xff\xff\xff", FSI_CORRUPT, "ends inside a number"},
		{"ccollections", FSI_CORRUPT, "ends inside a name"},
		{"", FSI_CORRUPT, "ends too early"},
		{"K\x01" "b.", FSI_CORRUPT, "stack is empty"},
		{"K\x01K\x02" "b.", FSI_CORRUPT, "no dictionary"},
		{"]q\x01h\x01" "a.", FSI_UNSUPPORTED, "no dictionary of tensors"},	/* a list that holds itself */
		{"}q\x01X\x05\x01\x01\x01", FSI_CORRUPT, "ends inside a string"},
		{"N.", FSI_UNSUPPORTED, "no dictionary of tensors"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		FsiBytes	b = new_bytes();

		put(&b, cases[i].pickle, strlen(cases[i].pickle));
		ok(refused(parse(zip_of(b)), cases[i].status, cases[i].message), "pickle %zu: %s", i, cases[i].message);
	}
}

/* A pickle of nothing but containers, or of one huge one, must hit a limit and not the memory. */
static void
test_bombs(void)
{
	FsiBytes	b = new_bytes();

	for (int i = 0; i < 3 << 19; i++)
		put_text(&b, "}");
	put_text(&b, ".");
	ok(refused(parse(zip_of(b)), FSI_LIMIT, "values"), "a million dictionaries");
	/* one list of 65,536 references to a pair, in an OrderedDict again and again */
	b.len = 0;
	put_text(&b, "](NN\x86q\1");
	for (int i = 0; i < 1 << 16; i++)
		put_text(&b, "h\1");
	put_text(&b, "e\x85q\2");
	for (int i = 0; i < 1000; i++)
		put_text(&b, "ccollections\nOrderedDict\nh\2R");
	put_text(&b, ".");
	ok(refused(parse(zip_of(b)), FSI_LIMIT, "values"), "a thousand copies of a long list");
	b.len = 0;
	put_text(&b, "N");
	for (int i = 0; i < 5 << 20; i++)
		put(&b, "q\0", 2);
	put_text(&b, ".");
	ok(refused(parse(zip_of(b)), FSI_LIMIT, "longer than"), "a pickle of ten megabytes");
}

static void
test_truncated(void)
{
	FsiBytes	files[2] = {zip_of(pk_state(good, 5, false)), legacy_of(pk_state(good, 3, true))};

	for (int k = 0; k < 2; k++)
	{
		int			accepted = 0;

		for (size_t len = 0; len < files[k].len; len++)
		{
			FsiBytes	cut = files[k];

			cut.len = len;
			accepted += parse(cut) == FSI_OK;
		}
		ok(accepted == 0, "no truncated %s file is accepted", k == 0 ? "zip" : "legacy");
	}
}

/* The published kind: the same weights through three readers. */
static void
test_reference(void)
{
	static const char *const files[] = {"resaved_pytorch_model_zip.bin", "resaved_pytorch_model_legacy.bin"};
	const char *shared = tap_shared();
	char		path[1024];
	TensorSet	safe,
				torch;

	if (shared == NULL)
	{
		skip("no shared reference models");
		return;
	}
	snprintf(path, sizeof(path), "%s/reference/models/chemts-gpt2-0.2m/model.safetensors", shared);
	if (!ok(fine(safetensors_read(path, &arena, &safe, &err)), "reference model.safetensors is read"))
		return;
	for (int k = 0; k < 2; k++)
	{
		int			equal = 0;

		snprintf(path, sizeof(path), "%s/reference/models/chemts-gpt2-0.2m/%s", shared, files[k]);
		if (!ok(fine(torchbin_read(path, &arena, &torch, &err)), "%s is read", files[k]))
			continue;
		for (int i = 0; i < safe.n; i++)
		{
			const NamedTensor *a = &safe.tensors[i];
			const NamedTensor *b = tensors_find(&torch, a->name);
			size_t		n = 1;

			for (int d = 0; d < a->n_dim; d++)
				n *= (size_t) a->dim[d];
			equal += b != NULL && a->n_dim == b->n_dim && memcmp(a->dim, b->dim, sizeof(a->dim)) == 0 &&
				memcmp(a->data, b->data, n * sizeof(float)) == 0;
		}
		ok(safe.n > 40 && equal == safe.n, "%s equals model.safetensors bit for bit (%d of %d tensors)",
		   files[k], equal, safe.n);
	}
}

int
main(void)
{
	help_start();
	test_good();
	test_wrapped();
	test_lies();
	test_twice();
	test_negative();
	test_pickles();
	test_bombs();
	test_truncated();
	test_reference();
	free(copy);
	help_end();
	return tap_done();
}
