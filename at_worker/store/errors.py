"""What the database's errors mean to us: whether waiting helps, and who has to do something."""

from at_worker.store.schema import TABLE

# libpq reports no SQLSTATE of a connection that failed, only a text, in the language of the server. One in
# another language than English is taken for an outage: the worker waits and tells what the server said.
_WRONG_LOGIN = (
    "password authentication failed",
    "no password supplied",
    "authentication failed for user",
    "no pg_hba.conf entry",
    "is not permitted to log in",
)
_MISSING = "does not exist"
# SQLSTATE classes. Another transaction was in the way; the statement may pass at once.
_CONTENDED = ("40", "55")
# The server has no room: its disk or its memory is full. The connection is as good as before.
_CRAMPED = "53"
# Connection, transaction state, operator intervention.
_CUT_OFF = ("08", "25", "57")
_TOO_MANY = "53300"
# The session is not as we left it, or the server is ill.
_UNSOUND = ("0B", "24", "26", "28", "2D", "34", "3B", "3D", "3F", "58", "72", "F0", "XX")
# Of operator intervention, a statement that overran a timeout or was cancelled by a person.
_CANCELLED = "57014"
_READ_ONLY = "session is read-only"
_FULL = ("too many connections", "too many clients", "connection slots are reserved")


class Unavailable(Exception):
    """The database cannot do it now, but may later; the text says why and what would help."""


class Away(Unavailable):
    """There is no connection, no such database, or no table: nothing works."""


class Forbidden(Unavailable):
    """The role lacks a right; `said` is what PostgreSQL said, without a remedy."""

    def __init__(self, said: str) -> None:
        super().__init__(f"{said}; grant the worker's role what sql/roles.sql grants at_worker")
        self.said = said


class Refused(Exception):
    """PostgreSQL refused the values of a statement, or a trigger or rule of the users' own did."""


class Unusable(Exception):
    """Waiting will not help: wrong credentials, or a table that is not ours."""


class Full(Away):
    """The server answers, but lets in no more connections; those that are open are good."""


class MissingDatabase(Away):
    """The server answers, but has no database of that name."""


class MissingTable(Away):
    """The database has no table `scheduled_tasks` on the search path."""


def of_login(text: str, server: str, database: str, variables: str) -> Exception:
    """What it means that `server` let nobody into `database`, by the words of libpq.

    `variables` are those that say who wants in.
    """
    if any(sign in text for sign in _WRONG_LOGIN):
        return Unusable(f"{server} refuses the login: {text} (see {variables})")
    if f'database "{database}" {_MISSING}' in text:
        return MissingDatabase(f"{text}; at-worker init-db creates it")
    if "role" in text and _MISSING in text:
        return Unusable(f"{server} refuses the login: {text} (see {variables})")
    if _READ_ONLY in text:
        return Away(f"{server}: {text} (a standby, or default_transaction_read_only is on)")
    return (Full if any(sign in text for sign in _FULL) else Away)(f"{server}: {text}")


def of_statement(state: str, text: str) -> Exception:
    """What it means that a statement failed with this SQLSTATE (appendix A of PostgreSQL's manual)."""
    if state == "42P01" and TABLE in text:
        return MissingTable(f"{text}; at-worker init-db creates the table")
    if state == "42501":
        return Forbidden(text)
    if _cut_off(state):
        return Away(text)
    if state == _CANCELLED or state[:2] in (*_CONTENDED, _CRAMPED, *_UNSOUND):
        return Unavailable(text)
    # Values, and what triggers say about them, which may choose a SQLSTATE of their own.
    return Refused(text)


def of_script(state: str, text: str) -> Exception:
    """The same for the schema: what does not pass by itself, somebody has to mend."""
    passes = _cut_off(state) or state == _CANCELLED or state[:2] in (*_CONTENDED, _CRAMPED)
    return of_statement(state, text) if passes else Unusable(text)


def spares_connection(state: str) -> bool:
    """Whether the connection is as good as before: values, rights or locks were the cause."""
    return not (_cut_off(state) or state == "42P01" or state[:2] in _UNSOUND)


def _cut_off(state: str) -> bool:
    return state != _CANCELLED and (state in ("", _TOO_MANY) or state[:2] in _CUT_OFF)
