/*
 * memory.c
 *	  Whether a training fits: what it needs is known before, and running out of memory may cost the server.
 *
 * The bound is fsi_intent.train_memory, or what the machine and the control group have left
 * (Linux says so; elsewhere there is no bound but malloc's).
 */
#include "postgres.h"

#include "storage/fd.h"
#include "utils/guc.h"

#include "tune.h"

static int	train_memory_kb;

void
tune_memory_init(void)
{
	if (host_lacks_setting("fsi_intent.train_memory"))
		DefineCustomIntVariable("fsi_intent.train_memory",
								"Memory that fsi_train may take.",
								"0 means what the machine has available when the training begins.",
								&train_memory_kb, 0, 0, MAX_KILOBYTES,
								PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* The number in a small file of the system's, after a word (or at its beginning); false: there is none. */
static bool
read_number(const char *path, const char *word, double *out)
{
	char		line[256];
	FILE	   *file = AllocateFile(path, "r");
	bool		found = false;

	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, word, strlen(word)) == 0)
			found = sscanf(line + strlen(word), "%lf", out) == 1;
	if (file != NULL)
		FreeFile(file);
	return found;
}

/* Bytes; 0: unknown. */
static double
available_bytes(void)
{
	double		kb;
	double		limit;
	double		used;
	double		cached = 0;		/* counted as used, but given back when it is wanted */
	double		bytes = read_number("/proc/meminfo", "MemAvailable:", &kb) ? kb * 1024 : 0;

	(void) read_number("/sys/fs/cgroup/memory.stat", "inactive_file ", &cached);
	if (read_number("/sys/fs/cgroup/memory.max", "", &limit) && read_number("/sys/fs/cgroup/memory.current", "", &used) &&
		(bytes == 0 || limit - used + cached < bytes))
		bytes = Max(limit - used + cached, 1);
	return bytes;
}

void
tune_check_memory(const StoreModel *model, const TuneOptions *options, const TuneData *data)
{
	const Gpt2Config *cfg = &model->file.model.cfg;
	/* The base model as floats, until the trainer has its own copy: four bytes for each of the file's. */
	double		need = (double) train_bytes(cfg, &options->train, data->longest, data->n_text, data->n_name,
										data->eval.n_text) +
		4.0 * (double) model->size;
	double		limit = train_memory_kb > 0 ? train_memory_kb * 1024.0 : available_bytes();

	if (limit == 0 || need <= limit)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("training needs %.0f MB of memory", need / (1024 * 1024)),
			 train_memory_kb > 0 ? errdetail("The setting fsi_intent.train_memory allows %.0f MB.", limit / (1024 * 1024)) :
			 errdetail("The machine has %.0f MB available.", limit / (1024 * 1024)),
			 cfg->layout == GPT2_SEGMENTS && !options->train.freeze ?
			 errhint("Lower the option \"pass_tokens\" (%d), or train the readout alone with {\"freeze\": true}.",
					 options->train.pass_tokens) :
			 cfg->layout == GPT2_SEGMENTS ?
			 errhint("Lower the option \"pass_tokens\" (%d), \"queries\" (%d) or \"max_ways\" (%d), or take a smaller model.",
					 options->train.pass_tokens, options->train.queries, options->train.max_ways) :
			 errhint("Lower the option \"pass_tokens\" (%d), or take a smaller model.", options->train.pass_tokens)));
}
