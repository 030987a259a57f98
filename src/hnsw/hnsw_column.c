/*-------------------------------------------------------------------------
 *
 * hnsw_column.c
 *	  The key column, see hnsw_column.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "hnsw/hnsw_column.h"

/*
 * A sample is of so many places of the column and of this many nodes in each,
 * which lie in a few lines of one page.
 */
#define SAMPLE_PLACES	16
#define SAMPLE_NODES	64

static Buffer lock_page(Relation index, OmenHnswIndex *hnsw, uint32 at,
						int key, OmenLockMode mode);
static bool is_null(const OmenKeyPageData *page, uint32 at);
static void filter_condition(const OmenKeyCondition *condition,
							 const OmenKeyPageData *page, uint32 from,
							 uint32 n, uint64 *bits, uint32 bit);

void
omen_column_set(Relation index, OmenHnswIndex *hnsw, uint32 number,
				const OmenHnswKeys *keys)
{
	uint32		at = number - hnsw->meta.key_first;

	if (!omen_column_covers(&hnsw->meta, number))
		return;
	for (int key = 0; key < hnsw->meta.nkeys; key++)
	{
		bool		null = (keys->nulls >> key & 1) != 0;
		Buffer		buffer = lock_page(index, hnsw, at, key,
									   OMEN_LOCK_EXCLUSIVE);
		OmenKeyPageData *page = (OmenKeyPageData *)
			omen_page_content(BufferGetPage(buffer));
		uint32		i = at % OMEN_KEYS_PER_PAGE;

		if (page->codes[i] != keys->codes[key] || is_null(page, i) != null)
		{
			OmenPageEdit edit;

			omen_edit_begin(&edit, index);
			page = (OmenKeyPageData *)
				omen_page_content(omen_edit_page(&edit, buffer));
			omen_column_put(page, i, null, keys->codes[key]);
			omen_edit_finish(&edit);
		}
		omen_page_release(buffer);
	}
}

bool
omen_column_has(Relation index, OmenHnswIndex *hnsw, uint32 number,
				const OmenHnswKeys *keys)
{
	uint32		at = number - hnsw->meta.key_first;
	bool		same = true;

	for (int key = 0; key < hnsw->meta.nkeys && same; key++)
	{
		Buffer		buffer = lock_page(index, hnsw, at, key, OMEN_LOCK_SHARE);
		const OmenKeyPageData *page = (OmenKeyPageData *)
			omen_page_content(BufferGetPage(buffer));
		uint32		i = at % OMEN_KEYS_PER_PAGE;

		same = page->codes[i] == keys->codes[key] &&
			is_null(page, i) == ((keys->nulls >> key & 1) != 0);
		omen_page_release(buffer);
	}
	return same;
}

double
omen_column_share(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeyPredicate *predicate)
{
	uint64		nodes = hnsw->meta.built_nodes;
	uint64		ntested = 0;
	uint64		nallowed = 0;

	for (int i = 0; i < SAMPLE_PLACES && nodes > 0; i++)
	{
		uint64		at = nodes * i / SAMPLE_PLACES;
		uint32		n = Min(SAMPLE_NODES, nodes - at);
		uint64		bits = PG_UINT64_MAX >> (SAMPLE_NODES - n);

		omen_column_filter(index, hnsw, predicate, hnsw->meta.key_first + at,
						   n, &bits, 0);
		ntested += n;
		nallowed += pg_popcount64(bits);
	}
	return ntested == 0 ? 1.0 : (double) nallowed / ntested;
}

void
omen_column_filter(Relation index, OmenHnswIndex *hnsw,
				   const OmenKeyPredicate *predicate, uint32 number, uint32 n,
				   uint64 *bits, uint32 bit)
{
	uint32		at = number - hnsw->meta.key_first;
	uint32		here;

	Assert(omen_column_covers(&hnsw->meta, number));
	Assert(omen_column_covers(&hnsw->meta, number + n - 1));

	for (uint32 done = 0; done < n; done += here)
	{
		uint32		from = (at + done) % OMEN_KEYS_PER_PAGE;

		CHECK_FOR_INTERRUPTS();
		here = Min(n - done, OMEN_KEYS_PER_PAGE - from);
		for (int i = 0; i < predicate->nconditions; i++)
		{
			const OmenKeyCondition *condition = &predicate->conditions[i];
			Buffer		buffer = lock_page(index, hnsw, at + done,
										   condition->key, OMEN_LOCK_SHARE);

			filter_condition(condition, (OmenKeyPageData *)
							 omen_page_content(BufferGetPage(buffer)),
							 from, here, bits, bit + done);
			omen_page_release(buffer);
		}
	}
}

/* Of the nodes of a page, n from "from" on, which have the bits from "bit" on */
static void
filter_condition(const OmenKeyCondition *condition,
				 const OmenKeyPageData *page, uint32 from, uint32 n,
				 uint64 *bits, uint32 bit)
{
	bool		one_range = condition->test == OMEN_KEY_IN_RANGES &&
		condition->possible.n == 1;
	uint64		low = one_range ? condition->possible.ranges[0].low : 0;
	uint64		width = one_range ? condition->possible.ranges[0].high - low :
		PG_UINT64_MAX;

	for (uint32 i = from; i < from + n; i++, bit++)
	{
		uint64		code = page->codes[i];

		/* few are in the range: of the others, no more is looked at */
		if (code - low > width ||
			omen_hnsw_match_key(condition, is_null(page, i), code) ==
			OMEN_KEYS_NO)
			bits[bit / 64] &= ~(UINT64CONST(1) << (bit % 64));
	}
}

static Buffer
lock_page(Relation index, OmenHnswIndex *hnsw, uint32 at, int key,
		  OmenLockMode mode)
{
	BlockNumber block = hnsw->meta.key_start +
		at / OMEN_KEYS_PER_PAGE * hnsw->meta.nkeys + key;

	return omen_page_read_hinted(index, block, OMEN_PAGE_KEYS, mode,
								 &hnsw->hints);
}

static bool
is_null(const OmenKeyPageData *page, uint32 at)
{
	return (page->nulls[at / 8] >> (at % 8) & 1) != 0;
}
