/*-------------------------------------------------------------------------
 *
 * gpu_protocol.c
 *	  Frames of the protocol between server and omendb-gpu-build.
 *
 * Compiled into both sides.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <string.h>

#include "port/pg_crc32c.h"

#include "gpu/gpu_protocol.h"

#define CRC_OFFSET		offsetof(OmenGpuFrameData, crc)

/* Sizes and limits that a request's numbers must keep to */
#define MAX_DIMS		16000
#define MAX_LINKS		200
#define MAX_LIST		512
#define MAX_ROUNDS		64
#define MAX_NODES		(UINT32_C(1) << 28)

StaticAssertDecl(sizeof(OmenGpuFrameData) == 16 &&
				 sizeof(OmenGpuHello) == 72 &&
				 sizeof(OmenGpuCodeHead) == 16 &&
				 sizeof(OmenGpuRequest) == 64 &&
				 sizeof(OmenGpuRange) == 16 &&
				 sizeof(OmenGpuProgress) == 16 &&
				 sizeof(OmenGpuEnd) == 24 &&
				 sizeof(OmenGpuError) == 256,
				 "the protocol's structures have these sizes");

static uint32
checksum(const OmenGpuFrameData *frame, const void *a, size_t a_length,
		 const void *b, size_t b_length)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, frame, CRC_OFFSET);
	COMP_CRC32C(crc, a, a_length);
	if (b_length > 0)
		COMP_CRC32C(crc, b, b_length);
	FIN_CRC32C(crc);
	return crc;
}

void
omen_gpu_frame(OmenGpuFrameData *frame, OmenGpuMessage type, const void *a,
			   size_t a_length, const void *b, size_t b_length)
{
	Assert(a_length + b_length <= OMEN_GPU_MAX_PAYLOAD);

	frame->magic = OMEN_GPU_MAGIC;
	frame->version = OMEN_GPU_VERSION;
	frame->type = type;
	frame->length = (uint32) (a_length + b_length);
	frame->crc = checksum(frame, a, a_length, b, b_length);
}

void
omen_gpu_parser_init(OmenGpuParser *parser, char *buffer)
{
	parser->buffer = buffer;
	parser->taken = 0;
	parser->filled = 0;
}

/* What is left of the bytes goes to the front */
char *
omen_gpu_parser_room(OmenGpuParser *parser, size_t *room)
{
	memmove(parser->buffer, parser->buffer + parser->taken,
			parser->filled - parser->taken);
	parser->filled -= parser->taken;
	parser->taken = 0;
	*room = OMEN_GPU_PARSER_SIZE - parser->filled;
	return parser->buffer + parser->filled;
}

void
omen_gpu_parser_fill(OmenGpuParser *parser, size_t length)
{
	Assert(length <= OMEN_GPU_PARSER_SIZE - parser->filled);

	parser->filled += length;
}

static const char *
find_fault(const OmenGpuFrameData *frame)
{
	if (frame->magic != OMEN_GPU_MAGIC)
		return "what came is not of this protocol";
	if (frame->version != OMEN_GPU_VERSION)
		return "the other side has another version of the protocol";
	if (frame->type < OMEN_GPU_HELLO || frame->type > OMEN_GPU_LAST_MESSAGE)
		return "a message is of unknown type";
	if (frame->length > OMEN_GPU_MAX_PAYLOAD)
		return "a message is too long";
	return NULL;
}

OmenGpuParse
omen_gpu_parser_next(OmenGpuParser *parser, OmenGpuReceived *received,
					 const char **fault)
{
	const char *at = parser->buffer + parser->taken;
	size_t		left = parser->filled - parser->taken;
	OmenGpuFrameData frame;

	if (left < sizeof(frame))
		return OMEN_GPU_MORE;
	memcpy(&frame, at, sizeof(frame));
	*fault = find_fault(&frame);
	if (*fault != NULL)
		return OMEN_GPU_BROKEN;
	if (left - sizeof(frame) < frame.length)
		return OMEN_GPU_MORE;
	at += sizeof(frame);
	if (checksum(&frame, at, frame.length, NULL, 0) != frame.crc)
	{
		*fault = "a message has a wrong checksum";
		return OMEN_GPU_BROKEN;
	}
	parser->taken += sizeof(frame) + frame.length;
	received->type = (OmenGpuMessage) frame.type;
	received->payload = at;
	received->length = frame.length;
	return OMEN_GPU_FRAME;
}

const char *
omen_gpu_read_range(const OmenGpuReceived *received, uint32 next,
					uint32 nnodes, OmenGpuRange *range)
{
	if (received->length < sizeof(*range))
		return "a message is too short";
	memcpy(range, received->payload, sizeof(*range));
	if (range->first != next || range->count == 0 ||
		range->count > nnodes - next)
		return "nodes come out of order";
	return NULL;
}

const char *
omen_gpu_check_request(const OmenGpuRequest *request)
{
	size_t		size;

	switch (request->element)
	{
		case OMEN_GPU_CODE8:
			size = sizeof(OmenGpuCodeHead) + request->dims;
			break;
		case OMEN_GPU_F32:
			size = request->dims * sizeof(float);
			break;
		case OMEN_GPU_F16:
			size = request->dims * sizeof(uint16);
			break;
		default:
			return "elements of the vectors are of unknown type";
	}
	if (request->dims < 1 || request->dims > MAX_DIMS ||
		request->stride < size || request->stride % sizeof(float) != 0 ||
		request->stride > size + 16)
		return "vectors have an impossible size";
	if (request->metric < OMEN_GPU_L2 || request->metric > OMEN_GPU_L1 ||
		(request->element == OMEN_GPU_CODE8 &&
		 request->metric > OMEN_GPU_LIFTED))
		return "distances are of unknown kind";
	if (request->nnodes < 2 || request->nnodes >= MAX_NODES ||
		(uint64) request->nnodes * request->max_links > PG_UINT32_MAX ||
		request->max_links < 2 || request->max_links > MAX_LINKS ||
		request->scale_links >= request->max_links ||
		request->list_size < 2 * request->max_links ||
		request->list_size > MAX_LIST || request->rounds < 1 ||
		request->rounds > MAX_ROUNDS)
		return "the number of nodes, links or candidates is out of range";
	return NULL;
}
