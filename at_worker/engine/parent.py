"""The parent process, as its worker sees it: a socket that asks, and whose end is the end of the parent."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from at_worker.config import ConfigError
from at_worker.engine.report import Report
from at_worker.engine.stop import EXIT_OK, Stop

# Every message is one packet.
LARGEST_MESSAGE = 65536
STOP = b"stop"
UNASKED = 0
# Nobody is left to read it.
EXIT_ORPHANED = 1


class Parent:
    """Answers the parent; ends the worker when the parent says so, or is gone, even by SIGKILL.

    A question is a number, which the answer repeats: the parent may have given up waiting meanwhile. Unasked
    the worker tells what it counts at the beginning and at the end, so that nothing of it is missing in the
    sum, and settings that it cannot use, so that people read of them once, however many processes there are.
    A worker that has not ended `patience` seconds after its parent (a plug-in may hang) ends at once.
    """

    def __init__(self, line: socket.socket, stop: Stop, patience: float) -> None:
        self._line = line
        self._stop = stop
        self._patience = patience
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="parent", daemon=True)
        self._report: Callable[[], Report] = Report

    def begin(self, report: Callable[[], Report]) -> None:
        """Answer so from now on."""
        self._report = report
        self._tell(UNASKED, report())

    def __enter__(self) -> Self:
        # What was said while this process was starting counts before it begins.
        with suppress(OSError):
            self._hear(self._line.recv(LARGEST_MESSAGE, socket.MSG_DONTWAIT))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with suppress(OSError):  # the parent is gone
            self._line.shutdown(socket.SHUT_RD)
        # Ended first: an answer that it has begun is older than the last word, and must not come after it.
        self._thread.join()
        problems = error.problems if isinstance(error, ConfigError) else []
        self._tell(UNASKED, replace(self._report(), problems=problems))
        self._line.close()

    def _listen(self) -> None:
        with suppress(OSError):  # the parent died with an answer unread
            while message := self._line.recv(LARGEST_MESSAGE):
                self._hear(message)
        if not self._closing.is_set():
            self._stop.fail(EXIT_OK, "The parent process is gone, initiating graceful shutdown...")
            if not self._closing.wait(self._patience):
                os._exit(EXIT_ORPHANED)

    def _hear(self, message: bytes) -> None:
        if message == STOP:
            self._stop.end()
        elif message:
            self._tell(int(message), self._report())

    def _tell(self, number: int, report: Report) -> None:
        # A parent that reads nothing must not keep this thread from hearing that it is to stop; of one that
        # is gone it hears next.
        with suppress(OSError):
            self._line.send(report.packed(number), socket.MSG_DONTWAIT)
