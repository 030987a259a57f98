/*-------------------------------------------------------------------------
 *
 * port.c
 *	  What the unit tests need of the server's libpgport, over the C library.
 *
 * For check_neon.sh: there is no libpgport for the machine that it emulates.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#undef printf
#undef snprintf
#undef vprintf
#undef vsnprintf
#undef qsort

int
pg_printf(const char *format,...)
{
	va_list		args;
	int			n;

	va_start(args, format);
	n = vprintf(format, args);
	va_end(args);
	return n;
}

int
pg_snprintf(char *buffer, size_t size, const char *format,...)
{
	va_list		args;
	int			n;

	va_start(args, format);
	n = vsnprintf(buffer, size, format, args);
	va_end(args);
	return n;
}

void
pg_qsort(void *base, size_t count, size_t size,
		 int (*compare) (const void *, const void *))
{
	qsort(base, count, size, compare);
}
