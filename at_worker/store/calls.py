"""The functions of `sql/ddl.sql`, called on connections of the caller's own, whatever those are like.

Everything goes over as text and comes back as a number or a boolean, so that neither the connection's
adapters nor its encoding or time zone matter.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString, TypeAlias

from psycopg import AsyncConnection, AsyncCursor, AsyncRawCursor, Connection, Cursor, RawCursor
from psycopg.errors import UndefinedFunction
from psycopg.rows import TupleRow, tuple_row

Sync: TypeAlias = Connection[Any] | Cursor[Any]
Async: TypeAlias = AsyncConnection[Any] | AsyncCursor[Any]
Parameters: TypeAlias = Mapping[str, str | int | None]

# A length of time counts from now(), the start of the transaction, as it does in SQL.
SCHEDULE = """
SELECT at_schedule(
    %(task_type)s::text, %(payload)s::jsonb,
    coalesce(%(execute_at)s::timestamptz, now() + %(execute_after)s::interval),
    %(options)s::jsonb || jsonb_strip_nulls(jsonb_build_object('expires_at',
        coalesce(%(expires_at)s::timestamptz, now() + %(expires_after)s::interval))))
"""
CANCEL = "SELECT at_cancel(%(id)s::bigint)"
RESCHEDULE = """
SELECT at_reschedule(
    %(id)s::bigint, coalesce(%(execute_at)s::timestamptz, now() + %(execute_after)s::interval))
"""
RETRY = "SELECT at_retry(%(id)s::bigint)"


def call(connection: object, query: LiteralString, parameters: Parameters) -> Any:  # noqa: ANN401 - as SQL says
    """Call a function in the transaction of this connection; on an asynchronous one, return what to await.

    Raises what psycopg raises, and TypeError for what is no connection of psycopg 3.
    """
    match connection:
        case AsyncConnection():
            return _call_async(connection, query, parameters)
        case AsyncCursor():
            return _call_async(connection.connection, query, parameters)
        case Connection():
            return _call(connection, query, parameters)
        case Cursor():
            return _call(connection.connection, query, parameters)
    kind = type(connection)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} is no connection of psycopg 3")


def _call(connection: Connection[Any], query: LiteralString, parameters: Parameters) -> Any:  # noqa: ANN401 - as above
    kind = connection.cursor_factory
    # The one kind that does not take parameters by name.
    cursors: type[Cursor[TupleRow]] = Cursor if issubclass(kind, RawCursor) else kind
    with _explained(), cursors(connection, row_factory=tuple_row) as cursor:
        ((value,),) = cursor.execute(query, parameters).fetchall()
    return value


async def _call_async(connection: AsyncConnection[Any], query: LiteralString, parameters: Parameters) -> Any:  # noqa: ANN401 - as above
    kind = connection.cursor_factory
    cursors: type[AsyncCursor[TupleRow]] = AsyncCursor if issubclass(kind, AsyncRawCursor) else kind
    with _explained():
        async with cursors(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(query, parameters)
            ((value,),) = await cursor.fetchall()
    return value


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except UndefinedFunction as error:
        error.add_note("at-worker init-db creates it, in a schema that has to be on the search_path")
        raise
