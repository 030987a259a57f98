/*-------------------------------------------------------------------------
 *
 * graph_build_mail.c
 *	  Mail to nodes: what one stage finds out for lists of other nodes.
 *
 * A participant at work on some nodes learns things about others, anywhere
 * in the arena.  Were it to write them into the others' lists at once, an
 * arena larger than memory would be paged in and out for each node.  Instead,
 * letters are sorted by ranges of receivers: each range has a list of chunks,
 * which are filled in private memory, written to a file when full and, when
 * everybody has sent what there is to send, read once.  So lists are read and
 * written range by range, by one participant each, without locks.
 *
 * NOTES
 *	Each participant fills chunks of its own, one for each range at a time.  A
 *	chunk enters its range's list when it is begun; nobody looks at lists
 *	before all have finished sending and written their last chunks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* A chunk holds at least so many letters, or so many bytes */
#define CHUNK_LETTERS	16
#define CHUNK_BYTES		16384

static Size largest_letter(const OmenBuildArena *arena);
static OmenMailChunk *begin_chunk(OmenBuild *build, uint32 range);
static void write_chunk(OmenBuild *build, const OmenMailChunk *chunk);
static void write_last_chunks(OmenBuild *build);
static void deliver_range(OmenBuild *build, uint32 range,
						  void (*receive) (OmenBuild *, const OmenLetter *));
static uint32 count_ranges(const OmenBuild *build);
static void clear_inboxes(OmenBuild *build);

/* Choose ranges and chunks for the arena's parameters */
void
omen_mail_lay_out(OmenBuildArena *arena)
{
	Size		n = arena->params.n;

	arena->range_size = Max(OMEN_RANGE_SIZE,
							(n + OMEN_MAX_RANGES - 1) / OMEN_MAX_RANGES);
	arena->chunk_size = TYPEALIGN(CHUNK_BYTES, sizeof(OmenMailChunk) +
								  CHUNK_LETTERS * largest_letter(arena));
}

/* Bytes of the largest letter, in the whole set or in a scale of it */
static Size
largest_letter(const OmenBuildArena *arena)
{
	uint32		n = arena->params.n;
	int			keep = omen_build_leaf_keep(arena, n);

	keep = Max(keep, omen_build_leaf_keep(arena, Min(n, OMEN_SMALL_SET)));
	keep = Max(keep, omen_build_leaf_keep(arena, Min(n, OMEN_LEAF_MAX)));
	return sizeof(OmenLetter) +
		(Size) keep * OMEN_LEAF_ROOM * sizeof(uint64);
}

/* A chunk for each range, and one to read */
Size
omen_mail_scratch_size(const OmenBuildArena *arena)
{
	Size		ranges = arena->params.n / arena->range_size + 1;

	return (ranges + 1) * arena->chunk_size;
}

/*
 * What one stage sends: the candidates of every node from each cluster that
 * it joins, or an offer for each link
 */
uint64
omen_mail_size(const OmenBuildArena *arena)
{
	uint64		n = arena->params.n;
	Size		keep = omen_build_leaf_keep(arena, n);

	return n * Max(OMEN_TOP_FANOUT * (sizeof(OmenLetter) + keep *
									  OMEN_LEAF_ROOM * sizeof(uint64)),
				   arena->params.max_links *
				   (sizeof(OmenLetter) + sizeof(uint64)));
}

/* One participant's state */
void
omen_mail_attach(OmenBuild *build)
{
	build->outbox = (OmenMailChunk **)
		palloc0(count_ranges(build) * sizeof(OmenMailChunk *));
	build->inbox = (OmenMailChunk *) palloc(build->arena->chunk_size);
}

void
omen_mail_send(OmenBuild *build, uint32 node, const uint64 *keys, int nkeys)
{
	uint32		range = node / build->arena->range_size;
	Size		size = sizeof(OmenLetter) + nkeys * sizeof(uint64);
	OmenMailChunk *chunk = build->outbox[range];
	OmenLetter *letter;

	if (nkeys == 0)
		return;
	if (chunk == NULL || chunk->used + size > build->arena->chunk_size)
		chunk = begin_chunk(build, range);

	letter = (OmenLetter *) ((char *) chunk + chunk->used);
	letter->node = node;
	letter->nkeys = nkeys;
	memcpy(letter->keys, keys, nkeys * sizeof(uint64));
	chunk->used += size;
}

/* Write the range's full chunk, if any, and start its next one */
static OmenMailChunk *
begin_chunk(OmenBuild *build, uint32 range)
{
	OmenBuildArena *arena = build->arena;
	OmenMailChunk *chunk = build->outbox[range];

	if (chunk != NULL)
		write_chunk(build, chunk);
	else
		chunk = (OmenMailChunk *) palloc0(arena->chunk_size);
	chunk->number = pg_atomic_fetch_add_u32(&arena->next_chunk, 1);
	chunk->next = pg_atomic_exchange_u32(&arena->inbox[range], chunk->number);
	chunk->used = sizeof(OmenMailChunk);
	build->outbox[range] = chunk;
	return chunk;
}

static void
write_chunk(OmenBuild *build, const OmenMailChunk *chunk)
{
	Size		size = build->arena->chunk_size;

	build->team->write_mail(build->team->arg, chunk->number * size, chunk,
							size);
}

/*
 * When everybody has sent what there is to send: hand the letters out, range by
 * range, in no particular order, and call finish() (or NULL) after each range.
 * Neither function may send.  Called by all participants.
 */
void
omen_mail_deliver(OmenBuild *build,
				  void (*receive) (OmenBuild *, const OmenLetter *),
				  void (*finish) (OmenBuild *, uint32 range))
{
	uint32		range;
	uint32		end;

	write_last_chunks(build);
	omen_build_once(build, NULL);
	while (omen_build_claim(build, count_ranges(build), 1, &range, &end))
	{
		deliver_range(build, range, receive);
		if (finish)
			finish(build, range);
	}
	omen_build_once(build, clear_inboxes);
}

static void
write_last_chunks(OmenBuild *build)
{
	uint32		range;

	for (range = 0; range < count_ranges(build); range++)
	{
		if (build->outbox[range] == NULL)
			continue;
		write_chunk(build, build->outbox[range]);
		pfree(build->outbox[range]);
		build->outbox[range] = NULL;
	}
}

static void
deliver_range(OmenBuild *build, uint32 range,
			  void (*receive) (OmenBuild *, const OmenLetter *))
{
	Size		size = build->arena->chunk_size;
	uint32		number = pg_atomic_read_u32(&build->arena->inbox[range]);

	while (number != OMEN_NO_CHUNK)
	{
		OmenMailChunk *chunk = build->inbox;
		Size		at = sizeof(OmenMailChunk);

		build->team->read_mail(build->team->arg, number * size, chunk, size);
		while (at < chunk->used)
		{
			const OmenLetter *letter = (const OmenLetter *)
				((const char *) chunk + at);

			receive(build, letter);
			if (build->scale > 0)
				omen_build_tick(build, OMEN_FAR_ACCESS, 0);
			at += sizeof(OmenLetter) + letter->nkeys * sizeof(uint64);
		}
		number = chunk->next;
		omen_build_tick(build, size, 0);
	}
}

static uint32
count_ranges(const OmenBuild *build)
{
	return (build->n + build->arena->range_size - 1) /
		build->arena->range_size;
}

/* All mail has been read: its room can be used again */
static void
clear_inboxes(OmenBuild *build)
{
	uint32		range;

	for (range = 0; range < count_ranges(build); range++)
		pg_atomic_write_u32(&build->arena->inbox[range], OMEN_NO_CHUNK);
	pg_atomic_write_u32(&build->arena->next_chunk, 0);
}
