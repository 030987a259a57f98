/*-------------------------------------------------------------------------
 *
 * bm25_doc.c
 *	  A tsvector as a document: its terms, their frequencies, its length.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "bm25/bm25.h"

static void count_positions(TSVector tsvector, WordEntry *word,
							int positions[OMEN_TEXT_CLASSES]);

void
omen_bm25_read_doc(TSVector tsvector, const OmenTextUnits *units,
				   OmenBm25Doc *doc)
{
	WordEntry  *words = ARRPTR(tsvector);

	doc->nterms = tsvector->size;
	doc->terms = palloc(Max(tsvector->size, 1) * sizeof(OmenBm25Term));
	for (int i = 0; i < tsvector->size; i++)
	{
		OmenBm25Term *term = &doc->terms[i];
		int			positions[OMEN_TEXT_CLASSES];

		count_positions(tsvector, &words[i], positions);
		term->lexeme = STRPTR(tsvector) + words[i].pos;
		term->len = words[i].len;
		term->hash = omen_bm25_hash(term->lexeme, term->len);
		term->tf = omen_text_tf(units, positions);
	}
	doc->length = omen_bm25_doc_length(tsvector, units);
}

/* In units: how many positions the lexemes have in all */
uint32
omen_bm25_doc_length(TSVector tsvector, const OmenTextUnits *units)
{
	WordEntry  *words = ARRPTR(tsvector);
	uint64		length = 0;

	for (int i = 0; i < tsvector->size; i++)
	{
		int			positions[OMEN_TEXT_CLASSES];

		count_positions(tsvector, &words[i], positions);
		for (int class = 0; class < OMEN_TEXT_CLASSES; class++)
			length += (uint64) units->units[class] * positions[class];
	}
	return (uint32) Min(length, PG_UINT32_MAX);
}

/* In units: how often a lexeme occurs */
uint16
omen_bm25_doc_tf(TSVector tsvector, const OmenTextUnits *units,
				 const char *lexeme, int len)
{
	WordEntry  *words = ARRPTR(tsvector);
	int			low = 0;
	int			high = tsvector->size;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = omen_bm25_compare_lexemes(STRPTR(tsvector) +
													  words[middle].pos,
													  words[middle].len,
													  lexeme, len);
		int			positions[OMEN_TEXT_CLASSES];

		if (order == 0)
		{
			count_positions(tsvector, &words[middle], positions);
			return omen_text_tf(units, positions);
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

uint32
omen_bm25_hash(const char *lexeme, int len)
{
	return hash_bytes((const unsigned char *) lexeme, len);
}

int
omen_bm25_compare_lexemes(const char *a, int alen, const char *b, int blen)
{
	int			order = memcmp(a, b, Min(alen, blen));

	return order != 0 ? order : alen - blen;
}

/* A lexeme without positions counts as one of class D */
static void
count_positions(TSVector tsvector, WordEntry *word,
				int positions[OMEN_TEXT_CLASSES])
{
	memset(positions, 0, OMEN_TEXT_CLASSES * sizeof(int));
	if (!word->haspos)
	{
		positions[0] = 1;
		return;
	}
	for (int i = 0; i < POSDATALEN(tsvector, word); i++)
		positions[WEP_GETWEIGHT(POSDATAPTR(tsvector, word)[i])]++;
}
