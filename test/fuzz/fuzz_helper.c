/*
 * fuzz_helper.c
 *	  A helper for GPU builds that says what is in the file NAME.answers, NAME
 *	  being its own, and nothing of itself.
 *
 * The first byte of the file tells if it is gone then, or hears all vectors first:
 * a server that still sends and one that waits have different things to do.
 */
#include "c.h"

#include <unistd.h>

#include "fuzz.h"
#include "gpu/gpu_protocol.h"

static char buffer[OMEN_GPU_PARSER_SIZE];

static void
say_answers(FILE *file)
{
	size_t		got;

	while ((got = fread(buffer, 1, sizeof(buffer), file)) > 0)
	{
		for (size_t said = 0; said < got;)
		{
			ssize_t		some = write(STDOUT_FILENO, buffer + said, got - said);

			if (some <= 0)
				exit(1);
			said += some;
		}
	}
}

/* The next message of the server; false: there is none */
static bool
hear(OmenGpuParser *parser, OmenGpuReceived *received)
{
	const char *fault;
	OmenGpuParse what;

	while ((what = omen_gpu_parser_next(parser, received, &fault)) ==
		   OMEN_GPU_MORE)
	{
		size_t		room;
		char	   *to = omen_gpu_parser_room(parser, &room);
		ssize_t		got = read(STDIN_FILENO, to, room);

		if (got <= 0)
			return false;
		omen_gpu_parser_fill(parser, got);
	}
	return what == OMEN_GPU_FRAME;
}

static void
hear_all(void)
{
	OmenGpuParser parser;
	OmenGpuReceived received;
	OmenGpuRequest request = {0};
	OmenGpuRange range = {0};

	omen_gpu_parser_init(&parser, buffer);
	while (hear(&parser, &received))
	{
		if (received.type == OMEN_GPU_REQUEST)
			memcpy(&request, received.payload, sizeof(request));
		else
			memcpy(&range, received.payload, sizeof(range));
		if (range.first + range.count == request.nnodes)
			break;
	}
}

int
main(int argc, char **argv)
{
	char		name[MAXPGPATH];
	FILE	   *file;
	int			patient;

	snprintf(name, sizeof(name), "%s.answers", argv[0]);
	file = fopen(name, "rb");
	REQUIRE(file != NULL);
	patient = fgetc(file);
	say_answers(file);
	if (patient != 0)
		hear_all();
	return 0;
}
