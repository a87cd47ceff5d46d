/*
 * spell_index.c
 *	  The spelling of many segments at once: for each bucket, who has it and how much.
 *
 * A message has some 60 features, thousands of examples have hundreds of thousands: the
 * index leads to the few that can add something.  Buckets are walked in ascending order,
 * so each cosine is the sum that spell_cosine() makes, bit for bit.
 */
#include "fsi_text.h"

#define STOP_EVERY 1024			/* vectors, of some 60 features, between two questions whether to stop */

/* Number the buckets that are in use, ascending: their starts among n_feature entries. */
static FsiStatus
number_buckets(SpellIndex *index, const size_t *count, size_t *place, FsiArena *arena, FsiError *err)
{
	size_t		at = 0,
				n = 0;

	for (size_t b = 0; b < SPELL_BUCKETS; b++)
		n += count[b] > 0;
	index->bucket = fsi_arena_array(arena, n, sizeof(uint32_t));
	index->start = fsi_arena_array(arena, n + 1, sizeof(size_t));
	if (index->bucket == NULL || index->start == NULL)
		return fsi_nomem(err, n * (sizeof(uint32_t) + sizeof(size_t)));
	for (size_t b = 0; b < SPELL_BUCKETS; b++)
	{
		place[b] = at;
		if (count[b] == 0)
			continue;
		index->bucket[index->n_bucket] = (uint32_t) b;
		index->start[index->n_bucket++] = at;
		at += count[b];
	}
	index->start[n] = at;
	return FSI_OK;
}

static FsiStatus
build(SpellIndex *index, size_t n, const SpellVec *const *vectors, FsiArena *scratch, FsiArena *arena, FsiError *err)
{
	size_t	   *count = fsi_arena_zero(scratch, SPELL_BUCKETS, sizeof(size_t)),
			   *place = fsi_arena_array(scratch, SPELL_BUCKETS, sizeof(size_t)),
				n_feature = 0;

	if (count == NULL || place == NULL)
		return fsi_nomem(err, 2 * SPELL_BUCKETS * sizeof(size_t));
	for (size_t v = 0; v < n; v++)
	{
		if (v % STOP_EVERY == STOP_EVERY - 1 && fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		for (size_t i = 0; i < vectors[v]->n; i++)
			count[vectors[v]->bucket[i]]++;
		n_feature += vectors[v]->n;
	}
	index->vector = fsi_arena_array(arena, n_feature, sizeof(uint32_t));
	index->weight = fsi_arena_array(arena, n_feature, sizeof(float));
	if (index->vector == NULL || index->weight == NULL)
		return fsi_nomem(err, n_feature * (sizeof(uint32_t) + sizeof(float)));
	FSI_TRY(number_buckets(index, count, place, arena, err));
	for (size_t v = 0; v < n; v++)
	{
		if (v % STOP_EVERY == STOP_EVERY - 1 && fsi_should_stop(arena->host))
			return fsi_cancelled(err);
		for (size_t i = 0; i < vectors[v]->n; i++)
		{
			size_t		at = place[vectors[v]->bucket[i]]++;

			index->vector[at] = (uint32_t) v;
			index->weight[at] = vectors[v]->weight[i];
		}
	}
	return FSI_OK;
}

FsiStatus
spell_index_build(size_t n, const SpellVec *const *vectors, FsiArena *arena, SpellIndex *index, FsiError *err)
{
	FsiArena	scratch;
	FsiStatus	status;

	*index = (SpellIndex) {.n = n};
	if (n > UINT32_MAX)
		return fsi_fail(err, FSI_LIMIT, "%zu texts are too many", n);
	fsi_arena_init(&scratch, arena->host);
	status = build(index, n, vectors, &scratch, arena, err);
	fsi_arena_free(&scratch);
	return status;
}

/* First number in [low, n_bucket) whose bucket is not below this one. */
static size_t
find_bucket(const SpellIndex *index, size_t low, uint32_t bucket)
{
	size_t		high = index->n_bucket;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (index->bucket[middle] < bucket)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

FsiStatus
spell_index_cosines(const SpellIndex *index, const SpellVec *message, const FsiHost *host, double *cosine, FsiError *err)
{
	size_t		at = 0,
				seen = 0;

	for (size_t v = 0; v < index->n; v++)
		cosine[v] = 0;
	for (size_t i = 0; i < message->n; i++)
	{
		double		weight = (double) message->weight[i];
		size_t		end;

		at = find_bucket(index, at, message->bucket[i]);
		if (at == index->n_bucket)
			break;
		if (index->bucket[at] != message->bucket[i])
			continue;
		end = index->start[at + 1];
		seen += end - index->start[at];
		if (seen >= STOP_EVERY * 1024)
		{
			seen = 0;
			if (fsi_should_stop(host))
				return fsi_cancelled(err);
		}
		for (size_t j = index->start[at]; j < end; j++)
			cosine[index->vector[j]] += weight * (double) index->weight[j];
	}
	return FSI_OK;
}
