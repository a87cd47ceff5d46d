/*
 * work.c
 *	  Settings, a call's scratch and the backend's scratch for forward passes.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"
#include "utils/memutils.h"

#include "exec.h"
#include "settings.h"

#define CACHE_SIZE_DEFAULT_KB 65536
#define CACHE_SIZE_MIN_KB 1024

int			fsi_cache_size_kb = CACHE_SIZE_DEFAULT_KB;
int			fsi_simd = KERN_AUTO;

static const struct config_enum_entry simd_options[] = {
	{"auto", KERN_AUTO, false},
	{"scalar", KERN_SCALAR, false},
	{"avx2", KERN_AVX2, false},
	{"avx-vnni", KERN_AVXVNNI, false},
	{"avx512-vnni", KERN_AVX512VNNI, false},
	{"neon", KERN_NEON, false},
	{NULL, 0, false}
};

static MemoryContext work_context;
static FsiHost work_host;
static Gpt2Work *work;
static int	work_level;

static bool
check_simd(int *newval, void **extra, GucSource source)
{
	(void) extra;
	(void) source;
	if (kern_ops((KernLevel) *newval) != NULL)
		return true;
	GUC_check_errdetail("This CPU, or this build of the extension, does not have that level.");
	return false;
}

/* A level that is forced is one to try: what another has answered is no trial of it. */
static void
assign_simd(int newval, void *extra)
{
	(void) extra;
	if (newval != fsi_simd)
		memo_clear();
}

void
exec_init(void)
{
	counters_init();
	store_on_unmap(cache_forget_model);
	if (host_lacks_setting("fsi_intent.cache_size"))
		DefineCustomIntVariable("fsi_intent.cache_size",
								"Memory that a backend may use to keep encoded intents, examples and prompts between calls.",
								"What the running call needs is kept even where it is more.",
								&fsi_cache_size_kb, CACHE_SIZE_DEFAULT_KB, CACHE_SIZE_MIN_KB, MAX_KILOBYTES,
								PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	if (host_lacks_setting("fsi_intent.simd"))
		DefineCustomEnumVariable("fsi_intent.simd",
								 "Level of CPU instructions to use.",
								 "Every level gives the same answers, bit for bit.",
								 &fsi_simd, KERN_AUTO, simd_options,
								 PGC_USERSET, 0, check_simd, assign_simd, NULL);
}

Gpt2Work *
exec_work(void)
{
	FsiError	err = {0};

	if (work != NULL && work_level == fsi_simd)
		return work;
	if (work_context == NULL)
	{
		work_context = AllocSetContextCreate(TopMemoryContext, "fsi_intent work", ALLOCSET_DEFAULT_SIZES);
		host_init(&work_host, work_context);
	}
	if (work != NULL)
		gpt2_work_destroy(work);
	work = NULL;
	HOST_TRY(gpt2_work_create(&work_host, kern_ops((KernLevel) fsi_simd), &work, &err));
	work_level = fsi_simd;
	return work;
}

const char *
exec_simd_name(void)
{
	return kern_ops((KernLevel) fsi_simd)->name;
}

void
exec_call_begin(ExecCall *call, const StoreModel *model)
{
	counters_attach();
	store_check_unchanged(model);
	call->mode = EXEC_CHOOSE;
	call->context = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent call", ALLOCSET_DEFAULT_SIZES);
	host_init(&call->host, call->context);
	fsi_arena_init(&call->arena, &call->host);
}

void
exec_call_end(ExecCall *call)
{
	MemoryContextDelete(call->context);
}
