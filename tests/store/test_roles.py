"""The roles of sql/roles.sql: what each may do, and all that it may not."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from at_worker.store import admin
from tests.conftest import ROLES, _fresh
from tests.processes import worker
from tests.store import ddl
from tests.store.ddl import insert
from tests.worker.endpoint import Endpoint

FILE = ddl.FILE.with_name("roles.sql")
pytestmark = pytest.mark.usefixtures("roles")
FORBIDDEN_TO_ALL = (
    "TRUNCATE scheduled_tasks",
    "ALTER TABLE scheduled_tasks ADD COLUMN more text",
    "ALTER TABLE scheduled_tasks DISABLE TRIGGER ALL",
    "DROP TABLE scheduled_tasks",
    "CREATE INDEX ON scheduled_tasks (attempts)",
    "CREATE TRIGGER mine BEFORE UPDATE ON scheduled_tasks EXECUTE FUNCTION scheduled_tasks_by_hand()",
    "CREATE RULE mine AS ON INSERT TO scheduled_tasks DO NOTHING",
    "CREATE POLICY mine ON scheduled_tasks",
    "CREATE OR REPLACE FUNCTION scheduled_tasks_announce() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE mine (task bigint REFERENCES scheduled_tasks)",
    "COMMENT ON TABLE scheduled_tasks IS 'mine'",
    "SELECT setval('scheduled_tasks_id_seq', 1)",
    "DELETE FROM scheduled_tasks_attempts",
    "TRUNCATE scheduled_tasks_attempts, scheduled_tasks_paused, scheduled_tasks_presence",
    "CREATE TRIGGER mine AFTER DELETE ON scheduled_tasks_paused EXECUTE FUNCTION scheduled_tasks_forget()",
)
CONTRACT_UPDATES = (
    "UPDATE scheduled_tasks SET execute_at = now() + interval '3 hours' WHERE id = 1",
    "UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = 1",
    "UPDATE scheduled_tasks SET status = 'pending', attempts = 0 WHERE id = 1",
)
CHANGES = (
    "SELECT at_reschedule(1, now())",
    "SELECT at_cancel(1)",
    "SELECT at_retry(1)",
    "SELECT at_pause('email')",
    "SELECT at_resume('email')",
    "DELETE FROM scheduled_tasks_paused",
)
REPLACE = """SELECT at_schedule('email', '{}', now(), '{"dedupe_key": "taken", "on_duplicate": "replace"}')"""
FAILED_CALLBACKS = (
    "SELECT id, payload, error_message FROM scheduled_tasks"
    " WHERE task_type = 'http_callback' AND status = 'failed'"
)
QUESTIONS = (
    "SELECT status, count(*) FROM scheduled_tasks GROUP BY status",
    "SELECT AVG(EXTRACT(EPOCH FROM (completed_at - execute_at))) FROM scheduled_tasks GROUP BY task_type",
    "SELECT id FROM scheduled_tasks WHERE attempts >= max_attempts - 1 AND status != 'completed'",
    "SELECT id FROM scheduled_tasks WHERE status = 'processing' AND updated_at < NOW() - INTERVAL '5 min'",
    "SELECT * FROM pg_locks WHERE relation = 'scheduled_tasks'::regclass",
    "SELECT * FROM scheduled_tasks_overview",
    "SELECT * FROM scheduled_tasks_lateness",
    "SELECT * FROM scheduled_tasks_due",
    "SELECT * FROM scheduled_tasks_running",
    "SELECT * FROM scheduled_tasks_failed",
    "SELECT * FROM scheduled_tasks_workers",
    "SELECT * FROM scheduled_tasks_paused",
    "SELECT attempt, worker, outcome, error_message FROM scheduled_tasks_attempts WHERE task_id = 1",
)
BODIES = (
    "SELECT payload FROM scheduled_tasks",
    "SELECT context FROM scheduled_tasks",
    "SELECT result FROM scheduled_tasks",
    "SELECT dedupe_key FROM scheduled_tasks",
    "SELECT result FROM scheduled_tasks_attempts",
)
MAY: dict[str, tuple[str, ...]] = {
    "at_producer": (
        "INSERT INTO scheduled_tasks (task_type, payload, execute_at) VALUES ('email', '{}', now())",
        insert(task_type="'email'") + " RETURNING id",
        insert(
            task_type="'email'",
            priority="9",
            expires_at="now()",
            max_attempts="1",
            retry_delays="'{1 s}'",
            dedupe_key="'taken'",
            context="'{}'",
        )
        + " ON CONFLICT DO NOTHING RETURNING id",
        "SELECT at_schedule('email', '{}')",
        """SELECT at_schedule('email', '{}', now(), '{"dedupe_key": "taken"}')""",
        """SELECT at_schedule('email', '{}', now(), '{"dedupe_key": "free", "on_duplicate": "replace"}')""",
    ),
    "at_monitor": QUESTIONS,
    "at_worker": (
        *QUESTIONS,
        *BODIES,
        FAILED_CALLBACKS,
        *CONTRACT_UPDATES,
        *CHANGES,
        "DELETE FROM scheduled_tasks",
    ),
    "at_owner": (
        *QUESTIONS,
        *BODIES,
        *CONTRACT_UPDATES,
        *CHANGES,
        REPLACE,
        "TRUNCATE scheduled_tasks",
        "CREATE INDEX ON scheduled_tasks (attempts)",
        insert(task_type="'email'"),
        re.sub(r"(?m)^(BEGIN|COMMIT)\b.*;", "", admin.ddl()),
    ),
}
MAY_NOT: dict[str, tuple[str, ...]] = {
    "at_producer": (
        *FORBIDDEN_TO_ALL,
        *CONTRACT_UPDATES,
        *QUESTIONS[:4],
        *QUESTIONS[5:],
        *BODIES,
        *CHANGES,
        REPLACE,
        "DELETE FROM scheduled_tasks",
        "SELECT id FROM scheduled_tasks FOR UPDATE",
        *(
            insert(task_type="'email'", **{column: value})
            for column, value in {
                "id": "7",
                "status": "'completed'",
                "attempts": "1",
                "error_message": "''",
                "created_at": "now()",
                "updated_at": "now()",
                "completed_at": "now()",
                "original_execute_at": "now()",
                "task_uid": "gen_random_uuid()",
                "result": "'{}'",
                "locked_by": "''",
                "started_at": "now()",
                "claim_seq": "7",
            }.items()
        ),
    ),
    "at_monitor": (
        *FORBIDDEN_TO_ALL,
        *CONTRACT_UPDATES,
        *BODIES,
        *CHANGES,
        "SELECT scheduled_tasks_holder('taken')",
        "SELECT at_schedule('email', '{}')",
        FAILED_CALLBACKS,
        "SELECT * FROM scheduled_tasks",
        "SELECT id FROM scheduled_tasks FOR UPDATE",
        "DELETE FROM scheduled_tasks",
        "UPDATE scheduled_tasks_overview SET status = 'cancelled'",
        insert(task_type="'email'"),
    ),
    "at_worker": (*FORBIDDEN_TO_ALL, insert(task_type="'email'"), "SELECT at_schedule('email', '{}')"),
}


def apply(dsn: str) -> None:
    ddl.apply(dsn, admin.roles())


@pytest.fixture(scope="module")
def granted(server_dsn: str, template: str, roles: tuple[str, ...]) -> Iterator[str]:
    """The address of a database with the roles and one task; what a test changes there it takes back."""
    assert roles
    with contextmanager(_fresh)(server_dsn, template) as dsn:
        apply(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(insert(task_type="'email'", dedupe_key="'taken'").encode())
        yield dsn


def try_as(dsn: str, role: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute(statement.encode())
        connection.rollback()


@pytest.mark.parametrize(("role", "statement"), [(role, each) for role in MAY for each in MAY[role]])
def test_a_role_may(granted: str, role: str, statement: str) -> None:
    try_as(granted, role, statement)


@pytest.mark.parametrize(("role", "statement"), [(role, each) for role in MAY_NOT for each in MAY_NOT[role]])
def test_a_role_may_not(granted: str, role: str, statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
        try_as(granted, role, statement)


@pytest.mark.parametrize("role", ["at_producer", "at_monitor", "at_worker"])
def test_a_role_cannot_pass_its_rights_on(granted: str, role: str) -> None:
    before = privileges(granted)
    with psycopg.connect(granted, autocommit=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        # PostgreSQL warns, and grants what it can: nothing.
        connection.execute("GRANT SELECT (id) ON scheduled_tasks TO PUBLIC")
    assert privileges(granted) == before


@pytest.mark.parametrize("role", ROLES)
def test_nobody_logs_in_as_a_role(granted: str, role: str) -> None:
    with psycopg.connect(granted) as connection:
        (row,) = connection.execute(
            "SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = %s", [role]
        ).fetchall()
    assert row == (False, False, False)


def test_the_overview_shows_every_column_but_those_that_tell_what_a_task_carries(granted: str) -> None:
    with psycopg.connect(granted) as connection:
        table, view = (
            {column.name for column in connection.execute(query).description or ()}
            for query in ("TABLE scheduled_tasks", "TABLE scheduled_tasks_overview")
        )
    assert table - view == {"payload", "context", "result", "dedupe_key"}
    assert view - table == {"result_status", "result_ms"}


def test_a_producer_that_may_change_tasks_too_replaces_them(granted: str) -> None:
    with (
        login(granted, "IN ROLE at_producer, at_worker") as (_, dsn),
        psycopg.connect(dsn) as connection,
    ):
        assert connection.execute(REPLACE.encode()).fetchone() == (1,)
        connection.rollback()


def test_only_the_role_of_producers_learns_who_holds_a_key(granted: str) -> None:
    with (
        login(granted) as (name, dsn),
        psycopg.connect(granted, autocommit=True) as owner,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        owner.execute(f"GRANT INSERT, SELECT (id) ON scheduled_tasks TO {name}".encode())
        connection.execute("SELECT at_schedule('email', '{}')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="scheduled_tasks_holder"):
            connection.execute("SELECT scheduled_tasks_holder('taken')")


def privileges(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT relname::text, relowner::regrole::text, relacl::text FROM pg_class"
            " WHERE relname LIKE 'scheduled_tasks%' UNION ALL"
            " SELECT proname::text, proowner::regrole::text, proacl::text FROM pg_proc"
            " WHERE proname ~ '^(at|scheduled_tasks)_' UNION ALL"
            " SELECT attname::text, attrelid::regclass::text, attacl::text FROM pg_attribute"
            " WHERE attrelid IN ('scheduled_tasks'::regclass, 'scheduled_tasks_attempts'::regclass)"
            " ORDER BY 1, 2"
        ).fetchall()


def test_applied_again_and_after_the_schema_it_changes_nothing(granted: str) -> None:
    before = privileges(granted)
    apply(granted)
    ddl.apply(granted)
    apply(granted)
    assert privileges(granted) == before


def test_applying_it_takes_rights_away_that_a_role_should_not_have(dsn: str) -> None:
    apply(dsn)
    before = privileges(dsn)
    ddl.apply(
        dsn,
        "GRANT ALL ON scheduled_tasks, scheduled_tasks_attempts"
        " TO at_producer, at_monitor, at_worker, PUBLIC",
    )
    apply(dsn)
    assert privileges(dsn) == before


def test_the_table_may_be_in_a_schema_of_any_name(dsn: str) -> None:
    ddl.apply(dsn, 'ALTER SCHEMA public RENAME TO "o\'clock"')
    found = 'SET search_path = "o\'clock";'
    ddl.apply(dsn, found + admin.roles())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(found.encode() + b"SET ROLE at_producer")
        connection.execute(insert(task_type="'email'").encode())


def test_a_database_without_the_table_is_told(empty_dsn: str) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="there is no table scheduled_tasks"):
        apply(empty_dsn)


def test_the_file_is_for_psql_too(dsn: str) -> None:
    done = ddl.psql(dsn, f"--file={FILE}")
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def login(dsn: str, *options: str) -> Iterator[tuple[str, str]]:
    """A role of its own that can log in, and the address for it; gone after the block."""
    name = f"at_test_{secrets.token_hex(4)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {' '.join(options)}".encode())
        try:
            yield name, re.sub(r"//.*@", f"//{name}:secret@", dsn)
        finally:
            connection.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}".encode())
            connection.execute(f"DROP ROLE {name}".encode())


def test_an_owner_who_may_create_roles_applies_it_and_goes_on(empty_dsn: str) -> None:
    with login(empty_dsn, "CREATEROLE") as (name, own):
        ddl.apply(
            empty_dsn, f"CREATE SCHEMA own AUTHORIZATION {name}; ALTER ROLE {name} SET search_path = own"
        )
        ddl.apply(own)
        with psycopg.connect(empty_dsn, autocommit=True) as connection:
            there = connection.execute(
                "SELECT count(*) FROM pg_roles WHERE rolname = ANY (%s)", [list(ROLES)]
            )
            if there.fetchall() == [(4,)]:
                # Made by another test, so this one has to be let in.
                connection.execute(f"GRANT {', '.join(ROLES)} TO {name} WITH ADMIN OPTION".encode())
        ddl.apply(own, admin.roles())
        ddl.apply(own, insert(task_type="'email'") + ";" + admin.ddl() + admin.roles())
        ddl.apply(empty_dsn, "DROP SCHEMA own CASCADE")


def test_a_worker_with_only_its_role_does_all_its_work(granted: str, tmp_path: Path) -> None:
    with (
        Endpoint() as endpoint,
        login(granted, "IN ROLE at_worker") as (_, worker_dsn),
        login(granted, "IN ROLE at_producer") as (_, producer_dsn),
        psycopg.connect(producer_dsn, autocommit=True) as producer,
        worker(
            worker_dsn,
            tmp_path,
            WORKER_POLLING_INTERVAL="30",
            WORKER_RETENTION="1s",
            WORKER_CLEANER_INTERVAL="1s",
        ) as process,
    ):
        process.wait_for_line("[Cleaner] Restored")
        # The next look at the table by itself is half a minute away: only its announcement brings it.
        producer.execute(
            "INSERT INTO scheduled_tasks (task_type, payload)"
            " VALUES ('http_callback', json_build_object('url', %s::text)::jsonb)",
            [endpoint.url],
        )
        endpoint.wait_for(1)
        process.wait_for_line("deleted 1 tasks")
        assert process.stop() == 0
    assert process.count("permission denied") == 0
