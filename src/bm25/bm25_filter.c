/*-------------------------------------------------------------------------
 *
 * bm25_filter.c
 *	  Which documents meet a tsquery, as far as the index can tell?
 *
 * The index has neither positions nor their classes: a phrase is met, perhaps,
 * by all documents with its lexemes, and so is a lexeme of given classes.  The
 * server then checks the rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tsearch/ts_utils.h"

#include "bm25/bm25_view.h"
#include "text/match.h"

/* Lexemes of a segment that a prefix is looked up by; else all rows pass */
#define MAX_EXPANSION	10000

typedef struct FilterState
{
	OmenBm25View *view;
	OmenBm25ViewSegment *segment;
	TSQuery		filter;
} FilterState;

typedef struct ItemsState
{
	TSQuery		filter;
	const bool *present;
} ItemsState;

static TSTernaryValue check_item(void *arg, QueryOperand *operand,
								 ExecPhraseData *data);
static OmenMatchNode *make_node(FilterState *state, int item, bool in_phrase);
static OmenMatchNode *make_operator(FilterState *state, int item,
									bool in_phrase);
static int	count_operands(TSQuery filter, int item, int8 oper);
static void add_operands(FilterState *state, int item, int8 oper,
						 bool in_phrase, OmenMatchNode *node);
static OmenMatchNode *make_inner(OmenMatchKind kind, int noperands);
static OmenMatchNode *make_term(FilterState *state, const char *lexeme,
								int len);
static OmenMatchNode *make_prefix(FilterState *state, const char *lexeme,
								  int len);
static OmenMatchNode *make_list(FilterState *state,
								const OmenBm25Entry *entry);
static bool collect_or(TSQuery filter, int item, int nterms,
					   const OmenBm25QueryTerm *terms, bool *seen);

OmenBm25Match
omen_bm25_match_items(TSQuery filter, const bool *present)
{
	ItemsState	state = {filter, present};

	if (filter->size == 0)
		return OMEN_BM25_NO;
	switch (TS_execute_ternary(GETQUERY(filter), &state,
							   TS_EXEC_PHRASE_NO_POS, check_item))
	{
		case TS_NO:
			return OMEN_BM25_NO;
		case TS_YES:
			return OMEN_BM25_YES;
		default:
			return OMEN_BM25_PERHAPS;
	}
}

static TSTernaryValue
check_item(void *arg, QueryOperand *operand, ExecPhraseData *data)
{
	ItemsState *state = arg;

	if (!state->present[(QueryItem *) operand - GETQUERY(state->filter)])
		return TS_NO;
	return operand->weight != 0 || data != NULL ? TS_MAYBE : TS_YES;
}

uint64 *
omen_bm25_filter_segment(OmenBm25View *view, OmenBm25ViewSegment *segment,
						 TSQuery filter, const uint64 *allowed, uint32 *n,
						 bool *recheck)
{
	FilterState state = {view, segment, filter};
	uint32		ndocs = segment->entry.ndocs;
	uint64	   *bits = palloc_extended((ndocs + 63) / 64 * sizeof(uint64),
									   MCXT_ALLOC_HUGE);
	OmenMatch  *match;

	if (filter->size == 0)
	{
		memset(bits, 0, (ndocs + 63) / 64 * sizeof(uint64));
		*n = 0;
		return bits;
	}
	match = omen_match_create(make_node(&state, 0, false), ndocs, allowed);
	*n = omen_match_fill(match, bits);
	*recheck = omen_match_recheck(match);
	omen_match_free(match);
	return bits;
}

uint64 *
omen_bm25_ranked_docs(OmenBm25View *view, OmenBm25ViewSegment *segment,
					  int nterms, uint32 *n)
{
	uint32		ndocs = segment->entry.ndocs;
	uint64	   *bits = palloc_extended((ndocs + 63) / 64 * sizeof(uint64),
									   MCXT_ALLOC_HUGE);
	OmenMatchNode *any = make_inner(OMEN_MATCH_OR, nterms);
	OmenMatch  *match;

	for (int t = 0; t < nterms; t++)
	{
		any->operands[t] = make_inner(OMEN_MATCH_TERM, 0);
		any->operands[t]->list = &segment->lists[t];
	}
	match = omen_match_create(any, ndocs, NULL);
	*n = omen_match_fill(match, bits);
	omen_match_free(match);
	return bits;
}

bool
omen_bm25_filter_is_ranking(TSQuery filter, int nterms,
							const OmenBm25QueryTerm *terms)
{
	bool	   *seen = palloc0(Max(nterms, 1) * sizeof(bool));

	if (filter->size == 0 ||
		!collect_or(filter, 0, nterms, terms, seen))
		return false;
	for (int t = 0; t < nterms; t++)
	{
		if (!seen[t])
			return false;
	}
	return true;
}

/* Is this an OR of lexemes, each of them a term? */
static bool
collect_or(TSQuery filter, int item, int nterms,
		   const OmenBm25QueryTerm *terms, bool *seen)
{
	QueryItem  *at = &GETQUERY(filter)[item];

	check_stack_depth();
	if (at->type == QI_OPR)
		return at->qoperator.oper == OP_OR &&
			collect_or(filter, item + at->qoperator.left, nterms, terms,
					   seen) &&
			collect_or(filter, item + 1, nterms, terms, seen);
	if (at->qoperand.prefix || at->qoperand.weight != 0)
		return false;
	for (int t = 0; t < nterms; t++)
	{
		if (omen_bm25_compare_lexemes(terms[t].lexeme, terms[t].len,
									  GETOPERAND(filter) +
									  at->qoperand.distance,
									  at->qoperand.length) == 0)
		{
			seen[t] = true;
			return true;
		}
	}
	return false;
}

/* --- from a tsquery to nodes of text/match.h --- */

static OmenMatchNode *
make_node(FilterState *state, int item, bool in_phrase)
{
	QueryItem  *at = &GETQUERY(state->filter)[item];
	OmenMatchNode *node;
	const char *lexeme;

	check_stack_depth();
	if (at->type == QI_OPR)
		return make_operator(state, item, in_phrase);

	lexeme = GETOPERAND(state->filter) + at->qoperand.distance;
	node = at->qoperand.prefix ?
		make_prefix(state, lexeme, at->qoperand.length) :
		make_term(state, lexeme, at->qoperand.length);
	node->lossy |= at->qoperand.weight != 0 || in_phrase;
	return node;
}

static OmenMatchNode *
make_operator(FilterState *state, int item, bool in_phrase)
{
	QueryItem  *at = &GETQUERY(state->filter)[item];
	int8		oper = at->qoperator.oper;
	OmenMatchNode *node;

	in_phrase |= oper == OP_PHRASE;
	if (oper == OP_NOT && in_phrase)
	{
		/* "not there", which says nothing of elsewhere */
		node = make_inner(OMEN_MATCH_AND, 0);
		node->lossy = true;
		return node;
	}
	if (oper == OP_NOT)
	{
		node = make_inner(OMEN_MATCH_NOT, 1);
		node->operands[0] = make_node(state, item + 1, false);
		return node;
	}
	node = make_inner(oper == OP_OR ? OMEN_MATCH_OR : OMEN_MATCH_AND,
					  count_operands(state->filter, item, oper));
	node->lossy = in_phrase;
	node->noperands = 0;
	add_operands(state, item, oper, in_phrase, node);
	return node;
}

/* Of a chain of one operator, as in a | b | c */
static int
count_operands(TSQuery filter, int item, int8 oper)
{
	QueryItem  *at = &GETQUERY(filter)[item];

	check_stack_depth();
	if (at->type != QI_OPR || at->qoperator.oper != oper)
		return 1;
	return count_operands(filter, item + at->qoperator.left, oper) +
		count_operands(filter, item + 1, oper);
}

/* They are one node's: a chain may be longer than what evaluates nodes is deep */
static void
add_operands(FilterState *state, int item, int8 oper, bool in_phrase,
			 OmenMatchNode *node)
{
	QueryItem  *at = &GETQUERY(state->filter)[item];

	check_stack_depth();
	if (at->type != QI_OPR || at->qoperator.oper != oper)
	{
		node->operands[node->noperands++] = make_node(state, item, in_phrase);
		return;
	}
	add_operands(state, item + at->qoperator.left, oper, in_phrase, node);
	add_operands(state, item + 1, oper, in_phrase, node);
}

static OmenMatchNode *
make_inner(OmenMatchKind kind, int noperands)
{
	OmenMatchNode *node = palloc0(sizeof(*node));

	node->kind = kind;
	node->noperands = noperands;
	node->operands = palloc(Max(noperands, 1) * sizeof(*node->operands));
	return node;
}

static OmenMatchNode *
make_term(FilterState *state, const char *lexeme, int len)
{
	OmenBm25Entry entry = {0};

	if (!omen_bm25_dict_find(state->view->index, state->view->bm25,
							 state->segment->segment, lexeme, len, &entry))
		entry.df = 0;
	return make_list(state, &entry);
}

static OmenMatchNode *
make_list(FilterState *state, const OmenBm25Entry *entry)
{
	OmenMatchNode *node = make_inner(OMEN_MATCH_TERM, 0);
	OmenBm25List *list = palloc(sizeof(*list));

	omen_bm25_list_init(list, state->view->index, state->view->bm25,
						state->segment->segment, entry);
	node->list = &list->postings;
	return node;
}

static OmenMatchNode *
make_prefix(FilterState *state, const char *prefix, int len)
{
	OmenBm25DictScan *dict = palloc(sizeof(*dict));
	OmenMatchNode *node = make_inner(OMEN_MATCH_OR, 0);
	int			room = 16;

	node->operands = palloc(room * sizeof(*node->operands));
	omen_bm25_dict_begin(dict, state->view->index, state->view->bm25,
						 state->segment->segment, prefix, len);
	while (omen_bm25_dict_next(dict) && dict->len >= len &&
		   memcmp(dict->lexeme, prefix, len) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (node->noperands == MAX_EXPANSION)
		{
			node = make_inner(OMEN_MATCH_AND, 0);
			node->lossy = true;
			break;
		}
		if (node->noperands == room)
		{
			room *= 2;
			node->operands = repalloc(node->operands,
									  room * sizeof(*node->operands));
		}
		node->operands[node->noperands++] = make_list(state, &dict->entry);
	}
	pfree(dict->content);
	pfree(dict);
	return node;
}
