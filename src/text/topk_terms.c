/*-------------------------------------------------------------------------
 *
 * topk_terms.c
 *	  A term's blocks in a segment: their scores, and what bounds these.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "text/topk_state.h"

/* --- bounds and scores of blocks --- */

static float
corners_bound(const OmenTopK *topk, const OmenTermState *term,
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
bounds_of(OmenTopK *topk, OmenTermState *term, uint32 block)
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

float
omen_term_block_bound(OmenTopK *topk, OmenTermState *term, uint32 block)
{
	if (term->skips->chunks == NULL)
		return term->most;
	return bounds_of(topk, term, block)->bounds[block % OMEN_SKIP_CHUNK];
}

void
omen_term_load(OmenTopK *topk, OmenTermState *term, uint32 block)
{
	if (term->cursor.block == block)
		return;
	omen_cursor_load(&term->cursor, block);
	topk->stats.blocks++;
	topk->stats.postings += term->cursor.n;
}

/* Score places from to end - 1 of the block at hand, by runs of lengths */
static void
score_places(OmenTopK *topk, OmenTermState *term)
{
	OmenCursor *cursor = &term->cursor;

	for (int from = 0; from < cursor->n;)
	{
		const uint16 *lengths = omen_topk_lengths(topk, cursor->docs[from]);
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
					omen_topk_length(topk, cursor->docs[i]));
		from = end;
	}
}

void
omen_term_score(OmenTopK *topk, OmenTermState *term, uint32 block)
{
	omen_term_load(topk, term, block);
	if (term->scored == block)
		return;
	omen_cursor_load_tfs(&term->cursor);
	score_places(topk, term);
	term->scored = block;
}

/* --- bounds of a segment and of a window --- */

/* Start from the first document; returns the bound in the whole segment */
float
omen_term_open(OmenTopK *topk, OmenTermState *term)
{
	term->block = 0;
	term->bounds_from = 0;
	term->bounds_to = 0;
	term->most = 0;
	if (term->skips->chunks != NULL)
		return corners_bound(topk, term, &term->skips->source->bound);
	omen_term_score(topk, term, 0);
	for (int i = 0; i < term->cursor.n; i++)
		term->most = Max(term->most, term->scores[i]);
	return term->most;
}

/*
 * The bound of a term for documents start to end - 1.  Its block is the first
 * that ends at start or later.
 */
void
omen_term_bound_window(OmenTopK *topk, OmenTermState *term)
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
		term->bound = Max(term->bound, omen_term_block_bound(topk, term, block));
		first = omen_skips_last(skips, block) + 1;
		term->until = first;
		if (++block == skips->nblocks)
		{
			term->until = skips->end;
			break;
		}
	}
}

/* The bounds of a term in the window, by lengths of documents */
void
omen_term_bound_lengths(OmenTopK *topk, OmenTermState *term)
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
									 OMEN_CODE_CLASS(bound->length[i]),
									 term->bounds);
	}
}
