/*-------------------------------------------------------------------------
 *
 * build.h
 *	  Construction of the graph on a backend, see build.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_BUILD_H
#define OMEN_GPU_BUILD_H

#include "gpu/helper/backend.h"

typedef struct BuildParams
{
	const uint8_t *levels;		/* of all nodes */
	const uint32_t *order;		/* all nodes, near ones near to each other */
	int			rounds;			/* clusterings */
	uint64_t	seed;

	/* how much of the whole is done; may not return */
	void		(*progress) (void *arg, uint64_t done, uint64_t total);
	void	   *progress_arg;
} BuildParams;

/*
 * Find the links of all nodes, which have been loaded.  Returns false if the
 * backend or memory failed; then backend->fault tells why.
 */
extern bool omen_gpu_build(Backend *backend, const BuildParams *params);

#endif							/* OMEN_GPU_BUILD_H */
