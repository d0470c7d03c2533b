"""How much waits in the database: asked by the parent, once for all its processes, when somebody reads it."""

import threading
from collections.abc import Callable, Sequence

from at_worker.store.database import Database
from at_worker.store.errors import Refused, Unavailable, Unusable
from at_worker.store.waiting import Waiting, waiting

# Who reads the metrics waits ten seconds by default; without an answer of the database the rest is told.
PATIENCE = 3.0


class Depth:
    """One question at a time, however many ask: those who come meanwhile share the next answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._answer: Sequence[Waiting] | None = None
        self.wake: Callable[[], None] = lambda: None

    def turn(self) -> None:
        """Ask the database, and wait to be asked again; of its outages the workers tell."""
        with self._news:
            number = self._asked
        if number == self._answered:
            return
        answer: Sequence[Waiting] | None
        try:
            answer = waiting(self._database)
        except (Unavailable, Refused, Unusable):
            answer = None
        with self._news:
            self._answered, self._answer = number, answer
            self._news.notify_all()

    def ask(self) -> Sequence[Waiting] | None:
        """What waits now; None where the database does not say so in time."""
        with self._news:
            self._asked += 1
            number = self._asked
            self.wake()
            if self._news.wait_for(lambda: self._answered >= number, PATIENCE):
                return self._answer
        return None
