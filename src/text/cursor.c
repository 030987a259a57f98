/*-------------------------------------------------------------------------
 *
 * cursor.c
 *	  Reading entries of blocks, and blocks, of a term's postings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "text/cursor.h"

StaticAssertDecl(OMEN_SKIP_CHUNK >= 1, "a chunk has entries");

static void copy_skips(OmenSkips *skips, OmenSkipChunk *chunk, uint32 first,
					   uint32 n);

void
omen_skips_open(OmenSkips *skips, const OmenPostingList *source, uint32 ndocs,
				MemoryContext context)
{
	Assert(source->df > 0);
	skips->source = source;
	skips->end = ndocs;
	skips->nblocks = omen_posting_blocks(source->df);
	skips->context = context;
	skips->only_last = ndocs - 1;
	skips->chunks = NULL;
	if (skips->nblocks > 1)
		skips->chunks = MemoryContextAllocZero(
			context, sizeof(OmenSkipChunk *) *
			((skips->nblocks - 1) / OMEN_SKIP_CHUNK + 1));
}

OmenSkipChunk *
omen_skips_load(OmenSkips *skips, uint32 number)
{
	uint32		first = number * OMEN_SKIP_CHUNK;
	uint32		n = Min(skips->nblocks - first, OMEN_SKIP_CHUNK);
	OmenSkipChunk *chunk = MemoryContextAlloc(skips->context,
											  sizeof(OmenSkipChunk));

	chunk->bounded = false;
	copy_skips(skips, chunk, first, n);
	for (uint32 i = 0; i < n; i++)
	{
		uint32		last = omen_skip_last_doc(&chunk->skips[i]);

		if (last >= skips->end || (i > 0 && last <= chunk->last_doc[i - 1]))
			skips->source->ops->corrupt(skips->source->list, first + i);
		chunk->last_doc[i] = last;
	}
	skips->chunks[number] = chunk;
	return chunk;
}

static void
copy_skips(OmenSkips *skips, OmenSkipChunk *chunk, uint32 first, uint32 n)
{
	const OmenPostingList *source = skips->source;

	for (uint32 done = 0; done < n;)
	{
		uint32		here;
		const OmenSkipData *from = source->ops->skips(source->list,
													  first + done, &here);

		Assert(here > 0);
		here = Min(here, n - done);
		memcpy(chunk->skips + done, from, here * sizeof(OmenSkipData));
		done += here;
	}
}

uint32
omen_skips_find(OmenSkips *skips, uint32 from, uint32 doc)
{
	uint32		nblocks = skips->nblocks;

	if (skips->chunks == NULL)
		return from == 0 && doc <= skips->only_last ? 0 : 1;
	while (from < nblocks)
	{
		OmenSkipChunk *chunk = omen_skips_chunk(skips, from);
		uint32		start = from - from % OMEN_SKIP_CHUNK;
		uint32		n = Min(nblocks - start, OMEN_SKIP_CHUNK);
		uint32		low = from - start;
		uint32		step = 1;
		uint32		high;

		if (chunk->last_doc[n - 1] < doc)
		{
			from = start + n;
			continue;
		}
		/* it is from low on; mostly near */
		for (high = low; chunk->last_doc[high] < doc; step *= 2)
		{
			low = high + 1;
			high = Min(high + step, n - 1);
		}
		while (low < high)
		{
			uint32		middle = (low + high) / 2;

			if (chunk->last_doc[middle] < doc)
				low = middle + 1;
			else
				high = middle;
		}
		return start + low;
	}
	return nblocks;
}

void
omen_cursor_open(OmenCursor *cursor, OmenSkips *skips)
{
	cursor->skips = skips;
	cursor->block = OMEN_NO_BLOCK;
}

void
omen_cursor_load(OmenCursor *cursor, uint32 block)
{
	OmenSkips  *skips = cursor->skips;
	const OmenPostingList *source = skips->source;
	const OmenSkipData *skip = NULL;
	const uint8 *bytes;
	Size		readable;

	if (cursor->block == block)
		return;
	Assert(block < skips->nblocks);
	cursor->block = OMEN_NO_BLOCK;
	cursor->n = omen_posting_block_size(source->df, block);
	cursor->has_tfs = false;
	if (skips->chunks != NULL)
		skip = &omen_skips_chunk(skips, block)->skips[block % OMEN_SKIP_CHUNK];

	bytes = source->ops->block(source->list, block, skip, &readable);
	cursor->size = omen_posting_size(bytes, readable, cursor->n);
	if (cursor->size == 0)
		source->ops->corrupt(source->list, block);
	memcpy(cursor->bytes, bytes, cursor->size);
	if (!omen_posting_decode_docs(cursor->bytes, sizeof(cursor->bytes),
								  cursor->n, omen_skips_first(skips, block),
								  skips->end, cursor->docs) ||
		(skip != NULL &&
		 cursor->docs[cursor->n - 1] != omen_skip_last_doc(skip)))
		source->ops->corrupt(source->list, block);
	if (skip == NULL)
		skips->only_last = cursor->docs[cursor->n - 1];
	cursor->block = block;
}

void
omen_cursor_load_tfs(OmenCursor *cursor)
{
	Assert(cursor->block != OMEN_NO_BLOCK);
	if (cursor->has_tfs)
		return;
	if (!omen_posting_decode_tfs(cursor->bytes, sizeof(cursor->bytes),
								 cursor->n, cursor->tfs))
	{
		const OmenPostingList *source = cursor->skips->source;

		source->ops->corrupt(source->list, cursor->block);
	}
	cursor->has_tfs = true;
}

bool
omen_cursor_find(OmenCursor *cursor, uint32 doc, int *place)
{
	if (!omen_cursor_covers(cursor, doc))
	{
		bool		ahead = cursor->block != OMEN_NO_BLOCK &&
			cursor->docs[0] <= doc;
		uint32		block = omen_skips_find(cursor->skips,
											ahead ? cursor->block : 0, doc);

		if (block >= cursor->skips->nblocks)
			return false;
		omen_cursor_load(cursor, block);
	}
	*place = omen_cursor_lower(cursor, doc);
	return *place < cursor->n && cursor->docs[*place] == doc;
}
