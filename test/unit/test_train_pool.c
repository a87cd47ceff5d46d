/*
 * test_train_pool.c
 *	  Tasks take subnormal floats for 0, in the caller's thread and in others, and the caller's mode comes back.
 */
#include "../../src/train/train.h"
#include "tap.h"

#define TASKS 64
#define SUBNORMAL 1e-39f

static volatile float factor = 0.5f;

static void
halve(void *arg, int task, int worker)
{
	volatile float *x = arg;

	(void) worker;
	x[task] *= factor;
}

/* The least normal float halved is subnormal, and so is what is subnormal already. */
static void
test_subnormals(int threads)
{
	static const float values[] = {1.2e-38f, SUBNORMAL};

	for (int k = 0; k < 2; k++)
	{
		FsiArena	arena;
		TrainPool  *pool;
		FsiError	err;
		float		x[TASKS];
		int			zeros = 0;

		fsi_arena_init(&arena, &fsi_host_malloc);
		for (int i = 0; i < TASKS; i++)
			x[i] = values[k];
		if (train_pool_create(&fsi_host_malloc, &arena, threads, &pool, &err) != FSI_OK ||
			train_run(pool, TASKS, halve, x, &err) != FSI_OK)
		{
			ok(false, "pool: %s", err.message);
			return;
		}
		train_pool_destroy(pool);
		fsi_arena_free(&arena);
		for (int i = 0; i < TASKS; i++)
			zeros += x[i] == 0;
		ok(zeros == TASKS, "%d threads: half of %g is 0, as a%s", threads, values[k], k == 0 ? " result" : "n operand");
	}
}

int
main(void)
{
	volatile float subnormal = SUBNORMAL;

#if defined(__SSE__) || defined(__aarch64__)
	test_subnormals(1);
	test_subnormals(3);
#endif
	ok(subnormal * factor > 0, "outside of tasks it is not");
	return tap_done();
}
