/*
 * train_schedule.c
 *	  Options, their ranges, and the learning rate of every step, as Hugging Face's schedulers have it.
 */
#include <math.h>

#include "train.h"

#define PI 3.14159265358979323846

const TrainOptions train_defaults = {
	.learning_rate = 5e-5,
	.lr_scheduler_type = TRAIN_LINEAR,
	.num_train_epochs = 3,
	.per_device_train_batch_size = 8,
	.gradient_accumulation_steps = 1,
	.adam_beta1 = 0.9,
	.adam_beta2 = 0.999,
	.adam_epsilon = 1e-8,
	.max_grad_norm = 1,
	.embd_pdrop = 0.1,
	.resid_pdrop = 0.1,
	.attn_pdrop = 0.1,
	.seed = 42,
	.threads = 1,
	.pass_tokens = 2048,
	.loss = TRAIN_LOSS_ALL,
	.prompt_loss_weight = 0.1,
	.min_ways = 2,
	.max_ways = 16,
	.max_shots = 3,
	.queries = 6,
	.hidden_names = 0.25,
	.missing = 0.1,
	.described = 0.3,
	.spelling_weight = 100,
	.discriminant_share = 100,
};

/* NaN is outside every range. */
static FsiStatus
check_real(const char *name, double value, double low, double high, FsiError *err)
{
	char		given[FSI_NUMBER_BYTES];

	if (value >= low && value <= high)
		return FSI_OK;
	fsi_number_text(value, false, given);
	return fsi_fail(err, FSI_INVALID, "option \"%s\" must be between %g and %g, not %s", name, low, high, given);
}

/* A share of less than one. */
static FsiStatus
check_below_one(const char *name, double value, FsiError *err)
{
	char		given[FSI_NUMBER_BYTES];

	if (value >= 0 && value < 1)
		return FSI_OK;
	fsi_number_text(value, false, given);
	return fsi_fail(err, FSI_INVALID, "option \"%s\" must be at least 0 and below 1, not %s", name, given);
}

/* The kernel divides by 1 - rate in float. */
static FsiStatus
check_dropout(const char *name, double rate, FsiError *err)
{
	FSI_TRY(check_below_one(name, rate, err));
	if ((float) rate < 1)
		return FSI_OK;
	return fsi_fail(err, FSI_INVALID, "option \"%s\" is too near to 1", name);
}

static FsiStatus
check_count(const char *name, int64_t value, int64_t low, int64_t high, FsiError *err)
{
	if (value >= low && value <= high)
		return FSI_OK;
	return fsi_fail(err, FSI_INVALID, "option \"%s\" must be between %lld and %lld, not %lld", name, (long long) low,
					(long long) high, (long long) value);
}

static FsiStatus
check_optimiser(const TrainOptions *o, FsiError *err)
{
	FSI_TRY(check_real("learning_rate", o->learning_rate, 0, 10, err));
	FSI_TRY(check_count("lr_scheduler_type", (int64_t) o->lr_scheduler_type, TRAIN_LINEAR, TRAIN_CONSTANT_WITH_WARMUP,
						err));
	FSI_TRY(check_count("max_steps", o->max_steps, 0, INT64_C(1) << 40, err));
	FSI_TRY(check_real("num_train_epochs", o->num_train_epochs, 1e-6, 1e6, err));
	FSI_TRY(check_count("warmup_steps", o->warmup_steps, 0, INT64_C(1) << 40, err));
	FSI_TRY(check_real("warmup_ratio", o->warmup_ratio, 0, 1, err));
	FSI_TRY(check_count("per_device_train_batch_size", o->per_device_train_batch_size, 1, 65536, err));
	FSI_TRY(check_count("gradient_accumulation_steps", o->gradient_accumulation_steps, 1, 65536, err));
	FSI_TRY(check_count("per_device_train_batch_size * gradient_accumulation_steps",
						(int64_t) o->per_device_train_batch_size * o->gradient_accumulation_steps, 1, 1 << 20, err));
	FSI_TRY(check_real("weight_decay", o->weight_decay, 0, 1, err));
	FSI_TRY(check_below_one("adam_beta1", o->adam_beta1, err));
	FSI_TRY(check_below_one("adam_beta2", o->adam_beta2, err));
	FSI_TRY(check_real("adam_epsilon", o->adam_epsilon, 1e-30, 1, err));
	return check_real("max_grad_norm", o->max_grad_norm, 0, 1e30, err);
}

FsiStatus
train_check_options(const TrainOptions *o, FsiError *err)
{
	FSI_TRY(check_optimiser(o, err));
	FSI_TRY(check_dropout("embd_pdrop", o->embd_pdrop, err));
	FSI_TRY(check_dropout("resid_pdrop", o->resid_pdrop, err));
	FSI_TRY(check_dropout("attn_pdrop", o->attn_pdrop, err));
	FSI_TRY(check_count("threads", o->threads, 1, 256, err));
	FSI_TRY(check_count("pass_tokens", o->pass_tokens, 1, 1 << 20, err));
	FSI_TRY(check_count("loss", (int64_t) o->loss, TRAIN_LOSS_ALL, TRAIN_LOSS_WEIGHTED, err));
	FSI_TRY(check_real("prompt_loss_weight", o->prompt_loss_weight, 0, 1, err));
	FSI_TRY(check_count("min_ways", o->min_ways, 2, 10000, err));
	FSI_TRY(check_count("max_ways", o->max_ways, 2, 10000, err));
	FSI_TRY(check_count("min_ways", o->min_ways, 2, o->max_ways, err));
	FSI_TRY(check_count("max_shots", o->max_shots, 0, 100, err));
	FSI_TRY(check_count("queries", o->queries, 1, 10000, err));
	FSI_TRY(check_real("hidden_names", o->hidden_names, 0, 1, err));
	FSI_TRY(check_real("missing", o->missing, 0, 1, err));
	FSI_TRY(check_real("described", o->described, 0, 1, err));
	FSI_TRY(check_real("spelling_weight", o->spelling_weight, 0, 100, err));
	FSI_TRY(check_real("name_share", o->name_share, 0, 1, err));
	return check_real("discriminant_share", o->discriminant_share, 0, 100, err);
}

/* Share of learning_rate at update number step + 1 of max_steps; the first update of a warm-up has rate 0. */
double
train_learning_rate(const TrainOptions *o, int64_t step, int64_t max_steps)
{
	double		warmup = o->warmup_steps > 0 ? (double) o->warmup_steps : ceil((double) max_steps * o->warmup_ratio),
				at = (double) step,
				left = (double) max_steps - warmup,
				done;

	if (o->lr_scheduler_type == TRAIN_CONSTANT)
		return o->learning_rate;
	if (at < warmup)
		return o->learning_rate * at / (warmup > 1 ? warmup : 1);
	if (o->lr_scheduler_type == TRAIN_CONSTANT_WITH_WARMUP)
		return o->learning_rate;
	done = (at - warmup) / (left > 1 ? left : 1);
	if (done > 1)
		return 0;
	if (o->lr_scheduler_type == TRAIN_COSINE)
		return o->learning_rate * 0.5 * (1 + cos(PI * done));
	return o->learning_rate * (1 - done);
}

/* As torch's clip_grad_norm_(). */
double
train_clip_factor(double norm, double max_grad_norm)
{
	double		factor = max_grad_norm / (norm + 1e-6);

	return max_grad_norm > 0 && factor < 1 ? factor : 1;
}
