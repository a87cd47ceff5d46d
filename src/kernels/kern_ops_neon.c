/*
 * kern_ops_neon.c
 *	  The NEON level (aarch64 with the dot-product extension): sdot on signed activations.
 */
#include "kern_internal.h"
#include "kern_vec_neon.h"

#define KERN_CHAINS 1			/* quantize: sums side by side */
#define KERN_NORM_ROWS 1		/* layer norm: rows side by side */
#define KERN_VECTORS 4			/* gemv_f32: accumulators side by side (four registers each) */
#define KERN_KEY_VECTORS 2
#define KERN_VALUE_VECTORS 1	/* attend: vectors of values a pass, 4 queries each */
#define KERN_TILE_MAX 5			/* rows of the tile: 20 accumulators + 4 weights + 5 rows fit 32 registers */

#include "kern_math.h"
#include "kern_rows.h"
#include "kern_attend.h"

/*
 * rows x 1 panel.  sdot is signed: q - 128 goes in, so that comp is in the sum already.
 */
KERN_INLINE void
tile(const int rows, const uint8_t *q, int ldq, const int8_t *w, int k4, int32_t *acc)
{
	const uint32x4_t sign = vdupq_n_u32(0x80808080);
	int32x4_t	sum[5][4];

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int c = 0; c < 4; c++)
			sum[r][c] = vdupq_n_s32(0);
	}
	for (int i = 0; i < k4; i++, q += KERN_QUAD, w += KERN_STEP_BYTES)
	{
		int8x16_t	b[4];

		KERN_UNROLL
		for (int c = 0; c < 4; c++)
			b[c] = vld1q_s8(w + 16 * c);
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			uint32x4_t	a = veorq_u32(vld1q_dup_u32((const uint32_t *) (q + (size_t) r * ldq)), sign);

			KERN_UNROLL
			for (int c = 0; c < 4; c++)
				sum[r][c] = vdotq_s32(sum[r][c], b[c], vreinterpretq_s8_u32(a));
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int c = 0; c < 4; c++)
			vst1q_s32(acc + r * KERN_PANEL + 4 * c, sum[r][c]);
	}
}

#define TILE(rows) \
	static void tile_##rows(const uint8_t *q, int ldq, const int8_t *w, int k4, int32_t *acc) \
	{ tile(rows, q, ldq, w, k4, acc); }

TILE(1) TILE(2) TILE(3) TILE(4) TILE(5)

KERN_INLINE int tile_panels(int m) { (void) m; return 1; }
KERN_INLINE int tile_rows(int panels) { (void) panels; return KERN_TILE_MAX; }

KERN_INLINE void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	static void (*const tiles[]) (const uint8_t *, int, const int8_t *, int, int32_t *) =
		{NULL, tile_1, tile_2, tile_3, tile_4, tile_5};

	(void) panels;
	(void) comp;
	tiles[rows] (q, ldq, w, k4, acc);
}

#include "kern_gemm.h"
#include "kern_gemm_in_place.h"

#define KERN_TABLE kern_table_neon
#define KERN_LEVEL KERN_NEON
#define KERN_NAME "neon"
#include "kern_table.h"
