"""One claimed row, frozen: what a worker knows of a task while it holds it."""

from datetime import datetime
from typing import NamedTuple


class Claim(NamedTuple):
    """What fences a task: the row, and which claim of it (`claim_seq`, the fencing token)."""

    id: int
    seq: int


class Task(NamedTuple):
    """A row as its claim returned it; instants are of this process's monotonic clock, in seconds.

    A named tuple, for it is made for every row: a frozen dataclass takes four times as long to make.

    `instant` is when it was to start; `due` the same, or when it was claimed where that was later.

    `payload`, `context` and `result` stay JSON texts until the task's own thread parses them, so that
    no row can harm the others claimed with it.
    """

    claim: Claim
    uid: str
    type: str
    priority: int
    payload: str
    context: str
    result: str | None
    scheduled_at: datetime
    attempts: int
    max_attempts: int
    retry_delays: tuple[float, ...]
    expires: float | None
    instant: float
    due: float

    @property
    def id(self) -> int:
        return self.claim.id

    @property
    def attempt(self) -> int:
        """The number of the attempt that this claim is for, from 1."""
        return self.attempts + 1
