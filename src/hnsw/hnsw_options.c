/*-------------------------------------------------------------------------
 *
 * hnsw_options.c
 *	  Options of an index: WITH (m, ef_construction, quantizer, ef_search).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "hnsw/hnsw.h"

static relopt_kind hnsw_relopt_kind;

static relopt_enum_elt_def quantizer_values[] =
{
	{"auto", OMEN_QUANTIZER_AUTO},
	{"rabitq", OMEN_QUANTIZER_RABITQ},
	{"sq8", OMEN_QUANTIZER_SQ8},
	{"pq", OMEN_QUANTIZER_PQ},
	{"none", OMEN_QUANTIZER_NONE},
	{(const char *) NULL}
};

void
omen_hnsw_init(void)
{
	hnsw_relopt_kind = add_reloption_kind();
	add_int_reloption(hnsw_relopt_kind, "m",
					  "Half the number of links a node may keep",
					  OMEN_HNSW_DEFAULT_M, OMEN_HNSW_MIN_M, OMEN_HNSW_MAX_M,
					  AccessExclusiveLock);
	add_int_reloption(hnsw_relopt_kind, "ef_construction",
					  "Breadth of the candidates that links are chosen from",
					  OMEN_HNSW_DEFAULT_EF_CONSTRUCTION,
					  OMEN_HNSW_MIN_EF_CONSTRUCTION,
					  OMEN_HNSW_MAX_EF_CONSTRUCTION, AccessExclusiveLock);
	add_enum_reloption(hnsw_relopt_kind, "quantizer",
					   "How vectors are encoded in the index",
					   quantizer_values, OMEN_QUANTIZER_AUTO,
					   "Valid values are \"auto\", \"rabitq\", \"sq8\", \"pq\", and \"none\".",
					   AccessExclusiveLock);
	add_int_reloption(hnsw_relopt_kind, "ef_search",
					  "Candidates that a scan looks at first, 0 for the setting's value",
					  0, 0, OMEN_HNSW_MAX_EF_SEARCH, ShareUpdateExclusiveLock);
}

bytea *
omen_hnsw_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"m", RELOPT_TYPE_INT, offsetof(OmenHnswOptions, m)},
		{"ef_construction", RELOPT_TYPE_INT,
		offsetof(OmenHnswOptions, ef_construction)},
		{"quantizer", RELOPT_TYPE_ENUM, offsetof(OmenHnswOptions, quantizer)},
		{"ef_search", RELOPT_TYPE_INT, offsetof(OmenHnswOptions, ef_search)},
	};

	return (bytea *) build_reloptions(reloptions, validate, hnsw_relopt_kind,
									  sizeof(OmenHnswOptions), table,
									  lengthof(table));
}

OmenHnswOptions
omen_hnsw_get_options(Relation index)
{
	OmenHnswOptions defaults = {
		.m = OMEN_HNSW_DEFAULT_M,
		.ef_construction = OMEN_HNSW_DEFAULT_EF_CONSTRUCTION,
		.quantizer = OMEN_QUANTIZER_AUTO,
	};

	if (index->rd_options)
		return *(OmenHnswOptions *) index->rd_options;
	return defaults;
}
