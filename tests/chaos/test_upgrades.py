"""A table of an older form that is upgraded under load; then workers come, one after the other.

Beside them work those of the release before.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from at_worker.store import admin
from tests.chaos import audit
from tests.chaos.experiment import Experiment
from tests.chaos.faults import Fault
from tests.chaos.older import OlderWorker
from tests.processes import PATIENCE
from tests.store.plain import PLAIN
from tests.store.test_versions import VERSIONS
from tests.tables import Table

FORMS = {"plain": PLAIN} | {
    f"version {number}": path.read_text(encoding="utf-8")
    for number, path in sorted(VERSIONS.items())
    if number < admin.SCHEMA_VERSION
}
EACH = 150  # tasks between two restarts

# As programs insert that know eleven columns.
INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at)
VALUES ('http_callback', jsonb_build_object('url', %(url)s::text), now()) RETURNING id
"""
OLD_ROWS = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at, status, attempts, updated_at, completed_at)
SELECT 'http_callback', jsonb_build_object('url', %(url)s::text), '2020-01-01', status, attempts,
       '2020-01-02', CASE WHEN status = 'completed' THEN timestamptz '2020-01-02' END
  FROM (VALUES ('pending', 0), ('pending', 1), ('processing', 0), ('processing', 1), ('completed', 1),
               ('failed', 3)) AS old (status, attempts),
       generate_series(1, 20)
"""
# What a worker has completed, by the boot id.
COMPLETED = """
SELECT boot_id, count(*) FROM audit WHERE new_status = 'completed' AND old_status IS NOT NULL GROUP BY boot_id
"""
BUSY = "SELECT DISTINCT boot_id FROM audit"
SOME, ENOUGH = 10, 400  # tasks
ADVICE = "at-worker init-db upgrades the schema"
FAILED = "SELECT id FROM scheduled_tasks WHERE status = 'failed'"


@pytest.fixture(params=FORMS)
def dsn(request: pytest.FixtureRequest, empty_dsn: str) -> str:
    """The address of a table of an older form."""
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(FORMS[request.param].encode())
    return empty_dsn


@contextmanager
def producers(dsn: str, url: str, count: int = 2) -> Iterator[None]:
    """Programs that insert all the while, several rows in a transaction."""
    done = threading.Event()

    def produce() -> None:
        with closing(Table(dsn)) as table:
            while not done.wait(0.02):
                table.sql("BEGIN")
                for _ in range(3):
                    table.sql(INSERT, url=url)
                table.sql("COMMIT")

    threads = [threading.Thread(target=produce) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.patient
def test_an_older_table_is_upgraded_under_load_and_every_task_is_carried_out(experiment: Experiment) -> None:
    table, url = experiment.table, f"{experiment.receiver.url}/"
    table.sql(OLD_ROWS, url=url)
    failed = [row["id"] for row in table.sql(FAILED)]
    experiment.faults.add(Fault("its program ended long ago", since=0.0, boot_id=audit.NOBODY))
    with producers(experiment.table.dsn, url):
        table.sql(admin.ddl())
        audit.install(table)
        for number in range(int(experiment.size)):
            arrived = len(experiment.receiver.arrivals)
            with experiment.worker(f"w-{number}", "--init-db") as worker:
                experiment.receiver.wait_for(arrived + EACH, PATIENCE)
                assert worker.stop() == 0
    with experiment.worker("last") as worker:
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify(failing=failed)


def completed(table: Table, boot_id: str) -> int:
    return sum(row["count"] for row in table.sql(COMPLETED) if row["boot_id"] == boot_id)


def let_each_work(experiment: Experiment, *boot_ids: str) -> None:
    """There is enough to do for all of these, and each does some of it."""
    table = experiment.table
    wanted = {boot_id: completed(table, boot_id) + SOME for boot_id in boot_ids}
    experiment.submit(ENOUGH)
    table.wait_for(lambda: all(completed(table, boot_id) >= most for boot_id, most in wanted.items()))


@pytest.mark.parametrize("dsn", ["version 1"], indirect=True)
def test_workers_of_the_release_before_work_on_beside_newer_ones_while_the_table_is_upgraded(
    experiment: Experiment,
) -> None:
    table, url = experiment.table, f"{experiment.receiver.url}/"
    with (
        OlderWorker(table.dsn, "older-1") as staying,
        OlderWorker(table.dsn, "older-2") as dying,
        producers(table.dsn, url, count=1),
    ):
        let_each_work(experiment, staying.boot_id, dying.boot_id)
        with experiment.worker("too-early") as early:
            assert early.wait() == 3
        (line,) = (line for line in early.lines if ADVICE in line)
        assert " ERROR " in line
        assert {row["boot_id"] for row in table.sql(BUSY)} == {audit.NOBODY, staying.boot_id, dying.boot_id}
        table.sql(admin.ddl())
        let_each_work(experiment, staying.boot_id, dying.boot_id)
        with experiment.worker("newer", "--processes", "2", WORKER_CONCURRENCY="1") as newer:
            newer.wait_for_line("Successfully connected to database", 2)
            let_each_work(experiment, staying.boot_id, dying.boot_id, *newer.processes())
            experiment.faults.happened("killed", dying.boot_id)
            dying.die()
            let_each_work(experiment, staying.boot_id, *newer.processes())
            staying.stop()
            let_each_work(experiment, *newer.processes())
            assert newer.stop() == 0
    with experiment.worker("last") as last:
        experiment.wait_until_ended()
        assert last.stop() == 0
    experiment.verify()
