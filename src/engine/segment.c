/*
 * segment.c
 *	  Segments: a text's tokens become one unit vector, the mean of ln_f(h).
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "work.h"

/* One pass of the forward's size; a longer segment makes a batch of its own. */
#define BATCH_TOKENS 512
#define BATCH_SEGMENTS 128

/* v /= |v|; a zero vector stays one.  False where hostile weights have made it overflow. */
static bool
unit(const KernOps *ops, int n, float *v)
{
	float		norm = sqrtf(ops->dot(n, v, v));

	if (norm > 0)
		for (int i = 0; i < n; i++)
			v[i] /= norm;
	return norm <= FLT_MAX;
}

int
segment_length(const Gpt2Config *cfg, const TokIds *text, bool *shortened)
{
	int			marks = (cfg->begin != TOK_NONE) + (cfg->end != TOK_NONE);

	*shortened = text->n > (size_t) (cfg->n_positions - marks);
	return *shortened ? cfg->n_positions : (int) text->n + marks;
}

void
segment_write(const Gpt2Config *cfg, const TokIds *text, int n, int32_t *out)
{
	int			room = n - (cfg->begin != TOK_NONE) - (cfg->end != TOK_NONE),
				head = (size_t) room < text->n ? room - room / 2 : room,
				tail = room - head;

	if (cfg->begin != TOK_NONE)
		*out++ = cfg->begin;
	if (room > 0)
		memcpy(out, text->ids, head * sizeof(int32_t));
	if (tail > 0)
		memcpy(out + head, text->ids + (text->n - tail), tail * sizeof(int32_t));
	if (cfg->end != TOK_NONE)
		out[room] = cfg->end;
}

/* z of n segments whose tokens fit into one batch. */
static FsiStatus
encode_batch(const Gpt2Model *model, Gpt2Work *work, int n, const Gpt2Seq *seqs, int n_token,
			 float *z, FsiError *err)
{
	const KernOps *ops = work->ops;
	int			E = model->cfg.n_embd;
	float	   *hidden;			/* (n_token, E) */

	FSI_TRY(work_take(work, WORK_SEGMENTS, n_token, E * sizeof(float), &hidden, err));
	FSI_TRY(gpt2_forward(model, work, n, seqs, GPT2_ALL, hidden, err));
	for (int s = 0; s < n; s++, z += E)
	{
		memcpy(z, hidden, E * sizeof(float));
		for (int i = 1; i < seqs[s].n_token; i++)
			ops->add(E, z, hidden + (size_t) i * E);
		if (!unit(ops, E, z))
			return fsi_fail(err, FSI_CORRUPT, "segments whose vectors are not numbers");
		hidden += (size_t) seqs[s].n_token * E;
	}
	return FSI_OK;
}

FsiStatus
segment_encode(const Gpt2Model *model, Gpt2Work *work, int n, const TokIds *texts,
			   float *z, int *shortened, FsiArena *arena, FsiError *err)
{
	const Gpt2Config *cfg = &model->cfg;
	int			room = cfg->n_positions > BATCH_TOKENS ? cfg->n_positions : BATCH_TOKENS;
	FsiArenaMark mark = fsi_arena_mark(arena);
	Gpt2Seq    *seqs = fsi_arena_zero(arena, BATCH_SEGMENTS, sizeof(Gpt2Seq));
	int32_t    *tokens = fsi_arena_array(arena, room, sizeof(int32_t));
	FsiStatus	status = FSI_OK;
	int			cut = 0;

	if (seqs == NULL || tokens == NULL)
		return fsi_nomem(err, BATCH_SEGMENTS * sizeof(Gpt2Seq) + room * sizeof(int32_t));
	for (int from = 0, to = 0; from < n && status == FSI_OK; from = to)
	{
		int			n_token = 0;
		bool		too_long;

		for (to = from; to < n && to - from < BATCH_SEGMENTS; to++)
		{
			int			length = segment_length(cfg, &texts[to], &too_long);

			if (length < 1)
				return fsi_fail(err, FSI_INVALID, "a segment without tokens");
			if (to > from && n_token + length > BATCH_TOKENS)
				break;
			segment_write(cfg, &texts[to], length, tokens + n_token);
			seqs[to - from] = (Gpt2Seq) {.n_token = length, .tokens = tokens + n_token};
			n_token += length;
			cut += too_long;
		}
		status = encode_batch(model, work, to - from, seqs, n_token, z + (size_t) from * cfg->n_embd, err);
	}
	fsi_arena_release(arena, mark);
	if (status == FSI_OK && shortened != NULL)
		*shortened = cut;
	return status;
}

void
segment_project(const Gpt2Model *model, const KernOps *ops, int n, const float *z, bool message, float *out)
{
	int			E = model->cfg.n_embd;

	ops->gemv_f32(n, E, E, z, message ? model->readout_q : model->readout_k, out);
	for (int i = 0; i < n; i++)
		(void) unit(ops, E, out + (size_t) i * E);
}
