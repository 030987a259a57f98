/*-------------------------------------------------------------------------
 *
 * match.c
 *	  Boolean queries as sets of bits, a window of documents at a time.
 *
 * NOTES
 *	  A lossy operand holds for some of the documents that it finds.  So each
 *	  operand stands for two sets: of the documents for which it may hold
 *	  (the upper one), and of those for which it does (the lower one; empty
 *	  if the operand is lossy, for it does not say of which).  The upper set
 *	  of NOT is what the lower one of its operand leaves, and the other way
 *	  round.  What is asked for is the upper set of the query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "text/match.h"

#define WORDS	(OMEN_MATCH_WINDOW / 64)

/* Up to so many documents of a block are looked up, not the block unrolled */
#define FEW_DOCS	8

typedef struct Operand
{
	OmenMatchKind kind;
	bool		lossy;
	double		most;			/* documents that may meet it */

	/* a term that is there; else cursor is NULL */
	OmenSkips	skips;
	OmenCursor *cursor;
	uint32		block;			/* the first that reaches into the window */

	int			noperands;		/* the rarest first */
	struct Operand **operands;
} Operand;

struct OmenMatch
{
	MemoryContext context;
	Operand    *query;
	uint32		ndocs;
	const uint64 *allowed;
	bool		recheck;

	/* the window */
	uint32		start;			/* a multiple of 64 */
	uint32		end;
	uint32		nwords;
	uint64		words[WORDS];	/* documents found and not handed out */
	uint32		word;			/* none is in those before */
};

static Operand *form_operand(OmenMatch *match, const OmenMatchNode *node);
static void evaluate(OmenMatch *match, Operand *operand, bool upper,
					 const uint64 *within, uint64 *out);

/* --- a query --- */

OmenMatch *
omen_match_create(const OmenMatchNode *query, uint32 ndocs,
				  const uint64 *allowed)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "omendb text match", ALLOCSET_DEFAULT_SIZES);
	OmenMatch  *match = MemoryContextAllocZero(context, sizeof(OmenMatch));

	match->context = context;
	match->ndocs = ndocs;
	match->allowed = allowed;
	match->query = form_operand(match, query);
	return match;
}

void
omen_match_free(OmenMatch *match)
{
	MemoryContextDelete(match->context);
}

bool
omen_match_recheck(const OmenMatch *match)
{
	return match->recheck;
}

static void
form_term(OmenMatch *match, const OmenPostingList *list, Operand *operand)
{
	if (list->df == 0)
		return;
	omen_skips_open(&operand->skips, list, match->ndocs, match->context);
	operand->cursor = MemoryContextAlloc(match->context, sizeof(OmenCursor));
	omen_cursor_open(operand->cursor, &operand->skips);
	operand->most = list->df;
}

/* Put an operand among those before it, the rarest first */
static void
place_operand(Operand **operands, int at, Operand *operand)
{
	for (; at > 0 && operands[at - 1]->most > operand->most; at--)
		operands[at] = operands[at - 1];
	operands[at] = operand;
}

static Operand *
form_operand(OmenMatch *match, const OmenMatchNode *node)
{
	Operand    *operand = MemoryContextAllocZero(match->context,
												 sizeof(Operand));

	check_stack_depth();
	operand->kind = node->kind;
	operand->lossy = node->lossy;
	match->recheck = match->recheck || node->lossy;
	if (node->kind == OMEN_MATCH_TERM)
	{
		form_term(match, node->list, operand);
		return operand;
	}

	Assert(node->kind != OMEN_MATCH_NOT || node->noperands == 1);
	operand->noperands = node->noperands;
	operand->operands = MemoryContextAlloc(
		match->context, sizeof(Operand *) * Max(node->noperands, 1));
	for (int i = 0; i < node->noperands; i++)
		place_operand(operand->operands, i,
					  form_operand(match, node->operands[i]));

	operand->most = node->kind == OMEN_MATCH_OR ? 0 : match->ndocs;
	if (node->kind == OMEN_MATCH_AND && node->noperands > 0)
		operand->most = operand->operands[0]->most;
	if (node->kind == OMEN_MATCH_OR)
		for (int i = 0; i < node->noperands; i++)
			operand->most += operand->operands[i]->most;
	return operand;
}

/* --- where the next documents can be --- */

static uint32
next_of_term(OmenMatch *match, Operand *operand, uint32 doc)
{
	OmenCursor *cursor = operand->cursor;

	if (cursor == NULL)
		return match->ndocs;
	operand->block = omen_skips_find(&operand->skips, operand->block, doc);
	if (operand->block >= operand->skips.nblocks)
		return match->ndocs;
	if (cursor->block == operand->block)
	{
		int			place = omen_cursor_lower(cursor, doc);

		return place < cursor->n ? cursor->docs[place] : match->ndocs;
	}
	return Max(doc, omen_skips_first(&operand->skips, operand->block));
}

/*
 * No document from doc on, but before what is returned, meets the operand.
 * Min() and Max() would ask twice, and each operand below twice as often again.
 */
static uint32
next_possible(OmenMatch *match, Operand *operand, uint32 doc)
{
	uint32		next;

	check_stack_depth();
	switch (operand->kind)
	{
		case OMEN_MATCH_TERM:
			return next_of_term(match, operand, doc);
		case OMEN_MATCH_NOT:
			return doc;
		case OMEN_MATCH_AND:
			next = doc;
			for (int i = 0; i < operand->noperands; i++)
			{
				uint32		other = next_possible(match, operand->operands[i],
												  next);

				next = Max(next, other);
			}
			return next;
		case OMEN_MATCH_OR:
			next = match->ndocs;
			for (int i = 0; i < operand->noperands; i++)
			{
				uint32		other = next_possible(match, operand->operands[i],
												  doc);

				next = Min(next, other);
			}
			return next;
	}
	pg_unreachable();
}

/* --- a window --- */

static bool
is_empty(const OmenMatch *match, const uint64 *words)
{
	uint64		any = 0;

	for (uint32 i = 0; i < match->nwords; i++)
		any |= words[i];
	return any == 0;
}

/* How many of the documents from to end - 1, in the window, are in a set */
static uint32
count_within(const OmenMatch *match, const uint64 *words, uint32 from,
			 uint32 end)
{
	uint32		n = 0;

	from -= match->start;
	end -= match->start;
	while (from < end)
	{
		uint32		stop = Min(end, (from / 64 + 1) * 64);
		uint64		bits = words[from / 64] >> (from % 64);

		if (stop - from < 64)
			bits &= (UINT64CONST(1) << (stop - from)) - 1;
		n += pg_popcount64(bits);
		from = stop;
	}
	return n;
}

static inline void
set_bit(uint64 *words, uint32 place)
{
	words[place / 64] |= UINT64CONST(1) << (place % 64);
}

/* Those of the documents from to end - 1 in a set that the block has */
static void
look_up(const OmenMatch *match, const OmenCursor *cursor, uint32 from,
		uint32 end, const uint64 *within, uint64 *out)
{
	from -= match->start;
	end -= match->start;
	for (uint32 word = from / 64; word <= (end - 1) / 64; word++)
	{
		uint64		bits = within[word];

		while (bits != 0)
		{
			uint32		place = word * 64 + pg_rightmost_one_pos64(bits);
			uint32		doc = match->start + place;
			int			at;

			bits &= bits - 1;
			if (place < from || place >= end)
				continue;
			at = omen_cursor_lower(cursor, doc);
			if (at < cursor->n && cursor->docs[at] == doc)
				set_bit(out, place);
		}
	}
}

static void
unroll(const OmenMatch *match, const OmenCursor *cursor, uint64 *out)
{
	int			i = omen_cursor_lower(cursor, match->start);

	for (; i < cursor->n && cursor->docs[i] < match->end; i++)
		set_bit(out, cursor->docs[i] - match->start);
}

/* Blocks that none of the documents asked for can be in are not decoded */
static void
evaluate_term(OmenMatch *match, Operand *operand, const uint64 *within,
			  uint64 *out)
{
	OmenSkips  *skips = &operand->skips;
	OmenCursor *cursor = operand->cursor;
	uint64		found[WORDS] = {0};

	if (cursor != NULL)
	{
		operand->block = omen_skips_find(skips, operand->block, match->start);
		for (uint32 block = operand->block; block < skips->nblocks; block++)
		{
			uint32		from = Max(omen_skips_first(skips, block),
								   match->start);
			uint32		end = Min(omen_skips_last(skips, block) + 1,
								  match->end);
			uint32		n;

			if (from >= match->end)
				break;
			n = count_within(match, within, from, end);
			if (n == 0)
				continue;
			omen_cursor_load(cursor, block);
			if (n <= FEW_DOCS)
				look_up(match, cursor, from, end, within, found);
			else
				unroll(match, cursor, found);
		}
	}
	for (uint32 i = 0; i < match->nwords; i++)
		out[i] = found[i] & within[i];
}

static void
evaluate_or(OmenMatch *match, Operand *operand, bool upper,
			const uint64 *within, uint64 *out)
{
	uint64		rest[WORDS];
	uint64		found[WORDS];

	memcpy(rest, within, sizeof(uint64) * match->nwords);
	for (int i = operand->noperands - 1; i >= 0; i--)
	{
		evaluate(match, operand->operands[i], upper, rest, found);
		for (uint32 j = 0; j < match->nwords; j++)
			rest[j] &= ~found[j];
		if (is_empty(match, rest))
			break;
	}
	for (uint32 i = 0; i < match->nwords; i++)
		out[i] = within[i] & ~rest[i];
}

/* out = those within that are in the operand's set; out may be within */
static void
evaluate(OmenMatch *match, Operand *operand, bool upper, const uint64 *within,
		 uint64 *out)
{
	uint64		found[WORDS];

	check_stack_depth();
	if (operand->lossy && !upper)
	{
		memset(out, 0, sizeof(uint64) * match->nwords);
		return;
	}
	switch (operand->kind)
	{
		case OMEN_MATCH_TERM:
			evaluate_term(match, operand, within, out);
			break;
		case OMEN_MATCH_NOT:
			evaluate(match, operand->operands[0], !upper, within, found);
			for (uint32 i = 0; i < match->nwords; i++)
				out[i] = within[i] & ~found[i];
			break;
		case OMEN_MATCH_AND:
			memmove(out, within, sizeof(uint64) * match->nwords);
			for (int i = 0; i < operand->noperands; i++)
			{
				if (is_empty(match, out))
					break;
				evaluate(match, operand->operands[i], upper, out, out);
			}
			break;
		case OMEN_MATCH_OR:
			evaluate_or(match, operand, upper, within, out);
			break;
	}
}

/* The first allowed document from doc on, in whole words */
static uint32
next_allowed(const OmenMatch *match, uint32 doc)
{
	uint32		word = doc / 64;
	uint32		words = (match->ndocs + 63) / 64;

	while (word < words && match->allowed[word] == 0)
		word++;
	return Max(doc, word * 64);
}

/* Find the documents of the next window; false at the end */
static bool
next_window(OmenMatch *match)
{
	uint32		doc = match->end;

	CHECK_FOR_INTERRUPTS();
	doc = next_possible(match, match->query, doc);
	if (match->allowed != NULL && doc < match->ndocs)
		doc = next_allowed(match, doc);
	if (doc >= match->ndocs)
	{
		match->end = match->ndocs;
		return false;
	}

	match->start = doc / 64 * 64;
	match->end = Min(match->start + OMEN_MATCH_WINDOW, match->ndocs);
	match->nwords = (match->end - match->start + 63) / 64;
	match->word = 0;
	if (match->allowed != NULL)
		memcpy(match->words, match->allowed + match->start / 64,
			   sizeof(uint64) * match->nwords);
	else
		memset(match->words, 0xFF, sizeof(uint64) * match->nwords);
	if (match->end % 64 != 0)
		match->words[match->nwords - 1] &=
			(UINT64CONST(1) << (match->end % 64)) - 1;
	evaluate(match, match->query, true, match->words, match->words);
	return true;
}

int
omen_match_next(OmenMatch *match, uint32 *docs, int max)
{
	int			n = 0;

	while (n < max)
	{
		uint64	   *bits = &match->words[match->word];

		if (match->word >= match->nwords)
		{
			if (!next_window(match))
			{
				match->nwords = 0;
				break;
			}
			continue;
		}
		if (*bits == 0)
		{
			match->word++;
			continue;
		}
		docs[n++] = match->start + match->word * 64 +
			pg_rightmost_one_pos64(*bits);
		*bits &= *bits - 1;
	}
	return n;
}

uint32
omen_match_fill(OmenMatch *match, uint64 *bits)
{
	uint32		n = 0;

	memset(bits, 0, sizeof(uint64) * ((match->ndocs + 63) / 64));
	while (next_window(match))
	{
		memcpy(bits + match->start / 64, match->words,
			   sizeof(uint64) * match->nwords);
		n += count_within(match, match->words, match->start, match->end);
	}
	return n;
}
