/*
 * seed_format.c
 *	  Write small good files into DIR/safetensors, DIR/torchbin, DIR/fsifile and DIR/template, for the fuzzers to start from.
 */
#include "../unit/torchbin_help.h"

static void
seed(const char *dir, const char *name, TinyModel m, const char *more)
{
	uint8_t		sha256[FSI_SHA256_BYTES];
	HfModel		model;
	FsiBytes	weights;
	char		path[1024];

	m.prefix = "transformer.";
	weights = tiny_weights(&m);
	snprintf(path, sizeof(path), "%s/safetensors/%s", dir, name);
	write_file(path, weights.data, weights.len);
	snprintf(path, sizeof(path), "%s/fsifile/%s", dir, name);
	if (!fine(hf_read_dir(tiny_dir(name, &m, more, true), HF_NEED_TOKENIZER, &arena, &model, &err)) ||
		!fine(fsifile_write(path, &model, &fsi_host_malloc, sha256, &err)))
		exit(1);
}

static void
seed_bytes(const char *dir, const char *name, FsiBytes bytes)
{
	char		path[1024];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	write_file(path, bytes.data, bytes.len);
}

static const char template_file[] =
	"prompt_template:\nread, or {not_applicable}\n{intent_description}\n---\n{examples}\n---\ntext: {text}\nintent:\n"
	"response_template:\n{intent}\nid: {intent_symbol}\nkwargs:\n{\"description\": \"null\", "
	"\"example_template\": \"{text}: {intent}\", \"example_sep\": \"; \", "
	"\"intent_description_template\": \"{intent}: {intent_description}\", \"not_applicable_variable\": \"[\\\"a\\\"]\", "
	"\"not_applicable_rate\": 0.1, \"max_n_way\": 7, \"max_n_shot\": 4}\n--- [define prompt template end] ---\n";

int
main(int argc, char **argv)
{
	char		path[1024];

	if (argc != 2)
		return 2;
	snprintf(path, sizeof(path), "%s/safetensors", argv[1]);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/fsifile", argv[1]);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/template", argv[1]);
	mkdir(path, 0777);
	write_file(strcat(path, "/all"), template_file, sizeof(template_file) - 1);
	snprintf(path, sizeof(path), "%s/torchbin", argv[1]);
	mkdir(path, 0777);
	help_start();
	seed_bytes(path, "zip", zip_of(pk_state(good, 5, false)));
	seed_bytes(path, "legacy", legacy_of(pk_state(good, 3, true)));
	seed(argv[1], "plain", (TinyModel) {.vocab = 30}, "");
	seed(argv[1], "untied", (TinyModel) {.vocab = 30, .with_head = true}, ", \"tie_word_embeddings\": false");
	help_end();
	return 0;
}
