"""The schema: applying it, and telling whether what is there is ours."""

from importlib.resources import files
from pathlib import Path

from at_worker.store.database import Database
from at_worker.store.errors import MissingDatabase, MissingTable, Refused, Unavailable, Unusable
from at_worker.store.session import Session

SCHEMA_VERSION = 2

# Dollar quotes, because the name of a schema may contain others.
_COMMENT = "SELECT obj_description($name${tasks}$name$::regclass, 'pg_class')"
_MISSING_PRIVILEGES = """
SELECT format('%%s on %%s', privilege, name)
  FROM (VALUES ('scheduled_tasks', $name${tasks}$name$, '{SELECT,UPDATE}'::text[]),
               ('scheduled_tasks', $name${tasks}$name$, %(more)s::text[]),
               ('scheduled_tasks_attempts', $name${attempts}$name$, '{INSERT}'),
               ('scheduled_tasks_paused', $name${paused}$name$, '{SELECT}'),
               ('scheduled_tasks_presence', $name${presence}$name$, '{SELECT,INSERT,UPDATE,DELETE}')
       ) AS needed (name, address, privileges)
 CROSS JOIN unnest(needed.privileges) AS privilege
 WHERE NOT has_table_privilege(needed.address, privilege)
"""


def ddl() -> str:
    """The text of `sql/ddl.sql`: the table."""
    return _packaged("ddl.sql")


def roles() -> str:
    """The text of `sql/roles.sql`: who may do what with the table."""
    return _packaged("roles.sql")


def _packaged(name: str) -> str:
    """A file of `sql/`, which the wheel carries inside the package."""
    packaged = files("at_worker") / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "sql" / name).read_text(encoding="utf-8")


def init_db(database: Database) -> None:
    """Create the database where it is missing, and apply the schema; a later version is left as it is."""
    try:
        with database.direct():
            pass
    except MissingDatabase:
        _create_database(database)
    if _version(database) <= SCHEMA_VERSION:
        with database.direct() as session:
            session.script(ddl())


def grant_roles(database: Database) -> None:
    """Create the roles, and give them their rights. Raises Unusable where the login may not do that."""
    with database.direct() as session:
        session.script(roles())


def _create_database(database: Database) -> None:
    try:
        with database.direct(dbname="postgres") as session:
            session.create_database(database.database_name)
    except (Refused, Unavailable) as failure:
        # Another worker that starts at the same moment may have been faster.
        try:
            with database.direct():
                pass
        except MissingDatabase:
            raise failure from None


def is_current(database: Database) -> bool:
    """Whether the table is there, in this version or a later one."""
    return _version(database) >= SCHEMA_VERSION


def _version(database: Database) -> int:
    try:
        with database.direct() as session:
            return schema_version(session)
    except (MissingDatabase, MissingTable, Unusable):
        return 0


def missing_privileges(session: Session, *, delete: bool) -> list[str]:
    """What the role of this session may not do with the tables, of what a worker does."""
    more = ["DELETE"] if delete else []
    return [row[0] for row in session.rows(_MISSING_PRIVILEGES, {"more": more})]


def schema_version(session: Session) -> int:
    """The version that the table's comment tells; 0 where it tells none."""
    comment = session.rows(_COMMENT)[0][0] or ""
    words = comment.split(":")[0].split()
    return int(words[-1]) if words[:2] == ["at-worker", "schema"] and words[-1].isdigit() else 0
