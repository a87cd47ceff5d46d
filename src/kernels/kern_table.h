/*
 * kern_table.h
 *	  The level's dispatch table out of the functions above it: define KERN_TABLE, KERN_LEVEL, KERN_NAME first.
 */
#include "kern_grad.h"

const KernOps KERN_TABLE = {
	.level = KERN_LEVEL,
	.name = KERN_NAME,
	.quantize = quantize,
	.layer_norm_quantize = layer_norm_quantize,
	.gemm_i8 = gemm_i8,
	.gemv_i8_cols = gemv_i8_cols,
	.layer_norm = layer_norm,
	.activate = activate,
	.add = add,
	.axpy = axpy,
	.dot = dot,
	.dots = dots,
	.gemv_f32 = gemv_f32,
	.softmax = softmax,
	.transpose = transpose,
	.attend = attend,
	.attend_shared = attend_shared,
	.grad = &grad_ops,
};
