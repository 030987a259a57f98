/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the PostgreSQL versions we build against (15-18).
 *
 * The only file that looks at PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BASE_COMPAT_H
#define OMEN_BASE_COMPAT_H

#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/guc.h"
#include "utils/rel.h"

#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "omendb needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
typedef RelFileLocator OmenRelFile;
#define omen_compat_locator(rel)		((rel)->rd_locator)
#define omen_compat_locator_ptr(rel)	(&(rel)->rd_locator)
#define omen_compat_relnumber(rel)		((rel)->rd_locator.relNumber)
#else
typedef RelFileNode OmenRelFile;
#define omen_compat_locator(rel)		((rel)->rd_node)
#define omen_compat_locator_ptr(rel)	(&(rel)->rd_node)
#define omen_compat_relnumber(rel)		((rel)->rd_node.relNode)
#endif

/*
 * Input functions can report an error without raising it since 16, which
 * pg_input_is_valid and COPY ... ON_ERROR build upon.  The context is
 * fcinfo->context; with NULL, or before 16, the error is raised.
 */
#if PG_VERSION_NUM < 160000
#define errsave(context, ...) ereport(ERROR, __VA_ARGS__)
#endif

/*
 * Memory handed to the settings machinery must come from its own allocator,
 * which was plain malloc before 16.  NULL if there is none left.
 */
#if PG_VERSION_NUM >= 160000
#define omen_compat_guc_malloc(size) guc_malloc(LOG, size)
#define omen_compat_guc_free(pointer) guc_free(pointer)
#else
#define omen_compat_guc_malloc(size) malloc(size)
#define omen_compat_guc_free(pointer) free(pointer)
#endif

/* 18 replaced this by a keyword that must come first in a declaration */
#if PG_VERSION_NUM >= 180000 && !defined(pg_attribute_noreturn)
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* Declares a function of the SQL level and makes it visible to the server */
#define OMEN_FUNCTION(name) PGDLLEXPORT PG_FUNCTION_INFO_V1(name)

/* A new zero page at the end of a fork, exclusively locked */
static inline Buffer
omen_compat_extend(Relation rel, ForkNumber fork)
{
#if PG_VERSION_NUM >= 160000
	return ExtendBufferedRel(BMR_REL(rel), fork, NULL, EB_LOCK_FIRST);
#else
	Buffer		buffer;
	bool		lock = !RELATION_IS_LOCAL(rel);

	if (lock)
		LockRelationForExtension(rel, ExclusiveLock);
	buffer = ReadBufferExtended(rel, fork, P_NEW, RBM_NORMAL, NULL);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (lock)
		UnlockRelationForExtension(rel, ExclusiveLock);
	return buffer;
#endif
}

/* Make a fork that no one else knows of nblocks long, past the buffers */
static inline void
omen_compat_extend_to(Relation rel, ForkNumber fork, BlockNumber nblocks)
{
	SMgrRelation smgr = RelationGetSmgr(rel);
	BlockNumber first = smgrnblocks(smgr, fork);

#if PG_VERSION_NUM >= 160000
	if (nblocks > first)
		smgrzeroextend(smgr, fork, first, (int) (nblocks - first), true);
#else
	PGAlignedBlock zero;

	memset(&zero, 0, sizeof(zero));
	for (BlockNumber block = first; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		smgrextend(RelationGetSmgr(rel), fork, block, zero.data, true);
	}
#endif
}

/* Memory that may be written to disk from */
static inline void *
omen_compat_alloc_io(Size size)
{
#if PG_VERSION_NUM >= 160000
	return palloc_aligned(size, PG_IO_ALIGN_SIZE, 0);
#else
	return palloc(size);
#endif
}

#endif							/* OMEN_BASE_COMPAT_H */
