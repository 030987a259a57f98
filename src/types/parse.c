/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  Reading the text form of vectors.
 *
 * NOTES
 *	  Numbers are read with strtof, like the server's float4 does: reading a
 *	  double and rounding it would round twice.  The server keeps LC_NUMERIC
 *	  at "C", so that the decimal point is a point under any lc_numeric.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "parser/scansup.h"

#include "types/parse.h"

static void skip_space(OmenParser *parser);

void
omen_parse_begin(OmenParser *parser, const char *type, const char *input,
				 Node *context)
{
	parser->type = type;
	parser->input = input;
	parser->at = input;
	parser->token = input;
	parser->context = context;
}

/*
 * The largest number of items the input can have: items are separated by
 * commas.
 */
int
omen_parse_count_items(const OmenParser *parser)
{
	int			n = 1;

	for (const char *p = parser->input; (p = strchr(p, ',')) != NULL; p++)
		n++;
	return n;
}

/* The white space of SQL, whatever the locale; 15 and 16 leave out \v */
static void
skip_space(OmenParser *parser)
{
	while (scanner_isspace(*parser->at) || *parser->at == '\v')
		parser->at++;
}

/*
 * Step over the character c and white space around it; false, without an
 * error, if something else comes next.
 */
bool
omen_parse_skip(OmenParser *parser, char c)
{
	skip_space(parser);
	if (*parser->at != c)
		return false;
	parser->at++;
	skip_space(parser);
	return true;
}

/*
 * Read a number.  One that is too small for a float becomes zero or a
 * subnormal; whether that is an error depends on the type: see errno.
 */
bool
omen_parse_float(OmenParser *parser, float *value)
{
	char	   *end;

	parser->token = parser->at;
	errno = 0;
	*value = strtof(parser->at, &end);
	if (end == parser->at)
		return omen_parse_fail(parser, NULL);
	parser->at = end;
	if (errno == ERANGE && isinf(*value))
		return omen_parse_fail_range(parser);
	return true;
}

/*
 * Read an integer; one beyond the range of int becomes the nearest int, which
 * no caller accepts.
 */
bool
omen_parse_int(OmenParser *parser, int *value)
{
	char	   *end;
	long		wide = strtol(parser->at, &end, 10);

	parser->token = parser->at;
	if (end == parser->at)
		return omen_parse_fail(parser, NULL);
	parser->at = end;
	*value = (int) Max(Min(wide, INT_MAX), INT_MIN);
	return true;
}

/*
 * Only white space may follow; the detail says what it is an error to follow.
 */
bool
omen_parse_end(OmenParser *parser, const char *detail)
{
	skip_space(parser);
	if (*parser->at != '\0')
		return omen_parse_fail(parser, detail);
	return true;
}

/*
 * Report a syntax error, with an optional detail.  Always false.
 */
bool
omen_parse_fail(OmenParser *parser, const char *detail)
{
	errsave(parser->context,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"",
					parser->type, parser->input),
			 detail ? errdetail("%s", detail) : 0));
	return false;
}

/*
 * Report that the number read last does not fit.  Always false.
 */
bool
omen_parse_fail_range(OmenParser *parser)
{
	errsave(parser->context,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("\"%s\" is out of range for type %s",
					pnstrdup(parser->token, parser->at - parser->token),
					parser->type)));
	return false;
}
