/*
 * kern_blas_open.c
 *	  Load OpenBLAS with kernels that suit this CPU.
 *
 * OpenBLAS knows CPUs by their numbers.  One that is newer than the library it may take for the oldest of its maker's
 * (0.3.21 of Debian 12 does so with Intel's family 6, model 207), with products several times slower.  What it took it
 * says when it is loaded; what it should take it asks the environment, in its constructor.  So it is loaded once more
 * where the choice was bad.  Whoever has set OPENBLAS_CORETYPE is obeyed.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "kern_internal.h"

#define CORE_VARIABLE "OPENBLAS_CORETYPE"

/* One thread: read by the constructors of OpenBLAS and of OpenMP. */
static const char *const threads_variables[] = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"};
#define N_VARIABLE (sizeof(threads_variables) / sizeof(threads_variables[0]))

typedef char *(*CoreNameFn) (void);

#if defined(__x86_64__)

/* Kernels without AVX. */
static const char *const old_cores[] = {
	"Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Atom", "Core2", "Penryn", "Dunnington", "Nehalem",
	"Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Nano",
};

/* OpenBLAS's name for kernels that use what this CPU has; NULL: it has no AVX2 either. */
static const char *
core_of_cpu(void)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return NULL;
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl") ? "SkylakeX" : "Haswell";
}

const char *
kern_blas_better_core(const char *taken)
{
	for (size_t i = 0; i < sizeof(old_cores) / sizeof(old_cores[0]); i++)
		if (strcmp(taken, old_cores[i]) == 0)
			return core_of_cpu();
	return NULL;
}

#else

const char *
kern_blas_better_core(const char *taken)
{
	(void) taken;
	return NULL;
}

#endif

static void *
open_library(const char *name)
{
	return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

/* Where others in this process have the library too, it stays as it is. */
static void *
with_better_core(void *lib, const char *name)
{
	CoreNameFn	core_name;
	const char *better;

	/* POSIX's way to turn an object pointer into a function pointer. */
	*(void **) &core_name = dlsym(lib, "openblas_get_corename");
	if (core_name == NULL || getenv(CORE_VARIABLE) != NULL)
		return lib;
	better = kern_blas_better_core(core_name());
	if (better == NULL)
		return lib;
	dlclose(lib);
	setenv(CORE_VARIABLE, better, 1);
	lib = open_library(name);
	unsetenv(CORE_VARIABLE);
	return lib;
}

void *
kern_blas_open(const char *name)
{
	bool		set[N_VARIABLE];
	void	   *lib;

	for (size_t i = 0; i < N_VARIABLE; i++)
	{
		set[i] = getenv(threads_variables[i]) == NULL;
		if (set[i])
			setenv(threads_variables[i], "1", 1);
	}
	lib = open_library(name);
	if (lib != NULL)
		lib = with_better_core(lib, name);
	for (size_t i = 0; i < N_VARIABLE; i++)
		if (set[i])
			unsetenv(threads_variables[i]);
	return lib;
}
