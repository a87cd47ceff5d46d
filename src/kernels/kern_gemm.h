/*
 * kern_gemm.h
 *	  What follows the level's integer tile, and single columns; included by each level.
 *
 * A level defines
 *	tile_dot(rows, panels, q, ldq, w, comp, k4, acc): acc[r][panel * 16 + channel] =
 *		sum_k (q[r][k] - 128) w[k][...] of neighbouring panels, exact in int32.
 * gemm_i8() is that of kern_gemm_in_place.h or the level's own.
 */
#ifndef KERN_GEMM_H
#define KERN_GEMM_H

/* tile_finish() of one kind; whole: no panel reaches past the last column. */
KERN_INLINE void
tile_finish_as(const KernAct act, const bool residual, const bool whole, int rows, int panels, const int32_t *acc,
			   const KernCode *code, const KernMatrix *w, int col, const float *bias, float *y, int ldy)
{
	for (int p = 0; p < panels; p++, col += KERN_PANEL)
	{
		v16			wscale = v_load(w->scale + col);
		v16			b = bias ? part_load(whole, bias, w->n, col) : v_set(0.0f);

		for (int r = 0; r < rows; r++)
		{
			float	   *to = y + (size_t) r * ldy;
			v16			x = v_from_dot(acc + (r * panels + p) * KERN_PANEL, code[r].zero, w->comp + col);

			x = v_fma(x, v_mul(v_set(code[r].scale), wscale), b);
			if (residual)
				x = v_add(part_load(whole, to, w->n, col), x);
			else
				x = v_act(x, act);
			part_store(whole, to, w->n, col, x);
		}
	}
}

/* y of gemm_i8() from a tile's sums; its first column is col. */
static void
tile_finish(int rows, int panels, const int32_t *acc, const KernCode *code, const KernMatrix *w, int col,
			const float *bias, KernAct act, bool residual, float *y, int ldy)
{
	if (col + panels * KERN_PANEL > w->n)
		tile_finish_as(act, residual, false, rows, panels, acc, code, w, col, bias, y, ldy);
	else if (residual)
		tile_finish_as(KERN_ACT_NONE, true, true, rows, panels, acc, code, w, col, bias, y, ldy);
	else if (act == KERN_ACT_GELU_NEW)
		tile_finish_as(KERN_ACT_GELU_NEW, false, true, rows, panels, acc, code, w, col, bias, y, ldy);
	else
		tile_finish_as(act, false, true, rows, panels, acc, code, w, col, bias, y, ldy);
}

static void
gemv_i8_cols(const uint8_t *q, const KernCode *code, const KernMatrix *w, int n, const int32_t *cols, float *y)
{
	int			k4 = KERN_ROUND_UP(w->k, KERN_QUAD) / KERN_QUAD;
	int32_t		acc[KERN_PANEL] __attribute__((aligned(64)));

	for (int j = 0; j < n; j++)
	{
		int			panel = cols[j] / KERN_PANEL,
					lane = cols[j] % KERN_PANEL;
		float		out[KERN_PANEL];

		tile_dot(1, 1, q, KERN_QUAD * k4, w->panels + (size_t) panel * k4 * KERN_STEP_BYTES,
				 w->comp + panel * KERN_PANEL, k4, acc);
		v_store(out, v_fma(v_from_dot(acc, code->zero, w->comp + panel * KERN_PANEL),
						   v_mul(v_set(code->scale), v_load(w->scale + panel * KERN_PANEL)), v_set(0.0f)));
		y[j] = out[lane];
	}
}

#endif
