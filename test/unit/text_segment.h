/*-------------------------------------------------------------------------
 *
 * text_segment.h
 *	  Segments of documents in memory, and what searches need of the server:
 *	  for the unit test and the benchmark of src/text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEST_TEXT_SEGMENT_H
#define OMEN_TEST_TEXT_SEGMENT_H

#include "miscadmin.h"
#include "utils/memutils.h"

#include "text/match.h"
#include "text/topk.h"

/* --- the server: contexts that know what to free --- */

typedef struct TestChunk
{
	struct TestChunk *next;
	struct TestChunk **link;
} TestChunk;

MemoryContext CurrentMemoryContext = NULL;
volatile sig_atomic_t InterruptPending = false;

void
ProcessInterrupts(void)
{
}

void
check_stack_depth(void)
{
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name,
							  Size minimum, Size initial, Size maximum)
{
	return calloc(1, sizeof(TestChunk *));
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	TestChunk **head = (TestChunk **) context;
	TestChunk  *chunk = malloc(sizeof(TestChunk) + size);

	chunk->next = *head;
	chunk->link = head;
	if (chunk->next != NULL)
		chunk->next->link = &chunk->next;
	*head = chunk;
	return chunk + 1;
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return MemoryContextAllocHuge(context, size);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(MemoryContextAllocHuge(context, size), 0, size);
}

void
pfree(void *pointer)
{
	TestChunk  *chunk = (TestChunk *) pointer - 1;

	*chunk->link = chunk->next;
	if (chunk->next != NULL)
		chunk->next->link = chunk->link;
	free(chunk);
}

void
MemoryContextDelete(MemoryContext context)
{
	while (*(TestChunk **) context != NULL)
		pfree(*(TestChunk **) context + 1);
	free(context);
}

/* What is created next lives until test_leave() */
static inline void
test_enter(void)
{
	CurrentMemoryContext = AllocSetContextCreateInternal(NULL, "", 0, 0, 0);
}

static inline void
test_leave(void)
{
	MemoryContextDelete(CurrentMemoryContext);
	CurrentMemoryContext = NULL;
}

/* --- a term's postings --- */

typedef struct TestList
{
	uint32		nblocks;
	OmenSkipData *skips;
	Size		size;
	uint8	   *bytes;
} TestList;

static const OmenSkipData *
test_skips(void *store, uint32 first, uint32 *n)
{
	TestList   *list = store;

	/* as if only some were on a page */
	*n = Min(list->nblocks - first, 600 - first % 600);
	return list->skips + first;
}

static const uint8 *
test_block(void *store, uint32 number, const OmenSkipData *skip, Size *size)
{
	TestList   *list = store;
	Size		offset = skip != NULL ? omen_skip_page(skip) : 0;

	*size = list->size - offset;
	return list->bytes + offset;
}

/* A test that expects this sets where to go */
static void (*test_corrupt_hook) (void) = NULL;

static void
test_corrupt(void *store, uint32 number)
{
	if (test_corrupt_hook != NULL)
		test_corrupt_hook();
	abort();
}

static const OmenPostingOps test_posting_ops = {
	test_skips, test_block, test_corrupt
};

/* Postings that ascend, of documents with these lengths */
static OmenPostingList
test_form_list(uint32 df, const uint32 *docs, const uint16 *tfs,
			   const uint32 *lengths)
{
	TestList   *list = calloc(1, sizeof(TestList));
	OmenPostingList result = {&test_posting_ops, list, df, {{0, 0}, {0, 0}}};
	uint32		base = 0;

	list->nblocks = omen_posting_blocks(df);
	list->skips = malloc(sizeof(OmenSkipData) * Max(list->nblocks, 1));
	list->bytes = malloc((Size) list->nblocks *
						 OMEN_POSTING_MAX_SIZE(OMEN_POSTING_BLOCK) + 1);
	for (uint32 i = 0; i < list->nblocks; i++)
	{
		const uint32 *block = docs + i * OMEN_POSTING_BLOCK;
		const uint16 *block_tfs = tfs + i * OMEN_POSTING_BLOCK;
		int			n = omen_posting_block_size(df, i);
		uint32		block_lengths[OMEN_POSTING_BLOCK];
		OmenBlockBound bound;

		for (int j = 0; j < n; j++)
			block_lengths[j] = lengths[block[j]];
		bound = omen_block_bound(block_tfs, block_lengths, n);
		result.bound = i == 0 ? bound :
			omen_block_bound_join(result.bound, bound);
		omen_skip_set(&list->skips[i], block[n - 1], (uint32) list->size, 0,
					  bound);
		list->size += omen_posting_encode(block, block_tfs, n, base,
										  list->bytes + list->size);
		base = block[n - 1] + 1;
	}
	list->bytes = realloc(list->bytes, Max(list->size, 1));
	return result;
}

/* --- documents --- */

typedef struct TestDocs
{
	uint32		ndocs;
	uint32	   *lengths;
	uint16	   *short_lengths;
	uint64	   *rows;
	bool	   *dead;			/* NULL: none is */
} TestDocs;

/* Lengths are on pages of so many documents */
#define TEST_LENGTHS	4000

static const uint16 *
test_lengths(void *store, uint32 doc, uint32 *first, uint32 *end)
{
	TestDocs   *docs = store;

	*first = doc - doc % TEST_LENGTHS;
	*end = Min(*first + TEST_LENGTHS, docs->ndocs);
	return docs->short_lengths + *first;
}

static uint32
test_long_length(void *store, uint32 doc)
{
	return ((TestDocs *) store)->lengths[doc];
}

static bool
test_live(void *store, uint32 doc)
{
	TestDocs   *docs = store;

	return docs->dead == NULL || !docs->dead[doc];
}

static uint64
test_row(void *store, uint32 doc)
{
	return ((TestDocs *) store)->rows[doc];
}

static const OmenDocOps test_doc_ops = {
	test_lengths, test_long_length, test_live, test_row
};

/* After lengths are set */
static void
test_finish_docs(TestDocs *docs)
{
	/* one more, that may be read */
	docs->short_lengths = malloc(sizeof(uint16) * (docs->ndocs + 1));
	for (uint32 i = 0; i < docs->ndocs; i++)
		docs->short_lengths[i] = (uint16) Min(docs->lengths[i],
											  OMEN_LONG_LENGTH);
}

#endif							/* OMEN_TEST_TEXT_SEGMENT_H */
