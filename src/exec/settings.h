/*
 * settings.h
 *	  The room's settings.  None of them changes an answer.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

/* Bound of what a backend keeps, in kB. */
extern int	fsi_cache_size_kb;
/* KernLevel to run at. */
extern int	fsi_simd;

#endif
