/*-------------------------------------------------------------------------
 *
 * hnsw_entry.c
 *	  The list of entry nodes: where walks start.
 *
 * It stands for the upper levels of HNSW: a random sample of all nodes, by inner
 * product a choice of them (hnsw_entry_choose.c), whose codes every backend keeps in
 * memory and scores at once, so that no page is read on the way down.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/float.h"

#include "graph/numberset.h"
#include "graph/pool_heap.h"
#include "hnsw/hnsw.h"

/* Dead nodes that are passed in the search for an heir */
#define MAX_PASSED	256

/* Parts of the entries whose nearest ones tell how near the nearest are */
#define NEAR_GROUPS	64

static void put_entry(Relation index, OmenHnswIndex *hnsw, OmenLink old,
					  uint32 first, OmenLink heir, const uint8 *pair);
static void aim_query(const OmenHnswIndex *hnsw, OmenQuery *query,
					  const float *estimates, float limit);
static float find_limit(float *estimates, uint32 n, int max);
static int	keep_nearest(OmenHeard *near, int n, int max, float estimate,
						 OmenLink link);
static OmenHnswEntry entry_at(const OmenHnswIndex *hnsw, Page page, uint32 at);
static void write_entry(const OmenHnswIndex *hnsw, Page page, uint32 at,
						OmenLink link, int level, const uint8 *pair);
static Buffer read_entry_page(Relation index, const OmenHnswIndex *hnsw,
							  const OmenHnswMetaPageData *meta, uint32 at);
static bool find_entry(Relation index, const OmenHnswIndex *hnsw,
					   const OmenHnswMetaPageData *meta, OmenLink link,
					   uint32 *at);
static OmenLink find_heir(OmenHnswStore *store, OmenLink dead,
						  omen_numberset_hash *known,
						  bool (*is_dead) (void *arg, OmenLink), void *arg);
static bool leads_to_node(OmenHnswStore *store, OmenLink link);

/*
 * Offer the entries nearest to the query as seeds.  Entries without codes are
 * offered all: the walk measures them as it visits.
 */
void
omen_hnsw_seed(const OmenHnswIndex *hnsw, OmenQuery *query,
			   OmenSearch *search)
{
	OmenHeard	near[OMEN_IP_SEEDS];
	int			n;

	if (hnsw->entry_pairs == NULL)
	{
		omen_hnsw_seed_all(hnsw, search);
		return;
	}
	n = omen_hnsw_near_entries(hnsw, query, near,
							   omen_hnsw_entry_seeds(hnsw));
	for (int i = 0; i < n; i++)
		omen_search_seed(search, near[i].link, near[i].estimate);
}

void
omen_hnsw_seed_all(const OmenHnswIndex *hnsw, OmenSearch *search)
{
	for (uint32 i = 0; i < hnsw->nentries; i++)
		omen_search_seed(search, hnsw->entry_links[i], -get_float4_infinity());
}

/*
 * The nearest of the entries, which have codes, in order, up to max of them;
 * returns how many.  The query is aimed at the first of them.
 */
int
omen_hnsw_near_entries(const OmenHnswIndex *hnsw, OmenQuery *query,
					   OmenHeard *near, int max)
{
	float	   *estimates = palloc(hnsw->nentries * sizeof(float));
	float		limit;
	int			n = 0;

	Assert(max <= OMEN_NEAR_ENTRIES);

	omen_query_block(query, hnsw->entry_pairs, hnsw->pair_stride,
					 hnsw->nentries, estimates);
	limit = find_limit(estimates, hnsw->nentries, max);
	for (uint32 i = 0; i < hnsw->nentries; i++)
	{
		if (unlikely(estimates[i] <= limit))
			n = keep_nearest(near, n, max, estimates[i],
							 hnsw->entry_links[i]);
	}
	if (hnsw->meta.shape.metric == OMEN_METRIC_IP && n > 0)
		aim_query(hnsw, query, estimates,
				  near[Min(n, OMEN_ENTRY_SEEDS) - 1].estimate);
	pfree(estimates);
	return n;
}

/* At the entries within this limit: estimates are of negative inner products */
static void
aim_query(const OmenHnswIndex *hnsw, OmenQuery *query, const float *estimates,
		  float limit)
{
	double		dot = 0;
	double		norm2 = 0;

	for (uint32 i = 0; i < hnsw->nentries; i++)
	{
		if (likely(estimates[i] > limit) || !isfinite(estimates[i]))
			continue;
		dot -= estimates[i];
		norm2 += omen_quant_pair_norm2(hnsw->quant, hnsw->entry_pairs +
									   i * hnsw->pair_stride);
	}
	omen_query_aim(query, dot, norm2);
}

/*
 * The share of all nodes that are within this graph distance of a query, as far as
 * the entries tell, which are drawn from all of them; 0 if they do not: by inner
 * product they are long ones, and likely answers.
 */
double
omen_hnsw_share_within(Relation index, Datum query, double distance)
{
	OmenHnswIndex *hnsw = omen_hnsw_open(index);
	uint32		dims = hnsw->meta.shape.dims;
	OmenHnswValue value;
	OmenQuery  *scored;
	float	   *estimates;
	uint32		within = 0;

	if (hnsw->meta.shape.metric == OMEN_METRIC_IP ||
		omen_hnsw_value_dims(hnsw->opclass, query) != dims ||
		!omen_hnsw_form_value(hnsw->opclass, dims, query, &value))
		return 0;
	omen_hnsw_refresh_entries(index, hnsw);
	if (hnsw->entry_pairs == NULL || hnsw->nentries == 0)
		return 0;

	scored = omen_query_init(palloc(omen_query_size(hnsw->quant)),
							 hnsw->quant, value.payload);
	estimates = palloc(hnsw->nentries * sizeof(float));
	omen_query_block(scored, hnsw->entry_pairs, hnsw->pair_stride,
					 hnsw->nentries, estimates);
	for (uint32 i = 0; i < hnsw->nentries; i++)
		within += estimates[i] <= distance;
	pfree(estimates);
	pfree(scored);
	return (double) within / hnsw->nentries;
}

/*
 * A distance that so many entries are within, and not many more: the last of so
 * many groups, by the nearest of each.  Where there is no telling, infinity.  To
 * keep the nearest while going through all of them takes four times as long.
 */
static float
find_limit(float *estimates, uint32 n, int max)
{
	float		least[NEAR_GROUPS];
	OmenHeard	near[OMEN_NEAR_ENTRIES];
	int			nnear = 0;

	for (int group = 0; group < NEAR_GROUPS; group++)
		least[group] = get_float4_infinity();
	for (uint32 first = 0; first < n; first += NEAR_GROUPS)
	{
		int			groups = Min(NEAR_GROUPS, n - first);

		for (int group = 0; group < groups; group++)
		{
			float	   *estimate = &estimates[first + group];

			/* not a number is as far as can be */
			*estimate = *estimate <= FLT_MAX ? *estimate : get_float4_infinity();
			least[group] = Min(*estimate, least[group]);
		}
	}
	for (int group = 0; group < NEAR_GROUPS; group++)
		nnear = keep_nearest(near, nnear, max, least[group], group);
	return near[max - 1].estimate;
}

/* Keep the nearest in order, up to max of them; returns how many */
static int
keep_nearest(OmenHeard *near, int n, int max, float estimate, OmenLink link)
{
	int			at = n < max ? n : max - 1;

	if (n == max && estimate >= near[at].estimate)
		return n;
	for (; at > 0 && near[at - 1].estimate > estimate; at--)
		near[at] = near[at - 1];
	near[at] = (OmenHeard) {estimate, link};
	return Min(n + 1, max);
}

/*
 * A new node may become an entry: always while the list has room, later with
 * the probability that keeps the list a uniform sample (reservoir sampling;
 * the number of nodes is taken from the size of the relation).  By inner
 * product, it takes the place of one that is less good.
 */
void
omen_hnsw_offer_entry(Relation index, OmenHnswIndex *hnsw, OmenLink link,
					  int level, const uint8 *pair)
{
	double		nodes = (double) RelationGetNumberOfBlocks(index) *
		hnsw->layout.slots_per_page;
	double		draw = pg_prng_double(&pg_global_prng_state);

	if (hnsw->meta.shape.metric == OMEN_METRIC_IP &&
		hnsw->entry_pairs != NULL && hnsw->nentries > 1 &&
		hnsw->nentries == hnsw->meta.entry_capacity)
	{
		uint32		at = omen_hnsw_choose_replaced(hnsw, pair);

		if (at > 0)
			put_entry(index, hnsw, hnsw->entry_links[at], 1, link, pair);
	}
	else if (hnsw->nentries < hnsw->meta.entry_capacity ||
			 draw * nodes < hnsw->meta.entry_capacity)
		omen_hnsw_make_entry(index, hnsw, link, level, pair);
}

/*
 * The node becomes an entry, in place of a random one if the list is full, but
 * never of the first one, from which all nodes can be reached (H16).
 */
void
omen_hnsw_make_entry(Relation index, OmenHnswIndex *hnsw, OmenLink link,
					 int level, const uint8 *pair)
{
	OmenPageEdit edit;
	Buffer		meta_buffer;
	Buffer		buffer;
	OmenHnswMetaPage meta;
	BlockNumber *block;
	Page		page;
	uint32		at;

	meta_buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK, OMEN_PAGE_META,
								 OMEN_LOCK_EXCLUSIVE);
	omen_edit_begin(&edit, index);
	meta = (OmenHnswMetaPage)
		omen_page_content(omen_edit_page(&edit, meta_buffer));
	omen_hnsw_check_meta(index, meta);
	if (meta->nentries < hnsw->meta.entry_capacity)
		at = meta->nentries++;
	else
		at = (uint32) pg_prng_uint64_range(&pg_global_prng_state, 1,
										   hnsw->meta.entry_capacity - 1);
	block = &meta->entry_blocks[at / hnsw->layout.entries_per_page];
	if (BlockNumberIsValid(*block))
	{
		buffer = read_entry_page(index, hnsw, meta, at);
		page = omen_edit_page(&edit, buffer);
	}
	else
	{
		buffer = omen_page_extend(index, MAIN_FORKNUM);
		page = omen_edit_new_page(&edit, buffer, OMEN_PAGE_ENTRY);
		*block = BufferGetBlockNumber(buffer);
	}
	write_entry(hnsw, page, at, link, level, pair);
	omen_edit_finish(&edit);
	omen_page_release(buffer);
	omen_page_release(meta_buffer);
}

/*
 * Vacuum: replace entries whose nodes have no rows any more by a neighbour
 * that has, so that the slots can be freed.  A neighbour that is an entry
 * already is no heir: the list would come to have the same few nodes again and
 * again, which lead to the same part of the graph, while the rest has none.
 * Without an heir the list has room for the next nodes to be inserted.  So it has
 * when an entry leads nowhere.
 */
void
omen_hnsw_replace_entries(Relation index, OmenHnswIndex *hnsw,
						  bool (*is_dead) (void *arg, OmenLink), void *arg)
{
	omen_numberset_hash *known;
	OmenHnswStore store;
	uint32		n;
	OmenLink   *links;
	bool		found;

	/* a copy: reading the list anew in between must not confuse the loop */
	omen_hnsw_store_init(&store, index, hnsw, NULL);
	omen_hnsw_reload_entries(index, hnsw);
	n = hnsw->nentries;
	links = palloc(Max(n, 1) * sizeof(OmenLink));
	if (n > 0)
		memcpy(links, hnsw->entry_links, n * sizeof(OmenLink));
	known = omen_numberset_create(CurrentMemoryContext, Max(n, 1), NULL);
	for (uint32 i = 0; i < n; i++)
		omen_numberset_insert(known, omen_link_number(links[i]), &found);

	for (uint32 i = 0; i < n; i++)
	{
		OmenLink	heir;
		uint8	   *pair = NULL;
		Size		size;

		CHECK_FOR_INTERRUPTS();
		if (!is_dead(arg, links[i]) && leads_to_node(&store, links[i]))
			continue;
		heir = find_heir(&store, links[i], known, is_dead, arg);
		if (heir != OMEN_LINK_INVALID && hnsw->entry_pairs != NULL &&
			!omen_hnsw_read_pair(&store, heir, &pair, &size))
			heir = OMEN_LINK_INVALID;
		omen_hnsw_replace_entry(index, hnsw, links[i], heir, pair);
		if (heir != OMEN_LINK_INVALID)
			omen_numberset_insert(known, omen_link_number(heir), &found);
		if (pair)
			pfree(pair);
	}
	omen_numberset_destroy(known);
	pfree(links);
}

static OmenHnswEntry
entry_at(const OmenHnswIndex *hnsw, Page page, uint32 at)
{
	return (OmenHnswEntry) (omen_page_content(page) +
							(at % hnsw->layout.entries_per_page) *
							hnsw->meta.entry_size);
}

static void
write_entry(const OmenHnswIndex *hnsw, Page page, uint32 at, OmenLink link,
			int level, const uint8 *pair)
{
	OmenHnswEntry entry = entry_at(hnsw, page, at);

	entry->link = link;
	entry->level = level;
	entry->flags = hnsw->early != NULL ? OMEN_ENTRY_CENTRED : 0;
	if (hnsw->pair_stride > 0)
		memcpy(entry->pair, pair, hnsw->meta.shape.pair_size);
}

static Buffer
read_entry_page(Relation index, const OmenHnswIndex *hnsw,
				const OmenHnswMetaPageData *meta, uint32 at)
{
	return omen_page_read(index,
						  meta->entry_blocks[at / hnsw->layout.entries_per_page],
						  OMEN_PAGE_ENTRY, OMEN_LOCK_EXCLUSIVE);
}

/*
 * Put another entry in the place of one that is there; or, if there is no heir,
 * the last one of the list.  The metapage's lock excludes all other changes of the
 * list, so entry pages may be locked in any order below it.
 */
void
omen_hnsw_replace_entry(Relation index, OmenHnswIndex *hnsw, OmenLink old,
						OmenLink heir, const uint8 *pair)
{
	put_entry(index, hnsw, old, 0, heir, pair);
}

/* The same, if the old one's place in the list is not before "first" */
static void
put_entry(Relation index, OmenHnswIndex *hnsw, OmenLink old, uint32 first,
		  OmenLink heir, const uint8 *pair)
{
	Buffer		meta_buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK,
											 OMEN_PAGE_META,
											 OMEN_LOCK_EXCLUSIVE);
	Buffer		buffer;
	OmenHnswMetaPage meta;
	OmenPageEdit edit;
	OmenHnswEntry last = NULL;
	uint32		at;

	meta = (OmenHnswMetaPage) omen_page_content(BufferGetPage(meta_buffer));
	omen_hnsw_check_meta(index, meta);
	if (!find_entry(index, hnsw, meta, old, &at) || at < first)
	{
		omen_page_release(meta_buffer);
		return;
	}
	if (heir == OMEN_LINK_INVALID && at != meta->nentries - 1)
	{
		last = palloc(hnsw->meta.entry_size);
		buffer = read_entry_page(index, hnsw, meta, meta->nentries - 1);
		memcpy(last, entry_at(hnsw, BufferGetPage(buffer), meta->nentries - 1),
			   hnsw->meta.entry_size);
		omen_page_release(buffer);
	}

	omen_edit_begin(&edit, index);
	meta = (OmenHnswMetaPage)
		omen_page_content(omen_edit_page(&edit, meta_buffer));
	meta->entry_epoch++;
	if (heir == OMEN_LINK_INVALID)
		meta->nentries--;
	buffer = read_entry_page(index, hnsw, meta, at);
	if (last != NULL)
		memcpy(entry_at(hnsw, omen_edit_page(&edit, buffer), at), last,
			   hnsw->meta.entry_size);
	else if (heir != OMEN_LINK_INVALID)
		write_entry(hnsw, omen_edit_page(&edit, buffer), at, heir, 0, pair);
	omen_edit_finish(&edit);
	omen_page_release(buffer);
	omen_page_release(meta_buffer);
}

static bool
find_entry(Relation index, const OmenHnswIndex *hnsw,
		   const OmenHnswMetaPageData *meta, OmenLink link, uint32 *at)
{
	uint32		per_page = hnsw->layout.entries_per_page;

	for (uint32 first = 0; first < meta->nentries; first += per_page)
	{
		Buffer		buffer = read_entry_page(index, hnsw, meta, first);
		char	   *content = omen_page_content(BufferGetPage(buffer));
		uint32		n = Min(per_page, meta->nentries - first);

		for (uint32 i = 0; i < n; i++)
		{
			OmenHnswEntry entry = (OmenHnswEntry)
				(content + i * hnsw->meta.entry_size);

			if (entry->link == link)
			{
				*at = first + i;
				omen_page_release(buffer);
				return true;
			}
		}
		omen_page_release(buffer);
	}
	return false;
}

/*
 * A neighbour of a dead node that has rows itself, and is not known; if all its
 * neighbours are dead, one of theirs, and so on.  OMEN_LINK_INVALID if the first
 * ones that live are known.
 */
static OmenLink
find_heir(OmenHnswStore *store, OmenLink dead, omen_numberset_hash *known,
		  bool (*is_dead) (void *arg, OmenLink), void *arg)
{
	OmenLink	passed[MAX_PASSED] = {dead};
	omen_numberset_hash *seen = omen_numberset_create(CurrentMemoryContext,
													  MAX_PASSED, NULL);
	int			npassed = 1;
	bool		living = false;
	OmenLink	heir = OMEN_LINK_INVALID;

	for (int i = 0; i < npassed && !living; i++)
	{
		OmenLink	links[OMEN_MAX_LINKS];
		int			nlinks = omen_hnsw_copy_links(store, passed[i], links);

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < nlinks && heir == OMEN_LINK_INVALID; j++)
		{
			bool		found;

			omen_numberset_insert(seen, omen_link_number(links[j]), &found);
			if (found)
				continue;
			if (!is_dead(arg, links[j]))
			{
				bool		new = omen_numberset_lookup(known,
											omen_link_number(links[j])) == NULL;

				if (new && !leads_to_node(store, links[j]))
					continue;
				living = true;
				if (new)
					heir = links[j];
			}
			else if (npassed < MAX_PASSED)
				passed[npassed++] = links[j];
		}
	}
	omen_numberset_destroy(seen);
	return heir;
}

static bool
leads_to_node(OmenHnswStore *store, OmenLink link)
{
	OmenHnswSlot slot;
	Buffer		buffer = omen_hnsw_read_slot(store, link, OMEN_LOCK_SHARE,
											 &slot);

	if (!BufferIsValid(buffer))
		return false;
	omen_page_release(buffer);
	return true;
}
