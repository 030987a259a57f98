/*-------------------------------------------------------------------------
 *
 * bm25_hold.c
 *	  The statistics that a statement ranks by, held as long as it may ask.
 *
 * A scan and the expressions above it rank by one query each on its own, and
 * begin at different moments, while others write.  The first one to come leaves
 * its ranking here, and the others find it: so a row has the score by which
 * it was put in order.
 *
 * A ranking is known by its query and by what the statement's snapshot sees
 * (OmenBm25RankingKey).  Nothing is left when the transaction ends.  Of a
 * statement that ranks by more queries than there is room for, those that were
 * not asked for the longest are forgotten.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "bm25/bm25_view.h"

/* A ranking takes about as many bytes as ten for each letter of its query */
#define MOST_HELD	256

typedef struct HeldRanking
{
	dlist_node	node;
	MemoryContext context;		/* this and all below */
	uint32		hash;			/* of the query */
	OmenBm25RankingKey key;		/* its query is bound */
	OmenBm25Ranking *ranking;
} HeldRanking;

static void forget_all(void *arg);
static void forget_last(void);
static uint32 hash_query(const OmenBm25Query *query);
static uint32 count_running(Snapshot snapshot);

/* The one asked for last comes first; both end with the transaction */
static MemoryContext held_context = NULL;
static dlist_head held;
static int	nheld;

void
omen_bm25_set_key(OmenBm25RankingKey *key, const OmenBm25Query *query,
				  Snapshot snapshot)
{
	key->query = palloc(VARSIZE(query));
	memcpy(key->query, query, VARSIZE(query));
	key->xmin = snapshot->xmin;
	key->xmax = snapshot->xmax;
	key->nrunning = count_running(snapshot);
	key->curcid = snapshot->curcid;
}

bool
omen_bm25_is_key(const OmenBm25RankingKey *key, const OmenBm25Query *query,
				 Snapshot snapshot)
{
	return key->xmin == snapshot->xmin && key->xmax == snapshot->xmax &&
		key->nrunning == count_running(snapshot) &&
		key->curcid == snapshot->curcid &&
		VARSIZE(key->query) == VARSIZE(query) &&
		memcmp(key->query, query, VARSIZE(query)) == 0;
}

const OmenBm25Ranking *
omen_bm25_held(const OmenBm25Query *query)
{
	uint32		hash = hash_query(query);
	Snapshot	snapshot;
	dlist_iter	iter;

	if (held_context == NULL || !ActiveSnapshotSet())
		return NULL;
	snapshot = GetActiveSnapshot();
	dlist_foreach(iter, &held)
	{
		HeldRanking *one = dlist_container(HeldRanking, node, iter.cur);

		if (one->hash != hash ||
			!omen_bm25_is_key(&one->key, query, snapshot))
			continue;
		dlist_move_head(&held, &one->node);
		return one->ranking;
	}
	return NULL;
}

void
omen_bm25_hold(const OmenBm25Query *query, const OmenBm25Ranking *ranking)
{
	MemoryContext context;
	MemoryContext old;
	HeldRanking *one;

	if (!ActiveSnapshotSet())
		return;
	if (held_context == NULL)
	{
		MemoryContextCallback *callback;

		context = AllocSetContextCreate(TopTransactionContext,
										"omenbm25 rankings",
										ALLOCSET_SMALL_SIZES);
		callback = MemoryContextAlloc(context, sizeof(*callback));
		callback->func = forget_all;
		MemoryContextRegisterResetCallback(context, callback);
		dlist_init(&held);
		nheld = 0;
		held_context = context;
	}
	if (nheld == MOST_HELD)
		forget_last();
	context = AllocSetContextCreate(held_context, "omenbm25 ranking",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	one = palloc(sizeof(*one));
	one->context = context;
	one->hash = hash_query(query);
	omen_bm25_set_key(&one->key, query, GetActiveSnapshot());
	one->ranking = omen_bm25_copy_ranking(ranking);
	MemoryContextSwitchTo(old);
	dlist_push_head(&held, &one->node);
	nheld++;
}

static void
forget_all(void *arg)
{
	held_context = NULL;
}

static void
forget_last(void)
{
	HeldRanking *one = dlist_tail_element(HeldRanking, node, &held);

	dlist_delete(&one->node);
	nheld--;
	MemoryContextDelete(one->context);
}

static uint32
hash_query(const OmenBm25Query *query)
{
	return hash_bytes((const unsigned char *) query, VARSIZE(query));
}

/*
 * Others that began before xmax and had not ended.  Of two snapshots with the
 * same xmin and xmax, what only the later one sees is of some that have ended.
 */
static uint32
count_running(Snapshot snapshot)
{
	return snapshot->xcnt + (uint32) snapshot->subxcnt;
}
