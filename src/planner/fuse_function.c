/*-------------------------------------------------------------------------
 *
 * fuse_function.c
 *	  rrf() and fuse() as functions of SQL.
 *
 *		rrf(branch, branch [, ...], weights, k, window_size)
 *		fuse(branch, branch, norm, alpha, weights, window_size)
 *		fuse(branch, branch, branch [, ...], norm, weights, window_size)
 *
 * Ranks, and norms that are relative to other rows, are known only to a fused
 * scan, which returns what these would.  Called for a row, fuse() has a value
 * if its norm needs no other rows, as then a Sort can order by it; else they
 * report an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "planner/fuse.h"

#define K_DEFAULT	60

OMEN_FUNCTION(omen_rrf);
OMEN_FUNCTION(omen_fuse);
OMEN_FUNCTION(omen_fuse_support);

static bool has_source(Oid function, const char *source, bool prefix);
static bool is_called_walker(Node *node, void *arg);
static bool may_need_window(const FuncExpr *expr, int nbranches);
static bool may_need_ceiling(const FuncExpr *expr, int nbranches);
static OmenNorm read_norm(Datum datum, bool isnull);
static void read_alpha(OmenFuseOptions *options, Datum datum, bool isnull);
static void read_weights(OmenFuseOptions *options, Datum datum, bool isnull,
						 double fallback);
static int	read_window(Datum datum, bool isnull);
static int	count_branches(FunctionCallInfo fcinfo);
static void find_measures(FunctionCallInfo fcinfo, int nbranches,
						  OmenFuseScale *scales);
static void check_unranked(FunctionCallInfo fcinfo, int nbranches,
						   const char *function);

Datum
omen_rrf(PG_FUNCTION_ARGS)
{
	check_unranked(fcinfo, count_branches(fcinfo), "rrf");
	PG_RETURN_FLOAT8(0);
}

Datum
omen_fuse(PG_FUNCTION_ARGS)
{
	OmenFuseOptions options = {.nbranches = count_branches(fcinfo)};
	OmenFuseScale scales[OMEN_FUSE_MAX_BRANCHES] = {0};
	Datum		datums[FUNC_MAX_ARGS];
	bool		isnull[FUNC_MAX_ARGS];
	double		values[OMEN_FUSE_MAX_BRANCHES];
	double		score;

	for (int i = 0; i < PG_NARGS(); i++)
	{
		datums[i] = PG_GETARG_DATUM(i);
		isnull[i] = PG_ARGISNULL(i);
	}
	omen_fuse_read_options(&options, datums + options.nbranches,
						   isnull + options.nbranches);
	if (omen_fuse_norm_needs_window(options.norm))
	{
		check_unranked(fcinfo, options.nbranches, "fuse");
		PG_RETURN_FLOAT8(0);
	}
	if (options.norm == OMEN_NORM_THEORETICAL)
		find_measures(fcinfo, options.nbranches, scales);
	for (int i = 0; i < options.nbranches; i++)
		values[i] = isnull[i] ? 0 : DatumGetFloat8(datums[i]);
	if (!omen_fuse_score(&options, scales, values, isnull, &score))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(score);
}

/* Without a branch that ranks rows, all are equal: then there is no scan */
static void
check_unranked(FunctionCallInfo fcinfo, int nbranches, const char *function)
{
	int			nnulls = 0;

	while (nnulls < nbranches && PG_ARGISNULL(nnulls))
		nnulls++;
	if (nnulls == nbranches)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot compute %s() for a single row", function),
			 errdetail("It depends on the other rows, and only a query that is ordered by it first, ascending, from one table, ranks them."),
			 errhint("Write ORDER BY %s(...) in a subquery that reads nothing but the table.",
					 function)));
}

/* Where a scan brings the score, nothing is computed: this is for a Sort */
Datum
omen_fuse_support(PG_FUNCTION_ARGS)
{
	SupportRequestCost *request = (SupportRequestCost *) PG_GETARG_POINTER(0);
	OmenFuseCall call;

	if (!IsA(request, SupportRequestCost) || request->node == NULL ||
		!omen_fuse_read_call(request->node, &call))
		PG_RETURN_POINTER(NULL);
	request->startup = 0;
	request->per_tuple = cpu_operator_cost * call.nbranches;
	PG_RETURN_POINTER(request);
}

/* --- recognised in a query --- */

bool
omen_fuse_read_call(Node *node, OmenFuseCall *call)
{
	FuncExpr   *expr = (FuncExpr *) node;
	int			n = 0;
	ListCell   *cell;

	if (node == NULL || !IsA(node, FuncExpr) ||
		expr->funcresulttype != FLOAT8OID)
		return false;
	call->by_rank = has_source(expr->funcid, "omen_rrf", false);
	if (!call->by_rank && !has_source(expr->funcid, "omen_fuse", false))
		return false;
	foreach(cell, expr->args)
	{
		if (exprType(lfirst(cell)) != FLOAT8OID)
			break;
		n++;
	}
	Assert(n >= 2 && n <= OMEN_FUSE_MAX_BRANCHES);
	call->is_single = false;
	call->nbranches = n;
	call->score = (Expr *) expr;
	call->args = expr->args;
	call->is_relative = call->by_rank || may_need_window(expr, n);
	call->needs_scan = call->is_relative || may_need_ceiling(expr, n);
	return true;
}

/* Unless the norm is known not to */
static bool
may_need_window(const FuncExpr *expr, int nbranches)
{
	const Const *norm = list_nth(expr->args, nbranches);

	return !IsA(norm, Const) || norm->constisnull ||
		omen_fuse_norm_needs_window(read_norm(norm->constvalue, false));
}

/* Of a text, how good it can be is known to its index only */
static bool
may_need_ceiling(const FuncExpr *expr, int nbranches)
{
	const Const *norm = list_nth(expr->args, nbranches);

	if (read_norm(norm->constvalue, false) != OMEN_NORM_THEORETICAL)
		return false;
	for (int i = 0; i < nbranches; i++)
	{
		if (omen_fuse_measure(list_nth(expr->args, i)) == OMEN_MEASURE_TEXT)
			return true;
	}
	return false;
}

const char *
omen_fuse_call_name(const OmenFuseCall *call)
{
	return call->by_rank ? "rrf" : "fuse";
}

bool
omen_fuse_is_called(Node *expr)
{
	return is_called_walker(expr, NULL);
}

static bool
is_called_walker(Node *node, void *arg)
{
	OmenFuseCall call;

	if (node == NULL)
		return false;
	if (omen_fuse_read_call(node, &call))
		return true;
	return expression_tree_walker(node, is_called_walker, arg);
}

/* Only superusers can make functions of C, so the name says enough */
static bool
has_source(Oid function, const char *source, bool prefix)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		found = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		bool		isnull;
		Datum		datum = SysCacheGetAttr(PROCOID, tuple,
											Anum_pg_proc_prosrc, &isnull);
		char	   *name = TextDatumGetCString(datum);

		found = prefix ? strncmp(name, source, strlen(source)) == 0 :
			strcmp(name, source) == 0;
	}
	ReleaseSysCache(tuple);
	return found;
}

OmenMeasure
omen_fuse_measure(Node *branch)
{
	static const struct
	{
		const char *operator;
		OmenMeasure measure;
	}			measures[] = {
		{"<->", OMEN_MEASURE_DISTANCE},
		{"<+>", OMEN_MEASURE_DISTANCE},
		{"<~>", OMEN_MEASURE_DISTANCE},
		{"<=>", OMEN_MEASURE_COSINE},
		{"<%>", OMEN_MEASURE_SHARE},
		{"<#>", OMEN_MEASURE_PRODUCT},
		{"<@>", OMEN_MEASURE_TEXT},
	};
	OpExpr	   *op = (OpExpr *) branch;
	char	   *name;

	if (branch == NULL || !IsA(branch, OpExpr) ||
		!has_source(get_opcode(op->opno), "omen_", true))
		return OMEN_MEASURE_UNKNOWN;
	name = get_opname(op->opno);
	for (int i = 0; i < lengthof(measures); i++)
	{
		if (strcmp(name, measures[i].operator) == 0)
			return measures[i].measure;
	}
	return OMEN_MEASURE_UNKNOWN;
}

/* --- options --- */

void
omen_fuse_read_options(OmenFuseOptions *options, const Datum *values,
					   const bool *isnull)
{
	int			n = 0;

	options->norm = OMEN_NORM_NONE;
	options->k = K_DEFAULT;
	if (options->by_rank)
	{
		read_weights(options, values[0], isnull[0], 1);
		if (!isnull[1])
			options->k = DatumGetInt32(values[1]);
		if (options->k < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("k of rrf() must not be negative, but is %d",
							options->k)));
		options->window = read_window(values[2], isnull[2]);
		return;
	}

	options->norm = read_norm(values[n], isnull[n]);
	n++;
	if (options->nbranches == 2)
	{
		read_weights(options, values[n + 1], isnull[n + 1], 0.5);
		if (!isnull[n] && !isnull[n + 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("fuse() takes either alpha or weights")));
		read_alpha(options, values[n], isnull[n]);
		n += 2;
	}
	else
	{
		read_weights(options, values[n], isnull[n], 1.0 / options->nbranches);
		n++;
	}
	options->window = read_window(values[n], isnull[n]);
	if (options->window > 0 && !omen_fuse_norm_needs_window(options->norm))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("window_size means nothing with norm \"%s\"",
						omen_fuse_norm_name(options->norm)),
				 errdetail("There, the score of a row does not depend on other rows.")));
}

static OmenNorm
read_norm(Datum datum, bool isnull)
{
	char	   *name;
	const char *known;

	if (isnull)
		return OMEN_NORM_MINMAX;
	name = TextDatumGetCString(datum);
	for (int norm = 0; (known = omen_fuse_norm_name(norm)) != NULL; norm++)
	{
		if (pg_strcasecmp(name, known) == 0)
			return norm;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("norm \"%s\" is not known", name),
			 errhint("Norms are minmax, theoretical, zscore and none.")));
}

static void
read_alpha(OmenFuseOptions *options, Datum datum, bool isnull)
{
	double		alpha;

	if (isnull)
		return;
	alpha = DatumGetFloat8(datum);
	if (!(alpha >= 0 && alpha <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("alpha of fuse() must be between 0 and 1, but is %g",
						alpha)));
	options->weights[0] = alpha;
	options->weights[1] = 1 - alpha;
}

static void
read_weights(OmenFuseOptions *options, Datum datum, bool isnull,
			 double fallback)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	for (int i = 0; i < options->nbranches; i++)
		options->weights[i] = fallback;
	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(datum), FLOAT8OID, sizeof(float8),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls,
					  &n);
	if (n != options->nbranches)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d weights for %d branches", n,
						options->nbranches)));
	for (int i = 0; i < n; i++)
	{
		double		weight = nulls[i] ? -1 : DatumGetFloat8(elements[i]);

		if (!(weight >= 0) || isinf(weight))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("weights must be numbers from 0 on")));
		options->weights[i] = weight;
	}
}

static int
read_window(Datum datum, bool isnull)
{
	int			window = isnull ? 0 : DatumGetInt32(datum);

	if (window < 0 || (window == 0 && !isnull))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("window_size must be at least 1, but is %d",
						window)));
	return window;
}

/* --- of a call for a row --- */

static int
count_branches(FunctionCallInfo fcinfo)
{
	int			n = 0;

	while (n < PG_NARGS() &&
		   get_fn_expr_argtype(fcinfo->flinfo, n) == FLOAT8OID)
		n++;
	if (n < 2 || n > OMEN_FUSE_MAX_BRANCHES)
		elog(ERROR, "could not determine the branches of a function that ranks");
	return n;
}

/* Of all branches, looked up once */
static void
find_measures(FunctionCallInfo fcinfo, int nbranches, OmenFuseScale *scales)
{
	OmenMeasure *measures = fcinfo->flinfo->fn_extra;

	if (measures == NULL)
	{
		List	   *args = castNode(FuncExpr, fcinfo->flinfo->fn_expr)->args;

		measures = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
										  nbranches * sizeof(OmenMeasure));
		for (int i = 0; i < nbranches; i++)
			measures[i] = omen_fuse_measure(list_nth(args, i));
		fcinfo->flinfo->fn_extra = measures;
	}
	for (int i = 0; i < nbranches; i++)
	{
		scales[i].measure = measures[i];
		if (!PG_ARGISNULL(i) && (measures[i] == OMEN_MEASURE_UNKNOWN ||
								 measures[i] == OMEN_MEASURE_TEXT))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot compute fuse() with norm \"theoretical\" for a single row"),
					 errdetail("It is not known what values argument %d can have.",
							   i + 1),
					 errhint("Order by fuse() with distances of indexed columns, or use norm \"none\".")));
	}
}
