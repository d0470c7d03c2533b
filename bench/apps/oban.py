"""oban: a worker process embedded as its documentation shows; `oban start` cannot import workers itself."""

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import uvloop
from oban import Oban, worker
from oban.job import Job
from oban.schema import install
from psycopg.types.json import set_json_dumps, set_json_loads

from bench import marks
from bench.apps.producer import chunks, dsn

started = marks.inherited()


@worker(queue="default")
class NoOp:
    """Start and end."""

    async def process(self, job: Job) -> None:
        """Note the start."""
        started.mark(job.args["n"])


class Producer:
    """Many jobs in one statement."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._pool = self._runner.run(Oban.create_pool(dsn(), min_size=1, max_size=1))
        self._oban = Oban(pool=self._pool)

    def prepare(self) -> None:
        self._runner.run(install(self._pool))

    def put(self, first: int, due: Sequence[float | None]) -> None:
        for chunk in chunks(first, due):
            self._runner.run(self._oban.enqueue_many([_job(number, at) for number, at in chunk]))

    def put_one(self, number: int) -> None:
        self._runner.run(self._oban.enqueue(_job(number, None)))


def _job(number: int, due: float | None) -> Job:
    new: Any = NoOp.new  # type: ignore[attr-defined]  # the decorator adds it
    when = {} if due is None else {"scheduled_at": datetime.fromtimestamp(due, UTC)}
    job: Job = new({"n": number}, **when)
    return job


async def serve() -> None:
    """Work until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    limit = int(os.environ["BENCH_OBAN_LIMIT"])
    interval = os.environ.get("BENCH_OBAN_STAGE")
    stager = {"interval": float(interval)} if interval else {}
    pool = await Oban.create_pool(dsn(), max_size=int(os.environ.get("BENCH_OBAN_POOL", "10")))
    async with Oban(pool=pool, queues={"default": limit}, stager=stager):
        await ending.wait()
    await pool.close()


if __name__ == "__main__":
    set_json_dumps(orjson.dumps)
    set_json_loads(orjson.loads)
    uvloop.run(serve())
