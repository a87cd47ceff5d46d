/*
 * batch_explain.c
 *	  What EXPLAIN (ANALYZE) says of a batch node, its parallel workers included.
 *
 * Each process of a parallel plan has a place of its own in shared memory, which it fills as
 * it goes; the leader adds them up before the memory goes.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "commands/explain.h"

#include "batch.h"

struct BatchWorkers
{
	int			n;
	BatchCounts counts[FLEXIBLE_ARRAY_MEMBER];
};

Size
batch_estimate_dsm(CustomScanState *node, ParallelContext *pcxt)
{
	(void) node;
	return add_size(offsetof(BatchWorkers, counts), mul_size(sizeof(BatchCounts), pcxt->nworkers));
}

void
batch_initialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	BatchWorkers *workers = coordinate;

	memset(workers, 0, batch_estimate_dsm(node, pcxt));
	workers->n = pcxt->nworkers;
	((BatchState *) node)->workers = workers;
}

/* Before the workers start again: what they did counts on. */
void
batch_reinitialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	(void) node;
	(void) pcxt;
	(void) coordinate;
}

void
batch_initialize_worker(CustomScanState *node, shm_toc *toc, void *coordinate)
{
	BatchState *b = (BatchState *) node;

	(void) toc;
	b->workers = coordinate;
	/* A worker of a scan that starts again goes on from what the one before it in its place did. */
	b->counts = b->workers->counts[ParallelWorkerNumber];
}

void
batch_publish_counts(BatchState *b)
{
	if (b->workers != NULL && IsParallelWorker())
		b->workers->counts[ParallelWorkerNumber] = b->counts;
}

static void
add_counts(BatchCounts *sum, const BatchCounts *counts)
{
	sum->batches += counts->batches;
	sum->rows += counts->rows;
	sum->tokens += counts->tokens;
	sum->duplicates += counts->duplicates;
	sum->memo_hits += counts->memo_hits;
	sum->vector_hits += counts->vector_hits;
	sum->prefix_hits += counts->prefix_hits;
	sum->single += counts->single;
}

/* The shared memory is about to go: take the workers' counts over. */
void
batch_shutdown(CustomScanState *node)
{
	BatchState *b = (BatchState *) node;

	batch_publish_counts(b);
	if (b->workers == NULL || IsParallelWorker())
		return;
	for (int i = 0; i < b->workers->n; i++)
		add_counts(&b->counts, &b->workers->counts[i]);
	b->workers = NULL;
}

void
batch_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	const BatchCounts *c = &((BatchState *) node)->counts;
	struct
	{
		const char *label;
		uint64		value;
		bool		always;
	}			lines[] = {
		{"Messages", c->rows, true},
		{"Batches", c->batches, true},
		{"Tokens", c->tokens, true},
		{"Duplicates", c->duplicates, false},
		{"Memo Hits", c->memo_hits, false},
		{"Vector Hits", c->vector_hits, false},
		{"Prefix Hits", c->prefix_hits, false},
		{"Rows One by One", c->single, false}
	};

	(void) ancestors;
	if (!es->analyze)
		return;
	for (size_t i = 0; i < lengthof(lines); i++)
		if (lines[i].always || lines[i].value > 0 || es->format != EXPLAIN_FORMAT_TEXT)
			ExplainPropertyUInteger(lines[i].label, NULL, lines[i].value, es);
}
