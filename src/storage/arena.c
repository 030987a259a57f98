/*-------------------------------------------------------------------------
 *
 * arena.c
 *	  Mapped temporary files, see arena.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "commands/tablespace.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "storage/arena.h"

#define WRITE_BUFFER	(256 * 1024)

struct OmenArena
{
	MemoryContext context;
	File		file;
	Size		size;			/* of the file, without what is buffered */
	Size		nbuffered;
	char	   *buffer;			/* NULL until the first append */
	void	   *base;			/* NULL until mapped */
	Size		mapped;
	MemoryContextCallback callback;
};

static OmenArena *make_arena(File file);
static bool exceeds_limit(Size size);
static int	allocate(OmenArena *arena, Size size);
static void unmap(void *arg);
static void write_out(OmenArena *arena, Size offset, const char *data,
					  Size len);

OmenArena *
omen_arena_create(FileSet *fileset, const char *name)
{
	if (fileset)
		return make_arena(FileSetCreate(fileset, name));

	/* or the file would lie in the default one; a file set has done so */
	PrepareTempTablespaces();
	return make_arena(OpenTemporaryFile(false));
}

OmenArena *
omen_arena_open(FileSet *fileset, const char *name)
{
	OmenArena  *arena = make_arena(FileSetOpen(fileset, name, O_RDWR));

	arena->size = FileSize(arena->file);
	return arena;
}

void
omen_arena_append(OmenArena *arena, const void *data, Size len)
{
	Assert(arena->base == NULL);

	if (arena->buffer == NULL)
		arena->buffer = MemoryContextAlloc(arena->context, WRITE_BUFFER);
	if (arena->nbuffered + len > WRITE_BUFFER)
		omen_arena_flush(arena);
	if (len > WRITE_BUFFER)
		write_out(arena, arena->size, data, len);
	else
	{
		memcpy(arena->buffer + arena->nbuffered, data, len);
		arena->nbuffered += len;
	}
}

void
omen_arena_flush(OmenArena *arena)
{
	write_out(arena, arena->size, arena->buffer, arena->nbuffered);
	arena->nbuffered = 0;
}

Size
omen_arena_size(const OmenArena *arena)
{
	return arena->size + arena->nbuffered;
}

void
omen_arena_write_at(OmenArena *arena, Size offset, const void *data, Size len)
{
	Assert(arena->base == NULL && arena->nbuffered == 0);

	write_out(arena, offset, data, len);
}

void
omen_arena_read_at(OmenArena *arena, Size offset, void *data, Size len)
{
	char	   *to = data;

	while (len > 0)
	{
		int			nread = FileRead(arena->file, to,
									 (int) Min(len, 1024 * 1024 * 1024),
									 offset, WAIT_EVENT_BUFFILE_READ);

		if (nread <= 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 nread < 0 ?
					 errmsg("could not read from temporary file \"%s\": %m",
							FilePathName(arena->file)) :
					 errmsg("could not read from temporary file \"%s\": it ends too early",
							FilePathName(arena->file))));
		offset += nread;
		to += nread;
		len -= nread;
	}
}

void
omen_arena_reserve(OmenArena *arena, Size size)
{
	if (exceeds_limit(size))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("temporary file size exceeds temp_file_limit (%dkB)",
						temp_file_limit)));
	errno = allocate(arena, size);
	if (errno != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not reserve %zu bytes for temporary file \"%s\": %m",
						size, FilePathName(arena->file))));
}

bool
omen_arena_try_reserve(OmenArena *arena, Size size)
{
	return !exceeds_limit(size) && allocate(arena, size) == 0;
}

/* The server counts what is written to a file, not what is reserved */
static bool
exceeds_limit(Size size)
{
	return temp_file_limit >= 0 && size / 1024 > (Size) temp_file_limit;
}

/*
 * Returns 0 or what went wrong.  Without real space behind it, a store to the
 * mapping would end in SIGBUS when the disk is full, instead of in an ERROR here.
 */
static int
allocate(OmenArena *arena, Size size)
{
	int			rc;

	if (size <= arena->size)
		return 0;

	(void) FileSize(arena->file);	/* makes sure that it is open */
	do
	{
		rc = posix_fallocate(FileGetRawDesc(arena->file), arena->size,
							 size - arena->size);
	} while (rc == EINTR);
	if (rc == 0)
		arena->size = size;
	return rc;
}

void *
omen_arena_map(OmenArena *arena)
{
	if (arena->base != NULL || arena->size == 0)
		return arena->base;

	Assert(arena->nbuffered == 0);

	(void) FileSize(arena->file);
	arena->base = mmap(NULL, arena->size, PROT_READ | PROT_WRITE, MAP_SHARED,
					   FileGetRawDesc(arena->file), 0);
	if (arena->base == MAP_FAILED)
	{
		arena->base = NULL;
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not map %zu bytes of temporary file \"%s\": %m",
						arena->size, FilePathName(arena->file))));
	}
	arena->mapped = arena->size;
	return arena->base;
}

const char *
omen_arena_path(const OmenArena *arena)
{
	return FilePathName(arena->file);
}

/*
 * Memory of files and shared segments in this process's page table.  Where
 * the system does not tell, page faults give a bound: the kernel maps what
 * lies around the page, in memory already, as far as this.
 */
#define FAULT_AROUND	(64 * 1024)

static Size
resident_bytes(void)
{
	int			fd = open("/proc/self/statm", O_RDONLY);
	char		line[128];
	ssize_t		len = 0;
	unsigned long shared;
	struct rusage usage;

	if (fd >= 0)
	{
		len = read(fd, line, sizeof(line) - 1);
		close(fd);
	}
	line[Max(len, 0)] = '\0';
	if (sscanf(line, "%*u %*u %lu", &shared) == 1)
		return (Size) shared * sysconf(_SC_PAGESIZE);
	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return 0;
	return (Size) (usage.ru_minflt + usage.ru_majflt) * FAULT_AROUND;
}

bool
omen_arena_over_budget(const OmenArenaBudget *budget)
{
	return resident_bytes() > budget->base + budget->limit;
}

void
omen_arena_start_budget(OmenArenaBudget *budget, Size limit)
{
	budget->limit = limit;
	budget->base = resident_bytes();
}

void
omen_arena_unload(OmenArena *arena)
{
	/* a shared mapping's pages stay in the file, changes and all */
	if (arena->base)
		(void) madvise(arena->base, arena->mapped, MADV_DONTNEED);
}

void
omen_arena_close(OmenArena *arena)
{
	unmap(arena);
	if (arena->buffer)
		pfree(arena->buffer);
	arena->buffer = NULL;
	FileClose(arena->file);
}

static OmenArena *
make_arena(File file)
{
	OmenArena  *arena = palloc0(sizeof(OmenArena));

	arena->context = CurrentMemoryContext;
	arena->file = file;
	arena->callback.func = unmap;
	arena->callback.arg = arena;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &arena->callback);
	return arena;
}

static void
unmap(void *arg)
{
	OmenArena  *arena = arg;

	if (arena->base)
		(void) munmap(arena->base, arena->mapped);
	arena->base = NULL;
}

static void
write_out(OmenArena *arena, Size offset, const char *data, Size len)
{
	while (len > 0)
	{
		int			written = FileWrite(arena->file, unconstify(char *, data),
										(int) Min(len, 1024 * 1024 * 1024),
										offset, WAIT_EVENT_BUFFILE_WRITE);

		if (written <= 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write to temporary file \"%s\": %m",
							FilePathName(arena->file))));
		offset += written;
		arena->size = Max(arena->size, offset);
		data += written;
		len -= written;
	}
}
