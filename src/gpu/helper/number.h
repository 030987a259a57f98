/*-------------------------------------------------------------------------
 *
 * number.h
 *	  Coarse clusters of all rows, see number.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_NUMBER_H
#define OMEN_GPU_NUMBER_H

#include "gpu/helper/backend.h"

/* Rows whose codes are to be kept, and the i-th of them; ascending */
extern uint32_t omen_gpu_sample_size(uint32_t n);
extern uint32_t omen_gpu_sample_row(uint64_t seed, uint32_t n, uint32_t i);

/* Places behind the rows that a backend must have for leaders */
extern uint32_t omen_gpu_number_spare(uint32_t n);

/*
 * Divide the rows, which have been loaded, into coarse clusters: clusters[row] is
 * the cluster of each, and rows[] has the rows by cluster, ascending in each.
 * sample: codes of the sample's rows, as they were loaded.  Returns false if the
 * backend or memory failed; then backend->fault tells why.
 */
extern bool omen_gpu_number(Backend *backend, uint64_t seed,
							const uint8_t *sample, uint32_t *clusters,
							uint32_t *rows);

#endif							/* OMEN_GPU_NUMBER_H */
