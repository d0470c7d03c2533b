"""Executors that do what none should."""

import os
import resource
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from at_worker import Attempt, Done

CHUNK = 2**20
LEFT = 16 * CHUNK
HELD = 0.3  # seconds
ONE_AT_A_TIME = threading.Lock()
LIMITS = resource.getrlimit(resource.RLIMIT_AS)


class _Unchecked:
    def parse(self, payload: object) -> object:
        return payload

    def close(self) -> None:
        """Nothing is held."""


class KeepsAccount(_Unchecked):
    """Appends the id of each task, and which attempt it is, to the file that its payload names."""

    def execute(self, payload: object, attempt: Attempt) -> Done:
        match payload:
            case {"file": str(path)}:
                with Path(path).open("ab", buffering=0) as file:
                    file.write(b"%d %d\n" % (attempt.task_id, attempt.number))
        return Done()


class KillsItsWorker(_Unchecked):
    """As code does that crashes, or that the kernel kills for its memory."""

    def execute(self, payload: object, attempt: Attempt) -> NoReturn:
        del payload, attempt
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class NeverReturns(_Unchecked):
    """Does not look at its deadline."""

    def execute(self, payload: object, attempt: Attempt) -> NoReturn:
        del payload, attempt
        while True:
            threading.Event().wait()


class EatsAllMemory(_Unchecked):
    """Takes what its process may have, until there is no more for anybody in it."""

    def execute(self, payload: object, attempt: Attempt) -> NoReturn:
        del payload
        hoard = []
        with ONE_AT_A_TIME:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + LEFT, LIMITS[1]))
            try:
                for size in (CHUNK, 1024, 1):
                    with suppress(MemoryError):
                        while True:
                            hoard.append(bytearray(size))
                attempt.stopping.wait(HELD)
                raise MemoryError
            finally:
                resource.setrlimit(resource.RLIMIT_AS, LIMITS)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
