/*-------------------------------------------------------------------------
 *
 * hnsw_build_times.c
 *	  Where the time of a bulk build went.
 *
 * The leader looks at the clock where one stage ends and the next begins, so
 * every moment belongs to a stage; a wait for workers is part of the stage that
 * is waited for.  Workers keep times as well, which nobody asks for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "hnsw/hnsw_build.h"

/* Names as in README.md, "Where the time of a build went" */
static const char *const names[] = {
	[OMEN_STAGE_PREPARE] = "prepare",
	[OMEN_STAGE_GPU_START] = "gpu start",
	[OMEN_STAGE_READ] = "read",
	[OMEN_STAGE_FOLD] = "fold",
	[OMEN_STAGE_GPU_SEND] = "gpu send",
	[OMEN_STAGE_GPU_CLUSTERS] = "gpu clusters",
	[OMEN_STAGE_GPU_LINKS] = "gpu links",
	[OMEN_STAGE_GPU_CHECK] = "gpu check",
	[OMEN_STAGE_GRAPH] = "graph",
	[OMEN_STAGE_PLAN] = "plan",
	[OMEN_STAGE_WRITE] = "write",
	[OMEN_STAGE_WAL] = "wal",
	[OMEN_STAGE_SYNC] = "sync",
	[OMEN_STAGE_END] = "end",
};

StaticAssertDecl(lengthof(names) == OMEN_BUILD_STAGES,
				 "every stage of a build must have a name");

void
omen_hnsw_start_times(OmenHnswBuildState *state)
{
	INSTR_TIME_SET_CURRENT(state->times.mark);
}

/* All the time since the stage before was over belongs to this one */
void
omen_hnsw_end_stage(OmenHnswBuildState *state, OmenBuildStage stage)
{
	OmenBuildTimes *times = &state->times;
	instr_time	now;
	instr_time	took;

	INSTR_TIME_SET_CURRENT(now);
	took = now;
	INSTR_TIME_SUBTRACT(took, times->mark);
	times->seconds[stage] += INSTR_TIME_GET_DOUBLE(took);
	times->mark = now;
}

/* Some of a stage's time was for another */
void
omen_hnsw_move_time(OmenHnswBuildState *state, double seconds,
					OmenBuildStage from, OmenBuildStage to)
{
	state->times.seconds[from] -= seconds;
	state->times.seconds[to] += seconds;
}

void
omen_hnsw_report_times(const OmenHnswBuildState *state, double rows)
{
	const double *seconds = state->times.seconds;
	double		total = 0;
	StringInfoData stages;

	if (!message_level_is_interesting(DEBUG1))
		return;
	initStringInfo(&stages);
	for (int i = 0; i < OMEN_BUILD_STAGES; i++)
	{
		appendStringInfo(&stages, "%s %s %.3f", i > 0 ? "," : "", names[i],
						 seconds[i]);
		total += seconds[i];
	}
	ereport(DEBUG1,
			(errmsg_internal("index \"%s\" of %.0f rows was built in %.3f s:%s",
							 RelationGetRelationName(state->index), rows,
							 total, stages.data)));
}
