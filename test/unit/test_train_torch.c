/*
 * test_train_torch.c
 *	  The trainer's gradients against PyTorch's, kept in torch_gradients.h: the same weights and
 *	  rows are formulas here and in test/data/torch_gradients.py.
 */
#include "train_help.h"
#include "torch_gradients.h"

enum { N_TENSOR = sizeof(torch_gradients) / sizeof(torch_gradients[0]), ROWS = 3 };

static double
wave(size_t i, double step)
{
	return sin(1 + step * (double) i);
}

static void
fill(const Gpt2Model *m, int number)
{
	const char *name = torch_gradients[number].name;
	int			gain = strstr(name, "ln_") != NULL && strstr(name, ".weight") != NULL;
	size_t		n = 0;
	float	   *w = train_test_tensor(m, name, &n);

	for (size_t i = 0; i < n; i++)
		w[i] = (float) (gain + 0.3 * wave(i, 0.7 + 0.01 * number));
}

static TrainRow
row(int number, int length, int n_vocab)
{
	TokIds		ids = {test_alloc(&arena, (size_t) length, sizeof(int32_t)), (size_t) length};

	for (int i = 0; i < length; i++)
		ids.ids[i] = (7 * number + 5 * i + i * i) % n_vocab;
	return (TrainRow) {.ids = ids};
}

static void
compare(const Train *t, int number)
{
	size_t		n = 0;
	const float *g = train_gradient(t, torch_gradients[number].name, &n);
	double		length = 0,
				dot = 0,
				scale = torch_gradients[number].length;

	for (size_t i = 0; i < n; i++)
	{
		length += (double) g[i] * (double) g[i];
		dot += (double) g[i] * wave(i, 0.3);
	}
	length = sqrt(length);
	ok(g != NULL && fabs(length - scale) < 3e-5 * scale && fabs(dot - torch_gradients[number].dot) < 3e-5 * scale,
	   "%s: length %.9g, torch's %.9g; dot %.9g, torch's %.9g", torch_gradients[number].name, length, scale, dot,
	   torch_gradients[number].dot);
}

int
main(void)
{
	TestShape	shape = {2, 3, 24, 56, 16, 41, KERN_ACT_GELU_NEW, true, true, false};
	Gpt2Model  *m;
	TrainRow	rows[ROWS];
	TrainData	data = {.n_row = ROWS, .rows = rows};
	TrainOptions o = train_test_options();
	Train	   *t;
	double		loss;

	fsi_arena_init(&arena, &fsi_host_malloc);
	if (!have_blas())
		return tap_done();
	m = train_test_model(shape, false);
	for (int i = 0; i < N_TENSOR; i++)
		fill(m, i);
	rows[0] = row(0, 16, 41);
	rows[1] = row(1, 3, 41);
	rows[2] = row(2, 9, 41);
	t = train_test_create(m, &o, &data);
	must(train_gradients(t, ROWS, (int[]) {0, 1, 2}, &loss, &err));
	ok(fabs(loss - torch_loss) < 1e-6 * torch_loss, "loss %.9g, torch's %.9g", loss, torch_loss);
	for (int i = 0; i < N_TENSOR; i++)
		compare(t, i);
	train_destroy(t);
	fsi_arena_free(&arena);
	return tap_done();
}
