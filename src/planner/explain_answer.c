/*-------------------------------------------------------------------------
 *
 * explain_answer.c
 *	  EXPLAIN (ANALYZE) where extensions cannot add to the nodes of a plan: a
 *	  group behind it, one entry for each scan of our indexes.
 *
 *		EXPLAIN statement
 *		  starts a query		noted here: this one is explained
 *			runs, prints the plan
 *		  ends the query		its scans are still open: their counts are read
 *		  sends its answer		the group is added on the way
 *
 * The server's hook for the explanation of one query would do for some
 * statements; EXPLAIN EXECUTE does not call it, and before PostgreSQL 17 who
 * sets it must plan and time the query in the server's place.  So the answer
 * is completed where it is sent: in text by more lines, else before the end
 * of the last query, which the server always writes alike.
 *
 * What parallel workers count is not seen: a scan of ours runs in one only
 * below a subplan that they evaluate.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "planner/explain.h"
#include "planner/planner.h"

#ifndef OMEN_EXPLAIN_NODE_HOOK

/* An EXPLAIN (ANALYZE) that runs; what it explains may run another one */
typedef struct ExplainFrame
{
	struct ExplainFrame *outer;
	MemoryContext context;
	ExplainFormat format;
	QueryDesc  *query;			/* explained at the moment, or NULL */
	List	   *reports;		/* of OmenScanReport, in the plan's order */
} ExplainFrame;

/* Hands an answer on, completed */
typedef struct AnswerReceiver
{
	DestReceiver pub;
	DestReceiver *next;
	ExplainFrame *frame;
	TupleDesc	desc;
} AnswerReceiver;

static ExplainFrame *running = NULL;
static ProcessUtility_hook_type next_process_utility = NULL;
static ExecutorStart_hook_type next_executor_start = NULL;
static ExecutorEnd_hook_type next_executor_end = NULL;

static void process_utility(PlannedStmt *statement, const char *source,
							bool read_only, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *environment,
							DestReceiver *dest, QueryCompletion *completion);
static ProcessUtility_hook_type find_next_utility(void);
static bool is_analyzed(const ExplainStmt *explain, ExplainFormat *format);
static void start_executor(QueryDesc *query, int flags);
static void end_executor(QueryDesc *query);
static bool collect_scans(PlanState *state, void *arg);
static void start_answer(DestReceiver *self, int operation, TupleDesc desc);
static bool receive_answer(TupleTableSlot *slot, DestReceiver *self);
static void end_answer(DestReceiver *self);
static void keep_receiver(DestReceiver *self);
static char *form_lines(const ExplainFrame *frame);
static char *form_group(const ExplainFrame *frame);
static char *insert_group(const char *answer, const char *group,
						  ExplainFormat format);

void
omen_explain_init(void)
{
	next_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
	next_executor_end = ExecutorEnd_hook;
	ExecutorEnd_hook = end_executor;
}

static void
process_utility(PlannedStmt *statement, const char *source, bool read_only,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest,
				QueryCompletion *completion)
{
	ExplainFrame frame = {0};
	AnswerReceiver receiver = {
		.pub = {
			.receiveSlot = receive_answer,
			.rStartup = start_answer,
			.rShutdown = end_answer,
			.rDestroy = keep_receiver,
			.mydest = dest->mydest,
		},
		.next = dest,
		.frame = &frame,
	};

	if (!IsA(statement->utilityStmt, ExplainStmt) ||
		!is_analyzed((ExplainStmt *) statement->utilityStmt, &frame.format))
	{
		find_next_utility() (statement, source, read_only, context, params,
							 environment, dest, completion);
		return;
	}

	frame.outer = running;
	frame.context = CurrentMemoryContext;
	running = &frame;
	PG_TRY();
	{
		find_next_utility() (statement, source, read_only, context, params,
							 environment, &receiver.pub, completion);
	}
	PG_FINALLY();
	{
		running = frame.outer;
	}
	PG_END_TRY();
}

static ProcessUtility_hook_type
find_next_utility(void)
{
	return next_process_utility ? next_process_utility :
		standard_ProcessUtility;
}

/* Wrong options are left for the server to report */
static bool
is_analyzed(const ExplainStmt *explain, ExplainFormat *format)
{
	ListCell   *cell;
	bool		analyze = false;

	*format = EXPLAIN_FORMAT_TEXT;
	foreach(cell, explain->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "analyze") == 0)
			analyze = defGetBoolean(option);
		else if (strcmp(option->defname, "format") == 0)
		{
			const char *name = defGetString(option);

			*format = strcmp(name, "xml") == 0 ? EXPLAIN_FORMAT_XML :
				strcmp(name, "json") == 0 ? EXPLAIN_FORMAT_JSON :
				strcmp(name, "yaml") == 0 ? EXPLAIN_FORMAT_YAML :
				EXPLAIN_FORMAT_TEXT;
		}
	}
	return analyze;
}

/*
 * The first query that starts with instruments is the one explained; what
 * its functions run starts while it is noted already.
 */
static void
start_executor(QueryDesc *query, int flags)
{
	if (running && running->query == NULL && query->instrument_options != 0 &&
		(flags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		running->query = query;

	if (next_executor_start)
		next_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

static void
end_executor(QueryDesc *query)
{
	if (running && running->query == query)
	{
		MemoryContext old = MemoryContextSwitchTo(running->context);

		collect_scans(query->planstate, running);
		running->query = NULL;
		MemoryContextSwitchTo(old);
	}

	if (next_executor_end)
		next_executor_end(query);
	else
		standard_ExecutorEnd(query);
}

static bool
collect_scans(PlanState *state, void *arg)
{
	ExplainFrame *frame = arg;
	OmenScanReport report;

	if (omen_explain_find_scan(state, &report))
	{
		OmenScanReport *kept = palloc(sizeof(OmenScanReport));

		*kept = report;
		kept->index = pstrdup(report.index);
		frame->reports = lappend(frame->reports, kept);
	}
	return planstate_tree_walker(state, collect_scans, arg);
}

static void
start_answer(DestReceiver *self, int operation, TupleDesc desc)
{
	AnswerReceiver *receiver = (AnswerReceiver *) self;

	receiver->desc = desc;
	receiver->next->rStartup(receiver->next, operation, desc);
}

/* A line of text, or else all of the answer */
static bool
receive_answer(TupleTableSlot *slot, DestReceiver *self)
{
	AnswerReceiver *receiver = (AnswerReceiver *) self;
	ExplainFrame *frame = receiver->frame;

	if (frame->reports != NIL && frame->format != EXPLAIN_FORMAT_TEXT)
	{
		char	   *answer = TextDatumGetCString(slot->tts_values[0]);

		/* the sender's virtual slot: it holds the value, not a copy */
		slot->tts_values[0] =
			CStringGetTextDatum(insert_group(answer, form_group(frame),
											 frame->format));
	}
	return receiver->next->receiveSlot(slot, receiver->next);
}

static void
end_answer(DestReceiver *self)
{
	AnswerReceiver *receiver = (AnswerReceiver *) self;
	ExplainFrame *frame = receiver->frame;

	if (frame->reports != NIL && frame->format == EXPLAIN_FORMAT_TEXT)
	{
		TupOutputState output = {
			.slot = MakeSingleTupleTableSlot(receiver->desc, &TTSOpsVirtual),
			.dest = receiver->next,
		};

		do_text_output_multiline(&output, form_lines(frame));
		ExecDropSingleTupleTableSlot(output.slot);
	}
	receiver->next->rShutdown(receiver->next);
}

/* It lies on the stack, and the one behind it belongs to who made it */
static void
keep_receiver(DestReceiver *self)
{
}

static char *
form_lines(const ExplainFrame *frame)
{
	ExplainState *es = NewExplainState();
	ListCell   *cell;

	appendStringInfoString(es->str, "Omen Index Scans:\n");
	es->indent++;
	foreach(cell, frame->reports)
	{
		OmenScanReport *report = lfirst(cell);

		ExplainPropertyText(report->index, omen_explain_form_line(report), es);
	}
	return es->str->data;
}

/* The group as it would follow another property of the query */
static char *
form_group(const ExplainFrame *frame)
{
	ExplainState *es = NewExplainState();
	ListCell   *cell;
	int			start;

	es->format = frame->format;
	ExplainBeginOutput(es);
	ExplainOpenGroup("Query", NULL, true, es);
	if (es->format != EXPLAIN_FORMAT_XML)
		linitial_int(es->grouping_stack) = 1;
	start = es->str->len;

	ExplainOpenGroup("Omen Index Scans", "Omen Index Scans", false, es);
	foreach(cell, frame->reports)
	{
		OmenScanReport *report = lfirst(cell);

		ExplainOpenGroup("Omen Index Scan", NULL, true, es);
		ExplainPropertyText("Index Name", report->index, es);
		omen_explain_add_properties(report, es);
		ExplainCloseGroup("Omen Index Scan", NULL, true, es);
	}
	ExplainCloseGroup("Omen Index Scans", "Omen Index Scans", false, es);
	return es->str->data + start;
}

/* Into the last query; an answer that ends otherwise is left alone */
static char *
insert_group(const char *answer, const char *group, ExplainFormat format)
{
	const char *end = format == EXPLAIN_FORMAT_JSON ? "\n  }\n]" :
		format == EXPLAIN_FORMAT_XML ? "  </Query>\n</explain>" : "";
	int			length = (int) strlen(answer) - (int) strlen(end);

	if (length < 0 || strcmp(answer + length, end) != 0)
		return pstrdup(answer);
	return psprintf("%.*s%s%s", length, answer, group, end);
}

#endif							/* not OMEN_EXPLAIN_NODE_HOOK */
