"""Checks lines in processes of their own, for a check takes longer than the insert of what it let through."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice

from at_worker.cli.checkers import Checkers, check
from at_worker.cli.linefile import Batch
from at_worker.cli.lines import Checked, Executors
from at_worker.config import Settings

# Sooner than a process has started, these are checked without.
FEW = 5


def checked(batches: Iterable[Batch], given: Settings, known: Executors | None) -> Generator[Checked]:
    """Check batches in their order, at most some of them ahead; payloads where executors are `known`."""
    batches = iter(batches)
    for batch in islice(batches, FEW):
        yield check(batch, known)
    if (next_batch := next(batches, None)) is not None:
        yield from _by_processes(chain([next_batch], batches), given, payloads=known is not None)


def _by_processes(batches: Iterator[Batch], given: Settings, *, payloads: bool) -> Iterator[Checked]:
    count = len(os.sched_getaffinity(0))
    # A thread for each process: a batch that does not fit into its pipe waits there until the process reads.
    with ThreadPoolExecutor(count) as threads, closing(Checkers(given, payloads=payloads)) as checkers:
        waiting: deque[Future[Checked]] = deque()
        for batch in batches:
            waiting.append(threads.submit(checkers.check, batch))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
