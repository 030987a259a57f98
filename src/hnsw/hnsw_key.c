/*-------------------------------------------------------------------------
 *
 * hnsw_key.c
 *	  Key columns: which types there are, and codes of their values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "hnsw/hnsw.h"

#define SUPPORTED_TYPES \
	"Key columns can be of type boolean, smallint, integer, bigint, real, double precision, date, time, timestamp, timestamptz, uuid, text, oid, or an array of smallint, integer, bigint, text or uuid."

/* Collations of this provider, which came with 17, are all by bytes */
#define PROVIDER_BUILTIN	'b'

/* Signed numbers in the order of unsigned ones */
#define SIGN_BIT	UINT64CONST(0x8000000000000000)

static OmenKeyKind column_kind(Relation index, int column);
static bool is_supported_array(Oid type);
static void check_collation(Relation index, int column);
static bool is_c_collation(Oid collation);
static bool is_c_locale(HeapTuple tuple, int cache, int column, char provider);
static uint64 encode_float(double value);
static uint64 encode_text(OmenKeyKind kind, Datum value);
static uint64 encode_bytes(const char *bytes, Size length);
static void deconstruct(Datum array, Oid *type, Datum **elements, bool **nulls,
						int *n);
static uint64 element_mask(Oid type, Datum element);

void
omen_hnsw_resolve_keys(Relation index, OmenHnswMetaPageData *meta)
{
	int			nkeys = IndexRelationGetNumberOfKeyAttributes(index) - 1;

	if (nkeys > OMEN_HNSW_MAX_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("hnsw index cannot have more than %d key columns beside the vector",
						OMEN_HNSW_MAX_KEYS)));
	meta->nkeys = nkeys;
	for (int i = 0; i < nkeys; i++)
		meta->key_kinds[i] = column_kind(index, i + 1);
}

bool
omen_hnsw_key_kinds_match(Relation index, const OmenHnswMetaPageData *meta)
{
	if (meta->nkeys != IndexRelationGetNumberOfKeyAttributes(index) - 1)
		return false;
	for (int i = 0; i < meta->nkeys; i++)
	{
		OmenKeyKind kind = omen_hnsw_key_kind(index->rd_opcintype[i + 1]);

		if (meta->key_kinds[i] != kind &&
			!(kind == OMEN_KEY_TEXT_PREFIX &&
			  meta->key_kinds[i] == OMEN_KEY_TEXT_HASH))
			return false;
	}
	return true;
}

/* How a column of a new index is to be encoded */
static OmenKeyKind
column_kind(Relation index, int column)
{
	Oid			type = TupleDescAttr(RelationGetDescr(index), column)->atttypid;
	OmenKeyKind kind = omen_hnsw_key_kind(index->rd_opcintype[column]);

	if (OidIsValid(index_getprocid(index, column + 1, OMEN_HNSW_INFO_PROC)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("hnsw index cannot have more than one vector column"),
				 errhint("Create an index for each of them.")));
	if (kind == OMEN_KEY_NONE ||
		(kind == OMEN_KEY_ARRAY && !is_supported_array(type)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("hnsw index cannot have a key column of type %s",
						format_type_be(type)),
				 errhint(SUPPORTED_TYPES)));
	check_collation(index, column);
	if (kind == OMEN_KEY_TEXT_PREFIX &&
		!is_c_collation(index->rd_indcollation[column]))
		return OMEN_KEY_TEXT_HASH;
	return kind;
}

static bool
is_supported_array(Oid type)
{
	switch (get_element_type(getBaseType(type)))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case TEXTOID:
		case VARCHAROID:
		case UUIDOID:
			return true;
		default:
			return false;
	}
}

/* Where strings of other bytes are equal, codes of bytes tell nothing */
static void
check_collation(Relation index, int column)
{
	Oid			collation = index->rd_indcollation[column];

	if (!OidIsValid(collation) || get_collation_isdeterministic(collation))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("hnsw index cannot have a key column of nondeterministic collation \"%s\"",
					get_collation_name(collation)),
			 errhint("Give the column of the index another collation.")));
}

/*
 * Does a collation order strings by their bytes?  The server's own answer is
 * declared in a header that needs those of ICU.
 */
static bool
is_c_collation(Oid collation)
{
	HeapTuple	tuple;
	bool		result;

	if (collation == DEFAULT_COLLATION_OID)
	{
		tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
		result = is_c_locale(tuple, DATABASEOID, Anum_pg_database_datcollate,
							 ((Form_pg_database)
							  GETSTRUCT(tuple))->datlocprovider);
	}
	else
	{
		tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for collation %u", collation);
		result = is_c_locale(tuple, COLLOID, Anum_pg_collation_collcollate,
							 ((Form_pg_collation)
							  GETSTRUCT(tuple))->collprovider);
	}
	ReleaseSysCache(tuple);
	return result;
}

static bool
is_c_locale(HeapTuple tuple, int cache, int column, char provider)
{
	bool		isnull;
	Datum		locale = SysCacheGetAttr(cache, tuple, column, &isnull);
	const char *name;

	if (provider == PROVIDER_BUILTIN)
		return true;
	if (provider != COLLPROVIDER_LIBC || isnull)
		return false;
	name = TextDatumGetCString(locale);
	return strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0;
}

OmenKeyKind
omen_hnsw_key_kind(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return OMEN_KEY_BOOL;
		case INT2OID:
			return OMEN_KEY_INT2;
		case INT4OID:
			return OMEN_KEY_INT4;
		case INT8OID:
			return OMEN_KEY_INT8;
		case OIDOID:
			return OMEN_KEY_OID;
		case FLOAT4OID:
			return OMEN_KEY_FLOAT4;
		case FLOAT8OID:
			return OMEN_KEY_FLOAT8;
		case DATEOID:
			return OMEN_KEY_DATE;
		case TIMEOID:
			return OMEN_KEY_TIME;
		case TIMESTAMPOID:
			return OMEN_KEY_TIMESTAMP;
		case TIMESTAMPTZOID:
			return OMEN_KEY_TIMESTAMPTZ;
		case UUIDOID:
			return OMEN_KEY_UUID;
		case TEXTOID:
			return OMEN_KEY_TEXT_PREFIX;
		case ANYARRAYOID:
			return OMEN_KEY_ARRAY;
		default:
			return OMEN_KEY_NONE;
	}
}

void
omen_hnsw_form_keys(const OmenHnswMetaPageData *meta, const Datum *values,
			  const bool *isnull, OmenHnswKeys *keys)
{
	keys->nulls = 0;
	for (int i = 0; i < meta->nkeys; i++)
	{
		keys->codes[i] = 0;
		if (isnull[i + 1])
			keys->nulls |= 1 << i;
		else
			keys->codes[i] = omen_hnsw_encode_key(meta->key_kinds[i],
											 values[i + 1]);
	}
}

uint64
omen_hnsw_encode_key(OmenKeyKind kind, Datum value)
{
	switch (kind)
	{
		case OMEN_KEY_BOOL:
			return DatumGetBool(value) ? 1 : 0;
		case OMEN_KEY_INT2:
			return (uint64) (int64) DatumGetInt16(value) ^ SIGN_BIT;
		case OMEN_KEY_INT4:
			return (uint64) (int64) DatumGetInt32(value) ^ SIGN_BIT;
		case OMEN_KEY_INT8:
			return (uint64) DatumGetInt64(value) ^ SIGN_BIT;
		case OMEN_KEY_OID:
			return DatumGetObjectId(value);
		case OMEN_KEY_FLOAT4:
			return encode_float(DatumGetFloat4(value));
		case OMEN_KEY_FLOAT8:
			return encode_float(DatumGetFloat8(value));
		case OMEN_KEY_DATE:
			return (uint64) (int64) DatumGetDateADT(value) ^ SIGN_BIT;
		case OMEN_KEY_TIME:
			return (uint64) DatumGetTimeADT(value) ^ SIGN_BIT;
		case OMEN_KEY_TIMESTAMP:
			return (uint64) DatumGetTimestamp(value) ^ SIGN_BIT;
		case OMEN_KEY_TIMESTAMPTZ:
			return (uint64) DatumGetTimestampTz(value) ^ SIGN_BIT;
		case OMEN_KEY_UUID:
			return encode_bytes((char *) DatumGetUUIDP(value)->data, UUID_LEN);
		case OMEN_KEY_TEXT_PREFIX:
		case OMEN_KEY_TEXT_HASH:
			return encode_text(kind, value);
		case OMEN_KEY_ARRAY:
			return omen_hnsw_array_code(value);
		case OMEN_KEY_NONE:
			break;
	}
	elog(ERROR, "unknown kind of key %d", (int) kind);
}

/* -0 is 0; NaN comes last, whatever its bits */
static uint64
encode_float(double value)
{
	uint64		bits;

	if (isnan(value))
		return PG_UINT64_MAX;
	if (value == 0)
		value = 0;
	memcpy(&bits, &value, sizeof(bits));
	return (bits & SIGN_BIT) != 0 ? ~bits : bits | SIGN_BIT;
}

/* The last byte is zero exactly if the code is the whole text */
static uint64
encode_text(OmenKeyKind kind, Datum value)
{
	text	   *string = DatumGetTextPP(value);
	const char *bytes = VARDATA_ANY(string);
	Size		length = VARSIZE_ANY_EXHDR(string);

	if (kind == OMEN_KEY_TEXT_PREFIX || length < sizeof(uint64))
		return encode_bytes(bytes, length);
	return hash_bytes_extended((const unsigned char *) bytes, length, 0) | 1;
}

/* The first 8 bytes, the first of them the most significant */
static uint64
encode_bytes(const char *bytes, Size length)
{
	uint64		code = 0;

	memcpy(&code, bytes, Min(length, sizeof(code)));
	return pg_ntoh64(code);
}

uint64
omen_hnsw_array_code(Datum array)
{
	uint64		code = 0;
	Oid			type;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct(array, &type, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			code |= element_mask(type, elements[i]);
	}
	return code;
}

uint64 *
omen_hnsw_array_masks(Datum array, int *nmasks, bool *has_null)
{
	uint64	   *masks;
	Oid			type;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct(array, &type, &elements, &nulls, &n);
	masks = palloc(Max(n, 1) * sizeof(uint64));
	*nmasks = 0;
	*has_null = false;
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			*has_null = true;
		else
			masks[(*nmasks)++] = element_mask(type, elements[i]);
	}
	return masks;
}

static void
deconstruct(Datum array, Oid *type, Datum **elements, bool **nulls, int *n)
{
	ArrayType  *value = DatumGetArrayTypeP(array);
	int16		length;
	bool		by_value;
	char		alignment;

	*type = ARR_ELEMTYPE(value);
	get_typlenbyvalalign(*type, &length, &by_value, &alignment);
	deconstruct_array(value, *type, length, by_value, alignment, elements,
					  nulls, n);
}

static uint64
element_mask(Oid type, Datum element)
{
	const unsigned char *bytes;
	int			length;
	int64		number;
	uint64		hash;

	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
			{
				text	   *string = DatumGetTextPP(element);

				bytes = (const unsigned char *) VARDATA_ANY(string);
				length = VARSIZE_ANY_EXHDR(string);
				break;
			}
		case UUIDOID:
			bytes = DatumGetUUIDP(element)->data;
			length = UUID_LEN;
			break;
		default:
			number = type == INT2OID ? DatumGetInt16(element) :
				type == INT4OID ? DatumGetInt32(element) :
				DatumGetInt64(element);
			bytes = (const unsigned char *) &number;
			length = sizeof(number);
			break;
	}
	hash = hash_bytes_extended(bytes, length, 0);
	return UINT64CONST(1) << (hash % 64) |
		UINT64CONST(1) << (hash / 64 % 64);
}
