/*
 * owner.c
 *	  Evaluate a table's or a domain's expressions as its owner, as REINDEX and REFRESH do: they may call functions of
 *	  the owner's.
 */
#include "postgres.h"

#include "catalog/objectaddress.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store.h"

void
store_set_for_now(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

char *
store_path_of_functions(void)
{
	return *namespace_search_path ? psprintf("pg_catalog, %s, pg_temp", namespace_search_path) : "pg_catalog, pg_temp";
}

bool
store_owns(Oid relid)
{
	return object_ownercheck(RelationRelationId, relid, GetUserId());
}

void
store_check_owner(Oid relid)
{
	if (!store_owns(relid))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

void
store_check_domain_owner(Oid type)
{
	if (!compat_type_ownercheck(type, GetUserId()))
		aclcheck_error_type(ACLCHECK_NOT_OWNER, type);
}

/* Of a row of that cache, the column that says whose the object is. */
static Oid
owner_of(int cache, AttrNumber column, Oid object)
{
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object));
	bool		isnull;
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s with OID %u does not exist", cache == TYPEOID ? "type" : "relation", object)));
	owner = DatumGetObjectId(SysCacheGetAttr(cache, tuple, column, &isnull));
	ReleaseSysCache(tuple);
	return owner;
}

static void
become(Oid owner, StoreSelf *self)
{
	GetUserIdAndSecContext(&self->user, &self->context);
	self->level = NewGUCNestLevel();
	/* An owner who could become this role anyway may do what it likes.  All rows, also where policies bind the owner. */
	SetUserIdAndSecContext(owner, self->context | SECURITY_NOFORCE_RLS |
						   (member_can_set_role(owner, self->user) ? 0 : SECURITY_RESTRICTED_OPERATION));
	store_set_for_now("search_path", "pg_catalog, pg_temp");
	store_set_for_now("row_security", "off");
	/* Neither may rows be taken to be where their partition's bounds say: that is the question. */
	store_set_for_now("constraint_exclusion", "off");
	store_set_for_now("enable_partition_pruning", "off");
	/* The statements are not the caller's own. */
	store_set_for_now("fsi_intent.debug_require_batch", "off");
}

void
store_become_owner(Oid relid, StoreSelf *self)
{
	become(owner_of(RELOID, Anum_pg_class_relowner, relid), self);
}

void
store_become_domain_owner(Oid type, StoreSelf *self)
{
	become(owner_of(TYPEOID, Anum_pg_type_typowner, type), self);
}

void
store_be_self(const StoreSelf *self)
{
	AtEOXact_GUC(false, self->level);
	SetUserIdAndSecContext(self->user, self->context);
}
