"""Reading ahead of the training step."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from epifoundation.training.dataset import CellDataset, Minibatch, Rows

AHEAD = 2  # windows read ahead by each thread


def read_ahead(
    cells: CellDataset, windows: Iterable[list[Rows]], epoch: int, *, n_workers: int
) -> Iterator[list[Minibatch]]:
    """Yield the minibatches of each window, in order, read by `n_workers` threads meanwhile.

    What is read depends on (seed, epoch, cell) alone, so the number of threads changes nothing.
    Threads do: the network's work runs outside Python's lock, and nothing has to be copied between
    processes.
    """

    def read(window: list[Rows]) -> list[Minibatch]:
        return [cells.read(rows, epoch) for rows in window]

    if n_workers == 0:
        yield from map(read, windows)
        return
    left = iter(windows)
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="reader")
    try:
        pending: deque[Future[list[Minibatch]]] = deque(
            pool.submit(read, window) for window in islice(left, AHEAD * n_workers)
        )
        while pending:
            minibatches = pending.popleft().result()
            pending.extend(pool.submit(read, window) for window in islice(left, 1))
            yield minibatches
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
