/*
 * toksrc_json.c
 *	  JSON files of a tokenizer directory, read with Jansson.
 *
 * Only read: the postgres executable exports a symbol json_object() of its own, so no
 * constructor of Jansson's may be called from here.
 */
#include <stdio.h>
#include <string.h>

#include "tokbuild.h"

#define FILE_LIMIT ((size_t) 64 * 1024 * 1024)
#define JSON_VALUES ((size_t) 1 << 22)	/* no more than a vocabulary and its merges have */
#define PATH_LIMIT 4096

FsiStatus
toksrc_read(const char *dir, const char *name, FsiArena *arena, uint8_t **data, size_t *len, FsiError *err)
{
	char		path[PATH_LIMIT];

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int) sizeof(path))
		return fsi_fail(err, FSI_INVALID, "path \"%.100s…\" is too long", dir);
	return fsi_read_file(path, FILE_LIMIT, arena, data, len, err);
}

FsiStatus
toksrc_load(const char *dir, const char *name, FsiArena *arena, json_t **json, FsiError *err)
{
	uint8_t    *data;
	size_t		len;
	json_error_t where;
	FsiStatus	status;

	*json = NULL;
	FSI_TRY(toksrc_read(dir, name, arena, &data, &len, err));
	FSI_TRY(fsi_json_check_values(name, (const char *) data, len, JSON_VALUES, err));
	/* integers as reals: "model_max_length" is often 10^30, past any integer */
	status = fsi_json_read(arena->host, (const char *) data, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, json,
						   &where, err);
	if (status == FSI_CORRUPT)
		return fsi_fail(err, FSI_CORRUPT, "%s is not valid JSON: line %d, column %d: %s", name,
						where.line, where.column, where.text);
	FSI_TRY(status);
	if (!json_is_object(*json))
	{
		json_decref(*json);
		*json = NULL;
		return fsi_fail(err, FSI_CORRUPT, "%s does not hold a JSON object", name);
	}
	return FSI_OK;
}

json_t *
toksrc_get(const json_t *object, const char *key)
{
	json_t	   *value = json_object_get(object, key);

	return value != NULL && !json_is_null(value) ? value : NULL;
}

bool
toksrc_bool(const json_t *object, const char *key, bool otherwise)
{
	json_t	   *value = toksrc_get(object, key);

	return value != NULL ? json_is_true(value) : otherwise;
}

bool
toksrc_int(const json_t *value, int64_t *n)
{
	double		x = json_number_value(value);

	if (!json_is_number(value) || x < -1e15 || x > 1e15 || (double) (int64_t) x != x)
		return false;
	*n = (int64_t) x;
	return true;
}

FsiStatus
toksrc_only_keys(const json_t *object, const char *what, const char *const *keys, FsiError *err)
{
	const char *key;
	json_t	   *value;

	json_object_foreach((json_t *) object, key, value)
	{
		int			i = 0;

		(void) value;
		while (keys[i] != NULL && strcmp(keys[i], key) != 0)
			i++;
		if (keys[i] == NULL)
			return fsi_fail(err, FSI_UNSUPPORTED, "%s has a setting that is not supported: \"%s\"", what, key);
	}
	return FSI_OK;
}
