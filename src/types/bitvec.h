/*-------------------------------------------------------------------------
 *
 * bitvec.h
 *	  Bit strings as vectors: the server's own type bit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_BITVEC_H
#define OMEN_TYPES_BITVEC_H

#include "base/compat.h"
#include "utils/varbit.h"

/* The longest bit string that can be indexed */
#define OMEN_BIT_MAX_DIM 64000

/* A bit string of zeros in the current memory context */
extern VarBit *omen_bit_alloc(int dim);

#endif							/* OMEN_TYPES_BITVEC_H */
