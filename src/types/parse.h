/*-------------------------------------------------------------------------
 *
 * parse.h
 *	  Reading the text form of vectors.
 *
 * A parser walks over a C string.  Every function that can fail reports a
 * syntax error to the parser's context and returns false, after which the
 * input function has only to return.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_PARSE_H
#define OMEN_TYPES_PARSE_H

#include "base/compat.h"

typedef struct OmenParser
{
	const char *type;			/* SQL name of the type, for messages */
	const char *input;			/* the whole input */
	const char *at;				/* what comes next */
	const char *token;			/* start of the number read last */
	Node	   *context;		/* where errors go; NULL raises them */
} OmenParser;

extern void omen_parse_begin(OmenParser *parser, const char *type,
							 const char *input, Node *context);
extern int	omen_parse_count_items(const OmenParser *parser);

extern bool omen_parse_skip(OmenParser *parser, char c);
extern bool omen_parse_float(OmenParser *parser, float *value);
extern bool omen_parse_int(OmenParser *parser, int *value);
extern bool omen_parse_end(OmenParser *parser, const char *detail);

extern bool omen_parse_fail(OmenParser *parser, const char *detail);
extern bool omen_parse_fail_range(OmenParser *parser);

#endif							/* OMEN_TYPES_PARSE_H */
