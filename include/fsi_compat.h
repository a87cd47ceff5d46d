/*
 * fsi_compat.h
 *	  Differences between PostgreSQL versions, in one place.
 *
 * Included by every file of the upper floor right after postgres.h.  PostgreSQL 15 is what
 * Debian 12 ships and what the tests run on.
 */
#ifndef FSI_COMPAT_H
#define FSI_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "fsi_intent requires PostgreSQL 15 or later"
#endif

/* VARDATA_ANY and its kin left postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
/* One function for all kinds of objects took this one's place. */
#define pg_proc_aclcheck(function, role, mode) object_aclcheck(ProcedureRelationId, function, role, mode)
#endif

/* A backend's number of a transaction moved into a struct. */
#if PG_VERSION_NUM >= 170000
#define compat_lxid(proc) ((proc)->vxid.lxid)
#else
#define compat_lxid(proc) ((proc)->lxid)
#endif

/* The planner's guess of an array's length came to want the query it stands in. */
#if PG_VERSION_NUM >= 170000
#define compat_array_length(node) estimate_array_length(NULL, node)
#else
#define compat_array_length(node) ((double) estimate_array_length(node))
#endif

#endif
