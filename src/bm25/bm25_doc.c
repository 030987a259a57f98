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
	uint64		length = 0;

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
		for (int class = 0; class < OMEN_TEXT_CLASSES; class++)
			length += (uint64) units->units[class] * positions[class];
	}
	doc->length = (uint32) Min(length, PG_UINT32_MAX);
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
