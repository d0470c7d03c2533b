"""The database's clock, as this process can tell it: late by the time of a quick reply.

It is early only by what the two clocks drift apart between two replies, or by a step back that is shorter
than the way of a question, and that for no longer than two windows.
"""

WINDOW = 5.0


class Clock:
    """Maps instants of the database to instants of this process's monotonic clock, both in seconds.

    A reply that carries the database's time arrives after that time, so each one bounds the difference of
    the two clocks from above. The quickest reply of the last few seconds bounds it best; older ones are
    forgotten, since clocks drift. A question is asked before that time and bounds it from below: where that
    is above what is known, the database's clock was set back.
    """

    def __init__(self) -> None:
        self._recent = self._older = float("inf")
        self._since = float("-inf")

    def stale(self, now: float) -> bool:
        """Whether it is time for a quick reply; a commit waits for the disk and is none."""
        return now - self._since >= WINDOW

    def observe(self, asked: float, database: float, replied: float) -> None:
        """Between these two monotonic instants it was `database` seconds since the epoch."""
        if replied - self._since >= WINDOW:
            self._older, self._recent, self._since = self._recent, float("inf"), replied
        difference = replied - database
        if asked - database > self.shift:
            self._older = self._recent = difference
        self._recent = min(self._recent, difference)

    @property
    def shift(self) -> float:
        """What is to be added to an instant of the database to get one of the monotonic clock."""
        return min(self._recent, self._older)

    def monotonic(self, database: float) -> float:
        """The monotonic instant at which it is `database` there."""
        return database + self.shift

    def database(self, monotonic: float) -> float:
        """The seconds since the epoch that it is there at a monotonic instant; they may be more."""
        return monotonic - self.shift
