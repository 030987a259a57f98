/*-------------------------------------------------------------------------
 *
 * reader.h
 *	  Reading a file into memory by several threads.
 *
 * What the server has written is in the kernel's memory, and copying it from there
 * takes one thread longer than the device takes to get it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_READER_H
#define OMEN_GPU_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Reader Reader;

/* NULL if it cannot be opened, with errno */
extern Reader *omen_reader_open(const char *path);

/* So many bytes from "offset" on.  False if they cannot be had; errno is 0 if the
 * file ends before. */
extern bool omen_reader_read(Reader *reader, uint64_t offset, void *to,
							 size_t length);

/* Of one that is open, or NULL */
extern void omen_reader_close(Reader *reader);

#endif							/* OMEN_GPU_READER_H */
