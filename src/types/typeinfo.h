/*-------------------------------------------------------------------------
 *
 * typeinfo.h
 *	  What an operator class tells the index about its type and metric.
 *
 * Support function 4 of every operator class of omenhnsw returns an
 * OmenOpclassInfo.  Support function 3, where pgvector has one, returns an
 * OmenTypeInfo; it is there so that operator classes declared with pgvector's
 * function numbers are complete.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_TYPES_TYPEINFO_H
#define OMEN_TYPES_TYPEINFO_H

#include "distance/distance.h"

typedef struct OmenTypeInfo
{
	OmenElementType element;
	int			max_dims;		/* most dimensions that can be indexed */
} OmenTypeInfo;

typedef struct OmenOpclassInfo
{
	OmenElementType element;
	OmenMetric	metric;
	int			max_dims;		/* most dimensions that can be indexed */
	const char *type_name;		/* SQL name, for messages */
} OmenOpclassInfo;

#endif							/* OMEN_TYPES_TYPEINFO_H */
