/*
 * kern_dispatch.c
 *	  Choose a level by what this CPU, its operating system and this build have.
 */
#include <string.h>

#include "kern_internal.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

float
kern_log_sum(float sum, float max)
{
	return (float) (fsi_log((double) sum) + (double) max);
}

#if defined(__x86_64__)

/* AVX-VNNI: leaf 7.1 EAX bit 4 (not a name of __builtin_cpu_supports() in gcc 12). */
static bool
has_avxvnni(void)
{
	unsigned	a,
				b,
				c,
				d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4)) != 0;
}

/* __builtin_cpu_supports() looks at XGETBV too: the registers are saved by the operating system. */
static const KernOps *
level_of_cpu(KernLevel level)
{
	bool		avx2;

	__builtin_cpu_init();
	avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	switch (level)
	{
		case KERN_AVX2:
			return avx2 ? &kern_table_avx2 : NULL;
		case KERN_AVXVNNI:
			return avx2 && has_avxvnni() ? &kern_table_avxvnni : NULL;
		case KERN_AVX512VNNI:
			return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
				__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
				__builtin_cpu_supports("avx512vnni") ? &kern_table_avx512 : NULL;
		default:
			return NULL;
	}
}

#elif defined(__aarch64__)

static const KernOps *
level_of_cpu(KernLevel level)
{
	return level == KERN_NEON && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 ? &kern_table_neon : NULL;
}

#else

static const KernOps *
level_of_cpu(KernLevel level)
{
	(void) level;
	return NULL;
}

#endif

const KernOps *
kern_ops(KernLevel level)
{
	static const KernLevel best[] = {KERN_AVX512VNNI, KERN_AVXVNNI, KERN_AVX2, KERN_NEON};

	if (level == KERN_SCALAR)
		return &kern_table_scalar;
	if (level != KERN_AUTO)
		return level_of_cpu(level);
	for (size_t i = 0; i < sizeof(best) / sizeof(best[0]); i++)
	{
		const KernOps *ops = level_of_cpu(best[i]);

		if (ops != NULL)
			return ops;
	}
	return &kern_table_scalar;
}

KernLevel
kern_level_by_name(const char *name)
{
	static const struct
	{
		const char *name;
		KernLevel	level;
	}			names[] = {
		{"auto", KERN_AUTO}, {"scalar", KERN_SCALAR}, {"avx2", KERN_AVX2}, {"avx-vnni", KERN_AVXVNNI},
		{"avx512-vnni", KERN_AVX512VNNI}, {"neon", KERN_NEON}
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i].name) == 0)
			return names[i].level;
	return (KernLevel) -1;
}
