/* link: src/text/topk*.c src/text/match.c src/text/cursor.c src/text/posting.c src/text/bm25.c src/text/text_kernels*.c src/base/cpu.c */

/*
 * The best documents and boolean queries, against brute force over random
 * documents: several segments, filters, dead documents, ties, resumed walks.
 */
#include "postgres.h"

#include <math.h>
#include <setjmp.h>

#include "text/text_kernels.h"
#include "random.h"
#include "text_segment.h"

static int	ntests = 0;
static int	nfailed = 0;

static void
ok(bool good, const char *name)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++ntests, name);
	nfailed += !good;
}

static const OmenSimdLevel levels[] = {
	OMEN_SIMD_GENERIC, OMEN_SIMD_NEON, OMEN_SIMD_AVX2, OMEN_SIMD_AVX512
};

/* --- random documents --- */

#define TERMS		40
#define SEGMENTS	4
#define MAX_DOCS	30000

/* A segment and, for brute force, the frequency of each term in each document */
typedef struct Segment
{
	TestDocs	docs;
	OmenPostingList lists[TERMS];
	uint16	   *tfs[TERMS];
	uint64	   *allowed;		/* NULL: all */
	uint32		nallowed;
} Segment;

typedef struct Corpus
{
	int			nsegments;
	Segment		segments[SEGMENTS];
	bool		plain;			/* all frequencies and lengths are 1 */
} Corpus;

static uint32
random_tf(const Corpus *corpus)
{
	uint32		tf = 1;

	if (corpus->plain)
		return 1;
	if (random_bits() % 1000 == 0)
		return random_bits() % 3 == 0 ? 0 : random_bits() % 65536;
	while (random_bits() % 3 == 0)
		tf++;
	return tf;
}

/* Term t is in about 1 / (t + 2) of all, the last ones in a few documents */
static void
make_term(Corpus *corpus, Segment *segment, int t)
{
	uint32		ndocs = segment->docs.ndocs;
	uint32	   *docs = malloc(sizeof(uint32) * ndocs);
	uint16	   *tfs = malloc(sizeof(uint16) * ndocs);
	uint32		df = 0;
	uint32		one_of = t < TERMS - 10 ? t + 2 : 1 << (t - TERMS + 16);

	segment->tfs[t] = calloc(ndocs, sizeof(uint16));
	for (uint32 i = 0; i < ndocs; i++)
	{
		/* some come in a part of the segment only */
		if (random_bits() % one_of != 0 ||
			(t % 5 == 4 && i / 3000 % 3 != t % 3))
			continue;
		docs[df] = i;
		tfs[df] = (uint16) random_tf(corpus);
		segment->tfs[t][i] = tfs[df];
		df++;
	}
	segment->lists[t] = test_form_list(df, docs, tfs, segment->docs.lengths);
	free(docs);
	free(tfs);
}

static void
make_segment(Corpus *corpus, int number, uint32 ndocs)
{
	Segment    *segment = &corpus->segments[number];
	TestDocs   *docs = &segment->docs;

	memset(segment, 0, sizeof(Segment));
	docs->ndocs = ndocs;
	docs->lengths = malloc(sizeof(uint32) * ndocs);
	docs->rows = malloc(sizeof(uint64) * ndocs);
	docs->dead = calloc(ndocs, sizeof(bool));
	for (uint32 i = 0; i < ndocs; i++)
	{
		docs->lengths[i] = corpus->plain ? 1 : 5 + random_bits() % 200;
		if (!corpus->plain && random_bits() % 500 == 0)
			docs->lengths[i] = 60000 + random_bits() % 20000;
		/* the rows of segments lie between each other's */
		docs->rows[i] = (uint64) i * SEGMENTS + (SEGMENTS - number);
		docs->dead[i] = random_bits() % 10 == 0;
	}
	test_finish_docs(docs);
	for (int t = 0; t < TERMS; t++)
		make_term(corpus, segment, t);
}

static Corpus *
make_corpus(bool plain, int nsegments, uint32 ndocs)
{
	Corpus	   *corpus = malloc(sizeof(Corpus));

	corpus->plain = plain;
	corpus->nsegments = nsegments;
	for (int i = 0; i < nsegments; i++)
		make_segment(corpus, i, i == 0 ? ndocs : 1 + random_bits() % ndocs);
	return corpus;
}

/* Allow one of so many documents; 0: all, without a filter */
static void
set_filter(Corpus *corpus, uint32 one_of)
{
	for (int i = 0; i < corpus->nsegments; i++)
	{
		Segment    *segment = &corpus->segments[i];
		uint32		ndocs = segment->docs.ndocs;

		free(segment->allowed);
		segment->allowed = NULL;
		segment->nallowed = 0;
		if (one_of == 0)
			continue;
		segment->allowed = calloc((ndocs + 63) / 64, sizeof(uint64));
		for (uint32 doc = 0; doc < ndocs; doc++)
			if (random_bits() % one_of == 0)
			{
				segment->allowed[doc / 64] |= UINT64CONST(1) << (doc % 64);
				segment->nallowed++;
			}
	}
}

static bool
is_allowed(const Segment *segment, uint32 doc)
{
	return segment->allowed == NULL ||
		(segment->allowed[doc / 64] >> (doc % 64) & 1) != 0;
}

/* --- queries --- */

typedef struct Query
{
	OmenBm25	bm25;
	int			nterms;
	int			terms[TERMS];
	double		weights[TERMS];
	OmenPostingList lists[SEGMENTS][TERMS];
	OmenTopKSegment segments[SEGMENTS];
} Query;

static void
make_query(Corpus *corpus, int nterms, Query *query)
{
	bool		used[TERMS] = {false};

	query->bm25.k1 = random_bits() % 8 == 0 ? 0 : 0.5 + random_unit();
	query->bm25.b = random_bits() % 4 == 0 ? 0 : random_unit();
	query->bm25.avgdl = 100;
	query->bm25.unit = random_bits() % 4 == 0 ? 10 : 1;
	query->nterms = nterms;
	for (int i = 0; i < nterms; i++)
	{
		int			t;
		double		df = 0;
		double		ndocs = 0;

		do
			t = random_bits() % TERMS;
		while (used[t]);
		used[t] = true;
		query->terms[i] = t;
		for (int s = 0; s < corpus->nsegments; s++)
		{
			query->lists[s][i] = corpus->segments[s].lists[t];
			df += query->lists[s][i].df;
			ndocs += corpus->segments[s].docs.ndocs;
		}
		query->weights[i] = omen_bm25_idf(ndocs, df);
	}
	for (int s = 0; s < corpus->nsegments; s++)
	{
		Segment    *segment = &corpus->segments[s];

		query->segments[s] = (OmenTopKSegment){
			&test_doc_ops, &segment->docs, segment->docs.ndocs,
			query->lists[s], segment->allowed, segment->nallowed
		};
	}
}

static OmenTopK *
start(const Corpus *corpus, const Query *query)
{
	test_enter();
	return omen_topk_create(&query->bm25, query->nterms, query->weights,
							corpus->nsegments, query->segments);
}

/* The formula, as SQL would have it */
static double
brute_score(const Segment *segment, const Query *query, uint32 doc)
{
	const OmenBm25 *q = &query->bm25;
	double		score = 0;

	for (int i = 0; i < query->nterms; i++)
	{
		double		tf = (double) segment->tfs[query->terms[i]][doc] / q->unit;
		double		length = segment->docs.lengths[doc];

		if (tf > 0)
			score += query->weights[i] * (q->k1 + 1) * tf /
				(tf + q->k1 * (1 - q->b + q->b * length / q->avgdl));
	}
	return score;
}

static int
compare_hits(const void *a, const void *b)
{
	const OmenTopKHit *x = a;
	const OmenTopKHit *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static OmenTopKHit brute_hits[SEGMENTS * MAX_DOCS];

/* All hits in order, with the scores that omen_topk_score tells */
static int
brute_force(const Corpus *corpus, const Query *query, OmenTopK *topk,
			bool *same)
{
	int			n = 0;

	for (int s = 0; s < corpus->nsegments; s++)
	{
		const Segment *segment = &corpus->segments[s];

		for (uint32 doc = 0; doc < segment->docs.ndocs; doc++)
		{
			double		score;

			if (segment->docs.dead[doc] || !is_allowed(segment, doc))
				continue;
			score = brute_score(segment, query, doc);
			if (score <= 0)
				continue;
			brute_hits[n].score = omen_topk_score(topk, s, doc);
			if (fabs(brute_hits[n].score - score) > 1e-12 * score)
				*same = false;
			brute_hits[n].row = segment->docs.rows[doc];
			brute_hits[n].segment = s;
			brute_hits[n].doc = doc;
			n++;
		}
	}
	qsort(brute_hits, n, sizeof(OmenTopKHit), compare_hits);
	return n;
}

static bool
same_hits(const OmenTopKHit *a, const OmenTopKHit *b, int n)
{
	for (int i = 0; i < n; i++)
		if (a[i].score != b[i].score || a[i].row != b[i].row ||
			a[i].segment != b[i].segment || a[i].doc != b[i].doc)
			return false;
	return true;
}

/* Whether the best k are those of brute force, and all that follow, too */
static bool
answers(Corpus *corpus, Query *query, int k, bool resume)
{
	OmenTopK   *topk = start(corpus, query);
	bool		same = true;
	int			total = brute_force(corpus, query, topk, &same);
	int			done = 0;
	int			n;
	OmenTopKHit last;

	do
	{
		OmenTopKHit *hits = malloc(sizeof(OmenTopKHit) * k);

		omen_topk_begin(topk, k, done > 0 ? &last : NULL);
		n = omen_topk_run(topk, hits);
		same = same && n == Min(k, total - done) &&
			same_hits(hits, brute_hits + done, n);
		if (n > 0)
			last = hits[n - 1];
		done += n;
		free(hits);
		if (n < k)
			break;
		k *= 4;
	} while (resume && same);
	test_leave();
	return same;
}

static void
test_topk(Corpus *corpus, const char *what)
{
	static const uint32 filters[] = {0, 2, 20, 300, 1000000000};
	static const int ks[] = {1, 3, 10, 100, 1000};
	char		name[100];

	for (int f = 0; f < lengthof(filters); f++)
	{
		bool		good = true;
		bool		complete = true;

		set_filter(corpus, filters[f]);
		for (int i = 0; i < 60; i++)
		{
			Query		query;

			make_query(corpus, i < 56 ? 1 + i % 8 : 3 + i % 30, &query);
			good = good && answers(corpus, &query, ks[i % lengthof(ks)],
								   false);
			if (i % 6 == 0)
				complete = complete && answers(corpus, &query, 7, true);
		}
		snprintf(name, sizeof(name),
				 "%s, one of %u allowed: the best are those of brute force",
				 what, filters[f]);
		ok(good, name);
		snprintf(name, sizeof(name),
				 "%s, one of %u allowed: a resumed walk returns all in order",
				 what, filters[f]);
		ok(complete, name);
	}
	set_filter(corpus, 0);
}

/* Documents from elsewhere take their places among the others */
static void
test_offer(Corpus *corpus)
{
	Query		query;
	OmenTopK   *topk;
	OmenTopKHit before[20];
	OmenTopKHit hits[20];
	OmenTopKHit offered = {0, 1, -1, 77};
	uint16		tfs[4] = {2, 0, 1, 3};
	int			n;
	bool		good;

	make_query(corpus, 4, &query);
	topk = start(corpus, &query);
	omen_topk_begin(topk, 20, NULL);
	n = omen_topk_run(topk, before);
	good = n == 20;

	/* as good as the tenth, and its row is the first of all */
	offered.score = before[9].score;
	offered.row = 0;
	omen_topk_begin(topk, 20, NULL);
	omen_topk_offer(topk, &offered);
	n = omen_topk_run(topk, hits);
	for (int at = 0; good && at < n; at++)
		if (hits[at].segment == -1)
			good = at <= 9 && same_hits(hits, before, at) &&
				same_hits(hits + at + 1, before + at, 19 - at) &&
				(at == 0 || before[at - 1].score > offered.score);
	ok(good && n == 20, "an offered document takes its place");

	omen_topk_begin(topk, 5, &before[12]);
	omen_topk_offer(topk, &offered);
	n = omen_topk_run(topk, hits);
	ok(n == 5 && same_hits(hits, before + 13, 5),
	   "one that is before the hit to go on from does not come again");

	good = fabs(omen_topk_score_tfs(topk, tfs, 50) -
				(omen_bm25_term(&query.bm25, query.weights[0], 2, 50) +
				 omen_bm25_term(&query.bm25, query.weights[2], 1, 50) +
				 omen_bm25_term(&query.bm25, query.weights[3], 3, 50))) == 0;
	ok(good && omen_topk_limit(topk) > before[0].score,
	   "documents are scored by their frequencies, below the limit");
	test_leave();
}

/* Rare terms lead, and blocks of the frequent ones are left alone */
static void
test_skipping(Corpus *corpus)
{
	Query		query;
	OmenTopK   *topk;
	OmenTopKHit hits[4];
	const OmenTopKStats *stats;

	make_query(corpus, 2, &query);
	for (int s = 0; s < corpus->nsegments; s++)
	{
		query.lists[s][0] = corpus->segments[s].lists[0];
		query.lists[s][1] = corpus->segments[s].lists[TERMS - 5];
	}
	query.bm25.k1 = 1.2;
	query.weights[0] = 0.1;
	query.weights[1] = 8;
	topk = start(corpus, &query);
	/* fewer than have the rare term, even if some of these are dead */
	omen_topk_begin(topk, 4, NULL);
	omen_topk_run(topk, hits);
	stats = omen_topk_stats(topk);
	ok(stats->blocks > 0 && stats->blocks < stats->blocks_total / 4,
	   "blocks that cannot matter are not decoded");
	test_leave();
}

/* --- boolean queries --- */

#define MAX_NODES	200

typedef struct Tree
{
	int			n;
	OmenMatchNode nodes[MAX_NODES];
	OmenMatchNode *operands[MAX_NODES][4];
	int			terms[MAX_NODES];
} Tree;

static OmenMatchNode *
make_node(Segment *segment, Tree *tree, int depth, bool lossy)
{
	int			number = tree->n++;
	OmenMatchNode *node = &tree->nodes[number];

	memset(node, 0, sizeof(*node));
	node->operands = tree->operands[number];
	if (depth == 0 || random_bits() % 4 == 0)
	{
		node->kind = OMEN_MATCH_TERM;
		tree->terms[number] = random_bits() % TERMS;
		node->list = &segment->lists[tree->terms[number]];
	}
	else
	{
		node->kind = OMEN_MATCH_AND + random_bits() % 3;
		node->noperands = node->kind == OMEN_MATCH_NOT ? 1 :
			random_bits() % 4;
		for (int i = 0; i < node->noperands; i++)
			node->operands[i] = make_node(segment, tree, depth - 1, lossy);
	}
	node->lossy = lossy && random_bits() % 4 == 0;
	return node;
}

/* As a document that the lossy nodes are right or wrong about says */
static bool
meets(const Segment *segment, const Tree *tree, const OmenMatchNode *node,
	  uint32 doc, bool lossy_hold)
{
	bool		result = false;

	if (node->lossy && !lossy_hold)
		return false;
	switch (node->kind)
	{
		case OMEN_MATCH_TERM:
			{
				const TestList *list = node->list->list;
				uint32		docs[OMEN_POSTING_BLOCK];
				uint32		base = 0;

				for (uint32 i = 0; i < list->nblocks; i++)
				{
					int			n = omen_posting_block_size(node->list->df, i);
					uint32		last = omen_skip_last_doc(&list->skips[i]);

					if (last >= doc)
					{
						Size		at = omen_skip_page(&list->skips[i]);

						omen_posting_decode_docs(list->bytes + at,
												 list->size - at, n, base,
												 last + 1, docs);
						for (int j = 0; j < n; j++)
							if (docs[j] == doc)
								return true;
						return false;
					}
					base = last + 1;
				}
				return false;
			}
		case OMEN_MATCH_NOT:
			return !meets(segment, tree, node->operands[0], doc, lossy_hold);
		case OMEN_MATCH_AND:
			result = true;
			for (int i = 0; i < node->noperands; i++)
				result = result && meets(segment, tree, node->operands[i],
										 doc, lossy_hold);
			return result;
		case OMEN_MATCH_OR:
			for (int i = 0; i < node->noperands; i++)
				result = result || meets(segment, tree, node->operands[i],
										 doc, lossy_hold);
			return result;
	}
	return false;
}

static void
test_match(Segment *segment, bool lossy, const char *name)
{
	uint32		ndocs = segment->docs.ndocs;
	uint64	   *bits = malloc(sizeof(uint64) * ((ndocs + 63) / 64));
	bool		good = true;

	for (int repeat = 0; repeat < 60; repeat++)
	{
		Tree	   *tree = calloc(1, sizeof(Tree));
		OmenMatchNode *query = make_node(segment, tree, repeat % 4, lossy);
		OmenMatch  *match = omen_match_create(query, ndocs, segment->allowed);
		uint32		docs[100];
		uint32		at = 0;
		uint32		nfound = 0;
		uint32		nset = 0;
		int			n;

		while ((n = omen_match_next(match, docs, 1 + random_bits() % 100)) > 0)
		{
			for (int i = 0; i < n; i++, nfound++)
			{
				/* those before, and this one */
				for (; at < docs[i]; at++)
					if (is_allowed(segment, at) &&
						(meets(segment, tree, query, at, true) ||
						 meets(segment, tree, query, at, false)))
						good = false;
				if (at != docs[i] || !is_allowed(segment, at) ||
					(!lossy && !meets(segment, tree, query, at, true)))
					good = false;
				at++;
			}
		}
		for (; at < ndocs; at++)
			if (is_allowed(segment, at) &&
				(meets(segment, tree, query, at, true) ||
				 meets(segment, tree, query, at, false)))
				good = false;
		if (omen_match_next(match, docs, 100) != 0)
			good = false;
		omen_match_free(match);

		match = omen_match_create(query, ndocs, segment->allowed);
		if (omen_match_fill(match, bits) != nfound)
			good = false;
		for (uint32 i = 0; i < (ndocs + 63) / 64; i++)
			nset += __builtin_popcountll(bits[i]);
		if (nset != nfound)
			good = false;
		omen_match_free(match);
		free(tree);
	}
	free(bits);
	ok(good, name);
}

/* --- what is not as it should be --- */

static jmp_buf corrupt_jump;

static void
jump(void)
{
	longjmp(corrupt_jump, 1);
}

/* Bytes are changed at random: an answer or an error, nothing else */
static void
test_corrupted(Corpus *corpus)
{
	volatile int nerrors = 0;
	volatile int nanswers = 0;

	test_corrupt_hook = jump;
	for (volatile int repeat = 0; repeat < 300; repeat++)
	{
		Query		query;
		OmenTopKHit hits[10];
		TestList   *volatile list;
		uint8	   *volatile at;
		volatile uint8 was;

		make_query(corpus, 3, &query);
		list = query.lists[0][0].list;
		if (list->size == 0)
			continue;
		at = repeat % 2 == 0 ? list->bytes + random_bits() % list->size :
			(uint8 *) list->skips + random_bits() %
			(list->nblocks * sizeof(OmenSkipData));
		/* where a block lies is checked by whoever reads it from there */
		if (repeat % 2 == 1 &&
			(at - (uint8 *) list->skips) % sizeof(OmenSkipData) >= 4)
			continue;
		was = *at;
		*at = (uint8) random_bits();
		if (setjmp(corrupt_jump) == 0)
		{
			OmenTopK   *topk = start(corpus, &query);

			omen_topk_begin(topk, 10, NULL);
			omen_topk_run(topk, hits);
			test_leave();
			nanswers++;
		}
		else
			nerrors++;
		*at = was;
	}
	ok(nerrors > 0 && nanswers > 0,
	   "changed bytes lead to an error or are not noticed");
	test_corrupt_hook = NULL;
}

int
main(void)
{
	Corpus	   *one = make_corpus(false, 1, MAX_DOCS);
	Corpus	   *many = make_corpus(false, SEGMENTS, 6000);
	Corpus	   *equal = make_corpus(true, 3, 5000);
	Corpus	   *tiny = make_corpus(false, SEGMENTS, 3);

	for (int i = 0; i < lengthof(levels); i++)
	{
		if (!omen_simd_supported(levels[i]))
			continue;
		omen_text_kernels = omen_text_kernels_of(levels[i]);
		printf("# %s\n", omen_text_kernels->name);
		test_topk(one, "one segment");
		test_topk(many, "segments");
		test_topk(equal, "ties");
		test_topk(tiny, "a few documents");
	}
	test_offer(many);
	test_skipping(one);
	test_match(&many->segments[0], false, "boolean queries match brute force");
	test_match(&many->segments[0], true,
			   "with lossy operands, all that may match is found");
	set_filter(many, 30);
	test_match(&many->segments[0], false, "filtered ones as well");
	set_filter(many, 0);
	test_corrupted(many);
	printf("1..%d\n", ntests);
	return nfailed > 0;
}
