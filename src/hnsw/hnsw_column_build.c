/*-------------------------------------------------------------------------
 *
 * hnsw_column_build.c
 *	  The key column and the key lists in a bulk build.
 *
 * The order of blocks: KEYDIR pages, KEYS pages, KEYLIST pages of one key after
 * the other, the DATA pages with their heads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_build.h"
#include "hnsw/hnsw_column.h"

typedef struct KeyEntry
{
	uint64		code;
	uint32		number;
	bool		null;
} KeyEntry;

static uint32 first_page(const OmenHnswBuildState *state);
static uint32 end_page(const OmenHnswBuildState *state);
static uint32 first_directory(const OmenHnswBuildState *state);
static uint32 end_directory(const OmenHnswBuildState *state);
static void write_directories(OmenHnswBuildState *state,
							  OmenBulkWriter *writer);
static void write_column(OmenHnswBuildState *state, OmenBulkWriter *writer);
static void write_lists(OmenHnswBuildState *state, OmenBulkWriter *writer);
static void load_entries(OmenHnswBuildState *state, int key,
						 KeyEntry *entries);
static void write_list(OmenHnswBuildState *state, OmenBulkWriter *writer,
					   BlockNumber block, const KeyEntry *entries,
					   uint64 *heads);

static inline int
compare_entries(const KeyEntry *a, const KeyEntry *b)
{
	if (a->null != b->null)
		return a->null ? 1 : -1;
	if (a->code != b->code)
		return a->code < b->code ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE KeyEntry
#define ST_COMPARE(a, b) compare_entries(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

BlockNumber
omen_column_build_plan(OmenHnswBuildState *state, BlockNumber block)
{
	OmenHnswMetaPageData *meta = &state->shared->meta;
	BlockNumber end = block;

	if (meta->nkeys == 0 || state->shared->nnodes == 0)
		return 0;
	state->key_dir_start = end;
	end += end_directory(state) - first_directory(state);
	state->key_start = end;
	end += end_page(state) - first_page(state);
	meta->list_start = end;
	end += meta->nkeys * omen_keylist_pages(meta);
	meta->list_heads = end;
	end += omen_hnsw_data_pages(omen_keylist_heads_size(meta));
	return end - block;
}

void
omen_column_build_write(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	if (!omen_keylist_exists(&state->shared->meta))
		return;
	write_directories(state, writer);
	write_column(state, writer);
	write_lists(state, writer);
}

void
omen_column_build_meta(const OmenHnswBuildState *state,
					   OmenHnswKeyDirsData *dirs)
{
	if (!omen_keylist_exists(&state->shared->meta))
		return;
	for (uint32 dir = first_directory(state); dir < end_directory(state);
		 dir++)
		dirs->key_dirs[dir] = state->key_dir_start + dir -
			first_directory(state);
}

/* Numbers of the pages of the column that the nodes are on */
static uint32
first_page(const OmenHnswBuildState *state)
{
	return omen_column_chunk(omen_hnsw_build_number(state, 0)) *
		state->layout.nkeys;
}

static uint32
end_page(const OmenHnswBuildState *state)
{
	return (omen_column_chunk(omen_hnsw_build_number(state,
													 state->shared->nnodes - 1)) + 1) *
		state->layout.nkeys;
}

static uint32
first_directory(const OmenHnswBuildState *state)
{
	return first_page(state) / OMEN_KEYDIR_ENTRIES;
}

static uint32
end_directory(const OmenHnswBuildState *state)
{
	return (end_page(state) - 1) / OMEN_KEYDIR_ENTRIES + 1;
}

static void
write_directories(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	for (uint32 dir = first_directory(state); dir < end_directory(state);
		 dir++)
	{
		Page		page = omen_bulk_page(writer, state->key_dir_start + dir -
										  first_directory(state));
		OmenKeyDirPageData *directory = (OmenKeyDirPageData *)
			omen_page_content(page);
		uint32		from = Max(first_page(state), dir * OMEN_KEYDIR_ENTRIES);
		uint32		end = Min(end_page(state),
							  (dir + 1) * OMEN_KEYDIR_ENTRIES);

		omen_page_init(page, OMEN_PAGE_KEYDIR, 0);
		omen_page_opaque(page)->owner = dir;
		for (uint32 i = from; i < end; i++)
			directory->blocks[i % OMEN_KEYDIR_ENTRIES] = state->key_start +
				i - first_page(state);
	}
}

/* The keys of all nodes, page by page of each key */
static void
write_column(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	int			nkeys = state->layout.nkeys;
	uint32		first = omen_hnsw_build_number(state, 0);
	uint32		end = first + state->shared->nnodes;
	Size		size = nkeys * sizeof(OmenKeyPageData);
	OmenKeyPageData *pages = palloc(size);

	for (uint32 entry = first_page(state); entry < end_page(state);
		 entry += nkeys)
	{
		uint32		chunk = entry / nkeys * OMEN_KEYS_PER_PAGE;

		memset(pages, 0, size);
		for (uint32 i = Max(chunk, first);
			 i < Min(chunk + OMEN_KEYS_PER_PAGE, end); i++)
		{
			const OmenBuildRowData *row =
				omen_hnsw_build_row(state, omen_hnsw_build_node(state,
																i - first));

			if (i % 64 == 0)
				omen_hnsw_build_tick(state);
			for (int key = 0; key < nkeys; key++)
				omen_column_put(&pages[key], i - chunk,
								(row->key_nulls >> key & 1) != 0,
								omen_build_row_keys(row)[key]);
		}
		for (int key = 0; key < nkeys; key++)
		{
			Page		page = omen_bulk_page(writer, state->key_start + entry +
											  key - first_page(state));

			omen_page_init(page, OMEN_PAGE_KEYS, 0);
			omen_page_opaque(page)->owner = entry + key;
			memcpy(omen_page_content(page), &pages[key],
				   sizeof(OmenKeyPageData));
		}
	}
	pfree(pages);
}

static void
write_lists(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	const OmenHnswMetaPageData *meta = &state->shared->meta;
	uint32		npages = omen_keylist_pages(meta);
	uint64	   *heads = palloc_extended(omen_keylist_heads_size(meta),
										MCXT_ALLOC_HUGE);
	OmenArena  *arena = omen_arena_create(NULL, NULL);
	KeyEntry   *entries;

	omen_arena_reserve(arena, state->shared->nnodes * sizeof(KeyEntry));
	entries = omen_arena_map(arena);
	for (int key = 0; key < meta->nkeys; key++)
	{
		load_entries(state, key, entries);
		sort_entries(entries, state->shared->nnodes);
		write_list(state, writer, meta->list_start + key * npages, entries,
				   heads + key * (1 + npages));
	}
	omen_arena_close(arena);
	omen_hnsw_write_data(writer, meta->list_heads, heads,
						 omen_keylist_heads_size(meta));
	pfree(heads);
}

static void
load_entries(OmenHnswBuildState *state, int key, KeyEntry *entries)
{
	for (uint32 i = 0; i < state->shared->nnodes; i++)
	{
		const OmenBuildRowData *row =
			omen_hnsw_build_row(state, omen_hnsw_build_node(state, i));

		if (i % 64 == 0)
			omen_hnsw_build_tick(state);
		entries[i].code = omen_build_row_keys(row)[key];
		entries[i].null = (row->key_nulls >> key & 1) != 0;
		entries[i].number = omen_hnsw_build_number(state, i);
	}
}

static void
write_list(OmenHnswBuildState *state, OmenBulkWriter *writer,
		   BlockNumber block, const KeyEntry *entries, uint64 *heads)
{
	uint32		nnodes = state->shared->nnodes;

	heads[0] = 0;
	for (uint32 first = 0; first < nnodes; first += OMEN_KEYLIST_ENTRIES)
	{
		uint32		n = Min(OMEN_KEYLIST_ENTRIES, nnodes - first);
		Page		page = omen_bulk_page(writer, block++);
		OmenKeyListPageData *list = (OmenKeyListPageData *)
			omen_page_content(page);

		omen_hnsw_build_tick(state);
		omen_page_init(page, OMEN_PAGE_KEYLIST, 0);
		for (uint32 i = 0; i < n; i++)
		{
			list->codes[i] = entries[first + i].code;
			list->numbers[i] = entries[first + i].number;
			heads[0] += !entries[first + i].null;
		}
		heads[1 + first / OMEN_KEYLIST_ENTRIES] = list->codes[0];
	}
}
