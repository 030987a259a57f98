/*-------------------------------------------------------------------------
 *
 * bm25_postings.c
 *	  The postings of a term of a segment.
 *
 * What a page has is copied under its lock, as the page may get another use at
 * any time (see bm25_segment.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bm25/bm25.h"

/*
 * Bytes that are copied when blocks are asked for one after the other: some
 * fifteen blocks
 */
#define READ_AHEAD		4096

StaticAssertDecl(READ_AHEAD >= OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK),
				 "a block has to fit");

static const OmenSkipData *read_skips(void *list, uint32 first, uint32 *n);
static const uint8 *read_block(void *list, uint32 number,
							   const OmenSkipData *skip, Size *size);
static void copy_blocks(OmenBm25List *list, uint32 page, uint16 offset,
						Size size);
static void report_block(void *list, uint32 number);
static void load_block(OmenBm25Postings *postings);

static const OmenPostingOps posting_ops = {
	.skips = read_skips,
	.block = read_block,
	.corrupt = report_block,
};

void
omen_bm25_list_init(OmenBm25List *list, Relation index, OmenBm25Index *bm25,
					const OmenBm25Segment *segment,
					const OmenBm25Entry *entry)
{
	list->postings.ops = &posting_ops;
	list->postings.list = list;
	list->postings.df = entry->df;
	list->postings.bound = entry->bound;
	list->index = index;
	list->bm25 = bm25;
	list->segment = segment;
	list->entry = *entry;
	list->block = NULL;
	list->copied = 0;
	list->next = 0;
	list->skips = NULL;
}

/* The entries that lie on one page */
static const OmenSkipData *
read_skips(void *arg, uint32 first, uint32 *n)
{
	OmenBm25List *list = arg;
	uint32		total = omen_posting_blocks(list->entry.df);
	uint32		here = (OMEN_PAGE_CONTENT - list->entry.offset) /
		sizeof(OmenSkipData);
	uint32		page = list->entry.page;
	uint32		offset = list->entry.offset;
	Buffer		buffer;

	Assert(first < total);

	if (list->skips == NULL)
		list->skips = palloc(Min(total * sizeof(OmenSkipData),
								 OMEN_PAGE_CONTENT));
	if (first < here)
	{
		offset += first * sizeof(OmenSkipData);
		*n = Min(here, total) - first;
	}
	else
	{
		uint32		beyond = first - here;

		page += 1 + beyond / OMEN_BM25_SKIPS_PER_PAGE;
		offset = beyond % OMEN_BM25_SKIPS_PER_PAGE * sizeof(OmenSkipData);
		*n = Min(OMEN_BM25_SKIPS_PER_PAGE - beyond % OMEN_BM25_SKIPS_PER_PAGE,
				 total - first);
	}
	buffer = omen_bm25_segment_page(list->index, list->bm25, list->segment,
									page, OMEN_PAGE_POSTINGS, OMEN_LOCK_SHARE);
	memcpy(list->skips, omen_page_content(BufferGetPage(buffer)) + offset,
		   *n * sizeof(OmenSkipData));
	omen_page_release(buffer);
	return list->skips;
}

static const uint8 *
read_block(void *arg, uint32 number, const OmenSkipData *skip, Size *size)
{
	OmenBm25List *list = arg;
	uint32		page = skip ? omen_skip_page(skip) : list->entry.page;
	uint16		offset = skip ? skip->offset : list->entry.offset;
	Size		most = OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK);

	if (list->entry.inlined)
	{
		*size = list->entry.size;
		return list->entry.block;
	}
	if (offset >= OMEN_PAGE_CONTENT)
		report_block(list, number);
	most = Min(most, OMEN_PAGE_CONTENT - offset);
	if (list->copied == 0 || page != list->page || offset < list->offset ||
		offset + most > list->offset + list->copied)
		copy_blocks(list, page, offset, skip && number == list->next ?
					Min(READ_AHEAD, OMEN_PAGE_CONTENT - offset) : most);
	list->next = number + 1;
	*size = most;
	return list->block + (offset - list->offset);
}

static void
copy_blocks(OmenBm25List *list, uint32 page, uint16 offset, Size size)
{
	Buffer		buffer;

	if (list->block == NULL)
		list->block = palloc(READ_AHEAD);
	list->copied = 0;
	buffer = omen_bm25_segment_page(list->index, list->bm25, list->segment,
									page, OMEN_PAGE_POSTINGS, OMEN_LOCK_SHARE);
	memcpy(list->block, omen_page_content(BufferGetPage(buffer)) + offset,
		   size);
	omen_page_release(buffer);
	list->page = page;
	list->offset = offset;
	list->copied = size;
}

static void
report_block(void *arg, uint32 number)
{
	OmenBm25List *list = arg;

	omen_page_report_corrupt(list->index,
							 omen_bm25_segment_block(list->segment,
													 list->entry.inlined ? 0 :
													 list->entry.page),
							 psprintf("Block %u of a term's postings is damaged.",
									  number));
}

/* --- one after the other --- */

void
omen_bm25_postings_begin(OmenBm25Postings *postings, Relation index,
						 OmenBm25Index *bm25, const OmenBm25Segment *segment,
						 const OmenBm25Entry *entry)
{
	omen_bm25_list_init(&postings->list, index, bm25, segment, entry);
	postings->number = 0;
	postings->base = 0;
	postings->first_skip = postings->nskips = 0;
	postings->n = postings->at = 0;
}

bool
omen_bm25_postings_next(OmenBm25Postings *postings, uint32 *doc, uint16 *tf)
{
	if (postings->at == postings->n)
	{
		if (postings->number ==
			omen_posting_blocks(postings->list.entry.df))
		{
			if (postings->list.block)
				pfree(postings->list.block);
			if (postings->list.skips)
				pfree(postings->list.skips);
			postings->list.block = NULL;
			postings->list.copied = 0;
			postings->list.skips = NULL;
			return false;
		}
		load_block(postings);
	}
	*doc = postings->docs[postings->at];
	*tf = postings->tfs[postings->at++];
	return true;
}

static void
load_block(OmenBm25Postings *postings)
{
	OmenBm25List *list = &postings->list;
	uint32		number = postings->number++;
	const OmenSkipData *skip = NULL;
	const uint8 *block;
	Size		size;
	int			n = omen_posting_block_size(list->entry.df, number);

	if (omen_posting_blocks(list->entry.df) > 1)
	{
		if (number == postings->first_skip + postings->nskips)
		{
			postings->skips = read_skips(list, number, &postings->nskips);
			postings->first_skip = number;
		}
		skip = &postings->skips[number - postings->first_skip];
	}
	block = read_block(list, number, skip, &size);
	if (!omen_posting_decode_docs(block, size, n, postings->base,
								  list->segment->data->ndocs, postings->docs) ||
		!omen_posting_decode_tfs(block, size, n, postings->tfs))
		report_block(list, number);
	postings->base = postings->docs[n - 1] + 1;
	postings->n = n;
	postings->at = 0;
}
