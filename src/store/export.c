/*
 * export.c
 *	  A model of this database as a Hugging Face directory on the server.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "store.h"

void
store_export(const char *name, const char *path)
{
	FsiError	err = {0};
	const StoreModel *model = store_model(name);
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "fsi_intent export", ALLOCSET_DEFAULT_SIZES);
	FsiHost		host;
	HfExport	source = {0};

	source.model = &model->file.model;
	source.tok = &model->file.tok;
	source.spelling_idf = model->file.spelling_idf;
	source.card = model->file.card;
	source.card_len = model->file.card_len;
	host_init(&host, cxt);
	HOST_TRY(hf_write_dir(path, &source, &host, &err));
	MemoryContextDelete(cxt);
}
