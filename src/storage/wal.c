/*-------------------------------------------------------------------------
 *
 * wal.c
 *	  The gate to page changes: generic WAL records for single steps, logged
 *	  page images for bulk builds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/smgr.h"

#include "base/compat.h"
#include "storage/wal.h"

/* Pages collected before they are logged and written, at most 32 per record */
#define BULK_PAGES	XLR_MAX_BLOCK_ID

struct OmenBulkWriter
{
	Relation	index;
	ForkNumber	fork;
	bool		logged;
	int			npages;
	BlockNumber blocks[BULK_PAGES];
	Page		pages[BULK_PAGES];
	char	   *memory;
};

static void write_pages(OmenBulkWriter *writer);

void
omen_edit_begin(OmenPageEdit *edit, Relation index)
{
	edit->state = GenericXLogStart(index);
}

Page
omen_edit_page(OmenPageEdit *edit, Buffer buffer)
{
	return GenericXLogRegisterBuffer(edit->state, buffer, 0);
}

Page
omen_edit_new_page(OmenPageEdit *edit, Buffer buffer, OmenPageKind kind)
{
	Page		page = GenericXLogRegisterBuffer(edit->state, buffer,
												 GENERIC_XLOG_FULL_IMAGE);
	uint32		generation = 0;

	if (!PageIsNew(page))
		generation = omen_page_opaque(page)->generation + 1;
	omen_page_init(page, kind, generation);
	return page;
}

void
omen_edit_finish(OmenPageEdit *edit)
{
	GenericXLogFinish(edit->state);
	edit->state = NULL;
}

void
omen_edit_abort(OmenPageEdit *edit)
{
	GenericXLogAbort(edit->state);
	edit->state = NULL;
}

void
omen_bulk_extend(Relation index, ForkNumber fork, BlockNumber nblocks)
{
	omen_compat_extend_to(index, fork, nblocks);
}

OmenBulkWriter *
omen_bulk_begin(Relation index, ForkNumber fork)
{
	OmenBulkWriter *writer = palloc0(sizeof(OmenBulkWriter));

	writer->index = index;
	writer->fork = fork;
	writer->logged = RelationNeedsWAL(index) || fork == INIT_FORKNUM;
	writer->memory = omen_compat_alloc_io(BULK_PAGES * BLCKSZ);
	for (int i = 0; i < BULK_PAGES; i++)
		writer->pages[i] = (Page) (writer->memory + (Size) i * BLCKSZ);
	return writer;
}

Page
omen_bulk_page(OmenBulkWriter *writer, BlockNumber block)
{
	Page		page;

	if (writer->npages == BULK_PAGES)
		write_pages(writer);
	writer->blocks[writer->npages] = block;
	page = writer->pages[writer->npages++];
	memset(page, 0, BLCKSZ);
	return page;
}

void
omen_bulk_finish(OmenBulkWriter *writer)
{
	write_pages(writer);
	pfree(writer->memory);
	pfree(writer);
}

void
omen_bulk_sync(Relation index, ForkNumber fork)
{
	/*
	 * The pages bypassed the buffer manager, so the checkpointer does not know
	 * of them: a crash after the next checkpoint would lose what is only in
	 * the kernel's cache.  See nbtsort.c, _bt_load().
	 */
	if (RelationNeedsWAL(index) || fork == INIT_FORKNUM)
		smgrimmedsync(RelationGetSmgr(index), fork);
}

static void
write_pages(OmenBulkWriter *writer)
{
	CHECK_FOR_INTERRUPTS();

	if (writer->npages == 0)
		return;
	if (writer->logged)
		log_newpages(omen_compat_locator_ptr(writer->index), writer->fork,
					 writer->npages, writer->blocks, writer->pages, false);

	for (int i = 0; i < writer->npages; i++)
	{
		PageSetChecksumInplace(writer->pages[i], writer->blocks[i]);
		smgrwrite(RelationGetSmgr(writer->index), writer->fork,
				  writer->blocks[i], (char *) writer->pages[i], true);
	}
	writer->npages = 0;
}
