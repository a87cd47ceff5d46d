/*
 * fsi_jobs.h
 *	  Long jobs: fsi_classify_table() classifies a table in committed chunks.
 *
 * What is promised.  When a call ends without an error, every row that was there when the
 * job began, and that nobody has changed since the job read it, has the answer to its text,
 * bit for bit what fsi_classify() gives; rows added or changed while the job ran have too,
 * if that was committed before the last pass came by.  When it ends otherwise (an error,
 * Ctrl-C, a crash of whatever process or machine), what was committed stays, and the same
 * call by the same role goes on from there; no row that is finished is classified again.
 *
 * Chunks are ranges of blocks, because every table has those and they can be cut without
 * reading it; a key is not needed.  A partitioned table is cut as a whole: a chunk is a range
 * of blocks of every partition, read through the parent, so that the parent's rights and
 * policies hold.  A chunk is one transaction: it claims its row in _fsi_job_chunk by a row
 * lock (which a crash releases), reads, classifies, updates and marks the row as done.
 *
 * What is finished.  "target IS NOT NULL" cannot tell: an answer may be NULL, and a column
 * that holds older answers may be classified anew.  A chunk that is done cannot either, alone:
 * an update moves a row, perhaps to a block that is still to come.  So a finished row is known
 * by its xmin: _fsi_job_chunk keeps the transaction of each chunk, and what one of them wrote is
 * not classified again.  The other way round, an update of somebody else's may move a row
 * from a block to come into one that is done, or behind the end.  Such a version is younger
 * than the job: its xmin does not precede the oldest transaction that ran when the job
 * began.  So the pass over all blocks (round 0) is followed by a pass that looks only at
 * rows younger than the job which the job did not write, and by further ones (at most
 * JOBS_MAX_ROUNDS in all) while the last had to leave out rows that were being changed.
 *
 * Rows are not locked while they are classified: the update afterwards takes only the row
 * versions that were read (by ctid and xmin), others are left to the next round.  Rows that
 * hold their answer already are not written.  A deadlock costs the chunk, which is tried again.
 *
 * VACUUM FULL, CLUSTER, TRUNCATE and ALTER TABLE give a table new files, and partitions may
 * come and go: each chunk compares the files, under a lock that keeps them as they are, with
 * those that were cut, and the job cuts anew when they differ; xmin still tells which rows
 * are finished.  Rows deleted and space freed by VACUUM cost nothing: the space is not met
 * again by the job.  Between passes and chunks no transaction is open, so that VACUUM works.
 *
 * Workers are dynamic background workers with the identity and the session's settings of the
 * caller, who works like them.  They end when there is nothing more to claim; the caller
 * starts them again for each pass, and stops them when it ends, however that is.
 */
#ifndef FSI_JOBS_H
#define FSI_JOBS_H

#include "postgres.h"

#include "fsi_compat.h"

#define JOBS_MAX_WORKERS 256
#define JOBS_MAX_CHUNK_ROWS 1000000
#define JOBS_MAX_ROUNDS 5

/* Where a background worker begins; its argument is a handle of dynamic shared memory. */
extern PGDLLEXPORT void fsi_jobs_worker_main(Datum arg);

#endif
