/*
 * export.c
 *	  A model of this database as a Hugging Face directory on the server.
 */
#include "postgres.h"

#include <sys/stat.h>

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
	mode_t		mask;

	source.model = &model->file.model;
	source.tok = &model->file.tok;
	source.spelling_idf = model->file.spelling_idf;
	source.card = model->file.card;
	source.card_len = model->file.card_len;
	host_init(&host, cxt);
	/* Others are to read it, as what COPY writes: the server's own umask keeps files to itself. */
	mask = umask(S_IWGRP | S_IWOTH);
	PG_TRY();
	{
		HOST_TRY(hf_write_dir(path, &source, &host, &err));
	}
	PG_FINALLY();
	{
		umask(mask);
	}
	PG_END_TRY();
	MemoryContextDelete(cxt);
}
