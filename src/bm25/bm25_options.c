/*-------------------------------------------------------------------------
 *
 * bm25_options.c
 *	  Options of an index: WITH (k1, b, weights, pending_list_limit).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/reloptions.h"

#include "bm25/bm25.h"

static relopt_kind bm25_relopt_kind;

static void validate_weights(const char *value);
static bool parse_weights(const char *value, double *weights);
static const OmenBm25Options *get_options(Relation index);

void
omen_bm25_init(void)
{
	bm25_relopt_kind = add_reloption_kind();
	add_real_reloption(bm25_relopt_kind, "k1",
					   "How slowly further occurrences of a lexeme cease to count",
					   OMEN_BM25_DEFAULT_K1, 0, 100, ShareUpdateExclusiveLock);
	add_real_reloption(bm25_relopt_kind, "b",
					   "How much the length of a document counts against it",
					   OMEN_BM25_DEFAULT_B, 0, 1, ShareUpdateExclusiveLock);
	add_int_reloption(bm25_relopt_kind, "pending_list_limit",
					  "Size of the list of new documents, in kilobytes, from which on they are put in order",
					  OMEN_BM25_DEFAULT_PENDING, OMEN_BM25_MIN_PENDING,
					  MAX_KILOBYTES, ShareUpdateExclusiveLock);
	add_string_reloption(bm25_relopt_kind, "weights",
						 "Weights of positions of class D, C, B and A", NULL,
						 validate_weights, AccessExclusiveLock);
}

bytea *
omen_bm25_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"k1", RELOPT_TYPE_REAL, offsetof(OmenBm25Options, k1)},
		{"b", RELOPT_TYPE_REAL, offsetof(OmenBm25Options, b)},
		{"pending_list_limit", RELOPT_TYPE_INT,
		offsetof(OmenBm25Options, pending)},
		{"weights", RELOPT_TYPE_STRING, offsetof(OmenBm25Options, weights)},
	};

	return (bytea *) build_reloptions(reloptions, validate, bm25_relopt_kind,
									  sizeof(OmenBm25Options), table,
									  lengthof(table));
}

double
omen_bm25_k1(Relation index)
{
	const OmenBm25Options *options = get_options(index);

	return options ? options->k1 : OMEN_BM25_DEFAULT_K1;
}

double
omen_bm25_b(Relation index)
{
	const OmenBm25Options *options = get_options(index);

	return options ? options->b : OMEN_BM25_DEFAULT_B;
}

/* Pages that the pending area may have before it is put in order */
int
omen_bm25_pending_pages(Relation index)
{
	const OmenBm25Options *options = get_options(index);
	int			kilobytes = options ? options->pending :
		OMEN_BM25_DEFAULT_PENDING;

	return (int) Max((int64) kilobytes * 1024 / BLCKSZ, 1);
}

/* How positions are counted in an index that is to be built */
OmenTextUnits
omen_bm25_units(Relation index)
{
	const OmenBm25Options *options = get_options(index);
	double		weights[OMEN_TEXT_CLASSES] = {1, 1, 1, 1};

	if (options && options->weights != 0)
		parse_weights((const char *) options + options->weights, weights);
	return omen_text_units(weights);
}

static const OmenBm25Options *
get_options(Relation index)
{
	return (const OmenBm25Options *) index->rd_options;
}

static void
validate_weights(const char *value)
{
	double		weights[OMEN_TEXT_CLASSES];

	if (value == NULL || parse_weights(value, weights))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"weights\": %s", value),
			 errdetail("Four numbers from 0 to %g are expected, one of them above 0, for positions of class D, C, B and A.",
					   OMEN_MAX_CLASS_WEIGHT),
			 errhint("For example, WITH (weights = '{0.1, 0.2, 0.4, 1.0}').")));
}

/* {D, C, B, A} */
static bool
parse_weights(const char *value, double *weights)
{
	const char *at = value;
	double		greatest = 0;

	for (int i = 0; i < OMEN_TEXT_CLASSES; i++)
	{
		char	   *end;

		at += strspn(at, " ");
		if (*at++ != (i == 0 ? '{' : ','))
			return false;
		weights[i] = strtod(at, &end);
		if (end == at ||
			!(weights[i] >= 0 && weights[i] <= OMEN_MAX_CLASS_WEIGHT))
			return false;
		greatest = Max(greatest, weights[i]);
		at = end;
	}
	at += strspn(at, " ");
	if (*at++ != '}')
		return false;
	return at[strspn(at, " ")] == '\0' && greatest > 0;
}
