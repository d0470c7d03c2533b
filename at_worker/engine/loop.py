"""A loop is a function that does one turn, and this driver."""

import logging
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from at_worker.store.database import Unavailable, Unusable

logger = logging.getLogger(__name__)

RETRY_PAUSE = 0.5
JOIN_TIMEOUT = 5.0

Turn = Callable[[], float | None]


class Loop:
    """Runs turns in a thread of its own for as long as the `with` block lasts.

    A turn returns the seconds until the next one, or None to wait until it is woken. A database that is away
    or a surprise delays the next turn; neither ends the loop. `unusable` hears of what waiting cannot mend.
    `interrupt` ends a turn that waits for something else than its wake-up.
    """

    def __init__(
        self,
        name: str,
        turn: Turn,
        unusable: Callable[[Unusable], None],
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._turn = turn
        self._unusable = unusable
        self._interrupt = interrupt
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wake(self) -> None:
        """Do the next turn now."""
        if not self._wake.is_set():
            self._wake.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake.set()
        self._interrupt()
        self._thread.join(JOIN_TIMEOUT)
        if self._thread.is_alive():
            logger.warning("The %s loop does not stop: it waits for the database", self.name)

    def _run(self) -> None:
        while not self._stopping:
            # Cleared before the turn: a wake during the turn counts for the next one.
            self._wake.clear()
            self._wake.wait(self._one_turn())

    def _one_turn(self) -> float | None:
        try:
            return self._turn()
        except Unavailable:
            pass  # the outage has told it
        except Unusable as error:
            self._unusable(error)
        except Exception:
            logger.exception("Surprise in the %s loop; it goes on", self.name)
        return RETRY_PAUSE * (1 + random.random())  # noqa: S311 - spreads workers, guards no secret
