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
 * Costs in visits of a walk, some 1.1 us: an entry of a list, a page of the
 * column with all its codes, and with few of them
 */
#define ENTRY_COST		0.0011
#define RUN_ENTRY_COST	0.0003
#define FULL_PAGE_COST	0.55
#define FEW_CODES_COST	0.3

/* For more of the nodes than this, the column is cheaper than a list... */
#define LIST_SHARE		0.4

/* ...unless so much of the list, which is long, are nodes that follow each other */
#define MANY_RUNS		0.6

/* If this share of the column is newer than the lists, they are of little use */
#define MOST_IS_NEWER	0.5

/*
 * A list that is not short is read when so many chunks have been asked for, or
 * will be, that it would have cost no more; or at least so many, as a walk may
 * look into some.  A tiny one is read even to look how many nodes are allowed
 * near a query, which the column tells for 20 pages.
 */
#define TINY_LIST		4000
#define SHORT_LIST		15000
#define LONG_LIST		70000
#define FIRST_CHUNKS	24

/* Single numbers are looked up, unless so many already have been */
#define MAX_LOOKUPS		200

/*
 * glibc gives the end of its heap back to the kernel when 128 KB are free there,
 * and each query would fault it in again, unless a larger piece has been freed
 * once: that raises the limit.  A set of almost that size is rounded up; what is
 * not written to takes no memory.
 */
#define NEAR_HEAP_LIMIT	(64 * 1024)
#define BEYOND_HEAP_LIMIT	(192 * 1024)

typedef struct KeySource
{
	OmenAllowSource source;		/* must be first */
	Relation	index;
	OmenHnswIndex *hnsw;
	const OmenKeyPredicate *predicate;
	uint64	   *bits;
	uint32		nbits;
	double		newer;			/* share of the column than the lists */
	bool		has_spans;		/* of the condition that fewest meet */
	OmenKeySpans spans;
	bool		from_list;		/* is to begin with them, once it pays */
	bool		knows_runs;		/* has looked whether they are runs */
	int			nfirst;			/* chunks to be filled before that, */
	int			nfilled;		/* and so far */
	int			nlookups;
} KeySource;

static KeySource *create_source(Relation index, OmenHnswIndex *hnsw,
								const OmenKeyPredicate *predicate,
								uint32 nbits);
static bool find_spans(KeySource *source, double *share);
static void plan_list(KeySource *source, OmenAllowSet *set);
static void set_list_cost(KeySource *source, double entry_cost);
static void look_for_runs(KeySource *source);
static void start_from_base(KeySource *source, OmenAllowSet *set);
static void start_from_list(KeySource *source);
static bool has_newer_key(const KeySource *source, uint32 chunk);
static void fill_chunk(OmenAllowSource *source, uint32 chunk);
static bool test_number(OmenAllowSource *source, uint32 number);
static void prefetch_number(OmenAllowSource *source, uint32 number);
static uint32 count_numbers(OmenAllowSource *source, uint32 from, uint32 end);
static uint32 count_in_chunk(KeySource *source, uint32 from, uint32 end);
static int	sample_numbers(OmenAllowSource *source, uint32 *numbers, int max);

void
omen_column_allow(Relation index, OmenHnswIndex *hnsw,
				  const OmenKeyPredicate *predicate, OmenAllowSet *set)
{
	bool		has_base = set->kind == OMEN_ALLOW_BITSET;
	uint32		nbits = has_base ? set->nbits :
		RelationGetNumberOfBlocks(index) * hnsw->layout.slots_per_page;
	double		nodes = has_base ? set->cardinality : nbits;
	double		share = 1.0;
	KeySource  *source;

	/* conditions that all rows of the index meet */
	if (predicate->nconditions == 0)
		return;

	/* pages of other kinds come last: to look there takes time */
	omen_column_refresh(index, hnsw, omen_column_chunk(nbits) + 1);
	if (!has_base)
		nbits = Min(nbits, OMEN_ALLOW_CHUNK *
					omen_column_chunks(hnsw, omen_column_chunk(nbits) + 1));
	source = create_source(index, hnsw, predicate, nbits);
	source->newer = omen_column_newer_share(hnsw);
	if (source->newer > MOST_IS_NEWER || !find_spans(source, &share))
		share = omen_column_share(index, hnsw, predicate,
								  omen_column_chunk(nbits) + 1);

	if (source->has_spans)
		source->source.sample = sample_numbers;

	set->kind = OMEN_ALLOW_BITSET;
	set->nbits = nbits;
	set->keys = predicate;
	set->source = &source->source;
	set->cardinality = nodes * share;
	set->estimated = true;
	source->source.chunk_cost = FULL_PAGE_COST * predicate->nconditions;
	if (has_base)
		start_from_base(source, set);
	else if (source->has_spans)
		plan_list(source, set);
	set->bits = source->bits;
}

/* Whose bits, of whole chunks, have no values yet */
static KeySource *
create_source(Relation index, OmenHnswIndex *hnsw,
			  const OmenKeyPredicate *predicate, uint32 nbits)
{
	KeySource  *source = palloc0(sizeof(KeySource));
	Size		nchunks = omen_column_chunk(nbits) + 1;
	Size		size = nchunks * OMEN_ALLOW_CHUNK / 8;

	source->source.fill = fill_chunk;
	source->source.test = test_number;
	source->source.prefetch = prefetch_number;
	source->source.count = count_numbers;
	source->source.full = palloc_extended(nchunks * sizeof(bool),
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	source->index = index;
	source->hnsw = hnsw;
	source->predicate = predicate;
	source->nbits = nbits;
	if (size > NEAR_HEAP_LIMIT)
		size = Max(size, BEYOND_HEAP_LIMIT);
	source->bits = palloc_extended(size, MCXT_ALLOC_HUGE);
	return source;
}

/*
 * What the list of the condition that fewest meet has, and the share of nodes
 * that meet all conditions, as if they had nothing to do with each other.  False
 * if no list tells.
 */
static bool
find_spans(KeySource *source, double *share)
{
	const OmenKeyPredicate *predicate = source->predicate;

	*share = 1.0;
	for (int i = 0; i < predicate->nconditions; i++)
	{
		OmenKeySpans spans;

		if (!omen_keylist_find(source->index, source->hnsw,
							   &predicate->conditions[i], &spans))
			continue;
		*share *= spans.count / source->hnsw->meta.built_nodes;
		if (!source->has_spans || spans.count < source->spans.count)
			source->spans = spans;
		source->has_spans = true;
	}
	return source->has_spans;
}

static void
plan_list(KeySource *source, OmenAllowSet *set)
{
	double		count = source->spans.count;

	if (count <= LIST_SHARE * source->hnsw->meta.built_nodes)
		set_list_cost(source, ENTRY_COST);
	source->knows_runs = count <= SHORT_LIST;
	if (source->predicate->nconditions == 1 && source->newer == 0)
	{
		set->cardinality = count;
		set->estimated = false;
	}
}

/* To begin with the list */
static void
set_list_cost(KeySource *source, double entry_cost)
{
	OmenAllowSource *head = &source->source;
	double		count = source->spans.count;

	source->from_list = true;
	source->nfirst = 0;
	if (count > LONG_LIST)
		source->nfirst = (int) (count * entry_cost / FULL_PAGE_COST);
	else if (count > SHORT_LIST)
		source->nfirst = FIRST_CHUNKS;
	head->start_cost = 2 + entry_cost * count;
	head->chunk_cost = source->newer * FULL_PAGE_COST +
		(source->predicate->nconditions == 1 ? 0 : FEW_CODES_COST);
}

/* Who wants to know of parts of the set may soon want to know all of it */
static void
look_for_runs(KeySource *source)
{
	source->knows_runs = true;
	if (omen_keylist_run_share(source->index, source->hnsw,
							   &source->spans) >= MANY_RUNS)
		set_list_cost(source, RUN_ENTRY_COST);
}

static void
start_from_list(KeySource *source)
{
	Size		words = OMEN_ALLOW_CHUNK / 64;
	uint32		nchunks = omen_column_chunk(source->nbits) + 1;

	source->from_list = false;
	source->source.has_base = true;
	source->source.start_cost = 0;
	memset(source->bits, 0, nchunks * words * sizeof(uint64));
	omen_keylist_mark(source->index, source->hnsw, &source->spans,
					  source->nbits, source->bits);
	memset(source->source.full, source->predicate->nconditions == 1,
		   nchunks * sizeof(bool));
	source->source.complete = source->predicate->nconditions == 1 &&
		source->newer == 0;
	for (uint32 i = 0; source->newer > 0 && i < nchunks; i++)
	{
		if (!has_newer_key(source, i))
			continue;

		/* the list has neither all nor only what is there: the column has */
		memset(source->bits + i * words, 0xFF, words * sizeof(uint64));
		source->source.full[i] = false;
	}
}

/* Is a key that conditions are about newer than its list? */
static bool
has_newer_key(const KeySource *source, uint32 chunk)
{
	for (int i = 0; i < source->predicate->nconditions; i++)
	{
		if (omen_column_is_newer(source->hnsw, chunk,
								 source->predicate->conditions[i].key))
			return true;
	}
	return false;
}

/* What others have found goes on being theirs */
static void
start_from_base(KeySource *source, OmenAllowSet *set)
{
	Size		nwords = ((Size) set->nbits + 63) / 64;

	source->source.has_base = true;
	source->source.chunk_cost = FEW_CODES_COST;
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

	if (source->from_list &&
		(head->expected > source->nfirst ||
		 ++source->nfilled > source->nfirst))
		start_from_list(source);
	if (head->full[chunk])
		return;
	if (!head->has_base)
		memset(bits, 0xFF, words * sizeof(uint64));
	omen_column_filter(source->index, source->hnsw, source->predicate, chunk,
					   0, (int) words, bits);
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

static uint32
count_numbers(OmenAllowSource *head, uint32 from, uint32 end)
{
	KeySource  *source = (KeySource *) head;
	uint32		n = 0;

	if (source->from_list && source->spans.count <= TINY_LIST)
		start_from_list(source);
	else if (source->has_spans && !source->knows_runs &&
			 !source->source.has_base)
		look_for_runs(source);
	for (end = Min(end, source->nbits); from < end;)
	{
		uint32		stop = Min(end, (omen_column_chunk(from) + 1) *
							   OMEN_ALLOW_CHUNK);

		n += count_in_chunk(source, from, stop);
		from = stop;
	}
	return n;
}

/* Of numbers of one chunk */
static uint32
count_in_chunk(KeySource *source, uint32 from, uint32 end)
{
	uint32		chunk = omen_column_chunk(from);
	uint32		first = from / 64;
	int			nwords = (int) ((end - 1) / 64 - first + 1);
	Size		size = nwords * sizeof(uint64);
	uint64		bits[OMEN_ALLOW_CHUNK / 64];

	if (source->source.full[chunk] || source->source.has_base)
		memcpy(bits, source->bits + first, size);
	else
		memset(bits, 0xFF, size);
	bits[0] &= ~UINT64CONST(0) << (from % 64);
	bits[nwords - 1] &= ~UINT64CONST(0) >> (63 - (end - 1) % 64);
	if (!source->source.full[chunk])
		omen_column_filter(source->index, source->hnsw, source->predicate,
						   chunk, (int) (first % (OMEN_ALLOW_CHUNK / 64)),
						   nwords, bits);
	return (uint32) pg_popcount((const char *) bits, (int) size);
}

/* Of the condition that fewest meet */
static int
sample_numbers(OmenAllowSource *head, uint32 *numbers, int max)
{
	KeySource  *source = (KeySource *) head;

	return omen_keylist_sample(source->index, source->hnsw, &source->spans,
							   source->nbits, numbers, max);
}
