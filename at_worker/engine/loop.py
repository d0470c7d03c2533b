"""A loop is a function that does one turn, and this driver."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from at_worker.engine.stop import thread
from at_worker.store.errors import Away, Refused, Unavailable, Unusable

logger = logging.getLogger(__name__)

RETRY_PAUSE = 0.5
JOIN_TIMEOUT = 1.0
REMIND = 30.0

Turn = Callable[[], float | None]


class Loop:
    """Runs turns in a thread of its own.

    A turn returns the seconds until the next one, or None to wait until it is woken. A database that is away
    or a surprise delays the next turn; neither ends the loop, only a MemoryError does. `unusable` hears of
    what waiting cannot mend. `interrupt` ends a turn that waits for something else than its wake-up. Turns
    begin at least `pace` seconds apart: the first after a rest comes at once, under load each has more to do.
    """

    def __init__(
        self,
        name: str,
        turn: Turn,
        unusable: Callable[[Unusable], None],
        interrupt: Callable[[], None] = lambda: None,
        *,
        pace: float = 0.0,
    ) -> None:
        self.name = name
        self._pace = pace
        self._turn = turn
        self._unusable = unusable
        self._interrupt = interrupt
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._told: dict[str, float] = {}
        self._thread = thread(name, self._run)

    def wake(self) -> None:
        """Do the next turn now."""
        if not self._wake.is_set():
            self._wake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the present turn be the last."""
        self._stopping.set()
        self._wake.set()
        self._interrupt()

    def join(self, until: float) -> None:
        """Wait for the last turn until this monotonic instant; the thread does not keep the process."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            logger.warning("The %s loop does not end: it waits for an answer of the database", self.name)

    def _run(self) -> None:
        while True:
            # Cleared before the turn: a wake during the turn counts for the next one.
            self._wake.clear()
            if self._stopping.is_set():
                return
            next_turn = time.monotonic() + self._pace
            self._wake.wait(self._one_turn())
            if (wait := next_turn - time.monotonic()) > 0:
                self._stopping.wait(wait)

    def _one_turn(self) -> float | None:
        try:
            return self._turn()
        except Away:
            pass  # the outage has told it
        except (Unavailable, Refused) as error:
            self._tell(str(error))
        except Unusable as error:
            self._unusable(error)
        except MemoryError:
            raise  # half a turn may have been done; it ends the process
        except Exception:
            logger.exception("Surprise in the %s loop; it goes on", self.name)
        return RETRY_PAUSE * (1 + random.random())  # noqa: S311 - spreads workers, guards no secret

    def _tell(self, trouble: str) -> None:
        """Log what keeps the loop from its work, each trouble once and every half minute."""
        now = time.monotonic()
        self._told = {text: when for text, when in self._told.items() if now - when < REMIND}
        if trouble not in self._told:
            logger.warning("The %s loop tries again: %s", self.name, trouble)
            self._told[trouble] = now


@contextmanager
def running(*loops: Loop) -> Iterator[None]:
    """Run these loops; at the end they stop together."""
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        until = time.monotonic() + JOIN_TIMEOUT
        for loop in loops:
            loop.join(until)
