/*
 * kern_blas.c
 *	  f32 GEMM through OpenBLAS, a guest that is loaded when first asked for.
 *
 * The pthread flavour starts its threads in the library's constructor, with the signal
 * mask of the caller: in a backend they would run PostgreSQL's signal handlers.  So it starts
 * with one thread and keeps to it, and every signal is blocked while the library loads.  The
 * OpenMP flavour asks OpenMP, for each thread that calls, how many threads a
 * product may have: that is set too, in the environment and in each thread of our own.
 * Never load it in the postmaster: its threads do not survive fork().
 *
 * Where it is refused memory it does not say so: it asks again for ever, with no look at a signal, or
 * ends the process.  So it is looked first whether the memory is to be had, and its buffers are
 * taken at once, all that will be at work together; it keeps them.
 */
#include <assert.h>
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "kern_internal.h"

#define BLAS_LIBRARY "libopenblas.so.0"

/* Values of the standard C interface to BLAS. */
enum { BLAS_ROW_MAJOR = 101, BLAS_NO_TRANS = 111, BLAS_TRANS = 112 };

/* Address space: of the library and the Fortran one that it needs (41 MB), of a product's buffer (128 MB on x86-64). */
#define LIBRARY_BYTES ((size_t) 48 << 20)
#define BUFFER_BYTES ((size_t) 129 << 20)

typedef void (*SgemmFn) (int order, int transa, int transb, int m, int n, int k, float alpha,
						 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef void (*SetThreadsFn) (int threads);
typedef void *(*TakeFn) (int unused);
typedef void (*GiveBackFn) (void *buffer);

static SgemmFn blas_sgemm;
static SetThreadsFn omp_set_threads;	/* NULL: another flavour than OpenMP's */
static TakeFn blas_take;		/* both NULL where the library does not show them */
static GiveBackFn blas_give_back;
static int	reserved;			/* products that have a buffer */

/* Whether n times that much is to be had, one by one: a sum may be refused where the parts are not. */
static FsiStatus
check_room(int n, size_t bytes, FsiError *err)
{
	void	   *room[KERN_BLAS_PRODUCTS];
	int			had = 0;

	while (had < n)
	{
		room[had] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (room[had] == MAP_FAILED)
			break;
		had++;
	}
	for (int i = 0; i < had; i++)
		munmap(room[i], bytes);
	return had == n ? FSI_OK : fsi_nomem(err, bytes);
}

/* Load the library, find what is wanted of it, and let it have one thread. */
static FsiStatus
load_library(FsiError *err)
{
	SetThreadsFn set_threads = NULL;
	void	   *lib;

	FSI_TRY(check_room(1, LIBRARY_BYTES + BUFFER_BYTES, err));
	lib = kern_blas_open(BLAS_LIBRARY);
	if (lib != NULL)
	{
		/* POSIX's way to turn an object pointer into a function pointer. */
		*(void **) &set_threads = dlsym(lib, "openblas_set_num_threads");
		*(void **) &blas_sgemm = dlsym(lib, "cblas_sgemm");
	}
	if (blas_sgemm == NULL)
	{
		const char *why = dlerror();

		fsi_fail(err, FSI_UNSUPPORTED, "could not load OpenBLAS, which models with float weights need");
		fsi_detail(err, "%s.", why ? why : BLAS_LIBRARY " has no cblas_sgemm");
		fsi_hint(err, "Install it (on Debian: apt-get install libopenblas0), or use a model with int8 weights.");
		if (lib != NULL)
			dlclose(lib);
		return FSI_UNSUPPORTED;
	}
	*(void **) &blas_take = dlsym(lib, "blas_memory_alloc");
	*(void **) &blas_give_back = dlsym(lib, "blas_memory_free");
	/* Also of what the library depends on. */
	*(void **) &omp_set_threads = dlsym(lib, "omp_set_num_threads");
	if (set_threads != NULL)
		set_threads(1);
	kern_blas_thread();
	return FSI_OK;
}

FsiStatus
kern_blas_reserve(int products, FsiError *err)
{
	void	   *buffers[KERN_BLAS_PRODUCTS];

	assert(blas_sgemm != NULL && products <= KERN_BLAS_PRODUCTS);
	if (products <= reserved)
		return FSI_OK;
	FSI_TRY(check_room(products - reserved, BUFFER_BYTES, err));
	if (blas_take != NULL && blas_give_back != NULL)
	{
		for (int i = 0; i < products; i++)
			buffers[i] = blas_take(0);
		for (int i = 0; i < products; i++)
			blas_give_back(buffers[i]);
	}
	reserved = products;
	return FSI_OK;
}

FsiStatus
kern_blas_load(FsiError *err)
{
	sigset_t	all,
				old;
	FsiStatus	status = FSI_OK;

	if (blas_sgemm != NULL)
		return kern_blas_reserve(1, err);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	status = load_library(err);
	if (status == FSI_OK)
		status = kern_blas_reserve(1, err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return status;
}

void
kern_blas_thread(void)
{
	if (omp_set_threads != NULL)
		omp_set_threads(1);
}

/* beta stays 0 or 1, with the bias or residual put into y first. */
void
kern_gemm_f32(int m, const float *x, int ldx, const KernMatrix *w, const float *bias, float *y, int ldy,
			  bool residual)
{
	assert(blas_sgemm != NULL && w->type == KERN_F32);
	for (int i = 0; i < m && bias != NULL; i++)
	{
		float	   *to = y + (size_t) i * ldy;

		if (residual)
			for (int j = 0; j < w->n; j++)
				to[j] += bias[j];
		else
			memcpy(to, bias, (size_t) w->n * sizeof(float));
	}
	blas_sgemm(BLAS_ROW_MAJOR, BLAS_NO_TRANS, w->transposed ? BLAS_TRANS : BLAS_NO_TRANS, m, w->n, w->k, 1.0f,
			   x, ldx, w->w, w->transposed ? w->k : w->n, residual || bias != NULL ? 1.0f : 0.0f, y, ldy);
}

void
kern_sgemm(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha,
		   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
	assert(blas_sgemm != NULL);
	blas_sgemm(BLAS_ROW_MAJOR, transpose_a ? BLAS_TRANS : BLAS_NO_TRANS, transpose_b ? BLAS_TRANS : BLAS_NO_TRANS,
			   m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
