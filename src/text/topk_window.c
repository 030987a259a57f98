/*-------------------------------------------------------------------------
 *
 * topk_window.c
 *	  Windows of documents: which terms are essential, and what becomes of the
 *	  candidates.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "text/topk_state.h"

/* Documents of a window: more if they hold fewer postings than MIN_POSTINGS */
#define MIN_WINDOW		4096
#define MAX_WINDOW		16384
#define MIN_POSTINGS	512

/*
 * Allowed documents are the candidates if terms would bring so many times
 * more.  Measured with 1 of 100 and of 1,000 allowed: 8 takes 1.6 times as
 * long as 32 for eight terms, more than 32 changes little.
 */
#define CANDIDATE_COST	32

/*
 * A term whose postings are at most so many times those of the essential terms
 * is essential, too: to score these in bulk takes less time than to ask it about
 * the candidates that the others would bring.  Measured with texts of 50
 * lexemes, terms in up to a tenth of them: 4 instead of none takes a third off
 * eight terms and an eighth off three.
 */
#define CHEAP_POSTINGS	4

static void make_room(OmenTopK *topk, uint32 window);
static void search_window(OmenTopK *topk);

/* --- a segment --- */

static void
choose_window(OmenTopK *topk)
{
	double		postings = 0;
	uint32		window = MIN_WINDOW;

	for (int i = 0; i < topk->nactive; i++)
		postings += topk->active[i]->skips->source->df;
	while (window < MAX_WINDOW &&
		   postings * window < (double) MIN_POSTINGS * topk->segment->ndocs)
		window *= 2;
	topk->window = window;
	if (topk->room < window)
		make_room(topk, window);
}

static void
make_room(OmenTopK *topk, uint32 window)
{
	if (topk->room > 0)
	{
		pfree(topk->sums);
		pfree(topk->marks);
		pfree(topk->docs);
		pfree(topk->found);
		pfree(topk->classes);
	}
	topk->room = window;
	topk->sums = MemoryContextAllocZero(topk->context, sizeof(float) * window);
	topk->marks = MemoryContextAllocZero(topk->context,
										 window / OMEN_TEXT_LINE);
	topk->docs = MemoryContextAlloc(topk->context, sizeof(uint32) * window);
	topk->found = MemoryContextAlloc(topk->context, sizeof(float) * window);
	topk->classes = MemoryContextAlloc(topk->context, window);
}

/* The first allowed document from doc on */
static uint32
next_allowed(const OmenTopKSegment *segment, uint32 doc)
{
	uint32		words = (segment->ndocs + 63) / 64;
	uint32		word = doc / 64;
	uint64		bits = segment->allowed[word] >> (doc % 64) << (doc % 64);

	while (bits == 0)
	{
		if (++word >= words)
			return segment->ndocs;
		bits = segment->allowed[word];
	}
	return Min(word * 64 + pg_rightmost_one_pos64(bits), segment->ndocs);
}

/* Terms that have no postings from start on are no longer active */
static void
advance_terms(OmenTopK *topk)
{
	int			n = 0;

	for (int i = 0; i < topk->nactive; i++)
	{
		OmenTermState  *term = topk->active[i];

		term->block = omen_skips_find(term->skips, term->block, topk->start);
		if (term->block < term->skips->nblocks)
			topk->active[n++] = term;
	}
	topk->nactive = n;
}

/* Order the terms by bound, and sum bounds up; returns the sum of all */
static float
order_terms(OmenTopK *topk)
{
	for (int i = 1; i < topk->nactive; i++)
	{
		OmenTermState  *term = topk->active[i];
		int			at = i;

		for (; at > 0 && topk->active[at - 1]->bound > term->bound; at--)
			topk->active[at] = topk->active[at - 1];
		topk->active[at] = term;
	}
	topk->rest[0] = 0;
	for (int i = 0; i < topk->nactive; i++)
		topk->rest[i + 1] = topk->rest[i] + topk->active[i]->bound;
	return topk->rest[topk->nactive];
}

/* From where on the bounds of a window may not hold any more */
static uint32
bounds_end(const OmenTopK *topk)
{
	uint32		until = topk->segment->ndocs;

	for (int i = 0; i < topk->nactive; i++)
		until = Min(until, topk->active[i]->until);
	return Max(until, topk->end);
}

void
omen_topk_search_segment(OmenTopK *topk)
{
	const OmenTopKSegment *segment = topk->segment;
	double		most = 0;

	topk->nactive = 0;
	for (int i = 0; i < topk->nterms; i++)
	{
		OmenTermState  *term = &topk->terms[i];

		if (term->skips == NULL)
			continue;
		most += omen_term_open(topk, term);
		topk->stats.blocks_total += term->skips->nblocks;
		topk->active[topk->nactive++] = term;
	}
	if (topk->nactive == 0 || most < topk->low ||
		(segment->allowed != NULL && segment->nallowed == 0))
		return;
	choose_window(topk);
	omen_topk_prime(topk);

	for (topk->start = 0; topk->start < segment->ndocs;)
	{
		CHECK_FOR_INTERRUPTS();
		if (segment->allowed != NULL)
			topk->start = next_allowed(segment, topk->start);
		if (topk->start >= segment->ndocs)
			break;
		advance_terms(topk);
		if (topk->nactive == 0)
			break;
		topk->end = Min(topk->start + topk->window, segment->ndocs);
		for (int i = 0; i < topk->nactive; i++)
			omen_term_bound_window(topk, topk->active[i]);
		if (order_terms(topk) < topk->low || topk->rest[topk->nactive] == 0)
			topk->start = bounds_end(topk);
		else
		{
			search_window(topk);
			topk->start = topk->end;
		}
	}
}

/* --- a window --- */

/* For terms before active[n] */
static void
bound_rest(OmenTopK *topk, int n)
{
	for (int i = 0; i < n; i++)
	{
		OmenTermState  *term = topk->active[i];

		omen_term_bound_lengths(topk, term);
		for (int j = 0; j < OMEN_LENGTHS; j++)
			topk->rest_by_length[i + 1][j] =
				topk->rest_by_length[i][j] + term->bounds[j];
	}
}

/* Candidates that cannot reach the threshold, as long as they are, drop out */
static void
drop_by_length(OmenTopK *topk, int n)
{
	const float *rest = topk->rest_by_length[n];
	int			kept = 0;

	for (int i = 0; i < topk->ncandidates; i++)
	{
		uint32		doc = topk->docs[i];
		float		found = topk->found[i];
		int			class = OMEN_CODE_CLASS(omen_length_code(omen_topk_length(topk, doc)));

		topk->docs[kept] = doc;
		topk->found[kept] = found;
		topk->classes[kept] = (uint8) class;
		kept += found + rest[class] >= topk->low;
	}
	topk->ncandidates = kept;
}

/*
 * Ask a term about the candidates, some of which drop out; rest is what the
 * terms that come after may add.
 */
static void
ask_term(OmenTopK *topk, OmenTermState *term, const float *rest)
{
	uint32		block = term->block;
	int			kept = 0;

	for (int i = 0; i < topk->ncandidates; i++)
	{
		uint32		doc = topk->docs[i];
		float		found = topk->found[i];
		int			class = topk->classes[i];
		float		need = topk->low - rest[class];
		int			place;

		if (found + term->bounds[class] < need)
			continue;
		block = omen_skips_find(term->skips, block, doc);
		if (block < term->skips->nblocks)
		{
			if (found + omen_term_block_bound(topk, term, block) < need)
				continue;
			omen_term_load(topk, term, block);
			place = omen_cursor_lower(&term->cursor, doc);
			if (place < term->cursor.n && term->cursor.docs[place] == doc)
			{
				omen_cursor_load_tfs(&term->cursor);
				found += (float) omen_bm25_term(
					&topk->bm25, term->weight, term->cursor.tfs[place],
					omen_topk_length(topk, doc));
			}
		}
		topk->docs[kept] = doc;
		topk->found[kept] = found;
		topk->classes[kept] = (uint8) class;
		kept += found >= need;
	}
	topk->ncandidates = kept;
}

static bool
was_primed(const OmenTopK *topk, uint32 doc)
{
	int			low = 0;
	int			high = topk->nprimed;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (topk->primed[middle] < doc)
			low = middle + 1;
		else
			high = middle;
	}
	return low < topk->nprimed && topk->primed[low] == doc;
}

/* Candidates that active[first] and later ones were asked about */
static void
finish_candidates(OmenTopK *topk, int first)
{
	if (first > 0)
		drop_by_length(topk, first);
	topk->stats.candidates += topk->ncandidates;
	for (int i = first - 1; i >= 0 && topk->ncandidates > 0; i--)
		ask_term(topk, topk->active[i], topk->rest_by_length[i]);
	for (int i = 0; i < topk->ncandidates; i++)
	{
		if (topk->found[i] >= topk->low && !was_primed(topk, topk->docs[i]))
			omen_pool_offer(topk, topk->docs[i], topk->found[i]);
	}
}

/* The places of the block at hand that are in the window */
static inline int
window_from(const OmenTopK *topk, const OmenCursor *cursor)
{
	return cursor->docs[0] >= topk->start ? 0 :
		omen_cursor_lower(cursor, topk->start);
}

static inline int
window_to(const OmenTopK *topk, const OmenCursor *cursor)
{
	return cursor->docs[cursor->n - 1] < topk->end ? cursor->n :
		omen_cursor_lower(cursor, topk->end);
}

/*
 * The postings of a block that are in the window and allowed, with their
 * scores; returns how many.  Under a filter, only these are scored.
 */
static int
pick_postings(OmenTopK *topk, OmenTermState *term, uint32 block,
			  const uint32 **docs, const float **scores)
{
	const OmenTopKSegment *segment = topk->segment;
	OmenCursor *cursor = &term->cursor;
	uint16		places[OMEN_POSTING_BLOCK];
	int			from;
	int			to;
	int			n = 0;

	omen_term_load(topk, term, block);
	from = window_from(topk, cursor);
	to = window_to(topk, cursor);
	if (segment->allowed == NULL)
	{
		omen_term_score(topk, term, block);
		*docs = cursor->docs + from;
		*scores = term->scores + from;
		return to - from;
	}

	for (int i = from; i < to; i++)
	{
		places[n] = (uint16) i;
		n += omen_topk_allows(segment, cursor->docs[i]);
	}
	if (n > 0)
		omen_cursor_load_tfs(cursor);
	for (int i = 0; i < n; i++)
	{
		uint32		doc = cursor->docs[places[i]];
		float		tf = cursor->tfs[places[i]];

		topk->picked_docs[i] = doc;
		topk->picked_scores[i] = term->form.weight * tf /
			(tf + term->form.constant + term->form.slope *
			 (float) omen_topk_length(topk, doc));
	}
	*docs = topk->picked_docs;
	*scores = topk->picked_scores;
	return n;
}

/* One term is essential: what it scores high enough are the candidates */
static void
search_one(OmenTopK *topk, OmenTermState *term, int first)
{
	OmenSkips  *skips = term->skips;
	float		rest = topk->rest[first];

	for (uint32 block = term->block; block < skips->nblocks &&
		 omen_skips_first(skips, block) < topk->end; block++)
	{
		const uint32 *docs;
		const float *scores;
		float		need = topk->low - rest;
		int			n;

		if (omen_term_block_bound(topk, term, block) < need)
			continue;
		n = pick_postings(topk, term, block, &docs, &scores);
		topk->ncandidates = 0;
		for (int i = 0; i < n; i++)
		{
			topk->docs[topk->ncandidates] = docs[i];
			topk->found[topk->ncandidates] = scores[i];
			topk->ncandidates += scores[i] >= need;
		}
		if (topk->ncandidates > 0)
			finish_candidates(topk, first);
	}
}

/* Add up what a term scores in the window */
static void
sum_term(OmenTopK *topk, OmenTermState *term)
{
	OmenSkips  *skips = term->skips;
	float		others = topk->rest[topk->nactive] - term->bound;
	/* stores to marks might change what is not in a variable of its own */
	float	   *sums = topk->sums;
	uint8	   *marks = topk->marks;
	uint32		start = topk->start;

	for (uint32 block = term->block; block < skips->nblocks &&
		 omen_skips_first(skips, block) < topk->end; block++)
	{
		const uint32 *docs;
		const float *scores;
		int			n;

		/* whatever a document of this block has besides, it is too little */
		if (omen_term_block_bound(topk, term, block) + others < topk->low)
			continue;
		n = pick_postings(topk, term, block, &docs, &scores);
		for (int i = 0; i < n; i++)
		{
			uint32		place = docs[i] - start;

			sums[place] += scores[i];
			marks[place / OMEN_TEXT_LINE] = 1;
		}
	}
}

/* Several terms are essential, from active[first] on */
static void
search_several(OmenTopK *topk, int first)
{
	float		least;
	int			n;

	for (int i = topk->nactive - 1; i >= first; i--)
		sum_term(topk, topk->active[i]);
	least = Max(topk->low - topk->rest[first], FLT_MIN);
	n = omen_text_kernels->collect(topk->window / OMEN_TEXT_LINE, topk->marks,
								   topk->sums, least, topk->docs, topk->found);
	for (int i = 0; i < n; i++)
		topk->docs[i] += topk->start;
	topk->ncandidates = n;
	finish_candidates(topk, first);
}

/* The allowed documents are the candidates */
static void
search_allowed(OmenTopK *topk)
{
	topk->ncandidates = 0;
	for (uint32 doc = topk->start; doc < topk->end; doc++)
	{
		doc = next_allowed(topk->segment, doc);
		if (doc >= topk->end)
			break;
		topk->docs[topk->ncandidates] = doc;
		topk->found[topk->ncandidates] = 0;
		topk->ncandidates++;
	}
	finish_candidates(topk, topk->nactive);
}

static uint32
count_allowed(const OmenTopK *topk)
{
	const uint64 *allowed = topk->segment->allowed;
	uint32		n = 0;

	for (uint32 word = topk->start / 64; word <= (topk->end - 1) / 64; word++)
		n += pg_popcount64(allowed[word]);
	return n;
}

/* Whether the allowed documents are fewer than what terms would bring */
static bool
few_allowed(const OmenTopK *topk, int first)
{
	double		postings = 0;

	if (topk->segment->allowed == NULL)
		return false;
	for (int i = first; i < topk->nactive; i++)
		postings += topk->active[i]->skips->source->df;
	postings *= (double) (topk->end - topk->start) / topk->segment->ndocs;
	return (double) count_allowed(topk) * CANDIDATE_COST < postings;
}

/* From which term on all are essential, if "first" may be left out at most */
static int
add_cheap_terms(const OmenTopK *topk, int first)
{
	double		limit = 0;

	for (int i = first; i < topk->nactive; i++)
		limit += topk->active[i]->skips->source->df;
	/* only what is allowed becomes a candidate */
	limit *= CHEAP_POSTINGS;
	if (topk->segment->allowed != NULL)
		limit *= (double) topk->segment->nallowed / topk->segment->ndocs;
	while (first > 0 &&
		   topk->active[first - 1]->skips->source->df <= limit)
		first--;
	return first;
}

static void
search_window(OmenTopK *topk)
{
	int			first = 0;

	/* terms that together cannot reach the threshold need not be essential */
	while (first < topk->nactive - 1 && topk->rest[first + 1] < topk->low)
		first++;
	topk->stats.windows++;
	if (few_allowed(topk, first))
	{
		bound_rest(topk, topk->nactive);
		search_allowed(topk);
		return;
	}
	first = add_cheap_terms(topk, first);
	bound_rest(topk, first);
	if (first == topk->nactive - 1)
		search_one(topk, topk->active[first], first);
	else
		search_several(topk, first);
}
