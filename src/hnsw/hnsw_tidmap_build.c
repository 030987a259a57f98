/*-------------------------------------------------------------------------
 *
 * hnsw_tidmap_build.c
 *	  The TID map of a bulk build.
 *
 * Nodes come in the order of the graph, their TIDs in any order.  So the
 * pages of the map, or rather their entries, are collected in mapped files
 * and written when all are complete: leaves in the order of their numbers,
 * each directory behind its leaves, each root behind its directories.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"

#include "hnsw/hnsw_build.h"

/* Pages of the first file; a table of a few rows needs no more */
#define FIRST_CHUNK		16

static uint32 *child_entries(OmenTidMapBuild *map, uint32 *entry);
static uint32 *page_entries(OmenTidMapBuild *map, uint32 page);
static BlockNumber write_root(OmenHnswBuildState *state,
							  OmenBulkWriter *writer, uint32 page,
							  uint32 number);
static BlockNumber write_directory(OmenHnswBuildState *state,
								   OmenBulkWriter *writer, uint32 page,
								   uint32 number);
static BlockNumber write_page(OmenHnswBuildState *state,
							  OmenBulkWriter *writer, OmenPageKind kind,
							  uint32 page, uint32 number);

/* The map will begin at this block */
void
omen_tidmap_build_begin(OmenHnswBuildState *state, BlockNumber start)
{
	memset(&state->tidmap, 0, sizeof(OmenTidMapBuild));
	state->tidmap.next_block = start;
}

void
omen_tidmap_build_add(OmenHnswBuildState *state, const ItemPointerData *tid,
					  OmenLink link)
{
	OmenTidMapBuild *map = &state->tidmap;
	OmenTidMapCell cell;
	uint32		directory;
	uint32	   *entries;

	if (!omen_tidmap_find_cell(tid, &cell))
	{
		state->shared->meta.flags |= OMEN_META_TIDS_UNMAPPED;
		return;
	}
	directory = cell.leaf / OMEN_TIDMAP_ENTRIES;
	entries = child_entries(map, &map->roots[directory / OMEN_TIDMAP_ENTRIES]);
	entries = child_entries(map, &entries[directory % OMEN_TIDMAP_ENTRIES]);
	entries = child_entries(map, &entries[cell.leaf % OMEN_TIDMAP_ENTRIES]);
	entries[cell.at] = link;
}

/* How many pages it needs, when all TIDs are in */
uint32
omen_tidmap_build_pages(const OmenHnswBuildState *state)
{
	return state->tidmap.npages;
}

/* Write the pages, and what the metapage says of them */
void
omen_tidmap_build_write(OmenHnswBuildState *state, OmenBulkWriter *writer)
{
	const OmenTidMapBuild *map = &state->tidmap;
	OmenHnswMetaPageData *meta = &state->shared->meta;

	for (uint32 i = 0; i < OMEN_TIDMAP_ROOTS; i++)
	{
		if (map->roots[i] != 0)
			meta->tidmap_roots[i] = write_root(state, writer, map->roots[i],
											   i);
	}
}

void
omen_tidmap_build_cleanup(OmenHnswBuildState *state)
{
	for (int i = 0; i < OMEN_TIDMAP_CHUNKS; i++)
	{
		if (state->tidmap.chunks[i])
			omen_arena_close(state->tidmap.chunks[i]);
	}
}

/* The entries of the page that an entry names; a new page if it names none */
static uint32 *
child_entries(OmenTidMapBuild *map, uint32 *entry)
{
	if (*entry == 0)
		*entry = ++map->npages;
	return page_entries(map, *entry);
}

static uint32 *
page_entries(OmenTidMapBuild *map, uint32 page)
{
	uint32		i = page - 1;
	int			chunk = pg_leftmost_one_pos32(i / FIRST_CHUNK + 1);
	uint32		first = FIRST_CHUNK * ((UINT32_C(1) << chunk) - 1);

	if (map->base[chunk] == NULL)
	{
		map->chunks[chunk] = omen_arena_create(NULL, NULL);
		omen_arena_reserve(map->chunks[chunk],
						   ((Size) FIRST_CHUNK << chunk) *
						   OMEN_TIDMAP_ENTRIES * sizeof(uint32));
		map->base[chunk] = omen_arena_map(map->chunks[chunk]);
	}
	return map->base[chunk] + (Size) (i - first) * OMEN_TIDMAP_ENTRIES;
}

static BlockNumber
write_root(OmenHnswBuildState *state, OmenBulkWriter *writer, uint32 page,
		   uint32 number)
{
	uint32	   *entries = page_entries(&state->tidmap, page);

	for (uint32 i = 0; i < OMEN_TIDMAP_ENTRIES; i++)
	{
		if (entries[i] != 0)
			entries[i] = write_directory(state, writer, entries[i],
										 number * OMEN_TIDMAP_ENTRIES + i);
	}
	return write_page(state, writer, OMEN_PAGE_TIDROOT, page, number);
}

static BlockNumber
write_directory(OmenHnswBuildState *state, OmenBulkWriter *writer, uint32 page,
				uint32 number)
{
	uint32	   *entries = page_entries(&state->tidmap, page);

	for (uint32 i = 0; i < OMEN_TIDMAP_ENTRIES; i++)
	{
		if (entries[i] != 0)
			entries[i] = write_page(state, writer, OMEN_PAGE_TIDMAP,
									entries[i],
									number * OMEN_TIDMAP_ENTRIES + i);
	}
	return write_page(state, writer, OMEN_PAGE_TIDDIR, page, number);
}

static BlockNumber
write_page(OmenHnswBuildState *state, OmenBulkWriter *writer,
		   OmenPageKind kind, uint32 page, uint32 number)
{
	BlockNumber block = state->tidmap.next_block++;
	Page		copy = omen_bulk_page(writer, block);

	omen_hnsw_build_tick(state);
	omen_page_init(copy, kind, 0);
	omen_page_opaque(copy)->owner = number;
	memcpy(omen_page_content(copy), page_entries(&state->tidmap, page),
		   OMEN_TIDMAP_ENTRIES * sizeof(uint32));
	return block;
}
