/*
 * answers.c
 *	  Prompt models: answer held-out prompts freely, and look for the two symptoms of their training.
 *
 * An answer that is none of the prompt's options says that the prompt was not understood (the
 * card of the published checkpoint: over-fitting); a wrong one among them, that it was read
 * superficially.  Answers are compared as tokens.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "tune.h"

/* Tokens beyond the longest response, so that an answer which goes on too long is not taken for one that ends. */
#define MORE_TOKENS 8

static bool
is_same(const TokIds *a, const TokIds *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->ids, b->ids, sizeof(int32_t) * a->n) == 0);
}

static bool
is_among(const TokIds *answer, int n, const TokIds *options)
{
	for (int i = 0; i < n; i++)
		if (is_same(answer, &options[i]))
			return true;
	return false;
}

void
tune_answer(Train *train, const TuneData *data, TuneRates *rates)
{
	FsiError	err = {0};
	const Gpt2Model *model = train_model(train);
	SampleOptions greedy = {.max_new_tokens = data->max_response + MORE_TOKENS, .top_p = 1, .repetition_penalty = 1};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent answers", ALLOCSET_DEFAULT_SIZES);
	FsiHost		host;
	FsiArena	arena;
	int			right = 0;
	int			outside = 0;

	host_init(&host, context);
	fsi_arena_init(&arena, &host);
	for (int i = 0; i < data->n_question; i++)
	{
		const TuneQuestion *q = &data->questions[i];
		TokIds		answer = {NULL, 0};

		CHECK_FOR_INTERRUPTS();
		/* A prompt that fills the context leaves no room for an answer. */
		if (q->prompt.n < (size_t) model->cfg.n_positions)
			HOST_TRY(gpt2_generate(model, exec_work(), q->prompt.ids, (int) q->prompt.n, &greedy, &arena, &answer, &err));
		if (is_same(&answer, &q->response))
			right++;
		else if (!is_among(&answer, q->n_intents, q->intents))
			outside++;
		fsi_arena_free(&arena);
	}
	MemoryContextDelete(context);
	rates->right = (double) right / data->n_question;
	rates->outside = (double) outside / data->n_question;
	rates->wrong = (double) (data->n_question - right - outside) / data->n_question;
}
