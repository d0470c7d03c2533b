"""Applying the schema from the program, and telling what is there."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from at_worker.config import load
from at_worker.store import admin
from at_worker.store.database import Database
from at_worker.store.errors import MissingTable, Unusable
from tests.store import ddl
from tests.store.plain import PLAIN

ROOT = Path(__file__).parents[2]


def database(dsn: str) -> Database:
    return Database(load({"DATABASE_URL": dsn}, ()))


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def missing(empty_dsn: str) -> Iterator[str]:
    """The address of a database that is not there, with a name that wants quotes."""
    name = empty_dsn.rpartition("/")[2] + '-"missing"'
    yield empty_dsn.rpartition("/")[0] + "/" + name.replace('"', "%22")
    quoted = name.replace('"', '""')
    execute(empty_dsn, f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)')


def version(dsn: str) -> int:
    with database(dsn).direct() as session:
        return admin.schema_version(session)


def test_init_db_creates_a_missing_database(missing: str) -> None:
    admin.init_db(database(missing))
    assert version(missing) == admin.SCHEMA_VERSION


def test_init_db_creates_the_table_in_a_database_that_is_there(empty_dsn: str) -> None:
    admin.init_db(database(empty_dsn))
    assert version(empty_dsn) == admin.SCHEMA_VERSION


def test_init_db_leaves_a_later_version_as_it_is(dsn: str) -> None:
    execute(dsn, "COMMENT ON TABLE scheduled_tasks IS 'at-worker schema 1000: from the future'")
    before = ddl.shape(dsn)
    admin.init_db(database(dsn))
    assert ddl.shape(dsn) == before


def test_init_db_does_not_try_to_create_a_database_with_a_wrong_password(missing: str) -> None:
    with pytest.raises(Unusable, match="refuses the login"):
        admin.init_db(database(f"postgresql://nobody_of_this_name:x@{missing.rpartition('@')[2]}"))


def test_a_new_table_is_current(dsn: str) -> None:
    assert admin.is_current(database(dsn))


def test_a_later_version_is_current(dsn: str) -> None:
    execute(dsn, "COMMENT ON TABLE scheduled_tasks IS 'at-worker schema 1000: from the future'")
    assert admin.is_current(database(dsn))


@pytest.mark.parametrize(
    "comment", ["NULL", "''", "'at-worker'", "'at-worker schema'", "'at-worker schema x: y'"]
)
def test_a_table_without_a_version_is_not_current(dsn: str, comment: str) -> None:
    execute(dsn, f"COMMENT ON TABLE scheduled_tasks IS {comment}")
    assert not admin.is_current(database(dsn))


def test_a_plain_table_is_not_current(empty_dsn: str) -> None:
    execute(empty_dsn, PLAIN)
    assert not admin.is_current(database(empty_dsn))


def test_an_empty_database_is_not_current(empty_dsn: str) -> None:
    assert not admin.is_current(database(empty_dsn))


def test_a_missing_database_is_not_current(missing: str) -> None:
    assert not admin.is_current(database(missing))


def test_the_version_of_a_table_that_is_not_there_is_an_error(empty_dsn: str) -> None:
    with pytest.raises(MissingTable):
        version(empty_dsn)


@pytest.mark.parametrize("schema", ["App", "o'clock", 'two "quotes"', "a$b", "{tasks}"])
def test_the_version_is_found_in_a_schema_of_any_name(dsn: str, schema: str) -> None:
    quoted = schema.replace('"', '""')
    name = dsn.rpartition("/")[2]
    execute(dsn, f'ALTER SCHEMA public RENAME TO "{quoted}"')
    execute(dsn, f'ALTER DATABASE "{name}" SET search_path = "{quoted}"')
    assert version(dsn) == admin.SCHEMA_VERSION


def test_the_ddl_is_the_file_of_the_checkout() -> None:
    assert admin.ddl() == ddl.FILE.read_text(encoding="utf-8")


def test_a_wheel_carries_the_ddl_and_the_roles(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    # The program looks for it beside its own package.
    finds = "from at_worker.store import admin; print(admin.ddl(), admin.roles(), end='')"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    printed = subprocess.run(
        [sys.executable, "-c", finds], cwd=tmp_path / "installed", capture_output=True, text=True, check=True
    ).stdout
    assert printed == f"{admin.ddl()} {admin.roles()}"
    assert (tmp_path / "installed" / "at_worker" / "ddl.sql").is_file()
