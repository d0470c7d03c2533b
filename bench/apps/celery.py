"""Celery with RabbitMQ: `celery --app bench.apps.celery worker`."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from celery import Celery

from bench import marks
from bench.apps.producer import amqp_url, queue

started = marks.inherited()
app = Celery("bench", broker=amqp_url())
app.conf.task_default_queue = queue()
app.conf.task_ignore_result = True
if os.environ.get("BENCH_CELERY_TUNED"):
    app.conf.update(worker_prefetch_multiplier=1000, worker_disable_rate_limits=True)


@app.task(name="noop")  # type: ignore[untyped-decorator]  # Celery ships no types
def noop(n: int) -> None:
    """Start and end."""
    started.mark(n)


class Producer:
    """One message a call over one kept connection; Celery has no other way."""

    def __init__(self) -> None:
        self._connection = app.connection_for_write()
        self._producer = app.amqp.Producer(self._connection)

    def prepare(self) -> None:
        self._connection.ensure_connection()

    def put(self, first: int, due: Sequence[float | None]) -> None:
        for number, instant in enumerate(due, first):
            eta = None if instant is None else datetime.fromtimestamp(instant, UTC)
            noop.apply_async((number,), eta=eta, producer=self._producer)

    def put_one(self, number: int) -> None:
        noop.apply_async((number,), producer=self._producer)
