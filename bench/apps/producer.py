"""What every peer's producer can do, and the limits it keeps to."""

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

# As many tasks as one call enqueues where a peer takes many at once.
CHUNK = 1_000


class Producer(Protocol):
    """Enqueues numbered tasks; their instants are seconds since the epoch, None is now."""

    def prepare(self) -> None:
        """Make what the peer needs in an empty database."""

    def put(self, first: int, due: Sequence[float | None]) -> None:
        """Enqueue one task for each instant, the fastest documented way."""

    def put_one(self, number: int) -> None:
        """Enqueue one task that is due now, as an application would."""


def chunks(first: int, due: Sequence[float | None]) -> Iterator[list[tuple[int, float | None]]]:
    """The tasks of a `put`, a call's worth at a time."""
    numbered = list(enumerate(due, first))
    for start in range(0, len(numbered), CHUNK):
        yield numbered[start : start + CHUNK]


def dsn() -> str:
    """The database of the trial."""
    return os.environ["BENCH_DSN"]


def amqp_url() -> str:
    """The broker of the run."""
    return os.environ["BENCH_AMQP_URL"]


def queue() -> str:
    """The queue of the trial."""
    return os.environ["BENCH_QUEUE"]
