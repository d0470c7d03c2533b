"""The threads of a pool between two tasks: who sleeps until when, who wakes next, who gives way to others."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

# A task that took no longer than these seconds waited for nothing, it computed.
MOMENT = 0.0003
# A slow task among short ones costs the next about two of these seconds.
NAP = 0.0005
# So much of what is known of the tasks comes from the last one; where fewer than so many were slow, a thread
# more only takes the interpreter from those that have it.
NEWS = 0.01
FEW = 0.06

Sleep = Callable[[], object]


@dataclass(slots=True, eq=False)
class Hand:
    """A thread of the crew: it sleeps by waiting for a lock of its own that another releases.

    `seen` is how many tasks had ended when it was woken, or will have when its own has; `waking` says that it
    has been woken and has not looked yet what is to be done.
    """

    alarm: threading.Lock = field(default_factory=threading.Lock)
    seen: int = 0
    waking: bool = False

    def __post_init__(self) -> None:
        self.alarm.acquire()


class Crew:
    """The threads that run nothing, and who of them is next.

    One is the leader: it sleeps until the next instant and runs that task itself, so that no second thread
    has to wake in between (Leader/Followers, Schmidt et al., POSA 2).

    The others are woken one at a time, the next by the one that woke. Tasks that wait for something let the
    next thread come at once. Where tasks only compute, which one thread at a time can do, the one that comes
    finds that others have ended some meanwhile, and gives way: it looks again in a moment, whether they still
    do. A crowd of threads that compute would pass the interpreter around, and keep it from the threads that
    claim and write.

    All but what `rest` and `give_way` return is called with `lock` held, which guards the crew.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        # The last to fall asleep wakes first: what it needs is still in the caches.
        self._asleep: list[Hand] = []
        self._leader: Hand | None = None
        self._alarm = 0.0
        self._waking = 0
        self._ended = 0
        self._slow = 1.0

    @property
    def has_leader(self) -> bool:
        return self._leader is not None

    def wake(self) -> None:
        """Wake a thread, unless one is waking, which will look what is to be done and wake the next."""
        if self._waking:
            return
        if self._asleep:
            self._rouse(self._asleep.pop())
        elif self._leader is not None:
            self._rouse_leader(self._leader)

    def expect(self, instant: float) -> None:
        """See that a thread is awake at this monotonic instant."""
        if self._leader is None:
            self.wake()
        elif instant < self._alarm:
            self._rouse_leader(self._leader)

    def is_spare(self, hand: Hand) -> bool:
        """Whether the others do without this thread: of late tasks ended in a moment, and so do they now."""
        return self._ended > hand.seen and self._slow < FEW

    def look(self, hand: Hand) -> None:
        """A thread looks what is to be done."""
        if hand.waking:
            hand.waking = False
            self._waking -= 1

    def begin(self, hand: Hand) -> None:
        """It runs a task."""
        hand.seen = self._ended + 1

    def end(self, seconds: float) -> None:
        """A task took so long."""
        self._ended += 1
        self._slow += ((seconds > MOMENT) - self._slow) * NEWS

    def rest(self, hand: Hand, following: float | None) -> Sleep:
        """What a thread is to call that has nothing to do: it sleeps, as the leader until `following`."""
        if following is None or self._leader is not None:
            self._asleep.append(hand)
            return hand.alarm.acquire
        self._leader = hand
        self._alarm = following
        return partial(self._lead, hand, following)

    def give_way(self, hand: Hand) -> Sleep:
        """What a thread is to call that others can spare. One of them comes back to see whether they can."""
        if self._waking and not hand.waking:
            self._asleep.append(hand)
            return hand.alarm.acquire
        if not hand.waking:
            hand.waking = True
            self._waking += 1
        hand.seen = self._ended
        return partial(hand.alarm.acquire, timeout=NAP)

    def dismiss(self) -> None:
        """Wake all."""
        if self._leader is not None:
            self._rouse_leader(self._leader)
        while self._asleep:
            self._rouse(self._asleep.pop())

    def _lead(self, hand: Hand, instant: float) -> None:
        if not hand.alarm.acquire(timeout=max(0.0, instant - time.monotonic())):
            with self._lock:
                if self._leader is hand:
                    self._leader = None
                    hand.seen = self._ended
                    return
            # Somebody has woken it in this very moment.
            hand.alarm.acquire()

    def _rouse(self, hand: Hand) -> None:
        hand.seen = self._ended
        hand.waking = True
        self._waking += 1
        hand.alarm.release()

    def _rouse_leader(self, leader: Hand) -> None:
        self._leader = None
        self._rouse(leader)
