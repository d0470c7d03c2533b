"""pgqueuer: `pgq run bench.apps.pgqueuer:main`."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench import marks
from bench.apps.producer import chunks, dsn


@asynccontextmanager
async def main() -> AsyncIterator[PgQueuer]:
    """The worker, as its documentation begins."""
    started = marks.inherited()
    pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(dsn())))
    if seconds := os.environ.get("BENCH_PGQUEUER_POLL"):
        pgq.qm.min_dequeue_poll_interval = timedelta(seconds=float(seconds))

    @pgq.entrypoint("noop")
    async def noop(job: Job) -> None:
        started.mark(int(job.payload or b"0"))

    yield pgq


class Producer:
    """Arrays of jobs in one call."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._queries = self._runner.run(_queries())

    def prepare(self) -> None:
        self._runner.run(self._queries.install())

    def put(self, first: int, due: Sequence[float | None]) -> None:
        for chunk in chunks(first, due):
            now = time.time()
            after = [None if at is None else timedelta(seconds=at - now) for _, at in chunk]
            payloads: list[bytes | None] = [b"%d" % number for number, _ in chunk]
            self._runner.run(self._queries.enqueue(["noop"] * len(chunk), payloads, [0] * len(chunk), after))

    def put_one(self, number: int) -> None:
        self._runner.run(self._queries.enqueue("noop", b"%d" % number))


async def _queries() -> Queries:
    return Queries(AsyncpgDriver(await asyncpg.connect(dsn())))
