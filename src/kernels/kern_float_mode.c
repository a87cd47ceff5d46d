/*
 * kern_float_mode.c
 *	  The calling thread's treatment of subnormal floats.
 *
 * An x86 CPU computes with them up to twenty times slower.  A moment of AdamW whose gradient has ended passes through
 * them for some 150 steps, and what softmax makes of a far lower score stays there.
 */
#include "kern_internal.h"

#if defined(__SSE__)
#include <xmmintrin.h>

#define FLUSH_TO_ZERO 0x8000	/* results */
#define ZERO_SUBNORMALS 0x0040	/* operands */

KernFloatMode
kern_flush_subnormals(void)
{
	KernFloatMode old = _mm_getcsr();

	_mm_setcsr((unsigned) old | FLUSH_TO_ZERO | ZERO_SUBNORMALS);
	return old;
}

void
kern_set_float_mode(KernFloatMode mode)
{
	_mm_setcsr((unsigned) mode);
}

#elif defined(__aarch64__)

#define FLUSH_TO_ZERO ((KernFloatMode) 1 << 24) /* both */

KernFloatMode
kern_flush_subnormals(void)
{
	KernFloatMode old;

	__asm__ volatile("mrs %0, fpcr" : "=r"(old));
	kern_set_float_mode(old | FLUSH_TO_ZERO);
	return old;
}

void
kern_set_float_mode(KernFloatMode mode)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(mode));
}

#else

KernFloatMode
kern_flush_subnormals(void)
{
	return 0;
}

void
kern_set_float_mode(KernFloatMode mode)
{
	(void) mode;
}

#endif
