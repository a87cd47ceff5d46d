/*
 * single.c
 *	  One text at a time: its vector, its tokens, its continuation, its prompt.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "exec.h"

static void
warn_text_shortened(ExecSlot *slot, bool clipped, size_t tokens, int room)
{
	if (slot->warned)
		return;
	slot->warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING_STRING_DATA_RIGHT_TRUNCATION),
			 clipped ?
			 errmsg("text of more than %d MB was shortened to the %d tokens that the model reads", EXEC_CLIP_BYTES >> 20, room) :
			 errmsg("text of %zu tokens was shortened to the %d that the model reads", tokens, room),
			 errdetail("Its head and tail were kept. The statement may hold more such texts.")));
}

float *
exec_embed(const StoreModel *model, ExecSlot *slot, HostText message)
{
	FsiError	err = {0};
	ExecCall	call;
	const Gpt2Config *cfg = &model->file.model.cfg;
	float	   *z = palloc(sizeof(float) * cfg->n_embd);
	int			shortened = 0;
	int			room = cfg->n_positions - (cfg->begin != TOK_NONE) - (cfg->end != TOK_NONE);
	bool		clipped;
	TokIds		ids;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	exec_call_begin(&call, model);
	message = exec_clip(message, &clipped, &call.arena);
	HOST_TRY(tok_encode_plain(&model->file.tok, message.s, message.len, &call.arena, &ids, &err));
	HOST_TRY(segment_encode(&model->file.model, exec_work(), 1, &ids, z, &shortened, &call.arena, &err));
	exec_count.rows++;
	exec_count.batches++;
	exec_count.tokens += Min(ids.n, (size_t) room);
	exec_count.shortened += shortened > 0 || clipped;
	exec_call_end(&call);
	exec_count_time(start);
	if (shortened > 0 || clipped)
		warn_text_shortened(slot, clipped, ids.n, room);
	return z;
}

/* Room for n int4s; not construct_array(), which would want each as a Datum and cannot be cancelled. */
static ArrayType *
new_array(size_t n)
{
	ArrayType  *array;
	size_t		bytes = ARR_OVERHEAD_NONULLS(1) + sizeof(int32) * n;

	if (n == 0)
		return construct_empty_array(INT4OID);
	array = palloc(bytes);
	memset(array, 0, ARR_OVERHEAD_NONULLS(1));
	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->elemtype = INT4OID;
	ARR_DIMS(array)[0] = (int) n;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

ArrayType *
exec_tokens(const StoreModel *model, HostText message)
{
	FsiError	err = {0};
	ExecCall	call;
	const Gpt2Config *cfg = &model->file.model.cfg;
	int32_t		last = cfg->layout == GPT2_PROMPT ? cfg->end_prompt : cfg->end;
	TokIds		plain;
	ArrayType  *out;
	int32	   *ids;
	size_t		n;

	exec_call_begin(&call, model);
	HOST_TRY(tok_encode_plain(&model->file.tok, message.s, message.len, &call.arena, &plain, &err));
	n = plain.n + (cfg->begin != TOK_NONE) + (last != TOK_NONE);
	if (n > (MaxAllocSize - ARR_OVERHEAD_NONULLS(1)) / sizeof(int32))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%zu tokens are too many for an array", n)));
	out = new_array(n);
	ids = (int32 *) ARR_DATA_PTR(out);
	if (cfg->begin != TOK_NONE)
		*ids++ = cfg->begin;
	HOST_TRY(fsi_copy(&call.host, ids, plain.ids, sizeof(int32) * plain.n, &err));
	if (last != TOK_NONE)
		ids[plain.n] = last;
	exec_call_end(&call);
	return out;
}

text *
exec_generate(const StoreModel *model, const char *name, HostText prompt, const SampleOptions *options)
{
	FsiError	err = {0};
	ExecCall	call;
	const Gpt2Config *cfg = &model->file.model.cfg;
	TokIds		whole;
	TokIds		out;
	char	   *s;
	size_t		len;
	text	   *result;

	write_check_model(model, name);
	exec_call_begin(&call, model);
	/* The prompt is the caller's own: special tokens in it are meant. */
	whole = exec_tokens_between(&model->file.tok, cfg->begin, prompt, cfg->end_prompt, false, &call.arena);
	if (whole.n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("prompt must not be empty")));
	if (whole.n >= (size_t) cfg->n_positions)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("prompt has %zu tokens, but model \"%s\" reads at most %d",
						whole.n, name, cfg->n_positions - 1),
				 errdetail("Of its %d positions at least one is for what it writes.", cfg->n_positions),
				 errhint("Shorten the prompt; fsi_tokens(text, model) counts tokens, special ones as text.")));
	HOST_TRY(gpt2_generate(&model->file.model, exec_work(), whole.ids, (int) whole.n, options,
						   &call.arena, &out, &err));
	HOST_TRY(tok_decode(&model->file.tok, out.ids, out.n, true, &call.arena, &s, &len, &err));
	result = host_text(s, len);
	exec_call_end(&call);
	return result;
}

text *
exec_prompt_text(const ExecQuestion *question, HostText message)
{
	ExecCall	call;
	text	   *result;

	if (question->model->file.model.cfg.layout == GPT2_SEGMENTS)
		return segments_prompt_text(question, message);
	exec_call_begin(&call, question->model);
	result = prompt_prompt_text(question, message, &call);
	exec_call_end(&call);
	return result;
}
