/*-------------------------------------------------------------------------
 *
 * verify_bm25_terms.c
 *	  Checks of the dictionary and the postings of a segment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analytics/verify_bm25.h"

/* The walk over a dictionary */
typedef struct TermWalk
{
	OmenVerifyBm25 *state;
	const OmenBm25Segment *segment;
	OmenBm25Docs *docs;
	OmenBm25DictScan dict;
	uint32		nterms;
	uint64		npostings;
} TermWalk;

static void check_first_leaf(TermWalk *walk);
static void check_term(TermWalk *walk);
static bool is_same_entry(const OmenBm25Entry *a, const OmenBm25Entry *b);
static void check_postings(TermWalk *walk);
static bool check_block(TermWalk *walk, const OmenBm25Postings *postings);
static bool is_bounded(OmenBlockBound bound, uint16 tf, uint32 length);
static void note_term(TermWalk *walk, const char *invariant, const char *what);

void
omen_verify_bm25_terms(OmenVerifyBm25 *state, const OmenBm25Segment *segment,
					   OmenBm25Docs *docs)
{
	TermWalk   *walk = palloc0(sizeof(*walk));
	OmenBm25DictScan *dict = &walk->dict;
	char		last[MAXSTRLEN + 1];
	int			last_len = 0;

	walk->state = state;
	walk->segment = segment;
	walk->docs = docs;
	omen_bm25_dict_begin(dict, state->verify->index, state->bm25, segment, "",
						 0);
	while (omen_bm25_dict_next(dict))
	{
		CHECK_FOR_INTERRUPTS();
		if (walk->nterms++ == 0)
			check_first_leaf(walk);
		else if (omen_bm25_compare_lexemes(last, last_len, dict->lexeme,
										   dict->len) >= 0)
			note_term(walk, "B10", "is not in its order");
		memcpy(last, dict->lexeme, dict->len);
		last_len = dict->len;
		check_term(walk);
		check_postings(walk);
	}
	if (walk->nterms != segment->data->nterms ||
		walk->npostings != segment->data->postings)
		omen_verify_note(state->verify, "B6", segment->header,
						 OMEN_VERIFY_NO_OFFSET,
						 "Segment %u has %u lexemes and " UINT64_FORMAT
						 " postings, expected %u and " UINT64_FORMAT ".",
						 segment->data->id, walk->nterms, walk->npostings,
						 segment->data->nterms, segment->data->postings);
	pfree(walk);
}

/* The first leaf of the tree is the one that the segment says */
static void
check_first_leaf(TermWalk *walk)
{
	BlockNumber block = omen_bm25_segment_block(walk->segment,
												walk->segment->data->dict_first);
	OmenBm25DictScan *dict = &walk->dict;
	PGAlignedBlock copy;

	if (!BlockNumberIsValid(block) ||
		omen_verify_copy(walk->state->verify, block, &copy) !=
		OMEN_PAGE_TERMS ||
		memcmp(omen_page_content(copy.data), dict->content,
			   OMEN_PAGE_CONTENT) != 0)
		omen_verify_note(walk->state->verify, "B10", walk->segment->header,
						 OMEN_VERIFY_NO_OFFSET,
						 "The dictionary of segment %u begins elsewhere.",
						 walk->segment->data->id);
}

/* Who comes from the root finds what lies in the leaf */
static void
check_term(TermWalk *walk)
{
	OmenBm25DictScan *dict = &walk->dict;
	OmenBm25Entry entry;

	if (!omen_bm25_dict_find(dict->index, dict->bm25, walk->segment,
							 dict->lexeme, dict->len, &entry) ||
		!is_same_entry(&entry, &dict->entry))
		note_term(walk, "B10", "is not found from the root");
}

static bool
is_same_entry(const OmenBm25Entry *a, const OmenBm25Entry *b)
{
	if (a->df != b->df || a->inlined != b->inlined)
		return false;
	if (a->inlined)
		return a->size == b->size && memcmp(a->block, b->block, a->size) == 0;
	return a->page == b->page && a->offset == b->offset;
}

/* Documents ascend; bounds hold; there are as many as the entry says */
static void
check_postings(TermWalk *walk)
{
	OmenVerifyBm25 *state = walk->state;
	OmenBm25DictScan *dict = &walk->dict;
	uint32		ndocs = walk->segment->data->ndocs;
	OmenBm25Postings postings;
	bool		good = dict->entry.df > 0 && dict->entry.df <= ndocs;
	uint32		doc;
	uint16		tf;

	if (!good)
	{
		note_term(walk, "B10", "is in an impossible number of documents");
		return;
	}
	omen_bm25_postings_begin(&postings, dict->index, dict->bm25, walk->segment,
							 &dict->entry);
	while (omen_bm25_postings_next(&postings, &doc, &tf))
	{
		if (postings.at == 1 && good)
			good = check_block(walk, &postings);
		omen_verify_bm25_add_tf(&state->tfs[doc], tf);
		state->hashes[doc] += omen_verify_bm25_hash(dict->lexeme, dict->len,
													tf);
		walk->npostings++;
	}
}

/* Of a term that has several: the entry of the block that was read last */
static bool
check_block(TermWalk *walk, const OmenBm25Postings *postings)
{
	const OmenSkipData *skip;
	uint32		number = postings->number - 1;

	CHECK_FOR_INTERRUPTS();
	if (postings->nskips == 0)
		return true;
	skip = &postings->skips[number - postings->first_skip];
	if (omen_skip_last_doc(skip) != postings->docs[postings->n - 1])
	{
		note_term(walk, "B11", "has a block that ends with another document");
		return false;
	}
	for (int i = 0; i < postings->n; i++)
	{
		uint32		length = omen_bm25_docs_length(walk->docs,
												   postings->docs[i]);

		if (!is_bounded(skip->bound, postings->tfs[i], length) ||
			!is_bounded(walk->dict.entry.bound, postings->tfs[i], length))
		{
			note_term(walk, "B11", "has a block that exceeds its bound");
			return false;
		}
	}
	return true;
}

static bool
is_bounded(OmenBlockBound bound, uint16 tf, uint32 length)
{
	for (int i = 0; i < 2; i++)
	{
		if (tf <= omen_value_of_code(bound.tf[i]) &&
			length >= omen_value_of_code(bound.length[i]))
			return true;
	}
	return false;
}

static void
note_term(TermWalk *walk, const char *invariant, const char *what)
{
	omen_verify_note(walk->state->verify, invariant, walk->segment->header,
					 OMEN_VERIFY_NO_OFFSET,
					 "A lexeme of segment %u, its %uth, %s.",
					 walk->segment->data->id, walk->nterms, what);
}
