/*-------------------------------------------------------------------------
 *
 * arena.h
 *	  Memory of bulk builds: temporary files that are written in sequence
 *	  or mapped into memory.
 *
 * The arrays of a build can be larger than maintenance_work_mem, and several
 * processes work on them.  A mapped temporary file serves both: what it holds
 * stays in memory as long as there is room, the kernel may write it out
 * when there is not, and no shared memory segment of that size is needed.
 * A process gives up parts of the mapping that it is done with for a while,
 * if the file is larger than maintenance_work_mem; what else of it is resident
 * is page cache, which the kernel takes back when it needs it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_ARENA_H
#define OMEN_ARENA_H

#include "storage/fd.h"
#include "storage/fileset.h"

typedef struct OmenArena OmenArena;

/*
 * A new, empty file.  With a file set other processes can open it by its
 * name; without (NULL) it is private.  It is gone when the transaction ends.
 */
extern OmenArena *omen_arena_create(FileSet *fileset, const char *name);
extern OmenArena *omen_arena_open(FileSet *fileset, const char *name);

/* Append; omen_arena_flush() before anybody maps the file */
extern void omen_arena_append(OmenArena *arena, const void *data, Size len);
extern void omen_arena_flush(OmenArena *arena);
extern Size omen_arena_size(const OmenArena *arena);

/* Make it so long, reading as zeros; the space on disk is reserved */
extern void omen_arena_reserve(OmenArena *arena, Size size);

/* The whole file in memory; NULL if it is empty */
extern void *omen_arena_map(OmenArena *arena);

/* This process needs a part of the mapping no more for a while */
extern void omen_arena_unload(OmenArena *arena, const void *start, Size len);

/* Unmap and close; else done when the memory context goes */
extern void omen_arena_close(OmenArena *arena);

#endif							/* OMEN_ARENA_H */
