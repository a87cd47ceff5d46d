/*
 * kern_ops_avx2.c
 *	  The AVX2 level: bytes widened to 16 bits, vpmaddwd.  Exact: vpmaddubsw would saturate.
 */
#include "kern_internal.h"
#include "kern_vec_avx2.h"

#define KERN_VECTORS 4			/* gemv_f32: accumulators side by side (two ymm each) */
#define KERN_VALUE_VECTORS 1	/* attend: vectors of values a pass, 4 queries each */
#define KERN_TILE_MAX 4			/* rows of the tile: two ymm accumulators each */

#include "kern_math.h"
#include "kern_rows.h"
#include "kern_attend.h"

/*
 * rows x 1 panel.  A 32-bit lane holds four inputs k0..k3 of a channel; as 16-bit pairs
 * they are (k0, k2) and (k1, k3), for weights and activations alike.
 */
KERN_INLINE void
tile(const int rows, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	const __m256i low = _mm256_set1_epi32(0x00ff00ff);
	__m256i		sum[4][2];

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
		__m256i		odd0 = _mm256_srai_epi16(b0, 8);
		__m256i		odd1 = _mm256_srai_epi16(b1, 8);
		__m256i		even0 = _mm256_srai_epi16(_mm256_slli_epi16(b0, 8), 8);
		__m256i		even1 = _mm256_srai_epi16(_mm256_slli_epi16(b1, 8), 8);

		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			__m256i		a = _mm256_set1_epi32(*(const int32_t *) (q + (size_t) r * ldq));
			__m256i		even = _mm256_and_si256(a, low);
			__m256i		odd = _mm256_srli_epi16(a, 8);

			sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(even, even0));
			sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(even, even1));
			sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(odd, odd0));
			sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(odd, odd1));
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

TILE(1) TILE(2) TILE(3) TILE(4)

KERN_INLINE int tile_panels(int m) { (void) m; return 1; }
KERN_INLINE int tile_rows(int panels) { (void) panels; return KERN_TILE_MAX; }

KERN_INLINE void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	static void (*const tiles[]) (const uint8_t *, int, const int8_t *, const int32_t *, int, int32_t *) =
		{NULL, tile_1, tile_2, tile_3, tile_4};

	(void) panels;
	tiles[rows] (q, ldq, w, comp, k4, acc);
}

#include "kern_gemm.h"

#define KERN_TABLE kern_table_avx2
#define KERN_LEVEL KERN_AVX2
#define KERN_NAME "avx2"
#include "kern_table.h"
