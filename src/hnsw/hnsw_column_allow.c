/*-------------------------------------------------------------------------
 *
 * hnsw_column_allow.c
 *	  From conditions on keys to an allow-set.
 *
 * NOTES
 *	  Lists say how many nodes meet each condition.  If it is few of one, its
 *	  list is a base: bits of all nodes that may be allowed.  Everything else,
 *	  further conditions and where there is no base or the column is newer than
 *	  the lists, is filled in from the key column, where somebody comes to look.
 *	  A sweep, which does not, costs nothing: it tests the slots that it visits.
 *
 *	  The set has all nodes that were there when the scan began and have the
 *	  keys: of those inserted later, the snapshot sees no rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "hnsw/hnsw_column.h"

/*
 * A list is worth it for up to this share of the nodes: to set a bit costs 1.2
 * ns, to look at a code of the column 1.
 */
#define LIST_SHARE		0.06

/* Single numbers are looked up, unless so many already have been */
#define MAX_LOOKUPS		200

typedef struct KeySource
{
	OmenAllowSource source;		/* must be first */
	Relation	index;
	OmenHnswIndex *hnsw;
	const OmenKeyPredicate *predicate;
	uint64	   *bits;
	int			nlookups;
} KeySource;

static KeySource *create_source(Relation index, OmenHnswIndex *hnsw,
								const OmenKeyPredicate *predicate,
								uint32 nbits);
static bool find_spans(KeySource *source, OmenKeySpans *narrowest,
					   double *share);
static void start_from_list(KeySource *source, const OmenKeySpans *spans,
							OmenAllowSet *set);
static void start_from_base(KeySource *source, OmenAllowSet *set);
static void fill_chunk(OmenAllowSource *source, uint32 chunk);
static bool test_number(OmenAllowSource *source, uint32 number);
static void prefetch_number(OmenAllowSource *source, uint32 number);

void
omen_column_allow(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeyPredicate *predicate, OmenAllowSet *set)
{
	bool		has_base = set->kind == OMEN_ALLOW_BITSET;
	uint32		nbits = has_base ? set->nbits :
		RelationGetNumberOfBlocks(index) * hnsw->layout.slots_per_page;
	double		nodes = has_base ? set->cardinality : nbits;
	double		share = 1.0;
	OmenKeySpans spans;
	KeySource  *source;
	bool		narrow;

	/* conditions that all rows of the index meet */
	if (predicate->nconditions == 0)
		return;

	source = create_source(index, hnsw, predicate, nbits);
	omen_column_refresh(index, hnsw, omen_column_chunk(nbits) + 1);
	narrow = find_spans(source, &spans, &share);
	if (!narrow)
		share = omen_column_share(index, hnsw, predicate,
								  omen_column_chunk(nbits) + 1);
	else
		narrow = spans.count <= LIST_SHARE * hnsw->meta.built_nodes;

	set->kind = OMEN_ALLOW_BITSET;
	set->nbits = nbits;
	set->keys = predicate;
	set->source = &source->source;
	set->cardinality = nodes * share;
	set->estimated = true;
	if (has_base)
		start_from_base(source, set);
	else if (narrow)
		start_from_list(source, &spans, set);
	set->bits = source->bits;
}

/* Whose bits, of whole chunks, have no values yet */
static KeySource *
create_source(Relation index, OmenHnswIndex *hnsw,
			  const OmenKeyPredicate *predicate, uint32 nbits)
{
	KeySource  *source = palloc0(sizeof(KeySource));
	Size		nchunks = omen_column_chunk(nbits) + 1;

	source->source.fill = fill_chunk;
	source->source.test = test_number;
	source->source.prefetch = prefetch_number;
	source->source.full = palloc_extended(nchunks * sizeof(bool),
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	source->index = index;
	source->hnsw = hnsw;
	source->predicate = predicate;
	source->bits = palloc_extended(nchunks * OMEN_ALLOW_CHUNK / 8,
								   MCXT_ALLOC_HUGE);
	return source;
}

/*
 * What the list of the condition that fewest meet has, and the share of nodes
 * that meet all conditions, as if they had nothing to do with each other.  False
 * if there are no lists.
 */
static bool
find_spans(KeySource *source, OmenKeySpans *narrowest, double *share)
{
	const OmenKeyPredicate *predicate = source->predicate;
	bool		found = false;

	*share = 1.0;
	for (int i = 0; i < predicate->nconditions; i++)
	{
		OmenKeySpans spans;

		if (!omen_keylist_find(source->index, source->hnsw,
							   &predicate->conditions[i], &spans))
			continue;
		*share *= spans.count / source->hnsw->meta.built_nodes;
		if (!found || spans.count < narrowest->count)
			*narrowest = spans;
		found = true;
	}
	return found;
}

static void
start_from_list(KeySource *source, const OmenKeySpans *spans,
				OmenAllowSet *set)
{
	Size		words = OMEN_ALLOW_CHUNK / 64;
	uint32		nchunks = omen_column_chunk(set->nbits) + 1;
	bool		is_all = source->predicate->nconditions == 1;
	bool		is_newer = omen_column_any_newer(source->hnsw);

	source->source.has_base = true;
	memset(source->bits, 0, nchunks * words * sizeof(uint64));
	omen_keylist_mark(source->index, source->hnsw, spans, set->nbits,
					  source->bits);
	set->estimated = !is_all;
	if (is_all)
		set->cardinality = spans->count;
	memset(source->source.full, is_all, nchunks * sizeof(bool));
	for (uint32 i = 0; is_newer && i < nchunks; i++)
	{
		if (!omen_column_is_newer(source->hnsw, i, source->predicate))
			continue;

		/* the list has neither all nor only what is there: the column has */
		memset(source->bits + i * words, 0xFF, words * sizeof(uint64));
		source->source.full[i] = false;
		set->estimated = true;
	}
	if (!set->estimated)
		set->source = NULL;
}

/* What others have found goes on being theirs */
static void
start_from_base(KeySource *source, OmenAllowSet *set)
{
	Size		nwords = ((Size) set->nbits + 63) / 64;

	source->source.has_base = true;
	memcpy(source->bits, set->bits, nwords * sizeof(uint64));
	memset(source->bits + nwords, 0, (omen_column_chunk(set->nbits) + 1) *
		   (Size) OMEN_ALLOW_CHUNK / 8 - nwords * sizeof(uint64));
}

static void
fill_chunk(OmenAllowSource *head, uint32 chunk)
{
	KeySource  *source = (KeySource *) head;
	Size		words = OMEN_ALLOW_CHUNK / 64;
	uint64	   *bits = source->bits + chunk * words;

	if (!head->has_base)
		memset(bits, 0xFF, words * sizeof(uint64));
	omen_column_filter(source->index, source->hnsw, source->predicate, chunk,
					   bits);
	head->full[chunk] = true;
}

static bool
test_number(OmenAllowSource *head, uint32 number)
{
	KeySource  *source = (KeySource *) head;

	uint32		chunk = omen_column_chunk(number);

	if (++source->nlookups > MAX_LOOKUPS)
		fill_chunk(head, chunk);
	if ((head->full[chunk] || head->has_base) &&
		(source->bits[number / 64] >> (number % 64) & 1) == 0)
		return false;
	return head->full[chunk] ||
		omen_column_test(source->index, source->hnsw, source->predicate,
						 number);
}

static void
prefetch_number(OmenAllowSource *head, uint32 number)
{
	KeySource  *source = (KeySource *) head;

	if (!head->full[omen_column_chunk(number)])
		omen_column_prefetch(source->hnsw, source->predicate, number);
}
