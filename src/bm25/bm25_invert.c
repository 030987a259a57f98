/*-------------------------------------------------------------------------
 *
 * bm25_invert.c
 *	  An inverted index in memory: terms with their postings, filled document
 *	  by document.
 *
 * The postings of a term are a list of chunks, each twice as long as the one
 * before; in them, numbers as in bm25_varint.h: how much greater the document
 * is than the one before, and the frequency.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "bm25/bm25.h"
#include "bm25/bm25_varint.h"

/* Memory is taken in pieces of this size */
#define PIECE			(256 * 1024)

#define FIRST_CHUNK		24
#define LARGEST_CHUNK	4096

/* Longest encoding of a posting */
#define MAX_POSTING		(2 * OMEN_VARINT_MAX)

typedef struct Chunk
{
	struct Chunk *next;
	uint16		size;
	uint16		used;
	uint8		data[FLEXIBLE_ARRAY_MEMBER];
} Chunk;

typedef struct TermKey
{
	const char *lexeme;
	uint32		hash;
	uint16		len;
} TermKey;

typedef struct TermPostings
{
	TermKey		key;
	uint32		status;			/* of the hash table */
	uint32		last_doc;
	Chunk	   *first;
	Chunk	   *last;
} TermPostings;

static inline bool
is_same_key(TermKey a, TermKey b)
{
	return a.hash == b.hash && a.len == b.len &&
		memcmp(a.lexeme, b.lexeme, a.len) == 0;
}

#define SH_PREFIX		omen_termhash
#define SH_ELEMENT_TYPE	TermPostings
#define SH_KEY_TYPE		TermKey
#define SH_KEY			key
#define SH_HASH_KEY(tb, key)	((key).hash)
#define SH_EQUAL(tb, a, b)		is_same_key(a, b)
#define SH_SCOPE		static inline
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)		((a)->key.hash)
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct OmenBm25Inverter
{
	MemoryContext context;
	omen_termhash_hash *terms;
	char	   *piece;			/* memory to be handed out */
	Size		left;
	Size		size;			/* of all pieces */
};

static void *take_memory(OmenBm25Inverter *inverter, Size size);
static Chunk *add_chunk(OmenBm25Inverter *inverter, TermPostings *term);
static int	compare_terms(const void *a, const void *b);
static void drain_term(const TermPostings *term, OmenBm25PostingSink posting,
					   void *arg);

OmenBm25Inverter *
omen_bm25_inverter_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "omenbm25 inverter",
												  ALLOCSET_DEFAULT_SIZES);
	OmenBm25Inverter *inverter = MemoryContextAllocZero(context,
														sizeof(*inverter));

	inverter->context = context;
	inverter->terms = omen_termhash_create(context, 1024, NULL);
	return inverter;
}

void
omen_bm25_inverter_free(OmenBm25Inverter *inverter)
{
	MemoryContextDelete(inverter->context);
}

Size
omen_bm25_inverter_size(const OmenBm25Inverter *inverter)
{
	return inverter->size +
		inverter->terms->size * sizeof(TermPostings);
}

void
omen_bm25_inverter_add(OmenBm25Inverter *inverter, uint32 doc,
					   const char *lexeme, int len, uint32 hash, uint16 tf)
{
	TermKey		key = {lexeme, hash, len};
	TermPostings *term;
	Chunk	   *chunk;
	bool		found;

	term = omen_termhash_insert(inverter->terms, key, &found);
	if (!found)
	{
		char	   *copy = take_memory(inverter, Max(len, 1));

		memcpy(copy, lexeme, len);
		term->key.lexeme = copy;
		term->last_doc = 0;
		term->first = term->last = NULL;
	}
	Assert(doc >= term->last_doc);

	chunk = term->last;
	if (chunk == NULL || chunk->size - chunk->used < MAX_POSTING)
		chunk = add_chunk(inverter, term);
	chunk->used = omen_varint_put(omen_varint_put(chunk->data + chunk->used,
												  doc - term->last_doc), tf) -
		chunk->data;
	term->last_doc = doc;
}

void
omen_bm25_inverter_drain(OmenBm25Inverter *inverter, OmenBm25TermSink term,
						 OmenBm25PostingSink posting, void *arg)
{
	TermPostings **sorted = MemoryContextAllocHuge(inverter->context,
												   Max(inverter->terms->members,
													   1) * sizeof(*sorted));
	omen_termhash_iterator iterator;
	TermPostings *found;
	uint32		n = 0;

	omen_termhash_start_iterate(inverter->terms, &iterator);
	while ((found = omen_termhash_iterate(inverter->terms, &iterator)) != NULL)
		sorted[n++] = found;
	qsort(sorted, n, sizeof(*sorted), compare_terms);
	for (uint32 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		term(arg, sorted[i]->key.lexeme, sorted[i]->key.len);
		drain_term(sorted[i], posting, arg);
	}
}

static int
compare_terms(const void *a, const void *b)
{
	const TermKey *x = &(*(TermPostings *const *) a)->key;
	const TermKey *y = &(*(TermPostings *const *) b)->key;

	return omen_bm25_compare_lexemes(x->lexeme, x->len, y->lexeme, y->len);
}

static void
drain_term(const TermPostings *term, OmenBm25PostingSink posting, void *arg)
{
	uint32		doc = 0;

	for (const Chunk *chunk = term->first; chunk != NULL; chunk = chunk->next)
	{
		const uint8 *at = chunk->data;
		const uint8 *end = at + chunk->used;

		while (at < end)
		{
			uint32		gap = 0;
			uint32		tf = 0;

			at = omen_varint_get(at, end, &gap);
			at = omen_varint_get(at, end, &tf);
			doc += gap;
			posting(arg, doc, (uint16) tf);
		}
	}
}

static Chunk *
add_chunk(OmenBm25Inverter *inverter, TermPostings *term)
{
	Size		size = term->last == NULL ? FIRST_CHUNK :
		Min(2 * term->last->size, LARGEST_CHUNK);
	Chunk	   *chunk;

	size = MAXALIGN(offsetof(Chunk, data) + size);
	chunk = take_memory(inverter, size);
	chunk->next = NULL;
	chunk->size = size - offsetof(Chunk, data);
	chunk->used = 0;
	if (term->last == NULL)
		term->first = chunk;
	else
		term->last->next = chunk;
	term->last = chunk;
	return chunk;
}

static void *
take_memory(OmenBm25Inverter *inverter, Size size)
{
	void	   *result;

	size = MAXALIGN(size);
	if (size > inverter->left)
	{
		inverter->piece = MemoryContextAlloc(inverter->context, PIECE);
		inverter->left = PIECE;
		inverter->size += PIECE;
	}
	result = inverter->piece;
	inverter->piece += size;
	inverter->left -= size;
	return result;
}
