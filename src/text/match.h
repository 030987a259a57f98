/*-------------------------------------------------------------------------
 *
 * match.h
 *	  Which documents meet a boolean query?
 *
 * Evaluated for windows of 4,096 documents as sets of bits: AND hands what is
 * left after each operand to the next one, the rarest first, so that blocks
 * of postings where nothing is left are not decoded; windows that no document
 * can be in are skipped.
 *
 * An operand may be lossy (a phrase, known only by the words in it): the
 * documents found are then a superset of those that match, under NOT as well,
 * and all have to be checked again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TEXT_MATCH_H
#define OMEN_TEXT_MATCH_H

#include "text/cursor.h"

#define OMEN_MATCH_WINDOW	4096

typedef enum OmenMatchKind
{
	OMEN_MATCH_TERM,			/* has the term */
	OMEN_MATCH_AND,				/* of any number of operands; none: all */
	OMEN_MATCH_OR,				/* none: no document */
	OMEN_MATCH_NOT				/* of one operand */
} OmenMatchKind;

/* The query as the caller gives it, for one segment */
typedef struct OmenMatchNode
{
	OmenMatchKind kind;
	bool		lossy;			/* may hold for fewer documents than it says */
	const OmenPostingList *list;	/* TERM: df = 0 is a term not there */
	int			noperands;
	struct OmenMatchNode **operands;
} OmenMatchNode;

typedef struct OmenMatch OmenMatch;

/*
 * Documents 0 to ndocs - 1 that meet the query and whose bit is set in allowed
 * (NULL: all).  Lives in a new child of the current memory context; the
 * nodes, lists and bits stay the caller's.
 */
extern OmenMatch *omen_match_create(const OmenMatchNode *query, uint32 ndocs,
									const uint64 *allowed);

extern void omen_match_free(OmenMatch *match);

/* Whether what is found has to be checked again */
extern bool omen_match_recheck(const OmenMatch *match);

/*
 * The next documents, ascending, each once: at most max, 0 at the end.
 */
extern int	omen_match_next(OmenMatch *match, uint32 *docs, int max);

/*
 * Set the bits of all documents, in (ndocs + 63) / 64 words, and clear the
 * others; returns how many there are.  Instead of omen_match_next.
 */
extern uint32 omen_match_fill(OmenMatch *match, uint64 *bits);

#endif							/* OMEN_TEXT_MATCH_H */
