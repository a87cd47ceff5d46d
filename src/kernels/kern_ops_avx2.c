/*
 * kern_ops_avx2.c
 *	  The AVX2 level: no sum of byte products may leave 16 bits, where vpmaddubsw saturates.
 */
#include "kern_internal.h"
#include "kern_vec_avx2.h"

#define KERN_CHAINS 2			/* quantize: sums side by side */
#define KERN_NORM_ROWS 2		/* layer norm: rows side by side */
#define KERN_VECTORS 4			/* gemv_f32: accumulators side by side (two ymm each) */
#define KERN_KEY_VECTORS 1		/* attend: vectors of keys a pass: 2 of two ymm each would spill */
#define KERN_VALUE_VECTORS 1	/* attend: vectors of values a pass, 4 queries each */
#define KERN_TILE_MAX 4			/* rows of the tile: two ymm accumulators each */

#include "kern_math.h"
#include "kern_transpose_avx.h"
#include "kern_rows.h"
#include "kern_attend.h"

/*
 * rows x 1 panel, the weights where they lie.  vpmaddubsw wants one factor without sign:
 * |w|, with the sign of w given to the input, 2 * 127 * 127 < 2^15.
 */
KERN_INLINE void
tile(const int rows, const uint8_t *q, int ldq, const int8_t *w, int k4, int32_t *acc)
{
	const __m256i sign = _mm256_set1_epi8(-128);
	const __m256i one = _mm256_set1_epi16(1);
	__m256i		sum[4][2];

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int h = 0; h < 2; h++)
			sum[r][h] = _mm256_setzero_si256();
	}
	for (int i = 0; i < k4; i++, q += KERN_QUAD, w += KERN_STEP_BYTES)
	{
		__m256i		b[2],
					size[2];

		KERN_UNROLL
		for (int h = 0; h < 2; h++)
		{
			b[h] = _mm256_loadu_si256((const __m256i *) (w + 32 * h));
			size[h] = _mm256_abs_epi8(b[h]);
		}
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			__m256i		a = _mm256_xor_si256(_mm256_set1_epi32(*(const int32_t *) (q + (size_t) r * ldq)), sign);

			KERN_UNROLL
			for (int h = 0; h < 2; h++)
				sum[r][h] = _mm256_add_epi32(sum[r][h],
					_mm256_madd_epi16(_mm256_maddubs_epi16(size[h], _mm256_sign_epi8(a, b[h])), one));
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
	static void tile_##rows(const uint8_t *q, int ldq, const int8_t *w, int k4, int32_t *acc) \
	{ tile(rows, q, ldq, w, k4, acc); }

TILE(1) TILE(2) TILE(3) TILE(4)

KERN_INLINE int tile_panels(int m) { (void) m; return 1; }
KERN_INLINE int tile_rows(int panels) { (void) panels; return KERN_TILE_MAX; }

KERN_INLINE void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	static void (*const tiles[]) (const uint8_t *, int, const int8_t *, int, int32_t *) =
		{NULL, tile_1, tile_2, tile_3, tile_4};

	(void) panels;
	(void) comp;				/* the inputs lose their 128 first */
	tiles[rows] (q, ldq, w, k4, acc);
}

#undef TILE
#define KERN_OWN_GEMM
#include "kern_gemm.h"
#include "kern_gemm_in_place.h"
#include "kern_winograd_avx2.h"

#define KERN_TABLE kern_table_avx2
#define KERN_LEVEL KERN_AVX2
#define KERN_NAME "avx2"
#include "kern_table.h"
