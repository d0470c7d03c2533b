"""What a specification says, before a calendar gives it an instant."""

from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

NO_TIME = timedelta()


@dataclass(frozen=True, slots=True)
class InDays:
    """`today` and `tomorrow`."""

    days: int


@dataclass(frozen=True, slots=True)
class Weekday:
    """The next such day after today; `number` counts from Monday, 0."""

    number: int


@dataclass(frozen=True, slots=True)
class MonthDay:
    """A date without its year."""

    month: int
    day: int


Day = InDays | Weekday | MonthDay | date


@dataclass(frozen=True, slots=True)
class Step:
    """How far to go from there: months and days count on the wall clock, `elapsed` is what really passes."""

    months: int = 0
    days: int = 0
    elapsed: timedelta = NO_TIME

    def times(self, count: int) -> "Step":
        """So many of these."""
        return Step(self.months * count, self.days * count, self.elapsed * count)


@dataclass(frozen=True, slots=True)
class Specification:
    """Without `clock` the time of day is that of now; `clock` counts from midnight and may be 24 hours.

    Without `zone` all is read in the zone of now.
    """

    clock: timedelta | None = None
    day: Day | None = None
    zone: tzinfo | None = None
    steps: tuple[Step, ...] = ()

    @property
    def rolls_over(self) -> bool:
        """Tell whether it means tomorrow once it has passed today."""
        return self.clock is not None and self.day is None
