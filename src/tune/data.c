/*
 * data.c
 *	  From rows to tokens, as serving makes them: fsi_classify()'s segments, fsi_generate()'s prompts.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "fsi_sql.h"
#include "tune.h"

/* ---- Segments layout. ---- */

/* Its tokens and, unless spell is NULL, how it is spelled. */
static TokIds
segment_ids(const StoreModel *model, HostText t, FsiArena *arena, SpellVec *spell)
{
	FsiError	err = {0};
	bool		clipped;
	TokIds		ids;

	t = exec_clip(t, &clipped, arena);
	if (spell != NULL)
		exec_spell(model, t, arena, spell);
	HOST_TRY(tok_encode_plain(&model->file.tok, t.s, t.len, arena, &ids, &err));
	return ids;
}

/* Option "other": what the source calls rows that belong to no intent; empty if it is not given. */
static HostText
other_answer(const TuneRows *rows, const TuneOptions *options)
{
	HostText	other = {0};

	if (options->other == NULL)
		return other;
	other = text_trim(host_utf8(options->other, strlen(options->other)));
	if (other.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"other\" must not be empty")));
	for (int i = 0; i < rows->n; i++)
		if (args_compare(rows->rows[i].answer, other) == 0)
			return other;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"other\" names \"%s\", which is not among the intents of the source",
					host_utf8_excerpt(other))));
}

/* Rows are sorted by answer: the distinct ones in order, without "other"'s. */
static int
list_intents(const TuneRows *rows, HostText other, HostText *out)
{
	int			n = 0;

	for (int i = 0; i < rows->n; i++)
	{
		HostText	answer = rows->rows[i].answer;

		if (other.s != NULL && args_compare(answer, other) == 0)
			continue;
		if (n == 0 || args_compare(answer, out[n - 1]) != 0)
			out[n++] = answer;
	}
	if (n < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 n == 0 ? errmsg("source has no intents to tell apart") :
				 errmsg("source has one intent, \"%s\", and there is nothing to tell it from",
						host_utf8_excerpt(out[0])),
				 errhint("At least two intents are needed.")));
	return n;
}

static int
find_intent(HostText answer, int n, const HostText *intents)
{
	bool		found;
	int			at = args_search(intents, n, answer, &found);

	return found ? at : TRAIN_OTHER;
}

/* Option "descriptions": {intent: text}. */
static void
add_descriptions(Jsonb *descriptions, const StoreModel *model, int n, const HostText *intents, TrainIntent *out,
				 FsiArena *arena)
{
	JsonbIterator *it = args_members(&descriptions->root);
	JsonbValue	key;
	JsonbValue	value;

	while (args_next(&it, &key, &value))
	{
		int			intent = find_intent(text_trim(host_utf8(key.val.string.val, key.val.string.len)), n, intents);
		char	   *path = psprintf("descriptions.%s", args_key_excerpt(&key));
		HostText	described;
		TokIds	   *ids;
		SpellVec   *spell;

		if (intent == TRAIN_OTHER)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"descriptions\" names \"%s\", which is not among the intents of the source",
							args_key_excerpt(&key))));
		if (value.type == jbvNull)
			continue;
		if (value.type != jbvString)
			args_wrong_type(path, "a string", &value);
		if (out[intent].n_description > 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"descriptions\" describes intent \"%s\" twice", args_key_excerpt(&key)),
					 errhint("Keys that differ in white space around them are the same intent.")));
		ids = host_array(arena, 1, sizeof(TokIds));
		spell = host_array(arena, 1, sizeof(SpellVec));
		described = host_utf8(value.val.string.val, value.val.string.len);
		if (text_trim(described).len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must not be empty", path)));
		*ids = segment_ids(model, described, arena, spell);
		exec_check_fits(model, "description", described, ids->n);
		out[intent].descriptions = ids;
		out[intent].description_spell = spell;
		out[intent].n_description = 1;
	}
}

static TrainIntent *
make_intents(const StoreModel *model, const TuneOptions *options, int n, const HostText *intents, FsiArena *arena)
{
	TrainIntent *out = host_zero(arena, n, sizeof(TrainIntent));
	TokIds	   *names = host_array(arena, n, sizeof(TokIds));
	SpellVec   *spell = host_array(arena, n, sizeof(SpellVec));

	for (int i = 0; i < n; i++)
	{
		names[i] = segment_ids(model, intents[i], arena, &spell[i]);
		exec_check_fits(model, "intent", intents[i], names[i].n);
		out[i].names = &names[i];
		out[i].name_spell = &spell[i];
		out[i].n_name = 1;
	}
	exec_check_labels(n, names, intents, arena);
	if (options->descriptions != NULL)
		add_descriptions(options->descriptions, model, n, intents, out, arena);
	return out;
}

/* A split of the user's own may have left an intent without rows to learn from. */
static void
tell_untrained(const TrainData *train, const HostText *intents)
{
	bool	   *trained = palloc0(train->n_intent);
	int			first = -1;
	int			n = 0;

	for (int i = 0; i < train->n_text; i++)
		if (train->texts[i].intent != TRAIN_OTHER)
			trained[train->texts[i].intent] = true;
	for (int i = train->n_intent - 1; i >= 0; i--)
		if (!trained[i])
		{
			first = i;
			n++;
		}
	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%d intent has no rows to train on", "%d intents have no rows to train on", n, n),
				 errdetail("All rows of \"%s\" are held out or belong to the split \"test\".",
						   host_utf8_excerpt(intents[first])),
				 errhint("In training it is never the right answer: give some of its rows the split \"train\".")));
	pfree(trained);
}

void
tune_segments_data(TuneRows *rows, const StoreModel *model, const TuneOptions *options, FsiArena *arena, TuneData *data)
{
	const Gpt2Config *cfg = &model->file.model.cfg;
	HostText   *intents = palloc_extended(sizeof(HostText) * rows->n, MCXT_ALLOC_HUGE);
	TrainText  *train = host_array(arena, rows->n_train, sizeof(TrainText));
	TrainText  *eval = host_array(arena, rows->n_eval, sizeof(TrainText));
	int			n;

	memset(data, 0, sizeof(*data));
	n = list_intents(rows, other_answer(rows, options), intents);
	data->train.intents = data->eval.intents = make_intents(model, options, n, intents, arena);
	data->train.n_intent = data->eval.n_intent = n;
	for (int i = 0; i < rows->n; i++)
	{
		const TuneRow *row = &rows->rows[i];
		TrainText	text = {0};
		bool		shortened;

		CHECK_FOR_INTERRUPTS();
		if (row->split == TUNE_SPLIT_TEST)
			continue;
		text.ids = row->ids;
		if (row->split != TUNE_SPLIT_TRAIN)
			exec_spell(model, exec_clip(row->text, &shortened, arena), arena, &text.spell);
		text.intent = find_intent(row->answer, n, intents);
		(void) segment_length(cfg, &text.ids, &shortened);
		rows->n_shortened += shortened;
		if (row->split == TUNE_SPLIT_TRAIN)
			train[data->train.n_text++] = text;
		else
			eval[data->eval.n_text++] = text;
	}
	data->train.texts = train;
	data->eval.texts = eval;
	data->longest = cfg->n_positions;
	data->n_name = n;
	for (int i = 0; i < n; i++)
		data->n_name += data->train.intents[i].n_description;
	data->n_text = data->train.n_text + data->n_name;
	tell_untrained(&data->train, intents);
	pfree(intents);
}

/* ---- Prompt layout. ---- */

static void
append_ids(TokIds *to, const TokIds *from)
{
	memcpy(to->ids + to->n, from->ids, sizeof(int32_t) * from->n);
	to->n += from->n;
}

/*
 * The prompt as serving has it; a special token that a text spells out is text, as in a message that fsi_classify()
 * reads.
 */
static TokIds
prompt_ids(const StoreModel *model, HostText prompt, FsiArena *arena)
{
	const Gpt2Config *cfg = &model->file.model.cfg;

	return exec_tokens_between(&model->file.tok, cfg->begin, prompt, cfg->end_prompt, true, arena);
}

/* The response, with the space before its first word where serving reads it so. */
static TokIds
response_ids(const StoreModel *model, HostText prompt, HostText response, FsiArena *arena)
{
	FsiError	err = {0};
	TokIds		ids;

	HOST_TRY(prompt_label_ids(&model->file.tok, response, prompt, arena, &ids, &err));
	return ids;
}

/* False: it is longer than the model reads and is left out. */
static bool
make_row(const StoreModel *model, const TuneOptions *options, const TuneRow *row, FsiArena *arena, TrainRow *out,
		 TuneQuestion *question)
{
	const Gpt2Config *cfg = &model->file.model.cfg;
	TokIds		whole;

	question->prompt = row->ids;
	question->response = response_ids(model, row->text, row->answer, arena);
	whole.ids = host_array(arena, question->prompt.n + question->response.n + 1, sizeof(int32_t));
	whole.n = 0;
	append_ids(&whole, &question->prompt);
	append_ids(&whole, &question->response);
	whole.ids[whole.n++] = cfg->end;
	*out = (TrainRow) {whole, (int) question->prompt.n};
	/* Its end alone: there is nothing to go on from. */
	if (whole.n < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("prompt and response of a row of the source are both empty"),
				 errhint("Leave such rows out of the source.")));
	if (whole.n <= (size_t) cfg->n_positions)
		return true;
	if (options->too_long == TUNE_TOO_LONG_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("prompt and response have %zu tokens, more than the %d that the model reads", whole.n,
						cfg->n_positions),
				 errdetail("The prompt begins with \"%s\".", host_utf8_excerpt(row->text)),
				 errhint("Make it shorter, or leave such rows out with the option {\"too_long\": \"skip\"}.")));
	return false;
}

/*
 * Column "intents": the options of a row's prompt, as the text of a text[].  A prompt that wants a symbol
 * for an answer, or "none of these", has other options than it names: then they are not taken for those.
 */
static void
read_intents(const StoreModel *model, const TuneRow *row, FsiArena *arena, TuneQuestion *question)
{
	const text *server = host_text(row->intents.s, row->intents.len);
	ArrayType  *array;
	Datum	   *values;
	int			n;
	bool		has_response = false;

	array = DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, text_to_cstring(server), TEXTOID, -1));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	question->intents = host_array(arena, n, sizeof(TokIds));
	for (int i = 0; i < n; i++)
	{
		HostText	intent = host_utf8_text(DatumGetTextPP(values[i]));

		has_response |= args_compare(intent, row->answer) == 0;
		question->intents[question->n_intents++] = response_ids(model, row->text, intent, arena);
	}
	if (!has_response)
		question->n_intents = 0;
}

/* Distinct responses as they follow a prompt. */
static TokIds *
list_responses(const TuneRows *rows, const StoreModel *model, HostText prompt, FsiArena *arena, int *n)
{
	TokIds	   *out = host_array(arena, rows->n, sizeof(TokIds));

	*n = 0;
	for (int i = 0; i < rows->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i == 0 || args_compare(rows->rows[i].answer, rows->rows[i - 1].answer) != 0)
			out[(*n)++] = response_ids(model, prompt, rows->rows[i].answer, arena);
	}
	return out;
}

/* The options of a prompt where the source does not name them; its end decides which of two lists it is. */
static void
take_responses(const TuneRows *rows, const StoreModel *model, const TuneRow *row, FsiArena *arena, TuneData *data,
			   TuneQuestion *question)
{
	bool		spaced = prompt_spaces_label(&model->file.tok, row->text);

	if (data->responses[spaced] == NULL)
		data->responses[spaced] = list_responses(rows, model, row->text, arena, &data->n_response);
	question->n_intents = data->n_response;
	question->intents = data->responses[spaced];
}

/* Every k-th of the held-out rows: they are sorted by response. */
static void
choose_questions(const TuneRows *rows, const StoreModel *model, const TuneOptions *options, int n,
				 const TuneRow *const *asked, TuneQuestion *all, FsiArena *arena, TuneData *data)
{
	data->n_question = Min(n, options->eval_answers);
	data->questions = host_array(arena, data->n_question, sizeof(TuneQuestion));
	for (int i = 0; i < data->n_question; i++)
	{
		int			chosen = (int) ((int64) i * n / data->n_question);

		data->questions[i] = all[chosen];
		if (asked[chosen]->intents.s != NULL)
			read_intents(model, asked[chosen], arena, &data->questions[i]);
		if (data->questions[i].n_intents == 0)
			take_responses(rows, model, asked[chosen], arena, data, &data->questions[i]);
	}
}

void
tune_prompt_data(TuneRows *rows, const StoreModel *model, const TuneOptions *options, FsiArena *arena, TuneData *data)
{
	TrainRow   *train = host_array(arena, rows->n_train, sizeof(TrainRow));
	TrainRow   *eval = host_array(arena, rows->n_eval, sizeof(TrainRow));
	TuneQuestion *questions = host_array(arena, rows->n_eval, sizeof(TuneQuestion));
	const TuneRow **asked = host_array(arena, rows->n_eval, sizeof(TuneRow *));
	int			n_asked = 0;

	memset(data, 0, sizeof(*data));
	for (int i = 0; i < rows->n; i++)
	{
		const TuneRow *row = &rows->rows[i];
		TuneQuestion question = {0};
		TrainRow	made;

		CHECK_FOR_INTERRUPTS();
		if (row->split == TUNE_SPLIT_TEST)
			continue;
		if (!make_row(model, options, row, arena, &made, &question))
		{
			rows->n_skipped++;
			continue;
		}
		data->longest = Max(data->longest, (int) made.ids.n);
		data->max_response = Max(data->max_response, (int) question.response.n);
		if (row->split == TUNE_SPLIT_TRAIN)
			train[data->train.n_row++] = made;
		else
			eval[data->eval.n_row++] = made;
		/* A model without a begin token cannot be asked with nothing. */
		if (row->split == TUNE_SPLIT_EVAL && question.prompt.n > 0)
		{
			questions[n_asked] = question;
			asked[n_asked++] = row;
		}
	}
	if (data->train.n_row == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source has no rows to train on"),
				 errdetail("All of them are longer than the model reads.")));
	data->train.rows = train;
	data->eval.rows = eval;
	choose_questions(rows, model, options, n_asked, asked, questions, arena, data);
}

/* ---- Both. ---- */

static TokIds
text_ids(const StoreModel *model, HostText t, FsiArena *arena)
{
	return model->file.model.cfg.layout == GPT2_SEGMENTS ? segment_ids(model, t, arena, NULL) : prompt_ids(model, t, arena);
}

void
tune_rows_encode(TuneRows *rows, const StoreModel *model, FsiArena *arena)
{
	for (int i = 0; i < rows->n; i++)
	{
		TuneRow    *row = &rows->rows[i];
		HostText	trimmed = text_trim(row->text);

		CHECK_FOR_INTERRUPTS();
		if (row->split == TUNE_SPLIT_TEST)
			continue;
		row->key = row->ids = text_ids(model, row->text, arena);
		if (trimmed.len < row->text.len)
			row->key = text_ids(model, trimmed, arena);
	}
}
