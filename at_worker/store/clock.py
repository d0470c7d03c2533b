"""The database's clock, as this process can tell it: late by the time of a quick reply, never early."""

WINDOW = 5.0
# A reading so much later than the others means that the database's clock was set back.
STEP = 0.05


class Clock:
    """Maps instants of the database to instants of this process's monotonic clock, both in seconds.

    A reply that carries the database's time arrives after that time, so each one bounds the difference of
    the two clocks from above. The quickest reply of the last few seconds bounds it best; older ones are
    forgotten, since clocks drift.
    """

    def __init__(self) -> None:
        self._recent = self._older = float("inf")
        self._since = float("-inf")

    def stale(self, now: float) -> bool:
        """Whether it is time for a quick reply; a commit waits for the disk and is none."""
        return now - self._since >= WINDOW

    def observe(self, database: float, replied: float) -> None:
        """A reply that arrived at `replied` says that it was `database` seconds since the epoch."""
        if replied - self._since >= WINDOW:
            self._older, self._recent, self._since = self._recent, float("inf"), replied
        difference = replied - database
        if difference > min(self._recent, self._older) + STEP:
            self._older = self._recent = difference
        self._recent = min(self._recent, difference)

    @property
    def shift(self) -> float:
        """What is to be added to an instant of the database to get one of the monotonic clock."""
        return min(self._recent, self._older)

    def monotonic(self, database: float) -> float:
        """The monotonic instant at which it is `database` there."""
        return database + self.shift
