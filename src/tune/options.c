/*
 * options.c
 *	  The options of fsi_train: names and defaults as in TrainingArguments where those have them.
 *
 * One table says what each is, where it goes and whether it steers the result: such an option
 * must be the same for a training that is gone on with.
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/json.h"

#include "fsi_sql.h"
#include "tune.h"

typedef enum OptionKind
{
	OPTION_INT, OPTION_COUNT, OPTION_REAL, OPTION_PART, OPTION_FLAG, OPTION_TEXT, OPTION_CHOICE, OPTION_OBJECT
} OptionKind;

typedef struct Option
{
	const char *name;
	OptionKind	kind;
	size_t		at;				/* in TuneOptions */
	bool		steers;			/* the result depends on it */
	int64		low,			/* of whole ones that the trainer does not check itself; both 0: it does */
				high;
	const char *const *choices; /* ends with NULL; the value is an int */
} Option;

static const char *const scheduler_names[] = {"linear", "cosine", "constant", "constant_with_warmup", NULL};
static const char *const loss_names[] = {"all", "response", "weighted", NULL};
static const char *const metric_names[] = {"loss", "accuracy", NULL};
static const char *const too_long_names[] = {"error", "skip", NULL};

StaticAssertDecl(sizeof(TrainScheduler) == sizeof(int) && sizeof(TrainLoss) == sizeof(int), "choices are ints");

#define STEPS_MAX INT64CONST(1000000000000)
#define PART_MAX 0.9

#define IN_TUNE(field) offsetof(TuneOptions, field)
#define IN_TRAIN(field) (offsetof(TuneOptions, train) + offsetof(TrainOptions, field))

static const Option all_options[] = {
	{"adam_beta1", OPTION_REAL, IN_TRAIN(adam_beta1), true, 0, 0, NULL},
	{"adam_beta2", OPTION_REAL, IN_TRAIN(adam_beta2), true, 0, 0, NULL},
	{"adam_epsilon", OPTION_REAL, IN_TRAIN(adam_epsilon), true, 0, 0, NULL},
	{"attn_pdrop", OPTION_REAL, IN_TRAIN(attn_pdrop), true, 0, 0, NULL},
	{"background", OPTION_FLAG, IN_TUNE(background), false, 0, 0, NULL},
	{"calibrate", OPTION_FLAG, IN_TUNE(calibrate), true, 0, 0, NULL},
	{"descriptions", OPTION_OBJECT, IN_TUNE(descriptions), true, 0, 0, NULL},
	{"discriminant_share", OPTION_REAL, IN_TRAIN(discriminant_share), true, 0, 0, NULL},
	{"early_stopping_patience", OPTION_INT, IN_TUNE(early_stopping_patience), true, 0, 1000000000, NULL},
	{"embd_pdrop", OPTION_REAL, IN_TRAIN(embd_pdrop), true, 0, 0, NULL},
	{"eval_answers", OPTION_INT, IN_TUNE(eval_answers), true, 0, 1000000, NULL},
	{"eval_split", OPTION_PART, IN_TUNE(eval_split), true, 0, 0, NULL},
	{"eval_steps", OPTION_COUNT, IN_TUNE(eval_steps), true, 0, STEPS_MAX, NULL},
	{"freeze", OPTION_FLAG, IN_TRAIN(freeze), true, 0, 0, NULL},
	{"gradient_accumulation_steps", OPTION_INT, IN_TRAIN(gradient_accumulation_steps), true, 0, 0, NULL},
	{"hidden_names", OPTION_REAL, IN_TRAIN(hidden_names), true, 0, 0, NULL},
	{"learn_scalars", OPTION_FLAG, IN_TRAIN(learn_scalars), true, 0, 0, NULL},
	{"learning_rate", OPTION_REAL, IN_TRAIN(learning_rate), true, 0, 0, NULL},
	{"load_best_model_at_end", OPTION_FLAG, IN_TUNE(load_best_model_at_end), true, 0, 0, NULL},
	{"logging_dir", OPTION_TEXT, IN_TUNE(logging_dir), false, 0, 0, NULL},
	{"logging_steps", OPTION_COUNT, IN_TUNE(logging_steps), false, 1, STEPS_MAX, NULL},
	{"loss", OPTION_CHOICE, IN_TRAIN(loss), true, 0, 0, loss_names},
	{"lr_scheduler_type", OPTION_CHOICE, IN_TRAIN(lr_scheduler_type), true, 0, 0, scheduler_names},
	{"max_grad_norm", OPTION_REAL, IN_TRAIN(max_grad_norm), true, 0, 0, NULL},
	{"max_shots", OPTION_INT, IN_TRAIN(max_shots), true, 0, 0, NULL},
	{"max_steps", OPTION_COUNT, IN_TRAIN(max_steps), true, 0, 0, NULL},
	{"max_ways", OPTION_INT, IN_TRAIN(max_ways), true, 0, 0, NULL},
	{"metric_for_best_model", OPTION_CHOICE, IN_TUNE(metric), true, 0, 0, metric_names},
	{"min_ways", OPTION_INT, IN_TRAIN(min_ways), true, 0, 0, NULL},
	{"missing", OPTION_REAL, IN_TRAIN(missing), true, 0, 0, NULL},
	{"model", OPTION_TEXT, IN_TUNE(model), false, 0, 0, NULL},
	{"name_share", OPTION_REAL, IN_TRAIN(name_share), true, 0, 0, NULL},
	{"num_train_epochs", OPTION_REAL, IN_TRAIN(num_train_epochs), true, 0, 0, NULL},
	{"other", OPTION_TEXT, IN_TUNE(other), true, 0, 0, NULL},
	{"pass_tokens", OPTION_INT, IN_TRAIN(pass_tokens), true, 0, 0, NULL},
	{"per_device_train_batch_size", OPTION_INT, IN_TRAIN(per_device_train_batch_size), true, 0, 0, NULL},
	{"prompt_loss_weight", OPTION_REAL, IN_TRAIN(prompt_loss_weight), true, 0, 0, NULL},
	{"queries", OPTION_INT, IN_TRAIN(queries), true, 0, 0, NULL},
	{"rebuild", OPTION_FLAG, IN_TUNE(rebuild), false, 0, 0, NULL},
	{"replace", OPTION_FLAG, IN_TUNE(replace), false, 0, 0, NULL},
	{"resid_pdrop", OPTION_REAL, IN_TRAIN(resid_pdrop), true, 0, 0, NULL},
	{"restart", OPTION_FLAG, IN_TUNE(restart), false, 0, 0, NULL},
	{"save_steps", OPTION_COUNT, IN_TUNE(save_steps), false, 0, STEPS_MAX, NULL},
	{"seed", OPTION_COUNT, IN_TRAIN(seed), true, 0, PG_INT64_MAX, NULL},
	{"spelling_weight", OPTION_REAL, IN_TRAIN(spelling_weight), true, 0, 0, NULL},
	{"threads", OPTION_INT, IN_TRAIN(threads), false, 0, 0, NULL},
	{"too_long", OPTION_CHOICE, IN_TUNE(too_long), true, 0, 0, too_long_names},
	{"warmup_ratio", OPTION_REAL, IN_TRAIN(warmup_ratio), true, 0, 0, NULL},
	{"warmup_steps", OPTION_COUNT, IN_TRAIN(warmup_steps), true, 0, 0, NULL},
	{"weight_decay", OPTION_REAL, IN_TRAIN(weight_decay), true, 0, 0, NULL},
};

StaticAssertDecl(sizeof(uint64_t) == sizeof(int64), "a seed is read as a count");

/* Those that only one of the two layouts has. */
static const char *const only_segments[] = {
	"calibrate", "descriptions", "discriminant_share", "freeze", "hidden_names", "learn_scalars", "max_shots", "max_ways", "min_ways",
	"missing", "name_share", "other", "queries", "spelling_weight", NULL
};
static const char *const only_prompt[] = {"eval_answers", "loss", "prompt_loss_weight", "too_long", NULL};

/* ---- Defaults. ---- */

#define FREEZE_DEFAULT true
#define FREEZE_WAYS 200			/* intents of an episode: all of most tables */
#define SPELLING_WEIGHT 0.5		/* at most: the held-out rows may choose less */

/*
 * For a table of some hundred rows, some minutes and one processor; chosen on the recipe's
 * validation sets (models/recipe/LOG.md).  The readout alone bears ten times the rate, and its steps
 * cost so little that an episode may have all intents, as a call will.
 */
static void
set_defaults(Gpt2Layout layout, bool freeze, TuneOptions *o)
{
	memset(o, 0, sizeof(*o));
	o->train = train_defaults;
	o->eval_split = 0.1;
	o->eval_steps = o->save_steps = TUNE_AUTO;
	o->logging_steps = 10;
	o->load_best_model_at_end = true;
	o->early_stopping_patience = 5;
	o->train.warmup_ratio = 0.1;
	if (layout == GPT2_SEGMENTS)
	{
		o->train.freeze = freeze;
		o->train.num_train_epochs = freeze ? 100 : 20;
		o->train.learning_rate = freeze ? 1e-3 : 1e-4;
		o->train.min_ways = freeze ? FREEZE_WAYS : o->train.min_ways;
		o->train.max_ways = freeze ? FREEZE_WAYS : o->train.max_ways;
		o->train.queries = freeze ? 32 : o->train.queries;
		o->train.spelling_weight = SPELLING_WEIGHT;
		o->train.name_share = 0.85;
		o->calibrate = true;
		o->train.discriminant_share = 0.3;
	}
	else
	{
		o->train.loss = TRAIN_LOSS_RESPONSE;
		o->eval_answers = 64;
	}
}

/* ---- Reading. ---- */

static bool
is_among(const char *name, const char *const *names)
{
	for (; *names != NULL; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

static double
read_real(const Option *option, const JsonbValue *v)
{
	Numeric		number = args_number(option->name, v);
	double		real = args_number_double(number);

	if (isinf(real))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is out of range: %s", option->name, args_number_text(number))));
	return real;
}

/* A real from 0 to PART_MAX. */
static double
read_part(const Option *option, const JsonbValue *v)
{
	double		part = read_real(option, v);

	if (!(part >= 0 && part <= PART_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be between 0 and %g, not %s", option->name, PART_MAX,
						args_number_text(v->val.numeric))));
	return part;
}

/* A whole number that an int64 or, with is_int, an int holds. */
static int64
read_whole(const Option *option, const JsonbValue *v, bool is_int)
{
	Numeric		number = args_number(option->name, v);

	if ((option->low != 0 || option->high != 0) && !args_number_between(number, option->low, option->high))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be between " INT64_FORMAT " and " INT64_FORMAT ", not %s", option->name,
						option->low, option->high, args_number_text(number))));
	if (!args_number_is_whole(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a whole number, not %s", option->name, args_number_text(number))));
	if (!args_number_between(number, is_int ? INT_MIN : PG_INT64_MIN, is_int ? INT_MAX : PG_INT64_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is out of range: %s", option->name, args_number_text(number))));
	return args_number_int64(number);
}

static int
read_choice(const Option *option, const JsonbValue *v)
{
	const char *given = args_string(option->name, v);
	StringInfoData list;

	for (int i = 0; option->choices[i] != NULL; i++)
		if (strcmp(given, option->choices[i]) == 0)
			return i;
	initStringInfo(&list);
	for (int i = 0; option->choices[i] != NULL; i++)
		appendStringInfo(&list, "%s\"%s\"", i == 0 ? "" : option->choices[i + 1] == NULL ? " or " : ", ",
						 option->choices[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s, not \"%s\"", option->name, list.data,
					host_excerpt(given, strlen(given)))));
}

static Jsonb *
read_object(const Option *option, JsonbValue *v)
{
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		args_wrong_type(option->name, "an object", v);
	return JsonbValueToJsonb(v);
}

static void
read_option(const Option *option, JsonbValue *v, TuneOptions *out)
{
	void	   *to = (char *) out + option->at;

	switch (option->kind)
	{
		case OPTION_INT:
			*(int *) to = (int) read_whole(option, v, true);
			break;
		case OPTION_COUNT:
			*(int64 *) to = read_whole(option, v, false);
			break;
		case OPTION_REAL:
			*(double *) to = read_real(option, v);
			break;
		case OPTION_PART:
			*(double *) to = read_part(option, v);
			break;
		case OPTION_FLAG:
			if (v->type != jbvBool)
				args_wrong_type(option->name, "a boolean", v);
			*(bool *) to = v->val.boolean;
			break;
		case OPTION_TEXT:
			*(char **) to = args_string(option->name, v);
			break;
		case OPTION_CHOICE:
			*(int *) to = read_choice(option, v);
			break;
		case OPTION_OBJECT:
			*(Jsonb **) to = read_object(option, v);
			break;
	}
}

static void
check_layout(const Option *option, Gpt2Layout layout)
{
	if (!is_among(option->name, layout == GPT2_SEGMENTS ? only_prompt : only_segments))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("option \"%s\" is not for models of layout \"%s\"", option->name, store_layout_name(layout))));
}

/* The value of a key that is looked at before the others; false: not given. */
static bool
look_up(Jsonb *options, const char *key, JsonbValue *value)
{
	return options != NULL && getKeyJsonValueFromContainer(&options->root, key, (int) strlen(key), value) != NULL &&
		value->type != jbvNull;
}

char *
tune_options_model(Jsonb *options)
{
	JsonbValue	value;

	if (options != NULL)
		args_check_object(options, "For example {\"num_train_epochs\": 3}.");
	if (!look_up(options, "model", &value))
		return NULL;
	return args_string("model", &value);
}

void
tune_options_read(Jsonb *options, Gpt2Layout layout, TuneOptions *out)
{
	FsiError	err = {0};
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	set_defaults(layout, FREEZE_DEFAULT, out);
	if (look_up(options, "freeze", &value) && value.type == jbvBool)
		set_defaults(layout, value.val.boolean, out);
	if (options != NULL)
	{
		it = args_members(&options->root);
		while (args_next(&it, &key, &value))
		{
			size_t		i = args_find_option(&key, all_options, sizeof(all_options[0]), lengthof(all_options));
			const Option *option = &all_options[i];

			if (value.type == jbvNull)
				continue;
			check_layout(option, layout);
			read_option(option, &value, out);
		}
	}
	out->weigh_spelling = layout == GPT2_SEGMENTS && !look_up(options, "spelling_weight", &value);
	/* Not below 2: max_ways, which was given, is what is wrong then. */
	if (!look_up(options, "min_ways", &value))
		out->train.min_ways = Max(Min(out->train.min_ways, out->train.max_ways), 2);
	if (!look_up(options, "max_ways", &value))
		out->train.max_ways = Max(out->train.min_ways, out->train.max_ways);
	if (out->rebuild && !out->replace)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"rebuild\" needs the option \"replace\""),
				 errdetail("What rests on a name is made anew when the name gets other weights.")));
	HOST_TRY(train_check_options(&out->train, &err));
}

StoreReplace
tune_replace(const TuneOptions *options)
{
	if (!options->replace)
		return STORE_REPLACE_NOT;
	return options->rebuild ? STORE_REPLACE_ALL : STORE_REPLACE_ALONE;
}

/* ---- The plan. ---- */

/* Of a value in bytes; of a longer one only the beginning is there, and its hash. */
#define PLAN_VALUE_MAX 1000
#define PLAN_EXCERPT 200

/* What lies in out from there on is a value: whoever looks at trainings reads all plans, and says how two differ. */
static void
shorten_value(StringInfo out, int from)
{
	FsiSha256	sha;
	uint8_t		hash[FSI_SHA256_BYTES];
	char		hex[STORE_HEX_LEN + 1];

	if (out->len - from <= PLAN_VALUE_MAX)
		return;
	fsi_sha256_init(&sha);
	fsi_sha256_update(&sha, out->data + from, out->len - from);
	fsi_sha256_final(&sha, hash);
	fsi_hex(hash, FSI_SHA256_BYTES, hex);
	out->len = from + pg_mbcliplen(out->data + from, out->len - from, PLAN_EXCERPT);
	appendStringInfo(out, "... (SHA-256 %s)", hex);
}

void
tune_options_plan(const TuneOptions *options, StringInfo out)
{
	for (size_t i = 0; i < lengthof(all_options); i++)
	{
		const Option *option = &all_options[i];
		const void *at = (const char *) options + option->at;
		Jsonb	   *object;
		char		number[DOUBLE_SHORTEST_DECIMAL_LEN];
		int			from;

		if (!option->steers)
			continue;
		appendStringInfo(out, "%s ", option->name);
		from = out->len;
		if (options->weigh_spelling && option->at == offsetof(TuneOptions, train.spelling_weight))
			appendStringInfoString(out, "at most ");
		switch (option->kind)
		{
			case OPTION_INT:
				appendStringInfo(out, "%d", *(const int *) at);
				break;
			case OPTION_COUNT:
				appendStringInfo(out, INT64_FORMAT, *(const int64 *) at);
				break;
			case OPTION_REAL:
			case OPTION_PART:
				double_to_shortest_decimal_buf(*(const double *) at, number);
				appendStringInfoString(out, number);
				break;
			case OPTION_FLAG:
				appendStringInfoString(out, *(const bool *) at ? "true" : "false");
				break;
			case OPTION_TEXT:
				escape_json(out, *(char *const *) at ? *(char *const *) at : "");
				break;
			case OPTION_CHOICE:
				appendStringInfoString(out, option->choices[*(const int *) at]);
				break;
			case OPTION_OBJECT:
				object = *(Jsonb *const *) at;
				if (object != NULL)
					(void) JsonbToCString(out, &object->root, VARSIZE(object));
				break;
		}
		shorten_value(out, from);
		appendStringInfoChar(out, '\n');
	}
}
