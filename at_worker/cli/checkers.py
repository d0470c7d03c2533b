"""The processes that check lines.

concurrent.futures has its processes share two pipes: one that is killed while it writes, or while another is
being spawned, leaves the others and their parent waiting for ever. Here each has a pipe of its own, of which
nobody else holds the far end: whenever it dies, whoever writes to it or reads from it hears of it.
"""

import logging
import multiprocessing
import os
import signal
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running
from threading import Lock, Thread
from typing import Any, TypeAlias

from at_worker.cli import lines
from at_worker.cli.errors import Failed
from at_worker.cli.linefile import Batch
from at_worker.cli.lines import BadLine, Checked, Executors
from at_worker.config import Settings
from at_worker.store.loading import NewTask

# Spawned: the threads of this process, and its connection, are not for others.
_SPAWN = multiprocessing.get_context("spawn")
_Pipe: TypeAlias = "Connection[Any, Any]"


class Checkers:
    """Processes that check lines, as many as are asked at once; `payloads` too, or not."""

    def __init__(self, given: Settings, *, payloads: bool) -> None:
        self._task = (given, payloads)
        self._lock = Lock()
        self._processes: list[SpawnProcess] = []
        self._idle: list[_Pipe] = []
        self._closed = False

    def check(self, batch: Batch) -> Checked:
        """Let a process check a batch; for many threads. Raises Failed where any process has died."""
        try:
            pipe = self._idle.pop()
        except IndexError:
            pipe = self._start()
        # Not raised from the other error, which holds on to what was sent: Python 3.13 tells of its garbage.
        with suppress(OSError, EOFError):
            pipe.send(batch)
            answer: Checked = pipe.recv()
            self._idle.append(pipe)
            if self._all_live():
                return answer
        self.close()  # the batches before this one, which are waited for first, may take their time
        raise _killed()

    def close(self) -> None:
        """End all processes, and with them what threads are waiting for."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
            for process in self._processes:
                process.join()

    def _start(self) -> _Pipe:
        ours, theirs = _SPAWN.Pipe()
        with theirs, self._lock:
            if self._closed:  # while this batch waited for its thread
                raise _killed()
            # Ctrl-C is for the main thread, which ends the processes: they inherit that it is not for them.
            # multiprocessing would start its tracker with the first of them, and admit it again.
            ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            process = _SPAWN.Process(target=_run, args=(theirs,), daemon=True)
            process.start()
            self._processes.append(process)
        # Not as an argument: one that does not fit into the pipe of those, and whose reader dies, blocks.
        with suppress(OSError):  # whoever asks next hears of it too
            ours.send(self._task)
        return ours

    def _all_live(self) -> bool:
        with self._lock:
            return all(process.is_alive() for process in self._processes)


def check(batch: Batch, known: Executors | None) -> Checked:
    """Check a batch in this process; payloads where executors are `known`."""
    found = [lines.read(number, raw, known) for number, raw in batch.lines]
    return Checked(
        [line for line in found if isinstance(line, NewTask)],
        [line for line in found if isinstance(line, BadLine)],
        batch.end,
    )


def _killed() -> Failed:
    return Failed("a process that checked lines was killed, for want of memory perhaps; nothing was imported")


# What follows runs in those processes.


def _run(pipe: _Pipe) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    logging.disable()  # the parent has told what is wrong with a plug-in
    with suppress(OSError, EOFError):  # the parent has ended
        given, payloads = pipe.recv()
        from at_worker.executors.registry import executors  # noqa: PLC0415 - other commands do without it

        with executors(given) if payloads else nullcontext() as known:
            while True:
                pipe.send(check(pipe.recv(), known))


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
