/*-------------------------------------------------------------------------
 *
 * hnsw.h
 *	  In-memory side of the omenhnsw access method.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_H
#define OMEN_HNSW_H

#include "access/amapi.h"
#include "access/reloptions.h"
#include "nodes/execnodes.h"

#include "graph/allowset.h"
#include "graph/graph_search.h"
#include "hnsw/hnsw_key.h"
#include "hnsw/hnsw_page.h"
#include "storage/kept.h"
#include "storage/wal.h"
#include "types/sparsevec.h"
#include "types/typeinfo.h"

/* Support functions of an operator class */
#define OMEN_HNSW_DISTANCE_PROC		1
#define OMEN_HNSW_NORM_PROC			2
#define OMEN_HNSW_TYPE_PROC			3
#define OMEN_HNSW_INFO_PROC			4
#define OMEN_HNSW_NPROCS			4

/* Index options, bounds as pgvector's */
#define OMEN_HNSW_DEFAULT_M					16
#define OMEN_HNSW_MIN_M						2
#define OMEN_HNSW_MAX_M						100
#define OMEN_HNSW_DEFAULT_EF_CONSTRUCTION	64
#define OMEN_HNSW_MIN_EF_CONSTRUCTION		4
#define OMEN_HNSW_MAX_EF_CONSTRUCTION		1000
#define OMEN_HNSW_MAX_EF_SEARCH				1000

/* Longer vectors may come: the norm to reckon with, over the longest seen */
#define OMEN_NORM_MARGIN	1.2f

/* Own code of a sparse vector with as many elements as the type allows */
#define OMEN_HNSW_MAX_SPARSE_OWN \
	(sizeof(OmenSparsePayload) + \
	 OMEN_SPARSEVEC_MAX_NNZ * (sizeof(int32) + sizeof(float)))

typedef struct OmenHnswOptions
{
	int32		vl_len_;
	int			m;
	int			ef_construction;
	int			quantizer;		/* OmenQuantizerKind */
	int			ef_search;		/* 0: the setting's */
} OmenHnswOptions;

/* Where things lie in a slot; follows from the metapage */
typedef struct OmenHnswLayout
{
	int			nkeys;
	int			max_links;
	int			slots_per_page;
	Size		slot_size;
	Size		own_inline;
	Size		links;			/* offsets in the slot */
	Size		f_add;
	Size		f_rescale;
	Size		own;
	Size		codes;
	Size		link_size;		/* bytes of one link code */
	bool		factors;		/* links have f_add and f_rescale */
	int			list_tids;		/* TIDs that a TID list slot holds */
	int			entries_per_page;
} OmenHnswLayout;

/* Where a leaf of the TID map is: never changes once there is one */
typedef struct OmenTidMapPlace
{
	uint32		leaf;
	BlockNumber block;			/* 0: not known */
} OmenTidMapPlace;

/* A directory of the key column */
typedef struct OmenKeyDir
{
	BlockNumber block;			/* 0: there is none, or it is not known */
	OmenKeyDirPageData *copy;	/* as last read, or NULL */
	XLogRecPtr	lsn;			/* of the page then */
	int			npages;			/* that the copy names, */
	int			nnewer;			/* and of these, newer than the lists */
} OmenKeyDir;

/*
 * 4 kB, enough for most of the leaves of a million rows of 128 dimensions: an
 * UPDATE looks up its old TID, anywhere in the table, and reads three pages more
 * where the leaf is not known.
 */
#define OMEN_TIDMAP_CACHE	512

/*
 * An index as this backend knows it.  Lives in a child of the relation's
 * rd_indexcxt; see storage/kept.h for how long.
 */
typedef struct OmenHnswIndex
{
	OmenKept	kept;			/* must be first */
	OmenHnswMetaPageData meta;	/* as of then; counters may be old */
	OmenHnswLayout layout;
	const OmenOpclassInfo *opclass;
	OmenQuantizer *quant;		/* of new codes */
	OmenQuantizer *early;		/* of those before the late mean, or NULL */
	bool		is_mean_settled;	/* see omen_hnsw_hold_mean() */
	OmenBufferHints hints;
	OmenBufferHints heap_hints; /* of the table's blocks */
	OmenTidMapPlace tidmap[OMEN_TIDMAP_CACHE];	/* by leaf, modulo its size */

	MemoryContext entry_context;
	uint32		nentries;
	uint32		entry_epoch;
	BlockNumber entry_nblocks;	/* size of the index when they were read */
	OmenLink   *entry_links;
	uint8	   *entry_pairs;	/* NULL if entries carry no codes */
	Size		pair_stride;

	OmenKeyDir *key_dirs;		/* OMEN_KEYDIRS of them, NULL until needed */
	uint64	   *list_heads;		/* of key lists, NULL until needed */

	uint8	   *range_centres;	/* NULL until omen_range_load() */
	const uint32 *range_starts; /* behind them */
	OmenQuantizer range_quant;	/* of range codes */
	uint32		range_codes_per_page;
} OmenHnswIndex;

/* A value to be indexed or searched for */
typedef struct OmenHnswValue
{
	const void *payload;		/* see quant.h */
	Size		size;
} OmenHnswValue;

/* hnsw_handler.c, hnsw_options.c, hnsw_validate.c, hnsw_cost.c */
extern void omen_hnsw_init(void);
extern bytea *omen_hnsw_options(Datum reloptions, bool validate);
extern OmenHnswOptions omen_hnsw_get_options(Relation index);
extern bool omen_hnsw_validate(Oid opclass);
extern void omen_hnsw_costestimate(PlannerInfo *root, IndexPath *path,
								   double loop_count, Cost *startup_cost,
								   Cost *total_cost, Selectivity *selectivity,
								   double *correlation, double *pages);

/* hnsw_meta.c: the index as a whole */
extern const OmenOpclassInfo *omen_hnsw_opclass(Relation index);
extern void omen_hnsw_choose_layout(OmenHnswMetaPageData *meta,
									Size typical_own);
extern void omen_hnsw_layout(const OmenHnswMetaPageData *meta,
							 OmenHnswLayout *layout);
extern uint32 omen_hnsw_entry_capacity(const OmenHnswMetaPageData *meta);
extern OmenHnswIndex *omen_hnsw_open(Relation index);
extern void omen_hnsw_forget(Relation index);
extern void omen_hnsw_check_meta(Relation index,
								 const OmenHnswMetaPageData *meta);
extern uint32 omen_hnsw_hash_codebook(const OmenQuantizer *quant);
extern void *omen_hnsw_read_data(Relation index, BlockNumber block, Size size);
extern void omen_hnsw_read_meta(Relation index, OmenHnswMetaPageData *meta);
extern void omen_hnsw_refresh_entries(Relation index, OmenHnswIndex *hnsw);
extern void omen_hnsw_drop_entries(OmenHnswIndex *hnsw);
extern void omen_hnsw_reload_entries(Relation index, OmenHnswIndex *hnsw);
extern void omen_hnsw_raise_norm(Relation index, OmenHnswIndex *hnsw,
								 float norm2);
extern void omen_hnsw_set_relinking(Relation index, bool relinking,
									double rows);

/*
 * hnsw_mean.c: the mean of an index that was built on fewer rows than this, which
 * is taken when it has so many nodes
 */
#define OMEN_MEAN_ROWS		32
extern bool omen_hnsw_may_have_late_mean(const OmenHnswMetaPageData *meta);
extern bool omen_hnsw_awaits_mean(const OmenHnswIndex *hnsw);
extern void omen_hnsw_learn_mean(Relation index, OmenHnswIndex *hnsw,
								 const OmenHnswMetaPageData *meta);
extern bool omen_hnsw_hold_mean(Relation index, OmenHnswIndex *hnsw);
extern void omen_hnsw_release_mean(Relation index);
extern void omen_hnsw_offer_mean(Relation index, Relation heap,
								 OmenHnswIndex *hnsw, const void *payload);
extern void omen_hnsw_entry_pair(const OmenHnswIndex *hnsw,
								   OmenHnswEntry entry, uint8 *pair);

/* hnsw_recentre.c */
extern void omen_hnsw_recentre(Relation index, Relation heap,
							   OmenHnswIndex *hnsw);

/* hnsw_value.c: from datums to payloads */
extern bool omen_hnsw_form_value(const OmenOpclassInfo *opclass, uint32 dims,
								 Datum datum, OmenHnswValue *value);

/* How many dimensions a value has, whatever the column's */
extern uint32 omen_hnsw_value_dims(const OmenOpclassInfo *opclass, Datum datum);

extern float omen_hnsw_norm2(OmenElementType element, uint32 dims,
							 const void *payload);

/*
 * hnsw_entry.c: the list of entry nodes.  A walk starts from so many of them, by inner
 * product more (hnsw_entry_choose.c), and so many at most are looked for.
 */
#define OMEN_ENTRY_SEEDS	4
#define OMEN_IP_SEEDS		16
#define OMEN_NEAR_ENTRIES	32

static inline int
omen_hnsw_entry_seeds(const OmenHnswIndex *hnsw)
{
	return hnsw->meta.shape.metric == OMEN_METRIC_IP ? OMEN_IP_SEEDS :
		OMEN_ENTRY_SEEDS;
}

extern void omen_hnsw_seed(const OmenHnswIndex *hnsw, OmenQuery *query,
						   OmenSearch *search);
extern void omen_hnsw_seed_all(const OmenHnswIndex *hnsw, OmenSearch *search);
extern int	omen_hnsw_near_entries(const OmenHnswIndex *hnsw,
								   OmenQuery *query, OmenHeard *near, int max);
extern double omen_hnsw_share_within(Relation index, Datum query,
									 double distance);
extern void omen_hnsw_offer_entry(Relation index, OmenHnswIndex *hnsw,
								  OmenLink link, int level,
								  const uint8 *pair);
extern void omen_hnsw_make_entry(Relation index, OmenHnswIndex *hnsw,
								 OmenLink link, int level, const uint8 *pair);
extern void omen_hnsw_replace_entry(Relation index, OmenHnswIndex *hnsw,
									OmenLink old, OmenLink heir,
									const uint8 *pair);
extern void omen_hnsw_replace_entries(Relation index, OmenHnswIndex *hnsw,
									  bool (*is_dead) (void *arg, OmenLink),
									  void *arg);

/*
 * hnsw_entry_choose.c: those that a build makes entries; by inner product, the place
 * in the list that a new node takes, or 0
 */
typedef void (*OmenEntryTick) (void *arg);

extern void omen_hnsw_choose_entries(const OmenQuantizer *quant,
									 OmenBuild *build, uint32 n,
									 uint32 nentries, uint32 start,
									 OmenEntryTick tick, void *arg,
									 uint32 *entries);
extern uint32 omen_hnsw_choose_replaced(const OmenHnswIndex *hnsw,
										const uint8 *pair);

/* hnsw_store.c: nodes on pages */
typedef struct OmenHnswStore
{
	Relation	index;
	OmenHnswIndex *hnsw;
	MemoryContext context;		/* holds the work areas */
	const OmenQuery *query;		/* what visits measure distances to */
	const OmenQuantizer *quant; /* of the query, and of codes as they are returned */
	bool		centred;		/* they are by the late mean */
	const OmenAllowSet *allow;	/* NULL: all nodes are */
	bool		keep_pairs;		/* visits return pair codes */
	const uint8 *wanted;		/* visits stop at a live node of this own code */
	uint32		wanted_bytes;
	const OmenHnswKeys *wanted_keys;	/* and of these keys */
	BlockNumber nblocks;		/* size of the relation, at least */
	struct omen_numberset_hash *scored; /* without link codes: neighbours
										 * scored before */
	uint8	   *own;			/* work area for codes in chains */
	Size		own_size;
	uint8	   *shifted;		/* and for those of the other kind, or NULL */
	uint64		ndistances;		/* codes compared with the query so far */
} OmenHnswStore;

extern const OmenGraphOps omen_hnsw_graph_ops;

extern void omen_hnsw_store_init(OmenHnswStore *store, Relation index,
								 OmenHnswIndex *hnsw, const OmenQuery *query);
extern Buffer omen_hnsw_read_slot(OmenHnswStore *store, OmenLink link,
								  OmenLockMode mode, OmenHnswSlot *slot);
extern Buffer omen_hnsw_read_block(OmenHnswStore *store, OmenLink link,
								   OmenLockMode mode);
extern OmenHnswSlot omen_hnsw_find_slot(OmenHnswStore *store, Buffer buffer,
										OmenLink link);
extern bool omen_hnsw_has_block(OmenHnswStore *store, BlockNumber block);

static inline BlockNumber
omen_hnsw_link_block(const OmenHnswStore *store, OmenLink link)
{
	return omen_link_number(link) / store->hnsw->layout.slots_per_page;
}

extern OmenLink omen_hnsw_find_link(OmenHnswStore *store, uint32 number);
extern bool omen_hnsw_allows(const OmenHnswStore *store, uint32 number,
							 OmenHnswSlot slot, bool *recheck);
extern void omen_hnsw_check_slot(Relation index, const OmenHnswIndex *hnsw,
								 Buffer buffer, OmenHnswSlot slot);
extern void omen_hnsw_check_slots(Relation index, const OmenHnswIndex *hnsw,
								  Buffer buffer);
extern const char *omen_hnsw_find_slot_fault(const OmenHnswIndex *hnsw,
											 Page page, OmenHnswSlot slot);
extern OmenHnswSlot omen_hnsw_page_slot(const OmenHnswLayout *layout,
										Page page, int position);
extern const uint8 *omen_hnsw_slot_own(OmenHnswStore *store, Buffer buffer,
									   OmenHnswSlot slot);
extern const uint8 *omen_hnsw_stored_own(OmenHnswStore *store, Buffer buffer,
										 OmenHnswSlot slot);
extern const uint8 *omen_hnsw_shift_own(OmenHnswStore *store,
										OmenHnswSlot slot, const uint8 *own);
extern bool omen_hnsw_read_pair(OmenHnswStore *store, OmenLink link,
								uint8 **pair, Size *size);
extern void omen_hnsw_prefetch_own(OmenHnswStore *store, OmenLink link);
extern int	omen_hnsw_copy_links(OmenHnswStore *store, OmenLink link,
								 OmenLink *links);
extern int	omen_hnsw_read_tids(OmenHnswStore *store, OmenLink node,
								OmenLink first, ItemPointerData **tids);

/* TIDs of list slots, added up; starts as zeros */
typedef struct OmenTidList
{
	ItemPointerData *tids;
	Size		n;
	Size		room;
} OmenTidList;

extern void omen_hnsw_add_tids(OmenTidList *list, OmenHnswSlot slot);
extern OmenLink omen_hnsw_list_head(OmenHnswStore *store, OmenLink node);

/* A walk along a TID list, to notice one without end; starts as OMEN_LIST_GUARD */
typedef struct OmenListGuard
{
	OmenLink	mark;
	uint32		steps;			/* since the mark was set */
	uint32		limit;
} OmenListGuard;

#define OMEN_LIST_GUARD		{OMEN_LINK_INVALID, 0, 1}

extern void omen_hnsw_guard_list(Relation index, const OmenHnswIndex *hnsw,
								 OmenListGuard *guard, OmenLink link);

static inline uint64 *
omen_slot_keys(OmenHnswSlot slot)
{
	return (uint64 *) ((char *) slot + OMEN_SLOT_HEADER);
}

static inline OmenLink *
omen_slot_links(const OmenHnswLayout *layout, OmenHnswSlot slot)
{
	return (OmenLink *) ((char *) slot + layout->links);
}

static inline float *
omen_slot_f_add(const OmenHnswLayout *layout, OmenHnswSlot slot)
{
	return (float *) ((char *) slot + layout->f_add);
}

static inline float *
omen_slot_f_rescale(const OmenHnswLayout *layout, OmenHnswSlot slot)
{
	return (float *) ((char *) slot + layout->f_rescale);
}

static inline uint8 *
omen_slot_own(const OmenHnswLayout *layout, OmenHnswSlot slot)
{
	return (uint8 *) slot + layout->own;
}

static inline uint8 *
omen_slot_codes(const OmenHnswLayout *layout, OmenHnswSlot slot)
{
	return (uint8 *) slot + layout->codes;
}

static inline ItemPointerData *
omen_slot_list(OmenHnswSlot slot)
{
	return (ItemPointerData *) ((char *) slot + OMEN_SLOT_HEADER);
}

/* hnsw_slot.c: changes to slots on page copies, for insert, vacuum, build */
extern void omen_slot_set_keys(const OmenHnswLayout *layout, OmenHnswSlot slot,
							   const OmenHnswKeys *keys);
extern bool omen_slot_has_keys(const OmenHnswLayout *layout,
							   OmenHnswSlot slot, const OmenHnswKeys *keys);

typedef struct OmenHnswEdge
{
	OmenLink	link;
	float		f_add;
	float		f_rescale;
	uint8	   *code;			/* link_size bytes */
} OmenHnswEdge;

extern void omen_hnsw_encode_edge(const OmenQuantizer *quant,
								  const uint8 *centre,
								  const uint8 *neighbour, OmenHnswEdge *edge,
								  float *scratch);
extern void omen_slot_set_edge(const OmenHnswLayout *layout, OmenHnswSlot slot,
							   int at, const OmenHnswEdge *edge);
extern bool omen_slot_has_link(const OmenHnswLayout *layout,
							   OmenHnswSlot slot, OmenLink link);
extern void omen_slot_add_local(const OmenHnswLayout *layout,
								OmenHnswSlot slot, const OmenHnswEdge *edge);
extern void omen_slot_add_scale(const OmenHnswLayout *layout,
								OmenHnswSlot slot, const OmenHnswEdge *edge);
extern void omen_slot_remove_edge(const OmenHnswLayout *layout,
								  OmenHnswSlot slot, int at);

/*
 * hnsw_store.c again: a node's links and pair code, in the current memory context.
 * Returns false if there is no such node any more.
 */
typedef struct OmenHnswNodeCopy
{
	OmenLink	link;
	int			nlinks;
	int			nscale;
	OmenLink	links[OMEN_MAX_LINKS];
	uint8	   *pair;
	Size		pair_size;
} OmenHnswNodeCopy;

extern bool omen_hnsw_copy_node(OmenHnswStore *store, OmenLink link,
								OmenHnswNodeCopy *node);

/* hnsw_put.c: a link that a node is to get */
typedef struct OmenHnswPut
{
	OmenLink	node;			/* who gets it */
	OmenLink	victim;			/* what may go for it, or OMEN_LINK_INVALID */
	OmenHnswEdge edge;
} OmenHnswPut;

extern int	omen_hnsw_put_links(OmenHnswStore *store, OmenHnswPut *puts, int n,
								const OmenLink *others, int nothers);

/*
 * hnsw_alloc.c: room for slots, chains, other pages.  A slot is taken in three
 * steps: begin finds and locks one and tells its number; edit starts the WAL
 * record and gives the slot to fill, which has neither TIDs nor links, but maybe
 * what another node left; finish writes it and releases the page.
 */
typedef struct OmenHnswSlotWriter
{
	Relation	index;
	OmenHnswIndex *hnsw;
	Buffer		buffer;
	int			position;
	uint32		number;
	uint8		version;
	OmenPageEdit edit;
} OmenHnswSlotWriter;

extern void omen_hnsw_begin_slot(Relation index, OmenHnswIndex *hnsw,
								 OmenHnswSlotWriter *writer);
extern OmenHnswSlot omen_hnsw_edit_slot(OmenHnswSlotWriter *writer);
extern OmenLink omen_hnsw_finish_slot(OmenHnswSlotWriter *writer);

/*
 * Free a slot on a page copy: its version changes, its header vanishes.  The rest
 * stays, as to log zeros would be half of a vacuum's WAL.
 */
extern void omen_hnsw_free_slot(Page page, OmenHnswSlot slot);
extern void omen_hnsw_record_space(Relation index, OmenHnswIndex *hnsw,
								   BlockNumber block, int used);
extern BlockNumber omen_hnsw_write_chain(Relation index, OmenHnswIndex *hnsw,
										 uint32 owner, const uint8 *rest,
										 Size size);

/* hnsw_scan.c */

/*
 * Set by the layer above: rows that a query wants of a scan that looks at "ef"
 * candidates first, 0 if unknown
 */
extern int	(*omen_hnsw_rows_wanted) (IndexScanDesc scan, int ef);

extern IndexScanDesc omen_hnsw_beginscan(Relation index, int nkeys,
										 int norderbys);
extern void omen_hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys,
							 ScanKey orderbys, int norderbys);
extern bool omen_hnsw_gettuple(IndexScanDesc scan, ScanDirection direction);
extern void omen_hnsw_endscan(IndexScanDesc scan);

/* hnsw_insert.c */

/*
 * Set by the layer above: true and the TID of the row in whose place an UPDATE
 * puts the one that is about to be inserted, if it is an UPDATE and that is
 * known.  "info" is what the insertion was called with.
 */
extern bool (*omen_hnsw_replaced_row)(Relation heap, const IndexInfo *info,
									   ItemPointer replaced);

extern bool omen_hnsw_insert(Relation index, Datum *values, bool *isnull,
							 ItemPointer tid, Relation heap,
							 IndexUniqueCheck check, bool unchanged,
							 IndexInfo *info);

/* hnsw_connect.c */
extern void omen_hnsw_connect(Relation index, OmenHnswIndex *hnsw,
							  BufferAccessStrategy strategy);

/* hnsw_vacuum_lists.c: lists of TIDs, from a link to their first slot on */
extern OmenLink omen_hnsw_shorten_list(Relation index, OmenHnswIndex *hnsw,
									   OmenLink list);
extern OmenLink omen_hnsw_next_list_slot(Relation index, OmenHnswIndex *hnsw,
										 OmenLink link);

/* hnsw_relink.c: what vacuum knows of nodes when it has marked the DELETED ones */
typedef struct OmenVacuumNodes
{
	BlockNumber nblocks;		/* that it passes over */
	uint32		nlive;			/* live nodes there, at most, */
	uint64		own_bytes;		/* their own codes, each MAXALIGNed, */
	uint32		ninserted;		/* and how many of them were inserted */
	double		nrows;			/* that are left */
	bool		(*is_deleted) (void *arg, OmenLink link);
	void	   *arg;
} OmenVacuumNodes;

extern void omen_hnsw_relink(Relation index, OmenHnswIndex *hnsw,
							 BufferAccessStrategy strategy,
							 const OmenVacuumNodes *vacuum);

/* hnsw_repair.c */
extern void omen_hnsw_repair_page(OmenHnswStore *store,
								  const OmenVacuumNodes *vacuum, Buffer buffer,
								  OmenPageKind kind);

/* hnsw_build.c */
extern void omen_hnsw_init_meta(Relation index, const OmenOpclassInfo *opclass,
								OmenHnswMetaPageData *meta);
extern IndexBuildResult *omen_hnsw_build(Relation heap, Relation index,
										 IndexInfo *info);
extern void omen_hnsw_buildempty(Relation index);
extern char *omen_hnsw_buildphasename(int64 phase);

/* hnsw_vacuum.c */
extern IndexBulkDeleteResult *omen_hnsw_bulkdelete(IndexVacuumInfo *info,
												   IndexBulkDeleteResult *stats,
												   IndexBulkDeleteCallback callback,
												   void *callback_state);
extern IndexBulkDeleteResult *omen_hnsw_vacuumcleanup(IndexVacuumInfo *info,
													  IndexBulkDeleteResult *stats);

#endif							/* OMEN_HNSW_H */
