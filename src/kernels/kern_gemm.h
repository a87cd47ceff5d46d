/*
 * kern_gemm.h
 *	  int8 GEMM over the level's integer tile; included by each level.
 *
 * A level defines
 *	tile_dot(rows, panels, q, ldq, w, comp, k4, acc): acc[r][panel * 16 + channel] =
 *		sum_k q[r][k] w[k][...] - comp[...] of neighbouring panels, exact in int32;
 *	tile_panels(m), tile_rows(panels): the shape it likes for m rows.
 * Panels are the outer loop: a few of them stay in the L1 or L2 cache while all rows pass.
 * A level with something better for many rows (KERN_OWN_GEMM) writes gemm_i8() itself.
 */
#ifndef KERN_GEMM_H
#define KERN_GEMM_H

/* y = act(fma((float) acc, ascale * wscale, bias)) for a tile whose first column is col. */
static void
tile_finish(int rows, int panels, const int32_t *acc, const float *ascale, const KernMatrix *w, int col,
			const float *bias, KernAct act, bool residual, float *y, int ldy)
{
	for (int p = 0; p < panels; p++, col += KERN_PANEL)
	{
		v16			wscale = v_load(w->scale + col);
		v16			b = bias ? row_load(bias, w->n, col) : v_set(0.0f);

		for (int r = 0; r < rows; r++)
		{
			float	   *to = y + (size_t) r * ldy;
			v16			x = v_from_int(acc + (r * panels + p) * KERN_PANEL);

			x = v_fma(x, v_mul(v_set(ascale[r]), wscale), b);
			if (residual)
				x = v_add(row_load(to, w->n, col), x);
			else
				x = v_act(x, act);
			row_store(to, w->n, col, x);
		}
	}
}

/* The weights where they lie. */
static void
gemm_in_place(int m, const uint8_t *q, int ldq, const float *ascale, const KernMatrix *w, const float *bias,
			  KernAct act, bool residual, float *y, int ldy)
{
	int			k4 = KERN_ROUND_UP(w->k, KERN_QUAD) / KERN_QUAD;
	int			n_panel = KERN_ROUND_UP(w->n, KERN_PANEL) / KERN_PANEL;
	int			step = tile_panels(m);
	int32_t		acc[KERN_TILE_MAX * KERN_PANEL] __attribute__((aligned(64)));

	for (int p = 0; p < n_panel;)
	{
		int			panels = n_panel - p >= step ? step : 1;
		int			most = tile_rows(panels);
		int			blocks = (m + most - 1) / most;
		const int8_t *wp = w->panels + (size_t) p * k4 * KERN_STEP_BYTES;

		/* Blocks of nearly equal height: the last one is not a thin rest. */
		for (int b = 0, i = 0; b < blocks; b++)
		{
			int			rows = (m - i) / (blocks - b);

			tile_dot(rows, panels, q + (size_t) i * ldq, ldq, wp, w->comp + p * KERN_PANEL, k4, acc);
			tile_finish(rows, panels, acc, ascale + i, w, p * KERN_PANEL, bias, act, residual,
						y + (size_t) i * ldy, ldy);
			i += rows;
		}
		p += panels;
	}
}

#ifndef KERN_OWN_GEMM
static void
gemm_i8(int m, const uint8_t *q, int ldq, const float *ascale, const KernMatrix *w, const float *bias,
		KernAct act, bool residual, float *y, int ldy, void *scratch)
{
	(void) scratch;
	gemm_in_place(m, q, ldq, ascale, w, bias, act, residual, y, ldy);
}
#endif

static void
gemv_i8_cols(const uint8_t *q, float ascale, const KernMatrix *w, int n, const int32_t *cols, float *y)
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
		v_store(out, v_fma(v_from_int(acc), v_mul(v_set(ascale), v_load(w->scale + panel * KERN_PANEL)),
						   v_set(0.0f)));
		y[j] = out[lane];
	}
}

#endif
