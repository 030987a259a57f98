/*-------------------------------------------------------------------------
 *
 * bm25_dict.c
 *	  Reading the dictionary of a segment: one term, or all from one on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "bm25/bm25.h"
#include "bm25/bm25_varint.h"

/* Deeper than any tree of 2^32 pages with at least three entries each */
#define MAX_DEPTH	32

/* Where a page is */
typedef struct Place
{
	Relation	index;
	OmenBm25Index *bm25;
	const OmenBm25Segment *segment;
} Place;

/* A walk over the entries of one page */
typedef struct Entries
{
	const uint8 *at;
	const uint8 *end;
	int			left;
	int			len;			/* of the entry read last */
	int			before_len;		/* and of the one before that */
	const uint8 *start;			/* of it */
	const uint8 *payload;
	char		lexeme[MAXSTRLEN + 1];
	char		before[MAXSTRLEN + 1];
} Entries;

static void next_leaf(OmenBm25DictScan *scan);
static Buffer lock_leaf(const Place *place, const char *lexeme, int len);
static uint32 find_child(const Place *place, const char *content,
						 const char *lexeme, int len);
static int	seek_entry(const Place *place, Entries *entries,
					   const char *lexeme, int len);
static void copy_leaf(OmenBm25DictScan *scan, Buffer buffer);
static void open_entries(const Place *place, const char *content,
						 const char *lexeme, int len, Entries *entries);
static const uint8 *read_key(const uint8 *at, const uint8 *end, char *lexeme,
							 int *len);
static const uint8 *read_payload(const uint8 *at, const uint8 *end,
								 OmenBm25Entry *entry);
static void report_entry(const Place *place) pg_attribute_noreturn();

bool
omen_bm25_dict_find(Relation index, OmenBm25Index *bm25,
					const OmenBm25Segment *segment, const char *lexeme,
					int len, OmenBm25Entry *entry)
{
	const Place place = {index, bm25, segment};
	Entries		entries;
	Buffer		buffer = lock_leaf(&place, lexeme, len);
	bool		found;

	open_entries(&place, omen_page_content(BufferGetPage(buffer)), lexeme, len,
				 &entries);
	found = seek_entry(&place, &entries, lexeme, len) == 0;
	if (found && !read_payload(entries.payload, entries.end, entry))
		report_entry(&place);
	omen_page_release(buffer);
	return found;
}

void
omen_bm25_dict_begin(OmenBm25DictScan *scan, Relation index,
					 OmenBm25Index *bm25, const OmenBm25Segment *segment,
					 const char *lexeme, int len)
{
	const Place place = {index, bm25, segment};
	Entries		entries;
	Buffer		buffer = lock_leaf(&place, lexeme, len);

	scan->index = index;
	scan->bm25 = bm25;
	scan->segment = segment;
	scan->content = palloc(OMEN_PAGE_CONTENT);
	copy_leaf(scan, buffer);

	/* before the first entry that is not before the lexeme */
	open_entries(&place, scan->content, lexeme, len, &entries);
	seek_entry(&place, &entries, lexeme, len);
	scan->at = entries.start;
	scan->left = entries.left;
	scan->len = entries.before_len;
	memcpy(scan->lexeme, entries.before, entries.before_len);
}

bool
omen_bm25_dict_next(OmenBm25DictScan *scan)
{
	const Place place = {scan->index, scan->bm25, scan->segment};

	if (scan->left == 0)
	{
		if (scan->next == PG_UINT32_MAX)
			return false;
		next_leaf(scan);
	}
	scan->at = read_key(scan->at, scan->end, scan->lexeme, &scan->len);
	if (scan->at != NULL)
		scan->at = read_payload(scan->at, scan->end, &scan->entry);
	if (scan->at == NULL)
		report_entry(&place);
	scan->left--;
	return true;
}

/* It has an entry, and begins beyond the last one: so there is an end */
static void
next_leaf(OmenBm25DictScan *scan)
{
	const Place place = {scan->index, scan->bm25, scan->segment};
	char		last[MAXSTRLEN + 1];
	int			last_len = scan->len;
	int			len = 0;

	CHECK_FOR_INTERRUPTS();
	memcpy(last, scan->lexeme, last_len);
	copy_leaf(scan, omen_bm25_segment_page(scan->index, scan->bm25,
										   scan->segment, scan->next,
										   OMEN_PAGE_TERMS, OMEN_LOCK_SHARE));
	if (scan->left == 0 ||
		read_key(scan->at, scan->end, scan->lexeme, &len) == NULL ||
		omen_bm25_compare_lexemes(scan->lexeme, len, last, last_len) <= 0)
		report_entry(&place);
}

/* The leaf that has the lexeme, if any has, locked */
static Buffer
lock_leaf(const Place *place, const char *lexeme, int len)
{
	uint32		page = place->segment->data->dict_root;

	for (int depth = 0; depth < MAX_DEPTH; depth++)
	{
		Buffer		buffer = omen_bm25_segment_page(place->index, place->bm25,
													place->segment, page,
													OMEN_PAGE_TERMS,
													OMEN_LOCK_SHARE);
		const char *content = omen_page_content(BufferGetPage(buffer));

		if (((const OmenBm25TermsData *) content)->level == 0)
			return buffer;
		page = find_child(place, content, lexeme, len);
		omen_page_release(buffer);
	}
	report_entry(place);
}

/* The last child that does not begin beyond the lexeme, else the first */
static uint32
find_child(const Place *place, const char *content, const char *lexeme,
		   int len)
{
	Entries		entries;
	uint32		found = 0;

	open_entries(place, content, lexeme, len, &entries);
	if (entries.left <= 0)
		report_entry(place);
	for (bool first = true; entries.left > 0; first = false)
	{
		uint32		child;

		entries.at = read_key(entries.at, entries.end, entries.lexeme,
							  &entries.len);
		if (entries.at == NULL ||
			!(entries.at = omen_varint_get(entries.at, entries.end, &child)))
			report_entry(place);
		if (!first && omen_bm25_compare_lexemes(entries.lexeme, entries.len,
												lexeme, len) > 0)
			break;
		found = child;
		entries.left--;
	}
	return found;
}

/*
 * Go to the first entry of a leaf that is not before a lexeme: "start" is where
 * it begins, "left" counts it, "before" is the lexeme of the one before it.
 * Returns how it compares, 1 if there is none.
 */
static int
seek_entry(const Place *place, Entries *entries, const char *lexeme, int len)
{
	OmenBm25Entry passed;

	entries->len = 0;
	for (; entries->left > 0; entries->left--)
	{
		int			order;

		entries->start = entries->at;
		memcpy(entries->before, entries->lexeme, entries->len);
		entries->before_len = entries->len;
		entries->payload = read_key(entries->at, entries->end,
									entries->lexeme, &entries->len);
		if (entries->payload == NULL)
			report_entry(place);
		order = omen_bm25_compare_lexemes(entries->lexeme, entries->len,
										  lexeme, len);
		if (order >= 0)
			return order == 0 ? 0 : 1;
		entries->at = read_payload(entries->payload, entries->end, &passed);
		if (entries->at == NULL)
			report_entry(place);
	}
	entries->start = entries->at;
	entries->before_len = 0;
	return 1;
}

/* Copy a leaf, to be read from its first entry on, and release it */
static void
copy_leaf(OmenBm25DictScan *scan, Buffer buffer)
{
	const Place place = {scan->index, scan->bm25, scan->segment};
	const OmenBm25TermsData *terms = (OmenBm25TermsData *) scan->content;

	memcpy(scan->content, omen_page_content(BufferGetPage(buffer)),
		   OMEN_PAGE_CONTENT);
	scan->next = omen_page_opaque(BufferGetPage(buffer))->next;
	omen_page_release(buffer);
	if (terms->level != 0 || terms->end > OMEN_PAGE_CONTENT)
		report_entry(&place);
	scan->left = terms->nentries;
	scan->at = (uint8 *) scan->content + sizeof(OmenBm25TermsData);
	scan->end = (uint8 *) scan->content + terms->end;
	scan->len = 0;
}

/* From the last restart on whose lexeme is before this one, else the first */
static void
open_entries(const Place *place, const char *content, const char *lexeme,
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
		report_entry(place);
	entries->end = (const uint8 *) content + terms->end;
	entries->len = 0;
	while (high - low > 1)
	{
		int			middle = (low + high) / 2;

		entries->at = read_key((const uint8 *) content + restarts[-middle],
							   entries->end, entries->lexeme, &entries->len);
		if (entries->at == NULL)
			report_entry(place);
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
report_entry(const Place *place)
{
	omen_page_report_corrupt(place->index, place->segment->header,
							 "The dictionary of a segment is damaged.");
}
