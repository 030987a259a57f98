/*-------------------------------------------------------------------------
 *
 * graph_build_mail.c
 *	  Mail to nodes: what one stage finds out for lists of other nodes.
 *
 * A participant at work on some nodes learns things about others, anywhere
 * in the arena.  Were it to write them into the others' lists at once, an
 * arena larger than memory would be paged in and out for each node.  Instead,
 * letters are sorted by ranges of receivers: each range has a list of chunks,
 * which are filled from front to back and, when everybody has sent what there
 * is to send, read once.  So lists are read and written range by range, by one
 * participant each, without locks.
 *
 * NOTES
 *	Each participant fills chunks of its own.  A chunk enters its range's list
 *	when it is begun; nobody looks at lists before all have finished sending.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "graph/graph_build.h"

/* A chunk holds at least so many letters, or so many bytes */
#define CHUNK_LETTERS	16
#define CHUNK_BYTES		16384

static Size largest_letter(const OmenBuildArena *arena, uint32 n);
static Size most_mail(const OmenBuildArena *arena);
static OmenMailChunk *mail_chunk(const OmenBuild *build, uint32 number);
static OmenMailChunk *begin_chunk(OmenBuild *build, uint32 range);
static void deliver_range(OmenBuild *build, uint32 range,
						  void (*receive) (OmenBuild *, const OmenLetter *));
static uint32 count_ranges(const OmenBuild *build);
static void forget_outbox(OmenBuild *build);
static void clear_inboxes(OmenBuild *build);

/*
 * Choose ranges and chunks for the arena's parameters.  Returns the bytes of
 * all chunks that one stage can fill: every chunk but those at the end of a
 * participant's mail to a range has no room left for the largest letter.
 */
Size
omen_mail_lay_out(OmenBuildArena *arena)
{
	Size		n = arena->params.n;
	Size		letter = largest_letter(arena, n);
	Size		filled;
	Size		ranges;

	arena->range_size = Max(OMEN_RANGE_SIZE,
							(n + OMEN_MAX_RANGES - 1) / OMEN_MAX_RANGES);
	arena->chunk_size = TYPEALIGN(CHUNK_BYTES, sizeof(OmenMailChunk) +
								  CHUNK_LETTERS * letter);
	filled = arena->chunk_size - sizeof(OmenMailChunk) - letter;
	ranges = (n + arena->range_size - 1) / arena->range_size;
	arena->nchunks = most_mail(arena) / filled +
		ranges * arena->params.nparticipants;
	return (Size) arena->nchunks * arena->chunk_size;
}

/* Bytes of the largest letter, in a scale of n nodes or a smaller one */
static Size
largest_letter(const OmenBuildArena *arena, uint32 n)
{
	int			keep = omen_build_leaf_keep(arena, n);

	keep = Max(keep, omen_build_leaf_keep(arena, Min(n, OMEN_SMALL_SET)));
	keep = Max(keep, omen_build_leaf_keep(arena, Min(n, OMEN_LEAF_MAX)));
	return sizeof(OmenLetter) +
		(Size) keep * OMEN_LEAF_ROOM * sizeof(uint64);
}

/*
 * Bytes of letters that one stage can send: the candidates of the nodes of a
 * scale from each cluster they join, or an offer for each link.
 */
static Size
most_mail(const OmenBuildArena *arena)
{
	const uint32 sizes[] = {arena->params.n, OMEN_SMALL_SET, OMEN_LEAF_MAX};
	Size		most = (Size) arena->params.n * arena->params.max_links *
		(sizeof(OmenLetter) + sizeof(uint64));
	int			i;

	for (i = 0; i < lengthof(sizes); i++)
	{
		Size		n = Min(sizes[i], arena->params.n);
		Size		keep = omen_build_leaf_keep(arena, n);

		most = Max(most, n * OMEN_TOP_FANOUT *
				   (sizeof(OmenLetter) +
					keep * OMEN_LEAF_ROOM * sizeof(uint64)));
	}
	return most;
}

/* One participant's state */
void
omen_mail_attach(OmenBuild *build)
{
	build->outbox = (uint32 *) palloc(count_ranges(build) * sizeof(uint32));
	forget_outbox(build);
}

void
omen_mail_send(OmenBuild *build, uint32 node, const uint64 *keys, int nkeys)
{
	uint32		range = node / build->arena->range_size;
	Size		size = sizeof(OmenLetter) + nkeys * sizeof(uint64);
	OmenMailChunk *chunk = NULL;
	OmenLetter *letter;

	if (nkeys == 0)
		return;
	if (build->outbox[range] != OMEN_NO_CHUNK)
		chunk = mail_chunk(build, build->outbox[range]);
	if (chunk == NULL || chunk->used + size > build->arena->chunk_size)
		chunk = begin_chunk(build, range);

	letter = (OmenLetter *) ((char *) chunk + chunk->used);
	letter->node = node;
	letter->nkeys = nkeys;
	memcpy(letter->keys, keys, nkeys * sizeof(uint64));
	chunk->used += size;
}

static OmenMailChunk *
mail_chunk(const OmenBuild *build, uint32 number)
{
	return (OmenMailChunk *) (build->chunks +
							  (Size) number * build->arena->chunk_size);
}

static OmenMailChunk *
begin_chunk(OmenBuild *build, uint32 range)
{
	OmenBuildArena *arena = build->arena;
	uint32		number = pg_atomic_fetch_add_u32(&arena->next_chunk, 1);
	OmenMailChunk *chunk = mail_chunk(build, number);

	Assert(number < arena->nchunks);
	chunk->next = pg_atomic_exchange_u32(&arena->inbox[range], number);
	chunk->used = sizeof(OmenMailChunk);
	build->outbox[range] = number;
	return chunk;
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

	omen_build_once(build, NULL);
	while (omen_build_claim(build, count_ranges(build), 1, &range, &end))
	{
		deliver_range(build, range, receive);
		if (finish)
			finish(build, range);
	}
	forget_outbox(build);
	omen_build_once(build, clear_inboxes);
}

static void
deliver_range(OmenBuild *build, uint32 range,
			  void (*receive) (OmenBuild *, const OmenLetter *))
{
	uint32		number = pg_atomic_read_u32(&build->arena->inbox[range]);

	while (number != OMEN_NO_CHUNK)
	{
		const OmenMailChunk *chunk = mail_chunk(build, number);
		Size		at = sizeof(OmenMailChunk);

		while (at < chunk->used)
		{
			const OmenLetter *letter = (const OmenLetter *)
				((const char *) chunk + at);

			receive(build, letter);
			at += sizeof(OmenLetter) + letter->nkeys * sizeof(uint64);
		}
		number = chunk->next;
		omen_build_tick(build, build->arena->chunk_size, 0);
	}
}

static uint32
count_ranges(const OmenBuild *build)
{
	return (build->n + build->arena->range_size - 1) /
		build->arena->range_size;
}

static void
forget_outbox(OmenBuild *build)
{
	memset(build->outbox, 0xFF, count_ranges(build) * sizeof(uint32));
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
