import json
from collections.abc import Callable
from typing import Any

import pytest

from at_worker.store import stats
from at_worker.store.session import addressed
from tests.cli.bulk import LATER
from tests.cli.conftest import AtWorker
from tests.tables import Table

# Of each type 8 completed and 2 failed within the hour, as many some hours ago, and 5 that are long past.
ENDED = """
INSERT INTO scheduled_tasks (task_type, status, attempts, updated_at, execute_at, started_at)
SELECT task_type, CASE WHEN i % 10 < 8 THEN 'completed' ELSE 'failed' END, 1, now() - ago,
       now() - ago, now() - ago + i % 10 * interval '1 ms'
  FROM unnest('{email,rabbitmq}'::text[]) AS task_type
 CROSS JOIN (VALUES (interval '10 min', 10), (interval '5 h', 10), (interval '3 d', 5)) AS past (ago, number)
 CROSS JOIN LATERAL generate_series(0, number - 1) AS i
"""


def told(tasks: Table, at_worker: AtWorker, *options: str) -> dict[str, Any]:
    done = at_worker("stats", "--json", *options, DATABASE_URL=tasks.dsn)
    assert (done.exit_code, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_type_and_all_together_are_counted(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql(ENDED)
    tasks.insert("email", status="cancelled")
    tasks.insert("email", execute_at=LATER)
    for priority in (0, 5, 9):
        tasks.insert("email", priority=priority, execute_at="2026-05-17 09:30+00")
    tasks.insert("sms", status="processing")
    found = told(tasks, at_worker)
    email, rabbitmq, sms = found["types"]
    assert [line["task_type"] for line in found["types"]] == ["email", "rabbitmq", "sms"]
    assert {
        name: email[name] for name in ("pending", "processing", "completed", "failed", "cancelled", "due")
    } == {
        "pending": 4,
        "processing": 0,
        "completed": 21,
        "failed": 4,
        "cancelled": 1,
        "due": 3,
    }
    assert email["oldest_due"] == "2026-05-17T09:30:00Z"
    assert email["last_hour"] == {"completed": 8, "failed": 2}
    assert email["last_day"] == {"completed": 16, "failed": 4}
    assert email["success_rate"] == pytest.approx(0.8)
    assert email["completed_per_hour"] == pytest.approx(16 / 24, abs=0.01)
    assert email["lateness"]["p50"] == pytest.approx(0.0045, abs=1e-6)
    assert (sms["processing"], sms["success_rate"], sms["lateness"], rabbitmq["due"]) == (1, None, None, 0)
    total = found["all"]
    assert (total["pending"], total["processing"], total["completed"], total["failed"]) == (4, 1, 42, 8)
    assert (total["due"], total["oldest_due"]) == (3, "2026-05-17T09:30:00Z")
    assert total["lateness"]["p99"] == pytest.approx(0.009, abs=1e-6)
    assert found["sampled"] == 1.0


def test_people_get_two_tables_that_fit_a_terminal(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql(ENDED)
    tasks.insert("email", execute_at="2026-05-17 09:30+00")
    tasks.sql("INSERT INTO scheduled_tasks_paused VALUES ('email', '2026-11-27 16:00+00', 'ann', 'it moves')")
    tasks.sql("""
        INSERT INTO scheduled_tasks_presence (holder, worker_id, task_types, version, seen_at)
        VALUES ('w-1/a', 'w-1', '{email}', '1.0.0', now()),
               ('w-2/b', 'w-2', '{email}', '1.0.0', '2026-11-27 16:00+00')
    """)
    tasks.insert("rabbitmq", status="processing", locked_by="w-1/a")
    done = at_worker("stats", DATABASE_URL=tasks.dsn, TZ="UTC")
    assert (done.exit_code, done.stderr) == (0, "")
    now, lately, rest = (block.splitlines() for block in done.stdout.split("\n\n"))
    assert now[0].split() == ["NOW", "DUE", "OLDEST", "PENDING", "RUNNING", "DONE", "FAILED", "CANCELLED"]
    assert now[1].split()[:2] == ["email", "1"]
    assert now[2].split() == ["rabbitmq", "0", "0", "1", "21", "4", "0"]
    assert [line.split()[0] for line in lately] == ["LATELY", "email", "rabbitmq", "all"]
    assert lately[3].split() == ["all", "16", "4", "32", "8", "80.0", "%", "4.5", "ms", "9.0", "ms"]
    assert rest[0].startswith("paused: email, since 2026-11-27 ")
    assert rest[0].endswith(" by ann: it moves")
    assert rest[1] == "workers: 1 alive, 1 task claimed"
    assert rest[2].startswith("not seen since 2026-11-27 ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_an_empty_table_has_a_picture_too(tasks: Table, at_worker: AtWorker) -> None:
    done = at_worker("stats", DATABASE_URL=tasks.dsn)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith("workers: none alive, 0 tasks claimed\n")


def test_of_very_many_rows_a_sample_is_judged_and_the_figures_are_marked(
    tasks: Table, at_worker: AtWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.sql("""
        INSERT INTO scheduled_tasks (task_type, status)
        SELECT CASE WHEN i % 4 = 0 THEN 'email' ELSE 'sms' END, 'cancelled'
          FROM generate_series(1, 20000) AS i
    """)
    tasks.insert("email")
    monkeypatch.setattr(stats, "WHOLE", 100)
    monkeypatch.setattr(stats, "SAMPLED", 100)
    found = told(tasks, at_worker)
    assert found["sampled"] < 0.5
    email, sms = found["types"]
    assert email["cancelled"] == pytest.approx(5000, rel=0.5)
    assert sms["cancelled"] == pytest.approx(15_000, rel=0.5)
    assert (email["due"], email["processing"]) == (1, 0)
    done = at_worker("stats", DATABASE_URL=tasks.dsn)
    assert "  ~" in done.stdout
    assert done.stderr.startswith("~ judged by ")
    assert told(tasks, at_worker, "--exact")["types"][0]["cancelled"] == 5000


def test_what_is_due_is_counted_no_further_than_it_says_enough(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'email' FROM generate_series(1, 10001)")
    assert told(tasks, at_worker)["types"][0]["due"] == 10_000
    assert " 10,000+ " in at_worker("stats", DATABASE_URL=tasks.dsn).stdout


def test_the_questions_that_are_always_exact_read_no_more_than_their_index(tasks: Table) -> None:
    tasks.sql("""
        INSERT INTO scheduled_tasks (task_type, status, execute_at)
        SELECT 'email', CASE WHEN i % 10 = 0 THEN 'pending' ELSE 'cancelled' END, now() + interval '1 day'
          FROM generate_series(1, 20000) AS i
    """)
    tasks.sql("VACUUM ANALYZE scheduled_tasks")
    tasks.sql("SET enable_seqscan = off")
    for query in (stats.DUE, stats.RUNNING, stats.WORKERS):
        explained = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + addressed(query, "public")
        (row,) = tasks.sql(explained, most=10_000)
        plan = row["QUERY PLAN"][0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, query


def test_who_may_only_look_sees_it(table: Table, login: Callable[[str], str], at_worker: AtWorker) -> None:
    table.sql(ENDED)
    assert at_worker("stats", DATABASE_URL=login("at_monitor")).exit_code == 0
    done = at_worker("stats", DATABASE_URL=login("at_producer"))
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
    assert "that takes the rights of at_monitor" in done.stderr
