/*-------------------------------------------------------------------------
 *
 * hnsw_key_match.c
 *	  Conditions on key columns, turned into conditions on their codes.
 *
 * NOTES
 *	  A constant is compared with codes by the ends of a span of codes: values
 *	  of smaller codes are certainly less than it, values of greater codes
 *	  certainly greater.  What the codes within are, the value decides:
 *
 *	  exact		one code, of values equal to the constant
 *	  between	none (the span ends before it begins): the constant is of
 *				another type, and no value of the column's is equal to it
 *	  open		any of less, equal, greater
 *
 *	  Times of day and of other zones depend on the session, and are not even
 *	  in order where clocks go back: the span of a constant that would have to
 *	  be converted is as wide as clocks can differ.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "hnsw/hnsw_key.h"

/* SET timezone takes offsets of up to 168 hours */
#define ZONE_DAYS	8

#define ZERO_CODE	UINT64CONST(0x8000000000000000)

/* A constant among codes, see above */
typedef struct KeySpan
{
	uint64		low;
	uint64		high;
	bool		exact;
} KeySpan;

static void add_condition(OmenKeyPredicate *predicate,
						  const OmenHnswMetaPageData *meta,
						  const ScanKeyData *key);
static OmenKeyCondition *merge_condition(OmenKeyPredicate *predicate,
										 OmenKeyCondition *condition);
static OmenKeyCondition *find_ranges_of(OmenKeyPredicate *predicate, int key);
static void intersect(OmenKeyRanges *a, const OmenKeyRanges *b);
static void add_comparison(OmenKeyCondition *condition, OmenKeyKind kind,
						   const ScanKeyData *key);
static void add_array_condition(OmenKeyCondition *condition,
								const ScanKeyData *key);
static void add_value(OmenKeyCondition *condition, OmenKeyKind kind,
					  const ScanKeyData *key, Oid type, Datum value);
static KeySpan find_span(OmenKeyKind kind, OmenKeyKind constant, Datum value,
						 bool equality);
static KeySpan span_of_code(uint64 code, bool exact);
static KeySpan span_before(uint64 code);
static bool is_zone_free(OmenKeyKind kind);
static KeySpan span_of_date(DateADT date, bool exact);
static KeySpan span_among_dates(Timestamp timestamp, bool exact);
static KeySpan span_among_times(Timestamp timestamp, bool exact);
static void add_ranges(OmenKeyCondition *condition, StrategyNumber strategy,
					   KeySpan span);
static void add_range(OmenKeyRanges *ranges, uint64 low, uint64 high);
static void normalize(OmenKeyRanges *ranges);
static int	compare_ranges(const void *a, const void *b);
static bool cannot_be_met(const OmenKeyCondition *condition);
static bool in_ranges(const OmenKeyRanges *ranges, uint64 code);

OmenKeyPredicate *
omen_hnsw_key_predicate(const OmenHnswMetaPageData *meta, const ScanKeyData *keys,
				   int nkeys)
{
	OmenKeyPredicate *predicate = palloc0(sizeof(OmenKeyPredicate));

	predicate->conditions = palloc0(Max(nkeys, 1) * sizeof(OmenKeyCondition));
	for (int i = 0; i < nkeys && !predicate->nothing; i++)
		add_condition(predicate, meta, &keys[i]);
	return predicate;
}

static void
add_condition(OmenKeyPredicate *predicate, const OmenHnswMetaPageData *meta,
			  const ScanKeyData *key)
{
	OmenKeyCondition *condition =
		&predicate->conditions[predicate->nconditions];

	/* the vector has no operators to search by, and is never NULL here */
	if (key->sk_attno == 1)
	{
		predicate->nothing = (key->sk_flags & SK_SEARCHNULL) != 0;
		return;
	}
	condition->key = key->sk_attno - 2;
	if (condition->key >= meta->nkeys)
		elog(ERROR, "condition on column %d of an index of %d",
			 key->sk_attno, meta->nkeys + 1);

	if ((key->sk_flags & SK_SEARCHNULL) != 0)
		condition->test = OMEN_KEY_IS_NULL;
	else if ((key->sk_flags & SK_SEARCHNOTNULL) != 0)
		condition->test = OMEN_KEY_IS_NOT_NULL;
	else if ((key->sk_flags & SK_ISNULL) != 0)
		predicate->nothing = true;	/* all operators are strict */
	else if (meta->key_kinds[condition->key] == OMEN_KEY_ARRAY)
		add_array_condition(condition, key);
	else
		add_comparison(condition, meta->key_kinds[condition->key], key);

	predicate->nothing |= cannot_be_met(merge_condition(predicate, condition));
}

/*
 * Add a condition that has been put behind the last one.  Ranges of the same key
 * are one condition: between two bounds there may be few.
 */
static OmenKeyCondition *
merge_condition(OmenKeyPredicate *predicate, OmenKeyCondition *condition)
{
	OmenKeyCondition *before = NULL;

	if (condition->test == OMEN_KEY_IN_RANGES)
		before = find_ranges_of(predicate, condition->key);
	if (before == NULL)
	{
		predicate->nconditions++;
		return condition;
	}
	intersect(&before->possible, &condition->possible);
	intersect(&before->certain, &condition->certain);
	memset(condition, 0, sizeof(OmenKeyCondition));
	return before;
}

/* Of the conditions so far, the one that is ranges of this key, or NULL */
static OmenKeyCondition *
find_ranges_of(OmenKeyPredicate *predicate, int key)
{
	for (int i = 0; i < predicate->nconditions; i++)
	{
		OmenKeyCondition *condition = &predicate->conditions[i];

		if (condition->test == OMEN_KEY_IN_RANGES && condition->key == key)
			return condition;
	}
	return NULL;
}

/* Leave in a what is in both */
static void
intersect(OmenKeyRanges *a, const OmenKeyRanges *b)
{
	OmenKeyRanges both = {0, NULL};
	int			i = 0;
	int			j = 0;

	while (i < a->n && j < b->n)
	{
		uint64		low = Max(a->ranges[i].low, b->ranges[j].low);
		uint64		high = Min(a->ranges[i].high, b->ranges[j].high);

		if (low <= high)
			add_range(&both, low, high);
		if (a->ranges[i].high < b->ranges[j].high)
			i++;
		else
			j++;
	}
	*a = both;
}

static void
add_comparison(OmenKeyCondition *condition, OmenKeyKind kind,
			   const ScanKeyData *key)
{
	condition->test = OMEN_KEY_IN_RANGES;
	if ((key->sk_flags & SK_SEARCHARRAY) == 0)
		add_value(condition, kind, key, key->sk_subtype, key->sk_argument);
	else
	{
		ArrayType  *array = DatumGetArrayTypeP(key->sk_argument);
		Oid			type = ARR_ELEMTYPE(array);
		int16		length;
		bool		by_value;
		char		alignment;
		Datum	   *elements;
		bool	   *nulls;
		int			n;

		get_typlenbyvalalign(type, &length, &by_value, &alignment);
		deconstruct_array(array, type, length, by_value, alignment, &elements,
						  &nulls, &n);
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!nulls[i])
				add_value(condition, kind, key, key->sk_subtype, elements[i]);
		}
	}
	normalize(&condition->possible);
	normalize(&condition->certain);
}

/* The column is an array: is each, or any, of the elements asked for there? */
static void
add_array_condition(OmenKeyCondition *condition, const ScanKeyData *key)
{
	bool		has_null;

	condition->test = OMEN_KEY_HAS_MASK;
	condition->masks = omen_hnsw_array_masks(key->sk_argument,
											&condition->nmasks, &has_null);
	if (key->sk_strategy == OMEN_KEY_CONTAINS)
	{
		uint64		all = 0;

		for (int i = 0; i < condition->nmasks; i++)
			all |= condition->masks[i];

		/* nothing contains NULL, and everything contains nothing */
		condition->masks[0] = all;
		condition->nmasks = has_null ? 0 : 1;
	}
	else if (key->sk_strategy != OMEN_KEY_OVERLAPS)
		elog(ERROR, "unknown strategy %d of an array", key->sk_strategy);
}

static void
add_value(OmenKeyCondition *condition, OmenKeyKind kind,
		  const ScanKeyData *key, Oid type, Datum value)
{
	OmenKeyKind constant = OidIsValid(type) ? omen_hnsw_key_kind(type) : kind;

	add_ranges(condition, key->sk_strategy,
			   find_span(kind, constant, value,
						 key->sk_strategy == OMEN_KEY_EQUAL));
}

/* Where a constant of one kind is among codes of another */
static KeySpan
find_span(OmenKeyKind kind, OmenKeyKind constant, Datum value, bool equality)
{
	KeySpan		everything = {0, PG_UINT64_MAX, false};
	uint64		code;

	switch (kind)
	{
		case OMEN_KEY_DATE:
			if (constant != kind)
				return span_among_dates(DatumGetTimestamp(value),
										is_zone_free(constant));
			break;
		case OMEN_KEY_TIMESTAMP:
		case OMEN_KEY_TIMESTAMPTZ:
			if (constant == OMEN_KEY_DATE)
				return span_of_date(DatumGetDateADT(value),
									is_zone_free(kind));
			return span_among_times(DatumGetTimestamp(value),
									constant == kind);
		case OMEN_KEY_TEXT_PREFIX:
		case OMEN_KEY_TEXT_HASH:
			if (kind == OMEN_KEY_TEXT_HASH && !equality)
				return everything;
			code = omen_hnsw_encode_key(kind, value);
			return span_of_code(code, (code & 0xFF) == 0);
		case OMEN_KEY_UUID:
			return span_of_code(omen_hnsw_encode_key(kind, value), false);
		default:
			break;
	}

	/* numbers of all widths have the same codes */
	return span_of_code(omen_hnsw_encode_key(constant, value), true);
}

static KeySpan
span_of_code(uint64 code, bool exact)
{
	KeySpan		span = {code, code, exact};

	return span;
}

/* Greater than all codes before this one, less than it and all beyond */
static KeySpan
span_before(uint64 code)
{
	KeySpan		span = {code, code - 1, false};

	return span;
}

/* Dates and timestamps without time zone compare as they are */
static bool
is_zone_free(OmenKeyKind kind)
{
	return kind == OMEN_KEY_DATE || kind == OMEN_KEY_TIMESTAMP;
}

/* A date among codes of timestamps, which do not reach as far as dates */
static KeySpan
span_of_date(DateADT date, bool exact)
{
	int			overflow = 0;
	Timestamp	timestamp = date2timestamp_opt_overflow(date, &overflow);
	KeySpan		span;

	if (overflow == 0)
		return span_among_times(timestamp, exact);
	if (overflow > 0)
		span = span_before(omen_hnsw_encode_key(OMEN_KEY_INT8,
										   Int64GetDatum(DT_NOEND)));
	else
		span = span_before(omen_hnsw_encode_key(OMEN_KEY_INT8,
										   Int64GetDatum(DT_NOBEGIN)) + 1);

	/* in another zone it may be within reach after all */
	if (!exact && overflow > 0)
		span.low = ZERO_CODE + (uint64) (END_TIMESTAMP -
										 ZONE_DAYS * USECS_PER_DAY);
	else if (!exact)
		span.high = ZERO_CODE + (uint64) (MIN_TIMESTAMP +
										  ZONE_DAYS * USECS_PER_DAY);
	return span;
}

/* A timestamp among codes of dates, of the same zone if exact */
static KeySpan
span_among_dates(Timestamp timestamp, bool exact)
{
	int64		day = timestamp / USECS_PER_DAY;
	KeySpan		span;

	if (TIMESTAMP_IS_NOBEGIN(timestamp))
		return span_of_code(omen_hnsw_encode_key(OMEN_KEY_DATE,
											DateADTGetDatum(DATEVAL_NOBEGIN)),
							true);
	if (TIMESTAMP_IS_NOEND(timestamp))
		return span_of_code(omen_hnsw_encode_key(OMEN_KEY_DATE,
											DateADTGetDatum(DATEVAL_NOEND)),
							true);
	if (exact && timestamp % USECS_PER_DAY == 0)
		return span_of_code(ZERO_CODE + (uint64) day, true);
	day -= timestamp % USECS_PER_DAY < 0;
	if (exact)
		return span_before(ZERO_CODE + (uint64) (day + 1));
	span.low = ZERO_CODE + (uint64) (day - ZONE_DAYS);
	span.high = ZERO_CODE + (uint64) (day + ZONE_DAYS);
	span.exact = false;
	return span;
}

/* A timestamp among codes of timestamps, of the same zone if exact */
static KeySpan
span_among_times(Timestamp timestamp, bool exact)
{
	uint64		code = omen_hnsw_encode_key(OMEN_KEY_TIMESTAMP,
									   TimestampGetDatum(timestamp));
	uint64		slack = ZONE_DAYS * USECS_PER_DAY;
	KeySpan		span;

	if (exact || TIMESTAMP_NOT_FINITE(timestamp))
		return span_of_code(code, true);
	span.low = code - Min(code, slack);
	span.high = code + Min(PG_UINT64_MAX - code, slack);
	span.exact = false;
	return span;
}

/* Codes that may meet, and that do meet, a comparison with the constant */
static void
add_ranges(OmenKeyCondition *condition, StrategyNumber strategy, KeySpan span)
{
	OmenKeyRanges *possible = &condition->possible;
	OmenKeyRanges *certain = &condition->certain;
	uint64		before = span.low == 0 ? 0 : span.low - 1;
	uint64		behind = span.high == PG_UINT64_MAX ? span.high :
		span.high + 1;

	switch (strategy)
	{
		case OMEN_KEY_LESS:
			if (span.low > 0)
				add_range(certain, 0, before);
			if (!span.exact)
				add_range(possible, 0, span.high);
			else if (span.low > 0)
				add_range(possible, 0, before);
			break;
		case OMEN_KEY_LESS_EQUAL:
			add_range(possible, 0, span.high);
			if (span.exact)
				add_range(certain, 0, span.high);
			else if (span.low > 0)
				add_range(certain, 0, before);
			break;
		case OMEN_KEY_EQUAL:
			if (span.low > span.high)
				break;
			add_range(possible, span.low, span.high);
			if (span.exact)
				add_range(certain, span.low, span.high);
			break;
		case OMEN_KEY_GREATER_EQUAL:
			add_range(possible, span.low, PG_UINT64_MAX);
			if (span.exact)
				add_range(certain, span.low, PG_UINT64_MAX);
			else if (span.high < PG_UINT64_MAX)
				add_range(certain, behind, PG_UINT64_MAX);
			break;
		case OMEN_KEY_GREATER:
			if (span.high < PG_UINT64_MAX)
				add_range(certain, behind, PG_UINT64_MAX);
			if (!span.exact)
				add_range(possible, span.low, PG_UINT64_MAX);
			else if (span.high < PG_UINT64_MAX)
				add_range(possible, behind, PG_UINT64_MAX);
			break;
		default:
			elog(ERROR, "unknown strategy %d of a key", strategy);
	}
}

static void
add_range(OmenKeyRanges *ranges, uint64 low, uint64 high)
{
	Assert(low <= high);

	/* room for 2^k of them, doubled when they are as many */
	if (ranges->n == 0)
		ranges->ranges = palloc(sizeof(OmenKeyRange));
	else if ((ranges->n & (ranges->n - 1)) == 0)
		ranges->ranges = repalloc_huge(ranges->ranges,
									   ranges->n * 2 * sizeof(OmenKeyRange));
	ranges->ranges[ranges->n].low = low;
	ranges->ranges[ranges->n++].high = high;
}

/* In order, those that overlap made one */
static void
normalize(OmenKeyRanges *ranges)
{
	int			n = 0;

	if (ranges->n < 2)
		return;
	qsort(ranges->ranges, ranges->n, sizeof(OmenKeyRange), compare_ranges);
	for (int i = 1; i < ranges->n; i++)
	{
		OmenKeyRange *last = &ranges->ranges[n];

		if (ranges->ranges[i].low <= last->high)
			last->high = Max(last->high, ranges->ranges[i].high);
		else
			ranges->ranges[++n] = ranges->ranges[i];
	}
	ranges->n = n + 1;
}

static int
compare_ranges(const void *a, const void *b)
{
	const OmenKeyRange *x = a;
	const OmenKeyRange *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

static bool
cannot_be_met(const OmenKeyCondition *condition)
{
	return (condition->test == OMEN_KEY_IN_RANGES &&
			condition->possible.n == 0) ||
		(condition->test == OMEN_KEY_HAS_MASK && condition->nmasks == 0);
}

OmenKeyMatch
omen_hnsw_match_keys(const OmenKeyPredicate *predicate, uint8 nulls,
			   const uint64 *codes)
{
	OmenKeyMatch result = predicate->nothing ? OMEN_KEYS_NO : OMEN_KEYS_YES;

	for (int i = 0; i < predicate->nconditions && result != OMEN_KEYS_NO; i++)
	{
		const OmenKeyCondition *condition = &predicate->conditions[i];

		result = Min(result,
					 omen_hnsw_match_key(condition,
										 (nulls >> condition->key & 1) != 0,
										 codes[condition->key]));
	}
	return result;
}

/* The same of one condition and its key */
OmenKeyMatch
omen_hnsw_match_key(const OmenKeyCondition *condition, bool null, uint64 code)
{
	if (condition->test == OMEN_KEY_IS_NULL)
		return null ? OMEN_KEYS_YES : OMEN_KEYS_NO;
	if (null)
		return OMEN_KEYS_NO;
	switch (condition->test)
	{
		case OMEN_KEY_IN_RANGES:
			if (!in_ranges(&condition->possible, code))
				return OMEN_KEYS_NO;
			return in_ranges(&condition->certain, code) ? OMEN_KEYS_YES :
				OMEN_KEYS_OPEN;
		case OMEN_KEY_HAS_MASK:
			for (int i = 0; i < condition->nmasks; i++)
			{
				if ((code & condition->masks[i]) == condition->masks[i])
					return OMEN_KEYS_OPEN;
			}
			return OMEN_KEYS_NO;
		default:
			return OMEN_KEYS_YES;
	}
}

static bool
in_ranges(const OmenKeyRanges *ranges, uint64 code)
{
	int			low = 0;
	int			high = ranges->n;

	/* the first range that does not end before the code */
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (ranges->ranges[middle].high < code)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->n && ranges->ranges[low].low <= code;
}
