"""What this worker holds: every claim from its reply until its end is written."""

import threading
from collections.abc import Iterable

from at_worker.task import Claim


class Leases:
    """The claims in hand. Each is ended exactly once, by whoever comes first; all threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: dict[Claim, bool] = {}

    def take(self, claim: Claim) -> bool:
        """False where it is in hand already: the database forgot the claim and gave it out again."""
        with self._lock:
            if claim in self._ended:
                return False
            self._ended[claim] = False
            return True

    def end(self, claim: Claim) -> bool:
        """True for the first caller only, who then settles the claim; False when it was lost meanwhile."""
        with self._lock:
            first = self._ended.get(claim) is False
            if first:
                self._ended[claim] = True
            return first

    def lose(self, claim: Claim) -> bool:
        """The row is no longer ours: stop beating for it. True where its task still runs."""
        with self._lock:
            return self._ended.pop(claim, True) is False

    def release(self, claims: Iterable[Claim]) -> None:
        """The end of these claims is written."""
        with self._lock:
            for claim in claims:
                self._ended.pop(claim, None)

    @property
    def count(self) -> int:
        return len(self._ended)

    def claims(self) -> list[Claim]:
        """All in hand, those included whose end is not written yet."""
        with self._lock:
            return list(self._ended)
