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

/* A text as the tokenizer gives it back. */
typedef struct Form
{
	HostText	text;			/* without white space at both ends */
	HostText	plain;			/* without any */
} Form;

static bool
is_space(char c)
{
	return strchr(" \t\n\r\v\f", c) != NULL;
}

static Form
form_of(const Tokenizer *tok, TokIds ids, FsiArena *arena)
{
	FsiError	err = {0};
	Form		form = {{NULL, 0}, {NULL, 0}};
	char	   *text;
	char	   *plain;
	size_t		len;

	HOST_TRY(tok_decode(tok, ids.ids, ids.n, false, arena, &text, &len, &err));
	while (len > 0 && is_space(text[len - 1]))
		len--;
	for (; len > 0 && is_space(*text); len--)
		text++;
	plain = host_array(arena, len, 1);
	for (size_t i = 0; i < len; i++)
		if (!is_space(text[i]))
			plain[form.plain.len++] = text[i];
	form.plain.s = plain;
	form.text = (HostText) {text, len};
	return form;
}

static bool
is_same(HostText a, HostText b)
{
	return a.len == b.len && memcmp(a.s, b.s, a.len) == 0;
}

/* The label that was written; of labels that differ in white space alone the one with the same. */
static int
find_form(const Form *forms, int n, Form form)
{
	int			found = EXEC_NO_ANSWER;

	for (int i = 0; i < n; i++)
	{
		if (is_same(forms[i].text, form.text))
			return i;
		if (found == EXEC_NO_ANSWER && is_same(forms[i].plain, form.plain))
			found = i;
	}
	return found;
}

void
write_answers(ExecSet *set, ExecCall *call, int n, const ExecRow *rows)
{
	FsiError	err = {0};
	const Tokenizer *tok = &set->model->file.tok;
	TokIds	   *written = host_array(&call->arena, n, sizeof(TokIds));
	Form	   *forms = host_array(&call->arena, set->n_labels, sizeof(Form));
	int			limit;

	for (int i = 0; i < set->n_labels; i++)
	{
		HostText	label = host_utf8_text(set->labels[i]);
		TokIds		ids;

		HOST_TRY(tok_encode_plain(tok, label.s, label.len, &call->arena, &ids, &err));
		forms[i] = form_of(tok, ids, &call->arena);
	}
	limit = prompt_write(set, call, n, rows, written);
	for (int i = 0; i < n; i++)
	{
		/* One that was cut off goes on, even where no more than white space is seen of that. */
		if (written[i].n >= (size_t) limit)
			rows[i].answer->label = EXEC_NO_ANSWER;
		else
			rows[i].answer->label = find_form(forms, set->n_labels, form_of(tok, written[i], &call->arena));
	}
}

void
exec_generate_answers(ExecSet *set, ExecSlot *slot, int n, const HostText *messages, ExecAnswer *answers)
{
	write_check_model(set->model, exec_model_name(set));
	exec_answer(set, slot, EXEC_WRITE, n, messages, answers, NULL);
}
