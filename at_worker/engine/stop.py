"""Why and when a worker ends."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_DATABASE = 3
EXIT_NO_THREADS = 4

_SIGNALS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}
_NO_SIGNAL = b"\0"


class Stop:
    """Ends a worker: by a signal, or for something that waiting cannot mend."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._signal_name = ""
        self.exit_code = EXIT_OK
        self.reason = ""

    def fail(self, exit_code: int, reason: str) -> None:
        """End the worker with this exit code and one line in the log; the first reason counts."""
        if not self.reason:
            self.exit_code, self.reason = exit_code, reason
        self._ended.set()

    def unusable(self, error: Exception) -> None:
        """End the worker: its database refuses it."""
        self.fail(EXIT_DATABASE, str(error))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the worker is to end; False where that did not come within `seconds`."""
        return self._ended.wait(seconds)

    def tell(self) -> None:
        """Log why the worker ends."""
        if self.reason:
            logger.error(self.reason)
        else:
            logger.info("Received signal %s, initiating graceful shutdown...", self._signal_name)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT; a second one ends the process at once."""
        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        listener = threading.Thread(target=self._listen, args=[readable], name="signals", daemon=True)
        listener.start()
        # Python runs handlers only between two steps of the main thread: a signal that comes just before it
        # begins to wait is not heard until the wait is over. What the system calls writes to this pipe.
        wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            os.write(writable, _NO_SIGNAL)
            listener.join()
            os.close(readable)
            os.close(writable)

    def _listen(self, readable: int) -> None:
        while (heard := os.read(readable, 1)) != _NO_SIGNAL:
            if heard[0] not in _SIGNALS:
                continue  # of a plug-in's own handler
            if self._signal_name:
                os._exit(128 + heard[0])
            self._signal_name = _SIGNALS[signal.Signals(heard[0])]
            self._ended.set()
