"""What the scenario did: to whom, from when to when."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

# The cleaner looks twice before it gives away what came back to life; a busy machine takes its time.
AFTERMATH = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a worker may lose tasks by; instants are seconds since the epoch.

    `boot_id` is the worker process that it hit (the end of `locked_by`), or None for all of them.
    `patience` is how long it must have lasted before others may take what the worker holds.
    """

    what: str
    since: float
    until: float = math.inf
    boot_id: str | None = None
    patience: float = 0.0

    def touches(self, boot_id: str | None, since: float, until: float) -> bool:
        """Whether it can be the reason why this worker's claim, held from `since`, ended at `until`."""
        return (
            self.boot_id in (None, boot_id)
            and since <= self.until
            and self.since + self.patience <= until <= self.until + AFTERMATH
        )


class Faults:
    """The faults of one experiment, in the order in which they began."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.crashes: list[float] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def happened(self, what: str, boot_id: str) -> None:
        """To be called just before what kills this worker: from now on others may take what it holds."""
        self.add(Fault(what, time.time(), boot_id=boot_id))

    def database_crashes(self) -> None:
        """To be called just before: the claims of its last moments may be forgotten, and run again."""
        self.crashes.append(time.time())

    @contextmanager
    def lasting(self, what: str, boot_id: str | None = None, patience: float = 0.0) -> Iterator[None]:
        """The block is the time of the fault."""
        place = len(self._faults)
        self.add(Fault(what, time.time(), boot_id=boot_id, patience=patience))
        try:
            yield
        finally:
            self._faults[place] = replace(self._faults[place], until=time.time())
