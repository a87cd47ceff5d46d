/*
 * canonical.h
 *	  Sums that do not depend on the order of their terms: sorted first, added in double.
 *	  Private to src/engine.
 */
#ifndef ENGINE_CANONICAL_H
#define ENGINE_CANONICAL_H

/* Sorts v (n) ascending in place and returns its sum in that order. */
extern double canonical_sum(int n, double *v);
/* log(sum(exp(logit))) of finite logits, in canonical order.  scratch (n); n >= 1. */
extern double canonical_logsumexp(int n, const double *logit, double *scratch);
/*
 * prob[i] = exp(logit[i] - max) / sum: the sum in canonical order.  scratch (n).  A
 * permutation of logit permutes prob and changes no bit.  n >= 1; -infinity gives 0.
 */
extern void canonical_softmax(int n, const double *logit, double *prob, double *scratch);

#endif
