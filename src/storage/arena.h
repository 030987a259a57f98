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
 * What a process has of its mappings in its own page table is held within a
 * budget (OmenArenaBudget); the rest is page cache like that of any
 * file, which the kernel takes back when it needs it.
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

/* The same; returns false if there is no room, or temp_file_limit is less */
extern bool omen_arena_try_reserve(OmenArena *arena, Size size);

/*
 * Write to any place of a file that is not mapped, or read from any place of
 * any file.  What was never written and lies before what was reads as zeros.
 */
extern void omen_arena_write_at(OmenArena *arena, Size offset,
								const void *data, Size len);
extern void omen_arena_read_at(OmenArena *arena, Size offset, void *data,
							   Size len);

/* The whole file in memory; NULL if it is empty */
extern void *omen_arena_map(OmenArena *arena);

/* What other programs can open it by, in the server's folder */
extern const char *omen_arena_path(const OmenArena *arena);

/*
 * Memory that a process may have of its mappings, and what of others it had
 * when this was last started; both in bytes.
 */
typedef struct OmenArenaBudget
{
	Size		limit;
	Size		base;
} OmenArenaBudget;

/*
 * Has more than the budget become resident?  If so, the caller gives back all
 * mappings that the budget is for, by omen_arena_unload(), and starts anew.
 * Costs a few microseconds.
 */
extern bool omen_arena_over_budget(const OmenArenaBudget *budget);
extern void omen_arena_start_budget(OmenArenaBudget *budget, Size limit);

/* Give back what is resident of the mapping; its contents stay in the file */
extern void omen_arena_unload(OmenArena *arena);

/* Unmap and close; else done when the memory context goes */
extern void omen_arena_close(OmenArena *arena);

#endif							/* OMEN_ARENA_H */
