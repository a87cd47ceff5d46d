/*
 * format_temp.h
 *	  What is written as NAME.tmp-PID before it gets the name that it is for.  Private to src/format.
 *
 * Who is at work there holds a lock on it (flock), which goes with the process, however that ends.  So what a killed
 * one has left is told from what others are writing, be they of another server or in another container, and goes when
 * NAME is written again.  Where the file system has no locks, and NFS has none of folders, nothing is removed.
 */
#ifndef FORMAT_TEMP_H
#define FORMAT_TEMP_H

#include <dirent.h>
#include <stdbool.h>

#define FORMAT_TEMP ".tmp-"			/* and the process id */
#define FORMAT_TEMP_DIGITS 10		/* of that, at most */
#define FORMAT_TEMP_TRIES 10		/* others may take what is not locked yet for a left-over */

/* The path's last part; its parent, opened, or -1. */
extern const char *format_base(const char *path);
extern int	format_open_parent(const char *path);
/* A stream of a directory's names; fd stays open, its lock held. */
extern DIR *format_names_of(int fd);
/* Lock what was just made under that name: false if another has it, or has removed it.  True where none can be had. */
extern bool format_lock_new(int fd, int parent, const char *name);
/* Lock a left-over: false if it is another user's, at work, or has gone. */
extern bool format_lock_left_over(int fd, int parent, const char *name);
/* Call remove() for all that has such a name of base. */
extern void format_remove_left_overs(int parent, const char *base, void (*remove) (int parent, const char *name));

#endif
