/*
 * kern_vec_scalar.h
 *	  v16, sixteen floats, and the few operations every float step is written in.
 *
 * This form needs no instruction set; kern_vec_avx2.h, kern_vec_avx512.h and
 * kern_vec_neon.h give the same operations with the same bits.  Comparisons are false
 * for NaN on every level, and v_max / v_min give their second argument then, as x86 does.
 */
#ifndef KERN_VEC_SCALAR_H
#define KERN_VEC_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct v16
{
	float		f[16];
} v16;

#define V_EACH(expr) \
	do { for (int i = 0; i < 16; i++) r.f[i] = (expr); } while (0)

static inline v16 v_set(float x) { v16 r; V_EACH(x); return r; }
static inline v16 v_load(const float *p) { v16 r; memcpy(&r, p, sizeof(r)); return r; }
static inline void v_store(float *p, v16 a) { memcpy(p, &a, sizeof(a)); }

/* The first n (0 to 16) lanes from memory, the others 0; memory past them is not touched. */
static inline v16 v_load_n(const float *p, int n) { v16 r; V_EACH(i < n ? p[i] : 0.0f); return r; }
static inline void v_store_n(float *p, v16 a, int n) { for (int i = 0; i < n; i++) p[i] = a.f[i]; }

/* Lanes from n (0 to 16) on become x. */
static inline v16 v_fill(v16 a, int n, float x) { v16 r; V_EACH(i < n ? a.f[i] : x); return r; }

static inline v16 v_add(v16 a, v16 b) { v16 r; V_EACH(a.f[i] + b.f[i]); return r; }
static inline v16 v_sub(v16 a, v16 b) { v16 r; V_EACH(a.f[i] - b.f[i]); return r; }
static inline v16 v_mul(v16 a, v16 b) { v16 r; V_EACH(a.f[i] * b.f[i]); return r; }
static inline v16 v_div(v16 a, v16 b) { v16 r; V_EACH(a.f[i] / b.f[i]); return r; }
/* a * b + c and c - a * b, rounded once */
static inline v16 v_fma(v16 a, v16 b, v16 c) { v16 r; V_EACH(fmaf(a.f[i], b.f[i], c.f[i])); return r; }
static inline v16 v_fnma(v16 a, v16 b, v16 c) { v16 r; V_EACH(fmaf(-a.f[i], b.f[i], c.f[i])); return r; }
static inline v16 v_max(v16 a, v16 b) { v16 r; V_EACH(a.f[i] > b.f[i] ? a.f[i] : b.f[i]); return r; }
static inline v16 v_min(v16 a, v16 b) { v16 r; V_EACH(a.f[i] < b.f[i] ? a.f[i] : b.f[i]); return r; }
static inline v16 v_sqrt(v16 a) { v16 r; V_EACH(sqrtf(a.f[i])); return r; }
static inline v16 v_abs(v16 a) { v16 r; V_EACH(__builtin_fabsf(a.f[i])); return r; }
/* x where a >= b, else 0 */
static inline v16 v_keep_ge(v16 x, v16 a, v16 b) { v16 r; V_EACH(a.f[i] >= b.f[i] ? x.f[i] : 0.0f); return r; }

/* x 2^n for t = n + KERN_ROUND (so that n stands in the low bits), n in [-126, 127] and the result normal, else anything */
static inline v16
v_ldexp(v16 x, v16 t)
{
	uint32_t	bits[16];

	memcpy(bits, &t, sizeof(t));
	for (int i = 0; i < 16; i++)
		bits[i] = (bits[i] << 23) + 0x3f800000u;
	memcpy(&t, bits, sizeof(t));
	return v_mul(x, t);
}

/* Fold the lanes: lane j += lane j + width for width 8, 4, 2, 1. */
static inline float
v_sum(v16 a)
{
	for (int width = 8; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			a.f[i] += a.f[i + width];
	return a.f[0];
}

/* Largest lane; no lane is NaN. */
static inline float
v_hmax(v16 a)
{
	for (int i = 1; i < 16; i++)
		if (a.f[i] > a.f[0])
			a.f[0] = a.f[i];
	return a.f[0];
}

/* (float) of sixteen sums of (q - 128) w, less zero times the columns' sums, which comp has 128-fold */
static inline v16
v_from_dot(const int32_t *acc, int32_t zero, const int32_t *comp)
{
	v16			r;

	V_EACH((float) (acc[i] - zero * (comp[i] / 128)));
	return r;
}

/* Store the low byte of each lane's bits: the integer of n + KERN_ROUND for n in [0, 255]. */
static inline void
v_store_u8(uint8_t *q, v16 t)
{
	uint32_t	bits[16];

	memcpy(bits, &t, sizeof(t));
	for (int i = 0; i < 16; i++)
		q[i] = (uint8_t) bits[i];
}

#undef V_EACH

#endif
