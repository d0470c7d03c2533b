"""Checks lines in processes of their own, for a check takes longer than the insert of what it let through."""

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import chain, islice

from at_worker.cli import lines
from at_worker.cli.errors import Failed
from at_worker.cli.linefile import Batch
from at_worker.cli.lines import BadLine, Checked, Executors
from at_worker.config import Settings
from at_worker.store.loading import NewTask

# Sooner than a process has started, these are checked without.
FEW = 5


def checked(batches: Iterable[Batch], given: Settings, known: Executors | None) -> Generator[Checked]:
    """Check batches in their order, at most some of them ahead; payloads where executors are `known`."""
    batches = iter(batches)
    for batch in islice(batches, FEW):
        yield _check(batch, known)
    if (next_batch := next(batches, None)) is not None:
        yield from _by_processes(chain([next_batch], batches), given, payloads=known is not None)


def _check(batch: Batch, known: Executors | None) -> Checked:
    found = [lines.read(number, raw, known) for number, raw in batch.lines]
    return Checked(
        [line for line in found if isinstance(line, NewTask)],
        [line for line in found if isinstance(line, BadLine)],
        batch.end,
    )


def _by_processes(batches: Iterator[Batch], given: Settings, *, payloads: bool) -> Iterator[Checked]:
    count = len(os.sched_getaffinity(0))
    # Spawned: the threads of this process, and its connection, are not for others.
    with ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _begin, (given, payloads)
    ) as processes:
        waiting: deque[Future[Checked]] = deque()
        try:
            for batch in batches:
                waiting.append(processes.submit(_check_there, batch))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise Failed(
                "a process that checked lines was killed, for want of memory perhaps; nothing was imported"
            ) from None
        finally:
            processes.shutdown(cancel_futures=True)


# What follows runs in those processes.

_known: Executors | None = None


def _begin(given: Settings, payloads: bool) -> None:
    global _known  # noqa: PLW0603 - a process is given its executors once, its tasks many times
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends these
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable()  # the parent has told what is wrong with a plug-in
    if payloads:
        from at_worker.executors.registry import executors  # noqa: PLC0415 - other commands do without it

        _known = ExitStack().enter_context(executors(given))


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _check_there(batch: Batch) -> Checked:
    return _check(batch, _known)
