/*
 * kern_ops_scalar.c
 *	  The level of any CPU: plain C, and fmaf() where the CPU has no fused multiply-add.
 */
#define KERN_MEMORY_VECTORS
#include "kern_internal.h"
#include "kern_vec_scalar.h"

#define KERN_CHAINS 1			/* quantize: sums side by side */
#define KERN_NORM_ROWS 1		/* layer norm: rows side by side */
#define KERN_VECTORS 1
#define KERN_KEY_VECTORS 2
#define KERN_VALUE_VECTORS 1
#define KERN_TILE_MAX 1

#include "kern_math.h"
#include "kern_rows.h"
#include "kern_attend.h"

KERN_INLINE int tile_panels(int m) { (void) m; return 1; }
KERN_INLINE int tile_rows(int panels) { (void) panels; return 1; }

/* 1 row x 1 panel */
static void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	(void) rows;
	(void) panels;
	(void) ldq;
	for (int c = 0; c < KERN_PANEL; c++)
		acc[c] = -comp[c];
	for (int i = 0; i < k4; i++, q += KERN_QUAD, w += KERN_STEP_BYTES)
		for (int c = 0; c < KERN_PANEL; c++)
			for (int j = 0; j < KERN_QUAD; j++)
				acc[c] += q[j] * w[c * KERN_QUAD + j];
}

#include "kern_gemm.h"
#include "kern_gemm_in_place.h"

#define KERN_TABLE kern_table_scalar
#define KERN_LEVEL KERN_SCALAR
#define KERN_NAME "scalar"
#include "kern_table.h"
