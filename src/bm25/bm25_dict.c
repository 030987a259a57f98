/*-------------------------------------------------------------------------
 *
 * bm25_dict.c
 *	  Reading the dictionary of a segment: one term, or all from one on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "bm25/bm25.h"
#include "bm25/bm25_varint.h"

/* Deeper than any tree of 2^32 pages with at least three entries each */
#define MAX_DEPTH	32

/* Entries of one page, in memory */
typedef struct Entries
{
	const uint8 *at;
	const uint8 *end;
	int			left;
	int			len;			/* of the entry read last */
	const uint8 *payload;
	char		lexeme[MAXSTRLEN + 1];
} Entries;

static uint32 descend(OmenBm25DictScan *scan, const char *lexeme, int len);
static void load_leaf(OmenBm25DictScan *scan, uint32 page);
static void open_entries(OmenBm25DictScan *scan, const char *content,
						 const char *lexeme, int len, Entries *entries);
static const uint8 *read_key(const uint8 *at, const uint8 *end, char *lexeme,
							 int *len);
static const uint8 *read_payload(const uint8 *at, const uint8 *end,
								 OmenBm25Entry *entry);
static void report_entry(const OmenBm25DictScan *scan) pg_attribute_noreturn();

bool
omen_bm25_dict_find(Relation index, OmenBm25Index *bm25,
					const OmenBm25Segment *segment, const char *lexeme,
					int len, OmenBm25Entry *entry)
{
	OmenBm25DictScan *scan = palloc(sizeof(*scan));
	bool		found;

	omen_bm25_dict_begin(scan, index, bm25, segment, lexeme, len);
	found = omen_bm25_dict_next(scan) && scan->len == len &&
		memcmp(scan->lexeme, lexeme, len) == 0;
	if (found)
		*entry = scan->entry;
	pfree(scan->content);
	pfree(scan);
	return found;
}

void
omen_bm25_dict_begin(OmenBm25DictScan *scan, Relation index,
					 OmenBm25Index *bm25, const OmenBm25Segment *segment,
					 const char *lexeme, int len)
{
	Entries		entries;

	scan->index = index;
	scan->bm25 = bm25;
	scan->segment = segment;
	scan->content = palloc(OMEN_PAGE_CONTENT);
	load_leaf(scan, descend(scan, lexeme, len));

	/* at the first entry that is not before it */
	open_entries(scan, scan->content, lexeme, len, &entries);
	scan->left = entries.left;
	scan->at = entries.at;
	scan->len = 0;
	while (scan->left > 0)
	{
		const uint8 *start = scan->at;
		char		before[MAXSTRLEN + 1];
		int			before_len = scan->len;

		memcpy(before, scan->lexeme, before_len);
		scan->at = read_key(scan->at, scan->end, scan->lexeme, &scan->len);
		if (scan->at == NULL)
			report_entry(scan);
		if (omen_bm25_compare_lexemes(scan->lexeme, scan->len, lexeme,
									  len) >= 0)
		{
			memcpy(scan->lexeme, before, before_len);
			scan->len = before_len;
			scan->at = start;
			return;
		}
		scan->at = read_payload(scan->at, scan->end, &scan->entry);
		if (scan->at == NULL)
			report_entry(scan);
		scan->left--;
	}
}

bool
omen_bm25_dict_next(OmenBm25DictScan *scan)
{
	while (scan->left == 0)
	{
		if (scan->next == PG_UINT32_MAX)
			return false;
		load_leaf(scan, scan->next);
	}
	scan->at = read_key(scan->at, scan->end, scan->lexeme, &scan->len);
	if (scan->at != NULL)
		scan->at = read_payload(scan->at, scan->end, &scan->entry);
	if (scan->at == NULL)
		report_entry(scan);
	scan->left--;
	return true;
}

/* The leaf that has the lexeme, if any has */
static uint32
descend(OmenBm25DictScan *scan, const char *lexeme, int len)
{
	uint32		page = scan->segment->data->dict_root;

	for (int depth = 0; depth < MAX_DEPTH; depth++)
	{
		Buffer		buffer = omen_bm25_segment_page(scan->index, scan->bm25,
													scan->segment, page,
													OMEN_PAGE_TERMS,
													OMEN_LOCK_SHARE);
		const char *content = omen_page_content(BufferGetPage(buffer));
		Entries		entries;

		if (((const OmenBm25TermsData *) content)->level == 0)
		{
			omen_page_release(buffer);
			return page;
		}

		/* the last child that does not begin beyond it, else the first */
		memcpy(scan->content, content, OMEN_PAGE_CONTENT);
		omen_page_release(buffer);
		open_entries(scan, scan->content, lexeme, len, &entries);
		for (bool first = true; entries.left > 0; first = false)
		{
			uint32		child;

			entries.at = read_key(entries.at, entries.end, entries.lexeme,
								  &entries.len);
			if (entries.at == NULL ||
				!(entries.at = omen_varint_get(entries.at, entries.end,
											   &child)))
				report_entry(scan);
			if (!first &&
				omen_bm25_compare_lexemes(entries.lexeme, entries.len, lexeme,
										  len) > 0)
				break;
			page = child;
			entries.left--;
		}
	}
	report_entry(scan);
}

/* Read a leaf from its first entry on */
static void
load_leaf(OmenBm25DictScan *scan, uint32 page)
{
	Buffer		buffer = omen_bm25_segment_page(scan->index, scan->bm25,
												scan->segment, page,
												OMEN_PAGE_TERMS,
												OMEN_LOCK_SHARE);
	const OmenBm25TermsData *terms = (OmenBm25TermsData *) scan->content;

	memcpy(scan->content, omen_page_content(BufferGetPage(buffer)),
		   OMEN_PAGE_CONTENT);
	scan->next = omen_page_opaque(BufferGetPage(buffer))->next;
	omen_page_release(buffer);
	if (terms->level != 0 || terms->end > OMEN_PAGE_CONTENT)
		report_entry(scan);
	scan->left = terms->nentries;
	scan->at = (uint8 *) scan->content + sizeof(OmenBm25TermsData);
	scan->end = (uint8 *) scan->content + terms->end;
	scan->len = 0;
}

/* From the last restart on whose lexeme is before this one, else the first */
static void
open_entries(OmenBm25DictScan *scan, const char *content, const char *lexeme,
			 int len, Entries *entries)
{
	const OmenBm25TermsData *terms = (const OmenBm25TermsData *) content;
	const uint16 *restarts = (const uint16 *) (content + OMEN_PAGE_CONTENT) -
		1;
	int			low = 0;
	int			high = terms->nrestarts;

	if (terms->end > OMEN_PAGE_CONTENT ||
		terms->end + terms->nrestarts * sizeof(uint16) > OMEN_PAGE_CONTENT ||
		terms->nrestarts != (terms->nentries + OMEN_BM25_RESTART - 1) /
		OMEN_BM25_RESTART)
		report_entry(scan);
	entries->end = (const uint8 *) content + terms->end;
	entries->len = 0;
	while (high - low > 1)
	{
		int			middle = (low + high) / 2;

		entries->at = read_key((const uint8 *) content + restarts[-middle],
							   entries->end, entries->lexeme, &entries->len);
		if (entries->at == NULL)
			report_entry(scan);
		if (omen_bm25_compare_lexemes(entries->lexeme, entries->len, lexeme,
									  len) <= 0)
			low = middle;
		else
			high = middle;
		entries->len = 0;
	}
	entries->at = (const uint8 *) content +
		(terms->nrestarts > 0 ? restarts[-low] : sizeof(OmenBm25TermsData));
	entries->left = terms->nentries - low * OMEN_BM25_RESTART;
}

/* Returns where the payload begins; NULL if this is no entry */
static const uint8 *
read_key(const uint8 *at, const uint8 *end, char *lexeme, int *len)
{
	uint32		shared;
	uint32		rest;

	if (at >= end || !(at = omen_varint_get(at, end, &shared)) ||
		!(at = omen_varint_get(at, end, &rest)) ||
		shared > (uint32) *len || rest > MAXSTRLEN ||
		shared + rest > MAXSTRLEN || rest > (uint32) (end - at))
		return NULL;
	memcpy(lexeme + shared, at, rest);
	*len = shared + rest;
	return at + rest;
}

static const uint8 *
read_payload(const uint8 *at, const uint8 *end, OmenBm25Entry *entry)
{
	uint32		value;
	uint32		offset;

	if (!(at = omen_varint_get(at, end, &value)))
		return NULL;
	entry->df = value / 2;
	entry->inlined = value % 2 != 0;
	if (entry->inlined)
	{
		if (!(at = omen_varint_get(at, end, &value)) ||
			value > OMEN_BM25_MAX_INLINE || value > (uint32) (end - at))
			return NULL;
		entry->size = value;
		memcpy(entry->block, at, value);
		return at + value;
	}
	if (!(at = omen_varint_get(at, end, &entry->page)) ||
		!(at = omen_varint_get(at, end, &offset)) ||
		offset >= OMEN_PAGE_CONTENT)
		return NULL;
	entry->offset = offset;
	if (entry->df > OMEN_POSTING_BLOCK)
	{
		if (end - at < (int) sizeof(OmenBlockBound))
			return NULL;
		memcpy(&entry->bound, at, sizeof(OmenBlockBound));
		at += sizeof(OmenBlockBound);
	}
	return at;
}

static void
report_entry(const OmenBm25DictScan *scan)
{
	omen_page_report_corrupt(scan->index, scan->segment->header,
							 "The dictionary of a segment is damaged.");
}
