/*-------------------------------------------------------------------------
 *
 * hnsw_mean.c
 *	  The mean of a column whose index was built on hardly any rows.
 *
 * NOTES
 *	  Codes are of what vectors differ from the mean by.  An index that was
 *	  built on fewer than OMEN_MEAN_ROWS rows has none: the first codes are of the
 *	  vectors themselves.  As soon as it has that many nodes, the insert that has
 *	  made the last of them takes their mean, and whatever is encoded from then on
 *	  is centred on it: nodes are CENTRED, and entries.  (Where coordinates lie
 *	  around a thousand, each within one, codes of the vectors themselves tell
 *	  nothing: .24 of the nearest rows were found.)
 *
 *	  Nodes of before get new codes (hnsw_recentre.c).  Whoever reads one that has
 *	  none, yet or for good, shifts its code (omen_hnsw_shift_own), which leaves an
 *	  estimate and no bounds: so its row is looked up.
 *
 *	  Inserts and vacuum must not mix codes of both kinds in one list of links:
 *	  as long as an index awaits its mean, they hold an object lock of the index in
 *	  share mode, and the mean is taken in exclusive mode.  Scans do not: of a
 *	  CENTRED node that one comes upon which has begun before, it knows nothing
 *	  but where its rows are, and that is enough.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"

#include "base/order.h"
#include "hnsw/hnsw.h"

/* An index that is larger than the first nodes can be has come without a mean */
#define MOST_BLOCKS		512

/* Nor should so many have come, unless by hundreds at the same time */
#define MOST_NODES		1000

/* The mean and the metapage are to fit one record */
#define MOST_PAGES		(MAX_GENERIC_XLOG_PAGES - 1)

/*
 * Codes whose errors are more than this part of how far vectors are from their
 * mean do not tell where that is
 */
#define MOST_ERROR		0.25

/*
 * Vectors that are more than so many times as far from the middle as half of them
 * are have no part in the mean: one that is ten thousand times as long as the others
 * would draw it away from all of them, for good.
 */
#define MOST_FAR		4

/* What the codes of nodes stand for, rotated, and how far off that may be */
typedef struct MeanSample
{
	uint32		dims;
	int			n;
	float	   *x[MOST_NODES + 1]; /* float[dims] each */
	double		error2[MOST_NODES + 1];
} MeanSample;

static bool is_small(Relation index);
static Size mean_pages(const OmenCodeShape *shape);
static void learn(Relation index, OmenHnswIndex *hnsw);
static void take_mean(Relation index, Relation heap, OmenHnswIndex *hnsw,
					  const void *payload);
static bool are_enough(int nnodes);
static int visit_nodes(Relation index, OmenHnswIndex *hnsw,
					   MeanSample *sample);
static int visit_page(OmenHnswStore *store, Buffer buffer, int nnodes,
					  MeanSample *sample);
static void add_to_sample(OmenHnswStore *store, const uint8 *own,
						  MeanSample *sample);
static float *choose_mean(const OmenHnswIndex *hnsw, const MeanSample *sample,
						  const void *payload);
static float *find_middle(const MeanSample *sample);
static void average(const MeanSample *sample, const double *far2, double limit,
					float *mean);
static double square_distance(uint32 dims, const float *a, const float *b);
static double median(int n, const double *values);
static void write_mean(Relation index, const OmenHnswIndex *hnsw,
					   const float *mean);

/* Codes have means, this index has none, and nothing that lasts depends on that */
bool
omen_hnsw_awaits_mean(const OmenHnswIndex *hnsw)
{
	const OmenHnswMetaPageData *meta = &hnsw->meta;

	return meta->shape.own_kind != OMEN_OWN_RAW &&
		!BlockNumberIsValid(meta->mean_start) &&
		meta->built_nodes < OMEN_MEAN_ROWS && meta->nranges == 0 &&
		mean_pages(&meta->shape) <= MOST_PAGES;
}

static Size
mean_pages(const OmenCodeShape *shape)
{
	return (shape->code_dims * sizeof(float) + OMEN_PAGE_CONTENT - 1) /
		OMEN_PAGE_CONTENT;
}

/*
 * The metapage may tell of a mean that has been taken since the index was opened
 * first: from now on new codes are by that.  Scans that go on keep to their own
 * quantizer.
 */
void
omen_hnsw_learn_mean(Relation index, OmenHnswIndex *hnsw,
					 const OmenHnswMetaPageData *meta)
{
	MemoryContext old;
	OmenQuantizer *quant;
	void	   *mean;

	if (likely((meta->flags & OMEN_META_LATE_MEAN) == 0 ||
			   hnsw->early != NULL))
		return;
	old = MemoryContextSwitchTo(hnsw->kept.context);
	quant = palloc(omen_quant_size(&meta->shape));
	mean = omen_hnsw_read_data(index, meta->mean_start,
							   meta->shape.code_dims * sizeof(float));
	hnsw->early = hnsw->quant;
	hnsw->quant =
		omen_quant_init_rotated(quant, &meta->shape, mean, meta->max_norm2);
	hnsw->meta.mean_start = meta->mean_start;
	hnsw->meta.flags = meta->flags;
	omen_hnsw_drop_entries(hnsw);
	pfree(mean);
	MemoryContextSwitchTo(old);
}

/*
 * Called before a node is made or links are chosen.  Returns true if there may be
 * a mean soon, and nobody takes it before omen_hnsw_release_mean().  Where it has been
 * taken, nodes of before may be getting new codes at this moment, however we have come
 * to know: a session waits once until that has ended.
 */
bool
omen_hnsw_hold_mean(Relation index, OmenHnswIndex *hnsw)
{
	if (likely(hnsw->is_mean_settled))
		return false;
	if (omen_hnsw_awaits_mean(hnsw) && !is_small(index))
	{
		/* it may have grown large since we have looked, with a mean */
		learn(index, hnsw);
		if (omen_hnsw_awaits_mean(hnsw))
			return false;
	}
	LockDatabaseObject(RelationRelationId, RelationGetRelid(index), 0,
					   ShareLock);
	learn(index, hnsw);
	if (omen_hnsw_awaits_mean(hnsw))
		return true;
	hnsw->is_mean_settled = true;
	omen_hnsw_release_mean(index);
	return false;
}

static void
learn(Relation index, OmenHnswIndex *hnsw)
{
	OmenHnswMetaPageData meta;

	omen_hnsw_read_meta(index, &meta);
	omen_hnsw_learn_mean(index, hnsw, &meta);
}

void
omen_hnsw_release_mean(Relation index)
{
	UnlockDatabaseObject(RelationRelationId, RelationGetRelid(index), 0,
						 ShareLock);
}

static bool
is_small(Relation index)
{
	return RelationGetNumberOfBlocks(index) <= MOST_BLOCKS;
}

/*
 * There is a node more, of this payload: take the mean if there are enough.  The
 * caller holds nothing.
 */
void
omen_hnsw_offer_mean(Relation index, Relation heap, OmenHnswIndex *hnsw,
					 const void *payload)
{
	if (!are_enough(visit_nodes(index, hnsw, NULL)))
		return;
	LockDatabaseObject(RelationRelationId, RelationGetRelid(index), 0,
					   ExclusiveLock);
	learn(index, hnsw);
	if (omen_hnsw_awaits_mean(hnsw) && is_small(index))
		take_mean(index, heap, hnsw, payload);
	UnlockDatabaseObject(RelationRelationId, RelationGetRelid(index), 0,
						 ExclusiveLock);
}

/* Not so many either that it would take long to give them all new codes */
static bool
are_enough(int nnodes)
{
	return nnodes >= OMEN_MEAN_ROWS && nnodes <= MOST_NODES;
}

/* Once more: somebody else may have added nodes, but nobody does now */
static void
take_mean(Relation index, Relation heap, OmenHnswIndex *hnsw,
		  const void *payload)
{
	MeanSample *sample = palloc0(sizeof(MeanSample));

	sample->dims = hnsw->meta.shape.code_dims;
	if (!are_enough(visit_nodes(index, hnsw, sample)))
		return;
	write_mean(index, hnsw, choose_mean(hnsw, sample, payload));
	learn(index, hnsw);
	omen_hnsw_recentre(index, heap, hnsw);
}

/* Into the sample, or only to count them; returns how many, or that there are more */
static int
visit_nodes(Relation index, OmenHnswIndex *hnsw, MeanSample *sample)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	int			nnodes = 0;
	OmenHnswStore store;

	omen_hnsw_store_init(&store, index, hnsw, NULL);
	for (BlockNumber block = 0; block < nblocks && nnodes <= MOST_NODES;
		 block++)
	{
		OmenPageKind kind;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		buffer =
			omen_page_read_any(index, block, OMEN_LOCK_SHARE, NULL, &kind);
		if (kind == OMEN_PAGE_NODE)
			nnodes = visit_page(&store, buffer, nnodes, sample);
		omen_page_release(buffer);
	}
	return nnodes;
}

static int
visit_page(OmenHnswStore *store, Buffer buffer, int nnodes, MeanSample *sample)
{
	const OmenHnswIndex *hnsw = store->hnsw;

	for (int i = 0;
		 i < hnsw->layout.slots_per_page && nnodes <= MOST_NODES; i++)
	{
		OmenHnswSlot slot =
			omen_hnsw_page_slot(&hnsw->layout, BufferGetPage(buffer), i);

		omen_hnsw_check_slot(store->index, hnsw, buffer, slot);
		if ((slot->flags & OMEN_SLOT_KIND) != OMEN_SLOT_USED)
			continue;
		if (sample != NULL)
			add_to_sample(store, omen_hnsw_slot_own(store, buffer, slot),
						  sample);
		nnodes++;
	}
	return nnodes;
}

static void
add_to_sample(OmenHnswStore *store, const uint8 *own, MeanSample *sample)
{
	const OmenHnswIndex *hnsw = store->hnsw;
	uint8	   *pair = palloc(hnsw->meta.shape.pair_size);
	OmenOwnFactors factors;

	omen_quant_own_to_pair(hnsw->quant, own, pair);
	memcpy(&factors, pair, sizeof(factors));
	sample->x[sample->n] = palloc0(sample->dims * sizeof(float));
	omen_quant_add_to_centre(hnsw->quant, pair, sample->x[sample->n]);
	sample->error2[sample->n++] = (double) factors.error * factors.error;
	pfree(pair);
}

/*
 * The mean of the nodes, rotated, palloc'd, but for those far off.  Where their codes
 * are too coarse to tell it, one of the vectors does as well, but for twice the
 * squared lengths: the new one, unless that is far off itself.
 */
static float *
choose_mean(const OmenHnswIndex *hnsw, const MeanSample *sample,
			const void *payload)
{
	Size		size = sample->dims * sizeof(float);
	float	   *middle = find_middle(sample);
	float	   *one = palloc(size);
	double	   *far2 = palloc(sample->n * sizeof(double));
	double		half2;
	double		error2;

	for (int i = 0; i < sample->n; i++)
		far2[i] = square_distance(sample->dims, sample->x[i], middle);
	half2 = median(sample->n, far2);
	error2 = median(sample->n, sample->error2);
	if (error2 <= MOST_ERROR * MOST_ERROR * half2)
		average(sample, far2, MOST_FAR * MOST_FAR * half2, middle);
	else
	{
		omen_quant_load(hnsw->quant, payload, one);
		if (square_distance(sample->dims, one, middle) <=
			MOST_FAR * MOST_FAR * (half2 + error2))
			memcpy(middle, one, size);
	}
	return middle;
}

/* Of each coordinate, that which half of the vectors are below */
static float *
find_middle(const MeanSample *sample)
{
	float	   *middle = palloc(sample->dims * sizeof(float));
	float	   *values = palloc(sample->n * sizeof(float));

	for (uint32 i = 0; i < sample->dims; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < sample->n; j++)
			values[j] = sample->x[j][i];
		qsort(values, sample->n, sizeof(float), omen_compare_floats);
		middle[i] = values[sample->n / 2];
	}
	pfree(values);
	return middle;
}

/* Half of them at least are within the limit */
static void
average(const MeanSample *sample, const double *far2, double limit,
		float *mean)
{
	int			n = 0;

	memset(mean, 0, sample->dims * sizeof(float));
	for (int j = 0; j < sample->n; j++)
	{
		if (far2[j] > limit)
			continue;
		for (uint32 i = 0; i < sample->dims; i++)
			mean[i] += sample->x[j][i];
		n++;
	}
	for (uint32 i = 0; i < sample->dims; i++)
		mean[i] /= n;
}

static double
square_distance(uint32 dims, const float *a, const float *b)
{
	double		sum = 0;

	for (uint32 i = 0; i < dims; i++)
		sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
	return sum;
}

static double
median(int n, const double *values)
{
	double	   *sorted = palloc(n * sizeof(double));
	double		result;

	memcpy(sorted, values, n * sizeof(double));
	qsort(sorted, n, sizeof(double), omen_compare_doubles);
	result = sorted[n / 2];
	pfree(sorted);
	return result;
}

/*
 * DATA pages, one after the other, and the metapage that tells of them, in one
 * record.  All that extend the file hold what excludes us.
 */
static void
write_mean(Relation index, const OmenHnswIndex *hnsw, const float *mean)
{
	Size		size = hnsw->meta.shape.code_dims * sizeof(float);
	int			npages = (int) mean_pages(&hnsw->meta.shape);
	Buffer		buffers[MOST_PAGES];
	Buffer		meta_buffer = omen_page_read(index, OMEN_HNSW_META_BLOCK,
										OMEN_PAGE_META, OMEN_LOCK_EXCLUSIVE);
	OmenHnswMetaPage meta;
	OmenPageEdit edit;

	omen_edit_begin(&edit, index);
	meta = (OmenHnswMetaPage) omen_page_content(
		omen_edit_page(&edit, meta_buffer));
	meta->mean_start = RelationGetNumberOfBlocks(index);
	meta->flags |= OMEN_META_LATE_MEAN;
	for (int i = 0; i < npages; i++)
	{
		Size		done = i * OMEN_PAGE_CONTENT;
		Page		page;

		buffers[i] = omen_page_extend(index, MAIN_FORKNUM);
		if (BufferGetBlockNumber(buffers[i]) != meta->mean_start + i)
			elog(ERROR, "index \"%s\" was extended by somebody else",
				 RelationGetRelationName(index));
		page = omen_edit_new_page(&edit, buffers[i], OMEN_PAGE_DATA);
		memcpy(omen_page_content(page), (const char *) mean + done,
			   Min(size - done, OMEN_PAGE_CONTENT));
	}
	omen_edit_finish(&edit);
	for (int i = 0; i < npages; i++)
		omen_page_release(buffers[i]);
	omen_page_release(meta_buffer);
}

/*
 * The own code of a slot by the store's mean, if it is stored by the other one.  It
 * is in the store's memory, until the next is asked for.
 */
const uint8 *
omen_hnsw_shift_own(OmenHnswStore *store, OmenHnswSlot slot, const uint8 *own)
{
	const OmenHnswIndex *hnsw = store->hnsw;
	const OmenCodeShape *shape = &hnsw->meta.shape;
	Size		size = MAXALIGN(shape->own_size);

	if (store->shifted == NULL)
		store->shifted = MemoryContextAlloc(
			store->context, size + OMEN_QUANT_SCRATCH(shape) * sizeof(float));
	if (hnsw->early == NULL)
		omen_quant_blank_own(store->quant, store->shifted);
	else
		omen_quant_shift_own(store->centred ? hnsw->early : hnsw->quant,
							 store->quant, own, store->shifted,
							 (float *) (store->shifted + size));
	return store->shifted;
}

/*
 * The pair code of an entry by the index's mean.  (One of the late mean that we do not
 * know of is still to come: what was read of the metapage is older.)
 */
void
omen_hnsw_entry_pair(const OmenHnswIndex *hnsw, OmenHnswEntry entry,
					 uint8 *pair)
{
	const OmenCodeShape *shape = &hnsw->meta.shape;
	bool		centred = (entry->flags & OMEN_ENTRY_CENTRED) != 0;
	float	   *scratch;

	if (likely(centred == (hnsw->early != NULL)))
		memcpy(pair, entry->pair, shape->pair_size);
	else if (centred)
		memset(pair, 0, shape->pair_size);
	else
	{
		scratch = palloc(OMEN_QUANT_SCRATCH(shape) * sizeof(float));
		omen_quant_shift_pair(hnsw->early, hnsw->quant, entry->pair, pair,
							  scratch);
		pfree(scratch);
	}
}
