"""Healthy receivers beside hanging, deaf and dead ones, seen from outside a worker process."""

from datetime import timedelta
from pathlib import Path

from tests.processes import worker
from tests.servers.http import Receiver, deaf, refusing
from tests.tables import Table
from tests.worker.endpoint import Endpoint

HEALTHY = 40
SICK = 150


def test_dead_and_slow_receivers_do_not_delay_the_tasks_of_a_healthy_one(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    with Receiver() as healthy, refusing() as dead, deaf() as silent:

        def insert(url: str, seconds: float) -> int:
            (row,) = table.sql(
                """INSERT INTO scheduled_tasks (task_type, payload, execute_at)
                   VALUES ('http_callback', jsonb_build_object('url', %(url)s::text),
                           now() + %(seconds)s * interval '1 s')
                   RETURNING id""",
                url=url,
                seconds=seconds,
            )
            return int(row["id"])

        with worker(table.dsn, tmp_path, HTTP_TIMEOUT="20") as process:
            process.wait_for_line("Started with polling interval")
            sick = [
                insert(url, 0)
                for _ in range(SICK)
                for url in (
                    f"{endpoint.url}/hold",
                    f"http://127.0.0.1:{dead}/",
                    f"http://127.0.0.1:{silent}/",
                )
            ]
            # The first second is when hanging is told from working.
            well = [insert(f"{healthy.url}/", 2 + n / 20) for n in range(HEALTHY)]
            rows = [table.wait(one, "completed") for one in well]
            process.wait_for_line(f"[Executor] Tasks for 127.0.0.1:{dead} are postponed: cannot connect")
            (untried,) = table.sql(
                "SELECT count(*) FROM scheduled_tasks WHERE id = ANY (%(sick)s) AND attempts = 0"
                " AND status = 'pending' AND error_message LIKE 'postponed: %%'",
                sick=sick,
            )
            endpoint.release()
    assert max(row["started_at"] - row["execute_at"] for row in rows) < timedelta(seconds=1)
    assert untried["count"] > 2 * SICK
