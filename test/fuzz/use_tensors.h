/*
 * use_tensors.h
 *	  What the fuzzers of weight files share: reading all that a reader handed out.
 */
#ifndef USE_TENSORS_H
#define USE_TENSORS_H

#include "fsi_format.h"

#include <stdlib.h>

static volatile float sink;

/* Touch every element, and find every tensor by its name. */
static void
use_tensors(const TensorSet *set)
{
	for (int i = 0; i < set->n; i++)
	{
		const NamedTensor *t = &set->tensors[i];
		int64_t		n = 1;

		for (int d = 0; d < t->n_dim; d++)
			n *= t->dim[d];
		for (int64_t k = 0; k < n; k++)
			sink = t->data[k];
		if (tensors_find(set, t->name) != t)
			abort();
	}
}

#endif
