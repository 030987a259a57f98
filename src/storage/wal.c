/*-------------------------------------------------------------------------
 *
 * wal.c
 *	  The gate to page changes: generic WAL records for single steps, logged
 *	  page images for bulk builds.
 *
 * NOTES
 *	  The records are those of access/transam/generic_xlog.c, of a format that
 *	  has not changed since there are any: for each page a list of fragments,
 *	  offset, length and new bytes.  We write them ourselves because
 *	  GenericXLogFinish() compares pages byte by byte and copies them back,
 *	  GenericXLogStart() allocates 64 kB, and most edits change some bytes of a
 *	  page: 5 us each, and an insertion has up to 15.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
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
	instr_time	wal_time;		/* spent on logging */
};

/* What a fragment has in front of its bytes: offset and length */
#define FRAGMENT_HEADER	(2 * sizeof(OffsetNumber))

/* Two fragments of a page are more than a header apart, see add_changes() */
#define MAX_DELTA		(BLCKSZ + 3 * FRAGMENT_HEADER)

/* Bytes compared at a time */
#define STRIDE			64

/* One page of the edit: the copy that is changed, and what was changed */
typedef struct EditedPage
{
	PGAlignedBlock image;
	int			start;			/* what has been copied, */
	int			end;			/* up to here */
	Size		delta_size;
	char		delta[MAX_DELTA];
} EditedPage;

static EditedPage edited[MAX_GENERIC_XLOG_PAGES];
static const OmenPageEdit *current_edit;	/* only to be compared */

static char *add_page(OmenPageEdit *edit, Buffer buffer, int start, int end);
static void copy_page(EditedPage *page, Page old, int start, int end);
static void log_pages(OmenPageEdit *edit);
static void find_changes(EditedPage *page, Page old);
static void add_changes(EditedPage *page, Page old, int at, int end);
static int	find_difference(const char *a, const char *b, int at, int end);
static void add_fragment(EditedPage *page, int offset, int end);
static bool is_zero(const char *bytes, int n);
static void apply_changes(const EditedPage *page, Page target);
static void write_pages(OmenBulkWriter *writer);
static void log_new_pages(OmenBulkWriter *writer);

void
omen_edit_begin(OmenPageEdit *edit, Relation index)
{
	edit->logged = RelationNeedsWAL(index);
	edit->npages = 0;
	current_edit = edit;
}

Page
omen_edit_page(OmenPageEdit *edit, Buffer buffer)
{
	return add_page(edit, buffer, 0, BLCKSZ);
}

void *
omen_edit_part(OmenPageEdit *edit, Buffer buffer, const void *part, Size size)
{
	Page		page = BufferGetPage(buffer);
	int			start = (const char *) part - (char *) page;

	Assert(start >= SizeOfPageHeaderData &&
		   start + size <= ((PageHeader) page)->pd_lower);

	return add_page(edit, buffer, start, start + size) + start;
}

Page
omen_edit_new_page(OmenPageEdit *edit, Buffer buffer, OmenPageKind kind)
{
	Page		page = add_page(edit, buffer, 0, BLCKSZ);
	uint32		generation = 0;

	for (int i = 0; i < edit->npages; i++)
		edit->whole[i] |= edit->buffers[i] == buffer;

	if (!PageIsNew(page))
		generation = omen_page_opaque(page)->generation + 1;
	omen_page_init(page, kind, generation);
	return page;
}

void
omen_edit_finish(OmenPageEdit *edit)
{
	Assert(current_edit == edit);

	for (int i = 0; i < edit->npages; i++)
	{
		if (!edit->whole[i])
			find_changes(&edited[i], BufferGetPage(edit->buffers[i]));
	}

	START_CRIT_SECTION();
	for (int i = 0; i < edit->npages; i++)
	{
		Page		page = BufferGetPage(edit->buffers[i]);

		if (edit->whole[i])
			memcpy(page, edited[i].image.data, BLCKSZ);
		else
			apply_changes(&edited[i], page);
		MarkBufferDirty(edit->buffers[i]);
	}
	if (edit->logged)
		log_pages(edit);
	END_CRIT_SECTION();
	current_edit = NULL;
}

void
omen_edit_abort(OmenPageEdit *edit)
{
	Assert(current_edit == edit);
	current_edit = NULL;
}

/* The copy of a page, which has at least these bytes from now on */
static char *
add_page(OmenPageEdit *edit, Buffer buffer, int start, int end)
{
	EditedPage *page;
	int			at = 0;

	Assert(current_edit == edit);

	while (at < edit->npages && edit->buffers[at] != buffer)
		at++;
	page = &edited[at];
	if (at == edit->npages)
	{
		if (edit->npages == MAX_GENERIC_XLOG_PAGES)
			elog(ERROR, "too many pages in an edit");
		edit->buffers[at] = buffer;
		edit->whole[at] = false;
		edit->npages++;
		page->start = page->end = start;
	}
	copy_page(page, BufferGetPage(buffer), start, end);
	return page->image.data;
}

/* Copy what has not been: the rest may have been changed meanwhile */
static void
copy_page(EditedPage *page, Page old, int start, int end)
{
	if (start < page->start)
	{
		memcpy(page->image.data + start, (char *) old + start,
			   page->start - start);
		page->start = start;
	}
	if (end > page->end)
	{
		memcpy(page->image.data + page->end, (char *) old + page->end,
			   end - page->end);
		page->end = end;
	}
}

static void
log_pages(OmenPageEdit *edit)
{
	XLogRecPtr	lsn;

	XLogBeginInsert();
	for (int i = 0; i < edit->npages; i++)
	{
		XLogRegisterBuffer(i, edit->buffers[i], REGBUF_STANDARD |
						   (edit->whole[i] ? REGBUF_FORCE_IMAGE : 0));
		if (!edit->whole[i])
			XLogRegisterBufData(i, edited[i].delta, edited[i].delta_size);
	}
	lsn = XLogInsert(RM_GENERIC_ID, 0);
	for (int i = 0; i < edit->npages; i++)
		PageSetLSN(BufferGetPage(edit->buffers[i]), lsn);
}

/*
 * Fragments for all that differs.  The hole has none: replay fills it with
 * zeros.  So of what was in the hole before, zeros need not be written, unless
 * our own page had something else there.
 */
static void
find_changes(EditedPage *page, Page old)
{
	PageHeader	from = (PageHeader) old;
	PageHeader	to = (PageHeader) page->image.data;

	page->delta_size = 0;
	if (page->end - page->start < BLCKSZ)
	{
		add_changes(page, old, page->start, page->end);
		return;
	}

	Assert(from->pd_upper == to->pd_upper);

	add_changes(page, old, 0, Min(from->pd_lower, to->pd_lower));
	if (from->pd_lower < to->pd_lower)
	{
		if (is_zero((char *) old + from->pd_lower,
					to->pd_lower - from->pd_lower))
			add_changes(page, old, from->pd_lower, to->pd_lower);
		else
			add_fragment(page, from->pd_lower, to->pd_lower);
	}
	add_changes(page, old, to->pd_upper, BLCKSZ);
}

/* A gap between changes that is no longer than a header is written, too */
static void
add_changes(EditedPage *page, Page old, int at, int end)
{
	const char *image = page->image.data;

	while ((at = find_difference((char *) old, image, at, end)) < end)
	{
		int			last = at;

		for (int i = at + 1;
			 i < end && i - last <= (int) FRAGMENT_HEADER + 1; i++)
		{
			if (((char *) old)[i] != image[i])
				last = i;
		}
		add_fragment(page, at, last + 1);
		at = last + 1;
	}
}

/* The first place from "at" on where the two differ, or "end" */
static int
find_difference(const char *a, const char *b, int at, int end)
{
	while (at + STRIDE <= end)
	{
		uint64		different = 0;

		for (int i = at; i < at + STRIDE; i += sizeof(uint64))
		{
			uint64		x;
			uint64		y;

			memcpy(&x, a + i, sizeof(x));
			memcpy(&y, b + i, sizeof(y));
			different |= x ^ y;
		}
		if (different != 0)
			break;
		at += STRIDE;
	}
	while (at < end && a[at] == b[at])
		at++;
	return at;
}

static void
add_fragment(EditedPage *page, int offset, int end)
{
	OffsetNumber header[2] = {(OffsetNumber) offset,
	(OffsetNumber) (end - offset)};
	char	   *to = page->delta + page->delta_size;

	Assert(page->delta_size + FRAGMENT_HEADER + (end - offset) <= MAX_DELTA);

	memcpy(to, header, FRAGMENT_HEADER);
	memcpy(to + FRAGMENT_HEADER, page->image.data + offset, end - offset);
	page->delta_size += FRAGMENT_HEADER + (end - offset);
}

static bool
is_zero(const char *bytes, int n)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

/* As replay does it */
static void
apply_changes(const EditedPage *page, Page target)
{
	const char *at = page->delta;
	const char *end = at + page->delta_size;
	int			lower = ((PageHeader) target)->pd_lower;
	PageHeader	header = (PageHeader) target;

	while (at < end)
	{
		OffsetNumber fragment[2];

		memcpy(fragment, at, FRAGMENT_HEADER);
		at += FRAGMENT_HEADER;
		memcpy((char *) target + fragment[0], at, fragment[1]);
		at += fragment[1];
	}
	if (header->pd_lower < lower)
		memset((char *) target + header->pd_lower, 0,
			   lower - header->pd_lower);
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

double
omen_bulk_finish(OmenBulkWriter *writer)
{
	double		seconds;

	write_pages(writer);
	seconds = INSTR_TIME_GET_DOUBLE(writer->wal_time);
	pfree(writer->memory);
	pfree(writer);
	return seconds;
}

void
omen_bulk_sync(Relation index, ForkNumber fork)
{
	/*
	 * The pages bypassed the buffer manager, so the checkpointer does not know
	 * of them: a crash after the next checkpoint would lose what is only in
	 * the kernel's cache.  See nbtsort.c, _bt_load().  Those of an unlogged index
	 * must outlast a shutdown, after which they are kept, and a crash of the system
	 * then.  What is not logged only because nobody else can see it is synced when
	 * its transaction commits.
	 */
	if (RelationNeedsWAL(index) || fork == INIT_FORKNUM ||
		index->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		smgrimmedsync(RelationGetSmgr(index), fork);

	/*
	 * Of an index that is built concurrently, others know: pg_prewarm() may have
	 * read blocks before they were written.
	 */
	if (!omen_compat_is_private(index))
		omen_compat_drop_buffers(index, fork);
}

static void
write_pages(OmenBulkWriter *writer)
{
	CHECK_FOR_INTERRUPTS();

	if (writer->npages == 0)
		return;
	if (writer->logged)
		log_new_pages(writer);

	for (int i = 0; i < writer->npages; i++)
		PageSetChecksumInplace(writer->pages[i], writer->blocks[i]);
	for (int first = 0, end = 1; first < writer->npages; end++)
	{
		if (end < writer->npages &&
			writer->blocks[end] == writer->blocks[end - 1] + 1)
			continue;
		omen_compat_write_blocks(writer->index, writer->fork,
								 writer->blocks[first], &writer->pages[first],
								 end - first);
		first = end;
	}
	writer->npages = 0;
}

static void
log_new_pages(OmenBulkWriter *writer)
{
	instr_time	start;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(start);
	log_newpages(omen_compat_locator_ptr(writer->index), writer->fork,
				 writer->npages, writer->blocks, writer->pages, false);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_ACCUM_DIFF(writer->wal_time, end, start);
}
