/*-------------------------------------------------------------------------
 *
 * rules.h
 *	  What both backends must do alike, to the last bit.
 *
 * Included by C, CUDA and HIP.  The rules are those of src/graph: candidates as
 * numbers that sort by distance, ties broken differently for each node; slack
 * that rises until all links are used; leaves full of near copies thinned
 * (src/graph/README.md, 3, 5 and 6; what both share about these is in
 * base/copies.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_RULES_H
#define OMEN_GPU_RULES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/copies.h"

#define RULE OMEN_RULE

/* A key of no candidate, behind all others */
#define NO_KEY			UINT64_MAX

/* Slack: factors of squared distances */
#define SLACK_STEP		1.21f
#define LARGEST_SLACK	1.8f

/*
 * By inner product: sets of long nodes, of a quarter of all, a sixteenth and so on,
 * all of them longer than average.  They are scales of these numbers.
 */
#define LONG_SETS		5
#define LONG_SCALE		13
#define LONG_NORM2		1.01f

/* By which nodes of thinned leaves are seen */
#define RANKINGS		4

/* Rows and columns of a leaf that it is suspected by: its first */
#define SAMPLE			64

/* splitmix64 */
RULE uint64_t
rule_mix(uint64_t a, uint64_t b)
{
	uint64_t	z = a + b * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* The member of the i-th of k equal stretches of n that is drawn */
RULE uint32_t
rule_stratum(uint64_t seed, uint32_t i, uint32_t n, uint32_t k)
{
	uint32_t	first = (uint32_t) ((uint64_t) n * i / k);
	uint32_t	end = (uint32_t) ((uint64_t) n * (i + 1) / k);

	return first + (uint32_t) (rule_mix(seed, i) %
							   (end > first ? end - first : 1));
}

RULE uint32_t
rule_salt(uint32_t node)
{
	return (uint32_t) rule_mix(node, 1);
}

/* Below zero by rounding, or no number by overflow: equal */
RULE float
rule_distance(float distance)
{
	return distance > 0 ? distance : 0;
}

/* A candidate of the node with this salt; distances are not negative */
RULE uint64_t
rule_key(float distance, uint32_t other, uint32_t salt)
{
	uint32_t	bits;

	memcpy(&bits, &distance, sizeof(bits));
	return ((uint64_t) bits << 32) | (other ^ salt);
}

RULE uint32_t
rule_key_node(uint64_t key, uint32_t salt)
{
	return (uint32_t) key ^ salt;
}

RULE float
rule_key_distance(uint64_t key)
{
	uint32_t	bits = (uint32_t) (key >> 32);
	float		distance;

	memcpy(&distance, &bits, sizeof(distance));
	return distance;
}

/* The key that a node is offered by the one that has chosen it */
RULE uint64_t
rule_offer(uint64_t key, uint32_t node, uint32_t target)
{
	return rule_key(rule_key_distance(key), node, rule_salt(target));
}

/* Links that a node of that level is to get at a scale; of long nodes, locally */
RULE int
rule_wanted(int max_links, int scale_links, int level, int scale)
{
	int			nscale = level > 0 ? scale_links : 0;

	if (scale >= LONG_SCALE)
		return (max_links - nscale) / 4;
	return scale == 0 ? max_links - nscale : nscale;
}

/* How near a candidate at that distance may have another that is kept */
RULE float
rule_limit(float distance, float slack)
{
	return distance / slack;
}

/*
 * The heuristic: may a candidate be kept whose nearest kept one is this far
 * from it?  At distance 0 it is that one's double.
 */
RULE int
rule_keeps(float limit, float nearest_kept)
{
	return nearest_kept > 0 && nearest_kept >= limit;
}

/* The slack of the next walk over the candidates; 0 after the last */
RULE float
rule_next_slack(float slack)
{
	if (slack >= LARGEST_SLACK)
		return 0;
	slack *= SLACK_STEP;
	return slack < LARGEST_SLACK ? slack : LARGEST_SLACK;
}

/* Judging by the nearest and the last of what a row of a leaf passes on */
RULE int
rule_has_copies(uint64_t nearest, uint64_t last)
{
	return last != NO_KEY && omen_copies_are_some(rule_key_distance(nearest),
												  rule_key_distance(last));
}

/*
 * If that does not tell, distances to the whole leaf may (omen_copies_are_all).
 * Only in suspicious leaves are they looked at: at least a quarter of a sample
 * of rows have copies by the rule above, or so few of as many columns near that
 * all of their nearest may be.
 */
RULE int
rule_sample(int n)
{
	return n < SAMPLE ? n : SAMPLE;
}

RULE int
rule_may_have_copies(int nnear, int nsample)
{
	return nnear * 4 < nsample * 3;
}

RULE int
rule_is_suspicious(int ncopied, int nsample)
{
	return ncopied * 4 >= nsample;
}

/* The rank of a node in one of the rankings, and by which it sees others */
RULE uint32_t
rule_rank(uint32_t node, int ranking)
{
	uint32_t	turn = ranking == 0 ? 0 : ranking == 1 ? 0xFFFFFFFF :
		ranking == 2 ? 0xAAAAAAAA : 0x55555555;

	return (node * UINT32_C(0x9E3779B1)) ^ turn;
}

RULE int
rule_ranking(uint32_t node)
{
	return (int) (rule_mix(node, RANKINGS) % RANKINGS);
}

/*
 * Of the "keep" nearest of a row, sorted, with NO_KEY behind the last, those that
 * are passed on if its leaf is thinned: many copies, and a few others.  Returns
 * what those lie beyond that are drawn in addition: INFINITY if none are.
 */
RULE float
rule_pass_on(uint64_t *keys, int keep)
{
	int			ncopies = omen_copies_passed(keep);
	int			most = ncopies + omen_others_passed(keep);
	int			n = ncopies;
	uint64_t	last = keys[keep - 1];
	float		limit = omen_copies_limit(rule_key_distance(keys[0]));
	int			i;

	for (i = ncopies; i < keep && n < most && keys[i] != NO_KEY; i++)
	{
		if (rule_key_distance(keys[i]) > limit)
			keys[n++] = keys[i];
	}
	for (i = n; i < keep; i++)
		keys[i] = NO_KEY;
	return last == NO_KEY || omen_others_wanted(keep, n - ncopies) <= 0 ?
		INFINITY : omen_copies_limit(rule_key_distance(last));
}

/*
 * Draw them from the nearest, as many as are looked at; here, too, NO_KEY is behind
 * the last
 */
RULE void
rule_draw(uint64_t *keys, int keep, const uint64_t *others, uint64_t seed)
{
	int			n = omen_copies_passed(keep);
	int			nothers = 0;
	int			wanted;
	int			i;

	while (keys[n] != NO_KEY)
		n++;
	wanted = omen_others_wanted(keep, n - omen_copies_passed(keep));
	while (nothers < omen_others_found(keep) && others[nothers] != NO_KEY)
		nothers++;
	for (i = 0; i < nothers && wanted > 0; i++)
	{
		if (omen_copies_draw(rule_mix(seed, i), nothers - i, wanted))
		{
			keys[n++] = others[i];
			wanted--;
		}
	}
}

/*
 * Put an item among the nearest so far, at most "room" of them, whose distances
 * ascend; of equal ones the first to come stays first.  Returns how many there
 * are then.
 */
RULE int
rule_add_nearest(float *best, uint32_t *nearest, int n, int room,
				 float distance, uint32_t item)
{
	int			at;

	if (n == room && !(distance < best[n - 1]))
		return n;
	if (n < room)
		n++;
	for (at = n - 1; at > 0 && distance < best[at - 1]; at--)
	{
		best[at] = best[at - 1];
		nearest[at] = nearest[at - 1];
	}
	best[at] = distance;
	nearest[at] = item;
	return n;
}

/* |x|^2 of a code as it was before it was centred */
RULE float
rule_full_norm2(float norm2, float mean_dot, float mean_norm2)
{
	return norm2 + 2 * mean_dot + mean_norm2;
}

/* The coordinate added for inner products */
RULE float
rule_lift(float max_norm2, float norm2)
{
	float		rest = max_norm2 - norm2;

	return rest > 0 ? sqrtf(rest) : 0;
}

#endif							/* OMEN_GPU_RULES_H */
