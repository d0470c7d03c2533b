"""Several worker processes on one table."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.processes import worker
from tests.tables import Table
from tests.worker.endpoint import Endpoint

ROWS = 300

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at, max_attempts, retry_delays, priority)
SELECT 'http_callback',
       jsonb_build_object(
           'url', %(url)s::text || (ARRAY['/', '/fails/1', '/status/410', '/status/503'])[1 + n %% 4],
           'data', jsonb_build_object('n', n)),
       now() + (n %% 7) * interval '0.1 s', 2, '{0.1 s}', n %% 10
  FROM generate_series(1, %(rows)s) n
"""


def test_rows_of_every_outcome_run_once_on_one_worker_and_then_on_three(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    def settled(count: int) -> bool:
        (row,) = table.sql("SELECT count(*) FROM scheduled_tasks WHERE status IN ('completed', 'failed')")
        return int(row["count"]) == count

    settings = {"WORKER_POLLING_INTERVAL": "0.1", "WORKER_CONCURRENCY": "8"}
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(table.dsn, tmp_path, WORKER_ID="w-1", **settings))]
        table.sql(INSERT, url=endpoint.url, rows=ROWS)
        table.wait_for(lambda: settled(ROWS))
        workers += [
            stack.enter_context(worker(table.dsn, tmp_path, WORKER_ID=name, **settings))
            for name in ("w-2", "w-3")
        ]
        for process in workers:
            process.wait_for_line("Successfully connected to database")
        table.sql(INSERT, url=endpoint.url, rows=ROWS)
        table.wait_for(lambda: settled(2 * ROWS))
        assert [process.stop() for process in workers] == [0, 0, 0]

    ends: Counter[tuple[str, str, int]] = Counter()
    expected: dict[int, int] = {}
    for row in table.sql("SELECT *, payload->>'url' AS url FROM scheduled_tasks"):
        path = row["url"].removeprefix(endpoint.url)
        ends[path, row["status"], row["attempts"]] += 1
        expected[row["id"]] = row["attempts"]
        assert (row["completed_at"] is not None) == (row["status"] == "completed")
        assert (row["error_message"] is None) == (row["status"] == "completed")
        assert row["claim_seq"] >= row["attempts"]
    assert ends == {
        ("/", "completed", 1): 150,
        ("/fails/1", "completed", 2): 150,
        ("/status/410", "failed", 1): 150,
        ("/status/503", "failed", 2): 150,
    }
    assert endpoint.attempts() == expected
    (row,) = table.sql("SELECT count(DISTINCT split_part(locked_by, '/', 1)) FROM scheduled_tasks")
    assert row["count"] == 3
