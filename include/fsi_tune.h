/*
 * fsi_tune.h
 *	  Fine-tuning from SQL: fsi_train() over the trainer of the lower floor (fsi_train.h).
 *
 * What is promised.  A call reads its rows in one snapshot, commits, trains without a
 * transaction that anybody waits for, and registers the result in a last transaction of its
 * own: until that commits, nobody sees anything of it; from then on everybody does, a
 * statement that began before keeps the weights that its snapshot saw (fsi_store.h).
 *
 * When it ends otherwise (an error, Ctrl-C, a crash of whatever process or machine), the last
 * checkpoint stays, and the same call by the same role goes on from there: same name, same
 * rows, same options, same weights of the base model.  It ends in the same weights, bit for
 * bit, as a call that nobody stopped, on the same machine.
 *
 * Checkpoints lie in a folder of their own in PGDATA/fsi_intent, named by database and model:
 *
 *	plan		what the training is: base model, hash of the rows, options, as lines of text
 *	last		the state to go on from (src/train/train_checkpoint.c), replaced by rename
 *	best		the state with the best evaluation, if that is not the base model's own
 *	events.*	TensorBoard's files, unless logging_dir names another place
 *
 * The folder's name begins as those of temporary files do, so that base backups leave it out:
 * no other server can go on with it.  It goes when the model is registered.
 *
 * A name is trained by one call at a time: the call holds a session's lock on it.  A background
 * worker runs the call with the caller's identity, role and settings.
 */
#ifndef FSI_TUNE_H
#define FSI_TUNE_H

#include "postgres.h"

#include "fsi_compat.h"

/* Where a background worker begins; its argument is a handle of dynamic shared memory. */
extern PGDLLEXPORT void fsi_train_worker_main(Datum arg);

extern void tune_init(void);	/* settings, shared memory */

#endif
