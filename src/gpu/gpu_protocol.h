/*-------------------------------------------------------------------------
 *
 * gpu_protocol.h
 *	  What the server and omendb-gpu-build say to each other.
 *
 * Both sides are on one machine, so numbers are in its own byte order; magic
 * tells if they are not.  Everything is in frames:
 *
 *	  0			4			6		   8		   12		   16
 *	  +-----------+----------+----------+----------+-----------+---------
 *	  | magic	  | version  | type		| length   | crc	   | payload
 *	  +-----------+----------+----------+----------+-----------+---------
 *
 * length is that of the payload; crc is CRC-32C of the first 12 bytes and the
 * payload.  src/gpu/README.md draws who sends what when.
 *
 * NOTES
 *	  Nothing here allocates, waits or reports: both sides have their own way.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OMEN_GPU_PROTOCOL_H
#define OMEN_GPU_PROTOCOL_H

#define OMEN_GPU_MAGIC			UINT32_C(0x42474D4F)	/* "OMGB" */
#define OMEN_GPU_VERSION		6

/* Longer frames are not read: a broken length must not make room for itself */
#define OMEN_GPU_MAX_PAYLOAD	(1024 * 1024)

typedef enum OmenGpuMessage
{
	OMEN_GPU_HELLO = 1,			/* helper: OmenGpuHello; ready for a request */
	OMEN_GPU_REQUEST,			/* server: OmenGpuRequest */
	OMEN_GPU_ROWS,				/* server: OmenGpuRows; they can be read */
	OMEN_GPU_PROGRESS,			/* helper: OmenGpuProgress */
	OMEN_GPU_CLUSTERS,			/* helper: OmenGpuRange, uint32[count] */
	OMEN_GPU_LINKS,				/* helper: OmenGpuRange, lists */
	OMEN_GPU_END,				/* helper: OmenGpuEnd; it has nothing to add */
	OMEN_GPU_ERROR				/* helper: OmenGpuError; likewise */
} OmenGpuMessage;

#define OMEN_GPU_LAST_MESSAGE	OMEN_GPU_ERROR

typedef struct OmenGpuFrameData
{
	uint32		magic;
	uint16		version;
	uint16		type;
	uint32		length;
	uint32		crc;
} OmenGpuFrameData;

typedef struct OmenGpuHello
{
	uint64		memory;			/* bytes that the device has free */
	char		device[64];		/* its name, ends with a zero */
} OmenGpuHello;

/* What a code is made of.  All of a request have the same size. */
typedef enum OmenGpuElement
{
	OMEN_GPU_CODE8 = 1,			/* OmenGpuCodeHead, then int8[dims] */
	OMEN_GPU_F32,				/* float[dims] */
	OMEN_GPU_F16				/* IEEE half[dims] */
} OmenGpuElement;

/*
 * Head of a code of 8 bits, the layout of an index's pair codes: x is about
 * scale * u, where u are the integers.
 */
typedef struct OmenGpuCodeHead
{
	float		norm2;			/* |x|^2 */
	float		scale;
	float		unused;
	float		mean_dot;		/* <mean, x> */
} OmenGpuCodeHead;

/* Distances of nodes to each other */
typedef enum OmenGpuMetric
{
	OMEN_GPU_L2 = 1,			/* squared */
	OMEN_GPU_LIFTED,			/* squared, after vectors got one more
								 * coordinate, sqrt(max_norm2 - |x|^2) */
	OMEN_GPU_UNIT,				/* squared, after vectors were normalized */
	OMEN_GPU_L1
} OmenGpuMetric;

/* What is wanted of n rows, each of which has a vector */
typedef struct OmenGpuRequest
{
	uint32		nnodes;
	uint16		element;		/* OmenGpuElement */
	uint16		metric;			/* OmenGpuMetric */
	uint32		dims;
	uint32		stride;			/* bytes from one code to the next */
	uint32		max_links;		/* of a node, 2 * m */
	uint32		scale_links;	/* of them, of a node of level > 0, to its own
								 * scale */
	uint32		list_size;		/* candidates collected, of ef_construction */
	uint32		rounds;			/* clusterings they come from */
	uint64		seed;
	float		max_norm2;		/* LIFTED; */
	float		mean_norm2;		/* of CODE8, |x + mean|^2 is norm2 + 2 *
								 * mean_dot + this */
	uint64		device_memory;	/* bytes of the device that may be used, 0 for
								 * what is free */
	uint64		host_memory;	/* bytes that may be used for what has no room
								 * there */
} OmenGpuRequest;

/*
 * A file that has the rows' codes, "stride" bytes from each to the next, and their
 * levels, uint8; from these bytes on.  They stay there until the helper has sent
 * something of what it has found by them.
 */
typedef struct OmenGpuRows
{
	uint64		codes;
	uint64		levels;
	char		path[1024];		/* from the folder that the helper was started in;
								 * ends with a zero */
} OmenGpuRows;

/*
 * CLUSTERS and LINKS are of "count" rows or nodes in order, the first of which
 * follows the last of the frame before.
 *
 * CLUSTERS, by row: the number of its cluster.  Rows become nodes by that: nodes
 * are numbered by cluster, and by row in each.
 * LINKS, by node: uint8 nlinks[count], uint8 nscale[count], zeros up to a multiple of
 * 16, uint32 links[count][max_links], of nodes; local links come first, nearest
 * first, and behind the last one there may be anything.  As the arena of a build
 * has them: nearly all nodes have as many as they may.
 */
typedef struct OmenGpuRange
{
	uint32		first;
	uint32		count;
	uint32		unused[2];
} OmenGpuRange;

typedef struct OmenGpuProgress
{
	uint64		done;
	uint64		total;
} OmenGpuProgress;

typedef struct OmenGpuEnd
{
	uint32		nnodes;
	uint32		beside;			/* BackendBeside: what was not on the device */
	uint64		pairs;			/* distances computed */
	uint64		milliseconds;	/* from when all vectors were read to the first
								 * link that could go */
} OmenGpuEnd;

typedef enum OmenGpuErrorCode
{
	OMEN_GPU_NO_DEVICE = 1,		/* instead of HELLO: nothing is wrong */
	OMEN_GPU_NO_MEMORY,			/* the request does not fit */
	OMEN_GPU_FAILED
} OmenGpuErrorCode;

typedef struct OmenGpuError
{
	uint32		code;
	char		text[252];		/* ends with a zero */
} OmenGpuError;

/* Fill in a frame for a payload of one or two pieces */
extern void omen_gpu_frame(OmenGpuFrameData *frame, OmenGpuMessage type,
						   const void *a, size_t a_length,
						   const void *b, size_t b_length);

/* Bytes on their way to becoming frames, in a buffer of the caller's */
typedef struct OmenGpuParser
{
	char	   *buffer;			/* OMEN_GPU_PARSER_SIZE */
	size_t		taken;			/* bytes of frames handed out */
	size_t		filled;
} OmenGpuParser;

#define OMEN_GPU_PARSER_SIZE \
	(sizeof(OmenGpuFrameData) + OMEN_GPU_MAX_PAYLOAD)

typedef enum OmenGpuParse
{
	OMEN_GPU_MORE,				/* no complete frame yet */
	OMEN_GPU_FRAME,				/* there is one */
	OMEN_GPU_BROKEN				/* what came is none */
} OmenGpuParse;

/* A frame's payload lies in the parser's buffer, until the next is asked for */
typedef struct OmenGpuReceived
{
	OmenGpuMessage type;
	const char *payload;
	size_t		length;
} OmenGpuReceived;

extern void omen_gpu_parser_init(OmenGpuParser *parser, char *buffer);

/* Where to read to and how much; never nothing after OMEN_GPU_MORE */
extern char *omen_gpu_parser_room(OmenGpuParser *parser, size_t *room);
extern void omen_gpu_parser_fill(OmenGpuParser *parser, size_t length);

/* With OMEN_GPU_BROKEN, *fault says why, in words */
extern OmenGpuParse omen_gpu_parser_next(OmenGpuParser *parser,
										 OmenGpuReceived *received,
										 const char **fault);

/*
 * The range that a frame of CLUSTERS or LINKS begins with.  Returns NULL, or
 * what is wrong with it: it must begin with node "next" and not end behind
 * "nnodes".
 */
extern const char *omen_gpu_read_range(const OmenGpuReceived *received,
									   uint32 next, uint32 nnodes,
									   OmenGpuRange *range);

/* Bytes of a frame of LINKS before the links, and nodes that fit into one */
static inline size_t
omen_gpu_links_head(uint32 count)
{
	return sizeof(OmenGpuRange) + ((size_t) count * 2 + 15) / 16 * 16;
}

static inline uint32
omen_gpu_links_count(uint32 max_links)
{
	return (uint32) ((OMEN_GPU_MAX_PAYLOAD - sizeof(OmenGpuRange) - 16) /
					 (2 + (size_t) max_links * sizeof(uint32)));
}

/* Is this a request that a helper can take?  NULL, or what is wrong */
extern const char *omen_gpu_check_request(const OmenGpuRequest *request);

#endif							/* OMEN_GPU_PROTOCOL_H */
