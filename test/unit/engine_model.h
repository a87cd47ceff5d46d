/*
 * engine_model.h
 *	  Random GPT-2 models of any shape, built in memory as an f32 and an int8 twin, and an
 *	  independent forward pass in double to compare with.
 *
 * The f32 twin holds the int8 twin's weights multiplied out, so the two differ by the
 * rounding of activations alone.
 */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fsi_engine.h"
#include "must.h"
#include "tap.h"

typedef struct TestShape
{
	int			n_layer,
				n_head,
				n_embd,
				n_inner,
				n_positions,
				n_vocab;
	KernAct		act;
	bool		tied;
	bool		scale_attn_weights;
	bool		scale_attn_by_inverse_layer_idx;
} TestShape;

typedef struct TestModel
{
	Gpt2Model	f32,
				i8;
} TestModel;

static uint64_t test_random_state = 1;

static inline uint64_t
test_random(void)
{
	return fsi_mix64(test_random_state += FSI_GOLDEN64);
}

static inline int
test_below(int n)
{
	return (int) (test_random() % (uint64_t) n);
}

/* Roughly normal, unit variance. */
static inline float
test_normal(void)
{
	double		sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (double) (test_random() >> 11) * 0x1p-53;
	return (float) (sum - 6);
}

static inline void *
test_alloc(FsiArena *arena, size_t n, size_t size)
{
	void	   *p = fsi_arena_zero(arena, n, size);

	if (p == NULL)
	{
		printf("Bail out! no memory\n");
		exit(1);
	}
	return p;
}

static inline float *
test_floats(FsiArena *arena, size_t n, float scale, float around)
{
	float	   *v = test_alloc(arena, n, sizeof(float));

	for (size_t i = 0; i < n; i++)
		v[i] = around + scale * test_normal();
	return v;
}

/* One random matrix as int8 panels and as the floats these stand for. */
static inline void
test_matrix(FsiArena *arena, int k, int n, float scale, bool transposed, KernMatrix *f32, KernMatrix *i8)
{
	float	   *w = test_floats(arena, (size_t) k * n, scale, 0),
			   *column = test_alloc(arena, k, sizeof(float));
	int8_t	   *panels = test_alloc(arena, kern_panel_bytes(k, n), 1);
	float	   *scales = test_alloc(arena, KERN_ROUND_UP(n, KERN_PANEL), sizeof(float));
	int32_t    *comp = test_alloc(arena, KERN_ROUND_UP(n, KERN_PANEL), sizeof(int32_t));

	kern_pack_i8(k, n, w, transposed, panels, scales, comp);
	*i8 = (KernMatrix) {.type = KERN_I8, .k = k, .n = n, .panels = panels, .scale = scales, .comp = comp};
	for (int j = 0; j < n; j++)
	{
		kern_matrix_column(i8, j, column);
		for (int i = 0; i < k; i++)
			w[transposed ? (size_t) j * k + i : (size_t) i * n + j] = column[i];
	}
	*f32 = (KernMatrix) {.type = KERN_F32, .k = k, .n = n, .w = w, .transposed = transposed};
}

static inline void
test_model(FsiArena *arena, TestShape s, TestModel *out)
{
	int			E = s.n_embd;
	Gpt2Layer  *f32 = test_alloc(arena, s.n_layer, sizeof(Gpt2Layer)),
			   *i8 = test_alloc(arena, s.n_layer, sizeof(Gpt2Layer));
	Gpt2Model  *m = &out->f32;

	memset(out, 0, sizeof(*out));
	m->cfg = (Gpt2Config) {
		.n_layer = s.n_layer, .n_head = s.n_head, .n_embd = E, .n_inner = s.n_inner, .n_positions = s.n_positions,
		.n_vocab = s.n_vocab, .act = s.act, .ln_eps = 1e-5f, .tied = s.tied,
		.scale_attn_weights = s.scale_attn_weights,
		.scale_attn_by_inverse_layer_idx = s.scale_attn_by_inverse_layer_idx,
		.layout = GPT2_PROMPT, .begin = 0, .end_prompt = 1, .end = 1,
	};
	m->wpe = test_floats(arena, (size_t) s.n_positions * E, 0.3f, 0);
	m->lnf_gain = test_floats(arena, E, 0.2f, 1);
	m->lnf_bias = test_floats(arena, E, 0.2f, 0);
	m->readout_q = test_floats(arena, (size_t) E * E, 0.3f, 0);
	m->readout_k = test_floats(arena, (size_t) E * E, 0.3f, 0);
	for (int l = 0; l < s.n_layer; l++)
	{
		Gpt2Layer  *L = &f32[l];
		float		scale = 1.5f / sqrtf((float) E);
		KernMatrix	quad[4];

		L->ln1_gain = test_floats(arena, E, 0.2f, 1);
		L->ln1_bias = test_floats(arena, E, 0.2f, 0);
		L->ln2_gain = test_floats(arena, E, 0.2f, 1);
		L->ln2_bias = test_floats(arena, E, 0.2f, 0);
		L->qkv_bias = test_floats(arena, 3 * E, 0.1f, 0);
		L->proj_bias = test_floats(arena, E, 0.1f, 0);
		L->fc_bias = test_floats(arena, s.n_inner, 0.1f, 0);
		L->out_bias = test_floats(arena, E, 0.1f, 0);
		test_matrix(arena, E, 3 * E, scale, false, &L->qkv, &quad[0]);
		test_matrix(arena, E, E, scale, false, &L->proj, &quad[1]);
		test_matrix(arena, E, s.n_inner, scale, false, &L->fc, &quad[2]);
		test_matrix(arena, s.n_inner, E, scale / 2, false, &L->out, &quad[3]);
		i8[l] = *L;
		i8[l].qkv = quad[0], i8[l].proj = quad[1], i8[l].fc = quad[2], i8[l].out = quad[3];
	}
	out->i8 = *m;
	m->layers = f32;
	out->i8.layers = i8;
	test_matrix(arena, E, s.n_vocab, 1.0f, true, &m->wte, &out->i8.wte);
	m->head = m->wte, out->i8.head = out->i8.wte;
	if (!s.tied)
		test_matrix(arena, E, s.n_vocab, 1.0f, true, &m->head, &out->i8.head);
}

static inline void
test_tokens(int n_vocab, int n, int32_t *out)
{
	for (int i = 0; i < n; i++)
		out[i] = 2 + test_below(n_vocab - 2);
}

/* ---- an independent forward pass, in double, of one whole sequence ---- */

static inline double
slow_act(double x, KernAct act)
{
	if (act == KERN_ACT_GELU_NEW)
		return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	if (act == KERN_ACT_GELU)
		return 0.5 * x * (1 + erf(x / sqrt(2)));
	return act == KERN_ACT_RELU && x < 0 ? 0 : x;
}

static inline void
slow_norm(int n, const double *x, const float *gain, const float *bias, double eps, double *y)
{
	double		mean = 0,
				var = 0;

	for (int i = 0; i < n; i++)
		mean += x[i] / n;
	for (int i = 0; i < n; i++)
		var += (x[i] - mean) * (x[i] - mean) / n;
	for (int i = 0; i < n; i++)
		y[i] = (x[i] - mean) / sqrt(var + eps) * gain[i] + bias[i];
}

static inline void
slow_linear(const double *x, const KernMatrix *w, const float *bias, double *y)
{
	for (int j = 0; j < w->n; j++)
	{
		y[j] = bias == NULL ? 0 : bias[j];
		for (int i = 0; i < w->k; i++)
			y[j] += x[i] * w->w[w->transposed ? (size_t) j * w->k + i : (size_t) i * w->n + j];
	}
}

/* ln_f(h) of every token of an f32 model: hidden (T, E). */
static inline void
slow_forward(const Gpt2Model *m, int T, const int32_t *tokens, double *hidden)
{
	int			E = m->cfg.n_embd,
				D = E / m->cfg.n_head,
				I = m->cfg.n_inner;
	double	   *x = calloc((size_t) T * E, sizeof(double)),
			   *qkv = calloc((size_t) T * 3 * E, sizeof(double)),
			   *a = calloc(E > I ? E : I, sizeof(double)),
			   *b = calloc(E > I ? E : I, sizeof(double)),
			   *s = calloc(T, sizeof(double));

	for (int t = 0; t < T; t++)
		for (int i = 0; i < E; i++)
			x[t * E + i] = (double) m->wte.w[(size_t) tokens[t] * E + i] + m->wpe[t * E + i];
	for (int l = 0; l < m->cfg.n_layer; l++)
	{
		const Gpt2Layer *L = &m->layers[l];
		double		scale = m->cfg.scale_attn_weights ? 1 / sqrt(D) : 1;

		if (m->cfg.scale_attn_by_inverse_layer_idx)
			scale /= l + 1;
		for (int t = 0; t < T; t++)
		{
			slow_norm(E, x + t * E, L->ln1_gain, L->ln1_bias, m->cfg.ln_eps, a);
			slow_linear(a, &L->qkv, L->qkv_bias, qkv + t * 3 * E);
		}
		for (int t = 0; t < T; t++)
		{
			for (int h = 0; h < E; h += D)
			{
				double		max = -1e300,
							sum = 0;

				for (int j = 0; j <= t; j++)
				{
					s[j] = 0;
					for (int d = h; d < h + D; d++)
						s[j] += scale * qkv[t * 3 * E + d] * qkv[j * 3 * E + E + d];
					max = s[j] > max ? s[j] : max;
				}
				for (int j = 0; j <= t; j++)
					sum += s[j] = exp(s[j] - max);
				for (int d = h; d < h + D; d++)
				{
					a[d] = 0;
					for (int j = 0; j <= t; j++)
						a[d] += s[j] / sum * qkv[j * 3 * E + 2 * E + d];
				}
			}
			slow_linear(a, &L->proj, L->proj_bias, b);
			for (int i = 0; i < E; i++)
				x[t * E + i] += b[i];
			slow_norm(E, x + t * E, L->ln2_gain, L->ln2_bias, m->cfg.ln_eps, a);
			slow_linear(a, &L->fc, L->fc_bias, b);
			for (int i = 0; i < I; i++)
				b[i] = slow_act(b[i], m->cfg.act);
			slow_linear(b, &L->out, L->out_bias, a);
			for (int i = 0; i < E; i++)
				x[t * E + i] += a[i];
		}
	}
	for (int t = 0; t < T; t++)
		slow_norm(E, x + t * E, m->lnf_gain, m->lnf_bias, m->cfg.ln_eps, hidden + t * E);
	free(x), free(qkv), free(a), free(b), free(s);
}

#endif
