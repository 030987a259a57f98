/*-------------------------------------------------------------------------
 *
 * fuzz_server.c
 *	  Fuzzers of what needs a server: linked into the library of a fuzzed
 *	  build together with libFuzzer, and run by a function in a server of a
 *	  single process (see run_fuzz.sh, fuzz_server.sql).
 *
 *	omen_fuzz(target text, functions regproc[], relations regclass[],
 *			  arguments text[])
 *
 * Targets, and what their input is:
 *	input	type, then text for its input function.  Accepted values read back
 *			from their text and binary forms as the same.
 *	recv	type, then bytes for its receive function.  The same.
 *	tsquery	a query, as text or as a program for a stack of words and
 *			operators.  Both functions, one by index, answer alike.
 *	pages	changes (block, offset, four bytes) to pages of the first relation,
 *			a temporary index; the second is its table.  Both functions return;
 *			the first only reads, and makes neither relation longer.  Now and
 *			then without a change: they answer what they did at first.
 *	gpu		messages (fuzz_frames.h) of a helper for a GPU build.  The function
 *			builds an index with it, and the index is as it should be.
 *
 * An error is an answer, unless it is an internal one (XX000).  So are none of
 * a crash, a failed assertion, undefined behaviour and time without end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "catalog/storage.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/guc.h"
#include "fuzz.h"
#include "fuzz_frames.h"

#define MAX_ARGUMENTS	32
#define MAX_STACK		16

/* After so many inputs of changed pages come unchanged ones */
#define CHECK_EVERY		256

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8_t *, size_t));

OMEN_FUNCTION(omen_fuzz);

typedef void (*Target) (const uint8 *data, Size size);

static const char *const types[] = {
	"vector", "halfvec", "sparsevec", "bm25query", "bm25stats"
};

/* what is run, and with what */
static Target target;
static Oid	functions[2];
static Oid	relations[2];
static MemoryContext work;
static ResourceOwner work_owner;

/* the index and the length of its table, as they were, and what is answered */
static char *saved_pages;
static BlockNumber saved_blocks[2];
static char *saved_answers[2];

static char *
to_text(Oid type, Datum value)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(type, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

static Datum
from_text(Oid type, char *text)
{
	Oid			input;
	Oid			parameter;

	getTypeInputInfo(type, &input, &parameter);
	return OidInputFunctionCall(input, text, parameter, -1);
}

static Datum
from_bytes(Oid type, const uint8 *data, Size size)
{
	StringInfoData buffer;
	Oid			receive;
	Oid			parameter;

	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, (const char *) data, (int) size);
	getTypeBinaryInputInfo(type, &receive, &parameter);
	return OidReceiveFunctionCall(receive, &buffer, parameter, -1);
}

/* A value that was accepted survives both ways out and in */
static void
check_round_trip(Oid type, Datum value)
{
	char	   *text = to_text(type, value);
	Oid			send;
	bool		varlena;
	bytea	   *bytes;

	REQUIRE(strcmp(text, to_text(type, from_text(type, pstrdup(text)))) == 0);
	getTypeBinaryOutputInfo(type, &send, &varlena);
	bytes = OidSendFunctionCall(send, value);
	value = from_bytes(type, (uint8 *) VARDATA(bytes),
					   VARSIZE(bytes) - VARHDRSZ);
	REQUIRE(strcmp(text, to_text(type, value)) == 0);
}

/* The type that the first byte chooses; InvalidOid: this version has none */
static Oid
choose_type(const uint8 *data, Size size)
{
	return size == 0 ? InvalidOid :
		TypenameGetTypid(types[data[0] % lengthof(types)]);
}

static void
fuzz_input(const uint8 *data, Size size)
{
	Oid			type = choose_type(data, size);

	if (OidIsValid(type))
		check_round_trip(type,
						 from_text(type, pnstrdup((const char *) data + 1,
												  size - 1)));
}

static void
fuzz_recv(const uint8 *data, Size size)
{
	Oid			type = choose_type(data, size);

	if (OidIsValid(type))
		check_round_trip(type, from_bytes(type, data + 1, size - 1));
}

/*
 * A tsquery by a stack: a byte pushes a word, negates the top, or joins the
 * two on top.  What is left in the end is joined by OR.
 */
static char *
form_query(const uint8 *data, Size size)
{
	static const char *const joins[] = {"&", "|", "<->", "<2>", "<0>"};
	static const char *const suffixes[] = {"", ":*", ":A", ":BC", ":*D"};
	char	   *stack[MAX_STACK];
	int			n = 0;

	for (Size i = 0; i < size && i < 64; i++)
	{
		int			rest = data[i] / 4;

		if (data[i] % 4 < 2 && n < MAX_STACK)
			stack[n++] = psprintf("w%d%s", rest % 12,
								  suffixes[rest / 12 % lengthof(suffixes)]);
		else if (data[i] % 4 == 2 && n > 0)
			stack[n - 1] = psprintf("!(%s)", stack[n - 1]);
		else if (n > 1)
		{
			n--;
			stack[n - 1] = psprintf("(%s) %s (%s)", stack[n - 1],
									joins[rest % lengthof(joins)], stack[n]);
		}
	}
	for (; n > 1; n--)
		stack[n - 2] = psprintf("(%s) | (%s)", stack[n - 2], stack[n - 1]);
	return n == 0 ? pstrdup("") : stack[0];
}

static void
fuzz_tsquery(const uint8 *data, Size size)
{
	char	   *written;
	Datum		query;
	char	   *answers[2];

	if (size == 0)
		return;
	written = data[0] % 2 == 0 ? form_query(data + 1, size - 1) :
		pnstrdup((const char *) data + 1, size - 1);
	if (!pg_verifymbstr(written, (int) strlen(written), true))
		return;
	query = from_text(TSQUERYOID, written);
	for (int i = 0; i < 2; i++)
		answers[i] = TextDatumGetCString(OidFunctionCall1(functions[i], query));
	if (strcmp(answers[0], answers[1]) != 0)
		fprintf(stderr, "query: %s\n%s\n%s\n", written, answers[0], answers[1]);
	REQUIRE(strcmp(answers[0], answers[1]) == 0);
}

/* What a backend remembers of the relations is forgotten */
static void
forget_relations(void)
{
	for (int i = 0; i < 2; i++)
		CacheInvalidateRelcacheByRelid(relations[i]);
	CommandCounterIncrement();
}

static void
save_pages(void)
{
	Relation	index = relation_open(relations[0], AccessExclusiveLock);
	Relation	table = relation_open(relations[1], AccessExclusiveLock);

	if (index->rd_rel->relpersistence != RELPERSISTENCE_TEMP)
		elog(ERROR, "the index must be a temporary one");
	saved_blocks[0] = RelationGetNumberOfBlocks(index);
	saved_blocks[1] = RelationGetNumberOfBlocks(table);
	saved_pages = MemoryContextAlloc(TopMemoryContext,
									 (Size) saved_blocks[0] * BLCKSZ);
	for (BlockNumber i = 0; i < saved_blocks[0]; i++)
	{
		Buffer		buffer = ReadBuffer(index, i);

		memcpy(saved_pages + (Size) i * BLCKSZ, BufferGetPage(buffer), BLCKSZ);
		ReleaseBuffer(buffer);
	}
	relation_close(table, NoLock);
	relation_close(index, NoLock);
}

/* The index as it was, and then changed as the input says */
static void
set_pages(const uint8 *data, Size size)
{
	Relation	index = relation_open(relations[0], AccessExclusiveLock);
	Relation	table = relation_open(relations[1], AccessExclusiveLock);

	if (RelationGetNumberOfBlocks(index) > saved_blocks[0])
		RelationTruncate(index, saved_blocks[0]);
	if (RelationGetNumberOfBlocks(table) > saved_blocks[1])
		RelationTruncate(table, saved_blocks[1]);
	for (BlockNumber i = 0; i < saved_blocks[0]; i++)
	{
		Buffer		buffer = ReadBuffer(index, i);
		char	   *page = BufferGetPage(buffer);

		memcpy(page, saved_pages + (Size) i * BLCKSZ, BLCKSZ);
		for (Size at = 0; at + 7 <= size; at += 7)
		{
			uint16		offset;

			memcpy(&offset, data + at + 1, 2);
			if (data[at] % saved_blocks[0] == i)
				memcpy(page + offset % (BLCKSZ - 3), data + at + 3, 4);
		}
		MarkBufferDirty(buffer);
		ReleaseBuffer(buffer);
	}
	relation_close(table, NoLock);
	relation_close(index, NoLock);
	forget_relations();
}

static BlockNumber
count_blocks(Oid relid)
{
	Relation	relation = relation_open(relid, AccessShareLock);
	BlockNumber nblocks = RelationGetNumberOfBlocks(relation);

	relation_close(relation, AccessShareLock);
	return nblocks;
}

static void
fuzz_pages(const uint8 *data, Size size)
{
	OidFunctionCall0(functions[0]);
	for (int i = 0; i < 2; i++)
		REQUIRE(count_blocks(relations[i]) == saved_blocks[i]);
	OidFunctionCall0(functions[1]);
}

/*
 * Unchanged pages are answered as they were the first time, without an error and
 * with 20 rows to begin with.  If not, an input has left something behind, and
 * those after it would be tried in vain.
 */
static void
check_pages(const uint8 *data, Size size)
{
	for (int i = 0; i < 2; i++)
	{
		char	   *answers = TextDatumGetCString(OidFunctionCall0(functions[i]));

		if (saved_answers[i] == NULL)
		{
			fprintf(stderr, "unchanged pages: %s\n", answers);
			REQUIRE(strstr(answers, "error") == NULL);
			REQUIRE(i > 0 || strncmp(answers, "20 ", 3) == 0);
			saved_answers[i] = MemoryContextStrdup(TopMemoryContext, answers);
		}
		if (strcmp(answers, saved_answers[i]) != 0)
			fprintf(stderr, "unchanged pages, now: %s\n", answers);
		REQUIRE(strcmp(answers, saved_answers[i]) == 0);
	}
}

/* What the helper of fuzz_helper.c is to say, and if it hears all first */
static void
write_answers(const FuzzFrames *answers, bool patient)
{
	char	   *name = psprintf("%s.answers", omen_guc_gpu_helper_path());
	FILE	   *file = fopen(name, "wb");

	REQUIRE(file != NULL);
	fputc(patient, file);
	fwrite(answers->bytes, 1, answers->length, file);
	REQUIRE(fclose(file) == 0);
}

/*
 * The first byte tells if the helper is in a hurry.  It is if it does not say
 * hello, or the server and it would wait for each other.
 */
static void
fuzz_gpu(const uint8 *data, Size size)
{
	FuzzFrames	answers = {.bytes = palloc(FUZZ_FRAMES_SIZE)};
	char	   *answer;

	if (size == 0)
		return;
	fuzz_put_frames(&answers, data + 1, size - 1);
	write_answers(&answers, data[0] % 4 != 0 && size > 1 &&
				  data[1] == OMEN_GPU_HELLO);
	answer = TextDatumGetCString(OidFunctionCall0(functions[0]));
	if (strcmp(answer, "0 of 40") != 0)
		fprintf(stderr, "findings and rows of an index: %s\n", answer);
	REQUIRE(strcmp(answer, "0 of 40") == 0);
}

/*
 * Is an error none of ours?  The server's own code calls some of what a user
 * can write an internal error: text queries, in files like tsquery.c, and a
 * block of the table that an index names although there is none, in md.c.
 */
static bool
is_answer(const ErrorData *error)
{
	return error->sqlerrcode != ERRCODE_INTERNAL_ERROR ||
		(error->filename != NULL && (strncmp(error->filename, "ts", 2) == 0 ||
									 strcmp(error->filename, "md.c") == 0));
}

/*
 * What an error has left open.  The input function of a row does: of its type's
 * description, and the server searches those that it has open one by one.
 */
static void
release_resources(void)
{
	ResourceOwnerRelease(work_owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(work_owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(work_owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
}

/*
 * One input.  What it leaves open ends with a subtransaction; types do not need
 * one, and it costs time.
 */
static void
run_nested(Target what, const uint8 *data, Size size)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext caller = MemoryContextSwitchTo(work);
	bool		nested = target == fuzz_pages || target == fuzz_tsquery ||
		target == fuzz_gpu;

	if (target == fuzz_pages)
		set_pages(data, size);
	if (nested)
		BeginInternalSubTransaction(NULL);
	else
		CurrentResourceOwner = work_owner;
	MemoryContextSwitchTo(work);
	PG_TRY();
	{
		what(data, size);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(work);
		error = CopyErrorData();
		FlushErrorState();
		if (!is_answer(error))
			fprintf(stderr, "%s:%d: %s\n", error->filename, error->lineno,
					error->message);
		REQUIRE(is_answer(error));
		if (!nested)
			release_resources();
	}
	PG_END_TRY();
	if (nested)
		RollbackAndReleaseCurrentSubTransaction();
	CurrentResourceOwner = owner;
	MemoryContextReset(work);
	MemoryContextSwitchTo(caller);
}

static int
run_one(const uint8_t *data, size_t size)
{
	static uint32 inputs;

	if (target == fuzz_pages && inputs++ % CHECK_EVERY == 0)
		run_nested(check_pages, NULL, 0);
	run_nested(target, data, size);
	return 0;
}

static Target
find_target(const char *name)
{
	static const struct
	{
		const char *name;
		Target		target;
	}			targets[] = {
		{"input", fuzz_input}, {"recv", fuzz_recv},
		{"tsquery", fuzz_tsquery}, {"pages", fuzz_pages}, {"gpu", fuzz_gpu}
	};

	for (int i = 0; i < lengthof(targets); i++)
	{
		if (strcmp(name, targets[i].name) == 0)
			return targets[i].target;
	}
	elog(ERROR, "no such target: %s", name);
}

static int
read_oids(ArrayType *array, Oid *oids, int most)
{
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (n > most)
		elog(ERROR, "too many");
	memcpy(oids, ARR_DATA_PTR(array), n * sizeof(Oid));
	return n;
}

/* Does not return: libFuzzer ends the process */
Datum
omen_fuzz(PG_FUNCTION_ARGS)
{
	static char *argument_list[MAX_ARGUMENTS] = {"omen_fuzz"};
	char	  **argv = argument_list;
	int			argc = 1;
	Datum	   *arguments;
	int			narguments;

	target = find_target(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	read_oids(PG_GETARG_ARRAYTYPE_P(1), functions, lengthof(functions));
	read_oids(PG_GETARG_ARRAYTYPE_P(2), relations, lengthof(relations));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false,
					  TYPALIGN_INT, &arguments, NULL, &narguments);
	if (narguments >= MAX_ARGUMENTS)
		elog(ERROR, "too many arguments");
	for (int i = 0; i < narguments; i++)
		argv[argc++] = TextDatumGetCString(arguments[i]);
	work = AllocSetContextCreate(TopMemoryContext, "fuzzed",
								 ALLOCSET_DEFAULT_SIZES);
	work_owner = ResourceOwnerCreate(CurrentResourceOwner, "fuzzed");
	if (target == fuzz_pages)
		save_pages();
	exit(LLVMFuzzerRunDriver(&argc, &argv, run_one));
}
