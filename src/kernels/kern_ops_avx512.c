/*
 * kern_ops_avx512.c
 *	  The AVX-512 VNNI level: vpdpbusd, one panel step a zmm.
 */
#include "kern_internal.h"
#include "kern_vec_avx512.h"

#define KERN_VECTORS 8			/* gemv_f32: accumulators side by side */
#define KERN_KEY_VECTORS 2
#define KERN_VALUE_VECTORS 4	/* attend: vectors of values a pass, 4 queries each */
#define KERN_TILE_MAX 28		/* zmm accumulators of the largest tile: 24 + 4 panels + 1 row fit 32 registers */

#include "kern_math.h"
#include "kern_transpose_avx.h"
#include "kern_rows.h"
#include "kern_attend.h"

/*
 * rows x panels accumulators; each step loads a zmm of every panel and broadcasts four
 * activations of every row.
 */
KERN_INLINE void
tile(const int rows, const int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	__m512i		sum[14][4];
	size_t		panel = (size_t) k4 * KERN_STEP_BYTES;

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int p = 0; p < panels; p++)
			sum[r][p] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(comp + p * KERN_PANEL));
	}
	for (int i = 0; i < k4; i++, q += KERN_QUAD, w += KERN_STEP_BYTES)
	{
		__m512i		b[4];

		KERN_UNROLL
		for (int p = 0; p < panels; p++)
			b[p] = _mm512_loadu_si512(w + p * panel);
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			__m512i		a = _mm512_set1_epi32(*(const int32_t *) (q + (size_t) r * ldq));

			KERN_UNROLL
			for (int p = 0; p < panels; p++)
				sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], a, b[p]);
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int p = 0; p < panels; p++)
			_mm512_storeu_si512(acc + (r * panels + p) * KERN_PANEL, sum[r][p]);
	}
}

#define TILE(rows, panels) \
	static void tile_##rows##x##panels(const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc) \
	{ tile(rows, panels, q, ldq, w, comp, k4, acc); }

TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1) TILE(7, 1)
TILE(8, 1) TILE(9, 1) TILE(10, 1) TILE(11, 1) TILE(12, 1) TILE(13, 1) TILE(14, 1)
TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2) TILE(13, 2) TILE(14, 2)
TILE(1, 4) TILE(2, 4) TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4)

typedef void (*TileFn) (const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc);

static const TileFn tiles[5][15] = {
	[1] = {NULL, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1, tile_7x1,
		tile_8x1, tile_9x1, tile_10x1, tile_11x1, tile_12x1, tile_13x1, tile_14x1},
	[2] = {[8] = tile_8x2, tile_9x2, tile_10x2, tile_11x2, tile_12x2, tile_13x2, tile_14x2},
	[4] = {NULL, tile_1x4, tile_2x4, tile_3x4, tile_4x4, tile_5x4, tile_6x4},
};

KERN_INLINE int tile_panels(int m) { (void) m; return 4; }
KERN_INLINE int tile_rows(int panels) { return panels == 4 ? 6 : 14; }

KERN_INLINE void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	tiles[panels][rows] (q, ldq, w, comp, k4, acc);
}

#include "kern_gemm.h"

#define KERN_TABLE kern_table_avx512
#define KERN_LEVEL KERN_AVX512VNNI
#define KERN_NAME "avx512-vnni"
#include "kern_table.h"
