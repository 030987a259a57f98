/*-------------------------------------------------------------------------
 *
 * bm25_merge.c
 *	  Several segments become one, without what is dead.
 *
 * NOTES
 *	  Documents of the new segment are in the order of TIDs, like those of each
 *	  old one, whose numbers so are mapped to ascending new ones.  Dictionaries
 *	  are read side by side; the postings of a term that several segments have
 *	  are merged by new numbers.
 *
 *	  Segments have levels: one that was flushed has level 0, one that was
 *	  merged is a level above those it was made of.  As soon as there are FANIN
 *	  of a level they are merged, so a posting is written once for each level.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "bm25/bm25.h"

/* Segments of a level that are merged */
#define FANIN			8

/* What a segment of level 0 has, about */
#define FLUSHED_PAGES	50

/* From so many segments on, merges of any size are made */
#define TOO_MANY		64

/* A segment is written anew when one document in so many is dead */
#define DEAD_SHARE		4

#define NO_DOC			PG_UINT32_MAX

/* One segment that is merged */
typedef struct Source
{
	OmenBm25Segment *segment;
	OmenBm25Docs docs;
	uint32	   *map;			/* new numbers, NO_DOC of what is dead */
	uint32		next;			/* document to be numbered next */
	OmenBm25DictScan dict;
	bool		has_term;		/* dict is at a term */
	OmenBm25Postings postings;
	uint32		doc;			/* next posting of it, by new number; NO_DOC: */
	uint16		tf;				/* there is none */
} Source;

typedef struct MergeState
{
	Relation	index;
	OmenBm25Index *bm25;
	int			n;
	Source	   *sources;
	ItemPointerData *rows;		/* of the new segment */
	uint32	   *lengths;
	uint32		ndocs;
} MergeState;

static int	choose_sources(const OmenBm25MetaPageData *meta, uint32 max_pages,
						   int *chosen, int *level);
static int	choose_level(const OmenBm25MetaPageData *meta, uint32 max_pages,
						 int *chosen, int *level);
static int	choose_smallest(const OmenBm25MetaPageData *meta, int *chosen,
							int *level);
static void merge_segments(Relation index, Relation heap,
						   const OmenBm25MetaPageData *meta,
						   const int *chosen, int n, int level);
static void open_source(MergeState *state, Source *source,
						const OmenBm25SegmentEntryData *entry);
static void number_docs(MergeState *state);
static bool skip_dead(Source *source);
static const ItemPointerData *next_row(Source *source);
static void merge_terms(MergeState *state, OmenBm25Writer *writer);
static void merge_term(MergeState *state, OmenBm25Writer *writer,
					   Source **with, int n);
static void next_posting(Source *source);

void
omen_bm25_merge(Relation index, Relation heap, uint32 max_pages)
{
	OmenBm25MetaPageData *meta = palloc(sizeof(*meta));
	int			chosen[OMEN_BM25_MAX_SEGMENTS];
	int			level;
	int			n;

	for (;;)
	{
		omen_bm25_read_meta(index, meta);
		n = choose_sources(meta, max_pages, chosen, &level);
		if (n == 0)
			break;
		merge_segments(index, heap, meta, chosen, n, level);
	}
	pfree(meta);
}

/*
 * There are far fewer segments than there is room for, unless merges were given
 * up again and again: by a timeout, or for want of space, after what was flushed
 * before them had become a segment.
 */
void
omen_bm25_make_room(Relation index, Relation heap)
{
	OmenBm25MetaPageData *meta = palloc(sizeof(*meta));

	omen_bm25_read_meta(index, meta);
	omen_bm25_reclaim(index, meta);
	if (meta->nsegments >= OMEN_BM25_MAX_SEGMENTS)
		omen_bm25_merge(index, heap, 0);
	pfree(meta);
}

/* Of a segment of this size that was not merged of others */
int
omen_bm25_level(uint32 npages)
{
	int			level = 0;

	for (uint32 n = npages / FLUSHED_PAGES; n >= FANIN; n /= FANIN)
		level++;
	return level;
}

void
omen_bm25_merge_all(Relation index, Relation heap)
{
	OmenBm25MetaPageData *meta = palloc(sizeof(*meta));
	int			chosen[OMEN_BM25_MAX_SEGMENTS];
	int			level = 0;

	omen_bm25_read_meta(index, meta);
	for (int i = 0; i < meta->nsegments; i++)
	{
		chosen[i] = i;
		level = Max(level, meta->segments[i].level);
	}
	if (meta->nsegments > 1 ||
		(meta->nsegments == 1 && meta->segments[0].ndead > 0))
		merge_segments(index, heap, meta, chosen, meta->nsegments, level);
	pfree(meta);
}

/* Which segments to merge, to one of which level; returns how many */
static int
choose_sources(const OmenBm25MetaPageData *meta, uint32 max_pages,
			   int *chosen, int *level)
{
	int			n = choose_level(meta, max_pages, chosen, level);

	if (n > 0)
		return n;
	for (int i = 0; i < meta->nsegments; i++)
	{
		const OmenBm25SegmentEntryData *segment = &meta->segments[i];

		if (segment->npages <= max_pages &&
			(uint64) segment->ndead * DEAD_SHARE > segment->ndocs)
		{
			chosen[0] = i;
			*level = segment->level;
			return 1;
		}
	}
	return choose_smallest(meta, chosen, level);
}

/* All of the lowest level that has enough */
static int
choose_level(const OmenBm25MetaPageData *meta, uint32 max_pages, int *chosen,
			 int *level)
{
	for (int l = 0; l < OMEN_BM25_MAX_SEGMENTS; l++)
	{
		uint64		npages = 0;
		int			n = 0;

		for (int i = 0; i < meta->nsegments; i++)
		{
			if (meta->segments[i].level != l)
				continue;
			chosen[n++] = i;
			npages += meta->segments[i].npages;
		}
		if (n >= FANIN && npages <= max_pages)
		{
			*level = l + 1;
			return n;
		}
	}
	return 0;
}

/* If there are too many of them, the smallest */
static int
choose_smallest(const OmenBm25MetaPageData *meta, int *chosen, int *level)
{
	bool		taken[OMEN_BM25_MAX_SEGMENTS] = {0};
	int			n = 0;

	if (meta->nsegments <= TOO_MANY)
		return 0;
	*level = 0;
	while (n < meta->nsegments - TOO_MANY / 2)
	{
		int			best = -1;

		for (int i = 0; i < meta->nsegments; i++)
		{
			if (!taken[i] && (best < 0 || meta->segments[i].npages <
							  meta->segments[best].npages))
				best = i;
		}
		taken[best] = true;
		chosen[n++] = best;
		*level = Max(*level, meta->segments[best].level);
	}
	return n;
}

static void
merge_segments(Relation index, Relation heap, const OmenBm25MetaPageData *meta,
			   const int *chosen, int n, int level)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MergeState	state = {index, omen_bm25_open(index), n};
	OmenBm25Space *space = palloc(sizeof(*space));
	OmenBm25SegmentEntryData entry;
	OmenBm25Publish publish = {space};
	const OmenBm25Segment **replaced = palloc(n * sizeof(*replaced));

	omen_bm25_space_begin(space, index, heap, meta);
	state.sources = palloc0(n * sizeof(Source));
	for (int i = 0; i < n; i++)
	{
		open_source(&state, &state.sources[i], &meta->segments[chosen[i]]);
		replaced[i] = state.sources[i].segment;
	}
	number_docs(&state);
	if (state.ndocs > 0)
	{
		OmenBm25Writer *writer = omen_bm25_writer_begin(space,
														meta->next_segment,
														state.ndocs,
														state.rows,
														state.lengths);

		merge_terms(&state, writer);
		omen_bm25_writer_finish(writer, &entry);
		entry.level = level;
		publish.segments = &entry;
		publish.nsegments = 1;
	}
	publish.replaced = replaced;
	publish.nreplaced = n;
	omen_bm25_publish(&publish);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
open_source(MergeState *state, Source *source,
			const OmenBm25SegmentEntryData *entry)
{
	source->segment = omen_bm25_find_segment(state->index, state->bm25, entry);
	omen_bm25_docs_init(&source->docs, state->index, state->bm25,
						source->segment, entry->ndead > 0);
	source->map = palloc_extended(entry->ndocs * sizeof(uint32),
								  MCXT_ALLOC_HUGE);
	state->ndocs += entry->ndocs;
}

/* Give new numbers to all that live, and collect their rows and lengths */
static void
number_docs(MergeState *state)
{
	state->rows = palloc_extended(state->ndocs * sizeof(ItemPointerData),
								  MCXT_ALLOC_HUGE);
	state->lengths = palloc_extended(state->ndocs * sizeof(uint32),
									 MCXT_ALLOC_HUGE);
	state->ndocs = 0;
	for (;;)
	{
		Source	   *first = NULL;

		for (int i = 0; i < state->n; i++)
		{
			Source	   *source = &state->sources[i];

			if (skip_dead(source) &&
				(first == NULL || omen_tid_row(next_row(source)) <
				 omen_tid_row(next_row(first))))
				first = source;
		}
		if (first == NULL)
			break;
		if (state->ndocs % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		state->rows[state->ndocs] = *next_row(first);
		state->lengths[state->ndocs] = omen_bm25_docs_length(&first->docs,
															 first->next);
		first->map[first->next++] = state->ndocs++;
	}
}

/* Is there a living document left? */
static bool
skip_dead(Source *source)
{
	while (source->next < source->segment->data->ndocs &&
		   omen_bm25_docs_is_dead(&source->docs, source->next))
		source->map[source->next++] = NO_DOC;
	return source->next < source->segment->data->ndocs;
}

static const ItemPointerData *
next_row(Source *source)
{
	int			n;
	const ItemPointerData *rows = omen_bm25_docs_rows(&source->docs,
													  source->next /
													  OMEN_BM25_ROWS_PER_PAGE,
													  &n);

	return &rows[source->next % OMEN_BM25_ROWS_PER_PAGE];
}

static void
merge_terms(MergeState *state, OmenBm25Writer *writer)
{
	Source	  **with = palloc(state->n * sizeof(*with));

	for (int i = 0; i < state->n; i++)
	{
		Source	   *source = &state->sources[i];

		omen_bm25_dict_begin(&source->dict, state->index, state->bm25,
							 source->segment, "", 0);
		source->has_term = omen_bm25_dict_next(&source->dict);
	}
	for (;;)
	{
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < state->n; i++)
		{
			Source	   *source = &state->sources[i];
			int			order = -1;

			if (!source->has_term)
				continue;
			if (n > 0)
				order = omen_bm25_compare_lexemes(source->dict.lexeme,
												  source->dict.len,
												  with[0]->dict.lexeme,
												  with[0]->dict.len);
			if (order < 0)
				n = 0;
			if (order <= 0)
				with[n++] = source;
		}
		if (n == 0)
			break;
		omen_bm25_writer_term(writer, with[0]->dict.lexeme,
							  with[0]->dict.len);
		merge_term(state, writer, with, n);
		for (int i = 0; i < n; i++)
			with[i]->has_term = omen_bm25_dict_next(&with[i]->dict);
	}
}

/*
 * The postings of one term.  Documents that were inserted together are mostly
 * in one segment, so the source with the next one is kept as long as it has
 * the least number.
 */
static void
merge_term(MergeState *state, OmenBm25Writer *writer, Source **with, int n)
{
	for (int i = 0; i < n; i++)
	{
		omen_bm25_postings_begin(&with[i]->postings, state->index, state->bm25,
								 with[i]->segment, &with[i]->dict.entry);
		next_posting(with[i]);
	}
	for (;;)
	{
		Source	   *least = with[0];
		uint32		limit = NO_DOC; /* the least of the others */

		for (int i = 1; i < n; i++)
		{
			if (with[i]->doc < least->doc)
			{
				limit = least->doc;
				least = with[i];
			}
			else
				limit = Min(limit, with[i]->doc);
		}
		if (least->doc == NO_DOC)
			break;
		while (least->doc < limit)
		{
			omen_bm25_writer_posting(writer, least->doc, least->tf);
			next_posting(least);
		}
	}
}

/* The next posting of a document that lives */
static void
next_posting(Source *source)
{
	uint32		doc;

	do
	{
		if (!omen_bm25_postings_next(&source->postings, &doc, &source->tf))
		{
			source->doc = NO_DOC;
			return;
		}
		source->doc = source->map[doc];
	} while (source->doc == NO_DOC);
}
