/*
 * kern_vec_avx2.h
 *	  v16 in two ymm registers (AVX2 + FMA).  Meaning of each operation: kern_vec_scalar.h.
 */
#ifndef KERN_VEC_AVX2_H
#define KERN_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

typedef struct v16
{
	__m256		lo,
				hi;
} v16;

/* Masks of the first n of 8 lanes are read at v_tail_mask + 8 - n. */
static const int32_t v_tail_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

static inline __m256i
v_tail8(int n)
{
	n = n < 0 ? 0 : n > 8 ? 8 : n;
	return _mm256_loadu_si256((const __m256i *) (v_tail_mask + 8 - n));
}

#define V_EACH1(op, a) ((v16) {op((a).lo), op((a).hi)})
#define V_EACH2(op, a, b) ((v16) {op((a).lo, (b).lo), op((a).hi, (b).hi)})
#define V_EACH3(op, a, b, c) ((v16) {op((a).lo, (b).lo, (c).lo), op((a).hi, (b).hi, (c).hi)})

static inline v16 v_set(float x) { return (v16) {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline v16 v_load(const float *p) { return (v16) {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }

static inline void
v_store(float *p, v16 a)
{
	_mm256_storeu_ps(p, a.lo);
	_mm256_storeu_ps(p + 8, a.hi);
}

static inline v16
v_load_n(const float *p, int n)
{
	return (v16) {_mm256_maskload_ps(p, v_tail8(n)), _mm256_maskload_ps(p + 8, v_tail8(n - 8))};
}

static inline void
v_store_n(float *p, v16 a, int n)
{
	_mm256_maskstore_ps(p, v_tail8(n), a.lo);
	_mm256_maskstore_ps(p + 8, v_tail8(n - 8), a.hi);
}

static inline v16
v_fill(v16 a, int n, float x)
{
	__m256		b = _mm256_set1_ps(x);

	return (v16) {_mm256_blendv_ps(b, a.lo, _mm256_castsi256_ps(v_tail8(n))),
				  _mm256_blendv_ps(b, a.hi, _mm256_castsi256_ps(v_tail8(n - 8)))};
}

static inline v16 v_add(v16 a, v16 b) { return V_EACH2(_mm256_add_ps, a, b); }
static inline v16 v_sub(v16 a, v16 b) { return V_EACH2(_mm256_sub_ps, a, b); }
static inline v16 v_mul(v16 a, v16 b) { return V_EACH2(_mm256_mul_ps, a, b); }
static inline v16 v_div(v16 a, v16 b) { return V_EACH2(_mm256_div_ps, a, b); }
static inline v16 v_fma(v16 a, v16 b, v16 c) { return V_EACH3(_mm256_fmadd_ps, a, b, c); }
static inline v16 v_fnma(v16 a, v16 b, v16 c) { return V_EACH3(_mm256_fnmadd_ps, a, b, c); }
static inline v16 v_max(v16 a, v16 b) { return V_EACH2(_mm256_max_ps, a, b); }
static inline v16 v_min(v16 a, v16 b) { return V_EACH2(_mm256_min_ps, a, b); }

static inline v16 v_sqrt(v16 a) { return V_EACH1(_mm256_sqrt_ps, a); }

static inline __m256 v_abs8(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline v16 v_abs(v16 a) { return V_EACH1(v_abs8, a); }

static inline __m256
v_keep_ge8(__m256 x, __m256 a, __m256 b)
{
	return _mm256_and_ps(x, _mm256_cmp_ps(a, b, _CMP_GE_OQ));
}

static inline v16 v_keep_ge(v16 x, v16 a, v16 b) { return V_EACH3(v_keep_ge8, x, a, b); }

static inline __m256
v_pow2_8(__m256 t)
{
	__m256i		n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);

	return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(0x3f800000)));
}

static inline v16 v_ldexp(v16 x, v16 t) { return v_mul(x, V_EACH1(v_pow2_8, t)); }

static inline float
v_sum(v16 a)
{
	__m256		x = _mm256_add_ps(a.lo, a.hi);
	__m128		y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	y = _mm_add_ps(y, _mm_movehl_ps(y, y));
	return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

static inline float
v_hmax(v16 a)
{
	__m256		x = _mm256_max_ps(a.lo, a.hi);
	__m128		y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	y = _mm_max_ps(y, _mm_movehl_ps(y, y));
	return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

static inline __m256
v_from_dot8(const int32_t *acc, int32_t zero, const int32_t *comp)
{
	__m256i		sums = _mm256_srai_epi32(_mm256_loadu_si256((const __m256i *) comp), 7);

	return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_loadu_si256((const __m256i *) acc),
											   _mm256_mullo_epi32(_mm256_set1_epi32(zero), sums)));
}

static inline v16
v_from_dot(const int32_t *acc, int32_t zero, const int32_t *comp)
{
	return (v16) {v_from_dot8(acc, zero, comp), v_from_dot8(acc + 8, zero, comp + 8)};
}

static inline void
v_store_u8(uint8_t *q, v16 t)
{
	__m256i		byte = _mm256_set1_epi32(0xff);
	__m256i		w = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(t.lo), byte),
										_mm256_and_si256(_mm256_castps_si256(t.hi), byte));

	w = _mm256_permute4x64_epi64(w, 0xd8);	/* packus works within 128 bits */
	_mm_storeu_si128((__m128i *) q, _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}

#endif
