/*-------------------------------------------------------------------------
 *
 * tid.h
 *	  A row's TID as a number, in the order of TIDs, and back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TID_H
#define OMEN_TID_H

#include "storage/itemptr.h"

static inline uint64
omen_tid_row(const ItemPointerData *tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		ItemPointerGetOffsetNumberNoCheck(tid);
}

static inline void
omen_tid_set(ItemPointer tid, uint64 row)
{
	ItemPointerSet(tid, (BlockNumber) (row >> 16), (OffsetNumber) row);
}

#endif							/* OMEN_TID_H */
