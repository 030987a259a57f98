/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  The settings of omendb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BASE_GUC_H
#define OMEN_BASE_GUC_H

typedef enum OmenIterativeScan
{
	OMEN_ITERATIVE_SCAN_OFF,
	OMEN_ITERATIVE_SCAN_RELAXED,
	OMEN_ITERATIVE_SCAN_STRICT
} OmenIterativeScan;

/*
 * How a scan finds the nearest of the nodes that a filter allows, see
 * hnsw/omen_scan.h.
 */
typedef enum OmenFilterStrategy
{
	OMEN_FILTER_AUTO,
	OMEN_FILTER_EXACT,			/* measure every allowed node */
	OMEN_FILTER_RANGED,			/* the same, nearest ranges of numbers first */
	OMEN_FILTER_SWEEP,			/* walk as if there were no filter */
	OMEN_FILTER_SEEDED			/* walk from allowed nodes to allowed nodes */
} OmenFilterStrategy;

/* Whether a device builds graphs, see hnsw/hnsw_gpu.c */
typedef enum OmenGpuBuild
{
	OMEN_GPU_BUILD_OFF,
	OMEN_GPU_BUILD_AUTO,		/* where there is one and it pays */
	OMEN_GPU_BUILD_ON			/* or it is an error */
} OmenGpuBuild;

/* Bounds shared with the index options of the same names */
#define OMEN_EF_SEARCH_DEFAULT 40
#define OMEN_EF_SEARCH_MIN 1
#define OMEN_EF_SEARCH_MAX 1000

extern void omen_guc_init(void);

/*
 * Settings in force.  Where pgvector has a setting of the same meaning under
 * "hnsw.", an explicit omenhnsw.* setting wins over an explicit hnsw.* one,
 * and that over the default.  index_default is the index's own option, or 0;
 * it stands between settings and the built-in default.
 */
extern int	omen_guc_ef_search(int index_default);
extern bool omen_guc_exhaustive(void);
extern OmenFilterStrategy omen_guc_filter_strategy(void);
extern bool omen_guc_filtered_scan(void);
extern bool omen_guc_fused_scan(void);
extern OmenGpuBuild omen_guc_gpu_build(void);
extern OmenIterativeScan omen_guc_iterative_scan(void);
extern int	omen_guc_max_scan_tuples(void);
extern double omen_guc_scan_mem_multiplier(void);
extern bool omen_guc_vacuum_relink(void);

/* The program that builds graphs on a device; "" is the one installed with us */
extern const char *omen_guc_gpu_helper_path(void);

/* Seconds that it may be silent */
extern int	omen_guc_gpu_timeout(void);

/* Memory of a device that a build may use, in kB; 0 for what is free */
extern int	omen_guc_gpu_memory(void);

/* Memory for what is kept of indexes that are not in use, in kB */
extern int	omen_guc_kept_memory(void);

/* The name of a strategy, as the setting has it */
extern const char *omen_guc_strategy_name(OmenFilterStrategy strategy);

#endif							/* OMEN_BASE_GUC_H */
