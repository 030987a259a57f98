/*-------------------------------------------------------------------------
 *
 * fuzz_frames.h
 *	  A fuzzer's input as messages between a server and its helper for GPU
 *	  builds (src/gpu/gpu_protocol.h).
 *
 * The input is steps, each of a message:
 *
 *	  0		 1		  2
 *	  +------+--------+--------------
 *	  | what | length | length bytes
 *	  +------+--------+--------------
 *
 * what % 16 is the type, what / 16 says what is wrong with the frame, if anything
 * is.  The bytes are short for the payload: numbers are a byte each, 255 is the
 * largest of its kind, and codes of vectors, which go to a file, are repeated or
 * drawn.  So checksums are right and sizes mostly are, which no fuzzer would find by
 * itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_FUZZ_FRAMES_H
#define OMEN_FUZZ_FRAMES_H

#include "fuzz.h"
#include "gpu/gpu_protocol.h"

/* What can be wrong with a frame; anything less is right */
enum
{
	FUZZ_FRAME_RAW = 9,			/* the payload is the bytes, nothing else */
	FUZZ_FRAME_CRC,
	FUZZ_FRAME_MAGIC,
	FUZZ_FRAME_VERSION,
	FUZZ_FRAME_LONGER,
	FUZZ_FRAME_HUGE,
	FUZZ_FRAME_CUT				/* and nothing comes after it */
};

#define FUZZ_FRAMES_SIZE	(8 * OMEN_GPU_PARSER_SIZE)

/* Numbers of rows are bytes, or times 7: then with little else, as that takes time */
#define FUZZ_FEW_ROWS		254
#define FUZZ_TIMES			7
#define FUZZ_MAX_ROUNDS		64	/* those of a request that is accepted */
#define FUZZ_MAX_ROWS		(FUZZ_FEW_ROWS * FUZZ_TIMES)

/* Of codes of 64 dimensions, and a level each */
#define FUZZ_ROWS_SIZE		(FUZZ_MAX_ROWS * 1024)

/* Links of a node, as built_v in fuzz_server.sql has them */
#define FUZZ_LINKS			8

typedef struct FuzzFrames
{
	char	   *bytes;			/* FUZZ_FRAMES_SIZE */
	size_t		length;
	OmenGpuRequest request;		/* the last that was made */
	const char *path;			/* of a file for rows, */
	char	   *rows;			/* that is to have these: FUZZ_ROWS_SIZE */
	size_t		rows_length;
	uint32		type;			/* of the last frame */
	uint32		next;			/* row or node after it, if it was of a range */
} FuzzFrames;

typedef struct FuzzStep
{
	const uint8_t *at;
	const uint8_t *end;
} FuzzStep;

static uint8_t
fuzz_byte(FuzzStep *step)
{
	return step->at < step->end ? *step->at++ : 0;
}

static uint32
fuzz_number(FuzzStep *step)
{
	uint8_t		byte = fuzz_byte(step);

	return byte == 255 ? PG_UINT32_MAX : byte;
}

static float
fuzz_float(FuzzStep *step)
{
	uint8_t		bytes[sizeof(float)];
	float		value;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = fuzz_byte(step);
	memcpy(&value, bytes, sizeof(value));
	return value;
}

static void
fuzz_put(FuzzFrames *frames, const void *data, size_t length)
{
	memcpy(frames->bytes + frames->length, data, length);
	frames->length += length;
}

/* What is left of the step, with zeros up to the size */
static void
fuzz_put_rest(FuzzFrames *frames, FuzzStep *step, size_t size)
{
	size_t		start = frames->length;

	fuzz_put(frames, step->at, step->end - step->at);
	if (frames->length < start + size)
	{
		memset(frames->bytes + frames->length, 0,
			   start + size - frames->length);
		frames->length = start + size;
	}
}

static size_t
fuzz_code_size(const OmenGpuRequest *request)
{
	return request->element == OMEN_GPU_CODE8 ?
		sizeof(OmenGpuCodeHead) + request->dims :
		request->dims * (request->element == OMEN_GPU_F32 ? 4 : 2);
}

static void
fuzz_put_request(FuzzFrames *frames, FuzzStep *step)
{
	OmenGpuRequest *request = &frames->request;
	bool		many;

	memset(request, 0, sizeof(*request));
	request->nnodes = fuzz_number(step);
	many = fuzz_byte(step) == 1;
	if (many)
		request->nnodes *= FUZZ_TIMES;
	request->element = fuzz_byte(step);
	request->metric = fuzz_byte(step);
	request->dims = fuzz_byte(step) % (many ? 4 : 64) + 1;
	request->stride = (fuzz_code_size(request) + 3) / 4 * 4 + fuzz_byte(step);
	request->max_links = fuzz_byte(step);
	request->scale_links = fuzz_byte(step);
	request->list_size = 2 * (fuzz_byte(step) % (many ? 32 : 256));
	request->rounds = fuzz_byte(step);
	if (request->rounds <= FUZZ_MAX_ROUNDS)
		request->rounds %= many ? 2 : 4;
	request->seed = fuzz_byte(step);
	request->max_norm2 = fuzz_float(step);
	request->mean_norm2 = fuzz_float(step);
	fuzz_put(frames, request, sizeof(*request));
}

/* Where a range begins and how long it is; returns that */
static uint32
fuzz_put_range(FuzzFrames *frames, FuzzStep *step, uint32 type, uint32 most)
{
	OmenGpuRange range = {0};
	uint32		count;

	if (type != frames->type)
		frames->next = 0;
	range.first = frames->next + (int8_t) fuzz_byte(step);
	count = fuzz_number(step);
	if (frames->request.nnodes > FUZZ_FEW_ROWS)
		count *= FUZZ_TIMES;
	range.count = Min(count, most);
	frames->next = range.first + range.count;
	fuzz_put(frames, &range, sizeof(range));
	return range.count;
}

/* A code of 8 bits, or floats, that a vector could have */
static void
fuzz_draw_code(const OmenGpuRequest *request, uint32 *state, char *code)
{
	OmenGpuCodeHead head = {.scale = 1.0f / 64};
	int			sum = 0;

	for (uint32 i = 0; i < request->dims; i++)
	{
		int			integer;
		float		value;
		uint16		half;

		*state = *state * UINT32_C(1664525) + UINT32_C(1013904223);
		integer = (int) (*state >> 24) - 128;
		value = integer / 64.0f;
		half = 0x3C00 | (*state >> 16 & 0x83FF);	/* 1 to 2, either sign */
		sum += integer * integer;
		if (request->element == OMEN_GPU_CODE8)
			code[sizeof(head) + i] = (char) integer;
		else if (request->element == OMEN_GPU_F32)
			memcpy(code + i * sizeof(value), &value, sizeof(value));
		else
			memcpy(code + i * sizeof(half), &half, sizeof(half));
	}
	if (request->element == OMEN_GPU_CODE8)
	{
		head.norm2 = sum * head.scale * head.scale;
		memcpy(code, &head, sizeof(head));
	}
}

/* Four levels in turns, and codes that are drawn, or bytes over and over */
static void
fuzz_form_rows(FuzzFrames *frames, FuzzStep *step)
{
	const OmenGpuRequest *request = &frames->request;
	uint32		count = Min(request->nnodes, FUZZ_MAX_ROWS);
	size_t		size = count * (size_t) request->stride;
	uint8_t		levels[4];
	uint32		state = fuzz_byte(step);

	memset(frames->rows, 0, size);
	for (int i = 0; i < 4; i++)
		levels[i] = fuzz_byte(step);
	for (uint32 i = 0; i < count; i++)
		frames->rows[size + i] = (char) levels[i % 4];
	if (step->at == step->end && request->stride >= fuzz_code_size(request))
	{
		for (uint32 i = 0; i < count; i++)
			fuzz_draw_code(request, &state,
						   frames->rows + i * request->stride);
	}
	for (size_t i = 0; step->at < step->end && i < size; i++)
		frames->rows[i] = (char) step->at[i % (step->end - step->at)];
	frames->rows_length = size + count;
}

/* The rows of the last message that says where they are are there */
static void
fuzz_put_rows(FuzzFrames *frames, FuzzStep *step)
{
	OmenGpuRows rows = {.codes = (uint64) (int8_t) fuzz_byte(step)};
	bool		nowhere = fuzz_byte(step) == 255;

	if (frames->path != NULL)
	{
		fuzz_form_rows(frames, step);
		rows.levels = rows.codes + frames->rows_length -
			Min(frames->request.nnodes, FUZZ_MAX_ROWS);
		if (!nowhere)
			strlcpy(rows.path, frames->path, sizeof(rows.path));
	}
	fuzz_put(frames, &rows, sizeof(rows));
}

static void
fuzz_put_clusters(FuzzFrames *frames, FuzzStep *step)
{
	uint32		count = fuzz_put_range(frames, step, OMEN_GPU_CLUSTERS,
									   FUZZ_MAX_ROWS);

	for (uint32 i = 0; i < count; i++)
	{
		uint32		cluster = fuzz_number(step);

		fuzz_put(frames, &cluster, sizeof(cluster));
	}
}

/*
 * Lists, as long as there are bytes: nlinks, nscale, and the links, of which those
 * are said that there is room for
 */
static void
fuzz_put_links(FuzzFrames *frames, FuzzStep *step)
{
	uint32		count = fuzz_put_range(frames, step, OMEN_GPU_LINKS,
									   PG_UINT32_MAX);
	static uint8_t counts[2 * FUZZ_MAX_ROWS + 16];
	static uint32 links[FUZZ_MAX_ROWS][FUZZ_LINKS];
	uint8_t		nscale[FUZZ_MAX_ROWS];
	uint32		n = 0;

	memset(counts, 0, sizeof(counts));
	memset(links, 0, sizeof(links));
	for (; n < Min(count, FUZZ_MAX_ROWS) && step->at < step->end; n++)
	{
		counts[n] = fuzz_byte(step);
		nscale[n] = fuzz_byte(step);
		for (int j = 0; j < counts[n] && step->at < step->end; j++)
			links[n][j % FUZZ_LINKS] = fuzz_number(step);
	}
	memcpy(counts + n, nscale, n);
	fuzz_put(frames, counts, omen_gpu_links_head(n) - sizeof(OmenGpuRange));
	fuzz_put(frames, links, n * sizeof(links[0]));
}

static void
fuzz_put_payload(FuzzFrames *frames, uint32 type, FuzzStep *step)
{
	switch (type)
	{
		case OMEN_GPU_HELLO:
			fuzz_put_rest(frames, step, sizeof(OmenGpuHello));
			break;
		case OMEN_GPU_REQUEST:
			fuzz_put_request(frames, step);
			break;
		case OMEN_GPU_ROWS:
			fuzz_put_rows(frames, step);
			break;
		case OMEN_GPU_PROGRESS:
			fuzz_put_rest(frames, step, sizeof(OmenGpuProgress));
			break;
		case OMEN_GPU_CLUSTERS:
			fuzz_put_clusters(frames, step);
			break;
		case OMEN_GPU_LINKS:
			fuzz_put_links(frames, step);
			break;
		case OMEN_GPU_END:
			fuzz_put_rest(frames, step, sizeof(OmenGpuEnd));
			break;
		case OMEN_GPU_ERROR:
			fuzz_put_rest(frames, step, sizeof(OmenGpuError));
			break;
		default:
			fuzz_put_rest(frames, step, 0);
	}
}

/* A frame; false: there is no more after it */
static bool
fuzz_put_frame(FuzzFrames *frames, uint8_t what, FuzzStep step)
{
	size_t		start = frames->length;
	size_t		payload = start + sizeof(OmenGpuFrameData);
	uint32		type = what % 16;
	OmenGpuFrameData frame;

	frames->length = payload;
	if (what / 16 == FUZZ_FRAME_RAW)
		fuzz_put_rest(frames, &step, 0);
	else
		fuzz_put_payload(frames, type, &step);
	frames->type = type;
	omen_gpu_frame(&frame, (OmenGpuMessage) type, frames->bytes + payload,
				   frames->length - payload, NULL, 0);
	switch (what / 16)
	{
		case FUZZ_FRAME_CRC:
			frame.crc++;
			break;
		case FUZZ_FRAME_MAGIC:
			frame.magic++;
			break;
		case FUZZ_FRAME_VERSION:
			frame.version++;
			break;
		case FUZZ_FRAME_LONGER:
			frame.length++;
			break;
		case FUZZ_FRAME_HUGE:
			frame.length = PG_UINT32_MAX;
			break;
		case FUZZ_FRAME_CUT:
			frames->length -= (frames->length - start) / 3;
	}
	memcpy(frames->bytes + start, &frame, sizeof(frame));
	return what / 16 != FUZZ_FRAME_CUT;
}

/* All messages of an input, as many as there is room for */
static void
fuzz_put_frames(FuzzFrames *frames, const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	bool		more = true;

	frames->length = 0;
	frames->type = 0;
	memset(&frames->request, 0, sizeof(frames->request));
	while (more && end - data >= 2 && frames->length +
		   OMEN_GPU_PARSER_SIZE <= FUZZ_FRAMES_SIZE)
	{
		uint8_t		what = data[0];
		size_t		length = Min(data[1], end - data - 2);

		more = fuzz_put_frame(frames, what,
							  (FuzzStep) {data + 2, data + 2 + length});
		data += 2 + length;
	}
}

#endif							/* OMEN_FUZZ_FRAMES_H */
