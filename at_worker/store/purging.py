"""Rows that ended long ago: how many there are, and their end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from at_worker.store.database import Database
from at_worker.store.recovery import DONE, Recovery
from at_worker.store.session import Session

FINISHED = (*DONE, "failed")
BATCH = 1000
_FIRST = -(2**63)

COUNT = """
SELECT t.status, count(*) FROM {tasks} t
 WHERE t.status = ANY (%(statuses)s::text[])
   AND t.updated_at < now() - %(age)s * interval '1 second'
   AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
 GROUP BY t.status ORDER BY t.status
"""


@dataclass(frozen=True, slots=True)
class Old:
    """Rows of these statuses, all of them FINISHED, that ended more than `age` seconds ago."""

    statuses: Sequence[str]
    age: float
    types: Sequence[str] | None


def count(session: Session, old: Old) -> dict[str, int]:
    """How many there are of each status; looks at the whole table."""
    parameters = {
        "statuses": list(old.statuses),
        "age": old.age,
        "types": None if old.types is None else list(old.types),
    }
    with session.transaction():
        session.take_time()
        return dict(session.rows(COUNT, parameters))


def delete(database: Database, old: Old) -> Iterator[int]:
    """Delete them, a batch at a time, as the cleaner does; yields how many of each batch there were."""
    recovery = Recovery(database, 0.0, old.types)
    after: int | None = _FIRST
    while after is not None:
        after, deleted = recovery.delete_old(old.age, after, BATCH, old.statuses)
        yield deleted
