/*
 * canonical.c
 *	  Order-free sums and softmax in double, without libm.
 */
#include <math.h>
#include <stdlib.h>

#include "canonical.h"
#include "fsi_base.h"

/* A total order, not-a-number first: qsort() needs one. */
static int
ascending(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	if (x != x || y != y)
		return (y != y) - (x != x);
	return (x > y) - (x < y);
}

double
canonical_sum(int n, double *v)
{
	double		sum = 0;

	qsort(v, n, sizeof(double), ascending);
	for (int i = 0; i < n; i++)
		sum += v[i];
	return sum;
}

static double
highest(int n, const double *v)
{
	double		max = v[0];

	for (int i = 1; i < n; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

double
canonical_logsumexp(int n, const double *logit, double *scratch)
{
	double		max = highest(n, logit);

	for (int i = 0; i < n; i++)
		scratch[i] = fsi_exp(logit[i] - max);
	return max + fsi_log(canonical_sum(n, scratch));
}

void
canonical_softmax(int n, const double *logit, double *prob, double *scratch)
{
	double		max = highest(n, logit),
				sum;

	for (int i = 0; i < n; i++)
		scratch[i] = prob[i] = logit[i] == -INFINITY ? 0 : fsi_exp(logit[i] - max);
	sum = canonical_sum(n, scratch);
	for (int i = 0; i < n; i++)
		prob[i] /= sum;
}
