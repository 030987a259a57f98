/*-------------------------------------------------------------------------
 *
 * topk.c
 *	  Block-max MAXSCORE over windows of document numbers.
 *
 * For each window of documents, each term has a bound: the greatest of its
 * blocks that reach into the window.  Terms are ordered by bound.  The first
 * ones, whose bounds sum up to less than the k-th best score so far (the
 * threshold), cannot bring a document among the best by themselves: only the
 * others are essential, and their postings are decoded and scored in bulk.
 * What these make of a document, plus the bounds of the terms that were left
 * out, is most often below the threshold; for the rest, the other terms are
 * asked one by one, the greatest bound first, and the document is dropped as
 * soon as it cannot reach the threshold any more.
 *
 * NOTES
 *	  Differences from the published algorithms: before the first window, the
 *	  blocks with the greatest bounds are looked into, and the documents that
 *	  are best there scored for all terms; the k-th best of these is where the
 *	  threshold starts (see prime).  Postings of a window are scored block by
 *	  block with vectors, the scores summed up by place in the window, and
 *	  candidates found by a scan of the places that were marked.  When a filter
 *	  allows few documents of a window, these are the candidates, and no term
 *	  is essential.
 *
 *	  All this is done in float, and a document is dropped only if it is below
 *	  the threshold by more than all rounding can be (slack).  One that is not
 *	  dropped is scored again in double, term by term in the query's order,
 *	  and that alone decides.  So its score is the same however it was found.
 *
 *	  Within a window, the walk's cursor of a term is on some block of it; the
 *	  probe's goes anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "text/text_kernels.h"
#include "text/topk.h"

/* Documents of a window: more if they hold fewer postings than MIN_POSTINGS */
#define MIN_WINDOW		4096
#define MAX_WINDOW		16384
#define MIN_POSTINGS	512

/* A posting scored in bulk costs less than a candidate by so many times */
#define CANDIDATE_COST	8

/*
 * Lengths that bounds are told apart by: four classes for a power of two, and
 * one for all from 1,792 on.
 */
#define LENGTH_CODES			4
#define CODE_CLASS(code)		Min((code) / LENGTH_CODES, OMEN_LENGTHS - 1)

/* Blocks of a term that are looked into first, and documents taken of them */
#define PRIME_BLOCKS(k)	(8 + (k) / 16)
#define PRIME_DOCS(k)	((k) + 4)
#define MAX_PRIME_K		256

/* What float arithmetic may take off a score or a bound, relative */
#define SLACK			1e-5
#define TERM_SLACK		1.2e-7

/* A term in the segment that is searched */
typedef struct TermState
{
	double		weight;
	OmenScoreForm form;
	OmenSkips  *skips;
	OmenCursor	cursor;			/* of the walk */
	OmenCursor	probe;			/* for documents in any order */
	float		most;			/* bound of the only block */
	uint32		block;			/* the first that reaches into the window */
	uint32		scored;			/* block whose scores are there */
	float		scores[OMEN_POSTING_BLOCK];

	/* in the window at hand */
	float		bound;
	uint32		until;			/* the bound holds for documents before */

	/* bounds for blocks, by lengths */
	uint32		bounds_from;
	uint32		bounds_to;		/* 0: none yet */
	float		bounds[OMEN_LENGTHS];
} TermState;

struct OmenTopK
{
	MemoryContext context;
	OmenBm25	bm25;
	int			nterms;
	int			nsegments;
	const OmenTopKSegment *segments;
	double		slack;
	OmenSkips **skips;			/* [segment * nterms + term], made on use */
	TermState  *terms;
	OmenTopKStats stats;

	/* values of the codes in bounds, and of the classes of lengths */
	float		tf_values[256];
	float		norms[256];
	float		class_norms[OMEN_LENGTHS];

	/* this run */
	int			k;
	bool		has_after;
	OmenTopKHit after;
	int			nhits;
	int			hits_size;
	OmenTopKHit *hits;			/* a heap, the worst first */
	float		low;			/* documents below need no look */

	/* this segment */
	int			number;			/* that terms are open for, or -1 */
	const OmenTopKSegment *segment;
	const uint16 *lengths;
	uint32		lengths_first;
	uint32		lengths_end;	/* 0: none */
	int			nprimed;
	uint32	   *primed;			/* documents that have been considered */

	/* this window */
	int			nactive;		/* terms that have postings from here on */
	TermState **active;			/* ascending by bound */
	float	   *rest;			/* [i]: bounds before active[i], summed up */
	uint32		start;
	uint32		end;
	uint32		window;			/* how many documents */
	float	   *sums;			/* by place in the window */
	uint8	   *marks;			/* of lines of sums */
	int			ncandidates;
	uint32	   *docs;			/* the candidates, ascending */
	float	   *found;			/* what they score as far as known */
	uint8	   *classes;		/* of their lengths */
	float	  (*rest_by_length)[OMEN_LENGTHS];	/* as rest, by length */
};

static void set_low(OmenTopK *topk);
static void enter_segment(OmenTopK *topk, int segment);
static void search_segment(OmenTopK *topk);
static void prime(OmenTopK *topk);
static void search_window(OmenTopK *topk);
static void insert(OmenTopK *topk, const OmenTopKHit *hit);

/* --- a query --- */

OmenTopK *
omen_topk_create(const OmenBm25 *bm25, int nterms, const double *weights,
				 int nsegments, const OmenTopKSegment *segments)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "omendb text search", ALLOCSET_DEFAULT_SIZES);
	OmenTopK   *topk = MemoryContextAllocZero(context, sizeof(OmenTopK));
	double		constant = bm25->unit * bm25->k1 * (1 - bm25->b);
	double		slope = bm25->unit * bm25->k1 * bm25->b / bm25->avgdl;

	Assert(nterms > 0 && nterms <= OMEN_TOPK_MAX_TERMS);
	Assert(bm25->avgdl > 0 && bm25->unit > 0);
	topk->context = context;
	topk->bm25 = *bm25;
	topk->nterms = nterms;
	topk->nsegments = nsegments;
	topk->segments = segments;
	topk->number = -1;
	topk->slack = SLACK + TERM_SLACK * nterms;
	topk->skips = MemoryContextAllocZero(
		context, sizeof(OmenSkips *) * Max(nsegments, 1) * nterms);
	topk->terms = MemoryContextAllocHuge(context, sizeof(TermState) * nterms);
	topk->active = MemoryContextAlloc(context, sizeof(TermState *) * nterms);
	topk->rest = MemoryContextAlloc(context, sizeof(float) * (nterms + 1));
	topk->rest_by_length = MemoryContextAllocZero(
		context, sizeof(float) * OMEN_LENGTHS * (nterms + 1));
	for (int i = 0; i < nterms; i++)
	{
		TermState  *term = &topk->terms[i];

		term->weight = weights[i];
		term->form.weight = (float) omen_bm25_limit(bm25, weights[i]);
		/* where k1 is 0, a frequency of 0 is not to be divided by 0 */
		term->form.constant = (float) constant + FLT_MIN;
		term->form.slope = (float) slope;
	}
	for (int i = 0; i < 256; i++)
	{
		topk->tf_values[i] = (float) omen_value_of_code((uint8) i);
		topk->norms[i] = FLT_MIN +
			(float) (constant + slope * omen_value_of_code((uint8) i));
	}
	for (int i = 0; i < OMEN_LENGTHS; i++)
		topk->class_norms[i] = topk->norms[LENGTH_CODES * i];
	return topk;
}

void
omen_topk_free(OmenTopK *topk)
{
	MemoryContextDelete(topk->context);
}

double
omen_topk_score_tfs(const OmenTopK *topk, const uint16 *tfs, uint32 length)
{
	double		score = 0;

	for (int i = 0; i < topk->nterms; i++)
		score += omen_bm25_term(&topk->bm25, topk->terms[i].weight, tfs[i],
								length);
	return score;
}

double
omen_topk_limit(const OmenTopK *topk)
{
	double		limit = 0;

	for (int i = 0; i < topk->nterms; i++)
		limit += omen_bm25_limit(&topk->bm25, topk->terms[i].weight);
	return limit;
}

const OmenTopKStats *
omen_topk_stats(const OmenTopK *topk)
{
	return &topk->stats;
}

/* --- a run --- */

void
omen_topk_begin(OmenTopK *topk, int k, const OmenTopKHit *after)
{
	Assert(k > 0);
	if (k > topk->hits_size)
	{
		if (topk->hits != NULL)
			pfree(topk->hits);
		topk->hits = MemoryContextAllocHuge(topk->context,
											sizeof(OmenTopKHit) * k);
		topk->hits_size = k;
	}
	topk->k = k;
	topk->has_after = after != NULL;
	if (after != NULL)
		topk->after = *after;
	topk->nhits = 0;
	set_low(topk);
}

/* The order of hits: below 0 if a comes first */
static int
compare_hits(const void *a, const void *b)
{
	const OmenTopKHit *x = a;
	const OmenTopKHit *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

int
omen_topk_run(OmenTopK *topk, OmenTopKHit *hits)
{
	for (int i = 0; i < topk->nsegments; i++)
	{
		enter_segment(topk, i);
		search_segment(topk);
	}
	qsort(topk->hits, topk->nhits, sizeof(OmenTopKHit), compare_hits);
	memcpy(hits, topk->hits, sizeof(OmenTopKHit) * topk->nhits);
	return topk->nhits;
}

void
omen_topk_offer(OmenTopK *topk, const OmenTopKHit *hit)
{
	if (hit->score <= 0)
		return;
	if (topk->has_after && compare_hits(hit, &topk->after) <= 0)
		return;
	insert(topk, hit);
}

static void
set_low(OmenTopK *topk)
{
	if (topk->nhits == topk->k)
		topk->low = (float) (topk->hits[0].score * (1 - topk->slack));
	else
		topk->low = 0;
}

/* Put a hit into the heap, if it is among the best k so far */
static void
insert(OmenTopK *topk, const OmenTopKHit *hit)
{
	OmenTopKHit *heap = topk->hits;
	int			at;

	if (topk->nhits < topk->k)
	{
		at = topk->nhits++;
		while (at > 0 && compare_hits(&heap[(at - 1) / 2], hit) < 0)
		{
			heap[at] = heap[(at - 1) / 2];
			at = (at - 1) / 2;
		}
	}
	else
	{
		if (compare_hits(hit, &heap[0]) >= 0)
			return;
		at = 0;
		for (int child; (child = 2 * at + 1) < topk->nhits; at = child)
		{
			if (child + 1 < topk->nhits &&
				compare_hits(&heap[child], &heap[child + 1]) < 0)
				child++;
			if (compare_hits(&heap[child], hit) <= 0)
				break;
			heap[at] = heap[child];
		}
	}
	heap[at] = *hit;
	if (topk->nhits == topk->k)
		set_low(topk);
}

/* --- documents --- */

static inline bool
is_allowed(const OmenTopK *topk, uint32 doc)
{
	const uint64 *allowed = topk->segment->allowed;

	return allowed == NULL || (allowed[doc / 64] >> (doc % 64) & 1) != 0;
}

/* Lengths of documents from *first on; doc's is among them */
static inline const uint16 *
lengths_at(OmenTopK *topk, uint32 doc)
{
	if (doc < topk->lengths_first || doc >= topk->lengths_end)
		topk->lengths = topk->segment->ops->lengths(
			topk->segment->docs, doc, &topk->lengths_first,
			&topk->lengths_end);
	Assert(doc >= topk->lengths_first && doc < topk->lengths_end);
	return topk->lengths;
}

static uint32
length_of(OmenTopK *topk, uint32 doc)
{
	uint32		length = lengths_at(topk, doc)[doc - topk->lengths_first];

	if (length == OMEN_LONG_LENGTH)
		length = topk->segment->ops->long_length(topk->segment->docs, doc);
	return length;
}

/* The walk's cursor, if it is on the right block, else the probe's */
static double
score_exactly(OmenTopK *topk, uint32 doc)
{
	double		length = length_of(topk, doc);
	double		score = 0;

	topk->stats.scored++;
	for (int i = 0; i < topk->nterms; i++)
	{
		TermState  *term = &topk->terms[i];
		OmenCursor *cursor = &term->cursor;
		int			place;

		if (term->skips == NULL)
			continue;
		if (!omen_cursor_covers(cursor, doc))
			cursor = &term->probe;
		if (!omen_cursor_find(cursor, doc, &place))
			continue;
		omen_cursor_load_tfs(cursor);
		score += omen_bm25_term(&topk->bm25, term->weight, cursor->tfs[place],
								length);
	}
	return score;
}

/* Put a document among the hits, if it belongs there */
static void
consider(OmenTopK *topk, uint32 doc)
{
	const OmenTopKSegment *segment = topk->segment;
	OmenTopKHit hit;

	hit.score = score_exactly(topk, doc);
	if (hit.score <= 0 ||
		(topk->nhits == topk->k && hit.score < topk->hits[0].score) ||
		(topk->has_after && hit.score > topk->after.score) ||
		!segment->ops->live(segment->docs, doc))
		return;
	hit.row = segment->ops->row(segment->docs, doc);
	hit.segment = topk->number;
	hit.doc = doc;
	if (!topk->has_after || compare_hits(&topk->after, &hit) < 0)
		insert(topk, &hit);
}

/* --- terms of a segment --- */

static OmenSkips *
skips_of(OmenTopK *topk, int segment, int term)
{
	OmenSkips **skips = &topk->skips[segment * topk->nterms + term];
	const OmenPostingList *list = &topk->segments[segment].lists[term];

	if (*skips == NULL && list->df > 0)
	{
		*skips = MemoryContextAlloc(topk->context, sizeof(OmenSkips));
		omen_skips_open(*skips, list, topk->segments[segment].ndocs,
						topk->context);
	}
	return *skips;
}

/* Open the terms for a segment, unless they are */
static void
enter_segment(OmenTopK *topk, int segment)
{
	if (topk->number == segment)
		return;
	topk->number = segment;
	topk->segment = &topk->segments[segment];
	topk->lengths_end = 0;
	for (int i = 0; i < topk->nterms; i++)
	{
		TermState  *term = &topk->terms[i];

		term->skips = skips_of(topk, segment, i);
		term->scored = OMEN_NO_BLOCK;
		if (term->skips == NULL)
			continue;
		omen_cursor_open(&term->cursor, term->skips);
		omen_cursor_open(&term->probe, term->skips);
	}
}

static float
corners_bound(const OmenTopK *topk, const TermState *term,
			  const OmenBlockBound *bound)
{
	float		tf0 = topk->tf_values[bound->tf[0]];
	float		tf1 = topk->tf_values[bound->tf[1]];
	float		part0 = tf0 / (tf0 + topk->norms[bound->length[0]]);
	float		part1 = tf1 / (tf1 + topk->norms[bound->length[1]]);

	return term->form.weight * Max(part0, part1);
}

/* The entries of a chunk with what they make of the scores of this term */
static OmenSkipChunk *
bounds_of(OmenTopK *topk, TermState *term, uint32 block)
{
	OmenSkipChunk *chunk = omen_skips_chunk(term->skips, block);
	uint32		start = block - block % OMEN_SKIP_CHUNK;

	if (chunk->bounded)
		return chunk;
	for (uint32 i = 0; i < OMEN_SKIP_CHUNK &&
		 start + i < term->skips->nblocks; i++)
		chunk->bounds[i] = corners_bound(topk, term, &chunk->skips[i].bound);
	chunk->bounded = true;
	return chunk;
}

static inline float
block_bound(OmenTopK *topk, TermState *term, uint32 block)
{
	if (term->skips->chunks == NULL)
		return term->most;
	return bounds_of(topk, term, block)->bounds[block % OMEN_SKIP_CHUNK];
}

static void
load_block(OmenTopK *topk, TermState *term, uint32 block)
{
	if (term->cursor.block == block)
		return;
	omen_cursor_load(&term->cursor, block);
	topk->stats.blocks++;
}

/* Score places from to end - 1 of the block at hand, by runs of lengths */
static void
score_places(OmenTopK *topk, TermState *term)
{
	OmenCursor *cursor = &term->cursor;

	for (int from = 0; from < cursor->n;)
	{
		const uint16 *lengths = lengths_at(topk, cursor->docs[from]);
		int			end = cursor->n;

		if (cursor->docs[end - 1] >= topk->lengths_end)
			end = omen_cursor_lower(cursor, topk->lengths_end);
		if (!omen_text_kernels->score(&term->form, end - from,
									  cursor->tfs + from,
									  cursor->docs + from, lengths,
									  topk->lengths_first,
									  term->scores + from))
			for (int i = from; i < end; i++)
				term->scores[i] = (float) omen_bm25_term(
					&topk->bm25, term->weight, cursor->tfs[i],
					length_of(topk, cursor->docs[i]));
		from = end;
	}
}

static void
score_block(OmenTopK *topk, TermState *term, uint32 block)
{
	load_block(topk, term, block);
	if (term->scored == block)
		return;
	omen_cursor_load_tfs(&term->cursor);
	score_places(topk, term);
	term->scored = block;
	topk->stats.postings += term->cursor.n;
}

/* The bound of a term in the whole segment */
static float
term_bound(OmenTopK *topk, TermState *term)
{
	term->most = 0;
	if (term->skips->chunks != NULL)
		return corners_bound(topk, term, &term->skips->source->bound);
	score_block(topk, term, 0);
	for (int i = 0; i < term->cursor.n; i++)
		term->most = Max(term->most, term->scores[i]);
	return term->most;
}

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
	if (topk->sums != NULL)
		return;
	topk->sums = MemoryContextAllocZero(topk->context,
										sizeof(float) * MAX_WINDOW);
	topk->marks = MemoryContextAllocZero(topk->context,
										 MAX_WINDOW / OMEN_TEXT_LINE);
	topk->docs = MemoryContextAlloc(topk->context,
									sizeof(uint32) * MAX_WINDOW);
	topk->found = MemoryContextAlloc(topk->context,
									 sizeof(float) * MAX_WINDOW);
	topk->classes = MemoryContextAlloc(topk->context, MAX_WINDOW);
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

/*
 * The bound of a term for documents start to end - 1.  Its block is the first
 * that ends at start or later.
 */
static void
bound_window(OmenTopK *topk, TermState *term)
{
	OmenSkips  *skips = term->skips;
	uint32		block = term->block;
	uint32		first = omen_skips_first(skips, block);

	if (term->cursor.block == block)
		first = term->cursor.docs[omen_cursor_lower(&term->cursor,
													topk->start)];
	term->bound = 0;
	term->until = first;
	while (first < topk->end)
	{
		term->bound = Max(term->bound, block_bound(topk, term, block));
		first = omen_skips_last(skips, block) + 1;
		term->until = first;
		if (++block == skips->nblocks)
		{
			term->until = skips->end;
			break;
		}
	}
}

/* Terms that have no postings from start on are no longer active */
static void
advance_terms(OmenTopK *topk)
{
	int			n = 0;

	for (int i = 0; i < topk->nactive; i++)
	{
		TermState  *term = topk->active[i];

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
		TermState  *term = topk->active[i];
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

static void
search_segment(OmenTopK *topk)
{
	const OmenTopKSegment *segment = topk->segment;
	double		most = 0;

	topk->nactive = 0;
	for (int i = 0; i < topk->nterms; i++)
	{
		TermState  *term = &topk->terms[i];

		if (term->skips == NULL)
			continue;
		term->block = 0;
		term->bounds_to = 0;
		most += term_bound(topk, term);
		topk->stats.blocks_total += term->skips->nblocks;
		topk->active[topk->nactive++] = term;
	}
	if (topk->nactive == 0 || most < topk->low ||
		(segment->allowed != NULL && segment->nallowed == 0))
		return;
	choose_window(topk);
	prime(topk);

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
			bound_window(topk, topk->active[i]);
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

/* The bounds of a term in the window, by lengths of documents */
static void
bound_lengths(OmenTopK *topk, TermState *term)
{
	OmenSkips  *skips = term->skips;
	uint32		block = term->block;
	uint32		to = block;

	if (skips->chunks == NULL || term->bound == 0)
	{
		for (int i = 0; i < OMEN_LENGTHS; i++)
			term->bounds[i] = term->bound;
		term->bounds_to = 0;
		return;
	}
	while (to < skips->nblocks && omen_skips_first(skips, to) < topk->end)
		to++;
	if (block == term->bounds_from && to == term->bounds_to)
		return;
	term->bounds_from = block;
	term->bounds_to = to;
	memset(term->bounds, 0, sizeof(term->bounds));
	for (; block < to; block++)
	{
		const OmenBlockBound *bound =
			&omen_skips_chunk(skips, block)->skips[block % OMEN_SKIP_CHUNK].bound;

		for (int i = 0; i < 2; i++)
			omen_text_kernels->raise(topk->class_norms, term->form.weight,
									 topk->tf_values[bound->tf[i]],
									 CODE_CLASS(bound->length[i]),
									 term->bounds);
	}
}

/* For terms before active[n] */
static void
bound_rest(OmenTopK *topk, int n)
{
	for (int i = 0; i < n; i++)
	{
		TermState  *term = topk->active[i];

		bound_lengths(topk, term);
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
		int			class = CODE_CLASS(omen_length_code(length_of(topk, doc)));

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
ask_term(OmenTopK *topk, TermState *term, const float *rest)
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
			if (found + block_bound(topk, term, block) < need)
				continue;
			load_block(topk, term, block);
			place = omen_cursor_lower(&term->cursor, doc);
			if (place < term->cursor.n && term->cursor.docs[place] == doc)
			{
				omen_cursor_load_tfs(&term->cursor);
				found += (float) omen_bm25_term(
					&topk->bm25, term->weight, term->cursor.tfs[place],
					length_of(topk, doc));
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
		if (topk->found[i] >= topk->low && topk->found[i] > 0 &&
			!was_primed(topk, topk->docs[i]))
			consider(topk, topk->docs[i]);
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

/* One term is essential: what it scores high enough are the candidates */
static void
search_one(OmenTopK *topk, TermState *term, int first)
{
	OmenSkips  *skips = term->skips;
	float		rest = topk->rest[first];

	for (uint32 block = term->block; block < skips->nblocks &&
		 omen_skips_first(skips, block) < topk->end; block++)
	{
		int			to;
		float		need;

		if (block_bound(topk, term, block) + rest < topk->low)
			continue;
		score_block(topk, term, block);
		to = window_to(topk, &term->cursor);
		need = topk->low - rest;
		topk->ncandidates = 0;
		for (int i = window_from(topk, &term->cursor); i < to; i++)
		{
			topk->docs[topk->ncandidates] = term->cursor.docs[i];
			topk->found[topk->ncandidates] = term->scores[i];
			topk->ncandidates += term->scores[i] >= need &&
				is_allowed(topk, term->cursor.docs[i]);
		}
		if (topk->ncandidates > 0)
			finish_candidates(topk, first);
	}
}

/* Add up what a term scores in the window */
static void
sum_term(OmenTopK *topk, TermState *term)
{
	OmenSkips  *skips = term->skips;
	float		others = topk->rest[topk->nactive] - term->bound;

	for (uint32 block = term->block; block < skips->nblocks &&
		 omen_skips_first(skips, block) < topk->end; block++)
	{
		const uint32 *docs = term->cursor.docs;
		int			to;

		/* whatever a document of this block has besides, it is too little */
		if (block_bound(topk, term, block) + others < topk->low)
			continue;
		score_block(topk, term, block);
		to = window_to(topk, &term->cursor);
		for (int i = window_from(topk, &term->cursor); i < to; i++)
		{
			uint32		place = docs[i] - topk->start;

			topk->sums[place] += term->scores[i];
			topk->marks[place / OMEN_TEXT_LINE] = 1;
		}
	}
}

/* Several terms are essential, from active[first] on */
static void
search_several(OmenTopK *topk, int first)
{
	float		least;
	int			n;
	int			kept = 0;

	for (int i = topk->nactive - 1; i >= first; i--)
		sum_term(topk, topk->active[i]);
	least = Max(topk->low - topk->rest[first], FLT_MIN);
	n = omen_text_kernels->collect(topk->window / OMEN_TEXT_LINE, topk->marks,
								   topk->sums, least, topk->docs, topk->found);
	for (int i = 0; i < n; i++)
	{
		topk->docs[kept] = topk->start + topk->docs[i];
		topk->found[kept] = topk->found[i];
		kept += is_allowed(topk, topk->docs[kept]);
	}
	topk->ncandidates = kept;
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
	bound_rest(topk, first);
	if (first == topk->nactive - 1)
		search_one(topk, topk->active[first], first);
	else
		search_several(topk, first);
}

/* --- where the threshold starts --- */

typedef struct Scored
{
	float		score;
	uint32		number;			/* of a block or a document */
} Scored;

/* Keep the best "room" of what comes; a heap, the least first */
static void
keep_best(Scored *heap, int *n, int room, Scored one)
{
	int			at;

	if (*n < room)
	{
		at = (*n)++;
		while (at > 0 && heap[(at - 1) / 2].score > one.score)
		{
			heap[at] = heap[(at - 1) / 2];
			at = (at - 1) / 2;
		}
	}
	else
	{
		if (one.score <= heap[0].score)
			return;
		at = 0;
		for (int child; (child = 2 * at + 1) < *n; at = child)
		{
			if (child + 1 < *n && heap[child + 1].score < heap[child].score)
				child++;
			if (heap[child].score >= one.score)
				break;
			heap[at] = heap[child];
		}
	}
	heap[at] = one;
}

/* The best documents of a term's best blocks are to be considered */
static void
prime_term(OmenTopK *topk, TermState *term)
{
	Scored		blocks[PRIME_BLOCKS(MAX_PRIME_K)];
	Scored		docs[PRIME_DOCS(MAX_PRIME_K)];
	int			nblocks = 0;
	int			ndocs = 0;

	for (uint32 i = 0; i < term->skips->nblocks; i++)
		keep_best(blocks, &nblocks, PRIME_BLOCKS(topk->k),
				  (Scored){block_bound(topk, term, i), i});
	for (int i = 0; i < nblocks; i++)
	{
		score_block(topk, term, blocks[i].number);
		for (int j = 0; j < term->cursor.n; j++)
			if (is_allowed(topk, term->cursor.docs[j]))
				keep_best(docs, &ndocs, PRIME_DOCS(topk->k),
						  (Scored){term->scores[j], term->cursor.docs[j]});
	}
	for (int i = 0; i < ndocs; i++)
		topk->primed[topk->nprimed++] = docs[i].number;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Consider documents that are good for one term each, so that the threshold
 * is high from the first window on.
 */
static void
prime(OmenTopK *topk)
{
	const OmenTopKSegment *segment = topk->segment;
	int			n = 0;

	topk->nprimed = 0;
	if (topk->k > MAX_PRIME_K ||
		(segment->allowed != NULL && segment->nallowed < segment->ndocs / 8))
		return;
	if (topk->primed != NULL)
		pfree(topk->primed);
	topk->primed = MemoryContextAlloc(topk->context,
									  sizeof(uint32) * topk->nactive *
									  PRIME_DOCS(topk->k));
	for (int i = 0; i < topk->nactive; i++)
		prime_term(topk, topk->active[i]);
	qsort(topk->primed, topk->nprimed, sizeof(uint32), compare_numbers);
	for (int i = 0; i < topk->nprimed; i++)
	{
		if (i > 0 && topk->primed[i] == topk->primed[i - 1])
			continue;
		topk->primed[n++] = topk->primed[i];
		consider(topk, topk->primed[i]);
	}
	topk->nprimed = n;
}

/* --- one document --- */

double
omen_topk_score(OmenTopK *topk, int segment, uint32 doc)
{
	enter_segment(topk, segment);
	return score_exactly(topk, doc);
}
