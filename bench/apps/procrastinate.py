"""procrastinate: `procrastinate --app bench.apps.procrastinate.app worker`."""

from collections.abc import Sequence
from datetime import UTC, datetime

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.jobs import Job

from bench import marks
from bench.apps.producer import chunks, dsn

started = marks.inherited()
app = App(connector=PsycopgConnector(conninfo=dsn()))


@app.task(name="noop")
async def noop(n: int) -> None:
    """Start and end."""
    started.mark(n)


class Producer:
    """Batches of jobs."""

    def __init__(self) -> None:
        # Its own App: a task stays bound to the one that it was declared with.
        self._app = App(connector=SyncPsycopgConnector(conninfo=dsn()))
        self._app.open()

    def prepare(self) -> None:
        self._app.schema_manager.apply_schema()

    def put(self, first: int, due: Sequence[float | None]) -> None:
        for chunk in chunks(first, due):
            jobs = [self._job(number, instant) for number, instant in chunk]
            self._app.job_manager.batch_defer_jobs(jobs=jobs)

    def put_one(self, number: int) -> None:
        self._app.configure_task("noop").defer(n=number)

    def _job(self, number: int, due: float | None) -> Job:
        at = None if due is None else datetime.fromtimestamp(due, UTC)
        return self._app.configure_task("noop", schedule_at=at).make_new_job(n=number)
