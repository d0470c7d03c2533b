"""Why and when a process of ours ends."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_SETTINGS = 2
EXIT_DATABASE = 3
EXIT_NO_THREADS = 4

_SIGNALS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}
_NO_SIGNAL = b"\0"


class Stop:
    """Ends a worker or its parent: by a signal, or for something that waiting cannot mend.

    A second signal ends the process at once; `last_act` comes before that.
    """

    def __init__(self, last_act: Callable[[], None] = lambda: None) -> None:
        self._last_act = last_act
        self._ended = threading.Event()
        self._signal_name = ""
        self.exit_code = EXIT_OK
        self.reason = ""

    def fail(self, exit_code: int, reason: str) -> None:
        """End the process with this exit code and one line in the log; the first reason counts."""
        if not self.reason:
            self.exit_code, self.reason = exit_code, reason
        self._ended.set()

    def end(self, exit_code: int = EXIT_OK) -> None:
        """End the process without a word: another one tells why."""
        if not self.reason:
            self.exit_code = exit_code
        self._ended.set()

    def unusable(self, error: Exception) -> None:
        """End the process: its database refuses it."""
        self.fail(EXIT_DATABASE, str(error))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the process is to end; False where that did not come within `seconds`."""
        return self._ended.wait(seconds)

    def tell(self) -> None:
        """Log why the process ends, where that is known here."""
        if self.reason:
            logger.error(self.reason)
        elif self._signal_name:
            logger.info("Received signal %s, initiating graceful shutdown...", self._signal_name)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT."""
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
                self._last_act()
                os._exit(128 + heard[0])
            self._signal_name = _SIGNALS[signal.Signals(heard[0])]
            self._ended.set()


def thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """A thread whose death for want of memory ends the process at once.

    What it held is known to nobody any more; the parent gives it back. Nothing gentler is sure to work then.
    """

    def run() -> None:
        try:
            target()
        except MemoryError:
            os._exit(EXIT_NO_THREADS)

    return threading.Thread(target=run, name=name, daemon=True)
