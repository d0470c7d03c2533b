"""What this worker holds: every claim from its reply until its end is written."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from at_worker.task import Claim, Task


@dataclass(slots=True)
class _Lease:
    """`lost`: the row is no longer ours, and its task runs, or has an end to write, all the same."""

    task: Task
    ended: bool = False
    lost: bool = False


class Leases:
    """The claims in hand. Each is ended exactly once, by whoever comes first; all threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: dict[Claim, _Lease] = {}

    def take(self, task: Task) -> bool:
        """False where it is in hand already: the database forgot the claim and gave it out again.

        A task with the id of another, whose row is gone, takes its place.
        """
        with self._lock:
            lease = self._leases.get(task.claim)
            if lease is not None and lease.task.uid == task.uid:
                lease.lost = False
                return False
            self._leases[task.claim] = _Lease(task)
            return True

    def end(self, task: Task) -> bool:
        """True for the first caller only, who then settles the claim: the fence tells whether it was lost."""
        with self._lock:
            lease = self._leases.get(task.claim)
            if lease is None or lease.task.uid != task.uid or lease.ended:
                return False
            lease.ended = True
            return True

    def lose(self, claim: Claim) -> Task | None:
        """The row is no longer ours: stop beating for it. Returns the task where it still runs."""
        with self._lock:
            lease = self._leases.get(claim)
            if lease is None or lease.lost:
                return None
            lease.lost = True
            return None if lease.ended else lease.task

    def release(self, tasks: Iterable[Task]) -> None:
        """The ends of these are written."""
        with self._lock:
            for task in tasks:
                lease = self._leases.get(task.claim)
                if lease is not None and lease.task.uid == task.uid:
                    del self._leases[task.claim]

    def unended(self, claim: Claim) -> Task | None:
        """The task of a claim in hand that has not ended."""
        with self._lock:
            lease = self._leases.get(claim)
            return None if lease is None or lease.ended else lease.task

    @property
    def count(self) -> int:
        """All that take memory, those included that were lost and run."""
        return len(self._leases)

    def claims(self) -> list[Claim]:
        """All in hand, those included whose end is not written yet."""
        with self._lock:
            return [claim for claim, lease in self._leases.items() if not lease.lost]
