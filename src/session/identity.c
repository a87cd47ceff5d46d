/*
 * identity.c
 *	  A background worker in the place of a session: its user, role and settings there, its errors back.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "fsi_session.h"

void
session_identify(SessionIdentity *identity)
{
	identity->database = MyDatabaseId;
	identity->user = GetAuthenticatedUserId();
	identity->session_user = GetSessionUserId();
	identity->session_superuser = superuser_arg(GetSessionUserId());
	identity->role = GetCurrentRoleId();
	identity->superuser = superuser_arg(GetUserId());
}

/* What makes a session what it is, and cannot be given to another, or has no sense there. */
static bool
is_personal(const char *name)
{
	static const char *const personal[] = {
		"role", "session_authorization", "client_encoding", "client_min_messages", "transaction_isolation",
		"transaction_read_only", "transaction_deferrable", "seed"
	};

	for (size_t i = 0; i < lengthof(personal); i++)
		if (strcmp(name, personal[i]) == 0)
			return true;
	return false;
}

/* What the client asked for, at its start or since; what databases, roles and files set reaches a worker by itself. */
void
session_collect_settings(StringInfo out)
{
	int			n;
	struct config_generic **all = compat_guc_variables(&n);

	for (int i = 0; i < n; i++)
	{
		const struct config_generic *setting = all[i];
		const char *value;

		if ((setting->source != PGC_S_CLIENT && setting->source != PGC_S_SESSION) || is_personal(setting->name))
			continue;
		if (setting->context != PGC_USERSET && setting->context != PGC_SUSET)
			continue;
		value = GetConfigOption(setting->name, true, false);
		if (value == NULL)
			continue;
		appendBinaryStringInfo(out, setting->name, (int) strlen(setting->name) + 1);
		appendBinaryStringInfo(out, value, (int) strlen(value) + 1);
		/* With what rights: SET ROLE may have been between. */
		appendStringInfo(out, "%d %u", (int) setting->scontext, setting->srole);
		appendStringInfoChar(out, '\0');
	}
	appendStringInfoChar(out, '\0');
}

static void
apply_settings(const char *settings)
{
	while (*settings)
	{
		const char *name = settings;
		const char *value = name + strlen(name) + 1;
		const char *rights = value + strlen(value) + 1;
		int			context = 0;
		Oid			role = InvalidOid;

		(void) sscanf(rights, "%d %u", &context, &role);
		(void) set_config_option_ext(name, value, (GucContext) context, PGC_S_SESSION, role, GUC_ACTION_SET, true, WARNING,
									 false);
		settings = rights + strlen(rights) + 1;
	}
}

static void
assume_setting(const char *name, Oid role)
{
	(void) set_config_option(name, GetUserNameFromId(role, false), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET, true, WARNING,
							 false);
}

void
session_assume(const SessionIdentity *identity, const char *settings)
{
	apply_settings(settings);
	/* The settings of that name too: policies ask them, and whatever sets a role for a while goes back to them. */
	if (identity->session_user != identity->user)
		assume_setting("session_authorization", identity->session_user);
	if (OidIsValid(identity->role))
		assume_setting("role", identity->role);
	SetSessionAuthorization(identity->session_user, identity->session_superuser);
	SetCurrentRoleId(identity->role, identity->superuser);
}

static void
note_text(char *out, const char *s)
{
	int			len = s ? (int) strlen(s) : 0;

	len = pg_mbcliplen(s ? s : "", len, SESSION_MESSAGE_BYTES - 1);
	memcpy(out, s ? s : "", len);
	out[len] = '\0';
}

void
session_note_error(SessionError *to, const ErrorData *error)
{
	note_text(to->message, error->message);
	note_text(to->detail, error->detail);
	note_text(to->hint, error->hint);
	note_text(to->context, error->context);
	pg_write_barrier();
	to->sqlstate = error->sqlerrcode;
}

void
session_raise_error(const SessionError *error, const char *context)
{
	ereport(ERROR,
			(errcode(error->sqlstate),
			 errmsg_internal("%s", error->message),
			 error->detail[0] ? errdetail_internal("%s", error->detail) : 0,
			 error->hint[0] ? errhint("%s", error->hint) : 0,
			 error->context[0] ? errcontext("%s", error->context) : 0,
			 errcontext("%s", context)));
}
