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

#include "access/genam.h"
#include "access/amapi.h"
#include "access/relscan.h"
#include "catalog/pg_class.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/nodes.h"
#include "nodes/pathnodes.h"
#include "nodes/tidbitmap.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "postmaster/autovacuum.h"
#include "storage/buffile.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/acl.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

#if PG_VERSION_NUM >= 170000
#include "storage/read_stream.h"
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
	/* locked first: the free space map may have known it before it was there */
	buffer = ReadBufferExtended(rel, fork, P_NEW, RBM_ZERO_AND_LOCK, NULL);
	if (lock)
		UnlockRelationForExtension(rel, ExclusiveLock);
	return buffer;
#endif
}

/*
 * Zero pages at the end of the main fork, at most npages and 64; returns the
 * first one's block and in *got how many there are.
 */
static inline BlockNumber
omen_compat_extend_by(Relation rel, uint32 npages, uint32 *got)
{
	BlockNumber first = InvalidBlockNumber;
#if PG_VERSION_NUM >= 160000
	Buffer		buffers[64];

	first = ExtendBufferedRelBy(BMR_REL(rel), MAIN_FORKNUM, NULL, 0,
								Min(npages, lengthof(buffers)), buffers, got);
	for (uint32 i = 0; i < *got; i++)
		ReleaseBuffer(buffers[i]);
#else
	/* a new relation may be extended by several processes that build it */
	bool		lock = !RelationUsesLocalBuffers(rel);

	*got = Min(npages, 64);
	if (lock)
		LockRelationForExtension(rel, ExclusiveLock);
	for (uint32 i = 0; i < *got; i++)
	{
		Buffer		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, P_NEW,
												RBM_NORMAL, NULL);

		if (i == 0)
			first = BufferGetBlockNumber(buffer);
		ReleaseBuffer(buffer);
	}
	if (lock)
		UnlockRelationForExtension(rel, ExclusiveLock);
#endif
	return first;
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

	/* as mdextend() promises, what is before the last block reads as zeros */
	memset(&zero, 0, sizeof(zero));
	if (nblocks > first)
		smgrextend(smgr, fork, nblocks - 1, zero.data, true);
#endif
}

/* Has this transaction made the relation or its file, so that nobody else reads it? */
static inline bool
omen_compat_is_private(Relation rel)
{
#if PG_VERSION_NUM >= 160000
	SubTransactionId file = rel->rd_newRelfilelocatorSubid;
#else
	SubTransactionId file = rel->rd_newRelfilenodeSubid;
#endif

	return rel->rd_createSubid != InvalidSubTransactionId ||
		file != InvalidSubTransactionId;
}

/* Forget what the shared buffers have of a fork */
static inline void
omen_compat_drop_buffers(Relation rel, ForkNumber fork)
{
	BlockNumber first = 0;

#if PG_VERSION_NUM >= 160000
	DropRelationBuffers(RelationGetSmgr(rel), &fork, 1, &first);
#else
	DropRelFileNodeBuffers(RelationGetSmgr(rel), &fork, 1, &first);
#endif
}

/* Write blocks that follow each other; since 17 with one call */
static inline void
omen_compat_write_blocks(Relation rel, ForkNumber fork, BlockNumber first,
						 Page *pages, int npages)
{
	SMgrRelation smgr = RelationGetSmgr(rel);

#if PG_VERSION_NUM >= 170000
	smgrwritev(smgr, fork, first, (const void **) pages, npages, true);
#else
	for (int i = 0; i < npages; i++)
		smgrwrite(smgr, fork, first + i, (char *) pages[i], true);
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

/*
 * Blocks of a relation in order, each pinned.  Since 17 the server reads them
 * ahead, several with one call; before, that is left to the kernel, which is
 * better at it without advice.
 */
typedef struct OmenCompatStream
{
	BlockNumber next;
	BlockNumber end;
	Relation	rel;
	BufferAccessStrategy strategy;
#if PG_VERSION_NUM >= 170000
	ReadStream *stream;
#endif
} OmenCompatStream;

#if PG_VERSION_NUM >= 170000
static inline BlockNumber
omen_compat_stream_block(ReadStream *stream, void *private, void *per_buffer)
{
	OmenCompatStream *range = (OmenCompatStream *) private;

	return range->next < range->end ? range->next++ : InvalidBlockNumber;
}
#endif

static inline void
omen_compat_stream_begin(OmenCompatStream *stream, Relation rel,
						 BlockNumber end, BufferAccessStrategy strategy)
{
	stream->next = 0;
	stream->end = end;
	stream->rel = rel;
	stream->strategy = strategy;
#if PG_VERSION_NUM >= 170000
	stream->stream = read_stream_begin_relation(READ_STREAM_FULL |
												READ_STREAM_SEQUENTIAL,
												strategy, rel, MAIN_FORKNUM,
												omen_compat_stream_block,
												stream, 0);
#endif
}

/* InvalidBuffer after the last one */
static inline Buffer
omen_compat_stream_next(OmenCompatStream *stream)
{
#if PG_VERSION_NUM >= 170000
	return read_stream_next_buffer(stream->stream, NULL);
#else
	if (stream->next >= stream->end)
		return InvalidBuffer;
	return ReadBufferExtended(stream->rel, MAIN_FORKNUM, stream->next++,
							  RBM_NORMAL, stream->strategy);
#endif
}

static inline void
omen_compat_stream_end(OmenCompatStream *stream)
{
#if PG_VERSION_NUM >= 170000
	read_stream_end(stream->stream);
#endif
}

/* One more search of an index, for EXPLAIN (ANALYZE) */
static inline void
omen_compat_count_search(IndexScanDesc scan)
{
#if PG_VERSION_NUM >= 180000
	if (scan->instrument)
		scan->instrument->nsearches++;
#endif
}

/*
 * Before 17, old_snapshot_threshold lets vacuum remove rows that an old snapshot
 * sees.  To be called after what they were in has been read, and before anything
 * is returned.  The server's own access methods spare whom only pages are read
 * for that are older than the snapshot; what vacuum has taken out of ours need not
 * leave a trace on what a scan reads.
 */
static inline void
omen_compat_check_snapshot(Snapshot snapshot, Relation index)
{
#if PG_VERSION_NUM < 170000
	if (old_snapshot_threshold >= 0 && snapshot != NULL &&
		snapshot->snapshot_type == SNAPSHOT_MVCC &&
		!XLogRecPtrIsInvalid(snapshot->lsn))
		TestForOldSnapshot_impl(snapshot, index);
#endif
}

/*
 * What an index runs of its own sees only the system's schemas since 17; to
 * be undone by the caller's AtEOXact_GUC().
 */
static inline void
omen_compat_restrict_search_path(void)
{
#if PG_VERSION_NUM >= 170000
	RestrictSearchPath();
#endif
}

/* Extensions may add lines to a node that EXPLAIN prints */
#if PG_VERSION_NUM >= 180000
#define OMEN_EXPLAIN_NODE_HOOK
#endif

/* Interrupts and the cost-based delay, in loops of vacuum */
static inline void
omen_compat_vacuum_delay(void)
{
#if PG_VERSION_NUM >= 180000
	vacuum_delay_point(false);
#else
	vacuum_delay_point();
#endif
}

static inline bool
omen_compat_is_autovacuum(void)
{
#if PG_VERSION_NUM >= 170000
	return AmAutoVacuumWorkerProcess();
#else
	return IsAutoVacuumWorkerProcess();
#endif
}

/* Fields of IndexAmRoutine that came later */
static inline void
omen_compat_set_am_flags(IndexAmRoutine *routine)
{
#if PG_VERSION_NUM >= 160000
	routine->amsummarizing = false;
#endif
#if PG_VERSION_NUM >= 170000
	routine->amcanbuildparallel = true;
#endif
#if PG_VERSION_NUM >= 180000
	routine->amcanhash = false;
	routine->amconsistentequality = false;
	routine->amconsistentordering = false;
#endif
}

/* Read so many bytes from a temporary file; an error if it has fewer */
static inline void
omen_compat_read_file(BufFile *file, void *to, size_t size)
{
#if PG_VERSION_NUM >= 160000
	BufFileReadExact(file, to, size);
#else
	size_t		got = BufFileRead(file, to, size);

	if (got != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file: read only %zu of %zu bytes",
						got, size)));
#endif
}

/*
 * A path that must not be taken if there is any other.  Since 18 a disabled
 * sequential scan costs more than whatever is enabled, and a bitmap heap scan
 * is, whatever path it is made of: so it must not be made of this one.
 */
static inline void
omen_compat_forbid_path(IndexPath *path, Cost *startup_cost, Cost *total_cost)
{
	*startup_cost = *total_cost = 1e100;
#if PG_VERSION_NUM >= 180000
	path->path.disabled_nodes = 2;
	path->indexinfo->amhasgetbitmap = false;
#endif
}

/* Does this sort key ask for ascending order, nulls last? */
static inline bool
omen_compat_is_ascending(const PathKey *key)
{
#if PG_VERSION_NUM >= 180000
	return key->pk_cmptype == COMPARE_LT && !key->pk_nulls_first;
#else
	return key->pk_strategy == BTLessStrategyNumber && !key->pk_nulls_first;
#endif
}

/* Does the planner order by an index that knows the first of several keys? */
static inline bool
omen_compat_knows_first_key(void)
{
#if PG_VERSION_NUM >= 170000
	return true;
#else
	return false;
#endif
}

/*
 * Members of an equivalence class, among them those of a partition or other
 * child, which lie elsewhere since 18
 */
typedef struct OmenCompatMembers
{
#if PG_VERSION_NUM >= 180000
	EquivalenceMemberIterator iterator;
#else
	const List *members;
	int			next;
#endif
} OmenCompatMembers;

static inline void
omen_compat_members_begin(OmenCompatMembers *members, EquivalenceClass *eclass,
						  Relids child)
{
#if PG_VERSION_NUM >= 180000
	setup_eclass_member_iterator(&members->iterator, eclass, child);
#else
	members->members = eclass->ec_members;
	members->next = 0;
#endif
}

/* NULL after the last one */
static inline EquivalenceMember *
omen_compat_members_next(OmenCompatMembers *members)
{
#if PG_VERSION_NUM >= 180000
	return eclass_member_iterator_next(&members->iterator);
#else
	if (members->next >= list_length(members->members))
		return NULL;
	return (EquivalenceMember *) list_nth(members->members, members->next++);
#endif
}

/*
 * Since 18, what a query groups by is a range table entry of its own, until it is
 * planned: what the columns of that stand for
 */
static inline Node *
omen_compat_ungroup(Query *query, Node *node)
{
#if PG_VERSION_NUM >= 180000
	if (query->hasGroupRTE)
		return flatten_group_exprs(NULL, query, node);
#endif
	return node;
}

/*
 * A copy of a column, as it is below all outer joins, which mark it since 16, and not as
 * RETURNING may have it since 18, of the old row or the new one
 */
static inline Var *
omen_compat_unmarked_var(const Var *var)
{
	Var		   *copy = (Var *) copyObject(var);

#if PG_VERSION_NUM >= 160000
	copy->varnullingrels = NULL;
#endif
#if PG_VERSION_NUM >= 180000
	copy->varreturningtype = VAR_RETURNING_DEFAULT;
#endif
	return copy;
}

/* Since 18: what RETURNING has of the old or the new row of a view, else NULL */
static inline Node *
omen_compat_returned(Node *node)
{
#if PG_VERSION_NUM >= 180000
	if (IsA(node, ReturningExpr))
		return (Node *) ((ReturningExpr *) node)->retexpr;
#endif
	return NULL;
}

/* A scan of this table, row by row, for a node that would make a bitmap of it */
static inline IndexScanDesc
omen_compat_index_beginscan(Relation heap, BitmapIndexScanState *node)
{
	Snapshot	snapshot = node->ss.ps.state->es_snapshot;

#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, node->biss_RelationDesc, snapshot,
						   &node->biss_Instrument, node->biss_NumScanKeys, 0);
#else
	return index_beginscan(heap, node->biss_RelationDesc, snapshot,
						   node->biss_NumScanKeys, 0);
#endif
}

/* Pages of a TID bitmap, in order */
typedef struct OmenCompatBitmap
{
	BlockNumber block;			/* the page that _next found */
	int			noffsets;		/* -1: whichever rows it has */
	const OffsetNumber *offsets;
#if PG_VERSION_NUM >= 180000
	TBMPrivateIterator *iterator;
	OffsetNumber space[TBM_MAX_TUPLES_PER_PAGE];
#else
	TBMIterator *iterator;
#endif
} OmenCompatBitmap;

static inline void
omen_compat_bitmap_begin(OmenCompatBitmap *pages, TIDBitmap *bitmap)
{
#if PG_VERSION_NUM >= 180000
	pages->iterator = tbm_begin_private_iterate(bitmap);
	pages->offsets = pages->space;
#else
	pages->iterator = tbm_begin_iterate(bitmap);
#endif
}

static inline bool
omen_compat_bitmap_next(OmenCompatBitmap *pages)
{
#if PG_VERSION_NUM >= 180000
	TBMIterateResult page;

	if (!tbm_private_iterate(pages->iterator, &page))
		return false;
	pages->block = page.blockno;
	pages->noffsets = page.lossy ? -1 :
		tbm_extract_page_tuple(&page, pages->space, TBM_MAX_TUPLES_PER_PAGE);
#else
	TBMIterateResult *page = tbm_iterate(pages->iterator);

	if (page == NULL)
		return false;
	pages->block = page->blockno;
	pages->noffsets = page->ntuples;
	pages->offsets = page->offsets;
#endif
	return true;
}

static inline void
omen_compat_bitmap_end(OmenCompatBitmap *pages)
{
#if PG_VERSION_NUM >= 180000
	tbm_end_private_iterate(pages->iterator);
#else
	tbm_end_iterate(pages->iterator);
#endif
}

/* May this role do what only an owner of the relation may? */
static inline bool
omen_compat_owns_relation(Oid relid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, role);
#else
	return pg_class_ownercheck(relid, role);
#endif
}

/* An ExecutorRun hook's parameters, and the same as arguments */
#if PG_VERSION_NUM >= 180000
#define OMEN_EXECUTOR_RUN_PARAMS \
	QueryDesc *query, ScanDirection direction, uint64 count
#define OMEN_EXECUTOR_RUN_ARGS	query, direction, count
#else
#define OMEN_EXECUTOR_RUN_PARAMS \
	QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define OMEN_EXECUTOR_RUN_ARGS	query, direction, count, once
#endif

#endif							/* OMEN_BASE_COMPAT_H */
