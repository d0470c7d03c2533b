"""One destination: what runs there and waits for it, how quick it is, and whether it is reached."""

from collections import deque
from dataclasses import dataclass, field

from at_worker.task import Claim, Task

# So many failures to connect in a row open the breaker of a destination.
FAILURES = 5
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
SLOW = 0.5
SLOW_PAUSE = 1.0
LONGEST_SLOW_PAUSE = 60.0
# The last of those that wait gets its turn in so many seconds; meanwhile they keep others from being claimed.
LONGEST_QUEUE = 0.1
# About so many of the latest tasks make up the usual time of one.
LATEST = 8
# Postponed tasks come back one by one, at most 500 a second, so that a million of them do not take all
# claims. Fewer come further apart, as far as the pause has room: what is postponed again and again is work
# that others have to wait for.
CLOSEST, WIDEST = 0.002, 0.02


@dataclass(frozen=True, slots=True)
class Postpone:
    """The task has to come back in so many seconds."""

    seconds: float
    why: str


@dataclass(slots=True)
class _Returns:
    """When postponed tasks come back: about as many as in the last pause are expected in this one.

    Where there are more, they come so close together that none waits for much longer than two pauses.
    """

    last: float = 0.0
    count: int = 0
    expected: int = 0
    until: float = 0.0

    def next(self, now: float, earliest: float, pause: float) -> float:
        if now >= self.until:
            self.expected, self.count, self.until = self.count, 0, now + pause
        self.count += 1
        apart = min(max(pause / self.expected, CLOSEST), WIDEST) if self.expected else CLOSEST
        if self.last + apart > earliest + pause:
            apart = CLOSEST
        self.last = max(self.last + apart, earliest)
        return self.last


@dataclass(slots=True)
class Destination:
    """What is known of one; instants are monotonic seconds, `running` has the oldest first."""

    running: dict[Claim, float] = field(default_factory=dict)
    waiting: deque[Task] = field(default_factory=deque)
    used: float = 0.0
    _failures: int = 0
    _why: str = ""
    _pause: float = 0.0
    _retry_at: float = 0.0
    _probe: Claim | None = None
    _last: float = 0.0
    _slow_since: float | None = None
    _usual: float = LONGEST_QUEUE
    _returns: _Returns = field(default_factory=_Returns)

    @property
    def broken(self) -> bool:
        return self._failures >= FAILURES

    def is_slow(self, now: float) -> bool:
        """Whether its tasks take long, and no more of them end than could come back when postponed."""
        takes = max(self._last, self._held(now))
        return takes >= SLOW and max(takes, self._usual) > CLOSEST * len(self.running)

    def may_wait(self, now: float) -> bool:
        """Whether one more task may wait in memory: as many as run, and more where they are quick."""
        each = self._usual if self._last >= SLOW else min(self._usual, LONGEST_QUEUE)
        return not self.is_slow(now) and len(self.waiting) * each < len(self.running) * LONGEST_QUEUE

    def try_again(self, claim: Claim, now: float) -> Postpone | None:
        """Of a broken one: whether this task is the one that tries, now and then, or has to come back."""
        if now < self._retry_at:
            return self._postpone(now, self._retry_at, self._pause, self._why)
        self._probe = claim
        self._retry_at = now + self._pause
        return None

    def crowded(self, name: str, now: float) -> Postpone:
        """It has enough tasks: the longer it has been slow, the later this one comes back."""
        if self._slow_since is None:
            self._slow_since = now
        pause = min(max(now - self._slow_since, SLOW_PAUSE), LONGEST_SLOW_PAUSE)
        why = f"{len(self.running)} tasks run at {name}, the oldest for {self._held(now):.1f} s"
        return self._postpone(now, now + pause, pause, why)

    def ended(self, claim: Claim, began: float, unreachable: str | None, now: float) -> None:
        """A task has run since `began`; `unreachable` says why no connection came about."""
        self._last = now - began
        self._usual += (self._last - self._usual) / LATEST
        if self._last < SLOW or not self.is_slow(now):
            self._slow_since = None
        if unreachable is not None:
            self._count(claim, unreachable, now)
            return
        if self.broken:
            self._returns = _Returns()
        self._failures, self._pause = 0, 0.0

    def _held(self, now: float) -> float:
        """For how many seconds the oldest of its running tasks has been running."""
        return now - next(iter(self.running.values()), now)

    def _count(self, claim: Claim, why: str, now: float) -> None:
        self._failures += 1
        self._why = why
        # Of those that began before the breaker opened, only the one that opened it counts.
        if self._failures == FAILURES or (self.broken and claim == self._probe):
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
            self._retry_at = now + self._pause

    def _postpone(self, now: float, earliest: float, pause: float, why: str) -> Postpone:
        return Postpone(self._returns.next(now, earliest, pause) - now, why)
