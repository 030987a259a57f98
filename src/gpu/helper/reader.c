/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  Reading a file into memory by several threads, see reader.h.
 *
 * What is read at a time is divided into slices, which the threads and the one who
 * asked for it take as they come to it.  Each reading is a turn; in between the
 * threads sleep.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "gpu/helper/reader.h"

/* Threads beside the one who asks; more are not faster than memory */
#define MAX_THREADS		3

#define SLICE			(256 * 1024)

struct Reader
{
	int			file;
	int			nthreads;
	pthread_t	threads[MAX_THREADS];
	pthread_mutex_t mutex;		/* protects what follows */
	pthread_cond_t begun;
	pthread_cond_t ended;
	uint64		turn;
	bool		closing;
	uint64		offset;
	char	   *to;
	size_t		length;
	size_t		taken;			/* of the length, by somebody */
	int			nbusy;			/* threads that have not ended this turn */
	bool		failed;
	int			error;
};

/* Returns 0, or why it could not be read */
static int
read_slice(int file, uint64 offset, char *to, size_t length, bool *failed)
{
	while (length > 0)
	{
		ssize_t		got = pread(file, to, length, (off_t) offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
		{
			*failed = true;
			return got < 0 ? errno : 0;
		}
		offset += got;
		to += got;
		length -= got;
	}
	return 0;
}

/* Slices of this turn, until there is none left; with the mutex, as it returns */
static void
take_slices(Reader *reader)
{
	while (reader->taken < reader->length && !reader->failed)
	{
		size_t		at = reader->taken;
		size_t		length = Min(SLICE, reader->length - at);
		bool		failed = false;
		int			error;

		reader->taken += length;
		pthread_mutex_unlock(&reader->mutex);
		error = read_slice(reader->file, reader->offset + at, reader->to + at,
						   length, &failed);
		pthread_mutex_lock(&reader->mutex);
		if (failed)
		{
			reader->failed = true;
			reader->error = error;
		}
	}
}

static void *
run_thread(void *arg)
{
	Reader	   *reader = arg;
	uint64		turn = 0;

	pthread_mutex_lock(&reader->mutex);
	for (;;)
	{
		while (reader->turn == turn && !reader->closing)
			pthread_cond_wait(&reader->begun, &reader->mutex);
		if (reader->closing)
			break;
		turn = reader->turn;
		take_slices(reader);
		if (--reader->nbusy == 0)
			pthread_cond_signal(&reader->ended);
	}
	pthread_mutex_unlock(&reader->mutex);
	return NULL;
}

Reader *
omen_reader_open(const char *path)
{
	Reader	   *reader = calloc(1, sizeof(Reader));
	long		cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (reader == NULL)
		return NULL;
	reader->file = open(path, O_RDONLY | O_CLOEXEC);
	if (reader->file < 0)
	{
		free(reader);
		return NULL;
	}
	pthread_mutex_init(&reader->mutex, NULL);
	pthread_cond_init(&reader->begun, NULL);
	pthread_cond_init(&reader->ended, NULL);
	while (reader->nthreads < Min(MAX_THREADS, cpus - 1) &&
		   pthread_create(&reader->threads[reader->nthreads], NULL, run_thread,
						  reader) == 0)
		reader->nthreads++;
	return reader;
}

bool
omen_reader_read(Reader *reader, uint64_t offset, void *to, size_t length)
{
	bool		good;

	pthread_mutex_lock(&reader->mutex);
	reader->offset = offset;
	reader->to = to;
	reader->length = length;
	reader->taken = 0;
	reader->failed = false;
	if (length > SLICE)
	{
		reader->nbusy = reader->nthreads;
		reader->turn++;
		pthread_cond_broadcast(&reader->begun);
	}
	take_slices(reader);
	while (reader->nbusy > 0)
		pthread_cond_wait(&reader->ended, &reader->mutex);
	good = !reader->failed;
	errno = reader->error;
	pthread_mutex_unlock(&reader->mutex);
	return good;
}

void
omen_reader_close(Reader *reader)
{
	if (reader == NULL)
		return;
	pthread_mutex_lock(&reader->mutex);
	reader->closing = true;
	pthread_cond_broadcast(&reader->begun);
	pthread_mutex_unlock(&reader->mutex);
	for (int i = 0; i < reader->nthreads; i++)
		pthread_join(reader->threads[i], NULL);
	pthread_cond_destroy(&reader->ended);
	pthread_cond_destroy(&reader->begun);
	pthread_mutex_destroy(&reader->mutex);
	close(reader->file);
	free(reader);
}
