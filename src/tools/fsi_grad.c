/*
 * fsi_grad.c
 *	  Compare the trainer's gradients with another program's.
 *
 *	fsi_grad DIR GRADIENTS.safetensors LOSS < IDS
 *
 * DIR is a Hugging Face directory, each line of input one row of token ids; LOSS is the mean
 * cross-entropy over all their targets and the file holds its gradients by name.  Prints each
 * tensor's largest difference relative to its largest element; exit status 1 past TOLERANCE.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fsi_format.h"
#include "fsi_train.h"

#define MAX_ROWS 256
#define MAX_IDS 4096
#define TOLERANCE 2e-4

static FsiArena arena;
static FsiError err;

static void
check(FsiStatus status)
{
	if (status == FSI_OK)
		return;
	fprintf(stderr, "fsi_grad: %s\n", err.message);
	exit(2);
}

/* Rows of standard input; their number. */
static int
read_rows(TrainRow *rows)
{
	char	   *line = NULL;
	size_t		cap = 0;
	int			n_row = 0;

	while (n_row < MAX_ROWS && getline(&line, &cap, stdin) > 0)
	{
		TokIds	   *ids = &rows[n_row].ids;

		ids->ids = fsi_arena_array(&arena, MAX_IDS, sizeof(int32_t));
		if (ids->ids == NULL)
			check(fsi_nomem(&err, MAX_IDS * sizeof(int32_t)));
		for (char *p = line, *end; ids->n < MAX_IDS; p = end)
		{
			long		id = strtol(p, &end, 10);

			if (end == p)
				break;
			ids->ids[ids->n++] = (int32_t) id;
		}
		n_row++;
	}
	free(line);
	return n_row;
}

static double
difference(size_t n, const float *a, const float *b)
{
	double		largest = 0,
				worst = 0;

	for (size_t i = 0; i < n; i++)
	{
		largest = fmax(largest, fabs((double) b[i]));
		worst = fmax(worst, fabs((double) a[i] - (double) b[i]));
	}
	return worst / (largest + 1e-6);
}

int
main(int argc, char **argv)
{
	static TrainRow rows[MAX_ROWS];
	TrainData	data = {.rows = rows};
	TrainOptions o = train_defaults;
	TensorSet	want;
	HfModel		hf;
	Train	   *t;
	int			all[MAX_ROWS];
	double		loss,
				worst;

	if (argc != 4)
	{
		fprintf(stderr, "usage: fsi_grad DIR GRADIENTS.safetensors LOSS < IDS\n");
		return 2;
	}
	fsi_arena_init(&arena, &fsi_host_malloc);
	check(hf_read_dir(argv[1], 0, &arena, &hf, &err));
	check(safetensors_read(argv[2], &arena, &want, &err));
	data.n_row = read_rows(rows);
	for (int i = 0; i < data.n_row; i++)
		all[i] = i;
	o.embd_pdrop = o.resid_pdrop = o.attn_pdrop = 0;
	check(train_create(&fsi_host_malloc, kern_ops(KERN_AUTO), &hf.model, &o, &data, &t, &err));
	check(train_gradients(t, data.n_row, all, &loss, &err));
	worst = fabs(loss - atof(argv[3])) / (1 + fabs(loss));
	printf("loss %.2e\n", worst);
	for (int i = 0; i < want.n; i++)
	{
		size_t		n = 0,
					size = 1;
		const float *got = train_gradient(t, want.tensors[i].name, &n);
		double		error = INFINITY;

		for (int d = 0; d < want.tensors[i].n_dim; d++)
			size *= (size_t) want.tensors[i].dim[d];
		if (got != NULL && n == size)
			error = difference(n, got, want.tensors[i].data);
		printf("%s %.2e\n", want.tensors[i].name, error);
		worst = fmax(worst, error);
	}
	train_destroy(t);
	fsi_arena_free(&arena);
	return !(worst < TOLERANCE);
}
