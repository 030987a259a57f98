/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings of omendb, and those of pgvector it understands.
 *
 * NOTES
 *	  Migrations and object mappers set hnsw.ef_search and its siblings, so
 *	  these names must be accepted, checked and shown as pgvector does.  Yet
 *	  pgvector's own library may be loaded into the same backend, before us or
 *	  after us, and the server allows only one library to define a name.
 *
 *	  Before us: the name exists, and we leave it alone and read its value.
 *	  After us: the server lets a definition replace a placeholder, the string
 *	  variable it makes for a name set before its library is loaded.  So we
 *	  define these names as string variables that carry the placeholder flag
 *	  and check what pgvector's would.  Replacing one resets our string to
 *	  NULL, by which we see it.
 *
 *	  For the same reason the prefix "hnsw" is not reserved by us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "lib/stringinfo.h"

#include "base/compat.h"
#include "base/cpu.h"
#include "base/guc.h"

/* A value of omendb.simd besides those of OmenSimdLevel */
#define SIMD_AUTO (-1)

#define MAX_SCAN_TUPLES_DEFAULT 20000
#define SCAN_MEM_MULTIPLIER_MAX 1000.0

/* A setting that pgvector has too, under the prefix "hnsw" */
typedef struct Inherited
{
	const char *name;
	const char *boot_value;
	const char *description;
	char	   *value;			/* NULL if pgvector's library owns the name */
	bool		is_explicit;	/* value is not the default */
} Inherited;

static const struct config_enum_entry simd_options[] = {
	{"auto", SIMD_AUTO, false},
	{"generic", OMEN_SIMD_GENERIC, false},
	{"neon", OMEN_SIMD_NEON, false},
	{"avx2", OMEN_SIMD_AVX2, false},
	{"avx512", OMEN_SIMD_AVX512, false},
	{NULL, 0, false}
};

static const struct config_enum_entry filter_strategy_options[] = {
	{"auto", OMEN_FILTER_AUTO, false},
	{"exact", OMEN_FILTER_EXACT, false},
	{"ranged", OMEN_FILTER_RANGED, false},
	{"sweep", OMEN_FILTER_SWEEP, false},
	{"seeded", OMEN_FILTER_SEEDED, false},
	{NULL, 0, false}
};

static const struct config_enum_entry gpu_build_options[] = {
	{"off", OMEN_GPU_BUILD_OFF, false},
	{"auto", OMEN_GPU_BUILD_AUTO, false},
	{"on", OMEN_GPU_BUILD_ON, false},
	{NULL, 0, false}
};

static const struct config_enum_entry iterative_scan_options[] = {
	{"off", OMEN_ITERATIVE_SCAN_OFF, false},
	{"relaxed_order", OMEN_ITERATIVE_SCAN_RELAXED, false},
	{"strict_order", OMEN_ITERATIVE_SCAN_STRICT, false},
	{NULL, 0, false}
};

static int	simd;
static bool enable_filtered_scan;
static bool enable_fused_scan;
static int	filter_strategy;
static int	gpu_build;
static char *gpu_helper_path;
static int	gpu_memory;
static int	gpu_timeout;
static int	kept_memory;
static bool vacuum_relink;

static int	ef_search;
static bool ef_search_explicit;
static bool exhaustive;
static int	iterative_scan;
static bool iterative_scan_explicit;
static int	max_scan_tuples;
static bool max_scan_tuples_explicit;
static double scan_mem_multiplier;
static bool scan_mem_multiplier_explicit;

static Inherited hnsw_ef_search = {
	"hnsw.ef_search", "40",
	"Sets the size of the dynamic candidate list for search."
};
static Inherited hnsw_iterative_scan = {
	"hnsw.iterative_scan", "off",
	"Sets the mode for iterative scans."
};
static Inherited hnsw_max_scan_tuples = {
	"hnsw.max_scan_tuples", "20000",
	"Sets the number of tuples to visit for iterative scans."
};
static Inherited hnsw_scan_mem_multiplier = {
	"hnsw.scan_mem_multiplier", "1",
	"Sets the multiple of work_mem to use for iterative scans."
};

/* --- knowing whether a value is explicit --- */

/*
 * Check hooks are the only ones told where a value comes from; "extra" carries
 * it to the assign hook, also when a value is restored later.
 */
static bool
remember_source(void **extra, GucSource source)
{
	bool	   *is_explicit = omen_compat_guc_malloc(sizeof(bool));

	if (is_explicit == NULL)
		return false;
	*is_explicit = source > PGC_S_DEFAULT;
	*extra = is_explicit;
	return true;
}

static bool
remember_source_int(int *newval, void **extra, GucSource source)
{
	return remember_source(extra, source);
}

static bool
remember_source_real(double *newval, void **extra, GucSource source)
{
	return remember_source(extra, source);
}

static void
assign_ef_search(int newval, void *extra)
{
	ef_search_explicit = *(bool *) extra;
}

static void
assign_iterative_scan(int newval, void *extra)
{
	iterative_scan_explicit = *(bool *) extra;
}

static void
assign_max_scan_tuples(int newval, void *extra)
{
	max_scan_tuples_explicit = *(bool *) extra;
}

static void
assign_scan_mem_multiplier(double newval, void *extra)
{
	scan_mem_multiplier_explicit = *(bool *) extra;
}

/* --- settings inherited from pgvector --- */

/*
 * Accept a value, in the form in which the server would show it had the
 * variable the type pgvector gives it.
 */
static bool
accept_inherited(char **newval, void **extra, GucSource source,
				 const char *canonical)
{
	if (strcmp(*newval, canonical) != 0)
	{
		char	   *copy = omen_compat_guc_malloc(strlen(canonical) + 1);

		if (copy == NULL)
			return false;
		strcpy(copy, canonical);
		omen_compat_guc_free(*newval);
		*newval = copy;
	}
	return remember_source(extra, source);
}

static bool
reject_inherited(const char *name, const char *value, const char *hint)
{
	GUC_check_errmsg("invalid value for parameter \"%s\": \"%s\"",
					 name, value);
	if (hint)
		GUC_check_errhint("%s", _(hint));
	return false;
}

static bool
check_inherited_int(const Inherited *setting, int max, char **newval,
					void **extra, GucSource source)
{
	const char *hint = NULL;
	char		canonical[16];
	int			value;

	if (!parse_int(*newval, &value, 0, &hint))
		return reject_inherited(setting->name, *newval, hint);
	if (value < 1 || value > max)
	{
		GUC_check_errmsg("%d is outside the valid range for parameter \"%s\" (%d .. %d)",
						 value, setting->name, 1, max);
		return false;
	}
	snprintf(canonical, sizeof(canonical), "%d", value);
	return accept_inherited(newval, extra, source, canonical);
}

static bool
check_hnsw_ef_search(char **newval, void **extra, GucSource source)
{
	return check_inherited_int(&hnsw_ef_search, OMEN_EF_SEARCH_MAX, newval,
							   extra, source);
}

static bool
check_hnsw_max_scan_tuples(char **newval, void **extra, GucSource source)
{
	return check_inherited_int(&hnsw_max_scan_tuples, INT_MAX, newval,
							   extra, source);
}

static bool
check_hnsw_scan_mem_multiplier(char **newval, void **extra, GucSource source)
{
	const char *name = hnsw_scan_mem_multiplier.name;
	const char *hint = NULL;
	char		canonical[32];
	double		value;

	if (!parse_real(*newval, &value, 0, &hint))
		return reject_inherited(name, *newval, hint);
	if (!(value >= 1 && value <= SCAN_MEM_MULTIPLIER_MAX))
	{
		GUC_check_errmsg("%g is outside the valid range for parameter \"%s\" (%g .. %g)",
						 value, name, 1.0, SCAN_MEM_MULTIPLIER_MAX);
		return false;
	}
	snprintf(canonical, sizeof(canonical), "%g", value);
	return accept_inherited(newval, extra, source, canonical);
}

static const struct config_enum_entry *
find_iterative_scan(const char *name)
{
	for (const struct config_enum_entry *e = iterative_scan_options; e->name;
		 e++)
	{
		if (pg_strcasecmp(e->name, name) == 0)
			return e;
	}
	return NULL;
}

static bool
check_hnsw_iterative_scan(char **newval, void **extra, GucSource source)
{
	const struct config_enum_entry *option = find_iterative_scan(*newval);

	if (option == NULL)
		return reject_inherited(hnsw_iterative_scan.name, *newval,
								"Available values: off, relaxed_order, strict_order.");
	return accept_inherited(newval, extra, source, option->name);
}

static void
assign_hnsw_ef_search(const char *newval, void *extra)
{
	hnsw_ef_search.is_explicit = *(bool *) extra;
}

static void
assign_hnsw_iterative_scan(const char *newval, void *extra)
{
	hnsw_iterative_scan.is_explicit = *(bool *) extra;
}

static void
assign_hnsw_max_scan_tuples(const char *newval, void *extra)
{
	hnsw_max_scan_tuples.is_explicit = *(bool *) extra;
}

static void
assign_hnsw_scan_mem_multiplier(const char *newval, void *extra)
{
	hnsw_scan_mem_multiplier.is_explicit = *(bool *) extra;
}

/*
 * Define one of pgvector's names, unless its library already has.  A name
 * without a value is unknown; one with a value is a placeholder, which we
 * replace, or a real variable.
 */
static void
define_inherited(Inherited *setting, GucStringCheckHook check,
				 GucStringAssignHook assign)
{
	const int	flags = GUC_CUSTOM_PLACEHOLDER | GUC_NO_SHOW_ALL |
		GUC_NOT_IN_SAMPLE;

	if (GetConfigOption(setting->name, true, false) != NULL &&
		!(GetConfigOptionFlags(setting->name, true) & GUC_CUSTOM_PLACEHOLDER))
		return;

	DefineCustomStringVariable(setting->name, setting->description, NULL,
							   &setting->value, setting->boot_value,
							   PGC_USERSET, flags, check, assign, NULL);
}

/*
 * The value of an inherited setting if it was set explicitly, else NULL.  Of
 * pgvector's own variable we see the value only: the default counts as not
 * set.
 */
static const char *
get_inherited(const Inherited *setting)
{
	const char *value;

	if (setting->value != NULL)
		return setting->is_explicit ? setting->value : NULL;

	value = GetConfigOption(setting->name, true, false);
	if (value == NULL || strcmp(value, setting->boot_value) == 0)
		return NULL;
	return value;
}

/* --- omendb.simd --- */

/* The names of the levels this machine can run, for a hint */
static char *
list_simd_levels(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (const struct config_enum_entry *e = simd_options; e->name; e++)
	{
		if (e->val == SIMD_AUTO || omen_simd_supported(e->val))
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "",
							 e->name);
	}
	return list.data;
}

static bool
check_simd(int *newval, void **extra, GucSource source)
{
	if (*newval == SIMD_AUTO || omen_simd_supported(*newval))
		return true;

	GUC_check_errmsg("this machine does not support the requested SIMD level");
	GUC_check_errhint("Levels supported here: %s.", list_simd_levels());
	return false;
}

static void
assign_simd(int newval, void *extra)
{
	omen_simd_assign(newval == SIMD_AUTO ? omen_simd_detect() : newval);
}

/* --- omendb.gpu_helper_path --- */

/* No search path, no folder that depends on who starts it */
static bool
check_gpu_helper_path(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || is_absolute_path(*newval))
		return true;
	GUC_check_errdetail("The path must be absolute.");
	return false;
}

/* --- definitions --- */

static void
define_inherited_settings(void)
{
	define_inherited(&hnsw_ef_search, check_hnsw_ef_search,
					 assign_hnsw_ef_search);
	define_inherited(&hnsw_iterative_scan, check_hnsw_iterative_scan,
					 assign_hnsw_iterative_scan);
	define_inherited(&hnsw_max_scan_tuples, check_hnsw_max_scan_tuples,
					 assign_hnsw_max_scan_tuples);
	define_inherited(&hnsw_scan_mem_multiplier, check_hnsw_scan_mem_multiplier,
					 assign_hnsw_scan_mem_multiplier);
}

static void
define_omendb_settings(void)
{
	DefineCustomBoolVariable("omendb.enable_filtered_scan",
							 "Enables the planner's use of filtered scans.",
							 NULL, &enable_filtered_scan, true, PGC_USERSET,
							 GUC_EXPLAIN, NULL, NULL, NULL);

	DefineCustomBoolVariable("omendb.enable_fused_scan",
							 "Enables the planner's use of fused scans.",
							 "Without them, only what fuse() computes for a "
							 "row alone can be ordered by.",
							 &enable_fused_scan, true, PGC_USERSET,
							 GUC_EXPLAIN, NULL, NULL, NULL);

	DefineCustomEnumVariable("omendb.filter_strategy",
							 "Sets how filtered scans find the nearest rows.",
							 "The default chooses by what the filter lets "
							 "through; the others are for tests.",
							 &filter_strategy, OMEN_FILTER_AUTO,
							 filter_strategy_options, PGC_USERSET,
							 GUC_EXPLAIN, NULL, NULL, NULL);

	DefineCustomEnumVariable("omendb.gpu_build",
							 "Sets whether a GPU builds indexes.",
							 "The default uses one for large indexes where "
							 "there is one; \"on\" is an error without.",
							 &gpu_build, OMEN_GPU_BUILD_AUTO,
							 gpu_build_options, PGC_USERSET, 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("omendb.gpu_helper_path",
							   "Sets the program that builds indexes on a GPU.",
							   "The default is the one installed beside the "
							   "library.",
							   &gpu_helper_path, "", PGC_SUSET,
							   GUC_SUPERUSER_ONLY,
							   check_gpu_helper_path, NULL, NULL);

	DefineCustomIntVariable("omendb.gpu_memory",
							"Sets how much memory of the GPU a build uses at "
							"most.",
							"The default is what is free when the build "
							"begins.",
							&gpu_memory, 0, 0, MAX_KILOBYTES, PGC_USERSET,
							GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomIntVariable("omendb.gpu_timeout",
							"Sets how long that program may be silent before "
							"the server goes on without it.",
							NULL, &gpu_timeout, 60, 1, 3600, PGC_USERSET,
							GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomIntVariable("omendb.kept_memory",
							"Sets how much memory a session keeps of indexes "
							"that it does not use at the moment.",
							"Of those not used for the longest time, it reads "
							"anew what it needs.",
							&kept_memory, 64 * 1024, 0, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomEnumVariable("omendb.simd",
							 "Sets the instruction set of distance kernels.",
							 "The default chooses the best this machine has.",
							 &simd, SIMD_AUTO, simd_options, PGC_USERSET, 0,
							 check_simd, assign_simd, NULL);

	DefineCustomBoolVariable("omendb.vacuum_relink",
							 "Lets VACUUM choose all links of an index anew "
							 "where a tenth of its rows has come or gone.",
							 "It takes the time and the temporary files of "
							 "building the graph once more.",
							 &vacuum_relink, true, PGC_USERSET, 0,
							 NULL, NULL, NULL);

	MarkGUCPrefixReserved("omendb");
}

static void
define_omenhnsw_settings(void)
{
	DefineCustomIntVariable("omenhnsw.ef_search",
							"Sets the size of the candidate list of a search.",
							"Larger is slower and finds more of the true "
							"neighbours; it does not limit the rows returned.",
							&ef_search, OMEN_EF_SEARCH_DEFAULT,
							OMEN_EF_SEARCH_MIN, OMEN_EF_SEARCH_MAX,
							PGC_USERSET, GUC_EXPLAIN,
							remember_source_int, assign_ef_search, NULL);

	DefineCustomBoolVariable("omenhnsw.exhaustive",
							 "Lets a scan go on until every row is returned.",
							 NULL, &exhaustive, true, PGC_USERSET,
							 GUC_EXPLAIN, NULL, NULL, NULL);

	DefineCustomEnumVariable("omenhnsw.iterative_scan",
							 "Sets the mode for iterative scans.",
							 NULL, &iterative_scan, OMEN_ITERATIVE_SCAN_OFF,
							 iterative_scan_options, PGC_USERSET, GUC_EXPLAIN,
							 remember_source_int, assign_iterative_scan, NULL);

	DefineCustomIntVariable("omenhnsw.max_scan_tuples",
							"Sets the number of tuples to visit for "
							"iterative scans.",
							NULL, &max_scan_tuples, MAX_SCAN_TUPLES_DEFAULT,
							1, INT_MAX, PGC_USERSET, GUC_EXPLAIN,
							remember_source_int, assign_max_scan_tuples, NULL);

	DefineCustomRealVariable("omenhnsw.scan_mem_multiplier",
							 "Sets the multiple of work_mem to use for "
							 "iterative scans.",
							 NULL, &scan_mem_multiplier,
							 1, 1, SCAN_MEM_MULTIPLIER_MAX, PGC_USERSET,
							 GUC_EXPLAIN, remember_source_real,
							 assign_scan_mem_multiplier, NULL);

	MarkGUCPrefixReserved("omenhnsw");
}

/*
 * Define every setting.  Called once when the library is loaded.
 */
void
omen_guc_init(void)
{
	define_inherited_settings();
	define_omendb_settings();
	define_omenhnsw_settings();
}

/* --- values in force --- */

int
omen_guc_ef_search(int index_default)
{
	const char *inherited;

	if (ef_search_explicit)
		return ef_search;
	inherited = get_inherited(&hnsw_ef_search);
	if (inherited != NULL)
		return atoi(inherited);
	return index_default > 0 ? index_default : ef_search;
}

bool
omen_guc_exhaustive(void)
{
	return exhaustive;
}

OmenFilterStrategy
omen_guc_filter_strategy(void)
{
	return filter_strategy;
}

bool
omen_guc_filtered_scan(void)
{
	return enable_filtered_scan;
}

bool
omen_guc_fused_scan(void)
{
	return enable_fused_scan;
}

OmenGpuBuild
omen_guc_gpu_build(void)
{
	return gpu_build;
}

const char *
omen_guc_gpu_helper_path(void)
{
	return gpu_helper_path;
}

int
omen_guc_gpu_memory(void)
{
	return gpu_memory;
}

int
omen_guc_gpu_timeout(void)
{
	return gpu_timeout;
}

int
omen_guc_kept_memory(void)
{
	return kept_memory;
}

OmenIterativeScan
omen_guc_iterative_scan(void)
{
	const char *inherited = get_inherited(&hnsw_iterative_scan);

	if (!iterative_scan_explicit && inherited != NULL)
		return find_iterative_scan(inherited)->val;
	return iterative_scan;
}

int
omen_guc_max_scan_tuples(void)
{
	const char *inherited = get_inherited(&hnsw_max_scan_tuples);

	if (!max_scan_tuples_explicit && inherited != NULL)
		return atoi(inherited);
	return max_scan_tuples;
}

double
omen_guc_scan_mem_multiplier(void)
{
	const char *inherited = get_inherited(&hnsw_scan_mem_multiplier);

	if (!scan_mem_multiplier_explicit && inherited != NULL)
		return strtod(inherited, NULL);
	return scan_mem_multiplier;
}

bool
omen_guc_vacuum_relink(void)
{
	return vacuum_relink;
}

const char *
omen_guc_strategy_name(OmenFilterStrategy strategy)
{
	return filter_strategy_options[strategy].name;
}
