/*-------------------------------------------------------------------------
 *
 * hnsw_alloc.c
 *	  Room for slots, chains, and pages of other kinds.
 *
 * The free space map knows two kinds of pages: FREE pages (storage/page.c) and
 * NODE pages with a free slot (SPACE_SLOT).  It is only a hint; what a page
 * really holds is checked under its lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/freespace.h"
#include "storage/indexfsm.h"

#include "hnsw/hnsw.h"

#define SPACE_SLOT	(BLCKSZ / 2)

/* Leave some slack: the map rounds what it stores down, requests up */
#define WANT_SLOT	(BLCKSZ / 4)

/*
 * FREE pages that are passed over in the search for a free slot.  They lie together,
 * as the chains of a build do; each takes about a microsecond.
 */
#define MOST_PASSED	256

static Buffer find_slot(Relation index, OmenHnswIndex *hnsw, int *position);
static Buffer try_block(Relation index, OmenHnswIndex *hnsw,
						BlockNumber block, bool take_free, int *position,
						bool *is_free);
static void make_node_page(Relation index, Buffer buffer);

void
omen_hnsw_begin_slot(Relation index, OmenHnswIndex *hnsw,
					 OmenHnswSlotWriter *writer)
{
	uint64		number;

	writer->index = index;
	writer->hnsw = hnsw;
	writer->buffer = find_slot(index, hnsw, &writer->position);
	number = (uint64) BufferGetBlockNumber(writer->buffer) *
		hnsw->layout.slots_per_page + writer->position;
	if (number >= (UINT64CONST(1) << OMEN_LINK_NUMBER_BITS))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" has reached its largest size",
						RelationGetRelationName(index)),
				 errhint("Partition the table.")));
	writer->number = (uint32) number;

	writer->version = omen_hnsw_page_slot(&hnsw->layout,
										  BufferGetPage(writer->buffer),
										  writer->position)->version;
}

OmenHnswSlot
omen_hnsw_edit_slot(OmenHnswSlotWriter *writer)
{
	const OmenHnswLayout *layout = &writer->hnsw->layout;
	Page		page;
	PageHeader	header;
	OmenHnswSlot slot;
	Size		end;

	omen_edit_begin(&writer->edit, writer->index);
	page = omen_edit_page(&writer->edit, writer->buffer);
	header = (PageHeader) page;
	slot = omen_hnsw_page_slot(layout, page, writer->position);
	end = (char *) slot + layout->slot_size - (char *) page;
	header->pd_lower = Max(header->pd_lower, end);
	memset(slot, 0, OMEN_SLOT_HEADER);
	memset(omen_slot_links(layout, slot), 0,
		   layout->max_links * sizeof(OmenLink));
	slot->version = writer->version;
	slot->more_tids = OMEN_LINK_INVALID;
	slot->chain = InvalidBlockNumber;
	omen_page_opaque(page)->used++;
	return slot;
}

OmenLink
omen_hnsw_finish_slot(OmenHnswSlotWriter *writer)
{
	omen_edit_finish(&writer->edit);
	omen_page_release(writer->buffer);
	return omen_link_form(writer->number, writer->version);
}

void
omen_hnsw_free_slot(Page page, OmenHnswSlot slot)
{
	uint8		version = (slot->version + 1) & 15;

	memset(slot, 0, OMEN_SLOT_HEADER);
	slot->version = version;
	omen_page_opaque(page)->used--;
}

/*
 * Find a free slot.  Returns its page exclusively locked; *position is the
 * slot's.  One of a NODE page first: the map names FREE pages as well, which become
 * NODE pages for good, and then chains, which need them, make the file grow.
 */
static Buffer
find_slot(Relation index, OmenHnswIndex *hnsw, int *position)
{
	BlockNumber passed[MOST_PASSED];
	int			npassed = 0;
	BlockNumber block = RelationGetTargetBlock(index);
	Buffer		buffer = InvalidBuffer;

	if (!BlockNumberIsValid(block))
		block = GetPageWithFreeSpace(index, WANT_SLOT);
	while (BlockNumberIsValid(block))
	{
		bool		is_free;

		CHECK_FOR_INTERRUPTS();
		buffer = try_block(index, hnsw, block, npassed == MOST_PASSED, position,
						   &is_free);
		if (BufferIsValid(buffer))
			break;
		if (is_free)
			passed[npassed++] = block;
		block = RecordAndGetPageWithFreeSpace(index, block, 0, WANT_SLOT);
	}
	while (npassed > 0)
	{
		bool		is_free;

		block = passed[--npassed];
		if (BufferIsValid(buffer))
			omen_page_record_free(index, block);
		else
			buffer = try_block(index, hnsw, block, true, position, &is_free);
	}
	if (!BufferIsValid(buffer))
	{
		buffer = omen_page_extend(index, MAIN_FORKNUM);
		make_node_page(index, buffer);
		*position = 0;
	}
	RelationSetTargetBlock(index, BufferGetBlockNumber(buffer));
	return buffer;
}

/* Tell the free space map how many slots of a NODE page are in use */
void
omen_hnsw_record_space(Relation index, OmenHnswIndex *hnsw, BlockNumber block,
					   int used)
{
	if (used < 0)
		omen_page_record_free(index, block);
	else if (used < hnsw->layout.slots_per_page)
		RecordPageWithFreeSpace(index, block, SPACE_SLOT);
	else
		RecordPageWithFreeSpace(index, block, 0);
}

/*
 * Write the part of an own code that does not fit its slot to CHAIN pages,
 * last page first, and return the first one.  The caller may hold the
 * exclusive lock of the owner's page.
 */
BlockNumber
omen_hnsw_write_chain(Relation index, OmenHnswIndex *hnsw, uint32 owner,
					  const uint8 *rest, Size size)
{
	BlockNumber next = InvalidBlockNumber;
	Size		npages = (size + OMEN_PAGE_CONTENT - 1) / OMEN_PAGE_CONTENT;

	while (npages-- > 0)
	{
		OmenPageEdit edit;
		Buffer		buffer = omen_page_find_free(index);
		Page		page;
		Size		from = npages * OMEN_PAGE_CONTENT;

		omen_edit_begin(&edit, index);
		page = omen_edit_new_page(&edit, buffer, OMEN_PAGE_CHAIN);
		omen_page_opaque(page)->owner = owner;
		omen_page_opaque(page)->next = next;
		memcpy(omen_page_content(page), rest + from,
			   Min(size - from, OMEN_PAGE_CONTENT));
		omen_edit_finish(&edit);
		next = BufferGetBlockNumber(buffer);
		omen_page_release(buffer);
	}
	return next;
}

/* The page locked, if it has a free slot, or is FREE and may be taken for nodes */
static Buffer
try_block(Relation index, OmenHnswIndex *hnsw, BlockNumber block,
		  bool take_free, int *position, bool *is_free)
{
	Buffer		buffer;
	OmenPageKind kind;

	*is_free = false;
	if (block >= RelationGetNumberOfBlocks(index))
		return InvalidBuffer;
	buffer = omen_page_read_any(index, block, OMEN_LOCK_EXCLUSIVE, NULL,
								&kind);
	*is_free = kind == OMEN_PAGE_FREE;
	if (*is_free && take_free)
	{
		make_node_page(index, buffer);
		*position = 0;
		return buffer;
	}
	if (kind == OMEN_PAGE_NODE)
	{
		for (int i = 0; i < hnsw->layout.slots_per_page; i++)
		{
			OmenHnswSlot slot = omen_hnsw_page_slot(&hnsw->layout,
													BufferGetPage(buffer), i);

			omen_hnsw_check_slot(index, hnsw, buffer, slot);
			if ((slot->flags & OMEN_SLOT_USED) == 0)
			{
				*position = i;
				return buffer;
			}
		}
	}
	omen_page_release(buffer);
	return InvalidBuffer;
}

/*
 * Before anything is said of its numbers elsewhere: what comes between that and
 * the node may fail, and the column must not name what is none (H12).
 */
static void
make_node_page(Relation index, Buffer buffer)
{
	OmenPageEdit edit;
	Page		page;

	omen_edit_begin(&edit, index);
	page = omen_edit_new_page(&edit, buffer, OMEN_PAGE_NODE);

	/* slots that were never used are a hole, and cost no WAL */
	((PageHeader) page)->pd_lower = MAXALIGN(SizeOfPageHeaderData);
	omen_edit_finish(&edit);
}
