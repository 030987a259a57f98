/*-------------------------------------------------------------------------
 *
 * text_bench.c
 *	  Time of decoding postings, and of the ten best documents for queries of
 *	  one to eight terms, without a server and its pages.
 *
 * The documents are random.  Lengths are log-normal with a mean of 60 words
 * (sigma 0.5).  Of these, 55 % are drawn from 200,000 words by Zipf's law, the
 * r-th with a weight of 1 / (r + 30), as if stop words had been left out; 25 %
 * by the same law from 200 words of the document's topic, one of 2,000; and 20 %
 * are a word that the document has already.  The terms of a query are distinct
 * words of a random document.
 *
 * Prints nanoseconds or microseconds of thread CPU time.  "all" scores every
 * posting with the same kernels, a term at a time into one array of sums; AND
 * and OR find all documents that have all, or any, of the terms.
 * From the top of the source tree, with "make" done:
 *
 *	cc -O2 -Isrc -Itest/unit -I$(pg_config --includedir-server) \
 *		-o text_bench bench/text_bench.c src/text/[a-z]*.o src/base/cpu.o \
 *		-L$(pg_config --pkglibdir) -L$(pg_config --libdir) \
 *		-lpgcommon -lpgport -lm
 *	./text_bench [DOCUMENTS [QUERIES [K [ALLOW-ONE-OF]]]]
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <time.h>

#include "text/text_kernels.h"
#include "random.h"
#include "text_segment.h"

#define WORDS		200000
#define SHIFT		30
#define TOPICS		2000
#define TOPIC_WORDS 200
#define MAX_LENGTH	2000
#define MAX_TERMS	8

typedef struct Posting
{
	uint32		word;
	uint16		tf;
} Posting;

typedef struct TextIndex
{
	TestDocs	docs;
	double		avgdl;
	uint64		npostings;
	OmenPostingList *lists;		/* by word */
	Size		bytes;			/* of postings */
	Size		skips;			/* of entries of blocks */
} TextIndex;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* --- documents --- */

static double
unit(void)
{
	return ((double) random_bits() + 0.5) / 4294967296.0;
}

/* A rank by Zipf's law, by the inverse of its integral */
static uint32
zipf(uint32 n)
{
	double		x = SHIFT * pow((n + SHIFT) / (double) SHIFT, unit()) - SHIFT;

	return Min((uint32) x, n - 1);
}

static uint32
topic_word(uint32 topic, uint32 rank)
{
	uint64		hash = ((uint64) topic * TOPIC_WORDS + rank + 1) *
		UINT64CONST(0x9E3779B97F4A7C15);

	/* more of the frequent words than of the rare ones, but no rank of its own */
	return (uint32) (WORDS * pow((hash >> 40) / 16777216.0, 3));
}

static int
compare_words(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* The document of a number, always the same; returns its distinct words */
static int
make_document(uint32 number, Posting *postings, uint32 *length)
{
	uint32		words[MAX_LENGTH];
	double		normal = -6;
	uint32		topic;
	int			n = 0;

	random_state = (number + 1) * UINT64CONST(0xD1342543DE82EF95);
	for (int i = 0; i < 12; i++)
		normal += unit();
	topic = random_bits() % TOPICS;
	*length = (uint32) (60 * exp(0.5 * normal - 0.125)) + 1;
	*length = Min(*length, MAX_LENGTH);
	for (uint32 i = 0; i < *length; i++)
	{
		double		kind = unit();

		if (kind < 0.2 && i > 0)
			words[i] = words[random_bits() % i];
		else if (kind < 0.45)
			words[i] = topic_word(topic, zipf(TOPIC_WORDS));
		else
			words[i] = zipf(WORDS);
	}
	qsort(words, *length, sizeof(uint32), compare_words);
	for (uint32 i = 0; i < *length; i++)
	{
		if (n > 0 && postings[n - 1].word == words[i])
			postings[n - 1].tf++;
		else
			postings[n++] = (Posting){words[i], 1};
	}
	return n;
}

static TextIndex *
make_index(uint32 ndocs)
{
	static Posting postings[MAX_LENGTH];
	TextIndex	   *index = calloc(1, sizeof(TextIndex));
	uint64	   *starts = calloc(WORDS + 1, sizeof(uint64));
	uint64	   *ends = malloc(sizeof(uint64) * WORDS);
	uint32	   *docs;
	uint16	   *tfs;

	index->docs.ndocs = ndocs;
	index->docs.lengths = malloc(sizeof(uint32) * ndocs);
	index->docs.rows = malloc(sizeof(uint64) * ndocs);
	for (uint32 i = 0; i < ndocs; i++)
	{
		int			n = make_document(i, postings, &index->docs.lengths[i]);

		index->docs.rows[i] = i;
		index->avgdl += (double) index->docs.lengths[i] / ndocs;
		for (int j = 0; j < n; j++)
			starts[postings[j].word + 1]++;
	}
	for (int w = 0; w < WORDS; w++)
	{
		starts[w + 1] += starts[w];
		ends[w] = starts[w];
	}
	index->npostings = starts[WORDS];
	docs = malloc(sizeof(uint32) * index->npostings);
	tfs = malloc(sizeof(uint16) * index->npostings);
	for (uint32 i = 0; i < ndocs; i++)
	{
		int			n = make_document(i, postings, &index->docs.lengths[i]);

		for (int j = 0; j < n; j++)
		{
			uint64		at = ends[postings[j].word]++;

			docs[at] = i;
			tfs[at] = postings[j].tf;
		}
	}
	test_finish_docs(&index->docs);
	index->lists = malloc(sizeof(OmenPostingList) * WORDS);
	for (int w = 0; w < WORDS; w++)
	{
		const TestList *list;

		index->lists[w] = test_form_list((uint32) (ends[w] - starts[w]),
										 docs + starts[w], tfs + starts[w],
										 index->docs.lengths);
		list = index->lists[w].list;
		index->bytes += list->size;
		index->skips += list->nblocks > 1 ?
			sizeof(OmenSkipData) * list->nblocks : 0;
	}
	free(docs);
	free(tfs);
	free(starts);
	free(ends);
	return index;
}

/* --- decoding --- */

static void
time_decoding(const TextIndex *index, int word)
{
	const OmenPostingList *source = &index->lists[word];
	OmenSkips	skips;
	OmenCursor *cursor = malloc(sizeof(OmenCursor));
	float		scores[OMEN_POSTING_BLOCK];
	OmenScoreForm form = {2.2f, 0.3f, 0.015f};
	double		best[3] = {1, 1, 1};

	omen_skips_open(&skips, source, index->docs.ndocs,
					AllocSetContextCreateInternal(NULL, "", 0, 0, 0));
	for (int repeat = 0; repeat < 7; repeat++)
		for (int what = 0; what < 3; what++)
		{
			double		start = now();

			omen_cursor_open(cursor, &skips);
			for (uint32 i = 0; i < skips.nblocks; i++)
			{
				omen_cursor_load(cursor, i);
				if (what > 0)
					omen_cursor_load_tfs(cursor);
				if (what > 1)
					omen_text_kernels->score(&form, cursor->n, cursor->tfs,
											 cursor->docs,
											 index->docs.short_lengths, 0,
											 scores);
			}
			best[what] = Min(best[what], (now() - start) / source->df);
		}
	printf("%-8s df %8u, %.2f bytes: documents %.2f ns, + frequencies %.2f ns, "
		   "+ scores %.2f ns a posting\n",
		   omen_text_kernels->name, source->df,
		   (double) ((TestList *) source->list)->size / source->df,
		   best[0] * 1e9, best[1] * 1e9, best[2] * 1e9);
	MemoryContextDelete(skips.context);
	free(cursor);
}

/* --- queries --- */

typedef struct Query
{
	OmenBm25	bm25;
	int			nterms;
	double		weights[MAX_TERMS];
	OmenPostingList lists[MAX_TERMS];
	OmenTopKSegment segment;
} Query;

static void
make_query(const TextIndex *index, int nterms, uint32 seed, Query *query)
{
	static Posting postings[MAX_LENGTH];
	uint32		length;
	int			n;

	do
		n = make_document((seed++ * 7919) % index->docs.ndocs, postings,
						  &length);
	while (n < nterms);
	query->bm25 = (OmenBm25){1.2, 0.75, index->avgdl, 1};
	query->nterms = nterms;
	for (int i = 0; i < nterms; i++)
	{
		int			at = i + random_bits() % (n - i);
		Posting		swapped = postings[at];

		postings[at] = postings[i];
		postings[i] = swapped;
		query->lists[i] = index->lists[swapped.word];
		query->weights[i] = omen_bm25_idf(index->docs.ndocs,
										  query->lists[i].df);
	}
	query->segment = (OmenTopKSegment){
		&test_doc_ops, (void *) &index->docs, index->docs.ndocs, query->lists,
		NULL, 0
	};
}

/* The best k scores, by scoring every posting */
static void
score_all(const TextIndex *index, const Query *query, int k, float *sums,
		  double *best)
{
	OmenCursor *cursor = malloc(sizeof(OmenCursor));
	float		scores[OMEN_POSTING_BLOCK];
	float	   *heap = calloc(k, sizeof(float));

	memset(sums, 0, sizeof(float) * index->docs.ndocs);
	for (int i = 0; i < query->nterms; i++)
	{
		OmenScoreForm form;
		OmenSkips	skips;

		form.weight = (float) omen_bm25_limit(&query->bm25, query->weights[i]);
		form.constant = (float) (query->bm25.k1 * (1 - query->bm25.b));
		form.slope = (float) (query->bm25.k1 * query->bm25.b /
							  query->bm25.avgdl);
		omen_skips_open(&skips, &query->lists[i], index->docs.ndocs,
						AllocSetContextCreateInternal(NULL, "", 0, 0, 0));
		omen_cursor_open(cursor, &skips);
		for (uint32 block = 0; block < skips.nblocks; block++)
		{
			omen_cursor_load(cursor, block);
			omen_cursor_load_tfs(cursor);
			omen_text_kernels->score(&form, cursor->n, cursor->tfs,
									 cursor->docs, index->docs.short_lengths,
									 0, scores);
			for (int j = 0; j < cursor->n; j++)
				sums[cursor->docs[j]] += scores[j];
		}
		MemoryContextDelete(skips.context);
	}
	for (uint32 i = 0; i < index->docs.ndocs; i++)
	{
		int			at = 0;

		if (sums[i] <= heap[0])
			continue;
		for (int child; (child = 2 * at + 1) < k; at = child)
		{
			if (child + 1 < k && heap[child + 1] < heap[child])
				child++;
			if (heap[child] >= sums[i])
				break;
			heap[at] = heap[child];
		}
		heap[at] = sums[i];
	}
	*best = heap[0];
	free(heap);
	free(cursor);
}

/* Microseconds of finding the documents that have all, or any, of the terms */
static double
time_match(const TextIndex *index, const Query *query, OmenMatchKind kind,
		   uint64 *bits)
{
	OmenMatchNode terms[MAX_TERMS];
	OmenMatchNode *operands[MAX_TERMS];
	OmenMatchNode top = {kind, false, NULL, query->nterms, operands};
	double		best = 1;

	for (int i = 0; i < query->nterms; i++)
	{
		terms[i] = (OmenMatchNode){OMEN_MATCH_TERM, false, &query->lists[i]};
		operands[i] = &terms[i];
	}
	for (int repeat = 0; repeat < 3; repeat++)
	{
		double		start = now();
		OmenMatch  *match = omen_match_create(&top, index->docs.ndocs, NULL);

		omen_match_fill(match, bits);
		omen_match_free(match);
		best = Min(best, now() - start);
	}
	return best;
}

static int
compare_times(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static void
time_queries(const TextIndex *index, int nterms, int nqueries, int k,
			 uint32 one_of)
{
	float	   *sums = malloc(sizeof(float) * index->docs.ndocs);
	double	   *times = malloc(sizeof(double) * nqueries);
	OmenTopKHit *hits = malloc(sizeof(OmenTopKHit) * k);
	uint64	   *allowed = calloc(index->docs.ndocs / 64 + 1, sizeof(uint64));
	uint32		nallowed = 0;
	double		ours = 0;
	double		all = 0;
	double		df = 0;
	double		and = 0;
	double		or = 0;
	OmenTopKStats sum = {0};
	int			wrong = 0;

	for (uint32 i = 0; one_of > 0 && i < index->docs.ndocs; i++)
		if (random_bits() % one_of == 0)
		{
			allowed[i / 64] |= UINT64CONST(1) << (i % 64);
			nallowed++;
		}
	for (int i = 0; i < nqueries; i++)
	{
		Query		query;
		OmenTopK   *topk;
		const OmenTopKStats *stats;
		double		start;
		double		worst = 0;
		int			n;

		make_query(index, nterms, i * 31 + 1000 * nterms, &query);
		if (one_of > 0)
		{
			query.segment.allowed = allowed;
			query.segment.nallowed = nallowed;
		}
		times[i] = 1;
		for (int repeat = 0; repeat < 3; repeat++)
		{
			start = now();
			test_enter();
			topk = omen_topk_create(&query.bm25, nterms, query.weights, 1,
									&query.segment);
			omen_topk_begin(topk, k, NULL);
			n = omen_topk_run(topk, hits);
			times[i] = Min(times[i], now() - start);
			if (repeat < 2)
				test_leave();
		}
		ours += times[i];
		stats = omen_topk_stats(topk);
		sum.windows += stats->windows;
		sum.blocks += stats->blocks;
		sum.blocks_total += stats->blocks_total;
		sum.postings += stats->postings;
		sum.candidates += stats->candidates;
		sum.scored += stats->scored;
		test_leave();
		for (int j = 0; j < nterms; j++)
			df += query.lists[j].df;
		if (one_of > 0)
			continue;
		and += time_match(index, &query, OMEN_MATCH_AND, allowed);
		or += time_match(index, &query, OMEN_MATCH_OR, allowed);
		start = now();
		score_all(index, &query, k, sums, &worst);
		all += now() - start;
		if (n == k && fabs(worst - hits[k - 1].score) > 1e-5 * worst)
			wrong++;
	}
	qsort(times, nqueries, sizeof(double), compare_times);
	printf("%5d %8.0f %7.1f %7.1f %7.1f %9.1f %8.0f %7.0f %7.0f %9.0f %7.0f "
		   "%6.0f %8.1f %8.1f%s\n",
		   nterms, df / nqueries, ours / nqueries * 1e6,
		   times[nqueries / 2] * 1e6, times[nqueries * 95 / 100] * 1e6,
		   all / nqueries * 1e6, (double) sum.windows / nqueries,
		   (double) sum.blocks_total / nqueries,
		   (double) sum.blocks / nqueries, (double) sum.postings / nqueries,
		   (double) sum.candidates / nqueries, (double) sum.scored / nqueries,
		   and / nqueries * 1e6, or / nqueries * 1e6, wrong > 0 ? " WRONG" : "");
	free(sums);
	free(times);
	free(hits);
	free(allowed);
}

int
main(int argc, char **argv)
{
	static const OmenSimdLevel levels[] = {
		OMEN_SIMD_GENERIC, OMEN_SIMD_NEON, OMEN_SIMD_AVX2, OMEN_SIMD_AVX512
	};
	uint32		ndocs = argc > 1 ? atoi(argv[1]) : 1000000;
	int			nqueries = argc > 2 ? atoi(argv[2]) : 200;
	int			k = argc > 3 ? atoi(argv[3]) : 10;
	int			one_of = argc > 4 ? atoi(argv[4]) : 0;
	TextIndex	   *index;

	omen_text_kernels = omen_text_kernels_of(OMEN_SIMD_GENERIC);
	index = make_index(ndocs);
	printf("%u documents, average length %.1f, %llu postings: %.2f bytes a "
		   "posting, and %.2f of entries\n", ndocs, index->avgdl,
		   (unsigned long long) index->npostings,
		   (double) index->bytes / index->npostings,
		   (double) index->skips / index->npostings);

	for (int i = 0; i < lengthof(levels); i++)
		if (omen_simd_supported(levels[i]))
		{
			omen_text_kernels = omen_text_kernels_of(levels[i]);
			time_decoding(index, 0);
			time_decoding(index, 1000);
			time_decoding(index, 20000);
		}
	omen_text_kernels = omen_text_kernels_of(omen_simd_detect());
	printf("%s: microseconds a query, k = %d\n"
		   "terms       df    mean     50%%     95%%       all  windows  "
		   "blocks decoded    scored  cands.  exact      AND       OR\n",
		   omen_text_kernels->name, k);
	for (int nterms = 1; nterms <= MAX_TERMS; nterms++)
		time_queries(index, nterms, nqueries, k, one_of);
	return 0;
}
