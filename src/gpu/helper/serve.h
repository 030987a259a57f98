/*-------------------------------------------------------------------------
 *
 * serve.h
 *	  What omendb-gpu-build can be asked to do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_SERVE_H
#define OMEN_GPU_SERVE_H

#include "gpu/helper/backend.h"

/* Where the helper computes; ops is NULL if there is nowhere */
typedef struct Place
{
	const BackendOps *ops;
	char		name[64];
	uint64_t	memory;
	char		fault[200];		/* why there is nowhere */
} Place;

/*
 * One build, by the protocol, from one file descriptor to the other.  Returns
 * the exit status.
 */
extern int	omen_gpu_serve(const Place *place, int in, int out);

/* Exact search over files, see exact.c; returns the exit status */
extern int	omen_gpu_exact(const Place *place, int nargs, char **args);

#endif							/* OMEN_GPU_SERVE_H */
