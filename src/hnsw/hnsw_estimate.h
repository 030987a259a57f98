/*-------------------------------------------------------------------------
 *
 * hnsw_estimate.h
 *	  What a bulk build will take, before it begins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_HNSW_ESTIMATE_H
#define OMEN_HNSW_ESTIMATE_H

#include "hnsw/hnsw.h"

/* Steps of a build that take time, in their order */
typedef enum OmenBuildStep
{
	OMEN_BUILD_LOAD,
	OMEN_BUILD_FOLD,
	OMEN_BUILD_CONSTRUCT,
	OMEN_BUILD_WRITE,
	OMEN_BUILD_STEPS
} OmenBuildStep;

typedef struct OmenBuildEstimate
{
	double		index_bytes;
	double		file_bytes;		/* temporary files */
	double		private_bytes;	/* memory of all participants beside them */
	double		mapped_bytes;	/* and what they map or copy of the files */
	double		seconds[OMEN_BUILD_STEPS];
	double		total_seconds;
} OmenBuildEstimate;

/*
 * Estimate the build of an index whose shape and layout are known, for so
 * many rows of distinct values in so many blocks of the table.  own_bytes is
 * the typical length of an own code, if that varies.  Measures the CPU, some ten
 * milliseconds with OMEN_ESTIMATE_PASSES, of which the best counts; one with a single
 * pass, which may have been disturbed.  Time is that of the CPU: a disk that cannot
 * keep up is not in it.
 */
#define OMEN_ESTIMATE_PASSES	9

extern void omen_hnsw_estimate_build(const OmenHnswMetaPageData *meta,
									 Size own_bytes, double rows,
									 double blocks, int nparticipants,
									 int passes, OmenBuildEstimate *estimate);

/* "2 minutes" and "1.2 GB", palloc'd */
extern char *omen_hnsw_form_duration(double seconds);
extern char *omen_hnsw_form_size(double bytes);

#endif							/* OMEN_HNSW_ESTIMATE_H */
