"""The queue in PostgreSQL: claim, settle, beat. Every statement that ends or extends a claim is fenced.

All times are the database's; instants cross over as seconds before or after the statement.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from at_worker.outcome import Settlement, Status
from at_worker.store.claiming import CLAIM, CLAIM_DUE, CLAIM_OF_LANE, SURVEY, told
from at_worker.store.clock import Clock
from at_worker.store.found import Claimed, Found, in_order
from at_worker.store.holding import BEAT, HAND_BACK_UNHELD
from at_worker.store.lanes import Lane, Lanes, Place
from at_worker.store.quarantine import Quarantine
from at_worker.store.rows import DUE, ID, PRIORITY, TYPE, Expired, expired, task
from at_worker.store.session import Sessions
from at_worker.store.settling import Leftover, leftover, settle, written
from at_worker.task import Claim, Task


@dataclass(frozen=True, slots=True)
class Batch:
    """What one claim brought: tasks in their order, rows that it met too late, and what comes next.

    `more` says that rows may be left that are due already, or nobody knows how near. Else `next_due` is the
    seconds until one can be, or None; of rows that somebody has locked it says nothing.
    """

    tasks: tuple[Task, ...]
    expired: tuple[Expired, ...]
    more: bool
    next_due: float | None

    @property
    def size(self) -> int:
        return len(self.tasks) + len(self.expired)


CLOCK = "SELECT date_part('epoch', clock_timestamp())"


class Queue:
    """The statements of one worker; `types` of None means every type."""

    def __init__(
        self, database: Sessions, holder: str, types: Sequence[str] | None, survey_interval: float = 5.0
    ) -> None:
        self._database = database
        self._claims = Quarantine(database, "claim")
        self._hand_backs = Quarantine(database, "hand-back")
        self._lanes = Lanes(survey_interval)
        self.holder = holder
        self._clock = Clock()
        self._claimed_some = True
        self._types = None if types is None else list(types)

    def claim(self, room: int, turn: int, *, ahead: int = 0, look_ahead: float = 0.0) -> Batch:
        """Claim at most `room` rows: what is due, then up to `ahead` due within `look_ahead` seconds.

        `turn` counts claims, so that types of one priority take turns.
        """
        lanes = self._lanes.begin(time.monotonic())
        # An idle claim writes nothing and is a quick reply itself.
        if self._claimed_some and self._clock.stale(time.monotonic()):
            self._look_at_clock()
        if lanes is not None and len(lanes) == 1 and ahead in (0, room):
            ((lane, bound),) = lanes.items()
            found = self._claim_of_lane(lane, bound, room, look_ahead if ahead else 0.0)
        else:
            found = self._claim_of_all(lanes, room, turn, ahead, look_ahead)
        self._clock.observe(found.asked, found.database_time, found.replied)
        self._claimed_some = bool(found.claimed)
        # Of each lane the last row is the farthest.
        reached = {Lane(row[TYPE], row[PRIORITY]): Place(row[DUE], row[ID]) for _, row in found.claimed}
        self._lanes.end(
            filter(self._runs, found.lanes),
            reached.items(),
            found.began,
            exhausted=len(found.claimed) < room,
        )
        next_due = None
        if found.coming is not None:
            next_due = max(0.0, self._clock.monotonic(found.coming) - found.replied)
        return self._batch(found.claimed, found.replied, look_ahead, more=found.more, next_due=next_due)

    def claim_due(self, lane: Lane, since: float, room: int) -> Batch:
        """Claim at most `room` rows of one lane that are due, from `since` on, in seconds since the epoch.

        What comes next it does not tell: `next_due` is None.
        """
        rows = self._claims.rows(
            CLAIM_DUE,
            {
                "task_type": lane.task_type,
                "priority": lane.priority,
                "since": since,
                "room": room,
                "holder": self.holder,
            },
        )
        replied = time.monotonic()
        self._claimed_some |= bool(rows)
        claimed = in_order([(row[1], row[2:]) for row in rows])
        return self._batch(claimed, replied, 0.0, more=len(rows) == room, next_due=None)

    def _claim_of_all(
        self, lanes: Mapping[Lane, Place] | None, room: int, turn: int, ahead: int, look_ahead: float
    ) -> Found:
        asked = time.monotonic()
        rows = self._claims.rows(
            SURVEY if lanes is None else CLAIM,
            {
                "room": room,
                "ahead": ahead,
                "look_ahead": look_ahead,
                "turn": turn,
                "types": self._types,
                "lanes": told(lanes or {}),
                "holder": self.holder,
            },
        )
        found = Found.of(rows, asked, time.monotonic())
        taken = len(found.claimed)
        return found._replace(more=taken == room or (look_ahead > 0 and taken >= ahead))

    def _claim_of_lane(self, lane: Lane, bound: Place, room: int, look_ahead: float) -> Found:
        asked = time.monotonic()
        rows = self._claims.rows(
            CLAIM_OF_LANE,
            {
                "task_type": lane.task_type,
                "priority": lane.priority,
                "since": bound.execute_at,
                "after": bound.id,
                "look_ahead": look_ahead,
                "room": room,
                "holder": self.holder,
            },
        )
        found = Found.of(rows, asked, time.monotonic())
        claimed = in_order(found.claimed)
        if len(claimed) < room:
            return found._replace(claimed=claimed)
        # What is left comes no sooner than the last that was taken.
        last = claimed[-1][1][DUE]
        return found._replace(claimed=claimed, more=last <= found.began, coming=last)

    def _batch(
        self,
        claimed: Sequence[Claimed],
        replied: float,
        look_ahead: float,
        *,
        more: bool,
        next_due: float | None,
    ) -> Batch:
        shift = self._clock.shift
        return Batch(
            tuple(
                task(columns, shift, replied, look_ahead)
                for status, columns in claimed
                if status == Status.PROCESSING
            ),
            tuple(expired(columns) for status, columns in claimed if status != Status.PROCESSING),
            more,
            next_due,
        )

    def _look_at_clock(self) -> None:
        with self._database.session() as session:
            asked = time.monotonic()
            ((database_time,),) = session.rows(CLOCK)
            self._clock.observe(asked, database_time, time.monotonic())

    def announced(self, lane: Lane, execute_at: float) -> bool:
        """A row of this lane became pending that is due then, in seconds since the epoch.

        False where it is of a type that others run.
        """
        ours = self._runs(lane)
        if ours:
            self._lanes.lower(lane, execute_at)
        return ours

    def _runs(self, lane: Lane) -> bool:
        return self._types is None or lane.task_type in self._types

    def rescheduled(self, lane: Lane, instant: float) -> None:
        """A row of this lane became pending that is due at this monotonic instant, or a moment later."""
        self._lanes.lower(lane, self._clock.database(instant))

    def forget_lanes(self) -> None:
        """Rows became pending, and nobody told where."""
        self._lanes.forget()

    def monotonic(self, database_time: float) -> float:
        """The monotonic instant of a time of the database, in seconds since the epoch."""
        return self._clock.monotonic(database_time)

    def settle(self, settlements: Sequence[Settlement]) -> Leftover:
        """Write how claims ended, all in one statement. Raises Refused if a value of any of them is."""
        with self._database.session() as session:
            return settle(session, settlements, self.holder)

    def written(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        """Of ends whose write got no answer and that are not open any more, those that it has written."""
        with self._database.session() as session:
            return written(session, settlements, self.holder)

    def beat(self, claims: Iterable[Claim]) -> Leftover:
        """Extend claims: touch the heartbeat of each, in one statement. Raises Refused if one of them is."""
        ids, seqs = zip(*claims, strict=True)
        with self._database.session() as session:
            rows = session.rows(BEAT, {"ids": list(ids), "seqs": list(seqs), "holder": self.holder})
        return leftover(rows)

    def hand_back_unheld(self, held: Sequence[Claim]) -> list[int]:
        """Give back what this holder claimed and does not know of; return the ids."""
        rows = self._hand_backs.rows(
            HAND_BACK_UNHELD,
            {
                "holder": self.holder,
                "held": [claim.id for claim in held],
                "seqs": [claim.seq for claim in held],
            },
        )
        self._lanes.forget()
        return [row[0] for row in rows]
