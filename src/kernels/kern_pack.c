/*
 * kern_pack.c
 *	  Weights into int8 panels and back.
 */
#include <math.h>
#include <string.h>

#include "kern_internal.h"

size_t
kern_panel_bytes(int k, int n)
{
	return (size_t) KERN_ROUND_UP((size_t) k, KERN_QUAD) * KERN_ROUND_UP((size_t) n, KERN_PANEL);
}

/* Where weight (k, n) lies in panels of a matrix with that k. */
static size_t
panel_offset(int k_total, int k, int n)
{
	size_t		k4 = KERN_ROUND_UP((size_t) k_total, KERN_QUAD) / KERN_QUAD;

	return (((size_t) n / KERN_PANEL * k4 + (size_t) k / KERN_QUAD) * KERN_PANEL + n % KERN_PANEL) * KERN_QUAD +
		k % KERN_QUAD;
}

/*
 * A zero or vanishing column gives scale 0.  Weights are divided by the scale, as the
 * recipe's quant.py does: times its reciprocal, 20 in a million would round the other way.
 */
void
kern_pack_i8_columns(int k, int n, int first, int end, const float *w, bool transposed, int8_t *panels, float *scale,
					 int32_t *comp)
{
	int8_t	   *packed = panels + kern_panel_bytes(k, first);

	memset(packed, 0, kern_panel_bytes(k, end - first));
	memset(scale + first, 0, KERN_ROUND_UP((size_t) (end - first), KERN_PANEL) * sizeof(float));
	for (int c = first; c < end; c++)
	{
		const float *from = transposed ? w + (size_t) c * k : w + c;
		size_t		stride = transposed ? 1 : (size_t) n;
		float		amax = 0.0f;

		for (int i = 0; i < k; i++)
			amax = fmaxf(amax, fabsf(kern_clean(from[i * stride])));
		if (amax < KERN_AMAX_MIN)
			continue;
		scale[c] = amax / 127.0f;
		for (int i = 0; i < k; i++)
			panels[panel_offset(k, i, c)] =
				(int8_t) (kern_clean(from[i * stride]) / scale[c] + KERN_ROUND - KERN_ROUND);
	}
	kern_panel_comp(k, end - first, packed, comp + first);
}

void
kern_pack_i8(int k, int n, const float *w, bool transposed, int8_t *panels, float *scale, int32_t *comp)
{
	kern_pack_i8_columns(k, n, 0, n, w, transposed, panels, scale, comp);
}

void
kern_panel_comp(int k, int n, const int8_t *panels, int32_t *comp)
{
	int			k4 = KERN_ROUND_UP(k, KERN_QUAD) / KERN_QUAD;
	int			n16 = KERN_ROUND_UP(n, KERN_PANEL);

	for (int c = 0; c < n16; c += KERN_PANEL)
	{
		memset(comp + c, 0, KERN_PANEL * sizeof(int32_t));
		for (int i = 0; i < k4; i++, panels += KERN_STEP_BYTES)
			for (int j = 0; j < KERN_STEP_BYTES; j++)
				comp[c + j / KERN_QUAD] += 128 * panels[j];
	}
}

void
kern_matrix_column(const KernMatrix *w, int n, float *out)
{
	if (w->type == KERN_I8)
	{
		const int8_t *from = w->panels + panel_offset(w->k, 0, n);
		float		scale = w->scale[n];

		/* Four neighbours, then a step of the panel; its last ones may be padding. */
		for (int i = 0; i < w->k; i += KERN_QUAD, from += KERN_STEP_BYTES)
		{
			int			quad = w->k - i < KERN_QUAD ? w->k - i : KERN_QUAD;

			for (int j = 0; j < quad; j++)
				out[i + j] = (float) from[j] * scale;
		}
		return;
	}
	for (int i = 0; i < w->k; i++)
		out[i] = w->transposed ? w->w[(size_t) n * w->k + i] : w->w[(size_t) i * w->n + n];
}
