/*-------------------------------------------------------------------------
 *
 * bm25_build.c
 *	  Bulk builds.
 *
 * NOTES
 *	  Rows are numbered as they come, block by block and within a block by TID,
 *	  and their terms put into an inverted index in memory.  Whenever that has
 *	  outgrown its share of maintenance_work_mem it is written to a temporary
 *	  file in the order of lexemes, a run.  In the end the runs are read side by
 *	  side: a term's postings are those of the first run that has it, then
 *	  those of the next, as documents of later runs have higher numbers.
 *
 *	  TIDs and lengths are in mapped temporary files, 10 bytes a row.
 *
 *	  Several processes read different blocks, each those it gets in ascending
 *	  order, and write a segment each; so nothing has to be merged.
 *
 *	  run:	for each term: uint16 length, lexeme, then for each posting varint
 *			gap (1 or more), varint frequency; 0
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "bm25/bm25_build.h"
#include "bm25/bm25_varint.h"
#include "storage/arena.h"
#include "storage/toast.h"
#include "storage/workers.h"

/* Memory of an inverted index is at least this, whatever is allowed */
#define LEAST_MEMORY	((Size) 1024 * 1024)

#define READ_BUFFER		(64 * 1024)

/* One row of the block that is being read */
typedef struct BuildRow
{
	ItemPointerData tid;
	TSVector	tsvector;
} BuildRow;

/* Postings of some documents, sorted by lexeme, in a temporary file */
typedef struct BuildRun
{
	BufFile    *file;
	uint64		size;
} BuildRun;

/* A run that is read back */
typedef struct RunReader
{
	BufFile    *file;
	uint64		left;			/* bytes of it that were not read yet */
	uint8	   *buffer;
	Size		at;
	Size		end;
	bool		has_term;
	uint16		len;
	char		lexeme[MAXSTRLEN + 1];
} RunReader;

typedef struct BuildState
{
	Relation	index;
	OmenTextUnits units;
	Size		budget;			/* of the inverter */

	/* rows of the block that is being read */
	MemoryContext block_context;
	BlockNumber block;
	int			nrows;
	BuildRow	rows[MaxHeapTuplesPerPage];

	uint32		ndocs;
	OmenArena  *tids;
	OmenArena  *lengths;
	MemoryContext inverter_context;
	OmenBm25Inverter *inverter;

	int			nruns;
	int			maxruns;
	BuildRun   *runs;
	uint32		last_doc;		/* of the run that is being written, plus one */
	bool		in_term;
	OmenBm25Writer *writer;
} BuildState;

static void add_row(Relation index, ItemPointer tid, Datum *values,
					bool *isnull, bool alive, void *arg);
static void end_block(BuildState *state);
static int	compare_rows(const void *a, const void *b);
static void add_doc(BuildState *state, const BuildRow *row);
static void write_run(BuildState *state);
static void put_term(void *arg, const char *lexeme, int len);
static void put_posting(void *arg, uint32 doc, uint16 tf);
static void end_term(BuildState *state);
static void put_bytes(BuildState *state, void *bytes, Size n);
static double publish_segments(const OmenBm25BuildShared *shared,
							   Relation index);
static void write_segment(BuildState *state, uint32 id,
						  OmenBm25SegmentEntryData *entry);
static void give_term(void *arg, const char *lexeme, int len);
static void give_posting(void *arg, uint32 doc, uint16 tf);
static void merge_runs(BuildState *state);
static void open_run(RunReader *reader, const BuildRun *run);
static void read_term(RunReader *reader);
static void copy_postings(BuildState *state, RunReader *reader);
static void fill_reader(RunReader *reader, Size need);
static uint32 read_number(RunReader *reader);

IndexBuildResult *
omen_bm25_build(Relation heap, Relation index, IndexInfo *info)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OmenBm25BuildShared *shared = palloc0(sizeof(*shared));
	int			nworkers = omen_build_workers(heap, index);
	OmenBm25Workers *workers = NULL;
	TableScanDesc scan = NULL;
	IndexBuildResult *result;
	double		rows;
	double		indexed;

	omen_lock_toast(heap, info);
	omen_bm25_forget(index);
	omen_bm25_write_empty(index, MAIN_FORKNUM);
	shared->heap = RelationGetRelid(heap);
	shared->index = RelationGetRelid(index);
	shared->concurrent = info->ii_Concurrent;
	nworkers = Min(nworkers, OMEN_BM25_MAX_PARTICIPANTS - 1);
	shared->nparticipants = nworkers + 1;
	shared->first_segment = 1;
	SpinLockInit(&shared->mutex);
	if (nworkers > 0)
		workers = omen_bm25_start_workers(&shared, heap, nworkers, &scan);
	if (workers == NULL)
		shared->nparticipants = 1;
	omen_bm25_build_participate(shared, heap, index, info, scan, 0);
	if (workers)
		omen_bm25_end_workers(workers, &shared);
	indexed = publish_segments(shared, index);
	rows = shared->rows;

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	result = palloc(sizeof(*result));
	result->heap_tuples = rows;
	result->index_tuples = indexed;
	return result;
}

void
omen_bm25_build_participate(OmenBm25BuildShared *shared, Relation heap,
							Relation index, IndexInfo *info,
							TableScanDesc scan, int participant)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 build participant",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BuildState *state = palloc0(sizeof(*state));
	OmenBm25SegmentEntryData entry = {0};
	double		rows;

	state->index = index;
	state->units = omen_bm25_units(index);
	state->budget = Max((Size) maintenance_work_mem * 1024 / 4 * 3 /
						shared->nparticipants, LEAST_MEMORY);
	state->block_context = AllocSetContextCreate(context,
												 "omenbm25 build block",
												 ALLOCSET_DEFAULT_SIZES);
	state->inverter_context = AllocSetContextCreate(context,
													"omenbm25 build terms",
													ALLOCSET_DEFAULT_SIZES);
	state->block = InvalidBlockNumber;
	state->tids = omen_arena_create(NULL, "tids");
	state->lengths = omen_arena_create(NULL, "lengths");
	MemoryContextSwitchTo(state->inverter_context);
	state->inverter = omen_bm25_inverter_create();
	MemoryContextSwitchTo(context);

	/*
	 * From the first block on, so that numbers ascend with TIDs.  A parallel
	 * scan is told so when it is set up, and wants true here.
	 */
	rows = table_index_build_scan(heap, index, info, scan != NULL,
								  participant == 0, add_row, state, scan);
	end_block(state);
	if (state->ndocs > 0)
		write_segment(state, shared->first_segment + participant, &entry);
	omen_arena_close(state->tids);
	omen_arena_close(state->lengths);

	SpinLockAcquire(&shared->mutex);
	shared->rows += rows;
	shared->entries[participant] = entry;
	SpinLockRelease(&shared->mutex);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Put the participants' segments into the directory; returns their documents */
static double
publish_segments(const OmenBm25BuildShared *shared, Relation index)
{
	OmenBm25MetaPageData *meta = palloc(sizeof(*meta));
	OmenBm25Space *space = palloc(sizeof(*space));
	OmenBm25SegmentEntryData entries[OMEN_BM25_MAX_PARTICIPANTS];
	OmenBm25Publish publish = {space, entries};
	double		ndocs = 0;

	for (int i = 0; i < shared->nparticipants; i++)
	{
		if (shared->entries[i].ndocs == 0)
			continue;
		entries[publish.nsegments++] = shared->entries[i];
		ndocs += shared->entries[i].ndocs;
	}
	omen_bm25_read_meta(index, meta);
	omen_bm25_space_begin(space, index, NULL, meta);
	if (publish.nsegments > 0)
		omen_bm25_publish(&publish);
	return ndocs;
}

void
omen_bm25_buildempty(Relation index)
{
	omen_bm25_write_empty(index, INIT_FORKNUM);
}

/* --- documents --- */

/* Within a block, rows come in the order of tuples, not of the TIDs they have */
static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull,
		bool alive, void *arg)
{
	BuildState *state = arg;
	MemoryContext old;
	BuildRow   *row;

	if (isnull[0])
		return;
	if (ItemPointerGetBlockNumber(tid) != state->block)
	{
		end_block(state);
		state->block = ItemPointerGetBlockNumber(tid);
	}
	if (state->nrows == MaxHeapTuplesPerPage)
		elog(ERROR, "too many rows in block %u", state->block);
	old = MemoryContextSwitchTo(state->block_context);
	if (alive || omen_toast_fetch_dead(index, values, isnull))
	{
		row = &state->rows[state->nrows++];
		row->tid = *tid;
		row->tsvector = (TSVector) PG_DETOAST_DATUM_COPY(values[0]);
	}
	MemoryContextSwitchTo(old);
}

static void
end_block(BuildState *state)
{
	MemoryContext old = MemoryContextSwitchTo(state->block_context);

	qsort(state->rows, state->nrows, sizeof(BuildRow), compare_rows);
	for (int i = 0; i < state->nrows; i++)
		add_doc(state, &state->rows[i]);
	state->nrows = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->block_context);
	if (omen_bm25_inverter_size(state->inverter) > state->budget)
		write_run(state);
}

static int
compare_rows(const void *a, const void *b)
{
	uint64		x = omen_tid_row(&((const BuildRow *) a)->tid);
	uint64		y = omen_tid_row(&((const BuildRow *) b)->tid);

	return (x > y) - (x < y);
}

static void
add_doc(BuildState *state, const BuildRow *row)
{
	OmenBm25Doc doc;

	if (state->ndocs >= OMEN_MAX_DOC)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" cannot have more than %u rows",
						RelationGetRelationName(state->index), OMEN_MAX_DOC),
				 errhint("Partition the table.")));
	omen_bm25_read_doc(row->tsvector, &state->units, &doc);
	omen_arena_append(state->tids, &row->tid, sizeof(row->tid));
	omen_arena_append(state->lengths, &doc.length, sizeof(doc.length));
	for (int i = 0; i < doc.nterms; i++)
		omen_bm25_inverter_add(state->inverter, state->ndocs,
							   doc.terms[i].lexeme, doc.terms[i].len,
							   doc.terms[i].hash, doc.terms[i].tf);
	state->ndocs++;
}

/* --- runs --- */

static void
write_run(BuildState *state)
{
	MemoryContext old = CurrentMemoryContext;

	if (state->nruns == state->maxruns)
	{
		state->maxruns = Max(2 * state->maxruns, 16);
		state->runs = state->runs == NULL ?
			palloc(state->maxruns * sizeof(BuildRun)) :
			repalloc(state->runs, state->maxruns * sizeof(BuildRun));
	}
	state->runs[state->nruns].file = BufFileCreateTemp(false);
	state->runs[state->nruns++].size = 0;
	state->in_term = false;
	omen_bm25_inverter_drain(state->inverter, put_term, put_posting, state);
	end_term(state);
	MemoryContextReset(state->inverter_context);
	MemoryContextSwitchTo(state->inverter_context);
	state->inverter = omen_bm25_inverter_create();
	MemoryContextSwitchTo(old);
}

static void
put_term(void *arg, const char *lexeme, int len)
{
	BuildState *state = arg;
	uint16		length = len;

	end_term(state);
	put_bytes(state, &length, sizeof(length));
	put_bytes(state, unconstify(char *, lexeme), len);
	state->in_term = true;
	state->last_doc = 0;
}

static void
put_posting(void *arg, uint32 doc, uint16 tf)
{
	BuildState *state = arg;
	uint8		bytes[2 * OMEN_VARINT_MAX];
	uint8	   *end;

	end = omen_varint_put(omen_varint_put(bytes, doc + 1 - state->last_doc),
						  tf);
	put_bytes(state, bytes, end - bytes);
	state->last_doc = doc + 1;
}

static void
end_term(BuildState *state)
{
	uint8		zero = 0;

	if (state->in_term)
		put_bytes(state, &zero, 1);
}

static void
put_bytes(BuildState *state, void *bytes, Size n)
{
	BuildRun   *run = &state->runs[state->nruns - 1];

	BufFileWrite(run->file, bytes, n);
	run->size += n;
}

/* --- the segment --- */

static void
write_segment(BuildState *state, uint32 id, OmenBm25SegmentEntryData *entry)
{
	OmenBm25MetaPageData *meta = palloc(sizeof(*meta));
	OmenBm25Space *space = palloc(sizeof(*space));

	if (state->nruns > 0)
		write_run(state);
	omen_arena_flush(state->tids);
	omen_arena_flush(state->lengths);
	omen_bm25_read_meta(state->index, meta);
	omen_bm25_space_begin(space, state->index, NULL, meta);
	state->writer = omen_bm25_writer_begin(space, id, state->ndocs,
										   omen_arena_map(state->tids),
										   omen_arena_map(state->lengths));
	if (state->nruns > 0)
		merge_runs(state);
	else
		omen_bm25_inverter_drain(state->inverter, give_term, give_posting,
								 state);
	omen_bm25_writer_finish(state->writer, entry);
	entry->level = omen_bm25_level(entry->npages);
	omen_bm25_space_settle(space);
}

static void
give_term(void *arg, const char *lexeme, int len)
{
	omen_bm25_writer_term(((BuildState *) arg)->writer, lexeme, len);
}

static void
give_posting(void *arg, uint32 doc, uint16 tf)
{
	omen_bm25_writer_posting(((BuildState *) arg)->writer, doc, tf);
}

static void
merge_runs(BuildState *state)
{
	RunReader  *readers = palloc0(state->nruns * sizeof(RunReader));

	for (int i = 0; i < state->nruns; i++)
		open_run(&readers[i], &state->runs[i]);
	for (;;)
	{
		RunReader  *least = NULL;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < state->nruns; i++)
		{
			if (readers[i].has_term &&
				(least == NULL ||
				 omen_bm25_compare_lexemes(readers[i].lexeme, readers[i].len,
										   least->lexeme, least->len) < 0))
				least = &readers[i];
		}
		if (least == NULL)
			break;
		omen_bm25_writer_term(state->writer, least->lexeme, least->len);

		/* those before the first that has it do not have it */
		for (RunReader *reader = least; reader < readers + state->nruns;
			 reader++)
		{
			if (reader != least &&
				(!reader->has_term || reader->len != least->len ||
				 memcmp(reader->lexeme, least->lexeme, least->len) != 0))
				continue;
			copy_postings(state, reader);
			if (reader != least)
				read_term(reader);
		}
		read_term(least);
	}
	for (int i = 0; i < state->nruns; i++)
		BufFileClose(state->runs[i].file);
}

static void
open_run(RunReader *reader, const BuildRun *run)
{
	reader->file = run->file;
	reader->left = run->size;
	reader->buffer = palloc(READ_BUFFER);
	if (BufFileSeek(run->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file: %m")));
	read_term(reader);
}

static void
read_term(RunReader *reader)
{
	fill_reader(reader, sizeof(uint16) + MAXSTRLEN);
	reader->has_term = reader->end > reader->at;
	if (!reader->has_term)
		return;
	memcpy(&reader->len, reader->buffer + reader->at, sizeof(uint16));
	reader->at += sizeof(uint16);
	memcpy(reader->lexeme, reader->buffer + reader->at, reader->len);
	reader->at += reader->len;
}

static void
copy_postings(BuildState *state, RunReader *reader)
{
	uint32		doc = 0;		/* the last one, plus one */
	uint32		gap;

	while ((gap = read_number(reader)) != 0)
	{
		doc += gap;
		omen_bm25_writer_posting(state->writer, doc - 1,
								 (uint16) read_number(reader));
	}
}

static uint32
read_number(RunReader *reader)
{
	uint32		value = 0;
	const uint8 *next;

	fill_reader(reader, OMEN_VARINT_MAX);
	next = omen_varint_get(reader->buffer + reader->at,
						   reader->buffer + reader->end, &value);
	if (next == NULL)
		elog(ERROR, "a run of the build ends early");
	reader->at = next - reader->buffer;
	return value;
}

/* See to it that so many bytes are there, unless the file ends before */
static void
fill_reader(RunReader *reader, Size need)
{
	Size		n;

	if (reader->end - reader->at >= need)
		return;
	memmove(reader->buffer, reader->buffer + reader->at,
			reader->end - reader->at);
	reader->end -= reader->at;
	reader->at = 0;
	n = Min(reader->left, READ_BUFFER - reader->end);
	omen_compat_read_file(reader->file, reader->buffer + reader->end, n);
	reader->end += n;
	reader->left -= n;
}
