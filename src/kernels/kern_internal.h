/*
 * kern_internal.h
 *	  What the files of this room share: the levels' tables, constants of the float steps.
 *
 * A level is one file, kern_ops_<level>.c: it includes the vector operations of its
 * instruction set (kern_vec_*.h), defines its integer tile, and then includes the steps
 * that are the same for all: kern_math.h (exp, GELU), kern_rows.h (layer norm, quantize,
 * softmax, …), kern_attend.h, kern_gemm.h and kern_gemm_in_place.h, kern_table.h.
 */
#ifndef KERN_INTERNAL_H
#define KERN_INTERNAL_H

#include <float.h>

#include "fsi_kernels.h"

#ifdef __FAST_MATH__
#error "the kernels' bits must not depend on the compiler: no -ffast-math"
#endif

/* 32-bit x86 without SSE computes in 80 bits: other labels, and no test there. (16 is about half floats alone.) */
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 16,
			   "floats must be computed as floats: fsi_intent does not run on 32-bit x86");

/*
 * Accumulators live in registers when the loops over them are unrolled into one function.
 * A level without vector registers (KERN_MEMORY_VECTORS) would only grow.
 */
#if defined(KERN_MEMORY_VECTORS)
#define KERN_UNROLL
#define KERN_INLINE static inline
#else
#if defined(__clang__)
#define KERN_UNROLL _Pragma("clang loop unroll(full)")
#define KERN_UNROLL_TWICE _Pragma("clang loop unroll_count(2)")
#else
#define KERN_UNROLL _Pragma("GCC unroll 32")
#define KERN_UNROLL_TWICE _Pragma("GCC unroll 2")
#endif
#define KERN_INLINE static inline __attribute__((always_inline))
#endif

/* Bytes of one k step of a panel: 16 channels x 4 inputs. */
#define KERN_STEP_BYTES (KERN_PANEL * KERN_QUAD)

/* 1.5 * 2^23: x + KERN_ROUND rounds x to the nearest even integer, which stands in the low bits (|x| < 2^22). */
#define KERN_ROUND 12582912.0f
/* Packing: a column whose amax is below this is a zero column (amax / 127 must stay normal). */
#define KERN_AMAX_MIN 1e-30f
/* quantize: scales of a row's range; it may begin at code 2 and end at 255, as both ends and the zero are rounded. */
#define KERN_CODES 252
/* quantize: a row whose range is below this is a zero row (1 / scale must stay finite, the scale normal). */
#define KERN_RANGE_MIN 1e-30f

/* exp(r) = 1 + r + r^2 (E0 + E1 r + ... E4 r^4) on |r| <= ln(2)/2; Chebyshev fit, error 6.6e-8 r^2. */
#define KERN_LOG2E 0x1.715476p+0f
#define KERN_LN2_HI 0x1.62e4p-1f	/* 17 bits: n * LN2_HI is exact */
#define KERN_LN2_LO 0x1.7f7d1cp-20f
#define KERN_EXP_MIN -87.0f			/* exp of less is 0: the result would be below FLT_MIN */
#define KERN_EXP_MAX 88.0f			/* exp of more is exp(88): 2^n must be finite */
#define KERN_E0 0.5f
#define KERN_E1 0x1.5554dcp-3f
#define KERN_E2 0x1.555518p-5f
#define KERN_E3 0x1.120be2p-7f
#define KERN_E4 0x1.6d117cp-10f

/*
 * Upper tail of the normal distribution, x >= 0: Q(x) = t (Q0 + Q1 t + ... Q7 t^7) exp(-x^2 / 2),
 * t = 1 / (1 + 0.3 x); Chebyshev fit on [0, 13.2], error 4.4e-8 t exp(-x^2 / 2).
 */
#define KERN_QT 0.3f
#define KERN_Q0 0x1.e9ec1cp-4f
#define KERN_Q1 0x1.efda6ap-4f
#define KERN_Q2 0x1.9150c8p-4f
#define KERN_Q3 0x1.149bbcp-3f
#define KERN_Q4 -0x1.0ef5f4p-4f
#define KERN_Q5 0x1.c2b2e8p-3f
#define KERN_Q6 -0x1.526c44p-3f
#define KERN_Q7 0x1.3433e2p-5f

/* Inputs of GELU below this are taken as this: the result is -0 to any accuracy, and nothing overflows. */
#define KERN_GELU_MIN -1e4f
#define KERN_SQRT_2_PI 0x1.988454p-1f
#define KERN_GELU_CUBE 0.044715f

/* NaN to 0, infinities to +-FLT_MAX. */
static inline float
kern_clean(float x)
{
	return x != x ? 0.0f : x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

/* log(sum) + max in double, rounded once: the end of softmax() on every level. */
extern float kern_log_sum(float sum, float max);

extern const KernOps kern_table_scalar;
extern const KernOps kern_table_avx2;
extern const KernOps kern_table_avxvnni;
extern const KernOps kern_table_avx512;
extern const KernOps kern_table_neon;

/* kern_blas_open.c: OpenBLAS, or NULL with dlerror(); and which kernels would be better than those of that name, or NULL. */
extern void *kern_blas_open(const char *library);
extern const char *kern_blas_better_core(const char *taken);

#endif
