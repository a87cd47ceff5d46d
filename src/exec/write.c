/*
 * write.c
 *	  What a prompt model writes when nothing holds it to the labels, and which label that is.
 *
 * Written answers and labels are compared as the tokenizer gives them back, without white
 * space: a WordPiece vocabulary has lost spacing, case and rare characters of both alike.
 */
#include "postgres.h"

#include "exec.h"

void
write_check_model(const StoreModel *model, const char *name)
{
	if (model->file.model.cfg.layout == GPT2_PROMPT)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("model \"%s\" does not generate text", name),
			 errdetail("It compares segments and was not trained to continue a text."),
			 errhint("Import a GPT-2 with fsi_import_model() and give its name.")));
}

/* The tokens' text without white space. */
static HostText
plain_form(const Tokenizer *tok, TokIds ids, FsiArena *arena)
{
	FsiError	err = {0};
	HostText	form;
	char	   *s;
	size_t		len;

	HOST_TRY(tok_decode(tok, ids.ids, ids.n, false, arena, &s, &len, &err));
	form.s = s;
	form.len = 0;
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\n\r\v\f", s[i]) == NULL)
			s[form.len++] = s[i];
	return form;
}

static int
find_form(const HostText *forms, int n, HostText form)
{
	for (int i = 0; i < n; i++)
		if (forms[i].len == form.len && memcmp(forms[i].s, form.s, form.len) == 0)
			return i;
	return EXEC_NO_ANSWER;
}

void
write_answers(ExecSet *set, ExecCall *call, int n, const ExecRow *rows)
{
	FsiError	err = {0};
	const Tokenizer *tok = &set->model->file.tok;
	TokIds	   *written = host_array(&call->arena, n, sizeof(TokIds));
	HostText   *forms = host_array(&call->arena, set->n_labels, sizeof(HostText));

	for (int i = 0; i < set->n_labels; i++)
	{
		HostText	label = host_utf8_text(set->labels[i]);
		TokIds		ids;

		HOST_TRY(tok_encode_plain(tok, label.s, label.len, &call->arena, &ids, &err));
		forms[i] = plain_form(tok, ids, &call->arena);
	}
	prompt_write(set, call, n, rows, written);
	for (int i = 0; i < n; i++)
		rows[i].answer->label = find_form(forms, set->n_labels, plain_form(tok, written[i], &call->arena));
}

void
exec_generate_answers(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, ExecAnswer *answers)
{
	write_check_model(set->model, exec_model_name(set));
	exec_answer(set, slot, EXEC_WRITE, n, messages, answers, NULL);
}
