"""Why and when a worker ends."""

import logging
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_DATABASE = 3
EXIT_NO_THREADS = 4

_SIGNALS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}


class Stop:
    """Ends a worker: by a signal, or for something that waiting cannot mend."""

    def __init__(self) -> None:
        # A pipe and not an Event: a signal handler must not take a lock that its own thread may hold.
        self._readable, self._writable = os.pipe()
        self._signals = 0
        self._signal_name = ""
        self.exit_code = EXIT_OK
        self.reason = ""

    def fail(self, exit_code: int, reason: str) -> None:
        """End the worker with this exit code and one line in the log; the first reason counts."""
        if not self.reason:
            self.exit_code, self.reason = exit_code, reason
        with suppress(OSError):  # the worker has ended already
            os.write(self._writable, b"!")

    def unusable(self, error: Exception) -> None:
        """End the worker: its database refuses it."""
        self.fail(EXIT_DATABASE, str(error))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the worker is to end; False where that did not come within `seconds`."""
        readable, _, _ = select.select([self._readable], [], [], seconds)
        return bool(readable)

    def tell(self) -> None:
        """Log why the worker ends."""
        if self.reason:
            logger.error(self.reason)
        else:
            logger.info("Received signal %s, initiating graceful shutdown...", self._signal_name)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)
        self._signal_name = _SIGNALS[signal.Signals(number)]
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
