/*
 * kern_vec_neon.h
 *	  v16 in four NEON registers (aarch64).  Meaning of each operation: kern_vec_scalar.h.
 */
#ifndef KERN_VEC_NEON_H
#define KERN_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>

typedef struct v16
{
	float32x4_t a,
				b,
				c,
				d;
} v16;

#define V_EACH1(op, x) ((v16) {op((x).a), op((x).b), op((x).c), op((x).d)})
#define V_EACH2(op, x, y) \
	((v16) {op((x).a, (y).a), op((x).b, (y).b), op((x).c, (y).c), op((x).d, (y).d)})
#define V_EACH3(op, x, y, z) \
	((v16) {op((x).a, (y).a, (z).a), op((x).b, (y).b, (z).b), op((x).c, (y).c, (z).c), op((x).d, (y).d, (z).d)})

static inline v16
v_set(float x)
{
	float32x4_t v = vdupq_n_f32(x);

	return (v16) {v, v, v, v};
}

static inline v16
v_load(const float *p)
{
	return (v16) {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}

static inline void
v_store(float *p, v16 x)
{
	vst1q_f32(p, x.a);
	vst1q_f32(p + 4, x.b);
	vst1q_f32(p + 8, x.c);
	vst1q_f32(p + 12, x.d);
}

static inline v16
v_load_n(const float *p, int n)
{
	float		t[16] = {0};

	for (int i = 0; i < n; i++)
		t[i] = p[i];
	return v_load(t);
}

static inline void
v_store_n(float *p, v16 x, int n)
{
	float		t[16];

	v_store(t, x);
	for (int i = 0; i < n; i++)
		p[i] = t[i];
}

static inline v16
v_fill(v16 x, int n, float fill)
{
	float		t[16];

	v_store(t, x);
	for (int i = n; i < 16; i++)
		t[i] = fill;
	return v_load(t);
}

static inline float32x4_t v_fma4(float32x4_t x, float32x4_t y, float32x4_t z) { return vfmaq_f32(z, x, y); }
static inline float32x4_t v_fnma4(float32x4_t x, float32x4_t y, float32x4_t z) { return vfmsq_f32(z, x, y); }
/* Not vmaxq / vminq: those give NaN where x86 gives the second argument. */
static inline float32x4_t v_max4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
static inline float32x4_t v_min4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }

static inline v16 v_add(v16 x, v16 y) { return V_EACH2(vaddq_f32, x, y); }
static inline v16 v_sub(v16 x, v16 y) { return V_EACH2(vsubq_f32, x, y); }
static inline v16 v_mul(v16 x, v16 y) { return V_EACH2(vmulq_f32, x, y); }
static inline v16 v_div(v16 x, v16 y) { return V_EACH2(vdivq_f32, x, y); }
static inline v16 v_fma(v16 x, v16 y, v16 z) { return V_EACH3(v_fma4, x, y, z); }
static inline v16 v_fnma(v16 x, v16 y, v16 z) { return V_EACH3(v_fnma4, x, y, z); }
static inline v16 v_max(v16 x, v16 y) { return V_EACH2(v_max4, x, y); }
static inline v16 v_min(v16 x, v16 y) { return V_EACH2(v_min4, x, y); }
static inline v16 v_sqrt(v16 x) { return V_EACH1(vsqrtq_f32, x); }
static inline v16 v_abs(v16 x) { return V_EACH1(vabsq_f32, x); }

static inline float32x4_t
v_keep_ge4(float32x4_t x, float32x4_t y, float32x4_t z)
{
	return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vcgeq_f32(y, z)));
}

static inline v16 v_keep_ge(v16 x, v16 y, v16 z) { return V_EACH3(v_keep_ge4, x, y, z); }

static inline float32x4_t
v_pow2_4(float32x4_t t)
{
	uint32x4_t	n = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);

	return vreinterpretq_f32_u32(vaddq_u32(n, vdupq_n_u32(0x3f800000)));
}

static inline v16 v_ldexp(v16 x, v16 t) { return v_mul(x, V_EACH1(v_pow2_4, t)); }

static inline float
v_sum(v16 x)
{
	float32x4_t y = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
	float32x2_t z = vadd_f32(vget_low_f32(y), vget_high_f32(y));

	return vget_lane_f32(z, 0) + vget_lane_f32(z, 1);
}

static inline float
v_hmax(v16 x)
{
	return vmaxvq_f32(v_max4(v_max4(x.a, x.b), v_max4(x.c, x.d)));
}

static inline float32x4_t
v_from_dot4(const int32_t *acc, int32_t zero, const int32_t *comp)
{
	return vcvtq_f32_s32(vmlsq_n_s32(vld1q_s32(acc), vshrq_n_s32(vld1q_s32(comp), 7), zero));
}

static inline v16
v_from_dot(const int32_t *acc, int32_t zero, const int32_t *comp)
{
	return (v16) {v_from_dot4(acc, zero, comp), v_from_dot4(acc + 4, zero, comp + 4),
				  v_from_dot4(acc + 8, zero, comp + 8), v_from_dot4(acc + 12, zero, comp + 12)};
}

static inline void
v_store_u8(uint8_t *q, v16 t)
{
	uint16x8_t	lo = vcombine_u16(vmovn_u32(vreinterpretq_u32_f32(t.a)), vmovn_u32(vreinterpretq_u32_f32(t.b)));
	uint16x8_t	hi = vcombine_u16(vmovn_u32(vreinterpretq_u32_f32(t.c)), vmovn_u32(vreinterpretq_u32_f32(t.d)));

	vst1q_u8(q, vcombine_u8(vmovn_u16(lo), vmovn_u16(hi)));
}

#endif
