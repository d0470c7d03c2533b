"""Why and when a process of ours ends."""

import logging
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_SETTINGS = 2
EXIT_DATABASE = 3
EXIT_NO_THREADS = 4

_SIGNALS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}


class Stop:
    """Ends a worker or its parent: by a signal, or for something that waiting cannot mend.

    A second signal ends the process at once; `last_act` comes before that, within the signal's handler.
    """

    def __init__(self, last_act: Callable[[], None] = lambda: None) -> None:
        self._last_act = last_act
        # A pipe and not an Event: a signal handler must not take a lock that its own thread may hold.
        self._readable, self._writable = os.pipe()
        self._signals = 0
        self._signal_name = ""
        self.exit_code = EXIT_OK
        self.reason = ""

    def fail(self, exit_code: int, reason: str) -> None:
        """End the process with this exit code and one line in the log; the first reason counts."""
        if not self.reason:
            self.exit_code, self.reason = exit_code, reason
        self._wake()

    def end(self, exit_code: int = EXIT_OK) -> None:
        """End the process without a word: another one tells why."""
        if not self.reason:
            self.exit_code = exit_code
        self._wake()

    def unusable(self, error: Exception) -> None:
        """End the process: its database refuses it."""
        self.fail(EXIT_DATABASE, str(error))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the process is to end; False where that did not come within `seconds`."""
        readable, _, _ = select.select([self._readable], [], [], seconds)
        return bool(readable)

    def tell(self) -> None:
        """Log why the process ends, where that is known here."""
        if self.reason:
            logger.error(self.reason)
        elif self._signal_name:
            logger.info("Received signal %s, initiating graceful shutdown...", self._signal_name)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._last_act()
            os._exit(128 + number)
        self._signal_name = _SIGNALS[signal.Signals(number)]
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # it has ended already
            os.write(self._writable, b"!")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._readable)
            os.close(self._writable)
