/*
 * peer_llama.cpp
 *	  Workload W through llama.cpp: rows in batches that share the prefix's cells, or one row after the other.
 *
 *	peer_llama MODEL.gguf THREADS IDS
 *
 * Requests on standard input, JSON answers on standard output:
 *	tune				choose the fastest number of rows per llama_decode
 *	tree START COUNT	score 8 labels for COUNT rows.  A row has a sequence for each label; the message's tokens belong
 *						to all eight, so that they are computed once, and the prefix to the sequences of all rows
 *	row I				one row as a program with a cached prefix would: 24 tokens, then 4 greedy ones
 */
#include "llama.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

static const int PREFIX = 200, MESSAGE = 24, LABELS = 8, LABEL_TOKENS = 4, ROWS = 2048;
static const int NODES = MESSAGE + LABELS / 2 + 2 * LABELS, ROWS_MAX = 16;

static double
now()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void
check(bool good, const char *what)
{
	if (!good)
	{
		fprintf(stderr, "%s failed\n", what);
		exit(1);
	}
}

struct Batch
{
	llama_batch b;

	explicit Batch(int tokens, int sequences) : b(llama_batch_init(tokens, 0, sequences)) { b.n_tokens = 0; }
	~Batch() { llama_batch_free(b); }

	/* Add a token of sequences first … first + count - 1; returns its number. */
	int add(int token, int position, int first, int count, bool logits)
	{
		int			i = b.n_tokens++;

		b.token[i] = token;
		b.pos[i] = position;
		b.n_seq_id[i] = count;
		for (int s = 0; s < count; s++)
			b.seq_id[i][s] = first + s;
		b.logits[i] = logits;
		return i;
	}
};

struct Work
{
	std::vector<int> prefix, labels, messages;
	int			label(int l, int t) const { return labels[l * LABEL_TOKENS + t]; }
	int			message(int row, int t) const { return messages[(row % ROWS) * MESSAGE + t]; }
};

static Work
read_ids(const char *path)
{
	Work		w;
	FILE	   *f = fopen(path, "rb");

	check(f != nullptr, path);
	w.prefix.resize(PREFIX);
	w.labels.resize(LABELS * LABEL_TOKENS);
	w.messages.resize(ROWS * MESSAGE);
	for (std::vector<int> *v : {&w.prefix, &w.labels, &w.messages})
		check(fread(v->data(), sizeof(int), v->size(), f) == v->size(), "reading ids");
	fclose(f);
	return w;
}

/* A context whose sequences all begin with the prefix. */
static llama_context *
open_context(llama_model *model, int threads, const Work &w, int sequences, int own)
{
	llama_context_params p = llama_context_default_params();
	llama_context *ctx;
	Batch		batch(PREFIX, 1);

	p.n_threads = p.n_threads_batch = threads;
	p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
	p.kv_unified = true;
	p.n_ctx = PREFIX + own;
	p.n_batch = p.n_ubatch = std::max(own, PREFIX);
	p.n_seq_max = sequences;
	ctx = llama_init_from_model(model, p);
	check(ctx != nullptr, "llama_init_from_model");
	for (int i = 0; i < PREFIX; i++)
		batch.add(w.prefix[i], i, 0, 1, i == PREFIX - 1);
	check(llama_decode(ctx, batch.b) == 0, "llama_decode of the prefix");
	for (int s = 1; s < sequences; s++)
		llama_memory_seq_cp(llama_get_memory(ctx), 0, s, -1, -1);
	return ctx;
}

static float
log_sum(const float *x, int n)
{
	float		top = *std::max_element(x, x + n),
				sum = 0;

#pragma omp simd reduction(+:sum)
	for (int i = 0; i < n; i++)
		sum += expf(x[i] - top);
	return top + logf(sum);
}

/* Scores of rows start … start + count - 1, LABELS each, in one llama_decode. */
static void
score_batch(llama_context *ctx, int vocabulary, int threads, const Work &w, int start, int count, double *scores)
{
	Batch		batch(count * NODES, LABELS);
	std::vector<int> node(count * NODES);	/* of each tree node: its token's number in the batch */
	std::vector<float> total(count * NODES);	/* and the logarithm of its softmax's sum */

	for (int r = 0; r < count; r++)
	{
		int		   *n = &node[r * NODES],
					first = r * LABELS;

		for (int t = 0; t < MESSAGE; t++)
			n[t] = batch.add(w.message(start + r, t), PREFIX + t, first, LABELS, t == MESSAGE - 1);
		for (int l = 0; l < LABELS; l += 2)
			n[MESSAGE + l / 2] = batch.add(w.label(l, 0), PREFIX + MESSAGE, first + l, 2, true);
		for (int t = 1; t < LABEL_TOKENS - 1; t++)
			for (int l = 0; l < LABELS; l++)
				n[MESSAGE + 4 + (t - 1) * LABELS + l] = batch.add(w.label(l, t), PREFIX + MESSAGE + t, first + l, 1, true);
	}
	check(llama_decode(ctx, batch.b) == 0, "llama_decode");
	llama_synchronize(ctx);
	std::vector<const float *> logits(count * NODES);
	for (int i = 0; i < count * NODES; i++)
		logits[i] = i % NODES >= MESSAGE - 1 ? llama_get_logits_ith(ctx, node[i]) : nullptr;
#pragma omp parallel for num_threads(threads)
	for (int i = 0; i < count * NODES; i++)
		total[i] = logits[i] ? log_sum(logits[i], vocabulary) : 0;
	for (int r = 0; r < count; r++)
		for (int l = 0; l < LABELS; l++)
		{
			int			at[LABEL_TOKENS] = {MESSAGE - 1, MESSAGE + l / 2, MESSAGE + 4 + l, MESSAGE + 12 + l};
			double		sum = 0;

			for (int t = 0; t < LABEL_TOKENS; t++)
				sum += logits[r * NODES + at[t]][w.label(l, t)] - total[r * NODES + at[t]];
			scores[r * LABELS + l] = sum;
		}
	for (int s = 0; s < count * LABELS; s++)
		llama_memory_seq_rm(llama_get_memory(ctx), s, PREFIX, -1);
}

/* The row's tokens after the cached prefix, then greedy tokens; the last one's number. */
static int
greedy(llama_context *ctx, int vocabulary, const Work &w, int row)
{
	Batch		batch(MESSAGE, 1);
	int			token = 0;

	llama_memory_seq_rm(llama_get_memory(ctx), 0, PREFIX, -1);
	for (int t = 0; t < MESSAGE; t++)
		batch.add(w.message(row, t), PREFIX + t, 0, 1, t == MESSAGE - 1);
	for (int t = 0; t < LABEL_TOKENS; t++)
	{
		const float *logits;

		check(llama_decode(ctx, batch.b) == 0, "llama_decode");
		logits = llama_get_logits_ith(ctx, -1);
		token = (int) (std::max_element(logits, logits + vocabulary) - logits);
		batch.b.n_tokens = 0;
		batch.add(token, PREFIX + MESSAGE + t, 0, 1, true);
	}
	return token;
}

int
main(int argc, char **argv)
{
	double		begin = now();
	llama_model_params p = llama_model_default_params();
	int			threads = argc == 4 ? atoi(argv[2]) : 0,
				per_batch = 8;
	char		command[8];

	if (threads < 1)
	{
		fprintf(stderr, "usage: peer_llama MODEL.gguf THREADS IDS\n");
		return 2;
	}
	llama_log_set([](ggml_log_level level, const char *text, void *) {
		if (level >= GGML_LOG_LEVEL_ERROR)
			fputs(text, stderr);
	}, nullptr);
	llama_backend_init();
	p.n_gpu_layers = 0;
	llama_model *model = llama_model_load_from_file(argv[1], p);
	check(model != nullptr, "llama_model_load_from_file");
	int			vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
	const Work	w = read_ids(argv[3]);
	llama_context *rows = open_context(model, threads, w, ROWS_MAX * LABELS, ROWS_MAX * NODES);
	llama_context *single = open_context(model, threads, w, 1, MESSAGE + LABEL_TOKENS);
	std::vector<double> scores;
	auto		tree = [&](int start, int count) {
		double		t = now();

		scores.resize((size_t) count * LABELS);
		for (int r = 0; r < count; r += per_batch)
			score_batch(rows, vocabulary, threads, w, start + r, std::min(per_batch, count - r), &scores[r * LABELS]);
		return now() - t;
	};

	tree(0, 1);
	greedy(single, vocabulary, w, 0);
	printf("{\"start_seconds\": %.6f}\n", now() - begin);
	fflush(stdout);
	while (scanf("%7s", command) == 1)
	{
		std::string c = command;
		int			start,
					count;

		if (c == "tune")
		{
			double		best = 1e30;
			int			chosen = per_batch;

			for (int n : {4, 8, ROWS_MAX})
			{
				double		t;

				per_batch = n;
				t = tree(0, ROWS_MAX);

				if (t < best)
				{
					best = t;
					chosen = n;
				}
			}
			per_batch = chosen;
			printf("{\"batch\": %d}\n", per_batch);
		}
		else if (c == "tree" && scanf("%d %d", &start, &count) == 2 && count > 0)
		{
			double		t = tree(start, count);

			printf("{\"seconds\": %.6f, \"rows\": %d, \"scores\": [", t, count);
			for (int l = 0; l < LABELS; l++)
				printf("%s%.6f", l ? ", " : "", scores[l]);
			printf("]}\n");
		}
		else if (c == "row" && scanf("%d", &start) == 1)
		{
			double		t = now();
			int			token = greedy(single, vocabulary, w, start);

			printf("{\"seconds\": %.6f, \"rows\": 1, \"token\": %d}\n", now() - t, token);
		}
		else
			check(false, command);
		fflush(stdout);
	}
	llama_free(rows);
	llama_free(single);
	llama_model_free(model);
	llama_backend_free();
	return 0;
}
