/*-------------------------------------------------------------------------
 *
 * wal.h
 *	  Changes of pages: the one gate through which they are made.
 *
 * An edit changes up to MAX_GENERIC_XLOG_PAGES exclusively locked pages as
 * one atomic, WAL-logged step; one edit at a time:
 *
 *		omen_edit_begin(&edit, index);
 *		page = omen_edit_page(&edit, buffer);
 *		... change the copy that "page" points to ...
 *		omen_edit_finish(&edit);
 *
 * Nothing is visible before omen_edit_finish(); an ERROR before it leaves
 * the pages as they were.  Records are generic WAL, so a server replays them
 * without this library.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_WAL_H
#define OMEN_WAL_H

#include "access/generic_xlog.h"
#include "storage/page.h"

typedef struct OmenPageEdit
{
	bool		logged;
	int			npages;
	Buffer		buffers[MAX_GENERIC_XLOG_PAGES];
	bool		whole[MAX_GENERIC_XLOG_PAGES];	/* logged as a full image */
} OmenPageEdit;

extern void omen_edit_begin(OmenPageEdit *edit, Relation index);

/* The copy to change of a page that has contents already */
extern Page omen_edit_page(OmenPageEdit *edit, Buffer buffer);

/*
 * The same of a part of its contents, below pd_lower: the copy of that part.  What is
 * not copied is not compared, either.
 */
extern void *omen_edit_part(OmenPageEdit *edit, Buffer buffer,
							const void *part, Size size);

/* The same of a page that gets new contents: logged as a full image */
extern Page omen_edit_new_page(OmenPageEdit *edit, Buffer buffer,
							   OmenPageKind kind);

extern void omen_edit_finish(OmenPageEdit *edit);
extern void omen_edit_abort(OmenPageEdit *edit);

/*
 * Bulk writing of a new relation's fork, past the buffer manager: pages are
 * collected, logged together and written at their places.  Several processes
 * may write different blocks once omen_bulk_extend() has made room.
 */
typedef struct OmenBulkWriter OmenBulkWriter;

extern void omen_bulk_extend(Relation index, ForkNumber fork,
							 BlockNumber nblocks);
extern OmenBulkWriter *omen_bulk_begin(Relation index, ForkNumber fork);

/* A zeroed page to fill, which is to become the block given */
extern Page omen_bulk_page(OmenBulkWriter *writer, BlockNumber block);

/* Write what is left, and end; returns the seconds that went into WAL */
extern double omen_bulk_finish(OmenBulkWriter *writer);

/* Make the fork durable, and seen by all; by one process when all have finished */
extern void omen_bulk_sync(Relation index, ForkNumber fork);

#endif							/* OMEN_WAL_H */
