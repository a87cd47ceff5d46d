/*
 * kern_ops_avxvnni.c
 *	  The AVX-VNNI level (client CPUs without AVX-512): vpdpbusd on ymm, two a panel step.
 */
#include "kern_internal.h"
#include "kern_vec_avx2.h"

#define KERN_CHAINS 2			/* quantize: sums side by side */
#define KERN_NORM_ROWS 2		/* layer norm: rows side by side */
#define KERN_VECTORS 4			/* gemv_f32: accumulators side by side (two ymm each) */
#define KERN_KEY_VECTORS 1		/* attend: vectors of keys a pass: 2 of two ymm each would spill */
#define KERN_VALUE_VECTORS 1	/* attend: vectors of values a pass, 4 queries each */
#define KERN_TILE_MAX 6			/* rows of the tile: 12 accumulators + 2 weights + 1 row fit 16 registers */

#include "kern_math.h"
#include "kern_transpose_avx.h"
#include "kern_rows.h"
#include "kern_attend.h"

/* rows x 1 panel */
KERN_INLINE void
tile(const int rows, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	__m256i		sum[6][2];

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int h = 0; h < 2; h++)
			sum[r][h] = _mm256_sub_epi32(_mm256_setzero_si256(),
										 _mm256_loadu_si256((const __m256i *) (comp + 8 * h)));
	}
	for (int i = 0; i < k4; i++, q += KERN_QUAD, w += KERN_STEP_BYTES)
	{
		__m256i		b0 = _mm256_loadu_si256((const __m256i *) w);
		__m256i		b1 = _mm256_loadu_si256((const __m256i *) (w + 32));

		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			__m256i		a = _mm256_set1_epi32(*(const int32_t *) (q + (size_t) r * ldq));

			sum[r][0] = _mm256_dpbusd_avx_epi32(sum[r][0], a, b0);
			sum[r][1] = _mm256_dpbusd_avx_epi32(sum[r][1], a, b1);
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		_mm256_storeu_si256((__m256i *) (acc + r * KERN_PANEL), sum[r][0]);
		_mm256_storeu_si256((__m256i *) (acc + r * KERN_PANEL + 8), sum[r][1]);
	}
}

#define TILE(rows) \
	static void tile_##rows(const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc) \
	{ tile(rows, q, ldq, w, comp, k4, acc); }

TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)

KERN_INLINE int tile_panels(int m) { (void) m; return 1; }
KERN_INLINE int tile_rows(int panels) { (void) panels; return KERN_TILE_MAX; }

KERN_INLINE void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	static void (*const tiles[]) (const uint8_t *, int, const int8_t *, const int32_t *, int, int32_t *) =
		{NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

	(void) panels;
	tiles[rows] (q, ldq, w, comp, k4, acc);
}

#include "kern_gemm.h"
#include "kern_gemm_in_place.h"

#define KERN_TABLE kern_table_avxvnni
#define KERN_LEVEL KERN_AVXVNNI
#define KERN_NAME "avx-vnni"
#include "kern_table.h"
