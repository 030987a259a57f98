/*-------------------------------------------------------------------------
 *
 * gpu_process.c
 *	  A helper program and its messages, see gpu_process.h.
 *
 * NOTES
 *	  The helper stays in the process group of its backend.  So it gets what
 *	  the server sends to all of that group, as it does to programs that are run
 *	  by system(): a cancel, a termination, an immediate shutdown.  Where the
 *	  kernel can do it, it is killed too when its backend dies without a word.
 *
 *	  Between fork() and exec() the child is a copy of a backend, attached to
 *	  shared memory: it runs nothing there but system calls, with all signals
 *	  blocked until their handlers are gone, and leaves by exec() or _exit().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "gpu/gpu_process.h"

/* How long to wait for the end of a helper that has been killed, in ms */
#define REAP_TIMEOUT	10000

/* Status of a child that could not become the helper */
#define EXEC_FAILED		127

struct OmenGpuHelper
{
	char	   *path;
	int			timeout;		/* seconds */
	pid_t		pid;			/* 0: none, or reaped */
	pgsocket	sock;			/* PGINVALID_SOCKET: closed */
	OmenGpuParser parser;
	bool		failed;
	uint32		error_code;		/* OmenGpuErrorCode, or 0 */
	char		fault[512];
	MemoryContextCallback callback;
};

typedef enum ReadResult
{
	READ_SOME,
	READ_NOTHING,				/* there was nothing yet, or no room */
	READ_END,
	READ_BROKEN
} ReadResult;

static void stop_callback(void *arg);
static pid_t run_program(const char *path, pgsocket sock, pgsocket other);
static void become_program(const char *path, pgsocket sock, pid_t parent);
static bool wait_to_read(OmenGpuHelper *helper);
static ReadResult read_some(OmenGpuHelper *helper);
static bool send_bytes(OmenGpuHelper *helper, const char *data, Size length);
static bool connection_lost(OmenGpuHelper *helper);
static bool take_error(OmenGpuHelper *helper, const OmenGpuReceived *received);
static bool reap(OmenGpuHelper *helper, int ms, int *status);

OmenGpuHelper *
omen_gpu_start(const char *path, int timeout)
{
	OmenGpuHelper *helper = palloc0(sizeof(OmenGpuHelper));
	int			socks[2];

	helper->path = pstrdup(path);
	helper->timeout = timeout;
	helper->sock = PGINVALID_SOCKET;
	omen_gpu_parser_init(&helper->parser, palloc(OMEN_GPU_PARSER_SIZE));
	helper->callback.func = stop_callback;
	helper->callback.arg = helper;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &helper->callback);

	if (!AcquireExternalFD())
	{
		omen_gpu_fail(helper, "there are too many open files");
		return helper;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks) < 0)
	{
		ReleaseExternalFD();
		omen_gpu_fail(helper, psprintf("no socket could be made: %m"));
		return helper;
	}
	helper->sock = socks[0];
	helper->pid = run_program(path, socks[1], socks[0]);
	if (helper->pid < 0)
	{
		helper->pid = 0;
		omen_gpu_fail(helper, psprintf("no process could be made: %m"));
	}
	close(socks[1]);
	if (!pg_set_noblock(helper->sock))
		omen_gpu_fail(helper, psprintf("the socket could not be set up: %m"));
	return helper;
}

static pid_t
run_program(const char *path, pgsocket sock, pgsocket other)
{
	pid_t		parent = getpid();
	pid_t		pid;
	sigset_t	all;
	sigset_t	before;

	(void) fcntl(other, F_SETFD, FD_CLOEXEC);
	fflush(stdout);
	fflush(stderr);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		become_program(path, sock, parent);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static void
close_others(void)
{
	struct rlimit limit;
	int			end = 65536;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, 3, ~0U, 0) == 0)
		return;
#endif
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < end)
		end = (int) limit.rlim_cur;
	for (int fd = 3; fd < end; fd++)
		close(fd);
}

/* The child's part; does not return */
static void
become_program(const char *path, pgsocket sock, pid_t parent)
{
	struct sigaction usual;
	sigset_t	none;

	memset(&usual, 0, sizeof(usual));
	usual.sa_handler = SIG_DFL;
	for (int i = 1; i < 65; i++)
		sigaction(i, &usual, NULL);
#ifdef __linux__
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
#endif
	if (dup2(sock, STDIN_FILENO) < 0 || dup2(sock, STDOUT_FILENO) < 0)
		_exit(EXEC_FAILED);
	close_others();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(path, path, (char *) NULL);
	_exit(EXEC_FAILED);
}

static void
stop_callback(void *arg)
{
	OmenGpuHelper *helper = arg;
	int			status;

	omen_gpu_stop(helper);

	/* one that the kernel does not let go is left to it */
	if (helper->pid > 0)
		(void) reap(helper, REAP_TIMEOUT, &status);
	helper->pid = 0;
}

void
omen_gpu_stop(OmenGpuHelper *helper)
{
	if (helper->sock != PGINVALID_SOCKET)
	{
		close(helper->sock);
		helper->sock = PGINVALID_SOCKET;
		ReleaseExternalFD();
	}
	if (helper->pid > 0)
		kill(helper->pid, SIGKILL);
}

/* Wait for the process to end, so many milliseconds; true if it has */
static bool
reap(OmenGpuHelper *helper, int ms, int *status)
{
	for (int waited = 0;; waited++)
	{
		pid_t		pid = waitpid(helper->pid, status, WNOHANG);

		if (pid == helper->pid || (pid < 0 && errno != EINTR))
		{
			helper->pid = 0;
			return pid > 0;
		}
		if (waited >= ms)
			return false;
		pg_usleep(1000);
	}
}

/*
 * Wait for something to read; false if nothing has come for too long.  The latch is
 * set for much that has nothing to do with the helper, and does not give it more time.
 */
static bool
wait_to_read(OmenGpuHelper *helper)
{
	long		timeout = helper->timeout * 1000L;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		instr_time	waited;
		int			happened;

		INSTR_TIME_SET_CURRENT(waited);
		INSTR_TIME_SUBTRACT(waited, start);
		happened = WaitLatchOrSocket(MyLatch, WL_SOCKET_READABLE | WL_LATCH_SET |
									 WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
									 helper->sock,
									 Max(timeout - (long) INSTR_TIME_GET_MILLISEC(waited), 0),
									 PG_WAIT_EXTENSION);
		if (happened & WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (happened & WL_SOCKET_READABLE)
			return true;
		if (happened & WL_TIMEOUT)
			return false;
	}
}

/* Read what is there, if there is room */
static ReadResult
read_some(OmenGpuHelper *helper)
{
	Size		room;
	char	   *to = omen_gpu_parser_room(&helper->parser, &room);
	ssize_t		got;

	if (room == 0)
		return READ_NOTHING;
	got = recv(helper->sock, to, room, 0);
	if (got > 0)
	{
		omen_gpu_parser_fill(&helper->parser, got);
		return READ_SOME;
	}
	if (got == 0)
		return READ_END;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ?
		READ_NOTHING : READ_BROKEN;
}

bool
omen_gpu_send(OmenGpuHelper *helper, OmenGpuMessage type, const void *payload,
			  Size length)
{
	OmenGpuFrameData frame;

	if (helper->failed)
		return false;
	omen_gpu_frame(&frame, type, payload, length, NULL, 0);
	return send_bytes(helper, (char *) &frame, sizeof(frame)) &&
		send_bytes(helper, payload, length);
}

/* What is sent is short, and there is room for it even if nobody reads */
static bool
send_bytes(OmenGpuHelper *helper, const char *data, Size length)
{
	while (length > 0)
	{
		ssize_t		sent = send(helper->sock, data, length, MSG_NOSIGNAL);

		CHECK_FOR_INTERRUPTS();
		if (sent < 0 && errno != EINTR)
			return connection_lost(helper);
		data += Max(sent, 0);
		length -= Max(sent, 0);
	}
	return true;
}

bool
omen_gpu_has_spoken(const OmenGpuHelper *helper)
{
	char		byte;

	return helper->failed ||
		recv(helper->sock, &byte, 1, MSG_PEEK) >= 0 ||
		(errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool
omen_gpu_receive(OmenGpuHelper *helper, OmenGpuReceived *received)
{
	const char *fault;

	while (!helper->failed)
	{
		switch (omen_gpu_parser_next(&helper->parser, received, &fault))
		{
			case OMEN_GPU_FRAME:
				if (received->type == OMEN_GPU_ERROR)
					return take_error(helper, received);
				return true;
			case OMEN_GPU_BROKEN:
				return omen_gpu_fail(helper, fault);
			case OMEN_GPU_MORE:
				break;
		}
		CHECK_FOR_INTERRUPTS();
		switch (read_some(helper))
		{
			case READ_SOME:
				break;
			case READ_NOTHING:
				if (!wait_to_read(helper))
					return omen_gpu_fail(helper,
										 psprintf("it has said nothing for %d s",
												  helper->timeout));
				break;
			case READ_END:
			case READ_BROKEN:
				return connection_lost(helper);
		}
	}
	return false;
}

/* The helper is gone: what it said last, or how it ended */
static bool
connection_lost(OmenGpuHelper *helper)
{
	OmenGpuReceived received;
	const char *fault;
	int			status;

	while (read_some(helper) < READ_END)
	{
		while (omen_gpu_parser_next(&helper->parser, &received, &fault) ==
			   OMEN_GPU_FRAME)
		{
			if (received.type == OMEN_GPU_ERROR)
				return take_error(helper, &received);
		}
		if (!wait_to_read(helper))
			break;
	}

	/* a cancel may have reached it before us */
	CHECK_FOR_INTERRUPTS();
	if (helper->pid > 0 && reap(helper, 1000, &status))
	{
		if (WIFSIGNALED(status))
			return omen_gpu_fail(helper, psprintf("it was ended by signal %d",
												  WTERMSIG(status)));
		if (WEXITSTATUS(status) == EXEC_FAILED)
			return omen_gpu_fail(helper, "it could not be executed");
		return omen_gpu_fail(helper,
							 psprintf("it ended too early, with status %d",
									  WEXITSTATUS(status)));
	}
	return omen_gpu_fail(helper, "it has closed the connection");
}

static bool
take_error(OmenGpuHelper *helper, const OmenGpuReceived *received)
{
	OmenGpuError error;

	if (received->length != sizeof(error))
		return omen_gpu_fail(helper, "a message is of the wrong size");
	memcpy(&error, received->payload, sizeof(error));
	error.text[sizeof(error.text) - 1] = '\0';
	helper->error_code = error.code;

	/* whatever it is, it goes to a log */
	for (char *c = error.text; *c != '\0'; c++)
	{
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	return omen_gpu_fail(helper, error.text);
}

bool
omen_gpu_fail(OmenGpuHelper *helper, const char *fault)
{
	if (!helper->failed)
		strlcpy(helper->fault, fault, sizeof(helper->fault));
	helper->failed = true;
	return false;
}

const char *
omen_gpu_fault(const OmenGpuHelper *helper)
{
	return helper->fault;
}

uint32
omen_gpu_error_code(const OmenGpuHelper *helper)
{
	return helper->error_code;
}
