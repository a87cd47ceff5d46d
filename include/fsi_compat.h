/*
 * fsi_compat.h
 *	  Differences between PostgreSQL versions, in one place.
 *
 * The upper floor's headers include it, so every file of it has it.  The tests run on 15, by
 * `make check-debian` on 17 and 18, and on 16 by hand.
 */
#ifndef FSI_COMPAT_H
#define FSI_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "fsi_intent requires PostgreSQL 15 or later"
#endif

/* VARDATA_ANY and its kin left postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#include "catalog/pg_proc.h"
/* One function for all kinds of objects took this one's place. */
#define pg_proc_aclcheck(function, role, mode) object_aclcheck(ProcedureRelationId, function, role, mode)
#endif

/* The mark of a function that does not return moved to the front of its declaration. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Libraries may tell their name and version. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_MODULE_MAGIC(...) PG_MODULE_MAGIC_EXT(__VA_ARGS__)
#else
#define COMPAT_MODULE_MAGIC(...) PG_MODULE_MAGIC
#endif

/* ExplainPropertyUInteger() and its kin left commands/explain.h. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif

/* A backend's number of a transaction moved into a struct. */
#if PG_VERSION_NUM >= 170000
#define compat_lxid(proc) ((proc)->vxid.lxid)
#else
#define compat_lxid(proc) ((proc)->lxid)
#endif

/* random() got namesakes with arguments. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_F_RANDOM F_RANDOM_
#else
#define COMPAT_F_RANDOM F_RANDOM
#endif

/* The process that holds a lock; backends' ids became numbers of PGPROCs. */
#if PG_VERSION_NUM >= 170000
#define compat_holder(vxid) ProcNumberGetProc((vxid).procNumber)
#else
#define compat_holder(vxid) BackendIdGetProc((vxid).backendId)
#endif

/* The list of settings tells its own length. */
#if PG_VERSION_NUM >= 160000
#define compat_guc_variables(n) get_guc_variables(n)
#else
#define compat_guc_variables(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* Checks of ownership became one function for all kinds of objects. */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(class, relation, role) pg_class_ownercheck(relation, role)
#define compat_type_ownercheck(type, role) pg_type_ownercheck(type, role)
#else
#define compat_type_ownercheck(type, role) object_ownercheck(TypeRelationId, type, role)
#endif

/* A member of a role came to be one that may not become it. */
#if PG_VERSION_NUM < 160000
#define member_can_set_role(member, role) is_member_of_role(member, role)
#endif

/* Transactions came to have a time limit. */
#if PG_VERSION_NUM >= 170000
#define compat_transaction_timed_out() (TransactionTimeoutPending && TransactionTimeout > 0)
#else
#define compat_transaction_timed_out() false
#endif

/* Extensions may be installed elsewhere than in the server's own folder. */
#if PG_VERSION_NUM >= 180000
#define compat_extension_control_path() Extension_control_path
#else
#define compat_extension_control_path() "$system"
#endif

/* Index scans came to count what they do. */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot) index_beginscan(heap, index, snapshot, NULL, 0, 0)
#else
#define compat_index_beginscan(heap, index, snapshot) index_beginscan(heap, index, snapshot, 0, 0)
#endif

/* Whether a query is run once at most came to be known by itself. */
#if PG_VERSION_NUM >= 180000
#define compat_executor_run(query) ExecutorRun(query, ForwardScanDirection, 0)
#else
#define compat_executor_run(query) ExecutorRun(query, ForwardScanDirection, 0, true)
#endif

/* Plans came to count the nodes in them that enable_seqscan and its kin have not kept away. */
#if PG_VERSION_NUM >= 180000
#define compat_disabled_nodes(plan) ((plan)->disabled_nodes)
#define compat_add_disabled_nodes(plan, n) ((void) ((plan)->disabled_nodes += (n)))
#else
#define compat_disabled_nodes(plan) 0
#define compat_add_disabled_nodes(plan, n) ((void) (plan), (void) (n))
#endif

/* MERGE learned of rows that the source lacks. */
#if PG_VERSION_NUM >= 170000
#define compat_merge_conditions(modify) ((modify)->mergeJoinConditions)
#else
#define compat_merge_conditions(modify) NIL
#endif

/* The planner's guess of an array's length came to want the query it stands in. */
#if PG_VERSION_NUM >= 170000
#define compat_array_length(node) estimate_array_length(NULL, node)
#else
#define compat_array_length(node) ((double) estimate_array_length(node))
#endif

#endif
