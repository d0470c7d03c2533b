"""Rows that PostgreSQL refuses to have written, and how all the others are written all the same.

A trigger or a constraint of the users' own, or a value too large, makes it refuse a whole statement for the
sake of one row, and the error does not name the row.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, Self, TypeVar

from at_worker.store.errors import Refused
from at_worker.store.session import Parameters, Row, Sessions

logger = logging.getLogger(__name__)

# Seconds until a row is tried again. It is told as often, and what was mended waits no longer.
QUARANTINE = 30.0
# Each finds all that is wrong with what one statement would take.
REHEARSALS = 10

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_halves(
    batch: Sequence[_Item], write: Callable[[Sequence[_Item]], _Result]
) -> Iterator[tuple[Sequence[_Item], _Result | Refused]]:
    """Write a batch at once or, where that is refused, its halves, down to items that are refused alone."""
    if not batch:
        return
    result: _Result | Refused
    try:
        result = write(batch)
    except Refused as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            yield from in_halves(batch[:middle], write)
            yield from in_halves(batch[middle:], write)
            return
        result = error
    yield batch, result


@dataclass(frozen=True, slots=True)
class Choosing:
    """A statement that chooses the rows it writes, none of `%(refused)s`, and its two parts.

    `choice` locks the rows and returns their ids, `change` writes those of `%(ids)s`.
    """

    whole: LiteralString
    choice: LiteralString
    change: LiteralString

    @classmethod
    def of(cls, choice: LiteralString, change: LiteralString) -> Self:
        """The statement that applies a change to `{ids}` to what is chosen."""
        return cls(
            whole=change.replace("{ids}", "ARRAY(" + choice + ")"),
            choice=choice,
            change=change.replace("{ids}", "%(ids)s::bigint[]"),
        )


class Quarantine:
    """Runs one kind of statement, and keeps rows out of it that PostgreSQL refused; `act` is its noun."""

    def __init__(self, database: Sessions, act: str) -> None:
        self._database = database
        self._act = act
        self._until: dict[int, float] = {}

    def rows(self, statement: Choosing, parameters: Parameters) -> list[Row]:
        """Run it without the rows that are refused. Raises Refused where it is not for the sake of rows."""
        for _ in range(REHEARSALS):
            try:
                return self._run(statement, parameters)
            except Refused:
                self._rehearse(statement, parameters)
        return self._run(statement, parameters)

    def _run(self, statement: Choosing, parameters: Parameters) -> list[Row]:
        with self._database.session() as session:
            return session.rows(statement.whole, {**parameters, "refused": self._refused()})

    def _refused(self) -> list[int]:
        if self._until:
            now = time.monotonic()
            self._until = {row_id: until for row_id, until in self._until.items() if now < until}
        return list(self._until)

    def _rehearse(self, statement: Choosing, parameters: Parameters) -> None:
        """Find the rows that are refused alone, and leave everything as it is."""
        with self._database.session() as session, session.transaction(keep=False):

            def change(ids: Sequence[int]) -> None:
                with session.savepoint():
                    session.rows(statement.change, {**parameters, "ids": ids})

            chosen = session.rows(statement.choice, {**parameters, "refused": self._refused()})
            tried = in_halves([row[0] for row in chosen], change)
            refused = {ids[0]: str(result) for ids, result in tried if isinstance(result, Refused)}
        self._keep_out(refused)

    def _keep_out(self, refused: Mapping[int, str]) -> None:
        until = time.monotonic() + QUARANTINE
        self._until |= dict.fromkeys(refused, until)
        for reason in dict.fromkeys(refused.values()):
            ids = [row_id for row_id, why in refused.items() if why == reason]
            logger.error("PostgreSQL refuses the %s of tasks %s: %s", self._act, ids, reason)
