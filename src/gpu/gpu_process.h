/*-------------------------------------------------------------------------
 *
 * gpu_process.h
 *	  A helper program at the other end of a socket, and the messages from and
 *	  to it.
 *
 * The helper lives as long as the memory context that it was started in: it is
 * killed and reaped when that goes, on error too.  While waiting for it, the
 * server can be interrupted.
 *
 * Whatever goes wrong with the helper is no error.  The functions return false,
 * and the helper tells why; nothing more can be done with it then than to stop
 * it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_PROCESS_H
#define OMEN_GPU_PROCESS_H

#include "gpu/gpu_protocol.h"

typedef struct OmenGpuHelper OmenGpuHelper;

/*
 * Start the program at an absolute path.  It may be silent for so many seconds
 * while it is waited for.  Never NULL.
 */
extern OmenGpuHelper *omen_gpu_start(const char *path, int timeout);

/*
 * Kill it, unless it has been.  A device may take a while to let go of it, which is
 * waited for when the memory context goes.
 */
extern void omen_gpu_stop(OmenGpuHelper *helper);

/* Would omen_gpu_receive() find something, if only that it has gone? */
extern bool omen_gpu_has_spoken(const OmenGpuHelper *helper);

extern bool omen_gpu_send(OmenGpuHelper *helper, OmenGpuMessage type,
						  const void *payload, Size length);

/* The next message, which is never OMEN_GPU_ERROR: that is a failure */
extern bool omen_gpu_receive(OmenGpuHelper *helper, OmenGpuReceived *received);

/* It has failed, for a reason that the caller has found; returns false */
extern bool omen_gpu_fail(OmenGpuHelper *helper, const char *fault);

/* Why it has failed, without a full stop */
extern const char *omen_gpu_fault(const OmenGpuHelper *helper);

/* What it has said was wrong, an OmenGpuErrorCode; 0 if it has said nothing */
extern uint32 omen_gpu_error_code(const OmenGpuHelper *helper);

#endif							/* OMEN_GPU_PROCESS_H */
