/*
 * kern_transpose_avx.h
 *	  Transpose rows, eight by four at a time; included by the x86 levels before kern_rows.h.
 */
#ifndef KERN_TRANSPOSE_AVX_H
#define KERN_TRANSPOSE_AVX_H

#include <immintrin.h>

#define KERN_OWN_TRANSPOSE

/* Four columns of eight rows, row r at rows[r] + at -> four rows of eight. */
KERN_INLINE void
transpose_8x4(const float *const rows[8], size_t at, float *y, int ldy)
{
	__m256		t[4],
				lo,
				hi;

	/* Rows r and r + 4 in the two halves: all that follows stays within halves. */
	KERN_UNROLL
	for (int r = 0; r < 4; r++)
		t[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[r] + at)), _mm_loadu_ps(rows[r + 4] + at), 1);
	lo = _mm256_unpacklo_ps(t[0], t[2]);
	hi = _mm256_unpacklo_ps(t[1], t[3]);
	_mm256_storeu_ps(y, _mm256_unpacklo_ps(lo, hi));
	_mm256_storeu_ps(y + ldy, _mm256_unpackhi_ps(lo, hi));
	lo = _mm256_unpackhi_ps(t[0], t[2]);
	hi = _mm256_unpackhi_ps(t[1], t[3]);
	_mm256_storeu_ps(y + 2 * (size_t) ldy, _mm256_unpacklo_ps(lo, hi));
	_mm256_storeu_ps(y + 3 * (size_t) ldy, _mm256_unpackhi_ps(lo, hi));
}

static void
transpose(int m, int n, const float *const *rows, size_t at, float *y, int ldy)
{
	for (int i = 0; i < m; i += 8)
	{
		const float *eight[8];
		int			j = 0;

		for (int r = 0; r < 8; r++)
			eight[r] = rows[i + r < m ? i + r : m - 1];
		for (; j + 4 <= n; j += 4)
			transpose_8x4(eight, at + (size_t) j, y + (size_t) j * ldy + i, ldy);
		for (; j < n; j++)
			for (int r = 0; r < 8; r++)
				y[(size_t) j * ldy + i + r] = eight[r][at + (size_t) j];
	}
}

#endif
