/*-------------------------------------------------------------------------
 *
 * bitvec.c
 *	  Distances between bit strings.
 *
 * Bits beyond the length of a bit string are zero, so that whole bytes can be
 * compared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "distance/distance.h"
#include "types/bitvec.h"

VarBit *
omen_bit_alloc(int dim)
{
	Size		size = VARBITTOTALLEN(dim);
	VarBit	   *result = palloc0(size);

	SET_VARSIZE(result, size);
	VARBITLEN(result) = dim;
	return result;
}

static void
check_same_length(VarBit *a, VarBit *b)
{
	if (VARBITLEN(a) != VARBITLEN(b))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different bit lengths %u and %u",
						VARBITLEN(a), VARBITLEN(b))));
}

OMEN_FUNCTION(omen_bit_hamming_distance);
Datum
omen_bit_hamming_distance(PG_FUNCTION_ARGS)
{
	VarBit	   *a = PG_GETARG_VARBIT_P(0);
	VarBit	   *b = PG_GETARG_VARBIT_P(1);

	check_same_length(a, b);
	PG_RETURN_FLOAT8((double) omen_distance->hamming((int) VARBITBYTES(a),
													 VARBITS(a), VARBITS(b)));
}

OMEN_FUNCTION(omen_bit_jaccard_distance);
Datum
omen_bit_jaccard_distance(PG_FUNCTION_ARGS)
{
	VarBit	   *a = PG_GETARG_VARBIT_P(0);
	VarBit	   *b = PG_GETARG_VARBIT_P(1);

	check_same_length(a, b);
	PG_RETURN_FLOAT8(omen_jaccard_distance(omen_distance->jaccard(
		(int) VARBITBYTES(a), VARBITS(a), VARBITS(b))));
}
