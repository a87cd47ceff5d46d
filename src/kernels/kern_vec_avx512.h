/*
 * kern_vec_avx512.h
 *	  v16 in one zmm register.  Meaning of each operation: kern_vec_scalar.h.
 */
#ifndef KERN_VEC_AVX512_H
#define KERN_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512 v16;

#define V_TAIL(n) ((__mmask16) ((1u << (n)) - 1))

static inline v16 v_set(float x) { return _mm512_set1_ps(x); }
static inline v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
static inline v16 v_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(V_TAIL(n), p); }
static inline void v_store_n(float *p, v16 a, int n) { _mm512_mask_storeu_ps(p, V_TAIL(n), a); }
static inline v16 v_fill(v16 a, int n, float x) { return _mm512_mask_mov_ps(_mm512_set1_ps(x), V_TAIL(n), a); }

static inline v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
static inline v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
static inline v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
static inline v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
static inline v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
static inline v16 v_fnma(v16 a, v16 b, v16 c) { return _mm512_fnmadd_ps(a, b, c); }
static inline v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
static inline v16 v_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
static inline v16 v_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
static inline v16 v_abs(v16 a) { return _mm512_abs_ps(a); }

static inline v16
v_keep_ge(v16 x, v16 a, v16 b)
{
	return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), x);
}

static inline v16 v_ldexp(v16 x, v16 t) { return _mm512_scalef_ps(x, _mm512_sub_ps(t, _mm512_set1_ps(KERN_ROUND))); }

static inline float
v_sum(v16 a)
{
	__m256		x = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m128		y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	y = _mm_add_ps(y, _mm_movehl_ps(y, y));
	return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

static inline float
v_hmax(v16 a)
{
	return _mm512_reduce_max_ps(a);
}

static inline __m512i v_column_sums(const int32_t *comp) { return _mm512_srai_epi32(_mm512_loadu_si512(comp), 7); }

static inline v16
v_dot_float(__m512i acc, int32_t zero, __m512i sums)
{
	return _mm512_cvtepi32_ps(_mm512_sub_epi32(acc, _mm512_mullo_epi32(_mm512_set1_epi32(zero), sums)));
}

static inline v16
v_from_dot(const int32_t *acc, int32_t zero, const int32_t *comp)
{
	return v_dot_float(_mm512_loadu_si512(acc), zero, v_column_sums(comp));
}

static inline void
v_store_u8(uint8_t *q, v16 t)
{
	_mm_storeu_si128((__m128i *) q, _mm512_cvtepi32_epi8(_mm512_castps_si512(t)));
}

#endif
