"""A worker process, as its parent sees it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress

from at_worker.engine.parent import LARGEST_MESSAGE, STOP, UNASKED
from at_worker.engine.report import Report

ANSWER_TIMEOUT = 1.0


class WorkerProcess:
    """A process that runs one worker, from its start to its end; `label` is its WORKER_ID.

    Its standard input is one end of a socket, this is the other: however the parent ends, the kernel closes
    that, and the worker stops. The socket also carries the word to stop, which as a signal would come too
    soon for a worker that is just starting, and twice where somebody signals all processes of a service.
    Raises OSError where no process can be started.
    """

    def __init__(self, label: str, environment: Mapping[str, str]) -> None:
        boot_id = uuid.uuid4().hex[:12]
        self.holder = f"{label}/{boot_id}"
        self._asking = threading.Lock()
        self._asked = self._answered = UNASKED
        self.last = Report()  # what it told last
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # A session of its own, so that Ctrl-C in a terminal reaches the parent alone. -P: a file in the
            # current directory must not take the place of a library.
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-m", "at_worker", "worker", boot_id],
                env={**os.environ, **environment, "WORKER_ID": label},
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        except BaseException:
            self._line.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Ask for a graceful end."""
        with suppress(OSError):  # it has ended
            self._line.send(STOP)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self) -> int:
        """Wait for its end; returns the exit code, or the negative number of the signal that killed it."""
        code = self._process.wait()
        with self._asking:
            with suppress(OSError):  # it died with a question unread
                self._catch_up()
            self._line.close()
        return code

    def report(self) -> Report:
        """Ask it how it is; where it does not answer, it is not ready."""
        with self._asking:
            try:
                return self._answer()
            except TimeoutError:
                return Report("it does not answer")
            except OSError:
                return Report("it is not running")

    def _answer(self) -> Report:
        self._catch_up()
        # One question at a time: a frozen process reads none, and they would fill the socket until the word
        # to stop found no room.
        if self._answered == self._asked:
            self._asked += 1
            self._line.send(str(self._asked).encode())
        self._line.settimeout(ANSWER_TIMEOUT)
        until = time.monotonic() + ANSWER_TIMEOUT
        while time.monotonic() < until:
            message = self._line.recv(LARGEST_MESSAGE)
            if not message:
                raise ConnectionResetError
            self._read(message)
            if self._answered == self._asked:
                return self.last
        raise TimeoutError

    def _catch_up(self) -> None:
        """Read what it has told already: answers that came when nobody waited for them any more."""
        self._line.setblocking(False)
        with suppress(BlockingIOError):
            while message := self._line.recv(LARGEST_MESSAGE):
                self._read(message)

    def _read(self, message: bytes) -> None:
        number, self.last = Report.unpacked(message)
        if number != UNASKED:
            self._answered = number


def fate(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
