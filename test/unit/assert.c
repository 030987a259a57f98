/*
 * What failed assertions call in the server, for objects that were built with
 * asserts and are linked into a unit test.
 */
#include <stdio.h>
#include <stdlib.h>

extern void ExceptionalCondition(const char *condition);

void
ExceptionalCondition(const char *condition)
{
	fprintf(stderr, "failed assertion: %s\n", condition);
	abort();
}
