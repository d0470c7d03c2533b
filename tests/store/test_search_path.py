"""Nothing of a hostile schema runs, although the caller's search path names it before PostgreSQL's own."""

import time

import psycopg
import pytest
from psycopg.types.json import Jsonb

from at_worker.config import load
from at_worker.outcome import Settlement, Status
from at_worker.store import admin
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery
from tests.store import ddl
from tests.store.plain import PLAIN, ROWS

# Everything that our statements could take for PostgreSQL's own: each function that they name, every
# operator, and operators that fit better than PostgreSQL's.
_HOSTILE = """
DO $$
DECLARE
    shadow record;
    body text := $b$LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''something hostile ran''; END'$b$;
BEGIN
    CREATE SCHEMA hostile;
    FOR shadow IN
        SELECT p.proname, oidvectortypes(p.proargtypes) AS arguments,
               format_type(p.prorettype, NULL) AS result
          FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_type r ON r.oid = p.prorettype
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
           AND r.typtype <> 'p' AND position(p.proname || '(' IN {text}) > 0
           AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (p.proargtypes) AND t.typtype = 'p')
    LOOP
        EXECUTE format('CREATE FUNCTION hostile.%I (%s) RETURNS %s %s',
                       shadow.proname, shadow.arguments, shadow.result, body);
    END LOOP;
    FOR shadow IN
        SELECT oid, oprname, format_type(oprleft, NULL) AS one, format_type(oprright, NULL) AS other,
               format_type(oprresult, NULL) AS result
          FROM pg_catalog.pg_operator o
         WHERE oprleft <> 0
           AND NOT EXISTS (SELECT FROM pg_type t
                            WHERE t.oid IN (oprleft, oprright, oprresult) AND t.typtype = 'p')
        UNION ALL
        VALUES (1, '*', 'integer', 'numeric', 'numeric'), (2, '*', 'smallint', 'interval', 'interval')
    LOOP
        EXECUTE format('CREATE FUNCTION hostile.o%s (%s, %s) RETURNS %s %s',
                       shadow.oid, shadow.one, shadow.other, shadow.result, body);
        EXECUTE format('CREATE OPERATOR hostile.%s (FUNCTION = hostile.o%s, LEFTARG = %s, RIGHTARG = %s)',
                       shadow.oprname, shadow.oid, shadow.one, shadow.other);
    END LOOP;
    CREATE TABLE hostile.pg_class (oid oid, relkind "char", relpersistence "char");
    EXECUTE format('ALTER DATABASE %I SET search_path = hostile, pg_catalog, public', current_database());
END
$$
"""


@pytest.fixture
def hostile(empty_dsn: str) -> str:
    """The address of a database with an older table, where every session finds the hostile schema first."""
    ddl.apply(empty_dsn, PLAIN + ROWS)
    text = admin.ddl() + admin.roles()
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        literal = psycopg.sql.Literal(text).as_string(connection)
        connection.execute(_HOSTILE.replace("{text}", literal).encode())
    return empty_dsn


def test_the_hostile_schema_would_be_found(hostile: str) -> None:
    with psycopg.connect(hostile) as connection:
        for statement in ("SELECT now()", "SELECT 1 = 1", "SELECT 'a'::text || 'b'"):
            with pytest.raises(psycopg.errors.RaiseException, match="something hostile ran"):
                connection.execute(statement.encode())
            connection.rollback()


def test_the_schema_can_be_upgraded_and_applied_again(hostile: str, new: ddl.Shape) -> None:
    ddl.apply(hostile)
    ddl.apply(hostile)
    ddl.apply(hostile, f"ALTER DATABASE {hostile.rpartition('/')[2]} RESET search_path")
    assert ddl.shape(hostile) == new


def test_a_table_finds_its_own(hostile: str) -> None:
    ddl.apply(hostile)
    with psycopg.connect(hostile, autocommit=True) as connection:
        connection.execute("INSERT INTO scheduled_tasks (task_type, retry_delays) VALUES ('probe', '{1 s}')")
        connection.execute("UPDATE scheduled_tasks SET status = 'cancelled'")
        connection.execute("UPDATE scheduled_tasks SET status = 'pending'")
        connection.execute("UPDATE scheduled_tasks SET status = 'completed'")
        for view in ("lateness", "overview", "due", "running", "failed"):
            connection.execute(f"TABLE scheduled_tasks_{view}".encode())


def test_the_functions_find_their_own(hostile: str) -> None:
    ddl.apply(hostile)
    with psycopg.connect(hostile, autocommit=True) as connection:
        connection.execute("DELETE FROM scheduled_tasks")
        options = {"priority": 9, "retry_delays": ["1 s"], "dedupe_key": "key", "context": {}}
        schedule = "SELECT at_schedule('probe', '{}', '2999-01-01', %s)"
        task = connection.execute(schedule, [Jsonb(options)]).fetchone()
        assert task is not None
        for mode in ("ignore", "replace"):
            again = connection.execute(schedule, [Jsonb({**options, "on_duplicate": mode})])
            assert again.fetchone() == task
        for call in ("at_reschedule(%s, '2999-01-02')", "at_cancel(%s)", "at_retry(%s)"):
            assert connection.execute(f"SELECT {call}".encode(), task).fetchone() == (True,)
        for wrong, error in (
            ({"dedupe_key": "key", "on_duplicate": "error"}, psycopg.errors.UniqueViolation),
            ({"one": 1, "two": 2}, psycopg.errors.InvalidParameterValue),
            ({"on_duplicate": "never"}, psycopg.errors.InvalidParameterValue),
        ):
            with pytest.raises(error):
                connection.execute(schedule, [Jsonb(wrong)])


def test_a_worker_finds_postgresqls_own(hostile: str) -> None:
    ddl.apply(hostile)
    with psycopg.connect(hostile, autocommit=True) as connection:
        connection.execute("DELETE FROM scheduled_tasks")
        connection.execute("INSERT INTO scheduled_tasks (task_type) VALUES ('probe'), ('probe'), ('probe')")
    database = Database(load({"DATABASE_URL": hostile}, ()))
    database.open()
    try:
        queue = Queue(database, "w-1/boot", ["probe"])
        recovery = Recovery(database, 300, ["probe"])
        first, second = queue.claim(2, 0).tasks
        queue.beat([first.claim, second.claim])
        instant = time.monotonic()
        end = Settlement(first, Status.COMPLETED, attempted=True, started=instant, ended=instant)
        assert not queue.settle([end]).lost
        assert queue.hand_back_unheld([]) == [second.claim.id]
        assert recovery.expire(10) == []
        assert recovery.next_stuck() is None
        with recovery.stuck(0, 10) as (_, stuck):
            assert stuck == []
        assert recovery.delete_old(0, 0, 10)[1] == 1
        with database.direct() as session:
            assert admin.schema_version(session) == admin.SCHEMA_VERSION
            assert admin.missing_privileges(session, delete=True) == []
    finally:
        database.close()
