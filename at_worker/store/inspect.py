"""What people ask about the queue."""

from collections.abc import Iterator
from dataclasses import dataclass

from at_worker.store.database import Database

PENDING = """
SELECT t.id, t.task_type, t.payload::text FROM {tasks} t
 WHERE t.status = 'pending' ORDER BY t.execute_at, t.id
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """A row that waits; `payload` is its JSON text."""

    id: int
    type: str
    payload: str


def pending(database: Database) -> Iterator[Pending]:
    """Every pending row, the earliest first, however many there are."""
    with database.direct() as session:
        for row in session.stream(PENDING):
            yield Pending(*row)
