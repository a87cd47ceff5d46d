/*
 * kern_gemm_in_place.h
 *	  int8 GEMM over the level's integer tile, the weights where they lie; included after kern_gemm.h.
 *
 * A level defines tile_panels(m) and tile_rows(panels): the shape it likes for m rows.
 * Panels are the outer loop: a few of them stay in the L1 or L2 cache while all rows pass.
 * A level with something better for many rows (KERN_OWN_GEMM) writes gemm_i8() itself.
 */
#ifndef KERN_GEMM_IN_PLACE_H
#define KERN_GEMM_IN_PLACE_H

static void
gemm_in_place(int m, const uint8_t *q, int ldq, const KernCode *code, const KernMatrix *w, const float *bias,
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
			tile_finish(rows, panels, acc, code + i, w, p * KERN_PANEL, bias, act, residual,
						y + (size_t) i * ldy, ldy);
			i += rows;
		}
		p += panels;
	}
}

#ifndef KERN_OWN_GEMM
static void
gemm_i8(int m, const uint8_t *q, int ldq, const KernCode *code, const KernMatrix *w, const float *bias,
		KernAct act, bool residual, float *y, int ldy, void *scratch)
{
	(void) scratch;
	gemm_in_place(m, q, ldq, code, w, bias, act, residual, y, ldy);
}
#endif

#endif
