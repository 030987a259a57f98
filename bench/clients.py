"""Several clients at once, each a process with a session of its own."""
import multiprocessing
import threading
import time

WAIT = 600


def together(count, work):
    """Run work(number, ready) in processes; operations a second of all.

    work prepares itself, calls ready(), which returns when all are ready, and
    returns how many operations it has done since.
    """
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count + 1), context.Queue()
    processes = [context.Process(target=_client, daemon=True,
                                 args=(work, number, barrier, results))
                 for number in range(count)]
    for process in processes:
        process.start()
    try:
        barrier.wait(WAIT)
    except threading.BrokenBarrierError:
        raise SystemExit("a client failed before it was ready")
    start = time.perf_counter()
    done = [results.get(timeout=WAIT) for _ in processes]
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    if None in done:
        raise SystemExit("a client failed")
    return sum(done) / seconds


def _client(work, number, barrier, results):
    done = None
    try:
        done = work(number, lambda: barrier.wait(WAIT))
    finally:
        if done is None:
            barrier.abort()
        results.put(done)
