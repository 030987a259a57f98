/*-------------------------------------------------------------------------
 *
 * bm25_varint.h
 *	  Numbers in 1 to 5 bytes: seven bits each, the lowest first, the eighth
 *	  bit set in all but the last.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_BM25_VARINT_H
#define OMEN_BM25_VARINT_H

#define OMEN_VARINT_MAX	5

/* Returns what follows */
static inline uint8 *
omen_varint_put(uint8 *to, uint32 value)
{
	while (value >= 128)
	{
		*to++ = (uint8) (value | 128);
		value >>= 7;
	}
	*to++ = (uint8) value;
	return to;
}

/* Returns what follows; NULL if the number does not end before "end" */
static inline const uint8 *
omen_varint_get(const uint8 *from, const uint8 *end, uint32 *value)
{
	uint32		result = 0;

	for (int shift = 0; from < end && shift < 7 * OMEN_VARINT_MAX; shift += 7)
	{
		uint8		byte = *from++;

		result |= (uint32) (byte & 127) << shift;
		if (byte < 128)
		{
			*value = result;
			return from;
		}
	}
	return NULL;
}

#endif							/* OMEN_BM25_VARINT_H */
