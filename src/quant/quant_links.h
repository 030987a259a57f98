/*-------------------------------------------------------------------------
 *
 * quant_links.h
 *	  How link codes of one or two bits a dimension are formed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_QUANT_LINKS_H
#define OMEN_QUANT_LINKS_H

#include "quant/quant_kernels.h"

/* Bits of a dimension */
static inline int
omen_link_level_bits(const OmenCodeShape *shape)
{
	return shape->link_kind == OMEN_LINK_RABITQ2 ? 2 : 1;
}

/* Bytes of the last, partial group of a link code; 0 if there is none */
static inline int
omen_link_tail_bytes(const OmenCodeShape *shape)
{
	int			left = shape->link_dims % OMEN_LINK_GROUP;

	return (left * omen_link_level_bits(shape) + 31) / 32 * 4;
}

/*
 * Codes and factors of so many links of a node, OMEN_LINKS_AT_A_TIME at most, from
 * pair codes; scratch: float[2 * code_dims] for each
 */
extern void omen_link_encode(const OmenQuantizer *quant, const uint8 *centre,
							 OmenLinkCode *links, int n, float *scratch);

#endif							/* OMEN_QUANT_LINKS_H */
