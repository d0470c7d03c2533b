from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from at_worker.store.admin import SCHEMA_VERSION
from tests.cli.conftest import AtWorker
from tests.servers.http import refusing
from tests.tables import Table


def test_an_empty_database_gets_the_table(empty_dsn: str, at_worker: AtWorker) -> None:
    done = at_worker("init-db", DATABASE_URL=empty_dsn)
    assert (done.exit_code, done.stderr) == (0, "")
    address = urlsplit(empty_dsn)
    assert done.stdout == (
        f"{address.hostname}:{address.port}{address.path}: scheduled_tasks is ready,"
        f" schema version {SCHEMA_VERSION}\n"
    )
    with closing(Table(empty_dsn)) as table:
        assert table.insert("email")


def test_a_missing_database_is_created(missing_dsn: str, at_worker: AtWorker) -> None:
    assert at_worker("init-db", DATABASE_URL=missing_dsn).exit_code == 0
    with closing(Table(missing_dsn)) as table:
        assert table.insert("email")


def test_the_single_variables_lead_to_the_same_database(missing_dsn: str, at_worker: AtWorker) -> None:
    address = urlsplit(missing_dsn)
    done = at_worker(
        "init-db",
        DB_HOST=str(address.hostname),
        DB_PORT=str(address.port),
        DB_USER=str(address.username),
        DB_PASSWORD=str(address.password),
        DB_NAME=address.path[1:],
    )
    assert done.exit_code == 0
    with closing(Table(missing_dsn)) as table:
        assert table.insert("email")


def test_it_can_be_applied_again_with_rows_in_the_table(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("email", execute_at="2030-05-17 09:30+00")
    before = table.row(task)
    assert at_worker("init-db", DATABASE_URL=table.dsn).exit_code == 0
    assert table.row(task) == before


def test_a_wrong_password_is_one_line(dsn: str, at_worker: AtWorker) -> None:
    wrong = dsn.replace(f":{urlsplit(dsn).password}@", ":hunter2@")
    done = at_worker("init-db", DATABASE_URL=wrong)
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "refuses the login" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_server_that_is_away_is_one_line(at_worker: AtWorker) -> None:
    with refusing() as port:
        done = at_worker("init-db", DATABASE_URL=f"postgresql://at:hunter2@127.0.0.1:{port}/app")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert f"Error: 127.0.0.1:{port}/app: " in done.stderr
    assert "Connection refused" in done.stderr


def test_a_role_that_may_not_create_the_table_is_told(
    empty_dsn: str, server_dsn: str, at_worker: AtWorker
) -> None:
    role = f"{urlsplit(empty_dsn).path[1:]}_reader"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reader'").format(sql.Identifier(role)),
        )
        with psycopg.connect(empty_dsn, autocommit=True) as inside:
            inside.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        address = urlsplit(empty_dsn)
        done = at_worker(
            "init-db",
            DATABASE_URL=f"postgresql://{role}:reader@{address.hostname}:{address.port}{address.path}",
        )
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "permission denied for schema public" in done.stderr


@pytest.mark.parametrize("option", ["foo=1", "connect_timeout"])
def test_an_address_that_libpq_does_not_read_is_a_wrong_setting(option: str, at_worker: AtWorker) -> None:
    done = at_worker("init-db", DATABASE_URL=f"postgresql://at:hunter2@db/app?{option}")
    assert done.exit_code == 2
    assert "DATABASE_URL: " in done.stderr
    assert "hunter2" not in done.stderr


def test_a_table_that_cannot_be_upgraded_is_one_line(empty_dsn: str, at_worker: AtWorker) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("CREATE VIEW scheduled_tasks AS SELECT 1 AS id")
    done = at_worker("init-db", DATABASE_URL=empty_dsn)
    assert done.exit_code == 3
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("roles")
def test_with_roles_each_may_do_its_part(empty_dsn: str, at_worker: AtWorker) -> None:
    for _ in range(2):
        assert at_worker("init-db", "--roles", DATABASE_URL=empty_dsn).exit_code == 0
    with closing(Table(empty_dsn)) as table:
        table.sql("SET ROLE at_producer")
        assert table.insert("email")
