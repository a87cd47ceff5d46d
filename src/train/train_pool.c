/*
 * train_pool.c
 *	  A few threads that share a list of numbered tasks.
 *
 * A task's bounds never depend on how many threads there are, so neither does any bit.  All of them take subnormal
 * floats for 0.
 * The threads start with all signals blocked: in a backend they must not run PostgreSQL's
 * handlers.  They touch what a task touches and nothing else: the host (memory, "should I
 * stop?") is the caller's thread's alone.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "train.h"

#define MAX_WORKERS 256

struct TrainPool
{
	const FsiHost *host;
	int			workers;		/* the caller's thread counts */
	int			started;		/* threads that run */
	pthread_t  *threads;
	pthread_mutex_t lock;
	pthread_cond_t begin,
				done;
	uint64_t	run;			/* number of the list in hand; changes under lock */
	int			busy;			/* threads not yet through with it */
	bool		quit;
	/* the list */
	TrainTask	task;
	void	   *arg;
	int			n_task;
	atomic_int	next;
	atomic_bool stop;
};

typedef struct Worker
{
	TrainPool  *pool;
	int			number;
} Worker;

static void
work_through(TrainPool *pool, int worker)
{
	for (;;)
	{
		int			task = atomic_load(&pool->stop) ? pool->n_task : atomic_fetch_add(&pool->next, 1);

		if (task >= pool->n_task)
			return;
		pool->task(pool->arg, task, worker);
	}
}

static void *
thread_main(void *arg)
{
	Worker	   *w = arg;
	TrainPool  *pool = w->pool;
	uint64_t	seen = 0;

	kern_blas_thread();
	(void) kern_flush_subnormals();
	pthread_mutex_lock(&pool->lock);
	for (;;)
	{
		while (pool->run == seen && !pool->quit)
			pthread_cond_wait(&pool->begin, &pool->lock);
		if (pool->quit)
			break;
		seen = pool->run;
		pthread_mutex_unlock(&pool->lock);
		work_through(pool, w->number);
		pthread_mutex_lock(&pool->lock);
		if (--pool->busy == 0)
			pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

FsiStatus
train_pool_create(const FsiHost *host, FsiArena *arena, int workers, TrainPool **out, FsiError *err)
{
	TrainPool  *pool = fsi_arena_zero(arena, 1, sizeof(TrainPool));
	Worker	   *args = fsi_arena_zero(arena, (size_t) workers, sizeof(Worker));
	sigset_t	all,
				old;
	int			refused = 0;

	if (workers < 1 || workers > MAX_WORKERS)
		return fsi_fail(err, FSI_INVALID, "number of threads must be between 1 and %d, not %d", MAX_WORKERS, workers);
	if (pool == NULL || args == NULL)
		return fsi_nomem(err, (size_t) workers * sizeof(Worker));
	pool->threads = fsi_arena_zero(arena, (size_t) workers, sizeof(pthread_t));
	if (pool->threads == NULL)
		return fsi_nomem(err, (size_t) workers * sizeof(pthread_t));
	pool->host = host;
	pool->workers = workers;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->begin, NULL);
	pthread_cond_init(&pool->done, NULL);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (pool->started < workers - 1 && refused == 0)
	{
		args[pool->started] = (Worker) {pool, pool->started + 1};
		refused = pthread_create(&pool->threads[pool->started], NULL, thread_main, &args[pool->started]);
		pool->started += refused == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (refused != 0)
	{
		train_pool_destroy(pool);
		return fsi_fail(err, FSI_LIMIT, "could not start %d threads", workers);
	}
	*out = pool;
	return FSI_OK;
}

void
train_pool_destroy(TrainPool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->begin);
	pthread_mutex_unlock(&pool->lock);
	for (int i = 0; i < pool->started; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->begin);
	pthread_cond_destroy(&pool->done);
	pthread_mutex_destroy(&pool->lock);
}

int
train_pool_workers(const TrainPool *pool)
{
	return pool->workers;
}

/* The caller's share of a list: it alone asks whether to stop, between its tasks. */
static bool
work_and_ask(TrainPool *pool, bool ask)
{
	for (;;)
	{
		int			task;

		if (ask && fsi_should_stop(pool->host))
		{
			atomic_store(&pool->stop, true);
			return false;
		}
		task = atomic_fetch_add(&pool->next, 1);
		if (task >= pool->n_task)
			return true;
		pool->task(pool->arg, task, 0);
	}
}

static bool
run(TrainPool *pool, int n_task, TrainTask task, void *arg, bool ask)
{
	KernFloatMode mode = kern_flush_subnormals();
	bool		through;
	bool		alone = pool->started == 0 || n_task < 2;

	pool->task = task;
	pool->arg = arg;
	pool->n_task = n_task;
	atomic_store(&pool->next, 0);
	atomic_store(&pool->stop, false);
	if (!alone)
	{
		pthread_mutex_lock(&pool->lock);
		pool->run++;
		pool->busy = pool->started;
		pthread_cond_broadcast(&pool->begin);
		pthread_mutex_unlock(&pool->lock);
	}
	through = work_and_ask(pool, ask);
	if (!alone)
	{
		pthread_mutex_lock(&pool->lock);
		while (pool->busy > 0)
			pthread_cond_wait(&pool->done, &pool->lock);
		pthread_mutex_unlock(&pool->lock);
	}
	kern_set_float_mode(mode);
	return through;
}

FsiStatus
train_run(TrainPool *pool, int n_task, TrainTask task, void *arg, FsiError *err)
{
	return run(pool, n_task, task, arg, true) ? FSI_OK : fsi_cancelled(err);
}

void
train_run_through(TrainPool *pool, int n_task, TrainTask task, void *arg)
{
	run(pool, n_task, task, arg, false);
}
